//! The groups' committed offsets over time, and their generations, from the broker's own record of
//! both (`__consumer_offsets`): every commit and every completed rebalance, with the broker's time.
//!
//! Where there is no such record, commits are seen as they pass, see [`super::coordination`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message as _, Timestamp};
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::observer::{Brokers, Topics, generations, reader};
use crate::progress::Progress;
use streamlake_history::Recorder;
use streamlake_history::event::{Committed, Fact, Generation};

/// Process name of these facts in a history.
pub(crate) const PROCESS: &str = "commit-watch";
/// The same where the record had to be read again: facts of its own, in an order of their own.
const PROCESS_AGAIN: &str = "commit-watch-2";
/// Where a broker keeps its own record of commits.
const COMMITS_TOPIC: &str = "__consumer_offsets";
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The broker's own record must show the last commits within this time, or it is read again from its
/// start by a new client: one that was assigned a partition at a moment without a leader may never
/// fetch from it (librdkafka issue 5430).
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);

/// What to watch, and where.
#[derive(Clone)]
pub(crate) struct Watch {
    /// Brokers, past the links that faults cut.
    pub brokers: Brokers,
    /// Groups under test.
    pub groups: Vec<String>,
    /// Groups that have one member and nobody else who asks in their name, with that member's name:
    /// whatever it calls itself to the brokers.
    pub alone: BTreeMap<String, String>,
    /// Topics under test.
    pub topics: Topics,
    /// Where facts go.
    pub recorder: Recorder,
    /// Where the groups stood when the watch began, if what they had committed before is of no interest.
    pub from: Option<Groups>,
    /// Where the nemesis looks.
    pub progress: Arc<Progress>,
}

/// Watches until `stop` is cancelled, in a thread of its own: the client blocks.
pub(crate) fn start(watch: Watch, stop: CancellationToken) -> JoinHandle<()> {
    std::thread::spawn(move || {
        if let Err(error) = watch.follow(&stop) {
            let text = format!("the commits could not be watched: {error}");
            watch.recorder.record(PROCESS, Fact::Note { level: "error".to_owned(), text });
        }
    })
}

/// Committed offset of each partition of each topic that has one.
pub(crate) type Offsets = BTreeMap<(String, u32), u64>;
/// The same by group.
pub(crate) type Groups = BTreeMap<String, Offsets>;

/// Whether the record shows what the coordinators say last.
enum Caught {
    Up,
    Behind { seen: Groups, last: Groups },
}

impl Watch {
    /// Reads the broker's own record of commits, until it shows what the coordinators say last.
    fn follow(&self, stop: &CancellationToken) -> KafkaResult<()> {
        if let Caught::Up = self.read_record(PROCESS, stop)? {
            return Ok(());
        }
        if let Caught::Behind { seen, last } = self.read_record(PROCESS_AGAIN, stop)? {
            let text = format!(
                "the broker's record of commits ends before the groups' last commits: {seen:?}, but {last:?}"
            );
            self.recorder.record(PROCESS, Fact::Note { level: "error".to_owned(), text });
        }
        Ok(())
    }

    /// Reads the record from its start, and after the stop until it is complete or the time is over.
    fn read_record(&self, process: &'static str, stop: &CancellationToken) -> KafkaResult<Caught> {
        let log = reader(&self.brokers, "streamlake-harness-commit-watch")?;
        // The broker makes the topic when the first group asks for its coordinator.
        let mut assigned = false;
        let mut seen = self.from.clone().unwrap_or_default();
        for (group, offsets) in &seen {
            for ((topic, partition), offset) in offsets {
                let (group, topic) = (group.clone(), topic.clone());
                let (partition, offset, at_us) = (*partition, *offset, 0);
                let stand = Committed { group, topic, partition, offset, at_us, exact: false };
                self.recorder.record(process, Fact::Committed(stand));
            }
        }
        let mut awaited: Option<(Groups, Instant)> = None;
        loop {
            assigned = assigned || assign_commits(&log, self.from.is_some())?;
            if let Some(Ok(message)) = log.poll(Duration::from_millis(50)) {
                self.take(process, &message, &mut seen);
            }
            if awaited.is_none() && stop.is_cancelled() {
                awaited = Some((self.last_words()?, Instant::now() + CATCH_UP_WITHIN));
            }
            if let Some((last, deadline)) = &awaited {
                let shown = |(group, offsets): (&String, &Offsets)| {
                    offsets.is_empty() || seen.get(group) == Some(offsets)
                };
                if last.iter().all(shown) {
                    return Ok(Caught::Up);
                }
                if Instant::now() >= *deadline {
                    return Ok(Caught::Behind { seen, last: last.clone() });
                }
            }
        }
    }

    fn take(&self, process: &str, message: &BorrowedMessage<'_>, seen: &mut Groups) {
        let at_us = match message.timestamp() {
            Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => {
                self.recorder.run_us_of_wall_ms(ms)
            }
            Timestamp::NotAvailable => self.recorder.now_us(),
        };
        let (key, value) = (message.key().unwrap_or_default(), message.payload());
        if let Some(group) = generations::group_key(key).filter(|g| self.groups.contains(g)) {
            return self.generation_record(process, group, value, at_us);
        }
        let Some((group, place, offset)) = self.commit_record(key, value) else { return };
        seen.entry(group.clone()).or_default().insert(place.clone(), offset);
        self.record(process, &group, place, offset, at_us);
    }

