//! Histories that others wrote: read line by line, told as our own facts, judged by the same checkers.
//!
//! Four formats are known, each in a module of its own: what Apache Kafka's verifiable clients print
//! ([`verifiable`]), what its tools show of a log ([`dump_log`]) and of the broker's record of commits
//! ([`offsets`]), and a small format of our own that anybody can emit ([`plain`]). A file's format is
//! the one that was asked for, unless its first lines are plainly of another; see [`sniff`].
//!
//! The files are read twice: once for what the header needs to know, then for the facts, which are
//! handed out as they come. So memory does not grow with the files, but for the values that tell which
//! operation a record of the log is of.
//!
//! What a foreign history cannot show is left out of its header's evidence, so that the checkers that
//! need it say so and do not pass. Nothing that stands in a file is passed over in silence: what is not
//! understood is refused, or counted as a doubt with its file and line.

mod census;
mod dump_log;
mod envelope;
mod offsets;
pub mod plain;
mod sniff;
mod text;
mod told;
pub mod verifiable;

use std::io::{self, BufRead};

use super::HistoryError;
use super::event::{Event, Header};
use super::lines::{LineError, Lines};

use envelope::Parts;
use text::{OneObjectALine, Text};
pub use told::Settings;
use told::{ALL, Told};

/// Longest line that is read: more than any record that a broker takes by default, escaped.
pub const FOREIGN_LINE_BYTES_MAX: usize = 16 << 20;

/// How a foreign history is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Kafka's VerifiableProducer and VerifiableConsumer.
    Verifiable,
    /// Ours.
    Plain,
    /// `kafka-dump-log.sh`: a log read back.
    DumpLog,
    /// The console consumer's formatters for `__consumer_offsets`: commits and rebalances.
    Offsets,
}

impl Format {
    /// A format by its name on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    const ALL: [Self; 4] = [Self::Verifiable, Self::Plain, Self::DumpLog, Self::Offsets];

    /// The names that [`Format::named`] knows.
    pub const NAMES: [&str; 4] = ["kafka-verifiable", "plain", "kafka-dump-log", "kafka-offsets"];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verifiable => "kafka-verifiable",
            Self::Plain => "plain",
            Self::DumpLog => "kafka-dump-log",
            Self::Offsets => "kafka-offsets",
        }
    }
}

/// Whose words a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Those of the producers and consumers under test.
    UnderTest,
    /// Those of somebody who read the topic back to its end.
    LogReader,
    /// The broker's record of commits.
    Commits,
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
    let told = Told::default();
    let mut events = Events { inputs, next: 0, file: None, told, ended: false, failed: false };
    while events.advance()? {}
    let told = events.told.tell_again();
    let header = told.header(settings);
    Ok((header, Events { next: 0, told, ended: false, ..events }))
}

/// What earlier lines of a file mean for later ones.
enum State {
    Verifiable(Box<verifiable::State>),
    Plain(Parts),
    DumpLog(dump_log::State),
    Offsets,
}

/// A file that is being read.
struct Reading<R> {
    lines: Lines<OneObjectALine<Text<R>>>,
    state: State,
    parts: Parts,
    any: bool,
}

/// The facts of a foreign history. Ends with the first error.
pub struct Events<O: Open> {
    inputs: Vec<Input<O>>,
    next: usize,
    file: Option<Reading<O::File>>,
    told: Told,
    ended: bool,
    failed: bool,
}

impl<O: Open> Events<O> {
    /// Takes the next line in; false when there is none.
    fn advance(&mut self) -> Result<bool, HistoryError> {
        let Some(file) = &mut self.file else {
            let Some(input) = self.inputs.get(self.next) else { return Ok(self.finish()) };
            self.next += 1;
            self.told.stands_at(&input.path, 0);
            self.file = Some(begin(input)?);
            return Ok(true);
        };
        let input = &self.inputs[self.next - 1];
        let more = file.lines.advance().map_err(|error| {
            let line = file.lines.number();
            match error {
                LineError::Io(error) => unreadable(&input.path, line, &error),
                LineError::TooLong => {
                    let why = format!("the line is longer than {FOREIGN_LINE_BYTES_MAX} bytes");
                    refused(&input.path, line, why)
                }
            }
        })?;
        self.told.stands_at(&input.path, file.lines.number());
        let taken = match more {
            true => file.take(&mut self.told, input),
            false => file.end(&mut self.told, input),
        };
        taken.map_err(|refusal| refused(&input.path, file.lines.number(), refusal.to_string()))?;
        if !more {
            self.file = None;
        }
        Ok(true)
    }

