//! Reports: what the verdicts of a suite look like to people and to machines.
//!
//! Pure: history and verdict in, bytes out. No clock, so the same histories give the same report
//! byte for byte; no files, so whoever calls decides where the bytes go.
//!
//! The words of the report are written once, as a document; markdown and HTML render it. A new
//! format is one file here and one row in [`formats`].

mod canary;
mod content;
mod crash;
mod document;
mod escape;
mod explore;
#[cfg(any(test, feature = "fixtures"))]
pub mod harmless;
mod histogram;
mod html;
mod json;
mod junit;
mod markdown;
mod observe;
mod ordinary;
mod previous;
mod proof;
mod protocol;
mod step_summary;
mod svg;
mod terminal;
mod timeline;
mod versioned;
pub mod view;
mod words;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust_tests;

use serde::{Deserialize, Serialize};

use streamlake_history::event::{About, Header};
use streamlake_judge::verdict::{Status, Verdict};

pub use canary::{Canary, Planted};
pub use crash::{
    CrashCell, CrashMatrix, POINT as CRASH_POINT, mechanisms as crash_mechanisms,
    render as render_crash,
};
pub use escape::shell_word;
pub use explore::{
    Exploration, Found as Explored, HEAD as EXPLORED_HEAD, Repetition, Strike as ExploredStrike,
    render as render_exploration, row as explored_row,
};
pub use html::FILE as HTML_FILE;
pub use json::{FILE as JSON_FILE, bytes as to_json, read as read_json};
pub use observe::{Entry, Observed, Observer, Unreachable, What};
pub use ordinary::{Finding, OrdinaryRow, OrdinaryRun, OrdinaryTrial, render as render_ordinary};
pub use previous::{PreviousReport, PreviousScenario};
pub use proof::{CleanRow, Proof, TrialRow, Undetectable, render as render_proof};
pub use protocol::{
    ALTERED as PROTOCOL_ALTERED, ERROR as PROTOCOL_ERROR, HEAD as PROTOCOL_HEAD, ProtocolCell,
    ProtocolMatrix, render as render_protocol, terminal_row as protocol_row,
};
pub use terminal::{Look, summary as terminal_summary, table as terminal_table};
pub use timeline::{BUCKETS_MAX, Latency, Series, SeriesKind, Timeline, TimelineBuilder};
pub use versioned::ReadError;

/// Everything that a report tells: scenarios in the order in which they are to appear.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteReport {
    /// The command that makes this report again, as one would type it.
    pub command: String,
    /// Scenarios that ran, did not run or do not apply; a repeated scenario has an entry a run.
    pub scenarios: Vec<ScenarioEntry>,
    /// It is not about the whole suite: whatever it says is no verdict on that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Where it is partial, what was asked for, as it was typed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selection: Vec<String>,
    /// Somebody stopped the harness before all had run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// An earlier report to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousReport>,
    /// The scenario that must fail, where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The checkers' last trial on this testbed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// What the last `prove --ordinary` of this testbed came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinary: Option<OrdinaryTrial>,
}

/// A scenario's place in a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScenarioEntry {
    /// It ran and was judged.
    Ran(Box<ScenarioReport>),
    /// It has not run: "No results available".
    NotRun {
        /// Its name: its file's name without `.toml`.
        name: String,
        /// How it describes itself.
        about: About,
        /// The command that would make its results.
        command: String,
    },
    /// The testbed cannot carry it out.
    NotApplicable {
        /// Its name: its file's name without `.toml`.
        name: String,
        /// How it describes itself.
        about: About,
        /// The testbed that was asked.
        testbed: String,
        /// Why it cannot.
        reason: String,
    },
    /// It was begun and came to no history: nothing is known of the guarantees.
    NotCarriedOut {
        /// Its name: its file's name without `.toml`.
        name: String,
        /// How it describes itself.
        about: About,
        /// Where it was to run.
        testbed: String,
        /// Seed of its plan.
        seed: u64,
        /// What went wrong.
        reason: String,
        /// How to look into it.
        again: Again,
    },
}

