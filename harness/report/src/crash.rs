//! Crash points on trial: what came of a consumer that killed itself at each step of its commit protocol,
//! alone and in a group.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::document::{Document, Text};
use super::proof::or_none;
use super::versioned::{ReadError, Versioned};
use super::{ReportError, ReportFile, ScenarioEntry, ScenarioReport, markdown, words};
use streamlake_judge::verdict::Status;

const FORMAT: Versioned =
    Versioned { name: "streamlake-crash-points", version: 1, made_by: "`crash-points`" };

/// The word of a fault's evidence that names the point at which its target killed itself.
pub const POINT: &str = "crash point";

/// What came of all points on one testbed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashMatrix {
    /// The testbed.
    pub testbed: String,
    /// Commit of the harness; empty if unknown.
    pub commit: String,
    /// Seed of the first run of each cell.
    pub seed: u64,
    /// The bug that was planted in the pipeline, if any: then the matrix must not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// One cell a point and number of members.
    pub cells: Vec<CrashCell>,
}

/// One point with one number of members.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashCell {
    /// The point.
    pub point: String,
    /// Where it is.
    pub about: String,
    /// Members of the group.
    pub members: u32,
    /// Deaths at the point that were asked for; none for one that is not passed with so many members.
    pub asked: u64,
    /// Deaths at the point that were seen.
    pub hits: u64,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Of these, records that are nowhere.
    pub lost: u64,
    /// Offsets below the committed one that are nowhere.
    pub gaps: u64,
    /// Surplus copies by their mechanism.
    pub duplicates: BTreeMap<String, u64>,
    /// Verdicts of the runs: verdict → runs.
    pub verdicts: BTreeMap<String, u64>,
    /// Checks that did not pass in some run, with what they said first.
    pub raised: BTreeMap<String, String>,
    /// Histories of the runs that did not pass.
    pub histories: Vec<String>,
}

impl CrashCell {
    /// A cell without any run.
    #[must_use]
    pub fn new(point: &str, about: &str, members: u32) -> Self {
        let (point, about) = (point.to_owned(), about.to_owned());
        Self { point, about, members, ..Self::default() }
    }

    /// Adds what a run came to, in which so many deaths were asked for.
    pub fn add(&mut self, entry: &ScenarioEntry, asked: u64) {
        self.asked += asked;
        let status = entry.status().unwrap_or(Status::Inconclusive);
        *self.verdicts.entry(status.word().to_owned()).or_default() += 1;
        let run = match entry {
            ScenarioEntry::Ran(run) => run,
            ScenarioEntry::NotCarriedOut { reason, .. } => {
                self.raised.entry("not carried out".to_owned()).or_insert_with(|| reason.clone());
                return;
            }
            _ => return,
        };
        let tally = &run.verdict.tally;
        let here = |at: Option<&String>| at.is_some_and(|at| *at == self.point);
        let hits = tally.windows.iter().filter(|window| here(window.evidence.get(POINT))).count();
        self.hits += hits as u64;
        self.acknowledged += tally.acknowledged;
        self.lost += tally.lost;
        self.gaps += tally.gaps;
        for (cause, copies) in &tally.duplicates_by_cause {
            *self.duplicates.entry(mechanism(cause)).or_default() += copies;
        }
        for (check, said) in raised(run) {
            self.raised.entry(check).or_insert(said);
        }
        if status != Status::Pass {
            self.histories.push(run.history_file.clone());
        }
    }

    /// Some run failed: 1; something was not shown: inconclusive; not passed with so many members: not
    /// applicable.
    #[must_use]
    pub fn status(&self) -> Status {
        let runs = |status: Status| self.verdicts.get(status.word()).copied().unwrap_or_default();
        match () {
            () if self.asked == 0 => Status::NotApplicable,
            () if runs(Status::Fail) > 0 => Status::Fail,
            () if self.hits < self.asked || runs(Status::Inconclusive) > 0 => Status::Inconclusive,
            () => Status::Pass,
        }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    status: Status,
    matrix: &'a CrashMatrix,
}

#[derive(Deserialize)]
struct Read {
    matrix: CrashMatrix,
}

impl CrashMatrix {
    /// All cells together.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::combine(self.cells.iter().map(CrashCell::status))
    }

    /// The whole in a sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let sum = |of: fn(&CrashCell) -> u64| self.cells.iter().map(of).sum::<u64>();
        let with = |status| self.cells.iter().filter(|cell| cell.status() == status).count() as u64;
        let copies: u64 = sum(|cell| cell.duplicates.values().sum());
        let planted = match &self.planted {
            Some(bug) => format!(" The bug {bug} was planted."),
            None => String::new(),
        };
        format!(
            "{} of {} seen; {} acknowledged, {} lost, {}. {} passed, {} failed, {} inconclusive.{planted}",
            words::count(sum(|cell| cell.hits)),
            words::counted(
                sum(|cell| cell.asked),
                "death at a crash point",
                "deaths at crash points"
            ),
            words::counted(sum(|cell| cell.acknowledged), "record", "records"),
            words::count(sum(|cell| cell.lost)),
            words::counted(copies, "surplus copy", "surplus copies"),
            words::counted(with(Status::Pass), "cell", "cells"),
            words::count(with(Status::Fail)),
            words::count(with(Status::Inconclusive)),
        )
    }

    /// Reads what [`render`] wrote as JSON.
    ///
    /// # Errors
    /// When it is not one, or of another version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        FORMAT.read(bytes).map(|Read { matrix }| matrix)
    }
}

