//! The final read of topics, from the low to the high watermark.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::history::Recorder;
use crate::history::event::{Blob, DeadLetter, Fact, LogBounds, Logged, Print};
use crate::observer::source::events;
use crate::observer::{Topics, reader};
use crate::workload::op_of;

/// Process name of these facts in a history.
const PROCESS: &str = "log-reader";
/// Headers that every record of the pipeline carries.
const MANDATORY: [&str; 5] =
    ["dataset", "schema_version", "ingestion_id", "producer_service", "ingested_at"];
/// Headers that every dead letter of the consumer carries beside the original ones.
const BY_CONSUMER: [&str; 6] = [
    "consumer_error",
    "consumer_error_trace",
    "consumer_failed_at",
    "source_topic",
    "source_partition",
    "source_offset",
];
/// Headers that every dead letter of the producer carries beside the original ones.
const BY_PRODUCER: [&str; 2] = ["producer_error", "producer_failed_at"];
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a topic's records are to the history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A topic under test.
    Raw,
    /// A dead-letter topic.
    DeadLetters,
    /// A topic of change events.
    ChangeEvents,
    /// The Connect worker's topic of offsets.
    ConnectOffsets,
}

/// Reads topics to their ends and records each record and each partition's bounds. Blocks.
///
/// # Errors
/// When a broker does not answer; what was read until then is recorded, without bounds.
pub(crate) fn read(
    bootstrap: &str,
    topics: &Topics,
    role: Role,
    recorder: &Recorder,
    within: Duration,
) -> KafkaResult<()> {
    let client = reader(bootstrap, "streamlake-harness-log-reader")?;
    let mut partitions = assign(&client, topics)?;
    let deadline = Instant::now() + within;
    while partitions.values().any(|bounds| !bounds.complete()) && Instant::now() < deadline {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let place = (message.topic().to_owned(), message.partition());
                if let Some(bounds) = partitions.get_mut(&place)
                    && bounds.take(message.offset())
                    && let Some(fact) = fact(&message, role, recorder)
                {
                    recorder.record(PROCESS, fact);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) | None => {
                catch_up(&client, &mut partitions);
            }
            // A read error on one partition leaves its bounds incomplete, which is what is recorded.
            Some(Err(error)) => tracing::warn!(%error, "reading the log"),
        }
    }
    for ((topic, partition), bounds) in partitions {
        recorder.record(PROCESS, Fact::LogBounds(bounds.fact(topic, partition)));
    }
    Ok(())
}

/// High watermark of each partition. Blocks.
///
/// # Errors
/// When a broker does not answer.
pub(crate) fn ends(bootstrap: &str, topics: &Topics) -> KafkaResult<BTreeMap<(String, u32), u64>> {
    let client = reader(bootstrap, "streamlake-harness-log-reader")?;
    let mut ends = BTreeMap::new();
    for (topic, count) in topics {
        for partition in 0..*count {
            let (_, high) =
                client.fetch_watermarks(topic, partition.cast_signed(), ANSWER_WITHIN)?;
            ends.insert((topic.clone(), partition), high.unsigned_abs());
        }
    }
    Ok(ends)
}

/// How far a partition has been read.
struct Bounds {
    low: i64,
    high: i64,
    next: i64,
    holes: Vec<(u64, u64)>,
}

impl Bounds {
    fn complete(&self) -> bool {
        self.next >= self.high
    }

    /// Takes the next record's offset. False for records that came in after the high watermark was
    /// read: the final read ends there.
    fn take(&mut self, offset: i64) -> bool {
        if offset >= self.high || offset < self.next {
            return false;
        }
        self.skip_to(offset);
        self.next = offset + 1;
        true
    }

    /// The reader stands at `position` without having met a record on the way.
    fn skip_to(&mut self, position: i64) {
        let position = position.min(self.high);
        if position > self.next {
            self.holes.push((self.next.unsigned_abs(), (position - 1).unsigned_abs()));
            self.next = position;
        }
    }

    fn fact(self, topic: String, partition: i32) -> LogBounds {
        LogBounds {
            topic,
            partition: partition.unsigned_abs(),
            low: self.low.unsigned_abs(),
            high: self.high.unsigned_abs(),
            complete: self.complete(),
            holes: self.holes,
        }
    }
}

fn assign(client: &BaseConsumer, topics: &Topics) -> KafkaResult<BTreeMap<(String, i32), Bounds>> {
    let mut list = TopicPartitionList::new();
    let mut partitions = BTreeMap::new();
    for (topic, count) in topics {
        for partition in 0..count.cast_signed() {
            let (low, high) = client.fetch_watermarks(topic, partition, ANSWER_WITHIN)?;
            list.add_partition_offset(topic, partition, Offset::Offset(low))?;
            let bounds = Bounds { low, high, next: low, holes: Vec::new() };
            partitions.insert((topic.clone(), partition), bounds);
        }
    }
    client.assign(&list)?;
    Ok(partitions)
}

