//! What the faults on consumer processes share.

use std::time::Duration;

use crate::fault::{Evidence, FaultError, Order, Stage, Wrong};

/// An orderly shutdown may take as long as the pipeline's own deadline, and then some.
pub(super) const EXIT_WITHIN: Duration = Duration::from_secs(30);

/// A process and what was seen of it before the fault.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    before: Evidence,
}

impl Target {
    pub(super) fn consumer(order: &Order) -> Result<Self, Wrong> {
        order.numbered_target("consumer")?;
        Ok(Self { name: order.target.clone(), before: Evidence::new() })
    }

    /// Looks at the process before it is acted on.
    pub(super) fn look(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let seen = stage.processes.observe(&self.name);
        self.before = seen.map_err(|_| FaultError::NoTarget(self.name.clone()))?;
        Ok(self.named("before", self.before.clone()))
    }

    /// What can be seen of it now.
    pub(super) fn observe(&self, stage: &Stage, when: &str) -> Result<Evidence, FaultError> {
        Ok(self.named(when, stage.processes.observe(&self.name)?))
    }

    /// The process must have been seen to run again, as another process than before.
    pub(super) fn runs_anew(&self, stage: &Stage) -> Result<Evidence, FaultError> {
        let now = stage.processes.observe(&self.name)?;
        let identity =
            |seen: &Evidence| (seen.get("pid").cloned(), seen.get("started_ticks").cloned());
        if now.contains_key("started_ticks") && identity(&now) != identity(&self.before) {
            return Ok(self.named("after", now));
        }
        Err(FaultError::NotSeen {
            what: format!("a new process for {}", self.name),
            within: Duration::ZERO,
            last: format!("{now:?}"),
        })
    }

    fn named(&self, when: &str, seen: Evidence) -> Evidence {
        seen.into_iter().map(|(name, value)| (format!("{name} {when}"), value)).collect()
    }
}
