//! A passive look at what group members and their coordinators say to each other.
//!
//! Every byte passes as it would without the look, at the same moment; what cannot be followed is
//! told ([`What::Unread`], [`What::Lost`]) and never held up. Only the small requests of groups are
//! kept and read; all others are counted past by their length.
//!
//! Requests are stamped when the proxy read their last byte: no earlier than the client sent them.
//! Commits are told as soon as the proxy has read the coordinator's answer, whether or not the link
//! lets it through to the client: the coordinator holds them by then. Positions and membership are told when
//! the last byte of the answer was passed on: an answer that was swallowed told the client nothing.
//!
//! Where an answer is altered on its way (`alter`), commits are told as the coordinator answered them, and
//! everything else as the client was told.
//!
//! Left out: clients that encrypt or authenticate, and commits inside transactions; both are told as
//! not followed. Clients of the harness itself, known by the beginning of their client id, are left
//! out in silence.

mod fields;
mod frames;
mod messages;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;

use self::frames::{Frames, Step};
use self::messages::{ANSWER_HEAD_BYTES, Answer, Api, HEAD_BYTES, Head, Request, Topic};

pub use self::messages::Place;

/// Client ids of the harness's own clients begin with this.
pub const OWN_CLIENTS: &str = "streamlake-harness";
/// A member that gives its epoch as this leaves its group (or, below it, is away for a while).
const LEAVES: i32 = -1;
const NONE: i16 = 0;
/// A first join is answered with the id to come back with: no refusal.
const MEMBER_ID_REQUIRED: i16 = 79;

/// Something that was seen to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The proxy's name.
    pub link: Arc<str>,
    /// Client id of the request; empty where there was none.
    pub client: String,
    /// Group id; empty where none is known.
    pub group: String,
    /// When the request was read.
    pub asked: Instant,
    /// When the answer was read; none while there was none.
    pub answered: Option<Instant>,
    /// What it was.
    pub what: What,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A client was told where the group stands: none where nothing is committed.
    Positions(Vec<(Place, Option<u64>)>),
    /// The coordinator took, or refused (by an error), or did not answer a commit.
    Commits {
        /// The coordinator's name for the member; empty for a client that is none.
        id: String,
        /// Generation, or epoch of the member; −1 for a client that is no member.
        generation: i32,
        /// Next offsets to read.
        offsets: Vec<(Place, u64)>,
        /// What came of it.
        outcome: Outcome,
    },
    /// A member joined a generation.
    Joined {
        /// The coordinator's name for the member.
        id: String,
        /// Generation, or epoch of the member.
        generation: i32,
        /// All members, as the leader is told them; none for the others.
        members: Option<Vec<String>>,
    },
    /// A member was told what it owns from now on.
    Owns {
        /// The coordinator's name for the member.
        id: String,
        /// Generation, or epoch of the member.
        generation: i32,
        /// All that it owns.
        places: Vec<Place>,
    },
    /// Members left in order.
    Left {
        /// The coordinator's names for them.
        ids: Vec<String>,
    },
    /// A request was refused.
    Refused {
        /// As Kafka calls it.
        request: &'static str,
        /// The coordinator's name for the member; empty where the request bears none.
        id: String,
        /// Kafka's number of the error.
        error: i16,
    },
    /// A request or an answer was not understood.
    Unread {
        /// As Kafka calls it.
        request: &'static str,
        /// Version of the request.
        version: i16,
    },
    /// A connection cannot be followed any further.
    Lost {
        /// Why.
        why: &'static str,
    },
}

/// What came of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The coordinator holds it.
    Taken,
    /// The coordinator refused it, by this error.
    Refused(i16),
    /// It reached the coordinator, at least in part, and no answer came: nobody can say.
    Unanswered,
}

/// Where the proxies of a testbed tell what they see.
#[derive(Debug, Clone)]
pub struct Tap {
    tell: mpsc::UnboundedSender<Seen>,
    /// Names of topics by id, as any client was told them.
    topics: Arc<Mutex<HashMap<[u8; 16], String>>>,
}

impl Tap {
    /// A tap, and where it comes out. Nothing is lost before somebody listens.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Seen>) {
        let (tell, seen) = mpsc::unbounded_channel();
        (Self { tell, topics: Arc::default() }, seen)
    }

    fn learn(&self, named: Vec<([u8; 16], String)>) {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).extend(named);
    }

    /// None for a topic whose name nobody was told.
    fn places<T>(&self, of: Vec<(Topic, u32, T)>) -> Option<Vec<(Place, T)>> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let named = of.into_iter().map(|(topic, partition, said)| {
            let name = match topic {
                Topic::Name(name) => name,
                Topic::Id(id) => topics.get(&id)?.clone(),
            };
            Some(((name, partition), said))
        });
        named.collect()
    }
}

