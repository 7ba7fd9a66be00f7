//! Dead letters: every poison record is in the dead-letter topic once for each group that passed it,
//! byte for byte and with all fields, and nothing else is there.
//!
//! A letter names the group that wrote it, and answers for no other. A poison operation that its
//! producer rejected must have a letter that names it and no group. Further letters of one record and
//! group are counted here; whether they had to be is asked where duplicates are.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, EVIDENCE_MAX, OPS_MAX, anomalous, count, quoted, spelled};
use super::evidence::dead_letters_read;
use super::letters;
use crate::index::{Bit, Dead, End, Index, NO_ID, RangeSet};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let topics: BTreeSet<&str> = index
        .header
        .promises
        .groups
        .iter()
        .filter_map(|g| g.dead_letter_topic.as_deref())
        .collect();
    let unread: Vec<_> = topics.iter().filter(|topic| !dead_letters_read(index, topic)).collect();
    if index.ops.count(Bit::Invoked) == 0 && index.dead.is_empty() {
        case.doubt("no operation was invoked and no dead letter was seen");
    }
    let letters: Vec<&Dead> =
        index.dead.iter().filter(|dead| topics.contains(dead.letter.topic.as_str())).collect();
    let poison = index.ops.kept.values().filter(|kept| kept.invocation.poison).count() as u64;
    whose(index, case, &letters);
    if unread.is_empty() {
        // What a producer rejects is in the topic that it shares with the pipeline's consumers.
        let mut groups = index.header.promises.groups.iter();
        if groups.any(|group| group.dead_letter_topic.is_some() && group.consumer.is_none()) {
            absent_rejections(index, case, &letters);
            places_told(index, case, &letters);
        }
        absent_places(index, case);
    }
    letters::judge(index, case, &letters);
    case.figure("dead_letters", letters.len() as u64);
    case.figure("dead_letters_again", again(&letters));
    case.figure("poison_operations", poison);
    format!("{poison} poison operations, {} dead letters", letters.len())
}

/// Letters that do not say whose they are, where several groups write: a doubt.
fn whose(index: &Index, case: &mut Case<'_>, letters: &[&Dead]) {
    let writers = |topic: &str| {
        let groups = index.header.promises.groups.iter();
        groups.filter(|group| group.dead_letter_topic.as_deref() == Some(topic)).count()
    };
    let open = letters.iter().filter(|dead| {
        dead.source.is_some() && dead.letter.group.is_none() && writers(&dead.letter.topic) > 1
    });
    let open = open.count() as u64;
    if open > 0 {
        case.doubt(format!(
            "{} of records that several groups read name no group: one group's letter may stand for \
             another's",
            count(open, "dead letter")
        ));
    }
}

/// Letters beyond the first of each place and group.
fn again(letters: &[&Dead]) -> u64 {
    let of_records = letters.iter().filter_map(|dead| Some((dead.source?, &dead.letter.group)));
    let of_records: Vec<_> = of_records.collect();
    let distinct: BTreeSet<_> = of_records.iter().collect();
    (of_records.len() - distinct.len()) as u64
}

/// Rejected operations without a dead letter.
fn absent_rejections(index: &Index, case: &mut Case<'_>, letters: &[&Dead]) {
    let own = || letters.iter().filter(|dead| dead.source.is_none() && dead.letter.group.is_none());
    let named: BTreeSet<u64> = own().filter_map(|dead| dead.letter.op).collect();
    let values: BTreeSet<u64> = own().map(|dead| dead.letter.value.0).collect();
    let kept = index.ops.kept.iter();
    let absent: Vec<u64> = kept
        .filter(|(_, kept)| kept.end == Some(End::Rejected))
        .filter(|(op, kept)| !named.contains(op) && !values.contains(&kept.invocation.value))
        .map(|(op, _)| *op)
        .collect();
    if absent.is_empty() {
        return;
    }
    let text = count(absent.len() as u64, "rejected operation");
    let mut finding =
        anomalous("rejected-without-dead-letter", format!("{text} without a dead letter"));
    finding.ops = absent.into_iter().take(OPS_MAX).collect();
    case.find(finding);
}

