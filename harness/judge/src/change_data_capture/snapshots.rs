//! Rows that come from reading the whole table. Each is held against the versions of its row that the
//! database's log tells; here it is asked whether the version is the one that stood in the table when
//! it was read, and whether all rows of one reading stood there at one time.
//!
//! A row names the position at which its reading began. What the reading saw is that position or a
//! little before it: how much, the instants say. It began no earlier than the last event that came from
//! the log, and than the last look that showed no slot.

use std::collections::BTreeMap;

use super::Context;
use super::tell::{self, of_told_events};
use crate::case::{Case, anomalous, count};
use streamlake_history::event::{ChangeEvent, Lsn, RowOperation, SourceChange};

/// The number of a row's version, and the event that tells of it.
type Version<'a> = (usize, &'a ChangeEvent);

pub(super) fn judge(context: &Context<'_>, case: &mut Case<'_>) {
    let mut readings: BTreeMap<Lsn, Vec<Version<'_>>> = BTreeMap::new();
    for (number, events) in context.captured.seen.iter().enumerate() {
        for event in events.iter().filter(|event| event.operation == RowOperation::Read) {
            if let Some(lsn) = event.lsn {
                readings.entry(lsn).or_default().push((number, *event));
            }
        }
    }
    for (lsn, versions) in readings {
        stale(context, lsn, &versions, case);
        of_one_time(context, lsn, &versions, case);
    }
}

/// Rows that had been changed again, for sure, before the table was read.
fn stale(context: &Context<'_>, lsn: Lsn, versions: &[Version<'_>], case: &mut Case<'_>) {
    let began = began(context, versions);
    let mut stale: Vec<(&ChangeEvent, String)> = Vec::new();
    let mut newer = 0;
    for &(number, event) in versions {
        if let Some(next) = context.captured.next_of_key(number)
            && context.captured.commit_end(next) <= lsn
            && context.clocks.database(context.captured.changes[next].committed_us).high < began
        {
            let change: &SourceChange = context.captured.changes[next];
            stale.push((event, format!("; before that: {}", tell::change(change))));
        }
        newer += u64::from(context.captured.commit_end(number) > lsn);
    }
    if !stale.is_empty() {
        let text = format!(
            "{} with an older content than the table had when it was read as a whole at {lsn}",
            count(stale.len() as u64, "row")
        );
        case.find(of_told_events("snapshot-row-is-stale", text, &stale));
    }
    if newer > 0 {
        case.doubt(format!(
            "{} as of after {lsn}, the position at which the table is said to have been read",
            tell::one_or_many(newer, "row stands", "rows stand")
        ));
    }
}

/// The earliest instant at which the table can have been read.
fn began(context: &Context<'_>, versions: &[Version<'_>]) -> i64 {
    let first = versions.iter().map(|(_, event)| event.at_us).min().unwrap_or(0);
    let streamed = context.captured.seen.iter().flatten();
    let streamed = streamed.filter(|e| e.operation != RowOperation::Read && e.at_us < first);
    let streamed = streamed.map(|event| context.clocks.appended(event.at_us).low).max();
    let slots = context.index.rare.source.slots.iter();
    let without = slots.filter(|slot| slot.fact.is_gone() && slot.t_us < first);
    let without = without.map(|slot| i64::try_from(slot.t_us).unwrap_or(i64::MAX)).max();
    streamed.max(without).unwrap_or(i64::MIN)
}

/// There is a place in the order of commits at which all rows of one reading stood in the table.
fn of_one_time(context: &Context<'_>, lsn: Lsn, versions: &[Version<'_>], case: &mut Case<'_>) {
    let captured = context.captured;
    let newest = versions.iter().max_by_key(|(number, _)| captured.commit_end(*number));
    let ended = versions.iter().filter_map(|&(number, event)| {
        let next = captured.next_of_key(number)?;
        Some((captured.commit_end(next), event))
    });
    let first_ended = ended.min_by_key(|(commit, _)| *commit);
    if let (Some(&(number, newest)), Some((end, oldest))) = (newest, first_ended)
        && captured.commit_end(number) >= end
    {
        let text = format!(
            "the rows that were read from the whole table at {lsn} never stood in it together: one was \
             changed again at {end}, another one came to be at {}",
            captured.commit_end(number)
        );
        let mut finding = anomalous("snapshot-rows-of-different-times", text);
        finding.at_us = Some(oldest.at_us);
        finding.evidence = [oldest, newest].map(tell::event).into();
        case.find(finding);
    }
}
