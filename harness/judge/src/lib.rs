//! The checkers: each judges one guarantee, from the history alone.
//!
//! Pure: no runtime, no client, no files, no clock. The facts pass once, in whatever interleaving of
//! their processes, into the [`Index`]; a checker asks the index and says what it found. Between
//! processes nothing is concluded from the order of lines, only from the instants in the facts.
//!
//! A new checker is one file here and one row in [`all`]. The row says when its question is asked at
//! all, from the promises alone, and what evidence its pass rests on. Both are decided here, before the
//! checker is called: what of the evidence is missing is a doubt whatever the checker says, and what
//! it finds stands whatever is missing.

mod acknowledged;
mod case;
mod change_data_capture;
mod commit_frontier;
mod configuration;
mod dead_letters;
mod duplicates;
#[cfg(test)]
mod edited;
mod evidence;
mod exits;
mod explain;
mod fault_bit;
mod fidelity;
#[cfg(test)]
mod foreign_tests;
mod group_independence;
mod headers;
mod health;
mod identity;
mod immutability;
pub mod index;
mod letters;
mod membership;
mod metadata;
mod no_gap;
mod no_loss;
mod nowhere;
mod odd;
mod order;
mod outcomes;
mod partition_determinism;
mod placement;
#[cfg(any(test, feature = "fixtures"))]
pub mod planted;
mod prompt;
mod recovered;
mod recovery;
#[cfg(test)]
mod reference;
mod replay;
mod self_report;
mod send_order;
mod standstill;
mod tally;
#[cfg(test)]
mod tests;
mod transactions;
#[cfg(test)]
mod trials;
pub mod verdict;
mod whole_history;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::index::Index;
use crate::verdict::{CheckResult, Status, Tally, Verdict};
use streamlake_history::HistoryError;
use streamlake_history::event::{Event, Evidence, Header};

use case::Case;
use evidence::{Ledger, Need, foreign, produces};
pub use explain::explain;

/// A made-up history under judgement.
#[cfg(test)]
trait Judged {
    fn judge(&self) -> Result<Verdict, HistoryError>;
}

#[cfg(test)]
impl Judged for streamlake_history::sample::Sample {
    fn judge(&self) -> Result<Verdict, HistoryError> {
        judge(&self.header, self.events().into_iter().map(Ok))
    }
}

