//! `run`: scenarios in, verdicts and reports out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use indicatif::MultiProgress;
use miette::{IntoDiagnostic as _, WrapErr as _};
use tokio_util::sync::CancellationToken;

use crate::canary;
use crate::cli::{EXIT_INTERRUPTED, RunArguments};
use crate::command::show::Show;
use crate::command::{report, suite};
use crate::plan::{Plan, Resolved, resolve};
use crate::progress::Progress;
use crate::runner::{self, Context, RunError};
use crate::scenario::ScenarioFile;
use crate::system::System;
use crate::testbed::{self, TestbedError};
use streamlake_judge::verdict::Status;
use streamlake_report::ScenarioEntry;
use streamlake_verifier::judge;

/// A testbed that takes longer to be taken down never will be.
const STOP_WITHIN: Duration = Duration::from_secs(180);

pub(crate) fn main(arguments: &RunArguments) -> miette::Result<u8> {
    match entries(arguments)? {
        None => Ok(EXIT_INTERRUPTED),
        Some(entries) => {
            let (testbed, folders) = (arguments.testbed, &arguments.folders);
            let previous = report::previous(testbed, folders);
            let suite = arguments.scenarios.is_empty();
            report::write(testbed, folders, command_line(arguments), entries, previous, suite)
        }
    }
}

/// Runs what the arguments select. None when the harness was asked to stop.
fn entries(arguments: &RunArguments) -> miette::Result<Option<Vec<ScenarioEntry>>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.into_diagnostic()?.block_on(async {
        let stop = prepare(arguments).await;
        selected(arguments, &stop).await
    })
}

/// Sweeps up after harnesses that died, and makes the token that a signal cancels.
pub(crate) async fn prepare(arguments: &RunArguments) -> CancellationToken {
    let swept = testbed::sweep(arguments.testbed).await;
    if swept > 0 {
        eprintln!("swept up {swept} things that a harness which was killed had left behind");
    }
    stop_on_signal()
}

/// Resolves every file that the arguments select before anything is started (a mistake in the last one
/// must not cost the time of the first), and runs them.
pub(crate) async fn selected(
    arguments: &RunArguments,
    stop: &CancellationToken,
) -> miette::Result<Option<Vec<ScenarioEntry>>> {
    let mut suite = suite::selected(&arguments.folders.scenarios_dir, &arguments.scenarios)?;
    if arguments.scenarios.is_empty() {
        // First, so that it has run whatever comes of the others.
        suite.insert(0, canary::scenario()?);
    }
    let abilities = testbed::abilities(arguments.testbed);
    for file in &suite {
        resolve(file, arguments.testbed.name(), &abilities, arguments.seed)?;
    }
    all(&suite, arguments, stop).await
}

/// Runs everything, several at a time where they share nothing. Each run has a testbed of its own, so
/// they meet only on the machine's cores. None when the harness was asked to stop.
async fn all(
    suite: &[ScenarioFile],
    arguments: &RunArguments,
    stop: &CancellationToken,
) -> miette::Result<Option<Vec<ScenarioEntry>>> {
    let bars = MultiProgress::new();
    let enough = stop.child_token();
    let runs =
        repeated(suite, arguments).map(|(file, seed)| one(file, seed, arguments, &bars, &enough));
    let mut runs = futures::stream::iter(runs).buffered(arguments.jobs());
    let mut entries = Vec::new();
    while let Some(outcome) = runs.next().await {
        match outcome {
            Ok(Some(entry)) => {
                let good = matches!(entry.status(), Some(Status::Pass | Status::NotApplicable))
                    || entry.name() == canary::NAME;
                entries.push(entry);
                if arguments.fail_fast && !good {
                    break;
                }
            }
            failed => {
                // The others take down what they started before the harness leaves.
                enough.cancel();
                while runs.next().await.is_some() {}
                return failed.map(|_| None);
            }
        }
    }
    // Those that are still under way after the first failure are not waited for to their ends.
    enough.cancel();
    while runs.next().await.is_some() {}
    Ok(Some(entries))
}

fn repeated<'a>(
    suite: &'a [ScenarioFile],
    arguments: &'a RunArguments,
) -> impl Iterator<Item = (&'a ScenarioFile, u64)> {
    let seeds = move || (0..u64::from(arguments.repeat)).map(|n| arguments.seed.wrapping_add(n));
    let times = |file: &ScenarioFile| if file.name == canary::NAME { 1 } else { usize::MAX };
    suite.iter().flat_map(move |file| seeds().take(times(file)).map(move |seed| (file, seed)))
}

