//! The one pass: fact after fact into the index.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::DateTime;

use super::lane::{NO_ID, NO_OP};
use super::{
    At, Bounds, Commit, Dead, End, Index, Instants, Invocation, Lane, Latencies, Ops, Part, Rare,
    ReadBack, Seen, Source, Stray, Zone,
};
use crate::checker::murmur2;
use crate::history::event::{
    Blob, Committed, Completed, DeadLetter, Event, Fact, Header, Invoked, LogBounds, Logged,
    Object, Outcome, Print, Read, Stored,
};

/// Kafka's offsets are signed: no higher one exists.
const OFFSET_MAX: u64 = i64::MAX as u64;
/// Stands for the absence of a key, apart from an empty one.
pub(super) const NO_KEY: u64 = 0x6e6f_206b_6579;

/// What is only needed while facts come in.
#[derive(Debug, Default)]
pub(super) struct Work {
    clocks: HashMap<String, Clock>,
    topic_numbers: HashMap<String, usize>,
    lane_numbers: HashMap<(usize, u32), usize>,
    last_lane: Option<usize>,
    objects: HashMap<(u16, u32), Option<u32>>,
    key_homes: HashMap<u64, usize>,
    oracle: Oracle,
}

#[derive(Debug)]
struct Clock {
    number: u16,
    next_seq: u64,
    t_us: u64,
    last_op: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Oracle {
    /// Keys promise nothing.
    #[default]
    None,
    /// Kafka's own hash says where a key belongs.
    Murmur2,
    /// Only that a key stays where it is.
    Stable,
}

impl Oracle {
    fn of(partitioner: Option<&str>) -> Self {
        match partitioner {
            None | Some("random") => Self::None,
            Some("murmur2" | "murmur2_random" | "default") => Self::Murmur2,
            Some(_) => Self::Stable,
        }
    }
}

pub(super) fn key_print(key: Option<&Blob>) -> u64 {
    key.map_or(NO_KEY, |key| Print::of(&key.0).0)
}

fn id_print(id: Option<&String>) -> u64 {
    // 0 means none.
    id.map_or(NO_ID, |id| Print::of(id.as_bytes()).0.max(1))
}

impl Index {
    /// An index of nothing yet.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let promises = &header.promises;
        let mut zones: Vec<Zone> = Vec::new();
        for (number, group) in promises.groups.iter().enumerate() {
            let Some(name) = &group.raw_zone else {
                continue;
            };
            match zones.iter_mut().find(|zone| &zone.name == name) {
                Some(zone) => zone.groups.push(number),
                None => {
                    zones.push(Zone {
                        name: name.clone(),
                        groups: vec![number],
                        reads: Vec::new(),
                    });
                }
            }
        }
        let started = DateTime::parse_from_rfc3339(&header.run.started_at).ok();
        let mut index = Self {
            started_at_ms: started.map(|at| at.timestamp_millis()),
            ops: Ops::default(),
            lanes: Vec::new(),
            by_name: BTreeMap::new(),
            topics: Vec::new(),
            groups: promises.groups.iter().map(|_| BTreeMap::new()).collect(),
            parts: Vec::new(),
            zones,
            dead: Vec::new(),
            rare: Rare::default(),
            invocations: Instants::default(),
            completions: Instants::default(),
            acks: Instants::default(),
            latencies: Latencies::default(),
            misplaced: Vec::new(),
            keyed: 0,
            strays: Vec::new(),
            split_keys: BTreeMap::new(),
            headers_missing: Vec::new(),
            unordered_owners: BTreeSet::new(),
            foreign: BTreeMap::new(),
            end_us: 0,
            contradictions: BTreeMap::new(),
            work: Work { oracle: Oracle::of(promises.partitioner.as_deref()), ..Work::default() },
            header: header.clone(),
        };
        if index.started_at_ms.is_none() {
            let text = header.run.started_at.escape_debug().to_string();
            index.contradict("the header's started_at is no RFC 3339 instant", text);
        }
        index
    }

