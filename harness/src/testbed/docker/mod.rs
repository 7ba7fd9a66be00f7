//! The docker testbed: the evidence that counts. Real Apache Kafka, an emulated object store on a
//! real disk, and for change data capture PostgreSQL and Kafka Connect with Debezium.
//!
//! Containers are started through testcontainers; from then on they are broken and watched through
//! the engine itself. Clients reach every part through a proxy, whose port stays the same while the
//! engine maps a new one on every restart, and where the link to clients can be cut; the harness's
//! own clients have proxies of their own, which always pass.
//!
//! All that a run makes carries its label and its owner's. [`DockerTestbed::sweep`] removes what
//! owners that have died left behind.

mod change_data_capture;
mod container;
mod engine;
mod entrances;
mod images;
mod kafka;
mod member;
mod observe;
mod postgres;
mod run;
mod start;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedReceiver;

pub use self::images::{ImageChoice, ImageSet, References};
pub use self::member::{Access, Image};
pub use self::postgres::{DatabaseConnection, Rows, database_url};

use self::change_data_capture as cdc;
use self::container::{Container, Handle};
use self::engine::Engine;
use self::entrances::{Entrances, bootstrap_servers, url};
use self::run::Run;
use super::cluster::Cluster;
use super::gateway::journal::JournalView;
use super::gateway::observer::{JsonApi, ObserverStore};
use super::gateway::{Hits, client_environment};
use super::proxy::Proxy;
use super::proxy::alter::Rules;
use super::proxy::wire::Seen;
use super::source::SourceAccess;
use super::{
    Abilities, Act, Capability, ClockReading, DatabaseAccess, Observation, Part, StoreAccess,
    Testbed, TestbedError, Topology,
};
use streamlake_history::event::Evidence;

/// The testbed's name in scenarios, histories and reports.
const KIND: &str = "docker";
/// A question about configuration, to a part that is expected to serve.
const CONFIGURATION_WITHIN: Duration = Duration::from_secs(5);

/// Real parts in containers.
pub struct DockerTestbed {
    engine: Engine,
    run: Run,
    topology: Topology,
    containers: BTreeMap<Part, Container>,
    entrances: Entrances,
    cluster: Cluster,
    components: BTreeMap<String, String>,
    startup: BTreeMap<String, Duration>,
    handles: Mutex<Vec<Handle>>,
}

impl DockerTestbed {
    /// Starts the parts of a topology and waits until each of them serves. Nothing is left behind
    /// if one does not.
    ///
    /// # Errors
    /// [`TestbedError::Environment`] without an engine or without an image, with the remedy;
    /// [`TestbedError::Deadline`] with the last lines of its log for a part that does not come up.
    pub async fn start(topology: &Topology, images: &ImageSet) -> Result<Self, TestbedError> {
        start::start(topology, images).await
    }

    /// What this testbed can do and vouch for.
    #[must_use]
    pub fn abilities() -> Abilities {
        use Capability as Can;
        Abilities {
            capabilities: [
                Can::BrokerRestart,
                Can::BrokerKill,
                Can::BrokerPause,
                Can::ClientLink,
                Can::Answers,
                Can::StoreFaults,
                Can::Tampering,
                Can::StoreProcess,
                Can::Database,
                Can::ChangeDataCapture,
                Can::Replication,
                Can::SetOffsets,
            ]
            .into(),
            evidence: [
                Evidence::Receipts,
                Evidence::Log,
                Evidence::CommitsSampled,
                Evidence::CommitsComplete,
                Evidence::Positions,
                Evidence::Objects,
                Evidence::DeadLetters,
                Evidence::Idempotence,
                Evidence::Source,
            ]
            .into(),
            limits: [
                "All containers share one machine, its kernel and its page cache: a kill ends a \
                 process, not a machine, so nothing is said about data that was not flushed.",
                "The object store is fake-gcs-server behind the harness's gateway, not Google \
                 Cloud Storage.",
                "Links are cut between clients and parts; links between brokers stay whole.",
            ]
            .map(str::to_owned)
            .into(),
            partition_records_max: None,
            partition_bytes_max: None,
        }
    }

