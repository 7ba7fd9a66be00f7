//! Bugs put in on purpose, so that the harness can show that it finds them.
//!
//! They exist only in a build with the feature `planted-bugs`. Without it [`is`] is a constant
//! `false`, the compiler removes the branches, and no variable can bring one back. With it, the
//! variable `STREAMLAKE_PLANTED_BUG` names one of [`Bug::ALL`] for the life of the process.

use crate::dead_letter::{DeadLetter, DeadLetterWriter, Source};
use crate::error::Result;
use crate::producer::delivery::{Delivery, Done, RawProducer, RawRecord};
use crate::raw_zone::buffer::SealedPart;
use crate::raw_zone::part;
use crate::raw_zone::store::Retry;
use crate::raw_zone::writer::{PartWriter, Written};
use crate::record::Invalid;
use std::sync::Arc;
use uuid::Uuid;

/// One bug on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Offsets are committed as soon as the records are read, before they are stored.
    CommitBeforeWrite,
    /// The client commits by itself what it has handed out, every 100 ms.
    AutoCommit,
    /// The last offset handled is committed, not the next one to read: one record is read twice.
    CommitLastOffset,
    /// One more than the next offset is committed: one record is never read.
    CommitOneTooFar,
    /// The newest part that was stored is committed, whatever is still on its way before it.
    CommitNewestCompletion,
    /// What was stored and not committed when its partition was taken away is committed all the same,
    /// as soon as the member belongs to the group again.
    CommitAfterRevoke,
    /// A partition that was given up is still looked after as if it were assigned.
    StaleAssignment,
    /// A part that the store refuses is given up and counted as stored.
    DropOnStoreError,
    /// A part that the store refuses once goes to the dead-letter topic record by record.
    DeadLetterOnTransientError,
    /// A record counts as handled when its dead letter is sent, not when it is acknowledged.
    CommitBeforeDeadLetterAck,
    /// The payload of a dead letter is decoded and encoded again.
    DeadLetterReencoded,
    /// The last header of each record is not stored.
    HeaderLost,
    /// Payloads are parsed and written anew.
    ValueReserialized,
    /// Parts are written without a condition, from number 1 in each process.
    PartOverwritten,
    /// A part is cut to its half after it was stored.
    PartTruncated,
    /// Each third part is left out of the metadata.
    MetadataMissingPart,
    /// What is still open at a signal is dropped, and committed.
    TailForgotten,
    /// Records are stored under the day after their own.
    DateOffByOne,
    /// The producer uses librdkafka's own partitioner, a CRC-32.
    WrongPartitioner,
    /// A record that was not acknowledged is sent once more, into any partition.
    RandomPartitionForRetries,
    /// The producer is content with the leader's answer.
    AcksOne,
    /// The producer retries without idempotence and with many requests in flight.
    ReorderedRetries,
    /// A record that failed is reported as acknowledged.
    ErrorSwallowed,
    /// An outcome that is not known is reported as failed.
    UnknownAsFailed,
    /// One record in ten thousand is neither stored nor reported.
    RecordSkipped,
    /// A replay starts one record after the one that was asked for.
    ReplayOffByOne,
}

impl Bug {
    /// Every bug with the name that selects it.
    pub const ALL: &'static [(&'static str, Bug)] = &[
        ("commit-before-write", Bug::CommitBeforeWrite),
        ("auto-commit", Bug::AutoCommit),
        ("commit-last-offset", Bug::CommitLastOffset),
        ("commit-one-too-far", Bug::CommitOneTooFar),
        ("commit-newest-completion", Bug::CommitNewestCompletion),
        ("commit-after-revoke", Bug::CommitAfterRevoke),
        ("stale-assignment", Bug::StaleAssignment),
        ("drop-on-store-error", Bug::DropOnStoreError),
        ("dead-letter-on-transient-error", Bug::DeadLetterOnTransientError),
        ("commit-before-dead-letter-ack", Bug::CommitBeforeDeadLetterAck),
        ("dead-letter-reencoded", Bug::DeadLetterReencoded),
        ("header-lost", Bug::HeaderLost),
        ("value-reserialized", Bug::ValueReserialized),
        ("part-overwritten", Bug::PartOverwritten),
        ("part-truncated", Bug::PartTruncated),
        ("metadata-missing-part", Bug::MetadataMissingPart),
        ("tail-forgotten", Bug::TailForgotten),
        ("date-off-by-one", Bug::DateOffByOne),
        ("wrong-partitioner", Bug::WrongPartitioner),
        ("random-partition-for-retries", Bug::RandomPartitionForRetries),
        ("acks-one", Bug::AcksOne),
        ("reordered-retries", Bug::ReorderedRetries),
        ("error-swallowed", Bug::ErrorSwallowed),
        ("unknown-as-failed", Bug::UnknownAsFailed),
        ("record-skipped", Bug::RecordSkipped),
        ("replay-off-by-one", Bug::ReplayOffByOne),
    ];
}

