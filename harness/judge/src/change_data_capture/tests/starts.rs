//! What explains that events come again; what shows that the capture resumes; the state of the task.

use super::*;

fn of_starts(sample: &mut Sample, change: impl Fn(&mut Vec<CaptureStart>)) {
    let mut starts = Vec::new();
    sample.facts.retain(|(_, _, fact)| match fact {
        Fact::CaptureStart(start) => {
            starts.push(start.clone());
            false
        }
        _ => true,
    });
    change(&mut starts);
    let count = starts.len() as u64;
    for (_, _, fact) in &mut sample.facts {
        if let Fact::SourceRead(read) = fact {
            read.starts = Some(count);
        }
    }
    for start in starts {
        sample.tell(END_US, "starts", Fact::CaptureStart(start));
    }
}

#[test]
fn a_fault_nearby_without_a_start_explains_no_repeat() {
    let mut sample = killed().sample();
    of_starts(&mut sample, |starts| starts.truncate(1));
    found(&sample, "repeat-without-a-start");
    let mut sample = killed().sample();
    // A start that was over before the events had come for the first time.
    of_starts(&mut sample, |starts| starts.iter_mut().for_each(|start| start.at_us = 6_000));
    found(&sample, "repeat-without-a-start");
    // One that began behind them.
    let mut sample = killed().sample();
    of_starts(&mut sample, |starts| starts.iter_mut().skip(1).for_each(|s| s.from = lsn(30)));
    found(&sample, "repeat-without-a-start");
    // The clocks leave it open.
    let mut sample = killed().sample();
    of_starts(&mut sample, |starts| starts.iter_mut().for_each(|start| start.at_us = 6_000));
    drop_facts(&mut sample, |fact| matches!(fact, Fact::Clock(_)));
    undecided(&sample, "the clocks do not tell");
}

#[test]
fn a_start_without_a_fault_explains_a_repeat() {
    let mut sample = killed().sample();
    sample.header.promises.faults.clear();
    drop_facts(&mut sample, |fact| matches!(fact, Fact::Fault(_)));
    let check = check(&sample);
    assert_eq!(check.status, Status::Pass, "{check:#?}");
    assert!(check.summary.contains("4 where the capture began anew without a fault"));
}

#[test]
fn one_start_explains_one_repetition() {
    // The two starts of one task are one: no event came between them.
    let mut sample = killed().sample();
    repeat(&mut sample, 20, END_US - 10_000);
    found(&sample, "repeat-without-a-start");
    // Another start, and it may come a third time.
    of_starts(&mut sample, |starts| {
        let last = starts.last().unwrap().clone();
        starts.push(CaptureStart { at_us: END_US - 20_000, pid: 99, ..last });
    });
    let check = check(&sample);
    let names: Vec<_> = check.findings.iter().map(|f| f.anomaly.as_str()).collect();
    assert_eq!(names, ["repeated-although-flushed"], "it was flushed long before");
}

#[test]
fn starts_that_nobody_recorded_are_those_of_the_senders_that_were_seen() {
    let mut sample = killed().sample();
    of_starts(&mut sample, Vec::clear);
    for (_, _, fact) in &mut sample.facts {
        if let Fact::SourceRead(read) = fact {
            read.starts = None;
        }
    }
    found(&sample, "repeat-without-a-start");
    let sender = |pid| SlotState {
        slot: "debezium".to_owned(),
        absent: None,
        active_pid: Some(pid),
        confirmed: None,
        unseen_us: Some(1),
    };
    let killed_us = committed_us(21) + 3_000;
    sample.facts.insert(0, (5_000, "slot-watch".to_owned(), Fact::Slot(sender(1))));
    sample.facts.insert(1, (killed_us + 20_500, "slot-watch".to_owned(), Fact::Slot(sender(70))));
    assert_eq!(check(&sample).status, Status::Pass, "{:#?}", check(&sample));
    drop_facts(&mut sample, |fact| matches!(fact, Fact::Slot(_)));
    undecided(&sample, "slot was never looked at");
}

#[test]
fn starts_that_were_lost_on_the_way_are_a_doubt() {
    let mut sample = killed().sample();
    drop_facts(&mut sample, |fact| matches!(fact, Fact::CaptureStart(_)));
    undecided(&sample, "saw 3 starts and told 0");
}

#[test]
fn without_a_flush_or_a_start_nothing_shows_that_the_capture_resumes() {
    let mut sample = Run { killed_after: Some(24), ..killed() }.sample();
    assert_eq!(check(&sample).figures["repeated_events"], 0);
    of_starts(&mut sample, |starts| starts.truncate(1));
    undecided(&sample, "was not seen to start anew");
    let mut sample = Run { killed_after: Some(3), ..killed() }.sample();
    undecided(&sample, "nothing had been flushed");
    // A broker's fault leaves the task running.
    sample.header.promises.faults[0].target = "broker-1".to_owned();
    assert_eq!(check(&sample).status, Status::Pass, "{:#?}", check(&sample));
    let mut sample = killed().sample();
    of_starts(&mut sample, |starts| {
        starts.iter_mut().skip(1).for_each(|start| start.asked = Some(lsn(21)));
    });
    undecided(&sample, "beyond");
}

#[test]
fn an_offset_of_an_unfinished_reading_is_none() {
    let mut sample = killed().sample();
    for (_, _, fact) in &mut sample.facts {
        if let Fact::OffsetFlush(flush) = fact {
            flush.snapshot = true;
        }
    }
    undecided(&sample, "nothing had been flushed");
}

