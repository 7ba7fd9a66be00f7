//! A consumer process is asked to stop, leaves in an orderly way, and is started again after a
//! while.

use std::time::Duration;

use async_trait::async_trait;

use crate::fault::process::{EXIT_WITHIN, Target};
use crate::fault::{Evidence, Fault, FaultError, Kind, NoSettings, Order, Stage, Wrong, merge};
use crate::testbed::Capability;

pub(super) static KIND: Kind = Kind {
    name: "consumer-restart",
    about: "SIGTERM to a consumer process, an orderly exit, then a new one",
    default_target: "consumer-1",
    default_lasts: Duration::from_secs(3),
    needs_load: true,
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

    async fn inject(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let evidence = self.target.look(stage)?;
        stage.processes.terminate(&self.target.name)?;
        self.status = stage.processes.ended(&self.target.name, EXIT_WITHIN).await?;
        Ok(evidence)
    }

    async fn seen(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let status = Evidence::from([("exit".to_owned(), self.status.clone())]);
        Ok(merge(self.target.observe(stage, "during")?, status))
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        stage.processes.restart(&self.target.name)?;
        Ok(Evidence::new())
    }

    async fn back(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        self.target.runs_anew(stage)
    }
}
