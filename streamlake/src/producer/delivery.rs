//! A librdkafka producer whose every record ends in one of three ways, and says so exactly once.

use crate::classify::{self, Decision, Phase};
use crate::error::{Error, Result};
use crate::kafka::{self, Role};
use crate::native::{self, Persistence};
use crate::raw_zone::part::Header;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as KafkaHeader, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig, ThreadedProducer,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How one record ended.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// It is in the log.
    Acknowledged {
        /// The partition that it is in.
        partition: i32,
        /// Its offset; [`told_offset`] for one that the broker did not tell.
        offset: i64,
    },
    /// It is certainly not in the log.
    Failed(KafkaError),
    /// It may be in the log or not.
    Unknown(KafkaError),
}

/// An offset as people are told it. None where the broker said that it has the record already, and not
/// where: librdkafka then reports an acknowledgement at the offset −1001.
pub(crate) fn told_offset(offset: i64) -> Option<i64> {
    (offset >= 0).then_some(offset)
}

/// A failure as people are told it. A broker judges the batch, and the error names the message.
pub(crate) fn told_error(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => format!(
            "{error}: the record, or the batch of others that it went in (batch.size), is larger than the \
             topic's max.message.bytes"
        ),
        _ => error.to_string(),
    }
}

/// What is called with the outcome, on the producer's polling thread: it must not block.
pub(crate) type Done = Box<dyn FnOnce(Delivery) + Send + Sync>;

/// A record to be sent.
#[derive(Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: OwnedHeaders,
}

struct Reports {
    /// Something was acknowledged: from then on a refusal is weather.
    worked: AtomicBool,
    /// What brokers refused this client with, before anything was acknowledged.
    refused: watch::Sender<Option<(KafkaError, String)>>,
    /// A record failed since the client was last asked whether it is spent.
    failed: AtomicBool,
    /// Told at each delivery while somebody waits for room in the queue.
    room: Notify,
    waiting: AtomicBool,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let phase = match self.worked.load(Ordering::Relaxed) {
            true => Phase::Running,
            false => Phase::StartUp,
        };
        if classify::connection(&error, reason, phase) == Decision::Stop {
            self.refused.send_replace(Some((error.clone(), reason.to_owned())));
        }
        // The client has logged it already, and keeps its repetitions short.
        tracing::debug!(error = %error, reason, "the producer reports");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Done>;

    fn delivery(&self, result: &DeliveryResult<'_>, done: Self::DeliveryOpaque) {
        let delivery = match result {
            Ok(message) => {
                self.worked.store(true, Ordering::Relaxed);
                Delivery::Acknowledged { partition: message.partition(), offset: message.offset() }
            }
            Err((error, message)) => {
                self.failed.store(true, Ordering::Relaxed);
                match native::persistence(message) {
                    Persistence::Not => Delivery::Failed(error.clone()),
                    Persistence::Possibly => Delivery::Unknown(error.clone()),
                }
            }
        };
        done(delivery);
        // Nearly always nobody waits, and telling nobody would still take a lock a record.
        if self.waiting.load(Ordering::Relaxed) {
            self.room.notify_waiters();
        }
    }
}

/// A producer.
pub(crate) struct RawProducer {
    inner: ThreadedProducer<Reports>,
    reports: Arc<Reports>,
}

impl RawProducer {
    pub(crate) fn new(config: &ClientConfig) -> Result<RawProducer> {
        let context = Reports {
            worked: AtomicBool::new(false),
            refused: watch::Sender::new(None),
            failed: AtomicBool::new(false),
            room: Notify::new(),
            waiting: AtomicBool::new(false),
        };
        let inner: ThreadedProducer<Reports> =
            config.create_with_context(context).map_err(kafka::not_created)?;
        let reports = Arc::clone(inner.context());
        Ok(RawProducer { inner, reports })
    }

    /// Whether a fatal error has ended this producer's life. The client itself is asked, because the event
    /// that is to tell of it was seen not to come; but only after a record failed, because asking for each
    /// one would cost more than sending it.
    fn is_spent(&self) -> bool {
        if !self.reports.failed.swap(false, Ordering::Relaxed) {
            return false;
        }
        let spent = self.inner.client().fatal_error().is_some();
        if spent {
            // Whoever asks next is to hear the same.
            self.reports.failed.store(true, Ordering::Relaxed);
        }
        spent
    }

