//! Groups whose consumer is not the built-in pipeline: what they did not promise is not asked, and what
//! they did is.

use super::*;

/// The honest run as one of a consumer of somebody's own: it tells nothing of headers, timestamps and ids.
fn own() -> Sample {
    let mut sample = Sample::honest();
    let group = &mut sample.header.promises.groups[0];
    group.free_layout = true;
    group.topics = vec![TOPIC.to_owned()];
    group.consumer = Some(ConsumerPromise {
        stop_signal: 15,
        restarts_at_most: 1,
        keeps_objects: true,
        keeps_keys: true,
        values: ValuePromise::Bytes,
        letter_values: ValuePromise::Bytes,
    });
    change(&mut sample, |fact| match fact {
        Fact::Stored(stored) => {
            stored.timestamp_ms = Some(UNTOLD_MS);
            stored.headers = Print::UNTOLD;
            (stored.header_list, stored.ingestion_id, stored.ingested_ms) = (None, None, None);
        }
        Fact::DeadLetter(letter) if letter.group.is_some() => {
            letter.headers = Print::UNTOLD;
            (letter.header_list, letter.ingestion_id) = (None, None);
            (letter.error, letter.trace, letter.failed_ms) = (None, None, None);
            letter.source_timestamp_ms = None;
        }
        _ => {}
    });
    // Metadata is the pipeline's, and so are the settings of its consumers.
    drop_facts(&mut sample, |fact| match fact {
        Fact::Object(object) => object.role != ObjectRole::Part,
        Fact::Configuration { of, .. } => of == "consumer",
        _ => false,
    });
    sample
}

fn promise(sample: &mut Sample, change: impl Fn(&mut ConsumerPromise)) {
    sample.header.promises.groups[0].consumer.iter_mut().for_each(change);
}

#[test]
fn what_is_the_pipelines_alone_is_not_asked_of_others() {
    let verdict = own().judge().unwrap();
    for name in ["metadata", "placement"] {
        assert_eq!(check(&verdict, name).status, Status::NotApplicable);
    }
    for name in [
        "no-loss",
        "no-gap",
        "commit-frontier",
        "fidelity",
        "identity",
        "immutability",
        "duplicates",
        "exits",
    ] {
        let check = check(&verdict, name);
        assert_eq!(check.status, Status::Pass, "{check:#?}");
    }
    let fidelity = check(&verdict, "fidelity").summary;
    assert!(fidelity.ends_with("keys and values, byte for byte"), "{fidelity}");
}

#[test]
fn values_and_keys_are_compared_as_far_as_they_were_promised() {
    let value = |sample: &mut Sample| {
        change(sample, |fact| match fact {
            Fact::Stored(stored) if stored.op == Some(17) => stored.value = Print(1),
            _ => {}
        })
    };
    let key = |sample: &mut Sample| {
        change(sample, |fact| match fact {
            Fact::Stored(stored) if stored.op == Some(17) => stored.key = None,
            _ => {}
        })
    };
    let mut sample = own();
    value(&mut sample);
    found(&sample, "fidelity", "stored-differs");
    let mut sample = own();
    key(&mut sample);
    found(&sample, "fidelity", "stored-differs");
    promise(&mut sample, |consumer| consumer.keeps_keys = false);
    comes(&sample, "fidelity", Status::Pass);
    let untold = |fact: &mut Fact| {
        if let Fact::Stored(stored) = fact {
            stored.value = Print::UNTOLD
        }
    };
    change(&mut sample, untold);
    promise(&mut sample, |consumer| consumer.values = ValuePromise::Untold);
    comes(&sample, "fidelity", Status::Pass);
    let summary = check(&sample.judge().unwrap(), "fidelity").summary;
    assert!(summary.ends_with("their places only"), "{summary}");
}

#[test]
fn a_replaced_object_is_an_anomaly_if_none_was_to_be_replaced() {
    let mut sample = own();
    change(&mut sample, |fact| match fact {
        Fact::Object(object) if object.during_run && object.object == 3 => {
            object.generation = "0".to_owned()
        }
        _ => {}
    });
    found(&sample, "immutability", "part-replaced");
    promise(&mut sample, |consumer| consumer.keeps_objects = false);
    comes(&sample, "immutability", Status::NotApplicable);
}

/// The consumer ends so, and is started again if that was by itself.
fn ends(sample: &mut Sample, asked: Option<Ask>, ends: &[ProcessEnd]) {
    drop_facts(
        sample,
        |fact| matches!(fact, Fact::Process(p) if p.role() == Some(ProcessRole::Consumer)),
    );
    let state = |state, asked, end| {
        Fact::Process(ProcessState {
            name: "consumer-1".to_owned(),
            pid: 1,
            state,
            status: None,
            role: Some(ProcessRole::Consumer),
            group: Some(GROUP.to_owned()),
            asked,
            end,
        })
    };
    for (number, end) in (0..).zip(ends) {
        let at = END_US - 2_000 + number * 20;
        sample.tell(at, "supervisor", state(ProcessChange::Started, None, None));
        sample.tell(at + 10, "supervisor", state(ProcessChange::Exited, asked, Some(*end)));
    }
}

#[test]
fn a_process_may_end_by_itself_as_often_as_was_promised() {
    let died = ProcessEnd::Code(1);
    let mut once = own();
    ends(&mut once, None, &[died]);
    comes(&once, "exits", Status::Pass);
    let summary = check(&once.judge().unwrap(), "exits").summary;
    assert!(summary.contains("1 end of a process by itself"), "{summary}");
    let mut twice = own();
    ends(&mut twice, None, &[died, died]);
    found(&twice, "exits", "crash-loop");
    let mut never = own();
    promise(&mut never, |consumer| consumer.restarts_at_most = 0);
    ends(&mut never, None, &[died]);
    found(&never, "exits", "ended-unasked");
}

#[test]
fn a_crash_loop_names_the_offset_at_which_its_group_stands() {
    let mut sample = own();
    ends(&mut sample, None, &[ProcessEnd::Code(1), ProcessEnd::Code(1)]);
    // Nobody commits the last records of a partition.
    drop_facts(
        &mut sample,
        |fact| matches!(fact, Fact::Committed(c) if c.partition == 1 && c.offset > 10),
    );
    let exits = check(&sample.judge().unwrap(), "exits");
    let finding = exits.findings.iter().find(|finding| finding.anomaly == "crash-loop").unwrap();
    let told = finding.evidence.join("; ");
    assert!(told.contains("stands at offset"), "{told}");
    assert!(told.contains("the record there is not poison"), "{told}");
    assert_eq!((finding.partition, finding.group.as_deref()), (Some(1), Some(GROUP)));
    assert_eq!(finding.offsets.len(), 1);
}

#[test]
fn a_process_may_end_by_the_signal_that_asks_it_to_stop() {
    for (end, status) in [
        (ProcessEnd::Code(0), Status::Pass),
        (ProcessEnd::Signal(15), Status::Pass),
        (ProcessEnd::Code(143), Status::Pass),
        (ProcessEnd::Code(1), Status::Fail),
        (ProcessEnd::Signal(6), Status::Fail),
    ] {
        let mut sample = own();
        ends(&mut sample, Some(Ask::Stop), &[end]);
        comes(&sample, "exits", status);
    }
    let mut pipeline = own();
    pipeline.header.promises.groups[0].consumer = None;
    ends(&mut pipeline, Some(Ask::Stop), &[ProcessEnd::Signal(15)]);
    found(&pipeline, "exits", "stopped-in-disorder");
}
