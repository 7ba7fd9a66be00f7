//! The index: one pass over the facts, in any interleaving of the processes, into what the checkers
//! ask for.
//!
//! It joins and counts, it does not judge. Its size follows the records by a few dozen bytes each,
//! and ranges elsewhere; nothing is allocated by offset. What an honest recorder cannot have written
//! (a hole in the numbering of a process) is kept as a *contradiction*: a history with one is not judged
//! at all. What a part under test may well have said, however odd (an offset of 2^63, two outcomes of
//! one operation), is kept as an [`Odd`] thing: a finding about that part, or a doubt of the checks that
//! rest on it.

mod clocks;
mod coarse;
mod deliveries;
mod epochs;
mod group;
mod hash;
mod headers;
mod keys;
mod lane;
mod observe;
mod odd;
mod ops;
mod parts;
mod ranges;
mod readers;
mod records;
mod skew;
mod slots;
mod source;
mod times;
mod told_reads;

use std::collections::{BTreeMap, BTreeSet};

/// Stands for the fingerprint of a key that is absent, apart from an empty one.
pub const NO_KEY: u64 = 0x6e6f_206b_6579;

/// Stands for a Kafka timestamp that is absent.
pub const NO_TIMESTAMP: i64 = i64::MIN;

pub use clocks::ClockInterval;
pub use epochs::{Epoch, Epochs, How, Permit, Watched, is_of_process};
pub use group::{Backward, Commit, GroupLane, Run, Surplus};
pub use hash::Quick;
pub use headers::{Faulty, HeaderFacts, HeaderFault, id_in_letter};
pub use keys::LateKey;
pub use lane::{Bounds, Contested, Lane, NO_ID, NO_OP, Seen, Source};
pub use odd::{Odd, OddKind};
pub use ops::{Bit, End, Invocation, Kept, Ops};
pub use parts::{Part, PartLane, Place, Zone};
pub use ranges::{Cover, Range, RangeSet};
pub use readers::{After, Readers, Rewind, Skip, Unowned};
pub use skew::{Base, Clocks, RESOLUTION_US, Skew, shifted};
pub use source::SourceFacts;
pub use times::{Instants, Latencies};
pub use told_reads::Misread;

use streamlake_history::event::{
    Assignment, Blob, Clock, CommitAttempt, DeadLetter, Doubt, Evidence, FaultStep, Generation,
    GroupPromise, Header, HeaderPair, LastLines, Membership, ObjectRole, Position, Print, Probe,
    ProcessState, Reset, SelfReport, TotalsReport, Transaction, Unreadable,
};

/// A fact of which there are few, with its instant.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// When the recorder learned it.
    pub t_us: u64,
    /// Who reported it.
    pub process: String,
    /// Its number within the process.
    pub seq: u64,
    /// The fact.
    pub fact: T,
}

/// Configuration read back from a part.
#[derive(Debug, Clone)]
pub struct ReadBack {
    /// Which part.
    pub of: String,
    /// Property → value.
    pub properties: BTreeMap<String, String>,
    /// The process that the client belongs to, where it was told.
    pub process: Option<String>,
}

/// A dead letter with the place that it names.
#[derive(Debug, Clone)]
pub struct Dead {
    /// The fact.
    pub letter: DeadLetter,
    /// Lane and offset of its source, if it names one.
    pub source: Option<(usize, u64)>,
}

/// Facts of which there are few, each list by time, process and number.
#[derive(Debug, Default)]
pub struct Rare {
    /// Phases.
    pub phases: Vec<At<String>>,
    /// Steps of fault windows.
    pub faults: Vec<At<FaultStep>>,
    /// Probes.
    pub probes: Vec<At<Probe>>,
    /// Processes.
    pub processes: Vec<At<ProcessState>>,
    /// Assignments.
    pub assignments: Vec<At<Assignment>>,
    /// Completed rebalances.
    pub generations: Vec<At<Generation>>,
    /// What parts under test said and nobody understands.
    pub unreadable: Vec<At<Unreadable>>,
    /// New positions of members.
    pub positions: Vec<At<Position>>,
    /// Steps of members' lives in their groups.
    pub memberships: Vec<At<Membership>>,
    /// Commits that were refused, or not seen to be answered.
    pub attempts: Vec<At<CommitAttempt>>,
    /// Offsets that were set from outside.
    pub resets: Vec<At<Reset>>,
    /// Measurements of clocks.
    pub clocks: Vec<At<Clock>>,
    /// Configuration.
    pub configuration: Vec<At<ReadBack>>,
    /// What processes wrote last that ended without having been told to.
    pub last_lines: Vec<At<LastLines>>,
    /// What the system under test said of itself.
    pub self_reports: Vec<At<SelfReport>>,
    /// The same of all that it did.
    pub totals: Vec<At<TotalsReport>>,
    /// Transactions of producers.
    pub transactions: Vec<At<Transaction>>,
    /// What keeps checks from passing.
    pub doubts: Vec<At<Doubt>>,
    /// Notes: level and text.
    pub notes: Vec<At<(String, String)>>,
    /// Change data capture.
    pub source: SourceFacts,
}

