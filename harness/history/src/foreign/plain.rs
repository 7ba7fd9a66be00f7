//! A small format that anybody can emit: one JSON object a line, in the order in which its process
//! learned things. Unknown fields are refused, so that a typing error is not a missing fact.
//! `HISTORY.md` lists what a line can tell.
//!
//! What others put around a line is taken off (see [`super::envelope`]); a line that is no object of
//! this format is refused, never passed over.

mod lines;

use super::Refusal;
use super::census::Number;
use super::envelope::{self, Opened, Parts, Piece};
use super::told::{ALL, STORE, TIME, Told, ranges};
use crate::event::*;
use lines::*;

/// Takes one line in.
pub(super) fn take(
    told: &mut Told,
    parts: &mut Parts,
    file: &str,
    text: &[u8],
) -> Result<(), Refusal> {
    let refused = match serde_json::from_slice::<Line>(text) {
        Ok(line) if text.first() == Some(&b'{') => return facts(told, file, line),
        Ok(_) => Refusal::Content("a line is one JSON object".to_owned()),
        Err(error) => Refusal::Json(error),
    };
    match envelope::opened(text, parts) {
        Opened::Line(line) => return take(told, parts, file, line.trim_ascii()),
        Opened::Part => return Ok(()),
        Opened::No => {}
    }
    let pieces = envelope::pieces(text);
    let whole = |piece: &Piece<'_>| match piece {
        Piece::Object(object) => *object != text,
        Piece::Text(text) => !envelope::is_fragment(text),
    };
    let objects = pieces.iter().filter(|piece| matches!(piece, Piece::Object(_))).count();
    if objects == 0 || !pieces.iter().all(whole) {
        return Err(refused);
    }
    for piece in pieces {
        if let Piece::Object(object) = piece {
            take(told, parts, file, object)?;
        }
    }
    Ok(())
}

/// Who speaks, and when.
struct Speaker<'a> {
    process: &'a str,
    t_us: Option<u64>,
}

fn facts(told: &mut Told, file: &str, line: Line) -> Result<(), Refusal> {
    let t_us = line.t_ms.map(|ms| told.at(micros(ms)));
    let process = line.process.clone();
    let speaker = Speaker { process: process.as_deref().unwrap_or(file), t_us };
    let mut any = false;
    macro_rules! each {
        ($($field:ident => $take:ident),* $(,)?) => {
            $(if let Some(fact) = line.$field {
                any = true;
                $take(told, &speaker, fact)?;
            })*
        };
    }
    each! {
        send => send, sent => sent, txn => txn, log => log, log_end => log_end, read => read,
        commit => commit, assign => assign, seek => seek, reset => reset, generation => generation,
        stored => stored, stored_end => stored_end, dead_letter => dead_letter, group => group,
        process_state => process_state, clock => clock,
    }
    match any {
        true => Ok(()),
        false => Err("the line tells nothing; HISTORY.md shows what a line can tell".into()),
    }
}

/// Milliseconds, with fractions, in microseconds.
fn micros(ms: f64) -> i64 {
    (ms * 1000.0).round() as i64
}

fn send(told: &mut Told, speaker: &Speaker<'_>, send: Send) -> Result<(), Refusal> {
    told.vouch(Evidence::Receipts);
    told.census.topic(&send.topic, None).written = true;
    let number = match told.telling() {
        false => told.census.producers.claim(speaker.process, send.op),
        true => own(told, Some(speaker.process), send.op)?,
    };
    let (value, bytes) = (send.value.print()?, send.value.bytes());
    if !told.telling() {
        told.census.values.sent(&send.topic, send.key.as_ref(), value, number);
        if let Some(id) = &send.txn {
            told.vouch(Evidence::Transactions);
            told.census.transactions.sent(id, number, speaker.process);
        }
    }
    told.sent_within(speaker.process, send.txn.as_deref());
    let op = if told.telling() { told.global(number)? } else { send.op };
    let Send { topic, key, poison, .. } = send;
    let fact = Invoked { op, topic, key, value, bytes, poison, ..Invoked::default() };
    told.tell(speaker.t_us, speaker.process, Fact::Invoked(fact));
    Ok(())
}

/// The operation that a number means.
fn own(told: &Told, process: Option<&str>, op: u64) -> Result<Number, String> {
    let number = told.census.producers.resolve(process, op);
    number.ok_or_else(|| {
        format!("several producers have an operation {op}: say which with `producer`")
    })
}

