//! What became of the operations, and how the processes ended.

use super::*;

fn end(sample: &mut Sample, op: u64, outcome: &Outcome) {
    change(sample, |f| match f {
        Fact::Completed(c) if c.op == op => c.outcome = outcome.clone(),
        _ => {}
    });
    drop_facts(sample, |f| match f {
        Fact::Logged(l) => l.op == Some(op),
        Fact::Stored(s) => s.op == Some(op),
        _ => false,
    });
}

fn outcome(sample: &Sample) -> CheckResult {
    check(&sample.judge().unwrap(), "outcomes")
}

#[test]
fn an_operation_without_an_acknowledgement_needs_a_fault_near() {
    // The fault of the honest run lasts from 300 to 340 ms; operation n is invoked at 10n ms.
    let unknown = Outcome::Unknown { error: "timed out".to_owned() };
    let failed = Outcome::Failed { error: "refused".to_owned() };
    for (outcome_of, anomaly) in
        [(&unknown, "unknown-without-a-fault"), (&failed, "failed-without-a-fault")]
    {
        let mut sample = Sample::honest();
        end(&mut sample, 32, outcome_of);
        comes(&sample, "outcomes", Status::Pass);
        for op in [3, 50] {
            let mut sample = Sample::honest();
            end(&mut sample, op, outcome_of);
            found(&sample, "outcomes", anomaly);
            let finding = outcome(&sample).findings[0].clone();
            assert_eq!(finding.ops, [op]);
            let told = finding.evidence.join("; ");
            assert!(told.contains("timed out") || told.contains("refused"), "{told}");
            sample.header.promises.outcomes = Some(OutcomePromise {
                unacknowledged_outside_faults: 1,
                ..OutcomePromise::default()
            });
            comes(&sample, "outcomes", Status::Pass);
        }
    }
    let mut silent = Sample::honest();
    drop_facts(&mut silent, |f| matches!(f, Fact::Completed(c) if c.op == 50));
    found(&silent, "outcomes", "never-answered");
    // It may have been the harness that did not hear it.
    let text = "reading receipts: broken pipe".to_owned();
    silent.tell(END_US, "runner", Fact::Note { level: "error".to_owned(), text });
    comes(&silent, "outcomes", Status::Inconclusive);
}

#[test]
fn a_fault_of_the_store_excuses_no_producer() {
    let mut sample = Sample::honest();
    end(&mut sample, 32, &Outcome::Unknown { error: String::new() });
    comes(&sample, "outcomes", Status::Pass);
    for kind in ["store-failure", "consumer-kill"] {
        sample.header.promises.faults[0].kind = kind.to_owned();
        found(&sample, "outcomes", "unknown-without-a-fault");
    }
}

#[test]
fn poison_is_rejected_and_nothing_else_is() {
    let rejected = Outcome::Rejected { reason: "no amount".to_owned() };
    let mut sample = Sample::honest();
    end(&mut sample, 20, &rejected);
    found(&sample, "outcomes", "good-record-rejected");
    let poison = |sample: &mut Sample| {
        change(sample, |f| match f {
            Fact::Invoked(i) if i.op == 20 => i.poison = true,
            _ => {}
        });
    };
    poison(&mut sample);
    comes(&sample, "outcomes", Status::Pass);
    let mut sample = Sample::honest();
    poison(&mut sample);
    comes(&sample, "outcomes", Status::Pass);
    sample.header.promises.outcomes =
        Some(OutcomePromise { validates: true, ..OutcomePromise::default() });
    found(&sample, "outcomes", "poison-acknowledged");
}

/// The honest run, with another end of one of its processes.
fn ending(name: &str, t_us: u64, asked: Option<Ask>, end: ProcessEnd) -> Sample {
    let mut sample = Sample::honest();
    drop_facts(
        &mut sample,
        |f| matches!(f, Fact::Process(p) if p.name == name && p.state == ProcessChange::Exited),
    );
    sample.tell(700_001, "runner", Fact::Phase { name: "drain".to_owned() });
    sample.ended(t_us, name, asked, end);
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
    sample
}

