//! The one place that joins everything: plan, testbed, system under test, nemesis, observers, history.
//!
//! Phases: load (with the faults) → heal → recover → drain → final read. Whatever happens in between,
//! what was started is taken down again.

mod replay;
mod source;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fault::Stage;
use crate::history::Recorder;
use crate::history::event::{FORMAT, Fact, Header, RunInfo, VERSION};
use crate::observer::commits::{self, Watch};
use crate::observer::{self, Topics};
use crate::plan::{Load, Plan};
use crate::progress::Progress;
use crate::supervisor::Supervisor;
use crate::system::{self, System};
use crate::testbed::{Abilities, Part, Testbed, TestbedError};
use crate::workload::WorkloadPlan;
use crate::{nemesis, workload};

/// A producer whose load is over must have told every outcome it knows within this time after the
/// faults are healed.
const RECEIPTS_WITHIN: Duration = Duration::from_secs(90);
/// Consumers that were asked to stop must have exited within this time; then they are killed.
const DRAIN_WITHIN: Duration = Duration::from_secs(45);
const FINAL_READ_WITHIN: Duration = Duration::from_secs(120);
const PRODUCER: &str = "producer-1";

/// Why a run came to no history.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The testbed failed.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// A process of the system under test could not be started.
    #[error(transparent)]
    Process(#[from] crate::supervisor::SupervisorError),
    /// The run's folder could not be written.
    #[error("{path}: {source}")]
    Files {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody asked the harness to stop.
    #[error("interrupted; what was started has been taken down")]
    Interrupted,
}

/// What a run needs beside its plan.
pub(crate) struct Context {
    /// The started testbed.
    pub testbed: Arc<dyn Testbed>,
    /// What it can vouch for.
    pub abilities: Abilities,
    /// The system under test.
    pub system: System,
    /// Folder of this run: history, logs, event streams.
    pub folder: PathBuf,
    /// Counters for the terminal.
    pub progress: Arc<Progress>,
    /// Cancelled when the harness is asked to stop.
    pub stop: CancellationToken,
}

/// Carries out a plan and returns the path of the history. The testbed is left running.
///
/// # Errors
/// When the run could not be carried out. A history may have been begun; it lacks its end then.
pub(crate) async fn run(plan: Plan, context: Context) -> Result<PathBuf, RunError> {
    let history = context.folder.join("history.jsonl");
    let files = |source| RunError::Files { path: history.clone(), source };
    let file = File::create(&history).map_err(files)?;
    let recorder =
        Recorder::start(std::io::BufWriter::new(file), header(&plan, &context)).map_err(files)?;
    let run = Run {
        supervisor: Arc::new(Supervisor::new(recorder.clone())),
        recorder: recorder.clone(),
        context,
    };
    let outcome = run.carry_out(plan).await;
    run.supervisor.kill_all().await;
    outcome?;
    recorder.finish().map_err(files)?;
    Ok(history)
}

fn header(plan: &Plan, context: &Context) -> Header {
    Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        run: RunInfo {
            scenario: plan.scenario.clone(),
            testbed: context.testbed.kind().to_owned(),
            seed: plan.seed,
            started_at: String::new(), // the recorder knows
            harness_version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: crate::COMMIT.to_owned(),
            components: context.testbed.components(),
            limits: context.abilities.limits.clone(),
            about: plan.about.clone(),
        },
        promises: plan.promises.clone(),
    }
}

struct Run {
    recorder: Recorder,
    supervisor: Arc<Supervisor>,
    context: Context,
}

impl Run {
    async fn carry_out(&self, plan: Plan) -> Result<(), RunError> {
        let observers = self.start_observers(&plan);
        let outcome = self.phases(plan, &observers).await;
        observers.stop.cancel();
        observers.join(&self.recorder).await;
        outcome
    }