fn sent(told: &mut Told, speaker: &Speaker<'_>, sent: Sent) -> Result<(), Refusal> {
    told.vouch(Evidence::Receipts);
    let process = sent.producer.as_deref().unwrap_or(speaker.process);
    let number = own(told, Some(process), sent.op)?;
    let transaction = told.census.transactions.of(number);
    let outcome = outcome(told, sent)?;
    if let Outcome::Acknowledged { topic, partition, offset } = &outcome
        && !told.telling()
    {
        told.census.receipts.keep(number, (topic, *partition, *offset));
        if let Some(transaction) = transaction {
            told.census.transactions.record(transaction, (topic.clone(), *partition), *offset);
        }
    }
    if !told.telling() {
        return Ok(());
    }
    let op = told.global(number)?;
    let outcome = match transaction.map(|number| told.census.transactions.get(number).state()) {
        None | Some(TransactionState::Committed) => outcome,
        Some(TransactionState::Aborted) => {
            Outcome::Failed { error: "its transaction was aborted".to_owned() }
        }
        Some(TransactionState::Unknown) => match outcome {
            Outcome::Acknowledged { .. } => {
                Outcome::Unknown { error: "how its transaction ended is not known".to_owned() }
            }
            other => other,
        },
    };
    let completed = Completed::new(op, None, outcome);
    told.tell(speaker.t_us, speaker.process, Fact::Completed(completed));
    Ok(())
}

/// What is said of acknowledgements without an offset, by any client.
pub(super) const WITHOUT_OFFSET: &str = "operations that were reported without an offset, as with acks=0: nobody acknowledged them, so \
     whether they were written is unknown";

fn outcome(told: &mut Told, sent: Sent) -> Result<Outcome, String> {
    let error = sent.error.unwrap_or_default();
    match (sent.outcome.as_str(), sent.topic, sent.partition, sent.offset) {
        ("acknowledged", Some(_), _, Some(offset)) if no_offset(offset) => {
            let text = format!("operation {}, offset {offset}", sent.op);
            told.doubt(WITHOUT_OFFSET, &["acknowledged-is-durable"], &text);
            Ok(Outcome::Unknown { error: format!("acknowledged at offset {offset}") })
        }
        ("acknowledged", Some(topic), Some(partition), Some(offset)) => {
            let (partition, offset) = told.place(&topic, partition, offset)?;
            told.census.topic(&topic, None).written = true;
            Ok(Outcome::Acknowledged { topic, partition, offset })
        }
        ("acknowledged", ..) => {
            Err("`acknowledged` needs `topic`, `partition` and `offset`".to_owned())
        }
        ("rejected", ..) => Ok(Outcome::Rejected { reason: error }),
        ("failed", ..) => Ok(Outcome::Failed { error }),
        ("unknown", ..) => Ok(Outcome::Unknown { error }),
        (other, ..) => Err(format!(
            "`{}` is no outcome; there are acknowledged, rejected, failed, unknown",
            other.escape_debug()
        )),
    }
}

/// What clients say where there is none.
pub(super) fn no_offset(offset: i64) -> bool {
    matches!(offset, -1 | -1001)
}

fn txn(told: &mut Told, speaker: &Speaker<'_>, txn: Txn) -> Result<(), Refusal> {
    told.vouch(Evidence::Transactions);
    told.transaction_ended(&txn.id, txn.outcome, speaker.process);
    Ok(())
}

fn log(told: &mut Told, speaker: &Speaker<'_>, log: Log) -> Result<(), Refusal> {
    let (partition, offset) = told.place(&log.topic, log.partition, log.offset)?;
    told.census.topic(&log.topic, None).logged = true;
    let value = log.value.as_ref().map_or(Ok(Print::UNTOLD), Value::print)?;
    if log.value.is_none() && told.census.is_under_test(&log.topic) {
        let kind = "records of the log without `value`: what they hold is compared with nothing";
        let example = format!("offset {offset} of {}/{partition}", log.topic.escape_debug());
        told.doubt(kind, &["acknowledged-is-durable", "fidelity"], &example);
    }
    let number = match log.op {
        Some(op) if told.telling() => own(told, log.producer.as_deref(), op).map(Some)?,
        _ => told.op_of(&log.topic, log.key.as_ref(), value)?,
    };
    let place = (log.topic.clone(), partition);
    if log.aborted && !told.telling() {
        told.census.transactions.aborted.entry(place.clone()).or_default().insert(offset);
    }
    let transaction = number.and_then(|number| told.census.transactions.of(number));
    let aborted = transaction
        .is_some_and(|n| told.census.transactions.get(n).state() == TransactionState::Aborted);
    if log.aborted || aborted || told.census.transactions.aborted_at(&place).contains(&offset) {
        told.census.transactions.aborted.entry(place).or_default().insert(offset);
        return Ok(());
    }
    if let Some(transaction) = transaction {
        told.census.transactions.record(transaction, place, offset);
    }
    let op = number.map(|number| told.global(number)).transpose()?;
    let fact = Logged {
        topic: log.topic,
        partition,
        offset,
        timestamp_ms: Some(log.timestamp_ms.unwrap_or(UNTOLD_MS)),
        op,
        key: log.key,
        value,
        ..Logged::default()
    };
    told.tell(speaker.t_us, speaker.process, Fact::Logged(fact));
    Ok(())
}

