//! The canary: the scenario that must fail, and the anomalies that must be found in it.
//!
//! What was planted is known by name and place: the parts, the offsets, the operations. A check that
//! fails for another reason does not count. What no hand from outside can plant into a living run
//! (receipts that lie, processes that die, groups that stop) is planted into a small history of our own.

use std::collections::BTreeMap;
use std::path::Path;

use crate::scenario::{ScenarioError, ScenarioFile};
use streamlake_history::HistoryError;
use streamlake_history::event::{Completed, Fact, ProcessEnd};
use streamlake_history::sample::Sample;
use streamlake_judge::verdict::{CheckResult, Finding, Verdict};
use streamlake_report::{Canary, Planted, ScenarioReport};

/// The scenario's name.
pub(crate) const NAME: &str = "canary";
/// The scenario is part of the program: a folder of scenarios without it must not go without it.
const TEXT: &str = include_str!("../../scenarios/canary.toml");

/// The scenario.
///
/// # Errors
/// None but a defect of the harness: a test parses it.
pub(crate) fn scenario() -> Result<ScenarioFile, ScenarioError> {
    ScenarioFile::parse(Path::new("scenarios/canary.toml"), TEXT.to_owned())
}

/// What must be found of one thing that was planted.
struct Demand {
    what: &'static str,
    check: &'static str,
    /// Any of these; any at all where none is named.
    anomalies: &'static [&'static str],
    /// What the fault's evidence says of the place: the name of an object, or `topic/partition@offset`.
    place: &'static str,
}

#[rustfmt::skip]
const DEMANDS: [Demand; 6] = [
    Demand { what: "a part that was removed", check: "immutability", anomalies: &["part-vanished"], place: "removed" },
    Demand { what: "its first record", check: "no-loss", anomalies: &["stored-and-gone"], place: "removed record" },
    Demand { what: "a part that was replaced", check: "immutability", anomalies: &["part-replaced", "part-shrunk"], place: "altered" },
    Demand { what: "a record with another value", check: "fidelity", anomalies: &["stored-differs"], place: "altered record" },
    Demand { what: "a record in a wrong partition", check: "partition-determinism", anomalies: &["wrong-partition"], place: "foreign record" },
    Demand { what: "a dead letter of nothing", check: "dead-letters", anomalies: &[], place: "foreign dead letter" },
];

/// What came of the canary's run.
pub(crate) fn judge(run: &ScenarioReport) -> Canary {
    let evidence: BTreeMap<&str, &str> = run
        .verdict
        .tally
        .windows
        .iter()
        .flat_map(|window| &window.evidence)
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let live = DEMANDS.iter().map(|demand| {
        let place = evidence.get(demand.place).copied();
        Planted {
            what: demand.what.to_owned(),
            check: demand.check.to_owned(),
            place: place.unwrap_or("nobody knows where").to_owned(),
            found: place.is_some_and(|place| found(&run.verdict, demand, place)),
        }
    });
    Canary {
        testbed: run.header.run.testbed.clone(),
        ran: true,
        planted: live.chain(built_in()).collect(),
        history_file: run.history_file.clone(),
    }
}

fn found(verdict: &Verdict, demand: &Demand, place: &str) -> bool {
    let named = |finding: &&Finding| {
        demand.anomalies.is_empty() || demand.anomalies.contains(&finding.anomaly.as_str())
    };
    let mut findings = findings(verdict, demand.check).filter(named);
    match place.rsplit_once('@') {
        Some((lane, offset)) => findings.any(|finding| at(finding, lane, offset)),
        None => findings.any(|finding| {
            finding.message.contains(place) || finding.evidence.iter().any(|e| e.contains(place))
        }),
    }
}

/// Whether a finding is of this place, in its offsets or in its words.
fn at(finding: &Finding, lane: &str, offset: &str) -> bool {
    let own = finding.topic.as_ref().zip(finding.partition);
    let own = own.is_some_and(|(topic, partition)| format!("{topic}/{partition}") == lane);
    let offset_of = offset.parse::<u64>().ok();
    let within = offset_of.is_some_and(|offset| {
        finding.offsets.iter().any(|range| (range.first..=range.last).contains(&offset))
    });
    let words = format!("{lane} offset {offset}");
    let spelled = |text: &String| {
        let next = |at: usize| text[at + words.len()..].chars().next();
        text.match_indices(&words).any(|(at, _)| !next(at).is_some_and(|c| c.is_ascii_digit()))
    };
    (own && within) || spelled(&finding.message) || finding.evidence.iter().any(spelled)
}

fn findings<'a>(verdict: &'a Verdict, check: &'a str) -> impl Iterator<Item = &'a Finding> {
    let checks = verdict.checks.iter().filter(move |result: &&CheckResult| result.check == check);
    checks.flat_map(|result| &result.findings)
}

