//! A second opinion: the same guarantees by brute force.
//!
//! Written from the sentences in the table of checkers and not from their code: every record is a
//! line in a plain list, every question a loop over all of them. It is far too slow for real
//! histories and short enough to be read at one glance, which is what makes its agreement worth
//! something. It shares nothing with the index.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::Judged as _;
use crate::verdict::Verdict;
use streamlake_history::event::*;
use streamlake_history::sample::{Sample, legal};

/// Anomaly, group or nothing, partition, offset.
type Fault = (&'static str, String, u32, u64);

/// A copy in a raw zone: group, partition, offset, created, value, key, headers, timestamp.
struct Copy {
    group: String,
    place: (u32, u64),
    created_us: u64,
    stored: Stored,
}

struct Plain<'a> {
    sample: &'a Sample,
    invoked: BTreeMap<u64, &'a Invoked>,
    owner: BTreeMap<u64, &'a str>,
    receipts: Vec<(u64, (u32, u64), Option<String>)>,
    failed: BTreeSet<u64>,
    log: Vec<&'a Logged>,
    bounds: BTreeMap<u32, &'a LogBounds>,
    copies: Vec<Copy>,
    commits: Vec<&'a Committed>,
    dead: Vec<&'a DeadLetter>,
}

impl<'a> Plain<'a> {
    fn of(sample: &'a Sample) -> Self {
        let mut plain = Plain {
            sample,
            invoked: BTreeMap::new(),
            owner: BTreeMap::new(),
            receipts: Vec::new(),
            failed: BTreeSet::new(),
            log: Vec::new(),
            bounds: BTreeMap::new(),
            copies: Vec::new(),
            commits: Vec::new(),
            dead: Vec::new(),
        };
        let mut objects: BTreeMap<(&str, u32), &Object> = BTreeMap::new();
        for (_, process, fact) in &sample.facts {
            match fact {
                Fact::Invoked(i) => {
                    plain.invoked.insert(i.op, i);
                    plain.owner.insert(i.op, process);
                }
                Fact::Completed(c) => match &c.outcome {
                    Outcome::Acknowledged { partition, offset, .. } => {
                        plain.receipts.push((c.op, (*partition, *offset), c.ingestion_id.clone()));
                    }
                    Outcome::Failed { .. } => drop(plain.failed.insert(c.op)),
                    _ => {}
                },
                Fact::Logged(l) => plain.log.push(l),
                Fact::LogBounds(b) if b.topic == streamlake_history::sample::TOPIC => {
                    plain.bounds.insert(b.partition, b);
                }
                Fact::Object(o) => drop(objects.insert((process, o.object), o)),
                Fact::Stored(s) => {
                    let object = objects[&(process.as_str(), s.object)];
                    let groups = &sample.header.promises.groups;
                    let group = groups
                        .iter()
                        .find(|g| g.raw_zone.as_ref() == Some(&object.raw_zone))
                        .unwrap();
                    plain.copies.push(Copy {
                        group: group.group.clone(),
                        place: (s.partition, s.offset),
                        created_us: object.created_us,
                        stored: s.clone(),
                    });
                }
                Fact::Committed(c) => plain.commits.push(c),
                Fact::DeadLetter(d) => plain.dead.push(d),
                _ => {}
            }
        }
        plain
    }

