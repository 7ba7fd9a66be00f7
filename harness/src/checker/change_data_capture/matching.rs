//! Which events belong to which changes: by table, key and position in the database's log. A row that
//! comes from reading the whole table has no position of its own: it tells of the change that made it
//! what it was, which it names by its revision.

use std::collections::BTreeMap;

use super::{Window, of_events};
use crate::checker::case::{Case, count, quoted};
use crate::history::event::{ChangeEvent, Lsn, RowOperation, SourceChange, SourcePromise};
use crate::history::index::Index;

/// Table, key and position → number of the change.
type Places<'a> = BTreeMap<(&'a str, &'a str, Lsn), usize>;

/// Changes with their events.
pub(super) struct Captured<'a> {
    /// The changes of the tables under test in the order of their commits.
    pub(super) changes: Vec<&'a SourceChange>,
    /// The events of each change in the order of the topic.
    pub(super) seen: Vec<Vec<&'a ChangeEvent>>,
    /// Events of each key in the order of the topic, with the numbers of their changes.
    pub(super) by_key: BTreeMap<(&'a str, &'a str), Vec<(usize, &'a ChangeEvent)>>,
    /// Events from reading the table.
    pub(super) snapshots: u64,
    /// The furthest position at which the table was read as a whole: changes up to there without an
    /// event will never have one.
    pub(super) read_up_to: Option<Lsn>,
    /// Empty records after deletes.
    pub(super) tombstones: u64,
    strangers: Vec<&'a ChangeEvent>,
    unreadable: Vec<&'a ChangeEvent>,
}

impl<'a> Captured<'a> {
    pub(super) fn of(index: &'a Index, promise: &SourcePromise) -> Self {
        let source = &index.rare.source;
        let under_test = |change: &&SourceChange| promise.tables.contains_key(&change.table);
        let changes: Vec<&SourceChange> = source.changes.iter().filter(under_test).collect();
        let places = changes.iter().enumerate().map(|(number, change)| {
            ((change.table.as_str(), change.key.as_str(), change.lsn), number)
        });
        let places: Places<'_> = places.collect();
        let mut captured = Self {
            seen: vec![Vec::new(); changes.len()],
            changes,
            by_key: BTreeMap::new(),
            snapshots: 0,
            read_up_to: None,
            tombstones: 0,
            strangers: Vec::new(),
            unreadable: Vec::new(),
        };
        let promised = |event: &&ChangeEvent| promise.tables.values().any(|t| *t == event.topic);
        for event in source.events.iter().filter(promised) {
            captured.take(event, &places);
        }
        captured
    }

    fn take(&mut self, event: &'a ChangeEvent, places: &BTreeMap<(&'a str, &'a str, Lsn), usize>) {
        if event.problem.is_some() {
            return self.unreadable.push(event);
        }
        let (table, key) = (event.table.as_str(), event.key.as_str());
        let number = match event.operation {
            RowOperation::Tombstone => return self.tombstones += 1,
            RowOperation::Read => {
                self.snapshots += 1;
                self.read_up_to = self.read_up_to.max(event.lsn);
                let same = |c: &&SourceChange| {
                    (c.table.as_str(), c.key.as_str(), c.revision) == (table, key, event.revision)
                };
                event.revision.and_then(|_| self.changes.iter().position(same))
            }
            _ => event.lsn.and_then(|lsn| places.get(&(table, key, lsn)).copied()),
        };
        let Some(number) = number else { return self.strangers.push(event) };
        self.seen[number].push(event);
        self.by_key.entry((table, key)).or_default().push((number, event));
    }

    /// Events of committed changes, repeated ones included.
    pub(super) fn events(&self) -> u64 {
        self.seen.iter().map(|events| events.len() as u64).sum()
    }

    /// Changes without an event: those that the capture has gone past, by later events or by reading
    /// the whole table anew, and those after all that it has captured.
    pub(super) fn missing(&self) -> (Vec<usize>, Vec<usize>) {
        let last = self.seen.iter().rposition(|events| !events.is_empty());
        let missing = (0..self.changes.len()).filter(|&n| self.seen[n].is_empty());
        missing.partition(|&n| {
            let read_over = self.read_up_to >= Some(self.changes[n].lsn);
            read_over || last.is_some_and(|last| n < last)
        })
    }

    /// Time from the commit to the first event of each change.
    pub(super) fn latencies(&self) -> Vec<u64> {
        let first = |(change, events): (&&SourceChange, &Vec<&ChangeEvent>)| {
            events.first().map(|event| event.at_us.saturating_sub(change.committed_us))
        };
        self.changes.iter().zip(&self.seen).filter_map(first).collect()
    }

    /// Events that could not be understood keep everything else from being said for sure.
    pub(super) fn undecided(&self, case: &mut Case<'_>) {
        if let Some(first) = self.unreadable.first() {
            let problem = first.problem.as_deref().unwrap_or_default();
            let events = count(self.unreadable.len() as u64, "event");
            case.doubt(format!("{events} could not be understood; the first: {}", quoted(problem)));
        }
    }

    /// Events of changes that were never committed.
    pub(super) fn strangers(&self, case: &mut Case<'_>) {
        if !self.strangers.is_empty() {
            let events = count(self.strangers.len() as u64, "event");
            let text = format!("{events} of changes that the database's log does not hold");
            case.find(of_events("event-without-change", text, &self.strangers));
        }
    }

    /// Events that say something else than the database's log of the same position.
    pub(super) fn differing(&self, case: &mut Case<'_>) {
        let mut differing = Vec::new();
        for (change, events) in self.changes.iter().zip(&self.seen) {
            let said = (change.operation, change.revision, Some(change.transaction));
            let differs = |e: &&&ChangeEvent| {
                e.operation != RowOperation::Read
                    && (e.operation, e.revision, e.transaction) != said
            };
            differing.extend(events.iter().filter(differs).copied());
        }
        if !differing.is_empty() {
            let events = count(differing.len() as u64, "event");
            let text =
                format!("{events} with another operation, content or transaction than committed");
            case.find(of_events("event-differs-from-change", text, &differing));
        }
    }

    /// Changes that were committed after a fault was seen to bite.
    pub(super) fn newer(&self, window: &Window<'_>) -> impl Iterator<Item = usize> {
        let from = window.seen_us.unwrap_or(window.begun_us);
        (0..self.changes.len()).filter(move |&n| self.changes[n].committed_us > from)
    }

    /// When the first of them was captured, not before the heal.
    pub(super) fn recovered(&self, window: &Window<'_>) -> Option<u64> {
        let healed = window.healed_us?;
        let first = self.newer(window).filter_map(|n| self.seen[n].first()).map(|e| e.at_us).min();
        first.map(|at| at.max(healed))
    }
}
