//! `prove`: plants bugs in the pipeline and shows that the checkers catch them.
//!
//! Each bug runs in the scenario that can show it, and for each such run the same scenario runs clean,
//! with a seed of its own. A bug is caught only when the checker that is named for it fails; a clean run
//! must raise nothing.

#[cfg(not(feature = "planted-bugs"))]
pub(crate) fn main(_: &crate::cli::ProveArguments) -> miette::Result<u8> {
    Err(miette::miette!(
        help = "build with them: `cargo run --release --features planted-bugs -- prove`",
        "this binary holds no planted bugs"
    ))
}

#[cfg(feature = "planted-bugs")]
mod ordinary;
#[cfg(feature = "planted-bugs")]
mod table;

#[cfg(feature = "planted-bugs")]
pub(crate) use with_bugs::main;

#[cfg(feature = "planted-bugs")]
mod with_bugs {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::Write as _;
    use std::path::Path;

    use comfy_table::Table;
    use comfy_table::presets::UTF8_BORDERS_ONLY;
    use futures::StreamExt as _;
    use miette::{IntoDiagnostic as _, WrapErr as _};

    use super::table::{NEEDS_A_REAL_BROKER, TRIALS, Trial, UNDETECTABLE};
    use crate::cli::{EXIT_INTERRUPTED, ProveArguments, RunArguments, TestbedName};
    use crate::command::{report, run};
    use streamlake_judge::verdict::Status;
    use streamlake_report::{CleanRow, Proof, ScenarioEntry, TrialRow, Undetectable, render_proof};

    /// One run of the matrix: a trial, or (without a bug) a clean run of a scenario.
    struct Row {
        bug: Option<&'static Trial>,
        scenario: &'static str,
        seed: u64,
    }

    pub(crate) fn main(arguments: &ProveArguments) -> miette::Result<u8> {
        let ProveArguments { run: arguments, ordinary } = arguments;
        known(&arguments.scenarios)?;
        if *ordinary {
            return super::ordinary::main(arguments);
        }
        let rows = rows(arguments);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let outcomes = runtime.into_diagnostic()?.block_on(async {
            let stop = run::prepare(arguments).await;
            let runs = rows.iter().map(|row| {
                let bug = row.bug.map(|trial| trial.bug);
                let planted = arguments.planting(row.scenario, bug, row.seed);
                let stop = stop.clone();
                async move { run::selected(&planted, &stop).await }
            });
            futures::stream::iter(runs).buffered(arguments.jobs()).collect::<Vec<_>>().await
        });
        let mut done = Vec::new();
        for (row, outcome) in rows.into_iter().zip(outcomes) {
            let Some(entries) = outcome? else { return Ok(EXIT_INTERRUPTED) };
            done.push((row, entries));
        }
        let proof = proof(arguments, &done);
        writeln!(std::io::stdout(), "{}", table(&proof)).into_diagnostic()?;
        if arguments.scenarios.is_empty() {
            save(&proof, &report::proofs(&arguments.folders))?;
        } else {
            eprintln!("not saved: a report shows the trial of all bugs only");
        }
        Ok(if proof.holds() { 0 } else { 1 })
    }

    fn known(names: &[String]) -> miette::Result<()> {
        match names.iter().find(|name| !TRIALS.iter().any(|trial| trial.bug == **name)) {
            None => Ok(()),
            Some(name) => {
                let all: Vec<&str> = TRIALS.iter().map(|trial| trial.bug).collect();
                let help = format!("known bugs: {}", all.join(", "));
                Err(miette::miette!(help = help, "there is no planted bug `{name}`"))
            }
        }
    }

    /// Each bug has its trial on the cheapest testbed that can show it. One that is named is tried on
    /// docker whatever it needs.
    fn on_this_testbed(arguments: &RunArguments, trial: &Trial) -> bool {
        let docker = arguments.testbed == TestbedName::Docker;
        let named = docker && !arguments.scenarios.is_empty();
        named || docker == NEEDS_A_REAL_BROKER.contains(&trial.bug)
    }

    /// The trials, by name of their bugs where some are named, and a clean run for each.
    fn rows(arguments: &RunArguments) -> Vec<Row> {
        let wanted = |trial: &&Trial| {
            arguments.scenarios.is_empty()
                || arguments.scenarios.iter().any(|name| name == trial.bug)
        };
        let mut rows = Vec::new();
        let mut repeated: BTreeMap<&str, u64> = BTreeMap::new();
        for trial in TRIALS.iter().filter(wanted).filter(|trial| on_this_testbed(arguments, trial))
        {
            let before = repeated.entry(trial.scenario).or_default();
            let seed = arguments.seed.wrapping_add(*before * u64::from(arguments.repeat));
            *before += 1;
            let scenario = trial.scenario;
            rows.push(Row { bug: Some(trial), scenario, seed: arguments.seed });
            rows.push(Row { bug: None, scenario, seed });
        }
        rows
    }

