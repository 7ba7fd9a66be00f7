//! What this testbed can vouch for, and what the mock cluster is made of.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Abilities, Capability, Observation, Part, Topology};
use streamlake_history::event::Evidence;

/// The mock drops the head of a partition beyond 100,000 batches or 5 MiB. A record may be a batch
/// of its own, and a batch costs more than its records, hence the distance.
const PARTITION_RECORDS_MAX: u64 = 90_000;
const PARTITION_BYTES_MAX: u64 = 4 * 1024 * 1024;

const LIMITS: [&str; 10] = [
    "The brokers are librdkafka's mock cluster, a stand-in at the level of the protocol and not Apache Kafka.",
    "Idempotent producers are not deduplicated: nothing is said about duplicates from producer retries.",
    "There is no replication, no in-sync replica set and no min.insync.replicas: acks=all means no more than acks=1.",
    "No other broker takes over the partitions of one that is down.",
    "Transactions are not isolated (read_committed shows aborted records).",
    "Joins and rebalances take about as long as the session timeout, so their duration says nothing about a real cluster.",
    "A commit during a rebalance fails where a real broker takes it.",
    "Offsets cannot be looked up by time.",
    "Retention is fixed at 5 MiB or 100,000 batches for each partition; larger plans are refused, because what is dropped then looks like a loss.",
    "The harness's own clients pass through the same links as the system under test, so observations pause while a link is cut.",
];

/// What this testbed can do and vouch for.
#[must_use]
pub fn abilities() -> Abilities {
    Abilities {
        capabilities: BTreeSet::from([
            Capability::BrokerRestart,
            Capability::BrokerKill,
            Capability::BrokerPause,
            Capability::ClientLink,
            Capability::Answers,
            Capability::StoreFaults,
            Capability::Tampering,
        ]),
        evidence: BTreeSet::from([
            Evidence::Receipts,
            Evidence::Log,
            // Seen as they pass the proxies, which is where the mock's clients find it.
            Evidence::CommitsComplete,
            Evidence::Positions,
            Evidence::Objects,
            Evidence::DeadLetters,
        ]),
        limits: LIMITS.map(str::to_owned).to_vec(),
        partition_records_max: Some(PARTITION_RECORDS_MAX),
        partition_bytes_max: Some(PARTITION_BYTES_MAX),
    }
}

/// What is fixed in the mock, and what of the topology it does not know. It answers no
/// `DescribeConfigs`, so this is said for it.
pub(super) fn configuration(
    topology: &Topology,
    librdkafka: &str,
) -> BTreeMap<String, Observation> {
    let delay = super::host_options(topology).initial_rebalance_delay.as_millis().to_string();
    let mut fixed = super::observation([
        ("implementation", format!("mock cluster of librdkafka {librdkafka}")),
        (super::REBALANCE_DELAY, delay),
        ("log.retention.bytes", "5242880 (fixed)".to_owned()),
        ("batches kept per partition", "100000 (fixed)".to_owned()),
    ]);
    let topics = topology.topics.iter().flat_map(|topic| {
        let properties = topic.properties.iter();
        let properties =
            properties.map(move |(name, value)| (format!("{}: {name}", topic.name), value));
        let replication = (topic.replication > 1).then(|| {
            (format!("{}: replication factor", topic.name), topic.replication.to_string())
        });
        properties.map(|(name, value)| (name, value.clone())).chain(replication)
    });
    let brokers =
        topology.broker_properties.iter().filter(|(name, _)| *name != super::REBALANCE_DELAY);
    let brokers = brokers.map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in brokers.chain(topics) {
        fixed.insert(name, format!("not known to the mock (asked for: {value})"));
    }
    (1..=topology.brokers).map(|n| (Part::Broker(n).to_string(), fixed.clone())).collect()
}
