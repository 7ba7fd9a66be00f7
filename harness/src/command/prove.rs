//! `prove`: plants bugs in the pipeline and shows that the checkers catch them.
//!
//! Each bug runs in the scenario that can show it, and the same scenario runs clean. A bug is caught
//! only when the checker that is named for it fails; a clean run must raise nothing.

#[cfg(not(feature = "planted-bugs"))]
pub(crate) fn main(_: &crate::cli::RunArguments) -> miette::Result<u8> {
    Err(miette::miette!(
        help = "build with them: `cargo run --release --features planted-bugs -- prove`",
        "this binary holds no planted bugs"
    ))
}

#[cfg(feature = "planted-bugs")]
pub(crate) use with_bugs::main;

#[cfg(feature = "planted-bugs")]
mod with_bugs {
    use std::collections::BTreeSet;
    use std::io::Write as _;

    use comfy_table::Table;
    use comfy_table::presets::UTF8_BORDERS_ONLY;
    use futures::StreamExt as _;
    use miette::IntoDiagnostic as _;

    use crate::cli::{EXIT_INTERRUPTED, RunArguments, TestbedName};
    use crate::command::run;
    use crate::report::ScenarioEntry;
    use crate::verdict::Status;

    /// A planted bug, the scenario that can show it, and the check that is there to catch it.
    struct Trial {
        bug: &'static str,
        scenario: &'static str,
        check: &'static str,
    }

    const fn trial(bug: &'static str, scenario: &'static str, check: &'static str) -> Trial {
        Trial { bug, scenario, check }
    }

    /// Every bug that the pipeline can be built with, but for `replay-off-by-one`, which no scenario
    /// can show yet: replays are not part of a run.
    const TRIALS: &[Trial] = &[
        trial("commit-before-write", "slow-store", "commit-frontier"),
        trial("auto-commit", "slow-store", "commit-frontier"),
        trial("commit-last-offset", "plain", "recovery"),
        trial("commit-one-too-far", "plain", "commit-frontier"),
        trial("commit-newest-completion", "failing-store", "commit-frontier"),
        trial("drop-on-store-error", "failing-store", "no-loss"),
        trial("dead-letter-on-transient-error", "failing-store", "dead-letters"),
        trial("commit-before-dead-letter-ack", "poison", "commit-frontier"),
        trial("dead-letter-reencoded", "poison", "dead-letters"),
        trial("header-lost", "plain", "fidelity"),
        trial("value-reserialized", "plain", "fidelity"),
        trial("part-overwritten", "kill", "immutability"),
        trial("part-truncated", "plain", "immutability"),
        trial("date-off-by-one", "plain", "placement"),
        trial("metadata-missing-part", "plain", "metadata"),
        trial("tail-forgotten", "stop", "no-loss"),
        trial("wrong-partitioner", "plain", "partition-determinism"),
        trial("acks-one", "plain", "configuration"),
        trial("reordered-retries", "plain", "configuration"),
        trial("error-swallowed", "lost-answers", "acknowledged-is-durable"),
        trial("unknown-as-failed", "lost-answers", "acknowledged-is-durable"),
        trial("record-skipped", "plain", "no-loss"),
        trial("commit-after-revoke", "rebalance", "commit-frontier"),
        trial("stale-assignment", "rebalance", "commit-frontier"),
    ];

    /// Bugs that only a real broker can show: the mock cluster's rebalances are not Kafka's, and it
    /// stamps a dead letter when it is sent, not when it is appended.
    const NEEDS_A_REAL_BROKER: [&str; 3] =
        ["commit-after-revoke", "stale-assignment", "commit-before-dead-letter-ack"];

    /// One row of the matrix: a trial, or (without a bug) a clean run of a scenario.
    struct Row {
        bug: Option<&'static Trial>,
        scenario: &'static str,
    }

    pub(crate) fn main(arguments: &RunArguments) -> miette::Result<u8> {
        let rows = rows(arguments);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let outcomes = runtime.into_diagnostic()?.block_on(async {
            let stop = run::prepare(arguments).await;
            let runs = rows.iter().map(|row| {
                let planted = arguments.planting(row.scenario, row.bug.map(|trial| trial.bug));
                let stop = stop.clone();
                async move { run::selected(&planted, &stop).await }
            });
            futures::stream::iter(runs).buffered(arguments.jobs()).collect::<Vec<_>>().await
        });
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        table.set_header(["bug", "scenario", "to be caught by", "checks that failed", "result"]);
        let mut proven = true;
        for (row, outcome) in rows.iter().zip(outcomes) {
            let Some(entries) = outcome? else { return Ok(EXIT_INTERRUPTED) };
            let (failed, verdict) = (failed_checks(&entries), verdict(&entries));
            // A scenario that the testbed cannot carry out shows nothing, and says so.
            let (result, as_expected) = match row.bug {
                _ if verdict == Status::NotApplicable => ("not applicable", true),
                Some(trial) if failed.contains(trial.check) => ("caught", true),
                Some(_) => ("MISSED", false),
                None if verdict == Status::Pass => ("clean", true),
                None => ("FALSE ALARM", false),
            };
            proven &= as_expected;
            table.add_row([
                row.bug.map_or("none", |trial| trial.bug),
                row.scenario,
                row.bug.map_or("nothing", |trial| trial.check),
                &failed.into_iter().collect::<Vec<_>>().join(", "),
                result,
            ]);
        }
        writeln!(std::io::stdout(), "{table}").into_diagnostic()?;
        Ok(if proven { 0 } else { 1 })
    }

    /// The trials, by name of their bugs where some are named, and a clean run of each scenario.
    fn rows(arguments: &RunArguments) -> Vec<Row> {
        let wanted = |trial: &&Trial| {
            arguments.scenarios.is_empty()
                || arguments.scenarios.iter().any(|name| name == trial.bug)
        };
        let possible = |trial: &&Trial| {
            arguments.testbed == TestbedName::Docker || !NEEDS_A_REAL_BROKER.contains(&trial.bug)
        };
        let trials = || TRIALS.iter().filter(wanted).filter(possible);
        let scenarios: BTreeSet<_> = trials().map(|trial| trial.scenario).collect();
        let clean = scenarios.into_iter().map(|scenario| Row { bug: None, scenario });
        clean
            .chain(trials().map(|trial| Row { bug: Some(trial), scenario: trial.scenario }))
            .collect()
    }

    fn verdict(entries: &[ScenarioEntry]) -> Status {
        Status::combine(entries.iter().filter_map(ScenarioEntry::status))
    }

    fn failed_checks(entries: &[ScenarioEntry]) -> BTreeSet<String> {
        let reports = entries.iter().filter_map(|entry| match entry {
            ScenarioEntry::Ran(report) => Some(report),
            _ => None,
        });
        reports
            .flat_map(|report| &report.verdict.checks)
            .filter(|check| check.status == Status::Fail)
            .map(|check| check.check.clone())
            .collect()
    }
}
