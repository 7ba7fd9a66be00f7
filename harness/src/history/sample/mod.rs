//! Histories made by hand: a small language for tests of checkers and reports, and the honest run
//! that they start from.
//!
//! [`Sample::honest`] is a history in which every guarantee holds and every checker has something to
//! hold on to. A test takes it, changes what it is about, and asks for the verdict.

mod honest;
pub mod legal;

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
            keeps_members: false,
            ..GroupPromise::default()
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
        ..Promises::default()
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
                ingested_ms: None,
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
        let change = match state {
            "started" => ProcessChange::Started,
            "exited" => ProcessChange::Exited,
            "stopped" => ProcessChange::Stopped,
            _ => ProcessChange::Continued,
        };
        let fact = ProcessState {
            name: name.to_owned(),
            pid: 1,
            state: change,
            status: None,
            role: None,
            group: None,
            asked: None,
            end: None,
        };
        self.tell(t_us, "supervisor", Fact::Process(fact))
    }

    /// A process of the system under test ended, asked or not.
    pub fn ended(
        &mut self,
        t_us: u64,
        name: &str,
        asked: Option<Ask>,
        end: ProcessEnd,
    ) -> &mut Self {
        self.process(t_us, name, "exited");
        if let Some((_, _, Fact::Process(fact))) = self.facts.last_mut() {
            (fact.asked, fact.end) = (asked, Some(end));
        }
        self
    }

    /// A part answered a probe.
    pub fn probe(&mut self, t_us: u64, target: &str) -> &mut Self {
        let fact = Probe { target: target.to_owned(), answered: true, detail: String::new() };
        self.tell(t_us, &format!("probe-{target}"), Fact::Probe(fact))
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

/// Name of the metadata beside the parts of a [`Sample`].
pub const METADATA: &str = "raw/ingestion_date=2026-11-06/_metadata.json";

/// Name of a part of a [`Sample`].
#[must_use]
pub fn part_name(object: u32) -> String {
    // START_MS lies on that day.
    format!("raw/ingestion_date=2026-11-06/part-{object:04}.json")
}
