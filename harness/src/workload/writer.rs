//! Writes the odd records of a load, with a client of the harness, and records what became of each.
//!
//! It takes the harness's own way to the brokers, so that a broken path between clients and brokers does not
//! touch it; a broker that is away makes it wait.

#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::WorkloadPlan;
use super::odd::{self, Midnight, OddRecord, RawHeader};
use streamlake_history::Recorder;
use streamlake_history::event::{Blob, Completed, Fact, HeaderPair, Invoked, Outcome, Print};

/// Its name in a history.
const WRITER: &str = "writer-1";
/// What is not acknowledged within this time is unknown.
const DELIVERED_WITHIN: Duration = Duration::from_secs(75);

/// Records receipts as they come.
struct Receipts {
    recorder: Recorder,
    /// By operation, counted from the first odd one: the id that the record bears.
    ids: Vec<Option<String>>,
    first: u64,
}

impl ClientContext for Receipts {}

impl ProducerContext for Receipts {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(message) => Outcome::Acknowledged {
                topic: message.topic().to_owned(),
                partition: message.partition().unsigned_abs(),
                offset: message.offset().unsigned_abs(),
            },
            Err((error, _)) => Outcome::Unknown { error: error.to_string() },
        };
        let completed = Completed {
            op: self.first + number as u64,
            ingestion_id: self.ids.get(number).cloned().flatten(),
            outcome,
        };
        self.recorder.record(WRITER, Fact::Completed(completed));
    }
}

/// Writes the odd records of a load when they are due, and waits for their receipts.
///
/// # Errors
/// When no client can be made, or it refuses a record.
pub(crate) async fn write(
    bootstrap: &str,
    plan: &WorkloadPlan,
    recorder: &Recorder,
    stop: &CancellationToken,
) -> KafkaResult<()> {
    let mut records = odd::records(plan, &Midnight::before(chrono::Utc::now()));
    if records.is_empty() {
        return Ok(());
    }
    let ids = records.iter().map(|record| text(&record.headers, "ingestion_id")).collect();
    let receipts = Receipts { recorder: recorder.clone(), ids, first: plan.operations };
    let producer: ThreadedProducer<Receipts> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        // The faults on the clients' path leave it alone.
        .set("client.id", "streamlake-harness-writer")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .set("message.max.bytes", "16777216")
        .set("reconnect.backoff.max.ms", "500")
        .set("message.timeout.ms", DELIVERED_WITHIN.as_millis().to_string())
        .create_with_context(receipts)?;
    let begin = Instant::now();
    for (number, record) in records.iter_mut().enumerate() {
        tokio::select! {
            () = tokio::time::sleep_until(begin + record.due) => {}
            () = stop.cancelled() => break,
        }
        if text(&record.headers, "ingested_at").as_deref() == Some("") {
            let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            odd::fill(&mut record.headers, "ingested_at", &now);
        }
        recorder.record(WRITER, Fact::Invoked(invoked(plan, record)));
        send(&producer, &plan.topic, record, number)?;
    }
    let flushed = tokio::task::spawn_blocking(move || producer.flush(DELIVERED_WITHIN));
    flushed.await.unwrap_or(Err(KafkaError::Canceled))
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
fn send(
    producer: &ThreadedProducer<Receipts>,
    topic: &str,
    record: &OddRecord,
    number: usize,
) -> KafkaResult<()> {
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
