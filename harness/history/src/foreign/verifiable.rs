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
//! offsets that hold no record (transactions, compaction), so with those nothing is passed;
//! `kafka-dump-log.sh` does ([`super::dump_log`]).
//!
//! The tools share their output with the log messages of their client, which are passed over and
//! counted. A message on one line with an event is taken off it. What is neither is in doubt.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::census::Place;
use super::envelope::{self, Opened, Parts, Piece};
use super::plain::{WITHOUT_OFFSET, no_offset};
use super::told::{ALL, TIME, Told, excerpt};
use super::{Refusal, Role};
use crate::event::*;

#[derive(Default, Deserialize)]
struct Line {
    /// The value is not known.
    #[serde(skip)]
    untold: bool,
    timestamp: Option<i64>,
    name: String,
    // Producer.
    key: Option<String>,
    value: Option<String>,
    topic: Option<String>,
    partition: Option<i64>,
    offset: Option<i64>,
    message: Option<String>,
    sent: Option<u64>,
    acked: Option<u64>,
    // Consumer.
    count: Option<i64>,
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

/// The ends of a partition as they were told.
#[derive(Debug, Clone, Copy)]
struct Ends {
    low: u64,
    high: u64,
    times: u32,
}

/// What earlier lines of a file mean for later ones.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Some event was found.
    any: bool,
    /// The file shows records one by one.
    verbose: bool,
    /// Records shown since the last `records_consumed`.
    shown: BTreeMap<Place, i64>,
    /// First and last offset shown, for a reader of the log.
    seen: BTreeMap<Place, (u64, u64)>,
    /// Lowest and highest end that was told, for a reader of the log.
    ends: BTreeMap<Place, Ends>,
    /// Sends that the producer reported, and those that it reported as acknowledged.
    sent: u64,
    acked: u64,
    /// A producer that has not said that it ended.
    producing: bool,
    parts: Parts,
}

impl State {
    /// Whether the file held anything of the format.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// The file ends: its reader's bounds are known.
    pub(super) fn end(
        &mut self,
        told: &mut Told,
        (process, role): (&str, Role),
    ) -> Result<(), Refusal> {
        let rest = self.parts.rest();
        if !rest.is_empty() {
            take(told, self, (process, role), &rest)?;
        }
        if self.producing {
            told.census.open_producer = true;
            told.note("producers whose output does not say that they ended");
        }
        for ((topic, partition), ends) in std::mem::take(&mut self.ends) {
            told.vouch(Evidence::Log);
            let Ends { low, high, times } = ends;
            let seen = self.seen.get(&(topic.clone(), partition));
            // The same from both ends: a reader that began late or stopped early is no evidence.
            let complete = match seen {
                Some(&(first, last)) => first <= low && last.saturating_add(1) >= high,
                None => low == high,
            };
            let (low, complete) = match (times, seen) {
                (1, seen) if high > 0 && told.census.is_under_test(&topic) => {
                    let kind = "only one end of a log was told: run kafka-get-offsets once with --time \
                                earliest and once with --time latest";
                    told.doubt(kind, ALL, &format!("{}/{partition}", topic.escape_debug()));
                    (seen.map_or(low, |&(first, _)| first.min(low)), false)
                }
                _ => (low, complete),
            };
            let bounds =
                LogBounds { topic, partition, low, high, complete, ..LogBounds::default() };
            told.tell(None, process, Fact::LogBounds(bounds));
        }
        Ok(())
    }
}

/// Who prints: group and member are the same where the name of the file does not part them.
struct Speaker<'a> {
    process: &'a str,
    group: &'a str,
    member: &'a str,
    t_us: Option<u64>,
}

fn speaker_of(process: &str, t_us: Option<u64>) -> Speaker<'_> {
    let (group, member) = process.split_once('/').unwrap_or((process, process));
    Speaker { process, group, member, t_us }
}

