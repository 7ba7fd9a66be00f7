//! Recovery: after each heal producers are acknowledged and every group commits newer records of every
//! partition within the budget, and at the end nothing is left over. And without any fault near no
//! partition stands still for longer than was promised.
//!
//! Liveness: it can only be asked because the faults have healed. Time inside other fault windows does
//! not count against anybody.

use super::case::{Case, anomalous, count, quoted, seconds, spelled};
use super::evidence::{commits_open, foreign, owed_from, produces, read_lanes};
use super::fault_bit::step;
use super::health;
use super::outcomes::meets_producers;
use super::prompt;
use super::recovered::{
    Comeback, Window, comebacks, last, outside, recovered, undisturbed, windows,
};
use super::standstill::{Standstill, standstills};
use crate::index::{GroupLane, Index, Lane, RangeSet};
use streamlake_history::event::{CUT_SHORT, Evidence, FaultStage};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let records: u64 = index.promised_lanes().map(|(_, lane)| lane.logged().len()).sum();
    if records == 0 {
        case.doubt("the log holds no record");
    }
    if index.rare.phases.iter().any(|phase| phase.fact == CUT_SHORT) {
        case.doubt("a process died and ended the run: nothing had the time to recover");
        return "the run was cut short".to_owned();
    }
    let (lag, on_their_way) = left_over(index, case);
    let mut sentence = format!("{} left over at the end", count(lag, "record"));
    if on_their_way > 0 {
        sentence.push_str(&format!(", {on_their_way} on their way"));
    }
    let windows = windows(index);
    unhealed(index, case);
    let acks: Vec<u64> =
        windows.iter().filter_map(|window| producers(index, case, &windows, window)).collect();
    open_load(index, case, &windows);
    if let Some(after) = acks.into_iter().max() {
        case.figure("first_ack_after_heal_us", after);
        sentence.push_str(&format!(", first ack after heal {}", seconds(after)));
    }
    let mut back = Vec::new();
    for window in &windows {
        back.extend(consumers(index, case, &windows, window));
    }
    idle(index, case, &windows);
    if let Some((after, place)) = back.into_iter().max() {
        case.figure("recovered_after_heal_us", after);
        sentence.push_str(&format!(", recovered after heal {}", seconds(after)));
        if after > 0 {
            sentence.push_str(&format!(", last in {place}"));
        }
    }
    prompt::judge(index, case, &windows);
    let stands = standstills(index);
    health::judge(index, case, &stands);
    pressed(index, case, &windows);
    if let Some(longest) = still(index, case, &windows, &stands) {
        case.figure("longest_standstill_us", longest);
        sentence.push_str(&format!(", longest standstill {}", seconds(longest)));
    }
    case.figure("left_over_records", lag);
    sentence
}

/// A fault that never healed leaves nothing to recover from.
fn unhealed(index: &Index, case: &mut Case<'_>) {
    for fault in &index.header.promises.faults {
        if step(index, fault.fault, FaultStage::Healed).is_none() {
            let fault = fault.fault;
            case.doubt(format!("fault {fault} never healed, so no recovery can be asked for"));
        }
    }
}

/// Records of the log at or above the offset committed at the end, and how many more of a group that goes on
/// were on their way to it.
fn left_over(index: &Index, case: &mut Case<'_>) -> (u64, u64) {
    let (mut total, mut on_their_way) = (0, 0);
    for (_, promise, lanes) in index.promised_groups() {
        // Without the last commits everything would look left over; the ledger says that they lack.
        if commits_open(index, lanes) || !commits_vouched(index) {
            continue;
        }
        for (number, lane) in read_lanes(index, promise).filter(|(_, lane)| lane.complete()) {
            let known = lanes.get(&number);
            let Some(from) = owed_from(lane, promise, known) else { continue };
            let end = known.and_then(GroupLane::committed_end).unwrap_or(0);
            let open = lane.logged().from(from.max(end));
            if open.is_empty() {
                continue;
            }
            if promise.may_stop_early && young(index, lane, &open) {
                on_their_way += open.len();
                continue;
            }
            // Which commit came last may hang on clocks that nobody compared.
            let unsure = known.map_or(RangeSet::default(), |known| unsure_end(index, known, &open));
            if !unsure.is_empty() {
                case.doubt(format!(
                    "whether group {} left {} of {} hangs on which of its commits came last, and nobody compared \
                     the clocks that say so: {}",
                    quoted(&promise.group),
                    count(unsure.len(), "record"),
                    index.lane_name(number),
                    spelled(&unsure)
                ));
            }
            let open = open.minus(&unsure);
            if open.is_empty() {
                continue;
            }
            total += open.len();
            let text = format!(
                "group {} left {} of {} above its committed offset {end}: {}",
                quoted(&promise.group),
                count(open.len(), "record"),
                index.lane_name(number),
                spelled(&open)
            );
            if promise.may_stop_early {
                case.doubt(format!("{text}; nobody said that it was to read to the end"));
                continue;
            }
            let finding = case.find_at("left-over", Some(&promise.group), number, &open, text);
            finding.at_us = Some(index.end_us);
        }
    }
    (total, on_their_way)
}

