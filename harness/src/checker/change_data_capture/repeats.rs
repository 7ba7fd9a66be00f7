//! Repeated events: at-least-once allows them, and this says which. An event may come again after a
//! fault that came after it, if the worker had not flushed an offset at or past its position. What it
//! had not flushed when it went down is known beforehand: the prediction that the count is held
//! against.

use std::collections::BTreeMap;

use super::matching::Captured;
use super::{Window, of_events, windows};
use crate::checker::case::{Case, quoted};
use crate::history::event::{ChangeEvent, Lsn, OffsetFlush, SourcePromise};
use crate::history::index::Index;

/// The times of events and flushes are whole milliseconds, cut off: one that says `t` was at `t` or up
/// to a tick later, never before.
const TICK_US: u64 = 1000;

/// The repeated events that one fault explains.
#[derive(Default)]
struct Set {
    events: u64,
    first_us: Option<u64>,
    lowest: Option<Lsn>,
    highest: Option<Lsn>,
}

/// Judges every repetition, and returns their part of the summary.
pub(super) fn judge(
    index: &Index,
    promise: &SourcePromise,
    captured: &Captured<'_>,
    case: &mut Case<'_>,
) -> String {
    let windows = windows(index);
    let flushes: Vec<&OffsetFlush> = index
        .rare
        .source
        .flushes
        .iter()
        .filter(|flush| flush.connector == promise.connector)
        .collect();
    let mut sets: BTreeMap<u32, Set> = BTreeMap::new();
    let (mut unexplained, mut flushed): (Vec<&ChangeEvent>, Vec<&ChangeEvent>) = Default::default();
    let mut repeated = 0;
    for (change, events) in captured.changes.iter().zip(&captured.seen) {
        for pair in events.windows(2) {
            repeated += 1;
            let (before, event) = (pair[0], pair[1]);
            let Some(window) = cause(&windows, before, event) else {
                unexplained.push(event);
                continue;
            };
            let done = |flush: &&OffsetFlush| {
                flush.at_us + TICK_US < event.at_us && flush.lsn >= Some(change.lsn)
            };
            if flushes.iter().copied().any(|flush| done(&flush)) {
                flushed.push(event);
            }
            let set = sets.entry(window.fault).or_default();
            set.events += 1;
            set.first_us = Some(set.first_us.map_or(event.at_us, |us| us.min(event.at_us)));
            set.lowest = Some(set.lowest.map_or(change.lsn, |lsn| lsn.min(change.lsn)));
            set.highest = set.highest.max(Some(change.lsn));
        }
    }
    report(case, "repeat-without-a-fault", "repeated, and no fault explains it", &unexplained);
    report(
        case,
        "repeated-although-flushed",
        "repeated although their offsets were flushed",
        &flushed,
    );
    let offsets = index.lane(&promise.offsets_topic, 0).is_some_and(|lane| lane.complete());
    if repeated > 0 && !offsets {
        case.doubt("the worker's offsets were not read: nothing says how much may be repeated");
    }
    case.figure("repeated_events", repeated);
    case.figure("flushed_offsets", flushes.len() as u64);
    let none = Set::default();
    let mut text = format!("{repeated} repeated");
    for window in &windows {
        let set = sets.get(&window.fault).unwrap_or(&none);
        let (unflushed, up_to) = unflushed(index, captured, &flushes, window, set);
        case.figure(&format!("fault_{}_repeated_events", window.fault), set.events);
        case.figure(&format!("fault_{}_unflushed_events", window.fault), unflushed);
        text.push_str(&told(window, set, unflushed, up_to));
    }
    text
}

/// Repeated events by the fault that explains them.
pub(super) fn by_cause(index: &Index, captured: &Captured<'_>) -> BTreeMap<String, u64> {
    let windows = windows(index);
    let mut causes = BTreeMap::new();
    for pair in captured.seen.iter().flat_map(|events| events.windows(2)) {
        let name = match cause(&windows, pair[0], pair[1]) {
            Some(window) => format!("captured again after {}", window.kind),
            None => "captured again without a fault".to_owned(),
        };
        *causes.entry(name).or_default() += 1;
    }
    causes
}

/// The fault that explains why an event comes again: the last one that had begun by then, if the
/// event stood in the topic before that fault was over.
fn cause<'a>(
    windows: &'a [Window<'a>],
    before: &ChangeEvent,
    event: &ChangeEvent,
) -> Option<&'a Window<'a>> {
    let window = windows.iter().rfind(|window| window.begun_us <= event.at_us + TICK_US)?;
    let over = window.healed_us.unwrap_or(u64::MAX);
    (before.at_us <= over).then_some(window)
}

/// How many events stood in the topic without a flushed offset when the capture began anew, and the
/// position that was flushed last.
fn unflushed(
    index: &Index,
    captured: &Captured<'_>,
    flushes: &[&OffsetFlush],
    window: &Window<'_>,
    set: &Set,
) -> (u64, Option<Lsn>) {
    let anew = set.first_us.or(window.healed_us).unwrap_or(index.end_us);
    let up_to = flushes.iter().filter(|f| f.at_us <= anew).filter_map(|f| f.lsn).max();
    let open = captured.changes.iter().zip(&captured.seen).filter(|(change, events)| {
        Some(change.lsn) > up_to && events.first().is_some_and(|event| event.at_us < anew)
    });
    (open.count() as u64, up_to)
}

fn told(window: &Window<'_>, set: &Set, unflushed: u64, up_to: Option<Lsn>) -> String {
    let name = format!("fault {} ({})", window.fault, quoted(window.kind));
    let up_to =
        up_to.map_or_else(|| "nothing flushed".to_owned(), |lsn| format!("flushed up to {lsn}"));
    match (set.lowest, set.highest) {
        (Some(lowest), Some(highest)) => format!(
            "; {} after {name}, of {unflushed} that were not flushed ({up_to}, repeated {lowest} to \
             {highest})",
            set.events
        ),
        _ => format!("; none after {name}, where {unflushed} were not flushed ({up_to})"),
    }
}

fn report(case: &mut Case<'_>, anomaly: &str, what: &str, events: &[&ChangeEvent]) {
    if !events.is_empty() {
        let text = format!("{} {what}", super::count(events.len() as u64, "event"));
        case.find(of_events(anomaly, text, events));
    }
}
