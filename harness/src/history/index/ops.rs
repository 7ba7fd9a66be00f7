//! What is known of the operations: a few bits each, and more only of those that did not simply
//! succeed.

use std::collections::{BTreeMap, HashMap};

use super::lane::{NO_ID, NO_OP, Seen};

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
    /// Number of the process that invoked it.
    pub owner: u16,
}

impl Invocation {
    pub(super) fn seen(&self, op: u64, id: u64) -> Seen {
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
}

/// A property of operations, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bit {
    /// Handed to a producer.
    Invoked,
    /// Some completion came.
    Completed,
    /// Acknowledged.
    Acknowledged,
    /// Named by a record of the log.
    Logged,
    /// Invalid on purpose.
    Poison,
}

#[derive(Debug, Clone)]
enum Owner {
    One(u16),
    Many(Box<[u16; 64]>),
}

#[derive(Debug, Clone)]
struct Chunk {
    bits: [u64; 5],
    owner: Option<Owner>,
}

/// All operations.
#[derive(Debug, Default)]
pub struct Ops {
    chunks: Vec<Chunk>,
    place: BTreeMap<u64, u32>,
    last: [(u64, u32); 2],
    waiting: HashMap<u64, Invocation>,
    early: HashMap<u64, (End, u64, u64)>,
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
                    self.chunks.push(Chunk { bits: [0; 5], owner: None });
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
    fn set(&mut self, op: u64, bit: Bit, cache: usize) -> bool {
        let word = &mut self.chunk(op / 64, cache).bits[bit as usize];
        let mask = 1u64 << (op % 64);
        let before = *word & mask != 0;
        *word |= mask;
        before
    }

    /// Whether a bit is set.
    #[must_use]
    pub fn is(&self, op: u64, bit: Bit) -> bool {
        self.place.get(&(op / 64)).is_some_and(|&index| {
            self.chunks[index as usize].bits[bit as usize] >> (op % 64) & 1 == 1
        })
    }

    /// Number of operations with a bit.
    #[must_use]
    pub fn count(&self, bit: Bit) -> u64 {
        self.chunks.iter().map(|c| u64::from(c.bits[bit as usize].count_ones())).sum()
    }

    /// The process that invoked an operation.
    #[must_use]
    pub fn owner(&self, op: u64) -> Option<u16> {
        match self.chunks[*self.place.get(&(op / 64))? as usize].owner.as_ref()? {
            Owner::One(owner) => Some(*owner),
            Owner::Many(owners) => Some(owners[(op % 64) as usize]),
        }
    }

    /// Takes an invocation; an error if the operation was invoked before.
    pub(super) fn invoked(&mut self, op: u64, new: Invocation) -> Result<Option<Joined>, ()> {
        if self.set(op, Bit::Invoked, 0) {
            return Err(());
        }
        if new.poison {
            self.set(op, Bit::Poison, 0);
        }
        let chunk = self.chunk(op / 64, 0);
        match &mut chunk.owner {
            None => chunk.owner = Some(Owner::One(new.owner)),
            Some(Owner::One(owner)) if *owner == new.owner => {}
            Some(Owner::One(owner)) => {
                let mut owners = Box::new([*owner; 64]);
                owners[(op % 64) as usize] = new.owner;
                chunk.owner = Some(Owner::Many(owners));
            }
            Some(Owner::Many(owners)) => owners[(op % 64) as usize] = new.owner,
        }
        match self.early.remove(&op) {
            Some((end, id, t_us)) => Ok(Some(self.join(op, new, end, id, t_us))),
            None => {
                self.waiting.insert(op, new);
                Ok(None)
            }
        }
    }

    /// Takes a completion; an error if one came before.
    pub(super) fn completed(
        &mut self,
        op: u64,
        end: End,
        id: u64,
        t_us: u64,
    ) -> Result<Option<Joined>, ()> {
        if self.set(op, Bit::Completed, 1) {
            return Err(());
        }
        if matches!(end, End::Acknowledged(..)) {
            self.set(op, Bit::Acknowledged, 1);
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
        if invocation.poison || !matches!(end, End::Acknowledged(..)) {
            self.kept.insert(op, Kept { invocation, end: Some(end) });
        }
        Joined { invocation, end, id, t_us }
    }

    /// Takes note that a record of the log names an operation, or only an id, or nothing.
    pub(super) fn logged(&mut self, seen: &Seen) {
        if seen.op != NO_OP {
            if self.set(seen.op, Bit::Logged, 1) {
                *self.logged_again.entry(seen.op).or_insert(0) += 1;
            }
        } else if seen.id != NO_ID {
            *self.nameless.entry(seen.id).or_insert(0) += 1;
        }
    }

    /// At the end of the history: operations without a completion are kept as such. Gives the
    /// lowest completion without an invocation, which no honest history has.
    pub(super) fn settle(&mut self) -> Option<u64> {
        for (op, invocation) in self.waiting.drain() {
            self.kept.insert(op, Kept { invocation, end: None });
        }
        self.early.keys().copied().min()
    }

    /// Operations that the log names and nobody invoked, rising.
    #[must_use]
    pub fn logged_uninvoked(&self) -> Vec<u64> {
        let mut ops = Vec::new();
        for (&number, &index) in &self.place {
            let bits = &self.chunks[index as usize].bits;
            let word = bits[Bit::Logged as usize] & !bits[Bit::Invoked as usize];
            ops.extend((0..64).filter(|n| word >> n & 1 == 1).map(|n| number * 64 + n));
        }
        ops
    }

    /// Operations with a bit, rising.
    pub fn with(&self, bit: Bit) -> impl Iterator<Item = u64> + '_ {
        self.place.iter().flat_map(move |(&number, &index)| {
            let word = self.chunks[index as usize].bits[bit as usize];
            (0..64).filter(move |n| word >> n & 1 == 1).map(move |n| number * 64 + n)
        })
    }
}