/// The mechanism of a cause of copies. Which fault it was is for the run's own report.
pub(super) fn mechanism(cause: &str) -> String {
    cause.split(" after ").next().unwrap_or(cause).to_owned()
}

/// The checks of a run that did not pass, with what each said first.
pub(super) fn raised(run: &ScenarioReport) -> impl Iterator<Item = (String, String)> {
    let checks = run.verdict.checks.iter();
    let raised = checks.filter(|c| matches!(c.status, Status::Fail | Status::Inconclusive));
    raised.map(|check| {
        let found = check.findings.first().map(|finding| &finding.message);
        let said = found.or(check.reasons.first()).unwrap_or(&check.summary);
        (check.check.clone(), said.clone())
    })
}

/// Surplus copies with their mechanisms, in words.
#[must_use]
pub fn mechanisms(duplicates: &BTreeMap<String, u64>) -> String {
    or_none(
        &duplicates.iter().map(|(how, copies)| format!("{copies} by {how}")).collect::<Vec<_>>(),
    )
}

/// Writes a matrix as JSON and markdown.
///
/// # Errors
/// When an encoder refuses.
pub fn render(matrix: &CrashMatrix) -> Result<Vec<ReportFile>, ReportError> {
    let json = FORMAT.write(&Written { status: matrix.status(), matrix })?;
    let mut document = Document::default();
    document.heading(1, "Crash Points", "crash-points");
    write(matrix, &mut document);
    Ok(markdown::beside(&matrix.testbed, json, &document))
}

fn write(matrix: &CrashMatrix, document: &mut Document) {
    document.paragraph(Text::data(matrix.summary()));
    let origin = Text::origin(&matrix.testbed, &matrix.commit);
    document.paragraph(origin.and(
        ". At each point a consumer sent itself SIGKILL, under load, and was started again; then it died at the \
         next passing that was asked for. Every run was judged like any other.",
    ));
    let head = [
        "Point",
        "Where",
        "Members",
        "Verdict",
        "Surplus copies",
        "Deaths",
        "Acknowledged",
        "Lost",
    ];
    document.table(&head, 5, matrix.cells.iter().map(row).collect());
    let raised = matrix.cells.iter().flat_map(|cell| {
        cell.raised.iter().map(move |(check, said)| {
            let place = format!(" at {} with {} members: {said}", cell.point, cell.members);
            Text::code(check).and(place)
        })
    });
    let raised: Vec<Text> = raised.collect();
    if !raised.is_empty() {
        document.paragraph("What did not pass:");
        document.list(raised);
    }
}

fn row(cell: &CrashCell) -> Vec<Text> {
    let applies = cell.status() != Status::NotApplicable;
    let number = |number: u64| match applies {
        true => Text::data(words::count(number)),
        false => Text::data(words::NONE),
    };
    let hits = match applies {
        true => format!("{} of {}", words::count(cell.hits), words::count(cell.asked)),
        false => words::NONE.to_owned(),
    };
    vec![
        Text::code(&cell.point),
        Text::data(&cell.about),
        Text::data(cell.members.to_string()),
        Text::status(cell.status()),
        Text::data(mechanisms(&cell.duplicates)),
        Text::data(hits),
        number(cell.acknowledged),
        number(cell.lost),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cell(asked: u64, hits: u64, verdict: Status) -> CrashCell {
        let verdicts = BTreeMap::from([(verdict.word().to_owned(), 1)]);
        CrashCell { asked, hits, verdicts, ..CrashCell::new("after-commit", "the broker", 2) }
    }

    fn matrix(cells: Vec<CrashCell>) -> CrashMatrix {
        let testbed = "embedded".to_owned();
        CrashMatrix { testbed, commit: String::new(), seed: 1, planted: None, cells }
    }

    #[test]
    fn a_death_that_was_not_seen_is_no_pass() {
        assert_eq!(cell(20, 20, Status::Pass).status(), Status::Pass);
        assert_eq!(cell(20, 19, Status::Pass).status(), Status::Inconclusive);
        assert_eq!(cell(20, 20, Status::Inconclusive).status(), Status::Inconclusive);
        assert_eq!(cell(20, 3, Status::Fail).status(), Status::Fail);
        let unasked = CrashCell::new("revoke-begins", "", 1);
        assert_eq!(unasked.status(), Status::NotApplicable);
        let all = matrix(vec![unasked, cell(20, 20, Status::Pass)]);
        assert_eq!(all.status(), Status::Pass);
        assert_eq!(matrix(vec![cell(1, 0, Status::Pass)]).status(), Status::Inconclusive);
    }

    #[test]
    fn it_is_written_and_read() {
        let mut failed = cell(20, 20, Status::Fail);
        failed.raised.insert("no-loss".to_owned(), "3 records are nowhere".to_owned());
        failed.duplicates.insert("restart of consumer-1".to_owned(), 7);
        let matrix = matrix(vec![failed, CrashCell::new("revoke-begins", "", 1)]);
        let files = render(&matrix).unwrap();
        assert_eq!(CrashMatrix::from_json(&files[0].bytes).unwrap(), matrix);
        let text = String::from_utf8(files[1].bytes.clone()).unwrap();
        for said in
            ["20 of 20", "7 by restart of consumer-1", "3 records are nowhere", "not applicable"]
        {
            assert!(text.contains(said), "{said} is not in {text}");
        }
    }
}
