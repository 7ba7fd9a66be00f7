//! The source database is stopped in an orderly way and started again with its data. The capture
//! loses its connection and has to find its way back by itself.

use std::time::Duration;

use async_trait::async_trait;

use crate::fault::broker::Broker;
use crate::fault::{
    Evidence, Fault, FaultError, Kind, NoSettings, Order, Stage, Wrong, capture, merge,
};
use crate::testbed::{Act, Capability, Part};

pub(super) static KIND: Kind = Kind {
    name: "database-restart",
    about: "SIGTERM or the image's own stop signal to the source database, then a new start",
    default_target: "database",
    default_lasts: Duration::ZERO,
    needs_load: true,
    make,
};

/// Time for an orderly stop: the database lets its senders bring their log to the end first.
const GRACE: Duration = Duration::from_secs(30);

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    capture::only(&order, &Part::Database)?;
    let NoSettings {} = order.settings()?;
    Ok(Box::new(DatabaseRestart(Broker::of(Part::Database))))
}

#[derive(Debug)]
struct DatabaseRestart(Broker);

#[async_trait]
impl Fault for DatabaseRestart {
    fn needs(&self) -> &'static [Capability] {
        &[Capability::ChangeDataCapture]
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let before = capture::look(stage, "before").await?;
        Ok(merge(before, self.0.strike(stage, Act::Stop { grace: GRACE }).await?))
    }

    async fn seen(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        self.0.fell_silent(stage).await
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        self.0.act(stage, Act::Start).await
    }

    /// The database alone: how long the capture takes from here on is its recovery.
    async fn back(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let after = self.0.was_started_anew(stage).await?;
        Ok(merge(after, capture::look(stage, "after").await?))
    }
}
