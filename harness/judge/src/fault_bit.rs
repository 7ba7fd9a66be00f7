//! The fault bit: each planned fault was begun, carried out, seen from outside to have met what it was
//! aimed at *and* the system under test, and healed, with something under way while it lasted. It never
//! fails: a fault that did not bite leaves the run without anything to show.
//!
//! What the evidence must show is said by the plan, one [`Demand`] each; [`demands`] compares what was
//! seen before, while and after the fault. Typed evidence and the words beside it are judged alike, and
//! neither may deny what the other shows. A history of version 1 has words only.
//!
//! [`Demand`]: streamlake_history::event::Demand

mod demands;
mod patient;
#[cfg(test)]
mod tests;
mod version_1;

use self::demands::{Looks, Told};
use super::case::{Case, count, quoted};
use crate::index::{At, Index};
use streamlake_history::event::{Demand, FaultLoad, FaultStage, FaultStep, PlannedFault};

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
    case.figure("faults", planned.len() as u64);
    case.figure("faults_bitten", bitten);
    format!("{bitten} of {} bit and healed", count(planned.len() as u64, "fault"))
}

/// Steps of faults that nobody planned: something was done to the run that its promises do not tell. A doubt
/// of the whole history, for where no fault is planned nobody asks for their evidence.
pub(super) fn unplanned(index: &Index) -> Option<String> {
    let planned = &index.header.promises.faults;
    let known = |fault: u32| planned.iter().any(|planned| planned.fault == fault);
    let step = index.rare.faults.iter().find(|step| !known(step.fact.fault))?;
    Some(format!("a step of fault {} was recorded, which is not planned", step.fact.fault))
}

/// The first instant of a step of a fault.
pub(super) fn step(index: &Index, fault: u32, stage: FaultStage) -> Option<u64> {
    steps(index, fault).filter(|s| s.fact.step == stage).map(|s| s.t_us).min()
}

fn steps(index: &Index, fault: u32) -> impl Iterator<Item = &At<FaultStep>> {
    index.rare.faults.iter().filter(move |step| step.fact.fault == fault)
}

fn doubts(index: &Index, fault: &PlannedFault) -> Vec<String> {
    let mut doubts = Vec::new();
    for step in steps(index, fault.fault).filter(|step| step.fact.step == FaultStage::Missed) {
        let reason = step.fact.evidence.get("reason").map_or("no reason given", String::as_str);
        doubts.push(format!("it failed or hit nothing: {reason}"));
    }
    order(index, fault, &mut doubts);
    if step(index, fault.fault, FaultStage::Seen).is_some() {
        if !has_evidence(index, fault.fault) {
            doubts.push("it was called seen without any evidence".to_owned());
        }
        evidence(index, fault, &mut doubts);
        load(index, fault, &mut doubts);
    }
    doubts
}

/// Every step is there, once, in its order. The effect may be seen before the act has returned.
fn order(index: &Index, fault: &PlannedFault, doubts: &mut Vec<String>) {
    use FaultStage::{Healed, Healing, Injected, Injecting, Seen};
    let name = |stage| match stage {
        Injecting => "injecting",
        Injected => "injected",
        Seen => "seen",
        Healing => "healing",
        _ => "healed",
    };
    for stage in [Injecting, Injected, Seen, Healed] {
        if step(index, fault.fault, stage).is_none() {
            doubts.push(format!("step `{}` is missing", name(stage)));
        }
    }
    let pairs = [
        (Injecting, Injected),
        (Injecting, Seen),
        (Injected, Healing),
        (Seen, Healing),
        (Healing, Healed),
        (Injected, Healed),
        (Seen, Healed),
    ];
    for (first, second) in pairs {
        let last = steps(index, fault.fault).filter(|s| s.fact.step == first).map(|s| s.t_us).max();
        if let (Some(first_us), Some(second_us)) = (last, step(index, fault.fault, second))
            && second_us < first_us
        {
            doubts.push(format!("step `{}` comes before `{}`", name(second), name(first)));
        }
    }
}

fn has_evidence(index: &Index, fault: u32) -> bool {
    let mut seen = steps(index, fault).filter(|step| step.fact.step == FaultStage::Seen);
    seen.any(|s| {
        s.fact.target.is_some()
            || s.fact.patient.is_some()
            || s.fact.evidence.values().any(|value| !value.trim().is_empty())
    })
}

/// What the evidence must show: as the history says, or, where it does not say, as faults of this kind
/// must.
fn shows(fault: &PlannedFault) -> &[Demand] {
    if fault.shows.is_empty() { version_1::shows(&fault.kind) } else { &fault.shows }
}

fn evidence(index: &Index, fault: &PlannedFault, doubts: &mut Vec<String>) {
    let demanded = shows(fault);
    if demanded.is_empty() {
        doubts.push("nobody says what the evidence of such a fault must show".to_owned());
    }
    let both = [Looks::typed(index, fault), Looks::words(index, fault)];
    for &demand in demanded {
        let told = both.iter().map(|looks| demands::told(index, fault, demand, looks));
        let (mut shown, mut silent) = (false, String::new());
        for told in told {
            match told {
                Told::Shown => shown = true,
                Told::Denied(reason) => doubts.push(reason),
                Told::Silent(reason) => silent = reason,
            }
        }
        if !shown && !silent.is_empty() {
            doubts.push(silent);
        }
    }
    doubts.dedup();
}

/// What the fault needs under way while its effect lasts.
fn load(index: &Index, fault: &PlannedFault, doubts: &mut Vec<String>) {
    let of_kind = || version_1::load(&fault.kind);
    let needed = fault.load.or_else(of_kind).filter(|_| fault.needs_load);
    let at = |stage| step(index, fault.fault, stage);
    let (Some(needed), Some(seen), Some(healed)) =
        (needed, at(FaultStage::Seen), at(FaultStage::Healed))
    else {
        return;
    };
    match needed {
        FaultLoad::Operations if in_flight(index, seen, healed) == 0 => {
            doubts.push("no operation was in flight while its effect lasted".to_owned());
        }
        FaultLoad::Deliveries if !patient::deliveries_due(index, fault, seen, healed) => {
            doubts.push(
                "no record waited to be delivered while its effect lasted: all that was \
                 acknowledged by then had been committed before"
                    .to_owned(),
            );
        }
        _ => {}
    }
}

/// Operations that were in flight at some time in a window: begun by its end and not ended before
/// its begin, to the millisecond.
pub(super) fn in_flight(index: &Index, begin_us: u64, end_us: u64) -> u64 {
    let operations =
        index.invocations.up_to(end_us).saturating_sub(index.completions.before(begin_us));
    operations + index.rare.source.in_flight(begin_us, end_us)
}
