//! Recovery: after the last heal producers are acknowledged and every group commits newer records
//! within the budget, and at the end nothing is left over. Liveness: it can only be asked because
//! the faults have healed.

use super::case::{Case, anomalous, count, quoted, seconds, spelled};
use super::evidence::{commits_seen, logs_read};
use super::fault_bit::{in_flight, step};
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
    let lag = left_over(index, case);
    let mut sentence = format!("{} left over at the end", count(lag, "record"));
    if let Some((begin, healed)) = last_window(index, case) {
        let ack = producers(index, case, healed);
        let commits = consumers(index, case, begin, healed);
        for (name, after) in
            [("first_ack_after_heal_us", ack), ("recovered_after_heal_us", commits)]
        {
            if let Some(after) = after {
                case.figure(name, after);
                sentence.push_str(&format!(
                    ", {} {}",
                    name.replace('_', " ").trim_end_matches(" us"),
                    seconds(after)
                ));
            }
        }
    }
    case.figure("left_over_records", lag);
    sentence
}

/// Begin of the fault that healed last, and its heal.
fn last_window(index: &Index, case: &mut Case<'_>) -> Option<(u64, u64)> {
    let mut last = None;
    for fault in &index.header.promises.faults {
        let begin = step(index, fault.fault, FaultStage::Injecting);
        let Some(healed) = step(index, fault.fault, FaultStage::Healed) else {
            case.doubt(format!(
                "fault {} never healed, so no recovery can be asked for",
                fault.fault
            ));
            continue;
        };
        last = last.max(Some((healed, begin.unwrap_or(healed))));
    }
    last.map(|(healed, begin)| (begin, healed))
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
    if !index.vouches(Evidence::Receipts) || in_flight(index, healed, u64::MAX) == 0 {
        return None;
    }
    let budget = index.header.promises.recovery_within_us;
    let after = index.acks.first_from(healed).map(|at| at - healed);
    if after.is_some_and(|after| after <= budget) {
        return after;
    }
    // The last operations may have completed in the very millisecond of the heal.
    if index.invocations.up_to(u64::MAX) == index.completions.up_to(healed) {
        return None;
    }
    let mut finding = anomalous(
        "producers-did-not-recover",
        match after {
            Some(after) => {
                format!("the first acknowledgement came {} after the heal", seconds(after))
            }
            None => "nothing was acknowledged after the heal".to_owned(),
        },
    );
    finding.at_us = Some(healed);
    finding.evidence.push(format!("the budget is {}", seconds(budget)));
    case.find(finding);
    after
}

/// Time from the heal until every group had committed a record newer than the fault.
fn consumers(index: &Index, case: &mut Case<'_>, begin: u64, healed: u64) -> Option<u64> {
    let budget = index.header.promises.recovery_within_us;
    let mut longest = None;
    for (_, promise, lanes) in index.promised_groups() {
        let mut newer = newer_than(index, begin);
        if newer.is_empty() {
            newer = open_at(index, lanes, begin);
        }
        if newer.is_empty() {
            case.doubt("the log holds no record that was still to be delivered at the last fault");
            return None;
        }
        let at = recovered_at(lanes, &newer, healed);
        let after = at.map(|at| at - healed);
        longest = longest.max(after);
        if after.is_some_and(|after| after <= budget) {
            continue;
        }
        let group = quoted(&promise.group);
        let mut finding = anomalous(
            "group-did-not-recover",
            match after {
                Some(after) => format!(
                    "group {group} committed a record newer than the fault {} after the heal",
                    seconds(after)
                ),
                None => format!("group {group} never committed a record newer than the fault"),
            },
        );
        finding.group = Some(promise.group.clone());
        finding.at_us = Some(healed);
        finding.evidence.push(format!("the budget is {}", seconds(budget)));
        case.find(finding);
    }
    longest
}

/// Per partition the first offset that was written after an instant.
pub(super) fn newer_than(index: &Index, begin: u64) -> Vec<(usize, u64)> {
    let Some(zero) = index.started_at_ms else {
        return Vec::new();
    };
    let wall_ms = zero.saturating_add(i64::try_from(begin / 1000).unwrap_or(i64::MAX));
    let first = |(number, lane): (usize, &crate::history::index::Lane)| {
        lane.first_offset_from_ms(wall_ms).map(|offset| (number, offset))
    };
    index.promised_lanes().filter_map(first).collect()
}

/// Per partition the first record that was not committed at an instant.
fn open_at(
    index: &Index,
    lanes: &std::collections::BTreeMap<usize, GroupLane>,
    at_us: u64,
) -> Vec<(usize, u64)> {
    let first = |(number, lane): (usize, &crate::history::index::Lane)| {
        let committed = lanes.get(&number).and_then(|known| known.committed_at(at_us));
        let open = lane.logged().from(committed.unwrap_or(0));
        open.ranges().first().map(|range| (number, range.0))
    };
    index.promised_lanes().filter_map(first).collect()
}

/// First commit at or after the heal that covers one of these records. A commit before the heal that
/// covers one counts as the heal itself: the group never stopped.
pub(super) fn recovered_at(
    lanes: &std::collections::BTreeMap<usize, GroupLane>,
    newer: &[(usize, u64)],
    healed: u64,
) -> Option<u64> {
    let covering = newer.iter().filter_map(|&(number, offset)| {
        let commits = &lanes.get(&number)?.commits;
        commits.iter().find(|commit| commit.offset > offset).map(|commit| commit.at_us.max(healed))
    });
    covering.min()
}

/// Sum over partitions of high watermark minus committed offset at the end.
pub(super) fn lag_end(index: &Index, lanes: &std::collections::BTreeMap<usize, GroupLane>) -> u64 {
    let lag = |(number, lane): (usize, &crate::history::index::Lane)| {
        let end = lanes.get(&number).and_then(GroupLane::committed_end).unwrap_or(lane.low());
        RangeSet::of([(end, u64::MAX)]).below(lane.high().unwrap_or(0)).len()
    };
    index.promised_lanes().map(lag).fold(0, u64::saturating_add)
}
