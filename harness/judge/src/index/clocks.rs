//! How the clocks of parts stand to the recorder's.

use super::Index;

/// What an instant of a part means on the recorder's clock: one that the part stamped as `t` lies
/// between `t + low_us` and `t + high_us`. The resolution of the stamps is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockInterval {
    /// Lowest correction.
    pub low_us: i64,
    /// Highest correction.
    pub high_us: i64,
}

impl ClockInterval {
    /// A clock that is the recorder's own.
    pub const EXACT: Self = Self { low_us: 0, high_us: 0 };

    /// The earliest instant on the recorder's clock that a stamp can mean; before the run's start it
    /// is negative.
    #[must_use]
    pub fn earliest(self, stamp_us: u64) -> i64 {
        signed(stamp_us).saturating_add(self.low_us)
    }

    /// The latest instant on the recorder's clock that a stamp can mean.
    #[must_use]
    pub fn latest(self, stamp_us: u64) -> i64 {
        signed(stamp_us).saturating_add(self.high_us)
    }

    fn meets(self, other: Self) -> bool {
        self.low_us <= other.high_us && other.low_us <= self.high_us
    }

    fn union(self, other: Self) -> Self {
        let (low_us, high_us) = (self.low_us.min(other.low_us), self.high_us.max(other.high_us));
        Self { low_us, high_us }
    }
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

impl Index {
    /// Every measurement of a clock, by instant.
    pub fn measurements(&self, of: &str) -> impl Iterator<Item = ClockInterval> {
        let of = self.rare.clocks.iter().filter(move |clock| clock.fact.of == of);
        of.map(|clock| ClockInterval { low_us: clock.fact.low_us, high_us: clock.fact.high_us })
    }

    /// How the clock of `broker`, `store`, `database`, `processes` or a process of a foreign history
    /// stands: what holds by any of its measurements. None if it was never measured.
    #[must_use]
    pub fn clock_of(&self, of: &str) -> Option<ClockInterval> {
        self.measurements(of).reduce(ClockInterval::union)
    }

    /// Clocks of which two measurements exclude each other: they were set during the run, and their
    /// union holds for neither the time before nor after. In the order of their names.
    #[must_use]
    pub fn stepped_clocks(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.rare.clocks.iter().map(|clock| clock.fact.of.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| {
            let all: Vec<_> = self.measurements(name).collect();
            all.iter().any(|one| all.iter().any(|other| !one.meets(*other)))
        });
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamlake_history::event::{Clock, Fact};
    use streamlake_history::sample::Sample;

    fn index(measured: &[(&str, i64, i64)]) -> Index {
        let mut sample = Sample::empty(0, 1);
        for (of, low_us, high_us) in measured {
            let (of, how) = ((*of).to_owned(), "test".to_owned());
            let clock = Clock { of, low_us: *low_us, high_us: *high_us, how };
            sample.tell(1, "clock-watch", Fact::Clock(clock));
        }
        indexed(&sample)
    }

    #[test]
    fn measurements_of_a_clock_are_joined_and_those_of_others_left_alone() {
        let index = index(&[("store", -5, 20), ("store", 3, 40), ("broker", -900, -800)]);
        let store = index.clock_of("store");
        assert_eq!(store, Some(ClockInterval { low_us: -5, high_us: 40 }));
        assert_eq!(index.clock_of("database"), None);
        assert!(index.stepped_clocks().is_empty());
        let store = store.map(|clock| (clock.earliest(3), clock.latest(3)));
        assert_eq!(store, Some((-2, 43)));
    }

    #[test]
    fn measurements_that_exclude_each_other_are_a_clock_that_was_set() {
        let index = index(&[("store", 0, 20), ("broker", 0, 9), ("store", 21, 30)]);
        assert_eq!(index.stepped_clocks(), ["store"]);
        let joined = ClockInterval { low_us: 0, high_us: 30 };
        assert_eq!(index.clock_of("store"), Some(joined));
    }

    fn indexed(sample: &Sample) -> Index {
        let mut index = Index::new(&sample.header);
        sample.events().iter().for_each(|event| index.observe(event));
        index.settle()
    }
}
