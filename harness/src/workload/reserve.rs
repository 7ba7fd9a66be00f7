//! The last part of a load is held back until every fault has begun.
//!
//! A fault that waits for commits, or for a member that has something to lose, comes late where the
//! machine is slow. If everything had been sent by then it would strike a pipeline without work, and show
//! nothing. So the reserve is let go slowly, one operation at a time, until the last fault has begun: there
//! is always something under way, and the load ends all the same if a fault never comes.

use std::time::Duration;

use tokio::sync::watch::Receiver;

use super::WorkloadPlan;
use crate::plan::{FaultPlan, Trigger};
use crate::progress::Counts;

/// How long the reserve lasts where a fault never begins.
pub(crate) const LASTS: Duration = Duration::from_secs(15);
/// One operation in so many belongs to the reserve.
const ONE_IN: u64 = 5;

/// The operations that are held back, and for what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reserve {
    /// The first of them.
    from: u64,
    /// Between two of them, until the last fault has begun.
    gap: Duration,
    faults: u64,
}

impl Reserve {
    /// What a load keeps back for these faults. One that begins by the load's own clock is not waited for
    /// before its time.
    pub(crate) fn of(load: &WorkloadPlan, faults: &[FaultPlan]) -> Self {
        let begins = |fault: &FaultPlan| match fault.trigger {
            Trigger::Invoked(count) => count,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a number of operations, cut off at the load's end"
            )]
            Trigger::After(after) => (after.as_secs_f64() * load.rate_per_s) as u64,
            Trigger::Committed(_) => 0,
        };
        let last = faults.iter().map(begins).max().unwrap_or(load.operations);
        let from = last.max(load.operations - load.operations / ONE_IN).min(load.operations);
        let held = u32::try_from(load.operations - from).unwrap_or(u32::MAX).max(1);
        Self { from, gap: LASTS / held, faults: faults.len() as u64 }
    }

    /// Holds an operation of the reserve back, for a while. True if it had to wait.
    pub(crate) async fn hold(&self, op: u64, counts: &mut Receiver<Counts>) -> bool {
        let begun = |counts: &Counts| counts.windows_begun >= self.faults;
        if op < self.from || begun(&counts.borrow()) {
            return false;
        }
        // Whether it came in time or not: the operation goes now.
        let _ = tokio::time::timeout(self.gap, counts.wait_for(begun)).await;
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::progress::Progress;

    fn reserve(from: u64, faults: u64) -> Reserve {
        Reserve { from, gap: Duration::from_millis(20), faults }
    }

    #[tokio::test]
    async fn the_reserve_waits_for_the_last_fault_and_not_for_ever() {
        let progress = Progress::default();
        let mut counts = progress.watch();
        let held = reserve(80, 2);
        assert!(!held.hold(79, &mut counts).await, "not of the reserve");
        assert!(held.hold(80, &mut counts).await);
        progress.window_begun();
        assert!(held.hold(81, &mut counts).await, "one of two has begun");
        progress.window_begun();
        assert!(!held.hold(82, &mut counts).await);
        assert!(!reserve(0, 0).hold(5, &mut counts).await, "no fault, nothing to wait for");
    }
}
