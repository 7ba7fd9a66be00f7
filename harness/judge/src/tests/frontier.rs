//! The commit frontier between clocks that are known more or less well.

use super::*;

/// The honest run, its clocks measured to such intervals: of the broker, and of the store.
fn clocks(broker: Option<(i64, i64)>, store: Option<(i64, i64)>) -> Sample {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Clock(_)));
    for (of, known) in [("broker", broker), ("store", store)] {
        if let Some((low, high)) = known {
            sample.clock(of, low, high);
        }
    }
    sample.facts.sort_by_key(|f| f.0);
    sample
}

/// All commits of one batch come earlier by so much: they are 5 ms behind their part.
fn earlier(sample: &mut Sample, by_us: u64) {
    change(sample, |f| match f {
        Fact::Committed(c) if c.at_us == 215_000 => c.at_us -= by_us,
        _ => {}
    });
}

#[test]
fn a_commit_is_early_if_it_is_so_by_every_position_of_the_clocks() {
    let both = Some((-1_000, 1_000));
    for (by_us, status) in [
        (6_000, Status::Pass),
        (6_001, Status::Inconclusive),
        (8_000, Status::Inconclusive),
        (8_001, Status::Fail),
    ] {
        let mut sample = clocks(both, both);
        earlier(&mut sample, by_us);
        comes(&sample, "commit-frontier", status);
    }
    // 3 ms early, by clocks that are known to 1 ms each.
    let mut sample = clocks(Some((-500, 500)), Some((-500, 500)));
    earlier(&mut sample, 8_000);
    found(&sample, "commit-frontier", "commit-before-durable");
}

#[test]
fn a_clock_that_is_known_to_be_off_is_set_right() {
    // The broker's clock is 200 ms behind: nothing of that is early.
    let mut sample = clocks(Some((199_900, 200_100)), Some((0, 0)));
    change(&mut sample, |f| {
        if let Fact::Committed(c) = f {
            c.at_us = c.at_us.saturating_sub(200_000);
        }
    });
    comes(&sample, "commit-frontier", Status::Pass);
    // What is early is found all the same.
    change(&mut sample, |f| match f {
        Fact::Committed(c) if c.at_us == 115_000 => c.at_us -= 10_000,
        _ => {}
    });
    found(&sample, "commit-frontier", "commit-before-durable");
}

#[test]
fn a_skew_that_nobody_measured_convicts_nobody_and_hides_nobody() {
    for by_us in [10_000, 20_000, 200_000] {
        let mut sample = clocks(None, None);
        change(&mut sample, |f| {
            if let Fact::Committed(c) = f {
                c.at_us = c.at_us.saturating_sub(by_us);
            }
        });
        let check = check(&sample.judge().unwrap(), "commit-frontier");
        assert_eq!(check.status, Status::Inconclusive, "{by_us}: {check:#?}");
        assert!(check.reasons.iter().any(|r| r.contains("nobody")), "{check:#?}");
    }
    // The watch learned of the commits within a millisecond: the broker's clock is no further behind.
    let mut sample = clocks(None, None);
    change(&mut sample, |f| match f {
        Fact::Committed(c) if c.at_us == 415_000 => c.at_us = 60_000,
        _ => {}
    });
    found(&sample, "commit-frontier", "commit-before-durable");
    // Without measurements nothing is held against a run in which nothing looks early.
    comes(&clocks(None, None), "commit-frontier", Status::Pass);
}

