//! Each checker against handwritten histories: one change to an honest run, and what must come of it.
#![allow(clippy::unwrap_used)]

mod content;
mod deliveries;
mod epochs;
mod evidence;
mod frontier;
mod liveness;
mod outcomes;
mod own;
mod quiet;
mod reads;
mod recovered;
mod replay;
mod scale;
mod self_report;

use crate::Judged as _;
use crate::verdict::{CheckResult, Status, Verdict};
use streamlake_history::event::*;
use streamlake_history::sample::{self, DEAD_LETTERS, END_US, GROUP, Sample, TOPIC};

pub(super) fn check(verdict: &Verdict, name: &str) -> CheckResult {
    verdict.checks.iter().find(|check| check.check == name).unwrap().clone()
}

pub(super) fn found(sample: &Sample, name: &str, anomaly: &str) {
    let verdict = sample.judge().unwrap();
    let check = check(&verdict, name);
    let names: Vec<_> = check.findings.iter().map(|f| f.anomaly.as_str()).collect();
    assert!(names.contains(&anomaly), "{name} found {names:?}, not {anomaly}: {check:#?}");
    assert_eq!((check.status, verdict.status), (Status::Fail, Status::Fail));
}

pub(super) fn comes(sample: &Sample, name: &str, status: Status) {
    let check = check(&sample.judge().unwrap(), name);
    assert_eq!(check.status, status, "{check:#?}");
    assert!(status == Status::Pass || !check.reasons.is_empty() || !check.findings.is_empty());
}

pub(super) fn drop_facts(sample: &mut Sample, unwanted: impl Fn(&Fact) -> bool) {
    sample.facts.retain(|(_, _, fact)| !unwanted(fact));
}

pub(super) fn change(sample: &mut Sample, mut f: impl FnMut(&mut Fact)) {
    for (_, _, fact) in &mut sample.facts {
        f(fact);
    }
}

#[test]
fn an_honest_run_passes_every_check_that_applies() {
    let verdict = Sample::honest().judge().unwrap();
    for check in &verdict.checks {
        let expected = match check.check.as_str() {
            "group-independence"
            | "membership"
            | "change-data-capture"
            | "replay"
            | "self-report"
            | "transactions" => Status::NotApplicable,
            _ => Status::Pass,
        };
        assert_eq!(check.status, expected, "{check:#?}");
    }
    assert_eq!(verdict.status, Status::Pass);
    let tally = &verdict.tally;
    assert_eq!((tally.invoked, tally.acknowledged, tally.logged, tally.lost), (60, 60, 60, 0));
    assert_eq!((tally.groups[GROUP].stored, tally.groups[GROUP].parts), (60, 12));
    assert!(tally.windows[0].in_flight > 0 && tally.windows[0].recovered_us.is_some());
}

#[test]
fn an_empty_history_passes_nothing() {
    for checks in [Sample::empty(0, 1), Sample::empty(10, 1), Sample::empty(0, 0)] {
        let verdict = checks.judge().unwrap();
        assert_eq!(verdict.status, Status::Inconclusive);
        for check in &verdict.checks {
            assert_ne!(check.status, Status::Pass, "{check:#?}");
            assert_ne!(check.status, Status::Fail, "{check:#?}");
        }
    }
}

#[test]
fn each_source_of_evidence_is_missed_by_those_who_need_it() {
    type Kind = fn(&Fact) -> bool;
    let cases: [(Kind, &[&str]); 6] = [
        (
            |f| matches!(f, Fact::Logged(_) | Fact::LogBounds(_)),
            &[
                "acknowledged-is-durable",
                "no-loss",
                "no-gap",
                "commit-frontier",
                "fidelity",
                "history",
                "partition-determinism",
            ],
        ),
        (|f| matches!(f, Fact::Committed(_)), &["no-loss", "no-gap", "commit-frontier"]),
        (
            |f| matches!(f, Fact::Object(_) | Fact::Stored(_) | Fact::StoreRead { .. }),
            &["no-loss", "no-gap", "commit-frontier", "immutability", "metadata", "fidelity"],
        ),
        (|f| matches!(f, Fact::Fault(_)), &["fault-bit"]),
        (|f| matches!(f, Fact::Configuration { .. }), &["configuration"]),
        (|f| matches!(f, Fact::Phase { .. }), &["history"]),
    ];
    for (kind, names) in cases {
        let mut sample = Sample::honest();
        drop_facts(&mut sample, kind);
        for name in names {
            comes(&sample, name, Status::Inconclusive);
        }
        assert_ne!(sample.judge().unwrap().status, Status::Pass);
    }
}