    /// Takes the next fact in.
    pub fn observe(&mut self, event: &Event) {
        let process = self.check_clock(event);
        self.end_us = self.end_us.max(event.t_us);
        match &event.fact {
            Fact::Invoked(fact) => self.invoked(event, process, fact),
            Fact::Completed(fact) => self.completed(event, fact),
            Fact::Logged(fact) => self.logged(fact),
            Fact::Stored(fact) => self.stored(process, fact),
            Fact::LogBounds(fact) => self.log_bounds(fact),
            Fact::Committed(fact) => self.committed(process, fact),
            Fact::Read(fact) => self.read(event.t_us, fact),
            Fact::Object(fact) => self.object(process, fact),
            Fact::DeadLetter(fact) => self.dead_letter(fact),
            Fact::StoreRead { raw_zone, parts } => {
                match self.zones.iter_mut().find(|zone| &zone.name == raw_zone) {
                    Some(zone) => zone.reads.push(*parts),
                    None => self.count_foreign("store reads"),
                }
            }
            _ => self.rare_fact(event),
        }
    }

    fn check_clock(&mut self, event: &Event) -> u16 {
        if !self.work.clocks.contains_key(&event.process) {
            let number = u16::try_from(self.work.clocks.len()).unwrap_or(u16::MAX);
            if number == u16::MAX {
                self.contradict("more than 65 534 processes", String::new());
            }
            let clock = Clock { number, next_seq: 0, t_us: 0, last_op: None };
            self.work.clocks.insert(event.process.clone(), clock);
        }
        let Some(clock) = self.work.clocks.get_mut(&event.process) else {
            return 0;
        };
        let (number, due, before) = (clock.number, clock.next_seq, clock.t_us);
        clock.next_seq = event.seq.saturating_add(1);
        clock.t_us = event.t_us;
        if event.seq != due {
            let example =
                format!("process `{}` at seq {}", event.process.escape_debug(), event.seq);
            self.contradict("the numbering of a process has a hole or a repetition", example);
        }
        if event.t_us < before {
            let example =
                format!("process `{}` at seq {}", event.process.escape_debug(), event.seq);
            self.contradict("the clock of a process runs backwards", example);
        }
        number
    }

    fn topic_number(&mut self, topic: &str) -> usize {
        if let Some(&number) = self.work.topic_numbers.get(topic) {
            return number;
        }
        let number = self.topics.len();
        self.topics.push(topic.to_owned());
        self.work.topic_numbers.insert(topic.to_owned(), number);
        number
    }

    fn lane_number(&mut self, topic: &str, partition: u32) -> usize {
        if let Some(last) = self.work.last_lane
            && self.lanes[last].partition == partition
            && self.lanes[last].topic == topic
        {
            return last;
        }
        let key = (self.topic_number(topic), partition);
        let number = match self.work.lane_numbers.get(&key) {
            Some(&number) => number,
            None => {
                let number = self.lanes.len();
                self.lanes.push(Lane::new(topic, partition, self.groups.len()));
                self.work.lane_numbers.insert(key, number);
                self.by_name.entry(topic.to_owned()).or_default().insert(partition, number);
                number
            }
        };
        self.work.last_lane = Some(number);
        number
    }

    fn offset_ok(&mut self, offset: u64) -> bool {
        if offset > OFFSET_MAX {
            self.contradict("an offset that Kafka cannot have", offset.to_string());
        }
        offset <= OFFSET_MAX
    }

    fn count_foreign(&mut self, what: &'static str) {
        *self.foreign.entry(what).or_insert(0) += 1;
    }

    fn invoked(&mut self, event: &Event, owner: u16, fact: &Invoked) {
        if fact.op == NO_OP {
            return self.contradict("an operation number that is reserved", fact.op.to_string());
        }
        let invocation = Invocation {
            t_us: event.t_us,
            topic: self.topic_number(&fact.topic),
            key: key_print(fact.key.as_ref()),
            value: fact.value.0,
            poison: fact.poison,
            owner,
        };
        if let Some(clock) = self.work.clocks.get_mut(&event.process) {
            let before = clock.last_op.replace(fact.op);
            if before.is_some_and(|before| before >= fact.op) {
                self.unordered_owners.insert(owner);
            }
        }
        self.invocations.add(event.t_us);
        match self.ops.invoked(fact.op, invocation) {
            Ok(joined) => self.join(fact.op, joined),
            Err(()) => self.contradict("an operation was invoked twice", fact.op.to_string()),
        }
    }

