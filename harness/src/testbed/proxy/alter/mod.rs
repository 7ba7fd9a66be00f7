//! Answers that are not those of the part: a request is answered with an error that the part never told, or
//! not at all.
//!
//! [`Rules`] are shared by the proxies of a testbed. A rule chooses requests by API, client and partition,
//! and says what becomes of them. The part either handles the request and its answer is altered, or it never
//! sees the request. Answers keep their order on a connection: one that is made here waits for those that
//! the part owes for earlier requests.
//!
//! Only frames that a rule may choose are held until they are whole; all others pass byte for byte. A frame
//! that is larger than [`FRAME_BYTES_MAX`], of a version that is not known, or that does not come out as it
//! went in when it is decoded and encoded again, is not touched, and the rule says so ([`Tally::spared`]).
//!
//! Left out: clients that encrypt. The crate that decodes reserves as much memory as a message claims, so
//! frames are decoded only if a rule chose their client, which is a part of the run and no stranger.

mod addresses;
mod answers;
mod connection;
mod cutter;
pub mod errors;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_protocol::messages::ApiKey;
use tokio::sync::watch;

pub use self::addresses::Addresses;
pub(super) use self::connection::{Altering, Piece};
use super::wire::OWN_CLIENTS;
use streamlake_history::event::AlteredAnswer;

/// A frame that is larger is not altered.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Different answers that are told apart; more are counted with the first of them.
const ROWS_MAX: usize = 1_000;

/// An API whose answers can be altered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Api(ApiKey);

impl Api {
    /// By Kafka's name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|api| api.name() == name)
    }

    /// Every API.
    pub fn all() -> impl Iterator<Item = Self> {
        answers::TABLE.iter().map(|row| Self(row.key))
    }

    /// As Kafka calls it.
    #[must_use]
    pub fn name(self) -> String {
        format!("{:?}", self.0)
    }

    /// Its requests name partitions.
    #[must_use]
    pub fn names_partitions(self) -> bool {
        self.row().is_some_and(|row| row.names_partitions)
    }

    /// An answer can be made without the part.
    #[must_use]
    pub fn can_be_made(self) -> bool {
        self.row().is_some_and(|row| row.made.is_some())
    }

    /// Success can be told without the part, and harms nobody who may not believe a broker.
    #[must_use]
    pub fn can_be_granted(self) -> bool {
        matches!(self.0, ApiKey::OffsetCommit | ApiKey::Heartbeat | ApiKey::LeaveGroup)
    }

    fn row(self) -> Option<&'static answers::Row> {
        answers::row(self.0 as i16)
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Whose requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// Everybody's but the harness's own.
    Any,
    /// Of the client with this id.
    Named(String),
}

impl Client {
    fn is(&self, id: &str) -> bool {
        match self {
            Self::Any => !id.starts_with(OWN_CLIENTS),
            Self::Named(name) => name == id,
        }
    }
}

/// What the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// An answer with this error, and so much time to wait.
    Error {
        /// Kafka's number.
        error: i16,
        /// Milliseconds that the broker asks the client to wait.
        throttle_ms: i32,
    },
    /// Nothing; its connection stays open and silent until the rule is taken back, and is reset then.
    Nothing,
    /// A part of the answer; then its connection is closed.
    Half,
}

/// Which requests, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The API.
    pub api: Api,
    /// Whose.
    pub client: Client,
    /// Only those that name this partition of any topic, and only what is said of it.
    pub partition: Option<i32>,
    /// From which of them on, from 1.
    pub nth: u64,
    /// So many of them.
    pub times: u64,
    /// What the client gets.
    pub reply: Reply,
    /// The part handles the request.
    pub applied: bool,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.api.name())?;
        match self.reply {
            Reply::Error { error, throttle_ms } => {
                write!(f, "answered {}", errors::in_words(error))?;
                if throttle_ms > 0 {
                    write!(f, " with a throttle of {throttle_ms} ms")?;
                }
            }
            Reply::Nothing => f.write_str("not answered")?,
            Reply::Half => f.write_str("cut in the middle of its answer")?,
        }
        f.write_str(if self.applied { ", carried out" } else { ", not carried out" })
    }
}

/// What became of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that the rule describes.
    pub met: u64,
    /// Requests whose answers were altered, or that got none.
    pub altered: u64,
    /// The answers, told apart.
    pub answers: Vec<AlteredAnswer>,
    /// Why requests that the rule describes were not touched, and how many.
    pub spared: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    taken: u64,
    met: u64,
    altered: u64,
    answers: BTreeMap<AlteredAnswer, u64>,
    spared: BTreeMap<String, u64>,
}

impl Armed {
    fn tally(&self) -> Tally {
        let answers = self.answers.iter();
        let answers =
            answers.map(|(answer, count)| AlteredAnswer { count: *count, ..answer.clone() });
        Tally {
            met: self.met,
            altered: self.altered,
            answers: answers.collect(),
            spared: self.spared.clone(),
        }
    }
}