/// A record whose key did not lead to its partition by the promised count of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stray {
    /// Lane.
    pub lane: usize,
    /// Offset.
    pub offset: u64,
    /// The key's murmur2, made positive.
    pub hash: u32,
}

/// All that a history says, joined.
#[derive(Debug)]
pub struct Index {
    /// The header.
    pub header: Header,
    /// Wall clock at microsecond zero, milliseconds since the epoch.
    pub started_at_ms: Option<i64>,
    /// Operations.
    pub ops: Ops,
    /// Partitions by number; [`Index::by_name`] has their order.
    pub lanes: Vec<Lane>,
    /// Topic → partition → number of the lane.
    pub by_name: BTreeMap<String, BTreeMap<u32, usize>>,
    /// Topics by number.
    pub topics: Vec<String>,
    /// One entry a promised group: lane → what is known.
    pub groups: Vec<BTreeMap<usize, GroupLane>>,
    /// Objects.
    pub parts: Vec<Part>,
    /// Raw zones of the promises.
    pub zones: Vec<Zone>,
    /// Dead letters, sorted by place.
    pub dead: Vec<Dead>,
    /// Facts of which there are few.
    pub rare: Rare,
    /// How the clocks stand that instants were read from.
    pub clocks: Clocks,
    /// Names of the processes that report, by number.
    pub processes: Vec<String>,
    /// When operations were invoked.
    pub invocations: Instants,
    /// When they completed.
    pub completions: Instants,
    /// When they were acknowledged.
    pub acks: Instants,
    /// When they failed, or their outcome was said to be unknown.
    pub unacknowledged: Instants,
    /// From invocation to acknowledgement.
    pub latencies: Latencies,
    /// The longest wait for an acknowledgement of the producer under test, and its operation.
    pub longest_wait: Option<(u64, u64)>,
    /// Operations acknowledged in another topic than the one they were meant for.
    pub misplaced: Vec<u64>,
    /// Records of the log with a key, whose partition could be checked.
    pub keyed: u64,
    /// Records whose key led elsewhere.
    pub strays: Vec<Stray>,
    /// Keys seen in more than one partition, where the partitioner is not murmur2.
    pub split_keys: BTreeMap<u64, BTreeSet<usize>>,
    /// What records say of themselves and that is not as it should be.
    pub headers: HeaderFacts,
    /// Processes whose operations were not invoked in the order of their numbers.
    pub unordered_owners: BTreeSet<u8>,
    /// The processes that invoked operations, by the numbers that operations know them by.
    pub producers: Vec<u16>,
    /// Reads that told their record's value, where the log holds the record; not of packed indices.
    pub compared_reads: u64,
    /// Reads whose value cannot be right: group, lane, what is wrong, offset.
    pub misread: BTreeSet<(usize, usize, Misread, u64)>,
    /// Ingestion ids of one operation in 256, of packed indices, which keep no others: id, operation.
    pub sampled_ids: Vec<(u64, u64)>,
    /// Facts by kind that name a group, zone or topic that nobody promised.
    pub foreign: BTreeMap<&'static str, u64>,
    /// Instant of the last fact.
    pub end_us: u64,
    /// What no honest recorder writes: kind → count and the first example.
    pub contradictions: BTreeMap<&'static str, (u64, String)>,
    /// What cannot be, and what others than the recorder may have said.
    pub odd: BTreeMap<OddKind, Odd>,
    /// Why operations were not acknowledged, in the producers' words: a bounded number of texts.
    pub refusals: BTreeMap<String, (u64, u64)>,
    /// Why each rejected operation was rejected, as its receipt says.
    pub reasons: BTreeMap<u64, String>,
    /// Where the receipt of each rejected operation says that its dead letter stands, and which key it names.
    pub letters_told: BTreeMap<u64, LetterTold>,
    /// Which rejected operation's receipt names this place.
    pub ops_of_letters: BTreeMap<(String, u32, u64), u64>,
    /// Operations that were not acknowledged, and whose producer did not say why.
    pub unexplained: Vec<u64>,
    /// Acknowledged operations whose receipt names another key than they were invoked with, or none
    /// where it has to.
    pub other_keys_told: Vec<u64>,
    /// Operations that were not rejected, and whose receipt names a dead letter.
    pub letters_of_others: Vec<u64>,
    /// Records of one key out of order, seen while the log passed by; only of packed indices.
    pub late_keys: Vec<LateKey>,
    /// Records whose order nobody can judge any more; only of packed indices.
    pub unjudged_order: u64,
    detail: slots::Detail,
    work: observe::Work,
}

/// What the receipt of a rejected operation says of its dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterTold {
    /// Topic, partition and offset.
    pub place: (String, u32, u64),
    /// The print of the key that it names.
    pub key: u64,
}

