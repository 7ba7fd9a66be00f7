//! What the harness asks of the brokers as a client of its own: members, topics, configuration, clocks.

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

use crate::observer::Brokers;
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
/// A group that has lost its last member is empty within this time: its session has to end first.
const EMPTY_WITHIN: Duration = Duration::from_secs(60);
/// What a record for it waits for room in the producer's queue, which is empty.
const STAMP_WITHIN: Timeout = Timeout::After(Duration::from_secs(1));
/// The cluster is asked for its members this often while they are awaited.
const POLL: Duration = Duration::from_millis(50);

/// The harness's own view of the cluster.
pub(super) struct Cluster {
    admin: Arc<AdminClient<DefaultClientContext>>,
    configuration_of_clients: ClientConfig,
    /// The brokers, `broker-1` first.
    pub(super) brokers: Vec<BrokerSeen>,
    /// A topic of the harness, whose records bear the broker's time.
    clock_topic: String,
    stamps: OnceCell<Stamps>,
}

/// A broker as the cluster tells of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BrokerSeen {
    /// Its id.
    pub(super) id: i32,
    /// Where it says that it is.
    pub(super) host: String,
    /// Its port there.
    pub(super) port: u16,
}

/// Writes records whose append time is of interest.
struct Stamps {
    producer: FutureProducer,
}

impl Cluster {
    /// `brokers` of them have the ids from 1 on, until [`Cluster::learn_brokers`] is asked.
    pub(super) fn connect(
        observers: &Brokers,
        brokers: u32,
        clock_topic: String,
    ) -> Result<Self, TestbedError> {
        let mut clients = ClientConfig::new();
        clients
            .set("client.id", "streamlake-harness-testbed")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("socket.connection.setup.timeout.ms", "2000")
            // Brokers that come and go are what it is for; the testbed tells of errors itself.
            .set_log_level(RDKafkaLogLevel::Critical);
        observers.apply(&mut clients);
        let admin: AdminClient<DefaultClientContext> = clients
            .create()
            .map_err(|error| TestbedError::request("create an admin client", error))?;
        Ok(Self {
            admin: Arc::new(admin),
            configuration_of_clients: clients,
            brokers: (1..=brokers.cast_signed()).map(unplaced).collect(),
            clock_topic,
            stamps: OnceCell::new(),
        })
    }

    /// Takes the brokers as the cluster has them, in the order of their ids.
    pub(super) async fn learn_brokers(&mut self) -> Result<(), TestbedError> {
        let metadata = self.metadata(None).await;
        let metadata = metadata.map_err(|reason| TestbedError::Environment {
            what: format!("the brokers do not answer: {reason}"),
            remedy: "look at `bootstrap_servers` and `properties` of the cluster's file".to_owned(),
        })?;
        self.brokers = metadata.brokers;
        Ok(())
    }

    /// How many brokers there are.
    pub(super) fn size(&self) -> usize {
        self.brokers.len()
    }

    /// Names of all topics that there are.
    pub(super) async fn topics(&self) -> Result<Vec<String>, TestbedError> {
        let metadata = self.metadata(None).await;
        let metadata = metadata.map_err(|reason| TestbedError::request("list topics", reason))?;
        Ok(metadata.topics.into_keys().collect())
    }

    /// The brokers answer a client, whatever they ask of it.
    pub(super) async fn answers(&self) -> Result<String, String> {
        let metadata = self.metadata(None).await?;
        Ok(format!("metadata of {} broker(s)", metadata.brokers.len()))
    }

    /// Why the brokers' own record of commits may not be read, if so. On a new cluster it is not there yet.
    pub(super) async fn record_of_groups_withheld(&self) -> Option<String> {
        use RDKafkaErrorCode::{LeaderNotAvailable, UnknownPartition, UnknownTopic};
        let admin = Arc::clone(&self.admin);
        let asked = tokio::task::spawn_blocking(move || {
            admin.inner().fetch_watermarks("__consumer_offsets", 0, REQUEST_WITHIN)
        });
        let error = match asked.await {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => error,
            Err(error) => return Some(error.to_string()),
        };
        let not_yet = [
            UnknownTopic,
            UnknownPartition,
            RDKafkaErrorCode::UnknownTopicOrPartition,
            LeaderNotAvailable,
        ];
        let is_not_yet = error.rdkafka_error_code().is_some_and(|code| not_yet.contains(&code));
        (!is_not_yet).then(|| error.to_string())
    }