#[test]
fn what_cannot_be_is_never_a_pass() {
    // Parts older than their records, commits early by as much: the store's clock is behind.
    let shift = |sample: &mut Sample, by_us: u64| {
        change(sample, |f| match f {
            Fact::Object(o) => o.created_us = o.created_us.saturating_sub(by_us),
            Fact::Committed(c) => c.at_us = c.at_us.saturating_sub(by_us / 2),
            _ => {}
        });
    };
    for (broker, store) in [(None, None), (Some((0, 0)), Some((-1_000, 1_000)))] {
        let mut sample = clocks(broker, store);
        shift(&mut sample, 400_000);
        let check = check(&sample.judge().unwrap(), "commit-frontier");
        assert_ne!(check.status, Status::Pass, "{check:#?}");
    }
    // All parts are older than the run.
    let mut sample = clocks(None, None);
    change(&mut sample, |f| {
        if let Fact::Object(o) = f {
            o.created_us = 0;
        }
    });
    comes(&sample, "commit-frontier", Status::Inconclusive);
    let reasons = check(&sample.judge().unwrap(), "commit-frontier").reasons;
    assert!(reasons.iter().any(|r| r.contains("the clock of the store")), "{reasons:?}");
    // Told before it happened.
    let mut sample = clocks(None, None);
    change(&mut sample, |f| {
        if let Fact::Committed(c) = f {
            c.at_us += 3_600_000_000;
        }
    });
    assert_ne!(sample.judge().unwrap().status, Status::Pass);
}

#[test]
fn a_step_back_counts_once_whoever_watches() {
    let mut sample = Sample::honest();
    sample.commit(END_US - 1, 0, 3);
    let told: Vec<_> = sample
        .facts
        .iter()
        .filter(|(_, process, _)| process == "commit-watch")
        .map(|(_, _, fact)| fact.clone())
        .collect();
    for fact in told {
        sample.tell(END_US, "commit-watch-2", fact);
    }
    found(&sample, "commit-frontier", "commit-went-back");
    let text = check(&sample.judge().unwrap(), "commit-frontier").findings[0].message.clone();
    assert!(text.contains("went back 1 time,"), "{text}");
}

/// Tells for each commit on record when it was asked for, and for each part when its writer was
/// answered, as that passed.
fn seen_to_pass(sample: &mut Sample, asked_before_us: u64, answered_after_us: u64) {
    let facts: Vec<Fact> = sample.facts.iter().map(|(_, _, fact)| fact.clone()).collect();
    let mut number = 0;
    for fact in facts {
        match fact {
            Fact::Committed(Committed { group, topic, partition, offset, at_us, exact: true }) => {
                let (member, at_us) = ("consumer-1".to_owned(), at_us - asked_before_us);
                let (refused, taken) = (None, true);
                sample.tell(at_us, "coordination-watch", {
                    let attempt = CommitAttempt {
                        group,
                        member,
                        topic,
                        partition,
                        offset,
                        refused,
                        taken,
                        at_us,
                    };
                    Fact::CommitAttempt(attempt)
                });
            }
            Fact::Object(object) if !object.during_run && object.role == ObjectRole::Part => {
                let created_us = object.created_us + answered_after_us;
                let seen = Object { object: number, created_us, during_run: true, ..object };
                sample.tell(END_US, "store-journal", Fact::Object(seen));
                number += 1;
            }
            _ => {}
        }
    }
    sample.facts.sort_by_key(|f| f.0);
}

#[test]
fn what_passed_on_this_machine_needs_no_clock_but_its_own() {
    // Commits that look 7 ms early, by clocks that are known to 20 ms.
    let rough = || {
        let mut sample = clocks(Some((-20_000, 20_000)), Some((-20_000, 20_000)));
        sample.clock("processes", 0, 0);
        earlier(&mut sample, 12_000);
        sample
    };
    comes(&rough(), "commit-frontier", Status::Inconclusive);
    // They were asked for 3 ms after the answer of the store had passed.
    let mut sample = rough();
    seen_to_pass(&mut sample, 0, 0);
    change(&mut sample, |f| match f {
        Fact::CommitAttempt(a) if a.at_us == 203_000 => a.at_us = 214_000,
        Fact::Object(o) if o.during_run => o.created_us += 1_000,
        _ => {}
    });
    comes(&sample, "commit-frontier", Status::Pass);
    // They were asked for before the answer: whether the part was there is left to the store's clock.
    change(&mut sample, |f| match f {
        Fact::CommitAttempt(a) if a.at_us == 214_000 => a.at_us = 207_000,
        _ => {}
    });
    comes(&sample, "commit-frontier", Status::Inconclusive);
}

