//! Facts of change data capture: what a source database committed, what of it arrived in a topic,
//! and how far the capture itself says that it has come.
//!
//! The two sides meet in the write-ahead log: the database names each change by its position there
//! (LSN), and each change event carries the position that it was read from.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::row::RowImage;

/// What was promised for a source database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePromise {
    /// Table, `public.orders` → topic of its change events.
    pub tables: BTreeMap<String, String>,
    /// Transactions that the workload was to commit.
    pub transactions: u64,
    /// Row changes in them.
    pub changes: u64,
    /// Name of the connector.
    pub connector: String,
    /// Name of its replication slot.
    pub slot: String,
    /// Topic in which the connector's offsets are kept.
    pub offsets_topic: String,
    /// Columns that each event tells in whole; none in histories of version 1, which know a row by
    /// its `revision` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The tables have `REPLICA IDENTITY FULL`: events tell the whole row as it was before. Otherwise
    /// only its key is promised.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub before_images: bool,
    /// The connector was told to write no tombstones after deletes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_tombstones: bool,
    /// The connector writes in transactions: a reader of committed records meets each event once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exactly_once: bool,
}

/// A position in the database's write-ahead log, written as PostgreSQL does: `0/1949D28`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOperation {
    /// It was inserted.
    Insert,
    /// It was updated.
    Update,
    /// It was deleted.
    Delete,
    /// It stood in the table when the connector read all of it.
    Read,
    /// The empty record that follows a delete, for compaction.
    Tombstone,
}

/// A transaction as the workload's own connection saw it; told when its outcome was known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceTransaction {
    /// Number within the run, from 0; a transaction that is tried again has a new one.
    pub number: u64,
    /// The database's id of it, if it came so far.
    pub transaction: Option<u64>,
    /// When its first statement was sent.
    pub begun_us: u64,
    /// Row changes in it.
    pub changes: u32,
    /// How it ended.
    pub outcome: TransactionOutcome,
    /// Why it did not commit, or how an outcome that was not told became known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionOutcome {
    /// The database said that it is committed.
    Committed,
    /// It never was.
    RolledBack,
    /// Nobody can say.
    Unknown,
}

/// A row change that the source database committed, from its own log; told at the final read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceChange {
    /// Its place in the order of commits, from 0.
    pub change: u64,
    /// Schema and table.
    pub table: String,
    /// The row's key as JSON, `{"id":7}`.
    pub key: String,
    /// What happened to the row.
    pub operation: RowOperation,
    /// Column `revision` of the row afterwards: the workload's own number of the change.
    pub revision: Option<u64>,
    /// The database's id of the transaction.
    pub transaction: u64,
    /// Where the change stands in the log.
    pub lsn: Lsn,
    /// When the database committed it, by its own clock.
    pub committed_us: u64,
    /// Where the transaction's commit ends in the log: a sender that begins there or later leaves the
    /// transaction out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_lsn: Option<Lsn>,
    /// The row as it was before, as far as the database logs it: all of it with
    /// `REPLICA IDENTITY FULL`, else its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RowImage>,
    /// The row as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RowImage>,
    /// Columns that the database did not log anew, because they are stored apart from the row and were
    /// left alone: an event may leave them out. `after` has their value where `before` tells it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<String>,
}

/// The database's log was read to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRead {
    /// Changes found in it.
    pub changes: u64,
    /// Where it ended.
    pub end: Lsn,
    /// Starts of senders that were found in the database's record of them ([`CaptureStart`]); none
    /// if nobody read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<u64>,
}

/// The database began to send its log to a slot's reader, by its own record of it: a task of the
/// connector started, or went back. What is captured again is captured from one of these on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureStart {
    /// Name of the slot.
    pub slot: String,
    /// Process of the database that sends the log.
    pub pid: u32,
    /// When, by the database's clock.
    pub at_us: u64,
    /// The position that the reader asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Lsn>,
    /// Transactions whose commit ends after this position are sent.
    pub from: Lsn,
}

