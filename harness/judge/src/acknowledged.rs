//! Acknowledged is durable: what a receipt names is in the log, and the log holds nothing that its
//! producer denies.
//!
//! An operation that ended unknown may be in the log or not; both are counted. Offsets below the
//! low watermark were dropped by retention before anybody looked: they are in doubt, never lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::case::{Case, EVIDENCE_MAX, OPS_MAX, anomalous, count, spelled};
use super::evidence::declared_holes;
use super::nowhere;
use crate::index::{Bit, End, Index, Lane, NO_ID, NO_KEY, NO_OP, RangeSet, Seen, Source};
use streamlake_history::event::{Evidence, Print, TransactionState};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let acknowledged = index.ops.acknowledged();
    if acknowledged == 0 {
        case.doubt("no operation was acknowledged");
    }
    let mut lost = 0;
    for (number, lane) in index.sorted_lanes() {
        lost += receipts(index, case, number, lane);
        lost += words(index, case, number, lane);
    }
    denied(index, case);
    altered(index, case);
    nowhere::judge(index, case);
    of_operations(
        case,
        "acknowledged-in-another-topic",
        &index.misplaced,
        ("operation", "acknowledged in another topic than the one they were meant for"),
    );
    of_operations(
        case,
        "receipt-names-another-key",
        &index.other_keys_told,
        ("receipt", "with another key than the record was sent with"),
    );
    of_operations(
        case,
        "receipt-names-a-dead-letter",
        &index.letters_of_others,
        ("receipt", "of operations that were not rejected, with the place of a dead letter"),
    );
    let promise = index.header.promises.outcomes.as_ref();
    if promise.is_some_and(|promise| promise.tells_key_and_letter) {
        of_operations(
            case,
            "receipt-without-reason",
            &index.unexplained,
            ("receipt", "of operations that were not acknowledged, and that do not say why"),
        );
    }
    let (in_log, absent) = unknown(index);
    case.figure("acknowledged_operations", acknowledged);
    case.figure("lost_records", lost);
    case.figure("unknown_logged_operations", in_log);
    case.figure("unknown_absent_operations", absent);
    format!(
        "{acknowledged} acknowledged, {lost} not in the log; {} unknown, {in_log} of them in the log",
        in_log + absent
    )
}

/// What is wrong with operations, whatever the log says.
fn of_operations(case: &mut Case<'_>, anomaly: &str, ops: &[u64], (noun, what): (&str, &str)) {
    if ops.is_empty() {
        return;
    }
    let mut finding = anomalous(anomaly, format!("{} {what}", count(ops.len() as u64, noun)));
    finding.ops = ops.iter().copied().take(OPS_MAX).collect();
    case.find(finding);
}

/// Receipts that name an offset without a record.
fn receipts(index: &Index, case: &mut Case<'_>, number: usize, lane: &Lane) -> u64 {
    let acknowledged = lane.acknowledged();
    if acknowledged.is_empty() {
        return 0;
    }
    let name = format!("{}/{}", lane.topic.escape_debug(), lane.partition);
    if !lane.complete() {
        case.doubt(format!(
            "records were acknowledged in {name}, whose log was not read to its end"
        ));
        return 0;
    }
    let dropped = acknowledged.below(lane.low());
    if !dropped.is_empty() {
        let text = count(dropped.len(), "acknowledged record");
        case.doubt(format!(
            "{text} of {name} below its low watermark {}: dropped by retention",
            lane.low()
        ));
    }
    let aborted = acknowledged.from(lane.low()).intersect(&lane.aborted());
    let untold = aborted_untold(index, lane, &aborted);
    if !untold.is_empty() {
        case.doubt(format!(
            "{} of {name} of transactions that were aborted, by the log; their producer told of no \
             transaction: {}",
            count(untold.len(), "acknowledged record"),
            spelled(&untold)
        ));
    }
    annulled(index, case, number, &aborted);
    let gone = acknowledged.from(lane.low()).intersect(&declared_holes(index, lane));
    let latest = latest_of_keys(lane, &gone);
    if !latest.is_empty() {
        case.doubt(format!(
            "{} of {name} at offsets that are said to hold none, although no later record of the same key is \
             there, without which compaction leaves a record alone: {}",
            count(latest.len(), "acknowledged record"),
            spelled(&latest)
        ));
    }
    let lost = acknowledged.from(lane.low()).minus(&lane.logged());
    let lost = lost.minus(&declared_holes(index, lane));
    if !lost.is_empty() {
        let message = format!(
            "{} of {name} not in the log at the offset of the receipt: {}",
            count(lost.len(), "acknowledged record"),
            spelled(&lost)
        );
        let high = lane.high().unwrap_or(0);
        let finding = case.find_at("acknowledged-but-not-logged", None, number, &lost, message);
        finding.evidence.push(format!("the log was read from {} to its end at {high}", lane.low()));
        if lost.last().is_some_and(|last| last >= high) {
            finding.evidence.push("the log ends below the offset of a receipt".to_owned());
        }
    }
    lost.len()
}

