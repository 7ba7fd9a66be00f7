//! From a history file to a verdict: the same way for a run that has just ended and for `check`.

#[cfg(test)]
mod fuzz;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use streamlake_history::event::{About, FORMAT, Header, Promises, RunInfo, VERSION};
use streamlake_history::foreign::{self, Input, Settings};
use streamlake_history::{HistoryError, HistoryReader};
use streamlake_judge::index::Index;
use streamlake_report::view::{View, ViewBuilder};
use streamlake_report::{Observer, ScenarioReport};

/// Why a history could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgementError {
    /// The file could not be opened.
    #[error("{path}: {source}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no history, or not a whole one.
    #[error("{path}: {source}")]
    History {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: HistoryError,
    },
    /// Lines of others are not what they should be; the error names the file.
    #[error(transparent)]
    Foreign(#[from] HistoryError),
}

impl JudgementError {
    /// The history was cut short: what it would have shown is not known, so it is inconclusive.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        matches!(self, Self::History { source, .. } if source.is_truncated())
    }
}

/// Judges a history.
///
/// # Errors
/// When it cannot be opened or understood.
pub fn judge(path: &Path) -> Result<ScenarioReport, JudgementError> {
    let open = || {
        let file = File::open(path);
        let file = file.map_err(|source| JudgementError::Open { path: path.to_owned(), source })?;
        Ok(BufReader::with_capacity(1 << 20, file))
    };
    judge_with(path, open)
}

/// Judges a history that can be opened more than once.
pub(crate) fn judge_with<R: BufRead>(
    path: &Path,
    open: impl Fn() -> Result<R, JudgementError>,
) -> Result<ScenarioReport, JudgementError> {
    let history = |source| JudgementError::History { path: path.to_owned(), source };
    let (header, reader) = HistoryReader::open(open()?).map_err(history)?;
    let (mut observer, mut index) = (Observer::new(&header), Index::new(&header));
    let passed = reader.for_all(|event| {
        observer.observe(event);
        index.observe(event);
    });
    passed.map_err(history)?;
    let mut verdict = streamlake_judge::verdict(&index.settle());
    // Only a history with findings is read a second time, for the story of their records.
    if verdict.checks.iter().any(|check| !check.findings.is_empty()) {
        let (_, again) = HistoryReader::open(open()?).map_err(history)?;
        streamlake_judge::explain(&mut verdict, again).map_err(history)?;
    }
    let history_file = path.display().to_string();
    Ok(ScenarioReport { header, verdict, observed: observer.finish(), history_file, again: None })
}

/// What the history viewer shows of a judged history.
///
/// # Errors
/// When it can no longer be opened or understood.
pub fn view(path: &Path, judged: &ScenarioReport) -> Result<View, JudgementError> {
    let file = File::open(path);
    let file = file.map_err(|source| JudgementError::Open { path: path.to_owned(), source })?;
    let history = |source| JudgementError::History { path: path.to_owned(), source };
    let (header, reader) =
        HistoryReader::open(BufReader::with_capacity(1 << 20, file)).map_err(history)?;
    let mut builder = ViewBuilder::new(&header, &judged.verdict);
    match reader.for_all(|event| builder.observe(event)) {
        // What there is of a history that was cut short is worth looking at.
        Err(error) if !error.is_truncated() => Err(history(error)),
        _ => Ok(builder.finish()),
    }
}

/// The report of a run whose history cannot be judged: nothing is known of it, and it says why.
#[must_use]
pub fn unjudged(path: &Path, testbed: &str, error: &JudgementError) -> ScenarioReport {
    let opened = File::open(path).ok().map(BufReader::new).map(HistoryReader::open);
    let header = match opened {
        Some(Ok((header, _))) => header,
        // The folder bears the scenario's name and the number of the run.
        _ => nameless(path, testbed),
    };
    let observed = Observer::new(&header).finish();
    let verdict = streamlake_judge::cut_short(&error.to_string());
    let history_file = path.display().to_string();
    ScenarioReport { header, verdict, observed, history_file, again: None }
}

fn nameless(path: &Path, testbed: &str) -> Header {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let scenario = folder.rsplit_once('-').map_or(&*folder, |(scenario, _)| scenario);
    Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        run: RunInfo {
            scenario: scenario.to_owned(),
            testbed: testbed.to_owned(),
            seed: 0,
            started_at: String::new(),
            harness_version: String::new(),
            commit: String::new(),
            components: BTreeMap::new(),
            limits: Vec::new(),
            about: About::default(),
        },
        promises: Promises::default(),
    }
}

/// Judges files that others wrote as one history.
///
/// # Errors
/// When one cannot be opened or understood.
pub fn judge_foreign(
    inputs: &[Input<OpenFile>],
    settings: &Settings,
) -> Result<ScenarioReport, JudgementError> {
    let (header, events) = foreign::read(inputs.to_vec(), settings)?;
    let mut observer = Observer::new(&header);
    let events = events.inspect(|event| {
        if let Ok(event) = event {
            observer.observe(event);
        }
    });
    let mut verdict = streamlake_judge::judge(&header, events)?;
    if verdict.checks.iter().any(|check| !check.findings.is_empty()) {
        let (_, again) = foreign::read(inputs.to_vec(), settings)?;
        streamlake_judge::explain(&mut verdict, again)?;
    }
    let history_file = inputs.iter().map(|input| &*input.path).collect::<Vec<_>>().join(", ");
    Ok(ScenarioReport { header, verdict, observed: observer.finish(), history_file, again: None })
}

/// Opens a file of a foreign history.
#[derive(Debug, Clone)]
pub struct OpenFile(pub PathBuf);

impl foreign::Open for OpenFile {
    type File = BufReader<File>;

    fn open(&self) -> std::io::Result<Self::File> {
        Ok(BufReader::with_capacity(1 << 20, File::open(&self.0)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use streamlake_history::sample::Sample;
    use streamlake_judge::verdict::Status;

    #[test]
    fn a_history_that_cannot_be_judged_is_told_as_a_run_of_which_nothing_is_known() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("broker-restart-1");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("history.jsonl");
        let whole = String::from_utf8(Sample::honest().bytes().unwrap()).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        let cut = lines[..lines.len() - 1].join("\n");
        let altered =
            whole.replacen("\"poison\":true", "", 1).replacen("\"bytes\":8", "\"bytes\":9", 1);
        for (text, name) in [(&*cut, "sample"), (&*altered, "sample"), ("?", "broker-restart")] {
            std::fs::write(&path, text).unwrap();
            let error = judge(&path).unwrap_err();
            let report = unjudged(&path, "embedded", &error);
            assert_eq!(report.header.run.scenario, name, "{error}");
            assert_eq!(report.header.run.testbed, "embedded");
            assert_eq!(report.verdict.status, Status::Inconclusive);
            let reasons = &report.verdict.checks[0].reasons;
            assert_eq!(reasons, &[error.to_string()]);
        }
    }
}
