//! Committing: one request at a time, so that an older one that is retried inside the client can
//! never land after a newer one and take the group back.

use std::time::{Duration, Instant};

/// How long an answer may take before the request counts as lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Offsets that were sent: partition, epoch, offset.
pub(in crate::consumer) type Sent = Vec<(i32, u64, i64)>;

/// The state of committing.
#[derive(Debug, Default)]
pub(super) struct Committer {
    in_flight: Option<(Instant, Sent)>,
    not_before: Option<Instant>,
    /// Failures since the last success.
    pub(super) failures: u32,
}

impl Committer {
    /// Whether a request may be sent now.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        if let Some((since, _)) = &self.in_flight {
            if now.duration_since(*since) < ANSWER_WITHIN {
                return false;
            }
            self.failed(now);
        }
        self.not_before.is_none_or(|time| now >= time)
    }

    /// A request was sent.
    pub(super) fn sent(&mut self, now: Instant, offsets: Sent) {
        self.in_flight = Some((now, offsets));
    }

    /// The answer came: returns what was sent, and arms the back-off after a failure.
    pub(super) fn answered(&mut self, now: Instant, taken: bool) -> Sent {
        let sent = self.in_flight.take().map(|(_, sent)| sent).unwrap_or_default();
        if taken {
            self.failures = 0;
            self.not_before = None;
        } else {
            self.failed(now);
        }
        sent
    }

    /// A request failed.
    fn failed(&mut self, now: Instant) {
        self.in_flight = None;
        let delay = BACKOFF_MIN.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.failures += 1;
        self.not_before = Some(now + delay);
    }

    /// When the next attempt may be made, while one is held back.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_back_off_after_failure() {
        let now = Instant::now();
        let mut committer = Committer::default();
        assert!(committer.may_send(now));
        committer.sent(now, vec![(0, 1, 5)]);
        assert!(!committer.may_send(now));
        let sent = committer.answered(now, false);
        assert_eq!(sent, vec![(0, 1, 5)]);
        assert!(!committer.may_send(now));
        assert!(committer.may_send(now + Duration::from_secs(1)));
        committer.sent(now, vec![]);
        committer.answered(now, true);
        assert!(committer.may_send(now));
    }

    #[test]
    fn an_answer_that_never_comes_is_not_waited_for_for_ever() {
        let now = Instant::now();
        let mut committer = Committer::default();
        committer.sent(now, vec![]);
        assert!(!committer.may_send(now + Duration::from_secs(59)));
        assert!(!committer.may_send(now + Duration::from_secs(61)));
        assert!(committer.may_send(now + Duration::from_secs(62)));
    }
}
