//! How long a group stood still: a partition held a record that the group had not committed yet, and no
//! commit came.
//!
//! It counts from the writing of the first such record, or from the commit before it, whichever came
//! later, and from the group's first commit on: how long a group takes to form is another matter. The
//! time until a batch is full is part of it. Derived here once, for the verdict and for the reports.

use super::evidence::{foreign, owed_from, read_lanes};
use super::recovered::written_us;
use crate::index::{GroupLane, Index, Lane};
use streamlake_history::event::{GroupPromise, ProcessRole};

/// A time in which a group committed nothing of a partition although there was something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standstill {
    /// Number of the group.
    pub(super) group: usize,
    /// Number of the partition's lane.
    pub(super) lane: usize,
    /// The first offset that waited.
    pub(super) offset: u64,
    /// Begin.
    pub(super) from_us: u64,
    /// The commit that ended it, or the end of the run.
    pub(super) to_us: u64,
    /// It lasted to the end of the run.
    pub(super) open: bool,
}

impl Standstill {
    pub(super) fn length_us(&self) -> u64 {
        self.to_us.saturating_sub(self.from_us)
    }
}

/// Every standstill of every group. Foreign histories do not say reliably when a record was written.
pub(super) fn standstills(index: &Index) -> Vec<Standstill> {
    let mut all = Vec::new();
    if foreign(&index.header) || index.header.promises.source.is_some() {
        return all;
    }
    for (group, promise, lanes) in index.promised_groups() {
        let first = lanes.values().filter_map(|lane| lane.commits.first()).map(|c| c.at_us).min();
        let Some(begun_us) = first else { continue };
        for (number, lane) in read_lanes(index, promise) {
            let empty = GroupLane::default();
            let known = lanes.get(&number).unwrap_or(&empty);
            of_lane(index, promise, lane, known, |offset, from_us, to_us, open| {
                let from_us = from_us.max(begun_us);
                if from_us < to_us && !replayed(index, from_us, to_us) {
                    all.push(Standstill { group, lane: number, offset, from_us, to_us, open });
                }
            });
        }
    }
    all
}

/// The longest one; of several the first.
pub(super) fn longest(index: &Index) -> Option<Standstill> {
    let key = |stand: &Standstill| (stand.length_us(), u64::MAX - stand.from_us);
    standstills(index).into_iter().max_by_key(key)
}

fn of_lane(
    index: &Index,
    promise: &GroupPromise,
    lane: &Lane,
    known: &GroupLane,
    mut tell: impl FnMut(u64, u64, u64, bool),
) {
    let Some(mut committed) = owed_from(lane, promise, Some(known)) else { return };
    let (logged, written) = (lane.logged(), lane.written());
    let mut since = 0;
    let waited = |committed: u64, since: u64| -> Option<(u64, u64)> {
        let ranges = logged.ranges();
        let range = ranges.get(ranges.partition_point(|range| range.1 < committed))?;
        let offset = range.0.max(committed);
        let before = written.partition_point(|(first, _)| *first <= offset).checked_sub(1)?;
        Some((offset, since.max(written_us(index, written[before].1)?)))
    };
    for commit in &known.commits {
        if commit.offset <= committed {
            continue;
        }
        if let Some((offset, from_us)) = waited(committed, since)
            && offset < commit.offset
        {
            tell(offset, from_us, commit.at_us, false);
        }
        (committed, since) = (commit.offset, commit.at_us);
    }
    if let Some((offset, from_us)) = waited(committed, since) {
        tell(offset, from_us, drained_us(index), true);
    }
}

/// When the consumers were asked to stop: what they do not commit after that is not a standstill.
pub(super) fn drained_us(index: &Index) -> u64 {
    let phases = ["drain", "final-read"];
    let phase = |name: &str| index.rare.phases.iter().find(|phase| phase.fact == name);
    phases.into_iter().find_map(phase).map_or(index.end_us, |phase| phase.t_us)
}

/// A replay stopped the group meanwhile.
fn replayed(index: &Index, from_us: u64, to_us: u64) -> bool {
    let mut replays = index.rare.processes.iter();
    replays
        .any(|p| p.fact.role() == Some(ProcessRole::Replay) && (from_us..=to_us).contains(&p.t_us))
}
