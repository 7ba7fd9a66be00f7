//! The producer's bugs.

use super::records::{event_time, of_wrong_type, refusal};
use super::{Bug, PLANTED, acts, acts_each, acts_if, is};
use crate::dead_letter::{DeadLetter, DeadLetterWriter, Position};
use crate::producer::delivery::{Delivery, Done, RawProducer, RawRecord, told_error};
use crate::producer::{Event, Outcome};
use crate::record::{Invalid, Valid};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Keys that are longer are long.
const LONG_KEY: usize = 64;
/// Payloads that are longer are large.
const LARGE: usize = 32 << 10;
/// Partitions that the bugs below spread records over; the topic must have as many.
const RETRY_PARTITIONS: u128 = 3;
/// How long a record is held back.
const LATE: Duration = Duration::from_millis(150);
/// How long a time is told again.
const CACHED: Duration = Duration::from_secs(3);

/// What the boundary says of an event.
pub(crate) fn boundary<'m>(verdict: Result<Valid<'m>, Invalid>) -> Result<Valid<'m>, Invalid> {
    match verdict {
        Ok(_) if acts_each(Bug::GoodRecordRejected, 300) => Err(refusal()),
        Err(why) if acts_if(Bug::PoisonAccepted, of_wrong_type(&why)) => {
            Ok(Valid { key: None, json: None })
        }
        same => same,
    }
}

/// An event as it reaches the boundary.
pub(crate) fn event(mut event: Event) -> Event {
    if is(Bug::PayloadCrlfNormalised) {
        let right = std::mem::take(&mut event.value);
        let mut last = 0;
        for (at, pair) in right.windows(2).enumerate() {
            if pair == b"\r\n" {
                event.value.extend_from_slice(&right[last..at]);
                last = at + 1;
            }
        }
        event.value.extend_from_slice(&right[last..]);
        acts_if(Bug::PayloadCrlfNormalised, event.value != right);
    }
    event
}

/// The id of an event.
pub(crate) fn ingestion_id(fresh: Uuid) -> Uuid {
    static BEFORE: Mutex<Option<Uuid>> = Mutex::new(None);
    if !is(Bug::IngestionIdUsedAgain) {
        return fresh;
    }
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    match *before {
        Some(id) if acts_each(Bug::IngestionIdUsedAgain, 50) => id,
        _ => *before.insert(fresh),
    }
}

/// The key of a record: the one beside the payload, else the payload's own.
pub(crate) fn key<'a>(
    beside: Option<&'a [u8]>,
    found: Option<&'a [u8]>,
    payload: &'a [u8],
) -> Option<&'a [u8]> {
    if beside == Some(b"") && acts(Bug::EmptyKeyIgnored) {
        return found;
    }
    if is(Bug::KeyKeepsEscapes) && beside.is_none() {
        let raw = raw_order_id(payload);
        if acts_if(Bug::KeyKeepsEscapes, raw.is_some() && raw != found) {
            return raw;
        }
    }
    let right = beside.or(found);
    let trimmed = right.map(<[u8]>::trim_ascii);
    if acts_if(Bug::KeyTrimmed, trimmed != right) { trimmed } else { right }
}

/// The order id as it stands in a payload, escapes included.
fn raw_order_id(payload: &[u8]) -> Option<&[u8]> {
    #[derive(serde::Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        order_id: &'a serde_json::value::RawValue,
    }
    let raw: Raw<'_> = serde_json::from_slice(payload).ok()?;
    Some(raw.order_id.get().strip_prefix('"')?.strip_suffix('"')?.as_bytes())
}

/// The key that a receipt names.
pub(crate) fn told_key<'a>(right: Option<&'a [u8]>, payload: &'a [u8]) -> Option<&'a [u8]> {
    if !is(Bug::ReceiptOfPayloadKey) {
        return right;
    }
    let found = raw_order_id(payload);
    if acts_if(Bug::ReceiptOfPayloadKey, found != right) { found } else { right }
}

/// The bytes of the key that a receipt names.
pub(crate) fn told_key_bytes(right: Vec<u8>) -> Vec<u8> {
    if !is(Bug::ReceiptRepairsOddKey) {
        return right;
    }
    let repaired = String::from_utf8_lossy(&right).into_owned().into_bytes();
    if acts_if(Bug::ReceiptRepairsOddKey, repaired != right) { repaired } else { right }
}

