//! Audit: raw zone, dead-letter topic, watermarks and committed offsets of a running system, compared.
//!
//! It reads every part of the dataset once, one at a time, and keeps offsets as ranges, so its memory
//! is bounded by the number of holes and not by the number of records.

use crate::config::KafkaSettings;
use crate::dead_letter::read::{Filed, SourcePlace};
use crate::error::{Error, Result};
use crate::inspect::{self, Inspector, owned};
use crate::planted::{self, Bug};
use crate::ranges::Ranges;
use crate::raw_zone::leftovers;
use crate::raw_zone::metadata::{self, PartEntry};
use crate::raw_zone::name::{Folder, PartName};
use crate::raw_zone::part::{self, StoredRecord};
use crate::raw_zone::store::{Zone, log_retry};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How long the topic's settings are waited for.
const SETTINGS_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
/// How many ranges of a kind are named; all are counted.
const NAMED_MAX: usize = 50;

/// Stored records of a partition that are compared with the log.
const COMPARED: usize = 4;

/// The first record of each part, of many parts of every so manieth.
#[derive(Debug, Default)]
struct Samples {
    kept: Vec<Sample>,
    step: usize,
    passed: usize,
}

/// A record as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<u32>,
    value: Option<u32>,
}

impl Sample {
    fn of(record: &StoredRecord) -> Self {
        Self {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref().map(crc32fast::hash),
            value: record.value.as_deref().map(crc32fast::hash),
        }
    }

    fn of_log(message: &BorrowedMessage<'_>) -> Self {
        Self {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(crc32fast::hash),
            value: message.payload().map(crc32fast::hash),
        }
    }
}

impl Samples {
    const MAX: usize = 64;

    fn take(&mut self, sample: Sample) {
        let step = self.step.max(1);
        if self.passed.is_multiple_of(step) {
            self.kept.push(sample);
        }
        self.passed += 1;
        if self.kept.len() > Self::MAX {
            let mut nth = 0;
            self.kept.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.step = step * 2;
        }
    }

    /// The first and the last that the log still reaches, and some between them.
    fn chosen(&self, low: i64) -> Vec<&Sample> {
        let there: Vec<&Sample> = self.kept.iter().filter(|at| at.offset >= low).collect();
        let last = there.len().saturating_sub(1);
        let mut chosen: Vec<usize> = (0..COMPARED).map(|n| n * last / (COMPARED - 1)).collect();
        chosen.dedup();
        chosen.into_iter().filter_map(|n| there.get(n).copied()).collect()
    }
}

/// What to compare.
#[derive(Debug, Clone)]
pub struct Request {
    /// The dataset.
    pub dataset: String,
    /// Its topic.
    pub topic: String,
    /// Its dead-letter topic.
    pub dead_letter_topic: String,
    /// Its group.
    pub group: String,
}

/// The outcome.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The dataset.
    pub dataset: String,
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// The topic's `cleanup.policy`; none where the brokers do not tell it.
    pub cleanup_policy: Option<String>,
    /// Whether nothing is wrong. Duplicates are not wrong: delivery is at least once.
    pub clean: bool,
    /// Why not, one line each.
    pub problems: Vec<String>,
    /// Each partition.
    pub partitions: Vec<PartitionReport>,
    /// The part files.
    pub parts: PartsReport,
}

/// `[from, to)`, offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
}

/// One partition.
#[derive(Debug, Default, Clone, Serialize)]
pub struct PartitionReport {
    /// The partition.
    pub partition: i32,
    /// Its first offset.
    pub low_watermark: i64,
    /// The offset after its last.
    pub high_watermark: i64,
    /// What the group has committed.
    pub committed: Option<i64>,
    /// Different offsets in the raw zone.
    pub stored: u64,
    /// Different offsets in the dead-letter topic.
    pub dead_letters: u64,
    /// Offsets below the end that may not be read before an open transaction ends; among those that wait.
    pub behind_open_transaction: i64,
    /// Offsets that the log let go of before the group had read them.
    pub gone_unread: u64,
    /// There is something to be read, where the group has committed nothing.
    #[serde(skip)]
    pub holds_records: bool,
    /// The offset below which everything is durable, as far as the log still tells.
    pub durable: i64,
    /// Records in the raw zone beyond the first of their offset.
    pub duplicates: u64,
    /// Offsets of stored records, of the few that were compared, at which the log holds another record, and
    /// those beyond the end of the log: the topic was made anew, or cut back.
    pub of_another_log: Vec<i64>,
    /// Offsets below the commit whose record is in the log, not stored, not a dead letter: losses.
    pub lost: u64,
    /// Where they are.
    pub lost_at: Vec<Span>,
    /// Offsets below the commit that are nowhere and of which the log can tell nothing any more.
    pub unknown: u64,
    /// Offsets below the commit that hold no record (transaction markers, compaction).
    pub without_record: u64,
    /// Records above the commit that wait.
    pub waiting: i64,
}

