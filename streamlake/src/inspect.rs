//! Looking at Kafka from outside: partitions, watermarks, groups, and records by offset. It never
//! joins a group. Blocking: call it from a blocking thread.

use crate::classify::{self, Decision, Phase};
use crate::config::KafkaSettings;
use crate::error::{Error, Result};
use crate::kafka;
use crate::native;
use crate::observe::complaints::Complaints;
use crate::raw_zone::part::{Header, StoredRecord};
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long the first contact may take before the first question is asked all the same.
const GREETING_WITHIN: Duration = Duration::from_secs(5);
/// A group that no group could be called: for looking at topics alone.
const NO_GROUP: &str = "streamlake-inspector";

/// The quiet context of an inspector.
#[derive(Default)]
pub(crate) struct Quiet {
    /// What brokers refused this client with.
    refused: Mutex<Option<Error>>,
    complaints: Mutex<Complaints>,
}

impl Quiet {
    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Error>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.is_new(&error.to_string(), Instant::now()) {
            tracing::warn!(error = %error, reason, "Kafka");
        }
        if classify::connection(&error, reason, Phase::StartUp) == Decision::Stop {
            *self.refused() = Some(kafka::refused(&error, reason));
        }
    }
}

impl ConsumerContext for Quiet {}

/// Settings of a topic, by their names.
pub type TopicSettings = BTreeMap<String, String>;

/// The settings of some topics, as brokers tell them, in the order of the question. Blocking, for as long as
/// the brokers may take.
pub fn topic_settings(
    settings: &KafkaSettings,
    topics: &[&str],
    within: Duration,
) -> Result<Vec<Result<TopicSettings>>> {
    let asking = |topic: &str| Error::kafka(format!("asking for the settings of {topic}"));
    let config = kafka::admin_config(settings)?;
    let admin: AdminClient<Quiet> =
        config.create_with_context(Quiet::default()).map_err(kafka::not_created)?;
    // Any broker can tell. Without one that is named the client waits for the cluster's controller, which
    // some stand-ins for Kafka never name.
    let begun = Instant::now();
    let broker =
        native::any_broker(admin.inner(), within).map_err(asking(&topics.join(" and ")))?;
    let left = within.saturating_sub(begun.elapsed()).max(Duration::from_millis(100));
    let options = AdminOptions::new().request_timeout(Some(left)).broker_id(broker);
    let question: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let answer = futures::executor::block_on(admin.describe_configs(&question, &options));
    let answer = answer.map_err(asking(&topics.join(" and ")))?;
    // The client keeps the order of the question.
    let told = topics.iter().zip(answer).map(|(topic, found)| {
        let found = found.map_err(|code| asking(topic)(KafkaError::MetadataFetch(code)))?;
        let entries = found.entries.into_iter();
        Ok(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect())
    });
    Ok(told.collect())
}

/// Whether an answer says that there is no such topic.
pub fn is_unknown_topic<T>(answer: &Result<T>) -> bool {
    let Err(Error::Kafka { source, .. }) = answer else { return false };
    let unknown = Some(Code::UnknownTopicOrPartition);
    source.rdkafka_error_code() == unknown
        || source.rdkafka_error_code() == Some(Code::UnknownTopic)
}

/// The cleanup policy of a topic that forgets records by their key.
pub fn compaction(settings: &TopicSettings) -> Option<&str> {
    let policy = settings.get("cleanup.policy").map(String::as_str);
    policy.filter(|policy| policy.split(',').any(|word| word.trim() == "compact"))
}

/// How large a batch of records may be in a topic.
pub fn message_bytes_max(settings: &TopicSettings) -> Option<i64> {
    settings.get("max.message.bytes")?.parse().ok()
}

/// A client that looks.
pub struct Inspector {
    consumer: BaseConsumer<Quiet>,
    /// The same without isolation: it is told where the log ends, and not where an open transaction begins.
    unisolated: BaseConsumer<Quiet>,
    group: String,
}

/// A group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// `Empty`, `Stable`, `PreparingRebalance`, …
    pub state: String,
    /// Its members' ids.
    pub members: Vec<String>,
}

