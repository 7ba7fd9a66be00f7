//! The checkers on trial: which planted bug was caught by which check in which scenario, how many clean
//! runs raised nothing, and what was tried and cannot be seen.

use serde::{Deserialize, Serialize};

use super::document::{Document, Text};
use super::versioned::{ReadError, Versioned};
use super::{ReportError, ReportFile, markdown, words};

const FORMAT: Versioned = Versioned { name: "streamlake-proof", version: 1, made_by: "`prove`" };

/// What came of one trial of all bugs on one testbed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The testbed.
    pub testbed: String,
    /// Commit of the harness; empty if unknown.
    pub commit: String,
    /// Seed of the first run of each scenario.
    pub seed: u64,
    /// One row a planted bug.
    pub trials: Vec<TrialRow>,
    /// One row a scenario that ran without any.
    pub clean: Vec<CleanRow>,
    /// What was tried and cannot be seen from outside.
    pub undetectable: Vec<Undetectable>,
}

/// A planted bug.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialRow {
    /// The bug.
    pub bug: String,
    /// The scenario that can show it.
    pub scenario: String,
    /// The check that is there to catch it.
    pub check: String,
    /// Runs with the bug; 0 for one that was not tried on this testbed: nothing is known of it here.
    pub runs: u64,
    /// Runs in which the check failed.
    pub caught: u64,
    /// Other checks that failed in some run.
    pub also: Vec<String>,
}

/// The clean runs of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CleanRow {
    /// The scenario.
    pub scenario: String,
    /// Runs without a bug.
    pub runs: u64,
    /// Runs that failed.
    pub alarms: u64,
    /// Runs that came to no verdict: they prove nothing, either way.
    #[serde(default)]
    pub unclear: u64,
    /// Checks that did not pass in some run.
    pub checks: Vec<String>,
}

/// Something that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undetectable {
    /// What.
    pub what: String,
    /// Why it cannot be seen.
    pub why: String,
}

#[derive(Serialize)]
struct Written<'a> {
    proof: &'a Proof,
}

#[derive(Deserialize)]
struct Read {
    proof: Proof,
}

impl Proof {
    /// Every bug was caught in every run, and no clean run raised anything.
    #[must_use]
    pub fn holds(&self) -> bool {
        let asked = || self.trials.iter().filter(|row| row.runs > 0);
        asked().next().is_some()
            && asked().all(|row| row.caught == row.runs)
            && !self.clean.is_empty()
            && self.clean.iter().all(|row| row.runs > 0)
            && self.clean.iter().all(|row| row.alarms + row.unclear == 0)
    }

    /// Reads what [`render`] wrote as JSON.
    ///
    /// # Errors
    /// When it is not one, or of another version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        FORMAT.read(bytes).map(|Read { proof }| proof)
    }
}

/// Writes a proof as JSON and markdown.
///
/// # Errors
/// When an encoder refuses.
pub fn render(proof: &Proof) -> Result<Vec<ReportFile>, ReportError> {
    let json = FORMAT.write(&Written { proof })?;
    let mut document = Document::default();
    document.heading(1, "The Checkers on Trial", "trial");
    write(proof, &mut document);
    Ok(markdown::beside(&proof.testbed, json, &document))
}

/// The matrix, the clean runs, and what cannot be seen.
pub(super) fn write(proof: &Proof, document: &mut Document) {
    document.paragraph(Text::data(summary(proof)));
    let seed = format!("{}", proof.seed);
    let mut origin = Text::prose("Testbed ").code_too(&proof.testbed).and(", seeds from ");
    origin = origin.code_too(seed).and(" on");
    if !proof.commit.is_empty() {
        origin = origin.and(", commit ").code_too(&proof.commit);
    }
    document.paragraph(origin.and("."));
    let head = ["Planted bug", "Scenario", "To be caught by", "Also failed", "Runs", "Caught"];
    document.table(&head, 4, proof.trials.iter().map(trial).collect());
    document.paragraph(
        "The same scenarios ran without any bug, with seeds of their own. An alarm there is a false one:",
    );
    clean_runs(&proof.clean, document);
    if !proof.undetectable.is_empty() {
        document.paragraph("Tried, and found undetectable from outside:");
        let lines = proof.undetectable.iter();
        let lines = lines.map(|tried| Text::strong(&tried.what).and(format!(": {}", tried.why)));
        document.list(lines.collect());
    }
}

/// The table of the runs without a bug.
pub(super) fn clean_runs(rows: &[CleanRow], document: &mut Document) {
    let clean = rows.iter().map(|row| {
        vec![
            Text::code(&row.scenario),
            Text::data(or_none(&row.checks)),
            Text::data(words::count(row.runs)),
            Text::data(words::count(row.alarms)),
            Text::data(words::count(row.unclear)),
        ]
    });
    let head =
        ["Scenario", "Checks that did not pass", "Clean runs", "False alarms", "Inconclusive"];
    document.table(&head, 2, clean.collect());
}

fn trial(row: &TrialRow) -> Vec<Text> {
    let caught = match (row.runs, row.caught) {
        (0, _) => "not tried here".to_owned(),
        (runs, caught) if runs == caught => words::count(caught),
        (_, caught) => format!("{}: MISSED", words::count(caught)),
    };
    vec![
        Text::code(&row.bug),
        Text::code(&row.scenario),
        Text::code(&row.check),
        Text::data(or_none(&row.also)),
        Text::data(words::count(row.runs)),
        Text::data(caught),
    ]
}

/// Names for a cell.
pub(super) fn or_none(names: &[String]) -> String {
    if names.is_empty() { words::NONE.to_owned() } else { names.join(", ") }
}

/// How many bugs were caught, and how many clean runs raised nothing.
pub(super) fn summary(proof: &Proof) -> String {
    let asked = || proof.trials.iter().filter(|row| row.runs > 0);
    let caught = asked().filter(|row| row.caught == row.runs).count();
    let runs: u64 = asked().map(|row| row.runs).sum();
    let clean: u64 = proof.clean.iter().map(|row| row.runs).sum();
    let alarms: u64 = proof.clean.iter().map(|row| row.alarms).sum();
    let unclear = match proof.clean.iter().map(|row| row.unclear).sum() {
        0 => String::new(),
        runs => {
            format!(" {} inconclusive.", words::counted(runs, "clean run was", "clean runs were"))
        }
    };
    let elsewhere = match proof.trials.len() - asked().count() {
        0 => String::new(),
        more => {
            let more = words::counted(more as u64, "bug was", "bugs were");
            format!(" {more} not tried on this testbed.")
        }
    };
    let were = if caught == 1 { "was" } else { "were" };
    format!(
        "{caught} of {} {were} caught in each of {} by the check that is there for each; {} raised {}.{unclear}{elsewhere}",
        words::counted(asked().count() as u64, "planted bug", "planted bugs"),
        words::counted(runs, "run", "runs"),
        words::counted(clean, "clean run", "clean runs"),
        words::counted(alarms, "false alarm", "false alarms"),
    )
}
