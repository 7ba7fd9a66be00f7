//! What the members of a group read of one partition, each in the order in which it read.
//!
//! Between members nothing is concluded from the order of lines. Within one, an *assignment* is the
//! time from one change of ownership to the next; what a member skipped, or read out of order, is
//! settled when its assignment ends.

use super::group::Run;
use super::ranges::{Cover, Range, RangeSet};
use super::skew::Base;

/// Whether a member may read, by what it told of its assignments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Ownership {
    /// It told nothing of the partition yet.
    #[default]
    Untold,
    Owns,
    Gone,
}

/// What came after a member had gone back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum After {
    /// It read on to where it had been before: it had gone back to an earlier position.
    ReadOn,
    /// It went back once more.
    BackAgain,
    /// It passed over what it had read before.
    Jumped,
    /// Nothing.
    Ended,
}

/// A member read an offset below the one that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rewind {
    /// When.
    pub at_us: u64,
    /// The member, by its number among [`Readers::names`].
    pub reader: u16,
    /// Whose clock said so.
    pub base: Base,
    /// The offset that was due.
    pub due: u64,
    /// The offset that came.
    pub came: u64,
    /// The member had read it before in this assignment.
    pub repeated: bool,
    /// What came after.
    pub after: After,
}

/// Offsets that a member did not read, although it read others before and behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// When the first of them was passed over.
    pub at_us: u64,
    /// The member.
    pub reader: u16,
    /// Which.
    pub set: RangeSet,
}

/// Reads of a member that did not own the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unowned {
    /// When the first of them came.
    pub at_us: u64,
    /// The member.
    pub reader: u16,
    /// It had given the partition up, or lost it; else it never said that it owned it.
    pub gave_up: bool,
    /// Which.
    pub set: RangeSet,
}

/// One member, while facts come in.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader {
    process: Option<u16>,
    // Several processes spoke for it: there is no order among their lines.
    mixed: bool,
    ownership: Ownership,
    due: Option<u64>,
    runs: Vec<Run>,
    // Where the runs of the assignment in hand begin.
    begin: usize,
    gaps: Vec<(Range, u64)>,
    rewinds: Vec<Rewind>,
    // Rewinds of assignments that are over.
    judged: usize,
    skips: Vec<(RangeSet, u64)>,
    unowned: Vec<(Range, u64, bool)>,
    begins: Vec<u64>,
}

impl Reader {
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    fn speaks(&mut self, process: u16) {
        let first = *self.process.get_or_insert(process);
        self.mixed |= first != process;
    }

    pub(super) fn read(&mut self, process: u16, offset: u64, run: Run) {
        self.speaks(process);
        if self.ownership != Ownership::Owns {
            self.unowned.push(((offset, offset), run.at_us, self.ownership == Ownership::Gone));
        }
        let joins = match self.due {
            Some(due) if offset == due => true,
            Some(due) if offset > due => {
                self.gaps.push(((due, offset - 1), run.at_us));
                false
            }
            Some(due) => {
                let Run { at_us, base, .. } = run;
                let (came, repeated, after) = (offset, false, After::Ended);
                self.rewinds.push(Rewind { at_us, reader: 0, base, due, came, repeated, after });
                false
            }
            None => false,
        };
        match self.runs.last_mut() {
            Some(last) if joins && last.at_us == run.at_us && last.base == run.base => {
                last.last = offset;
            }
            _ => self.runs.push(run),
        }
        self.due = offset.checked_add(1);
    }

    /// The member got the partition, or it went from it.
    pub(super) fn assignment(&mut self, process: u16, assigned: bool, at_us: u64) {
        self.speaks(process);
        if assigned {
            self.begins.push(at_us);
        }
        self.end_assignment();
        self.ownership = if assigned { Ownership::Owns } else { Ownership::Gone };
    }

