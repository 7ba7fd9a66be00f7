//! Health, judged by progress: a process is healthy while its polling threads turn, its members are in
//! contact and in their group, every partition that has work to do gets on with it, and commits come
//! through. Nothing to do is no illness: a position at the end of its partition has no work.

use crate::planted::{Bug, acts, acts_if};
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
    /// Where the records that may be read end (the last stable offset), as last seen.
    pub end: Option<i64>,
    /// The next offset that the client fetches: it passes offsets that hold no record.
    pub next: Option<i64>,
    /// The partition is fetched.
    pub begun: bool,
    /// Its fetches are answered now. If they are not, nobody knows whether there is something to read.
    pub answered: bool,
}

impl Progress {
    /// Whether there is something to be read, or records that are not durable.
    pub fn has_work(&self) -> bool {
        !self.begun || !self.answered || self.has_open() || self.end > self.reached()
    }

    /// How far all is done: the frontier, or, with nothing open, as far as the client has fetched.
    fn reached(&self) -> Option<i64> {
        if self.has_open() { self.durable } else { self.durable.max(self.next) }
    }

    /// Records read and not yet durable.
    fn has_open(&self) -> bool {
        self.position > self.durable
    }

    /// Whether something is durable and its commit has not come through.
    fn owes_commit(&self) -> bool {
        self.durable > self.committed
    }

    /// Offsets between the frontier and the end of the partition.
    pub fn lag(&self) -> Option<i64> {
        let unstored = acts_if(Bug::LagOfWhatIsRead, self.has_open());
        let reached = if unstored { self.position } else { self.reached() };
        Some((self.end_seen()? - reached?).max(0))
    }

    /// Where the partition ends as far as is known: what was read lies before it, however old the last answer is
    /// that told the end itself.
    pub fn end_seen(&self) -> Option<i64> {
        self.end.map(|end| end.max(self.position.unwrap_or(end)))
    }
}

/// How a member stands with its group and its brokers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// A connection to a broker is up.
    pub connected: bool,
    /// It belongs to its group; it may have no partition (a spare member).
    pub joined: bool,
    /// What it was refused, if it has no partitions because of it.
    pub refusal: Option<String>,
    /// It is on its way out.
    pub stopping: bool,
    /// What is known of why a partition stands still.
    pub reasons: BTreeMap<i32, String>,
}

#[derive(Debug)]
struct Entry {
    progress: Progress,
    /// Which consumer of the topic has it.
    member: usize,
    /// Since when there is work and neither frontier nor position move.
    standing_since: Option<Instant>,
    /// Since when something is durable and no commit comes through.
    uncommitted_since: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    heard: Instant,
    stall_after: Duration,
    standing: Standing,
    disconnected_since: Option<Instant>,
    outside_since: Option<Instant>,
    refused_since: Option<Instant>,
}

/// Whose report it is: several pipelines of a process may read one topic, each as a group of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reader {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
}

/// What all consumers of a process report.
#[derive(Debug, Default)]
pub struct Board {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Those whose object store has not answered yet: since when, and how long that may last.
    starting: BTreeMap<Reader, (Instant, Duration)>,
    /// By reader and member.
    members: BTreeMap<(Reader, usize), Member>,
    partitions: BTreeMap<(Reader, i32), Entry>,
}

impl Inner {
    /// A reader's topic, with the group where that is needed to tell one from another.
    fn name(&self, reader: &Reader) -> String {
        let Reader { topic, group } = reader;
        let all = self.members.keys().map(|(other, _)| other).chain(self.starting.keys());
        let shared = all.into_iter().any(|other| other.topic == *topic && other.group != *group);
        if shared { format!("{topic} (group {group})") } else { topic.clone() }
    }
}

/// What `/healthz` answers.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether all is well. If it is not, a restart may help.
    pub healthy: bool,
    /// Whether it takes part: in contact, in its group, not stopping. `/readyz` answers by this.
    pub ready: bool,
    /// What is not well.
    pub problems: Vec<String>,
    /// Each partition, as `topic/partition`.
    pub partitions: BTreeMap<String, Progress>,
}

/// Since when something holds without a break.
fn since(holds: bool, before: Option<Instant>, now: Instant) -> Option<Instant> {
    holds.then(|| before.unwrap_or(now))
}

impl Board {
    /// A consumer waits for its object store before it joins its group.
    pub fn waits(&self, reader: &Reader, stall_after: Duration, now: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.starting.entry(reader.clone()).or_insert((now, stall_after));
    }

