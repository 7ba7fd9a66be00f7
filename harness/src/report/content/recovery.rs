//! How the system came back from each kind of fault, step by step, with the times measured.

use super::super::document::{Document, Text};
use super::super::{ScenarioReport, SuiteReport, words};
use super::analysis::windows_by_kind;
use super::{duplicates, recovery_us};
use crate::verdict::{Status, WindowTally};

pub(super) fn write(suite: &SuiteReport, document: &mut Document) {
    document.heading(2, "Failure Recovery Patterns", "recovery-patterns");
    let kinds = windows_by_kind(suite);
    if kinds.is_empty() {
        document.paragraph("No fault window was recorded.");
        return;
    }
    document.paragraph(
        "Measured from outside; where a kind of fault was tried several times, the median with the \
         shortest and the longest.",
    );
    for (kind, windows) in kinds {
        let anchor = format!("recovery-{kind}");
        document.heading(3, Text::prose("Recovery from ").code_too(kind), &anchor);
        document.numbered(steps(&windows));
    }
}

fn steps(windows: &[(&ScenarioReport, &WindowTally)]) -> Vec<Text> {
    // A sentence around some measurements; what was never measured is said to be missing below.
    let step = |before: &str, of: fn(&WindowTally) -> Option<u64>, after: &str| {
        let values: Vec<u64> = windows.iter().filter_map(|(_, window)| of(window)).collect();
        (!values.is_empty())
            .then(|| Text::data(format!("{before}{}{after}", words::spread(values))))
    };
    let in_flight: u64 = windows.iter().map(|(_, window)| window.in_flight).sum();
    let after = format!(
        " after the act began; {} in flight in {}.",
        words::counted(in_flight, "operation was", "operations were"),
        words::counted(windows.len() as u64, "window", "windows"),
    );
    let measured = [
        step(
            "The fault's effect was seen ",
            |window| window.seen_us?.checked_sub(window.injecting_us?),
            &after,
        ),
        step(
            "The longest time without an acknowledgement was ",
            |window| window.unavailability_us,
            ".",
        ),
        step(
            "The target was seen to be back ",
            |window| window.healed_us?.checked_sub(window.injecting_us?),
            " after the act began.",
        ),
        step(
            "The first acknowledgement came ",
            |window| Some(window.first_ack_after_us?.saturating_sub(window.healed_us?)),
            " after that.",
        ),
        step(
            "The consumers committed a record newer than the fault ",
            recovery_us,
            " after the target was back.",
        ),
    ];
    let mut steps: Vec<Text> = measured.into_iter().flatten().collect();
    steps.extend(missing(windows));
    steps.push(result(windows));
    steps
}

fn missing(windows: &[(&ScenarioReport, &WindowTally)]) -> Option<Text> {
    let unseen = windows.iter().filter(|(_, window)| window.seen_us.is_none()).count() as u64;
    let stuck = windows.iter().filter(|(_, window)| recovery_us(window).is_none()).count() as u64;
    let away = windows.iter().filter(|(_, window)| window.healed_us.is_none()).count() as u64;
    let mut sentences = Vec::new();
    if away > 0 {
        let windows = words::counted(away, "window", "windows");
        sentences.push(format!("In {windows} the target was not seen to be back."));
    }
    if unseen > 0 {
        let windows = words::counted(unseen, "window", "windows");
        sentences.push(format!("In {windows} the fault was not seen to bite."));
    }
    if stuck > 0 {
        let windows = words::counted(stuck, "window", "windows");
        sentences.push(format!("In {windows} no recovery was seen."));
    }
    (!sentences.is_empty()).then(|| Text::data(sentences.join(" ")))
}

fn result(windows: &[(&ScenarioReport, &WindowTally)]) -> Text {
    // A run with several windows counts once.
    let mut runs: Vec<&ScenarioReport> = windows.iter().map(|(run, _)| *run).collect();
    runs.dedup_by(|a, b| std::ptr::eq(*a, *b));
    let sum = |of: fn(&ScenarioReport) -> u64| -> u64 { runs.iter().map(|run| of(run)).sum() };
    let certain = runs.iter().all(|run| run.verdict.status == Status::Pass);
    let doubt = if certain { "" } else { "; not all of these runs passed" };
    Text::strong("Result:").and(format!(
        " {} acknowledged, {} lost, {} below a committed offset stored nowhere, {}{doubt}.",
        words::count(sum(|run| run.verdict.tally.acknowledged)),
        words::count(sum(|run| run.verdict.tally.lost)),
        words::count(sum(|run| run.verdict.tally.gaps)),
        words::counted(sum(|run| duplicates(&run.verdict.tally)), "surplus copy", "surplus copies"),
    ))
}
