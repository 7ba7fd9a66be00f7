//! A replay, and what may go wrong with it.

use super::*;
use streamlake_history::sample::key;

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
    sample.process(722_000, "consumer-1", "exited");
    sample.process(725_000, "replay-1", "started").process(735_000, "replay-1", "exited");
    sample.process(737_000, "consumer-1", "started");
    for partition in 0..2 {
        sample.commit(730_000, partition, reset);
        sample.position(740_000, "consumer-1", partition, Some(reset));
    }
    sample.part(6, 750_000, &records);
    for partition in 0..2 {
        let keys = (0..60)
            .filter(|&op| streamlake_history::murmur2::partition(&key(op).0, 2) == partition);
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

/// What the log of a partition ends with.
fn end(partition: u32) -> u64 {
    (0..60).filter(|&op| streamlake_history::murmur2::partition(&key(op).0, 2) == partition).count()
        as u64
}

#[test]
fn a_replay_is_forgiven_once() {
    let sample = replayed(10, 10, 10);
    assert_eq!(sample.judge().unwrap().tally.duplicates_by_cause.len(), 1);
    assert!(sample.judge().unwrap().tally.duplicates_by_cause.contains_key("replay"));
    // A zombie's commit after it takes the group back once more.
    let mut zombie = sample.clone();
    zombie.commit(770_000, 0, 12).commit(780_000, 0, end(0));
    found(&zombie, "commit-frontier", "commit-went-back");
    // So does whoever sets it back a second time, told by nobody.
    let mut twice = sample.clone();
    twice.commit(770_000, 0, 10).commit(780_000, 0, end(0));
    found(&twice, "commit-frontier", "commit-went-back");
    // An operator may say that it was meant, once each.
    let mut told = twice.clone();
    told.reset(765_000, Some(0), Some(10), "an operator");
    comes(&told, "commit-frontier", Status::Pass);
    told.commit(785_000, 0, 10).commit(790_000, 0, end(0));
    found(&told, "commit-frontier", "commit-went-back");
    // Told of another partition, of another offset, or long after, it covers nothing.
    for (t_us, partition, offset) in
        [(765_000, Some(1), Some(10)), (765_000, Some(0), Some(11)), (790_000, None, None)]
    {
        let mut other = twice.clone();
        other.reset(t_us, partition, offset, "an operator");
        found(&other, "commit-frontier", "commit-went-back");
    }
    // A second replay process is leave for a second time; that the first is told twice is not.
    let mut again = twice.clone();
    again.reset(731_000, None, Some(10), "replay-1");
    found(&again, "commit-frontier", "commit-went-back");
    let mut second = twice;
    second.process(765_000, "replay-2", "started").process(775_000, "replay-2", "exited");
    comes(&second, "commit-frontier", Status::Pass);
}

#[test]
fn a_replay_of_one_group_excuses_no_other() {
    let mut sample = replayed(10, 10, 10);
    change(&mut sample, |f| match f {
        Fact::Process(p) if p.name == "replay-1" => p.group = Some("another".to_owned()),
        _ => {}
    });
    found(&sample, "commit-frontier", "commit-went-back");
}

#[test]
fn what_a_replay_reads_is_stored_again_once() {
    let mut sample = replayed(10, 10, 10);
    let copy = sample.facts.iter().find_map(|(_, _, f)| match f {
        Fact::Stored(s) if s.object == 6 => Some((s.op.unwrap(), s.partition, s.offset)),
        _ => None,
    });
    let (op, partition, offset) = copy.unwrap();
    sample.part(7, 755_000, &[(op, partition, offset, op * 10_000 + 3_000)]);
    found(&sample, "duplicates", "stored-twice-in-one-epoch");
}

#[test]
fn a_replay_that_did_not_happen_is_found_and_one_never_started_is_in_doubt() {
    let mut sample = replayed(10, 10, 10);
    drop_facts(&mut sample, |f| matches!(f, Fact::Committed(c) if c.at_us == 730_000));
    found(&sample, "replay", "replay-not-carried-out");
    drop_facts(&mut sample, |f| matches!(f, Fact::Process(p) if p.name == "replay-1"));
    comes(&sample, "replay", Status::Inconclusive);
}

#[test]
fn poison_in_a_replayed_range_is_dead_lettered_again() {
    // Offset 12 of partition 0 is poison: a letter instead of a line, once before the replay.
    let with = |again: bool| {
        let mut sample = replayed(10, 10, 10);
        let op = sample.facts.iter().find_map(|(_, _, fact)| match fact {
            Fact::Logged(l) if (l.partition, l.offset) == (0, 12) => l.op,
            _ => None,
        });
        let op = op.unwrap();
        drop_facts(&mut sample, |f| matches!(f, Fact::Stored(s) if s.op == Some(op)));
        sample.dead_lettered(op, 0, 700_000, (0, 12));
        if again {
            sample.dead_lettered(op, 1, 750_000, (0, 12));
        }
        check(&sample.judge().unwrap(), "replay")
    };
    assert_eq!(with(true).status, Status::Pass, "{:#?}", with(true));
    let found = with(false).findings;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].anomaly.as_str(), found[0].offsets[0].first), ("replay-incomplete", 12));
}
