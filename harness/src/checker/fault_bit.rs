//! The fault bit: each planned fault was begun, carried out, seen from outside with evidence, and
//! healed, and operations were in flight meanwhile where the plan asks for that. It never fails: a
//! fault that did not bite leaves the run without anything to show.

use super::case::{Case, count, quoted};
use crate::history::event::{FaultStage, FaultStep, PlannedFault};
use crate::history::index::{At, Index};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let planned = &index.header.promises.faults;
    let mut bitten = 0;
    for fault in planned {
        let doubts = doubts(index, fault);
        bitten += u64::from(doubts.is_empty());
        for doubt in doubts {
            let (kind, target) = (quoted(&fault.kind), quoted(&fault.target));
            case.doubt(format!("fault {} ({kind} on {target}): {doubt}", fault.fault));
        }
    }
    for step in &index.rare.faults {
        if !planned.iter().any(|fault| fault.fault == step.fact.fault) {
            case.doubt(format!(
                "a step of fault {} was recorded, which is not planned",
                step.fact.fault
            ));
        }
    }
    case.figure("faults", planned.len() as u64);
    case.figure("faults_bitten", bitten);
    format!("{bitten} of {} bit and healed", count(planned.len() as u64, "fault"))
}

/// The first instant of a step of a fault.
pub(super) fn step(index: &Index, fault: u32, stage: FaultStage) -> Option<u64> {
    let steps = index.rare.faults.iter().filter(|s| s.fact.fault == fault && s.fact.step == stage);
    steps.map(|s| s.t_us).min()
}

fn doubts(index: &Index, fault: &PlannedFault) -> Vec<String> {
    use FaultStage::{Healed, Injected, Injecting, Missed, Seen};
    let at = |stage| step(index, fault.fault, stage);
    let mut doubts = Vec::new();
    let missed = |s: &&At<FaultStep>| s.fact.fault == fault.fault && s.fact.step == Missed;
    for step in index.rare.faults.iter().filter(missed) {
        let reason = step.fact.evidence.get("reason").map_or("no reason given", String::as_str);
        doubts.push(format!("it failed or hit nothing: {reason}"));
    }
    let mut before = (0, "the start");
    let stages =
        [(Injecting, "injecting"), (Injected, "injected"), (Seen, "seen"), (Healed, "healed")];
    for (stage, name) in stages {
        match at(stage) {
            None => doubts.push(format!("step `{name}` is missing")),
            // The effect may be seen while the act has not returned yet.
            Some(t) if t < before.0 && stage != Seen => {
                doubts.push(format!("step `{name}` comes before {}", before.1));
            }
            Some(t) => before = (t.max(before.0), name),
        }
    }
    if at(Seen).is_some() && !has_evidence(index, fault.fault, Seen) {
        doubts.push("it was called seen without any evidence".to_owned());
    }
    let last = |stage| {
        let steps = index.rare.faults.iter().filter(|s| s.fact.fault == fault.fault);
        steps.filter(|s| s.fact.step == stage).map(|s| s.t_us).max()
    };
    if last(Healed).is_some() && last(Injecting) > last(Healed) {
        doubts.push("it was injected again after it had healed".to_owned());
    }
    if fault.needs_load
        && let (Some(begin), Some(end)) = (at(Injecting), at(Healed))
        && in_flight(index, begin, end) == 0
    {
        doubts.push("no operation was in flight in its window".to_owned());
    }
    doubts
}

fn has_evidence(index: &Index, fault: u32, stage: FaultStage) -> bool {
    let steps = index.rare.faults.iter().filter(|s| s.fact.fault == fault && s.fact.step == stage);
    steps.into_iter().any(|s| s.fact.evidence.values().any(|value| !value.trim().is_empty()))
}

/// Operations that were in flight at some time in a window: begun by its end and not ended before
/// its begin, to the millisecond.
pub(super) fn in_flight(index: &Index, begin_us: u64, end_us: u64) -> u64 {
    let operations =
        index.invocations.up_to(end_us).saturating_sub(index.completions.before(begin_us));
    operations + index.rare.source.in_flight(begin_us, end_us)
}
