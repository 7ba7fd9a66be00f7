//! Corruptions of what records hold.

use rand::RngExt as _;

use super::{Planted, Rng, acknowledged, alter, is_poison, last_at_end, pick};
use streamlake_history::event::*;
use streamlake_history::sample::{self, Sample, TOPIC};

/// Another list of headers for an operation, in the log and in every copy.
fn bear(sample: &mut Sample, op: u64, list: &[HeaderPair]) {
    let print = HeaderPair::print_of(list).unwrap();
    for (_, _, fact) in &mut sample.facts {
        match fact {
            Fact::Logged(l) if l.op == Some(op) => {
                (l.headers, l.header_list) = (print, Some(list.to_vec()));
            }
            Fact::Stored(s) if s.op == Some(op) => {
                (s.headers, s.header_list) = (print, Some(list.to_vec()));
            }
            Fact::DeadLetter(d) if d.op == Some(op) => {
                (d.headers, d.header_list) = (print, Some(list.to_vec()));
            }
            _ => {}
        }
    }
}

/// Another value for one header of an acknowledged operation.
fn header(sample: &mut Sample, rng: &mut Rng, name: &str, value: Option<&[u8]>) -> bool {
    let Some((op, ..)) = acknowledged(sample, rng) else { return false };
    let mut list = sample::header_list(op);
    for pair in list.iter_mut().filter(|pair| pair.is(name)) {
        *pair = HeaderPair::of(name.as_bytes(), value);
    }
    bear(sample, op, &list);
    true
}

/// One more record at the end of a partition.
fn append(sample: &mut Sample, partition: u32, record: Logged) -> bool {
    for (_, _, fact) in &mut sample.facts {
        if let Fact::LogBounds(b) = fact
            && b.topic == TOPIC
            && b.partition == partition
        {
            b.high += 1;
            let fact = Logged { partition, offset: b.high - 1, ..record };
            sample.tell(0, &format!("log-reader-{partition}"), Fact::Logged(fact));
            return last_at_end(sample);
        }
    }
    false
}

fn stored(sample: &mut Sample, rng: &mut Rng, change: impl Fn(&mut Stored)) -> bool {
    alter(
        sample,
        rng,
        |f| matches!(f, Fact::Stored(_)),
        |f| {
            if let Fact::Stored(s) = f {
                change(s);
            }
        },
    )
}

fn letter(sample: &mut Sample, rng: &mut Rng, change: impl Fn(&mut DeadLetter)) -> bool {
    let of_group = |f: &Fact| matches!(f, Fact::DeadLetter(d) if d.group.is_some());
    alter(sample, rng, of_group, |f| {
        if let Fact::DeadLetter(d) = f {
            change(d);
        }
    })
}

fn metadata(sample: &mut Sample, rng: &mut Rng, change: impl Fn(&mut Object)) -> bool {
    alter(
        sample,
        rng,
        |f| matches!(f, Fact::Object(o) if !o.lists.is_empty()),
        |f| {
            if let Fact::Object(o) = f {
                change(o);
            }
        },
    )
}

/// A part that stands at the end, under another name; its sightings, too.
fn rename(sample: &mut Sample, rng: &mut Rng, name: impl Fn(&str) -> String) -> bool {
    let part = |f: &Fact| matches!(f, Fact::Object(o) if o.role == ObjectRole::Part);
    let Some(place) = pick(sample, rng, part) else { return false };
    let Fact::Object(chosen) = sample.facts[place].2.clone() else { return false };
    for (_, _, fact) in &mut sample.facts {
        match fact {
            Fact::Object(o) if o.name == chosen.name => o.name = name(&o.name),
            _ => {}
        }
    }
    true
}

