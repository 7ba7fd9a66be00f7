//! Which copies can have come of which epochs.

use std::collections::BTreeSet;

use crate::index::{Base, Epoch, GroupLane, Index, RESOLUTION_US, Range, Run, shifted};

/// More pairs of a copy and an epoch than this, and the first fit is taken.
const PAIRS_MAX: usize = 1 << 18;

/// One copy of a range of offsets.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) run: Run,
    /// The member that read it, where that is known.
    member: Option<String>,
    /// When it came to be, on the recorder's clock: no earlier, and no later.
    earliest: i64,
    latest: i64,
}

impl Copy {
    pub(super) fn of(index: &Index, known: &GroupLane, run: &Run) -> Self {
        let member = run.reader.map(|reader| known.readers.names[usize::from(reader)].clone());
        Self { member, ..Self::at(index, *run) }
    }

    pub(super) fn at(index: &Index, run: Run) -> Self {
        let skew = index.clocks.of(run.base);
        // A member's reads and its assignments are told by one clock.
        let (low, high) = match run.base {
            Base::Process(_) => (0, 0),
            _ => (skew.low, skew.high.saturating_add(RESOLUTION_US.cast_signed())),
        };
        let (earliest, latest) = (shifted(run.at_us, low), shifted(run.at_us, high));
        Self { run, member: None, earliest, latest }
    }

    pub(super) fn earliest_us(&self) -> u64 {
        u64::try_from(self.earliest).unwrap_or(0)
    }

    pub(super) fn latest_us(&self) -> u64 {
        u64::try_from(self.latest).unwrap_or(0)
    }

    /// It may have come to be after an instant.
    pub(super) fn after(&self, at_us: u64) -> bool {
        shifted(at_us, 0) <= self.latest
    }

    /// An epoch that could read the offset may have delivered it.
    fn fits(&self, epoch: &Epoch) -> bool {
        let written = |&(from, until): &(u64, u64)| {
            shifted(from, 0) <= self.latest && self.earliest <= shifted(until, 0)
        };
        let same = match (&self.member, &epoch.member) {
            (Some(reader), Some(member)) => reader == member,
            _ => true,
        };
        same && self.after(epoch.begin_us) && epoch.writes.iter().any(written)
    }
}

/// For each copy of an offset the epoch that it can have come of, so that as many as possible have one
/// and none has two. Copies and epochs are in the order of their instants.
pub(super) fn matched(copies: &[&Copy], epochs: &[Epoch], offset: u64) -> Vec<Option<usize>> {
    let could = |epoch: &Epoch| epoch.start <= offset && offset < epoch.end;
    let able: Vec<usize> = (0..epochs.len()).filter(|&n| could(&epochs[n])).collect();
    let mut taken: Vec<Option<usize>> = vec![None; able.len()];
    let thorough = copies.len().saturating_mul(able.len()) <= PAIRS_MAX;
    for copy in 0..copies.len() {
        let free =
            (0..able.len()).find(|&n| taken[n].is_none() && copies[copy].fits(&epochs[able[n]]));
        match free {
            Some(free) => taken[free] = Some(copy),
            None if thorough => {
                let mut tried = vec![false; able.len()];
                place(copy, copies, epochs, &able, &mut taken, &mut tried);
            }
            None => {}
        }
    }
    let mut found = vec![None; copies.len()];
    for (number, copy) in taken.iter().enumerate() {
        if let Some(copy) = copy {
            found[*copy] = Some(able[number]);
        }
    }
    found
}

/// Finds a place for a copy, moving others on where they have another one.
fn place(
    copy: usize,
    copies: &[&Copy],
    epochs: &[Epoch],
    able: &[usize],
    taken: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    // Each step of the way marks an epoch, so the depth is bounded by their number.
    for n in 0..able.len() {
        if tried[n] || !copies[copy].fits(&epochs[able[n]]) {
            continue;
        }
        tried[n] = true;
        let free = match taken[n] {
            None => true,
            Some(other) => place(other, copies, epochs, able, taken, tried),
        };
        if free {
            taken[n] = Some(copy);
            return true;
        }
    }
    false
}

/// Cuts the offsets of the copies into pieces of which the same copies and the same epochs speak, and
/// gives those that have more than one copy, rising.
pub(super) fn segments(
    copies: &[Copy],
    epochs: &[Epoch],
    also: impl Iterator<Item = u64>,
) -> Vec<(Range, Vec<usize>)> {
    let mut cuts: Vec<u64> = copies
        .iter()
        .flat_map(|copy| [Some(copy.run.first), copy.run.last.checked_add(1)])
        .chain(epochs.iter().flat_map(|epoch| [Some(epoch.start), Some(epoch.end)]))
        .flatten()
        .chain(also)
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut order: Vec<usize> = (0..copies.len()).collect();
    order.sort_by_key(|&n| copies[n].run.first);
    let (mut next, mut active) = (0, BTreeSet::new());
    let mut found = Vec::new();
    for (number, &cut) in cuts.iter().enumerate() {
        while next < order.len() && copies[order[next]].run.first <= cut {
            active.insert(order[next]);
            next += 1;
        }
        active.retain(|&n| copies[n].run.last >= cut);
        if active.len() > 1 {
            let end = cuts.get(number + 1).map_or(u64::MAX, |next| next - 1);
            found.push(((cut, end), active.iter().copied().collect()));
        }
    }
    found
}