/// Rejected operations whose receipt names a place at which another dead letter stands, or none.
fn places_told(index: &Index, case: &mut Case<'_>, letters: &[&Dead]) {
    let promise = index.header.promises.outcomes.as_ref();
    let owed = promise.is_some_and(|promise| promise.tells_key_and_letter);
    let mut by_place: BTreeMap<(&str, u32, u64), &Dead> = BTreeMap::new();
    for dead in letters {
        let letter = &dead.letter;
        by_place.insert((&letter.topic, letter.partition, letter.offset), dead);
    }
    let rejected = index.ops.kept.iter().filter(|(_, kept)| kept.end == Some(End::Rejected));
    let (mut ops, mut evidence) = (Vec::new(), Vec::new());
    for (op, kept) in rejected {
        let why = match index.letters_told.get(op) {
            None if owed => "does not say where its dead letter stands".to_owned(),
            None => continue,
            Some(told) => {
                let (topic, partition, offset) = &told.place;
                let place = format!("{}/{partition} offset {offset}", topic.escape_debug());
                match by_place.get(&(topic.as_str(), *partition, *offset)) {
                    None => format!("names {place}, where no dead letter stands"),
                    Some(dead) => {
                        let letter = &dead.letter;
                        let same = match letter.op {
                            Some(named) => named == *op,
                            None => letter.value.0 == kept.invocation.value,
                        };
                        let key = index.key_print(letter.key.as_ref());
                        match same && dead.source.is_none() {
                            true if !owed || told.key == key => continue,
                            true => format!(
                                "names another key than the dead letter at {place}, or none"
                            ),
                            false => format!(
                                "names {place}, where the dead letter of something else stands"
                            ),
                        }
                    }
                }
            }
        };
        ops.push(*op);
        evidence.push(format!("the receipt of operation {op} {why}"));
    }
    if ops.is_empty() {
        return;
    }
    let text = count(ops.len() as u64, "rejected operation");
    let mut finding = anomalous(
        "receipt-of-another-dead-letter",
        format!("{text} whose receipt does not lead to the dead letter"),
    );
    ops.truncate(OPS_MAX);
    evidence.truncate(EVIDENCE_MAX);
    (finding.ops, finding.evidence) = (ops, evidence);
    case.find(finding);
}

/// Where poison stands in the log, by partition: by the operation that a record names or its receipt
/// does, or by its content where neither names one.
pub(super) fn poison_places(index: &Index) -> BTreeMap<usize, RangeSet> {
    let kept = || index.ops.kept.iter().filter(|(_, kept)| kept.invocation.poison);
    if kept().next().is_none() {
        return BTreeMap::new();
    }
    let contents: BTreeSet<(u64, u64)> = kept()
        .map(|(&op, kept)| index.reduce(kept.invocation.seen(op, NO_ID)))
        .map(|seen| (seen.key, seen.value))
        .collect();
    let mut places = BTreeMap::new();
    for (number, lane) in index.promised_lanes() {
        let poison = lane.log_records().filter(|(offset, seen)| match lane.op_at(*offset) {
            Some(op) => index.ops.is_poison(op),
            None => contents.contains(&(seen.key, seen.value)),
        });
        let set = RangeSet::of_rising(poison.map(|(offset, _)| (offset, offset)));
        places.insert(number, set);
    }
    places
}

/// Poison of the log that a group passed without a dead letter, or stored.
fn absent_places(index: &Index, case: &mut Case<'_>) {
    let poison = poison_places(index);
    for (_, promise, lanes) in index.promised_groups() {
        if promise.dead_letter_topic.is_none() {
            continue;
        }
        for (number, lane) in index.promised_lanes() {
            let (Some(known), Some(places)) = (lanes.get(&number), poison.get(&number)) else {
                continue;
            };
            let places = places.from(lane.low()).minus(&lane.aborted());
            let passed = places.below(known.committed_max().unwrap_or(0));
            let name = Some(promise.group.as_str());
            let absent = passed.minus(&known.dead_lettered);
            if !absent.is_empty() {
                let text = format!(
                    "{} of {} without a dead letter of group {}: {}",
                    count(absent.len(), "poison record"),
                    index.lane_name(number),
                    quoted(&promise.group),
                    spelled(&absent)
                );
                case.find_at("poison-without-dead-letter", name, number, &absent, text);
            }
            let stored = places.intersect(&known.delivered);
            if promise.raw_zone.is_some() && !stored.is_empty() {
                let text = format!(
                    "{} of {} stored by group {}: {}",
                    count(stored.len(), "poison record"),
                    index.lane_name(number),
                    quoted(&promise.group),
                    spelled(&stored)
                );
                case.find_at("poison-stored", name, number, &stored, text);
            }
        }
    }
}
