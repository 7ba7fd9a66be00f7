//! What foreign lines tell: first a census for the header, then fact after fact.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::census::{Census, Number, Place, Sender};
use crate::event::*;

/// What a foreign history does not say of itself.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Name for reports.
    pub name: String,
    /// Partitions of each topic; those not named here have as many as were seen.
    pub partitions: BTreeMap<String, u32>,
    /// The partitioner that the producer claims.
    pub partitioner: Option<String>,
    /// Records of one key keep their order.
    pub key_order: bool,
    /// Records of one producer keep their order within a partition, whatever their keys.
    pub partition_order: bool,
    /// The producers are idempotent, and the broker holds them to it.
    pub idempotent: bool,
}

/// Checks that rest on the order of instants.
pub(super) const TIME: &[&str] = &["commit-frontier", "duplicates", "recovery"];
/// The whole history.
pub(super) const ALL: &[&str] = &["history"];

/// Characters of a line that a message shows at most.
const SHOWN_MAX: usize = 100;

/// The beginning of a text from a file, for a message.
pub(super) fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * SHOWN_MAX)]).into_owned();
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("`{}`", shown.escape_debug())
}

/// Facts that wait to be handed out.
#[derive(Debug)]
struct Waiting {
    t_us: u64,
    process: String,
    fact: Fact,
    /// A read stands for all up to this offset: a claimed range costs no memory.
    last: Option<u64>,
}

/// Something of one kind that keeps checks from passing.
#[derive(Debug)]
struct Oddity {
    count: u64,
    first: String,
    about: &'static [&'static str],
}

/// An object as it was told.
#[derive(Debug)]
struct ObjectTold {
    number: u32,
    lines: u32,
}

/// What foreign lines have told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) census: Census,
    /// The census is over: facts are kept until they are taken.
    telling: bool,
    fresh: u64,
    waiting: VecDeque<Waiting>,
    /// Last instant and next number of each process.
    clocks: HashMap<String, (u64, u64)>,
    oddities: BTreeMap<String, Oddity>,
    notes: BTreeMap<String, Oddity>,
    /// File and line that are being read.
    place: (String, u64),
    objects: HashMap<(String, String, String), ObjectTold>,
    parts: BTreeMap<String, u32>,
    /// Transactions whose end has been told in this pass.
    ended: HashSet<u32>,
    /// How many operations of transactions were sent in this pass, by transaction and process.
    sent_within: HashMap<(u32, String), usize>,
    /// Logs as dumps show them, until all are read.
    pub(super) dumps: BTreeMap<Place, super::dump_log::Dump>,
}

impl Told {
    /// Ends the census; the same lines are to be read once more for their facts.
    pub(super) fn tell_again(mut self) -> Self {
        self.finish();
        self.census.close();
        Self { census: self.census, telling: true, ..Self::default() }
    }

    /// Facts are kept now.
    pub(super) fn telling(&self) -> bool {
        self.telling
    }

    /// What comes next stands here.
    pub(super) fn stands_at(&mut self, file: &str, line: u64) {
        if self.place.0 != file {
            file.clone_into(&mut self.place.0);
        }
        self.place.1 = line;
    }

    /// A wall-clock instant on the history's clock, which begins with the earliest line.
    pub(super) fn at(&mut self, wall_us: i64) -> u64 {
        let zero = self.census.zero_us.get_or_insert(wall_us);
        if !self.telling {
            *zero = wall_us.min(*zero);
        }
        u64::try_from(wall_us.saturating_sub(*zero)).unwrap_or(0)
    }

    /// The instant of a line of a process: as it says, but never before the line ahead of it, and that
    /// of the line ahead of it if it does not say. A clock that was set back is in doubt.
    pub(super) fn instant(&mut self, process: &str, t_us: Option<u64>) -> u64 {
        let last = self.clocks.get(process).map_or(0, |clock| clock.0);
        match t_us {
            None => last,
            Some(t_us) if t_us >= last => t_us,
            Some(t_us) => {
                let back = last - t_us;
                let text = format!("`{}` by {} ms", process.escape_debug(), back.div_ceil(1000));
                let kind = "the clock of a process goes back from one line to the next, so what rests \
                            on its instants is not known";
                self.doubt(kind, TIME, &text);
                last
            }
        }
    }

    /// The same for an instant within a fact; nothing is in doubt twice.
    pub(super) fn not_before(&self, process: &str, t_us: u64) -> u64 {
        self.clocks.get(process).map_or(0, |clock| clock.0).max(t_us)
    }

