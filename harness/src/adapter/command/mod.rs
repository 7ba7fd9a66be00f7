//! Anybody's consumer: a command with arguments and environment, and a description of what it delivers.
//!
//! It is started, killed, frozen and watched as an operating system sees processes, and judged by what
//! it delivered and committed. Nothing is asked of it but what the scenario says that it promises.

mod files;
mod format;
mod growing;
mod include;
mod letters;
mod lines;
mod mapping;
mod named;
mod objects;
mod producer;
mod resolve;
mod rows;
mod template;
mod topic;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::Signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Adapter, Reading, Sighted, Surroundings, Unread};
use crate::observer::store::{PartNames, Zone};
use crate::plan::GroupPlan;
use crate::supervisor::body::Vessel;
use crate::supervisor::{Launch, Restarts};
use crate::testbed::docker::{Access, Image};
use streamlake_history::Recorder;
use streamlake_history::event::ProcessRole;

pub use format::Format;
pub use include::Include;
pub use mapping::{Logged, Mapping, Origin, Pointer};
pub use named::NamePattern;
pub use producer::ProducerPlan;
pub use template::{PLACEHOLDERS, Template, Values};

/// A consumer as the plan has it.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandPlan {
    /// Program and arguments; of a container the arguments alone.
    pub command: Vec<Template>,
    /// The container that it runs in, if it does.
    pub image: Option<ImagePlan>,
    /// Where it is started; none is the image's own.
    pub directory: Option<PathBuf>,
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

/// A container in which a consumer runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePlan {
    /// Its image.
    pub reference: String,
    /// Instead of the image's own.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of the image's own.
    pub user: Option<String>,
}

/// What a consumer delivers where.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryPlan {
    /// Where.
    pub at: DeliveryPlace,
    /// How files and objects are read.
    pub format: Format,
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
        /// The folder, if it is not one of the run's.
        folder: Option<PathBuf>,
        /// Names that count.
        include: Include,
        /// When what is in them counts.
        durable: Durable,
    },
    /// Into the object store.
    Objects {
        /// Names that count.
        include: Include,
    },
    /// Into a table of the database.
    Rows {
        /// Its name.
        table: String,
        /// Statements that are run before the first consumer is started.
        setup: Option<String>,
    },
    /// Into a topic.
    Topic {
        /// Its name.
        name: String,
        /// Its partitions.
        partitions: u32,
    },
}

/// When what is in a file counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// When the file has a name that counts: it is whole then, and stays as it is.
    FinalName,
    /// Each line when it is there: files grow.
    Appended,
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

const NO_DATABASE: &str = "the testbed has no database";

/// A consumer in a run.
pub(crate) struct Command {
    plan: Arc<CommandPlan>,
    /// How the files grew that are appended to.
    grown: Arc<Mutex<growing::Grown>>,
}

impl Command {
    pub(crate) fn new(plan: Arc<CommandPlan>) -> Self {
        Self { plan, grown: Arc::default() }
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
        if let Some(database) = around.testbed.database() {
            put("database_url", database.client_url());
        }
        if matches!(self.plan.delivery.at, DeliveryPlace::Files { .. }) {
            put("delivery", delivery_folder(&folder, &group.group).display().to_string());
        }
        put("run_folder", folder.display().to_string());
        values
    }
}

impl Command {
    /// The container of a member: it sees the folder of the run, and that of the scenario.
    fn vessel(&self, image: &ImagePlan, around: Surroundings<'_>) -> Arc<dyn Vessel> {
        let run = (absolute(around.folder), Access::Write);
        let own = self.plan.directory.iter().map(|folder| (folder.clone(), Access::Read));
        Arc::new(Image {
            reference: image.reference.clone(),
            entrypoint: image.entrypoint.clone(),
            user: image.user.clone(),
            folders: own.chain([run]).collect(),
        })
    }
}

