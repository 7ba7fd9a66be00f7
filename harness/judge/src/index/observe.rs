//! The one pass: fact after fact into the index.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::DateTime;

use super::group::Passing;
use super::hash::Quick;
use super::keys::KeyOrder;
use super::records::Oracle;
use super::skew::{self, Base, Clocks};
use super::slots::Detail;
use super::told_reads::{ReadValue, Send};
use super::{
    At, Dead, HeaderFacts, Index, Instants, Lane, Latencies, OddKind, Ops, Part, Rare, ReadBack,
    Source, Zone,
};
use streamlake_history::event::{AssignmentChange, Event, Fact, Header};

/// Kafka's offsets are signed: no higher one exists.
pub(super) const OFFSET_MAX: u64 = i64::MAX as u64;

/// More operations than this, and records are packed.
const FULL_OPERATIONS_MAX: u64 = 4_000_000;

/// Partitions of the first topic that are found without a search.
const FIRST_LANES_MAX: u32 = 1 << 12;

/// What is only needed while facts come in.
#[derive(Debug, Default)]
pub(super) struct Work {
    clocks: Vec<Clock>,
    pub(super) clock_numbers: HashMap<String, u16>,
    pub(super) last_clock: u16,
    pub(super) topic_numbers: HashMap<String, usize>,
    pub(super) lane_numbers: HashMap<(usize, u32), usize, Quick>,
    // Lanes of the first topic by partition, of which most facts speak.
    first_lanes: Vec<Option<u32>>,
    pub(super) objects: HashMap<(u16, u32), Option<u32>, Quick>,
    pub(super) key_homes: HashMap<u64, usize, Quick>,
    pub(super) key_orders: HashMap<(u16, usize), KeyOrder, Quick>,
    pub(super) producers: u8,
    pub(super) oracle: Oracle,
    pub(super) seen_clocks: HashMap<Base, skew::Seen>,
    // Reads that told a value, until the log is known.
    pub(super) read_values: Vec<ReadValue>,
    // Who sent a value, of histories whose readers may tell values.
    pub(super) sends: HashMap<u64, Vec<Send>>,
}

#[derive(Debug)]
struct Clock {
    process: String,
    next_seq: u64,
    t_us: u64,
    last_op: Option<u64>,
    // Its number among those that invoke operations.
    producer: Option<u8>,
}

