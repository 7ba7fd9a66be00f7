//! What happened when, small enough to draw: counts and latencies in at most
//! [`BUCKETS_MAX`] equal stretches of time, however long the run was.
//!
//! One pass, no sorting. The stretches start fine and double whenever the run outgrows them, and
//! everything in them is combined by sums and maxima: the same facts give the same timeline in
//! whatever order processes interleave. Memory grows with partitions, objects and operations in
//! flight, not with records.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use streamlake_history::event::{
    Committed, Completed, Event, Fact, Header, Outcome, RowOperation, TransactionOutcome,
};

/// Most stretches of time that a timeline has.
pub const BUCKETS_MAX: usize = 400;
/// Length of a stretch in a short run.
const BUCKET_US_MIN: u64 = 10_000;

/// Counts and latencies over the time of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// Length of one stretch in microseconds; the first begins at microsecond zero.
    pub bucket_us: u64,
    /// Number of stretches.
    pub buckets: u64,
    /// Counts, each as its total at the end of every stretch.
    pub series: Vec<Series>,
    /// Latency of the operations invoked in a stretch and acknowledged at some time.
    pub latency: Vec<Option<Latency>>,
}

/// One count over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What is counted.
    pub kind: SeriesKind,
    /// The consumer group, where it is one's count.
    pub group: Option<String>,
    /// Total at the end of each stretch.
    pub totals: Vec<u64>,
}

/// What a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesKind {
    /// Operations acknowledged, at the instant at which the receipt came.
    Acknowledged,
    /// Operations failed or left unknown, at the instant at which the producer said so.
    Unresolved,
    /// Log records by their Kafka timestamp.
    Logged,
    /// Records in parts, copies included, at the instant at which the store created the part.
    Stored,
    /// Records that a member without a raw zone received, copies included.
    Read,
    /// Records below the committed offsets, counted from where the run's records begin.
    Committed,
}

/// Latency from invocation to acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Middle, up to 11 % too low, microseconds.
    pub median_us: u64,
    /// Greatest, microseconds.
    pub max_us: u64,
    /// Operations.
    pub operations: u64,
}

/// Whose count it is; [`SeriesKind`] and group, numbered so that a stretch stays small.
type SeriesNumber = u32;
/// Group, topic and partition of a committed offset, numbered.
type CommitNumber = u32;

#[derive(Debug, Clone, Default)]
struct Bucket {
    counts: BTreeMap<SeriesNumber, u64>,
    /// The last commit seen in the stretch: instant, offset.
    commits: BTreeMap<CommitNumber, (u64, u64)>,
    latency: Histogram,
}

impl Bucket {
    fn merge(&mut self, other: Self) {
        for (series, count) in other.counts {
            *self.counts.entry(series).or_default() += count;
        }
        for (commit, last) in other.commits {
            let known = self.commits.entry(commit).or_insert(last);
            *known = (*known).max(last);
        }
        self.latency.merge(other.latency);
    }
}

/// The end of an operation that the pass came to first.
#[derive(Debug, Clone, Copy)]
enum HalfOperation {
    Invoked(u64),
    Acknowledged(u64),
    Unresolved,
}

/// Collects a [`Timeline`] from facts.
#[derive(Debug)]
pub struct TimelineBuilder {
    bucket_us: u64,
    buckets: Vec<Bucket>,
    series: BTreeMap<(SeriesKind, Option<String>), SeriesNumber>,
    commits: BTreeMap<(String, String, u32), CommitNumber>,
    /// First acknowledged offset of a partition: where this run's records begin.
    first_acknowledged: BTreeMap<(String, u32), u64>,
    low: BTreeMap<(String, u32), u64>,
    half: HashMap<u64, HalfOperation>,
    objects: HashMap<String, HashMap<u32, (SeriesNumber, u64)>>,
    groups_of_zones: BTreeMap<String, String>,
    topics: Vec<String>,
    started_us_since_epoch: Option<i64>,
}

