//! Order: within a part the offsets of a partition rise line by line; a member's reads rise within
//! an assignment, pass over no record, and go back no further than to the committed offset; and where
//! the promises say so, the records of one key stand in the log as they were invoked.
//!
//! A member that reads again what it has read went back; that is the matter of `duplicates`, unless it
//! was committed. One that comes to offsets that nobody has read yet, below others that it has, and
//! then passes over those, reads out of order.
//!
//! Not asked: that parts come into being in the order of their offsets. A pipeline may upload
//! several batches at once; what would hurt is a commit past a batch that is not durable yet, and
//! that is the matter of `commit-frontier`. Such parts are counted. Operations of different producers
//! have no order among them.

use std::collections::{HashMap, HashSet};

use super::case::{Case, EVIDENCE_MAX, count, quoted, seconds, spelled};
use crate::index::{
    After, At, GroupLane, Index, Lane, NO_KEY, NO_OP, Quick, RangeSet, Rewind, Seen,
};
use streamlake_history::event::{Assignment, Evidence, ObjectRole};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let parts = parts(index, case);
    let reads = reads(index, case);
    let keyed = if index.header.promises.key_order { keys(index, case) } else { 0 };
    super::send_order::judge(index, case);
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

/// What members read, in the order in which each of them read.
fn reads(index: &Index, case: &mut Case<'_>) -> u64 {
    let mut seen = 0;
    for (group, _, lanes) in index.promised_groups() {
        for (number, _) in index.promised_lanes() {
            let Some(known) = lanes.get(&number) else {
                continue;
            };
            seen += known.read_set().len();
            let place = Place { group, lane: number, known };
            went_back(index, case, &place);
            out_of_order(index, case, &place);
            skipped(index, case, &place);
            not_owned(index, case, &place);
            for member in &known.readers.mixed {
                case.doubt(format!(
                    "several processes told what member {} read of {}: its order is not known",
                    quoted(member),
                    index.lane_name(number)
                ));
            }
        }
    }
    seen
}

/// A group on a partition.
struct Place<'a> {
    group: usize,
    lane: usize,
    known: &'a GroupLane,
}

impl Place<'_> {
    fn name<'i>(&self, index: &'i Index) -> &'i str {
        &index.header.promises.groups[self.group].group
    }

    fn member(&self, reader: u16) -> String {
        quoted(&self.known.readers.names[usize::from(reader)])
    }
}

/// Reads below what had been committed; a replay, or a reset that was told, is good for one.
fn went_back(index: &Index, case: &mut Case<'_>, place: &Place<'_>) {
    let mut permits = index.permits(place.group, place.lane);
    let committed = |rewind: &&Rewind| {
        rewind.came < place.known.committed_when(rewind.base, rewind.at_us, &index.clocks)
    };
    let mut excused = |rewind: &&Rewind| {
        let found = permits.iter().position(|permit| permit.from_us <= rewind.at_us);
        found.map(|found| permits.remove(found)).is_none()
    };
    let rewinds = place.known.readers.rewinds.iter().filter(committed);
    let back: Vec<&Rewind> = rewinds.filter(|rewind| excused(rewind)).collect();
    let Some(first) = back.first() else { return };
    let set = RangeSet::of(back.iter().map(|r| (r.came, r.came)));
    let name = place.name(index);
    let text = format!(
        "a member of group {} went back on {} below the committed offset {}, first {} at {}: {} was \
         due, {} came",
        quoted(name),
        index.lane_name(place.lane),
        count(back.len() as u64, "time"),
        place.member(first.reader),
        seconds(first.at_us),
        first.due,
        first.came
    );
    let finding = case.find_at("read-went-back", Some(name), place.lane, &set, text);
    finding.at_us = Some(first.at_us);
}