    async fn phases(&self, mut plan: Plan, observers: &Observers) -> Result<(), RunError> {
        let testbed = self.context.testbed.clone();
        observer::configuration::of_testbed(testbed.as_ref(), &self.recorder).await;
        for group in &plan.groups {
            for member in &group.members {
                let folder = &self.context.folder;
                let launch = self.context.system.consumer(member, group, testbed.as_ref(), folder);
                self.supervisor.start(launch)?;
            }
        }
        let faults = std::mem::take(&mut plan.faults);
        let load = match &plan.load {
            Load::Producer(load) => load,
            Load::Source(load) => return self.source_phases(&plan, load, faults).await,
        };
        self.load_and_heal(&plan, load, faults).await?;
        self.phase("recover");
        let lag = self.recover(&plan, &observers.watch).await?;
        tracing::debug!(lag, "recovered");
        if let Some(from_offset) = plan.replay_from {
            self.replay(&plan, from_offset).await?;
            self.phase("recover");
            self.recover(&plan, &observers.watch).await?;
        }
        self.phase("drain");
        self.drain(&plan).await?;
        self.phase("final-read");
        self.final_read(&plan).await?;
        for group in &plan.groups {
            for member in &group.members {
                observer::configuration::of_clients(member, &self.events(member), &self.recorder);
            }
        }
        observer::configuration::of_clients(PRODUCER, &self.events(PRODUCER), &self.recorder);
        self.phase("done");
        Ok(())
    }

