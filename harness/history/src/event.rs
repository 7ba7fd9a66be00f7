//! What a history holds: one header, facts in the order in which each process learned them, one
//! trailer.
//!
//! A history is evidence, not opinion: nothing in it says that something went well. It carries the
//! promises that it is to be judged by, so that it can be judged again offline, years later, by a
//! harness that has never seen the scenario file.
//!
//! Clocks: every `*_us` is microseconds since the run's start. Instants that a broker or a store
//! stamped with its wall clock are converted with the header's `started_at`; all parts of a testbed
//! run on one machine and share its clock, whose resolution in Kafka and in the store is 1 ms.

mod fault;
mod row;
mod source;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use fault::{AlteredAnswer, Demand, FaultLoad, PatientMet, RunState, TargetSeen};
pub use row::{Column, LongColumn, RowImage, Unavailable};
pub use source::{
    CaptureStart, ChangeEvent, ConnectorState, Lsn, OffsetFlush, RowOperation, SlotState,
    SourceChange, SourcePromise, SourceRead, SourceTransaction, TaskState, TransactionOutcome,
};

/// Name of the format, in the header of every history.
pub const FORMAT: &str = "streamlake-history";
/// Version of the format that this harness writes.
pub const VERSION: u32 = 2;
/// The oldest version that it still reads. What version 1 could not say yet has a default.
pub const OLDEST_VERSION: u32 = 1;

/// Phase of a run that a process ended which had not been told to: what follows only reads what there is,
/// and nothing had the time to recover.
pub const CUT_SHORT: &str = "cut-short";

/// The first line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Always [`FORMAT`].
    pub format: String,
    /// [`VERSION`] where this harness wrote it, [`OLDEST_VERSION`] at least.
    pub version: u32,
    /// What ran, where, from which seed.
    pub run: RunInfo,
    /// What the system under test promised: the only thing that the checkers judge by.
    pub promises: Promises,
}

/// Where a history comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunInfo {
    /// The scenario's name: its file's name without `.toml`.
    pub scenario: String,
    /// `embedded`, `docker`, or `foreign` for a history that others wrote.
    pub testbed: String,
    /// Seed of the plan.
    pub seed: u64,
    /// Wall clock at microsecond zero of the run, RFC 3339 in UTC.
    pub started_at: String,
    /// Version of the harness that recorded it.
    pub harness_version: String,
    /// Commit of the harness, with `-dirty` where the tree had changes; empty if unknown.
    pub commit: String,
    /// The system under test, one entry a part: name → version, image and digest.
    pub components: BTreeMap<String, String>,
    /// Which claims this testbed cannot support, in sentences for the report.
    pub limits: Vec<String>,
    /// How the scenario describes itself, for the report.
    pub about: About,
}

/// The scenario in its own words; data for the report, never judged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct About {
    /// Short heading, "Broker restart".
    pub title: String,
    /// Identifier in the requirements, "SC-003".
    pub id: Option<String>,
    /// What must hold, in one sentence.
    pub criterion: String,
    /// What happens, in one or two sentences.
    pub story: String,
    /// What is expected while it happens.
    pub expected: String,
    /// Lines for the report's configuration list: label → value.
    pub configuration: BTreeMap<String, String>,
}

/// What the system under test promised for this run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promises {
    /// Operations that the workload was to invoke; fewer means a history that was cut short.
    pub operations: u64,
    /// Topics under test with the number of their partitions.
    pub topics: BTreeMap<String, u32>,
    /// The partitioner that the producer claims, or none where keys promise nothing.
    pub partitioner: Option<String>,
    /// The producer claims idempotence: no duplicate in the log within one producer's session.
    pub idempotent: bool,
    /// Records of one key appear in the log in the order in which they were invoked.
    pub key_order: bool,
    /// So do all records of one producer within a partition, whatever their keys.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partition_order: bool,
    /// Consumer groups under test.
    pub groups: Vec<GroupPromise>,
    /// Fault windows that were planned; each must be seen to have bitten and healed.
    pub faults: Vec<PlannedFault>,
    /// Properties that the clients of a process run with, by process: what the pipeline documents, with
    /// what the scenario sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
    /// The producer is somebody's own: how it is configured is its affair.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_producer: bool,
    /// The groups were set back to this offset of every partition by the pipeline's own replay, when
    /// they had read everything once; none where no replay was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_from: Option<u64>,
    /// Consumers and producers make progress again within this time after each heal.
    pub recovery_within_us: u64,
    /// No partition with records that are not committed yet goes without a commit for longer than
    /// this, unless a fault window is near; version 1 did not say, and `recovery_within_us` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standstill_within_us: Option<u64>,
    /// What becomes of the operations; version 1 did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<OutcomePromise>,
    /// What the testbed can vouch for. Where a check needs more, it comes to no verdict.
    pub evidence: Vec<Evidence>,
    /// The source database whose changes are captured, where that is under test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourcePromise>,
    /// The dataset of the topic under test: the one in its records' headers, and the one whose folders
    /// hold its parts. None where there is none, or nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Headers that the producer under test puts on each record. They are not demanded of operations
    /// that name their own ([`Invoked::header_list`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<PromisedHeader>,
}