    /// A number for an operation that has none of its own, above all those that lines claim.
    pub(super) fn fresh(&mut self) -> Number {
        self.fresh = self.fresh.saturating_add(1);
        Number::fresh(self.fresh - 1)
    }

    /// The operation's number in the history.
    pub(super) fn global(&self, number: Number) -> Result<u64, String> {
        self.census.producers.global(number)
    }

    /// The operation that a record of the log is of, by its value; a number that nobody invoked if
    /// nobody sent it.
    pub(super) fn op_of(
        &mut self,
        topic: &str,
        key: Option<&Blob>,
        value: Print,
    ) -> Result<Option<Number>, String> {
        if !self.telling || !self.census.topics.get(topic).is_some_and(|seen| seen.written) {
            return Ok(None);
        }
        const UNNAMED: &str = "records of the log whose operation is not known, for they name none and \
                               their values do not tell: that none is there twice, and which of the \
                               unknown operations are there, cannot be said";
        if value == Print::UNTOLD {
            self.doubt(UNNAMED, &["duplicates"], "its value was not told");
            return Ok(None);
        }
        match self.census.values.sender(topic, key, value) {
            Sender::One(number) => Ok(Some(number)),
            Sender::Several => {
                self.doubt(UNNAMED, &["duplicates"], "several operations sent its value");
                Ok(None)
            }
            Sender::NotKept => {
                self.doubt(UNNAMED, &["duplicates"], "there are too many to be matched");
                Ok(None)
            }
            Sender::Nobody if self.census.open_producer => {
                self.note(
                    "records of the log that no producer told, as of a producer that was killed before \
                     it could tell",
                );
                Ok(None)
            }
            Sender::Nobody => Ok(Some(self.fresh())),
        }
    }

    /// Checks the numbers of a place and takes note of it.
    pub(super) fn place(
        &mut self,
        topic: &str,
        partition: i64,
        offset: i64,
    ) -> Result<(u32, u64), String> {
        let partition = u32::try_from(partition)
            .map_err(|_| format!("partition {partition} is negative or too large"))?;
        let offset = u64::try_from(offset).map_err(|_| format!("offset {offset} is negative"))?;
        self.census.topic(topic, Some(partition));
        Ok((partition, offset))
    }

    /// The same of a place that a group reads, stores, commits or owns.
    pub(super) fn consumed(
        &mut self,
        group: &str,
        topic: &str,
        partition: i64,
        offset: i64,
    ) -> Result<(u32, u64), String> {
        let place = self.place(topic, partition, offset)?;
        self.census.topic(topic, None).consumed = true;
        let seen = self.census.group(group);
        if !seen.topics.contains(topic) {
            seen.topics.insert(topic.to_owned());
        }
        Ok(place)
    }

    pub(super) fn vouch(&mut self, evidence: Evidence) {
        self.census.evidence.insert(evidence);
    }

    /// Adds a fact; without an instant it takes that of the line before it of its process.
    pub(super) fn tell(&mut self, t_us: Option<u64>, process: &str, fact: Fact) {
        match &fact {
            Fact::Invoked(_) if !self.telling => self.census.operations += 1,
            Fact::Read(Read { value: Some(_), .. }) if !self.telling => {
                self.vouch(Evidence::ReadValues);
            }
            Fact::Logged(Logged { topic, .. }) | Fact::LogBounds(LogBounds { topic, .. })
                if self.telling && !self.census.is_under_test(topic) =>
            {
                return self.note("lines of the log of topics that nobody wrote or read");
            }
            _ => {}
        }
        self.push(t_us, process, fact, None);
    }

    /// Adds a read of each offset from the one that it names to `last`.
    pub(super) fn tell_reads(&mut self, t_us: Option<u64>, process: &str, first: Read, last: u64) {
        self.push(t_us, process, Fact::Read(first), Some(last));
    }

    fn push(&mut self, t_us: Option<u64>, process: &str, fact: Fact, last: Option<u64>) {
        if !self.telling {
            return;
        }
        let t_us = self.instant(process, t_us);
        self.clocks.entry(process.to_owned()).or_insert((0, 0)).0 = t_us;
        self.waiting.push_back(Waiting { t_us, process: process.to_owned(), fact, last });
    }

