//! `run`: scenarios in, verdicts and reports out.
//!
//! What can be known before the work is checked before it. After that nothing ends a run but its user:
//! a scenario that cannot be carried out is told as that, and the others follow.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use miette::IntoDiagnostic as _;
use tokio_util::sync::CancellationToken;

use crate::adapter::Systems;
use crate::adapter::streamlake::Streamlake;
use crate::canary;
use crate::cli::{EXIT_INTERRUPTED, RunArguments, RunCommand, TestbedName};
use crate::command::console::{Console, Schedule};
use crate::command::suite::{Library, selected};
use crate::command::{plan, preflight, report};
use crate::plan::{Plan, Resolved, resolve};
use crate::progress::Progress;
use crate::runner::{self, Context, RunError};
use crate::scenario::ScenarioFile;
use crate::testbed::external::External;
use crate::testbed::{self, Testbed, TestbedError, Topology};
use streamlake_judge::verdict::Status;
use streamlake_report::{Again, ScenarioEntry};
use streamlake_verifier::judge;

/// A testbed that takes longer to be taken down never will be.
const STOP_WITHIN: Duration = Duration::from_secs(180);

pub(crate) fn main(command: RunCommand) -> miette::Result<u8> {
    let RunCommand { run: mut arguments, filter, fail_fast, dry_run } = command;
    arguments.fail_fast = fail_fast;
    preflight::elsewhere(&mut arguments)?;
    let arguments = &arguments;
    let library = Library::of(&arguments.folders.scenarios, arguments.shelf);
    let selection = selected(&library, &arguments.scenarios, &filter)?;
    let asked = selection.asked.clone();
    let files = preflight::with_canary(selection, arguments.testbed)?;
    let plans =
        preflight::resolved(&files, arguments.testbed, &arguments.abilities(), arguments.seed)?;
    preflight::folders(arguments, &plans)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.into_diagnostic()?;
    match &arguments.elsewhere {
        Some(description) => {
            if !dry_run {
                preflight::agreed(arguments, &plans)?;
            }
            runtime.block_on(preflight::cluster(description, &plans))?;
        }
        None => runtime.block_on(preflight::environment(arguments.testbed))?,
    }
    if dry_run {
        plan::print(&files, &plans, arguments.testbed.name(), arguments.output)?;
        return Ok(0);
    }
    let console = Console::start(arguments.output, schedule(&files, &plans, arguments));
    let done = runtime.block_on(async {
        let stop = prepare(arguments, &console).await;
        all(&files, arguments, &console, &stop).await
    })?;
    console.close();
    report::write(report::Written {
        testbed: arguments.testbed,
        folders: &arguments.folders,
        library: &library,
        command: command_line(arguments, &asked),
        entries: done.entries,
        asked,
        interrupted: done.interrupted,
        previous: report::previous(arguments.testbed, &arguments.folders),
        output: arguments.output,
    })
    .map(|code| if done.interrupted { EXIT_INTERRUPTED } else { code })
}

/// What a testbed needs to come up and to be taken down, and a pipeline to drain: for the time that is
/// left, not for any deadline.
fn overhead(testbed: TestbedName) -> Duration {
    match testbed {
        TestbedName::Embedded => Duration::from_secs(5),
        TestbedName::Docker | TestbedName::External => Duration::from_secs(15),
    }
}

fn schedule(files: &[ScenarioFile], plans: &[Resolved], arguments: &RunArguments) -> Schedule {
    let runs = files.iter().zip(plans).filter_map(|(file, plan)| match plan {
        Resolved::Plan(plan) => {
            let times = if file.name == canary::NAME { 1 } else { arguments.repeat };
            let expected = expected(plan, arguments);
            let run = move |_| (label(file, arguments), expected);
            Some((0..times).map(run))
        }
        Resolved::NotApplicable { .. } => None,
    });
    Schedule::new(runs.flatten(), arguments.jobs())
}

/// How long a run may take, for the time that is left.
pub(crate) fn expected(plan: &Plan, arguments: &RunArguments) -> Duration {
    plan::expected(plan, overhead(arguments.testbed))
}

fn label(file: &ScenarioFile, arguments: &RunArguments) -> String {
    format!("{}/{}", arguments.testbed.name(), file.name)
}

/// Sweeps up after harnesses that died, and makes the token that a signal cancels.
pub(crate) async fn prepare(arguments: &RunArguments, console: &Arc<Console>) -> CancellationToken {
    let mut swept = testbed::sweep(arguments.testbed).await;
    if arguments.elsewhere.is_some() {
        swept = swept.and(testbed::external::sweep(&arguments.folders.runs_dir).await);
    }
    for line in &swept.done {
        console.tell(&format!("swept up what a harness which was killed had left behind: {line}"));
    }
    for problem in &swept.problems {
        console.warn(problem);
    }
    stop_on_signal(console)
}

