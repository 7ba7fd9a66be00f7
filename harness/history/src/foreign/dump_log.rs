//! What `kafka-dump-log.sh --print-data-log` prints of a partition's segments: the best way to read a log
//! back. It shows the records and everything else that takes an offset: the markers of transactions,
//! and with them which records belong to aborted ones; what compaction left out; sequences of
//! producers.
//!
//! The tool prints values as text. Where a value is not (its size tells), it is not known and compared
//! with nothing. The topic and partition come from the folder that the tool names (`Dumping
//! /data/orders-0/…`); without that line, from the file's name on the command line, `orders-0=FILE`.
//! A transaction's marker bears a higher epoch than its records since Kafka 4, so records belong to the
//! next marker of their producer, whatever the epoch.

use std::collections::{BTreeMap, BTreeSet};

use super::Refusal;
use super::census::Place;
use super::told::{ALL, Told, excerpt, ranges};
use crate::event::*;

/// Records of a batch that are told without having been shown.
const UNSHOWN_MAX: u64 = 100_000;

/// What is known of a partition from all dumps of it.
#[derive(Debug, Default)]
pub(super) struct Dump {
    /// First offset and the one behind the last of each segment.
    segments: Vec<(u64, u64)>,
    /// Offsets with a record for everybody.
    records: BTreeSet<(u64, u64)>,
    /// Records of transactions without an end so far, by producer.
    open: BTreeMap<i64, BTreeSet<u64>>,
    /// Highest sequence of each producer in its epoch.
    sequences: BTreeMap<(i64, i64), i64>,
}

/// A batch as its line describes it.
#[derive(Debug, Clone, Default)]
struct Batch {
    first: u64,
    last: u64,
    count: u64,
    producer: i64,
    transactional: bool,
    control: bool,
    timestamp_ms: Option<i64>,
    shown: u64,
}

/// A record whose text may go on in the next line.
#[derive(Debug)]
struct Record {
    offset: u64,
    timestamp_ms: Option<i64>,
    key_bytes: i64,
    value_bytes: i64,
    text: Vec<u8>,
}

/// What earlier lines of a file mean for later ones.
#[derive(Debug, Default)]
pub(super) struct State {
    place: Option<Place>,
    batch: Option<Batch>,
    record: Option<Record>,
}

/// Topic and partition of a folder or a name, `orders-0`.
fn place_of(name: &str) -> Option<Place> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition = partition.parse().ok()?;
    (!topic.is_empty()).then(|| (topic.to_owned(), partition))
}

/// The word behind a label.
fn word<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let at = text.find(label)? + label.len();
    text[at..].split_ascii_whitespace().next()
}

fn number<T: std::str::FromStr>(text: &str, label: &str) -> Result<T, String> {
    let found = word(text, label).and_then(|word| word.parse().ok());
    found.ok_or_else(|| format!("no `{}` with a number where one was expected", label.trim()))
}

/// Takes one line in.
pub(super) fn take(
    told: &mut Told,
    state: &mut State,
    process: &str,
    line: &[u8],
) -> Result<(), Refusal> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    if let Some(rest) = text.trim_start_matches("| ").strip_prefix("offset: ") {
        end_record(told, state, process)?;
        return begin_record(told, state, process, rest);
    }
    if text.starts_with("baseOffset: ") {
        return batch(told, state, process, text);
    }
    if let Some(file) = text.strip_prefix("Dumping ") {
        end_batch(told, state, process)?;
        let folder = file.trim().rsplit(['/', '\\']).nth(1);
        state.place = folder.and_then(place_of);
        return Ok(());
    }
    if let Some(at) = text
        .to_ascii_lowercase()
        .strip_prefix("log starting offset: ")
        .or(text.to_ascii_lowercase().strip_prefix("starting offset: "))
    {
        let first = at.trim().parse().map_err(|_| "no number behind `starting offset`")?;
        let dump = dump(told, state, process)?;
        dump.segments.push((first, first));
        return Ok(());
    }
    if let Some(record) = &mut state.record {
        record.text.push(b'\n');
        record.text.extend_from_slice(line);
        return Ok(());
    }
    if !text.trim().is_empty() {
        let kind = "lines of a dump that are not known: what they would have said is not known";
        told.doubt(kind, ALL, &excerpt(line));
    }
    Ok(())
}

fn dump<'a>(told: &'a mut Told, state: &mut State, process: &str) -> Result<&'a mut Dump, Refusal> {
    let place = match &state.place {
        Some(place) => place.clone(),
        None => place_of(process).ok_or(
            "nothing says which partition this is: keep the line `Dumping …`, or name the file \
             TOPIC-PARTITION=FILE",
        )?,
    };
    told.vouch(Evidence::Log);
    told.vouch(Evidence::Transactions);
    told.census.topic(&place.0, Some(place.1)).logged = true;
    state.place = Some(place.clone());
    Ok(told.dumps.entry(place).or_default())
}

