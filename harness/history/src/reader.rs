//! Reads a history line by line and refuses one that lost, doubled or changed a line.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::error::HistoryError;
use super::event::{Event, FORMAT, Header, OLDEST_VERSION, Print, Trailer, VERSION};
use super::fast::Fast;
use super::lines::{LineError, Lines};

/// Longest line that is read. The longest that is written is that of a metadata object with all its
/// parts.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// A history in the reading. [`HistoryReader::advance`] lends one event after another, the quickest
/// way; as an iterator it gives them away. Either ends with an error unless the trailer came and fits.
#[derive(Debug)]
pub struct HistoryReader<R> {
    lines: Lines<R>,
    header: Print,
    counts: Counts,
    digest: u64,
    fast: Fast,
    event: Option<Event>,
    done: bool,
}

#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u64,
}

impl<R: BufRead> HistoryReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// No header, another version, or the medium's.
    pub fn open(input: R) -> Result<(Header, Self), HistoryError> {
        let mut reader = Self {
            lines: Lines::new(input, LINE_BYTES_MAX),
            header: Print(0),
            counts: Counts::default(),
            digest: 0,
            fast: Fast::new(),
            event: None,
            done: false,
        };
        if !reader.next_line()? {
            return Err(HistoryError::NotAHistory { why: "the file is empty".to_owned() });
        }
        let not = |why: String| HistoryError::NotAHistory { why };
        let line = reader.lines.line();
        let kind: Kind = serde_json::from_slice(line).map_err(|e| not(e.to_string()))?;
        if kind.format != FORMAT {
            return Err(not(format!("its format is `{}`", kind.format.escape_debug())));
        }
        if !(u64::from(OLDEST_VERSION)..=u64::from(VERSION)).contains(&kind.version) {
            return Err(HistoryError::Version { found: kind.version, expected: VERSION });
        }
        let header = serde_json::from_slice(line).map_err(|e| not(e.to_string()))?;
        reader.header = Print::of(line);
        Ok((header, reader))
    }

    /// Reads the next line; false at the end of the file.
    fn next_line(&mut self) -> Result<bool, HistoryError> {
        self.lines.advance().map_err(|error| match error {
            LineError::Io(error) => HistoryError::Io(error),
            LineError::TooLong => {
                HistoryError::TooLong { line: self.lines.number(), max_bytes: LINE_BYTES_MAX }
            }
        })
    }

    /// The next event; none after the trailer, and after an error.
    ///
    /// # Errors
    /// The medium's, a line that is not what it should be, and whatever does not fit the trailer.
    pub fn advance(&mut self) -> Result<Option<&Event>, HistoryError> {
        if self.done {
            return Ok(None);
        }
        // Whatever comes now is the last, unless it is an event.
        self.done = true;
        if !self.next_line()? {
            return Err(HistoryError::Truncated { line: self.lines.number() });
        }
        if self.lines.line().starts_with(b"{\"events\"") {
            self.check_trailer()?;
            return Ok(None);
        }
        self.digest = self.digest.wrapping_add(xxh3_64(self.lines.line()));
        let event = match self.fast.parse(self.lines.line()) {
            Some(event) => event,
            None => match serde_json::from_slice::<Event>(self.lines.line()) {
                Ok(event) => &*self.event.insert(event),
                // Half a line at the end of the file is a cut, not a corruption.
                Err(error) if error.is_eof() && self.lines.at_end()? => {
                    return Err(HistoryError::Truncated { line: self.lines.number() });
                }
                Err(error) => return Err(corrupt(&self.lines, error.to_string())),
            },
        };
        self.counts.check(self.lines.number(), event)?;
        self.done = false;
        Ok(Some(event))
    }

    /// Lends all events to `take`.
    ///
    /// # Errors
    /// As [`HistoryReader::advance`].
    pub fn for_all(mut self, mut take: impl FnMut(&Event)) -> Result<(), HistoryError> {
        while let Some(event) = self.advance()? {
            take(event);
        }
        Ok(())
    }

    fn check_trailer(&mut self) -> Result<(), HistoryError> {
        let line = self.lines.number();
        let trailer: Trailer = match serde_json::from_slice(self.lines.line()) {
            Ok(trailer) => trailer,
            Err(error) if error.is_eof() => return Err(HistoryError::Truncated { line }),
            Err(error) => return Err(corrupt(&self.lines, error.to_string())),
        };
        let differs = |why: &str| HistoryError::Trailer { line, why: why.to_owned() };
        if trailer.header.is_some_and(|header| header != self.header) {
            return Err(differs("the header was changed (its fingerprint differs)"));
        }
        if trailer.events != self.counts.by_process() {
            return Err(differs("the number of lines of a process differs"));
        }
        if trailer.digest != Print(self.digest) {
            return Err(differs("a line was changed (the digest differs)"));
        }
        while self.next_line()? {
            if !self.lines.line().is_empty() {
                let why = "something stands after the trailer".to_owned();
                return Err(corrupt(&self.lines, why));
            }
        }
        Ok(())
    }
}

fn corrupt<R: BufRead>(lines: &Lines<R>, why: String) -> HistoryError {
    HistoryError::Corrupt { line: lines.number(), why }
}

impl<R: BufRead> Iterator for HistoryReader<R> {
    type Item = Result<Event, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|event| event.cloned()).transpose()
    }
}

/// Lines of each process so far. One process has many lines in a row.
#[derive(Debug, Default)]
struct Counts {
    counts: Vec<(String, u64)>,
    places: HashMap<String, usize>,
    last: usize,
}

impl Counts {
    fn check(&mut self, line: u64, event: &Event) -> Result<(), HistoryError> {
        if self.counts.get(self.last).is_none_or(|(process, _)| *process != event.process) {
            self.last = match self.places.get(&event.process) {
                Some(&place) => place,
                None => {
                    self.counts.push((event.process.clone(), 0));
                    self.places.insert(event.process.clone(), self.counts.len() - 1);
                    self.counts.len() - 1
                }
            };
        }
        let due = &mut self.counts[self.last].1;
        if event.seq != *due {
            return Err(HistoryError::Sequence {
                line,
                process: event.process.clone(),
                expected: *due,
                found: event.seq,
            });
        }
        *due += 1;
        Ok(())
    }

    fn by_process(&self) -> BTreeMap<String, u64> {
        self.counts.iter().cloned().collect()
    }
}
