//! Histories of a capture, legal by construction, and what must come of one change to them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::history::event::*;
use crate::history::sample::{END_US, Sample};
use crate::verdict::{CheckResult, Status};

const TABLE: &str = "public.orders";
const TOPIC: &str = "streamlake.public.orders";
const OFFSETS: &str = "offsets";
const CONNECTOR: &str = "postgres-connector";
const KEYS: u64 = 5;
/// Changes that lie between two flushes.
const FLUSH_EVERY: u64 = 6;

/// A legal capture of `changes` rows, the worker killed after some of them.
#[derive(Debug, Clone)]
struct Run {
    changes: u64,
    partitions: u32,
    killed_after: Option<u64>,
}

/// Where events go, and where the capture stands.
struct Topic {
    sample: Sample,
    partitions: u32,
    next: Vec<u64>,
    events: Vec<ChangeEvent>,
    flushes: Vec<OffsetFlush>,
}

fn lsn(change: u64) -> Lsn {
    Lsn(0x0196_B400 + change * 0x80)
}

fn committed_us(change: u64) -> u64 {
    10_000 + change * 4_000
}

fn operation(change: u64) -> RowOperation {
    match change / KEYS {
        0 => RowOperation::Insert,
        n if n % 4 == 3 => RowOperation::Delete,
        n if n % 4 == 0 => RowOperation::Insert,
        _ => RowOperation::Update,
    }
}

fn revision(change: u64) -> Option<u64> {
    (operation(change) != RowOperation::Delete).then_some(change + 1)
}

fn key(change: u64) -> String {
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
        });
    }

    fn flush(&mut self, change: u64, at_us: u64) {
        let offset = self.flushes.len() as u64;
        let (connector, lsn) = (CONNECTOR.to_owned(), Some(lsn(change)));
        self.flushes.push(OffsetFlush { connector, offset, at_us, lsn });
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
    fn sample(&self) -> Sample {
        let mut topic = Topic {
            sample: Sample::empty(0, 1),
            partitions: self.partitions,
            next: vec![0; self.partitions as usize],
            events: Vec::new(),
            flushes: Vec::new(),
        };
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
            topic.capture(resume, self.changes, killed + 31_000);
        } else {
            topic.sample.header.promises.faults.clear();
        }
        self.tell(topic)
    }

    fn tell(&self, topic: Topic) -> Sample {
        let Topic { mut sample, next, events, flushes, .. } = topic;
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
            };
            sample.tell(END_US, "source-reader", Fact::SourceChange(fact));
        }
        let read = SourceRead { changes: self.changes, end: lsn(self.changes) };
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
        };
        sample.tell(END_US, "connector-watch", Fact::Connector(state));
        sample
    }
}

fn promise(promises: &mut Promises, run: &Run) {
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
    });
}

fn killed() -> Run {
    Run { changes: 60, partitions: 2, killed_after: Some(22) }
}

fn check(sample: &Sample) -> CheckResult {
    let verdict = sample.judge().unwrap();
    verdict.checks.into_iter().find(|check| check.check == "change-data-capture").unwrap()
}

fn found(sample: &Sample, anomaly: &str) {
    let check = check(sample);
    let names: Vec<_> = check.findings.iter().map(|f| f.anomaly.as_str()).collect();
    assert!(names.contains(&anomaly), "found {names:?}, not {anomaly}: {check:#?}");
}

fn undecided(sample: &Sample, because: &str) {
    let check = check(sample);
    assert_eq!(check.status, Status::Inconclusive, "{check:#?}");
    assert!(check.reasons.iter().any(|reason| reason.contains(because)), "{check:#?}");
}

/// The events of the topic that can be changed, in its order.
fn events(sample: &mut Sample) -> Vec<&mut ChangeEvent> {
    let facts = sample.facts.iter_mut().map(|(_, _, fact)| fact);
    facts
        .filter_map(|fact| if let Fact::ChangeEvent(event) = fact { Some(event) } else { None })
        .collect()
}

fn drop_facts(sample: &mut Sample, unwanted: impl Fn(&Fact) -> bool) {
    sample.facts.retain(|(_, _, fact)| !unwanted(fact));
}

fn drop_events_of(sample: &mut Sample, change: u64) {
    drop_facts(sample, |f| matches!(f, Fact::ChangeEvent(e) if e.lsn == Some(lsn(change))));
}

/// Appends an event of a change once more, at the very end of its partition.
fn repeat(sample: &mut Sample, change: u64, at_us: u64) {
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
            bounds.high += 1;
        }
    }
    sample.tell(END_US, "log-reader", Fact::ChangeEvent(copy));
}

