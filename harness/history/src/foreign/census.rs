//! What the header needs to know of all lines before the first fact is handed out: groups, topics, who
//! numbers operations, which operation a value belongs to, and how transactions ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use crate::event::*;

/// Values that are kept to find a record's operation; more, and records stay without one.
const VALUES_MAX: usize = 8_000_000;

/// An operation's number within its producer leaves room for the producer's.
const OPS_OF_ONE: u32 = 40;

/// A topic as lines speak of it.
#[derive(Debug, Clone, Default)]
pub(super) struct TopicSeen {
    /// Partitions that were named.
    pub(super) partitions: u32,
    /// Somebody sent to it.
    pub(super) written: bool,
    /// A group read it, stored from it, committed in it or was assigned to it.
    pub(super) consumed: bool,
    /// Its records were told.
    pub(super) logged: bool,
    /// It holds dead letters.
    pub(super) of_dead_letters: bool,
}

/// What a line says that a group promises.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupTold {
    pub(super) name: String,
    #[serde(default)]
    pub(super) topics: Vec<String>,
    pub(super) starts: Option<GroupStart>,
    pub(super) may_seek_back: Option<bool>,
    pub(super) reads_to_end: Option<bool>,
    pub(super) reads_uncommitted: Option<bool>,
    pub(super) keeps_members: Option<bool>,
    pub(super) store: Option<String>,
    pub(super) dead_letters: Option<String>,
}

/// A group as lines speak of it.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupSeen {
    /// Topics of what it read, stored, committed and owned.
    pub(super) topics: BTreeSet<String>,
    /// It stores: its delivery is what stands in the store, not what it read.
    pub(super) stores: bool,
    /// The topic of its dead letters.
    pub(super) dead_letters: Option<String>,
    /// What it was said to promise.
    pub(super) told: Option<GroupTold>,
}

impl GroupSeen {
    fn store(&self, name: &str) -> Option<String> {
        let told = self.told.as_ref().and_then(|told| told.store.clone());
        told.or_else(|| self.stores.then(|| format!("the store of {name}")))
    }

    /// What it is judged by.
    pub(super) fn promise(&self, name: &str) -> GroupPromise {
        let told = self.told.clone().unwrap_or_default();
        let topics = match told.topics.is_empty() {
            true => self.topics.iter().cloned().collect(),
            false => told.topics.clone(),
        };
        GroupPromise {
            group: name.to_owned(),
            raw_zone: self.store(name),
            dead_letter_topic: told.dead_letters.or_else(|| self.dead_letters.clone()),
            keeps_members: told.keeps_members.unwrap_or(false),
            topics,
            // Nobody said where it began, that it never goes back, or that it reads to the end.
            starts: told.starts.unwrap_or(GroupStart::Unknown),
            may_seek_back: told.may_seek_back.unwrap_or(true),
            may_stop_early: !told.reads_to_end.unwrap_or(false),
            reads_uncommitted: told.reads_uncommitted.unwrap_or(false),
            free_layout: true,
            ..GroupPromise::default()
        }
    }
}

/// An operation as its producer numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number {
    producer: u32,
    op: u64,
}

impl Number {
    /// The `n`th operation of those that have no number of their own.
    pub(super) fn fresh(n: u64) -> Self {
        Self { producer: u32::MAX, op: n }
    }
}

/// A bit for each number, by chunks.
#[derive(Debug, Default)]
struct OpSet(HashMap<u64, [u64; 4]>);

impl OpSet {
    fn insert(&mut self, op: u64) {
        self.0.entry(op / 256).or_default()[(op / 64 % 4) as usize] |= 1 << (op % 64);
    }

    fn has(&self, op: u64) -> bool {
        self.0
            .get(&(op / 256))
            .is_some_and(|bits| bits[(op / 64 % 4) as usize] >> (op % 64) & 1 == 1)
    }
}

/// Who numbers operations. Numbers are taken as they are, unless two producers use the same.
#[derive(Debug, Default)]
pub(super) struct Producers {
    numbers: HashMap<String, u32>,
    ops: Vec<OpSet>,
    shared: bool,
    highest: Option<u64>,
}

