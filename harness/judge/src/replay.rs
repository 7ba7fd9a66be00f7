//! Replay: a group that was set back begins at the offset that was asked for, and stores everything
//! from there on again, and nothing before.
//!
//! The broker's record of commits shows the reset; copies in the raw zone that are newer than the
//! replay show what was read again. A partition whose committed offset lay below the one asked for has
//! nothing to replay. A group that goes back once more has not been replayed: that is the matter of
//! `commit-frontier`.

use super::case::{Case, count, quoted, seconds, spelled};
use super::commit_frontier::CLOCK_US;
use super::evidence::{Observed, observed_groups};
use crate::index::{Backward, Base, Dead, GroupLane, Index, RangeSet, Surplus, shifted};
use streamlake_history::event::{ProcessChange, ProcessRole};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let Some(asked) = index.header.promises.replay_from else {
        return "no replay was planned".to_owned();
    };
    let started = index.rare.processes.iter();
    let mut started = started.filter(|p| {
        p.fact.role() == Some(ProcessRole::Replay) && p.fact.state == ProcessChange::Started
    });
    let Some(begin_us) = started.next().map(|p| p.t_us) else {
        case.doubt("the replay was never started");
        return format!("nothing was replayed from offset {asked}");
    };
    let mut again = 0;
    for group in observed_groups(index) {
        for (number, _) in index.promised_lanes() {
            if let Some(known) = group.lanes.get(&number) {
                again += partition(index, case, &group, number, known, asked, begin_us);
            }
        }
    }
    if again == 0 {
        case.doubt("nothing was stored again");
    }
    case.figure("replayed_records", again);
    format!("{} stored again from offset {asked} on", count(again, "record"))
}

/// Poison in a replayed range is read again as well, and dead-lettered again. Somebody's own consumer may
/// know its letters.
fn unlettered(
    index: &Index,
    group: &Observed<'_>,
    number: usize,
    (asked, before): (u64, u64),
    since: impl Fn(u64) -> bool,
) -> RangeSet {
    let own = |dead: &&Dead| dead.letter.group.as_ref() == Some(&group.promise.group);
    let letters = || {
        let places = index.dead.iter().filter(own).filter_map(|dead| Some((dead, dead.source?)));
        places.filter(|(_, place)| place.0 == number)
    };
    if group.promise.consumer.is_some() {
        return RangeSet::default();
    }
    let once = |(_, (_, offset)): (&Dead, (usize, u64))| (offset, offset);
    let again = letters().filter(|(dead, _)| since(dead.letter.created_us));
    let again = RangeSet::of(again.map(once));
    RangeSet::of(letters().map(once)).from(asked).below(before).minus(&again)
}

/// Judges one partition and returns how many records were stored again.
fn partition(
    index: &Index,
    case: &mut Case<'_>,
    group: &Observed<'_>,
    number: usize,
    known: &GroupLane,
    asked: u64,
    begin_us: u64,
) -> u64 {
    // The replay has a process of its own: its commit may bear the very millisecond of its start.
    let before = known.committed_at(begin_us).unwrap_or(0);
    if before <= asked {
        return 0;
    }
    let (lane, name) = (index.lane_name(number), quoted(&group.promise.group));
    let id = Some(group.promise.group.as_str());
    let since = |base: Base, at_us: u64| {
        let latest = shifted(at_us, index.clocks.of(base).high);
        latest.saturating_add(CLOCK_US.cast_signed()) >= shifted(begin_us, 0)
    };
    let reset = known.backwards.iter().find(|back| since(back.base, back.at_us));
    let due = index.lanes[number].logged().from(asked).below(before).minus(&known.dead_lettered);
    let Some(&Backward { at_us, from, to, .. }) = reset else {
        let text = format!("group {name} was not set back on {lane}: it stood at {before}");
        case.find_at("replay-not-carried-out", id, number, &due, text).at_us = Some(begin_us);
        return 0;
    };
    if to != asked {
        let set = RangeSet::of([(asked.min(to), asked.max(to) - 1)]);
        let text =
            format!("group {name} was set back to {to} of {lane}, not to {asked} as was asked for");
        let finding = case.find_at("replay-from-wrong-offset", id, number, &set, text);
        finding.at_us = Some(at_us);
        finding.evidence.push(format!("from {from} to {to} by {}", seconds(at_us)));
    }
    let since_letter = |at_us: u64| since(index.letter_base(), at_us);
    let stored_since = |copy: &&Surplus| since(Base::Store, copy.again_us);
    let copies = known.surplus.iter().filter(stored_since).map(|copy| copy.range);
    let again = RangeSet::of(copies);
    let letters = unlettered(index, group, number, (asked, before), since_letter);
    let missing = due.minus(&again).union(&letters);
    let extra = again.below(asked);
    for (kind, set, which) in [
        ("replay-incomplete", missing, format!("from {asked} on were not stored again")),
        ("replayed-too-much", extra, format!("before {asked} were stored again")),
    ] {
        if !set.is_empty() {
            let text =
                format!("{} of {lane} {which}: {}", count(set.len(), "record"), spelled(&set));
            case.find_at(kind, id, number, &set, text).at_us = Some(at_us);
        }
    }
    again.len()
}
