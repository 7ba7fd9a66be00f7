//! Where the words on records are kept: all of them as they are, or, in runs so large that memory
//! counts, packed into eight bytes each.
//!
//! Packed, a record keeps 32 bits of its key and value, 16 bits of its headers, and its operation,
//! exactly. Ingestion ids and timestamps are not kept. A single altered value then escapes with a
//! probability of 2⁻³², a single altered header with 2⁻¹⁶; a bug that alters many escapes never.

use std::collections::BTreeMap;

use super::lane::{NO_ID, NO_OP, Seen};

/// Offsets of one chunk.
pub(super) const CHUNK: u64 = 256;
const WORDS: usize = 4;

/// How much of each record is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Detail {
    /// Everything.
    #[default]
    Full,
    /// Eight bytes.
    Packed,
}

impl Detail {
    /// What is left of a word.
    pub(super) fn reduce(self, seen: Seen) -> Seen {
        match self {
            Self::Full => seen,
            Self::Packed => Seen {
                key: 0,
                value: mix(seen.key ^ seen.value.rotate_left(29)) >> 32,
                headers: mix(seen.headers) >> 48,
                timestamp_ms: 0,
                op: seen.op,
                id: NO_ID,
            },
        }
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 32)
}

/// A bit for each offset of a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits([u64; WORDS]);

impl Bits {
    pub(super) fn has(&self, at: u64) -> bool {
        self.0[(at / 64) as usize] >> (at % 64) & 1 == 1
    }

    pub(super) fn set(&mut self, at: u64) {
        self.0[(at / 64) as usize] |= 1 << (at % 64);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    pub(super) fn minus(mut self, other: &Self) -> Self {
        for (word, less) in self.0.iter_mut().zip(other.0) {
            *word &= !less;
        }
        self
    }

    /// Bits below a place.
    fn rank(&self, at: u64) -> usize {
        let word = (at / 64) as usize;
        let below = self.0[..word].iter().map(|w| w.count_ones()).sum::<u32>();
        (below + (self.0[word] & ((1 << (at % 64)) - 1)).count_ones()) as usize
    }

    /// Runs of set bits, inclusive, each within a word.
    pub(super) fn runs(self) -> impl Iterator<Item = (u64, u64)> {
        (0u64..).zip(self.0).flat_map(|(word, mut bits)| {
            std::iter::from_fn(move || {
                if bits == 0 {
                    return None;
                }
                let first = bits.trailing_zeros();
                let len = (bits >> first).trailing_ones();
                let mask = if len == 64 { u64::MAX } else { ((1u64 << len) - 1) << first };
                bits &= !mask;
                let first = word * 64 + u64::from(first);
                Some((first, first + u64::from(len) - 1))
            })
        })
    }

    /// Set places, rising.
    pub(super) fn places(self) -> impl Iterator<Item = u64> {
        self.runs().flat_map(|(first, last)| first..=last)
    }
}

#[derive(Debug, Clone)]
enum Store {
    Full(Vec<Seen>),
    Packed(Vec<u64>),
}

/// The words on the records of one chunk, one slot a record that anybody spoke of.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    known: Bits,
    base_op: u64,
    store: Store,
}

/// The operation is kept elsewhere.
const FAR: u16 = 0x7fff;
/// There is no operation.
const NONE: u16 = 0x8000;

impl Slots {
    pub(super) fn new(detail: Detail) -> Self {
        let store = match detail {
            Detail::Full => Store::Full(Vec::new()),
            Detail::Packed => Store::Packed(Vec::new()),
        };
        Self { known: Bits::default(), base_op: NO_OP, store }
    }

    pub(super) fn known(&self) -> Bits {
        self.known
    }

    /// The word at a place that is known.
    pub(super) fn get(&self, at: u64, offset: u64, far: &BTreeMap<u64, u64>) -> Seen {
        let rank = self.known.rank(at);
        match &self.store {
            Store::Full(all) => all[rank],
            Store::Packed(all) => {
                let word = all[rank];
                let op = match word as u16 {
                    NONE => NO_OP,
                    FAR => far.get(&offset).copied().unwrap_or(NO_OP),
                    delta => self.base_op.wrapping_add_signed(i64::from(delta.cast_signed())),
                };
                Seen {
                    key: 0,
                    value: word >> 32,
                    headers: word >> 16 & 0xffff,
                    timestamp_ms: 0,
                    op,
                    id: NO_ID,
                }
            }
        }
    }

    /// Keeps a word, reduced already, at a place.
    pub(super) fn put(&mut self, at: u64, offset: u64, seen: Seen, far: &mut BTreeMap<u64, u64>) {
        let rank = self.known.rank(at);
        let fresh = !self.known.has(at);
        self.known.set(at);
        match &mut self.store {
            Store::Full(all) if fresh => all.insert(rank, seen),
            Store::Full(all) => all[rank] = seen,
            Store::Packed(all) => {
                let op = match seen.op {
                    NO_OP => NONE,
                    op => {
                        if self.base_op == NO_OP {
                            self.base_op = op;
                        }
                        let delta = op.wrapping_sub(self.base_op).cast_signed();
                        match i16::try_from(delta).ok().map(i16::cast_unsigned) {
                            Some(delta) if delta != FAR && delta != NONE => delta,
                            _ => {
                                far.insert(offset, op);
                                FAR
                            }
                        }
                    }
                };
                let word = seen.value << 32 | seen.headers << 16 | u64::from(op);
                if fresh { all.insert(rank, word) } else { all[rank] = word }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word(op: u64, n: u64) -> Seen {
        Seen { key: n, value: n.wrapping_mul(7), headers: n, timestamp_ms: 5, op, id: 9 }
    }

    proptest! {
        #[test]
        fn slots_give_back_what_was_put(
            puts in proptest::collection::vec((0u64..CHUNK, any::<u64>(), any::<u64>(), any::<bool>()), 1..80),
            base in any::<u64>(),
        ) {
            for detail in [Detail::Full, Detail::Packed] {
                let (mut slots, mut far) = (Slots::new(detail), BTreeMap::new());
                let mut plain = BTreeMap::new();
                for &(at, n, op, near) in &puts {
                    let op = if near { base.wrapping_add(op % 3000) } else { op };
                    let seen = detail.reduce(word(op, n));
                    slots.put(at, at + 512, seen, &mut far);
                    plain.insert(at, seen);
                }
                for (at, seen) in &plain {
                    prop_assert_eq!(slots.get(*at, at + 512, &far), *seen);
                }
                prop_assert_eq!(slots.known().places().collect::<Vec<_>>(), plain.into_keys().collect::<Vec<_>>());
            }
        }
    }
}
