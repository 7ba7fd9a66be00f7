//! Partitions, duplicates, copies, dead letters, metadata, groups, recovery, configuration, faults.

use super::{change, check, comes, drop_facts, found};
use crate::Judged as _;
use crate::verdict::Status;
use streamlake_history::event::*;
use streamlake_history::sample::{self, END_US, GROUP, Sample, TOPIC};

#[test]
fn a_wrong_partition_is_found_and_a_new_count_of_partitions_is_not() {
    let mut sample = Sample::honest();
    change(&mut sample, |f| match f {
        Fact::Logged(l) if l.op == Some(30) => {
            let elsewhere = |op: &u64| {
                streamlake_history::murmur2::partition(&sample::key(*op).0, 2) != l.partition
            };
            l.key = (0..7).find(elsewhere).map(sample::key);
        }
        _ => {}
    });
    found(&sample, "partition-determinism", "wrong-partition");
    let mut sample = Sample::honest();
    sample.header.promises.topics.insert(TOPIC.to_owned(), 3);
    found(&sample, "partition-determinism", "wrong-partition");
    let properties = [("partitions".to_owned(), "2".to_owned())].into();
    let of = format!("topic {TOPIC}");
    sample.tell(END_US, "configuration", Fact::Configuration { of, properties, process: None });
    comes(&sample, "partition-determinism", Status::Inconclusive);
}

#[test]
fn a_duplicate_in_the_log_is_found_where_the_configuration_promises_none() {
    let mut sample = Sample::honest();
    let high = |sample: &Sample| {
        sample.facts.iter().find_map(|(_, _, f)| match f {
            Fact::LogBounds(b) if b.topic == TOPIC && b.partition == 0 => Some(b.high),
            _ => None,
        })
    };
    let end = high(&sample).unwrap();
    sample.log(3, 0, end, 700_000);
    change(&mut sample, |f| match f {
        Fact::LogBounds(b) if b.topic == TOPIC && b.partition == 0 => b.high += 1,
        _ => {}
    });
    found(&sample, "duplicates", "duplicate-in-log");
    // Nobody recognises a second copy here: then it takes a producer that waited for an answer.
    sample.header.promises.evidence.retain(|e| *e != Evidence::Idempotence);
    found(&sample, "duplicates", "logged-twice-without-retry");
    for (t_us, _, fact) in &mut sample.facts {
        if matches!(fact, Fact::Completed(c) if c.op == 3) {
            *t_us = 200_000;
        }
    }
    sample.facts.sort_by_key(|f| f.0);
    comes(&sample, "duplicates", Status::Pass);
    assert_eq!(sample.judge().unwrap().tally.logged_duplicates, 1);
    // A broker that nothing was done to, and that answered whenever it was asked, gives nobody a reason to
    // send again before a request times out.
    let mut peace = sample.clone();
    peace.header.promises.faults[0].kind = "store-failure".to_owned();
    let answered = |answered| {
        let (target, detail) = ("broker-1".to_owned(), String::new());
        Fact::Probe(Probe { target, answered, detail })
    };
    peace.facts.retain(|(_, _, fact)| !matches!(fact, Fact::Probe(p) if !p.answered));
    peace.tell(150_000, "probes", answered(true));
    found(&peace, "duplicates", "logged-twice-without-retry");
    peace.tell(151_000, "probes", answered(false));
    comes(&peace, "duplicates", Status::Pass);
    change(&mut sample, |f| match f {
        Fact::Completed(c) if c.op == 3 => c.outcome = Outcome::Unknown { error: String::new() },
        _ => {}
    });
    comes(&sample, "duplicates", Status::Pass);
}

#[test]
fn altered_and_invented_copies_are_found() {
    for (field, anomaly) in [
        (0, "stored-differs"),
        (1, "stored-differs"),
        (2, "stored-headers-differ"),
        (3, "stored-headers-differ"),
        (4, "stored-but-never-logged"),
    ] {
        let mut sample = Sample::honest();
        change(&mut sample, |f| match f {
            Fact::Stored(s) if s.op == Some(41) => match field {
                0 => s.value = Print(1),
                1 => s.key = Some(Blob(b"|<script>\n\x1b[31m".to_vec())),
                2 => s.headers = Print(1),
                3 => s.timestamp_ms = s.timestamp_ms.map(|at| at + 1),
                _ => s.offset = 777,
            },
            _ => {}
        });
        found(&sample, "fidelity", anomaly);
    }
    let mut sample = Sample::honest();
    change(&mut sample, |f| match f {
        Fact::Object(o) if o.object == 3 => o.problem = Some("half a line".to_owned()),
        _ => {}
    });
    found(&sample, "fidelity", "unreadable-part");
}

