//! `prove --ordinary`: each planted bug against the suite that a user runs, not against a scenario that
//! was made for it.
//!
//! With a bug planted, the scenarios of the suite run one after the other until one fails in which the bug
//! was seen to act: that is a find, whichever check it was. The first is the one where the bug is expected
//! to show, the others follow by their length. Several bugs are tried at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use miette::IntoDiagnostic as _;
use tokio_util::sync::CancellationToken;

use super::table::{TRIALS, Trial, out_of_reach};
use super::with_bugs::{clean_row, failed};
use crate::cli::{EXIT_INTERRUPTED, Output, RunArguments};
use crate::command::console::{Console, look_of_results};
use crate::command::suite::{Library, Shelf, ignored, selected, writable};
use crate::command::{preflight, report, run, trial};
use crate::plan::{Resolved, resolve};
use crate::scenario::ScenarioFile;
use crate::testbed;
use streamlake_judge::verdict::Status;
use streamlake_report::{
    OrdinaryRow, OrdinaryRun, OrdinaryTrial, ScenarioEntry, render_ordinary, terminal_table,
};

pub(super) fn main(arguments: &RunArguments) -> miette::Result<u8> {
    let files = applicable(arguments)?;
    let bugs: Vec<&'static Trial> = TRIALS
        .iter()
        .filter(|trial| {
            let named = &arguments.scenarios;
            named.is_empty() || named.iter().any(|name| name == trial.bug)
        })
        .collect();
    ignored(&arguments.folders.runs_dir)?;
    writable(&arguments.folders.runs_dir.join("ordinary"), "--runs-dir")?;
    writable(&report::proofs(&arguments.folders), "--reports-dir")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.into_diagnostic()?;
    runtime.block_on(preflight::environment(arguments.testbed))?;
    // How many scenarios a bug needs is not known before: there is no total to show.
    let console = Console::plain(arguments.output);
    let trial = runtime.block_on(async {
        let stop = run::prepare(arguments, &console).await;
        trial(arguments, &files, &bugs, &console, &stop).await
    })?;
    let Some(trial) = trial else { return Ok(EXIT_INTERRUPTED) };
    let files = render_ordinary(&trial).into_diagnostic()?;
    let output = arguments.output;
    trial::print(&files, output, || table(&trial, output))?;
    if arguments.scenarios.is_empty() {
        trial::save(&files, &report::proofs(&arguments.folders), "trial")?;
    } else if !arguments.output.quiet {
        eprintln!("not saved: a report shows the trial of all bugs only");
    }
    Ok(if trial.holds() { 0 } else { 1 })
}

