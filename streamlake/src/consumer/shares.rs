//! What the members of one process share: the uploads and the memory that the process was given. Each has as
//! much as it has partitions, so that a member without any takes nothing away from one that has them all.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a member may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Parts that are uploaded at a time.
    pub(super) uploads: usize,
    /// Bytes open, closed and in flight.
    pub(super) memory: usize,
}

/// The whole, and how many partitions each member holds.
#[derive(Debug)]
pub(super) struct Shares {
    whole: Share,
    /// What a member cannot do with less of: one upload, and two batches.
    least: Share,
    partitions: Vec<AtomicUsize>,
}

impl Shares {
    pub(super) fn new(whole: Share, batch_bytes: usize, members: usize) -> Self {
        Shares {
            whole,
            least: Share { uploads: 1, memory: 2 * batch_bytes },
            partitions: (0..members).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// The share of a member that holds so many partitions now. While partitions go from one to another the
    /// shares may be more than the whole together: for a moment, and by what is already held.
    pub(super) fn of(&self, member: usize, partitions: usize) -> Share {
        self.partitions[member].store(partitions, Ordering::Relaxed);
        // Each turn of a polling thread comes by here.
        let (mut all, mut holders) = (0, 0);
        for held in &self.partitions {
            let held = held.load(Ordering::Relaxed);
            all += held;
            holders += usize::from(held > 0);
        }
        let share = |whole: usize, least: usize| match partitions {
            0 => least,
            own => least + whole.saturating_sub(holders * least) * own / all,
        };
        Share {
            uploads: share(self.whole.uploads, self.least.uploads),
            memory: share(self.whole.memory, self.least.memory),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_as_much_as_it_has_partitions() {
        let shares = Shares::new(Share { uploads: 13, memory: 1_300 }, 50, 4);
        let whole = Share { uploads: 13, memory: 1_300 };
        assert_eq!(shares.of(0, 12), whole, "it is alone");
        assert_eq!(shares.of(1, 0), Share { uploads: 1, memory: 100 }, "it has nothing to do");
        assert_eq!(shares.of(0, 12), whole, "and takes nothing away");
        shares.of(1, 4);
        let (first, second) = (shares.of(0, 8), shares.of(1, 4));
        assert!(first.uploads + second.uploads <= 13 && first.memory + second.memory <= 1_300);
        assert!(first.memory > second.memory && second.memory > 100, "{first:?} {second:?}");
    }

    #[test]
    fn nobody_has_less_than_it_needs() {
        let shares = Shares::new(Share { uploads: 4, memory: 400 }, 50, 4);
        for member in 0..4 {
            shares.of(member, if member == 0 { 9 } else { 1 });
        }
        for member in 1..4 {
            assert_eq!(shares.of(member, 1), Share { uploads: 1, memory: 100 });
        }
    }
}
