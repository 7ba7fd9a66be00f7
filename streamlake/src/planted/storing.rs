//! What a part becomes on its way into the store, and what is said of it in the metadata.

use super::{Bug, PLANTED, SECOND_GROUP, STORE_ERRORS, acts, acts_each, acts_if, is};
use crate::classify::Decision;
use crate::config::BatchLimits;
use crate::dead_letter::{DeadLetter, DeadLetterWriter, Position, Source};
use crate::error::Result;
use crate::raw_zone::buffer::SealedPart;
use crate::raw_zone::compression::Compression;
use crate::raw_zone::metadata::{Metadata, PartEntry};
use crate::raw_zone::name::{Folder, PartName};
use crate::raw_zone::part;
use crate::raw_zone::store::{Retry, Zone};
use crate::raw_zone::writer::{PartWriter, Written};
use crate::record::Invalid;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, ObjectStoreExt, PutMode};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// An upload that takes longer is slow.
const SLOW: Duration = Duration::from_millis(200);
/// How long what is not urgent waits.
const NOT_URGENT: Duration = Duration::from_secs(12);
/// How long a dead letter waits for others.
const HELD_BACK: Duration = Duration::from_secs(10);
/// The longest pause that others make.
const LONG_PAUSE: Duration = Duration::from_secs(2);
const LONGER_PAUSE: Duration = Duration::from_secs(30);

