//! Histories made by hand: a small language for tests of checkers and reports, and the honest run
//! that they start from.
//!
//! [`Sample::honest`] is a history in which every guarantee holds and every checker has something to
//! hold on to. A test takes it, changes what it is about, and asks for the verdict.

use std::collections::BTreeMap;

use super::event::*;
use super::{HistoryError, HistoryWriter};

/// The topic of [`Sample`]s.
pub const TOPIC: &str = "streamlake.orders.raw";
/// Their dead-letter topic.
pub const DEAD_LETTERS: &str = "streamlake.orders.dlq";
/// Their raw zone.
pub const ZONE: &str = "gs://lake/raw";
/// Their group.
pub const GROUP: &str = "streamlake-consumer-orders";
/// Wall clock at their start, milliseconds since the epoch.
pub const START_MS: i64 = 1_794_000_000_000;

/// A history in the making. Facts keep the order in which they were told for each process; time is
/// what the test says.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The header, free to change.
    pub header: Header,
    /// The facts: instant, process, fact; free to change.
    pub facts: Vec<(u64, String, Fact)>,
}

/// Promises that everything is vouched for, one topic with `partitions`, one group.
#[must_use]
pub fn header(operations: u64, partitions: u32) -> Header {
    let promises = Promises {
        operations,
        topics: BTreeMap::from([(TOPIC.to_owned(), partitions)]),
        partitioner: Some("murmur2_random".to_owned()),
        idempotent: true,
        key_order: true,
        groups: vec![GroupPromise {
            group: GROUP.to_owned(),
            raw_zone: Some(ZONE.to_owned()),
            dead_letter_topic: Some(DEAD_LETTERS.to_owned()),
        }],
        faults: Vec::new(),
        recovery_within_us: 10_000_000,
        evidence: vec![
            Evidence::Receipts,
            Evidence::Log,
            Evidence::CommitsComplete,
            Evidence::Objects,
            Evidence::DeadLetters,
            Evidence::Idempotence,
        ],
    };
    let run = RunInfo {
        scenario: "sample".to_owned(),
        testbed: "embedded".to_owned(),
        seed: 1,
        started_at: "2026-11-06T21:20:00.000000Z".to_owned(),
        harness_version: "0".to_owned(),
        commit: String::new(),
        components: BTreeMap::new(),
        limits: Vec::new(),
        about: About::default(),
    };
    Header { format: FORMAT.to_owned(), version: VERSION, run, promises }
}

/// The key of an operation.
#[must_use]
pub fn key(op: u64) -> Blob {
    Blob(format!("order-{}", op % 7).into_bytes())
}

/// The fingerprint of an operation's value.
#[must_use]
pub fn value(op: u64) -> Print {
    Print::of(&op.to_le_bytes())
}

/// The fingerprint of an operation's headers.
#[must_use]
pub fn headers(op: u64) -> Print {
    Print::of(&(op ^ 0xff).to_le_bytes())
}

impl Sample {
    /// A history without facts.
    #[must_use]
    pub fn empty(operations: u64, partitions: u32) -> Self {
        Self { header: header(operations, partitions), facts: Vec::new() }
    }

    /// Adds a fact.
    pub fn tell(&mut self, t_us: u64, process: &str, fact: Fact) -> &mut Self {
        self.facts.push((t_us, process.to_owned(), fact));
        self
    }

    /// An operation is invoked.
    pub fn invoke(&mut self, t_us: u64, op: u64) -> &mut Self {
        let (topic, key) = (TOPIC.to_owned(), Some(key(op)));
        let fact = Invoked { op, topic, key, value: value(op), bytes: 8, poison: false };
        self.tell(t_us, "producer-1", Fact::Invoked(fact))
    }

    /// An operation ends.
    pub fn complete(&mut self, t_us: u64, op: u64, outcome: Outcome) -> &mut Self {
        let ingestion_id = Some(format!("id-{op}"));
        self.tell(t_us, "producer-1", Fact::Completed(Completed { op, ingestion_id, outcome }))
    }

    /// An operation is acknowledged.
    pub fn acknowledge(&mut self, t_us: u64, op: u64, partition: u32, offset: u64) -> &mut Self {
        let outcome = Outcome::Acknowledged { topic: TOPIC.to_owned(), partition, offset };
        self.complete(t_us, op, outcome)
    }

