//! Writing parts: create-if-absent, numbers shared with other writers, retries without end.
//! Which name a part gets is decided in [`super::numbering`]; here are the requests.

use super::buffer::SealedPart;
use super::metadata::{self, PartEntry};
use super::name::{Folder, PartName};
use super::numbering::{Heard, Next, Numbers, Placing};
use super::store::{Retry, Zone, backoff, next_delay};
use crate::classify::{self, Decision, Phase};
use crate::crash::{self, Point};
use crate::error::{Error, Result};
use crate::observe::metrics;
use crate::planted::{self, Bug};
use futures::{StreamExt as _, stream};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStoreExt, PutOptions, PutPayload};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Folders whose documents are written at the same time.
const FOLDERS_AT_ONCE: usize = 16;

/// A part that is durable.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its path below the zone's root.
    pub path: String,
    /// How many requests it took.
    pub attempts: u32,
    /// How many names were taken by others.
    pub collisions: u32,
    /// From the first request to the answer.
    pub took: Duration,
}

/// Numbers that must be left above the highest one: more than a process can use up.
const NUMBERS_LEFT_MIN: u64 = 1_000_000_000;
/// Parts of a folder that are remembered until they are listed.
const UNLISTED_MAX: usize = 20_000;

type Counter = Arc<tokio::sync::Mutex<Numbers<planted::NamingInUse>>>;

/// Writes the parts of one process and keeps their metadata.
#[derive(Debug)]
pub struct PartWriter {
    zone: Zone,
    /// The numbers of each folder in use. A folder is listed once, with its numbers locked.
    numbers: Mutex<BTreeMap<Folder, Counter>>,
    unlisted: Mutex<BTreeMap<Folder, Vec<PartEntry>>>,
    more: Notify,
}