/// The part files.
#[derive(Debug, Default, Serialize)]
pub struct PartsReport {
    /// How many were read.
    pub count: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Parts that the metadata does not list (normal for a moment while a consumer runs).
    pub unlisted: Vec<String>,
    /// Listed parts that are not there.
    pub missing: Vec<String>,
    /// Parts that cannot be read or differ from their entry.
    pub damaged: Vec<String>,
    /// Files that a crash left half written, or that are being written, on a local directory. A reader that
    /// takes `part-*` reads them, too.
    pub leftovers: Vec<String>,
}

/// What the raw zone holds.
#[derive(Debug, Default)]
struct Stored {
    offsets: BTreeMap<i32, Ranges>,
    duplicates: BTreeMap<i32, u64>,
    samples: BTreeMap<i32, Samples>,
    parts: PartsReport,
}

/// Compares.
pub async fn audit(zone: &Zone, settings: &KafkaSettings, request: &Request) -> Result<Report> {
    // Commits first: what was committed at this instant must be found below.
    let (kafka, wanted) = (settings.clone(), request.clone());
    let before = blocking(move || {
        let inspector = Inspector::connect(&kafka, Some(&wanted.group))?;
        let partitions = inspector.partitions(&wanted.topic)?;
        let committed = inspector.committed(&wanted.topic, &partitions)?;
        Ok((partitions, committed))
    });
    let (partitions, committed) = before.await?;
    let stored = read_zone(zone, request).await?;
    let (kafka, wanted) = (settings.clone(), request.clone());
    let compared = blocking(move || {
        let inspector = Inspector::connect(&kafka, Some(&wanted.group))?;
        let dead = dead_letters(&inspector, &wanted)?;
        let mut reports = Vec::new();
        for partition in partitions {
            let commit = committed.get(&partition).copied();
            reports.push(compare(&inspector, &wanted.topic, partition, commit, &stored, &dead)?);
        }
        let told = inspect::topic_settings(&kafka, &[&wanted.topic], SETTINGS_WITHIN);
        let told = told.ok().and_then(|mut told| told.pop()?.ok()).unwrap_or_default();
        Ok((reports, stored.parts, told))
    });
    let (partitions, parts, told) = compared.await?;
    let compacted = inspect::compaction(&told).is_some();
    let problems = problems(&partitions, &parts, &request.group, compacted);
    let Request { dataset, topic, group, .. } = request.clone();
    Ok(Report {
        dataset,
        topic,
        group,
        cleanup_policy: told.get("cleanup.policy").cloned(),
        clean: problems.is_empty(),
        problems,
        partitions,
        parts,
    })
}

/// What is wrong, or cannot be said to be right.
fn problems(
    partitions: &[PartitionReport],
    parts: &PartsReport,
    group: &str,
    compacted: bool,
) -> Vec<String> {
    let mut problems = Vec::new();
    for report in partitions {
        let PartitionReport { partition, lost, unknown, high_watermark, .. } = report;
        if let Some(commit) = report.committed.filter(|commit| commit > high_watermark) {
            problems.push(format!(
                "partition {partition}: the commit {commit} lies beyond the end {high_watermark} of the log, \
                 which was cut back, or the offset was set by hand; what comes below it is read only after a \
                 consumer has started again"
            ));
        }
        if let Some(offset) = report.of_another_log.first() {
            problems.push(format!(
                "partition {partition}: what is stored of offset {offset} is another record than the log's, or \
                 lies beyond its end: the topic was deleted and made again, or cut back, and nobody can tell \
                 which of the stored offsets are of this log; give a new topic a dataset, or a raw zone, of its \
                 own"
            ));
        }
        if report.gone_unread > 0 {
            problems.push(format!(
                "partition {partition}: {} offsets from the commit on were deleted before the group read them: \
                 retention is shorter than the group was away",
                report.gone_unread
            ));
        }
        if *lost > 0 {
            problems
                .push(format!("partition {partition}: {lost} records are committed and nowhere"));
        }
        if compacted && report.without_record > 0 {
            problems.push(format!(
                "partition {partition}: {} offsets below the commit hold no record, and the topic is \
                 compacted: records may have been gone before they were read",
                report.without_record
            ));
        }
        if *unknown > 0 {
            problems.push(format!(
                "partition {partition}: {unknown} offsets are committed and nowhere, and the log no longer \
                 tells whether they held records"
            ));
        }
    }
    let something = partitions.iter().any(|at| at.holds_records || at.stored > 0);
    if something && partitions.iter().all(|at| at.committed.is_none()) {
        problems.push(format!(
            "the group {group} has no commit: it never ran, its commits have expired, or it is another one \
             (--group)"
        ));
    }
    if !parts.missing.is_empty() {
        problems.push(format!("{} listed parts are not there", parts.missing.len()));
    }
    if !parts.damaged.is_empty() {
        problems.push(format!("{} parts are damaged", parts.damaged.len()));
    }
    problems
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(err) => Err(Error::Stuck(format!("the work broke off: {err}"))),
    }
}

