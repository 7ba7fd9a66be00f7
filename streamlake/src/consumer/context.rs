//! What librdkafka calls back with, put into a queue for the polling thread.
//!
//! Callbacks run inside `poll`, on the polling thread. Nothing blocks here and nothing is decided
//! here: an assignment is only noted, and taken on when there is a place for its records; a revocation
//! is only noted, and the partitions are given up when what is in flight has been stored and committed
//! (librdkafka waits for both calls).

use super::core::Fetched;
use super::wake::Wake;
use crate::classify::{self, Decision, Phase};
use crate::error::Error;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the client's statistics show.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Each partition.
    pub(super) partitions: Vec<(i32, Fetched)>,
    /// Of each partition that is fetched: where the records end that may be read, and where all end.
    pub(super) ends: Vec<(i32, i64, i64)>,
    /// A connection to a broker is up.
    pub(super) connected: bool,
    /// The member belongs to its group.
    pub(super) joined: bool,
}

/// A broker that reads for a partition answers several times a second, also when there is nothing, unless it
/// was asked to wait longer or a quota holds it up. One that is silent for this much longer hangs.
const SILENT: Duration = Duration::from_secs(30);
/// How long a broker may wait for records before it answers that there are none; the setting's name.
const FETCH_WAIT_MS: &str = "fetch.wait.max.ms";

/// How long a broker may be silent with this configuration.
pub(super) fn silent_max(config: &ClientConfig) -> Duration {
    let waits = config.get(FETCH_WAIT_MS).and_then(|text| text.trim().parse().ok());
    SILENT + Duration::from_millis(waits.unwrap_or(0))
}

impl Seen {
    fn of(statistics: &Statistics, silent_max: Duration) -> Self {
        let silent_us = i64::try_from(silent_max.as_micros()).unwrap_or(i64::MAX);
        let talking = statistics.brokers.values().filter(|broker| {
            broker.nodeid >= 0 && broker.state == "UP" && broker.rxidle < silent_us
        });
        let talking: BTreeSet<i32> = talking.map(|broker| broker.nodeid).collect();
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let known = partitions.filter(|partition| partition.partition >= 0);
        let ends = known
            .clone()
            .filter(|partition| partition.fetch_state == "active" && partition.ls_offset >= 0);
        let ends = ends.map(|at| (at.partition, at.ls_offset, at.hi_offset)).collect();
        let fetched = known.map(|partition| {
            let offset = |offset: i64| (offset >= 0).then_some(offset);
            let fetched = Fetched {
                end: offset(partition.ls_offset).or(offset(partition.hi_offset)),
                next: offset(partition.next_offset),
                active: partition.fetch_state == "active",
                // A fetch that is refused takes the ends away again; one that is never answered, and a
                // partition without a leader, leave them as they were.
                answered: (partition.ls_offset >= 0 || partition.hi_offset >= 0)
                    && talking.contains(&partition.broker),
            };
            (partition.partition, fetched)
        });
        Seen {
            partitions: fetched.collect(),
            ends,
            connected: statistics.brokers.values().any(|broker| broker.state == "UP"),
            joined: statistics.cgrp.as_ref().is_some_and(|group| group.join_state == "steady"),
        }
    }
}

/// Something that the client said.
#[derive(Debug)]
pub(super) enum ClientEvent {
    Assigned(TopicPartitionList),
    Revoked {
        partitions: TopicPartitionList,
        lost: bool,
    },
    Committed {
        outcome: KafkaResult<()>,
        offsets: Vec<(i32, i64)>,
    },
    Statistics(Seen),
    /// The broker no longer has, or not yet has, the offset that was due: the client goes elsewhere.
    OffsetReset {
        partition: i32,
        due: i64,
    },
    Error(KafkaError, String),
    /// Brokers refuse this client, and it never was a member of its group.
    Refused(Error),
}

pub(super) struct Context {
    queue: Mutex<VecDeque<ClientEvent>>,
    /// Set before the consumer is dropped: nobody will answer a revocation any more.
    closing: AtomicBool,
    /// Set by the first assignment: from then on a refusal is transient.
    joined: AtomicBool,
    wake: Arc<Wake>,
    /// How long a broker may be silent before it hangs.
    silent_max: Duration,
}

impl Context {
    pub(super) fn new(wake: Arc<Wake>, silent_max: Duration) -> Self {
        Context {
            queue: Mutex::default(),
            closing: AtomicBool::new(false),
            joined: AtomicBool::new(false),
            wake,
            silent_max,
        }
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(super) fn next_event(&self) -> Option<ClientEvent> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }

    fn push(&self, event: ClientEvent) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(event);
        drop(queue);
        self.wake.notify();
    }
}

/// Takes partitions on, in the way of the protocol in use.
pub(super) fn assign(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
    let done = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        _ => consumer.assign(partitions),
    };
    if let Err(err) = done {
        tracing::warn!(error = %err, "partitions could not be taken on");
    }
}