impl PartWriter {
    /// A writer into `zone`.
    pub fn new(zone: Zone) -> Self {
        PartWriter {
            zone,
            numbers: Mutex::default(),
            unlisted: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// The zone that is written to.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Writes one part and returns when it is durable, however long the store is away.
    pub async fn write(&self, part: &SealedPart, on_retry: impl Fn(&Retry<'_>)) -> Result<Written> {
        let started = Instant::now();
        let payload: PutPayload = part.chunks.iter().cloned().collect();
        let counter = self.counter(&part.folder);
        let mut placing = Placing::new(self.take_number(&part.folder, &on_retry).await?);
        if planted::acts(Bug::ListedBeforeWritten) {
            let name = PartName { number: placing.number, compression: part.compression };
            self.list(&part.folder, PartEntry::of(part, name));
        }
        let mut next = Next::Put;
        let mut attempts = 0;
        let mut delays = backoff();
        loop {
            let name = PartName { number: placing.number, compression: part.compression };
            let path = part.folder.part_path(name);
            let answer = match next {
                Next::Put => {
                    attempts += 1;
                    self.create(&path, part, &payload, attempts).await
                }
                Next::Compare => self.compare(&path, part).await,
                Next::List => {
                    let highest = self.highest_number(&part.folder, &on_retry).await?;
                    let mut numbers = counter.lock().await;
                    let taken = placing.number;
                    next = placing.elsewhere(&mut numbers, highest, random_below);
                    tracing::debug!(taken, chosen = placing.number, "a number was taken");
                    continue;
                }
                Next::Placed => {
                    planted::after_write(self, part, name, started.elapsed()).await;
                    let entry = planted::measured(PartEntry::of(part, name), part);
                    if let Some(entry) = planted::entry(entry, placing.number) {
                        self.list(&part.folder, entry);
                    }
                    let (collisions, took) = (placing.collisions, started.elapsed());
                    return Ok(Written { path, attempts, collisions, took });
                }
            };
            let heard = match answer {
                Ok(heard) => heard,
                Err(error) if planted::taken_for_stored(&error) => Heard::Created,
                Err(error) => {
                    let decision = classify::store(&error, Phase::Running);
                    if planted::decision(decision, &error) != Decision::Retry {
                        let doing = format!("writing {}", self.zone.address(&path));
                        return Err(Error::store(doing)(error));
                    }
                    let delay = planted::pause(next_delay(&mut delays), attempts);
                    on_retry(&Retry { doing: &path, attempts, delay, error: &error });
                    tokio::time::sleep(delay).await;
                    planted::note_store_error();
                    Heard::Nothing
                }
            };
            next = placing.heard(heard, &mut *counter.lock().await);
        }
    }

    /// One attempt to create the object.
    async fn create(
        &self,
        path: &str,
        part: &SealedPart,
        payload: &PutPayload,
        attempts: u32,
    ) -> object_store::Result<Heard> {
        let options = PutOptions {
            mode: planted::put_mode(),
            attributes: planted::attributes(self.attributes(part), attempts),
            ..PutOptions::default()
        };
        let location = Path::from(path);
        crash::at(Point::BeforeStoreRequest);
        let put = self.zone.store.put_opts(&location, payload.clone(), options);
        match self.zone.bounded(put).await {
            Ok(created) => {
                self.zone.vouches(&created)?;
                self.zone.wrote(path);
                crash::at(Point::AfterStoreAnswer);
                Ok(Heard::Created)
            }
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Heard::Exists),
            Err(err) => Err(err),
        }
    }

    /// Whether the object that exists is the part.
    async fn compare(&self, path: &str, part: &SealedPart) -> object_store::Result<Heard> {
        let found = self.zone.bounded(self.zone.store.head(&Path::from(path))).await?;
        let equal =
            found.size == part.bytes as u64 && same(&self.zone.read(path).await?, &part.chunks);
        Ok(if equal { Heard::Same } else { Heard::Different })
    }

    fn attributes(&self, part: &SealedPart) -> Attributes {
        if !self.zone.has_attributes() {
            return Attributes::new();
        }
        let own = |name: &'static str| Attribute::Metadata(name.into());
        Attributes::from_iter([
            (Attribute::ContentType, planted::content_type(part.compression).to_owned()),
            (own("crc32"), format!("{:08x}", planted::told_crc32(part))),
            (own("records"), part.span.records.to_string()),
            (own("partition"), part.partition.to_string()),
            (own("first-offset"), part.span.first_offset.to_string()),
            (own("last-offset"), planted::told_last_offset(part.span.last_offset).to_string()),
        ])
    }

    /// The next number of a folder, from a listing the first time.
    pub(crate) async fn take_number(
        &self,
        folder: &Folder,
        on_retry: impl Fn(&Retry<'_>),
    ) -> Result<u64> {
        let counter = self.counter(folder);
        let mut numbers = counter.lock().await;
        loop {
            if let Some(number) = numbers.take() {
                return Ok(number);
            }
            numbers.listed(self.highest_number(folder, &on_retry).await?);
        }
    }

    async fn highest_number(&self, folder: &Folder, on_retry: impl Fn(&Retry<'_>)) -> Result<u64> {
        let doing = format!("listing {}", folder.path());
        let list = || self.zone.part_names(folder);
        let names = self.zone.persist(&doing, &on_retry, list).await?;
        // Numbers go on above those of parts that were moved away: what lists a name must mean its part.
        let doing = format!("reading {}", folder.metadata_path());
        let read = || self.zone.bounded(metadata::read(&self.zone, folder));
        let listed = self.zone.persist(&doing, &on_retry, read).await?;
        let listed = listed.into_iter().flat_map(|document| document.parts);
        let listed = listed.filter_map(|entry| PartName::parse(&entry.name));
        let highest = names.into_iter().chain(listed).map(|name| name.number).max().unwrap_or(0);
        // A number beyond the last one would make a part that nobody takes for one.
        if highest > PartName::NUMBER_MAX - NUMBERS_LEFT_MIN {
            return Err(Error::Stuck(format!(
                "{} holds a part with the number {highest}, which leaves no numbers for others; it is nobody's \
                 count: move it away (and take it out of {})",
                self.zone.address(&folder.path()),
                folder.metadata_path()
            )));
        }
        Ok(highest)
    }

    fn counter(&self, folder: &Folder) -> Counter {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(numbers.entry(folder.clone()).or_default())
    }

    fn list(&self, folder: &Folder, entry: PartEntry) {
        let mut unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = unlisted.entry(folder.clone()).or_default();
        // A document that is refused for days must not fill the memory: what is not remembered here is
        // found again from the parts.
        if waiting.len() < UNLISTED_MAX {
            waiting.push(entry);
        }
        self.more.notify_one();
    }

    /// Keeps the metadata up with the parts until it is dropped. The pause between two writes grows
    /// with their cost, so that a folder of very many parts does not spend its time on its list.
    pub async fn keep_metadata(&self, pause_min: Duration) {
        loop {
            self.more.notified().await;
            let started = Instant::now();
            if let Err(err) = self.flush_metadata().await {
                // The parts are the truth; their list can wait and be rebuilt.
                tracing::warn!(error = %err, "the metadata could not be written");
                self.more.notify_one();
            }
            tokio::time::sleep(pause_min.max(10 * started.elapsed())).await;
        }
    }

    /// Lists every part that this process has written and not yet listed.
    pub async fn flush_metadata(&self) -> Result<()> {
        let folders: Vec<Folder> = {
            let unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
            unlisted.keys().cloned().collect()
        };
        let flushed = stream::iter(folders).map(|folder| self.flush_folder(folder));
        // One folder's document must not hold up the others.
        let flushed: Vec<Result<()>> = flushed.buffer_unordered(FOLDERS_AT_ONCE).collect().await;
        flushed.into_iter().collect()
    }

    async fn flush_folder(&self, folder: Folder) -> Result<()> {
        let entries = {
            let unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
            unlisted.get(&folder).cloned().unwrap_or_default()
        };
        crash::at(Point::BeforeMetadata);
        if let Err(err) = metadata::add(&self.zone, &folder, &entries).await {
            tracing::warn!(path = folder.metadata_path(), error = %err,
                "the metadata cannot be written; its parts stay unlisted for now");
            metrics::metadata_refused(&folder.dataset);
            return Err(err);
        }
        crash::at(Point::AfterMetadata);
        let mut unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = unlisted.get_mut(&folder) {
            // Cancelled before this line, the same entries are added once more: harmless.
            waiting.drain(..entries.len().min(waiting.len()));
            if waiting.is_empty() {
                unlisted.remove(&folder);
            }
        }
        Ok(())
    }

    /// Completes the metadata of every folder that this process has written to, with what others
    /// left unlisted too.
    pub async fn complete_metadata(&self) -> Result<()> {
        if planted::acts(Bug::MetadataCutAtStop) {
            return Ok(());
        }
        if planted::is(Bug::MetadataOfOtherDaysCut) {
            let mut unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
            unlisted.retain(|folder, _| planted::completes(folder));
        }
        let flushed = self.flush_metadata().await;
        if planted::is(Bug::MetadataMissingPart) {
            return Ok(());
        }
        let folders: Vec<Folder> = {
            let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.keys().cloned().collect()
        };
        let rebuilt = folders.into_iter().filter(planted::completes).map(|folder| async move {
            let rebuilt = metadata::rebuild(&self.zone, &folder).await;
            if let Err(err) = &rebuilt {
                tracing::warn!(path = folder.metadata_path(), error = %err,
                    "the metadata stays incomplete; the next start, or audit --rebuild-metadata, completes it");
            }
            rebuilt.map(drop)
        });
        let rebuilt: Vec<Result<()>> =
            stream::iter(rebuilt).buffer_unordered(FOLDERS_AT_ONCE).collect().await;
        std::iter::once(flushed).chain(rebuilt).collect()
    }
}

fn same(object: &[u8], chunks: &[bytes::Bytes]) -> bool {
    let mut rest = object;
    for chunk in chunks {
        match rest.strip_prefix(chunk.as_ref()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// A number below `bound`, different in each process: what the standard hasher's keys are for.
fn random_below(bound: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() % bound.max(1)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
