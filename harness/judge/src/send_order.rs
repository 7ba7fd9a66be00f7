//! The order of sends where the log need not be there to see it: all that one producer sends to a
//! partition, if that is promised, and what receipts alone say of the order of keys.
//!
//! Where the log names an operation, its word counts; else that of the receipt. A second copy of an
//! operation is a duplicate and not out of order.

use std::collections::{HashMap, HashSet};

use super::case::{Case, EVIDENCE_MAX, count, spelled};
use crate::index::{Index, NO_OP, Quick, RangeSet, Seen};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) {
    let promises = &index.header.promises;
    if promises.partition_order && !index.unordered_owners.is_empty() {
        case.doubt("a producer's operations were not numbered in the order of their invocation");
    }
    let mut judged = 0;
    for (number, lane) in index.promised_lanes() {
        let logged = lane.logged();
        if promises.partition_order {
            let receipts = lane.receipts().filter(|(offset, _)| !logged.contains(*offset));
            let mut told: Vec<(u64, Seen)> = lane.log_records().chain(receipts).collect();
            told.sort_unstable_by_key(|(offset, _)| *offset);
            judged += told.iter().filter(|(_, seen)| seen.op != NO_OP).count() as u64;
            compare(index, case, ("partition-order", "partition"), number, (&told, |_| 0));
        }
        if promises.key_order && logged.is_empty() && index.is_full() {
            let told: Vec<(u64, Seen)> = lane.receipts().collect();
            compare(index, case, ("key-order", "key"), number, (&told, |seen| seen.key));
        }
    }
    if promises.partition_order && judged == 0 {
        case.doubt("the order of partitions is promised, and nothing names an operation");
    }
}

fn compare(
    index: &Index,
    case: &mut Case<'_>,
    (anomaly, what): (&str, &str),
    lane: usize,
    (told, of): (&[(u64, Seen)], fn(&Seen) -> u64),
) {
    let mut owners = index.ops.owners();
    let mut latest: HashMap<(u64, u8), (u64, u64), Quick> = HashMap::default();
    let mut known: HashSet<u64> = HashSet::new();
    let (mut late, mut evidence) = (Vec::new(), Vec::new());
    for (offset, seen) in told.iter().filter(|(_, seen)| seen.op != NO_OP) {
        let Some(owner) = owners(seen.op) else { continue };
        if !known.insert(seen.op) {
            continue;
        }
        let last = latest.entry((of(seen), owner)).or_insert((seen.op, *offset));
        if seen.op >= last.0 {
            *last = (seen.op, *offset);
            continue;
        }
        late.push((*offset, *offset));
        if evidence.len() < EVIDENCE_MAX {
            evidence.push(format!(
                "operation {} at offset {offset}, after operation {} at offset {}",
                seen.op, last.0, last.1
            ));
        }
    }
    let set = RangeSet::of(late);
    if set.is_empty() {
        return;
    }
    let text = format!(
        "{} of {} behind a later operation of the same producer and {what}: {}",
        count(set.len(), "record"),
        index.lane_name(lane),
        spelled(&set)
    );
    case.find_at(anomaly, None, lane, &set, text).evidence = evidence;
}