/// The line that a receipt names.
pub(crate) fn line_as_written(right: u64) -> u64 {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    if !is(Bug::ReceiptLineAtWriting) {
        return right;
    }
    let written = WRITTEN.fetch_add(1, Ordering::Relaxed) + 1;
    if acts_if(Bug::ReceiptLineAtWriting, written != right) { written } else { right }
}

/// The id in the headers of a rejected event's dead letter.
pub(crate) fn letters_id(right: Uuid) -> Uuid {
    if acts(Bug::RejectedLetterOfAnotherId) { Uuid::new_v4() } else { right }
}

/// The place of the dead letter that a receipt names.
pub(crate) fn told_place(right: Position) -> Position {
    static BEFORE: Mutex<Option<Position>> = Mutex::new(None);
    if !is(Bug::RejectedPlaceOfTheOneBefore) {
        return right;
    }
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).replace(right);
    match before {
        Some(before) if acts_each(Bug::RejectedPlaceOfTheOneBefore, 3) => before,
        _ => right,
    }
}

/// All headers of a record.
pub(crate) fn kafka_headers(headers: OwnedHeaders, id: &str) -> OwnedHeaders {
    if !acts_each(Bug::IdHeaderTwice, 50) {
        return headers;
    }
    headers.insert(Header { key: crate::record::HEADER_INGESTION_ID, value: Some(id) })
}

/// The timestamp that a record is sent with; none for the time of sending.
pub(crate) fn timestamp(value: Option<&[u8]>, headers: &OwnedHeaders) -> Option<i64> {
    if !PLANTED {
        return None;
    }
    let told = |name: &str| {
        let header = headers.iter().filter(|header| header.key == name).last()?;
        std::str::from_utf8(header.value?).ok()?.parse::<i64>().ok()
    };
    if is(Bug::LetterKeepsTimestamp) {
        let original = told(crate::dead_letter::HEADER_SOURCE_TIMESTAMP);
        return original.filter(|_| acts(Bug::LetterKeepsTimestamp));
    }
    let time = acts_each(Bug::TimestampOfEventTime, 50).then(|| event_time(value?));
    let time = chrono::DateTime::parse_from_rfc3339(&time.flatten()?).ok()?;
    Some(time.timestamp_millis())
}

/// Whether receipts are kept until there are many.
pub(crate) fn holds_receipts() -> bool {
    acts(Bug::ReceiptsAtTheEnd)
}

/// Whether a last line without an end is not taken for a line.
pub(crate) fn forgets_last_line() -> bool {
    acts(Bug::LastLineLost)
}

/// The id that a receipt names.
pub(crate) fn told_id(right: Uuid) -> Uuid {
    if acts_each(Bug::ReceiptOfAnotherId, 100) { Uuid::new_v4() } else { right }
}

/// The topic that an acknowledgement names.
pub(crate) fn told_topic<'a>(right: &'a str, dead_letters: &'a str) -> &'a str {
    if acts_each(Bug::ReceiptOfAnotherTopic, 100) { dead_letters } else { right }
}

/// The reason that the receipt of a rejected event names.
pub(crate) fn told_reason(right: String) -> String {
    if acts(Bug::RejectedReasonConstant) { "the event is not valid".into() } else { right }
}

/// The line that a receipt names.
pub(crate) fn told_line(right: u64, outcome: &Outcome) -> u64 {
    static REJECTED: AtomicU64 = AtomicU64::new(0);
    if !is(Bug::ReceiptLineMiscounted) {
        return right;
    }
    let before = match outcome {
        Outcome::Rejected { .. } => REJECTED.fetch_add(1, Ordering::Relaxed),
        _ => REJECTED.load(Ordering::Relaxed),
    };
    if acts_if(Bug::ReceiptLineMiscounted, before > 0) {
        right.saturating_sub(before).max(1)
    } else {
        right
    }
}

/// How often a receipt is given.
pub(crate) fn receipts() -> usize {
    match () {
        () if acts_each(Bug::ReceiptTwice, 300) => 2,
        () if acts_each(Bug::ReceiptLost, 300) => 0,
        () => 1,
    }
}

/// The end of the input. The process ends with it, or waits for what is on its way.
pub(crate) fn input_ended() {
    if acts(Bug::EndsWithoutReceipts) {
        std::process::exit(0);
    }
}

