//! Histories made by hand: a small language for tests of checkers and reports, and the honest run
//! that they start from.
//!
//! [`Sample::honest`] is a history in which every guarantee holds and every checker has something to
//! hold on to. A test takes it, changes what it is about, and asks for the verdict.

mod honest;
pub mod legal;

use std::collections::BTreeMap;

use super::HistoryWriter;
use super::event::*;

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

/// The consumers' configuration that their promises rest on.
pub const CONSUMER: [(&str, &str); 4] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "smallest"),
    ("isolation.level", "read_committed"),
];
/// That of those who write dead letters.
pub const LETTER_WRITER: [(&str, &str); 2] = [("acks", "-1"), ("enable.idempotence", "true")];

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
        partition_order: false,
        groups: vec![GroupPromise {
            group: GROUP.to_owned(),
            raw_zone: Some(ZONE.to_owned()),
            dead_letter_topic: Some(DEAD_LETTERS.to_owned()),
            keeps_members: false,
            drains_within_us: Some(8_000_000),
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
            Evidence::Positions,
        ],
        dataset: Some(DATASET.to_owned()),
        headers: PromisedHeader::of_pipeline(DATASET),
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

/// A wall-clock instant in milliseconds.
#[must_use]
pub fn wall_ms(run_us: u64) -> i64 {
    START_MS + i64::try_from(run_us / 1000).unwrap_or(0)
}

/// When an operation passed the ingestion boundary: [`Sample::honest`] and [`legal::history`] invoke
/// operation n a little before that.
#[must_use]
pub fn ingested_ms(op: u64) -> i64 {
    wall_ms(op.saturating_mul(10_000).saturating_add(1_000))
}

/// An operation's headers.
#[must_use]
pub fn header_list(op: u64) -> Vec<HeaderPair> {
    let at = chrono::DateTime::from_timestamp_millis(ingested_ms(op)).unwrap_or_default();
    let at = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let id = format!("id-{op}");
    [
        ("dataset", DATASET),
        ("schema_version", "v1"),
        ("ingestion_id", &id),
        ("producer_service", "ingestion-api"),
        ("ingested_at", &at),
    ]
    .into_iter()
    .map(|(name, value)| HeaderPair::of(name.as_bytes(), Some(value.as_bytes())))
    .collect()
}

/// The fingerprint of an operation's headers.
#[must_use]
pub fn headers(op: u64) -> Print {
    HeaderPair::print_of(&header_list(op)).unwrap_or_default()
}

/// A dead letter that a group wrote for an operation's record at a place of [`TOPIC`], written
/// `wrote_us` into the run; or, without a place, that its producer wrote.
#[must_use]
pub fn dead_letter(op: u64, place: Option<(&str, u32, u64, u64)>, created_us: u64) -> DeadLetter {
    DeadLetter {
        topic: DEAD_LETTERS.to_owned(),
        created_us,
        source: place.map(|(_, partition, offset, _)| (TOPIC.to_owned(), partition, offset)),
        op: Some(op),
        key: Some(key(op)),
        value: value(op),
        headers: headers(op),
        error: Some("no amount".to_owned()),
        group: place.map(|(group, ..)| group.to_owned()),
        ingestion_id: Some(format!("id-{op}")),
        trace: Some("no amount: missing field".to_owned()),
        failed_ms: Some(wall_ms(created_us)),
        source_timestamp_ms: place.map(|(_, _, _, wrote_us)| wall_ms(wrote_us)),
        header_list: Some(header_list(op)),
        ..DeadLetter::default()
    }
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
        let fact = Invoked { op, topic, key, value: value(op), bytes: 8, ..Invoked::default() };
        self.tell(t_us, "producer-1", Fact::Invoked(fact))
    }

    /// An operation ends.
    pub fn complete(&mut self, t_us: u64, op: u64, outcome: Outcome) -> &mut Self {
        let ingestion_id = Some(format!("id-{op}"));
        self.tell(t_us, "producer-1", Fact::Completed(Completed::new(op, ingestion_id, outcome)))
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
            timestamp_ms: Some(wall_ms(wrote_us)),
            ingested_ms: Some(ingested_ms(op)),
            op: Some(op),
            ingestion_id: Some(format!("id-{op}")),
            key: Some(key(op)),
            value: value(op),
            headers: headers(op),
            header_list: Some(header_list(op)),
            ..Logged::default()
        };
        self.tell(END_US, "log-reader", Fact::Logged(fact))
    }

    /// The log of a partition was read to its end.
    pub fn bounds(&mut self, topic: &str, partition: u32, low: u64, high: u64) -> &mut Self {
        let (topic, holes) = (topic.to_owned(), Vec::new());
        let fact = LogBounds {
            topic,
            partition,
            low,
            high,
            complete: true,
            holes,
            ..LogBounds::default()
        };
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
            role,
            crc32: (role == ObjectRole::Part).then(|| CRC32.to_owned()),
            ..Object::default()
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
                ingested_ms: Some(ingested_ms(op)),
                timestamp_ms: Some(wall_ms(wrote_us)),
                op: Some(op),
                ingestion_id: Some(format!("id-{op}")),
                key: Some(key(op)),
                value: value(op),
                headers: headers(op),
                header_list: Some(header_list(op)),
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

    /// A member of the group is given a position: an offset, or where nothing is committed yet.
    pub fn position(
        &mut self,
        at_us: u64,
        member: &str,
        partition: u32,
        offset: Option<u64>,
    ) -> &mut Self {
        self.position_of(GROUP, at_us, member, partition, offset)
    }

    /// The same in another group.
    pub fn position_of(
        &mut self,
        group: &str,
        at_us: u64,
        member: &str,
        partition: u32,
        offset: Option<u64>,
    ) -> &mut Self {
        let fact = Position {
            group: group.to_owned(),
            member: member.to_owned(),
            topic: TOPIC.to_owned(),
            partition,
            offset,
            how: PositionChange::Fetched,
            at_us,
        };
        self.tell(at_us, &format!("wire {group}"), Fact::Position(fact))
    }

    /// An operation's record stands in the dead-letter topic.
    pub fn dead_lettered(
        &mut self,
        op: u64,
        offset: u64,
        created_us: u64,
        (partition, source): (u32, u64),
    ) -> &mut Self {
        let place = Some((GROUP, partition, source, op * 10_000 + 3_000));
        let fact = DeadLetter { offset, ..dead_letter(op, place, created_us) };
        self.tell(END_US, "log-reader", Fact::DeadLetter(fact))
    }

    /// Somebody says that the group's offsets were set on purpose.
    pub fn reset(
        &mut self,
        t_us: u64,
        partition: Option<u32>,
        offset: Option<u64>,
        by: &str,
    ) -> &mut Self {
        let (group, topic, by) = (GROUP.to_owned(), TOPIC.to_owned(), by.to_owned());
        let fact = Reset { group, topic, partition, offset, by };
        self.tell(t_us, "operator", Fact::Reset(fact))
    }

    /// A clock was measured: it stands so far from the recorder's.
    pub fn clock(&mut self, of: &str, low_us: i64, high_us: i64) -> &mut Self {
        let (of, how) = (of.to_owned(), "by a probe".to_owned());
        self.tell(0, "clocks", Fact::Clock(Clock { of, low_us, high_us, how }))
    }

    /// All clocks are the recorder's.
    pub fn one_clock(&mut self) -> &mut Self {
        self.clock("broker", 0, 0).clock("store", 0, 0).clock("processes", 0, 0)
    }

    /// A step of fault 0.
    pub fn fault(&mut self, t_us: u64, step: FaultStage) -> &mut Self {
        let mut evidence = BTreeMap::new();
        if step == FaultStage::Seen {
            evidence.insert("state during".to_owned(), "exited".to_owned());
        }
        let target = restarted(step).map(Box::new);
        let step = FaultStep { fault: 0, step, evidence, target, patient: None };
        self.tell(t_us, "nemesis", Fact::Fault(step))
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
}

/// A broker that is restarted, at the steps at which it is looked at.
fn restarted(step: FaultStage) -> Option<TargetSeen> {
    let runs = |pid, started: &str| TargetSeen {
        pid: Some(pid),
        started: Some(started.to_owned()),
        state: Some(RunState::Running),
        answers: Some(true),
        connections: Some(2),
        ..TargetSeen::default()
    };
    Some(match step {
        FaultStage::Injected => runs(7, "10:00:00"),
        FaultStage::Seen => TargetSeen {
            state: Some(RunState::Ended),
            ended_by: Some(ProcessEnd::Signal(15)),
            answers: Some(false),
            ..TargetSeen::default()
        },
        FaultStage::Healed => runs(8, "10:00:02"),
        _ => return None,
    })
}

/// When the final read of a [`Sample`] happens.
pub const END_US: u64 = 1_000_000;

/// Name of the metadata beside the parts of a [`Sample`].
pub const METADATA: &str = "raw/raw/dataset=orders/ingestion_date=2026-11-06/_metadata.json";
/// Checksum of the parts of a [`Sample`].
pub const CRC32: &str = "0badcafe";
/// Dataset of a [`Sample`].
pub const DATASET: &str = "orders";

/// Name of a part of a [`Sample`].
#[must_use]
pub fn part_name(object: u32) -> String {
    part_in(ZONE, object)
}

/// Name of a part in a raw zone. Objects are numbered from 0, parts from 1.
#[must_use]
pub fn part_in(zone: &str, object: u32) -> String {
    format!("{}/part-{:04}.json", folder_in(zone), object.saturating_add(1))
}

/// The folder in a raw zone; [`START_MS`] lies on its day.
#[must_use]
pub fn folder_in(zone: &str) -> String {
    let prefix = zone.trim_start_matches("gs://lake/");
    format!("{prefix}/raw/dataset={DATASET}/ingestion_date=2026-11-06")
}

/// What the metadata of a [`Sample`] says of itself.
#[must_use]
pub fn metadata_head() -> MetadataHead {
    MetadataHead {
        format: Some("streamlake.raw-zone.metadata".to_owned()),
        version: Some(1),
        dataset: Some(DATASET.to_owned()),
        ingestion_date: Some("2026-11-06".to_owned()),
        updated_at: Some("2026-11-06T21:20:01Z".to_owned()),
    }
}
