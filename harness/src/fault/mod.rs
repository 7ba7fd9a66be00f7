//! The faults: each knows what it needs, how to do it, how to undo it, and how to see from outside
//! that it was done and undone.
//!
//! A fault that cannot be seen to have happened did not happen: [`Fault::seen`] and [`Fault::back`]
//! wait for a condition that the target itself did not report, under a deadline, and say what they
//! saw: in words for people, and typed ([`Shown`]), so that the checker `fault-bit` can compare it. The
//! nemesis turns an error from any step into a window that proves nothing.
//!
//! A fault that met nothing of the system under test proves nothing either: a member without
//! partitions that is killed, a store that fails while nobody asks it. [`Fault::aim`] waits for a
//! moment in which there is something to meet; what was met stands in the evidence.
//!
//! A new fault is one file here and one row in [`KINDS`], which says what its evidence must show.

mod broker;
mod broker_kill;
mod broker_pause;
mod broker_restart;
mod capture;
mod client_partition;
mod command;
mod connect_kill;
mod connector_restart;
mod consumer_kill;
mod consumer_pause;
mod consumer_restart;
mod crash_point;
mod database_restart;
mod probe;
mod process;
mod protocol_error;
mod store_failure;
mod tampering;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::patients::Patients;
use crate::supervisor::{Supervisor, SupervisorError};
use crate::testbed::{Capability, Testbed, TestbedError};
use streamlake_history::event::{Demand, FaultLoad, PatientMet, TargetSeen};

/// What was seen from outside: name → value.
pub type Evidence = BTreeMap<String, String>;

/// What faults can lay hands on.
#[derive(Clone)]
pub struct Stage {
    /// The parts around the system under test.
    pub testbed: Arc<dyn Testbed>,
    /// The processes of the system under test.
    pub processes: Arc<Supervisor>,
    /// What the members of its groups own and have not committed.
    pub patients: Arc<Patients>,
    /// Crash points take turns: a process can be armed for one at a time.
    pub crash_turn: Arc<tokio::sync::Mutex<()>>,
}

/// What a step of a fault has to show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// For people.
    pub words: Evidence,
    /// The target, as it was seen at this step.
    pub target: Option<TargetSeen>,
    /// What of the system under test was met by now.
    pub patient: Option<PatientMet>,
}

impl From<Evidence> for Shown {
    fn from(words: Evidence) -> Self {
        Self { words, ..Self::default() }
    }
}

impl Shown {
    /// Joins two looks; words of the second win, and what it does not tell is left to the first.
    #[must_use]
    pub fn and(mut self, second: Self) -> Self {
        self.words.extend(second.words);
        self.target = second.target.or(self.target);
        self.patient = second.patient.or(self.patient);
        self
    }

    /// Adds words.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.words.insert(name.into(), value.to_string());
        self
    }
}

/// A look at a target: each word with when it was, and what can be compared.
fn look(when: &str, observation: &BTreeMap<String, String>) -> Shown {
    let words = observation.iter().map(|(name, value)| (format!("{name} {when}"), value.clone()));
    Shown { words: words.collect(), target: TargetSeen::of(observation), patient: None }
}

/// One planned fault, through its window.
#[async_trait]
pub trait Fault: fmt::Debug + Send + Sync {
    /// What the testbed must be able to do.
    fn needs(&self) -> &'static [Capability];

    /// What its evidence must show beside what its kind says.
    fn shows(&self) -> &'static [Demand] {
        &[]
    }

    /// Waits, under a deadline of its own, for a moment in which there is something of the system under
    /// test to meet. Afterwards the fault strikes in any case: what it met is for its evidence to say.
    async fn aim(&mut self, _: &Stage) {}

    /// Does it. Returns once the act is done, with what was seen of the target before it.
    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError>;

    /// Waits until the effect is seen from outside. The window is to end at `until`.
    async fn seen(&mut self, stage: &Stage, until: Instant) -> Result<Shown, FaultError>;

    /// Undoes it. Returns once the act is done.
    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError>;

    /// Waits until the target is seen to be back.
    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError>;
}