/// Offsets that came after higher ones, and were no repetition.
fn out_of_order(index: &Index, case: &mut Case<'_>, place: &Place<'_>) {
    let end = place.known.committed_max().unwrap_or(0);
    let late = |rewind: &&Rewind| {
        let passed_over = match rewind.after {
            After::Jumped => true,
            // It stopped there: what was above counts as done if it was committed.
            After::Ended => end >= rewind.due,
            After::ReadOn | After::BackAgain => false,
        };
        passed_over && !rewind.repeated && read_first(place.known, rewind)
    };
    let late: Vec<&Rewind> = place.known.readers.rewinds.iter().filter(late).collect();
    let Some(first) = late.first() else { return };
    let set = RangeSet::of(late.iter().map(|r| (r.came, r.came)));
    let name = place.name(index);
    let text = format!(
        "member {} of group {} read {} out of order {}: first at {}, {} came after {}",
        place.member(first.reader),
        quoted(name),
        index.lane_name(place.lane),
        count(late.len() as u64, "time"),
        seconds(first.at_us),
        first.came,
        first.due - 1
    );
    let finding = case.find_at("read-out-of-order", Some(name), place.lane, &set, text);
    finding.at_us = Some(first.at_us);
    let lines = late.iter().take(EVIDENCE_MAX);
    finding
        .evidence
        .extend(lines.map(|r| format!("{} after {}, at {}", r.came, r.due - 1, seconds(r.at_us))));
}

/// Nobody had read the offset before: the member that went back to it is the only one that did.
fn read_first(known: &GroupLane, rewind: &Rewind) -> bool {
    let copies = known.copies.iter();
    let others = copies.filter(|run| (run.first..=run.last).contains(&rewind.came));
    others.count() <= 1
}

/// Records that a member passed over within one assignment.
fn skipped(index: &Index, case: &mut Case<'_>, place: &Place<'_>) {
    let lane = &index.lanes[place.lane];
    // What stood in the log, by its reader or by a receipt; what was removed since cannot be asked for.
    let log = match index.vouches(Evidence::Log) && lane.complete() {
        true => lane.logged().from(lane.low()),
        false => lane.logged().union(&lane.acknowledged()),
    };
    let log = log.minus(&lane.holes());
    for skip in &place.known.readers.skips {
        let set = skip.set.intersect(&log);
        if set.is_empty() {
            continue;
        }
        let name = place.name(index);
        let text = format!(
            "member {} of group {} passed over {} of {} within one assignment, by {}: {}",
            place.member(skip.reader),
            quoted(name),
            count(set.len(), "record"),
            index.lane_name(place.lane),
            seconds(skip.at_us),
            spelled(&set)
        );
        if index.lines_left_out() {
            case.doubt(format!("{text}; but lines of the history were left out"));
            continue;
        }
        let finding = case.find_at("skipped-within-assignment", Some(name), place.lane, &set, text);
        finding.at_us = Some(skip.at_us);
    }
}

/// Where assignments are told, a member reads what it owns.
fn not_owned(index: &Index, case: &mut Case<'_>, place: &Place<'_>) {
    if !place.known.readers.assignments_told {
        return;
    }
    let name = place.name(index);
    for reads in &place.known.readers.unowned {
        let member = place.member(reads.reader);
        let why = match reads.gave_up {
            true => "after it had given the partition up",
            false => "of a partition that others were assigned, and it was not",
        };
        let text = format!(
            "member {member} of group {} read {} of {} {why}, first at {}: {}",
            quoted(name),
            count(reads.set.len(), "record"),
            index.lane_name(place.lane),
            seconds(reads.at_us),
            spelled(&reads.set)
        );
        let tells = |a: &At<Assignment>| {
            a.fact.group == name
                && a.fact.member == place.known.readers.names[usize::from(reads.reader)]
        };
        if !reads.gave_up && !index.rare.assignments.iter().any(tells) {
            case.doubt(format!("{text}; but the member told no assignment at all"));
            continue;
        }
        let finding =
            case.find_at("read-without-assignment", Some(name), place.lane, &reads.set, text);
        finding.at_us = Some(reads.at_us);
    }
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
