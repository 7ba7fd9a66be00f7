//! The one place that joins everything: plan, testbed, system under test, nemesis, observers, history.
//!
//! Phases: load (with the faults) → heal → recover → drain → final read. Whatever happens in between,
//! what was started is taken down again.
//!
//! Every wait has an end, and a process of the system under test that ends without having been told to
//! ends them all: what is left is read, and the run is told to be cut short.

mod audit;
mod deadline;
mod ready;
mod replay;
mod source;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::adapter::{Adapter as _, Reading, Sighted, Surroundings, Systems};
use crate::fault::Stage;
use crate::observer::commits::{self, Watch};
use crate::observer::known::Known;
use crate::observer::{self, Topics};
use crate::patients::Patients;
use crate::plan::{self, ConsumerPlan, GroupPlan, Load, Plan};
use crate::progress::Progress;
use crate::supervisor::Supervisor;
use crate::testbed::{Abilities, Part, Testbed, TestbedError};
use crate::workload::WorkloadPlan;
use crate::workload::reserve::Reserve;
use crate::{nemesis, workload};
use streamlake_history::Recorder;
use streamlake_history::event::{CUT_SHORT, FORMAT, Fact, Header, RunInfo, VERSION};

/// A producer whose load is over must have told every outcome it knows within this time after the
/// faults are healed.
const RECEIPTS_WITHIN: Duration = Duration::from_secs(90);
const FINAL_READ_WITHIN: Duration = Duration::from_secs(120);
/// The same where the run is over and only what happened until then is of interest.
const CONFIGURATION_WITHIN: Duration = Duration::from_secs(60);
/// Observers that were asked to stop have told their last facts within this time.
const OBSERVERS_WITHIN: Duration = Duration::from_secs(60);
/// Last lines of a process that a report tells; the history holds more.
const LAST_LINES_TOLD: usize = 5;
/// The producer's name within a run.
pub(crate) const PRODUCER: &str = "producer-1";
/// One look at how far the groups are behind.
const LAG_WITHIN: Duration = Duration::from_secs(30);

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
    /// A consumer was not ready in time.
    #[error("{0}")]
    NotReady(String),
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
    /// The systems under test.
    pub systems: Systems,
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
        for problem in observers.join().await {
            self.error(problem);
        }
        outcome
    }

    async fn phases(&self, mut plan: Plan, observers: &Observers) -> Result<(), RunError> {
        let testbed = self.context.testbed.clone();
        let configuration = observer::configuration::of_testbed(testbed.as_ref(), &self.recorder);
        if tokio::time::timeout(CONFIGURATION_WITHIN, configuration).await.is_err() {
            self.warning("the testbed did not tell its configuration".to_owned());
        }
        let patients = Patients::new(&plan, observers.watch.clone(), &self.recorder);
        let stage = Stage {
            testbed: testbed.clone(),
            processes: self.supervisor.clone(),
            patients: Arc::new(patients),
            crash_turn: Arc::default(),
        };
        self.start_consumers(&plan).await?;
        self.until_ready(&plan, &stage.patients).await?;
        let faults = std::mem::take(&mut plan.faults);
        let load = match &plan.load {
            Load::Producer(load) => load,
            Load::Source(load) => return self.source_phases(&plan, load, faults, &stage).await,
        };
        self.load_and_heal(&plan, load, faults, &stage).await?;
        let whole = self.settle(&plan, &observers.watch).await?;
        self.phase("drain");
        self.supervisor.wind_down();
        self.drain(&plan).await?;
        if whole {
            self.audit(&plan).await?;
        }
        self.phase("final-read");
        self.final_read(&plan).await?;
        let (systems, folder) = (&self.context.systems, &self.context.folder);
        for group in &plan.groups {
            for member in &group.members {
                systems.of(group).settings(member, folder, &self.recorder);
            }
        }
        if plan.own_producer.is_none() {
            systems.pipeline.settings(PRODUCER, folder, &self.recorder);
        }
        if whole {
            self.phase("done");
        }
        Ok(())
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings { testbed: self.context.testbed.as_ref(), folder: &self.context.folder }
    }

    async fn start_consumers(&self, plan: &Plan) -> Result<(), RunError> {
        for group in &plan.groups {
            let adapter = self.context.systems.of(group);
            let folder = &self.context.folder;
            let files = |source| RunError::Files { path: folder.clone(), source };
            adapter.prepare(group, self.surroundings()).await.map_err(files)?;
            for member in &group.members {
                self.supervisor.start(adapter.consumer(member, group, self.surroundings())).await?;
            }
        }
        Ok(())
    }

    /// After the load: recovery, and the replay where there is one. False if a process fell before that
    /// was over: nothing is waited for then.
    async fn settle(&self, plan: &Plan, watch: &Watch) -> Result<bool, RunError> {
        if !self.fell() {
            self.phase("recover");
            let lag = self.recover(plan, watch).await?;
            tracing::debug!(lag, "recovered");
        }
        if let (Some(from_offset), false) = (plan.replay_from, self.fell()) {
            self.replay(plan, from_offset).await?;
            self.phase("recover");
            self.recover(plan, watch).await?;
        }
        let Some(fallen) = self.supervisor.fallen().borrow().clone() else { return Ok(true) };
        self.phase(CUT_SHORT);
        let lines = &fallen.lines[fallen.lines.len().saturating_sub(LAST_LINES_TOLD)..];
        self.error(format!(
            "{} ended without having been told to ({}), which ended the run; its log ends with: {}",
            fallen.name,
            fallen.status,
            if lines.is_empty() { "nothing".to_owned() } else { lines.join(" | ") }
        ));
        Ok(false)
    }

    /// A process ended without having been told to.
    fn fell(&self) -> bool {
        self.supervisor.fallen().borrow().is_some()
    }

    /// The load with the faults in it, and after it until every fault window is closed and every
    /// outcome is known that ever will be.
    async fn load_and_heal(
        &self,
        plan: &Plan,
        load: &WorkloadPlan,
        faults: Vec<crate::plan::FaultPlan>,
        stage: &Stage,
    ) -> Result<(), RunError> {
        self.phase("load");
        let reserve = Reserve::of(load, &faults);
        let producer = match &plan.own_producer {
            Some(own) => own.launch(PRODUCER, self.surroundings()),
            None => {
                self.context.systems.pipeline.producer(PRODUCER, plan, load, self.surroundings())
            }
        };
        let tells_receipts = plan.own_producer.as_ref().is_none_or(|own| own.tells_receipts);
        let (input, output) = self.supervisor.start_piped(producer)?;
        let (recorder, progress) = (&self.recorder, &self.context.progress);
        let mut receipts = {
            let (recorder, progress) = (recorder.clone(), progress.clone());
            tokio::spawn(async move {
                match tells_receipts {
                    true => {
                        workload::driver::receipts(PRODUCER, output, &recorder, &progress).await
                    }
                    false => workload::driver::words(output).await,
                }
            })
        };
        // A load that ended early must not leave the nemesis waiting for operations that never come.
        let load_over = self.context.stop.child_token();
        let over = self.supervisor.cancel_when_one_falls(load_over.clone());
        let feed = async {
            let feeding = workload::driver::Feeding {
                name: PRODUCER,
                stall_within: plan.stall_within(),
                recorder,
                progress,
                reserve,
                as_file: plan.own_producer.is_none(),
                stop: &load_over,
            };
            // Its input stays open until it has been told that it ends.
            let fed = feeding.feed(load, input).await;
            if let Err(error) = self.supervisor.end_of_input(PRODUCER) {
                tracing::debug!(%error, "the end of the load");
            }
            if let Err(error) = fed.map(drop) {
                self.error(format!("the producer stopped reading its input: {error}"));
                load_over.cancel();
            }
            self.phase("heal");
        };
        let others = async {
            let brokers = self.context.testbed.observer_brokers();
            let writing = workload::writer::write(&brokers, load, recorder, &load_over);
            if let Err(error) = deadline::within("writing", 2 * plan.load_within(), writing).await {
                self.error(format!("the odd records could not be written: {error}"));
            }
        };
        let within = plan.load_within();
        let nemesis = nemesis::walk(faults, stage, recorder, progress, within, &load_over);
        tokio::join!(feed, others, nemesis);
        over.abort();
        match tokio::time::timeout(RECEIPTS_WITHIN, &mut receipts).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => self.error(format!("reading receipts: {error}")),
            Ok(Err(error)) => self.error(format!("reading receipts: {error}")),
            // Not an error of the harness: outcomes that are never told stay unknown.
            Err(_) => {
                receipts.abort();
                self.warning(format!(
                    "the producer had not told every outcome {RECEIPTS_WITHIN:?} after the last fault"
                ));
            }
        }
        self.interrupted()
    }

    /// Waits until every group has committed everything that is in the log, or the promised time is
    /// over. Returns the lag that is left.
    async fn recover(&self, plan: &Plan, watch: &Watch) -> Result<u64, RunError> {
        let deadline = Instant::now() + plan.recovery_within;
        loop {
            let (watch, topics) = (watch.clone(), raw_topics(plan));
            let lag =
                deadline::blocking("reading the lag", LAG_WITHIN, move || lag(&watch, &topics));
            match lag.await {
                Ok(0) => return Ok(0),
                Ok(lag) if Instant::now() >= deadline => return Ok(lag),
                Err(error) if Instant::now() >= deadline => {
                    self.error(format!("the lag could not be read: {error}"));
                    return Ok(u64::MAX);
                }
                Ok(lag) if self.fell() => return Ok(lag),
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
            if self.supervisor.has_given_up(member) {
                continue;
            }
            if let Err(error) = self.supervisor.terminate(member).await {
                self.warning(format!("at the drain: {error}"));
            }
        }
        for member in members {
            if !self.supervisor.has(member) {
                continue;
            }
            let within = self.supervisor.stop_within(member)?;
            if let Err(error) = self.supervisor.ended(member, within).await {
                self.warning(format!("at the drain: {error}; it is killed"));
                self.supervisor.kill(member).await?;
            }
            self.interrupted()?;
        }
        Ok(())
    }

    async fn final_read(&self, plan: &Plan) -> Result<(), RunError> {
        let known = self.read_log(plan).await;
        let systems = &self.context.systems;
        if let Some(journal) = self.context.testbed.store_journal() {
            let zones: Vec<_> = plan.groups.iter().filter_map(|g| systems.of(g).zone(g)).collect();
            observer::store::journal(&journal, &zones, &self.recorder);
        }
        let reading = Reading {
            testbed: self.context.testbed.as_ref(),
            folder: &self.context.folder,
            lists_headers: plan.promises.lists_headers(),
            known: &known,
            begins: &BTreeMap::new(),
            live: None,
            recorder: &self.recorder,
        };
        for group in &plan.groups {
            let letters = systems.of(group).read_letters(group, &reading);
            let letters =
                deadline::within("reading dead letters", FINAL_READ_WITHIN, letters).await;
            if let Err(error) = letters {
                self.unread("the dead letters", error, brokers(plan)).await;
            }
            let delivery = systems.of(group).read_delivery(group, &reading);
            let read = deadline::within("reading what was delivered", FINAL_READ_WITHIN, delivery);
            if let Err(error) = read.await {
                self.unread(&group.raw_zone, error, vec![Part::Store]).await;
            }
        }
        self.interrupted()
    }

    /// Reads the topic under test and the pipeline's dead letters, and gives what the former holds.
    async fn read_log(&self, plan: &Plan) -> Known {
        let clients = self.context.testbed.observer_brokers();
        let (raw, dead) = (raw_topics(plan), dead_letter_topics(plan));
        let recorder = self.recorder.clone();
        let detail = observer::log::HeaderDetail::of(&plan.promises);
        let own = |group: &GroupPlan| matches!(group.consumer, ConsumerPlan::Command(_));
        let mut known = Known::new(&plan.topic, plan.groups.iter().any(own));
        let log = deadline::blocking("reading the log", 3 * FINAL_READ_WITHIN, move || {
            use observer::log::{Role, Span, read, read_raw};
            let within = FINAL_READ_WITHIN;
            let span = Span { begins: &BTreeMap::new(), within };
            read_raw(&clients, &raw, &detail, &mut known, &recorder, &span)?;
            read(&clients, &dead, Role::DeadLetters, &detail, &recorder, within).map(|()| known)
        });
        match log.await {
            Ok(known) => known,
            Err(error) => {
                self.unread("the log", error, brokers(plan)).await;
                Known::new(&plan.topic, false)
            }
        }
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
            brokers: testbed.observer_brokers(),
            groups: plan.groups.iter().map(|group| group.group.clone()).collect(),
            alone: plan.groups.iter().filter_map(GroupPlan::alone).collect(),
            topics: raw_topics(plan),
            recorder: self.recorder.clone(),
            from: None,
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
        parts.extend(plan.topology.database.then_some(Part::Database));
        parts.extend(captures.then_some(Part::Connect));
        let stamps = |part: &&Part| **part != Part::Connect;
        // What is captured from is a clock of its own; what is delivered into is a store like any other.
        let whose = |part: &Part| match part {
            Part::Database if !captures => (part.clone(), "store"),
            part => (part.clone(), observer::clocks::name(part)),
        };
        let clocked = parts.iter().filter(stamps).map(whose).collect();
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
        let systems = &self.context.systems;
        let zones = plan.groups.iter().filter_map(|g| systems.of(g).zone(g)).collect();
        let deliveries = plan.groups.iter().filter_map(|group| {
            let folder = &self.context.folder;
            systems.of(group).watch(group, folder, &self.recorder, Sighted::default(), stop.clone())
        });
        let deliveries = deliveries.collect();
        let store = testbed.observer_store().map(|store| {
            let (recorder, sighted) = (self.recorder.clone(), Sighted::default());
            tokio::spawn(observer::store::watch(store, zones, recorder, sighted, stop.clone()))
        });
        let source = testbed.source().map(|source| {
            tokio::spawn(observer::source::watch(source, self.recorder.clone(), stop.clone()))
        });
        Observers {
            watch,
            stop,
            commits,
            others: [Some(probes), Some(clocks), store, source, passing],
            deliveries,
        }
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
    deliveries: Vec<tokio::task::JoinHandle<()>>,
}

impl Observers {
    /// Waits for all of them, and says which one did not come to its end: what it had not told is missing.
    async fn join(self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(commits) = self.commits {
            let joined =
                deadline::blocking("the last look at the commits", OBSERVERS_WITHIN, || {
                    commits.join().map_err(|_| "the observer of the commits panicked")
                });
            problems.extend(joined.await.err());
        }
        let names = [
            "probes",
            "reading of the clocks",
            "watch of the store",
            "watch of the source",
            "listener at the proxies",
        ];
        let others = names.into_iter().zip(self.others);
        let deliveries = self.deliveries.into_iter();
        let deliveries = deliveries.map(|watch| ("watch of what is delivered", Some(watch)));
        for (name, other) in others.chain(deliveries) {
            let Some(mut other) = other else { continue };
            match tokio::time::timeout(OBSERVERS_WITHIN, &mut other).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => problems.push(format!(
                    "the {name} broke down: what it saw is not all there was ({error})"
                )),
                Err(_) => {
                    other.abort();
                    problems.push(format!("the {name} did not stop within {OBSERVERS_WITHIN:?}"));
                }
            }
        }
        problems
    }
}

/// Records in the log that some group has not committed, over all groups.
fn lag(watch: &Watch, topics: &Topics) -> rdkafka::error::KafkaResult<u64> {
    let ends = observer::log::ends(&watch.brokers, topics)?;
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

/// The topic of the pipeline's dead letters; those of others are their adapters' to read.
fn dead_letter_topics(plan: &Plan) -> Topics {
    let Load::Producer(load) = &plan.load else { return Topics::default() };
    let own = plan::dead_letters_of_pipeline(&load.dataset);
    let others = plan.topology.topics.iter().filter(|topic| topic.name == own);
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
