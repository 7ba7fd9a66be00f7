//! Each dead letter on its own: whether it had to be, whose it is, and whether all that it says is so.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, EVIDENCE_MAX, OPS_MAX, anomalous, count, quoted, seconds};
use super::evidence::foreign;
use crate::index::{Base, Dead, End, Index, NO_ID, NO_OP, NO_TIMESTAMP, RangeSet, Seen};
use streamlake_history::event::{
    ConsumerPromise, DeadLetter, HeaderPair, Print, ProcessChange, PromisedValue, UNTOLD_MS,
    ValuePromise,
};

/// Kafka, the stores and headers have milliseconds.
pub(super) const RESOLUTION_US: i64 = 2_000;

/// Letters with the same fault: each with what is wrong about it.
type Faults<'a> = BTreeMap<&'static str, Vec<(&'a Dead, String)>>;

pub(super) fn judge(index: &Index, case: &mut Case<'_>, letters: &[&Dead]) {
    let poison: BTreeSet<u64> = index
        .ops
        .kept
        .values()
        .filter(|kept| kept.invocation.poison)
        .map(|kept| kept.invocation.value)
        .collect();
    let mut judge = Judge { index, poison, faults: BTreeMap::new(), unjudged: 0 };
    for dead in letters {
        judge.fields(dead);
        judge.writer(dead);
        match dead.source {
            Some((lane, offset)) => judge.record(dead, lane, offset),
            None if dead.letter.group.is_some() => {}
            None => judge.rejection(dead),
        }
    }
    judge.reasons(letters);
    if judge.unjudged > 0 {
        case.doubt(format!(
            "of {} nobody can say whether it had to be",
            count(judge.unjudged, "dead letter")
        ));
    }
    for (anomaly, faulty) in judge.faults {
        report(index, case, anomaly, &faulty);
    }
}

struct Judge<'a> {
    index: &'a Index,
    /// Values of poison.
    poison: BTreeSet<u64>,
    faults: Faults<'a>,
    unjudged: u64,
}

impl<'a> Judge<'a> {
    fn fault(&mut self, dead: &'a Dead, anomaly: &'static str, why: String) {
        self.faults.entry(anomaly).or_default().push((dead, why));
    }

    /// All fields are there and say something.
    fn fields(&mut self, dead: &'a Dead) {
        let letter = &dead.letter;
        let mut lacks: Vec<String> = letter.missing_headers.clone();
        // Others need not say why, and version 1 did not tell the trace.
        let native = writer_is_documented(self.index, letter);
        let told = native && self.index.header.version > 1 && letter.missing_headers.is_empty();
        for (name, text, told) in
            [("error reason", &letter.error, native), ("error trace", &letter.trace, told)]
        {
            let blank = text.as_ref().map_or(told, |text| text.trim().is_empty());
            if blank {
                lacks.push(format!("an {name}"));
            }
        }
        // The trace begins with the reason and says more.
        if let (Some(error), Some(trace)) = (&letter.error, &letter.trace)
            && told
            && !trace.trim().is_empty()
            && !trace.starts_with(error.as_str())
        {
            let why = format!("says {}, and its trace {}", quoted(error), quoted(trace));
            self.fault(dead, "dead-letter-reason-differs", why);
        }
        if let (Some(error), Some(trace)) = (&letter.error, &letter.trace)
            && told
            && !error.trim().is_empty()
            && trace.trim() == error.trim()
        {
            lacks.push("a trace that says more than its reason".to_owned());
        }
        if told && letter.group.is_none() && dead.source.is_some() {
            lacks.push("the group that wrote it".to_owned());
        }
        if told && letter.failed_ms.is_none() {
            lacks.push("the instant of failure".to_owned());
        }
        if !lacks.is_empty() {
            self.fault(dead, "dead-letter-incomplete", format!("lacks {}", lacks.join(", ")));
        }
    }

    /// It is of a group that writes there.
    fn writer(&mut self, dead: &'a Dead) {
        let Some(group) = &dead.letter.group else { return };
        let mut groups = self.index.header.promises.groups.iter();
        let writes = groups.any(|promise| {
            promise.group == *group
                && promise.dead_letter_topic.as_ref() == Some(&dead.letter.topic)
        });
        if !writes {
            let why = format!("names group {}, which is none under test", quoted(group));
            self.fault(dead, "dead-letter-of-unknown-group", why);
        }
    }

