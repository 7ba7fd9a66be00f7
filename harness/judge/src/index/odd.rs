//! What cannot be, and yet was said: not by the recorder, but by a part under test, or by whoever wrote a
//! foreign history.
//!
//! None of it silences a check that does not rest on it.

use super::Index;

/// A kind of thing that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OddKind {
    /// A receipt with an offset that Kafka cannot have.
    ReceiptOffset,
    /// A second outcome of one operation.
    SecondOutcome,
    /// An outcome of an operation that nobody invoked.
    OutcomeOfNothing,
    /// An outcome that was told before its operation was invoked.
    OutcomeTooEarly,
    /// An operation that was invoked twice, or under the number that is reserved.
    SecondInvocation,
    /// A record in the raw zone with an offset that Kafka cannot have.
    StoredOffset,
    /// A record in an object that nobody reported.
    StoredNowhere,
    /// A read of an offset that Kafka cannot have.
    ReadOffset,
    /// A commit of an offset that Kafka cannot have.
    CommitOffset,
    /// A dead letter of an offset that Kafka cannot have.
    DeadLetterOffset,
    /// The reader of the log told an offset that Kafka cannot have.
    LoggedOffset,
    /// The reader of the log told ends that cannot be.
    LogEnds,
    /// Two readings of the log differ on an offset.
    LogReadings,
    /// A process's clock went back.
    Clock,
}

/// Examples that are kept of each kind.
const EXAMPLES_MAX: usize = 20;

/// What was seen of a kind.
#[derive(Debug, Clone, Default)]
pub struct Odd {
    /// How often.
    pub count: u64,
    /// The first examples in their own order, with the operation where there is one.
    pub examples: Vec<(String, Option<u64>)>,
}

impl Index {
    pub(super) fn odd(&mut self, kind: OddKind, example: String, op: Option<u64>) {
        let odd = self.odd.entry(kind).or_default();
        odd.count += 1;
        // Which ones are kept must not hang on how processes interleave.
        let example = (example, op);
        let place = odd.examples.partition_point(|known| *known < example);
        odd.examples.insert(place, example);
        odd.examples.truncate(EXAMPLES_MAX);
    }
}