/// Of records above the last commit those that are below another one, told by another clock.
fn unsure_end(index: &Index, known: &GroupLane, open: &RangeSet) -> RangeSet {
    let Some(last) = known.commits.last().filter(|_| foreign(&index.header)) else {
        return RangeSet::default();
    };
    let others = known.commits.iter().filter(|commit| commit.base != last.base);
    others.map(|commit| commit.offset).max().map_or(RangeSet::default(), |most| open.below(most))
}

/// The oldest of these records was written so shortly before the end that its group is not late with it. Of
/// a foreign history it is not known reliably when a record was written.
fn young(index: &Index, lane: &Lane, open: &RangeSet) -> bool {
    let promises = &index.header.promises;
    let bound = promises.standstill_within_us.unwrap_or(promises.recovery_within_us);
    let since_ms = index.end_us.saturating_sub(bound) / 1000;
    let since_ms = index.started_at_ms.zip(i64::try_from(since_ms).ok());
    let recent = since_ms.and_then(|(zero, since)| lane.first_from_ms(zero.saturating_add(since)));
    let first = open.ranges().first().map(|range| range.0);
    !foreign(&index.header) && recent.zip(first).is_some_and(|((recent, _), first)| recent <= first)
}

fn commits_vouched(index: &Index) -> bool {
    index.vouches(Evidence::CommitsSampled) || index.vouches(Evidence::CommitsComplete)
}

/// Time from the heal of a window to the next acknowledgement, where there was anything to acknowledge.
fn producers(
    index: &Index,
    case: &mut Case<'_>,
    windows: &[Window],
    window: &Window,
) -> Option<u64> {
    let healed = window.healed?;
    if !index.vouches(Evidence::Receipts) || !produces(&index.header) {
        return None;
    }
    let budget = index.header.promises.recovery_within_us;
    let first = index.acks.first_from(healed);
    let after = first.map(|at| at - healed);
    let waited = |to| undisturbed(windows, window.fault, healed, to);
    match first {
        Some(at) if waited(at) <= budget => return after,
        // Nothing was to be done for so long: whoever has no work is not stuck.
        Some(_) if pending(index, window, healed.saturating_add(budget)) == 0 => return after,
        None if !left_waiting(index, window, healed) => return after,
        _ => {}
    }
    let text = match after {
        Some(after) => format!("the first acknowledgement came {} after the heal", seconds(after)),
        None => "nothing was acknowledged after the heal".to_owned(),
    };
    producers_stuck(case, text, healed, window.fault, budget);
    after
}

/// Operations invoked by an instant and not ended by then, without those that were invoked before the
/// window and never heard of again: they waited for nothing that the fault could have taken away.
fn pending(index: &Index, window: &Window, at_us: u64) -> u64 {
    let forgotten = index
        .ops
        .kept
        .values()
        .filter(|kept| kept.end.is_none() && kept.invocation.t_us < window.begin);
    let open = index.invocations.up_to(at_us).saturating_sub(index.completions.up_to(at_us));
    open.saturating_sub(forgotten.count() as u64)
}

/// Producers meet the fault.
fn meets(index: &Index, fault: u32) -> bool {
    let planned = index.header.promises.faults.iter().find(|planned| planned.fault == fault);
    planned.is_none_or(|planned| meets_producers(&planned.kind))
}