/// What is planted into a history of our own: operation, check, anomaly.
struct BuiltIn {
    what: &'static str,
    check: &'static str,
    anomaly: &'static str,
    place: &'static str,
    plant: fn(&mut Sample),
    is_it: fn(&Finding) -> bool,
}

#[rustfmt::skip]
const BUILT_IN: [BuiltIn; 4] = [
    BuiltIn { what: "a receipt without a record", check: "acknowledged-is-durable", anomaly: "acknowledged-but-not-logged", place: "operation 17",
        plant: |sample| sample.facts.retain(|f| !matches!(&f.2, Fact::Logged(l) if l.op == Some(17))),
        is_it: |finding| finding.ops == [17] },
    BuiltIn { what: "an operation that was never answered", check: "outcomes", anomaly: "never-answered", place: "operation 50",
        plant: |sample| sample.facts.retain(|f| !matches!(&f.2, Fact::Completed(Completed { op: 50, .. }))),
        is_it: |finding| finding.ops == [50] },
    BuiltIn { what: "a group that never commits again after a fault", check: "recovery", anomaly: "group-did-not-recover", place: "from 300 ms on",
        plant: |sample| sample.facts.retain(|f| !matches!(&f.2, Fact::Committed(c) if c.at_us > 300_000)),
        is_it: |finding| finding.at_us.is_some_and(|at| at >= 300_000) },
    BuiltIn { what: "a consumer that panics", check: "exits", anomaly: "panicked", place: "at 500 ms",
        plant: |sample| {
            sample.ended(500_000, "consumer-1", None, ProcessEnd::Code(101));
            sample.process(500_001, "consumer-1", "started");
            sample.facts.sort_by_key(|fact| fact.0);
        },
        is_it: |finding| finding.at_us == Some(500_000) },
];

fn judged(sample: &Sample) -> Result<Verdict, HistoryError> {
    streamlake_judge::judge(&sample.header, sample.events().into_iter().map(Ok))
}

fn built_in() -> impl Iterator<Item = Planted> {
    BUILT_IN.iter().map(|planted| {
        let mut sample = Sample::honest();
        let clean = judged(&sample);
        (planted.plant)(&mut sample);
        let caught = |verdict: &Verdict| {
            let mut findings = findings(verdict, planted.check);
            findings.any(|f| f.anomaly == planted.anomaly && (planted.is_it)(f))
        };
        Planted {
            what: planted.what.to_owned(),
            check: planted.check.to_owned(),
            place: format!("{}, in a history that is built in", planted.place),
            // It must be there, and only where it was planted.
            found: judged(&sample).is_ok_and(|verdict| caught(&verdict))
                && clean.is_ok_and(|verdict| !caught(&verdict)),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::TestbedName;
    use crate::plan::{Resolved, resolve};
    use streamlake_judge::verdict::OffsetRange;

    #[test]
    fn the_canary_runs_on_every_testbed_and_its_checks_exist() {
        let file = scenario().unwrap();
        assert_eq!((file.name.as_str(), file.scenario.in_suite), (NAME, false));
        for testbed in [TestbedName::Embedded, TestbedName::Docker] {
            let abilities = crate::testbed::abilities(testbed);
            let resolved = resolve(&file, testbed.name(), &abilities, 1).unwrap();
            assert!(matches!(resolved, Resolved::Plan(_)));
        }
        let names = DEMANDS.iter().map(|d| d.check).chain(BUILT_IN.iter().map(|b| b.check));
        for name in names {
            assert!(streamlake_judge::all().iter().any(|checker| checker.name == name), "{name}");
        }
    }

    #[test]
    fn what_is_built_in_is_found() {
        for planted in built_in() {
            assert!(planted.found, "{planted:?}");
        }
    }

    #[test]
    fn a_finding_counts_only_at_its_place() {
        let mut finding = Finding {
            anomaly: "stored-differs".to_owned(),
            message: "1 record of t/1".to_owned(),
            group: None,
            topic: Some("t".to_owned()),
            partition: Some(1),
            offsets: vec![OffsetRange { first: 4, last: 6 }],
            ops: Vec::new(),
            at_us: None,
            fault: None,
            evidence: vec!["dead letter d/0 offset 12 of no place".to_owned()],
        };
        assert!(at(&finding, "t/1", "5"));
        assert!(!at(&finding, "t/1", "7") && !at(&finding, "t/0", "5"));
        assert!(at(&finding, "d/0", "12") && !at(&finding, "d/0", "1"));
        finding.evidence.clear();
        assert!(!at(&finding, "d/0", "12"));
    }
}