    fn completed(&mut self, event: &Event, fact: &Completed) {
        if fact.op == NO_OP {
            return self.contradict("an operation number that is reserved", fact.op.to_string());
        }
        let end = match &fact.outcome {
            Outcome::Acknowledged { topic, partition, offset } => {
                if !self.offset_ok(*offset) {
                    return;
                }
                End::Acknowledged(self.lane_number(topic, *partition), *offset)
            }
            Outcome::Rejected { .. } => End::Rejected,
            Outcome::Failed { .. } => End::Failed,
            Outcome::Unknown { .. } => End::Unknown,
        };
        self.completions.add(event.t_us);
        if matches!(end, End::Acknowledged(..)) {
            self.acks.add(event.t_us);
        }
        let id = id_print(fact.ingestion_id.as_ref());
        match self.ops.completed(fact.op, end, id, event.t_us) {
            Ok(joined) => self.join(fact.op, joined),
            Err(()) => self.contradict("an operation completed twice", fact.op.to_string()),
        }
    }

    fn join(&mut self, op: u64, joined: Option<super::ops::Joined>) {
        let Some(joined) = joined else { return };
        if joined.t_us < joined.invocation.t_us {
            self.contradict("an operation completed before it was invoked", op.to_string());
        }
        if let End::Acknowledged(lane, offset) = joined.end {
            self.latencies.add(joined.t_us.saturating_sub(joined.invocation.t_us));
            if self.topics[joined.invocation.topic] != self.lanes[lane].topic {
                self.misplaced.push(op);
            }
            self.lanes[lane].hear(offset, Source::Receipt, joined.invocation.seen(op, joined.id));
        }
    }

    fn logged(&mut self, fact: &Logged) {
        if !self.offset_ok(fact.offset) {
            return;
        }
        if fact.op == Some(NO_OP) {
            return self.contradict("an operation number that is reserved", NO_OP.to_string());
        }
        let lane = self.lane_number(&fact.topic, fact.partition);
        let seen = Seen {
            key: key_print(fact.key.as_ref()),
            value: fact.value.0,
            headers: fact.headers.0,
            timestamp_ms: fact.timestamp_ms,
            op: fact.op.unwrap_or(NO_OP),
            id: id_print(fact.ingestion_id.as_ref()),
        };
        if self.header.promises.topics.contains_key(&fact.topic) {
            self.ops.logged(&seen);
            self.consult_oracle(lane, fact, seen.key);
            if !fact.missing_headers.is_empty() {
                let names = fact.missing_headers.join(", ");
                self.headers_missing.push((lane, fact.offset, names));
            }
        }
        self.lanes[lane].hear(fact.offset, Source::Log, seen);
    }

    fn consult_oracle(&mut self, lane: usize, fact: &Logged, print: u64) {
        let Some(key) = &fact.key else { return };
        match self.work.oracle {
            Oracle::None => {}
            Oracle::Murmur2 => {
                self.keyed += 1;
                let hash = murmur2::positive(murmur2::murmur2(&key.0));
                let partitions = self.header.promises.topics.get(&fact.topic).copied().unwrap_or(0);
                if partitions == 0 || hash % partitions != fact.partition {
                    self.strays.push(Stray { lane, offset: fact.offset, hash });
                }
            }
            Oracle::Stable => {
                self.keyed += 1;
                let home = *self.work.key_homes.entry(print).or_insert(lane);
                if home != lane && self.lanes[home].topic == fact.topic {
                    self.split_keys.entry(print).or_default().extend([home, lane]);
                }
            }
        }
    }

    fn log_bounds(&mut self, fact: &LogBounds) {
        let wrong = fact.low > fact.high
            || fact.high > OFFSET_MAX
            || fact.holes.iter().any(|&(a, b)| a > b || b >= fact.high);
        if wrong {
            let name = format!("{}/{}", fact.topic.escape_debug(), fact.partition);
            return self.contradict("bounds of a log that cannot be", name);
        }
        let lane = self.lane_number(&fact.topic, fact.partition);
        self.lanes[lane].bounds.push(Bounds {
            low: fact.low,
            high: fact.high,
            complete: fact.complete,
            holes: fact.holes.clone(),
        });
    }

