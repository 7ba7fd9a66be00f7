//! A capture that is legal by construction, and ways to change it.

use std::collections::BTreeMap;

use crate::Judged as _;
use crate::verdict::{CheckResult, Status};
use streamlake_history::event::*;
use streamlake_history::sample::{END_US, Sample};

pub(super) const TABLE: &str = "public.orders";
pub(super) const TOPIC: &str = "streamlake.public.orders";
pub(super) const OFFSETS: &str = "offsets";
pub(super) const CONNECTOR: &str = "postgres-connector";
pub(super) const KEYS: u64 = 5;
/// Changes that lie between two flushes.
pub(super) const FLUSH_EVERY: u64 = 6;

/// A legal capture of `changes` rows, the worker killed after some of them.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) changes: u64,
    pub(super) partitions: u32,
    pub(super) killed_after: Option<u64>,
}

/// Where events go, and where the capture stands.
struct Topic {
    sample: Sample,
    partitions: u32,
    next: Vec<u64>,
    events: Vec<ChangeEvent>,
    flushes: Vec<OffsetFlush>,
    starts: Vec<CaptureStart>,
}

pub(super) fn lsn(change: u64) -> Lsn {
    Lsn(0x0196_B400 + change * 0x80)
}

pub(super) fn committed_us(change: u64) -> u64 {
    10_000 + change * 4_000
}

pub(super) fn operation(change: u64) -> RowOperation {
    match change / KEYS {
        0 => RowOperation::Insert,
        n if n % 4 == 3 => RowOperation::Delete,
        n if n % 4 == 0 => RowOperation::Insert,
        _ => RowOperation::Update,
    }
}

pub(super) fn revision(change: u64) -> Option<u64> {
    (operation(change) != RowOperation::Delete).then_some(change + 1)
}

/// Where the transaction of a change ends: two changes are one transaction.
pub(super) fn commit_lsn(change: u64) -> Lsn {
    Lsn(lsn(change | 1).0 + 0x40)
}

/// What a row holds after a change; none if it is gone.
pub(super) fn row(change: u64) -> Option<RowImage> {
    let text = |text: String| Some(Column::of(text));
    let row = [
        ("id", text((change % KEYS).to_string())),
        ("revision", text((change + 1).to_string())),
        ("amount", text(format!("{}.5", change * 7))),
        ("remark", (!change.is_multiple_of(3)).then(|| Column::of(format!("remark {change}")))),
        // Left alone by every second update.
        ("description", text(format!("{} ", change / (2 * KEYS)).repeat(400))),
    ];
    let row = row.map(|(name, value)| (name.to_owned(), value)).into();
    (operation(change) != RowOperation::Delete).then_some(row)
}

pub(super) fn row_before(change: u64) -> Option<RowImage> {
    change.checked_sub(KEYS).and_then(row)
}

pub(super) fn key(change: u64) -> String {
    format!("{{\"id\":{}}}", change % KEYS)
}

impl Topic {
    fn push(&mut self, change: u64, at_us: u64) {
        let partition = u32::try_from(change % KEYS).unwrap() % self.partitions;
        let next = &mut self.next[partition as usize];
        let offset = *next;
        *next += 1;
        self.events.push(ChangeEvent {
            topic: TOPIC.to_owned(),
            partition,
            offset,
            at_us: at_us / 1000 * 1000,
            table: TABLE.to_owned(),
            key: key(change),
            operation: operation(change),
            revision: revision(change),
            lsn: Some(lsn(change)),
            transaction: Some(700 + change / 2),
            snapshot: false,
            problem: None,
            committed_us: Some(committed_us(change)),
            before: row_before(change),
            after: row(change),
            untyped: false,
            producer_time: false,
        });
        if operation(change) == RowOperation::Delete {
            self.bury(change);
        }
    }

    /// The tombstone of the delete that was appended last.
    fn bury(&mut self, change: u64) {
        let delete = self.events.last().unwrap().clone();
        self.next[delete.partition as usize] += 1;
        let partition = self.next[delete.partition as usize] - 1;
        self.events.push(tombstone(&delete, partition));
        debug_assert_eq!(key(change), delete.key);
    }

    fn start(&mut self, at_us: u64, from: Lsn) {
        let (slot, pid) = ("debezium".to_owned(), 70 + u32::try_from(self.starts.len()).unwrap());
        self.starts.push(CaptureStart { slot, pid, at_us, asked: Some(from), from });
    }

    fn flush(&mut self, change: u64, at_us: u64) {
        let offset = self.flushes.len() as u64;
        let (connector, lsn) = (CONNECTOR.to_owned(), Some(lsn(change)));
        self.flushes.push(OffsetFlush { connector, offset, at_us, lsn, snapshot: false });
    }

