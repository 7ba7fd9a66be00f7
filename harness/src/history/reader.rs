//! Reads a history line by line and refuses one that lost, doubled or changed a line.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::error::HistoryError;
use super::event::{Event, FORMAT, Header, Print, Trailer, VERSION};

/// Longest line that is read. The longest that is written is that of a metadata object with all its
/// parts.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// A history in the reading: an iterator over its events, which ends with an error unless the
/// trailer came and fits.
#[derive(Debug)]
pub struct HistoryReader<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    counts: BTreeMap<String, u64>,
    digest: u64,
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
            input,
            line: Vec::new(),
            number: 0,
            counts: BTreeMap::new(),
            digest: 0,
            done: false,
        };
        if !reader.next_line()? {
            return Err(HistoryError::NotAHistory { why: "the file is empty".to_owned() });
        }
        let not = |why: String| HistoryError::NotAHistory { why };
        let kind: Kind = serde_json::from_slice(&reader.line).map_err(|e| not(e.to_string()))?;
        if kind.format != FORMAT {
            return Err(not(format!("its format is `{}`", kind.format.escape_debug())));
        }
        if kind.version != u64::from(VERSION) {
            return Err(HistoryError::Version { found: kind.version, expected: VERSION });
        }
        let header = serde_json::from_slice(&reader.line).map_err(|e| not(e.to_string()))?;
        Ok((header, reader))
    }

    /// Reads the next line into the buffer, without its end; false at the end of the file.
    fn next_line(&mut self) -> Result<bool, HistoryError> {
        self.line.clear();
        let bound = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut self.input).take(bound).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > LINE_BYTES_MAX {
            return Err(HistoryError::TooLong { line: self.number, max_bytes: LINE_BYTES_MAX });
        }
        Ok(true)
    }

    fn next_event(&mut self) -> Result<Option<Event>, HistoryError> {
        if !self.next_line()? {
            return Err(HistoryError::Truncated { line: self.number });
        }
        if self.line.starts_with(b"{\"events\"") {
            self.check_trailer()?;
            return Ok(None);
        }
        let event: Event = match serde_json::from_slice(&self.line) {
            Ok(event) => event,
            // A line without its end at the end of the file is a cut, not a corruption.
            Err(error) if error.is_eof() && self.input.fill_buf()?.is_empty() => {
                return Err(HistoryError::Truncated { line: self.number });
            }
            Err(error) => return Err(self.corrupt(error.to_string())),
        };
        self.digest = self.digest.wrapping_add(xxh3_64(&self.line));
        self.check_seq(&event)?;
        Ok(Some(event))
    }

    fn check_seq(&mut self, event: &Event) -> Result<(), HistoryError> {
        let due = match self.counts.get_mut(&event.process) {
            Some(count) => count,
            None => self.counts.entry(event.process.clone()).or_insert(0),
        };
        if event.seq != *due {
            return Err(HistoryError::Sequence {
                line: self.number,
                process: event.process.clone(),
                expected: *due,
                found: event.seq,
            });
        }
        *due += 1;
        Ok(())
    }

    fn check_trailer(&mut self) -> Result<(), HistoryError> {
        let trailer: Trailer = match serde_json::from_slice(&self.line) {
            Ok(trailer) => trailer,
            Err(error) if error.is_eof() => {
                return Err(HistoryError::Truncated { line: self.number });
            }
            Err(error) => return Err(self.corrupt(error.to_string())),
        };
        let line = self.number;
        if trailer.events != self.counts {
            let why = "the number of lines of a process differs".to_owned();
            return Err(HistoryError::Trailer { line, why });
        }
        if trailer.digest != Print(self.digest) {
            let why = "a line was changed (the digest differs)".to_owned();
            return Err(HistoryError::Trailer { line, why });
        }
        while self.next_line()? {
            if !self.line.is_empty() {
                return Err(self.corrupt("something stands after the trailer".to_owned()));
            }
        }
        Ok(())
    }

    fn corrupt(&self, why: String) -> HistoryError {
        HistoryError::Corrupt { line: self.number, why }
    }
}

impl<R: BufRead> Iterator for HistoryReader<R> {
    type Item = Result<Event, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.next_event().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}