/// One guarantee under judgement.
#[derive(Clone, Copy)]
pub struct Checker {
    /// Name, kebab-case.
    pub name: &'static str,
    /// The guarantee in words.
    pub guarantee: &'static str,
    /// Whether the promise was made, or why the question is not asked.
    applies: fn(&Header) -> Applies,
    /// What a pass rests on.
    needs: &'static [Need],
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
        applies: |_| Ok(()),
        needs: &[],
        guarantee: "The evidence is whole: all operations ran, all phases were reached, log and stores were read to their ends." },
    Checker { name: "fault-bit", judge: fault_bit::judge,
        applies: |h| promised(!h.promises.faults.is_empty(), "no fault was planned"),
        needs: &[Need::Clocks],
        guarantee: "Each planned fault was seen from outside to have happened, with operations in flight, and to have healed." },
    Checker { name: "acknowledged-is-durable", judge: acknowledged::judge,
        applies: |h| promised(produces(h), NO_PRODUCER),
        needs: &[Need::Receipts, Need::Log],
        guarantee: "Each acknowledged record is in the log at its receipt's partition and offset, with its key and value." },
    Checker { name: "no-loss", judge: no_loss::judge,
        applies: |h| promised(consumes(h), NO_GROUP),
        needs: &[Need::Log, Need::Commits, Need::Deliveries],
        guarantee: "Each logged record below the committed offset is in the raw zone or the dead-letter topic." },
    Checker { name: "no-gap", judge: no_gap::judge,
        applies: |h| promised(consumes(h), NO_GROUP),
        needs: &[Need::Log, Need::Commits, Need::Deliveries],
        guarantee: "Per partition, what was stored or dead-lettered is contiguous up to the committed offset." },
    Checker { name: "commit-frontier", judge: commit_frontier::judge,
        applies: |h| promised(consumes(h), NO_GROUP),
        needs: &[Need::Log, Need::Commits, Need::Deliveries, Need::Clocks],
        guarantee: "At each instant, everything below the committed offset is durable; commits go forward." },
    Checker { name: "order", judge: order::judge,
        applies: |h| promised(consumes(h) || h.promises.key_order || h.promises.partition_order, "neither a group nor the order of the log is under test"),
        needs: &[Need::Deliveries],
        guarantee: "Offsets rise within each part and each assignment; per key, the log has the order of the invocations." },
    Checker { name: "transactions", judge: transactions::judge,
        applies: |h| promised(h.promises.evidence.contains(&Evidence::Transactions), "no transaction is told"),
        needs: &[Need::Log, Need::Deliveries],
        guarantee: "Of an aborted transaction nobody gets anything; of any other everybody gets all or nothing, and not before it was committed." },
    Checker { name: "partition-determinism", judge: partition_determinism::judge,
        applies: |h| promised(partition_determinism::promised(h), "the producer promises nothing about keys"),
        needs: &[Need::Log],
        guarantee: "A key leads to one partition, the one that an independent murmur2 computes." },
    Checker { name: "duplicates", judge: duplicates::judge,
        applies: |h| promised(produces(h) || consumes(h), "neither a producer nor a group is under test"),
        needs: &[Need::Log, Need::Deliveries, Need::Clocks],
        guarantee: "Each duplicate has a cause, none is of a record that was committed before, and none is where the configuration promises none." },
    Checker { name: "fidelity", judge: fidelity::judge,
        applies: |h| promised(fidelity::promised(h), "no group has a raw zone, and no member tells the values that it reads"),
        needs: &[Need::Log, Need::Objects],
        guarantee: "What is stored is what was logged: key, value, headers and timestamp, byte for byte." },
    Checker { name: "identity", judge: identity::judge,
        applies: |h| promised(identity::promised(h), "no ingestion ids are promised"),
        needs: &[Need::Receipts, Need::Log],
        guarantee: "An ingestion id belongs to one operation, and is the same in receipt, header, stored line and dead letter." },
    Checker { name: "immutability", judge: immutability::judge,
        applies: |h| promised(laid_out(h) || keeps_objects(h), "no group promises to replace nothing"),
        needs: &[Need::Objects, Need::Sightings],
        guarantee: "No part was ever replaced, shrunk or removed." },
    Checker { name: "dead-letters", judge: dead_letters::judge,
        applies: |h| promised(h.promises.groups.iter().any(|g| g.dead_letter_topic.is_some()), "no dead-letter topic is promised"),
        needs: &[Need::DeadLetters, Need::Log, Need::Receipts],
        guarantee: "Every poison record is in the dead-letter topic with all its fields, and nothing else is." },
    Checker { name: "metadata", judge: metadata::judge,
        applies: |h| promised(laid_out(h), NO_LAYOUT),
        needs: &[Need::Objects],
        guarantee: "Each _metadata.json lists exactly the parts of its folder, with their ranges, counts and sizes." },
    Checker { name: "placement", judge: placement::judge,
        applies: |h| promised(laid_out(h), NO_LAYOUT),
        needs: &[Need::Objects],
        guarantee: "Each record stands in the folder of the UTC day on which it was ingested." },
    Checker { name: "group-independence", judge: group_independence::judge,
        applies: |h| promised(h.promises.groups.len() > 1, "fewer than two groups are under test"),
        needs: &[Need::Log, Need::Deliveries],
        guarantee: "Each group gets every record, whatever the others do." },
    Checker { name: "membership", judge: membership::judge,
        applies: |h| promised(h.promises.groups.iter().any(|g| g.keeps_members), "no group promised to keep its members"),
        needs: &[Need::Generations, Need::Clocks],
        guarantee: "A group that is to keep its members through the faults does not rebalance." },
    Checker { name: "recovery", judge: recovery::judge,
        applies: |h| promised(consumes(h) || produces(h), "neither a producer nor a group is under test"),
        needs: &[Need::Log, Need::Commits, Need::Receipts, Need::Clocks],
        guarantee: "After each heal producers and consumers move again within the budget, nothing stands still without a fault, and nothing is left over at the end." },
    Checker { name: "outcomes", judge: outcomes::judge,
        applies: |h| promised(produces(h), NO_PRODUCER),
        needs: &[Need::Receipts, Need::Clocks],
        guarantee: "Every operation is acknowledged unless a fault that producers meet is near; poison is rejected where the producer validates, and nothing else is." },
    Checker { name: "exits", judge: exits::judge,
        applies: |h| promised(exits::promised(h), "no process of the pipeline is under test"),
        needs: &[Need::Processes],
        guarantee: "Every process starts, ends when it is asked to, and then with exit code 0." },
    Checker { name: "self-report", judge: self_report::judge,
        applies: |h| promised(self_report::promised(h), "no group promises numbers about itself"),
        needs: &[Need::Log, Need::Commits, Need::Deliveries, Need::DeadLetters],
        guarantee: "The numbers that the pipeline gives about itself, in its audit and its metrics, are those of the evidence." },
    Checker { name: "replay", judge: replay::judge,
        applies: |h| promised(h.promises.replay_from.is_some(), "no replay was planned"),
        needs: &[Need::Log, Need::Commits, Need::Deliveries, Need::Processes],
        guarantee: "A replay begins at the offset that was asked for and stores everything from there on again, and nothing before." },
    Checker { name: "configuration", judge: configuration::judge,
        applies: |h| promised(!foreign(h), "a foreign history does not say how its clients were configured"),
        needs: &[Need::Configuration],
        guarantee: "What the promises rest on was read back from the running clients." },
    Checker { name: "change-data-capture", judge: change_data_capture::judge,
        applies: |h| promised(h.promises.source.is_some(), "no source database is under test"),
        needs: &[Need::Source, Need::Log, Need::Clocks],
        guarantee: "Each committed row change has its event, whole, in order for each key and not before its commit; each delete its tombstone; only where the capture began anew do events come again, and only those whose offsets were not flushed." },
];

