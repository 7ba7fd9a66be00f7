//! The whole pipeline as processes of its own, on librdkafka's mock cluster and a local directory.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;
use support::{Bed, order};

/// Each receipt's record is stored exactly as it was sent; a signal drains and leaves complete
/// metadata.
#[test]
fn what_is_acknowledged_is_stored_byte_for_byte() {
    let bed = Bed::new(3);
    let input: String = (0..500).map(|n| order(n) + "\n").collect();
    let (code, receipts) = bed.produce(input.as_bytes(), &[]);
    assert_eq!((code, receipts.len()), (0, 500));
    let consumer = bed.consume(&[]);
    let mut ends = [0i64; 3];
    for receipt in &receipts {
        assert_eq!(receipt["outcome"], "acknowledged", "{receipt}");
        let partition = receipt["partition"].as_u64().unwrap() as usize;
        ends[partition] = ends[partition].max(receipt["offset"].as_i64().unwrap() + 1);
    }
    for (partition, end) in ends.iter().enumerate() {
        consumer.wait_for_commit(partition as i32, *end);
    }
    consumer.signal("-TERM");
    let stopped = consumer.events();
    let (code, took) = consumer.wait();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(stopped.iter().any(|event| event["event"] == "assigned"));

    let stored = bed.stored();
    assert_eq!(stored.len(), 500);
    for receipt in &receipts {
        let at =
            (receipt["partition"].as_i64().unwrap() as i32, receipt["offset"].as_i64().unwrap());
        let records = &stored[&at];
        assert_eq!(records.len(), 1, "a duplicate at {at:?}");
        let line = receipt["line"].as_u64().unwrap() as usize - 1;
        assert_eq!(records[0].value.as_deref(), Some(order(line).as_bytes()));
        assert_eq!(records[0].ingestion_id.as_deref(), receipt["ingestion_id"].as_str());
        assert_eq!(records[0].key.as_deref(), receipt["key"].as_str().map(str::as_bytes));
        let names: Vec<_> = records[0].headers.iter().map(|(name, _)| name.as_slice()).collect();
        let expected: [&[u8]; 5] =
            [b"dataset", b"schema_version", b"ingestion_id", b"producer_service", b"ingested_at"];
        assert_eq!(names, expected);
    }
    let folder = support::parts(&bed.path("zone"))[0].parent().unwrap().to_path_buf();
    let metadata: streamlake::raw_zone::metadata::Metadata =
        serde_json::from_slice(&std::fs::read(folder.join("_metadata.json")).unwrap()).unwrap();
    assert_eq!(metadata.parts.iter().map(|part| part.records).sum::<u64>(), 500);
}

/// What the consumer refuses goes to the dead-letter topic with its bytes, and the rest goes on.
#[test]
fn poison_becomes_a_dead_letter_and_nothing_stops() {
    let bed = Bed::new(1);
    let lines = [order(1), "no json".into(), "{\"order_id\":\"x\"}".into(), order(2)];
    let (code, receipts) = bed.produce(lines.join("\n").as_bytes(), &["--schema", "any"]);
    assert_eq!((code, receipts.len()), (0, 4));
    let consumer = bed.consume(&[]);
    consumer.wait_for_commit(0, 4);
    consumer.signal("-TERM");
    let events = consumer.events();
    assert_eq!(consumer.wait().0, Some(0));
    assert_eq!(bed.stored().keys().map(|key| key.1).collect::<Vec<_>>(), [0, 3]);
    let dead: Vec<_> = events.iter().filter(|event| event["event"] == "dead_lettered").collect();
    assert_eq!(dead.len(), 2);
}

/// An event that is not valid is rejected by the producer and lies in the dead-letter topic.
#[test]
fn the_producer_rejects_what_is_not_valid() {
    let bed = Bed::new(1);
    let (code, receipts) = bed.produce(b"nonsense\n", &[]);
    assert_eq!(code, 0);
    assert_eq!(receipts[0]["outcome"], "rejected");
    assert_eq!(receipts[0]["dead_letter"]["topic"], "streamlake.orders.dlq");
}

/// Killed in the middle, the next consumer goes on: nothing is missing.
#[test]
fn a_killed_consumer_loses_nothing() {
    let bed = Bed::new(1);
    let input: String = (0..310).map(|n| order(n) + "\n").collect();
    assert_eq!(bed.produce(input.as_bytes(), &[]).0, 0);
    // The last ten records stay in an open batch: they die with the process.
    let first = bed.consume(&["--batch-records", "50", "--batch-age", "10m"]);
    first.wait_for_commit(0, 50);
    first.signal("-KILL");
    assert_eq!(first.wait().0, None);
    let second = bed.consume(&[]);
    second.wait_for_commit(0, 310);
    second.signal("-TERM");
    assert_eq!(second.wait().0, Some(0));
    assert_eq!(
        bed.stored().keys().map(|key| key.1).collect::<Vec<_>>(),
        (0..310).collect::<Vec<_>>()
    );
}
