//! Counts and times of a run, for every report.

use std::collections::BTreeMap;

use super::acknowledged::overwritten;
use super::duplicates::{by_cause, log_surplus};
use super::evidence::{declared_holes, missing};
use super::fault_bit::{in_flight, step};
use super::recovered::windows;
use super::recovery::{lag_end, open_end};
use super::standstill;
use crate::index::{Bit, End, GroupLane, Index};
use crate::verdict::{GroupTally, Tally, WindowTally};
use streamlake_history::event::{FaultStage, ObjectRole, PlannedFault};

/// Counts a settled index.
pub(super) fn count(index: &Index) -> Tally {
    let mut tally = of_pipeline(index);
    super::change_data_capture::count_into(index, &mut tally);
    tally
}

fn of_pipeline(index: &Index) -> Tally {
    let ended = |end| index.ops.kept.values().filter(|kept| kept.end == end).count() as u64;
    let still = standstill::longest(index);
    let gap =
        gaps_with_end(index).max_by_key(|&(from, to)| (to.saturating_sub(from), u64::MAX - from));
    Tally {
        invoked: index.ops.count(Bit::Invoked),
        acknowledged: index.ops.acknowledged(),
        rejected: ended(Some(End::Rejected)),
        failed: ended(Some(End::Failed)),
        unknown: ended(Some(End::Unknown)) + ended(None),
        logged: index.promised_lanes().map(|(_, lane)| lane.logged().len()).sum(),
        logged_duplicates: log_surplus(index),
        dead_letters: index.dead.len() as u64,
        lost: lost(index),
        gaps: gaps(index),
        groups: groups(index),
        duplicates_by_cause: by_cause(index),
        windows: index.header.promises.faults.iter().map(|fault| window(index, fault)).collect(),
        longest_unavailability_us: gap.map(|(from, to)| to.saturating_sub(from)),
        longest_unavailability_from_us: gap.map(|(from, _)| from),
        unavailability_open: open_end(index).is_some(),
        longest_standstill_us: still.map(|still| still.length_us()),
        longest_standstill_from_us: still.map(|still| still.from_us),
        longest_standstill_in: still.map(|still| {
            let group = &index.header.promises.groups[still.group].group;
            let lane = &index.lanes[still.lane];
            format!("{}/{}, group {group}", lane.topic, lane.partition)
        }),
        standstill_open: still.is_some_and(|still| still.open),
        latency_p50_us: index.latencies.quantile(500),
        latency_p99_us: index.latencies.quantile(990),
        latency_max_us: index.latencies.max(),
        length_us: index.end_us,
    }
}

/// The times without an acknowledgement, that at the end of the load included.
fn gaps_with_end(index: &Index) -> impl Iterator<Item = (u64, u64)> + '_ {
    index.acks.gaps().chain(open_end(index))
}

/// Acknowledged records that the log does not hold, or no longer, or that a group committed past and has not.
fn lost(index: &Index) -> u64 {
    let mut lost = 0;
    for (number, lane) in index.sorted_lanes().filter(|(_, lane)| lane.complete()) {
        let acknowledged = lane.acknowledged().from(lane.low());
        let mut gone = acknowledged.minus(&lane.logged()).minus(&declared_holes(index, lane));
        if index.header.promises.topics.contains_key(&lane.topic) {
            for (_, promise, lanes) in index.promised_groups() {
                if let Some(known) = lanes.get(&number)
                    && watched(index, promise.raw_zone.as_deref())
                {
                    gone = gone
                        .union(&missing(index, promise, number, known).intersect(&acknowledged));
                }
            }
        }
        lost += gone.len() + overwritten(index, lane).len() as u64;
    }
    lost
}

fn gaps(index: &Index) -> u64 {
    let mut gaps = 0;
    for (_, promise, lanes) in index.promised_groups() {
        if watched(index, promise.raw_zone.as_deref()) {
            let known = index.promised_lanes().filter_map(|(n, _)| lanes.get(&n).map(|l| (n, l)));
            gaps += known
                .map(|(number, lane)| missing(index, promise, number, lane).len())
                .sum::<u64>();
        }
    }
    gaps
}

/// What the group delivered was read to its end.
fn watched(index: &Index, raw_zone: Option<&str>) -> bool {
    let read = |name| index.zones.iter().any(|z| z.name == name && !z.reads.is_empty());
    raw_zone.is_none_or(read)
}

fn groups(index: &Index) -> BTreeMap<String, GroupTally> {
    let mut groups = BTreeMap::new();
    for (number, promise, lanes) in index.promised_groups() {
        let known =
            || index.promised_lanes().filter_map(|(n, lane)| lanes.get(&n).map(|l| (lane, l)));
        let size = |range: (u64, u64)| range.1 - range.0 + 1;
        let zone = |p: &&crate::index::Part| {
            index.zones[p.zone].groups.contains(&number)
                && !p.during_run
                && p.role == ObjectRole::Part
        };
        let tally = GroupTally {
            stored: known().map(|(log, l)| l.delivered.intersect(&log.logged()).len()).sum(),
            duplicates: known()
                .flat_map(|(_, l): (_, &GroupLane)| &l.surplus)
                .map(|s| size(s.range))
                .sum(),
            parts: index.parts.iter().filter(zone).count() as u64,
            lag_end: lag_end(index, promise, lanes),
        };
        groups.insert(promise.group.clone(), tally);
    }
    groups
}

fn window(index: &Index, fault: &PlannedFault) -> WindowTally {
    let at = |stage| step(index, fault.fault, stage);
    let (injecting_us, healed_us) = (at(FaultStage::Injecting), at(FaultStage::Healed));
    let begin = injecting_us.unwrap_or(0);
    let end = healed_us.unwrap_or(index.end_us);
    let touches = |&(from, to): &(u64, u64)| from <= end && to >= begin;
    let longest = gaps_with_end(index).filter(touches).map(|(from, to)| to.saturating_sub(from));
    let recovered = recovered(index, fault.fault);
    let mut evidence = BTreeMap::new();
    for step in index.rare.faults.iter().filter(|step| step.fact.fault == fault.fault) {
        evidence.extend(step.fact.evidence.clone());
    }
    WindowTally {
        fault: fault.fault,
        kind: fault.kind.clone(),
        target: fault.target.clone(),
        injecting_us,
        seen_us: at(FaultStage::Seen),
        healed_us,
        first_ack_after_us: healed_us.and_then(|healed| index.acks.first_from(healed)),
        recovered_us: recovered.as_ref().map(|(at, _)| *at),
        recovered_in: recovered.and_then(|(_, place)| place),
        unavailability_us: injecting_us.and_then(|_| longest.max()),
        unavailability_open: injecting_us.is_some() && open_end(index).is_some_and(|g| touches(&g)),
        in_flight: if injecting_us.is_some() { in_flight(index, begin, end) } else { 0 },
        evidence,
    }
}

/// When the last group had recovered in its last partition, and where that was. None if one never did.
fn recovered(index: &Index, fault: u32) -> Option<(u64, Option<String>)> {
    if index.header.promises.source.is_some() {
        return super::change_data_capture::recovered_at(index, fault).map(|at| (at, None));
    }
    let window = windows(index).into_iter().find(|window| window.fault == fault)?;
    super::recovered::recovered(index, &window).map(|(at, place)| (at, Some(place)))
}