impl Producers {
    fn number(&mut self, process: &str) -> u32 {
        if let Some(&number) = self.numbers.get(process) {
            return number;
        }
        let number = self.ops.len() as u32;
        self.numbers.insert(process.to_owned(), number);
        self.ops.push(OpSet::default());
        number
    }

    /// A producer invokes an operation under a number.
    pub(super) fn claim(&mut self, process: &str, op: u64) -> Number {
        let producer = self.number(process);
        let others = self.ops.iter().enumerate().filter(|(n, _)| *n != producer as usize);
        self.shared |= others.into_iter().any(|(_, ops)| ops.has(op));
        self.ops[producer as usize].insert(op);
        self.highest = self.highest.max(Some(op));
        Number { producer, op }
    }

    /// The operation that a process means: its own, or that of the only one who has the number.
    pub(super) fn resolve(&self, process: Option<&str>, op: u64) -> Option<Number> {
        let own = process.and_then(|process| self.numbers.get(process));
        if let Some(&producer) = own
            && self.ops[producer as usize].has(op)
        {
            return Some(Number { producer, op });
        }
        let mut holders = (0..).zip(&self.ops).filter(|(_, ops)| ops.has(op));
        match (holders.next(), holders.next()) {
            (Some((producer, _)), None) => Some(Number { producer, op }),
            (None, _) => Some(Number { producer: own.copied().unwrap_or(0), op }),
            _ => None,
        }
    }

    /// Its number in the history.
    pub(super) fn global(&self, number: Number) -> Result<u64, String> {
        if number.producer == u32::MAX {
            return Ok(self.free().saturating_add(number.op));
        }
        if !self.shared {
            return Ok(number.op);
        }
        if number.op >> OPS_OF_ONE > 0 || number.producer >> (63 - OPS_OF_ONE) > 0 {
            return Err(format!(
                "several producers use the same numbers for operations, and {} is too high to be told apart",
                number.op
            ));
        }
        Ok(u64::from(number.producer) << OPS_OF_ONE | number.op)
    }

    /// The first number that no line claims.
    fn free(&self) -> u64 {
        match self.shared {
            true => (self.ops.len() as u64) << OPS_OF_ONE,
            false => self.highest.map_or(0, |op| op.saturating_add(1)),
        }
    }
}

/// Who sent a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// This operation alone.
    One(Number),
    /// Several.
    Several,
    /// None that was told.
    Nobody,
    /// There were too many values to keep.
    NotKept,
}

/// Which operation sent which value.
#[derive(Debug, Default)]
pub(super) struct Values {
    by_value: HashMap<u64, Option<Number>>,
    by_key: HashMap<u64, Option<Number>>,
    full: bool,
}

fn mixed(topic: &str, key: Option<&Blob>, value: Print) -> (u64, u64) {
    let topic = Print::of(topic.as_bytes()).0.to_le_bytes();
    let value = value.0.to_le_bytes();
    let key = key.map_or(0, |key| Print::of(&key.0).0 | 1).to_le_bytes();
    (Print::of(&[topic, value].concat()).0, Print::of(&[topic, value, key].concat()).0)
}

impl Values {
    pub(super) fn sent(&mut self, topic: &str, key: Option<&Blob>, value: Print, number: Number) {
        if self.by_key.len() >= VALUES_MAX {
            self.full = true;
            return;
        }
        let (value, keyed) = mixed(topic, key, value);
        for (map, print) in [(&mut self.by_value, value), (&mut self.by_key, keyed)] {
            map.entry(print).and_modify(|sender| *sender = None).or_insert(Some(number));
        }
    }

    pub(super) fn sender(&self, topic: &str, key: Option<&Blob>, value: Print) -> Sender {
        if self.full {
            return Sender::NotKept;
        }
        let (value, keyed) = mixed(topic, key, value);
        match (self.by_key.get(&keyed), self.by_value.get(&value)) {
            (Some(Some(number)), _) | (None, Some(Some(number))) => Sender::One(*number),
            (Some(None), _) | (None, Some(None)) => Sender::Several,
            (None, None) => Sender::Nobody,
        }
    }
}

