//! Before the load begins: the members of each group that says so have joined it, as it passed between
//! them and the coordinator. They need not name themselves: they are counted by the ids that they got.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{Run, RunError};
use crate::patients::{Joined, Patients};
use crate::plan::{ConsumerPlan, Plan};

/// Last lines of a log that are told.
const LINES: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn ready_within(group: &crate::plan::GroupPlan) -> Option<Duration> {
    match &group.consumer {
        ConsumerPlan::Command(plan) => plan.ready_within,
        ConsumerPlan::Pipeline(_) => None,
    }
}

impl Run {
    /// Waits for all groups that are to be waited for.
    pub(super) async fn until_ready(
        &self,
        plan: &Plan,
        patients: &Patients,
    ) -> Result<(), RunError> {
        let (begin, mut joined) = (Instant::now(), patients.joined());
        for group in &plan.groups {
            let Some(within) = ready_within(group) else { continue };
            let members = group.members.len();
            let there = |joined: &Joined| joined.get(&group.group).map_or(0, BTreeSet::len);
            let mut fallen = self.supervisor.fallen();
            let ready = tokio::select! {
                all = joined.wait_for(|joined| there(joined) >= members) => all.is_ok(),
                () = tokio::time::sleep_until(begin + within) => false,
                _ = fallen.wait_for(Option::is_some) => false,
                () = self.given_up(&group.members) => false,
                () = self.context.stop.cancelled() => return Err(RunError::Interrupted),
            };
            if ready {
                continue;
            }
            let seen = there(&joined.borrow());
            let logs = group.members.iter().map(|member| {
                let lines = self.supervisor.last_lines(member);
                let last = lines[lines.len().saturating_sub(LINES)..].join(" | ");
                format!("{member}: {}", if last.is_empty() { "nothing" } else { &last })
            });
            return Err(RunError::NotReady(format!(
                "{seen} of {members} members of group {} had joined it after {:.1?}, at {}; their logs end \
                 with: {}. Whoever belongs to no group says `ready = \"none\"`",
                group.group,
                begin.elapsed(),
                self.context.testbed.bootstrap_servers(),
                logs.collect::<Vec<_>>().join("; "),
            )));
        }
        Ok(())
    }

    /// Comes back when one of these processes is not started again any more.
    async fn given_up(&self, members: &[String]) {
        while !members.iter().any(|name| self.supervisor.has_given_up(name)) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
