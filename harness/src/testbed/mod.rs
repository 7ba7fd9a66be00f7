//! Where a scenario runs: the parts around the system under test, and the means to break them.
//!
//! A testbed starts Kafka and an object store, says how clients reach them, carries out acts on
//! them, and tells what can be seen of them from outside. It does not know scenarios, faults or
//! histories, and it never touches the consumer or producer processes.
//!
//! A new testbed is one file (or folder) here and one row in [`NAMES`] with its arm in the functions
//! below it.

mod cluster;
pub mod docker;
pub mod elsewhere;
pub mod embedded;
pub mod external;
pub mod gateway;
pub mod probe;
pub mod proxy;
pub mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::cli::TestbedName;
use crate::observer::Brokers;
use streamlake_history::event::Evidence;

/// A table of any size is read within this time.
const DATABASE_WITHIN: Duration = Duration::from_secs(60);

/// Names of all testbeds, as in scenario files.
pub const NAMES: [&str; 3] = ["embedded", "docker", "external"];

/// What a testbed can do and vouch for.
#[must_use]
pub fn abilities(name: TestbedName) -> Abilities {
    match name {
        TestbedName::Embedded => embedded::abilities(),
        TestbedName::Docker => docker::DockerTestbed::abilities(),
        TestbedName::External => external::abilities(),
    }
}

/// Starts a testbed and waits until each part serves.
///
/// # Errors
/// When the environment lacks something or a part does not come up; nothing is left behind then.
pub async fn start(
    name: TestbedName,
    topology: &Topology,
) -> Result<Arc<dyn Testbed>, TestbedError> {
    Ok(match name {
        TestbedName::Embedded => {
            let command = embedded::host_command(&embedded::host_options(topology))
                .map_err(|error| TestbedError::request("find this program's own path", error))?;
            Arc::new(embedded::Embedded::start(topology, &command).await?)
        }
        TestbedName::Docker => {
            let images = docker::ImageSet::from_environment()?;
            Arc::new(docker::DockerTestbed::start(topology, &images).await?)
        }
        TestbedName::External => return Err(external::undescribed()),
    })
}

/// Whether a testbed could be started at all: an engine that answers, a choice of images that exists.
///
/// # Errors
/// What is missing, with the remedy.
pub async fn ready(name: TestbedName) -> Result<(), TestbedError> {
    match name {
        TestbedName::Embedded => Ok(()),
        TestbedName::Docker => {
            docker::ImageSet::from_environment()?;
            docker::DockerTestbed::ready().await
        }
        TestbedName::External => Err(external::undescribed()),
    }
}

/// What came of taking down what harnesses that died have left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// What was ended or removed, each in a line.
    pub done: Vec<String>,
    /// What could not be, each with the reason.
    pub problems: Vec<String>,
}

impl Swept {
    /// With what came of another sweep.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.done.extend(other.done);
        self.problems.extend(other.problems);
        self
    }
}

/// Takes down what harnesses that died have left behind.
pub async fn sweep(name: TestbedName) -> Swept {
    let mut swept = Swept::default();
    for process in crate::sweep::processes() {
        let line = format!("process {} ({})", process.pid, process.command);
        match process.left {
            None => swept.done.push(format!("ended {line}")),
            Some(reason) => swept.problems.push(format!("{line} is still there: {reason}")),
        }
    }
    if name == TestbedName::Docker {
        match docker::DockerTestbed::sweep().await {
            Ok(lines) => {
                swept.done.extend(lines.into_iter().map(|line| format!("removed {line}")));
            }
            Err(error) => swept.problems.push(format!("containers were not looked at: {error}")),
        }
    }
    swept
}

/// What a scenario needs around the system under test.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// Kafka brokers; each is broker and controller.
    pub brokers: u32,
    /// Broker properties beside the testbed's own, `group.initial.rebalance.delay.ms` → `0`.
    pub broker_properties: BTreeMap<String, String>,
    /// Topics to create before anything else runs.
    pub topics: Vec<TopicSpec>,
    /// Buckets to create in the object store; empty for no store.
    pub buckets: Vec<String>,
    /// PostgreSQL.
    pub database: bool,
    /// Kafka Connect and Debezium, which capture the database's changes.
    pub change_data_capture: bool,
    /// Properties of the Connect worker beside the testbed's own, `offset.flush.interval.ms`.
    pub worker_properties: BTreeMap<String, String>,
    /// Everything must be up within this time.
    pub start_within: Duration,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Replication factor.
    pub replication: u32,
    /// Topic properties, `min.insync.replicas` → `2`.
    pub properties: BTreeMap<String, String>,
}

