//! Each demand against windows that show it, that deny it and that say nothing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use crate::Judged as _;
use crate::tests::{change, check, comes, drop_facts};
use crate::verdict::Status;
use streamlake_history::event::*;
use streamlake_history::sample::{GROUP, Sample, TOPIC};

const STRUCK_US: u64 = 300_000;

/// The honest run with another fault in its middle: `looks` are the words before, during and after it.
fn run(kind: &str, target: &str, looks: [&[(&str, &str)]; 3]) -> Sample {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Fault(_)));
    sample.header.promises.faults = vec![PlannedFault {
        fault: 0,
        kind: kind.to_owned(),
        target: target.to_owned(),
        needs_load: true,
        ..PlannedFault::default()
    }];
    use FaultStage::{Healed, Healing, Injected, Injecting, Seen};
    let steps = [
        (Injecting, 0, None),
        (Injected, 1_000, Some(("before", looks[0]))),
        (Seen, 2_000, Some(("during", looks[1]))),
        (Healing, 60_000, None),
        (Healed, 70_000, Some(("after", looks[2]))),
    ];
    for (stage, after, words) in steps {
        let mut step = FaultStep {
            fault: 0,
            step: stage,
            evidence: BTreeMap::new(),
            target: None,
            patient: None,
        };
        if let Some((when, words)) = words {
            let words: BTreeMap<String, String> =
                words.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            step.target = TargetSeen::of(&words).map(Box::new);
            step.evidence = words.into_iter().map(|(n, v)| (format!("{n} {when}"), v)).collect();
        }
        sample.tell(STRUCK_US + after, "nemesis", Fact::Fault(step));
    }
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
    sample
}

fn step(sample: &mut Sample, wanted: FaultStage, mut alter: impl FnMut(&mut FaultStep)) {
    change(sample, |fact| match fact {
        Fact::Fault(step) if step.step == wanted => alter(step),
        _ => {}
    });
}

fn passes(sample: &Sample) {
    comes(sample, "fault-bit", Status::Pass);
}

fn doubted(sample: &Sample, because: &str) {
    let check = check(&sample.judge().unwrap(), "fault-bit");
    assert_eq!(check.status, Status::Inconclusive, "{check:#?}");
    assert!(check.reasons.iter().any(|reason| reason.contains(because)), "{because}: {check:#?}");
}

fn process(
    sample: &mut Sample,
    t_us: u64,
    pid: u32,
    state: ProcessChange,
    end: Option<ProcessEnd>,
) {
    let fact = ProcessState {
        name: "consumer-1".to_owned(),
        pid,
        state,
        status: None,
        role: Some(ProcessRole::Consumer),
        group: Some(GROUP.to_owned()),
        asked: None,
        end,
    };
    sample.tell(t_us, "supervisor", Fact::Process(fact));
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
}

/// A consumer that had something to lose is killed and started again.
fn killed() -> Sample {
    let before: &[(&str, &str)] =
        &[("pid", "7"), ("started_ticks", "100"), ("state", "S (sleeping)")];
    let after: &[(&str, &str)] =
        &[("pid", "9"), ("started_ticks", "300"), ("state", "R (running)")];
    let during: &[(&str, &str)] = &[("pid", "7"), ("state", "ended: signal: 9 (SIGKILL)")];
    let mut sample = run("consumer-kill", "consumer-1", [before, during, after]);
    drop_facts(&mut sample, |f| matches!(f, Fact::Process(_)));
    process(&mut sample, 10, 7, ProcessChange::Started, None);
    let kill = Some(ProcessEnd::Signal(9));
    process(&mut sample, STRUCK_US + 500, 7, ProcessChange::Exited, kill);
    process(&mut sample, STRUCK_US + 65_000, 9, ProcessChange::Started, None);
    step(&mut sample, FaultStage::Injected, |step| {
        step.patient = Some(Box::new(PatientMet {
            partitions_owned: Some(2),
            records_uncommitted: Some(5),
            ..PatientMet::default()
        }));
    });
    sample
}

fn met(sample: &mut Sample, alter: impl Fn(&mut PatientMet)) {
    step(sample, FaultStage::Injected, |step| alter(step.patient.as_mut().unwrap()));
}

fn position(sample: &mut Sample, t_us: u64, member: &str, partition: u32) {
    let fact = Position {
        group: GROUP.to_owned(),
        member: member.to_owned(),
        topic: TOPIC.to_owned(),
        partition,
        offset: Some(0),
        how: PositionChange::Fetched,
        at_us: t_us,
    };
    sample.tell(t_us, "proxy", Fact::Position(fact));
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
}

