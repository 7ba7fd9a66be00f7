//! A consumer process is killed with SIGKILL and started again after a while.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::fault::process::{Target, Worth};
use crate::fault::{Fault, FaultError, Kind, NoSettings, Order, Shown, Stage, Wrong};
use crate::testbed::Capability;
use streamlake_history::event::{Demand, FaultLoad};

pub(super) static KIND: Kind = Kind {
    name: "consumer-kill",
    about: "SIGKILL to a consumer process, then a new one",
    default_target: "consumer-1",
    default_lasts: Duration::from_secs(3),
    load: Some(FaultLoad::Deliveries),
    shows: &[Demand::Killed, Demand::StartedAnew, Demand::OwnedPartitions, Demand::HeldUncommitted],
    spares_brokers: true,
    make,
};

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    let NoSettings {} = order.settings()?;
    Ok(Box::new(ConsumerKill { target: Target::consumer(&order)?, status: String::new() }))
}

#[derive(Debug)]
struct ConsumerKill {
    target: Target,
    status: String,
}

#[async_trait]
impl Fault for ConsumerKill {
    fn needs(&self) -> &'static [Capability] {
        &[]
    }

    async fn aim(&mut self, stage: &Stage) {
        self.target.aim(stage, Worth::Records).await;
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let evidence = self.target.look()?;
        self.status = stage.processes.kill(&self.target.name).await?;
        Ok(evidence)
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        if !self.status.contains("signal: 9") {
            return Err(FaultError::NotSeen {
                what: format!("{} ending by SIGKILL", self.target.name),
                within: Duration::ZERO,
                last: self.status.clone(),
            });
        }
        self.target.observe(stage, "during").await
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        stage.processes.restart(&self.target.name).await?;
        Ok(Shown::default())
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.target.runs_again(stage).await
    }
}
