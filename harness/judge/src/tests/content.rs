//! What records hold: null and empty, headers, ingestion ids, places, checksums, dead letters.

use std::collections::BTreeMap;

use super::{change, check, comes, drop_facts, found};
use crate::Judged as _;
use crate::explain;
use crate::verdict::Status;
use streamlake_history::event::*;
use streamlake_history::sample::{self, DEAD_LETTERS, END_US, GROUP, Sample, TOPIC};

fn logged(sample: &Sample, op: u64) -> Logged {
    let mut facts = sample.facts.iter();
    let log = facts.find_map(|(_, _, f)| match f {
        Fact::Logged(l) if l.op == Some(op) => Some(l.clone()),
        _ => None,
    });
    log.unwrap()
}

fn change_logged(sample: &mut Sample, op: u64, mut alter: impl FnMut(&mut Logged)) {
    change(sample, |f| match f {
        Fact::Logged(l) if l.op == Some(op) => alter(l),
        _ => {}
    });
}

fn change_stored(sample: &mut Sample, op: u64, mut alter: impl FnMut(&mut Stored)) {
    change(sample, |f| match f {
        Fact::Stored(s) if s.op == Some(op) => alter(s),
        _ => {}
    });
}

fn change_object(sample: &mut Sample, number: u32, mut alter: impl FnMut(&mut Object)) {
    change(sample, |f| match f {
        Fact::Object(o) if o.object == number && !o.during_run => alter(o),
        _ => {}
    });
}

/// What the store keeps beside each part.
fn keep_beside_parts(sample: &mut Sample, name: &str, value: &str) {
    change(sample, |f| {
        if let Fact::Object(o) = f
            && o.role == ObjectRole::Part
        {
            o.attributes.insert(name.to_owned(), value.to_owned());
        }
    });
}

/// One more record at the end of a partition of the log.
fn append(sample: &mut Sample, partition: u32, record: impl FnOnce(u64) -> Logged) {
    let mut at = 0;
    change(sample, |f| match f {
        Fact::LogBounds(b) if b.topic == TOPIC && b.partition == partition => {
            at = b.high;
            b.high += 1;
        }
        _ => {}
    });
    let fact = Logged { topic: TOPIC.to_owned(), partition, offset: at, ..record(at) };
    sample.tell(END_US, "log-reader", Fact::Logged(fact));
}

/// All that a verdict shows of a check, with what the history says of its records.
fn shown(sample: &Sample, name: &str) -> String {
    let mut verdict = sample.judge().unwrap();
    explain(&mut verdict, sample.events().into_iter().map(Ok)).unwrap();
    let check = check(&verdict, name);
    let told = check.findings.iter().flat_map(|f| std::iter::once(&f.message).chain(&f.evidence));
    told.cloned().collect::<Vec<_>>().join("\n")
}