#[test]
fn acknowledged_and_not_logged_is_found_with_its_operation() {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Logged(l) if l.op == Some(17)));
    found(&sample, "acknowledged-is-durable", "acknowledged-but-not-logged");
    let verdict = sample.judge().unwrap();
    assert_eq!(check(&verdict, "acknowledged-is-durable").findings[0].ops, [17]);
    assert_eq!(verdict.tally.lost, 1);
}

#[test]
fn what_retention_dropped_is_in_doubt_and_not_lost() {
    let mut sample = Sample::honest();
    let below = |l: &Logged| l.offset < 3;
    drop_facts(&mut sample, |f| matches!(f, Fact::Logged(l) if below(l)));
    change(&mut sample, |f| {
        if let Fact::LogBounds(b) = f
            && b.topic == TOPIC
        {
            b.low = 3;
        }
    });
    comes(&sample, "acknowledged-is-durable", Status::Inconclusive);
    comes(&sample, "no-loss", Status::Pass);
}

#[test]
fn dead_letters_are_no_lag_of_the_group_that_wrote_them() {
    let mut sample = Sample::honest();
    sample.header.promises.topics.insert(DEAD_LETTERS.to_owned(), 2);
    sample.bounds(DEAD_LETTERS, 1, 0, 65);
    assert_eq!(sample.judge().unwrap().tally.groups[GROUP].lag_end, 0);
}

#[test]
fn another_record_at_the_receipts_offset_is_found() {
    for field in 0..4 {
        let mut sample = Sample::honest();
        change(&mut sample, |f| match f {
            Fact::Logged(l) if l.op == Some(8) => match field {
                0 => l.value = Print(1),
                1 => l.key = None,
                2 => l.op = Some(59),
                _ => l.ingestion_id = Some("other".to_owned()),
            },
            _ => {}
        });
        // One that the log names nowhere any more is lost; the others only differ.
        let anomaly = match field {
            2 => "acknowledged-and-overwritten",
            _ => "logged-differs-from-acknowledged",
        };
        found(&sample, "acknowledged-is-durable", anomaly);
        assert_eq!(sample.judge().unwrap().tally.lost, u64::from(field == 2));
    }
}

#[test]
fn a_failure_that_was_written_is_found_and_an_unknown_may_be_either() {
    let mut sample = Sample::honest();
    let end = |sample: &mut Sample, op: u64, outcome: Outcome| {
        change(sample, |f| match f {
            Fact::Completed(c) if c.op == op => c.outcome = outcome.clone(),
            _ => {}
        });
    };
    end(&mut sample, 5, Outcome::Unknown { error: "timeout".to_owned() });
    comes(&sample, "acknowledged-is-durable", Status::Pass);
    assert_eq!(sample.judge().unwrap().tally.unknown, 1);
    end(&mut sample, 5, Outcome::Failed { error: "no".to_owned() });
    found(&sample, "acknowledged-is-durable", "failed-but-logged");
}

#[test]
fn two_receipts_for_one_offset_are_found() {
    let mut sample = Sample::honest();
    change(&mut sample, |f| {
        if let Fact::Completed(Completed { op: 14, outcome, .. }) = f
            && let Outcome::Acknowledged { partition, offset, .. } = outcome
        {
            (*partition, *offset) =
                (streamlake_history::murmur2::partition(&sample::key(7).0, 2), 0);
        }
    });
    assert_eq!(sample.judge().unwrap().status, Status::Fail);
    let check = check(&sample.judge().unwrap(), "acknowledged-is-durable");
    assert!(!check.findings.is_empty());
}

#[test]
fn lost_after_commit_is_found_by_loss_gap_and_frontier() {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Stored(s) if s.op == Some(23)));
    found(&sample, "no-loss", "lost-after-commit");
    found(&sample, "no-gap", "gap");
    found(&sample, "commit-frontier", "commit-before-durable");
    found(&sample, "metadata", "metadata-disagrees");
    assert_eq!(sample.judge().unwrap().tally.gaps, 1);
}

#[test]
fn a_part_that_is_gone_is_found() {
    let mut sample = Sample::honest();
    let mut gone = false;
    sample.facts.retain(|(_, process, fact)| match fact {
        Fact::Object(o) if process == "store-reader" && o.role == ObjectRole::Part => {
            gone = o.object == 2;
            !gone
        }
        Fact::Stored(s) => s.object != 2,
        _ => true,
    });
    found(&sample, "immutability", "part-vanished");
    found(&sample, "no-loss", "stored-and-gone");
}