    /// Whether a payload is refused, and why, is the payload's own affair: equal ones have equal reasons,
    /// whichever group or producer refuses them, and a receipt has that of its letter.
    fn reasons(&mut self, letters: &[&'a Dead]) {
        let mut known: BTreeMap<u64, (&str, String)> = BTreeMap::new();
        let mut traces: BTreeMap<u64, (&str, String)> = BTreeMap::new();
        for (op, reason) in &self.index.reasons {
            let kept = self.index.ops.kept.get(op).filter(|kept| kept.invocation.poison);
            if let Some(kept) = kept {
                let receipt = || (reason.as_str(), format!("the receipt of operation {op}"));
                known.entry(kept.invocation.value).or_insert_with(receipt);
            }
        }
        for dead in letters {
            let letter = &dead.letter;
            let Some(error) = letter.error.as_deref().filter(|text| !text.trim().is_empty()) else {
                continue;
            };
            if self.index.header.version < 2 || !writer_is_documented(self.index, letter) {
                continue;
            }
            let place = || format!("the dead letter {}/{}", letter.partition, letter.offset);
            let (other, of) = known.entry(letter.value.0).or_insert_with(|| (error, place()));
            if *other != error {
                let why =
                    format!("says {}, {of} of the same payload {}", quoted(error), quoted(other));
                self.fault(dead, "dead-letter-reason-differs", why);
                continue;
            }
            // What leads to the reason is the payload's affair as well.
            let Some(trace) = letter.trace.as_deref() else { continue };
            let (other, of) = traces.entry(letter.value.0).or_insert_with(|| (trace, place()));
            if *other != trace {
                let why = format!(
                    "traces it to {}, {of} of the same payload to {}",
                    quoted(trace),
                    quoted(other)
                );
                self.fault(dead, "dead-letter-trace-differs", why);
            }
        }
    }

    /// A letter of a record of the log: what it says is what stands there.
    fn record(&mut self, dead: &'a Dead, number: usize, offset: u64) {
        let lane = &self.index.lanes[number];
        if lane.promised.is_none() {
            let why = format!("names {}, which is not under test", self.index.lane_name(number));
            return self.fault(dead, "dead-letter-of-nothing", why);
        }
        let Some(log) = lane.log_record(offset) else {
            match offset < lane.low() || !lane.complete() {
                true => self.unjudged += 1,
                false => {
                    let why = "the log holds no record there".to_owned();
                    self.fault(dead, "dead-letter-of-nothing", why);
                }
            }
            return;
        };
        if lane.aborted().contains(offset) {
            let why = "the record there is of an aborted transaction".to_owned();
            self.fault(dead, "dead-letter-of-nothing", why);
        }
        self.same_as(dead, &log);
        self.failed_between(dead, Some(&log), lane.op_at(offset));
        match lane.op_at(offset) {
            Some(op) if self.index.ops.is_poison(op) => {}
            Some(op) => {
                let why = format!("operation {op} is not poison");
                self.fault(dead, "dead-letter-of-good-record", why);
            }
            None => self.unjudged += u64::from(!self.poison.contains(&dead.letter.value.0)),
        }
    }

    fn same_as(&mut self, dead: &'a Dead, log: &Seen) {
        let letter = &dead.letter;
        let told = self.index.reduce(word(self.index, letter));
        if let Some(consumer) = consumer_of(self.index, letter) {
            // Nothing but the value is promised, and perhaps not even that.
            let compare = consumer.letter_values != ValuePromise::Untold;
            if compare && told.value != Print::UNTOLD.0 && told.value != log.value {
                let why = "has another value than the record".to_owned();
                self.fault(dead, "dead-letter-altered", why);
            }
            return;
        }
        if !told.same_content(log) {
            let what = match (told.key == log.key, told.value == log.value) {
                (true, _) => "value",
                (false, true) => "key",
                (false, false) => "key and value",
            };
            let why = format!("has another {what} than the record");
            self.fault(dead, "dead-letter-altered", why);
        }
        if log.headers != told.headers {
            let why = "has other headers than the record".to_owned();
            self.fault(dead, "dead-letter-headers-differ", why);
        }
        let told = letter.source_timestamp_ms.unwrap_or(NO_TIMESTAMP);
        let native = self.index.header.version > 1 && self.index.header.run.testbed != "foreign";
        let compare = self.index.is_full() && log.timestamp_ms != UNTOLD_MS;
        let compare = compare && (native || told != NO_TIMESTAMP);
        if compare && letter.group.is_some() && told != log.timestamp_ms {
            let show = |ms: i64| match ms {
                NO_TIMESTAMP => "none".to_owned(),
                ms => format!("{ms} ms"),
            };
            let why = format!(
                "says that the record's timestamp was {}, it is {}",
                show(told),
                show(log.timestamp_ms)
            );
            self.fault(dead, "dead-letter-timestamp-differs", why);
        }
    }

    /// The instant of failure lies between the record and its letter.
    fn failed_between(&mut self, dead: &'a Dead, log: Option<&Seen>, op: Option<u64>) {
        let (Some(failed_ms), Some(started_ms)) = (dead.letter.failed_ms, self.index.started_at_ms)
        else {
            return;
        };
        let run_us = |ms: i64| ms.saturating_sub(started_ms).saturating_mul(1000);
        let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        let invoked = op.and_then(|op| self.index.ops.kept.get(&op));
        let invoked = invoked.map(|kept| signed(kept.invocation.t_us));
        let written = log.map(|log| log.timestamp_ms).filter(|ms| *ms != NO_TIMESTAMP).map(run_us);
        // The record's own timestamp may be anything; when it was sent was seen.
        let from = invoked.or(written);
        let failed = run_us(failed_ms);
        let (low, high) = self.index.clock_of_processes();
        let early = from
            .is_some_and(|from| failed.saturating_add(high).saturating_add(RESOLUTION_US) < from);
        // What one clock stamped it orders, however it stands to others.
        let until = signed(dead.letter.created_us);
        let (earliest, latest) = match self.index.letter_base() {
            Base::Processes => (failed, until),
            other => {
                let ahead = self.index.clocks.of(other).high;
                (failed.saturating_add(low), until.saturating_add(ahead))
            }
        };
        let late = earliest.saturating_sub(RESOLUTION_US) > latest;
        if early || late {
            let side = if early { "before its record was sent" } else { "after the letter itself" };
            let why = format!(
                "says that it failed {failed} µs into the run, {side} ({} µs)",
                if early { from.unwrap_or_default() } else { until }
            );
            self.fault(dead, "dead-letter-time-implausible", why);
        } else if self.nobody_ran(dead, (failed.saturating_add(low), failed.saturating_add(high))) {
            let why = format!(
                "says that it failed {failed} µs into the run, when no process of its group ran"
            );
            self.fault(dead, "dead-letter-time-implausible", why);
        }
    }

    /// No process of the group that wrote a letter was alive at any instant at which it may have failed.
    fn nobody_ran(&self, dead: &Dead, (from, to): (i64, i64)) -> bool {
        let Some(group) = &dead.letter.group else { return false };
        let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        let (mut known, mut began) = (false, BTreeMap::new());
        let mut lives = Vec::new();
        for process in &self.index.rare.processes {
            if process.fact.group.as_ref() != Some(group) {
                continue;
            }
            match process.fact.state {
                ProcessChange::Started => {
                    known = true;
                    began.insert(&process.fact.name, signed(process.t_us));
                }
                ProcessChange::Exited => {
                    let start = began.remove(&process.fact.name).unwrap_or(i64::MIN);
                    lives.push((start, signed(process.t_us)));
                }
                _ => {}
            }
        }
        lives.extend(began.into_values().map(|start| (start, i64::MAX)));
        let alive = |(start, end): &(i64, i64)| {
            let (from, to) = (from.saturating_sub(RESOLUTION_US), to.saturating_add(RESOLUTION_US));
            *start <= to && from <= *end
        };
        known && !foreign(&self.index.header) && !lives.iter().any(alive)
    }

    /// A letter of a producer: there is no record to compare with, but an invocation.
    fn rejection(&mut self, dead: &'a Dead) {
        let letter = &dead.letter;
        let op = self.index.op_of_letter(letter);
        let kept = op.and_then(|op| self.index.ops.kept.get(&op));
        let poison = kept.filter(|kept| kept.invocation.poison);
        let altered = match poison {
            Some(kept) => kept.invocation.value != letter.value.0,
            None => letter.op.is_none() && !self.poison.contains(&letter.value.0),
        };
        if altered {
            let why = "has another value than any poison that was handed over".to_owned();
            self.fault(dead, "dead-letter-altered", why);
        } else if poison.is_none() && letter.op.is_some() {
            let why = "its operation is not poison".to_owned();
            self.fault(dead, "dead-letter-of-good-record", why);
        }
        // A key within a payload that is refused need not have been found.
        if let Some(kept) = poison
            && (kept.invocation.key_beside || letter.key.is_some())
            && self.index.key_print(letter.key.as_ref()) != kept.invocation.key
        {
            let why = "has another key than the one that was handed over with it".to_owned();
            self.fault(dead, "dead-letter-altered", why);
        }
        if let Some(kept) = poison
            && matches!(kept.end, Some(End::Acknowledged(..)))
        {
            let why = "its operation was acknowledged, not rejected".to_owned();
            self.fault(dead, "dead-letter-of-acknowledged", why);
        }
        self.failed_between(dead, None, op);
        if let Some(list) = &letter.header_list {
            for why in promised(self.index, list) {
                self.fault(dead, "dead-letter-headers-differ", why);
            }
            let kept = kept.map(|kept| (kept.invocation.t_us, kept.ended_us));
            for why in ingested(self.index, list, kept) {
                self.fault(dead, "dead-letter-headers-differ", why);
            }
        }
    }
}

/// Headers that are to say when a rejected operation was ingested, and say something else: it was while its
/// producer had it, or, where the letter does not say which it was, during the run.
fn ingested(
    index: &Index,
    list: &[HeaderPair],
    operation: Option<(u64, Option<u64>)>,
) -> Vec<String> {
    let promises = index.header.promises.headers.iter();
    let dates = promises.filter(|header| header.is == PromisedValue::IngestedAt);
    let Some(started_ms) = index.started_at_ms else { return Vec::new() };
    let (from_us, to_us) = operation.unwrap_or((0, None));
    let to_us = to_us.unwrap_or(index.end_us);
    let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
    let (low, high) = index.clock_of_processes();
    let mut told = Vec::new();
    for pair in dates.flat_map(|date| list.iter().filter(|pair| pair.is(&date.name))) {
        let text = pair.text();
        let shown = || quoted(text.unwrap_or("null"));
        let Some(at) = text.and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok()) else {
            told.push(format!("has `ingested_at` {}, which is no RFC 3339 instant", shown()));
            continue;
        };
        let at_us = at.timestamp_millis().saturating_sub(started_ms).saturating_mul(1000);
        let early = at_us.saturating_add(high).saturating_add(RESOLUTION_US) < signed(from_us);
        let late = at_us.saturating_add(low).saturating_sub(RESOLUTION_US) > signed(to_us);
        if early || late {
            told.push(format!(
                "has `ingested_at` {}, and its producer had it from {} to {}",
                shown(),
                seconds(from_us),
                seconds(to_us)
            ));
        }
    }
    told
}