    /// Deletes topics; one that is not there is none to be deleted.
    pub(super) async fn delete_topics(&self, names: &[String]) -> Result<(), TestbedError> {
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_WITHIN))
            .operation_timeout(Some(REQUEST_WITHIN));
        let deleted = self.admin.delete_topics(&names, &options).await;
        let deleted = deleted.map_err(|error| TestbedError::request("delete topics", error))?;
        for one in deleted {
            match one {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((topic, error)) => {
                    return Err(TestbedError::request(format!("delete topic {topic}"), error));
                }
            }
        }
        Ok(())
    }

    /// Groups whose names begin so.
    pub(super) async fn groups(&self, beginning: &str) -> Result<Vec<String>, TestbedError> {
        let (admin, beginning) = (Arc::clone(&self.admin), beginning.to_owned());
        let listing = tokio::task::spawn_blocking(move || {
            let listed = admin.inner().fetch_group_list(None, REQUEST_WITHIN)?;
            let names = listed.groups().iter().map(|group| group.name().to_owned());
            Ok::<_, rdkafka::error::KafkaError>(
                names.filter(|name| name.starts_with(&beginning)).collect::<Vec<String>>(),
            )
        });
        let listed = listing.await.map_err(|error| TestbedError::request("list groups", error))?;
        listed.map_err(|error| TestbedError::request("list groups", error))
    }

    /// Deletes groups as soon as they are empty.
    pub(super) async fn delete_groups(&self, names: &[String]) -> Result<(), TestbedError> {
        let deadline = Instant::now() + EMPTY_WITHIN;
        let mut left: Vec<String> = names.to_vec();
        while !left.is_empty() {
            let asked: Vec<&str> = left.iter().map(String::as_str).collect();
            let options = AdminOptions::new().request_timeout(Some(REQUEST_WITHIN));
            let answers = self.admin.delete_groups(&asked, &options).await;
            let answers = answers.map_err(|error| TestbedError::request("delete groups", error))?;
            let mut refused = Vec::new();
            for answer in answers {
                match answer {
                    Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                    Err((group, RDKafkaErrorCode::NonEmptyGroup)) if Instant::now() < deadline => {
                        refused.push(group);
                    }
                    Err((group, error)) => {
                        return Err(TestbedError::request(format!("delete group {group}"), error));
                    }
                }
            }
            left = refused;
            if !left.is_empty() {
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
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
    pub(super) async fn clock(&self, number: u32) -> Result<ClockReading, String> {
        let Stamps { producer } = self.stamps.get_or_try_init(|| self.prepare_stamps()).await?;
        let partition = i32::try_from(number).unwrap_or(i32::MAX) - 1;
        let topic = self.clock_topic.as_str();
        let record = FutureRecord::<(), [u8]>::to(topic).partition(partition).payload(&[]);
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

    async fn prepare_stamps(&self) -> Result<Stamps, String> {
        let topic_name = self.clock_topic.as_str();
        let placed: Vec<[i32; 1]> = self.brokers.iter().map(|broker| [broker.id]).collect();
        let placed: Vec<&[i32]> = placed.iter().map(<[i32; 1]>::as_slice).collect();
        let partitions = i32::try_from(placed.len()).unwrap_or(i32::MAX);
        let topic = NewTopic::new(topic_name, partitions, TopicReplication::Variable(&placed))
            .set("min.insync.replicas", "1")
            .set("message.timestamp.type", "LogAppendTime");
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_WITHIN))
            .operation_timeout(Some(REQUEST_WITHIN));
        let created = self.admin.create_topics([&topic], &options).await;
        match created.map_err(|error| error.to_string())?.pop() {
            // A measurement before this one gave up after the topic was made.
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
            other => return Err(format!("the topic {topic_name} was not created: {other:?}")),
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
        for (number, broker) in (1u32..).zip(&self.brokers) {
            let mut reported = self.describe(ResourceSpecifier::Broker(broker.id)).await?;
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

/// A broker whose id alone is known.
fn unplaced(id: i32) -> BrokerSeen {
    BrokerSeen { id, host: String::new(), port: 0 }
}

/// What the brokers know of themselves.
struct Metadata {
    /// In the order of their ids.
    brokers: Vec<BrokerSeen>,
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
        let seen = |broker: &rdkafka::metadata::MetadataBroker| BrokerSeen {
            id: broker.id(),
            host: broker.host().to_owned(),
            port: u16::try_from(broker.port()).unwrap_or_default(),
        };
        let mut brokers: Vec<BrokerSeen> = fetched.brokers().iter().map(seen).collect();
        brokers.sort_unstable();
        Self { brokers, topics: topics.collect() }
    }

    /// What is not there yet.
    fn missing(&self, brokers: u32, topics: &[TopicSpec]) -> Option<String> {
        if self.brokers.len() < brokers as usize {
            return Some(format!("{} of {brokers} brokers", self.brokers.len()));
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
        let seen = Metadata {
            brokers: vec![unplaced(1), unplaced(2)],
            topics: BTreeMap::from([("t".into(), layout)]),
        };
        assert_eq!(seen.missing(3, &[]).as_deref(), Some("2 of 3 brokers"));
        assert_eq!(seen.missing(2, &[spec(3)]).as_deref(), Some("2 of 3 partitions of t led"));
        assert_eq!(seen.missing(2, &[spec(2)]), None);
    }
}
