//! Promptness: where nothing is broken, a record is stored and committed soon after its batch is old enough.
//!
//! Judged by what most records waited, because a machine that is busy with other things makes some of them
//! wait. A part that waits although others of its partition are written promptly meanwhile has no such excuse. A part's records count with the wait of its first one: from its writing, or from the first position
//! of the group in its partition if that came later, to the commit that covers the whole part. Without a
//! fault only: what a fault holds up is asked where recovery is.

use super::case::{Case, anomalous, count, quoted, seconds};
use super::recovered::{Window, written_us};
use crate::index::{Index, NO_TIMESTAMP, Part, RangeSet};
use std::collections::BTreeMap;
use streamlake_history::event::{BatchPromise, ObjectRole};

/// What the way through broker, pipeline and store may add.
const ALLOWANCE_US: u64 = 2_000_000;
/// How long a group may take to form, where nobody saw it get its first positions.
const FORMS_WITHIN_US: u64 = 3_000_000;
/// Fewer records say nothing.
const RECORDS_MIN: u64 = 50;

pub(super) fn judge(index: &Index, case: &mut Case<'_>, windows: &[Window]) {
    if !windows.is_empty() || index.header.promises.replay_from.is_some() {
        return;
    }
    let load = index.rare.phases.iter().find(|phase| phase.fact == "load");
    let Some(formed_us) = load.map(|phase| phase.t_us.saturating_add(FORMS_WITHIN_US)) else {
        return;
    };
    for (group, promise, lanes) in index.promised_groups() {
        let Some(batch) = promise.batch else { continue };
        let own = |part: &&Part| {
            let here = index.zones[part.zone].groups.contains(&group);
            here && part.role == ObjectRole::Part && !part.during_run
        };
        let mut begins: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        let mut waits: Vec<(u64, u64)> = Vec::new();
        let mut spans: Vec<Span> = Vec::new();
        for part in index.parts.iter().filter(own) {
            for (number, held) in &part.lanes {
                let written =
                    index.lanes[*number].log_record(held.first).map(|log| log.timestamp_ms);
                let written = written.filter(|ms| *ms != NO_TIMESTAMP);
                let Some(written) = written.and_then(|ms| written_us(index, ms)) else { continue };
                let Some(known) = lanes.get(number) else { continue };
                let begins = begins.entry(*number).or_insert_with(|| {
                    let epochs = index.epochs(group, *number);
                    epochs.list.iter().map(|epoch| epoch.begin_us).collect()
                });
                let begun_us = begins.first().copied().unwrap_or(formed_us);
                // A timestamp may be anything where its sender says so.
                if let Some(sent) = index.lanes[*number].not_before(held.first) {
                    // Who took the partition over read it again from where the one before had committed.
                    let last = begins.iter().rfind(|begin| **begin <= part.created_us);
                    let begun_us = last.copied().unwrap_or(begun_us);
                    let (written, created) = (sent.max(begun_us), part.created_us);
                    spans.push(Span { lane: *number, offset: held.first, written, created });
                }
                let commit = known.commits.iter().find(|commit| commit.offset > held.last);
                if let Some(commit) = commit {
                    let from_us = written.max(begun_us);
                    waits.push((commit.at_us.saturating_sub(from_us), held.records));
                }
            }
        }
        if let Some(span) = left_lying(&spans, batch) {
            let text = format!(
                "offset {} of {} was stored by group {} {} after it was written, while others were stored in \
                 time, with batches that are closed after {} and nothing broken",
                span.offset,
                index.lane_name(span.lane),
                quoted(&promise.group),
                seconds(span.wait()),
                seconds(batch.age_us)
            );
            let set = RangeSet::of([(span.offset, span.offset)]);
            let name = Some(promise.group.as_str());
            case.find_at("left-lying", name, span.lane, &set, text).at_us = Some(span.created);
        }
        if let Some((wait, records)) = late(&mut waits, batch) {
            let text = format!(
                "half of {} of group {} waited {} or longer from writing to commit, with batches that are \
                 closed after {} and nothing broken",
                count(records, "record"),
                quoted(&promise.group),
                seconds(wait),
                seconds(batch.age_us)
            );
            let mut finding = anomalous("slow-without-a-fault", text);
            finding.group = Some(promise.group.clone());
            case.find(finding);
        }
    }
}

/// A part, from the writing of its first record.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    lane: usize,
    offset: u64,
    written: u64,
    created: u64,
}

impl Span {
    fn wait(&self) -> u64 {
        self.created.saturating_sub(self.written)
    }
}

/// So many parts, written in time after another one was due, show that nothing held it up.
const IN_TIME_MIN: usize = 3;

/// The part that waited the longest, where others that were due in its time were not late.
fn left_lying(spans: &[Span], batch: BatchPromise) -> Option<Span> {
    let most = batch.age_us.saturating_mul(2).saturating_add(ALLOWANCE_US);
    let passed = |late: &&Span| {
        let due = late.written.saturating_add(most);
        // Of the same partition: another one may have another leader, and another reader.
        let meanwhile = |other: &&Span| {
            other.lane == late.lane
                && other.written >= due
                && other.created < late.created
                && other.wait() <= most
        };
        spans.iter().filter(meanwhile).count() >= IN_TIME_MIN
    };
    spans
        .iter()
        .filter(|span| span.wait() > most)
        .filter(passed)
        .max_by_key(|span| span.wait())
        .copied()
}

/// What half of the records waited at least, and how many there are, if that is too long.
fn late(waits: &mut [(u64, u64)], batch: BatchPromise) -> Option<(u64, u64)> {
    waits.sort_unstable();
    let all: u64 = waits.iter().map(|(_, records)| records).sum();
    let mut below = 0;
    let middle = waits.iter().find(|(_, records)| {
        below += records;
        below * 2 >= all
    });
    let wait = middle?.0;
    let most = batch.age_us.saturating_mul(2).saturating_add(ALLOWANCE_US);
    (all >= RECORDS_MIN && wait > most).then_some((wait, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_lies_while_others_go_by_is_found() {
        let batch = BatchPromise { records: 10, bytes: None, age_us: 500_000 };
        let span = |written, created| Span { lane: 0, offset: written, written, created };
        let late = span(0, 9_000_000);
        let prompt = |n: u64| span(4_000_000 + n * 600_000, 4_500_000 + n * 600_000);
        assert_eq!(left_lying(&[late, prompt(0), prompt(1), prompt(2)], batch), Some(late));
        assert_eq!(left_lying(&[late, prompt(0), prompt(1)], batch), None);
        // All waited: the machine was busy.
        let slow = |n: u64| span(4_000_000 + n, 8_500_000);
        assert_eq!(left_lying(&[late, slow(0), slow(1), slow(2)], batch), None);
    }

    #[test]
    fn most_records_decide_and_few_say_nothing() {
        let batch = BatchPromise { records: 10, bytes: None, age_us: 500_000 };
        assert_eq!(late(&mut [(900_000, 60), (9_000_000, 40)], batch), None);
        assert_eq!(late(&mut [(9_000_000, 60), (900_000, 40)], batch), Some((9_000_000, 100)));
        assert_eq!(late(&mut [(9_000_000, 20)], batch), None);
        assert_eq!(late(&mut [], batch), None);
    }
}
