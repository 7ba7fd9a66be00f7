//! Identity: an ingestion id belongs to one operation, and is the same wherever it stands: in the
//! receipt, in the record's header, in the line of the part beside the headers, in the dead letter.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, EVIDENCE_MAX, OPS_MAX, anomalous, count, quoted, spelled};
use super::headers;
use super::letters::writer_is_documented;
use crate::index::{End, HeaderFault, Index, NO_ID, NO_OP, RangeSet, Seen, Source, id_in_letter};
use streamlake_history::event::{Header, PromisedValue};

/// Ingestion ids are promised.
pub(super) fn promised(header: &Header) -> bool {
    header.promises.headers.iter().any(|promised| promised.is == PromisedValue::IngestionId)
}

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let ids = shared(index, case);
    without(index, case);
    sampled(index, case);
    for (number, _) in index.promised_lanes() {
        receipts(index, case, number);
        unsure(index, case, number);
        for (group, promise, _) in index.promised_groups() {
            lines(index, case, (group, &promise.group), number);
        }
    }
    headers::report(index, case, &[HeaderFault::Id]);
    letters(index, case);
    if ids == 0 {
        case.doubt("no ingestion id was seen");
    }
    case.figure("ingestion_ids", ids);
    let sample = if index.is_full() { "" } else { ", one operation in 256 looked at" };
    format!("{}, each of one operation{sample}", count(ids, "ingestion id"))
}

/// Who bears an id: an operation, or, of a record that names none, its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bearer {
    Operation(u64),
    Content(u64, u64),
}

/// Ids that more than one operation has. Gives the number of ids.
fn shared(index: &Index, case: &mut Case<'_>) -> u64 {
    let mut bearers: Vec<(u64, Bearer, u64)> = Vec::new();
    for &(id, op) in &index.sampled_ids {
        bearers.push((id, Bearer::Operation(op), 0));
    }
    for (&op, kept) in &index.ops.kept {
        bearers.push((kept.id, Bearer::Operation(op), kept.invocation.value));
    }
    if index.is_full() {
        for (_, lane) in index.promised_lanes() {
            let log = lane.log_records().map(|(offset, seen)| (lane.op_at(offset), seen));
            let receipts = lane.receipts().map(|(_, seen)| (Some(seen.op), seen));
            bearers.extend(
                log.chain(receipts).map(|(op, seen)| (seen.id, bearer(op, &seen), seen.value)),
            );
        }
    }
    bearers.retain(|(id, ..)| *id != NO_ID);
    bearers.sort_unstable();
    bearers.dedup();
    let (mut ids, mut twice, mut ops, mut evidence) = (0, 0u64, BTreeSet::new(), Vec::new());
    for same in bearers.chunk_by(|a, b| a.0 == b.0) {
        ids += 1;
        let operations: BTreeSet<u64> = same.iter().filter_map(|(_, b, _)| operation(*b)).collect();
        // A further copy of a record that names no operation has the content of one that has a receipt.
        let known: BTreeSet<u64> =
            same.iter().filter(|(_, b, _)| operation(*b).is_some()).map(|b| b.2).collect();
        let others: BTreeSet<Bearer> = same
            .iter()
            .filter(|(_, b, value)| operation(*b).is_none() && !known.contains(value))
            .map(|(_, b, _)| *b)
            .collect();
        if operations.len() + others.len() < 2 {
            continue;
        }
        twice += 1;
        if evidence.len() < EVIDENCE_MAX {
            let named: Vec<String> = operations.iter().take(5).map(u64::to_string).collect();
            let all = operations.len() + others.len();
            evidence.push(format!(
                "one id (fingerprint {:016x}) is that of {all} records: operations {}",
                same[0].0,
                named.join(", ")
            ));
        }
        ops.extend(operations);
    }
    if twice > 0 {
        let text = format!(
            "{} of more than one operation: what removes duplicates by their id would lose records",
            count(twice, "ingestion id")
        );
        let mut finding = anomalous("ingestion-id-shared", text);
        finding.ops = ops.into_iter().take(OPS_MAX).collect();
        finding.evidence = evidence;
        case.find(finding);
    }
    ids
}

