//! What the faults on change data capture share: the connector and its slot, seen from outside.

use std::time::Duration;

use crate::fault::{FaultError, Order, Shown, Stage, Wrong};
use crate::observer;
use crate::testbed::Part;
use crate::testbed::source::SourceAccess;
use crate::workload::source::{CONNECTOR, SLOT};
use streamlake_history::event::{ConnectorState, SlotState, TargetSeen};

/// A capture that does not stream again after this time is not coming back.
pub(super) const BACK_WITHIN: Duration = Duration::from_secs(90);

/// With Kafka Connect's default, 60 s pass between two flushes.
const FLUSHED_WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The way to the database and the worker.
pub(super) fn source(stage: &Stage) -> Result<SourceAccess, FaultError> {
    stage.testbed.source().ok_or_else(|| FaultError::NoTarget("captured database".to_owned()))
}

/// Connector and slot as they are now.
pub(super) async fn look(stage: &Stage, when: &str) -> Result<Shown, FaultError> {
    let source = source(stage)?;
    Ok(named(when, &source.connector(CONNECTOR).await, &source.slot(SLOT).await))
}

/// Waits until the connector runs and the database sends its log to it.
pub(super) async fn streams(stage: &Stage, when: &str) -> Result<Shown, FaultError> {
    let awaited = source(stage)?.await_capture(CONNECTOR, SLOT, BACK_WITHIN).await;
    let (connector, slot) = awaited.map_err(|last| FaultError::NotSeen {
        what: format!("{CONNECTOR} streaming"),
        within: BACK_WITHIN,
        last,
    })?;
    Ok(named(when, &connector, &slot))
}

/// Waits until the connector has confirmed to the database what it does when its worker has flushed the
/// offset of the last change that is there by now: only then is there one to resume from.
pub(super) async fn flushed(stage: &Stage) -> Result<(), FaultError> {
    let source = source(stage)?;
    let not_seen = |last: String| FaultError::NotSeen {
        what: format!("the flushed offset of the last change of {CONNECTOR}"),
        within: FLUSHED_WITHIN,
        last,
    };
    let last = observer::source::confirmed_when_flushed(&source).await.map_err(not_seen)?;
    let deadline = tokio::time::Instant::now() + FLUSHED_WITHIN;
    loop {
        let slot = source.slot(SLOT).await;
        if slot.confirmed >= last {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(not_seen(format!("{slot:?}, it would confirm {last:?}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The target must be the one part that the fault knows.
pub(super) fn only(order: &Order, part: &Part) -> Result<(), Wrong> {
    if order.target == part.to_string() {
        return Ok(());
    }
    Err(Wrong::Target(
        format!("`{}` is no target for this fault", order.target),
        format!("name `{part}`, or leave the target out"),
    ))
}

fn named(when: &str, connector: &ConnectorState, slot: &SlotState) -> Shown {
    let sender = slot.active_pid.map_or_else(|| "none".to_owned(), |pid| pid.to_string());
    let confirmed = slot.confirmed.map_or_else(|| "unknown".to_owned(), |lsn| lsn.to_string());
    let mut seen = vec![("connector", connector.to_string()), ("slot active_pid", sender)];
    seen.push(("slot confirmed_flush_lsn", confirmed));
    seen.extend(slot.absent.clone().map(|reason| ("slot absent", reason)));
    let words = seen.into_iter().map(|(name, value)| (format!("{name} {when}"), value));
    let sender = slot.active_pid;
    let target = TargetSeen { sender, ..TargetSeen::default() };
    Shown { words: words.collect(), target: Some(target), patient: None }
}
