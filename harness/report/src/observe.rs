//! One pass over a history for what a report tells beside the verdict: the [`Timeline`], the
//! configuration read back, the steps of the faults, who was unreachable and when.
//!
//! Everything has a bound, and what is kept does not depend on how processes interleave.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::timeline::{Timeline, TimelineBuilder};
use streamlake_history::event::{Event, Fact, FaultStage, Header, Probe};

/// Most entries of one kind that are kept; the earliest are.
const ENTRIES_MAX: usize = 1_000;
/// Most values of one property that are kept.
const VALUES_MAX: usize = 8;

/// What one pass over a history's facts gathers for a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// Counts and latencies over time.
    pub timeline: Timeline,
    /// Part → property → the values that it reported, most often one.
    pub configuration: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Phases, fault steps, processes and notes in order of time.
    pub entries: Vec<Entry>,
    /// Stretches of time in which a part did not answer a probe.
    pub unreachable: Vec<Unreachable>,
    /// Entries that were left out because there were too many.
    pub left_out: u64,
}

/// Something that happened at an instant of the run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Microseconds since the run's start.
    pub at_us: u64,
    /// Who reported it.
    pub process: String,
    /// Its number among that process's facts.
    pub seq: u64,
    /// What it is.
    pub what: What,
}

/// What an [`Entry`] tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// The run entered a phase.
    Phase {
        /// Its name.
        name: String,
    },
    /// A step of a fault window.
    Step {
        /// Number of the fault in the plan.
        fault: u32,
        /// Which step.
        step: FaultStage,
        /// What was seen from outside.
        evidence: BTreeMap<String, String>,
    },
    /// A process of the system under test changed its state.
    Process {
        /// Its name.
        name: String,
        /// The operating system's id.
        pid: u32,
        /// `started`, `exited`, `stopped`, `continued`.
        state: String,
        /// Exit code or signal.
        status: Option<String>,
    },
    /// A remark of the harness.
    Note {
        /// `warning` or `error`.
        level: String,
        /// One sentence.
        text: String,
    },
}

/// A stretch of time in which a part did not answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unreachable {
    /// First probe that it did not answer, microseconds since the run's start.
    pub from_us: u64,
    /// The part, `broker-1`.
    pub target: String,
    /// First probe that it answered again; none if it never did.
    pub to_us: Option<u64>,
    /// What came back instead of an answer.
    pub detail: String,
}

/// Gathers [`Observed`] from facts.
#[derive(Debug)]
pub struct Observer {
    timeline: TimelineBuilder,
    configuration: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    entries: Earliest<Entry>,
    unreachable: Earliest<Unreachable>,
    silent: BTreeMap<(String, String), (u64, String)>,
}

impl Observer {
    /// For the history that opens with this header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self {
            timeline: TimelineBuilder::new(header),
            configuration: BTreeMap::new(),
            entries: Earliest::default(),
            unreachable: Earliest::default(),
            silent: BTreeMap::new(),
        }
    }

    /// Sees the next fact. Facts of one process come in their order; processes may interleave.
    pub fn observe(&mut self, event: &Event) {
        self.timeline.observe(event);
        match &event.fact {
            Fact::Configuration { of, properties, .. } => self.read_back(of, properties),
            // How processes are is none of the parts around them.
            Fact::Probe(probe) if probe.of_health().is_some() => {}
            Fact::Probe(probe) => self.probe(event, probe),
            fact => {
                if let Some(what) = What::of(fact) {
                    self.entries.keep(Entry {
                        at_us: event.t_us,
                        process: event.process.clone(),
                        seq: event.seq,
                        what,
                    });
                }
            }
        }
    }

    fn read_back(&mut self, of: &str, properties: &BTreeMap<String, String>) {
        let known = self.configuration.entry(of.to_owned()).or_default();
        for (property, value) in properties {
            let values = known.entry(property.clone()).or_default();
            values.insert(value.clone());
            if values.len() > VALUES_MAX {
                values.pop_last();
            }
        }
    }

    fn probe(&mut self, event: &Event, probe: &Probe) {
        let key = (event.process.clone(), probe.target.clone());
        if !probe.answered {
            self.silent.entry(key).or_insert_with(|| (event.t_us, probe.detail.clone()));
        } else if let Some((from_us, detail)) = self.silent.remove(&key) {
            self.unreachable.keep(Unreachable {
                target: probe.target.clone(),
                from_us,
                to_us: Some(event.t_us),
                detail,
            });
        }
    }

    /// What was gathered.
    #[must_use]
    pub fn finish(mut self) -> Observed {
        for ((_, target), (from_us, detail)) in std::mem::take(&mut self.silent) {
            self.unreachable.keep(Unreachable { target, from_us, to_us: None, detail });
        }
        Observed {
            timeline: self.timeline.finish(),
            configuration: self.configuration,
            left_out: self.entries.left_out + self.unreachable.left_out,
            entries: self.entries.kept.into_iter().collect(),
            unreachable: self.unreachable.kept.into_iter().collect(),
        }
    }
}

impl What {
    fn of(fact: &Fact) -> Option<Self> {
        Some(match fact {
            Fact::Phase { name } => Self::Phase { name: name.clone() },
            Fact::Fault(step) => {
                Self::Step { fault: step.fault, step: step.step, evidence: step.evidence.clone() }
            }
            Fact::Process(process) => Self::Process {
                name: process.name.clone(),
                pid: process.pid,
                state: process.state.word().to_owned(),
                status: process.status.clone(),
            },
            Fact::Note { level, text } => Self::Note { level: level.clone(), text: text.clone() },
            _ => return None,
        })
    }
}

/// Keeps the smallest [`ENTRIES_MAX`] of what it is given, whatever the order.
#[derive(Debug)]
struct Earliest<T> {
    kept: BTreeSet<T>,
    left_out: u64,
}

impl<T> Default for Earliest<T> {
    fn default() -> Self {
        Self { kept: BTreeSet::new(), left_out: 0 }
    }
}

impl<T: Ord> Earliest<T> {
    fn keep(&mut self, entry: T) {
        self.kept.insert(entry);
        if self.kept.len() > ENTRIES_MAX {
            self.kept.pop_last();
            self.left_out += 1;
        }
    }
}