#[test]
fn a_kill_that_met_its_member_bites() {
    passes(&killed());
    // The words alone do, as in version 1.
    let mut sample = killed();
    sample.header.version = 1;
    change(&mut sample, |fact| {
        if let Fact::Fault(step) = fact {
            (step.target, step.patient) = (None, None);
        }
    });
    passes(&sample);
}

#[test]
fn the_same_process_before_and_after_is_no_kill() {
    let again = |step: &mut FaultStep| {
        step.evidence.insert("pid after".to_owned(), "7".to_owned());
        step.target.as_mut().unwrap().pid = Some(7);
    };
    let mut both = killed();
    step(&mut both, FaultStage::Healed, again);
    doubted(&both, "same process before and after, 7");
    // In the words alone, or in the types alone: neither may deny the other.
    let mut words = killed();
    step(&mut words, FaultStage::Healed, |step| {
        step.evidence.insert("started_ticks after".to_owned(), "100".to_owned());
    });
    doubted(&words, "started at the same time");
    let mut types = killed();
    step(&mut types, FaultStage::Healed, |step| {
        step.target.as_mut().unwrap().started = Some("100".to_owned());
    });
    doubted(&types, "started at the same time");
}

#[test]
fn an_end_that_was_none_or_another_is_no_kill() {
    let mut alive = killed();
    step(&mut alive, FaultStage::Seen, |step| {
        step.evidence.insert("state during".to_owned(), "S (sleeping)".to_owned());
        **step.target.as_mut().unwrap() =
            TargetSeen { state: Some(RunState::Running), ..TargetSeen::default() };
    });
    doubted(&alive, "was there while the fault lasted");
    let mut left = killed();
    step(&mut left, FaultStage::Seen, |step| {
        step.target.as_mut().unwrap().ended_by = Some(ProcessEnd::Code(0));
    });
    doubted(&left, "not by SIGKILL");
    let mut untold = killed();
    drop_facts(&mut untold, |f| matches!(f, Fact::Process(p) if p.state == ProcessChange::Exited));
    doubted(&untold, "does not tell that its target ended");
    let mut same = killed();
    change(&mut same, |f| match f {
        Fact::Process(p) if p.pid == 9 => p.pid = 7,
        _ => {}
    });
    doubted(&same, "tells of the same process again");
}

#[test]
fn a_member_without_partitions_or_records_was_not_met() {
    let mut idle = killed();
    met(&mut idle, |met| met.partitions_owned = Some(0));
    doubted(&idle, "owned no partition");
    let mut empty = killed();
    met(&mut empty, |met| met.records_uncommitted = Some(0));
    doubted(&empty, "nothing uncommitted");
    let mut words = killed();
    step(&mut words, FaultStage::Injected, |step| {
        step.evidence.insert("partitions owned when struck".to_owned(), "none".to_owned());
    });
    doubted(&words, "owned no partition");
}

#[test]
fn positions_tell_who_owned_what_when_it_was_struck() {
    let mut owner = killed();
    position(&mut owner, 100, "consumer-1", 0);
    position(&mut owner, 110, "consumer-2", 1);
    passes(&owner);
    // Somebody else took it over before the act; it came back only afterwards.
    let mut idle = owner.clone();
    position(&mut idle, 200_000, "consumer-2", 0);
    position(&mut idle, 400_000, "consumer-1", 0);
    doubted(&idle, "by what was seen to pass");
    // What an earlier process of that name owned is not its.
    let mut restarted = owner;
    process(&mut restarted, 250_000, 8, ProcessChange::Started, None);
    doubted(&restarted, "by what was seen to pass");
}

#[test]
fn without_a_word_on_owners_the_number_of_members_decides_or_nobody() {
    let mut few = killed();
    drop_facts(&mut few, |f| matches!(f, Fact::Position(_)));
    met(&mut few, |met| met.partitions_owned = None);
    passes(&few);
    let mut many = few.clone();
    for name in ["consumer-2", "consumer-3"] {
        many.process(20, name, "started");
    }
    many.facts.sort_by_key(|(t_us, _, _)| *t_us);
    doubted(&many, "3 members for 2 partitions");
    let mut one_of_two_groups = few;
    let mut other = one_of_two_groups.header.promises.groups[0].clone();
    other.group = "another".to_owned();
    one_of_two_groups.header.promises.groups.push(other);
    let check = check(&one_of_two_groups.judge().unwrap(), "fault-bit");
    assert_eq!(check.status, Status::Pass, "its process names its group: {check:#?}");
}

