//! Runs whose faults miss the system under test, or whose processes die: none may pass, and none may hang.
//! Each is a real run through the command line.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

const HEAD: &str = "title = \"t\"\ncriterion = \"c\"\nstory = \"s\"\nexpected = \"e\"\n\
    testbeds = [\"embedded\", \"docker\"]\n";

/// The store answers with 503 for a second in which the pipeline has nothing to write.
const STORE: &str = "[workload]\nrecords = 100\nrate_per_s = 10\n\
    [[group]]\nname = \"g\"\nbatch_age = \"8s\"\n\
    [[fault]]\nkind = \"store-failure\"\nat = \"2s\"\nlasts = \"1s\"\nsettings = { mode = \"unavailable\" }\n";

/// Six members share one partition. At most one of the two that are struck can own it.
fn idle(kind: &str) -> String {
    let fault = |member: u32| {
        format!(
            "[[fault]]\nkind = \"{kind}\"\ntarget = \"consumer-{member}\"\nat = \"2s\"\nlasts = \"1s\"\n"
        )
    };
    format!(
        "[cluster]\npartitions = 1\n[workload]\nrecords = 300\nrate_per_s = 20\n\
         [[group]]\nname = \"g\"\nmembers = 6\nproperties = {{ \"session.timeout.ms\" = \"6000\" }}\n{}{}",
        fault(5),
        fault(6)
    )
}

/// A consumer that ends at its start: it never commits the quarter that its fault waits for.
const DEAD: &str = "[workload]\nrecords = 500\nrate_per_s = 50\n\
    [[group]]\nname = \"g\"\nproperties = { \"no.such.property\" = \"x\" }\n\
    [[fault]]\nkind = \"consumer-kill\"\nat = \"25% of committed\"\n";

struct Ran {
    code: i32,
    /// The reasons of the check `fault-bit`, and its status before them.
    fault_bit: String,
    /// The whole report.
    report: String,
}

fn run(testbed: &str, scenario: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("scenarios")).unwrap();
    std::fs::write(folder.path().join("scenarios/missed.toml"), format!("{HEAD}{scenario}"))
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamlake-harness"));
    command.args(["run", "missed", "--testbed", testbed]).current_dir(folder.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let path =
        folder.path().join(format!("runs/reports/partial/{testbed}/kafka-delivery-report.json"));
    let report = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: {output:?}", path.display()));
    let parsed: serde_json::Value = serde_json::from_str(&report).unwrap();
    let fault_bit = find(&parsed, "fault-bit").expect("the check stands in the report").to_string();
    Ran { code: output.status.code().unwrap(), fault_bit, report }
}

/// The check of this name, wherever it stands.
fn find<'a>(value: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    if value.get("check").and_then(|check| check.as_str()) == Some(name) {
        return Some(value);
    }
    match value {
        serde_json::Value::Array(values) => values.iter().find_map(|value| find(value, name)),
        serde_json::Value::Object(values) => values.values().find_map(|value| find(value, name)),
        _ => None,
    }
}

fn inconclusive(ran: &Ran, reason: &str) {
    assert!(ran.fault_bit.contains("\"status\":\"inconclusive\""), "{}", ran.fault_bit);
    assert!(ran.fault_bit.contains(reason), "{}", ran.fault_bit);
    assert_eq!(ran.code, 3, "{}", ran.report);
}

fn faults_that_miss(testbed: &str) {
    let store = run(testbed, STORE);
    inconclusive(&store, "a request of the system under test that ran into the fault was not seen");
    for kind in ["consumer-kill", "consumer-pause"] {
        inconclusive(&run(testbed, &idle(kind)), "owned");
    }
}

#[test]
fn faults_that_miss_the_system_under_test_prove_nothing() {
    faults_that_miss("embedded");
}

#[test]
#[ignore = "needs a container engine with the images of the docker testbed; takes two minutes"]
fn nor_do_they_on_real_brokers() {
    faults_that_miss("docker");
}

#[test]
fn a_process_that_dies_ends_the_run_and_is_heard() {
    let dead = run("embedded", DEAD);
    assert_ne!(dead.code, 0, "{}", dead.report);
    assert!(
        dead.report.contains("consumer-1 ended without having been told to"),
        "{}",
        dead.report
    );
    assert!(dead.report.contains("no.such.property"), "its last line: {}", dead.report);
    assert!(dead.fault_bit.contains("the run ended before its trigger"), "{}", dead.fault_bit);
}