/// Why a step of a fault failed. None of these is an anomaly of the system under test.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The target does not exist: the fault hit nothing.
    #[error("there is no {0} to act on")]
    NoTarget(String),
    /// The act was done but its effect, or its end, was not seen in time.
    #[error("{what} was not seen within {within:?}; last seen: {last}")]
    NotSeen {
        /// What was waited for.
        what: String,
        /// For how long.
        within: Duration,
        /// What was there instead.
        last: String,
    },
    /// The testbed refused.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// A command that somebody gave for it did not do what it was to do.
    #[error("{what} ({command}) {outcome}")]
    Command {
        /// Which of the fault's commands.
        what: &'static str,
        /// The command.
        command: String,
        /// How it ended, with its last lines.
        outcome: String,
    },
    /// A process of the system under test could not be acted on.
    #[error(transparent)]
    Process(#[from] SupervisorError),
}

/// What a scenario says of one fault, for [`Kind::make`].
#[derive(Debug)]
pub struct Order {
    /// The target as written, or the kind's own.
    pub target: String,
    /// The kind's own settings.
    pub settings: toml::Table,
    /// The folder of the scenario's file.
    pub directory: PathBuf,
}

/// What is wrong with an [`Order`]: the message and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// With its target.
    Target(String, String),
    /// With its settings.
    Settings(String, String),
}

/// A row of the table of faults.
#[derive(Debug)]
pub struct Kind {
    /// Name in scenario files.
    pub name: &'static str,
    /// One line for `list --faults` and for reports.
    pub about: &'static str,
    /// Target where a scenario names none.
    pub default_target: &'static str,
    /// Time until it is undone where a scenario says nothing.
    pub default_lasts: Duration,
    /// What must be under way while its effect lasts, or it proves nothing.
    pub load: Option<FaultLoad>,
    /// What its evidence must show, or it proves nothing.
    pub shows: &'static [Demand],
    /// Brokers, and the way to them, are left alone.
    pub spares_brokers: bool,
    /// Makes one from what a scenario says.
    pub make: fn(Order) -> Result<Box<dyn Fault>, Wrong>,
}

/// Every kind of fault.
pub static KINDS: &[&Kind] = &[
    &broker_restart::KIND,
    &broker_kill::KIND,
    &broker_pause::KIND,
    &client_partition::KIND,
    &consumer_kill::KIND,
    &consumer_restart::KIND,
    &consumer_pause::KIND,
    &crash_point::KIND,
    &protocol_error::KIND,
    &store_failure::KIND,
    &connector_restart::KIND,
    &connect_kill::KIND,
    &database_restart::KIND,
    &tampering::KIND,
    &command::KIND,
];

/// Finds a kind by its name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

impl Order {
    /// The number in a target like `broker-2`.
    fn numbered_target(&self, noun: &str) -> Result<u32, Wrong> {
        let number = self.target.strip_prefix(noun).and_then(|rest| rest.strip_prefix('-'));
        number.and_then(|digits| digits.parse().ok()).filter(|&number| number > 0).ok_or_else(
            || {
                Wrong::Target(
                    format!("`{}` is no target for this fault", self.target),
                    format!("name one like `{noun}-1`"),
                )
            },
        )
    }

    /// The kind's own settings, parsed; unknown keys are refused.
    fn settings<T: serde::de::DeserializeOwned>(&self) -> Result<T, Wrong> {
        self.settings.clone().try_into().map_err(|error: toml::de::Error| {
            Wrong::Settings(
                error.message().to_owned(),
                "see `streamlake-harness list --faults` for what the fault takes".to_owned(),
            )
        })
    }
}

/// Settings of a fault that has none.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoSettings {}
