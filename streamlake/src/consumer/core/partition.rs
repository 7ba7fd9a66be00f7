//! One assigned partition: its frontier and the parts that are being filled for it.

use super::frontier::Frontier;
use crate::observe::health::Progress;
use crate::raw_zone::buffer::PartBuffer;
use chrono::NaiveDate;
use std::time::{Duration, Instant};

/// How far the client's fetching of a partition is.
#[derive(Debug, Default)]
pub(in crate::consumer) struct Fetched {
    /// Where the records that may be read end: the last stable offset.
    pub(in crate::consumer) end: Option<i64>,
    /// The next offset to be fetched. Markers of transactions and aborted records below it are passed.
    pub(in crate::consumer) next: Option<i64>,
    /// It is being fetched.
    pub(in crate::consumer) active: bool,
    /// The last fetch was answered with the partition's end, by a broker that still talks.
    pub(in crate::consumer) answered: bool,
}

/// The log no longer had the offset that was due, and reading goes on elsewhere. The range in between
/// was never read, and nobody can say any more how many records it held.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::consumer) struct Gap {
    pub(in crate::consumer) due: i64,
    pub(in crate::consumer) goes_on_at: i64,
}

/// A partition from its assignment to its revocation. A new assignment makes a new one, with a new
/// epoch: whatever finishes late for an old epoch is ignored.
#[derive(Debug)]
pub(in crate::consumer) struct Partition {
    /// Which assignment this is; unique in the life of the process.
    pub(in crate::consumer) epoch: u64,
    pub(in crate::consumer) frontier: Frontier,
    /// The parts being filled, one a day. Nearly always there is one.
    pub(in crate::consumer) open: Vec<(NaiveDate, PartBuffer)>,
    /// Set when the partition is to be given up: no more records are taken.
    pub(in crate::consumer) revoking: bool,
    /// The client read something again that it had read before; it is to go back to here first. Until
    /// it has, nothing that comes is taken.
    pub(in crate::consumer) seek_to: Option<i64>,
    /// The last offset that the broker confirmed.
    pub(in crate::consumer) committed: Option<i64>,
    /// Where committed records end, as the client last saw it.
    pub(in crate::consumer) end: Option<i64>,
    /// The next offset that the client fetches: it passes offsets that hold no record.
    pub(in crate::consumer) next: Option<i64>,
    /// A record came, or the client says that it fetches.
    pub(in crate::consumer) begun: bool,
    /// Whether its fetches are answered now. An end that was seen says nothing of what came since.
    pub(in crate::consumer) answered: bool,
    /// Offsets that were due when the log no longer had them, lowest first; where reading goes on tells
    /// the range.
    due: Vec<i64>,
    /// When it is to be taken on again if nothing has come by then.
    pub(in crate::consumer) retake_at: Instant,
    retakes: u32,
    /// The leaders under which what was read was appended: from which offset on, which epoch. Leaders
    /// change rarely.
    leaders: Vec<(i64, i32)>,
}

/// How long a partition may be assigned without being fetched before it is taken on again.
const RETAKE_AFTER: Duration = Duration::from_secs(10);
/// Offsets that were due and are remembered until reading goes on.
const DUE_MAX: usize = 8;
/// The longest pause between two attempts.
const RETAKE_AFTER_MAX: Duration = Duration::from_secs(60);

impl Partition {
    pub(in crate::consumer) fn new(epoch: u64, now: Instant) -> Self {
        Partition {
            epoch,
            frontier: Frontier::default(),
            open: Vec::new(),
            revoking: false,
            seek_to: None,
            committed: None,
            end: None,
            next: None,
            begun: false,
            answered: false,
            due: Vec::new(),
            retake_at: now + RETAKE_AFTER,
            retakes: 0,
            leaders: Vec::new(),
        }
    }

    /// A record was read that had been appended under this leader.
    pub(in crate::consumer) fn read_under(&mut self, offset: i64, leader_epoch: i32) {
        if self.leaders.last().is_none_or(|(_, last)| *last != leader_epoch) {
            self.leaders.push((offset, leader_epoch));
        }
    }

    /// The leader under which the last record in front of an offset was appended; -1 if none was read.
    pub(in crate::consumer) fn leader_epoch_before(&self, next: i64) -> i32 {
        let known = self.leaders.iter().rev().find(|(from, _)| *from < next);
        known.map_or(-1, |(_, epoch)| *epoch)
    }

