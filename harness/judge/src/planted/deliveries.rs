//! Corruptions of deliveries: what is delivered too often, committed too early, or set back.

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

use super::{Planted, Rng, acknowledged, copies_in_log, last_at_end};
use streamlake_history::event::*;
use streamlake_history::sample::{Sample, TOPIC};

/// A part at the final read, with its records: where it stands among the facts, and how many follow.
fn parts(sample: &Sample, zone: Option<&str>) -> Vec<(usize, usize)> {
    let facts = &sample.facts;
    let part = |n: &usize| match &facts[*n].2 {
        Fact::Object(o) => {
            !o.during_run
                && o.role == ObjectRole::Part
                && zone.is_none_or(|zone| o.raw_zone == zone)
        }
        _ => false,
    };
    let records = |n: usize| {
        let own = |f: &&(u64, String, Fact)| f.1 == facts[n].1;
        let rest = facts[n + 1..].iter().filter(own);
        rest.take_while(|f| matches!(f.2, Fact::Stored(_))).count()
    };
    (0..facts.len()).filter(part).map(|n| (n, records(n))).collect()
}

/// Stores a part once more under another name, so long after.
fn store_again(sample: &mut Sample, (at, records): (usize, usize), number: u32, after_us: u64) {
    let process = sample.facts[at].1.clone();
    let own = sample.facts[at + 1..].iter().filter(|f| f.1 == process).take(records);
    let mut copy: Vec<_> = own.cloned().collect();
    copy.insert(0, sample.facts[at].clone());
    for (_, _, fact) in &mut copy {
        match fact {
            Fact::Object(o) => {
                o.object = 80_000 + number;
                o.name = format!("raw/ingestion_date=2026-11-06/part-{}.json", 80_000 + number);
                o.created_us += after_us;
            }
            Fact::Stored(s) => s.object = 80_000 + number,
            _ => {}
        }
    }
    sample.facts.extend(copy);
}

/// When a part was created.
fn created(sample: &Sample, at: usize) -> u64 {
    match &sample.facts[at].2 {
        Fact::Object(o) => o.created_us,
        _ => 0,
    }
}

/// The first instant behind a part at which its group's consumer was started anew.
fn next_start(sample: &Sample, at: usize) -> Option<u64> {
    let Fact::Object(object) = &sample.facts[at].2 else { return None };
    let consumer = object.raw_zone.replace("gs://lake/", "consumer-");
    let started = sample.facts.iter().filter_map(|(t_us, _, fact)| match fact {
        Fact::Process(p) if p.name == consumer && p.state == ProcessChange::Started => Some(*t_us),
        _ => None,
    });
    started.filter(|t_us| *t_us > object.created_us).min()
}

/// A part of a group whose consumer was started once: a restart close by may account for a second copy.
fn some_part(sample: &Sample, rng: &mut Rng) -> Option<(usize, usize)> {
    let parts: Vec<_> = parts(sample, None)
        .into_iter()
        .filter(|part| part.1 > 0 && started_once(sample, part.0))
        .collect();
    parts.choose(rng).copied()
}

fn started_once(sample: &Sample, at: usize) -> bool {
    let Fact::Object(object) = &sample.facts[at].2 else { return false };
    let consumer = object.raw_zone.replace("gs://lake/", "consumer-");
    let starts = sample.facts.iter().filter(|(_, _, fact)| {
        matches!(fact, Fact::Process(p) if p.name == consumer && p.state == ProcessChange::Started)
    });
    starts.count() == 1
}

