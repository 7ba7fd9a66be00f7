//! `prove`: plants bugs in the pipeline and shows that the checkers catch them.
//!
//! Each bug runs in the scenario that can show it, and for each such run the same scenario runs clean,
//! with a seed of its own. A bug is caught only when the checker that is named for it fails; a clean run
//! must raise nothing.

#[cfg(not(feature = "planted-bugs"))]
pub(crate) fn main(_: &crate::cli::ProveArguments) -> miette::Result<u8> {
    Err(miette::miette!(
        help = "build with them: `cargo run --features planted-bugs -- prove`",
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

    use futures::StreamExt as _;
    use miette::IntoDiagnostic as _;

    use super::table::{NEEDS_A_REAL_BROKER, TRIALS, Trial, UNDETECTABLE};
    use crate::cli::{EXIT_INTERRUPTED, Output, ProveArguments, RunArguments, TestbedName};
    use crate::command::console::{Console, Schedule, look_of_results};
    use crate::command::suite::{Library, Shelf, ignored, writable};
    use crate::command::{preflight, report, run, trial};
    use crate::plan::Resolved;
    use crate::scenario::nearest;
    use streamlake_judge::verdict::Status;
    use streamlake_report::{
        CleanRow, Proof, ScenarioEntry, TrialRow, Undetectable, render_proof, terminal_table,
    };

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
        let schedule = before(arguments, &rows)?;
        let console = Console::start(arguments.output, schedule);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.into_diagnostic()?;
        runtime.block_on(preflight::environment(arguments.testbed))?;
        let outcomes = runtime.block_on(async {
            let stop = run::prepare(arguments, &console).await;
            let runs = rows.iter().map(|row| {
                let bug = row.bug.map(|trial| trial.bug);
                let planted = arguments.planting(row.scenario, bug, row.seed);
                let (console, stop) = (console.clone(), stop.clone());
                async move { run::selection(&planted, &console, &stop).await }
            });
            futures::stream::iter(runs).buffered(arguments.jobs()).collect::<Vec<_>>().await
        });
        console.close();
        let (mut done, mut interrupted) = (Vec::new(), false);
        for (row, outcome) in rows.into_iter().zip(outcomes) {
            let outcome = outcome?;
            interrupted |= outcome.interrupted;
            done.push((row, outcome.entries));
        }
        let proof = proof(arguments, &done);
        let files = render_proof(&proof).into_diagnostic()?;
        let output = arguments.output;
        trial::print(&files, output, || table(&proof, output))?;
        let clean = done.iter().filter(|(row, _)| row.bug.is_none());
        for line in clean.flat_map(|(_, entries)| entries).flat_map(raised) {
            eprintln!("{line}");
        }
        if interrupted {
            eprintln!("not saved: it was interrupted, and bugs without a run are not told above");
            return Ok(EXIT_INTERRUPTED);
        }
        if arguments.scenarios.is_empty() {
            trial::save(&files, &report::proofs(&arguments.folders), "matrix")?;
        } else if !arguments.output.quiet {
            eprintln!("not saved: a report shows the trial of all bugs only");
        }
        Ok(if proof.holds() { 0 } else { 1 })
    }

    /// What can be known before the work, and how long the runs may take.
    fn before(arguments: &RunArguments, rows: &[Row]) -> miette::Result<Schedule> {
        let folders = &arguments.folders;
        ignored(&folders.runs_dir)?;
        writable(&folders.runs_dir.join("prove"), "--runs-dir")?;
        writable(&report::proofs(folders), "--reports-dir")?;
        let files = Library::of(&folders.scenarios, Shelf::Proof).all()?;
        let plans =
            preflight::resolved(&files, arguments.testbed, &arguments.abilities(), arguments.seed)?;
        let expected = |name: &str| {
            files.iter().zip(&plans).find_map(|(file, plan)| match plan {
                Resolved::Plan(plan) if file.name == name => Some(run::expected(plan, arguments)),
                _ => None,
            })
        };
        let runs = rows.iter().filter_map(|row| {
            let expected = expected(row.scenario)?;
            let label = format!("{}/{}", arguments.testbed.name(), row.scenario);
            Some((0..arguments.repeat).map(move |_| (label.clone(), expected)))
        });
        Ok(Schedule::new(runs.flatten(), arguments.jobs()))
    }

    fn known(names: &[String]) -> miette::Result<()> {
        match names.iter().find(|name| !TRIALS.iter().any(|trial| trial.bug == **name)) {
            None => Ok(()),
            Some(name) => {
                let all: Vec<&str> = TRIALS.iter().map(|trial| trial.bug).collect();
                let help = match nearest(name, all.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known bugs: {}", all.join(", ")),
                };
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

    /// What a run without a bug raised, a line each: somebody has to find out why.
    fn raised(entry: &ScenarioEntry) -> Vec<String> {
        let ScenarioEntry::Ran(report) = entry else { return Vec::new() };
        let run = &report.header.run;
        let mut lines = Vec::new();
        for check in &report.verdict.checks {
            let said: Vec<&str> = match check.status {
                Status::Fail => check.findings.iter().map(|found| found.message.as_str()).collect(),
                Status::Inconclusive => check.reasons.iter().map(String::as_str).collect(),
                _ => continue,
            };
            let said = said.join("; ");
            lines.push(format!(
                "no bug, {}, seed {}: {}: {said}",
                run.scenario, run.seed, check.check
            ));
        }
        lines
    }

    fn checks(entry: &ScenarioEntry, wanted: impl Fn(Status) -> bool) -> BTreeSet<String> {
        let ScenarioEntry::Ran(report) = entry else { return BTreeSet::new() };
        let checks = report.verdict.checks.iter().filter(|check| wanted(check.status));
        checks.map(|check| check.check.clone()).collect()
    }

    fn table(proof: &Proof, output: Output) -> String {
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row in &proof.trials {
            let result = match (row.runs, row.caught) {
                (0, _) => "on the other testbed".to_owned(),
                (runs, caught) if runs == caught => "caught".to_owned(),
                (runs, caught) => format!("MISSED in {} of {runs}", runs - caught),
            };
            // That it is caught elsewhere is for whoever asks.
            if row.runs == 0 && !output.verbose || output.quiet && result == "caught" {
                continue;
            }
            let (runs, also) = (row.runs.to_string(), row.also.join(" "));
            rows.push(vec![
                row.bug.clone(),
                result,
                row.scenario.clone(),
                row.check.clone(),
                runs,
                also,
            ]);
        }
        for row in &proof.clean {
            let checks = row.checks.join(" ");
            let result = match (row.alarms, row.unclear) {
                (0, 0) => "clean".to_owned(),
                (0, unclear) => format!("INCONCLUSIVE in {unclear}"),
                (alarms, _) => format!("FALSE ALARM in {alarms}"),
            };
            if output.quiet && result == "clean" {
                continue;
            }
            let (none, runs) = ("no bug".to_owned(), row.runs.to_string());
            rows.push(vec![none, result, row.scenario.clone(), "nothing".to_owned(), runs, checks]);
        }
        let mut text = String::new();
        if !rows.is_empty() {
            let head = ["bug", "result", "scenario", "to be caught by", "runs", "also failed"];
            text = format!("{}\n\n", terminal_table(&head, rows, look_of_results(output)));
        }
        if output.verbose {
            text.push_str("tried, and found undetectable from outside:\n");
            for tried in &proof.undetectable {
                text.push_str(&format!("- {}: {}\n", tried.what, tried.why));
            }
            text.push('\n');
        }
        text.push_str(&verdict(proof));
        text
    }

    /// The whole in a sentence.
    fn verdict(proof: &Proof) -> String {
        let tried: Vec<&TrialRow> = proof.trials.iter().filter(|row| row.runs > 0).collect();
        let caught = tried.iter().filter(|row| row.caught == row.runs).count();
        let clean = proof.clean.iter().filter(|row| row.alarms + row.unclear == 0).count();
        format!(
            "{caught} of {} bugs that were tried on {} were caught in every run; {clean} of {} scenarios \
             without a bug raised nothing",
            tried.len(),
            proof.testbed,
            proof.clean.len()
        )
    }
}
