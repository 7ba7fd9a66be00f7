//! A scenario in words, for the report.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::{ConsumerPlan, FaultPlan, GroupPlan, Load, Trigger, source};
use crate::adapter::command::DeliveryPlace;
use crate::scenario::{FaultEntry, ScenarioFile};
use crate::workload::{Variety, WorkloadPlan};
use streamlake_history::event::About;

pub(super) fn about(
    file: &ScenarioFile,
    load: &Load,
    groups: &[GroupPlan],
    faults: &[FaultPlan],
) -> About {
    let (mut configuration, noun) = match load {
        Load::Producer(load) => (load_lines(load), "records"),
        Load::Source(load) => (source::lines(load), "transactions"),
    };
    for group in groups {
        let members = match group.members.len() {
            1 => "1 process".to_owned(),
            members => format!("{members} processes"),
        };
        let text = format!("{members}{}", consumer(group, file));
        configuration.insert(format!("Consumer group {}", group.group), text);
    }
    for fault in faults {
        let entry = file.scenario.faults.get(fault.entry).map(Spanned::get_ref);
        let label = format!("Failure injection {}", fault.number + 1);
        configuration.insert(label, in_words(fault, entry, noun));
    }
    About { configuration, ..about_of(file) }
}

/// What its consumers are, behind their number.
fn consumer(group: &GroupPlan, file: &ScenarioFile) -> String {
    match &group.consumer {
        ConsumerPlan::Pipeline(plan) => {
            let properties = plan.properties.iter();
            properties.map(|(name, value)| format!(", {name}={value}")).collect()
        }
        ConsumerPlan::Command(plan) => {
            let tables =
                file.scenario.groups.iter().find(|known| *known.name.get_ref() == group.group);
            let consumer = tables.and_then(|tables| tables.consumer.as_ref());
            let words = consumer.map(|consumer| {
                let consumer = consumer.get_ref();
                let image = consumer.image.iter().map(|image| image.get_ref().as_str());
                let command = consumer.command.iter().flat_map(|command| command.get_ref());
                let words = image.chain(command.map(|word| word.get_ref().as_str()));
                words.collect::<Vec<_>>().join(" ")
            });
            let delivery = match &plan.delivery.at {
                DeliveryPlace::Files { .. } => "files",
                DeliveryPlace::Objects { .. } => "objects of the store",
                DeliveryPlace::Rows { .. } => "rows of a table",
                DeliveryPlace::Topic { .. } => "records of another topic",
            };
            format!(" ({}), delivering {delivery}", words.unwrap_or_default())
        }
    }
}

fn load_lines(load: &WorkloadPlan) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("Records".to_owned(), load.operations.to_string()),
        ("Rate".to_owned(), format!("{} records/s", load.rate_per_s)),
        ("Keys".to_owned(), load.keys.to_string()),
        ("Payload".to_owned(), payload(load)),
    ])
}

fn payload(load: &WorkloadPlan) -> String {
    match load.variety {
        Variety::Plain => format!("{} bytes", load.payload_bytes),
        Variety::Full => format!(
            "{} bytes, some from nothing to 900 kB; keys, spellings and poison of many kinds; beside the \
             load {} odd records of another writer",
            load.payload_bytes, load.odd
        ),
    }
}

/// A fault in a sentence: `broker-pause of broker-1 at 150 records invoked, undone after 10s`.
fn in_words(fault: &FaultPlan, entry: Option<&FaultEntry>, noun: &str) -> String {
    let settings = entry.and_then(|entry| entry.settings.as_ref());
    let settings: Vec<String> = settings.map_or_else(Vec::new, |settings| {
        let plain =
            |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        settings
            .get_ref()
            .iter()
            .map(|(name, value)| format!("{name} = {}", plain(value)))
            .collect()
    });
    let settings = match settings.is_empty() {
        true => String::new(),
        false => format!(" ({})", settings.join(", ")),
    };
    let when = match fault.trigger {
        Trigger::After(after) => {
            format!("{} into the load", humantime::format_duration(after))
        }
        Trigger::Invoked(count) => format!("at {count} {noun} invoked"),
        Trigger::Committed(count) => format!("at {count} {noun} committed"),
    };
    let undone = match fault.lasts {
        Duration::ZERO => "undone as soon as its effect is seen".to_owned(),
        lasts => format!("undone after {}", humantime::format_duration(lasts)),
    };
    format!("{}{settings} of {} {when}, {undone}", fault.kind, fault.target)
}

/// A scenario in its own words, without what only a plan knows.
pub(crate) fn about_of(file: &ScenarioFile) -> About {
    let scenario = &file.scenario;
    About {
        title: scenario.title.clone(),
        id: scenario.id.clone(),
        criterion: scenario.criterion.clone(),
        story: scenario.story.clone(),
        expected: scenario.expected.clone(),
        configuration: BTreeMap::new(),
    }
}
