//! Corruptions planted in legal histories: each is a thing that a broken pipeline, broker or store
//! does, and each has a checker that must find it.
#![allow(clippy::unwrap_used)]

use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use streamlake_history::event::*;
use streamlake_history::murmur2;
use streamlake_history::sample::{self, Sample, TOPIC};

mod chaos;
#[cfg(test)]
mod content;
#[cfg(test)]
mod deliveries;

pub use chaos::vandalize;
#[cfg(test)]
pub(super) use chaos::{nudge, spoil};

type Rng = ChaCha8Rng;
/// Plants one corruption; false where the history has no place for it.
type Plant = fn(&mut Sample, &mut Rng) -> bool;

/// Every corruption: its name, and how it is made.
#[cfg(test)]
pub(super) fn table() -> impl Iterator<Item = (&'static str, Plant)> {
    TABLE.iter().chain(&content::TABLE).map(|row| (row.name, row.plant))
}

struct Planted {
    name: &'static str,
    /// Check and anomaly that must come of it.
    #[cfg_attr(not(test), expect(dead_code, reason = "the trial of the table asks for it"))]
    found: (&'static str, &'static str),
    plant: Plant,
}

/// Picks one of the facts that fit.
fn pick(sample: &Sample, rng: &mut Rng, fits: impl Fn(&Fact) -> bool) -> Option<usize> {
    let places: Vec<usize> =
        (0..sample.facts.len()).filter(|&n| fits(&sample.facts[n].2)).collect();
    places.choose(rng).copied()
}

/// Changes one of the facts that fit.
fn alter(
    sample: &mut Sample,
    rng: &mut Rng,
    fits: impl Fn(&Fact) -> bool,
    change: impl Fn(&mut Fact),
) -> bool {
    let Some(place) = pick(sample, rng, fits) else { return false };
    change(&mut sample.facts[place].2);
    true
}

/// An operation that was acknowledged and is no poison.
fn acknowledged(sample: &Sample, rng: &mut Rng) -> Option<(u64, u32, u64)> {
    let place = pick(sample, rng, |f| {
        matches!(f, Fact::Completed(Completed { op, outcome: Outcome::Acknowledged { .. }, .. })
            if !is_poison(sample, *op) && copies_in_log(sample, *op) == 1)
    })?;
    match &sample.facts[place].2 {
        Fact::Completed(Completed {
            op,
            outcome: Outcome::Acknowledged { partition, offset, .. },
            ..
        }) => Some((*op, *partition, *offset)),
        _ => None,
    }
}

fn is_poison(sample: &Sample, op: u64) -> bool {
    sample.facts.iter().any(|(_, _, f)| matches!(f, Fact::Invoked(i) if i.op == op && i.poison))
}

fn copies_in_log(sample: &Sample, op: u64) -> usize {
    sample.facts.iter().filter(|(_, _, f)| matches!(f, Fact::Logged(l) if l.op == Some(op))).count()
}

fn group(sample: &Sample, rng: &mut Rng) -> GroupPromise {
    sample.header.promises.groups.choose(rng).unwrap().clone()
}

/// Removes the copies of a place from a group's raw zone.
fn unstore(sample: &mut Sample, zone: &str, partition: u32, offset: u64) {
    let mut inside = false;
    sample.facts.retain(|(_, process, fact)| match fact {
        Fact::Object(o) if process.starts_with("store-reader") => {
            inside = o.raw_zone == zone;
            true
        }
        Fact::Stored(s) => !(inside && (s.partition, s.offset) == (partition, offset)),
        _ => true,
    });
}

/// Stored facts follow their object, whichever reader tells them: keeps one reader's facts together.
fn by_reader(sample: &mut Sample) {
    let end = sample.facts.iter().map(|f| f.0).max().unwrap_or(0);
    let readers = |f: &(u64, String, Fact)| f.1.starts_with("store-reader");
    let (mut last, mut rest): (Vec<_>, Vec<_>) = sample.facts.drain(..).partition(readers);
    last.sort_by(|a, b| a.1.cmp(&b.1));
    last.iter_mut().for_each(|f| f.0 = end);
    rest.append(&mut last);
    sample.facts = rest;
}

