//! Duplicates: which copies epochs of reading account for, and which not.

use super::*;

/// Partition and offset of an operation's record, and when it was written.
fn place(sample: &Sample, op: u64) -> (u32, u64, u64) {
    let logged = sample.facts.iter().find_map(|(_, _, fact)| match fact {
        Fact::Logged(l) if l.op == Some(op) => Some((l.partition, l.offset, op * 10_000 + 3_000)),
        _ => None,
    });
    logged.unwrap()
}

/// Stores operations again, in one part of their own.
fn again(sample: &mut Sample, object: u32, created_us: u64, ops: &[u64]) {
    let records: Vec<_> = ops
        .iter()
        .map(|&op| {
            let (partition, offset, wrote) = place(sample, op);
            (op, partition, offset, wrote)
        })
        .collect();
    sample.part(object, created_us, &records);
    sample.facts.sort_by_key(|f| f.0);
}

/// The consumer is killed at an instant and started again 10 ms later; its positions are what was
/// committed 1 ms after that.
fn restart(sample: &mut Sample, at_us: u64) {
    sample.process(at_us, "consumer-1", "exited");
    sample.process(at_us + 10_000, "consumer-1", "started");
    positions(sample, at_us + 11_000, "consumer-1");
}

fn positions(sample: &mut Sample, at_us: u64, member: &str) {
    for partition in 0..2 {
        let committed = sample.facts.iter().filter_map(|(_, _, fact)| match fact {
            Fact::Committed(c) if c.partition == partition && c.at_us <= at_us => Some(c.offset),
            _ => None,
        });
        let committed = committed.max();
        sample.position(at_us, member, partition, committed);
    }
    sample.facts.sort_by_key(|f| f.0);
}

fn causes(sample: &Sample) -> std::collections::BTreeMap<String, u64> {
    sample.judge().unwrap().tally.duplicates_by_cause
}

// In the honest run operations 20 to 29 are stored at 310 ms and committed at 315 ms; the fault lasts
// from 300 to 340 ms.

#[test]
fn a_restart_before_the_commit_accounts_for_one_more_copy() {
    let mut sample = Sample::honest();
    restart(&mut sample, 312_000);
    // The positions that were given at 323 ms are those of the commit at 315 ms: set them back.
    change(&mut sample, |f| match f {
        Fact::Position(p) if p.at_us == 323_000 => p.offset = p.offset.map(|o| o.saturating_sub(9)),
        _ => {}
    });
    again(&mut sample, 50, 350_000, &[25, 26]);
    comes(&sample, "duplicates", Status::Pass);
    let cause = "restart of consumer-1 after broker-restart (fault 0)";
    assert_eq!(causes(&sample).get(cause), Some(&2), "{:?}", causes(&sample));
    // A third copy is one too many.
    again(&mut sample, 51, 360_000, &[25]);
    found(&sample, "duplicates", "stored-twice-in-one-epoch");
    let finding = check(&sample.judge().unwrap(), "duplicates").findings[0].clone();
    assert_eq!(finding.offsets[0].first, place(&sample, 25).1);
    assert!(finding.evidence.iter().any(|line| line.contains("part-0052")), "{finding:#?}");
    assert!(finding.evidence.iter().any(|line| line.contains("got a position")), "{finding:#?}");
}

#[test]
fn a_fault_without_a_new_position_accounts_for_nothing() {
    // In the window, right behind it, and long after: every part of it, or one record.
    for (created_us, ops) in
        [(320_000, &[25][..]), (350_000, &[20, 21, 22, 23, 24]), (700_000, &[25])]
    {
        let mut sample = Sample::honest();
        again(&mut sample, 50, created_us, ops);
        found(&sample, "duplicates", "stored-twice-in-one-epoch");
    }
    // Nor does a store that failed, or a probe that was not answered.
    let mut sample = Sample::honest();
    sample.header.promises.faults[0].kind = "store-failure".to_owned();
    let probe = Probe { target: "store".to_owned(), answered: false, detail: "503".to_owned() };
    sample.tell(305_000, "probes", Fact::Probe(probe));
    again(&mut sample, 50, 350_000, &[25]);
    found(&sample, "duplicates", "stored-twice-in-one-epoch");
}

