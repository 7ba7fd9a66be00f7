//! What the pipeline's own audit says when all is over. Whether it is right is for the checkers to say: its exit
//! code and its numbers are in the history.

use std::time::Duration;

use super::{Run, RunError};
use crate::plan::Plan;

/// The command must have ended within this time.
const AUDIT_WITHIN: Duration = Duration::from_secs(60);

impl Run {
    pub(super) async fn audit(&self, plan: &Plan) -> Result<(), RunError> {
        let mut started = Vec::new();
        for (number, group) in (1..).zip(&plan.groups) {
            let name = format!("audit-{number}");
            let adapter = self.context.systems.of(group);
            if let Some(launch) = adapter.audit(&name, group, self.surroundings()) {
                self.supervisor.start(launch).await?;
                started.push((name, group, adapter));
            }
        }
        for (name, group, adapter) in started {
            if let Err(error) = self.supervisor.ended(&name, AUDIT_WITHIN).await {
                self.warning(format!("{error}; it is killed"));
                self.supervisor.kill(&name).await?;
            }
            adapter.audited(&name, group, self.surroundings().folder, &self.recorder);
        }
        self.interrupted()
    }
}
