//! What is missing is a doubt, what cannot be silences nobody, and findings need no completeness.

use super::*;
use crate::index::Index;
use crate::{Checker, Ledger, all, judge, run};

fn index(sample: &Sample) -> Index {
    let mut index = Index::new(&sample.header);
    sample.events().iter().for_each(|event| index.observe(event));
    index.settle()
}

#[test]
fn no_source_of_evidence_can_be_left_out_of_the_header_and_pass() {
    let honest = Sample::honest();
    for evidence in honest.header.promises.evidence.clone() {
        // Only second copies ask for these: in the log, and of what a group delivered.
        if matches!(evidence, Evidence::Idempotence | Evidence::Positions) {
            continue;
        }
        let mut sample = honest.clone();
        sample.header.promises.evidence.retain(|known| *known != evidence);
        let verdict = sample.judge().unwrap();
        assert_eq!(verdict.status, Status::Inconclusive, "{evidence:?}");
        let applied = |verdict: &Verdict| -> Vec<String> {
            let checks = verdict.checks.iter().filter(|c| c.status != Status::NotApplicable);
            checks.map(|c| c.check.clone()).collect()
        };
        assert_eq!(applied(&verdict), applied(&honest.judge().unwrap()), "{evidence:?}");
    }
}

#[test]
fn no_kind_of_fact_can_be_left_out_and_pass() {
    type Kind = fn(&Fact) -> bool;
    let kinds: [(&str, Kind); 12] = [
        ("commits", |f| matches!(f, Fact::Committed(_))),
        ("completions", |f| matches!(f, Fact::Completed(_))),
        ("a third of the invocations", |f| matches!(f, Fact::Invoked(i) if i.op % 3 == 0)),
        ("probes", |f| matches!(f, Fact::Probe(_))),
        ("the last probe", |f| matches!(f, Fact::Probe(_))),
        ("processes", |f| matches!(f, Fact::Process(_))),
        ("the producer's process", |f| matches!(f, Fact::Process(p) if p.name == "producer-1")),
        ("sightings", |f| matches!(f, Fact::Object(o) if o.during_run)),
        ("one sighting", |f| matches!(f, Fact::Object(o) if o.during_run && o.object == 3)),
        ("bounds", |f| matches!(f, Fact::LogBounds(_))),
        ("phases", |f| matches!(f, Fact::Phase { name } if name == "done")),
        ("configuration", |f| matches!(f, Fact::Configuration { .. })),
    ];
    for (name, kind) in kinds {
        let mut sample = Sample::honest();
        match name {
            "the last probe" => sample.facts.retain(|(t, _, f)| *t < END_US || !kind(f)),
            _ => drop_facts(&mut sample, kind),
        }
        assert_ne!(sample.judge().unwrap().status, Status::Pass, "{name}");
    }
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Object(o) if o.during_run && o.object == 3));
    comes(&sample, "immutability", Status::Inconclusive);
    let mut sample = Sample::honest();
    change(&mut sample, |f| {
        if let Fact::StoreRead { parts, .. } = f {
            *parts += 1;
        }
    });
    comes(&sample, "history", Status::Inconclusive);
    comes(&sample, "metadata", Status::Inconclusive);
}

#[test]
fn nothing_promised_is_nothing_shown() {
    let mut sample = Sample::honest();
    sample.header.promises = Promises {
        topics: sample.header.promises.topics.clone(),
        evidence: sample.header.promises.evidence.clone(),
        ..Promises::default()
    };
    assert_ne!(sample.judge().unwrap().status, Status::Pass);
}

/// A record that a group committed past is gone from its raw zone.
fn lose(sample: &mut Sample) {
    drop_facts(sample, |f| matches!(f, Fact::Stored(s) if s.op == Some(23)));
}

