//! Nothing missing at the end, and the capture moving again after each fault: from the offset that was
//! flushed, within the time that it has; and never standing still where nothing was broken.

use super::tell::of_changes;
use super::{Context, Window};
use crate::case::{Case, anomalous, count, quoted, seconds};
use crate::recovered::outside;
use streamlake_history::event::RowOperation;

/// Changes without an event. One that was passed over, by later events or by reading the whole table
/// anew, is lost; one after the last event may be late, if the capture was not given its time.
pub(super) fn missing(context: &Context<'_>, case: &mut Case<'_>) -> u64 {
    let (index, captured) = (context.index, context.captured);
    let (passed, tail) = captured.missing();
    if !passed.is_empty() {
        let text = format!(
            "{} have no event although the capture has gone past them{}",
            count(passed.len() as u64, "committed row change"),
            captured.read_up_to.map_or_else(String::new, |lsn| format!(
                "; the table was read as a whole up to {lsn}"
            ))
        );
        // Theirs may be among those that nobody could read.
        match captured.has_unreadable() {
            true => case.doubt(text),
            false => case.find(of_changes("change-not-captured", text, captured, &passed)),
        }
    }
    let behind = tail.len();
    let tail = done_with(context, case, tail);
    if let Some(&newest) = tail.last() {
        let waited = index.end_us.saturating_sub(captured.changes[newest].committed_us);
        // A worker that answers shows what became of the capture, even that its task has failed; one
        // that does not is evidence cut short.
        let state = index.rare.source.connectors.last().map(|last| &last.fact);
        let state = state.filter(|state| state.state != "unreachable");
        let text = format!(
            "{} at the end of the database's log have no event, {} after the last commit",
            count(tail.len() as u64, "row change"),
            seconds(waited)
        );
        match state {
            Some(state)
                if waited >= index.header.promises.recovery_within_us
                    && !captured.has_unreadable() =>
            {
                let mut finding = of_changes("not-captured-in-time", text, captured, &tail);
                finding.evidence.insert(0, format!("the connector at the end: {state}"));
                case.find(finding);
            }
            _ => case.doubt(text),
        }
    }
    (passed.len() + behind) as u64
}

/// Of the changes behind the last event those that the worker's offsets call done are lost: nothing will
/// capture them any more. Gives the others.
fn done_with(context: &Context<'_>, case: &mut Case<'_>, tail: Vec<usize>) -> Vec<usize> {
    let captured = context.captured;
    let flushes = context.flushes.iter().filter(|flush| !flush.snapshot);
    let Some(done) = flushes.filter_map(|flush| flush.lsn).max() else { return tail };
    let (lost, tail): (Vec<usize>, Vec<usize>) =
        tail.into_iter().partition(|&change| captured.changes[change].lsn <= done);
    if !lost.is_empty() {
        let text = format!(
            "{} at the end of the database's log have no event although the worker's offsets are past \
             them, at {done}",
            count(lost.len() as u64, "committed row change")
        );
        match captured.has_unreadable() {
            true => case.doubt(text),
            false => case.find(of_changes("change-not-captured", text, captured, &lost)),
        }
    }
    tail
}

/// Judges each fault window, and the time outside of them. Returns this part of the summary.
pub(super) fn judge(context: &Context<'_>, case: &mut Case<'_>) -> String {
    let longest =
        context.windows.iter().filter_map(|window| recovered(context, window, case)).max();
    for window in &context.windows {
        if is_aimed_at_the_capture(context, window) {
            resumed(context, window, case);
        }
    }
    late(context, case);
    standstill(context, case);
    let Some(longest) = longest else { return String::new() };
    case.figure("recovered_after_heal_us", longest);
    format!(", recovered {} after the heal", seconds(longest))
}

/// Changes that waited longer for their event than a recovery may take, without the time in which something was
/// broken. That one event came soon after a fault says nothing of the others.
fn late(context: &Context<'_>, case: &mut Case<'_>) {
    let captured = context.captured;
    let budget = context.index.header.promises.recovery_within_us;
    let broken = || {
        context.windows.iter().map(|window| (window.begun_us, window.healed_us.unwrap_or(u64::MAX)))
    };
    let mut waits: Vec<(u64, usize)> = Vec::new();
    for (number, (change, events)) in captured.changes.iter().zip(&captured.seen).enumerate() {
        // How long the rows before the connector waited for it is not its fault.
        let first = events.first().filter(|event| event.operation != RowOperation::Read);
        let Some(first) = first.filter(|_| !captured.is_excused(number)) else { continue };
        let wait = outside(change.committed_us, first.at_us, broken());
        if wait > budget {
            waits.push((wait, number));
        }
    }
    let Some(longest) = waits.iter().map(|(wait, _)| *wait).max() else { return };
    let numbers: Vec<usize> = waits.into_iter().map(|(_, number)| number).collect();
    let text = format!(
        "{} whose event came late, the latest {} after its commit with nothing broken",
        count(numbers.len() as u64, "row change"),
        seconds(longest)
    );
    let mut finding = of_changes("captured-late", text, captured, &numbers);
    finding.evidence.push(format!("the budget is {}", seconds(budget)));
    case.find(finding);
}

