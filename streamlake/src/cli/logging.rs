//! Log lines go to standard error; standard output belongs to receipts and results.
//!
//! A thread of its own writes them. Who reads standard error may stand still (a pager, a log driver, a
//! suspended terminal), and then a write waits: no thread that does the work may wait with it, nor the
//! end of the process. What finds no room is dropped and counted.

use clap::{Args, ValueEnum};
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Logging {
    /// How log lines look.
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "STREAMLAKE_LOG_FORMAT",
        global = true,
        help_heading = "Logging and configuration"
    )]
    log_format: Format,
    /// What is logged, as in RUST_LOG: `info`, `streamlake=debug`.
    #[arg(
        long,
        default_value = DEFAULT_FILTER,
        env = "STREAMLAKE_LOG",
        value_parser = filter,
        global = true,
        help_heading = "Logging and configuration"
    )]
    log: String,
}

const DEFAULT_FILTER: &str = "info";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A filter that means something. The library takes a mistyped level for the name of a module, and then
/// logs nothing of any other.
fn filter(text: &str) -> Result<String, String> {
    // A variable that is set to nothing.
    if text.trim().is_empty() {
        return Ok(DEFAULT_FILTER.to_owned());
    }
    let mut bare = text.split(',').map(str::trim).filter(|word| !word.contains('='));
    if let Some(odd) = bare.find(|word| !LEVELS.contains(&word.to_ascii_lowercase().as_str())) {
        return Err(format!(
            "{odd:?} is no level; there are {}, and TARGET=LEVEL for one part of the program",
            LEVELS.join(", ")
        ));
    }
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|err| err.to_string())
}

impl Logging {
    /// How log lines look.
    pub(super) fn format(&self) -> Format {
        self.log_format
    }

    /// Installs the subscriber; in a process that has one already, that one stays.
    pub(super) fn install(&self) {
        let filter = EnvFilter::try_new(&self.log).unwrap_or_else(|_| EnvFilter::new("info"));
        // A reader of standard error that goes away must not end the work: what cannot be written is
        // dropped. By default the library complains of it on standard error, and that panics.
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(|| Line)
            .log_internal_errors(false);
        let _ = match self.log_format {
            Format::Text => builder.with_ansi(false).try_init(),
            Format::Json => builder.json().flatten_event(true).try_init(),
        };
    }
}

/// Writes what is for people behind the lines of the log, and waits for all of it, but not for a reader
/// that stands still.
pub(super) fn tell(text: &str) {
    lines().push(format!("{text}\n").as_bytes());
    flush();
}

/// Waits until what was logged is written, but not for a reader that stands still.
pub(super) fn flush() {
    lines().flush(READ_WITHIN);
}

/// How long the end of the process waits for whoever reads standard error.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// How many bytes of lines may wait.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// The lines on their way to standard error. The thread that writes them starts with the first one.
fn lines() -> &'static Lines {
    static LINES: OnceLock<Arc<Lines>> = OnceLock::new();
    LINES.get_or_init(|| {
        let lines = Arc::new(Lines::default());
        let theirs = Arc::clone(&lines);
        let thread = std::thread::Builder::new().name("streamlake-log".into());
        // Without the thread no line is ever written, and none is waited for beyond a second.
        let _ = thread.spawn(move || theirs.write_to(|bytes| std::io::stderr().write_all(bytes)));
        lines
    })
}

#[derive(Default)]
struct Lines {
    inner: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    writing: bool,
}

impl Lines {
    fn inner(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, or counts it where there is no room.
    fn push(&self, line: &[u8]) {
        let mut waiting = self.inner();
        if waiting.bytes + line.len() > WAITING_BYTES_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_vec());
        drop(waiting);
        self.changed.notify_all();
    }

    /// Waits until nothing waits any more, for so long at most.
    fn flush(&self, within: Duration) {
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        drop(self.changed.wait_timeout_while(self.inner(), within, busy));
    }

    /// Writes the lines as they come, for ever. What cannot be written is gone.
    fn write_to(&self, mut write: impl FnMut(&[u8]) -> std::io::Result<()>) {
        loop {
            let mut waiting = self.inner();
            while waiting.lines.is_empty() {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut waiting.lines);
            let dropped = std::mem::take(&mut waiting.dropped);
            (waiting.bytes, waiting.writing) = (0, true);
            drop(waiting);
            for line in lines {
                let _ = write(&line);
            }
            if dropped > 0 {
                let _ = write(
                    format!("… {dropped} lines of the log were dropped: nobody read them\n")
                        .as_bytes(),
                );
            }
            self.inner().writing = false;
            self.changed.notify_all();
        }
    }
}

/// Where the subscriber writes: a whole line at a time.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        lines().push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_mistyped_level_is_none() {
        for good in ["info", "WARN", "info,librdkafka=debug", "streamlake::consumer=trace", "off"] {
            assert_eq!(filter(good).unwrap(), good);
        }
        assert_eq!(filter(" ").unwrap(), "info");
        for bad in ["warning", "verbose", "info,inof", "streamlake=loud", "5x"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reader_that_stands_still_holds_up_nobody() {
        let lines = Arc::new(Lines::default());
        let (go_on, held) = mpsc::channel::<()>();
        let (written, read) = mpsc::channel();
        let theirs = Arc::clone(&lines);
        std::thread::spawn(move || {
            theirs.write_to(|line| {
                let _ = held.recv();
                written.send(line.to_vec()).map_err(std::io::Error::other)
            });
        });
        let line = vec![b'x'; WAITING_BYTES_MAX / 4];
        // More than there is room for, whatever of it the other thread has taken already.
        for _ in 0..20 {
            lines.push(&line);
        }
        lines.flush(Duration::from_millis(1));
        assert!(lines.inner().bytes <= WAITING_BYTES_MAX && read.try_recv().is_err());
        drop(go_on);
        lines.flush(Duration::from_secs(60));
        lines.push(b"the next");
        lines.flush(Duration::from_secs(60));
        let told: Vec<Vec<u8>> = read.try_iter().collect();
        let is = |text: &[u8], of: &str| String::from_utf8_lossy(text).contains(of);
        assert!(
            told.len() < 15 && told.iter().any(|text| is(text, "were dropped")),
            "{}",
            told.len()
        );
        assert!(told.iter().any(|text| is(text, "the next")));
    }
}
