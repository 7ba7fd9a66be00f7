//! What the faults on consumer processes share: aiming at a member that has something to lose, and
//! looking at its process.

use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{Evidence, FaultError, Order, Shown, Stage, Wrong, look};
use crate::patients::{Ends, Standing};
use streamlake_history::event::PatientMet;

/// A member that owns nothing, or has committed everything, for as long as this is struck as it is.
const AIM_WITHIN: Duration = Duration::from_secs(10);
const AIM_EVERY: Duration = Duration::from_millis(50);

/// What a member must hold uncommitted for a fault on it to mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// Some record. The process is held still while the last look is taken, and stays so: between look and
    /// act it commits nothing.
    Records,
    /// A good part of a batch, and it goes on reading. What begins "at 40% of committed" begins right after
    /// a commit, when next to nothing is left to be stored: the one instant at which an orderly stop cannot
    /// go wrong. Held still, it would close its parts for their age as soon as it went on.
    Tail,
}

/// The records of a tail.
const TAIL: u64 = 10;

/// A process and what was seen of it before the fault.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    met: Standing,
    // As it was before it was held still.
    before: Evidence,
}

impl Target {
    pub(super) fn consumer(order: &Order) -> Result<Self, Wrong> {
        order.numbered_target("consumer")?;
        Ok(Self { name: order.target.clone(), met: Standing::default(), before: Evidence::new() })
    }

    /// Waits until the member owns partitions and has what the fault is to take from it.
    pub(super) async fn aim(&mut self, stage: &Stage, worth: Worth) {
        let deadline = Instant::now() + AIM_WITHIN;
        loop {
            let last = Instant::now() >= deadline;
            if self.takes_aim(stage, worth, last).await || last {
                return;
            }
            tokio::time::sleep(AIM_EVERY).await;
        }
    }

    async fn takes_aim(&mut self, stage: &Stage, worth: Worth, last: bool) -> bool {
        let patients = &stage.patients;
        self.before = stage.processes.observe(&self.name).await.unwrap_or_default();
        self.met = Standing { owned: patients.owned(&self.name), uncommitted: None };
        let idle = self.met.owned.as_ref().is_some_and(Vec::is_empty);
        if idle && !last {
            return false;
        }
        // The ends first and the commits last: what lies between was in the log before the act, and was
        // not committed by then.
        let ends = patients.ends(&self.name).await;
        // How much there is cannot always be known, and then any instant is as good as another.
        if worth == Worth::Tail {
            // It may commit before it is asked to stop, so that the count is no evidence.
            let records = self.uncommitted(stage, ends.as_ref()).await;
            return !idle && records.is_none_or(|records| records >= TAIL);
        }
        if stage.processes.hold(&self.name).await.is_err() {
            return false;
        }
        self.met.uncommitted = self.uncommitted(stage, ends.as_ref()).await;
        let meets = !idle && self.met.uncommitted != Some(0);
        if !meets && !last {
            stage.processes.release(&self.name).await;
        }
        meets
    }

    async fn uncommitted(&self, stage: &Stage, ends: Option<&Ends>) -> Option<u64> {
        stage.patients.uncommitted(&self.name, self.met.owned.as_deref(), ends?).await
    }

    /// The process as it was before it is acted on, and what it had to lose.
    pub(super) fn look(&self) -> Result<Shown, FaultError> {
        if self.before.is_empty() {
            return Err(FaultError::NoTarget(self.name.clone()));
        }
        let mut shown = look("before", &self.before);
        shown.patient = Some(PatientMet {
            partitions_owned: self.met.owned.as_ref().map(|owned| owned.len() as u64),
            records_uncommitted: self.met.uncommitted,
            ..PatientMet::default()
        });
        Ok(shown.and(Shown::from(self.words())))
    }

    fn words(&self) -> Evidence {
        let unknown = || "not seen".to_owned();
        let owned = |owned: &Vec<(String, u32)>| {
            let names: Vec<_> = owned.iter().map(|(topic, n)| format!("{topic}/{n}")).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let owned = self.met.owned.as_ref().map_or_else(unknown, owned);
        let records = self.met.uncommitted.map_or_else(unknown, |records| records.to_string());
        Evidence::from([
            ("partitions owned when struck".to_owned(), owned),
            ("records not committed when struck".to_owned(), records),
        ])
    }

    /// What can be seen of it now.
    pub(super) async fn observe(&self, stage: &Stage, when: &str) -> Result<Shown, FaultError> {
        Ok(look(when, &stage.processes.observe(&self.name).await?))
    }

    /// The process must be seen to run again; whether as another one is for the checker to compare.
    pub(super) async fn runs_again(&self, stage: &Stage) -> Result<Shown, FaultError> {
        let now = stage.processes.observe(&self.name).await?;
        if now.contains_key("started_ticks") {
            return Ok(look("after", &now));
        }
        Err(FaultError::NotSeen {
            what: format!("a new process for {}", self.name),
            within: Duration::ZERO,
            last: format!("{now:?}"),
        })
    }
}
