//! The testbed without containers: librdkafka's mock cluster in a child process, a TCP proxy before
//! each broker, and an in-memory object store behind the gateway.
//!
//! It is a stand-in at the level of the protocol. It supports claims about at-least-once delivery,
//! commits and resuming, retries, crashes of clients, outages, latency and partitioning, inside the
//! bounds of [`abilities`], and none of those listed there as limits.
//!
//! How acts map:
//! - *stop*, *kill*, *start* of a broker: it stops listening and its connections are closed (kill:
//!   reset); its log survives, as a real broker's would. The process stays.
//! - *pause* of a broker: a real SIGSTOP of the host where it hosts one broker; where it hosts
//!   several, [`Link::BlackHole`] on that broker's proxy, which is the same to its clients.
//! - *link*: the broker's proxy. The mock tells one address to everybody, so the harness's own
//!   clients meet the same link.
//! - *store*: the gateway.

mod child;
mod control;
pub mod host;
mod mock;
mod vouch;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

use self::child::Host;
pub use self::child::HostCommand;
use self::control::What;
pub use self::vouch::abilities;
use super::gateway::backend::{Backend, clock};
use super::gateway::journal::JournalView;
use super::gateway::memory::Memory;
use super::gateway::observer::ObserverStore;
use super::gateway::{Gateway, Hits};
use super::proxy::alter::Rules;
use super::proxy::wire::{Seen, Tap};
use super::proxy::{Link, Proxy, Watched};
use super::{
    Act, ClockReading, Observation, Part, StoreAccess, Testbed, TestbedError, Topology, probe,
};
use crate::sweep::Stat;

const KIND: &str = "embedded";
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// The only broker property that the mock knows.
const REBALANCE_DELAY: &str = "group.initial.rebalance.delay.ms";
const REBALANCE_DELAY_MS: u64 = 50;

/// How the harness starts its own program as a broker host: `broker-host --brokers N
/// --initial-rebalance-delay-ms N`.
///
/// # Errors
/// When the path of this program is unknown.
pub fn host_command(options: &host::Options) -> io::Result<HostCommand> {
    Ok(HostCommand {
        program: std::env::current_exe()?,
        arguments: vec![
            "broker-host".to_owned(),
            "--brokers".to_owned(),
            options.brokers.to_string(),
            "--initial-rebalance-delay-ms".to_owned(),
            options.initial_rebalance_delay.as_millis().to_string(),
        ],
        environment: Vec::new(),
    })
}

/// What the host needs to know of a topology.
#[must_use]
pub fn host_options(topology: &Topology) -> host::Options {
    let delay = topology.broker_properties.get(REBALANCE_DELAY);
    let delay = delay.and_then(|text| text.parse().ok()).unwrap_or(REBALANCE_DELAY_MS);
    host::Options {
        brokers: topology.brokers,
        initial_rebalance_delay: Duration::from_millis(delay),
    }
}

/// The running testbed.
#[derive(Debug)]
pub struct Embedded {
    host: Host,
    brokers: Vec<Broker>,
    store: Option<Store>,
    configuration: BTreeMap<String, Observation>,
    /// What passes the proxies, until somebody listens.
    passing: std::sync::Mutex<Option<UnboundedReceiver<Seen>>>,
    /// Which answers of the brokers are others.
    rules: Rules,
    /// One act at a time: an act is several steps.
    acting: Mutex<()>,
}

#[derive(Debug)]
struct Broker {
    number: u32,
    port: u16,
    proxy: Proxy,
    wanted: std::sync::Mutex<Wanted>,
}

/// A pause may lie over a link fault; both end on their own.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    link: Link,
    paused: bool,
}

#[derive(Debug)]
struct Store {
    gateway: Gateway,
    bucket: String,
}

impl Embedded {
    /// Starts the parts, with `command` for the broker host (see [`host_command`]).
    ///
    /// # Errors
    /// When the topology asks for what this testbed has not, or a part did not come up in time.
    pub async fn start(topology: &Topology, command: &HostCommand) -> Result<Self, TestbedError> {
        if topology.change_data_capture {
            return Err(unsupported(&Part::Connect, "start"));
        }
        if topology.database {
            return Err(unsupported(&Part::Database, "start"));
        }
        let host = Host::start(command, topology.start_within).await?;
        let (tap, passing) = Tap::new();
        let watched = Watched { tap, rules: Rules::default() };
        let brokers = proxied(&host, &watched).await?;
        for topic in &topology.topics {
            // The mock has no replication; asking for one broker each keeps the leaders spread.
            host.ask(What::CreateTopic {
                name: topic.name.clone(),
                partitions: topic.partitions,
                replication: 1,
            })
            .await?;
        }
        let store = start_store(&topology.buckets).await?;
        let configuration = vouch::configuration(topology, &host.librdkafka);
        let passing = std::sync::Mutex::new(Some(passing));
        let (rules, acting) = (watched.rules, Mutex::new(()));
        Ok(Self { host, brokers, store, configuration, passing, rules, acting })
    }

