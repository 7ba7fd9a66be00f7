//! The event stream: JSON lines that say what the process did, as it did it.
//!
//! Each line is written with one unbuffered `write` in append mode, so that a process that is killed
//! leaves every event up to the last whole one, and several processes may share a file.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where events go; nowhere unless a file was named.
#[derive(Debug, Default)]
pub struct Events {
    file: Option<Mutex<Lines>>,
}

/// A file that lines are appended to.
#[derive(Debug)]
struct Lines {
    file: File,
    /// The last line is cut off: there was no room for the rest of it.
    torn: bool,
    /// Its name, unless it is a pipe.
    path: Option<PathBuf>,
    looked_at: Instant,
}

/// How often it is looked whether the name still leads to the file.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Lines {
    /// Opens the file anew if its name leads elsewhere: whoever rotates it has moved it away.
    fn follow_name(&mut self) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let ours = self.file.metadata()?;
        let there = std::fs::metadata(path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(());
        }
        self.file = OpenOptions::new().create(true).append(true).open(path)?;
        self.torn = false;
        Ok(())
    }
}

impl Events {
    /// Events into a file, or into nothing.
    pub fn open(path: Option<&Path>) -> Result<Events> {
        let Some(path) = path else {
            return Ok(Events::default());
        };
        let opening = || Error::io(format!("opening the event file {}", path.display()));
        let pipe = is_pipe(path);
        let file = match pipe {
            false => OpenOptions::new().create(true).append(true).open(path),
            true => open_pipe(path),
        };
        let file = file.map_err(opening())?;
        let path = (!pipe).then(|| path.to_owned());
        let lines = Lines { file, torn: false, path, looked_at: Instant::now() };
        Ok(Events { file: Some(Mutex::new(lines)) })
    }

    /// Writes one event: `at` (RFC 3339 with microseconds), `event`, then the fields of `fields`,
    /// which must be a JSON object.
    pub fn emit(&self, event: &str, fields: Value) {
        let Some(file) = &self.file else {
            return;
        };
        let at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut line = Map::new();
        line.insert("at".into(), at.into());
        line.insert("event".into(), event.into());
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        let mut lines = file.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.looked_at.elapsed() >= LOOK_EVERY {
            lines.looked_at = Instant::now();
            if let Err(err) = lines.follow_name() {
                // The file that is open takes events as before.
                tracing::warn!(error = %err, "the event file cannot be opened anew");
            }
        }
        let Lines { file, torn, .. } = &mut *lines;
        if let Err(err) = append(file, text, torn) {
            tracing::warn!(error = %err, event, "an event could not be written");
        }
    }

    /// Whether anybody listens; for events that cost something to put together.
    pub fn is_on(&self) -> bool {
        self.file.is_some()
    }
}

fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

/// How long a named pipe waits for a reader.
const READER_WITHIN: Duration = Duration::from_secs(5);

/// Opens a named pipe, which waits for a reader: not for ever, and not where a signal could not end it.
fn open_pipe(path: &Path) -> std::io::Result<File> {
    let (opened, told) = std::sync::mpsc::channel();
    let path = path.to_owned();
    let thread = std::thread::Builder::new().name("streamlake-events".into());
    thread.spawn(move || opened.send(OpenOptions::new().append(true).open(path)))?;
    told.recv_timeout(READER_WITHIN).unwrap_or_else(|_| {
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "it is a pipe, and nobody reads it"))
    })
}

/// Appends a line. After one that was cut off it begins on a line of its own, or both would be lost to
/// whoever reads them.
fn append(file: &mut impl Write, line: String, torn: &mut bool) -> std::io::Result<()> {
    let text = if *torn { format!("\n{line}") } else { line };
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                rest = &rest[written..];
                *torn = !rest.is_empty();
            }
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk(Vec<u8>, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let room = (self.1 - self.0.len()).min(bytes.len());
            if room == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0.extend_from_slice(&bytes[..room]);
            Ok(room)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_that_was_rotated_is_followed_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("events"), dir.path().join("events.1"));
        let events = Events::open(Some(&path)).unwrap();
        let follow = || events.file.as_ref().unwrap().lock().unwrap().follow_name().unwrap();
        events.emit("first", Value::Null);
        follow();
        events.emit("second", Value::Null);
        std::fs::rename(&path, &old).unwrap();
        follow();
        events.emit("third", Value::Null);
        let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&old), lines(&path)), (2, 1));
    }

    #[test]
    fn a_line_that_was_cut_off_spoils_no_other() {
        let (mut disk, mut torn) = (Disk(Vec::new(), 6), false);
        append(&mut disk, "{a}\n".into(), &mut torn).unwrap();
        assert!(append(&mut disk, "{b}\n".into(), &mut torn).is_err());
        assert!(append(&mut disk, "{c}\n".into(), &mut torn).is_err());
        disk.1 = 100;
        append(&mut disk, "{d}\n".into(), &mut torn).unwrap();
        append(&mut disk, "{e}\n".into(), &mut torn).unwrap();
        assert_eq!(String::from_utf8(disk.0).unwrap(), "{a}\n{b\n{d}\n{e}\n");
    }
}
