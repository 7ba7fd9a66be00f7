//! The head of the report: where it comes from, and the verdict in words that a manager reads.

use std::collections::{BTreeMap, BTreeSet};

use super::super::document::{Document, Text};
use super::super::{ScenarioEntry, ScenarioReport, SuiteReport, words};
use super::{absence, attention, by_scenario, configuration, duplicates, labelled, recovery_us};
use streamlake_judge::verdict::{Status, Tally};

pub(super) fn write(suite: &SuiteReport, document: &mut Document) {
    document.heading(1, "Kafka Delivery Guarantees Report", "report");
    verdict(suite, document);
    attention::write(suite, document);
    document.heading(2, "Executive Summary", "executive-summary");
    table(suite, document);
    let mut columns = Document::default();
    columns.paragraph(
        "**Lost**: acknowledged, but not where the pipeline promised to bring it. **Gaps**: offsets \
         below a committed offset that are stored nowhere. **Duplicates**: surplus copies in the log \
         and the raw zone; at-least-once delivery allows them. **Longest unavailability**: the \
         longest time in which producers got no acknowledgement. **Longest standstill**: the longest \
         time in which a consumer group committed nothing of a partition although a record was there, \
         from its first commit on; the time until a batch is full is part of it. **Recovery**: from the heal, as seen from \
         outside, to the commit of a record written after the outage began, in the partition that \
         came last; at once where such commits had been made by then.",
    );
    document.fold("What the columns mean", columns);
    document.list(origin(suite));
    let mut versions = Document::default();
    parts(suite, &mut versions);
    document.fold("Parts under test: versions, images, digests", versions);
}

/// The verdict in words, and what it is a verdict on.
pub(in super::super) fn verdict(suite: &SuiteReport, document: &mut Document) {
    let label = if suite.partial { "Verdict on what ran:" } else { "Verdict:" };
    let verdict = labelled(label, Text::status(suite.status()));
    document.paragraph(verdict.and(". ").and(sentence(suite)));
    if let Some(partial) = partial(suite) {
        document.paragraph(labelled("Not the whole suite:", Text::data(partial)));
    }
    if let Some(canary) = &suite.canary {
        let text = Text::data(format!("{}.", canary.sentence()));
        document.paragraph(labelled("Canary:", text));
    }
}

/// Of what this is no verdict, where it is about less than the suite.
pub(in super::super) fn partial(suite: &SuiteReport) -> Option<String> {
    let what = match (suite.interrupted, suite.selection.is_empty()) {
        (true, _) => {
            "the run was interrupted, and what had not ended by then is missing".to_owned()
        }
        (false, true) => "some of its scenarios have no results".to_owned(),
        (false, false) => format!("this is about {}", suite.selection.join(" ")),
    };
    suite.partial.then(|| format!("{what}; it says nothing of the other scenarios."))
}

/// A row for each run.
pub(in super::super) fn table(suite: &SuiteReport, document: &mut Document) {
    let head = [&["Scenario", "Verdict"][..], &FIGURES].concat();
    document.table(&head, 2, rows(suite));
    let not_applicable: Vec<&str> = suite
        .scenarios
        .iter()
        .filter(|entry| matches!(entry, ScenarioEntry::NotApplicable { .. }))
        .map(ScenarioEntry::title)
        .collect();
    if !not_applicable.is_empty() {
        let text = Text::data(format!("{}.", words::listed(&not_applicable)));
        document.paragraph(labelled("Not applicable on this testbed:", text));
    }
}

