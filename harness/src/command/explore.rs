//! `explore`: lets a seed choose what is done to the pipeline and how that is set up, run after run, until
//! the time is up or a run fails. What fails is made smaller while it fails, and kept as a scenario that
//! one command replays.
//!
//! Which faults exist in a schedule at all is drawn first, and few do: bugs hide where some of them meet
//! often, not where all of them meet seldom. What has met the least is drawn the likeliest.

mod schedule;
mod strikes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use miette::IntoDiagnostic as _;
use tokio_util::sync::CancellationToken;

use self::schedule::Schedule;
use self::strikes::Strike;
use super::console::{Console, look_of_results};
use super::suite::writable;
use super::{matrix, preflight, run, trial};
use crate::cli::{EXIT_INTERRUPTED, ExploreArguments, Output, RunArguments, TestbedName};
use crate::plan::{Resolved, resolve};
use crate::scenario::ScenarioFile;
use crate::testbed;
use streamlake_judge::verdict::Status;
use streamlake_report::{
    EXPLORED_HEAD, Exploration, Explored, ExploredStrike, Repetition, ScenarioEntry, explored_row,
    render_exploration, terminal_table,
};

/// A smaller schedule takes the place of a bigger one if it fails so often in a row: one that fails by luck
/// is of no use to whoever replays it.
const ATTEMPTS: u64 = 2;
/// How often a schedule that was found is run once more, for its rate.
const REPETITIONS: u64 = 5;

