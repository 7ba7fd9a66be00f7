//! Change data capture: each row change that the database committed has its event in the topic, in
//! order for each key. Events may come again after a fault, but only those whose offsets the worker
//! had not flushed.
//!
//! Both sides are named by their position in the database's log: what was committed is read from that
//! log itself, past the connector, and what was flushed from the worker's own topic of offsets.

mod matching;
mod repeats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::case::{Case, EVIDENCE_MAX, anomalous, count, quoted, seconds};
use super::fault_bit::step;
use crate::history::event::{
    ChangeEvent, FaultStage, RowOperation, SourceChange, SourcePromise, TransactionOutcome,
};
use crate::history::index::Index;
use crate::verdict::{Finding, OffsetRange, Tally};

use matching::Captured;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let Some(promise) = &index.header.promises.source else {
        return "no source database is under test".to_owned();
    };
    let topics_read = topics_complete(index, promise);
    let database_read = database(index, promise, case);
    at_the_end(index, case);
    let captured = Captured::of(index, promise);
    captured.undecided(case);
    if !(topics_read && database_read) {
        return "database or topic was not read to its end".to_owned();
    }
    let missing = missing(index, &captured, case);
    captured.strangers(case);
    captured.differing(case);
    order(index, &captured, case);
    let repeats = repeats::judge(index, promise, &captured, case);
    let recovered = recovery(index, &captured, case);
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

/// What has stopped can neither go on nor repeat anything: the capture must have run to the end.
fn at_the_end(index: &Index, case: &mut Case<'_>) {
    let source = &index.rare.source;
    match source.connectors.last() {
        Some(last) if last.fact.runs() => {}
        Some(last) => case.doubt(format!(
            "the connector did not run at the end: {}",
            last.fact.to_string().escape_debug()
        )),
        None => case.doubt("the connector was never looked at"),
    }
    match source.slots.last() {
        Some(last) if last.fact.active_pid.is_some() => {}
        Some(last) => {
            let why = last.fact.absent.as_deref().unwrap_or("nobody reads from it");
            case.doubt(format!("the connector's slot was not in use at the end: {}", quoted(why)));
        }
        None => case.doubt("the connector's slot was never looked at"),
    }
}

/// Changes without an event. One that was passed over, by later events or by reading the whole table
/// anew, is lost; one after the last event may be late, if the capture was not given its time.
fn missing(index: &Index, captured: &Captured<'_>, case: &mut Case<'_>) -> u64 {
    let (passed, tail) = captured.missing();
    if !passed.is_empty() {
        let text = format!(
            "{} have no event although the capture has gone past them{}",
            count(passed.len() as u64, "committed row change"),
            captured.read_up_to.map_or_else(String::new, |lsn| format!(
                "; the table was read as a whole up to {lsn}"
            ))
        );
        case.find(of_changes("change-not-captured", text, captured, &passed));
    }
    if let Some(&newest) = tail.last() {
        let waited = index.end_us.saturating_sub(captured.changes[newest].committed_us);
        // A worker that answers shows what became of the capture, be it that its task has failed; one
        // that does not is evidence cut short.
        let state = index.rare.source.connectors.last().map(|last| &last.fact);
        let state = state.filter(|state| state.state != "unreachable");
        let text = format!(
            "{} at the end of the database's log have no event, {} after the last commit",
            count(tail.len() as u64, "row change"),
            seconds(waited)
        );
        match state {
            Some(state) if waited >= index.header.promises.recovery_within_us => {
                let mut finding = of_changes("not-captured-in-time", text, captured, &tail);
                finding.evidence.insert(0, format!("the connector at the end: {state}"));
                case.find(finding);
            }
            _ => case.doubt(text),
        }
    }
    (passed.len() + tail.len()) as u64
}

fn of_changes(anomaly: &str, text: String, captured: &Captured<'_>, numbers: &[usize]) -> Finding {
    let mut finding = anomalous(anomaly, text);
    let changes = numbers.iter().map(|&n| captured.changes[n]);
    finding.at_us = changes.clone().map(|change| change.committed_us).min();
    finding.evidence = changes.take(EVIDENCE_MAX).map(describe).collect();
    finding
}

fn describe(change: &SourceChange) -> String {
    format!(
        "{:?} of {} in {} at {}, transaction {}, committed at {}",
        change.operation,
        quoted(&change.key),
        quoted(&change.table),
        change.lsn,
        change.transaction,
        seconds(change.committed_us)
    )
}

