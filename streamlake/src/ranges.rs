//! Sets of offsets kept as ranges: their size is the number of holes, not of records.

use std::collections::BTreeMap;

/// A set of offsets.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// First offset to the offset after the last; disjoint and never adjacent.
    by_start: BTreeMap<i64, i64>,
}

impl Ranges {
    /// Adds `[start, end)`; returns how many of these offsets were there before.
    pub fn insert(&mut self, start: i64, end: i64) -> u64 {
        if start >= end {
            return 0;
        }
        let (mut from, mut to, mut known) = (start, end, 0u64);
        let touching: Vec<(i64, i64)> = self
            .by_start
            .range(..=end)
            .rev()
            .take_while(|(_, old_end)| **old_end >= start)
            .map(|(old_start, old_end)| (*old_start, *old_end))
            .collect();
        for (old_start, old_end) in touching {
            known += (old_end.min(end) - old_start.max(start)).max(0) as u64;
            from = from.min(old_start);
            to = to.max(old_end);
            self.by_start.remove(&old_start);
        }
        self.by_start.insert(from, to);
        known
    }

    /// Whether the offset is in the set.
    pub fn contains(&self, offset: i64) -> bool {
        self.by_start.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    /// The ranges in order, `[start, end)`.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> {
        self.by_start.iter().map(|(start, end)| (*start, *end))
    }

    /// What of `[start, end)` is in the set.
    pub fn within(&self, start: i64, end: i64) -> Vec<(i64, i64)> {
        let before = self.by_start.range(..start).next_back();
        let touching = before.into_iter().chain(self.by_start.range(start..end.max(start)));
        let cut = touching.map(|(from, to)| ((*from).max(start), (*to).min(end)));
        cut.filter(|(from, to)| from < to).collect()
    }

    /// How many offsets.
    pub fn count(&self) -> u64 {
        self.iter().map(|(start, end)| (end - start) as u64).sum()
    }

    /// What of `[start, end)` is not in the set.
    pub fn gaps(&self, start: i64, end: i64) -> Vec<(i64, i64)> {
        let mut gaps = Vec::new();
        let mut at = start;
        for (from, to) in self.iter() {
            if from >= end {
                break;
            }
            if from > at {
                gaps.push((at, from));
            }
            at = at.max(to);
        }
        if at < end {
            gaps.push((at, end));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(steps in proptest::collection::vec((0i64..60, 0i64..12), 0..40)) {
            let (mut ranges, mut plain) = (Ranges::default(), BTreeSet::new());
            for (start, length) in steps {
                let known = ranges.insert(start, start + length);
                let before = (start..start + length).filter(|offset| plain.contains(offset)).count();
                prop_assert_eq!(known, before as u64);
                plain.extend(start..start + length);
            }
            prop_assert_eq!(ranges.count(), plain.len() as u64);
            let missing: Vec<i64> = (0..80).filter(|offset| !plain.contains(offset)).collect();
            let gaps: Vec<i64> = ranges.gaps(0, 80).into_iter().flat_map(|(a, b)| a..b).collect();
            prop_assert_eq!(gaps, missing);
            prop_assert!((0..80).all(|offset| ranges.contains(offset) == plain.contains(&offset)));
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