fn batch(told: &mut Told, state: &mut State, process: &str, text: &str) -> Result<(), Refusal> {
    end_batch(told, state, process)?;
    let batch = Batch {
        first: number(text, "baseOffset: ")?,
        last: number(text, "lastOffset: ")?,
        // Batches of old formats do not count.
        count: number(text, " count: ").unwrap_or(0),
        producer: number(text, "producerId: ").unwrap_or(-1),
        transactional: word(text, "isTransactional: ") == Some("true"),
        control: word(text, "isControl: ") == Some("true"),
        timestamp_ms: number(text, "Time: ").ok(),
        shown: 0,
    };
    if batch.last < batch.first || batch.last > i64::MAX as u64 {
        return Err(format!("a batch from {} to {}", batch.first, batch.last).into());
    }
    if word(text, "isvalid: ") == Some("false") {
        told.doubt("batches that the tool calls invalid", ALL, &excerpt(text.as_bytes()));
    }
    let sequence = (number(text, "producerEpoch: "), number(text, "lastSequence: "));
    let dump = dump(told, state, process)?;
    match dump.segments.last_mut() {
        Some(segment) => segment.1 = segment.1.max(batch.last + 1),
        None => dump.segments.push((batch.first, batch.last + 1)),
    }
    let mut repeated = false;
    if let (Ok(epoch), Ok(last)) = sequence
        && batch.producer >= 0
        && last >= 0
    {
        let before = dump.sequences.insert((batch.producer, epoch), last);
        // A sequence begins anew behind its highest number.
        repeated =
            before.is_some_and(|before| last <= before && before - last < i64::from(i32::MAX) / 2);
    }
    if repeated {
        let kind =
            "batches that repeat a sequence of their producer, which a broker refuses to write";
        told.doubt(kind, &["duplicates"], &excerpt(text.as_bytes()));
    }
    state.batch = Some(batch);
    Ok(())
}

/// The batch is over: records of it that were not shown are told without their content.
fn end_batch(told: &mut Told, state: &mut State, process: &str) -> Result<(), Refusal> {
    end_record(told, state, process)?;
    let Some(batch) = state.batch.take() else { return Ok(()) };
    if batch.control || batch.shown > 0 || batch.count == 0 {
        return Ok(());
    }
    let kind = "batches whose records are not shown: run kafka-dump-log with --print-data-log";
    told.doubt(kind, ALL, &format!("offsets {} to {}", batch.first, batch.last));
    if batch.count == batch.last - batch.first + 1 && batch.count <= UNSHOWN_MAX {
        for offset in batch.first..=batch.last {
            tell(told, state, process, (offset, batch.timestamp_ms), (None, Print::UNTOLD))?;
        }
    }
    Ok(())
}

fn begin_record(
    told: &mut Told,
    state: &mut State,
    process: &str,
    rest: &str,
) -> Result<(), Refusal> {
    let text = format!("offset: {rest}");
    let offset: u64 = number(&text, "offset: ")?;
    let Some(batch) = &mut state.batch else {
        return Err("a record before its batch".into());
    };
    batch.shown += 1;
    let (control, transactional, producer) = (batch.control, batch.transactional, batch.producer);
    if control {
        let aborted = match word(&text, "endTxnMarker: ") {
            Some("COMMIT") => false,
            Some("ABORT") => true,
            _ => return Ok(()),
        };
        return ended(told, state, process, producer, aborted);
    }
    if transactional {
        let dump = dump(told, state, process)?;
        dump.open.entry(producer).or_default().insert(offset);
    }
    state.record = Some(Record {
        offset,
        timestamp_ms: number(&text, "Time: ").ok(),
        key_bytes: number(&text, "keySize: ").unwrap_or(i64::MIN),
        value_bytes: number(&text, "valueSize: ").unwrap_or(i64::MIN),
        text: text.into_bytes(),
    });
    Ok(())
}

/// A marker ends the open transaction of a producer.
fn ended(
    told: &mut Told,
    state: &mut State,
    process: &str,
    producer: i64,
    aborted: bool,
) -> Result<(), Refusal> {
    let offsets = dump(told, state, process)?.open.remove(&producer).unwrap_or_default();
    let Some(place) = state.place.clone().filter(|_| aborted && !told.telling()) else {
        return Ok(());
    };
    let Some(&first) = offsets.first() else { return Ok(()) };
    transaction(told, (producer, &place, first), &offsets, Some(TransactionState::Aborted));
    told.census.transactions.aborted.entry(place).or_default().extend(offsets);
    Ok(())
}

fn transaction(
    told: &mut Told,
    (producer, place, first): (i64, &Place, u64),
    offsets: &BTreeSet<u64>,
    state: Option<TransactionState>,
) {
    let id = format!("producer {producer}, {}/{} from offset {first}", place.0, place.1);
    let number = told.census.transactions.number(&id);
    for offset in offsets {
        told.census.transactions.record(number, place.clone(), *offset);
    }
    if let Some(state) = state {
        told.census.transactions.ended(&id, state, "the log");
    }
}

