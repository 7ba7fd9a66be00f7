//! Instants in bulk: when operations began, ended and were acknowledged, and how long they took.
//!
//! Instants are kept by intervals of a millisecond, in runs of more than a minute of wider ones, so
//! that the state follows neither the operations nor the run's length; latencies in buckets that are
//! never wider than 1/128 of their value.

use super::coarse::{Coarse, Merge};

/// Intervals that are kept of one kind of instant.
const INTERVALS_MAX: usize = 1 << 16;

/// Number, first and last of the instants in an interval.
#[derive(Debug, Clone, Copy)]
struct Span {
    count: u64,
    first: u64,
    last: u64,
}

impl Merge for Span {
    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// How many instants fell into each interval, with the first and the last of each.
#[derive(Debug, Clone)]
pub struct Instants(Coarse<Span>);

impl Default for Instants {
    fn default() -> Self {
        Self(Coarse::new(10, INTERVALS_MAX))
    }
}

impl Instants {
    /// Adds an instant.
    pub fn add(&mut self, at_us: u64) {
        self.0.add(at_us, Span { count: 1, first: at_us, last: at_us });
    }

    /// To be called before anything is asked.
    pub fn close(&mut self) {
        self.0.close();
    }

    /// Number of instants up to and including the interval of this one.
    #[must_use]
    pub fn up_to(&self, at_us: u64) -> u64 {
        self.0.entries().range(..=self.0.interval(at_us)).map(|(_, span)| span.count).sum()
    }

    /// Number of instants in the intervals before that of this one.
    #[must_use]
    pub fn before(&self, at_us: u64) -> u64 {
        self.0.entries().range(..self.0.interval(at_us)).map(|(_, span)| span.count).sum()
    }

    /// First instant at or after this one; exact to an interval, never too early.
    #[must_use]
    pub fn first_from(&self, at_us: u64) -> Option<u64> {
        let mut later = self.0.entries().range(self.0.interval(at_us)..).map(|(_, span)| span);
        let span = later.find(|span| span.last >= at_us)?;
        Some(if span.first >= at_us { span.first } else { span.last })
    }

    /// The last instant.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.0.entries().last_key_value().map(|(_, span)| span.last)
    }

    /// The times without an instant between two that follow each other: begin and end, in the order
    /// of the run. Those within an interval are not told.
    pub fn gaps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let spans = || self.0.entries().values();
        spans().zip(spans().skip(1)).map(|(a, b)| (a.last, b.first))
    }
}

const SUB: u32 = 7;

/// Latencies, log-linear.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max: Option<u64>,
}

impl Latencies {
    /// Adds a latency.
    pub fn add(&mut self, us: u64) {
        let bucket = bucket(us) as usize;
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max = self.max.max(Some(us));
    }

    /// The latency that this share of all (in 1/1000) does not exceed, less than 1 % too low.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> Option<u64> {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, &count) in (0..).zip(&self.buckets) {
            seen += count;
            if seen >= rank && count > 0 {
                return Some(floor(bucket));
            }
        }
        None
    }

    /// The largest latency, exact.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.max
    }
}

fn bucket(us: u64) -> u32 {
    let bits = u64::BITS - us.leading_zeros();
    let shift = bits.saturating_sub(SUB + 1);
    (shift << (SUB + 1)) + (us >> shift) as u32
}

fn floor(bucket: u32) -> u64 {
    let shift = bucket >> (SUB + 1);
    u64::from(bucket & ((1 << (SUB + 1)) - 1)) << shift
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn buckets_are_narrow_and_rise(us in any::<u64>(), more in 0u64..1 << 40) {
            let low = floor(bucket(us));
            prop_assert!(low <= us && us - low <= us / 128);
            prop_assert!(bucket(us) <= bucket(us.saturating_add(more)));
        }
    }

    #[test]
    fn long_runs_cost_no_more_whatever_their_order() {
        let times = || (0..300_000u64).map(|n| n * 7_919 % 300_007 * 1_500);
        let mut there = Instants::default();
        let mut back = Instants::default();
        times().for_each(|t| there.add(t));
        times().collect::<Vec<_>>().into_iter().rev().for_each(|t| back.add(t));
        there.close();
        back.close();
        assert!(there.0.entries().len() <= INTERVALS_MAX);
        assert_eq!(there.gaps().collect::<Vec<_>>(), back.gaps().collect::<Vec<_>>());
        assert_eq!(there.up_to(u64::MAX), 300_000);
    }

    #[test]
    fn gaps_and_counts() {
        let mut instants = Instants::default();
        for at in [1_100, 5_500, 1_200, 9_000] {
            instants.add(at);
        }
        instants.close();
        assert_eq!(instants.gaps().collect::<Vec<_>>(), [(1_200, 5_500), (5_500, 9_000)]);
        assert_eq!((instants.up_to(5_500), instants.before(5_500)), (3, 2));
        assert_eq!(instants.first_from(1_300), Some(5_500));
        assert_eq!(instants.first_from(9_001), None);
    }
}
