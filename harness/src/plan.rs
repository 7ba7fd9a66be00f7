//! What a run will do: a scenario, a testbed's abilities and a seed, resolved to every target and
//! instant. Pure: the same input gives the same plan, and nothing past this point has an optional, a
//! default, or a string that still means something.

mod about;
mod consumer;
mod faults;
mod producer;
mod promises;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::adapter::command::{CommandPlan, DeliveryPlace, ProducerPlan};
use crate::fault::Fault;
use crate::scenario::{Group, ScenarioError, ScenarioFile, Workload};
use crate::testbed::{Abilities, Capability, TopicSpec, Topology};
use crate::workload::source::SourcePlan;
use crate::workload::{Variety, WorkloadPlan, reserve};
use streamlake_history::event::{About, FaultLoad, GroupPromise, GroupStart, Promises};

use about::about;
pub(crate) use about::about_of;
use promises::promises;

/// Dataset that every scenario produces into.
pub const DATASET: &str = "orders";
/// Bucket of the raw zones.
pub const BUCKET: &str = "streamlake-raw";
/// A record in the log: what key, headers and batch add to the value, generously.
const RECORD_OVERHEAD_BYTES: u64 = 400;
const RECOVERY_WITHIN: Duration = Duration::from_secs(60);
const START_WITHIN: Duration = Duration::from_secs(120);
/// A topic whose records bear the broker's time.
const APPEND_TIME: [&str; 2] = ["message.timestamp.type", "LogAppendTime"];

/// A resolved run.
#[derive(Debug)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// The scenario in its own words.
    pub about: About,
    /// Seed of the run.
    pub seed: u64,
    /// What the testbed has to start.
    pub topology: Topology,
    /// What is produced or changed, and when.
    pub load: Load,
    /// The topic under test.
    pub topic: String,
    /// librdkafka properties of the built-in producer.
    pub producer_properties: BTreeMap<String, String>,
    /// The producer, if it is somebody's own.
    pub own_producer: Option<ProducerPlan>,
    /// Consumer groups.
    pub groups: Vec<GroupPlan>,
    /// Fault windows.
    pub faults: Vec<FaultPlan>,
    /// The offset from which the groups read everything again, when they have read it once.
    pub replay_from: Option<u64>,
    /// Progress and no lag within this time after the last heal.
    pub recovery_within: Duration,
    /// What the run will be judged by.
    pub promises: Promises,
}

impl Plan {
    /// After this time nothing of the load, and no trigger, is still to come.
    #[must_use]
    pub fn load_within(&self) -> Duration {
        self.load.length() + reserve::LASTS + self.longest_outage() + self.recovery_within
    }

    /// For how long a producer may take nothing: as long as anything is broken, and what it needs to
    /// recover from that.
    #[must_use]
    pub fn stall_within(&self) -> Duration {
        self.longest_outage() + self.recovery_within
    }

    /// Windows may overlap in any way: at worst one follows the other.
    fn longest_outage(&self) -> Duration {
        self.faults.iter().map(|fault| fault.lasts).sum()
    }
}

/// Where the records come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// From a producer under test.
    Producer(WorkloadPlan),
    /// From a database whose changes are captured.
    Source(SourcePlan),
}

impl Load {
    /// Operations, or transactions, in all.
    #[must_use]
    pub fn operations(&self) -> u64 {
        match self {
            Self::Producer(load) => load.operations,
            Self::Source(load) => load.transactions,
        }
    }

    /// When the last of them is due.
    #[must_use]
    pub fn length(&self) -> Duration {
        match self {
            Self::Producer(load) => load.length(),
            Self::Source(load) => load.length(),
        }
    }

    /// The topic that the records come into.
    fn topic(&self) -> String {
        match self {
            Self::Producer(load) => load.topic.clone(),
            Self::Source(load) => load.topic(),
        }
    }
}

/// One consumer group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupPlan {
    /// Kafka group id.
    pub group: String,
    /// Names of its processes.
    pub members: Vec<String>,
    /// Where it delivers, as a history names it: `gs://bucket/prefix` for a raw zone.
    pub raw_zone: String,
    /// It must not rebalance from the first fault until its consumers are asked to stop.
    pub keeps_members: bool,
    /// Where it begins in a partition in which it has committed nothing.
    pub starts: GroupStart,
    /// Its members may go back to what is not committed at any time.
    pub may_seek_back: bool,
    /// Whose its consumers are.
    pub consumer: ConsumerPlan,
}

