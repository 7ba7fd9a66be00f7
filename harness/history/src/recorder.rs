//! The recorder: one history, written by many tasks and threads.
//!
//! It owns the run's clock. Facts are stamped under the lock that writes them, so time never runs
//! backwards within a process. A failure to write is kept and handed out by [`Recorder::finish`]:
//! a run must not end well without its evidence.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, Utc};

use super::event::{Fact, Header};
use super::writer::HistoryWriter;

/// A medium that can be made durable.
pub trait Sink: Write + Send {
    /// Forces everything to the medium.
    ///
    /// # Errors
    /// The medium's.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for BufWriter<File> {
    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.get_ref().sync_all()
    }
}

impl Sink for Vec<u8> {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A handle to the history of a run; clones write into the same one.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Mutex<Inner>>,
    start: Instant,
    started_at: DateTime<Utc>,
    listener: Arc<OnceLock<Listener>>,
}

/// Hears of every fact when it is recorded.
type Listener = Box<dyn Fn(&Fact) + Send + Sync>;

struct Inner {
    writer: Option<HistoryWriter<Box<dyn Sink>>>,
    failure: Option<io::Error>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("started_at", &self.started_at).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts the run's clock now, puts its wall time into `header.run.started_at` and writes the
    /// header.
    ///
    /// # Errors
    /// The medium's.
    pub fn start(out: impl Sink + 'static, mut header: Header) -> io::Result<Self> {
        let (start, started_at) = (Instant::now(), Utc::now());
        header.run.started_at = started_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let writer = HistoryWriter::new(Box::new(out) as Box<dyn Sink>, &header)?;
        let inner = Inner { writer: Some(writer), failure: None };
        Ok(Self { inner: Arc::new(Mutex::new(inner)), start, started_at, listener: Arc::default() })
    }

    /// Microseconds since the run's start, monotonic.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// An instant of this process on the run's clock; one before the start is 0.
    #[must_use]
    pub fn run_us_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    /// Wall clock at microsecond zero.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// A wall-clock instant (microseconds since the epoch) on the run's clock; before the start it
    /// is 0, see [`Recorder::run_us_of_wall_us_signed`].
    #[must_use]
    pub fn run_us_of_wall_us(&self, wall_us: i64) -> u64 {
        u64::try_from(self.run_us_of_wall_us_signed(wall_us)).unwrap_or(0)
    }

    /// A wall-clock instant (microseconds since the epoch) on the run's clock; before the start it
    /// is negative.
    #[must_use]
    pub fn run_us_of_wall_us_signed(&self, wall_us: i64) -> i64 {
        wall_us.saturating_sub(self.started_at.timestamp_micros())
    }

    /// A wall-clock instant (milliseconds since the epoch) on the run's clock; before the start it
    /// is 0.
    #[must_use]
    pub fn run_us_of_wall_ms(&self, wall_ms: i64) -> u64 {
        self.run_us_of_wall_us(wall_ms.saturating_mul(1000))
    }

    /// Has `listener` hear of every fact from now on. There is one; a second is not taken.
    pub fn listen(&self, listener: impl Fn(&Fact) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Records a fact that `process` learned now. After [`Recorder::finish`] it does nothing.
    pub fn record(&self, process: &str, fact: Fact) {
        if let Some(listener) = self.listener.get() {
            listener(&fact);
        }
        let mut inner = self.lock();
        let t_us = self.now_us();
        let Some(writer) = inner.writer.as_mut() else {
            return;
        };
        if let Err(error) = writer.write(t_us, process, &fact) {
            // Once a line is lost the numbering is broken: stop, so that the file stays truncated.
            inner.writer = None;
            inner.failure = Some(error);
        }
    }

    /// Writes the trailer and makes the history durable. The second call is an error.
    ///
    /// # Errors
    /// The medium's, also one that an earlier [`Recorder::record`] met.
    pub fn finish(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(error) = inner.failure.take() {
            return Err(error);
        }
        let writer =
            inner.writer.take().ok_or_else(|| io::Error::other("the history is already ended"))?;
        writer.finish()?.sync()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves whole lines behind; the evidence up to here is still good.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