    /// Settles what the assignment in hand left open.
    fn end_assignment(&mut self) {
        let runs = &self.runs[self.begin..];
        judge_rewinds(runs, &mut self.rewinds[self.judged..]);
        self.judged = self.rewinds.len();
        if !self.gaps.is_empty() {
            let read = RangeSet::of(runs.iter().map(|run| (run.first, run.last)));
            let gaps = RangeSet::of(self.gaps.iter().map(|gap| gap.0)).minus(&read);
            if !gaps.is_empty() {
                let touched =
                    |gap: &&(Range, u64)| !gaps.intersect(&RangeSet::of([gap.0])).is_empty();
                let at_us = self.gaps.iter().find(touched).map_or(0, |gap| gap.1);
                self.skips.push((gaps, at_us));
            }
        }
        self.gaps.clear();
        self.begin = self.runs.len();
        self.due = None;
    }
}

/// Says of each rewind of one assignment what it repeated and what followed. Runs and rewinds are in
/// the order of the reading; each rewind begins a run.
fn judge_rewinds(runs: &[Run], rewinds: &mut [Rewind]) {
    if rewinds.is_empty() {
        return;
    }
    let (mut read, mut next, mut due) = (Cover::default(), 0, None);
    // The rewind that is being followed, and the offset that it must come to again.
    let mut followed: Option<(usize, u64)> = None;
    for run in runs {
        let back = due.is_some_and(|due| run.first < due);
        let jumped = due.is_some_and(|due| run.first > due);
        if let Some((number, top)) = followed {
            if back {
                rewinds[number].after = After::BackAgain;
                followed = None;
            } else if jumped && run.first > top {
                rewinds[number].after = After::Jumped;
                followed = None;
            }
        }
        if back && let Some(rewind) = rewinds.get_mut(next) {
            rewind.repeated = read.within((rewind.came, rewind.came)).next().is_some();
            followed = Some((next, rewind.due - 1));
            next += 1;
        }
        if let Some((number, top)) = followed
            && (run.first..=run.last).contains(&top)
        {
            rewinds[number].after = After::ReadOn;
            followed = None;
        }
        read.add((run.first, run.last), run.at_us);
        due = run.last.checked_add(1);
    }
}

/// What all members of a group read of a partition, once the history is at its end.
#[derive(Debug, Clone, Default)]
pub struct Readers {
    /// Names, rising; a number is a place in here.
    pub names: Vec<String>,
    /// Some member told of an assignment.
    pub assignments_told: bool,
    /// When members began to read anew: assignments, by the clock of the member.
    pub begins: Vec<u64>,
    /// Reads that went back.
    pub rewinds: Vec<Rewind>,
    /// Offsets passed over within an assignment.
    pub skips: Vec<Skip>,
    /// Reads without ownership.
    pub unowned: Vec<Unowned>,
    /// Lines of several processes speak for one member: its order is not known.
    pub mixed: Vec<String>,
}

impl Readers {
    /// Settles all members, in the order of their names, and gives their runs.
    pub(super) fn settle(members: std::collections::BTreeMap<String, Reader>) -> (Self, Vec<Run>) {
        let mut all = Self::default();
        let mut runs = Vec::new();
        all.assignments_told = members.values().any(|m| m.ownership != Ownership::Untold);
        for (number, (name, mut member)) in (0u16..).zip(members) {
            member.end_assignment();
            all.begins.extend(&member.begins);
            if member.mixed {
                all.mixed.push(name.clone());
            } else {
                all.take(number, &member);
            }
            runs.extend(member.runs.into_iter().map(|run| Run { reader: Some(number), ..run }));
            all.names.push(name);
        }
        all.rewinds.sort_unstable();
        all.begins.sort_unstable();
        (all, runs)
    }

    fn take(&mut self, reader: u16, member: &Reader) {
        self.rewinds.extend(member.rewinds.iter().map(|&rewind| Rewind { reader, ..rewind }));
        let skips = member.skips.iter();
        self.skips.extend(skips.map(|(set, at_us)| Skip {
            at_us: *at_us,
            reader,
            set: set.clone(),
        }));
        for gave_up in [false, true] {
            let own = || member.unowned.iter().filter(|read| read.2 == gave_up);
            if let Some(&(_, at_us, _)) = own().next() {
                let set = RangeSet::of(own().map(|read| read.0));
                self.unowned.push(Unowned { at_us, reader, gave_up, set });
            }
        }
    }
}

impl super::Index {
    /// Whoever wrote the history down said that it lacks something: an error note.
    #[must_use]
    pub fn lines_left_out(&self) -> bool {
        self.rare.notes.iter().any(|note| note.fact.0 == "error")
    }
}