#[test]
fn a_replaced_part_is_found() {
    let mut sample = Sample::honest();
    change(&mut sample, |f| match f {
        Fact::Object(o) if o.object == 3 && !o.during_run => {
            o.generation = "2".to_owned();
            o.bytes = 60;
        }
        _ => {}
    });
    let check = check(&sample.judge().unwrap(), "immutability");
    assert_eq!(check.status, Status::Fail);
}

fn poison(sample: &mut Sample, op: u64) -> (u32, u64) {
    let mut place = (0, 0);
    change(sample, |f| match f {
        Fact::Invoked(i) if i.op == op => i.poison = true,
        Fact::Logged(l) if l.op == Some(op) => place = (l.partition, l.offset),
        _ => {}
    });
    place
}

fn letter(op: u64, source: Option<(u32, u64)>) -> DeadLetter {
    let wrote_us = op * 10_000 + 3_000;
    let place = source.map(|(partition, offset)| (GROUP, partition, offset, wrote_us));
    sample::dead_letter(op, place, 100_000)
}

#[test]
fn poison_belongs_into_the_dead_letter_topic_and_nothing_else_does() {
    let mut sample = Sample::honest();
    let place = poison(&mut sample, 4);
    found(&sample, "dead-letters", "poison-without-dead-letter");
    found(&sample, "dead-letters", "poison-stored");
    drop_facts(&mut sample, |f| matches!(f, Fact::Stored(s) if s.op == Some(4)));
    let told = |letter: DeadLetter| {
        let mut with = sample.clone();
        with.tell(END_US, "log-reader", Fact::DeadLetter(letter));
        with
    };
    let good = told(letter(4, Some(place)));
    comes(&good, "dead-letters", Status::Pass);
    comes(&good, "no-loss", Status::Pass);
    comes(&good, "commit-frontier", Status::Pass);
    let altered = DeadLetter { value: Print(1), ..letter(4, Some(place)) };
    found(&told(altered), "dead-letters", "dead-letter-altered");
    let headers = DeadLetter { headers: Print(1), ..letter(4, Some(place)) };
    found(&told(headers), "dead-letters", "dead-letter-headers-differ");
    let bare =
        DeadLetter { missing_headers: vec!["consumer_error".to_owned()], ..letter(4, Some(place)) };
    found(&told(bare), "dead-letters", "dead-letter-incomplete");
    let late = DeadLetter { created_us: 800_000, ..letter(4, Some(place)) };
    found(&told(late), "commit-frontier", "commit-before-durable");
    found(&told(letter(6, None)), "dead-letters", "dead-letter-of-good-record");
    found(&told(letter(4, Some((0, 900)))), "dead-letters", "dead-letter-of-nothing");
}

#[test]
fn a_letter_fails_while_somebody_of_its_group_runs() {
    let mut sample = Sample::honest();
    let place = poison(&mut sample, 4);
    drop_facts(&mut sample, |f| matches!(f, Fact::Stored(s) if s.op == Some(4)));
    let told = |from_us: u64, to_us: u64| {
        let mut with = sample.clone();
        with.ended(from_us, "consumer-1", Some(Ask::Kill), ProcessEnd::Signal(9));
        with.process(to_us, "consumer-1", "started");
        change(&mut with, |f| match f {
            Fact::Process(p) if p.name == "consumer-1" => p.group = Some(GROUP.to_owned()),
            _ => {}
        });
        with.facts.sort_by_key(|f| f.0);
        with.tell(END_US, "log-reader", Fact::DeadLetter(letter(4, Some(place))));
        with
    };
    let failed_us = letter(4, Some(place)).failed_ms.unwrap() - sample::START_MS;
    let failed_us = u64::try_from(failed_us).unwrap() * 1_000;
    found(
        &told(failed_us - 20_000, failed_us + 20_000),
        "dead-letters",
        "dead-letter-time-implausible",
    );
    // It was killed at once after that.
    comes(&told(failed_us + 1_000, failed_us + 30_000), "dead-letters", Status::Pass);
}

