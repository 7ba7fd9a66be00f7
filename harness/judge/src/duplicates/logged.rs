//! Duplicates in the log.

use crate::case::{Case, anomalous, count, spelled};
use crate::index::{Index, NO_OP, NO_TIMESTAMP, RangeSet, Seen};
use streamlake_history::event::{Demand, Evidence, PlannedFault};

/// How surplus records of the log are called among the causes.
pub(super) const CAUSE: &str = "producer retry";

/// A broker's default for `producer.id.expiration.ms`.
const PRODUCER_EXPIRES_MS: i64 = 24 * 60 * 60 * 1000;

/// Records of the log that repeat an operation, or an ingestion id where no operation is named.
pub(crate) fn log_surplus(index: &Index) -> u64 {
    let named: u64 = index.ops.logged_again.values().sum();
    let nameless: u64 = index.ops.nameless.values().map(|&n| u64::from(n) - 1).sum();
    named + nameless
}

/// Judges them and gives their number.
pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> u64 {
    let surplus = log_surplus(index);
    if surplus == 0 {
        return 0;
    }
    if index.header.promises.idempotent && index.vouches(Evidence::Idempotence) {
        deduplicated(index, case, surplus);
    } else {
        repeated(index, case);
    }
    surplus
}

/// A producer that is idempotent and a broker that deduplicates leave none, unless the broker was started
/// again: then it knows a producer no more whose last record bears a timestamp that is older than a day
/// (`producer.id.expiration.ms`).
fn deduplicated(index: &Index, case: &mut Case<'_>, surplus: u64) {
    let mut placed = false;
    let restarted = index.header.promises.faults.iter().any(starts_a_broker);
    let expires_ms = index.started_at_ms.map(|ms| ms.saturating_sub(PRODUCER_EXPIRES_MS));
    let forgotten = |seen: &Seen| {
        let old = expires_ms.is_some_and(|ms| seen.timestamp_ms <= ms);
        index.is_full() && restarted && old && seen.timestamp_ms != NO_TIMESTAMP
    };
    let mut excused = false;
    for (number, set) in again(index, |seen| {
        excused |= forgotten(seen);
        !forgotten(seen)
    }) {
        let text = format!(
            "{} of {} with an operation that the log holds more than once, although the producer \
             is idempotent: {}",
            count(set.len(), "record"),
            index.lane_name(number),
            spelled(&set)
        );
        placed = true;
        if restarted && !index.is_full() {
            case.doubt(format!("{text}; how old their timestamps are was not kept"));
            continue;
        }
        case.find_at("duplicate-in-log", None, number, &set, text);
    }
    if !placed && !excused {
        let text = count(surplus, "record");
        let text = format!(
            "{text} of the log repeat an ingestion id, although the producer is idempotent"
        );
        case.find(anomalous("duplicate-in-log", text));
    }
}

/// A broker is started again. What an old history's fault had to show is not written down there.
fn starts_a_broker(fault: &PlannedFault) -> bool {
    let told = fault.shows.is_empty() || fault.shows.contains(&Demand::StartedAnew);
    fault.target.starts_with("broker-") && told
}

/// Without that, an operation stands in the log twice if its request was sent twice, and a client does
/// so when it has waited for an answer.
fn repeated(index: &Index, case: &mut Case<'_>) {
    let peace = in_peace(index);
    let sent_once = |op| match peace {
        true => index.ops.sent_once_in_peace(op),
        false => index.ops.sent_once(op),
    };
    for (number, set) in again(index, |seen| sent_once(seen.op)) {
        let text = format!(
            "{} of {} with an operation that the log holds more than once, although it was \
             acknowledged before a client would have sent it again: {}",
            count(set.len(), "record"),
            index.lane_name(number),
            spelled(&set)
        );
        // The clocks of others are coarse, and their clients unknown.
        match index.is_foreign() {
            true => case.doubt(text),
            false => drop(case.find_at("logged-twice-without-retry", None, number, &set, text)),
        }
    }
}

/// Nothing was done to brokers or to the way to them, and each of them answered whenever it was asked: no
/// request of a producer can have failed before it timed out.
fn in_peace(index: &Index) -> bool {
    let of_broker = |target: &str| target.starts_with("broker-");
    let mut probes = index.rare.probes.iter().map(|probe| &probe.fact);
    !index.is_foreign()
        && index.header.promises.faults.iter().all(PlannedFault::spares_brokers)
        && index.rare.probes.iter().any(|probe| of_broker(&probe.fact.target))
        && probes.all(|probe| probe.answered || !of_broker(&probe.target))
}

/// Per partition the records whose operation, or ingestion id, the log holds more than once.
fn again(index: &Index, mut asked: impl FnMut(&Seen) -> bool) -> Vec<(usize, RangeSet)> {
    let mut found = Vec::new();
    for (number, lane) in index.promised_lanes() {
        let mut set = Vec::new();
        for (offset, seen) in lane.log_records() {
            let again = match seen.op {
                NO_OP => index.ops.nameless.get(&seen.id).is_some_and(|&n| n > 1),
                op => index.ops.logged_again.contains_key(&op),
            };
            if again && asked(&seen) {
                set.push((offset, offset));
            }
        }
        let set = RangeSet::of(set);
        if !set.is_empty() {
            found.push((number, set));
        }
    }
    found
}
