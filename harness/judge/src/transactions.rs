//! Transactions: of one that was aborted nobody who reads committed records gets anything, of any other
//! everybody gets all or nothing, and nothing before it can have been committed. Transactions that read
//! from each other in a circle cannot all have been committed.
//!
//! Whether *all* records of a transaction are
//! known is its teller's affair: one that is not known is not missed.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, EVIDENCE_MAX, anomalous, count, quoted, spelled};
use crate::index::{Bit, GroupLane, Index, RangeSet};
use streamlake_history::event::{GroupPromise, RecordSpan, Transaction, TransactionState};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let all = &index.rare.transactions;
    let (mut ended, mut records) = (BTreeMap::new(), 0);
    for told in all {
        *ended.entry(told.fact.outcome).or_insert(0u64) += 1;
        let width = |span: &RecordSpan| span.last.saturating_sub(span.first).saturating_add(1);
        records += told.fact.records.iter().map(width).fold(0, u64::saturating_add);
    }
    aborted(index, case);
    let transactions = || all.iter().map(|told| &told.fact);
    for transaction in transactions().filter(|t| t.outcome != TransactionState::Aborted) {
        torn_in_log(index, case, transaction);
        for (_, promise, lanes) in index.promised_groups() {
            torn(index, case, transaction, promise, lanes);
        }
    }
    open(index, case);
    early(index, case);
    circles(case, transactions());
    let known = |state| ended.get(&state).copied().unwrap_or(0);
    let (committed, aborted, unknown) = (
        known(TransactionState::Committed),
        known(TransactionState::Aborted),
        known(TransactionState::Unknown),
    );
    case.figure("committed_transactions", committed);
    case.figure("aborted_transactions", aborted);
    case.figure("unknown_transactions", unknown);
    case.figure("records", records);
    format!(
        "{committed} committed, {aborted} aborted, {unknown} unknown, with {}",
        count(records, "record")
    )
}

/// The spans by partition.
fn sets<'a>(
    index: &Index,
    spans: impl Iterator<Item = &'a RecordSpan>,
) -> BTreeMap<usize, RangeSet> {
    let mut ranges: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    for span in spans {
        let lanes = index.by_name.get(&span.topic).and_then(|lanes| lanes.get(&span.partition));
        if let Some(&lane) = lanes
            && span.first <= span.last
        {
            ranges.entry(lane).or_default().push((span.first, span.last));
        }
    }
    ranges.into_iter().map(|(lane, ranges)| (lane, RangeSet::of(ranges))).collect()
}

/// Records of the transactions that were aborted, by partition.
pub(super) fn aborted_records(index: &Index) -> BTreeMap<usize, RangeSet> {
    let all = index.rare.transactions.iter().map(|told| &told.fact);
    let aborted = all.filter(|t| t.outcome == TransactionState::Aborted);
    sets(index, aborted.flat_map(|transaction| &transaction.records))
}

/// Records of aborted transactions that a group got.
fn aborted(index: &Index, case: &mut Case<'_>) {
    let records = aborted_records(index);
    for (_, promise, lanes) in index.promised_groups() {
        for (&lane, records) in &records {
            let Some(known) = lanes.get(&lane) else { continue };
            let got = known.done().union(known.read_set()).intersect(records);
            if got.is_empty() || promise.reads_uncommitted {
                continue;
            }
            let text = format!(
                "group {} got {} of {} from aborted transactions: {}",
                quoted(&promise.group),
                count(got.len(), "record"),
                index.lane_name(lane),
                spelled(&got)
            );
            case.find_at("aborted-record-delivered", Some(&promise.group), lane, &got, text);
        }
    }
}

/// Of its operations some are in the log and some are not, although it was read to its end.
fn torn_in_log(index: &Index, case: &mut Case<'_>, transaction: &Transaction) {
    let whole = index.promised_lanes().all(|(_, lane)| lane.complete());
    let (there, absent): (Vec<u64>, Vec<u64>) =
        transaction.ops.iter().partition(|op| index.ops.is(**op, Bit::Logged));
    if !whole || there.is_empty() || absent.is_empty() {
        return;
    }
    let text = format!(
        "transaction {} is in the log in part: {} there, {} not",
        quoted(&transaction.id),
        count(there.len() as u64, "operation"),
        absent.len()
    );
    let mut finding = anomalous("torn-transaction", text);
    finding.evidence = vec![
        format!("in the log: operations {}", listed(&there)),
        format!("not in the log: operations {}", listed(&absent)),
    ];
    finding.ops = absent;
    case.find(finding);
}