#[test]
fn what_was_committed_before_the_restart_is_not_delivered_again() {
    let mut sample = Sample::honest();
    restart(&mut sample, 320_000);
    again(&mut sample, 50, 350_000, &[25]);
    found(&sample, "duplicates", "redelivered-after-commit");
    // The same after an orderly stop, which leaves nothing uncommitted.
    let mut sample = Sample::honest();
    restart(&mut sample, 640_000);
    again(&mut sample, 50, 690_000, &[55]);
    found(&sample, "duplicates", "redelivered-after-commit");
}

#[test]
fn a_copy_before_the_new_position_is_not_its_work() {
    let mut sample = Sample::honest();
    again(&mut sample, 50, 311_500, &[25]);
    restart(&mut sample, 312_000);
    change(&mut sample, |f| match f {
        Fact::Position(p) if p.at_us == 323_000 => p.offset = p.offset.map(|o| o.saturating_sub(9)),
        _ => {}
    });
    found(&sample, "duplicates", "stored-twice-in-one-epoch");
}

/// A second member takes both partitions over at 312 ms from the offsets committed at 215 ms, while
/// the first is frozen until 500 ms; at 520 ms the first is given other positions.
fn taken_over() -> Sample {
    let mut sample = Sample::honest();
    sample.process(15, "consumer-2", "started");
    sample.process(308_000, "consumer-1", "stopped");
    sample.process(500_000, "consumer-1", "continued");
    for partition in 0..2 {
        let committed = sample.facts.iter().filter_map(|(_, _, fact)| match fact {
            Fact::Committed(c) if c.partition == partition && c.at_us == 215_000 => Some(c.offset),
            _ => None,
        });
        let committed = committed.max();
        sample.position(312_000, "consumer-2", partition, committed);
    }
    sample.position(520_000, "consumer-1", 7, None);
    sample.facts.sort_by_key(|f| f.0);
    sample
}

#[test]
fn a_zombie_may_store_what_it_had_read_and_nothing_that_came_after_it_knew() {
    // What it had read before the freeze, after the thaw.
    let mut sample = taken_over();
    again(&mut sample, 50, 510_000, &[25]);
    comes(&sample, "duplicates", Status::Pass);
    let cause = "rebalance after broker-restart (fault 0)";
    assert_eq!(causes(&sample).get(cause), Some(&1), "{:?}", causes(&sample));
    // Also a moment after it had rejoined: an upload takes its time.
    let mut sample = taken_over();
    again(&mut sample, 50, 530_000, &[25]);
    comes(&sample, "duplicates", Status::Pass);
    // Not twice.
    again(&mut sample, 51, 535_000, &[25]);
    found(&sample, "duplicates", "stored-twice-in-one-epoch");
    // Operation 55 was sent at 550 ms: the first member had another position by then.
    let mut sample = taken_over();
    again(&mut sample, 50, 650_000, &[55]);
    found(&sample, "duplicates", "stored-twice-in-one-epoch");
}

/// What a member was told that it has from now on.
fn owns(sample: &mut Sample, at_us: u64, member: &str, partitions: &[u32]) {
    let fact = Membership {
        group: GROUP.to_owned(),
        member: member.to_owned(),
        id: format!("{member}-id"),
        change: MembershipChange::Owns,
        generation: Some(3),
        partitions: [(TOPIC.to_owned(), partitions.to_vec())].into(),
        refusal: None,
        at_us,
    };
    sample.tell(at_us, "wire", Fact::Membership(fact));
    sample.facts.sort_by_key(|f| f.0);
}

#[test]
fn a_member_that_only_asks_where_its_group_stands_reads_nothing_again() {
    let asks_once_more = |dealt_anew: bool| {
        let mut sample = Sample::honest();
        owns(&mut sample, 10, "consumer-1", &[0, 1]);
        if dealt_anew {
            owns(&mut sample, 311_000, "consumer-1", &[0, 1]);
        }
        positions(&mut sample, 312_000, "consumer-1");
        again(&mut sample, 50, 350_000, &[25]);
        sample
    };
    found(&asks_once_more(false), "duplicates", "stored-twice-in-one-epoch");
    comes(&asks_once_more(true), "duplicates", Status::Pass);
    let mut goes_back = asks_once_more(false);
    goes_back.header.promises.groups[0].may_seek_back = true;
    comes(&goes_back, "duplicates", Status::Pass);
}

