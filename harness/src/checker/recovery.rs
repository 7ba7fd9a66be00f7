//! Recovery: after the last heal producers are acknowledged and every group commits newer records of
//! every partition within the budget, and at the end nothing is left over. Liveness: it can only be
//! asked because the faults have healed.

use super::case::{Case, anomalous, count, quoted, seconds, spelled};
use super::evidence::{commits_cut_short, commits_seen, logs_read};
use super::fault_bit::{in_flight, step};
use super::recovered::{Comeback, comebacks, last, outage};
use crate::history::event::{Evidence, FaultStage};
use crate::history::index::{GroupLane, Index, RangeSet};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    if !logs_read(index, case) || !commits_seen(index, case) {
        return "log or commits cannot be seen".to_owned();
    }
    let records: u64 = index.promised_lanes().map(|(_, lane)| lane.logged().len()).sum();
    if records == 0 {
        case.doubt("the log holds no record");
    }
    // Without the last commits everything would look left over, and nobody recovered.
    let cut_short = commits_cut_short(index);
    let lag = if cut_short { 0 } else { left_over(index, case) };
    let mut sentence = format!("{} left over at the end", count(lag, "record"));
    if let Some(window) = last_window(index, case) {
        if let Some(after) = producers(index, case, window.healed) {
            case.figure("first_ack_after_heal_us", after);
            sentence.push_str(&format!(", first ack after heal {}", seconds(after)));
        }
        if !cut_short && let Some((after, place)) = consumers(index, case, &window) {
            case.figure("recovered_after_heal_us", after);
            sentence.push_str(&format!(", recovered after heal {}", seconds(after)));
            if after > 0 {
                sentence.push_str(&format!(", last in {place}"));
            }
        }
    }
    case.figure("left_over_records", lag);
    sentence
}

/// The fault window that recovery is asked for.
struct Window {
    outage: u64,
    healed: u64,
}

/// The fault that healed last.
fn last_window(index: &Index, case: &mut Case<'_>) -> Option<Window> {
    let mut last = None;
    for fault in &index.header.promises.faults {
        let Some(healed) = step(index, fault.fault, FaultStage::Healed) else {
            case.doubt(format!(
                "fault {} never healed, so no recovery can be asked for",
                fault.fault
            ));
            continue;
        };
        last = last.max(Some((healed, outage(index, fault.fault).unwrap_or(healed))));
    }
    last.map(|(healed, outage)| Window { outage, healed })
}

/// Records of the log at or above the offset committed at the end.
fn left_over(index: &Index, case: &mut Case<'_>) -> u64 {
    let mut total = 0;
    for (_, promise, lanes) in index.promised_groups() {
        for (number, lane) in index.promised_lanes().filter(|(_, lane)| lane.complete()) {
            let end = lanes.get(&number).and_then(GroupLane::committed_end).unwrap_or(0);
            let open = lane.logged().from(lane.low().max(end));
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
            let finding = case.find_at("left-over", Some(&promise.group), number, &open, text);
            finding.at_us = Some(index.end_us);
        }
    }
    total
}

/// Time from the heal to the next acknowledgement, where there was anything to acknowledge.
fn producers(index: &Index, case: &mut Case<'_>, healed: u64) -> Option<u64> {
    if !index.vouches(Evidence::Receipts) {
        return None;
    }
    let budget = index.header.promises.recovery_within_us;
    let after = index.acks.first_from(healed).map(|at| at - healed);
    let open = open_end(index);
    if let Some((from, to)) = open
        && to.saturating_sub(from.max(healed)) > budget
    {
        let text = format!(
            "nothing was acknowledged from {} until the load ended at {}, although the fault had \
             healed by {}",
            seconds(from),
            seconds(to),
            seconds(healed)
        );
        producers_stuck(case, text, from.max(healed), budget);
        return after;
    }
    if after.is_some_and(|after| after <= budget) {
        return after;
    }
    // The last operations may have completed in the very millisecond of the heal.
    let over = in_flight(index, healed, u64::MAX) == 0
        || index.invocations.up_to(u64::MAX) == index.completions.up_to(healed);
    if !over {
        let text = match after {
            Some(after) => {
                format!("the first acknowledgement came {} after the heal", seconds(after))
            }
            None => "nothing was acknowledged after the heal".to_owned(),
        };
        producers_stuck(case, text, healed, budget);
    } else if let Some((from, to)) = open {
        case.doubt(format!(
            "nothing was acknowledged from {} until the load ended at {}, before the fault had \
             healed: that producers are acknowledged again was not seen",
            seconds(from),
            seconds(to)
        ));
    }
    after
}

