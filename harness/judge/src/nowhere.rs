//! Nothing comes from nowhere: each record of the log is a copy of what was invoked, all copies of one
//! operation are the same, and they bear the headers that they were handed over with.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::case::{Case, EVIDENCE_MAX, count, spelled};
use crate::index::{Bit, End, Index, Lane, NO_ID, NO_OP, Range, RangeSet, Seen};
use streamlake_history::event::Evidence;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) {
    strangers(index, case);
    copies(index, case);
    headers_of_their_own(index, case);
}

/// Key and value, as far as the index keeps them.
type Content = (u64, u64);

fn content(seen: &Seen) -> Content {
    (seen.key, seen.value)
}

fn set_of(offsets: &[u64]) -> RangeSet {
    RangeSet::of(offsets.iter().map(|&offset| (offset, offset)))
}

/// Records that name no operation, as poison and tombstones do not: each has a receipt at its place,
/// or is a further copy of one that has, or is an operation whose outcome is not known.
fn strangers(index: &Index, case: &mut Case<'_>) {
    // Others may write into the topics of a foreign history.
    if !index.vouches(Evidence::Receipts) || index.header.run.testbed == "foreign" {
        return;
    }
    let mut open: HashMap<Content, Option<End>> = HashMap::new();
    for (&op, kept) in &index.ops.kept {
        if matches!(kept.end, Some(End::Acknowledged(..))) {
            continue;
        }
        let word = index.reduce(kept.invocation.seen(op, NO_ID));
        let end = open.entry(content(&word)).or_insert(kept.end);
        if matches!(kept.end, None | Some(End::Unknown)) {
            *end = kept.end;
        }
    }
    let mut acknowledged: BTreeSet<Content> = BTreeSet::new();
    for (_, lane) in index.promised_lanes() {
        let nameless = nameless(lane).filter(|(offset, _)| lane.is_acknowledged(*offset));
        acknowledged.extend(nameless.map(|(_, seen)| content(&seen)));
    }
    for (number, lane) in index.promised_lanes() {
        let mut found: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let nameless = nameless(lane).filter(|(offset, _)| !lane.is_acknowledged(*offset));
        for (offset, seen) in nameless.filter(|(_, seen)| !acknowledged.contains(&content(seen))) {
            match open.get(&content(&seen)) {
                Some(None | Some(End::Unknown | End::Acknowledged(..))) => {}
                Some(Some(End::Failed)) => {
                    found.entry("failed-but-logged").or_default().push(offset);
                }
                Some(Some(End::Rejected)) => {
                    found.entry("rejected-but-logged").or_default().push(offset);
                }
                None => found.entry("logged-but-never-invoked").or_default().push(offset),
            }
        }
        for (anomaly, offsets) in found {
            report(index, case, number, anomaly, &set_of(&offsets));
        }
    }
}

fn nameless(lane: &Lane) -> impl Iterator<Item = (u64, Seen)> + '_ {
    lane.log_records().filter(|(_, seen)| seen.op == NO_OP)
}

fn report(index: &Index, case: &mut Case<'_>, lane: usize, anomaly: &str, set: &RangeSet) {
    let records = count(set.len(), "record");
    let place = index.lane_name(lane);
    let invoked = index.ops.count(Bit::Invoked);
    if anomaly == "logged-but-never-invoked" && invoked < index.header.promises.operations {
        case.doubt(format!(
            "{records} of {place} that no recorded operation explains, but {invoked} of {} were \
             recorded: {}",
            count(index.header.promises.operations, "operation"),
            spelled(set)
        ));
        return;
    }
    let what = match anomaly {
        "logged-but-never-invoked" => {
            "that nobody was seen to send: no receipt names the place, and no operation has this key \
             and value"
        }
        "failed-but-logged" => "in the log, of an operation that was said to have failed",
        _ => "in the log, of an operation that was rejected",
    };
    case.find_at(
        anomaly,
        None,
        lane,
        set,
        format!("{records} of {place} {what}: {}", spelled(set)),
    );
}

/// Operations that the log holds more than once: all copies have the key, value and headers of the
/// first, which is compared with its receipt or its invocation.
fn copies(index: &Index, case: &mut Case<'_>) {
    if index.ops.logged_again.is_empty() {
        return;
    }
    let mut known: HashMap<u64, (usize, u64, Seen)> = HashMap::new();
    // A receipt tells which copy is the right one.
    for (number, lane) in index.promised_lanes() {
        for (offset, receipt) in lane.receipts() {
            if index.ops.logged_again.contains_key(&receipt.op)
                && let Some(log) = lane.log_record(offset).filter(|log| log.op == receipt.op)
            {
                known.insert(receipt.op, (number, offset, log));
            }
        }
    }
    for (number, lane) in index.promised_lanes() {
        let (mut set, mut evidence): (Vec<Range>, Vec<String>) = (Vec::new(), Vec::new());
        for (offset, seen) in lane.log_records() {
            if !index.ops.logged_again.contains_key(&seen.op) {
                continue;
            }
            let &mut (first_lane, first_offset, first) =
                known.entry(seen.op).or_insert((number, offset, seen));
            let differences = differences(&first, &seen);
            if !differences.is_empty() {
                set.push((offset, offset));
                if evidence.len() < EVIDENCE_MAX {
                    evidence.push(format!(
                        "offset {offset}: operation {} stands at {} offset {first_offset} with \
                         another {}",
                        seen.op,
                        index.lane_name(first_lane),
                        differences.join(" and ")
                    ));
                }
            }
        }
        let set = RangeSet::of(set);
        if !set.is_empty() {
            let text = format!(
                "{} of {} that repeat an operation with another content: {}",
                count(set.len(), "record"),
                index.lane_name(number),
                spelled(&set)
            );
            let finding = case.find_at("logged-differs-from-invoked", None, number, &set, text);
            finding.evidence = evidence;
        }
    }
}

fn differences(a: &Seen, b: &Seen) -> Vec<&'static str> {
    let fields = [
        ("key", a.key == b.key),
        ("value", a.value == b.value),
        ("list of headers", a.headers == b.headers),
        ("ingestion id", a.id == b.id),
    ];
    fields.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect()
}

/// Operations that came with headers of their own bear these and no others.
fn headers_of_their_own(index: &Index, case: &mut Case<'_>) {
    if index.headers.own.is_empty() {
        return;
    }
    for (number, lane) in index.promised_lanes() {
        let mut set = Vec::new();
        for (offset, seen) in lane.log_records() {
            let op = if seen.op == NO_OP { lane.op_at(offset) } else { Some(seen.op) };
            let Some(Some(print)) = op.and_then(|op| index.headers.own.get(&op)) else { continue };
            let invoked = index.reduce(Seen { headers: print.0, ..seen });
            if invoked.headers != seen.headers {
                set.push((offset, offset));
            }
        }
        let set = RangeSet::of(set);
        if !set.is_empty() {
            let text = format!(
                "{} of {} in the log with other headers than they were handed over with: {}",
                count(set.len(), "record"),
                index.lane_name(number),
                spelled(&set)
            );
            case.find_at("logged-headers-differ-from-invoked", None, number, &set, text);
        }
    }
}