impl Promises {
    /// The headers of each record are written down, and not only their fingerprint.
    #[must_use]
    pub fn lists_headers(&self) -> bool {
        self.operations <= 100_000
    }
}

/// A header that the producer under test puts on each record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromisedHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub is: PromisedValue,
}

impl PromisedHeader {
    /// What the pipeline's producer documents that it puts on each record.
    #[must_use]
    pub fn of_pipeline(dataset: &str) -> Vec<Self> {
        let fixed = |text: &str| PromisedValue::Fixed(text.to_owned());
        [
            ("dataset", fixed(dataset)),
            ("schema_version", fixed("v1")),
            ("ingestion_id", PromisedValue::IngestionId),
            ("producer_service", fixed("ingestion-api")),
            ("ingested_at", PromisedValue::IngestedAt),
        ]
        .into_iter()
        .map(|(name, is)| Self { name: name.to_owned(), is })
        .collect()
    }
}

/// What a promised header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PromisedValue {
    /// Always this.
    Fixed(String),
    /// What the receipt says in [`Completed::ingestion_id`].
    IngestionId,
    /// An instant between invocation and completion, RFC 3339.
    IngestedAt,
}

/// What becomes of the operations that are handed to a producer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomePromise {
    /// The producer looks into what it is given: poison is rejected and never acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub validates: bool,
    /// Operations that may fail, or whose outcome may stay unknown, although no fault that
    /// producers meet is near.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unacknowledged_outside_faults: u64,
    /// Where nothing is broken, most operations are answered within this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_answered_within_us: Option<u64>,
    /// A record that was not acknowledged within this time is given up, and not sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives_up_after_us: Option<u64>,
    /// Receipts tell the key of an acknowledged record, and where the dead letter of a rejected one
    /// stands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tells_key_and_letter: bool,
}

/// What one consumer group promised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupPromise {
    /// Kafka group id.
    pub group: String,
    /// Where its records end up, as the store facts name it (`gs://bucket/prefix`), or none for a
    /// group that only reads.
    pub raw_zone: Option<String>,
    /// The dead-letter topic, if there is one.
    pub dead_letter_topic: Option<String>,
    /// From the first fault until its consumers are asked to stop, the group does not rebalance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_members: bool,
    /// The topics that the group reads; none named means all promised topics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Where the group begins in a partition in which it has committed nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub starts: GroupStart,
    /// A member may go back to an offset that is not committed at any time, without a rebalance:
    /// what it reads again then is counted and is no anomaly.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_seek_back: bool,
    /// The processes that are to be its members; none named where nobody said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Its members read uncommitted records: those of aborted transactions may come to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_uncommitted: bool,
    /// It may stop before it has read everything: what it left is in doubt and no anomaly.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_stop_early: bool,
    /// Its raw zone has no layout: no folders of days and no `_metadata.json`, and an object may be
    /// replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free_layout: bool,
    /// A member that is asked to stop and ends with exit code 0 sooner than this has committed what it
    /// delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drains_within_us: Option<u64>,
    /// What closes a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchPromise>,
    /// In a time without commits that lasts this long, although there is something to commit, its members call
    /// themselves ill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ill_within_us: Option<u64>,
    /// What its processes report about themselves in numbers, and its audit, is right.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reports_itself: bool,
    /// Its consumer is not the built-in pipeline: what that documents of its headers, ids, dead letters
    /// and settings is not promised, but this is. None for the pipeline, and in foreign histories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<ConsumerPromise>,
}

/// What closes a part, whichever comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchPromise {
    /// So many records.
    pub records: u64,
    /// So many bytes of lines, before they are compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The age of its first record.
    pub age_us: u64,
}