/// The fact just told belongs to the final read.
fn last_at_end(sample: &mut Sample) -> bool {
    let end = sample.facts.iter().map(|f| f.0).max().unwrap_or(0);
    if let Some(last) = sample.facts.last_mut() {
        last.0 = end;
    }
    true
}

#[rustfmt::skip]
static TABLE: [Planted; 27] = [
    Planted { name: "an acknowledged record is not in the log", found: ("acknowledged-is-durable", "acknowledged-but-not-logged"), plant: |s, rng| {
        let Some((op, _, _)) = acknowledged(s, rng) else { return false };
        s.facts.retain(|(_, _, f)| !matches!(f, Fact::Logged(l) if l.op == Some(op)));
        true
    } },
    Planted { name: "the log was cut back and written on", found: ("acknowledged-is-durable", "acknowledged-and-overwritten"), plant: |s, rng| {
        let (Some(a), Some(b)) = (acknowledged(s, rng), acknowledged(s, rng)) else { return false };
        if a.0 == b.0 { return false }
        // The second takes the place of the first, in its receipt and in the log.
        s.facts.retain(|(_, _, f)| !matches!(f, Fact::Logged(l) if l.op == Some(a.0)));
        for (_, _, fact) in &mut s.facts {
            match fact {
                Fact::Completed(c) if c.op == b.0 => c.outcome = Outcome::Acknowledged { topic: TOPIC.to_owned(), partition: a.1, offset: a.2 },
                Fact::Logged(l) if l.op == Some(b.0) => (l.partition, l.offset) = (a.1, a.2),
                _ => {}
            }
        }
        true
    } },
    Planted { name: "the log holds another value", found: ("acknowledged-is-durable", "logged-differs-from-acknowledged"), plant: |s, rng| {
        let Some((op, _, _)) = acknowledged(s, rng) else { return false };
        alter(s, rng, |f| matches!(f, Fact::Logged(l) if l.op == Some(op)), |f| if let Fact::Logged(l) = f { l.value.0 ^= 1 })
    } },
    Planted { name: "a receipt names the wrong offset", found: ("acknowledged-is-durable", "logged-differs-from-acknowledged"), plant: |s, rng| {
        let (Some(a), Some(b)) = (acknowledged(s, rng), acknowledged(s, rng)) else { return false };
        if a.0 == b.0 { return false }
        for (_, _, fact) in &mut s.facts {
            if let Fact::Completed(c) = fact {
                c.op = if c.op == a.0 { b.0 } else if c.op == b.0 { a.0 } else { continue };
                c.outcome = Outcome::Acknowledged { topic: TOPIC.to_owned(), partition: if c.op == a.0 { b.1 } else { a.1 }, offset: if c.op == a.0 { b.2 } else { a.2 } };
            }
        }
        let end = s.facts.iter().map(|f| f.0).max().unwrap_or(0);
        s.facts.iter_mut().filter(|f| matches!(&f.2, Fact::Completed(c) if c.op == a.0 || c.op == b.0)).for_each(|f| { f.0 = end; f.1 = "late-producer".to_owned(); });
        true
    } },
    Planted { name: "unknown is reported as failed", found: ("acknowledged-is-durable", "failed-but-logged"), plant: |s, rng| {
        let logged: Vec<u64> = s.facts.iter().filter_map(|f| match &f.2 { Fact::Logged(l) => l.op, _ => None }).collect();
        alter(s, rng, |f| matches!(f, Fact::Completed(Completed { op, outcome: Outcome::Unknown { .. }, .. }) if logged.contains(op)),
            |f| if let Fact::Completed(c) = f { c.outcome = Outcome::Failed { error: String::new() } })
    } },
    Planted { name: "a record comes from nowhere", found: ("acknowledged-is-durable", "logged-but-never-invoked"), plant: |s, rng| {
        let Some((_, partition, _)) = acknowledged(s, rng) else { return false };
        let Some(high) = s.facts.iter_mut().find_map(|f| match &mut f.2 { Fact::LogBounds(b) if b.topic == TOPIC && b.partition == partition => { b.high += 1; Some(b.high - 1) } _ => None }) else { return false };
        s.log(9_999, partition, high, 1); last_at_end(s)
    } },
    Planted { name: "a record is never stored", found: ("no-loss", "lost"), plant: |s, rng| {
        let (Some((_, partition, offset)), group) = (acknowledged(s, rng), group(s, rng)) else { return false };
        unstore(s, group.raw_zone.as_deref().unwrap(), partition, offset); true
    } },
    Planted { name: "a record is never stored: the gap", found: ("no-gap", "gap"), plant: |s, rng| {
        let (Some((_, partition, offset)), group) = (acknowledged(s, rng), group(s, rng)) else { return false };
        unstore(s, group.raw_zone.as_deref().unwrap(), partition, offset); true
    } },
    Planted { name: "commit before write", found: ("commit-frontier", "commit-before-durable"), plant: |s, rng| {
        alter(s, rng, |f| matches!(f, Fact::Committed(_)), |f| if let Fact::Committed(c) = f { c.at_us = 0 })
    } },
    Planted { name: "offset n+2", found: ("commit-frontier", "commit-beyond-the-log"), plant: |s, rng| {
        let mut end = 0;
        for (_, _, f) in &s.facts { if let Fact::LogBounds(b) = f && b.topic == TOPIC && b.partition == 0 { end = b.high; } }
        alter(s, rng, |f| matches!(f, Fact::Committed(c) if c.partition == 0), |f| if let Fact::Committed(c) = f { c.offset = end + 1 })
    } },
    Planted { name: "offset n instead of n+1", found: ("recovery", "left-over"), plant: |s, _| {
        let mut any = false;
        for (_, _, f) in &mut s.facts { if let Fact::Committed(c) = f { c.offset = c.offset.saturating_sub(1); any = true; } }
        any
    } },
    Planted { name: "a commit after revoke goes back", found: ("commit-frontier", "commit-went-back"), plant: |s, _| {
        let Some((_, process, Fact::Committed(c))) = s.facts.iter().rev().find(|f| matches!(&f.2, Fact::Committed(c) if c.offset > 1)).cloned() else { return false };
        let end = s.facts.iter().map(|f| f.0).max().unwrap();
        s.tell(end, &process, Fact::Committed(Committed { offset: c.offset - 1, at_us: end, ..c })); true
    } },
    Planted { name: "retries reorder a key", found: ("order", "key-order"), plant: |s, rng| swap_key(s, rng) },
    Planted { name: "a part is not in order", found: ("order", "part-out-of-order"), plant: |s, _| {
        by_reader(s);
        let neighbours = (1..s.facts.len()).find(|&n| matches!((&s.facts[n - 1].2, &s.facts[n].2), (Fact::Stored(a), Fact::Stored(b)) if (a.object, a.partition) == (b.object, b.partition)));
        let Some(n) = neighbours else { return false };
        s.facts.swap(n - 1, n); true
    } },
    Planted { name: "another partitioner", found: ("partition-determinism", "wrong-partition"), plant: |s, rng| {
        let partitions = s.header.promises.topics[TOPIC];
        alter(s, rng, |f| matches!(f, Fact::Logged(_)), |f| if let Fact::Logged(l) = f {
            let other = (0..100).map(|n| Blob(format!("k{n}").into_bytes())).find(|k| murmur2::partition(&k.0, partitions) != l.partition);
            if let Some(other) = other { l.key = Some(other) }
        }) && partitions > 1
    } },
    Planted { name: "a batch is stored twice for no reason", found: ("duplicates", "stored-twice-in-one-epoch"), plant: |s, _| {
        s.facts.retain(|f| !matches!(&f.2, Fact::Fault(_)) && !matches!(&f.2, Fact::Process(p) if p.state == ProcessChange::Exited));
        s.header.promises.faults.clear();
        let starts = |f: &(u64, String, Fact)| matches!(&f.2, Fact::Process(p) if p.state == ProcessChange::Started && p.name.starts_with("consumer"));
        if s.facts.iter().filter(|f| starts(f)).count() > s.header.promises.groups.len() { return false }
        store_again(s)
    } },
    Planted { name: "the log holds an idempotent operation twice", found: ("duplicates", "duplicate-in-log"), plant: |s, rng| {
        let Some((op, partition, _)) = acknowledged(s, rng) else { return false };
        s.header.promises.idempotent = true;
        let Some(high) = s.facts.iter_mut().find_map(|f| match &mut f.2 { Fact::LogBounds(b) if b.topic == TOPIC && b.partition == partition => { b.high += 1; Some(b.high - 1) } _ => None }) else { return false };
        s.log(op, partition, high, 1); last_at_end(s)
    } },
    Planted { name: "a value is re-serialized", found: ("fidelity", "stored-differs"), plant: |s, rng| {
        alter(s, rng, |f| matches!(f, Fact::Stored(_)), |f| if let Fact::Stored(l) = f { l.value.0 ^= 1 })
    } },
    Planted { name: "a header is lost", found: ("fidelity", "stored-headers-differ"), plant: |s, rng| {
        alter(s, rng, |f| matches!(f, Fact::Stored(_)), |f| if let Fact::Stored(l) = f { l.headers.0 ^= 1 })
    } },
    Planted { name: "a part is overwritten", found: ("immutability", "part-"), plant: |s, rng| {
        alter(s, rng, |f| matches!(f, Fact::Object(o) if !o.during_run && o.role == ObjectRole::Part), |f| if let Fact::Object(o) = f { o.generation = "2".to_owned(); })
    } },
    Planted { name: "a part is truncated after upload", found: ("immutability", "part-shrunk"), plant: |s, rng| {
        alter(s, rng, |f| matches!(f, Fact::Object(o) if !o.during_run && o.role == ObjectRole::Part), |f| if let Fact::Object(o) = f { o.generation = "2".to_owned(); o.bytes = 3; o.created_us += 10; })
    } },
    Planted { name: "metadata misses a part", found: ("metadata", "metadata-disagrees"), plant: |s, rng| {
        alter(s, rng, |f| matches!(f, Fact::Object(o) if !o.lists.is_empty()), |f| if let Fact::Object(o) = f { o.lists.pop(); })
    } },
    Planted { name: "a dead letter on a transient error", found: ("dead-letters", "dead-letter-of-good-record"), plant: |s, rng| {
        let Some((op, partition, offset)) = acknowledged(s, rng) else { return false };
        tell_dead_letter(s, op, Some((partition, offset)));
        true
    } },
    Planted { name: "a dead letter is re-encoded", found: ("dead-letters", "dead-letter-altered"), plant: |s, rng| {
        alter(s, rng, |f| matches!(f, Fact::DeadLetter(d) if d.source.is_some()), |f| if let Fact::DeadLetter(d) = f { d.value.0 ^= 1; })
    } },
    Planted { name: "poison is dropped", found: ("dead-letters", "poison-without-dead-letter"), plant: |s, rng| {
        let Some(place) = pick(s, rng, |f| matches!(f, Fact::DeadLetter(d) if d.source.is_some())) else { return false };
        let Fact::DeadLetter(gone) = s.facts[place].2.clone() else { return false };
        s.facts.retain(|f| !matches!(&f.2, Fact::DeadLetter(d) if d.source == gone.source)); true
    } },
    Planted { name: "an audit counts a copy that is not there", found: ("self-report", "audit-miscounts"), plant: |s, rng| {
        let of = group(s, rng);
        for promise in &mut s.header.promises.groups {
            promise.reports_itself |= promise.group == of.group;
        }
        let numbers = [("duplicates".to_owned(), i64::MAX)].into();
        let (process, source) = ("audit-1".to_owned(), ReportSource::Audit);
        let topic = TOPIC.to_owned();
        let said = SelfReport { process, source, group: of.group, topic, partition: 0, numbers };
        s.tell(0, "audit-1", Fact::SelfReport(said));
        last_at_end(s)
    } },
    Planted { name: "a date folder is off by one day", found: ("placement", ""), plant: |s, rng| {
        alter(s, rng, |f| matches!(f, Fact::Stored(_)), |f| if let Fact::Stored(l) = f { l.ingested_ms = l.ingested_ms.map(|at| at + 86_400_000); l.header_list = None; })
    } },
];

