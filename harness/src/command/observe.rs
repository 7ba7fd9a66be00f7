//! `observe`: looks at consumer groups that run anyway, breaks nothing, and judges what they did.
//!
//! Only what already is there is read: the topic, the group's offsets, the place of delivery. Nothing is
//! produced, created or committed, and no group is joined.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic as _, WrapErr as _};
use rdkafka::consumer::Consumer as _;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use toml::Spanned;

use crate::adapter::command::Command;
use crate::adapter::{Adapter as _, Live, Reading, Sighted};
use crate::cli::{CheckArguments, ForeignArguments, ObserveArguments};
use crate::observer::commits::{self, Groups, Watch};
use crate::observer::known::Known;
use crate::observer::{self, Brokers, Topics, log, reader};
use crate::plan::{self, ConsumerPlan, GroupPlan};
use crate::scenario::{Group, Scenario, ScenarioFile};
use crate::testbed::Testbed;
use crate::testbed::elsewhere::Elsewhere;
use streamlake_history::Recorder;
use streamlake_history::event::{
    Committed, Evidence, FORMAT, Fact, GroupPromise, Header, Promises, RunInfo, VERSION,
};

const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// A topic of any size is read at the end, as far as it was written while it was looked at.
const READ_WITHIN: Duration = Duration::from_secs(3600);
/// How often a group is asked where it stands, if the broker's own record cannot be read.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// The groups have said where they stand within this time.
const STAND_WITHIN: Duration = Duration::from_secs(30);
/// The last commits may come a little after the last deliveries.
const STANDSTILL_WITHIN: Duration = Duration::from_secs(60);

/// What a file says that describes what is to be looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Observation {
    /// Short heading for reports.
    title: Option<String>,
    /// `host:port,…` of the brokers.
    bootstrap_servers: String,
    /// librdkafka properties of the harness's clients; `${NAME}` in a value is a variable of the
    /// environment.
    #[serde(default)]
    properties: BTreeMap<String, Spanned<String>>,
    /// The topic that the groups read.
    topic: Spanned<String>,
    /// Address of the object store, if somebody delivers there.
    store_url: Option<String>,
    /// Who is looked at.
    #[serde(rename = "group")]
    groups: Vec<Group>,
}

