//! A cluster and a store that are somebody's own: used, and broken only by the commands of scenarios and by
//! the gateway that stands before the store for the run's own clients.
//!
//! A run touches nothing there but what it made itself: topics, groups and objects whose names bear its mark,
//! and topics that a scenario names and that were not there before. What is made is noted first, so that
//! `sweep` finds what a harness that was killed left behind.
//!
//! Clients reach the brokers through proxies on this machine, which put their own addresses into what brokers
//! tell of each other: what passes is looked at and can be cut, as on the other testbeds. Where it is encrypted,
//! clients reach the brokers directly, and less is seen.

mod description;
mod made;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

pub use self::description::Description;
use self::made::Made;
pub use self::made::sweep;
use self::parts::Parts;
use super::gateway::backend::clock;
use super::gateway::journal::JournalView;
use super::gateway::observer::ObserverStore;
use super::gateway::{Gateway, Hits};
use super::proxy::alter::Rules;
use super::proxy::wire::{Seen, Tap};
use super::proxy::{Proxy, Watched};
use super::{
    Abilities, Act, Capability, ClockReading, Observation, Part, StoreAccess, Testbed,
    TestbedError, Topology, probe,
};
use crate::observer::Brokers;
use streamlake_history::event::Evidence;

/// The name in scenarios, histories and reports.
const KIND: &str = "external";
/// One look at a broker.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// Everything that a run made is removed within this time.
const REMOVED_WITHIN: Duration = Duration::from_secs(150);

const LIMITS: [&str; 4] = [
    "There is no canary: nothing is tampered with on somebody's own cluster. That the harness sees what is planted is shown on the other testbeds.",
    "The cluster is somebody's own: what else happens there, and how it is kept, is not known. That a broker's process is the same is known by a connection to it that stands.",
    "Faults on the cluster itself are commands of the scenario's: that they hit it is known by what their `seen` command says, and by what came of it.",
    "A client that is told of another broker by an answer to Fetch or Produce (Java clients after a leader has moved) reaches that one directly until it asks for metadata again.",
];
const LIMITS_OF_ENCRYPTED: [&str; 1] = [
    "Clients reach the brokers directly, encrypted: what passes between members and coordinators is not seen, so which duplicate had a new position as its cause is not known.",
];

/// What this testbed can do and vouch for, where nothing is encrypted.
#[must_use]
pub fn abilities() -> Abilities {
    abilities_of(true)
}

fn abilities_of(plain: bool) -> Abilities {
    let through_proxies = [Capability::ClientLink, Capability::Answers].into_iter();
    let always =
        [Capability::StoreFaults, Capability::Replication, Capability::SetOffsets].into_iter();
    let limits = LIMITS.iter().chain(LIMITS_OF_ENCRYPTED.iter().filter(|_| !plain));
    Abilities {
        capabilities: always.chain(through_proxies.filter(|_| plain)).collect(),
        evidence: [
            Evidence::Receipts,
            Evidence::Log,
            Evidence::CommitsSampled,
            Evidence::CommitsComplete,
            Evidence::Objects,
            Evidence::DeadLetters,
            Evidence::Idempotence,
        ]
        .into_iter()
        .chain(plain.then_some(Evidence::Positions))
        .collect(),
        limits: limits.map(|limit| (*limit).to_owned()).collect(),
        partition_records_max: None,
        partition_bytes_max: None,
    }
}

/// Nobody said which cluster.
pub(super) fn undescribed() -> TestbedError {
    TestbedError::Environment {
        what: "nobody says which cluster".to_owned(),
        remedy: "name the file that describes it with `--cluster FILE`; only `run` takes it"
            .to_owned(),
    }
}

/// Whether runs with these topics could be started: both answer, and nothing is in the way. Topics of these names
/// will bear the mark of their run, and are never in the way.
///
/// # Errors
/// What is missing or in the way, with the remedy.
pub async fn ready(
    description: &Description,
    topologies: &[&Topology],
    marked: &BTreeSet<String>,
) -> Result<(), TestbedError> {
    let parts = Parts::connect(description, &description.mark()).await?;
    if let Some(reason) = parts.cluster.record_of_groups_withheld().await {
        return Err(TestbedError::Environment {
            what: format!(
                "the brokers' own record of commits (`__consumer_offsets`) cannot be read: {reason}"
            ),
            remedy: "give this client the right to describe and to read it; without it, `observe` samples \
                     commits"
                .to_owned(),
        });
    }
    let there = parts.cluster.topics().await?;
    for topology in topologies {
        parts.fits(topology)?;
        free(&there, topology, marked)?;
    }
    Ok(())
}

