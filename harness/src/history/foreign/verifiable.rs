//! What Kafka's VerifiableProducer and VerifiableConsumer print.
//!
//! The producer names its records by their values and prints an acknowledgement with partition and
//! offset, or an error. A send that only shows as an error is *unknown*: the tool retries within its
//! client and does not say which errors are certain. There is no invocation in the output: the
//! acknowledgement stands for both, so nothing is known of latencies, of operations in flight, or of
//! operations that never ended.
//!
//! The consumer prints how many records it took from each partition and between which offsets, and
//! what it committed; with `--verbose` each record. Where it shows records, only those count as read.
//!
//! Neither says what the log holds. That comes from one more consumer with `--verbose`, in a group of
//! its own and after everybody else, followed by what `kafka-get-offsets.sh` prints of the topic with
//! `--time earliest` and with `--time latest`: [`Role::LogReader`]. A log is taken as read to its end
//! if the records shown reach from the first of these offsets to the last. The tools do not tell
//! offsets that hold no record (transactions, compaction), so with those nothing is passed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::told::Told;
use super::{Refusal, Role};
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
    count: Option<i64>,
    min_offset: Option<i64>,
    max_offset: Option<i64>,
    offset: Option<i64>,
}

/// Records in one line of `records_consumed` at most: a line claims a range, and ranges are cheap
/// to claim.
const RANGE_MAX: i64 = 10_000_000;

/// Topic and partition.
type Place = (String, u32);

/// What earlier lines of a file mean for later ones.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The file shows records one by one.
    verbose: bool,
    /// Records shown since the last `records_consumed`.
    shown: BTreeMap<Place, i64>,
    /// First and last offset shown, for a reader of the log.
    seen: BTreeMap<Place, (u64, u64)>,
    /// Lowest and highest end that was told, for a reader of the log.
    ends: BTreeMap<Place, (u64, u64)>,
}

impl State {
    /// The file ends: its reader's bounds are known.
    pub(super) fn end(&mut self, told: &mut Told, process: &str) {
        for (place, (low, high)) in std::mem::take(&mut self.ends) {
            told.vouch(Evidence::Log);
            // The same from both ends: a reader that began late or stopped early is no evidence.
            let complete = match self.seen.get(&place) {
                Some(&(first, last)) => first <= low && last.saturating_add(1) >= high,
                None => low == high,
            };
            let ((topic, partition), holes) = (place, Vec::new());
            let bounds =
                LogBounds { topic, partition, low, high, complete, holes, ..LogBounds::default() };
            told.tell(None, process, Fact::LogBounds(bounds));
        }
    }
}

/// Who prints: group and member are the same where the name of the file does not part them.
struct Speaker<'a> {
    process: &'a str,
    group: &'a str,
    member: &'a str,
    t_us: Option<u64>,
}

/// Takes one line in.
pub(super) fn take(
    told: &mut Told,
    state: &mut State,
    (process, role): (&str, Role),
    text: &[u8],
) -> Result<(), Refusal> {
    // The tools share their output with log lines of the client.
    if !text.starts_with(b"{") {
        if role == Role::LogReader {
            end_of_log(told, state, text)?;
        }
        return Ok(());
    }
    let line: Line = serde_json::from_slice(text)?;
    let t_us = line.timestamp.map(|ms| told.at(ms));
    let (group, member) = process.split_once('/').unwrap_or((process, process));
    let speaker = Speaker { process, group, member, t_us };
    match (line.name.as_str(), role) {
        ("record_data", _) => shown(told, state, &speaker, role, line)?,
        ("startup_complete" | "shutdown_complete" | "tool_data", _) => {}
        (
            "records_consumed"
            | "offsets_committed"
            | "partitions_assigned"
            | "partitions_revoked"
            | "partitions_lost",
            Role::LogReader,
        ) => {}
        (name, Role::LogReader) => {
            return Err(format!("`{}` is nothing that a reader prints", name.escape_debug()).into());
        }
        ("producer_send_success" | "producer_send_error", _) => produced(told, &speaker, line)?,
        ("records_consumed", _) => consumed(told, state, &speaker, line)?,
        ("offsets_committed", _) => committed(told, &speaker, line)?,
        ("partitions_assigned", _) => assigned(told, &speaker, AssignmentChange::Assigned, line)?,
        ("partitions_revoked", _) => assigned(told, &speaker, AssignmentChange::Revoked, line)?,
        ("partitions_lost", _) => assigned(told, &speaker, AssignmentChange::Lost, line)?,
        (other, _) => {
            let other = other.escape_debug();
            let why = format!(
                "`{other}` is not an event of Kafka's verifiable clients; is it another tool's file?"
            );
            return Err(why.into());
        }
    }
    Ok(())
}

