//! A member commits for the partitions that it owns. One that another member was told to have is not its
//! own any more: to get it, the other one had to wait until it was given up, or the member was put out.
//!
//! Nor is one that the member was never told to have, and when it has left it owns nothing.
//!
//! Judged by what was seen to pass between members and coordinators, on one clock. A commit that passed
//! before the other member was told of its partition was in time; one that was refused did no harm.

use super::super::case::{Case, quoted, seconds};
use std::collections::BTreeMap;

use crate::index::{Index, RangeSet, is_of_process};
use streamlake_history::event::{CommitAttempt, Membership, MembershipChange, ProcessChange};

/// What was on its way when a member left may pass so much later.
const LEAVES_WITHIN_US: u64 = 1_000_000;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) {
    without(index, case);
    for attempt in index.rare.attempts.iter().map(|seen| &seen.fact).filter(|fact| fact.taken) {
        let Some(owner) = taken_over(index, attempt) else { continue };
        let lane = index.by_name.get(&attempt.topic).and_then(|of| of.get(&attempt.partition));
        let Some(&lane) = lane else { continue };
        let text = format!(
            "{} of group {} committed offset {} of {} at {}, a partition that {} had been told at {} to have",
            quoted(&attempt.member),
            quoted(&attempt.group),
            attempt.offset,
            index.lane_name(lane),
            seconds(attempt.at_us),
            quoted(&owner.member),
            seconds(owner.at_us)
        );
        let set = attempt
            .offset
            .checked_sub(1)
            .map_or(RangeSet::default(), |last| RangeSet::of([(last, last)]));
        let name = Some(attempt.group.as_str());
        case.find_at("commit-for-another", name, lane, &set, text).at_us = Some(attempt.at_us);
        // Each later one says the same.
        return;
    }
}

/// What the members of the pipeline's groups were told, by group and member, and when each was told first to have
/// a partition.
struct Told<'a> {
    facts: BTreeMap<(&'a str, &'a str), Vec<&'a Membership>>,
    had: BTreeMap<(&'a str, &'a str, &'a str, u32), u64>,
}

impl<'a> Told<'a> {
    fn of(index: &'a Index) -> Self {
        let documented = |group: &str| {
            let mut groups = index.header.promises.groups.iter();
            groups.any(|promise| promise.group == group && promise.consumer.is_none())
        };
        let mut told = Self { facts: BTreeMap::new(), had: BTreeMap::new() };
        for fact in index.rare.memberships.iter().map(|seen| &seen.fact) {
            if !documented(&fact.group) {
                continue;
            }
            let who = (fact.group.as_str(), fact.member.as_str());
            told.facts.entry(who).or_default().push(fact);
            for (topic, partitions) in &fact.partitions {
                for &partition in partitions {
                    let first =
                        told.had.entry((who.0, who.1, topic, partition)).or_insert(fact.at_us);
                    *first = fact.at_us.min(*first);
                }
            }
        }
        told.facts.values_mut().for_each(|facts| facts.sort_by_key(|fact| fact.at_us));
        told
    }

    fn why_not(&self, index: &Index, attempt: &CommitAttempt) -> Option<String> {
        let who = (attempt.group.as_str(), attempt.member.as_str());
        let facts = self.facts.get(&who)?;
        let before = &facts[..facts.partition_point(|fact| fact.at_us < attempt.at_us)];
        let last = before.last()?;
        if last.change == MembershipChange::Left
            && attempt.at_us.saturating_sub(last.at_us) > LEAVES_WITHIN_US
            && all_left(index, attempt, before)
        {
            return Some(format!("and had left its group at {}", seconds(last.at_us)));
        }
        let had = self.had.get(&(who.0, who.1, attempt.topic.as_str(), attempt.partition));
        let told = before.iter().any(|fact| fact.change == MembershipChange::Owns);
        (told && had.is_none_or(|first| *first >= attempt.at_us))
            .then(|| "a partition that it was never told to have".to_owned())
    }
}

/// Members of one process share the name: all of them have left, since it was started.
fn all_left(index: &Index, attempt: &CommitAttempt, before: &[&Membership]) -> bool {
    let starts = index.rare.processes.iter().filter(|seen| {
        seen.fact.state == ProcessChange::Started
            && is_of_process(&attempt.member, &seen.fact.name)
            && seen.t_us <= attempt.at_us
    });
    let started = starts.map(|seen| seen.t_us).max().unwrap_or(0);
    let own = || before.iter().filter(|fact| fact.at_us >= started && !fact.id.is_empty());
    own().all(|fact| {
        let last = own().filter(|other| other.id == fact.id).max_by_key(|other| other.at_us);
        last.is_some_and(|last| last.change == MembershipChange::Left)
    })
}

/// The first commit of a member that had left, or was never told to have the partition.
fn without(index: &Index, case: &mut Case<'_>) {
    let told = Told::of(index);
    for attempt in index.rare.attempts.iter().map(|seen| &seen.fact).filter(|fact| fact.taken) {
        let Some(why) = told.why_not(index, attempt) else { continue };
        let lane = index.by_name.get(&attempt.topic).and_then(|of| of.get(&attempt.partition));
        let Some(&lane) = lane else { continue };
        let text = format!(
            "{} of group {} committed offset {} of {} at {}, {why}",
            quoted(&attempt.member),
            quoted(&attempt.group),
            attempt.offset,
            index.lane_name(lane),
            seconds(attempt.at_us)
        );
        let name = Some(attempt.group.as_str());
        let set = RangeSet::default();
        case.find_at("commit-without-ownership", name, lane, &set, text).at_us =
            Some(attempt.at_us);
        return;
    }
}

/// The other member that had the partition of a commit when it passed, if the one that asked is a member, too.
fn taken_over<'a>(index: &'a Index, attempt: &CommitAttempt) -> Option<&'a Membership> {
    let promised = index.header.promises.groups.iter().any(|group| group.group == attempt.group);
    let before = || {
        let seen = index.rare.memberships.iter().map(|seen| &seen.fact);
        seen.filter(|fact| fact.group == attempt.group && fact.at_us < attempt.at_us)
    };
    let own = before().any(|fact| fact.member == attempt.member);
    if !promised || !own {
        return None;
    }
    let told = before().filter(|fact| {
        fact.change == MembershipChange::Owns && fact.holds(&attempt.topic, attempt.partition)
    });
    let owner = told.max_by_key(|fact| fact.at_us)?;
    if owner.member == attempt.member {
        return None;
    }
    // It has it still: it was not told otherwise, did not join anew or leave, was not put out, and runs.
    let kept = !before().any(|fact| fact.member == owner.member && fact.at_us > owner.at_us);
    let ended = index.rare.processes.iter().any(|process| {
        process.fact.name == owner.member
            && process.fact.state == ProcessChange::Exited
            && (owner.at_us..=attempt.at_us).contains(&process.t_us)
    });
    (kept && !ended).then_some(owner)
}