impl GroupPlan {
    /// The topic of its dead letters, if it promises any.
    #[must_use]
    pub fn dead_letter_topic(&self) -> Option<String> {
        match &self.consumer {
            ConsumerPlan::Pipeline(plan) => Some(dead_letters_of_pipeline(&plan.dataset)),
            ConsumerPlan::Command(plan) => Some(plan.letters.as_ref()?.topic.clone()),
        }
    }

    /// Group and member, where the group has one and is never asked about by anybody else.
    #[must_use]
    pub fn alone(&self) -> Option<(String, String)> {
        match (&self.consumer, self.members.as_slice()) {
            (ConsumerPlan::Command(_), [member]) => Some((self.group.clone(), member.clone())),
            _ => None,
        }
    }

    /// It commits at least this often while there is something to commit.
    #[must_use]
    pub fn commits_every(&self) -> Duration {
        match &self.consumer {
            ConsumerPlan::Pipeline(plan) => plan.batch_age,
            ConsumerPlan::Command(plan) => plan.commits_every,
        }
    }
}

/// The consumers of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum ConsumerPlan {
    /// Those of the pipeline in this workspace.
    Pipeline(PipelinePlan),
    /// Somebody's own.
    Command(Arc<CommandPlan>),
}

/// How the pipeline's consumers are set.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelinePlan {
    /// The dataset that they read.
    pub dataset: String,
    /// librdkafka properties.
    pub properties: BTreeMap<String, String>,
    /// Records after which a batch is closed.
    pub batch_records: u64,
    /// Bytes at which a batch is closed; the pipeline's own default where none are given.
    pub batch_bytes: Option<u64>,
    /// Bytes that may wait in memory; the pipeline's own default where none are given.
    pub memory_bytes: Option<u64>,
    /// Age at which a batch is closed.
    pub batch_age: Duration,
    /// After this time without progress a consumer calls itself ill; the pipeline's own default where none is given.
    pub stall_after: Option<Duration>,
    /// It must have done so in a standstill that lasts this long.
    pub ill_within: Option<Duration>,
    /// The longest that one request to the store may take; the pipeline's own default where none is given.
    pub store_timeout: Option<Duration>,
    /// How parts are compressed, as the pipeline's flag says it.
    pub compression: &'static str,
}

/// The topic into which the pipeline's producer and consumers put what they refuse.
#[must_use]
pub fn dead_letters_of_pipeline(dataset: &str) -> String {
    format!("streamlake.{dataset}.dlq")
}

/// One fault window.
#[derive(Debug)]
pub struct FaultPlan {
    /// Number in the plan.
    pub number: u32,
    /// Which `[[fault]]` of the scenario it comes from, from 0.
    pub entry: usize,
    /// Its kind's name.
    pub kind: &'static str,
    /// What it is aimed at.
    pub target: String,
    /// When it begins.
    pub trigger: Trigger,
    /// How long until it is undone.
    pub lasts: Duration,
    /// What must be under way in its window.
    pub load: Option<FaultLoad>,
    /// The fault itself.
    pub fault: Box<dyn Fault>,
}

/// When a fault begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trigger {
    /// This long after the load began.
    After(Duration),
    /// When so many operations have been invoked.
    Invoked(u64),
    /// When the first group has committed so many records.
    Committed(u64),
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::After(after) => write!(f, "{after:?} after the load began"),
            Self::Invoked(count) => write!(f, "{count} invoked"),
            Self::Committed(count) => write!(f, "{count} committed"),
        }
    }
}

/// What came of resolving a scenario for a testbed.
#[derive(Debug)]
pub enum Resolved {
    /// It can run.
    Plan(Box<Plan>),
    /// The testbed cannot carry it out.
    NotApplicable {
        /// The scenario in its own words.
        about: About,
        /// Why, in one sentence.
        reason: String,
    },
}

