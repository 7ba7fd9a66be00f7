//! Writes the odd records of a load, with a client of the harness, and records what became of each.
//!
//! It takes the harness's own way to the brokers, so that a broken path between clients and brokers does not
//! touch it; a broker that is away makes it wait. A client that is stuck after that (librdkafka issue 5430)
//! hands back what it never sent, and another one sends it.

#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message as _};
use rdkafka::producer::{Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::WorkloadPlan;
use super::odd::{self, Midnight, OddRecord, RawHeader};
use crate::observer::Brokers;
use streamlake_history::Recorder;
use streamlake_history::event::{Blob, Completed, Fact, HeaderPair, Invoked, Outcome, Print};

/// Its name in a history.
const WRITER: &str = "writer-1";
/// What is not acknowledged within this time is unknown.
const DELIVERED_WITHIN: Duration = Duration::from_secs(75);
/// A client that has records and gets no receipt for so long is replaced.
const STUCK_AFTER: Duration = Duration::from_secs(20);
/// How often receipts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the clients of one load know together.
struct Shared {
    recorder: Recorder,
    /// By operation, counted from the first odd one: the id that the record bears.
    ids: Vec<Option<String>>,
    first: u64,
    standing: Mutex<Standing>,
}

#[derive(Debug)]
struct Standing {
    last_receipt: Instant,
    /// Handed back by a client that never sent them.
    never_sent: Vec<usize>,
}

impl Shared {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn completed(&self, number: usize, outcome: Outcome) {
        let ingestion_id = self.ids.get(number).cloned().flatten();
        let completed = Completed::new(self.first + number as u64, ingestion_id, outcome);
        self.recorder.record(WRITER, Fact::Completed(completed));
    }
}

/// Records receipts as they come.
struct Receipts(Arc<Shared>);

impl ClientContext for Receipts {}

impl ProducerContext for Receipts {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let shared = &self.0;
        let outcome = match result {
            Ok(message) => Outcome::Acknowledged {
                topic: message.topic().to_owned(),
                partition: message.partition().unsigned_abs(),
                offset: message.offset().unsigned_abs(),
            },
            Err((error, message)) if was_handed_back(error, message) => {
                shared.standing().never_sent.push(number);
                return;
            }
            Err((error, _)) => Outcome::Unknown { error: error.to_string() },
        };
        shared.standing().last_receipt = Instant::now();
        shared.completed(number, outcome);
    }
}

/// Whether a record was taken out of the client's queue and is certainly not in the log.
fn was_handed_back(error: &KafkaError, message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is valid during the callback that it was given to.
    let status = unsafe { rdsys::rd_kafka_message_status(message.ptr()) };
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::PurgeQueue)
        && status == rdsys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

type Client = ThreadedProducer<Receipts>;

fn client(brokers: &Brokers, shared: &Arc<Shared>) -> KafkaResult<Client> {
    let mut config = ClientConfig::new();
    brokers.apply(&mut config);
    config
        // The faults on the clients' path leave it alone.
        .set("client.id", "streamlake-harness-writer")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .set("message.max.bytes", "16777216")
        .set("reconnect.backoff.max.ms", "500")
        .set("message.timeout.ms", DELIVERED_WITHIN.as_millis().to_string())
        .create_with_context(Receipts(Arc::clone(shared)))
}

/// Writes the odd records of a load when they are due, and waits for their receipts.
///
/// # Errors
/// When no client can be made, or it refuses a record.
pub(crate) async fn write(
    brokers: &Brokers,
    plan: &WorkloadPlan,
    recorder: &Recorder,
    stop: &CancellationToken,
) -> KafkaResult<()> {
    let mut records = odd::records(plan, &Midnight::before(chrono::Utc::now()));
    if records.is_empty() {
        return Ok(());
    }
    let shared = Arc::new(Shared {
        recorder: recorder.clone(),
        ids: records.iter().map(|record| text(&record.headers, "ingestion_id")).collect(),
        first: plan.operations,
        standing: Mutex::new(Standing { last_receipt: Instant::now(), never_sent: Vec::new() }),
    });
    let mut clients = Clients { current: client(brokers, &shared)?, shared, brokers, plan };
    let begin = Instant::now();
    for number in 0..records.len() {
        let due = begin + records[number].due;
        while Instant::now() < due && !stop.is_cancelled() {
            clients.look_after(&records)?;
            tokio::select! {
                () = tokio::time::sleep_until(due.min(Instant::now() + LOOK_EVERY)) => {}
                () = stop.cancelled() => {}
            }
        }
        if stop.is_cancelled() {
            break;
        }
        let record = &mut records[number];
        if text(&record.headers, "ingested_at").as_deref() == Some("") {
            let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            odd::fill(&mut record.headers, "ingested_at", &now);
        }
        recorder.record(WRITER, Fact::Invoked(invoked(plan, record)));
        clients.send(number, record)?;
    }
    let end = Instant::now() + DELIVERED_WITHIN;
    while clients.waiting() {
        if Instant::now() >= end {
            clients.give_up();
            return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
        }
        clients.look_after(&records)?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// The client that writes, and what it takes to replace it.
struct Clients<'a> {
    current: Client,
    shared: Arc<Shared>,
    brokers: &'a Brokers,
    plan: &'a WorkloadPlan,
}

impl Clients<'_> {
    /// Whether a receipt is still to come.
    fn waiting(&self) -> bool {
        self.current.in_flight_count() > 0 || !self.shared.standing().never_sent.is_empty()
    }

    fn send(&self, number: usize, record: &OddRecord) -> KafkaResult<()> {
        let mut standing = self.shared.standing();
        if standing.never_sent.is_empty() {
            drop(standing);
            return send(&self.current, &self.plan.topic, record, number);
        }
        // Behind those that wait for another client.
        standing.never_sent.push(number);
        Ok(())
    }

    /// Nothing is waited for any longer: what was never sent is told as unknown like all the others.
    fn give_up(&self) {
        self.current.purge(PurgeConfig::default().queue().inflight());
        if let Err(error) = self.current.flush(Duration::from_secs(5)) {
            tracing::warn!(%error, "not all odd records have their receipt");
        }
        let never_sent = std::mem::take(&mut self.shared.standing().never_sent);
        for number in never_sent {
            self.shared.completed(number, Outcome::Unknown { error: "never sent".to_owned() });
        }
    }

    /// Replaces a client that is stuck. It keeps its records in their order, so those that it hands back
    /// are sent again in theirs.
    fn look_after(&mut self, records: &[OddRecord]) -> KafkaResult<()> {
        let silent = self.shared.standing().last_receipt.elapsed();
        if self.current.in_flight_count() == 0 {
            // Nothing is waited for, so nothing is late.
            self.shared.standing().last_receipt = Instant::now();
        } else if silent > STUCK_AFTER {
            self.current.purge(PurgeConfig::default().queue());
            self.shared.standing().last_receipt = Instant::now();
        }
        // Not before the old client has told of all: what it may have sent comes first.
        if self.current.in_flight_count() > 0 {
            return Ok(());
        }
        let mut never_sent = std::mem::take(&mut self.shared.standing().never_sent);
        if never_sent.is_empty() {
            return Ok(());
        }
        never_sent.sort_unstable();
        tracing::warn!(
            records = never_sent.len(),
            "the client of the odd records was stuck; another one goes on"
        );
        self.current = client(self.brokers, &self.shared)?;
        for number in never_sent {
            send(&self.current, &self.plan.topic, &records[number], number)?;
        }
        Ok(())
    }
}

