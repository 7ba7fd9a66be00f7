//! Fidelity: what is stored is what was logged, key, value, headers and timestamp; nothing is stored
//! that was never logged; every part can be understood; no record lacks a mandatory header. Where
//! members tell the values that they read, those are what was logged, too.

use super::case::{Case, EVIDENCE_MAX, anomalous, count, quoted, spelled};
use super::evidence::stores;
use crate::history::event::{Evidence, Header};
use crate::history::index::{GroupLane, Index, Lane, RangeSet, Source};

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
            altered(index, case, (group, &promise.group), number, lane);
            invented(index, case, &promise.group, number, known);
        }
    }
    misread(index, case);
    unreadable(index, case);
    headers(index, case);
    if compared == 0 {
        case.doubt("no stored record could be compared with the log");
    }
    case.figure("compared_records", compared);
    format!("{compared} stored records compared with the log")
}

/// Groups that only read: their values, where anybody told them.
fn reads(index: &Index, case: &mut Case<'_>) -> String {
    if index.compared_reads == 0 {
        case.doubt("no read told a value that could be compared with the log");
    }
    misread(index, case);
    headers(index, case);
    case.figure("compared_reads", index.compared_reads);
    format!("{} compared with the log", count(index.compared_reads, "read"))
}

fn misread(index: &Index, case: &mut Case<'_>) {
    for (group, promise, _) in index.promised_groups() {
        for (number, _) in index.promised_lanes() {
            let own = index.misread.range((group, number, 0)..=(group, number, u64::MAX));
            let set = RangeSet::of(own.map(|&(_, _, offset)| (offset, offset)));
            if !set.is_empty() {
                let text = format!(
                    "{} of {} read by group {} with another value than logged: {}",
                    count(set.len(), "record"),
                    index.lane_name(number),
                    quoted(&promise.group),
                    spelled(&set)
                );
                case.find_at("read-differs", Some(&promise.group), number, &set, text);
            }
        }
    }
}

fn altered(index: &Index, case: &mut Case<'_>, group: (usize, &str), number: usize, lane: &Lane) {
    let (mut content, mut frame) = (Vec::new(), Vec::new());
    for (&offset, contested) in &lane.contested {
        let Some(log) = contested.of(Source::Log).next() else {
            continue;
        };
        let copies: Vec<_> = contested.of(Source::Copy(group.0)).collect();
        if copies.iter().any(|copy| !copy.same_content(log)) {
            content.push((offset, offset));
        } else if copies.iter().any(|copy| !copy.same_frame(log)) {
            frame.push((offset, offset));
        }
    }
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
                quoted(group.1),
                spelled(&set)
            );
            case.find_at(anomaly, Some(group.1), number, &set, text);
        }
    }
}

fn invented(index: &Index, case: &mut Case<'_>, group: &str, number: usize, known: &GroupLane) {
    let lane = &index.lanes[number];
    if !lane.complete() {
        return;
    }
    let invented = known.delivered.from(lane.low()).minus(&lane.logged());
    if !invented.is_empty() {
        let text = format!(
            "group {} stored {} of {} that the log does not hold: {}",
            quoted(group),
            count(invented.len(), "offset"),
            index.lane_name(number),
            spelled(&invented)
        );
        case.find_at("stored-but-never-logged", Some(group), number, &invented, text);
    }
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

fn headers(index: &Index, case: &mut Case<'_>) {
    for (number, _) in index.promised_lanes() {
        let missing: Vec<_> = index.headers_missing.iter().filter(|m| m.0 == number).collect();
        let set = RangeSet::of(missing.iter().map(|m| (m.1, m.1)));
        if set.is_empty() {
            continue;
        }
        let text = format!(
            "{} of {} in the log without a mandatory header: {}",
            count(set.len(), "record"),
            index.lane_name(number),
            spelled(&set)
        );
        let finding = case.find_at("header-missing", None, number, &set, text);
        let names = missing.iter().take(EVIDENCE_MAX);
        finding.evidence.extend(names.map(|m| format!("offset {} lacks {}", m.1, quoted(&m.2))));
    }
}
