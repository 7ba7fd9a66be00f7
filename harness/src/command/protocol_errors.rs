//! `protocol-errors`: tells clients errors that their brokers never told, API by API and error by error, and
//! gathers what came of it in a matrix.
//!
//! A cell of the matrix is a pair of API and answer. The scenarios are made here, from one template; their
//! files are left beside the histories, so that each run can be repeated by itself. Several pairs can share
//! a run, one after the other: each has windows of its own, and a run that does not pass is held against all
//! of them.

mod pairs;
mod template;

use std::path::Path;

use futures::StreamExt as _;
use miette::IntoDiagnostic as _;

use self::pairs::{PAIRS, Pair};
use self::template::Run;
use crate::cli::{EXIT_INTERRUPTED, Output, ProtocolErrorsArguments, RunArguments, TestbedName};
use crate::command::console::{Console, Schedule, look_of_results};
use crate::command::suite::{ignored, matches, writable};
use crate::command::{preflight, run, trial};
use crate::plan::Resolved;
use crate::scenario::{ScenarioFile, nearest};
use streamlake_judge::verdict::Status;
use streamlake_report::{
    PROTOCOL_HEAD, ProtocolCell, ProtocolMatrix, ScenarioEntry, protocol_row, render_protocol,
    terminal_table,
};

/// A run that is to be made, and the cells of its pairs.
struct Work {
    cells: Vec<usize>,
    run: Run,
    seed: u64,
    file: ScenarioFile,
}

pub(crate) fn main(arguments: &ProtocolErrorsArguments) -> miette::Result<u8> {
    let pairs = named(&arguments.run.scenarios)?;
    let reports = arguments.run.folders.reports().join("protocol-errors");
    let all = arguments.run.scenarios.is_empty() && arguments.run.bug().is_none();
    let (arguments, works) = prepared(arguments, &pairs)?;
    writable(&reports, "--reports-dir")?;
    let schedule = before(&arguments, &works)?;
    let console = Console::start(arguments.output, schedule);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.into_diagnostic()?;
    runtime.block_on(preflight::environment(arguments.testbed))?;
    let entries = runtime.block_on(async {
        let stop = run::prepare(&arguments, &console).await;
        let runs = works.iter().map(|work| {
            let (arguments, console, stop) = (&arguments, &console, &stop);
            async move { run::one(&work.file, work.seed, arguments, console, stop).await }
        });
        futures::stream::iter(runs).buffered(arguments.jobs()).collect::<Vec<_>>().await
    });
    console.close();
    let entries = entries.into_iter().collect::<miette::Result<Vec<_>>>()?;
    let matrix = matrix(&arguments, &pairs, works.iter().zip(&entries));
    let files = render_protocol(&matrix).into_diagnostic()?;
    let output = arguments.output;
    trial::print(&files, output, || table(&matrix, output))?;
    if entries.iter().any(Option::is_none) {
        eprintln!("not saved: it was interrupted");
        return Ok(EXIT_INTERRUPTED);
    }
    match all {
        true => trial::save(&files, &reports, "matrix")?,
        false => eprintln!("not saved: a report shows all pairs of a pipeline without bugs only"),
    }
    Ok(matrix.status().exit_code())
}

/// The pairs that fit one of these patterns, in the order of the table.
fn named(patterns: &[String]) -> miette::Result<Vec<Pair>> {
    for pattern in patterns {
        if !PAIRS.iter().any(|pair| matches(pattern, &pair.name())) {
            let names: Vec<String> = PAIRS.iter().map(Pair::name).collect();
            let help = match nearest(pattern, names.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known pairs: {}", names.join(", ")),
            };
            return Err(miette::miette!(help = help, "there is no pair `{pattern}`"));
        }
    }
    let fits = |pair: &Pair| patterns.iter().any(|pattern| matches(pattern, &pair.name()));
    Ok(PAIRS.iter().filter(|pair| patterns.is_empty() || fits(pair)).copied().collect())
}

