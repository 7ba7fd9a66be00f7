//! The pipeline as a process of its own, watched through the events that it writes.

use super::{Args, kafka_flags, own_program};
use crate::config::KafkaSettings;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a measurement may take.
const DEADLINE: Duration = Duration::from_secs(900);

/// A running `streamlake consume` with a group of its own. Dropping it stops it.
pub(super) struct Pipeline {
    child: Child,
    events: PathBuf,
}

/// One stored part, as the pipeline told of it.
pub(super) struct Part {
    pub(super) path: String,
    pub(super) at: DateTime<Utc>,
    pub(super) records: u64,
}

impl Pipeline {
    pub(super) fn start(args: &Args, topic: &str, settings: &KafkaSettings) -> Result<Pipeline> {
        let group = format!("streamlake-bench-{}", uuid::Uuid::new_v4());
        let events = std::env::temp_dir().join(format!("{group}.jsonl"));
        let mut command = own_program()?;
        command.args(["--log", "warn", "consume", "--dataset", "bench", "--topic", topic]);
        command.args(["--group", &group, "--raw-zone", &args.raw_zone, "--events"]).arg(&events);
        command.args(&args.consume_flag);
        kafka_flags(&mut command, settings);
        let child = command.spawn().map_err(Error::io("starting the pipeline"))?;
        Ok(Pipeline { child, events })
    }

    /// Waits until `records` are stored; when the partitions were assigned, and the parts.
    pub(super) fn wait(&mut self, records: u64) -> Result<(DateTime<Utc>, Vec<Part>)> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            let (begun, parts) = told(&self.events);
            let stored: u64 = parts.iter().map(|part| part.records).sum();
            if let (Some(begun), true) = (begun, stored >= records) {
                return Ok((begun, parts));
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Error::Stuck(format!("the pipeline ended early: {status}")));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let within = DEADLINE.as_secs();
        Err(Error::Stuck(format!("the pipeline did not store {records} records in {within} s")))
    }

    /// The most memory that the process has had at a time, in bytes.
    pub(super) fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1_024
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.events);
    }
}

fn told(events: &Path) -> (Option<DateTime<Utc>>, Vec<Part>) {
    let text = std::fs::read_to_string(events).unwrap_or_default();
    let (mut begun, mut parts) = (None, Vec::new());
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let at = event["at"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        let Some(at) = at.map(|at| at.to_utc()) else {
            continue;
        };
        match event["event"].as_str() {
            Some("assigned") => begun = begun.or(Some(at)),
            Some("uploaded") => parts.push(Part {
                path: event["path"].as_str().unwrap_or_default().to_owned(),
                at,
                records: event["records"].as_u64().unwrap_or(0),
            }),
            _ => {}
        }
    }
    (begun, parts)
}