    fn groups(&self) -> Vec<&'a GroupPromise> {
        self.sample.header.promises.groups.iter().collect()
    }

    fn logged(&self, place: (u32, u64)) -> Option<&&'a Logged> {
        self.log.iter().find(|l| (l.partition, l.offset) == place)
    }

    /// When a place became durable for a group.
    fn durable(&self, group: &str, place: (u32, u64)) -> Option<u64> {
        let copies = self.copies.iter().filter(|c| c.group == group && c.place == place);
        let dead = self.dead.iter().filter(|d| {
            d.group.as_ref().is_none_or(|writer| writer == group)
                && d.source
                    .as_ref()
                    .is_some_and(|(_, partition, offset)| (*partition, *offset) == place)
        });
        copies.map(|c| c.created_us).chain(dead.map(|d| d.created_us)).min()
    }

    /// The first instant at which a group had committed past a place.
    fn claimed(&self, group: &str, (partition, offset): (u32, u64)) -> Option<u64> {
        let commits = self.commits.iter().filter(|c| c.group == group && c.partition == partition);
        commits.filter(|c| c.offset > offset).map(|c| c.at_us).min()
    }

    fn faults(&self) -> BTreeSet<Fault> {
        let mut faults = BTreeSet::new();
        self.receipts(&mut faults);
        self.groups_faults(&mut faults);
        self.copies_faults(&mut faults);
        self.key_order(&mut faults);
        faults
    }

    fn receipts(&self, faults: &mut BTreeSet<Fault>) {
        for (op, place, id) in &self.receipts {
            if self.receipts.iter().any(|other| other.0 != *op && other.1 == *place) {
                faults.insert(("two-receipts-one-offset", String::new(), place.0, place.1));
            }
            let Some(log) = self.logged(*place) else {
                faults.insert(("acknowledged-but-not-logged", String::new(), place.0, place.1));
                continue;
            };
            let invoked = self.invoked[op];
            let same = log.op.is_none_or(|logged| logged == *op)
                && (log.ingestion_id.is_none() || id.is_none() || &log.ingestion_id == id)
                && log.value == invoked.value
                && log.key == invoked.key;
            let elsewhere = || self.log.iter().any(|l| l.op == Some(*op));
            if log.op.is_some_and(|logged| logged != *op) && !elsewhere() {
                let name = "acknowledged-and-overwritten";
                faults.insert((name, String::new(), place.0, place.1));
            } else if !same {
                faults.insert((
                    "logged-differs-from-acknowledged",
                    String::new(),
                    place.0,
                    place.1,
                ));
            }
        }
    }

    fn groups_faults(&self, faults: &mut BTreeSet<Fault>) {
        for group in self.groups() {
            let name = group.group.clone();
            for log in &self.log {
                let place = (log.partition, log.offset);
                let durable = self.durable(&name, place);
                let Some(claimed) = self.claimed(&name, place) else { continue };
                if durable.is_none() {
                    faults.insert(("gap", name.clone(), place.0, place.1));
                }
                if durable.is_none_or(|at| at > claimed + 1_000) {
                    faults.insert(("commit-before-durable", name.clone(), place.0, place.1));
                }
            }
            for (partition, bounds) in &self.bounds {
                let own =
                    self.commits.iter().filter(|c| c.group == name && c.partition == *partition);
                let mut own: Vec<_> = own.collect();
                own.sort_by_key(|c| (c.at_us, c.offset));
                let end = own.last().map_or(0, |c| c.offset);
                for log in self.log.iter().filter(|l| l.partition == *partition && l.offset >= end)
                {
                    faults.insert(("left-over", name.clone(), *partition, log.offset));
                }
                // All offsets behind the log up to the first commit that is beyond it.
                if let Some(beyond) = own.iter().find(|c| c.offset > bounds.high) {
                    faults.insert(("commit-beyond-the-log", name.clone(), *partition, bounds.high));
                    assert!(beyond.offset > bounds.high);
                }
            }
        }
    }

    fn copies_faults(&self, faults: &mut BTreeSet<Fault>) {
        for copy in &self.copies {
            let (partition, offset) = copy.place;
            let fault = match self.logged(copy.place) {
                None => "stored-but-never-logged",
                Some(log) if log.value != copy.stored.value || log.key != copy.stored.key => {
                    "stored-differs"
                }
                Some(log)
                    if log.headers != copy.stored.headers
                        || log.timestamp_ms != copy.stored.timestamp_ms =>
                {
                    "stored-headers-differ"
                }
                Some(_) => continue,
            };
            faults.insert((fault, copy.group.clone(), partition, offset));
        }
        // One word for an offset: another value outweighs other headers.
        let worse: Vec<Fault> =
            faults.iter().filter(|f| f.0 == "stored-differs").cloned().collect();
        for (_, group, partition, offset) in worse {
            faults.remove(&("stored-headers-differ", group, partition, offset));
        }
    }

    fn key_order(&self, faults: &mut BTreeSet<Fault>) {
        let mut log = self.log.clone();
        log.sort_by_key(|l| (l.partition, l.offset));
        for (n, late) in log.iter().enumerate() {
            let Some(op) = late.op else { continue };
            let Some(owner) = self.owner.get(&op) else { continue };
            let before = || log[..n].iter().filter(|l| l.partition == late.partition);
            if before().any(|l| l.op == Some(op)) {
                continue;
            }
            let inverted = |l: &Logged| {
                l.key == late.key
                    && l.op.is_some_and(|o| o > op && self.owner.get(&o) == Some(owner))
            };
            // A repeated copy says nothing about the order.
            let first = |l: &Logged| {
                let copies = log.iter().filter(|x| x.partition == l.partition && x.op == l.op);
                copies.map(|x| x.offset).min() == Some(l.offset)
            };
            if late.key.is_some() && before().any(|l| first(l) && inverted(l)) {
                faults.insert(("key-order", String::new(), late.partition, late.offset));
            }
        }
    }
}