#[rustfmt::skip]
const TABLE: [Planted; 11] = [
    Planted { name: "every part is uploaded twice", found: ("duplicates", "stored-twice-in-one-epoch"), plant: |s, _| {
        let parts = parts(s, None);
        for (number, part) in (0..).zip(&parts) { store_again(s, *part, number, 700); }
        parts.iter().any(|part| part.1 > 0)
    } },
    Planted { name: "one part is uploaded twice", found: ("duplicates", "stored-twice-in-one-epoch"), plant: |s, rng| {
        let Some(part) = some_part(s, rng) else { return false };
        store_again(s, part, 0, rng.random_range(0..900)); true
    } },
    Planted { name: "the third part is uploaded twice", found: ("duplicates", "stored-twice-in-one-epoch"), plant: |s, _| {
        let Some(&part) = parts(s, Some("gs://lake/0")).get(2) else { return false };
        if !started_once(s, part.0) { return false }
        store_again(s, part, 0, 1); part.1 > 0
    } },
    Planted { name: "the second group uploads its parts twice", found: ("duplicates", "stored-twice-in-one-epoch"), plant: |s, _| {
        let parts = parts(s, Some("gs://lake/1"));
        for (number, part) in (0..).zip(&parts) { store_again(s, *part, number, 300); }
        parts.iter().any(|part| part.1 > 0)
    } },
    Planted { name: "a part is uploaded again after a store error", found: ("duplicates", "stored-twice-in-one-epoch"), plant: |s, rng| {
        let Some(part) = some_part(s, rng) else { return false };
        let t_us = created(s, part.0);
        s.header.promises.faults.push(PlannedFault { fault: 9, kind: "store-failure".to_owned(), target: "store".to_owned(), ..PlannedFault::default() });
        for (after, step) in [(0, FaultStage::Injecting), (100, FaultStage::Seen), (600, FaultStage::Healed)] {
            s.tell(t_us + after, "nemesis-of-the-store", Fact::Fault(FaultStep { fault: 9, step, evidence: Default::default(), target: None, patient: None }));
        }
        for answered in [false, true] {
            s.tell(t_us + 500, "probes-of-the-store", Fact::Probe(Probe { target: "store".to_owned(), answered, detail: String::new() }));
        }
        store_again(s, part, 0, 800); true
    } },
    Planted { name: "what was committed is stored again after a restart", found: ("duplicates", "redelivered-after-commit"), plant: |s, _| {
        // A later position is above it, and its first copy lies before the process was started.
        let all = parts(s, None);
        let place = all.iter().find_map(|&(at, records)| {
            let begin = next_start(s, at)?;
            let Fact::Object(object) = &s.facts[at].2 else { return None };
            let number = object.raw_zone.trim_start_matches("gs://lake/");
            let process = s.facts[at].1.clone();
            let own: Vec<_> = s.facts[at + 1..].iter().filter(|f| f.1 == process).take(records).collect();
            let below = |f: &&(u64, String, Fact)| matches!(&f.2, Fact::Stored(stored) if s.facts.iter().any(|(_, _, f)| matches!(f,
                Fact::Committed(c) if c.group.ends_with(number) && c.partition == stored.partition && c.offset > stored.offset && c.at_us + 5_000 < begin)));
            let once = records > 0 && own.iter().all(below);
            once.then_some(((at, records), begin + 2_000 - created(s, at)))
        });
        let Some((part, after_us)) = place else { return false };
        store_again(s, part, 0, after_us); true
    } },
    Planted { name: "a dead letter is written twice", found: ("duplicates", "dead-lettered-twice-in-one-epoch"), plant: |s, rng| {
        let Some(place) = super::pick(s, rng, |f| matches!(f, Fact::DeadLetter(d) if d.source.is_some())) else { return false };
        let Fact::DeadLetter(letter) = s.facts[place].2.clone() else { return false };
        for n in 0..2 {
            let copy = DeadLetter { offset: 2_000_000 + n, created_us: letter.created_us + 10, ..letter.clone() };
            s.tell(0, "log-reader", Fact::DeadLetter(copy)); last_at_end(s);
        }
        true
    } },
    Planted { name: "a record is sent twice without a reason", found: ("duplicates", "logged-twice-without-retry"), plant: |s, rng| {
        s.header.promises.evidence.retain(|e| *e != Evidence::Idempotence);
        let Some((op, partition, _)) = acknowledged(s, rng).filter(|(op, _, _)| copies_in_log(s, *op) == 1) else { return false };
        let Some(high) = s.facts.iter_mut().find_map(|f| match &mut f.2 { Fact::LogBounds(b) if b.topic == TOPIC && b.partition == partition => { b.high += 1; Some(b.high - 1) } _ => None }) else { return false };
        s.log(op, partition, high, 1); last_at_end(s)
    } },
    Planted { name: "a zombie's commit", found: ("commit-frontier", "commit-went-back"), plant: |s, _| {
        let last = s.facts.iter().rev().find(|f| matches!(&f.2, Fact::Committed(c) if c.offset > 1)).cloned();
        let Some((_, process, Fact::Committed(c))) = last else { return false };
        // It is made good 3 ms later.
        let end = s.facts.iter().map(|f| f.0).max().unwrap();
        s.tell(end, &process, Fact::Committed(Committed { offset: c.offset - 1, at_us: end - 3, ..c.clone() }));
        s.tell(end, &process, Fact::Committed(Committed { at_us: end, ..c })); true
    } },
    Planted { name: "a replay sets the group back twice", found: ("commit-frontier", "commit-went-back"), plant: |s, _| {
        let last = s.facts.iter().rev().find(|f| matches!(&f.2, Fact::Committed(c) if c.offset > 1)).cloned();
        let Some((_, process, Fact::Committed(c))) = last else { return false };
        let end = s.facts.iter().map(|f| f.0).max().unwrap();
        s.process(end, "replay-1", "started");
        for _ in 0..2 {
            for offset in [0, c.offset] {
                s.tell(end, &process, Fact::Committed(Committed { offset, at_us: end, ..c.clone() }));
            }
        }
        true
    } },
    Planted { name: "a commit is 3 ms early by clocks that are known to 1 ms", found: ("commit-frontier", "commit-before-durable"), plant: |s, rng| {
        s.facts.retain(|f| !matches!(f.2, Fact::Clock(_)));
        s.clock("broker", -1_000, 1_000).clock("store", -1_000, 1_000).clock("processes", -1_000, 1_000);
        s.facts.sort_by_key(|f| f.0);
        let Some(part) = some_part(s, rng) else { return false };
        let Fact::Object(object) = s.facts[part.0].2.clone() else { return false };
        let group = object.raw_zone.replace("gs://lake/", "");
        let process = s.facts[part.0].1.clone();
        let mut stored = s.facts[part.0 + 1..].iter().filter(|f| f.1 == process).take(part.1);
        let Some((_, _, Fact::Stored(record))) = stored.next().cloned() else { return false };
        // The first commit that covers a record of the part, if the part is its first copy.
        let first = s.facts.iter().position(|f| matches!(&f.2, Fact::Committed(c)
            if c.group.ends_with(&group) && c.partition == record.partition && c.offset > record.offset));
        let Some(first) = first else { return false };
        let again = parts(s, Some(&object.raw_zone)).into_iter().filter(|&(at, records)| {
            s.facts[at + 1..].iter().filter(|f| f.1 == process).take(records).any(|f| matches!(&f.2,
                Fact::Stored(x) if (x.partition, x.offset) == (record.partition, record.offset)))
        });
        if again.count() != 1 { return false }
        if let Fact::Committed(c) = &mut s.facts[first].2 { c.at_us = object.created_us - 3_001; }
        true
    } },
];

