//! Quiet faults: what looks right at a glance, in the receipts, letters, positions, answers and documents of an
//! otherwise honest run.

use super::*;

/// The honest run with one more operation, which is handed over as poison and rejected, and with its letter.
fn rejected(change: impl Fn(&mut DeadLetter)) -> Sample {
    let mut sample = Sample::honest();
    sample.header.promises.operations = 61;
    let (topic, value) = (TOPIC.to_owned(), sample::value(60));
    let (key, poison) = (Some(sample::key(60)), true);
    let invoked = Invoked { op: 60, topic, key, value, poison, ..Invoked::default() };
    sample.tell(600_000, "producer-1", Fact::Invoked(invoked));
    sample.complete(605_000, 60, Outcome::Rejected { reason: "no amount".to_owned() });
    let failed_ms = Some(sample::START_MS + 603);
    let mut letter = DeadLetter { failed_ms, ..sample::dead_letter(60, None, 604_000) };
    change(&mut letter);
    sample.tell(END_US, "log-reader", Fact::DeadLetter(letter));
    sample
}

#[test]
fn a_letter_says_the_same_in_all_its_places() {
    comes(&rejected(|_| {}), "dead-letters", Status::Pass);
    comes(&rejected(|l| l.key = None), "dead-letters", Status::Pass);
    let trace = rejected(|l| l.trace = Some("no key: missing field".to_owned()));
    found(&trace, "dead-letters", "dead-letter-reason-differs");
    let trace = rejected(|l| l.trace = l.error.clone());
    found(&trace, "dead-letters", "dead-letter-incomplete");
    let key = rejected(|l| l.key = Some(sample::key(7)));
    found(&key, "dead-letters", "dead-letter-altered");
    let header = |name: &str, value: &str| {
        rejected(|l| {
            let list = l.header_list.as_mut().unwrap();
            let pair = HeaderPair::of(name.as_bytes(), Some(value.as_bytes()));
            list.retain(|pair| !pair.is(name));
            list.push(pair);
            l.headers = HeaderPair::print_of(list).unwrap();
        })
    };
    let in_time = chrono::DateTime::from_timestamp_millis(sample::START_MS + 602).unwrap();
    comes(&header("ingested_at", &in_time.to_rfc3339()), "dead-letters", Status::Pass);
    let late = chrono::DateTime::from_timestamp_millis(sample::START_MS + 2_602).unwrap();
    for wrong in ["1970-01-01T00:00:00Z", "now", &late.to_rfc3339()] {
        found(&header("ingested_at", wrong), "dead-letters", "dead-letter-headers-differ");
    }
    let twice = rejected(|l| {
        let list = l.header_list.as_mut().unwrap();
        let again = list.iter().find(|pair| pair.is("dataset")).unwrap().clone();
        list.push(again);
        l.headers = HeaderPair::print_of(list).unwrap();
    });
    found(&twice, "dead-letters", "dead-letter-headers-differ");
}

#[test]
fn a_receipt_that_is_no_acknowledgement_is_compared_too() {
    let unsure = |tell: fn(&mut Completed)| {
        let mut sample = Sample::honest();
        change(&mut sample, |f| match f {
            Fact::Completed(c) if c.op == 33 => {
                c.outcome = Outcome::Unknown { error: "timed out".to_owned() };
                tell(c);
            }
            _ => {}
        });
        sample
    };
    let passes = |sample: &Sample, name: &str| {
        let verdict = sample.judge().unwrap();
        assert!(check(&verdict, name).findings.is_empty(), "{verdict:#?}");
    };
    passes(&unsure(|c| c.key = Some(sample::key(33))), "acknowledged-is-durable");
    passes(&unsure(|_| {}), "identity");
    found(
        &unsure(|c| c.ingestion_id = Some("id-other".to_owned())),
        "identity",
        "ingestion-id-differs",
    );
    let anomaly = "receipt-names-another-key";
    found(&unsure(|c| c.key = Some(sample::key(34))), "acknowledged-is-durable", anomaly);
    let mut stale = Sample::honest();
    change(&mut stale, |f| match f {
        Fact::Completed(c) if c.op == 33 => c.dead_letter = Some((DEAD_LETTERS.to_owned(), 0, 0)),
        _ => {}
    });
    found(&stale, "acknowledged-is-durable", "receipt-names-a-dead-letter");
}

#[test]
fn a_document_is_not_newer_than_itself() {
    let dated = |run_ms: i64| {
        let mut sample = Sample::honest();
        let at = chrono::DateTime::from_timestamp_millis(sample::START_MS + run_ms).unwrap();
        change(&mut sample, |f| {
            if let Fact::Object(o) = f
                && let Some(head) = &mut o.head
            {
                head.updated_at = Some(at.to_rfc3339());
            }
        });
        sample
    };
    comes(&dated(719), "metadata", Status::Pass);
    comes(&dated(1_500), "metadata", Status::Pass);
    found(&dated(3_600_000), "metadata", "metadata-disagrees");
}

/// Operation 25 is stored once more at 450 ms, in the middle of the run, and `excuse` is told of a member.
fn stored_again(excuse: impl Fn(&mut Sample, u32)) -> Sample {
    let mut sample = Sample::honest();
    let partition = sample.facts.iter().find_map(|(_, _, f)| match f {
        Fact::Logged(l) if l.op == Some(25) => Some((l.partition, l.offset)),
        _ => None,
    });
    let (partition, offset) = partition.unwrap();
    sample.part(60, 450_000, &[(25, partition, offset, 253_000)]);
    sample.header.promises.groups[0].members = vec!["consumer-1".to_owned()];
    excuse(&mut sample, partition);
    sample.facts.sort_by_key(|f| f.0);
    sample
}