    fn proof(arguments: &RunArguments, done: &[(Row, Vec<ScenarioEntry>)]) -> Proof {
        let trials = TRIALS.iter().map(|trial| {
            let is_this = |row: &&(Row, _)| row.0.bug.is_some_and(|bug| bug.bug == trial.bug);
            trial_row(trial, done.iter().filter(is_this).flat_map(|(_, entries)| entries))
        });
        let scenarios: BTreeSet<_> = done.iter().map(|(row, _)| row.scenario).collect();
        let clean = scenarios.into_iter().map(|scenario| {
            let is_this = |row: &&(Row, _)| row.0.bug.is_none() && row.0.scenario == scenario;
            clean_row(scenario, done.iter().filter(is_this).flat_map(|(_, entries)| entries))
        });
        Proof {
            testbed: arguments.testbed.name().to_owned(),
            commit: crate::COMMIT.to_owned(),
            seed: arguments.seed,
            trials: trials.filter(|row| row.runs > 0 || arguments.scenarios.is_empty()).collect(),
            clean: clean.collect(),
            undetectable: UNDETECTABLE
                .iter()
                .map(|&(what, why)| Undetectable { what: what.to_owned(), why: why.to_owned() })
                .collect(),
        }
    }

    fn trial_row<'a>(trial: &Trial, entries: impl Iterator<Item = &'a ScenarioEntry>) -> TrialRow {
        let mut row = TrialRow {
            bug: trial.bug.to_owned(),
            scenario: trial.scenario.to_owned(),
            check: trial.check.to_owned(),
            runs: 0,
            caught: 0,
            also: Vec::new(),
        };
        let mut also = BTreeSet::new();
        for entry in entries.filter(|entry| entry.status() != Some(Status::NotApplicable)) {
            let mut failed = checks(entry, |status| status == Status::Fail);
            row.runs += 1;
            row.caught += u64::from(failed.remove(trial.check));
            also.extend(failed);
        }
        row.also = also.into_iter().collect();
        row
    }

    /// The checks that failed.
    pub(in crate::command::prove) fn failed(entry: &ScenarioEntry) -> BTreeSet<String> {
        checks(entry, |status| status == Status::Fail)
    }

    pub(in crate::command::prove) fn clean_row<'a>(
        scenario: &str,
        entries: impl Iterator<Item = &'a ScenarioEntry>,
    ) -> CleanRow {
        let (mut runs, mut alarms, mut unclear) = (0, 0, 0);
        let mut raised = BTreeSet::new();
        for entry in entries.filter(|entry| entry.status() != Some(Status::NotApplicable)) {
            runs += 1;
            match entry.status() {
                Some(Status::Pass) => {}
                Some(Status::Fail) => alarms += 1,
                _ => unclear += 1,
            }
            raised.extend(checks(entry, |s| matches!(s, Status::Fail | Status::Inconclusive)));
        }
        let (scenario, checks) = (scenario.to_owned(), raised.into_iter().collect());
        CleanRow { scenario, runs, alarms, unclear, checks }
    }

    fn checks(entry: &ScenarioEntry, wanted: impl Fn(Status) -> bool) -> BTreeSet<String> {
        let ScenarioEntry::Ran(report) = entry else { return BTreeSet::new() };
        let checks = report.verdict.checks.iter().filter(|check| wanted(check.status));
        checks.map(|check| check.check.clone()).collect()
    }

    fn table(proof: &Proof) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        table.set_header(["bug", "scenario", "to be caught by", "also failed", "runs", "result"]);
        for row in &proof.trials {
            let result = match (row.runs, row.caught) {
                (0, _) => "on the other testbed".to_owned(),
                (runs, caught) if runs == caught => "caught".to_owned(),
                (runs, caught) => format!("MISSED in {} of {runs}", runs - caught),
            };
            let also = row.also.join(", ");
            table.add_row([
                &row.bug,
                &row.scenario,
                &row.check,
                &also,
                &row.runs.to_string(),
                &result,
            ]);
        }
        for row in &proof.clean {
            let checks = row.checks.join(", ");
            let result = match (row.alarms, row.unclear) {
                (0, 0) => "clean".to_owned(),
                (0, unclear) => format!("INCONCLUSIVE in {unclear}: {checks}"),
                (alarms, _) => format!("FALSE ALARM in {alarms}: {checks}"),
            };
            table.add_row(["none", &row.scenario, "nothing", "", &row.runs.to_string(), &result]);
        }
        let tried = proof.undetectable.iter();
        let tried: String =
            tried.map(|tried| format!("- {}: {}\n", tried.what, tried.why)).collect();
        format!("{table}\n\ntried, and found undetectable from outside:\n{tried}")
    }

    fn save(proof: &Proof, folder: &Path) -> miette::Result<()> {
        let write = || -> miette::Result<()> {
            std::fs::create_dir_all(folder).into_diagnostic()?;
            for file in render_proof(proof).into_diagnostic()? {
                std::fs::write(folder.join(&file.name), &file.bytes).into_diagnostic()?;
            }
            Ok(())
        };
        write().wrap_err_with(|| format!("writing the matrix into {}", folder.display()))?;
        eprintln!("the matrix: {}", folder.display());
        Ok(())
    }
}