#[test]
fn a_commit_that_was_refused_and_one_asked_for_too_late_tell_nothing_of_when() {
    let mut sample = clocks(Some((-1_000, 1_000)), Some((-1_000, 1_000)));
    earlier(&mut sample, 10_000);
    found(&sample, "commit-frontier", "commit-before-durable");
    seen_to_pass(&mut sample, 0, 0);
    // After the broker had written them down: other commits than these.
    change(&mut sample, |f| {
        if let Fact::CommitAttempt(a) = f {
            a.at_us += 100_000;
        }
    });
    found(&sample, "commit-frontier", "commit-before-durable");
    change(&mut sample, |f| {
        if let Fact::CommitAttempt(a) = f {
            (a.at_us, a.taken) = (1, false);
            a.refused = Some("ILLEGAL_GENERATION".to_owned());
        }
    });
    found(&sample, "commit-frontier", "commit-before-durable");
}

#[test]
fn an_offset_is_not_committed_again_and_again() {
    let times = |times: u64| {
        let mut sample = Sample::honest();
        let offset = sample.facts.iter().rev().find_map(|(_, _, f)| match f {
            Fact::Committed(c) if c.partition == 0 => Some(c.offset),
            _ => None,
        });
        for n in 0..times {
            sample.commit(650_000 + n, 0, offset.unwrap());
        }
        sample.facts.sort_by_key(|f| f.0);
        sample
    };
    // A commit that was not answered is sent again, some times.
    comes(&times(8), "commit-frontier", Status::Pass);
    let mut busy = times(30);
    found(&busy, "commit-frontier", "committed-again-and-again");
    // Another consumer may commit by the clock.
    busy.header.promises.groups[0].consumer = Some(ConsumerPromise::default());
    let findings = check(&busy.judge().unwrap(), "commit-frontier").findings;
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn what_came_in_an_interval_is_early_only_before_it() {
    // The part is there at 210 ms; the commit of its records comes at 215 ms, or before that.
    let seen_between = |low_us: u64, commit_us: u64| {
        let mut sample = clocks(Some((0, 0)), Some((-50_000, 50_000)));
        change(&mut sample, |f| match f {
            Fact::Object(o) if o.created_us == 210_000 => o.earliest_us = Some(low_us),
            Fact::Committed(c) if c.at_us == 215_000 => c.at_us = commit_us,
            _ => {}
        });
        sample
    };
    // Files are seen on the recorder's clock, whatever is known of a store's.
    comes(&seen_between(205_000, 206_000), "commit-frontier", Status::Pass);
    found(&seen_between(205_000, 200_000), "commit-frontier", "commit-before-durable");
}

#[test]
fn a_member_is_told_to_begin_where_its_group_has_committed() {
    let at = |at_us: u64, back: u64| {
        let mut sample = Sample::honest();
        let before = sample.facts.iter().filter_map(|(t_us, _, fact)| match fact {
            Fact::Committed(c) if c.partition == 0 && *t_us < at_us => Some(c.offset),
            _ => None,
        });
        let committed = before.max().unwrap();
        sample.position(at_us, "consumer-1", 0, Some(committed - back));
        sample.facts.sort_by_key(|f| f.0);
        sample
    };
    found(&at(400_000, 1), "commit-frontier", "commit-forgotten");
    comes(&at(400_000, 0), "commit-frontier", Status::Pass);
    // The commit was learned of when the position had been told: nobody knows which was first.
    let mut late = at(400_000, 1);
    for (t_us, _, fact) in &mut late.facts {
        if matches!(fact, Fact::Committed(c) if c.partition == 0 && c.at_us == 315_000) {
            *t_us = 401_000;
        }
    }
    late.facts.sort_by_key(|f| f.0);
    comes(&late, "commit-frontier", Status::Pass);
    // What was set back on purpose stands lower.
    let mut replayed = Sample::honest();
    replayed.commit(730_000, 0, 2).commit(760_000, 0, 3).position(
        740_000,
        "consumer-1",
        0,
        Some(2),
    );
    replayed.reset(725_000, Some(0), Some(2), "an operator");
    replayed.facts.sort_by_key(|f| f.0);
    let check = check(&replayed.judge().unwrap(), "commit-frontier");
    assert!(check.findings.iter().all(|f| f.anomaly != "commit-forgotten"), "{check:#?}");
}

/// The second of two members is told at 100 ms to have partition 1, and the first commits there at 200 ms.
fn commits_for_another(change: impl Fn(&mut CommitAttempt)) -> Sample {
    let told = [("consumer-1", 0, 99_000), ("consumer-2", 1, 100_000)];
    commits_of_members(&told, change)
}

/// Members are told which partition is theirs, and consumer-1 commits in partition 1.
fn commits_of_members(told: &[(&str, u32, u64)], change: impl Fn(&mut CommitAttempt)) -> Sample {
    let mut sample = Sample::honest();
    for &(member, partition, at_us) in told {
        let owns = Membership {
            group: GROUP.to_owned(),
            member: member.to_owned(),
            id: format!("{member}-a"),
            change: MembershipChange::Owns,
            generation: Some(1),
            partitions: [(TOPIC.to_owned(), vec![partition])].into(),
            refusal: None,
            at_us,
        };
        sample.tell(at_us, "coordination-watch", Fact::Membership(owns));
    }
    let mut attempt = CommitAttempt {
        group: GROUP.to_owned(),
        member: "consumer-1".to_owned(),
        topic: TOPIC.to_owned(),
        partition: 1,
        offset: 1,
        refused: None,
        taken: true,
        at_us: 200_000,
    };
    change(&mut attempt);
    sample.tell(201_000, "coordination-watch", Fact::CommitAttempt(attempt));
    sample.facts.sort_by_key(|f| f.0);
    sample
}

#[test]
fn a_member_commits_for_its_own_partitions() {
    let sample = commits_for_another(|_| {});
    found(&sample, "commit-frontier", "commit-for-another");
    found(&sample, "commit-frontier", "commit-without-ownership");
    // It had had the partition before the other one did.
    let had = [("consumer-1", 1, 98_000), ("consumer-1", 0, 99_000), ("consumer-2", 1, 100_000)];
    let sample = commits_of_members(&had, |_| {});
    found(&sample, "commit-frontier", "commit-for-another");
    // It was refused; it passed before the other had the partition; it is the other's; it is of no member.
    let legal: [fn(&mut CommitAttempt); 4] = [
        |a| (a.refused, a.taken) = (Some("ILLEGAL_GENERATION".to_owned()), false),
        |a| a.at_us = 99_500,
        |a| a.member = "consumer-2".to_owned(),
        |a| a.member = "replay-1".to_owned(),
    ];
    for change in legal {
        comes(&commits_of_members(&had, change), "commit-frontier", Status::Pass);
    }
    // It has left, and what it had asked for before has long passed.
    let mut left = commits_of_members(&[("consumer-1", 1, 98_000)], |a| a.at_us = 1_300_000);
    comes(&left, "commit-frontier", Status::Pass);
    let gone = left.facts.iter().find_map(|(_, _, fact)| match fact {
        Fact::Membership(m) => {
            Some(Membership { at_us: 250_000, change: MembershipChange::Left, ..m.clone() })
        }
        _ => None,
    });
    left.tell(250_000, "coordination-watch", Fact::Membership(gone.unwrap()));
    found(&left, "commit-frontier", "commit-without-ownership");
    // The other one has left meanwhile, or takes part in a rebalance; and this one had had the partition.
    for step in [MembershipChange::Left, MembershipChange::Joined, MembershipChange::Refused] {
        let mut sample = commits_of_members(&had, |_| {});
        let gone = sample.facts.iter().find_map(|(_, _, fact)| match fact {
            Fact::Membership(m) if m.member == "consumer-2" => Some(m.clone()),
            _ => None,
        });
        let gone = Membership {
            change: step,
            at_us: 150_000,
            partitions: Default::default(),
            ..gone.unwrap()
        };
        sample.tell(150_000, "coordination-watch", Fact::Membership(gone));
        sample.facts.sort_by_key(|f| f.0);
        comes(&sample, "commit-frontier", Status::Pass);
    }
}
