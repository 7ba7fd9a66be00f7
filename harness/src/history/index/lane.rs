//! What is known of the records of one partition, from three sources: the receipts that name them,
//! the log that holds them and the copies that groups stored.
//!
//! The sources come in any order and mostly agree, so one slot holds what all of them say, and bits
//! tell who has spoken. The first to disagree makes the offset *contested*: from then on everybody's
//! word is kept apart. Nothing is ever allocated by offset, only by record.

use std::collections::BTreeMap;

use super::ranges::{Range, RangeSet};

/// No operation is named.
pub const NO_OP: u64 = u64::MAX;
/// No ingestion id is named.
pub const NO_ID: u64 = 0;

/// Who speaks of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A receipt, with what was invoked.
    Receipt,
    /// The log.
    Log,
    /// A copy in the raw zone of the group with this number.
    Copy(usize),
}

/// What a source says, as fingerprints. Receipts know nothing of headers and timestamp; operation
/// and id of copies are not compared, they follow from value and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Key.
    pub key: u64,
    /// Value.
    pub value: u64,
    /// Headers.
    pub headers: u64,
    /// Kafka timestamp in milliseconds.
    pub timestamp_ms: i64,
    /// Operation or [`NO_OP`].
    pub op: u64,
    /// Ingestion id or [`NO_ID`].
    pub id: u64,
}

impl Seen {
    /// Key and value are the same.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }

    /// Headers and timestamp are the same.
    #[must_use]
    pub fn same_frame(&self, other: &Self) -> bool {
        self.headers == other.headers && self.timestamp_ms == other.timestamp_ms
    }

    /// Operation and id are the same where both name one.
    #[must_use]
    pub fn same_name(&self, other: &Self) -> bool {
        (self.op == NO_OP || other.op == NO_OP || self.op == other.op)
            && (self.id == NO_ID || other.id == NO_ID || self.id == other.id)
    }
}

/// Everybody's word on one offset.
#[derive(Debug, Clone, Default)]
pub struct Contested {
    /// Source and word, sorted and without repetition once the lane is settled.
    pub words: Vec<(Source, Seen)>,
}

impl Contested {
    /// The words of one source.
    pub fn of(&self, source: Source) -> impl Iterator<Item = &Seen> {
        self.words.iter().filter(move |w| w.0 == source).map(|w| &w.1)
    }
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    receipt: u64,
    log: u64,
    copy: u64,
    // The log named an operation, an id: a receipt may have filled them in.
    log_op: u64,
    log_id: u64,
    slots: Vec<Seen>,
}

impl Chunk {
    fn known(&self) -> u64 {
        self.receipt | self.log | self.copy
    }

    fn rank(&self, bit: u64) -> usize {
        (self.known() & (bit - 1)).count_ones() as usize
    }
}

/// One end-to-end reading of a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bounds {
    /// Low watermark.
    pub low: u64,
    /// High watermark.
    pub high: u64,
    /// The reader came to the end.
    pub complete: bool,
    /// Offsets without a record.
    pub holes: Vec<Range>,
}

/// The records of one partition.
#[derive(Debug, Default)]
pub struct Lane {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Every reading of its bounds.
    pub bounds: Vec<Bounds>,
    /// Offsets on which sources disagree.
    pub contested: BTreeMap<u64, Contested>,
    chunks: Vec<Chunk>,
    // A bit per group and chunk: `group_copies[chunk * groups + group]`.
    group_copies: Vec<u64>,
    groups: usize,
    place: BTreeMap<u64, u32>,
    last: [(u64, u32); 3],
    first_at_ms: BTreeMap<i64, u64>,
    last_ms: (i64, u64),
}