/// Promised headers that a producer's letter lacks, or that say something else.
fn promised(index: &Index, list: &[HeaderPair]) -> Vec<String> {
    let mut told = Vec::new();
    for promised in &index.header.promises.headers {
        let name = promised.name.escape_debug();
        let times = list.iter().filter(|pair| pair.is(&promised.name)).count();
        let Some(pair) = list.iter().find(|pair| pair.is(&promised.name)) else {
            told.push(format!("has no header `{name}`"));
            continue;
        };
        if times > 1 {
            told.push(format!("has the header `{name}` {times} times"));
        }
        if let PromisedValue::Fixed(fixed) = &promised.is
            && pair.text() != Some(fixed)
        {
            let is = pair.1.as_ref().map_or_else(|| "null".to_owned(), ToString::to_string);
            told.push(format!("`{name}` is {is}, promised is {}", quoted(fixed)));
        }
    }
    told
}

/// What is promised of the letter's writer, where that is a consumer of somebody's own: it has a topic to
/// itself.
fn consumer_of<'a>(index: &'a Index, letter: &DeadLetter) -> Option<&'a ConsumerPromise> {
    let mut groups = index.header.promises.groups.iter();
    let writer = groups.find(|group| group.dead_letter_topic.as_ref() == Some(&letter.topic));
    writer?.consumer.as_ref()
}

