//! Groups that only read, as others tell of them.

use super::*;
use streamlake_history::event::AssignmentChange::{Assigned, Revoked};

/// A topic with records 0 to 9, each sent and acknowledged within 5 ms from 100 ms on, told by others.
fn topic() -> Sample {
    let mut sample = Sample::empty(10, 1);
    sample.header.run.testbed = "foreign".to_owned();
    let promises = &mut sample.header.promises;
    promises.partitioner = None;
    promises.key_order = false;
    promises.evidence = vec![Evidence::Receipts, Evidence::Log, Evidence::CommitsComplete];
    let group = &mut promises.groups[0];
    (group.raw_zone, group.dead_letter_topic) = (None, None);
    for op in 0..10 {
        sample.invoke(100_000 + op * 10_000, op);
        sample.acknowledge(105_000 + op * 10_000, op, 0, op);
        sample.log(op, 0, op, 100_000 + op * 10_000);
    }
    sample.bounds(TOPIC, 0, 0, 10);
    sample
}

fn read(sample: &mut Sample, t_us: u64, member: &str, offset: u64) {
    let (group, topic, member) = (GROUP.to_owned(), TOPIC.to_owned(), member.to_owned());
    let process = member.clone();
    let fact = Fact::Read(Read { group, member, topic, partition: 0, offset, value: None });
    sample.tell(t_us, &process, fact);
}

fn assign(sample: &mut Sample, t_us: u64, member: &str, change: AssignmentChange) {
    let (group, topic) = (GROUP.to_owned(), TOPIC.to_owned());
    let fact = Assignment { group, member: member.to_owned(), topic, partition: 0, change };
    sample.tell(t_us, member, Fact::Assignment(fact));
}

fn commit(sample: &mut Sample, at_us: u64, member: &str, offset: u64) {
    let (group, topic) = (GROUP.to_owned(), TOPIC.to_owned());
    let fact = Committed { group, topic, partition: 0, offset, at_us, exact: true };
    sample.tell(at_us, member, Fact::Committed(fact));
}

/// One member reads these offsets, 10 ms apart from 300 ms on, and commits 5 ms behind the last.
fn reading(offsets: &[u64]) -> Sample {
    let mut sample = topic();
    assign(&mut sample, 290_000, "m", Assigned);
    let mut t_us = 300_000;
    for &offset in offsets {
        read(&mut sample, t_us, "m", offset);
        t_us += 10_000;
    }
    commit(&mut sample, t_us - 5_000, "m", 10);
    sample
}

