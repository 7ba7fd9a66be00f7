//! Order: within a part the offsets of a partition rise line by line; a member's reads rise within
//! an assignment, and go back no further than to the committed offset; and where the promises say
//! so, the records of one key stand in the log as they were invoked.
//!
//! Not asked: that parts come into being in the order of their offsets. A pipeline may upload
//! several batches at once; what would hurt is a commit past a batch that is not durable yet, and
//! that is the matter of `commit-frontier`. Such parts are counted. Operations of different producers
//! have no order among them.

use std::collections::{HashMap, HashSet};

use super::case::{Case, EVIDENCE_MAX, count, quoted, seconds, spelled};
use crate::history::event::{Evidence, ObjectRole};
use crate::history::index::{Index, Lane, NO_KEY, NO_OP, Quick, RangeSet, Seen};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let parts = parts(index, case);
    let reads = reads(index, case);
    let keyed = if index.header.promises.key_order { keys(index, case) } else { 0 };
    if index.header.promises.key_order {
        if !index.vouches(Evidence::Log) || !index.vouches(Evidence::Receipts) {
            case.doubt("the order of keys is promised, and log or producers cannot be seen");
        } else if keyed == 0 {
            case.doubt("the order of keys is promised, and the log names no operation with a key");
        }
        if index.unjudged_order > 0 {
            let text = count(index.unjudged_order, "record");
            case.doubt(format!(
                "{text} came so late, or before their invocations were told, that the order of their \
                 keys is not known"
            ));
        }
        if !index.unordered_owners.is_empty() {
            case.doubt(
                "a producer's operations were not numbered in the order of their invocation",
            );
        }
    }
    if parts + reads + keyed == 0 {
        case.doubt("no part, no read and no keyed record was seen");
    }
    case.figure("parts", parts);
    case.figure("parts_created_out_of_order", overtaking(index));
    case.figure("reads", reads);
    case.figure("keyed_records", keyed);
    format!("{parts} parts, {reads} reads, {keyed} keyed records of the log in order")
}

fn parts(index: &Index, case: &mut Case<'_>) -> u64 {
    let mut seen = 0;
    for part in index.parts.iter().filter(|p| p.role == ObjectRole::Part && !p.during_run) {
        seen += u64::from(!part.lanes.is_empty());
        for (number, _) in index.sorted_lanes().filter(|_| !part.disorder.is_empty()) {
            let back = part.disorder.iter().filter(|d| d.0 == number);
            let set = RangeSet::of(back.clone().map(|d| (d.2, d.2)));
            let Some(&(_, line, offset)) = back.clone().next() else {
                continue;
            };
            let text = format!(
                "part {} goes back within {}: {}, first at line {line} to offset {offset}",
                quoted(&part.name),
                index.lane_name(number),
                count(set.len(), "offset"),
            );
            case.find_at("part-out-of-order", None, number, &set, text).at_us =
                Some(part.created_us);
        }
    }
    seen
}

fn reads(index: &Index, case: &mut Case<'_>) -> u64 {
    let mut seen = 0;
    for (_, promise, lanes) in index.promised_groups() {
        for (number, _) in index.promised_lanes() {
            let Some(known) = lanes.get(&number) else {
                continue;
            };
            seen += known.read_set().len();
            let replayed = |at| super::duplicates::replay_before(index, at);
            let back: Vec<_> = known
                .rewinds
                .iter()
                .filter(|r| r.came < known.committed_at(r.at_us).unwrap_or(0) && !replayed(r.at_us))
                .collect();
            let Some(first) = back.first() else { continue };
            let set = RangeSet::of(back.iter().map(|r| (r.came, r.came)));
            let text = format!(
                "a member of group {} went back on {} below the committed offset {}, first at {}: \
                 {} was due, {} came",
                quoted(&promise.group),
                index.lane_name(number),
                count(back.len() as u64, "time"),
                seconds(first.at_us),
                first.due,
                first.came
            );
            let name = Some(promise.group.as_str());
            let at = first.at_us;
            case.find_at("read-went-back", name, number, &set, text).at_us = Some(at);
        }
    }
    seen
}