impl Lane {
    pub(super) fn new(topic: &str, partition: u32, groups: usize) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            groups,
            last: [(u64::MAX, 0); 3],
            last_ms: (i64::MIN, u64::MAX),
            ..Self::default()
        }
    }

    fn chunk(&mut self, number: u64, cache: usize) -> usize {
        if self.last[cache].0 == number {
            return self.last[cache].1 as usize;
        }
        let index = *self.place.entry(number).or_insert_with(|| {
            self.chunks.push(Chunk::default());
            self.group_copies.extend(std::iter::repeat_n(0, self.groups));
            u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX)
        });
        self.last[cache] = (number, index);
        index as usize
    }

    /// Takes a source's word on an offset.
    pub(super) fn hear(&mut self, offset: u64, source: Source, seen: Seen) {
        let seen = match source {
            Source::Receipt => Seen { headers: 0, timestamp_ms: 0, ..seen },
            Source::Log => seen,
            Source::Copy(_) => Seen { op: NO_OP, id: NO_ID, ..seen },
        };
        let cache = match source {
            Source::Receipt => 0,
            Source::Log => 1,
            Source::Copy(_) => 2,
        };
        let index = self.chunk(offset / 64, cache);
        let bit = 1u64 << (offset % 64);
        if source == Source::Log {
            self.note_time(offset, seen.timestamp_ms);
        }
        let chunk = &mut self.chunks[index];
        let rank = chunk.rank(bit);
        if chunk.known() & bit == 0 {
            chunk.slots.insert(rank, seen);
        } else if let Some(contested) = self.contested.get_mut(&offset) {
            contested.words.push((source, seen));
        } else if agrees(chunk, bit, source, &chunk.slots[rank], &seen) {
            let slot = &mut chunk.slots[rank];
            merge(slot, source, chunk.log | chunk.copy, bit, &seen);
        } else {
            let copies = &self.group_copies[index * self.groups..(index + 1) * self.groups];
            let mut words = words_so_far(chunk, bit, rank, copies);
            words.push((source, seen));
            self.contested.insert(offset, Contested { words });
        }
        self.mark(index, bit, source, &seen);
    }

    fn mark(&mut self, index: usize, bit: u64, source: Source, seen: &Seen) {
        let chunk = &mut self.chunks[index];
        match source {
            Source::Receipt => chunk.receipt |= bit,
            Source::Log => {
                chunk.log |= bit;
                chunk.log_op |= if seen.op == NO_OP { 0 } else { bit };
                chunk.log_id |= if seen.id == NO_ID { 0 } else { bit };
            }
            Source::Copy(group) => {
                chunk.copy |= bit;
                self.group_copies[index * self.groups + group] |= bit;
            }
        }
    }

    fn note_time(&mut self, offset: u64, timestamp_ms: i64) {
        if self.last_ms.0 == timestamp_ms && self.last_ms.1 <= offset {
            return;
        }
        let first = self.first_at_ms.entry(timestamp_ms).or_insert(offset);
        *first = offset.min(*first);
        self.last_ms = (timestamp_ms, *first);
    }

    pub(super) fn settle(&mut self) {
        for contested in self.contested.values_mut() {
            contested.words.sort_unstable();
            contested.words.dedup();
        }
        self.bounds.sort_unstable();
        self.bounds.dedup();
    }

    fn set(&self, bits: impl Fn(&Chunk) -> u64) -> RangeSet {
        RangeSet::of(self.place.iter().flat_map(|(&number, &index)| {
            bit_runs(bits(&self.chunks[index as usize]))
                .map(move |(a, b)| (number * 64 + a, number * 64 + b))
        }))
    }

    /// Offsets that the log holds.
    #[must_use]
    pub fn logged(&self) -> RangeSet {
        self.set(|c| c.log)
    }

    /// Offsets that receipts name.
    #[must_use]
    pub fn acknowledged(&self) -> RangeSet {
        self.set(|c| c.receipt)
    }

    /// Offsets below the high watermark that hold no record, as the reader of the log declared.
    #[must_use]
    pub fn holes(&self) -> RangeSet {
        RangeSet::of(self.bounds.iter().flat_map(|b| b.holes.iter().copied()))
    }

    /// Low watermark: below it nobody can say what was there. 0 if the bounds were never read.
    #[must_use]
    pub fn low(&self) -> u64 {
        self.bounds.iter().map(|b| b.low).max().unwrap_or(0)
    }

    /// High watermark, if the log was read.
    #[must_use]
    pub fn high(&self) -> Option<u64> {
        self.bounds.iter().map(|b| b.high).max()
    }

    /// The log was read to its end.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.bounds.iter().any(|b| b.complete)
    }

    /// The operation of a record: as the log names it, else as a receipt does.
    #[must_use]
    pub fn op_at(&self, offset: u64) -> Option<u64> {
        let op = match self.contested.get(&offset) {
            // The words are sorted: of several receipts it is always the same.
            Some(contested) => {
                let named = |word: &&Seen| word.op != NO_OP;
                let log = contested.of(Source::Log).find(named);
                log.or_else(|| contested.of(Source::Receipt).find(named))?.op
            }
            None => {
                let chunk = &self.chunks[*self.place.get(&(offset / 64))? as usize];
                let bit = 1u64 << (offset % 64);
                if chunk.known() & bit == 0 {
                    return None;
                }
                chunk.slots[chunk.rank(bit)].op
            }
        };
        (op != NO_OP).then_some(op)
    }

    /// What the log says of an offset, if it holds it.
    #[must_use]
    pub fn log_record(&self, offset: u64) -> Option<Seen> {
        if let Some(contested) = self.contested.get(&offset) {
            return contested.of(Source::Log).next().copied();
        }
        let chunk = &self.chunks[*self.place.get(&(offset / 64))? as usize];
        let bit = 1u64 << (offset % 64);
        (chunk.log & bit != 0).then(|| log_word(chunk, bit, chunk.slots[chunk.rank(bit)]))
    }

    /// All records of the log, rising.
    pub fn log_records(&self) -> impl Iterator<Item = (u64, Seen)> + '_ {
        self.place.iter().flat_map(move |(&number, &index)| {
            let chunk = &self.chunks[index as usize];
            (0..64u64).filter(move |n| chunk.log >> n & 1 == 1).filter_map(move |n| {
                let offset = number * 64 + n;
                if self.contested.contains_key(&offset) {
                    return self.log_record(offset).map(|seen| (offset, seen));
                }
                let bit = 1u64 << n;
                Some((offset, log_word(chunk, bit, chunk.slots[chunk.rank(bit)])))
            })
        })
    }

    /// First offset whose record the log stamped at or after a wall-clock instant.
    #[must_use]
    pub fn first_offset_from_ms(&self, wall_ms: i64) -> Option<u64> {
        self.first_at_ms.range(wall_ms..).map(|(_, &offset)| offset).min()
    }
}

