//! The pipeline of this workspace as a system under test: its command line, what its producer takes and
//! prints, its parts, dead letters and settings, each as it is documented.
//!
//! It is started through the harness's own binary, so that `cargo run` needs to build one program only;
//! it is a process of its own all the same.

mod health;
pub(crate) mod letter;
pub(crate) mod lines;
pub(crate) mod part;
mod self_report;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::Signal;
use streamlake::crash;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Adapter, Reading, Sighted, Surroundings, Unread};
use crate::observer::store::{self, PartNames, Zone};
use crate::plan::{ConsumerPlan, DATASET, GroupPlan, Plan};
use crate::supervisor::Launch;
use crate::testbed::Testbed;
use crate::workload::WorkloadPlan;
use streamlake_history::Recorder;
use streamlake_history::event::ProcessRole;

/// An orderly stop may take as long as the pipeline's own deadline, and then some.
const STOP_WITHIN: Duration = Duration::from_secs(45);
/// One that ends sooner than this was not cut short by its shutdown deadline (10 s by default).
pub(crate) const DRAINS_WITHIN: Duration = Duration::from_secs(8);

/// How to start the pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Streamlake {
    /// The program.
    pub program: PathBuf,
    /// Arguments before those of the pipeline's own command line.
    pub prefix: Vec<String>,
    /// Environment of every process.
    pub environment: BTreeMap<String, String>,
}

impl Streamlake {
    /// The pipeline in this binary.
    ///
    /// # Errors
    /// When the operating system does not tell where this binary is.
    pub(crate) fn built_in() -> std::io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            prefix: vec!["pipeline".to_owned()],
            environment: BTreeMap::new(),
        })
    }

    /// The producer's process.
    #[must_use]
    pub(crate) fn producer(
        &self,
        name: &str,
        plan: &Plan,
        workload: &WorkloadPlan,
        around: Surroundings<'_>,
    ) -> Launch {
        let mut arguments = self.prefix.clone();
        arguments.extend(["produce", "--dataset", &workload.dataset].map(str::to_owned));
        if workload.in_envelopes() {
            arguments.extend(["--input", "envelope"].map(str::to_owned));
        }
        if workload.lets_poison_through {
            arguments.extend(["--schema", "any"].map(str::to_owned));
        }
        let mut properties = plan.producer_properties.clone();
        // By this name the proxies before the brokers know who asks.
        properties.entry("client.id".to_owned()).or_insert_with(|| name.to_owned());
        self.launch((name, ProcessRole::Producer, None), arguments, &properties, around)
    }

    fn launch(
        &self,
        (process, role, group): (&str, ProcessRole, Option<&String>),
        mut arguments: Vec<String>,
        properties: &BTreeMap<String, String>,
        Surroundings { testbed, folder: run }: Surroundings<'_>,
    ) -> Launch {
        arguments.extend(["--bootstrap-servers".to_owned(), testbed.bootstrap_servers()]);
        for (name, value) in properties {
            let value = value.replace("{member}", process);
            arguments.extend(["-X".to_owned(), format!("{name}={value}")]);
        }
        arguments.extend(["--events".to_owned(), events(run, process).display().to_string()]);
        let mut environment = self.environment(testbed);
        if let Some(store) = testbed.store() {
            environment.extend(store.client_environment);
        }
        self.process((process, role, group.cloned()), arguments, environment, run)
    }

    /// That of every process, with how its clients are let in: not by arguments, since it may be secret.
    fn environment(&self, testbed: &dyn Testbed) -> BTreeMap<String, String> {
        let mut environment = self.environment.clone();
        for (name, value) in testbed.client_properties() {
            let name = name.to_uppercase().replace(['.', '-'], "_");
            environment.insert(format!("STREAMLAKE_KAFKA_{name}"), value);
        }
        environment
    }

    fn process(
        &self,
        (name, role, group): (&str, ProcessRole, Option<String>),
        arguments: Vec<String>,
        environment: BTreeMap<String, String>,
        run: &Path,
    ) -> Launch {
        Launch {
            vessel: None,
            name: name.to_owned(),
            role,
            group,
            program: self.program.clone(),
            arguments,
            environment,
            directory: None,
            log: run.join(format!("{name}.log")),
            stop_signal: Signal::SIGTERM,
            stop_within: STOP_WITHIN,
            restarts: None,
            crash_file: None,
        }
    }
}

