//! Taking partitions on and giving them up, as the core says.

use super::context::{Context, assign, unassign};
use super::poll_loop::PollLoop;
use crate::crash::{self, Point};
use crate::observe::metrics;
use crate::planted;
use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use std::time::Instant;

pub(super) fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

impl PollLoop {
    fn list(&self, numbers: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(numbers.len());
        for number in numbers {
            list.add_partition(&self.settings.topic, *number);
        }
        list
    }

    pub(super) fn take_on(
        &mut self,
        consumer: &BaseConsumer<Context>,
        numbers: &[i32],
        paused: bool,
    ) {
        let list = self.list(numbers);
        crash::at_if(Point::BeforeAssignment, || !numbers.is_empty());
        // Before the first of them is fetched: records that lay in two queues would be read in the
        // wrong order.
        self.lead_records_here(numbers.iter().copied());
        assign(consumer, planted::further_back(consumer, &list).as_ref().unwrap_or(&list));
        self.contact.assigned(self.core.assigned_partitions().count());
        metrics::rebalanced(&self.settings.topic, "assigned");
        tracing::info!(topic = self.settings.topic, partitions = ?numbers, "assigned");
        let fields = json!({"topic": self.settings.topic, "partitions": numbers, "epoch": self.core.epochs()});
        self.events.emit("assigned", fields);
        let done = if paused { consumer.pause(&list) } else { consumer.resume(&list) };
        if let Err(err) = done {
            tracing::warn!(error = %err, "pausing or resuming new partitions failed");
        }
        crash::at_if(Point::AfterAssignment, || !numbers.is_empty());
    }

    /// The client has stopped fetching these by itself; pausing them here would outlive the assignment.
    pub(super) fn taken_away(&mut self, numbers: &[i32], lost: bool, now: Instant) {
        crash::at_if(Point::RevokeBegins, || !numbers.is_empty());
        let topic = &self.settings.topic;
        tracing::info!(topic, partitions = ?numbers, lost, "revoked");
        metrics::rebalanced(topic, if lost { "lost" } else { "revoked" });
        self.events.emit("revoked", json!({"topic": topic, "partitions": numbers, "lost": lost}));
        self.core.revoked(numbers, lost, now);
    }

    pub(super) fn give_up(
        &mut self,
        consumer: &BaseConsumer<Context>,
        numbers: &[i32],
        settled: bool,
    ) {
        crash::at_if(Point::BeforeGivingUp, || !numbers.is_empty());
        unassign(consumer, &self.list(numbers));
        crash::at_if(Point::AfterGivingUp, || !numbers.is_empty());
        self.contact.holds(self.core.assigned_partitions().count());
        self.events.emit(
            "given_up",
            json!({"topic": self.settings.topic, "partitions": numbers, "settled": settled}),
        );
    }

    pub(super) fn retake(
        &mut self,
        consumer: &BaseConsumer<Context>,
        number: i32,
        held: &[(i32, Option<i64>)],
    ) {
        let topic = &self.settings.topic;
        tracing::warn!(
            topic,
            partition = number,
            "nothing comes of this partition, not even its end; taking it on again"
        );
        metrics::retaken(topic);
        self.events.emit("retaken", json!({"topic": topic, "partition": number}));
        let mut again = self.list(&[]);
        if matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            again.add_partition(topic, number);
            unassign(consumer, &again);
        } else {
            // An eager assignment is made as a whole: the others go on where they are.
            for (other, next) in held {
                let next = next.map_or(Offset::Stored, Offset::Offset);
                if let Err(err) = again.add_partition_offset(topic, *other, next) {
                    tracing::warn!(partition = other, error = %err, "cannot be taken on again");
                    return;
                }
            }
        }
        self.lead_records_here(numbers(&again));
        assign(consumer, &again);
    }
}
