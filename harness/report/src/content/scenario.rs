//! A section for each scenario: what it sets out to show, what was done, what came out.

use super::super::document::{Document, Text};
use super::super::{ScenarioEntry, ScenarioReport, words};
use super::{Scenario, configuration, labelled, results};
use streamlake_judge::verdict::Status;

/// What passed is folded: its heading, its criterion and its verdict are what most readers ask for.
pub(super) fn write(scenario: &Scenario<'_>, document: &mut Document) {
    if scenario.first.status() == Some(Status::NotApplicable) && scenario.runs.is_empty() {
        return;
    }
    let about = scenario.first.about();
    let mut title = Text::data(scenario.first.title());
    if let Some(id) = &about.id {
        title = title.and(format!(" ({id})"));
    }
    document.heading(3, title, &scenario.id);
    if !about.criterion.is_empty() {
        document.paragraph(labelled("Success criterion:", Text::data(&about.criterion)));
    }
    let runs = &scenario.runs;
    let passed = runs.iter().all(|run| run.verdict.status == Status::Pass);
    match runs.as_slice() {
        [] => {}
        [run] => {
            results::verdict(run, document);
            results::anomalies(run, document);
        }
        _ => spread(scenario, document),
    }
    if !passed || runs.is_empty() {
        details(scenario, document);
        return;
    }
    let mut inner = Document::default();
    details(scenario, &mut inner);
    document.fold("What was done, and what was seen", inner);
}

fn details(scenario: &Scenario<'_>, document: &mut Document) {
    let about = scenario.first.about();
    if !about.story.is_empty() {
        document.paragraph(labelled("Scenario:", Text::data(&about.story)));
    }
    configuration(scenario, document);
    if let Some(run) = scenario.runs.first() {
        failure_injection(run, document);
    }
    if !about.expected.is_empty() {
        document.paragraph(labelled("Expected behaviour:", Text::data(&about.expected)));
    }
    match (scenario.first, scenario.runs.as_slice()) {
        (_, [run]) => results::measurements(run, &scenario.picture(0), document),
        (_, [_, _, ..]) => repeated(scenario, document),
        (ScenarioEntry::NotRun { command, .. }, _) => {
            let none = Text::strong("No results available.").and(" This makes them:");
            document.paragraph(labelled("Results:", none));
            document.shell(vec![command.clone()]);
        }
        (ScenarioEntry::NotCarriedOut { testbed, seed, reason, again, .. }, _) => {
            let why = Text::status(Status::Inconclusive)
                .and(". It could not be carried out on ")
                .code_too(testbed)
                .and(format!(" (seed {seed}): {reason}"));
            document.paragraph(labelled("Results:", why));
            document
                .list(again.logs.iter().map(|log| Text::prose("Log: ").code_too(log)).collect());
            document.shell(vec![again.run.clone()]);
        }
        (ScenarioEntry::NotApplicable { .. } | ScenarioEntry::Ran(_), []) => {}
    }
}

