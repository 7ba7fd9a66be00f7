//! A consumer process is frozen with SIGSTOP: to the group it may be dead, to itself it is not. When
//! it goes on it still believes in its assignment.

use std::time::Duration;

use async_trait::async_trait;

use crate::fault::process::Target;
use crate::fault::{Evidence, Fault, FaultError, Kind, NoSettings, Order, Stage, Wrong};
use crate::testbed::Capability;

pub(super) static KIND: Kind = Kind {
    name: "consumer-pause",
    about: "SIGSTOP to a consumer process, then SIGCONT",
    default_target: "consumer-1",
    default_lasts: Duration::from_secs(10),
    needs_load: true,
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

    async fn inject(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let evidence = self.0.look(stage)?;
        stage.processes.freeze(&self.0.name).await?;
        Ok(evidence)
    }

    async fn seen(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        self.0.observe(stage, "during")
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        stage.processes.thaw(&self.0.name).await?;
        Ok(Evidence::new())
    }

    async fn back(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        self.0.observe(stage, "after")
    }
}
