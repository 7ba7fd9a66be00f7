//! Histories of any size, made on the fly: what a healthy run of so many records would record.
//!
//! For measuring: facts are changed in place and handed out by reference, so that what is measured is
//! the judge. Each record is four facts: invoked, completed, logged, stored; each part adds an object
//! twice, each ten thousand records a commit a partition.

use std::io::Write as _;

use super::event::*;
use super::sample;
use crate::murmur2;

const PARTITIONS: u32 = 12;
const PART_RECORDS: u64 = 10_000;
/// Operations between an invocation and its completion.
const IN_FLIGHT: u64 = 500;
/// A hundred thousand operations a second.
const STEP_US: u64 = 10;

/// The header of a history of so many records.
#[must_use]
pub fn header(records: u64) -> Header {
    let mut header = sample::header(records, PARTITIONS);
    header.run.testbed = "foreign".to_owned();
    header.run.scenario = "synthetic".to_owned();
    header.promises.groups[0].dead_letter_topic = None;
    header.promises.groups[0].free_layout = true;
    // As large runs have it: fingerprints only.
    (header.promises.dataset, header.promises.headers) = (None, Vec::new());
    header.promises.evidence.retain(|evidence| *evidence != Evidence::Positions);
    header
}

/// Hands out all facts of a history of so many records, in an order that a recorder could have met.
pub fn facts(records: u64, mut take: impl FnMut(&Event)) {
    let mut makers = Makers::new();
    let mut take = |maker: &mut Maker, t_us: u64| {
        maker.event.t_us = t_us.max(maker.event.t_us);
        take(&maker.event);
        maker.event.seq += 1;
    };
    let mut next = [0u64; PARTITIONS as usize];
    let mut done = 0;
    for op in 0..records + IN_FLIGHT {
        let t_us = op * STEP_US;
        if op < records {
            makers.invoke(op);
            take(&mut makers.invoked, t_us);
        }
        if op >= IN_FLIGHT {
            let op = op - IN_FLIGHT;
            makers.complete(op, &mut next);
            // The same producer: its lines share a numbering.
            makers.completed.event.seq = makers.invoked.event.seq;
            take(&mut makers.completed, t_us);
            makers.invoked.event.seq = makers.completed.event.seq;
            makers.invoked.event.t_us = t_us;
            done = op + 1;
        }
        if done > 0 && (done % PART_RECORDS == 0 || done == records) && op >= IN_FLIGHT {
            for partition in 0..PARTITIONS {
                makers.commit(partition, next[partition as usize], t_us + 50_000);
                take(&mut makers.committed, t_us);
            }
        }
    }
    let end_us = (records + IN_FLIGHT) * STEP_US + 100_000;
    let mut next = [0u64; PARTITIONS as usize];
    for op in 0..records {
        makers.log(op, &mut next);
        take(&mut makers.logged, end_us);
    }
    for partition in 0..PARTITIONS {
        makers.bounds(partition, next[partition as usize]);
        makers.logged_seq_into_bounds();
        take(&mut makers.bounds, end_us);
        makers.logged.event.seq = makers.bounds.event.seq;
    }
    stored(records, end_us, &mut makers, &mut take);
}

fn stored(records: u64, end_us: u64, makers: &mut Makers, take: &mut impl FnMut(&mut Maker, u64)) {
    let mut next = [0u64; PARTITIONS as usize];
    let parts = records.div_ceil(PART_RECORDS);
    for part in 0..parts {
        let last = ((part + 1) * PART_RECORDS).min(records) + IN_FLIGHT;
        makers.object(part as u32, last * STEP_US + 20_000);
        take(&mut makers.sighted, end_us);
        makers.object.event.seq = makers.stored.event.seq;
        take(&mut makers.object, end_us);
        makers.stored.event.seq = makers.object.event.seq;
        for op in part * PART_RECORDS..((part + 1) * PART_RECORDS).min(records) {
            makers.store(op, part as u32, &mut next);
            take(&mut makers.stored, end_us);
        }
    }
    makers.object.event.seq = makers.stored.event.seq;
    makers.object.event.fact =
        Fact::StoreRead { raw_zone: sample::ZONE.to_owned(), parts: parts as u32 };
    take(&mut makers.object, end_us);
}

struct Maker {
    event: Event,
}

impl Maker {
    fn new(process: &str, fact: Fact) -> Self {
        Self { event: Event { t_us: 0, process: process.to_owned(), seq: 0, fact } }
    }
}

struct Makers {
    invoked: Maker,
    completed: Maker,
    logged: Maker,
    bounds: Maker,
    sighted: Maker,
    object: Maker,
    stored: Maker,
    committed: Maker,
}

fn name(buffer: &mut Vec<u8>, prefix: &str, op: u64) {
    buffer.clear();
    // Writing into a vector cannot fail.
    let _ = write!(buffer, "{prefix}{op}");
}

