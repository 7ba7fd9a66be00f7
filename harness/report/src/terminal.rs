//! The summary at the end of a run, for the terminal.
//!
//! Plain where nobody looks at it live: the caller says whether there are colours and how wide the
//! terminal is. Nothing from outside reaches the terminal but as visible characters.

use std::collections::BTreeSet;

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets,
};

use super::escape::visible;
use super::{ScenarioEntry, ScenarioReport, SuiteReport, content, words};
use streamlake_judge::verdict::{CheckResult, Status};

/// How the terminal is, and how much is to be told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Colours may be used: it is a terminal, and nobody asked for none.
    pub colour: bool,
    /// A person looks at it, not a program.
    pub terminal: bool,
    /// Columns, where known.
    pub width: Option<u16>,
    /// What is wrong and the verdict, nothing else.
    pub quiet: bool,
    /// What does not apply, too.
    pub verbose: bool,
}

/// Reasons that are printed for each check.
const REASONS_MAX: usize = 6;
/// Findings that are printed for each check.
const FINDINGS_MAX: usize = 3;

/// Columns after the scenario's name and verdict, in the order of [`content::figures`].
const COLUMNS: [&str; 7] =
    ["lost", "acknowledged", "gaps", "duplicates", "unavailable", "standstill", "recovery"];
/// Those that are left out where a terminal is too narrow, first to last, by their places above.
const LEFT_OUT: [usize; 6] = [5, 4, 2, 6, 3, 1];