fn producers_stuck(case: &mut Case<'_>, text: String, at_us: u64, budget: u64) {
    let mut finding = anomalous("producers-did-not-recover", text);
    finding.at_us = Some(at_us);
    finding.evidence.push(format!("the budget is {}", seconds(budget)));
    case.find(finding);
}

/// The time without an acknowledgement at the end of the load: from the last one to the last
/// operation that ended otherwise or never did. Nobody knows how long it would have lasted.
pub(super) fn open_end(index: &Index) -> Option<(u64, u64)> {
    let all = index.invocations.up_to(u64::MAX);
    let never = all > index.completions.up_to(u64::MAX);
    let last = index.invocations.last().filter(|_| never).max(index.unacknowledged.last())?;
    let from = index.acks.last().or_else(|| index.invocations.first_from(0))?;
    (last > from).then_some((from, last))
}

/// Time from the heal until every group had committed, in every partition that had work, a record that
/// was written after the outage began.
fn consumers(index: &Index, case: &mut Case<'_>, window: &Window) -> Option<(u64, String)> {
    let budget = index.header.promises.recovery_within_us;
    let mut longest = None;
    let mut whole = true;
    for (_, promise, lanes) in index.promised_groups() {
        let comebacks = comebacks(index, lanes, window.outage, window.healed);
        if comebacks.is_empty() {
            case.doubt("the log holds no record that was still to be delivered at the last fault");
            return None;
        }
        for comeback in &comebacks {
            if comeback.at_us.is_none_or(|at| at - comeback.due_us > budget) {
                did_not_recover(index, case, &promise.group, comeback);
            }
        }
        whole &= comebacks.iter().all(|comeback| comeback.at_us.is_some());
        if let Some((at, last)) = last(&comebacks) {
            let group = quoted(&promise.group);
            let place = format!("{} of group {group}", index.lane_name(last.lane));
            let after = at - window.healed;
            longest = longest.max(Some((after, place)));
        }
    }
    longest.filter(|_| whole)
}

fn did_not_recover(index: &Index, case: &mut Case<'_>, group: &str, comeback: &Comeback) {
    let name = index.lane_name(comeback.lane);
    let text = match comeback.at_us {
        Some(at) => format!(
            "group {} committed a record of {name} newer than the fault {} after it could",
            quoted(group),
            seconds(at - comeback.due_us)
        ),
        None => format!(
            "group {} never committed a record of {name} newer than the fault",
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

/// Sum over the partitions that a group reads of high watermark minus committed offset at the end. Nobody
/// commits anything in a dead-letter topic.
pub(super) fn lag_end(index: &Index, lanes: &std::collections::BTreeMap<usize, GroupLane>) -> u64 {
    let lag = |(number, lane): (usize, &crate::history::index::Lane)| {
        let end = lanes.get(&number).and_then(GroupLane::committed_end).unwrap_or(lane.low());
        RangeSet::of([(end, u64::MAX)]).below(lane.high().unwrap_or(0)).len()
    };
    let groups = &index.header.promises.groups;
    let is_read = |topic: &String| {
        !groups.iter().any(|group| group.dead_letter_topic.as_ref() == Some(topic))
    };
    let lanes = index.promised_lanes().filter(|(_, lane)| is_read(&lane.topic));
    lanes.map(lag).fold(0, u64::saturating_add)
}