#[test]
fn a_process_ends_when_it_is_asked_to_and_in_order() {
    use Ask::{Kill, Stop};
    use ProcessEnd::{Code, Signal};
    let (c, p) = ("consumer-1", "producer-1");
    let cases = [
        (c, 725_000, Some(Stop), Code(0), None),
        (c, 725_000, Some(Stop), Code(1), Some("stopped-in-disorder")),
        (c, 725_000, Some(Stop), Code(101), Some("panicked")),
        (c, 725_000, Some(Stop), Signal(11), Some("stopped-in-disorder")),
        (c, 725_000, Some(Kill), Signal(9), Some("had-to-be-killed")),
        (c, 310_000, Some(Kill), Signal(9), None),
        (c, 310_000, Some(Stop), Code(0), None),
        (c, 310_000, None, Code(0), Some("ended-unasked")),
        (c, 310_000, None, Code(101), Some("panicked")),
        (c, 310_000, None, Signal(6), Some("died")),
        (p, 690_000, None, Code(0), None),
        (p, 690_000, None, Code(3), Some("producer-failed")),
        (p, 690_000, None, Signal(11), Some("producer-failed")),
        (p, 400_000, None, Code(0), Some("ended-before-its-input")),
        (p, 730_000, Some(Kill), Signal(9), Some("had-to-be-killed")),
    ];
    for (name, t_us, asked, end, anomaly) in cases {
        let sample = ending(name, t_us, asked, end);
        match anomaly {
            Some(anomaly) => found(&sample, "exits", anomaly),
            None => comes(&sample, "exits", Status::Pass),
        }
    }
}

#[test]
fn an_orderly_stop_leaves_nothing_uncommitted() {
    let stop = ending("consumer-1", 725_000, Some(Ask::Stop), ProcessEnd::Code(0));
    comes(&stop, "exits", Status::Pass);
    let mut left = stop;
    drop_facts(&mut left, |fact| matches!(fact, Fact::Committed(c) if c.at_us > 600_000));
    found(&left, "exits", "left-uncommitted");
    let mut late = ending("consumer-1", 725_000, Some(Ask::Stop), ProcessEnd::Code(0));
    late.header.promises.groups[0].drains_within_us = Some(1_000);
    found(&late, "exits", "stopped-late");
    // Not promised; cut short by its deadline; killed; in the middle of a rebalance.
    let mut without = left.clone();
    without.header.promises.groups[0].drains_within_us = None;
    comes(&without, "exits", Status::Pass);
    let mut short = left.clone();
    short.header.promises.groups[0].drains_within_us = Some(20_000);
    comes(&short, "exits", Status::Pass);
    let mut rebalance = left.clone();
    rebalance.position(705_000, "consumer-2", 0, Some(3));
    rebalance.facts.sort_by_key(|(t_us, _, _)| *t_us);
    comes(&rebalance, "exits", Status::Pass);
    // What was stored after it had gone, nobody can have committed.
    change(&mut left, |fact| match fact {
        Fact::Object(object) if object.created_us > 600_000 => object.created_us = 800_000,
        _ => {}
    });
    comes(&left, "exits", Status::Pass);
}

/// `produce` ends with 1 when it could not vouch for every record: that is its word, and no disorder.
#[test]
fn a_producer_that_reported_a_failure_may_end_with_1() {
    let mut sample = ending("producer-1", 690_000, None, ProcessEnd::Code(1));
    found(&sample, "exits", "producer-failed");
    end(&mut sample, 30, &Outcome::Unknown { error: "timed out".to_owned() });
    comes(&sample, "exits", Status::Pass);
    let mut early = ending("producer-1", 400_000, None, ProcessEnd::Code(1));
    end(&mut early, 30, &Outcome::Unknown { error: "timed out".to_owned() });
    found(&early, "exits", "ended-before-its-input");
    // The same where it was asked to stop.
    let mut asked = ending("producer-1", 690_000, Some(Ask::Stop), ProcessEnd::Code(1));
    found(&asked, "exits", "stopped-in-disorder");
    end(&mut asked, 30, &Outcome::Unknown { error: "timed out".to_owned() });
    comes(&asked, "exits", Status::Pass);
}

