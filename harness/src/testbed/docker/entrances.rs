//! The ways in to the parts: a proxy for clients and one for observers before each, and the gateway
//! before the store.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;

use super::container::NOWHERE;
use super::{change_data_capture as cdc, store};
use crate::testbed::gateway::Gateway;
use crate::testbed::gateway::backend::clock;
use crate::testbed::gateway::fake_gcs::FakeGcs;
use crate::testbed::probe::{kafka_api_versions, store_listing};
use crate::testbed::proxy::alter::Rules;
use crate::testbed::proxy::wire::{Seen, Tap};
use crate::testbed::proxy::{Proxy, Watched};
use crate::testbed::{ClockReading, Observation, Part, TestbedError, Topology};

/// The ways in to the parts.
pub(super) struct Entrances {
    /// For the system under test; faults cut these.
    pub(super) clients: BTreeMap<Part, Arc<Proxy>>,
    /// For the harness; these always pass.
    pub(super) observers: BTreeMap<Part, Arc<Proxy>>,
    /// Between the store and its clients.
    pub(super) gateway: Option<Gateway>,
    /// Between the gateway and the store's container.
    pub(super) store_server: Option<Arc<Proxy>>,
    buckets: Vec<String>,
    /// What passes between clients and brokers, until somebody listens.
    pub(super) passing: Mutex<Option<UnboundedReceiver<Seen>>>,
    /// Which answers of the brokers are others.
    pub(super) rules: Rules,
    pub(super) http: reqwest::Client,
}

impl Entrances {
    /// Binds a proxy for each way in. Nothing stands behind them yet.
    pub(super) async fn bind(topology: &Topology) -> Result<Self, TestbedError> {
        let http = reqwest::Client::builder().no_proxy().build();
        let http = http.map_err(|error| TestbedError::request("make an HTTP client", error))?;
        let (tap, passing) = Tap::new();
        let rules = Rules::default();
        let watched = Watched { tap, rules: rules.clone() };
        let mut entrances = Self {
            clients: BTreeMap::new(),
            observers: BTreeMap::new(),
            gateway: None,
            store_server: None,
            buckets: topology.buckets.clone(),
            passing: Mutex::new(Some(passing)),
            rules,
            http,
        };
        let mut both: Vec<Part> = (1..=topology.brokers).map(Part::Broker).collect();
        both.extend(topology.database.then_some(Part::Database));
        both.extend(topology.change_data_capture.then_some(Part::Connect));
        if !topology.buckets.is_empty() {
            entrances.bind_store().await?;
        }
        for part in both {
            let looked_at = matches!(part, Part::Broker(_)).then(|| watched.clone());
            let clients = proxy(format!("clients of {part}"), NOWHERE, looked_at).await?;
            let observers = proxy(format!("observers of {part}"), NOWHERE, None).await?;
            entrances.clients.insert(part.clone(), clients);
            entrances.observers.insert(part, observers);
        }
        Ok(entrances)
    }

    /// Clients reach the store through a link and the gateway. Behind the gateway stands another
    /// proxy: the store's own port changes on every restart, the gateway's upstream does not.
    async fn bind_store(&mut self) -> Result<(), TestbedError> {
        let server = proxy("store".to_owned(), NOWHERE, None).await?;
        let backend = FakeGcs::new(url(&server))
            .map_err(|error| TestbedError::request("make the store's gateway", error))?;
        let gateway = Gateway::start(Arc::new(backend))
            .await
            .map_err(|error| TestbedError::request("start the store's gateway", error))?;
        let address = address_of(&gateway.client_url())?;
        let clients = proxy("clients of store".to_owned(), address, None);
        self.clients.insert(Part::Store, clients.await?);
        self.store_server = Some(server);
        self.gateway = Some(gateway);
        Ok(())
    }

    /// Addresses of the brokers for observers.
    pub(super) fn observer_bootstrap_servers(&self) -> String {
        bootstrap_servers(&self.observers)
    }

    /// Asks a part something in its own protocol, on the way that clients take.
    pub(super) async fn probe(&self, part: &Part, within: Duration) -> Result<String, String> {
        let clients = self.clients.get(part).ok_or_else(|| format!("there is no {part}"))?;
        match self.buckets.first() {
            // As clients list it; the gateway is on the way.
            Some(bucket) if *part == Part::Store => {
                store_listing(&url(clients), bucket, within).await
            }
            _ => self.ask(part, clients, within).await,
        }
    }

    /// The same past all links and faults.
    pub(super) async fn observe_service(
        &self,
        part: &Part,
        within: Duration,
    ) -> Result<String, String> {
        let way = match part {
            Part::Store => self.store_server.as_ref(),
            part => self.observers.get(part),
        };
        self.ask(part, way.ok_or_else(|| format!("there is no {part}"))?, within).await
    }

    async fn ask(&self, part: &Part, way: &Proxy, within: Duration) -> Result<String, String> {
        match part {
            Part::Broker(_) => kafka_api_versions(way.local_addr(), within).await,
            Part::Store => store::list_buckets(&self.http, &url(way), within).await,
            Part::Database => cdc::probe_database(way.local_addr(), within).await,
            Part::Connect => cdc::probe_connect(&self.http, &url(way), within).await,
        }
    }

    /// Has the store stamp an object, past the gateway's faults.
    pub(super) async fn store_clock(&self) -> Result<ClockReading, String> {
        match (&self.gateway, self.buckets.first()) {
            (Some(gateway), Some(bucket)) => clock(gateway.backend().as_ref(), bucket, 1000).await,
            _ => Err("there is no store".to_owned()),
        }
    }

    /// What the way to a part lets through, as it was last set and as it was met since.
    pub(super) fn observe(&self, part: &Part) -> Observation {
        let mut seen = self.clients.get(part).map(|proxy| proxy.observation()).unwrap_or_default();
        if let (Part::Store, Some(gateway)) = (part, &self.gateway) {
            seen.extend(gateway.observation());
        }
        seen
    }

    /// Closes every way in.
    pub(super) async fn close(&self) {
        let proxies =
            self.clients.values().chain(self.observers.values()).chain(&self.store_server);
        join_all(proxies.map(|proxy| proxy.close())).await;
        if let Some(gateway) = &self.gateway {
            gateway.close().await;
        }
    }
}

/// Addresses of the brokers among these.
pub(super) fn bootstrap_servers(proxies: &BTreeMap<Part, Arc<Proxy>>) -> String {
    let brokers = proxies.iter().filter(|(part, _)| matches!(part, Part::Broker(_)));
    brokers.map(|(_, proxy)| proxy.local_addr().to_string()).collect::<Vec<_>>().join(",")
}

async fn proxy(
    name: String,
    upstream: SocketAddr,
    watched: Option<Watched>,
) -> Result<Arc<Proxy>, TestbedError> {
    let bound = Proxy::bind_watched(name.clone(), upstream, watched).await;
    bound.map(Arc::new).map_err(|error| TestbedError::request(format!("bind {name}"), error))
}

/// The address in a URL without a path.
fn address_of(url: &str) -> Result<SocketAddr, TestbedError> {
    url.trim_start_matches("http://").parse().map_err(|error| TestbedError::request(url, error))
}

/// Address of an HTTP server behind a proxy.
pub(super) fn url(proxy: &Proxy) -> String {
    format!("http://{}", proxy.local_addr())
}
