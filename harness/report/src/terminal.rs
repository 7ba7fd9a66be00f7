//! The summary at the end of a run, for the terminal.
//!
//! Plain where nobody looks at it live: the caller says whether there are colours and how wide the
//! terminal is. Nothing from outside reaches the terminal but as visible characters.

use std::collections::BTreeSet;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::escape::visible;
use super::{ScenarioEntry, ScenarioReport, SuiteReport, content, words};
use streamlake_judge::verdict::{CheckResult, Status};

/// How the terminal is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Colours may be used: it is a terminal, and nobody asked for none.
    pub colour: bool,
    /// Columns, where known.
    pub width: Option<u16>,
}

/// Reasons that are printed for each check.
const REASONS_MAX: usize = 6;
/// Findings that are printed for each check.
const FINDINGS_MAX: usize = 3;

/// The table of all scenarios, then what is wrong, then the verdict in a sentence.
#[must_use]
pub fn summary(suite: &SuiteReport, look: Look) -> String {
    let mut table = Table::new();
    table.load_style(match look.colour {
        true => presets::UTF8_FULL_CONDENSED,
        false => presets::ASCII_MARKDOWN,
    });
    // Whether there is a terminal is the caller's to know.
    table.force_no_tty();
    if look.colour {
        table.enforce_styling();
    }
    if let Some(width) = look.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header([
        "scenario",
        "testbed",
        "verdict",
        "acknowledged",
        "lost",
        "gaps",
        "duplicates",
        "unavailable",
        "standstill",
        "recovery",
    ]);
    for entry in &suite.scenarios {
        table.add_row(row(entry));
    }
    let mut text = format!("{}\n", table.trim_fmt());
    for run in suite.runs() {
        problems(run, &mut text);
    }
    text.push_str(&format!("\n{}\n", visible(&content::sentence(suite))));
    if let Some(canary) = &suite.canary {
        text.push_str(&format!("canary: {}\n", visible(&canary.sentence())));
    }
    text
}

fn row(entry: &ScenarioEntry) -> Vec<Cell> {
    let name = Cell::new(visible(entry.name()));
    let mut cells = vec![name];
    match entry {
        ScenarioEntry::Ran(run) => {
            cells.push(Cell::new(visible(&run.header.run.testbed)));
            cells.push(verdict(run.verdict.status));
            let figures = content::figures(run).into_iter();
            cells.extend(
                figures
                    .map(|figure| Cell::new(visible(&figure)).set_alignment(CellAlignment::Right)),
            );
        }
        ScenarioEntry::NotRun { .. } => {
            cells.push(Cell::new(words::NONE));
            cells.push(Cell::new("no results"));
        }
        ScenarioEntry::NotApplicable { testbed, .. } => {
            cells.push(Cell::new(visible(testbed)));
            cells.push(verdict(Status::NotApplicable));
        }
    }
    cells
}

fn verdict(status: Status) -> Cell {
    let cell = Cell::new(status.word());
    match status {
        Status::Pass => cell.fg(Color::Green),
        Status::Fail => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        Status::Inconclusive => cell.fg(Color::Yellow).add_attribute(Attribute::Bold),
        Status::NotApplicable => cell.fg(Color::DarkGrey),
    }
}

fn reasons<'a>(check: &'a CheckResult, told: &mut BTreeSet<&'a str>, text: &mut String) {
    let all: BTreeSet<&str> = check.reasons.iter().map(String::as_str).collect();
    let fresh: Vec<&str> = all.iter().copied().filter(|reason| told.insert(reason)).collect();
    // What the harness itself met explains the rest.
    let (errors, others): (Vec<&str>, Vec<&str>) =
        fresh.iter().partition(|reason| reason.starts_with("the harness met an error"));
    for reason in errors.iter().chain(&others).take(REASONS_MAX) {
        text.push_str(&format!("  - {}\n", visible(reason)));
    }
    let left = fresh.len().saturating_sub(REASONS_MAX) as u64;
    if left > 0 {
        text.push_str(&format!("  … and {} more in the report\n", words::count(left)));
    }
    if fresh.len() < all.len() {
        text.push_str("  - for a reason named above\n");
    }
}

fn problems(run: &ScenarioReport, text: &mut String) {
    let doubtful = |status| matches!(status, Status::Fail | Status::Inconclusive);
    // One missing piece of evidence leaves many checks undecided: each reason is told once.
    let mut told = BTreeSet::new();
    for check in run.verdict.checks.iter().filter(|check| doubtful(check.status)) {
        text.push_str(&format!(
            "\n{} {}: {}\n  {}\n",
            check.status.word(),
            visible(&run.header.run.scenario),
            visible(&check.check),
            visible(&check.summary)
        ));
        reasons(check, &mut told, text);
        for finding in check.findings.iter().take(FINDINGS_MAX) {
            let place = content::place(finding);
            text.push_str(&format!("  - {}\n", visible(&finding.message)));
            if !place.is_empty() {
                text.push_str(&format!("    {}\n", visible(&place)));
            }
        }
        let left = check.findings.len().saturating_sub(FINDINGS_MAX) as u64;
        if left > 0 {
            text.push_str(&format!("  … and {} more in the report\n", words::count(left)));
        }
    }
}
