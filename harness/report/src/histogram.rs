//! Latencies of one stretch of time, in a few bytes: how many fell between two powers of two,
//! eight steps to the octave. A quantile read from it is at most 7 % too low, never too high.

use std::collections::BTreeMap;

/// Counts of latencies in steps of an eighth of an octave.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    steps: BTreeMap<u16, u64>,
    max: u64,
    total: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, us: u64) {
        *self.steps.entry(step_of(us)).or_default() += 1;
        self.max = self.max.max(us);
        self.total += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (step, count) in other.steps {
            *self.steps.entry(step).or_default() += count;
        }
        self.max = self.max.max(other.max);
        self.total += other.total;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// Lower end of the step that holds the middle latency; zero where there is none.
    pub(super) fn median(&self) -> u64 {
        let mut seen = 0;
        for (&step, &count) in &self.steps {
            seen += count;
            if seen * 2 >= self.total {
                return low_end(step);
            }
        }
        0
    }
}

/// Below 16 each value is a step of its own; above, the three bits after the highest one count.
fn step_of(us: u64) -> u16 {
    if us < 16 {
        return us as u16;
    }
    let octave = us.ilog2();
    let eighth = (us >> (octave - 3)) & 7;
    (octave * 8) as u16 + eighth as u16
}

fn low_end(step: u16) -> u64 {
    if step < 16 {
        return u64::from(step);
    }
    (8 + u64::from(step % 8)) << (step / 8 - 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_step_holds_its_values(us in any::<u64>()) {
            let low = low_end(step_of(us));
            prop_assert!(low <= us);
            prop_assert!(us - low <= us / 8);
        }

        #[test]
        fn steps_rise(a in any::<u64>(), b in any::<u64>()) {
            prop_assert!(a > b || step_of(a) <= step_of(b));
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let mut histogram = Histogram::default();
        for us in [1_000, 2_000, 1_000_000] {
            histogram.add(us);
        }
        assert!((1_750..=2_000).contains(&histogram.median()));
        assert_eq!(histogram.max(), 1_000_000);
    }
}
