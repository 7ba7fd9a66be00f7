//! What the report says: every sentence and every figure, before it has a format.
//!
//! Figures come from the verdict and from what was observed, never from what was planned.

mod advice;
mod analysis;
mod attention;
mod capture;
mod compare;
mod configuration;
mod pause;
mod recovery;
mod results;
mod scenario;
mod summary;
mod window;

use std::collections::BTreeSet;

use super::document::{Document, Text};
use super::escape::shell_word;
use super::{ScenarioEntry, ScenarioReport, SuiteReport, words};
use streamlake_judge::verdict::{Finding, Status, Tally, WindowTally};

pub(super) use summary::{figures, partial, sentence, table, verdict};

/// The whole report.
pub(super) fn report(suite: &SuiteReport) -> Document {
    let mut document = Document::default();
    summary::write(suite, &mut document);
    compare::write(suite, &mut document);
    document.heading(2, "Delivery Guarantee Scenarios", "scenarios");
    let scenarios = by_scenario(suite);
    for scenario in &scenarios {
        scenario::write(scenario, &mut document);
    }
    scenario::not_applicable(&scenarios, &mut document);
    document.heading(2, "Delivery Guarantee Analysis", "delivery-guarantee-analysis");
    configuration::write(suite, &mut document);
    analysis::write(suite, &mut document);
    recovery::write(suite, &mut document);
    pause::write(suite, &mut document);
    trial(suite, &mut document);
    advice::write(suite, &mut document);
    document
}

/// Why the verdicts can be believed: the checkers' own trial.
fn trial(suite: &SuiteReport, document: &mut Document) {
    if let Some(proof) = &suite.proof {
        document.heading(2, "The Checkers on Trial", "checkers-on-trial");
        let mut inner = Document::default();
        super::proof::write(proof, &mut inner);
        folded(inner, document);
    }
    if let Some(ordinary) = &suite.ordinary {
        document.heading(2, "The Ordinary Suite on Trial", "ordinary-suite-on-trial");
        let mut inner = Document::default();
        super::ordinary::write(ordinary, &mut inner);
        folded(inner, document);
    }
}

/// What a trial came to, with everything else about it folded away.
fn folded(mut inner: Document, document: &mut Document) {
    if inner.0.is_empty() {
        return;
    }
    document.0.push(inner.0.remove(0));
    document.fold("The whole matrix", inner);
}

/// The entries of one scenario on one testbed: its repetitions.
pub(super) struct Scenario<'a> {
    /// The first entry; the others describe themselves alike.
    pub(super) first: &'a ScenarioEntry,
    /// Its runs; empty where it has not run or does not apply.
    pub(super) runs: Vec<&'a ScenarioReport>,
    /// Unique among the report's scenarios, fit for anchors and file names.
    pub(super) id: String,
}

/// Groups repetitions, and gives each scenario a name of its own for anchors and files.
pub(super) fn by_scenario(suite: &SuiteReport) -> Vec<Scenario<'_>> {
    let mut scenarios: Vec<Scenario<'_>> = Vec::new();
    let mut taken = BTreeSet::new();
    for entry in &suite.scenarios {
        if let ScenarioEntry::Ran(run) = entry
            && let Some(known) = scenarios.iter_mut().find(|known| known.repeats(run))
        {
            known.runs.push(run);
            continue;
        }
        let slug = super::escape::slug(entry.name());
        let names = (2..).map(|number| format!("{slug}-{number}"));
        let id = std::iter::once(slug.clone()).chain(names).find(|id| taken.insert(id.clone()));
        let runs = match entry {
            ScenarioEntry::Ran(run) => vec![run.as_ref()],
            _ => Vec::new(),
        };
        scenarios.push(Scenario { first: entry, runs, id: id.unwrap_or(slug) });
    }
    scenarios
}

impl Scenario<'_> {
    /// Whether a run is one more of this scenario on the same testbed.
    fn repeats(&self, run: &ScenarioReport) -> bool {
        let info = &run.header.run;
        self.runs.first().is_some_and(|first| {
            first.header.run.scenario == info.scenario && first.header.run.testbed == info.testbed
        })
    }

    /// Name of the picture of a run, counted from 0.
    fn picture(&self, run: usize) -> String {
        match run {
            0 => format!("timeline-{}.svg", self.id),
            run => format!("timeline-{}-run-{}.svg", self.id, run + 1),
        }
    }
}