/// Resolves a scenario for one testbed.
///
/// # Errors
/// When a value cannot be meant: a negative rate, a fault after the end, an unknown kind.
pub fn resolve(
    file: &ScenarioFile,
    testbed: &str,
    abilities: &Abilities,
    seed: u64,
) -> Result<Resolved, ScenarioError> {
    let scenario = &file.scenario;
    known_testbeds(file)?;
    let reader = Reader { file };
    let mut load = reader.load(seed)?;
    let produced = match &load {
        Load::Producer(workload) => Some(workload),
        Load::Source(_) => None,
    };
    let own_producer = reader.own_producer(produced, seed)?;
    let groups = reader.groups(&load, seed)?;
    let mut faults = reader.faults(&load, seed)?;
    let replay_from = reader.replay(&load, &groups)?;
    reader.hold(&mut load, &faults)?;
    if matches!(&load, Load::Source(source) if !source.holds.is_empty()) {
        faults.iter_mut().for_each(|fault| fault.load = None);
    }
    let topology = reader.topology(&load, &groups)?;
    reader.targets(&faults, topology.brokers, &groups)?;
    let recovery_within = match &scenario.recovery.within {
        Some(text) => reader.duration(text)?,
        None => RECOVERY_WITHIN,
    };
    let about = about(file, &load, &groups, &faults);
    let needs = needs(&topology, &faults, replay_from);
    if let Some(reason) = not_applicable(file, testbed, abilities, &load, &needs) {
        return Ok(Resolved::NotApplicable { about, reason });
    }
    let topic = load.topic();
    let mut promises =
        promises(file, abilities, &load, &groups, &faults, recovery_within, &topology);
    if let Some(producer) = &own_producer {
        promises::of_own_producer(producer, &mut promises);
    }
    promises.replay_from = replay_from;
    Ok(Resolved::Plan(Box::new(Plan {
        scenario: file.name.clone(),
        about,
        seed,
        topology,
        load,
        topic,
        producer_properties: scenario.producer.properties.clone(),
        own_producer,
        groups,
        faults,
        replay_from,
        recovery_within,
        promises,
    })))
}

fn known_testbeds(file: &ScenarioFile) -> Result<(), ScenarioError> {
    for name in file.scenario.testbeds.get_ref() {
        if !crate::testbed::NAMES.contains(&name.get_ref().as_str()) {
            return Err(file.error_at(
                name.span(),
                format!("there is no testbed `{}`", name.get_ref()),
                format!("known testbeds: {}", crate::testbed::NAMES.join(", ")),
            ));
        }
    }
    Ok(())
}

fn needs(
    topology: &Topology,
    faults: &[FaultPlan],
    replay_from: Option<u64>,
) -> BTreeSet<Capability> {
    let mut needs: BTreeSet<Capability> =
        faults.iter().flat_map(|fault| fault.fault.needs()).copied().collect();
    if topology.topics.iter().any(|topic| topic.replication > 1) {
        needs.insert(Capability::Replication);
    }
    if topology.database {
        needs.insert(Capability::Database);
    }
    if topology.change_data_capture {
        needs.insert(Capability::ChangeDataCapture);
    }
    if replay_from.is_some() {
        needs.insert(Capability::SetOffsets);
    }
    needs
}

fn not_applicable(
    file: &ScenarioFile,
    testbed: &str,
    abilities: &Abilities,
    load: &Load,
    needs: &BTreeSet<Capability>,
) -> Option<String> {
    let testbeds = file.scenario.testbeds.get_ref();
    if !testbeds.iter().any(|name| name.get_ref() == testbed) {
        let meant: Vec<_> = testbeds.iter().map(|name| name.get_ref().as_str()).collect();
        return Some(format!("the scenario is meant for {} only", meant.join(" and ")));
    }
    if let Some(missing) = needs.iter().find(|need| !abilities.capabilities.contains(need)) {
        return Some(format!("the {testbed} testbed cannot {missing}"));
    }
    let Load::Producer(workload) = load else { return None };
    // One partition may get every record: with few keys that is not far from the truth.
    let operations = workload.operations_in_all();
    let bytes = workload.bytes() + operations * RECORD_OVERHEAD_BYTES;
    if abilities.partition_records_max.is_some_and(|max| operations > max)
        || abilities.partition_bytes_max.is_some_and(|max| bytes > max)
    {
        return Some(format!(
            "the {testbed} testbed drops a partition's oldest records beyond {} records or {} \
             bytes, which would look like a loss",
            abilities.partition_records_max.unwrap_or(u64::MAX),
            abilities.partition_bytes_max.unwrap_or(u64::MAX),
        ));
    }
    None
}

