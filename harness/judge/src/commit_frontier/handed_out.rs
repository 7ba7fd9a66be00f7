//! What the coordinator tells a member that asks where to begin is what the group has committed. A lower
//! offset is a commit that was acknowledged and forgotten: everything from there on is delivered again.
//!
//! Judged by what the recorder had learned of commits before the member was given its position: no clock is
//! compared. Where offsets were set from outside, and nobody saw the commits of that, nothing can be said.

use super::super::case::{Case, quoted, seconds};
use super::super::evidence::{Observed, foreign};
use crate::index::{GroupLane, Index, RangeSet, shifted};
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
        if !here {
            return None;
        }
        let committed = known.in_force(position.at_us)?;
        // Nothing committed: it begins where a new group would.
        let offset = position.offset.unwrap_or(lane.low());
        let forgotten = offset < committed || position.offset.is_none();
        forgotten.then_some((position, offset.min(committed), committed))
    });
    ahead(index, case, group, number, known);
    let Some((position, offset, committed)) = low else { return };
    let told = match position.offset {
        Some(offset) => format!("to begin at offset {offset} of"),
        None => "that nothing is committed of".to_owned(),
    };
    let text = format!(
        "{} of group {} was told at {} {told} {}, although {committed} had been committed before: a commit \
         was forgotten",
        quoted(&position.member),
        quoted(&group.promise.group),
        seconds(position.at_us),
        index.lane_name(number)
    );
    let set = match committed.checked_sub(1) {
        Some(last) if offset <= last => RangeSet::of([(offset, last)]),
        _ => RangeSet::default(),
    };
    let name = Some(group.promise.group.as_str());
    case.find_at("commit-forgotten", name, number, &set, text).at_us = Some(position.at_us);
}

/// A commit is learned no later than this after it was made.
const LEARNED_WITHIN_US: i64 = 2_000_000;

/// A position above all that anybody had committed or asked to commit by then: what lies between is passed
/// over by whoever begins there.
fn ahead(
    index: &Index,
    case: &mut Case<'_>,
    group: &Observed<'_>,
    number: usize,
    known: &GroupLane,
) {
    let lane = &index.lanes[number];
    let here = |topic: &str, partition: u32| (topic, partition) == (&*lane.topic, lane.partition);
    let ours = index.rare.positions.iter().map(|seen| &seen.fact).filter(|position| {
        position.group == group.promise.group
            && here(&position.topic, position.partition)
            && position.how == PositionChange::Fetched
    });
    // Where nobody watched the commits, nothing is known of what was not asked for.
    if known.commits.is_empty() {
        return;
    }
    // By when each may have been made, and the highest offset until then.
    let made = known
        .commits
        .iter()
        .map(|commit| (shifted(commit.at_us, index.clocks.of(commit.base).low), commit.offset));
    let asked = index.rare.attempts.iter().map(|seen| &seen.fact).filter(|attempt| {
        attempt.group == group.promise.group && here(&attempt.topic, attempt.partition)
    });
    let asked = asked.map(|attempt| (shifted(attempt.at_us, 0), attempt.offset));
    let mut highest: Vec<(i64, u64)> = made.chain(asked).collect();
    highest.sort_unstable();
    let mut most = 0;
    for entry in &mut highest {
        most = most.max(entry.1);
        entry.1 = most;
    }
    for position in ours {
        let Some(offset) = position.offset else { continue };
        let until = shifted(position.at_us, 0).saturating_add(LEARNED_WITHIN_US);
        let by = highest.partition_point(|(at, _)| *at <= until);
        let Some(most) = by.checked_sub(1).map(|last| highest[last].1) else { continue };
        if most >= offset {
            continue;
        }
        let text = format!(
            "{} of group {} was told at {} to begin at offset {offset} of {}, although nothing above {most} \
             had been committed",
            quoted(&position.member),
            quoted(&group.promise.group),
            seconds(position.at_us),
            index.lane_name(number)
        );
        let set = RangeSet::of([(most, offset - 1)]);
        let name = Some(group.promise.group.as_str());
        case.find_at("position-beyond-commits", name, number, &set, text).at_us =
            Some(position.at_us);
        return;
    }
}