    /// From `first` on, in order, none before its commit.
    fn capture(&mut self, first: u64, last: u64, from_us: u64) {
        for (done, change) in (1..).zip(first..last) {
            let at = (from_us + done * 100).max(committed_us(change) + 1500);
            self.push(change, at);
            if change % FLUSH_EVERY == FLUSH_EVERY - 1 {
                self.flush(change, at + 1000);
            }
        }
    }
}

impl Run {
    pub(super) fn sample(&self) -> Sample {
        let mut topic = Topic {
            sample: Sample::empty(0, 1),
            partitions: self.partitions,
            next: vec![0; self.partitions as usize],
            events: Vec::new(),
            flushes: Vec::new(),
            starts: Vec::new(),
        };
        topic.start(5_000, Lsn(lsn(0).0 - 0x80));
        promise(&mut topic.sample.header.promises, self);
        let faulty = self.killed_after.filter(|&after| after < self.changes);
        topic.capture(0, faulty.unwrap_or(self.changes), 0);
        if let Some(after) = faulty {
            let killed = committed_us(after - 1) + 3_000;
            let steps = [
                (FaultStage::Injecting, 0),
                (FaultStage::Injected, 100),
                (FaultStage::Seen, 200),
                (FaultStage::Healing, 300),
                (FaultStage::Healed, 30_000),
            ];
            for (step, after) in steps {
                topic.sample.fault(killed + after, step);
            }
            topic.flushes.retain(|flush| flush.at_us < killed);
            let resume = after / FLUSH_EVERY * FLUSH_EVERY;
            // One to find the place, one to go on from there.
            for at in [20_300, 20_400] {
                topic.start(killed + at, resume.checked_sub(1).map_or(Lsn(1), lsn));
            }
            topic.capture(resume, self.changes, killed + 31_000);
        } else {
            topic.sample.header.promises.faults.clear();
        }
        self.tell(topic)
    }

    fn tell(&self, topic: Topic) -> Sample {
        let Topic { mut sample, next, events, flushes, starts, .. } = topic;
        for of in ["broker", "database"] {
            let fact =
                Clock { of: of.to_owned(), low_us: -200, high_us: 200, how: "test".to_owned() };
            sample.tell(1, "clocks", Fact::Clock(fact));
        }
        for (number, first) in (0..).zip((0..self.changes).step_by(2)) {
            let changes = (first..self.changes.min(first + 2)).count();
            let at = committed_us((first + 1).min(self.changes - 1));
            let fact = SourceTransaction {
                number,
                transaction: Some(700 + number),
                begun_us: at - 2000,
                changes: u32::try_from(changes).unwrap(),
                outcome: TransactionOutcome::Committed,
                detail: None,
            };
            sample.tell(at + 500, "source-1", Fact::SourceTransaction(fact));
        }
        for change in 0..self.changes {
            let fact = SourceChange {
                change,
                table: TABLE.to_owned(),
                key: key(change),
                operation: operation(change),
                revision: revision(change),
                transaction: 700 + change / 2,
                lsn: lsn(change),
                committed_us: committed_us(change),
                commit_lsn: Some(commit_lsn(change)),
                before: row_before(change),
                after: row(change),
                unchanged: Vec::new(),
            };
            sample.tell(END_US, "source-reader", Fact::SourceChange(fact));
        }
        let (end, count) = (lsn(self.changes), starts.len() as u64);
        for start in starts {
            sample.tell(END_US, "source-reader", Fact::CaptureStart(start));
        }
        let read = SourceRead { changes: self.changes, end, starts: Some(count) };
        sample.tell(END_US, "source-reader", Fact::SourceRead(read));
        for event in events {
            sample.tell(END_US, "log-reader", Fact::ChangeEvent(event));
        }
        for (partition, high) in (0..).zip(next) {
            sample.bounds(TOPIC, partition, 0, high);
        }
        sample.bounds(OFFSETS, 0, 0, flushes.len() as u64);
        for flush in flushes {
            sample.tell(END_US, "log-reader", Fact::OffsetFlush(flush));
        }
        let slot = SlotState {
            slot: "debezium".to_owned(),
            absent: None,
            active_pid: Some(70),
            confirmed: Some(lsn(self.changes)),
            unseen_us: Some(200_000),
        };
        sample.tell(END_US, "slot-watch", Fact::Slot(slot));
        let worker = || "connect:8083".to_owned();
        let task =
            TaskState { task: 0, state: "RUNNING".to_owned(), worker: worker(), trace: None };
        let state = ConnectorState {
            connector: CONNECTOR.to_owned(),
            state: "RUNNING".to_owned(),
            worker: worker(),
            tasks: vec![task],
            unseen_us: Some(200_000),
        };
        sample.tell(END_US, "connector-watch", Fact::Connector(state));
        sample
    }
}