    /// A group's record is its state after a rebalance; one without a value is a group that is gone.
    fn generation_record(&self, process: &str, group: String, value: Option<&[u8]>, at_us: u64) {
        let Some(value) = value else { return };
        let fact = match generations::group_state(value) {
            Some((generation, members)) => {
                Fact::Generation(Generation { group, generation, members, at_us })
            }
            None => Fact::Note {
                level: "warning".to_owned(),
                text: format!("the broker's record of the group {group} is of an unknown form"),
            },
        };
        self.recorder.record(process, fact);
    }

    /// The commit that a record tells of, if it is of a group and a topic under test.
    fn commit_record(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Option<(String, (String, u32), u64)> {
        let (group, topic, partition) = commit_key(key)?;
        if !self.groups.contains(&group) || !self.topics.contains_key(&topic) {
            return None;
        }
        // A record without a value is an expired commit.
        Some((group, (topic, partition), value.and_then(commit_offset)?))
    }

    /// Records a commit, and tells the nemesis.
    pub(super) fn record(
        &self,
        process: &str,
        group: &str,
        (topic, partition): (String, u32),
        offset: u64,
        at_us: u64,
    ) {
        self.progress.committed(group, &topic, partition, offset);
        let group = group.to_owned();
        let committed = Committed { group, topic, partition, offset, at_us, exact: true };
        self.recorder.record(process, Fact::Committed(committed));
    }

    fn readers(&self) -> KafkaResult<Vec<(&str, BaseConsumer)>> {
        let groups = self.groups.iter();
        groups.map(|group| Ok((group.as_str(), reader(&self.brokers, group)?))).collect()
    }

    fn last_words(&self) -> KafkaResult<Groups> {
        let readers = self.readers()?;
        readers
            .iter()
            .map(|(group, reader)| Ok(((*group).to_owned(), self.committed(reader)?)))
            .collect()
    }

    fn committed(&self, reader: &BaseConsumer) -> KafkaResult<Offsets> {
        let mut asked = TopicPartitionList::new();
        for (topic, partitions) in &self.topics {
            for partition in 0..*partitions {
                asked.add_partition(topic, partition.cast_signed());
            }
        }
        let answer = reader.committed_offsets(asked, ANSWER_WITHIN)?;
        let mut offsets = Offsets::new();
        for element in answer.elements() {
            if let Offset::Offset(offset) = element.offset()
                && let (Ok(partition), Ok(offset)) =
                    (u32::try_from(element.partition()), u64::try_from(offset))
            {
                offsets.insert((element.topic().to_owned(), partition), offset);
            }
        }
        Ok(offsets)
    }
}

/// Reads the committed offsets of all groups once: what the recovery waits on.
pub(crate) fn committed_now(watch: &Watch) -> KafkaResult<Groups> {
    watch.last_words()
}

/// Assigns the whole record of commits to a reader. False while there is none yet.
fn assign_commits(client: &BaseConsumer, from_now: bool) -> KafkaResult<bool> {
    // No answer while a broker is down is no reason to give up.
    let Ok(metadata) = client.fetch_metadata(Some(COMMITS_TOPIC), ANSWER_WITHIN) else {
        return Ok(false);
    };
    let Some(topic) = metadata.topics().iter().find(|topic| !topic.partitions().is_empty()) else {
        return Ok(false);
    };
    let mut list = TopicPartitionList::new();
    for partition in topic.partitions() {
        // "End" would be wherever that is when the first fetch is answered.
        let offset = match from_now {
            true => client.fetch_watermarks(COMMITS_TOPIC, partition.id(), ANSWER_WITHIN)?.1,
            false => 0,
        };
        let offset = if from_now { Offset::Offset(offset) } else { Offset::Beginning };
        list.add_partition_offset(COMMITS_TOPIC, partition.id(), offset)?;
    }
    client.assign(&list)?;
    Ok(true)
}

/// Group, topic and partition of an offset commit's key; other keys of the topic give none.
fn commit_key(key: &[u8]) -> Option<(String, String, u32)> {
    let (version, rest) = key.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) > 1 {
        return None;
    }
    let (group, rest) = string(rest)?;
    let (topic, rest) = string(rest)?;
    let partition = i32::from_be_bytes(*rest.first_chunk::<4>()?);
    Some((group, topic, u32::try_from(partition).ok()?))
}

/// Offset of an offset commit's value: the first field after the version in every version.
fn commit_offset(value: &[u8]) -> Option<u64> {
    let (_, rest) = value.split_first_chunk::<2>()?;
    u64::try_from(i64::from_be_bytes(*rest.first_chunk::<8>()?)).ok()
}

/// A string with its length before it, and what comes after it.
pub(super) fn string(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(version: i16) -> Vec<u8> {
        let mut key = version.to_be_bytes().to_vec();
        for text in ["group", "topic"] {
            key.extend(5i16.to_be_bytes());
            key.extend(text.as_bytes());
        }
        key.extend(7i32.to_be_bytes());
        key
    }

    #[test]
    fn an_offset_commit_is_understood() {
        let place = ("group".to_owned(), "topic".to_owned(), 7);
        assert_eq!(commit_key(&key(1)), Some(place));
        let value = [&3i16.to_be_bytes()[..], &42i64.to_be_bytes()].concat();
        assert_eq!(commit_offset(&value), Some(42));
    }

    #[test]
    fn group_metadata_and_broken_keys_are_no_commits() {
        assert_eq!(commit_key(&key(2)), None);
        let whole = key(1);
        for length in 0..whole.len() {
            assert_eq!(commit_key(&whole[..length]), None);
        }
        assert_eq!(commit_offset(&[0, 3, 0]), None);
    }
}
