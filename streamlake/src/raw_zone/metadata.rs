//! `_metadata.json`: the list of a folder's parts, and the one object that is ever replaced.
//!
//! The parts are the truth; this document can be rebuilt from them at any time. It is written
//! lazily, because a store takes about one write a second to one name, and is complete after a
//! drained shutdown. Writers never overwrite each other: on Google Cloud Storage by compare-and-swap
//! on the object's generation, on a local directory by a lock on the folder (the file system store
//! has no conditional update) and an atomic rename.

use super::buffer::SealedPart;
use super::leftovers;
use super::name::{Folder, PartName};
use super::part;
use super::store::{Zone, backoff, log_retry, next_delay};
use crate::classify::{self, Decision, Phase};
use crate::error::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The document's `format`.
pub const FORMAT: &str = "streamlake.raw-zone.metadata";
/// The document's `version`.
pub const VERSION: u32 = 1;

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The dataset.
    pub dataset: String,
    /// The UTC day, `YYYY-MM-DD`.
    pub ingestion_date: String,
    /// When the document was last written, RFC 3339.
    pub updated_at: String,
    /// One entry a part, by number.
    pub parts: Vec<PartEntry>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    /// The object's name within the folder.
    pub name: String,
    /// The topic of its records.
    pub topic: String,
    /// The partition of its records.
    pub partition: i32,
    /// The lowest offset in it.
    pub first_offset: i64,
    /// The highest offset in it. Offsets in between may be elsewhere: in another day's folder, in
    /// the dead-letter topic, or nowhere (transaction markers, compaction).
    pub last_offset: i64,
    /// How many records.
    pub records: u64,
    /// The object's length, as it is stored.
    pub bytes: u64,
    /// CRC-32 (ISO-HDLC) of the object, eight hexadecimal digits.
    pub crc32: String,
}

impl PartEntry {
    /// The entry of a part that was just written.
    pub fn of(part: &SealedPart, name: PartName) -> PartEntry {
        PartEntry {
            name: name.to_string(),
            topic: part.topic.clone(),
            partition: part.partition,
            first_offset: part.span.first_offset,
            last_offset: part.span.last_offset,
            records: part.span.records,
            bytes: part.bytes as u64,
            crc32: format!("{:08x}", part.crc32),
        }
    }

    /// The entry of a part as its object's bytes show it; `None` for an empty part or one of several
    /// topics or partitions, which StreamLake never writes.
    pub fn read(name: PartName, bytes: &[u8]) -> Result<Option<PartEntry>, part::PartError> {
        let mut entry: Option<PartEntry> = None;
        for record in part::records(&name.compression.plain(bytes)?) {
            let record = record?;
            let entry = entry.get_or_insert_with(|| PartEntry {
                name: name.to_string(),
                topic: record.topic.clone(),
                partition: record.partition,
                first_offset: record.offset,
                last_offset: record.offset,
                records: 0,
                bytes: bytes.len() as u64,
                crc32: format!("{:08x}", crc32fast::hash(bytes)),
            });
            if entry.topic != record.topic || entry.partition != record.partition {
                return Ok(None);
            }
            entry.first_offset = entry.first_offset.min(record.offset);
            entry.last_offset = entry.last_offset.max(record.offset);
            entry.records += 1;
        }
        Ok(entry)
    }
}

impl Metadata {
    /// A document without parts.
    pub fn empty(folder: &Folder) -> Metadata {
        Metadata {
            format: FORMAT.into(),
            version: VERSION,
            dataset: folder.dataset.clone(),
            ingestion_date: folder.date.format("%Y-%m-%d").to_string(),
            updated_at: String::new(),
            parts: Vec::new(),
        }
    }

    /// Adds entries; one that is there already (by name) stays. Says whether anything changed.
    pub fn merge(&mut self, entries: &[PartEntry]) -> bool {
        let before = self.parts.len();
        let mut by_name: BTreeMap<(Option<PartName>, String), PartEntry> = BTreeMap::new();
        for entry in self.parts.drain(..).chain(entries.iter().cloned()) {
            by_name.entry((PartName::parse(&entry.name), entry.name.clone())).or_insert(entry);
        }
        self.parts = by_name.into_values().collect();
        self.parts.len() != before
    }

    /// Whether a part is listed.
    pub fn lists(&self, name: PartName) -> bool {
        let found =
            self.parts.binary_search_by_key(&Some(name), |entry| PartName::parse(&entry.name));
        found.is_ok()
    }
}

/// Reads a folder's document. One that cannot be understood counts as absent: it is rebuilt.
pub async fn read(zone: &Zone, folder: &Folder) -> object_store::Result<Option<Metadata>> {
    Ok(load(zone, folder).await?.map(|(metadata, _)| metadata))
}

async fn load(
    zone: &Zone,
    folder: &Folder,
) -> object_store::Result<Option<(Metadata, UpdateVersion)>> {
    let path = Path::from(folder.metadata_path());
    let found = match zone.store.get(&path).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(err) => return Err(err),
    };
    let version =
        UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
    let bytes = found.bytes().await?;
    let metadata = serde_json::from_slice(&bytes).unwrap_or_else(|err| {
        let path = folder.metadata_path();
        tracing::warn!(path, error = %err, "the metadata is unreadable and will be rebuilt");
        Metadata::empty(folder)
    });
    Ok(Some((metadata, version)))
}

