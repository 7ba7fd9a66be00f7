//! `plan`, and `run --dry-run`: what a run would do, resolved to every target and instant.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use miette::IntoDiagnostic as _;
use serde::Serialize;

use crate::cli::{Filter, Output, PlanArguments};
use crate::command::preflight;
use crate::command::suite::{Library, Shelf, selected};
use crate::plan::{ConsumerPlan, FaultPlan, GroupPlan, Load, Plan, Resolved, Trigger};
use crate::scenario::ScenarioFile;
use crate::testbed;

pub(crate) fn main(arguments: &PlanArguments) -> miette::Result<u8> {
    let library = Library::of(&arguments.folder, Shelf::Scenarios);
    let files = selected(&library, &arguments.scenarios, &Filter::default())?.files;
    let abilities = testbed::abilities(arguments.testbed);
    let plans = preflight::resolved(&files, arguments.testbed, &abilities, arguments.seed)?;
    print(&files, &plans, arguments.testbed.name(), arguments.output)?;
    Ok(0)
}

/// Prints plans on standard output.
pub(crate) fn print(
    files: &[ScenarioFile],
    plans: &[Resolved],
    testbed: &str,
    output: Output,
) -> miette::Result<()> {
    let shown: Vec<Shown> =
        files.iter().zip(plans).map(|(file, plan)| Shown::of(file, plan, testbed)).collect();
    let text = match output.json {
        true => serde_json::to_string_pretty(&shown).into_diagnostic()?,
        false => shown.iter().map(in_words).collect::<Vec<_>>().join("\n"),
    };
    writeln!(std::io::stdout(), "{}", text.trim_end()).into_diagnostic()
}

/// How long a run is expected to take, with what its testbed needs to start and to be taken down.
pub(crate) fn expected(plan: &Plan, testbed_overhead: Duration) -> Duration {
    let outages: Duration = plan.faults.iter().map(|fault| fault.lasts).sum();
    testbed_overhead + plan.load.length() + outages
}

/// A plan as it is told.
#[derive(Debug, Serialize)]
struct Shown {
    scenario: String,
    testbed: String,
    seed: Option<u64>,
    /// Why it would not run; everything below is empty then.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_applicable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<ShownLoad>,
    topics: Vec<ShownTopic>,
    brokers: u32,
    groups: Vec<ShownGroup>,
    faults: Vec<ShownFault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_from_offset: Option<u64>,
    recovery_within_ms: u64,
    load_takes_ms: u64,
}

#[derive(Debug, Serialize)]
struct ShownLoad {
    kind: &'static str,
    operations: u64,
    rate_per_s: Option<f64>,
    topic: String,
    properties: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct ShownTopic {
    name: String,
    partitions: u32,
    replication: u32,
}

#[derive(Debug, Serialize)]
struct ShownGroup {
    group: String,
    members: Vec<String>,
    raw_zone: String,
    /// The settings of the built-in pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<ShownPipeline>,
    /// The command of a consumer of one's own, its placeholders as they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct ShownPipeline {
    batch_records: u64,
    batch_age_ms: u64,
    compression: &'static str,
    properties: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct ShownFault {
    fault: u32,
    kind: &'static str,
    target: String,
    begins: String,
    /// When that is expected, after the load began; unknown where the seed does not decide it.
    begins_at_ms: Option<u64>,
    lasts_ms: u64,
}

impl Shown {
    fn of(file: &ScenarioFile, resolved: &Resolved, testbed: &str) -> Self {
        let mut shown = Self {
            scenario: file.name.clone(),
            testbed: testbed.to_owned(),
            seed: None,
            not_applicable: None,
            load: None,
            topics: Vec::new(),
            brokers: 0,
            groups: Vec::new(),
            faults: Vec::new(),
            replay_from_offset: None,
            recovery_within_ms: 0,
            load_takes_ms: 0,
        };
        match resolved {
            Resolved::NotApplicable { reason, .. } => shown.not_applicable = Some(reason.clone()),
            Resolved::Plan(plan) => shown.fill(plan),
        }
        shown
    }

