//! What Kafka's VerifiableProducer and VerifiableConsumer print.
//!
//! The producer names its records by their values and prints an acknowledgement with partition and
//! offset, or an error. A send that only shows as an error is *unknown*: the tool retries within its
//! client and does not say which errors are certain. The consumer prints how many records it took
//! from each partition and between which offsets, and what it committed; with `--verbose` each
//! record. There is no invocation in the output: the acknowledgement stands for both, so nothing is
//! known of latencies, of operations in flight, or of operations that never ended.

use serde::Deserialize;

use super::told::Told;
use crate::history::event::*;

#[derive(Deserialize)]
struct Line {
    timestamp: Option<i64>,
    name: String,
    // Producer.
    key: Option<String>,
    value: Option<String>,
    topic: Option<String>,
    partition: Option<i64>,
    offset: Option<i64>,
    message: Option<String>,
    // Consumer.
    partitions: Option<Vec<Span>>,
    offsets: Option<Vec<Span>>,
    success: Option<bool>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    topic: String,
    partition: i64,
    min_offset: Option<i64>,
    max_offset: Option<i64>,
    offset: Option<i64>,
}

/// Records in one line of `records_consumed` at most: a line claims a range, and ranges are cheap
/// to claim.
const RANGE_MAX: i64 = 10_000_000;

/// Takes one line in. The file's name is the process; of a consumer, `GROUP/MEMBER`.
pub(super) fn take(told: &mut Told, file: &str, text: &str) -> Result<(), String> {
    // Both tools share their output with log lines of the client.
    if !text.starts_with('{') {
        return Ok(());
    }
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let t_us = line.timestamp.map(|ms| told.at(ms));
    let (group, member) = file.split_once('/').unwrap_or((file, file));
    match line.name.as_str() {
        "producer_send_success" | "producer_send_error" => produced(told, file, t_us, line),
        "record_data" => recorded(told, line),
        "records_consumed" => {
            told.group(group);
            consumed(told, file, (group, member), t_us, &line.partitions.unwrap_or_default())
        }
        "offsets_committed" if line.success == Some(false) => {
            let text = format!("a commit failed: {}", line.error.unwrap_or_default());
            told.tell(t_us, file, Fact::Note { level: "warning".to_owned(), text });
            Ok(())
        }
        "offsets_committed" => {
            told.group(group);
            committed(told, file, group, t_us, &line.offsets.unwrap_or_default())
        }
        "partitions_assigned" | "partitions_revoked" => {
            told.group(group);
            let change = match line.name.as_str() {
                "partitions_assigned" => AssignmentChange::Assigned,
                _ => AssignmentChange::Revoked,
            };
            assigned(
                told,
                file,
                (group, member),
                t_us,
                change,
                &line.partitions.unwrap_or_default(),
            )
        }
        "startup_complete" | "shutdown_complete" | "tool_data" => Ok(()),
        other => {
            Err(format!("`{}` is not an event of Kafka's verifiable clients", other.escape_debug()))
        }
    }
}

fn produced(told: &mut Told, file: &str, t_us: Option<u64>, line: Line) -> Result<(), String> {
    told.vouch(Evidence::Receipts);
    let topic = line.topic.ok_or("without a topic")?;
    let value = line.value.ok_or("without a value")?;
    let op = told.fresh_op();
    told.topic(&topic);
    let key = line.key.map(|key| Blob(key.into_bytes()));
    let (print, bytes) = (Print::of(value.as_bytes()), value.len() as u64);
    let invoked = Invoked { op, topic: topic.clone(), key, value: print, bytes, poison: false };
    let outcome = match (line.name.as_str(), line.partition, line.offset) {
        ("producer_send_success", Some(partition), Some(offset)) => {
            let (partition, offset) = told.place(&topic, partition, offset)?;
            Outcome::Acknowledged { topic, partition, offset }
        }
        ("producer_send_success", ..) => return Err("without partition and offset".to_owned()),
        _ => Outcome::Unknown { error: line.message.unwrap_or_default() },
    };
    told.tell(t_us, file, Fact::Invoked(invoked));
    let completed = Completed { op, ingestion_id: None, outcome };
    told.tell(t_us, file, Fact::Completed(completed));
    Ok(())
}

/// With `--verbose` the consumer shows each record; that is its content, but no reading of the log
/// to its end. The delivery itself is told by `records_consumed`.
fn recorded(told: &mut Told, line: Line) -> Result<(), String> {
    let (Some(topic), Some(partition), Some(offset)) = (line.topic, line.partition, line.offset)
    else {
        return Err("without topic, partition and offset".to_owned());
    };
    told.place(&topic, partition, offset).map(|_| ())
}

fn consumed(
    told: &mut Told,
    file: &str,
    (group, member): (&str, &str),
    t_us: Option<u64>,
    spans: &[Span],
) -> Result<(), String> {
    for span in spans {
        let (Some(first), Some(last)) = (span.min_offset, span.max_offset) else {
            return Err("records_consumed without minOffset and maxOffset".to_owned());
        };
        if last < first || last - first > RANGE_MAX {
            return Err(format!("the range {first} to {last} cannot be one poll"));
        }
        for offset in first..=last {
            let (partition, offset) = told.place(&span.topic, span.partition, offset)?;
            let (group, member, topic) = (group.to_owned(), member.to_owned(), span.topic.clone());
            let read = Read { group, member, topic, partition, offset, value: None };
            told.tell(t_us, file, Fact::Read(read));
        }
    }
    Ok(())
}

fn committed(
    told: &mut Told,
    file: &str,
    group: &str,
    t_us: Option<u64>,
    spans: &[Span],
) -> Result<(), String> {
    told.vouch(Evidence::CommitsComplete);
    let at_us = t_us.ok_or("a commit without a timestamp")?;
    for span in spans {
        let offset = span.offset.ok_or("a commit without an offset")?;
        let (partition, offset) = told.place(&span.topic, span.partition, offset)?;
        let (group, topic) = (group.to_owned(), span.topic.clone());
        let fact = Committed { group, topic, partition, offset, at_us, exact: true };
        told.tell(t_us, file, Fact::Committed(fact));
    }
    Ok(())
}

fn assigned(
    told: &mut Told,
    file: &str,
    (group, member): (&str, &str),
    t_us: Option<u64>,
    change: AssignmentChange,
    spans: &[Span],
) -> Result<(), String> {
    for span in spans {
        let (partition, _) = told.place(&span.topic, span.partition, 0)?;
        let (group, member, topic) = (group.to_owned(), member.to_owned(), span.topic.clone());
        let fact = Assignment { group, member, topic, partition, change };
        told.tell(t_us, file, Fact::Assignment(fact));
    }
    Ok(())
}