impl Inspector {
    /// A client; `group` is the group whose offsets are to be read or set.
    pub fn connect(settings: &KafkaSettings, group: Option<&str>) -> Result<Inspector> {
        let group = group.unwrap_or(NO_GROUP).to_owned();
        let mut config = kafka::inspector_config(settings, Some(&group))?;
        let consumer = config.create_with_context(Quiet::default()).map_err(kafka::not_created)?;
        config.set("isolation.level", "read_uncommitted");
        let unisolated =
            config.create_with_context(Quiet::default()).map_err(kafka::not_created)?;
        let inspector = Inspector { consumer, unisolated, group };
        inspector.greet()?;
        Ok(inspector)
    }

    /// Waits until a broker answers. A question would wait out its time and never say that this
    /// client is refused; a broker that is away is left to the question.
    fn greet(&self) -> Result<()> {
        let deadline = Instant::now() + GREETING_WITHIN;
        while self.consumer.client().fetch_cluster_id(Duration::from_millis(10)).is_none() {
            // Errors are told inside a poll, behind log lines: one that takes its time tells all.
            let _ = self.consumer.poll(Duration::from_millis(50));
            if let Some(refusal) = self.consumer.context().refused().take() {
                return Err(refusal);
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Ok(())
    }

    /// The partitions of a topic; none if there is no such topic (nothing was ever dead, say). A topic that
    /// this client may not see, or that cannot be told of now, is no topic without partitions.
    pub fn partitions_if_any(&self, topic: &str) -> Result<Vec<i32>> {
        let asking = || Error::kafka(format!("asking for the partitions of {topic}"));
        let metadata = self.consumer.fetch_metadata(Some(topic), ANSWER_WITHIN).map_err(asking())?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.and_then(|found| found.error()).map(Code::from) {
            None | Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {}
            Some(code) => return Err(asking()(KafkaError::MetadataFetch(code))),
        }
        let partitions =
            found.map(|found| found.partitions().iter().map(|p| p.id()).collect::<Vec<_>>());
        let mut partitions = partitions.unwrap_or_default();
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// The partitions of a topic that must be there.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>> {
        let partitions = self.partitions_if_any(topic)?;
        if partitions.is_empty() {
            return Err(Error::Kafka {
                doing: format!("asking for the partitions of {topic}"),
                source: KafkaError::MetadataFetch(Code::UnknownTopicOrPartition),
            });
        }
        Ok(partitions)
    }

    /// The first offset of a partition and the one after its last, whether it may be read yet or not.
    pub fn ends(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        let asking = Error::kafka(format!("asking for the ends of {topic}/{partition}"));
        self.unisolated.fetch_watermarks(topic, partition, ANSWER_WITHIN).map_err(asking)
    }

    /// The first offset of a partition and the one after the last that may be read: an open transaction hides all
    /// that is behind its first record.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        let asking = Error::kafka(format!("asking for the ends of {topic}/{partition}"));
        self.consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN).map_err(asking)
    }

