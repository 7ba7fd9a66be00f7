//! Placement: a record stands in the folder of the UTC day on which it was ingested, so that a replay
//! finds it where a reader of that day looks.
//!
//! The day is the record's own (header `ingested_at`), else that of its Kafka timestamp. Parts outside
//! an `ingestion_date=` folder promise no day.

use super::case::{Case, anomalous, count, quoted};
use crate::history::event::ObjectRole;
use crate::history::index::Index;
use crate::verdict::OffsetRange;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let parts =
        || index.parts.iter().filter(|part| part.role == ObjectRole::Part && !part.during_run);
    let dated = parts().filter(|part| part.day.is_some()).count() as u64;
    if dated == 0 {
        case.doubt("no part in a folder of a day was read");
    }
    let mut misplaced = 0;
    for part in parts() {
        let Some((records, lane, offset, day)) = part.misplaced else { continue };
        misplaced += records;
        let mut finding = anomalous(
            "misplaced-record",
            format!(
                "{} of {} were ingested on another day than their folder says, the first on {}",
                count(records, "record"),
                quoted(&part.name),
                date(day),
            ),
        );
        finding.topic = Some(index.lanes[lane].topic.clone());
        finding.partition = Some(index.lanes[lane].partition);
        finding.offsets = vec![OffsetRange { first: offset, last: offset }];
        finding.at_us = Some(part.created_us);
        case.find(finding);
    }
    case.figure("parts_dated", dated);
    case.figure("misplaced_records", misplaced);
    format!("{} in folders of days, {misplaced} records misplaced", count(dated, "part"))
}

fn date(day: i64) -> String {
    let date = i32::try_from(day).ok().and_then(chrono::NaiveDate::from_epoch_days);
    date.map_or_else(|| format!("day {day} since 1970"), |date| date.to_string())
}
