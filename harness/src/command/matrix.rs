//! What the matrices (`crash-points`, `protocol-errors`) share: scenarios that are made from a template, their
//! runs, and how the whole ends.

use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use miette::IntoDiagnostic as _;

use super::console::{Console, Schedule};
use super::suite::{ignored, writable};
use super::{preflight, run, trial};
use crate::cli::{EXIT_INTERRUPTED, Output, RunArguments};
use crate::plan::Resolved;
use crate::scenario::ScenarioFile;
use streamlake_judge::verdict::Status;
use streamlake_report::{ReportFile, ScenarioEntry};

/// Puts the runs of a matrix into a folder of their own, and returns the one for its scenarios.
pub(super) fn folder(arguments: &mut RunArguments, name: &str) -> miette::Result<PathBuf> {
    let runs_dir = arguments.folders.runs_dir.clone();
    ignored(&runs_dir)?;
    let bug = arguments.bug().unwrap_or_default();
    arguments.folders.runs_dir = runs_dir.join(name).join(bug);
    let folder = arguments.folders.runs_dir.join("scenarios");
    writable(&folder, "--runs-dir")?;
    Ok(folder)
}

/// Writes a scenario down, so that its run can be repeated by itself.
pub(super) fn written(folder: &Path, name: &str, text: String) -> miette::Result<ScenarioFile> {
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, &text).into_diagnostic()?;
    Ok(ScenarioFile::parse(&path, text)?)
}

/// Makes all runs, each a scenario with its seed. None for one that was interrupted.
pub(super) fn runs(
    arguments: &RunArguments,
    runs: &[(&ScenarioFile, u64)],
) -> miette::Result<Vec<Option<ScenarioEntry>>> {
    let console = Console::start(arguments.output, before(arguments, runs)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.into_diagnostic()?;
    runtime.block_on(preflight::environment(arguments.testbed))?;
    let entries = runtime.block_on(async {
        let stop = run::prepare(arguments, &console).await;
        let (console, stop) = (&console, &stop);
        let runs = runs.iter().map(|(file, seed)| async move {
            run::one(file, *seed, arguments, console, stop).await
        });
        futures::stream::iter(runs).buffered(arguments.jobs()).collect::<Vec<_>>().await
    });
    console.close();
    entries.into_iter().collect()
}

/// What can be known before the work, and how long the runs may take.
fn before(arguments: &RunArguments, runs: &[(&ScenarioFile, u64)]) -> miette::Result<Schedule> {
    let files: Vec<ScenarioFile> = runs.iter().map(|(file, _)| (*file).clone()).collect();
    let plans =
        preflight::resolved(&files, arguments.testbed, &arguments.abilities(), arguments.seed)?;
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

/// How a matrix ends.
pub(super) struct End<'a> {
    /// What came of its runs.
    pub(super) entries: &'a [Option<ScenarioEntry>],
    /// Its files.
    pub(super) files: &'a [ReportFile],
    /// Where they are saved.
    pub(super) reports: &'a Path,
    /// It has all of its cells, of a pipeline without a bug; only such a one is saved.
    pub(super) whole: bool,
    /// What its cells are called: `points`, `pairs`.
    pub(super) cells: &'a str,
}

impl End<'_> {
    /// Prints it, saves it if it is whole, and returns the exit code.
    pub(super) fn conclude(
        self,
        status: Status,
        output: Output,
        table: impl FnOnce() -> String,
    ) -> miette::Result<u8> {
        trial::print(self.files, output, table)?;
        if self.entries.iter().any(Option::is_none) {
            eprintln!("not saved: it was interrupted");
            return Ok(EXIT_INTERRUPTED);
        }
        match self.whole {
            true => trial::save(self.files, self.reports, "matrix")?,
            false => eprintln!(
                "not saved: a report shows all {} of a pipeline without bugs only",
                self.cells
            ),
        }
        Ok(status.exit_code())
    }
}