/// Where the report comes from. Times are those of the runs; when it was written does not matter.
fn origin(suite: &SuiteReport) -> Vec<Text> {
    let all = |of: fn(&ScenarioReport) -> String| -> BTreeSet<String> {
        suite.runs().map(of).filter(|value| !value.is_empty()).collect()
    };
    let mut lines = Vec::new();
    let started = all(|run| run.header.run.started_at.clone());
    if let (Some(first), Some(last)) = (started.first(), started.last()) {
        let text = match first == last {
            true => words::wall_clock(first),
            false => format!(
                "{} to {} (start of the first and of the last run)",
                words::wall_clock(first),
                words::wall_clock(last)
            ),
        };
        lines.push(labelled("Generated from runs of:", Text::data(text)));
    }
    let seeds: BTreeSet<u64> = suite.runs().map(|run| run.header.run.seed).collect();
    let seeds = Text::join(seeds.into_iter().map(|seed| Text::code(seed.to_string())), ", ");
    if !seeds.is_empty() {
        lines.push(labelled("Seed:", seeds));
    }
    for (label, values) in [
        ("Testbed:", all(|run| run.header.run.testbed.clone())),
        ("Harness:", all(|run| run.header.run.harness_version.clone())),
        ("Commit:", all(|run| run.header.run.commit.clone())),
    ] {
        if !values.is_empty() {
            lines.push(labelled(label, Text::join(values.into_iter().map(Text::code), ", ")));
        }
    }
    lines.push(labelled("Delivery mode:", configuration::delivery_mode(suite)));
    lines
}

/// Versions, images and digests of the system under test.
fn parts(suite: &SuiteReport, document: &mut Document) {
    let mut parts: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for run in suite.runs() {
        let info = &run.header.run;
        for (name, version) in &info.components {
            parts.entry((name, version)).or_default().insert(&info.testbed);
        }
    }
    let rows = parts.into_iter().map(|((name, version), testbeds)| {
        let testbeds: Vec<&str> = testbeds.into_iter().collect();
        vec![Text::data(name), Text::code(version), Text::data(testbeds.join(", "))]
    });
    document.table(&["Part under test", "Version, image, digest", "Testbed"], 3, rows.collect());
}

/// The verdict in a sentence or two.
pub(in super::super) fn sentence(suite: &SuiteReport) -> String {
    let scenarios = by_scenario(suite);
    let ran = scenarios.iter().filter(|scenario| !scenario.runs.is_empty()).count();
    let broken = suite
        .scenarios
        .iter()
        .filter(|entry| matches!(entry, ScenarioEntry::NotCarriedOut { .. }))
        .count() as u64;
    let broken = match broken {
        0 => String::new(),
        count => format!(
            " {} could not be carried out: nothing is known of {}.",
            words::counted(count, "run", "runs"),
            if count == 1 { "it" } else { "them" }
        ),
    };
    if ran == 0 && !broken.is_empty() {
        return format!("None of {} scenarios came to a result.{broken}", scenarios.len());
    }
    if ran == 0 {
        return format!("None of {} scenarios has run: no results available.", scenarios.len());
    }
    let runs: Vec<&ScenarioReport> = suite.runs().collect();
    let with = |status| runs.iter().filter(|run| run.verdict.status == status).count() as u64;
    let outcomes = [
        (with(Status::Pass), "passed"),
        (with(Status::Fail), "failed"),
        (with(Status::Inconclusive), "stayed inconclusive"),
        (with(Status::NotApplicable), "did not apply"),
    ];
    let outcomes: Vec<String> = outcomes
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", words::count(count)))
        .collect();
    let sum =
        |of: fn(&Tally) -> u64| -> u64 { runs.iter().map(|run| of(&run.verdict.tally)).sum() };
    // What a database rolled back was never meant to be written.
    let produced = runs.iter().filter(|run| run.header.promises.source.is_none());
    let failed: u64 = produced.map(|run| run.verdict.tally.failed).sum();
    let others = [
        (sum(|tally| tally.rejected), "rejected into the dead-letter topic"),
        (failed, "certainly not written"),
        (sum(|tally| tally.unknown), "unknown"),
    ];
    let others: Vec<String> = others
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", words::count(count)))
        .collect();
    let others = match others.is_empty() {
        true => String::new(),
        false => format!(" Not acknowledged: {}.", words::listed(&others)),
    };
    format!(
        "{ran} of {} scenarios ran, {} in all: {}. {} {}{others}{broken}",
        scenarios.len(),
        words::counted(runs.len() as u64, "run", "runs"),
        words::listed(&outcomes),
        words::counted(
            sum(|tally| tally.acknowledged),
            "record was acknowledged;",
            "records were acknowledged;"
        ),
        losses(&runs)
    )
}

