//! Which topic it is that is read: a name can be given to another topic, and the offsets of the old one then
//! stand for other records.
//!
//! librdkafka notices that a topic was deleted and made again, and goes on at its old position in the new one;
//! whatever lies below would never be read. So the topic's id is asked for again and again. Between the
//! moment in which the topic was replaced and the next answer records of the new one are read and perhaps
//! committed as if they were of the old one. Therefore a commit bears the id of the topic that it was meant
//! for, and a member that takes partitions on looks at that before it commits anything itself.

use super::context::Context;
use super::poll_loop::PollLoop;
use crate::native::{Answer, Inquiry};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How often the topic's id is asked for.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long brokers may take to tell the id.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long the coordinator may take to tell what the group has committed. Commits wait for that, and so does
/// the end of a member that has just begun.
const NOTES_WITHIN: Duration = Duration::from_secs(3);
/// What a commit's note begins with; the id follows, as Kafka's own tools print it.
const NOTE: &str = "topic-id ";

/// What is known of the topic's identity.
pub(super) struct Identity {
    inquiry: Inquiry<Context>,
    /// The id of the topic that is read; none before the first answer, or where brokers know no ids.
    id: Option<u128>,
    asking_id: bool,
    ask_at: Option<Instant>,
    /// Partitions whose commits are to be asked for.
    to_ask: BTreeSet<i32>,
    asking_notes: bool,
    /// The ids that the group's commits bear, by partition, until they were compared.
    noted: BTreeMap<i32, String>,
    missing: Missing,
}

/// A topic that brokers do not know any more.
#[derive(Debug, Default)]
struct Missing {
    since: Option<Instant>,
    told: Option<Instant>,
}

/// Brokers that have just started may not know a topic yet.
const MISSING_AFTER: Duration = Duration::from_secs(10);
/// How often it is told while it lasts.
const TELL_EVERY: Duration = Duration::from_secs(60);

impl Missing {
    /// Brokers do not know the topic. Whether that is to be told: when it has lasted, then each minute.
    fn noticed(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let lasts = now.duration_since(since) >= MISSING_AFTER;
        let due = self.told.is_none_or(|at| now.duration_since(at) >= TELL_EVERY);
        if lasts && due {
            self.told = Some(now);
        }
        lasts && due
    }

    fn lasts(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) >= MISSING_AFTER)
    }
}

impl Identity {
    pub(super) fn new(inquiry: Inquiry<Context>) -> Self {
        Identity {
            inquiry,
            id: None,
            asking_id: false,
            ask_at: None,
            to_ask: BTreeSet::new(),
            asking_notes: false,
            noted: BTreeMap::new(),
            missing: Missing::default(),
        }
    }

    /// The note of a commit.
    pub(super) fn note(&self) -> Option<String> {
        self.id.map(|id| format!("{NOTE}{}", shown(id)))
    }

    /// In words, that there is no such topic.
    pub(super) fn missing(&self, now: Instant) -> Option<String> {
        self.missing.lasts(now).then(|| "the topic is not there".to_owned())
    }

    /// The broker may no longer know the topic: the next answer is wanted at once.
    pub(super) fn doubted(&mut self) {
        self.ask_at = None;
    }
}

/// An id as Kafka's own tools print it.
fn shown(id: u128) -> String {
    URL_SAFE_NO_PAD.encode(id.to_be_bytes())
}

impl PollLoop {
    /// Partitions were taken on: what the group had committed to them is looked at before anything else is.
    pub(super) fn identify(&mut self, numbers: &[i32], now: Instant) {
        if numbers.is_empty() {
            return;
        }
        self.identity.to_ask.extend(numbers);
        self.identity.doubted();
        self.ask_notes(now);
    }

    /// Asks for the commits that nobody has looked at, unless an answer is still to come.
    fn ask_notes(&mut self, now: Instant) {
        if self.identity.to_ask.is_empty() {
            return;
        }
        self.core.hold_commits(Some(now + NOTES_WITHIN));
        if self.identity.asking_notes {
            return;
        }
        let numbers: Vec<_> = std::mem::take(&mut self.identity.to_ask).into_iter().collect();
        match self.identity.inquiry.notes(&self.settings.topic, &numbers, NOTES_WITHIN) {
            Ok(()) => self.identity.asking_notes = true,
            Err(err) => tracing::debug!(error = %err, "the group's commits cannot be asked for"),
        }
    }

