//! Systems under test: how each is started, and how what it did is read.
//!
//! The harness drives a consumer through [`Adapter`] and knows nothing else of it. [`streamlake`] is the
//! pipeline of this workspace, with all that it documents of its parts, dead letters and settings;
//! [`command`] is anybody's consumer, as a scenario describes it. The producer is always the
//! pipeline's: what a consumer under test is fed with is the harness's own affair.
//!
//! A new kind of system is one folder here.

pub mod command;
pub mod streamlake;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::observer::known::Known;
use crate::observer::store::Zone;
use crate::plan::{ConsumerPlan, GroupPlan, Plan};
use crate::supervisor::Launch;
use crate::testbed::Testbed;
use streamlake_history::Recorder;

/// What a process under test is started into.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Brokers and store.
    pub testbed: &'a dyn Testbed,
    /// Folder of the run.
    pub folder: &'a Path,
}

/// What is needed to read what a group delivered.
pub(crate) struct Reading<'a> {
    /// Brokers and store.
    pub testbed: &'a dyn Testbed,
    /// Folder of the run.
    pub folder: &'a Path,
    /// Headers are written down, and not only their fingerprint.
    pub lists_headers: bool,
    /// The log of the topic under test, which has been read.
    pub known: &'a Known,
    /// First offset of each partition that is of interest, where it is not the first of all.
    pub begins: &'a BTreeMap<u32, u64>,
    /// What is known of consumers that go on while they are read; none where all have ended.
    pub live: Option<&'a Live<'a>>,
    /// Where facts go.
    pub recorder: &'a Recorder,
}

/// Names of objects that were seen while a run went on.
pub(crate) type Sighted = Arc<Mutex<BTreeSet<String>>>;

/// Consumers that go on while what they delivered is read.
pub(crate) struct Live<'a> {
    /// The objects that the watch has seen. What came later is of no interest.
    pub sighted: Sighted,
    /// Whether an offset of a partition is below the end of the log by now.
    pub is_logged_by_now: &'a (dyn Fn(u32, u64) -> bool + Sync),
}

/// Why something could not be read; a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unread(pub String);

/// A consumer under test.
#[async_trait]
pub(crate) trait Adapter: Send + Sync {
    /// Makes what must be there before its first process starts.
    ///
    /// # Errors
    /// When it cannot be made.
    async fn prepare(&self, _: &GroupPlan, _: Surroundings<'_>) -> std::io::Result<()> {
        Ok(())
    }

    /// One of its processes.
    fn consumer(&self, member: &str, group: &GroupPlan, around: Surroundings<'_>) -> Launch;

    /// Its own command that sets a group back to an offset of every partition, if it has one.
    fn replay(
        &self,
        name: &str,
        group: &GroupPlan,
        from_offset: u64,
        around: Surroundings<'_>,
    ) -> Option<Launch>;

    /// Its own command that compares what a group delivered with the log, if it has one. It exits with 0
    /// where nothing is missing.
    fn audit(&self, _name: &str, _group: &GroupPlan, _: Surroundings<'_>) -> Option<Launch> {
        None
    }

    /// Records the numbers that such a command gave, which has ended.
    fn audited(&self, _name: &str, _group: &GroupPlan, _folder: &Path, _: &Recorder) {}

    /// The objects of the store that are what it delivers, if it delivers any there: they are watched
    /// while the run goes on.
    fn zone(&self, group: &GroupPlan) -> Option<Zone>;

    /// Watches what is delivered anywhere else, from now on until `stop` is cancelled.
    fn watch(
        &self,
        _group: &GroupPlan,
        _folder: &Path,
        _recorder: &Recorder,
        _sighted: Sighted,
        _stop: CancellationToken,
    ) -> Option<JoinHandle<()>> {
        None
    }

    /// Reads what the group delivered to its end.
    async fn read_delivery(&self, group: &GroupPlan, reading: &Reading<'_>) -> Result<(), Unread>;

    /// Reads its dead letters to their end, where they have a topic to themselves.
    async fn read_letters(&self, _group: &GroupPlan, _: &Reading<'_>) -> Result<(), Unread> {
        Ok(())
    }

    /// Records the settings that a process reported of its clients, if it does so.
    fn settings(&self, _process: &str, _folder: &Path, _recorder: &Recorder) {}
}

/// The systems of one run.
pub(crate) struct Systems {
    /// The pipeline of this workspace, which also produces.
    pub pipeline: streamlake::Streamlake,
    commands: BTreeMap<String, command::Command>,
}

impl Systems {
    /// Those that a plan asks for.
    pub(crate) fn new(pipeline: streamlake::Streamlake, plan: &Plan) -> Self {
        let command = |group: &GroupPlan| match &group.consumer {
            ConsumerPlan::Command(plan) => {
                Some((group.group.clone(), command::Command::new(plan.clone())))
            }
            ConsumerPlan::Pipeline(_) => None,
        };
        Self { pipeline, commands: plan.groups.iter().filter_map(command).collect() }
    }

    /// The one that a group's consumers are of.
    pub(crate) fn of(&self, group: &GroupPlan) -> &dyn Adapter {
        match self.commands.get(&group.group) {
            Some(command) => command,
            None => &self.pipeline,
        }
    }
}