/// A part of the testbed that acts can be aimed at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Broker by number, from 1.
    Broker(u32),
    /// The object store's server.
    Store,
    /// PostgreSQL.
    Database,
    /// The Kafka Connect worker.
    Connect,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(number) => write!(f, "broker-{number}"),
            Self::Store => f.write_str("store"),
            Self::Database => f.write_str("database"),
            Self::Connect => f.write_str("connect"),
        }
    }
}

/// What can be done to a part.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Ask it to stop, wait for as long as `grace`, then kill it.
    Stop {
        /// Time for an orderly stop.
        grace: Duration,
    },
    /// SIGKILL, seen to have ended.
    Kill,
    /// Start it again with its data.
    Start,
    /// Freeze its processes; its sockets stay open.
    Pause,
    /// Thaw them.
    Unpause,
    /// Change what passes between the clients and the part.
    Link(proxy::Link),
    /// Change how the object store answers.
    Store(gateway::StoreFault),
}

/// The kinds of [`Act`], for a scenario to ask for before anything starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Stop and start a broker in an orderly way, its log kept.
    BrokerRestart,
    /// SIGKILL a broker and start it again, its log kept.
    BrokerKill,
    /// Freeze a broker.
    BrokerPause,
    /// Cut clients off from brokers.
    ClientLink,
    /// Answer requests of clients otherwise than the brokers do.
    Answers,
    /// Errors, delays and hangs of the object store.
    StoreFaults,
    /// Restart, kill or freeze the object store's server.
    StoreProcess,
    /// PostgreSQL.
    Database,
    /// Kafka Connect and Debezium beside it.
    ChangeDataCapture,
    /// More than one broker with replication.
    Replication,
    /// Set the committed offsets of a group that has no members.
    SetOffsets,
    /// Lay hands on what stands in the store and in the topics: nothing there is anybody else's.
    Tampering,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BrokerRestart => "restart a broker with its log kept",
            Self::BrokerKill => "kill a broker with its log kept",
            Self::BrokerPause => "freeze a broker",
            Self::ClientLink => "cut clients off from brokers",
            Self::Answers => "answer clients otherwise than the brokers do",
            Self::StoreFaults => "make the object store fail",
            Self::StoreProcess => "stop the object store's server",
            Self::Database => "run PostgreSQL",
            Self::ChangeDataCapture => "run PostgreSQL, Kafka Connect and Debezium",
            Self::Replication => "replicate over several brokers",
            Self::SetOffsets => "set the offsets of a group from outside",
            Self::Tampering => "tamper with what was delivered",
        })
    }
}

/// What can be seen of a part from outside, in the words of whoever runs it: `started_at`, `pid`,
/// `state`, `restart_count`, `freezer`. Compared before and after a fault.
pub type Observation = BTreeMap<String, String>;

/// A part's clock, as it stamped something between the question and the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockReading {
    /// The stamp: microseconds since the epoch.
    pub stamp_us: i64,
    /// Stamps are cut off at multiples of this.
    pub resolution_us: i64,
    /// What was stamped, for the history.
    pub how: String,
}

/// Why a testbed could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// The environment lacks something; the remedy is in the text.
    #[error("{what}: {remedy}")]
    Environment {
        /// What is missing or refused.
        what: String,
        /// What to do about it.
        remedy: String,
    },
    /// A part did not come up, or did not come back, in time.
    #[error("{part} was not {state} within {within:?}: {last}")]
    Deadline {
        /// Which part.
        part: String,
        /// The state that was awaited.
        state: &'static str,
        /// The time it was given.
        within: Duration,
        /// What was seen last.
        last: String,
    },
    /// The part cannot be acted on in this way here.
    #[error("{part} cannot be asked to {act} on the {testbed} testbed")]
    Unsupported {
        /// Which part.
        part: String,
        /// Which act.
        act: String,
        /// Which testbed.
        testbed: &'static str,
    },
    /// The engine, a broker or the store refused a request.
    #[error("{what}: {source}")]
    Request {
        /// What was asked.
        what: String,
        /// The answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TestbedError {
    /// Wraps the answer to a request.
    pub fn request(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Request { what: what.into(), source: source.into() }
    }
}

/// How clients reach the object store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreAccess {
    /// Base address that speaks the store's JSON and XML APIs, `http://127.0.0.1:4443`; for
    /// clients, through the gateway where faults are injected.
    pub client_url: String,
    /// The same for the harness's own look at the store, past the injected faults.
    pub observer_url: String,
    /// Environment for `object_store` in the system under test.
    pub client_environment: BTreeMap<String, String>,
}

/// How clients reach the database.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseAccess {
    /// For clients, through the link that faults cut.
    pub client: SocketAddr,
    /// For the harness's own look at it.
    pub observer: SocketAddr,
}

impl DatabaseAccess {
    /// The address for clients, without a password.
    #[must_use]
    pub fn client_url(&self) -> String {
        docker::database_url(self.client)
    }

