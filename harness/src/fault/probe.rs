//! Waiting for a part to fall silent, or to answer again, in its own protocol.

use std::time::{Duration, Instant};

use crate::fault::{FaultError, Stage};
use crate::testbed::Part;

/// A probe that has no answer by then counts as unanswered.
const PROBE_WITHIN: Duration = Duration::from_millis(500);
/// Pause between two probes that come back at once.
pub(super) const PROBE_EVERY: Duration = Duration::from_millis(50);

/// Which answer to a probe is awaited.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Answer {
    Comes,
    StaysAway,
}

/// Probes a part until it answers, or does not any more; gives what the last probe said.
pub(super) async fn await_probe(
    stage: &Stage,
    part: &Part,
    awaited: Answer,
    within: Duration,
) -> Result<String, FaultError> {
    let deadline = Instant::now() + within;
    loop {
        let (answer, detail) = match stage.testbed.probe(part, PROBE_WITHIN).await {
            Ok(detail) => (Answer::Comes, detail),
            Err(detail) => (Answer::StaysAway, detail),
        };
        if answer == awaited {
            return Ok(detail);
        }
        if Instant::now() >= deadline {
            let what = match awaited {
                Answer::Comes => format!("an answer of {part}"),
                Answer::StaysAway => format!("{part} falling silent"),
            };
            return Err(FaultError::NotSeen { what, within, last: detail });
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
}