/// A copy of a history with one of the corruptions, and its name; none where it has no place.
#[must_use]
pub fn planted(sample: &Sample, rng: &mut Rng) -> Option<(&'static str, Sample)> {
    let planted = TABLE.choose(rng).unwrap();
    let mut copy = sample.clone();
    (planted.plant)(&mut copy, rng).then_some((planted.name, copy))
}

fn tell_dead_letter(sample: &mut Sample, op: u64, source: Option<(u32, u64)>) {
    let end = sample.facts.iter().map(|f| f.0).max().unwrap_or(0);
    let group = sample.header.promises.groups[0].group.clone();
    let place = source.map(|(partition, offset)| (group.as_str(), partition, offset, 0));
    let fact = DeadLetter { offset: 1_000_000, ..sample::dead_letter(op, place, 1) };
    sample.tell(end, "log-reader", Fact::DeadLetter(fact));
}

/// Two operations of one key and producer change places in the log, and everywhere behind it.
fn swap_key(sample: &mut Sample, rng: &mut Rng) -> bool {
    let (Some(a), Some(b)) = (acknowledged(sample, rng), acknowledged(sample, rng)) else {
        return false;
    };
    if a.0 == b.0 || a.0 % 14 != b.0 % 14 {
        return false;
    }
    let swap = |op: u64| {
        if op == a.0 {
            b.0
        } else if op == b.0 {
            a.0
        } else {
            op
        }
    };
    for (_, _, fact) in &mut sample.facts {
        match fact {
            Fact::Logged(l) => {
                let Some(op) = l.op.map(swap) else { continue };
                (l.op, l.value, l.headers) = (Some(op), sample::value(op), sample::headers(op));
                l.ingestion_id = Some(format!("id-{op}"));
            }
            Fact::Stored(l) => {
                let Some(op) = l.op.map(swap) else { continue };
                (l.op, l.value, l.headers) = (Some(op), sample::value(op), sample::headers(op));
                l.ingestion_id = Some(format!("id-{op}"));
            }
            Fact::Completed(c) if c.op == a.0 || c.op == b.0 => {
                let (_, partition, offset) = if c.op == a.0 { b } else { a };
                c.outcome = Outcome::Acknowledged { topic: TOPIC.to_owned(), partition, offset };
            }
            _ => {}
        }
    }
    true
}

