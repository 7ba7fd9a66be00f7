//! Partition determinism: a key leads to one partition, the one that an independent murmur2
//! computes.
//!
//! A topic that gets more partitions during the run enters a new epoch: a record counts as right if
//! its partition fits any count of partitions that the topic was seen to have. Records without a key
//! may go anywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, count, quoted, spelled};
use crate::index::{Index, RangeSet};
use streamlake_history::event::Header;

/// Keys lead somewhere.
pub(super) fn promised(header: &Header) -> bool {
    !matches!(header.promises.partitioner.as_deref(), None | Some("random"))
}

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    if index.keyed == 0 {
        case.doubt("the log holds no record with a key");
    }
    let counts = epochs(index);
    let fits = |topic: &String, hash: u32, partition: u32| {
        let known = counts.get(topic).into_iter().flatten();
        known.into_iter().any(|&n| n > 0 && hash % n == partition)
    };
    let mut wrong: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    for stray in &index.strays {
        let lane = &index.lanes[stray.lane];
        if !fits(&lane.topic, stray.hash, lane.partition) {
            wrong.entry(stray.lane).or_default().push((stray.offset, stray.offset));
        }
    }
    let mut total = 0;
    for (number, lane) in index.promised_lanes() {
        let Some(offsets) = wrong.remove(&number) else {
            continue;
        };
        let set = RangeSet::of(offsets);
        total += set.len();
        let text = format!(
            "{} of {} whose key belongs to another partition by murmur2: {}",
            count(set.len(), "record"),
            index.lane_name(number),
            spelled(&set)
        );
        let counts = format!("the topic was seen with {:?} partitions", counts.get(&lane.topic));
        case.find_at("wrong-partition", None, number, &set, text).evidence.push(counts);
    }
    split(index, case);
    case.figure("keyed_records", index.keyed);
    case.figure("wrong_records", total);
    format!("{} keyed records, {total} in a partition that is not theirs", index.keyed)
}

/// Counts of partitions that each topic was seen to have.
fn epochs(index: &Index) -> BTreeMap<String, BTreeSet<u32>> {
    let mut counts: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for (topic, &partitions) in &index.header.promises.topics {
        counts.entry(topic.clone()).or_default().insert(partitions);
    }
    for read in &index.rare.configuration {
        let Some(topic) = read.fact.of.strip_prefix("topic ") else {
            continue;
        };
        let seen = read.fact.properties.get("partitions").and_then(|n| n.parse().ok());
        if let (Some(known), Some(seen)) = (counts.get_mut(topic), seen) {
            known.insert(seen);
        }
    }
    counts
}

/// Where the hash is not known: keys that were seen in more than one partition.
fn split(index: &Index, case: &mut Case<'_>) {
    if index.split_keys.is_empty() {
        return;
    }
    let lanes: BTreeSet<usize> = index.split_keys.values().flatten().copied().collect();
    let names: Vec<String> = index
        .sorted_lanes()
        .filter(|(n, _)| lanes.contains(n))
        .map(|(n, _)| index.lane_name(n))
        .collect();
    let partitioner = index.header.promises.partitioner.as_deref().unwrap_or_default();
    case.find(super::case::anomalous(
        "key-in-two-partitions",
        format!(
            "{} in more than one partition under partitioner {}: {}",
            count(index.split_keys.len() as u64, "key"),
            quoted(partitioner),
            names.join(", ")
        ),
    ));
}