    /// Whether there is an engine that answers.
    ///
    /// # Errors
    /// [`TestbedError::Environment`] without one, with the remedy.
    pub async fn ready() -> Result<(), TestbedError> {
        Engine::connect().await.map(|_| ())
    }

    /// Removes containers and networks that runs left whose process has died. Returns what was
    /// removed, in words.
    ///
    /// # Errors
    /// [`TestbedError::Environment`] without an engine; a refusal of the engine.
    pub async fn sweep() -> Result<Vec<String>, TestbedError> {
        run::sweep(&Engine::connect().await?).await
    }

    /// Removes containers and networks of this very process: for a start that was given up half-way
    /// (its future dropped), where no testbed is left to stop.
    ///
    /// # Errors
    /// [`TestbedError::Environment`] without an engine; what could not be removed.
    pub async fn remove_own() -> Result<(), TestbedError> {
        run::remove_own(&Engine::connect().await?).await
    }

    /// Whether a container engine answers; if not, the error says what to do.
    ///
    /// # Errors
    /// [`TestbedError::Environment`].
    pub async fn engine_version() -> Result<String, TestbedError> {
        Ok(Engine::connect().await?.version().to_owned())
    }

    /// Time from the first container's creation until each part served, by part; `containers
    /// started`, `topics` and `total` beside them. Pulling images does not count.
    #[must_use]
    pub fn startup(&self) -> &BTreeMap<String, Duration> {
        &self.startup
    }

    /// The label, `name=value`, of every container and network of this testbed.
    #[must_use]
    pub fn run_label(&self) -> String {
        self.run.label()
    }

    /// Where clients reach the source database; links to [`Part::Database`] cut it. Role, password
    /// and database are all named `streamlake`.
    #[must_use]
    pub fn database_address(&self) -> Option<SocketAddr> {
        self.entrances.clients.get(&Part::Database).map(|proxy| proxy.local_addr())
    }

    /// The same as a URL, `postgres://streamlake:streamlake@127.0.0.1:40001/streamlake`.
    #[must_use]
    pub fn database_url(&self) -> Option<String> {
        let name = postgres::NAME;
        self.database_address().map(|address| format!("postgres://{name}:{name}@{address}/{name}"))
    }

    /// Where the harness's own clients reach the source database, past cut links.
    #[must_use]
    pub fn observer_database_address(&self) -> Option<SocketAddr> {
        self.entrances.observers.get(&Part::Database).map(|proxy| proxy.local_addr())
    }

    /// Address of Kafka Connect's REST interface; links to [`Part::Connect`] cut it.
    #[must_use]
    pub fn connect_url(&self) -> Option<String> {
        self.entrances.clients.get(&Part::Connect).map(|proxy| url(proxy))
    }

    /// Properties by which a Debezium connector reaches the source database from within the run's
    /// network: `database.hostname` and the others that every connector needs.
    #[must_use]
    pub fn source_properties(&self) -> Option<BTreeMap<String, String>> {
        self.containers
            .contains_key(&Part::Database)
            .then(|| cdc::source_properties(&self.run.container(&Part::Database)))
    }

    fn container(&self, part: &Part) -> Result<&Container, TestbedError> {
        self.containers.get(part).ok_or_else(|| unsupported(part, "anything; it is not there"))
    }

    fn link(&self, part: &Part) -> Result<&Proxy, TestbedError> {
        let link = self.entrances.clients.get(part);
        link.map(Arc::as_ref).ok_or_else(|| unsupported(part, "change its link"))
    }
}

fn unsupported(part: &Part, act: &str) -> TestbedError {
    TestbedError::Unsupported { part: part.to_string(), act: act.to_owned(), testbed: KIND }
}

#[async_trait]
impl Testbed for DockerTestbed {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn components(&self) -> BTreeMap<String, String> {
        self.components.clone()
    }

    fn bootstrap_servers(&self) -> String {
        bootstrap_servers(&self.entrances.clients)
    }

    fn observer_bootstrap_servers(&self) -> String {
        self.entrances.observer_bootstrap_servers()
    }

    fn store(&self) -> Option<StoreAccess> {
        let client_url = url(self.entrances.clients.get(&Part::Store)?);
        let observer_url = self.entrances.gateway.as_ref()?.observer_url();
        let client_environment = client_environment(&client_url);
        Some(StoreAccess { client_url, observer_url, client_environment })
    }