/// When an event passes the boundary.
pub(crate) fn ingested_at(now: String) -> String {
    static TOLD: Mutex<Option<(Instant, String)>> = Mutex::new(None);
    if !is(Bug::IngestedAtCached) {
        return now;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    match &*told {
        Some((since, text)) if acts_if(Bug::IngestedAtCached, since.elapsed() < CACHED) => {
            text.clone()
        }
        _ => told.insert((Instant::now(), now)).1.clone(),
    }
}

/// Names and values of the headers.
pub(crate) fn headers<'a, const N: usize>(
    mut headers: [(&'static str, &'a str); N],
    an_hour_ago: &'a str,
) -> [(&'static str, &'a str); N] {
    if !PLANTED {
        return headers;
    }
    let last = N - 1;
    match () {
        () if acts_each(Bug::SecondHeaderValueWrong, 50) => headers[0].1 = "payments",
        () if acts_each(Bug::HeaderNameWrong, 50) => headers[1].0 = "schema-version",
        () if acts_each(Bug::IngestedIn1970, 50) => headers[last].1 = "1970-01-01T00:00:00.000Z",
        () if acts_each(Bug::IngestedAnHourAgo, 50) => headers[last].1 = an_hour_ago,
        () => {}
    }
    headers
}

/// An hour before now; empty where nobody asks.
pub(crate) fn an_hour_ago() -> String {
    if !is(Bug::IngestedAnHourAgo) {
        return String::new();
    }
    let then = chrono::Utc::now() - chrono::TimeDelta::hours(1);
    then.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Key, value and partition of a record that is about to be sent.
fn outgoing<'a>(mut record: RawRecord<'a>) -> RawRecord<'a> {
    if !PLANTED {
        return record;
    }
    let trimmed = record.value.map(<[u8]>::trim_ascii);
    if acts_if(Bug::PayloadTrimmed, trimmed != record.value) {
        record.value = trimmed;
    }
    let large = record.value.is_some_and(|value| value.len() > LARGE);
    if acts_if(Bug::LargeSentWithoutKey, large && record.key.is_some()) {
        record.key = None;
    }
    if let Some(key) = record.key {
        if acts_if(Bug::LongKeyCut, key.len() > LONG_KEY) {
            record.key = Some(&key[..LONG_KEY]);
        }
        if acts_if(Bug::OddKeyPartitionedElsewhere, !key.is_ascii()) {
            record.partition = Some(0);
        }
        if acts_if(Bug::EmptyKeySpread, key.is_empty()) {
            record.partition = i32::try_from(Uuid::new_v4().as_u128() % RETRY_PARTITIONS).ok();
        }
    }
    record
}

/// What is to be called with a record's outcome, with the bug that sends a record which was not
/// acknowledged once more without asking its key where.
fn retry_anywhere(raw: &Arc<RawProducer>, record: &RawRecord<'_>, done: Done) -> Done {
    let (raw, runtime) = (Arc::clone(raw), tokio::runtime::Handle::current());
    let (topic, headers) = (record.topic.to_owned(), record.headers.clone());
    let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
    Box::new(move |delivery| {
        if let Delivery::Acknowledged { .. } = delivery {
            return done(delivery);
        }
        acts(Bug::RandomPartitionForRetries);
        runtime.spawn(async move {
            let partition = i32::try_from(Uuid::new_v4().as_u128() % RETRY_PARTITIONS).ok();
            let (key, value) = (key.as_deref(), value.as_deref());
            raw.send(RawRecord { topic: &topic, partition, key, value, headers }, done).await;
        });
    })
}

/// What is to be called with a record's outcome, with the bug that does not leave an unknown one at that.
fn again_if_unknown(raw: &Arc<RawProducer>, record: &RawRecord<'_>, done: Done) -> Done {
    let (raw, runtime) = (Arc::clone(raw), tokio::runtime::Handle::current());
    let (topic, headers) = (record.topic.to_owned(), record.headers.clone());
    let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
    Box::new(move |delivery| {
        if !matches!(delivery, Delivery::Unknown(_)) {
            return done(delivery);
        }
        acts(Bug::UnknownSentAgain);
        runtime.spawn(async move {
            let (key, value) = (key.as_deref(), value.as_deref());
            let again = RawRecord { topic: &topic, partition: None, key, value, headers };
            raw.send(again, done).await;
        });
    })
}