    /// The gateway before the store, with its journal and what clients met there.
    #[must_use]
    pub fn gateway(&self) -> Option<&Gateway> {
        self.store.as_ref().map(|store| &store.gateway)
    }

    /// Process id of the broker host.
    #[must_use]
    pub fn host_pid(&self) -> u32 {
        self.host.pid
    }

    fn broker(&self, number: u32) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.number == number)
    }

    async fn act_on_broker(&self, broker: &Broker, act: Act) -> Result<(), TestbedError> {
        let number = broker.number;
        match act {
            Act::Stop { .. } => {
                self.pause(broker, false).await?;
                self.host.ask(What::Down { broker: number }).await?;
                self.host.until_listening(broker.port, false).await
            }
            Act::Kill => {
                self.pause(broker, false).await?;
                // Refused first, so that clients see resets and not the orderly end of a stop.
                broker.proxy.set_link(Link::Refuse);
                let down = self.host.ask(What::Down { broker: number }).await;
                broker.apply();
                down?;
                self.host.until_listening(broker.port, false).await
            }
            Act::Start => {
                self.host.ask(What::Up { broker: number }).await?;
                self.host.until_listening(broker.port, true).await
            }
            Act::Pause => self.pause(broker, true).await,
            Act::Unpause => self.pause(broker, false).await,
            Act::Link(link) => {
                broker.want(|wanted| wanted.link = link);
                Ok(())
            }
            Act::Store(_) => Err(unsupported(&Part::Broker(number), "fail as a store")),
        }
    }

    async fn pause(&self, broker: &Broker, paused: bool) -> Result<(), TestbedError> {
        if self.brokers.len() == 1 {
            return self.host.freeze(paused).await;
        }
        if broker.wanted().paused != paused {
            broker.want(|wanted| wanted.paused = paused);
        }
        Ok(())
    }

    fn observe_broker(&self, broker: &Broker) -> Result<Observation, TestbedError> {
        let pid = self.host.pid;
        let stat = Stat::of(pid)
            .map_err(|error| TestbedError::request("looking at the broker host", error))?;
        let listens = child::listening(pid, broker.port);
        let mut seen = broker.proxy.observation();
        seen.extend(observation([
            ("pid", pid.to_string()),
            ("state", stat.state_in_words()),
            ("started_at", format!("{} ticks after boot", stat.started)),
            ("listening", if listens { "yes" } else { "no" }.to_owned()),
        ]));
        Ok(seen)
    }
}

impl Broker {
    fn wanted(&self) -> Wanted {
        *self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn want(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        self.apply();
    }

    fn apply(&self) {
        let wanted = self.wanted();
        self.proxy.set_link(if wanted.paused { Link::BlackHole } else { wanted.link });
    }
}

#[async_trait]
impl Testbed for Embedded {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn components(&self) -> BTreeMap<String, String> {
        let kafka = format!(
            "mock cluster of librdkafka {}, {} broker(s), hosted in a child process",
            self.host.librdkafka,
            self.brokers.len()
        );
        let mut components = BTreeMap::from([("kafka".to_owned(), kafka)]);
        if let Some(store) = &self.store {
            components.insert("store".to_owned(), store.gateway.backend().describe());
        }
        components
    }

