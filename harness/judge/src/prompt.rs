//! Promptness: where nothing is broken, a record is stored and committed soon after its batch is old enough.
//!
//! Judged by what most records waited, because a machine that is busy with other things makes some of them
//! wait. A part's records count with the wait of its first one: from its writing, or from the first position
//! of the group in its partition if that came later, to the commit that covers the whole part. Without a
//! fault only: what a fault holds up is asked where recovery is.

use super::case::{Case, anomalous, count, quoted, seconds};
use super::recovered::{Window, written_us};
use crate::index::{Index, NO_TIMESTAMP, Part};
use std::collections::BTreeMap;
use streamlake_history::event::{BatchPromise, ObjectRole};

/// What the way through broker, pipeline and store may add.
const ALLOWANCE_US: u64 = 2_000_000;
/// How long a group may take to form, where nobody saw it get its first positions.
const FORMS_WITHIN_US: u64 = 3_000_000;
/// Fewer records say nothing.
const RECORDS_MIN: u64 = 50;

pub(super) fn judge(index: &Index, case: &mut Case<'_>, windows: &[Window]) {
    if !windows.is_empty() || index.header.promises.replay_from.is_some() {
        return;
    }
    let load = index.rare.phases.iter().find(|phase| phase.fact == "load");
    let Some(formed_us) = load.map(|phase| phase.t_us.saturating_add(FORMS_WITHIN_US)) else {
        return;
    };
    for (group, promise, lanes) in index.promised_groups() {
        let Some(batch) = promise.batch else { continue };
        let own = |part: &&Part| {
            let here = index.zones[part.zone].groups.contains(&group);
            here && part.role == ObjectRole::Part && !part.during_run
        };
        let mut begun_us: BTreeMap<usize, u64> = BTreeMap::new();
        let mut waits: Vec<(u64, u64)> = Vec::new();
        for part in index.parts.iter().filter(own) {
            for (number, held) in &part.lanes {
                let written =
                    index.lanes[*number].log_record(held.first).map(|log| log.timestamp_ms);
                let written = written.filter(|ms| *ms != NO_TIMESTAMP);
                let Some(written) = written.and_then(|ms| written_us(index, ms)) else { continue };
                let Some(known) = lanes.get(number) else { continue };
                let begun_us = *begun_us.entry(*number).or_insert_with(|| {
                    let epochs = index.epochs(group, *number);
                    epochs.list.first().map_or(formed_us, |epoch| epoch.begin_us)
                });
                let commit = known.commits.iter().find(|commit| commit.offset > held.last);
                if let Some(commit) = commit {
                    let from_us = written.max(begun_us);
                    waits.push((commit.at_us.saturating_sub(from_us), held.records));
                }
            }
        }
        if let Some((wait, records)) = late(&mut waits, batch) {
            let text = format!(
                "half of {} of group {} waited {} or longer from writing to commit, with batches that are \
                 closed after {} and nothing broken",
                count(records, "record"),
                quoted(&promise.group),
                seconds(wait),
                seconds(batch.age_us)
            );
            let mut finding = anomalous("slow-without-a-fault", text);
            finding.group = Some(promise.group.clone());
            case.find(finding);
        }
    }
}

/// What half of the records waited at least, and how many there are, if that is too long.
fn late(waits: &mut [(u64, u64)], batch: BatchPromise) -> Option<(u64, u64)> {
    waits.sort_unstable();
    let all: u64 = waits.iter().map(|(_, records)| records).sum();
    let mut below = 0;
    let middle = waits.iter().find(|(_, records)| {
        below += records;
        below * 2 >= all
    });
    let wait = middle?.0;
    let most = batch.age_us.saturating_mul(2).saturating_add(ALLOWANCE_US);
    (all >= RECORDS_MIN && wait > most).then_some((wait, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_records_decide_and_few_say_nothing() {
        let batch = BatchPromise { records: 10, bytes: None, age_us: 500_000 };
        assert_eq!(late(&mut [(900_000, 60), (9_000_000, 40)], batch), None);
        assert_eq!(late(&mut [(9_000_000, 60), (900_000, 40)], batch), Some((9_000_000, 100)));
        assert_eq!(late(&mut [(9_000_000, 20)], batch), None);
        assert_eq!(late(&mut [], batch), None);
    }
}