/// What a consumer promises that is somebody's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerPromise {
    /// The number of the signal that asks its processes to stop. They may end by it.
    pub stop_signal: i32,
    /// A process may end by itself this often and is started again; once more is a crash loop.
    #[serde(skip_serializing_if = "is_default")]
    pub restarts_at_most: u32,
    /// What was delivered is never replaced, shrunk or removed, although there is no layout.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keeps_objects: bool,
    /// Keys are delivered, and are those of the log.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keeps_keys: bool,
    /// What is promised of delivered values.
    #[serde(skip_serializing_if = "is_default")]
    pub values: ValuePromise,
    /// The same of the values of dead letters.
    #[serde(skip_serializing_if = "is_default")]
    pub letter_values: ValuePromise,
}

/// What is promised of values that a consumer hands on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValuePromise {
    /// They are those of the log, byte for byte.
    Bytes,
    /// They are the same JSON. The reader of what was delivered compared them, and wrote down the
    /// fingerprint of the logged value where they are.
    Json,
    /// Nothing: they are not delivered, or changed on purpose.
    #[default]
    Untold,
}

/// Where a group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupStart {
    /// At the low watermark: every record is owed.
    #[default]
    Earliest,
    /// At the log's end when the group began: nothing below its first offset is owed.
    Latest,
    /// It goes on from where an earlier run stopped, or nobody said: below the first offset that was
    /// seen of it nothing can be claimed, neither way.
    Unknown,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One fault window of the plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// Number in the plan, from 0; [`FaultStep::fault`] refers to it.
    pub fault: u32,
    /// The fault's kind, `broker-restart`.
    pub kind: String,
    /// What it is aimed at, `broker-1`.
    pub target: String,
    /// Something must have been under way in the window; [`PlannedFault::load`] says what.
    pub needs_load: bool,
    /// What must have been under way while the fault's effect lasted. None in version 1: what faults of
    /// this kind ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<FaultLoad>,
    /// What its evidence must show. None in version 1: what faults of this kind must show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shows: Vec<Demand>,
    /// Brokers, and the way to them, are left alone. None where nobody said: see
    /// [`PlannedFault::spares_brokers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spares_brokers: Option<bool>,
}

impl PlannedFault {
    /// Brokers, and the way to them, are left alone. Histories did not always say so of their faults.
    #[must_use]
    pub fn spares_brokers(&self) -> bool {
        const SPARING: [&str; 4] = ["store-", "consumer-", "crash-point", "tampering"];
        let by_kind = || SPARING.iter().any(|kind| self.kind.starts_with(kind));
        self.spares_brokers.unwrap_or_else(by_kind)
    }
}

/// A source of evidence that a testbed has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Producers' receipts.
    Receipts,
    /// The topic read back from low to high watermark.
    Log,
    /// Committed offsets, sampled: each is a lower bound that held by then.
    CommitsSampled,
    /// Every commit, from the broker's own record of them.
    CommitsComplete,
    /// The objects of the raw zone with generation and creation time.
    Objects,
    /// The dead-letter topic.
    DeadLetters,
    /// The broker deduplicates idempotent producers.
    Idempotence,
    /// Rows of the source database and its write-ahead log positions.
    Source,
    /// The clients' requests for a position ([`Fact::Position`]) as they passed on their way to the
    /// brokers: each new position of each member is there.
    Positions,
    /// The start and end of every process of the system under test.
    Processes,
    /// Members tell the values that they read ([`Read::value`]).
    ReadValues,
    /// Which records belong to transactions, and how each ended: an offset without a record excuses no
    /// other.
    Transactions,
}

/// One line between header and trailer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When the recorder learned the fact.
    pub t_us: u64,
    /// Who reports: `producer-1`, `consumer-1`, `nemesis`, `log-reader`, `commit-watch`, …
    pub process: String,
    /// Rises by one from 0 within a process. Lines of different processes may interleave freely.
    pub seq: u64,
    /// What was learned.
    pub fact: Fact,
}

