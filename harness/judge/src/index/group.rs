//! What is known of one group on one partition: which offsets it stored or read and when, and what
//! it committed.

use std::collections::{BTreeMap, BTreeSet};

use super::ranges::{Cover, Range, RangeSet};
use super::readers::{Reader, Readers};
use super::skew::{Base, Clocks, RESOLUTION_US};

/// Consecutive offsets that came to the same place at the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// When: creation of the part, or the instant of the read.
    pub at_us: u64,
    /// Whose clock said so.
    pub base: Base,
    /// Number of the part; none for reads.
    pub part: Option<u32>,
    /// The member that read it, by its number among [`Readers::names`]; none for parts.
    pub reader: Option<u16>,
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
    /// The broker's own record, or the member's word, not a sample.
    pub exact: bool,
    /// Whose clock said so.
    pub base: Base,
}

/// A commit below the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backward {
    /// When.
    pub at_us: u64,
    /// What had been committed.
    pub from: u64,
    /// What was committed then.
    pub to: u64,
    /// Whose clock said so.
    pub base: Base,
    /// It and the one before were told by different processes with clocks of their own, and lie so
    /// close together that it may have been the earlier one.
    pub uncertain: bool,
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

/// What passed between the group, the coordinator and the store, by this machine's clocks.
pub(super) struct Passing<'a> {
    /// By the number of a part: when its writer was answered.
    pub answered: &'a [Option<u64>],
    /// By offset: when it was asked to be committed.
    pub asked: BTreeMap<u64, Vec<u64>>,
}

/// One group on one partition.
#[derive(Debug, Clone, Default)]
pub struct GroupLane {
    runs: Vec<Run>,
    members: BTreeMap<String, Reader>,
    dead: Vec<(u64, u64)>,
    watched: BTreeMap<u16, Vec<Commit>>,
    read: RangeSet,
    /// Who read what in which order.
    pub readers: Readers,
    /// Offsets in the raw zone; of a group without one, offsets read.
    pub delivered: RangeSet,
    /// Offsets in the dead-letter topic.
    pub dead_lettered: RangeSet,
    /// When each offset became durable: stored, read or dead-lettered, whichever came first.
    pub durable: Cover,
    /// The same for each clock apart.
    pub durable_by: Vec<(Base, Cover)>,
    /// When the writers of parts were answered, by the processes' clock: by then they were durable, and
    /// perhaps long before.
    pub answered: Cover,
    /// Second and further copies.
    pub surplus: Vec<Surplus>,
    /// Every copy of the offsets that were delivered more than once, by time.
    pub copies: Vec<Run>,
    /// All commits, by time.
    pub commits: Vec<Commit>,
    /// Commits that went back, by time.
    pub backwards: Vec<Backward>,
    /// Commits that were seen by themselves: when the recorder had learned of each, and the offset.
    pub learned: Vec<(u64, u64)>,
    /// The offset that was committed most often in a row, each commit seen by itself, and how often.
    pub repeated: Option<(u64, u64)>,
    /// The same of the last commits, by who watched.
    in_a_row: BTreeMap<u16, (u64, u64)>,
}

fn append(runs: &mut Vec<Run>, offset: u64, (base, at_us): (Base, u64), part: u32) {
    match runs.last_mut() {
        Some(run)
            if run.part == Some(part)
                && run.at_us == at_us
                && run.last.checked_add(1) == Some(offset) =>
        {
            run.last = offset;
        }
        _ => {
            let (part, reader) = (Some(part), None);
            runs.push(Run { at_us, base, part, reader, first: offset, last: offset });
        }
    }
}

/// Two readers may have cut the same run at different places: mend it, so that nothing hangs on how
/// their lines interleave. Needs sorted runs.
fn join_neighbours(runs: &mut Vec<Run>) {
    runs.dedup_by(|next, run| {
        let adjoins = next.part == run.part
            && next.reader == run.reader
            && next.base == run.base
            && next.at_us == run.at_us
            && run.last.checked_add(1) == Some(next.first);
        if adjoins {
            run.last = next.last;
        }
        adjoins
    });
}

impl GroupLane {
    pub(super) fn stored(&mut self, offset: u64, created: (Base, u64), part: u32) {
        append(&mut self.runs, offset, created, part);
    }

    pub(super) fn dead(&mut self, offset: u64, created_us: u64) {
        self.dead.push((created_us, offset));
    }

    fn member(&mut self, name: &str) -> &mut Reader {
        self.members.entry(name.to_owned()).or_default()
    }

