//! What can be seen of change data capture: the database's own log, read through a slot that belongs
//! to the harness alone; the connector's slot and state while the run goes on.

pub(crate) mod events;
mod journal;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::history::Recorder;
use crate::history::event::{Fact, Lsn, SourceRead};
use crate::testbed::source::SourceAccess;
use crate::workload::source::{CONNECTOR, SLOT};

/// The slot by which the harness keeps the database's log and reads it.
const OWN_SLOT: &str = "streamlake_harness";
const SLOT_PROCESS: &str = "slot-watch";
const CONNECTOR_PROCESS: &str = "connector-watch";
const JOURNAL_PROCESS: &str = "source-reader";
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// Has the database keep its log for the harness from now on.
pub(crate) async fn keep_journal(source: &SourceAccess) -> Result<(), String> {
    let statement =
        format!("SELECT pg_create_logical_replication_slot('{OWN_SLOT}', 'test_decoding')");
    source.query(&statement).await.map(drop)
}

/// Position of the last change of the tables in the database's log.
pub(crate) async fn last_change(
    source: &SourceAccess,
    tables: &BTreeMap<String, String>,
) -> Result<Option<Lsn>, String> {
    Ok(journal(source, tables).await?.last().map(|change| change.lsn))
}

/// Reads the database's log to its end and records each change of the tables.
pub(crate) async fn read_journal(
    source: &SourceAccess,
    tables: &BTreeMap<String, String>,
    recorder: &Recorder,
) -> Result<(), String> {
    let end = source.query("SELECT pg_current_wal_insert_lsn()").await?;
    let end: String = end.into_iter().flatten().flatten().collect();
    let changes = journal(source, tables).await?;
    let count = changes.len() as u64;
    for (number, change) in (0..).zip(changes) {
        recorder.record(JOURNAL_PROCESS, Fact::SourceChange(change.fact(number, recorder)));
    }
    let read = SourceRead { changes: count, end: end.parse()? };
    recorder.record(JOURNAL_PROCESS, Fact::SourceRead(read));
    Ok(())
}

async fn journal(
    source: &SourceAccess,
    tables: &BTreeMap<String, String>,
) -> Result<Vec<journal::Change>, String> {
    // Peeking leaves the log where it is, so it can be read again.
    let statement = format!(
        "SELECT lsn, data FROM pg_logical_slot_peek_changes('{OWN_SLOT}', NULL, NULL, \
         'include-timestamp', 'on')"
    );
    let rows = source.query(&statement).await?;
    let mut changes = journal::parse(&rows)?;
    changes.retain(|change| tables.contains_key(&change.table));
    Ok(changes)
}

/// Records the states of slot and connector, when they change, until `stop` is cancelled, and once
/// more then.
pub(crate) async fn watch(source: SourceAccess, recorder: Recorder, stop: CancellationToken) {
    tokio::join!(watch_slot(&source, &recorder, &stop), watch_connector(&source, &recorder, &stop));
}

async fn watch_slot(source: &SourceAccess, recorder: &Recorder, stop: &CancellationToken) {
    let mut last = None;
    loop {
        let stopping = stop.is_cancelled();
        let slot = source.slot(SLOT).await;
        if last.as_ref() != Some(&slot) || stopping {
            recorder.record(SLOT_PROCESS, Fact::Slot(slot.clone()));
            last = Some(slot);
        }
        if stopping {
            return;
        }
        pause(stop).await;
    }
}

async fn watch_connector(source: &SourceAccess, recorder: &Recorder, stop: &CancellationToken) {
    let mut last = None;
    loop {
        let stopping = stop.is_cancelled();
        let state = source.connector(CONNECTOR).await;
        if last.as_ref() != Some(&state) || stopping {
            recorder.record(CONNECTOR_PROCESS, Fact::Connector(state.clone()));
            last = Some(state);
        }
        if stopping {
            return;
        }
        pause(stop).await;
    }
}

async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(WATCH_EVERY) => {}
        () = stop.cancelled() => {}
    }
}
