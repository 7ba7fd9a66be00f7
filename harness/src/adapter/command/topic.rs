//! Delivery into another topic: each of its records is one that was delivered.
//!
//! It is read as a reader of committed records reads it: what an aborted transaction left behind was
//! not delivered.

use std::time::Duration;

use rdkafka::message::Message as _;

use super::lines::Delivered;
use crate::adapter::Unread;
use crate::observer::{Topics, committed_reader, log, native};
use streamlake_history::event::{Object, ObjectRole};

const READ_WITHIN: Duration = Duration::from_secs(120);

/// Reads a topic to its end. Blocks for as long as that takes.
pub(super) fn read(name: &str, partitions: u32, mut sink: Delivered<'_>) -> Result<(), Unread> {
    let failed = |error: rdkafka::error::KafkaError| Unread(format!("topic {name}: {error}"));
    let brokers = sink.reading().testbed.observer_brokers();
    let client = committed_reader(&brokers, "streamlake-harness-log-reader").map_err(failed)?;
    let topics = Topics::from([(name.to_owned(), partitions)]);
    let ends = log::each(&client, &topics, READ_WITHIN, |message| {
        let created_ms = message.timestamp().to_millis().unwrap_or(0);
        let (partition, offset) = (message.partition(), message.offset());
        let value = message.payload();
        let object = Object {
            object: sink.next_object(),
            raw_zone: sink.raw_zone().to_owned(),
            name: format!("{name}/{partition}/{offset}"),
            // A record of a log is written once.
            generation: "0".to_owned(),
            created_us: sink.recorder().run_us_of_wall_ms(created_ms),
            bytes: value.map_or(0, <[u8]>::len) as u64,
            role: ObjectRole::Part,
            ..Object::default()
        };
        sink.message(object, value, &native::headers(message));
    });
    let ends = ends.map_err(failed)?;
    if let Some(unread) = ends.iter().find(|ends| !ends.complete) {
        return Err(Unread(format!(
            "{name}/{} was not read to its end within {READ_WITHIN:?}",
            unread.partition
        )));
    }
    sink.close();
    Ok(())
}