fn losses(runs: &[&ScenarioReport]) -> String {
    let sum = |of: fn(&ScenarioReport) -> u64| -> u64 { runs.iter().map(|run| of(run)).sum() };
    let lost = sum(|run| run.verdict.tally.lost);
    let gaps = sum(|run| run.verdict.tally.gaps);
    let copies = sum(|run| duplicates(&run.verdict.tally));
    let certain = runs.iter().all(|run| run.verdict.status == Status::Pass);
    let lost = match (lost, certain) {
        (0, true) => "none of them was lost".to_owned(),
        (0, false) => {
            "no loss among them was seen, which is no proof where a run did not pass".to_owned()
        }
        (1, _) => "1 of them was lost".to_owned(),
        (lost, _) => format!("{} of them were lost", words::count(lost)),
    };
    let gaps = match gaps {
        0 => String::new(),
        gaps => format!(
            ", {} below a committed offset stored nowhere",
            words::counted(gaps, "offset is", "offsets are")
        ),
    };
    let copies = match copies {
        0 if !certain => "and no copy of a record was seen".to_owned(),
        0 => "no record appears twice".to_owned(),
        copies => {
            let copies = words::counted(copies, "surplus copy was", "surplus copies were");
            // The check on duplicates is among those that passed.
            let explained = if certain { ", each with its cause" } else { "" };
            format!("{copies} counted{explained}")
        }
    };
    format!("{lost}{gaps}, {copies}.")
}

fn rows(suite: &SuiteReport) -> Vec<Vec<Text>> {
    let mut rows = Vec::new();
    for scenario in by_scenario(suite) {
        let several = scenario.runs.len() > 1;
        for (position, run) in scenario.runs.iter().enumerate() {
            let name = match several {
                true => format!("{}, run {}", scenario.first.title(), position + 1),
                false => scenario.first.title().to_owned(),
            };
            let mut row = vec![
                Text::link(name, format!("#{}", scenario.id)),
                Text::status(run.verdict.status),
            ];
            row.extend(figures(run).map(Text::data));
            rows.push(row);
        }
        if scenario.runs.is_empty() && scenario.first.status() != Some(Status::NotApplicable) {
            let title = Text::link(scenario.first.title(), format!("#{}", scenario.id));
            let verdict = match scenario.first {
                ScenarioEntry::NotCarriedOut { .. } => {
                    Text::status(Status::Inconclusive).and(": could not be carried out")
                }
                _ => Text::data("no results available"),
            };
            let none = || Text::data(words::NONE);
            rows.push(vec![title, verdict, none(), none(), none(), none(), none(), none(), none()]);
        }
    }
    rows
}

/// How many were acknowledged, and of how many where it is not all: "none lost" of few is not much.
/// What a database rolled back was never meant to be written.
fn acknowledged(run: &ScenarioReport) -> String {
    let tally = &run.verdict.tally;
    match tally.acknowledged == tally.invoked || run.header.promises.source.is_some() {
        true => words::count(tally.acknowledged),
        false => {
            format!("{} of {}", words::count(tally.acknowledged), words::count(tally.invoked))
        }
    }
}

/// What [`figures`] are, the gravest first: on a narrow screen it stands beside the verdict.
const FIGURES: [&str; 7] = [
    "Lost",
    "Acknowledged",
    "Gaps",
    "Duplicates",
    "Longest unavailability",
    "Longest standstill",
    "Recovery",
];

/// The figures of a run, in the order of [`FIGURES`].
pub(in super::super) fn figures(run: &ScenarioReport) -> [String; 7] {
    let tally = &run.verdict.tally;
    let status = run.verdict.status;
    let recoveries: Vec<u64> = tally.windows.iter().filter_map(recovery_us).collect();
    // One window that did not recover outweighs those that did.
    let recovery = match recoveries.len() == tally.windows.len() {
        true => words::recovery(recoveries.into_iter().max()),
        false => "not seen".to_owned(),
    };
    [
        absence(tally.lost, status),
        acknowledged(run),
        absence(tally.gaps, status),
        words::count(duplicates(tally)),
        words::unavailability(tally.longest_unavailability_us, tally.unavailability_open),
        words::unavailability(tally.longest_standstill_us, tally.standstill_open),
        recovery,
    ]
}