/// What can be learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fact {
    /// The run entered a phase: `load`, `heal`, `recover`, `final-read`, `done`.
    Phase {
        /// Name of the phase.
        name: String,
    },
    /// An operation was handed to a producer.
    Invoked(Invoked),
    /// An operation's outcome came back.
    Completed(Completed),
    /// A record stood in the log at the final read.
    Logged(Logged),
    /// The watermarks of a partition at the final read, after its records were read.
    LogBounds(LogBounds),
    /// The group's committed offset.
    Committed(Committed),
    /// A group completed a rebalance, by the broker's own record of it.
    Generation(Generation),
    /// A record was delivered to a group member (foreign histories; not the raw zone).
    Read(Read),
    /// A partition was given to, or taken from, a group member.
    Assignment(Assignment),
    /// A member of a group asked where to begin in a partition, or was told to begin elsewhere.
    Position(Position),
    /// What a group member and its coordinator were seen to agree on.
    Membership(Membership),
    /// A commit that was refused, or of which nobody saw what came.
    CommitAttempt(CommitAttempt),
    /// Offsets of a group were set from outside on purpose.
    Reset(Reset),
    /// How a part's clock stands to the recorder's, as it was measured.
    Clock(Clock),
    /// An object stood in the store, or an earlier generation of it was seen there.
    Object(Object),
    /// A record stood in the object that this process reported last under this `object` number.
    Stored(Stored),
    /// The raw zone of a group was listed and read to its end.
    StoreRead {
        /// As in [`GroupPromise::raw_zone`].
        raw_zone: String,
        /// Parts read.
        parts: u32,
    },
    /// A record stood in a dead-letter topic at the final read.
    DeadLetter(DeadLetter),
    /// A step of a fault window.
    Fault(FaultStep),
    /// A part was probed from outside. Only changes are recorded, and the first and last probe.
    Probe(Probe),
    /// A process of the system under test started, exited or changed its state.
    Process(ProcessState),
    /// Configuration read back from a running part: its name → value.
    Configuration {
        /// Which part: `producer`, `consumer`, `broker-1`, `topic streamlake.orders.raw`.
        of: String,
        /// Property → value as the part itself reports it.
        properties: BTreeMap<String, String>,
        /// The process that the client belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<String>,
    },
    /// A transaction of the workload on the source database ended.
    SourceTransaction(SourceTransaction),
    /// A row change stood in the source database's log at the final read.
    SourceChange(SourceChange),
    /// The source database's log was read to its end.
    SourceRead(SourceRead),
    /// A record stood in a topic of change events at the final read.
    ChangeEvent(ChangeEvent),
    /// An offset of the connector stood in the worker's topic of offsets at the final read.
    OffsetFlush(OffsetFlush),
    /// The database began to send its log to a slot's reader.
    CaptureStart(CaptureStart),
    /// The connector's replication slot as the database shows it.
    Slot(SlotState),
    /// The connector as its worker shows it.
    Connector(ConnectorState),
    /// A part under test said something that cannot be understood.
    Unreadable(Unreadable),
    /// What a process of the system under test wrote last, where it ended without being told to.
    LastLines(LastLines),
    /// Numbers that the system under test gave about itself.
    SelfReport(SelfReport),
    /// Totals that the system under test gave about itself.
    Totals(TotalsReport),
    /// A transaction of a producer, with what it wrote.
    Transaction(Transaction),
    /// Something that keeps checks from passing, whatever else is known.
    Doubt(Doubt),
    /// Something the harness wants to be remembered: a warning, an error of the harness itself.
    Note {
        /// `warning` or `error`; an error makes the run inconclusive.
        level: String,
        /// One sentence.
        text: String,
    },
}

/// An operation: the invocation of one produce.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoked {
    /// Number of the operation within the run, from 0, unique.
    pub op: u64,
    /// The topic that it is meant for.
    pub topic: String,
    /// The record's key.
    pub key: Option<Blob>,
    /// Fingerprint of the value; `null`, [`Print::NULL`], for a record without one.
    #[serde(with = "super::bytes::nullable")]
    pub value: Print,
    /// Length of the value in bytes.
    pub bytes: u64,
    /// The workload made it invalid on purpose: it must become a dead letter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub poison: bool,
    /// The producer was told the key beside the payload.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key_beside: bool,
    /// All headers that the record is to bear, in order, where the workload says so; none where they
    /// are the producer's own affair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_list: Option<Vec<HeaderPair>>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completed {
    /// As in [`Invoked::op`].
    pub op: u64,
    /// The producer's name for the record.
    pub ingestion_id: Option<String>,
    /// The outcome as the producer reported it.
    pub outcome: Outcome,
    /// The key that the producer says the record has, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Blob>,
    /// Where the producer says that the dead letter of a rejected event stands: topic, partition,
    /// offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<(String, u32, u64)>,
}

impl Completed {
    /// An end of which nothing else was told.
    #[must_use]
    pub fn new(op: u64, ingestion_id: Option<String>, outcome: Outcome) -> Self {
        Self { op, ingestion_id, outcome, key: None, dead_letter: None }
    }
}

/// What a producer told its caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The broker acknowledged the record at this place.
    Acknowledged {
        /// Topic of the receipt.
        topic: String,
        /// Partition of the receipt.
        partition: u32,
        /// Offset of the receipt.
        offset: u64,
    },
    /// The record was invalid and is in the dead-letter topic.
    Rejected {
        /// Why.
        reason: String,
    },
    /// Certainly not written.
    Failed {
        /// Why.
        error: String,
    },
    /// Written or not: nobody can say.
    Unknown {
        /// Why.
        error: String,
    },
}