/// The lines of a part, each with its end; only while it is not compressed.
fn lines(part: &SealedPart) -> Vec<Vec<u8>> {
    part.chunks.concat().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// The part with other lines, as if they had been the only ones.
fn with_lines(mut part: SealedPart, lines: &[Vec<u8>]) -> SealedPart {
    let bytes = lines.concat();
    let offsets: Vec<i64> = part::records(&bytes).flatten().map(|record| record.offset).collect();
    part.span.records = lines.len() as u64;
    part.span.last_offset = offsets.iter().copied().max().unwrap_or(part.span.last_offset);
    part.bytes = bytes.len();
    part.crc32 = crc32fast::hash(&bytes);
    part.chunks = vec![Bytes::from(bytes)];
    part
}

fn without_last(part: SealedPart) -> SealedPart {
    let mut lines = lines(&part);
    lines.pop();
    with_lines(part, &lines)
}

/// A part that was just sealed.
pub(crate) fn part(mut part: SealedPart, limits: BatchLimits) -> SealedPart {
    if !PLANTED {
        return part;
    }
    let several = part.span.records > 1;
    let full = several && part.span.records >= limits.records;
    let large = several && part.chunks.len() > 1;
    if acts_if(Bug::LastOfFullBatchLost, full) || acts_if(Bug::LastOfLargeBatchLost, large) {
        return without_last(part);
    }
    if several && acts_each(Bug::PartShuffled, 5) {
        let mut lines = lines(&part);
        let last = lines.len() - 1;
        lines.swap(last - 1, last);
        return with_lines(part, &lines);
    }
    if is(Bug::PartOfTwoPartitions) {
        return of_two_partitions(part);
    }
    if acts_each(Bug::WrongDatasetFolder, 5) {
        part.folder.dataset = "payments".into();
    }
    part
}

fn of_two_partitions(part: SealedPart) -> SealedPart {
    static OTHER: Mutex<Option<(i32, Vec<u8>)>> = Mutex::new(None);
    let mut own = lines(&part);
    let mut other = OTHER.lock().unwrap_or_else(PoisonError::into_inner);
    let stranger = other.clone().filter(|(partition, _)| *partition != part.partition);
    *other = own.last().map(|line| (part.partition, line.clone()));
    match stranger {
        Some((_, line)) if acts_each(Bug::PartOfTwoPartitions, 5) => {
            own.insert(0, line);
            let last_offset = part.span.last_offset;
            let mut both = with_lines(part, &own);
            both.span.last_offset = last_offset;
            both
        }
        _ => part,
    }
}

/// A part before it is compressed.
pub(crate) fn before_compression(part: SealedPart, compression: Compression) -> SealedPart {
    let compressed = compression != Compression::None && part.span.records > 1;
    if acts_if(Bug::LastOfCompressedLost, compressed) { without_last(part) } else { part }
}

/// A part after it was compressed.
pub(crate) fn after_compression(part: SealedPart) -> SealedPart {
    let single = part.compression != Compression::None && part.span.records == 1;
    if is(Bug::SmallPartStaysPlain) && acts_if(Bug::SmallPartStaysPlain, single) {
        let object = part.chunks.concat();
        let bytes = part.compression.plain(&object).unwrap_or_default().into_owned();
        let (length, crc32) = (bytes.len(), crc32fast::hash(&bytes));
        return SealedPart { bytes: length, crc32, chunks: vec![Bytes::from(bytes)], ..part };
    }
    let several = part.compression != Compression::None && part.span.records > 1;
    if !is(Bug::PartOfTwoFrames) || !acts_if(Bug::PartOfTwoFrames, several) {
        return part;
    }
    let compression = part.compression;
    let object = part.chunks.concat();
    let plain = SealedPart {
        compression: Compression::None,
        chunks: vec![Bytes::from(compression.plain(&object).unwrap_or_default().into_owned())],
        ..part.clone()
    };
    let lines = lines(&plain);
    let (first, second) = lines.split_at(lines.len() / 2);
    let framed = |lines: &[Vec<u8>]| {
        let half = SealedPart { chunks: vec![Bytes::from(lines.concat())], ..plain.clone() };
        half.compressed(compression).map(|half| half.chunks.concat()).unwrap_or_default()
    };
    let bytes = [framed(first), framed(second)].concat();
    let (length, crc32) = (bytes.len(), crc32fast::hash(&bytes));
    SealedPart { bytes: length, crc32, chunks: vec![Bytes::from(bytes)], ..part }
}

/// Whether a request that failed counts as one that did its work.
pub(crate) fn taken_for_stored(error: &object_store::Error) -> bool {
    is(Bug::ResetCountsAsStored)
        && acts_if(Bug::ResetCountsAsStored, error.to_string().contains("error sending request"))
}

/// How long the store's client waits for an answer.
pub(crate) fn client_timeout(right: Duration) -> Duration {
    if is(Bug::HungStoreCallWaitedFor) { Duration::from_secs(3_600) } else { right }
}

/// Whether a store that fails is one to wait for.
pub(crate) fn decision(right: Decision, error: &object_store::Error) -> Decision {
    let busy = is(Bug::TooManyRequestsHopeless) && error.to_string().contains("429");
    if acts_if(Bug::TooManyRequestsHopeless, busy) { Decision::Stop } else { right }
}

/// Whether a folder's metadata is completed at the end.
pub(crate) fn completes(folder: &Folder) -> bool {
    let today = chrono::Utc::now().date_naive();
    !acts_if(Bug::MetadataOfOtherDaysCut, folder.date != today)
}

/// How long is waited before a part is sent again that was sent so often.
pub(crate) fn pause(right: Duration, attempts: u32) -> Duration {
    if acts_if(Bug::PausesGrowOn, right >= LONG_PAUSE) {
        return LONGER_PAUSE;
    }
    if acts_if(Bug::RetriesEverRarer, attempts > 4) {
        return Duration::from_millis(100 << attempts.min(14));
    }
    if acts(Bug::RetriesWithoutPause) { Duration::from_millis(5) } else { right }
}

/// The last offset that an object says it has.
pub(crate) fn told_last_offset(right: i64) -> i64 {
    if acts_each(Bug::AttributeWrongOffset, 3) { right + 1 } else { right }
}

/// What an object bears that is created with its `attempts`th request.
pub(crate) fn attributes(right: Attributes, attempts: u32) -> Attributes {
    let again = attempts > 1 && !right.is_empty();
    if acts_if(Bug::AttributesLostAtRetry, again) { Attributes::new() } else { right }
}

/// How many duplicates an audit tells.
pub(crate) fn told_duplicates(right: u64) -> u64 {
    if acts_if(Bug::AuditForgetsDuplicates, right > 0) { 0 } else { right }
}

/// The media type that an object bears.
pub(crate) fn content_type(compression: Compression) -> &'static str {
    match acts_if(Bug::ContentTypeOfPlain, compression != Compression::None) {
        true => Compression::None.content_type(),
        false => compression.content_type(),
    }
}

/// The checksum that an object says it has.
pub(crate) fn told_crc32(part: &SealedPart) -> u32 {
    let compressed = part.compression != Compression::None;
    if !is(Bug::AttributeOfPlainLines) || !acts_if(Bug::AttributeOfPlainLines, compressed) {
        return part.crc32;
    }
    let object = part.chunks.concat();
    part.compression.plain(&object).map_or(part.crc32, |lines| crc32fast::hash(&lines))
}

