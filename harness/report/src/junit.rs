//! The report for CI: a run is a suite, a check is a case.
//!
//! An anomaly is a *failure*. An inconclusive check is an *error*: the attempt to judge broke down,
//! and a build must not take it for a pass. What does not apply or has not run is *skipped*.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::escape::visible;
use super::{
    Canary, ReportError, ReportFile, ScenarioEntry, ScenarioReport, SuiteReport, content, words,
};
use streamlake_judge::verdict::{CheckResult, Finding, Status};

/// Name of the file.
pub(super) const FILE: &str = "junit.xml";
/// Findings of one check that are printed.
const FINDINGS_MAX: usize = 20;

pub(super) fn write(suite: &SuiteReport) -> Result<Vec<ReportFile>, ReportError> {
    let mut report = Report::new("streamlake-harness");
    if let Some(canary) = &suite.canary {
        report.add_test_suite(self::canary(canary));
    }
    for entry in &suite.scenarios {
        report.add_test_suite(match entry {
            ScenarioEntry::Ran(run) => ran(run, repeated(suite, run)),
            ScenarioEntry::NotRun { name, command, .. } => {
                skipped(name, &format!("No results available. Run: {command}"))
            }
            ScenarioEntry::NotApplicable { name, testbed, reason, .. } => {
                skipped(name, &format!("not applicable on {testbed}: {reason}"))
            }
            ScenarioEntry::NotCarriedOut { name, testbed, reason, again, .. } => {
                broken(name, testbed, reason, &again.logs)
            }
        });
    }
    let mut text = report.to_string().map_err(|source| ReportError::new("JUnit", source))?;
    // Schemas know this attribute of a suite, not of all of them.
    if let Some(head) = text.find("<testsuites ")
        && let Some(end) = text[head..].find('>').map(|end| head + end)
        && let Some(from) = text[head..end].find(" skipped=\"").map(|from| head + from)
        && let Some(to) = text[from + 10..end].find('"').map(|to| from + 10 + to)
    {
        text.replace_range(from..=to, "");
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(vec![ReportFile::text(FILE, text)])
}

/// The run that must fail is a success of the harness, and the other way round.
fn canary(canary: &Canary) -> TestSuite {
    let mut suite = TestSuite::new("canary");
    let sentence = visible(&canary.sentence());
    let mut status = match canary.caught() {
        true => TestCaseStatus::success(),
        false => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if !canary.caught() {
        status.set_message(&sentence);
    }
    suite.add_property(Property::new("canary", &sentence));
    suite.add_property(Property::new("history", visible(&canary.history_file)));
    let mut case = TestCase::new("canary", status);
    case.set_classname(visible(&format!("{}.canary", canary.testbed)));
    case.set_time(Duration::ZERO);
    suite.add_test_case(case);
    suite
}

/// A scenario that came to no history: an error, never a pass.
fn broken(name: &str, testbed: &str, reason: &str, logs: &[String]) -> TestSuite {
    let mut suite = TestSuite::new(visible(name));
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("not carried out").set_message(visible(reason));
    status.set_description(visible(&format!("logs: {}", logs.join(", "))));
    suite.add_test_case(verdict_case(&format!("{testbed}.{name}"), status));
    suite
}

fn skipped(name: &str, message: &str) -> TestSuite {
    let mut suite = TestSuite::new(visible(name));
    let mut status = TestCaseStatus::skipped();
    status.set_message(visible(message));
    suite.add_test_case(verdict_case(name, status));
    suite
}

/// The one case of a suite without checks. Schemas of JUnit ask for a class and a time.
fn verdict_case(name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new("verdict", status);
    case.set_classname(visible(name));
    case.set_time(Duration::ZERO);
    case
}

/// Whether a scenario ran more than once. Whoever collects such files takes cases of one name for one
/// case, so repetitions need names of their own.
fn repeated(suite: &SuiteReport, run: &ScenarioReport) -> bool {
    let same = |other: &&ScenarioReport| other.header.run.scenario == run.header.run.scenario;
    suite.runs().filter(same).count() > 1
}

fn ran(run: &ScenarioReport, repeated: bool) -> TestSuite {
    let info = &run.header.run;
    let name = match repeated {
        true => format!("{} (seed {})", info.scenario, info.seed),
        false => info.scenario.clone(),
    };
    let mut suite = TestSuite::new(visible(&name));
    suite.set_time(Duration::from_micros(run.verdict.tally.length_us));
    for (name, value) in [
        ("testbed", info.testbed.clone()),
        ("seed", info.seed.to_string()),
        ("commit", info.commit.clone()),
        ("started_at", info.started_at.clone()),
        ("history", run.history_file.clone()),
        ("run_again", content::run_again(run)),
    ] {
        suite.add_property(Property::new(name, visible(&value)));
    }
    if let Ok(began) = chrono::DateTime::parse_from_rfc3339(&info.started_at) {
        suite.set_timestamp(began);
    }
    // A check takes no time of its own: what took it is the run.
    let mut carried_out = TestCase::new("carried-out", TestCaseStatus::success());
    carried_out.set_classname(visible(&format!("{}.{name}", info.testbed)));
    carried_out.set_time(Duration::from_micros(run.verdict.tally.length_us));
    suite.add_test_case(carried_out);
    for check in &run.verdict.checks {
        let mut case = TestCase::new(visible(&check.check), status(check));
        case.set_classname(visible(&format!("{}.{name}", info.testbed)));
        case.set_time(Duration::ZERO);
        suite.add_test_case(case);
    }
    if run.verdict.checks.is_empty() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message("nothing was judged");
        suite.add_test_case(verdict_case(&name, status));
    }
    suite
}

fn status(check: &CheckResult) -> TestCaseStatus {
    let mut status = match check.status {
        Status::Pass => return TestCaseStatus::success(),
        Status::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Status::Inconclusive => TestCaseStatus::non_success(NonSuccessKind::Error),
        Status::NotApplicable => TestCaseStatus::skipped(),
    };
    status.set_message(visible(&check.summary));
    if check.status != Status::NotApplicable {
        status.set_type(check.status.word());
        status.set_description(description(check));
    }
    status
}

fn description(check: &CheckResult) -> String {
    let mut lines = vec![format!("Guarantee: {}", visible(&check.guarantee))];
    lines.extend(check.reasons.iter().map(|reason| visible(reason)));
    for finding in check.findings.iter().take(FINDINGS_MAX) {
        lines.push(one_finding(finding));
        lines.extend(
            finding.evidence.iter().take(FINDINGS_MAX).map(|line| format!("  {}", visible(line))),
        );
    }
    let left = check.findings.len().saturating_sub(FINDINGS_MAX) as u64;
    if left > 0 {
        lines.push(format!("… and {} more in {}", words::count(left), super::json::FILE));
    }
    lines.join("\n")
}

fn one_finding(finding: &Finding) -> String {
    format!("{}: {}", visible(&finding.anomaly), visible(&content::described(finding)))
}
