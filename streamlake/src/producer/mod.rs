//! The ingestion boundary: validate, take the key, give an id, attach headers, produce, wait for the
//! delivery report, tell the caller.
//!
//! It does not transform, enrich, join, replay or write storage. An event that is not valid goes to
//! the dead-letter topic through a component of its own; a broker that is down never causes one.

pub mod delivery;

use crate::config::ProducerSettings;
use crate::dead_letter::{DeadLetter, DeadLetterWriter, Position, text_header};
use crate::error::Result;
use crate::kafka::{self, Role};
use crate::planted;
use crate::raw_zone::part::Header;
use crate::record::{self, Invalid};
use delivery::{Delivery, Done, LastingProducer, RawRecord};
use rdkafka::message::OwnedHeaders;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

/// An event as it reaches the boundary.
#[derive(Debug, Clone, Default)]
pub struct Event {
    /// The payload; it is sent as it is.
    pub value: Vec<u8>,
    /// A key to use instead of the payload's order id.
    pub key: Option<Vec<u8>>,
}

/// What became of an event.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The id given to the event at the boundary.
    pub ingestion_id: Uuid,
    /// The key it was sent with.
    pub key: Option<Vec<u8>>,
    /// What became of it.
    pub outcome: Outcome,
}

/// The four ways an event can end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log, acknowledged by as many replicas as the settings ask for.
    Acknowledged {
        /// The partition.
        partition: i32,
        /// The offset; negative where the broker has it and did not tell at which.
        offset: i64,
    },
    /// It is not valid, and it is in the dead-letter topic.
    Rejected {
        /// Why.
        reason: String,
        /// Where it is now.
        dead_letter: Position,
    },
    /// It is certainly not written. Sending it again makes no duplicate.
    Failed(String),
    /// It may be in the log or not. Sending it again may make a duplicate.
    Unknown(String),
}

/// Sends events of one dataset.
pub struct Producer {
    settings: ProducerSettings,
    raw: LastingProducer,
    dead_letters: Arc<DeadLetterWriter>,
    slots: Arc<Semaphore>,
}

impl Producer {
    /// A producer. No connection is waited for.
    pub fn new(settings: ProducerSettings) -> Result<Producer> {
        settings.check()?;
        let config = kafka::producer_config(&settings.kafka, Role::Producer)?;
        let raw = LastingProducer::new(config, "producer")?;
        let dead_letters = DeadLetterWriter::new(&settings.kafka, &settings.dead_letter_topic)?;
        let slots = Arc::new(Semaphore::new(settings.in_flight_max));
        let dead_letters = Arc::new(dead_letters);
        Ok(Producer { settings, raw, dead_letters, slots })
    }

    /// The properties in effect.
    pub fn effective(&self) -> BTreeMap<String, String> {
        self.raw.current().effective(Role::Producer)
    }

    /// The same of the client that writes dead letters.
    pub fn dead_letters_effective(&self) -> BTreeMap<String, String> {
        self.dead_letters.effective()
    }

    /// Sends one event and waits for its receipt.
    ///
    /// A caller that drops the future gives up the receipt, not the event: once it is on its way it
    /// is delivered all the same, and its outcome is logged.
    pub async fn send(&self, event: Event) -> Receipt {
        let (receipt, waiting) = oneshot::channel();
        let id = self.submit(event, move |done| {
            if let Err(done) = receipt.send(done) {
                tracing::warn!(ingestion_id = %done.ingestion_id, outcome = ?done.outcome,
                    "nobody waited for this receipt");
            }
        });
        let ingestion_id = id.await;
        waiting.await.unwrap_or_else(|_| Receipt {
            ingestion_id,
            key: None,
            outcome: Outcome::Unknown("the producer ended before it knew".into()),
        })
    }

    /// Sends one event; `on_receipt` is called exactly once, on another thread. Waits only for room:
    /// no more than `in_flight_max` events are on their way at a time, and a full queue waits.
    pub async fn submit(
        &self,
        event: Event,
        on_receipt: impl FnOnce(Receipt) + Send + Sync + 'static,
    ) -> Uuid {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let event = planted::event(event);
        let ingestion_id = planted::ingestion_id(Uuid::new_v4());
        let verdict = record::validate(self.settings.schema, Some(&event.value));
        match planted::boundary(planted::validated(verdict, Some(&event.value))) {
            Ok(valid) => {
                let from_payload = valid.key.as_deref().map(str::as_bytes);
                let key = planted::key(event.key.as_deref(), from_payload, &event.value);
                self.produce(ingestion_id, key, &event.value, slot, on_receipt).await;
            }
            Err(why) => {
                let headers = self.headers(planted::letters_id(ingestion_id));
                self.reject(ingestion_id, event, headers, why, slot, on_receipt);
            }
        }
        ingestion_id
    }