/// The first part of a raw zone once more, under another name and later.
fn store_again(sample: &mut Sample) -> bool {
    by_reader(sample);
    let first = sample.facts.iter().position(
        |f| matches!(&f.2, Fact::Object(o) if !o.during_run && o.role == ObjectRole::Part),
    );
    let Some(first) = first else { return false };
    let mut copy: Vec<_> = sample.facts[first..]
        .iter()
        .skip(1)
        .take_while(|f| matches!(f.2, Fact::Stored(_)))
        .cloned()
        .collect();
    copy.insert(0, sample.facts[first].clone());
    for (_, _, fact) in &mut copy {
        match fact {
            Fact::Object(o) => {
                (o.object, o.name, o.created_us) =
                    (70_000, sample::part_in(&o.raw_zone, 9_000), o.created_us + 50_000)
            }
            Fact::Stored(s) => s.object = 70_000,
            _ => {}
        }
    }
    sample.facts.extend(copy);
    true
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use streamlake_history::sample::legal;

    use super::*;
    use crate::Judged as _;
    use crate::verdict::Status;

    #[test]
    fn every_planted_corruption_is_found_by_its_checker() {
        for planted in TABLE.iter().chain(&content::TABLE) {
            let mut planted_times = 0;
            for seed in 0..40u64 {
                let mut sample = legal::history(seed, 100);
                let mut rng = Rng::seed_from_u64(seed);
                if !(planted.plant)(&mut sample, &mut rng) {
                    continue;
                }
                planted_times += 1;
                let verdict = sample.judge().unwrap();
                let check = verdict.checks.iter().find(|c| c.check == planted.found.0).unwrap();
                let found = check.findings.iter().any(|f| f.anomaly.contains(planted.found.1));
                assert!(found, "{} (seed {seed}) was not found: {check:#?}", planted.name);
                assert_eq!(verdict.status, Status::Fail);
            }
            assert!(planted_times > 0, "{} was never planted", planted.name);
        }
    }
}
