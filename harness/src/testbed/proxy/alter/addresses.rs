//! Where clients are to find the brokers of a cluster that advertises addresses of its own: the proxies
//! before them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kafka_protocol::messages::ApiKey;

/// Answers that tell where brokers are.
const TELLING: [ApiKey; 3] = [ApiKey::Metadata, ApiKey::FindCoordinator, ApiKey::DescribeCluster];

/// The proxies by the ids of the brokers behind them; shared by all of them. None, where brokers advertise
/// their proxies themselves.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    proxies: Arc<RwLock<BTreeMap<i32, SocketAddr>>>,
    /// Answers that could not be understood: clients were told the brokers' own addresses.
    untouched: Arc<AtomicU64>,
}

impl Addresses {
    /// From now on clients are told these.
    pub fn set(&self, proxies: BTreeMap<i32, SocketAddr>) {
        *self.proxies.write().unwrap_or_else(PoisonError::into_inner) = proxies;
    }

    /// How many answers told the brokers' own addresses, because they were not understood.
    #[must_use]
    pub fn untouched(&self) -> u64 {
        self.untouched.load(Ordering::Relaxed)
    }

    /// The proxy before a broker.
    pub(super) fn of(&self, broker: i32) -> Option<SocketAddr> {
        self.proxies.read().unwrap_or_else(PoisonError::into_inner).get(&broker).copied()
    }

    /// Some answers are to be others.
    pub(super) fn any(&self) -> bool {
        !self.proxies.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Answers of this API are among them.
    pub(super) fn are_told_by(&self, key: i16) -> bool {
        TELLING.iter().any(|telling| *telling as i16 == key) && self.any()
    }

    pub(super) fn count_untouched(&self) {
        self.untouched.fetch_add(1, Ordering::Relaxed);
    }
}