impl Index {
    /// An index of nothing yet. Runs of more than four million promised operations are packed: eight
    /// bytes a record instead of fifty, which says less about each (see the checkers' limits).
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let large = header.promises.operations > FULL_OPERATIONS_MAX;
        Self::with(header, if large { Detail::Packed } else { Detail::Full })
    }

    /// As [`Index::new`], packed whatever the size of the run.
    #[must_use]
    pub fn packed(header: &Header) -> Self {
        Self::with(header, Detail::Packed)
    }

    fn with(header: &Header, detail: Detail) -> Self {
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
            clocks: Clocks::default(),
            processes: Vec::new(),
            invocations: Instants::default(),
            completions: Instants::default(),
            acks: Instants::default(),
            unacknowledged: Instants::default(),
            latencies: Latencies::default(),
            misplaced: Vec::new(),
            keyed: 0,
            strays: Vec::new(),
            split_keys: BTreeMap::new(),
            headers: HeaderFacts::default(),
            sampled_ids: Vec::new(),
            unordered_owners: BTreeSet::new(),
            producers: Vec::new(),
            compared_reads: 0,
            misread: BTreeSet::new(),
            foreign: BTreeMap::new(),
            end_us: 0,
            contradictions: BTreeMap::new(),
            odd: BTreeMap::new(),
            refusals: BTreeMap::new(),
            reasons: BTreeMap::new(),
            letters_told: BTreeMap::new(),
            ops_of_letters: BTreeMap::new(),
            unexplained: Vec::new(),
            longest_wait: None,
            other_keys_told: Vec::new(),
            letters_of_others: Vec::new(),
            late_keys: Vec::new(),
            unjudged_order: 0,
            detail,
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
            Fact::Logged(fact) => self.logged(process, fact),
            Fact::Stored(fact) => self.stored(process, fact),
            Fact::LogBounds(fact) => self.log_bounds(fact),
            Fact::Committed(fact) => self.committed(event.t_us, process, fact),
            Fact::Read(fact) => self.read(event.t_us, process, fact),
            Fact::Object(fact) => self.object(event.t_us, process, fact),
            Fact::DeadLetter(fact) => self.dead_letter(fact),
            Fact::StoreRead { raw_zone, parts } => {
                match self.zones.iter_mut().find(|zone| &zone.name == raw_zone) {
                    Some(zone) => zone.reads.push(*parts),
                    None => self.count_foreign("store reads"),
                }
            }
            _ => self.rare_fact(event, process),
        }
    }

    fn check_clock(&mut self, event: &Event) -> u16 {
        let number = self.clock_number(&event.process);
        let clock = &mut self.work.clocks[usize::from(number)];
        let (due, before) = (clock.next_seq, clock.t_us);
        clock.next_seq = event.seq.saturating_add(1);
        // The highest instant so far: one line that is too early is one step back, not two.
        clock.t_us = event.t_us.max(before);
        if event.seq != due || event.t_us < before {
            let example =
                format!("process `{}` at seq {}", event.process.escape_debug(), event.seq);
            if event.seq != due {
                let kind = "the numbering of a process has a hole or a repetition";
                self.contradict(kind, example.clone());
            }
            if event.t_us < before {
                self.odd(OddKind::Clock, format!("{example} by {} µs", before - event.t_us), None);
            }
        }
        number
    }

    fn clock_number(&mut self, process: &str) -> u16 {
        let work = &mut self.work;
        if work.clocks.get(usize::from(work.last_clock)).is_some_and(|c| c.process == process) {
            return work.last_clock;
        }
        let number = match work.clock_numbers.get(process) {
            Some(&number) => number,
            None if work.clocks.len() >= usize::from(u16::MAX) => {
                self.contradict("more than 65 535 processes", String::new());
                return u16::MAX - 1;
            }
            None => {
                let number = work.clocks.len() as u16;
                let process = process.to_owned();
                work.clock_numbers.insert(process.clone(), number);
                let (next_seq, t_us, last_op, producer) = (0, 0, None, None);
                work.clocks.push(Clock { process, next_seq, t_us, last_op, producer });
                number
            }
        };
        self.work.last_clock = number;
        number
    }

    /// A process has a name that begins so.
    pub(super) fn process_is(&self, process: u16, prefix: &str) -> bool {
        let clock = self.work.clocks.get(usize::from(process));
        clock.is_some_and(|clock| clock.process.starts_with(prefix))
    }

    pub(super) fn topic_number(&mut self, topic: &str) -> usize {
        // Most runs have one topic under test.
        if self.topics.first().is_some_and(|first| first == topic) {
            return 0;
        }
        if let Some(&number) = self.work.topic_numbers.get(topic) {
            return number;
        }
        let number = self.topics.len();
        self.topics.push(topic.to_owned());
        self.work.topic_numbers.insert(topic.to_owned(), number);
        number
    }

    /// The number of a process among the producers; they share the last one when there are too many
    /// of them, and their order is not judged.
    pub(super) fn producer_number(&mut self, process: u16, op: u64) -> u8 {
        let clock = &mut self.work.clocks[usize::from(process)];
        let number = *clock.producer.get_or_insert_with(|| {
            self.work.producers = self.work.producers.saturating_add(1);
            self.producers.push(process);
            self.work.producers - 1
        });
        let before = clock.last_op.replace(op);
        if number == u8::MAX - 1 || before.is_some_and(|before| before >= op) {
            self.unordered_owners.insert(number);
        }
        number
    }

    pub(super) fn lane_number(&mut self, topic: &str, partition: u32) -> usize {
        let key = (self.topic_number(topic), partition);
        if key.0 == 0
            && let Some(&Some(lane)) = self.work.first_lanes.get(partition as usize)
        {
            return lane as usize;
        }
        if let Some(&number) = self.work.lane_numbers.get(&key) {
            return number;
        }
        let number = self.lanes.len();
        let promised = self.header.promises.topics.get(topic).copied();
        let groups = self.groups.len();
        self.lanes.push(Lane::new((topic, partition), promised, groups, self.detail));
        self.work.lane_numbers.insert(key, number);
        if key.0 == 0 && partition < FIRST_LANES_MAX {
            let first = &mut self.work.first_lanes;
            first.resize(first.len().max(partition as usize + 1), None);
            first[partition as usize] = u32::try_from(number).ok();
        }
        self.by_name.entry(topic.to_owned()).or_default().insert(partition, number);
        number
    }

    /// False for an offset that Kafka cannot have; `who` says what names it.
    pub(super) fn offset_ok(
        &mut self,
        offset: u64,
        kind: OddKind,
        who: impl Fn() -> String,
    ) -> bool {
        if offset > OFFSET_MAX {
            self.odd(kind, format!("{} names offset {offset}", who()), None);
        }
        offset <= OFFSET_MAX
    }

    pub(super) fn count_foreign(&mut self, what: &'static str) {
        *self.foreign.entry(what).or_insert(0) += 1;
    }

    fn rare_fact(&mut self, event: &Event, process: u16) {
        let rare = &mut self.rare;
        match &event.fact {
            Fact::Phase { name } => rare.phases.push(at(event, name.clone())),
            Fact::Fault(fact) => rare.faults.push(at(event, fact.clone())),
            Fact::Probe(fact) => rare.probes.push(at(event, fact.clone())),
            Fact::Generation(fact) => rare.generations.push(at(event, fact.clone())),
            Fact::Position(fact) => rare.positions.push(at(event, fact.clone())),
            Fact::Membership(fact) => rare.memberships.push(at(event, fact.clone())),
            Fact::CommitAttempt(fact) => rare.attempts.push(at(event, fact.clone())),
            Fact::Reset(fact) => rare.resets.push(at(event, fact.clone())),
            Fact::Clock(fact) => rare.clocks.push(at(event, fact.clone())),
            Fact::Unreadable(fact) => rare.unreadable.push(at(event, fact.clone())),
            Fact::Transaction(fact) => rare.transactions.push(at(event, fact.clone())),
            Fact::Doubt(fact) => rare.doubts.push(at(event, fact.clone())),
            Fact::Process(fact) => rare.processes.push(at(event, fact.clone())),
            Fact::Configuration { of, properties, process } => {
                let (of, properties) = (of.clone(), properties.clone());
                let fact = ReadBack { of, properties, process: process.clone() };
                rare.configuration.push(at(event, fact));
            }
            Fact::Note { level, text } => {
                rare.notes.push(at(event, (level.clone(), text.clone())));
            }
            Fact::Assignment(fact) => {
                rare.assignments.push(at(event, fact.clone()));
                if let Some(group) = self.group_number(&fact.group) {
                    let lane = self.lane_number(&fact.topic, fact.partition);
                    let assigned = fact.change == AssignmentChange::Assigned;
                    let entry = self.groups[group].entry(lane).or_default();
                    entry.assignment(&fact.member, process, assigned, event.t_us);
                }
            }
            Fact::LastLines(fact) => rare.last_lines.push(at(event, fact.clone())),
            Fact::SelfReport(fact) => rare.self_reports.push(at(event, fact.clone())),
            Fact::Totals(fact) => rare.totals.push(at(event, fact.clone())),
            _ => rare.source.take(event),
        }
    }

    /// Ends the pass and derives what the checkers ask for.
    #[must_use]
    pub fn settle(mut self) -> Self {
        for op in self.ops.settle() {
            self.odd(OddKind::OutcomeOfNothing, format!("operation {op}"), Some(op));
        }
        self.invocations.close();
        self.completions.close();
        self.acks.close();
        self.unacknowledged.close();
        self.parts_in_order();
        sort(&mut self.rare.positions);
        for lane in 0..self.lanes.len() {
            self.lanes[lane].settle();
            self.check_readings(lane);
        }
        self.processes = self.work.clocks.iter().map(|clock| clock.process.clone()).collect();
        self.see_clocks();
        self.settle_clocks();
        let (answered, mut asked) = (self.answered(), self.asked());
        let letters = self.letter_base();
        for (group, lanes) in self.groups.iter_mut().enumerate() {
            let reads_count = self.header.promises.groups[group].raw_zone.is_none();
            for (number, lane) in lanes.iter_mut() {
                let asked = asked.remove(&(group, *number)).unwrap_or_default();
                let passing = Passing { answered: &answered, asked };
                lane.settle(reads_count, letters, &self.clocks, &passing);
            }
        }
        self.compare_reads();
        self.settle_headers();
        self.dead.sort_by(|a, b| dead_key(a).cmp(&dead_key(b)));
        self.misplaced.sort_unstable();
        let order = &self.lanes;
        let name = |n: usize| (&order[n].topic, order[n].partition);
        self.strays.sort_by_key(|s| (name(s.lane), s.offset));
        self.sampled_ids.sort_unstable();
        sort(&mut self.rare.phases);
        sort(&mut self.rare.faults);
        sort(&mut self.rare.probes);
        sort(&mut self.rare.processes);
        sort(&mut self.rare.assignments);
        sort(&mut self.rare.generations);
        sort(&mut self.rare.memberships);
        sort(&mut self.rare.attempts);
        sort(&mut self.rare.resets);
        sort(&mut self.rare.clocks);
        sort(&mut self.rare.unreadable);
        sort(&mut self.rare.configuration);
        sort(&mut self.rare.last_lines);
        sort(&mut self.rare.self_reports);
        sort(&mut self.rare.totals);
        sort(&mut self.rare.transactions);
        sort(&mut self.rare.doubts);
        sort(&mut self.rare.notes);
        self.late_keys.sort_unstable();
        self.unjudged_order +=
            self.work.key_orders.values().map(|order| order.unjudged).sum::<u64>();
        self.rare.source.settle();
        self.work = Work::default();
        self
    }

    /// By the number of a part: when the gateway had the store's answer to its writer. An answer that
    /// the writer never got counts as well: what was answered is there.
    fn answered(&self) -> Vec<Option<u64>> {
        let mut by_name: BTreeMap<(usize, &str, &str), u64> = BTreeMap::new();
        for part in &self.parts {
            if let Some(at_us) = part.answered_us {
                let first = by_name.entry(part.identity()).or_insert(at_us);
                *first = at_us.min(*first);
            }
        }
        self.parts.iter().map(|part| by_name.get(&part.identity()).copied()).collect()
    }

    /// By group and lane: when each offset was asked to be committed, as that passed. What the
    /// coordinator refused committed nothing.
    fn asked(&self) -> BTreeMap<(usize, usize), BTreeMap<u64, Vec<u64>>> {
        let mut asked: BTreeMap<(usize, usize), BTreeMap<u64, Vec<u64>>> = BTreeMap::new();
        for attempt in self.rare.attempts.iter().map(|attempt| &attempt.fact) {
            let lanes = self.by_name.get(&attempt.topic);
            let lane = lanes.and_then(|lanes| lanes.get(&attempt.partition));
            let group = self.group_number(&attempt.group);
            if let (Some(group), Some(&lane), None) = (group, lane, &attempt.refused) {
                let offsets = asked.entry((group, lane)).or_default();
                offsets.entry(attempt.offset).or_default().push(attempt.at_us);
            }
        }
        let each = asked.values_mut().flat_map(BTreeMap::values_mut);
        each.for_each(|instants| instants.sort_unstable());
        asked
    }

    /// A log that was read twice must have said the same twice.
    fn check_readings(&mut self, lane: usize) {
        let contested = self.lanes[lane].contested.iter();
        let differ = contested.filter_map(|(offset, words)| {
            let mut log = words.of(Source::Log);
            Some((*offset, *log.next()?, *log.next()?))
        });
        for (offset, one, other) in differ.collect::<Vec<_>>() {
            let place = self.lane_name(lane);
            let example = format!("{place} offset {offset}: {} and {}", one.told(), other.told());
            self.odd(OddKind::LogReadings, example, None);
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
