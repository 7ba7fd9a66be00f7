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
        }
    }

    /// The note of a commit.
    pub(super) fn note(&self) -> Option<String> {
        self.id.map(|id| format!("{NOTE}{}", shown(id)))
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
        if due && !self.identity.asking_id && self.core.assigned_partitions().next().is_some() {
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
        if let Some(before) = self.identity.id.replace(id).filter(|before| *before != id) {
            let numbers: Vec<_> =
                self.core.assigned_partitions().map(|(number, _)| number).collect();
            self.replaced(&numbers, &shown(before), id, now);
        }
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
    fn ids_are_read_as_they_are_written() {
        let id = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210;
        let notes = vec![(3, format!("{NOTE}{}", shown(id))), (4, "somebody else's".to_owned())];
        assert_eq!(ids(notes).collect::<Vec<_>>(), [(3, shown(id))]);
        assert_eq!(shown(id), "ASNFZ4mrze_-3LqYdlQyEA");
    }
}
