//! Whether a fault on a group member met something: partitions that it owned, records that were not
//! committed. From what the history itself tells, and from what was counted when it was struck; neither
//! may deny the other.

use std::collections::BTreeSet;

use super::demands::Told;
use super::{step, steps};
use crate::case::quoted;
use crate::index::{At, Index};
use streamlake_history::event::{
    FaultStage, GroupPromise, Membership, PatientMet, PlannedFault, Position, ProcessChange,
    ProcessRole, ProcessState,
};
use streamlake_history::owners::Owners;

/// What was seen to be committed this long before an act was committed before it, whatever the clocks.
const CLEARLY_US: u64 = 1_000_000;

/// The member owned partitions when it was struck.
pub(super) fn owned(index: &Index, fault: &PlannedFault, met: &PatientMet) -> Told {
    let Some(struck_us) = step(index, fault.fault, FaultStage::Injecting) else {
        return Told::Silent("nobody saw when its target was struck".to_owned());
    };
    if met.partitions_owned == Some(0) {
        return Told::Denied("the member owned no partition when it was struck".to_owned());
    }
    let Some(group) = group(index, fault) else {
        return Told::Silent("nobody says which group its target is a member of".to_owned());
    };
    match owned_partitions(index, &group.group, &fault.target, struck_us) {
        Some(0) => Told::Denied(format!(
            "by what was seen to pass between members and coordinator, {} owned no partition when it \
             was struck",
            quoted(&fault.target)
        )),
        Some(_) => Told::Shown,
        None if met.partitions_owned.is_some() => Told::Shown,
        None => by_number(index, group, fault, struck_us),
    }
}

