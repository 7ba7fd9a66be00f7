//! A cluster and a store that somebody else runs: they are looked at, and nothing is ever done to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::gateway::observer::{JsonApi, ObserverStore};
use super::{Act, Observation, Part, StoreAccess, Testbed, TestbedError};
use crate::observer::Brokers;

/// The name in histories: nobody planned what happens there.
const KIND: &str = "foreign";

/// Parts that are only looked at.
pub struct Elsewhere {
    brokers: Brokers,
    store: Option<Arc<dyn ObserverStore>>,
}

impl Elsewhere {
    /// Nothing is connected before the first look.
    ///
    /// # Errors
    /// When no client for the store can be made.
    pub fn new(brokers: Brokers, store_url: Option<&str>) -> Result<Self, TestbedError> {
        let store = match store_url {
            Some(url) => {
                let api = JsonApi::new(url)
                    .map_err(|error| TestbedError::request("make a client for the store", error))?;
                Some(Arc::new(api) as Arc<dyn ObserverStore>)
            }
            None => None,
        };
        Ok(Self { brokers, store })
    }

    fn never(part: &Part, act: &str) -> TestbedError {
        TestbedError::Unsupported { part: part.to_string(), act: act.to_owned(), testbed: KIND }
    }
}

#[async_trait]
impl Testbed for Elsewhere {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn components(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn bootstrap_servers(&self) -> String {
        self.brokers.servers.clone()
    }

    fn observer_bootstrap_servers(&self) -> String {
        self.brokers.servers.clone()
    }

    fn observer_brokers(&self) -> Brokers {
        self.brokers.clone()
    }

    fn store(&self) -> Option<StoreAccess> {
        None
    }

    fn observer_store(&self) -> Option<Arc<dyn ObserverStore>> {
        self.store.clone()
    }

    fn keeps_record_of_groups(&self) -> bool {
        true
    }

    async fn act(&self, part: &Part, _: Act) -> Result<(), TestbedError> {
        Err(Self::never(part, "do anything"))
    }

    async fn observe(&self, part: &Part) -> Result<Observation, TestbedError> {
        Err(Self::never(part, "show itself"))
    }

    async fn probe(&self, part: &Part, _: Duration) -> Result<String, String> {
        Err(format!("{part} is not probed"))
    }

    async fn configuration(&self) -> Result<BTreeMap<String, Observation>, TestbedError> {
        Ok(BTreeMap::new())
    }

    async fn log_lines(
        &self,
        _: &Part,
        _: chrono::DateTime<chrono::Utc>,
        _: usize,
    ) -> Result<Vec<String>, TestbedError> {
        Ok(Vec::new())
    }

    async fn stop(&self) -> Result<(), TestbedError> {
        Ok(())
    }
}
