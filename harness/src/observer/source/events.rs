//! Debezium's change events and the worker's offsets, as they stand in Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, Timestamp, TopicPartitionList};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::values;
use crate::observer::{Brokers, Topics, committed_reader};
use crate::workload::source::PREFIX;
use streamlake_history::Recorder;
use streamlake_history::event::{ChangeEvent, Lsn, OffsetFlush, RowImage, RowOperation};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The last of a partition's records with a position: a tombstone has none, its delete has.
const LAST_RECORDS: i64 = 2;

/// A record without its schema, if the converter wrote one.
fn payload(bytes: &[u8]) -> Result<Value, String> {
    typed(bytes).map(|(payload, _)| payload)
}

/// A record, and the schema that the converter wrote beside it, if it did.
fn typed(bytes: &[u8]) -> Result<(Value, Option<Value>), String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match value {
        Value::Object(mut fields) if fields.contains_key("schema") => {
            let schema = fields.remove("schema").filter(|schema| !schema.is_null());
            Ok((fields.remove("payload").unwrap_or(Value::Null), schema))
        }
        other => Ok((other, None)),
    }
}

#[derive(Deserialize)]
struct Envelope {
    op: String,
    #[serde(default)]
    before: Option<Map<String, Value>>,
    #[serde(default)]
    after: Option<Map<String, Value>>,
    source: Source,
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
    ts_us: Option<i64>,
    ts_ms: Option<i64>,
}

/// A row in the spelling of a history; `image` is `before` or `after`.
fn row(fields: &Map<String, Value>, schema: Option<&Value>, image: &str) -> RowImage {
    let field_of = |schema: Option<&Value>, name: &str| -> Option<Value> {
        let fields = schema?.get("fields")?.as_array()?;
        fields.iter().find(|f| f.get("field").and_then(Value::as_str) == Some(name)).cloned()
    };
    let schema = field_of(schema, image);
    let column = |(name, value): (&String, &Value)| {
        let field = field_of(schema.as_ref(), name);
        (name.clone(), values::of_event(value, field.as_ref()))
    };
    fields.iter().map(column).collect()
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
        committed_us: None,
        before: None,
        after: None,
        untyped: false,
        producer_time: !matches!(message.timestamp(), Timestamp::LogAppendTime(_)),
    };
    if let Some(value) = message.payload()
        && let Err(problem) = fill(&mut event, value, recorder)
    {
        event.problem = Some(problem);
    }
    event
}

fn fill(event: &mut ChangeEvent, value: &[u8], recorder: &Recorder) -> Result<(), String> {
    let (payload, schema) = typed(value)?;
    let envelope: Envelope = serde_json::from_value(payload).map_err(|error| error.to_string())?;
    event.operation = match envelope.op.as_str() {
        "c" => RowOperation::Insert,
        "u" => RowOperation::Update,
        "d" => RowOperation::Delete,
        "r" => RowOperation::Read,
        other => return Err(format!("unknown operation {other:?}")),
    };
    event.table = format!("{}.{}", envelope.source.schema, envelope.source.table);
    let revision = envelope.after.as_ref().and_then(|row| row.get("revision"));
    event.revision = revision.and_then(Value::as_u64);
    let image = |fields: &Option<Map<String, Value>>, image| {
        fields.as_ref().map(|fields| row(fields, schema.as_ref(), image))
    };
    event.before = image(&envelope.before, "before");
    event.after = image(&envelope.after, "after");
    event.untyped = schema.is_none();
    let at_us = envelope.source.ts_us.or(envelope.source.ts_ms.map(|ms| ms.saturating_mul(1000)));
    event.committed_us = at_us.map(|us| recorder.run_us_of_wall_us(us));
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
        snapshot: value.get("snapshot_completed") == Some(&Value::Bool(false)),
    })
}

/// Looks at the ends of topics of change events, again and again.
pub(crate) struct Ends {
    client: BaseConsumer,
    topics: Topics,
    tombstones: bool,
}

impl Ends {
    /// A look at topics. With `tombstones`, each delete is to be followed by one.
    pub(crate) fn of(brokers: &Brokers, topics: Topics, tombstones: bool) -> KafkaResult<Self> {
        let client = committed_reader(brokers, "streamlake-harness-log-reader")?;
        Ok(Self { client, topics, tombstones })
    }

    /// The highest position among the last events of the partitions; none while the tombstone of one
    /// of them is still to come. Blocks.
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
        let (mut last, mut unfinished) = (None, false);
        while !open.is_empty() {
            let Some(message) = self.client.poll(ANSWER_WITHIN) else { break };
            // The end of a partition comes as an error; its last record has come before it.
            let Ok(message) = message else { continue };
            last = last.max(message.payload().and_then(position));
            let place = (message.topic().to_owned(), message.partition());
            if open.get(&place).is_some_and(|high| message.offset() + 1 >= *high) {
                open.remove(&place);
                unfinished |= self.tombstones && message.payload().is_some_and(deletes);
            }
        }
        self.client.unassign()?;
        Ok(last.filter(|_| !unfinished))
    }
}

fn deletes(value: &[u8]) -> bool {
    let envelope = payload(value).ok().and_then(|value| serde_json::from_value(value).ok());
    envelope.is_some_and(|envelope: Envelope| envelope.op == "d")
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
    fn rows_are_read_by_their_schema() {
        let schema = serde_json::json!({"fields": [{"field": "after", "fields": [
            {"field": "amount", "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
             "parameters": {"scale": "2"}}, {"field": "note", "type": "string"}]}]});
        let fields = serde_json::json!({"amount": "BM4=", "note": null});
        let read = row(fields.as_object().unwrap(), Some(&schema), "after");
        let is = serde_json::to_string(&read).unwrap();
        assert_eq!(is, "{\"amount\":\"12.3\",\"note\":null}");
    }

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
