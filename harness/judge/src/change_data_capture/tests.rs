//! Histories of a capture, legal by construction, and what must come of one change to them.
#![allow(clippy::unwrap_used)]

mod rows;
mod run;
mod starts;

use proptest::prelude::*;

use crate::Judged as _;
use crate::verdict::Status;
use streamlake_history::event::*;
use streamlake_history::sample::{END_US, Sample};

use run::*;

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
    last.before = None;
    let check = check(&sample);
    assert_eq!((check.figures["missing_changes"], check.figures["snapshot_events"]), (9, 1));
    found(&sample, "change-not-captured");
}

#[test]
fn a_late_end_is_found_only_where_the_capture_ran_and_had_its_time() {
    let mut sample = killed().sample();
    drop_events_of(&mut sample, 59);
    // The worker's offsets say that it is done with the change: nothing will capture it any more.
    found(&sample, "change-not-captured");
    drop_facts(&mut sample, |f| matches!(f, Fact::OffsetFlush(f) if f.lsn >= Some(lsn(59))));
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
fn a_repeat_without_a_start_is_found() {
    let mut sample = Run { killed_after: None, ..killed() }.sample();
    repeat(&mut sample, 40, END_US - 10_000);
    found(&sample, "repeat-without-a-start");
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
    found(&sample, "repeat-without-a-start");
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
    found(&sample, "repeat-without-a-start");
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

/// That others came in time after the heal says nothing of one that came much later.
#[test]
fn one_event_that_comes_late_is_found() {
    let late = |by_us: u64| {
        let mut sample = killed().sample();
        let budget = sample.header.promises.recovery_within_us;
        let events = sample.facts.iter_mut().filter_map(|(t_us, _, fact)| match fact {
            Fact::ChangeEvent(event) if event.revision.is_some() => Some((t_us, event)),
            _ => None,
        });
        let (t_us, event) = events.max_by_key(|(_, event)| event.at_us).unwrap();
        let by_us = if by_us > 0 { budget + by_us } else { 0 };
        (event.at_us, *t_us) = (event.at_us + by_us, *t_us + by_us);
        let (at_us, wall) = (*t_us, sample.facts.iter().map(|f| f.0).max().unwrap());
        for (t_us, _, fact) in &mut sample.facts {
            if matches!(fact, Fact::Phase { name } if name == "final-read" || name == "done") {
                *t_us = at_us.max(wall);
            }
        }
        let verdict = sample.judge().unwrap();
        let check =
            verdict.checks.iter().find(|check| check.check == "change-data-capture").unwrap();
        check.findings.iter().any(|finding| finding.anomaly == "captured-late")
    };
    assert!(late(60_000_000) && !late(0));
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
        kill in FLUSH_EVERY..25,
        place in 0_usize..1000,
        plant in 0_usize..10,
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
                // A tombstone tells no position.
                events.retain(|event| event.operation != RowOperation::Tombstone);
                let place = place % events.len();
                events[place].lsn = Some(Lsn(7));
                "event-without-change"
            }
            2 => {
                let mut events = events(&mut sample);
                events.retain(|event| event.operation != RowOperation::Tombstone);
                let place = place % events.len();
                events[place].transaction = Some(1);
                "event-differs-from-change"
            }
            3 => {
                // Captured after the fault was over.
                repeat(&mut sample, changes - 1, END_US - 10_000);
                "repeat-without-a-start"
            }
            4 => {
                let mut events = events(&mut sample);
                let place = place % events.len();
                let event = &mut events[place];
                let Some(row) = event.after.as_mut().or(event.before.as_mut()) else {
                    return Ok(());
                };
                let wrong = if row["remark"].is_some() { None } else { Some(Column::of(String::new())) };
                row.insert("remark".to_owned(), wrong);
                "event-differs-from-change"
            }
            5 => {
                let mut events = events(&mut sample);
                events.retain(|event| event.before.is_some());
                let place = place % events.len();
                let row = events[place].before.as_mut().unwrap();
                row.insert("amount".to_owned(), Some(Column::of("0.125".to_owned())));
                "event-differs-from-change"
            }
            6 => {
                // Of the deletes the tombstones that have a record behind them.
                let events = events(&mut sample);
                let followed = |event: &&&mut ChangeEvent| {
                    let behind = |e: &&mut ChangeEvent| {
                        e.partition == event.partition && e.offset > event.offset
                    };
                    event.operation == RowOperation::Tombstone && events.iter().any(behind)
                };
                let buried: Vec<_> = events.iter().filter(followed).collect();
                let Some(gone) = buried.last().map(|event| (event.partition, event.offset)) else {
                    return Ok(());
                };
                drop_facts(&mut sample, |f| {
                    matches!(f, Fact::ChangeEvent(e) if (e.partition, e.offset) == gone)
                });
                "tombstone-missing"
            }
            7 => {
                let mut events = events(&mut sample);
                events.retain(|event| event.lsn > Some(lsn(2)));
                let place = place % events.len();
                events[place].at_us = 2_000;
                "event-before-commit"
            }
            8 => {
                if kill % FLUSH_EVERY == 0 {
                    return Ok(());
                }
                for (_, _, fact) in &mut sample.facts {
                    if let Fact::CaptureStart(start) = fact {
                        start.at_us = 5_000;
                    }
                }
                "repeat-without-a-start"
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
