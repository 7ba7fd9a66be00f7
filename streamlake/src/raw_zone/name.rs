//! Names in the raw zone:
//! `raw/dataset=<dataset>/ingestion_date=YYYY-MM-DD/part-0001.json` and `_metadata.json`. A compressed
//! part says so at its end, `part-0001.json.gz` or `.zst`, where readers of data lakes look for it.

use super::compression::Compression;
use chrono::NaiveDate;
use std::fmt;

/// The name of the one object of a folder that is ever replaced.
pub const METADATA_NAME: &str = "_metadata.json";

/// The folder of one dataset and one day.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folder {
    /// The dataset.
    pub dataset: String,
    /// The UTC day on which the records were ingested.
    pub date: NaiveDate,
}

impl Folder {
    /// The path of the folder below the raw zone's root, without a slash at its end.
    pub fn path(&self) -> String {
        format!("{}/ingestion_date={}", dataset_path(&self.dataset), self.date.format("%Y-%m-%d"))
    }

    /// The path of one part.
    pub fn part_path(&self, name: PartName) -> String {
        format!("{}/{name}", self.path())
    }

    /// The path of the metadata document.
    pub fn metadata_path(&self) -> String {
        format!("{}/{METADATA_NAME}", self.path())
    }

    /// Reads a folder's path, as [`Folder::path`] writes it.
    pub fn parse(path: &str) -> Option<Folder> {
        let rest = path.trim_end_matches('/').strip_prefix("raw/dataset=")?;
        let (dataset, date) = rest.split_once("/ingestion_date=")?;
        let date = (date.len() == 10).then(|| date.parse().ok())??;
        (!dataset.is_empty() && !dataset.contains('/'))
            .then(|| Folder { dataset: dataset.to_owned(), date })
    }
}

/// What an object's path says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectName {
    /// A part file.
    Part(Folder, PartName),
    /// A metadata document.
    Metadata(Folder),
}

impl ObjectName {
    /// Reads the path of an object below the raw zone's root; `None` for a stranger.
    pub fn parse(path: &str) -> Option<ObjectName> {
        let (folder, name) = path.rsplit_once('/')?;
        let folder = Folder::parse(folder)?;
        if name == METADATA_NAME {
            return Some(ObjectName::Metadata(folder));
        }
        PartName::parse(name).map(|name| ObjectName::Part(folder, name))
    }
}

/// The path that all folders of a dataset share.
pub fn dataset_path(dataset: &str) -> String {
    format!("raw/dataset={dataset}")
}

/// The name of a part: a number of at least four digits, more when they are needed. Writers that
/// compress and writers that do not share the numbers of a folder; should two of them take the same
/// number at once, their names still differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartName {
    /// The number, from 1.
    pub number: u64,
    /// How the object is compressed.
    pub compression: Compression,
}

impl PartName {
    /// The highest number of a part. What is called higher is a stranger's: nobody writes so many parts, and
    /// counting on from there would leave no numbers.
    pub const NUMBER_MAX: u64 = 999_999_999_999;

    /// Reads a part's name. Only what a [`PartName`] is shown as is accepted.
    pub fn parse(name: &str) -> Option<PartName> {
        let (digits, suffix) = name.strip_prefix("part-")?.split_once(".json")?;
        let compression = Compression::of_suffix(suffix)?;
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
        let parsed = PartName { number, compression };
        (number <= PartName::NUMBER_MAX && parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part-{:04}.json{}", self.number, self.compression.suffix())
    }
}

/// Whether a dataset's name can stand in a topic, a group and an object name.
pub fn is_dataset_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_read_back(
            number in 1..=PartName::NUMBER_MAX, compression in 0..3usize, day in 0..3_000_000i32,
        ) {
            let date = NaiveDate::from_num_days_from_ce_opt(day + 366).unwrap();
            let folder = Folder { dataset: "orders".into(), date };
            let name = PartName { number, compression: Compression::ALL[compression] };
            let parsed = ObjectName::parse(&folder.part_path(name));
            prop_assert_eq!(parsed, Some(ObjectName::Part(folder, name)));
        }
    }

    #[test]
    fn strangers_are_no_parts() {
        for name in [
            "part-1.json",
            "part-00001.json",
            "part-0001.json.tmp",
            "part-0001.json.",
            "part-0001.json.zst.gz",
            "part-+001.json",
            "part-1000000000000.json",
            "part-18446744073709551615.json",
            "part-18446744073709551616.json",
            "x",
        ] {
            assert_eq!(PartName::parse(name), None, "{name}");
        }
        let parsed = PartName { number: 10_000, compression: Compression::None };
        assert_eq!(PartName::parse("part-10000.json"), Some(parsed));
        assert_eq!(ObjectName::parse("raw/dataset=a/ingestion_date=2026-1-1/part-0001.json"), None);
        assert_eq!(ObjectName::parse("raw/dataset=a/b/part-0001.json"), None);
    }
}
