//! A report to try formats on: a pass, a pass repeated, an anomaly, doubt, and what has not run,
//! with hostile names throughout. `STREAMLAKE_SAMPLE_REPORT=<folder>` makes a test write it there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    Again, Canary, CleanRow, Observed, Observer, Planted, Proof, ScenarioEntry, ScenarioReport,
    SuiteReport, TrialRow, Undetectable,
};
use streamlake_history::event::{
    About, Committed, Completed, Event, Evidence, Fact, FaultStage, FaultStep, GroupPromise,
    Header, Invoked, Object, ObjectRole, Outcome, PlannedFault, Print, Probe, Promises, RunInfo,
    Stored,
};
use streamlake_judge::verdict::{
    CheckResult, Finding, GroupTally, OffsetRange, Status, Tally, Verdict, WindowTally,
};

/// What markup, terminals and eyes trip over.
pub(super) const HOSTILE: &str = "k|<script>alert(1)</script>\n# h `x` ```\u{1b}[31mred\u{202e}txt.exe ]]> </svg> \"q\" 'q' &amp;";

/// Strings made mostly of what markup, terminals and eyes trip over.
pub(super) fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("|".to_owned()),
        Just("\\".to_owned()),
        Just("`".to_owned()),
        Just("```".to_owned()),
        Just("<script>alert(1)</script>".to_owned()),
        Just("</svg>".to_owned()),
        Just("]]>".to_owned()),
        Just("&#60;".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n# x".to_owned()),
        Just("\u{1b}[31m".to_owned()),
        Just("\u{1b}]0;title\u{7}".to_owned()),
        Just("\u{9b}31m".to_owned()),
        Just("\u{202e}".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("\u{0}".to_owned()),
        Just("[x](javascript:alert(1))".to_owned()),
        Just("![x](https://a/b.png)".to_owned()),
        any::<String>(),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// One run that failed, with hostile text wherever a run takes text from outside.
pub(super) fn hostile_suite(text: &str) -> SuiteReport {
    let mut header = scenario(text, text, Some(text), 1);
    let run = &mut header.run;
    run.testbed = text.into();
    run.commit = text.into();
    run.started_at = text.into();
    run.components = BTreeMap::from([(text.into(), text.into())]);
    run.limits = vec![text.into()];
    run.about.configuration = BTreeMap::from([(text.into(), text.into())]);
    let mut verdict = failed();
    verdict.tally.duplicates_by_cause = BTreeMap::from([(text.into(), 1)]);
    verdict.tally.windows[0].kind = text.into();
    verdict.tally.windows[0].target = text.into();
    verdict.tally.windows[0].evidence = BTreeMap::from([(text.into(), text.into())]);
    for check in &mut verdict.checks {
        check.check = text.into();
        check.guarantee = text.into();
        check.summary = text.into();
        for finding in &mut check.findings {
            finding.anomaly = text.into();
            finding.message = text.into();
            finding.group = Some(text.into());
            finding.evidence = vec![text.into()];
        }
    }
    let ScenarioEntry::Ran(mut run) = ran(header, verdict) else { unreachable!() };
    run.history_file = text.into();
    let again = again(text);
    run.again = Some(again.clone());
    let broken = ScenarioEntry::NotCarriedOut {
        name: text.into(),
        about: about(text, None),
        testbed: text.into(),
        seed: 1,
        reason: text.into(),
        again,
    };
    let not_run =
        ScenarioEntry::NotRun { name: text.into(), about: about(text, None), command: text.into() };
    let scenarios = vec![ScenarioEntry::Ran(run), broken, not_run];
    let (canary, proof) = (Some(canary(&["no-loss"], text)), Some(proof(text)));
    let (command, selection) = (text.into(), vec![text.into()]);
    let (partial, interrupted) = (true, false);
    let rest = SuiteReport::default();
    SuiteReport { command, scenarios, selection, partial, interrupted, canary, proof, ..rest }
}

/// What a reader can do about a run.
fn again(text: &str) -> Again {
    Again {
        run: format!("streamlake-harness run {text}"),
        check: format!("streamlake-harness check {text}"),
        logs: vec![format!("runs/{text}/consumer-1.log")],
        planted: Some(text.into()),
    }
}

pub(super) fn suite() -> SuiteReport {
    let mut scenarios = vec![
        ran(
            scenario("broker-restart", "Broker restart", Some("SC-003"), 42),
            passed("broker-restart", 4_300_000, 0),
        ),
        ran(
            scenario("consumer-kill", "Consumer kill", None, 42),
            passed("consumer-kill", 40_000, 37),
        ),
        ran(scenario("broker-pause", "Broker pause", None, 42), failed()),
        ran(scenario("hostile", HOSTILE, Some(HOSTILE), 7), doubtful()),
    ];
    for seed in 1..=3 {
        let run = scenario("network-partition", "Network partition", None, seed);
        scenarios.push(ran(run, passed("network-partition", 10_000_000 + seed * 100_000, 2)));
    }
    scenarios.push(ScenarioEntry::NotRun {
        name: "debezium-offset".into(),
        about: about("Debezium offset recovery", None),
        command: "cargo run -- run debezium-offset --testbed docker".into(),
    });
    scenarios.push(ScenarioEntry::NotApplicable {
        name: "isr-shrink".into(),
        about: about("In-sync replicas shrink", None),
        testbed: "embedded".into(),
        reason: "the embedded cluster knows no in-sync replicas".into(),
    });
    let (canary, proof) =
        (canary(&["no-loss", "fidelity"], "runs/docker/canary-1/history.jsonl"), proof("c370279"));
    SuiteReport {
        command: "just test-kafka-delivery".into(),
        scenarios,
        canary: Some(canary),
        proof: Some(proof),
        ..SuiteReport::default()
    }
}

/// A canary of which two checks had to find something.
pub(super) fn canary(failed: &[&str], history_file: &str) -> Canary {
    Canary {
        testbed: "docker".into(),
        ran: true,
        planted: ["no-loss", "fidelity"]
            .map(|check| Planted {
                what: "a record".into(),
                check: check.into(),
                place: "orders/0 offset 7".into(),
                found: failed.contains(&check),
            })
            .to_vec(),
        history_file: history_file.into(),
    }
}

/// A trial of two bugs, of which the testbed can show one.
pub(super) fn proof(text: &str) -> Proof {
    let row = |bug: &str, runs| TrialRow {
        bug: bug.into(),
        scenario: "plain".into(),
        check: "fidelity".into(),
        runs,
        caught: runs,
        also: vec![text.into()],
    };
    Proof {
        testbed: "docker".into(),
        commit: text.into(),
        seed: 1,
        trials: vec![row("header-lost", 3), row("stale-assignment", 0)],
        clean: vec![CleanRow {
            scenario: "plain".into(),
            runs: 3,
            alarms: 0,
            unclear: 0,
            checks: vec![],
        }],
        undetectable: vec![Undetectable { what: text.into(), why: text.into() }],
    }
}

pub(super) fn ran(header: Header, verdict: Verdict) -> ScenarioEntry {
    let history_file = format!("histories/{}.ndjson", header.run.scenario);
    let observed = observe(&header, &verdict.tally);
    let again = None;
    ScenarioEntry::Ran(Box::new(ScenarioReport { header, verdict, observed, history_file, again }))
}

fn about(title: &str, id: Option<&str>) -> About {
    About {
        title: title.into(),
        id: id.map(Into::into),
        criterion: "No acknowledged record is lost.".into(),
        story: "A thousand orders are produced while a part of the system goes away.".into(),
        expected: "Producers keep what is not acknowledged and deliver it after the heal.".into(),
        configuration: BTreeMap::from([
            ("Messages".into(), "1000".into()),
            ("Throughput".into(), "100/s".into()),
        ]),
    }
}

pub(super) fn scenario(name: &str, title: &str, id: Option<&str>, seed: u64) -> Header {
    let run = RunInfo {
        scenario: name.into(),
        testbed: "docker".into(),
        seed,
        started_at: format!("2026-11-21T02:14:{seed:02}.000000Z"),
        harness_version: "0.1.0".into(),
        commit: "c370279".into(),
        components: BTreeMap::from([
            ("kafka".into(), "4.1.0, apache/kafka:4.1.0, sha256:0123456789abcdef".into()),
            ("librdkafka".into(), "2.12.1".into()),
        ]),
        limits: vec!["One broker: nothing is said of elections.".into()],
        about: about(title, id),
    };
    let promises = Promises {
        operations: 1_000,
        topics: BTreeMap::from([("streamlake.orders.raw".into(), 3)]),
        partitioner: Some("murmur2_random".into()),
        idempotent: true,
        key_order: true,
        partition_order: false,
        groups: vec![GroupPromise {
            group: "streamlake-consumer-orders".into(),
            raw_zone: Some("gs://lake/raw/dataset=orders".into()),
            dead_letter_topic: None,
            keeps_members: false,
            ..GroupPromise::default()
        }],
        faults: vec![PlannedFault {
            fault: 0,
            kind: name.into(),
            target: "broker-1".into(),
            needs_load: true,
            ..PlannedFault::default()
        }],
        recovery_within_us: 30_000_000,
        evidence: vec![Evidence::Receipts, Evidence::Log, Evidence::Objects],
        ..Promises::default()
    };
    Header { format: "streamlake-history".into(), version: 1, run, promises }
}

pub(super) fn check(name: &str, status: Status, summary: &str) -> CheckResult {
    CheckResult {
        check: name.into(),
        guarantee: "Each acknowledged record is in the log where its receipt says.".into(),
        status,
        summary: summary.into(),
        reasons: Vec::new(),
        figures: BTreeMap::from([("checked_records".into(), 1_000)]),
        findings: Vec::new(),
    }
}

fn tally(kind: &str, unavailability_us: u64, copies: u64) -> Tally {
    let healed = 4_000_000 + unavailability_us.max(500_000);
    let causes = BTreeMap::from([("redelivery after consumer-kill (fault 0)".into(), copies)]);
    Tally {
        invoked: 1_000,
        acknowledged: 1_000,
        logged: 1_000,
        groups: BTreeMap::from([(
            "streamlake-consumer-orders".into(),
            GroupTally { stored: 1_000, duplicates: copies, parts: 14, lag_end: 0 },
        )]),
        duplicates_by_cause: if copies > 0 { causes } else { BTreeMap::new() },
        windows: vec![WindowTally {
            fault: 0,
            kind: kind.into(),
            target: "broker-1".into(),
            injecting_us: Some(4_000_000),
            seen_us: Some(4_210_000),
            healed_us: Some(healed),
            first_ack_after_us: Some(healed + 120_000),
            recovered_us: Some(healed + 830_000),
            recovered_in: Some("streamlake.orders.raw/2, group streamlake-consumer-orders".into()),
            unavailability_us: Some(unavailability_us),
            unavailability_open: false,
            in_flight: 312,
            evidence: BTreeMap::from([
                ("pid before".into(), "4711".into()),
                ("pid after".into(), "4801".into()),
                ("container before".into(), "0123456789ab".into()),
                ("container during".into(), "0123456789ab".into()),
                ("container after".into(), "0123456789ab".into()),
                ("probe during the fault".into(), "connection reset".into()),
            ]),
        }],
        longest_unavailability_us: Some(unavailability_us),
        longest_unavailability_from_us: Some(4_050_000),
        unavailability_open: false,
        longest_standstill_us: Some(unavailability_us / 2),
        longest_standstill_from_us: Some(4_060_000),
        longest_standstill_in: Some("orders/1, group streamlake-consumer-orders".into()),
        standstill_open: false,
        latency_p50_us: Some(6_200),
        latency_p99_us: Some(4_100_000),
        latency_max_us: Some(4_300_000),
        length_us: 18_000_000,
        ..Tally::default()
    }
}

fn passed(kind: &str, unavailability_us: u64, copies: u64) -> Verdict {
    let mut not_asked = check("cdc", Status::NotApplicable, "No source database.");
    not_asked.guarantee = "Each committed source row has its events.".into();
    Verdict {
        status: Status::Pass,
        checks: vec![
            check("acknowledged-is-durable", Status::Pass, "1,000 of 1,000 are where promised."),
            check("fault-bit", Status::Pass, "1 of 1 fault bit and healed"),
            not_asked,
        ],
        tally: tally(kind, unavailability_us, copies),
    }
}

fn failed() -> Verdict {
    let finding = |number: u64| Finding {
        anomaly: "lost-after-commit".into(),
        message: format!("Record {number} was committed past and is stored nowhere; key {HOSTILE}"),
        group: Some("streamlake-consumer-orders".into()),
        topic: Some("streamlake.orders.raw".into()),
        partition: Some(1),
        offsets: vec![OffsetRange { first: number, last: number + 2 }],
        ops: vec![number],
        at_us: Some(5_120_000),
        fault: Some(0),
        evidence: vec![format!("committed offset 130 at 5.120 s {HOSTILE}")],
    };
    let mut loss = check("no-loss", Status::Fail, "25 records are lost | really.");
    loss.guarantee = "Each logged record below the committed offset is stored.".into();
    loss.findings = (100..125).map(finding).collect();
    let mut tally = tally("broker-pause", 10_050_000, 0);
    tally.lost = 25;
    tally.gaps = 25;
    Verdict {
        status: Status::Fail,
        checks: vec![check("acknowledged-is-durable", Status::Pass, "All there."), loss],
        tally,
    }
}

fn doubtful() -> Verdict {
    let mut bit = check("the-fault-bit", Status::Inconclusive, HOSTILE);
    bit.reasons = vec!["The fault was not seen from outside.".into(), HOSTILE.into()];
    bit.guarantee = HOSTILE.into();
    let mut tally = tally("broker-restart", 20_000, 0);
    tally.unknown = 3;
    tally.windows[0].seen_us = None;
    tally.windows[0].recovered_us = None;
    tally.windows[0].evidence = BTreeMap::from([(HOSTILE.into(), HOSTILE.into())]);
    Verdict { status: Status::Inconclusive, checks: vec![bit], tally }
}

pub(super) fn event(process: &str, t_us: u64, fact: Fact) -> Event {
    Event { t_us, process: process.into(), seq: t_us, fact }
}

/// A load of 100 a second that stops being acknowledged while its fault lasts.
pub(super) fn facts(tally: &Tally) -> Vec<Event> {
    let window = &tally.windows[0];
    let (from, to) = (window.injecting_us.unwrap(), window.first_ack_after_us.unwrap());
    let mut events = configuration();
    for op in 0..1_000_u64 {
        let invoked = 500_000 + op * 10_000;
        let acked = if (from..to).contains(&invoked) { to + op * 200 } else { invoked + 6_000 };
        let (partition, offset) = ((op % 3) as u32, op / 3);
        let topic = "streamlake.orders.raw".to_owned();
        let outcome = Outcome::Acknowledged { topic: topic.clone(), partition, offset };
        events.push(event("producer-1", invoked, invocation(op)));
        events.push(event("producer-1", acked, Fact::Completed(Completed::new(op, None, outcome))));
        events.extend(delivery(op, partition, offset, acked));
    }
    events.extend(fault(window, from, to));
    events
}

fn invocation(op: u64) -> Fact {
    let topic = "streamlake.orders.raw".to_owned();
    Fact::Invoked(Invoked { op, topic, value: Print(op), bytes: 200, ..Invoked::default() })
}

/// Every 70th record closes a part, and a commit follows.
fn delivery(op: u64, partition: u32, offset: u64, acked: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let part = (op / 70) as u32;
    let topic = "streamlake.orders.raw".to_owned();
    let name = format!("raw/part-{part:04}.json");
    if op.is_multiple_of(70) {
        events.push(event(
            "store-reader",
            30_000_000,
            Fact::Object(Object {
                object: part,
                raw_zone: "gs://lake/raw/dataset=orders".into(),
                name,
                generation: "1".into(),
                created_us: acked + 900_000,
                bytes: 20_000,
                role: ObjectRole::Part,
                ..Object::default()
            }),
        ));
    }
    events.push(event(
        "store-reader",
        30_000_000,
        Fact::Stored(Stored {
            object: part,
            line: (op % 70) as u32 + 1,
            topic: topic.clone(),
            partition,
            offset,
            timestamp_ms: Some(0),
            op: Some(op),
            ingestion_id: None,
            key: None,
            value: Print(op),
            ..Stored::default()
        }),
    ));
    if op % 70 >= 67 || op >= 997 {
        let group = "streamlake-consumer-orders".to_owned();
        let at_us = acked + 1_100_000;
        let fact = Committed { group, topic, partition, offset: offset + 1, at_us, exact: true };
        events.push(event("commit-watch", at_us, Fact::Committed(fact)));
    }
    events
}

fn fault(window: &WindowTally, from: u64, to: u64) -> Vec<Event> {
    let step = |at: u64, step| {
        let evidence = window.evidence.clone();
        event(
            "nemesis",
            at,
            Fact::Fault(FaultStep { fault: 0, step, evidence, target: None, patient: None }),
        )
    };
    let probe = |at: u64, answered| {
        let detail = if answered { "metadata" } else { "connection refused" };
        let fact = Probe { target: "broker-1".into(), answered, detail: detail.into() };
        event("prober", at, Fact::Probe(fact))
    };
    let note = Fact::Note { level: "warning".into(), text: HOSTILE.into() };
    vec![
        step(from, FaultStage::Injecting),
        probe(from + 210_000, false),
        step(from + 210_000, FaultStage::Seen),
        probe(to - 100_000, true),
        step(to - 100_000, FaultStage::Healed),
        event("runner", to, note),
    ]
}

fn configuration() -> Vec<Event> {
    let read = |of: &str, pairs: &[(&str, &str)]| {
        let properties =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        event("runner", 0, Fact::Configuration { of: of.into(), properties, process: None })
    };
    vec![
        read(
            "producer",
            &[
                ("acks", "-1"),
                ("retries", "2147483647"),
                ("max.in.flight.requests.per.connection", "5"),
                ("queue.buffering.max.kbytes", "1048576"),
                ("retry.backoff.ms", "100"),
                ("request.timeout.ms", "30000"),
                ("message.timeout.ms", "300000"),
                ("enable.idempotence", "true"),
                ("partitioner", "murmur2_random"),
            ],
        ),
        read("broker-1", &[("min.insync.replicas", "1")]),
        read("topic streamlake.orders.raw", &[("replication.factor", "1")]),
        read("consumer", &[("enable.auto.commit", "false"), ("auto.offset.reset", "earliest")]),
    ]
}

pub(super) fn observe(header: &Header, tally: &Tally) -> Observed {
    let mut observer = Observer::new(header);
    facts(tally).iter().for_each(|event| observer.observe(event));
    observer.finish()
}
