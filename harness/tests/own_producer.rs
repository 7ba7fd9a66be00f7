//! Producers that are not the pipeline's: one that says what became of each record passes, one that says more
//! than is so is convicted, and of one that says nothing the log is the truth.
//!
//! The producer is this test program run again: the one test [`producer_process`] becomes it.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Statistics};
use serde_json::{Value, json};
use support::Ran;

/// What the producer is to do, for the process that it is.
const MODE: &str = "OWN_PRODUCER_MODE";
const SOON: Duration = Duration::from_secs(30);

#[test]
fn producer_process() {
    if let Ok(mode) = std::env::var(MODE) {
        produce(&mode);
    }
}

/// The test framework has words of its own for standard output: receipts go to what the shell saved of it.
struct Receipts {
    out: Option<File>,
}

impl Receipts {
    fn tell(&self, receipt: &Value) {
        if let Some(mut out) = self.out.as_ref() {
            out.write_all(format!("{receipt}\n").as_bytes()).unwrap();
        }
    }
}

impl ClientContext for Receipts {
    fn stats(&self, _: Statistics) {}
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, line: Box<u64>) {
        let receipt = match result {
            Ok(sent) => json!({"line": *line, "outcome": "acknowledged", "topic": sent.topic(),
                "partition": sent.partition(), "offset": sent.offset()}),
            Err((error, _)) => {
                json!({"line": *line, "outcome": "unknown", "error": error.to_string()})
            }
        };
        self.tell(&receipt);
    }
}

fn of_run(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is in the environment"))
}

/// Sends each line's record; in one mode every seventh is said to be written and is not.
fn produce(mode: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", of_run("STREAMLAKE_BOOTSTRAP_SERVERS"));
    config.set("client.id", of_run("STREAMLAKE_MEMBER"));
    config.set("enable.idempotence", "true").set("partitioner", "murmur2_random");
    config.set("linger.ms", "5");
    let out = (mode != "silent").then(|| File::options().write(true).open("/dev/fd/3").unwrap());
    let context = Receipts { out };
    let producer: BaseProducer<Receipts> = config.create_with_context(context).unwrap();
    let topic = of_run("STREAMLAKE_TOPIC");
    for (number, line) in (1_u64..).zip(std::io::stdin().lock().lines()) {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (key, value) = (record["key"].as_str().unwrap(), record["value"].as_str().unwrap());
        if mode == "liar" && number % 7 == 3 {
            producer
                .context()
                .tell(&json!({"line": number, "outcome": "acknowledged", "topic": topic,
                "partition": 0, "offset": 100_000 + number}));
        } else {
            let record = BaseRecord::with_opaque_to(&topic, Box::new(number));
            producer.send(record.key(key).payload(value)).unwrap();
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(SOON).unwrap();
}

const HEAD: &str = "title = \"t\"\ncriterion = \"c\"\nstory = \"s\"\nexpected = \"e\"\n\
    testbeds = [\"embedded\"]\n[workload]\nrecords = 240\nrate_per_s = 80\nvariety = \"plain\"\n\
    [[group]]\nname = \"lake\"\n[recovery]\nwithin = \"20s\"\n";

fn run(folder: &Path, mode: &str, producer: &str, more: &str) -> Ran {
    let program = std::env::current_exe().unwrap();
    let shell =
        format!("exec {} producer_process --exact --nocapture 3>&1 1>&2", program.display());
    let scenario = format!(
        "{HEAD}[producer]\ncommand = [\"sh\", \"-c\", {shell:?}]\n\
         environment = {{ {MODE} = \"{mode}\" }}\n{producer}\n{more}"
    );
    Ran::of(folder, &scenario)
}

const RESTART: &str =
    "[[fault]]\nkind = \"broker-restart\"\nat = \"40% of invoked\"\nlasts = \"500ms\"\n";

#[test]
fn a_producer_that_says_what_became_of_each_record_passes_through_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let promises = "partitioner = \"murmur2_random\"\nidempotent = true";
    let ran = run(folder.path(), "honest", promises, RESTART);
    assert_eq!((ran.code, ran.odd()), (Some(0), vec![]), "{}", ran.output);
    for check in
        ["acknowledged-is-durable", "partition-determinism", "no-loss", "outcomes", "exits"]
    {
        assert_eq!(ran.status(check), "pass", "{}", ran.check(check));
    }
    // Nothing was said of ingestion ids.
    assert!(ran.status("identity").starts_with("not"), "{}", ran.check("identity"));
}

#[test]
fn a_producer_that_says_more_than_is_so_is_convicted() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), "liar", "", "");
    assert_eq!(ran.code, Some(1), "{}", ran.output);
    let durable = ran.check("acknowledged-is-durable");
    assert_eq!(durable["status"], "fail", "{durable}");
    assert!(ran.status("partition-determinism").starts_with("not"), "nothing was promised");
}

#[test]
fn of_a_producer_that_says_nothing_the_log_is_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), "silent", "receipts = \"none\"", RESTART);
    assert_eq!((ran.code, ran.odd()), (Some(0), vec![]), "{}", ran.output);
    for check in ["acknowledged-is-durable", "outcomes"] {
        assert!(ran.status(check).starts_with("not"), "{}", ran.check(check));
    }
    for check in ["no-loss", "no-gap", "commit-frontier", "fidelity"] {
        assert_eq!(ran.status(check), "pass", "{}", ran.check(check));
    }
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    for (producer, message) in [
        ("receipts = \"xml\"", "receipts cannot be read as `xml`"),
        ("partitioner = \"mine\"", "there is no partitioner `mine`"),
        ("properties = { acks = \"1\" }", "are of the built-in producer"),
    ] {
        let ran = run(folder.path(), "honest", producer, "");
        assert_eq!(ran.code, Some(2), "{}", ran.output);
        let text: String = ran.output.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(message), "{text}");
    }
    let absent = HEAD.to_owned() + "[producer]\ncommand = [\"no-such-program\"]\n";
    let ran = Ran::of(folder.path(), &absent);
    assert!(ran.code == Some(2) && ran.output.contains("there is no program"), "{}", ran.output);
    assert!(!folder.path().join("runs").exists(), "nothing was started");
}