pub(super) fn promise(promises: &mut Promises, run: &Run) {
    promises.topics = BTreeMap::from([(TOPIC.to_owned(), run.partitions)]);
    promises.groups.clear();
    promises.partitioner = None;
    promises.evidence.push(Evidence::Source);
    promises.recovery_within_us = 100_000;
    promises.faults = vec![PlannedFault {
        fault: 0,
        kind: "connect-kill".to_owned(),
        target: "connect".to_owned(),
        needs_load: true,
        ..PlannedFault::default()
    }];
    promises.source = Some(SourcePromise {
        tables: BTreeMap::from([(TABLE.to_owned(), TOPIC.to_owned())]),
        transactions: run.changes.div_ceil(2),
        changes: run.changes,
        connector: CONNECTOR.to_owned(),
        slot: "debezium".to_owned(),
        offsets_topic: OFFSETS.to_owned(),
        columns: ["id", "revision", "amount", "remark", "description"].map(str::to_owned).into(),
        before_images: true,
        no_tombstones: false,
        exactly_once: false,
    });
}

pub(super) fn killed() -> Run {
    Run { changes: 60, partitions: 2, killed_after: Some(22) }
}

pub(super) fn check(sample: &Sample) -> CheckResult {
    let mut sample = sample.clone();
    declare_holes(&mut sample);
    let verdict = sample.judge().unwrap();
    verdict.checks.into_iter().find(|check| check.check == "change-data-capture").unwrap()
}

/// Events that a test took away never were: the reader of the log says that nothing stands there.
fn declare_holes(sample: &mut Sample) {
    let held: std::collections::BTreeSet<(u32, u64)> =
        events(sample).iter().map(|event| (event.partition, event.offset)).collect();
    for (_, _, fact) in &mut sample.facts {
        if let Fact::LogBounds(bounds) = fact
            && bounds.topic == TOPIC
        {
            let empty =
                (bounds.low..bounds.high).filter(|o| !held.contains(&(bounds.partition, *o)));
            bounds.holes = empty.map(|offset| (offset, offset)).collect();
        }
    }
}

pub(super) fn found(sample: &Sample, anomaly: &str) {
    let check = check(sample);
    let names: Vec<_> = check.findings.iter().map(|f| f.anomaly.as_str()).collect();
    assert!(names.contains(&anomaly), "found {names:?}, not {anomaly}: {check:#?}");
}

pub(super) fn undecided(sample: &Sample, because: &str) {
    let check = check(sample);
    assert_eq!(check.status, Status::Inconclusive, "{check:#?}");
    assert!(check.reasons.iter().any(|reason| reason.contains(because)), "{check:#?}");
}

/// The events of the topic that can be changed, in its order.
pub(super) fn events(sample: &mut Sample) -> Vec<&mut ChangeEvent> {
    let facts = sample.facts.iter_mut().map(|(_, _, fact)| fact);
    facts
        .filter_map(|fact| if let Fact::ChangeEvent(event) = fact { Some(event) } else { None })
        .collect()
}

pub(super) fn drop_facts(sample: &mut Sample, unwanted: impl Fn(&Fact) -> bool) {
    sample.facts.retain(|(_, _, fact)| !unwanted(fact));
}

pub(super) fn drop_events_of(sample: &mut Sample, change: u64) {
    let gone: Vec<_> = events(sample)
        .iter()
        .filter(|event| event.lsn == Some(lsn(change)))
        .map(|event| (event.partition, event.offset, event.operation == RowOperation::Delete))
        .collect();
    drop_facts(sample, |fact| {
        let Fact::ChangeEvent(event) = fact else { return false };
        gone.iter().any(|&(partition, offset, delete)| {
            event.partition == partition
                && (event.offset == offset || delete && event.offset == offset + 1)
        })
    });
}

pub(super) fn tombstone(delete: &ChangeEvent, offset: u64) -> ChangeEvent {
    ChangeEvent {
        offset,
        operation: RowOperation::Tombstone,
        revision: None,
        lsn: None,
        transaction: None,
        committed_us: None,
        before: None,
        after: None,
        ..delete.clone()
    }
}

/// Appends an event of a change once more, at the very end of its partition.
pub(super) fn repeat(sample: &mut Sample, change: u64, at_us: u64) {
    let position = Some(lsn(change));
    let events = events(sample);
    let mut copy = (*events.iter().find(|e| e.lsn == position).unwrap()).clone();
    copy.offset = 1 + events
        .iter()
        .filter(|e| e.partition == copy.partition)
        .map(|e| e.offset)
        .max()
        .unwrap();
    copy.at_us = at_us;
    for (_, _, fact) in &mut sample.facts {
        if let Fact::LogBounds(bounds) = fact
            && (bounds.topic.as_str(), bounds.partition) == (TOPIC, copy.partition)
        {
            bounds.high = copy.offset + 1 + u64::from(copy.operation == RowOperation::Delete);
        }
    }
    let buried =
        (copy.operation == RowOperation::Delete).then(|| tombstone(&copy, copy.offset + 1));
    for event in std::iter::once(copy).chain(buried) {
        sample.tell(END_US, "log-reader", Fact::ChangeEvent(event));
    }
}