/// Acknowledged records of transactions that were committed, which the log calls aborted.
fn annulled(index: &Index, case: &mut Case<'_>, number: usize, aborted: &RangeSet) {
    if aborted.is_empty() {
        return;
    }
    let committed = index.rare.transactions.iter().map(|told| &told.fact);
    let committed = committed.filter(|told| told.outcome == TransactionState::Committed);
    let ops: BTreeSet<u64> = committed.flat_map(|told| told.ops.iter().copied()).collect();
    let lane = &index.lanes[number];
    let of_them = lane
        .receipts()
        .filter(|(offset, seen)| aborted.contains(*offset) && ops.contains(&seen.op));
    let set = RangeSet::of(of_them.map(|(offset, _)| (offset, offset)));
    if !set.is_empty() {
        let text = format!(
            "{} of {} of transactions that were committed, which the log calls aborted: {}",
            count(set.len(), "acknowledged record"),
            index.lane_name(number),
            spelled(&set)
        );
        case.find_at("acknowledged-but-aborted", None, number, &set, text);
    }
}

/// Of acknowledged records that the log does not hold any more those that compaction had no reason to take:
/// with a value, and without a later record of their key.
fn latest_of_keys(lane: &Lane, gone: &RangeSet) -> RangeSet {
    if gone.is_empty() {
        return RangeSet::default();
    }
    let mut last: HashMap<u64, u64> = HashMap::new();
    for (offset, seen) in lane.log_records().chain(lane.receipts()) {
        let known = last.entry(seen.key).or_insert(offset);
        *known = offset.max(*known);
    }
    let kept = lane.receipts().filter(|(offset, seen)| {
        let latest = seen.key == NO_KEY || last.get(&seen.key).is_none_or(|last| last <= offset);
        gone.contains(*offset) && seen.value != Print::NULL.0 && latest
    });
    RangeSet::of(kept.map(|(offset, _)| (offset, offset)))
}

/// Records of aborted transactions whose operations no transaction names.
fn aborted_untold(index: &Index, lane: &Lane, aborted: &RangeSet) -> RangeSet {
    if aborted.is_empty() {
        return RangeSet::default();
    }
    let named: BTreeSet<u64> =
        index.rare.transactions.iter().flat_map(|told| told.fact.ops.iter().copied()).collect();
    let untold = lane.receipts().filter(|(offset, seen)| {
        aborted.contains(*offset) && seen.op != NO_OP && !named.contains(&seen.op)
    });
    RangeSet::of(untold.map(|(offset, _)| (offset, offset)))
}

/// Another operation stands where the receipt says, and the log names the receipt's nowhere.
fn is_gone(index: &Index, lane: &Lane, receipt: &Seen, log: &Seen) -> bool {
    let another = lane.promised.is_some() && log.op != NO_OP && log.op != receipt.op;
    another && !index.ops.is(receipt.op, Bit::Logged)
}

/// Acknowledged operations whose offset another one took: offset and operation of each.
pub(super) fn overwritten(index: &Index, lane: &Lane) -> Vec<(u64, u64)> {
    let mut gone = Vec::new();
    for (&offset, contested) in lane.contested.range(lane.low()..) {
        let Some(log) = contested.of(Source::Log).next() else { continue };
        let receipts = contested.of(Source::Receipt);
        let lost = receipts.filter(|receipt| is_gone(index, lane, receipt, log));
        gone.extend(lost.map(|receipt| (offset, receipt.op)));
    }
    gone
}

