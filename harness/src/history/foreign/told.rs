//! What foreign lines tell: first a census for the header, then fact after fact.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::history::event::*;

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
}

/// What the header needs to know of all lines before the first fact is handed out.
#[derive(Debug, Clone, Default)]
struct Census {
    groups: BTreeSet<String>,
    topics: BTreeMap<String, u32>,
    evidence: BTreeSet<Evidence>,
    /// Earliest wall clock of any line, microseconds since the epoch.
    zero_us: Option<i64>,
    operations: u64,
    /// The first operation number that no line claims for itself.
    free_op: u64,
}

/// Facts that wait to be handed out.
#[derive(Debug)]
struct Waiting {
    t_us: Option<u64>,
    process: String,
    fact: Fact,
    /// A read stands for all up to this offset: a claimed range costs no memory.
    last: Option<u64>,
}

/// What foreign lines have told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    census: Census,
    /// The census is over: facts are kept until they are taken.
    telling: bool,
    next_op: u64,
    waiting: VecDeque<Waiting>,
    clocks: HashMap<String, (u64, u64)>,
}

impl Told {
    /// Ends the census; the same lines are to be read once more for their facts.
    pub(super) fn tell_again(self) -> Self {
        let next_op = self.census.free_op;
        Self { census: self.census, telling: true, next_op, ..Self::default() }
    }

    /// A wall-clock instant on the history's clock, which begins with the earliest line.
    pub(super) fn at(&mut self, wall_ms: i64) -> u64 {
        let wall_us = wall_ms.saturating_mul(1000);
        let zero = self.census.zero_us.get_or_insert(wall_us);
        if !self.telling {
            *zero = wall_us.min(*zero);
        }
        u64::try_from(wall_us.saturating_sub(*zero)).unwrap_or(0)
    }

    /// A number for an operation that has none of its own, above all those that lines claim.
    pub(super) fn fresh_op(&mut self) -> u64 {
        self.next_op = self.next_op.saturating_add(1);
        self.next_op - 1
    }

    /// A line claims an operation's number for itself.
    pub(super) fn claim_op(&mut self, op: u64) {
        self.census.free_op = self.census.free_op.max(op.saturating_add(1));
    }

    /// Takes note of a place and checks its numbers.
    pub(super) fn place(
        &mut self,
        topic: &str,
        partition: i64,
        offset: i64,
    ) -> Result<(u32, u64), String> {
        let partition = u32::try_from(partition)
            .map_err(|_| format!("partition {partition} is negative or too large"))?;
        let offset = u64::try_from(offset).map_err(|_| format!("offset {offset} is negative"))?;
        self.topic(topic);
        if let Some(count) = self.census.topics.get_mut(topic) {
            *count = partition.saturating_add(1).max(*count);
        }
        Ok((partition, offset))
    }

    pub(super) fn topic(&mut self, topic: &str) {
        if !self.census.topics.contains_key(topic) {
            self.census.topics.insert(topic.to_owned(), 0);
        }
    }

    pub(super) fn group(&mut self, group: &str) {
        if !self.census.groups.contains(group) {
            self.census.groups.insert(group.to_owned());
        }
    }

    pub(super) fn vouch(&mut self, evidence: Evidence) {
        self.census.evidence.insert(evidence);
    }

    /// Adds a fact; without an instant it takes that of the line before it of its process.
    pub(super) fn tell(&mut self, t_us: Option<u64>, process: &str, fact: Fact) {
        if self.telling {
            let process = process.to_owned();
            self.waiting.push_back(Waiting { t_us, process, fact, last: None });
        } else if matches!(fact, Fact::Invoked(_)) {
            self.census.operations += 1;
        } else if matches!(fact, Fact::Read(Read { value: Some(_), .. })) {
            self.vouch(Evidence::ReadValues);
        }
    }

    /// Adds a read of each offset from the one that it names to `last`.
    pub(super) fn tell_reads(&mut self, t_us: Option<u64>, process: &str, first: Read, last: u64) {
        if self.telling {
            let (process, fact) = (process.to_owned(), Fact::Read(first));
            self.waiting.push_back(Waiting { t_us, process, fact, last: Some(last) });
        }
    }

    /// Something that keeps the history from being a pass.
    pub(super) fn doubt(&mut self, process: &str, text: String) {
        self.tell(None, process, Fact::Note { level: "error".to_owned(), text });
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
        let (t_us, seq) = (t_us.unwrap_or(clock.0), clock.1);
        *clock = (t_us, seq + 1);
        Some(Event { t_us, process, seq, fact })
    }

    /// The header that the census makes.
    pub(super) fn header(&self, settings: &Settings) -> Header {
        let mut topics = self.census.topics.clone();
        topics.extend(settings.partitions.clone());
        let groups = self.census.groups.iter().map(|group| GroupPromise {
            group: group.clone(),
            raw_zone: None,
            dead_letter_topic: None,
            keeps_members: false,
            // Nobody said that it reads to the end, or how it lays out what it stores.
            may_stop_early: true,
            free_layout: true,
            ..GroupPromise::default()
        });
        let promises = Promises {
            operations: self.census.operations,
            topics,
            partitioner: settings.partitioner.clone(),
            idempotent: false,
            key_order: settings.key_order,
            groups: groups.collect(),
            faults: Vec::new(),
            recovery_within_us: 0,
            evidence: self.census.evidence.iter().copied().collect(),
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
