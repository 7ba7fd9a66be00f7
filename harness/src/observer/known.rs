//! What the log of the topic under test holds, to find records again that others name: by place, by the
//! operation that they are of, by their value.

use std::collections::{BTreeMap, HashMap};

use crate::adapter::command::Logged;
use streamlake_history::event::Print;

/// Partition and offset.
pub(crate) type Place = (u32, u64);

/// The records of one topic.
#[derive(Debug, Default)]
pub(crate) struct Known {
    topic: String,
    /// Nobody asks: nothing is kept.
    keeps: bool,
    records: BTreeMap<Place, Logged>,
    by_op: HashMap<u64, Vec<Place>>,
    by_value: HashMap<u64, Vec<Place>>,
    ends: BTreeMap<u32, u64>,
}

impl Known {
    /// Of a topic of which nothing was read yet. With `keeps` false it stays so.
    pub(crate) fn new(topic: &str, keeps: bool) -> Self {
        Self { topic: topic.to_owned(), keeps, ..Self::default() }
    }

    /// Takes a record in, with the operation that it names.
    pub(crate) fn take(
        &mut self,
        partition: u32,
        offset: u64,
        op: Option<u64>,
        value: Option<&[u8]>,
    ) {
        if !self.keeps {
            return;
        }
        let (place, logged) = ((partition, offset), Logged::of(value));
        if let Some(op) = op {
            self.by_op.entry(op).or_default().push(place);
        }
        self.by_value.entry(logged.value.0).or_default().push(place);
        self.records.insert(place, logged);
    }

    /// Takes in that a partition was read up to an offset.
    pub(crate) fn read_to(&mut self, partition: u32, end: u64) {
        self.ends.insert(partition, end);
    }

    /// Whether an offset lies behind all that was read of its partition.
    pub(crate) fn is_behind(&self, partition: u32, offset: u64) -> bool {
        self.ends.get(&partition).is_some_and(|end| offset >= *end)
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The record at a place of a topic.
    pub(crate) fn at(&self, topic: &str, partition: u32, offset: u64) -> Option<&Logged> {
        self.records.get(&(partition, offset)).filter(|_| topic == self.topic)
    }

    /// The records of an operation, as the log was read.
    pub(crate) fn of_op(&self, op: u64) -> &[Place] {
        self.by_op.get(&op).map_or(&[], Vec::as_slice)
    }

    /// The records with a value.
    pub(crate) fn of_value(&self, value: Print) -> &[Place] {
        self.by_value.get(&value.0).map_or(&[], Vec::as_slice)
    }
}