#[test]
fn a_rejected_operation_needs_its_dead_letter() {
    let mut sample = Sample::honest();
    sample.header.promises.operations = 61;
    let (topic, value) = (TOPIC.to_owned(), sample::value(60));
    let invoked = Invoked {
        op: 60,
        topic,
        key: Some(sample::key(60)),
        value,
        poison: true,
        ..Invoked::default()
    };
    sample.tell(600_000, "producer-1", Fact::Invoked(invoked));
    sample.complete(605_000, 60, Outcome::Rejected { reason: "no amount".to_owned() });
    found(&sample, "dead-letters", "rejected-without-dead-letter");
    let mut altered = sample.clone();
    let reencoded = DeadLetter { value: Print(1), ..letter(60, None) };
    altered.tell(END_US, "log-reader", Fact::DeadLetter(reencoded));
    found(&altered, "dead-letters", "dead-letter-altered");
    let failed_ms = Some(sample::START_MS + 901);
    let rejected = DeadLetter { created_us: 901_000, failed_ms, ..letter(60, None) };
    let told = |letter: DeadLetter| {
        let mut sample = sample.clone();
        change(&mut sample, |f| match f {
            Fact::Invoked(i) if i.op == 60 => i.key_beside = true,
            _ => {}
        });
        sample.tell(END_US, "log-reader", Fact::DeadLetter(letter));
        sample
    };
    comes(&told(rejected.clone()), "dead-letters", Status::Pass);
    let keyless = told(DeadLetter { key: None, ..rejected.clone() });
    found(&keyless, "dead-letters", "dead-letter-altered");
    let other = told(DeadLetter { error: Some("another".to_owned()), ..rejected.clone() });
    found(&other, "dead-letters", "dead-letter-reason-differs");
    sample.tell(END_US, "log-reader", Fact::DeadLetter(rejected));
    comes(&sample, "dead-letters", Status::Pass);
}

#[test]
fn metadata_that_disagrees_or_is_absent_is_found() {
    let mut sample = Sample::honest();
    change(&mut sample, |f| match f {
        Fact::Object(o) if o.role == ObjectRole::Metadata => {
            o.lists.pop();
        }
        _ => {}
    });
    found(&sample, "metadata", "metadata-disagrees");
    drop_facts(&mut sample, |f| matches!(f, Fact::Object(o) if o.role == ObjectRole::Metadata));
    found(&sample, "metadata", "metadata-missing");
}

/// The same, told by a second group with a raw zone of its own, without some operations.
fn second_group(without: &[u64]) -> Sample {
    let mut sample = Sample::honest();
    sample.header.promises.groups.push(GroupPromise {
        group: "second".to_owned(),
        raw_zone: Some("gs://lake/second".to_owned()),
        dead_letter_topic: None,
        keeps_members: false,
        ..GroupPromise::default()
    });
    for (t_us, process, fact) in Sample::honest().facts {
        let fact = match fact {
            Fact::Object(mut o) => {
                let move_over = |name: &mut String| *name = name.replacen("raw/", "second/", 1);
                move_over(&mut o.name);
                o.lists.iter_mut().for_each(|entry| move_over(&mut entry.name));
                Fact::Object(Object { raw_zone: "gs://lake/second".to_owned(), ..o })
            }
            Fact::Stored(s) if s.op.is_some_and(|op| without.contains(&op)) => continue,
            Fact::Stored(s) => Fact::Stored(s),
            Fact::StoreRead { parts, .. } => {
                Fact::StoreRead { raw_zone: "gs://lake/second".to_owned(), parts }
            }
            Fact::Committed(c) => Fact::Committed(Committed { group: "second".to_owned(), ..c }),
            Fact::Position(p) => Fact::Position(Position { group: "second".to_owned(), ..p }),
            _ => continue,
        };
        sample.tell(t_us, &format!("{process}-second"), fact);
    }
    sample
}

#[test]
fn a_loss_to_one_group_only_is_named_as_such() {
    let whole = second_group(&[]);
    comes(&whole, "group-independence", Status::Pass);
    assert_eq!(whole.judge().unwrap().status, Status::Pass, "{:#?}", whole.judge().unwrap());
    let lacking = second_group(&[11]);
    found(&lacking, "group-independence", "group-lacks-records");
    found(&lacking, "no-loss", "lost-to-one-group");
}

