//! What the coordinator tells a member that asks where to begin is what the group has committed. A lower
//! offset is a commit that was acknowledged and forgotten: everything from there on is delivered again.
//!
//! Judged by what the recorder had learned of commits before the member was given its position: no clock is
//! compared. Where offsets were set from outside, and nobody saw the commits of that, nothing can be said.

use super::super::case::{Case, quoted, seconds};
use super::super::evidence::{Observed, foreign};
use crate::index::{GroupLane, Index, RangeSet};
use streamlake_history::event::{Evidence, PositionChange};

pub(super) fn judge(
    index: &Index,
    case: &mut Case<'_>,
    group: &Observed<'_>,
    number: usize,
    known: &GroupLane,
) {
    if foreign(&index.header) || !index.vouches(Evidence::CommitsComplete) {
        return;
    }
    let lane = &index.lanes[number];
    let low = index.rare.positions.iter().map(|seen| &seen.fact).find_map(|position| {
        let here = position.group == group.promise.group
            && (position.topic.as_str(), position.partition) == (&lane.topic, lane.partition)
            && position.how == PositionChange::Fetched;
        let offset = position.offset.filter(|_| here)?;
        let committed = known.in_force(position.at_us)?;
        (offset < committed).then_some((position, offset, committed))
    });
    let Some((position, offset, committed)) = low else { return };
    let text = format!(
        "{} of group {} was told at {} to begin at offset {offset} of {}, although {committed} had been \
         committed before: a commit was forgotten",
        quoted(&position.member),
        quoted(&group.promise.group),
        seconds(position.at_us),
        index.lane_name(number)
    );
    let set = RangeSet::of([(offset, committed - 1)]);
    let name = Some(group.promise.group.as_str());
    case.find_at("commit-forgotten", name, number, &set, text).at_us = Some(position.at_us);
}
