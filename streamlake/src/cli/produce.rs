//! `streamlake produce`: lines in, receipts out.

use super::blocking;
use super::options::{Dataset, Kafka};
use super::signals;
use crate::config::{IN_FLIGHT_MAX, ProducerSettings};
use crate::error::{Error, Result};
use crate::kafka;
use crate::observe::events::Events;
use crate::producer::delivery::told_offset;
use crate::producer::{Event, Outcome, Producer, Receipt};
use crate::record::Schema;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Receipts that may wait for somebody to read them. Then nothing more is read or sent.
const RECEIPTS_MAX: usize = 1 << 16;
/// The longest line of the input: with base64 and an envelope around it, more than a broker takes.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Bytes of the input that may wait to be sent, in units of a KiB.
const INPUT_KIB_MAX: usize = 96 << 10;
/// From a signal to the end: what was read is sent and has its receipt by then, or is given up.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long the receipts of a producer that brokers refuse may take.
const RECEIPTS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Input {
    /// Each line is a payload, sent as it is; a carriage return at its end and a byte-order mark before the
    /// first line are of the file and not of the payload.
    Lines,
    /// Each line is `{"value": "text"}` or `{"value_base64": "…"}`, optionally with `"key"` or
    /// `"key_base64"`: for payloads that are not one line of text.
    Envelope,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    dataset: Dataset,
    #[command(flatten)]
    kafka: Kafka,
    /// What a payload must be to be accepted; `any` sends without looking.
    #[arg(long, value_enum, default_value = "order")]
    schema: Schema,
    /// What a line is.
    #[arg(long, value_enum, default_value = "lines")]
    input: Input,
    /// Records on their way at a time.
    #[arg(long, default_value_t = IN_FLIGHT_MAX)]
    in_flight_max: usize,
    /// Append events to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    value: Option<String>,
    value_base64: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let topic = args.dataset.topic();
    let dead_letter_topic = args.dataset.dead_letter_topic();
    let given = args.kafka.settings()?;
    let kafka = blocking({
        let (topic, letters) = (topic.clone(), dead_letter_topic.clone());
        move || Ok(kafka::with_batches_that_fit(&given, &topic, &letters))
    });
    let settings = ProducerSettings {
        topic: topic.clone(),
        dead_letter_topic,
        dataset: args.dataset.dataset,
        schema: args.schema,
        kafka: kafka.await?,
        in_flight_max: args.in_flight_max.clamp(1, 1 << 24),
    };
    let events = Events::open(args.events.as_deref())?;
    let dead_letter_topic: Arc<str> = settings.dead_letter_topic.as_str().into();
    let producer = Producer::new(settings)?;
    events.emit("configured", json!({
        "topic": topic, "dead_letter_topic": *dead_letter_topic, "producer": producer.effective(),
        "dead_letter_producer": producer.dead_letters_effective(),
        "planted_bugs": crate::planted::names(),
        "version": env!("CARGO_PKG_VERSION"), "librdkafka": rdkafka::util::get_rdkafka_version().1,
    }));
    let (receipts, written) = write_receipts(topic.into(), dead_letter_topic)?;
    let stop = signals::stop_token()?;
    let mut fed = Box::pin(feed(&producer, args.input, &receipts, &stop));
    let refusal = tokio::select! {
        fed = &mut fed => fed.err(),
        () = stop.cancelled() => {
            // Each record that waits is sent now, whatever the linger time, or given up; then the line
            // in hand, which may have waited for room.
            let mut ended = None;
            for within in [STOP_WITHIN, Duration::ZERO, Duration::ZERO] {
                tokio::task::block_in_place(|| producer.flush(within));
                ended = tokio::time::timeout(RECEIPTS_WITHIN, &mut fed).await.ok();
                if ended.is_some() {
                    break;
                }
            }
            ended.unwrap_or_else(|| Err(stopped("the last line"))).err()
        }
        refusal = producer.refused() => {
            // Each record that waits for a broker gets its receipt: it was certainly not written.
            tokio::task::block_in_place(|| producer.flush(Duration::ZERO));
            Some(refusal)
        }
    };
    drop(fed);
    drop(receipts);
    let writing = tokio::task::spawn_blocking(move || written.join());
    if let Some(err) = refusal {
        // A dead letter that was handed over only now waits for a broker that will not have it.
        let within = if stop.is_cancelled() { STOP_WITHIN } else { RECEIPTS_WITHIN };
        let _ = tokio::time::timeout(within, writing).await;
        return Err(err);
    }
    match writing.await {
        Ok(Ok(Ok(clean))) => Ok(crate::planted::producer_exit(clean)),
        Ok(Ok(Err(err))) => Err(Error::io("writing receipts")(err)),
        _ => Ok(ExitCode::FAILURE),
    }
}

fn stopped(behind: &str) -> Error {
    Error::Stuck(format!("stopped by a signal: what stands behind {behind} was not sent"))
}

