//! Placement: a part stands in `raw/dataset=<dataset>/ingestion_date=<day>/`, of the dataset under test
//! and of the UTC day on which its records were ingested, so that a replay finds it where a reader of
//! that day looks. It holds one topic, one partition, one day.
//!
//! The day is the record's own (header `ingested_at`), else that of its Kafka timestamp; whether
//! `ingested_at` can be believed is asked where the log is compared with the invocations.

use super::case::{Case, anomalous, count, quoted};
use crate::index::{Index, Part};
use crate::verdict::{Finding, OffsetRange};
use streamlake_history::event::{GroupPromise, ObjectRole};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let parts = || {
        let parts = index.parts.iter().filter(|p| p.role == ObjectRole::Part && !p.during_run);
        parts.filter(|part| laid_out(index, part.zone))
    };
    let (mut total, mut misplaced) = (0, 0);
    for part in parts() {
        total += 1;
        if let Some(finding) = folder(index, part) {
            case.find(finding);
        }
        if part.lanes.len() > 1 {
            let held: Vec<String> = part.lanes.keys().map(|&lane| index.lane_name(lane)).collect();
            let mut held = held;
            held.sort();
            let text = format!(
                "{} holds records of {}, a part is to hold one partition",
                quoted(&part.name),
                held.join(" and ")
            );
            case.find(of_part("part-of-several-partitions", part, text));
        }
        misplaced += part.misplaced.map_or(0, |(records, ..)| records);
        if let Some(finding) = records(index, part) {
            case.find(finding);
        }
    }
    if total == 0 {
        case.doubt("no part was read");
    }
    case.figure("parts", total);
    case.figure("misplaced_records", misplaced);
    format!("{} in folders of days, {misplaced} records misplaced", count(total, "part"))
}

/// Some group that writes into a raw zone promised a layout.
pub(super) fn laid_out(index: &Index, zone: usize) -> bool {
    let groups = &index.header.promises.groups;
    index.zones[zone].groups.iter().any(|&group| !groups[group].free_layout)
}

/// A group without a layout that replaces nothing all the same.
pub(super) fn keeps_objects(group: &GroupPromise) -> bool {
    group.consumer.as_ref().is_some_and(|consumer| consumer.keeps_objects)
}

/// What stands in a zone stays as it is.
pub(super) fn is_kept(index: &Index, zone: usize) -> bool {
    let groups = &index.header.promises.groups;
    laid_out(index, zone) || index.zones[zone].groups.iter().any(|&g| keeps_objects(&groups[g]))
}

fn of_part(anomaly: &str, part: &Part, text: String) -> Finding {
    let mut finding = anomalous(anomaly, text);
    finding.at_us = Some(part.created_us);
    finding
}

/// The folder is none, or that of another dataset.
fn folder(index: &Index, part: &Part) -> Option<Finding> {
    let name = quoted(&part.name);
    if let Some(why) = part.place.misfit {
        return Some(of_part("part-outside-the-layout", part, format!("{name}: {why}")));
    }
    let promised = index.header.promises.dataset.as_deref()?;
    let dataset = part.place.dataset.as_deref().unwrap_or_default();
    (dataset != promised).then(|| {
        let text = format!(
            "{name} stands in the folder of dataset {}, its records are of {}",
            quoted(dataset),
            quoted(promised)
        );
        of_part("part-of-another-dataset", part, text)
    })
}

/// Records of another day than the folder's.
fn records(index: &Index, part: &Part) -> Option<Finding> {
    let (records, lane, offset, day) = part.misplaced?;
    let text = format!(
        "{} of {} were ingested on another day than their folder says, {}: the first on {}",
        count(records, "record"),
        quoted(&part.name),
        date(part.place.day.unwrap_or_default()),
        date(day),
    );
    let mut finding = of_part("misplaced-record", part, text);
    finding.topic = Some(index.lanes[lane].topic.clone());
    finding.partition = Some(index.lanes[lane].partition);
    finding.offsets = vec![OffsetRange { first: offset, last: offset }];
    Some(finding)
}

fn date(day: i64) -> String {
    let date = i32::try_from(day).ok().and_then(chrono::NaiveDate::from_epoch_days);
    date.map_or_else(|| format!("day {day} since 1970"), |date| date.to_string())
}