/// Stands for a timestamp that nobody told, of a record that may well bear one: it is compared with
/// nothing.
pub const UNTOLD_MS: i64 = i64::MIN + 1;

/// A record in the log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logged {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// Kafka timestamp, milliseconds since the epoch; none if the record bears none.
    #[serde(default)]
    pub timestamp_ms: Option<i64>,
    /// Header `ingested_at`, milliseconds since the epoch; none if it is absent or no RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingested_ms: Option<i64>,
    /// The operation that it names in itself, if it does.
    pub op: Option<u64>,
    /// Header `ingestion_id`.
    pub ingestion_id: Option<String>,
    /// The record's key.
    pub key: Option<Blob>,
    /// Fingerprint of the value; `null` for a record without one.
    #[serde(with = "super::bytes::nullable")]
    pub value: Print,
    /// Fingerprint of all headers in order.
    pub headers: Print,
    /// The headers themselves, in order; left out of large runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_list: Option<Vec<HeaderPair>>,
    /// Mandatory headers that are absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_headers: Vec<String>,
    /// Promised headers with another fixed value than promised, where `header_list` is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong_headers: Vec<HeaderPair>,
}

/// The ends of a partition at the final read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogBounds {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Low watermark.
    pub low: u64,
    /// High watermark: the next offset to be written.
    pub high: u64,
    /// The reader came to the high watermark.
    pub complete: bool,
    /// Offsets below `high` that hold no record (control records, compaction), as inclusive ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<(u64, u64)>,
    /// Offsets that hold records of aborted transactions, as inclusive ranges: the log has them, and
    /// nobody who reads committed ones is to get them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aborted: Vec<(u64, u64)>,
}

/// A committed offset.
///
/// A sample (`exact` is false) shows that the broker held it at `at_us`. An exact one is either the
/// broker's own record of the commit with its time, or was seen to pass: then `at_us` is when the
/// request passed, and the coordinator's answer was seen to say that it holds it. Either way the
/// client cannot have asked later than that, which is what the commit frontier needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Committed {
    /// Group id.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Next offset to read.
    pub offset: u64,
    /// The commit had been asked for by this instant; a sample: it had happened.
    pub at_us: u64,
    /// It is a commit that was seen or written down itself, not a sample of the state.
    pub exact: bool,
}

/// A group as the broker wrote it down at the end of a rebalance, or as it told the leader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Group id.
    pub group: String,
    /// Number of the generation.
    pub generation: u32,
    /// Its members, by their static instance id where they have one, else by the id that the broker
    /// gave them; none for a group that became empty.
    pub members: Vec<String>,
    /// When the broker wrote it down, or its word to the leader passed.
    pub at_us: u64,
}

/// A record as a group member received it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Group id.
    pub group: String,
    /// Member, as it names itself.
    pub member: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// Fingerprint of the value, if the reader tells; `null` for a record without a value.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "super::bytes::nullable_if_told"
    )]
    pub value: Option<Print>,
}

/// A change of who owns a partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Group id.
    pub group: String,
    /// Member, as it names itself.
    pub member: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// `assigned`, `revoked` or `lost`.
    pub change: AssignmentChange,
}

/// What happened to a partition's ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentChange {
    /// The member owns the partition from now on.
    Assigned,
    /// The member gave the partition up in an orderly way.
    Revoked,
    /// The member found that it no longer owned the partition.
    Lost,
}

/// A member's new position in a partition: what a consumer delivers again, it delivers from one of
/// these on. Each begins an epoch of reading in which every offset can come once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Group id.
    pub group: String,
    /// Member: the client id of the request, which is the process's name in runs of this harness.
    pub member: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// The offset that it was given; none where it was told that the group had committed nothing. A request
    /// whose answer nobody saw is no position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How it came to the position.
    pub how: PositionChange,
    /// When: microseconds since the run's start, by the recorder's clock.
    pub at_us: u64,
}

/// What gives a member a new position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionChange {
    /// It asked the coordinator for the committed offset (after an assignment).
    Fetched,
    /// It went to another offset by itself.
    Sought,
}

/// A step of a member's life in its group, seen as it passed between the member and the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Group id.
    pub group: String,
    /// Member: the client id of the request, as in [`Position::member`].
    pub member: String,
    /// The coordinator's name for the member; empty where it had none yet. Two members of one process
    /// share a client id and differ in this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What happened.
    pub change: MembershipChange,
    /// Generation of the group; with the newer protocol (KIP-848) the member's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// For `owns`: all partitions that the member has from now on, by topic.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<String, Vec<u32>>,
    /// For `refused`: which request, and by which error of Kafka's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// When the answer passed on its way to the member, by the recorder's clock.
    pub at_us: u64,
}