/// An operation of the window or after it got no acknowledgement although it had the time.
fn left_waiting(index: &Index, window: &Window, healed: u64) -> bool {
    // What was handed over before the heal and never heard of again was taken away by the fault only if
    // producers meet it; else its answer was lost on another way.
    let from = if meets(index, window.fault) { window.begin } else { healed };
    index.ops.kept.values().any(|kept| {
        kept.invocation.t_us >= if kept.end.is_some() { window.begin } else { from }
            && kept.ended_us.is_none_or(|ended| ended > healed)
            && !matches!(kept.end, Some(crate::index::End::Rejected))
    })
}

/// The load ended without an acknowledgement: whether that was after the last heal, and for how long.
fn open_load(index: &Index, case: &mut Case<'_>, windows: &[Window]) {
    let healed = windows.iter().filter_map(|window| Some((window.healed?, window.fault))).max();
    let (Some((healed, fault)), Some((from, to))) = (healed, open_end(index)) else { return };
    let budget = index.header.promises.recovery_within_us;
    if undisturbed(windows, fault, from.max(healed), to) > budget {
        let text = format!(
            "nothing was acknowledged from {} until the load ended at {}, although the fault had \
             healed by {}",
            seconds(from),
            seconds(to),
            seconds(healed)
        );
        producers_stuck(case, text, from.max(healed), fault, budget);
    } else if to <= healed && windows.iter().any(|window| meets(index, window.fault)) {
        case.doubt(format!(
            "nothing was acknowledged from {} until the load ended at {}, before the fault had \
             healed: that producers are acknowledged again was not seen",
            seconds(from),
            seconds(to)
        ));
    }
}

fn producers_stuck(case: &mut Case<'_>, text: String, at_us: u64, fault: u32, budget: u64) {
    let mut finding = anomalous("producers-did-not-recover", text);
    finding.at_us = Some(at_us);
    finding.evidence.push(format!("the budget after fault {fault} is {}", seconds(budget)));
    case.find(finding);
}

/// The time without an acknowledgement at the end of the load: from the last one to the last
/// operation that ended otherwise or never did. Nobody knows how long it would have lasted.
pub(super) fn open_end(index: &Index) -> Option<(u64, u64)> {
    let open = index.ops.kept.values().filter(|kept| kept.end.is_none());
    let never = open.map(|kept| kept.invocation.t_us).max();
    let last = never.max(index.unacknowledged.last())?;
    let from = index.acks.last().or_else(|| index.invocations.first_from(0))?;
    (last > from).then_some((from, last))
}

/// Time from the heal of a window until every group had committed, in every partition that had work, a
/// record that was written after the outage began.
fn consumers(
    index: &Index,
    case: &mut Case<'_>,
    windows: &[Window],
    window: &Window,
) -> Option<(u64, String)> {
    let healed = window.healed?;
    let budget = index.header.promises.recovery_within_us;
    if !commits_vouched(index) {
        return None;
    }
    for (_, promise, lanes) in index.promised_groups() {
        let comebacks = comebacks(index, promise, lanes, window.outage, healed);
        for comeback in &comebacks {
            let took = |at| undisturbed(windows, window.fault, comeback.due_us, at);
            let late = match comeback.at_us {
                Some(at) => took(at) > budget,
                // The last commits may not have been seen.
                None => !commits_open(index, lanes),
            };
            if late {
                did_not_recover(index, case, &promise.group, comeback, window.fault);
            }
        }
    }
    let (at, place) = recovered(index, window)?;
    Some((at - healed, place))
}

/// A group that had nothing to deliver at any fault has shown nothing.
fn idle(index: &Index, case: &mut Case<'_>, windows: &[Window]) {
    for (_, promise, lanes) in index.promised_groups() {
        let had_work = |window: &Window| {
            let healed = window.healed.unwrap_or(u64::MAX);
            !comebacks(index, promise, lanes, window.outage, healed).is_empty()
        };
        if !windows.is_empty() && !windows.iter().any(had_work) {
            let name = quoted(&promise.group);
            case.doubt(format!(
                "the log holds no record that group {name} still had to deliver at a fault"
            ));
        }
    }
}

fn did_not_recover(
    index: &Index,
    case: &mut Case<'_>,
    group: &str,
    comeback: &Comeback,
    fault: u32,
) {
    let name = index.lane_name(comeback.lane);
    let text = match comeback.at_us {
        Some(at) => format!(
            "group {} committed a record of {name} newer than fault {fault} {} after it could",
            quoted(group),
            seconds(at - comeback.due_us)
        ),
        None => format!(
            "group {} never committed a record of {name} newer than fault {fault}",
            quoted(group)
        ),
    };
    let set = RangeSet::of([(comeback.offset, comeback.offset)]);
    let finding = case.find_at("group-did-not-recover", Some(group), comeback.lane, &set, text);
    finding.at_us = Some(comeback.due_us);
    finding
        .evidence
        .push(format!("the budget is {}", seconds(index.header.promises.recovery_within_us)));
}