/// When the capture moved again after one fault.
fn recovered(context: &Context<'_>, window: &Window<'_>, case: &mut Case<'_>) -> Option<u64> {
    let budget = context.index.header.promises.recovery_within_us;
    let healed = window.healed_us?;
    let name = window.name();
    let after = context.captured.recovered(window).map(|at| at - healed);
    let text = match after {
        Some(after) if after <= budget => return Some(after),
        Some(after) => format!("the capture went on {} after {name} had healed", seconds(after)),
        None if context.captured.newer(window).next().is_some() => {
            format!("no row that was changed after {name} was captured")
        }
        None => {
            case.doubt(format!("no row was changed after {name}: nothing shows that it goes on"));
            return None;
        }
    };
    let mut finding = anomalous("capture-did-not-recover", text);
    finding.at_us = Some(healed);
    finding.evidence.push(format!("the budget is {}", seconds(budget)));
    case.find(finding);
    after
}

/// A fault that breaks or restarts the connector itself, its worker or its database: after it the task
/// has to begin anew. After a broker's it may just go on.
fn is_aimed_at_the_capture(context: &Context<'_>, window: &Window<'_>) -> bool {
    [context.promise.connector.as_str(), "connect", "database"].contains(&window.target)
}

/// A task that was not restarted, or that had no flushed offset to begin from, does not show that it
/// resumes from one.
fn resumed(context: &Context<'_>, window: &Window<'_>, case: &mut Case<'_>) {
    let name = window.name();
    let budget = context.index.header.promises.recovery_within_us;
    let end = window.healed_us.unwrap_or(u64::MAX).saturating_add(budget);
    let (begun, end) = (signed(window.begun_us), signed(end));
    let within = |at: &super::clocks::Span| at.high >= begun && at.low <= end;
    let Some(start) = context.starts.all().iter().find(|start| within(&start.at)) else {
        let why = context.starts.unknown.as_deref().unwrap_or("its sender stayed the same");
        case.doubt(format!(
            "the task was not seen to start anew after {name}: nothing shows that it resumes from its \
             offset ({why})"
        ));
        return;
    };
    let done = context.flushes.iter().filter(|flush| {
        let flushed = context.clocks.appended(flush.at_us);
        !flush.snapshot && flushed.low <= start.at.high
    });
    match (done.filter_map(|flush| flush.lsn).max(), start.asked) {
        (None, _) => case.doubt(format!(
            "nothing had been flushed when the task started anew after {name}: it had no offset to \
             resume from; flush sooner (`offset.flush.interval.ms`), or let the fault wait for it"
        )),
        (Some(flushed), Some(asked)) if asked > flushed => case.doubt(format!(
            "the task began at {asked} after {name}, beyond {flushed}, which was flushed last"
        )),
        _ => {}
    }
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

/// The longest time in which committed changes waited and none was captured. Where no fault was near,
/// it may not be longer than a recovery may take.
fn standstill(context: &Context<'_>, case: &mut Case<'_>) {
    let stretches = stretches(context);
    let Some(longest) = stretches.iter().map(|(from, to)| to - from).max() else { return };
    case.figure("longest_capture_standstill_us", longest);
    let budget = context.index.header.promises.recovery_within_us;
    let near = |from: u64, to: u64| {
        context.windows.iter().any(|window| {
            let over = window.healed_us.unwrap_or(u64::MAX).saturating_add(budget);
            window.begun_us <= to && from <= over
        })
    };
    for (from, to) in stretches {
        if to - from > budget && !near(from, to) {
            let text = format!(
                "the capture stood still for {} from {} on, with changes to capture and no fault near",
                seconds(to - from),
                seconds(from)
            );
            let mut finding = anomalous("capture-stood-still", text);
            finding.at_us = Some(from);
            finding.evidence.push(format!("the budget is {}", seconds(budget)));
            case.find(finding);
        }
    }
}

/// From the first change that waited, or from the event before it, to the next event.
fn stretches(context: &Context<'_>) -> Vec<(u64, u64)> {
    let captured = context.captured;
    let pairs = captured.changes.iter().zip(&captured.seen).enumerate();
    let mut waiting: Vec<(u64, u64)> = pairs
        .filter(|(number, _)| !captured.is_excused(*number))
        .filter_map(|(_, (change, events))| {
            // What was never captured is told as missing; and how long the rows before the connector
            // waited for it is not its fault.
            let first = events.first().filter(|event| event.operation != RowOperation::Read)?;
            Some((first.at_us, change.committed_us))
        })
        .collect();
    waiting.sort_unstable();
    // From each change on, the earliest commit among it and those that are captured later.
    let mut earliest = u64::MAX;
    let mut since: Vec<u64> = waiting
        .iter()
        .rev()
        .map(|(_, committed)| {
            earliest = earliest.min(*committed);
            earliest
        })
        .collect();
    since.reverse();
    let mut before = 0;
    let mut stretches = Vec::new();
    for ((at, _), since) in waiting.into_iter().zip(since) {
        let from = since.max(before);
        if at > from {
            stretches.push((from, at));
        }
        before = before.max(at);
    }
    stretches
}

impl Window<'_> {
    /// How it is called in sentences.
    pub(super) fn name(&self) -> String {
        format!("fault {} ({})", self.fault, quoted(self.kind))
    }
}
