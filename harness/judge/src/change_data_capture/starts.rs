//! When the capture began anew, and where: what comes again comes from one of these starts on. By the
//! database's own record of its senders, or, in histories that do not have it, by the sender that the
//! slot was seen to have.

use std::collections::BTreeSet;

use super::clocks::{Clocks, Span};
use crate::index::Index;
use streamlake_history::event::{ChangeEvent, Lsn, SourcePromise};

/// One start of the capture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) at: Span,
    /// Transactions whose commit ends after it are sent; none if nobody knows.
    pub(super) from: Option<Lsn>,
    /// The position that the connector asked for.
    pub(super) asked: Option<Lsn>,
}

/// All starts, by time.
#[derive(Debug)]
pub(super) struct Starts {
    all: Vec<Start>,
    clocks: Clocks,
    /// Why they are not known, or not all of them.
    pub(super) unknown: Option<String>,
}

/// What explains that events come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Explained {
    /// These starts, one between each event and its repetition.
    By(Vec<usize>),
    /// The clocks do not tell whether a start lies between.
    Undecided,
    /// Nothing: the capture did not begin anew between the events.
    Nothing,
}

impl Starts {
    pub(super) fn of(index: &Index, promise: &SourcePromise, clocks: Clocks) -> Self {
        let source = &index.rare.source;
        let recorded = source.reads.first().and_then(|read| read.starts);
        let found = source.starts.iter().filter(|start| start.slot == promise.slot);
        let found: Vec<Start> = found
            .map(|start| Start {
                at: clocks.database(start.at_us),
                from: Some(start.from),
                asked: start.asked,
            })
            .collect();
        let (all, unknown) = match recorded {
            Some(count) if count == found.len() as u64 => (found, None),
            Some(count) => {
                let why = format!(
                    "the reader of the database's record of senders saw {count} starts and told {}",
                    found.len()
                );
                (found, Some(why))
            }
            None if source.reads.is_empty() => {
                (found, Some("the database's record of its senders was not read".to_owned()))
            }
            None => by_senders(index),
        };
        let all = joined(all, &source.events, clocks);
        Self { all, clocks, unknown }
    }

    /// The starts by time.
    pub(super) fn all(&self) -> &[Start] {
        &self.all
    }

    /// What explains that a change whose commit ends at `commit` comes again and again: between each
    /// event and the next one a start of its own, which began before the change.
    pub(super) fn explain(&self, events: &[&ChangeEvent], commit: Lsn) -> Explained {
        let slack = self.clocks.doubtful_us();
        let sends = |start: &Start| start.from.is_none_or(|from| from < commit);
        // What stands in the topic already came from a start of its own.
        let begun = events.first().map_or(0, |first| self.clocks.appended(first.at_us).high);
        let first = self.all.iter().position(|start| start.at.low <= begun);
        let mut used: Vec<usize> = Vec::new();
        for pair in events.windows(2) {
            let after = self.clocks.appended(pair[0].at_us).low;
            let before = self.clocks.appended(pair[1].at_us).high;
            let free = used.last().copied().or(first).map_or(0, |last| last + 1);
            let fits = |slack: i64, free: usize| {
                (free..self.all.len()).find(|&n| {
                    let start = &self.all[n];
                    let (low, high) = (start.at.low, start.at.high);
                    sends(start)
                        && high.saturating_add(slack) >= after
                        && low <= before.saturating_add(slack)
                })
            };
            match fits(0, free) {
                Some(start) => used.push(start),
                None if slack > 0 && fits(slack, 0).is_some() => return Explained::Undecided,
                None => return Explained::Nothing,
            }
        }
        Explained::By(used)
    }
}

/// A sender that the slot was not seen to have before began after the last look that showed the one
/// before it.
fn by_senders(index: &Index) -> (Vec<Start>, Option<String>) {
    let slots = &index.rare.source.slots;
    if slots.is_empty() {
        return (Vec::new(), Some("the connector's slot was never looked at".to_owned()));
    }
    let (mut known, mut before) = (BTreeSet::new(), 0);
    let mut all = Vec::new();
    for slot in slots {
        if let Some(pid) = slot.fact.active_pid
            && known.insert(pid)
        {
            let at = Span { low: signed(before), high: signed(slot.t_us) };
            all.push(Start { at, from: None, asked: None });
        }
        before = slot.t_us;
    }
    (all, None)
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

/// A task starts its sender twice: to find the place to go on from, then to go on. Starts without an
/// event between them are one.
fn joined(starts: Vec<Start>, events: &[ChangeEvent], clocks: Clocks) -> Vec<Start> {
    let mut appended: Vec<Span> = events.iter().map(|e| clocks.appended(e.at_us)).collect();
    appended.sort_unstable_by_key(|span| span.high);
    let mut all: Vec<Start> = Vec::new();
    for start in starts {
        let Some(last) = all.last_mut() else {
            all.push(start);
            continue;
        };
        let first = appended.partition_point(|span| span.high < last.at.low);
        let between = appended.get(first).is_some_and(|span| span.low <= start.at.high);
        if between || last.from.is_none() {
            all.push(start);
        } else {
            last.at.high = last.at.high.max(start.at.high);
            last.from = last.from.min(start.from);
            last.asked = last.asked.min(start.asked);
        }
    }
    all
}
