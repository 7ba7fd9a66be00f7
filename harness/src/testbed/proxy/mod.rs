//! A TCP proxy in front of one part, whose link can be made slow, silent, one-way or refused.
//!
//! Clients are given the proxy's address and keep it for the proxy's lifetime; where the traffic
//! goes to can be changed ([`Proxy::set_upstream`]), because some engines map a new port on every
//! restart. What the link did to whom is counted, so that a fault can be shown to have bitten.
//!
//! Limits: the TCP handshake with a client always succeeds, also while the part is away (the proxy
//! accepts, sees that the part refuses, and resets at once). A [`Link::BlackHole`] stalls bytes
//! above TCP: the kernel still acknowledges what fits into its buffers, which a real partition
//! would not do; nothing is lost in either case and everything flows on after the heal.

pub mod alter;
mod pump;
pub mod wire;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Observation;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};

/// A part that does not even refuse is given up after this time, and its client is reset.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Pause after a failed accept.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What passes between the clients and a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Everything, at once.
    Pass,
    /// Nothing: open connections are reset and new ones are closed at once.
    Refuse,
    /// Nothing, in silence: connections stay open, new ones are accepted, no byte goes either way.
    BlackHole,
    /// Requests pass, answers are swallowed (and never delivered: when the link passes again, the
    /// connections that lost answers are reset).
    SwallowAnswers,
    /// Everything, each direction delayed by this time.
    Delay(Duration),
    /// Open connections are reset once; then everything passes.
    ResetOnce,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Refuse => f.write_str("refuse"),
            Self::BlackHole => f.write_str("black hole"),
            Self::SwallowAnswers => f.write_str("swallow answers"),
            Self::Delay(by) => write!(f, "delay {by:?}"),
            Self::ResetOnce => f.write_str("pass, after one reset"),
        }
    }
}

/// What a link let through and what it withheld, since it was last changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were open when the link was changed.
    pub open_at_change: u64,
    /// New connections that reached the part.
    pub connected: u64,
    /// New connections that the link closed at once ([`Link::Refuse`]).
    pub refused: u64,
    /// New connections that the part itself did not take; closed at once.
    pub refused_by_part: u64,
    /// New connections accepted into a [`Link::BlackHole`], not passed on while it lasted.
    pub held: u64,
    /// Open connections on which somebody sent something into a [`Link::BlackHole`].
    pub stalled: u64,
    /// Open connections that the link reset.
    pub reset: u64,
    /// Bytes from clients to the part.
    pub bytes_to_part: u64,
    /// Bytes from the part to clients.
    pub bytes_to_clients: u64,
    /// Bytes from the part that were swallowed ([`Link::SwallowAnswers`]).
    pub bytes_swallowed: u64,
}

/// The same figures, as they are counted. `Relaxed` throughout: they are figures for a report and
/// order nothing.
#[derive(Debug, Default)]
struct Tally {
    open_at_change: AtomicU64,
    connected: AtomicU64,
    refused: AtomicU64,
    refused_by_part: AtomicU64,
    held: AtomicU64,
    stalled: AtomicU64,
    reset: AtomicU64,
    bytes_to_part: AtomicU64,
    bytes_to_clients: AtomicU64,
    bytes_swallowed: AtomicU64,
}

impl Tally {
    /// Reads every figure with `read`, which may leave zero behind.
    fn collect(&self, read: impl Fn(&AtomicU64) -> u64) -> Counters {
        Counters {
            open_at_change: read(&self.open_at_change),
            connected: read(&self.connected),
            refused: read(&self.refused),
            refused_by_part: read(&self.refused_by_part),
            held: read(&self.held),
            stalled: read(&self.stalled),
            reset: read(&self.reset),
            bytes_to_part: read(&self.bytes_to_part),
            bytes_to_clients: read(&self.bytes_to_clients),
            bytes_swallowed: read(&self.bytes_swallowed),
        }
    }
}

fn count(figure: &AtomicU64, by: u64) {
    figure.fetch_add(by, Ordering::Relaxed);
}

/// What every connection watches.
#[derive(Debug, Clone, Copy)]
struct State {
    link: Link,
    upstream: SocketAddr,
    /// Rises with every change that resets open connections, so that a connection notices one even
    /// if the link passes again before it looked.
    resets: u64,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    name: Arc<str>,
    state: watch::Sender<State>,
    tally: Tally,
    open: AtomicU64,
    /// How what passes is looked at, if it is.
    watched: Option<Watched>,
}

/// How what passes between clients and brokers is looked at.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Where it is told.
    pub tap: wire::Tap,
    /// Which answers are to be others.
    pub rules: alter::Rules,
}

