//! Somebody else lays hands on what was delivered: a part is removed, another one altered and stored once
//! more under another name, a record that no producer of the run sent comes into the topic, in a
//! partition that its key does not lead to, and a dead letter of nothing into the dead-letter topic.
//!
//! The evidence names each place: objects by their names, records as `topic/partition@offset`.
//!
//! No pipeline can make up for it, so a run with it must fail. It is there to try the harness: a run
//! with it that passes was not looked at.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::error::KafkaResult;
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::{ClientConfig, ClientContext};
use serde::Deserialize;
use tokio::time::Instant;

use crate::adapter::streamlake::part;
use crate::fault::{Fault, FaultError, Kind, Order, Shown, Stage, Wrong};
use crate::testbed::gateway::HARNESS_MARK;
use crate::testbed::gateway::backend::ObjectMeta;
use crate::testbed::{Capability, Part, TestbedError};
use streamlake_history::event::{Demand, TargetSeen};
use streamlake_history::murmur2;

pub(super) static KIND: Kind = Kind {
    name: "tampering",
    about: "a part is removed, another altered, foreign records written: a run with it must fail; settings: bucket, topic, dead_letter_topic",
    default_target: "store",
    default_lasts: Duration::ZERO,
    load: None,
    shows: &[Demand::ObjectAltered],
    spares_brokers: true,
    make,
};

/// Two parts must stand in the bucket within this time.
const PARTS_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Key and value of the foreign record: not JSON, so the consumer makes a dead letter of it.
const FOREIGN: &str = "nobody-sent-this";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    bucket: String,
    topic: String,
    dead_letter_topic: String,
}

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    if order.target != "store" {
        let message = format!("`{}` is no target for this fault", order.target);
        return Err(Wrong::Target(message, "name `store`, or leave the target out".to_owned()));
    }
    let settings: Settings = order.settings()?;
    Ok(Box::new(Tampering { settings, removed: String::new(), altered: None }))
}

#[derive(Debug)]
struct Tampering {
    settings: Settings,
    removed: String,
    altered: Option<ObjectMeta>,
}

impl Tampering {
    async fn parts(&self, stage: &Stage) -> Result<Vec<ObjectMeta>, FaultError> {
        let gone = || FaultError::NoTarget(Part::Store.to_string());
        let store = stage.testbed.observer_store().ok_or_else(gone)?;
        let listed = store.list(&self.settings.bucket, "").await;
        let mut parts = listed.map_err(|e| TestbedError::request("listing the store", e))?;
        parts.retain(|meta| meta.name.rsplit('/').next().is_some_and(|n| n.starts_with("part-")));
        Ok(parts)
    }