/// What a reader can do about one run, as commands to type and files to open; all of it from the folder
/// in which the harness ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// Runs it once more.
    pub run: String,
    /// Judges its history once more.
    pub check: String,
    /// The logs of its processes.
    pub logs: Vec<String>,
    /// The bug that was planted into the pipeline for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
}

/// One run of one scenario with its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioReport {
    /// The history's header: what ran, where, and what was promised.
    pub header: Header,
    /// The checkers' verdict.
    pub verdict: Verdict,
    /// What one pass over the history gathered, see [`Observer`].
    pub observed: Observed,
    /// Where the history lies, relative to the report.
    pub history_file: String,
    /// What a reader can do about it; unknown of a history that is judged by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
}

impl ScenarioEntry {
    /// The scenario's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Ran(run) => &run.header.run.scenario,
            Self::NotRun { name, .. }
            | Self::NotApplicable { name, .. }
            | Self::NotCarriedOut { name, .. } => name,
        }
    }

    /// How the scenario describes itself.
    #[must_use]
    pub fn about(&self) -> &About {
        match self {
            Self::Ran(run) => &run.header.run.about,
            Self::NotRun { about, .. }
            | Self::NotApplicable { about, .. }
            | Self::NotCarriedOut { about, .. } => about,
        }
    }

    /// Its heading: the title it gives itself, else its name.
    #[must_use]
    pub fn title(&self) -> &str {
        let title = &self.about().title;
        if title.is_empty() { self.name() } else { title }
    }

    /// The verdict; none where nothing ran.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Ran(run) => Some(run.verdict.status),
            Self::NotRun { .. } => None,
            Self::NotApplicable { .. } => Some(Status::NotApplicable),
            Self::NotCarriedOut { .. } => Some(Status::Inconclusive),
        }
    }
}

impl SuiteReport {
    /// The runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = &ScenarioReport> {
        self.scenarios.iter().filter_map(|entry| match entry {
            ScenarioEntry::Ran(run) => Some(run.as_ref()),
            _ => None,
        })
    }

    /// The verdict on everything that ran; what has not run says nothing. Where the canary was not
    /// caught nothing is known, whatever the others say.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.canary.as_ref().is_some_and(|canary| !canary.caught()) {
            return Status::Inconclusive;
        }
        Status::combine(self.scenarios.iter().filter_map(ScenarioEntry::status))
    }
}

/// A file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Its name, without any folder.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl ReportFile {
    fn text(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), bytes: text.into_bytes() }
    }
}

/// A report could not be put into its format: a defect of the harness, not of what is reported.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the {format} report")]
pub struct ReportError {
    /// Name of the format.
    pub format: &'static str,
    /// What its encoder said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl ReportError {
    fn new<E: std::error::Error + Send + Sync + 'static>(format: &'static str, source: E) -> Self {
        Self { format, source: Box::new(source) }
    }
}

/// A way to write a report.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Name, as on the command line.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub about: &'static str,
    /// Writes the files.
    pub write: fn(&SuiteReport) -> Result<Vec<ReportFile>, ReportError>,
}

/// All formats that are files.
#[must_use]
pub fn formats() -> &'static [Format] {
    &[
        Format { name: "markdown", about: "the report to read", write: markdown::write },
        Format { name: "html", about: "all of it in one page", write: html::write },
        Format { name: "json", about: "everything, for programs", write: json::write },
        Format { name: "svg", about: "a timeline of each run", write: svg::write },
        Format { name: "junit", about: "checks as test cases, for CI", write: junit::write },
        Format {
            name: "step-summary",
            about: "a short summary for a CI job's page",
            write: step_summary::write,
        },
    ]
}

/// Writes a report in all formats.
///
/// # Errors
/// When an encoder refuses; see [`ReportError`].
pub fn render(suite: &SuiteReport) -> Result<Vec<ReportFile>, ReportError> {
    let mut files = Vec::new();
    for format in formats() {
        files.extend((format.write)(suite)?);
    }
    Ok(files)
}
