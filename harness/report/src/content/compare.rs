//! What changed since an earlier report.

use super::super::document::{Document, Text};
use super::super::previous::{PreviousReport, PreviousScenario};
use super::super::{SuiteReport, words};

/// Nothing where there is no earlier report.
pub(super) fn write(suite: &SuiteReport, document: &mut Document) {
    let Some(previous) = &suite.previous else { return };
    let now = PreviousReport::of(suite);
    document.heading(2, "Since the Previous Report", "since-the-previous-report");
    let mut origin =
        Text::prose("Compared with runs from ").and(words::wall_clock(&previous.started_at));
    if !previous.commit.is_empty() {
        origin = origin.prose_too(" at commit ").code_too(&previous.commit);
    }
    document.paragraph(origin.prose_too(
        ". Each cell: before → now; for repeated runs the median of times and the sum of counts.",
    ));
    let mut rows: Vec<Vec<Text>> = Vec::new();
    for scenario in &now.scenarios {
        let before = previous.scenarios.iter().find(|before| before.is_same(scenario));
        rows.push(row(before, Some(scenario), scenario));
    }
    for before in &previous.scenarios {
        if !now.scenarios.iter().any(|scenario| scenario.is_same(before)) {
            rows.push(row(Some(before), None, before));
        }
    }
    let head = [
        "Scenario",
        "Testbed",
        "Verdict",
        "Runs",
        "Lost",
        "Duplicates",
        "Longest unavailability",
        "Recovery",
    ];
    document.table(&head, 3, rows);
}

impl PreviousScenario {
    fn is_same(&self, other: &Self) -> bool {
        self.scenario == other.scenario && self.testbed == other.testbed
    }
}

fn row(
    before: Option<&PreviousScenario>,
    now: Option<&PreviousScenario>,
    any: &PreviousScenario,
) -> Vec<Text> {
    let verdict = |side: Option<&PreviousScenario>| {
        side.map_or_else(|| Text::prose("not run"), |side| Text::status(side.status))
    };
    let changed = before.map(|side| side.status) != now.map(|side| side.status);
    let verdict = match changed {
        true => verdict(before).and(" → ").then(verdict(now)),
        false => verdict(now),
    };
    let cell = |of: fn(&PreviousScenario) -> String| {
        let side =
            |side: Option<&PreviousScenario>| side.map_or_else(|| words::NONE.to_owned(), of);
        let (before, now) = (side(before), side(now));
        Text::data(if before == now { now } else { format!("{before} → {now}") })
    };
    vec![
        Text::code(&any.scenario),
        Text::data(&any.testbed),
        verdict,
        cell(|side| words::count(side.runs)),
        cell(|side| words::count(side.lost)),
        cell(|side| words::count(side.duplicates)),
        cell(|side| words::maybe_duration(side.unavailability_us)),
        cell(|side| words::recovery(side.recovery_us)),
    ]
}
