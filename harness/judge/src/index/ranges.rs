//! Sets and maps of offsets as ranges with inclusive ends: their size is that of what happened, not
//! that of the offsets, so a hole of a billion offsets costs as much as one of two.

use std::collections::BTreeMap;

/// Inclusive range of offsets.
pub type Range = (u64, u64);

/// A set of offsets: sorted, disjoint, not adjacent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet(Vec<Range>);

impl RangeSet {
    /// The union of ranges in any order; those whose end lies before their begin hold nothing.
    #[must_use]
    pub fn of(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut all: Vec<Range> = ranges.into_iter().filter(|(a, b)| a <= b).collect();
        all.sort_unstable();
        Self::of_rising(all)
    }

    /// The union of ranges that rise already.
    #[must_use]
    pub fn of_rising(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut merged: Vec<Range> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// The ranges, rising.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// Holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of offsets, saturating.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, r| sum.saturating_add((r.1 - r.0).saturating_add(1)))
    }

    /// Highest offset.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|r| r.1)
    }

    /// Whether it holds an offset.
    #[must_use]
    pub fn contains(&self, offset: u64) -> bool {
        let after = self.0.partition_point(|r| r.0 <= offset);
        after > 0 && self.0[after - 1].1 >= offset
    }

    /// Whether it holds an offset of a range.
    #[must_use]
    pub fn touches(&self, (first, last): Range) -> bool {
        let after = self.0.partition_point(|r| r.0 <= last);
        after > 0 && self.0[after - 1].1 >= first
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut out, mut i, mut j) = (Vec::new(), 0, 0);
        while let (Some(a), Some(b)) = (self.0.get(i), other.0.get(j)) {
            let both = (a.0.max(b.0), a.1.min(b.1));
            if both.0 <= both.1 {
                out.push(both);
            }
            if a.1 <= b.1 { i += 1 } else { j += 1 }
        }
        Self(out)
    }

    /// What is in the first and not in the second.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let (mut out, mut j) = (Vec::new(), 0);
        for &(first, last) in &self.0 {
            let mut from = Some(first);
            while other.0.get(j).is_some_and(|b| b.1 < first) {
                j += 1;
            }
            let mut k = j;
            while let (Some(start), Some(b)) = (from, other.0.get(k)) {
                if b.0 > last {
                    break;
                }
                if b.0 > start {
                    out.push((start, b.0 - 1));
                }
                from = (b.1 < last).then(|| start.max(b.1 + 1));
                k += 1;
            }
            if let Some(start) = from {
                out.push((start, last));
            }
        }
        Self(out)
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0).copied())
    }

    /// What lies below an offset.
    #[must_use]
    pub fn below(&self, end: u64) -> Self {
        match end.checked_sub(1) {
            Some(last) => self.intersect(&Self(vec![(0, last)])),
            None => Self::default(),
        }
    }

    /// What lies at or above an offset.
    #[must_use]
    pub fn from(&self, start: u64) -> Self {
        self.intersect(&Self(vec![(start, u64::MAX)]))
    }
}

/// A map from offsets to an instant, in pieces. Filled in the order of the instants, so that the
/// first to cover an offset is the earliest.
#[derive(Debug, Clone, Default)]
pub struct Cover(BTreeMap<u64, (u64, u64)>);

impl Cover {
    /// Covers what of a range is free, and tells what was covered before: range and instant.
    pub fn add(&mut self, range: Range, at_us: u64) -> Vec<(Range, u64)> {
        let (first, last) = range;
        let begin = match self.0.range(..=first).next_back() {
            Some((&start, &(end, _))) if end >= first => start,
            _ => first,
        };
        let before: Vec<(Range, u64)> = self
            .0
            .range(begin..=last)
            .map(|(&start, &(end, at))| ((start.max(first), end.min(last)), at))
            .collect();
        let mut next = Some(first);
        for &((start, end), _) in &before {
            if let Some(from) = next
                && from < start
            {
                self.0.insert(from, (start - 1, at_us));
            }
            next = end.checked_add(1).filter(|&n| n <= last);
        }
        if let Some(from) = next {
            self.0.insert(from, (last, at_us));
        }
        before
    }