impl TimelineBuilder {
    /// For the history that opens with this header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let zones = header.promises.groups.iter();
        let started = chrono::DateTime::parse_from_rfc3339(&header.run.started_at);
        Self {
            bucket_us: BUCKET_US_MIN,
            buckets: Vec::new(),
            series: BTreeMap::new(),
            commits: BTreeMap::new(),
            first_acknowledged: BTreeMap::new(),
            low: BTreeMap::new(),
            half: HashMap::new(),
            objects: HashMap::new(),
            groups_of_zones: zones
                .filter_map(|group| Some((group.raw_zone.clone()?, group.group.clone())))
                .collect(),
            topics: header.promises.topics.keys().cloned().collect(),
            started_us_since_epoch: started.ok().map(|instant| instant.timestamp_micros()),
        }
    }

    /// Sees the next fact.
    pub fn observe(&mut self, event: &Event) {
        match &event.fact {
            Fact::Invoked(invoked) => {
                self.pair(invoked.op, HalfOperation::Invoked(event.t_us));
            }
            Fact::Completed(completed) => self.completed(event.t_us, completed),
            Fact::Logged(logged) => {
                let at_us = logged.timestamp_ms.and_then(|at| self.since_start(at));
                if let Some(at_us) = at_us {
                    self.count(at_us, SeriesKind::Logged, None);
                }
            }
            // What the database acknowledged, and what of it came into the topic.
            Fact::SourceTransaction(told) if told.outcome == TransactionOutcome::Committed => {
                for _ in 0..told.changes {
                    self.count(event.t_us, SeriesKind::Acknowledged, None);
                }
            }
            Fact::ChangeEvent(change) if change.operation != RowOperation::Tombstone => {
                self.count(change.at_us, SeriesKind::Logged, None);
            }
            Fact::LogBounds(bounds) => {
                self.low.insert((bounds.topic.clone(), bounds.partition), bounds.low);
            }
            Fact::Committed(committed) => self.committed(committed),
            Fact::Read(read) => self.count(event.t_us, SeriesKind::Read, Some(&read.group)),
            Fact::Object(object) if !object.during_run => {
                let zone = &object.raw_zone;
                let group = self.groups_of_zones.get(zone).unwrap_or(zone).clone();
                let series = self.number(SeriesKind::Stored, Some(&group));
                let objects = self.objects.entry(event.process.clone()).or_default();
                objects.insert(object.object, (series, object.created_us));
            }
            Fact::Stored(stored) => {
                let objects = self.objects.get(&event.process);
                if let Some(&(series, at)) = objects.and_then(|known| known.get(&stored.object)) {
                    *self.bucket(at).counts.entry(series).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    fn completed(&mut self, at_us: u64, completed: &Completed) {
        match &completed.outcome {
            Outcome::Acknowledged { topic, partition, offset } => {
                self.count(at_us, SeriesKind::Acknowledged, None);
                let first = self.first_acknowledged.entry((topic.clone(), *partition));
                let first = first.or_insert(*offset);
                *first = (*first).min(*offset);
                self.pair(completed.op, HalfOperation::Acknowledged(at_us));
            }
            Outcome::Failed { .. } | Outcome::Unknown { .. } => {
                self.count(at_us, SeriesKind::Unresolved, None);
                self.pair(completed.op, HalfOperation::Unresolved);
            }
            Outcome::Rejected { .. } => self.pair(completed.op, HalfOperation::Unresolved),
        }
    }

    /// Brings the two ends of an operation together, whichever comes first.
    fn pair(&mut self, op: u64, end: HalfOperation) {
        let Some(other) = self.half.remove(&op) else {
            self.half.insert(op, end);
            return;
        };
        match (end, other) {
            (HalfOperation::Invoked(from), HalfOperation::Acknowledged(to))
            | (HalfOperation::Acknowledged(to), HalfOperation::Invoked(from)) => {
                self.bucket(from).latency.add(to.saturating_sub(from));
            }
            _ => {}
        }
    }

    fn committed(&mut self, committed: &Committed) {
        if !self.topics.is_empty() && !self.topics.contains(&committed.topic) {
            return;
        }
        let next = self.commits.len() as CommitNumber;
        let key = (committed.group.clone(), committed.topic.clone(), committed.partition);
        let number = *self.commits.entry(key).or_insert(next);
        let last = (committed.at_us, committed.offset);
        let known = self.bucket(committed.at_us).commits.entry(number).or_insert(last);
        *known = (*known).max(last);
    }

    fn count(&mut self, at_us: u64, kind: SeriesKind, group: Option<&str>) {
        let series = self.number(kind, group);
        *self.bucket(at_us).counts.entry(series).or_default() += 1;
    }

    fn number(&mut self, kind: SeriesKind, group: Option<&str>) -> SeriesNumber {
        let next = self.series.len() as SeriesNumber;
        *self.series.entry((kind, group.map(str::to_owned))).or_insert(next)
    }

    fn since_start(&self, timestamp_ms: i64) -> Option<u64> {
        let since = timestamp_ms.checked_mul(1_000)?.checked_sub(self.started_us_since_epoch?)?;
        // The log may hold records from before the run; they count from its start.
        Some(u64::try_from(since).unwrap_or(0))
    }

    /// The stretch that an instant lies in; doubles the stretches until there are few enough.
    fn bucket(&mut self, at_us: u64) -> &mut Bucket {
        while at_us / self.bucket_us >= BUCKETS_MAX as u64 {
            self.bucket_us *= 2;
            let mut fine = std::mem::take(&mut self.buckets).into_iter();
            while let Some(mut first) = fine.next() {
                if let Some(second) = fine.next() {
                    first.merge(second);
                }
                self.buckets.push(first);
            }
        }
        let index = (at_us / self.bucket_us) as usize;
        if self.buckets.len() <= index {
            self.buckets.resize_with(index + 1, Bucket::default);
        }
        &mut self.buckets[index]
    }

    /// The timeline of all facts seen.
    #[must_use]
    pub fn finish(self) -> Timeline {
        let mut series = self.counted();
        series.extend(self.commits_by_group());
        let latency = self.buckets.iter().map(|bucket| {
            let latency = &bucket.latency;
            (latency.total() > 0).then(|| Latency {
                median_us: latency.median(),
                max_us: latency.max(),
                operations: latency.total(),
            })
        });
        Timeline {
            bucket_us: self.bucket_us,
            buckets: self.buckets.len() as u64,
            latency: latency.collect(),
            series,
        }
    }

    fn counted(&self) -> Vec<Series> {
        let running = |number: &SeriesNumber| {
            self.buckets
                .iter()
                .scan(0, |total, bucket| {
                    *total += bucket.counts.get(number).copied().unwrap_or(0);
                    Some(*total)
                })
                .collect()
        };
        let series = self.series.iter().map(|((kind, group), number)| Series {
            kind: *kind,
            group: group.clone(),
            totals: running(number),
        });
        series.filter(|series| series.totals.last().is_some_and(|&total| total > 0)).collect()
    }

    fn commits_by_group(&self) -> Vec<Series> {
        let mut groups: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for ((group, topic, partition), number) in &self.commits {
            let place = (topic.clone(), *partition);
            let first = self.first_acknowledged.get(&place).or_else(|| self.low.get(&place));
            let first = first.copied().unwrap_or(0);
            let totals = groups.entry(group).or_insert_with(|| vec![0; self.buckets.len()]);
            let mut committed = 0;
            for (bucket, total) in self.buckets.iter().zip(totals) {
                if let Some((_, offset)) = bucket.commits.get(number) {
                    committed = offset.saturating_sub(first);
                }
                *total = total.saturating_add(committed);
            }
        }
        let series = groups.into_iter().map(|(group, totals)| Series {
            kind: SeriesKind::Committed,
            group: Some(group.to_owned()),
            totals,
        });
        series.collect()
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