#[test]
fn commits_deny_what_was_counted_beyond_doubt_only() {
    let mut sample = killed();
    // Two seconds later everything: all had been committed long before.
    for (t_us, _, fact) in &mut sample.facts {
        let late = match fact {
            Fact::Fault(_) => true,
            Fact::Process(p) => p.state == ProcessChange::Exited || p.pid == 9,
            _ => false,
        };
        if late {
            *t_us += 2_000_000;
        }
    }
    sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
    doubted(&sample, "everything was committed when the member was struck");
    // Nobody counted: what was acknowledged and not committed by then decides.
    let mut uncounted = killed();
    met(&mut uncounted, |met| met.records_uncommitted = None);
    passes(&uncounted);
}

#[test]
fn a_pause_freezes_the_same_process() {
    let looks: [&[(&str, &str)]; 3] = [
        &[("pid", "7"), ("started_ticks", "100"), ("state", "S (sleeping)")],
        &[("pid", "7"), ("started_ticks", "100"), ("state", "T (stopped)")],
        &[("pid", "7"), ("started_ticks", "100"), ("state", "S (sleeping)")],
    ];
    let mut paused = run("consumer-pause", "consumer-1", looks);
    drop_facts(&mut paused, |f| matches!(f, Fact::Process(_)));
    process(&mut paused, 10, 7, ProcessChange::Started, None);
    process(&mut paused, STRUCK_US + 500, 7, ProcessChange::Stopped, None);
    process(&mut paused, STRUCK_US + 65_000, 7, ProcessChange::Continued, None);
    passes(&paused);
    let mut awake = paused.clone();
    step(&mut awake, FaultStage::Seen, |step| {
        step.target.as_mut().unwrap().state = Some(RunState::Running);
    });
    doubted(&awake, "was not frozen");
    let mut other = paused.clone();
    step(&mut other, FaultStage::Healed, |step| step.target.as_mut().unwrap().pid = Some(8));
    doubted(&other, "not the same process");
    let mut still = paused.clone();
    step(&mut still, FaultStage::Healed, |step| {
        step.evidence.insert("state after".to_owned(), "T (stopped)".to_owned());
    });
    doubted(&still, "still frozen");
    let mut untold = paused;
    drop_facts(&mut untold, |f| matches!(f, Fact::Process(p) if p.state == ProcessChange::Stopped));
    doubted(&untold, "does not tell that its target was frozen");
}