    /// Asks when it is time, and acts on the answers that have come.
    pub(super) fn watch_identity(&mut self, now: Instant) {
        let due = self.identity.ask_at.is_none_or(|at| now >= at);
        // Also without partitions: a member that has none because there is no topic looks like a spare one.
        if due && !self.identity.asking_id {
            self.identity.ask_at = Some(now + ASK_EVERY);
            let asked = self.identity.inquiry.topic_id(&self.settings.topic, ANSWER_WITHIN);
            self.identity.asking_id = asked.is_ok();
        }
        if !self.identity.asking_id && !self.identity.asking_notes {
            return;
        }
        while let Some(answer) = self.identity.inquiry.answer() {
            match answer {
                Answer::TopicId(id) => {
                    self.identity.asking_id = false;
                    self.identified(id, now);
                }
                Answer::NoTopic => {
                    self.identity.asking_id = false;
                    self.topic_missing(now);
                }
                Answer::Notes(notes) => {
                    self.identity.asking_notes = false;
                    match notes {
                        Ok(notes) => self.identity.noted.extend(ids(notes)),
                        Err(err) => {
                            tracing::debug!(error = %err, "the group's commits were not told")
                        }
                    }
                    self.ask_notes(now);
                }
            }
            self.compare(now);
        }
    }

    /// The topic has this id now.
    fn identified(&mut self, id: Option<u128>, now: Instant) {
        let Some(id) = id else { return };
        self.identity.missing = Missing::default();
        if let Some(before) = self.identity.id.replace(id).filter(|before| *before != id) {
            let numbers: Vec<_> =
                self.core.assigned_partitions().map(|(number, _)| number).collect();
            self.replaced(&numbers, &shown(before), id, now);
        }
    }

    /// Brokers do not know the topic. The client goes on as if nothing were to be read.
    fn topic_missing(&mut self, now: Instant) {
        if !self.identity.missing.noticed(now) {
            return;
        }
        let topic = &self.settings.topic;
        tracing::warn!(
            topic,
            "the topic is not there: it was deleted or never made, its name is another one, or the brokers are \
             those of another cluster. Once it is there, it is read from its beginning"
        );
        self.events.emit("topic_missing", json!({"topic": topic}));
    }

    /// Compares what commits bear with what the topic is, once both are known.
    fn compare(&mut self, now: Instant) {
        if self.identity.asking_notes {
            return;
        }
        // Without ids in the commits there is nothing to wait for: brokers that have none may never answer.
        if !self.identity.noted.is_empty() && self.identity.asking_id {
            return;
        }
        self.core.hold_commits(None);
        let noted = std::mem::take(&mut self.identity.noted);
        let Some(id) = self.identity.id else { return };
        let mut others: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (number, noted) in noted.into_iter().filter(|(_, noted)| *noted != shown(id)) {
            others.entry(noted).or_default().push(number);
        }
        for (before, numbers) in others {
            self.replaced(&numbers, &before, id, now);
        }
    }

    fn replaced(&mut self, numbers: &[i32], before: &str, id: u128, now: Instant) {
        let topic = self.settings.topic.clone();
        let numbers = self.core.topic_replaced(numbers, now);
        if numbers.is_empty() {
            return;
        }
        let id = shown(id);
        tracing::warn!(
            topic,
            partitions = ?numbers,
            before,
            id,
            "the topic was deleted and made again; it is read from its beginning. Parts of both lie in the \
             same folders, and an audit cannot tell their offsets apart"
        );
        let fields = json!({"topic": topic, "partitions": numbers, "before": before, "id": id});
        self.events.emit("topic_replaced", fields);
    }
}

/// The ids in the notes of commits; notes of others are none of ours.
fn ids(notes: Vec<(i32, String)>) -> impl Iterator<Item = (i32, String)> {
    notes
        .into_iter()
        .filter_map(|(number, note)| Some((number, note.strip_prefix(NOTE)?.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_is_missing_is_told_when_it_lasts_and_then_each_minute() {
        let begun = Instant::now();
        let at = |second: u64| begun + Duration::from_secs(second);
        let mut missing = Missing::default();
        let told: Vec<u64> =
            (0..140).step_by(2).filter(|second| missing.noticed(at(*second))).collect();
        assert_eq!(told, [10, 70, 130]);
        assert!(missing.lasts(at(140)) && !Missing::default().lasts(at(140)));
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210;
        let notes = vec![(3, format!("{NOTE}{}", shown(id))), (4, "somebody else's".to_owned())];
        assert_eq!(ids(notes).collect::<Vec<_>>(), [(3, shown(id))]);
        assert_eq!(shown(id), "ASNFZ4mrze_-3LqYdlQyEA");
    }
}