pub(crate) fn main(arguments: &ObserveArguments) -> miette::Result<u8> {
    let (file, observation) = read(&arguments.description)?;
    let brokers = Brokers {
        servers: observation.bootstrap_servers.clone(),
        properties: file.filled(&observation.properties)?,
    };
    let topics = topics(&brokers)?;
    let topic = observation.topic.get_ref();
    let Some(partitions) = topics.get(topic).copied() else {
        return Err(file
            .error_at(
                observation.topic.span(),
                format!("the brokers know no topic `{topic}`"),
                "give the name of one that is there, and that this client may see",
            )
            .into());
    };
    let (groups, promises) = plan::observed(&file, topic, &topics)?;
    if groups.is_empty() {
        return Err(miette::miette!(
            help = "add a `[[group]]` with its `name` and `[group.delivery]`",
            "{}: nobody is to be looked at",
            file.path.display()
        ));
    }
    let testbed = Elsewhere::new(brokers.clone(), observation.store_url.as_deref());
    let testbed: Arc<dyn Testbed> = Arc::new(testbed.into_diagnostic()?);
    let out = File::options().write(true).create_new(true).open(&arguments.out);
    let out = out.into_diagnostic().wrap_err_with(|| {
        format!("{}: the history is never written over another file", arguments.out.display())
    })?;
    let sampled = !record_is_readable(&brokers);
    let header = header(&file, topic, partitions, promises, sampled);
    let recorder = Recorder::start(std::io::BufWriter::new(out), header).into_diagnostic()?;
    let looking = Looking {
        testbed,
        brokers,
        topic: topic.clone(),
        topics: Topics::from([(topic.clone(), partitions)]),
        groups,
        sampled,
        recorder: recorder.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.into_diagnostic()?.block_on(looking.look(arguments.time))?;
    recorder.finish().into_diagnostic()?;
    super::check::main(&CheckArguments {
        histories: vec![arguments.out.clone()],
        from: None,
        foreign: ForeignArguments::default(),
        output: arguments.output,
    })
}

/// The file, in the form in which mistakes in it are told with their places.
fn read(path: &Path) -> miette::Result<(ScenarioFile, Observation)> {
    let text = std::fs::read_to_string(path)
        .into_diagnostic()
        .wrap_err_with(|| path.display().to_string())?;
    let observation: Observation =
        toml::from_str(&text).map_err(|error| ScenarioFile::mistake(path, &text, &error))?;
    let title = observation.title.clone().unwrap_or_else(|| observation.topic.get_ref().clone());
    let scenario = Scenario::observed(title, observation.groups.clone());
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
    Ok((ScenarioFile { name, path: path.to_owned(), text, scenario }, observation))
}

/// Partitions of all topics that there are.
fn topics(brokers: &Brokers) -> miette::Result<BTreeMap<String, u32>> {
    let client = reader(brokers, "streamlake-harness-observer")
        .into_diagnostic()
        .wrap_err("`properties` of the observation")?;
    let metadata = client.fetch_metadata(None, ANSWER_WITHIN);
    let metadata = metadata
        .into_diagnostic()
        .wrap_err_with(|| format!("{} do not answer", brokers.servers))?;
    let topics = metadata.topics().iter();
    let partitions = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(topics.map(|t| (t.name().to_owned(), partitions(t.partitions().len()))).collect())
}

/// The broker's own record of commits may be read.
fn record_is_readable(brokers: &Brokers) -> bool {
    let Ok(client) = reader(brokers, "streamlake-harness-observer") else { return false };
    client.fetch_watermarks("__consumer_offsets", 0, ANSWER_WITHIN).is_ok()
}

fn header(
    file: &ScenarioFile,
    topic: &str,
    partitions: u32,
    groups: Vec<GroupPromise>,
    sampled: bool,
) -> Header {
    let commits = if sampled { vec![] } else { vec![Evidence::CommitsComplete] };
    let evidence = [Evidence::Log, Evidence::CommitsSampled, Evidence::Objects];
    let letters = groups.iter().any(|group| group.dead_letter_topic.is_some());
    let letters = letters.then_some(Evidence::DeadLetters);
    Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        run: RunInfo {
            scenario: file.name.clone(),
            testbed: "foreign".to_owned(),
            seed: 0,
            started_at: String::new(), // the recorder knows
            harness_version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: crate::COMMIT.to_owned(),
            components: BTreeMap::new(),
            limits: vec![
                "Looked at from outside while it ran: what happened before is not judged."
                    .to_owned(),
            ],
            about: plan::about_of(file),
        },
        promises: Promises {
            topics: BTreeMap::from([(topic.to_owned(), partitions)]),
            standstill_within_us: u64::try_from(STANDSTILL_WITHIN.as_micros()).ok(),
            groups,
            evidence: evidence.into_iter().chain(commits).chain(letters).collect(),
            ..Promises::default()
        },
    }
}

/// A look that goes on for a while.
struct Looking {
    testbed: Arc<dyn Testbed>,
    brokers: Brokers,
    topic: String,
    topics: Topics,
    groups: Vec<GroupPlan>,
    sampled: bool,
    recorder: Recorder,
}