pub(crate) fn main(arguments: &ExploreArguments) -> miette::Result<u8> {
    if !arguments.run.scenarios.is_empty() || arguments.run.repeat > 1 {
        return Err(miette::miette!(
            help = "leave out names and `--repeat`; `run` takes them",
            "an explorer draws its scenarios itself, and repeats what it finds"
        ));
    }
    let mut run = arguments.run.clone();
    let reports = run.folders.reports().join("explore");
    let folder = matrix::folder(&mut run, "explore")?;
    writable(&reports, "--reports-dir")?;
    if arguments.fresh {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        run.seed = since.as_secs();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.into_diagnostic()?;
    runtime.block_on(preflight::environment(run.testbed))?;
    // Of the runs only what they came to is of interest; the explorer tells that itself.
    let quiet = Output { quiet: true, verbose: false, ..run.output };
    let told = Console::plain(run.output);
    told.tell(&format!("exploring for {:?} from seed {}", arguments.time, run.seed));
    let strikes = usable(strikes::all(), &run);
    let exploration = Exploration::new(
        run.testbed.name(),
        crate::COMMIT,
        run.seed,
        run.bug(),
        strikes.iter().map(|strike| ExploredStrike::new(&strike.name)).collect(),
    );
    let mut explorer =
        Explorer { strikes, console: Console::plain(quiet), told, folder, run, exploration };
    let interrupted = runtime.block_on(explorer.explore(arguments))?;
    let Explorer { exploration, run, .. } = explorer;
    let files = render_exploration(&exploration).into_diagnostic()?;
    trial::print(&files, run.output, || table(&exploration, run.output))?;
    trial::save(&files, &reports, "exploration")?;
    Ok(if interrupted { EXIT_INTERRUPTED } else { exploration.status().exit_code() })
}

/// The mock cluster now and then tells a member that joins when its broker is back that it leads a group of
/// nobody; librdkafka's assignor then reads through a null pointer. No broker says such a thing, and what is
/// found by it is nothing about the pipeline.
const NOT_ON_THE_MOCK: [&str; 2] = ["broker-kill", "broker-restart"];

/// The strikes that the testbed can carry out.
fn usable(mut strikes: Vec<Strike>, run: &RunArguments) -> Vec<Strike> {
    let abilities = testbed::abilities(run.testbed);
    strikes.retain(|strike| {
        if run.testbed == TestbedName::Embedded && NOT_ON_THE_MOCK.contains(&strike.kind) {
            return false;
        }
        let text = Schedule::only(strike, run.testbed).scenario(std::slice::from_ref(strike));
        let file = ScenarioFile::parse(Path::new("strike.toml"), text);
        let plan = file.map(|file| resolve(&file, run.testbed.name(), &abilities, 0));
        matches!(plan, Ok(Ok(Resolved::Plan(_))))
    });
    strikes
}

struct Explorer {
    strikes: Vec<Strike>,
    run: RunArguments,
    /// Of the runs.
    console: Arc<Console>,
    /// Of the explorer.
    told: Arc<Console>,
    folder: PathBuf,
    exploration: Exploration,
}

/// A run that failed, and the check that it failed by.
struct Failure {
    schedule: Schedule,
    check: String,
    said: String,
}

impl Explorer {
    /// Says whether it was interrupted.
    async fn explore(&mut self, arguments: &ExploreArguments) -> miette::Result<bool> {
        let stop = run::prepare(&self.run, &self.told).await;
        let begun = Instant::now();
        let until = begun + arguments.time;
        let mut next = self.run.seed;
        while Instant::now() < until && !stop.is_cancelled() {
            let Some(failure) = self.search(&mut next, until, &stop).await? else { break };
            self.told.tell(&format!(
                "found after {} runs, seed {}: {}: {}",
                self.exploration.runs(),
                failure.schedule.seed,
                failure.check,
                failure.said
            ));
            let found_after = begun.elapsed();
            let found = self.shrink(failure, found_after, &stop).await?;
            self.exploration.found.push(found);
            if !arguments.keep_going {
                break;
            }
        }
        self.exploration.seconds = begun.elapsed().as_secs();
        Ok(stop.is_cancelled())
    }

    /// Runs schedules until one fails, or the time is up.
    async fn search(
        &mut self,
        next: &mut u64,
        until: Instant,
        stop: &CancellationToken,
    ) -> miette::Result<Option<Failure>> {
        let enough = stop.child_token();
        let mut under_way = FuturesUnordered::new();
        let mut found = None;
        loop {
            while under_way.len() < self.run.jobs()
                && Instant::now() < until
                && !enough.is_cancelled()
            {
                let schedule = self.draw(*next);
                *next += 1;
                let name = format!("explored-{}", schedule.seed);
                let (file, arguments) = self.written(&schedule, &name)?;
                let (console, enough) = (Arc::clone(&self.console), enough.clone());
                under_way.push(async move {
                    let entry = run::one(&file, schedule.seed, &arguments, &console, &enough).await;
                    (schedule, file, arguments, entry)
                });
            }
            let Some((schedule, file, arguments, entry)) = under_way.next().await else {
                return Ok(found);
            };
            let Some(entry) = entry? else { continue };
            self.count(&schedule, &entry);
            match failed(&entry) {
                Some((check, said)) if found.is_none() => {
                    found = Some(Failure { schedule, check, said });
                    enough.cancel();
                }
                Some(_) => {}
                // Hundreds of histories of runs in which nothing happened would fill the disk.
                None => {
                    let folder = run::folder_of(&file, schedule.seed, &arguments);
                    let _ = std::fs::remove_dir_all(folder);
                    let _ = std::fs::remove_file(&file.path);
                }
            }
        }
    }

    fn draw(&self, seed: u64) -> Schedule {
        let met: Vec<u64> = self.exploration.strikes.iter().map(|strike| strike.met).collect();
        Schedule::draw(seed, &self.strikes, &met, self.run.testbed)
    }

    fn written(
        &self,
        schedule: &Schedule,
        name: &str,
    ) -> miette::Result<(ScenarioFile, RunArguments)> {
        let file = matrix::written(&self.folder, name, schedule.scenario(&self.strikes))?;
        // The command that repeats it names it by its path.
        let scenarios = vec![file.path.display().to_string()];
        Ok((file, RunArguments { scenarios, ..self.run.clone() }))
    }

    fn count(&mut self, schedule: &Schedule, entry: &ScenarioEntry) {
        self.exploration.add(entry);
        let ScenarioEntry::Ran(run) = entry else { return };
        for (number, planned) in schedule.strikes.iter().enumerate() {
            let strike = &mut self.exploration.strikes[planned.strike];
            strike.drawn += 1;
            let windows = &run.verdict.tally.windows;
            let own = windows.iter().find(|window| window.fault as usize == number);
            strike.met += u64::from(own.is_some_and(|window| window.seen_us.is_some()));
            for other in schedule.strikes.iter().filter(|other| other.strike != planned.strike) {
                if planned.meets(other) {
                    strike.beside.insert(self.strikes[other.strike].name.clone().into_owned());
                }
            }
        }
    }

    /// Makes it smaller as long as it fails by the same check.
    async fn shrink(
        &mut self,
        failure: Failure,
        found_after: Duration,
        stop: &CancellationToken,
    ) -> miette::Result<Explored> {
        let strikes_before = failure.schedule.strikes.len();
        let mut smallest = failure.schedule.clone();
        let mut tried = 0;
        while !stop.is_cancelled() {
            let candidates = smallest.smaller();
            let numbers = tried + 1..;
            tried += candidates.len();
            let runs = numbers.zip(&candidates).map(|(number, candidate)| {
                let name = format!("explored-{}-shrunk-{number}", candidate.seed);
                self.fails(candidate, name, &failure.check, ATTEMPTS, stop)
            });
            // In their order, the biggest steps first; those behind the first one that fails are for nothing.
            let at_once = self.run.jobs().div_ceil(ATTEMPTS as usize);
            let mut runs = std::pin::pin!(futures::stream::iter(runs).buffered(at_once));
            let mut fails = None;
            for candidate in &candidates {
                let Some(failed) = runs.next().await else { break };
                if failed? == ATTEMPTS {
                    fails = Some(candidate);
                    break;
                }
            }
            let Some(smaller) = fails else { break };
            smallest = smaller.clone();
            self.told.tell(&format!("smaller: {} faults", smallest.strikes.len()));
        }
        let name = format!("found-{}-{}", failure.schedule.seed, failure.check);
        let failed = self.fails(&smallest, name.clone(), &failure.check, REPETITIONS, stop).await?;
        let (file, arguments) = self.written(&smallest, &name)?;
        Ok(Explored {
            seed: failure.schedule.seed,
            check: failure.check,
            said: failure.said,
            found_after_s: found_after.as_secs(),
            strikes_before: strikes_before as u64,
            strikes: smallest
                .strikes
                .iter()
                .map(|planned| self.strikes[planned.strike].name.clone().into_owned())
                .collect(),
            repetition: Repetition { runs: REPETITIONS, failed },
            scenario: file.path.display().to_string(),
            replay: run::command_of(&file, smallest.seed, &arguments),
        })
    }

    /// In how many of so many runs a schedule fails by this check.
    async fn fails(
        &self,
        schedule: &Schedule,
        name: String,
        check: &str,
        times: u64,
        stop: &CancellationToken,
    ) -> miette::Result<u64> {
        let mut runs = Vec::new();
        for time in 1..=times {
            runs.push(self.written(schedule, &format!("{name}-{time}"))?);
        }
        let entries = runs
            .iter()
            .map(|(file, arguments)| run::one(file, schedule.seed, arguments, &self.console, stop));
        let entries: Vec<_> =
            futures::stream::iter(entries).buffered(self.run.jobs()).collect().await;
        let mut failed = 0;
        for ((file, arguments), entry) in runs.iter().zip(entries) {
            let same = entry?.is_some_and(|entry| fails_by(&entry, check));
            failed += u64::from(same);
            let _ = std::fs::remove_dir_all(run::folder_of(file, schedule.seed, arguments));
            let _ = std::fs::remove_file(&file.path);
        }
        Ok(failed)
    }
}

/// The first check that a run failed by, and what it said.
fn failed(entry: &ScenarioEntry) -> Option<(String, String)> {
    let ScenarioEntry::Ran(run) = entry else { return None };
    let check = run.verdict.checks.iter().find(|check| check.status == Status::Fail)?;
    let said = check.findings.first().map_or(&check.summary, |finding| &finding.message);
    Some((check.check.clone(), said.clone()))
}

fn fails_by(entry: &ScenarioEntry, check: &str) -> bool {
    let ScenarioEntry::Ran(run) = entry else { return false };
    let named = run.verdict.checks.iter().find(|other| other.check == check);
    named.is_some_and(|check| check.status == Status::Fail)
}

fn table(exploration: &Exploration, output: Output) -> String {
    let mut text = String::new();
    if output.verbose {
        let rows = exploration.strikes.iter().map(explored_row).collect();
        let table = terminal_table(&EXPLORED_HEAD, rows, look_of_results(output));
        text = format!("{table}\n\n");
    }
    for found in &exploration.found {
        text.push_str(&format!("{}\n  {}\n", found.sentence(), found.replay));
    }
    text.push_str(&exploration.summary());
    text
}
