//! What needs somebody's attention, first of all: each guarantee that was violated with place, instant,
//! mechanism, the command to type next and the logs to open; then what stayed in doubt, and what could
//! not be carried out.

use super::super::document::{Document, Item, Text};
use super::super::{Again, ScenarioEntry, ScenarioReport, SuiteReport, words};
use super::{Scenario, by_scenario, judge_again, labelled, place};
use streamlake_judge::verdict::{CheckResult, Finding, Status};

/// Runs that are told here, and checks of each; the others stand in the sections of their scenarios.
const RUNS_MAX: usize = 8;
const CHECKS_MAX: usize = 4;
/// Facts of the first finding of a check that are told.
const FACTS_MAX: usize = 2;
/// Logs that are named.
const LOGS_MAX: usize = 6;

/// Nothing where nothing needs attention.
pub(super) fn write(suite: &SuiteReport, document: &mut Document) {
    let scenarios = by_scenario(suite);
    let mut told: Vec<(Text, Vec<Item>)> = scenarios.iter().filter_map(broken).collect();
    for status in [Status::Fail, Status::Inconclusive] {
        for scenario in &scenarios {
            let doubtful = scenario.runs.iter().filter(|run| run.verdict.status == status);
            told.extend(doubtful.map(|run| one(scenario, run)));
        }
    }
    if told.is_empty() {
        return;
    }
    document.heading(2, "What Needs Attention", "attention");
    let left = told.len().saturating_sub(RUNS_MAX) as u64;
    for (head, items) in told.into_iter().take(RUNS_MAX) {
        document.paragraph(head);
        document.nested(items);
    }
    if left > 0 {
        document.paragraph(Text::data(format!(
            "… and {} more, in the sections of their scenarios.",
            words::counted(left, "run", "runs")
        )));
    }
}

/// What came to no history.
fn broken(scenario: &Scenario<'_>) -> Option<(Text, Vec<Item>)> {
    let ScenarioEntry::NotCarriedOut { testbed, seed, reason, again, .. } = scenario.first else {
        return None;
    };
    let head = link(scenario)
        .and(format!(", seed {seed}: "))
        .then(Text::strong("could not be carried out"))
        .and(" on ")
        .code_too(testbed);
    let mut lines = vec![labelled("Why:", Text::data(reason))];
    lines.push(labelled("Next:", Text::code(&again.run)));
    lines.extend(logs(again));
    Some((head, lines.into_iter().map(Item::from).collect()))
}

fn link(scenario: &Scenario<'_>) -> Text {
    Text::link(scenario.first.title(), format!("#{}", scenario.id))
}

/// A run with the checks that did not hold, and what is to be done about it.
fn one(scenario: &Scenario<'_>, run: &ScenarioReport) -> (Text, Vec<Item>) {
    let status = run.verdict.status;
    let of = |status: Status| run.verdict.checks.iter().filter(move |check| check.status == status);
    // Beside a violation, what stayed in doubt is for later.
    let doubtful: Vec<&CheckResult> = of(status).collect();
    let count = words::counted(doubtful.len() as u64, "check", "checks");
    let outcome = match status {
        Status::Fail => format!("{count} violated"),
        _ => format!("the evidence does not suffice for {count}"),
    };
    let seed = match scenario.runs.len() {
        1 => String::new(),
        _ => format!(", seed {}", run.header.run.seed),
    };
    let head =
        Text::status(status).and(" ").then(link(scenario)).and(format!("{seed}: {outcome}."));
    let mut items: Vec<Item> =
        doubtful.iter().take(CHECKS_MAX).map(|check| self::check(run, check)).collect();
    let left: Vec<Text> =
        doubtful.iter().skip(CHECKS_MAX).map(|check| Text::code(&check.check)).collect();
    if !left.is_empty() {
        items.push(Text::data("Also: ").then(Text::join(left, ", ")).and(".").into());
    }
    if let Some(bug) = run.again.as_ref().and_then(|again| again.planted.as_ref()) {
        items.push(labelled("Planted on purpose:", Text::code(bug)).into());
    }
    items.push(labelled("Next:", Text::code(judge_again(run))).into());
    items.extend(run.again.as_ref().and_then(logs).map(Item::from));
    (head, items)
}

/// The guarantee, and what the first finding says, or why nothing can be said.
fn check(run: &ScenarioReport, check: &CheckResult) -> Item {
    let text = Text::strong(&check.guarantee).and(" (").code_too(&check.check).and(")");
    let below = match check.findings.first() {
        Some(finding) => found(run, check, finding),
        None => {
            let reason = check.reasons.first().filter(|reason| **reason != check.summary);
            let why = match reason {
                Some(reason) => format!("{}; {reason}", check.summary),
                None => check.summary.clone(),
            };
            vec![labelled("Why:", Text::told(&why))]
        }
    };
    Item { text, below }
}

/// What, where, when and how of the first finding.
fn found(run: &ScenarioReport, check: &CheckResult, finding: &Finding) -> Vec<Text> {
    let left = check.findings.len() as u64 - 1;
    let mut what = Text::told(&finding.message);
    if left > 0 {
        what =
            what.and(format!("; and {}", words::counted(left, "more anomaly", "more anomalies")));
    }
    let mut lines = vec![labelled("What:", what)];
    let place = place(&Finding { at_us: None, fault: None, ..finding.clone() });
    if !place.is_empty() {
        lines.push(labelled("Where:", Text::data(place)));
    }
    if let Some(at) = finding.at_us {
        let mut when = Text::data(words::instant(at)).and(" of the run");
        if let Some(clock) = words::clock_at(&run.header.run.started_at, at) {
            when = when.and(format!(", {clock}"));
        }
        let windows = &run.verdict.tally.windows;
        if let Some(window) = windows.iter().find(|window| Some(window.fault) == finding.fault) {
            when = when
                .and(", at the fault ")
                .code_too(&window.kind)
                .and(" of ")
                .code_too(&window.target);
        }
        lines.push(labelled("When:", when));
    }
    let mut how = Text::code(&finding.anomaly);
    for fact in finding.evidence.iter().take(FACTS_MAX) {
        how = how.and("; ").then(Text::told(fact));
    }
    lines.push(labelled("How:", how));
    lines
}

fn logs(again: &Again) -> Option<Text> {
    let named = again.logs.iter().take(LOGS_MAX).map(Text::code);
    let left = again.logs.len().saturating_sub(LOGS_MAX);
    let more = if left > 0 { format!(" and {left} more beside them") } else { String::new() };
    (!again.logs.is_empty()).then(|| labelled("Logs:", Text::join(named, ", ").and(more)))
}
