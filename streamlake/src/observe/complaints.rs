//! Complaints of a Kafka client: a broker that is away gives rise to the same few many times a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A complaint that comes again is shown again after this time.
const EVERY: Duration = Duration::from_secs(5);

/// What a client complained of lately.
#[derive(Debug, Default)]
pub(crate) struct Complaints(BTreeMap<String, Instant>);

impl Complaints {
    /// Whether a complaint has not been shown for some time; then it is to be shown now.
    pub(crate) fn is_new(&mut self, text: &str, now: Instant) -> bool {
        self.0.retain(|_, at| now.duration_since(*at) < EVERY);
        let new = !self.0.contains_key(text);
        if new {
            self.0.insert(text.to_owned(), now);
        }
        new
    }
}
