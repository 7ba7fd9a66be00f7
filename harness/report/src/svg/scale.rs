//! From values to places in a picture, and where the lines of a grid go.

/// A stretch of values laid over a stretch of the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Values `from` to `to` are drawn from `start` to `end`; an empty stretch of values is widened.
    pub(super) fn new(from: f64, to: f64, start: f64, end: f64) -> Self {
        Self { from, to: if to > from { to } else { from + 1.0 }, start, end }
    }

    /// Where a value is drawn; what lies outside is drawn at the end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        self.start + share * (self.end - self.start)
    }
}

/// Grid lines of a count from 0: `1`, `2` or `5` times a power of ten apart, six at most.
pub(super) fn count_ticks(max: u64) -> Vec<u64> {
    let mut step: u64 = 1;
    for factor in [2_u64, 5, 10].iter().cycle() {
        if max / step <= 5 {
            break;
        }
        step = match factor {
            2 => step * 2,
            5 => step / 2 * 5,
            _ => step * 2,
        };
    }
    (0..=max / step).map(|tick| tick * step).collect()
}

/// Steps between grid lines of a time axis, microseconds.
const TIME_STEPS: &[u64] = &[
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
    1_200_000_000,
    1_800_000_000,
    3_600_000_000,
    7_200_000_000,
    14_400_000_000,
    43_200_000_000,
    86_400_000_000,
];

/// Grid lines of a time axis with their labels, and the unit of the labels.
pub(super) fn time_ticks(from_us: u64, to_us: u64) -> (Vec<(u64, String)>, &'static str) {
    const LINES_MAX: u64 = 10;
    let span = to_us.saturating_sub(from_us);
    let fits = |step: &&u64| span / **step <= LINES_MAX;
    let step = TIME_STEPS.iter().find(fits).copied().unwrap_or(span / LINES_MAX).max(1);
    let (unit_us, unit) = match step {
        0..1_000_000 => (1_000, "ms"),
        1_000_000..60_000_000 => (1_000_000, "s"),
        60_000_000..3_600_000_000 => (60_000_000, "min"),
        _ => (3_600_000_000, "h"),
    };
    let first = from_us.div_ceil(step);
    let ticks = (first..=to_us / step).map(|tick| {
        let at = tick * step;
        (at, super::super::words::count(at / unit_us))
    });
    (ticks.collect(), unit)
}

/// Powers of ten that enclose some latencies, microseconds.
pub(super) fn decades(min_us: u64, max_us: u64) -> (u32, u32) {
    let low = min_us.max(1).ilog10();
    let high = max_us.max(1).ilog10();
    let high = if max_us > 10_u64.pow(high) { high + 1 } else { high };
    (low, high.max(low + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_get_round_lines() {
        assert_eq!(count_ticks(0), [0]);
        assert_eq!(count_ticks(3), [0, 1, 2, 3]);
        assert_eq!(count_ticks(1_000), [0, 200, 400, 600, 800, 1_000]);
        assert_eq!(count_ticks(1_300), [0, 500, 1_000]);
    }

    #[test]
    fn times_get_a_unit() {
        let (ticks, unit) = time_ticks(500_000, 14_000_000);
        assert_eq!(unit, "s");
        assert_eq!(ticks[0], (2_000_000, "2".to_owned()));
        assert_eq!(time_ticks(0, 900_000_000).1, "min");
        assert_eq!(decades(900, 4_000_000), (2, 7));
    }

    proptest! {
        #[test]
        fn there_are_few_lines(max in 0..u64::MAX / 4, from in any::<u32>()) {
            prop_assert!(count_ticks(max).len() <= 6);
            prop_assert!(time_ticks(u64::from(from), max).0.len() <= 12);
        }

        #[test]
        fn places_stay_in_the_picture(value in any::<u64>(), from in any::<u32>(), to in any::<u32>()) {
            let scale = Scale::new(f64::from(from), f64::from(to), 64.0, 936.0);
            prop_assert!((64.0..=936.0).contains(&scale.at(value as f64)));
        }
    }
}
