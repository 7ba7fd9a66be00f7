//! The checkers on trial: many legal histories, each corruption planted in them, every interleaving,
//! hostile input.
//!
//! `STREAMLAKE_TRIALS` sets the number of legal histories (default 300; CI runs 10 000).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::judge;
use crate::history::event::*;
use crate::history::sample::legal;
use crate::verdict::{Status, Verdict};

fn trials() -> u64 {
    std::env::var("STREAMLAKE_TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

/// The same events with their processes interleaved in another way.
fn interleaved(events: &[Event], seed: u64) -> Vec<Event> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut queues: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events.iter().rev() {
        queues.entry(&event.process).or_default().push(event);
    }
    let mut queues: Vec<Vec<&Event>> = queues.into_values().collect();
    let mut out = Vec::new();
    while !queues.is_empty() {
        let n = rng.random_range(0..queues.len());
        // Runs of one process, as real histories have them, and single lines.
        let burst = if rng.random_bool(0.5) { 1 } else { 50 };
        for _ in 0..burst {
            match queues[n].pop() {
                Some(event) => out.push(event.clone()),
                None => {
                    queues.swap_remove(n);
                    break;
                }
            }
        }
    }
    out
}

fn verdict_of(header: &Header, events: &[Event]) -> Verdict {
    judge(header, events.iter().cloned().map(Ok)).unwrap()
}

#[test]
fn legal_histories_raise_no_alarm() {
    for seed in 0..trials() {
        let sample = legal::history(seed, 120);
        let verdict = sample.judge().unwrap();
        for check in &verdict.checks {
            let fine = matches!(check.status, Status::Pass | Status::NotApplicable);
            assert!(fine, "seed {seed}: {check:#?}");
        }
        assert_eq!(verdict.status, Status::Pass, "seed {seed}");
    }
}

#[test]
fn packed_indices_come_to_the_same_statuses() {
    for seed in 0..trials() {
        let mut sample = legal::history(seed, 120);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        if seed % 2 == 0 {
            super::planted::spoil(&mut sample, &mut rng);
        }
        let mut packed = crate::history::index::Index::packed(&sample.header);
        sample.events().iter().for_each(|event| packed.observe(event));
        let (packed, full) = (super::verdict(&packed.settle()), sample.judge().unwrap());
        for (a, b) in packed.checks.iter().zip(&full.checks) {
            assert_eq!((&a.check, a.status), (&b.check, b.status), "seed {seed}: {a:#?} {b:#?}");
        }
    }
}

#[test]
fn a_verdict_does_not_hang_on_how_processes_interleave() {
    for seed in 0..trials() / 10 {
        let mut sample = legal::history(seed, 80);
        if seed % 2 == 0 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            super::planted::spoil(&mut sample, &mut rng);
        }
        let events = sample.events();
        let expected = serde_json::to_string(&verdict_of(&sample.header, &events)).unwrap();
        for other in 0..5 {
            let events = interleaved(&events, seed * 100 + other);
            let found = serde_json::to_string(&verdict_of(&sample.header, &events)).unwrap();
            assert_eq!(found, expected, "seed {seed}, interleaving {other}");
        }
    }
}

proptest! {
    /// Whatever stands in the facts, the judge says something, and says it twice the same.
    #[test]
    fn nothing_makes_the_judge_panic(seed in any::<u64>(), changes in 1usize..8) {
        let mut sample = legal::history(seed, 40);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..changes {
            super::planted::vandalize(&mut sample, &mut rng);
        }
        let first = sample.judge().unwrap();
        prop_assert_eq!(&first, &sample.judge().unwrap());
    }

    /// A file of rubbish is refused, or read up to the rubbish.
    #[test]
    fn no_file_makes_the_reader_panic(
        seed in 0u64..50,
        cuts in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..10),
    ) {
        let mut bytes = legal::history(seed, 10).bytes().unwrap();
        for (at, byte) in cuts {
            let len = bytes.len();
            bytes[usize::from(at) % len] = byte;
        }
        if let Ok((header, events)) = crate::history::HistoryReader::open(&bytes[..]) {
            let _ = judge(&header, events);
        }
    }
}