    fn bootstrap_servers(&self) -> String {
        let addresses = self.brokers.iter().map(|broker| broker.proxy.local_addr().to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    fn observer_bootstrap_servers(&self) -> String {
        // The mock tells the proxied address to whoever asks: there is no other way in.
        self.bootstrap_servers()
    }

    fn store(&self) -> Option<StoreAccess> {
        self.store.as_ref().map(|store| store.gateway.access())
    }

    fn store_journal(&self) -> Option<JournalView> {
        Some(self.store.as_ref()?.gateway.journal())
    }

    fn passing(&self) -> Option<UnboundedReceiver<Seen>> {
        self.passing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    fn answer_rules(&self) -> Option<Rules> {
        Some(self.rules.clone())
    }

    fn store_hits(&self) -> Option<Hits> {
        Some(self.store.as_ref()?.gateway.hits())
    }

    fn observer_store(&self) -> Option<Arc<dyn ObserverStore>> {
        let store = self.store.as_ref()?;
        Some(Arc::new(store.gateway.backend().clone()))
    }

    async fn act(&self, part: &Part, act: Act) -> Result<(), TestbedError> {
        let _alone = self.acting.lock().await;
        match (part, act) {
            (Part::Broker(number), act) => match self.broker(*number) {
                Some(broker) => self.act_on_broker(broker, act).await,
                None => Err(unsupported(part, "be there")),
            },
            (Part::Store, Act::Store(fault)) => match &self.store {
                Some(store) => {
                    store.gateway.set_fault(fault);
                    Ok(())
                }
                None => Err(unsupported(part, "be there")),
            },
            (part, act) => Err(unsupported(part, &format!("{act:?}"))),
        }
    }

    async fn observe(&self, part: &Part) -> Result<Observation, TestbedError> {
        match (part, &self.store) {
            (Part::Broker(number), _) => match self.broker(*number) {
                Some(broker) => self.observe_broker(broker),
                None => Err(unsupported(part, "be there")),
            },
            (Part::Store, Some(store)) => {
                let mut seen = store.gateway.observation();
                seen.insert("pid".to_owned(), std::process::id().to_string());
                seen.insert("writes".to_owned(), store.gateway.writes().to_string());
                Ok(seen)
            }
            _ => Err(unsupported(part, "be observed")),
        }
    }

    async fn probe(&self, part: &Part, within: Duration) -> Result<String, String> {
        match (part, &self.store) {
            (Part::Broker(number), _) => match self.broker(*number) {
                Some(broker) => probe::kafka_api_versions(broker.proxy.local_addr(), within).await,
                None => Err(format!("there is no {part}")),
            },
            (Part::Store, Some(store)) => {
                probe::store_listing(&store.gateway.client_url(), &store.bucket, within).await
            }
            _ => Err(format!("there is no {part} on this testbed")),
        }
    }

    async fn read_clock(&self, part: &Part) -> Result<ClockReading, String> {
        match (part, &self.store) {
            // Record timestamps are the clients' own.
            (Part::Broker(_), _) => Ok(ClockReading {
                stamp_us: Utc::now().timestamp_micros(),
                resolution_us: 1000,
                how: "the mock stamps nothing itself; this machine's wall clock".to_owned(),
            }),
            (Part::Store, Some(store)) => {
                clock(store.gateway.backend().as_ref(), &store.bucket, 1).await
            }
            _ => Err(format!("there is no {part}")),
        }
    }

    async fn configuration(&self) -> Result<BTreeMap<String, Observation>, TestbedError> {
        Ok(self.configuration.clone())
    }

    async fn log_lines(
        &self,
        part: &Part,
        since: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<String>, TestbedError> {
        match part {
            Part::Broker(_) => Ok(self.host.log_lines(since, limit)),
            _ => Ok(Vec::new()),
        }
    }

    async fn stop(&self) -> Result<(), TestbedError> {
        let stopped = self.host.stop(STOP_WITHIN).await;
        for broker in &self.brokers {
            broker.proxy.close().await;
        }
        if let Some(store) = &self.store {
            store.gateway.close().await;
        }
        stopped
    }
}

/// Puts a proxy before each broker and has the broker tell clients its address.
async fn proxied(host: &Host, watched: &Watched) -> Result<Vec<Broker>, TestbedError> {
    let mut brokers = Vec::new();
    for (number, port) in (1..).zip(host.ports.iter().copied()) {
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let name = format!("broker-{number}");
        let proxy = Proxy::bind_watched(name, upstream, Some(watched.clone()))
            .await
            .map_err(|error| TestbedError::request("binding a proxy", error))?;
        let listener = proxy.local_addr();
        host.ask(What::Advertise {
            broker: number,
            host: listener.ip().to_string(),
            port: listener.port(),
        })
        .await?;
        let wanted = std::sync::Mutex::new(Wanted { link: Link::Pass, paused: false });
        brokers.push(Broker { number, port, proxy, wanted });
    }
    Ok(brokers)
}

async fn start_store(buckets: &[String]) -> Result<Option<Store>, TestbedError> {
    let Some(bucket) = buckets.first().cloned() else { return Ok(None) };
    let memory = Memory::default();
    for bucket in buckets {
        memory
            .create_bucket(bucket)
            .await
            .map_err(|error| TestbedError::request("creating a bucket", error))?;
    }
    let gateway = Gateway::start(Arc::new(memory))
        .await
        .map_err(|error| TestbedError::request("starting the store's gateway", error))?;
    Ok(Some(Store { gateway, bucket }))
}

fn observation<const N: usize>(facts: [(&str, String); N]) -> Observation {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn unsupported(part: &Part, act: &str) -> TestbedError {
    TestbedError::Unsupported { part: part.to_string(), act: act.to_owned(), testbed: KIND }
}
