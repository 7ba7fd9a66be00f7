//! A consumer of the pipeline kills itself at a labelled step of its commit protocol, the nth time that it
//! passes there, and is started again.
//!
//! The point is armed by a file that the process looks for at each of its points. It takes the file away
//! and writes down which point it was before it sends itself SIGKILL: the evidence is the kernel's word of
//! the signal and that line with the process's own id. Some points are passed under load, others only when
//! the process starts, stops or has to give partitions up: then the fault sees to that, too.
//!
//! All crash points of a run take turns, so that many can stand in one scenario: each waits until the one
//! before is healed and its target has committed something since.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use streamlake::crash::{self, Armed, Hit, Label, Occasion};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::fault::process::{Target, Worth};
use crate::fault::{Fault, FaultError, Kind, Order, Shown, Stage, Wrong};
use crate::testbed::Capability;
use streamlake_history::event::{Demand, FaultLoad};
use streamlake_report::CRASH_POINT;

pub(super) static KIND: Kind = Kind {
    name: "crash-point",
    about: "a consumer process sends itself SIGKILL at a step of its commit protocol, then a new one; settings: point, nth",
    default_target: "consumer-1",
    default_lasts: Duration::from_millis(300),
    load: Some(FaultLoad::Deliveries),
    shows: &[Demand::Killed, Demand::StartedAnew],
    spares_brokers: true,
    make,
};

/// The target commits again within this time after the fault before, or it is left alone.
const MOVES_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A point that is not passed by then is not on the way that the process takes.
const PASSED_WITHIN: Duration = Duration::from_secs(20);
/// A rebalance in which the target had nothing to give up, or nothing to commit, is made once more.
const REBALANCES: u32 = 3;
const REBALANCED_WITHIN: Duration = Duration::from_secs(12);
/// An orderly stop that had nothing to store or to commit is made once more: what waited in the log need not
/// have been read yet, and a batch may be closed just before.
const STOPS: u32 = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    point: String,
    #[serde(default = "once")]
    nth: u64,
}

fn once() -> u64 {
    1
}

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    let Settings { point, nth } = order.settings()?;
    let known = crash::labels();
    if known.is_empty() {
        return Err(Wrong::Settings(
            "this binary has no crash points".to_owned(),
            "build with them: `cargo run --features crash-points -- …`".to_owned(),
        ));
    }
    let Some(label) = known.iter().find(|label| label.name == point) else {
        let names: Vec<_> = known.iter().map(|label| label.name).collect();
        let remedy = format!("known points: {}", names.join(", "));
        return Err(Wrong::Settings(format!("there is no crash point `{point}`"), remedy));
    };
    if nth == 0 {
        let message = "`nth` counts from 1".to_owned();
        return Err(Wrong::Settings(message, "write 1 for the first passing".to_owned()));
    }
    Ok(Box::new(CrashPoint {
        label,
        armed: Armed { point, nth },
        target: Target::consumer(&order)?,
        turn: None,
        moved: false,
    }))
}

#[derive(Debug)]
struct CrashPoint {
    label: &'static Label,
    armed: Armed,
    target: Target,
    /// Held from aiming until the target is back.
    turn: Option<OwnedMutexGuard<()>>,
    /// The target committed since its turn came.
    moved: bool,
}

impl CrashPoint {
    fn file(&self, stage: &Stage) -> Result<PathBuf, FaultError> {
        let none = || FaultError::NoTarget(format!("{} with crash points", self.target.name));
        stage.processes.crash_file(&self.target.name)?.ok_or_else(none)
    }

    /// Appears whole, or not at all.
    fn arm(&self, stage: &Stage) -> Result<(), FaultError> {
        let file = self.file(stage)?;
        let new = file.with_added_extension("new");
        let written = std::fs::write(&new, self.armed.to_string());
        written.and_then(|()| std::fs::rename(&new, &file)).map_err(|error| FaultError::NotSeen {
            what: format!("{} armed", self.armed),
            within: Duration::ZERO,
            last: error.to_string(),
        })
    }

