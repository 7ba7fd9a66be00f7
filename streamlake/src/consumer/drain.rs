//! The way out: stop fetching, store what was read, commit it, leave the group.

use super::context::Context;
use super::core::Rest;
use super::poll_loop::PollLoop;
use crate::crash::{self, Point};
use crate::error::Result;
use rdkafka::consumer::BaseConsumer;
use serde_json::json;
use std::time::{Duration, Instant};

/// The part of the deadline kept for metadata and for leaving the group.
fn reserve(deadline: Duration) -> Duration {
    (deadline / 4).min(Duration::from_secs(3))
}

impl PollLoop {
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
        crash::at(Point::DrainBegins);
        let started = Instant::now();
        let total = self.settings.shutdown_deadline;
        let until = started + total.saturating_sub(reserve(total));
        let held_bytes = self.core.held_bytes();
        tracing::info!(held_bytes, "stopping");
        self.events.emit("stopping", json!({
            "held_bytes": held_bytes, "uploads": self.core.uploads(), "deadline_ms": total.as_millis() as u64,
        }));
        self.core.stop(until, store_the_rest);
        crash::at(Point::DrainSealed);
        self.perform_all(consumer, started);
        loop {
            let now = Instant::now();
            if let Err(err) = self.turn_while_draining(consumer, now) {
                tracing::error!(error = %err, "while draining");
                return false;
            }
            if let Some(drained) = self.core.drained(now) {
                if now >= until && !drained {
                    let Rest { open_units, uncommitted } = self.core.rest();
                    tracing::warn!(
                        open_units,
                        uncommitted,
                        "the deadline is near; what is not committed will be read again"
                    );
                }
                return drained;
            }
            self.wake.wait(Duration::from_millis(20).min(until.saturating_duration_since(now)));
        }
    }
}
