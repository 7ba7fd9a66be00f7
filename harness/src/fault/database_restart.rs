//! The source database is stopped in an orderly way and started again with its data. The capture
//! loses its connection and has to find its way back by itself.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::fault::broker::Broker;
use crate::fault::{Fault, FaultError, Kind, NoSettings, Order, Shown, Stage, Wrong, capture};
use crate::testbed::{Act, Capability, Part};
use streamlake_history::event::{Demand, FaultLoad};

pub(super) static KIND: Kind = Kind {
    name: "database-restart",
    about: "SIGTERM or the image's own stop signal to the source database, then a new start",
    default_target: "database",
    default_lasts: Duration::ZERO,
    load: Some(FaultLoad::Operations),
    shows: &[Demand::FellSilent, Demand::StartedAnew, Demand::Stopped],
    spares_brokers: true,
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

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let before = capture::look(stage, "before").await?;
        Ok(before.and(self.0.strike(stage, Act::Stop { grace: GRACE }).await?))
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        self.0.fell_silent(stage).await
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.0.act(stage, Act::Start).await
    }

    /// The database alone: how long the capture takes from here on is its recovery.
    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let after = self.0.starts_again(stage).await?;
        Ok(capture::look(stage, "after").await?.and(after))
    }
}