/// What the checkers found, in the words of the reference.
fn found(verdict: &Verdict) -> BTreeSet<Fault> {
    const NAMES: [&str; 13] = [
        "acknowledged-and-overwritten",
        "acknowledged-but-not-logged",
        "logged-differs-from-acknowledged",
        "two-receipts-one-offset",
        "gap",
        "commit-before-durable",
        "left-over",
        "commit-beyond-the-log",
        "stored-but-never-logged",
        "stored-differs",
        "stored-headers-differ",
        "key-order",
        "",
    ];
    let mut faults = BTreeSet::new();
    for finding in verdict.checks.iter().flat_map(|check| &check.findings) {
        let Some(name) = NAMES.iter().find(|name| **name == finding.anomaly) else { continue };
        let group = finding.group.clone().unwrap_or_default();
        for range in &finding.offsets {
            // Of a commit far beyond the log only the first offset is compared.
            let last = if *name == "commit-beyond-the-log" { range.first } else { range.last };
            for offset in range.first..=last {
                faults.insert((*name, group.clone(), finding.partition.unwrap(), offset));
            }
        }
    }
    faults
}

fn contradicts_itself(verdict: &Verdict) -> bool {
    verdict.checks.iter().any(|c| c.reasons.iter().any(|r| r.contains("contradicts itself")))
}

/// Two readings of one offset of the log differ: a finding of its own, after which nobody can say which
/// of the two a receipt or a copy is to be compared with.
fn log_read_two_ways(sample: &Sample) -> bool {
    let mut words = BTreeMap::new();
    let mut logged = sample.facts.iter().filter_map(|(_, _, fact)| match fact {
        Fact::Logged(logged) => Some(logged),
        _ => None,
    });
    logged.any(|logged| {
        let place = (&logged.topic, logged.partition, logged.offset);
        *words.entry(place).or_insert(logged) != logged
    })
}

#[test]
fn checkers_and_reference_agree_on_small_histories() {
    let trials: u64 =
        std::env::var("STREAMLAKE_TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let (mut judged, mut faulty) = (0, 0);
    for seed in 0..trials {
        let mut sample = legal::history(seed, 24);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..seed % 4 {
            super::planted::spoil(&mut sample, &mut rng);
            super::planted::nudge(&mut sample, &mut rng);
        }
        let verdict = sample.judge().unwrap();
        if contradicts_itself(&verdict) || log_read_two_ways(&sample) {
            continue;
        }
        let expected = Plain::of(&sample).faults();
        assert_eq!(found(&verdict), expected, "seed {seed}");
        judged += 1;
        faulty += u64::from(!expected.is_empty());
    }
    assert!(judged * 2 > trials && faulty * 4 > trials, "{judged} judged, {faulty} with a fault");
}
