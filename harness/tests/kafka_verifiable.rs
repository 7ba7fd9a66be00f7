//! Kafka's own test clients, run for real, judged by what they print.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use futures::FutureExt as _;
use streamlake_harness::testbed::docker::{DockerTestbed, ImageSet};
use streamlake_harness::testbed::{Part, Testbed as _, TopicSpec, Topology};

const TOPIC: &str = "orders";
const RECORDS: usize = 600;
/// The listener for those who are within the broker's container.
const WITHIN: &str = "localhost:9095";

/// Past the test harness, which swallows what passing tests print.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn topology() -> Topology {
    Topology {
        brokers: 1,
        broker_properties: BTreeMap::new(),
        topics: vec![TopicSpec {
            name: TOPIC.into(),
            partitions: 3,
            replication: 1,
            properties: BTreeMap::new(),
        }],
        buckets: Vec::new(),
        database: false,
        change_data_capture: false,
        worker_properties: BTreeMap::new(),
        start_within: Duration::from_secs(120),
    }
}

/// Runs one of Kafka's tools in the broker's container and gives what it prints.
fn tool(container: &str, name: &str, arguments: &[&str]) -> String {
    let script = format!("/opt/kafka/bin/{name}.sh");
    let output = Command::new("docker")
        .args(["exec", container, &script, "--bootstrap-server", WITHIN, "--topic", TOPIC])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn consume(container: &str, group: &str, more: &[&str]) -> String {
    let records = RECORDS.to_string();
    let arguments = [&["--group-id", group, "--max-messages", &records], more].concat();
    tool(container, "kafka-verifiable-consumer", &arguments)
}

/// What the clients print, as files: a producer, a group that counts, one that shows its records, and
/// one that reads the log back after them.
fn run_the_clients(container: &str, folder: &Path) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let records = RECORDS.to_string();
    let keyed = ["--max-messages", &records, "--acks", "-1", "--repeating-keys", "40"];
    write("producer.jsonl", &tool(container, "kafka-verifiable-producer", &keyed));
    std::thread::scope(|scope| {
        scope.spawn(|| write("counts.jsonl", &consume(container, "counts", &[])));
        scope.spawn(|| write("shows.jsonl", &consume(container, "shows", &["--verbose"])));
    });
    let mut log = consume(container, "reads-back", &["--verbose"]);
    for end in ["earliest", "latest"] {
        log += &tool(container, "kafka-get-offsets", &["--time", end]);
    }
    write("log.jsonl", &log);
}

fn check(folder: &Path, shows: &str, counts: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_streamlake-harness"))
        .args(["check", "--from", "kafka-verifiable", "--partitioner", "murmur2"])
        .args(["--log", "log.jsonl", "producer.jsonl"])
        .args([&format!("shows/member-1={shows}"), &format!("counts/member-1={counts}")])
        .current_dir(folder)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Takes the middle one of the lines that fit out of a file, and gives it.
fn without_one(folder: &Path, from: &str, to: &str, fits: &str) -> String {
    let text = std::fs::read_to_string(folder.join(from)).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let places: Vec<usize> = (0..lines.len()).filter(|&n| lines[n].contains(fits)).collect();
    let gone = lines.remove(places[places.len() / 2]);
    std::fs::write(folder.join(to), lines.join("\n") + "\n").unwrap();
    gone.to_owned()
}

fn judge_what_they_printed(folder: &Path) {
    let whole = check(folder, "shows.jsonl", "counts.jsonl");
    say(&said(&whole));
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole));
    assert!(said(&whole).contains("600 records were acknowledged"), "{}", said(&whole));

    let gone = without_one(folder, "shows.jsonl", "one-less.jsonl", "\"record_data\"");
    let gone: serde_json::Value = serde_json::from_str(&gone).unwrap();
    let lost = check(folder, "one-less.jsonl", "counts.jsonl");
    say(&said(&lost));
    assert_eq!(lost.status.code(), Some(1), "{}", said(&lost));
    let named = format!(
        "1 record of {TOPIC}/{} lost to group `shows` (group `counts` has them): {}",
        gone["partition"], gone["offset"]
    );
    assert!(said(&lost).contains(&named), "{named} is not in {}", said(&lost));

    without_one(folder, "counts.jsonl", "polls-less.jsonl", "\"records_consumed\"");
    let lost = check(folder, "shows.jsonl", "polls-less.jsonl");
    assert_eq!(lost.status.code(), Some(1), "{}", said(&lost));
    assert!(said(&lost).contains("lost to group `counts`"), "{}", said(&lost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine and the images of the docker testbed: `just images`"]
async fn kafkas_own_test_clients_are_judged_by_what_they_print() {
    DockerTestbed::sweep().await.unwrap();
    let images = ImageSet::from_environment().unwrap();
    let testbed = DockerTestbed::start(&topology(), &images).await.unwrap();
    let story = async {
        let container = testbed.observe(&Part::Broker(1)).await.unwrap()["container"].clone();
        let folder = tempfile::tempdir().unwrap();
        let judging = tokio::task::spawn_blocking(move || {
            run_the_clients(&container, folder.path());
            judge_what_they_printed(folder.path());
        });
        judging.await.unwrap();
    };
    // Taken down whatever becomes of the story.
    let told = AssertUnwindSafe(story).catch_unwind().await;
    testbed.stop().await.unwrap();
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}
