//! What is known of one group on one partition: which offsets it stored or read and when, and what
//! it committed.

use std::collections::BTreeMap;

use super::ranges::{Cover, Range, RangeSet};

/// Consecutive offsets that came to the same place at the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// When: creation of the part, or the instant of the read.
    pub at_us: u64,
    /// Number of the part; none for reads.
    pub part: Option<u32>,
    /// First offset.
    pub first: u64,
    /// Last offset.
    pub last: u64,
}

/// A committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    /// Had happened by this instant.
    pub at_us: u64,
    /// Next offset to read.
    pub offset: u64,
    /// The broker's own record, not a sample.
    pub exact: bool,
}

/// Offsets that were stored or read a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Surplus {
    /// Which.
    pub range: Range,
    /// When the first copy came to be.
    pub first_us: u64,
    /// When this one did.
    pub again_us: u64,
    /// The part of this one; none for reads.
    pub part: Option<u32>,
}

/// A member read an offset at or below one that the group had read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rewind {
    /// When.
    pub at_us: u64,
    /// The offset that was due.
    pub due: u64,
    /// The offset that came.
    pub came: u64,
    /// No assignment lies between.
    pub within_assignment: bool,
}

/// One group on one partition.
#[derive(Debug, Clone, Default)]
pub struct GroupLane {
    runs: Vec<Run>,
    reads: Vec<Run>,
    dead: Vec<(u64, u64)>,
    watched: BTreeMap<u16, Vec<Commit>>,
    position: BTreeMap<String, Option<u64>>,
    read: RangeSet,
    /// Reads that went back.
    pub rewinds: Vec<Rewind>,
    /// Offsets in the raw zone; of a group without one, offsets read.
    pub delivered: RangeSet,
    /// Offsets in the dead-letter topic.
    pub dead_lettered: RangeSet,
    /// When each offset became durable: stored, read or dead-lettered, whichever came first.
    pub durable: Cover,
    /// Second and further copies.
    pub surplus: Vec<Surplus>,
    /// All commits, by time.
    pub commits: Vec<Commit>,
    /// Exact commits that went back, in the broker's order: instant, from, to.
    pub backwards: Vec<(u64, u64, u64)>,
}

fn append(runs: &mut Vec<Run>, offset: u64, at_us: u64, part: Option<u32>) {
    match runs.last_mut() {
        Some(run)
            if run.part == part
                && run.at_us == at_us
                && run.last.checked_add(1) == Some(offset) =>
        {
            run.last = offset;
        }
        _ => runs.push(Run { at_us, first: offset, last: offset, part }),
    }
}

/// Two readers may have cut the same run at different places: mend it, so that nothing hangs on how
/// their lines interleave. Needs sorted runs.
fn join_neighbours(runs: &mut Vec<Run>) {
    runs.dedup_by(|next, run| {
        let adjoins = next.part == run.part
            && next.at_us == run.at_us
            && run.last.checked_add(1) == Some(next.first);
        if adjoins {
            run.last = next.last;
        }
        adjoins
    });
}

impl GroupLane {
    pub(super) fn stored(&mut self, offset: u64, created_us: u64, part: u32) {
        append(&mut self.runs, offset, created_us, Some(part));
    }

    pub(super) fn dead(&mut self, offset: u64, created_us: u64) {
        self.dead.push((created_us, offset));
    }

    /// A member read an offset.
    pub(super) fn read(&mut self, member: &str, offset: u64, t_us: u64) {
        append(&mut self.reads, offset, t_us, None);
        match self.position.get_mut(member) {
            Some(Some(due)) => {
                if offset < *due {
                    let due = *due;
                    self.rewinds.push(Rewind {
                        at_us: t_us,
                        due,
                        came: offset,
                        within_assignment: true,
                    });
                }
                *due = offset.saturating_add(1);
            }
            Some(position) => *position = Some(offset.saturating_add(1)),
            None => {
                self.position.insert(member.to_owned(), Some(offset.saturating_add(1)));
            }
        }
    }

