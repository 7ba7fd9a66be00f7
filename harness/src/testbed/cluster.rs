//! What the harness asks of the brokers as a client of its own: members, topics, configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Timestamp};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::testbed::{ClockReading, Observation, TestbedError, TopicSpec, Topology};

/// What a report claims about a broker or topic has to be among these.
const REPORTED: [&str; 19] = [
    "auto.create.topics.enable",
    "broker.heartbeat.interval.ms",
    "broker.session.timeout.ms",
    "cleanup.policy",
    "default.replication.factor",
    "flush.messages",
    "log.flush.interval.messages",
    "log.retention.bytes",
    "log.retention.hours",
    "log.retention.ms",
    "max.message.bytes",
    "message.max.bytes",
    "message.timestamp.type",
    "min.insync.replicas",
    "num.partitions",
    "offsets.topic.replication.factor",
    "retention.bytes",
    "retention.ms",
    "unclean.leader.election.enable",
];

/// What the client library waits for an answer of a broker to an administrative request.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// What it waits for metadata.
const METADATA_WITHIN: Duration = Duration::from_secs(2);
/// A topic of the harness, whose records bear the broker's time.
const CLOCK_TOPIC: &str = "streamlake-harness.clock";
/// What a record for it waits for room in the producer's queue, which is empty.
const STAMP_WITHIN: Timeout = Timeout::After(Duration::from_secs(1));
/// The cluster is asked for its members this often while they are awaited.
const POLL: Duration = Duration::from_millis(50);

/// The harness's own view of the cluster.
pub(super) struct Cluster {
    admin: Arc<AdminClient<DefaultClientContext>>,
    configuration_of_clients: ClientConfig,
    stamps: OnceCell<Stamps>,
}

/// Writes records whose append time is of interest.
struct Stamps {
    producer: FutureProducer,
}

impl Cluster {
    pub(super) fn connect(observer_bootstrap_servers: &str) -> Result<Self, TestbedError> {
        let mut clients = ClientConfig::new();
        clients
            .set("bootstrap.servers", observer_bootstrap_servers)
            .set("client.id", "streamlake-harness-testbed")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("socket.connection.setup.timeout.ms", "2000")
            // Brokers that come and go are what it is for; the testbed tells of errors itself.
            .set_log_level(RDKafkaLogLevel::Critical);
        let admin: AdminClient<DefaultClientContext> = clients
            .create()
            .map_err(|error| TestbedError::request("create an admin client", error))?;
        Ok(Self {
            admin: Arc::new(admin),
            configuration_of_clients: clients,
            stamps: OnceCell::new(),
        })
    }