fn log_word(chunk: &Chunk, bit: u64, mut seen: Seen) -> Seen {
    if chunk.log_op & bit == 0 {
        seen.op = NO_OP;
    }
    if chunk.log_id & bit == 0 {
        seen.id = NO_ID;
    }
    seen
}

/// Whether a word fits what the slot holds. A second receipt for one offset never does, and a
/// second reading of the log only if it says the same.
fn agrees(chunk: &Chunk, bit: u64, source: Source, slot: &Seen, seen: &Seen) -> bool {
    let framed = (chunk.log | chunk.copy) & bit != 0;
    match source {
        Source::Receipt => {
            chunk.receipt & bit == 0 && slot.same_content(seen) && slot.same_name(seen)
        }
        Source::Log => {
            let names = if chunk.log & bit != 0 {
                log_word(chunk, bit, *slot).op == seen.op
                    && log_word(chunk, bit, *slot).id == seen.id
            } else {
                slot.same_name(seen)
            };
            slot.same_content(seen) && (!framed || slot.same_frame(seen)) && names
        }
        Source::Copy(_) => slot.same_content(seen) && (!framed || slot.same_frame(seen)),
    }
}

fn merge(slot: &mut Seen, source: Source, framed: u64, bit: u64, seen: &Seen) {
    if source != Source::Receipt && framed & bit == 0 {
        slot.headers = seen.headers;
        slot.timestamp_ms = seen.timestamp_ms;
    }
    if !matches!(source, Source::Copy(_)) {
        if slot.op == NO_OP {
            slot.op = seen.op;
        }
        if slot.id == NO_ID {
            slot.id = seen.id;
        }
    }
}

fn words_so_far(chunk: &Chunk, bit: u64, rank: usize, copies: &[u64]) -> Vec<(Source, Seen)> {
    let slot = chunk.slots[rank];
    let mut words = Vec::new();
    if chunk.receipt & bit != 0 {
        words.push((Source::Receipt, Seen { headers: 0, timestamp_ms: 0, ..slot }));
    }
    if chunk.log & bit != 0 {
        words.push((Source::Log, log_word(chunk, bit, slot)));
    }
    for (group, bits) in copies.iter().enumerate() {
        if bits & bit != 0 {
            words.push((Source::Copy(group), Seen { op: NO_OP, id: NO_ID, ..slot }));
        }
    }
    words
}

/// Runs of set bits as inclusive ranges.
fn bit_runs(mut bits: u64) -> impl Iterator<Item = Range> {
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let first = bits.trailing_zeros();
        let len = (bits >> first).trailing_ones();
        let mask = if len == 64 { u64::MAX } else { ((1u64 << len) - 1) << first };
        bits &= !mask;
        Some((u64::from(first), u64::from(first + len - 1)))
    })
}
