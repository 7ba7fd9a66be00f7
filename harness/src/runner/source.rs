//! The phases of a run whose records come from a source database. The names are those of every run:
//! load (with the faults) → heal → recover → final read.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use tokio::time::Instant;

use super::{FINAL_READ_WITHIN, LAG_WITHIN, Run, RunError, deadline, raw_topics};
use crate::fault::Stage;
use crate::observer::log::{HeaderDetail, Role, read};
use crate::observer::source::events::Ends;
use crate::observer::{self, Topics};
use crate::plan::{FaultPlan, Plan};
use crate::testbed::source::SourceAccess;
use crate::testbed::{Part, TestbedError};
use crate::workload::source::{CONNECTOR, OFFSETS_TOPIC, SLOT, SourcePlan, driver};
use crate::{nemesis, workload};
use streamlake_history::event::Fact;

/// A connector that does not stream after this time never will.
const CAPTURE_WITHIN: Duration = Duration::from_secs(60);
/// More lines than the database logs in any run.
const LOG_LINES: usize = 1_000_000;
/// Space between two looks at the end of the topic.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Run {
    pub(super) async fn source_phases(
        &self,
        plan: &Plan,
        load: &SourcePlan,
        faults: Vec<FaultPlan>,
        stage: &Stage,
    ) -> Result<(), RunError> {
        let source = self.context.testbed.source().ok_or_else(|| TestbedError::Unsupported {
            part: "the testbed".to_owned(),
            act: "capture a database's changes".to_owned(),
            testbed: self.context.testbed.kind(),
        })?;
        self.phase("prepare");
        self.prepare(load, &source).await?;
        self.phase("load");
        self.change_rows(plan, load, &source, faults, stage).await?;
        self.phase("recover");
        if let Err(reason) = self.captured(plan, &source).await {
            self.warning(format!("the capture did not come to the end of the log: {reason}"));
        }
        self.interrupted()?;
        self.phase("final-read");
        self.read_source(plan, &source).await?;
        self.phase("done");
        Ok(())
    }

    /// Table, the harness's own hold on the database's log, connector; then the capture streams.
    async fn prepare(&self, load: &SourcePlan, source: &SourceAccess) -> Result<(), RunError> {
        let failed = |what: &'static str| move |reason| TestbedError::request(what, reason);
        let create = load.create_table();
        source.query(&create).await.map_err(failed("create the table under test"))?;
        let kept = observer::source::keep_journal(source).await;
        kept.map_err(failed("have the database keep its log"))?;
        let fed = driver::feed_before(load, source.database, &self.recorder).await;
        fed.map_err(failed("change rows before there is a connector"))?;
        let mut properties = source.connector_properties.clone();
        properties.extend(load.connector());
        source.create_connector(CONNECTOR, &properties).await?;
        let streams = source.await_capture(CONNECTOR, SLOT, CAPTURE_WITHIN).await;
        streams.map_err(failed("wait for the connector to stream"))?;
        match source.connector_configuration(CONNECTOR).await {
            Ok(properties) => {
                let of = format!("connector {CONNECTOR}");
                let fact = Fact::Configuration { of, properties, process: None };
                self.recorder.record("configuration-reader", fact);
            }
            Err(reason) => self.warning(format!("the connector's configuration: {reason}")),
        }
        Ok(())
    }

    async fn change_rows(
        &self,
        plan: &Plan,
        load: &SourcePlan,
        source: &SourceAccess,
        faults: Vec<FaultPlan>,
        stage: &Stage,
    ) -> Result<(), RunError> {
        let (recorder, progress, stop) =
            (&self.recorder, &self.context.progress, &self.context.stop);
        let load_over = stop.child_token();
        let within = plan.load_within();
        let feed = async {
            let fed =
                workload::source::driver::feed(load, source.database, recorder, progress, stop);
            // A load that is held for its faults waits for them, which have their own deadlines.
            if let Err(reason) = deadline::within("the load", 2 * within, fed).await {
                self.error(format!("{}: {reason}", driver::PROCESS));
                load_over.cancel();
            }
            self.phase("heal");
        };
        tokio::join!(feed, nemesis::walk(faults, stage, recorder, progress, within, &load_over));
        self.interrupted()
    }

    /// Waits until the last change of the database's log is in its topic, or the promised time is
    /// over.
    async fn captured(&self, plan: &Plan, source: &SourceAccess) -> Result<(), String> {
        let tables = plan.promises.source.as_ref().map(|s| s.tables.clone()).unwrap_or_default();
        let deadline = Instant::now() + plan.recovery_within;
        let brokers = self.context.testbed.observer_brokers();
        let tombstones = plan.promises.source.as_ref().is_some_and(|s| !s.no_tombstones);
        let ends = Ends::of(&brokers, raw_topics(plan), tombstones);
        let ends = ends.map_err(|error| error.to_string())?;
        let ends = Arc::new(ends);
        loop {
            let wanted = observer::source::last_change(source, &tables).await;
            let look = ends.clone();
            let last = deadline::blocking("reading the topic's end", LAG_WITHIN, move || {
                look.last_captured()
            });
            let last = last.await;
            match (&wanted, &last) {
                (Ok(wanted), Ok(last)) if last >= wanted => return Ok(()),
                _ if Instant::now() >= deadline => {
                    return Err(format!("captured up to {last:?}, the log ends at {wanted:?}"));
                }
                _ if self.context.stop.is_cancelled() => return Ok(()),
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn read_source(&self, plan: &Plan, source: &SourceAccess) -> Result<(), RunError> {
        let tables = plan.promises.source.as_ref().map(|s| s.tables.clone()).unwrap_or_default();
        let lines =
            self.context.testbed.log_lines(&Part::Database, DateTime::UNIX_EPOCH, LOG_LINES);
        let lines = lines.await.map_err(|error| error.to_string());
        let journal = observer::source::read_journal(source, &tables, lines, &self.recorder).await;
        if let Err(reason) = journal {
            self.error(format!("the final read of the database's log failed: {reason}"));
        }
        let brokers = self.context.testbed.observer_brokers();
        let (topics, recorder) = (raw_topics(plan), self.recorder.clone());
        let offsets = Topics::from([(OFFSETS_TOPIC.to_owned(), 1)]);
        let detail = HeaderDetail::of(&plan.promises);
        let reading = deadline::blocking("reading the topics", 3 * FINAL_READ_WITHIN, move || {
            read(&brokers, &topics, Role::ChangeEvents, &detail, &recorder, FINAL_READ_WITHIN)?;
            read(&brokers, &offsets, Role::ConnectOffsets, &detail, &recorder, FINAL_READ_WITHIN)
        });
        if let Err(error) = reading.await {
            self.error(format!("the final read of the topics failed: {error}"));
        }
        self.interrupted()
    }
}
