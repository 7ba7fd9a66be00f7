//! The nemesis: walks each planned fault through its window and records every step with its
//! evidence. It judges nothing; a step that failed is recorded as a miss, and the fault-bit checker
//! draws the conclusion.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fault::{Evidence, FaultError, Stage};
use crate::history::Recorder;
use crate::history::event::{Fact, FaultStage, FaultStep};
use crate::plan::{FaultPlan, Trigger};
use crate::progress::{Counts, Progress};

/// Carries out all faults, each from its own trigger, and returns when every window is closed.
/// When `stop` is cancelled, faults that have not begun never do, and open ones are healed at once.
pub(crate) async fn walk(
    faults: Vec<FaultPlan>,
    stage: &Stage,
    recorder: &Recorder,
    progress: &Progress,
    stop: &CancellationToken,
) {
    let mut windows = JoinSet::new();
    for plan in faults {
        let (stage, recorder, stop) = (stage.clone(), recorder.clone(), stop.clone());
        let counts = progress.watch();
        windows.spawn(async move {
            if !triggered(plan.trigger, counts, &stop).await {
                return;
            }
            Window { number: plan.number, recorder }.walk(plan, &stage, &stop).await;
        });
    }
    while windows.join_next().await.is_some() {
        progress.window_closed();
    }
}

/// Waits for the trigger. False when the run was stopped before.
async fn triggered(
    trigger: Trigger,
    mut counts: tokio::sync::watch::Receiver<Counts>,
    stop: &CancellationToken,
) -> bool {
    let reached = async {
        match trigger {
            Trigger::After(after) => {
                // Measured from the first invocation, which is when the load begins.
                let _ = counts.wait_for(|counts| counts.invoked > 0).await;
                tokio::time::sleep(after).await;
            }
            Trigger::Invoked(count) => {
                let _ = counts.wait_for(|counts| counts.invoked >= count).await;
            }
            Trigger::Committed(count) => {
                let seen = |counts: &Counts| counts.committed.values().any(|&sum| sum >= count);
                let _ = counts.wait_for(seen).await;
            }
        }
    };
    tokio::select! {
        () = reached => true,
        () = stop.cancelled() => false,
    }
}

struct Window {
    number: u32,
    recorder: Recorder,
}

impl Window {
    async fn walk(&self, plan: FaultPlan, stage: &Stage, stop: &CancellationToken) {
        let mut fault = plan.fault;
        self.record(FaultStage::Injecting, Evidence::new());
        let injected = fault.inject(stage).await;
        if !self.took(FaultStage::Injected, injected) {
            return;
        }
        let since = tokio::time::Instant::now();
        let seen = fault.seen(stage).await;
        self.took(FaultStage::Seen, seen);
        tokio::select! {
            () = tokio::time::sleep_until(since + plan.lasts) => {}
            () = stop.cancelled() => {}
        }
        // Healed even when it was not seen: nothing may stay broken.
        self.record(FaultStage::Healing, Evidence::new());
        match fault.heal(stage).await {
            Ok(done) => {
                let back = fault.back(stage).await.map(|mut seen| {
                    seen.extend(done);
                    seen
                });
                self.took(FaultStage::Healed, back);
            }
            Err(error) => self.missed(&error),
        }
    }

    /// Records a step that was taken, or that it was missed.
    fn took(&self, step: FaultStage, outcome: Result<Evidence, FaultError>) -> bool {
        match outcome {
            Ok(evidence) => {
                self.record(step, evidence);
                true
            }
            Err(error) => {
                self.missed(&error);
                false
            }
        }
    }

    fn missed(&self, error: &FaultError) {
        tracing::warn!(fault = self.number, %error, "a fault did not take its course");
        self.record(FaultStage::Missed, Evidence::from([("reason".to_owned(), error.to_string())]));
    }

    fn record(&self, step: FaultStage, evidence: Evidence) {
        let step = FaultStep { fault: self.number, step, evidence };
        self.recorder.record("nemesis", Fact::Fault(step));
    }
}
