//! A broker is killed with SIGKILL and started again with its log.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::fault::broker::Broker;
use crate::fault::{Fault, FaultError, Kind, NoSettings, Order, Shown, Stage, Wrong};
use crate::testbed::{Act, Capability};
use streamlake_history::event::{Demand, FaultLoad};

pub(super) static KIND: Kind = Kind {
    name: "broker-kill",
    about: "SIGKILL to a broker, then a new start with the same log",
    default_target: "broker-1",
    default_lasts: Duration::ZERO,
    load: Some(FaultLoad::Operations),
    shows: &[Demand::FellSilent, Demand::StartedAnew, Demand::Killed, Demand::ClientsConnected],
    spares_brokers: false,
    make,
};

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    let NoSettings {} = order.settings()?;
    Ok(Box::new(BrokerKill(Broker::new(order.numbered_target("broker")?))))
}

#[derive(Debug)]
struct BrokerKill(Broker);

#[async_trait]
impl Fault for BrokerKill {
    fn needs(&self) -> &'static [Capability] {
        &[Capability::BrokerKill]
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.0.strike(stage, Act::Kill).await
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        self.0.fell_silent(stage).await
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.0.act(stage, Act::Start).await
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.0.starts_again(stage).await
    }
}