/// What came of several runs.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// In the order in which they were asked for.
    pub(crate) entries: Vec<ScenarioEntry>,
    /// The harness was asked to stop before all had run.
    pub(crate) interrupted: bool,
}

/// Resolves every file that the arguments select before anything is started, and runs them.
#[cfg(feature = "planted-bugs")]
pub(crate) async fn selection(
    arguments: &RunArguments,
    console: &Arc<Console>,
    stop: &CancellationToken,
) -> miette::Result<Done> {
    let library = Library::of(&arguments.folders.scenarios, arguments.shelf);
    let files = selected(&library, &arguments.scenarios, &Default::default())?.files;
    preflight::resolved(&files, arguments.testbed, &arguments.abilities(), arguments.seed)?;
    all(&files, arguments, console, stop).await
}

/// Runs everything, several at a time where they share nothing. Each run has a testbed of its own, so
/// they meet only on the machine's cores.
async fn all(
    suite: &[ScenarioFile],
    arguments: &RunArguments,
    console: &Arc<Console>,
    stop: &CancellationToken,
) -> miette::Result<Done> {
    let enough = stop.child_token();
    let runs =
        repeated(suite, arguments).map(|(file, seed)| one(file, seed, arguments, console, &enough));
    let mut runs = futures::stream::iter(runs).buffered(arguments.jobs());
    let mut done = Done::default();
    let mut failed = None;
    while let Some(outcome) = runs.next().await {
        match outcome {
            Ok(Some(entry)) => {
                let good = matches!(entry.status(), Some(Status::Pass | Status::NotApplicable))
                    || entry.name() == canary::NAME;
                done.entries.push(entry);
                // Those that are still under way after the first failure are not waited for to their
                // ends.
                if arguments.fail_fast && !good {
                    enough.cancel();
                }
            }
            // It was stopped; what the others came to is kept all the same.
            Ok(None) => {}
            Err(error) => {
                // The others take down what they started before the harness leaves.
                enough.cancel();
                failed.get_or_insert(error);
            }
        }
    }
    done.interrupted = stop.is_cancelled();
    failed.map_or(Ok(done), Err)
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

/// Runs one scenario once. None when the harness was asked to stop. What goes wrong with it is in its
/// entry.
///
/// # Errors
/// When the scenario has a mistake.
pub(crate) async fn one(
    file: &ScenarioFile,
    seed: u64,
    arguments: &RunArguments,
    console: &Arc<Console>,
    stop: &CancellationToken,
) -> miette::Result<Option<ScenarioEntry>> {
    if stop.is_cancelled() {
        return Ok(None);
    }
    let name = arguments.testbed.name();
    let abilities = arguments.abilities();
    let mark = arguments.elsewhere.as_ref().map(|elsewhere| elsewhere.mark());
    let marked = arguments.elsewhere.as_ref().zip(mark.as_ref());
    let marked = marked.map(|(elsewhere, mark)| elsewhere.marked(file, mark));
    let plan = match resolve(marked.as_ref().unwrap_or(file), name, &abilities, seed)? {
        Resolved::Plan(plan) => plan,
        Resolved::NotApplicable { about, reason } => {
            return Ok(Some(ScenarioEntry::NotApplicable {
                name: file.name.clone(),
                about,
                testbed: name.to_owned(),
                reason,
            }));
        }
    };
    let (about, operations) = (plan.about.clone(), plan.load.operations());
    let folder = folder_of(file, seed, arguments);
    let progress = Arc::new(Progress::default());
    let following = console.follow(label(file, arguments), operations, &progress);
    let outcome = match runner::folder(&folder) {
        Ok(folder) => {
            let place = Place { arguments, mark: mark.as_deref(), folder: &folder };
            on_testbed(*plan, place, progress, console, stop).await
        }
        Err(error) => Err(error),
    };
    let judged = match outcome {
        Ok(history) => judge(&history).map_err(|error| error.to_string()),
        Err(RunError::Interrupted) => {
            following.finish("interrupted; what was started has been taken down");
            return Ok(None);
        }
        Err(error) => Err(report::in_one_line(&error)),
    };
    let again = Again {
        run: command_of(file, seed, arguments),
        check: format!(
            "{} check {}",
            report::program(),
            report::word(&folder.join("history.jsonl").display().to_string())
        ),
        logs: logs(&folder),
        planted: arguments.bug().map(str::to_owned),
    };
    let entry = match judged {
        Ok(mut report) => {
            report.again = Some(again);
            ScenarioEntry::Ran(Box::new(report))
        }
        Err(reason) => ScenarioEntry::NotCarriedOut {
            name: file.name.clone(),
            about,
            testbed: name.to_owned(),
            seed,
            reason,
            again,
        },
    };
    following.finish(&outcome_of(&entry));
    Ok(Some(entry))
}

/// The word that is told when a run is over.
fn outcome_of(entry: &ScenarioEntry) -> String {
    match entry {
        ScenarioEntry::NotCarriedOut { reason, .. } => {
            format!("could not be carried out: {reason}")
        }
        entry if entry.name() == canary::NAME => "done".to_owned(),
        entry => entry.status().map_or("not run", Status::word).to_owned(),
    }
}

/// The logs that a run left in its folder.
pub(crate) fn logs(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut logs: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .map(|path| path.display().to_string())
        .collect();
    logs.sort();
    logs
}

/// Where a run goes on.
struct Place<'a> {
    arguments: &'a RunArguments,
    /// How names begin of what it makes on a cluster of somebody's own.
    mark: Option<&'a str>,
    folder: &'a Path,
}

