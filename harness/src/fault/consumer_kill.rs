//! A consumer process is killed with SIGKILL and started again after a while.

use std::time::Duration;

use async_trait::async_trait;

use crate::fault::process::Target;
use crate::fault::{Evidence, Fault, FaultError, Kind, NoSettings, Order, Stage, Wrong};
use crate::testbed::Capability;

pub(super) static KIND: Kind = Kind {
    name: "consumer-kill",
    about: "SIGKILL to a consumer process, then a new one",
    default_target: "consumer-1",
    default_lasts: Duration::from_secs(3),
    needs_load: true,
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

    async fn inject(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let evidence = self.target.look(stage)?;
        self.status = stage.processes.kill(&self.target.name).await?;
        Ok(evidence)
    }

    async fn seen(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        if !self.status.contains("signal: 9") {
            return Err(FaultError::NotSeen {
                what: format!("{} ending by SIGKILL", self.target.name),
                within: Duration::ZERO,
                last: self.status.clone(),
            });
        }
        self.target.observe(stage, "during")
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        stage.processes.restart(&self.target.name)?;
        Ok(Evidence::new())
    }

    async fn back(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        self.target.runs_anew(stage)
    }
}
