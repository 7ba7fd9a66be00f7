//! What is told on the way, on standard error: for a person at a terminal as bars, for a log as plain
//! lines. Results are no part of it: they go to standard output.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use crate::cli::{Colour, Output};
use crate::progress::{Counts, Progress};
use streamlake_report::Look;

/// Longest label that is padded for; a longer one moves the bar behind it.
const LABEL_MAX: usize = 40;

/// The standard error of a command that takes its time.
pub(crate) struct Console {
    bars: MultiProgress,
    total: Option<ProgressBar>,
    state: Mutex<Schedule>,
    output: Output,
    terminal: bool,
    width: usize,
}

impl Console {
    /// For so many runs, of which each is expected to take so long, several at once. No runs: nothing
    /// is shown but what is told.
    pub(crate) fn start(output: Output, schedule: Schedule) -> Arc<Self> {
        let terminal = std::io::stderr().is_terminal() && !output.quiet;
        let bars = MultiProgress::with_draw_target(match terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        let total = (terminal && schedule.runs.len() > 1).then(|| {
            let bar = bars.add(ProgressBar::new(schedule.runs.len() as u64));
            bar.set_style(style("{prefix} {wide_bar} {msg}"));
            bar
        });
        let labels = schedule.runs.iter().map(|run| run.label.chars().count());
        let width = labels.max().unwrap_or_default().min(LABEL_MAX);
        let console = Self { bars, total, state: Mutex::new(schedule), output, terminal, width };
        console.show_total();
        Arc::new(console)
    }

    /// A console of a command that has no runs to show.
    pub(crate) fn plain(output: Output) -> Arc<Self> {
        Self::start(output, Schedule::default())
    }

    /// Tells something that whoever waits wants to know.
    pub(crate) fn tell(&self, line: &str) {
        if !self.output.quiet {
            self.warn(line);
        }
    }

    /// Tells something that must be heard, however quiet it is to be.
    pub(crate) fn warn(&self, line: &str) {
        // Otherwise the line would leave a bar behind on the screen.
        self.bars.suspend(|| eprintln!("{line}"));
    }

    /// Shows a run's progress until it is finished.
    pub(crate) fn follow(
        self: &Arc<Self>,
        label: String,
        operations: u64,
        progress: &Arc<Progress>,
    ) -> Following {
        self.state().begin(&label);
        let bar = self.terminal.then(|| self.bar(&label, operations));
        let task = tokio::spawn(follow(self.clone(), label.clone(), bar.clone(), progress.clone()));
        Following { console: self.clone(), label, bar, task }
    }

    fn bar(&self, label: &str, operations: u64) -> ProgressBar {
        let bar = ProgressBar::new(operations);
        let bar = match &self.total {
            Some(total) => self.bars.insert_before(total, bar),
            None => self.bars.add(bar),
        };
        bar.set_style(style("{spinner} {prefix} {msg:<11} {bar:20} {pos}/{len} acknowledged"));
        bar.set_prefix(format!("{label:<width$}", width = self.width));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// One more run is over; the line that tells it.
    fn finished(&self, label: &str, outcome: &str) {
        let (line, took) = {
            let mut state = self.state();
            let took = state.finish(label);
            (state.line(), took)
        };
        let took = took.map_or_else(String::new, |took| format!(" in {}", seconds(took)));
        self.tell(&format!("{label}: {outcome}{took} ({line})"));
        self.show_total();
    }

    fn show_total(&self) {
        if let Some(total) = &self.total {
            let state = self.state();
            total.set_prefix(format!("{} of {}", state.done(), state.runs.len()));
            total.set_position(state.done());
            total.set_message(state.left_in_words());
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Takes the bars off the screen: results follow.
    pub(crate) fn close(&self) {
        if let Some(total) = &self.total {
            total.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A run that is being shown.
pub(crate) struct Following {
    console: Arc<Console>,
    label: String,
    bar: Option<ProgressBar>,
    task: JoinHandle<()>,
}

impl Following {
    /// It is over, and came to this.
    pub(crate) fn finish(self, outcome: &str) {
        self.task.abort();
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
            self.console.bars.remove(&bar);
        }
        self.console.finished(&self.label, outcome);
    }
}

async fn follow(
    console: Arc<Console>,
    label: String,
    bar: Option<ProgressBar>,
    progress: Arc<Progress>,
) {
    let mut counts = progress.watch();
    let mut phase = String::new();
    loop {
        let now: Counts = counts.borrow_and_update().clone();
        if let Some(bar) = &bar {
            bar.set_position(now.acknowledged);
            bar.set_message(now.phase.clone());
            console.show_total();
        }
        if now.phase != phase {
            // At a terminal the bar shows it.
            if bar.is_none() || console.output.verbose {
                console.tell(&format!(
                    "{label}: {} ({} invoked, {} acknowledged)",
                    now.phase, now.invoked, now.acknowledged
                ));
            }
            phase = now.phase;
        }
        if counts.changed().await.is_err() {
            return;
        }
    }
}

/// What is to be run, and what of it is done.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    runs: Vec<Run>,
    at_once: usize,
}

#[derive(Debug)]
struct Run {
    label: String,
    expected: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Since(Instant),
    Done,
}

impl Schedule {
    /// Runs by their labels, with the time that each is expected to take.
    pub(crate) fn new(runs: impl IntoIterator<Item = (String, Duration)>, at_once: usize) -> Self {
        let waiting = |(label, expected)| Run { label, expected, state: State::Waiting };
        Self { runs: runs.into_iter().map(waiting).collect(), at_once: at_once.max(1) }
    }

    fn begin(&mut self, label: &str) {
        let waiting = |run: &&mut Run| run.label == label && run.state == State::Waiting;
        if let Some(run) = self.runs.iter_mut().find(waiting) {
            run.state = State::Since(Instant::now());
        }
    }

    /// How long it took.
    fn finish(&mut self, label: &str) -> Option<Duration> {
        let own = |run: &&mut Run| run.label == label && run.state != State::Done;
        let run = self.runs.iter_mut().find(own)?;
        let took = match run.state {
            State::Since(since) => Some(since.elapsed()),
            _ => None,
        };
        run.state = State::Done;
        took
    }

    fn done(&self) -> u64 {
        self.runs.iter().filter(|run| run.state == State::Done).count() as u64
    }

    /// What is left: at least the longest of what is under way or still to come, and the sum of all of
    /// it shared by as many as run at once.
    fn left(&self) -> Duration {
        let each = || {
            self.runs.iter().map(|run| match run.state {
                State::Waiting => run.expected,
                State::Since(since) => run.expected.saturating_sub(since.elapsed()),
                State::Done => Duration::ZERO,
            })
        };
        // A console that does not know what is to come has an empty schedule.
        let shared = each().sum::<Duration>() / u32::try_from(self.at_once).unwrap_or(1).max(1);
        each().max().unwrap_or_default().max(shared)
    }

    fn left_in_words(&self) -> String {
        match self.left() {
            left if left < Duration::from_secs(1) => String::new(),
            left => format!("about {} left", seconds(left)),
        }
    }

    fn line(&self) -> String {
        let left = self.left_in_words();
        let between = if left.is_empty() { "" } else { ", " };
        format!("{} of {}{between}{left}", self.done(), self.runs.len())
    }
}

/// To the second, as somebody who waits says it.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// How a stream looks to whoever reads it: colours only at a terminal, and only if nobody asked for
/// none; tables as wide as the terminal.
pub(crate) fn look(stream: &(impl IsTerminal + std::os::fd::AsFd), output: Output) -> Look {
    let terminal = stream.is_terminal();
    let colour = match output.color {
        Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()),
        Colour::Always => true,
        Colour::Never => false,
    };
    let size = terminal.then(|| terminal_size::terminal_size_of(stream)).flatten();
    Look {
        colour,
        terminal,
        width: size.map(|(width, _)| width.0),
        quiet: output.quiet,
        verbose: output.verbose,
    }
}

/// How the standard output looks.
pub(crate) fn look_of_results(output: Output) -> Look {
    look(&std::io::stdout(), output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_shared_and_never_shorter_than_the_longest() {
        let run = |name: &str, expected| (name.to_owned(), Duration::from_secs(expected));
        let mut schedule = Schedule::new([run("a", 10), run("b", 10), run("c", 40)], 2);
        assert_eq!(schedule.left(), Duration::from_secs(40));
        assert_eq!(schedule.line(), "0 of 3, about 40 s left");
        schedule.begin("c");
        schedule.finish("c");
        assert_eq!(schedule.left(), Duration::from_secs(10));
        schedule.finish("a");
        schedule.finish("b");
        assert_eq!(schedule.line(), "3 of 3");
    }

    #[test]
    fn a_scenario_that_is_repeated_is_finished_once_each_time() {
        let runs = [1, 2].map(|_| ("a".to_owned(), Duration::from_secs(90)));
        let mut schedule = Schedule::new(runs, 1);
        schedule.begin("a");
        assert!(schedule.finish("a").is_some());
        assert_eq!(schedule.line(), "1 of 2, about 1 min 30 s left");
    }
}
