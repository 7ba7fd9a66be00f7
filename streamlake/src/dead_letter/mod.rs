//! The dead-letter topic: what a record looks like there, and writing one until it is acknowledged.
//!
//! The value is the original payload byte for byte, the key the original key (or none), the headers
//! the original ones in their order, followed by the reason, its detail, the time, where the record
//! came from, and which group refused it. Only a payload makes a dead letter; a service that is away never does.

pub mod read;

use crate::classify::{self, Decision};
use crate::config::KafkaSettings;
use crate::error::{Error, Result};
use crate::inspect;
use crate::kafka::{self, Role};
use crate::producer::delivery::{Delivery, LastingProducer, RawRecord, owned_headers, told_offset};
use crate::raw_zone::part::Header;
use crate::raw_zone::store::{backoff, next_delay};
use crate::record::{Invalid, now_rfc3339};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Header: why the consumer refused the record, one line.
pub const HEADER_ERROR: &str = "consumer_error";
/// Header: the chain of causes.
pub const HEADER_ERROR_TRACE: &str = "consumer_error_trace";
/// Header: when, RFC 3339.
pub const HEADER_FAILED_AT: &str = "consumer_failed_at";
/// Header: the topic that the record was read from.
pub const HEADER_SOURCE_TOPIC: &str = "source_topic";
/// Header: its partition there.
pub const HEADER_SOURCE_PARTITION: &str = "source_partition";
/// Header: its offset there.
pub const HEADER_SOURCE_OFFSET: &str = "source_offset";
/// Header: its Kafka timestamp there, in milliseconds.
pub const HEADER_SOURCE_TIMESTAMP: &str = "source_timestamp_ms";
/// Header: the consumer group that refused it. Several groups may read one topic, and each writes a
/// letter of its own.
pub const HEADER_GROUP: &str = "consumer_group";
/// Header: why the producer refused the event. Such a record was never in the raw topic.
pub const HEADER_PRODUCER_ERROR: &str = "producer_error";
/// Header: the producer's chain of causes.
pub const HEADER_PRODUCER_ERROR_TRACE: &str = "producer_error_trace";
/// Header: when the producer refused it, RFC 3339.
pub const HEADER_PRODUCER_FAILED_AT: &str = "producer_failed_at";

/// What the consumer adds to a dead letter, after the original headers and in this order; the
/// timestamp is left out where the record had none.
pub const BY_CONSUMER: &[&str] = &[
    HEADER_ERROR,
    HEADER_ERROR_TRACE,
    HEADER_FAILED_AT,
    HEADER_SOURCE_TOPIC,
    HEADER_SOURCE_PARTITION,
    HEADER_SOURCE_OFFSET,
    HEADER_SOURCE_TIMESTAMP,
    HEADER_GROUP,
];

/// What the producer adds, likewise.
pub const BY_PRODUCER: &[&str] =
    &[HEADER_PRODUCER_ERROR, HEADER_PRODUCER_ERROR_TRACE, HEADER_PRODUCER_FAILED_AT];

/// The longest reason and the longest detail: a dead letter must not outgrow its topic because of
/// what is said about it.
const REASON_BYTES_MAX: usize = 1 << 10;
const DETAIL_BYTES_MAX: usize = 4 << 10;

/// A record on its way to the dead-letter topic.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The original key.
    pub key: Option<Vec<u8>>,
    /// The original payload.
    pub value: Option<Vec<u8>>,
    /// The original headers with ours behind them.
    pub headers: Vec<Header>,
}

/// Where a record was read.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The Kafka timestamp in milliseconds.
    pub timestamp_ms: Option<i64>,
}

