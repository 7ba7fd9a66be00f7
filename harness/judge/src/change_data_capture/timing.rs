//! No event before its commit: what nobody has committed yet must not be known to any reader.
//!
//! The broker's time of appending is held against the database's time of the commit, within what was
//! measured of both clocks. An event that is early by less than that is not seen.

use super::Context;
use super::tell::{of_told_events, one_or_many};
use crate::case::{Case, count, seconds};

pub(super) fn judge(context: &Context<'_>, case: &mut Case<'_>) {
    let (mut early, mut doubtful, mut unstamped) = (Vec::new(), 0, 0);
    let pairs = context.captured.changes.iter().zip(&context.captured.seen);
    for (change, event) in pairs.flat_map(|(change, seen)| seen.iter().map(move |e| (change, e))) {
        let appended = context.clocks.appended(event.at_us);
        let committed = context.clocks.database(change.committed_us);
        unstamped += u64::from(event.producer_time);
        let early_as_stamped =
            event.at_us.saturating_add(super::clocks::TICK_US.unsigned_abs()) < change.committed_us;
        if appended.is_before(committed) && context.clocks.measured() && !event.producer_time {
            let words = format!(
                "; committed at {}, {} later, and the clocks allow for less",
                seconds(change.committed_us),
                seconds(change.committed_us.saturating_sub(event.at_us))
            );
            early.push((*event, words));
        } else if early_as_stamped && (!context.clocks.measured() || event.producer_time) {
            doubtful += 1;
        }
    }
    if !early.is_empty() {
        let text = format!(
            "{} stood in the topic before the database had committed the change",
            count(early.len() as u64, "event")
        );
        case.find(of_told_events("event-before-commit", text, &early));
    }
    if doubtful > 0 {
        case.doubt(format!(
            "{} stamped before the commit of the change, and the clocks of broker and database were \
             not measured",
            one_or_many(doubtful, "event is", "events are")
        ));
    }
    if unstamped > 0 {
        case.doubt(format!(
            "{} stamped by the producer: nothing shows when the broker appended {}",
            one_or_many(unstamped, "event is", "events are"),
            if unstamped == 1 { "it" } else { "them" }
        ));
    }
}
