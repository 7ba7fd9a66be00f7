//! Legal histories by chance: what an at-least-once pipeline may do, and nothing else.
//!
//! A small simulation of producers, logs and consumer groups: unknown and failed operations, poison
//! that the producer rejects or the consumer dead-letters, producer retries, offsets without records,
//! consumers that die between write and commit, several groups and partitions. Whatever comes out
//! must pass every check that applies.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Sample, header, headers, key, value};
use crate::event::*;
use crate::murmur2;

const TOPIC: &str = super::TOPIC;
const BUDGET_US: u64 = 60_000_000;

/// A record of a simulated log.
#[derive(Clone, Copy)]
struct Record {
    op: u64,
    offset: u64,
    wrote_us: u64,
    poison: bool,
}

struct World {
    rng: ChaCha8Rng,
    sample: Sample,
    logs: Vec<Vec<Record>>,
    next: Vec<u64>,
    holes: Vec<Vec<(u64, u64)>>,
    dead: u64,
    restarts: Vec<u64>,
}

/// A group's state.
struct Group {
    name: String,
    zone: String,
    position: Vec<usize>,
    committed: Vec<u64>,
    parts: u32,
    lists: Vec<ListedPart>,
    facts: Vec<Fact>,
}

/// A legal history for a seed, with up to `operations_max` operations.
#[must_use]
pub fn history(seed: u64, operations_max: u64) -> Sample {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let operations = rng.random_range(2..=operations_max.max(2));
    let partitions = rng.random_range(1..=4u32);
    let groups = rng.random_range(1..=2u32);
    let mut sample = Sample { header: header(operations, partitions), facts: Vec::new() };
    sample.header.run.seed = seed;
    let promises = &mut sample.header.promises;
    promises.recovery_within_us = BUDGET_US;
    promises.idempotent = rng.random_bool(0.5);
    // Whatever becomes of them is legal here.
    promises.outcomes = Some(OutcomePromise {
        unacknowledged_outside_faults: operations,
        ..OutcomePromise::default()
    });
    let template = promises.groups.remove(0);
    for n in 0..groups {
        let mut group = template.clone();
        group.group = format!("{}-{n}", template.group);
        group.raw_zone = Some(format!("gs://lake/{n}"));
        promises.groups.push(group);
    }
    let none = vec![Vec::new(); partitions as usize];
    let mut world = World {
        rng,
        sample,
        logs: vec![Vec::new(); partitions as usize],
        next: vec![0; partitions as usize],
        holes: none,
        dead: 0,
        restarts: Vec::new(),
    };
    world.run(operations);
    world.sample
}

impl World {
    fn run(&mut self, operations: u64) {
        self.configuration();
        self.sample.one_clock();
        let end_us = self.produce(operations);
        for producer in ["producer-0", "producer-1"] {
            // It says by its exit code, too, that it could not vouch for every operation.
            let failed = self.sample.facts.iter().any(|(_, process, fact)| {
                let failed = |c: &Completed| matches!(c.outcome, Outcome::Failed { .. });
                process == producer && matches!(fact, Fact::Completed(c) if failed(c))
            });
            self.sample.ended(end_us, producer, None, ProcessEnd::Code(i32::from(failed)));
        }
        let end_us = (0..self.sample.header.promises.groups.len())
            .map(|n| self.consume(n, end_us))
            .max()
            .unwrap_or(end_us);
        self.fault(operations);
        self.final_read(end_us + 1_000);
        self.sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
    }