/// A store that failed, with what of the system under test ran into it.
fn store(version: u32, set: &str, words: &[(&str, &str)], hit: Option<u64>) -> Sample {
    let mut sample = run("store-failure", "store", [&[], &[("link", "pass")], &[]]);
    sample.header.version = version;
    step(&mut sample, FaultStage::Injected, |step| {
        step.evidence.insert("fault".to_owned(), set.to_owned());
    });
    step(&mut sample, FaultStage::Healed, |step| {
        step.evidence.extend(words.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        step.evidence.insert(
            "probe after the fault".to_owned(),
            "listing answered with status 200, 9 bytes".to_owned(),
        );
        step.patient = hit.map(|hit| {
            Box::new(PatientMet { requests: Some(hit), writes: Some(hit), ..PatientMet::default() })
        });
    });
    sample
}

#[test]
fn a_store_fault_needs_a_request_of_the_system_under_test() {
    passes(&store(2, "status 503", &[("requests hit in all", "3")], Some(3)));
    doubted(
        &store(2, "status 503", &[("requests hit in all", "0")], Some(0)),
        "no request of the system",
    );
    doubted(&store(2, "status 503", &[], None), "nobody counted");
    // The words deny what the types claim.
    doubted(
        &store(2, "status 503", &[("requests hit in all", "0")], Some(3)),
        "no request of the system",
    );
    doubted(&store(2, "none", &[("requests hit in all", "3")], Some(3)), "was not set to fail");
}

/// Brokers whose answers were altered on their way, as the proxies told.
fn told(requests: u64, answers: Vec<AlteredAnswer>) -> Sample {
    let mut sample = run("protocol-error", "producer-1", [&[], &[("fault", "Produce")], &[]]);
    sample.header.promises.faults[0].shows = vec![Demand::RequestsHit, Demand::AnswersAltered];
    step(&mut sample, FaultStage::Healed, |step| {
        let met = PatientMet {
            requests: Some(requests),
            answers: answers.clone(),
            ..PatientMet::default()
        };
        step.patient = Some(Box::new(met));
    });
    sample
}

#[test]
fn an_answer_that_the_broker_gave_itself_was_not_altered() {
    let answer = |was: Option<i16>, told: Option<i16>, count: u64| AlteredAnswer {
        api: "Produce".to_owned(),
        version: 10,
        client: "producer-1".to_owned(),
        link: "broker-1".to_owned(),
        partition: Some(0),
        was,
        told,
        throttle_ms: 0,
        count,
    };
    passes(&told(2, vec![answer(Some(0), Some(7), 1), answer(None, Some(7), 1)]));
    passes(&told(1, vec![answer(Some(0), None, 1)]));
    doubted(&told(1, vec![answer(Some(7), Some(7), 1)]), "that is what its client was told");
    doubted(&told(2, vec![answer(Some(0), Some(7), 1)]), "what became of 1 is told");
    doubted(&told(0, Vec::new()), "no request of the system");
    passes(&told(1, vec![AlteredAnswer { throttle_ms: 500, ..answer(Some(0), Some(0), 1) }]));
}

/// Somebody's own command looked before, while and after.
#[test]
fn an_effect_that_was_there_before_or_stays_shows_nothing() {
    let looked = |before: Option<bool>, during: Option<bool>, after: Option<bool>| {
        let mut sample = run("command", "the broker", [&[], &[("effect", "there")], &[]]);
        sample.header.promises.faults[0].shows = vec![Demand::EffectSeen];
        let looks = [
            (FaultStage::Injected, before),
            (FaultStage::Seen, during),
            (FaultStage::Healed, after),
        ];
        for (stage, effect) in looks {
            step(&mut sample, stage, |step| {
                step.target = Some(Box::new(TargetSeen { effect, ..TargetSeen::default() }));
            });
        }
        sample
    };
    let (there, not) = (Some(true), Some(false));
    passes(&looked(not, there, not));
    doubted(&looked(there, there, not), "was there before it began");
    doubted(&looked(not, not, not), "was not there while it lasted");
    doubted(&looked(not, there, there), "was still there afterwards");
    doubted(&looked(None, there, not), "nobody saw its effect come and go");
}

#[test]
fn in_version_1_the_harness_itself_may_be_all_that_was_hit() {
    // A window of 70 ms has room for five looks of the harness.
    doubted(
        &store(1, "status 503", &[("requests hit in all", "5")], None),
        "no request of the system",
    );
    passes(&store(1, "status 503", &[("requests hit in all", "6")], None));
    // The harness writes nothing.
    passes(&store(1, "reset after the write", &[("requests hit in all", "1")], None));
    passes(&store(1, "status 503 to one write in 3", &[("requests hit in all", "1")], None));
}

#[test]
fn a_broker_that_was_not_restarted_or_did_not_fall_silent_did_not_restart() {
    let honest = Sample::honest();
    passes(&honest);
    let mut same = honest.clone();
    step(&mut same, FaultStage::Healed, |step| {
        step.target.as_mut().unwrap().started = Some("10:00:00".to_owned());
    });
    doubted(&same, "started at the same time");
    let mut answered = honest.clone();
    step(&mut answered, FaultStage::Seen, |step| {
        step.target.as_mut().unwrap().answers = Some(true)
    });
    doubted(&answered, "answered while the fault lasted");
    let mut words = honest.clone();
    step(&mut words, FaultStage::Seen, |step| {
        let (name, said) = ("probe during the fault", "ApiVersions answered with 61 APIs");
        step.evidence.insert(name.to_owned(), said.to_owned());
    });
    doubted(&words, "answered while the fault lasted");
    let mut unanswered = honest.clone();
    step(&mut unanswered, FaultStage::Seen, |step| {
        let (name, said) = ("probe during the fault", "connection was not ready");
        step.evidence.insert(name.to_owned(), said.to_owned());
    });
    passes(&unanswered);
    let mut killed = honest.clone();
    step(&mut killed, FaultStage::Seen, |step| {
        step.target.as_mut().unwrap().ended_by = Some(ProcessEnd::Signal(9));
    });
    doubted(&killed, "SIGKILL ended its target");
    let mut alone = honest.clone();
    step(&mut alone, FaultStage::Injected, |step| {
        step.target.as_mut().unwrap().connections = Some(0);
    });
    doubted(&alone, "no client was connected");
    // A mock broker is no process of its own: its port closes and opens.
    let mut mock = honest;
    for (stage, listening) in
        [(FaultStage::Injected, true), (FaultStage::Seen, false), (FaultStage::Healed, true)]
    {
        step(&mut mock, stage, |step| {
            let seen = step.target.as_mut().unwrap();
            (seen.started, seen.pid) = (Some("1".to_owned()), Some(7));
            (seen.listening, seen.ended_by) = (Some(listening), None);
            seen.state = Some(RunState::Running);
        });
    }
    passes(&mock);
}

#[test]
fn a_link_must_have_been_cut_and_no_process_exchanged() {
    let look = |link: &'static str| -> Vec<(&'static str, &'static str)> {
        vec![("pid", "7"), ("started_at", "x"), ("link", link), ("link_open", "3")]
    };
    let (before, during, after) = (look("pass"), look("black hole"), look("pass"));
    let mut cut = run("client-partition", "broker-1", [&before, &during, &after]);
    for (stage, name, said) in [
        (FaultStage::Seen, "probe during the fault", "no answer within 500ms"),
        (FaultStage::Healed, "probe after the fault", "ApiVersions answered with 61 APIs"),
    ] {
        step(&mut cut, stage, |step| {
            step.evidence.insert(name.to_owned(), said.to_owned());
        });
    }
    passes(&cut);
    let mut whole = cut.clone();
    step(&mut whole, FaultStage::Seen, |step| {
        step.target.as_mut().unwrap().link = Some("pass".to_owned());
    });
    doubted(&whole, "let everything pass");
    let mut restarted = cut;
    step(&mut restarted, FaultStage::Healed, |step| {
        step.evidence.insert("started_at after".to_owned(), "y".to_owned());
    });
    doubted(&restarted, "started anew meanwhile");
}

