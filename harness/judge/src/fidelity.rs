//! Fidelity: what is stored is what was logged, key, value, headers and timestamp; nothing is stored
//! that was never logged; every part can be understood; no record lacks a mandatory header. Where
//! members tell the values that they read, those are what was logged, too.

use std::collections::BTreeMap;

use super::case::{Case, EVIDENCE_MAX, anomalous, count, quoted, spelled};
use super::evidence::{declared_holes, stores};
use super::{headers, transactions};
use crate::index::{GroupLane, Index, Lane, Misread, NO_TIMESTAMP, RangeSet, Seen, Source};
use streamlake_history::event::{Evidence, GroupPromise, Header, Print, ValuePromise};

/// Values are promised where they are stored, and can be asked for where members tell them.
pub(super) fn promised(header: &Header) -> bool {
    stores(header) || header.promises.evidence.contains(&Evidence::ReadValues)
}

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    if index.zones.is_empty() {
        return reads(index, case);
    }
    let mut compared = 0;
    for (group, promise, lanes) in index.promised_groups() {
        if promise.raw_zone.is_none() {
            continue;
        }
        for (number, lane) in index.promised_lanes() {
            let Some(known) = lanes.get(&number) else {
                continue;
            };
            compared += known.delivered.intersect(&lane.logged()).len();
            altered(index, case, (group, promise), number, lane);
        }
        from_nowhere(index, case, promise, lanes);
    }
    misread(index, case);
    unreadable(index, case);
    headers::judge(index, case);
    if compared == 0 {
        case.doubt("no stored record could be compared with the log");
    }
    case.figure("compared_records", compared);
    format!("{compared} stored records compared with the log{}", limits(index))
}

/// What of stored records was not compared, because nobody promised it.
fn limits(index: &Index) -> String {
    let limit = |group: &GroupPromise| {
        let consumer = group.consumer.as_ref()?;
        let what = match (consumer.values, consumer.keeps_keys) {
            (ValuePromise::Untold, false) => "their places only",
            (ValuePromise::Untold, true) => "their places and keys",
            (ValuePromise::Bytes, false) => "their values, byte for byte",
            (ValuePromise::Bytes, true) => "keys and values, byte for byte",
            (ValuePromise::Json, false) => "their values, as JSON",
            (ValuePromise::Json, true) => "keys, and values as JSON",
        };
        Some(format!("; of group {} {what}", group.group.escape_debug()))
    };
    index.header.promises.groups.iter().filter_map(limit).collect()
}

/// Whether a copy is what was logged, as far as that was promised: content, then headers and timestamp.
fn same(copy: &Seen, log: &Seen, promise: &GroupPromise) -> (bool, bool) {
    let Some(consumer) = &promise.consumer else {
        return (copy.same_content(log), copy.same_frame(log));
    };
    let untold = |seen: &Seen| seen.value == Print::UNTOLD.0;
    let value = untold(copy) || untold(log) || copy.value == log.value;
    (value && (!consumer.keeps_keys || copy.key == log.key), true)
}

/// Groups that only read: their values, where anybody told them.
fn reads(index: &Index, case: &mut Case<'_>) -> String {
    if index.compared_reads == 0 {
        case.doubt("no read told a value that could be compared with the log");
    }
    for (_, promise, lanes) in index.promised_groups() {
        from_nowhere(index, case, promise, lanes);
    }
    misread(index, case);
    headers::judge(index, case);
    case.figure("compared_reads", index.compared_reads);
    format!("{} compared with the log", count(index.compared_reads, "read"))
}