fn listed(ops: &[u64]) -> String {
    let shown: Vec<String> = ops.iter().take(EVIDENCE_MAX).map(u64::to_string).collect();
    shown.join(", ")
}

/// A group got some of its records and went past others.
fn torn(
    index: &Index,
    case: &mut Case<'_>,
    transaction: &Transaction,
    promise: &GroupPromise,
    lanes: &BTreeMap<usize, GroupLane>,
) {
    let records = sets(index, transaction.records.iter());
    let (mut got, mut passed) = (Vec::new(), Vec::new());
    for (&lane, records) in &records {
        let Some(known) = lanes.get(&lane) else { continue };
        let done = known.done();
        let here = done.intersect(records);
        if !here.is_empty() {
            got.push((lane, here));
        }
        // Between the first and the last that the group had of the partition.
        let (Some(&(first, _)), Some(last)) = (done.ranges().first(), done.last()) else {
            continue;
        };
        let skipped = records.from(first).below(last).minus(&done);
        if !skipped.is_empty() {
            passed.push((lane, skipped));
        }
    }
    let (Some((at, here)), Some((lane, skipped))) = (got.first(), passed.first()) else { return };
    let text = format!(
        "group {} got transaction {} in part: it has {} of {} and went past {} of {}",
        quoted(&promise.group),
        quoted(&transaction.id),
        spelled(here),
        index.lane_name(*at),
        spelled(skipped),
        index.lane_name(*lane)
    );
    case.find_at("torn-transaction", Some(&promise.group), *lane, skipped, text);
}

/// Records that a group got of transactions that may have been aborted, or were not over.
fn open(index: &Index, case: &mut Case<'_>) {
    let all = index.rare.transactions.iter().map(|told| &told.fact);
    let unknown = all.filter(|t| t.outcome == TransactionState::Unknown);
    let records = sets(index, unknown.flat_map(|transaction| &transaction.records));
    for (_, promise, lanes) in index.promised_groups().filter(|(_, p, _)| !p.reads_uncommitted) {
        for (&lane, records) in &records {
            let got = lanes.get(&lane).map(|known| known.done().intersect(records));
            if let Some(got) = got.filter(|got| !got.is_empty()) {
                case.doubt(format!(
                    "group {} got {} of {} from transactions of which nobody knows how they ended: {}",
                    quoted(&promise.group),
                    count(got.len(), "record"),
                    index.lane_name(lane),
                    spelled(&got)
                ));
            }
        }
    }
}

/// Records that were read before their transaction can have been committed.
fn early(index: &Index, case: &mut Case<'_>) {
    for told in &index.rare.transactions {
        for (lane, records) in sets(index, told.fact.early.iter()) {
            let text = format!(
                "{} of {} read before transaction {} had ended, which wrote them: {}",
                count(records.len(), "record"),
                index.lane_name(lane),
                quoted(&told.fact.id),
                spelled(&records)
            );
            case.find_at("read-before-commit", None, lane, &records, text);
        }
    }
}

/// Transactions that read from each other in a circle: each can only have read what was committed.
fn circles<'a>(case: &mut Case<'_>, all: impl Iterator<Item = &'a Transaction>) {
    let mut open: BTreeMap<&str, BTreeSet<&str>> = all
        .filter(|transaction| transaction.outcome != TransactionState::Aborted)
        .map(|transaction| {
            let sources = transaction.reads_from.iter().map(String::as_str);
            (transaction.id.as_str(), sources.collect())
        })
        .collect();
    // What reads from nobody that is left is in no circle; nor is what nobody that is left reads from.
    loop {
        let names: BTreeSet<&str> = open.keys().copied().collect();
        let read: BTreeSet<&str> = open.values().flatten().copied().collect();
        let before = open.len();
        open.retain(|name, sources| {
            sources.retain(|source| names.contains(source));
            !sources.is_empty() && read.contains(name)
        });
        if open.len() == before {
            break;
        }
    }
    if open.is_empty() {
        return;
    }
    let names: Vec<String> = open.keys().take(EVIDENCE_MAX).map(|name| quoted(name)).collect();
    let text = format!(
        "{} read from each other in a circle, so not each can have read what was committed: {}",
        count(open.len() as u64, "transaction"),
        names.join(", ")
    );
    let mut finding = anomalous("transactions-in-a-circle", text);
    let edge = |(name, sources): (&&str, &BTreeSet<&str>)| {
        let sources: Vec<String> = sources.iter().map(|source| quoted(source)).collect();
        format!("{} read from {}", quoted(name), sources.join(", "))
    };
    finding.evidence = open.iter().take(EVIDENCE_MAX).map(edge).collect();
    case.find(finding);
}