    /// What the group has committed, for the partitions where it has.
    pub fn committed(&self, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, i64>> {
        let asking = Error::kafka(format!("asking for the offsets of {}", self.group));
        let answer = self
            .consumer
            .committed_offsets(list(topic, partitions), ANSWER_WITHIN)
            .map_err(asking)?;
        Ok(offsets(&answer))
    }

    /// The first offset at or after a time, or the end where there is none.
    pub fn at_time(&self, topic: &str, partitions: &[i32], ms: i64) -> Result<BTreeMap<i32, i64>> {
        let asking = || Error::kafka(format!("asking {topic} for offsets by time"));
        let mut question = TopicPartitionList::new();
        for partition in partitions {
            question
                .add_partition_offset(topic, *partition, Offset::Offset(ms))
                .map_err(asking())?;
        }
        let answer = self.consumer.offsets_for_times(question, ANSWER_WITHIN).map_err(asking())?;
        let mut found = offsets(&answer);
        for partition in partitions {
            if !found.contains_key(partition) {
                found.insert(*partition, self.watermarks(topic, *partition)?.1);
            }
        }
        Ok(found)
    }

    /// The group as its coordinator sees it; `None` if the broker does not know it.
    pub fn group(&self) -> Result<Option<GroupState>> {
        let asking = Error::kafka(format!("asking for the members of {}", self.group));
        let groups =
            self.consumer.fetch_group_list(Some(&self.group), ANSWER_WITHIN).map_err(asking)?;
        let found = groups.groups().iter().find(|group| group.name() == self.group);
        Ok(found.map(|group| GroupState {
            state: group.state().to_owned(),
            members: group.members().iter().map(|member| member.id().to_owned()).collect(),
        }))
    }

    /// Whether the group has members, by the list of groups. The description of a group knows nothing of
    /// the newer group protocol (KIP-848): it calls a group of that kind dead, whoever is in it.
    pub fn has_members(&self) -> Result<bool> {
        let asking = Error::kafka(format!("asking for the state of {}", self.group));
        let state = native::group_state(self.consumer.client(), &self.group, ANSWER_WITHIN);
        let state = state.map_err(asking)?;
        // A broker that lists no states calls them unknown.
        Ok(!matches!(state.as_deref(), None | Some("Empty" | "Dead" | "Unknown")))
    }

    /// Sets the group's offsets and reads them back. The broker refuses while the group has members.
    pub fn set_offsets(&self, topic: &str, targets: &BTreeMap<i32, i64>) -> Result<()> {
        let doing = || Error::kafka(format!("setting the offsets of {}", self.group));
        let mut wanted = TopicPartitionList::new();
        for (partition, offset) in targets {
            wanted
                .add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(doing())?;
        }
        self.consumer.commit(&wanted, rdkafka::consumer::CommitMode::Sync).map_err(
            |err| match err.rdkafka_error_code() {
                Some(
                    Code::UnknownMemberId | Code::RebalanceInProgress | Code::IllegalGeneration,
                ) => Error::Refused(format!("the group {} has active members: {err}", self.group)),
                _ => doing()(err),
            },
        )?;
        let partitions: Vec<i32> = targets.keys().copied().collect();
        let found = self.committed(topic, &partitions)?;
        if &found != targets {
            return Err(Error::Refused(format!(
                "the broker holds {found:?} for {} instead of {targets:?}: somebody else commits",
                self.group
            )));
        }
        Ok(())
    }

    /// Reads `[from, to)` of a partition, as far as there are records; `visit` says whether to go on.
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        to: i64,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> bool,
    ) -> Result<()> {
        let doing = || Error::kafka(format!("reading {topic}/{partition} from {from}"));
        let (low, high) = self.watermarks(topic, partition)?;
        let (from, to) = (from.max(low), to.min(high));
        if from >= to {
            return Ok(());
        }
        let mut start = TopicPartitionList::new();
        start.add_partition_offset(topic, partition, Offset::Offset(from)).map_err(doing())?;
        self.consumer.assign(&start).map_err(doing())?;
        let mut deadline = Instant::now() + ANSWER_WITHIN;
        let outcome = loop {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    if message.offset() >= to || !visit(&message) || message.offset() + 1 == to {
                        break Ok(());
                    }
                    // What the visitor takes is no silence of the broker's.
                    deadline = Instant::now() + ANSWER_WITHIN;
                }
                Some(Err(err)) if classify::consumer(&err) == Decision::Stop => {
                    break Err(doing()(err));
                }
                Some(Err(KafkaError::MessageConsumption(Code::AutoOffsetReset))) => break Ok(()),
                Some(Err(_)) => {}
                // The last offsets of a range may hold no record; the position passes them.
                None if self.position(topic, partition) >= Some(to) => break Ok(()),
                None => {}
            }
            if Instant::now() > deadline {
                break Err(doing()(KafkaError::MessageConsumption(Code::OperationTimedOut)));
            }
        };
        let _ = self.consumer.unassign();
        outcome
    }

    fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        let list = self.consumer.position().ok()?;
        match list.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

/// A record with everything that was in it.
pub fn owned(message: &BorrowedMessage<'_>) -> StoredRecord {
    let headers: Vec<Header> = native::Record::of(message)
        .headers()
        .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
        .collect();
    let id = headers.iter().find(|(name, _)| name == crate::record::HEADER_INGESTION_ID.as_bytes());
    let ingestion_id = id.and_then(|(_, value)| String::from_utf8(value.clone()?).ok());
    StoredRecord {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        ingestion_id,
        key: message.key().map(<[u8]>::to_vec),
        headers,
        value: message.payload().map(<[u8]>::to_vec),
    }
}

fn list(topic: &str, partitions: &[i32]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// The offsets of a list, copied out: a list that is kept alive keeps its client from ending.
fn offsets(list: &TopicPartitionList) -> BTreeMap<i32, i64> {
    let elements = list.elements();
    let numbered = elements.iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), offset)),
        _ => None,
    });
    numbered.collect()
}