/// The table of all scenarios, then what is wrong, then the verdict in a sentence.
#[must_use]
pub fn summary(suite: &SuiteReport, look: Look) -> String {
    let mut text = String::new();
    let some_ran = suite.scenarios.iter().any(|entry| shown(entry, look));
    if !look.quiet && some_ran {
        text = figures(suite, look);
        text.push_str(&left_out(suite, look));
    }
    if !some_ran {
        // Then why is the answer.
        text.push_str(&left_out(suite, Look { verbose: true, ..look }));
    }
    for entry in &suite.scenarios {
        match entry {
            ScenarioEntry::Ran(run) => problems(run, &mut text),
            ScenarioEntry::NotCarriedOut { name, reason, again, .. } => {
                text.push_str(&format!(
                    "\ninconclusive {}: could not be carried out\n  {}\n",
                    visible(name),
                    visible(reason)
                ));
                logs(&again.logs, &mut text);
            }
            _ => {}
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("{}\n", visible(&content::sentence(suite))));
    if let Some(partial) = content::partial(suite) {
        text.push_str(&format!("not the whole suite: {}\n", visible(&partial)));
    }
    if let Some(canary) = &suite.canary {
        text.push_str(&format!("canary: {}\n", visible(&canary.sentence())));
    }
    text
}

/// A table as it suits who reads it: lines for a person, markdown for a log or a program; never wider
/// than the terminal. The first column holds names that one copies, and is never broken.
#[must_use]
pub fn table(head: &[&str], rows: Vec<Vec<String>>, look: Look) -> String {
    let mut table = empty(look);
    table.set_header(head);
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    if let Some(width) = look.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        if let Some(names) = table.column_mut(0) {
            names.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt()
}

fn empty(look: Look) -> Table {
    let mut table = Table::new();
    table.load_style(match look.terminal {
        true => presets::UTF8_FULL_CONDENSED,
        false => presets::ASCII_MARKDOWN,
    });
    // Whether there is a terminal is the caller's to know.
    table.force_no_tty();
    if look.colour {
        table.enforce_styling();
    }
    table
}

/// The figures of all that ran; columns that do not fit are left out, and named.
fn figures(suite: &SuiteReport, look: Look) -> String {
    let mut columns: Vec<usize> = (0..COLUMNS.len()).collect();
    let mut gone: Vec<&str> = Vec::new();
    for next in LEFT_OUT.iter().map(Some).chain([None]) {
        let table = with_columns(suite, look, &columns);
        let width = table.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        let fits = look.width.is_none_or(|most| width <= usize::from(most));
        match next {
            Some(next) if !fits => {
                columns.retain(|column| column != next);
                gone.push(COLUMNS[*next]);
            }
            _ => break,
        }
    }
    let mut table = with_columns(suite, look, &columns);
    if let Some(width) = look.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let more = match gone.is_empty() {
        true => String::new(),
        false => format!("too wide for this terminal, and in the report: {}\n", gone.join(", ")),
    };
    format!("{}\n{more}", table.trim_fmt())
}

fn with_columns(suite: &SuiteReport, look: Look, columns: &[usize]) -> Table {
    let several = several_testbeds(suite);
    let mut table = empty(look);
    let mut head = vec!["scenario"];
    head.extend(several.then_some("testbed"));
    head.push("verdict");
    head.extend(columns.iter().map(|&column| COLUMNS[column]));
    table.set_header(head);
    for entry in suite.scenarios.iter().filter(|entry| shown(entry, look)) {
        table.add_row(row(entry, several, columns));
    }
    table
}

fn several_testbeds(suite: &SuiteReport) -> bool {
    let testbeds: BTreeSet<&str> = suite.runs().map(|run| &*run.header.run.testbed).collect();
    testbeds.len() > 1
}

/// What has no figures is for whoever asks.
fn shown(entry: &ScenarioEntry, look: Look) -> bool {
    look.verbose || matches!(entry, ScenarioEntry::Ran(_) | ScenarioEntry::NotCarriedOut { .. })
}

/// What the table does not show, in a line each.
fn left_out(suite: &SuiteReport, look: Look) -> String {
    let mut text = String::new();
    for entry in suite.scenarios.iter().filter(|_| look.verbose) {
        if let ScenarioEntry::NotApplicable { name, reason, .. } = entry {
            text.push_str(&format!("{}: {}\n", visible(name), visible(reason)));
        }
    }
    let named = |wanted: fn(&ScenarioEntry) -> bool| -> Vec<String> {
        let entries = suite.scenarios.iter().filter(|entry| wanted(entry));
        entries.map(|entry| visible(entry.name())).collect()
    };
    for (label, names) in [
        ("not run", named(|entry| matches!(entry, ScenarioEntry::NotRun { .. }))),
        (
            "not applicable on this testbed",
            named(|entry| matches!(entry, ScenarioEntry::NotApplicable { .. })),
        ),
    ] {
        if !names.is_empty() && !look.verbose {
            text.push_str(&format!("{label}: {}\n", names.join(", ")));
        }
    }
    text
}

fn row(entry: &ScenarioEntry, testbed: bool, columns: &[usize]) -> Vec<Cell> {
    let mut cells = vec![Cell::new(visible(entry.name()))];
    let on = match entry {
        ScenarioEntry::Ran(run) => &*run.header.run.testbed,
        ScenarioEntry::NotApplicable { testbed, .. }
        | ScenarioEntry::NotCarriedOut { testbed, .. } => testbed,
        ScenarioEntry::NotRun { .. } => words::NONE,
    };
    cells.extend(testbed.then(|| Cell::new(visible(on))));
    match entry {
        ScenarioEntry::Ran(run) => {
            cells.push(verdict(run.verdict.status));
            let figures = content::figures(run);
            cells.extend(columns.iter().map(|&column| {
                Cell::new(visible(&figures[column])).set_alignment(CellAlignment::Right)
            }));
        }
        ScenarioEntry::NotRun { .. } => cells.push(Cell::new("no results")),
        ScenarioEntry::NotApplicable { .. } => cells.push(verdict(Status::NotApplicable)),
        ScenarioEntry::NotCarriedOut { .. } => cells.push(verdict(Status::Inconclusive)),
    }
    cells
}

fn logs(logs: &[String], text: &mut String) {
    if !logs.is_empty() {
        let logs: Vec<String> = logs.iter().map(|log| visible(log)).collect();
        text.push_str(&format!("  logs: {}\n", logs.join(", ")));
    }
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
    if doubtful(run.verdict.status)
        && let Some(again) = &run.again
    {
        text.push_str(&format!("  next: {}\n", visible(&again.check)));
        logs(&again.logs, text);
    }
}