/// The scenarios of the suite that the testbed can carry out, the shortest first.
fn applicable(arguments: &RunArguments) -> miette::Result<Vec<ScenarioFile>> {
    let abilities = testbed::abilities(arguments.testbed);
    let mut files = Vec::new();
    let library = Library::of(&arguments.folders.scenarios, Shelf::Scenarios);
    for file in selected(&library, &[], &Default::default())?.files {
        let resolved = resolve(&file, arguments.testbed.name(), &abilities, arguments.seed)?;
        if let Resolved::Plan(plan) = resolved {
            let faults: Duration = plan.faults.iter().map(|fault| fault.lasts).sum();
            files.push((plan.load.length() + faults, file));
        }
    }
    files.sort_by_key(|(length, _)| *length);
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// One thing to do: the suite with a bug at a seed, or one of its scenarios without any.
enum Work<'a> {
    Bug(&'static Trial, u64),
    Clean(&'a ScenarioFile, u64),
}

async fn trial(
    arguments: &RunArguments,
    files: &[ScenarioFile],
    bugs: &[&'static Trial],
    console: &Arc<Console>,
    stop: &CancellationToken,
) -> miette::Result<Option<OrdinaryTrial>> {
    let seeds: Vec<u64> =
        (0..u64::from(arguments.repeat)).map(|n| arguments.seed.wrapping_add(n)).collect();
    let works = seeds.iter().flat_map(|&seed| {
        let clean = files.iter().map(move |file| Work::Clean(file, seed));
        clean.chain(bugs.iter().map(move |&trial| Work::Bug(trial, seed)))
    });
    let done = works.map(|work| carry_out(work, arguments, files, console, stop));
    let mut done = futures::stream::iter(done).buffer_unordered(arguments.jobs());
    let mut runs: BTreeMap<&str, Vec<OrdinaryRun>> = BTreeMap::new();
    let mut clean: BTreeMap<&str, Vec<ScenarioEntry>> = BTreeMap::new();
    while let Some(outcome) = done.next().await {
        match outcome? {
            None => return Ok(None),
            Some(Done::Bug(bug, run)) => runs.entry(bug).or_default().push(run),
            Some(Done::Clean(name, entry)) => clean.entry(name).or_default().push(*entry),
        }
    }
    let rows = bugs.iter().map(|trial| {
        let mut runs = runs.remove(trial.bug).unwrap_or_default();
        runs.sort_by_key(|run| run.seed);
        let reason = out_of_reach(arguments.testbed.name(), trial.bug);
        OrdinaryRow {
            bug: trial.bug.to_owned(),
            check: trial.check.to_owned(),
            runs,
            reason: reason.map(str::to_owned),
        }
    });
    Ok(Some(OrdinaryTrial {
        testbed: arguments.testbed.name().to_owned(),
        commit: crate::COMMIT.to_owned(),
        rows: rows.collect(),
        clean: clean.iter().map(|(name, entries)| clean_row(name, entries.iter())).collect(),
        seeds: seeds.clone(),
    }))
}

enum Done<'a> {
    Bug(&'static str, OrdinaryRun),
    Clean(&'a str, Box<ScenarioEntry>),
}

/// None when the harness was asked to stop.
async fn carry_out<'a>(
    work: Work<'a>,
    arguments: &RunArguments,
    files: &'a [ScenarioFile],
    console: &Arc<Console>,
    stop: &CancellationToken,
) -> miette::Result<Option<Done<'a>>> {
    match work {
        Work::Clean(file, seed) => {
            let arguments = arguments.ordinary(None, seed);
            let entry = run::one(file, seed, &arguments, console, stop).await?;
            Ok(entry.map(|entry| {
                console.tell(&format!("none, seed {seed}, {}: {:?}", file.name, entry.status()));
                Done::Clean(&file.name, Box::new(entry))
            }))
        }
        Work::Bug(trial, seed) => {
            let run = suite_with(trial, seed, arguments, files, console, stop).await?;
            Ok(run.map(|run| Done::Bug(trial.bug, run)))
        }
    }
}

/// The suite with one bug, until a scenario fails.
async fn suite_with(
    trial: &'static Trial,
    seed: u64,
    arguments: &RunArguments,
    files: &[ScenarioFile],
    console: &Arc<Console>,
    stop: &CancellationToken,
) -> miette::Result<Option<OrdinaryRun>> {
    let arguments = arguments.ordinary(Some(trial.bug), seed);
    let mut files: Vec<&ScenarioFile> = files.iter().collect();
    files.sort_by_key(|file| file.name != trial.first);
    let mut told = OrdinaryRun {
        seed,
        scenarios: 0,
        acted: false,
        caught_by: None,
        checks: Vec::new(),
        inconclusive: Vec::new(),
    };
    for file in files {
        let entry = match run::one(file, seed, &arguments, console, stop).await {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(None),
            // A pipeline that cannot even be run is one that a user would not take for good.
            Err(error) => {
                console.warn(&format!("{}, seed {seed}, {}: {error:?}", trial.bug, file.name));
                told.inconclusive.push(file.name.clone());
                continue;
            }
        };
        if matches!(entry, ScenarioEntry::NotCarriedOut { .. }) {
            told.inconclusive.push(file.name.clone());
            continue;
        }
        told.scenarios += 1;
        let acted = acted(&run::folder_of(file, seed, &arguments));
        told.acted |= acted;
        match entry.status() {
            // A machine that is too busy fails scenarios by itself: that is no find.
            Some(Status::Fail) if !acted => {
                let checks: Vec<_> = failed(&entry).into_iter().collect();
                let (bug, name) = (trial.bug, &file.name);
                let checks = checks.join(", ");
                let text = format!("{bug}, seed {seed}: {name} failed without it, by {checks}");
                console.warn(&text);
                told.inconclusive.push(file.name.clone());
            }
            Some(Status::Fail) => {
                told.caught_by = Some(file.name.clone());
                told.checks = failed(&entry).into_iter().collect();
                break;
            }
            Some(Status::Inconclusive) => told.inconclusive.push(file.name.clone()),
            _ => {}
        }
    }
    console.tell(&match &told.caught_by {
        Some(scenario) => format!(
            "{}, seed {seed}: caught in {scenario} by {}",
            trial.bug,
            told.checks.join(", ")
        ),
        None if told.acted => format!("{}, seed {seed}: acted and MISSED", trial.bug),
        None => format!("{}, seed {seed}: never acted", trial.bug),
    });
    Ok(Some(told))
}

/// Whether a process of a run says that its bug acted.
fn acted(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let logs = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.filter_map(|path| std::fs::read(path).ok())
        .any(|log| String::from_utf8_lossy(&log).contains(streamlake::planted::ACTED))
}

fn table(trial: &OrdinaryTrial, output: Output) -> String {
    let rows = trial.rows.iter().flat_map(|row| row.runs.iter().map(move |run| (row, run)));
    let rows = rows.filter(|(_, run)| !output.quiet || run.caught_by.is_none());
    let rows = rows.map(|(row, run)| {
        let result = match (&run.caught_by, run.acted) {
            (Some(scenario), _) => format!("caught in {scenario}"),
            (None, true) => "MISSED".to_owned(),
            (None, false) => "never acted".to_owned(),
        };
        vec![row.bug.clone(), run.seed.to_string(), result, run.checks.join(" ")]
    });
    terminal_table(&["bug", "seed", "result", "checks"], rows.collect(), look_of_results(output))
}