/// Records with a key whose order was checked.
fn keys(index: &Index, case: &mut Case<'_>) -> u64 {
    let mut seen = 0;
    for (number, lane) in index.promised_lanes() {
        let (keyed, inversions) = match index.is_full() {
            true => inversions(index, lane),
            false => (lane.logged().len(), followed(index, number)),
        };
        seen += keyed;
        if inversions.is_empty() {
            continue;
        }
        let set = RangeSet::of(inversions.iter().map(|i| (i.offset, i.offset)));
        let text = format!(
            "{} of {} behind a later operation of the same key and producer: {}",
            count(set.len(), "record"),
            index.lane_name(number),
            spelled(&set)
        );
        let finding = case.find_at("key-order", None, number, &set, text);
        finding.evidence.extend(inversions.iter().take(EVIDENCE_MAX).map(|i| {
            format!(
                "operation {} at offset {}, after operation {} at offset {}",
                i.op, i.offset, i.later.0, i.later.1
            )
        }));
    }
    seen
}

struct Inversion {
    offset: u64,
    op: u64,
    later: (u64, u64),
}

/// Records of a lane that name an operation and a key, with the operation's producer.
fn owned<'a>(index: &'a Index, lane: &'a Lane) -> impl Iterator<Item = (u64, Seen, u8)> + 'a {
    let mut owners = index.ops.owners();
    let keyed = lane.log_records().filter(|(_, seen)| seen.op != NO_OP && seen.key != NO_KEY);
    keyed.filter_map(move |(offset, seen)| Some((offset, seen, owners(seen.op)?)))
}

/// A second copy of an operation is a duplicate and not out of order: only first copies are compared.
fn inversions(index: &Index, lane: &Lane) -> (u64, Vec<Inversion>) {
    if let Some(keyed) = rising(index, lane) {
        return (keyed, Vec::new());
    }
    let (mut keyed, mut inversions) = (0, Vec::new());
    let mut latest: HashMap<(u64, u8), (u64, u64), Quick> = HashMap::default();
    let mut repeated: HashSet<u64> = HashSet::new();
    for (offset, seen, owner) in owned(index, lane) {
        if index.ops.logged_again.contains_key(&seen.op) && !repeated.insert(seen.op) {
            continue;
        }
        keyed += 1;
        let last = latest.entry((seen.key, owner)).or_insert((seen.op, offset));
        if seen.op < last.0 {
            inversions.push(Inversion { offset, op: seen.op, later: *last });
        } else {
            *last = (seen.op, offset);
        }
    }
    (keyed, inversions)
}

/// How many records, if each producer's operations rise throughout the lane, whatever their keys. So
/// they do in nearly every log, and nothing needs to be remembered of any key.
fn rising(index: &Index, lane: &Lane) -> Option<u64> {
    let mut next = [0u64; 1 << u8::BITS];
    let mut keyed = 0;
    for (_, seen, owner) in owned(index, lane) {
        let next = &mut next[usize::from(owner)];
        if seen.op < *next {
            return None;
        }
        // The reserved number is the highest: no operation bears it.
        *next = seen.op + 1;
        keyed += 1;
    }
    Some(keyed)
}

/// The same for a run too large to keep keys: what was seen while the log passed by. Of operations that
/// the log repeats only first copies count here, too.
fn followed(index: &Index, number: usize) -> Vec<Inversion> {
    let late = || index.late_keys.iter().filter(|late| late.lane == number);
    let again = late().map(|late| late.op).filter(|op| index.ops.logged_again.contains_key(op));
    let again: HashSet<u64> = again.collect();
    let mut first: HashMap<u64, u64> = HashMap::new();
    if !again.is_empty() {
        let records = index.lanes[number].log_records();
        for (offset, seen) in records.filter(|(_, seen)| again.contains(&seen.op)) {
            first.entry(seen.op).or_insert(offset);
        }
    }
    late()
        .filter(|late| first.get(&late.op).is_none_or(|offset| *offset == late.offset))
        .map(|late| Inversion {
            offset: late.offset,
            op: late.op,
            later: (late.later_op, late.later_offset),
        })
        .collect()
}

/// Parts that came into being after a part with higher offsets of a partition, and do not repeat
/// anything.
fn overtaking(index: &Index) -> u64 {
    let mut highest: HashMap<(usize, usize), u64> = HashMap::new();
    let mut overtaken = 0;
    for part in index.parts.iter().filter(|p| p.role == ObjectRole::Part && !p.during_run) {
        let mut late = false;
        for (&lane, span) in &part.lanes {
            let high = highest.entry((part.zone, lane)).or_insert(0);
            late |= span.last < *high;
            *high = span.last.max(*high);
        }
        overtaken += u64::from(late);
    }
    overtaken
}