    /// A member got or lost the partition: its next read may be anywhere from the committed offset.
    pub(super) fn assignment(&mut self, member: &str) {
        self.position.insert(member.to_owned(), None);
    }

    pub(super) fn committed(&mut self, watcher: u16, commit: Commit) {
        let seen = self.watched.entry(watcher).or_default();
        // Of samples that say the same again and again the first and the last suffice.
        if let [.., first, last] = seen.as_mut_slice() {
            let same = |c: &Commit| (c.offset, c.exact) == (commit.offset, commit.exact);
            if same(first) && same(last) {
                // Their times need not rise: a broker's clock may be set back.
                let (a, b) = (first.at_us.min(last.at_us), first.at_us.max(last.at_us));
                (first.at_us, last.at_us) = (a.min(commit.at_us), b.max(commit.at_us));
                return;
            }
        }
        seen.push(commit);
    }

    /// Derives what the checkers ask for. `reads_count`: the group has no raw zone, what it read is
    /// its delivery.
    pub(super) fn settle(&mut self, reads_count: bool) {
        let mut runs = if reads_count {
            std::mem::take(&mut self.reads)
        } else {
            std::mem::take(&mut self.runs)
        };
        runs.sort_unstable();
        join_neighbours(&mut runs);
        let mut stored = Cover::default();
        for run in &runs {
            for (range, first_us) in stored.add((run.first, run.last), run.at_us) {
                let again_us = run.at_us;
                self.surplus.push(Surplus { range, first_us, again_us, part: run.part });
            }
        }
        self.read = RangeSet::of(self.reads.iter().map(|run| (run.first, run.last)));
        self.delivered = stored.set();
        if reads_count {
            self.read = self.delivered.clone();
        }
        self.dead_lettered = RangeSet::of(self.dead.iter().map(|&(_, offset)| (offset, offset)));
        let dead = self.dead.iter().map(|&(at, offset)| (at, offset, offset));
        let mut all: Vec<_> = runs.iter().map(|r| (r.at_us, r.first, r.last)).chain(dead).collect();
        all.sort_unstable();
        for (at_us, first, last) in all {
            self.durable.add((first, last), at_us);
        }
        self.settle_commits();
    }

    fn settle_commits(&mut self) {
        for commits in self.watched.values() {
            let mut last: Option<Commit> = None;
            for commit in commits {
                if let Some(before) = last
                    && commit.offset < before.offset
                {
                    self.backwards.push((commit.at_us, before.offset, commit.offset));
                }
                last = Some(*commit);
            }
        }
        self.backwards.sort_unstable();
        self.backwards.dedup();
        self.commits = std::mem::take(&mut self.watched).into_values().flatten().collect();
        self.commits.sort_unstable();
        self.commits.dedup();
    }

    pub(super) fn renumber(&mut self, new: &[u32]) {
        for run in &mut self.runs {
            run.part = run.part.and_then(|part| new.get(part as usize).copied());
        }
    }

    /// The highest offset ever committed: everything below it was claimed to be done.
    #[must_use]
    pub fn committed_max(&self) -> Option<u64> {
        self.commits.iter().map(|c| c.offset).max()
    }

    /// The offset committed at the end.
    #[must_use]
    pub fn committed_end(&self) -> Option<u64> {
        self.commits.last().map(|c| c.offset)
    }

    /// The offset known to be committed at an instant.
    #[must_use]
    pub fn committed_at(&self, at_us: u64) -> Option<u64> {
        let after = self.commits.partition_point(|c| c.at_us <= at_us);
        after.checked_sub(1).map(|i| self.commits[i].offset)
    }

    /// Offsets that members were seen to read.
    #[must_use]
    pub fn read_set(&self) -> &RangeSet {
        &self.read
    }

    /// Stored, read or dead-lettered.
    #[must_use]
    pub fn done(&self) -> RangeSet {
        self.delivered.union(&self.dead_lettered)
    }
}