#[test]
fn a_member_that_is_given_the_same_partition_again_reads_on_without_a_position() {
    // Operation 55 was sent after the first member had another position. By then it had been told that both
    // partitions are its own, so the second member is not the only one that can have delivered it.
    let stored_twice = |partitions: &[u32]| {
        let mut sample = taken_over();
        owns(&mut sample, 519_000, "consumer-1", partitions);
        again(&mut sample, 50, 650_000, &[55]);
        sample
    };
    comes(&stored_twice(&[0, 1]), "duplicates", Status::Pass);
    let (partition, _, _) = place(&taken_over(), 55);
    found(&stored_twice(&[1 - partition]), "duplicates", "stored-twice-in-one-epoch");
}

#[test]
fn a_dead_process_writes_no_more_than_was_on_its_way() {
    // It is killed with nothing stored; its successor stores everything, and one record twice.
    let killed = |first_us: u64, second_us: u64| {
        let mut sample = Sample::honest();
        drop_facts(&mut sample, |f| matches!(f, Fact::Object(o) if (4..6).contains(&o.object)));
        drop_facts(&mut sample, |f| matches!(f, Fact::Stored(s) if (4..6).contains(&s.object)));
        drop_facts(&mut sample, |f| matches!(f, Fact::Committed(c) if c.at_us == 315_000));
        restart(&mut sample, 305_000);
        again(&mut sample, 60, first_us, &(20..30).collect::<Vec<_>>());
        again(&mut sample, 50, second_us, &[25]);
        sample
    };
    found(&killed(2_400_000, 2_500_000), "duplicates", "stored-twice-in-one-epoch");
    // Within the time that a request may be on its way nobody can say whose it was.
    comes(&killed(330_000, 340_000), "duplicates", Status::Pass);
    comes(&killed(330_000, 2_500_000), "duplicates", Status::Pass);
    // A store that hangs carries it out when it is back.
    let mut hung = killed(2_400_000, 2_500_000);
    hung.header.promises.faults[0].kind = "store-failure".to_owned();
    drop_facts(&mut hung, |f| matches!(f, Fact::Fault(s) if s.step == FaultStage::Healed));
    comes(&hung, "duplicates", Status::Pass);
    let mut silent = killed(2_400_000, 2_500_000);
    for (t_us, answered) in [(304_000, false), (2_450_000, true)] {
        let probe = Probe { target: "store".to_owned(), answered, detail: String::new() };
        silent.tell(t_us, "probes", Fact::Probe(probe));
    }
    comes(&silent, "duplicates", Status::Pass);
}

/// Without positions on record.
fn unwatched(mut sample: Sample) -> Sample {
    sample.header.promises.evidence.retain(|e| *e != Evidence::Positions);
    drop_facts(&mut sample, |f| matches!(f, Fact::Position(_)));
    sample
}

fn generation(sample: &mut Sample, at_us: u64, generation: u32, members: usize) {
    let members = (1..=members).map(|n| format!("consumer-{n}")).collect();
    let group = GROUP.to_owned();
    let fact = Generation { group, generation, members, at_us };
    sample.tell(at_us, "commit-watch-groups", Fact::Generation(fact));
    sample.facts.sort_by_key(|f| f.0);
}

