//! No gap: per partition, what a group stored or dead-lettered is contiguous from the low watermark
//! to the committed offset. Offsets that the reader of the log declared to hold no record are no
//! gaps; others that hold none are in doubt, for the reader may have missed them.

use super::case::{Case, count, quoted, spelled};
use super::evidence::{commits_seen, logs_read, observed_groups};
use crate::history::index::{GroupLane, Index, RangeSet};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    if !logs_read(index, case) || !commits_seen(index, case) {
        return "log or commits cannot be seen".to_owned();
    }
    let (mut spans, mut gaps) = (0u64, 0);
    for group in observed_groups(index, case) {
        for (number, lane) in index.promised_lanes().filter(|(_, lane)| lane.complete()) {
            let Some(known) = group.lanes.get(&number) else {
                continue;
            };
            let expected = expected(index, number, known);
            spans = spans.saturating_add(expected.len());
            let open = expected.minus(&known.done());
            let gap = open.intersect(&lane.logged());
            gaps += gap.len();
            if !gap.is_empty() {
                let text = format!(
                    "{} of {} in what group {} {}: {}",
                    count(gap.len(), "offset missing"),
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
    if spans == 0 {
        case.doubt("no offset was committed past");
    }
    case.figure("offsets", spans);
    case.figure("gap_offsets", gaps);
    format!("{spans} offsets below the commits, {gaps} missing")
}

/// Offsets that must be done: from the low watermark to the highest commit, without the holes.
fn expected(index: &Index, lane: usize, group: &GroupLane) -> RangeSet {
    let log = &index.lanes[lane];
    let end = group.committed_max().unwrap_or(0).min(log.high().unwrap_or(0));
    RangeSet::of([(log.low(), u64::MAX)]).below(end).minus(&log.holes())
}