/// Sends every line of standard input and waits for the outcome of each. A signal ends the input: each line
/// that was taken has its receipt all the same.
async fn feed(
    producer: &Producer,
    input: Input,
    receipts: &Receipts,
    stop: &CancellationToken,
) -> Result<()> {
    let mut lines = read_lines()?;
    let mut number = 0u64;
    let mut outcome = Ok(());
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => {
                outcome = Err(stopped(&format!("line {number}")));
                break;
            }
            next = lines.recv() => next,
        };
        let Some(line) = next else { break };
        number += 1;
        let line = line.map_err(Error::io(format!("reading line {number} of standard input")))?;
        // Closed when receipts cannot be written any more: what cannot be reported is not sent.
        let room = tokio::select! {
            room = Arc::clone(&receipts.room).acquire_owned() => room,
            () = stop.cancelled() => {
                outcome = Err(stopped(&format!("line {}", number - 1)));
                break;
            }
        };
        let Ok(room) = room else { break };
        let event = match (input, line) {
            (_, Line::TooLong) => Err(format!("is longer than {} MiB", LINE_BYTES_MAX >> 20)),
            (Input::Lines, Line::Whole { text, .. }) => Ok(Event { value: text, key: None }),
            (Input::Envelope, Line::Whole { text, .. }) => {
                open_envelope(&text).map_err(|why| format!("is no envelope: {why}"))
            }
        };
        let (to, at) = (receipts.to.clone(), number);
        match event {
            Ok(event) => {
                producer.submit(event, move |receipt| drop(to.send((at, receipt, room)))).await;
            }
            Err(why) => {
                let outcome = Outcome::Failed(format!("line {at} {why}"));
                let receipt = Receipt { ingestion_id: uuid::Uuid::new_v4(), key: None, outcome };
                let _ = to.send((at, receipt, room));
            }
        }
    }
    crate::planted::input_ended();
    producer.settle().await;
    outcome
}

/// A line of the input.
enum Line {
    /// With its share of the input's bound, given back when it is dropped.
    Whole {
        text: Vec<u8>,
        _room: Option<OwnedSemaphorePermit>,
    },
    TooLong,
}