    /// A member read an offset.
    pub(super) fn read(&mut self, member: &str, process: u16, offset: u64, at_us: u64, base: Base) {
        let run = Run { at_us, base, part: None, reader: None, first: offset, last: offset };
        match self.members.get_mut(member) {
            Some(reader) => reader.read(process, offset, run),
            None => self.member(member).read(process, offset, run),
        }
    }

    /// A member got or lost the partition: its next read may be anywhere from the committed offset.
    pub(super) fn assignment(&mut self, member: &str, process: u16, assigned: bool, at_us: u64) {
        self.member(member).assignment(process, assigned, at_us);
    }

    pub(super) fn committed(&mut self, watcher: u16, commit: Commit) {
        if commit.exact {
            self.count_in_a_row(watcher, commit.offset);
        }
        let seen = self.watched.entry(watcher).or_default();
        // Of samples that say the same again and again the first and the last suffice.
        if let [.., first, last] = seen.as_mut_slice() {
            let what = |c: &Commit| (c.offset, c.exact, c.base);
            let same = |c: &Commit| what(c) == what(&commit);
            if same(first) && same(last) {
                // Their times need not rise: a broker's clock may be set back.
                let (a, b) = (first.at_us.min(last.at_us), first.at_us.max(last.at_us));
                (first.at_us, last.at_us) = (a.min(commit.at_us), b.max(commit.at_us));
                return;
            }
        }
        seen.push(commit);
    }

    /// The recorder knew of a commit by this instant: it was in force before, whatever the clocks.
    pub(super) fn learned(&mut self, t_us: u64, offset: u64) {
        self.learned.push((t_us, offset));
    }

    /// The lowest offset that can have been in force at an instant of the recorder's, by what it had learned
    /// until then: what it learned later may have been in force already. None if it knew of no commit yet.
    #[must_use]
    pub fn in_force(&self, at_us: u64) -> Option<u64> {
        let known = self.learned.iter().filter(|(t_us, _)| *t_us < at_us);
        let last = known.max_by_key(|(t_us, _)| *t_us)?;
        // Learned in one instant, or later: either may be the last one.
        let others = self.learned.iter().filter(|(t_us, _)| *t_us >= last.0);
        others.map(|(_, offset)| *offset).min()
    }

    fn count_in_a_row(&mut self, watcher: u16, offset: u64) {
        let row = self.in_a_row.entry(watcher).or_insert((offset, 0));
        *row = if row.0 == offset { (offset, row.1 + 1) } else { (offset, 1) };
        let (offset, times) = *row;
        if self.repeated.is_none_or(|most| most.1 < times) {
            self.repeated = Some((offset, times));
        }
    }

    /// Derives what the checkers ask for. `reads_count`: the group has no raw zone, what it read is
    /// its delivery. `letters`: whose clock stamped its dead letters. Needs the clocks.
    pub(super) fn settle(
        &mut self,
        reads_count: bool,
        letters: Base,
        clocks: &Clocks,
        passing: &Passing<'_>,
    ) {
        let (readers, reads) = Readers::settle(std::mem::take(&mut self.members));
        self.readers = readers;
        self.read = RangeSet::of(reads.iter().map(|run| (run.first, run.last)));
        let mut runs = if reads_count { reads } else { std::mem::take(&mut self.runs) };
        runs.sort_by_key(|run| (clocks.nominal(run.base, run.at_us), *run));
        join_neighbours(&mut runs);
        let mut stored = Cover::default();
        for run in &runs {
            for (range, first_us) in stored.add((run.first, run.last), run.at_us) {
                let again_us = run.at_us;
                self.surplus.push(Surplus { range, first_us, again_us, part: run.part });
            }
        }
        self.delivered = stored.set();
        self.dead_lettered = RangeSet::of(self.dead.iter().map(|&(_, offset)| (offset, offset)));
        let dead = self.dead.iter().map(|&(at_us, offset)| {
            let (base, part, reader) = (letters, None, None);
            Run { at_us, base, part, reader, first: offset, last: offset }
        });
        let mut all: Vec<Run> = runs.iter().copied().chain(dead).collect();
        all.sort_by_key(|run| (clocks.nominal(run.base, run.at_us), *run));
        let mut by: BTreeMap<Base, Cover> = BTreeMap::new();
        for run in &all {
            self.durable.add((run.first, run.last), run.at_us);
            by.entry(run.base).or_default().add((run.first, run.last), run.at_us);
        }
        let answered = runs.iter().filter_map(|run| {
            let at_us = passing.answered.get(run.part? as usize).copied().flatten()?;
            Some((at_us, (run.first, run.last)))
        });
        let mut answered: Vec<(u64, Range)> = answered.collect();
        answered.sort_unstable();
        for (at_us, range) in answered {
            self.answered.add(range, at_us);
        }
        self.durable_by = by.into_iter().collect();
        let again = RangeSet::of(self.surplus.iter().map(|surplus| surplus.range));
        let repeated = |run: &Run| !again.is_empty() && again.touches((run.first, run.last));
        self.copies = runs.into_iter().filter(repeated).collect();
        self.settle_commits(clocks);
        self.see_commits_pass(&passing.asked, clocks);
    }

