//! Which bug is planted in which scenario, and which check is there to catch it.

/// A planted bug and what is to be said of it.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) bug: &'static str,
    /// The scenario of `scenarios/prove` that can show it.
    pub(super) scenario: &'static str,
    /// The check that is there to catch it.
    pub(super) check: &'static str,
    /// Where the ordinary suite is asked first: what is found there need not be looked for elsewhere.
    pub(super) first: &'static str,
}

const fn trial(
    bug: &'static str,
    scenario: &'static str,
    check: &'static str,
    first: &'static str,
) -> Trial {
    Trial { bug, scenario, check, first }
}

/// Every bug that the pipeline can be built with.
pub(super) const TRIALS: &[Trial] = &[
    // What is committed, and when.
    trial("commit-before-write", "slow-store", "commit-frontier", "slow-store"),
    trial("auto-commit", "slow-store", "commit-frontier", "slow-store"),
    trial("commit-last-offset", "plain", "recovery", "two-groups"),
    trial("commit-one-too-far", "plain", "commit-frontier", "two-groups"),
    trial("commit-newest-completion", "failing-store", "commit-frontier", "consumer-restart"),
    trial("commit-before-dead-letter-ack", "poison", "commit-frontier", "commit-table"),
    trial("commit-after-revoke", "rebalance", "commit-frontier", "consumer-pause"),
    trial("stale-assignment", "rebalance", "commit-frontier", "consumer-pause"),
    trial("commit-early-once", "slow-store", "commit-frontier", "slow-store"),
    trial("commit-early-after-retry", "failing-store", "commit-frontier", "store-unavailable"),
    trial("commit-read-at-revoke", "rebalance", "commit-frontier", "consumer-pause"),
    trial("commit-back-once", "plain", "commit-frontier", "two-groups"),
    trial("commits-given-up", "rebalance", "recovery", "consumer-pause"),
    trial("commit-forgotten-at-stop", "stop", "exits", "consumer-restart"),
    trial("rereads-at-assignment", "stop", "duplicates", "consumer-restart"),
    trial("commits-only-when-idle", "plain", "recovery", "two-groups"),
    trial("commits-swapped-once", "slow-store", "commit-frontier", "slow-store"),
    trial("age-of-the-last-record", "plain", "recovery", "two-groups"),
    trial("single-record-waits", "variety", "recovery", "two-groups"),
    trial("batch-one-too-many", "variety", "metadata", "two-groups"),
    trial("batch-bytes-ignored", "variety", "metadata", "two-groups"),
    trial("one-partition-stays-paused", "store-down", "recovery", "store-unavailable"),
    trial("commits-again", "plain", "commit-frontier", "two-groups"),
    trial("late-completion-counts", "rebalance", "commit-frontier", "consumer-pause"),
    trial("stop-commits-unstored", "stop-in-trouble", "commit-frontier", "slow-store"),
    // What is lost.
    trial("drop-on-store-error", "failing-store", "no-loss", "store-unavailable"),
    trial("tail-forgotten", "stop", "no-loss", "consumer-restart"),
    trial("tail-forgotten-at-revoke", "rebalance", "no-loss", "consumer-pause"),
    trial("tail-of-one-partition", "stop", "no-loss", "consumer-restart"),
    trial("record-skipped", "plain", "no-loss", "two-groups"),
    trial("skips-rarely", "variety", "no-loss", "two-groups"),
    trial("skips-after-dead-letter", "variety", "no-loss", "two-groups"),
    trial("skips-without-key", "variety", "no-loss", "two-groups"),
    trial("skips-odd-keys", "variety", "no-loss", "two-groups"),
    trial("skips-large", "variety", "no-loss", "two-groups"),
    trial("skips-after-assignment", "stop", "no-loss", "consumer-pause"),
    trial("skips-after-retry", "failing-store", "no-loss", "store-unavailable"),
    trial("skips-when-shared", "rebalance", "no-loss", "consumer-pause"),
    trial("skips-new-day", "variety", "no-loss", "two-groups"),
    trial("skips-in-second-group", "variety", "no-loss", "two-groups"),
    trial("last-of-full-batch-lost", "variety", "no-loss", "two-groups"),
    trial("last-of-large-batch-lost", "variety", "no-loss", "two-groups"),
    trial("last-of-compressed-lost", "variety", "no-loss", "two-groups"),
    trial("seventh-part-lost", "variety", "no-loss", "two-groups"),
    trial("taken-name-counts-as-stored", "rebalance", "no-loss", "consumer-pause"),
    trial("reset-counts-as-stored", "store-down", "no-loss", "lost-answers"),
    trial("skips-seen-ids", "lost-answers", "no-loss", "two-groups"),
    // Dead letters.
    trial("dead-letter-on-transient-error", "failing-store", "dead-letters", "store-unavailable"),
    trial("dead-letter-reencoded", "poison", "dead-letters", "two-groups"),
    trial("poison-dropped", "variety", "no-loss", "two-groups"),
    trial("poison-stored", "variety", "dead-letters", "two-groups"),
    trial("good-record-dead-lettered", "variety", "dead-letters", "two-groups"),
    trial("letters-dropped", "variety", "dead-letters", "two-groups"),
    trial("letters-dropped-in-second-group", "variety", "dead-letters", "two-groups"),
    trial("letter-twice", "variety", "duplicates", "two-groups"),
    trial("letter-without-trace", "variety", "dead-letters", "two-groups"),
    trial("letter-without-reason", "variety", "dead-letters", "two-groups"),
    trial("letter-of-another-offset", "variety", "dead-letters", "two-groups"),
    trial("letter-of-partition-zero", "variety", "dead-letters", "two-groups"),
    trial("letter-failed-in-1970", "variety", "dead-letters", "two-groups"),
    trial("letter-of-another-time", "variety", "dead-letters", "two-groups"),
    trial("letter-without-odd-key", "variety", "dead-letters", "two-groups"),
    trial("letter-of-tombstone-empty", "variety", "dead-letters", "two-groups"),
    trial("letter-of-empty-tombstone", "variety", "dead-letters", "two-groups"),
    trial("letter-without-reserved-headers", "variety", "dead-letters", "two-groups"),
    trial("letter-without-null-headers", "variety", "dead-letters", "two-groups"),
    trial("letter-of-another-group", "variety", "dead-letters", "two-groups"),
    trial("letter-headers-in-front", "variety", "dead-letters", "two-groups"),
    trial("letter-reason-of-the-one-before", "variety", "dead-letters", "two-groups"),
    trial("letter-keeps-timestamp", "variety", "dead-letters", "two-groups"),
    trial("large-letter-cut", "variety", "dead-letters", "two-groups"),
    trial("letter-header-value-repaired", "variety", "dead-letters", "two-groups"),
    trial("lenient-instant", "variety", "dead-letters", "two-groups"),
    trial("strict-instant", "variety", "dead-letters", "two-groups"),
    trial("deep-refused", "variety", "dead-letters", "two-groups"),
    // What is stored of a record.
    trial("header-lost", "plain", "fidelity", "two-groups"),
    trial("value-reserialized", "plain", "fidelity", "two-groups"),
    trial("headers-out-of-order", "variety", "fidelity", "two-groups"),
    trial("repeated-header-dropped", "variety", "fidelity", "two-groups"),
    trial("null-header-as-empty", "variety", "fidelity", "two-groups"),
    trial("empty-header-as-null", "variety", "fidelity", "two-groups"),
    trial("header-name-repaired", "variety", "fidelity", "two-groups"),
    trial("neighbours-headers", "variety", "fidelity", "two-groups"),
    trial("line-id-constant", "variety", "identity", "two-groups"),
    trial("timestamp-zeroed", "variety", "fidelity", "two-groups"),
    trial("null-key-as-empty", "variety", "fidelity", "two-groups"),
    trial("empty-key-as-null", "variety", "fidelity", "two-groups"),
    trial("odd-key-repaired", "variety", "fidelity", "two-groups"),
    trial("value-trimmed", "variety", "fidelity", "two-groups"),
    trial("value-joined", "variety", "fidelity", "two-groups"),
    trial("long-value-cut", "variety", "fidelity", "two-groups"),
    trial("value-transliterated", "variety", "fidelity", "two-groups"),
    trial("numbers-rounded", "variety", "fidelity", "two-groups"),
    trial("part-shuffled", "variety", "order", "two-groups"),
    trial("odd-timestamp-replaced", "variety", "fidelity", "two-groups"),
    trial("seventeenth-header-lost", "variety", "fidelity", "two-groups"),
    trial("quoted-key-altered", "variety", "fidelity", "two-groups"),
    trial("header-name-lowercased", "variety", "fidelity", "two-groups"),
    trial("header-value-repaired", "variety", "fidelity", "two-groups"),
    trial("long-header-cut", "variety", "fidelity", "two-groups"),
    trial("line-id-normalised", "variety", "identity", "two-groups"),
    // Objects and their metadata.
    trial("part-overwritten", "kill", "immutability", "consumer-kill"),
    trial("part-truncated", "plain", "immutability", "two-groups"),
    trial("part-of-two-partitions", "variety", "metadata", "two-groups"),
    trial("stored-twice-after-error", "failing-store", "duplicates", "store-unavailable"),
    trial("retry-under-another-name", "lost-writes", "duplicates", "consumer-kill-uncommitted"),
    trial("number-used-again", "failing-store", "immutability", "store-unavailable"),
    trial("stray-object", "variety", "metadata", "two-groups"),
    trial("empty-part", "variety", "metadata", "two-groups"),
    trial("wrong-dataset-folder", "variety", "placement", "two-groups"),
    trial("date-off-by-one", "plain", "placement", "two-groups"),
    trial("date-of-timestamp", "variety", "placement", "two-groups"),
    trial("date-without-zone", "variety", "placement", "two-groups"),
    trial("date-of-open-part", "variety", "placement", "two-groups"),
    trial("date-1970-without-header", "variety", "placement", "two-groups"),
    trial("metadata-missing-part", "plain", "metadata", "two-groups"),
    trial("metadata-wrong-checksum", "variety", "metadata", "two-groups"),
    trial("metadata-offset-off-by-one", "variety", "metadata", "two-groups"),
    trial("metadata-counts-offsets", "variety", "metadata", "two-groups"),
    trial("metadata-wrong-size", "variety", "metadata", "two-groups"),
    trial("metadata-wrong-topic", "variety", "metadata", "two-groups"),
    trial("metadata-forgets", "variety", "metadata", "two-groups"),
    trial("metadata-of-today", "variety", "metadata", "two-groups"),
    trial("metadata-cut-at-stop", "variety", "metadata", "two-groups"),
    trial("retries-without-pause", "store-down", "recovery", "store-unavailable"),
    trial("part-zero", "variety", "placement", "two-groups"),
    trial("attribute-wrong-offset", "variety", "metadata", "two-groups"),
    trial("part-of-two-frames", "variety", "metadata", "two-groups"),
    trial("probe-left-behind", "plain", "metadata", "two-groups"),
    trial("date-of-last-header", "variety", "placement", "two-groups"),
    trial("date-of-long-fraction", "variety", "placement", "two-groups"),
    trial("metadata-unconditional", "rebalance", "metadata", "consumer-pause"),
    trial("metadata-time-frozen", "variety", "metadata", "two-groups"),
    trial("rebuilt-entry-miscounts", "kill", "metadata", "consumer-kill"),
    trial("rebuilds-one-only", "kill", "metadata", "consumer-kill"),
    trial("content-type-of-plain", "variety", "metadata", "two-groups"),
    trial("attribute-of-plain-lines", "variety", "metadata", "two-groups"),
    trial("metadata-lists-twice", "variety", "metadata", "two-groups"),
    // What the producer writes and says.
    trial("wrong-partitioner", "plain", "partition-determinism", "two-groups"),
    trial("random-partition-for-retries", "lost-answers", "partition-determinism", "lost-answers"),
    trial("acks-one", "lost-leader", "acknowledged-is-durable", "two-groups"),
    trial("reordered-retries", "retries", "duplicates", "two-groups"),
    trial("error-swallowed", "lost-answers", "acknowledged-is-durable", "lost-answers"),
    trial("unknown-as-failed", "lost-answers", "acknowledged-is-durable", "lost-answers"),
    trial("second-header-value-wrong", "variety", "fidelity", "two-groups"),
    trial("header-name-wrong", "variety", "fidelity", "two-groups"),
    trial("ingested-in-1970", "variety", "fidelity", "two-groups"),
    trial("ingested-an-hour-ago", "variety", "fidelity", "two-groups"),
    trial("ingestion-id-used-again", "variety", "identity", "two-groups"),
    trial("payload-trimmed", "variety", "acknowledged-is-durable", "two-groups"),
    trial("long-key-cut", "variety", "acknowledged-is-durable", "two-groups"),
    trial("odd-key-partitioned-elsewhere", "variety", "partition-determinism", "two-groups"),
    trial("sent-twice", "variety", "duplicates", "two-groups"),
    trial("good-record-rejected", "variety", "outcomes", "two-groups"),
    trial("poison-accepted", "variety", "outcomes", "two-groups"),
    trial("rejected-without-letter", "variety", "dead-letters", "two-groups"),
    trial("rejected-repaired", "variety", "dead-letters", "two-groups"),
    trial("every-tenth-unknown", "variety", "outcomes", "two-groups"),
    trial("every-tenth-failed", "variety", "acknowledged-is-durable", "two-groups"),
    trial("receipt-of-the-one-before", "variety", "acknowledged-is-durable", "two-groups"),
    trial("acknowledged-unsent", "variety", "acknowledged-is-durable", "two-groups"),
    trial("receipt-twice", "variety", "outcomes", "two-groups"),
    trial("receipt-lost", "variety", "outcomes", "two-groups"),
    trial("receipt-of-another-id", "variety", "identity", "two-groups"),
    trial("rejected-letter-without-key", "variety", "dead-letters", "two-groups"),
    trial("rejected-reason-constant", "variety", "dead-letters", "two-groups"),
    trial("one-record-late", "variety", "order", "two-groups"),
    trial("ingested-at-cached", "variety", "fidelity", "two-groups"),
    trial("ends-without-receipts", "variety", "outcomes", "two-groups"),
    trial("timestamp-of-event-time", "variety", "fidelity", "two-groups"),
    trial("id-header-twice", "variety", "fidelity", "two-groups"),
    trial("empty-key-ignored", "variety", "acknowledged-is-durable", "two-groups"),
    trial("key-keeps-escapes", "variety", "acknowledged-is-durable", "two-groups"),
    trial("receipt-of-payload-key", "variety", "acknowledged-is-durable", "two-groups"),
    trial("rejected-place-of-the-one-before", "variety", "dead-letters", "two-groups"),
    trial("rejected-letter-of-another-id", "variety", "identity", "two-groups"),
    trial("unknown-sent-again", "lost-answers", "outcomes", "lost-answers"),
    trial("receipts-at-the-end", "slow-load", "outcomes", "two-groups"),
    trial("last-line-lost", "variety", "outcomes", "two-groups"),
    // Settings.
    trial("idempotence-off", "plain", "configuration", "two-groups"),
    trial("retries-bounded", "plain", "configuration", "two-groups"),
    trial("letter-acks-one", "plain", "configuration", "two-groups"),
    trial("letter-idempotence-off", "plain", "configuration", "two-groups"),
    trial("offset-reset-latest", "plain", "configuration", "two-groups"),
    trial("reads-uncommitted", "plain", "configuration", "two-groups"),
    trial("lingers-long", "plain", "outcomes", "two-groups"),
    // Processes.
    trial("stop-exits-one", "plain", "exits", "two-groups"),
    trial("stop-takes-its-time", "plain", "exits", "two-groups"),
    trial("stop-panics", "plain", "exits", "two-groups"),
    trial("ends-by-itself", "plain", "exits", "two-groups"),
    trial("stands-still", "plain", "recovery", "two-groups"),
    trial("producer-exits-one", "plain", "exits", "two-groups"),
    trial("producer-aborts", "plain", "exits", "two-groups"),
    trial("no-leave-at-stop", "stop", "exits", "consumer-restart"),
    trial("unwell-while-records-flow", "plain", "recovery", "two-groups"),
    trial("replay-off-by-one", "replay", "replay", "two-groups"),
    // Invented before the checkers that are to find them were read.
    trial("key-trimmed", "variety", "acknowledged-is-durable", "two-groups"),
    trial("payload-crlf-normalised", "variety", "acknowledged-is-durable", "two-groups"),
    trial("empty-key-spread", "variety", "partition-determinism", "two-groups"),
    trial("hung-store-call-waited-for", "store-down", "recovery", "store-unavailable"),
    trial("receipt-of-another-topic", "variety", "acknowledged-is-durable", "two-groups"),
    trial("producer-exits-zero-after-unknown", "lost-answers", "exits", "lost-answers"),
    trial("delivery-timeout-short", "plain", "configuration", "two-groups"),
    trial("audit-forgets-letters", "variety", "dead-letters", "two-groups"),
    trial("trailing-bytes-accepted", "variety", "dead-letters", "two-groups"),
    trial("leap-second-refused", "variety", "dead-letters", "two-groups"),
    trial("odd-ingested-at-buried", "variety", "dead-letters", "two-groups"),
    trial("log-without-path", "plain", "outcomes", "two-groups"),
    trial("number-zeros-cut", "variety", "fidelity", "two-groups"),
    trial("empty-header-name-dropped", "variety", "fidelity", "two-groups"),
    trial("header-value-cut-at-nul", "variety", "fidelity", "two-groups"),
    trial("letter-null-key-as-empty", "variety", "dead-letters", "two-groups"),
    trial("probe-skipped", "plain", "configuration", "two-groups"),
    trial("letter-failed-when-ingested", "variety", "dead-letters", "two-groups"),
    trial("letter-of-neighbour-lost", "variety", "no-loss", "two-groups"),
    trial("small-part-stays-plain", "variety", "metadata", "two-groups"),
    trial("listed-before-written", "kill", "metadata", "consumer-kill"),
    trial("metadata-of-other-days-cut", "variety", "metadata", "two-groups"),
    trial("slow-upload-hedged", "slow-store", "duplicates", "slow-store"),
    trial("date-an-hour-ahead", "variety", "placement", "two-groups"),
    trial("too-many-requests-hopeless", "slow-store", "exits", "slow-store"),
    trial("rereads-after-pause", "store-down", "duplicates", "store-unavailable"),
    trial("dedupes-by-key", "variety", "no-loss", "two-groups"),
    trial("commit-without-leader-epoch", "plain", "commit-frontier", "two-groups"),
    trial("poll-interval-shortened", "plain", "configuration", "two-groups"),
    trial("well-while-nothing-flows", "store-down", "recovery", "store-unavailable"),
    // Planted by somebody who did not know what is checked.
    trial("resumes-from-memory", "rebalance", "duplicates", "consumer-pause"),
    trial("commits-by-the-hundred", "plain", "recovery", "two-groups"),
    trial("letter-held-back", "variety", "recovery", "two-groups"),
    trial("other-days-wait", "variety", "recovery", "two-groups"),
    trial("metadata-crc-unpadded", "variety", "metadata", "two-groups"),
    trial("metadata-names-the-topic", "variety", "metadata", "two-groups"),
    trial("audit-forgets-duplicates", "replay", "self-report", "consumer-kill-uncommitted"),
    trial("replay-tells-one-partition", "replay", "replay", "two-groups"),
    trial("receipt-repairs-odd-key", "variety", "acknowledged-is-durable", "two-groups"),
    trial("receipt-line-at-writing", "variety", "outcomes", "two-groups"),
    trial("letter-keeps-first-account", "variety", "dead-letters", "two-groups"),
    trial("base64-of-urls", "variety", "fidelity", "two-groups"),
    trial("attributes-lost-at-retry", "failing-store", "metadata", "store-unavailable"),
    trial("pauses-grow-on", "store-down", "recovery", "store-unavailable"),
    // Likewise, later.
    trial("commits-first-assignment-only", "rebalance", "recovery", "consumer-pause"),
    trial("commits-rarely", "plain", "recovery", "two-groups"),
    trial("letter-at-end-uncommitted", "poison", "exits", "two-groups"),
    trial("revocation-uses-its-deadline", "rebalance", "recovery", "consumer-pause"),
    trial("slot-lost-at-error", "failing-store", "recovery", "store-unavailable"),
    trial("buffer-left-behind", "plain", "recovery", "two-groups"),
    trial("skips-last-of-long-turn", "variety", "no-loss", "two-groups"),
    trial("gap-untold", "plain", "no-gap", "two-groups"),
    trial("begins-where-it-was", "rebalance", "duplicates", "consumer-pause"),
    trial("date-of-the-one-before", "variety", "placement", "two-groups"),
    trial("letter-headers-swapped", "variety", "dead-letters", "two-groups"),
    trial("retries-ever-rarer", "store-down", "recovery", "store-outage-two-minutes"),
    trial("unlisted-part-removed", "kill", "immutability", "consumer-kill"),
    trial("metadata-bytes-of-plain-lines", "variety", "metadata", "compressed-parts"),
    trial("receipt-line-miscounted", "variety", "outcomes", "two-groups"),
    trial("rejected-unacknowledged", "lost-answers", "dead-letters", "lost-answers"),
    trial("large-sent-without-key", "variety", "acknowledged-is-durable", "two-groups"),
    trial("lag-of-what-is-read", "store-down", "self-report", "store-unavailable"),
    trial("audit-spans-holes", "variety", "self-report", "two-groups"),
    trial("dry-run-sets-offsets", "replay", "replay", "two-groups"),
];