/// Resolves groups that run anyway, and are only looked at: what they read, where they deliver, and what
/// they will be judged by. `topics` are the partitions of all topics that there are.
///
/// # Errors
/// When a value cannot be meant.
pub(crate) fn observed(
    file: &ScenarioFile,
    topic: &str,
    topics: &BTreeMap<String, u32>,
) -> Result<(Vec<GroupPlan>, Vec<GroupPromise>), ScenarioError> {
    let reader = Reader { file };
    let partitions = topics.get(topic).copied().unwrap_or_default();
    let around = consumer::Around {
        topic,
        partitions,
        producer_letters: "",
        seed: 0,
        observed: Some(topics),
    };
    let mut groups = Vec::new();
    for group in &file.scenario.groups {
        let Some(consumer) = &group.consumer else {
            return Err(file.error_at(
                group.name.span(),
                "it is not said what the group is",
                "add a table `[group.consumer]`, which may be empty, and `[group.delivery]`",
            ));
        };
        groups.push(reader.own_group(group, consumer, Vec::new(), &around)?);
    }
    reader.letters_apart(&groups)?;
    // It goes on when nobody looks any more.
    let promise =
        |group| GroupPromise { may_stop_early: true, ..promises::group_promise(group, topic) };
    let promises = groups.iter().map(promise).collect();
    Ok((groups, promises))
}

/// Reads values out of a scenario, each mistake with its place.
struct Reader<'a> {
    file: &'a ScenarioFile,
}

