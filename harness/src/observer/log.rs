//! The final read of topics, from the low to the high watermark.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::DateTime;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::adapter::streamlake::letter;
use crate::observer::known::Known;
use crate::observer::native::{self, RawHeaders};
use crate::observer::source::events;
use crate::observer::{Brokers, Topics, committed_reader, reader};
use crate::workload::odd::op_of_headers;
use crate::workload::op_of;
use streamlake_history::Recorder;
use streamlake_history::event::{
    Blob, DeadLetter, Fact, HeaderPair, LogBounds, Logged, Print, PromisedHeader, PromisedValue,
    Promises,
};

/// Process name of these facts in a history.
const PROCESS: &str = "log-reader";
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a topic's records are to the history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A dead-letter topic.
    DeadLetters,
    /// A topic of change events.
    ChangeEvents,
    /// The Connect worker's topic of offsets.
    ConnectOffsets,
}

/// How much of the headers is written down, and what is demanded of them.
#[derive(Debug, Clone)]
pub(crate) struct HeaderDetail {
    /// The headers themselves, not only their fingerprint.
    lists: bool,
    promised: Vec<PromisedHeader>,
}

impl HeaderDetail {
    /// As the promises have it.
    pub(crate) fn of(promises: &Promises) -> Self {
        Self { lists: promises.lists_headers(), promised: promises.headers.clone() }
    }
}

/// What is read of a topic.
pub(crate) struct Span<'a> {
    /// First offset that is of interest in a partition, where it is not the first of all.
    pub begins: &'a BTreeMap<u32, u64>,
    /// It must be read within this time.
    pub within: Duration,
}

/// Reads topics to their ends and records each record and each partition's bounds. Blocks.
///
/// # Errors
/// When a broker does not answer; what was read until then is recorded, without bounds.
pub(crate) fn read(
    brokers: &Brokers,
    topics: &Topics,
    role: Role,
    detail: &HeaderDetail,
    recorder: &Recorder,
    within: Duration,
) -> KafkaResult<()> {
    let name = "streamlake-harness-log-reader";
    let client = match role {
        Role::DeadLetters => reader(brokers, name)?,
        Role::ChangeEvents | Role::ConnectOffsets => committed_reader(brokers, name)?,
    };
    let bounds = each(&client, topics, within, |message| {
        if let Some(fact) = fact(message, role, detail, recorder) {
            recorder.record(PROCESS, fact);
        }
    })?;
    for bounds in bounds {
        recorder.record(PROCESS, Fact::LogBounds(bounds));
    }
    Ok(())
}

/// As [`read`] for the topic under test, which comes to be known.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_raw(
    brokers: &Brokers,
    topics: &Topics,
    detail: &HeaderDetail,
    known: &mut Known,
    recorder: &Recorder,
    span: &Span<'_>,
) -> KafkaResult<()> {
    let client = reader(brokers, "streamlake-harness-log-reader")?;
    let bounds = each_of(&client, topics, span, |message| {
        let logged = logged(message, detail);
        known.take(logged.partition, logged.offset, logged.op, message.payload());
        recorder.record(PROCESS, Fact::Logged(logged));
    })?;
    for bounds in bounds {
        known.read_to(bounds.partition, bounds.high);
        recorder.record(PROCESS, Fact::LogBounds(bounds));
    }
    Ok(())
}

/// Reads topics to their ends, record by record, and says how far it came. Blocks.
///
/// # Errors
/// When a broker does not answer.
pub(crate) fn each(
    client: &BaseConsumer,
    topics: &Topics,
    within: Duration,
    take: impl FnMut(&BorrowedMessage<'_>),
) -> KafkaResult<Vec<LogBounds>> {
    each_of(client, topics, &Span { begins: &BTreeMap::new(), within }, take)
}

fn each_of(
    client: &BaseConsumer,
    topics: &Topics,
    span: &Span<'_>,
    mut take: impl FnMut(&BorrowedMessage<'_>),
) -> KafkaResult<Vec<LogBounds>> {
    let mut partitions = assign(client, topics, span.begins)?;
    let deadline = Instant::now() + span.within;
    while partitions.values().any(|bounds| !bounds.complete()) && Instant::now() < deadline {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let place = (message.topic().to_owned(), message.partition());
                if let Some(bounds) = partitions.get_mut(&place)
                    && bounds.take(message.offset())
                {
                    take(&message);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) | None => {
                catch_up(client, &mut partitions);
            }
            // A read error on one partition leaves its bounds incomplete, which is what is recorded.
            Some(Err(error)) => tracing::warn!(%error, "reading the log"),
        }
    }
    let bounds = partitions.into_iter();
    Ok(bounds.map(|((topic, partition), bounds)| bounds.fact(topic, partition)).collect())
}

/// High watermark of each partition. Blocks.
///
/// # Errors
/// When a broker does not answer.
pub(crate) fn ends(
    brokers: &Brokers,
    topics: &Topics,
) -> KafkaResult<BTreeMap<(String, u32), u64>> {
    let client = reader(brokers, "streamlake-harness-log-reader")?;
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
            ..LogBounds::default()
        }
    }
}

