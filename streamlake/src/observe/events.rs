//! The event stream: JSON lines that say what the process did, as it did it.
//!
//! Each line is written with one unbuffered `write` in append mode, so that a process that is killed
//! leaves every event up to the last whole one, and several processes may share a file.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where events go; nowhere unless a file was named.
#[derive(Debug, Default)]
pub struct Events {
    file: Option<Mutex<File>>,
}

impl Events {
    /// Events into a file, or into nothing.
    pub fn open(path: Option<&Path>) -> Result<Events> {
        let Some(path) = path else {
            return Ok(Events::default());
        };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(Error::io(format!("opening the event file {}", path.display())))?;
        Ok(Events { file: Some(Mutex::new(file)) })
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
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(err) = file.write_all(text.as_bytes()) {
            tracing::warn!(error = %err, event, "an event could not be written");
        }
    }

    /// Whether anybody listens; for events that cost something to put together.
    pub fn is_on(&self) -> bool {
        self.file.is_some()
    }
}
