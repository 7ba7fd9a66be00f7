//! What is known of the objects of the raw zones.

use std::collections::BTreeMap;

use super::skew::Base;
use streamlake_history::event::{ListedPart, MetadataHead, ObjectRole, Print};

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
    /// Whose clock stamped its creation.
    pub base: Base,
    /// It was not there before this, where its creation is known by an interval only.
    pub earliest_us: Option<u64>,
    /// Size.
    pub bytes: u64,
    /// Content, where it was read.
    pub content: Option<Print>,
    /// What it is.
    pub role: ObjectRole,
    /// Seen while the run went on.
    pub during_run: bool,
    /// Seen then by the watch, which lists again and again to the very end of the run.
    pub by_watch: bool,
    /// When this generation's writer was answered, by the gateway's journal: by then it could be read.
    pub answered_us: Option<u64>,
    /// Why it could not be understood.
    pub problem: Option<String>,
    /// What it lists, if it is metadata.
    pub lists: Vec<ListedPart>,
    /// What it says of itself, if it is metadata.
    pub head: Option<MetadataHead>,
    /// The checksum of its bytes, as its reader computed it.
    pub crc32: Option<String>,
    /// What the store keeps beside it.
    pub attributes: BTreeMap<String, String>,
    /// Bytes of its lines, not compressed, without the last one.
    pub before_last_line: Option<u64>,
    /// It was written whatever stood there.
    pub unconditional: bool,
    /// Parts that a metadata document listed before they were there.
    pub absent: Vec<String>,
    /// Where its name puts it.
    pub place: Place,
    /// Records listed from it, by lane.
    pub lanes: BTreeMap<usize, PartLane>,
    /// Records that were ingested on another day: how many, and the lane, offset and day of the first.
    pub misplaced: Option<(u64, usize, u64, i64)>,
    /// Offsets that came at or below their predecessor of the same partition: lane, line, offset.
    pub disorder: Vec<(usize, u32, u64)>,
}

impl Part {
    /// What names one generation of an object.
    pub(super) fn identity(&self) -> (usize, &str, &str) {
        (self.zone, &self.name, &self.generation)
    }

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
        if self.place.day.is_some_and(|folder| folder != day) {
            self.misplaced.get_or_insert((0, lane, offset, day)).0 += 1;
        }
    }

    /// The folder: the name up to its last slash.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.name.rfind('/').map_or("", |end| &self.name[..end])
    }
}

/// Where an object's name puts it, by the layout
/// `raw/dataset=<dataset>/ingestion_date=<YYYY-MM-DD>/<file>` below its raw zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The dataset of its folder.
    pub dataset: Option<String>,
    /// The day of its folder, as days since the epoch.
    pub day: Option<i64>,
    /// Its name below the raw zone; none if it stands outside.
    pub below: Option<String>,
    /// Why its name does not fit the layout.
    pub misfit: Option<&'static str>,
}

impl Place {
    /// Reads an object's name within its bucket.
    #[must_use]
    pub fn of(raw_zone: &str, name: &str) -> Self {
        let path = raw_zone.split_once("://").map_or(raw_zone, |(_, path)| path);
        let prefix = path.split_once('/').map_or("", |(_, prefix)| prefix).trim_end_matches('/');
        let below = match prefix {
            "" => Some(name),
            prefix => name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')),
        };
        let Some(below) = below else {
            return Self { misfit: Some("it stands outside of its raw zone"), ..Self::default() };
        };
        let mut place = Self { below: Some(below.to_owned()), ..Self::default() };
        place.misfit = place.read(below).err();
        place
    }

