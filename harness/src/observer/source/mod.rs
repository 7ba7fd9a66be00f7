//! What can be seen of change data capture: the database's own log, read through a slot that belongs
//! to the harness alone; the connector's slot and state while the run goes on.

pub(crate) mod events;
mod journal;
mod starts;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::testbed::source::SourceAccess;
use crate::workload::source::{CONNECTOR, SLOT};
use streamlake_history::Recorder;
use streamlake_history::event::{ConnectorState, Fact, Lsn, SlotState, SourceRead};

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

/// What the connector confirms when its worker has flushed the last change that stands in the
/// database's log by now: the end of the transaction before, which is the last one that is done with
/// as a whole.
pub(crate) async fn confirmed_when_flushed(source: &SourceAccess) -> Result<Option<Lsn>, String> {
    let statement = format!(
        "SELECT lsn, data FROM pg_logical_slot_peek_changes('{OWN_SLOT}', NULL, NULL, \
         'include-timestamp', 'on')"
    );
    let mut ends = journal::parse(&source.query(&statement).await?)?;
    ends.dedup_by_key(|change| change.commit_lsn);
    Ok(ends.iter().rev().nth(1).or(ends.last()).map(|change| change.commit_lsn))
}

/// Reads the database's log to its end and records each change of the tables; and from what the
/// database itself logged of its work, each start of the connector's sender.
pub(crate) async fn read_journal(
    source: &SourceAccess,
    tables: &BTreeMap<String, String>,
    sender_log: Result<Vec<String>, String>,
    recorder: &Recorder,
) -> Result<(), String> {
    let end = source.query("SELECT pg_current_wal_insert_lsn()").await?;
    let end: String = end.into_iter().flatten().flatten().collect();
    let changes = journal(source, tables).await?;
    let count = changes.len() as u64;
    for (number, change) in (0..).zip(changes) {
        recorder.record(JOURNAL_PROCESS, Fact::SourceChange(change.fact(number, recorder)));
    }
    let starts = sender_log.map(|lines| starts::of(&lines, SLOT, recorder));
    let found = starts.as_ref().ok().map(|starts| starts.len() as u64);
    for start in starts.iter().flatten() {
        recorder.record(JOURNAL_PROCESS, Fact::CaptureStart(start.clone()));
    }
    let read = SourceRead { changes: count, end: end.parse()?, starts: found };
    recorder.record(JOURNAL_PROCESS, Fact::SourceRead(read));
    starts.map(drop)
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
    let (mut last, mut looks) = (None, Looks::new(recorder));
    loop {
        let stopping = stop.is_cancelled();
        let slot = source.slot(SLOT).await;
        looks.looked();
        if last.as_ref() != Some(&slot) || stopping {
            let fact = SlotState { unseen_us: Some(looks.told()), ..slot.clone() };
            recorder.record(SLOT_PROCESS, Fact::Slot(fact));
            last = Some(slot);
        }
        if stopping {
            return;
        }
        pause(stop).await;
    }
}

async fn watch_connector(source: &SourceAccess, recorder: &Recorder, stop: &CancellationToken) {
    let (mut last, mut looks) = (None, Looks::new(recorder));
    loop {
        let stopping = stop.is_cancelled();
        let state = source.connector(CONNECTOR).await;
        looks.looked();
        if last.as_ref() != Some(&state) || stopping {
            let fact = ConnectorState { unseen_us: Some(looks.told()), ..state.clone() };
            recorder.record(CONNECTOR_PROCESS, Fact::Connector(fact));
            last = Some(state);
        }
        if stopping {
            return;
        }
        pause(stop).await;
    }
}

/// How long nobody looked: what happened in between was not seen.
struct Looks<'a> {
    recorder: &'a Recorder,
    last_us: u64,
    longest_us: u64,
}

impl<'a> Looks<'a> {
    fn new(recorder: &'a Recorder) -> Self {
        Self { recorder, last_us: recorder.now_us(), longest_us: 0 }
    }

    fn looked(&mut self) {
        let now = self.recorder.now_us();
        self.longest_us = self.longest_us.max(now.saturating_sub(self.last_us));
        self.last_us = now;
    }

    fn told(&mut self) -> u64 {
        std::mem::take(&mut self.longest_us)
    }
}

async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(WATCH_EVERY) => {}
        () = stop.cancelled() => {}
    }
}
