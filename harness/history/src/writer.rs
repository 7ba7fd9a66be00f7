//! Writes a history: header line, event lines, trailer line, each a JSON object.
//!
//! The writer numbers the lines of each process and sums their fingerprints, so that a reader can
//! tell a whole history from one that lost, doubled or changed a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::event::{Fact, Header, Print, Trailer};

/// An [`Event`](super::event::Event) that borrows, field for field the same on disk.
#[derive(Serialize)]
struct Line<'a> {
    t_us: u64,
    process: Cow<'a, str>,
    seq: u64,
    fact: &'a Fact,
}

/// A history in the writing.
#[derive(Debug)]
pub struct HistoryWriter<W: Write> {
    out: W,
    line: Vec<u8>,
    counts: BTreeMap<String, u64>,
    digest: u64,
    header: Print,
}

impl<W: Write> HistoryWriter<W> {
    /// Starts a history with its header.
    ///
    /// # Errors
    /// The medium's.
    pub fn new(mut out: W, header: &Header) -> io::Result<Self> {
        let mut line = serde_json::to_vec(header)?;
        let header = Print::of(&line);
        line.push(b'\n');
        out.write_all(&line)?;
        Ok(Self { out, line, counts: BTreeMap::new(), digest: 0, header })
    }

    /// Appends a fact and gives it its process's next number.
    ///
    /// # Errors
    /// The medium's.
    pub fn write(&mut self, t_us: u64, process: &str, fact: &Fact) -> io::Result<()> {
        let seq = match self.counts.get_mut(process) {
            Some(count) => count,
            None => self.counts.entry(process.to_owned()).or_insert(0),
        };
        self.line.clear();
        let line = Line { t_us, process: Cow::Borrowed(process), seq: *seq, fact };
        serde_json::to_writer(&mut self.line, &line)?;
        *seq += 1;
        self.digest = self.digest.wrapping_add(xxh3_64(&self.line));
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    /// Ends the history with its trailer, flushes, and gives the medium back.
    ///
    /// # Errors
    /// The medium's.
    pub fn finish(mut self) -> io::Result<W> {
        let (digest, header) = (Print(self.digest), Some(self.header));
        let trailer = Trailer { events: self.counts, digest, header };
        let mut line = serde_json::to_vec(&trailer)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()?;
        Ok(self.out)
    }
}
