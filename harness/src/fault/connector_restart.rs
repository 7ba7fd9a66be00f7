//! A connector is restarted through its worker's REST interface, as an operator does it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tokio::time::Instant;

use crate::fault::capture;
use crate::fault::{Fault, FaultError, Kind, Order, Shown, Stage, Wrong};
use crate::testbed::{Capability, Part};
use crate::workload::source::CONNECTOR;
use streamlake_history::event::{Demand, FaultLoad};

pub(super) static KIND: Kind = Kind {
    name: "connector-restart",
    about: "POST /connectors/…/restart; settings: tasks = true restarts its tasks as well; after_flush = true waits until the offset of the last change is flushed",
    default_target: CONNECTOR,
    default_lasts: Duration::ZERO,
    load: Some(FaultLoad::Operations),
    shows: &[Demand::RestartLogged],
    spares_brokers: true,
    make,
};

/// A restart that the worker's log does not show by then did not happen.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Enough of the worker's log to hold a restart.
const LOG_LINES: usize = 5000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    tasks: bool,
    after_flush: bool,
}

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    if order.target != CONNECTOR {
        let message = format!("`{}` is no target for this fault", order.target);
        let remedy = format!("name `{CONNECTOR}`, or leave the target out");
        return Err(Wrong::Target(message, remedy));
    }
    let settings: Settings = order.settings()?;
    let Settings { tasks, after_flush } = settings;
    Ok(Box::new(ConnectorRestart { tasks, after_flush, since: DateTime::UNIX_EPOCH }))
}

#[derive(Debug)]
struct ConnectorRestart {
    tasks: bool,
    after_flush: bool,
    since: DateTime<Utc>,
}

impl ConnectorRestart {
    /// What the worker logs of the end and the new start of what is restarted.
    fn traces(&self) -> [String; 2] {
        if self.tasks {
            let stopped = format!("Stopping task {CONNECTOR}-0");
            return [stopped, format!("Creating task {CONNECTOR}-0")];
        }
        [format!("Stopping connector {CONNECTOR}"), format!("Creating connector {CONNECTOR}")]
    }

    /// Waits for a line of the worker's log since the act.
    async fn logged(&self, stage: &Stage, text: &str) -> Result<String, FaultError> {
        let deadline = tokio::time::Instant::now() + SEEN_WITHIN;
        loop {
            let lines = stage.testbed.log_lines(&Part::Connect, self.since, LOG_LINES).await?;
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return Ok(line.clone());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(FaultError::NotSeen {
                    what: format!("{text:?} in the log of connect"),
                    within: SEEN_WITHIN,
                    last: lines.last().cloned().unwrap_or_default(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[async_trait]
impl Fault for ConnectorRestart {
    fn needs(&self) -> &'static [Capability] {
        &[Capability::ChangeDataCapture]
    }

    fn shows(&self) -> &'static [Demand] {
        if self.tasks { &[Demand::AnotherSender] } else { &[] }
    }

    /// A connector that does not run beforehand cannot be seen to be restarted.
    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        if self.after_flush {
            capture::flushed(stage).await?;
        }
        let before = capture::streams(stage, "before").await?;
        self.since = Utc::now();
        let answered = capture::source(stage)?.restart_connector(CONNECTOR, self.tasks).await?;
        Ok(before.with("request", answered))
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        let [stopped, _] = self.traces();
        let line = self.logged(stage, &stopped).await?;
        Ok(Shown::default().with("log of connect, stopped", line))
    }

    /// The request does both.
    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let [_, started] = self.traces();
        let line = self.logged(stage, &started).await?;
        Ok(Shown::default().with("log of connect, started", line))
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        capture::streams(stage, "after").await
    }
}
