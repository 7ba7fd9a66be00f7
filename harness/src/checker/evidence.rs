//! Whether the evidence is there that several checkers rest on.

use std::collections::BTreeMap;

use super::case::Case;
use crate::history::event::{Evidence, GroupPromise};
use crate::history::index::{GroupLane, Index, RangeSet};

/// The logs of the promised topics were read to their ends; each one that was not is a doubt. False
/// if the testbed has no log to read.
pub(super) fn logs_read(index: &Index, case: &mut Case<'_>) -> bool {
    if !index.vouches(Evidence::Log) {
        case.not_applicable("the testbed cannot read the log back");
        return false;
    }
    for (topic, &partitions) in &index.header.promises.topics {
        let read = |p: u32| index.lane(topic, p).is_some_and(|lane| lane.complete());
        // A hostile header may promise billions of partitions: stop at the first that is unread.
        let Some(unread) = (0..partitions).find(|&p| !read(p)) else {
            continue;
        };
        case.doubt(format!("the log of {}/{unread} was not read to its end", topic.escape_debug()));
    }
    if index.header.promises.topics.is_empty() {
        case.doubt("no topic is promised");
    }
    true
}

/// A group whose delivery can be seen: through its raw zone, or through what its members read.
pub(super) struct Observed<'a> {
    pub(super) number: usize,
    pub(super) promise: &'a GroupPromise,
    pub(super) lanes: &'a BTreeMap<usize, GroupLane>,
    /// How its delivery is called in sentences.
    pub(super) verb: &'static str,
}

/// The groups whose delivery can be judged. A group that should be and cannot is a doubt; without
/// any group the check is not applicable.
pub(super) fn observed_groups<'a>(index: &'a Index, case: &mut Case<'_>) -> Vec<Observed<'a>> {
    let mut observed = Vec::new();
    if index.header.promises.groups.is_empty() {
        case.not_applicable("no consumer group is under test");
        return observed;
    }
    for (number, promise, lanes) in index.promised_groups() {
        let name = promise.group.escape_debug();
        let verb = match &promise.raw_zone {
            Some(_) if !index.vouches(Evidence::Objects) => {
                case.doubt(format!("the testbed cannot list the raw zone of group {name}"));
                continue;
            }
            Some(zone) => {
                let read =
                    |z: &&crate::history::index::Zone| &z.name == zone && !z.reads.is_empty();
                if index.zones.iter().find(read).is_none() {
                    case.doubt(format!("the raw zone of group {name} was not read to its end"));
                    continue;
                }
                "stored"
            }
            None => "read",
        };
        if lanes.values().all(|lane| lane.durable.set().is_empty()) {
            case.doubt(format!("nothing that group {name} {verb} was seen"));
        }
        if promise.dead_letter_topic.as_ref().is_some_and(|t| !dead_letters_read(index, t)) {
            case.doubt(format!("the dead-letter topic of group {name} was not read to its end"));
            continue;
        }
        observed.push(Observed { number, promise, lanes, verb });
    }
    observed
}

/// A dead-letter topic was read: the bounds of its partitions were recorded, and all were reached.
pub(super) fn dead_letters_read(index: &Index, topic: &str) -> bool {
    index.vouches(Evidence::DeadLetters)
        && index.by_name.get(topic).is_some_and(|partitions| {
            let mut bounds = partitions.values().map(|&n| &index.lanes[n]);
            !partitions.is_empty() && bounds.all(|lane| lane.complete())
        })
}

/// The testbed can see commits, and every group committed something; a group without is a doubt.
pub(super) fn commits_seen(index: &Index, case: &mut Case<'_>) -> bool {
    let vouched = [Evidence::CommitsSampled, Evidence::CommitsComplete];
    if !vouched.into_iter().any(|evidence| index.vouches(evidence)) {
        case.not_applicable("the testbed cannot see commits");
        return false;
    }
    for (_, promise, lanes) in index.promised_groups() {
        if lanes.values().all(|lane| lane.commits.is_empty()) {
            let name = promise.group.escape_debug();
            case.doubt(format!("no commit of group {name} was seen"));
        }
    }
    if commits_cut_short(index) {
        case.doubt("the commits could not be watched to their end");
    }
    true
}

/// Who watches the commits said that the record is not complete: what was committed last is unknown.
pub(super) fn commits_cut_short(index: &Index) -> bool {
    let mut notes = index.rare.notes.iter();
    notes.any(|note| note.process.starts_with("commit-watch") && note.fact.0 == "error")
}

/// Records of the log that the group claimed to be done with: above the low watermark and below the
/// highest offset that it ever committed.
pub(super) fn claimed(index: &Index, lane: usize, group: &GroupLane) -> RangeSet {
    let log = &index.lanes[lane];
    log.logged().from(log.low()).below(group.committed_max().unwrap_or(0))
}

/// Records of the log that the group claimed and that are nowhere.
pub(super) fn missing(index: &Index, lane: usize, group: &GroupLane) -> RangeSet {
    claimed(index, lane, group).minus(&group.done())
}