    fn disarm(&self, stage: &Stage) {
        // It is not there if the point was passed.
        if let Ok(file) = self.file(stage) {
            let _ = std::fs::remove_file(file);
        }
    }

    fn not_passed(&self, within: Duration, last: String) -> FaultError {
        let what = format!("{} passing {}", self.target.name, self.armed);
        FaultError::NotSeen { what, within, last }
    }

    /// Whether the target's group commits more than it had when this was asked. Crashes that follow each other
    /// without a commit between them would only show that a process that always dies gets nowhere.
    async fn moves(&self, stage: &Stage) -> bool {
        let deadline = Instant::now() + MOVES_WITHIN;
        let mut before = None;
        while Instant::now() < deadline {
            let now = stage.patients.committed(&self.target.name).await;
            if now > *before.get_or_insert(now) {
                return true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        false
    }

    /// An orderly stop, waited for.
    async fn stop(&self, stage: &Stage, name: &str) -> Result<(), FaultError> {
        stage.processes.terminate(name).await?;
        stage.processes.release(name).await;
        let within = stage.processes.stop_within(name)?;
        stage.processes.ended(name, within).await?;
        Ok(())
    }

    /// Another member leaves the group and comes back: the target gets its partitions, and has to give some
    /// of them up again.
    async fn rebalance(&self, stage: &Stage) -> Result<(), FaultError> {
        let peers = stage.processes.running_peers(&self.target.name);
        let other = format!("another member in the group of {}", self.target.name);
        let peer = peers.first().ok_or(FaultError::NoTarget(other))?;
        self.stop(stage, peer).await?;
        let deadline = Instant::now() + REBALANCED_WITHIN;
        let owned = || stage.patients.owned(&self.target.name).map_or(0, |owned| owned.len());
        let before = owned();
        while owned() <= before && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        stage.processes.restart(peer).await?;
        Ok(())
    }

    async fn strike(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let name = self.target.name.clone();
        let name = name.as_str();
        if !self.moved {
            return Err(FaultError::NotSeen {
                what: format!("{name}'s group committing before it is struck"),
                within: MOVES_WITHIN,
                last: "no commit".to_owned(),
            });
        }
        let shown = self.target.look()?;
        self.arm(stage)?;
        match self.label.occasion {
            Occasion::Load => stage.processes.release(name).await,
            Occasion::Start => stage.processes.restart(name).await?,
            Occasion::Stop => return self.strike_stop(stage, shown).await,
            Occasion::Revocation => {
                stage.processes.release(name).await;
                self.rebalance(stage).await?;
            }
        }
        Ok(shown.with("armed", &self.armed))
    }

    /// Orderly stops, until one of them passes the point. What is shown is of the process that was told last.
    async fn strike_stop(&mut self, stage: &Stage, mut shown: Shown) -> Result<Shown, FaultError> {
        let name = self.target.name.clone();
        for left in (0..STOPS).rev() {
            stage.processes.terminate(&name).await?;
            stage.processes.release(&name).await;
            stage.processes.ended(&name, PASSED_WITHIN).await?;
            if left == 0 || self.hit(stage).await?.is_some() {
                break;
            }
            self.disarm(stage);
            stage.processes.restart(&name).await?;
            if !self.moves(stage).await {
                break;
            }
            self.target.aim(stage, Worth::Tail).await;
            shown = self.target.look()?;
            self.arm(stage)?;
        }
        Ok(shown.with("armed", &self.armed))
    }

    /// The end of the target; a rebalance that did not bring it about is made again.
    async fn end(&self, stage: &Stage) -> Result<String, FaultError> {
        let ended = |within| stage.processes.ended(&self.target.name, within);
        if self.label.occasion == Occasion::Revocation {
            for _ in 1..REBALANCES {
                if let Ok(status) = ended(REBALANCED_WITHIN).await {
                    return Ok(status);
                }
                self.rebalance(stage).await?;
            }
        }
        let late = |_| self.not_passed(PASSED_WITHIN, "it went on".to_owned());
        ended(PASSED_WITHIN).await.map_err(late)
    }

    /// What the process that has just ended wrote down.
    async fn hit(&self, stage: &Stage) -> Result<Option<Hit>, FaultError> {
        let seen = stage.processes.observe(&self.target.name).await?;
        let pid = seen.get("pid").and_then(|pid| pid.parse::<u32>().ok());
        let hits = crash::read_hits(&self.file(stage)?);
        Ok(hits.into_iter().rev().find(|hit| Some(hit.pid) == pid))
    }
}

#[async_trait]
impl Fault for CrashPoint {
    fn needs(&self) -> &'static [Capability] {
        &[]
    }

    fn shows(&self) -> &'static [Demand] {
        match self.label.occasion {
            Occasion::Stop | Occasion::Revocation => &[Demand::OwnedPartitions],
            // A step of the protocol that was passed is what it met; and at a start it owns nothing yet.
            Occasion::Load | Occasion::Start => &[],
        }
    }