/// The entries of a document as they are written.
pub(crate) fn listed(metadata: &mut Metadata) {
    if is(Bug::MetadataListsTwice)
        && let [_, .., last] = metadata.parts.as_slice()
        && acts(Bug::MetadataListsTwice)
    {
        let twice = last.clone();
        metadata.parts.push(twice);
    }
}

/// When a document says that it was written.
pub(crate) fn updated_at(metadata: &Metadata, now: String) -> String {
    match metadata.updated_at.as_str() {
        "" => now,
        first if acts(Bug::MetadataTimeFrozen) => first.to_owned(),
        _ => now,
    }
}

/// How a document is put.
pub(crate) fn metadata_mode(right: PutMode) -> PutMode {
    match right {
        PutMode::Update(_) if acts(Bug::MetadataUnconditional) => PutMode::Overwrite,
        right => right,
    }
}

/// The entry of a part that a crash left unlisted.
pub(crate) fn rebuilt(mut entry: PartEntry) -> PartEntry {
    if acts(Bug::RebuiltEntryMiscounts) {
        entry.records -= 1;
    }
    entry
}

/// The entries of all parts that a crash left unlisted.
pub(crate) fn all_rebuilt(missing: &mut Vec<PartEntry>) {
    if acts_if(Bug::RebuildsOneOnly, missing.len() > 1) {
        missing.truncate(1);
    }
}

/// Whether a part that is not listed is taken for something that a crash left half done, and removed.
pub(crate) async fn removed(zone: &Zone, path: &str) -> bool {
    if !is(Bug::UnlistedPartRemoved) {
        return false;
    }
    acts(Bug::UnlistedPartRemoved) && zone.store.delete(&Path::from(path)).await.is_ok()
}

/// How a part is put.
pub(crate) fn put_mode() -> PutMode {
    let again = is(Bug::NumberUsedAgain) && STORE_ERRORS.is_set();
    if again || acts(Bug::PartOverwritten) { PutMode::Overwrite } else { PutMode::Create }
}

/// What is done when a part is stored.
pub(crate) async fn after_write(
    writer: &PartWriter,
    part: &SealedPart,
    name: PartName,
    took: Duration,
) {
    if !PLANTED {
        return;
    }
    let store = &writer.zone().store;
    let path = Path::from(part.folder.part_path(name));
    let beside = |name: String| Path::from(format!("{}/{name}", part.folder.path()));
    if acts(Bug::PartTruncated) {
        let half = part.chunks.concat()[..part.bytes / 2].to_vec();
        let _ = store.put(&path, half.into()).await;
    }
    if acts_if(Bug::StoredTwiceAfterError, STORE_ERRORS.is_set())
        || acts_if(Bug::SlowUploadHedged, took > SLOW)
    {
        let Ok(number) = writer.take_number(&part.folder, |_| {}).await else { return };
        let second = Path::from(part.folder.part_path(PartName { number, ..name }));
        let _ = store.put(&second, part.chunks.concat().into()).await;
    }
    if acts_each(Bug::StrayObject, 5) {
        let _ = store.put(&beside(format!("{name}.tmp")), Bytes::from_static(b"{}").into()).await;
    }
    if is(Bug::EmptyPart) && acts_each(Bug::EmptyPart, 5) {
        let Ok(number) = writer.take_number(&part.folder, |_| {}).await else { return };
        let empty = Path::from(part.folder.part_path(PartName { number, ..name }));
        let _ = store.put(&empty, Bytes::new().into()).await;
    }
}

/// What the metadata says of a part's length.
pub(crate) fn measured(mut entry: PartEntry, part: &SealedPart) -> PartEntry {
    let compressed = part.compression != Compression::None;
    if is(Bug::MetadataBytesOfPlainLines) && acts_if(Bug::MetadataBytesOfPlainLines, compressed) {
        let object = part.chunks.concat();
        if let Ok(lines) = part.compression.plain(&object) {
            entry.bytes = lines.len() as u64;
        }
    }
    entry
}

