//! The checkers on trial: many legal histories, each corruption planted in them, every interleaving,
//! hostile input.
//!
//! `STREAMLAKE_TRIALS` sets the number of legal histories (default 300; CI: 10 000).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::judge;
use crate::Judged as _;
use crate::verdict::{Status, Verdict};
use streamlake_history::event::*;
use streamlake_history::sample::legal;

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
    let mut unclear = 0;
    for seed in 0..trials() {
        let mut sample = legal::history(seed, 120);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        if seed % 2 == 0 {
            super::planted::spoil(&mut sample, &mut rng);
        }
        let mut packed = crate::index::Index::packed(&sample.header);
        sample.events().iter().for_each(|event| packed.observe(event));
        let (packed, full) = (super::verdict(&packed.settle()), sample.judge().unwrap());
        for (a, b) in packed.checks.iter().zip(&full.checks) {
            // A packed index may say that it cannot tell, and it looks at one id in 256.
            let sampled = a.check == "identity" && a.status == Status::Pass;
            // Nor does it know when each operation was invoked, to hold timestamps against it.
            let untimed = a.status == Status::Pass
                && !b.findings.is_empty()
                && b.findings.iter().all(|finding| finding.anomaly == "timestamp-implausible");
            let sampled = sampled || untimed;
            let same = a.status == b.status || a.status == Status::Inconclusive || sampled;
            assert!(a.check == b.check && same, "seed {seed}: {a:#?} {b:#?}");
            unclear += u64::from(a.status != b.status && !sampled);
        }
    }
    assert!(unclear * 20 <= trials(), "{unclear} checks came to no verdict");
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
        if let Ok((header, events)) = streamlake_history::HistoryReader::open(&bytes[..]) {
            let _ = judge(&header, events);
        }
    }
}

/// Offsets near the end of the number line, a hole of a billion, a key that wants to be markup.
#[test]
fn sparse_offsets_and_hostile_keys_do_no_harm() {
    let begin = std::time::Instant::now();
    let mut sample = legal::history(1, 60);
    sample.header.promises.partitioner = None;
    let far = |offset: u64| (1u64 << 62) + offset * 1_007;
    for (_, _, fact) in &mut sample.facts {
        let evil = Some(Blob(b"|<script>\n\x1b[31m".to_vec()));
        match fact {
            Fact::Invoked(i) => i.key = evil,
            Fact::Completed(Completed {
                outcome: Outcome::Acknowledged { offset, .. }, ..
            }) => {
                *offset = far(*offset);
            }
            Fact::Logged(l) => (l.offset, l.key) = (far(l.offset), evil),
            Fact::LogBounds(b) if b.high > 0 && b.topic == streamlake_history::sample::TOPIC => {
                b.high = far(b.high);
                b.holes.clear();
            }
            Fact::Stored(s) => (s.offset, s.key) = (far(s.offset), evil),
            Fact::Committed(c) => c.offset = far(c.offset - 1) + 1,
            Fact::Position(p) => {
                let next = |offset: u64| offset.checked_sub(1).map_or(0, |last| far(last) + 1);
                p.offset = p.offset.map(next);
            }
            Fact::DeadLetter(d) => {
                d.key = evil;
                d.source = d.source.take().map(|(t, p, o)| (t, p, far(o)));
            }
            Fact::Object(o) => {
                for entry in &mut o.lists {
                    (entry.first, entry.last) = (far(entry.first), far(entry.last));
                }
            }
            _ => {}
        }
    }
    let verdict = sample.judge().unwrap();
    // The reader of the log did not say what lies between the records: that is all there is to it.
    for check in &verdict.checks {
        let unsaid = |reason: &String| reason.contains("did not say why");
        let expected = check.status == Status::Inconclusive && check.reasons.iter().all(unsaid);
        let fine = matches!(check.status, Status::Pass | Status::NotApplicable);
        assert!(fine || expected, "{check:#?}");
    }
    sample.commit(9_000_000_000, 0, i64::MAX as u64);
    assert!(!serde_json::to_string(&sample.judge().unwrap()).unwrap().contains('\u{1b}'));
    assert!(begin.elapsed() < std::time::Duration::from_secs(5));
}