#[test]
fn steps_out_of_their_order_are_not_accepted() {
    for (stage, to) in [
        (FaultStage::Seen, STRUCK_US - 1),
        (FaultStage::Healed, STRUCK_US + 1_500),
        (FaultStage::Injected, STRUCK_US - 1),
    ] {
        let mut sample = killed();
        for (t_us, _, fact) in &mut sample.facts {
            if matches!(fact, Fact::Fault(step) if step.step == stage) {
                *t_us = to;
            }
        }
        // A history keeps the order of each process's facts; the nemesis may tell late.
        for (n, (_, process, fact)) in sample.facts.iter_mut().enumerate() {
            if matches!(fact, Fact::Fault(_)) {
                *process = format!("nemesis-{n}");
            }
        }
        sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
        doubted(&sample, "comes before");
    }
}

#[test]
fn the_load_is_asked_for_while_the_effect_lasts() {
    // Operations end before the effect is seen, and none begins until it has healed.
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| match f {
        Fact::Invoked(i) => (29..36).contains(&i.op),
        Fact::Completed(c) => (29..36).contains(&c.op),
        _ => false,
    });
    doubted(&sample, "no operation was in flight while its effect lasted");
    // All was committed before the orderly stop, and nothing came while it was away.
    let looks: [&[(&str, &str)]; 3] = [
        &[("pid", "7"), ("started_ticks", "100"), ("state", "S (sleeping)")],
        &[("pid", "7"), ("state", "ended: exit status: 0")],
        &[("pid", "9"), ("started_ticks", "300"), ("state", "R (running)")],
    ];
    let mut stopped = run("consumer-restart", "consumer-1", looks);
    drop_facts(&mut stopped, |f| matches!(f, Fact::Process(_)));
    process(&mut stopped, 10, 7, ProcessChange::Started, None);
    let end = Some(ProcessEnd::Code(0));
    process(&mut stopped, STRUCK_US + 500, 7, ProcessChange::Exited, end);
    process(&mut stopped, STRUCK_US + 65_000, 9, ProcessChange::Started, None);
    passes(&stopped);
    for (t_us, _, fact) in &mut stopped.facts {
        if matches!(fact, Fact::Fault(_))
            || matches!(fact, Fact::Process(p) if p.pid == 9 || p.state == ProcessChange::Exited)
        {
            *t_us += 500_000;
        }
    }
    stopped.facts.sort_by_key(|(t_us, _, _)| *t_us);
    doubted(&stopped, "no record waited to be delivered");
}

#[test]
fn a_kind_that_nobody_knows_shows_nothing() {
    let mut sample = killed();
    sample.header.promises.faults[0].kind = "meteor".to_owned();
    doubted(&sample, "nobody says what the evidence");
    sample.header.promises.faults[0].shows = vec![Demand::Killed, Demand::StartedAnew];
    passes(&sample);
}

#[test]
fn a_run_that_was_cut_short_convicts_nobody_of_what_it_left_over() {
    let mut sample = Sample::honest();
    drop_facts(&mut sample, |f| matches!(f, Fact::Committed(c) if c.at_us > 300_000));
    comes(&sample, "recovery", Status::Fail);
    let name = CUT_SHORT.to_owned();
    sample.tell(sample.facts.last().unwrap().0, "runner", Fact::Phase { name });
    comes(&sample, "recovery", Status::Inconclusive);
}