#[test]
fn what_a_patient_says_silences_no_other_check() {
    type Say = fn(&mut Sample);
    let far = 1 << 63;
    assert!(far > i64::MAX as u64);
    let odd: [(&str, Option<(&str, &str)>, Say); 10] = [
        ("a doubled receipt", Some(("outcomes", "two-outcomes-for-one-operation")), |s| {
            s.acknowledge(END_US, 3, 0, 3);
        }),
        ("an outcome of nothing", Some(("outcomes", "outcome-of-nothing")), |s| {
            s.acknowledge(END_US, 1_000, 0, 3);
        }),
        ("a receipt's offset", Some(("acknowledged-is-durable", "impossible-offset")), |s| {
            change(s, |f| {
                if let Fact::Completed(Completed { op: 9, outcome, .. }) = f
                    && let Outcome::Acknowledged { offset, .. } = outcome
                {
                    *offset = 1 << 63;
                }
            });
        }),
        ("an offset in a part", Some(("fidelity", "impossible-offset")), |s| {
            change(s, |f| match f {
                Fact::Stored(s) if s.op == Some(9) => s.offset = 1 << 63,
                _ => {}
            });
        }),
        ("an offset in a commit", Some(("commit-frontier", "impossible-offset")), |s| {
            s.commit(END_US, 0, 1 << 63);
        }),
        (
            "two readings of the log",
            Some(("acknowledged-is-durable", "log-readings-differ")),
            |s| {
                let again = s.facts.iter().find_map(|(_, _, f)| match f {
                    Fact::Logged(l) if l.op == Some(12) => Some(l.clone()),
                    _ => None,
                });
                let again = Logged { value: Print(7), ..again.unwrap() };
                s.tell(END_US, "log-reader-2", Fact::Logged(again));
            },
        ),
        ("an unreadable line", Some(("outcomes", "unreadable-receipt")), |s| {
            let [of, what, text, why] =
                ["producer-1", "receipt", "?", "no JSON"].map(str::to_owned);
            s.tell(END_US, "producer-1", Fact::Unreadable(Unreadable { of, what, text, why }));
        }),
        ("a clock that goes back", None, |s| {
            s.facts.sort_by_key(|f| f.1 == "probe-broker-1" && f.0 < 9)
        }),
        ("a record in no object", None, |s| {
            let stored = s.facts.iter().find_map(|(_, _, f)| match f {
                Fact::Stored(s) => Some(s.clone()),
                _ => None,
            });
            let stored = Stored { object: 4_000, ..stored.unwrap() };
            s.tell(END_US, "store-reader", Fact::Stored(stored));
        }),
        ("an operation invoked twice", None, |s| {
            s.invoke(END_US, 3);
        }),
    ];
    for (name, anomaly, say) in odd {
        let mut sample = Sample::honest();
        say(&mut sample);
        match anomaly {
            Some((check, anomaly)) => found(&sample, check, anomaly),
            None => assert_eq!(sample.judge().unwrap().status, Status::Inconclusive, "{name}"),
        }
        lose(&mut sample);
        let verdict = sample.judge().unwrap();
        let loss = check(&verdict, "no-loss");
        assert!(
            loss.findings.iter().any(|f| f.anomaly == "lost-after-commit"),
            "{name}: {loss:#?}"
        );
    }
}

#[test]
fn a_history_that_its_recorder_cannot_have_written_is_not_judged() {
    let sample = Sample::honest();
    let mut events = sample.events();
    events[4].seq += 1;
    let verdict = judge(&sample.header, events.into_iter().map(Ok)).unwrap();
    assert!(verdict.checks.iter().all(|c| c.status == Status::Inconclusive));
    assert!(verdict.checks[0].reasons[0].contains("contradicts itself"));
}

#[test]
fn a_check_that_breaks_down_is_inconclusive_and_keeps_what_it_had_found() {
    let index = index(&Sample::honest());
    let ledger = Ledger::of(&index);
    let broken = Checker {
        judge: |_, case| {
            if case.is_empty() { panic!("no such lane") } else { String::new() }
        },
        ..all()[0]
    };
    let result = run(&broken, &index, &ledger);
    assert_eq!(result.status, Status::Inconclusive);
    assert!(result.reasons.iter().any(|r| r.contains("no such lane")), "{result:#?}");
}

#[test]
fn a_finding_stands_without_the_log() {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Logged(_) | Fact::LogBounds(_)));
    sample.header.promises.evidence.retain(|e| *e != Evidence::Log);
    assert_eq!(sample.judge().unwrap().status, Status::Inconclusive);
    change(&mut sample, |f| {
        if let Fact::Completed(Completed { op: 14, outcome, .. }) = f
            && let Outcome::Acknowledged { partition, offset, .. } = outcome
        {
            (*partition, *offset) =
                (streamlake_history::murmur2::partition(&sample::key(7).0, 2), 0);
        }
    });
    found(&sample, "acknowledged-is-durable", "two-receipts-one-offset");
}

#[test]
fn a_group_owes_what_it_promised_to_read() {
    // Nobody reads the second topic, and the group says so.
    let mut sample = Sample::honest();
    sample.header.promises.topics.insert("other".to_owned(), 1);
    let other = Logged {
        topic: "other".to_owned(),
        partition: 0,
        offset: 0,
        timestamp_ms: Some(sample::START_MS),
        op: None,
        ingestion_id: None,
        key: None,
        value: Print(1),
        headers: Print(1),
        ..Logged::default()
    };
    sample.tell(END_US, "log-reader", Fact::Logged(other));
    sample.bounds("other", 0, 0, 1);
    found(&sample, "recovery", "left-over");
    sample.header.promises.groups[0].topics.push(TOPIC.to_owned());
    comes(&sample, "recovery", Status::Pass);
}

#[test]
fn a_group_that_began_later_owes_nothing_from_before() {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Stored(s) if s.offset < 3));
    found(&sample, "no-loss", "lost-after-commit");
    sample.header.promises.groups[0].starts = GroupStart::Unknown;
    drop_facts(&mut sample, |f| matches!(f, Fact::Committed(c) if c.offset <= 3));
    for name in ["no-loss", "no-gap", "commit-frontier"] {
        comes(&sample, name, Status::Pass);
    }
}

