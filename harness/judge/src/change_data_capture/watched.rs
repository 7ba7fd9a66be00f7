//! The state of connector, task and slot during the run. A task that has failed or is paused captures
//! nothing, even if all is well again at the end; what nobody watched is not known to have run.

use super::Context;
use crate::case::{Case, anomalous, quoted, seconds};
use crate::index::At;
use streamlake_history::event::{ConnectorState, SlotState};

/// States in which nothing is captured until somebody does something about it.
const DOWN: [&str; 4] = ["FAILED", "PAUSED", "STOPPED", "DESTROYED"];
/// Nobody needs longer than this from one look to the next, nor a worker to place a task anew.
const UNSEEN_US_MAX: u64 = 10_000_000;
/// Facts before this version do not say how long nobody looked.
const TELLS_LOOKS: u32 = 2;

pub(super) fn judge(context: &Context<'_>, case: &mut Case<'_>) {
    at_the_end(context, case);
    let connectors = &context.index.rare.source.connectors;
    let looks = connectors.iter().map(|state| state.fact.unseen_us);
    unseen(context, "connector", looks.collect(), connectors.last().map(|last| last.t_us), case);
    let slots = &context.index.rare.source.slots;
    let looks = slots.iter().map(|slot| slot.fact.unseen_us);
    unseen(context, "slot", looks.collect(), slots.last().map(|last| last.t_us), case);
    let begun = connectors.iter().position(|state| state.fact.runs()).unwrap_or(connectors.len());
    for (at, state) in connectors.iter().enumerate().skip(begun) {
        let until = connectors.get(at + 1).map_or(context.index.end_us, |next| next.t_us);
        if is_down(&state.fact) {
            down(context, state, until, case);
        } else if !state.fact.runs() {
            away(context, state, until, case);
        }
    }
    lost_slot(context, case);
}

fn is_down(state: &ConnectorState) -> bool {
    DOWN.contains(&state.state.as_str())
        || state.tasks.iter().any(|task| DOWN.contains(&task.state.as_str()))
}

/// A state that arose in a fault's window, and was over when the capture had to be back, is the
/// fault's; any other is the connector's own.
fn down(context: &Context<'_>, state: &At<ConnectorState>, until_us: u64, case: &mut Case<'_>) {
    if excused(context, state.t_us, until_us) {
        return;
    }
    let text = format!(
        "the connector did not work from {} to {}: {}",
        seconds(state.t_us),
        seconds(until_us),
        quoted(&state.fact.to_string())
    );
    let mut finding = anomalous("capture-was-down", text);
    finding.at_us = Some(state.t_us);
    let traces = state.fact.tasks.iter().filter_map(|task| {
        let trace = task.trace.as_deref()?;
        Some(format!("task {}: {}", task.task, quoted(trace)))
    });
    finding.evidence = traces.collect();
    case.find(finding);
}

/// Neither running nor failed: on its way to a worker, or out of sight.
fn away(context: &Context<'_>, state: &At<ConnectorState>, until_us: u64, case: &mut Case<'_>) {
    let long = until_us.saturating_sub(state.t_us) > UNSEEN_US_MAX;
    if long && !excused(context, state.t_us, until_us) {
        case.doubt(format!(
            "the connector was not seen to run from {} to {}: {}",
            seconds(state.t_us),
            seconds(until_us),
            quoted(&state.fact.to_string())
        ));
    }
}

/// A state lies in a fault's window, or in the time that the capture has to recover from it.
fn excused(context: &Context<'_>, from_us: u64, until_us: u64) -> bool {
    let budget = context.index.header.promises.recovery_within_us;
    context.windows.iter().any(|window| {
        let healed = window.healed_us.unwrap_or(u64::MAX);
        window.begun_us <= from_us && from_us <= healed && until_us <= healed.saturating_add(budget)
    })
}

fn unseen(
    context: &Context<'_>,
    what: &str,
    looks: Vec<Option<u64>>,
    last_us: Option<u64>,
    case: &mut Case<'_>,
) {
    let index = context.index;
    let Some(last_us) = last_us else { return };
    let read = index.rare.phases.iter().find(|phase| phase.fact == "final-read");
    if read.is_some_and(|read| last_us < read.t_us) {
        let last = seconds(last_us);
        case.doubt(format!("the {what} was not watched to the end, but to {last} only"));
    }
    if index.header.version < TELLS_LOOKS {
        return;
    }
    if looks.iter().any(Option::is_none) {
        case.doubt(format!("nobody noted how often the {what} was looked at"));
    }
    if let Some(longest) = looks.into_iter().flatten().max()
        && longest > UNSEEN_US_MAX
    {
        let longest = seconds(longest);
        case.doubt(format!(
            "nobody looked at the {what} for {longest}: it may have been down then"
        ));
    }
}

/// What has stopped can neither go on nor repeat anything: the capture must have run to the end.
fn at_the_end(context: &Context<'_>, case: &mut Case<'_>) {
    let source = &context.index.rare.source;
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

/// A slot that is dropped takes with it what was not captured: the database no longer keeps it.
fn lost_slot(context: &Context<'_>, case: &mut Case<'_>) {
    let slots = &context.index.rare.source.slots;
    let held = |slot: &At<SlotState>| slot.fact.absent.is_none();
    let begun = slots.iter().position(held).unwrap_or(slots.len());
    let gone = slots.iter().skip(begun).find(|slot| slot.fact.is_gone());
    let Some(gone) = gone.filter(|gone| !excused(context, gone.t_us, gone.t_us)) else { return };
    let text = format!("the connector's slot was gone at {}", seconds(gone.t_us));
    let mut finding = anomalous("slot-was-dropped", text);
    finding.at_us = Some(gone.t_us);
    case.find(finding);
}
