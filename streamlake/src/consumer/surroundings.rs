//! What the topics are set to, looked at when a consumer starts and now and then afterwards. A compacted topic
//! forgets records before they are read, and a dead-letter topic that is missing is met by the first poison
//! record only: neither makes an error of its own.

use crate::config::{ConsumerSettings, OnGap};
use crate::error::{Error, Result};
use crate::inspect::{self, Inspector, TopicSettings};
use crate::observe::events::Events;
use rdkafka::error::RDKafkaErrorCode as Code;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How often while something is wrong with the dead-letter topic.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long brokers may take to tell.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Something to be told.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// The topic, or its dead-letter topic, forgets records by their key.
    Compacted { topic: String, policy: String },
    /// There is no dead-letter topic.
    NoDeadLetterTopic,
    /// It may not be looked at; most likely it may not be written to either.
    DeadLetterTopicRefused(String),
}

/// Looks until it is dropped. `Err` for what the settings do not accept; then `stop` is cancelled, too.
pub(super) async fn watch(
    settings: Arc<ConsumerSettings>,
    events: Arc<Events>,
    stop: CancellationToken,
) -> Result<()> {
    loop {
        let asked = Arc::clone(&settings);
        let found = tokio::task::spawn_blocking(move || look(&asked)).await.unwrap_or_default();
        let mut pause = LOOK_EVERY;
        for finding in found {
            match finding {
                Finding::Compacted { topic, policy } => {
                    let raw = topic == settings.topic;
                    compacted(&topic, &policy, raw, &events);
                    if raw && settings.on_gap == OnGap::Stop {
                        stop.cancel();
                        return Err(Error::Stuck(format!(
                            "{topic} has cleanup.policy={policy}: records may be gone before they are read, \
                             and --on-gap is stop; set cleanup.policy=delete, or start with --on-gap continue"
                        )));
                    }
                }
                Finding::NoDeadLetterTopic => {
                    pause = LOOK_AGAIN;
                    let topic = &settings.dead_letter_topic;
                    tracing::warn!(
                        topic,
                        "the dead-letter topic is not there: unless the brokers make it by themselves, the \
                         first record that belongs there holds up its partition"
                    );
                    events.emit("dead_letter_topic_missing", json!({"topic": topic}));
                }
                Finding::DeadLetterTopicRefused(error) => {
                    pause = LOOK_AGAIN;
                    let topic = &settings.dead_letter_topic;
                    tracing::warn!(topic, error, "the dead-letter topic cannot be looked at");
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

fn compacted(topic: &str, policy: &str, raw: bool, events: &Events) {
    if raw {
        tracing::warn!(
            topic,
            policy,
            "the topic is compacted: of the records of one key all but the last may be gone before they are \
             read, and nothing shows which; set cleanup.policy=delete"
        );
    } else {
        tracing::warn!(
            topic,
            policy,
            "the dead-letter topic is compacted: of the letters of one key all but the last are forgotten, \
             and one without a key is refused; set cleanup.policy=delete"
        );
    }
    events.emit("compacted_topic", json!({"topic": topic, "cleanup_policy": policy}));
}

/// Blocking. What cannot be asked now is asked the next time.
fn look(settings: &ConsumerSettings) -> Vec<Finding> {
    let topics = [settings.topic.as_str(), settings.dead_letter_topic.as_str()];
    let mut findings = Vec::new();
    match inspect::topic_settings(&settings.kafka, &topics, ANSWER_WITHIN) {
        Ok(found) => {
            let found =
                topics.iter().zip(found).filter_map(|(topic, told)| Some((topic, told.ok()?)));
            findings.extend(found.filter_map(|(topic, told)| policy(topic, &told)));
        }
        Err(err) => tracing::debug!(error = %err, "the topics' settings are not known"),
    }
    let letters = Inspector::connect(&settings.kafka, None)
        .and_then(|inspector| inspector.partitions_if_any(&settings.dead_letter_topic));
    findings.extend(letter_topic(&letters));
    findings
}

fn policy(topic: &str, told: &TopicSettings) -> Option<Finding> {
    let policy = inspect::compaction(told)?;
    Some(Finding::Compacted { topic: topic.to_owned(), policy: policy.to_owned() })
}

fn letter_topic(found: &Result<Vec<i32>>) -> Option<Finding> {
    match found {
        Ok(partitions) => partitions.is_empty().then_some(Finding::NoDeadLetterTopic),
        Err(Error::Kafka { source, .. })
            if source.rdkafka_error_code() == Some(Code::TopicAuthorizationFailed) =>
        {
            Some(Finding::DeadLetterTopicRefused(source.to_string()))
        }
        // Brokers that are away are told elsewhere.
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::error::KafkaError;

    #[test]
    fn what_is_set_and_what_is_missing_is_found() {
        let told = |policy: &str| [("cleanup.policy".to_owned(), policy.to_owned())].into();
        assert_eq!(policy("t", &told("delete")), None);
        for name in ["compact", "compact,delete", "delete, compact"] {
            let found = Finding::Compacted { topic: "t".into(), policy: name.into() };
            assert_eq!(policy("t", &told(name)), Some(found));
        }
        let refused = |code| {
            let asking = Error::kafka("asking");
            Err(asking(KafkaError::MetadataFetch(code)))
        };
        assert_eq!(letter_topic(&Ok(vec![0])), None);
        assert_eq!(letter_topic(&Ok(vec![])), Some(Finding::NoDeadLetterTopic));
        assert_eq!(letter_topic(&refused(Code::OperationTimedOut)), None);
        let refused = letter_topic(&refused(Code::TopicAuthorizationFailed));
        assert!(matches!(refused, Some(Finding::DeadLetterTopicRefused(_))));
    }
}
