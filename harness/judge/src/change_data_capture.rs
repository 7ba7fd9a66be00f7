//! Change data capture: each row change that the database committed has its event in the topic, whole
//! and in order for each key, none before its commit, with a tombstone after each delete. Events may
//! come again where the capture started anew, but only those whose offsets the worker had not flushed.
//!
//! Both sides are named by their position in the database's log: what was committed is read from that
//! log itself, past the connector; what was flushed from the worker's own topic of offsets; and when
//! the capture started, and where, from the database's record of its senders.

mod clocks;
mod matching;
mod order;
mod recovery;
mod repeats;
mod rows;
mod snapshots;
mod starts;
mod tell;
#[cfg(test)]
mod tests;
mod timing;
mod tombstones;
mod watched;

use std::collections::BTreeMap;

use super::case::{Case, anomalous, count};
use super::fault_bit::step;
use crate::index::Index;
use crate::verdict::Tally;
use streamlake_history::event::{
    FaultStage, OffsetFlush, RowOperation, SourceChange, SourcePromise, TransactionOutcome,
};

use clocks::Clocks;
use matching::Captured;
use starts::Starts;

/// What the parts of this check share.
struct Context<'a> {
    index: &'a Index,
    promise: &'a SourcePromise,
    captured: &'a Captured<'a>,
    clocks: Clocks,
    starts: Starts,
    /// Fault windows that were begun, by time.
    windows: Vec<Window<'a>>,
    /// What the connector's worker flushed, by time.
    flushes: Vec<&'a OffsetFlush>,
}

impl<'a> Context<'a> {
    fn of(index: &'a Index, promise: &'a SourcePromise, captured: &'a Captured<'a>) -> Self {
        let clocks = Clocks::of(index);
        let flushes = index.rare.source.flushes.iter();
        Self {
            index,
            promise,
            captured,
            clocks,
            starts: Starts::of(index, promise, clocks),
            windows: windows(index),
            flushes: flushes.filter(|flush| flush.connector == promise.connector).collect(),
        }
    }
}

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let Some(promise) = &index.header.promises.source else {
        return "no source database is under test".to_owned();
    };
    let topics_read = topics_complete(index, promise);
    let database_read = database(index, promise, case);
    let captured = Captured::of(index, promise);
    let context = Context::of(index, promise, &captured);
    watched::judge(&context, case);
    captured.undecided(case);
    if !(topics_read && database_read) {
        case.doubt("database or topic was not read to its end");
    }
    let missing = match topics_read && database_read {
        true => recovery::missing(&context, case),
        false => 0,
    };
    // What the log of the database does not tell cannot be said to be in it.
    if database_read {
        captured.strangers(index, case);
        rows::judge(&context, case);
        snapshots::judge(&context, case);
    }
    timing::judge(&context, case);
    tombstones::judge(&context, case);
    order::judge(&context, case);
    let repeats = repeats::judge(&context, case);
    let recovered = recovery::judge(&context, case);
    figures(index, &captured, missing, case);
    let changes = count(captured.changes.len() as u64, "row change");
    let events = captured.events();
    let read = match captured.snapshots {
        0 => String::new(),
        rows => format!(" ({rows} of them by reading the whole table)"),
    };
    format!("{changes} committed, {events} events{read}, {missing} missing, {repeats}{recovered}")
}

fn topics_complete(index: &Index, promise: &SourcePromise) -> bool {
    let complete = |topic: &String| {
        let partitions = index.header.promises.topics.get(topic).copied().unwrap_or(0);
        (0..partitions).all(|p| index.lane(topic, p).is_some_and(|lane| lane.complete()))
    };
    promise.tables.values().all(complete)
}

/// The database's log was read and agrees with what the workload was told. A transaction that was
/// acknowledged and is not in the log is the database's own loss.
fn database(index: &Index, promise: &SourcePromise, case: &mut Case<'_>) -> bool {
    let source = &index.rare.source;
    let Some(read) = source.reads.first() else {
        case.doubt("the log of the source database was not read to its end");
        return false;
    };
    if read.changes != source.changes.len() as u64 {
        let told = source.changes.len();
        case.doubt(format!(
            "the reader of the database's log saw {} changes and told {told}",
            read.changes
        ));
    }
    let mut logged: BTreeMap<u64, u64> = BTreeMap::new();
    for change in &source.changes {
        *logged.entry(change.transaction).or_default() += 1;
    }
    let (mut committed, mut changes) = (0, 0);
    let numbered = |(at, change): (usize, &SourceChange)| change.change == at as u64;
    if !source.changes.iter().enumerate().all(numbered) {
        case.doubt("the changes of the database's log are not numbered without a hole");
    }
    for told in &source.transactions {
        let (number, transaction) = (told.fact.number, told.fact.transaction);
        let found = transaction.and_then(|id| logged.get(&id).copied()).unwrap_or(0);
        let anomaly = match told.fact.outcome {
            TransactionOutcome::Committed => {
                (committed, changes) = (committed + 1, changes + found);
                (found != u64::from(told.fact.changes))
                    .then_some("committed-but-not-in-the-database")
            }
            TransactionOutcome::RolledBack => {
                (found > 0).then_some("rolled-back-but-in-the-database")
            }
            TransactionOutcome::Unknown => {
                case.doubt(format!("nobody knows what became of transaction {number}"));
                None
            }
        };
        if let Some(anomaly) = anomaly {
            let text = format!(
                "the workload was told that transaction {number} of {} is {:?}; the database's log \
                 holds {found} of them",
                count(u64::from(told.fact.changes), "row change"),
                told.fact.outcome
            );
            let mut finding = anomalous(anomaly, text);
            finding.at_us = Some(told.t_us);
            case.find(finding);
        }
    }
    if committed < promise.transactions || changes < promise.changes {
        case.doubt(format!("{committed} of {} transactions were committed", promise.transactions));
    }
    if source.changes.is_empty() {
        case.doubt("no row was changed");
    }
    true
}

