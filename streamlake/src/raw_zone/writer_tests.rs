//! Tests of the part writer on a local directory.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::config::{RawZoneSettings, raw_zone_url};
use crate::raw_zone::buffer::PartBuffer;
use crate::raw_zone::compression::Compression;

fn zone(dir: &std::path::Path) -> Zone {
    let url = raw_zone_url(&format!("file://{}", dir.display())).unwrap();
    Zone::open(&RawZoneSettings { url, request_timeout: Duration::from_secs(5) }).unwrap()
}

fn folder() -> Folder {
    Folder { dataset: "orders".into(), date: "2026-01-21".parse().unwrap() }
}

fn part(partition: i32, offset: i64) -> SealedPart {
    let mut buffer = PartBuffer::new(offset, Instant::now());
    let record = crate::raw_zone::part::RecordRef {
        topic: "t",
        partition,
        offset,
        timestamp_ms: None,
        ingestion_id: None,
        key: None,
        value: Some(b"{}"),
        value_is_json: true,
    };
    buffer.add(offset, 100, |out| {
        crate::raw_zone::part::write_record(out, &record, std::iter::empty());
    });
    buffer.seal(folder(), "t", partition)
}

#[tokio::test]
async fn an_object_that_is_our_own_is_taken_as_written() {
    for compression in Compression::ALL {
        our_own(part(0, 5).compressed(compression).unwrap()).await;
    }
}

async fn our_own(part: SealedPart) {
    let dir = tempfile::tempdir().unwrap();
    let first = PartWriter::new(zone(dir.path()));
    let written = first.write(&part, |_| {}).await.unwrap();
    let name = PartName { number: 1, compression: part.compression };
    assert_eq!(written.path, folder().part_path(name));
    // A writer that believes number 1 to be free, as after an answer that was lost.
    let second = PartWriter::new(zone(dir.path()));
    second.counter(&folder()).lock().await.listed(0);
    let again = second.write(&part, |_| {}).await.unwrap();
    assert_eq!((again.path, again.collisions), (written.path, 0));
}

#[tokio::test]
async fn writers_that_start_alike_never_replace_and_never_fight_long() {
    let dir = tempfile::tempdir().unwrap();
    let writers: Vec<_> = (0..4).map(|_| Arc::new(PartWriter::new(zone(dir.path())))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (index, writer) in writers.iter().cloned().enumerate() {
        // One of the four compresses.
        let compression = if index == 3 { Compression::Zstd } else { Compression::None };
        tasks.spawn(async move {
            let mut worst = 0;
            for offset in 0..100 {
                let part = part(index as i32, offset).compressed(compression).unwrap();
                let written = writer.write(&part, |_| {}).await.unwrap();
                worst = worst.max(written.collisions);
            }
            worst
        });
    }
    let worst = tasks.join_all().await.into_iter().max().unwrap();
    assert!(worst <= 8, "a part was fought over {worst} times");
    for writer in &writers {
        writer.complete_metadata().await.unwrap();
    }
    let zone = zone(dir.path());
    let metadata = metadata::read(&zone, &folder()).await.unwrap().unwrap();
    assert_eq!(metadata.parts.len(), 400);
    let mut seen = std::collections::BTreeSet::new();
    for entry in &metadata.parts {
        let path = format!("{}/{}", folder().path(), entry.name);
        let bytes = zone.read(&path).await.unwrap();
        let name = PartName::parse(&entry.name).unwrap();
        assert_eq!(PartEntry::read(name, &bytes).unwrap().as_ref(), Some(entry));
        assert!(seen.insert((entry.partition, entry.first_offset)));
    }
}

#[tokio::test]
async fn metadata_that_is_missing_is_rebuilt_from_the_parts() {
    let dir = tempfile::tempdir().unwrap();
    let writer = PartWriter::new(zone(dir.path()));
    for offset in 0..3 {
        writer.write(&part(0, offset), |_| {}).await.unwrap();
    }
    let zone = zone(dir.path());
    assert_eq!(metadata::read(&zone, &folder()).await.unwrap(), None);
    assert_eq!(metadata::rebuild(&zone, &folder()).await.unwrap(), 3);
    assert_eq!(metadata::rebuild(&zone, &folder()).await.unwrap(), 0);
    writer.flush_metadata().await.unwrap();
    let metadata = metadata::read(&zone, &folder()).await.unwrap().unwrap();
    assert_eq!(metadata.parts.len(), 3);
}

/// A mount that goes away leaves a directory of its name, or none. Nothing may count that was not written into
/// the zone that was opened, and nothing may be made in its place.
#[tokio::test]
async fn a_root_that_is_another_directory_takes_nothing() {
    for mounted_elsewhere in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (root, away) = (dir.path().join("zone"), dir.path().join("away"));
        let writer = PartWriter::new(zone(&root));
        let first = writer.write(&part(0, 0), |_| {}).await.unwrap();
        std::fs::rename(&root, &away).unwrap();
        if mounted_elsewhere {
            std::fs::create_dir(&root).unwrap();
        }
        let refusals = std::sync::atomic::AtomicU32::new(0);
        let next = part(0, 1);
        let second = writer.write(&next, |retry| {
            assert!(retry.error.to_string().contains("mounted"), "{}", retry.error);
            if refusals.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 1 {
                return;
            }
            if mounted_elsewhere {
                // Fails unless it is still empty.
                std::fs::remove_dir(&root).unwrap();
            }
            assert!(!root.exists(), "it was made");
            std::fs::rename(&away, &root).unwrap();
        });
        let second = second.await.unwrap();
        assert!(second.attempts > 2 && second.collisions == 0, "{second:?}");
        assert!(root.join(first.path).exists() && root.join(second.path).exists());
    }
}

