//! The pairs of API and answer that are tried.

use crate::cli::TestbedName;

/// When a client sends such requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// All the time.
    Load,
    /// When a member leaves its group and joins it again: it is restarted.
    Restart,
}

/// How the members of the group are set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Members {
    /// The classic protocol.
    Classic,
    /// The newer protocol, in which the broker assigns.
    Newer,
}

/// One API with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) api: &'static str,
    pub(super) answer: &'static str,
    pub(super) applied: bool,
    pub(super) client: &'static str,
    /// So many requests in a row.
    pub(super) times: u64,
    pub(super) throttle_ms: u64,
    pub(super) partition: Option<u32>,
    pub(super) occasion: Occasion,
    pub(super) members: Members,
    /// Shares its run with no other pair: what it leaves behind would be held against them.
    pub(super) alone: bool,
}

const PRODUCER: &str = "producer-1";
const CONSUMER: &str = "consumer-1";
const NO_ANSWER: &str = "no-answer";
const CUT: &str = "cut";

/// The broker does not see the request.
const fn refused(api: &'static str, answer: &'static str, client: &'static str) -> Pair {
    Pair {
        api,
        answer,
        applied: false,
        client,
        times: 3,
        throttle_ms: 0,
        partition: None,
        occasion: Occasion::Load,
        members: Members::Classic,
        alone: false,
    }
}

const fn produce(answer: &'static str) -> Pair {
    refused("Produce", answer, PRODUCER)
}

/// The dead letters of a consumer.
const fn letter(answer: &'static str) -> Pair {
    refused("Produce", answer, CONSUMER)
}

const fn fetch(answer: &'static str) -> Pair {
    refused("Fetch", answer, CONSUMER)
}

const fn commit(answer: &'static str) -> Pair {
    refused("OffsetCommit", answer, CONSUMER)
}

const fn heartbeat(answer: &'static str) -> Pair {
    refused("Heartbeat", answer, CONSUMER)
}

/// Asked when a member starts or stops.
const fn seldom(api: &'static str, answer: &'static str) -> Pair {
    Pair { times: 2, occasion: Occasion::Restart, ..refused(api, answer, CONSUMER) }
}

const fn newer(answer: &'static str) -> Pair {
    Pair { members: Members::Newer, ..refused("ConsumerGroupHeartbeat", answer, CONSUMER) }
}

impl Pair {
    const fn applied(self) -> Self {
        Self { applied: true, ..self }
    }