    fn group_number(&self, group: &str) -> Option<usize> {
        self.header.promises.groups.iter().position(|g| g.group == group)
    }

    fn committed(&mut self, process: u16, fact: &Committed) {
        if !self.offset_ok(fact.offset) {
            return;
        }
        let Some(group) = self.group_number(&fact.group) else {
            return self.count_foreign("commits");
        };
        let lane = self.lane_number(&fact.topic, fact.partition);
        let commit = Commit { at_us: fact.at_us, offset: fact.offset, exact: fact.exact };
        self.groups[group].entry(lane).or_default().committed(process, commit);
    }

    fn read(&mut self, t_us: u64, fact: &Read) {
        if !self.offset_ok(fact.offset) {
            return;
        }
        let Some(group) = self.group_number(&fact.group) else {
            return self.count_foreign("reads");
        };
        let lane = self.lane_number(&fact.topic, fact.partition);
        self.groups[group].entry(lane).or_default().read(&fact.member, fact.offset, t_us);
    }

    fn object(&mut self, process: u16, fact: &Object) {
        let zone = self.zones.iter().position(|zone| zone.name == fact.raw_zone);
        let number = zone.map(|zone| {
            self.parts.push(Part {
                zone,
                name: fact.name.clone(),
                generation: fact.generation.clone(),
                created_us: fact.created_us,
                bytes: fact.bytes,
                content: fact.content,
                role: fact.role,
                during_run: fact.during_run,
                problem: fact.problem.clone(),
                lists: fact.lists.clone(),
                lanes: BTreeMap::new(),
                disorder: Vec::new(),
            });
            u32::try_from(self.parts.len() - 1).unwrap_or(u32::MAX)
        });
        if number.is_none() {
            self.count_foreign("objects");
        }
        self.work.objects.insert((process, fact.object), number);
    }

    fn stored(&mut self, process: u16, fact: &Stored) {
        if !self.offset_ok(fact.offset) {
            return;
        }
        let number = match self.work.objects.get(&(process, fact.object)) {
            Some(Some(number)) => *number,
            Some(None) => return self.count_foreign("stored records"),
            None => {
                let example = format!("object {}", fact.object);
                return self
                    .contradict("a stored record in an object that nobody reported", example);
            }
        };
        let lane = self.lane_number(&fact.topic, fact.partition);
        let part = &mut self.parts[number as usize];
        part.take(lane, fact.line, fact.offset);
        let seen = Seen {
            key: key_print(fact.key.as_ref()),
            value: fact.value.0,
            headers: fact.headers.0,
            timestamp_ms: fact.timestamp_ms,
            op: NO_OP,
            id: NO_ID,
        };
        let created_us = part.created_us;
        for &group in &self.zones[part.zone].groups {
            let entry = self.groups[group].entry(lane).or_default();
            entry.stored(fact.offset, created_us, number);
            self.lanes[lane].hear(fact.offset, Source::Copy(group), seen);
        }
    }

    fn dead_letter(&mut self, fact: &DeadLetter) {
        let source = match &fact.source {
            Some((topic, partition, offset)) => {
                if !self.offset_ok(*offset) {
                    return;
                }
                Some((self.lane_number(topic, *partition), *offset))
            }
            None => None,
        };
        if let Some((lane, offset)) = source {
            for (group, promise) in self.header.promises.groups.iter().enumerate() {
                if promise.dead_letter_topic.as_ref() == Some(&fact.topic) {
                    let entry = self.groups[group].entry(lane).or_default();
                    entry.dead(offset, fact.created_us);
                }
            }
        }
        self.dead.push(Dead { letter: fact.clone(), source });
    }

