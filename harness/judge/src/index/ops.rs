//! What is known of the operations: a few bits each, and more only of those that did not simply
//! succeed.

use std::collections::{BTreeMap, HashMap};

use super::hash::Quick;
use super::lane::{NO_ID, NO_OP, Seen};
use super::slots::{Bits, CHUNK};

/// How an operation ended, without the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Acknowledged at a place: lane and offset.
    Acknowledged(usize, u64),
    /// Rejected as invalid.
    Rejected,
    /// Certainly not written.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// What was handed to a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invocation {
    /// When.
    pub t_us: u64,
    /// Number of the topic.
    pub topic: usize,
    /// Key.
    pub key: u64,
    /// Value.
    pub value: u64,
    /// Invalid on purpose.
    pub poison: bool,
    /// Its producer was told the key beside the payload.
    pub key_beside: bool,
    /// Number of the producer that invoked it.
    pub owner: u8,
    /// It names its headers itself: another producer wrote it than the one under test, and what that one
    /// promised is not demanded of it.
    pub beside: bool,
}

impl Invocation {
    /// What its receipt says of the record, if it gets one.
    #[must_use]
    pub fn seen(&self, op: u64, id: u64) -> Seen {
        Seen { key: self.key, value: self.value, headers: 0, timestamp_ms: 0, op, id }
    }
}

/// An operation of which more is kept: not acknowledged, or poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The invocation.
    pub invocation: Invocation,
    /// The end; none if no completion came.
    pub end: Option<End>,
    /// When the completion came.
    pub ended_us: Option<u64>,
    /// The ingestion id that its completion named.
    pub id: u64,
}

/// A property of operations, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bit {
    /// Handed to a producer.
    Invoked,
    /// Some completion came.
    Completed,
    /// Named by a record of the log.
    Logged,
    /// Its request may have been repeated: its answer came late, or was no acknowledgement.
    Late,
    /// The same where nothing ever cut a connection or made a broker err: its request timed out, or was no
    /// acknowledgement.
    TimedOut,
}

/// How many there are.
const BITS: usize = Bit::TimedOut as usize + 1;

/// A client's request times out no sooner than this.
const TIMEOUT_US: u64 = 5_000_000;

/// A producer asks again no sooner than this after the first time: an operation that was acknowledged
/// within it was sent once. Clients wait 100 ms, less their jitter, before they send again.
const RETRY_US: u64 = 50_000;

#[derive(Debug, Clone, Default)]
enum Owner {
    #[default]
    Nobody,
    One(u8),
    Many(Box<[u8; CHUNK as usize]>),
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    bits: [Bits; BITS],
    owner: Owner,
}

impl Chunk {
    /// The producer that invoked the operation at a place, if it was invoked.
    fn owner(&self, at: u64) -> Option<u8> {
        let owner = match &self.owner {
            Owner::Nobody => None,
            Owner::One(owner) => Some(*owner),
            Owner::Many(owners) => Some(owners[at as usize]),
        };
        owner.filter(|_| self.bits[Bit::Invoked as usize].has(at))
    }
}

/// All operations.
#[derive(Debug, Default)]
pub struct Ops {
    chunks: Vec<Chunk>,
    place: BTreeMap<u64, u32>,
    last: [(u64, u32); BITS],
    waiting: HashMap<u64, Invocation, Quick>,
    early: HashMap<u64, (End, u64, u64), Quick>,
    /// Operations of which more is kept, filled up when the history is at its end.
    pub kept: BTreeMap<u64, Kept>,
    /// Operations that the log names more than once: surplus records.
    pub logged_again: BTreeMap<u64, u64>,
    /// Records of the log that name no operation, by ingestion id.
    pub nameless: HashMap<u64, u32>,
}

/// An operation whose invocation and completion are both known now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined {
    pub(super) invocation: Invocation,
    pub(super) end: End,
    pub(super) id: u64,
    pub(super) t_us: u64,
}