fn assign(
    client: &BaseConsumer,
    topics: &Topics,
    begins: &BTreeMap<u32, u64>,
) -> KafkaResult<BTreeMap<(String, i32), Bounds>> {
    let mut list = TopicPartitionList::new();
    let mut partitions = BTreeMap::new();
    for (topic, count) in topics {
        for partition in 0..count.cast_signed() {
            let (low, high) = client.fetch_watermarks(topic, partition, ANSWER_WITHIN)?;
            let begin = begins.get(&partition.unsigned_abs()).copied().unwrap_or(0);
            let low = low.max(i64::try_from(begin).unwrap_or(i64::MAX)).min(high);
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
fn fact(
    message: &BorrowedMessage<'_>,
    role: Role,
    detail: &HeaderDetail,
    recorder: &Recorder,
) -> Option<Fact> {
    match role {
        Role::DeadLetters => Some(Fact::DeadLetter(dead_letter(message, detail, recorder))),
        Role::ChangeEvents => Some(Fact::ChangeEvent(events::change_event(message, recorder))),
        Role::ConnectOffsets => events::offset_flush(message, recorder).map(Fact::OffsetFlush),
    }
}

fn logged(message: &BorrowedMessage<'_>, detail: &HeaderDetail) -> Logged {
    let (headers, value) = (native::headers(message), message.payload());
    Logged {
        topic: message.topic().to_owned(),
        partition: message.partition().unsigned_abs(),
        offset: message.offset().unsigned_abs(),
        timestamp_ms: message.timestamp().to_millis(),
        ingested_ms: ingested_ms(&headers),
        op: value.and_then(op_of).or_else(|| op_of_headers(headers.iter().copied())),
        ingestion_id: text(&headers, "ingestion_id"),
        key: message.key().map(|key| Blob(key.to_vec())),
        value: Print::of_value(value),
        headers: Print::of_headers(headers.iter().copied()),
        missing_headers: missing(&headers, &detail.promised),
        wrong_headers: if detail.lists { Vec::new() } else { wrong(&headers, &detail.promised) },
        header_list: detail.lists.then(|| listed(&headers)),
    }
}

fn listed(headers: &[(&[u8], Option<&[u8]>)]) -> Vec<HeaderPair> {
    headers.iter().map(|(name, value)| HeaderPair::of(name, *value)).collect()
}

/// The first header of a name.
fn first<'m>(headers: &RawHeaders<'m>, name: &str) -> Option<&'m [u8]> {
    headers.iter().find(|(header, _)| *header == name.as_bytes())?.1
}

fn text(headers: &RawHeaders<'_>, name: &str) -> Option<String> {
    String::from_utf8(first(headers, name)?.to_vec()).ok()
}

fn ingested_ms(headers: &RawHeaders<'_>) -> Option<i64> {
    let text = std::str::from_utf8(first(headers, "ingested_at")?).ok()?;
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
}

fn missing(headers: &RawHeaders<'_>, promised: &[PromisedHeader]) -> Vec<String> {
    let there = |name: &str| headers.iter().any(|(header, _)| *header == name.as_bytes());
    let absent = promised.iter().filter(|header| !there(&header.name));
    absent.map(|header| header.name.clone()).collect()
}

/// Headers that were promised a value and have another.
fn wrong(headers: &RawHeaders<'_>, promised: &[PromisedHeader]) -> Vec<HeaderPair> {
    let differs = |name: &[u8], value: Option<&[u8]>| {
        promised.iter().any(|header| match &header.is {
            PromisedValue::Fixed(fixed) => {
                header.name.as_bytes() == name && value != Some(fixed.as_bytes())
            }
            _ => false,
        })
    };
    let wrong = headers.iter().filter(|(name, value)| differs(name, *value));
    wrong.map(|(name, value)| HeaderPair::of(name, *value)).collect()
}

fn dead_letter(
    message: &BorrowedMessage<'_>,
    detail: &HeaderDetail,
    recorder: &Recorder,
) -> DeadLetter {
    let (headers, value) = (native::headers(message), message.payload());
    let letter = letter::take_apart(&headers);
    let original = headers[..letter.original].to_vec();
    DeadLetter {
        topic: message.topic().to_owned(),
        partition: message.partition().unsigned_abs(),
        offset: message.offset().unsigned_abs(),
        created_us: recorder.run_us_of_wall_ms(message.timestamp().to_millis().unwrap_or(0)),
        source: letter.source,
        op: value.and_then(op_of).or_else(|| op_of_headers(original.iter().copied())),
        key: message.key().map(|key| Blob(key.to_vec())),
        value: Print::of_value(value),
        headers: Print::of_headers(original.iter().copied()),
        missing_headers: letter.missing,
        error: letter.error,
        group: letter.group,
        ingestion_id: text(&original, "ingestion_id"),
        trace: letter.trace,
        failed_ms: letter.failed_ms,
        source_timestamp_ms: letter.source_timestamp_ms,
        header_list: detail.lists.then(|| listed(&original)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promised_headers_that_are_absent_or_say_something_else_are_told() {
        let fixed = |name: &str, value: &str| PromisedHeader {
            name: name.to_owned(),
            is: PromisedValue::Fixed(value.to_owned()),
        };
        let promised = [fixed("dataset", "orders"), fixed("schema_version", "v1")];
        let good: RawHeaders<'_> =
            vec![(b"dataset", Some(b"orders")), (b"\xff", None), (b"schema_version", Some(b"v1"))];
        assert_eq!((missing(&good, &promised), wrong(&good, &promised)), (vec![], vec![]));
        let bad: RawHeaders<'_> = vec![(b"dataset", Some(b"orders")), (b"dataset", None)];
        assert_eq!(missing(&bad, &promised), ["schema_version"]);
        assert_eq!(wrong(&bad, &promised), [HeaderPair::of(b"dataset", None)]);
        let instant: RawHeaders<'_> = vec![(b"ingested_at", Some(b"2026-01-21T10:00:00.25Z"))];
        assert_eq!(ingested_ms(&instant), Some(1_768_989_600_250));
        assert_eq!(ingested_ms(&vec![(b"ingested_at", Some(b"yesterday"))]), None);
    }

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
