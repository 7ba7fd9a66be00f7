//! What each event says of its row, column by column, against what the database logged of the same
//! change: the row as it was before, and as it is now.

use std::collections::BTreeSet;

use super::Context;
use super::tell::of_told_events;
use crate::case::{Case, count, quoted};
use streamlake_history::event::{
    ChangeEvent, Column, RowImage, RowOperation, SourceChange, SourcePromise, TransactionOutcome,
};

/// Differences that are told of one event at most.
const TOLD_MAX: usize = 6;
/// Characters of a value that are told at most.
const VALUE_CHARS: usize = 60;

pub(super) fn judge(context: &Context<'_>, case: &mut Case<'_>) {
    let mut differing: Vec<(&ChangeEvent, String)> = Vec::new();
    let (mut untyped, mut unknown) = (0, 0);
    let pairs = context.captured.changes.iter().zip(&context.captured.seen);
    for (change, event) in pairs.flat_map(|(change, seen)| seen.iter().map(move |e| (*change, *e)))
    {
        let mut said = named(event, change);
        said.extend(elsewhere(event, context.promise));
        if !context.promise.columns.is_empty() {
            let rows = Rows { event, change, promise: context.promise };
            let (differences, undecided) = rows.compare();
            unknown += u64::from(undecided);
            // Without a schema a number, a time or bytes may be spelled in another way.
            if event.untyped && event.operation != RowOperation::Tombstone {
                untyped += u64::from(!differences.is_empty());
            } else {
                said.extend(differences);
            }
        }
        if !said.is_empty() {
            let more = said.len().saturating_sub(TOLD_MAX);
            said.truncate(TOLD_MAX);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            differing.push((event, format!(": {}{more}", said.join("; "))));
        }
    }
    if !differing.is_empty() {
        let text = format!(
            "{} with another operation, content or transaction than committed",
            count(differing.len() as u64, "event")
        );
        case.find(of_told_events("event-differs-from-change", text, &differing));
    }
    if untyped > 0 {
        case.doubt(format!(
            "{} without a schema and with other values than the database's log: nothing says how they \
             are to be read; let the converter write schemas",
            count(untyped, "event")
        ));
    }
    if unknown > 0 {
        case.doubt(format!(
            "of {} the database's log does not tell the row: they cannot be compared",
            count(unknown, "event")
        ));
    }
}

/// Operation, number, transaction and instant: what an event says of a change as a whole.
fn named(event: &ChangeEvent, change: &SourceChange) -> Vec<String> {
    let mut said = Vec::new();
    if event.revision != change.revision {
        said.push(differs("revision", &number(event.revision), &number(change.revision)));
    }
    if event.operation == RowOperation::Read {
        return said;
    }
    if event.operation != change.operation {
        let (event, change) = (format!("{:?}", event.operation), format!("{:?}", change.operation));
        said.push(differs("operation", &event, &change));
    }
    if event.transaction != Some(change.transaction) {
        let committed = number(Some(change.transaction));
        said.push(differs("transaction", &number(event.transaction), &committed));
    }
    // Both are the database's own word; an event may tell it in whole milliseconds.
    if let Some(at) = event.committed_us
        && at.abs_diff(change.committed_us) >= 1000
    {
        let text = |us: u64| format!("{us} µs");
        said.push(differs("instant of the commit", &text(at), &text(change.committed_us)));
    }
    said
}

/// Each table has a topic of its own.
fn elsewhere(event: &ChangeEvent, promise: &SourcePromise) -> Option<String> {
    let topic = promise.tables.get(&event.table)?;
    (*topic != event.topic)
        .then(|| format!("topic {}, the table's is {}", quoted(&event.topic), quoted(topic)))
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| number.to_string())
}

fn differs(what: &str, event: &str, change: &str) -> String {
    format!("{what} {event}, the database logged {change}")
}

/// The rows of an event and of its change.
struct Rows<'a> {
    event: &'a ChangeEvent,
    change: &'a SourceChange,
    promise: &'a SourcePromise,
}

