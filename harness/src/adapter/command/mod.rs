//! Anybody's consumer: a command with arguments and environment, and a description of what it delivers.
//!
//! It is started, killed, frozen and watched as an operating system sees processes, and judged by what
//! it delivered and committed. Nothing is asked of it but what the scenario says that it promises.

mod files;
mod include;
mod letters;
mod lines;
mod mapping;
mod objects;
mod resolve;
mod template;
mod topic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::Signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Adapter, Reading, Surroundings, Unread};
use crate::observer::store::{PartNames, Zone};
use crate::plan::GroupPlan;
use crate::supervisor::{Launch, Restarts};
use streamlake_history::Recorder;
use streamlake_history::event::ProcessRole;

pub use include::Include;
pub use mapping::{Logged, Mapping, Origin, Pointer};
pub use template::{PLACEHOLDERS, Template, Values};

/// A consumer as the plan has it.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandPlan {
    /// Program and arguments.
    pub command: Vec<Template>,
    /// Where it is started.
    pub directory: PathBuf,
    /// Environment beside the documented one.
    pub environment: BTreeMap<String, Template>,
    /// What the placeholders stand for that the plan knows.
    pub values: Values,
    /// The signal that asks it to stop.
    pub stop_signal: Signal,
    /// It has ended within this time after that.
    pub stop_within: Duration,
    /// What becomes of a process that ends by itself.
    pub restarts: Option<Restarts>,
    /// All members have joined their group before the load begins, within this time.
    pub ready_within: Option<Duration>,
    /// It commits at least this often while there is something to commit.
    pub commits_every: Duration,
    /// What it delivers where.
    pub delivery: DeliveryPlan,
    /// Its dead letters.
    pub letters: Option<LettersPlan>,
}

/// What a consumer delivers where.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryPlan {
    /// Where.
    pub at: DeliveryPlace,
    /// What was delivered may be replaced.
    pub overwrites: bool,
    /// Which record each line is.
    pub record: Mapping,
}

/// Where a consumer delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum DeliveryPlace {
    /// Into a folder of the run.
    Files {
        /// Names that count: a file is whole when it has one of them.
        include: Include,
    },
    /// Into the object store.
    Objects {
        /// Names that count.
        include: Include,
    },
    /// Into a topic.
    Topic {
        /// Its name.
        name: String,
        /// Its partitions.
        partitions: u32,
    },
}

/// Where a consumer's dead letters are.
#[derive(Debug, Clone, PartialEq)]
pub struct LettersPlan {
    /// The topic.
    pub topic: String,
    /// Which record each letter is of.
    pub record: Mapping,
}

/// The folder below the run's that holds what consumers deliver as files.
const DELIVERY_FOLDER: &str = "delivery";

/// A consumer in a run.
pub(crate) struct Command {
    plan: Arc<CommandPlan>,
}

impl Command {
    pub(super) fn new(plan: Arc<CommandPlan>) -> Self {
        Self { plan }
    }

    /// What the placeholders of a process stand for.
    fn values(&self, member: &str, group: &GroupPlan, around: Surroundings<'_>) -> Values {
        let mut values = self.plan.values.clone();
        let mut put = |name, value: String| values.insert(name, value);
        let folder = absolute(around.folder);
        put("member", member.to_owned());
        put("bootstrap_servers", around.testbed.bootstrap_servers());
        if let Some(store) = around.testbed.store() {
            put("store_url", store.client_url);
        }
        if matches!(self.plan.delivery.at, DeliveryPlace::Files { .. }) {
            put("delivery", delivery_folder(&folder, &group.group).display().to_string());
        }
        put("run_folder", folder.display().to_string());
        values
    }
}

/// The environment that every consumer has: its names are documented and stay.
fn environment(values: &Values) -> BTreeMap<String, String> {
    const NAMES: [(&str, &str); 11] = [
        ("STREAMLAKE_BOOTSTRAP_SERVERS", "bootstrap_servers"),
        ("STREAMLAKE_TOPIC", "topic"),
        ("STREAMLAKE_PARTITIONS", "partitions"),
        ("STREAMLAKE_GROUP", "group"),
        ("STREAMLAKE_MEMBER", "member"),
        ("STREAMLAKE_DELIVERY", "delivery"),
        ("STREAMLAKE_DEAD_LETTER_TOPIC", "dead_letter_topic"),
        ("STREAMLAKE_STORE_URL", "store_url"),
        ("STREAMLAKE_BUCKET", "bucket"),
        ("STREAMLAKE_PREFIX", "prefix"),
        ("STREAMLAKE_RUN_FOLDER", "run_folder"),
    ];
    let known = NAMES.iter().filter_map(|(name, placeholder)| {
        Some(((*name).to_owned(), values.get(placeholder)?.clone()))
    });
    let mut environment: BTreeMap<String, String> = known.collect();
    if let Some(url) = values.get("store_url") {
        // What Google's own client libraries ask for.
        environment.insert("STORAGE_EMULATOR_HOST".to_owned(), url.clone());
    }
    environment
}

