//! Repeated events: at-least-once allows them, and this says which. An event may come again where the
//! capture began anew between the two, at or before its position, and only if the worker had not
//! flushed an offset at or past it. What it had not flushed is known beforehand: the prediction that
//! the count is held against. A fault nearby explains nothing by itself.

use std::collections::BTreeMap;

use super::starts::Explained;
use super::tell::of_events;
use super::{Context, Window};
use crate::case::{Case, count, quoted};
use streamlake_history::event::{ChangeEvent, Lsn, OffsetFlush};

/// Flushes and events bear the time of one broker, in whole milliseconds.
const TICK_US: u64 = 1000;

/// The repeated events that one fault brought about.
#[derive(Default)]
struct Set {
    events: u64,
    first_us: Option<u64>,
    lowest: Option<Lsn>,
    highest: Option<Lsn>,
}

impl Set {
    fn take(&mut self, event: &ChangeEvent, lsn: Lsn) {
        self.events += 1;
        self.first_us = Some(self.first_us.map_or(event.at_us, |us| us.min(event.at_us)));
        self.lowest = Some(self.lowest.map_or(lsn, |lowest| lowest.min(lsn)));
        self.highest = self.highest.max(Some(lsn));
    }
}

/// What came of all repetitions.
#[derive(Default)]
struct Sorted<'a> {
    repeated: u64,
    unexplained: Vec<&'a ChangeEvent>,
    flushed: Vec<&'a ChangeEvent>,
    undecided: u64,
    /// By the fault before the start that explains them; none where no fault came before.
    sets: BTreeMap<Option<u32>, Set>,
}

/// Judges every repetition, and returns their part of the summary.
pub(super) fn judge(context: &Context<'_>, case: &mut Case<'_>) -> String {
    let sorted = sort(context);
    findings(context, &sorted, case);
    case.figure("repeated_events", sorted.repeated);
    case.figure("flushed_offsets", context.flushes.len() as u64);
    case.figure("capture_starts", context.starts.all().len() as u64);
    let none = Set::default();
    let mut text = format!("{} repeated", sorted.repeated);
    for window in &context.windows {
        let set = sorted.sets.get(&Some(window.fault)).unwrap_or(&none);
        let (unflushed, up_to) = unflushed(context, window, set);
        case.figure(&format!("fault_{}_repeated_events", window.fault), set.events);
        case.figure(&format!("fault_{}_unflushed_events", window.fault), unflushed);
        text.push_str(&told(window, set, unflushed, up_to));
    }
    if let Some(set) = sorted.sets.get(&None) {
        text = format!("{text}; {} where the capture began anew without a fault", set.events);
    }
    text
}

fn sort<'a>(context: &Context<'a>) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    let pairs = context.captured.changes.iter().zip(&context.captured.seen).enumerate();
    for (number, (change, events)) in pairs.filter(|(_, (_, events))| events.len() > 1) {
        sorted.repeated += events.len() as u64 - 1;
        let flushed = |event: &&&ChangeEvent| {
            context.flushes.iter().any(|flush| is_done(flush, change.lsn, event))
        };
        sorted.flushed.extend(events[1..].iter().filter(flushed).copied());
        match context.starts.explain(events, context.captured.commit_end(number)) {
            Explained::By(starts) => {
                for (start, event) in starts.into_iter().zip(&events[1..]) {
                    let window = fault_before(context, start).map(|window| window.fault);
                    sorted.sets.entry(window).or_default().take(event, change.lsn);
                }
            }
            Explained::Undecided => sorted.undecided += 1,
            Explained::Nothing if context.starts.unknown.is_some() => sorted.undecided += 1,
            Explained::Nothing => sorted.unexplained.extend(&events[1..]),
        }
    }
    sorted
}

/// An offset at or past the change was durable before its event came again.
fn is_done(flush: &OffsetFlush, change: Lsn, event: &ChangeEvent) -> bool {
    !flush.snapshot && flush.at_us + TICK_US < event.at_us && flush.lsn >= Some(change)
}

/// The last fault that had begun when the capture began anew.
fn fault_before<'a>(context: &'a Context<'_>, start: usize) -> Option<&'a Window<'a>> {
    let at = context.starts.all().get(start)?.at.high;
    let begun =
        |window: &&Window<'_>| i64::try_from(window.begun_us).is_ok_and(|begun| begun <= at);
    context.windows.iter().rfind(begun)
}

fn findings(context: &Context<'_>, sorted: &Sorted<'_>, case: &mut Case<'_>) {
    let promise = context.promise;
    report(
        case,
        "repeat-without-a-start",
        "repeated, and the capture did not begin anew before it in between",
        &sorted.unexplained,
    );
    report(
        case,
        "repeated-although-flushed",
        "repeated although their offsets were flushed",
        &sorted.flushed,
    );
    if promise.exactly_once && sorted.repeated > 0 {
        let events = context.captured.seen.iter().flat_map(|events| events.iter().skip(1));
        let events: Vec<&ChangeEvent> = events.copied().collect();
        let what = "repeated for readers of committed records, and each is promised once";
        report(case, "repeat-although-exactly-once", what, &events);
    }
    if sorted.undecided > 0 {
        let why = context.starts.unknown.as_deref().unwrap_or("the clocks do not tell");
        case.doubt(format!(
            "{} came again, and nobody can say whether the capture began anew in between: {}",
            count(sorted.undecided, "change"),
            quoted(why)
        ));
    }
    let offsets = context.index.lane(&promise.offsets_topic, 0).is_some_and(|lane| lane.complete());
    if sorted.repeated > 0 && !offsets {
        case.doubt("the worker's offsets were not read: nothing says how much may be repeated");
    }
}

/// Repeated events by what set the capture back.
pub(super) fn by_cause(context: &Context<'_>) -> BTreeMap<String, u64> {
    let sorted = sort(context);
    let mut causes = BTreeMap::new();
    for (fault, set) in &sorted.sets {
        let window = context.windows.iter().find(|window| Some(window.fault) == *fault);
        let name = match window {
            Some(window) => format!("captured again after {}", window.kind),
            None => "captured again after a start without a fault".to_owned(),
        };
        *causes.entry(name).or_default() += set.events;
    }
    let explained: u64 = causes.values().sum();
    if sorted.repeated > explained {
        causes.insert("captured again without a start".to_owned(), sorted.repeated - explained);
    }
    causes
}

/// How many events stood in the topic without a flushed offset when the capture began anew, and the
/// position that was flushed last.
fn unflushed(context: &Context<'_>, window: &Window<'_>, set: &Set) -> (u64, Option<Lsn>) {
    let anew = set.first_us.or(window.healed_us).unwrap_or(context.index.end_us);
    let up_to = context.flushes.iter().filter(|f| f.at_us <= anew).filter_map(|f| f.lsn).max();
    let captured = context.captured;
    let open = captured.changes.iter().zip(&captured.seen).filter(|(change, events)| {
        Some(change.lsn) > up_to && events.first().is_some_and(|event| event.at_us < anew)
    });
    (open.count() as u64, up_to)
}

fn told(window: &Window<'_>, set: &Set, unflushed: u64, up_to: Option<Lsn>) -> String {
    let name = window.name();
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
        let text = format!("{} {what}", count(events.len() as u64, "event"));
        case.find(of_events(anomaly, text, events));
    }
}