/// Requests a second that a process may send to a store that refuses each, beside those at once.
const REQUESTS_PER_S: u64 = 15;
const REQUESTS_AT_ONCE: u64 = 60;

/// A store that refuses everything is asked again after pauses, or it never comes back.
fn pressed(index: &Index, case: &mut Case<'_>, windows: &[Window]) {
    let members =
        index.header.promises.groups.iter().map(|group| group.members.len().max(1) as u64);
    let members: u64 = members.sum();
    for window in windows {
        let steps = || index.rare.faults.iter().filter(|step| step.fact.fault == window.fault);
        let refuses = |text: &str| text.starts_with("status ") && !text.contains(" to ");
        let fault = steps().filter_map(|step| step.fact.target.as_ref()?.fault.as_deref());
        if !fault.into_iter().any(refuses) {
            continue;
        }
        let met = steps().filter_map(|step| step.fact.patient.as_ref()?.requests).max();
        let (Some(met), Some(healed)) = (met, window.healed) else { continue };
        let lasted = healed.saturating_sub(window.begin).div_ceil(1_000_000);
        let most = members.saturating_mul(REQUESTS_AT_ONCE + REQUESTS_PER_S * lasted);
        if met > most {
            let text = format!(
                "{met} requests ran into a store that refused each of them for {lasted} s: {most} would be \
                 many, with pauses between them"
            );
            let mut finding = anomalous("store-pressed", text);
            finding.at_us = Some(window.begin);
            case.find(finding);
        }
    }
}

/// Standstills without a fault near; returns the longest of all.
fn still(
    index: &Index,
    case: &mut Case<'_>,
    windows: &[Window],
    all: &[Standstill],
) -> Option<u64> {
    let promises = &index.header.promises;
    let bound = promises.standstill_within_us.unwrap_or(promises.recovery_within_us);
    for stand in all.iter().filter(|stand| stand.length_us() > bound) {
        let (_, promise, lanes) = index.promised_groups().nth(stand.group)?;
        // What a fault takes away it takes until the group has recovered from it.
        let near = windows.iter().map(|window| {
            let healed = window.healed.unwrap_or(u64::MAX);
            let comebacks = comebacks(index, promise, lanes, window.outage, healed);
            let within = healed.saturating_add(promises.recovery_within_us);
            (window.begin, last(&comebacks).map_or(within, |(at, _)| at.min(within)))
        });
        let alone = outside(stand.from_us, stand.to_us, near);
        if alone <= bound || (stand.open && commits_open(index, lanes)) {
            continue;
        }
        let text = format!(
            "group {} committed nothing of {} from {} to {} although offset {} was there, and no \
             fault was near for {} of that",
            quoted(&promise.group),
            index.lane_name(stand.lane),
            seconds(stand.from_us),
            seconds(stand.to_us),
            stand.offset,
            seconds(alone)
        );
        let set = RangeSet::of([(stand.offset, stand.offset)]);
        let name = Some(promise.group.as_str());
        let finding = case.find_at("standstill-without-a-fault", name, stand.lane, &set, text);
        finding.at_us = Some(stand.from_us);
        finding.evidence.push(format!("at most {} was promised", seconds(bound)));
    }
    all.iter().map(Standstill::length_us).max()
}

/// Sum over the partitions that a group reads of high watermark minus committed offset at the end. Nobody
/// commits anything in a dead-letter topic.
pub(super) fn lag_end(
    index: &Index,
    promise: &streamlake_history::event::GroupPromise,
    lanes: &std::collections::BTreeMap<usize, GroupLane>,
) -> u64 {
    let lag = |(number, lane): (usize, &crate::index::Lane)| {
        let end = lanes.get(&number).and_then(GroupLane::committed_end).unwrap_or(lane.low());
        RangeSet::of([(end, u64::MAX)]).below(lane.high().unwrap_or(0)).len()
    };
    read_lanes(index, promise).map(lag).fold(0, u64::saturating_add)
}