fn log_end(told: &mut Told, speaker: &Speaker<'_>, end: LogEnd) -> Result<(), Refusal> {
    told.vouch(Evidence::Log);
    let (partition, _) = told.place(&end.topic, end.partition, 0)?;
    let LogEnd { topic, low, high, mut holes, mut aborted, .. } = end;
    let offsets = told.census.transactions.aborted_at(&(topic.clone(), partition));
    let within = offsets.into_iter().filter(|offset| (low..high).contains(offset));
    aborted.extend(ranges(within));
    holes.extend(aborted.iter().copied());
    let fact = LogBounds { topic, partition, low, high, complete: true, holes, aborted };
    told.tell(speaker.t_us, speaker.process, Fact::LogBounds(fact));
    Ok(())
}

fn read(told: &mut Told, speaker: &Speaker<'_>, read: ReadLine) -> Result<(), Refusal> {
    let (partition, offset) =
        told.consumed(&read.group, &read.topic, read.partition, read.offset)?;
    let value = read.value.as_ref().map(Value::print).transpose()?;
    let place = (read.topic.clone(), partition);
    let reader = (read.group.as_str(), speaker.process);
    told.read_within(reader, read.txn.as_deref(), &place, offset);
    if speaker.t_us.is_none() {
        let kind = "reads without `t_ms`: when they came is not known";
        told.doubt(
            kind,
            TIME,
            &format!("offset {offset} of {}/{partition}", place.0.escape_debug()),
        );
    }
    // What an aborted transaction read comes again to the one after it.
    if was_aborted(told, read.txn.as_deref()) {
        return Ok(());
    }
    let ReadLine { group, member, topic, .. } = read;
    let fact = Read { group, member, topic, partition, offset, value };
    told.tell(speaker.t_us, speaker.process, Fact::Read(fact));
    Ok(())
}

fn was_aborted(told: &mut Told, id: Option<&str>) -> bool {
    told.telling()
        && id.is_some_and(|id| {
            let number = told.census.transactions.number(id);
            told.census.transactions.get(number).state() == TransactionState::Aborted
        })
}

fn commit(told: &mut Told, speaker: &Speaker<'_>, commit: Commit) -> Result<(), Refusal> {
    let at_us = speaker.t_us.ok_or("a commit needs `t_ms`")?;
    let evidence =
        if commit.sampled { Evidence::CommitsSampled } else { Evidence::CommitsComplete };
    told.vouch(evidence);
    if no_offset(commit.offset) {
        // A watcher found that nothing was committed yet.
        told.consumed(&commit.group, &commit.topic, commit.partition, 0)?;
        return Ok(());
    }
    let (partition, offset) =
        told.consumed(&commit.group, &commit.topic, commit.partition, commit.offset)?;
    let id = commit.txn.as_deref();
    if was_aborted(told, id) {
        return Ok(());
    }
    if let Some(id) = id
        && told.telling()
    {
        let number = told.census.transactions.number(id);
        if told.census.transactions.get(number).state() == TransactionState::Unknown {
            let text = format!("`{}`", id.escape_debug());
            let kind = "commits within a transaction of which nobody said how it ended";
            told.doubt(kind, &["no-loss", "no-gap", "commit-frontier"], &text);
            return Ok(());
        }
    }
    let at_us = told.not_before(speaker.process, at_us);
    let Commit { group, topic, sampled, .. } = commit;
    let fact = Committed { group, topic, partition, offset, at_us, exact: !sampled };
    told.tell(speaker.t_us, speaker.process, Fact::Committed(fact));
    Ok(())
}

fn assign(told: &mut Told, speaker: &Speaker<'_>, assign: Assign) -> Result<(), Refusal> {
    let (partition, _) = told.consumed(&assign.group, &assign.topic, assign.partition, 0)?;
    let Assign { group, member, topic, change, .. } = assign;
    let fact = Assignment { group, member, topic, partition, change };
    told.tell(speaker.t_us, speaker.process, Fact::Assignment(fact));
    Ok(())
}