#[test]
fn a_position_of_who_does_not_read_excuses_no_copy() {
    let asks = |member: &'static str| {
        stored_again(move |sample, partition| {
            sample.position(400_000, member, partition, Some(0));
        })
    };
    let excused = |sample: &Sample| {
        let verdict = sample.judge().unwrap();
        check(&verdict, "duplicates").findings.is_empty()
    };
    assert!(excused(&asks("consumer-1")));
    assert!(!excused(&asks("audit-1")), "an audit reads nothing for the group");
    assert!(!excused(&asks("consumer-2")), "it is of another group");
    let sought = stored_again(|sample, partition| {
        sample.position(400_000, "consumer-1", partition, Some(0));
        if let Some((_, _, Fact::Position(p))) = sample.facts.last_mut() {
            p.how = PositionChange::Sought;
        }
    });
    assert!(!excused(&sought), "it promised not to go back by itself");
    // A member that was told to have the other partition.
    let elsewhere = stored_again(|sample, partition| {
        let owns = Membership {
            group: GROUP.to_owned(),
            member: "consumer-1".to_owned(),
            id: "a".to_owned(),
            change: MembershipChange::Owns,
            generation: Some(1),
            partitions: [(TOPIC.to_owned(), vec![1 - partition])].into(),
            refusal: None,
            at_us: 399_000,
        };
        sample.tell(399_000, "coordination-watch", Fact::Membership(owns));
        sample.position(400_000, "consumer-1", partition, Some(0));
    });
    assert!(!excused(&elsewhere));
}

#[test]
fn a_position_is_what_was_committed_and_neither_less_nor_more() {
    let told = |offset: Option<u64>| {
        let mut sample = Sample::honest();
        sample.position(400_000, "consumer-1", 0, offset);
        sample.facts.sort_by_key(|f| f.0);
        sample
    };
    let honest = Sample::honest();
    let committed = honest.facts.iter().filter_map(|(_, _, f)| match f {
        Fact::Committed(c) if c.partition == 0 && c.at_us < 400_000 => Some(c.offset),
        _ => None,
    });
    let committed = committed.max();
    comes(&told(committed), "commit-frontier", Status::Pass);
    found(&told(None), "commit-frontier", "commit-forgotten");
    found(&told(Some(1)), "commit-frontier", "commit-forgotten");
    found(&told(Some(1_000)), "commit-frontier", "position-beyond-commits");
}

#[test]
fn nobody_writes_who_does_not_run() {
    let written = |created_us: u64| {
        let mut sample = Sample::honest();
        sample.header.promises.groups[0].members = vec!["consumer-1".to_owned()];
        change(&mut sample, |f| match f {
            Fact::Object(o) if o.role == ObjectRole::Part && o.created_us == 610_000 => {
                o.created_us = created_us;
            }
            _ => {}
        });
        sample
    };
    let strange = |sample: &Sample| {
        let verdict = sample.judge().unwrap();
        check(&verdict, "exits").findings.iter().any(|f| f.anomaly == "written-by-nobody")
    };
    assert!(!strange(&written(610_000)));
    assert!(strange(&written(9_000_000)), "long after its end");
}

#[test]
fn an_answer_is_there_and_is_one_of_two() {
    let telling = |answers: &[(u64, &str, &str)]| {
        let mut sample = Sample::honest();
        sample.header.promises.groups[0].members = vec!["consumer-1".to_owned()];
        sample.header.promises.recovery_within_us = 80_000;
        sample.header.promises.standstill_within_us = Some(END_US);
        // It lives on.
        for (t_us, _, fact) in &mut sample.facts {
            match fact {
                Fact::Process(p) if p.name == "consumer-1" && p.state == ProcessChange::Exited => {
                    *t_us = 20_000_000;
                }
                _ => {}
            }
        }
        for &(t_us, path, detail) in answers {
            let (target, answered) = (format!("consumer-1 {path}"), detail.len() == 3);
            let probe = Probe { target, answered, detail: detail.to_owned() };
            sample.tell(t_us, "health-consumer-1", Fact::Probe(probe));
        }
        let owns = Membership {
            group: GROUP.to_owned(),
            member: "consumer-1".to_owned(),
            id: "a".to_owned(),
            change: MembershipChange::Owns,
            generation: Some(1),
            partitions: [(TOPIC.to_owned(), vec![0, 1])].into(),
            refusal: None,
            at_us: 3_000_000,
        };
        sample.tell(3_000_000, "coordination-watch", Fact::Membership(owns));
        sample.facts.sort_by_key(|f| f.0);
        let verdict = sample.judge().unwrap();
        let names = check(&verdict, "recovery").findings.into_iter().map(|f| f.anomaly);
        names
            .filter(|name| name.starts_with("health-") || name.starts_with("ready-"))
            .collect::<Vec<_>>()
    };
    let none: Vec<String> = Vec::new();
    let (health, ready) = ("healthz", "readyz");
    let well = [(20, health, "200"), (3_100_000, ready, "200"), (20_000_000, health, "200")];
    assert_eq!(telling(&well), none);
    let with = |more: &[(u64, &'static str, &'static str)]| {
        let mut all = well.to_vec();
        all.extend(more);
        all.sort_unstable();
        telling(&all)
    };
    assert_eq!(with(&[(5_000_000, health, "refused"), (7_000_000, health, "200")]), none);
    assert_eq!(with(&[(5_000_000, health, "refused")]), ["health-not-told"]);
    assert_eq!(with(&[(5_000_000, ready, "refused")]), ["health-not-told"]);
    assert_eq!(with(&[(5_000_000, health, "500")]), ["health-not-told"]);
    assert_eq!(with(&[(1_000_000, ready, "200")]), ["ready-too-soon"]);
}