impl DeadLetter {
    /// The dead letter of a record that the consumer refuses.
    pub fn of_record(
        source: Source<'_>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        mut headers: Vec<Header>,
        why: &Invalid,
        group: &str,
    ) -> DeadLetter {
        let mut add = |name: &str, text: &str| headers.push(text_header(name, text));
        add(HEADER_ERROR, cut(&why.reason, REASON_BYTES_MAX));
        add(HEADER_ERROR_TRACE, cut(&why.detail, DETAIL_BYTES_MAX));
        add(HEADER_FAILED_AT, &now_rfc3339());
        add(HEADER_SOURCE_TOPIC, source.topic);
        add(HEADER_SOURCE_PARTITION, &source.partition.to_string());
        add(HEADER_SOURCE_OFFSET, &source.offset.to_string());
        if let Some(ms) = source.timestamp_ms {
            add(HEADER_SOURCE_TIMESTAMP, &ms.to_string());
        }
        add(HEADER_GROUP, group);
        DeadLetter { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), headers }
    }

    /// The dead letter of an event that the producer refuses.
    pub fn of_event(
        value: Vec<u8>,
        key: Option<Vec<u8>>,
        mut headers: Vec<Header>,
        why: &Invalid,
    ) -> DeadLetter {
        let mut add = |name: &str, text: &str| headers.push(text_header(name, text));
        add(HEADER_PRODUCER_ERROR, cut(&why.reason, REASON_BYTES_MAX));
        add(HEADER_PRODUCER_ERROR_TRACE, cut(&why.detail, DETAIL_BYTES_MAX));
        add(HEADER_PRODUCER_FAILED_AT, &now_rfc3339());
        DeadLetter { key, value: Some(value), headers }
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(n, v)| n.len() + v.as_ref().map_or(0, Vec::len) + 48).sum();
        self.key.as_ref().map_or(0, Vec::len)
            + self.value.as_ref().map_or(0, Vec::len)
            + headers
            + 512
    }
}