#[test]
fn a_rebalance_on_the_brokers_record_is_a_cause_without_any_fault() {
    let mut sample = unwatched(Sample::honest());
    sample.header.promises.faults.clear();
    drop_facts(&mut sample, |f| matches!(f, Fact::Fault(_)));
    generation(&mut sample, 500, 1, 1);
    again(&mut sample, 50, 350_000, &[25]);
    found(&sample, "duplicates", "stored-twice-in-one-epoch");
    let mut rebalanced = sample.clone();
    generation(&mut rebalanced, 313_000, 2, 1);
    comes(&rebalanced, "duplicates", Status::Pass);
    assert_eq!(causes(&rebalanced).get("rebalance"), Some(&1));
    // One that came after the commit accounts for nothing, nor does a group that became empty.
    let mut late = sample.clone();
    generation(&mut late, 320_000, 2, 1);
    found(&late, "duplicates", "redelivered-after-commit");
    let mut empty = sample.clone();
    generation(&mut empty, 313_000, 2, 0);
    found(&empty, "duplicates", "stored-twice-in-one-epoch");
}

#[test]
fn where_only_processes_are_known_an_unseen_rebalance_is_a_doubt() {
    // One member, undisturbed between the two copies: nothing can have made it read again.
    let mut alone = unwatched(Sample::honest());
    again(&mut alone, 50, 250_000, &[5]);
    found(&alone, "duplicates", "stored-twice-in-one-epoch");
    // A broker was away in between, or the member was frozen, or it was not alone.
    let mut faulted = unwatched(Sample::honest());
    again(&mut faulted, 50, 350_000, &[25]);
    comes(&faulted, "duplicates", Status::Inconclusive);
    let mut frozen = alone.clone();
    frozen.process(120_000, "consumer-1", "stopped").process(130_000, "consumer-1", "continued");
    frozen.facts.sort_by_key(|f| f.0);
    comes(&frozen, "duplicates", Status::Inconclusive);
    let mut two = alone.clone();
    two.process(11, "consumer-2", "started");
    two.facts.sort_by_key(|f| f.0);
    comes(&two, "duplicates", Status::Inconclusive);
    // Nothing was watched at all.
    let mut blind = alone.clone();
    drop_facts(&mut blind, |f| matches!(f, Fact::Process(_)));
    comes(&blind, "duplicates", Status::Inconclusive);
    // A start accounts for what was not committed.
    let mut started = unwatched(Sample::honest());
    started.process(312_000, "consumer-1", "exited").process(313_000, "consumer-1", "started");
    again(&mut started, 50, 350_000, &[25]);
    comes(&started, "duplicates", Status::Pass);
}

#[test]
fn a_watch_of_positions_that_saw_none_is_in_doubt() {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Position(p) if p.partition == 1));
    comes(&sample, "duplicates", Status::Inconclusive);
    again(&mut sample, 50, 350_000, &[25]);
    assert_ne!(sample.judge().unwrap().status, Status::Pass);
}

fn poisoned(copies: &[u64]) -> Sample {
    let mut sample = Sample::honest();
    let (partition, offset, _) = place(&sample, 24);
    change(&mut sample, |f| match f {
        Fact::Invoked(i) if i.op == 24 => i.poison = true,
        _ => {}
    });
    drop_facts(&mut sample, |f| matches!(f, Fact::Stored(s) if s.op == Some(24)));
    for (n, &created_us) in (0u64..).zip(copies) {
        sample.dead_lettered(24, n, created_us, (partition, offset));
    }
    change(&mut sample, |f| match f {
        Fact::LogBounds(b) if b.topic == DEAD_LETTERS => b.high = copies.len() as u64,
        _ => {}
    });
    sample
}

#[test]
fn a_record_is_dead_lettered_once_for_each_time_it_was_read() {
    comes(&poisoned(&[300_000]), "duplicates", Status::Pass);
    found(&poisoned(&[300_000, 301_000]), "duplicates", "dead-lettered-twice-in-one-epoch");
    found(
        &poisoned(&[300_000, 350_000, 700_000]),
        "duplicates",
        "dead-lettered-twice-in-one-epoch",
    );
    let mut sample = poisoned(&[300_000, 350_000]);
    restart(&mut sample, 312_000);
    change(&mut sample, |f| match f {
        Fact::Position(p) if p.at_us == 323_000 => p.offset = p.offset.map(|o| o.saturating_sub(9)),
        _ => {}
    });
    comes(&sample, "duplicates", Status::Pass);
    let figures = check(&sample.judge().unwrap(), "duplicates").figures;
    assert_eq!(figures["dead_letter_duplicates"], 1);
}
