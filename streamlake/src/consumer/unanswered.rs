//! Partitions whose fetches are not answered: a right was withdrawn, the topic is gone, the leader is away.
//!
//! The client tells a refusal once and then never again, however long it lasts. Here it is remembered until
//! the partition is answered, so that health can name it, and it is told again each minute.

use super::poll_loop::PollLoop;
use crate::observe::health::Progress;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often it is told while it lasts.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// The client's statistics are a few seconds old: a refusal is forgotten only when a partition was answered
/// for longer than that.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15);

/// What is known of one partition.
#[derive(Debug, Default)]
struct Known {
    since: Option<Instant>,
    told: Option<Instant>,
    refusal: Option<(String, Instant)>,
}

/// What is known of all.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    known: BTreeMap<i32, Known>,
}

/// Something to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) partition: i32,
    pub(super) lasts: Duration,
    pub(super) refusal: Option<String>,
}

impl Unanswered {
    /// The client reports an error of a partition in place of its records.
    pub(super) fn refused(&mut self, partition: i32, error: String, now: Instant) {
        self.known.entry(partition).or_default().refusal = Some((error, now));
    }

    /// Which partitions there are, and whether they are answered. Returns what is to be told: first when it
    /// has lasted for `limit`, then each minute.
    pub(super) fn seen(
        &mut self,
        found: &[(i32, bool)],
        limit: Duration,
        now: Instant,
    ) -> Vec<Complaint> {
        self.known.retain(|partition, _| found.iter().any(|(number, _)| number == partition));
        let mut complaints = Vec::new();
        for &(partition, answered) in found {
            let known = self.known.entry(partition).or_default();
            if answered {
                (known.since, known.told) = (None, None);
                known.refusal.take_if(|(_, at)| now.duration_since(*at) >= FORGOTTEN_AFTER);
                continue;
            }
            let lasts = now.duration_since(*known.since.get_or_insert(now));
            let due = known.told.is_none_or(|at| now.duration_since(at) >= TELL_EVERY);
            if due && lasts > limit {
                known.told = Some(now);
                let refusal = known.refusal.as_ref().map(|(error, _)| error.clone());
                complaints.push(Complaint { partition, lasts, refusal });
            }
        }
        complaints
    }

    /// Why a partition that is not answered stands still, in a few words.
    pub(super) fn reason(&self, partition: i32) -> Option<String> {
        let known = self.known.get(&partition).filter(|known| known.since.is_some())?;
        Some(match &known.refusal {
            Some((error, _)) => format!("its fetches are refused ({error})"),
            None => "its fetches are not answered".to_owned(),
        })
    }
}

impl PollLoop {
    /// Tells of partitions that are not answered.
    pub(super) fn watch_answers(&mut self, found: &[(i32, Progress)], now: Instant) {
        let answered: Vec<_> =
            found.iter().map(|(number, progress)| (*number, progress.answered)).collect();
        for complaint in self.unanswered.seen(&answered, self.settings.stall_after, now) {
            let Complaint { partition, lasts, refusal } = complaint;
            let topic = &self.settings.topic;
            let (error, seconds) = (refusal.as_deref(), lasts.as_secs());
            tracing::warn!(
                topic,
                partition,
                error,
                seconds,
                "the fetches of this partition are refused or not answered: nothing of it can be read, and \
                 nobody knows how much waits there"
            );
            let fields = json!({"topic": topic, "partition": partition, "seconds": seconds,
                "error": error});
            self.events.emit("fetch_unanswered", fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_a_minute_until_the_partition_is_answered_again() {
        let begun = Instant::now();
        let at = |second: u64| begun + Duration::from_secs(second);
        let mut unanswered = Unanswered::default();
        // The refusal may come before the statistics show it.
        unanswered.refused(0, "no right".into(), at(0));
        let mut told = Vec::new();
        for second in 0..200 {
            let found = [(0, second < 4), (1, true)];
            let complaints = unanswered.seen(&found, Duration::from_secs(5), at(second));
            told.extend(complaints.into_iter().map(|complaint| (second, complaint)));
        }
        let seconds: Vec<_> = told.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [10, 70, 130, 190]);
        assert!(told.iter().all(|(_, told)| told.refusal.as_deref() == Some("no right")));
        assert_eq!(unanswered.reason(0).unwrap_or_default(), "its fetches are refused (no right)");
        assert_eq!(unanswered.reason(1), None);
        unanswered.seen(&[(0, true)], Duration::ZERO, at(200));
        assert_eq!(unanswered.reason(0), None);
        // A later silence of another cause.
        unanswered.seen(&[(0, false)], Duration::ZERO, at(201));
        assert_eq!(unanswered.reason(0).unwrap_or_default(), "its fetches are not answered");
    }
}