/// A request whose answer is awaited.
#[derive(Debug)]
struct Pending {
    api: Api,
    version: i16,
    client: String,
    request: Request,
    asked: Instant,
    /// Where its last byte lies in the stream of requests.
    end: u64,
}

/// One connection, followed. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Follow {
    link: Arc<str>,
    tap: Tap,
    requests: Frames,
    answers: Frames,
    head: Option<(Head, Api)>,
    awaited: Option<Pending>,
    pending: HashMap<i32, Pending>,
    /// What answers tell, by the place of their last byte, until that has passed.
    on_their_way: VecDeque<(u64, Seen)>,
    passed_to_part: u64,
    passed_to_client: u64,
    /// So many more bytes pass to the client than were read here.
    more_pass: i64,
    lost: bool,
}

impl Follow {
    pub(super) fn new(link: Arc<str>, tap: Tap) -> Self {
        Self {
            link,
            tap,
            requests: Frames::with_heads_of(HEAD_BYTES),
            answers: Frames::with_heads_of(ANSWER_HEAD_BYTES),
            head: None,
            awaited: None,
            pending: HashMap::new(),
            on_their_way: VecDeque::new(),
            passed_to_part: 0,
            passed_to_client: 0,
            more_pass: 0,
            lost: false,
        }
    }

    /// The proxy read bytes of the client.
    pub(super) fn read_from_client(&mut self, mut bytes: &[u8], at: Instant) {
        while !self.lost
            && let Some(step) = self.requests.step(&mut bytes)
        {
            match step {
                Step::Head => match Head::read(self.requests.head()) {
                    Some(head) => {
                        self.head = head.api().map(|api| (head, api));
                        if self.head.is_some() {
                            self.requests.keep();
                        }
                    }
                    None => self.lose("a request is none of Kafka's", at),
                },
                Step::Whole(frame) => self.request(&frame, at),
                Step::TooLarge => self.unread(String::new(), self.head, at),
                Step::Broken => self.lose("the requests are not those of Kafka", at),
            }
        }
    }

    /// The proxy read bytes of the part.
    pub(super) fn read_from_part(&mut self, mut bytes: &[u8], at: Instant) {
        while !self.lost
            && let Some(step) = self.answers.step(&mut bytes)
        {
            match step {
                Step::Head => {
                    let correlation = self.answers.head().first_chunk().copied();
                    let correlation = correlation.map(i32::from_be_bytes).unwrap_or_default();
                    self.awaited = self.pending.remove(&correlation);
                    if self.awaited.is_some() {
                        self.answers.keep();
                    }
                }
                Step::Whole(frame) => {
                    if let Some(asked) = self.awaited.take() {
                        self.answer(&frame, asked, at);
                    }
                }
                Step::TooLarge => {
                    if let Some(asked) = self.awaited.take() {
                        self.unread_answer(&asked, at);
                    }
                }
                Step::Broken => self.lose("the answers are not those of Kafka", at),
            }
        }
    }

    /// Bytes were passed on to the part.
    pub(super) fn passed_to_part(&mut self, bytes: usize) {
        self.passed_to_part += bytes as u64;
    }

    /// Bytes were passed on to the client.
    pub(super) fn passed_to_client(&mut self, bytes: usize) {
        self.passed_to_client += bytes as u64;
        while self.on_their_way.front().is_some_and(|(end, _)| *end <= self.passed_to_client) {
            if let Some((_, seen)) = self.on_their_way.pop_front() {
                self.tell(seen);
            }
        }
    }

    /// Of what was read last so many bytes are passed on, or something else of that length is.
    pub(super) fn passes_otherwise(&mut self, read: usize, passes: usize) {
        let length = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.more_pass += length(passes) - length(read);
    }

    /// Everything that waits to be passed on to the client is thrown away, and whatever comes until
    /// the connection is reset.
    pub(super) fn swallowed(&mut self) {
        self.on_their_way.clear();
    }

    fn request(&mut self, frame: &[u8], at: Instant) {
        let Some((head, api)) = self.head.take() else { return };
        let (client, request) = messages::request(frame, head, api);
        let client = client.unwrap_or_default();
        if client.starts_with(OWN_CLIENTS) {
            return;
        }
        let Some(request) = request else { return self.unread(client, Some((head, api)), at) };
        let (version, end) = (head.version, self.requests.passed());
        let pending = Pending { api, version, client, request, asked: at, end };
        self.pending.insert(head.correlation, pending);
    }

