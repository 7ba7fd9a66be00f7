//! Drives the source database: transactions at their instants, their outcomes recorded.
//!
//! The database may go away in the middle. A transaction whose commit was not answered is neither
//! given up nor repeated blindly: the database is asked for its fate by its id once it answers again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{SourcePlan, Transaction};
use crate::progress::Progress;
use crate::testbed::docker::DatabaseConnection;
use streamlake_history::Recorder;
use streamlake_history::event::{Fact, SourceTransaction, TransactionOutcome};

/// Process name of these facts in a history, and of the progress of the load.
pub(crate) const PROCESS: &str = "source-1";
/// A statement that has no answer by then never gets one: the link is dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A database that is away for longer is not coming back.
const BACK_WITHIN: Duration = Duration::from_secs(90);
/// Space between two attempts to connect.
const CONNECT_EVERY: Duration = Duration::from_millis(50);

/// Commits the transactions of a plan that come before its connector. They have no instants, and the
/// instants of the others are counted from the last of them.
///
/// # Errors
/// When the database stays away, or a fate cannot be learned.
pub(crate) async fn feed_before(
    plan: &SourcePlan,
    database: SocketAddr,
    recorder: &Recorder,
) -> Result<(), String> {
    let mut driver = Driver { plan, database, recorder, connection: None, number: 0 };
    let before = usize::try_from(plan.before_connector).unwrap_or(usize::MAX);
    for transaction in plan.transactions().take(before) {
        driver.carry_out(&transaction).await?;
    }
    Ok(())
}

/// Commits the transactions of a plan, those aside that come before its connector.
///
/// # Errors
/// When the database stays away, or a fate cannot be learned.
pub(crate) async fn feed(
    plan: &SourcePlan,
    database: SocketAddr,
    recorder: &Recorder,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<(), String> {
    // A transaction that comes before the connector may be attempted twice: rolled back, then committed.
    let number = 2 * plan.before_connector;
    let mut driver = Driver { plan, database, recorder, connection: None, number };
    let before = usize::try_from(plan.before_connector).unwrap_or(usize::MAX);
    let carry_out = async {
        let begin = Instant::now();
        for (done, transaction) in (0..).zip(plan.transactions()).skip(before) {
            let due = plan.holds.iter().filter(|&&hold| hold <= done).count() as u64;
            let _ = progress.watch().wait_for(|counts| counts.windows_closed >= due).await;
            let due = transaction.due.saturating_sub(plan.due_before());
            tokio::time::sleep_until(begin + due).await;
            progress.invoked(done + 1);
            driver.carry_out(&transaction).await?;
            progress.acknowledged();
            progress.completed();
            progress.committed(PROCESS, &plan.table, 0, done + 1);
        }
        Ok(())
    };
    tokio::select! {
        outcome = carry_out => outcome,
        () = stop.cancelled() => Ok(()),
    }
}

struct Driver<'a> {
    plan: &'a SourcePlan,
    database: SocketAddr,
    recorder: &'a Recorder,
    connection: Option<DatabaseConnection>,
    number: u64,
}

/// What became of one attempt.
struct Attempt {
    transaction: Option<u64>,
    outcome: TransactionOutcome,
    detail: Option<String>,
}

impl Driver<'_> {
    /// Attempts a transaction until it is committed.
    async fn carry_out(&mut self, transaction: &Transaction) -> Result<(), String> {
        if transaction.roll_back_first {
            self.attempt(transaction, "ROLLBACK").await?;
        }
        while self.attempt(transaction, "COMMIT").await? != TransactionOutcome::Committed {}
        Ok(())
    }

    async fn attempt(
        &mut self,
        transaction: &Transaction,
        end: &str,
    ) -> Result<TransactionOutcome, String> {
        let mut connection = self.connected().await?;
        let begun_us = self.recorder.now_us();
        let attempt = match self.begin(&mut connection, transaction).await {
            Ok(id) => match connection.run(end).await {
                Ok(_) => {
                    self.connection = Some(connection);
                    let outcome = match end {
                        "COMMIT" => TransactionOutcome::Committed,
                        _ => TransactionOutcome::RolledBack,
                    };
                    Attempt { transaction: Some(id), outcome, detail: None }
                }
                Err(reason) => self.fate(id, &reason).await?,
            },
            // COMMIT was never sent: the database undoes it.
            Err(reason) => Attempt {
                transaction: None,
                outcome: TransactionOutcome::RolledBack,
                detail: Some(reason),
            },
        };
        let fact = SourceTransaction {
            number: self.number,
            transaction: attempt.transaction,
            begun_us,
            changes: transaction.rows.iter().map(super::Row::changes).sum(),
            outcome: attempt.outcome,
            detail: attempt.detail,
        };
        self.number += 1;
        self.recorder.record(PROCESS, Fact::SourceTransaction(fact));
        Ok(attempt.outcome)
    }

    /// Carries the rows out and learns the transaction's id, so that its fate can be asked for.
    async fn begin(
        &self,
        connection: &mut DatabaseConnection,
        transaction: &Transaction,
    ) -> Result<u64, String> {
        let rows: Vec<String> =
            transaction.rows.iter().map(|row| self.plan.statement(row)).collect();
        let statements = format!("BEGIN; {}; SELECT pg_current_xact_id()", rows.join("; "));
        let answer = connection.run(&statements).await?;
        let id = answer.into_iter().flatten().flatten().next_back();
        id.and_then(|id| id.parse().ok()).ok_or_else(|| "no transaction id".to_owned())
    }

    /// Asks the database what became of a transaction whose end was not answered.
    async fn fate(&mut self, id: u64, reason: &str) -> Result<Attempt, String> {
        let deadline = Instant::now() + BACK_WITHIN;
        while Instant::now() < deadline {
            let mut connection = self.connected().await?;
            let answer = connection.run(&format!("SELECT pg_xact_status('{id}'::xid8)")).await;
            let status: String =
                answer.unwrap_or_default().into_iter().flatten().flatten().collect();
            let outcome = match status.as_str() {
                "committed" => TransactionOutcome::Committed,
                "aborted" => TransactionOutcome::RolledBack,
                // In progress: the old connection is still being cleared away.
                _ => {
                    tokio::time::sleep(CONNECT_EVERY).await;
                    continue;
                }
            };
            self.connection = Some(connection);
            let detail = Some(format!("not answered ({reason}); asked for later: {status}"));
            return Ok(Attempt { transaction: Some(id), outcome, detail });
        }
        Err(format!("nobody can say what became of transaction {id}: {reason}"))
    }

    async fn connected(&mut self) -> Result<DatabaseConnection, String> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let deadline = Instant::now() + BACK_WITHIN;
        loop {
            match DatabaseConnection::open(self.database, ANSWER_WITHIN).await {
                Ok(connection) => return Ok(connection),
                Err(reason) if Instant::now() >= deadline => {
                    return Err(format!("the database stayed away for {BACK_WITHIN:?}: {reason}"));
                }
                Err(_) => tokio::time::sleep(CONNECT_EVERY).await,
            }
        }
    }
}
