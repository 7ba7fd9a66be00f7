//! Debezium's change events and the worker's offsets, as they stand in Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;
use serde_json::Value;

use crate::history::Recorder;
use crate::history::event::{ChangeEvent, Lsn, OffsetFlush, RowOperation};
use crate::observer::{Topics, reader};
use crate::workload::source::PREFIX;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The last of a partition's records with a position: a tombstone has none, its delete has.
const LAST_RECORDS: i64 = 2;

/// A record with its schema, where the converter writes one, or without.
fn payload(bytes: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match value {
        Value::Object(mut fields) if fields.contains_key("schema") => {
            Ok(fields.remove("payload").unwrap_or(Value::Null))
        }
        other => Ok(other),
    }
}

#[derive(Deserialize)]
struct Envelope {
    op: String,
    after: Option<Row>,
    source: Source,
}

#[derive(Deserialize)]
struct Row {
    revision: Option<u64>,
}

#[derive(Deserialize)]
struct Source {
    schema: String,
    table: String,
    lsn: Option<u64>,
    #[serde(rename = "txId")]
    transaction: Option<u64>,
    /// `"true"`, `"first"`, `"last"`, `"false"`, or absent.
    snapshot: Option<Value>,
}

/// What a record of a topic of change events says.
pub(crate) fn change_event(message: &BorrowedMessage<'_>, recorder: &Recorder) -> ChangeEvent {
    let topic = message.topic();
    let key = payload(message.key().unwrap_or_default());
    let table = topic.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.'));
    let mut event = ChangeEvent {
        topic: topic.to_owned(),
        partition: message.partition().unsigned_abs(),
        offset: message.offset().unsigned_abs(),
        at_us: recorder.run_us_of_wall_ms(message.timestamp().to_millis().unwrap_or(0)),
        table: table.unwrap_or(topic).to_owned(),
        key: key.as_ref().map(Value::to_string).unwrap_or_default(),
        operation: RowOperation::Tombstone,
        revision: None,
        lsn: None,
        transaction: None,
        snapshot: false,
        problem: key.err(),
    };
    if let Some(value) = message.payload()
        && let Err(problem) = fill(&mut event, value)
    {
        event.problem = Some(problem);
    }
    event
}

fn fill(event: &mut ChangeEvent, value: &[u8]) -> Result<(), String> {
    let envelope: Envelope =
        serde_json::from_value(payload(value)?).map_err(|error| error.to_string())?;
    event.operation = match envelope.op.as_str() {
        "c" => RowOperation::Insert,
        "u" => RowOperation::Update,
        "d" => RowOperation::Delete,
        "r" => RowOperation::Read,
        other => return Err(format!("unknown operation {other:?}")),
    };
    event.table = format!("{}.{}", envelope.source.schema, envelope.source.table);
    event.revision = envelope.after.and_then(|row| row.revision);
    event.lsn = envelope.source.lsn.map(Lsn);
    event.transaction = envelope.source.transaction;
    event.snapshot = match envelope.source.snapshot {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => text != "false",
        Some(_) => true,
    };
    Ok(())
}

/// What a record of the worker's topic of offsets says; none for a connector's removal.
pub(crate) fn offset_flush(
    message: &BorrowedMessage<'_>,
    recorder: &Recorder,
) -> Option<OffsetFlush> {
    let key: Vec<Value> = serde_json::from_slice(message.key()?).ok()?;
    let value = payload(message.payload()?).ok()?;
    Some(OffsetFlush {
        connector: key.first()?.as_str()?.to_owned(),
        offset: message.offset().unsigned_abs(),
        at_us: recorder.run_us_of_wall_ms(message.timestamp().to_millis().unwrap_or(0)),
        lsn: value.get("lsn").and_then(Value::as_u64).map(Lsn),
    })
}

/// Looks at the ends of topics of change events, again and again.
pub(crate) struct Ends {
    client: BaseConsumer,
    topics: Topics,
}

impl Ends {
    /// A look at topics.
    pub(crate) fn of(bootstrap: &str, topics: Topics) -> KafkaResult<Self> {
        Ok(Self { client: reader(bootstrap, "streamlake-harness-log-reader")?, topics })
    }

    /// The highest position among the last events of the partitions. Blocks.
    pub(crate) fn last_captured(&self) -> KafkaResult<Option<Lsn>> {
        let mut list = TopicPartitionList::new();
        let mut open = BTreeMap::new();
        for (topic, count) in &self.topics {
            for partition in 0..count.cast_signed() {
                let (low, high) = self.client.fetch_watermarks(topic, partition, ANSWER_WITHIN)?;
                if high > low {
                    let from = (high - LAST_RECORDS).max(low);
                    list.add_partition_offset(topic, partition, Offset::Offset(from))?;
                    open.insert((topic.clone(), partition), high);
                }
            }
        }
        self.client.assign(&list)?;
        let mut last = None;
        while !open.is_empty() {
            let Some(message) = self.client.poll(ANSWER_WITHIN) else { break };
            // The end of a partition comes as an error; its last record has come before it.
            let Ok(message) = message else { continue };
            last = last.max(message.payload().and_then(position));
            let place = (message.topic().to_owned(), message.partition());
            if open.get(&place).is_some_and(|high| message.offset() + 1 >= *high) {
                open.remove(&place);
            }
        }
        self.client.unassign()?;
        Ok(last)
    }
}

fn position(value: &[u8]) -> Option<Lsn> {
    let envelope: Envelope = serde_json::from_value(payload(value).ok()?).ok()?;
    envelope.source.lsn.map(Lsn)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn positions_are_read_with_and_without_a_schema() {
        let plain = r#"{"op":"c","after":{"id":1,"revision":9,"note":"x"},
            "source":{"schema":"public","table":"orders","lsn":26576168,"txId":745,"snapshot":"false"}}"#;
        assert_eq!(position(plain.as_bytes()), Some(Lsn(26_576_168)));
        let wrapped = format!("{{\"schema\":{{}},\"payload\":{plain}}}");
        assert_eq!(position(wrapped.as_bytes()), Some(Lsn(26_576_168)));
        assert_eq!(position(b"{}"), None);
    }
}