    /// Runs statements on a new connection past all links.
    ///
    /// # Errors
    /// Why there is no answer, or the database's own message.
    pub async fn query(&self, statements: &str) -> Result<docker::Rows, String> {
        docker::DatabaseConnection::open(self.observer, DATABASE_WITHIN)
            .await?
            .run(statements)
            .await
    }
}

/// A started testbed.
#[async_trait]
pub trait Testbed: Send + Sync {
    /// `embedded`, `docker` or `external`.
    fn kind(&self) -> &'static str;

    /// Version of each part, with image and digest where there is one.
    fn components(&self) -> BTreeMap<String, String>;

    /// `host:port,…` for the system under test: through the links that faults can cut.
    fn bootstrap_servers(&self) -> String;

    /// `host:port,…` for the harness's own clients. It goes past the injected link faults where the
    /// testbed can do so, so that observers see while clients are cut off.
    fn observer_bootstrap_servers(&self) -> String;

    /// The same with what it takes to be let in.
    fn observer_brokers(&self) -> Brokers {
        Brokers::plain(self.observer_bootstrap_servers())
    }

    /// librdkafka properties that clients of the system under test need to be let in.
    fn client_properties(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The object store, if the topology has one.
    fn store(&self) -> Option<StoreAccess>;

    /// The harness's own look at the object store, past the injected faults.
    fn observer_store(&self) -> Option<Arc<dyn gateway::observer::ObserverStore>>;

    /// Every write that reached the object store, where the testbed sees them pass.
    fn store_journal(&self) -> Option<gateway::journal::JournalView> {
        None
    }

    /// The brokers keep their own record of commits and generations (`__consumer_offsets`), and let it
    /// be read.
    fn keeps_record_of_groups(&self) -> bool {
        false
    }

    /// What members of consumer groups and their coordinators are seen to say to each other, on the
    /// path that clients use, from the testbed's start on; for one listener.
    fn passing(&self) -> Option<UnboundedReceiver<proxy::wire::Seen>> {
        None
    }

    /// Which answers of the brokers are altered on the path that clients use, to be set and looked at.
    fn answer_rules(&self) -> Option<proxy::alter::Rules> {
        None
    }

    /// What the system under test met at the object store since its fault was last changed, apart from
    /// what the harness itself asked, where the testbed sees the requests pass.
    fn store_hits(&self) -> Option<gateway::Hits> {
        None
    }

    /// The database, if the topology has one.
    fn database(&self) -> Option<DatabaseAccess> {
        None
    }

    /// The source database and the worker that captures its changes, if the topology has them.
    fn source(&self) -> Option<source::SourceAccess> {
        None
    }

    /// Carries out an act and returns once it is done: a killed part has ended, a started part has
    /// been told to start. Whether the part serves again is for [`Testbed::probe`] to say.
    async fn act(&self, part: &Part, act: Act) -> Result<(), TestbedError>;

    /// What can be seen of the part from outside right now. Never answered by the part itself.
    async fn observe(&self, part: &Part) -> Result<Observation, TestbedError>;

    /// Asks the part something in its own protocol (ApiVersions or metadata of a broker, a listing
    /// of the store) with a short deadline, on the path that clients use. `Ok` says what came back;
    /// `Err` says why nothing did. Never an error of the testbed.
    async fn probe(&self, part: &Part, within: Duration) -> Result<String, String>;

    /// Has the part stamp something with its clock, past all injected faults. `Err` says why it did
    /// not.
    async fn read_clock(&self, part: &Part) -> Result<ClockReading, String> {
        Err(format!("{part} is not asked for its clock on this testbed"))
    }

    /// Configuration that the running parts report of themselves: part → property → value.
    async fn configuration(&self) -> Result<BTreeMap<String, Observation>, TestbedError>;

    /// Lines that the part logged since `since` (wall clock), newest last, at most `limit`.
    async fn log_lines(
        &self,
        part: &Part,
        since: chrono::DateTime<chrono::Utc>,
        limit: usize,
    ) -> Result<Vec<String>, TestbedError>;

    /// Takes everything down and sees that it is gone. Called once, also after errors; dropping a
    /// testbed without it leaves the rest to the next run's sweep.
    async fn stop(&self) -> Result<(), TestbedError>;
}

/// What a testbed can do and vouch for, known before it is started.
#[derive(Debug, Clone)]
pub struct Abilities {
    /// Acts that it can carry out.
    pub capabilities: BTreeSet<Capability>,
    /// Evidence that it gives.
    pub evidence: BTreeSet<Evidence>,
    /// Claims that it cannot support, one sentence each, for the report.
    pub limits: Vec<String>,
    /// Most records that a partition may hold, where the testbed would drop older ones.
    pub partition_records_max: Option<u64>,
    /// Most bytes (keys, values, headers and overhead) that a partition may hold.
    pub partition_bytes_max: Option<u64>,
}