/// Whether this process runs with `bug`.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub(crate) const fn is(_bug: Bug) -> bool {
    false
}

/// Whether this process runs with `bug`.
#[cfg(feature = "planted-bugs")]
pub(crate) fn is(bug: Bug) -> bool {
    selected() == Some(bug)
}

/// The bug that `STREAMLAKE_PLANTED_BUG` names. An unknown name ends the process: a run that was to
/// show a bug and shows none would be read as a checker that missed it.
#[cfg(feature = "planted-bugs")]
fn selected() -> Option<Bug> {
    static SELECTED: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *SELECTED.get_or_init(|| {
        let name = std::env::var("STREAMLAKE_PLANTED_BUG").ok()?;
        let found = Bug::ALL.iter().find(|(known, _)| *known == name);
        let Some((_, bug)) = found else {
            let names: Vec<_> = Bug::ALL.iter().map(|(known, _)| *known).collect();
            panic!("STREAMLAKE_PLANTED_BUG={name} is none of {names:?}");
        };
        tracing::warn!(bug = name, "this process misbehaves on purpose");
        Some(*bug)
    })
}

/// The names of all bugs that this build can show; empty in a build without the feature.
pub fn names() -> Vec<&'static str> {
    if cfg!(feature = "planted-bugs") {
        Bug::ALL.iter().map(|(name, _)| *name).collect()
    } else {
        Vec::new()
    }
}

/// A payload parsed and written anew, for the bugs that do so; `None` in every other case.
pub(crate) fn rewrite(bug: Bug, payload: Option<&[u8]>) -> Option<Vec<u8>> {
    if !is(bug) {
        return None;
    }
    let bytes = payload?;
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(value) => serde_json::to_vec(&value).ok(),
        Err(_) => Some(String::from_utf8_lossy(bytes).into_owned().into_bytes()),
    }
}

/// Partitions that a retry of the bug below is spread over; the topic must have as many.
const RETRY_PARTITIONS: u128 = 3;

/// What is to be called with a record's outcome, with the bug that sends a record which was not
/// acknowledged once more without asking its key where.
pub(crate) fn retry_anywhere(raw: &Arc<RawProducer>, record: &RawRecord<'_>, done: Done) -> Done {
    if !is(Bug::RandomPartitionForRetries) {
        return done;
    }
    let (raw, runtime) = (Arc::clone(raw), tokio::runtime::Handle::current());
    let (topic, headers) = (record.topic.to_owned(), record.headers.clone());
    let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
    Box::new(move |delivery| {
        if let Delivery::Acknowledged { .. } = delivery {
            return done(delivery);
        }
        runtime.spawn(async move {
            let partition = i32::try_from(Uuid::new_v4().as_u128() % RETRY_PARTITIONS).ok();
            let (key, value) = (key.as_deref(), value.as_deref());
            raw.send(RawRecord { topic: &topic, partition, key, value, headers }, done).await;
        });
    })
}

/// Storing a part, with the two bugs that lose patience with a store that fails.
pub(crate) async fn store(
    dead_letters: &DeadLetterWriter,
    writer: &PartWriter,
    part: &SealedPart,
    patient: impl Future<Output = Result<Written>>,
) -> Result<Written> {
    if !is(Bug::DropOnStoreError) && !is(Bug::DeadLetterOnTransientError) {
        return patient.await;
    }
    let first_failure = tokio::sync::Notify::new();
    let note = |_: &Retry<'_>| first_failure.notify_one();
    tokio::select! {
        outcome = writer.write(part, note) => return outcome,
        () = first_failure.notified() => {}
    }
    if is(Bug::DeadLetterOnTransientError) {
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
            let letter = DeadLetter::of_record(source, key, value, record.headers.clone(), &why);
            dead_letters.write(&letter, |_, _| {}).await?;
        }
    }
    Ok(Written { path: "nowhere".into(), attempts: 1, collisions: 0, took: Default::default() })
}