/// A record as `kcat -J` prints it. Its payload may be no text: then the value is not known.
fn of_kcat(object: &[u8]) -> Option<Line> {
    #[derive(Deserialize)]
    struct Kcat {
        topic: String,
        partition: i64,
        offset: i64,
        #[serde(rename = "tstype")]
        _kind: String,
        key: Option<String>,
        payload: Option<String>,
    }
    let text = String::from_utf8_lossy(object);
    let kcat: Kcat = serde_json::from_str(&text).ok()?;
    let spelled = |text: &String| !text.contains(char::REPLACEMENT_CHARACTER);
    Some(Line {
        untold: !kcat.payload.iter().chain(&kcat.key).all(spelled),
        topic: Some(kcat.topic),
        partition: Some(kcat.partition),
        offset: Some(kcat.offset),
        key: kcat.key,
        value: kcat.payload,
        ..Line::default()
    })
}

/// A log message as a JSON object, with its level.
fn is_structured_log(object: &[u8], message: &[u8]) -> bool {
    !message.contains(&b'{') && object.windows(7).any(|word| word == b"\"level\"")
}

const PASSED_OVER: &str = "log messages of the clients, passed over";

/// Takes one line in.
pub(super) fn take(
    told: &mut Told,
    state: &mut State,
    (process, role): (&str, Role),
    text: &[u8],
) -> Result<(), Refusal> {
    let text = &*envelope::finite(text);
    if role == Role::LogReader && end_of_log(told, state, text)? {
        return Ok(());
    }
    let pieces = envelope::pieces(text);
    let alone = pieces.iter().all(|piece| matches!(piece, Piece::Text(_)));
    for piece in pieces {
        match piece {
            Piece::Object(object) => one(told, state, (process, role), object)?,
            Piece::Text(text) if envelope::is_fragment(text) => {
                let kind = "pieces of events, whose other ends are lost: what they would have said is \
                            not known";
                told.doubt(kind, ALL, &excerpt(text));
            }
            Piece::Text(text) if alone && !is_log_message(text) => {
                let kind =
                    "lines that are neither events of Kafka's verifiable clients nor log messages";
                told.doubt(kind, ALL, &excerpt(text));
            }
            Piece::Text(_) => told.note(PASSED_OVER),
        }
    }
    Ok(())
}

/// Looks like what a logger, the virtual machine or the tool itself writes beside events.
fn is_log_message(text: &[u8]) -> bool {
    const LEVELS: [&[u8]; 7] =
        [b"TRACE", b"DEBUG", b"INFO", b"WARN", b"ERROR", b"FATAL", b"Exception"];
    const BEGINS: [&[u8]; 9] = [
        b"at ",
        b"... ",
        b"SLF4J",
        b"log4j",
        b"Caused by",
        b"OpenJDK",
        b"Picked up",
        b"Processed a total",
        b"[",
    ];
    BEGINS.into_iter().any(|begin| text.starts_with(begin))
        || LEVELS.into_iter().any(|level| text.windows(level.len()).any(|word| word == level))
}