impl Looking {
    async fn look(&self, time: Option<Duration>) -> miette::Result<()> {
        let mut watch = Watch {
            brokers: self.brokers.clone(),
            groups: self.groups.iter().map(|group| group.group.clone()).collect(),
            alone: BTreeMap::new(),
            topics: self.topics.clone(),
            recorder: self.recorder.clone(),
            from: None,
            progress: Arc::default(),
        };
        let stand = stand(&watch).await?;
        let begins = self.begins(&stand);
        watch.from = Some(stand);
        let systems: Vec<_> = self.groups.iter().map(|group| (group, system(group))).collect();
        let (stop, sighted) = (CancellationToken::new(), Sighted::default());
        // This machine's two clocks at least: whose clock brokers and store have nobody can say here.
        let clocks = tokio::spawn(observer::clocks::watch(
            self.testbed.clone(),
            Vec::new(),
            self.recorder.clone(),
            stop.clone(),
        ));
        let commits = match self.sampled {
            false => commits::start(watch, stop.clone()),
            true => sample(watch, stop.clone()),
        };
        let zones = systems.iter().filter_map(|(group, system)| system.zone(group)).collect();
        let store = self.testbed.observer_store().map(|store| {
            let recorder = self.recorder.clone();
            tokio::spawn(observer::store::watch(
                store,
                zones,
                recorder,
                sighted.clone(),
                stop.clone(),
            ))
        });
        let watches: Vec<_> = systems
            .iter()
            .filter_map(|(group, system)| {
                let (sighted, stop) = (sighted.clone(), stop.clone());
                system.watch(group, Path::new("."), &self.recorder, sighted, stop)
            })
            .chain(store)
            .chain([clocks])
            .collect();
        until(time).await;
        stop.cancel();
        for watch in watches {
            watch.await.into_diagnostic().wrap_err("the watch of what is delivered")?;
        }
        let joined = tokio::task::spawn_blocking(move || commits.join());
        if joined.await.into_diagnostic()?.is_err() {
            return Err(miette::miette!("the watch of the commits broke down"));
        }
        self.read(&systems, &begins, sighted).await
    }

    /// Where the look begins: below it nothing is of interest. A group owes what it had not committed.
    fn begins(&self, committed: &Groups) -> BTreeMap<u32, u64> {
        let mut begins = BTreeMap::new();
        for partition in 0..self.topics.get(&self.topic).copied().unwrap_or_default() {
            let place = (self.topic.clone(), partition);
            let stands = committed.values().map(|offsets| offsets.get(&place).copied());
            // A group that has committed nothing in a partition owes it from its beginning.
            if let Some(Some(least)) = stands.min() {
                begins.insert(partition, least);
            }
        }
        begins
    }

    async fn read(
        &self,
        systems: &[(&GroupPlan, Command)],
        begins: &BTreeMap<u32, u64>,
        sighted: Sighted,
    ) -> miette::Result<()> {
        let promises = Promises::default();
        let detail = log::HeaderDetail::of(&promises);
        let (brokers, topics, recorder) =
            (self.brokers.clone(), self.topics.clone(), self.recorder.clone());
        let mut known = Known::new(&self.topic, true);
        let span_begins = begins.clone();
        let read = tokio::task::spawn_blocking(move || {
            let span = log::Span { begins: &span_begins, within: READ_WITHIN };
            log::read_raw(&brokers, &topics, &detail, &mut known, &recorder, &span).map(|()| known)
        });
        let known =
            read.await.into_diagnostic()?.into_diagnostic().wrap_err("reading the topic")?;
        let ends = Mutex::new(BTreeMap::new());
        let is_logged_by_now = |partition: u32, offset: u64| {
            let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
            let place = (self.topic.clone(), partition);
            if ends.get(&place).is_none_or(|end| offset >= *end) {
                // The log has grown since it was last asked for its ends, or nobody has written this.
                match tokio::task::block_in_place(|| log::ends(&self.brokers, &self.topics)) {
                    Ok(now) => *ends = now,
                    Err(error) => tracing::warn!(%error, "asking for the ends of the log"),
                }
            }
            ends.get(&place).is_some_and(|end| offset < *end)
        };
        let live = Live { sighted, is_logged_by_now: &is_logged_by_now };
        let reading = Reading {
            testbed: self.testbed.as_ref(),
            folder: Path::new("."),
            lists_headers: false,
            known: &known,
            begins,
            live: Some(&live),
            recorder: &self.recorder,
        };
        for (group, system) in systems {
            let delivered = system.read_delivery(group, &reading).await;
            let letters = system.read_letters(group, &reading).await;
            for unread in [delivered, letters].into_iter().filter_map(Result::err) {
                let text = format!("what {} delivered was not read: {unread}", group.group);
                tracing::error!("{text}");
                self.recorder.record("observer", Fact::Note { level: "error".to_owned(), text });
            }
        }
        self.recorder.record("observer", Fact::Phase { name: "done".to_owned() });
        Ok(())
    }
}