impl Ops {
    fn chunk(&mut self, number: u64, cache: usize) -> &mut Chunk {
        let index = match self.last[cache] {
            (known, index) if known == number + 1 => index,
            _ => {
                let index = *self.place.entry(number).or_insert_with(|| {
                    self.chunks.push(Chunk::default());
                    u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX)
                });
                // One more than the number, so that 0 means none.
                self.last[cache] = (number + 1, index);
                index
            }
        };
        &mut self.chunks[index as usize]
    }

    /// Sets a bit and tells whether it was set before.
    fn set(&mut self, op: u64, bit: Bit) -> bool {
        let bits = &mut self.chunk(op / CHUNK, bit as usize).bits[bit as usize];
        let before = bits.has(op % CHUNK);
        bits.set(op % CHUNK);
        before
    }

    /// Whether a bit is set.
    #[must_use]
    pub fn is(&self, op: u64, bit: Bit) -> bool {
        let index = self.place.get(&(op / CHUNK));
        index.is_some_and(|&n| self.chunks[n as usize].bits[bit as usize].has(op % CHUNK))
    }

    /// Whether an operation was acknowledged so soon that its producer cannot have sent it again.
    #[must_use]
    pub fn sent_once(&self, op: u64) -> bool {
        self.answered_without(op, Bit::Late)
    }

    /// Whether an operation was acknowledged before its request can have timed out: where no connection broke
    /// and no broker was down, it was sent once.
    #[must_use]
    pub fn sent_once_in_peace(&self, op: u64) -> bool {
        self.answered_without(op, Bit::TimedOut)
    }

    fn answered_without(&self, op: u64, bit: Bit) -> bool {
        self.is(op, Bit::Invoked) && self.is(op, Bit::Completed) && !self.is(op, bit)
    }

    /// Whether an operation was invalid on purpose.
    #[must_use]
    pub fn is_poison(&self, op: u64) -> bool {
        self.kept.get(&op).is_some_and(|kept| kept.invocation.poison)
    }

    /// Number of operations with a bit.
    #[must_use]
    pub fn count(&self, bit: Bit) -> u64 {
        self.chunks.iter().map(|c| c.bits[bit as usize].count()).sum()
    }

    /// Number of operations that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let other = |end| !matches!(end, None | Some(End::Acknowledged(..)));
        let others = self.kept.values().filter(|kept| other(kept.end)).count() as u64;
        self.count(Bit::Completed).saturating_sub(others)
    }

    /// The producer that invoked an operation, by a number of its own.
    #[must_use]
    pub fn owner(&self, op: u64) -> Option<u8> {
        self.owners()(op)
    }

    /// Whether the log has named an operation that is just being invoked.
    pub(super) fn was_logged(&mut self, op: u64) -> bool {
        self.chunk(op / CHUNK, Bit::Invoked as usize).bits[Bit::Logged as usize].has(op % CHUNK)
    }

    /// The producer of an operation that the log has just named.
    pub(super) fn owner_of_logged(&mut self, op: u64) -> Option<u8> {
        self.chunk(op / CHUNK, Bit::Logged as usize).owner(op % CHUNK)
    }

    /// The same for many operations, quick where neighbours follow each other.
    pub fn owners(&self) -> impl FnMut(u64) -> Option<u8> + '_ {
        let mut last: Option<(u64, &Chunk)> = None;
        move |op| {
            let number = op / CHUNK;
            let chunk = match last {
                Some((known, chunk)) if known == number => chunk,
                _ => &self.chunks[*self.place.get(&number)? as usize],
            };
            last = Some((number, chunk));
            chunk.owner(op % CHUNK)
        }
    }

    /// Takes an invocation; an error if the operation was invoked before.
    pub(super) fn invoked(&mut self, op: u64, new: Invocation) -> Result<Option<Joined>, ()> {
        if self.set(op, Bit::Invoked) {
            return Err(());
        }
        let at = (op % CHUNK) as usize;
        let owner = &mut self.chunk(op / CHUNK, Bit::Invoked as usize).owner;
        match owner {
            Owner::Nobody => *owner = Owner::One(new.owner),
            Owner::One(one) if *one == new.owner => {}
            Owner::One(one) => {
                let mut owners = Box::new([*one; CHUNK as usize]);
                owners[at] = new.owner;
                *owner = Owner::Many(owners);
            }
            Owner::Many(owners) => owners[at] = new.owner,
        }
        match self.early.remove(&op) {
            Some((end, id, t_us)) => Ok(Some(self.join(op, new, end, id, t_us))),
            None => {
                self.waiting.insert(op, new);
                Ok(None)
            }
        }
    }

    /// Whether an operation has a completion already.
    pub(super) fn is_completed(&mut self, op: u64) -> bool {
        let chunk = self.chunk(op / CHUNK, Bit::Completed as usize);
        chunk.bits[Bit::Completed as usize].has(op % CHUNK)
    }

    /// Takes a completion; an error if one came before.
    pub(super) fn completed(
        &mut self,
        op: u64,
        end: End,
        id: u64,
        t_us: u64,
    ) -> Result<Option<Joined>, ()> {
        if self.set(op, Bit::Completed) {
            return Err(());
        }
        match self.waiting.remove(&op) {
            Some(invocation) => Ok(Some(self.join(op, invocation, end, id, t_us))),
            None => {
                self.early.insert(op, (end, id, t_us));
                Ok(None)
            }
        }
    }

    fn join(&mut self, op: u64, invocation: Invocation, end: End, id: u64, t_us: u64) -> Joined {
        let took_us = t_us.saturating_sub(invocation.t_us);
        // Some tell both instants at once: then nobody knows.
        if took_us == 0 || took_us >= RETRY_US || !matches!(end, End::Acknowledged(..)) {
            self.set(op, Bit::Late);
        }
        if took_us == 0 || took_us >= TIMEOUT_US || !matches!(end, End::Acknowledged(..)) {
            self.set(op, Bit::TimedOut);
        }
        if invocation.poison || !matches!(end, End::Acknowledged(..)) {
            self.kept.insert(op, Kept { invocation, end: Some(end), ended_us: Some(t_us), id });
        }
        Joined { invocation, end, id, t_us }
    }

    /// Takes note that a record of the log names an operation, or only an id, or nothing.
    pub(super) fn logged(&mut self, seen: &Seen) {
        if seen.op != NO_OP {
            if self.set(seen.op, Bit::Logged) {
                *self.logged_again.entry(seen.op).or_insert(0) += 1;
            }
        } else if seen.id != NO_ID {
            *self.nameless.entry(seen.id).or_insert(0) += 1;
        }
    }

    /// At the end of the history: operations without a completion are kept as such. Gives the
    /// operations with a completion and without an invocation, which no honest producer reports.
    pub(super) fn settle(&mut self) -> Vec<u64> {
        for (op, invocation) in self.waiting.drain() {
            self.kept.insert(op, Kept { invocation, end: None, ended_us: None, id: NO_ID });
        }
        let mut uninvoked: Vec<u64> = self.early.keys().copied().collect();
        uninvoked.sort_unstable();
        uninvoked
    }

    /// Operations that the log names and nobody invoked, rising.
    #[must_use]
    pub fn logged_uninvoked(&self) -> Vec<u64> {
        let mut ops = Vec::new();
        for (&number, &index) in &self.place {
            let [invoked, _, logged, ..] = self.chunks[index as usize].bits;
            ops.extend(logged.minus(&invoked).places().map(|at| number * CHUNK + at));
        }
        ops
    }
}
