//! No gap: per partition, what a group stored or dead-lettered is contiguous from the first
//! offset that it owes to the committed one. Offsets that the reader of the log declared to hold no record are no
//! gaps; others that hold none are in doubt, for the reader may have missed them. Of groups that tell no values this is
//! also where a read of what the log does not hold is found.

use super::case::{Case, count, quoted, spelled};
use super::evidence::{missing, observed_groups, owed_from, perhaps_aborted, read_lanes};
use super::fidelity;
use crate::index::{GroupLane, Index, RangeSet};
use streamlake_history::event::GroupPromise;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let (mut spans, mut gaps) = (0u64, 0);
    for group in observed_groups(index) {
        for (number, lane) in read_lanes(index, group.promise) {
            let Some(known) = group.lanes.get(&number) else {
                continue;
            };
            let (open, gap) = if lane.complete() {
                let expected = expected(index, group.promise, number, known);
                spans = spans.saturating_add(expected.len());
                let open = expected.minus(&known.done());
                let open = open.minus(&perhaps_aborted(index, lane, known));
                let gap = open.intersect(&lane.logged());
                (open, gap)
            } else {
                // What receipts name was there, whoever did not read the log back.
                (RangeSet::default(), missing(index, group.promise, number, known))
            };
            gaps += gap.len();
            if !gap.is_empty() {
                let text = format!(
                    "{} of {} missing in what group {} {}: {}",
                    count(gap.len(), "offset"),
                    index.lane_name(number),
                    quoted(&group.promise.group),
                    group.verb,
                    spelled(&gap)
                );
                let name = Some(group.promise.group.as_str());
                case.find_at("gap", name, number, &gap, text);
            }
            let unread = open.minus(&lane.logged());
            if !unread.is_empty() {
                case.doubt(format!(
                    "offsets of {} hold no record, and the reader of the log did not say why: {}",
                    index.lane_name(number),
                    spelled(&unread)
                ));
            }
        }
    }
    // Where no values are compared, the places are: nothing is read where nothing is.
    if !fidelity::promised(&index.header) {
        for (_, promise, lanes) in index.promised_groups() {
            fidelity::from_nowhere(index, case, promise, lanes);
        }
    }
    if spans == 0 {
        case.doubt("no offset was committed past");
    }
    case.figure("offsets", spans);
    case.figure("gap_offsets", gaps);
    format!("{spans} offsets below the commits, {gaps} missing")
}

/// Offsets that must be done: from the low watermark to the highest commit, without the holes.
fn expected(index: &Index, promise: &GroupPromise, lane: usize, group: &GroupLane) -> RangeSet {
    let log = &index.lanes[lane];
    let Some(from) = owed_from(log, promise, Some(group)) else { return RangeSet::default() };
    let end = group.committed_max().unwrap_or(0).min(log.high().unwrap_or(0));
    RangeSet::of([(from, u64::MAX)]).below(end).minus(&log.holes())
}