fn seek(told: &mut Told, speaker: &Speaker<'_>, seek: Seek) -> Result<(), Refusal> {
    let (partition, offset) =
        told.consumed(&seek.group, &seek.topic, seek.partition, seek.offset)?;
    let at_us = told.not_before(speaker.process, speaker.t_us.unwrap_or(0));
    let Seek { group, member, topic, .. } = seek;
    let (offset, how) = (Some(offset), PositionChange::Sought);
    let fact = Position { group, member, topic, partition, offset, how, at_us };
    told.tell(speaker.t_us, speaker.process, Fact::Position(fact));
    Ok(())
}

fn reset(told: &mut Told, speaker: &Speaker<'_>, reset: ResetLine) -> Result<(), Refusal> {
    let ResetLine { group, topic, partition, offset, by } = reset;
    told.census.group(&group);
    let partition = partition.map(|number| told.place(&topic, number, 0)).transpose()?;
    let partition = partition.map(|(partition, _)| partition);
    let by = by.unwrap_or_else(|| "an operator".to_owned());
    told.tell(
        speaker.t_us,
        speaker.process,
        Fact::Reset(Reset { group, topic, partition, offset, by }),
    );
    Ok(())
}

fn generation(told: &mut Told, speaker: &Speaker<'_>, line: GenerationLine) -> Result<(), Refusal> {
    let at_us = speaker.t_us.ok_or("a generation needs `t_ms`")?;
    told.census.group(&line.group);
    let GenerationLine { group, generation, members } = line;
    let fact = Generation { group, generation, members, at_us };
    told.tell(speaker.t_us, speaker.process, Fact::Generation(fact));
    Ok(())
}

fn stored(told: &mut Told, _: &Speaker<'_>, line: StoredLine) -> Result<(), Refusal> {
    told.vouch(Evidence::Objects);
    let (partition, offset) =
        told.consumed(&line.group, &line.topic, line.partition, line.offset)?;
    told.census.group(&line.group).stores = true;
    let value = line.value.as_ref().map_or(Ok(Print::UNTOLD), Value::print)?;
    let created_us = line.created_ms.map(|ms| told.at(micros(ms)));
    if created_us.is_none() {
        let kind = "stored records without `created_ms`: when they became durable is not known";
        told.doubt(
            kind,
            TIME,
            &format!("offset {offset} of {}/{partition}", line.topic.escape_debug()),
        );
    }
    if !told.telling() {
        return Ok(());
    }
    let raw_zone = told.census.group(&line.group).promise(&line.group).raw_zone;
    let raw_zone = raw_zone.unwrap_or_default();
    // A record that stands by itself, as a row of a table, is an object of its own.
    let single = || format!("{}/{partition}/{offset}", line.topic);
    let name = line.object.clone().unwrap_or_else(single);
    let again = format!("copy {}", told.parts_of(&line.group));
    let generation = match (&line.generation, &line.object) {
        (Some(generation), _) => generation.clone(),
        (None, Some(_)) => String::new(),
        (None, None) => again,
    };
    let key = (&*line.group, &*name, &*generation);
    let (object, number) = told.object(key, line.line, |object| {
        let bytes = line.bytes.unwrap_or(0);
        let (name, generation) = (name.clone(), generation.clone());
        let created_us = created_us.unwrap_or(0);
        let role = ObjectRole::Part;
        Fact::Object(Object {
            object,
            raw_zone,
            name,
            generation,
            created_us,
            bytes,
            role,
            ..Object::default()
        })
    });
    let fact = Stored {
        object,
        line: number,
        topic: line.topic,
        partition,
        offset,
        timestamp_ms: Some(line.timestamp_ms.unwrap_or(UNTOLD_MS)),
        key: line.key,
        value,
        ..Stored::default()
    };
    told.tell(None, STORE, Fact::Stored(fact));
    Ok(())
}

/// The store was read to its end.
fn stored_end(told: &mut Told, _: &Speaker<'_>, end: StoredEnd) -> Result<(), Refusal> {
    told.vouch(Evidence::Objects);
    told.census.group(&end.group).stores = true;
    if told.telling() {
        let raw_zone = told.census.group(&end.group).promise(&end.group).raw_zone;
        let parts = told.parts_of(&end.group);
        let raw_zone = raw_zone.unwrap_or_default();
        told.tell(None, STORE, Fact::StoreRead { raw_zone, parts });
    }
    Ok(())
}