fn state(at_us: u64, task: &str) -> (u64, String, Fact) {
    let worker = || "connect:8083".to_owned();
    let trace = (task == "FAILED").then(|| "java.lang.Exception: slot is gone".to_owned());
    let task = TaskState { task: 0, state: task.to_owned(), worker: worker(), trace };
    let state = ConnectorState {
        connector: CONNECTOR.to_owned(),
        state: "RUNNING".to_owned(),
        worker: worker(),
        tasks: vec![task],
        unseen_us: Some(200_000),
    };
    (at_us, "connector-watch".to_owned(), Fact::Connector(state))
}

#[test]
fn a_task_that_was_down_is_found_even_if_it_runs_again() {
    for down in ["FAILED", "PAUSED"] {
        let mut sample = killed().sample();
        sample.facts.insert(0, state(1_000, "RUNNING"));
        sample.facts.insert(1, state(20_000, down));
        sample.facts.insert(2, state(30_000, "RUNNING"));
        found(&sample, "capture-was-down");
    }
    // In the window of the fault, and over in time.
    let killed_us = committed_us(21) + 3_000;
    let mut sample = killed().sample();
    sample.facts.insert(0, state(1_000, "RUNNING"));
    sample.facts.insert(1, state(killed_us + 10_000, "FAILED"));
    sample.facts.insert(2, state(killed_us + 31_000, "RUNNING"));
    assert_eq!(check(&sample).status, Status::Pass, "{:#?}", check(&sample));
    // Not over in time.
    let mut sample = killed().sample();
    sample.facts.insert(0, state(1_000, "RUNNING"));
    sample.facts.insert(1, state(killed_us + 10_000, "FAILED"));
    sample.facts.insert(2, state(killed_us + 131_000, "RUNNING"));
    found(&sample, "capture-was-down");
}

#[test]
fn what_nobody_watched_is_a_doubt() {
    let mut sample = killed().sample();
    for (_, _, fact) in &mut sample.facts {
        if let Fact::Connector(state) = fact {
            state.unseen_us = Some(60_000_000);
        }
    }
    undecided(&sample, "nobody looked at the connector for 60.000 s");
    let mut sample = killed().sample();
    for (_, _, fact) in &mut sample.facts {
        if let Fact::Slot(slot) = fact {
            slot.unseen_us = None;
        }
    }
    undecided(&sample, "nobody noted how often the slot");
}

#[test]
fn a_slot_that_is_gone_is_found() {
    let mut sample = killed().sample();
    let slot = |at, active_pid, absent: Option<&str>| {
        let slot = SlotState {
            slot: "debezium".to_owned(),
            absent: absent.map(str::to_owned),
            active_pid,
            confirmed: None,
            unseen_us: Some(1),
        };
        (at, "slot-watch".to_owned(), Fact::Slot(slot))
    };
    sample.facts.insert(0, slot(1_000, None, Some(SlotState::GONE)));
    sample.facts.insert(1, slot(5_000, Some(70), None));
    assert_eq!(check(&sample).status, Status::Pass, "not made yet: {:#?}", check(&sample));
    sample.facts.insert(2, slot(20_000, None, Some(SlotState::GONE)));
    found(&sample, "slot-was-dropped");
}

#[test]
fn a_standstill_without_a_fault_is_found() {
    let mut sample = Run { killed_after: None, ..killed() }.sample();
    assert_eq!(check(&sample).status, Status::Pass);
    for event in events(&mut sample) {
        if event.lsn >= Some(lsn(30)) || event.operation == RowOperation::Tombstone {
            event.at_us = event.at_us.max(committed_us(30) + 200_000);
        }
    }
    found(&sample, "capture-stood-still");
}

#[test]
fn an_exactly_once_source_repeats_nothing() {
    let mut sample = killed().sample();
    sample.header.promises.source.as_mut().unwrap().exactly_once = true;
    found(&sample, "repeat-although-exactly-once");
    // What an aborted transaction left is a hole to a reader of committed records.
    let copies: Vec<_> = (18..22)
        .map(|change| {
            let all = events(&mut sample);
            let first = all.iter().find(|event| event.lsn == Some(lsn(change))).unwrap();
            (first.partition, first.offset)
        })
        .collect();
    drop_facts(&mut sample, |fact| {
        let Fact::ChangeEvent(event) = fact else { return false };
        copies.iter().any(|&(partition, offset)| {
            event.partition == partition
                && (event.offset == offset
                    || event.operation == RowOperation::Tombstone && event.offset == offset + 1)
        })
    });
    for (_, _, fact) in &mut sample.facts {
        if let Fact::LogBounds(bounds) = fact {
            let here =
                copies.iter().filter(|copy| bounds.topic == TOPIC && copy.0 == bounds.partition);
            bounds.holes = here.map(|copy| (copy.1, copy.1)).collect();
        }
    }
    assert_eq!(check(&sample).status, Status::Pass, "{:#?}", check(&sample));
}

#[test]
fn an_event_of_a_rolled_back_transaction_is_named_as_such() {
    let mut sample = killed().sample();
    let undone = SourceTransaction {
        number: 900,
        transaction: Some(9_000),
        begun_us: 20_000,
        changes: 2,
        outcome: TransactionOutcome::RolledBack,
        detail: None,
    };
    sample.tell(21_000, "source-2", Fact::SourceTransaction(undone));
    assert_eq!(check(&sample).status, Status::Pass);
    let mut event = events(&mut sample)[3].clone();
    (event.lsn, event.transaction, event.offset) = (Some(Lsn(3)), Some(9_000), 5_000);
    sample.tell(END_US, "log-reader", Fact::ChangeEvent(event));
    found(&sample, "event-of-a-rolled-back-transaction");
}