#[test]
fn commits_that_were_not_watched_to_their_end_say_nothing_of_what_is_left() {
    let mut sample = Sample::honest();
    sample.facts.retain(|(_, _, fact)| !matches!(fact, Fact::Committed(_)));
    // Nobody was heard at all: the silence may be the observer's.
    comes(&sample, "recovery", Status::Inconclusive);
    sample.commit(215_000, 0, 1);
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
    found(&sample, "recovery", "left-over");
    let text = "the broker's record of commits ends before the last".to_owned();
    let end = sample.facts.last().unwrap().0;
    sample.tell(end, "commit-watch", Fact::Note { level: "error".to_owned(), text });
    comes(&sample, "recovery", Status::Inconclusive);
}

/// When the consumers of [`keeping`] are asked to stop.
const DRAIN_US: u64 = 710_000;

/// A group that promised to keep its members, with these instants, generations and member counts.
fn keeping(generations: &[(u64, u32, usize)]) -> Sample {
    let mut sample = Sample::honest();
    sample.header.promises.groups[0].keeps_members = true;
    for &(at_us, generation, members) in generations {
        let members = (1..=members).map(|number| format!("consumer-{number}")).collect();
        let fact = Generation { group: GROUP.to_owned(), generation, members, at_us };
        sample.tell(at_us, "commit-watch", Fact::Generation(fact));
    }
    sample.tell(DRAIN_US, "runner", Fact::Phase { name: "drain".to_owned() });
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
    sample
}

#[test]
fn a_group_that_keeps_its_members_does_not_rebalance_through_the_faults() {
    let sample = Sample::honest();
    let injecting = |f: &Fact| matches!(f, Fact::Fault(step) if step.step == FaultStage::Injecting);
    let fault = sample.facts.iter().find(|(_, _, f)| injecting(f)).map(|fact| fact.0).unwrap();
    comes(&sample, "membership", Status::NotApplicable);
    let kept = keeping(&[(1_000, 1, 1), (2_000, 2, 2), (fault + 9, 2, 2), (DRAIN_US + 1, 3, 0)]);
    comes(&kept, "membership", Status::Pass);
    let evicted = keeping(&[(1_000, 1, 2), (fault + 1, 2, 1), (fault + 2, 3, 2)]);
    found(&evicted, "membership", "group-rebalanced");
    let check = check(&evicted.judge().unwrap(), "membership");
    assert_eq!(check.findings.len(), 2);
    let text = &check.findings[0].message;
    assert!(
        text.contains("from generation 1 with 2 members to generation 2 with 1 member"),
        "{text}"
    );
    assert_eq!(check.findings[0].fault, Some(0));
    // What was not seen is not kept.
    comes(&keeping(&[]), "membership", Status::Inconclusive);
    comes(&keeping(&[(1_000, 1, 0)]), "membership", Status::Inconclusive);
    let mut embedded = keeping(&[(1_000, 1, 1)]);
    embedded.header.promises.evidence.retain(|e| *e != Evidence::CommitsComplete);
    comes(&embedded, "membership", Status::Inconclusive);
}

#[test]
fn a_group_that_cannot_be_observed_is_said_to_be() {
    let mut sample = second_group(&[]);
    drop_facts(&mut sample, |f| matches!(f, Fact::StoreRead { .. }));
    let check = check(&sample.judge().unwrap(), "group-independence");
    assert_eq!(check.status, Status::Inconclusive);
    assert_eq!(check.summary, "no group could be observed");
}

#[test]
fn recovery_is_judged_on_both_sides_and_at_the_end() {
    let mut sample = Sample::honest();
    sample.header.promises.recovery_within_us = 100;
    found(&sample, "recovery", "producers-did-not-recover");
    found(&sample, "recovery", "group-did-not-recover");
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Committed(c) if c.at_us > 300_000));
    found(&sample, "recovery", "left-over");
    found(&sample, "recovery", "group-did-not-recover");
    comes(&sample, "no-loss", Status::Pass);
}

#[test]
fn configuration_that_differs_is_found() {
    let mut sample = Sample::honest();
    change(&mut sample, |f| match f {
        Fact::Configuration { of, properties, .. } if of == "consumer" => {
            properties.insert("enable.auto.commit".to_owned(), "true".to_owned());
        }
        _ => {}
    });
    found(&sample, "configuration", "configuration-differs");
}

