//! Instants in bulk: when operations began, ended and were acknowledged, and how long they took.
//!
//! Instants are kept by the millisecond, so that the state follows the run's length, not its
//! operations; latencies in buckets that are never wider than 1/128 of their value.

use std::collections::BTreeMap;

/// How many instants fell into each millisecond, with the first and the last of each.
#[derive(Debug, Clone, Default)]
pub struct Instants {
    by_ms: BTreeMap<u64, (u64, u64, u64)>,
    // The millisecond in hand, to keep the map out of the way of instants that come in order.
    open: Option<(u64, (u64, u64, u64))>,
}

impl Instants {
    /// Adds an instant.
    pub fn add(&mut self, at_us: u64) {
        let ms = at_us / 1000;
        match &mut self.open {
            Some((open, slot)) if *open == ms => {
                *slot = (slot.0 + 1, slot.1.min(at_us), slot.2.max(at_us));
            }
            _ => {
                self.close();
                self.open = Some((ms, (1, at_us, at_us)));
            }
        }
    }

    /// Ends the millisecond in hand; to be called before anything is asked.
    pub fn close(&mut self) {
        if let Some((ms, new)) = self.open.take() {
            let slot = self.by_ms.entry(ms).or_insert((0, u64::MAX, 0));
            *slot = (slot.0 + new.0, slot.1.min(new.1), slot.2.max(new.2));
        }
    }

    /// Number of instants up to and including the millisecond of this one.
    #[must_use]
    pub fn up_to(&self, at_us: u64) -> u64 {
        self.by_ms.range(..=at_us / 1000).map(|(_, slot)| slot.0).sum()
    }

    /// Number of instants in the milliseconds before that of this one.
    #[must_use]
    pub fn before(&self, at_us: u64) -> u64 {
        self.by_ms.range(..at_us / 1000).map(|(_, slot)| slot.0).sum()
    }

    /// First instant at or after this one; exact to a millisecond, never too early.
    #[must_use]
    pub fn first_from(&self, at_us: u64) -> Option<u64> {
        self.by_ms
            .range(at_us / 1000..)
            .find(|(_, slot)| slot.2 >= at_us)
            .map(|(_, slot)| if slot.1 >= at_us { slot.1 } else { slot.2 })
    }

    /// The longest times without an instant between two that follow each other: begin and end, in
    /// the order of the run. Those under a millisecond are not told.
    pub fn gaps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.by_ms.values().zip(self.by_ms.values().skip(1)).map(|(a, b)| (a.2, b.1))
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
    fn gaps_and_counts() {
        let mut instants = Instants::default();
        for at in [1_000, 5_500, 1_200, 9_000] {
            instants.add(at);
        }
        instants.close();
        assert_eq!(instants.gaps().collect::<Vec<_>>(), [(1_200, 5_500), (5_500, 9_000)]);
        assert_eq!((instants.up_to(5_500), instants.before(5_500)), (3, 2));
        assert_eq!(instants.first_from(1_300), Some(5_500));
        assert_eq!(instants.first_from(9_001), None);
    }
}