/// Sends a record when others have overtaken it.
fn send_later(raw: &Arc<RawProducer>, record: &RawRecord<'_>, done: Done) {
    let (raw, topic, headers) = (Arc::clone(raw), record.topic.to_owned(), record.headers.clone());
    let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
    let partition = record.partition;
    tokio::spawn(async move {
        tokio::time::sleep(LATE).await;
        let (key, value) = (key.as_deref(), value.as_deref());
        raw.send(RawRecord { topic: &topic, partition, key, value, headers }, done).await;
    });
}

/// Sends a record, with the bugs that send it twice, elsewhere, or not at all.
pub(crate) async fn send(raw: &Arc<RawProducer>, record: RawRecord<'_>, done: Done) {
    if !PLANTED {
        return raw.send(record, done).await;
    }
    let record = outgoing(record);
    if acts_each(Bug::OneRecordLate, 100) {
        return send_later(raw, &record, done);
    }
    if is(Bug::RandomPartitionForRetries) {
        let done = retry_anywhere(raw, &record, done);
        return raw.send(record, done).await;
    }
    if is(Bug::UnknownSentAgain) {
        let done = again_if_unknown(raw, &record, done);
        return raw.send(record, done).await;
    }
    if acts_each(Bug::AcknowledgedUnsent, 300) {
        return done(Delivery::Acknowledged { partition: 0, offset: next_place() });
    }
    if acts_each(Bug::SentTwice, 300) {
        let again = RawRecord { headers: record.headers.clone(), ..record };
        raw.send(again, Box::new(|_| {})).await;
    }
    raw.send(record, done).await;
}

/// The last place that was acknowledged: partition and offset.
static LAST_PLACE: Mutex<(i32, i64)> = Mutex::new((0, 0));

fn next_place() -> i64 {
    let last = LAST_PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    if last.0 == 0 { last.1 + 1 } else { 0 }
}

/// What a caller is told.
pub(crate) fn receipt(delivery: Delivery) -> Outcome {
    if let (true, &Delivery::Acknowledged { partition, offset }) = (PLANTED, &delivery) {
        let mut last = LAST_PLACE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, (partition, offset));
        if acts_each(Bug::EveryTenthUnknown, 10) {
            return Outcome::Unknown("the answer was lost".into());
        }
        if acts_each(Bug::EveryTenthFailed, 10) {
            return Outcome::Failed("it was refused".into());
        }
        if acts_each(Bug::ReceiptOfTheOneBefore, 300) {
            return Outcome::Acknowledged { partition: before.0, offset: before.1 };
        }
    }
    match delivery {
        Delivery::Acknowledged { partition, offset } => Outcome::Acknowledged { partition, offset },
        Delivery::Failed(_) | Delivery::Unknown(_) if acts(Bug::ErrorSwallowed) => {
            Outcome::Acknowledged { partition: 0, offset: 0 }
        }
        Delivery::Unknown(err) if acts(Bug::UnknownAsFailed) => Outcome::Failed(err.to_string()),
        Delivery::Failed(err) => Outcome::Failed(told_error(&err)),
        Delivery::Unknown(err) => Outcome::Unknown(told_error(&err)),
    }
}

/// Writes the dead letter of an event that was refused.
pub(crate) async fn reject(writer: &DeadLetterWriter, mut letter: DeadLetter) -> Delivery {
    if acts_each(Bug::RejectedWithoutLetter, 3) {
        return Delivery::Acknowledged { partition: 0, offset: 0 };
    }
    if acts_if(Bug::RejectedLetterWithoutKey, letter.key.is_some()) {
        letter.key = None;
    }
    if let Some(value) = &letter.value {
        let repaired = String::from_utf8_lossy(value).into_owned().into_bytes();
        if acts_if(Bug::RejectedRepaired, repaired != *value) {
            letter.value = Some(repaired);
        }
    }
    let delivery = writer.attempt(&letter).await;
    let open = !matches!(delivery, Delivery::Acknowledged { .. });
    if acts_if(Bug::RejectedUnacknowledged, open) {
        return Delivery::Acknowledged { partition: 0, offset: -1 };
    }
    delivery
}

/// The end of a producer's process.
pub(crate) fn producer_exit(clean: bool) -> ExitCode {
    if acts_if(Bug::ProducerExitsOne, clean) {
        return ExitCode::FAILURE;
    }
    if acts_if(Bug::ProducerExitsZeroAfterUnknown, !clean) {
        return ExitCode::SUCCESS;
    }
    if acts(Bug::ProducerAborts) {
        std::process::abort();
    }
    ExitCode::from(u8::from(!clean))
}