impl Index {
    /// The partitions in the order of their names, with their numbers.
    pub fn sorted_lanes(&self) -> impl Iterator<Item = (usize, &Lane)> {
        self.by_name
            .values()
            .flat_map(|partitions| partitions.values())
            .map(|&n| (n, &self.lanes[n]))
    }

    /// The partitions of promised topics.
    pub fn promised_lanes(&self) -> impl Iterator<Item = (usize, &Lane)> {
        self.sorted_lanes()
            .filter(|(_, lane)| self.header.promises.topics.contains_key(&lane.topic))
    }

    /// A partition by name.
    #[must_use]
    pub fn lane(&self, topic: &str, partition: u32) -> Option<&Lane> {
        self.by_name.get(topic)?.get(&partition).map(|&n| &self.lanes[n])
    }

    /// The groups with their promises.
    pub fn promised_groups(
        &self,
    ) -> impl Iterator<Item = (usize, &GroupPromise, &BTreeMap<usize, GroupLane>)> {
        let promised = self.header.promises.groups.iter();
        promised.zip(&self.groups).enumerate().map(|(n, (promise, lanes))| (n, promise, lanes))
    }

    /// Whether the testbed vouches for a source of evidence.
    #[must_use]
    pub fn vouches(&self, evidence: Evidence) -> bool {
        self.header.promises.evidence.contains(&evidence)
    }

    /// The fault window that had begun last at an instant.
    #[must_use]
    pub fn fault_at(&self, at_us: u64) -> Option<u32> {
        use streamlake_history::event::FaultStage::Injecting;
        let begun = self.rare.faults.iter().filter(|f| f.fact.step == Injecting && f.t_us <= at_us);
        begun.max_by_key(|f| f.t_us).map(|f| f.fact.fault)
    }

    /// What of a word on a record this index keeps and compares.
    #[must_use]
    pub fn reduce(&self, seen: Seen) -> Seen {
        self.detail.reduce(seen)
    }

    /// Everything said of each record is kept; otherwise it is packed, see [`Index::new`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.detail == slots::Detail::Full
    }

    /// Name of a partition for messages.
    #[must_use]
    pub fn lane_name(&self, lane: usize) -> String {
        format!("{}/{}", self.lanes[lane].topic.escape_debug(), self.lanes[lane].partition)
    }

    /// Fingerprint of headers as the index compares them.
    #[must_use]
    pub fn header_print(&self, print: Print, list: Option<&Vec<HeaderPair>>) -> u64 {
        headers::header_print(print, list)
    }

    /// Fingerprint of an ingestion id as the index keeps it.
    #[must_use]
    pub fn id_print(&self, id: Option<&String>) -> u64 {
        records::id_print(id)
    }

    /// The operation that a producer's letter is of: as it says itself, or as a receipt says that names its
    /// place. A payload that is no text names none.
    #[must_use]
    pub fn op_of_letter(&self, letter: &DeadLetter) -> Option<u64> {
        letter.op.or_else(|| {
            let place = (letter.topic.clone(), letter.partition, letter.offset);
            self.ops_of_letters.get(&place).copied()
        })
    }

    /// Fingerprint of a key as the index keeps it.
    #[must_use]
    pub fn key_print(&self, key: Option<&Blob>) -> u64 {
        records::key_print(key)
    }

    /// Parts of a group that were seen during the run and are not there at the end, although the
    /// raw zone was read.
    #[must_use]
    pub fn vanished_parts(&self, group: usize) -> Vec<&str> {
        let Some(zone) = self.zones.iter().position(|zone| zone.groups.contains(&group)) else {
            return Vec::new();
        };
        if self.zones[zone].reads.is_empty() {
            return Vec::new();
        }
        let parts = || self.parts.iter().filter(|p| p.zone == zone && p.role == ObjectRole::Part);
        let left: BTreeSet<&str> = parts().filter(|p| !p.during_run).map(|p| &*p.name).collect();
        let seen: BTreeSet<&str> = parts().filter(|p| p.during_run).map(|p| &*p.name).collect();
        seen.difference(&left).copied().collect()
    }

    /// Operations that the log names at these offsets, up to a number of them.
    #[must_use]
    pub fn ops_at(&self, lane: usize, set: &RangeSet, max: usize) -> Vec<u64> {
        let lane = &self.lanes[lane];
        let ranges = set.ranges().iter();
        let mut ops: Vec<u64> = ranges.flat_map(|&range| lane.ops_in(range)).take(max).collect();
        ops.sort_unstable();
        ops.dedup();
        ops
    }

    pub(super) fn contradict(&mut self, kind: &'static str, example: String) {
        let entry = self.contradictions.entry(kind).or_insert_with(|| (0, example.clone()));
        entry.0 += 1;
        if example < entry.1 {
            entry.1 = example;
        }
    }
}