    const fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    const fn of_partition(self, partition: u32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    const fn throttled(self, throttle_ms: u64) -> Self {
        Self { throttle_ms, ..self }
    }

    const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// `offset-commit-not-coordinator-applied`.
    pub(super) fn name(&self) -> String {
        let mut name = String::new();
        if self.api == "Produce" && self.client == CONSUMER {
            name.push_str("letter");
        }
        for letter in self.api.chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        let answer = if self.throttle_ms > 0 { "throttled" } else { self.answer };
        name.push('-');
        name.push_str(&answer.to_lowercase().replace('_', "-"));
        if self.applied && self.throttle_ms == 0 {
            name.push_str("-applied");
        }
        if let Some(partition) = self.partition {
            name.push_str(&format!("-of-partition-{partition}"));
        }
        name
    }

    /// The mock cluster speaks the classic protocol of groups only.
    pub(super) fn applies_to(&self, testbed: TestbedName) -> bool {
        testbed == TestbedName::Docker || self.members != Members::Newer
    }
}

/// Every pair. FENCED_INSTANCE_ID is none of them: a member that is fenced ends on purpose, and nothing here
/// starts the pipeline's processes again.
pub(super) static PAIRS: &[Pair] = &[
    produce("NOT_LEADER_OR_FOLLOWER"),
    produce("NOT_LEADER_OR_FOLLOWER").applied(),
    produce("NOT_LEADER_OR_FOLLOWER").applied().of_partition(1),
    produce("LEADER_NOT_AVAILABLE"),
    produce("REQUEST_TIMED_OUT"),
    produce("REQUEST_TIMED_OUT").applied(),
    produce("NOT_ENOUGH_REPLICAS"),
    produce("NOT_ENOUGH_REPLICAS_AFTER_APPEND").applied(),
    produce("CORRUPT_MESSAGE"),
    produce("KAFKA_STORAGE_ERROR"),
    produce("KAFKA_STORAGE_ERROR").applied(),
    produce("UNKNOWN_TOPIC_OR_PARTITION"),
    produce("UNKNOWN_SERVER_ERROR"),
    produce("OUT_OF_ORDER_SEQUENCE_NUMBER").alone(),
    produce("UNKNOWN_PRODUCER_ID").alone(),
    produce("INVALID_PRODUCER_EPOCH").alone(),
    produce("NONE").applied().throttled(500),
    produce(NO_ANSWER).times(1),
    produce(NO_ANSWER).applied().times(1),
    produce(CUT),
    produce(CUT).applied(),
    letter("NOT_LEADER_OR_FOLLOWER"),
    letter("REQUEST_TIMED_OUT").applied(),
    letter("OUT_OF_ORDER_SEQUENCE_NUMBER").alone(),
    letter(NO_ANSWER).applied().times(1),
    letter(CUT).applied(),
    fetch("NOT_LEADER_OR_FOLLOWER"),
    fetch("NOT_LEADER_OR_FOLLOWER").applied(),
    fetch("LEADER_NOT_AVAILABLE"),
    fetch("OFFSET_OUT_OF_RANGE").alone(),
    fetch("OFFSET_OUT_OF_RANGE").applied().of_partition(1).alone(),
    fetch("UNKNOWN_TOPIC_OR_PARTITION"),
    fetch("UNKNOWN_TOPIC_ID"),
    fetch("CORRUPT_MESSAGE").alone(),
    fetch("KAFKA_STORAGE_ERROR"),
    fetch("FENCED_LEADER_EPOCH"),
    fetch("UNKNOWN_LEADER_EPOCH"),
    fetch("OFFSET_NOT_AVAILABLE"),
    fetch("UNKNOWN_SERVER_ERROR"),
    fetch("NONE").applied().throttled(500),
    fetch(NO_ANSWER).times(1),
    fetch(CUT).applied(),
    commit("NONE"),
    commit("NOT_COORDINATOR"),
    commit("NOT_COORDINATOR").applied(),
    commit("COORDINATOR_NOT_AVAILABLE"),
    commit("COORDINATOR_LOAD_IN_PROGRESS"),
    commit("REQUEST_TIMED_OUT").applied(),
    commit("REBALANCE_IN_PROGRESS"),
    commit("REBALANCE_IN_PROGRESS").applied(),
    commit("ILLEGAL_GENERATION"),
    commit("ILLEGAL_GENERATION").applied(),
    commit("UNKNOWN_MEMBER_ID"),
    commit("UNKNOWN_TOPIC_OR_PARTITION"),
    commit("UNKNOWN_TOPIC_OR_PARTITION").applied().of_partition(1),
    commit("OFFSET_METADATA_TOO_LARGE"),
    commit("UNKNOWN_SERVER_ERROR"),
    commit("NONE").applied().throttled(500),
    commit(NO_ANSWER).times(1),
    commit(NO_ANSWER).applied().times(1),
    commit(CUT),
    commit(CUT).applied(),
    // For longer than a session: the coordinator takes the member for dead, and the member does not know.
    heartbeat("NONE").times(40),
    heartbeat("NOT_COORDINATOR"),
    heartbeat("COORDINATOR_NOT_AVAILABLE"),
    heartbeat("COORDINATOR_LOAD_IN_PROGRESS"),
    heartbeat("REBALANCE_IN_PROGRESS"),
    heartbeat("ILLEGAL_GENERATION"),
    heartbeat("UNKNOWN_MEMBER_ID"),
    heartbeat("UNKNOWN_SERVER_ERROR"),
    heartbeat(NO_ANSWER).times(1),
    heartbeat(CUT),
    seldom("JoinGroup", "COORDINATOR_NOT_AVAILABLE"),
    seldom("JoinGroup", "COORDINATOR_LOAD_IN_PROGRESS"),
    seldom("JoinGroup", "NOT_COORDINATOR"),
    seldom("JoinGroup", "REBALANCE_IN_PROGRESS"),
    seldom("JoinGroup", "UNKNOWN_MEMBER_ID"),
    seldom("JoinGroup", "GROUP_MAX_SIZE_REACHED"),
    seldom("JoinGroup", "UNKNOWN_SERVER_ERROR"),
    seldom("JoinGroup", NO_ANSWER).applied().times(1),
    seldom("JoinGroup", CUT).applied(),
    seldom("SyncGroup", "REBALANCE_IN_PROGRESS"),
    seldom("SyncGroup", "REBALANCE_IN_PROGRESS").applied(),
    seldom("SyncGroup", "NOT_COORDINATOR"),
    seldom("SyncGroup", "COORDINATOR_NOT_AVAILABLE"),
    seldom("SyncGroup", "ILLEGAL_GENERATION"),
    seldom("SyncGroup", "UNKNOWN_MEMBER_ID"),
    seldom("SyncGroup", CUT).applied(),
    seldom("LeaveGroup", "NONE").times(1),
    seldom("LeaveGroup", "NOT_COORDINATOR").times(1),
    seldom("LeaveGroup", "UNKNOWN_MEMBER_ID").applied().times(1),
    seldom("LeaveGroup", CUT).times(1),
    seldom("OffsetFetch", "NOT_COORDINATOR"),
    seldom("OffsetFetch", "COORDINATOR_NOT_AVAILABLE"),
    seldom("OffsetFetch", "COORDINATOR_LOAD_IN_PROGRESS"),
    seldom("OffsetFetch", "UNSTABLE_OFFSET_COMMIT"),
    seldom("OffsetFetch", "UNKNOWN_MEMBER_ID"),
    seldom("OffsetFetch", "UNKNOWN_SERVER_ERROR"),
    seldom("OffsetFetch", NO_ANSWER).times(1),
    seldom("OffsetFetch", CUT).applied(),
    seldom("FindCoordinator", "COORDINATOR_NOT_AVAILABLE"),
    seldom("FindCoordinator", "COORDINATOR_LOAD_IN_PROGRESS"),
    seldom("FindCoordinator", "UNKNOWN_SERVER_ERROR"),
    seldom("FindCoordinator", NO_ANSWER).times(1),
    seldom("FindCoordinator", CUT).applied(),
    seldom("ListOffsets", "NOT_LEADER_OR_FOLLOWER"),
    seldom("ListOffsets", "LEADER_NOT_AVAILABLE"),
    seldom("ListOffsets", CUT).applied(),
    seldom("Metadata", "LEADER_NOT_AVAILABLE").applied(),
    seldom("Metadata", "UNKNOWN_TOPIC_OR_PARTITION").applied(),
    seldom("Metadata", "LEADER_NOT_AVAILABLE").applied().of_partition(1),
    seldom("Metadata", CUT).applied(),
    seldom("InitProducerId", "COORDINATOR_LOAD_IN_PROGRESS"),
    seldom("InitProducerId", "COORDINATOR_NOT_AVAILABLE"),
    seldom("InitProducerId", CUT).applied(),
    seldom("ApiVersions", "UNSUPPORTED_VERSION"),
    seldom("ApiVersions", CUT).applied(),
    newer("UNKNOWN_MEMBER_ID"),
    newer("FENCED_MEMBER_EPOCH"),
    newer("NOT_COORDINATOR"),
    newer("COORDINATOR_NOT_AVAILABLE"),
    newer("COORDINATOR_LOAD_IN_PROGRESS"),
    newer(NO_ANSWER).times(1),
    newer(CUT).applied(),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_pair_has_a_name_of_its_own() {
        let names: BTreeSet<String> = PAIRS.iter().map(Pair::name).collect();
        assert_eq!(names.len(), PAIRS.len());
        assert!(names.len() >= 40);
        for name in [
            "produce-not-leader-or-follower",
            "letter-produce-cut-applied",
            "fetch-throttled",
            "offset-commit-unknown-topic-or-partition-applied-of-partition-1",
        ] {
            assert!(names.contains(name), "{names:?}");
        }
    }
}
