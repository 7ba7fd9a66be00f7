//! What an orderly stop left behind: a consumer that is asked to stop commits what it delivered before
//! it ends, or its successor delivers it once more.
//!
//! One that took all the time it has may have been cut short, and is not judged by this; nor is one that
//! took part in a rebalance meanwhile, when the group may refuse its commits.

use std::collections::BTreeMap;

use super::super::case::{Case, anomalous, count, quoted, seconds, spelled};
use super::super::evidence::foreign;
use super::super::recovered::windows;
use crate::index::{
    At, Epoch, GroupLane, Index, RESOLUTION_US, RangeSet, Watched, is_of_process, shifted,
};
use streamlake_history::event::{
    Ask, Evidence, FaultStage, MembershipChange, PlannedFault, ProcessChange, ProcessEnd,
    ProcessState,
};

/// A rebalance so long before the stop may not have been over.
const REBALANCE_US: u64 = 2_000_000;

/// Judges one end of a consumer process, and says whether there was something to judge.
pub(super) fn judge(index: &Index, case: &mut Case<'_>, exit: &At<ProcessState>) -> bool {
    let fact = &exit.fact;
    let orderly = fact.asked == Some(Ask::Stop) && fact.end == Some(ProcessEnd::Code(0));
    let Some(asked_us) = asked_at(index, exit).filter(|_| orderly) else { return false };
    late(index, case, exit, asked_us);
    stayed(index, case, exit, asked_us);
    let begun_us = begun(index, exit);
    let mut judged = false;
    for (group, promise, lanes) in index.promised_groups() {
        let took = exit.t_us - asked_us;
        let in_time = promise.drains_within_us.is_some_and(|within| took < within);
        if !in_time
            || !fact.consumes_for(&promise.group)
            || index.watched(group) != Watched::Positions
        {
            continue;
        }
        for (lane, known) in lanes {
            let epochs = index.epochs(group, *lane).list;
            let held = held(&epochs, &fact.name, asked_us, exit.t_us);
            // What an earlier process of that name left behind is not this one's.
            let Some(own) = held.filter(|own| own.begin_us >= begun_us) else { continue };
            let from_us = own.begin_us.max(asked_us.saturating_sub(REBALANCE_US));
            if rebalanced(index, &promise.group, &fact.name, (from_us, exit.t_us)) {
                continue;
            }
            let Some(committed) = committed_by(index, known, &epochs, exit.t_us) else { continue };
            judged = true;
            let left = delivered_by(index, known, exit.t_us).from(own.start.max(committed));
            if left.is_empty() {
                continue;
            }
            let text = format!(
                "process {} was asked to stop at {} and ended at {} with exit code 0, but left {} of {} \
                 delivered and not committed, to be delivered once more: {}; committed was {committed}",
                quoted(&fact.name),
                seconds(asked_us),
                seconds(exit.t_us),
                count(left.len(), "record"),
                index.lane_name(*lane),
                spelled(&left)
            );
            let group = Some(promise.group.as_str());
            case.find_at("left-uncommitted", group, *lane, &left, text).at_us = Some(exit.t_us);
        }
    }
    judged
}

/// An orderly stop may take half as long again as it has for its commits.
const LATE: u64 = 3;

/// It ended in an orderly way and long after its time.
fn late(index: &Index, case: &mut Case<'_>, exit: &At<ProcessState>, asked_us: u64) {
    let mut groups = index.header.promises.groups.iter();
    let Some(promise) = groups.find(|promise| exit.fact.consumes_for(&promise.group)) else {
        return;
    };
    let Some(within) = promise.drains_within_us else { return };
    let took = exit.t_us - asked_us;
    if took.saturating_mul(2) <= within.saturating_mul(LATE) {
        return;
    }
    let text = format!(
        "process {} was asked to stop at {} and took {}, where {} are promised",
        quoted(&exit.fact.name),
        seconds(asked_us),
        seconds(took),
        seconds(within)
    );
    let mut finding = anomalous("stopped-late", text);
    (finding.group, finding.at_us) = (Some(promise.group.clone()), Some(exit.t_us));
    case.find(finding);
}

/// It ended in an orderly way and left its place in the group behind: its partitions wait for the session
/// to run out. Judged where its way into the group was seen to pass and nothing stood between it and the
/// coordinator when it went, and where no other member came or went at that time.
fn stayed(index: &Index, case: &mut Case<'_>, exit: &At<ProcessState>, asked_us: u64) {
    let name = &exit.fact.name;
    let disturbed = windows(index).iter().any(|window| {
        let mut planned = index.header.promises.faults.iter();
        let harmless = planned
            .find(|known| known.fault == window.fault)
            .is_some_and(PlannedFault::spares_brokers);
        !harmless && window.begin <= exit.t_us && window.healed.is_none_or(|at| at >= asked_us)
    });
    if disturbed || foreign(&index.header) {
        return;
    }
    for promise in &index.header.promises.groups {
        let took = exit.t_us - asked_us;
        let in_time = promise.drains_within_us.is_some_and(|within| took < within);
        // A static member keeps its place on purpose.
        if !in_time || promise.keeps_members || !exit.fact.consumes_for(&promise.group) {
            continue;
        }
        // While a group rebalances, a member on its way out may have nothing to leave yet.
        let near =
            asked_us.saturating_sub(REBALANCE_NEAR_US)..=exit.t_us.saturating_add(RESOLUTION_US);
        let mut steps = index.rare.memberships.iter().map(|step| &step.fact);
        let unsettled = steps.any(|step| {
            step.group == promise.group
                && !is_of_process(&step.member, name)
                && near.contains(&step.at_us)
        });
        if unsettled {
            continue;
        }
        let begun_us = begun(index, exit);
        let mut last: BTreeMap<&str, MembershipChange> = BTreeMap::new();
        for step in index.rare.memberships.iter().map(|step| &step.fact) {
            let own = step.group == promise.group && is_of_process(&step.member, name);
            let until = exit.t_us.saturating_add(RESOLUTION_US);
            if own && (begun_us..=until).contains(&step.at_us) {
                last.insert(&step.id, step.change);
            }
        }
        let holds = |change: &&MembershipChange| {
            matches!(change, MembershipChange::Joined | MembershipChange::Owns)
        };
        if last.values().filter(holds).count() == 0 || last.values().any(|c| !holds(&c)) {
            continue;
        }
        let text = format!(
            "process {} was asked to stop at {} and ended at {} with exit code 0, but did not leave group {}: its partitions wait until its session has run out",
            quoted(name),
            seconds(asked_us),
            seconds(exit.t_us),
            quoted(&promise.group)
        );
        let mut finding = anomalous("group-not-left", text);
        (finding.group, finding.at_us) = (Some(promise.group.clone()), Some(exit.t_us));
        case.find(finding);
    }
}