    /// All files are read. True once, for what only shows at their end.
    fn finish(&mut self) -> bool {
        if self.told.telling() && !self.ended {
            self.told.finish();
            self.ended = true;
            return true;
        }
        false
    }
}

/// Opens a file and looks what it is.
fn begin<O: Open>(input: &Input<O>) -> Result<Reading<O::File>, HistoryError> {
    let unreadable = |error: io::Error| unreadable(&input.path, 0, &error);
    let mut raw = input.open.open().map_err(unreadable)?;
    if let Some(packed) = text::compressed(raw.fill_buf().map_err(unreadable)?) {
        return Err(refused(
            &input.path,
            1,
            format!("the file is packed with {packed}: unpack it"),
        ));
    }
    let mut text = Text::new(raw).map_err(unreadable)?;
    let head = text.fill_buf().map_err(unreadable)?;
    let format = sniff::format(head, input.format, input.role);
    let format = format.map_err(|why| refused(&input.path, 1, why))?;
    let state = match format {
        Format::Verifiable => State::Verifiable(Box::default()),
        Format::Plain => State::Plain(Parts::default()),
        Format::DumpLog => State::DumpLog(dump_log::State::default()),
        Format::Offsets => State::Offsets,
    };
    let text = OneObjectALine::new(text, format == Format::Offsets);
    let lines = Lines::new(text, FOREIGN_LINE_BYTES_MAX);
    Ok(Reading { lines, state, parts: Parts::default(), any: false })
}

impl<R: BufRead> Reading<R> {
    fn take<O>(&mut self, told: &mut Told, input: &Input<O>) -> Result<(), Refusal> {
        if self.lines.line().trim_ascii().is_empty() {
            return Ok(());
        }
        self.any = true;
        let ended = self.lines.ended();
        let Some(line) = envelope::stripped(self.lines.line(), &mut self.parts) else {
            return Ok(());
        };
        // Its writer was killed in the middle of it: what it would have said is not known.
        let cut = |told: &mut Told| {
            let kind = "the last line of a file was cut short and is left out";
            told.doubt(kind, ALL, &told::excerpt(&line));
        };
        let process = input.process.as_str();
        let taken = match &mut self.state {
            State::Verifiable(_) if !ended && envelope::is_cut(&line) => {
                cut(told);
                return Ok(());
            }
            State::Verifiable(state) => verifiable::take(told, state, (process, input.role), &line),
            State::Plain(parts) => plain::take(told, parts, process, &line),
            State::DumpLog(state) => dump_log::take(told, state, process, &line),
            State::Offsets => offsets::take(told, &line),
        };
        match taken {
            Err(Refusal::Json(error)) if error.is_eof() && !ended => {
                cut(told);
                Ok(())
            }
            taken => taken,
        }
    }

    fn end<O>(&mut self, told: &mut Told, input: &Input<O>) -> Result<(), Refusal> {
        let process = input.process.as_str();
        let rest = self.parts.rest();
        if !rest.is_empty() {
            told.doubt(
                "the last line of a file was cut short and is left out",
                ALL,
                &told::excerpt(&rest),
            );
        }
        match &mut self.state {
            State::Verifiable(state) => {
                state.end(told, (process, input.role))?;
                self.any &= state.any();
            }
            State::Plain(parts) => self.any &= parts.rest().is_empty(),
            State::DumpLog(state) => dump_log::end(told, state, process)?,
            State::Offsets => {}
        }
        if !self.any {
            let kind = "files that are empty or hold nothing of their format: what their writers saw is \
                        not known";
            told.doubt(kind, ALL, "its end");
        }
        Ok(())
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

fn refused(path: &str, line: u64, why: String) -> HistoryError {
    HistoryError::Foreign { file: path.to_owned(), line, why }
}

fn unreadable(path: &str, line: u64, error: &io::Error) -> HistoryError {
    let why = format!("the file cannot be read ({error}); check the disk and the path");
    refused(path, line, why)
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