/// Control records are passed over by the client; its position tells that it stands behind them.
fn catch_up(client: &BaseConsumer, partitions: &mut BTreeMap<(String, i32), Bounds>) {
    let Ok(positions) = client.position() else { return };
    for element in positions.elements() {
        if let Offset::Offset(position) = element.offset()
            && let Some(bounds) =
                partitions.get_mut(&(element.topic().to_owned(), element.partition()))
        {
            bounds.skip_to(position);
        }
    }
}

/// What a record is to the history; none if it says nothing.
fn fact(message: &BorrowedMessage<'_>, role: Role, recorder: &Recorder) -> Option<Fact> {
    match role {
        Role::Raw | Role::DeadLetters => Some(record(message, role, recorder)),
        Role::ChangeEvents => Some(Fact::ChangeEvent(events::change_event(message, recorder))),
        Role::ConnectOffsets => events::offset_flush(message, recorder).map(Fact::OffsetFlush),
    }
}

fn record(message: &BorrowedMessage<'_>, role: Role, recorder: &Recorder) -> Fact {
    let headers = headers(message);
    let value = message.payload().unwrap_or_default();
    let timestamp_ms = message.timestamp().to_millis().unwrap_or(0);
    let key = message.key().map(|key| Blob(key.to_vec()));
    match role {
        Role::Raw => Fact::Logged(Logged {
            topic: message.topic().to_owned(),
            partition: message.partition().unsigned_abs(),
            offset: message.offset().unsigned_abs(),
            timestamp_ms,
            op: op_of(value),
            ingestion_id: text(&headers, "ingestion_id"),
            key,
            value: Print::of(value),
            headers: Print::of_headers(headers.iter().copied()),
            missing_headers: missing(&headers, &MANDATORY),
        }),
        _ => Fact::DeadLetter(dead_letter(message, &headers, timestamp_ms, recorder)),
    }
}

type HeaderList<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

fn headers<'a>(message: &'a BorrowedMessage<'_>) -> HeaderList<'a> {
    message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key, header.value)).collect()
    })
}

fn text(headers: &HeaderList<'_>, name: &str) -> Option<String> {
    let (_, value) = headers.iter().find(|(header, _)| *header == name)?;
    value.map(|value| String::from_utf8_lossy(value).into_owned())
}

fn missing(headers: &HeaderList<'_>, mandatory: &[&str]) -> Vec<String> {
    let absent = mandatory.iter().filter(|name| !headers.iter().any(|(header, _)| header == *name));
    absent.map(|name| (*name).to_owned()).collect()
}

fn dead_letter(
    message: &BorrowedMessage<'_>,
    headers: &HeaderList<'_>,
    timestamp_ms: i64,
    recorder: &Recorder,
) -> DeadLetter {
    use streamlake::dead_letter as names;
    let value = message.payload().unwrap_or_default();
    let original = headers.iter().copied().filter(|(name, _)| !names::OWN_HEADERS.contains(name));
    let number = |name| text(headers, name).and_then(|digits| digits.parse::<u64>().ok());
    let source = text(headers, names::HEADER_SOURCE_TOPIC).and_then(|topic| {
        let partition = u32::try_from(number(names::HEADER_SOURCE_PARTITION)?).ok()?;
        Some((topic, partition, number(names::HEADER_SOURCE_OFFSET)?))
    });
    let by_consumer = text(headers, names::HEADER_PRODUCER_ERROR).is_none();
    let (reason, mandatory) = if by_consumer {
        (names::HEADER_ERROR, &BY_CONSUMER[..])
    } else {
        (names::HEADER_PRODUCER_ERROR, &BY_PRODUCER[..])
    };
    DeadLetter {
        topic: message.topic().to_owned(),
        partition: message.partition().unsigned_abs(),
        offset: message.offset().unsigned_abs(),
        created_us: recorder.run_us_of_wall_ms(timestamp_ms),
        missing_headers: missing(headers, mandatory),
        source,
        op: op_of(value),
        key: message.key().map(|key| Blob(key.to_vec())),
        value: Print::of(value),
        headers: Print::of_headers(original),
        error: text(headers, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_without_a_record_are_holes() {
        let mut bounds = Bounds { low: 0, high: 10, next: 0, holes: Vec::new() };
        assert!(bounds.take(0));
        assert!(bounds.take(3));
        assert!(!bounds.take(2), "a record that comes again is taken once");
        assert!(!bounds.take(10), "the final read ends at the high watermark");
        bounds.skip_to(10);
        assert!(bounds.complete());
        assert_eq!(bounds.holes, [(1, 2), (4, 9)]);
    }
}
