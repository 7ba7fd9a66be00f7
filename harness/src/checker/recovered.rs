//! When a group moved again after a fault: in each partition that had work, the first commit of a
//! record that was written after the outage began. The partition that came last decides.
//!
//! What was written between the act and the outage went the ordinary way, and says nothing. A
//! partition into which nothing was written has nothing to recover, and is passed over.

use std::collections::BTreeMap;

use super::fault_bit::step;
use crate::history::event::FaultStage;
use crate::history::index::{GroupLane, Index, Lane};

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

/// When the outage of a fault began: when its effect was first seen, or else when it was done.
pub(super) fn outage(index: &Index, fault: u32) -> Option<u64> {
    let stages = [FaultStage::Seen, FaultStage::Injected, FaultStage::Injecting];
    stages.into_iter().find_map(|stage| step(index, fault, stage))
}

/// Every partition of a group that had work after an outage; none where nothing was left to do. Where
/// nothing was written after the outage began, what was not committed by then is the work.
pub(super) fn comebacks(
    index: &Index,
    lanes: &BTreeMap<usize, GroupLane>,
    outage_us: u64,
    healed_us: u64,
) -> Vec<Comeback> {
    let mut work = newer_than(index, outage_us);
    if work.is_empty() {
        work = open_at(index, lanes, outage_us);
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

/// Per partition the first offset that was written after an instant, and when it was.
fn newer_than(index: &Index, begin_us: u64) -> Vec<(usize, u64, u64)> {
    let Some(zero) = index.started_at_ms else {
        return Vec::new();
    };
    let wall_ms = zero.saturating_add(i64::try_from(begin_us / 1000).unwrap_or(i64::MAX));
    let first = |(number, lane): (usize, &Lane)| {
        let (offset, written_ms) = lane.first_from_ms(wall_ms)?;
        let since_ms = u64::try_from(written_ms.saturating_sub(zero)).unwrap_or(0);
        Some((number, offset, since_ms.saturating_mul(1000)))
    };
    index.promised_lanes().filter_map(first).collect()
}

/// Per partition the first record that was not committed at an instant.
fn open_at(
    index: &Index,
    lanes: &BTreeMap<usize, GroupLane>,
    at_us: u64,
) -> Vec<(usize, u64, u64)> {
    let first = |(number, lane): (usize, &Lane)| {
        let committed = lanes.get(&number).and_then(|known| known.committed_at(at_us));
        let open = lane.logged().from(committed.unwrap_or(0));
        open.ranges().first().map(|range| (number, range.0, at_us))
    };
    index.promised_lanes().filter_map(first).collect()
}
