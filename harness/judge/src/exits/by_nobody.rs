//! What a group wrote it wrote while one of its processes ran that can have read the records: a part that
//! appears when none did was written by somebody else, or by a process that should have been dead.

use super::super::case::{Case, count, quoted, seconds};
use super::super::evidence::foreign;
use crate::index::{Base, Index, Part, RESOLUTION_US, RangeSet, shifted};
use streamlake_history::event::ObjectRole;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) {
    if foreign(&index.header) {
        return;
    }
    let skew = index.clocks.of(Base::Store);
    for (group, promise, _) in index.promised_groups() {
        let Some(writers) = index.writers(group).filter(|_| promise.consumer.is_none()) else {
            continue;
        };
        // A request that is under way may be carried out late, but not of records that came later.
        let able = |part: &Part| {
            let (earliest, latest) = (
                shifted(part.created_us, skew.low),
                shifted(part.created_us, skew.high.saturating_add(RESOLUTION_US.cast_signed())),
            );
            let sent = part
                .lanes
                .iter()
                .filter_map(|(lane, held)| index.lanes[*lane].not_before(held.last));
            let sent = sent.max().unwrap_or(0);
            writers.iter().any(|(ended, windows)| {
                sent <= *ended
                    && windows.iter().any(|&(from, until)| {
                        shifted(from, 0) <= latest && earliest <= shifted(until, 0)
                    })
            })
        };
        let own = |part: &&Part| {
            index.zones[part.zone].groups.contains(&group)
                && part.role == ObjectRole::Part
                && !part.during_run
                && !part.lanes.is_empty()
        };
        let strange: Vec<&Part> =
            index.parts.iter().filter(own).filter(|part| !able(part)).collect();
        let Some(first) = strange.iter().min_by_key(|part| part.created_us) else { continue };
        let Some((&lane, held)) = first.lanes.iter().next() else { continue };
        let text = format!(
            "{} of group {} that no process of it can have written: {} appeared at {}, and none ran that can \
             have read its records",
            count(strange.len() as u64, "part"),
            quoted(&promise.group),
            quoted(&first.name),
            seconds(first.created_us)
        );
        let set = RangeSet::of([(held.first, held.last)]);
        let name = Some(promise.group.as_str());
        case.find_at("written-by-nobody", name, lane, &set, text).at_us = Some(first.created_us);
    }
}