    /// Everything in front of an offset is committed: leaders before the last of it are asked for no more.
    pub(in crate::consumer) fn forget_leaders(&mut self, committed: i64) {
        let behind = self.leaders.iter().filter(|(from, _)| *from < committed).count();
        self.leaders.drain(..behind.saturating_sub(1));
    }

    /// The next attempt to get its fetching going: attempts grow rarer, for a broker that is away
    /// explains the silence as well.
    pub(in crate::consumer) fn retaken(&mut self, before: u32, now: Instant) {
        self.retakes = before + 1;
        let pause = RETAKE_AFTER.saturating_mul(1 << self.retakes.min(6)).min(RETAKE_AFTER_MAX);
        self.retake_at = now + pause;
    }

    /// Attempts so far.
    pub(in crate::consumer) fn retakes(&self) -> u32 {
        self.retakes
    }

    /// The log no longer has this offset, which was due, and the client goes elsewhere.
    pub(in crate::consumer) fn sent_elsewhere(&mut self, due: i64) {
        if let Err(at) = self.due.binary_search(&due) {
            self.due.insert(at, due);
            self.due.truncate(DUE_MAX);
        }
    }

    /// The lowest offset that was due and is not there.
    pub(in crate::consumer) fn due(&self) -> Option<i64> {
        self.due.first().copied()
    }

    /// The gap in front of the record that is taken next. What the client had fetched before it was sent
    /// elsewhere still comes, and is none; the record that shows the gap is the first behind a leap.
    pub(in crate::consumer) fn gap_before(&mut self, offset: i64) -> Option<Gap> {
        let due = self.due()?;
        let position = self.frontier.position();
        // What lies below the position was read.
        let from = position.map_or(due, |next| next.max(due));
        if offset > from || offset == due {
            self.due.retain(|due| *due > offset);
        }
        // A first record in front of what was due: most likely the log ends there. The rest will show.
        let ends_early = position.is_none() && offset < due;
        (offset > from || ends_early).then_some(Gap { due: from, goes_on_at: offset })
    }

    /// What the client says of its fetching.
    pub(in crate::consumer) fn fetched(&mut self, fetched: &Fetched) {
        self.end = fetched.end.or(self.end);
        self.next = fetched.next.or(self.next);
        self.begun |= fetched.active;
        self.answered = fetched.answered;
    }

    /// Where it stands, for health and metrics.
    pub(in crate::consumer) fn progress(&self) -> Progress {
        Progress {
            position: self.frontier.position(),
            durable: self.frontier.durable(),
            committed: self.committed,
            end: self.end,
            next: self.next,
            begun: self.begun,
            answered: self.answered,
        }
    }

    /// The open part of a day, if there is one.
    pub(in crate::consumer) fn open_part(&mut self, date: NaiveDate) -> Option<&mut PartBuffer> {
        self.open.iter_mut().find(|(day, _)| *day == date).map(|(_, buffer)| buffer)
    }

    /// When the oldest open part was begun.
    pub(in crate::consumer) fn oldest(&self) -> Option<Instant> {
        self.open.iter().map(|(_, buffer)| buffer.opened_at).min()
    }

    /// The offset that may be committed and is not yet.
    pub(in crate::consumer) fn to_commit(&self) -> Option<i64> {
        let durable = self.frontier.durable()?;
        (self.committed.is_none_or(|committed| committed < durable)).then_some(durable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_bears_the_leader_of_the_record_in_front_of_it() {
        let mut state = Partition::new(1, Instant::now());
        assert_eq!(state.leader_epoch_before(7), -1, "nothing was read");
        for (offset, epoch) in [(5, 2), (6, 2), (7, 3), (9, 5), (10, 5)] {
            state.read_under(offset, epoch);
        }
        let epochs = [5, 6, 7, 8, 9, 10, 11].map(|next| state.leader_epoch_before(next));
        assert_eq!(epochs, [-1, 2, 2, 3, 3, 5, 5]);
        state.forget_leaders(8);
        assert_eq!([8, 9, 10].map(|next| state.leader_epoch_before(next)), [3, 3, 5]);
        assert_eq!(state.leaders.len(), 2);
    }
}
