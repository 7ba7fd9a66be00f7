//! The ordinary suite on trial: what it would find of each planted bug, without a scenario made for it.

use serde::{Deserialize, Serialize};

use super::document::{Document, Text};
use super::proof::{CleanRow, clean_runs, or_none};
use super::versioned::{ReadError, Versioned};
use super::{ReportError, ReportFile, markdown, words};

const FORMAT: Versioned =
    Versioned { name: "streamlake-ordinary-trial", version: 1, made_by: "`prove --ordinary`" };

/// What came of one trial of the suite of one testbed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrdinaryTrial {
    /// The testbed.
    pub testbed: String,
    /// Commit of the harness; empty if unknown.
    pub commit: String,
    /// Seeds at which the suite was run with each bug.
    pub seeds: Vec<u64>,
    /// One row a planted bug.
    pub rows: Vec<OrdinaryRow>,
    /// One row a scenario: the same seeds without any bug.
    pub clean: Vec<CleanRow>,
}

/// A planted bug against the suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrdinaryRow {
    /// The bug.
    pub bug: String,
    /// The check that is there to catch it.
    pub check: String,
    /// The suite at each seed, until its first verdict that was a fail.
    pub runs: Vec<OrdinaryRun>,
    /// Why the suite cannot reach it, or cannot show it, where that is known.
    pub reason: Option<String>,
}

/// The suite with one bug at one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrdinaryRun {
    /// The seed.
    pub seed: u64,
    /// Scenarios that ran.
    pub scenarios: u64,
    /// The bug acted in one of them, by its process's own log.
    pub acted: bool,
    /// The scenario that failed.
    pub caught_by: Option<String>,
    /// The checks that failed in it.
    pub checks: Vec<String>,
    /// Scenarios that came to no verdict.
    pub inconclusive: Vec<String>,
}

/// What came of a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Each time some scenario failed.
    Caught,
    /// It acted, and at some seed no scenario failed.
    Missed,
    /// At some seed it was not caught, and it acted at none of those.
    NeverActed,
    /// It was not run.
    NotRun,
}

impl OrdinaryRun {
    fn caught(&self) -> bool {
        self.caught_by.is_some()
    }
}

impl OrdinaryRow {
    /// What came of the bug.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let uncaught = || self.runs.iter().filter(|run| !run.caught());
        match () {
            () if self.runs.is_empty() => Finding::NotRun,
            () if uncaught().next().is_none() => Finding::Caught,
            () if uncaught().any(|run| run.acted) => Finding::Missed,
            () => Finding::NeverActed,
        }
    }

    /// It failed although the bug did not act in it: an alarm that was not the bug's.
    fn false_alarm(&self) -> bool {
        self.runs.iter().any(|run| run.caught() && !run.acted)
    }
}

#[derive(Serialize)]
struct Written<'a> {
    trial: &'a OrdinaryTrial,
}

#[derive(Deserialize)]
struct Read {
    trial: OrdinaryTrial,
}

impl OrdinaryTrial {
    /// Bugs that were caught at a seed, and bugs that were run at it.
    fn caught_at(&self, seed: u64) -> (usize, usize) {
        let runs = self.rows.iter().flat_map(|row| &row.runs).filter(|run| run.seed == seed);
        runs.fold((0, 0), |(caught, all), run| (caught + usize::from(run.caught()), all + 1))
    }

    /// Every bug was run and caught at each seed or has a reason, and nothing was raised without one.
    #[must_use]
    pub fn holds(&self) -> bool {
        let found = |row: &OrdinaryRow| row.finding() == Finding::Caught || row.reason.is_some();
        !self.seeds.is_empty()
            && self.rows.iter().all(|row| !row.runs.is_empty() && found(row) && !row.false_alarm())
            && self.clean.iter().all(|row| row.runs > 0 && row.alarms + row.unclear == 0)
    }

    /// Reads what [`render`] wrote as JSON.
    ///
    /// # Errors
    /// When it is not one, or of another version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        FORMAT.read(bytes).map(|Read { trial }| trial)
    }
}

/// Writes a trial as JSON and markdown.
///
/// # Errors
/// When an encoder refuses.
pub fn render(trial: &OrdinaryTrial) -> Result<Vec<ReportFile>, ReportError> {
    let json = FORMAT.write(&Written { trial })?;
    let mut document = Document::default();
    document.heading(1, "The Ordinary Suite on Trial", "ordinary");
    write(trial, &mut document);
    Ok(markdown::beside(&format!("ordinary-{}", trial.testbed), json, &document))
}

/// The score, what was not found, and the matrix.
pub(super) fn write(trial: &OrdinaryTrial, document: &mut Document) {
    document.paragraph(Text::data(summary(trial)));
    let mut origin = Text::prose("Testbed ").code_too(&trial.testbed);
    if !trial.commit.is_empty() {
        origin = origin.and(", commit ").code_too(&trial.commit);
    }
    document.paragraph(origin.and(
        ". Each bug was planted in the pipeline, and then the suite that `run` runs was run, scenario by \
         scenario until one failed. A bug says in its process's log when it acts, so that one that \
         was missed can be told from one that never acted.",
    ));
    let head = ["Planted bug", "Named check", "Caught by", "Checks that failed", "Result"];
    document.table(&head, 5, trial.rows.iter().map(row).collect());
    document.paragraph("The same suite without any bug, at the same seeds:");
    clean_runs(&trial.clean, document);
}