/// Gives partitions up, in the way of the protocol in use.
pub(super) fn unassign(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
    let done = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        _ => consumer.unassign(),
    };
    if let Err(err) = done {
        tracing::warn!(error = %err, "partitions could not be given up");
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::kafka::log(level, facility, message);
        if let Some((partition, due)) = offset_reset(message) {
            self.push(ClientEvent::OffsetReset { partition, due });
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let phase = match self.joined.load(Ordering::Relaxed) {
            true => Phase::Running,
            false => Phase::StartUp,
        };
        self.push(match classify::connection(&error, reason, phase) {
            Decision::Stop => ClientEvent::Refused(crate::kafka::refused(&error, reason)),
            _ => ClientEvent::Error(error, reason.to_owned()),
        });
    }

    fn stats(&self, statistics: Statistics) {
        self.push(ClientEvent::Statistics(Seen::of(&statistics, self.silent_max)));
    }
}

/// Partition and offset of librdkafka's warning that the offset which was due is not there. It has no
/// event for it; the line is all that tells from where to where records may have been passed over.
/// Its form is that of `rd_kafka_offset_reset` in 2.12.
fn offset_reset(message: &str) -> Option<(i32, i64)> {
    let (place, rest) = message.split_once("]: offset reset (at offset ")?;
    let (_, partition) = place.rsplit_once(" [")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    Some((partition.parse().ok()?, rest[..end].parse().ok()?))
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.joined.store(true, Ordering::Relaxed);
            if self.closing.load(Ordering::SeqCst) {
                assign(consumer, partitions);
            } else {
                self.push(ClientEvent::Assigned(partitions.clone()));
            }
        } else if self.closing.load(Ordering::SeqCst) {
            unassign(consumer, partitions);
        } else {
            let lost = consumer.assignment_lost();
            self.push(ClientEvent::Revoked { partitions: partitions.clone(), lost });
        }
    }

    fn commit_callback(&self, outcome: KafkaResult<()>, offsets: &TopicPartitionList) {
        let mut outcome = outcome;
        let mut committed = Vec::new();
        for element in offsets.elements() {
            match (element.error(), element.offset()) {
                (Ok(()), Offset::Offset(offset)) => committed.push((element.partition(), offset)),
                (Err(err), _) if outcome.is_ok() => outcome = Err(err),
                _ => {}
            }
        }
        self.push(ClientEvent::Committed { outcome, offsets: committed });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_line_about_an_offset_that_is_gone_is_understood() {
        let line = "[thrd:main]: streamlake.orders.raw [2]: offset reset (at offset 10 (leader epoch 0), \
                    broker 1) to offset BEGINNING (leader epoch -1): fetch failed due to requested offset \
                    not available on the broker: Broker: Offset out of range";
        assert_eq!(offset_reset(line), Some((2, 10)));
        for other in
            ["", "t [1]: offset reset (at offset INVALID", "a [b]: offset reset (at offset 1 "]
        {
            assert_eq!(offset_reset(other), None, "{other}");
        }
    }

    /// A partition is answered while its last fetch told its end, and its broker still talks.
    #[test]
    fn what_the_statistics_say_of_answers() {
        let seen =
            |broker: i32, (ls, hi): (i64, i64), (nodeid, state, rxidle): (i32, &str, i64)| {
                let partition = rdkafka::statistics::Partition {
                    partition: 0,
                    broker,
                    ls_offset: ls,
                    hi_offset: hi,
                    fetch_state: "active".into(),
                    ..Default::default()
                };
                let topic = rdkafka::statistics::Topic {
                    partitions: [(0, partition)].into(),
                    ..Default::default()
                };
                let broker = rdkafka::statistics::Broker {
                    nodeid,
                    state: state.into(),
                    rxidle,
                    ..Default::default()
                };
                let statistics = Statistics {
                    topics: [("t".to_owned(), topic)].into(),
                    brokers: [("b".to_owned(), broker)].into(),
                    ..Default::default()
                };
                Seen::of(&statistics, Duration::from_secs(31)).partitions[0].1.answered
            };
        let well = (1, "UP", 100_000);
        assert!(seen(1, (7, 7), well));
        assert!(!seen(1, (-1, -1), well), "refused");
        assert!(!seen(-1, (7, 7), (-1, "UP", 1)), "no leader; a bootstrap broker is up");
        assert!(!seen(2, (7, 7), well), "its broker is another one");
        assert!(!seen(1, (7, 7), (1, "CONNECT", 1)), "its broker is away");
        assert!(!seen(1, (7, 7), (1, "UP", 31_000_000)), "its broker hangs");
        assert!(seen(1, (7, 7), (1, "UP", 30_999_999)));
        let mut config = ClientConfig::new();
        assert_eq!(silent_max(&config), SILENT);
        config.set(FETCH_WAIT_MS, "60000");
        assert_eq!(silent_max(&config), SILENT + Duration::from_secs(60));
    }
}
