//! What foreign lines have told so far, and what evidence that makes.

use std::collections::{BTreeMap, BTreeSet};

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

/// Facts gathered from foreign lines.
#[derive(Debug)]
pub(super) struct Told {
    settings: Settings,
    facts: Vec<(Option<u64>, String, Fact)>,
    groups: BTreeSet<String>,
    topics: BTreeMap<String, u32>,
    evidence: BTreeSet<Evidence>,
    /// Wall clock of the first line that has one, microseconds since the epoch.
    zero_us: Option<i64>,
    invoked: BTreeSet<u64>,
    next_op: u64,
}

impl Told {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            facts: Vec::new(),
            groups: BTreeSet::new(),
            topics: BTreeMap::new(),
            evidence: BTreeSet::new(),
            zero_us: None,
            invoked: BTreeSet::new(),
            next_op: 0,
        }
    }

    /// A wall-clock instant on the history's clock, which begins with the first line.
    pub(super) fn at(&mut self, wall_ms: i64) -> u64 {
        let wall_us = wall_ms.saturating_mul(1000);
        let zero = *self.zero_us.get_or_insert(wall_us);
        u64::try_from(wall_us.saturating_sub(zero)).unwrap_or(0)
    }

    pub(super) fn fresh_op(&mut self) -> u64 {
        self.next_op += 1;
        self.next_op - 1
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
        let count = self.topics.entry(topic.to_owned()).or_insert(0);
        *count = partition.saturating_add(1).max(*count);
        Ok((partition, offset))
    }

    pub(super) fn topic(&mut self, topic: &str) {
        self.topics.entry(topic.to_owned()).or_insert(0);
    }

    pub(super) fn group(&mut self, group: &str) {
        self.groups.insert(group.to_owned());
    }

    pub(super) fn vouch(&mut self, evidence: Evidence) {
        self.evidence.insert(evidence);
    }

    /// Adds a fact; without an instant it takes that of the line before it of its process.
    pub(super) fn tell(&mut self, t_us: Option<u64>, process: &str, fact: Fact) {
        if let Fact::Invoked(invoked) = &fact {
            self.invoked.insert(invoked.op);
            self.next_op = self.next_op.max(invoked.op.saturating_add(1));
        }
        self.facts.push((t_us, process.to_owned(), fact));
    }

    pub(super) fn finish(mut self) -> (Header, Vec<Event>) {
        let mut clocks: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut events = Vec::with_capacity(self.facts.len());
        for (t_us, process, fact) in std::mem::take(&mut self.facts) {
            let clock = clocks.entry(process.clone()).or_insert((0, 0));
            let t_us = t_us.unwrap_or(clock.0);
            events.push(Event { t_us, process, seq: clock.1, fact });
            *clock = (t_us, clock.1 + 1);
        }
        (self.header(), events)
    }

    fn header(&self) -> Header {
        let mut topics = self.topics.clone();
        topics.extend(self.settings.partitions.clone());
        let groups = self.groups.iter().map(|group| GroupPromise {
            group: group.clone(),
            raw_zone: None,
            dead_letter_topic: None,
            keeps_members: false,
        });
        let promises = Promises {
            source: None,
            replay_from: None,
            operations: self.invoked.len() as u64,
            topics,
            partitioner: self.settings.partitioner.clone(),
            idempotent: false,
            key_order: self.settings.key_order,
            groups: groups.collect(),
            faults: Vec::new(),
            recovery_within_us: 0,
            evidence: self.evidence.iter().copied().collect(),
        };
        let zero = self.zero_us.unwrap_or(0);
        let started = chrono::DateTime::from_timestamp_micros(zero).unwrap_or_default();
        let run = RunInfo {
            scenario: self.settings.name.clone(),
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
