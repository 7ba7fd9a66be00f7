//! How far a run is, for a person at a terminal as a bar, for a log as plain lines.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::progress::{Counts, Progress};
use streamlake_report::Look;

/// Shows a run's progress on standard error until the task is aborted or `finish` is called.
pub(crate) struct Show {
    bar: Option<ProgressBar>,
    task: JoinHandle<()>,
}

impl Show {
    pub(crate) fn start(
        label: String,
        operations: u64,
        progress: &Arc<Progress>,
        bars: &MultiProgress,
    ) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bars.add(bar(&label, operations)));
        let task = tokio::spawn(follow(label, bar.clone(), progress.clone()));
        Self { bar, task }
    }

    pub(crate) fn finish(self) {
        self.task.abort();
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &str, operations: u64) -> ProgressBar {
    let bar = ProgressBar::new(operations);
    let template = "{spinner} {prefix} {msg:<11} {bar:30} {pos}/{len} acknowledged";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

async fn follow(label: String, bar: Option<ProgressBar>, progress: Arc<Progress>) {
    let mut counts = progress.watch();
    let mut phase = String::new();
    loop {
        let now: Counts = counts.borrow_and_update().clone();
        if let Some(bar) = &bar {
            bar.set_position(now.acknowledged);
            bar.set_message(now.phase);
        } else if now.phase != phase {
            eprintln!(
                "{label}: {} ({} invoked, {} acknowledged)",
                now.phase, now.invoked, now.acknowledged
            );
            phase = now.phase;
        }
        if counts.changed().await.is_err() {
            return;
        }
    }
}

/// How the standard output or error looks to whoever reads it: colours only at a terminal, and only if
/// nobody asked for none.
pub(crate) fn look(stream: &impl std::io::IsTerminal) -> Look {
    let colour = stream.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Look { colour, width: None }
}
