//! The pipeline against a Google Cloud Storage that misbehaves.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};
use streamlake::raw_zone::part::read_part;
use support::gcs::{Gcs, Mood};
use support::{Bed, Consumer, order};

struct Stage {
    bed: Bed,
    gcs: Gcs,
    _runtime: tokio::runtime::Runtime,
}

fn stage(records: usize) -> Stage {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let gcs = runtime.block_on(Gcs::start());
    let bed = Bed::new(1);
    let input: String = (0..records).map(|n| order(n) + "\n").collect();
    assert_eq!(bed.produce(input.as_bytes(), &[]).0, 0);
    Stage { bed, gcs, _runtime: runtime }
}

impl Stage {
    fn consume(&self, more: &[&str]) -> Consumer {
        let env = [("GOOGLE_BASE_URL", self.gcs.url.as_str()), ("GOOGLE_BEARER_TOKEN", "x")];
        let args =
            [&["--raw-zone", "gs://bucket/some/prefix", "--batch-age", "100ms"], more].concat();
        self.bed.consume_with(&args, &env)
    }

    /// The stored offsets, in order, duplicates included.
    fn offsets(&self) -> Vec<i64> {
        let objects = self.gcs.objects();
        let parts = objects.iter().filter(|(path, _)| path.contains("/part-"));
        let mut offsets: Vec<_> = parts
            .flat_map(|(_, bytes)| read_part(bytes).unwrap())
            .map(|record| record.offset)
            .collect();
        offsets.sort_unstable();
        offsets
    }
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_there(events: &[serde_json::Value], name: &str) -> bool {
    events.iter().any(|event| event["event"] == name)
}

fn finish(stage: &Stage, consumer: Consumer, records: i64) {
    consumer.wait_for_commit(0, records);
    consumer.signal("-TERM");
    let (code, took) = consumer.wait();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(stage.offsets(), (0..records).collect::<Vec<_>>());
    let replaced = stage.gcs.replaced();
    // The start-up probe replaces its own object, as the metadata will be.
    let may = |path: &String| path.ends_with("/_metadata.json") || path.contains("/raw/.probe-");
    assert!(replaced.iter().all(may), "{replaced:?}");
}

#[test]
fn refusals_are_waited_out_without_commits_or_dead_letters() {
    let stage = stage(100);
    let consumer = stage.consume(&[]);
    consumer.wait_for("the assignment", |events| events.iter().any(|e| e["event"] == "assigned"));
    stage.gcs.set(Mood::Refuses(503));
    let more: String = (100..200).map(|n| order(n) + "\n").collect();
    stage.bed.produce(more.as_bytes(), &[]);
    std::thread::sleep(Duration::from_secs(3));
    let events = consumer.events();
    assert!(events.iter().any(|event| event["event"] == "retrying"));
    assert!(!events.iter().any(|event| event["event"] == "dead_lettered"));
    let early = events.iter().filter(|event| event["event"] == "committed");
    assert!(early.filter_map(|event| event["offset"].as_i64()).all(|offset| offset <= 100));
    stage.gcs.set(Mood::Well);
    finish(&stage, consumer, 200);
}

/// The answer to the first write is lost, the object is there: no second one is written.
#[test]
fn a_write_whose_answer_is_lost_is_not_written_twice() {
    for mood in [Mood::StoresAndFails, Mood::StoresAndHangs] {
        let stage = stage(100);
        let consumer = stage.consume(&["--store-timeout", "1s"]);
        consumer.wait_for("the probe's end", |events| is_there(events, "configured"));
        stage.gcs.set(mood);
        wait_until("a part", || !stage.offsets().is_empty());
        stage.gcs.set(Mood::Well);
        finish(&stage, consumer, 100);
    }
}

#[test]
fn a_store_that_overwrites_is_refused_at_start_up() {
    let stage = stage(1);
    stage.gcs.set(Mood::IgnoresConditions);
    let (code, _) = stage.consume(&[]).wait();
    assert_eq!(code, Some(1));
    assert!(stage.gcs.objects().is_empty(), "the probe left something behind");
}

#[test]
fn a_signal_is_obeyed_in_time_while_the_store_is_away() {
    let stage = stage(100);
    let consumer = stage.consume(&["--shutdown-deadline", "3s"]);
    consumer.wait_for("the probe's end", |events| is_there(events, "configured"));
    stage.gcs.set(Mood::Refuses(503));
    consumer.wait_for("a retry", |events| events.iter().any(|e| e["event"] == "retrying"));
    consumer.signal("-TERM");
    let (code, took) = consumer.wait();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_millis(3_300), "{took:?}");
    assert!(stage.offsets().is_empty());
    stage.gcs.set(Mood::Well);
    finish(&stage, stage.consume(&[]), 100);
}
