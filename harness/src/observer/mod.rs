//! The observers: what can be seen from outside while a run goes on and after it.
//!
//! None of them asks the system under test anything. They read what a broker and a store hold, with
//! clients of their own that belong to no group under test.

pub(crate) mod clocks;
pub(crate) mod commits;
pub(crate) mod configuration;
pub(crate) mod coordination;
mod generations;
pub(crate) mod known;
pub(crate) mod log;
pub(crate) mod native;
pub(crate) mod probes;
pub(crate) mod source;
pub(crate) mod store;

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;

use crate::testbed::{Part, Testbed};

/// How the harness's own clients reach the brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brokers {
    /// `host:port,…`
    pub servers: String,
    /// librdkafka properties that they need beside: `security.protocol`, …
    pub properties: BTreeMap<String, String>,
}

impl Brokers {
    /// Without authentication.
    pub(crate) fn plain(servers: String) -> Self {
        Self { servers, properties: BTreeMap::new() }
    }

    /// Tells a client where they are, and what lets it in.
    pub(crate) fn apply(&self, config: &mut ClientConfig) {
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.servers);
    }
}

/// A client that reads without taking part in any group's work: it never subscribes and never
/// commits. `group` is only named in order to ask for that group's committed offsets.
pub(crate) fn reader(brokers: &Brokers, group: &str) -> KafkaResult<BaseConsumer> {
    isolated_reader(brokers, group, "read_uncommitted")
}

/// As [`reader`], for topics whose readers are promised committed records only: what an aborted
/// transaction left behind is a hole to it.
pub(crate) fn committed_reader(brokers: &Brokers, group: &str) -> KafkaResult<BaseConsumer> {
    isolated_reader(brokers, group, "read_committed")
}

fn isolated_reader(brokers: &Brokers, group: &str, isolation: &str) -> KafkaResult<BaseConsumer> {
    let mut config = ClientConfig::new();
    brokers.apply(&mut config);
    config
        .set("group.id", group)
        .set("client.id", "streamlake-harness")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // A reader that is sent back to the beginning, or on to the end, would invent or hide records.
        .set("auto.offset.reset", "error")
        .set("isolation.level", isolation)
        .set("fetch.wait.max.ms", "20")
        .set("reconnect.backoff.max.ms", "500")
        .set("allow.auto.create.topics", "false")
        .create()
}

/// Topics under test with their partitions.
pub(crate) type Topics = BTreeMap<String, u32>;

/// How a part is seen from outside right now, in a sentence.
pub(crate) async fn condition(testbed: &dyn Testbed, part: &Part) -> String {
    const TOLD: [&str; 6] =
        ["state", "exit_code", "stopped_by", "finished_at", "oom_killed", "link"];
    match testbed.observe(part).await {
        Ok(seen) => {
            let told = TOLD.iter().filter_map(|name| Some(format!("{name}={}", seen.get(*name)?)));
            format!("{part} is seen with {}", told.collect::<Vec<_>>().join(", "))
        }
        Err(error) => format!("{part} cannot be looked at: {error}"),
    }
}
