//! How a source database and the worker that captures its changes are reached, and the few things
//! that are asked of them: statements, the slot, a connector's state, its restart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::TestbedError;
use super::docker::{DatabaseConnection, Rows};
use streamlake_history::event::{ConnectorState, SlotState, TaskState};

/// One question to the database or the worker.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A restart is answered once the worker has carried it out, behind a rebalance at times.
const RESTART_WITHIN: Duration = Duration::from_secs(60);
/// Space between two questions while a state is awaited.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How to reach the source database and the worker.
#[derive(Debug, Clone)]
pub struct SourceAccess {
    /// The database, for the workload.
    pub database: SocketAddr,
    /// The database for the harness's own look at it, past the links that faults cut.
    pub observer_database: SocketAddr,
    /// The worker's REST interface, past the same.
    pub connect_url: String,
    /// Properties by which a connector reaches the database.
    pub connector_properties: BTreeMap<String, String>,
}

impl SourceAccess {
    /// Runs statements on a new connection past all links.
    ///
    /// # Errors
    /// Why there is no answer, or the database's own message.
    pub async fn query(&self, statements: &str) -> Result<Rows, String> {
        let mut connection =
            DatabaseConnection::open(self.observer_database, ANSWER_WITHIN).await?;
        connection.run(statements).await
    }

    /// What the database shows of a replication slot.
    pub async fn slot(&self, slot: &str) -> SlotState {
        let statement = format!(
            "SELECT active_pid, confirmed_flush_lsn FROM pg_replication_slots \
             WHERE slot_name = '{slot}'"
        );
        let mut state = SlotState {
            slot: slot.to_owned(),
            absent: None,
            active_pid: None,
            confirmed: None,
            unseen_us: None,
        };
        match self.query(&statement).await {
            Ok(rows) => match rows.into_iter().next() {
                Some(row) => {
                    let mut columns = row.into_iter();
                    let mut next = || columns.next().flatten();
                    state.active_pid = next().and_then(|pid| pid.parse().ok());
                    state.confirmed = next().and_then(|lsn| lsn.parse().ok());
                }
                None => state.absent = Some(SlotState::GONE.to_owned()),
            },
            Err(reason) => state.absent = Some(reason),
        }
        state
    }

    /// What the worker shows of a connector.
    pub async fn connector(&self, connector: &str) -> ConnectorState {
        match self.status(connector).await {
            Ok(status) => status.state(connector),
            // Not the reason: it differs from one attempt to the next, and only changes are recorded.
            Err(_) => ConnectorState {
                connector: connector.to_owned(),
                state: "unreachable".to_owned(),
                worker: String::new(),
                tasks: Vec::new(),
                unseen_us: None,
            },
        }
    }

    async fn status(&self, connector: &str) -> Result<Status, reqwest::Error> {
        let url = format!("{}/connectors/{connector}/status", self.connect_url);
        let answer = client()?.get(url).timeout(ANSWER_WITHIN).send().await?;
        answer.error_for_status()?.json().await
    }

    /// Creates a connector.
    ///
    /// # Errors
    /// When the worker does not answer, or refuses.
    pub async fn create_connector(
        &self,
        connector: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), TestbedError> {
        let what = || format!("create the connector {connector}");
        let body = json!({ "name": connector, "config": properties });
        let request = client().map(|http| {
            let url = format!("{}/connectors", self.connect_url);
            http.post(url).json(&body).timeout(RESTART_WITHIN).send()
        });
        let answer = match request {
            Ok(request) => request.await,
            Err(error) => Err(error),
        }
        .map_err(|error| TestbedError::request(what(), error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.text().await.unwrap_or_default();
        Err(TestbedError::request(what(), format!("{status}: {text}")))
    }

    /// `POST /connectors/{connector}/restart`, and with `tasks` its tasks as well. Returns the
    /// request with the status that it was answered with.
    ///
    /// # Errors
    /// When the worker does not answer, or refuses.
    pub async fn restart_connector(
        &self,
        connector: &str,
        tasks: bool,
    ) -> Result<String, TestbedError> {
        let query = if tasks { "?includeTasks=true" } else { "" };
        let path = format!("/connectors/{connector}/restart{query}");
        let failed = |error: reqwest::Error| TestbedError::request(format!("POST {path}"), error);
        let url = format!("{}{path}", self.connect_url);
        let http = client().map_err(failed)?;
        let answer = http.post(url).timeout(RESTART_WITHIN).send().await.map_err(failed)?;
        let answer = answer.error_for_status().map_err(failed)?;
        Ok(format!("POST {path}: {}", answer.status()))
    }

    /// The configuration that the worker holds for a connector, without the password.
    ///
    /// # Errors
    /// Why it could not be read.
    pub async fn connector_configuration(
        &self,
        connector: &str,
    ) -> Result<BTreeMap<String, String>, String> {
        let url = format!("{}/connectors/{connector}/config", self.connect_url);
        let read = async {
            let answer = client()?.get(url).timeout(ANSWER_WITHIN).send().await?;
            answer.error_for_status()?.json::<BTreeMap<String, Value>>().await
        };
        let mut read = read.await.map_err(|error| error.to_string())?;
        read.remove("database.password");
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(read.into_iter().map(|(name, value)| (name, text(value))).collect())
    }

    /// Waits until the connector and its tasks run and the database sends its log to the slot.
    ///
    /// # Errors
    /// What was there instead at the end of the time.
    pub async fn await_capture(
        &self,
        connector: &str,
        slot: &str,
        within: Duration,
    ) -> Result<(ConnectorState, SlotState), String> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let (state, slot) = (self.connector(connector).await, self.slot(slot).await);
            if state.runs() && slot.active_pid.is_some() {
                return Ok((state, slot));
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(format!("{state}; slot {slot:?}"));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().no_proxy().build()
}

#[derive(Deserialize)]
struct Status {
    connector: Part,
    #[serde(default)]
    tasks: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    id: u32,
    state: String,
    worker_id: String,
    trace: Option<String>,
}

impl Status {
    fn state(self, connector: &str) -> ConnectorState {
        let task = |part: Part| TaskState {
            task: part.id,
            state: part.state,
            worker: part.worker_id,
            trace: part.trace.and_then(|trace| trace.lines().next().map(str::to_owned)),
        };
        ConnectorState {
            connector: connector.to_owned(),
            state: self.connector.state,
            worker: self.connector.worker_id,
            tasks: self.tasks.into_iter().map(task).collect(),
            unseen_us: None,
        }
    }
}
