//! What the checkers say: findings, a result for each check, a verdict for the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a check or a whole run came out. Never a fifth thing: what is not known is inconclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The evidence suffices, and it shows that the guarantee held.
    Pass,
    /// An anomaly was found; it stands whatever else is missing.
    Fail,
    /// The evidence does not suffice. Never a pass.
    Inconclusive,
    /// The promise was not made; or, of a whole scenario, the testbed cannot carry it out.
    NotApplicable,
}

impl Status {
    /// Exit code of a command that ends with this verdict: 0 pass, 1 an anomaly, 3 inconclusive.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            // Nothing was asked, so nothing was shown.
            Self::Inconclusive | Self::NotApplicable => 3,
        }
    }

    /// Combines checks into a verdict: an anomaly outweighs doubt, doubt outweighs a pass, and what
    /// does not apply says nothing. All not applicable stays not applicable.
    #[must_use]
    pub fn combine(all: impl IntoIterator<Item = Status>) -> Status {
        let weight = |status| match status {
            Self::NotApplicable => 0,
            Self::Pass => 1,
            Self::Inconclusive => 2,
            Self::Fail => 3,
        };
        all.into_iter().max_by_key(|&status| weight(status)).unwrap_or(Self::NotApplicable)
    }

    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::NotApplicable => "not applicable",
        }
    }
}

/// A range of offsets, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OffsetRange {
    /// First offset.
    pub first: u64,
    /// Last offset.
    pub last: u64,
}

/// One anomaly with what shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Kind of the anomaly, kebab-case: `lost-after-commit`, `commit-before-durable`.
    pub anomaly: String,
    /// One sentence that a person on call understands, with the numbers in it.
    pub message: String,
    /// Group, where it concerns one.
    pub group: Option<String>,
    /// Topic, where it concerns one.
    pub topic: Option<String>,
    /// Partition, where it concerns one.
    pub partition: Option<u32>,
    /// Offsets concerned, as ranges.
    pub offsets: Vec<OffsetRange>,
    /// Operations concerned.
    pub ops: Vec<u64>,
    /// Instant at which it can be seen, microseconds since the run's start.
    pub at_us: Option<u64>,
    /// Fault window in which, or after which, it happened.
    pub fault: Option<u32>,
    /// The facts that show it, one sentence each.
    pub evidence: Vec<String>,
}

/// What one checker says of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckResult {
    /// Name of the checker, kebab-case: `acknowledged-is-durable`.
    pub check: String,
    /// The guarantee in words.
    pub guarantee: String,
    /// How it came out.
    pub status: Status,
    /// One sentence with the numbers that matter.
    pub summary: String,
    /// Why it is inconclusive or not applicable; empty otherwise.
    pub reasons: Vec<String>,
    /// Named figures; the unit is the name's ending (`_records`, `_us`, `_bytes`).
    pub figures: BTreeMap<String, u64>,
    /// Every anomaly. Reports limit what they print; the JSON holds all.
    pub findings: Vec<Finding>,
}

/// The verdict on one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The checks combined.
    pub status: Status,
    /// Every check, in the order of the checkers' table.
    pub checks: Vec<CheckResult>,
    /// Counts and times of the whole run.
    pub tally: Tally,
}

/// Counts and times that every report gives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Operations invoked.
    pub invoked: u64,
    /// Operations acknowledged.
    pub acknowledged: u64,
    /// Operations rejected into the dead-letter topic.
    pub rejected: u64,
    /// Operations that certainly were not written.
    pub failed: u64,
    /// Operations whose outcome stayed unknown, those without any completion included.
    pub unknown: u64,
    /// Records in the log.
    pub logged: u64,
    /// Records of the log that appear in it more than once (surplus copies).
    pub logged_duplicates: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Acknowledged operations that are in neither log, raw zone nor dead-letter topic as promised.
    pub lost: u64,
    /// Offsets below the committed offset that are nowhere.
    pub gaps: u64,
    /// One entry a group.
    pub groups: BTreeMap<String, GroupTally>,
    /// Duplicates by cause, over log and raw zones: cause → surplus copies.
    pub duplicates_by_cause: BTreeMap<String, u64>,
    /// One entry a fault window.
    pub windows: Vec<WindowTally>,
    /// Longest time between two acknowledgements that follow each other, or from the last one to the
    /// end of a load whose last operations got none, microseconds.
    pub longest_unavailability_us: Option<u64>,
    /// When that longest gap began.
    pub longest_unavailability_from_us: Option<u64>,
    /// The load ended without an acknowledgement after operations that got none: the longest gap is
    /// at least as long as it says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unavailability_open: bool,
    /// Longest time in which a group committed nothing of a partition although a record was there,
    /// microseconds; from its first commit on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_standstill_us: Option<u64>,
    /// When that began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_standstill_from_us: Option<u64>,
    /// Where it was: `topic/partition, group name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_standstill_in: Option<String>,
    /// It lasted until the group was asked to stop: the time is at least as long as it says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standstill_open: bool,
    /// Latency from invocation to acknowledgement, microseconds: 50th, 99th percentile, maximum.
    pub latency_p50_us: Option<u64>,
    /// 99th percentile.
    pub latency_p99_us: Option<u64>,
    /// Maximum.
    pub latency_max_us: Option<u64>,
    /// Length of the run in microseconds.
    pub length_us: u64,
}

/// Counts of one consumer group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupTally {
    /// Distinct log records that are stored.
    pub stored: u64,
    /// Surplus copies of stored records.
    pub duplicates: u64,
    /// Parts.
    pub parts: u64,
    /// Sum over partitions of high watermark minus committed offset at the end.
    pub lag_end: u64,
}

/// One fault window as it was seen from outside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowTally {
    /// Number in the plan.
    pub fault: u32,
    /// Kind, `broker-restart`.
    pub kind: String,
    /// Target, `broker-1`.
    pub target: String,
    /// Begin of the act.
    pub injecting_us: Option<u64>,
    /// The act's effect was first seen.
    pub seen_us: Option<u64>,
    /// The target was seen to be back.
    pub healed_us: Option<u64>,
    /// First acknowledgement after the target was back.
    pub first_ack_after_us: Option<u64>,
    /// By when, after the target was back, every group had committed a record written after the
    /// outage began in each partition that had one: the pipeline moves again from end to end.
    pub recovered_us: Option<u64>,
    /// The partition that came last, with its group: `topic/partition, group name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_in: Option<String>,
    /// Longest gap between acknowledgements that overlaps the window, that at the end of the load
    /// included.
    pub unavailability_us: Option<u64>,
    /// The load ended without an acknowledgement: the gap is at least as long as it says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unavailability_open: bool,
    /// Operations in flight at some time in the window.
    pub in_flight: u64,
    /// Evidence of all steps: name → value.
    pub evidence: BTreeMap<String, String>,
}