/// And with 0 it says that every record was vouched for.
#[test]
fn a_producer_that_reported_a_failure_does_not_end_with_0() {
    let failed = Outcome::Failed { error: "refused".to_owned() };
    let mut sample = ending("producer-1", 690_000, None, ProcessEnd::Code(0));
    sample.header.promises.outcomes =
        Some(OutcomePromise { unacknowledged_outside_faults: 9, ..OutcomePromise::default() });
    comes(&sample, "exits", Status::Pass);
    // What a broker appended without telling the place is unknown, and no failure.
    let mut unknown = sample.clone();
    end(&mut unknown, 30, &Outcome::Unknown { error: "no offset".to_owned() });
    comes(&unknown, "exits", Status::Pass);
    end(&mut sample, 30, &failed);
    found(&sample, "exits", "exit-hides-failures");
}

#[test]
fn a_process_that_ends_again_and_again_is_a_crash_loop() {
    let mut sample = Sample::honest();
    for n in 0..3 {
        sample.ended(100_000 + n * 10_000, "consumer-1", None, ProcessEnd::Code(101));
        sample.process(105_000 + n * 10_000, "consumer-1", "started");
    }
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
    found(&sample, "exits", "crash-loop");
    let finding = check(&sample.judge().unwrap(), "exits").findings[0].clone();
    assert_eq!((finding.evidence.len(), finding.at_us), (3, Some(100_000)));
}

#[test]
fn an_end_that_nobody_saw_and_a_member_that_never_came() {
    let mut sample = Sample::honest();
    let exited = |f: &Fact| matches!(f, Fact::Process(p) if p.state == ProcessChange::Exited);
    drop_facts(&mut sample, exited);
    comes(&sample, "exits", Status::Inconclusive);
    let mut sample = Sample::honest();
    sample.header.promises.groups[0].members =
        ["consumer-1", "consumer-2"].map(str::to_owned).to_vec();
    found(&sample, "exits", "never-started");
    sample.header.promises.groups[0].members.pop();
    comes(&sample, "exits", Status::Pass);
}

#[test]
fn histories_of_version_1_tell_ends_in_words() {
    let told = |status: &str, t_us: u64| {
        let mut sample = ending("consumer-1", t_us, None, ProcessEnd::Code(0));
        sample.header.version = 1;
        change(&mut sample, |f| {
            if let Fact::Process(p) = f
                && p.state == ProcessChange::Exited
            {
                (p.asked, p.end) = (None, None);
                let own = p.name == "consumer-1";
                p.status = Some(if own { status } else { "exit status: 0" }.to_owned());
            }
        });
        sample
    };
    comes(&told("exit status: 0", 725_000), "exits", Status::Pass);
    found(&told("exit status: 101", 725_000), "exits", "panicked");
    found(&told("signal: 9 (SIGKILL)", 725_000), "exits", "had-to-be-killed");
    found(&told("signal: 11 (SIGSEGV) (core dumped)", 320_000), "exits", "died");
    let mut killed = told("signal: 9 (SIGKILL)", 320_000);
    found(&killed, "exits", "died");
    killed.header.promises.faults[0].target = "consumer-1".to_owned();
    comes(&killed, "exits", Status::Pass);
}

#[test]
fn most_operations_are_answered_soon_where_nothing_is_broken() {
    let within = |us: u64, faulty: bool| {
        let mut sample = Sample::honest();
        let most_answered_within_us = Some(us);
        sample.header.promises.outcomes =
            Some(OutcomePromise { most_answered_within_us, ..OutcomePromise::default() });
        if !faulty {
            sample.header.promises.faults.clear();
            drop_facts(&mut sample, |f| matches!(f, Fact::Fault(_)));
        }
        sample
    };
    // They take 5 ms.
    found(&within(4_000, false), "outcomes", "slow-answers");
    comes(&within(6_000, false), "outcomes", Status::Pass);
    comes(&within(4_000, true), "outcomes", Status::Pass);
}