    async fn produce(
        &self,
        ingestion_id: Uuid,
        key: Option<&[u8]>,
        value: &[u8],
        slot: Option<OwnedSemaphorePermit>,
        on_receipt: impl FnOnce(Receipt) + Send + Sync + 'static,
    ) {
        let topic = self.settings.topic.as_str();
        let headers = self.kafka_headers(ingestion_id);
        let record = RawRecord { topic, partition: None, key, value: Some(value), headers };
        let key = planted::told_key(key, value).map(<[u8]>::to_vec);
        let key = key.map(planted::told_key_bytes);
        let done: Done = Box::new(move |delivery| {
            let outcome = planted::receipt(delivery);
            // The receipt first: who waits for all slots waits for all receipts.
            on_receipt(Receipt { ingestion_id: planted::told_id(ingestion_id), key, outcome });
            drop(slot);
        });
        planted::send(&self.raw.current(), record, done).await;
    }

    fn reject(
        &self,
        ingestion_id: Uuid,
        event: Event,
        headers: Vec<Header>,
        why: Invalid,
        slot: Option<OwnedSemaphorePermit>,
        on_receipt: impl FnOnce(Receipt) + Send + Sync + 'static,
    ) {
        let dead_letters = Arc::clone(&self.dead_letters);
        tokio::spawn(async move {
            let letter = DeadLetter::of_event(event.value, event.key.clone(), headers, &why);
            let outcome = match planted::reject(&dead_letters, letter).await {
                Delivery::Acknowledged { partition, offset } => Outcome::Rejected {
                    reason: planted::told_reason(why.reason),
                    dead_letter: planted::told_place(Position { partition, offset }),
                },
                Delivery::Failed(err) => {
                    Outcome::Failed(format!("not valid ({why}), and no dead letter: {err}"))
                }
                Delivery::Unknown(err) => Outcome::Unknown(format!(
                    "not valid ({why}), and it is not known whether the dead letter was written: {err}"
                )),
            };
            on_receipt(Receipt { ingestion_id, key: event.key, outcome });
            drop(slot);
        });
    }

    /// The headers straight in librdkafka's memory: the hot path's way.
    fn kafka_headers(&self, ingestion_id: Uuid) -> OwnedHeaders {
        let mut id = Uuid::encode_buffer();
        let id = ingestion_id.hyphenated().encode_lower(&mut id);
        let (now, an_hour_ago) =
            (planted::ingested_at(record::now_rfc3339()), planted::an_hour_ago());
        let values = [
            (record::HEADER_DATASET, self.settings.dataset.as_str()),
            (record::HEADER_SCHEMA_VERSION, record::SCHEMA_VERSION),
            (record::HEADER_INGESTION_ID, &*id),
            (record::HEADER_PRODUCER_SERVICE, record::PRODUCER_SERVICE),
            (record::HEADER_INGESTED_AT, now.as_str()),
        ];
        let values = planted::headers(values, &an_hour_ago);
        let empty = OwnedHeaders::new_with_capacity(values.len());
        let headers = values.into_iter().fold(empty, |headers, (key, value)| {
            headers.insert(rdkafka::message::Header { key, value: Some(value) })
        });
        planted::kafka_headers(headers, id)
    }

    fn headers(&self, ingestion_id: Uuid) -> Vec<Header> {
        vec![
            text_header(record::HEADER_DATASET, &self.settings.dataset),
            text_header(record::HEADER_SCHEMA_VERSION, record::SCHEMA_VERSION),
            text_header(record::HEADER_INGESTION_ID, &ingestion_id.to_string()),
            text_header(record::HEADER_PRODUCER_SERVICE, record::PRODUCER_SERVICE),
            text_header(record::HEADER_INGESTED_AT, &record::now_rfc3339()),
        ]
    }

    /// Waits until brokers refuse this producer (wrong credentials, a certificate that is not trusted)
    /// before anything was acknowledged, and says so with the remedy; for ever if they do not. The
    /// client would try on until `message.timeout.ms`.
    pub async fn refused(&self) -> crate::error::Error {
        self.raw.current().refused().await
    }

    /// Waits until every event has its receipt, blocking. What is left at the deadline is reported
    /// as failed if it never left this process, else as unknown.
    pub fn flush(&self, deadline: Duration) {
        self.raw.current().flush(deadline);
        self.dead_letters.flush(deadline);
    }

    /// Waits until every event has its receipt. Ends by itself, because the client gives every
    /// record an outcome within `message.timeout.ms`.
    pub async fn settle(&self) {
        let all = u32::try_from(self.settings.in_flight_max).unwrap_or(u32::MAX);
        let _ = self.slots.acquire_many(all).await;
    }
}