#[test]
fn a_legal_capture_passes_and_says_what_was_repeated() {
    let quiet = Run { killed_after: None, ..killed() };
    let quiet = check(&quiet.sample());
    assert_eq!(quiet.status, Status::Pass, "{quiet:#?}");
    assert_eq!(quiet.figures["captured_events"], 60);
    let check = check(&killed().sample());
    assert_eq!(check.status, Status::Pass, "{check:#?}");
    // 22 events were there, 18 of them flushed.
    assert_eq!(check.figures["repeated_events"], 4);
    assert_eq!(check.figures["fault_0_repeated_events"], 4);
    assert_eq!(check.figures["fault_0_unflushed_events"], 4);
    assert!(check.summary.contains("4 after fault 0"), "{}", check.summary);
    assert!(check.figures["recovered_after_heal_us"] > 0);
}

#[test]
fn only_what_can_be_asked_of_a_capture_is_asked() {
    let verdict = killed().sample().judge().unwrap();
    for check in &verdict.checks {
        let asked = super::super::WITH_A_SOURCE.contains(&check.check.as_str());
        assert_eq!(check.status != Status::NotApplicable, asked, "{check:#?}");
    }
    assert!(
        verdict.tally.windows[0].in_flight > 0 && verdict.tally.windows[0].recovered_us.is_some()
    );
    let tally = &verdict.tally;
    assert_eq!((tally.acknowledged, tally.logged, tally.lost), (60, 64, 0));
    assert_eq!(tally.duplicates_by_cause["captured again after connect-kill"], 4);
    let other = Sample::honest();
    assert_eq!(check(&other).status, Status::NotApplicable);
}

#[test]
fn a_change_without_an_event_is_found() {
    let mut sample = killed().sample();
    drop_events_of(&mut sample, 30);
    found(&sample, "change-not-captured");
}

#[test]
fn reading_the_table_anew_tells_of_the_last_change_of_a_row_only() {
    let mut sample = Run { changes: 55, killed_after: None, ..killed() }.sample();
    // The row of change 49 was updated again by the last one, 54.
    for change in 45..54 {
        drop_events_of(&mut sample, change);
    }
    let mut all = events(&mut sample);
    let last = all.pop().unwrap();
    assert_eq!((last.lsn, last.operation), (Some(lsn(54)), RowOperation::Update));
    (last.operation, last.snapshot, last.lsn) = (RowOperation::Read, true, Some(lsn(60)));
    let check = check(&sample);
    assert_eq!((check.figures["missing_changes"], check.figures["snapshot_events"]), (9, 1));
    found(&sample, "change-not-captured");
}

#[test]
fn a_late_end_is_found_only_where_the_capture_ran_and_had_its_time() {
    let mut sample = killed().sample();
    drop_events_of(&mut sample, 59);
    found(&sample, "not-captured-in-time");
    let mut early = sample.clone();
    early.header.promises.recovery_within_us = 10 * END_US;
    undecided(&early, "have no event");
    let state = |sample: &mut Sample, change: fn(&mut ConnectorState)| {
        for (_, _, fact) in &mut sample.facts {
            if let Fact::Connector(state) = fact {
                change(state);
            }
        }
    };
    state(&mut sample, |state| state.tasks[0].state = "FAILED".to_owned());
    found(&sample, "not-captured-in-time");
    state(&mut sample, |state| state.state = "unreachable".to_owned());
    undecided(&sample, "did not run at the end: unreachable");
    drop_facts(&mut sample, |fact| matches!(fact, Fact::Connector(_)));
    undecided(&sample, "never looked at");
}

#[test]
fn events_out_of_order_are_found() {
    let mut sample = killed().sample();
    // Two changes of one key; key 0 is in partition 0.
    let mut all = events(&mut sample);
    let place =
        |all: &[&mut ChangeEvent], change| all.iter().rposition(|e| e.lsn == Some(lsn(change)));
    let (one, two) = (place(&all, 45).unwrap(), place(&all, 50).unwrap());
    let (first, second) = (all[one].clone(), all[two].clone());
    *all[one] = ChangeEvent { offset: first.offset, at_us: first.at_us, ..second.clone() };
    *all[two] = ChangeEvent { offset: second.offset, at_us: second.at_us, ..first };
    found(&sample, "event-out-of-order");
}

#[test]
fn a_fault_sets_a_key_back_once_and_no_more() {
    let mut sample = Run { killed_after: Some(35), ..killed() }.sample();
    drop_facts(&mut sample, |fact| matches!(fact, Fact::OffsetFlush(_)));
    for change in [25, 20] {
        repeat(&mut sample, change, END_US - 10_000);
    }
    found(&sample, "event-out-of-order");
}

#[test]
fn a_repeat_without_a_fault_is_found() {
    let mut sample = Run { killed_after: None, ..killed() }.sample();
    repeat(&mut sample, 40, END_US - 10_000);
    found(&sample, "repeat-without-a-fault");
}

#[test]
fn a_repeat_of_what_was_flushed_is_found() {
    let mut sample = killed().sample();
    repeat(&mut sample, 10, committed_us(21) + 40_000);
    found(&sample, "repeated-although-flushed");
}