    fn read(&mut self, below: &str) -> Result<(), &'static str> {
        let [root, dataset, date, file] = below.split('/').collect::<Vec<_>>()[..] else {
            return Err("it does not stand in a folder of a dataset and a day");
        };
        if root != "raw" {
            return Err("its folder is not below `raw/`");
        }
        let dataset = dataset.strip_prefix("dataset=").filter(|name| !name.is_empty());
        self.dataset = Some(dataset.ok_or("its folder names no dataset")?.to_owned());
        let date = date.strip_prefix("ingestion_date=").ok_or("its folder names no day")?;
        self.day = Some(day(date).ok_or("the day of its folder is none")?);
        if file.starts_with("part-") && !is_part_name(file) {
            return Err("its name is not that of a part");
        }
        Ok(())
    }

    /// It is what the pipeline asks a store with whether it honours create-if-absent:
    /// `raw/.probe-<UUID>`, which is no data.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        let probe = self.below.as_deref().and_then(|below| below.strip_prefix("raw/.probe-"));
        probe.is_some_and(|id| uuid::Uuid::try_parse(id).is_ok() && id.len() == 36)
    }
}

/// `YYYY-MM-DD` as days since the epoch.
fn day(date: &str) -> Option<i64> {
    let shape = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    let plain = date.len() == 10 && date.bytes().enumerate().all(shape);
    let date = plain.then(|| chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").ok())??;
    Some(i64::from(date.to_epoch_days()))
}

/// `part-NNNN.json`, with four digits or as many as it takes, or so with `.gz` or `.zst` behind it.
fn is_part_name(file: &str) -> bool {
    let name = [".gz", ".zst"].iter().find_map(|end| file.strip_suffix(end)).unwrap_or(file);
    let digits = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".json"));
    digits.is_some_and(|digits| {
        let padded = digits.len() == 4 || (digits.len() > 4 && !digits.starts_with('0'));
        // Numbers begin with 1.
        let counts = digits.bytes().any(|byte| byte != b'0');
        padded && counts && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_names_and_misfits_say_why() {
        let zone = "gs://lake/a/b";
        let good =
            Place::of(zone, "a/b/raw/dataset=orders/ingestion_date=1970-01-02/part-0001.json");
        assert_eq!(
            (good.dataset.as_deref(), good.day, good.misfit),
            (Some("orders"), Some(1), None)
        );
        for name in [
            "a/raw/dataset=orders/ingestion_date=1970-01-02/part-0001.json",
            "a/bb/raw/dataset=orders/ingestion_date=1970-01-02/part-0001.json",
            "a/b/raw/ingestion_date=1970-01-02/part-0001.json",
            "a/b/raw/dataset=orders/dt=1970-01-02/part-0001.json",
            "a/b/raw/dataset=/ingestion_date=1970-01-02/part-0001.json",
            "a/b/raw/dataset=orders/ingestion_date=unknown/part-0001.json",
            "a/b/raw/dataset=orders/ingestion_date=1970-1-2/part-0001.json",
            "a/b/raw/dataset=orders/ingestion_date=1970-02-30/part-0001.json",
            "a/b/raw/dataset=orders/ingestion_date=+970-01-02/part-0001.json",
            "a/b/raw/dataset=orders/ingestion_date=1970-01-02/x/part-0001.json",
            "a/b/raw/dataset=orders/ingestion_date=1970-01-02/part-1.json",
            "a/b/raw/dataset=orders/ingestion_date=1970-01-02/part-00001.json",
            "a/b/raw/dataset=orders/ingestion_date=1970-01-02/part-0000.json",
            "a/b/part-0001.json",
        ] {
            assert!(Place::of(zone, name).misfit.is_some(), "{name}");
        }
        for file in ["part-0001.json.gz", "part-9999.json.zst", "part-10000.json"] {
            let name = format!("raw/dataset=orders/ingestion_date=1970-01-02/{file}");
            assert_eq!(Place::of("gs://lake", &name).misfit, None, "{file}");
        }
        let probe = |name: &str| Place::of(zone, name).is_probe();
        assert!(probe("a/b/raw/.probe-0f8fad5b-d9cb-469f-a165-70867728950e"));
        assert!(!probe("a/b/raw/.probe-mine"));
        assert!(!probe("a/b/raw/x/.probe-0f8fad5b-d9cb-469f-a165-70867728950e"));
    }
}
