//! When a pipeline counts as back: its last partition, and its producers until the end of the load.

use super::*;
use crate::verdict::Tally;

/// Partition and offset of an operation's record.
fn place(sample: &Sample, op: u64) -> (u32, u64) {
    let logged = sample.facts.iter().find_map(|(_, _, fact)| match fact {
        Fact::Logged(l) if l.op == Some(op) => Some((l.partition, l.offset)),
        _ => None,
    });
    logged.unwrap()
}

fn tally(sample: &Sample) -> Tally {
    sample.judge().unwrap().tally
}

#[test]
fn the_partition_that_comes_last_decides_and_is_named() {
    // The fault of the honest run is healed at 340 ms; both partitions commit at 415 ms.
    let mut sample = Sample::honest();
    assert_eq!(tally(&sample).windows[0].recovered_us, Some(415_000));
    drop_facts(
        &mut sample,
        |f| matches!(f, Fact::Committed(c) if c.partition == 1 && (400_000..600_000).contains(&c.at_us)),
    );
    let window = tally(&sample).windows[0].clone();
    assert_eq!(window.recovered_us, Some(615_000));
    assert_eq!(window.recovered_in, Some(format!("{TOPIC}/1, group {GROUP}")));
    let recovery = check(&sample.judge().unwrap(), "recovery");
    assert_eq!(recovery.figures["recovered_after_heal_us"], 275_000);
    assert!(recovery.summary.contains("last in"), "{}", recovery.summary);
    // One that never commits again leaves the window open, however well the other does.
    drop_facts(
        &mut sample,
        |f| matches!(f, Fact::Committed(c) if c.partition == 1 && c.at_us >= 400_000),
    );
    assert_eq!(tally(&sample).windows[0].recovered_us, None);
    found(&sample, "recovery", "group-did-not-recover");
    assert_eq!(check(&sample.judge().unwrap(), "recovery").findings[1].partition, Some(1));
}

#[test]
fn a_partition_without_records_after_the_fault_has_nothing_to_recover() {
    let mut sample = Sample::honest();
    let high = (30..60).filter(|&op| place(&sample, op).0 == 1).map(|op| place(&sample, op).1);
    let end = high.min().unwrap();
    drop_facts(&mut sample, |f| match f {
        Fact::Logged(l) => l.partition == 1 && l.offset >= end,
        Fact::Stored(s) => s.partition == 1 && s.offset >= end,
        Fact::Committed(c) => c.partition == 1 && c.offset > end,
        _ => false,
    });
    change(&mut sample, |f| match f {
        Fact::LogBounds(b) if b.topic == TOPIC && b.partition == 1 => b.high = end,
        _ => {}
    });
    assert_eq!(tally(&sample).windows[0].recovered_us, Some(415_000));
}

#[test]
fn records_between_the_act_and_the_outage_show_no_recovery() {
    // The broker goes on for a while after the act began: what it took in then is committed as soon as
    // it is back, before a producer has been acknowledged anything.
    let mut sample = Sample::honest();
    change(&mut sample, |f| match f {
        Fact::Fault(step) if step.step == FaultStage::Seen => step.step = FaultStage::Missed,
        _ => {}
    });
    drop_facts(&mut sample, |f| matches!(f, Fact::Fault(s) if s.step == FaultStage::Missed));
    sample.fault(325_000, FaultStage::Seen);
    for op in [30, 31, 32] {
        let (partition, offset) = place(&sample, op);
        sample.commit(341_000, partition, offset + 1);
    }
    sample.facts.sort_by_key(|f| f.0);
    let window = tally(&sample).windows[0].clone();
    assert_eq!((window.first_ack_after_us, window.recovered_us), (Some(345_000), Some(415_000)));
}

/// The honest run, in which everything from the fault on is refused, and the heal comes after the load.
fn refused_to_the_end() -> Sample {
    let mut sample = Sample::honest();
    change(&mut sample, |f| match f {
        Fact::Completed(c) if c.op >= 30 => {
            c.outcome = Outcome::Failed { error: "Local: Message timed out".to_owned() };
        }
        _ => {}
    });
    drop_facts(&mut sample, |f| match f {
        Fact::Logged(l) => l.op >= Some(30),
        Fact::Stored(s) => s.op >= Some(30),
        Fact::Fault(s) => matches!(s.step, FaultStage::Healing | FaultStage::Healed),
        _ => false,
    });
    sample.fault(650_000, FaultStage::Healing).fault(660_000, FaultStage::Healed);
    sample.facts.sort_by_key(|f| f.0);
    sample
}

#[test]
fn a_load_that_ends_without_an_acknowledgement_is_unavailability_with_an_open_end() {
    let sample = refused_to_the_end();
    let counts = tally(&sample);
    // Acknowledged at 295 ms, refused at 595 ms.
    assert_eq!(counts.longest_unavailability_us, Some(300_000));
    assert_eq!(counts.longest_unavailability_from_us, Some(295_000));
    assert!(counts.unavailability_open && counts.windows[0].unavailability_open);
    assert_eq!(counts.windows[0].unavailability_us, Some(300_000));
    let verdict = sample.judge().unwrap();
    let reasons = check(&verdict, "recovery").reasons.join("\n");
    let findings = check(&verdict, "recovery").findings;
    let said = format!("{reasons}{findings:?}");
    assert!(said.contains("nothing was acknowledged from 0.295 s until the load ended"), "{said}");
    assert_ne!(check(&verdict, "recovery").status, Status::Pass);
    assert!(!tally(&Sample::honest()).unavailability_open);
}

#[test]
fn a_load_that_is_never_acknowledged_again_after_the_heal_breaks_the_budget() {
    let mut sample = refused_to_the_end();
    sample.header.promises.recovery_within_us = 100_000;
    drop_facts(
        &mut sample,
        |f| matches!(f, Fact::Fault(s) if matches!(s.step, FaultStage::Healing | FaultStage::Healed)),
    );
    sample.fault(330_000, FaultStage::Healing).fault(340_000, FaultStage::Healed);
    sample.facts.sort_by_key(|f| f.0);
    found(&sample, "recovery", "producers-did-not-recover");
}

#[test]
fn operations_that_never_end_leave_the_end_open_too() {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Completed(c) if c.op >= 40));
    let counts = tally(&sample);
    assert!(counts.unavailability_open);
    // Acknowledged at 395 ms, the last one invoked at 590 ms.
    assert_eq!(counts.longest_unavailability_us, Some(195_000));
}