fn shows(sample: &Sample, name: &str, parts: &[&str]) {
    let told = shown(sample, name);
    for part in parts {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}

fn header(op: u64, name: &str, value: Option<&str>) -> Vec<HeaderPair> {
    let mut list = sample::header_list(op);
    for pair in list.iter_mut().filter(|pair| pair.is(name)) {
        *pair = HeaderPair::of(name.as_bytes(), value.map(str::as_bytes));
    }
    list
}

/// Headers of a record in the log and in its copy.
fn bear(sample: &mut Sample, op: u64, list: &[HeaderPair]) {
    let print = HeaderPair::print_of(list).unwrap();
    change_logged(sample, op, |l| (l.headers, l.header_list) = (print, Some(list.to_vec())));
    change_stored(sample, op, |s| (s.headers, s.header_list) = (print, Some(list.to_vec())));
}

#[test]
fn null_is_not_empty() {
    let empty = Print::of(b"");
    // A tombstone that was sent, logged and stored as one.
    let mut tombstone = Sample::honest();
    change(&mut tombstone, |f| match f {
        Fact::Invoked(i) if i.op == 8 => i.value = Print::NULL,
        _ => {}
    });
    change_logged(&mut tombstone, 8, |l| l.value = Print::NULL);
    change_stored(&mut tombstone, 8, |s| s.value = Print::NULL);
    assert_eq!(tombstone.judge().unwrap().status, Status::Pass);

    let mut in_log = tombstone.clone();
    change_logged(&mut in_log, 8, |l| l.value = empty);
    found(&in_log, "acknowledged-is-durable", "logged-differs-from-acknowledged");
    let mut stored = tombstone.clone();
    change_stored(&mut stored, 8, |s| s.value = empty);
    found(&stored, "fidelity", "stored-differs");
    shows(&stored, "fidelity", &["instead of no value (null)"]);
    let mut key = Sample::honest();
    change_stored(&mut key, 8, |s| s.key = Some(Blob(Vec::new())));
    shows(&key, "fidelity", &["an empty key instead of key `order-1`"]);
    let mut timestamp = Sample::honest();
    change_stored(&mut timestamp, 8, |s| s.timestamp_ms = None);
    found(&timestamp, "fidelity", "stored-headers-differ");
    shows(&timestamp, "fidelity", &["no timestamp instead of timestamp 1794"]);
}

#[test]
fn records_that_name_no_operation_need_a_receipt_or_an_open_operation() {
    let garbage = |_| Logged {
        value: Print(77),
        headers: sample::headers(3),
        header_list: Some(sample::header_list(3)),
        ingestion_id: Some("id-3".to_owned()),
        ..Logged::default()
    };
    let mut stranger = Sample::honest();
    append(&mut stranger, 0, garbage);
    found(&stranger, "acknowledged-is-durable", "logged-but-never-invoked");
    // One of an operation whose outcome nobody knows is legal, of one that failed it is not.
    for (outcome, status) in [
        (Outcome::Unknown { error: String::new() }, Status::Pass),
        (Outcome::Failed { error: String::new() }, Status::Fail),
        (Outcome::Rejected { reason: String::new() }, Status::Fail),
    ] {
        let mut open = Sample::honest();
        open.header.promises.operations = 61;
        let invoked =
            Invoked { op: 60, topic: TOPIC.to_owned(), value: Print(77), ..Invoked::default() };
        open.tell(600_000, "producer-1", Fact::Invoked(invoked));
        open.complete(700_000, 60, outcome);
        append(&mut open, 0, garbage);
        let check = check(&open.judge().unwrap(), "acknowledged-is-durable");
        assert_eq!(check.status, status, "{check:#?}");
    }
    // A receipt names the place of one that does not name itself.
    let mut acknowledged = Sample::honest();
    change_logged(&mut acknowledged, 5, |l| l.op = None);
    drop_facts(&mut acknowledged, |f| matches!(f, Fact::Logged(l) if l.op == Some(5)));
    comes(&acknowledged, "acknowledged-is-durable", Status::Pass);
    // Where not all invocations were recorded, nobody can say.
    let mut partly = stranger;
    drop_facts(&mut partly, |f| {
        matches!(f, Fact::Invoked(Invoked { op: 7, .. }) | Fact::Completed(Completed { op: 7, .. }))
            || matches!(f, Fact::Logged(Logged { op: Some(7), .. }))
    });
    comes(&partly, "acknowledged-is-durable", Status::Inconclusive);
}

#[test]
fn every_copy_of_an_operation_is_compared() {
    let copy = |value: Print| {
        let mut sample = Sample::honest();
        sample.header.promises.evidence.retain(|e| *e != Evidence::Idempotence);
        let first = logged(&sample, 20);
        let partition = first.partition;
        append(&mut sample, partition, |_| Logged { value, ..first });
        sample
    };
    comes(&copy(sample::value(20)), "acknowledged-is-durable", Status::Pass);
    found(&copy(Print(1)), "acknowledged-is-durable", "logged-differs-from-invoked");
    shows(&copy(Print(1)), "acknowledged-is-durable", &["with another value"]);
}

#[test]
fn operations_with_headers_of_their_own_bear_these_and_need_no_promised_ones() {
    let own = [HeaderPair::of(b"\xff", None), HeaderPair::of(b"a", Some(b""))];
    let mut sample = Sample::honest();
    change(&mut sample, |f| match f {
        Fact::Invoked(i) if i.op == 9 => i.header_list = Some(own.to_vec()),
        Fact::Completed(c) if c.op == 9 => c.ingestion_id = None,
        _ => {}
    });
    bear(&mut sample, 9, &own);
    change_logged(&mut sample, 9, |l| (l.ingestion_id, l.ingested_ms) = (None, None));
    change_stored(&mut sample, 9, |s| (s.ingestion_id, s.ingested_ms) = (None, None));
    assert_eq!(sample.judge().unwrap().status, Status::Pass, "{:#?}", sample.judge().unwrap());
    bear(&mut sample, 9, &own[..1]);
    found(&sample, "acknowledged-is-durable", "logged-headers-differ-from-invoked");
    shows(&sample, "acknowledged-is-durable", &["header `a` = `` is not there"]);
}

#[test]
fn promised_headers_are_there_with_their_values() {
    for (name, value, anomaly, told) in [
        (
            "dataset",
            Some("payments"),
            "header-differs",
            "`dataset` is `payments`, promised is `orders`",
        ),
        ("schema_version", Some(""), "header-differs", "`schema_version` is ``"),
        ("producer_service", None, "header-differs", "`producer_service` is null"),
        ("ingested_at", Some("yesterday"), "header-differs", "no RFC 3339 instant"),
        ("ingested_at", Some("1970-01-01T00:00:00Z"), "ingested-at-implausible", "1970-01-01"),
        ("ingested_at", Some("2026-11-06T22:20:00Z"), "ingested-at-implausible", "22:20:00"),
    ] {
        let mut sample = Sample::honest();
        bear(&mut sample, 30, &header(30, name, value));
        found(&sample, "fidelity", anomaly);
        shows(&sample, "fidelity", &[told]);
    }
    let mut absent = Sample::honest();
    bear(&mut absent, 30, &sample::header_list(30)[1..]);
    found(&absent, "fidelity", "header-missing");
    // A second one says something else.
    let mut twice = Sample::honest();
    let mut list = sample::header_list(30);
    list.push(HeaderPair::of(b"dataset", Some(b"payments")));
    bear(&mut twice, 30, &list);
    found(&twice, "fidelity", "header-differs");
    // Clocks of one machine are not a second apart; half a second convicts nobody.
    let mut slow = Sample::honest();
    drop_facts(&mut slow, |f| matches!(f, Fact::Clock(_)));
    let at = chrono::DateTime::from_timestamp_millis(sample::ingested_ms(30) - 500).unwrap();
    bear(&mut slow, 30, &header(30, "ingested_at", Some(&at.to_rfc3339())));
    comes(&slow, "fidelity", Status::Pass);
    // A clock that was measured is held to what was measured.
    let clock = Clock {
        of: "processes".to_owned(),
        low_us: -1_000,
        high_us: 1_000,
        how: "a probe".to_owned(),
    };
    slow.tell(0, "clocks", Fact::Clock(clock));
    found(&slow, "fidelity", "ingested-at-implausible");
    // In large runs the reader tells what differs.
    let mut large = Sample::honest();
    change(&mut large, |f| match f {
        Fact::Logged(l) => l.header_list = None,
        Fact::Stored(s) => s.header_list = None,
        _ => {}
    });
    comes(&large, "fidelity", Status::Pass);
    change_logged(&mut large, 30, |l| {
        l.wrong_headers = vec![HeaderPair::of(b"dataset", Some(b"payments"))];
    });
    found(&large, "fidelity", "header-differs");
}

#[test]
fn headers_differ_in_order_count_and_null_and_the_difference_is_named() {
    let cases: [(&str, fn(&mut Vec<HeaderPair>), &str); 4] = [
        ("order", |list| list.swap(0, 1), "the headers in another order"),
        ("count", |list| list.extend(list.clone()), "header `dataset` = `orders` was added"),
        ("absent", |list| drop(list.pop()), "is not there"),
        (
            "null",
            |list| list[0].1 = None,
            "header `dataset` = null instead of `dataset` = `orders`",
        ),
    ];
    for (name, alter, told) in cases {
        let mut sample = Sample::honest();
        change_stored(&mut sample, 12, |s| {
            let mut list = sample::header_list(12);
            alter(&mut list);
            (s.headers, s.header_list) = (HeaderPair::print_of(&list).unwrap(), Some(list));
        });
        found(&sample, "fidelity", "stored-headers-differ");
        let shown = shown(&sample, "fidelity");
        assert!(shown.contains(told), "{name}: {shown}");
    }
    // A list that is not what its fingerprint says is nobody's.
    let mut list_only = Sample::honest();
    change_stored(&mut list_only, 12, |s| s.header_list = Some(header(12, "dataset", None)));
    found(&list_only, "fidelity", "stored-headers-differ");
}

#[test]
fn an_ingestion_id_is_of_one_operation_and_the_same_everywhere() {
    comes(&Sample::honest(), "identity", Status::Pass);
    let constant = |sample: &mut Sample| {
        change(sample, |f| match f {
            Fact::Completed(c) => c.ingestion_id = Some("id-0".to_owned()),
            Fact::Logged(l) => {
                l.ingestion_id = Some("id-0".to_owned());
                let list = header(l.op.unwrap(), "ingestion_id", Some("id-0"));
                (l.headers, l.header_list) = (HeaderPair::print_of(&list).unwrap(), Some(list));
            }
            Fact::Stored(s) => {
                s.ingestion_id = Some("id-0".to_owned());
                let list = header(s.op.unwrap(), "ingestion_id", Some("id-0"));
                (s.headers, s.header_list) = (HeaderPair::print_of(&list).unwrap(), Some(list));
            }
            _ => {}
        });
    };
    let mut one_for_all = Sample::honest();
    constant(&mut one_for_all);
    found(&one_for_all, "identity", "ingestion-id-shared");
    comes(&one_for_all, "fidelity", Status::Pass);
    let mut twice = Sample::honest();
    change(&mut twice, |f| match f {
        Fact::Completed(c) if c.op == 2 => c.ingestion_id = Some("id-1".to_owned()),
        _ => {}
    });
    found(&twice, "identity", "ingestion-id-shared");
    found(&twice, "identity", "ingestion-id-differs");
    // The line's own field, with the header right beside it or without.
    for listed in [true, false] {
        for id in [Some("id-0".to_owned()), None] {
            let mut line = Sample::honest();
            change_stored(&mut line, 12, |s| {
                s.ingestion_id = id.clone();
                s.header_list = s.header_list.take().filter(|_| listed);
            });
            found(&line, "identity", "stored-id-differs");
        }
    }
    let mut silent = Sample::honest();
    change(&mut silent, |f| match f {
        Fact::Completed(c) if c.op == 2 => c.ingestion_id = None,
        _ => {}
    });
    found(&silent, "identity", "receipt-without-ingestion-id");
    let mut header_only = Sample::honest();
    change_logged(&mut header_only, 4, |l| l.ingestion_id = Some("id-5x".to_owned()));
    found(&header_only, "identity", "ingestion-id-differs");
    let mut none = Sample::honest();
    none.header.promises.headers.clear();
    comes(&none, "identity", Status::NotApplicable);
}

#[test]
fn deliveries_of_what_the_log_never_held_are_found() {
    let mut other_topic = Sample::honest();
    change_stored(&mut other_topic, 41, |s| s.topic = "payments".to_owned());
    found(&other_topic, "fidelity", "stored-but-never-logged");
    let mut hole = Sample::honest();
    let gone = logged(&hole, 41);
    drop_facts(&mut hole, |f| matches!(f, Fact::Logged(l) if l.op == Some(41)));
    change(&mut hole, |f| match f {
        Fact::LogBounds(b) if b.topic == TOPIC && b.partition == gone.partition => {
            b.holes = vec![(gone.offset, gone.offset)];
        }
        _ => {}
    });
    found(&hole, "fidelity", "stored-but-never-logged");
    let mut aborted = Sample::honest();
    change(&mut aborted, |f| match f {
        Fact::LogBounds(b) if b.topic == TOPIC && b.partition == gone.partition => {
            b.aborted = vec![(gone.offset, gone.offset)];
        }
        _ => {}
    });
    found(&aborted, "fidelity", "stored-but-aborted");
}

#[test]
fn parts_stand_in_the_folder_of_their_dataset_and_day_and_hold_one_partition() {
    let day = "raw/raw/dataset=orders/ingestion_date=2026-11-06";
    for (name, anomaly) in [
        (
            "raw/raw/dataset=orders/dt=2026-11-06/part-0003.json".to_owned(),
            "part-outside-the-layout",
        ),
        (
            "raw/raw/dataset=orders/ingestion_date=unknown/part-0003.json".to_owned(),
            "part-outside-the-layout",
        ),
        ("raw/part-0003.json".to_owned(), "part-outside-the-layout"),
        (format!("{day}/part-3.json"), "part-outside-the-layout"),
        (
            "raw/raw/dataset=payments/ingestion_date=2026-11-06/part-0003.json".to_owned(),
            "part-of-another-dataset",
        ),
        (
            "raw/raw/dataset=orders/ingestion_date=2026-11-07/part-0003.json".to_owned(),
            "misplaced-record",
        ),
    ] {
        let mut sample = Sample::honest();
        change(&mut sample, |f| match f {
            Fact::Object(o) if o.object == 3 => o.name.clone_from(&name),
            _ => {}
        });
        found(&sample, "placement", anomaly);
    }
    let mut mixed = Sample::honest();
    change_stored(&mut mixed, 41, |s| s.object = if s.object == 8 { 9 } else { 8 });
    mixed
        .facts
        .sort_by_key(|(t, _, f)| (*t, matches!(f, Fact::Stored(_) | Fact::StoreRead { .. })));
    found(&mixed, "placement", "part-of-several-partitions");
    let mut free = Sample::honest();
    free.header.promises.groups[0].free_layout = true;
    comes(&free, "placement", Status::NotApplicable);
}

#[test]
fn every_field_of_the_metadata_is_compared() {
    comes(&Sample::honest(), "metadata", Status::Pass);
    type Alter = fn(&mut Object);
    let cases: [(&str, Alter); 17] = [
        ("crc32 listed as 00000000, is 0badcafe", |o| {
            o.lists[2].crc32 = Some("00000000".to_owned())
        }),
        ("crc32 listed as nothing", |o| o.lists[2].crc32 = None),
        ("bytes listed as 99, is 100", |o| o.lists[2].bytes = 99),
        ("records listed as", |o| o.lists[2].records += 1),
        ("first offset listed as", |o| o.lists[2].first += 1),
        ("last offset listed as", |o| o.lists[2].last += 1),
        ("partition listed as streamlake.orders.raw/1", |o| o.lists[2].partition = 1),
        ("partition listed as other/0", |o| o.lists[2].topic = "other".to_owned()),
        ("is listed twice", |o| o.lists.push(o.lists[2].clone())),
        ("is listed and not there", |o| o.lists[2].name = sample::part_name(77)),
        ("is there and not listed", |o| drop(o.lists.pop())),
        ("`dataset` listed as `payments`", |o| {
            o.head.as_mut().unwrap().dataset = Some("payments".to_owned())
        }),
        ("`ingestion_date` listed as `2026-11-07`", |o| {
            o.head.as_mut().unwrap().ingestion_date = Some("2026-11-07".to_owned())
        }),
        ("`format` listed as nothing", |o| o.head.as_mut().unwrap().format = None),
        ("`version` listed as `2`", |o| o.head.as_mut().unwrap().version = Some(2)),
        ("`updated_at` is `soon`", |o| {
            o.head.as_mut().unwrap().updated_at = Some("soon".to_owned())
        }),
        ("`updated_at` is `2026-11-06T21:19:00Z`", |o| {
            o.head.as_mut().unwrap().updated_at = Some("2026-11-06T21:19:00Z".to_owned())
        }),
    ];
    for (told, alter) in cases {
        let mut sample = Sample::honest();
        change_object(&mut sample, 99, alter);
        found(&sample, "metadata", "metadata-disagrees");
        shows(&sample, "metadata", &[told]);
    }
    // What the store keeps beside a part, where it keeps anything.
    let mut kept = Sample::honest();
    keep_beside_parts(&mut kept, "x-goog-meta-crc32", sample::CRC32);
    comes(&kept, "metadata", Status::Pass);
    let mut lost = kept.clone();
    change_object(&mut lost, 2, |o| o.attributes.clear());
    shows(&lost, "metadata", &["has no attribute x-goog-meta-crc32, which other parts have"]);
    change_object(&mut kept, 2, |o| {
        o.attributes.insert("x-goog-meta-first-offset".to_owned(), "999".to_owned());
    });
    shows(&kept, "metadata", &["attribute first-offset is `999`"]);
    // Nobody computed the checksums.
    let mut unsummed = Sample::honest();
    change_object(&mut unsummed, 2, |o| o.crc32 = None);
    comes(&unsummed, "metadata", Status::Inconclusive);
}

#[test]
fn strangers_in_a_raw_zone_are_found_and_probes_are_none() {
    let with = |name: &str, role| {
        let mut sample = Sample::honest();
        sample.object(98, name, 500_000, role);
        if role == ObjectRole::Part {
            change(&mut sample, |f| {
                if let Fact::StoreRead { parts, .. } = f {
                    *parts += 1;
                }
            });
        }
        sample
    };
    let probe = "raw/raw/.probe-0f8fad5b-d9cb-469f-a165-70867728950e";
    // Who left it behind is another question.
    let mut alone = with(probe, ObjectRole::Other);
    drop_facts(&mut alone, |f| matches!(f, Fact::Process(_)));
    comes(&alone, "metadata", Status::Pass);
    comes(&with(probe, ObjectRole::Other), "immutability", Status::Pass);
    for name in [
        "raw/raw/dataset=orders/ingestion_date=2026-11-06/part-0001.json.tmp",
        "raw/raw/.probe-1",
        "raw/raw/dataset=orders/.probe-0f8fad5b-d9cb-469f-a165-70867728950e",
        "raw/notes.txt",
    ] {
        found(&with(name, ObjectRole::Other), "metadata", "stray-object");
    }
    found(&with(&sample::part_name(50), ObjectRole::Part), "metadata", "metadata-disagrees");
}

#[test]
fn a_probe_is_deleted_again_unless_its_process_was_killed() {
    let left = |end| {
        let mut sample = Sample::honest();
        let probe = "raw/raw/.probe-0f8fad5b-d9cb-469f-a165-70867728950e";
        sample.object(98, probe, 500_000, ObjectRole::Other);
        sample.header.promises.faults.clear();
        drop_facts(&mut sample, |f| matches!(f, Fact::Fault(_) | Fact::Process(_)));
        let exit = ProcessState {
            name: "consumer-1".to_owned(),
            pid: 1,
            state: ProcessChange::Exited,
            status: None,
            role: Some(ProcessRole::Consumer),
            group: Some(GROUP.to_owned()),
            asked: Some(Ask::Stop),
            end: Some(end),
        };
        sample.tell(END_US, "supervisor", Fact::Process(exit));
        sample
    };
    found(&left(ProcessEnd::Code(0)), "metadata", "probe-left-behind");
    comes(&left(ProcessEnd::Signal(9)), "metadata", Status::Pass);
}

#[test]
fn a_document_lists_what_is_there() {
    let seen = |absent: &[&str]| {
        let mut sample = Sample::honest();
        let document = |f: &Fact| match f {
            Fact::Object(o) if o.role == ObjectRole::Metadata && !o.during_run => {
                let absent = absent.iter().map(|name| (*name).to_owned()).collect();
                Some(Object { object: 500, during_run: true, absent, ..o.clone() })
            }
            _ => None,
        };
        let seen = sample.facts.iter().find_map(|(_, _, f)| document(f)).unwrap();
        sample.tell(END_US, "store-watch", Fact::Object(seen));
        sample
    };
    comes(&seen(&[]), "metadata", Status::Pass);
    found(&seen(&["a/part-0009.json"]), "metadata", "listed-before-stored");
}

#[test]
fn nothing_of_the_layout_is_written_without_a_condition() {
    let mut sample = Sample::honest();
    let blind = |role: ObjectRole, f: &Fact| match f {
        Fact::Object(o) if o.role == role && !o.during_run => {
            let (object, during_run, unconditional) = (500, true, true);
            Some(Fact::Object(Object { object, during_run, unconditional, ..o.clone() }))
        }
        _ => None,
    };
    for role in [ObjectRole::Part, ObjectRole::Metadata] {
        let mut sample = sample.clone();
        let written = sample.facts.iter().find_map(|(_, _, f)| blind(role, f)).unwrap();
        sample.tell(END_US, "store-journal", written);
        found(&sample, "metadata", "written-without-a-condition");
    }
    sample.header.promises.groups[0].free_layout = true;
    comes(&sample, "metadata", Status::NotApplicable);
}

#[test]
fn a_part_holds_no_more_than_closes_it() {
    let with = |records, bytes, before| {
        let mut sample = Sample::honest();
        let batch = BatchPromise { records, bytes, age_us: 100_000 };
        sample.header.promises.groups[0].batch = Some(batch);
        change_object(&mut sample, 2, |o| o.before_last_line = before);
        sample
    };
    comes(&with(100, Some(80), Some(79)), "metadata", Status::Pass);
    comes(&with(100, None, Some(80)), "metadata", Status::Pass);
    found(&with(100, Some(80), Some(80)), "metadata", "part-too-long");
    found(&with(1, None, None), "metadata", "part-too-long");
}

#[test]
fn a_part_that_was_not_watched_is_a_doubt() {
    let sighting = |number: u32| move |f: &Fact| matches!(f, Fact::Object(o) if o.during_run && o.object == number);
    let mut one_unseen = Sample::honest();
    drop_facts(&mut one_unseen, sighting(11));
    comes(&one_unseen, "immutability", Status::Inconclusive);
    // The journal saw it, the watch had died.
    let written = Sample::honest().facts.into_iter().find(|(_, _, f)| sighting(11)(f)).unwrap();
    one_unseen.tell(END_US, "store-journal", written.2);
    comes(&one_unseen, "immutability", Status::Inconclusive);
    // A store with a journal only.
    let mut journal = Sample::honest();
    for (_, process, _) in &mut journal.facts {
        if process == "store-watch" {
            *process = "store-journal".to_owned();
        }
    }
    comes(&journal, "immutability", Status::Pass);
}

/// An honest run in which operation 4 is poison, with these letters instead of the good one.
fn with_letters(alter: impl Fn(DeadLetter) -> Vec<DeadLetter>) -> Sample {
    let mut sample = Sample::honest();
    let log = logged(&sample, 4);
    change(&mut sample, |f| match f {
        Fact::Invoked(i) if i.op == 4 => i.poison = true,
        _ => {}
    });
    drop_facts(&mut sample, |f| matches!(f, Fact::Stored(s) if s.op == Some(4)));
    let place = Some((GROUP, log.partition, log.offset, 43_000));
    for letter in alter(sample::dead_letter(4, place, 100_000)) {
        sample.tell(END_US, "log-reader", Fact::DeadLetter(letter));
    }
    sample
}

#[test]
fn all_that_a_dead_letter_says_is_so() {
    comes(&with_letters(|letter| vec![letter]), "dead-letters", Status::Pass);
    type Alter = fn(DeadLetter) -> DeadLetter;
    let cases: [(&str, Alter); 15] = [
        ("dead-letter-altered", |l| DeadLetter { value: Print::NULL, ..l }),
        ("dead-letter-altered", |l| DeadLetter { key: None, ..l }),
        ("dead-letter-headers-differ", |l| DeadLetter { headers: Print(1), ..l }),
        ("dead-letter-headers-differ", |l| DeadLetter {
            header_list: Some(header(4, "dataset", None)),
            ..l
        }),
        ("dead-letter-incomplete", |l| DeadLetter { error: Some(" ".to_owned()), ..l }),
        ("dead-letter-incomplete", |l| DeadLetter { error: None, ..l }),
        ("dead-letter-incomplete", |l| DeadLetter { trace: Some(String::new()), ..l }),
        ("dead-letter-incomplete", |l| DeadLetter { failed_ms: None, ..l }),
        ("dead-letter-incomplete", |l| DeadLetter {
            missing_headers: vec!["consumer_group".to_owned()],
            ..l
        }),
        ("dead-letter-timestamp-differs", |l| DeadLetter {
            source_timestamp_ms: l.source_timestamp_ms.map(|ms| ms + 1),
            ..l
        }),
        ("dead-letter-timestamp-differs", |l| DeadLetter { source_timestamp_ms: None, ..l }),
        ("dead-letter-time-implausible", |l| DeadLetter { failed_ms: Some(0), ..l }),
        ("dead-letter-time-implausible", |l| DeadLetter {
            failed_ms: l.failed_ms.map(|ms| ms + 3_600_000),
            ..l
        }),
        ("dead-letter-of-unknown-group", |l| DeadLetter { group: Some("others".to_owned()), ..l }),
        ("poison-without-dead-letter", |l| DeadLetter { group: Some("others".to_owned()), ..l }),
    ];
    for (anomaly, alter) in cases {
        found(&with_letters(|letter| vec![alter(letter)]), "dead-letters", anomaly);
    }
    let moved = with_letters(|l| {
        let source =
            l.source.clone().map(|(topic, partition, offset)| (topic, partition, offset + 1));
        vec![l.clone(), DeadLetter { source, ..l }]
    });
    found(&moved, "dead-letters", "dead-letter-of-good-record");
    shows(&moved, "dead-letters", &["instead of value"]);
    let other_id =
        with_letters(|l| vec![DeadLetter { ingestion_id: Some("id-5".to_owned()), ..l }]);
    found(&other_id, "identity", "dead-letter-id-differs");
    let other_reason = with_letters(|l| {
        vec![l.clone(), DeadLetter { error: Some("another".to_owned()), offset: 1, ..l }]
    });
    found(&other_reason, "dead-letters", "dead-letter-reason-differs");
    // A second letter of one record and group is counted here, and judged where duplicates are.
    let twice = with_letters(|l| vec![l.clone(), DeadLetter { offset: 1, ..l }]);
    comes(&twice, "dead-letters", Status::Pass);
    let figures = check(&twice.judge().unwrap(), "dead-letters").figures;
    assert_eq!(figures["dead_letters_again"], 1);
}

#[test]
fn a_letter_of_one_group_does_not_stand_for_another() {
    let two = |letters: &[Option<&str>]| {
        let mut sample = with_letters(|letter| {
            let of = |group: &Option<&str>| DeadLetter {
                group: group.map(str::to_owned),
                ..letter.clone()
            };
            letters.iter().map(of).collect()
        });
        sample.header.promises.groups.push(GroupPromise {
            group: "second".to_owned(),
            raw_zone: Some("gs://lake/second".to_owned()),
            dead_letter_topic: Some(DEAD_LETTERS.to_owned()),
            ..GroupPromise::default()
        });
        let commits: Vec<_> = sample
            .facts
            .iter()
            .filter(|(_, _, f)| matches!(f, Fact::Committed(_)))
            .cloned()
            .collect();
        for (t_us, _, fact) in commits {
            if let Fact::Committed(commit) = fact {
                let second = Committed { group: "second".to_owned(), ..commit };
                sample.tell(t_us, "commit-watch-2", Fact::Committed(second));
            }
        }
        sample
    };
    comes(&two(&[Some(GROUP), Some("second")]), "dead-letters", Status::Pass);
    found(&two(&[Some(GROUP)]), "dead-letters", "poison-without-dead-letter");
    found(&two(&[Some(GROUP), Some(GROUP)]), "dead-letters", "poison-without-dead-letter");
    // Letters that do not say whose they are leave it open.
    let mut unsaid = two(&[None]);
    unsaid.header.version = 1;
    comes(&unsaid, "dead-letters", Status::Inconclusive);
}

fn read_back(sample: &mut Sample, of: &str, process: &str, pairs: &[(&str, &str)]) {
    let properties = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let process = Some(process.to_owned());
    sample.tell(5, "configuration", Fact::Configuration { of: of.to_owned(), properties, process });
}

#[test]
fn every_client_of_every_process_says_what_it_runs_with() {
    let told = |alter: &dyn Fn(&mut Sample)| {
        let mut sample = Sample::honest();
        drop_facts(&mut sample, |f| matches!(f, Fact::Configuration { .. }));
        sample.process(5, "consumer-2", "started").process(5, "producer-1", "started");
        let producer =
            [("enable.idempotence", "true"), ("acks", "-1"), ("partitioner", "murmur2_random")];
        read_back(&mut sample, "producer", "producer-1", &producer);
        for process in ["consumer-1", "consumer-2"] {
            read_back(&mut sample, "consumer", process, &sample::CONSUMER);
        }
        for process in ["consumer-1", "consumer-2", "producer-1"] {
            read_back(&mut sample, "dead-letter producer", process, &sample::LETTER_WRITER);
        }
        let topics: Vec<String> = sample.header.promises.topics.keys().cloned().collect();
        let servers = topics.iter().map(|topic| format!("topic {topic}"));
        for of in servers.chain(["broker-1".to_owned()]) {
            let (properties, process) = (Default::default(), None);
            sample.tell(4, "configuration", Fact::Configuration { of, properties, process });
        }
        alter(&mut sample);
        sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
        sample
    };
    comes(&told(&|_| {}), "configuration", Status::Pass);
    for (kind, silent) in [
        ("consumer", "consumer-2"),
        ("dead-letter producer", "consumer-2"),
        ("dead-letter producer", "producer-1"),
        ("producer", "producer-1"),
    ] {
        let sample = told(&|sample| {
            drop_facts(sample, |f| {
                matches!(f, Fact::Configuration { of, process, .. }
                    if of == kind && process.as_deref() == Some(silent))
            });
        });
        comes(&sample, "configuration", Status::Inconclusive);
    }
    for (kind, name, value) in [
        ("consumer", "auto.offset.reset", "latest"),
        ("consumer", "isolation.level", "read_uncommitted"),
        ("consumer", "enable.auto.offset.store", "true"),
        ("dead-letter producer", "acks", "1"),
        ("dead-letter producer", "enable.idempotence", "false"),
        ("producer", "acks", "0"),
    ] {
        let sample = told(&|sample| {
            change(sample, |f| match f {
                Fact::Configuration { of, properties, .. } if of == kind => {
                    properties.insert(name.to_owned(), value.to_owned());
                }
                _ => {}
            });
        });
        found(&sample, "configuration", "configuration-differs");
        shows(&sample, "configuration", &[name, value]);
    }
}

#[test]
fn a_promised_header_is_there_once() {
    let mut twice = Sample::honest();
    let mut list = sample::header_list(30);
    let id = list.iter().find(|pair| pair.is("ingestion_id")).unwrap().clone();
    list.push(id);
    bear(&mut twice, 30, &list);
    found(&twice, "fidelity", "header-twice");
    shows(&twice, "fidelity", &["`ingestion_id` is there 2 times"]);
    // What another producer's records bear is its own affair.
    change(&mut twice, |f| match f {
        Fact::Invoked(i) if i.op == 30 => i.header_list = Some(list.clone()),
        _ => {}
    });
    comes(&twice, "fidelity", Status::Pass);
}

#[test]
fn a_timestamp_lies_in_the_invocation() {
    let stamped = |off_ms: i64| {
        let mut sample = Sample::honest();
        change(&mut sample, |f| match f {
            Fact::Logged(Logged { op: Some(30), timestamp_ms: Some(ms), .. })
            | Fact::Stored(Stored { op: Some(30), timestamp_ms: Some(ms), .. }) => *ms += off_ms,
            _ => {}
        });
        sample
    };
    // The clocks of one machine are not seconds apart.
    for off_ms in [-900, 0, 900] {
        comes(&stamped(off_ms), "fidelity", Status::Pass);
    }
    for off_ms in [-86_400_000, -2_500, 2_500] {
        found(&stamped(off_ms), "fidelity", "timestamp-implausible");
    }
    // A request that was given up may reach the log much later.
    let mut late = stamped(300);
    change(&mut late, |f| match f {
        Fact::Completed(c) if c.op == 30 => {
            c.outcome = Outcome::Unknown { error: "timed out".to_owned() };
        }
        _ => {}
    });
    comes(&late, "fidelity", Status::Pass);
}

#[test]
fn the_media_type_of_a_part_is_that_of_its_name() {
    let kept = |media: &str| {
        let mut sample = Sample::honest();
        keep_beside_parts(&mut sample, "content-type", "application/x-ndjson");
        change_object(&mut sample, 2, |o| {
            o.attributes.insert("content-type".to_owned(), media.to_owned());
        });
        sample
    };
    comes(&kept("application/x-ndjson"), "metadata", Status::Pass);
    shows(&kept("application/zstd"), "metadata", &["its media type is `application/zstd`"]);
}

#[test]
fn a_part_is_not_said_to_be_packed_once_more_and_parts_are_listed_by_number() {
    let kept = |encoding: &str| {
        let mut sample = Sample::honest();
        change_object(&mut sample, 2, |o| {
            o.attributes.insert("content-encoding".to_owned(), encoding.to_owned());
        });
        sample
    };
    comes(&kept("identity"), "metadata", Status::Pass);
    shows(&kept("zstd"), "metadata", &["its content encoding is `zstd`"]);
    let mut backwards = Sample::honest();
    change(&mut backwards, |f| {
        if let Fact::Object(o) = f {
            o.lists.reverse();
        }
    });
    shows(&backwards, "metadata", &["is listed before part"]);
}

#[test]
fn a_client_runs_with_what_is_documented_of_it() {
    let mut sample = Sample::honest();
    let promised = BTreeMap::from([("session.timeout.ms".to_owned(), "30000".to_owned())]);
    sample.header.promises.settings = BTreeMap::from([("consumer-1".to_owned(), promised)]);
    let reported = |session: &str| {
        let mut sample = sample.clone();
        change(&mut sample, |f| match f {
            Fact::Configuration { of, properties, process } if of == "consumer" => {
                *process = Some("consumer-1".to_owned());
                properties.insert("session.timeout.ms".to_owned(), session.to_owned());
            }
            _ => {}
        });
        sample
    };
    let as_told = check(&reported("30000").judge().unwrap(), "configuration");
    assert_eq!(as_told.findings, []);
    found(&reported("45000"), "configuration", "configuration-differs");
}
