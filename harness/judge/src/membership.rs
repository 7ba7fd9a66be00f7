//! Membership: a group that promised to keep its members did not rebalance, by the broker's own record
//! of its generations, from the first fault until its consumers were asked to stop.

use super::case::{Case, anomalous, count, quoted};
use crate::index::{At, Index};
use streamlake_history::event::{FaultStage, Generation};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let promises = &index.header.promises;
    let kept: Vec<&str> = promises
        .groups
        .iter()
        .filter(|group| group.keeps_members)
        .map(|group| group.group.as_str())
        .collect();
    let begun = index.rare.faults.iter().filter(|step| step.fact.step == FaultStage::Injecting);
    let Some(from) = begun.map(|step| step.t_us).min() else {
        case.doubt("no fault was begun");
        return "nothing can be said".to_owned();
    };
    let drained = index.rare.phases.iter().find(|phase| phase.fact == "drain");
    let Some(until) = drained.map(|phase| phase.t_us) else {
        case.doubt("the consumers were never asked to stop");
        return "nothing can be said".to_owned();
    };
    let said: Vec<String> =
        kept.into_iter().map(|group| of_group(index, case, group, (from, until))).collect();
    said.join(", ")
}

fn of_group(index: &Index, case: &mut Case<'_>, group: &str, (from, until): (u64, u64)) -> String {
    let mut known: Vec<&At<Generation>> =
        index.rare.generations.iter().filter(|seen| seen.fact.group == group).collect();
    known.sort_by_key(|seen| (seen.fact.at_us, seen.fact.generation, seen.seq));
    let name = quoted(group);
    let before = known.iter().rev().find(|seen| seen.fact.at_us < from);
    let Some(before) = before.filter(|seen| !seen.fact.members.is_empty()) else {
        case.doubt(format!("the members of group {name} before the first fault were not read"));
        return format!("group {name}: unknown");
    };
    let inside = known.iter().filter(|seen| (from..until).contains(&seen.fact.at_us));
    let mut last = &before.fact;
    for seen in inside {
        // A static member that comes back is written down as well, in the same generation.
        if seen.fact.generation != last.generation {
            let text = format!("group {name} went from {} to {}", words(last), words(&seen.fact));
            let mut finding = anomalous("group-rebalanced", text);
            finding.group = Some(group.to_owned());
            finding.at_us = Some(seen.fact.at_us);
            case.find(finding);
        }
        last = &seen.fact;
    }
    case.figure("generation", u64::from(last.generation));
    case.figure("members", last.members.len() as u64);
    format!("group {name}: {}", words(last))
}

fn words(seen: &Generation) -> String {
    let members = count(seen.members.len() as u64, "member");
    format!("generation {} with {members}", seen.generation)
}