pub(crate) fn text_header(name: &str, text: &str) -> Header {
    (name.as_bytes().to_vec(), Some(text.as_bytes().to_vec()))
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Where a dead letter lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition of the dead-letter topic.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

/// Writes dead letters.
pub struct DeadLetterWriter {
    topic: String,
    settings: KafkaSettings,
    config: ClientConfig,
    producer: LastingProducer,
    /// For letters that are refused for their size; made for the first of them.
    alone: Mutex<Option<Arc<LastingProducer>>>,
}

impl DeadLetterWriter {
    /// A writer to `topic`. No connection is waited for.
    pub fn new(settings: &KafkaSettings, topic: &str) -> Result<DeadLetterWriter> {
        let config = kafka::producer_config(settings, Role::DeadLetters)?;
        let producer = LastingProducer::new(config.clone(), "producer of dead letters")?;
        let (topic, settings) = (topic.to_owned(), settings.clone());
        Ok(DeadLetterWriter { topic, settings, config, producer, alone: Mutex::default() })
    }

    /// The topic that is written to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The properties in effect.
    pub fn effective(&self) -> std::collections::BTreeMap<String, String> {
        self.producer.current().effective(Role::DeadLetters)
    }

    /// Writes a dead letter and returns when it is acknowledged, however long Kafka is away.
    ///
    /// An attempt whose outcome is unknown is repeated, so a dead letter may be there twice; it is
    /// never missing. `Err` only for what no repetition mends.
    pub async fn write(
        &self,
        letter: &DeadLetter,
        on_retry: impl Fn(&str, Duration),
    ) -> Result<Position> {
        let mut delays = backoff();
        loop {
            let error = match self.attempt(letter).await {
                Delivery::Acknowledged { partition, offset } => {
                    return Ok(Position { partition, offset });
                }
                Delivery::Failed(error) | Delivery::Unknown(error) => error,
            };
            if classify::dead_letter(&error) == Decision::Stop {
                let remedy = self.remedy(letter, &error).await;
                return Err(Error::Stuck(format!(
                    "the dead-letter topic {} does not take the record: {error}. It was not committed past. \
                     {remedy}, then start again",
                    self.topic
                )));
            }
            let delay = next_delay(&mut delays);
            on_retry(&error.to_string(), delay);
            tokio::time::sleep(delay).await;
        }
    }

    /// What somebody can do about a topic that does not take a letter.
    async fn remedy(&self, letter: &DeadLetter, error: &KafkaError) -> String {
        match error.rdkafka_error_code() {
            Some(Code::InvalidRecord) => {
                return "A topic with cleanup.policy=compact takes no letter without a key, and forgets letters \
                        of one key: set cleanup.policy=delete"
                    .into();
            }
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {}
            _ => return "Look at the settings of that topic".into(),
        }
        let (settings, topic) = (self.settings.clone(), self.topic.clone());
        let asking = move || {
            let told = inspect::topic_settings(&settings, &[&topic], LIMIT_WITHIN).ok()?.pop()?;
            inspect::message_bytes_max(&told.ok()?)
        };
        let limit = match tokio::task::spawn_blocking(asking).await {
            Ok(Some(limit)) => format!("{limit} bytes a batch"),
            _ => "less".into(),
        };
        let own = self.config.get("message.max.bytes").unwrap_or_default();
        format!(
            "The letter has {} bytes and was sent alone and compressed, too; the topic takes {limit}, this \
             client sends up to {own} before compression (dlq.message.max.bytes). Give the topic a larger \
             max.message.bytes than the topic it serves",
            letter.bytes()
        )
    }

    /// Writes a dead letter once, with the client's own retries. A batch that is refused for its size is
    /// refused as a whole, so each letter of it is sent once more alone, compressed as well as can be. The
    /// order among letters is not kept by that, and is not promised.
    pub(crate) async fn attempt(&self, letter: &DeadLetter) -> Delivery {
        let first = self.deliver(&self.producer, letter).await;
        let (Delivery::Failed(error) | Delivery::Unknown(error)) = &first else { return first };
        if !is_too_large(error) {
            return first;
        }
        match self.alone() {
            Ok(alone) => self.deliver(&alone, letter).await,
            Err(err) => {
                tracing::warn!(error = %err, "no client for letters that are sent alone");
                first
            }
        }
    }

    fn alone(&self) -> Result<Arc<LastingProducer>> {
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*alone {
            return Ok(Arc::clone(made));
        }
        tracing::info!(
            topic = self.topic,
            "letters were refused for the size of their batch; each of such a batch is sent alone"
        );
        let config = kafka::alone(&self.config);
        let made = Arc::new(LastingProducer::new(config, "producer of single dead letters")?);
        *alone = Some(Arc::clone(&made));
        Ok(made)
    }

    async fn deliver(&self, producer: &LastingProducer, letter: &DeadLetter) -> Delivery {
        let record = RawRecord {
            topic: &self.topic,
            partition: None,
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
            headers: owned_headers(&letter.headers),
        };
        proven(producer.current().deliver(record).await)
    }

    /// As [`RawProducer::flush`].
    pub(crate) fn flush(&self, deadline: Duration) {
        self.producer.current().flush(deadline);
        let alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(alone) = alone {
            alone.current().flush(deadline);
        }
    }
}

/// A broker that has seen later letters answers one that it does not know as a duplicate, and the client takes
/// that for an acknowledgement without an offset. A letter is worth a second copy, so only a place counts.
fn proven(delivery: Delivery) -> Delivery {
    match delivery {
        Delivery::Acknowledged { offset, .. } if told_offset(offset).is_none() => {
            Delivery::Unknown(KafkaError::MessageProduction(Code::DuplicateSequenceNumber))
        }
        other => other,
    }
}

/// Whether it, or the batch that it went in, is larger than its topic takes.
fn is_too_large(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize))
}

/// How long a topic's limit is waited for, when it is to be named.
const LIMIT_WITHIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_without_a_place_is_not_taken_for_written() {
        let acknowledged = |offset| proven(Delivery::Acknowledged { partition: 0, offset });
        assert!(matches!(acknowledged(7), Delivery::Acknowledged { offset: 7, .. }));
        let Delivery::Unknown(error) = acknowledged(-1001) else { panic!("-1001 was believed") };
        assert_eq!(classify::dead_letter(&error), Decision::Retry);
    }
}