fn bearer(op: Option<u64>, seen: &Seen) -> Bearer {
    match op {
        Some(op) if op != NO_OP => Bearer::Operation(op),
        _ => Bearer::Content(seen.key, seen.value),
    }
}

fn operation(bearer: Bearer) -> Option<u64> {
    match bearer {
        Bearer::Operation(op) => Some(op),
        Bearer::Content(..) => None,
    }
}

/// Operations whose receipt and record have different ids, of those that a packed index looks at.
fn sampled(index: &Index, case: &mut Case<'_>) {
    let mut by_op: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for &(id, op) in index.sampled_ids.iter().filter(|(id, _)| *id != NO_ID) {
        by_op.entry(op).or_default().insert(id);
    }
    let ops: Vec<u64> = by_op.iter().filter(|(_, ids)| ids.len() > 1).map(|(op, _)| *op).collect();
    if !ops.is_empty() {
        let text = count(ops.len() as u64, "operation");
        let text = format!("{text} with another ingestion id in the header than in the receipt");
        let mut finding = anomalous("ingestion-id-differs", text);
        finding.ops = ops.into_iter().take(OPS_MAX).collect();
        case.find(finding);
    }
}

/// Receipts that name no id, of operations whose headers are the producer's affair.
fn without(index: &Index, case: &mut Case<'_>) {
    let all = index.headers.receipts_without_id.iter();
    let ops: Vec<u64> = all.copied().filter(|op| !index.headers.own.contains_key(op)).collect();
    if ops.is_empty() {
        return;
    }
    let text = format!("{} without an ingestion id", count(ops.len() as u64, "receipt"));
    let mut finding = anomalous("receipt-without-ingestion-id", text);
    finding.ops = ops.into_iter().take(OPS_MAX).collect();
    case.find(finding);
}

/// Receipts with another id than the record that they name.
fn receipts(index: &Index, case: &mut Case<'_>, number: usize) {
    let mut set = Vec::new();
    for (&offset, contested) in &index.lanes[number].contested {
        let Some(log) = contested.of(Source::Log).next().filter(|log| log.id != NO_ID) else {
            continue;
        };
        let mut receipts = contested.of(Source::Receipt).filter(|receipt| receipt.id != NO_ID);
        if receipts.any(|receipt| receipt.id != log.id && same_op(receipt, log)) {
            set.push((offset, offset));
        }
    }
    let set = RangeSet::of(set);
    differing(index, case, number, &set);
}

/// Records of operations that have a receipt, and no acknowledgement, with another id than it names.
fn unsure(index: &Index, case: &mut Case<'_>, number: usize) {
    let lane = &index.lanes[number];
    let told = |op: u64| {
        let kept =
            index.ops.kept.get(&op).filter(|kept| !matches!(kept.end, Some(End::Acknowledged(..))));
        kept.map(|kept| kept.id).filter(|id| *id != NO_ID)
    };
    let differs = |(_, seen): &(u64, Seen)| {
        seen.op != NO_OP && seen.id != NO_ID && told(seen.op).is_some_and(|id| id != seen.id)
    };
    let set =
        RangeSet::of_rising(lane.log_records().filter(differs).map(|(offset, _)| (offset, offset)));
    differing(index, case, number, &set);
}

/// Records whose receipt names another id.
fn differing(index: &Index, case: &mut Case<'_>, number: usize, set: &RangeSet) {
    if set.is_empty() {
        return;
    }
    let text = format!(
        "{} of {} whose header has another ingestion id than the receipt: {}",
        count(set.len(), "record"),
        index.lane_name(number),
        spelled(set)
    );
    case.find_at("ingestion-id-differs", None, number, set, text);
}