impl Membership {
    /// The partition is among those that the member has from now on.
    #[must_use]
    pub fn holds(&self, topic: &str, partition: u32) -> bool {
        self.partitions.get(topic).is_some_and(|all| all.contains(&partition))
    }
}

/// The steps of a member's life in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembershipChange {
    /// It belongs to a new generation.
    Joined,
    /// It was told which partitions it has from now on.
    Owns,
    /// It left in order.
    Left,
    /// The coordinator refused what it asked: it has been put out, or must join anew.
    Refused,
}

/// A commit as it passed on its way to the coordinator. One that is not known to have been taken is not
/// named by [`Committed`], unless it was found later to be held. One that was taken is there as well, by
/// the broker's own record: this is the instant at which it was asked for, by the recorder's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitAttempt {
    /// Group id.
    pub group: String,
    /// Who asked: the client id of the request, as in [`Position::member`].
    pub member: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Next offset to read.
    pub offset: u64,
    /// Kafka's error by which it was refused; none where no answer was seen, or it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The coordinator was seen to say that it holds it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken: bool,
    /// When the request passed on its way to the coordinator, by the recorder's clock.
    pub at_us: u64,
}

/// Offsets of a group that somebody set from outside: an operator, or a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// Group id.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Partition; none for all of the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Next offset to read; none if nobody noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Who did it, for messages.
    pub by: String,
}

/// A measurement of a clock: an instant that the part stamped as `t` lies between `t + low_us` and
/// `t + high_us` on the recorder's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Whose clock: `broker`, `store`, `database`, `processes`, or a process of a foreign history.
    pub of: String,
    /// Lowest correction, microseconds.
    pub low_us: i64,
    /// Highest correction, microseconds.
    pub high_us: i64,
    /// How it was measured.
    pub how: String,
}

/// An object in the store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Number given by the reporting process, from 0; [`Stored::object`] refers to it.
    pub object: u32,
    /// As in [`GroupPromise::raw_zone`].
    pub raw_zone: String,
    /// Full name within the bucket.
    pub name: String,
    /// Generation that the store reports.
    pub generation: String,
    /// When the store says that this generation was created; or, with `earliest_us`, when it was there at
    /// the latest.
    pub created_us: u64,
    /// It was not there yet at this instant, and nobody can say when it came between this and `created_us`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest_us: Option<u64>,
    /// Size in bytes.
    pub bytes: u64,
    /// Fingerprint of the content, where it was read.
    pub content: Option<Print>,
    /// What it is.
    pub role: ObjectRole,
    /// It was seen while the run went on, not at the final read; its records are not listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub during_run: bool,
    /// Why its content could not be understood, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// For metadata: what it says of each part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<ListedPart>,
    /// For metadata that was read during the run: full names of parts that it listed and that were not there
    /// when the store was listed after that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// For metadata: what it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<MetadataHead>,
    /// CRC-32 (ISO-HDLC) of the object's bytes, eight hexadecimal digits, as the reader computed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<String>,
    /// What the store keeps beside the object by the writer's wish: `content-type`, `x-goog-meta-…`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Of a part: the bytes of its lines, not compressed, without the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_last_line: Option<u64>,
    /// It was written whatever stood there, without a condition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unconditional: bool,
}

/// What a metadata document says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataHead {
    /// `format`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// `dataset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// `ingestion_date`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingestion_date: Option<String>,
    /// `updated_at`, as it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// What an object in the raw zone is by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectRole {
    /// `part-NNNN.json`, or so with `.gz` or `.zst` behind it.
    #[default]
    Part,
    /// `_metadata.json`.
    Metadata,
    /// Anything else.
    Other,
}

/// One offset range of one part as `_metadata.json` lists it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedPart {
    /// Full name of the part within the bucket.
    pub name: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// First offset.
    pub first: u64,
    /// Last offset.
    pub last: u64,
    /// Records in the range.
    pub records: u64,
    /// Bytes of the part.
    pub bytes: u64,
    /// CRC-32 of the part, as listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<String>,
}