    /// The load with the faults in it, and after it until every fault window is closed and every
    /// outcome is known that ever will be.
    async fn load_and_heal(
        &self,
        plan: &Plan,
        load: &WorkloadPlan,
        faults: Vec<crate::plan::FaultPlan>,
    ) -> Result<(), RunError> {
        self.phase("load");
        let (input, output) = self.supervisor.start_piped(self.context.system.producer(
            PRODUCER,
            plan,
            load,
            self.context.testbed.as_ref(),
            &self.context.folder,
        ))?;
        let (recorder, progress, stop) =
            (&self.recorder, &self.context.progress, &self.context.stop);
        let stage =
            Stage { testbed: self.context.testbed.clone(), processes: self.supervisor.clone() };
        let receipts = {
            let (recorder, progress) = (recorder.clone(), progress.clone());
            tokio::spawn(async move {
                workload::driver::receipts(PRODUCER, output, &recorder, &progress).await
            })
        };
        // A load that ended early must not leave the nemesis waiting for operations that never come.
        let load_over = stop.child_token();
        let feed = async {
            let fed = workload::driver::feed(PRODUCER, load, input, recorder, progress, stop).await;
            if let Err(error) = &fed {
                self.error(format!("the producer stopped reading its input: {error}"));
                load_over.cancel();
            }
            self.phase("heal");
        };
        let others = async {
            let bootstrap = self.context.testbed.observer_bootstrap_servers();
            if let Err(error) = workload::writer::write(&bootstrap, load, recorder, stop).await {
                self.error(format!("the odd records could not be written: {error}"));
            }
        };
        tokio::join!(feed, others, nemesis::walk(faults, &stage, recorder, progress, &load_over));
        match tokio::time::timeout(RECEIPTS_WITHIN, receipts).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => self.error(format!("reading receipts: {error}")),
            Ok(Err(error)) => self.error(format!("reading receipts: {error}")),
            // Not an error of the harness: outcomes that are never told stay unknown.
            Err(_) => self.warning(format!(
                "the producer had not told every outcome {RECEIPTS_WITHIN:?} after the last fault"
            )),
        }
        self.interrupted()
    }

    /// Waits until every group has committed everything that is in the log, or the promised time is
    /// over. Returns the lag that is left.
    async fn recover(&self, plan: &Plan, watch: &Watch) -> Result<u64, RunError> {
        let deadline = Instant::now() + plan.recovery_within;
        loop {
            let (watch, topics) = (watch.clone(), raw_topics(plan));
            let lag = tokio::task::spawn_blocking(move || lag(&watch, &topics)).await;
            match lag {
                Ok(Ok(0)) => return Ok(0),
                Ok(Ok(lag)) if Instant::now() >= deadline => return Ok(lag),
                Ok(Err(error)) if Instant::now() >= deadline => {
                    self.error(format!("the lag could not be read: {error}"));
                    return Ok(u64::MAX);
                }
                _ => {}
            }
            self.interrupted()?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks every consumer to stop and waits for all of them.
    async fn drain(&self, plan: &Plan) -> Result<(), RunError> {
        let members: Vec<_> = plan.groups.iter().flat_map(|group| &group.members).collect();
        for member in &members {
            // One that has died already is in the history as such.
            if let Err(error) = self.supervisor.terminate(member) {
                self.warning(format!("at the drain: {error}"));
            }
        }
        for member in members {
            if let Err(error) = self.supervisor.ended(member, DRAIN_WITHIN).await {
                self.warning(format!("at the drain: {error}; it is killed"));
                self.supervisor.kill(member).await?;
            }
            self.interrupted()?;
        }
        Ok(())
    }

    async fn final_read(&self, plan: &Plan) -> Result<(), RunError> {
        let bootstrap = self.context.testbed.observer_bootstrap_servers();
        let (raw, dead) = (raw_topics(plan), dead_letter_topics(plan));
        let recorder = self.recorder.clone();
        let detail = observer::log::HeaderDetail::of(&plan.promises);
        let log = tokio::task::spawn_blocking(move || {
            use observer::log::{Role, read};
            read(&bootstrap, &raw, Role::Raw, &detail, &recorder, FINAL_READ_WITHIN)?;
            read(&bootstrap, &dead, Role::DeadLetters, &detail, &recorder, FINAL_READ_WITHIN)
        });
        match log.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.unread("the log", error, brokers(plan)).await,
            Err(error) => self.error(format!("the final read of the log failed: {error}")),
        }
        if let Some(journal) = self.context.testbed.store_journal() {
            let zones: Vec<_> = plan.groups.iter().map(|group| group.raw_zone.clone()).collect();
            observer::store::journal(&journal, &zones, &self.recorder);
        }
        if let Some(store) = self.context.testbed.observer_store() {
            for group in &plan.groups {
                let (zone, lists) = (&group.raw_zone, plan.promises.lists_headers());
                let read = observer::store::read(store.as_ref(), zone, lists, &self.recorder);
                if let Err(error) = read.await {
                    self.unread(&group.raw_zone, error, vec![Part::Store]).await;
                }
            }
        }
        self.interrupted()
    }

    /// Records that something could not be read, and how the parts that hold it are: a client's error
    /// says that nobody answers, not why.
    async fn unread(&self, what: &str, error: impl std::fmt::Display, parts: Vec<Part>) {
        let mut text = format!("the final read of {what} failed: {error}");
        for part in parts {
            text.push_str("; ");
            text.push_str(&observer::condition(self.context.testbed.as_ref(), &part).await);
        }
        self.error(text);
    }

    fn start_observers(&self, plan: &Plan) -> Observers {
        let testbed = self.context.testbed.clone();
        let watch = Watch {
            bootstrap: testbed.observer_bootstrap_servers(),
            groups: plan.groups.iter().map(|group| group.group.clone()).collect(),
            topics: raw_topics(plan),
            recorder: self.recorder.clone(),
            progress: self.context.progress.clone(),
        };
        let stop = CancellationToken::new();
        let record = testbed.keeps_record_of_groups();
        let commits = (record && !plan.groups.is_empty())
            .then(|| commits::start(watch.clone(), stop.clone()));
        let passing = testbed.passing().map(|passing| {
            let (watch, stop) = (watch.clone(), stop.clone());
            tokio::spawn(observer::coordination::listen(passing, watch, !record, stop))
        });
        let mut parts = brokers(plan);
        parts.extend((!plan.topology.buckets.is_empty()).then_some(Part::Store));
        let captures = plan.topology.change_data_capture;
        parts.extend(captures.then_some([Part::Database, Part::Connect]).into_iter().flatten());
        let clocked = parts.iter().filter(|part| **part != Part::Connect).cloned().collect();
        let clocks = tokio::spawn(observer::clocks::watch(
            testbed.clone(),
            clocked,
            self.recorder.clone(),
            stop.clone(),
        ));
        let probes = tokio::spawn(observer::probes::watch(
            testbed.clone(),
            parts,
            self.recorder.clone(),
            stop.clone(),
        ));
        let raw_zones = plan.groups.iter().map(|group| group.raw_zone.clone()).collect();
        let store = testbed.observer_store().map(|store| {
            tokio::spawn(observer::store::watch(
                store,
                raw_zones,
                self.recorder.clone(),
                stop.clone(),
            ))
        });
        let source = testbed.source().map(|source| {
            tokio::spawn(observer::source::watch(source, self.recorder.clone(), stop.clone()))
        });
        Observers {
            watch,
            stop,
            commits,
            others: [Some(probes), Some(clocks), store, source, passing],
        }
    }

    fn events(&self, process: &str) -> PathBuf {
        system::events(&self.context.folder, process)
    }

    fn phase(&self, name: &str) {
        self.context.progress.phase(name);
        self.recorder.record("runner", Fact::Phase { name: name.to_owned() });
    }

    fn error(&self, text: String) {
        tracing::error!("{text}");
        self.recorder.record("runner", Fact::Note { level: "error".to_owned(), text });
    }

    fn warning(&self, text: String) {
        tracing::warn!("{text}");
        self.recorder.record("runner", Fact::Note { level: "warning".to_owned(), text });
    }

    fn interrupted(&self) -> Result<(), RunError> {
        if self.context.stop.is_cancelled() { Err(RunError::Interrupted) } else { Ok(()) }
    }
}

