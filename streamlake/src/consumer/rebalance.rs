//! Taking partitions on and giving them up.

use super::context::{Context, assign, unassign};
use super::partition::Partition;
use super::poll_loop::PollLoop;
use crate::observe::metrics;
use crate::planted::{self, Bug};
use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use std::time::Instant;

/// Commits that may fail during a revocation before the partitions are given up uncommitted: some
/// brokers refuse every commit while a group rebalances.
const FAILED_COMMITS_MAX: u32 = 3;

/// Partitions on their way out.
#[derive(Debug)]
pub(super) struct Revocation {
    list: TopicPartitionList,
    numbers: Vec<i32>,
    deadline: Instant,
    failures_before: u32,
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

impl PollLoop {
    pub(super) fn assigned(&mut self, consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
        let numbers = numbers(list);
        for number in &numbers {
            self.assign_one(*number);
        }
        // Before the first of them is fetched: records that lay in two queues would be read in the
        // wrong order.
        self.lead_records_here(numbers.iter().copied());
        assign(consumer, planted::further_back(consumer, list).as_ref().unwrap_or(list));
        self.contact.assigned(self.assigned_partitions().count());
        metrics::rebalanced(&self.settings.topic, "assigned");
        tracing::info!(topic = self.settings.topic, partitions = ?numbers, "assigned");
        let fields =
            json!({"topic": self.settings.topic, "partitions": numbers, "epoch": self.epochs});
        self.events.emit("assigned", fields);
        // The client remembers a pause beyond an assignment: say what holds now, either way.
        let held = self.paused || self.stopping;
        let done = if held { consumer.pause(list) } else { consumer.resume(list) };
        if let Err(err) = done {
            tracing::warn!(error = %err, "pausing or resuming new partitions failed");
        }
    }

    /// Begins a new assignment of one partition; what is left of an old one is dropped.
    pub(super) fn assign_one(&mut self, number: i32) {
        if planted::is(Bug::StaleAssignment)
            && planted::acts_if(Bug::StaleAssignment, self.partition(number).is_some())
        {
            return;
        }
        self.forget(number);
        self.epochs += 1;
        let Ok(index) = usize::try_from(number) else {
            return;
        };
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        self.partitions[index] = Some(Box::new(Partition::new(self.epochs)));
    }

    /// Takes a partition on again of which nothing came, neither a record nor its end. librdkafka asks
    /// for the committed offset of a new partition once: if the coordinator refuses the answer (it moves,
    /// it loads, a right is missing), the partition is in the assignment and nobody ever fetches it
    /// (librdkafka issue 5586).
    pub(super) fn retake_silent(&mut self, consumer: &BaseConsumer<Context>, now: Instant) {
        if self.paused || self.stopping || self.revocation.is_some() {
            return;
        }
        let silent = self
            .assigned_partitions()
            .find(|(_, state)| !state.begun && state.seek_to.is_none() && now >= state.retake_at);
        let Some((number, retakes)) = silent.map(|(number, state)| (number, state.retakes()))
        else {
            return;
        };
        let topic = self.settings.topic.clone();
        tracing::warn!(
            topic,
            partition = number,
            "nothing comes of this partition, not even its end; taking it on again"
        );
        metrics::retaken(&topic);
        self.events.emit("retaken", json!({"topic": topic, "partition": number}));
        let mut again = TopicPartitionList::new();
        if matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            again.add_partition(&topic, number);
            unassign(consumer, &again);
        } else {
            // An eager assignment is made as a whole: the others go on where they are.
            for (other, state) in self.assigned_partitions() {
                let next = state.frontier.position().filter(|_| other != number);
                let next = next.map_or(Offset::Stored, Offset::Offset);
                if let Err(err) = again.add_partition_offset(&topic, other, next) {
                    tracing::warn!(partition = other, error = %err, "cannot be taken on again");
                    return;
                }
            }
        }
        self.assign_one(number);
        if let Some(state) = self.partition(number) {
            state.retaken(retakes);
        }
        self.lead_records_here(numbers(&again));
        assign(consumer, &again);
    }

    /// The group takes partitions away. What was read of them is sealed and stored first, unless the
    /// membership is lost already: then another member may own them, and nothing may be committed.
    pub(super) fn revoked(
        &mut self,
        consumer: &BaseConsumer<Context>,
        list: TopicPartitionList,
        lost: bool,
        now: Instant,
    ) {
        let numbers = numbers(&list);
        tracing::info!(topic = self.settings.topic, partitions = ?numbers, lost, "revoked");
        let topic = self.settings.topic.clone();
        metrics::rebalanced(&topic, if lost { "lost" } else { "revoked" });
        self.events.emit("revoked", json!({"topic": topic, "partitions": numbers, "lost": lost}));
        // The client has stopped fetching these by itself; pausing them here would outlive the
        // assignment. A revocation that was still being settled has no time left.
        self.give_up(consumer, false);
        for number in &numbers {
            if let Some(state) = self.partition(*number) {
                state.revoking = !planted::is(Bug::StaleAssignment);
            }
            if planted::is(Bug::TailForgottenAtRevoke) {
                self.forget_tail(*number);
            }
            self.seal(*number, None);
        }
        let lost = lost || planted::is(Bug::CommitAfterRevoke);
        let deadline = if lost { now } else { now + self.settings.revoke_deadline };
        let failures_before = self.committer.failures;
        self.revocation = Some(Revocation { list, numbers, deadline, failures_before });
        self.advance_revocation(consumer, now);
    }

    /// Gives the partitions up once they are stored and committed, or when the time is over.
    pub(super) fn advance_revocation(&mut self, consumer: &BaseConsumer<Context>, now: Instant) {
        let Some(revocation) = &self.revocation else {
            return;
        };
        let late = now >= revocation.deadline || consumer.assignment_lost();
        let refused = self.committer.failures >= revocation.failures_before + FAILED_COMMITS_MAX;
        let states =
            revocation.numbers.iter().filter_map(|n| self.partitions.get(*n as usize)?.as_deref());
        let settled = states.clone().all(|state| {
            state.frontier.open_units() == 0 && (refused || state.to_commit().is_none())
        });
        if !late && !settled {
            return;
        }
        self.give_up(consumer, settled);
    }

    /// Lets go of what is being revoked.
    fn give_up(&mut self, consumer: &BaseConsumer<Context>, settled: bool) {
        let Some(revocation) = self.revocation.take() else {
            return;
        };
        for number in &revocation.numbers {
            if !planted::is(Bug::StaleAssignment) {
                self.forget(*number);
            }
        }
        unassign(consumer, &revocation.list);
        self.contact.holds(self.assigned_partitions().count());
        self.events.emit(
            "given_up",
            json!({"topic": self.settings.topic, "partitions": revocation.numbers, "settled": settled}),
        );
    }

    /// Ends an assignment: what is not in flight is dropped, what is in flight will count no more.
    fn forget(&mut self, number: i32) {
        let Some(slot) =
            usize::try_from(number).ok().and_then(|index| self.partitions.get_mut(index))
        else {
            return;
        };
        let Some(state) = slot.take() else {
            return;
        };
        if let Some(next) = state.to_commit() {
            self.late.note(number, next);
        }
        let open: usize = state.open.iter().map(|(_, part)| part.bytes()).sum();
        let mut dropped = open;
        self.ready.retain(|(unit, _)| {
            let keep = unit.partition != number || unit.epoch != state.epoch;
            dropped += if keep { 0 } else { unit.bytes };
            keep
        });
        self.held_bytes -= dropped;
    }
}