    /// Gives the commits of the broker's record the instants at which they were seen to be asked for: a
    /// commit and the part below it are then ordered by one clock. If an offset was asked for more often
    /// than it is on record, only its first commit is sure to have been asked for no earlier.
    fn see_commits_pass(&mut self, asked: &BTreeMap<u64, Vec<u64>>, clocks: &Clocks) {
        let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
        let mut times: BTreeMap<u64, usize> = BTreeMap::new();
        let on_record = |commit: &Commit| commit.exact && commit.base == Base::Broker;
        for commit in self.commits.iter().filter(|commit| on_record(commit)) {
            *times.entry(commit.offset).or_default() += 1;
        }
        for commit in self.commits.iter_mut().filter(|commit| on_record(commit)) {
            let Some(instants) = asked.get(&commit.offset) else { continue };
            let nth = seen.entry(commit.offset).or_default();
            let as_often = times.get(&commit.offset) == Some(&instants.len());
            let instant = instants.get(*nth).filter(|_| as_often || *nth == 0);
            *nth += 1;
            let latest = super::skew::shifted(commit.at_us, clocks.of(Base::Broker).high)
                .saturating_add(RESOLUTION_US.cast_signed());
            // One that was asked for after it was written down is another.
            if let Some(&at_us) = instant.filter(|&&at| super::skew::shifted(at, 0) <= latest) {
                (commit.at_us, commit.base) = (at_us, Base::Recorder);
            }
        }
        self.commits.sort_by_key(|commit| (clocks.nominal(commit.base, commit.at_us), *commit));
    }

    fn settle_commits(&mut self, clocks: &Clocks) {
        let mut exact: Vec<(Commit, u16)> = Vec::new();
        // Two watchers may have seen the same; one may have seen the like more than once.
        let mut times: BTreeMap<Backward, usize> = BTreeMap::new();
        let any_exact = self.watched.values().flatten().any(|commit| commit.exact);
        for (&watcher, commits) in &self.watched {
            let mut seen: BTreeMap<Backward, usize> = BTreeMap::new();
            let mut last: Option<Commit> = None;
            for &commit in commits {
                // Where each commit is on record, samples have nothing to add.
                if let Some(before) = last
                    && commit.offset < before.offset
                    && (commit.exact || !any_exact)
                {
                    let Commit { at_us, base, .. } = commit;
                    let (from, to) = (before.offset, commit.offset);
                    let back = Backward { at_us, from, to, base, uncertain: false };
                    *seen.entry(back).or_insert(0) += 1;
                }
                if commit.exact || !any_exact {
                    last = Some(commit);
                }
                if commit.exact {
                    exact.push((commit, watcher));
                }
            }
            for (back, seen) in seen {
                let times = times.entry(back).or_insert(0);
                *times = seen.max(*times);
            }
        }
        let each = times.into_iter();
        let own: Vec<Backward> =
            each.flat_map(|(back, times)| std::iter::repeat_n(back, times)).collect();
        // A sample of an offset that is on nobody's record tells of a commit that the records lack.
        let on_record: BTreeSet<u64> = exact.iter().map(|(commit, _)| commit.offset).collect();
        let samples = self.watched.values().flatten().filter(|commit| !commit.exact);
        let lacking = samples.filter(|commit| !on_record.contains(&commit.offset));
        let with_samples: Vec<(Commit, u16)> = match any_exact {
            true => lacking.map(|&commit| (commit, SAMPLER)).chain(exact).collect(),
            false => exact,
        };
        let across = across_watchers(with_samples, &own, clocks);
        self.backwards = own;
        self.backwards.extend(across);
        self.backwards.sort_by_key(|back| (clocks.nominal(back.base, back.at_us), *back));
        self.commits = std::mem::take(&mut self.watched).into_values().flatten().collect();
        self.commits.sort_by_key(|commit| (clocks.nominal(commit.base, commit.at_us), *commit));
        self.commits.dedup();
    }

