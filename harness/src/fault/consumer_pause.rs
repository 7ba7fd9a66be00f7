//! A consumer process is frozen with SIGSTOP: to the group it may be dead, to itself it is not. When
//! it goes on it still believes in its assignment.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::fault::process::{Target, Worth};
use crate::fault::{Fault, FaultError, Kind, NoSettings, Order, Shown, Stage, Wrong};
use crate::testbed::Capability;
use streamlake_history::event::{Demand, FaultLoad};

pub(super) static KIND: Kind = Kind {
    name: "consumer-pause",
    about: "SIGSTOP to a consumer process, then SIGCONT",
    default_target: "consumer-1",
    default_lasts: Duration::from_secs(10),
    load: Some(FaultLoad::Deliveries),
    shows: &[Demand::Frozen, Demand::SameProcess, Demand::OwnedPartitions, Demand::HeldUncommitted],
    spares_brokers: true,
    make,
};

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    let NoSettings {} = order.settings()?;
    Ok(Box::new(ConsumerPause(Target::consumer(&order)?)))
}

#[derive(Debug)]
struct ConsumerPause(Target);

#[async_trait]
impl Fault for ConsumerPause {
    fn needs(&self) -> &'static [Capability] {
        &[]
    }

    async fn aim(&mut self, stage: &Stage) {
        self.0.aim(stage, Worth::Records).await;
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let evidence = self.0.look()?;
        stage.processes.freeze(&self.0.name).await?;
        Ok(evidence)
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        self.0.observe(stage, "during").await
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        stage.processes.thaw(&self.0.name).await?;
        Ok(Shown::default())
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.0.observe(stage, "after").await
    }
}