    /// The log holds an operation's record, written `wrote_us` into the run.
    pub fn log(&mut self, op: u64, partition: u32, offset: u64, wrote_us: u64) -> &mut Self {
        let fact = Logged {
            topic: TOPIC.to_owned(),
            partition,
            offset,
            timestamp_ms: START_MS + i64::try_from(wrote_us / 1000).unwrap_or(0),
            op: Some(op),
            ingestion_id: Some(format!("id-{op}")),
            key: Some(key(op)),
            value: value(op),
            headers: headers(op),
            missing_headers: Vec::new(),
        };
        self.tell(END_US, "log-reader", Fact::Logged(fact))
    }

    /// The log of a partition was read to its end.
    pub fn bounds(&mut self, topic: &str, partition: u32, low: u64, high: u64) -> &mut Self {
        let (topic, holes) = (topic.to_owned(), Vec::new());
        let fact = LogBounds { topic, partition, low, high, complete: true, holes };
        self.tell(END_US, "log-reader", Fact::LogBounds(fact))
    }

    /// An object stands in the raw zone at the end.
    pub fn object(
        &mut self,
        object: u32,
        name: &str,
        created_us: u64,
        role: ObjectRole,
    ) -> &mut Self {
        let fact = Object {
            object,
            raw_zone: ZONE.to_owned(),
            name: name.to_owned(),
            generation: created_us.to_string(),
            created_us,
            bytes: 100,
            content: None,
            role,
            during_run: false,
            problem: None,
            lists: Vec::new(),
        };
        self.tell(END_US, "store-reader", Fact::Object(fact))
    }

    /// A part that was also seen during the run, with records: operation, partition, offset, and
    /// when each was written.
    pub fn part(
        &mut self,
        object: u32,
        created_us: u64,
        records: &[(u64, u32, u64, u64)],
    ) -> &mut Self {
        let name = part_name(object);
        self.object(object, &name, created_us, ObjectRole::Part);
        if let Some((_, _, Fact::Object(last))) = self.facts.last().cloned() {
            self.tell(created_us, "store-watch", Fact::Object(Object { during_run: true, ..last }));
        }
        for (line, &(op, partition, offset, wrote_us)) in (1..).zip(records) {
            let fact = Stored {
                object,
                line,
                topic: TOPIC.to_owned(),
                partition,
                offset,
                timestamp_ms: START_MS + i64::try_from(wrote_us / 1000).unwrap_or(0),
                op: Some(op),
                ingestion_id: Some(format!("id-{op}")),
                key: Some(key(op)),
                value: value(op),
                headers: headers(op),
            };
            self.tell(END_US, "store-reader", Fact::Stored(fact));
        }
        self
    }

    /// The group committed an offset.
    pub fn commit(&mut self, at_us: u64, partition: u32, offset: u64) -> &mut Self {
        let (group, topic) = (GROUP.to_owned(), TOPIC.to_owned());
        let fact = Committed { group, topic, partition, offset, at_us, exact: true };
        self.tell(at_us, "commit-watch", Fact::Committed(fact))
    }

    /// A step of fault 0.
    pub fn fault(&mut self, t_us: u64, step: FaultStage) -> &mut Self {
        let mut evidence = BTreeMap::new();
        if step == FaultStage::Seen {
            evidence.insert("container start time".to_owned(), "changed".to_owned());
        }
        self.tell(t_us, "nemesis", Fact::Fault(FaultStep { fault: 0, step, evidence }))
    }

    /// A process of the system under test changed its state.
    pub fn process(&mut self, t_us: u64, name: &str, state: &str) -> &mut Self {
        let (name, state) = (name.to_owned(), state.to_owned());
        let fact = ProcessState { name, pid: 1, state, status: None };
        self.tell(t_us, "supervisor", Fact::Process(fact))
    }

