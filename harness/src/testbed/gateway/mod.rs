//! An HTTP gateway in front of the object store: speaks the XML API that production clients speak,
//! and is the place where store faults are injected.
//!
//! Why it exists: `object_store` writes through the XML API with `x-goog-if-generation-match`, which
//! fake-gcs-server does not take. The gateway turns such a write into the emulator's JSON upload
//! with the same precondition ([`fake_gcs::FakeGcs`]), or keeps the objects itself
//! ([`memory::Memory`]), so that the system under test runs its production path unchanged.
//!
//! It listens twice: where faults are injected, for clients, and where they never are, for the
//! harness's own look ([`observer::ObserverStore`]). Every write that reached the store is kept in
//! a bounded [`journal`].
//!
//! Limits: an object is held in memory while it passes (at most [`BODY_BYTES_MAX`]), and a range is
//! cut out of the whole object here. No signatures, access control, versioning or JSON uploads of
//! the gateway's own (on `FakeGcs` the JSON API passes to the emulator as it came).

pub mod backend;
mod connection;
pub mod fake_gcs;
pub mod journal;
mod json;
pub mod memory;
mod meter;
mod multipart;
mod object;
pub mod observer;
mod upload;
mod xml;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, Response, StatusCode};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use self::backend::Backend;
use self::connection::{Peer, Resettable};
use self::journal::{Journal, JournalView};
use self::meter::Meter;
pub use self::meter::{HARNESS_MARK, Hits};
use super::{Observation, StoreAccess};

/// The largest body that is taken; larger ones are answered with 413.
pub const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Open connections get this long to finish when the gateway closes.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How the object store answers clients.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreFault {
    /// As the store itself does.
    None,
    /// This HTTP status (429, 500, 503) to every request, without passing it on.
    Status(u16),
    /// No answer at all; the request is not passed on. When the fault ends, connections that were
    /// left without an answer are reset.
    Hang,
    /// No answer at all, not even when the fault ends: a connection that somebody on the way has forgotten. The
    /// request is not passed on.
    Swallow,
    /// Each request is passed on after this delay.
    Delay(Duration),
    /// Connections are reset before the request is passed on.
    ResetBefore,
    /// One write in so many (at least 2) is answered with 503, without passing it on.
    Flaky(u64),
    /// Writes are passed on and done, then the connection is reset instead of the answer.
    ResetAfter,
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Hang => f.write_str("hang"),
            Self::Swallow => f.write_str("hang for ever"),
            Self::Delay(by) => write!(f, "delay {by:?}"),
            Self::Flaky(every) => write!(f, "status 503 to one write in {every}"),
            Self::ResetBefore => f.write_str("reset before the store"),
            Self::ResetAfter => f.write_str("reset after the write"),
        }
    }
}

struct Shared {
    backend: Arc<dyn Backend>,
    uploads: multipart::Uploads,
    journal: Journal,
    fault: watch::Sender<StoreFault>,
    meter: Meter,
    /// Writes that a flaky store has counted.
    writes: AtomicU64,
}

/// A running gateway. [`Gateway::close`] it; dropping it stops accepting.
pub struct Gateway {
    shared: Arc<Shared>,
    client_address: SocketAddr,
    observer_address: SocketAddr,
    closing: watch::Sender<bool>,
    servers: Mutex<Vec<JoinHandle<io::Result<()>>>>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("client_address", &self.client_address)
            .field("observer_address", &self.observer_address)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Listens on two free loopback ports, before `backend`.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start(backend: Arc<dyn Backend>) -> io::Result<Self> {
        Self::start_on(backend, 0).await
    }

    /// The same, with clients on this port of the loopback.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start_on(backend: Arc<dyn Backend>, port: u16) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            backend,
            uploads: multipart::Uploads::default(),
            journal: Journal::default(),
            fault: watch::Sender::new(StoreFault::None),
            meter: Meter::default(),
            writes: AtomicU64::new(0),
        });
        let closing = watch::Sender::new(false);
        let clients = Resettable::bind(port).await?;
        let observers = Resettable::bind(0).await?;
        let (client_address, observer_address) = (clients.address(), observers.address());
        let servers = vec![
            serve(clients, for_clients(Arc::clone(&shared)), closing.subscribe()),
            serve(observers, for_observers(Arc::clone(&shared)), closing.subscribe()),
        ];
        Ok(Self { shared, client_address, observer_address, closing, servers: Mutex::new(servers) })
    }

    /// Base address for clients, where faults are injected.
    #[must_use]
    pub fn client_url(&self) -> String {
        format!("http://{}", self.client_address)
    }

    /// Base address that no fault touches.
    #[must_use]
    pub fn observer_url(&self) -> String {
        format!("http://{}", self.observer_address)
    }

    /// How a system under test and the harness reach the store.
    #[must_use]
    pub fn access(&self) -> StoreAccess {
        StoreAccess {
            client_url: self.client_url(),
            observer_url: self.observer_url(),
            client_environment: client_environment(&self.client_url()),
        }
    }

    /// Changes the fault for requests that arrive from now on; hanging and delayed ones notice at
    /// once. Returns what the system under test met until now, and counts from zero.
    pub fn set_fault(&self, fault: StoreFault) -> Hits {
        tracing::debug!(%fault, "store fault changed");
        let mut until_now = Hits::default();
        self.shared.fault.send_modify(|current| {
            until_now = self.shared.meter.restart();
            *current = fault;
        });
        until_now
    }

    /// The fault as it was last set.
    #[must_use]
    pub fn fault(&self) -> StoreFault {
        self.shared.fault.borrow().clone()
    }

    /// What the system under test met since the fault was last changed.
    #[must_use]
    pub fn hits(&self) -> Hits {
        self.shared.meter.hits()
    }

    /// What clients met since the last change, as it is seen from outside.
    #[must_use]
    pub fn observation(&self) -> Observation {
        let hits = self.hits();
        let seen = [
            ("fault", self.fault().to_string()),
            ("requests_since_change", hits.requests.to_string()),
            ("requests_hit", hits.hit.to_string()),
            ("writes_hit", hits.writes_hit.to_string()),
            ("requests_of_the_harness", hits.own.to_string()),
        ];
        seen.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Every write that reached the store, as far as the bound allows.
    #[must_use]
    pub fn journal(&self) -> JournalView {
        self.shared.journal.view()
    }

    /// How many writes reached the store.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.shared.journal.writes()
    }

    /// The store behind the gateway.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.backend
    }

    /// Ends faults, answers or resets what is open, and stops listening.
    pub async fn close(&self) {
        self.set_fault(StoreFault::None);
        self.closing.send_replace(true);
        for mut server in self.servers.lock().await.drain(..) {
            if tokio::time::timeout(CLOSE_WITHIN, &mut server).await.is_err() {
                server.abort();
            }
        }
    }
}