fn dead_letter(
    told: &mut Told,
    speaker: &Speaker<'_>,
    line: DeadLetterLine,
) -> Result<(), Refusal> {
    told.vouch(Evidence::DeadLetters);
    let (partition, offset) = told.place(&line.topic, line.partition, line.offset)?;
    told.census.topic(&line.topic, None).of_dead_letters = true;
    if let Some(group) = &line.group {
        told.census.group(group).dead_letters = Some(line.topic.clone());
    }
    let mut source = match line.origin {
        Some(origin) => {
            let (partition, offset) = told.place(&origin.topic, origin.partition, origin.offset)?;
            Some((origin.topic, partition, offset))
        }
        None => None,
    };
    if !told.telling() {
        return Ok(());
    }
    let value = line.value.as_ref().map_or(Ok(Print::UNTOLD), Value::print)?;
    let number = match line.op {
        Some(op) => Some(own(told, line.producer.as_deref(), op)?),
        None if source.is_none() => told.census.sender_anywhere(line.key.as_ref(), value),
        None => None,
    };
    // One that does not say where its record stood: there where its operation was acknowledged.
    source = source.or_else(|| told.census.receipts.of(number?));
    let op = number.map(|number| told.global(number)).transpose()?;
    let at_us = line.created_ms.map(|ms| told.at(micros(ms))).or(speaker.t_us);
    if at_us.is_none() {
        let kind = "dead letters without `created_ms`: when they were written is not known";
        told.doubt(
            kind,
            TIME,
            &format!("offset {offset} of {}/{partition}", line.topic.escape_debug()),
        );
    }
    let fact = DeadLetter {
        topic: line.topic,
        partition,
        offset,
        created_us: at_us.unwrap_or(0),
        source,
        op,
        key: line.key,
        value,
        error: line.error,
        group: line.group,
        ..DeadLetter::default()
    };
    told.tell(speaker.t_us, speaker.process, Fact::DeadLetter(fact));
    Ok(())
}

fn group(told: &mut Told, _: &Speaker<'_>, group: super::census::GroupTold) -> Result<(), Refusal> {
    for topic in &group.topics {
        told.census.topic(topic, None).consumed = true;
    }
    if let Some(topic) = &group.dead_letters {
        told.vouch(Evidence::DeadLetters);
        told.census.topic(topic, None).of_dead_letters = true;
    }
    let name = group.name.clone();
    let seen = told.census.group(&name);
    let before = seen.told.get_or_insert_with(|| group.clone());
    if format!("{before:?}") != format!("{group:?}") {
        told.doubt(
            "groups that are described in two ways",
            ALL,
            &format!("`{}`", name.escape_debug()),
        );
    }
    Ok(())
}

fn process_state(told: &mut Told, speaker: &Speaker<'_>, line: StateLine) -> Result<(), Refusal> {
    told.vouch(Evidence::Processes);
    if let Some(group) = &line.group {
        told.census.group(group);
    }
    let end = match (line.code, line.signal) {
        // Python and others give the signal as a negative code.
        (Some(code @ ..0), None) => Some(ProcessEnd::Signal(code.saturating_neg())),
        (Some(code), _) => Some(ProcessEnd::Code(code)),
        (None, Some(signal)) => Some(ProcessEnd::Signal(signal)),
        (None, None) => None,
    };
    let status = end.map(|end| match end {
        ProcessEnd::Code(code) => format!("exit code {code}"),
        ProcessEnd::Signal(signal) => format!("signal {signal}"),
    });
    let role = line.role.or_else(|| line.group.as_ref().map(|_| ProcessRole::Consumer));
    let StateLine { name, pid, state, group, asked, .. } = line;
    let fact = ProcessState { name, pid: pid.unwrap_or(0), state, status, role, group, asked, end };
    told.tell(speaker.t_us, speaker.process, Fact::Process(fact));
    Ok(())
}

fn clock(told: &mut Told, speaker: &Speaker<'_>, line: ClockLine) -> Result<(), Refusal> {
    let (low_us, high_us) = (micros(line.low_ms), micros(line.high_ms));
    if low_us > high_us {
        return Err("`low_ms` of a clock is above its `high_ms`".into());
    }
    let how = line.how.unwrap_or_else(|| "as it was told".to_owned());
    let fact = Clock { of: line.of, low_us, high_us, how };
    told.tell(speaker.t_us, speaker.process, Fact::Clock(fact));
    Ok(())
}
