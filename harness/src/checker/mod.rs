//! The checkers: each judges one guarantee, from the history alone.
//!
//! Pure: no runtime, no client, no files, no clock. The facts pass once, in whatever interleaving of
//! their processes, into the [`Index`]; a checker asks the index and says what it found. Between
//! processes nothing is concluded from the order of lines, only from the instants in the facts.
//!
//! A new checker is one file here and one row in [`all`].

mod acknowledged;
mod case;
mod change_data_capture;
mod commit_frontier;
mod configuration;
mod dead_letters;
mod duplicates;
mod evidence;
mod explain;
mod fault_bit;
mod fidelity;
mod group_independence;
mod immutability;
mod membership;
mod metadata;
pub mod murmur2;
mod no_gap;
mod no_loss;
mod order;
mod partition_determinism;
mod placement;
#[cfg(test)]
pub(crate) mod planted;
mod recovered;
mod recovery;
#[cfg(test)]
mod reference;
mod replay;
mod tally;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trials;
mod whole_history;

use crate::history::HistoryError;
use crate::history::event::{Event, Header};
use crate::history::index::Index;
use crate::verdict::{CheckResult, Status, Tally, Verdict};

use case::Case;
pub use explain::explain;

/// One guarantee under judgement.
#[derive(Clone, Copy)]
pub struct Checker {
    /// Name, kebab-case.
    pub name: &'static str,
    /// The guarantee in words.
    pub guarantee: &'static str,
    /// Asks the index, notes findings and doubts, and gives one sentence with the numbers.
    judge: fn(&Index, &mut Case<'_>) -> String,
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All checkers, in the order of the report.
#[must_use]
pub fn all() -> &'static [Checker] {
    TABLE
}

#[rustfmt::skip]
static TABLE: &[Checker] = &[
    Checker { name: "history", judge: whole_history::judge,
        guarantee: "The evidence is whole: all operations ran, all phases were reached, log and stores were read to their ends." },
    Checker { name: "fault-bit", judge: fault_bit::judge,
        guarantee: "Each planned fault was seen from outside to have happened, with operations in flight, and to have healed." },
    Checker { name: "acknowledged-is-durable", judge: acknowledged::judge,
        guarantee: "Each acknowledged record is in the log at its receipt's partition and offset, with its key and value." },
    Checker { name: "no-loss", judge: no_loss::judge,
        guarantee: "Each logged record below the committed offset is in the raw zone or the dead-letter topic." },
    Checker { name: "no-gap", judge: no_gap::judge,
        guarantee: "Per partition, what was stored or dead-lettered is contiguous up to the committed offset." },
    Checker { name: "commit-frontier", judge: commit_frontier::judge,
        guarantee: "At each instant, everything below the committed offset is durable; commits go forward." },
    Checker { name: "order", judge: order::judge,
        guarantee: "Offsets rise within each part and each assignment; per key, the log has the order of the invocations." },
    Checker { name: "partition-determinism", judge: partition_determinism::judge,
        guarantee: "A key leads to one partition, the one that an independent murmur2 computes." },
    Checker { name: "duplicates", judge: duplicates::judge,
        guarantee: "Each duplicate has a cause, none is of a record that was committed before, and none is where the configuration promises none." },
    Checker { name: "fidelity", judge: fidelity::judge,
        guarantee: "What is stored is what was logged: key, value, headers and timestamp, byte for byte." },
    Checker { name: "immutability", judge: immutability::judge,
        guarantee: "No part was ever replaced, shrunk or removed." },
    Checker { name: "dead-letters", judge: dead_letters::judge,
        guarantee: "Every poison record is in the dead-letter topic with all its fields, and nothing else is." },
    Checker { name: "metadata", judge: metadata::judge,
        guarantee: "Each _metadata.json lists exactly the parts of its folder, with their ranges, counts and sizes." },
    Checker { name: "placement", judge: placement::judge,
        guarantee: "Each record stands in the folder of the UTC day on which it was ingested." },
    Checker { name: "group-independence", judge: group_independence::judge,
        guarantee: "Each group gets every record, whatever the others do." },
    Checker { name: "membership", judge: membership::judge,
        guarantee: "A group that is to keep its members through the faults does not rebalance." },
    Checker { name: "recovery", judge: recovery::judge,
        guarantee: "After the last heal producers and consumers move again within the budget, and nothing is left over at the end." },
    Checker { name: "replay", judge: replay::judge,
        guarantee: "A replay begins at the offset that was asked for and stores everything from there on again, and nothing before." },
    Checker { name: "configuration", judge: configuration::judge,
        guarantee: "What the promises rest on was read back from the running clients." },
    Checker { name: "change-data-capture", judge: change_data_capture::judge,
        guarantee: "Each committed row change has its event, in order for each key; only events whose offsets were not flushed come again." },
];

/// What can be asked where change data capture is under test: the others judge what a producer was
/// told and what consumer groups did.
const WITH_A_SOURCE: [&str; 4] = ["history", "fault-bit", "configuration", "change-data-capture"];

/// Judges a history in one pass.
///
/// # Errors
/// The first error of the events; one that [`HistoryError::is_truncated`] is what [`cut_short`] is
/// for.
pub fn judge(
    header: &Header,
    events: impl IntoIterator<Item = Result<Event, HistoryError>>,
) -> Result<Verdict, HistoryError> {
    let mut index = Index::new(header);
    for event in events {
        index.observe(&event?);
    }
    Ok(verdict(&index.settle()))
}

/// The verdict on a settled index.
#[must_use]
pub fn verdict(index: &Index) -> Verdict {
    if !index.contradictions.is_empty() {
        let reasons: Vec<String> = index
            .contradictions
            .iter()
            .map(|(kind, (count, example))| {
                format!("the history contradicts itself: {kind} ({count} times, first: {example})")
            })
            .collect();
        return undecided(&reasons, Tally::default());
    }
    let checks: Vec<CheckResult> = TABLE.iter().map(|checker| run(checker, index)).collect();
    let status = Status::combine(checks.iter().map(|check| check.status));
    Verdict { status, checks, tally: tally::count(index) }
}

/// The verdict on a run whose history was cut short: everything is inconclusive.
#[must_use]
pub fn cut_short(why: &str) -> Verdict {
    undecided(&[why.to_owned()], Tally::default())
}

fn run(checker: &Checker, index: &Index) -> CheckResult {
    let mut case = Case::new(index);
    let summary =
        if index.header.promises.source.is_some() && !WITH_A_SOURCE.contains(&checker.name) {
            case.not_applicable("the records come from a database, not from a producer under test")
        } else {
            (checker.judge)(index, &mut case)
        };
    case.close(checker.name, checker.guarantee, summary)
}

fn undecided(reasons: &[String], tally: Tally) -> Verdict {
    let check = |checker: &Checker| CheckResult {
        check: checker.name.to_owned(),
        guarantee: checker.guarantee.to_owned(),
        status: Status::Inconclusive,
        summary: "nothing can be said".to_owned(),
        reasons: reasons.to_vec(),
        figures: std::collections::BTreeMap::new(),
        findings: Vec::new(),
    };
    Verdict { status: Status::Inconclusive, checks: TABLE.iter().map(check).collect(), tally }
}
