//! What is known of the objects of the raw zones.

use std::collections::BTreeMap;

use crate::history::event::{ListedPart, ObjectRole, Print};

/// Offsets of one partition within one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLane {
    /// Lowest offset.
    pub first: u64,
    /// Highest offset.
    pub last: u64,
    /// Records.
    pub records: u64,
}

/// One sighting of an object.
#[derive(Debug, Clone)]
pub struct Part {
    /// Number of the raw zone.
    pub zone: usize,
    /// Name within the bucket.
    pub name: String,
    /// Generation.
    pub generation: String,
    /// Creation of this generation.
    pub created_us: u64,
    /// Size.
    pub bytes: u64,
    /// Content, where it was read.
    pub content: Option<Print>,
    /// What it is.
    pub role: ObjectRole,
    /// Seen while the run went on.
    pub during_run: bool,
    /// Why it could not be understood.
    pub problem: Option<String>,
    /// What it lists, if it is metadata.
    pub lists: Vec<ListedPart>,
    /// Records listed from it, by lane.
    pub lanes: BTreeMap<usize, PartLane>,
    /// Day of the folder that it stands in (`ingestion_date=`), as days since the epoch.
    pub day: Option<i64>,
    /// Records that were ingested on another day: how many, and the lane, offset and day of the first.
    pub misplaced: Option<(u64, usize, u64, i64)>,
    /// Offsets that came at or below their predecessor of the same partition: lane, line, offset.
    pub disorder: Vec<(usize, u32, u64)>,
}

impl Part {
    /// Takes a record in.
    pub(super) fn take(&mut self, lane: usize, line: u32, offset: u64) {
        let entry =
            self.lanes.entry(lane).or_insert(PartLane { first: offset, last: offset, records: 0 });
        if entry.records > 0 && offset <= entry.last {
            self.disorder.push((lane, line, offset));
        }
        entry.first = entry.first.min(offset);
        entry.last = entry.last.max(offset);
        entry.records += 1;
    }

    /// Compares the day on which a record was ingested with the folder's.
    pub(super) fn place(&mut self, lane: usize, offset: u64, ingested_ms: i64) {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        let day = ingested_ms.div_euclid(DAY_MS);
        if self.day.is_some_and(|folder| folder != day) {
            self.misplaced.get_or_insert((0, lane, offset, day)).0 += 1;
        }
    }

    /// The day that a name says with a folder `ingestion_date=YYYY-MM-DD`.
    pub(super) fn day_of(name: &str) -> Option<i64> {
        let date = name.split('/').find_map(|folder| folder.strip_prefix("ingestion_date="))?;
        let date = chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
        Some(i64::from(date.to_epoch_days()))
    }

    /// The folder: the name up to its last slash.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.name.rfind('/').map_or("", |end| &self.name[..end])
    }
}

/// A raw zone of the promises.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    /// As in the promises.
    pub name: String,
    /// Groups that write into it.
    pub groups: Vec<usize>,
    /// Parts that each full reading saw.
    pub reads: Vec<u32>,
}
