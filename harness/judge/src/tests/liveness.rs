//! Recovery from each fault, and standstills without one.

use super::*;

/// The honest run with its budget and bound at 150 ms, and a second fault early in it.
fn two_faults() -> Sample {
    use FaultStage::{Healed, Healing, Injected, Injecting, Seen};
    let mut sample = Sample::honest();
    sample.header.promises.recovery_within_us = 150_000;
    sample.header.promises.standstill_within_us = Some(1_000_000);
    let first = PlannedFault { fault: 1, ..sample.header.promises.faults[0].clone() };
    sample.header.promises.faults.push(first);
    for (n, step) in (0..).zip([Injecting, Injected, Seen, Healing, Healed]) {
        let evidence = [("pid".to_owned(), "changed".to_owned())].into();
        let step = FaultStep { fault: 1, step, evidence, target: None, patient: None };
        sample.tell(20_000 + n * 2_000, "nemesis", Fact::Fault(step));
    }
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
    sample
}

#[test]
fn each_fault_is_recovered_from_and_not_only_the_last() {
    comes(&two_faults(), "recovery", Status::Pass);
    let mut sample = two_faults();
    // The commits at 115 and 215 ms never came: the first fault healed at 28 ms.
    drop_facts(&mut sample, |f| matches!(f, Fact::Committed(c) if c.at_us < 300_000));
    found(&sample, "recovery", "group-did-not-recover");
    let finding = check(&sample.judge().unwrap(), "recovery").findings[0].clone();
    assert!(finding.message.contains("newer than fault 1"), "{}", finding.message);
}

#[test]
fn time_inside_other_windows_counts_against_nobody() {
    use crate::recovered::outside;
    let spans = || [(10, 20), (15, 30), (50, 60), (90, 200)].into_iter();
    assert_eq!(outside(0, 100, spans()), 100 - 20 - 10 - 10);
    assert_eq!(outside(12, 18, spans()), 0);
    assert_eq!(outside(30, 50, spans()), 20);
    assert_eq!(outside(5, 5, spans()), 0);
}

#[test]
fn a_standstill_without_a_fault_is_found_and_its_length_told() {
    let mut sample = Sample::honest();
    sample.header.promises.faults.clear();
    drop_facts(&mut sample, |f| matches!(f, Fact::Fault(_)));
    sample.header.promises.standstill_within_us = Some(250_000);
    comes(&sample, "recovery", Status::Pass);
    // From the commit at 115 ms on, or from the first record after it, to the one at 515 ms.
    drop_facts(
        &mut sample,
        |f| matches!(f, Fact::Committed(c) if (200_000..500_000).contains(&c.at_us)),
    );
    found(&sample, "recovery", "standstill-without-a-fault");
    let tally = sample.judge().unwrap().tally;
    let longest = tally.longest_standstill_us.unwrap();
    assert!((390_000..=400_000).contains(&longest), "{longest}");
    assert!(tally.longest_standstill_in.unwrap().contains(GROUP));
    assert!(!tally.standstill_open);
}

#[test]
fn what_is_not_broken_is_prompt() {
    let with = |age_us| {
        let mut sample = Sample::honest();
        sample.header.promises.faults.clear();
        let batch = BatchPromise { records: 1_000, bytes: None, age_us };
        sample.header.promises.groups[0].batch = Some(batch);
        drop_facts(&mut sample, |f| matches!(f, Fact::Fault(_)));
        sample
    };
    comes(&with(100_000), "recovery", Status::Pass);
}

#[test]
fn a_store_that_refuses_everything_is_not_pressed() {
    let with = |requests| {
        let mut sample = Sample::honest();
        change(&mut sample, |f| {
            if let Fact::Fault(step) = f {
                let fault = Some("status 503".to_owned());
                step.target = Some(Box::new(TargetSeen { fault, ..TargetSeen::default() }));
                let met = PatientMet { requests: Some(requests), ..PatientMet::default() };
                step.patient = Some(Box::new(met));
            }
        });
        sample
    };
    let found_in = |requests| {
        let findings = check(&with(requests).judge().unwrap(), "recovery").findings;
        findings.iter().any(|finding| finding.anomaly == "store-pressed")
    };
    assert!(!found_in(60) && found_in(1_000));
}

#[test]
fn a_standstill_near_a_fault_is_the_matter_of_its_recovery() {
    let mut sample = Sample::honest();
    sample.header.promises.standstill_within_us = Some(150_000);
    drop_facts(
        &mut sample,
        |f| matches!(f, Fact::Committed(c) if (300_000..500_000).contains(&c.at_us)),
    );
    comes(&sample, "recovery", Status::Pass);
    assert!(sample.judge().unwrap().tally.longest_standstill_us.unwrap() > 280_000);
}

#[test]
fn one_receipt_that_never_came_is_no_work_after_the_heal() {
    let mut sample = Sample::honest();
    // A fault after the load.
    for (t_us, _, fact) in &mut sample.facts {
        if matches!(fact, Fact::Fault(_)) {
            *t_us += 500_000;
        }
    }
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
    let stuck = |sample: &Sample| {
        let check = check(&sample.judge().unwrap(), "recovery");
        check.findings.iter().any(|f| f.anomaly == "producers-did-not-recover")
    };
    assert!(!stuck(&sample));
    drop_facts(&mut sample, |f| matches!(f, Fact::Completed(c) if c.op == 4));
    assert!(!stuck(&sample));
}

