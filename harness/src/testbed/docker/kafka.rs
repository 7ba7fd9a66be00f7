//! Kafka brokers in KRaft mode: their listeners and properties.
//!
//! A broker has four listeners. Clients and observers reach it through a proxy each, whose address
//! is advertised, so that clients can be cut off while observers still see; brokers and Kafka
//! Connect reach each other over the run's own network; the controllers have theirs. All of them speak
//! plaintext; `listener.security.protocol.map` among the broker properties can give the clients'
//! listener, `CLIENT`, another protocol (the testbed's own probes of it go unanswered then).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::testbed::{TestbedError, Topology};

/// Port of the listener for the system under test, within the container.
pub(super) const CLIENT_PORT: u16 = 9092;
/// Port of the listener for the harness's own clients.
pub(super) const OBSERVER_PORT: u16 = 9094;
const CONTROLLER_PORT: u16 = 9093;
const INTERNAL_PORT: u16 = 9095;

/// The broker says this when it serves.
pub(super) const READY_LINE: &str = "Kafka Server started";

/// Properties that make the testbed work and that a scenario therefore cannot set.
const RESERVED: [&str; 10] = [
    "advertised.listeners",
    "auto.create.topics.enable",
    "controller.listener.names",
    "controller.quorum.voters",
    "inter.broker.listener.name",
    "listeners",
    "log.dir",
    "log.dirs",
    "node.id",
    "process.roles",
];

/// A broker before its container exists.
pub(super) struct BrokerPlan<'a> {
    /// From 1.
    pub(super) number: u32,
    /// Container names of all brokers, which are their host names; the first has number 1.
    pub(super) hosts: &'a [String],
    /// What clients are told to connect to.
    pub(super) client: SocketAddr,
    /// What observers are told to connect to.
    pub(super) observer: SocketAddr,
}

/// Refuses a topology whose broker properties belong to the testbed.
pub(super) fn check_properties(topology: &Topology) -> Result<(), TestbedError> {
    match topology.broker_properties.keys().find(|name| RESERVED.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(TestbedError::Environment {
            what: format!("the broker property {name} is the testbed's own"),
            remedy: "take it out of the scenario".to_owned(),
        }),
    }
}

/// Addresses for clients within the run's network.
pub(super) fn internal_bootstrap_servers(hosts: &[String]) -> String {
    let servers: Vec<String> = hosts.iter().map(|host| format!("{host}:{INTERNAL_PORT}")).collect();
    servers.join(",")
}