    /// Something that keeps checks from passing; counted, with the first one as an example.
    pub(super) fn doubt(&mut self, kind: &str, about: &'static [&'static str], example: &str) {
        if self.telling {
            let first = format!("{}:{}: {example}", self.place.0, self.place.1);
            count_into(&mut self.oddities, kind, about, first);
        }
    }

    /// Something worth to be remembered that keeps nothing from passing; counted.
    pub(super) fn note(&mut self, kind: &str) {
        if self.telling {
            let first = format!("{}:{}", self.place.0, self.place.1);
            count_into(&mut self.notes, kind, &[], first);
        }
    }

    /// The number of an object of a group's store, and the line of the next record in it. `name` and
    /// `generation` tell objects apart; at the first sight `first` makes the fact.
    pub(super) fn object(
        &mut self,
        (group, name, generation): (&str, &str, &str),
        line: Option<u32>,
        first: impl FnOnce(u32) -> Fact,
    ) -> (u32, u32) {
        let key = (group.to_owned(), name.to_owned(), generation.to_owned());
        let next = self.objects.len() as u32;
        let known = self.objects.contains_key(&key);
        let object = self.objects.entry(key).or_insert(ObjectTold { number: next, lines: 0 });
        object.lines = line.unwrap_or(object.lines + 1);
        let (number, line) = (object.number, object.lines);
        if !known {
            *self.parts.entry(group.to_owned()).or_insert(0) += 1;
            self.push(None, STORE, first(number), None);
        }
        (number, line)
    }

    /// Objects of a group's store that were told.
    pub(super) fn parts_of(&self, group: &str) -> u32 {
        self.parts.get(group).copied().unwrap_or(0)
    }

    /// How a transaction ended; an operation or record of it is judged by that from the begin.
    pub(super) fn transaction_ended(&mut self, id: &str, state: TransactionState, process: &str) {
        if !self.telling {
            self.census.transactions.ended(id, state, process);
            return;
        }
        let number = self.census.transactions.number(id);
        self.ended.insert(number);
        if self.census.transactions.get(number).state() != state {
            let text = format!("`{}`", id.escape_debug());
            self.doubt("transactions that were told to have ended in two ways", ALL, &text);
        }
    }

    /// A process sent an operation, within a transaction if it says so.
    pub(super) fn sent_within(&mut self, process: &str, id: Option<&str>) {
        if let Some(id) = id.filter(|_| self.telling) {
            let number = self.census.transactions.number(id);
            *self.sent_within.entry((number, process.to_owned())).or_default() += 1;
        }
    }

    /// A member read a record; within a transaction, if it says so.
    pub(super) fn read_within(
        &mut self,
        (group, process): (&str, &str),
        id: Option<&str>,
        place: &Place,
        offset: u64,
    ) {
        // Who reads uncommitted records gets them before their end, and may.
        if !self.telling || self.census.reads_uncommitted(group) {
            return;
        }
        let Some(source) = self.census.transactions.at(place, offset) else { return };
        let reader = id.map(|id| self.census.transactions.number(id));
        let ended = self.ended.contains(&source);
        let so_far = self.sent_within.get(&(source, process.to_owned())).copied().unwrap_or(0);
        let by = self.census.transactions.get(source).sent_by.get(process);
        let in_all = by.copied().unwrap_or(0);
        let transactions = &mut self.census.transactions.all;
        let seen = &mut transactions[source as usize];
        // Within itself, or before the same process sent the rest of it: it cannot have been committed.
        let early = reader == Some(source) || so_far < in_all;
        // It may have been committed already, and another thread have read it before the process said so.
        let before_its_word =
            !ended && seen.outcome.as_ref().is_some_and(|(_, owner)| owner == process);
        if early {
            seen.early.entry(place.clone()).or_default().insert(offset);
        }
        let id = before_its_word.then(|| seen.id.clone());
        if let Some(id) = id.filter(|_| !early) {
            let kind = "records that a process read before it said that it had committed the transaction that \
                        wrote them";
            let (topic, partition) = place;
            let id = id.escape_debug();
            let text = format!("`{id}`, offset {offset} of {}/{partition}", topic.escape_debug());
            self.doubt(kind, &["transactions"], &text);
        }
        let transactions = &mut self.census.transactions.all;
        if let Some(reader) = reader.filter(|reader| *reader != source) {
            transactions[reader as usize].reads_from.insert(source);
        }
    }

    /// All files are read: what only shows at their end.
    pub(super) fn finish(&mut self) {
        super::dump_log::finish(self);
        if !self.telling {
            return;
        }
        if self.census.operations == 0 && self.census.evidence.contains(&Evidence::Log) {
            let kind = "nobody told what was sent, so whether the log holds what producers were told is not \
                        known: bring what they printed";
            self.doubt(kind, ALL, "the last line");
        }
        self.tell_transactions();
        for (kind, oddity) in std::mem::take(&mut self.oddities) {
            let times = if oddity.count == 1 {
                String::new()
            } else {
                format!("{} times, first ", oddity.count)
            };
            let text = format!("{kind} ({times}{})", oddity.first);
            let about = oddity.about.iter().map(|&name| name.to_owned()).collect();
            self.push(None, READER, Fact::Doubt(Doubt { about, text }), None);
        }
        for (kind, oddity) in std::mem::take(&mut self.notes) {
            let text = format!("{kind} ({} in all, first {})", oddity.count, oddity.first);
            self.push(None, READER, Fact::Note { level: "warning".to_owned(), text }, None);
        }
    }

    fn tell_transactions(&mut self) {
        for seen in self.census.transactions.all.clone() {
            let ops = seen.ops.iter().filter_map(|number| self.global(*number).ok()).collect();
            let names = seen.reads_from.iter().map(|n| self.census.transactions.get(*n).id.clone());
            let fact = Transaction {
                outcome: seen.state(),
                ops,
                reads_from: names.collect(),
                records: spans(&seen.records),
                early: spans(&seen.early),
                id: seen.id,
            };
            self.push(None, READER, Fact::Transaction(fact), None);
        }
    }

    /// The next fact that was told and not handed out yet.
    pub(super) fn take(&mut self) -> Option<Event> {
        let waiting = self.waiting.front_mut()?;
        let mut fact = None;
        if let (Fact::Read(read), Some(last)) = (&mut waiting.fact, waiting.last)
            && read.offset < last
        {
            fact = Some(Fact::Read(read.clone()));
            read.offset += 1;
        }
        let (t_us, process) = (waiting.t_us, waiting.process.clone());
        let fact = match fact {
            Some(fact) => fact,
            None => self.waiting.pop_front()?.fact,
        };
        let clock = self.clocks.entry(process.clone()).or_insert((0, 0));
        let seq = clock.1;
        clock.1 += 1;
        Some(Event { t_us, process, seq, fact })
    }

    /// The header that the census makes.
    pub(super) fn header(&self, settings: &Settings) -> Header {
        let mut topics = self.census.topics_under_test();
        topics.extend(settings.partitions.clone());
        let groups = self.census.groups.iter().map(|(name, seen)| seen.promise(name)).collect();
        let mut evidence = self.census.evidence.clone();
        if settings.idempotent {
            evidence.insert(Evidence::Idempotence);
        }
        let promises = Promises {
            operations: self.census.operations,
            topics,
            partitioner: settings.partitioner.clone(),
            idempotent: settings.idempotent,
            key_order: settings.key_order,
            partition_order: settings.partition_order,
            groups,
            evidence: evidence.into_iter().collect(),
            ..Promises::default()
        };
        let zero = self.census.zero_us.unwrap_or(0);
        let started = chrono::DateTime::from_timestamp_micros(zero).unwrap_or_default();
        let run = RunInfo {
            scenario: settings.name.clone(),
            testbed: "foreign".to_owned(),
            seed: 0,
            started_at: started.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            harness_version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: String::new(),
            components: BTreeMap::new(),
            limits: vec!["A history that others wrote: it shows what they saw.".to_owned()],
            about: About::default(),
        };
        Header { format: FORMAT.to_owned(), version: VERSION, run, promises }
    }
}

/// Who reports what the reading itself found.
const READER: &str = "check";
/// Who reports objects and what they hold.
pub(super) const STORE: &str = "store-reader";

fn count_into(
    all: &mut BTreeMap<String, Oddity>,
    kind: &str,
    about: &'static [&'static str],
    first: String,
) {
    match all.get_mut(kind) {
        Some(oddity) => oddity.count += 1,
        None => {
            all.insert(kind.to_owned(), Oddity { count: 1, first, about });
        }
    }
}

fn spans(records: &BTreeMap<Place, std::collections::BTreeSet<u64>>) -> Vec<RecordSpan> {
    let mut spans = Vec::new();
    for ((topic, partition), offsets) in records {
        for (first, last) in ranges(offsets.iter().copied()) {
            spans.push(RecordSpan { topic: topic.clone(), partition: *partition, first, last });
        }
    }
    spans
}

/// Rising numbers as inclusive ranges.
pub(super) fn ranges(offsets: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for offset in offsets {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(offset) => *last = offset,
            _ => ranges.push((offset, offset)),
        }
    }
    ranges
}