/// Whether a question is asked, or why it is not.
type Applies = Result<(), &'static str>;

const NO_PRODUCER: &str = "no producer is under test";
const NO_GROUP: &str = "no consumer group is under test";
const NO_LAYOUT: &str = "no group has a raw zone of the promised layout";

fn promised(made: bool, why_not: &'static str) -> Applies {
    if made { Ok(()) } else { Err(why_not) }
}

fn consumes(header: &Header) -> bool {
    !header.promises.groups.is_empty()
}

/// Some group lays its raw zone out in folders of days, with metadata, and replaces nothing.
fn laid_out(header: &Header) -> bool {
    // Version 1 had no word for it: what others told in it was never laid out.
    let said = header.version > 1 || !foreign(header);
    let groups = &header.promises.groups;
    said && groups.iter().any(|group| group.raw_zone.is_some() && !group.free_layout)
}

/// Some group has no layout, and yet replaces nothing.
fn keeps_objects(header: &Header) -> bool {
    header.promises.groups.iter().any(placement::keeps_objects)
}

/// What can be asked where change data capture is under test: the others judge what a producer was
/// told and what consumer groups did.
const WITH_A_SOURCE: [&str; 4] = ["history", "fault-bit", "configuration", "change-data-capture"];

impl Checker {
    /// Whether the promise was made that this check is about; decided before the evidence is looked at.
    fn applies(&self, header: &Header) -> Applies {
        if header.promises.source.is_some() && !WITH_A_SOURCE.contains(&self.name) {
            return Err("the records come from a database, not from a producer under test");
        }
        (self.applies)(header)
    }
}

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
    let ledger = Ledger::of(index);
    let mut checks: Vec<CheckResult> =
        TABLE.iter().map(|checker| run(checker, index, &ledger)).collect();
    let tally = catch_unwind(AssertUnwindSafe(|| tally::count(index))).unwrap_or_else(|panic| {
        let text = format!("the run could not be counted: {}", words_of(panic.as_ref()));
        if let Some(history) = checks.first_mut().filter(|check| check.status == Status::Pass) {
            history.status = Status::Inconclusive;
            history.reasons.push(text);
        }
        Tally::default()
    });
    let status = match Status::combine(checks.iter().map(|check| check.status)) {
        // Nothing was asked, so nothing was shown.
        Status::NotApplicable => Status::Inconclusive,
        status => status,
    };
    Verdict { status, checks, tally }
}

/// The verdict on a run whose history was cut short: everything is inconclusive.
#[must_use]
pub fn cut_short(why: &str) -> Verdict {
    undecided(&[why.to_owned()], Tally::default())
}

fn run(checker: &Checker, index: &Index, ledger: &Ledger) -> CheckResult {
    if let Err(why) = checker.applies(&index.header) {
        return CheckResult {
            summary: why.to_owned(),
            reasons: vec![why.to_owned()],
            ..empty(checker, Status::NotApplicable)
        };
    }
    let mut case = Case::new(index);
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let applies = |name: &str| {
            let row = TABLE.iter().find(|row| row.name == name);
            row.is_some_and(|row| row.applies(&index.header).is_ok())
        };
        odd::tell(index, checker.name, applies, &mut case);
        for need in checker.needs {
            ledger.doubts(*need).iter().for_each(|doubt| case.doubt(doubt.clone()));
        }
        (checker.judge)(index, &mut case)
    }));
    // A defect of this check says nothing about the others, nor about what it had found by then.
    let summary = judged.unwrap_or_else(|panic| {
        let what = words_of(panic.as_ref());
        case.doubt(format!("a defect of the harness: the check broke down: {what}"));
        "the check broke down".to_owned()
    });
    for doubt in index.rare.doubts.iter().filter(|doubt| names(&doubt.fact.about, checker.name)) {
        case.doubt(doubt.fact.text.clone());
    }
    case.close(checker.name, checker.guarantee, summary)
}

fn names(about: &[String], check: &str) -> bool {
    about.iter().any(|name| name == check)
}

/// What a panic said.
fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a word".to_owned()).escape_debug().to_string()
}

fn empty(checker: &Checker, status: Status) -> CheckResult {
    CheckResult {
        check: checker.name.to_owned(),
        guarantee: checker.guarantee.to_owned(),
        status,
        summary: "nothing can be said".to_owned(),
        reasons: Vec::new(),
        figures: std::collections::BTreeMap::new(),
        findings: Vec::new(),
    }
}

fn undecided(reasons: &[String], tally: Tally) -> Verdict {
    let check = |checker: &Checker| CheckResult {
        reasons: reasons.to_vec(),
        ..empty(checker, Status::Inconclusive)
    };
    Verdict { status: Status::Inconclusive, checks: TABLE.iter().map(check).collect(), tally }
}
