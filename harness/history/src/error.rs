//! What can be wrong with a history as a file, and what to do about it.

use thiserror::Error;

/// A history that cannot be judged. Only [`HistoryError::Truncated`] says something about a run:
/// it was cut short, so its verdict is inconclusive.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The medium failed.
    #[error("the history cannot be read or written: {0}; check the disk and the path")]
    Io(#[from] std::io::Error),
    /// The first line is no header.
    #[error(
        "line 1 is not the header of a streamlake history ({}); histories of others are judged with `check --from`",
        harmless(why)
    )]
    NotAHistory {
        /// What the parser said.
        why: String,
    },
    /// The header is of a version that this harness does not read.
    #[error(
        "the history has version {found}, this harness reads version {expected}; judge it with the harness that wrote it, or record it again"
    )]
    Version {
        /// As found.
        found: u64,
        /// As needed.
        expected: u32,
    },
    /// The file ends without a trailer.
    #[error(
        "the history ends after line {line} without its trailer: the run was cut short, or the file was; run it again"
    )]
    Truncated {
        /// Last line that was read.
        line: u64,
    },
    /// A line is not what it should be.
    #[error(
        "line {line} of the history is corrupt: {}; restore the file or run it again",
        harmless(why)
    )]
    Corrupt {
        /// Line number from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A line is longer than any that this harness writes.
    #[error(
        "line {line} of the history is longer than {max_bytes} bytes; no harness writes such a line: restore the file"
    )]
    TooLong {
        /// Line number from 1.
        line: u64,
        /// The bound.
        max_bytes: usize,
    },
    /// A process's numbering is broken: a line is absent, doubled or moved.
    #[error(
        "line {line} of the history: process `{}` has seq {found} where {expected} was due; lines are missing, doubled or moved: restore the file or run it again",
        harmless(process)
    )]
    Sequence {
        /// Line number from 1.
        line: u64,
        /// The process.
        process: String,
        /// The number due.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A line of a foreign history is not of its format.
    #[error("{file}:{line}: {}", harmless(why))]
    Foreign {
        /// The file.
        file: String,
        /// Line number from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The trailer does not fit the lines.
    #[error(
        "the trailer (line {line}) does not fit the lines before it: {why}; restore the file or run it again"
    )]
    Trailer {
        /// Line number from 1.
        line: u64,
        /// What differs.
        why: String,
    },
}

/// A text from a file for a terminal: what would act on it is spelled out.
fn harmless(text: &str) -> String {
    let spelled = |c: char| c.is_control() || c == '\u{202e}';
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if spelled(c) {
            out.extend(c.escape_debug())
        } else {
            out.push(c)
        }
        out
    })
}

impl HistoryError {
    /// The run or its file was cut short: the verdict is inconclusive, not an error of usage.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        matches!(self, Self::Truncated { .. })
    }
}
