//! What is kept of an earlier report to compare with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::json::FORMAT;
use super::versioned::ReadError;
use super::{SuiteReport, content};
use streamlake_judge::verdict::{Status, Tally, Verdict};

/// An earlier report, boiled down to what is compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousReport {
    /// When its first run started, RFC 3339 in UTC.
    pub started_at: String,
    /// Commit of its first run; empty if unknown.
    pub commit: String,
    /// Its scenarios that ran.
    pub scenarios: Vec<PreviousScenario>,
}

/// All runs of one scenario on one testbed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousScenario {
    /// The scenario's name.
    pub scenario: String,
    /// The testbed's name.
    pub testbed: String,
    /// Number of runs.
    pub runs: u64,
    /// Their verdicts combined.
    pub status: Status,
    /// Lost records of all runs.
    pub lost: u64,
    /// Surplus copies of all runs.
    pub duplicates: u64,
    /// Median of the longest unavailability of each run, microseconds.
    pub unavailability_us: Option<u64>,
    /// Median of the runs' times from heal to recovery, of each the longest, microseconds.
    pub recovery_us: Option<u64>,
}

/// The parts of a JSON report that are read; whatever else is in it is passed over.
#[derive(Deserialize)]
struct Envelope {
    suite: Suite,
}

#[derive(Deserialize)]
struct Suite {
    scenarios: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    ran: Option<Run>,
}

#[derive(Deserialize)]
struct Run {
    header: RunHeader,
    verdict: Verdict,
}

#[derive(Deserialize)]
struct RunHeader {
    run: Info,
}

#[derive(Deserialize)]
struct Info {
    scenario: String,
    testbed: String,
    started_at: String,
    commit: String,
}

impl PreviousReport {
    /// Reads what is compared from a JSON report.
    ///
    /// # Errors
    /// When it is not one, or of another version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        let envelope: Envelope = FORMAT.read(bytes)?;
        let runs: Vec<Run> =
            envelope.suite.scenarios.into_iter().filter_map(|entry| entry.ran).collect();
        Ok(Self::new(runs.iter().map(|run| (&run.header.run, &run.verdict))))
    }

    /// Boils down a report.
    #[must_use]
    pub fn of(suite: &SuiteReport) -> Self {
        let infos: Vec<Info> = suite
            .runs()
            .map(|run| Info {
                scenario: run.header.run.scenario.clone(),
                testbed: run.header.run.testbed.clone(),
                started_at: run.header.run.started_at.clone(),
                commit: run.header.run.commit.clone(),
            })
            .collect();
        Self::new(infos.iter().zip(suite.runs().map(|run| &run.verdict)))
    }

    fn new<'a>(runs: impl Iterator<Item = (&'a Info, &'a Verdict)>) -> Self {
        let mut report = Self::default();
        let mut order: Vec<(&str, &str)> = Vec::new();
        let mut verdicts: BTreeMap<(&str, &str), Vec<&Verdict>> = BTreeMap::new();
        for (info, verdict) in runs {
            if report.started_at.is_empty() {
                report.started_at.clone_from(&info.started_at);
                report.commit.clone_from(&info.commit);
            }
            let name = (info.scenario.as_str(), info.testbed.as_str());
            let known = verdicts.entry(name).or_default();
            if known.is_empty() {
                order.push(name);
            }
            known.push(verdict);
        }
        report.scenarios =
            order.into_iter().map(|name| PreviousScenario::new(name, &verdicts[&name])).collect();
        report
    }
}

impl PreviousScenario {
    fn new((scenario, testbed): (&str, &str), verdicts: &[&Verdict]) -> Self {
        let tallies = || verdicts.iter().map(|verdict| &verdict.tally);
        Self {
            scenario: scenario.to_owned(),
            testbed: testbed.to_owned(),
            runs: verdicts.len() as u64,
            status: Status::combine(verdicts.iter().map(|verdict| verdict.status)),
            lost: tallies().map(|tally| tally.lost).sum(),
            duplicates: tallies().map(content::duplicates).sum(),
            unavailability_us: median(
                tallies().filter_map(|tally| tally.longest_unavailability_us).collect(),
            ),
            recovery_us: median(tallies().filter_map(slowest_recovery).collect()),
        }
    }
}

/// Of a run, the window that took longest: the figure that its own report shows.
fn slowest_recovery(tally: &Tally) -> Option<u64> {
    tally.windows.iter().filter_map(content::recovery_us).max()
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