fn row(row: &OrdinaryRow) -> Vec<Text> {
    let mut by: Vec<String> = row.runs.iter().filter_map(|run| run.caught_by.clone()).collect();
    by.sort();
    by.dedup();
    let mut checks: Vec<String> = row.runs.iter().flat_map(|run| run.checks.clone()).collect();
    checks.sort();
    checks.dedup();
    let seeds = |which: fn(&&OrdinaryRun) -> bool| -> String {
        let seeds: Vec<_> = row.runs.iter().filter(which).map(|run| run.seed.to_string()).collect();
        seeds.join(", ")
    };
    let reason = row.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut result = match row.finding() {
        Finding::Caught => "caught".to_owned(),
        Finding::Missed => {
            format!("acted and MISSED at seed {}{reason}", seeds(|run| !run.caught() && run.acted))
        }
        Finding::NeverActed => {
            format!("never acted at seed {}{reason}", seeds(|run| !run.caught()))
        }
        Finding::NotRun => "not run".to_owned(),
    };
    if row.false_alarm() {
        result.push_str("; a scenario FAILED in which it did not act");
    }
    vec![
        Text::code(&row.bug),
        Text::code(&row.check),
        Text::data(or_none(&by)),
        Text::data(or_none(&checks)),
        Text::data(result),
    ]
}

/// The score in sentences.
pub(super) fn summary(trial: &OrdinaryTrial) -> String {
    let scores: Vec<String> = trial
        .seeds
        .iter()
        .map(|&seed| {
            let (caught, all) = trial.caught_at(seed);
            let percent = (100 * caught).checked_div(all).unwrap_or(0);
            format!("{caught} of {all} at seed {seed} ({percent} %)")
        })
        .collect();
    let count = |finding| trial.rows.iter().filter(|row| row.finding() == finding).count();
    let alarms: u64 = trial.clean.iter().map(|row| row.alarms).sum();
    let unclear: u64 = trial.clean.iter().map(|row| row.unclear).sum();
    let runs: u64 = trial.clean.iter().map(|row| row.runs).sum();
    let not_run = match count(Finding::NotRun) {
        0 => String::new(),
        more => format!(" {more} were not run."),
    };
    format!(
        "The ordinary suite caught {} of the planted bugs. {} acted and were missed at some seed, {} \
         never acted.{not_run} {} without a bug raised {} and {} inconclusive.",
        scores.join(", "),
        count(Finding::Missed),
        count(Finding::NeverActed),
        words::counted(runs, "run", "runs"),
        words::counted(alarms, "false alarm", "false alarms"),
        words::counted(unclear, "was", "were"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(seed: u64, acted: bool, caught_by: Option<&str>) -> OrdinaryRun {
        OrdinaryRun {
            seed,
            scenarios: 3,
            acted,
            caught_by: caught_by.map(str::to_owned),
            checks: caught_by.map(|_| "fidelity".to_owned()).into_iter().collect(),
            inconclusive: Vec::new(),
        }
    }

    fn trial(runs: Vec<OrdinaryRun>) -> OrdinaryTrial {
        let check = "fidelity".to_owned();
        let clean = CleanRow {
            scenario: "two-groups".to_owned(),
            runs: 2,
            alarms: 0,
            unclear: 0,
            checks: vec![],
        };
        OrdinaryTrial {
            testbed: "embedded".to_owned(),
            commit: String::new(),
            seeds: vec![1, 2],
            rows: vec![OrdinaryRow { bug: "header-lost".to_owned(), check, runs, reason: None }],
            clean: vec![clean],
        }
    }

    #[test]
    fn what_was_missed_is_told_from_what_never_acted_and_from_what_never_ran() {
        let caught = trial(vec![run(1, true, Some("two-groups")), run(2, true, Some("x"))]);
        assert!(caught.holds());
        assert_eq!(OrdinaryTrial::from_json(&render(&caught).unwrap()[0].bytes).unwrap(), caught);
        let cases = [
            (vec![run(1, true, Some("x")), run(2, true, None)], "acted and MISSED at seed 2"),
            (vec![run(1, true, Some("x")), run(2, false, None)], "never acted at seed 2"),
            (vec![run(1, false, Some("x"))], "FAILED in which it did not act"),
            (vec![], "not run"),
        ];
        for (runs, said) in cases {
            let trial = trial(runs);
            assert!(!trial.holds(), "{said}");
            let text = String::from_utf8(render(&trial).unwrap()[1].bytes.clone()).unwrap();
            assert!(text.contains(said), "{said} is not in {text}");
        }
    }

    #[test]
    fn a_false_alarm_or_no_clean_run_proves_nothing() {
        let runs = || vec![run(1, true, Some("x"))];
        let mut alarmed = trial(runs());
        alarmed.clean[0].alarms = 1;
        let mut silent = trial(runs());
        silent.clean[0].runs = 0;
        assert!(!alarmed.holds() && !silent.holds());
    }
}
