//! Clients are cut off from a broker that goes on running: a real partition of the network path.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::time::Instant;

use crate::fault::broker::Broker;
use crate::fault::{Fault, FaultError, Kind, Order, Shown, Stage, Wrong};
use crate::testbed::proxy::Link;
use crate::testbed::{Act, Capability};
use streamlake_history::event::{Demand, FaultLoad};

pub(super) static KIND: Kind = Kind {
    name: "client-partition",
    about: "clients cut off from a broker; settings: link = \"black-hole\" | \"refuse\" | \"swallow-answers\"",
    default_target: "broker-1",
    default_lasts: Duration::from_secs(10),
    load: Some(FaultLoad::Operations),
    shows: &[Demand::FellSilent, Demand::LinkCut, Demand::SameProcess, Demand::ClientsConnected],
    spares_brokers: false,
    make,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    link: Cut,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Cut {
    #[default]
    BlackHole,
    Refuse,
    SwallowAnswers,
}

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    let link = match order.settings::<Settings>()?.link {
        Cut::BlackHole => Link::BlackHole,
        Cut::Refuse => Link::Refuse,
        Cut::SwallowAnswers => Link::SwallowAnswers,
    };
    Ok(Box::new(ClientPartition { broker: Broker::new(order.numbered_target("broker")?), link }))
}

#[derive(Debug)]
struct ClientPartition {
    broker: Broker,
    link: Link,
}

#[async_trait]
impl Fault for ClientPartition {
    fn needs(&self) -> &'static [Capability] {
        &[Capability::ClientLink]
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.broker.strike(stage, Act::Link(self.link)).await
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        self.broker.fell_silent(stage).await
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.broker.act(stage, Act::Link(Link::Pass)).await
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.broker.answers_again(stage).await
    }
}
