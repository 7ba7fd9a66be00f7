//! Names in the raw zone:
//! `raw/dataset=<dataset>/ingestion_date=YYYY-MM-DD/part-0001.json` and `_metadata.json`.

use chrono::NaiveDate;

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
    pub fn part_path(&self, number: u64) -> String {
        format!("{}/{}", self.path(), part_name(number))
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
    /// A part file and its number.
    Part(Folder, u64),
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
        parse_part_name(name).map(|number| ObjectName::Part(folder, number))
    }
}

/// The path that all folders of a dataset share.
pub fn dataset_path(dataset: &str) -> String {
    format!("raw/dataset={dataset}")
}

/// The name of a part: at least four digits, more when they are needed.
pub fn part_name(number: u64) -> String {
    format!("part-{number:04}.json")
}

/// The number of a part. Only the name that [`part_name`] would give is accepted.
pub fn parse_part_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("part-")?.strip_suffix(".json")?;
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    (part_name(number) == name).then_some(number)
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
        fn names_are_read_back(number in 1..u64::MAX, day in 0..3_000_000i32) {
            let date = NaiveDate::from_num_days_from_ce_opt(day + 366).unwrap();
            let folder = Folder { dataset: "orders".into(), date };
            let parsed = ObjectName::parse(&folder.part_path(number));
            prop_assert_eq!(parsed, Some(ObjectName::Part(folder, number)));
        }
    }

    #[test]
    fn strangers_are_no_parts() {
        for name in ["part-1.json", "part-00001.json", "part-0001.json.tmp", "part-+001.json", "x"]
        {
            assert_eq!(parse_part_name(name), None, "{name}");
        }
        assert_eq!(parse_part_name("part-10000.json"), Some(10_000));
        assert_eq!(ObjectName::parse("raw/dataset=a/ingestion_date=2026-1-1/part-0001.json"), None);
        assert_eq!(ObjectName::parse("raw/dataset=a/b/part-0001.json"), None);
    }
}