impl Place<'_> {
    async fn start(&self, topology: &Topology) -> Result<Arc<dyn Testbed>, TestbedError> {
        match (&self.arguments.elsewhere, self.mark) {
            (Some(elsewhere), Some(mark)) => {
                let runs = &self.arguments.folders.runs_dir;
                Ok(Arc::new(External::start(elsewhere, mark, topology, runs).await?))
            }
            _ => testbed::start(self.arguments.testbed, topology).await,
        }
    }
}

/// Starts the testbed, runs, and takes the testbed down whatever came of it.
async fn on_testbed(
    plan: Plan,
    place: Place<'_>,
    progress: Arc<Progress>,
    console: &Arc<Console>,
    stop: &CancellationToken,
) -> Result<PathBuf, RunError> {
    let Place { arguments, folder, .. } = place;
    progress.phase("start");
    let mut pipeline = Streamlake::built_in()
        .map_err(|source| RunError::Files { path: folder.to_owned(), source })?;
    pipeline.environment.extend(arguments.planted());
    let systems = Systems::new(pipeline, &plan);
    // Not cut short by a signal: what is half started cannot be taken down as surely as what is whole.
    let testbed = place.start(&plan.topology).await?;
    let context = Context {
        testbed: testbed.clone(),
        abilities: arguments.abilities(),
        systems,
        folder: folder.to_owned(),
        progress: progress.clone(),
        stop: stop.clone(),
    };
    let outcome = runner::run(plan, context).await;
    progress.phase("take down");
    let stopped = tokio::time::timeout(STOP_WITHIN, testbed.stop()).await;
    let history = outcome?;
    // What is left then does not take the evidence away; it is swept by the next run.
    let stopped = stopped.unwrap_or_else(|_| {
        Err(TestbedError::Deadline {
            part: "the testbed".to_owned(),
            state: "taken down",
            within: STOP_WITHIN,
            last: "no word of it".to_owned(),
        })
    });
    if let Err(error) = stopped {
        console.warn(&format!(
            "not everything could be taken down, `streamlake-harness sweep` will: {error}"
        ));
    }
    Ok(history)
}

/// Cancelled at the first SIGINT or SIGTERM. A second one ends the harness at once; the next run
/// sweeps.
pub(crate) fn stop_on_signal(console: &Arc<Console>) -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let (token, console) = (stop.clone(), console.clone());
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
        console.warn("stopping: taking down what was started (once more to leave at once)");
        token.cancel();
        next().await;
        std::process::exit(i32::from(EXIT_INTERRUPTED));
    });
    stop
}

/// The command that was given, as one would type it again.
fn command_line(arguments: &RunArguments, asked: &[String]) -> String {
    let asked = asked.iter().map(|name| report::word(name)).collect();
    command(arguments, asked, arguments.seed, arguments.repeat)
}

/// The command that runs one scenario once more as it ran.
pub(crate) fn command_of(file: &ScenarioFile, seed: u64, arguments: &RunArguments) -> String {
    // A file that was named by its path is found by nothing else.
    let path = file.path.display().to_string();
    let name = if arguments.scenarios.contains(&path) { path } else { file.name.clone() };
    command(arguments, vec![report::word(&name)], seed, 1)
}

fn command(arguments: &RunArguments, scenarios: Vec<String>, seed: u64, repeat: u32) -> String {
    let mut words = vec![report::program().to_owned(), "run".to_owned()];
    words.extend(scenarios);
    words.extend(["--testbed".to_owned(), arguments.testbed.name().to_owned()]);
    if let Some(elsewhere) = &arguments.elsewhere {
        let file = elsewhere.path.display().to_string();
        words.extend(["--cluster".to_owned(), report::word(&file)]);
        words.extend(arguments.yes_break.then(|| "--yes-break".to_owned()));
    }
    words.extend(["--seed".to_owned(), seed.to_string()]);
    if repeat > 1 {
        words.extend(["--repeat".to_owned(), repeat.to_string()]);
    }
    if let Some(bug) = arguments.bug() {
        words.extend(["--plant".to_owned(), bug.to_owned()]);
    }
    words.extend(arguments.folders.options().iter().map(|word| report::word(word)));
    words.join(" ")
}