/// Receipts that the log contradicts, and offsets that two receipts claim. Returns how many operations
/// are gone: another one stands where the receipt says, and the log names theirs nowhere.
fn words(index: &Index, case: &mut Case<'_>, number: usize, lane: &Lane) -> u64 {
    let (mut shared, mut different, mut ops) = (Vec::new(), Vec::new(), Vec::new());
    for (&offset, contested) in lane.contested.range(lane.low()..) {
        let receipts: Vec<_> = contested.of(Source::Receipt).collect();
        if receipts.len() > 1 {
            shared.push((offset, offset));
            ops.extend(receipts.iter().map(|seen| seen.op));
        }
        let Some(log) = contested.of(Source::Log).next() else {
            continue;
        };
        let differs = |seen: &&&Seen| !seen.same_content(log) || !seen.same_name(log);
        if receipts.iter().filter(differs).any(|seen| !is_gone(index, lane, seen, log)) {
            different.push((offset, offset));
        }
    }
    let name = format!("{}/{}", lane.topic.escape_debug(), lane.partition);
    let gone = overwritten(index, lane);
    let lost = gone.len() as u64;
    if lost > 0 {
        let set = RangeSet::of(gone.iter().map(|&(offset, _)| (offset, offset)));
        let text = format!(
            "{} of {name} lost in the log: others stand at the offsets of the receipts, and these \
             nowhere: {}",
            count(lost, "acknowledged record"),
            spelled(&set)
        );
        let finding = case.find_at("acknowledged-and-overwritten", None, number, &set, text);
        let told = "a log that was cut back to another replica's and written on looks like this";
        finding.evidence.push(told.to_owned());
        finding.ops = gone.iter().map(|&(_, op)| op).take(OPS_MAX).collect();
    }
    let shared = RangeSet::of(shared);
    if !shared.is_empty() {
        let text = format!("two receipts name the same offset of {name}: {}", spelled(&shared));
        let finding = case.find_at("two-receipts-one-offset", None, number, &shared, text);
        finding.ops = ops;
        finding.ops.truncate(OPS_MAX);
    }
    let different = RangeSet::of(different);
    if !different.is_empty() {
        let text = format!(
            "{} of {name} in the log with another key, value or operation than acknowledged: {}",
            count(different.len(), "record"),
            spelled(&different)
        );
        case.find_at("logged-differs-from-acknowledged", None, number, &different, text);
    }
    lost
}

/// Operations that the log holds although their producer denied it, or that nobody invoked.
fn denied(index: &Index, case: &mut Case<'_>) {
    let mut denied: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (&op, kept) in &index.ops.kept {
        if !index.ops.is(op, Bit::Logged) {
            continue;
        }
        match kept.end {
            Some(End::Failed) => denied.entry("failed-but-logged").or_default().push(op),
            Some(End::Rejected) => denied.entry("rejected-but-logged").or_default().push(op),
            _ => {}
        }
    }
    let mut phantoms = index.ops.logged_uninvoked();
    if index.ops.count(Bit::Invoked) < index.header.promises.operations {
        // One of the plan may have been invoked without a record of it.
        phantoms.retain(|op| *op >= index.header.promises.operations);
    }
    if !phantoms.is_empty() && index.vouches(Evidence::Receipts) {
        denied.insert("logged-but-never-invoked", phantoms);
    }
    for (anomaly, mut ops) in denied {
        let text = count(ops.len() as u64, "operation");
        let mut finding = anomalous(anomaly, format!("{text} {}", anomaly.replace('-', " ")));
        ops.truncate(OPS_MAX);
        finding.ops = ops;
        case.find(finding);
    }
}

/// Operations without a receipt that are in the log with another content than was invoked.
fn altered(index: &Index, case: &mut Case<'_>) {
    let kept = &index.ops.kept;
    let open = |op: &u64| !matches!(kept[op].end, Some(End::Acknowledged(..)));
    if !kept.keys().any(|op| open(op) && index.ops.is(*op, Bit::Logged)) {
        return;
    }
    for (number, lane) in index.promised_lanes() {
        let (mut set, mut evidence) = (Vec::new(), Vec::new());
        for (offset, seen) in lane.log_records() {
            let Some(kept) = kept.get(&seen.op) else {
                continue;
            };
            if !index.reduce(kept.invocation.seen(seen.op, NO_ID)).same_content(&seen) {
                set.push((offset, offset));
                if evidence.len() < EVIDENCE_MAX {
                    evidence.push(format!("operation {} at offset {offset}", seen.op));
                }
            }
        }
        let set = RangeSet::of(set);
        if !set.is_empty() {
            let text = format!(
                "{} of {}/{} in the log with another key or value than invoked: {}",
                count(set.len(), "record"),
                lane.topic.escape_debug(),
                lane.partition,
                spelled(&set)
            );
            let finding = case.find_at("logged-differs-from-invoked", None, number, &set, text);
            finding.evidence = evidence;
        }
    }
}

/// Operations whose end is unknown: in the log, not in the log.
fn unknown(index: &Index) -> (u64, u64) {
    let open = |end| matches!(end, None | Some(End::Unknown));
    index.ops.kept.iter().filter(|(_, kept)| open(kept.end)).fold((0, 0), |(is, not), (&op, _)| {
        if index.ops.is(op, Bit::Logged) { (is + 1, not) } else { (is, not + 1) }
    })
}