    fn answer(&mut self, frame: &[u8], asked: Pending, at: Instant) {
        let Some(answer) = messages::answer(frame, asked.api, asked.version) else {
            return self.unread_answer(&asked, at);
        };
        let told = match (&asked.request, answer) {
            (Request::Metadata, Answer::Topics(named)) => {
                self.tap.learn(named);
                Some(Vec::new())
            }
            (Request::Commit { group, generation, id, offsets }, Answer::Commit(answered)) => {
                // Told at once: whatever becomes of the answer, the coordinator holds it.
                match self.commits((id, *generation), offsets, answered) {
                    Some(commits) => {
                        for what in commits {
                            let group = group.clone();
                            self.tell(self.seen(&asked, group, Some(at), what));
                        }
                        Some(Vec::new())
                    }
                    None => None,
                }
            }
            (Request::Fetch { groups }, Answer::Fetch(fetched)) => self.positions(groups, fetched),
            (request, answer) => self.membership(request, answer),
        };
        let Some(told) = told else { return self.unread_answer(&asked, at) };
        let end = self.answers.passed().saturating_add_signed(self.more_pass);
        for (group, what) in told {
            let seen = self.seen(&asked, group, Some(at), what);
            self.on_their_way.push_back((end, seen));
        }
    }

    /// The partitions of a commit by what came of them. None for an answer to something else.
    fn commits(
        &self,
        (id, generation): (&str, i32),
        offsets: &[(Topic, u32, i64)],
        answered: Vec<(Topic, u32, i16)>,
    ) -> Option<Vec<What>> {
        let mut errors: HashMap<(Topic, u32), i16> =
            answered.into_iter().map(|(topic, partition, e)| ((topic, partition), e)).collect();
        let mut by_error: Vec<(i16, Vec<(Topic, u32, i64)>)> = Vec::new();
        for (topic, partition, offset) in offsets {
            let error = errors.remove(&(topic.clone(), *partition))?;
            let place = (topic.clone(), *partition, *offset);
            match by_error.iter_mut().find(|(known, _)| *known == error) {
                Some((_, places)) => places.push(place),
                None => by_error.push((error, vec![place])),
            }
        }
        let told = by_error.into_iter().map(|(error, places)| {
            let outcome = if error == NONE { Outcome::Taken } else { Outcome::Refused(error) };
            let offsets = committed(self.tap.places(places)?);
            Some(What::Commits { id: id.to_owned(), generation, offsets, outcome })
        });
        told.collect()
    }

    fn positions(
        &self,
        groups: &[String],
        fetched: Vec<messages::FetchedGroup>,
    ) -> Option<Vec<(String, What)>> {
        let mut told = Vec::new();
        for of in fetched {
            let group = of.group.or_else(|| groups.first().cloned())?;
            let refused =
                |error| What::Refused { request: "OffsetFetch", id: String::new(), error };
            if of.error != NONE {
                told.push((group, refused(of.error)));
                continue;
            }
            let mut positions = Vec::new();
            for (place, (offset, error)) in self.tap.places(of.offsets)? {
                match error {
                    NONE => positions.push((place, u64::try_from(offset).ok())),
                    error => told.push((group.clone(), refused(error))),
                }
            }
            if !positions.is_empty() {
                told.push((group, What::Positions(positions)));
            }
        }
        Some(told)
    }

    fn membership(&self, request: &Request, answer: Answer) -> Option<Vec<(String, What)>> {
        let refused = |group: &String, request, id: &str, error| {
            let id = id.to_owned();
            vec![(group.clone(), What::Refused { request, id, error })]
        };
        Some(match (request, answer) {
            (Request::Join { group }, Answer::Join { error, generation, leader, id, members }) => {
                match error {
                    NONE => {
                        let members = (leader == id).then_some(members);
                        vec![(group.clone(), What::Joined { id, generation, members })]
                    }
                    MEMBER_ID_REQUIRED => Vec::new(),
                    error => refused(group, "JoinGroup", &id, error),
                }
            }
            (Request::Sync { group, id, generation }, Answer::Sync { error, owns }) => {
                if error != NONE {
                    return Some(refused(group, "SyncGroup", id, error));
                }
                let places = self.tap.places(owns)?.into_iter().map(|(place, ())| place).collect();
                let (id, generation) = (id.clone(), *generation);
                vec![(group.clone(), What::Owns { id, generation, places })]
            }
            (Request::Heartbeat { group, id, .. }, Answer::Heartbeat { error }) => match error {
                NONE => Vec::new(),
                error => refused(group, "Heartbeat", id, error),
            },
            (Request::Leave { group, ids }, Answer::Leave { error }) => match error {
                NONE => vec![(group.clone(), What::Left { ids: ids.clone() })],
                error => refused(group, "LeaveGroup", &ids.join(", "), error),
            },
            (Request::Epoch { group, id: asked, epoch: before }, answer) => {
                let Answer::Epoch { error, id, epoch, owns } = answer else { return None };
                let id = id.unwrap_or_else(|| asked.clone());
                if error != NONE {
                    return Some(refused(group, "ConsumerGroupHeartbeat", &id, error));
                }
                self.epoch((group, id), (*before, epoch), owns)?
            }
            _ => return None,
        })
    }