fn end_record(told: &mut Told, state: &mut State, process: &str) -> Result<(), Refusal> {
    let Some(record) = state.record.take() else { return Ok(()) };
    let content = content(&record).unwrap_or_else(|| {
        let kind = "records whose value the dump cannot show as text: it is compared with nothing";
        told.doubt(
            kind,
            &["acknowledged-is-durable", "fidelity"],
            &format!("offset {}", record.offset),
        );
        (None, Print::UNTOLD)
    });
    tell(told, state, process, (record.offset, record.timestamp_ms), content)
}

/// Key and value of a record, if its text is just as long as the sizes say; none if not.
fn content(record: &Record) -> Option<(Option<Blob>, Print)> {
    let length = |bytes: i64| usize::try_from(bytes).ok();
    let (mut rest, mut value) = (&record.text[..], Print::NULL);
    if let Some(bytes) = length(record.value_bytes) {
        let at = rest.len().checked_sub(bytes)?;
        value = Print::of(&rest[at..]);
        rest = rest[..at].strip_suffix(b" payload: ")?;
    } else if record.value_bytes != -1 {
        return None;
    }
    let mut key = None;
    if let Some(bytes) = length(record.key_bytes) {
        let at = rest.len().checked_sub(bytes)?;
        key = Some(Blob(rest[at..].to_vec()));
        rest = rest[..at].strip_suffix(b" key: ")?;
    } else if record.key_bytes != -1 {
        return None;
    }
    let exact = rest.ends_with(b"]") && !record.text.windows(3).any(|c| c == "\u{fffd}".as_bytes());
    exact.then_some((key, value))
}

fn tell(
    told: &mut Told,
    state: &mut State,
    process: &str,
    (offset, timestamp_ms): (u64, Option<i64>),
    (key, value): (Option<Blob>, Print),
) -> Result<(), Refusal> {
    dump(told, state, process)?;
    let Some((topic, partition)) = state.place.clone() else { return Ok(()) };
    let place = (topic, partition);
    if told.census.transactions.aborted.get(&place).is_some_and(|all| all.contains(&offset)) {
        return Ok(());
    }
    if let Some(dump) = told.dumps.get_mut(&place) {
        let before =
            dump.records.last().copied().filter(|(_, last)| last.checked_add(1) == Some(offset));
        let range = match before {
            Some(range) => {
                dump.records.remove(&range);
                (range.0, offset)
            }
            None => (offset, offset),
        };
        dump.records.insert(range);
    }
    let number = told.op_of(&place.0, key.as_ref(), value)?;
    let transaction = number.and_then(|number| told.census.transactions.of(number));
    if let Some(transaction) = transaction {
        told.census.transactions.record(transaction, place.clone(), offset);
    }
    let op = number.map(|number| told.global(number)).transpose()?;
    let (topic, partition) = place;
    let fact =
        Logged { topic, partition, offset, timestamp_ms, op, key, value, ..Logged::default() };
    told.tell(None, process, Fact::Logged(fact));
    Ok(())
}

/// The file ends.
pub(super) fn end(told: &mut Told, state: &mut State, process: &str) -> Result<(), Refusal> {
    end_batch(told, state, process)
}

/// All files are read: each partition's ends, and the offsets in it that hold no record.
pub(super) fn finish(told: &mut Told) {
    for (place, dump) in std::mem::take(&mut told.dumps) {
        for (producer, offsets) in &dump.open {
            let Some(&first) = offsets.first() else { continue };
            if !told.telling() {
                transaction(told, (*producer, &place, first), offsets, None);
            }
        }
        let mut segments = dump.segments;
        segments.sort_unstable();
        let (Some(&(low, _)), Some(high)) =
            (segments.first(), segments.iter().map(|segment| segment.1).max())
        else {
            continue;
        };
        let mut due = low;
        let mut complete = true;
        for (first, end) in segments {
            // An empty segment may begin further on than the last one ends.
            complete &= first <= due || first == end;
            due = due.max(end);
        }
        if !complete {
            let kind = "dumps of a partition that lack a segment between two others";
            told.doubt(kind, ALL, &format!("{}/{}", place.0.escape_debug(), place.1));
        }
        let aborted = told.census.transactions.aborted_at(&place);
        let aborted = ranges(aborted.into_iter().filter(|offset| (low..high).contains(offset)));
        let holes = between(low, high, &dump.records);
        let (topic, partition) = place;
        let bounds = LogBounds { topic, partition, low, high, complete, holes, aborted };
        told.tell(None, "dump of the log", Fact::LogBounds(bounds));
    }
}

/// What lies between ranges that may touch or overlap.
fn between(low: u64, high: u64, records: &BTreeSet<(u64, u64)>) -> Vec<(u64, u64)> {
    let (mut holes, mut due) = (Vec::new(), low);
    for &(first, last) in records {
        if first > due {
            holes.push((due, first - 1));
        }
        due = due.max(last + 1);
    }
    if due < high {
        holes.push((due, high - 1));
    }
    holes
}
