//! What an explorer can do to a pipeline, a row each.

use std::borrow::Cow;

/// What a strike is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// A member of the group, drawn.
    Member,
    /// The producer.
    Producer,
    /// The first broker.
    Broker,
    /// The object store.
    Store,
}

/// A setting that is drawn: its key, the least and the most.
type Drawn = (&'static str, u64, u64);

/// One kind of fault with one way of being set up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Strike {
    /// As coverage names it.
    pub(super) name: Cow<'static, str>,
    /// Kind of the fault.
    pub(super) kind: &'static str,
    pub(super) on: On,
    /// Settings as they stand in the scenario.
    pub(super) fixed: Cow<'static, str>,
    pub(super) drawn: &'static [Drawn],
    /// Bounds of its length in milliseconds; none where it ends by itself.
    pub(super) lasts: Option<(u64, u64)>,
}

const fn strike(
    name: &'static str,
    kind: &'static str,
    on: On,
    fixed: &'static str,
    drawn: &'static [Drawn],
    lasts: (u64, u64),
) -> Strike {
    let (name, fixed) = (Cow::Borrowed(name), Cow::Borrowed(fixed));
    Strike { name, kind, on, fixed, drawn, lasts: Some(lasts) }
}

/// Answers that are altered: so many in a row, from the nth.
const SOME: &[Drawn] = &[("nth", 1, 4), ("times", 1, 3)];
const ANSWERED: (u64, u64) = (3_000, 5_000);

const fn answer(name: &'static str, on: On, fixed: &'static str) -> Strike {
    strike(name, "protocol-error", on, fixed, SOME, ANSWERED)
}

/// Every strike but the crash points, which a build may lack.
const STRIKES: &[Strike] = &[
    strike("consumer-kill", "consumer-kill", On::Member, "", &[], (200, 3_000)),
    strike("consumer-restart", "consumer-restart", On::Member, "", &[], (200, 3_000)),
    strike("consumer-pause", "consumer-pause", On::Member, "", &[], (500, 9_000)),
    strike(
        "store-unavailable",
        "store-failure",
        On::Store,
        "mode = \"unavailable\"",
        &[],
        (300, 5_000),
    ),
    strike(
        "store-too-many-requests",
        "store-failure",
        On::Store,
        "mode = \"too-many-requests\"",
        &[],
        (300, 4_000),
    ),
    strike("store-hang", "store-failure", On::Store, "mode = \"hang\"", &[], (500, 5_000)),
    strike(
        "store-slow",
        "store-failure",
        On::Store,
        "mode = \"slow\"",
        &[("delay_ms", 50, 900)],
        (1_000, 8_000),
    ),
    strike(
        "store-flaky",
        "store-failure",
        On::Store,
        "mode = \"flaky\"",
        &[("every", 2, 5)],
        (1_000, 8_000),
    ),
    strike(
        "store-reset-before",
        "store-failure",
        On::Store,
        "mode = \"reset-before\"",
        &[],
        (300, 4_000),
    ),
    strike(
        "store-reset-after",
        "store-failure",
        On::Store,
        "mode = \"reset-after\"",
        &[],
        (300, 4_000),
    ),
    strike("broker-restart", "broker-restart", On::Broker, "", &[], (500, 3_000)),
    strike("broker-kill", "broker-kill", On::Broker, "", &[], (500, 3_000)),
    strike("broker-pause", "broker-pause", On::Broker, "", &[], (500, 5_000)),
    strike(
        "link-black-hole",
        "client-partition",
        On::Broker,
        "link = \"black-hole\"",
        &[],
        (1_000, 5_000),
    ),
    strike("link-refuse", "client-partition", On::Broker, "link = \"refuse\"", &[], (1_000, 4_000)),
    strike(
        "answers-swallowed",
        "client-partition",
        On::Broker,
        "link = \"swallow-answers\"",
        &[],
        (1_000, 5_000),
    ),
    answer("commit-lost", On::Member, "api = \"OffsetCommit\", answer = \"NONE\""),
    answer(
        "commit-taken-and-denied",
        On::Member,
        "api = \"OffsetCommit\", answer = \"REQUEST_TIMED_OUT\", applied = true",
    ),
    answer(
        "commit-not-coordinator",
        On::Member,
        "api = \"OffsetCommit\", answer = \"NOT_COORDINATOR\"",
    ),
    answer(
        "commit-unanswered",
        On::Member,
        "api = \"OffsetCommit\", answer = \"no-answer\", applied = true",
    ),
    answer(
        "heartbeat-rebalance",
        On::Member,
        "api = \"Heartbeat\", answer = \"REBALANCE_IN_PROGRESS\"",
    ),
    answer(
        "heartbeat-unknown-member",
        On::Member,
        "api = \"Heartbeat\", answer = \"UNKNOWN_MEMBER_ID\"",
    ),
    answer("fetch-not-leader", On::Member, "api = \"Fetch\", answer = \"NOT_LEADER_OR_FOLLOWER\""),
    answer("fetch-cut", On::Member, "api = \"Fetch\", answer = \"cut\", applied = true"),
    answer(
        "letter-not-leader",
        On::Member,
        "api = \"Produce\", answer = \"NOT_LEADER_OR_FOLLOWER\"",
    ),
    answer(
        "letter-taken-and-denied",
        On::Member,
        "api = \"Produce\", answer = \"REQUEST_TIMED_OUT\", applied = true",
    ),
    answer(
        "produce-not-leader",
        On::Producer,
        "api = \"Produce\", answer = \"NOT_LEADER_OR_FOLLOWER\"",
    ),
    answer(
        "produce-unanswered",
        On::Producer,
        "api = \"Produce\", answer = \"no-answer\", applied = true",
    ),
];

/// The steps of the consumer at which it can be made to kill itself: states of its protocol that no instant
/// drawn at random would hit.
#[cfg(feature = "crash-points")]
fn crashes() -> impl Iterator<Item = Strike> {
    use streamlake::crash::{Occasion, labels};
    let under_load = labels().iter().filter(|label| label.occasion == Occasion::Load);
    under_load.map(|label| Strike {
        name: Cow::Owned(format!("crash-{}", label.name)),
        kind: "crash-point",
        on: On::Member,
        fixed: Cow::Owned(format!("point = \"{}\"", label.name)),
        drawn: &[("nth", 1, 6)],
        lasts: None,
    })
}

#[cfg(not(feature = "crash-points"))]
fn crashes() -> std::iter::Empty<Strike> {
    std::iter::empty()
}

/// Everything that this build can do.
pub(super) fn all() -> Vec<Strike> {
    STRIKES.iter().cloned().chain(crashes()).collect()
}
