//! Consumers that are not the pipeline's, driven by the harness's own command line: what is right passes,
//! what is wrong is convicted with its offsets, and what nobody can see is inconclusive.
//!
//! The consumer is this test program run again: the one test [`consumer_process`] becomes it, as its
//! environment says. It is a small one, with the client library alone.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use support::Ran;

/// What the consumer is to do, for the process that it is.
const MODE: &str = "OWN_CONSUMER_MODE";
const BATCH: Duration = Duration::from_millis(200);
const SOON: Duration = Duration::from_secs(30);

#[test]
fn consumer_process() {
    if let Ok(mode) = std::env::var(MODE) {
        consume(&mode);
    }
}

fn of_run(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is in the environment"))
}

/// Reads and delivers until it is told to stop, which it does not hear: the signal ends it.
fn consume(mode: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", of_run("STREAMLAKE_BOOTSTRAP_SERVERS"));
    config.set("client.id", of_run("STREAMLAKE_MEMBER"));
    let producer: BaseProducer = config.create().unwrap();
    let consumer: BaseConsumer = config
        .set("group.id", of_run("STREAMLAKE_GROUP"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "6000")
        .set("reconnect.backoff.max.ms", "500")
        .create()
        .unwrap();
    consumer.subscribe(&[&of_run("STREAMLAKE_TOPIC")]).unwrap();
    let mut batch: BTreeMap<(String, i32), (Vec<Value>, i64)> = BTreeMap::new();
    let mut begun = Instant::now();
    loop {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
            let place = (message.topic().to_owned(), message.partition());
            let line = line(&message, mode);
            if mode == "commit-first" {
                commit(&consumer, &place, message.offset() + 1);
            }
            let entry = batch.entry(place).or_default();
            entry.0.extend(line);
            entry.1 = message.offset() + 1;
        }
        if begun.elapsed() < BATCH {
            continue;
        }
        begun = Instant::now();
        for (place, (lines, next)) in std::mem::take(&mut batch) {
            match mode {
                "topic" => to_topic(&producer, &lines),
                _ => to_file(&place, next, &lines),
            }
            if mode != "commit-first" {
                commit(&consumer, &place, next);
            }
        }
    }
}

/// What is delivered of a record; in one mode every seventh is forgotten.
fn line(message: &rdkafka::message::BorrowedMessage<'_>, mode: &str) -> Option<Value> {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| BASE64.encode(bytes));
    let place = json!({ "partition": message.partition(), "offset": message.offset() });
    match mode {
        "forgetful" if message.offset() % 7 == 3 => None,
        "nameless" => Some(json!({ "value": text(message.payload()) })),
        "by-operation" => {
            Some(json!({ "order": serde_json::from_slice::<Value>(message.payload()?).unwrap() }))
        }
        _ => Some(json!({
            "at": place,
            "key": text(message.key()),
            "value": text(message.payload()),
        })),
    }
}

/// Writes under another name and renames: from then on the file counts.
fn to_file((topic, partition): &(String, i32), next: i64, lines: &[Value]) {
    let folder = PathBuf::from(of_run("STREAMLAKE_DELIVERY"));
    let name = format!("{topic}-{partition}-{next}-{}", std::process::id());
    let (open, closed) = (folder.join(format!("{name}.tmp")), folder.join(format!("{name}.jsonl")));
    let mut file = std::fs::File::create(&open).unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file.sync_all().unwrap();
    std::fs::rename(open, closed).unwrap();
}

/// Hands each record on to the topic of the delivery, its place in headers.
fn to_topic(producer: &BaseProducer, lines: &[Value]) {
    let topic = of_run("STREAMLAKE_DELIVERY");
    for line in lines {
        let value = BASE64.decode(line["value"].as_str().unwrap()).unwrap();
        let (partition, offset) =
            (line["at"]["partition"].to_string(), line["at"]["offset"].to_string());
        let headers = OwnedHeaders::new()
            .insert(Header { key: "from-partition", value: Some(&partition) })
            .insert(Header { key: "from-offset", value: Some(&offset) });
        producer.send(BaseRecord::<(), _>::to(&topic).payload(&value).headers(headers)).unwrap();
    }
    producer.flush(SOON).unwrap();
}

fn commit(consumer: &BaseConsumer, (topic, partition): &(String, i32), next: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, *partition, Offset::Offset(next)).unwrap();
    // One that is refused is made up for by the next.
    let _ = consumer.commit(&list, CommitMode::Sync);
}

const HEAD: &str = "title = \"t\"\ncriterion = \"c\"\nstory = \"s\"\nexpected = \"e\"\n\
    testbeds = [\"embedded\"]\n[workload]\nrecords = 240\nrate_per_s = 60\nvariety = \"plain\"\n\
    [recovery]\nwithin = \"20s\"\n";
const RECORD: &str = "record = { partition = \"/at/partition\", offset = \"/at/offset\", key_base64 = \"/key\", value_base64 = \"/value\" }";