/// The fault windows of one kind in one scenario. The same kind may be set otherwise in another
/// scenario, and is another fault then.
pub(super) struct Windows<'a> {
    /// The scenario's heading.
    pub(super) title: &'a str,
    /// The scenario's anchor.
    pub(super) id: String,
    pub(super) kind: &'a str,
    pub(super) windows: Vec<(&'a ScenarioReport, &'a WindowTally)>,
}

pub(super) fn windows_by_scenario(suite: &SuiteReport) -> Vec<Windows<'_>> {
    let mut all: Vec<Windows<'_>> = Vec::new();
    for scenario in by_scenario(suite) {
        for (run, window) in
            scenario.runs.iter().flat_map(|run| run.verdict.tally.windows.iter().map(|w| (*run, w)))
        {
            let same =
                |known: &&mut Windows<'_>| known.id == scenario.id && known.kind == window.kind;
            match all.iter_mut().find(same) {
                Some(known) => known.windows.push((run, window)),
                None => all.push(Windows {
                    title: scenario.first.title(),
                    id: scenario.id.clone(),
                    kind: &window.kind,
                    windows: vec![(run, window)],
                }),
            }
        }
    }
    all
}

/// The pictures of all runs with their files' names.
pub(super) fn pictures(suite: &SuiteReport) -> Vec<(String, &ScenarioReport)> {
    let mut pictures = Vec::new();
    for scenario in by_scenario(suite) {
        let runs = scenario.runs.iter().enumerate();
        pictures.extend(runs.map(|(number, run)| (scenario.picture(number), *run)));
    }
    pictures
}

/// The command that runs a scenario again as it ran, or, where others wrote the history and there
/// is nothing to run, judges it again.
pub(super) fn run_again(run: &ScenarioReport) -> String {
    let info = &run.header.run;
    if info.testbed == "foreign" {
        return judge_again(run);
    }
    if let Some(again) = &run.again {
        return again.run.clone();
    }
    format!(
        "cargo run -- run {} --testbed {} --seed {}",
        shell_word(&info.scenario),
        shell_word(&info.testbed),
        info.seed
    )
}

/// The command that judges the recorded history of a run, in the report's folder.
pub(super) fn judge_again(run: &ScenarioReport) -> String {
    if let Some(again) = &run.again {
        return again.check.clone();
    }
    format!("cargo run -- check {}", shell_word(&run.history_file))
}

/// Where and when a finding is: group, partition, offsets, instant; empty where it says nothing.
pub(super) fn place(finding: &Finding) -> String {
    const RANGES_MAX: usize = 8;
    let mut parts = Vec::new();
    parts.extend(finding.group.as_ref().map(|group| format!("group {group}")));
    parts.extend(finding.topic.as_ref().map(|topic| format!("topic {topic}")));
    parts.extend(finding.partition.map(|partition| format!("partition {partition}")));
    if !finding.offsets.is_empty() {
        let ranges =
            finding.offsets.iter().take(RANGES_MAX).map(|range| match range.first == range.last {
                true => range.first.to_string(),
                false => format!("{}–{}", range.first, range.last),
            });
        let ranges: Vec<String> = ranges.collect();
        let left = finding.offsets.len().saturating_sub(RANGES_MAX);
        let more = if left > 0 { format!(" and {left} more ranges") } else { String::new() };
        parts.push(format!("offsets {}{more}", ranges.join(", ")));
    }
    parts.extend(finding.at_us.map(|at| format!("at {}", words::instant(at))));
    parts.extend(finding.fault.map(|fault| format!("fault {fault}")));
    parts.join(", ")
}

/// A finding in a sentence, with its place where it says one.
pub(super) fn described(finding: &Finding) -> String {
    match place(finding).as_str() {
        "" => finding.message.clone(),
        place => format!("{} ({place})", finding.message),
    }
}

/// Surplus copies of records over log and raw zones.
pub(super) fn duplicates(tally: &Tally) -> u64 {
    let stored: u64 = tally.groups.values().map(|group| group.duplicates).sum();
    tally.logged_duplicates + stored
}

/// Time from the heal until the pipeline moved again from end to end.
pub(super) fn recovery_us(window: &WindowTally) -> Option<u64> {
    Some(window.recovered_us?.saturating_sub(window.healed_us?))
}

/// A figure that shows an absence: zero proves nothing where the evidence does not suffice.
pub(super) fn absence(number: u64, status: Status) -> String {
    match (number, status) {
        (0, Status::Inconclusive | Status::NotApplicable) => "none seen".to_owned(),
        _ => words::count(number),
    }
}

/// A label and what belongs to it.
fn labelled(label: &'static str, text: Text) -> Text {
    Text::strong(label).and(" ").then(text)
}