struct Observers {
    watch: Watch,
    stop: CancellationToken,
    commits: Option<std::thread::JoinHandle<()>>,
    others: [Option<tokio::task::JoinHandle<()>>; 5],
}

impl Observers {
    async fn join(self, recorder: &Recorder) {
        let broke_down = |who: &str| {
            let text = format!("the {who} broke down: what it saw is not all there was");
            recorder.record("runner", Fact::Note { level: "error".to_owned(), text });
        };
        if let Some(commits) = self.commits {
            let joined = tokio::task::spawn_blocking(move || commits.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                broke_down("watch of commits");
            }
        }
        let names = ["probes", "watch of the store", "watch of the source"];
        for (name, other) in names.into_iter().zip(self.others) {
            if let Some(other) = other
                && other.await.is_err()
            {
                broke_down(name);
            }
        }
    }
}

/// Records in the log that some group has not committed, over all groups.
fn lag(watch: &Watch, topics: &Topics) -> rdkafka::error::KafkaResult<u64> {
    let ends = observer::log::ends(&watch.bootstrap, topics)?;
    let committed = commits::committed_now(watch)?;
    let of_group = |offsets: &commits::Offsets| -> u64 {
        let lag = |(place, end): (&(String, u32), &u64)| {
            end.saturating_sub(offsets.get(place).copied().unwrap_or(0))
        };
        ends.iter().map(lag).sum()
    };
    Ok(committed.values().map(of_group).sum())
}

fn brokers(plan: &Plan) -> Vec<Part> {
    (1..=plan.topology.brokers).map(Part::Broker).collect()
}

fn raw_topics(plan: &Plan) -> Topics {
    let raw = plan.topology.topics.iter().filter(|topic| topic.name == plan.topic);
    raw.map(|topic| (topic.name.clone(), topic.partitions)).collect()
}

fn dead_letter_topics(plan: &Plan) -> Topics {
    let others = plan.topology.topics.iter().filter(|topic| topic.name != plan.topic);
    others.map(|topic| (topic.name.clone(), topic.partitions)).collect()
}

/// Makes the folder of a run, empty.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn folder(path: &Path) -> Result<PathBuf, RunError> {
    let files = |source| RunError::Files { path: path.to_owned(), source };
    if path.exists() {
        std::fs::remove_dir_all(path).map_err(files)?;
    }
    std::fs::create_dir_all(path).map_err(files)?;
    Ok(path.to_owned())
}
