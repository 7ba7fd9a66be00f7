//! How the clocks of the parts stand to the recorder's, measured at the start and at the end of a run,
//! and whenever this machine's wall clock was seen to be set.
//!
//! A reading makes the part stamp something: it was stamped after the request was sent and before the
//! answer was there, and both instants are known on the recorder's clock. Several readings hold at
//! once, so the interval is about as wide as the fastest of them, and a stamp's resolution wider.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::testbed::{ClockReading, Part, Testbed};
use streamlake_history::Recorder;
use streamlake_history::event::{Clock, Fact};

/// Process name of these facts in a history.
const PROCESS: &str = "clock-watch";
/// Readings of one measurement.
const ROUNDS: u32 = 8;
/// A reading that takes longer would say little.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// This machine's own two clocks are compared this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// They part by no more than this while nobody sets one.
const STEP_US: i64 = 2_000;

/// Measures now, after each step of the wall clock, and once more when `stop` is cancelled.
pub(crate) async fn watch(
    testbed: Arc<dyn Testbed>,
    parts: Vec<(Part, &'static str)>,
    recorder: Recorder,
    stop: CancellationToken,
) {
    let mut at = wall_ahead_us(&recorder);
    measure(testbed.as_ref(), &parts, &recorder).await;
    while !stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => break,
        }
        let now = wall_ahead_us(&recorder);
        if now.abs_diff(at) > STEP_US.unsigned_abs() {
            at = now;
            measure(testbed.as_ref(), &parts, &recorder).await;
        }
    }
    measure(testbed.as_ref(), &parts, &recorder).await;
}

/// How far the wall clock has run ahead of the recorder's since the run's start.
fn wall_ahead_us(recorder: &Recorder) -> i64 {
    let wall = chrono::Utc::now().timestamp_micros();
    recorder.run_us_of_wall_us_signed(wall).saturating_sub_unsigned(recorder.now_us())
}

async fn measure(testbed: &dyn Testbed, parts: &[(Part, &str)], recorder: &Recorder) {
    let mut own = Measurement::default();
    for _ in 0..ROUNDS {
        let sent_us = recorder.now_us();
        let stamp_us = chrono::Utc::now().timestamp_micros();
        // Whoever stamps in this machine's processes may cut off at the millisecond.
        let reading = ClockReading { stamp_us, resolution_us: 1000, how: String::new() };
        own.take(recorder, sent_us, &reading);
    }
    own.tell(recorder, "processes", "this machine's wall clock against the recorder's clock");
    for (part, name) in parts {
        let mut of_part = Measurement::default();
        let mut how = String::new();
        for _ in 0..ROUNDS {
            let sent_us = recorder.now_us();
            let reading = tokio::time::timeout(ANSWER_WITHIN, testbed.read_clock(part)).await;
            match reading.unwrap_or_else(|_| Err(format!("no answer within {ANSWER_WITHIN:?}"))) {
                Ok(reading) => {
                    of_part.take(recorder, sent_us, &reading);
                    how = reading.how;
                }
                Err(why) => {
                    let text = format!("the clock of {part} could not be read: {why}");
                    recorder.record(PROCESS, Fact::Note { level: "warning".to_owned(), text });
                    break;
                }
            }
        }
        of_part.tell(recorder, name, &how);
    }
}

/// Whose clock it is in a history: brokers are not told apart there.
pub(crate) fn name(part: &Part) -> &'static str {
    match part {
        Part::Broker(_) => "broker",
        Part::Store => "store",
        Part::Database => "database",
        Part::Connect => "worker",
    }
}

/// What several readings leave possible, as corrections of a stamp.
#[derive(Debug, Default)]
struct Measurement {
    /// Intervals that exclude each other: the clock was set in between.
    intervals: Vec<(i64, i64)>,
    readings: u32,
    resolution_us: i64,
}

impl Measurement {
    fn take(&mut self, recorder: &Recorder, sent_us: u64, reading: &ClockReading) {
        let stamp = recorder.run_us_of_wall_us_signed(reading.stamp_us);
        self.add((signed(sent_us), signed(recorder.now_us())), stamp, reading.resolution_us);
    }

    /// A stamp that was made between two instants of the recorder, cut off at its resolution.
    fn add(&mut self, (sent, answered): (i64, i64), stamp: i64, resolution_us: i64) {
        let (low, high) = (sent - stamp - resolution_us, answered - stamp);
        self.readings += 1;
        self.resolution_us = self.resolution_us.max(resolution_us);
        match self.intervals.last_mut() {
            Some((lowest, highest)) if low <= *highest && *lowest <= high => {
                (*lowest, *highest) = ((*lowest).max(low), (*highest).min(high));
            }
            _ => self.intervals.push((low, high)),
        }
    }

    fn tell(&self, recorder: &Recorder, of: &str, how: &str) {
        for (low_us, high_us) in &self.intervals {
            let (of, how) = (of.to_owned(), format!("{how}, {} readings", self.readings));
            // A stamp says that it was made at it or up to its resolution later.
            let high_us = high_us + self.resolution_us;
            recorder.record(PROCESS, Fact::Clock(Clock { of, low_us: *low_us, high_us, how }));
        }
    }
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the clock, its resolution and the delays: an instant that the part stamps lies in
        /// the interval that was measured.
        #[test]
        fn the_true_instant_lies_in_the_interval(
            ahead in -5_000_000i64..5_000_000,
            resolution in prop::sample::select(vec![1i64, 1000]),
            rounds in prop::collection::vec((0i64..10_000_000, 0i64..30_000, 0i64..30_000), 1..10),
            later in 0i64..100_000_000,
        ) {
            let stamp = |true_us: i64| (true_us + ahead).div_euclid(resolution) * resolution;
            let mut measured = Measurement::default();
            for (at, before, after) in rounds {
                measured.add((at - before, at + after), stamp(at), resolution);
            }
            prop_assert_eq!(measured.intervals.len(), 1);
            let (low, high) = measured.intervals[0];
            let stamped = stamp(later);
            prop_assert!(stamped + low <= later && later <= stamped + high + resolution);
        }
    }

    #[test]
    fn many_readings_are_as_good_as_the_best_of_them() {
        let mut measured = Measurement::default();
        for (sent, answered) in [(0, 9_000), (3_900, 4_100), (2_000, 4_500)] {
            measured.add((sent, answered), 4_000, 1);
        }
        assert_eq!(measured.intervals, [(-101, 100)]);
    }

    #[test]
    fn a_clock_that_is_set_between_two_readings_shows_as_two_intervals() {
        let mut measured = Measurement::default();
        measured.add((0, 100), 50, 1);
        measured.add((200, 300), 5_000_250, 1);
        assert_eq!(measured.intervals.len(), 2);
    }
}