#[cfg(test)]
mod tests {
    use streamlake_history::sample::legal;

    use super::*;
    use crate::Judged as _;
    use crate::verdict::Status;

    #[test]
    fn every_corruption_of_deliveries_is_found_by_its_checker() {
        for planted in &TABLE {
            let mut times = 0;
            for seed in 0..120u64 {
                let mut sample = legal::history(seed, 100);
                let mut rng = <Rng as rand::SeedableRng>::seed_from_u64(seed);
                if !(planted.plant)(&mut sample, &mut rng) {
                    continue;
                }
                times += 1;
                let verdict = sample.judge().unwrap();
                let check = verdict.checks.iter().find(|c| c.check == planted.found.0).unwrap();
                // After several starts one that came before may have had the position, and had read it once.
                let names = [planted.found.1, "stored-twice-in-one-epoch"];
                let found = check.findings.iter().any(|f| names.contains(&f.anomaly.as_str()));
                assert!(found, "{} (seed {seed}) was not found: {check:#?}", planted.name);
                assert_eq!(verdict.status, Status::Fail);
            }
            assert!(times > 2, "{} was planted {times} times", planted.name);
        }
    }

    /// What is legal, however it looks: none of it may be convicted.
    #[test]
    fn legal_neighbours_of_these_corruptions_are_not_convicted() {
        for seed in 0..60u64 {
            let legal = legal::history(seed, 100);
            // The broker's clock is 200 ms behind, or ahead, and nobody measured it.
            for ahead in [false, true] {
                let mut sample = legal.clone();
                sample.facts.retain(|f| !matches!(f.2, Fact::Clock(_)));
                for (_, _, fact) in &mut sample.facts {
                    if let Fact::Committed(c) = fact {
                        c.at_us = match ahead {
                            true => c.at_us + 200_000,
                            false => c.at_us.saturating_sub(200_000),
                        };
                    }
                }
                unconvicted(&sample, seed, if ahead { "ahead" } else { "behind" });
            }
            // Positions are not on record, only the starts of processes.
            let mut sample = legal;
            sample.header.promises.evidence.retain(|e| *e != Evidence::Positions);
            sample.facts.retain(|f| !matches!(f.2, Fact::Position(_)));
            unconvicted(&sample, seed, "without positions");
        }
    }

    fn unconvicted(sample: &Sample, seed: u64, what: &str) {
        for check in sample.judge().unwrap().checks {
            let fine = check.findings.is_empty();
            assert!(fine, "{what}, seed {seed}: {check:#?}");
        }
    }
}
