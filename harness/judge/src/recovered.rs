//! When a group moved again after a fault: in each partition that had work, the first commit of a
//! record that was written after the outage began. The partition that came last decides.
//!
//! What was written between the act and the outage went the ordinary way, and says nothing. A
//! partition into which nothing was written has nothing to recover, and is passed over.
//!
//! Each window is judged on its own. Where other windows lie in the way, their time does not count.

use std::collections::BTreeMap;

use super::evidence::read_lanes;
use super::fault_bit::step;
use crate::index::{GroupLane, Index, Lane};
use streamlake_history::event::{FaultStage, GroupPromise};

/// A fault window as recovery looks at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Number of the fault.
    pub(super) fault: u32,
    /// When the act began.
    pub(super) begin: u64,
    /// When its effect was first seen, or else when it was done.
    pub(super) outage: u64,
    /// When the target was seen to be back; none if it never was.
    pub(super) healed: Option<u64>,
}

/// Every fault window that began, in the order of the plan.
pub(super) fn windows(index: &Index) -> Vec<Window> {
    let faults = index.header.promises.faults.iter();
    let window = |fault: u32| {
        let at = |stage| step(index, fault, stage);
        let stages = [FaultStage::Seen, FaultStage::Injected, FaultStage::Injecting];
        let outage = stages.into_iter().find_map(at)?;
        let begin = at(FaultStage::Injecting).map_or(outage, |begin| begin.min(outage));
        Some(Window { fault, begin, outage, healed: at(FaultStage::Healed) })
    };
    faults.filter_map(|fault| window(fault.fault)).collect()
}

/// Every fault window, each until so long after its heal.
pub(super) fn near_faults(index: &Index, after_us: u64) -> Vec<(u64, u64)> {
    let until = |healed: Option<u64>| healed.map_or(u64::MAX, |at| at.saturating_add(after_us));
    windows(index).into_iter().map(|window| (window.begin, until(window.healed))).collect()
}

/// How much of a time lies outside of all these spans.
pub(super) fn outside(from: u64, to: u64, spans: impl Iterator<Item = (u64, u64)>) -> u64 {
    let cut = spans.map(|(begin, end)| (begin.max(from), end.min(to)));
    let mut inside: Vec<_> = cut.filter(|(begin, end)| begin < end).collect();
    inside.sort_unstable();
    let (mut covered, mut at) = (0, from);
    for (begin, end) in inside {
        let begin = begin.max(at);
        covered += end.saturating_sub(begin);
        at = at.max(end);
    }
    to.saturating_sub(from).saturating_sub(covered)
}

/// The time between two instants without that of other windows.
pub(super) fn undisturbed(windows: &[Window], own: u32, from: u64, to: u64) -> u64 {
    let others = windows.iter().filter(|window| window.fault != own);
    outside(from, to, others.map(|window| (window.begin, window.healed.unwrap_or(u64::MAX))))
}

/// One partition of a group after a fault.
pub(super) struct Comeback {
    /// Number of the partition's lane.
    pub(super) lane: usize,
    /// The first offset whose commit shows that the partition moves again.
    pub(super) offset: u64,
    /// From when on it could be asked for: the heal, or the writing of that record if that was later.
    pub(super) due_us: u64,
    /// When it was committed, no earlier than `due_us`; none if it never was.
    pub(super) at_us: Option<u64>,
}

/// Every partition of a group that had work after an outage; none where nothing was left to do. Where
/// nothing was written after the outage began, what was not committed by then is the work.
pub(super) fn comebacks(
    index: &Index,
    promise: &GroupPromise,
    lanes: &BTreeMap<usize, GroupLane>,
    outage_us: u64,
    healed_us: u64,
) -> Vec<Comeback> {
    let mut work = newer_than(index, promise, outage_us);
    if work.is_empty() {
        work = open_at(index, promise, lanes, outage_us);
    }
    work.into_iter()
        .map(|(lane, offset, written_us)| {
            let due_us = healed_us.max(written_us);
            let mut commits = lanes.get(&lane).into_iter().flat_map(|known| &known.commits);
            // A commit before the heal counts as the heal itself: the partition never stopped.
            let at_us = commits.find(|commit| commit.offset > offset).map(|c| c.at_us.max(due_us));
            Comeback { lane, offset, due_us, at_us }
        })
        .collect()
}

/// The partition that came back last; none if there was nothing to do, or if one never did.
pub(super) fn last(comebacks: &[Comeback]) -> Option<(u64, &Comeback)> {
    let mut last: Option<(u64, &Comeback)> = None;
    for comeback in comebacks {
        let at_us = comeback.at_us?;
        if last.is_none_or(|(latest, _)| at_us > latest) {
            last = Some((at_us, comeback));
        }
    }
    last
}

/// When the last group had recovered from a window in its last partition, and where that was. None if
/// one never did, or if none had anything to do.
pub(super) fn recovered(index: &Index, window: &Window) -> Option<(u64, String)> {
    let healed = window.healed?;
    let mut latest: Option<(u64, String)> = None;
    for (_, promise, lanes) in index.promised_groups() {
        let comebacks = comebacks(index, promise, lanes, window.outage, healed);
        if comebacks.is_empty() {
            continue;
        }
        let (at_us, comeback) = last(&comebacks)?;
        if latest.as_ref().is_none_or(|(known, _)| at_us > *known) {
            let lane = &index.lanes[comeback.lane];
            let place = format!("{}/{}, group {}", lane.topic, lane.partition, promise.group);
            latest = Some((at_us, place));
        }
    }
    latest
}

/// When a record of the log was written, by its timestamp.
pub(super) fn written_us(index: &Index, timestamp_ms: i64) -> Option<u64> {
    let since_ms = timestamp_ms.saturating_sub(index.started_at_ms?);
    Some(u64::try_from(since_ms).unwrap_or(0).saturating_mul(1000))
}

/// Per partition the first offset that was written after an instant, and when it was.
fn newer_than(index: &Index, promise: &GroupPromise, begin_us: u64) -> Vec<(usize, u64, u64)> {
    let Some(zero) = index.started_at_ms else {
        return Vec::new();
    };
    let wall_ms = zero.saturating_add(i64::try_from(begin_us / 1000).unwrap_or(i64::MAX));
    let first = |(number, lane): (usize, &Lane)| {
        let (offset, written_ms) = lane.first_from_ms(wall_ms)?;
        Some((number, offset, written_us(index, written_ms)?))
    };
    read_lanes(index, promise).filter_map(first).collect()
}

/// Per partition the first record that was not committed at an instant.
fn open_at(
    index: &Index,
    promise: &GroupPromise,
    lanes: &BTreeMap<usize, GroupLane>,
    at_us: u64,
) -> Vec<(usize, u64, u64)> {
    let first = |(number, lane): (usize, &Lane)| {
        let committed = lanes.get(&number).and_then(|known| known.committed_at(at_us));
        let open = lane.logged().from(committed.unwrap_or(0));
        open.ranges().first().map(|range| (number, range.0, at_us))
    };
    read_lanes(index, promise).filter_map(first).collect()
}