#[rustfmt::skip]
pub(super) static TABLE: [Planted; 22] = [
    Planted { name: "a tombstone is stored as an empty value", found: ("fidelity", "stored-differs"), plant: |s, rng| {
        let Some((op, ..)) = acknowledged(s, rng) else { return false };
        for (_, _, fact) in &mut s.facts {
            match fact {
                Fact::Invoked(i) if i.op == op => i.value = Print::NULL,
                Fact::Logged(l) if l.op == Some(op) => l.value = Print::NULL,
                Fact::Stored(l) if l.op == Some(op) => l.value = Print::of(b""),
                _ => {}
            }
        }
        true
    } },
    Planted { name: "a null key is stored as an empty one", found: ("fidelity", "stored-differs"), plant: |s, rng| stored(s, rng, |s| s.key = Some(Blob(Vec::new()))) },
    Planted { name: "another dataset in the headers", found: ("fidelity", "header-differs"), plant: |s, rng| header(s, rng, "dataset", Some(b"payments")) },
    Planted { name: "an empty schema version", found: ("fidelity", "header-differs"), plant: |s, rng| header(s, rng, "schema_version", Some(b"")) },
    Planted { name: "a null producer service", found: ("fidelity", "header-differs"), plant: |s, rng| header(s, rng, "producer_service", None) },
    Planted { name: "ingested in 1970", found: ("fidelity", "ingested-at-implausible"), plant: |s, rng| header(s, rng, "ingested_at", Some(b"1970-01-01T00:00:00.000Z")) },
    Planted { name: "ingested an hour later", found: ("fidelity", "ingested-at-implausible"), plant: |s, rng| header(s, rng, "ingested_at", Some(b"2026-11-06T22:30:00.000Z")) },
    Planted { name: "two operations share an ingestion id", found: ("identity", "ingestion-id-shared"), plant: |s, rng| {
        let (Some(a), Some(b)) = (acknowledged(s, rng), acknowledged(s, rng)) else { return false };
        let id = format!("id-{}", a.0);
        if a.0 == b.0 { return false }
        for (_, _, fact) in &mut s.facts {
            match fact {
                Fact::Completed(c) if c.op == b.0 => c.ingestion_id = Some(id.clone()),
                Fact::Logged(l) if l.op == Some(b.0) => l.ingestion_id = Some(id.clone()),
                Fact::Stored(l) if l.op == Some(b.0) => l.ingestion_id = Some(id.clone()),
                _ => {}
            }
        }
        true
    } },
    Planted { name: "a constant in the line's own id", found: ("identity", "stored-id-differs"), plant: |s, rng| stored(s, rng, |s| s.ingestion_id = Some("constant".to_owned())) },
    Planted { name: "garbage that nobody sent", found: ("acknowledged-is-durable", "logged-but-never-invoked"), plant: |s, rng| {
        let Some((_, partition, _)) = acknowledged(s, rng) else { return false };
        append(s, partition, Logged { topic: TOPIC.to_owned(), value: Print(rng.random()), ..Logged::default() })
    } },
    Planted { name: "a second copy with another value", found: ("acknowledged-is-durable", "logged-differs-from-invoked"), plant: |s, rng| {
        let Some((op, partition, _)) = acknowledged(s, rng) else { return false };
        let log = s.facts.iter().find_map(|f| match &f.2 { Fact::Logged(l) if l.op == Some(op) => Some(l.clone()), _ => None });
        let Some(log) = log else { return false };
        append(s, partition, Logged { value: Print(log.value.0 ^ 1), ..log })
    } },
    Planted { name: "a record of another topic is stored", found: ("fidelity", "stored-but-never-logged"), plant: |s, rng| stored(s, rng, |s| s.topic = "payments".to_owned()) },
    Planted { name: "an aborted record is stored", found: ("fidelity", "stored-but-aborted"), plant: |s, rng| {
        let Some(place) = pick(s, rng, |f| matches!(f, Fact::Stored(_))) else { return false };
        let Fact::Stored(at) = s.facts[place].2.clone() else { return false };
        for (_, _, fact) in &mut s.facts {
            if let Fact::LogBounds(b) = fact && b.topic == TOPIC && b.partition == at.partition { b.aborted = vec![(at.offset, at.offset)] }
        }
        true
    } },
    Planted { name: "a wrong checksum is listed", found: ("metadata", "metadata-disagrees"), plant: |s, rng| metadata(s, rng, |o| o.lists[0].crc32 = Some("00000000".to_owned())) },
    Planted { name: "another day in the document's head", found: ("metadata", "metadata-disagrees"), plant: |s, rng| metadata(s, rng, |o| o.head = o.head.take().map(|head| MetadataHead { ingestion_date: Some("2026-11-05".to_owned()), ..head })) },
    Planted { name: "an object that nothing documents", found: ("metadata", "stray-object"), plant: |s, rng| {
        alter(s, rng, |f| matches!(f, Fact::Object(o) if o.role == ObjectRole::Metadata), |f| if let Fact::Object(o) = f {
            *o = Object { role: ObjectRole::Other, name: o.name.replace("_metadata.json", "notes.txt"), lists: Vec::new(), head: None, ..o.clone() }
        })
    } },
    Planted { name: "a part in another dataset's folder", found: ("placement", "part-of-another-dataset"), plant: |s, rng| rename(s, rng, |name| name.replace("dataset=orders", "dataset=payments")) },
    Planted { name: "a part in the folder of no day", found: ("placement", "part-outside-the-layout"), plant: |s, rng| rename(s, rng, |name| name.replace("2026-11-06", "unknown")) },
    Planted { name: "a dead letter without a reason", found: ("dead-letters", "dead-letter-incomplete"), plant: |s, rng| letter(s, rng, |d| d.error = Some(String::new())) },
    Planted { name: "a dead letter without a trace", found: ("dead-letters", "dead-letter-incomplete"), plant: |s, rng| letter(s, rng, |d| d.trace = Some(" ".to_owned())) },
    Planted { name: "a dead letter with another timestamp", found: ("dead-letters", "dead-letter-timestamp-differs"), plant: |s, rng| letter(s, rng, |d| d.source_timestamp_ms = d.source_timestamp_ms.map(|ms| ms - 1)) },
    Planted { name: "one group's letter stands for the other's", found: ("dead-letters", "poison-without-dead-letter"), plant: |s, rng| {
        if s.header.promises.groups.len() < 2 { return false }
        let Some(place) = pick(s, rng, |f| matches!(f, Fact::DeadLetter(d) if d.group.is_some() && d.op.is_some_and(|op| is_poison(s, op)))) else { return false };
        let Fact::DeadLetter(one) = s.facts[place].2.clone() else { return false };
        s.facts.retain(|f| !matches!(&f.2, Fact::DeadLetter(d) if d.source == one.source && d.group == one.group)); true
    } },
];