fn invoked(plan: &WorkloadPlan, record: &OddRecord) -> Invoked {
    let value = record.value.as_deref();
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| HeaderPair::of(name, value.as_deref()));
    Invoked {
        op: record.op,
        topic: plan.topic.clone(),
        key: record.key.clone().map(Blob),
        value: Print::of_value(value),
        bytes: value.map_or(0, <[u8]>::len) as u64,
        poison: record.poison,
        key_beside: false,
        header_list: Some(headers.collect()),
    }
}

fn text(headers: &[RawHeader], name: &str) -> Option<String> {
    let (_, value) = headers.iter().find(|(known, _)| known == name.as_bytes())?;
    Some(String::from_utf8_lossy(value.as_deref()?).into_owned())
}

/// Hands a record to the client. `rdkafka` takes names of headers as text only, so this goes to librdkafka
/// itself; the receipt comes to the context with `number`, as for `rdkafka`'s own records.
fn send(producer: &Client, topic: &str, record: &OddRecord, number: usize) -> KafkaResult<()> {
    use rdsys::rd_kafka_vtype_t::{
        RD_KAFKA_VTYPE_END, RD_KAFKA_VTYPE_HEADERS, RD_KAFKA_VTYPE_KEY, RD_KAFKA_VTYPE_MSGFLAGS,
        RD_KAFKA_VTYPE_OPAQUE, RD_KAFKA_VTYPE_PARTITION, RD_KAFKA_VTYPE_TIMESTAMP,
        RD_KAFKA_VTYPE_TOPIC, RD_KAFKA_VTYPE_VALUE,
    };
    let topic = CString::new(topic)?;
    let (key, key_bytes) = raw(record.key.as_deref());
    let (value, value_bytes) = raw(record.value.as_deref());
    let partition = record.partition.and_then(|number| i32::try_from(number).ok());
    // SAFETY: the client outlives the call; key, value and topic are valid during it and are copied
    // (MSG_F_COPY); the headers go over to librdkafka when it takes the record, else they are destroyed
    // here. The arguments are those that librdkafka documents for each tag, and END ends them.
    let answer = unsafe {
        let headers = rdsys::rd_kafka_headers_new(record.headers.len());
        for (name, value) in &record.headers {
            let (value, bytes) = raw(value.as_deref());
            let length = isize::try_from(name.len()).unwrap_or(0);
            let bytes = isize::try_from(bytes).unwrap_or(0);
            rdsys::rd_kafka_header_add(headers, name.as_ptr().cast(), length, value, bytes);
        }
        let answer = rdsys::rd_kafka_producev(
            producer.client().native_ptr(),
            RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            RD_KAFKA_VTYPE_PARTITION,
            partition.unwrap_or(-1),
            RD_KAFKA_VTYPE_MSGFLAGS,
            rdsys::RD_KAFKA_MSG_F_COPY,
            RD_KAFKA_VTYPE_VALUE,
            value,
            value_bytes,
            RD_KAFKA_VTYPE_KEY,
            key,
            key_bytes,
            RD_KAFKA_VTYPE_OPAQUE,
            number as *mut c_void,
            RD_KAFKA_VTYPE_TIMESTAMP,
            // 0 is now.
            record.timestamp_ms.unwrap_or(0),
            RD_KAFKA_VTYPE_HEADERS,
            headers,
            RD_KAFKA_VTYPE_END,
        );
        if answer != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            rdsys::rd_kafka_headers_destroy(headers);
        }
        answer
    };
    match answer {
        rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(KafkaError::MessageProduction(error.into())),
    }
}

/// A pointer and a length; null for none.
fn raw(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    match bytes {
        None => (ptr::null(), 0),
        // Not the slice's own pointer, which dangles and says nothing.
        Some([]) => (c"".as_ptr().cast(), 0),
        Some(bytes) => (bytes.as_ptr().cast(), bytes.len()),
    }
}
