//! Which bug is planted in which scenario, and which check is there to catch it.

/// A planted bug, the scenario that can show it, and the check that is there to catch it.
pub(super) struct Trial {
    pub(super) bug: &'static str,
    pub(super) scenario: &'static str,
    pub(super) check: &'static str,
}

const fn trial(bug: &'static str, scenario: &'static str, check: &'static str) -> Trial {
    Trial { bug, scenario, check }
}

/// Every bug that the pipeline can be built with.
pub(super) const TRIALS: &[Trial] = &[
    trial("commit-before-write", "slow-store", "commit-frontier"),
    trial("auto-commit", "slow-store", "commit-frontier"),
    trial("commit-last-offset", "plain", "recovery"),
    trial("commit-one-too-far", "plain", "commit-frontier"),
    trial("commit-newest-completion", "failing-store", "commit-frontier"),
    trial("drop-on-store-error", "failing-store", "no-loss"),
    trial("dead-letter-on-transient-error", "failing-store", "dead-letters"),
    trial("commit-before-dead-letter-ack", "poison", "commit-frontier"),
    trial("dead-letter-reencoded", "poison", "dead-letters"),
    trial("header-lost", "plain", "fidelity"),
    trial("value-reserialized", "plain", "fidelity"),
    trial("part-overwritten", "kill", "immutability"),
    trial("part-truncated", "plain", "immutability"),
    trial("date-off-by-one", "plain", "placement"),
    trial("metadata-missing-part", "plain", "metadata"),
    trial("tail-forgotten", "stop", "no-loss"),
    trial("wrong-partitioner", "plain", "partition-determinism"),
    trial("random-partition-for-retries", "lost-answers", "partition-determinism"),
    trial("acks-one", "lost-leader", "acknowledged-is-durable"),
    trial("reordered-retries", "retries", "duplicates"),
    trial("error-swallowed", "lost-answers", "acknowledged-is-durable"),
    trial("unknown-as-failed", "lost-answers", "acknowledged-is-durable"),
    trial("record-skipped", "plain", "no-loss"),
    trial("commit-after-revoke", "rebalance", "commit-frontier"),
    trial("stale-assignment", "rebalance", "commit-frontier"),
    trial("replay-off-by-one", "replay", "replay"),
];

/// Bugs that only a real broker can show: the mock cluster's rebalances are not Kafka's, it stamps a
/// dead letter when it is sent, not when it is appended, it sets no offsets from outside a group, and it
/// neither replicates nor promises to recognise a producer's second copy.
pub(super) const NEEDS_A_REAL_BROKER: [&str; 6] = [
    "acks-one",
    "reordered-retries",
    "commit-after-revoke",
    "stale-assignment",
    "commit-before-dead-letter-ack",
    "replay-off-by-one",
];

/// What was tried and cannot be seen from outside, with the reason.
pub(super) const UNDETECTABLE: &[(&str, &str)] = &[
    (
        "a commit for a partition that was taken away, before its new owner has committed",
        "what it covers is stored, and the offset goes forward: it does no harm and looks like any \
         other commit. It is caught where it comes later and takes the offset back",
    ),
    (
        "a commit with the generation of an assignment that is over",
        "the broker refuses it (illegal generation, or unknown member), so it leaves no trace in the \
         group's offsets",
    ),
    (
        "acknowledgement by the leader alone, while no leader is lost",
        "every record is in the log all the same; what shows it is the producer's configuration, as \
         read back",
    ),
    (
        "retries in another order, while no request fails",
        "nothing is sent twice, so nothing can change places; what shows it is the producer's \
         configuration, as read back",
    ),
];