/// Environment that makes `object_store`'s `GoogleCloudStorageBuilder::from_env` use `base_url`.
///
/// The token keeps it from asking a metadata server. A caller that passes on its own environment
/// removes `GOOGLE_SERVICE_ACCOUNT`, `GOOGLE_SERVICE_ACCOUNT_PATH`, `GOOGLE_SERVICE_ACCOUNT_KEY`,
/// `SERVICE_ACCOUNT` and `GOOGLE_PROXY_URL` from it: a credentials file named there is read, and
/// its absence is an error, although the token wins.
#[must_use]
pub fn client_environment(base_url: &str) -> BTreeMap<String, String> {
    [
        ("GOOGLE_BASE_URL", base_url),
        ("GOOGLE_BEARER_TOKEN", "harness"),
        ("GOOGLE_ALLOW_HTTP", "true"),
        ("NO_PROXY", "127.0.0.1,localhost"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn serve(
    listener: Resettable,
    router: Router,
    mut closing: watch::Receiver<bool>,
) -> JoinHandle<io::Result<()>> {
    let service = router.into_make_service_with_connect_info::<Peer>();
    tokio::spawn(async move {
        axum::serve(listener, service)
            .with_graceful_shutdown(async move {
                // An error means that the gateway was dropped, which ends the server too.
                let _ = closing.wait_for(|closing| *closing).await;
            })
            .await
    })
}

fn for_clients(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer_client).with_state(shared)
}

fn for_observers(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer_observer).with_state(shared)
}

async fn answer_observer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response<Body> {
    pass_on(&shared, &peer, request).await
}

async fn answer_client(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response<Body> {
    let mut changes = shared.fault.subscribe();
    let fault = changes.borrow_and_update().clone();
    let open = shared.meter.arrived(request.headers().contains_key(HARNESS_MARK));
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let fault = match fault {
        StoreFault::Flaky(every) => {
            // The harness's own writes take no turn: they would shift whom the fault meets.
            let counted = writes
                && open.is_some()
                && shared.writes.fetch_add(1, Ordering::Relaxed) % every == 0;
            if counted { StoreFault::Status(503) } else { StoreFault::None }
        }
        fault => fault,
    };
    let touched = !(fault == StoreFault::None || fault == StoreFault::ResetAfter && !writes);
    if let Some(open) = open.as_ref().filter(|_| touched) {
        open.hit(writes);
    }
    match fault {
        StoreFault::None | StoreFault::Flaky(_) => pass_on(&shared, &peer, request).await,
        StoreFault::Status(status) => {
            // The body is taken first: answering before it was sent makes some clients see a
            // broken connection instead of the status.
            let _ = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await;
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            xml::error(status, "InjectedFault", "injected by the harness")
        }
        StoreFault::Hang => {
            // Both an end of the fault and of the gateway end the wait.
            let _ = changes.wait_for(|fault| *fault != StoreFault::Hang).await;
            peer.reset()
        }
        StoreFault::Swallow => {
            // It ends with the client's patience, or with the gateway.
            let _ = changes.wait_for(|_| false).await;
            peer.reset()
        }
        StoreFault::Delay(by) => {
            tokio::select! {
                () = tokio::time::sleep(by) => {}
                _ = changes.changed() => {}
            }
            pass_on(&shared, &peer, request).await
        }
        StoreFault::ResetBefore => peer.reset(),
        StoreFault::ResetAfter => {
            let answer = pass_on(&shared, &peer, request).await;
            if writes { peer.reset() } else { answer }
        }
    }
}

/// Lets the store answer. A store that cannot be reached shows itself to the client as a
/// connection that breaks, which is what it would see without the gateway.
async fn pass_on(shared: &Shared, peer: &Peer, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return xml::error(StatusCode::PAYLOAD_TOO_LARGE, "EntityTooLarge", "body too large");
    };
    let answered = if json::is_json_api(head.uri.path()) {
        json::pass(shared, &head, body).await
    } else {
        xml::answer(shared, &head, body).await
    };
    answered.unwrap_or_else(|error| match error {
        backend::StoreError::Unreachable(reason) => {
            tracing::debug!(reason, "the store was not reached");
            peer.reset()
        }
        error => xml::store_error(&error),
    })
}

#[cfg(test)]
mod tests;
