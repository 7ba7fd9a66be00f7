//! Which events belong to which changes: by table, key and position in the database's log. A row that
//! comes from reading the whole table has no position of its own: it tells of the change that made it
//! what it was, which it names by its revision.

use std::collections::BTreeMap;

use super::tell::of_events;
use super::{Window, rows};
use crate::case::{Case, count, quoted};
use crate::index::Index;
use streamlake_history::event::{ChangeEvent, Lsn, RowOperation, SourceChange, SourcePromise};

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
    /// The table was read as a whole up to here before anything was captured from the log: of the
    /// changes before it only the rows that they left are owed.
    initial: Option<Lsn>,
    /// Of each change the next one of the same row.
    next: Vec<Option<usize>>,
    /// Every event of the topics under test, by topic, partition and offset.
    all: Vec<&'a ChangeEvent>,
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
            initial: None,
            next: Vec::new(),
            all: Vec::new(),
            strangers: Vec::new(),
            unreadable: Vec::new(),
        };
        let promised = |event: &&ChangeEvent| promise.tables.values().any(|t| *t == event.topic);
        captured.all = source.events.iter().filter(promised).collect();
        for event in captured.all.clone() {
            captured.take(event, &places);
        }
        captured.next = next_of_keys(&captured.changes);
        captured.initial = captured.first_reading();
        captured
    }

    /// Some events could not be understood.
    pub(super) fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Every event, partition by partition.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &[&'a ChangeEvent]> {
        self.all.chunk_by(|a, b| (&a.topic, a.partition) == (&b.topic, b.partition))
    }

    /// Where the transaction of a change ends in the log; before version 2 of the format nobody said,
    /// and it is taken for the change's own place.
    pub(super) fn commit_end(&self, number: usize) -> Lsn {
        let change = self.changes[number];
        change.commit_lsn.unwrap_or(Lsn(change.lsn.0 + 1))
    }

    /// The next change of the same row.
    pub(super) fn next_of_key(&self, number: usize) -> Option<usize> {
        self.next[number]
    }

    /// The position at which the table was read for the first time, before any event came from the log.
    fn first_reading(&self) -> Option<Lsn> {
        let from_log = |event: &&&ChangeEvent| {
            !matches!(event.operation, RowOperation::Read | RowOperation::Tombstone)
        };
        let streamed = self.all.iter().filter(from_log).map(|event| event.at_us).min();
        let read = self.all.iter().filter(|event| event.operation == RowOperation::Read);
        let first = read.filter(|event| streamed.is_none_or(|streamed| event.at_us <= streamed));
        first.filter_map(|event| event.lsn).max()
    }

    /// A change before the first reading of the table whose row had gone or was changed again by then.
    pub(super) fn is_excused(&self, number: usize) -> bool {
        let Some(initial) = self.initial else { return false };
        let before = |number: usize| self.commit_end(number) <= initial;
        let gone = self.changes[number].operation == RowOperation::Delete;
        before(number) && (gone || self.next[number].is_some_and(before))
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
        let missing =
            (0..self.changes.len()).filter(|&n| self.seen[n].is_empty() && !self.is_excused(n));
        missing.partition(|&n| {
            let read_over = self.read_up_to >= Some(self.changes[n].lsn);
            read_over || last.is_some_and(|last| n < last)
        })
    }

    /// Time from the commit to the first event of each change.
    pub(super) fn latencies(&self) -> Vec<u64> {
        let first = |(change, events): (&&SourceChange, &Vec<&ChangeEvent>)| {
            let event = events.first().filter(|event| event.operation != RowOperation::Read)?;
            Some(event.at_us.saturating_sub(change.committed_us))
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
        let place = |event: &ChangeEvent| (event.topic.clone(), event.partition, event.offset);
        let twice = self.all.windows(2).filter(|pair| place(pair[0]) == place(pair[1])).count();
        if twice > 0 {
            let offsets = count(twice as u64, "offset");
            case.doubt(format!("{offsets} of the topics were told twice"));
        }
    }

    /// Events of changes that were never committed.
    pub(super) fn strangers(&self, index: &Index, case: &mut Case<'_>) {
        let rolled_back = rows::rolled_back(index);
        let undone = |event: &&ChangeEvent| {
            event.transaction.is_some_and(|transaction| rolled_back.contains(&transaction))
        };
        let (undone, strangers): (Vec<_>, Vec<_>) =
            self.strangers.iter().copied().partition(undone);
        for (anomaly, events, what) in [
            ("event-of-a-rolled-back-transaction", undone, "of transactions that were rolled back"),
            ("event-without-change", strangers, "of changes that the database's log does not hold"),
        ] {
            if !events.is_empty() {
                let text = format!("{} {what}", count(events.len() as u64, "event"));
                case.find(of_events(anomaly, text, &events));
            }
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

/// Of each change the next one of the same row.
fn next_of_keys(changes: &[&SourceChange]) -> Vec<Option<usize>> {
    let mut last: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut next = vec![None; changes.len()];
    for (number, change) in changes.iter().enumerate() {
        let row = (change.table.as_str(), change.key.as_str());
        if let Some(before) = last.insert(row, number) {
            next[before] = Some(number);
        }
    }
    next
}