async fn read_zone(zone: &Zone, request: &Request) -> Result<Stored> {
    let mut stored = Stored::default();
    let folders =
        zone.persist("listing folders", log_retry, || zone.folders(&request.dataset)).await?;
    for folder in &folders {
        read_folder(zone, folder, &request.topic, &mut stored).await?;
    }
    Ok(stored)
}

async fn read_folder(zone: &Zone, folder: &Folder, topic: &str, stored: &mut Stored) -> Result<()> {
    let reading = || zone.bounded(metadata::read(zone, folder));
    let metadata = zone.persist("reading metadata", log_retry, reading).await?;
    let entries = metadata.map(|metadata| metadata.parts).unwrap_or_default();
    let mut listed: BTreeMap<PartName, PartEntry> = entries
        .into_iter()
        .filter_map(|entry| Some((PartName::parse(&entry.name)?, entry)))
        .collect();
    let names = zone.persist("listing parts", log_retry, || zone.part_names(folder)).await?;
    for name in names.into_iter().collect::<BTreeSet<_>>() {
        let path = folder.part_path(name);
        let bytes = match zone.persist("reading a part", log_retry, || zone.read(&path)).await {
            Ok(bytes) => bytes,
            // A link that leads nowhere, a directory, a file that is closed to this user: one of them must not
            // keep the others from being audited.
            Err(Error::Store { source, .. }) if is_of_one_object(zone, &source) => {
                listed.remove(&name);
                stored.parts.damaged.push(format!("{path}: cannot be read: {source}"));
                continue;
            }
            Err(err) => return Err(err),
        };
        stored.parts.count += 1;
        stored.parts.bytes += bytes.len() as u64;
        match listed.remove(&name) {
            None => stored.parts.unlisted.push(path.clone()),
            Some(entry) if entry.crc32 != format!("{:08x}", crc32fast::hash(&bytes)) => {
                stored.parts.damaged.push(format!("{path}: not the bytes that were listed"));
            }
            Some(_) => {}
        }
        if let Err(err) = read_offsets(name, &bytes, topic, stored) {
            stored.parts.damaged.push(format!("{path}: {err}"));
        }
    }
    let leaving = || leftovers::in_folder(zone, folder);
    stored.parts.leftovers.extend(zone.persist("listing leftovers", log_retry, leaving).await?);
    let gone = listed.keys().map(|name| folder.part_path(*name));
    stored.parts.missing.extend(gone);
    Ok(())
}

/// What says nothing of the other parts. Of a remote store only that the object is gone does: rights and
/// outages are those of all.
fn is_of_one_object(zone: &Zone, err: &object_store::Error) -> bool {
    use object_store::Error as Store;
    let of_a_file = matches!(err, Store::PermissionDenied { .. } | Store::Generic { .. });
    matches!(err, Store::NotFound { .. }) || (of_a_file && zone.local_root.is_some())
}

fn read_offsets(
    name: PartName,
    bytes: &[u8],
    topic: &str,
    stored: &mut Stored,
) -> Result<(), part::PartError> {
    let mut run: Option<(i32, i64, i64)> = None;
    let mut flush = |run: Option<(i32, i64, i64)>| {
        if let Some((partition, from, to)) = run {
            let known = stored.offsets.entry(partition).or_default().insert(from, to);
            *stored.duplicates.entry(partition).or_default() += known;
        }
    };
    for record in part::records(&name.compression.plain(bytes)?) {
        let record = record?;
        if record.topic != topic {
            continue;
        }
        if run.is_none_or(|(partition, ..)| partition != record.partition) {
            stored.samples.entry(record.partition).or_default().take(Sample::of(&record));
        }
        run = match run {
            Some((partition, from, to))
                if partition == record.partition
                    && (to == record.offset
                        || planted::acts_if(Bug::AuditSpansHoles, to < record.offset)) =>
            {
                Some((partition, from, record.offset + 1))
            }
            other => {
                flush(other);
                Some((record.partition, record.offset, record.offset + 1))
            }
        };
    }
    flush(run);
    Ok(())
}