/// A finding about events of one topic: the offsets of the first one's partition, each event told.
fn of_events(anomaly: &str, text: String, events: &[&ChangeEvent]) -> Finding {
    let mut finding = anomalous(anomaly, text);
    if let Some(first) = events.first() {
        finding.topic = Some(first.topic.clone());
        finding.partition = Some(first.partition);
        let same =
            events.iter().filter(|e| (&e.topic, e.partition) == (&first.topic, first.partition));
        let ranges = same.map(|event| (event.offset, event.offset));
        let set = crate::history::index::RangeSet::of(ranges.collect::<Vec<_>>());
        let range = |&(first, last): &(u64, u64)| OffsetRange { first, last };
        finding.offsets = set.ranges().iter().map(range).collect();
    }
    finding.at_us = events.iter().map(|event| event.at_us).min();
    let tell = |event: &&ChangeEvent| {
        let position = event.lsn.map_or_else(|| "no position".to_owned(), |lsn| lsn.to_string());
        format!(
            "{}/{} offset {}: {:?} of {} at {position}, appended at {}",
            event.topic.escape_debug(),
            event.partition,
            event.offset,
            event.operation,
            quoted(&event.key),
            seconds(event.at_us)
        )
    };
    finding.evidence = events.iter().take(EVIDENCE_MAX).map(tell).collect();
    finding
}

/// Per key, events come first in the order of the commits. A fault may set the connector back once;
/// from there on it goes forward again.
fn order(index: &Index, captured: &Captured<'_>, case: &mut Case<'_>) {
    let begun: Vec<u64> = windows(index).iter().map(|window| window.begun_us).collect();
    let mut wrong: Vec<&ChangeEvent> = Vec::new();
    let mut split: Vec<&ChangeEvent> = Vec::new();
    for events in captured.by_key.values() {
        let (mut last, mut highest, mut first_seen) =
            (None, None, std::collections::BTreeSet::new());
        let mut set_back: BTreeMap<usize, u32> = BTreeMap::new();
        split.extend(
            events.windows(2).filter(|w| w[0].1.partition != w[1].1.partition).map(|w| w[1].1),
        );
        for &(change, event) in events {
            let back = last.is_some_and(|last| change < last);
            if first_seen.insert(change) {
                if highest.is_some_and(|highest| change < highest) {
                    wrong.push(event);
                }
            } else if back {
                let faults = begun.iter().filter(|&&begun| begun <= event.at_us + 1000).count();
                let times = set_back.entry(faults).or_default();
                *times += 1;
                // Without any fault the repetition itself is the finding.
                if faults > 0 && *times > 1 {
                    wrong.push(event);
                }
            }
            (last, highest) = (Some(change), highest.max(Some(change)));
        }
    }
    for (anomaly, events, what) in [
        ("event-out-of-order", wrong, "out of the order in which their rows were changed"),
        ("key-in-two-partitions", split, "in another partition than their key before"),
    ] {
        if !events.is_empty() {
            let text = format!("{} {what}", count(events.len() as u64, "change event"));
            case.find(of_events(anomaly, text, &events));
        }
    }
}

/// A fault window as far as it was seen.
pub(super) struct Window<'a> {
    pub(super) fault: u32,
    pub(super) kind: &'a str,
    pub(super) begun_us: u64,
    seen_us: Option<u64>,
    pub(super) healed_us: Option<u64>,
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
    tally.duplicates_by_cause = repeats::by_cause(index, &captured);
    let mut latencies = captured.latencies();
    latencies.sort_unstable();
    let quantile = |percent| latencies.get(latencies.len() * percent / 100).copied();
    tally.latency_p50_us = quantile(50);
    tally.latency_p99_us = quantile(99);
    tally.latency_max_us = latencies.last().copied();
}

fn recovery(index: &Index, captured: &Captured<'_>, case: &mut Case<'_>) -> String {
    let budget = index.header.promises.recovery_within_us;
    let mut longest = None;
    for window in windows(index) {
        let Some(healed) = window.healed_us else { continue };
        let name = format!("fault {} ({})", window.fault, quoted(window.kind));
        let after = captured.recovered(&window).map(|at| at - healed);
        longest = longest.max(after);
        let text = match after {
            Some(after) if after <= budget => continue,
            Some(after) => {
                format!("the capture went on {} after {name} had healed", seconds(after))
            }
            None if captured.newer(&window).next().is_some() => {
                format!("no row that was changed after {name} was captured")
            }
            None => {
                case.doubt(format!(
                    "no row was changed after {name}: nothing shows that it goes on"
                ));
                continue;
            }
        };
        let mut finding = anomalous("capture-did-not-recover", text);
        finding.at_us = Some(healed);
        finding.evidence.push(format!("the budget is {}", seconds(budget)));
        case.find(finding);
    }
    let Some(longest) = longest else { return String::new() };
    case.figure("recovered_after_heal_us", longest);
    format!(", recovered {} after the heal", seconds(longest))
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
