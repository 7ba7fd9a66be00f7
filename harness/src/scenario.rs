//! A scenario as its author wrote it: one TOML file, every key known, every mistake shown with file,
//! line and remedy.
//!
//! Nothing is resolved here beyond what a single key can say wrong about itself; what keys say
//! together is for [`crate::plan`].

mod consumer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use serde::Deserialize;
use toml::Spanned;

pub use consumer::{Consumer, DeadLetters, Delivery, HeaderNames, Mapping, Restarts, Stop};

/// A scenario file with the text that its spans point into.
#[derive(Debug, Clone)]
pub struct ScenarioFile {
    /// The file's name without `.toml`.
    pub name: String,
    /// Where it was read.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What it says.
    pub scenario: Scenario,
}

/// What a scenario file says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short heading for reports.
    pub title: String,
    /// Identifier in somebody's requirements, `SC-003`.
    pub id: Option<String>,
    /// What must hold, in one sentence.
    pub criterion: String,
    /// What happens, in one or two sentences.
    pub story: String,
    /// What is expected while it happens.
    pub expected: String,
    /// Testbeds that it is meant for.
    pub testbeds: Spanned<Vec<Spanned<String>>>,
    /// It is part of `run` without names.
    #[serde(default = "yes")]
    pub in_suite: bool,
    /// Words by which it can be selected, `smoke`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Kafka.
    #[serde(default)]
    pub cluster: Cluster,
    /// What is produced; this or `source`.
    pub workload: Option<Workload>,
    /// What is changed in a source database; this or `workload`.
    pub source: Option<Spanned<Source>>,
    /// The producer under test.
    #[serde(default)]
    pub producer: Producer,
    /// Consumer groups under test.
    #[serde(default, rename = "group")]
    pub groups: Vec<Group>,
    /// The groups are stopped when they have read everything, set back, and started again.
    pub replay: Option<Spanned<Replay>>,
    /// What is done to it all.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Spanned<FaultEntry>>,
    /// What is promised for afterwards.
    #[serde(default)]
    pub recovery: Recovery,
    /// How what the run makes is called.
    #[serde(skip)]
    pub(crate) names: Names,
}

/// How what a run makes is called. A testbed that is thrown away needs no other names than these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// The dataset, from which the topics of the built-in pipeline have their names.
    pub(crate) dataset: String,
    /// The bucket of the raw zones.
    pub(crate) bucket: String,
}

impl Default for Names {
    fn default() -> Self {
        Self { dataset: crate::plan::DATASET.to_owned(), bucket: crate::plan::BUCKET.to_owned() }
    }
}

impl Scenario {
    /// The same with names that begin with `mark`, in a bucket that is there.
    pub(crate) fn marked(mut self, mark: &str, bucket: Option<&str>) -> Self {
        self.names.dataset = format!("{mark}-{}", self.names.dataset);
        if let Some(bucket) = bucket {
            bucket.clone_into(&mut self.names.bucket);
        }
        for group in &mut self.groups {
            let name = format!("{mark}-{}", group.name.get_ref());
            group.name = Spanned::new(group.name.span(), name);
        }
        self
    }

    /// Of groups that run anyway.
    pub(crate) fn observed(title: String, groups: Vec<Group>) -> Self {
        Self {
            title,
            id: None,
            criterion: "What the group committed, it had delivered".to_owned(),
            story: "Somebody else's pipeline is looked at while it runs.".to_owned(),
            expected: "No record is lost; what comes twice has a cause.".to_owned(),
            testbeds: Spanned::new(0..0, Vec::new()),
            in_suite: false,
            tags: Vec::new(),
            cluster: Cluster::default(),
            workload: None,
            source: None,
            producer: Producer::default(),
            groups,
            replay: None,
            faults: Vec::new(),
            recovery: Recovery::default(),
            names: Names::default(),
        }
    }
}

/// Table `[cluster]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// Number of brokers.
    pub brokers: Spanned<i64>,
    /// Partitions of the topic under test.
    pub partitions: Spanned<i64>,
    /// Replication factor of every topic.
    pub replication: Spanned<i64>,
    /// Broker properties.
    pub broker_properties: BTreeMap<String, String>,
    /// Properties of the topic under test.
    pub topic_properties: BTreeMap<String, String>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            brokers: unplaced(1),
            partitions: unplaced(3),
            replication: unplaced(1),
            broker_properties: BTreeMap::new(),
            topic_properties: BTreeMap::new(),
        }
    }
}