/// Where operations were acknowledged, of so many as there is room for.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    topics: Vec<String>,
    places: HashMap<Number, (u32, u32, u64)>,
}

/// Receipts that are kept.
const RECEIPTS_MAX: usize = 2_000_000;

impl Receipts {
    pub(super) fn keep(&mut self, number: Number, (topic, partition, offset): (&str, u32, u64)) {
        if self.places.len() >= RECEIPTS_MAX {
            return;
        }
        let known = self.topics.iter().position(|known| known == topic);
        let topic = known.unwrap_or_else(|| {
            self.topics.push(topic.to_owned());
            self.topics.len() - 1
        });
        self.places.insert(number, (topic as u32, partition, offset));
    }

    pub(super) fn of(&self, number: Number) -> Option<(String, u32, u64)> {
        let &(topic, partition, offset) = self.places.get(&number)?;
        Some((self.topics[topic as usize].clone(), partition, offset))
    }
}

/// A partition by name.
pub(super) type Place = (String, u32);

/// A transaction as lines speak of it.
#[derive(Debug, Clone, Default)]
pub(super) struct TransactionSeen {
    pub(super) id: String,
    /// How it ended, and the process that said so.
    pub(super) outcome: Option<(TransactionState, String)>,
    pub(super) ops: BTreeSet<Number>,
    /// How many operations each process sent of it.
    pub(super) sent_by: BTreeMap<String, usize>,
    pub(super) records: BTreeMap<Place, BTreeSet<u64>>,
    /// Transactions whose records it read.
    pub(super) reads_from: BTreeSet<u32>,
    /// Its records that were read before it can have ended.
    pub(super) early: BTreeMap<Place, BTreeSet<u64>>,
}

impl TransactionSeen {
    pub(super) fn state(&self) -> TransactionState {
        self.outcome.as_ref().map_or(TransactionState::Unknown, |(state, _)| *state)
    }
}

/// All transactions.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    numbers: HashMap<String, u32>,
    pub(super) all: Vec<TransactionSeen>,
    of_op: HashMap<Number, u32>,
    of_record: HashMap<(Place, u64), u32>,
    /// Offsets of records of aborted transactions, as a reader of the log told them.
    pub(super) aborted: BTreeMap<Place, BTreeSet<u64>>,
}

impl Transactions {
    pub(super) fn number(&mut self, id: &str) -> u32 {
        if let Some(&number) = self.numbers.get(id) {
            return number;
        }
        let number = self.all.len() as u32;
        self.all.push(TransactionSeen { id: id.to_owned(), ..TransactionSeen::default() });
        self.numbers.insert(id.to_owned(), number);
        number
    }

    pub(super) fn get(&self, number: u32) -> &TransactionSeen {
        &self.all[number as usize]
    }

    pub(super) fn sent(&mut self, id: &str, number: Number, process: &str) {
        let transaction = self.number(id);
        let seen = &mut self.all[transaction as usize];
        seen.ops.insert(number);
        *seen.sent_by.entry(process.to_owned()).or_default() += 1;
        self.of_op.insert(number, transaction);
    }

    pub(super) fn of(&self, number: Number) -> Option<u32> {
        self.of_op.get(&number).copied()
    }

    pub(super) fn at(&self, place: &Place, offset: u64) -> Option<u32> {
        if self.of_record.is_empty() {
            return None;
        }
        self.of_record.get(&(place.clone(), offset)).copied()
    }

    /// A record of a transaction stands, or stood, at a place.
    pub(super) fn record(&mut self, transaction: u32, place: Place, offset: u64) {
        let records = &mut self.all[transaction as usize].records;
        records.entry(place.clone()).or_default().insert(offset);
        self.of_record.insert((place, offset), transaction);
    }

    /// A second word on how one ended that is not the first.
    pub(super) fn ended(&mut self, id: &str, state: TransactionState, process: &str) -> bool {
        let transaction = self.number(id);
        let outcome = &mut self.all[transaction as usize].outcome;
        let before = outcome.get_or_insert_with(|| (state, process.to_owned())).0;
        before == state
    }