#[test]
fn a_fault_that_did_not_bite_leaves_the_run_inconclusive() {
    use FaultStage::{Healed, Injecting, Missed, Seen};
    for stage in [Injecting, Seen, Healed] {
        let mut sample = Sample::honest();
        drop_facts(&mut sample, |f| matches!(f, Fact::Fault(s) if s.step == stage));
        comes(&sample, "fault-bit", Status::Inconclusive);
    }
    let mut sample = Sample::honest();
    change(&mut sample, |f| {
        if let Fact::Fault(s) = f {
            s.evidence.clear();
            s.target = None;
        }
    });
    comes(&sample, "fault-bit", Status::Inconclusive);
    let mut sample = Sample::honest();
    sample.fault(900_000, Missed);
    comes(&sample, "fault-bit", Status::Inconclusive);
    let mut sample = Sample::honest();
    for (t_us, _, fact) in &mut sample.facts {
        if matches!(fact, Fact::Fault(_)) {
            *t_us += 650_000;
        }
    }
    comes(&sample, "fault-bit", Status::Inconclusive);
}

#[test]
fn an_error_of_the_harness_is_a_doubt() {
    let mut sample = Sample::honest();
    let text = "the commit watch died".to_owned();
    sample.tell(END_US, "runner", Fact::Note { level: "error".to_owned(), text });
    comes(&sample, "history", Status::Inconclusive);
    // It comes before what is missing because of it.
    drop_facts(&mut sample, |f| matches!(f, Fact::StoreRead { .. } | Fact::Phase { .. }));
    let reasons = check(&sample.judge().unwrap(), "history").reasons;
    assert!(reasons.len() > 1 && reasons[0].contains("the commit watch died"), "{reasons:?}");
}

#[test]
fn the_receipt_of_a_rejected_operation_leads_to_its_dead_letter() {
    let told = |place: Option<(&str, u32, u64)>| {
        let mut sample = Sample::honest();
        sample.header.promises.operations = 61;
        sample.header.promises.outcomes =
            Some(OutcomePromise { tells_key_and_letter: true, ..OutcomePromise::default() });
        change(&mut sample, |f| {
            if let Fact::Completed(c) = f {
                c.key = Some(sample::key(c.op));
            }
        });
        let (topic, value) = (TOPIC.to_owned(), sample::value(60));
        let (key, poison) = (Some(sample::key(60)), true);
        let invoked = Invoked { op: 60, topic, key, value, poison, ..Invoked::default() };
        sample.tell(600_000, "producer-1", Fact::Invoked(invoked));
        sample.complete(605_000, 60, Outcome::Rejected { reason: "no amount".to_owned() });
        if let Some((_, _, Fact::Completed(completed))) = sample.facts.last_mut() {
            completed.dead_letter = place.map(|(topic, p, offset)| (topic.to_owned(), p, offset));
            completed.key = Some(sample::key(60));
        }
        let failed_ms = Some(sample::START_MS + 901);
        let own = DeadLetter { created_us: 901_000, failed_ms, ..letter(60, None) };
        sample.tell(END_US, "log-reader", Fact::DeadLetter(own));
        sample
    };
    let own = letter(60, None);
    comes(&told(Some((&own.topic, own.partition, own.offset))), "dead-letters", Status::Pass);
    let anomaly = "receipt-of-another-dead-letter";
    for place in [None, Some((own.topic.as_str(), 0, own.offset + 1)), Some((TOPIC, 0, own.offset))]
    {
        found(&told(place), "dead-letters", anomaly);
    }
    // The letter has a key, and the receipt names none.
    let mut keyless = told(Some((&own.topic, own.partition, own.offset)));
    change(&mut keyless, |f| {
        if let Fact::Completed(c) = f
            && c.op == 60
        {
            c.key = None;
        }
    });
    found(&keyless, "dead-letters", anomaly);
    // That of another operation stands there.
    let mut other = told(Some((&own.topic, own.partition, own.offset)));
    change(&mut other, |f| {
        if let Fact::DeadLetter(l) = f {
            l.op = Some(59);
        }
    });
    found(&other, "dead-letters", anomaly);
}
