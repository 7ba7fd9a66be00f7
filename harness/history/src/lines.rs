//! Lines of a file, each of bounded length: a line of gigabytes ends in an error, not in swap.

use std::io::{self, BufRead, Read as _};

/// Lines in the reading.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    max_bytes: usize,
    line: Vec<u8>,
    number: u64,
    ended: bool,
}

/// Why there is no next line.
#[derive(Debug)]
pub(super) enum LineError {
    /// The medium failed.
    Io(io::Error),
    /// The line is longer than the bound.
    TooLong,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `max_bytes` each, without their ends.
    pub(super) fn new(input: R, max_bytes: usize) -> Self {
        Self { input, max_bytes, line: Vec::new(), number: 0, ended: false }
    }

    /// Reads the next line; false at the end of the file.
    pub(super) fn advance(&mut self) -> Result<bool, LineError> {
        self.line.clear();
        let bound = self.max_bytes as u64 + 1;
        let input = &mut self.input;
        let read = input.take(bound).read_until(b'\n', &mut self.line).map_err(LineError::Io)?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        self.ended = self.line.last() == Some(&b'\n');
        if self.ended {
            self.line.pop();
        } else if self.line.len() > self.max_bytes {
            return Err(LineError::TooLong);
        }
        Ok(true)
    }

    /// The line that was read last, without its end.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Its number, from 1; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Nothing comes after it.
    pub(super) fn at_end(&mut self) -> io::Result<bool> {
        Ok(self.input.fill_buf()?.is_empty())
    }

    /// It had a line end; only the last of a file may lack it.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }
}
