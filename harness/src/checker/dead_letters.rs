//! Dead letters: every poison record is in the dead-letter topic, byte for byte and with all fields,
//! and nothing else is there.
//!
//! A poison operation that its producer rejected must have a dead letter that names it; one that was
//! acknowledged must have one, for each group with a dead-letter topic, that names its place.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, EVIDENCE_MAX, OPS_MAX, anomalous, count, quoted, spelled};
use super::evidence::dead_letters_read;
use crate::history::event::DeadLetter;
use crate::history::index::{Bit, Dead, End, Index, NO_ID, NO_OP, Range, RangeSet, Seen};

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
    if unread.is_empty() {
        absent_rejections(index, case, &letters);
        absent_places(index, case);
    }
    for (anomaly, faulty) in faults(index, case, &letters) {
        report(index, case, anomaly, &faulty);
    }
    case.figure("dead_letters", letters.len() as u64);
    case.figure("poison_operations", poison);
    format!("{poison} poison operations, {} dead letters", letters.len())
}

/// Rejected operations without a dead letter.
fn absent_rejections(index: &Index, case: &mut Case<'_>, letters: &[&Dead]) {
    let named: BTreeSet<u64> = letters.iter().filter_map(|dead| dead.letter.op).collect();
    let values: BTreeSet<u64> = letters.iter().map(|dead| dead.letter.value.0).collect();
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

/// Acknowledged poison that a group passed without a dead letter, or stored.
fn absent_places(index: &Index, case: &mut Case<'_>) {
    let mut poison: BTreeMap<usize, Vec<Range>> = BTreeMap::new();
    for kept in index.ops.kept.values().filter(|kept| kept.invocation.poison) {
        if let Some(End::Acknowledged(lane, offset)) = kept.end {
            poison.entry(lane).or_default().push((offset, offset));
        }
    }
    for (_, promise, lanes) in index.promised_groups() {
        if promise.dead_letter_topic.is_none() {
            continue;
        }
        for (number, lane) in index.promised_lanes() {
            let (Some(known), Some(places)) = (lanes.get(&number), poison.get(&number)) else {
                continue;
            };
            let places = RangeSet::of(places.iter().copied()).from(lane.low());
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

/// Dead letters with something wrong about them, by kind.
fn faults<'a>(
    index: &Index,
    case: &mut Case<'_>,
    letters: &[&'a Dead],
) -> BTreeMap<&'static str, Vec<&'a Dead>> {
    let mut faults: BTreeMap<&'static str, Vec<&Dead>> = BTreeMap::new();
    let mut unjudged = 0;
    let poison_values: BTreeSet<u64> = index
        .ops
        .kept
        .values()
        .filter(|kept| kept.invocation.poison)
        .map(|kept| kept.invocation.value)
        .collect();
    for dead in letters {
        let letter = &dead.letter;
        if !letter.missing_headers.is_empty() {
            faults.entry("dead-letter-incomplete").or_default().push(dead);
        }
        let Some((lane, offset)) = dead.source else {
            // Refused by its producer: there is no record to compare with, but an invocation.
            let kept = letter.op.and_then(|op| index.ops.kept.get(&op));
            let poison = kept.filter(|kept| kept.invocation.poison);
            let altered = match poison {
                Some(kept) => kept.invocation.value != letter.value.0,
                None => letter.op.is_none() && !poison_values.contains(&letter.value.0),
            };
            if altered {
                faults.entry("dead-letter-altered").or_default().push(dead);
            } else if poison.is_none() && letter.op.is_some() {
                faults.entry("dead-letter-of-good-record").or_default().push(dead);
            }
            continue;
        };
        match index.lanes[lane].log_record(offset) {
            None if offset < index.lanes[lane].low() || !index.lanes[lane].complete() => {
                unjudged += 1
            }
            None => faults.entry("dead-letter-of-nothing").or_default().push(dead),
            Some(log) => {
                let told = index.reduce(letter_word(index, letter));
                if !told.same_content(&log) {
                    faults.entry("dead-letter-altered").or_default().push(dead);
                } else if log.headers != told.headers {
                    faults.entry("dead-letter-headers-differ").or_default().push(dead);
                }
                match index.lanes[lane].op_at(offset) {
                    None => unjudged += u64::from(!poison_values.contains(&letter.value.0)),
                    Some(op) if index.ops.is_poison(op) => {}
                    Some(_) => faults.entry("dead-letter-of-good-record").or_default().push(dead),
                }
            }
        }
    }
    if unjudged > 0 {
        case.doubt(format!(
            "of {} nobody can say whether it had to be",
            count(unjudged, "dead letter")
        ));
    }
    faults
}

/// What a dead letter says of its record.
fn letter_word(index: &Index, letter: &DeadLetter) -> Seen {
    Seen {
        key: index.key_print(letter.key.as_ref()),
        value: letter.value.0,
        headers: letter.headers.0,
        timestamp_ms: 0,
        op: NO_OP,
        id: NO_ID,
    }
}

fn report(index: &Index, case: &mut Case<'_>, anomaly: &'static str, faulty: &[&Dead]) {
    let letters = count(faulty.len() as u64, "dead letter");
    let what = match anomaly {
        "dead-letter-incomplete" => "without a mandatory header",
        "dead-letter-of-good-record" => "of records that are not poison",
        "dead-letter-of-nothing" => "of places where the log holds no record",
        "dead-letter-altered" => "with another key or value than the record had",
        _ => "with other headers than the record had",
    };
    let mut finding = anomalous(anomaly, format!("{letters} {what}"));
    let first = &faulty[0].letter;
    finding.topic = Some(first.topic.clone());
    finding.at_us = faulty.iter().map(|dead| dead.letter.created_us).min();
    finding.ops = faulty.iter().filter_map(|dead| dead.letter.op).take(OPS_MAX).collect();
    finding.evidence = faulty
        .iter()
        .take(EVIDENCE_MAX)
        .map(|dead| {
            let letter = &dead.letter;
            let source = match dead.source {
                Some((lane, offset)) => format!("{} offset {offset}", index.lane_name(lane)),
                None => "no place".to_owned(),
            };
            format!(
                "dead letter {}/{} offset {} of {source}, error {}, lacks [{}]",
                letter.topic.escape_debug(),
                letter.partition,
                letter.offset,
                quoted(letter.error.as_deref().unwrap_or("")),
                letter.missing_headers.join(", ").escape_debug()
            )
        })
        .collect();
    case.find(finding);
}