/// The environment that every consumer has: its names are documented and stay.
fn environment(values: &Values) -> BTreeMap<String, String> {
    const NAMES: [(&str, &str); 13] = [
        ("STREAMLAKE_BOOTSTRAP_SERVERS", "bootstrap_servers"),
        ("STREAMLAKE_TOPIC", "topic"),
        ("STREAMLAKE_PARTITIONS", "partitions"),
        ("STREAMLAKE_GROUP", "group"),
        ("STREAMLAKE_MEMBER", "member"),
        ("STREAMLAKE_DELIVERY", "delivery"),
        ("STREAMLAKE_DEAD_LETTER_TOPIC", "dead_letter_topic"),
        ("STREAMLAKE_STORE_URL", "store_url"),
        ("STREAMLAKE_DATABASE_URL", "database_url"),
        // What many libraries ask for.
        ("DATABASE_URL", "database_url"),
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

/// Where a group's files are in the folder of a run.
fn delivery_folder(run: &Path, group: &str) -> PathBuf {
    run.join(DELIVERY_FOLDER).join(group)
}

/// Where they are, there or anywhere else.
fn folder_of_files(own: Option<&PathBuf>, run: &Path, group: &str) -> PathBuf {
    own.cloned().unwrap_or_else(|| delivery_folder(&absolute(run), group))
}

/// A folder by a name that holds wherever a process is started.
pub(crate) fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// The place of a group's files, as a history names it.
#[must_use]
pub fn files_zone(group: &str) -> String {
    format!("file:{DELIVERY_FOLDER}/{group}")
}

#[async_trait]
impl Adapter for Command {
    async fn prepare(&self, group: &GroupPlan, around: Surroundings<'_>) -> std::io::Result<()> {
        match &self.plan.delivery.at {
            DeliveryPlace::Files { .. } => {
                let folder = delivery_folder(around.folder, &group.group);
                std::fs::create_dir_all(&folder)?;
                match self.plan.image {
                    // Whoever the user of the image is.
                    Some(_) => std::fs::set_permissions(&folder, Permissions::from_mode(0o777)),
                    None => Ok(()),
                }
            }
            DeliveryPlace::Rows { setup: Some(setup), .. } => {
                let database = around.testbed.database();
                let database = database.ok_or_else(|| std::io::Error::other(NO_DATABASE))?;
                let done = database.query(setup).await;
                done.map(drop).map_err(|error| {
                    std::io::Error::other(format!("`setup` of group {}: {error}", group.group))
                })
            }
            _ => Ok(()),
        }
    }

    fn consumer(&self, member: &str, group: &GroupPlan, around: Surroundings<'_>) -> Launch {
        let values = self.values(member, group, around);
        let mut words = self.plan.command.iter().map(|word| word.fill(&values));
        let directory = self.plan.directory.clone();
        let (program, vessel) = match &self.plan.image {
            Some(image) => (image.reference.clone().into(), Some(self.vessel(image, around))),
            None => {
                let program = words.next().unwrap_or_default();
                (program_in(directory.as_deref().unwrap_or(Path::new(".")), &program), None)
            }
        };
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
            vessel,
            program,
            arguments: words.collect(),
            environment,
            directory,
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
        sighted: Sighted,
        stop: CancellationToken,
    ) -> Option<JoinHandle<()>> {
        let DeliveryPlace::Files { folder: own, include, durable } = &self.plan.delivery.at else {
            return None;
        };
        let watching = files::Watching {
            folder: folder_of_files(own.as_ref(), folder, &group.group),
            raw_zone: group.raw_zone.clone(),
            include: include.clone(),
            recorder: recorder.clone(),
            sighted,
        };
        let grown = self.grown.clone();
        Some(match durable {
            Durable::FinalName => tokio::task::spawn_blocking(move || watching.until(&stop)),
            Durable::Appended => {
                tokio::task::spawn_blocking(move || growing::watch(&watching, &grown, &stop))
            }
        })
    }

    async fn read_delivery(&self, group: &GroupPlan, reading: &Reading<'_>) -> Result<(), Unread> {
        let delivery = &self.plan.delivery;
        let sink = lines::Delivered::new(group, delivery, reading);
        match &delivery.at {
            DeliveryPlace::Files { folder, include, durable } => {
                let folder = folder_of_files(folder.as_ref(), reading.folder, &group.group);
                match durable {
                    Durable::FinalName => files::read(&folder, include, sink),
                    Durable::Appended => growing::read(&folder, include, &self.grown, sink),
                }
            }
            DeliveryPlace::Objects { include } => objects::read(include, sink).await,
            DeliveryPlace::Rows { table, .. } => {
                let database = reading.testbed.database();
                let database = database.ok_or_else(|| Unread(NO_DATABASE.to_owned()))?;
                rows::read(table, &database, sink).await
            }
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
        std::fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 || program.is_absolute() {
        return executable(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| executable(&folder.join(program)))
}
