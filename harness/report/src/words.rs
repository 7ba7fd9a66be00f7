//! Numbers for people: thousands separated, times in the unit that suits them, ranges.
//!
//! Units are always stated. Rounding happens here only; the JSON report keeps whole microseconds.

/// What stands where there is no figure.
pub(super) const NONE: &str = "–";

/// What stands for a recovery that took no time: by the time the target was seen to be back, it was
/// over, or nothing had stopped.
pub(super) const AT_ONCE: &str = "at once";

/// `1234567` → `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2 records`: the count with its noun.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A length of time in microseconds: `850 µs`, `12 ms`, `4.3 s`, `2 min 05 s`, `1 h 02 min`.
pub(super) fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..10_000_000 => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
        10_000_000..60_000_000 => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
        60_000_000..3_600_000_000 => {
            let seconds = us / 1_000_000;
            format!("{} min {:02} s", seconds / 60, seconds % 60)
        }
        _ => {
            let minutes = us / 60_000_000;
            format!("{} h {:02} min", count(minutes / 60), minutes % 60)
        }
    }
}

/// As [`duration`], or [`NONE`].
pub(super) fn maybe_duration(us: Option<u64>) -> String {
    us.map_or_else(|| NONE.to_owned(), duration)
}

/// As [`maybe_duration`]; `open` where nobody knows how much longer it would have lasted.
pub(super) fn unavailability(us: Option<u64>, open: bool) -> String {
    match us {
        Some(us) if open => format!("at least {}", duration(us)),
        us => maybe_duration(us),
    }
}

/// What is said of an unavailability that is open.
pub(super) const UNTIL_THE_END: &str = "until the end of the load, which ended without one";

/// A time of recovery. Zero is no measurement.
pub(super) fn recovery(us: Option<u64>) -> String {
    match us {
        Some(0) => AT_ONCE.to_owned(),
        us => maybe_duration(us),
    }
}

/// An instant of the run, to the millisecond: `3.214 s`.
pub(super) fn instant(us: u64) -> String {
    format!("{}.{:03} s", count(us / 1_000_000), us % 1_000_000 / 1_000)
}

/// An RFC 3339 instant as people write it, in UTC; as it is where it is none.
pub(super) fn wall_clock(rfc_3339: &str) -> String {
    match chrono::DateTime::parse_from_rfc3339(rfc_3339) {
        Ok(instant) => instant.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => rfc_3339.to_owned(),
    }
}

/// An instant of a run that began at an RFC 3339 instant, by the clock on the wall, in UTC, to the
/// millisecond as logs have it; nothing where nobody knows when it began.
pub(super) fn clock_at(began: &str, us: u64) -> Option<String> {
    let began = chrono::DateTime::parse_from_rfc3339(began).ok()?.to_utc();
    let at = began.checked_add_signed(chrono::TimeDelta::microseconds(i64::try_from(us).ok()?))?;
    Some(at.format("%H:%M:%S%.3f UTC").to_string())
}

/// The middle of some measurements with their ends: `4.30 s (4.01 s to 6.60 s, n = 20)`.
pub(super) fn spread(mut values: Vec<u64>) -> String {
    values.sort_unstable();
    match values.as_slice() {
        [] => NONE.to_owned(),
        [only] => duration(*only),
        [first, .., last] => format!(
            "{} ({} to {}, n = {})",
            duration(values[values.len() / 2]),
            duration(*first),
            duration(*last),
            values.len()
        ),
    }
}

/// A share between 0 and 1 as a percentage, rounded up so that a bound stays a bound.
pub(super) fn percent_up(share: f64) -> String {
    format!("{:.1} %", (share * 1_000.0).ceil() / 10.0)
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(12_345_678), "12,345,678");
        assert_eq!(counted(1, "record", "records"), "1 record");
    }

    #[test]
    fn durations_take_the_unit_that_suits_them() {
        for (us, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_250, "1.2 ms"),
            (12_345, "12 ms"),
            (4_321_000, "4.32 s"),
            (43_210_000, "43.2 s"),
            (125_000_000, "2 min 05 s"),
            (3_720_000_000, "1 h 02 min"),
        ] {
            assert_eq!(duration(us), text);
        }
        assert!(duration(u64::MAX).ends_with("min"));
    }

    #[test]
    fn instants_are_in_utc() {
        assert_eq!(wall_clock("2026-11-21T03:14:05.5+01:00"), "2026-11-21 02:14:05 UTC");
        assert_eq!(wall_clock("yesterday"), "yesterday");
    }

    #[test]
    fn an_instant_of_a_run_can_be_laid_beside_a_log() {
        let at = clock_at("2026-11-21T03:14:05.5+01:00", 61_250_999);
        assert_eq!(at.as_deref(), Some("02:15:06.750 UTC"));
        assert_eq!(clock_at("", 1), None);
    }

    #[test]
    fn a_spread_names_its_ends() {
        assert_eq!(spread(vec![]), NONE);
        assert_eq!(spread(vec![2_000_000]), "2.00 s");
        assert_eq!(
            spread(vec![3_000_000, 1_000_000, 2_000_000]),
            "2.00 s (1.00 s to 3.00 s, n = 3)"
        );
    }

    #[test]
    fn a_bound_is_rounded_up() {
        assert_eq!(percent_up(0.259_1), "26.0 %");
    }
}
