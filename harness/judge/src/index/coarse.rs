//! A map by time that never holds more than so many entries: when it would, the entries of two
//! neighbouring intervals become one. How wide the intervals end up depends on the times that were
//! seen, not on their order.

use std::collections::BTreeMap;

/// Entries that become one when their intervals do.
pub(super) trait Merge {
    /// Takes another entry in.
    fn merge(&mut self, other: Self);
}

/// Intervals of a power of two, from `1 << shift` on.
#[derive(Debug, Clone)]
pub(super) struct Coarse<V> {
    entries: BTreeMap<u64, V>,
    shift: u32,
    entries_max: usize,
    // The interval in hand, to keep the map out of the way of times that come in order.
    open: Option<(u64, V)>,
}

impl<V: Merge> Coarse<V> {
    pub(super) fn new(shift: u32, entries_max: usize) -> Self {
        Self { entries: BTreeMap::new(), shift, entries_max, open: None }
    }

    /// Adds an entry at an instant.
    pub(super) fn add(&mut self, at: u64, value: V) {
        let interval = at >> self.shift;
        match &mut self.open {
            Some((open, entry)) if *open == interval => entry.merge(value),
            _ => {
                self.close();
                self.open = Some((at >> self.shift, value));
            }
        }
    }

    /// Ends the interval in hand; to be called before anything is asked.
    pub(super) fn close(&mut self) {
        let Some((interval, value)) = self.open.take() else { return };
        put(&mut self.entries, interval, value);
        while self.entries.len() > self.entries_max {
            self.shift += 1;
            for (interval, value) in std::mem::take(&mut self.entries) {
                put(&mut self.entries, interval >> 1, value);
            }
        }
    }

    /// The interval of an instant.
    pub(super) fn interval(&self, at: u64) -> u64 {
        at >> self.shift
    }

    /// The first instant of an interval.
    pub(super) fn start(&self, interval: u64) -> u64 {
        interval << self.shift
    }

    /// Entries by interval.
    pub(super) fn entries(&self) -> &BTreeMap<u64, V> {
        &self.entries
    }
}

fn put<V: Merge>(entries: &mut BTreeMap<u64, V>, interval: u64, value: V) {
    match entries.get_mut(&interval) {
        Some(entry) => entry.merge(value),
        None => {
            entries.insert(interval, value);
        }
    }
}