/// What stands in the letter beside its record is documented.
pub(super) fn writer_is_documented(index: &Index, letter: &DeadLetter) -> bool {
    index.header.run.testbed != "foreign" && consumer_of(index, letter).is_none()
}

/// What a dead letter says of its record.
fn word(index: &Index, letter: &DeadLetter) -> Seen {
    Seen {
        key: index.key_print(letter.key.as_ref()),
        value: letter.value.0,
        headers: index.header_print(letter.headers, letter.header_list.as_ref()),
        timestamp_ms: 0,
        op: NO_OP,
        id: NO_ID,
    }
}

/// One finding a partition, so that the story of each record can be told.
fn report(index: &Index, case: &mut Case<'_>, anomaly: &'static str, faulty: &[(&Dead, String)]) {
    let mut by_lane: BTreeMap<Option<(String, u32, usize)>, Vec<&(&Dead, String)>> =
        BTreeMap::new();
    for fault in faulty {
        let lane = fault.0.source.map(|(lane, _)| {
            let place = &index.lanes[lane];
            (place.topic.clone(), place.partition, lane)
        });
        by_lane.entry(lane).or_default().push(fault);
    }
    for (lane, faulty) in by_lane {
        let letters = count(faulty.len() as u64, "dead letter");
        let first = &faulty[0];
        let message = format!("{letters} {}: the first {}", what(anomaly), first.1);
        let mut finding = anomalous(anomaly, message.clone());
        let finding = match &lane {
            Some((_, _, lane)) => {
                let places = faulty.iter().filter_map(|(dead, _)| dead.source);
                let set = RangeSet::of(places.map(|(_, offset)| (offset, offset)));
                let group = first.0.letter.group.as_deref();
                case.find_at(anomaly, group, *lane, &set, message)
            }
            None => {
                finding.topic = Some(first.0.letter.topic.clone());
                finding.ops =
                    faulty.iter().filter_map(|(dead, _)| dead.letter.op).take(OPS_MAX).collect();
                &mut finding
            }
        };
        finding.at_us = faulty.iter().map(|(dead, _)| dead.letter.created_us).min();
        finding.evidence = faulty
            .iter()
            .take(EVIDENCE_MAX)
            .map(|(dead, why)| format!("{}: {why}", name(index, dead)))
            .collect();
        if lane.is_none() {
            let finding = finding.clone();
            case.find(finding);
        }
    }
}