#[async_trait]
impl Adapter for Streamlake {
    fn consumer(&self, name: &str, group: &GroupPlan, around: Surroundings<'_>) -> Launch {
        let mut arguments = self.prefix.clone();
        arguments.extend(["consume", "--dataset", dataset(group)].map(str::to_owned));
        arguments.extend(["--group".to_owned(), group.group.clone()]);
        arguments.extend(["--raw-zone".to_owned(), group.raw_zone.clone()]);
        // Where, it says in its events.
        arguments.extend(["--http", "127.0.0.1:0"].map(str::to_owned));
        let mut properties = BTreeMap::new();
        if let ConsumerPlan::Pipeline(plan) = &group.consumer {
            arguments.extend(["--batch-records".to_owned(), plan.batch_records.to_string()]);
            if let Some(bytes) = plan.batch_bytes {
                arguments.extend(["--batch-bytes".to_owned(), bytes.to_string()]);
            }
            if let Some(bytes) = plan.memory_bytes {
                arguments.extend(["--memory-bytes".to_owned(), bytes.to_string()]);
            }
            let times = [
                ("--batch-age", Some(plan.batch_age)),
                ("--store-timeout", plan.store_timeout),
                ("--stall-after", plan.stall_after),
            ];
            for (flag, time) in times {
                let given = time.map(|time| [flag.to_owned(), format!("{}ms", time.as_millis())]);
                arguments.extend(given.into_iter().flatten());
            }
            arguments.extend(["--compression", plan.compression].map(str::to_owned));
            properties = plan.properties.clone();
        }
        // By this name the proxies before the brokers know who asks.
        properties.entry("client.id".to_owned()).or_insert_with(|| name.to_owned());
        let member = (name, ProcessRole::Consumer, Some(&group.group));
        let mut launch = self.launch(member, arguments, &properties, around);
        if !crash::labels().is_empty() {
            let file = around.folder.join(format!("{name}.crash"));
            let variable = crash::FILE_VARIABLE.to_owned();
            launch.environment.insert(variable, file.display().to_string());
            launch.crash_file = Some(file);
        }
        launch
    }

    fn replay(
        &self,
        name: &str,
        group: &GroupPlan,
        from_offset: u64,
        around: Surroundings<'_>,
    ) -> Option<Launch> {
        let mut arguments = self.prefix.clone();
        arguments.extend(["replay", "--dataset", dataset(group)].map(str::to_owned));
        arguments.extend(["--group".to_owned(), group.group.clone()]);
        arguments.extend(["--from-offset".to_owned(), from_offset.to_string()]);
        // It asks where the group stands, and is no member.
        arguments.extend(["-X".to_owned(), format!("client.id={name}")]);
        arguments.extend(["--bootstrap-servers".to_owned(), around.testbed.bootstrap_servers()]);
        let environment = self.environment(around.testbed);
        let process = (name, ProcessRole::Replay, Some(group.group.clone()));
        Some(self.process(process, arguments, environment, around.folder))
    }

    fn audit(&self, name: &str, group: &GroupPlan, around: Surroundings<'_>) -> Option<Launch> {
        let mut arguments = self.prefix.clone();
        arguments.extend(["audit", "--dataset", dataset(group)].map(str::to_owned));
        arguments.extend(["--group".to_owned(), group.group.clone()]);
        arguments.extend(["--raw-zone".to_owned(), group.raw_zone.clone()]);
        // It asks where the group stands, and is no member.
        arguments.extend(["-X".to_owned(), format!("client.id={name}")]);
        arguments.extend(["--bootstrap-servers".to_owned(), around.testbed.bootstrap_servers()]);
        let mut environment = self.environment(around.testbed);
        environment.extend(around.testbed.store()?.client_environment);
        let process = (name, ProcessRole::Audit, Some(group.group.clone()));
        Some(self.process(process, arguments, environment, around.folder))
    }

    fn audited(&self, name: &str, group: &GroupPlan, folder: &Path, recorder: &Recorder) {
        self_report::of_audit(name, &group.group, &folder.join(format!("{name}.log")), recorder);
    }

    fn zone(&self, group: &GroupPlan) -> Option<Zone> {
        Some(Zone { raw_zone: group.raw_zone.clone(), names: PartNames::Documented })
    }

    /// What its members say of their own health, which has to fit what they do.
    fn watch(
        &self,
        group: &GroupPlan,
        folder: &Path,
        recorder: &Recorder,
        _: Sighted,
        stop: CancellationToken,
    ) -> Option<JoinHandle<()>> {
        let members = group.members.iter();
        let members = members.map(|member| (member.clone(), events(folder, member))).collect();
        Some(tokio::spawn(health::watch(group.group.clone(), members, recorder.clone(), stop)))
    }

    async fn read_delivery(&self, group: &GroupPlan, reading: &Reading<'_>) -> Result<(), Unread> {
        let Some(store) = reading.testbed.observer_store() else { return Ok(()) };
        let (zone, lists) = (&group.raw_zone, reading.lists_headers);
        let read = store::read(store.as_ref(), zone, lists, reading.recorder);
        read.await.map_err(|error| Unread(error.to_string()))
    }

    fn settings(&self, process: &str, folder: &Path, recorder: &Recorder) {
        settings::of_clients(process, &events(folder, process), recorder);
    }
}

/// The dataset that a group of the pipeline reads.
fn dataset(group: &GroupPlan) -> &str {
    match &group.consumer {
        ConsumerPlan::Pipeline(plan) => &plan.dataset,
        ConsumerPlan::Command(_) => DATASET,
    }
}

/// The event stream of a process.
fn events(run: &Path, name: &str) -> PathBuf {
    run.join(format!("{name}.events.jsonl"))
}