/// Lines of standard input, read by a thread: a pipe that blocks must not hold anything up. A line may end
/// with a carriage return, and the input may begin with a byte order mark: both belong to the file and
/// not to a payload.
fn read_lines() -> Result<mpsc::Receiver<std::io::Result<Line>>> {
    let (sender, receiver) = mpsc::channel(4_096);
    let room = Arc::new(Semaphore::new(INPUT_KIB_MAX));
    let thread = std::thread::Builder::new().name("streamlake-stdin".into());
    let runtime = tokio::runtime::Handle::current();
    let read = move || {
        let mut input = BufReader::with_capacity(1 << 16, std::io::stdin());
        let mut first = true;
        loop {
            let item = match read_line(&mut input) {
                Ok(None) => return,
                Ok(Some(line)) => Ok(line.map(|mut line| {
                    if std::mem::take(&mut first) && line.starts_with(BYTE_ORDER_MARK) {
                        line.drain(..BYTE_ORDER_MARK.len());
                    }
                    line
                })),
                Err(err) => Err(err),
            };
            let failed = item.is_err();
            let item = item.map(|line| match line {
                Some(line) => {
                    let kib = u32::try_from(line.len() >> 10).unwrap_or(u32::MAX) + 1;
                    let share = runtime.block_on(Arc::clone(&room).acquire_many_owned(kib)).ok();
                    Line::Whole { text: line, _room: share }
                }
                None => Line::TooLong,
            });
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    };
    thread.spawn(read).map_err(Error::io("starting the input thread"))?;
    Ok(receiver)
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The next line without its end; `Some(None)` for one that is too long, `None` at the end of the input.
fn read_line(input: &mut impl BufRead) -> std::io::Result<Option<Option<Vec<u8>>>> {
    let mut line = Vec::new();
    if input.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() > LINE_BYTES_MAX {
        input.skip_until(b'\n')?;
        return Ok(Some(None));
    } else if crate::planted::forgets_last_line() {
        return Ok(None);
    }
    Ok(Some(Some(line)))
}

fn open_envelope(line: &[u8]) -> Result<Event, String> {
    // serde reads a struct from an array, too.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err("it is no JSON object".into());
    }
    let envelope: Envelope = serde_json::from_slice(line).map_err(|err| err.to_string())?;
    let decode = |text: String| STANDARD.decode(text).map_err(|err| err.to_string());
    let value = match (envelope.value, envelope.value_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => decode(text)?,
        _ => return Err("it needs either value or value_base64".into()),
    };
    let key = match (envelope.key, envelope.key_base64) {
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => Some(decode(text)?),
        (None, None) => None,
        _ => return Err("it takes either key or key_base64".into()),
    };
    Ok(Event { value, key })
}

/// Where receipts go. Each takes its room along until it is written, so that receipts which nobody
/// reads hold up the input and not the memory.
#[derive(Clone)]
struct Receipts {
    to: mpsc::UnboundedSender<(u64, Receipt, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

type Writer = std::thread::JoinHandle<std::io::Result<bool>>;

/// Writes receipts as they come, flushing whenever none is waiting. The thread ends with the last
/// sender and says whether every outcome was acknowledged or rejected.
fn write_receipts(topic: Arc<str>, dead_letter_topic: Arc<str>) -> Result<(Receipts, Writer)> {
    let (to, mut receiver) = mpsc::unbounded_channel::<(u64, Receipt, OwnedSemaphorePermit)>();
    let room = Arc::new(Semaphore::new(RECEIPTS_MAX));
    let receipts = Receipts { to, room: Arc::clone(&room) };
    let thread = std::thread::Builder::new().name("streamlake-stdout".into());
    let mut write = move || {
        let mut output = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout());
        let mut clean = true;
        while let Some((line, receipt, _room)) = receiver.blocking_recv() {
            clean &=
                matches!(receipt.outcome, Outcome::Acknowledged { .. } | Outcome::Rejected { .. });
            let line = crate::planted::line_as_written(line);
            let json = receipt_json(line, &receipt, &topic, &dead_letter_topic);
            for _ in 0..crate::planted::receipts() {
                writeln!(output, "{json}")?;
            }
            if receiver.is_empty() && !crate::planted::holds_receipts() {
                output.flush()?;
            }
        }
        output.flush()?;
        Ok(clean)
    };
    let write = move || {
        let outcome = write();
        room.close();
        outcome
    };
    let handle = thread.spawn(write).map_err(Error::io("starting the output thread"))?;
    Ok((receipts, handle))
}

fn receipt_json(line: u64, receipt: &Receipt, topic: &str, dead_letter_topic: &str) -> Value {
    let line = crate::planted::told_line(line, &receipt.outcome);
    let mut json = json!({"line": line, "ingestion_id": receipt.ingestion_id});
    let outcome = match &receipt.outcome {
        Outcome::Acknowledged { partition, offset } => json!({
            "outcome": "acknowledged", "partition": partition,
            "topic": crate::planted::told_topic(topic, dead_letter_topic),
            "offset": told_offset(*offset)}),
        Outcome::Rejected { reason, dead_letter } => json!({
            "outcome": "rejected", "reason": reason, "dead_letter": {"topic": dead_letter_topic,
            "partition": dead_letter.partition, "offset": dead_letter.offset}}),
        Outcome::Failed(error) => json!({"outcome": "failed", "error": error}),
        Outcome::Unknown(error) => json!({"outcome": "unknown", "error": error}),
    };
    if let (Some(object), Value::Object(outcome)) = (json.as_object_mut(), outcome) {
        object.extend(outcome);
        match receipt.key.as_deref().map(|key| (key, std::str::from_utf8(key))) {
            Some((_, Ok(text))) => drop(object.insert("key".into(), text.into())),
            Some((key, Err(_))) => {
                drop(object.insert("key_base64".into(), STANDARD.encode(key).into()))
            }
            None => {}
        }
    }
    json
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_end_as_files_end_them_and_are_bounded() {
        let mut input = BufReader::new(&b"a\r\nb\n\r\nc\r"[..]);
        let mut next = || read_line(&mut input).unwrap();
        assert_eq!(next(), Some(Some(b"a".to_vec())));
        assert_eq!(next(), Some(Some(b"b".to_vec())));
        assert_eq!(next(), Some(Some(Vec::new())));
        assert_eq!(next(), Some(Some(b"c\r".to_vec())), "a last line without an end is as it is");
        assert_eq!(next(), None);
        let long = [vec![b'x'; LINE_BYTES_MAX + 5], b"\nshort\n".to_vec()].concat();
        let mut input = BufReader::new(long.as_slice());
        assert_eq!(read_line(&mut input).unwrap(), Some(None));
        assert_eq!(read_line(&mut input).unwrap(), Some(Some(b"short".to_vec())));
    }

    #[test]
    fn an_offset_that_the_broker_did_not_tell_is_none() {
        let of = |offset| {
            let outcome = Outcome::Acknowledged { partition: 2, offset };
            let receipt = Receipt { ingestion_id: uuid::Uuid::nil(), key: None, outcome };
            receipt_json(1, &receipt, "orders.raw", "orders.dlq")
        };
        assert_eq!(of(0)["offset"], 0);
        assert_eq!(of(-1001)["offset"], Value::Null);
        assert_eq!(of(-1001)["outcome"], "acknowledged");
    }

    #[test]
    fn an_envelope_is_an_object() {
        assert!(open_envelope(b"[\"v\",null,null,null]").is_err());
        assert_eq!(open_envelope(b" {\"value\":\"v\"}").unwrap().value, b"v");
    }
}
