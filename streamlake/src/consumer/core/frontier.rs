//! The commit frontier of one partition.
//!
//! Records are handed out to *units* (a part being filled, a dead letter on its way) that finish in
//! any order. The frontier is the offset below which every record is durable; nothing else may ever
//! be committed. A unit is known by the first offset in it, which no other unit has.

use std::collections::BTreeSet;

/// Which records of a partition are not yet durable.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    /// The offset after the last record taken in.
    position: Option<i64>,
    /// The first offset of each unit that is not yet durable.
    open: BTreeSet<i64>,
}

impl Frontier {
    /// Takes in the record at `offset`, as the first of a new unit or as one more of an open one.
    pub(crate) fn take(&mut self, offset: i64, begins_unit: bool) {
        self.position = Some(offset + 1);
        if begins_unit {
            self.open.insert(offset);
        }
    }

    /// The unit that began at `first_offset` is durable.
    pub(crate) fn finish(&mut self, first_offset: i64) {
        self.open.remove(&first_offset);
    }

    /// The offset to commit: every record below it is durable. `None` before the first record.
    ///
    /// Everything in an open unit lies at or above the unit's first offset, so the lowest of these
    /// is a safe bound however units interleave; with no unit open it is the position.
    pub(crate) fn durable(&self) -> Option<i64> {
        self.open.first().copied().or(self.position)
    }

    /// The offset after the last record taken in; `None` before the first.
    pub(crate) fn position(&self) -> Option<i64> {
        self.position
    }

    /// The first offset of each open unit.
    #[cfg(test)]
    pub(crate) fn units(&self) -> impl Iterator<Item = i64> {
        self.open.iter().copied()
    }

    /// How many units are open.
    pub(crate) fn open_units(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn completions_out_of_order_wait_for_the_oldest() {
        let mut frontier = Frontier::default();
        assert_eq!(frontier.durable(), None);
        for offset in 10..16 {
            frontier.take(offset, offset % 2 == 0);
        }
        assert_eq!(frontier.durable(), Some(10));
        frontier.finish(12);
        frontier.finish(14);
        assert_eq!(frontier.durable(), Some(10));
        frontier.finish(10);
        assert_eq!((frontier.durable(), frontier.open_units()), (Some(16), 0));
    }

    proptest! {
        /// Against the definition: no offset below the frontier belongs to an open unit, it never
        /// goes back, and with all units finished it is the position. Offsets have holes.
        #[test]
        fn the_frontier_is_safe_and_monotonic(
            steps in proptest::collection::vec((0u8..4, 0usize..8, 1i64..4), 1..200)
        ) {
            let mut frontier = Frontier::default();
            let mut units: Vec<Vec<i64>> = Vec::new();
            let mut next = 100;
            let mut last = i64::MIN;
            for (kind, which, hole) in steps {
                match (kind, units.is_empty()) {
                    (0, _) | (_, true) => {
                        frontier.take(next, true);
                        units.push(vec![next]);
                        next += hole;
                    }
                    (1, _) => {
                        let unit = which % units.len();
                        frontier.take(next, false);
                        units[unit].push(next);
                        next += hole;
                    }
                    _ => {
                        let unit = units.swap_remove(which % units.len());
                        frontier.finish(unit[0]);
                    }
                }
                let durable = frontier.durable().unwrap_or(i64::MIN);
                prop_assert!(units.iter().flatten().all(|offset| *offset >= durable));
                prop_assert!(durable >= last);
                last = durable;
            }
            for unit in units.drain(..) {
                frontier.finish(unit[0]);
            }
            prop_assert_eq!(frontier.durable(), frontier.position());
        }
    }
}
