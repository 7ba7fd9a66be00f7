//! What made a consumer stand still in silence, or end with the wrong word: a refused OffsetFetch, a
//! standard error that nobody reads, two signals at once, a health check that calls idleness a stall.

#![allow(clippy::unwrap_used)]

mod support;

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Bed, Consumer, order};

fn produce(bed: &Bed, numbers: std::ops::Range<usize>) {
    let input: String = numbers.map(|n| order(n) + "\n").collect();
    assert_eq!(bed.produce(input.as_bytes(), &[]).0, 0);
}

/// The status and body of a GET.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn address(consumer: &Consumer) -> String {
    consumer.wait_for("an address", |events| events.iter().any(|e| e["event"] == "listening"));
    let events = consumer.events();
    let listening = events.iter().find(|event| event["event"] == "listening").unwrap();
    listening["http"].as_str().unwrap().to_owned()
}

/// Asks until the answer is as wanted; the last answer is in the complaint.
fn until(address: &str, path: &str, wanted: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (status, answer) = get(address, path);
        if status == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{path} is not {wanted}: {answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// librdkafka asks for a partition's offset once; refused, it never fetches it (issue 5586).
#[test]
fn a_refused_offset_fetch_is_noticed_and_the_partition_taken_on_again() {
    let bed = Bed::new(1);
    produce(&bed, 0..20);
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR];
    bed.cluster.request_errors(RDKafkaApiKey::OffsetFetch, &refusals);
    let consumer = bed.consume(&[]);
    consumer.wait_for_commit(0, 20);
    assert!(consumer.events().iter().any(|event| event["event"] == "retaken"), "it was refused");
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
    assert_eq!(bed.stored().len(), 20);
}

/// An idempotent producer that was refused a sequence refuses everything from then on. One that writes dead
/// letters must be replaced, or nothing behind the letter is ever committed.
#[test]
fn a_dead_letter_producer_that_met_a_fatal_error_is_replaced() {
    let bed = Bed::new(1);
    let poison = "{\"order_id\":\"1\"}\n".repeat(3);
    assert_eq!(bed.produce(poison.as_bytes(), &["--schema", "any"]).0, 0);
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER];
    bed.cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    let consumer = bed.consume(&[]);
    consumer.wait_for_commit(0, 3);
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
}

/// A broker refuses a batch for its size, and with it letters that are small. None of them may end the
/// pipeline, which would meet them again at each start.
#[test]
fn dead_letters_that_are_refused_for_their_batch_are_sent_alone() {
    let bed = Bed::new(1);
    let poison = "{\"order_id\":\"1\"}\n".repeat(50);
    assert_eq!(bed.produce(poison.as_bytes(), &["--schema", "any"]).0, 0);
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE];
    bed.cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    let consumer = bed.consume(&["-X", "dlq.linger.ms=200"]);
    consumer.wait_for_commit(0, 50);
    let letters = consumer.events();
    let letters = letters.iter().filter(|event| event["event"] == "dead_lettered");
    assert_eq!(letters.count(), 50);
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
}

/// A log reader that goes away must not end the work, nor leave a process that does nothing.
#[test]
fn a_closed_standard_error_changes_nothing() {
    let bed = Bed::new(1);
    produce(&bed, 0..50);
    let events = bed.path("events.jsonl");
    let zone = bed.zone();
    let mut child = Command::new(env!("CARGO_BIN_EXE_streamlake"))
        .args(["consume", "--dataset", "orders", "--raw-zone", &zone, "--log", "debug", "--events"])
        .arg(&events)
        .env("KAFKA_BOOTSTRAP_SERVERS", bed.cluster.bootstrap_servers())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let consumer = Consumer::of(child, events);
    consumer.wait_for_commit(0, 50);
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
}

/// Nor may one that stands still: a pager, a log driver that blocks.
#[test]
fn a_standard_error_that_nobody_reads_holds_up_nothing() {
    let bed = Bed::new(1);
    // Each gives a line of log; together they are many times what a pipe holds.
    let input = "not an order\n".repeat(2_000);
    assert_eq!(bed.produce(input.as_bytes(), &["--schema", "any"]).0, 0);
    let events = bed.path("events.jsonl");
    let zone = bed.zone();
    let mut child = Command::new(env!("CARGO_BIN_EXE_streamlake"))
        .args(["consume", "--dataset", "orders", "--raw-zone", &zone, "--events"])
        .arg(&events)
        .env("KAFKA_BOOTSTRAP_SERVERS", bed.cluster.bootstrap_servers())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let unread = child.stderr.take();
    let consumer = Consumer::of(child, events);
    consumer.wait_for_commit(0, 2_000);
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
    drop(unread);
}