    /// Waits until metadata lists all brokers, and all topics with a leader for each partition.
    pub(super) async fn await_complete(
        &self,
        topology: &Topology,
        topics: &[TopicSpec],
        deadline: Instant,
    ) -> Result<(), TestbedError> {
        loop {
            let last = match self.metadata(None).await {
                Ok(found) => match found.missing(topology.brokers, topics) {
                    None => return Ok(()),
                    Some(missing) => missing,
                },
                Err(reason) => reason,
            };
            if Instant::now() >= deadline {
                return Err(TestbedError::Deadline {
                    part: "the cluster".to_owned(),
                    state: "complete",
                    within: topology.start_within,
                    last,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn metadata(&self, topic: Option<String>) -> Result<Metadata, String> {
        let admin = Arc::clone(&self.admin);
        // The library's call blocks.
        let fetching = tokio::task::spawn_blocking(move || {
            let fetched = admin.inner().fetch_metadata(topic.as_deref(), METADATA_WITHIN);
            fetched.map(|fetched| Metadata::from_library(&fetched))
        });
        match fetching.await {
            Ok(fetched) => fetched.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Creates the topology's topics.
    pub(super) async fn create_topics(&self, topology: &Topology) -> Result<(), TestbedError> {
        if topology.topics.is_empty() {
            return Ok(());
        }
        let topics: Vec<NewTopic<'_>> = topology.topics.iter().map(new_topic).collect();
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_WITHIN))
            .operation_timeout(Some(REQUEST_WITHIN));
        let results = self
            .admin
            .create_topics(&topics, &options)
            .await
            .map_err(|error| TestbedError::request("create topics", error))?;
        for result in results {
            if let Err((topic, error)) = result {
                return Err(TestbedError::request(format!("create topic {topic}"), error));
            }
        }
        Ok(())
    }

    /// Has a broker stamp a record as it appends it: into a topic of the harness, with a partition on
    /// each broker.
    pub(super) async fn clock(&self, number: u32, brokers: u32) -> Result<ClockReading, String> {
        let Stamps { producer } =
            self.stamps.get_or_try_init(|| self.prepare_stamps(brokers)).await?;
        let partition = i32::try_from(number).unwrap_or(i32::MAX) - 1;
        let record = FutureRecord::<(), [u8]>::to(CLOCK_TOPIC).partition(partition).payload(&[]);
        let delivery = producer.send(record, STAMP_WITHIN).await;
        match delivery.map_err(|(error, _)| error.to_string())?.timestamp {
            Timestamp::LogAppendTime(ms) => Ok(ClockReading {
                stamp_us: ms.saturating_mul(1000),
                resolution_us: 1000,
                how: "append time of a record in a topic of the harness".to_owned(),
            }),
            other => Err(format!("a record was stamped with {other:?}, not by the broker")),
        }
    }

    async fn prepare_stamps(&self, brokers: u32) -> Result<Stamps, String> {
        let placed: Vec<[i32; 1]> = (1..=brokers.cast_signed()).map(|broker| [broker]).collect();
        let placed: Vec<&[i32]> = placed.iter().map(<[i32; 1]>::as_slice).collect();
        let partitions = brokers.cast_signed();
        let topic = NewTopic::new(CLOCK_TOPIC, partitions, TopicReplication::Variable(&placed))
            .set("message.timestamp.type", "LogAppendTime");
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_WITHIN))
            .operation_timeout(Some(REQUEST_WITHIN));
        let created = self.admin.create_topics([&topic], &options).await;
        match created.map_err(|error| error.to_string())?.pop() {
            // A measurement before this one gave up after the topic was made.
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
            other => return Err(format!("the topic {CLOCK_TOPIC} was not created: {other:?}")),
        }
        let mut configuration = self.configuration_of_clients.clone();
        configuration.set("linger.ms", "0").set("message.timeout.ms", "2000");
        let producer = configuration.create().map_err(|error| error.to_string())?;
        Ok(Stamps { producer })
    }

    /// What brokers and topics report of their configuration.
    pub(super) async fn configuration(
        &self,
        topology: &Topology,
    ) -> Result<BTreeMap<String, Observation>, TestbedError> {
        let mut found = BTreeMap::new();
        for number in 1..=topology.brokers {
            let id = i32::try_from(number).unwrap_or(i32::MAX);
            let mut reported = self.describe(ResourceSpecifier::Broker(id)).await?;
            reported.retain(|name, _| {
                REPORTED.contains(&name.as_str()) || topology.broker_properties.contains_key(name)
            });
            found.insert(format!("broker-{number}"), reported);
        }
        for topic in &topology.topics {
            let mut reported = self.describe(ResourceSpecifier::Topic(&topic.name)).await?;
            reported.retain(|name, _| {
                REPORTED.contains(&name.as_str()) || topic.properties.contains_key(name)
            });
            reported.extend(self.layout(&topic.name).await?);
            found.insert(format!("topic {}", topic.name), reported);
        }
        Ok(found)
    }

    async fn describe(&self, resource: ResourceSpecifier<'_>) -> Result<Observation, TestbedError> {
        let what = format!("describe the configuration of {resource:?}");
        let options = AdminOptions::new().request_timeout(Some(REQUEST_WITHIN));
        let described = self
            .admin
            .describe_configs([&resource], &options)
            .await
            .map_err(|error| TestbedError::request(&what, error))?;
        let mut reported = Observation::new();
        for resource in described {
            let resource = resource.map_err(|error| TestbedError::request(&what, error))?;
            let entries = resource.entries.into_iter().filter(|entry| !entry.is_sensitive);
            reported.extend(entries.filter_map(|entry| Some((entry.name, entry.value?))));
        }
        Ok(reported)
    }

    /// Partitions and replicas as they are, not as they were asked for.
    async fn layout(&self, topic: &str) -> Result<Observation, TestbedError> {
        let metadata = self
            .metadata(Some(topic.to_owned()))
            .await
            .map_err(|reason| TestbedError::request(format!("metadata of {topic}"), reason))?;
        Ok(metadata.topics.get(topic).map(TopicLayout::describe).unwrap_or_default())
    }
}

/// What the brokers know of themselves.
struct Metadata {
    brokers: usize,
    topics: BTreeMap<String, TopicLayout>,
}

struct TopicLayout {
    partitions: usize,
    /// Partitions that have a leader.
    led: usize,
    /// Replicas of the partition that has fewest.
    replicas: usize,
}

impl TopicLayout {
    fn describe(&self) -> Observation {
        BTreeMap::from([
            ("partitions".to_owned(), self.partitions.to_string()),
            ("replication.factor".to_owned(), self.replicas.to_string()),
        ])
    }
}

impl Metadata {
    fn from_library(fetched: &rdkafka::metadata::Metadata) -> Self {
        let topics = fetched.topics().iter().map(|topic| {
            let partitions = topic.partitions();
            let layout = TopicLayout {
                partitions: partitions.len(),
                led: partitions.iter().filter(|partition| partition.leader() >= 0).count(),
                replicas: partitions.iter().map(|p| p.replicas().len()).min().unwrap_or(0),
            };
            (topic.name().to_owned(), layout)
        });
        Self { brokers: fetched.brokers().len(), topics: topics.collect() }
    }

    /// What is not there yet.
    fn missing(&self, brokers: u32, topics: &[TopicSpec]) -> Option<String> {
        if self.brokers < brokers as usize {
            return Some(format!("{} of {brokers} brokers", self.brokers));
        }
        topics.iter().find_map(|topic| {
            let led = self.topics.get(&topic.name).map_or(0, |layout| layout.led);
            (led < topic.partitions as usize)
                .then(|| format!("{led} of {} partitions of {} led", topic.partitions, topic.name))
        })
    }
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
    let replication = i32::try_from(spec.replication).unwrap_or(i32::MAX);
    let topic = NewTopic::new(&spec.name, partitions, TopicReplication::Fixed(replication));
    spec.properties.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn says_what_is_missing_until_nothing_is() {
        let spec = |partitions| TopicSpec {
            name: "t".into(),
            partitions,
            replication: 1,
            properties: BTreeMap::new(),
        };
        let layout = TopicLayout { partitions: 3, led: 2, replicas: 1 };
        let seen = Metadata { brokers: 2, topics: BTreeMap::from([("t".into(), layout)]) };
        assert_eq!(seen.missing(3, &[]).as_deref(), Some("2 of 3 brokers"));
        assert_eq!(seen.missing(2, &[spec(3)]).as_deref(), Some("2 of 3 partitions of t led"));
        assert_eq!(seen.missing(2, &[spec(2)]), None);
    }
}