fn what(anomaly: &str) -> &'static str {
    match anomaly {
        "dead-letter-incomplete" => "without all their fields",
        "dead-letter-of-good-record" => "of records that are not poison",
        "dead-letter-of-nothing" => "of places where no record had to be read",
        "dead-letter-of-unknown-group" => "of a group that is not under test",
        "dead-letter-of-acknowledged" => "of a producer for what it had acknowledged",
        "dead-letter-altered" => "with another key or value than the record had",
        "dead-letter-reason-differs" => "with another reason than the same payload had elsewhere",
        "dead-letter-trace-differs" => "with another trace than the same payload had elsewhere",
        "dead-letter-timestamp-differs" => "with another timestamp of the record",
        "dead-letter-time-implausible" => "with an instant of failure that cannot be",
        _ => "with other headers than the record had",
    }
}

fn name(index: &Index, dead: &Dead) -> String {
    let letter = &dead.letter;
    let source = match dead.source {
        Some((lane, offset)) => format!("{} offset {offset}", index.lane_name(lane)),
        None => "no place".to_owned(),
    };
    format!(
        "dead letter {}/{} offset {} of {source}, group {}, error {}",
        letter.topic.escape_debug(),
        letter.partition,
        letter.offset,
        quoted(letter.group.as_deref().unwrap_or("none")),
        quoted(letter.error.as_deref().unwrap_or("")),
    )
}
