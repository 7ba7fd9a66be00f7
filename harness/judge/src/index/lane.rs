//! What is known of the records of one partition, from three sources: the receipts that name them,
//! the log that holds them and the copies that groups stored.
//!
//! The sources come in any order and mostly agree, so one slot holds what all of them say, and bits
//! tell who has spoken. The first to disagree makes the offset *contested*: from then on everybody's
//! word is kept apart. Nothing is ever allocated by offset, only by record.

use std::collections::BTreeMap;

use super::NO_TIMESTAMP;
use super::coarse::{Coarse, Merge};
use super::ranges::{Range, RangeSet};
use super::slots::{Bits, CHUNK, Detail, Slots};
use streamlake_history::event::{Print, UNTOLD_MS};

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

/// What a source says, as fingerprints. Receipts know nothing of headers and timestamp; the operation
/// of copies is not compared, it follows from the value. Their id is, because it stands in their line
/// beside the headers.
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
        let untold = |seen: &Self| seen.value == Print::UNTOLD.0;
        untold(self) || untold(other) || (self.key == other.key && self.value == other.value)
    }

    /// Headers and timestamp are the same.
    #[must_use]
    pub fn same_frame(&self, other: &Self) -> bool {
        let untold = |seen: &Self| seen.timestamp_ms == UNTOLD_MS;
        let same_time = self.timestamp_ms == other.timestamp_ms || untold(self) || untold(other);
        self.headers == other.headers && same_time
    }

    /// What was told, for sentences: only what can be compared by eye.
    #[must_use]
    pub fn told(&self) -> String {
        let op = match self.op {
            NO_OP => String::new(),
            op => format!("operation {op}, "),
        };
        format!(
            "{op}value {:016x}, headers {:016x}, timestamp {} ms",
            self.value, self.headers, self.timestamp_ms
        )
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

#[derive(Debug, Clone)]
struct Chunk {
    receipt: Bits,
    log: Bits,
    // The log holds the record and names no operation, no id: a receipt may have filled them in.
    unnamed: Option<Box<Bits>>,
    untagged: Option<Box<Bits>>,
    // Copies hold the record and name no id.
    untagged_copy: Option<Box<Bits>>,
    slots: Slots,
}

impl Chunk {
    fn new(detail: Detail) -> Self {
        let (receipt, log) = (Bits::default(), Bits::default());
        Self {
            receipt,
            log,
            unnamed: None,
            untagged: None,
            untagged_copy: None,
            slots: Slots::new(detail),
        }
    }

    /// What the log said, if the slot holds it.
    fn log_word(&self, at: u64, mut seen: Seen) -> Seen {
        if self.unnamed.as_ref().is_some_and(|bits| bits.has(at)) {
            seen.op = NO_OP;
        }
        if self.untagged.as_ref().is_some_and(|bits| bits.has(at)) {
            seen.id = NO_ID;
        }
        seen
    }

    /// What copies said, if the slot holds it.
    fn copy_word(&self, at: u64, seen: Seen) -> Seen {
        let untagged = self.untagged_copy.as_ref().is_some_and(|bits| bits.has(at));
        Seen { op: NO_OP, id: if untagged { NO_ID } else { seen.id }, ..seen }
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
    /// Offsets with a record of an aborted transaction.
    pub aborted: Vec<Range>,
}

/// The records of one partition.
#[derive(Debug, Default)]
pub struct Lane {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// How many partitions its topic was promised to have; none if nothing was promised of it.
    pub promised: Option<u32>,
    /// Every reading of its bounds.
    pub bounds: Vec<Bounds>,
    /// Offsets on which sources disagree.
    pub contested: BTreeMap<u64, Contested>,
    chunks: Vec<Chunk>,
    // Bits per group and chunk: `copies[chunk * groups + group]`.
    copies: Vec<Bits>,
    groups: usize,
    detail: Detail,
    // Operations too far from their neighbours' to be packed beside them.
    far: BTreeMap<u64, u64>,
    place: BTreeMap<u64, u32>,
    last: [(u64, u32); 3],
    written: Option<Coarse<First>>,
    sent: Option<Coarse<Earliest>>,
}

/// Intervals of writing time that are kept of one partition.
const WRITTEN_MAX: usize = 1 << 13;

/// The lowest offset of an interval.
#[derive(Debug, Clone, Copy)]
struct First(u64);

impl Merge for First {
    fn merge(&mut self, other: Self) {
        self.0 = self.0.min(other.0);
    }
}

/// Intervals of offsets of which it is kept when the first of them was sent.
const SENT_MAX: usize = 1 << 13;

/// The earliest instant of an interval.
#[derive(Debug, Clone, Copy)]
struct Earliest(u64);

impl Merge for Earliest {
    fn merge(&mut self, other: Self) {
        self.0 = self.0.min(other.0);
    }
}

/// Milliseconds as they can be counted from below: the epoch is in the middle.
fn count_ms(timestamp_ms: i64) -> u64 {
    timestamp_ms.cast_unsigned() ^ (1 << 63)
}

impl Lane {
    pub(super) fn new(
        (topic, partition): (&str, u32),
        promised: Option<u32>,
        groups: usize,
        detail: Detail,
    ) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            promised,
            groups,
            detail,
            last: [(u64::MAX, 0); 3],
            ..Self::default()
        }
    }

    fn chunk(&mut self, number: u64, cache: usize) -> usize {
        if self.last[cache].0 == number {
            return self.last[cache].1 as usize;
        }
        let index = *self.place.entry(number).or_insert_with(|| {
            self.chunks.push(Chunk::new(self.detail));
            self.copies.extend(std::iter::repeat_n(Bits::default(), self.groups));
            u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX)
        });
        self.last[cache] = (number, index);
        index as usize
    }

    /// What of a word this index keeps and compares.
    #[must_use]
    pub fn reduce(&self, seen: Seen) -> Seen {
        self.detail.reduce(seen)
    }

    /// Takes a source's word on an offset.
    pub(super) fn hear(&mut self, offset: u64, source: Source, seen: Seen) {
        if source == Source::Log && ![NO_TIMESTAMP, UNTOLD_MS].contains(&seen.timestamp_ms) {
            self.note_time(offset, seen.timestamp_ms);
        }
        let (cache, seen) = match source {
            Source::Receipt => (0, Seen { headers: 0, timestamp_ms: 0, ..seen }),
            Source::Log => (1, seen),
            Source::Copy(_) => (2, Seen { op: NO_OP, ..seen }),
        };
        let seen = self.detail.reduce(seen);
        let index = self.chunk(offset / CHUNK, cache);
        let at = offset % CHUNK;
        let chunk = &self.chunks[index];
        if !chunk.slots.known().has(at) {
            self.chunks[index].slots.put(at, offset, seen, &mut self.far);
        } else if let Some(contested) = self.contested.get_mut(&offset) {
            contested.words.push((source, seen));
        } else {
            let slot = chunk.slots.get(at, offset, &self.far);
            let copies = &self.copies[index * self.groups..(index + 1) * self.groups];
            let framed = chunk.log.has(at) || copies.iter().any(|bits| bits.has(at));
            let copied = copies.iter().any(|bits| bits.has(at));
            if agrees(chunk, at, source, (framed, copied), &slot, &seen) {
                let merged = merge(slot, source, framed, &seen);
                if merged != slot {
                    self.chunks[index].slots.put(at, offset, merged, &mut self.far);
                }
            } else {
                let mut words = words_so_far(chunk, at, slot, copies);
                words.push((source, seen));
                self.contested.insert(offset, Contested { words });
            }
        }
        self.mark(index, at, source, &seen);
    }

    /// A reading of the log has said the same of this offset before.
    pub(super) fn is_logged_as(&self, offset: u64, seen: &Seen) -> bool {
        self.log_record(offset).is_some_and(|known| known == self.detail.reduce(*seen))
    }

    fn mark(&mut self, index: usize, at: u64, source: Source, seen: &Seen) {
        let chunk = &mut self.chunks[index];
        match source {
            Source::Receipt => chunk.receipt.set(at),
            Source::Log => {
                chunk.log.set(at);
                if seen.op == NO_OP {
                    chunk.unnamed.get_or_insert_default().set(at);
                }
                if seen.id == NO_ID && self.detail == Detail::Full {
                    chunk.untagged.get_or_insert_default().set(at);
                }
            }
            Source::Copy(group) => {
                if seen.id == NO_ID && self.detail == Detail::Full {
                    chunk.untagged_copy.get_or_insert_default().set(at);
                }
                self.copies[index * self.groups + group].set(at);
            }
        }
    }

    fn note_time(&mut self, offset: u64, timestamp_ms: i64) {
        let written = self.written.get_or_insert_with(|| Coarse::new(0, WRITTEN_MAX));
        written.add(count_ms(timestamp_ms), First(offset));
    }

    /// The record at an offset was handed to a producer at this instant.
    pub(super) fn sent(&mut self, offset: u64, t_us: u64) {
        let sent = self.sent.get_or_insert_with(|| Coarse::new(0, SENT_MAX));
        sent.add(offset, Earliest(t_us));
    }

    /// An instant before which the record at an offset cannot have been there: it, or a neighbour, was
    /// sent then. None if no receipt names any of them.
    #[must_use]
    pub fn not_before(&self, offset: u64) -> Option<u64> {
        let sent = self.sent.as_ref()?;
        sent.entries().get(&sent.interval(offset)).map(|earliest| earliest.0)
    }

    /// All offsets from this one on were sent after an instant; as far as receipts tell, and never too
    /// low.
    #[must_use]
    pub fn end_at(&self, t_us: u64) -> u64 {
        let Some(sent) = &self.sent else { return u64::MAX };
        let mut end = u64::MAX;
        for (&interval, earliest) in sent.entries().iter().rev() {
            if earliest.0 <= t_us {
                break;
            }
            end = sent.start(interval);
        }
        end
    }

    /// Offsets with the earliest instant at which any from there on was sent, the last offset first and each
    /// instant earlier than the one before; as far as receipts tell, and to the interval.
    #[must_use]
    pub fn sent_by(&self) -> Vec<(u64, u64)> {
        let mut found: Vec<(u64, u64)> = Vec::new();
        let Some(sent) = &self.sent else { return found };
        for (&interval, earliest) in sent.entries().iter().rev() {
            if found.last().is_none_or(|(last, _)| earliest.0 < *last) {
                found.push((earliest.0, sent.start(interval)));
            }
        }
        found
    }

    pub(super) fn settle(&mut self) {
        if let Some(written) = &mut self.written {
            written.close();
        }
        if let Some(sent) = &mut self.sent {
            sent.close();
        }
        for contested in self.contested.values_mut() {
            contested.words.sort_unstable();
            contested.words.dedup();
        }
        self.bounds.sort_unstable();
        self.bounds.dedup();
    }

    fn set(&self, bits: impl Fn(&Chunk) -> Bits) -> RangeSet {
        RangeSet::of_rising(self.place.iter().flat_map(|(&number, &index)| {
            let runs = bits(&self.chunks[index as usize]).runs();
            runs.map(move |(a, b)| (number * CHUNK + a, number * CHUNK + b))
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

    /// Offsets of records of aborted transactions: who reads committed ones is never given them.
    #[must_use]
    pub fn aborted(&self) -> RangeSet {
        RangeSet::of(self.bounds.iter().flat_map(|b| b.aborted.iter().copied()))
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

    fn slot(&self, offset: u64) -> Option<(&Chunk, Seen)> {
        let chunk = &self.chunks[*self.place.get(&(offset / CHUNK))? as usize];
        let at = offset % CHUNK;
        chunk.slots.known().has(at).then(|| (chunk, chunk.slots.get(at, offset, &self.far)))
    }

    /// A receipt names this offset.
    #[must_use]
    pub fn is_acknowledged(&self, offset: u64) -> bool {
        let index = self.place.get(&(offset / CHUNK));
        index.is_some_and(|&n| self.chunks[n as usize].receipt.has(offset % CHUNK))
    }

    /// The words of all receipts, rising.
    pub fn receipts(&self) -> impl Iterator<Item = (u64, Seen)> + '_ {
        self.place.iter().flat_map(move |(&number, &index)| {
            let chunk = &self.chunks[index as usize];
            chunk.receipt.places().flat_map(move |at| {
                let offset = number * CHUNK + at;
                let words: Vec<Seen> = match self.contested.get(&offset) {
                    Some(contested) => contested.of(Source::Receipt).copied().collect(),
                    None => vec![chunk.slots.get(at, offset, &self.far)],
                };
                words.into_iter().map(move |seen| (offset, seen))
            })
        })
    }

    /// What a source says of an offset, if it speaks of it. Copies share a slot: only where they are
    /// contested are they told apart.
    pub fn words_at(&self, offset: u64, source: Source) -> impl Iterator<Item = Seen> + '_ {
        let contested = self.contested.get(&offset);
        let words = contested.into_iter().flat_map(move |contested| contested.of(source).copied());
        let slot = self.slot(offset).filter(|_| contested.is_none()).and_then(|(chunk, seen)| {
            let at = offset % CHUNK;
            match source {
                Source::Receipt => chunk.receipt.has(at).then_some(seen),
                Source::Log => chunk.log.has(at).then(|| chunk.log_word(at, seen)),
                Source::Copy(_) => None,
            }
        });
        words.chain(slot)
    }

    /// Offsets at which the log is known to hold a record: those that were read back, and where it was
    /// not read to its end those that receipts name, too.
    #[must_use]
    pub fn held(&self) -> RangeSet {
        if self.complete() { self.logged() } else { self.logged().union(&self.acknowledged()) }
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
            None => self.slot(offset)?.1.op,
        };
        (op != NO_OP).then_some(op)
    }

    /// Operations of the records in a range, by offset. Costs what records there are, not the range.
    pub fn ops_in(&self, (first, last): Range) -> impl Iterator<Item = u64> + '_ {
        self.place.range(first / CHUNK..=last / CHUNK).flat_map(move |(&number, &index)| {
            let known = self.chunks[index as usize].slots.known();
            let offsets = known.places().map(move |at| number * CHUNK + at);
            offsets.filter(move |o| (first..=last).contains(o)).filter_map(|o| self.op_at(o))
        })
    }

    /// What the log says of an offset, if it holds it.
    #[must_use]
    pub fn log_record(&self, offset: u64) -> Option<Seen> {
        if let Some(contested) = self.contested.get(&offset) {
            return contested.of(Source::Log).next().copied();
        }
        let (chunk, seen) = self.slot(offset)?;
        chunk.log.has(offset % CHUNK).then(|| chunk.log_word(offset % CHUNK, seen))
    }

    /// All records of the log, rising.
    pub fn log_records(&self) -> impl Iterator<Item = (u64, Seen)> + '_ {
        self.place.iter().flat_map(move |(&number, &index)| {
            let chunk = &self.chunks[index as usize];
            chunk.log.places().filter_map(move |at| {
                let offset = number * CHUNK + at;
                if self.contested.contains_key(&offset) {
                    return self.log_record(offset).map(|seen| (offset, seen));
                }
                let seen = chunk.slots.get(at, offset, &self.far);
                Some((offset, chunk.log_word(at, seen)))
            })
        })
    }

    /// Offsets with the instants, in milliseconds since the epoch, from which on records from there on
    /// were stamped; rising, and to the interval, as [`Lane::first_from_ms`].
    #[must_use]
    pub fn written(&self) -> Vec<(u64, i64)> {
        let entries = self.written.iter().flat_map(|written| {
            let start = |interval: u64| (written.start(interval) ^ (1 << 63)).cast_signed();
            written.entries().iter().map(move |(&interval, first)| (first.0, start(interval)))
        });
        let mut all: Vec<_> = entries.collect();
        all.sort_unstable();
        all
    }

    /// An offset whose record the log stamped after a wall-clock instant, and when it did: the first,
    /// or, of more than some thousand milliseconds of writing, one close behind it.
    #[must_use]
    pub fn first_from_ms(&self, wall_ms: i64) -> Option<(u64, i64)> {
        let written = self.written.as_ref()?;
        let before = count_ms(wall_ms).checked_sub(1)?;
        let mut later = written.entries().range(written.interval(before) + 1..);
        let (&interval, mut first) = later.next()?;
        for (_, other) in later {
            first = if other.0 < first.0 { other } else { first };
        }
        Some((first.0, (written.start(interval) ^ (1 << 63)).cast_signed()))
    }
}