#[test]
fn a_commit_before_the_write_is_found_though_nothing_is_lost() {
    let mut sample = Sample::honest();
    change(&mut sample, |f| match f {
        Fact::Committed(c) if c.at_us == 215_000 => c.at_us = 190_000,
        _ => {}
    });
    found(&sample, "commit-frontier", "commit-before-durable");
    comes(&sample, "no-loss", Status::Pass);
    let finding = check(&sample.judge().unwrap(), "commit-frontier").findings[0].clone();
    assert_eq!(finding.at_us, Some(190_000));
    assert_eq!(finding.partition, Some(0));
}

#[test]
fn a_commit_within_the_resolution_of_the_clocks_is_no_violation() {
    let mut sample = Sample::honest();
    change(&mut sample, |f| {
        if let Fact::Committed(c) = f {
            c.at_us -= 5_999;
        }
    });
    comes(&sample, "commit-frontier", Status::Pass);
}

#[test]
fn commits_beyond_the_log_and_backwards_are_found() {
    let mut sample = Sample::honest();
    sample.commit(END_US - 1, 0, 1_000);
    found(&sample, "commit-frontier", "commit-beyond-the-log");
    let mut sample = Sample::honest();
    sample.commit(END_US - 1, 0, 3);
    found(&sample, "commit-frontier", "commit-went-back");
    found(&sample, "recovery", "left-over");
    sample.process(END_US - 2, "replay-1", "started");
    comes(&sample, "commit-frontier", Status::Pass);
}

#[test]
fn holes_that_the_reader_declared_are_no_gaps_and_others_are_in_doubt() {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| {
        matches!(f, Fact::Logged(l) if l.op == Some(20))
            || matches!(f, Fact::Stored(s) if s.op == Some(20))
            || matches!(f, Fact::Completed(c) if c.op == 20)
    });
    comes(&sample, "no-gap", Status::Inconclusive);
    let hole = {
        let verdict = Sample::honest();
        let place = verdict.facts.iter().find_map(|(_, _, f)| match f {
            Fact::Logged(l) if l.op == Some(20) => Some((l.partition, l.offset)),
            _ => None,
        });
        place.unwrap()
    };
    change(&mut sample, |f| match f {
        Fact::LogBounds(b) if b.topic == TOPIC && b.partition == hole.0 => {
            b.holes = vec![(hole.1, hole.1)];
        }
        _ => {}
    });
    comes(&sample, "no-gap", Status::Pass);
}

#[test]
fn keys_out_of_order_in_the_log_are_found() {
    let mut sample = Sample::honest();
    // 7 and 14 have the same key: the producer sent the later one first.
    change(&mut sample, |f| {
        let swap = |op: u64| match op {
            7 => 14,
            14 => 7,
            other => other,
        };
        match f {
            Fact::Logged(l) => {
                let op = swap(l.op.unwrap());
                (l.op, l.value, l.headers) = (Some(op), sample::value(op), sample::headers(op));
            }
            Fact::Completed(c) => c.op = swap(c.op),
            Fact::Stored(s) => {
                let op = swap(s.op.unwrap());
                (s.op, s.value, s.headers) = (Some(op), sample::value(op), sample::headers(op));
            }
            _ => {}
        }
    });
    change(&mut sample, |f| {
        if let Fact::Logged(l) = f {
            l.ingestion_id = None;
        }
    });
    sample.facts.sort_by_key(|f| matches!(f.2, Fact::Completed(_)));
    change(&mut sample, |_| {});
    for (t_us, _, fact) in &mut sample.facts {
        if matches!(fact, Fact::Completed(_)) {
            *t_us = 900_000;
        }
    }
    sample.header.promises.faults.clear();
    drop_facts(&mut sample, |f| matches!(f, Fact::Fault(_)));
    found(&sample, "order", "key-order");
    sample.header.promises.key_order = false;
    comes(&sample, "order", Status::Pass);
}

#[test]
fn a_part_that_goes_back_is_found() {
    let mut sample = Sample::honest();
    let places: Vec<usize> = (0..sample.facts.len())
        .filter(
            |&n| matches!(&sample.facts[n].2, Fact::Stored(s) if s.object == 2 && s.partition == 0),
        )
        .collect();
    sample.facts.swap(places[0], places[1]);
    found(&sample, "order", "part-out-of-order");
}
