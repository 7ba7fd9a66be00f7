//! One assigned partition: its frontier and the parts that are being filled for it.

use super::context::Fetched;
use super::frontier::Frontier;
use crate::raw_zone::buffer::PartBuffer;
use chrono::NaiveDate;
use std::time::{Duration, Instant};

/// A partition from its assignment to its revocation. A new assignment makes a new one, with a new
/// epoch: whatever finishes late for an old epoch is ignored.
#[derive(Debug)]
pub(super) struct Partition {
    /// Which assignment this is; unique in the life of the process.
    pub(super) epoch: u64,
    pub(super) frontier: Frontier,
    /// The parts being filled, one a day. Nearly always there is one.
    pub(super) open: Vec<(NaiveDate, PartBuffer)>,
    /// Set when the partition is to be given up: no more records are taken.
    pub(super) revoking: bool,
    /// The client read something again that it had read before; it is to go back to here first. Until
    /// it has, nothing that comes is taken.
    pub(super) seek_to: Option<i64>,
    /// The last offset that the broker confirmed.
    pub(super) committed: Option<i64>,
    /// Only for the planted bug `commit-newest-completion`.
    pub(super) newest: Option<i64>,
    /// Where committed records end, as the client last saw it.
    pub(super) end: Option<i64>,
    /// The next offset that the client fetches: it passes offsets that hold no record.
    pub(super) next: Option<i64>,
    /// A record came, or the client says that it fetches.
    pub(super) begun: bool,
    /// The offset that was due when the log no longer had it; where reading goes on tells the range.
    pub(super) due: Option<i64>,
    /// When it is to be taken on again if nothing has come by then.
    pub(super) retake_at: Instant,
    retakes: u32,
}

/// How long a partition may be assigned without being fetched before it is taken on again.
const RETAKE_AFTER: Duration = Duration::from_secs(10);
/// The longest pause between two attempts.
const RETAKE_AFTER_MAX: Duration = Duration::from_secs(60);

impl Partition {
    pub(super) fn new(epoch: u64) -> Self {
        Partition {
            epoch,
            frontier: Frontier::default(),
            open: Vec::new(),
            revoking: false,
            seek_to: None,
            committed: None,
            newest: None,
            end: None,
            next: None,
            begun: false,
            due: None,
            retake_at: Instant::now() + RETAKE_AFTER,
            retakes: 0,
        }
    }

    /// The next attempt to get its fetching going: attempts grow rarer, for a broker that is away
    /// explains the silence as well.
    pub(super) fn retaken(&mut self, before: u32) {
        self.retakes = before + 1;
        let pause = RETAKE_AFTER.saturating_mul(1 << self.retakes.min(6)).min(RETAKE_AFTER_MAX);
        self.retake_at = Instant::now() + pause;
    }

    /// Attempts so far.
    pub(super) fn retakes(&self) -> u32 {
        self.retakes
    }

    /// What the client says of its fetching.
    pub(super) fn fetched(&mut self, fetched: &Fetched) {
        self.end = fetched.end.or(self.end);
        self.next = fetched.next.or(self.next);
        self.begun |= fetched.active;
    }

    /// The open part of a day, if there is one.
    pub(super) fn open_part(&mut self, date: NaiveDate) -> Option<&mut PartBuffer> {
        self.open.iter_mut().find(|(day, _)| *day == date).map(|(_, buffer)| buffer)
    }

    /// When the oldest open part was begun.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.open.iter().map(|(_, buffer)| buffer.opened_at).min()
    }

    /// Where reading must go on after `offset` came although later ones were read: from the first
    /// record that is not durable, for what is open and in flight is dropped, or from even earlier.
    pub(super) fn restart_at(&self, offset: i64) -> i64 {
        self.frontier.durable().map_or(offset, |durable| durable.min(offset))
    }

    /// The offset that may be committed and is not yet.
    pub(super) fn to_commit(&self) -> Option<i64> {
        let durable = self.frontier.durable()?;
        (self.committed.is_none_or(|committed| committed < durable)).then_some(durable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_from_what_is_not_durable() {
        let mut state = Partition::new(1);
        assert_eq!(state.restart_at(600), 600);
        // A part of 0 to 999 is open: all of it is dropped, not only what comes again.
        for offset in 0..1_000 {
            state.frontier.take(offset, offset == 0);
        }
        assert_eq!(state.restart_at(600), 0);
        state.frontier.finish(0);
        assert_eq!(state.restart_at(600), 600);
        state.frontier.take(1_000, true);
        assert_eq!((state.restart_at(1_000), state.restart_at(5)), (1_000, 5));
    }
}