    /// Offsets of a partition whose records belong to aborted transactions.
    pub(super) fn aborted_at(&self, place: &Place) -> BTreeSet<u64> {
        let mut offsets = self.aborted.get(place).cloned().unwrap_or_default();
        for transaction in self.all.iter().filter(|t| t.state() == TransactionState::Aborted) {
            offsets.extend(transaction.records.get(place).into_iter().flatten());
        }
        offsets
    }
}

/// All that the first reading finds out.
#[derive(Debug, Default)]
pub(super) struct Census {
    pub(super) groups: BTreeMap<String, GroupSeen>,
    pub(super) topics: BTreeMap<String, TopicSeen>,
    pub(super) evidence: BTreeSet<Evidence>,
    /// Earliest wall clock of any line, microseconds since the epoch.
    pub(super) zero_us: Option<i64>,
    pub(super) operations: u64,
    pub(super) producers: Producers,
    pub(super) values: Values,
    pub(super) receipts: Receipts,
    pub(super) transactions: Transactions,
    /// Groups of the broker's record of commits, with the topics of their commits.
    pub(super) watched: BTreeMap<String, BTreeSet<String>>,
    /// A producer's output ends without saying that the producer did: what it had sent then is unknown.
    pub(super) open_producer: bool,
}

impl Census {
    /// Takes note of a partition.
    pub(super) fn topic(&mut self, topic: &str, partition: Option<u32>) -> &mut TopicSeen {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), TopicSeen::default());
        }
        let Some(seen) = self.topics.get_mut(topic) else { unreachable!("it was put in") };
        if let Some(partition) = partition {
            seen.partitions = seen.partitions.max(partition.saturating_add(1));
        }
        seen
    }

    pub(super) fn group(&mut self, group: &str) -> &mut GroupSeen {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.to_owned(), GroupSeen::default());
        }
        let Some(seen) = self.groups.get_mut(group) else { unreachable!("it was put in") };
        seen
    }

    /// The lines were all read once: of the groups that the broker's record knows those count that somebody
    /// else speaks of, or all if nobody speaks of any.
    pub(super) fn close(&mut self) {
        let watched = std::mem::take(&mut self.watched);
        let alone = self.groups.is_empty();
        for (group, topics) in watched {
            if !alone && !self.groups.contains_key(&group) {
                continue;
            }
            let topics = topics.into_iter().filter(|topic| self.is_under_test(topic));
            let topics: Vec<String> = topics.collect();
            if !topics.is_empty() {
                self.group(&group).topics.extend(topics);
            }
        }
    }

    /// A group's members read uncommitted records.
    pub(super) fn reads_uncommitted(&self, group: &str) -> bool {
        let told = self.groups.get(group).and_then(|seen| seen.told.as_ref());
        told.and_then(|told| told.reads_uncommitted).unwrap_or(false)
    }

    /// The operation that alone sent a value, in whatever topic.
    pub(super) fn sender_anywhere(&self, key: Option<&Blob>, value: Print) -> Option<Number> {
        let written = self.topics.iter().filter(|(_, seen)| seen.written);
        let mut senders =
            written.filter_map(|(topic, _)| match self.values.sender(topic, key, value) {
                Sender::One(number) => Some(number),
                _ => None,
            });
        let first = senders.next()?;
        senders.next().is_none().then_some(first)
    }

    /// Somebody wrote or read it. Where nobody wrote or read anything, what was read back.
    pub(super) fn is_under_test(&self, topic: &str) -> bool {
        let Some(seen) = self.topics.get(topic) else { return false };
        let used = |seen: &TopicSeen| seen.written || seen.consumed;
        used(seen) || seen.of_dead_letters || !self.topics.values().any(used)
    }

    /// The topics that are judged, with their partitions. Dead letters have facts of their own.
    pub(super) fn topics_under_test(&self) -> BTreeMap<String, u32> {
        let judged = |(name, seen): (&String, &TopicSeen)| {
            let other = seen.of_dead_letters && !seen.written && !seen.consumed;
            (!other && self.is_under_test(name)).then(|| (name.clone(), seen.partitions))
        };
        self.topics.iter().filter_map(judged).collect()
    }
}