    /// Waits until brokers refuse this client before anything was acknowledged; for ever if they do
    /// not.
    pub(crate) async fn refused(&self) -> Error {
        let mut told = self.reports.refused.subscribe();
        match told.wait_for(Option::is_some).await.as_deref() {
            Ok(Some((err, reason))) => kafka::refused(err, reason),
            // The sender lives as long as this producer.
            _ => std::future::pending().await,
        }
    }

    /// The properties in effect.
    pub(crate) fn effective(&self, role: Role) -> BTreeMap<String, String> {
        kafka::effective(self.inner.client(), role)
    }

    /// Puts a record into the queue, waiting for room. `done` is called exactly once.
    pub(crate) async fn send(&self, record: RawRecord<'_>, done: Done) {
        let mut next = BaseRecord::with_opaque_to(record.topic, Box::new(done));
        next.key = record.key;
        next.payload = record.value;
        next.partition = record.partition;
        next.timestamp = crate::planted::timestamp(record.value, &record.headers);
        next.headers = Some(record.headers);
        loop {
            match self.inner.send(next) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    next = back;
                    self.reports.waiting.store(true, Ordering::Relaxed);
                    // A delivery may have slipped by before this line: look again soon.
                    let room = self.reports.room.notified();
                    let _ = tokio::time::timeout(Duration::from_millis(20), room).await;
                    self.reports.waiting.store(false, Ordering::Relaxed);
                }
                Err((error, back)) => {
                    // Never enqueued, so certainly not written.
                    self.reports.failed.store(true, Ordering::Relaxed);
                    (back.delivery_opaque)(Delivery::Failed(error));
                    return;
                }
            }
        }
    }

    /// Sends one record and waits for its outcome.
    pub(crate) async fn deliver(&self, record: RawRecord<'_>) -> Delivery {
        let (outcome, waiting) = tokio::sync::oneshot::channel();
        let done: Done = Box::new(move |delivery| {
            if let Err(Delivery::Failed(err) | Delivery::Unknown(err)) = outcome.send(delivery) {
                tracing::warn!(error = %err, "nobody waited for a record that was not delivered");
            }
        });
        self.send(record, done).await;
        waiting.await.unwrap_or(Delivery::Unknown(KafkaError::Canceled))
    }

    /// Waits until every record has its outcome. What is left at the deadline is purged, which gives
    /// it an outcome too: failed if it never left, else unknown.
    pub(crate) fn flush(&self, deadline: Duration) {
        if self.inner.flush(deadline).is_err() {
            self.inner.purge(PurgeConfig::default().queue().inflight());
            let _ = self.inner.flush(Duration::from_secs(1));
        }
    }
}

/// How long a spent producer may take to give its last records their outcomes.
const LAST_OUTCOMES: Duration = Duration::from_secs(30);

/// A producer that outlives its client: an idempotent one that met a fatal error refuses everything from
/// then on, and another takes its place.
pub(crate) struct LastingProducer {
    config: ClientConfig,
    /// As people are told of it.
    name: &'static str,
    current: Mutex<Arc<RawProducer>>,
}

impl LastingProducer {
    pub(crate) fn new(config: ClientConfig, name: &'static str) -> Result<LastingProducer> {
        let current = Mutex::new(Arc::new(RawProducer::new(&config)?));
        Ok(LastingProducer { config, name, current })
    }

    /// The producer to send with.
    pub(crate) fn current(&self) -> Arc<RawProducer> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_spent() {
            match RawProducer::new(&self.config) {
                Ok(fresh) => {
                    tracing::warn!("the {} was replaced after a fatal error", self.name);
                    let spent = std::mem::replace(&mut *current, Arc::new(fresh));
                    // A client that is dropped with records on their way would forget their outcomes.
                    std::thread::spawn(move || spent.flush(LAST_OUTCOMES));
                }
                Err(err) => tracing::error!(error = %err, "the {} cannot be replaced", self.name),
            }
        }
        Arc::clone(&current)
    }
}

/// librdkafka's headers. Names are text there; the rare one that is not UTF-8 is repaired.
pub(crate) fn owned_headers(headers: &[Header]) -> OwnedHeaders {
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for (name, value) in headers {
        let key: Cow<'_, str> = String::from_utf8_lossy(name);
        owned = owned.insert(KafkaHeader { key: &key, value: value.as_deref() });
    }
    owned
}
