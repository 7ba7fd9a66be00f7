//! A replay, and what may go wrong with it.

use super::*;
use crate::history::sample::key;

/// The honest run, and after it a replay of both partitions from an offset: reset at 730 ms, everything
/// from there on stored again at 750 ms, committed at 760 ms.
fn replayed(asked: u64, reset: u64, stored_from: u64) -> Sample {
    let mut sample = Sample::honest();
    sample.header.promises.replay_from = Some(asked);
    let logged = sample.facts.iter().filter_map(|(_, _, fact)| match fact {
        Fact::Logged(l) if l.offset >= stored_from => Some((l.op.unwrap(), l.partition, l.offset)),
        _ => None,
    });
    let logged: Vec<_> = logged.collect();
    let wrote = |op: u64| op * 10_000 + 3_000;
    let records: Vec<_> = logged.iter().map(|&(op, p, o)| (op, p, o, wrote(op))).collect();
    sample.process(725_000, "replay-1", "started").process(735_000, "replay-1", "exited");
    for partition in 0..2 {
        sample.commit(730_000, partition, reset);
    }
    sample.part(6, 750_000, &records);
    for partition in 0..2 {
        let keys =
            (0..60).filter(|&op| crate::checker::murmur2::partition(&key(op).0, 2) == partition);
        sample.commit(760_000, partition, keys.count() as u64);
    }
    change(&mut sample, |f| {
        if let Fact::StoreRead { parts, .. } = f {
            *parts = 7;
        }
    });
    sample.facts.sort_by_key(|f| f.0);
    sample
}

#[test]
fn a_replay_from_the_offset_that_was_asked_for_passes() {
    let sample = replayed(10, 10, 10);
    comes(&sample, "replay", Status::Pass);
    comes(&sample, "duplicates", Status::Pass);
    comes(&sample, "commit-frontier", Status::Pass);
    assert!(check(&sample.judge().unwrap(), "replay").figures["replayed_records"] > 0);
}

#[test]
fn a_replay_from_another_offset_is_found() {
    found(&replayed(10, 11, 11), "replay", "replay-from-wrong-offset");
    found(&replayed(10, 11, 11), "replay", "replay-incomplete");
    found(&replayed(10, 9, 9), "replay", "replayed-too-much");
    found(&replayed(10, 10, 12), "replay", "replay-incomplete");
}

#[test]
fn a_replay_that_did_not_happen_is_found_and_one_never_started_is_in_doubt() {
    let mut sample = replayed(10, 10, 10);
    drop_facts(&mut sample, |f| matches!(f, Fact::Committed(c) if c.at_us == 730_000));
    found(&sample, "replay", "replay-not-carried-out");
    drop_facts(&mut sample, |f| matches!(f, Fact::Process(p) if p.name == "replay-1"));
    comes(&sample, "replay", Status::Inconclusive);
}