fn value(op: u64) -> Print {
    Print(op.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn id(text: &mut Option<String>, op: u64) {
    let mut buffer = text.take().unwrap_or_default().into_bytes();
    name(&mut buffer, "id-", op);
    *text = String::from_utf8(buffer).ok();
}

fn key(blob: &mut Option<Blob>, op: u64) -> u32 {
    let blob = blob.get_or_insert_with(|| Blob(Vec::new()));
    name(&mut blob.0, "order-", op);
    murmur2::partition(&blob.0, PARTITIONS)
}

fn written_ms(op: u64) -> i64 {
    sample::START_MS + (op * STEP_US / 1000) as i64
}

impl Makers {
    fn new() -> Self {
        let mut sample = sample::Sample::empty(0, 1);
        sample.invoke(0, 0).acknowledge(0, 0, 0, 0).log(0, 0, 0, 0).bounds(sample::TOPIC, 0, 0, 0);
        sample.part(0, 0, &[(0, 0, 0, 0)]).commit(0, 0, 0);
        for (_, _, fact) in &mut sample.facts {
            match fact {
                Fact::Logged(fact) => (fact.header_list, fact.ingested_ms) = (None, None),
                Fact::Stored(fact) => (fact.header_list, fact.ingested_ms) = (None, None),
                _ => {}
            }
        }
        let fact = |wanted: fn(&Fact) -> bool| {
            let mut facts = sample.facts.iter();
            facts
                .find(|f| wanted(&f.2))
                .map(|f| f.2.clone())
                .unwrap_or(Fact::Phase { name: String::new() })
        };
        let object = fact(|f| matches!(f, Fact::Object(_)));
        Self {
            invoked: Maker::new("producer-1", fact(|f| matches!(f, Fact::Invoked(_)))),
            completed: Maker::new("producer-1", fact(|f| matches!(f, Fact::Completed(_)))),
            logged: Maker::new("log-reader", fact(|f| matches!(f, Fact::Logged(_)))),
            bounds: Maker::new("log-reader", fact(|f| matches!(f, Fact::LogBounds(_)))),
            sighted: Maker::new("store-watch", object.clone()),
            object: Maker::new("store-reader", object),
            stored: Maker::new("store-reader", fact(|f| matches!(f, Fact::Stored(_)))),
            committed: Maker::new("commit-watch", fact(|f| matches!(f, Fact::Committed(_)))),
        }
    }

    fn invoke(&mut self, op: u64) {
        if let Fact::Invoked(fact) = &mut self.invoked.event.fact {
            (fact.op, fact.value) = (op, value(op));
            key(&mut fact.key, op);
        }
    }

    fn complete(&mut self, op: u64, next: &mut [u64]) {
        // Only the buffer of the log's maker is at hand for the key.
        let Fact::Logged(log) = &mut self.logged.event.fact else { return };
        let to = key(&mut log.key, op);
        if let Fact::Completed(fact) = &mut self.completed.event.fact {
            fact.op = op;
            id(&mut fact.ingestion_id, op);
            if let Outcome::Acknowledged { partition, offset, .. } = &mut fact.outcome {
                (*partition, *offset) = (to, next[to as usize]);
            }
        }
        next[to as usize] += 1;
    }

    fn log(&mut self, op: u64, next: &mut [u64]) {
        if let Fact::Logged(fact) = &mut self.logged.event.fact {
            fact.partition = key(&mut fact.key, op);
            fact.offset = next[fact.partition as usize];
            next[fact.partition as usize] += 1;
            (fact.op, fact.value, fact.headers) = (Some(op), value(op), value(!op));
            fact.timestamp_ms = Some(written_ms(op));
            id(&mut fact.ingestion_id, op);
        }
    }

    fn bounds(&mut self, partition: u32, high: u64) {
        if let Fact::LogBounds(fact) = &mut self.bounds.event.fact {
            (fact.partition, fact.high) = (partition, high);
        }
    }

    fn logged_seq_into_bounds(&mut self) {
        self.bounds.event.seq = self.logged.event.seq;
    }

    fn object(&mut self, part: u32, created: u64) {
        for (maker, early) in [(&mut self.sighted, true), (&mut self.object, false)] {
            if let Fact::Object(fact) = &mut maker.event.fact {
                (fact.object, fact.created_us, fact.during_run) = (part, created, early);
                fact.name = sample::part_name(part);
                fact.generation = "1".to_owned();
            }
        }
    }

    fn store(&mut self, op: u64, part: u32, next: &mut [u64]) {
        if let Fact::Stored(fact) = &mut self.stored.event.fact {
            fact.partition = key(&mut fact.key, op);
            fact.offset = next[fact.partition as usize];
            next[fact.partition as usize] += 1;
            (fact.object, fact.line) = (part, (op % PART_RECORDS) as u32 + 1);
            (fact.op, fact.value, fact.headers) = (Some(op), value(op), value(!op));
            fact.timestamp_ms = Some(written_ms(op));
            id(&mut fact.ingestion_id, op);
        }
    }

    fn commit(&mut self, to: u32, next: u64, at: u64) {
        if let Fact::Committed(fact) = &mut self.committed.event.fact {
            (fact.partition, fact.offset, fact.at_us) = (to, next, at);
        }
    }
}