/// A record in a topic of change events at the final read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeEvent {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// When the broker appended it.
    pub at_us: u64,
    /// Schema and table that it names.
    pub table: String,
    /// The row's key as JSON.
    pub key: String,
    /// What it says happened to the row.
    pub operation: RowOperation,
    /// Column `revision` of the row afterwards.
    pub revision: Option<u64>,
    /// Where it says that it was read from.
    pub lsn: Option<Lsn>,
    /// The transaction that it names.
    pub transaction: Option<u64>,
    /// It comes from reading the table, not the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
    /// Why it could not be understood, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When it says that the database committed the change, by the database's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_us: Option<u64>,
    /// The row as it says that it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RowImage>,
    /// The row as it says that it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RowImage>,
    /// It came without a schema, so its values may be spelled otherwise than the database's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untyped: bool,
    /// `at_us` is the producer's time, not the broker's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub producer_time: bool,
}

/// An offset that the connector's worker had made durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetFlush {
    /// The connector that it belongs to.
    pub connector: String,
    /// Offset of this record in the topic of offsets.
    pub offset: u64,
    /// When it was written.
    pub at_us: u64,
    /// The last change that is done with; none where the record says nothing of it.
    pub lsn: Option<Lsn>,
    /// The table was still being read as a whole: a new start reads it again from its beginning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
}

/// A replication slot as the database shows it. Only changes are recorded, and the first and last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotState {
    /// Name of the slot.
    pub slot: String,
    /// Why nothing can be said of it: the database does not answer, or there is no such slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
    /// Process of the database that sends the log to the connector, while one does.
    pub active_pid: Option<u32>,
    /// What the connector has confirmed: the database keeps nothing before it for the slot.
    pub confirmed: Option<Lsn>,
    /// Longest time between two looks since the fact before this one, this look included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen_us: Option<u64>,
}

impl SlotState {
    /// What [`SlotState::absent`] says of a slot that the database does not have.
    pub const GONE: &'static str = "there is no such slot";

    /// The database answered that it has no such slot.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.absent.as_deref() == Some(Self::GONE)
    }
}

/// A connector as its worker shows it. Only changes are recorded, and the first and last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorState {
    /// Name of the connector.
    pub connector: String,
    /// `RUNNING`, `UNASSIGNED`, …; `unreachable` where the worker does not answer.
    pub state: String,
    /// The worker that runs it.
    pub worker: String,
    /// Its tasks.
    pub tasks: Vec<TaskState>,
    /// Longest time between two looks since the fact before this one, this look included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen_us: Option<u64>,
}

/// A task of a connector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskState {
    /// Its number.
    pub task: u32,
    /// `RUNNING`, `FAILED`, …
    pub state: String,
    /// The worker that runs it.
    pub worker: String,
    /// First line of its error, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

impl ConnectorState {
    /// The connector and at least one task run, and none has failed.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.state == "RUNNING"
            && !self.tasks.is_empty()
            && self.tasks.iter().all(|task| task.state == "RUNNING")
    }
}

impl fmt::Display for ConnectorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.state)?;
        if !self.worker.is_empty() {
            write!(f, " on {}", self.worker)?;
        }
        for task in &self.tasks {
            write!(f, ", task {} {} on {}", task.task, task.state, task.worker)?;
        }
        Ok(())
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let half = |digits: &str| u32::from_str_radix(digits, 16).ok().map(u64::from);
        let parsed = text.split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?)));
        let (high, low) = parsed.ok_or_else(|| format!("{text:?} is no position in the log"))?;
        Ok(Self(high << 32 | low))
    }
}

impl Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn positions_are_written_as_the_database_writes_them() {
        let lsn: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!(lsn, Lsn(0x0016_B374_D848));
        assert_eq!(lsn.to_string(), "16/B374D848");
        assert_eq!(serde_json::to_string(&lsn).unwrap(), "\"16/B374D848\"");
        assert!("16B374D848".parse::<Lsn>().is_err() && "1/2/3".parse::<Lsn>().is_err());
    }
}
