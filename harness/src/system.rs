//! The system under test: which command makes a producer, which one a consumer.
//!
//! The pipeline in this workspace is the default. It is started through the harness's own binary
//! (see `command::pipeline`), so that `cargo run` needs to build one program only; it is a process
//! of its own all the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::plan::{DATASET, GroupPlan, Plan};
use crate::supervisor::Launch;
use crate::testbed::Testbed;
use crate::workload::WorkloadPlan;
use streamlake_history::event::ProcessRole;

/// How to start the pipeline.
#[derive(Debug, Clone)]
pub(crate) struct System {
    /// The program.
    pub program: PathBuf,
    /// Arguments before those of the pipeline's own command line.
    pub prefix: Vec<String>,
    /// Environment of every process.
    pub environment: BTreeMap<String, String>,
}

impl System {
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
        testbed: &dyn Testbed,
        run: &Path,
    ) -> Launch {
        let mut arguments = self.prefix.clone();
        arguments.extend(["produce", "--dataset", DATASET].map(str::to_owned));
        if workload.in_envelopes() {
            arguments.extend(["--input", "envelope"].map(str::to_owned));
        }
        if workload.lets_poison_through {
            arguments.extend(["--schema", "any"].map(str::to_owned));
        }
        let (role, properties) = (ProcessRole::Producer, &plan.producer_properties);
        self.launch((name, role, None), arguments, properties, testbed, run)
    }

    /// One member of a consumer group.
    #[must_use]
    pub(crate) fn consumer(
        &self,
        name: &str,
        group: &GroupPlan,
        testbed: &dyn Testbed,
        run: &Path,
    ) -> Launch {
        let mut arguments = self.prefix.clone();
        arguments.extend(["consume", "--dataset", DATASET].map(str::to_owned));
        arguments.extend(["--group".to_owned(), group.group.clone()]);
        arguments.extend(["--raw-zone".to_owned(), group.raw_zone.clone()]);
        arguments.extend(["--batch-records".to_owned(), group.batch_records.to_string()]);
        if let Some(bytes) = group.batch_bytes {
            arguments.extend(["--batch-bytes".to_owned(), bytes.to_string()]);
        }
        arguments.extend(["--batch-age".to_owned(), format!("{}ms", group.batch_age.as_millis())]);
        arguments.extend(["--compression", group.compression].map(str::to_owned));
        let mut properties = group.properties.clone();
        // By this name the proxies before the brokers know who asks.
        properties.entry("client.id".to_owned()).or_insert_with(|| name.to_owned());
        let member = (name, ProcessRole::Consumer, Some(&group.group));
        self.launch(member, arguments, &properties, testbed, run)
    }

    /// The command that sets a group back to an offset of every partition.
    #[must_use]
    pub(crate) fn replay(
        &self,
        name: &str,
        group: &GroupPlan,
        from_offset: u64,
        testbed: &dyn Testbed,
        run: &Path,
    ) -> Launch {
        let mut arguments = self.prefix.clone();
        arguments.extend(["replay", "--dataset", DATASET].map(str::to_owned));
        arguments.extend(["--group".to_owned(), group.group.clone()]);
        arguments.extend(["--from-offset".to_owned(), from_offset.to_string()]);
        // It asks where the group stands, and is no member.
        arguments.extend(["-X".to_owned(), format!("client.id={name}")]);
        arguments.extend(["--bootstrap-servers".to_owned(), testbed.bootstrap_servers()]);
        Launch {
            name: name.to_owned(),
            role: ProcessRole::Replay,
            group: Some(group.group.clone()),
            program: self.program.clone(),
            arguments,
            environment: self.environment.clone(),
            log: run.join(format!("{name}.log")),
        }
    }

    fn launch(
        &self,
        (process, role, group): (&str, ProcessRole, Option<&String>),
        mut arguments: Vec<String>,
        properties: &BTreeMap<String, String>,
        testbed: &dyn Testbed,
        run: &Path,
    ) -> Launch {
        arguments.extend(["--bootstrap-servers".to_owned(), testbed.bootstrap_servers()]);
        for (name, value) in properties {
            let value = value.replace("{member}", process);
            arguments.extend(["-X".to_owned(), format!("{name}={value}")]);
        }
        arguments.extend(["--events".to_owned(), events(run, process).display().to_string()]);
        let mut environment = self.environment.clone();
        if let Some(store) = testbed.store() {
            environment.extend(store.client_environment);
        }
        Launch {
            name: process.to_owned(),
            role,
            group: group.cloned(),
            program: self.program.clone(),
            arguments,
            environment,
            log: run.join(format!("{process}.log")),
        }
    }
}

/// The event stream of a process.
#[must_use]
pub(crate) fn events(run: &Path, name: &str) -> PathBuf {
    run.join(format!("{name}.events.jsonl"))
}
