//! A tombstone after each delete, and only then: compaction removes the row's events because of it,
//! so one that is missing leaves a dead row for ever, and one too many removes a living row.

use super::Context;
use super::tell::of_events;
use crate::case::{Case, count};
use streamlake_history::event::{ChangeEvent, RowOperation};

pub(super) fn judge(context: &Context<'_>, case: &mut Case<'_>) {
    let (mut missing, mut undecided, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for events in context.captured.partitions() {
        for (at, event) in events.iter().enumerate() {
            let beside = |at: Option<usize>| at.and_then(|at| events.get(at)).copied();
            match event.operation {
                RowOperation::Tombstone if event.problem.is_none() => {
                    let before = beside(at.checked_sub(1));
                    if !before.is_some_and(|e| is(e, RowOperation::Delete, event)) {
                        alone.push(*event);
                    }
                }
                RowOperation::Delete if !context.promise.no_tombstones => {
                    let next = beside(Some(at + 1));
                    if next.is_some_and(|e| is(e, RowOperation::Tombstone, event)) {
                        continue;
                    }
                    let again =
                        |e: &&ChangeEvent| is(e, RowOperation::Delete, event) && e.lsn == event.lsn;
                    // The capture was interrupted between the two; both came again.
                    if events[at + 1..].iter().copied().any(|e| again(&e)) {
                        continue;
                    }
                    if next.is_some() || passed(context, event) {
                        missing.push(*event);
                    } else {
                        undecided.push(*event);
                    }
                }
                _ => {}
            }
        }
    }
    if !missing.is_empty() {
        let events = count(missing.len() as u64, "delete");
        let text = format!("{events} without a tombstone of the row directly after it");
        case.find(of_events("tombstone-missing", text, &missing));
    }
    if !alone.is_empty() {
        let events = count(alone.len() as u64, "tombstone");
        let text = format!("{events} of a row without its delete directly before it");
        case.find(of_events("tombstone-without-delete", text, &alone));
    }
    if !undecided.is_empty() {
        let events = count(undecided.len() as u64, "delete");
        case.doubt(format!(
            "{events} at the end of a partition without a tombstone: it may still have been on its way"
        ));
    }
}

fn is(event: &ChangeEvent, operation: RowOperation, like: &ChangeEvent) -> bool {
    event.problem.is_none() && event.operation == operation && event.key == like.key
}

/// The worker noted a later change as done: everything before it had been taken by the broker.
fn passed(context: &Context<'_>, event: &ChangeEvent) -> bool {
    context.flushes.iter().any(|flush| flush.lsn > event.lsn && event.lsn.is_some())
}
