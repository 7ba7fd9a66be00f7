//! A broker is frozen: its sockets stay open and nothing answers. Not a partition.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::fault::broker::Broker;
use crate::fault::{Fault, FaultError, Kind, NoSettings, Order, Shown, Stage, Wrong};
use crate::testbed::{Act, Capability};
use streamlake_history::event::{Demand, FaultLoad};

pub(super) static KIND: Kind = Kind {
    name: "broker-pause",
    about: "a broker's processes frozen and thawed",
    default_target: "broker-1",
    default_lasts: Duration::from_secs(10),
    load: Some(FaultLoad::Operations),
    shows: &[Demand::FellSilent, Demand::Frozen, Demand::SameProcess, Demand::ClientsConnected],
    spares_brokers: false,
    make,
};

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    let NoSettings {} = order.settings()?;
    Ok(Box::new(BrokerPause(Broker::new(order.numbered_target("broker")?))))
}

#[derive(Debug)]
struct BrokerPause(Broker);

#[async_trait]
impl Fault for BrokerPause {
    fn needs(&self) -> &'static [Capability] {
        &[Capability::BrokerPause]
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.0.strike(stage, Act::Pause).await
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        self.0.fell_silent(stage).await
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.0.act(stage, Act::Unpause).await
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.0.answers_again(stage).await
    }
}
