//! Anybody's producer: a command that reads a record a line and prints what became of each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::template::{Template, Values};
use super::{absolute, environment, program_in};
use crate::adapter::Surroundings;
use crate::supervisor::Launch;
use streamlake_history::event::ProcessRole;

/// It has ended within this time after its input.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A producer as the plan has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducerPlan {
    /// Program and arguments.
    pub command: Vec<Template>,
    /// Where it is started.
    pub directory: PathBuf,
    /// Environment beside the documented one.
    pub environment: BTreeMap<String, Template>,
    /// What the placeholders stand for that the plan knows.
    pub values: Values,
    /// It prints what became of each record.
    pub tells_receipts: bool,
    /// Where it promises that a key leads.
    pub partitioner: Option<String>,
    /// It promises no second copies, and the order of each key.
    pub idempotent: bool,
}

impl ProducerPlan {
    /// Its process.
    pub(crate) fn launch(&self, name: &str, around: Surroundings<'_>) -> Launch {
        let mut values = self.values.clone();
        values.insert("member", name.to_owned());
        values.insert("bootstrap_servers", around.testbed.bootstrap_servers());
        values.insert("run_folder", absolute(around.folder).display().to_string());
        let mut words = self.command.iter().map(|word| word.fill(&values));
        let program = program_in(&self.directory, &words.next().unwrap_or_default());
        let own = self.environment.iter();
        let own = own.map(|(name, value)| (name.clone(), value.fill(&values)));
        Launch {
            name: name.to_owned(),
            role: ProcessRole::Producer,
            group: None,
            vessel: None,
            program,
            arguments: words.collect(),
            environment: environment(&values).into_iter().chain(own).collect(),
            directory: Some(self.directory.clone()),
            log: around.folder.join(format!("{name}.log")),
            stop_signal: Signal::SIGTERM,
            stop_within: STOP_WITHIN,
            restarts: None,
            crash_file: None,
        }
    }
}