/// Bugs that only a real broker can show: the mock cluster's rebalances are not Kafka's, it stamps a
/// dead letter when it is sent, not when it is appended, it sets no offsets from outside a group, it
/// refuses no commit, and it neither replicates nor promises to recognise a producer's second copy.
pub(super) const NEEDS_A_REAL_BROKER: [&str; 11] = [
    "acks-one",
    "reordered-retries",
    "commit-after-revoke",
    "stale-assignment",
    "commits-given-up",
    "commit-read-at-revoke",
    "tail-forgotten-at-revoke",
    "skips-when-shared",
    "commit-before-dead-letter-ack",
    "replay-off-by-one",
    "dry-run-sets-offsets",
];

/// Bugs that the ordinary suite of a testbed cannot reach, or cannot show, with the reason.
pub(super) const OUT_OF_REACH: &[(&str, &str, &str)] = &[
    (
        "embedded",
        "replay-off-by-one",
        "no scenario of the suite replays: the mock cluster sets no offsets from outside a group",
    ),
    (
        "docker",
        "replay-off-by-one",
        "no scenario of the suite replays; `replay` in scenarios/prove does",
    ),
    (
        "embedded",
        "commit-before-dead-letter-ack",
        "the mock cluster stamps a dead letter when it is sent, which is before the commit",
    ),
];

/// Why a testbed's suite cannot reach a bug, or cannot show it, where that is known.
pub(super) fn out_of_reach(testbed: &str, bug: &str) -> Option<&'static str> {
    let row = OUT_OF_REACH.iter().find(|row| (row.0, row.1) == (testbed, bug));
    row.map(|row| row.2)
}

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_bug_has_one_row_and_every_row_a_scenario_and_a_check() {
        let bugs: BTreeSet<_> = streamlake::planted::names().into_iter().collect();
        let rows: BTreeSet<_> = TRIALS.iter().map(|trial| trial.bug).collect();
        assert_eq!((bugs, rows.len()), (rows.clone(), TRIALS.len()));
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        for trial in TRIALS {
            let own = scenarios.join(format!("prove/{}.toml", trial.scenario));
            let first = scenarios.join(format!("{}.toml", trial.first));
            assert!(own.exists() && first.exists(), "{trial:?}");
            let known = streamlake_judge::all().iter().any(|checker| checker.name == trial.check);
            assert!(known, "{trial:?}");
        }
        let excused = OUT_OF_REACH.iter().map(|row| row.1).chain(NEEDS_A_REAL_BROKER);
        assert!(excused.into_iter().all(|bug| rows.contains(bug)));
    }
}