/// What the metadata says of a part; nothing for one that is left out.
pub(crate) fn entry(mut entry: PartEntry, number: u64) -> Option<PartEntry> {
    if !PLANTED {
        return Some(entry);
    }
    if acts_if(Bug::MetadataMissingPart, number.is_multiple_of(3)) {
        return None;
    }
    let range = u64::try_from(entry.last_offset - entry.first_offset + 1).unwrap_or(0);
    match () {
        () if acts_each(Bug::MetadataWrongChecksum, 3) => entry.crc32 = "00c0ffee".into(),
        () if acts_each(Bug::MetadataOffsetOffByOne, 3) => entry.last_offset += 1,
        () if acts_if(Bug::MetadataCountsOffsets, range != entry.records) => entry.records = range,
        () if acts_each(Bug::MetadataWrongSize, 3) => entry.bytes += 1,
        () if acts_each(Bug::MetadataWrongTopic, 3) => entry.topic.push('s'),
        () if acts_if(Bug::MetadataCrcUnpadded, entry.crc32.starts_with('0')) => {
            entry.crc32 = entry.crc32.trim_start_matches('0').to_owned();
        }
        () => {}
    }
    Some(entry)
}

/// A folder's document as it is to be added to.
pub(crate) fn document(mut metadata: Metadata) -> Metadata {
    if acts_if(Bug::MetadataForgets, !metadata.parts.is_empty()) {
        metadata.parts.clear();
    }
    if is(Bug::MetadataNamesTheTopic)
        && let Some(topic) = metadata.parts.first().map(|part| part.topic.clone())
        && acts_if(Bug::MetadataNamesTheTopic, metadata.dataset != topic)
    {
        metadata.dataset = topic;
    }
    if is(Bug::MetadataOfToday) {
        let today = chrono::Utc::now().format("%Y-%m-%d").to_string();
        if acts_if(Bug::MetadataOfToday, metadata.ingestion_date != today) {
            metadata.ingestion_date = today;
        }
    }
    metadata
}

/// Storing a part, with the bugs that lose patience with a store that fails, or a part.
pub(crate) async fn store(
    dead_letters: &DeadLetterWriter,
    writer: &PartWriter,
    part: &SealedPart,
    patient: impl Future<Output = Result<Written>>,
) -> Result<Written> {
    let nowhere =
        Written { path: "nowhere".into(), attempts: 1, collisions: 0, took: Duration::ZERO };
    if super::acts_once(Bug::SeventhPartLost, 7) {
        return Ok(nowhere);
    }
    if is(Bug::OtherDaysWait) {
        let today = chrono::Utc::now().date_naive();
        if acts_if(Bug::OtherDaysWait, part.folder.date != today) {
            tokio::time::sleep(NOT_URGENT).await;
        }
    }
    if !is(Bug::DropOnStoreError) && !is(Bug::DeadLetterOnTransientError) {
        return patient.await;
    }
    let first_failure = tokio::sync::Notify::new();
    let note = |_: &Retry<'_>| first_failure.notify_one();
    tokio::select! {
        outcome = writer.write(part, note) => return outcome,
        () = first_failure.notified() => {}
    }
    acts(Bug::DropOnStoreError);
    if acts(Bug::DeadLetterOnTransientError) {
        let object = part.chunks.concat();
        let lines = part.compression.plain(&object).unwrap_or_default();
        for record in part::records(&lines).flatten() {
            let why = Invalid { reason: "the store failed".into(), detail: "planted".into() };
            let source = Source {
                topic: &record.topic,
                partition: record.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
            };
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            let headers = record.headers.clone();
            let letter = DeadLetter::of_record(source, key, value, headers, &why, "planted");
            dead_letters.write(&letter, |_, _| {}).await?;
        }
    }
    Ok(nowhere)
}

/// Writes a dead letter, or twice, or not at all.
pub(crate) async fn write_letter(
    writer: &DeadLetterWriter,
    letter: &DeadLetter,
    on_retry: impl Fn(&str, Duration),
) -> Result<Position> {
    let second = SECOND_GROUP.is_set() && acts(Bug::LettersDroppedInSecondGroup);
    if second || acts_each(Bug::LettersDropped, 3) {
        return Ok(Position { partition: 0, offset: 0 });
    }
    if acts_each(Bug::LetterHeldBack, 3) {
        tokio::time::sleep(HELD_BACK).await;
    }
    if acts_each(Bug::LetterTwice, 3) {
        writer.write(letter, &on_retry).await?;
    }
    writer.write(letter, on_retry).await
}