/// The scenarios of all pairs, written down, and the arguments that run them.
fn prepared(
    arguments: &ProtocolErrorsArguments,
    pairs: &[Pair],
) -> miette::Result<(RunArguments, Vec<Work>)> {
    let (together, mut arguments) = (arguments.together, arguments.run.clone());
    let runs_dir = arguments.folders.runs_dir.clone();
    ignored(&runs_dir)?;
    let bug = arguments.bug().unwrap_or_default();
    arguments.folders.runs_dir = runs_dir.join("protocol-errors").join(bug);
    let folder = arguments.folders.runs_dir.join("scenarios");
    writable(&folder, "--runs-dir")?;
    let testbed = arguments.testbed;
    // Containers take a while to start, and one machine bears one set of them.
    let default = if testbed == TestbedName::Docker { 6 } else { 1 };
    let together = together.map_or(default, usize::from);
    let mut works = Vec::new();
    for repeated in 0..u64::from(arguments.repeat) {
        for cells in shared(pairs, testbed, together) {
            let seed = arguments.seed.wrapping_add(repeated);
            let of_run = cells.iter().map(|cell| pairs[*cell]).collect();
            let run = Run::new(of_run, testbed);
            let file = written(&folder, &run)?;
            works.push(Work { cells, run, seed, file });
        }
    }
    arguments.scenarios = works.iter().map(|work| work.file.path.display().to_string()).collect();
    Ok((arguments, works))
}

/// Which pairs share a run, by their places: those whose groups are set up alike, in their order.
fn shared(pairs: &[Pair], testbed: TestbedName, together: usize) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for (place, pair) in pairs.iter().enumerate().filter(|(_, pair)| pair.applies_to(testbed)) {
        let fits = |run: &&mut Vec<usize>| {
            let first = &pairs[run[0]];
            run.len() < together && first.members == pair.members && !first.alone && !pair.alone
        };
        match runs.iter_mut().find(fits) {
            Some(run) => run.push(place),
            None => runs.push(vec![place]),
        }
    }
    runs
}

fn written(folder: &Path, run: &Run) -> miette::Result<ScenarioFile> {
    let path = folder.join(format!("{}.toml", run.name()));
    let text = run.scenario();
    std::fs::write(&path, &text).into_diagnostic()?;
    Ok(ScenarioFile::parse(&path, text)?)
}

/// What can be known before the work, and how long the runs may take.
fn before(arguments: &RunArguments, works: &[Work]) -> miette::Result<Schedule> {
    let files: Vec<ScenarioFile> = works.iter().map(|work| work.file.clone()).collect();
    let plans = preflight::resolved(&files, arguments.testbed, arguments.seed)?;
    // Repetitions are runs of their own here.
    preflight::folders(&RunArguments { repeat: 1, ..arguments.clone() }, &plans)?;
    let runs = files.iter().zip(&plans).filter_map(|(file, plan)| match plan {
        Resolved::Plan(plan) => {
            let label = format!("{}/{}", arguments.testbed.name(), file.name);
            Some((label, run::expected(plan, arguments)))
        }
        Resolved::NotApplicable { .. } => None,
    });
    Ok(Schedule::new(runs, arguments.jobs()))
}

fn matrix<'a>(
    arguments: &RunArguments,
    pairs: &[Pair],
    done: impl Iterator<Item = (&'a Work, &'a Option<ScenarioEntry>)>,
) -> ProtocolMatrix {
    let empty = |pair: &Pair| ProtocolCell {
        pair: pair.name(),
        api: pair.api.to_owned(),
        answer: pair.answer.to_owned(),
        applied: pair.applied,
        client: pair.client.to_owned(),
        ..ProtocolCell::default()
    };
    let mut cells: Vec<ProtocolCell> = pairs.iter().map(empty).collect();
    for (work, entry) in done {
        let Some(entry) = entry else { continue };
        for (cell, faults) in work.cells.iter().zip(work.run.faults()) {
            cells[*cell].add(entry, &faults, pairs[*cell].times);
        }
    }
    ProtocolMatrix {
        testbed: arguments.testbed.name().to_owned(),
        commit: crate::COMMIT.to_owned(),
        seed: arguments.seed,
        planted: arguments.bug().map(str::to_owned),
        cells,
    }
}

fn table(matrix: &ProtocolMatrix, output: Output) -> String {
    let shown = |cell: &&ProtocolCell| match cell.status() {
        Status::Pass => !output.quiet,
        Status::NotApplicable => output.verbose,
        _ => true,
    };
    let rows: Vec<Vec<String>> = matrix.cells.iter().filter(shown).map(protocol_row).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        let table = terminal_table(&PROTOCOL_HEAD, rows, look_of_results(output));
        text = format!("{table}\n\n");
    }
    for cell in &matrix.cells {
        for (check, said) in &cell.raised {
            text.push_str(&format!("{}: {check}: {said}\n", cell.pair));
        }
        for history in &cell.histories {
            text.push_str(&format!("{}: see {history}\n", cell.pair));
        }
    }
    text.push_str(&matrix.summary());
    text
}
