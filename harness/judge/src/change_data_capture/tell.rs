//! Findings about changes and about events, with their places, instants and positions.

use super::matching::Captured;
use crate::case::{EVIDENCE_MAX, anomalous, quoted, seconds};
use crate::index::RangeSet;
use crate::verdict::{Finding, OffsetRange};
use streamlake_history::event::{ChangeEvent, SourceChange};

/// A finding about changes, by their numbers.
pub(super) fn of_changes(
    anomaly: &str,
    text: String,
    captured: &Captured<'_>,
    numbers: &[usize],
) -> Finding {
    let mut finding = anomalous(anomaly, text);
    let changes = numbers.iter().map(|&n| captured.changes[n]);
    finding.at_us = changes.clone().map(|change| change.committed_us).min();
    finding.evidence = changes.take(EVIDENCE_MAX).map(change).collect();
    finding
}

/// A finding about events: the offsets of the first one's partition, and each event in words.
pub(super) fn of_events(anomaly: &str, text: String, events: &[&ChangeEvent]) -> Finding {
    let told: Vec<(&ChangeEvent, String)> =
        events.iter().map(|event| (*event, String::new())).collect();
    of_told_events(anomaly, text, &told)
}

/// As [`of_events`], with a few words more on each.
pub(super) fn of_told_events(
    anomaly: &str,
    text: String,
    events: &[(&ChangeEvent, String)],
) -> Finding {
    let mut finding = anomalous(anomaly, text);
    if let Some((first, _)) = events.first() {
        finding.topic = Some(first.topic.clone());
        finding.partition = Some(first.partition);
        let here = |e: &&ChangeEvent| (&e.topic, e.partition) == (&first.topic, first.partition);
        let ranges = events.iter().map(|(event, _)| *event).filter(here);
        let set = RangeSet::of(ranges.map(|e| (e.offset, e.offset)).collect::<Vec<_>>());
        let range = |&(first, last): &(u64, u64)| OffsetRange { first, last };
        finding.offsets = set.ranges().iter().map(range).collect();
    }
    finding.at_us = events.iter().map(|(event, _)| event.at_us).min();
    let tell = |(told, words): &(&ChangeEvent, String)| format!("{}{words}", event(told));
    finding.evidence = events.iter().take(EVIDENCE_MAX).map(tell).collect();
    finding
}

/// A change in words.
pub(super) fn change(change: &SourceChange) -> String {
    format!(
        "{:?} of {} in {} at {}, transaction {}, committed at {}",
        change.operation,
        quoted(&change.key),
        quoted(&change.table),
        change.lsn,
        change.transaction,
        seconds(change.committed_us)
    )
}

/// An event in words.
pub(super) fn event(event: &ChangeEvent) -> String {
    let position = event.lsn.map_or_else(|| "no position".to_owned(), |lsn| lsn.to_string());
    format!(
        "{}/{} offset {}: {:?} of {} at {position}, appended at {}",
        event.topic.escape_debug(),
        event.partition,
        event.offset,
        event.operation,
        quoted(&event.key),
        seconds(event.at_us)
    )
}

/// A number with the word for one or for many.
pub(super) fn one_or_many(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