    /// It waits no longer.
    pub fn begins(&self, reader: &Reader) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.starting.remove(reader);
    }

    /// The report of one of a group's members: how it stands, and the state of all its partitions,
    /// those that it no longer has left out.
    pub fn report(
        &self,
        (reader, member): (&Reader, usize),
        stall_after: Duration,
        now: Instant,
        standing: &Standing,
        found: &[(i32, Progress)],
    ) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (reader.clone(), member);
        let old = inner.members.get(&key);
        let then = |of: fn(&Member) -> Option<Instant>| old.and_then(of);
        let new = Member {
            heard: now,
            stall_after,
            disconnected_since: since(!standing.connected, then(|m| m.disconnected_since), now),
            outside_since: since(!standing.joined, then(|m| m.outside_since), now),
            refused_since: since(standing.refusal.is_some(), then(|m| m.refused_since), now),
            standing: standing.clone(),
        };
        inner.members.insert(key, new);
        let mut before = std::mem::take(&mut inner.partitions);
        before.retain(|(of, partition), entry| {
            let ours = of == reader && entry.member == member;
            !ours || found.iter().any(|(number, _)| number == partition)
        });
        let moved = |(number, progress): &(i32, Progress)| {
            let old = before.get(&(reader.clone(), *number));
            old.is_some_and(|old| old.progress.durable != progress.durable)
        };
        let moves = found.iter().any(moved);
        for (number, progress) in found {
            let key = (reader.clone(), *number);
            let old = before.get(&key);
            let same = |old: &Entry| {
                let was = old.progress;
                (was.durable, was.position, was.next, was.begun)
                    == (progress.durable, progress.position, progress.next, progress.begun)
            };
            // What has not been read yet may wait behind other partitions' records, while those move.
            let read = progress.begun && progress.answered;
            let waits = read && !progress.has_open() && moves;
            let stands = progress.has_work() && !waits;
            let kept = old.filter(|old| same(old));
            let standing_since = since(stands, kept.and_then(|old| old.standing_since), now);
            let unchanged = old.filter(|old| old.progress.committed == progress.committed);
            let uncommitted_since =
                since(progress.owes_commit(), unchanged.and_then(|old| old.uncommitted_since), now);
            let entry = Entry { progress: *progress, member, standing_since, uncommitted_since };
            before.insert(key, entry);
        }
        inner.partitions = before;
    }

    /// How far a reader's partitions are done in this process, where nothing of them is open and no commit
    /// is owed. It may be ahead of records that were fetched a moment ago and not yet taken.
    pub fn done_up_to(&self, reader: &Reader) -> BTreeMap<i32, i64> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let own = inner.partitions.iter().filter(|((of, _), _)| of == reader);
        let done = own.filter_map(|((_, number), entry)| {
            let progress = &entry.progress;
            let idle = progress.begun && !progress.has_open() && !progress.owes_commit();
            Some((*number, progress.reached().filter(|_| idle)?))
        });
        done.collect()
    }

    /// One of a group's members has ended in order.
    pub fn forget(&self, (reader, member): (&Reader, usize)) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.members.remove(&(reader.clone(), member));
        inner.partitions.retain(|(of, _), entry| of != reader || entry.member != member);
    }

    /// The judgement.
    pub fn health(&self, now: Instant) -> Health {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut problems = Vec::new();
        for (reader, (since, stall_after)) in &inner.starting {
            let lasts = now.duration_since(*since);
            if lasts > *stall_after {
                let topic = inner.name(reader);
                problems.push(format!("{topic}: waiting for the object store for {lasts:.0?}"));
            }
        }
        for ((reader, member), seen) in &inner.members {
            let topic = inner.name(reader);
            let mut too_long = |since: Option<Instant>, limit: Duration, what: &str| {
                let lasts = since.map(|since| now.duration_since(since));
                if let Some(lasts) = lasts.filter(|lasts| *lasts > limit) {
                    problems.push(format!("{topic}, member {member}: {what} for {lasts:.0?}"));
                }
            };
            too_long(Some(seen.heard), SILENT_MAX, "its polling thread is silent");
            too_long(seen.disconnected_since, seen.stall_after, "no connection to a broker");
            too_long(seen.outside_since, seen.stall_after, "not a member of its group");
            let refusal = seen.standing.refusal.as_deref().unwrap_or_default();
            too_long(seen.refused_since, seen.stall_after, &format!("no partitions ({refusal})"));
        }
        let mut partitions = BTreeMap::new();
        for ((reader, number), entry) in &inner.partitions {
            let topic = inner.name(reader);
            let member = inner.members.get(&(reader.clone(), entry.member));
            let limit = member.map_or(Duration::MAX, |member| member.stall_after);
            let reason = member.and_then(|member| member.standing.reasons.get(number));
            let reason = reason.map(|text| format!(": {text}")).unwrap_or_default();
            let mut too_long = |since: Option<Instant>, what: &str, reason: &str| {
                let lasts = since.map(|since| now.duration_since(since));
                if let Some(lasts) = lasts.filter(|lasts| *lasts > limit) {
                    problems.push(format!("{topic}/{number}: {what} for {lasts:.0?}{reason}"));
                }
            };
            too_long(entry.standing_since, "no progress", &reason);
            too_long(entry.uncommitted_since, "no commit came through", "");
            partitions.insert(format!("{topic}/{number}"), entry.progress);
        }
        if acts(Bug::UnwellWhileRecordsFlow) {
            problems.push("it feels unwell".into());
        }
        if acts_if(Bug::WellWhileNothingFlows, !problems.is_empty()) {
            problems.clear();
        }
        let mut standings = inner.members.values().map(|member| &member.standing);
        let takes_part = |s: &Standing| s.connected && s.joined && !s.stopping;
        let ready =
            inner.starting.is_empty() && !inner.members.is_empty() && standings.all(takes_part);
        Health { healthy: problems.is_empty(), ready, problems, partitions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn at(durable: i64, end: i64) -> Progress {
        Progress {
            position: Some(durable),
            durable: Some(durable),
            committed: Some(durable),
            end: Some(end),
            next: Some(durable),
            begun: true,
            answered: true,
        }
    }

    fn well() -> Standing {
        Standing { connected: true, joined: true, ..Standing::default() }
    }

    fn reader(group: &str) -> Reader {
        Reader { topic: "t".into(), group: group.into() }
    }

    /// A board with a clock of seconds.
    struct Bench(Board, Instant);

    impl Bench {
        fn new() -> Self {
            Bench(Board::default(), Instant::now())
        }

        fn second(&self, n: u64) -> Instant {
            self.1 + Duration::from_secs(n)
        }

        fn report(
            &self,
            member: usize,
            second: u64,
            standing: &Standing,
            found: &[(i32, Progress)],
        ) {
            self.0.report((&reader("g"), member), LIMIT, self.second(second), standing, found);
        }

        fn health(&self, second: u64) -> Health {
            self.0.health(self.second(second))
        }
    }

    #[test]
    fn a_partition_that_stands_still_with_work_to_do_is_unhealthy() {
        let bench = Bench::new();
        bench.report(0, 0, &well(), &[(0, at(10, 10)), (1, at(4, 9))]);
        assert!(bench.health(1).healthy);
        bench.report(0, 6, &well(), &[(0, at(10, 10)), (1, at(4, 9))]);
        let health = bench.health(6);
        assert_eq!(health.problems.len(), 1, "{health:?}");
        // Work that has only just come in is no stall, however long the partition was idle.
        bench.report(0, 7, &well(), &[(0, at(10, 20)), (1, at(9, 9))]);
        assert!(bench.health(8).healthy);
        // A partition that was given up is nobody's problem here.
        bench.report(0, 20, &well(), &[(1, at(9, 9))]);
        assert!(bench.health(21).healthy);
        // Nor is it, when another consumer of this process has it now.
        bench.report(1, 21, &well(), &[(0, at(20, 20))]);
        bench.report(0, 22, &well(), &[(1, at(9, 9))]);
        assert_eq!(bench.health(22).partitions.len(), 2);
        bench.0.forget((&reader("g"), 1));
        assert_eq!(bench.health(22).partitions.len(), 1);
        assert!(!bench.health(60).healthy, "the thread is silent");
    }

    #[test]
    fn an_idle_partition_is_healthy_and_one_that_is_never_fetched_is_not() {
        let bench = Bench::new();
        let idle = Progress { position: None, durable: None, next: Some(7), ..at(7, 7) };
        let silent = Progress::default();
        for second in [0, 6, 12] {
            bench.report(0, second, &well(), &[(0, idle)]);
        }
        assert!(bench.health(12).healthy && bench.health(12).ready);
        assert_eq!((idle.lag(), silent.lag()), (Some(0), None));
        bench.report(0, 13, &well(), &[(0, silent)]);
        bench.report(0, 19, &well(), &[(0, silent)]);
        assert!(!bench.health(19).healthy, "assigned, and nothing comes");
    }

    #[test]
    fn an_end_that_was_seen_says_nothing_once_fetches_are_not_answered() {
        let bench = Bench::new();
        let silent = Progress { answered: false, ..at(10, 10) };
        let never = Progress { end: None, next: None, position: None, durable: None, ..silent };
        let reasons = [(1, "its fetches are refused (no right)".to_owned())];
        let standing = Standing { reasons: reasons.into(), ..well() };
        // That others move excuses what waits to be read, not what cannot be read.
        for second in 0..10 {
            let found = [(0, at(second as i64, 90)), (1, silent), (2, never)];
            bench.report(0, second, &standing, &found);
        }
        let problems = bench.health(10).problems;
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("t/1: no progress") && problems[0].ends_with("(no right)"));
        // Answered again, and nothing came meanwhile.
        bench.report(0, 11, &well(), &[(0, at(10, 10)), (1, at(10, 10))]);
        assert!(bench.health(11).healthy);
    }

    #[test]
    fn what_waits_behind_other_partitions_is_no_stall() {
        let bench = Bench::new();
        let waiting = at(0, 1_000);
        for second in 0..10 {
            bench.report(0, second, &well(), &[(0, at(second as i64, 90)), (1, waiting)]);
        }
        assert!(bench.health(10).healthy);
        // But a part that is never stored is, whatever the others do.
        let stuck = Progress { position: Some(50), ..at(0, 1_000) };
        for second in 10..20 {
            bench.report(0, second, &well(), &[(0, at(second as i64, 90)), (1, stuck)]);
        }
        assert_eq!(bench.health(20).problems.len(), 1);
    }

    #[test]
    fn commits_that_do_not_come_through_are_unhealthy() {
        let bench = Bench::new();
        for second in 0..10 {
            let progress = Progress { committed: Some(1), ..at(2 + second as i64, 90) };
            bench.report(0, second, &well(), &[(0, progress)]);
        }
        let health = bench.health(10);
        assert!(health.problems[0].contains("no commit came through"), "{health:?}");
    }

    #[test]
    fn two_groups_on_one_topic_are_judged_apart() {
        let bench = Bench::new();
        for second in 0..10 {
            bench.report(0, second, &well(), &[(0, at(second as i64, 90))]);
            let other = (&reader("other"), 0);
            bench.0.report(other, LIMIT, bench.second(second), &well(), &[(0, at(4, 90))]);
        }
        let health = bench.health(10);
        assert_eq!(health.problems.len(), 1, "{health:?}");
        assert!(health.problems[0].contains("group other"), "{health:?}");
        assert_eq!(health.partitions.len(), 2);
        assert_eq!(bench.0.done_up_to(&reader("g"))[&0], 9);
        bench.0.forget((&reader("other"), 0));
        assert!(bench.health(10).healthy && bench.health(10).partitions.contains_key("t/0"));
    }

    #[test]
    fn a_store_that_never_answers_is_unhealthy() {
        let bench = Bench::new();
        bench.0.waits(&reader("g"), LIMIT, bench.second(0));
        assert!(bench.health(1).healthy && !bench.health(1).ready);
        bench.0.waits(&reader("g"), LIMIT, bench.second(4));
        assert!(bench.health(6).problems[0].contains("object store"));
        bench.0.begins(&reader("g"));
        bench.report(0, 7, &well(), &[]);
        assert!(bench.health(7).healthy && bench.health(7).ready);
    }

    #[test]
    fn contact_and_membership_count_and_a_spare_member_is_well() {
        let bench = Bench::new();
        for second in [0, 6, 12] {
            bench.report(0, second, &well(), &[]);
        }
        assert!(bench.health(12).healthy && bench.health(12).ready, "a spare member");
        for (standing, words) in [
            (Standing { connected: false, ..well() }, "no connection"),
            (Standing { joined: false, ..well() }, "not a member"),
            (Standing { refusal: Some("unknown topic".into()), ..well() }, "unknown topic"),
        ] {
            let bench = Bench::new();
            bench.report(0, 0, &standing, &[]);
            assert!(bench.health(1).healthy, "for a moment");
            bench.report(0, 6, &standing, &[]);
            let health = bench.health(6);
            assert!(health.problems.iter().any(|text| text.contains(words)), "{health:?}");
        }
        bench.report(0, 13, &Standing { stopping: true, ..well() }, &[]);
        let health = bench.health(13);
        assert!(health.healthy && !health.ready, "it drains");
        assert!(!Board::default().health(bench.1).ready, "nothing has started");
    }
}