/// Table `[workload]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Load shape; see [`crate::workload`].
    #[serde(default = "constant_rate")]
    pub shape: Spanned<String>,
    /// Operations in all.
    pub records: Spanned<i64>,
    /// Operations per second.
    pub rate_per_s: Spanned<f64>,
    /// Distinct keys.
    #[serde(default = "fifty")]
    pub keys: Spanned<i64>,
    /// Length of a payload; shorter ones are padded.
    #[serde(default = "two_hundred")]
    pub payload_bytes: Spanned<i64>,
    /// Every n-th payload is poison; by default one in thirty of a load with full variety, else none.
    #[serde(default)]
    pub poison_every: Option<Spanned<i64>>,
    /// What poison is in a load of one kind: `invalid` (JSON of another type than it must be) or
    /// `corrupt` (no JSON at all).
    pub poison: Option<Spanned<String>>,
    /// `full`: records of all kinds, and odd ones of another writer beside the load. `plain`: one kind.
    #[serde(default = "full")]
    pub variety: Spanned<String>,
}

/// Table `[source]`: transactions on a source database whose changes Debezium captures.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Table under test.
    #[serde(default = "orders")]
    pub table: Spanned<String>,
    /// Transactions that are committed in all.
    pub transactions: Spanned<i64>,
    /// So many of them, the first, before there is a connector; none by default.
    #[serde(default = "zero")]
    pub before_connector: Spanned<i64>,
    /// Transactions per second.
    pub rate_per_s: Spanned<f64>,
    /// Row changes in each.
    #[serde(default = "one")]
    pub rows_per_transaction: Spanned<i64>,
    /// How often each operation comes; inserts only by default.
    #[serde(default)]
    pub operations: Operations,
    /// Every n-th transaction is rolled back before it is carried out; none by default.
    pub rollback_every: Option<Spanned<i64>>,
    /// No transaction begins from a fault's trigger until its window is closed.
    #[serde(default)]
    pub hold_at_faults: bool,
    /// Debezium properties over its own defaults.
    #[serde(default)]
    pub connector_properties: BTreeMap<String, String>,
    /// Kafka Connect properties over the testbed's own.
    #[serde(default)]
    pub worker_properties: BTreeMap<String, String>,
}

/// Key `operations` of `[source]`: weights.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operations {
    /// New rows; also where there is no row to change.
    #[serde(default = "zero")]
    pub insert: Spanned<i64>,
    /// Rows changed.
    #[serde(default = "zero")]
    pub update: Spanned<i64>,
    /// Rows deleted.
    #[serde(default = "zero")]
    pub delete: Spanned<i64>,
}

impl Default for Operations {
    fn default() -> Self {
        Self { insert: one(), update: zero(), delete: zero() }
    }
}

/// Table `[producer]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Producer {
    /// librdkafka properties over the pipeline's own defaults.
    pub properties: BTreeMap<String, String>,
    /// The producer does not validate: poison gets into the log, for the consumer to find.
    pub lets_poison_through: bool,
    /// A producer of somebody's own in place of the built-in one: program and arguments, with
    /// `{placeholders}`. It reads a record a line, and prints what became of each.
    pub command: Option<Spanned<Vec<Spanned<String>>>>,
    /// Where it is started, relative to the scenario's file; by default that file's folder.
    pub directory: Option<Spanned<String>>,
    /// Its environment beside the documented one; `{placeholders}` in values are filled in.
    pub environment: BTreeMap<String, Spanned<String>>,
    /// What it prints: `lines` (what became of each record) or `none` (the log is the truth, and receipts are
    /// not judged).
    pub receipts: Option<Spanned<String>>,
    /// Where it promises that a key leads: `murmur2_random` (Java's) or `consistent_random` (librdkafka's
    /// CRC32); by default nowhere.
    pub partitioner: Option<Spanned<String>>,
    /// It promises that what it sends again stands in the log once, and that each key keeps its order.
    pub idempotent: bool,
}

/// Table `[[group]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Kafka group id.
    pub name: Spanned<String>,
    /// Consumer processes.
    #[serde(default = "one")]
    pub members: Spanned<i64>,
    /// librdkafka properties over the pipeline's own defaults. `{member}` in a value is the name of the
    /// process, so that each can have a `group.instance.id` of its own.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// From the first fault until its consumers are asked to stop, the group must not rebalance.
    #[serde(default)]
    pub keeps_members: bool,
    /// Records after which a batch is closed.
    pub batch_records: Option<Spanned<i64>>,
    /// Bytes at which a batch is closed.
    pub batch_bytes: Option<Spanned<i64>>,
    /// Bytes that may wait in the memory of a consumer before it stops fetching.
    pub memory_bytes: Option<Spanned<i64>>,
    /// Age at which a batch is closed, `500ms`.
    pub batch_age: Option<Spanned<String>>,
    /// A partition with work and without progress for so long makes a consumer call itself ill.
    pub stall_after: Option<Spanned<String>>,
    /// Where its group commits nothing of a partition for so long although there is something, it must have
    /// called itself ill. It may go on reading for a while before it stands still: as long as its memory lasts.
    pub ill_within: Option<Spanned<String>>,
    /// The longest that one request of the pipeline to the store may take.
    pub store_timeout: Option<Spanned<String>>,
    /// How parts are compressed: `none`, `gzip` or `zstd`.
    pub compression: Option<Spanned<String>>,
    /// A consumer of somebody's own in place of the built-in pipeline.
    pub consumer: Option<Spanned<Consumer>>,
    /// When a record counts as delivered by that consumer.
    pub delivery: Option<Spanned<Delivery>>,
    /// Where that consumer's dead letters are; without, it promises none.
    pub dead_letters: Option<Spanned<DeadLetters>>,
}