/// The folder of one run.
pub(crate) fn folder_of(file: &ScenarioFile, seed: u64, arguments: &RunArguments) -> PathBuf {
    let runs = arguments.folders.runs_dir.join(arguments.testbed.name());
    runs.join(format!("{}-{seed}", file.name))
}

/// Runs one scenario once. None when the harness was asked to stop.
pub(crate) async fn one(
    file: &ScenarioFile,
    seed: u64,
    arguments: &RunArguments,
    bars: &MultiProgress,
    stop: &CancellationToken,
) -> miette::Result<Option<ScenarioEntry>> {
    if stop.is_cancelled() {
        return Ok(None);
    }
    let name = arguments.testbed.name();
    let abilities = testbed::abilities(arguments.testbed);
    let plan = match resolve(file, name, &abilities, seed)? {
        Resolved::Plan(plan) => plan,
        Resolved::NotApplicable { about, reason } => {
            eprintln!("{}: not applicable: {reason}", file.name);
            return Ok(Some(ScenarioEntry::NotApplicable {
                name: file.name.clone(),
                about,
                testbed: name.to_owned(),
                reason,
            }));
        }
    };
    let folder = runner::folder(&folder_of(file, seed, arguments)).into_diagnostic()?;
    let label = format!("{name}/{}", file.name);
    let progress = Arc::new(Progress::default());
    let show = Show::start(label, plan.load.operations(), &progress, bars);
    let outcome = on_testbed(*plan, arguments, &folder, progress, stop).await;
    show.finish();
    match outcome {
        Ok(history) => {
            let report = judge(&history).into_diagnostic()?;
            Ok(Some(ScenarioEntry::Ran(Box::new(report))))
        }
        Err(RunError::Interrupted) => {
            eprintln!("{}", RunError::Interrupted);
            Ok(None)
        }
        Err(error) => Err(error).into_diagnostic().wrap_err_with(|| {
            format!("{} could not be carried out; logs are in {}", file.name, folder.display())
        }),
    }
}

/// Starts the testbed, runs, and takes the testbed down whatever came of it.
async fn on_testbed(
    plan: Plan,
    arguments: &RunArguments,
    folder: &Path,
    progress: Arc<Progress>,
    stop: &CancellationToken,
) -> Result<std::path::PathBuf, RunError> {
    progress.phase("start");
    let mut system =
        System::built_in().map_err(|source| RunError::Files { path: folder.to_owned(), source })?;
    system.environment.extend(arguments.planted());
    // Not cut short by a signal: what is half started cannot be taken down as surely as what is whole.
    let testbed = testbed::start(arguments.testbed, &plan.topology).await?;
    let context = Context {
        testbed: testbed.clone(),
        abilities: testbed::abilities(arguments.testbed),
        system,
        folder: folder.to_owned(),
        progress: progress.clone(),
        stop: stop.clone(),
    };
    let outcome = runner::run(plan, context).await;
    progress.phase("take down");
    let stopped = tokio::time::timeout(STOP_WITHIN, testbed.stop()).await;
    let history = outcome?;
    // What is left then is swept by the next run.
    stopped.map_err(|_| TestbedError::Deadline {
        part: "the testbed".to_owned(),
        state: "taken down",
        within: STOP_WITHIN,
        last: "no word of it".to_owned(),
    })??;
    Ok(history)
}

/// Cancelled at the first SIGINT or SIGTERM. A second one ends the harness at once; the next run
/// sweeps.
pub(crate) fn stop_on_signal() -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        eprintln!("stopping: taking down what was started (once more to leave at once)");
        token.cancel();
        next().await;
        std::process::exit(i32::from(EXIT_INTERRUPTED));
    });
    stop
}

fn command_line(arguments: &RunArguments) -> String {
    let mut words = vec!["streamlake-harness".to_owned(), "run".to_owned()];
    words.extend(arguments.scenarios.iter().cloned());
    words.extend(["--testbed".to_owned(), arguments.testbed.name().to_owned()]);
    words.extend(["--seed".to_owned(), arguments.seed.to_string()]);
    if arguments.repeat > 1 {
        words.extend(["--repeat".to_owned(), arguments.repeat.to_string()]);
    }
    words.join(" ")
}
