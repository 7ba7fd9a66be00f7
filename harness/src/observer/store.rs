//! The raw zone as the store holds it: watched while the run goes on, read to its end afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::adapter::Sighted;
use crate::adapter::command::Include;
use crate::adapter::streamlake::part::{self, PartRecord};
use crate::testbed::gateway::backend::{ObjectMeta, StoreError};
use crate::testbed::gateway::journal::{JournalView, Kind};
use crate::testbed::gateway::observer::ObserverStore;
use crate::workload::odd::op_of_headers;
use crate::workload::op_of;
use streamlake_history::Recorder;
use streamlake_history::event::{
    Blob, Fact, HeaderPair, ListedPart, MetadataHead, Object, ObjectRole, Print, Stored,
};

/// Process names of these facts in a history.
const WATCH: &str = "store-watch";
const READER: &str = "store-reader";
const JOURNAL: &str = "store-journal";
const EVERY: Duration = Duration::from_millis(250);

/// The objects that a group delivers.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    /// As in [`streamlake_history::event::GroupPromise::raw_zone`].
    pub raw_zone: String,
    /// Which of its names are parts.
    pub names: PartNames,
}

/// Names of parts.
#[derive(Debug, Clone)]
pub(crate) enum PartNames {
    /// As the pipeline documents them; others are of interest, too.
    Documented,
    /// As a scenario says, below the zone; others are left alone.
    Included(Include),
}

impl Zone {
    /// What an object is by its name; none if it is left alone.
    fn role(&self, name: &str) -> Option<ObjectRole> {
        match &self.names {
            PartNames::Documented => Some(documented_role(name)),
            PartNames::Included(include) => {
                let (_, prefix) = bucket_and_prefix(&self.raw_zone);
                let below = name.strip_prefix(prefix)?.strip_prefix('/')?;
                include.matches(below).then_some(ObjectRole::Part)
            }
        }
    }
}