/// Where a group's files are.
fn delivery_folder(run: &Path, group: &str) -> PathBuf {
    run.join(DELIVERY_FOLDER).join(group)
}

fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// The place of a group's files, as a history names it.
#[must_use]
pub fn files_zone(group: &str) -> String {
    format!("file:{DELIVERY_FOLDER}/{group}")
}

#[async_trait]
impl Adapter for Command {
    fn prepare(&self, group: &GroupPlan, folder: &Path) -> std::io::Result<()> {
        match self.plan.delivery.at {
            DeliveryPlace::Files { .. } => {
                std::fs::create_dir_all(delivery_folder(folder, &group.group))
            }
            _ => Ok(()),
        }
    }

    fn consumer(&self, member: &str, group: &GroupPlan, around: Surroundings<'_>) -> Launch {
        let values = self.values(member, group, around);
        let mut words = self.plan.command.iter().map(|word| word.fill(&values));
        let program = words.next().unwrap_or_default();
        let mut environment = environment(&values);
        if let Some(store) = around.testbed.store() {
            environment.extend(store.client_environment);
        }
        let own = self.plan.environment.iter();
        environment.extend(own.map(|(name, value)| (name.clone(), value.fill(&values))));
        Launch {
            name: member.to_owned(),
            role: ProcessRole::Consumer,
            group: Some(group.group.clone()),
            program: program_in(&self.plan.directory, &program),
            arguments: words.collect(),
            environment,
            directory: Some(self.plan.directory.clone()),
            log: around.folder.join(format!("{member}.log")),
            stop_signal: self.plan.stop_signal,
            stop_within: self.plan.stop_within,
            restarts: self.plan.restarts,
            crash_file: None,
        }
    }

    fn replay(&self, _: &str, _: &GroupPlan, _: u64, _: Surroundings<'_>) -> Option<Launch> {
        None
    }

    fn zone(&self, group: &GroupPlan) -> Option<Zone> {
        let DeliveryPlace::Objects { include } = &self.plan.delivery.at else { return None };
        let names = PartNames::Included(include.clone());
        Some(Zone { raw_zone: group.raw_zone.clone(), names })
    }

    fn watch(
        &self,
        group: &GroupPlan,
        folder: &Path,
        recorder: &Recorder,
        stop: CancellationToken,
    ) -> Option<JoinHandle<()>> {
        let DeliveryPlace::Files { include } = &self.plan.delivery.at else { return None };
        let watching = files::Watching {
            folder: delivery_folder(&absolute(folder), &group.group),
            raw_zone: group.raw_zone.clone(),
            include: include.clone(),
            recorder: recorder.clone(),
        };
        Some(tokio::task::spawn_blocking(move || watching.until(&stop)))
    }

    async fn read_delivery(&self, group: &GroupPlan, reading: &Reading<'_>) -> Result<(), Unread> {
        let delivery = &self.plan.delivery;
        let sink = lines::Delivered::new(group, delivery, reading);
        match &delivery.at {
            DeliveryPlace::Files { include } => {
                let folder = delivery_folder(&absolute(reading.folder), &group.group);
                files::read(&folder, include, sink)
            }
            DeliveryPlace::Objects { include } => objects::read(include, sink).await,
            // The client blocks, and has a deadline of its own.
            DeliveryPlace::Topic { name, partitions } => {
                tokio::task::block_in_place(|| topic::read(name, *partitions, sink))
            }
        }
    }

    async fn read_letters(&self, group: &GroupPlan, reading: &Reading<'_>) -> Result<(), Unread> {
        match &self.plan.letters {
            Some(letters) => tokio::task::block_in_place(|| letters::read(group, letters, reading)),
            None => Ok(()),
        }
    }
}

/// A program with a slash in its name stands relative to the folder that it is started in; any other is
/// searched for where programs are.
#[must_use]
pub fn program_in(directory: &Path, program: &str) -> PathBuf {
    match program.contains('/') {
        true => directory.join(program),
        false => PathBuf::from(program),
    }
}

/// Whether a program is there and may be started.
#[must_use]
pub fn is_there(program: &Path) -> bool {
    let executable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 || program.is_absolute() {
        return executable(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| executable(&folder.join(program)))
}