#[test]
fn a_receipt_names_the_key_that_the_record_has() {
    let telling = |key: Option<&str>| {
        let mut sample = Sample::honest();
        change(&mut sample, |f| match f {
            Fact::Completed(c) if c.op == 7 => c.key = key.map(|key| Blob(key.into())),
            Fact::Completed(c) => c.key = Some(sample::key(c.op)),
            _ => {}
        });
        sample
    };
    let own = String::from_utf8(sample::key(7).0).unwrap();
    comes(&telling(Some(&own)), "acknowledged-is-durable", Status::Pass);
    for another in [Some("another"), Some("")] {
        let name = "receipt-names-another-key";
        found(&telling(another), "acknowledged-is-durable", name);
        let verdict = telling(another).judge().unwrap();
        assert_eq!(check(&verdict, "acknowledged-is-durable").findings[0].ops, [7]);
    }
    // One that does not say is judged where saying so is promised.
    let mut silent = telling(None);
    comes(&silent, "acknowledged-is-durable", Status::Pass);
    silent.header.promises.outcomes =
        Some(OutcomePromise { tells_key_and_letter: true, ..OutcomePromise::default() });
    found(&silent, "acknowledged-is-durable", "receipt-names-another-key");
}

/// A step of the one consumer's life in its group.
fn step(sample: &mut Sample, at_us: u64, change: MembershipChange) {
    let fact = Membership {
        group: GROUP.to_owned(),
        member: "consumer-1".to_owned(),
        id: "consumer-1-id".to_owned(),
        change,
        generation: None,
        partitions: Default::default(),
        refusal: None,
        at_us,
    };
    sample.tell(at_us, "wire", Fact::Membership(fact));
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
}

#[test]
fn a_member_that_stops_in_order_leaves_its_group() {
    let with = |steps: &[(u64, MembershipChange)]| {
        let mut sample = ending("consumer-1", 725_000, Some(Ask::Stop), ProcessEnd::Code(0));
        steps.iter().for_each(|&(at_us, change)| step(&mut sample, at_us, change));
        sample
    };
    use MembershipChange::{Joined, Left, Owns, Refused};
    let stays = with(&[(15, Joined), (18, Owns)]);
    found(&stays, "exits", "group-not-left");
    comes(&with(&[(15, Joined), (18, Owns), (724_000, Left)]), "exits", Status::Pass);
    comes(&with(&[(15, Joined), (18, Owns), (600_000, Refused)]), "exits", Status::Pass);
    // Nobody saw it join; what an earlier process of that name had was that one's.
    comes(&with(&[]), "exits", Status::Pass);
    comes(&with(&[(5, Owns)]), "exits", Status::Pass);
    // A static member keeps its place; a broker that was away may not have heard it.
    let mut keeps = stays.clone();
    keeps.header.promises.groups[0].keeps_members = true;
    comes(&keeps, "exits", Status::Pass);
    let mut away = stays;
    change(&mut away, |f| match f {
        Fact::Fault(f) if f.step == FaultStage::Healed => f.step = FaultStage::Seen,
        _ => {}
    });
    let names = check(&away.judge().unwrap(), "exits").findings;
    assert!(names.iter().all(|finding| finding.anomaly != "group-not-left"), "{names:#?}");
}

#[test]
fn what_was_given_up_is_not_acknowledged_later() {
    let waiting = |us: u64| {
        let mut sample = Sample::honest();
        let gives_up_after_us = Some(20_000);
        sample.header.promises.outcomes =
            Some(OutcomePromise { gives_up_after_us, ..OutcomePromise::default() });
        for (t_us, _, fact) in &mut sample.facts {
            if matches!(fact, Fact::Completed(c) if c.op == 58) {
                *t_us = 580_000 + us;
            }
        }
        sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
        sample
    };
    comes(&waiting(1_400_000), "outcomes", Status::Pass);
    found(&waiting(1_700_000), "outcomes", "acknowledged-after-giving-up");
}
