//! Histories that others wrote: read line by line, told as our own facts, judged by the same checkers.
//!
//! Two formats are known. [`Format::Verifiable`] is what Apache Kafka's `kafka-verifiable-producer.sh`
//! and `kafka-verifiable-consumer.sh` print; see [`verifiable`]. [`Format::Plain`] is a small format of
//! our own that anybody can emit; see [`plain`].
//!
//! The files are read twice: once for what the header needs to know, then for the facts, which are
//! handed out as they come. So memory does not grow with the files.
//!
//! What a foreign history cannot show is left out of its header's evidence, so that the checkers that
//! need it say so and do not pass.

pub mod plain;
mod told;
pub mod verifiable;

use std::io::{self, BufRead};

use super::HistoryError;
use super::event::{Event, Header};
use super::lines::{LineError, Lines};

pub use told::Settings;
use told::Told;

/// Longest line that is read: more than any record that a broker takes by default, escaped.
pub const FOREIGN_LINE_BYTES_MAX: usize = 16 << 20;

/// How a foreign history is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Kafka's VerifiableProducer and VerifiableConsumer.
    Verifiable,
    /// Ours.
    Plain,
}

impl Format {
    /// A format by its name on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "kafka-verifiable" => Some(Self::Verifiable),
            "plain" => Some(Self::Plain),
            _ => None,
        }
    }

    /// The names that [`Format::named`] knows.
    pub const NAMES: [&str; 2] = ["kafka-verifiable", "plain"];
}

/// Whose words a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Those of the producers and consumers under test.
    UnderTest,
    /// Those of somebody who read the topic back to its end.
    LogReader,
}

/// One file of a foreign history.
#[derive(Debug, Clone)]
pub struct Input<O> {
    /// How it is written.
    pub format: Format,
    /// Whose words it holds.
    pub role: Role,
    /// Name for messages: its path.
    pub path: String,
    /// Name of the process that wrote it, where its lines do not say who speaks; of a consumer,
    /// `GROUP/MEMBER`, or one name for both.
    pub process: String,
    /// Opens it from its begin; called twice.
    pub open: O,
}

/// Something that can be opened and read from its begin more than once.
pub trait Open {
    /// What is read.
    type File: BufRead;

    /// Opens it.
    ///
    /// # Errors
    /// The medium's.
    fn open(&self) -> io::Result<Self::File>;
}

impl Open for &[u8] {
    type File = Self;

    fn open(&self) -> io::Result<Self> {
        Ok(self)
    }
}

/// Reads files, one after another, as one history: the header, and the facts as they are asked for.
///
/// # Errors
/// The medium's, and lines that are not of the format, with file and line; of the facts too.
pub fn read<O: Open>(
    inputs: Vec<Input<O>>,
    settings: &Settings,
) -> Result<(Header, Events<O>), HistoryError> {
    let mut events = Events { inputs, next: 0, file: None, told: Told::default(), failed: false };
    while events.advance()? {}
    let told = events.told.tell_again();
    let header = told.header(settings);
    Ok((header, Events { next: 0, told, ..events }))
}

/// A file that is being read.
struct Reading<R> {
    lines: Lines<R>,
    state: verifiable::State,
}

/// The facts of a foreign history. Ends with the first error.
pub struct Events<O: Open> {
    inputs: Vec<Input<O>>,
    next: usize,
    file: Option<Reading<O::File>>,
    told: Told,
    failed: bool,
}

impl<O: Open> Events<O> {
    /// Takes the next line in; false when there is none.
    fn advance(&mut self) -> Result<bool, HistoryError> {
        let Some(file) = &mut self.file else {
            let Some(input) = self.inputs.get(self.next) else { return Ok(false) };
            let opened = input.open.open().map_err(|error| unreadable(&input.path, 0, &error))?;
            self.next += 1;
            let lines = Lines::new(opened, FOREIGN_LINE_BYTES_MAX);
            self.file = Some(Reading { lines, state: verifiable::State::default() });
            return Ok(true);
        };
        let input = &self.inputs[self.next - 1];
        let more = file.lines.advance().map_err(|error| {
            let line = file.lines.number();
            match error {
                LineError::Io(error) => unreadable(&input.path, line, &error),
                LineError::TooLong => {
                    let why = format!("the line is longer than {FOREIGN_LINE_BYTES_MAX} bytes");
                    HistoryError::Foreign { file: input.path.clone(), line, why }
                }
            }
        })?;
        if !more {
            file.state.end(&mut self.told, &input.process);
            self.file = None;
            return Ok(true);
        }
        let line = file.lines.line();
        if line.trim_ascii().is_empty() {
            return Ok(true);
        }
        let taken = match input.format {
            Format::Verifiable => verifiable::take(
                &mut self.told,
                &mut file.state,
                (&input.process, input.role),
                line,
            ),
            Format::Plain => plain::take(&mut self.told, &input.process, line),
        };
        match taken {
            Ok(()) => {}
            // Its writer was killed in the middle of it: what it would have said is not known.
            Err(Refusal::Json(error)) if error.is_eof() && !file.lines.ended() => {
                let (file, line) = (&input.path, file.lines.number());
                let text = format!("{file}:{line}: the last line was cut short and is left out");
                self.told.doubt(&input.process, text);
            }
            Err(refusal) => {
                let (line, why) = (file.lines.number(), refusal.to_string());
                return Err(HistoryError::Foreign { file: input.path.clone(), line, why });
            }
        }
        Ok(true)
    }
}

impl<O: Open> Iterator for Events<O> {
    type Item = Result<Event, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            if let Some(event) = self.told.take() {
                return Some(Ok(event));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

fn unreadable(path: &str, line: u64, error: &io::Error) -> HistoryError {
    let why = format!("the file cannot be read ({error}); check the disk and the path");
    HistoryError::Foreign { file: path.to_owned(), line, why }
}

/// Why a line is not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// It is no JSON, or not of the format.
    #[error("{0}; HISTORY.md describes the format")]
    Json(#[from] serde_json::Error),
    /// What it says cannot be.
    #[error("{0}")]
    Content(String),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Content(why)
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self::Content(why.to_owned())
    }
}

#[cfg(test)]
mod tests;