/// What is wrong with a read, in a name and in words.
const MISREAD: [(Misread, &str, &str); 6] = [
    (Misread::NotAsLogged, "read-differs", "with another value than logged"),
    (
        Misread::NotAsAcknowledged,
        "read-differs-from-acknowledged",
        "with another value than the receipt for that offset",
    ),
    (Misread::NotAsReadBefore, "reads-differ", "with another value than by an earlier read"),
    (Misread::NeverSent, "read-but-never-sent", "with a value that nobody sent"),
    (Misread::Failed, "failed-but-read", "whose send had failed for certain"),
    (Misread::BeforeItWasSent, "read-before-sent", "before their own process sent them"),
];

fn misread(index: &Index, case: &mut Case<'_>) {
    let aborted = transactions::aborted_records(index);
    for (group, promise, _) in index.promised_groups() {
        for (number, _) in index.promised_lanes() {
            for (what, anomaly, how) in MISREAD {
                let own = (group, number, what, 0)..=(group, number, what, u64::MAX);
                let own = index.misread.range(own).map(|&(_, _, _, offset)| (offset, offset));
                let mut set = RangeSet::of(own);
                // What was aborted had failed, and comes to those who read uncommitted records.
                if let Some(aborted) = aborted.get(&number)
                    && promise.reads_uncommitted
                    && what == Misread::Failed
                {
                    set = set.minus(aborted);
                }
                if set.is_empty() {
                    continue;
                }
                let text = format!(
                    "{} of {} read by group {} {how}: {}",
                    count(set.len(), "record"),
                    index.lane_name(number),
                    quoted(&promise.group),
                    spelled(&set)
                );
                case.find_at(anomaly, Some(&promise.group), number, &set, text);
            }
        }
    }
}

fn altered(
    index: &Index,
    case: &mut Case<'_>,
    (group, promise): (usize, &GroupPromise),
    number: usize,
    lane: &Lane,
) {
    let (mut content, mut frame, mut evidence) = (Vec::new(), Vec::new(), Vec::new());
    for (&offset, contested) in &lane.contested {
        let Some(log) = contested.of(Source::Log).next() else {
            continue;
        };
        let copies: Vec<_> = contested.of(Source::Copy(group)).collect();
        if copies.iter().any(|copy| !same(copy, log, promise).0) {
            content.push((offset, offset));
        } else if copies.iter().any(|copy| !same(copy, log, promise).1) {
            frame.push((offset, offset));
            let differs = |copy: &&&Seen| !same(copy, log, promise).1;
            evidence.extend(copies.iter().find(differs).map(|copy| in_frame(offset, log, copy)));
        }
    }
    evidence.truncate(EVIDENCE_MAX);
    let kinds = [
        ("stored-differs", "key or value", RangeSet::of(content)),
        ("stored-headers-differ", "headers or timestamp", RangeSet::of(frame)),
    ];
    for (anomaly, what, set) in kinds {
        if !set.is_empty() {
            let text = format!(
                "{} of {} stored by group {} with another {what} than logged: {}",
                count(set.len(), "record"),
                index.lane_name(number),
                quoted(&promise.group),
                spelled(&set)
            );
            let finding = case.find_at(anomaly, Some(&promise.group), number, &set, text);
            if anomaly == "stored-headers-differ" {
                finding.evidence.append(&mut evidence);
            }
        }
    }
}

/// In which way headers or timestamp differ, as far as the index knows.
fn in_frame(offset: u64, log: &Seen, copy: &Seen) -> String {
    let ms = |seen: &Seen| match seen.timestamp_ms {
        NO_TIMESTAMP => "none".to_owned(),
        ms => format!("{ms} ms"),
    };
    let mut told = Vec::new();
    if log.timestamp_ms != copy.timestamp_ms {
        told.push(format!("timestamp {} logged, {} stored", ms(log), ms(copy)));
    }
    if log.headers != copy.headers {
        told.push("other headers".to_owned());
    }
    format!("offset {offset}: {}", told.join(", "))
}

