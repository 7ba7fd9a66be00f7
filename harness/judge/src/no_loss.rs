//! No loss: what a group claimed by committing past it is stored, read or dead-lettered; and what
//! was acknowledged is somewhere at the end.
//!
//! A record above the committed offset is not lost but late: that is the matter of `recovery`.

use super::case::{Case, count, quoted, spelled};
use super::evidence::{Observed, claimed, declared_holes, missing, observed_groups, read_lanes};
use crate::index::{GroupLane, Index, RangeSet};
use streamlake_history::event::Evidence;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let groups = observed_groups(index);
    if index.promised_lanes().all(|(_, lane)| lane.logged().is_empty()) {
        case.doubt("the log holds no record");
    }
    let (mut past, mut lost) = (0, 0);
    for group in &groups {
        for (number, lane) in read_lanes(index, group.promise) {
            let empty = GroupLane::default();
            let known = group.lanes.get(&number).unwrap_or(&empty);
            past += claimed(index, group.promise, number, known).len();
            let gone = missing(index, group.promise, number, known);
            lost += gone.len();
            if !gone.is_empty() {
                report(index, case, group, number, &gone);
            }
            if !lane.complete() {
                continue;
            }
            let unlogged = lane.acknowledged().from(lane.low()).minus(&lane.logged());
            let nowhere = unlogged.minus(&known.done()).minus(&declared_holes(index, lane));
            if !nowhere.is_empty() && index.vouches(Evidence::Receipts) {
                lost += nowhere.len();
                let text = format!(
                    "{} never came into the log and so never to group {}: {}",
                    count(nowhere.len(), "acknowledged record"),
                    quoted(&group.promise.group),
                    spelled(&nowhere)
                );
                let name = Some(group.promise.group.as_str());
                case.find_at("lost-in-the-log", name, number, &nowhere, text);
            }
        }
    }
    case.figure("claimed_records", past);
    case.figure("lost_records", lost);
    if past == 0 && !groups.is_empty() {
        case.doubt("no group committed past any record");
    }
    format!("{past} records claimed by commits, {lost} lost")
}

fn report(index: &Index, case: &mut Case<'_>, group: &Observed<'_>, lane: usize, gone: &RangeSet) {
    let name = &group.promise.group;
    let elsewhere = |other: &(usize, _, &std::collections::BTreeMap<usize, GroupLane>)| {
        other.0 != group.number
            && other.2.get(&lane).is_some_and(|known| gone.minus(&known.done()).is_empty())
    };
    let others: Vec<_> = index.promised_groups().filter(elsewhere).collect();
    let vanished = index.vanished_parts(group.number);
    let known = group.lanes.get(&lane);
    let read = known.is_some_and(|known| gone.minus(known.read_set()).is_empty());
    let (anomaly, place) = if !vanished.is_empty() {
        ("stored-and-gone", "a part that was seen during the run is gone".to_owned())
    } else if let Some((_, promise, _)) = others.first() {
        let text = format!("group {} has them", quoted(&promise.group));
        ("lost-to-one-group", text)
    } else if read && group.promise.raw_zone.is_some() {
        ("read-but-not-stored", "a member read them".to_owned())
    } else {
        ("lost-after-commit", format!("in the log, committed past, never {}", group.verb))
    };
    let text = format!(
        "{} of {} lost to group {} ({place}): {}",
        count(gone.len(), "record"),
        index.lane_name(lane),
        quoted(name),
        spelled(gone)
    );
    let finding = case.find_at(anomaly, Some(name), lane, gone, text);
    let first = gone.ranges()[0].0;
    let past = known.and_then(|k| k.commits.iter().find(|commit| commit.offset > first));
    if let Some(commit) = past {
        finding.at_us = Some(commit.at_us);
        finding.evidence.push(format!(
            "offset {} was committed by {}, so offset {first} was claimed",
            commit.offset,
            super::case::seconds(commit.at_us)
        ));
    }
    finding
        .evidence
        .extend(vanished.iter().take(5).map(|part| format!("part {} is gone", quoted(part))));
}