/// A running proxy. Dropping it closes it.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    local: SocketAddr,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// Listens on a free loopback port and passes connections on to `upstream`, which need not be
    /// up yet. `name` appears in log lines.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn bind(name: impl Into<Arc<str>>, upstream: SocketAddr) -> io::Result<Self> {
        Self::bind_watched(name, upstream, None).await
    }

    /// The same before a broker, with a look at what group members say to it and a hand on what it answers.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn bind_watched(
        name: impl Into<Arc<str>>,
        upstream: SocketAddr,
        watched: Option<Watched>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let local = listener.local_addr()?;
        let state = State { link: Link::Pass, upstream, resets: 0, closed: false };
        let shared = Arc::new(Shared {
            name: name.into(),
            state: watch::Sender::new(state),
            tally: Tally::default(),
            open: AtomicU64::new(0),
            watched,
        });
        let accepting = tokio::spawn(accept(Arc::clone(&shared), listener));
        Ok(Self { shared, local, accepting: Mutex::new(Some(accepting)) })
    }

    /// Where clients connect; stable for the proxy's lifetime.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The name given to [`Proxy::bind`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The link as it was last set.
    #[must_use]
    pub fn link(&self) -> Link {
        self.shared.state.borrow().link
    }

    /// Where new connections are passed on to.
    #[must_use]
    pub fn upstream(&self) -> SocketAddr {
        self.shared.state.borrow().upstream
    }

    /// Changes the link for open and new connections. Returns what the link did until now, and
    /// counts from zero.
    pub fn set_link(&self, link: Link) -> Counters {
        let mut until_now = Counters::default();
        // The figures are taken inside the change, so that none of them is counted twice.
        self.shared.state.send_modify(|state| {
            until_now = self.shared.tally.collect(|figure| figure.swap(0, Ordering::Relaxed));
            count(&self.shared.tally.open_at_change, self.shared.open.load(Ordering::Relaxed));
            state.link = link;
            if matches!(link, Link::Refuse | Link::ResetOnce) {
                state.resets += 1;
            }
        });
        tracing::debug!(proxy = &*self.shared.name, %link, "link changed");
        until_now
    }

    /// Passes new connections on to another address, for a part that came back on another port.
    /// Open connections stay where they are.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.shared.state.send_modify(|state| state.upstream = upstream);
    }

    /// What the link did since it was last changed.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.tally.collect(|figure| figure.load(Ordering::Relaxed))
    }

    /// Connections open right now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// The link as it was last set, and what it was met by since, as it is seen from outside.
    #[must_use]
    pub fn observation(&self) -> Observation {
        let met = self.counters();
        let seen = [
            ("link", self.link().to_string()),
            ("link_open", self.open().to_string()),
            ("link_open_at_change", met.open_at_change.to_string()),
            ("link_connected", met.connected.to_string()),
            ("link_refused", met.refused.to_string()),
            ("link_refused_by_part", met.refused_by_part.to_string()),
            ("link_held", met.held.to_string()),
            ("link_stalled", met.stalled.to_string()),
            ("link_reset", met.reset.to_string()),
            ("link_bytes_to_part", met.bytes_to_part.to_string()),
            ("link_bytes_to_clients", met.bytes_to_clients.to_string()),
            ("link_bytes_swallowed", met.bytes_swallowed.to_string()),
        ];
        seen.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Resets every connection, stops listening, and returns once both are done.
    pub async fn close(&self) {
        self.shared.state.send_modify(|state| state.closed = true);
        if let Some(accepting) = self.accepting.lock().await.take() {
            // An error would be a panic of the task, which has been reported by then.
            let _ = accepting.await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state.send_modify(|state| state.closed = true);
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut state = shared.state.subscribe();
    let mut connections = JoinSet::new();
    while !state.borrow_and_update().closed {
        tokio::select! {
            biased;
            // The sender lives in `shared`, so this cannot fail.
            _ = state.changed() => {}
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(serve(Arc::clone(&shared), client));
                }
                Err(error) => {
                    // Mostly out of file descriptors, and nothing says when there are some again.
                    tracing::warn!(proxy = &*shared.name, %error, "accept failed");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection of a client, from its acceptance to its end.
async fn serve(shared: Arc<Shared>, client: TcpStream) {
    let mut state = shared.state.subscribe();
    let Some(upstream) = connect(&shared, &mut state).await else {
        reset(&client);
        return;
    };
    count(&shared.tally.connected, 1);
    shared.open.fetch_add(1, Ordering::Relaxed);
    for stream in [&client, &upstream] {
        // Fails only on a socket that is gone already, which the pump will notice.
        let _ = stream.set_nodelay(true);
    }
    let ended = pump::both_ways(&shared, state, client, upstream).await;
    shared.open.fetch_sub(1, Ordering::Relaxed);
    if ended == pump::Ended::ByLink {
        count(&shared.tally.reset, 1);
    }
}

/// Connects to the part as soon as the link lets it. `None` when the client is to be reset.
async fn connect(shared: &Shared, state: &mut watch::Receiver<State>) -> Option<TcpStream> {
    let first = *state.borrow_and_update();
    if first.link == Link::BlackHole {
        count(&shared.tally.held, 1);
    }
    loop {
        let now = *state.borrow_and_update();
        if now.closed {
            return None;
        }
        if now.link == Link::Refuse || now.resets != first.resets {
            count(&shared.tally.refused, 1);
            return None;
        }
        tokio::select! {
            biased;
            // The sender lives in `shared`, so this cannot fail.
            _ = state.changed() => {}
            connected = reach(now.upstream), if now.link != Link::BlackHole => match connected {
                Ok(upstream) => return Some(upstream),
                Err(error) => {
                    tracing::debug!(proxy = &*shared.name, %error, "the part took no connection");
                    count(&shared.tally.refused_by_part, 1);
                    return None;
                }
            },
        }
    }
}

async fn reach(upstream: SocketAddr) -> io::Result<TcpStream> {
    match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(upstream)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Makes the coming close of the socket a reset (RST) instead of an orderly end (FIN).
fn reset(stream: &TcpStream) {
    // Fails only on a socket that is gone already.
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests;