fn system(group: &GroupPlan) -> Command {
    match &group.consumer {
        ConsumerPlan::Command(plan) => Command::new(plan.clone()),
        ConsumerPlan::Pipeline(_) => unreachable!("observed groups are somebody's own"),
    }
}

/// Where the groups stand. A coordinator that is just being found may not answer at once.
async fn stand(watch: &Watch) -> miette::Result<Groups> {
    let deadline = Instant::now() + STAND_WITHIN;
    loop {
        let asked = watch.clone();
        let asked = tokio::task::spawn_blocking(move || commits::committed_now(&asked));
        match asked.await.into_diagnostic()? {
            Ok(stand) => return Ok(stand),
            Err(error) if Instant::now() < deadline => {
                tracing::warn!(%error, "asking where the groups stand");
            }
            Err(error) => {
                return Err(error).into_diagnostic().wrap_err("asking where the groups stand");
            }
        }
    }
}

/// For so long, or until Ctrl-C.
async fn until(time: Option<Duration>) {
    let asked = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "Ctrl-C cannot be heard");
            std::future::pending::<()>().await;
        }
    };
    match time {
        Some(time) => {
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = asked => {}
            }
        }
        None => asked.await,
    }
}

/// Asks the groups where they stand, again and again, in a thread of its own: the client blocks.
fn sample(watch: Watch, stop: CancellationToken) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut last = Groups::new();
        let mut over = false;
        while !over {
            over = stop.is_cancelled();
            match commits::committed_now(&watch) {
                Ok(now) => {
                    for (group, offsets) in &now {
                        for (place, offset) in offsets {
                            let before = last.get(group).and_then(|known| known.get(place));
                            if before != Some(offset) {
                                let (topic, partition) = place.clone();
                                let (group, offset) = (group.clone(), *offset);
                                let at_us = watch.recorder.now_us();
                                let seen = Committed {
                                    group,
                                    topic,
                                    partition,
                                    offset,
                                    at_us,
                                    exact: false,
                                };
                                watch.recorder.record(commits::PROCESS, Fact::Committed(seen));
                            }
                        }
                    }
                    last = now;
                }
                Err(error) => tracing::warn!(%error, "asking where the groups stand"),
            }
            if !over {
                std::thread::sleep(SAMPLE_EVERY);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_looked_at_is_read_from_a_file_and_mistakes_have_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("billing.toml");
        let text = r#"
bootstrap_servers = "kafka:9092"
topic = "orders"
[[group]]
name = "billing"
[group.consumer]
[group.delivery]
kind = "files"
at = "/data/out"
record = { partition = "/p", offset = "/o" }
"#;
        let read_text = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        let (file, observation) = read_text(text).unwrap();
        assert_eq!(
            (file.name.as_str(), observation.bootstrap_servers.as_str()),
            ("billing", "kafka:9092")
        );
        let topics = BTreeMap::from([("orders".to_owned(), 3)]);
        let (groups, promises) = plan::observed(&file, "orders", &topics).unwrap();
        assert_eq!(groups[0].members, Vec::<String>::new());
        assert_eq!(promises[0].topics, ["orders"]);
        assert_eq!(promises[0].starts, streamlake_history::event::GroupStart::Unknown);
        let wrong = |from: &str, to: &str| {
            let text = text.replace(from, to);
            match read_text(&text) {
                Err(error) => error.to_string(),
                Ok((file, _)) => plan::observed(&file, "orders", &topics).unwrap_err().to_string(),
            }
        };
        assert!(
            wrong("at = \"/data/out\"\n", "").contains(":7: it is not said where the consumer")
        );
        assert!(
            wrong("[group.consumer]", "[group.consumer]\ncommand = [\"x\"]")
                .contains(":6: an observed")
        );
        assert!(wrong("topic = ", "tropic = ").contains("unknown field `tropic`"));
        let topic =
            wrong("kind = \"files\"\nat = \"/data/out\"", "kind = \"topic\"\nat = \"none\"");
        assert!(topic.contains(":9: the brokers know no topic `none`"), "{topic}");
    }
}
