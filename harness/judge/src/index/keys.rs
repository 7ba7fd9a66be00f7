//! The order of keys while a log passes by, in bounded memory.
//!
//! Used where the records are too many to keep their keys. For each partition the latest operation of
//! the keys seen last is remembered, two generations of [`GENERATION`] keys. A record whose operation
//! is older than what was forgotten cannot be judged, and is counted. Operations that the log repeats
//! are sorted out at the end, when that is known.

use std::collections::HashMap;

use super::hash::Quick;

/// Keys in one generation.
const GENERATION: usize = 1 << 12;

/// A record behind a later operation of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LateKey {
    /// Lane.
    pub lane: usize,
    /// Offset.
    pub offset: u64,
    /// Its operation.
    pub op: u64,
    /// The later operation before it.
    pub later_op: u64,
    /// Where that stands.
    pub later_offset: u64,
}

/// What is remembered of one partition, as one reader tells it.
#[derive(Debug, Default)]
pub(super) struct KeyOrder {
    new: HashMap<u64, (u64, u64), Quick>,
    old: HashMap<u64, (u64, u64), Quick>,
    // Highest operation of each generation, and of all that is forgotten.
    high_new: Option<u64>,
    high_old: Option<u64>,
    forgotten: Option<u64>,
    next_offset: u64,
    pub(super) unjudged: u64,
}

impl KeyOrder {
    /// The next record; the later operation of its key that stands before it, if there is one.
    pub(super) fn next(&mut self, key: u64, op: u64, offset: u64) -> Option<(u64, u64)> {
        if offset < self.next_offset {
            // Not the order of the log: what stands behind it has gone by.
            self.unjudged += 1;
            return None;
        }
        self.next_offset = offset.saturating_add(1);
        let known = self.new.get(&key).or_else(|| self.old.get(&key)).copied();
        let late = known.filter(|(later, _)| *later > op);
        if late.is_none() {
            if known.is_none() && self.forgotten.is_some_and(|forgotten| forgotten > op) {
                self.unjudged += 1;
            }
            self.remember(key, op, offset);
        }
        late
    }

    fn remember(&mut self, key: u64, op: u64, offset: u64) {
        if self.new.len() >= GENERATION {
            std::mem::swap(&mut self.new, &mut self.old);
            self.new.clear();
            self.forgotten = self.forgotten.max(self.high_old);
            self.high_old = self.high_new.take();
        }
        self.high_new = self.high_new.max(Some(op));
        self.new.insert(key, (op, offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_keys_are_found_within_reach_and_counted_beyond_it() {
        let mut order = KeyOrder::default();
        let reach = GENERATION as u64;
        assert_eq!(order.next(7, 10, 0), None);
        assert_eq!(order.next(7, 5, 1), Some((10, 0)));
        for n in 0..reach {
            assert_eq!(order.next(1_000 + n, 100 + n, 2 + n), None);
        }
        assert_eq!(order.next(7, 6, 90_000), Some((10, 0)));
        for n in 0..2 * reach {
            order.next(1_000_000 + n, 1_000_000 + n, 100_000 + n);
        }
        assert_eq!((order.next(7, 8, 200_000), order.unjudged), (None, 1));
    }
}
