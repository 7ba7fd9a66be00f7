//! The nemesis: walks each planned fault through its window and records every step with its
//! evidence. It judges nothing; a step that failed is recorded as a miss, and the fault-bit checker
//! draws the conclusion.
//!
//! Every wait here has an end: a trigger that cannot come any more, a step that hangs and a window
//! without any load are recorded and left.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fault::{Evidence, FaultError, Shown, Stage};
use crate::plan::{FaultPlan, Trigger};
use crate::progress::{Counts, Progress};
use streamlake_history::Recorder;
use streamlake_history::event::{Fact, FaultLoad, FaultStage, FaultStep};

/// Longer than every deadline that a step of a fault has itself.
const STEP_WITHIN: Duration = Duration::from_secs(240);
/// A window in which nothing is under way is kept open for as long, so that a short fault is not over
/// between two operations.
const LOAD_WITHIN: Duration = Duration::from_secs(2);

/// Carries out all faults, each from its own trigger, and returns when every window is closed.
/// A trigger must come within `within`. When `stop` is cancelled, faults that have not begun never do,
/// and open ones are healed at once.
pub(crate) async fn walk(
    faults: Vec<FaultPlan>,
    stage: &Stage,
    recorder: &Recorder,
    progress: &Arc<Progress>,
    within: Duration,
    stop: &CancellationToken,
) {
    let mut windows = JoinSet::new();
    for plan in faults {
        let (stage, recorder, stop) = (stage.clone(), recorder.clone(), stop.clone());
        let progress = progress.clone();
        windows.spawn(async move {
            let window = Window { number: plan.number, recorder, progress };
            match window.triggered(plan.trigger, within, &stop).await {
                Ok(()) => window.walk(plan, &stage, &stop).await,
                Err(reason) => {
                    window.progress.window_begun();
                    window.missed(&reason);
                }
            }
        });
    }
    while let Some(window) = windows.join_next().await {
        if let Err(error) = window {
            let text = format!("the walk through a fault's window ended early: {error}");
            recorder.record("nemesis", Fact::Note { level: "error".to_owned(), text });
        }
        progress.window_closed();
    }
    // A process that was held still for an act that was given up.
    stage.processes.release_all().await;
}

/// Waits until the counters say that it is time. False when nobody counts any more.
async fn reached(trigger: Trigger, mut counts: Receiver<Counts>) -> bool {
    let came = |counts: &Counts| match trigger {
        // Measured from the first invocation, which is when the load begins.
        Trigger::After(_) => counts.invoked > 0,
        Trigger::Invoked(count) => counts.invoked >= count,
        Trigger::Committed(count) => counts.committed.values().any(|&sum| sum >= count),
    };
    let came = counts.wait_for(came).await.is_ok();
    if let (true, Trigger::After(after)) = (came, trigger) {
        tokio::time::sleep(after).await;
    }
    came
}

struct Window {
    number: u32,
    recorder: Recorder,
    progress: Arc<Progress>,
}