/// Another operation's record at a receipt's place is another matter.
fn same_op(a: &Seen, b: &Seen) -> bool {
    a.op == NO_OP || b.op == NO_OP || a.op == b.op
}

/// Lines of parts whose own id is not that of the record.
fn lines(index: &Index, case: &mut Case<'_>, (group, name): (usize, &str), number: usize) {
    // Only the pipeline documents that it stores ids.
    if index.header.promises.groups.get(group).is_some_and(|promise| promise.consumer.is_some()) {
        return;
    }
    let mut set = stored_with_another_id(index, group, number);
    let mut evidence = Vec::new();
    for ((zone, lane), faulty) in &index.headers.lines {
        if *lane == number && index.zones[*zone].groups.contains(&group) {
            set = set.union(&faulty.offsets);
            evidence.extend(faulty.examples());
        }
    }
    if set.is_empty() {
        return;
    }
    let text = format!(
        "{} of {} stored by group {} with another ingestion id beside them than in their header: {}",
        count(set.len(), "record"),
        index.lane_name(number),
        quoted(name),
        spelled(&set)
    );
    let finding = case.find_at("stored-id-differs", Some(name), number, &set, text);
    finding.evidence.extend(evidence);
}

/// Offsets of which a group stored a copy whose line has another id than the log.
fn stored_with_another_id(index: &Index, group: usize, number: usize) -> RangeSet {
    let lane = &index.lanes[number];
    let differs = |offset: &u64| {
        let contested = &lane.contested[offset];
        contested
            .of(Source::Log)
            .next()
            .is_some_and(|log| contested.of(Source::Copy(group)).any(|copy| copy.id != log.id))
    };
    RangeSet::of(lane.contested.keys().filter(|offset| differs(offset)).map(|&o| (o, o)))
}

/// Dead letters with another id than the record, or the rejected operation, that they are of.
fn letters(index: &Index, case: &mut Case<'_>) {
    let mut differ: BTreeMap<&'static str, Vec<(Option<u64>, String)>> = BTreeMap::new();
    for dead in &index.dead {
        let letter = &dead.letter;
        let told = index.id_print(letter.ingestion_id.as_ref());
        let place = format!(
            "dead letter {}/{} offset {}",
            letter.topic.escape_debug(),
            letter.partition,
            letter.offset
        );
        let shown = quoted(letter.ingestion_id.as_deref().unwrap_or("none"));
        if let Some(header) = id_in_letter(letter)
            && header != letter.ingestion_id.as_deref()
        {
            let text = format!(
                "{place} was told with {shown}, its header has {}",
                quoted(header.unwrap_or("none"))
            );
            differ.entry("dead-letter-id-differs").or_default().push((letter.op, text));
        }
        let record = match dead.source {
            Some((lane, offset)) => index.lanes[lane].log_record(offset).map(|log| log.id),
            None => {
                let op = index.op_of_letter(letter);
                let kept = op.and_then(|op| index.ops.kept.get(&op));
                let rejected = kept.filter(|kept| kept.end == Some(End::Rejected));
                rejected.map(|kept| kept.id).filter(|id| *id != NO_ID)
            }
        };
        // Others need not tell it, and version 1 did not.
        let told_of = letter.ingestion_id.is_some()
            || (index.header.version > 1 && writer_is_documented(index, letter));
        if index.is_full() && told_of && record.is_some_and(|id| id != told) {
            let text = format!("{place} has {shown}, which is not the record's");
            differ.entry("dead-letter-id-differs").or_default().push((letter.op, text));
        }
    }
    for (anomaly, letters) in differ {
        let text = count(letters.len() as u64, "dead letter");
        let mut finding =
            anomalous(anomaly, format!("{text} with another ingestion id than the record"));
        finding.ops = letters.iter().filter_map(|(op, _)| *op).take(OPS_MAX).collect();
        finding.evidence = letters.into_iter().map(|(_, text)| text).take(EVIDENCE_MAX).collect();
        case.find(finding);
    }
}
