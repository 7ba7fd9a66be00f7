//! Health, judged by progress: a process is healthy while its polling threads turn and every
//! partition that has work to do gets on with it.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a polling thread may be silent. It reports every second.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Progress {
    /// The offset after the last record read.
    pub position: Option<i64>,
    /// The commit frontier: everything below is durable.
    pub durable: Option<i64>,
    /// What the broker confirmed.
    pub committed: Option<i64>,
    /// The end of the partition, as last seen.
    pub high_watermark: Option<i64>,
}

impl Progress {
    /// Whether there are records that are not durable.
    pub fn has_work(&self) -> bool {
        let known = [self.position, self.high_watermark].into_iter().flatten().max();
        known.is_some_and(|end| end > self.durable.unwrap_or(0))
    }

    /// Records between the frontier and the end of the partition.
    pub fn lag(&self) -> Option<i64> {
        Some((self.high_watermark? - self.durable?).max(0))
    }
}

#[derive(Debug)]
struct Entry {
    progress: Progress,
    /// Which consumer of the topic has it.
    member: usize,
    /// Since when there is work and the frontier stands still.
    standing_since: Option<Instant>,
}

/// What all consumers of a process report.
#[derive(Debug, Default)]
pub struct Board {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By topic and member.
    heard: BTreeMap<(String, usize), Instant>,
    partitions: BTreeMap<(String, i32), Entry>,
    stall_after: BTreeMap<String, Duration>,
}

/// What `/healthz` answers.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether all is well.
    pub healthy: bool,
    /// What is not.
    pub problems: Vec<String>,
    /// Each partition, as `topic/partition`.
    pub partitions: BTreeMap<String, Progress>,
}

impl Board {
    /// The report of one of a topic's consumers: the state of all its partitions, those that it no
    /// longer has left out.
    pub fn report(
        &self,
        (topic, member): (&str, usize),
        stall_after: Duration,
        now: Instant,
        found: &[(i32, Progress)],
    ) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.heard.insert((topic.to_owned(), member), now);
        inner.stall_after.insert(topic.to_owned(), stall_after);
        let mut before = std::mem::take(&mut inner.partitions);
        before.retain(|(of, partition), entry| {
            let ours = of == topic && entry.member == member;
            !ours || found.iter().any(|(number, _)| number == partition)
        });
        for (number, progress) in found {
            let key = (topic.to_owned(), *number);
            let old = before.get(&key);
            let moved = old.is_none_or(|old| old.progress.durable != progress.durable);
            let standing_since = match (progress.has_work(), moved) {
                (false, _) => None,
                (true, true) => Some(now),
                (true, false) => old.and_then(|old| old.standing_since).or(Some(now)),
            };
            before.insert(key, Entry { progress: *progress, member, standing_since });
        }
        inner.partitions = before;
    }

    /// One of a topic's consumers has ended in order.
    pub fn forget(&self, (topic, member): (&str, usize)) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.heard.remove(&(topic.to_owned(), member));
        inner.partitions.retain(|(of, _), entry| of != topic || entry.member != member);
    }

    /// The judgement.
    pub fn health(&self, now: Instant) -> Health {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut problems = Vec::new();
        for ((topic, member), heard) in &inner.heard {
            let silent = now.duration_since(*heard);
            if silent > SILENT_MAX {
                problems.push(format!(
                    "{topic}: the polling thread of member {member} is silent for {silent:.0?}"
                ));
            }
        }
        let mut partitions = BTreeMap::new();
        for ((topic, number), entry) in &inner.partitions {
            let limit = inner.stall_after.get(topic).copied().unwrap_or(Duration::MAX);
            let standing = entry.standing_since.map(|since| now.duration_since(since));
            if let Some(standing) = standing.filter(|standing| *standing > limit) {
                problems.push(format!("{topic}/{number}: no progress for {standing:.0?}"));
            }
            partitions.insert(format!("{topic}/{number}"), entry.progress);
        }
        Health { healthy: problems.is_empty(), problems, partitions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(durable: i64, high: i64) -> Progress {
        Progress {
            position: Some(durable),
            durable: Some(durable),
            committed: None,
            high_watermark: Some(high),
        }
    }

    #[test]
    fn a_partition_that_stands_still_with_work_to_do_is_unhealthy() {
        let (board, start) = (Board::default(), Instant::now());
        let limit = Duration::from_secs(5);
        let second = |n| start + Duration::from_secs(n);
        board.report(("t", 0), limit, start, &[(0, at(10, 10)), (1, at(4, 9))]);
        assert!(board.health(second(1)).healthy);
        board.report(("t", 0), limit, second(6), &[(0, at(10, 10)), (1, at(4, 9))]);
        let health = board.health(second(6));
        assert_eq!(health.problems.len(), 1, "{health:?}");
        // Work that has only just come in is no stall, however long the partition was idle.
        board.report(("t", 0), limit, second(7), &[(0, at(10, 20)), (1, at(9, 9))]);
        assert!(board.health(second(8)).healthy);
        // A partition that was given up is nobody's problem here.
        board.report(("t", 0), limit, second(20), &[(1, at(9, 9))]);
        assert!(board.health(second(21)).healthy);
        // Nor is it, when another consumer of this process has it now.
        board.report(("t", 1), limit, second(21), &[(0, at(20, 20))]);
        board.report(("t", 0), limit, second(22), &[(1, at(9, 9))]);
        assert_eq!(board.health(second(22)).partitions.len(), 2);
        board.forget(("t", 1));
        assert_eq!(board.health(second(22)).partitions.len(), 1);
        assert!(!board.health(second(60)).healthy, "the thread is silent");
    }
}
