//! What a run will be judged by.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{DATASET, FaultPlan, GroupPlan, Load};
use crate::fault;
use crate::scenario::ScenarioFile;
use crate::testbed::{Abilities, Topology};
use crate::workload::source as source_load;
use streamlake_history::event::{
    GroupPromise, OutcomePromise, PlannedFault, PromisedHeader, Promises, SourcePromise,
};

pub(super) fn promises(
    file: &ScenarioFile,
    abilities: &Abilities,
    load: &Load,
    groups: &[GroupPlan],
    faults: &[FaultPlan],
    recovery_within: Duration,
    topology: &Topology,
) -> Promises {
    let property = |name: &str| file.scenario.producer.properties.get(name).map(String::as_str);
    let produced = matches!(load, Load::Producer(_));
    let idempotent = produced && property("enable.idempotence") != Some("false");
    let held = matches!(load, Load::Source(source) if !source.holds.is_empty());
    Promises {
        operations: match load {
            Load::Producer(load) => load.operations_in_all(),
            Load::Source(_) => 0,
        },
        topics: topology.topics.iter().map(|t| (t.name.clone(), t.partitions)).collect(),
        partitioner: produced
            .then(|| property("partitioner").unwrap_or("murmur2_random").to_owned()),
        idempotent,
        key_order: idempotent,
        partition_order: false,
        groups: groups
            .iter()
            .map(|group| GroupPromise {
                group: group.group.clone(),
                raw_zone: Some(group.raw_zone.clone()),
                dead_letter_topic: Some(format!("streamlake.{DATASET}.dlq")),
                keeps_members: group.keeps_members,
                members: group.members.clone(),
                ..GroupPromise::default()
            })
            .collect(),
        faults: faults.iter().map(|fault| planned(fault, held)).collect(),
        recovery_within_us: u64::try_from(recovery_within.as_micros()).unwrap_or(u64::MAX),
        evidence: abilities.evidence.iter().copied().collect(),
        replay_from: None,
        standstill_within_us: standstill_within(groups),
        outcomes: match load {
            Load::Producer(load) => Some(OutcomePromise {
                validates: !load.lets_poison_through,
                unacknowledged_outside_faults: 0,
            }),
            Load::Source(_) => None,
        },
        dataset: produced.then(|| DATASET.to_owned()),
        headers: if produced { PromisedHeader::of_pipeline(DATASET) } else { Vec::new() },
        source: match load {
            Load::Producer(_) => None,
            Load::Source(source) => Some(SourcePromise {
                tables: BTreeMap::from([(source.qualified_table(), source.topic())]),
                transactions: source.transactions,
                changes: source.changes(),
                connector: source_load::CONNECTOR.to_owned(),
                slot: source_load::SLOT.to_owned(),
                offsets_topic: source_load::OFFSETS_TOPIC.to_owned(),
                columns: source.columns(),
                before_images: true,
                no_tombstones: source.connector_property("tombstones.on.delete") == Some("false"),
                exactly_once: source.connector_property("exactly.once.support") == Some("required"),
            }),
        },
    }
}

/// A batch is closed by its age at the latest, and a machine that is busy with other things may take
/// some seconds for what it does in some milliseconds otherwise.
fn standstill_within(groups: &[GroupPlan]) -> Option<u64> {
    const AT_LEAST: Duration = Duration::from_secs(15);
    let age = groups.iter().map(|group| group.batch_age).max()?;
    u64::try_from((AT_LEAST + 2 * age).as_micros()).ok()
}

/// What a fault has to show, and under which load, if the load is not `held` for it.
fn planned(fault: &FaultPlan, held: bool) -> PlannedFault {
    let kind = fault::kind(fault.kind);
    let load = kind.and_then(|kind| kind.load).filter(|_| !held);
    let shows = kind.map_or(&[][..], |kind| kind.shows).iter().chain(fault.fault.shows());
    PlannedFault {
        fault: fault.number,
        kind: fault.kind.to_owned(),
        target: fault.target.clone(),
        needs_load: load.is_some(),
        load,
        shows: shows.copied().collect(),
    }
}