/// Runs a scenario with the consumer in one of its modes.
fn run(folder: &Path, mode: &str, delivery: &str, more: &str) -> Ran {
    let program = std::env::current_exe().unwrap();
    let scenario = format!(
        "{HEAD}[[group]]\nname = \"sink\"\n[group.consumer]\n\
         command = [{program:?}, \"consumer_process\", \"--exact\", \"--nocapture\"]\n\
         environment = {{ {MODE} = \"{mode}\" }}\nstop = {{ within = \"5s\" }}\n\
         [group.delivery]\n{delivery}\n{more}"
    );
    Ran::of(folder, &scenario)
}

fn files() -> String {
    format!("kind = \"files\"\ninclude = \"*.jsonl\"\n{RECORD}")
}

const KILL: &str =
    "[[fault]]\nkind = \"consumer-kill\"\nat = \"30% of committed\"\nlasts = \"1s\"\n";

#[test]
fn a_right_consumer_that_writes_files_passes_through_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), "files", &files(), KILL);
    assert_eq!((ran.code, ran.odd()), (Some(0), vec![]), "{}", ran.output);
    for check in [
        "no-loss",
        "no-gap",
        "commit-frontier",
        "fidelity",
        "immutability",
        "duplicates",
        "fault-bit",
        "exits",
    ] {
        assert_eq!(ran.status(check), "pass", "{}", ran.check(check));
    }
    for check in ["metadata", "placement", "dead-letters"] {
        assert!(ran.status(check).starts_with("not"), "{}", ran.check(check));
    }
    let fidelity = ran.check("fidelity")["summary"].to_string();
    assert!(fidelity.contains("keys and values, byte for byte"), "{fidelity}");
}

#[test]
fn a_consumer_that_forgets_records_is_convicted_with_their_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), "forgetful", &files(), "");
    assert_eq!(ran.code, Some(1), "{}", ran.output);
    let loss = ran.check("no-loss");
    assert_eq!(loss["status"], "fail", "{loss}");
    let findings = loss["findings"].as_array().unwrap();
    assert!(!findings.is_empty());
    for finding in findings {
        assert_eq!(finding["anomaly"], "lost-after-commit", "{finding}");
        for range in finding["offsets"].as_array().unwrap() {
            assert_eq!(
                (range["first"].as_u64().unwrap() % 7, &range["first"]),
                (3, &range["last"])
            );
        }
    }
}

#[test]
fn a_consumer_that_commits_before_it_delivers_is_convicted_without_any_fault() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), "commit-first", &files(), "");
    assert_eq!(ran.code, Some(1), "{}", ran.output);
    assert_eq!(ran.status("commit-frontier"), "fail", "{}", ran.check("commit-frontier"));
    // Whether anything is lost is a matter of luck: it is stopped once it has committed all.
}

#[test]
fn what_does_not_say_which_record_it_is_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), "nameless", &files(), "");
    assert_eq!(ran.code, Some(3), "{}", ran.output);
    let loss = ran.check("no-loss").to_string();
    assert!(loss.contains("does not say which record it is"), "{loss}");
    assert_eq!(ran.status("no-loss"), "inconclusive", "{loss}");
}

#[test]
fn records_are_found_by_the_number_in_their_payload() {
    let folder = tempfile::tempdir().unwrap();
    let delivery = "kind = \"files\"\ninclude = \"*.jsonl\"\n\
         record = { op = \"/order/op\", value = \"/order\" }\ncompare = \"json\"";
    let ran = run(folder.path(), "by-operation", delivery, "");
    assert_eq!((ran.code, ran.odd()), (Some(0), vec![]), "{}", ran.output);
    let fidelity = ran.check("fidelity")["summary"].to_string();
    assert!(fidelity.contains("their values, as JSON"), "{fidelity}");
}

#[test]
fn a_job_from_topic_to_topic_is_judged_by_the_headers_of_what_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let delivery = "kind = \"topic\"\n\
         record = { headers = { partition = \"from-partition\", offset = \"from-offset\" } }";
    let ran = run(folder.path(), "topic", delivery, KILL);
    assert_eq!((ran.code, ran.odd()), (Some(0), vec![]), "{}", ran.output);
    assert!(ran.status("immutability").starts_with("not"), "{}", ran.check("immutability"));
}

#[test]
fn a_consumer_that_is_not_there_or_never_joins_is_told_before_anything_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = |command: &str, more: &str| {
        format!(
            "{HEAD}[[group]]\nname = \"sink\"\n[group.consumer]\ncommand = {command}\n{more}\n\
             [group.delivery]\n{}",
            files()
        )
    };
    let run = |text: String| {
        std::fs::write(folder.path().join("own.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamlake-harness"));
        command.args(["run", "own.toml"]).current_dir(folder.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(scenario("[\"no-such-program\"]", ""));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("there is no program no-such-program"), "{text}");
    assert!(!folder.path().join("runs").exists(), "nothing was started");
    let idle = "[\"sh\", \"-c\", \"echo I am not a member; exec sleep 600\"]";
    let (code, text) = run(scenario(idle, "ready_within = \"1s\""));
    assert_eq!(code, Some(2), "{text}");
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("0 of 1 members") && text.contains("I am not a"), "{text}");
}