/// Table `[[fault]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEntry {
    /// Kind; see [`crate::fault`].
    pub kind: Spanned<String>,
    /// What it is aimed at, `broker-1`, `consumer-1`.
    pub target: Option<Spanned<String>>,
    /// When: `3s`, `40% of invoked`, `40% of committed`.
    pub at: Spanned<String>,
    /// How long until it is undone, `3s`.
    pub lasts: Option<Spanned<String>>,
    /// How often, at instants that the seed draws: one in each equal slice of the time from `at` to
    /// `until`. Once, at `at` itself, by default.
    pub times: Option<Spanned<i64>>,
    /// The end of that time, `4m`.
    pub until: Option<Spanned<String>>,
    /// What only this kind of fault knows.
    pub settings: Option<Spanned<toml::Table>>,
}

/// Table `[replay]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Offset from which every partition is read again.
    pub from_offset: Spanned<i64>,
}

/// Table `[recovery]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recovery {
    /// Progress, and no lag left, within this time after the last heal.
    pub within: Option<Spanned<String>>,
}

fn full() -> Spanned<String> {
    unplaced("full".to_owned())
}
fn yes() -> bool {
    true
}
fn one() -> Spanned<i64> {
    unplaced(1)
}
fn zero() -> Spanned<i64> {
    unplaced(0)
}
fn orders() -> Spanned<String> {
    unplaced("orders".to_owned())
}
fn fifty() -> Spanned<i64> {
    unplaced(50)
}
fn two_hundred() -> Spanned<i64> {
    unplaced(200)
}
fn constant_rate() -> Spanned<String> {
    unplaced("constant-rate".to_owned())
}

/// A default: it stands nowhere in the file, so it cannot be what is wrong.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// A mistake in a scenario file, with its place and its remedy.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ScenarioError(Box<Mistake>);

#[derive(Debug, thiserror::Error)]
#[error("{path}:{line}: {message}")]
struct Mistake {
    path: String,
    line: usize,
    message: String,
    remedy: Option<String>,
    span: std::ops::Range<usize>,
    source_text: NamedSource<String>,
}

impl Diagnostic for ScenarioError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.remedy.as_ref().map(|remedy| Box::new(remedy) as Box<dyn std::fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.0.source_text)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.0.span.start..self.0.span.end.max(self.0.span.start + 1);
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_owned()), span))))
    }
}

impl ScenarioError {
    /// Line of the mistake, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.0.line
    }
}

impl ScenarioFile {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// When it cannot be read (as I/O error), is not TOML, or has an unknown, missing or ill-typed
    /// key.
    pub fn read(path: &Path) -> miette::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            miette::miette!(
                help = "`streamlake-harness list` names the scenarios that there are",
                "{}: {error}",
                path.display()
            )
        })?;
        Ok(Self::parse(path, text)?)
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// See [`ScenarioFile::read`].
    pub fn parse(path: &Path, text: String) -> Result<Self, ScenarioError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match toml::from_str::<Scenario>(&text) {
            Ok(scenario) => Ok(Self { name, path: path.to_owned(), text, scenario }),
            Err(error) => Err(Self::mistake(path, &text, &error)),
        }
    }

    /// What is wrong with a text that could not be parsed.
    #[must_use]
    pub fn mistake(path: &Path, text: &str, error: &toml::de::Error) -> ScenarioError {
        let span = error.span().unwrap_or(0..0);
        let remedy = remedy_for(error.message());
        error_at(path, text, span, without_types(error.message()), remedy)
    }

    /// The words by which it can be selected: its own, and `suite` for what `run` runs.
    #[must_use]
    pub fn tags(&self) -> Vec<&str> {
        let suite = self.scenario.in_suite.then_some("suite");
        suite.into_iter().chain(self.scenario.tags.iter().map(String::as_str)).collect()
    }

    /// Values with `${NAME}` filled in from the environment.
    pub(crate) fn filled(
        &self,
        table: &BTreeMap<String, Spanned<String>>,
    ) -> Result<BTreeMap<String, String>, ScenarioError> {
        let fill = |(name, value): (&String, &Spanned<String>)| {
            let filled = filled(value.get_ref(), |name| std::env::var(name).ok());
            let filled = filled.map_err(|variable| {
                self.error_at(
                    value.span(),
                    format!("the environment has no variable `{variable}`"),
                    "set it, or write the value itself",
                )
            })?;
            Ok((name.clone(), filled))
        };
        table.iter().map(fill).collect()
    }

    /// A mistake at a place in this file.
    #[must_use]
    pub fn error_at(
        &self,
        span: std::ops::Range<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ScenarioError {
        error_at(&self.path, &self.text, span, message.into(), Some(remedy.into()))
    }
}