/// Partitions that a member owned at an instant, by what passed between members and coordinators. None if
/// nobody told of this group.
fn owned_partitions(index: &Index, group: &str, member: &str, at_us: u64) -> Option<usize> {
    let rare = &index.rare;
    let told = rare.positions.iter().any(|p| p.fact.group == group)
        || rare.memberships.iter().any(|m| m.fact.group == group);
    told.then(|| {
        let mut owners = Owners::default();
        let mut steps: Vec<(u64, Step<'_>)> = Vec::new();
        steps.extend(rare.processes.iter().map(|p| (p.t_us, Step::Process(&p.fact))));
        steps.extend(rare.memberships.iter().map(|m| (m.fact.at_us, Step::Membership(&m.fact))));
        steps.extend(rare.positions.iter().map(|p| (p.fact.at_us, Step::Position(&p.fact))));
        steps.sort_by_key(|(at_us, _)| *at_us);
        for (_, step) in steps.iter().take_while(|(step_us, _)| *step_us <= at_us) {
            match step {
                Step::Process(fact) => owners.process(fact),
                Step::Membership(fact) => owners.membership(fact),
                Step::Position(fact) => owners.position(fact),
            }
        }
        owners.owned_by(group, member).map_or(0, |owned| owned.len())
    })
}

/// What changes who owns what.
enum Step<'a> {
    Process(&'a ProcessState),
    Membership(&'a Membership),
    Position(&'a Position),
}

/// Where nobody saw who owned what: every assignor gives each member a partition while there are enough.
fn by_number(index: &Index, group: &GroupPromise, fault: &PlannedFault, at_us: u64) -> Told {
    let mut running = BTreeSet::new();
    for At { fact, .. } in index.rare.processes.iter().filter(|p| p.t_us <= at_us) {
        if fact.role() == Some(ProcessRole::Consumer) && fact.consumes_for(&group.group) {
            match fact.state {
                ProcessChange::Started => running.insert(&fact.name),
                ProcessChange::Exited => running.remove(&fact.name),
                _ => false,
            };
        }
    }
    if !running.contains(&fault.target) {
        return Told::Denied("the member was not running when it was struck".to_owned());
    }
    let partitions = topics(index, group).map(|(_, partitions)| partitions as usize).max();
    if running.len() <= partitions.unwrap_or(0) {
        return Told::Shown;
    }
    Told::Silent(format!(
        "the group had {} members for {} partitions, and nobody saw who owned which",
        running.len(),
        partitions.unwrap_or(0)
    ))
}

/// Records were not committed when the member was struck.
pub(super) fn held_uncommitted(index: &Index, fault: &PlannedFault, met: &PatientMet) -> Told {
    if met.records_uncommitted == Some(0) {
        let text = "the member had nothing uncommitted when it was struck";
        return Told::Denied(text.to_owned());
    }
    let at = |stage| step(index, fault.fault, stage);
    let (Some(group), Some(struck)) = (group(index, fault), at(FaultStage::Injecting)) else {
        return Told::Silent(
            "nobody says of which group its target is a member, and when it was struck".to_owned(),
        );
    };
    let all = || Told::Denied("everything was committed when the member was struck".to_owned());
    let waiting = |acknowledged_by, committed_by| {
        let acknowledged = index.acks.up_to(acknowledged_by);
        acknowledged.checked_sub(committed(index, group, committed_by)).filter(|more| *more > 0)
    };
    match met.records_uncommitted {
        // The counting is believed unless the commits contradict it beyond any doubt.
        Some(_) => {
            let healed = at(FaultStage::Healed).unwrap_or(struck);
            let nothing = waiting(healed, struck.saturating_sub(CLEARLY_US)).is_none();
            if nothing && !has_copies(index) { all() } else { Told::Shown }
        }
        None if waiting(struck, struck).is_some() => Told::Shown,
        None if has_copies(index) => Told::Silent(
            "nobody saw whether records were uncommitted when it was struck".to_owned(),
        ),
        None => all(),
    }
}

/// Records waited to be delivered at some time between two instants, to the group of the fault's target
/// or, where it has none, to any.
pub(super) fn deliveries_due(index: &Index, fault: &PlannedFault, from: u64, to: u64) -> bool {
    let counted = |step: &At<streamlake_history::event::FaultStep>| {
        let met = step.fact.patient.as_ref();
        met.and_then(|met| met.records_uncommitted).is_some_and(|records| records > 0)
    };
    let of_target = group(index, fault).filter(|_| is_consumer(index, fault));
    let groups: Vec<&GroupPromise> = match of_target {
        Some(group) => vec![group],
        None => index.header.promises.groups.iter().collect(),
    };
    let acknowledged = index.acks.up_to(to);
    steps(index, fault.fault).any(counted)
        || has_copies(index)
        || groups.iter().any(|group| acknowledged > committed(index, group, from))
}

/// The log holds more than what was acknowledged: counts of receipts and of offsets cannot be compared.
fn has_copies(index: &Index) -> bool {
    let logged: u64 = index.promised_lanes().map(|(_, lane)| lane.logged().len()).sum();
    logged > index.ops.acknowledged()
}

/// Records that a group had committed by an instant, as far as it was seen.
fn committed(index: &Index, group: &GroupPromise, by_us: u64) -> u64 {
    let Some((_, _, lanes)) = index.promised_groups().find(|(_, g, _)| g.group == group.group)
    else {
        return 0;
    };
    let lanes = index.promised_lanes().filter_map(|(n, lane)| Some((lane, lanes.get(&n)?)));
    let of_lane = |(lane, known): (&crate::index::Lane, &crate::index::GroupLane)| {
        let last = known.commits.iter().rfind(|commit| commit.at_us <= by_us);
        last.map_or(0, |commit| lane.logged().below(commit.offset).len())
    };
    lanes.map(of_lane).sum()
}

fn is_consumer(index: &Index, fault: &PlannedFault) -> bool {
    let mut own = index.rare.processes.iter().filter(|p| p.fact.name == fault.target);
    own.any(|p| p.fact.role() == Some(ProcessRole::Consumer))
}

/// The group that the target of a fault is a member of.
fn group<'a>(index: &'a Index, fault: &PlannedFault) -> Option<&'a GroupPromise> {
    let groups = &index.header.promises.groups;
    let own = index.rare.processes.iter().filter(|p| p.fact.name == fault.target);
    match own.filter_map(|p| p.fact.group.as_deref()).next() {
        Some(name) => groups.iter().find(|group| group.group == name),
        None => groups.first().filter(|_| groups.len() == 1),
    }
}

/// The topics that a group reads, with their partitions.
fn topics<'a>(
    index: &'a Index,
    group: &'a GroupPromise,
) -> impl Iterator<Item = (&'a String, u32)> {
    let promises = &index.header.promises;
    let dead = |topic: &String| {
        promises.groups.iter().any(|group| group.dead_letter_topic.as_ref() == Some(topic))
    };
    let reads = move |topic: &String| {
        if group.topics.is_empty() { !dead(topic) } else { group.topics.contains(topic) }
    };
    promises.topics.iter().filter(move |(topic, _)| reads(topic)).map(|(t, n)| (t, *n))
}