/// What a group stored or read that it cannot have: from another topic, of an offset that the log does
/// not hold, of an aborted transaction.
pub(super) fn from_nowhere(
    index: &Index,
    case: &mut Case<'_>,
    promise: &GroupPromise,
    lanes: &BTreeMap<usize, GroupLane>,
) {
    let stores = promise.raw_zone.is_some();
    for (number, lane) in index.sorted_lanes() {
        let Some(known) = lanes.get(&number) else { continue };
        let theirs = promise.topics.is_empty() || promise.topics.contains(&lane.topic);
        let beyond = lane.promised.is_some_and(|count| lane.partition >= count);
        let (anomaly, set, why) = if stores && (lane.promised.is_none() || !theirs) {
            ("stored-but-never-logged", known.delivered.clone(), ", a topic that it does not read")
        } else if stores && beyond && lane.high().is_none() {
            let why = ", a partition that the topic does not have";
            ("stored-but-never-logged", known.delivered.clone(), why)
        } else if !lane.complete() {
            continue;
        } else {
            // A group that only reads may have gone on after the log was read.
            let end = if stores { u64::MAX } else { lane.high().unwrap_or(0) };
            let anomaly = if stores { "stored-but-never-logged" } else { "read-but-never-logged" };
            let behind = known.delivered.from(end);
            if !behind.is_empty() {
                case.doubt(format!(
                    "group {} read {} of {} behind the end at which its log was read back, {end}: {}",
                    quoted(&promise.group),
                    count(behind.len(), "offset"),
                    index.lane_name(number),
                    spelled(&behind)
                ));
            }
            let mut set = known.delivered.from(lane.low()).below(end).minus(&lane.logged());
            if promise.reads_uncommitted {
                set = set.minus(&lane.aborted());
            }
            let set = compacted(index, case, (promise, stores), number, lane, set);
            (anomaly, set, " that the log does not hold")
        };
        let verb = if stores { "stored" } else { "read" };
        tell(index, case, (promise, verb), number, (anomaly, &set, why));
        if promise.reads_uncommitted {
            continue;
        }
        let aborted = known.delivered.intersect(&lane.aborted());
        let anomaly = if stores { "stored-but-aborted" } else { "read-but-aborted" };
        let why = " of an aborted transaction";
        tell(index, case, (promise, verb), number, (anomaly, &aborted, why));
    }
}

/// What of a set is not declared to be a hole: compaction leaves one where a record was that a group had
/// before.
fn compacted(
    index: &Index,
    case: &mut Case<'_>,
    (promise, stores): (&GroupPromise, bool),
    number: usize,
    lane: &Lane,
    set: RangeSet,
) -> RangeSet {
    let holes = set.intersect(&declared_holes(index, lane)).minus(&lane.aborted());
    if !holes.is_empty() {
        case.doubt(format!(
            "group {} {} {} of {} at which the log holds no record any more, as its reader declared: {}",
            quoted(&promise.group),
            if stores { "stored" } else { "read" },
            count(holes.len(), "offset"),
            index.lane_name(number),
            spelled(&holes)
        ));
    }
    set.minus(&holes)
}

fn tell(
    index: &Index,
    case: &mut Case<'_>,
    (promise, verb): (&GroupPromise, &str),
    number: usize,
    (anomaly, set, why): (&str, &RangeSet, &str),
) {
    if set.is_empty() {
        return;
    }
    let text = format!(
        "group {} {verb} {} of {}{why}: {}",
        quoted(&promise.group),
        count(set.len(), "offset"),
        index.lane_name(number),
        spelled(set)
    );
    case.find_at(anomaly, Some(&promise.group), number, set, text);
}

fn unreadable(index: &Index, case: &mut Case<'_>) {
    for part in index.parts.iter().filter(|part| !part.during_run) {
        let Some(problem) = &part.problem else {
            continue;
        };
        let text = format!("{} cannot be understood: {}", quoted(&part.name), quoted(problem));
        let mut finding = anomalous("unreadable-part", text);
        finding.at_us = Some(part.created_us);
        case.find(finding);
    }
}
