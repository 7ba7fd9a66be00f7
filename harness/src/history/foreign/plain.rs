//! A small format that anybody can emit: one JSON object a line, in the order in which its process
//! learned things. Unknown fields are refused, so that a typing error is not a missing fact.
//!
//! Every line may have `t_ms`, the wall clock in milliseconds since the epoch, and `process`, who
//! speaks (the file's name if absent).
//!
//! ```json
//! {"send":{"op":0,"topic":"orders","key":"a","value":"…"}}
//! {"sent":{"op":0,"outcome":"acknowledged","topic":"orders","partition":0,"offset":7}}
//! {"sent":{"op":1,"outcome":"failed","error":"…"}}        also "unknown"
//! {"log":{"topic":"orders","partition":0,"offset":7,"op":0,"key":"a","value":"…"}}
//! {"log_end":{"topic":"orders","partition":0,"low":0,"high":8,"holes":[[3,4]]}}
//! {"read":{"group":"g","member":"m","topic":"orders","partition":0,"offset":7,"value":"…"}}
//! {"commit":{"group":"g","topic":"orders","partition":0,"offset":8}}
//! {"assign":{"group":"g","member":"m","topic":"orders","partition":0,"change":"assigned"}}
//! ```
//!
//! `value` is the value itself or its XXH3-64 as `"xxh3:0123456789abcdef"`. `log` and `log_end` come
//! from reading the topic back; without them nothing can be said of what was acknowledged. A `read`
//! need not tell the value. `change` is `assigned`, `revoked` or `lost`.

use serde::Deserialize;

use super::Refusal;
use super::told::Told;
use crate::history::event::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    t_ms: Option<i64>,
    process: Option<String>,
    send: Option<Send>,
    sent: Option<Sent>,
    log: Option<Log>,
    log_end: Option<LogEnd>,
    read: Option<ReadLine>,
    commit: Option<Commit>,
    assign: Option<Assign>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    op: u64,
    topic: String,
    key: Option<Blob>,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    op: u64,
    outcome: String,
    topic: Option<String>,
    partition: Option<i64>,
    offset: Option<i64>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    topic: String,
    partition: i64,
    offset: i64,
    op: Option<u64>,
    key: Option<Blob>,
    value: String,
    timestamp_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogEnd {
    topic: String,
    partition: i64,
    #[serde(default)]
    low: u64,
    high: u64,
    #[serde(default)]
    holes: Vec<(u64, u64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadLine {
    group: String,
    member: String,
    topic: String,
    partition: i64,
    offset: i64,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Commit {
    group: String,
    topic: String,
    partition: i64,
    offset: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assign {
    group: String,
    member: String,
    topic: String,
    partition: i64,
    change: AssignmentChange,
}

/// Takes one line in.
pub(super) fn take(told: &mut Told, file: &str, text: &[u8]) -> Result<(), Refusal> {
    let line: Line = serde_json::from_slice(text)?;
    let t_us = line.t_ms.map(|ms| told.at(ms));
    let process = line.process.as_deref().unwrap_or(file);
    let mut facts = Vec::new();
    if let Some(send) = line.send {
        told.vouch(Evidence::Receipts);
        told.topic(&send.topic);
        told.claim_op(send.op);
        let (value, bytes) = (print(&send.value)?, send.value.len() as u64);
        let Send { op, topic, key, .. } = send;
        facts.push(Fact::Invoked(Invoked { op, topic, key, value, bytes, ..Invoked::default() }));
    }
    if let Some(sent) = line.sent {
        let op = sent.op;
        let outcome = outcome(told, sent)?;
        facts.push(Fact::Completed(Completed { op, ingestion_id: None, outcome }));
    }
    if let Some(log) = line.log {
        facts.push(Fact::Logged(logged(told, log)?));
    }
    if let Some(end) = line.log_end {
        told.vouch(Evidence::Log);
        let (partition, _) = told.place(&end.topic, end.partition, 0)?;
        let LogEnd { topic, low, high, holes, .. } = end;
        facts.push(Fact::LogBounds(LogBounds {
            topic,
            partition,
            low,
            high,
            complete: true,
            holes,
            ..LogBounds::default()
        }));
    }
    if let Some(read) = line.read {
        told.group(&read.group);
        let (partition, offset) = told.place(&read.topic, read.partition, read.offset)?;
        let value = read.value.as_deref().map(print).transpose()?;
        let ReadLine { group, member, topic, .. } = read;
        facts.push(Fact::Read(Read { group, member, topic, partition, offset, value }));
    }
    if let Some(commit) = line.commit {
        told.vouch(Evidence::CommitsComplete);
        told.group(&commit.group);
        let (partition, offset) = told.place(&commit.topic, commit.partition, commit.offset)?;
        let Commit { group, topic, .. } = commit;
        let at_us = t_us.ok_or("a commit needs `t_ms`")?;
        let committed = Committed { group, topic, partition, offset, at_us, exact: true };
        facts.push(Fact::Committed(committed));
    }
    if let Some(assign) = line.assign {
        told.group(&assign.group);
        let (partition, _) = told.place(&assign.topic, assign.partition, 0)?;
        let Assign { group, member, topic, change, .. } = assign;
        facts.push(Fact::Assignment(Assignment { group, member, topic, partition, change }));
    }
    if facts.is_empty() {
        return Err("the line tells nothing; HISTORY.md shows what a line can tell".into());
    }
    facts.into_iter().for_each(|fact| told.tell(t_us, process, fact));
    Ok(())
}

fn logged(told: &mut Told, log: Log) -> Result<Logged, String> {
    let (partition, offset) = told.place(&log.topic, log.partition, log.offset)?;
    Ok(Logged {
        topic: log.topic,
        partition,
        offset,
        timestamp_ms: log.timestamp_ms,
        op: log.op,
        ingestion_id: None,
        key: log.key,
        value: print(&log.value)?,
        ..Logged::default()
    })
}

fn outcome(told: &mut Told, sent: Sent) -> Result<Outcome, String> {
    let error = sent.error.unwrap_or_default();
    match (sent.outcome.as_str(), sent.topic, sent.partition, sent.offset) {
        ("acknowledged", Some(topic), Some(partition), Some(offset)) => {
            let (partition, offset) = told.place(&topic, partition, offset)?;
            Ok(Outcome::Acknowledged { topic, partition, offset })
        }
        ("acknowledged", ..) => {
            Err("`acknowledged` needs `topic`, `partition` and `offset`".to_owned())
        }
        ("failed", ..) => Ok(Outcome::Failed { error }),
        ("unknown", ..) => Ok(Outcome::Unknown { error }),
        (other, ..) => Err(format!(
            "`{}` is no outcome; there are acknowledged, failed, unknown",
            other.escape_debug()
        )),
    }
}

fn print(value: &str) -> Result<Print, String> {
    match value.strip_prefix("xxh3:") {
        Some(digits) => u64::from_str_radix(digits, 16)
            .map(Print)
            .map_err(|_| format!("`{}` are no 16 hexadecimal digits", digits.escape_debug())),
        None => Ok(Print::of(value.as_bytes())),
    }
}