    /// The pieces that touch a range, cut to it, rising.
    pub fn within(&self, range: Range) -> impl Iterator<Item = (Range, u64)> + '_ {
        let (first, last) = range;
        let begin = match self.0.range(..=first).next_back() {
            Some((&start, &(end, _))) if end >= first => start,
            _ => first,
        };
        self.0
            .range(begin..)
            .take_while(move |(start, _)| **start <= last)
            .map(move |(&start, &(end, at))| ((start.max(first), end.min(last)), at))
    }

    /// All that is covered.
    #[must_use]
    pub fn set(&self) -> RangeSet {
        RangeSet::of(self.0.iter().map(|(&first, &(last, _))| (first, last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn small() -> impl Strategy<Value = Vec<Range>> {
        proptest::collection::vec((0u64..60, 0u64..8).prop_map(|(a, n)| (a, a + n)), 0..8)
    }

    fn flat(set: &RangeSet) -> BTreeSet<u64> {
        set.ranges().iter().flat_map(|r| r.0..=r.1).collect()
    }

    proptest! {
        #[test]
        fn sets_agree_with_sets_of_numbers(a in small(), b in small(), cut in 0u64..70) {
            let (x, y) = (RangeSet::of(a.clone()), RangeSet::of(b.clone()));
            let p: BTreeSet<u64> = a.iter().flat_map(|r| r.0..=r.1).collect();
            let q: BTreeSet<u64> = b.iter().flat_map(|r| r.0..=r.1).collect();
            prop_assert_eq!(flat(&x.intersect(&y)), &p & &q);
            prop_assert_eq!(flat(&x.minus(&y)), &p - &q);
            prop_assert_eq!(flat(&x.union(&y)), &p | &q);
            prop_assert_eq!(flat(&x.below(cut)), p.iter().copied().filter(|&n| n < cut).collect());
            prop_assert_eq!(flat(&x.from(cut)), p.iter().copied().filter(|&n| n >= cut).collect());
            prop_assert_eq!(x.contains(cut), p.contains(&cut));
            prop_assert_eq!(x.len(), p.len() as u64);
        }

        #[test]
        fn the_first_to_cover_an_offset_keeps_it(runs in small()) {
            let mut cover = Cover::default();
            let mut plain = BTreeMap::new();
            for (at, run) in (0u64..).zip(&runs) {
                let before: u64 = cover.add(*run, at).iter().map(|((a, b), _)| b - a + 1).sum();
                let known = (run.0..=run.1).filter(|o| plain.contains_key(o)).count();
                prop_assert_eq!(before, known as u64);
                for offset in run.0..=run.1 {
                    plain.entry(offset).or_insert(at);
                }
            }
            let pieces: BTreeMap<u64, u64> = cover
                .within((0, 100))
                .flat_map(|((a, b), at)| (a..=b).map(move |o| (o, at)))
                .collect();
            prop_assert_eq!(pieces, plain);
        }
    }

    #[test]
    fn the_ends_of_the_number_line_do_no_harm() {
        let all = RangeSet::of([(0, u64::MAX)]);
        let top = RangeSet::of([(u64::MAX, u64::MAX)]);
        assert_eq!(all.len(), u64::MAX);
        assert_eq!(all.minus(&top).ranges(), [(0, u64::MAX - 1)]);
        assert_eq!(all.minus(&all).ranges(), []);
        let mut cover = Cover::default();
        cover.add((u64::MAX, u64::MAX), 1);
        assert_eq!(cover.add((0, u64::MAX), 2).len(), 1);
        assert_eq!(cover.set(), all);
    }
}