/// All that the testbed cannot carry out, with the reasons, folded away.
pub(super) fn not_applicable(scenarios: &[Scenario<'_>], document: &mut Document) {
    let lines: Vec<Text> = scenarios
        .iter()
        .filter_map(|scenario| match scenario.first {
            ScenarioEntry::NotApplicable { testbed, reason, .. } => Some(
                Text::strong(scenario.first.title())
                    .and(": ")
                    .then(Text::status(Status::NotApplicable))
                    .and(" on the testbed ")
                    .code_too(testbed)
                    .and(format!(": {reason}")),
            ),
            _ => None,
        })
        .collect();
    let count = lines.len() as u64;
    let mut inner = Document::default();
    inner.list(lines);
    let summary = format!(
        "{} not apply on this testbed",
        words::counted(count, "scenario does", "scenarios do")
    );
    document.fold(Text::data(summary), inner);
}

/// Labels of the plan that describe a fault; they have a paragraph of their own.
const FAULT_LABEL: &str = "Failure injection";

fn configuration(scenario: &Scenario<'_>, document: &mut Document) {
    let about = scenario.first.about();
    let settings = about.configuration.iter().filter(|(label, _)| !label.starts_with(FAULT_LABEL));
    let mut lines: Vec<Text> =
        settings.map(|(label, value)| Text::data(format!("{label}: ")).code_too(value)).collect();
    if let Some(run) = scenario.runs.first() {
        let promises = &run.header.promises;
        // A history of others says only what was promised.
        if about.configuration.is_empty() {
            let groups = promises.groups.iter().map(|group| Text::code(&group.group));
            let groups = Text::join(groups, ", ");
            let planned = words::count(promises.operations);
            lines.push(Text::data(format!("Operations planned: {planned}")));
            if !groups.is_empty() {
                lines.push(Text::data("Consumer groups: ").then(groups));
            }
        }
        let topics = promises.topics.iter().map(|(topic, partitions)| {
            let count = words::counted(u64::from(*partitions), "partition", "partitions");
            Text::code(topic).and(format!(" ({count})"))
        });
        lines.push(Text::data("Topics: ").then(Text::join(topics, ", ")));
        let producer = configuration::of_producer(run);
        if !producer.is_empty() {
            lines.push(Text::data("Producer, as read back: ").then(producer));
        }
    }
    if !lines.is_empty() {
        document.paragraph("**Configuration:**");
        document.list(lines);
    }
}

fn failure_injection(run: &ScenarioReport, document: &mut Document) {
    let planned = &run.header.run.about.configuration;
    let planned: Vec<&String> = planned
        .iter()
        .filter(|(label, _)| label.starts_with(FAULT_LABEL))
        .map(|(_, v)| v)
        .collect();
    let faults = &run.header.promises.faults;
    if faults.is_empty() {
        document.paragraph("**Failure injection:** none.");
        return;
    }
    let each =
        faults.iter().map(|fault| Text::code(&fault.kind).and(" of ").code_too(&fault.target));
    let text = match planned.len() == faults.len() {
        true => Text::join(planned.into_iter().map(Text::data), "; "),
        false => Text::join(each, "; "),
    };
    let load = match faults.iter().any(|fault| fault.needs_load) {
        true => ". It counts only with operations in flight.",
        false => ".",
    };
    document.paragraph(labelled("Failure injection:", text.and(load)));
}

/// The runs of a scenario in a sentence and two figures.
fn spread(scenario: &Scenario<'_>, document: &mut Document) {
    let runs = &scenario.runs;
    let passed = runs.iter().filter(|run| run.verdict.status == Status::Pass).count();
    let sum = format!("{passed} of {} runs passed.", runs.len());
    document.paragraph(labelled("Results:", Text::data(sum)));
    let gaps = runs.iter().filter_map(|run| run.verdict.tally.longest_unavailability_us);
    let open = match runs.iter().any(|run| run.verdict.tally.unavailability_open) {
        true => "; at least that, where a load ended without an acknowledgement",
        false => "",
    };
    let recoveries = runs.iter().flat_map(|run| &run.verdict.tally.windows);
    let recoveries = recoveries.filter_map(super::recovery_us);
    document.list(vec![
        Text::data(format!("Longest unavailability: {}{open}", words::spread(gaps.collect()))),
        Text::data(format!("Recovery after the heal: {}", words::spread(recoveries.collect()))),
    ]);
}

/// Each run folded away; what is wrong is told above.
fn repeated(scenario: &Scenario<'_>, document: &mut Document) {
    let runs = &scenario.runs;
    for (position, run) in runs.iter().enumerate() {
        let mut inner = Document::default();
        results::write(run, &scenario.picture(position), &mut inner);
        let summary = Text::data(format!("Run {} of {}: ", position + 1, runs.len()))
            .then(Text::status(run.verdict.status))
            .and(format!(", seed {}", run.header.run.seed));
        document.fold(summary, inner);
    }
}