/// One JSON object.
fn one(
    told: &mut Told,
    state: &mut State,
    (process, role): (&str, Role),
    object: &[u8],
) -> Result<(), Refusal> {
    let line = match serde_json::from_slice::<Line>(object) {
        Ok(line) => line,
        Err(error) => {
            if let Some(record) = of_kcat(object) {
                state.any = true;
                return shown(told, state, &speaker_of(process, None), role, record);
            }
            return match envelope::opened(object, &mut state.parts) {
                Opened::Line(line) if is_structured_log(object, &line) => {
                    told.note(PASSED_OVER);
                    Ok(())
                }
                Opened::Line(line) => take(told, state, (process, role), line.trim_ascii()),
                Opened::Part => Ok(()),
                Opened::No => Err(Refusal::Json(error)),
            };
        }
    };
    state.any = true;
    let t_us = line.timestamp.map(|ms| told.at(ms.saturating_mul(1000)));
    let speaker = speaker_of(process, t_us);
    match (line.name.as_str(), role) {
        ("record_data", _) => shown(told, state, &speaker, role, line)?,
        ("tool_data", _) => summary(told, state, &line),
        ("startup_complete", _) => {}
        ("shutdown_complete", _) => state.producing = false,
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
        ("producer_send_success" | "producer_send_error", _) => {
            produced(told, state, &speaker, line)?;
        }
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

/// `topic:partition:offset`, as `kafka-get-offsets.sh` prints it; false for other text.
fn end_of_log(told: &mut Told, state: &mut State, text: &[u8]) -> Result<bool, Refusal> {
    let Ok(text) = std::str::from_utf8(text) else { return Ok(false) };
    let mut words = text.split_ascii_whitespace();
    let text = match (words.next(), words.next(), words.next()) {
        (Some(text), None, _) => text,
        // Behind the time that `docker logs -t` puts first.
        (Some(time), Some(text), None) if envelope::is_instant(time.as_bytes()) => text,
        _ => return Ok(false),
    };
    let mut parts = text.rsplitn(3, ':');
    let (Some(offset), Some(partition), Some(topic)) = (parts.next(), parts.next(), parts.next())
    else {
        return Ok(false);
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let (Ok(offset), Ok(partition)) = (offset.parse(), partition.parse()) else {
        return Ok(false);
    };
    if topic.is_empty() || !topic.chars().all(legal) {
        return Ok(false);
    }
    state.any = true;
    if no_offset(offset) {
        return Ok(true);
    }
    let (partition, offset) = told.place(topic, partition, offset)?;
    let fresh = Ends { low: offset, high: offset, times: 0 };
    let ends = state.ends.entry((topic.to_owned(), partition)).or_insert(fresh);
    let (low, high) = (offset.min(ends.low), offset.max(ends.high));
    *ends = Ends { low, high, times: ends.times + 1 };
    Ok(true)
}

/// What the producer says of itself at its end must be what it said on the way.
fn summary(told: &mut Told, state: &State, line: &Line) {
    let (Some(sent), Some(acked)) = (line.sent, line.acked) else { return };
    if (sent, acked) != (state.sent, state.acked) {
        let text = format!(
            "it says {sent} sent and {acked} acknowledged, its lines show {} and {}",
            state.sent, state.acked
        );
        told.doubt("summaries of producers that do not agree with their lines", ALL, &text);
    }
}

fn produced(
    told: &mut Told,
    state: &mut State,
    speaker: &Speaker<'_>,
    line: Line,
) -> Result<(), Refusal> {
    told.vouch(Evidence::Receipts);
    let topic = line.topic.ok_or("without a topic")?;
    let value = line.value.ok_or("without a value")?;
    let number = told.fresh();
    told.census.topic(&topic, None).written = true;
    let key = line.key.map(|key| Blob(key.into_bytes()));
    let (print, bytes) = (Print::of(value.as_bytes()), value.len() as u64);
    if !told.telling() {
        told.census.values.sent(&topic, key.as_ref(), print, number);
    }
    state.producing = true;
    state.sent += 1;
    let outcome = match (line.name.as_str(), line.partition, line.offset) {
        ("producer_send_success", _, Some(offset)) if no_offset(offset) => {
            state.acked += 1;
            let example = format!("value {}, offset {offset}", excerpt(value.as_bytes()));
            told.doubt(WITHOUT_OFFSET, &["acknowledged-is-durable"], &example);
            Outcome::Unknown { error: format!("acknowledged at offset {offset}") }
        }
        ("producer_send_success", Some(partition), Some(offset)) => {
            state.acked += 1;
            let (partition, offset) = told.place(&topic, partition, offset)?;
            Outcome::Acknowledged { topic: topic.clone(), partition, offset }
        }
        ("producer_send_success", ..) => return Err("without partition and offset".into()),
        _ => Outcome::Unknown { error: line.message.unwrap_or_default() },
    };
    let op = told.global(number)?;
    let invoked = Invoked { op, topic, key, value: print, bytes, ..Invoked::default() };
    told.tell(speaker.t_us, speaker.process, Fact::Invoked(invoked));
    let completed = Completed::new(op, None, outcome);
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
    // The tool prints a record without a value as `null`.
    let value = match line.untold {
        true => Print::UNTOLD,
        false => Print::of_value(line.value.as_deref().map(str::as_bytes)),
    };
    if line.untold {
        let kind = "records whose value is no text: it is compared with nothing";
        let example = format!("offset {offset} of {}/{partition}", topic.escape_debug());
        told.doubt(kind, &["acknowledged-is-durable", "fidelity"], &example);
    }
    state.verbose = true;
    if role == Role::LogReader {
        let (partition, offset) = told.place(&topic, partition, offset)?;
        told.census.topic(&topic, None).logged = true;
        let seen = state.seen.entry((topic.clone(), partition)).or_insert((offset, offset));
        *seen = (offset.min(seen.0), offset.max(seen.1));
        let key = line.key.map(|key| Blob(key.into_bytes()));
        let number = told.op_of(&topic, key.as_ref(), value)?;
        let op = number.map(|number| told.global(number)).transpose()?;
        let timestamp_ms = Some(UNTOLD_MS);
        let logged =
            Logged { topic, partition, offset, op, key, value, timestamp_ms, ..Logged::default() };
        told.tell(speaker.t_us, speaker.process, Fact::Logged(logged));
        return Ok(());
    }
    let (partition, offset) = told.consumed(speaker.group, &topic, partition, offset)?;
    *state.shown.entry((topic.clone(), partition)).or_insert(0) += 1;
    let (group, member) = (speaker.group.to_owned(), speaker.member.to_owned());
    if speaker.t_us.is_none() {
        let kind = "reads without an instant: when they came is not known";
        told.doubt(kind, TIME, &format!("offset {offset} of {}/{partition}", topic.escape_debug()));
    }
    let value = (!line.untold).then_some(value);
    let read = Read { group, member, topic, partition, offset, value };
    told.tell(speaker.t_us, speaker.process, Fact::Read(read));
    Ok(())
}

fn consumed(
    told: &mut Told,
    state: &mut State,
    speaker: &Speaker<'_>,
    line: Line,
) -> Result<(), Refusal> {
    told.census.group(speaker.group);
    let spans = line.partitions.unwrap_or_default();
    let parts: i64 = spans.iter().filter_map(|span| span.count).fold(0, i64::saturating_add);
    if line.count.is_some_and(|count| count != parts) && spans.iter().all(|s| s.count.is_some()) {
        let text = format!("{} in all, {parts} by partition", line.count.unwrap_or(0));
        told.doubt("polls whose counts do not agree", ALL, &text);
    }
    for span in spans {
        let (Some(first), Some(last)) = (span.min_offset, span.max_offset) else {
            return Err("records_consumed without minOffset and maxOffset".into());
        };
        if last < first || last.saturating_sub(first) > RANGE_MAX {
            return Err(format!("the range {first} to {last} cannot be one poll").into());
        }
        let (partition, first) =
            told.consumed(speaker.group, &span.topic, span.partition, first)?;
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
                let kind = "polls that took fewer records than they reach over offsets and do not say \
                            which: run the consumer with --verbose";
                let text = format!("{count} records of offsets {first} to {last} of {of}");
                told.doubt(kind, ALL, &text);
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
    told.census.group(speaker.group);
    told.vouch(Evidence::CommitsComplete);
    let at_us = speaker.t_us.ok_or("a commit without a timestamp")?;
    for span in line.offsets.unwrap_or_default() {
        let offset = span.offset.ok_or("a commit without an offset")?;
        let (partition, offset) =
            told.consumed(speaker.group, &span.topic, span.partition, offset)?;
        let (group, topic) = (speaker.group.to_owned(), span.topic);
        let at_us = told.not_before(speaker.process, at_us);
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
    told.census.group(speaker.group);
    for span in line.partitions.unwrap_or_default() {
        let (partition, _) = told.consumed(speaker.group, &span.topic, span.partition, 0)?;
        let (group, member) = (speaker.group.to_owned(), speaker.member.to_owned());
        let topic = span.topic;
        let fact = Assignment { group, member, topic, partition, change };
        told.tell(speaker.t_us, speaker.process, Fact::Assignment(fact));
    }
    Ok(())
}