/// None of these topics is there: what the run did not make it does not touch.
fn free(
    there: &[String],
    topology: &Topology,
    marked: &BTreeSet<String>,
) -> Result<(), TestbedError> {
    let mut wanted = topology.topics.iter().filter(|topic| !marked.contains(&topic.name));
    match wanted.find(|topic| there.contains(&topic.name)) {
        None => Ok(()),
        Some(topic) => Err(TestbedError::Environment {
            what: format!(
                "the topic `{}` is there already, and no run of this made it",
                topic.name
            ),
            remedy: "a run touches only what it made: give the scenario a name that is free"
                .to_owned(),
        }),
    }
}

impl Parts {
    fn fits(&self, topology: &Topology) -> Result<(), TestbedError> {
        let short = |what: String, remedy: &str| {
            Err(TestbedError::Environment { what, remedy: remedy.to_owned() })
        };
        let most = topology.topics.iter().map(|topic| topic.replication as usize).max();
        if most.is_some_and(|most| most > self.cluster.size()) {
            let what = format!(
                "the scenario asks for {} replicas, and the cluster has {} broker(s)",
                most.unwrap_or(0),
                self.cluster.size()
            );
            return short(what, "lower `replication` in the scenario's `[cluster]`");
        }
        if !topology.broker_properties.is_empty() {
            let what =
                "the scenario sets properties of brokers, which are not the run's".to_owned();
            return short(what, "remove `broker_properties`, or use a testbed of the harness");
        }
        if topology.database {
            let what = "the scenario needs a database of the harness".to_owned();
            return short(what, "deliver elsewhere, or use `--testbed docker`");
        }
        Ok(())
    }
}

/// The running testbed.
pub struct External {
    description: Description,
    topology: Topology,
    parts: Parts,
    gateway: Option<Gateway>,
    /// Before each broker, where nothing is encrypted.
    proxies: Vec<Proxy>,
    /// To each broker past its proxy, to see that its process is the same.
    standing: Vec<probe::Standing>,
    /// What passes them, until somebody listens.
    passing: Mutex<Option<UnboundedReceiver<Seen>>>,
    rules: Rules,
    made: Made,
    /// The folder of the runs, where what was made is noted.
    runs: PathBuf,
}

impl External {
    /// Makes what a run needs; on failure nothing of it is left.
    ///
    /// # Errors
    /// When something is in the way, or cannot be made.
    pub async fn start(
        description: &Description,
        mark: &str,
        topology: &Topology,
        runs: &Path,
    ) -> Result<Self, TestbedError> {
        let parts = Parts::connect(description, mark).await?;
        parts.fits(topology)?;
        free(&parts.cluster.topics().await?, topology, &BTreeSet::new())?;
        let mut topics: BTreeSet<String> =
            topology.topics.iter().map(|topic| topic.name.clone()).collect();
        topics.insert(format!("{mark}-clock"));
        let made = Made::new(mark, topics, description);
        let noted = |error| TestbedError::request("note what is made", error);
        made.write(runs).map_err(noted)?;
        let mut external = Self {
            description: description.clone(),
            topology: topology.clone(),
            parts,
            gateway: None,
            proxies: Vec::new(),
            standing: Vec::new(),
            passing: Mutex::default(),
            rules: Rules::default(),
            made,
            runs: runs.to_owned(),
        };
        if let Err(error) = external.make().await {
            // What was there before all the same is not the run's.
            if let Some(there) = already_there(&error, topology) {
                external.made.topics.remove(&there);
                external.made.write(runs).map_err(noted)?;
            }
            if let Err(left) = external.stop().await {
                tracing::warn!(%left, "a testbed that did not start left something behind");
            }
            return Err(error);
        }
        Ok(external)
    }