/// A record in a part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// The part, as in [`Object::object`] of the same process.
    pub object: u32,
    /// Line within the part, from 1.
    pub line: u32,
    /// Topic that the record says it comes from.
    pub topic: String,
    /// Partition that the record says it comes from.
    pub partition: u32,
    /// Offset that the record says it comes from.
    pub offset: u64,
    /// Kafka timestamp, milliseconds since the epoch; none if the record bears none.
    #[serde(default)]
    pub timestamp_ms: Option<i64>,
    /// When the record says that it was ingested (header `ingested_at`), milliseconds since the
    /// epoch; it decides the folder that the record belongs into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingested_ms: Option<i64>,
    /// The operation that it names in itself, if it does.
    pub op: Option<u64>,
    /// The line's own field `ingestion_id`, which stands beside the record's header.
    pub ingestion_id: Option<String>,
    /// The record's key.
    pub key: Option<Blob>,
    /// Fingerprint of the value; `null` for a record without one.
    #[serde(with = "super::bytes::nullable")]
    pub value: Print,
    /// Fingerprint of all headers in order.
    pub headers: Print,
    /// The headers themselves, in order; left out of large runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_list: Option<Vec<HeaderPair>>,
}

/// A record in a dead-letter topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// The dead-letter topic.
    pub topic: String,
    /// Partition of the dead letter.
    pub partition: u32,
    /// Offset of the dead letter.
    pub offset: u64,
    /// When the broker or producer stamped it.
    pub created_us: u64,
    /// Where the record stood, if the dead letter says so: topic, partition, offset. A record that
    /// a producer refused has no such place.
    pub source: Option<(String, u32, u64)>,
    /// The operation that it names in itself, if it does.
    pub op: Option<u64>,
    /// The record's key.
    pub key: Option<Blob>,
    /// Fingerprint of the value; `null` for a record without one.
    #[serde(with = "super::bytes::nullable")]
    pub value: Print,
    /// Fingerprint of the original headers in order, without those that dead-lettering added.
    pub headers: Print,
    /// Mandatory dead-letter headers that are absent, or whose value cannot be understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_headers: Vec<String>,
    /// Its error reason.
    pub error: Option<String>,
    /// The consumer group that wrote it; none for the letter of a producer, or where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Header `ingestion_id` among the original ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingestion_id: Option<String>,
    /// Its error's causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// When its writer says that the record was refused, milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_ms: Option<i64>,
    /// The Kafka timestamp of the record in its source topic, as the letter says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_timestamp_ms: Option<i64>,
    /// The original headers themselves, in order; left out of large runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_list: Option<Vec<HeaderPair>>,
}

/// A step of a fault window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultStep {
    /// As in [`PlannedFault::fault`].
    pub fault: u32,
    /// How far the window is.
    pub step: FaultStage,
    /// What was seen from outside: name → value. A `seen` step without any is worth nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, String>,
    /// What was seen of the target at this step, to be compared: before the fault at `injected`, while
    /// it lasts at `seen`, after it at `healed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<TargetSeen>>,
    /// What of the system under test the fault had met by this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Box<PatientMet>>,
}

/// The stages of a fault window, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultStage {
    /// The act begins.
    Injecting,
    /// The act returned.
    Injected,
    /// Its effect was seen from outside.
    Seen,
    /// The act is being undone.
    Healing,
    /// The part was seen to be back.
    Healed,
    /// The act failed or hit nothing.
    Missed,
}

/// A probe from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// `broker-1`, `store`, …, or a process and what it was asked for, `consumer-1 healthz`.
    pub target: String,
    /// The part answered a request of its own protocol.
    pub answered: bool,
    /// What came back.
    pub detail: String,
}

impl Probe {
    /// The process and the path, where a process of the system under test was asked how it is: then the
    /// target is `consumer-1 healthz` and the detail the status.
    #[must_use]
    pub fn of_health(&self) -> Option<(&str, &str)> {
        self.target.split_once(' ').filter(|(_, path)| ["healthz", "readyz"].contains(path))
    }
}

/// What a process of the system under test said of a partition, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfReport {
    /// The process.
    pub process: String,
    /// Where it said so.
    pub source: ReportSource,
    /// The group that it spoke of.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// What was counted, or the offset that was named → the number.
    pub numbers: BTreeMap<String, i64>,
}

/// What a process of the system under test said of all that it did, or found, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotalsReport {
    /// The process.
    pub process: String,
    /// Where it said so.
    pub source: ReportSource,
    /// The group that it spoke of.
    pub group: String,
    /// What was counted → the number.
    pub numbers: BTreeMap<String, i64>,
}

/// Where a process speaks of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportSource {
    /// A command that compares what was delivered with the log, run when all is over.
    Audit,
    /// Its metrics, read while it ran. What they show may be some seconds old.
    Metrics,
}