    fn store_journal(&self) -> Option<JournalView> {
        Some(self.entrances.gateway.as_ref()?.journal())
    }

    fn keeps_record_of_groups(&self) -> bool {
        true
    }

    fn passing(&self) -> Option<UnboundedReceiver<Seen>> {
        self.entrances.passing.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn answer_rules(&self) -> Option<Rules> {
        Some(self.entrances.rules.clone())
    }

    fn store_hits(&self) -> Option<Hits> {
        Some(self.entrances.gateway.as_ref()?.hits())
    }

    fn observer_store(&self) -> Option<Arc<dyn ObserverStore>> {
        let server = self.entrances.store_server.as_ref()?;
        // A client that cannot be made cannot look: the runner says that the store was not read.
        JsonApi::new(url(server)).ok().map(|api| Arc::new(api) as Arc<dyn ObserverStore>)
    }

    fn database(&self) -> Option<DatabaseAccess> {
        let (client, observer) = (self.database_address()?, self.observer_database_address()?);
        Some(DatabaseAccess { client, observer })
    }

    fn source(&self) -> Option<SourceAccess> {
        Some(SourceAccess {
            database: self.database_address()?,
            observer_database: self.observer_database_address()?,
            connect_url: url(self.entrances.observers.get(&Part::Connect)?),
            connector_properties: self.source_properties()?,
        })
    }

    async fn act(&self, part: &Part, act: Act) -> Result<(), TestbedError> {
        let container = self.container(part)?;
        tracing::debug!(%part, ?act, "act");
        match act {
            Act::Stop { grace } => container.stop(&self.engine, grace).await,
            Act::Kill => container.kill(&self.engine).await,
            Act::Start => container.start(&self.engine).await,
            Act::Pause => container.pause(&self.engine).await,
            Act::Unpause => container.unpause(&self.engine).await,
            Act::Link(link) => {
                self.link(part)?.set_link(link);
                Ok(())
            }
            Act::Store(fault) => match (&self.entrances.gateway, part) {
                (Some(gateway), Part::Store) => {
                    gateway.set_fault(fault);
                    Ok(())
                }
                _ => Err(unsupported(part, "answer like a faulty store")),
            },
        }
    }

    async fn observe(&self, part: &Part) -> Result<Observation, TestbedError> {
        let mut seen = self.container(part)?.observe(&self.engine).await?;
        seen.extend(self.entrances.observe(part));
        Ok(seen)
    }

    async fn probe(&self, part: &Part, within: Duration) -> Result<String, String> {
        self.entrances.probe(part, within).await
    }

    async fn read_clock(&self, part: &Part) -> Result<ClockReading, String> {
        match part {
            Part::Broker(number) => self.cluster.clock(*number).await,
            Part::Store => self.entrances.store_clock().await,
            Part::Database => {
                let address = self.observer_database_address().ok_or("there is no database")?;
                cdc::database_clock(address, CONFIGURATION_WITHIN).await
            }
            Part::Connect => Err("the worker stamps nothing of its own".to_owned()),
        }
    }

    async fn configuration(&self) -> Result<BTreeMap<String, Observation>, TestbedError> {
        let mut found = self.cluster.configuration(&self.topology).await?;
        if let Some(address) = self.observer_database_address() {
            let reported = cdc::database_configuration(address, CONFIGURATION_WITHIN)
                .await
                .map_err(|reason| TestbedError::request("configuration of database", reason))?;
            found.insert(Part::Database.to_string(), reported);
        }
        Ok(found)
    }

    async fn log_lines(
        &self,
        part: &Part,
        since: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<String>, TestbedError> {
        self.container(part)?.log_lines(&self.engine, since, limit).await
    }

    async fn stop(&self) -> Result<(), TestbedError> {
        let handles = {
            let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *handles)
        };
        self.entrances.close().await;
        start::take_down(&self.engine, &self.run, handles).await
    }
}

impl Drop for DockerTestbed {
    /// Without a runtime, testcontainers would panic while it removes its containers; the next
    /// run's sweep takes them then.
    fn drop(&mut self) {
        if tokio::runtime::Handle::try_current().is_err() {
            let handles = self.handles.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(handles).into_iter().for_each(std::mem::forget);
        }
    }
}