/// Lists the raw zones again and again until `stop` is cancelled, and records each generation of each
/// object when it is first seen. An object that is replaced between two listings shows as a
/// generation that its first sight did not have.
pub(crate) async fn watch(
    store: Arc<dyn ObserverStore>,
    zones: Vec<Zone>,
    recorder: Recorder,
    sighted: Sighted,
    stop: CancellationToken,
) {
    let mut seen: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut number = 0;
    // One more listing after the end, so that each part that stands there was seen by the watch, too.
    let mut last = false;
    while !last {
        last = stop.is_cancelled();
        for zone in &zones {
            // A store that does not answer is what some faults are for.
            let Ok(listing) = list(store.as_ref(), &zone.raw_zone).await else { continue };
            for meta in listing {
                let Some(role) = zone.role(&meta.name) else { continue };
                let state = (meta.generation, meta.bytes);
                if seen.insert(meta.name.clone(), state) != Some(state) {
                    let mut object = object(number, &zone.raw_zone, &meta, role, &recorder);
                    object.during_run = true;
                    if role == ObjectRole::Metadata {
                        object.absent = absent(store.as_ref(), &zone.raw_zone, &meta).await;
                    }
                    recorder.record(WATCH, Fact::Object(object));
                    let mut sighted = sighted.lock().unwrap_or_else(PoisonError::into_inner);
                    sighted.insert(meta.name.clone());
                    number += 1;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Parts that a metadata document lists and that are not there. The store is listed after the document was
/// read, so that a part that was there before the document is in the listing. What cannot be read now is
/// read at the end.
async fn absent(store: &dyn ObserverStore, raw_zone: &str, document: &ObjectMeta) -> Vec<String> {
    let (bucket, _) = bucket_and_prefix(raw_zone);
    let content = store.read(bucket, &document.name, Some(document.generation)).await;
    let lists = content.ok().and_then(|content| listed(&document.name, &content).ok());
    let (Some((_, lists)), Ok(there)) = (lists, list(store, raw_zone).await) else {
        return Vec::new();
    };
    let names: BTreeSet<&str> = there.iter().map(|meta| meta.name.as_str()).collect();
    let absent = lists.into_iter().map(|part| part.name);
    absent.filter(|name| !names.contains(name.as_str())).collect()
}

/// Reads a raw zone to its end: every object, and every record of every part.
pub(crate) async fn read(
    store: &dyn ObserverStore,
    raw_zone: &str,
    lists_headers: bool,
    recorder: &Recorder,
) -> Result<(), StoreError> {
    // Each raw zone numbers its objects in a process of its own.
    let process = format!("{READER} {raw_zone}");
    let (bucket, _) = bucket_and_prefix(raw_zone);
    let mut parts = 0;
    for (number, meta) in (0..).zip(list(store, raw_zone).await?) {
        let content = store.read(bucket, &meta.name, Some(meta.generation)).await?;
        let role = documented_role(&meta.name);
        let mut object = object(number, raw_zone, &meta, role, recorder);
        // A store need not give the same bytes as it counts.
        object.bytes = content.len() as u64;
        object.content = Some(Print::of(&content));
        let mut lines = None;
        match object.role {
            ObjectRole::Metadata => match listed(&meta.name, &content) {
                Ok((head, lists)) => (object.head, object.lists) = (Some(head), lists),
                Err(problem) => object.problem = Some(problem),
            },
            ObjectRole::Part => {
                parts += 1;
                object.crc32 = Some(format!("{:08x}", crc32fast::hash(&content)));
                object.attributes = meta.attributes;
                match part::lines(&meta.name, &content) {
                    Ok(found) => {
                        object.before_last_line = Some(before_last_line(&found));
                        object.problem = part::records(&found).find_map(Result::err);
                        lines = Some(found);
                    }
                    Err(problem) => object.problem = Some(problem),
                }
            }
            ObjectRole::Other => {}
        }
        recorder.record(&process, Fact::Object(object));
        if let Some(lines) = lines {
            for (line, record) in (1..).zip(part::records(&lines)) {
                if let Ok(record) = record {
                    recorder.record(
                        &process,
                        Fact::Stored(stored(number, line, record, lists_headers)),
                    );
                }
            }
        }
    }
    recorder.record(&process, Fact::StoreRead { raw_zone: raw_zone.to_owned(), parts });
    Ok(())
}

/// Records each write of a part as the store's gateway saw it: a part that was replaced between two
/// listings shows here.
pub(crate) fn journal(journal: &JournalView, zones: &[Zone], recorder: &Recorder) {
    let done = journal.entries.iter().filter(|entry| (200..300).contains(&entry.status));
    let mut number = 0;
    for entry in done {
        let name = format!("gs://{}/{}", entry.bucket, entry.object);
        let zone = zones.iter().find(|zone| {
            name.strip_prefix(zone.raw_zone.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        let (Some(zone), Some(generation)) = (zone, entry.generation) else { continue };
        let Some(role) = zone.role(&entry.object) else { continue };
        let meta = ObjectMeta {
            name: entry.object.clone(),
            generation,
            created: entry.answered,
            bytes: entry.bytes,
            checksum: None,
            etag: String::new(),
            attributes: BTreeMap::new(),
        };
        let mut object = object(number, &zone.raw_zone, &meta, role, recorder);
        // The documents are replaced all the time, and still not whatever stands there.
        object.unconditional = entry.if_generation.is_none() && entry.kind != Kind::Delete;
        if object.role == ObjectRole::Part || object.unconditional {
            object.during_run = true;
            recorder.record(JOURNAL, Fact::Object(object));
            number += 1;
        }
    }
    if journal.dropped > 0 {
        let text = format!("{} writes found no room in the store's journal", journal.dropped);
        recorder.record(JOURNAL, Fact::Note { level: "error".to_owned(), text });
    }
}

async fn list(store: &dyn ObserverStore, raw_zone: &str) -> Result<Vec<ObjectMeta>, StoreError> {
    let (bucket, prefix) = bucket_and_prefix(raw_zone);
    let mut listing = store.list(bucket, &format!("{prefix}/")).await?;
    listing.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

/// The bucket, and what the names of a zone's objects begin with.
pub(crate) fn bucket_and_prefix(raw_zone: &str) -> (&str, &str) {
    raw_zone.trim_start_matches("gs://").split_once('/').unwrap_or((raw_zone, ""))
}

fn before_last_line(lines: &[u8]) -> u64 {
    let whole = lines.strip_suffix(b"\n").unwrap_or(lines);
    whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end as u64 + 1)
}

fn documented_role(name: &str) -> ObjectRole {
    let file = name.rsplit('/').next().unwrap_or_default();
    if file == "_metadata.json" {
        ObjectRole::Metadata
    } else if part::is_part(file) {
        ObjectRole::Part
    } else {
        ObjectRole::Other
    }
}

/// An object as it was listed.
pub(crate) fn object(
    number: u32,
    raw_zone: &str,
    meta: &ObjectMeta,
    role: ObjectRole,
    recorder: &Recorder,
) -> Object {
    Object {
        object: number,
        raw_zone: raw_zone.to_owned(),
        name: meta.name.clone(),
        generation: meta.generation.to_string(),
        created_us: recorder.run_us_of_wall_us(meta.created.timestamp_micros()),
        bytes: meta.bytes,
        content: None,
        role,
        during_run: false,
        ..Object::default()
    }
}

fn stored(object: u32, line: u32, record: PartRecord, lists_headers: bool) -> Stored {
    let ingested_at = record.headers.iter().find(|(name, _)| name == b"ingested_at");
    let ingested_at = ingested_at.and_then(|(_, value)| std::str::from_utf8(value.as_ref()?).ok());
    let ingested_at = ingested_at.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let headers = || record.headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
    let list = || headers().map(|(name, value)| HeaderPair::of(name, value)).collect();
    Stored {
        object,
        line,
        topic: record.topic.clone(),
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        ingested_ms: ingested_at.map(|at| at.timestamp_millis()),
        op: record.value.as_deref().and_then(op_of).or_else(|| op_of_headers(headers())),
        ingestion_id: record.ingestion_id.clone(),
        value: Print::of_value(record.value.as_deref()),
        headers: Print::of_headers(headers()),
        header_list: lists_headers.then(list),
        key: record.key.map(Blob),
    }
}

/// What a metadata document says of itself and of the parts beside it.
fn listed(name: &str, content: &[u8]) -> Result<(MetadataHead, Vec<ListedPart>), String> {
    #[derive(Deserialize)]
    struct Document {
        format: Option<String>,
        version: Option<u64>,
        dataset: Option<String>,
        ingestion_date: Option<String>,
        updated_at: Option<String>,
        parts: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        topic: String,
        partition: u32,
        first_offset: u64,
        last_offset: u64,
        records: u64,
        bytes: u64,
        crc32: Option<String>,
    }
    let document: Document = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let parts = document.parts.into_iter().map(|entry| ListedPart {
        name: format!("{folder}/{}", entry.name),
        topic: entry.topic,
        partition: entry.partition,
        first: entry.first_offset,
        last: entry.last_offset,
        records: entry.records,
        bytes: entry.bytes,
        crc32: entry.crc32,
    });
    let head = MetadataHead {
        format: document.format,
        version: document.version,
        dataset: document.dataset,
        ingestion_date: document.ingestion_date,
        updated_at: document.updated_at,
    };
    Ok((head, parts.collect()))
}