impl Window {
    /// Waits for the trigger.
    async fn triggered(
        &self,
        trigger: Trigger,
        within: Duration,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let came = tokio::select! {
            came = tokio::time::timeout(within, reached(trigger, self.progress.watch())) => came,
            () = stop.cancelled() => {
                return Err(format!("the run ended before its trigger ({trigger}) came"));
            }
        };
        match came {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(format!("nobody counted any more when its trigger ({trigger}) was due"))
            }
            Err(_) => {
                let counts = self.progress.watch();
                let seen = counts.borrow();
                let (invoked, committed) = (seen.invoked, seen.committed.values().max());
                Err(format!(
                    "its trigger ({trigger}) did not come within {within:?}: {invoked} invoked, {} committed",
                    committed.unwrap_or(&0)
                ))
            }
        }
    }

    async fn walk(&self, plan: FaultPlan, stage: &Stage, stop: &CancellationToken) {
        let mut fault = plan.fault;
        tokio::select! {
            () = fault.aim(stage) => {}
            () = stop.cancelled() => return self.missed("the run ended while it was aimed"),
        }
        self.record(FaultStage::Injecting, Shown::default());
        let injected = in_time(fault.inject(stage)).await;
        self.progress.window_begun();
        if !self.took(FaultStage::Injected, injected) {
            return;
        }
        let until = Instant::now() + plan.lasts;
        let before = self.progress.watch().borrow().clone();
        let seen = in_time(fault.seen(stage, until)).await;
        self.took(FaultStage::Seen, seen);
        tokio::select! {
            () = async {
                tokio::time::sleep_until(until).await;
                self.under_load(plan.load, before).await;
            } => {}
            () = stop.cancelled() => {}
        }
        // Healed even when it was not seen: nothing may stay broken.
        self.record(FaultStage::Healing, Shown::default());
        match in_time(fault.heal(stage)).await {
            Ok(done) => {
                let back = in_time(fault.back(stage)).await.map(|back| done.and(back));
                self.took(FaultStage::Healed, back);
            }
            Err(error) => self.missed(&error.to_string()),
        }
    }

    /// Waits until what the fault needs was under way in its window; not for long.
    async fn under_load(&self, load: Option<FaultLoad>, before: Counts) {
        let mut counts = self.progress.watch();
        let met = |counts: &Counts| match load {
            None => true,
            Some(FaultLoad::Operations) => {
                counts.invoked > before.invoked || counts.invoked > counts.completed
            }
            Some(FaultLoad::Deliveries) => {
                let least = counts.committed.values().min();
                counts.acknowledged > least.copied().unwrap_or(0)
            }
        };
        // The checker says whether it came.
        let _ = tokio::time::timeout(LOAD_WITHIN, counts.wait_for(met)).await;
    }

    /// Records a step that was taken, or that it was missed.
    fn took(&self, step: FaultStage, outcome: Result<Shown, FaultError>) -> bool {
        match outcome {
            Ok(shown) => {
                self.record(step, shown);
                true
            }
            Err(error) => {
                self.missed(&error.to_string());
                false
            }
        }
    }

    fn missed(&self, reason: &str) {
        tracing::warn!(fault = self.number, reason, "a fault did not take its course");
        let words = Evidence::from([("reason".to_owned(), reason.to_owned())]);
        self.record(FaultStage::Missed, words.into());
    }

    fn record(&self, step: FaultStage, shown: Shown) {
        let Shown { words: evidence, target, patient } = shown;
        let (target, patient) = (target.map(Box::new), patient.map(Box::new));
        let step = FaultStep { fault: self.number, step, evidence, target, patient };
        self.recorder.record("nemesis", Fact::Fault(step));
    }
}

/// A step that takes longer than all its own deadlines hangs.
async fn in_time(
    step: impl Future<Output = Result<Shown, FaultError>>,
) -> Result<Shown, FaultError> {
    tokio::time::timeout(STEP_WITHIN, step).await.unwrap_or_else(|_| {
        Err(FaultError::NotSeen {
            what: "the end of this step".to_owned(),
            within: STEP_WITHIN,
            last: "nothing came back".to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use streamlake_history::sample;

    fn window(progress: &Arc<Progress>) -> Window {
        let recorder = Recorder::start(Vec::new(), sample::header(1, 1)).unwrap();
        Window { number: 0, recorder, progress: progress.clone() }
    }

    #[tokio::test]
    async fn a_trigger_that_does_not_come_ends_with_its_reason() {
        let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
        let window = window(&progress);
        let within = Duration::from_millis(30);
        progress.invoked(100);
        progress.committed("g", "t", 0, 24);
        let waited = window.triggered(Trigger::Committed(25), within, &stop).await.unwrap_err();
        assert!(waited.contains("25 committed") && waited.contains("24 committed"), "{waited}");
        assert!(window.triggered(Trigger::Invoked(100), within, &stop).await.is_ok());
        let after = Trigger::After(Duration::from_millis(3));
        assert!(window.triggered(after, 100 * within, &stop).await.is_ok());
        stop.cancel();
        let ended =
            window.triggered(Trigger::Invoked(101), 1000 * within, &stop).await.unwrap_err();
        assert!(ended.contains("the run ended"), "{ended}");
    }

    #[tokio::test]
    async fn a_window_waits_for_its_load_and_not_for_ever() {
        let progress = Arc::new(Progress::default());
        let window = window(&progress);
        progress.invoked(5);
        (0..5).for_each(|_| progress.completed());
        let before = progress.watch().borrow().clone();
        // Nothing comes: the wait ends all the same.
        window.under_load(Some(FaultLoad::Operations), before.clone()).await;
        progress.invoked(6);
        window.under_load(Some(FaultLoad::Operations), before).await;
    }
}