    /// Waits for a part to remove, the first of the listing, and another one with a first record that can
    /// be altered. Some of the workload's records have no amount.
    async fn two_parts(&self, stage: &Stage) -> Result<[ObjectMeta; 2], FaultError> {
        let deadline = tokio::time::Instant::now() + PARTS_WITHIN;
        loop {
            let parts = self.parts(stage).await?;
            if let Some((first, others)) = parts.split_first() {
                for other in others {
                    let content = self.content(stage, other).await?;
                    if can_be_altered(&content) {
                        return Ok([first.clone(), other.clone()]);
                    }
                }
            }
            if tokio::time::Instant::now() >= deadline {
                let what = "a second part whose first record has an amount".to_owned();
                let (within, last) = (PARTS_WITHIN, format!("{} parts", parts.len()));
                return Err(FaultError::NotSeen { what, within, last });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn content(&self, stage: &Stage, part: &ObjectMeta) -> Result<bytes::Bytes, FaultError> {
        let gone = || FaultError::NoTarget(Part::Store.to_string());
        let store = stage.testbed.observer_store().ok_or_else(gone)?;
        let content = store.read(&self.settings.bucket, &part.name, None).await;
        Ok(content.map_err(|e| TestbedError::request("reading a part", e))?)
    }

    /// Writes to the store as any client would.
    async fn change(
        &self,
        stage: &Stage,
        method: reqwest::Method,
        name: &str,
        body: Vec<u8>,
    ) -> Result<(), FaultError> {
        let access = stage.testbed.store();
        let access = access.ok_or_else(|| FaultError::NoTarget(Part::Store.to_string()))?;
        let url = format!("{}/{}/{name}", access.client_url, self.settings.bucket);
        let failed = |error| TestbedError::request(format!("{method} of {name}"), error);
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN);
        let client = client.build().map_err(failed)?;
        let request = client.request(method.clone(), url).header(HARNESS_MARK, "tampering");
        let answer = request.body(body).send().await;
        answer.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        Ok(())
    }
}

#[async_trait]
impl Fault for Tampering {
    fn needs(&self) -> &'static [Capability] {
        &[Capability::StoreFaults, Capability::Tampering]
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let [removed, altered] = self.two_parts(stage).await?;
        let removed_record = first_record(&removed.name, &self.content(stage, &removed).await?);
        self.change(stage, reqwest::Method::DELETE, &removed.name, Vec::new()).await?;
        let content = self.content(stage, &altered).await?;
        let altered_record = first_record(&altered.name, &content);
        let doubled = doubled_name(&altered.name);
        self.change(stage, reqwest::Method::PUT, &doubled, content.to_vec()).await?;
        let content = with_another_amount(&content);
        self.change(stage, reqwest::Method::PUT, &altered.name, content).await?;
        let (bootstrap, settings) =
            (stage.testbed.observer_bootstrap_servers(), self.settings.clone());
        let written =
            tokio::task::spawn_blocking(move || write_foreign(&bootstrap, &settings)).await;
        let what = "writing foreign records";
        let [record, letter] = written
            .map_err(|error| TestbedError::request(what, error))?
            .map_err(|error| TestbedError::request(what, error))?;
        let mut shown = Shown::default()
            .with("removed", &removed.name)
            .with("altered", &altered.name)
            .with("doubled", doubled)
            .with("foreign record", record)
            .with("foreign dead letter", letter);
        let told = [
            ("removed record", removed_record),
            ("altered record", altered_record.clone()),
            ("doubled record", altered_record),
        ];
        for (name, place) in told {
            shown.words.extend(place.map(|place| (name.to_owned(), place)));
        }
        shown.target = Some(generation(altered.generation));
        (self.removed, self.altered) = (removed.name, Some(altered));
        Ok(shown)
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        let parts = self.parts(stage).await?;
        let before = self.altered.as_ref();
        let now = parts.iter().find(|part| before.is_some_and(|before| before.name == part.name));
        let generations = before.map(|b| b.generation).zip(now.map(|now| now.generation));
        let there = parts.iter().any(|part| part.name == self.removed);
        match generations {
            Some((before, after)) if before != after && !there => {
                let mut shown = Shown::default()
                    .with("generation before", before)
                    .with("generation after", after);
                shown.target = Some(generation(after));
                Ok(shown)
            }
            _ => Err(FaultError::NotSeen {
                what: "a part gone and another one altered".to_owned(),
                within: Duration::ZERO,
                last: format!("removed part there: {there}, generations {generations:?}"),
            }),
        }
    }

    /// There is nothing to undo: what is gone stays gone.
    async fn heal(&mut self, _: &Stage) -> Result<Shown, FaultError> {
        Ok(Shown::default())
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.seen(stage, Instant::now()).await
    }
}

fn generation(generation: u64) -> TargetSeen {
    TargetSeen { generation: Some(generation.to_string()), ..TargetSeen::default() }
}

/// Where the first record of a part comes from.
fn first_record(name: &str, content: &[u8]) -> Option<String> {
    let lines = part::lines(name, content).ok()?;
    let record = part::records(&lines).find_map(Result::ok)?;
    Some(format!("{}/{}@{}", record.topic, record.partition, record.offset))
}

/// The first amount of a part stands in its first record, and nothing but the first record is altered.
fn can_be_altered(content: &[u8]) -> bool {
    let first = content.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    with_another_amount(first) != first
}

/// A name beside a part's own that the pipeline does not come to in a run.
fn doubled_name(name: &str) -> String {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let ending = file.split_once('.').map_or("json", |(_, ending)| ending);
    format!("{folder}/part-9001.{ending}")
}

/// A part in which the first amount has another first digit.
fn with_another_amount(content: &[u8]) -> Vec<u8> {
    let mut altered = content.to_vec();
    let name = b"\"amount\":";
    let place = altered.windows(name.len()).position(|window| window == name);
    if let Some(digit) = place.and_then(|place| altered.get_mut(place + name.len())) {
        *digit = if *digit == b'1' { b'2' } else { b'1' };
    }
    altered
}

/// Remembers where records were written.
#[derive(Default)]
struct Places(Mutex<Vec<String>>);

impl ClientContext for Places {}

impl ProducerContext for Places {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let (Ok(message), Ok(mut places)) = (result, self.0.lock()) {
            let (topic, partition) = (message.topic(), message.partition());
            places.push(format!("{topic}/{partition}@{}", message.offset()));
        }
    }
}

/// Writes the foreign records, that of the topic beside the partition that its key leads to, and says
/// where they stand: first the record, then the dead letter.
fn write_foreign(bootstrap: &str, settings: &Settings) -> KafkaResult<[String; 2]> {
    let topic = settings.topic.as_str();
    let producer: ThreadedProducer<Places> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create_with_context(Places::default())?;
    let metadata = producer.client().fetch_metadata(Some(topic), ANSWER_WITHIN)?;
    let partitions = metadata.topics().first().map_or(1, |topic| topic.partitions().len());
    let partitions = u32::try_from(partitions).unwrap_or(1);
    let own = murmur2::partition(FOREIGN.as_bytes(), partitions);
    let partition = i32::try_from((own + 1) % partitions).unwrap_or_default();
    for (topic, partition) in [(topic, partition), (&settings.dead_letter_topic, 0)] {
        let record = BaseRecord::to(topic).key(FOREIGN).payload(FOREIGN).partition(partition);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(ANSWER_WITHIN)?;
    let context = producer.context().clone();
    let places = context.0.lock().map(|places| places.clone()).unwrap_or_default();
    let of = |name: &str| {
        let known = places.iter().find(|place| place.starts_with(&format!("{name}/")));
        known.cloned().unwrap_or_else(|| format!("{name}: not acknowledged"))
    };
    Ok([of(topic), of(&settings.dead_letter_topic)])
}

#[cfg(test)]
mod tests {
    use super::{can_be_altered, doubled_name, with_another_amount};

    #[test]
    fn the_altered_part_is_as_long_and_says_something_else() {
        let part = br#"{"value":{"order_id":"a","amount":19.5}}"#;
        let altered = with_another_amount(part);
        assert_eq!(altered, br#"{"value":{"order_id":"a","amount":29.5}}"#);
    }

    #[test]
    fn a_part_whose_first_record_has_no_amount_is_not_altered() {
        let with = b"{\"value\":{\"amount\":19.5}}\n".to_vec();
        let without = b"{\"value\":null}\n".to_vec();
        assert!(can_be_altered(&with));
        assert!(!can_be_altered(&without));
        assert!(!can_be_altered(&[without, with].concat()));
    }

    #[test]
    fn a_doubled_part_stands_beside_its_own() {
        assert_eq!(
            doubled_name("g/dataset=o/part-0001.json.zst"),
            "g/dataset=o/part-9001.json.zst"
        );
    }
}