    /// A run of 60 operations on two partitions, ten to a part, in which everything holds; fault 0
    /// is planned and bites in the middle.
    #[must_use]
    pub fn honest() -> Self {
        let mut sample = Self::empty(60, 2);
        sample.header.promises.faults.push(PlannedFault {
            fault: 0,
            kind: "broker-restart".to_owned(),
            target: "broker-1".to_owned(),
            needs_load: true,
        });
        sample.configuration();
        sample.process(10, "consumer-1", "started");
        sample.load();
        sample.fault(300_000, FaultStage::Injecting).fault(301_000, FaultStage::Injected);
        sample.fault(302_000, FaultStage::Seen).fault(330_000, FaultStage::Healing);
        sample.fault(340_000, FaultStage::Healed);
        sample.bounds(DEAD_LETTERS, 0, 0, 0);
        let store = Fact::StoreRead { raw_zone: ZONE.to_owned(), parts: 6 };
        sample.tell(END_US, "store-reader", store);
        for (t_us, name) in [(0, "load"), (310_000, "heal"), (700_000, "recover")] {
            sample.tell(t_us, "runner", Fact::Phase { name: name.to_owned() });
        }
        for name in ["final-read", "done"] {
            sample.tell(END_US, "runner", Fact::Phase { name: name.to_owned() });
        }
        sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
        sample
    }

    fn configuration(&mut self) {
        let read = |of: &str, pairs: &[(&str, &str)]| Fact::Configuration {
            of: of.to_owned(),
            properties: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let producer =
            [("enable.idempotence", "true"), ("acks", "-1"), ("partitioner", "murmur2_random")];
        self.tell(1, "configuration", read("producer", &producer));
        self.tell(2, "configuration", read("consumer", &[("enable.auto.commit", "false")]));
    }

    /// Operation n is invoked at 10n ms and acknowledged 5 ms later in the partition of its key; each
    /// ten make a part 20 ms after the last of them, and a commit 5 ms after that.
    fn load(&mut self) {
        let mut next = [0u64; 2];
        let mut listed = Vec::new();
        for part in 0..6u32 {
            let mut records = Vec::new();
            for op in u64::from(part) * 10..u64::from(part) * 10 + 10 {
                let partition = crate::checker::murmur2::partition(&key(op).0, 2);
                let offset = next[partition as usize];
                next[partition as usize] += 1;
                self.invoke(op * 10_000, op);
                self.acknowledge(op * 10_000 + 5_000, op, partition, offset);
                self.log(op, partition, offset, op * 10_000 + 3_000);
                records.push((op, partition, offset, op * 10_000 + 3_000));
            }
            let created_us = u64::from(part) * 100_000 + 110_000;
            self.part(part, created_us, &records);
            for partition in 0..2 {
                self.commit(created_us + 5_000, partition, next[partition as usize]);
                listed.extend(list(part, partition, &records));
            }
        }
        for partition in 0..2 {
            self.bounds(TOPIC, partition, 0, next[partition as usize]);
        }
        self.object(99, "raw/day/_metadata.json", 720_000, ObjectRole::Metadata);
        if let Some((_, _, Fact::Object(object))) = self.facts.last_mut() {
            object.lists = listed;
        }
    }

    /// The events, numbered by process.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut next: BTreeMap<&str, u64> = BTreeMap::new();
        let number = |(t_us, process, fact): &'_ (u64, String, Fact), seq| Event {
            t_us: *t_us,
            process: process.clone(),
            seq,
            fact: fact.clone(),
        };
        self.facts
            .iter()
            .map(|entry| {
                let seq = next.entry(&entry.1).or_insert(0);
                *seq += 1;
                number(entry, *seq - 1)
            })
            .collect()
    }

    /// The history as a file.
    ///
    /// # Errors
    /// None that a vector in memory can have.
    pub fn bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut writer = HistoryWriter::new(Vec::new(), &self.header)?;
        for (t_us, process, fact) in &self.facts {
            writer.write(*t_us, process, fact)?;
        }
        writer.finish()
    }

    /// The verdict on it.
    ///
    /// # Errors
    /// As [`crate::checker::judge`].
    pub fn judge(&self) -> Result<crate::verdict::Verdict, HistoryError> {
        crate::checker::judge(&self.header, self.events().into_iter().map(Ok))
    }
}

/// When the final read of a [`Sample`] happens.
pub const END_US: u64 = 1_000_000;

/// Name of a part of a [`Sample`].
#[must_use]
pub fn part_name(object: u32) -> String {
    format!("raw/day/part-{object:04}.json")
}

fn list(part: u32, partition: u32, records: &[(u64, u32, u64, u64)]) -> Option<ListedPart> {
    let offsets: Vec<u64> = records.iter().filter(|r| r.1 == partition).map(|r| r.2).collect();
    Some(ListedPart {
        name: part_name(part),
        topic: TOPIC.to_owned(),
        partition,
        first: *offsets.first()?,
        last: *offsets.last()?,
        records: offsets.len() as u64,
        bytes: 100,
    })
}