/// What other members do this long before a member is asked to stop may be a rebalance that still goes on.
const REBALANCE_NEAR_US: u64 = 10_000_000;

/// When the process that ended was started.
fn begun(index: &Index, exit: &At<ProcessState>) -> u64 {
    let starts = index.rare.processes.iter().filter(|state| {
        state.fact.name == exit.fact.name
            && state.fact.state == ProcessChange::Started
            && state.t_us <= exit.t_us
    });
    starts.map(|state| state.t_us).max().unwrap_or(0)
}

/// When it was asked: by the fault that was aimed at it, or with all others at the end.
fn asked_at(index: &Index, exit: &At<ProcessState>) -> Option<u64> {
    let aimed = |fault: u32| {
        let mut planned = index.header.promises.faults.iter();
        planned.any(|known| known.fault == fault && known.target == exit.fact.name)
    };
    let faults = index.rare.faults.iter();
    let faults = faults.filter(|s| s.fact.step == FaultStage::Injecting && aimed(s.fact.fault));
    let drains = index.rare.phases.iter().filter(|phase| phase.fact == "drain");
    let all = faults.map(|step| step.t_us).chain(drains.map(|phase| phase.t_us));
    all.filter(|at| *at <= exit.t_us).max()
}

/// The position from which a process read the partition until it was asked to stop, if it did.
fn held<'a>(epochs: &'a [Epoch], name: &str, asked_us: u64, end_us: u64) -> Option<&'a Epoch> {
    let last = epochs.iter().rfind(|epoch| epoch.begin_us <= end_us)?;
    let own = |member: &str| is_of_process(member, name);
    (last.begin_us < asked_us && last.member.as_deref().is_some_and(own)).then_some(last)
}

/// It took part in a rebalance after it had got its position, or others were given positions. A generation may
/// name its members by ids that say nothing of their processes; then what passed says it.
fn rebalanced(index: &Index, group: &str, name: &str, (from_us, end_us): (u64, u64)) -> bool {
    let meanwhile = |at_us: u64| from_us < at_us && at_us < end_us;
    let own = |member: &str| is_of_process(member, name);
    let mut generations = index.rare.generations.iter().map(|seen| &seen.fact);
    let mut positions = index.rare.positions.iter().map(|seen| &seen.fact);
    generations.any(|seen| {
        seen.group == group && meanwhile(seen.at_us) && seen.members.iter().any(|m| own(m))
    }) || positions.any(|seen| seen.group == group && meanwhile(seen.at_us) && !own(&seen.member))
        || index.rare.memberships.iter().map(|seen| &seen.fact).any(|seen| {
            let takes_part =
                matches!(seen.change, MembershipChange::Joined | MembershipChange::Refused);
            seen.group == group && takes_part && meanwhile(seen.at_us) && own(&seen.member)
        })
}

/// What the group had committed when the process was gone: where the next member began, or all that is
/// on record until then.
fn committed_by(index: &Index, known: &GroupLane, epochs: &[Epoch], end_us: u64) -> Option<u64> {
    let resolution = RESOLUTION_US.cast_signed();
    let by_then = known.commits.iter().filter(|commit| {
        let earliest = shifted(commit.at_us, index.clocks.of(commit.base).low);
        earliest <= shifted(end_us, 0).saturating_add(resolution)
    });
    let on_record = by_then.map(|commit| commit.offset).max();
    if index.vouches(Evidence::CommitsComplete) {
        return Some(on_record.unwrap_or(0));
    }
    let next = epochs.iter().find(|epoch| epoch.begin_us > end_us)?;
    Some(next.start.max(on_record.unwrap_or(0)))
}

/// What had been delivered by an instant, whatever the clocks are.
fn delivered_by(index: &Index, known: &GroupLane, end_us: u64) -> RangeSet {
    let mut delivered = RangeSet::default();
    for (base, cover) in &known.durable_by {
        let latest = |at_us: u64| shifted(at_us, index.clocks.of(*base).high);
        let pieces = cover.within((0, u64::MAX));
        let before = pieces.filter(|&(_, at_us)| latest(at_us) <= shifted(end_us, 0));
        delivered = delivered.union(&RangeSet::of(before.map(|(range, _)| range)));
    }
    delivered
}
