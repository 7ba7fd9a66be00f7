//! Dead letters of a consumer that is somebody's own: each record of its dead-letter topic.

use std::time::Duration;

use rdkafka::message::Message as _;

use super::LettersPlan;
use super::lines::{self, Oddity};
use super::mapping::Around;
use super::resolve::Resolver;
use crate::adapter::{Reading, Unread};
use crate::observer::{Topics, log, native, reader};
use crate::plan::GroupPlan;
use crate::workload::op_of;
use streamlake_history::event::{Blob, DeadLetter, Fact, Print, ValuePromise};

const READ_WITHIN: Duration = Duration::from_secs(120);
/// The checks that hang on what became a dead letter.
const LETTERS: [&str; 5] =
    ["dead-letters", "no-loss", "no-gap", "commit-frontier", "group-independence"];

/// Reads the topic to its end. Blocks for as long as that takes.
pub(super) fn read(
    group: &GroupPlan,
    plan: &LettersPlan,
    reading: &Reading<'_>,
) -> Result<(), Unread> {
    let failed = |error: rdkafka::error::KafkaError| Unread(format!("{}: {error}", plan.topic));
    let process = format!("log-reader {}", plan.topic);
    let brokers = reading.testbed.observer_brokers();
    let client = reader(&brokers, "streamlake-harness-log-reader").map_err(failed)?;
    let topics = Topics::from([(plan.topic.clone(), 1)]);
    let mut resolver = Resolver::new(reading.known);
    let (mut unplaced, recorder) = (Oddity::default(), reading.recorder);
    let ends = log::each(&client, &topics, READ_WITHIN, |message| {
        let value = message.payload();
        let read = lines::whole(&plan.record, value, Around::message(&native::headers(message)));
        let own = |read: &super::mapping::Line| {
            read.value.as_ref().map(|value| value.print(ValuePromise::Bytes, None))
        };
        let found = read.as_ref().map_err(Clone::clone).and_then(|read| {
            // A letter of which nobody can say where its record stood is one of nothing.
            resolver.find(&read.said, own(read))
        });
        if let Err(why) = &found {
            unplaced.add(|| format!("offset {}: {why}", message.offset()));
        }
        let source = found.ok();
        let logged = source.as_ref().and_then(|(t, p, o)| reading.known.at(t, *p, *o));
        let print = read.as_ref().ok().and_then(|read| read.value.as_ref());
        let print = print.map(|value| value.print(plan.record.compare, logged));
        let key = read.as_ref().ok().and_then(lines::key);
        recorder.record(
            &process,
            Fact::DeadLetter(DeadLetter {
                topic: plan.topic.clone(),
                partition: message.partition().unsigned_abs(),
                offset: message.offset().unsigned_abs(),
                created_us: recorder
                    .run_us_of_wall_ms(message.timestamp().to_millis().unwrap_or(0)),
                op: value.and_then(op_of),
                key: key.or_else(|| message.key().map(|key| Blob(key.to_vec()))),
                value: print.unwrap_or(Print::UNTOLD),
                headers: Print::UNTOLD,
                group: Some(group.group.clone()),
                source,
                ..DeadLetter::default()
            }),
        );
    });
    for bounds in ends.map_err(failed)? {
        recorder.record(&process, Fact::LogBounds(bounds));
    }
    unplaced.tell(
        &process,
        &LETTERS,
        &format!(
            "dead letters of group {} of which nobody can say whose record they are",
            group.group
        ),
        "make `[group.dead_letters]` `record` point to where it stands",
        recorder,
    );
    Ok(())
}