/// A text with its `${NAME}` filled in; else the name of a variable that there is not.
fn filled(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((name, after)) = behind.split_once('}') else { break };
        filled.push_str(before);
        filled.push_str(&variable(name).ok_or(name)?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn error_at(
    path: &Path,
    text: &str,
    span: std::ops::Range<usize>,
    message: String,
    remedy: Option<String>,
) -> ScenarioError {
    let path = path.display().to_string();
    let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
    let source_text = NamedSource::new(&path, text.to_owned()).with_language("TOML");
    ScenarioError(Box::new(Mistake { path, line, message, remedy, span, source_text }))
}

/// Who writes scenarios need not know the types that they are read into.
fn without_types(message: &str) -> String {
    message
        .replace("expected i64", "expected a whole number")
        .replace("expected f64", "expected a number")
}

/// Finds the known key that an unknown one was probably meant to be.
fn remedy_for(message: &str) -> Option<String> {
    if message.contains("expected i64") {
        return Some("give a whole number, without quotes and without a unit".to_owned());
    }
    if message.contains("expected f64") {
        return Some("give a number, without quotes and without a unit".to_owned());
    }
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    Some(match (nearest(unknown, known.iter().copied()), known.is_empty()) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, true) => "remove the key; a key that is not understood is never ignored".to_owned(),
        (None, false) => format!(
            "the keys that can stand here are {}; one that is not understood is never ignored",
            known.join(", ")
        ),
    })
}

/// Of the names that there are, the one that was probably meant: not further off than a third of its
/// letters, and three at most.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, nearest) = known.map(|known| (strsim::levenshtein(name, known), known)).min()?;
    let letters = name.chars().count().max(nearest.chars().count());
    (distance <= (letters / 3).clamp(1, 3)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = r#"
title = "t"
criterion = "c"
story = "s"
expected = "e"
testbeds = ["embedded"]
[workload]
records = 10
rate_per_s = 5
"#;

    fn parse(text: &str) -> Result<ScenarioFile, ScenarioError> {
        ScenarioFile::parse(Path::new("scenarios/x.toml"), text.to_owned())
    }

    #[test]
    fn variables_of_the_environment_are_filled_in() {
        let known = |name: &str| (name == "SECRET").then(|| "s3".to_owned());
        assert_eq!(filled("a ${SECRET}-b $x {y}", known).unwrap(), "a s3-b $x {y}");
        assert_eq!(filled("${NONE}", known).unwrap_err(), "NONE");
        assert_eq!(filled("open ${SECRET", known).unwrap(), "open ${SECRET");
    }

    #[test]
    fn a_minimal_scenario_parses() {
        let file = parse(GOOD).unwrap();
        assert_eq!(file.name, "x");
        assert_eq!(*file.scenario.workload.unwrap().keys.get_ref(), 50);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_key_that_was_meant() {
        let error = parse(&GOOD.replace("records = 10", "record = 10")).unwrap_err();
        assert_eq!(error.line(), 8);
        let text = error.to_string();
        assert!(text.starts_with("scenarios/x.toml:8: unknown field `record`"), "{text}");
        assert_eq!(error.0.remedy.as_deref(), Some("did you mean `records`?"));
    }

    #[test]
    fn a_wrong_type_is_named_with_its_line_and_in_words() {
        let error = parse(&GOOD.replace("records = 10", "records = \"ten\"")).unwrap_err();
        assert_eq!(error.line(), 8);
        let text = error.to_string();
        assert!(text.contains("expected a whole number") && !text.contains("i64"), "{text}");
        assert!(error.0.remedy.as_deref().unwrap().contains("without quotes"));
    }

    #[test]
    fn edit_distance_is_levenshteins() {
        assert_eq!(strsim::levenshtein("kitten", "sitting"), 3);
        assert_eq!(strsim::levenshtein("", "abc"), 3);
        assert_eq!(strsim::levenshtein("abc", "abc"), 0);
    }
}