#[test]
fn samples_that_end_too_early_are_a_doubt() {
    let mut sample = Sample::honest();
    change(&mut sample, |f| {
        if let Fact::Committed(c) = f {
            c.exact = false;
        }
    });
    // Nobody looked after 615 ms.
    drop_facts(&mut sample, |f| matches!(f, Fact::Committed(c) if c.at_us > 600_000));
    comes(&sample, "recovery", Status::Inconclusive);
    comes(&sample, "no-loss", Status::Inconclusive);
    for partition in 0..2 {
        let last = sample.facts.iter().rev().find_map(|(_, _, f)| match f {
            Fact::Committed(c) if c.partition == partition => Some(c.clone()),
            _ => None,
        });
        let last = Committed { at_us: END_US, ..last.unwrap() };
        sample.tell(END_US, "commit-watch", Fact::Committed(last));
    }
    found(&sample, "recovery", "left-over");
}

#[test]
fn a_consumer_that_works_calls_itself_well_and_ready() {
    let telling = |answers: &[(u64, &str, &str)]| {
        let mut sample = Sample::honest();
        sample.header.promises.groups[0].members = vec!["consumer-1".to_owned()];
        sample.header.promises.recovery_within_us = 80_000;
        // Commits of the sample come a tenth of a second apart.
        sample.header.promises.standstill_within_us = Some(END_US);
        // It lives on.
        for (t_us, _, fact) in &mut sample.facts {
            if matches!(fact, Fact::Process(p) if p.name == "consumer-1" && p.state == ProcessChange::Exited)
            {
                *t_us = 11_000_000;
            }
        }
        for &(t_us, path, detail) in answers {
            let (target, detail) = (format!("consumer-1 {path}"), detail.to_owned());
            let probe = Probe { target, answered: true, detail };
            sample.tell(t_us, "health-consumer-1", Fact::Probe(probe));
        }
        sample.facts.sort_by_key(|f| f.0);
        sample
    };
    let (health, ready) = ("healthz", "readyz");
    let well = [
        (20, health, "200"),
        (30, ready, "503"),
        (90_000, ready, "200"),
        (END_US, health, "200"),
        (END_US, ready, "200"),
    ];
    comes(&telling(&well), "recovery", Status::Pass);
    let ill = |from: u64, to: u64| {
        let mut all = well.to_vec();
        all.extend([(from, health, "503"), (to, health, "200")]);
        telling(&all)
    };
    // Only changes are recorded: who is never ready says so once, and lives on.
    let never = [(20, health, "200"), (30, ready, "503"), (11_000_000, health, "200")];
    found(&telling(&never), "recovery", "never-ready");
    // It was ready a second later; or it ended after nine; or nobody knows how long it lived on.
    for last in [(1_000_000, ready, "200"), (9_000_000, ready, "it does not answer")] {
        let sample = telling(&[never[0], never[1], last, never[2]]);
        let check = check(&sample.judge().unwrap(), "recovery");
        assert!(check.findings.iter().all(|f| f.anomaly != "never-ready"), "{check:#?}");
    }
    let mut two = telling(&well);
    two.header.promises.groups[0].members.push("consumer-2".to_owned());
    comes(&two, "recovery", Status::Inconclusive);
    // The fault lasts from 300 to 340 ms.
    comes(&ill(310_000, 350_000), "recovery", Status::Pass);
    found(&ill(100_000, 150_000), "recovery", "ill-without-a-fault");
    found(&ill(310_000, 450_000), "recovery", "ill-without-a-fault");
}

#[test]
fn a_group_that_stands_still_for_long_calls_itself_ill() {
    let telling = |ill: &[(u64, u64)]| {
        let mut sample = Sample::honest();
        let group = &mut sample.header.promises.groups[0];
        group.members = vec!["consumer-1".to_owned()];
        group.ill_within_us = Some(250_000);
        sample.header.promises.standstill_within_us = Some(END_US);
        let changes = ill.iter().flat_map(|&(from, to)| [(from, "503"), (to, "200")]);
        for (t_us, detail) in [(20, "200")].into_iter().chain(changes) {
            let (target, detail) = ("consumer-1 healthz".to_owned(), detail.to_owned());
            sample.tell(
                t_us,
                "health-consumer-1",
                Fact::Probe(Probe { target, answered: true, detail }),
            );
        }
        sample.facts.sort_by_key(|f| f.0);
        // Nothing between 115 and 515 ms.
        drop_facts(
            &mut sample,
            |f| matches!(f, Fact::Committed(c) if (200_000..500_000).contains(&c.at_us)),
        );
        let check = check(&sample.judge().unwrap(), "recovery");
        check.findings.iter().any(|f| f.anomaly == "well-while-standing-still")
    };
    assert!(telling(&[]), "it never said so");
    assert!(!telling(&[(400_000, 520_000)]));
    assert!(!telling(&[(100_000, 600_000)]), "ill before it and after it, and so throughout");
    assert!(telling(&[(30_000, 60_000), (600_000, 700_000)]), "at other times");
}