/// Whether a word fits what the slot holds. A second receipt for one offset never does, and a
/// second reading of the log only if it says the same. `framed`: headers and timestamp are known.
/// `copied`: a copy has spoken.
fn agrees(
    chunk: &Chunk,
    at: u64,
    source: Source,
    (framed, copied): (bool, bool),
    slot: &Seen,
    seen: &Seen,
) -> bool {
    let frame = || !framed || slot.same_frame(seen);
    // Log and copies have the id from the same headers: one without is a difference.
    let copies_id = || !copied || chunk.copy_word(at, *slot).id == seen.id;
    slot.same_content(seen)
        && match source {
            Source::Receipt => !chunk.receipt.has(at) && slot.same_name(seen),
            Source::Log if chunk.log.has(at) => {
                let word = chunk.log_word(at, *slot);
                word.op == seen.op && word.id == seen.id && frame()
            }
            Source::Log => slot.same_name(seen) && copies_id() && frame(),
            Source::Copy(_) if chunk.log.has(at) => {
                chunk.log_word(at, *slot).id == seen.id && copies_id() && frame()
            }
            Source::Copy(_) => slot.same_name(seen) && copies_id() && frame(),
        }
}

fn merge(mut slot: Seen, source: Source, framed: bool, seen: &Seen) -> Seen {
    if source != Source::Receipt && !framed {
        slot.headers = seen.headers;
        slot.timestamp_ms = seen.timestamp_ms;
    }
    if slot.timestamp_ms == UNTOLD_MS && source != Source::Receipt {
        slot.timestamp_ms = seen.timestamp_ms;
    }
    if slot.value == Print::UNTOLD.0 {
        (slot.key, slot.value) = (seen.key, seen.value);
    }
    if slot.op == NO_OP {
        slot.op = seen.op;
    }
    if slot.id == NO_ID {
        slot.id = seen.id;
    }
    slot
}

fn words_so_far(chunk: &Chunk, at: u64, slot: Seen, copies: &[Bits]) -> Vec<(Source, Seen)> {
    let mut words = Vec::new();
    if chunk.receipt.has(at) {
        words.push((Source::Receipt, Seen { headers: 0, timestamp_ms: 0, ..slot }));
    }
    if chunk.log.has(at) {
        words.push((Source::Log, chunk.log_word(at, slot)));
    }
    for (group, bits) in copies.iter().enumerate() {
        if bits.has(at) {
            words.push((Source::Copy(group), chunk.copy_word(at, slot)));
        }
    }
    words
}
