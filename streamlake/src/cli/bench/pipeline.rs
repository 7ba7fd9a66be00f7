//! The pipeline as a process of its own, watched through the events that it writes.

use super::{Args, kafka_flags, own_program};
use crate::config::{KafkaSettings, RawZoneSettings, raw_zone_url};
use crate::error::{Error, Result};
use crate::raw_zone::store::Zone;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a measurement may take.
const DEADLINE: Duration = Duration::from_secs(900);
/// How long one request may take that reads or removes what was stored.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `streamlake consume` with a group of its own and a raw zone of its own, below the one that
/// was named: no measurement writes among the objects of another. Dropping it stops it.
pub(super) struct Pipeline {
    child: Child,
    events: PathBuf,
    /// Where it stores.
    pub(super) zone: Zone,
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
        let url = raw_zone_url(&format!("{}/{group}", args.raw_zone.trim_end_matches('/')))?;
        let raw_zone = url.to_string();
        let zone = Zone::open(&RawZoneSettings { url, request_timeout: REQUEST_TIMEOUT })?;
        let mut command = own_program()?;
        command.args(["--log", "warn", "consume", "--dataset", "bench", "--topic", topic]);
        command.args(["--group", &group, "--raw-zone", &raw_zone, "--events"]).arg(&events);
        command.args(&args.consume_flag);
        kafka_flags(&mut command, settings);
        let child = command.spawn().map_err(Error::io("starting the pipeline"))?;
        Ok(Pipeline { child, events, zone })
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

    /// Stops the pipeline and removes what it stored. A store grows slower with what lies in it (an
    /// emulator that searches a list, a page cache that is full), and a measurement is not to pay for
    /// the one before it.
    pub(super) async fn discard(self) {
        let zone = self.zone.clone();
        drop(self);
        let removed = match &zone.local_root {
            Some(root) => std::fs::remove_dir_all(root).map_err(|err| err.to_string()),
            None => remove_all(zone.store.as_ref()).await.map_err(|err| err.to_string()),
        };
        if let Err(error) = removed {
            let place = zone.address("");
            tracing::warn!(place, error, "what the measurement stored could not be removed");
        }
    }
}

async fn remove_all(store: &dyn ObjectStore) -> object_store::Result<()> {
    let objects = store.list(None).map_ok(|object| object.location).boxed();
    store.delete_stream(objects).try_for_each(|_| async { Ok(()) }).await
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