    async fn make(&mut self) -> Result<(), TestbedError> {
        self.parts.cluster.create_topics(&self.topology).await?;
        let deadline = Instant::now() + self.topology.start_within;
        let topics = &self.topology.topics;
        self.parts.cluster.await_complete(&self.topology, topics, deadline).await?;
        if self.description.is_plain() {
            self.put_proxies().await?;
        }
        if let Some(store) = &self.parts.store {
            let gateway = Gateway::start(Arc::clone(&store.backend)).await;
            let gateway = gateway
                .map_err(|error| TestbedError::request("start the store's gateway", error))?;
            self.gateway = Some(gateway);
        }
        Ok(())
    }

    /// Puts a proxy before each broker, and has brokers seem to be there.
    async fn put_proxies(&mut self) -> Result<(), TestbedError> {
        let (tap, passing) = Tap::new();
        let watched = Watched { tap, rules: self.rules.clone() };
        let mut addresses = BTreeMap::new();
        for (number, broker) in (1u32..).zip(&self.parts.cluster.brokers) {
            let place = format!("{}:{}", broker.host, broker.port);
            let found = tokio::net::lookup_host(&place).await;
            let found = found
                .map_err(|error| error.to_string())
                .and_then(|mut all| all.next().ok_or_else(|| "the name has no address".to_owned()));
            let upstream = found.map_err(|reason| TestbedError::Environment {
                what: format!("broker {} says that it is at {place}: {reason}", broker.id),
                remedy: "run the harness where clients of the cluster reach its brokers".to_owned(),
            })?;
            let name = format!("broker-{number}");
            let proxy = Proxy::bind_watched(name, upstream, Some(watched.clone())).await;
            let proxy = proxy.map_err(|error| TestbedError::request("bind a proxy", error))?;
            addresses.insert(broker.id, proxy.local_addr());
            self.standing.push(probe::Standing::to(upstream));
            self.proxies.push(proxy);
        }
        self.rules.addresses.set(addresses);
        *self.passing.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(passing);
        Ok(())
    }

    fn proxy(&self, number: u32) -> Option<&Proxy> {
        self.proxies.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    fn gateway(&self) -> Result<&Gateway, TestbedError> {
        self.gateway.as_ref().ok_or_else(|| unsupported(&Part::Store, "be there"))
    }

    fn bucket(&self) -> &str {
        self.parts.store.as_ref().map_or("", |store| store.bucket.as_str())
    }
}

/// The topic that could not be made because it is there.
fn already_there(error: &TestbedError, topology: &Topology) -> Option<String> {
    let TestbedError::Request { what, source } = error else { return None };
    let text = source.to_string();
    let exists = text.contains("already exists") || text.contains("TopicAlreadyExists");
    let named =
        topology.topics.iter().find(|topic| what == &format!("create topic {}", topic.name));
    named.filter(|_| exists).map(|topic| topic.name.clone())
}

#[async_trait]
impl Testbed for External {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn components(&self) -> BTreeMap<String, String> {
        let kafka = format!(
            "{} broker(s) at {}",
            self.parts.cluster.size(),
            self.description.brokers.servers
        );
        let mut components = BTreeMap::from([("kafka".to_owned(), kafka)]);
        if let Some((url, bucket)) = &self.description.store {
            components.insert("store".to_owned(), format!("bucket {bucket} at {url}"));
        }
        components
    }

    fn bootstrap_servers(&self) -> String {
        match self.proxies.as_slice() {
            [] => self.description.brokers.servers.clone(),
            proxies => {
                let addresses = proxies.iter().map(|proxy| proxy.local_addr().to_string());
                addresses.collect::<Vec<_>>().join(",")
            }
        }
    }

    fn observer_bootstrap_servers(&self) -> String {
        self.description.brokers.servers.clone()
    }

    fn passing(&self) -> Option<UnboundedReceiver<Seen>> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn answer_rules(&self) -> Option<Rules> {
        (!self.proxies.is_empty()).then(|| self.rules.clone())
    }

    fn observer_brokers(&self) -> Brokers {
        self.description.brokers.clone()
    }

    fn client_properties(&self) -> BTreeMap<String, String> {
        self.description.brokers.properties.clone()
    }

    fn store(&self) -> Option<StoreAccess> {
        self.gateway.as_ref().map(Gateway::access)
    }

