//! What a run will be judged by.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ConsumerPlan, FaultPlan, GroupPlan, Load};
use crate::adapter::command::{DeliveryPlace, ProducerPlan};
use crate::adapter::streamlake;
use crate::fault;
use crate::scenario::ScenarioFile;
use crate::testbed::{Abilities, Topology};
use crate::workload::source as source_load;
use streamlake_history::event::{
    BatchPromise, ConsumerPromise, GroupPromise, OutcomePromise, PlannedFault, PromisedHeader,
    Promises, SourcePromise, ValuePromise,
};

/// The producer lingers for some milliseconds, and says what it knows when it knows it.
const MOST_ANSWERED_WITHIN_US: u64 = 1_000_000;

pub(super) fn promises(
    file: &ScenarioFile,
    abilities: &Abilities,
    load: &Load,
    groups: &[GroupPlan],
    faults: &[FaultPlan],
    recovery_within: Duration,
    topology: &Topology,
) -> Promises {
    let dataset = &file.scenario.names.dataset;
    let property = |name: &str| file.scenario.producer.properties.get(name).map(String::as_str);
    let produced = matches!(load, Load::Producer(_));
    let idempotent = produced && property("enable.idempotence") != Some("false");
    let held = matches!(load, Load::Source(source) if !source.holds.is_empty());
    Promises {
        operations: match load {
            Load::Producer(load) => load.operations_in_all(),
            Load::Source(_) => 0,
        },
        topics: topology
            .topics
            .iter()
            .filter(|topic| !groups.iter().any(|group| delivers_into(group, &topic.name)))
            .map(|topic| (topic.name.clone(), topic.partitions))
            .collect(),
        partitioner: produced
            .then(|| property("partitioner").unwrap_or("murmur2_random").to_owned()),
        idempotent,
        key_order: idempotent,
        partition_order: false,
        groups: groups.iter().map(|group| group_promise(group, &load.topic())).collect(),
        faults: faults.iter().map(|fault| planned(fault, held)).collect(),
        recovery_within_us: u64::try_from(recovery_within.as_micros()).unwrap_or(u64::MAX),
        evidence: abilities.evidence.iter().copied().collect(),
        settings: settings(file, load, groups),
        own_producer: false,
        replay_from: None,
        standstill_within_us: standstill_within(groups),
        outcomes: match load {
            Load::Producer(load) => Some(OutcomePromise {
                validates: !load.lets_poison_through,
                unacknowledged_outside_faults: 0,
                most_answered_within_us: Some(MOST_ANSWERED_WITHIN_US),
                gives_up_after_us: property("message.timeout.ms")
                    .and_then(|ms| ms.parse::<u64>().ok())
                    .map(|ms| ms.saturating_mul(1_000)),
                tells_key_and_letter: true,
            }),
            Load::Source(_) => None,
        },
        dataset: produced.then(|| dataset.clone()),
        headers: if produced { PromisedHeader::of_pipeline(dataset) } else { Vec::new() },
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

/// What somebody's own producer promises, in place of what the built-in one documents: that what it said was
/// written is written, and no more than the scenario says for it. Without receipts nothing was said.
pub(super) fn of_own_producer(producer: &ProducerPlan, promises: &mut Promises) {
    promises.partitioner.clone_from(&producer.partitioner);
    promises.idempotent = producer.idempotent;
    promises.key_order = producer.idempotent;
    promises.headers = Vec::new();
    promises.dataset = None;
    promises.settings.remove(crate::runner::PRODUCER);
    promises.own_producer = true;
    promises.outcomes = producer.tells_receipts.then_some(OutcomePromise {
        validates: false,
        unacknowledged_outside_faults: 0,
        most_answered_within_us: None,
        gives_up_after_us: None,
        tells_key_and_letter: false,
    });
    if !producer.tells_receipts {
        promises.operations = 0;
    }
}

/// What the pipeline documents of its clients, with what the scenario sets, by process.
fn settings(
    file: &ScenarioFile,
    load: &Load,
    groups: &[GroupPlan],
) -> BTreeMap<String, BTreeMap<String, String>> {
    const CONSUMER: &[(&str, &str)] = &[
        ("check.crcs", "true"),
        ("fetch.wait.max.ms", "100"),
        ("max.poll.interval.ms", "300000"),
        ("reconnect.backoff.max.ms", "500"),
    ];
    // With the newer protocol of groups the broker decides these.
    const CLASSIC: &[(&str, &str)] =
        &[("partition.assignment.strategy", "cooperative-sticky"), ("session.timeout.ms", "30000")];
    const PRODUCER: &[(&str, &str)] = &[
        ("linger.ms", "5"),
        ("message.max.bytes", "1000000000"),
        ("message.timeout.ms", "300000"),
        ("reconnect.backoff.max.ms", "500"),
        ("retries", "2147483647"),
    ];
    let with = |documented: &[(&str, &str)], own: &BTreeMap<String, String>, process: &str| {
        let documented =
            documented.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        // Those of the dead-letter producer are its own.
        let own = own.iter().filter(|(name, _)| !name.starts_with("dlq."));
        let own = own.map(|(name, value)| (name.clone(), value.replace("{member}", process)));
        documented.chain(own).collect::<BTreeMap<_, _>>()
    };
    let mut settings = BTreeMap::new();
    for group in groups {
        let ConsumerPlan::Pipeline(plan) = &group.consumer else { continue };
        for member in &group.members {
            let protocol = plan.properties.get("group.protocol");
            let classic = protocol.is_none_or(|protocol| protocol == "classic");
            let documented = [CONSUMER, if classic { CLASSIC } else { &[] }].concat();
            settings.insert(member.clone(), with(&documented, &plan.properties, member));
        }
    }
    if matches!(load, Load::Producer(_)) {
        let own = &file.scenario.producer.properties;
        settings.insert(crate::runner::PRODUCER.to_owned(), with(PRODUCER, own, ""));
    }
    settings
}

fn delivers_into(group: &GroupPlan, topic: &str) -> bool {
    match &group.consumer {
        ConsumerPlan::Command(plan) => {
            matches!(&plan.delivery.at, DeliveryPlace::Topic { name, .. } if name == topic)
        }
        ConsumerPlan::Pipeline(_) => false,
    }
}

pub(super) fn group_promise(group: &GroupPlan, topic: &str) -> GroupPromise {
    let promise = GroupPromise {
        group: group.group.clone(),
        raw_zone: Some(group.raw_zone.clone()),
        dead_letter_topic: group.dead_letter_topic(),
        keeps_members: group.keeps_members,
        members: group.members.clone(),
        starts: group.starts,
        may_seek_back: group.may_seek_back,
        ..GroupPromise::default()
    };
    let plan = match &group.consumer {
        ConsumerPlan::Command(plan) => plan,
        ConsumerPlan::Pipeline(plan) => {
            let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let batch = BatchPromise {
                records: plan.batch_records,
                bytes: plan.batch_bytes,
                age_us: micros(plan.batch_age),
            };
            return GroupPromise {
                drains_within_us: Some(micros(streamlake::DRAINS_WITHIN)),
                batch: Some(batch),
                ill_within_us: plan.ill_within.map(micros),
                reports_itself: true,
                ..promise
            };
        }
    };
    let record = &plan.delivery.record;
    GroupPromise {
        topics: vec![topic.to_owned()],
        free_layout: true,
        consumer: Some(ConsumerPromise {
            stop_signal: plan.stop_signal as i32,
            restarts_at_most: plan.restarts.map_or(0, |restarts| restarts.at_most),
            // A record of a topic cannot be replaced, and a row is not watched: nothing is promised by saying so.
            keeps_objects: !plan.delivery.overwrites
                && !matches!(
                    plan.delivery.at,
                    DeliveryPlace::Topic { .. } | DeliveryPlace::Rows { .. }
                ),
            keeps_keys: record.tells_keys(),
            values: record.compare,
            letter_values: plan.letters.as_ref().map_or(ValuePromise::Untold, |l| l.record.compare),
        }),
        ..promise
    }
}

/// A batch is closed by its age at the latest, and a machine that is busy with other things may take
/// some seconds for what it does in some milliseconds otherwise.
fn standstill_within(groups: &[GroupPlan]) -> Option<u64> {
    const AT_LEAST: Duration = Duration::from_secs(15);
    let age = groups.iter().map(|group| group.commits_every()).max()?;
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
        spares_brokers: kind.map(|kind| kind.spares_brokers),
    }
}