/// `topic:partition:offset`, as `kafka-get-offsets.sh` prints it; other text is not for us.
fn end_of_log(told: &mut Told, state: &mut State, text: &[u8]) -> Result<(), Refusal> {
    let Ok(text) = std::str::from_utf8(text) else { return Ok(()) };
    let mut parts = text.trim_end().rsplitn(3, ':');
    let (Some(offset), Some(partition), Some(topic)) = (parts.next(), parts.next(), parts.next())
    else {
        return Ok(());
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let (Ok(offset), Ok(partition)) = (offset.parse(), partition.parse()) else { return Ok(()) };
    if topic.is_empty() || !topic.chars().all(legal) {
        return Ok(());
    }
    let (partition, offset) = told.place(topic, partition, offset)?;
    let ends = state.ends.entry((topic.to_owned(), partition)).or_insert((offset, offset));
    *ends = (offset.min(ends.0), offset.max(ends.1));
    Ok(())
}

fn produced(told: &mut Told, speaker: &Speaker<'_>, line: Line) -> Result<(), Refusal> {
    told.vouch(Evidence::Receipts);
    let topic = line.topic.ok_or("without a topic")?;
    let value = line.value.ok_or("without a value")?;
    let op = told.fresh_op();
    told.topic(&topic);
    let key = line.key.map(|key| Blob(key.into_bytes()));
    let (print, bytes) = (Print::of(value.as_bytes()), value.len() as u64);
    let invoked =
        Invoked { op, topic: topic.clone(), key, value: print, bytes, ..Invoked::default() };
    let outcome = match (line.name.as_str(), line.partition, line.offset) {
        ("producer_send_success", Some(partition), Some(offset)) => {
            let (partition, offset) = told.place(&topic, partition, offset)?;
            Outcome::Acknowledged { topic, partition, offset }
        }
        ("producer_send_success", ..) => return Err("without partition and offset".into()),
        _ => Outcome::Unknown { error: line.message.unwrap_or_default() },
    };
    told.tell(speaker.t_us, speaker.process, Fact::Invoked(invoked));
    let completed = Completed { op, ingestion_id: None, outcome };
    told.tell(speaker.t_us, speaker.process, Fact::Completed(completed));
    Ok(())
}

/// A record as `--verbose` shows it: read by a member, or standing in the log.
fn shown(
    told: &mut Told,
    state: &mut State,
    speaker: &Speaker<'_>,
    role: Role,
    line: Line,
) -> Result<(), Refusal> {
    let (Some(topic), Some(partition), Some(offset)) = (line.topic, line.partition, line.offset)
    else {
        return Err("without topic, partition and offset".into());
    };
    let (partition, offset) = told.place(&topic, partition, offset)?;
    let value = line.value.map(|value| Print::of(value.as_bytes()));
    let place = (topic.clone(), partition);
    state.verbose = true;
    let fact = if role == Role::LogReader {
        let seen = state.seen.entry(place).or_insert((offset, offset));
        *seen = (offset.min(seen.0), offset.max(seen.1));
        Fact::Logged(Logged {
            topic,
            partition,
            offset,
            key: line.key.map(|key| Blob(key.into_bytes())),
            // A tombstone has no value; the producer never sends one.
            value: value.unwrap_or(Print(0)),
            ..Logged::default()
        })
    } else {
        told.group(speaker.group);
        *state.shown.entry(place).or_insert(0) += 1;
        let (group, member) = (speaker.group.to_owned(), speaker.member.to_owned());
        Fact::Read(Read { group, member, topic, partition, offset, value })
    };
    told.tell(speaker.t_us, speaker.process, fact);
    Ok(())
}

fn consumed(
    told: &mut Told,
    state: &mut State,
    speaker: &Speaker<'_>,
    line: Line,
) -> Result<(), Refusal> {
    told.group(speaker.group);
    for span in line.partitions.unwrap_or_default() {
        let (Some(first), Some(last)) = (span.min_offset, span.max_offset) else {
            return Err("records_consumed without minOffset and maxOffset".into());
        };
        if last < first || last - first > RANGE_MAX {
            return Err(format!("the range {first} to {last} cannot be one poll").into());
        }
        let (partition, first) = told.place(&span.topic, span.partition, first)?;
        let (_, last) = told.place(&span.topic, span.partition, last)?;
        let place = (span.topic.clone(), partition);
        let (width, shown) = (last - first + 1, state.shown.remove(&place).unwrap_or(0));
        let of = format!("{}/{partition}", span.topic.escape_debug());
        match span.count {
            Some(count) if state.verbose && count != shown => {
                let text = format!(
                    "a poll took {count} records of {of} and shows {shown}: those not shown count as not read"
                );
                let level = "warning".to_owned();
                told.tell(speaker.t_us, speaker.process, Fact::Note { level, text });
            }
            Some(count) if !state.verbose && u64::try_from(count) != Ok(width) => {
                told.doubt(
                    speaker.process,
                    format!(
                        "a poll took {count} records of the {width} offsets {first} to {last} of {of} and does not say which: run the consumer with --verbose"
                    ),
                );
            }
            _ => {}
        }
        if !state.verbose {
            let (group, member) = (speaker.group.to_owned(), speaker.member.to_owned());
            let (topic, offset) = (span.topic, first);
            let read = Read { group, member, topic, partition, offset, value: None };
            told.tell_reads(speaker.t_us, speaker.process, read, last);
        }
    }
    Ok(())
}

fn committed(told: &mut Told, speaker: &Speaker<'_>, line: Line) -> Result<(), Refusal> {
    if line.success == Some(false) {
        let text = format!("a commit failed: {}", line.error.unwrap_or_default());
        let note = Fact::Note { level: "warning".to_owned(), text };
        told.tell(speaker.t_us, speaker.process, note);
        return Ok(());
    }
    told.group(speaker.group);
    told.vouch(Evidence::CommitsComplete);
    let at_us = speaker.t_us.ok_or("a commit without a timestamp")?;
    for span in line.offsets.unwrap_or_default() {
        let offset = span.offset.ok_or("a commit without an offset")?;
        let (partition, offset) = told.place(&span.topic, span.partition, offset)?;
        let (group, topic) = (speaker.group.to_owned(), span.topic);
        let fact = Committed { group, topic, partition, offset, at_us, exact: true };
        told.tell(speaker.t_us, speaker.process, Fact::Committed(fact));
    }
    Ok(())
}

fn assigned(
    told: &mut Told,
    speaker: &Speaker<'_>,
    change: AssignmentChange,
    line: Line,
) -> Result<(), Refusal> {
    told.group(speaker.group);
    for span in line.partitions.unwrap_or_default() {
        let (partition, _) = told.place(&span.topic, span.partition, 0)?;
        let (group, member) = (speaker.group.to_owned(), speaker.member.to_owned());
        let topic = span.topic;
        let fact = Assignment { group, member, topic, partition, change };
        told.tell(speaker.t_us, speaker.process, Fact::Assignment(fact));
    }
    Ok(())
}