    fn store_journal(&self) -> Option<JournalView> {
        self.gateway.as_ref().map(Gateway::journal)
    }

    fn store_hits(&self) -> Option<Hits> {
        self.gateway.as_ref().map(Gateway::hits)
    }

    fn observer_store(&self) -> Option<Arc<dyn ObserverStore>> {
        let gateway = self.gateway.as_ref()?;
        Some(Arc::new(gateway.backend().clone()))
    }

    fn keeps_record_of_groups(&self) -> bool {
        true
    }

    async fn act(&self, part: &Part, act: Act) -> Result<(), TestbedError> {
        match (part, act) {
            (Part::Store, Act::Store(fault)) => {
                self.gateway()?.set_fault(fault);
                Ok(())
            }
            (Part::Broker(number), Act::Link(link)) => match self.proxy(*number) {
                Some(proxy) => {
                    proxy.set_link(link);
                    Ok(())
                }
                None => Err(unsupported(part, "be cut off from its clients")),
            },
            (part, act) => Err(unsupported(part, &format!("{act:?}"))),
        }
    }

    async fn observe(&self, part: &Part) -> Result<Observation, TestbedError> {
        match part {
            Part::Store => Ok(self.gateway()?.observation()),
            Part::Broker(number) => {
                let mut seen = self.proxy(*number).map(Proxy::observation).unwrap_or_default();
                let place = usize::try_from(*number).unwrap_or_default().wrapping_sub(1);
                if let Some(standing) = self.standing.get(place)
                    && let Some(since) = standing.since(LOOK_WITHIN).await
                {
                    seen.insert("started_at".to_owned(), since);
                }
                Ok(seen)
            }
            part => Err(unsupported(part, "be observed")),
        }
    }

    async fn probe(&self, part: &Part, within: Duration) -> Result<String, String> {
        match (part, &self.gateway) {
            (Part::Broker(number), _) if let Some(proxy) = self.proxy(*number) => {
                probe::kafka_api_versions(proxy.local_addr(), within).await
            }
            (Part::Broker(_), _) => {
                let answer = tokio::time::timeout(within, self.parts.cluster.answers()).await;
                answer.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
            }
            (Part::Store, Some(gateway)) => {
                probe::store_listing(&gateway.client_url(), self.bucket(), within).await
            }
            (part, _) => Err(format!("there is no {part} on this testbed")),
        }
    }

    async fn read_clock(&self, part: &Part) -> Result<ClockReading, String> {
        match (part, &self.gateway) {
            (Part::Broker(number), _) => self.parts.cluster.clock(*number).await,
            (Part::Store, Some(gateway)) => {
                clock(gateway.backend().as_ref(), self.bucket(), 1000).await
            }
            (part, _) => Err(format!("there is no {part}")),
        }
    }

    async fn configuration(&self) -> Result<BTreeMap<String, Observation>, TestbedError> {
        self.parts.cluster.configuration(&self.topology).await
    }

    async fn log_lines(
        &self,
        _: &Part,
        _: DateTime<Utc>,
        _: usize,
    ) -> Result<Vec<String>, TestbedError> {
        Ok(Vec::new())
    }

    async fn stop(&self) -> Result<(), TestbedError> {
        if self.rules.addresses.untouched() > 0 {
            tracing::warn!(
                answers = self.rules.addresses.untouched(),
                "brokers told clients where they are in a way that is not understood: not all was seen"
            );
        }
        for proxy in &self.proxies {
            proxy.close().await;
        }
        if let Some(gateway) = &self.gateway {
            gateway.close().await;
        }
        let removed = tokio::time::timeout(REMOVED_WITHIN, self.parts.remove(&self.made)).await;
        removed.map_err(|_| TestbedError::Deadline {
            part: "what the run made".to_owned(),
            state: "removed",
            within: REMOVED_WITHIN,
            last: "no word of it".to_owned(),
        })??;
        let forgotten = self.made.forget(&self.runs);
        forgotten.map_err(|error| TestbedError::request("forget what was made", error))
    }
}

fn unsupported(part: &Part, act: &str) -> TestbedError {
    TestbedError::Unsupported { part: part.to_string(), act: act.to_owned(), testbed: KIND }
}