    fn rare_fact(&mut self, event: &Event) {
        let rare = &mut self.rare;
        match &event.fact {
            Fact::Phase { name } => rare.phases.push(at(event, name.clone())),
            Fact::Fault(fact) => rare.faults.push(at(event, fact.clone())),
            Fact::Probe(fact) => rare.probes.push(at(event, fact.clone())),
            Fact::Process(fact) => rare.processes.push(at(event, fact.clone())),
            Fact::Configuration { of, properties } => {
                let fact = ReadBack { of: of.clone(), properties: properties.clone() };
                rare.configuration.push(at(event, fact));
            }
            Fact::Note { level, text } => {
                rare.notes.push(at(event, (level.clone(), text.clone())));
            }
            Fact::Assignment(fact) => {
                rare.assignments.push(at(event, fact.clone()));
                if let Some(group) = self.group_number(&fact.group) {
                    let lane = self.lane_number(&fact.topic, fact.partition);
                    self.groups[group].entry(lane).or_default().assignment(&fact.member);
                }
            }
            _ => rare.source.take(event),
        }
    }

    /// Ends the pass and derives what the checkers ask for.
    #[must_use]
    pub fn settle(mut self) -> Self {
        if let Some(op) = self.ops.settle() {
            self.contradict("an operation completed that was never invoked", op.to_string());
        }
        self.invocations.close();
        self.completions.close();
        self.acks.close();
        self.parts_in_order();
        for (lanes, promise) in self.groups.iter_mut().zip(&self.header.promises.groups) {
            for lane in lanes.values_mut() {
                lane.settle(promise.raw_zone.is_none());
            }
        }
        for lane in 0..self.lanes.len() {
            self.lanes[lane].settle();
            self.check_readings(lane);
        }
        self.dead.sort_by(|a, b| dead_key(a).cmp(&dead_key(b)));
        self.misplaced.sort_unstable();
        let order = &self.lanes;
        let name = |n: usize| (&order[n].topic, order[n].partition);
        self.strays.sort_by_key(|s| (name(s.lane), s.offset));
        self.headers_missing.sort_by(|a, b| (name(a.0), a.1, &a.2).cmp(&(name(b.0), b.1, &b.2)));
        sort(&mut self.rare.phases);
        sort(&mut self.rare.faults);
        sort(&mut self.rare.probes);
        sort(&mut self.rare.processes);
        sort(&mut self.rare.assignments);
        sort(&mut self.rare.configuration);
        sort(&mut self.rare.notes);
        self.rare.source.settle();
        self.work = Work::default();
        self
    }

    /// A log that was read twice must have said the same twice.
    fn check_readings(&mut self, lane: usize) {
        let twice = self.lanes[lane].contested.iter().find(|(_, c)| c.of(Source::Log).count() > 1);
        if let Some((&offset, _)) = twice {
            let example = format!("{} offset {offset}", self.lane_name(lane));
            self.contradict("two readings of the log differ on one offset", example);
        }
    }

    /// Parts get numbers in the order of their creation, whoever reported them first.
    fn parts_in_order(&mut self) {
        let mut order: Vec<usize> = (0..self.parts.len()).collect();
        let key = |n: &usize| {
            let p = &self.parts[*n];
            (p.created_us, p.zone, p.name.clone(), p.during_run, p.generation.clone())
        };
        order.sort_by_cached_key(key);
        let mut new = vec![0u32; order.len()];
        for (rank, &old) in (0u32..).zip(&order) {
            new[old] = rank;
        }
        let mut old: Vec<Option<Part>> =
            std::mem::take(&mut self.parts).into_iter().map(Some).collect();
        self.parts = order.iter().filter_map(|&n| old[n].take()).collect();
        for lane in self.groups.iter_mut().flat_map(BTreeMap::values_mut) {
            lane.renumber(&new);
        }
    }
}

fn dead_key(dead: &Dead) -> (&str, u32, u64, u64) {
    let letter = &dead.letter;
    (&letter.topic, letter.partition, letter.offset, letter.created_us)
}

fn at<T>(event: &Event, fact: T) -> At<T> {
    At { t_us: event.t_us, process: event.process.clone(), seq: event.seq, fact }
}

pub(super) fn sort<T>(facts: &mut [At<T>]) {
    facts.sort_by(|a, b| (a.t_us, &a.process, a.seq).cmp(&(b.t_us, &b.process, b.seq)));
}