    /// An answer of the newer protocol: another epoch is a generation of its own for the member.
    fn epoch(
        &self,
        (group, id): (&String, String),
        (before, epoch): (i32, i32),
        owns: Option<Vec<(Topic, u32, ())>>,
    ) -> Option<Vec<(String, What)>> {
        if before <= LEAVES {
            return Some(vec![(group.clone(), What::Left { ids: vec![id] })]);
        }
        let mut told = Vec::new();
        if epoch != before {
            let (id, generation, members) = (id.clone(), epoch, None);
            told.push((group.clone(), What::Joined { id, generation, members }));
        }
        if let Some(owns) = owns {
            let places = self.tap.places(owns)?.into_iter().map(|(place, ())| place).collect();
            told.push((group.clone(), What::Owns { id, generation: epoch, places }));
        }
        Some(told)
    }

    fn unread(&mut self, client: String, request: Option<(Head, Api)>, at: Instant) {
        let Some((head, api)) = request else { return };
        let what = What::Unread { request: api.name, version: head.version };
        let (link, group) = (self.link.clone(), String::new());
        self.tell(Seen { link, client, group, asked: at, answered: None, what });
    }

    fn unread_answer(&mut self, asked: &Pending, at: Instant) {
        let what = What::Unread { request: asked.api.name, version: asked.version };
        self.tell(self.seen(asked, asked.request.group(), Some(at), what));
    }

    fn lose(&mut self, why: &'static str, at: Instant) {
        self.lost = true;
        let (link, what) = (self.link.clone(), What::Lost { why });
        let (client, group) = (String::new(), String::new());
        self.tell(Seen { link, client, group, asked: at, answered: None, what });
    }

    fn seen(&self, asked: &Pending, group: String, answered: Option<Instant>, what: What) -> Seen {
        let (link, client) = (self.link.clone(), asked.client.clone());
        Seen { link, client, group, asked: asked.asked, answered, what }
    }

    fn tell(&self, seen: Seen) {
        // Nobody listens any more once the run is over.
        let _ = self.tap.tell.send(seen);
    }
}

impl Drop for Follow {
    /// A commit that may have reached the coordinator and was not answered may hold or not. One of
    /// which the end never left the proxy cannot.
    fn drop(&mut self) {
        let waiting = std::mem::take(&mut self.pending).into_values().chain(self.awaited.take());
        let mut waiting: Vec<_> =
            waiting.filter(|asked| asked.end <= self.passed_to_part).collect();
        waiting.sort_by_key(|asked| asked.end);
        for asked in waiting {
            let Request::Commit { group, generation, id, offsets } = &asked.request else {
                continue;
            };
            let what = match self.tap.places(offsets.clone()) {
                Some(offsets) => What::Commits {
                    id: id.clone(),
                    generation: *generation,
                    offsets: committed(offsets),
                    outcome: Outcome::Unanswered,
                },
                None => What::Unread { request: asked.api.name, version: asked.version },
            };
            self.tell(self.seen(&asked, group.clone(), None, what));
        }
    }
}

impl Request {
    /// The group, where the request names one.
    fn group(&self) -> String {
        match self {
            Self::Metadata => String::new(),
            Self::Fetch { groups } => groups.first().cloned().unwrap_or_default(),
            Self::Commit { group, .. }
            | Self::Join { group }
            | Self::Heartbeat { group, .. }
            | Self::Leave { group, .. }
            | Self::Sync { group, .. }
            | Self::Epoch { group, .. } => group.clone(),
        }
    }
}

/// Kafka takes no offset below zero, so none is left out.
fn committed(offsets: Vec<(Place, i64)>) -> Vec<(Place, u64)> {
    let offsets = offsets.into_iter();
    offsets.filter_map(|(place, offset)| Some((place, u64::try_from(offset).ok()?))).collect()
}

#[cfg(test)]
mod tests;
