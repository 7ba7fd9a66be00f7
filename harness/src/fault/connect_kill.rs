//! The Connect worker is killed with SIGKILL and started again. What it had sent to the topic and
//! not yet noted as an offset is sent again.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::fault::broker::Broker;
use crate::fault::{Fault, FaultError, Kind, NoSettings, Order, Shown, Stage, Wrong, capture};
use crate::testbed::{Act, Capability, Part};
use streamlake_history::event::{Demand, FaultLoad};

pub(super) static KIND: Kind = Kind {
    name: "connect-kill",
    about: "SIGKILL to the Kafka Connect worker, then a new start",
    default_target: "connect",
    default_lasts: Duration::ZERO,
    load: Some(FaultLoad::Operations),
    shows: &[Demand::FellSilent, Demand::StartedAnew, Demand::Killed],
    spares_brokers: true,
    make,
};

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    capture::only(&order, &Part::Connect)?;
    let NoSettings {} = order.settings()?;
    Ok(Box::new(ConnectKill(Broker::of(Part::Connect))))
}

#[derive(Debug)]
struct ConnectKill(Broker);

#[async_trait]
impl Fault for ConnectKill {
    fn needs(&self) -> &'static [Capability] {
        &[Capability::ChangeDataCapture]
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let before = capture::look(stage, "before").await?;
        Ok(before.and(self.0.strike(stage, Act::Kill).await?))
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        let during = self.0.fell_silent(stage).await?;
        Ok(capture::look(stage, "during").await?.and(during))
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.0.act(stage, Act::Start).await
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let after = self.0.starts_again(stage).await?;
        Ok(capture::streams(stage, "after").await?.and(after))
    }
}