#[test]
fn what_is_read_in_order_passes() {
    let sample = reading(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for name in ["order", "duplicates", "commit-frontier"] {
        comes(&sample, name, Status::Pass);
    }
}

#[test]
fn offsets_that_come_after_higher_ones_are_out_of_order() {
    for offsets in [
        &[0, 3, 1, 2, 4, 5, 6, 7, 8, 9][..],
        &[3, 1, 2],
        &[9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
        &[0, 1, 2, 3, 4, 5, 6, 7, 9, 8],
    ] {
        let mut sample = reading(offsets);
        sample.header.promises.groups[0].may_seek_back = true;
        let check = check(&sample.judge().unwrap(), "order");
        assert_eq!(check.status, Status::Fail, "{offsets:?}: {check:#?}");
    }
    // A member that begins late and goes back to the begin, and reads everything from there on.
    let mut sample = reading(&[3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    sample.header.promises.groups[0].may_seek_back = true;
    comes(&sample, "order", Status::Pass);
    comes(&sample, "duplicates", Status::Pass);
}

#[test]
fn a_hole_in_what_one_assignment_read_is_found() {
    found(&reading(&[0, 1, 2, 5, 6, 7, 8, 9]), "order", "skipped-within-assignment");
    let finding = check(&reading(&[0, 1, 2, 5, 6, 7, 8, 9]).judge().unwrap(), "order").findings;
    assert_eq!((finding[0].offsets[0].first, finding[0].offsets[0].last), (3, 4));
    // Offsets without a record are none, nor is what another assignment leaves to another member.
    let mut sample = reading(&[0, 1, 2, 5, 6, 7, 8, 9]);
    drop_facts(&mut sample, |f| matches!(f, Fact::Logged(l) if (3..5).contains(&l.offset)));
    change(&mut sample, |f| {
        if let Fact::LogBounds(b) = f {
            b.holes = vec![(3, 4)];
        }
    });
    comes(&sample, "order", Status::Pass);
    let mut sample = topic();
    assign(&mut sample, 290_000, "m", Assigned);
    (0..3).for_each(|n| read(&mut sample, 300_000 + n, "m", n));
    assign(&mut sample, 310_000, "m", Revoked);
    assign(&mut sample, 320_000, "n", Assigned);
    (3..6).for_each(|n| read(&mut sample, 330_000 + n, "n", n));
    assign(&mut sample, 340_000, "n", Revoked);
    assign(&mut sample, 350_000, "m", Assigned);
    (6..10).for_each(|n| read(&mut sample, 360_000 + n, "m", n));
    comes(&sample, "order", Status::Pass);
    comes(&sample, "duplicates", Status::Pass);
}

#[test]
fn reads_without_the_assignment_are_found() {
    let mut sample = reading(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assign(&mut sample, 500_000, "m", Revoked);
    read(&mut sample, 510_000, "m", 9);
    found(&sample, "order", "read-without-assignment");
    // Somebody who never told any assignment may have one.
    let mut sample = reading(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    read(&mut sample, 510_000, "stranger", 9);
    comes(&sample, "order", Status::Inconclusive);
}

#[test]
fn a_member_that_may_seek_back_reads_again_what_is_not_committed() {
    let twice = [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7, 8, 9];
    found(&reading(&twice), "duplicates", "stored-twice-in-one-epoch");
    let mut sample = reading(&twice);
    sample.header.promises.groups[0].may_seek_back = true;
    comes(&sample, "duplicates", Status::Pass);
    comes(&sample, "order", Status::Pass);
    let causes = sample.judge().unwrap().tally.duplicates_by_cause;
    assert_eq!(causes.get("seek back"), Some(&3), "{causes:?}");
    // Committed up to 4 before it goes back: 2 and 3 had been done.
    commit(&mut sample, 345_000, "m", 4);
    sample.facts.sort_by_key(|f| f.0);
    found(&sample, "duplicates", "redelivered-after-commit");
    found(&sample, "order", "read-went-back");
    // Without any assignment told the same is counted.
    let mut bare = reading(&twice);
    bare.header.promises.groups[0].may_seek_back = true;
    drop_facts(&mut bare, |f| matches!(f, Fact::Assignment(_)));
    comes(&bare, "duplicates", Status::Pass);
}

#[test]
fn a_commit_and_the_reads_below_it_are_ordered_by_the_clock_of_their_member() {
    let mut sample = reading(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    commit(&mut sample, 345_000, "m", 9);
    sample.facts.sort_by_key(|f| f.0);
    found(&sample, "commit-frontier", "commit-before-durable");
    // Somebody else saw it, by a clock that nobody compared: 15 ms, 200 ms; but not an hour.
    for (early_us, status) in [
        (15_000, Status::Inconclusive),
        (200_000, Status::Inconclusive),
        (3_600_000_000, Status::Fail),
    ] {
        let mut sample = reading(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        for (t_us, _, fact) in &mut sample.facts {
            match fact {
                // Everything else is later by so much, to leave room.
                Fact::Committed(_) => *t_us = 0,
                Fact::Logged(_) | Fact::LogBounds(_) => {}
                _ => *t_us += 3_600_000_000,
            }
        }
        change(&mut sample, |f| {
            if let Fact::Committed(c) = f {
                c.at_us = 3_600_390_000 - early_us;
            }
        });
        for (t_us, process, fact) in &mut sample.facts {
            if let Fact::Committed(c) = fact {
                (*t_us, *process) = (c.at_us, "watcher".to_owned());
            }
        }
        let check = check(&sample.judge().unwrap(), "commit-frontier");
        match status {
            Status::Fail => assert_ne!(check.status, Status::Pass, "{check:#?}"),
            status => assert_eq!(check.status, status, "{early_us}: {check:#?}"),
        }
    }
}

#[test]
fn reads_without_a_time_are_no_evidence_of_when() {
    let mut sample = reading(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (t_us, _, fact) in &mut sample.facts {
        if matches!(fact, Fact::Read(_) | Fact::Assignment(_)) {
            *t_us = 0;
        }
    }
    comes(&sample, "commit-frontier", Status::Inconclusive);
}

#[test]
fn a_stale_commit_of_another_member_is_found_and_an_answer_that_came_late_is_counted() {
    let everything = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    // The answer to an earlier commit of the same member comes behind that to a later one.
    let mut sample = reading(&everything);
    commit(&mut sample, 380_000, "m", 8);
    commit(&mut sample, 382_000, "m", 5);
    sample.facts.sort_by_key(|f| f.0);
    comes(&sample, "commit-frontier", Status::Pass);
    let figures = check(&sample.judge().unwrap(), "commit-frontier").figures;
    assert_eq!(figures["commits_answered_late"], 1);
    // It was the last word.
    let mut sample = reading(&everything);
    commit(&mut sample, 500_000, "m", 5);
    found(&sample, "commit-frontier", "commit-went-back");
    // Another member's, seconds after.
    let mut sample = reading(&everything);
    commit(&mut sample, 3_000_000, "zombie", 5);
    found(&sample, "commit-frontier", "commit-went-back");
    // So close that the clocks may account for it.
    let mut sample = reading(&everything);
    commit(&mut sample, 405_000, "other", 5);
    comes(&sample, "commit-frontier", Status::Inconclusive);
}