/// A file system that is mounted again may have another number: it is known by what was written there.
#[tokio::test]
async fn a_root_that_holds_what_was_written_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (root, away) = (dir.path().join("zone"), dir.path().join("away"));
    let writer = PartWriter::new(zone(&root));
    let first = writer.write(&part(0, 0), |_| {}).await.unwrap();
    std::fs::rename(&root, &away).unwrap();
    let there = root.join(&first.path);
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::copy(away.join(&first.path), &there).unwrap();
    let second = writer.write(&part(0, 1), |_| {}).await.unwrap();
    assert_eq!(second.attempts, 1);
    assert!(root.join(second.path).exists());
}

/// A number that nobody can have counted to is a stranger's, and one that leaves no others is named.
#[tokio::test]
async fn numbers_at_the_end_of_their_range_are_no_crash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(folder().path());
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("part-18446744073709551615.json"), b"").unwrap();
    let written = PartWriter::new(zone(dir.path())).write(&part(0, 0), |_| {}).await.unwrap();
    assert!(written.path.ends_with("part-0001.json"), "{}", written.path);
    std::fs::write(path.join("part-999999999999.json"), b"").unwrap();
    let refused = PartWriter::new(zone(dir.path())).write(&part(0, 1), |_| {}).await.unwrap_err();
    assert!(refused.to_string().contains("999999999999"), "{refused}");
}

/// A portal on the way answers 200 to a request that it has swallowed.
#[tokio::test]
async fn an_answer_without_a_generation_is_the_stores_only_where_it_never_tells_one() {
    let answer = |version: Option<&str>| object_store::PutResult {
        e_tag: Some("e".into()),
        version: version.map(str::to_owned),
        extensions: Default::default(),
    };
    let dir = tempfile::tempdir().unwrap();
    let zone = zone(dir.path());
    zone.learn_from(&answer(None));
    assert!(zone.vouches(&answer(None)).is_ok(), "it never tells one");
    zone.learn_from(&answer(Some("1")));
    let refused = zone.vouches(&answer(None)).unwrap_err();
    assert_eq!(classify::store(&refused, Phase::Running), Decision::Retry);
    assert!(zone.vouches(&answer(Some("2"))).is_ok());
}