    fn configuration(&mut self) {
        let idempotence = self.sample.header.promises.idempotent.to_string();
        let read = |of: &str, pairs: &[(&str, &str)]| Fact::Configuration {
            of: of.to_owned(),
            process: None,
            properties: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let producer = [
            ("enable.idempotence", &*idempotence),
            ("acks", "all"),
            ("partitioner", "murmur2_random"),
        ];
        self.sample.tell(0, "configuration", read("producer", &producer));
        self.sample.tell(0, "configuration", read("consumer", &super::CONSUMER));
        self.sample.tell(0, "configuration", read("dead-letter producer", &super::LETTER_WRITER));
        self.sample.probe(0, "broker-1").probe(0, "store");
        for producer in ["producer-0", "producer-1"] {
            self.process(0, producer, "started");
        }
    }

    /// All operations; gives the instant at which everything is written.
    fn produce(&mut self, operations: u64) -> u64 {
        let mut t_us = 1_000;
        for op in 0..operations {
            // A little before `super::ingested_ms` has it, which knows the operation alone.
            t_us = op * 10_000 + self.rng.random_range(100..1_000);
            let producer = format!("producer-{}", op % 2);
            // The first and the last are acknowledged, so that there is something to hold on to.
            let sure = op == 0 || op + 1 == operations;
            let dice = if sure { 99 } else { self.rng.random_range(0..100) };
            let poison = dice < 8;
            let topic = TOPIC.to_owned();
            let fact = Invoked {
                op,
                topic,
                key: Some(key(op)),
                value: value(op),
                bytes: 8,
                poison,
                key_beside: false,
                header_list: None,
            };
            self.sample.tell(t_us, &producer, Fact::Invoked(fact));
            let outcome = self.end(op, dice, t_us + 1_500);
            let mut done_us = t_us + self.rng.random_range(2_000..30_000);
            // A producer sends again when it has waited for an answer, and that took a broker that gave none.
            if (22..26).contains(&dice) && !self.sample.header.promises.idempotent {
                done_us += 100_000;
                let (target, detail) = ("broker-1".to_owned(), "no answer".to_owned());
                let probe = Probe { target, answered: false, detail };
                self.sample.tell(t_us, "prober", Fact::Probe(probe));
            }
            let Some(outcome) = outcome else { continue };
            let ingestion_id = Some(format!("id-{op}"));
            let completed = Completed::new(op, ingestion_id, outcome);
            self.sample.tell(done_us, &producer, Fact::Completed(completed));
        }
        t_us + 40_000
    }

    /// What becomes of an operation; none if nobody ever hears of it again.
    fn end(&mut self, op: u64, dice: u32, t_us: u64) -> Option<Outcome> {
        let error = "timed out".to_owned();
        match dice {
            0..4 => {
                self.dead_letter(op, None, t_us);
                Some(Outcome::Rejected { reason: "no amount".to_owned() })
            }
            4..8 => Some(self.append(op, t_us, true)),
            8..12 => Some(Outcome::Failed { error }),
            12..16 => {
                self.append(op, t_us, false);
                Some(Outcome::Unknown { error })
            }
            16..20 => Some(Outcome::Unknown { error }),
            20..22 => None,
            22..26 if !self.sample.header.promises.idempotent => {
                let outcome = self.append(op, t_us, false);
                // The retry is written behind the original.
                self.append(op, t_us + 50, false);
                Some(outcome)
            }
            _ => Some(self.append(op, t_us, false)),
        }
    }

    fn append(&mut self, op: u64, wrote_us: u64, poison: bool) -> Outcome {
        let partition = murmur2::partition(&key(op).0, self.next.len() as u32);
        let lane = partition as usize;
        if self.rng.random_bool(0.05) {
            let width = 1u64 << self.rng.random_range(0..40);
            self.holes[lane].push((self.next[lane], self.next[lane] + width - 1));
            self.next[lane] += width;
        }
        let offset = self.next[lane];
        self.next[lane] += 1;
        self.logs[lane].push(Record { op, offset, wrote_us, poison });
        Outcome::Acknowledged { topic: TOPIC.to_owned(), partition, offset }
    }

    fn dead_letter(&mut self, op: u64, place: Option<(&str, u32, u64, u64)>, created_us: u64) {
        let letter = super::dead_letter(op, place, created_us);
        let fact = DeadLetter { offset: self.dead, ..letter };
        self.dead += 1;
        // Told at the final read: the instant is set there.
        self.sample.tell(u64::MAX, "log-reader", Fact::DeadLetter(fact));
    }

    /// A group's whole life; gives the instant of its last commit.
    fn consume(&mut self, number: usize, written_us: u64) -> u64 {
        let promise = self.sample.header.promises.groups[number].clone();
        let mut group = Group {
            name: promise.group,
            zone: promise.raw_zone.unwrap_or_default(),
            position: vec![0; self.logs.len()],
            committed: vec![0; self.logs.len()],
            parts: 0,
            lists: Vec::new(),
            facts: Vec::new(),
        };
        let process = format!("consumer-{number}");
        let mut t_us = 500;
        self.process(t_us, &process, "started");
        self.positions(&group, &process, t_us + 200);
        loop {
            t_us += self.rng.random_range(1_000..60_000);
            let created_us = t_us + self.rng.random_range(500..5_000);
            let batch = self.batch(&mut group, t_us, created_us);
            let finished = batch == 0 && t_us > written_us;
            if self.rng.random_bool(0.1) && !finished {
                // It dies between the write and the commit, and delivers again.
                t_us = created_us + 1_000;
                self.process(t_us, &process, "killed");
                self.restarts.push(t_us);
                t_us += self.rng.random_range(1_000..20_000);
                self.process(t_us, &process, "started");
                self.positions(&group, &process, t_us + 200);
                for (lane, position) in group.position.iter_mut().enumerate() {
                    *position =
                        self.logs[lane].partition_point(|r| r.offset < group.committed[lane]);
                }
                continue;
            }
            let at_us = created_us + self.rng.random_range(0..3_000);
            self.commit(&mut group, at_us);
            t_us = t_us.max(at_us);
            if finished {
                self.process(t_us + 5_000, &process, "stopped in order");
                self.store(number, group, t_us + 10_000);
                return t_us + 10_000;
            }
        }
    }

    /// A consumer is told where its group stands.
    fn positions(&mut self, group: &Group, process: &str, at_us: u64) {
        for (partition, &committed) in (0u32..).zip(&group.committed) {
            let offset = (committed > 0).then_some(committed);
            self.sample.position_of(&group.name, at_us, process, partition, offset);
        }
    }

    /// Takes up to some records of each partition into one part; poison becomes a dead letter.
    fn batch(&mut self, group: &mut Group, t_us: u64, created_us: u64) -> usize {
        let mut records = Vec::new();
        let mut taken = 0;
        for lane in 0..self.logs.len() {
            let limit = self.rng.random_range(0..12);
            let from = group.position[lane];
            let ready = self.logs[lane][from..].iter().take_while(|r| r.wrote_us <= t_us);
            let some: Vec<Record> = ready.take(limit).copied().collect();
            group.position[lane] += some.len();
            taken += usize::from(limit == 0) + some.len();
            for record in some {
                if record.poison {
                    let place = (group.name.as_str(), lane as u32, record.offset, record.wrote_us);
                    self.dead_letter(record.op, Some(place), created_us);
                } else {
                    records.push((lane as u32, record));
                }
            }
        }
        // A part holds one partition.
        for own in records.chunk_by(|a, b| a.0 == b.0) {
            self.part(group, created_us, own);
        }
        taken
    }

    fn part(&mut self, group: &mut Group, created_us: u64, records: &[(u32, Record)]) {
        let object = group.parts;
        group.parts += 1;
        let part = Object {
            object,
            raw_zone: group.zone.clone(),
            name: super::part_in(&group.zone, object),
            generation: "1".to_owned(),
            created_us,
            bytes: 100,
            role: ObjectRole::Part,
            crc32: Some(super::CRC32.to_owned()),
            ..Object::default()
        };
        let watch = format!("store-watch {}", group.zone);
        let sighting = Object { during_run: true, ..part.clone() };
        self.sample.tell(created_us, &watch, Fact::Object(sighting));
        group.facts.push(Fact::Object(part));
        let mut entry = ListedPart {
            name: super::part_in(&group.zone, object),
            topic: TOPIC.to_owned(),
            bytes: 100,
            crc32: Some(super::CRC32.to_owned()),
            ..ListedPart::default()
        };
        for (line, &(partition, record)) in (1..).zip(records) {
            group.facts.push(Fact::Stored(stored(object, line, partition, record)));
            if entry.records == 0 {
                (entry.partition, entry.first) = (partition, record.offset);
            }
            (entry.last, entry.records) = (record.offset, entry.records + 1);
        }
        group.lists.push(entry);
    }

    fn commit(&mut self, group: &mut Group, at_us: u64) {
        for lane in 0..self.logs.len() {
            let Some(last) = group.position[lane].checked_sub(1) else { continue };
            let offset = self.logs[lane][last].offset + 1;
            if offset > group.committed[lane] {
                group.committed[lane] = offset;
                let fact = Committed {
                    group: group.name.clone(),
                    topic: TOPIC.to_owned(),
                    partition: lane as u32,
                    offset,
                    at_us,
                    exact: true,
                };
                self.sample.tell(
                    at_us,
                    &format!("commit-watch {}", group.name),
                    Fact::Committed(fact),
                );
            }
        }
    }

    fn store(&mut self, number: usize, mut group: Group, t_us: u64) {
        let metadata = Object {
            object: group.parts,
            raw_zone: group.zone.clone(),
            name: format!("{}/_metadata.json", super::folder_in(&group.zone)),
            generation: "7".to_owned(),
            created_us: t_us,
            bytes: 10,
            role: ObjectRole::Metadata,
            lists: std::mem::take(&mut group.lists),
            head: Some(super::metadata_head()),
            ..Object::default()
        };
        group.facts.push(Fact::Object(metadata));
        group.facts.push(Fact::StoreRead { raw_zone: group.zone, parts: group.parts });
        for fact in group.facts {
            self.sample.tell(u64::MAX, &format!("store-reader-{number}"), fact);
        }
    }

    fn process(&mut self, t_us: u64, name: &str, state: &str) {
        match state {
            "killed" => self.sample.ended(t_us, name, Some(Ask::Kill), ProcessEnd::Signal(9)),
            "stopped in order" => {
                self.sample.ended(t_us, name, Some(Ask::Stop), ProcessEnd::Code(0))
            }
            state => self.sample.process(t_us, name, state),
        };
        if let Some((_, process, _)) = self.sample.facts.last_mut() {
            *process = format!("supervisor of {name}");
        }
    }

    /// Now and then a fault in the middle of the load, which an operation spans.
    fn fault(&mut self, operations: u64) {
        if operations < 12 || self.rng.random_bool(0.3) {
            return;
        }
        let invoked = |op: u64| {
            let mut facts = self.sample.facts.iter();
            facts.find_map(|(t, _, f)| matches!(f, Fact::Invoked(i) if i.op == op).then_some(*t))
        };
        let (Some(begin), Some(end)) = (invoked(operations / 3), invoked(operations / 2)) else {
            return;
        };
        self.sample.header.promises.faults.push(PlannedFault {
            fault: 0,
            kind: "broker-restart".to_owned(),
            target: "broker-1".to_owned(),
            needs_load: true,
            ..PlannedFault::default()
        });
        use FaultStage::{Healed, Healing, Injected, Injecting, Seen};
        let stages = [Injecting, Injected, Seen, Healing, Healed];
        for (n, stage) in (0..).zip(stages) {
            self.sample.fault(begin + (end - begin) * n / 4, stage);
        }
    }

    fn final_read(&mut self, end_us: u64) {
        for lane in 0..self.logs.len() {
            for record in self.logs[lane].clone() {
                let fact = logged(lane as u32, record);
                self.sample.tell(end_us, &format!("log-reader-{lane}"), Fact::Logged(fact));
            }
            if self.rng.random_bool(0.1) {
                // A control record behind the last record: nobody commits past it.
                self.holes[lane].push((self.next[lane], self.next[lane]));
                self.next[lane] += 1;
            }
            let bounds = LogBounds {
                topic: TOPIC.to_owned(),
                partition: lane as u32,
                low: 0,
                high: self.next[lane],
                complete: true,
                holes: self.holes[lane].clone(),
                ..LogBounds::default()
            };
            self.sample.tell(end_us, &format!("log-reader-{lane}"), Fact::LogBounds(bounds));
        }
        self.sample.bounds(super::DEAD_LETTERS, 0, 0, self.dead);
        self.sample.probe(end_us, "broker-1").probe(end_us, "store");
        for (t_us, _, fact) in &mut self.sample.facts {
            if *t_us == u64::MAX || matches!(fact, Fact::LogBounds(_)) {
                *t_us = end_us;
            }
        }
        for (t_us, name) in
            [(0, "load"), (1, "heal"), (2, "recover"), (end_us, "final-read"), (end_us, "done")]
        {
            self.sample.tell(t_us, "runner", Fact::Phase { name: name.to_owned() });
        }
    }
}

fn logged(partition: u32, record: Record) -> Logged {
    Logged {
        topic: TOPIC.to_owned(),
        partition,
        offset: record.offset,
        timestamp_ms: Some(super::wall_ms(record.wrote_us)),
        ingested_ms: Some(super::ingested_ms(record.op)),
        op: Some(record.op),
        ingestion_id: Some(format!("id-{}", record.op)),
        key: Some(key(record.op)),
        value: value(record.op),
        headers: headers(record.op),
        header_list: Some(super::header_list(record.op)),
        ..Logged::default()
    }
}

fn stored(object: u32, line: u32, partition: u32, record: Record) -> Stored {
    Stored {
        object,
        line,
        topic: TOPIC.to_owned(),
        partition,
        offset: record.offset,
        ingested_ms: Some(super::ingested_ms(record.op)),
        timestamp_ms: Some(super::wall_ms(record.wrote_us)),
        op: Some(record.op),
        ingestion_id: Some(format!("id-{}", record.op)),
        key: Some(key(record.op)),
        value: value(record.op),
        headers: headers(record.op),
        header_list: Some(super::header_list(record.op)),
    }
}