    /// Every instant of a commit or a read, with its clock and the highest offset that it speaks of.
    pub(super) fn stamps(&self) -> impl Iterator<Item = (Base, u64, u64)> + '_ {
        let commits = self.watched.values().flatten();
        let covered = commits.filter(|commit| commit.offset > 0);
        let reads = self.members.values().flat_map(Reader::runs);
        covered
            .map(|commit| (commit.base, commit.at_us, commit.offset - 1))
            .chain(reads.map(|run| (run.base, run.at_us, run.last)))
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

    /// The lowest offset that may have been in force at some instant between two on the recorder's
    /// clock; 0 where nothing may have been committed yet. As far as clocks are not known, more is
    /// possible.
    #[must_use]
    pub fn committed_low(&self, from_us: i64, until_us: i64, clocks: &Clocks) -> u64 {
        let resolution = RESOLUTION_US.cast_signed();
        let mut low: Option<u64> = None;
        for commit in &self.commits {
            let skew = clocks.of(commit.base);
            let at = |by| super::skew::shifted(commit.at_us, by);
            if at(skew.high).saturating_add(resolution) < from_us {
                // Certainly before: it takes the place of all that was before it.
                low = Some(commit.offset);
            } else if at(skew.low) <= until_us {
                low = Some(low.unwrap_or(0).min(commit.offset));
            }
        }
        low.unwrap_or(0)
    }

    /// The lowest offset that may have been in force when something came to be. One clock orders what it
    /// stamped, however it stands to others.
    #[must_use]
    pub fn committed_when(&self, base: Base, at_us: u64, clocks: &Clocks) -> u64 {
        let skew = clocks.of(base);
        let at = |by| super::skew::shifted(at_us, by);
        let resolution = RESOLUTION_US.cast_signed();
        let mut low: Option<u64> = None;
        for commit in &self.commits {
            let own = commit.base == base;
            let known = clocks.of(commit.base);
            let committed = |by| super::skew::shifted(commit.at_us, by);
            let before = committed(known.high).saturating_add(resolution) < at(skew.low);
            let perhaps = committed(known.low) <= at(skew.high);
            if if own { commit.at_us < at_us } else { before } {
                low = Some(commit.offset);
            } else if if own { commit.at_us == at_us } else { perhaps } {
                low = Some(low.unwrap_or(0).min(commit.offset));
            }
        }
        low.unwrap_or(0)
    }

    /// The offset that was likeliest in force when something came to be, where that hangs on clocks that
    /// nobody compared. None where it does not, or nothing was committed.
    #[must_use]
    pub fn committed_likely(&self, base: Base, at_us: u64, clocks: &Clocks) -> Option<u64> {
        let at = clocks.nominal(base, at_us);
        let before = |commit: &&Commit| clocks.nominal(commit.base, commit.at_us) < at;
        // Commits are in the order of their likeliest instants.
        let last = self.commits.iter().take_while(before).last()?;
        let compared =
            last.base == base || (clocks.of(base).measured && clocks.of(last.base).measured);
        (!compared).then_some(last.offset)
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

/// Whoever samples commits is no process that tells commits of its own.
const SAMPLER: u16 = u16::MAX;

/// Commits below one that another process had told before. The order of two processes is that of their
/// clocks, as far as it is known.
fn across_watchers(
    mut exact: Vec<(Commit, u16)>,
    own: &[Backward],
    clocks: &Clocks,
) -> Vec<Backward> {
    let watcher = exact.first().map(|(_, watcher)| *watcher);
    if exact.iter().all(|(_, other)| Some(*other) == watcher) {
        return Vec::new();
    }
    exact.sort_by_key(|(commit, _)| (clocks.nominal(commit.base, commit.at_us), *commit));
    exact.dedup_by_key(|(commit, _)| *commit);
    let mut across = Vec::new();
    for pair in exact.windows(2) {
        let ((before, first), (after, second)) = (pair[0], pair[1]);
        // A sample may have been asked for before the commit that it was written down after.
        if first == second || after.offset >= before.offset || !after.exact {
            continue;
        }
        let known = |back: &Backward| (back.at_us, back.to) == (after.at_us, after.offset);
        if own.iter().any(known) {
            continue;
        }
        let latest = super::skew::shifted(before.at_us, clocks.of(before.base).high);
        let earliest = super::skew::shifted(after.at_us, clocks.of(after.base).low);
        let same_clock = before.base == after.base;
        across.push(Backward {
            at_us: after.at_us,
            from: before.offset,
            to: after.offset,
            base: after.base,
            uncertain: !same_clock && earliest <= latest,
        });
    }
    across
}