/// Attempts at one document in a row. Then the others have their turn; the parts are the truth, and a
/// right that is missing (to replace an object, say) does not come by asking again.
const ATTEMPTS_MAX: u32 = 8;

/// Adds entries to a folder's document, however many others do the same.
pub async fn add(zone: &Zone, folder: &Folder, entries: &[PartEntry]) -> Result<()> {
    let mut delays = backoff();
    let mut attempts = 0;
    loop {
        attempts += 1;
        match zone.bounded(try_add(zone, folder, entries)).await {
            Ok(()) => return Ok(()),
            Err(err)
                if attempts < ATTEMPTS_MAX
                    && classify::store(&err, Phase::Running) == Decision::Retry =>
            {
                tracing::debug!(path = folder.metadata_path(), error = %err, "metadata: once more");
                tokio::time::sleep(next_delay(&mut delays)).await;
            }
            Err(err) => {
                return Err(Error::store(format!("writing {}", folder.metadata_path()))(err));
            }
        }
    }
}

async fn try_add(zone: &Zone, folder: &Folder, entries: &[PartEntry]) -> object_store::Result<()> {
    let _lock = match &zone.local_root {
        Some(root) => Some(lock_folder(root.join(folder.path())).await?),
        None => None,
    };
    let (mut metadata, mode) = match load(zone, folder).await? {
        None => (Metadata::empty(folder), PutMode::Create),
        Some((metadata, version)) => (metadata, PutMode::Update(version)),
    };
    metadata = crate::planted::document(metadata);
    if !metadata.merge(entries) && !metadata.updated_at.is_empty() {
        return Ok(());
    }
    metadata.updated_at = crate::planted::updated_at(&metadata, crate::record::now_rfc3339());
    crate::planted::listed(&mut metadata);
    // The lock stands in for the condition where the store knows none.
    let mode = match &zone.local_root {
        Some(_) => PutMode::Overwrite,
        None => crate::planted::metadata_mode(mode),
    };
    let json = serde_json::to_vec(&metadata)
        .map_err(|err| object_store::Error::Generic { store: "StreamLake", source: err.into() })?;
    let path = Path::from(folder.metadata_path());
    zone.store.put_opts(&path, PutPayload::from(json), mode.into()).await.map(|_| ())
}

/// An advisory lock on a directory; let go when the file is closed.
pub(super) async fn lock_folder(
    directory: std::path::PathBuf,
) -> object_store::Result<std::fs::File> {
    let locked = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&directory)?;
        let file = std::fs::File::open(&directory)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    });
    let generic = |source| object_store::Error::Generic { store: "StreamLake", source };
    match locked.await {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(err)) => Err(generic(err.into())),
        Err(err) => Err(generic(err.into())),
    }
}

/// Brings a folder's document up to its parts: what a crash left unlisted is read and listed.
/// Returns how many entries were missing. What a crash left half written is removed.
pub async fn rebuild(zone: &Zone, folder: &Folder) -> Result<usize> {
    leftovers::sweep(zone, folder).await;
    let reading = || zone.bounded(read(zone, folder));
    let listed = zone.persist("reading metadata", log_retry, reading).await?;
    let listed = listed.unwrap_or_else(|| Metadata::empty(folder));
    let names = zone.persist("listing parts", log_retry, || zone.part_names(folder)).await?;
    let mut missing = Vec::new();
    for name in names.into_iter().filter(|name| !listed.lists(*name)) {
        let path = folder.part_path(name);
        if crate::planted::removed(zone, &path).await {
            continue;
        }
        let bytes = zone.persist("reading a part", log_retry, || zone.read(&path)).await?;
        match PartEntry::read(name, &bytes) {
            Ok(Some(entry)) => missing.push(crate::planted::rebuilt(entry)),
            Ok(None) => tracing::warn!(path, "not a part of ours; it is not listed"),
            Err(err) => tracing::warn!(path, error = %err, "a damaged part; it is not listed"),
        }
    }
    crate::planted::all_rebuilt(&mut missing);
    if !missing.is_empty() {
        tracing::info!(path = folder.metadata_path(), parts = missing.len(), "metadata completed");
        add(zone, folder, &missing).await?;
    }
    Ok(missing.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::raw_zone::compression::Compression;

    fn name(number: u64) -> PartName {
        PartName { number, compression: Compression::None }
    }

    fn entry(number: u64) -> PartEntry {
        PartEntry {
            name: name(number).to_string(),
            topic: "t".into(),
            partition: 0,
            first_offset: 0,
            last_offset: 1,
            records: 2,
            bytes: 3,
            crc32: "00000000".into(),
        }
    }

    #[test]
    fn entries_are_sorted_by_number_and_listed_once() {
        let folder = Folder { dataset: "d".into(), date: Default::default() };
        let mut metadata = Metadata::empty(&folder);
        assert!(metadata.merge(&[entry(10_000), entry(2)]));
        let mut compressed = entry(2);
        compressed.name += ".zst";
        assert!(metadata.merge(&[entry(9_999), compressed, entry(2)]));
        assert!(!metadata.merge(&[entry(9_999)]));
        let names: Vec<_> = metadata.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(
            names,
            ["part-0002.json", "part-0002.json.zst", "part-9999.json", "part-10000.json"]
        );
        assert!(
            metadata.lists(name(10_000)) && metadata.lists(name(2)) && !metadata.lists(name(3))
        );
    }
}