/// What the broker refuses at the first join, and will always refuse, is no weather.
#[test]
fn a_session_timeout_that_the_brokers_do_not_allow_ends_it() {
    let bed = Bed::new(1);
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT; 20];
    bed.cluster.request_errors(RDKafkaApiKey::JoinGroup, &refusals);
    assert_eq!(bed.consume(&[]).wait().0, Some(1));
}

/// A process that waits for its store has not joined its group, and says so.
#[test]
fn a_store_that_is_away_at_the_start_is_unhealthy() {
    let bed = Bed::new(1);
    let nowhere = [
        ("GOOGLE_BASE_URL", "http://127.0.0.1:1"),
        ("GOOGLE_ALLOW_HTTP", "true"),
        ("GOOGLE_BEARER_TOKEN", "x"),
    ];
    let args = ["--raw-zone", "gs://b", "--http", "127.0.0.1:0", "--stall-after", "1s"];
    let consumer = bed.consume_with(&args, &nowhere);
    let address = address(&consumer);
    until(&address, "/healthz", 503);
    assert!(get(&address, "/healthz").1.contains("object store"));
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
}

/// Supervisors send a signal to the process and to its group.
#[test]
fn a_second_termination_does_not_spoil_the_drain() {
    let bed = Bed::new(1);
    let consumer = bed.consume(&["--batch-age", "1h"]);
    produce(&bed, 0..30);
    consumer.wait_for("an assignment", |events| events.iter().any(|e| e["event"] == "assigned"));
    consumer.signal("-TERM");
    consumer.signal("-TERM");
    let events = bed.path("events-1.jsonl");
    assert_eq!(consumer.wait().0, Some(0));
    let text = std::fs::read_to_string(events).unwrap();
    assert!(text.contains(r#""drained":true"#), "{text}");
}

/// Nothing to do is no stall: neither at the start, nor after a restart.
#[test]
fn an_idle_consumer_is_healthy_after_a_restart() {
    let bed = Bed::new(2);
    produce(&bed, 0..20);
    let http = ["--http", "127.0.0.1:0", "--stall-after", "1s", "-X", "statistics.interval.ms=500"];
    let ends = |consumer: &Consumer| {
        consumer.wait_for("all commits", |events| {
            let commits = events.iter().filter(|event| event["event"] == "committed");
            let mut ends = [0; 2];
            for commit in commits {
                let partition = commit["partition"].as_u64().unwrap() as usize;
                ends[partition] = commit["offset"].as_i64().unwrap();
            }
            ends.iter().sum::<i64>() == 20
        });
    };
    let consumer = bed.consume(&http);
    ends(&consumer);
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
    let consumer = bed.consume(&http);
    let address = address(&consumer);
    until(&address, "/readyz", 200);
    // Longer than a stall may last: by then an idle partition that counts as work would show.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let (status, answer) = get(&address, "/healthz");
        assert_eq!(status, 200, "{answer}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let (_, metrics) = get(&address, "/metrics");
    let lag = metrics.lines().filter(|line| line.starts_with("streamlake_lag_records"));
    assert!(lag.clone().count() == 2 && lag.clone().all(|line| line.ends_with(" 0")), "{metrics}");
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
}

/// A topic that nobody has made is no idleness.
#[test]
fn a_topic_that_is_not_there_is_unhealthy() {
    let bed = Bed::new(1);
    let more = ["--topic", "no.such.topic", "--http", "127.0.0.1:0", "--stall-after", "1s"];
    let consumer = bed.consume(&[&more[..], &["-X", "allow.auto.create.topics=false"]].concat());
    let address = address(&consumer);
    until(&address, "/healthz", 503);
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
}

/// What the receipts and the commits rest on is not to be set otherwise.
#[test]
fn settings_that_break_a_promise_are_refused() {
    let bed = Bed::new(1);
    let zone = bed.zone();
    let consume = ["consume", "--dataset", "orders", "--raw-zone", &zone];
    let produce = ["produce", "--dataset", "orders"];
    for (command, property) in [
        (&produce[..], "acks=0"),
        (&consume[..], "dlq.acks=1"),
        (&consume[..], "auto.offset.reset=error"),
        (&consume[..], "enable.auto.commit=true"),
    ] {
        let (code, _) = bed.run(&[command, &["-X", property]].concat());
        assert_eq!(code, 2, "{property}");
    }
}