    fn fill(&mut self, plan: &Plan) {
        self.seed = Some(plan.seed);
        let (kind, rate_per_s) = match &plan.load {
            Load::Producer(load) => ("producer", Some(load.rate_per_s)),
            Load::Source(_) => ("database", None),
        };
        self.load = Some(ShownLoad {
            kind,
            operations: plan.load.operations(),
            rate_per_s,
            topic: plan.topic.clone(),
            properties: plan.producer_properties.clone(),
        });
        self.topics = plan
            .topology
            .topics
            .iter()
            .map(|topic| ShownTopic {
                name: topic.name.clone(),
                partitions: topic.partitions,
                replication: topic.replication,
            })
            .collect();
        self.brokers = plan.topology.brokers;
        self.groups = plan.groups.iter().map(group).collect();
        self.faults = plan.faults.iter().map(|each| fault(each, rate_per_s)).collect();
        self.replay_from_offset = plan.replay_from;
        self.recovery_within_ms = millis(plan.recovery_within);
        self.load_takes_ms = millis(plan.load.length());
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn group(group: &GroupPlan) -> ShownGroup {
    ShownGroup {
        group: group.group.clone(),
        members: group.members.clone(),
        raw_zone: group.raw_zone.clone(),
        pipeline: match &group.consumer {
            ConsumerPlan::Pipeline(plan) => Some(ShownPipeline {
                batch_records: plan.batch_records,
                batch_age_ms: millis(plan.batch_age),
                compression: plan.compression,
                properties: plan.properties.clone(),
            }),
            ConsumerPlan::Command(_) => None,
        },
        command: match &group.consumer {
            ConsumerPlan::Pipeline(_) => None,
            ConsumerPlan::Command(plan) => {
                Some(plan.command.iter().map(ToString::to_string).collect())
            }
        },
    }
}

fn fault(fault: &FaultPlan, rate_per_s: Option<f64>) -> ShownFault {
    let begins_at_ms = match (fault.trigger, rate_per_s) {
        (Trigger::After(after), _) => Some(millis(after)),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        (Trigger::Invoked(count), Some(rate)) => Some((count as f64 / rate * 1e3) as u64),
        // When what was committed is enough is for the pipeline to say.
        _ => None,
    };
    ShownFault {
        fault: fault.number,
        kind: fault.kind,
        target: fault.target.clone(),
        begins: fault.trigger.to_string(),
        begins_at_ms,
        lasts_ms: millis(fault.lasts),
    }
}

fn in_words(plan: &Shown) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = match (&plan.not_applicable, plan.seed) {
        (Some(reason), _) => {
            writeln!(text, "{} on {}: not applicable: {reason}", plan.scenario, plan.testbed)
        }
        (None, seed) => writeln!(
            text,
            "{} on {}, seed {}: the load takes {}",
            plan.scenario,
            plan.testbed,
            seed.unwrap_or_default(),
            time(plan.load_takes_ms)
        ),
    };
    if let Some(load) = &plan.load {
        let rate =
            load.rate_per_s.map_or_else(String::new, |rate| format!(" at {rate} per second"));
        let _ = writeln!(
            text,
            "  load    {} operations{rate} by a {}, into {}",
            load.operations, load.kind, load.topic
        );
        properties(&mut text, &load.properties);
    }
    for topic in &plan.topics {
        let _ = writeln!(
            text,
            "  topic   {}: partitions {}, replication {}, brokers {}",
            topic.name, topic.partitions, topic.replication, plan.brokers
        );
    }
    for group in &plan.groups {
        let members = group.members.join(", ");
        let _ = write!(text, "  group   {}: {members}; ", group.group);
        if let Some(pipeline) = &group.pipeline {
            let _ = write!(
                text,
                "batches of {} records or {}, compression {}",
                pipeline.batch_records,
                time(pipeline.batch_age_ms),
                pipeline.compression
            );
        }
        if let Some(command) = &group.command {
            let _ = write!(text, "command {}", command.join(" "));
        }
        let _ = writeln!(text, ", into {}", group.raw_zone);
        if let Some(pipeline) = &group.pipeline {
            properties(&mut text, &pipeline.properties);
        }
    }
    for fault in &plan.faults {
        let expected = match fault.begins_at_ms.filter(|_| !fault.begins.contains("after")) {
            Some(at) => format!(" (about {} after the load began)", time(at)),
            None => String::new(),
        };
        let lasts = match fault.lasts_ms {
            0 => "until it is back".to_owned(),
            lasts => format!("for {}", time(lasts)),
        };
        let _ = writeln!(
            text,
            "  fault {} {} of {} at {}{expected}, {lasts}",
            fault.fault, fault.kind, fault.target, fault.begins
        );
    }
    if let Some(offset) = plan.replay_from_offset {
        let _ = writeln!(text, "  replay  everything from offset {offset} on");
    }
    if plan.seed.is_some() {
        let _ = writeln!(text, "  then    recovered within {}", time(plan.recovery_within_ms));
    }
    text
}

fn properties(text: &mut String, properties: &std::collections::BTreeMap<String, String>) {
    for (name, value) in properties {
        let _ = writeln!(text, "            {name}={value}");
    }
}

fn time(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}