impl Reader<'_> {
    fn rate(&self, rate: &Spanned<f64>) -> Result<f64, ScenarioError> {
        let number = *rate.get_ref();
        if number.is_finite() && number > 0.0 && number <= 1e6 {
            return Ok(number);
        }
        Err(self.file.error_at(
            rate.span(),
            format!("a rate of {number} per second cannot be kept"),
            "give a number above 0, at most 1000000",
        ))
    }

    fn workload(&self, workload: &Workload, seed: u64) -> Result<WorkloadPlan, ScenarioError> {
        if workload.shape.get_ref() != "constant-rate" {
            return Err(self.file.error_at(
                workload.shape.span(),
                format!("there is no load shape `{}`", workload.shape.get_ref()),
                "known load shapes: constant-rate",
            ));
        }
        let mut plan = WorkloadPlan {
            seed,
            operations: self.number(&workload.records, 1..100_000_001)?,
            rate_per_s: self.rate(&workload.rate_per_s)?,
            keys: self.number(&workload.keys, 1..100_000_001)?,
            payload_bytes: self.number(&workload.payload_bytes, 0..1_048_577)?,
            poison_every: match &workload.poison_every {
                Some(every) => Some(self.number(every, 1..100_000_001)?),
                None => None,
            },
            corrupt: self.corrupt(workload)?,
            // Nobody's own producer knows what poison is.
            lets_poison_through: self.file.scenario.producer.lets_poison_through
                || self.file.scenario.producer.command.is_some(),
            topic: format!("streamlake.{}.raw", self.file.scenario.names.dataset),
            dataset: self.file.scenario.names.dataset.clone(),
            partitions: self.small(&self.file.scenario.cluster.partitions, 1..1025)?,
            variety: self.variety(&workload.variety)?,
            odd: 0,
        };
        plan.odd = plan.odd_records();
        Ok(plan)
    }

    fn corrupt(&self, workload: &Workload) -> Result<bool, ScenarioError> {
        let Some(poison) = &workload.poison else { return Ok(false) };
        let (message, remedy) = match poison.get_ref().as_str() {
            _ if workload.variety.get_ref() != "plain" => (
                "a load of full variety has poison of every kind".to_owned(),
                "remove `poison`, or say `variety = \"plain\"`",
            ),
            "invalid" => return Ok(false),
            "corrupt" => return Ok(true),
            other => (format!("there is no poison `{other}`"), "say `invalid` or `corrupt`"),
        };
        Err(self.file.error_at(poison.span(), message, remedy))
    }

    fn variety(&self, name: &Spanned<String>) -> Result<Variety, ScenarioError> {
        match name.get_ref().as_str() {
            "full" => Ok(Variety::Full),
            "plain" => Ok(Variety::Plain),
            other => Err(self.file.error_at(
                name.span(),
                format!("there is no variety `{other}`"),
                "say `full` or `plain`",
            )),
        }
    }

    fn groups(&self, load: &Load, seed: u64) -> Result<Vec<GroupPlan>, ScenarioError> {
        let mut names = BTreeSet::new();
        let mut consumers = 0;
        let mut groups = Vec::new();
        for group in &self.file.scenario.groups {
            if !names.insert(group.name.get_ref()) {
                return Err(self.file.error_at(
                    group.name.span(),
                    format!("the group `{}` stands here twice", group.name.get_ref()),
                    "give each group a name of its own; `members` sets its processes",
                ));
            }
            groups.push(self.group(group, (load, seed), &mut consumers)?);
        }
        self.letters_apart(&groups)?;
        Ok(groups)
    }

    /// Letters of consumers that are somebody's own need not say whose they are: the topic has to.
    fn letters_apart(&self, groups: &[GroupPlan]) -> Result<(), ScenarioError> {
        let mut topics = BTreeSet::new();
        for (plan, group) in groups.iter().zip(&self.file.scenario.groups) {
            let ConsumerPlan::Command(_) = &plan.consumer else { continue };
            if plan.dead_letter_topic().is_some_and(|topic| !topics.insert(topic)) {
                let topic = group.dead_letters.as_ref().and_then(|t| t.get_ref().topic.as_ref());
                return Err(self.file.error_at(
                    topic.map_or(group.name.span(), Spanned::span),
                    "two groups share a dead-letter topic, and nobody could tell whose a letter is",
                    "give each group a topic of its own",
                ));
            }
        }
        Ok(())
    }

    fn group(
        &self,
        group: &Group,
        (load, seed): (&Load, u64),
        consumers: &mut u64,
    ) -> Result<GroupPlan, ScenarioError> {
        let first = *consumers + 1;
        *consumers += self.number(&group.members, 1..65)?;
        let members = (first..=*consumers).map(|number| format!("consumer-{number}")).collect();
        if let Some(consumer) = &group.consumer {
            let partitions = self.small(&self.file.scenario.cluster.partitions, 1..1025)?;
            let names = &self.file.scenario.names;
            let (topic, producer_letters) =
                (load.topic(), dead_letters_of_pipeline(&names.dataset));
            let (topic, producer_letters) = (topic.as_str(), producer_letters.as_str());
            let around =
                consumer::Around { topic, partitions, producer_letters, seed, observed: None };
            return self.own_group(group, consumer, members, &around);
        }
        self.no_consumer(group)?;
        let names = &self.file.scenario.names;
        let pipeline = PipelinePlan {
            dataset: names.dataset.clone(),
            properties: group.properties.clone(),
            batch_records: match &group.batch_records {
                Some(records) => self.number(records, 1..1_000_001)?,
                None => 10_000,
            },
            batch_bytes: match &group.batch_bytes {
                Some(bytes) => Some(self.number(bytes, 1..(16 << 20))?),
                None => None,
            },
            memory_bytes: match &group.memory_bytes {
                Some(bytes) => Some(self.number(bytes, 1..(1 << 30))?),
                None => None,
            },
            batch_age: match &group.batch_age {
                Some(age) => self.duration(age)?,
                None => Duration::from_millis(500),
            },
            store_timeout: group
                .store_timeout
                .as_ref()
                .map(|most| self.duration(most))
                .transpose()?,
            stall_after: group
                .stall_after
                .as_ref()
                .map(|after| self.duration(after))
                .transpose()?,
            ill_within: group
                .ill_within
                .as_ref()
                .map(|within| self.duration(within))
                .transpose()?,
            compression: match &group.compression {
                Some(name) => self.compression(name)?,
                None => "none",
            },
        };
        Ok(GroupPlan {
            group: group.name.get_ref().clone(),
            members,
            raw_zone: format!("gs://{}/{}", names.bucket, group.name.get_ref()),
            keeps_members: group.keeps_members,
            starts: GroupStart::Earliest,
            may_seek_back: false,
            consumer: ConsumerPlan::Pipeline(pipeline),
        })
    }

    fn compression(&self, name: &Spanned<String>) -> Result<&'static str, ScenarioError> {
        let known = ["none", "gzip", "zstd"].into_iter().find(|known| known == name.get_ref());
        known.ok_or_else(|| {
            let message = format!("parts cannot be compressed with `{}`", name.get_ref());
            self.file.error_at(name.span(), message, "say `none`, `gzip` or `zstd`")
        })
    }

    /// The offset of a replay; one that cannot be carried out is a mistake.
    fn replay(&self, load: &Load, groups: &[GroupPlan]) -> Result<Option<u64>, ScenarioError> {
        let Some(replay) = &self.file.scenario.replay else {
            return Ok(None);
        };
        if !matches!(load, Load::Producer(_)) || groups.is_empty() {
            let (message, remedy) =
                ("nobody is there to replay", "give it a `[workload]` and a `[[group]]`");
            return Err(self.file.error_at(replay.span(), message, remedy));
        }
        if groups.iter().any(|group| matches!(group.consumer, ConsumerPlan::Command(_))) {
            return Err(self.file.error_at(
                replay.span(),
                "only the built-in pipeline has a command to set its groups back",
                "remove `[replay]`, or leave out the groups with a `[group.consumer]`",
            ));
        }
        self.number(&replay.get_ref().from_offset, 0..100_000_001).map(Some)
    }

    fn topology(&self, load: &Load, groups: &[GroupPlan]) -> Result<Topology, ScenarioError> {
        let cluster = &self.file.scenario.cluster;
        let brokers = self.small(&cluster.brokers, 1..10)?;
        let replication = self.small(&cluster.replication, 1..10)?;
        if replication > brokers {
            return Err(self.file.error_at(
                cluster.replication.span(),
                format!("{replication} replicas do not fit on {brokers} broker(s)"),
                "raise `brokers` or lower `replication`",
            ));
        }
        let topic = |name: String, partitions, properties| TopicSpec {
            name,
            partitions,
            replication,
            properties,
        };
        let partitions = self.small(&cluster.partitions, 1..1025)?;
        let under_test = topic(load.topic(), partitions, cluster.topic_properties.clone());
        let Load::Producer(_) = load else {
            return Ok(self.source_topology(brokers, under_test));
        };
        // The broker's clock, not the writer's: a dead letter is durable when it is appended.
        let by_broker = BTreeMap::from([APPEND_TIME.map(str::to_owned).into()]);
        let names = &self.file.scenario.names;
        let letters = dead_letters_of_pipeline(&names.dataset);
        let mut topics = vec![under_test, topic(letters, 1, by_broker.clone())];
        for group in groups {
            let ConsumerPlan::Command(plan) = &group.consumer else { continue };
            let letters = plan.letters.iter();
            topics.extend(letters.map(|plan| topic(plan.topic.clone(), 1, by_broker.clone())));
            if let DeliveryPlace::Topic { name, partitions } = &plan.delivery.at {
                topics.push(topic(name.clone(), *partitions, by_broker.clone()));
            }
        }
        Ok(Topology {
            brokers,
            broker_properties: cluster.broker_properties.clone(),
            topics,
            buckets: vec![names.bucket.clone()],
            database: groups.iter().any(delivers_rows),
            change_data_capture: false,
            worker_properties: BTreeMap::new(),
            start_within: START_WITHIN,
        })
    }

    fn small(&self, value: &Spanned<i64>, within: Range<i64>) -> Result<u32, ScenarioError> {
        self.number(value, within).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn number(&self, value: &Spanned<i64>, within: Range<i64>) -> Result<u64, ScenarioError> {
        u64::try_from(*value.get_ref())
            .ok()
            .filter(|_| within.contains(value.get_ref()))
            .ok_or_else(|| {
                self.file.error_at(
                    value.span(),
                    format!("{} is out of bounds", value.get_ref()),
                    format!("give a whole number from {} to {}", within.start, within.end - 1),
                )
            })
    }

    fn duration(&self, text: &Spanned<String>) -> Result<Duration, ScenarioError> {
        humantime::parse_duration(text.get_ref()).map_err(|error| {
            self.file.error_at(
                text.span(),
                format!("`{}` is no duration: {error}", text.get_ref()),
                "write a number with its unit, `500ms`, `3s` or `2m`",
            )
        })
    }
}

fn delivers_rows(group: &GroupPlan) -> bool {
    match &group.consumer {
        ConsumerPlan::Command(plan) => matches!(plan.delivery.at, DeliveryPlace::Rows { .. }),
        ConsumerPlan::Pipeline(_) => false,
    }
}

/// A number that was found to be within bounds.
fn small_number(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