/// A fault window as far as it was seen.
struct Window<'a> {
    fault: u32,
    kind: &'a str,
    target: &'a str,
    begun_us: u64,
    seen_us: Option<u64>,
    healed_us: Option<u64>,
}

/// The fault windows that were begun, by time.
fn windows(index: &Index) -> Vec<Window<'_>> {
    let planned = index.header.promises.faults.iter();
    let mut windows: Vec<Window<'_>> = planned
        .filter_map(|planned| {
            let at = |stage| step(index, planned.fault, stage);
            Some(Window {
                fault: planned.fault,
                kind: &planned.kind,
                target: &planned.target,
                begun_us: at(FaultStage::Injecting)?,
                seen_us: at(FaultStage::Seen),
                healed_us: at(FaultStage::Healed),
            })
        })
        .collect();
    windows.sort_by_key(|window| window.begun_us);
    windows
}

/// First event, after a fault had healed, of a row that was changed after it was seen to bite.
pub(super) fn recovered_at(index: &Index, fault: u32) -> Option<u64> {
    let promise = index.header.promises.source.as_ref()?;
    let window = windows(index).into_iter().find(|window| window.fault == fault)?;
    Captured::of(index, promise).recovered(&window)
}

/// Counts a run for the tables of every report: what the database acknowledged, what of it is in the
/// topic, what is lost there, what came twice and after which fault.
pub(super) fn count_into(index: &Index, tally: &mut Tally) {
    let Some(promise) = &index.header.promises.source else { return };
    let captured = Captured::of(index, promise);
    let told = |outcome| {
        let told = index.rare.source.transactions.iter().filter(move |t| t.fact.outcome == outcome);
        told.map(|told| u64::from(told.fact.changes)).sum::<u64>()
    };
    tally.acknowledged = told(TransactionOutcome::Committed);
    tally.failed = told(TransactionOutcome::RolledBack);
    tally.unknown = told(TransactionOutcome::Unknown);
    tally.invoked = tally.acknowledged + tally.failed + tally.unknown;
    tally.logged = captured.events();
    let distinct = captured.seen.iter().filter(|events| !events.is_empty()).count() as u64;
    tally.logged_duplicates = captured.events() - distinct;
    if topics_complete(index, promise) && !index.rare.source.reads.is_empty() {
        tally.lost = captured.missing().0.len() as u64;
    }
    tally.duplicates_by_cause = repeats::by_cause(&Context::of(index, promise, &captured));
    let mut latencies = captured.latencies();
    latencies.sort_unstable();
    let quantile = |percent| latencies.get(latencies.len() * percent / 100).copied();
    tally.latency_p50_us = quantile(50);
    tally.latency_p99_us = quantile(99);
    tally.latency_max_us = latencies.last().copied();
}

fn figures(index: &Index, captured: &Captured<'_>, missing: u64, case: &mut Case<'_>) {
    let of =
        |operation| captured.changes.iter().filter(|c| c.operation == operation).count() as u64;
    for (name, operation) in [
        ("committed_inserts", RowOperation::Insert),
        ("committed_updates", RowOperation::Update),
        ("committed_deletes", RowOperation::Delete),
    ] {
        case.figure(name, of(operation));
    }
    let told = &index.rare.source.transactions;
    let rolled_back = told.iter().filter(|t| t.fact.outcome == TransactionOutcome::RolledBack);
    case.figure("rolled_back_transactions", rolled_back.count() as u64);
    case.figure("committed_changes", captured.changes.len() as u64);
    case.figure("captured_events", captured.events());
    case.figure("missing_changes", missing);
    case.figure("snapshot_events", captured.snapshots);
    case.figure("tombstone_events", captured.tombstones);
    let mut latencies = captured.latencies();
    latencies.sort_unstable();
    if let (Some(&median), Some(&last)) = (latencies.get(latencies.len() / 2), latencies.last()) {
        case.figure("capture_latency_median_us", median);
        case.figure("capture_latency_max_us", last);
    }
}
