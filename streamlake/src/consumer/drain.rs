//! The way out: stop fetching, store what was read, commit it, leave the group.

use super::context::Context;
use super::poll_loop::PollLoop;
use crate::error::Result;
use crate::planted::{self, Bug};
use rdkafka::consumer::BaseConsumer;
use serde_json::json;
use std::time::{Duration, Instant};

/// The part of the deadline kept for metadata and for leaving the group.
fn reserve(deadline: Duration) -> Duration {
    (deadline / 4).min(Duration::from_secs(3))
}

impl PollLoop {
    /// The planted bugs of an orderly stop.
    fn stop_badly(&mut self) {
        let numbers: Vec<i32> = self.assigned_partitions().map(|(number, _)| number).collect();
        for number in &numbers {
            let is_last = Some(number) == numbers.last();
            if planted::is(Bug::TailForgotten) || is_last && planted::is(Bug::TailOfOnePartition) {
                self.forget_tail(*number);
            }
            if let Some(state) = self.partition(*number)
                && planted::acts_if(
                    Bug::CommitForgottenAtStop,
                    state.to_commit().is_some() || state.frontier.open_units() > 0,
                )
            {
                state.committed = Some(i64::MAX);
            }
        }
    }

    /// Drops what is open of a partition and counts it as stored, for the planted bugs that do so.
    pub(super) fn forget_tail(&mut self, number: i32) {
        let Some(state) = self.partition(number) else { return };
        let open: Vec<_> = state.open.drain(..).collect();
        for (_, part) in open {
            planted::announce();
            self.held_bytes -= part.bytes();
            if let Some(state) = self.partition(number) {
                state.frontier.finish(part.span().first_offset);
            }
        }
    }

    /// Records that still come stay in their queue; whoever has the partition next reads them.
    fn turn_while_draining(
        &mut self,
        consumer: &BaseConsumer<Context>,
        now: Instant,
    ) -> Result<()> {
        self.poll_client(consumer, now)?;
        self.serve(consumer, now)
    }

    /// Drains within the deadline; says whether everything that was read is stored and committed.
    /// After a failure that is hopeless only what is durable already is committed.
    pub(super) fn drain(&mut self, consumer: &BaseConsumer<Context>, store_the_rest: bool) -> bool {
        let started = Instant::now();
        let total = self.settings.shutdown_deadline;
        let until = started + total.saturating_sub(reserve(total));
        self.stopping = true;
        tracing::info!(held_bytes = self.held_bytes, "stopping");
        self.events.emit("stopping", json!({
            "held_bytes": self.held_bytes, "uploads": self.uploads, "deadline_ms": total.as_millis() as u64,
        }));
        self.set_paused(consumer, true);
        if store_the_rest {
            self.stop_badly();
            self.seal_all();
        }
        loop {
            let now = Instant::now();
            if let Err(err) = self.turn_while_draining(consumer, now) {
                tracing::error!(error = %err, "while draining");
                return false;
            }
            let open = self
                .assigned_partitions()
                .map(|(_, state)| state.frontier.open_units())
                .sum::<usize>();
            let uncommitted =
                self.assigned_partitions().any(|(_, state)| state.to_commit().is_some());
            let has_rest = open > 0 && store_the_rest;
            if !has_rest && !uncommitted && self.revocation.is_none() {
                return open == 0;
            }
            if now >= until {
                tracing::warn!(
                    open_units = open,
                    uncommitted,
                    "the deadline is near; what is not committed will be read again"
                );
                return false;
            }
            self.wake.wait(Duration::from_millis(20).min(until.saturating_duration_since(now)));
        }
    }
}
