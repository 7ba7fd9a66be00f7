//! The replay: every group is stopped in an orderly way, set back by the pipeline's own command, and
//! started again. Whether it began where it was asked to is for the checkers to say.

use std::time::Duration;

use super::{Run, RunError};
use crate::plan::Plan;

/// The command must have ended within this time.
const REPLAY_WITHIN: Duration = Duration::from_secs(60);

impl Run {
    pub(super) async fn replay(&self, plan: &Plan, from_offset: u64) -> Result<(), RunError> {
        self.phase("replay");
        self.drain(plan).await?;
        for (number, group) in (1..).zip(&plan.groups) {
            let name = format!("replay-{number}");
            let adapter = self.context.systems.of(group);
            let launch = adapter.replay(&name, group, from_offset, self.surroundings());
            let Some(launch) = launch else {
                self.error(format!("group {} has no command to be set back by", group.group));
                continue;
            };
            self.supervisor.start(launch).await?;
            match self.supervisor.ended(&name, REPLAY_WITHIN).await {
                Ok(status) if status == "exit status: 0" => {}
                Ok(status) => self.error(format!("{name} was not carried out: {status}")),
                Err(error) => self.error(format!("{name} was not carried out: {error}")),
            }
            for member in &group.members {
                self.supervisor.restart(member).await?;
            }
        }
        self.interrupted()
    }
}