impl Rows<'_> {
    /// What differs, in words, and whether something could not be compared.
    fn compare(&self) -> (Vec<String>, bool) {
        let mut said = Vec::new();
        let after = self.after(&mut said);
        let before = self.before(&mut said);
        (said, after | before)
    }

    fn after(&self, said: &mut Vec<String>) -> bool {
        if self.event.operation == RowOperation::Delete {
            if self.event.after.is_some() {
                said.push("a row after it was deleted".to_owned());
            }
            return false;
        }
        match (&self.event.after, &self.change.after) {
            (Some(event), Some(change)) => self.columns("after", event, change, said),
            (None, Some(_)) => {
                said.push("no row after the change".to_owned());
                false
            }
            (_, None) => self.change.operation != RowOperation::Delete,
        }
    }

    fn before(&self, said: &mut Vec<String>) -> bool {
        let expected = matches!(self.event.operation, RowOperation::Update | RowOperation::Delete);
        if !expected {
            if self.event.before.is_some() {
                said.push("a row before it was inserted".to_owned());
            }
            return false;
        }
        let whole = self.promise.before_images;
        match (&self.event.before, &self.change.before) {
            (Some(event), Some(change)) if whole => self.columns("before", event, change, said),
            // Only the key is logged, and only where the row goes.
            (Some(event), Some(change)) => {
                let of_key = |(name, _): &(&String, &Option<Column>)| change.contains_key(*name);
                let event = event.iter().filter(of_key);
                let event = event.map(|(name, value)| (name.clone(), value.clone())).collect();
                self.columns("before", &event, change, said)
            }
            (None, Some(_)) if whole || self.event.operation == RowOperation::Delete => {
                said.push("no row before the change".to_owned());
                false
            }
            (_, None) => whole,
            (None, Some(_)) => false,
        }
    }

    /// Compares all columns of one image; true if one could not be compared.
    fn columns(
        &self,
        image: &str,
        event: &RowImage,
        change: &RowImage,
        said: &mut Vec<String>,
    ) -> bool {
        let names: BTreeSet<&String> = event.keys().chain(change.keys()).collect();
        let mut undecided = false;
        for name in names {
            let (told, logged) = (event.get(name), change.get(name));
            // The log leaves NULL out of a row as it was before.
            let logged = if image == "before" { logged.or(Some(&None)) } else { logged };
            let left_out = |value: Option<&Option<Column>>| matches!(value, Some(Some(column)) if !column.is_available());
            if told == logged {
                continue;
            }
            if image == "after" && left_out(told) && self.change.unchanged.contains(name) {
                continue;
            }
            if left_out(logged) {
                undecided = true;
                continue;
            }
            let what = format!("{} {image}:", quoted(name));
            said.push(differs(&what, &value(told), &value(logged)));
        }
        undecided
    }
}

fn value(value: Option<&Option<Column>>) -> String {
    match value {
        None => "no such column".to_owned(),
        Some(None) => "NULL".to_owned(),
        Some(Some(Column::Text(text))) if text.chars().count() > VALUE_CHARS => {
            let begins: String = text.chars().take(VALUE_CHARS).collect();
            format!("{}… ({} bytes)", quoted(&begins), text.len())
        }
        Some(Some(Column::Text(text))) => quoted(text),
        Some(Some(Column::Long(long))) => {
            format!("{}… ({} bytes, XXH3 {})", quoted(&long.begins), long.bytes, long.value)
        }
        Some(Some(Column::Unavailable(_))) => "a value that was left out".to_owned(),
    }
}

/// Ids of transactions of which the workload was told that they were rolled back.
pub(super) fn rolled_back(index: &crate::index::Index) -> BTreeSet<u64> {
    let told = index.rare.source.transactions.iter();
    let undone = told.filter(|told| told.fact.outcome == TransactionOutcome::RolledBack);
    undone.filter_map(|told| told.fact.transaction).collect()
}