/// All properties of a broker. One variable given to the image replaces all of its defaults, so
/// this is the whole configuration.
fn properties(plan: &BrokerPlan<'_>, topology: &Topology) -> BTreeMap<String, String> {
    let voters: Vec<String> = (1..)
        .zip(plan.hosts)
        .map(|(number, host)| format!("{number}@{host}:{CONTROLLER_PORT}"))
        .collect();
    let own_host = &plan.hosts[plan.number as usize - 1];
    let brokers = plan.hosts.len();
    let replication = brokers.min(3).to_string();
    let in_sync = if brokers >= 3 { "2" } else { "1" };
    let listeners = [
        ("CLIENT", CLIENT_PORT),
        ("OBSERVER", OBSERVER_PORT),
        ("INTERNAL", INTERNAL_PORT),
        ("CONTROLLER", CONTROLLER_PORT),
    ];
    let join = |line: &dyn Fn(&str, u16) -> String| {
        listeners.map(|(name, port)| line(name, port)).join(",")
    };
    let mut properties: BTreeMap<String, String> = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", plan.number.to_string()),
        ("controller.quorum.voters", voters.join(",")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listeners", join(&|name, port| format!("{name}://0.0.0.0:{port}"))),
        ("listener.security.protocol.map", join(&|name, _| format!("{name}:PLAINTEXT"))),
        ("inter.broker.listener.name", "INTERNAL".to_owned()),
        (
            "advertised.listeners",
            format!(
                "CLIENT://{},OBSERVER://{},INTERNAL://{own_host}:{INTERNAL_PORT}",
                plan.client, plan.observer
            ),
        ),
        // The image's default lies outside its volume.
        ("log.dirs", "/var/lib/kafka/data".to_owned()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("num.partitions", "1".to_owned()),
        ("default.replication.factor", replication.clone()),
        ("min.insync.replicas", in_sync.to_owned()),
        // One partition: the harness reads it to see every commit.
        ("offsets.topic.num.partitions", "1".to_owned()),
        ("offsets.topic.replication.factor", replication.clone()),
        ("transaction.state.log.num.partitions", "1".to_owned()),
        ("transaction.state.log.replication.factor", replication.clone()),
        ("transaction.state.log.min.isr", in_sync.to_owned()),
        ("share.coordinator.state.topic.num.partitions", "1".to_owned()),
        ("share.coordinator.state.topic.replication.factor", replication),
        ("share.coordinator.state.topic.min.isr", in_sync.to_owned()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        // The controller takes a broker that was killed back only after its old session.
        ("broker.session.timeout.ms", "2000".to_owned()),
        ("broker.heartbeat.interval.ms", "500".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    properties.extend(topology.broker_properties.clone());
    properties
}

/// Environment of a broker's container.
pub(super) fn environment(plan: &BrokerPlan<'_>, topology: &Topology) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = properties(plan, topology)
        .into_iter()
        .map(|(name, value)| (variable(&name), value))
        .collect();
    let heap = if plan.hosts.len() > 1 { "-Xmx320m" } else { "-Xmx512m" };
    environment.insert("KAFKA_HEAP_OPTS".to_owned(), heap.to_owned());
    environment
}

/// The variable that the image turns into this property.
fn variable(property: &str) -> String {
    let mut variable = String::from("KAFKA_");
    for character in property.chars() {
        match character {
            '.' => variable.push('_'),
            '_' => variable.push_str("__"),
            '-' => variable.push_str("___"),
            other => variable.extend(other.to_uppercase()),
        }
    }
    variable
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    fn topology(brokers: u32) -> Topology {
        Topology {
            brokers,
            broker_properties: BTreeMap::from([("log.segment.bytes".into(), "1048576".into())]),
            topics: Vec::new(),
            buckets: Vec::new(),
            database: false,
            change_data_capture: false,
            worker_properties: BTreeMap::new(),
            start_within: Duration::from_secs(60),
        }
    }

    fn plan(hosts: &[String], number: u32) -> BrokerPlan<'_> {
        let client = "127.0.0.1:31001".parse().unwrap();
        let observer = "127.0.0.1:31002".parse().unwrap();
        BrokerPlan { number, hosts, client, observer }
    }

    #[test]
    fn properties_become_the_variables_that_the_image_turns_back() {
        assert_eq!(
            variable("group.initial.rebalance.delay.ms"),
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS"
        );
        assert_eq!(variable("a_b.c-d"), "KAFKA_A__B_C___D");
    }

    #[test]
    fn clients_and_observers_are_told_their_proxies_and_brokers_their_host_names() {
        let hosts = ["sl-1".to_owned()];
        let environment = environment(&plan(&hosts, 1), &topology(1));
        assert_eq!(
            environment["KAFKA_ADVERTISED_LISTENERS"],
            "CLIENT://127.0.0.1:31001,OBSERVER://127.0.0.1:31002,INTERNAL://sl-1:9095"
        );
        assert_eq!(environment["KAFKA_CONTROLLER_QUORUM_VOTERS"], "1@sl-1:9093");
        assert_eq!(environment["KAFKA_MIN_INSYNC_REPLICAS"], "1");
        assert_eq!(environment["KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"], "1");
        assert_eq!(environment["KAFKA_LOG_SEGMENT_BYTES"], "1048576");
    }

    #[test]
    fn three_brokers_replicate_threefold_and_know_each_other() {
        let hosts = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let environment = environment(&plan(&hosts, 2), &topology(3));
        assert_eq!(environment["KAFKA_CONTROLLER_QUORUM_VOTERS"], "1@a:9093,2@b:9093,3@c:9093");
        assert_eq!(environment["KAFKA_NODE_ID"], "2");
        assert_eq!(environment["KAFKA_DEFAULT_REPLICATION_FACTOR"], "3");
        assert_eq!(environment["KAFKA_MIN_INSYNC_REPLICAS"], "2");
        assert_eq!(internal_bootstrap_servers(&hosts), "a:9095,b:9095,c:9095");
    }

    #[test]
    fn a_scenario_sets_any_property_but_the_testbeds_own() {
        let mut topology = topology(1);
        topology.broker_properties.insert("min.insync.replicas".into(), "2".into());
        assert!(check_properties(&topology).is_ok());
        let hosts = ["a".to_owned()];
        let environment = environment(&plan(&hosts, 1), &topology);
        assert_eq!(environment["KAFKA_MIN_INSYNC_REPLICAS"], "2");
        topology.broker_properties.insert("listeners".into(), "X://:1".into());
        assert!(matches!(check_properties(&topology), Err(TestbedError::Environment { .. })));
    }
}