/// The state of a process of the system under test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessState {
    /// `consumer-1`, `producer-1`.
    pub name: String,
    /// Operating system's id.
    pub pid: u32,
    /// What happened to it.
    pub state: ProcessChange,
    /// Exit code or signal in the operating system's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What it is there for; version 1 only had its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ProcessRole>,
    /// The consumer group that it is a member of, or that it replays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// At its end: what the harness had asked of it; none if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Ask>,
    /// At its end: how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ProcessEnd>,
}

/// The end of a process's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastLines {
    /// As in [`ProcessState::name`].
    pub process: String,
    /// As in [`ProcessState::pid`].
    pub pid: u32,
    /// Oldest first; long ones are cut off.
    pub lines: Vec<String>,
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessChange {
    /// It was started.
    Started,
    /// It ended.
    Exited,
    /// It was frozen (SIGSTOP).
    Stopped,
    /// It was thawed (SIGCONT).
    Continued,
}

impl ProcessChange {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Exited => "exited",
            Self::Stopped => "stopped",
            Self::Continued => "continued",
        }
    }
}

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessRole {
    /// It takes payloads and prints receipts.
    Producer,
    /// A member of a consumer group.
    Consumer,
    /// It sets a group's offsets.
    Replay,
    /// It compares what a group delivered with the log, and says with its exit code what it found.
    Audit,
}

/// What was asked of a process before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// To stop in an orderly way (SIGTERM, or the end of its input).
    Stop,
    /// Nothing: it was killed (SIGKILL).
    Kill,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProcessEnd {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl ProcessState {
    /// What the process is there for: as it was recorded, or, in a history of version 1, as its name
    /// says.
    #[must_use]
    pub fn role(&self) -> Option<ProcessRole> {
        self.role.or_else(|| {
            let roles = [
                ("consumer", ProcessRole::Consumer),
                ("producer", ProcessRole::Producer),
                ("replay", ProcessRole::Replay),
            ];
            roles.iter().find(|(prefix, _)| self.name.starts_with(prefix)).map(|(_, role)| *role)
        })
    }

    /// It is a member of this group. A history of version 1 does not say which group a consumer is a
    /// member of: then it may be any.
    #[must_use]
    pub fn consumes_for(&self, group: &str) -> bool {
        self.role() == Some(ProcessRole::Consumer)
            && self.group.as_deref().is_none_or(|own| own == group)
    }
}

/// What a part under test said, where it cannot be understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unreadable {
    /// The process that said it.
    pub of: String,
    /// What it was to be: `receipt`.
    pub what: String,
    /// Its first characters.
    pub text: String,
    /// Why it cannot be understood.
    pub why: String,
}

/// A transaction of a producer. Of one that was aborted nobody who reads committed records gets any; of
/// any other everybody gets all or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// Its name.
    pub id: String,
    /// How it ended.
    pub outcome: TransactionState,
    /// Operations within it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<u64>,
    /// Where its records stand, or were acknowledged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<RecordSpan>,
    /// Its records that were read before it can have been committed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub early: Vec<RecordSpan>,
    /// The transactions whose records it read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads_from: Vec<String>,
}

/// How a producer's transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// All of it counts.
    Committed,
    /// None of it does.
    Aborted,
    /// Nobody can say; all of it counts, or none.
    Unknown,
}

/// Offsets of a partition that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSpan {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// First offset.
    pub first: u64,
    /// Last offset.
    pub last: u64,
}

/// Something that keeps checks from passing: a line that nobody understands, a clock that was set back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// The checks that hang on it, by name.
    pub about: Vec<String>,
    /// One sentence.
    pub text: String,
}

/// The last line of a history. A history without it was cut short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// Lines of each process.
    pub events: BTreeMap<String, u64>,
    /// Sum over all event lines of the XXH3-64 of the line without its line end, modulo 2^64, in
    /// hexadecimal: the same in whatever order processes interleave.
    pub digest: Print,
    /// XXH3-64 of the header's line without its line end; a writer of one's own may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Print>,
}

/// A 64-bit XXH3 fingerprint, written as 16 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Print(pub u64);

/// Bytes: a JSON string where they are UTF-8, else `{"base64": "…"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Vec<u8>);

/// A header: its name, and its value or none. Written as `["name","value"]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HeaderPair(pub Piece, pub Option<Piece>);

/// A name or value of a header: whole where it is short, as bytes are written; of a longer one what
/// tells it from others, `{"bytes":300,"xxh3":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// All of it.
    Whole(Blob),
    /// More than [`Piece::WHOLE_MAX`] bytes.
    Long {
        /// Length in bytes.
        bytes: u64,
        /// Fingerprint.
        print: Print,
    },
}