/// The offsets of this topic that this group has put into the dead-letter topic, by partition. Another
/// group's letter says nothing of this one's.
fn dead_letters(inspector: &Inspector, request: &Request) -> Result<BTreeMap<i32, Ranges>> {
    let mut dead: BTreeMap<i32, Ranges> = BTreeMap::new();
    if planted::acts(Bug::AuditForgetsLetters) {
        return Ok(dead);
    }
    for partition in inspector.partitions_if_any(&request.dead_letter_topic)? {
        inspector.read(&request.dead_letter_topic, partition, 0, i64::MAX, |message| {
            let letter = Filed::of(owned(message));
            // Earlier versions did not say whose letter it is.
            let ours = letter.group.as_ref().is_none_or(|group| *group == request.group);
            if let Some(SourcePlace { topic, partition, offset }) = letter.source
                && ours
                && topic == request.topic
            {
                dead.entry(partition).or_default().insert(offset, offset.saturating_add(1));
            }
            true
        })?;
    }
    Ok(dead)
}

/// Gaps with fewer records between them than this are read in one.
const NEAR: i64 = 10_000;

/// What is to be read of the log for these gaps, as far as it is committed.
fn joined(gaps: &[(i64, i64)], commit: i64) -> Vec<(i64, i64)> {
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in gaps.iter().map(|(from, to)| (*from, *to.min(&commit))) {
        match joined.last_mut() {
            _ if from >= to => {}
            Some((_, end)) if from - *end < NEAR => *end = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

fn compare(
    inspector: &Inspector,
    topic: &str,
    partition: i32,
    committed: Option<i64>,
    stored: &Stored,
    dead: &BTreeMap<i32, Ranges>,
) -> Result<PartitionReport> {
    let (low, high) = inspector.ends(topic, partition)?;
    let (_, readable) = inspector.watermarks(topic, partition)?;
    let in_zone = stored.offsets.get(&partition).cloned().unwrap_or_default();
    let in_dead = dead.get(&partition).cloned().unwrap_or_default();
    let mut handled = in_zone.clone();
    for (from, to) in in_dead.iter() {
        handled.insert(from, to);
    }
    // Offsets that no record has ever had a chance to be handled at: before the log and before
    // anything that was stored.
    let start = handled.iter().next().map_or(low, |(from, _)| from.min(low));
    let commit = committed.unwrap_or(start);
    let mut report = PartitionReport {
        partition,
        low_watermark: low,
        high_watermark: high,
        committed,
        stored: in_zone.count(),
        dead_letters: in_dead.count(),
        duplicates: planted::told_duplicates(
            stored.duplicates.get(&partition).copied().unwrap_or_default(),
        ),
        durable: high,
        waiting: (high - commit.max(low)).max(0),
        behind_open_transaction: (high - readable).max(0),
        gone_unread: gone_unread(committed, low, &handled),
        ..PartitionReport::default()
    };
    if committed.is_none() && high > low {
        // Marks of transactions and aborted records are nothing that a group could have committed.
        inspector.read(topic, partition, low, high, |_| {
            report.holds_records = true;
            false
        })?;
    }
    for sample in stored.samples.get(&partition).map(|s| s.chosen(low)).unwrap_or_default() {
        let mut differs = sample.offset >= high;
        inspector.read(topic, partition, sample.offset, sample.offset + 1, |message| {
            differs = Sample::of_log(message) != *sample;
            false
        })?;
        if differs {
            report.of_another_log.push(sample.offset);
        }
    }
    if let Some((_, end)) = in_zone.iter().last().filter(|(_, end)| *end > high) {
        report.of_another_log.push(end - 1);
    }
    let gaps = handled.gaps(start, high);
    // A question takes some tens of milliseconds, and a topic of transactions has a gap behind each of them:
    // gaps that lie close together are read in one.
    let mut lost_all = Ranges::default();
    for (from, to) in joined(&gaps, commit) {
        inspector.read(topic, partition, from, to, |message| {
            let offset = message.offset();
            if !handled.contains(offset) {
                lost_all.insert(offset, offset + 1);
            }
            true
        })?;
    }
    for (from, to) in gaps {
        let mut lost = Ranges::default();
        for (from, to) in lost_all.within(from, to) {
            lost.insert(from, to);
        }
        let below_commit = (to.min(commit) - from).max(0) as u64;
        let gone = (to.min(low).min(commit) - from).max(0) as u64;
        report.lost += lost.count();
        report.unknown += gone;
        report.without_record += below_commit - gone - lost.count();
        for (from, to) in lost.iter() {
            report.durable = report.durable.min(from);
            if report.lost_at.len() < NAMED_MAX {
                report.lost_at.push(Span { from, to });
            }
        }
        if to > commit {
            report.durable = report.durable.min(from.max(commit));
        }
    }
    Ok(report)
}

/// Offsets that the group had not read when the log let go of them, and that nobody stored before.
fn gone_unread(committed: Option<i64>, low: i64, handled: &Ranges) -> u64 {
    let Some(commit) = committed.filter(|commit| *commit < low) else { return 0 };
    let held: i64 = handled.within(commit, low).iter().map(|(from, to)| to - from).sum();
    (low - commit - held).max(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_retention_took_before_it_was_read_is_counted() {
        let mut handled = Ranges::default();
        handled.insert(0, 55);
        assert_eq!(gone_unread(Some(50), 120, &handled), 65);
        assert_eq!(gone_unread(Some(120), 120, &handled), 0);
        assert_eq!(gone_unread(None, 120, &handled), 0);
        let report = PartitionReport {
            low_watermark: 120,
            high_watermark: 150,
            committed: Some(50),
            gone_unread: 65,
            ..Default::default()
        };
        let told = problems(&[report], &PartsReport::default(), "g", false).join("; ");
        assert!(told.contains("65 offsets from the commit on were deleted before"), "{told}");
    }

    #[test]
    fn samples_are_few_and_reach_from_the_first_to_the_last() {
        let mut samples = Samples::default();
        let sample = |offset| Sample { offset, timestamp_ms: None, key: None, value: None };
        assert!(samples.chosen(0).is_empty());
        samples.take(sample(7));
        assert_eq!(samples.chosen(0), [&sample(7)]);
        for offset in 8..5_000 {
            samples.take(sample(offset));
        }
        assert!(samples.kept.len() <= Samples::MAX);
        let chosen = samples.chosen(0);
        assert_eq!((chosen.len(), chosen[0].offset), (COMPARED, 7));
        assert!(chosen[COMPARED - 1].offset > 4_500, "{chosen:?}");
        assert!(samples.chosen(1_000).iter().all(|at| at.offset >= 1_000));
        assert!(samples.chosen(6_000).is_empty());
    }

    #[test]
    fn gaps_that_lie_close_together_are_read_in_one() {
        let gaps = [(3, 4), (10, 12), (50_000, 50_001), (50_002, 60_000), (70_001, 70_002)];
        assert_eq!(joined(&gaps, 100_000), [(3, 12), (50_000, 60_000), (70_001, 70_002)]);
        assert_eq!(joined(&gaps, 11), [(3, 11)]);
        assert_eq!(joined(&gaps, 3), []);
    }

    #[test]
    fn what_cannot_be_told_is_not_clean() {
        let good =
            || PartitionReport { high_watermark: 5, committed: Some(5), ..Default::default() };
        let judge = |partition: PartitionReport, parts: PartsReport| {
            problems(&[partition], &parts, "g", false).join("; ")
        };
        assert_eq!(judge(good(), PartsReport::default()), "");
        for (partition, word) in [
            (PartitionReport { lost: 2, ..good() }, "nowhere"),
            (PartitionReport { unknown: 2, ..good() }, "no longer tells"),
            (PartitionReport { committed: None, holds_records: true, ..good() }, "has no commit"),
            (PartitionReport { committed: Some(500), ..good() }, "beyond the end 5"),
            (PartitionReport { of_another_log: vec![3], ..good() }, "made again"),
        ] {
            assert!(judge(partition, PartsReport::default()).contains(word), "{word}");
        }
        let damaged = PartsReport { damaged: vec!["p".into()], ..Default::default() };
        assert!(judge(good(), damaged).contains("damaged"));
        let holes = PartitionReport { without_record: 3, ..good() };
        assert_eq!(judge(holes.clone(), PartsReport::default()), "", "marks of transactions");
        let compacted = problems(&[holes], &PartsReport::default(), "g", true);
        assert!(compacted[0].contains("compacted"), "{compacted:?}");
        // An empty topic has nothing to commit.
        assert_eq!(judge(PartitionReport::default(), PartsReport::default()), "");
    }
}