/// The rules that the proxies of a testbed obey; none at first.
#[derive(Debug, Clone)]
pub struct Rules {
    shared: Arc<Shared>,
    /// Where clients are told that brokers are.
    pub addresses: Addresses,
}

#[derive(Debug)]
struct Shared {
    armed: Mutex<BTreeMap<u64, Armed>>,
    /// Some rule is there: looked at before every frame.
    any: AtomicBool,
    /// Rises when a rule is taken back.
    taken_back: watch::Sender<u64>,
    /// Rises with every answer that was altered.
    altered: watch::Sender<u64>,
}

impl Default for Rules {
    fn default() -> Self {
        let shared = Shared {
            armed: Mutex::default(),
            any: AtomicBool::new(false),
            taken_back: watch::Sender::new(0),
            altered: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared), addresses: Addresses::default() }
    }
}

impl Rules {
    /// From now on this rule is obeyed. Returns its number.
    #[must_use]
    pub fn arm(&self, rule: Rule) -> u64 {
        let mut armed = self.armed();
        let id = armed.last_key_value().map_or(0, |(id, _)| id + 1);
        let (answers, spared) = (BTreeMap::new(), BTreeMap::new());
        armed.insert(id, Armed { rule, taken: 0, met: 0, altered: 0, answers, spared });
        self.shared.any.store(true, Ordering::Release);
        id
    }

    /// Takes a rule back. Connections that it left without an answer are reset.
    pub fn disarm(&self, id: u64) -> Tally {
        let mut armed = self.armed();
        let tally = armed.remove(&id).map(|armed| armed.tally()).unwrap_or_default();
        self.shared.any.store(!armed.is_empty(), Ordering::Release);
        drop(armed);
        self.shared.taken_back.send_modify(|number| *number += 1);
        tally
    }

    /// What became of a rule by now.
    #[must_use]
    pub fn tally(&self, id: u64) -> Tally {
        self.armed().get(&id).map(Armed::tally).unwrap_or_default()
    }

    /// Waits until an answer was altered by a rule.
    pub async fn altered(&self, id: u64) {
        let mut altered = self.shared.altered.subscribe();
        // The sender lives in `self`.
        let _ = altered.wait_for(|_| self.tally(id).altered > 0).await;
    }

    fn armed(&self) -> MutexGuard<'_, BTreeMap<u64, Armed>> {
        self.shared.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn any(&self) -> bool {
        self.shared.any.load(Ordering::Acquire) || self.addresses.any()
    }

    fn taken_back(&self) -> watch::Receiver<u64> {
        self.shared.taken_back.subscribe()
    }

    /// Some rule is about this API, or its answers tell addresses.
    fn about(&self, key: i16) -> bool {
        self.addresses.are_told_by(key)
            || self.any() && self.armed().values().any(|armed| armed.rule.api.0 as i16 == key)
    }

    fn is_armed(&self, id: u64) -> bool {
        self.armed().contains_key(&id)
    }

    /// The rule that takes this request, if one does: of several the oldest.
    fn choose(&self, asked: &answers::Asked) -> Option<(u64, Rule)> {
        let mut all = self.armed();
        for (id, armed) in all.iter_mut() {
            let rule = &armed.rule;
            if rule.api.0 as i16 != asked.key || !rule.client.is(&asked.client) {
                continue;
            }
            match asked.concerns(rule.partition) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(spared) => {
                    *armed.spared.entry(spared).or_default() += 1;
                    continue;
                }
            }
            armed.met += 1;
            if armed.met >= rule.nth && armed.taken < rule.times {
                armed.taken += 1;
                return Some((*id, rule.clone()));
            }
        }
        None
    }

    /// A request that a rule took was not touched.
    fn spare(&self, id: u64, why: String) {
        if let Some(armed) = self.armed().get_mut(&id) {
            armed.taken = armed.taken.saturating_sub(1);
            *armed.spared.entry(why).or_default() += 1;
        }
    }

    /// A frame that some rule may have chosen could not be held.
    fn spare_all(&self, key: i16, why: &str) {
        for armed in self.armed().values_mut().filter(|armed| armed.rule.api.0 as i16 == key) {
            *armed.spared.entry(why.to_owned()).or_default() += 1;
        }
    }

    /// One request was answered otherwise, in these ways.
    fn count(&self, id: u64, answers: Vec<AlteredAnswer>) {
        if let Some(armed) = self.armed().get_mut(&id) {
            armed.altered += 1;
            for answer in answers {
                let full = armed.answers.len() >= ROWS_MAX && !armed.answers.contains_key(&answer);
                let first = armed.answers.first_key_value().map(|(first, _)| first.clone());
                let row = if full { first.unwrap_or(answer) } else { answer };
                *armed.answers.entry(row).or_default() += 1;
            }
        }
        self.shared.altered.send_modify(|number| *number += 1);
    }
}

#[cfg(test)]
mod tests;