#[test]
fn a_group_that_may_stop_early_leaves_a_doubt_and_no_anomaly() {
    let mut sample = Sample::honest();
    sample.header.promises.faults.clear();
    drop_facts(&mut sample, |f| {
        matches!(f, Fact::Fault(_)) || matches!(f, Fact::Committed(c) if c.at_us > 300_000)
    });
    found(&sample, "recovery", "left-over");
    sample.header.promises.groups[0].may_stop_early = true;
    // The oldest record that is left was written long before the end, or shortly before it.
    sample.header.promises.standstill_within_us = Some(790_000);
    comes(&sample, "recovery", Status::Inconclusive);
    sample.header.promises.standstill_within_us = Some(END_US);
    comes(&sample, "recovery", Status::Pass);
}

#[test]
fn an_observer_that_is_missing_is_a_doubt_of_the_history() {
    type Leave = fn(&mut Sample);
    let cases: [Leave; 4] = [
        |s| drop_facts(s, |f| matches!(f, Fact::Probe(p) if p.target == "store")),
        |s| drop_facts(s, |f| matches!(f, Fact::Probe(p) if p.target == "broker-1")),
        |s| drop_facts(s, |f| matches!(f, Fact::Clock(c) if c.of == "store")),
        |s| {
            let step = FaultStep {
                fault: 7,
                step: FaultStage::Injecting,
                evidence: Default::default(),
                target: None,
                patient: None,
            };
            s.tell(100_000, "nemesis", Fact::Fault(step)).facts.sort_by_key(|f| f.0);
        },
    ];
    for (number, leave) in cases.into_iter().enumerate() {
        let mut sample = Sample::honest();
        leave(&mut sample);
        let check = check(&sample.judge().unwrap(), "history");
        assert_eq!(check.status, Status::Inconclusive, "{number}");
        assert_eq!(check.reasons.len(), 1, "{check:#?}");
    }
    // Neither version 1 nor somebody's own consumer and store are asked for what they cannot have.
    let mut old = Sample::honest();
    old.header.version = 1;
    drop_facts(&mut old, |f| {
        matches!(f, Fact::Clock(_)) || matches!(f, Fact::Probe(p) if p.target == "store")
    });
    comes(&old, "history", Status::Pass);
    let mut own = Sample::honest();
    own.header.promises.groups[0].consumer = Some(ConsumerPromise::default());
    drop_facts(&mut own, |f| {
        matches!(f, Fact::Clock(c) if c.of == "store")
            || matches!(f, Fact::Probe(p) if p.target == "store")
    });
    comes(&own, "history", Status::Pass);
}

#[test]
fn coordination_is_watched_to_the_end() {
    let with = |generation_us: u64| {
        let mut sample = Sample::honest();
        let joined = Membership {
            group: GROUP.to_owned(),
            member: "consumer-1".to_owned(),
            id: "consumer-1-a".to_owned(),
            change: MembershipChange::Joined,
            generation: Some(1),
            partitions: Default::default(),
            refusal: None,
            at_us: 15,
        };
        sample.tell(16, "coordination-watch", Fact::Membership(joined));
        let dealt = Generation {
            group: GROUP.to_owned(),
            generation: 2,
            members: vec!["consumer-1-a".to_owned()],
            at_us: generation_us,
        };
        sample.tell(END_US, "commit-watch", Fact::Generation(dealt));
        sample.facts.sort_by_key(|f| f.0);
        sample
    };
    comes(&with(17), "history", Status::Pass);
    comes(&with(1_500_000), "history", Status::Inconclusive);
}

#[test]
fn servers_are_asked_for_their_configuration_where_clients_were() {
    let with = |names: &[&str]| {
        let mut sample = Sample::honest();
        change(&mut sample, |f| {
            if let Fact::Configuration { of, process, .. } = f {
                let own = if of == "producer" { "producer-1" } else { "consumer-1" };
                *process = Some(own.to_owned());
            }
        });
        let of = |of: &str, process: Option<&str>| Fact::Configuration {
            of: of.to_owned(),
            properties: match of {
                "dead-letter producer" => [("acks", "all"), ("enable.idempotence", "true")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
                _ => Default::default(),
            },
            process: process.map(str::to_owned),
        };
        sample.tell(4, "configuration", of("dead-letter producer", Some("producer-1")));
        for name in names {
            sample.tell(4, "configuration", of(name, None));
        }
        sample.facts.sort_by_key(|f| f.0);
        sample
    };
    let (raw, dead) = (format!("topic {TOPIC}"), format!("topic {DEAD_LETTERS}"));
    let mut all = vec!["broker-1"];
    all.extend(
        with(&[])
            .header
            .promises
            .topics
            .keys()
            .map(|topic| if topic == TOPIC { raw.as_str() } else { dead.as_str() }),
    );
    comes(&with(&all), "configuration", Status::Pass);
    comes(&with(&all[1..]), "configuration", Status::Inconclusive);
    comes(&with(&all[..all.len() - 1]), "configuration", Status::Inconclusive);
    // A stand-in for a broker has topics without a configuration.
    let mut stand_in = with(&["broker-1"]);
    stand_in.header.promises.evidence.retain(|e| *e != Evidence::Idempotence);
    comes(&stand_in, "configuration", Status::Pass);
}