#[test]
fn a_repeat_long_after_the_fault_was_over_is_not_explained_by_it() {
    let mut sample = killed().sample();
    repeat(&mut sample, 59, END_US - 10_000);
    found(&sample, "repeat-without-a-fault");
}

#[test]
fn a_fault_explains_no_repeat_of_an_event_of_the_millisecond_after_it() {
    let mut sample = Run { changes: 30, partitions: 1, killed_after: Some(24) }.sample();
    let over = sample.facts.iter().find_map(|(at_us, _, fact)| match fact {
        Fact::Fault(step) if step.step == FaultStage::Healed => Some(*at_us),
        _ => None,
    });
    let last = events(&mut sample).pop().unwrap();
    assert_eq!(last.at_us, over.unwrap() + 1000);
    repeat(&mut sample, 29, END_US - 10_000);
    found(&sample, "repeat-without-a-fault");
}

#[test]
fn events_that_the_database_does_not_know_or_knows_otherwise_are_found() {
    let mut sample = killed().sample();
    events(&mut sample)[7].lsn = Some(Lsn(1));
    found(&sample, "event-without-change");
    let mut sample = killed().sample();
    events(&mut sample)[7].revision = Some(999);
    found(&sample, "event-differs-from-change");
}

#[test]
fn what_the_database_said_and_what_its_log_holds_must_agree() {
    let outcome = |sample: &mut Sample, outcome| {
        let told = sample.facts.iter_mut().find_map(|(_, _, fact)| match fact {
            Fact::SourceTransaction(told) => Some(told),
            _ => None,
        });
        told.unwrap().outcome = outcome;
    };
    let mut sample = killed().sample();
    outcome(&mut sample, TransactionOutcome::RolledBack);
    found(&sample, "rolled-back-but-in-the-database");
    let mut sample = killed().sample();
    outcome(&mut sample, TransactionOutcome::Unknown);
    undecided(&sample, "nobody knows");
    let mut sample = killed().sample();
    drop_facts(&mut sample, |f| matches!(f, Fact::SourceChange(c) if c.change < 2));
    found(&sample, "committed-but-not-in-the-database");
}

#[test]
fn a_capture_that_does_not_go_on_is_found() {
    let mut sample = killed().sample();
    for change in 22..60 {
        drop_events_of(&mut sample, change);
    }
    found(&sample, "capture-did-not-recover");
}

#[test]
fn without_its_evidence_nothing_passes() {
    type Cut = fn(&Fact) -> bool;
    let cuts: [(Cut, &str); 6] = [
        (|f| matches!(f, Fact::LogBounds(b) if b.topic == TOPIC), "not read to its end"),
        (|f| matches!(f, Fact::LogBounds(b) if b.topic == OFFSETS), "offsets were not read"),
        (|f| matches!(f, Fact::SourceRead(_)), "log of the source database"),
        (|f| matches!(f, Fact::Slot(_)), "slot was never looked at"),
        (|f| matches!(f, Fact::Connector(_)), "connector was never looked at"),
        (|f| matches!(f, Fact::SourceTransaction(_)), "0 of 30 transactions"),
    ];
    for (cut, because) in cuts {
        let mut sample = killed().sample();
        drop_facts(&mut sample, cut);
        undecided(&sample, because);
    }
    let mut sample = killed().sample();
    drop_facts(&mut sample, |f| {
        matches!(f, Fact::SourceChange(_) | Fact::ChangeEvent(_) | Fact::SourceTransaction(_))
    });
    undecided(&sample, "no row was changed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn legal_captures_pass_and_planted_anomalies_are_found(
        changes in 30_u64..120,
        partitions in 1_u32..5,
        kill in 1_u64..25,
        place in 0_usize..1000,
        plant in 0_usize..5,
    ) {
        let run = Run { changes, partitions, killed_after: Some(kill) };
        let mut sample = run.sample();
        let legal = check(&sample);
        prop_assert_eq!(legal.status, Status::Pass, "{:#?}", legal);
        prop_assert_eq!(legal.figures["repeated_events"], kill % FLUSH_EVERY);
        let anomaly = match plant {
            0 => {
                drop_events_of(&mut sample, place as u64 % (changes - 1));
                "change-not-captured"
            }
            1 => {
                let mut events = events(&mut sample);
                let place = place % events.len();
                events[place].lsn = Some(Lsn(7));
                "event-without-change"
            }
            2 => {
                let mut events = events(&mut sample);
                let place = place % events.len();
                events[place].transaction = Some(1);
                "event-differs-from-change"
            }
            3 => {
                // Captured after the fault was over.
                repeat(&mut sample, changes - 1, END_US - 10_000);
                "repeat-without-a-fault"
            }
            _ => {
                let flushed = kill / FLUSH_EVERY * FLUSH_EVERY;
                if flushed == 0 {
                    return Ok(());
                }
                repeat(&mut sample, place as u64 % flushed, END_US - 10_000);
                "repeated-although-flushed"
            }
        };
        found(&sample, anomaly);
    }
}
