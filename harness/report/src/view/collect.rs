//! From facts to rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::{FaultRow, OPERATIONS_MAX, View, found};
use crate::escape::visible;
use streamlake_history::event::{
    Blob, Event, Fact, FaultStage, Header, ObjectRole, Outcome, PositionChange, ProcessChange,
    ProcessEnd,
};
use streamlake_judge::verdict::{OffsetRange, Verdict};

/// Operation, producer, topic, key, bytes, poison, invoked, completed, outcome, partition, offset, its id or
/// why it failed.
#[derive(Debug, Serialize)]
pub(super) struct OperationRow(
    u64,
    usize,
    usize,
    Option<String>,
    u64,
    bool,
    u64,
    Option<u64>,
    &'static str,
    Option<u32>,
    Option<u64>,
    String,
);
/// Topic, partition, offset, operation, key, timestamp.
#[derive(Debug, Serialize)]
pub(super) struct LogRow(usize, u32, u64, Option<u64>, Option<String>, Option<i64>);
/// Raw zone, name, created, bytes, whether it is a part, whether it was seen during the run only.
#[derive(Debug, Serialize)]
pub(super) struct ObjectRow(usize, String, u64, u64, bool, bool);
/// Object, line, topic, partition, offset.
#[derive(Debug, Serialize)]
pub(super) struct StoredRow(usize, u32, usize, u32, u64);
/// Group, topic, partition, offset, instant, whether it is the broker's own record.
#[derive(Debug, Serialize)]
pub(super) struct CommitRow(usize, usize, u32, u64, u64, bool);
/// Group, partition and offset in the dead-letter topic, created, topic, partition and offset of its record,
/// operation, why.
#[derive(Debug, Serialize)]
pub(super) struct LetterRow(
    Option<usize>,
    u32,
    u64,
    u64,
    Option<(usize, u32, u64)>,
    Option<u64>,
    String,
);
/// Group, member, topic, partition, offset, instant, how.
#[derive(Debug, Serialize)]
pub(super) struct PositionRow(usize, usize, usize, u32, Option<u64>, u64, &'static str);

/// Commits that a page holds at most.
const COMMITS_MAX: usize = 200_000;
/// Objects that a page holds at most.
const OBJECTS_MAX: usize = 100_000;

/// Collects what a page shows, fact by fact.
#[derive(Debug)]
pub struct ViewBuilder {
    view: View,
    started_ms: Option<i64>,
    texts: HashMap<String, usize>,
    operations: HashMap<u64, usize>,
    /// By the process that reported it and its number there.
    objects: HashMap<(String, u32), usize>,
    named_operations: HashSet<u64>,
    named_offsets: BTreeMap<(String, u32), Vec<OffsetRange>>,
}

impl ViewBuilder {
    /// For the history of this header, which came to this verdict.
    #[must_use]
    pub fn new(header: &Header, verdict: &Verdict) -> Self {
        let run = &header.run;
        let mut named_operations = HashSet::new();
        let mut named_offsets: BTreeMap<(String, u32), Vec<OffsetRange>> = BTreeMap::new();
        for finding in verdict.checks.iter().flat_map(|check| &check.findings) {
            named_operations.extend(&finding.ops);
            if let (Some(topic), Some(partition)) = (&finding.topic, finding.partition) {
                let ranges = named_offsets.entry((topic.clone(), partition)).or_default();
                ranges.extend(&finding.offsets);
            }
        }
        let faults = header.promises.faults.iter().map(|fault| FaultRow {
            kind: fault.kind.clone(),
            target: fault.target.clone(),
            steps: Vec::new(),
        });
        let started = chrono::DateTime::parse_from_rfc3339(&run.started_at).ok();
        let view = View {
            scenario: visible(&run.scenario),
            title: visible(&run.about.title),
            testbed: visible(&run.testbed),
            seed: run.seed,
            started_at: visible(&run.started_at),
            verdict: verdict.status.word(),
            one_in: header.promises.operations.div_ceil(OPERATIONS_MAX).max(1),
            findings: found(verdict),
            faults: faults.collect(),
            ..View::default()
        };
        Self {
            view,
            started_ms: started.map(|at| at.timestamp_millis()),
            texts: HashMap::new(),
            operations: HashMap::new(),
            objects: HashMap::new(),
            named_operations,
            named_offsets,
        }
    }

    /// What was collected.
    #[must_use]
    pub fn finish(mut self) -> View {
        self.view.commits.sort_by_key(|row| row.4);
        self.view
    }

    fn text(&mut self, text: &str) -> usize {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let number = self.view.texts.len();
        self.view.texts.push(visible(text));
        self.texts.insert(text.to_owned(), number);
        number
    }

    fn keeps(&self, op: u64) -> bool {
        op.is_multiple_of(self.view.one_in) || self.named_operations.contains(&op)
    }

    /// Whether a record has its place on the page. What names no operation always has: it is rare.
    fn keeps_record(&self, op: Option<u64>, topic: &str, partition: u32, offset: u64) -> bool {
        if self.view.one_in == 1 || op.is_none_or(|op| self.keeps(op)) {
            return true;
        }
        let named = self.named_offsets.get(&(topic.to_owned(), partition));
        named.is_some_and(|ranges| {
            ranges.iter().any(|range| (range.first..=range.last).contains(&offset))
        })
    }

    /// Takes a fact in.
    pub fn observe(&mut self, event: &Event) {
        self.view.end_us = self.view.end_us.max(event.t_us);
        let t_us = event.t_us;
        match &event.fact {
            Fact::Phase { name } => self.view.phases.push((t_us, visible(name))),
            Fact::Note { level, text } => {
                self.view.notes.push((t_us, visible(&format!("{level}: {text}"))));
            }
            Fact::Invoked(fact) if self.keeps(fact.op) => {
                let (process, topic) = (self.text(&event.process), self.text(&fact.topic));
                self.operations.insert(fact.op, self.view.operations.len());
                self.view.operations.push(OperationRow(
                    fact.op,
                    process,
                    topic,
                    fact.key.as_ref().map(shown),
                    fact.bytes,
                    fact.poison,
                    t_us,
                    None,
                    "open",
                    None,
                    None,
                    String::new(),
                ));
            }
            Fact::Completed(fact) => {
                let Some(row) = self.operations.get(&fact.op) else { return };
                let row = &mut self.view.operations[*row];
                row.7 = Some(t_us);
                row.11 = fact.ingestion_id.as_deref().map(visible).unwrap_or_default();
                match &fact.outcome {
                    Outcome::Acknowledged { partition, offset, .. } => {
                        (row.8, row.9, row.10) = ("acknowledged", Some(*partition), Some(*offset));
                    }
                    Outcome::Rejected { reason } => (row.8, row.11) = ("rejected", visible(reason)),
                    Outcome::Failed { error } => (row.8, row.11) = ("failed", visible(error)),
                    Outcome::Unknown { error } => (row.8, row.11) = ("unknown", visible(error)),
                }
            }
            Fact::Logged(fact)
                if self.keeps_record(fact.op, &fact.topic, fact.partition, fact.offset) =>
            {
                let topic = self.text(&fact.topic);
                let stamped =
                    fact.timestamp_ms.zip(self.started_ms).map(|(ms, zero)| (ms - zero) * 1_000);
                let key = fact.key.as_ref().map(shown);
                self.view.log.push(LogRow(
                    topic,
                    fact.partition,
                    fact.offset,
                    fact.op,
                    key,
                    stamped,
                ));
            }
            Fact::Object(fact) => {
                if self.view.objects.len() >= OBJECTS_MAX {
                    return;
                }
                let zone = self.text(&fact.raw_zone);
                let place = self.view.objects.len();
                self.objects.insert((event.process.clone(), fact.object), place);
                let is_part = fact.role == ObjectRole::Part;
                self.view.objects.push(ObjectRow(
                    zone,
                    visible(&fact.name),
                    fact.created_us,
                    fact.bytes,
                    is_part,
                    fact.during_run,
                ));
            }
            Fact::Stored(fact)
                if self.keeps_record(fact.op, &fact.topic, fact.partition, fact.offset) =>
            {
                let object = self.objects.get(&(event.process.clone(), fact.object)).copied();
                let Some(object) = object else { return };
                let topic = self.text(&fact.topic);
                let row = StoredRow(object, fact.line, topic, fact.partition, fact.offset);
                self.view.stored.push(row);
            }
            Fact::Committed(fact) if self.view.commits.len() < COMMITS_MAX => {
                let (group, topic) = (self.text(&fact.group), self.text(&fact.topic));
                self.view.commits.push(CommitRow(
                    group,
                    topic,
                    fact.partition,
                    fact.offset,
                    fact.at_us,
                    fact.exact,
                ));
            }
            Fact::DeadLetter(fact) => {
                let group = fact.group.as_deref().map(|group| self.text(group));
                let source = fact.source.as_ref();
                let source = source
                    .map(|(topic, partition, offset)| (self.text(topic), *partition, *offset));
                self.view.letters.push(LetterRow(
                    group,
                    fact.partition,
                    fact.offset,
                    fact.created_us,
                    source,
                    fact.op,
                    fact.error.as_deref().map(visible).unwrap_or_default(),
                ));
            }
            Fact::Position(fact) => {
                let (group, member) = (self.text(&fact.group), self.text(&fact.member));
                let topic = self.text(&fact.topic);
                let how = match fact.how {
                    PositionChange::Fetched => "fetched",
                    PositionChange::Sought => "sought",
                };
                self.view.positions.push(PositionRow(
                    group,
                    member,
                    topic,
                    fact.partition,
                    fact.offset,
                    fact.at_us,
                    how,
                ));
            }
            Fact::Generation(fact) => {
                let group = self.text(&fact.group);
                let row = (fact.at_us, group, fact.generation, fact.members.len());
                self.view.generations.push(row);
            }
            Fact::Probe(fact) => {
                let target = self.text(&fact.target);
                self.view.probes.push((t_us, target, fact.answered));
            }
            Fact::Process(fact) => {
                let name = self.text(&fact.name);
                let (change, detail) = match (fact.state, fact.end) {
                    (ProcessChange::Exited, Some(ProcessEnd::Code(code))) => {
                        ("exited", format!("exit code {code}"))
                    }
                    (ProcessChange::Exited, Some(ProcessEnd::Signal(signal))) => {
                        ("exited", format!("signal {signal}"))
                    }
                    (state, _) => (state.word(), fact.status.clone().unwrap_or_default()),
                };
                self.view.processes.push((name, t_us, change, visible(&detail)));
            }
            Fact::Fault(fact) => {
                let place = usize::try_from(fact.fault).ok();
                let Some(row) = place.and_then(|place| self.view.faults.get_mut(place)) else {
                    return;
                };
                let evidence = fact.evidence.iter();
                let evidence = evidence.map(|(name, value)| (visible(name), visible(value)));
                row.steps.push((t_us, stage(fact.step).to_owned(), evidence.collect()));
            }
            _ => {}
        }
    }
}

fn stage(stage: FaultStage) -> &'static str {
    match stage {
        FaultStage::Injecting => "injecting",
        FaultStage::Injected => "injected",
        FaultStage::Seen => "seen",
        FaultStage::Healing => "healing",
        FaultStage::Healed => "healed",
        FaultStage::Missed => "missed",
    }
}

fn shown(key: &Blob) -> String {
    match std::str::from_utf8(&key.0) {
        Ok(text) => visible(text),
        Err(_) => visible(&String::from_utf8_lossy(&key.0)),
    }
}
