//! One assigned partition: its frontier and the parts that are being filled for it.

use super::frontier::Frontier;
use crate::raw_zone::buffer::PartBuffer;
use chrono::NaiveDate;
use std::time::Instant;

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
    /// The high watermark, as the client last saw it.
    pub(super) high_watermark: Option<i64>,
}

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
            high_watermark: None,
        }
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
