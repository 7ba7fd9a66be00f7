//! A consumer process is asked to stop, leaves in an orderly way, and is started again after a
//! while.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::fault::process::{Target, Worth};
use crate::fault::{Fault, FaultError, Kind, NoSettings, Order, Shown, Stage, Wrong};
use crate::testbed::Capability;
use streamlake_history::event::{Demand, FaultLoad};

pub(super) static KIND: Kind = Kind {
    name: "consumer-restart",
    about: "a consumer process is asked to stop (SIGTERM, or its own signal), exits, then a new one",
    default_target: "consumer-1",
    default_lasts: Duration::from_secs(3),
    load: Some(FaultLoad::Deliveries),
    shows: &[Demand::Stopped, Demand::StartedAnew, Demand::OwnedPartitions],
    spares_brokers: true,
    make,
};

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    let NoSettings {} = order.settings()?;
    Ok(Box::new(ConsumerRestart { target: Target::consumer(&order)?, status: String::new() }))
}

#[derive(Debug)]
struct ConsumerRestart {
    target: Target,
    status: String,
}

#[async_trait]
impl Fault for ConsumerRestart {
    fn needs(&self) -> &'static [Capability] {
        &[]
    }

    async fn aim(&mut self, stage: &Stage) {
        self.target.aim(stage, Worth::Tail).await;
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let evidence = self.target.look()?;
        stage.processes.terminate(&self.target.name).await?;
        let within = stage.processes.stop_within(&self.target.name)?;
        self.status = stage.processes.ended(&self.target.name, within).await?;
        Ok(evidence)
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        Ok(self.target.observe(stage, "during").await?.with("exit", &self.status))
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        stage.processes.restart(&self.target.name).await?;
        Ok(Shown::default())
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.target.runs_again(stage).await
    }
}
