//! From a history file to a verdict: the same way for a run that has just ended and for `check`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::checker;
use crate::history::event::Header;
use crate::history::{HistoryError, HistoryReader};
use crate::report::{Observer, ScenarioReport};

/// Why a history could not be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JudgementError {
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
}

impl JudgementError {
    /// The history was cut short: what it would have shown is not known, so it is inconclusive.
    #[must_use]
    pub(crate) fn is_truncated(&self) -> bool {
        matches!(self, Self::History { source, .. } if source.is_truncated())
    }
}

/// Judges a history.
///
/// # Errors
/// When it cannot be opened or understood.
pub(crate) fn judge(path: &Path) -> Result<ScenarioReport, JudgementError> {
    let history = |source| JudgementError::History { path: path.to_owned(), source };
    let (header, reader) = open_history(path)?;
    let mut observer = Observer::new(&header);
    let events = reader.inspect(|event| {
        if let Ok(event) = event {
            observer.observe(event);
        }
    });
    let mut verdict = checker::judge(&header, events).map_err(history)?;
    // Only a history with findings is read a second time, for the story of their records.
    if verdict.checks.iter().any(|check| !check.findings.is_empty()) {
        let (_, again) = open_history(path)?;
        checker::explain(&mut verdict, again).map_err(history)?;
    }
    let history_file = path.display().to_string();
    Ok(ScenarioReport { header, verdict, observed: observer.finish(), history_file })
}

fn open_history(path: &Path) -> Result<(Header, HistoryReader<BufReader<File>>), JudgementError> {
    let open = |source| JudgementError::Open { path: path.to_owned(), source };
    let history = |source| JudgementError::History { path: path.to_owned(), source };
    let file = File::open(path).map_err(open)?;
    HistoryReader::open(BufReader::with_capacity(1 << 20, file)).map_err(history)
}