    async fn aim(&mut self, stage: &Stage) {
        // Each of those before has deadlines of its own for every step.
        self.turn = Some(stage.crash_turn.clone().lock_owned().await);
        self.moved = self.moves(stage).await;
        if !self.moved {
            return;
        }
        let stops = self.label.occasion == Occasion::Stop;
        let worth = if stops { Worth::Tail } else { Worth::Records };
        self.target.aim(stage, worth).await;
        if self.label.occasion == Occasion::Start {
            // Its orderly end is no part of the window, in which it is to be killed.
            let stopped = self.stop(stage, &self.target.name).await;
            if let Err(error) = stopped {
                tracing::warn!(%error, "making way for a start");
            }
        }
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let struck = self.strike(stage).await;
        if struck.is_err() {
            self.disarm(stage);
            stage.processes.release(&self.target.name).await;
        }
        struck
    }

    async fn seen(&mut self, stage: &Stage, _: Instant) -> Result<Shown, FaultError> {
        let ended = self.end(stage).await;
        self.disarm(stage);
        let status = ended?;
        let hit = self.hit(stage).await?;
        let as_armed = |hit: &Hit| hit.point == self.armed.point && hit.nth == self.armed.nth;
        if !status.contains("signal: 9") || !hit.as_ref().is_some_and(as_armed) {
            return Err(self.not_passed(Duration::ZERO, format!("{status}, noted: {hit:?}")));
        }
        let shown = self.target.observe(stage, "during").await?;
        Ok(shown.with(CRASH_POINT, &self.armed.point).with("passing", self.armed.nth))
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.disarm(stage);
        if stage.processes.status(&self.target.name)?.is_some() {
            stage.processes.restart(&self.target.name).await?;
        }
        Ok(Shown::default())
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let shown = self.target.runs_again(stage).await;
        self.turn = None;
        shown
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn order(settings: &str) -> Order {
        Order {
            target: "consumer-1".to_owned(),
            settings: settings.parse().unwrap(),
            directory: PathBuf::new(),
        }
    }

    #[cfg(not(feature = "crash-points"))]
    #[test]
    fn a_binary_without_points_says_so() {
        let Err(Wrong::Settings(message, remedy)) = make(order("point = \"after-commit\"")) else {
            panic!("it must be refused");
        };
        assert!(message.contains("no crash points") && remedy.contains("--features"), "{message}");
    }

    #[cfg(feature = "crash-points")]
    #[test]
    fn a_point_must_be_there_and_be_passed() {
        for label in crash::labels() {
            assert!(make(order(&format!("point = \"{}\"\nnth = 2", label.name))).is_ok());
        }
        for wrong in ["point = \"nowhere\"", "point = \"after-commit\"\nnth = 0", "nth = 1"] {
            assert!(matches!(make(order(wrong)), Err(Wrong::Settings(..))), "{wrong}");
        }
    }
}
