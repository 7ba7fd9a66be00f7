//! How the system came back from each kind of fault, step by step, with the times measured.

use super::super::document::{Document, Text};
use super::super::{ScenarioReport, SuiteReport, words};
use super::configuration::{Part, read_back, readings_in_words};
use super::{Windows, duplicates, recovery_us, windows_by_scenario};
use streamlake_judge::verdict::{Status, WindowTally};

pub(super) fn write(suite: &SuiteReport, document: &mut Document) {
    document.heading(2, "Failure Recovery Patterns", "recovery-patterns");
    let scenarios = windows_by_scenario(suite);
    if scenarios.is_empty() {
        document.paragraph("No fault window was recorded.");
        return;
    }
    document.paragraph(
        "Measured from outside; where a scenario ran several times, the median with the shortest and \
         the longest.",
    );
    let kinds_of = |id: &str| scenarios.iter().filter(|same| same.id == id).count();
    for Windows { title, id, kind, windows } in &scenarios {
        let named = title.to_lowercase().ends_with("recovery");
        let mut heading =
            Text::data(if named { (*title).to_owned() } else { format!("{title} Recovery") });
        if kinds_of(id) > 1 {
            heading = heading.and(", ").code_too(*kind);
        }
        let mut all: Vec<Text> = mechanism(suite, kind).into_iter().collect();
        all.extend(steps(windows, hits_producers(kind)));
        let mut inner = Document::default();
        inner.numbered(all);
        document.fold(heading, inner);
    }
}

/// What recovers, with the settings that were read back from it.
fn mechanism(suite: &SuiteReport, kind: &str) -> Option<Text> {
    let values =
        |part, property| -> Vec<String> { read_back(suite, part, property).into_iter().collect() };
    if hits_producers(kind) {
        let (buffer, backoff, reconnect) = (
            readings_in_words(suite, "buffer.memory"),
            values(Part::Producer, "retry.backoff.ms"),
            values(Part::Producer, "reconnect.backoff.max.ms"),
        );
        if buffer.is_empty() || backoff.is_empty() || reconnect.is_empty() {
            return None;
        }
        return Some(
            Text::prose("Producers keep in memory what is not acknowledged (")
                .then(buffer)
                .prose_too("), try again after ")
                .code_too(format!("retry.backoff.ms={}", words::listed(&backoff)))
                .prose_too(" and reconnect after at most ")
                .code_too(format!("reconnect.backoff.max.ms={}", words::listed(&reconnect)))
                .prose_too("."),
        );
    }
    let captures = ["connect", "database"].iter().any(|part| kind.starts_with(part));
    if captures {
        return Some(Text::prose(
            "The connector goes on from the offset that its worker flushed last; the database keeps \
             its log for it until then. What was sent since that flush comes again.",
        ));
    }
    kind.starts_with("consumer").then(|| {
        Text::prose(
            "Producers are not concerned. Whoever takes over a partition reads on from its committed \
             offset, which is that of the next record to read.",
        )
    })
}

/// Whether producers are cut off while the fault lasts.
fn hits_producers(kind: &str) -> bool {
    kind.starts_with("broker") || kind.starts_with("client")
}

fn steps(windows: &[(&ScenarioReport, &WindowTally)], hits_producers: bool) -> Vec<Text> {
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
            if windows.iter().any(|(_, window)| window.unavailability_open) {
                ", at least: a load ended without one."
            } else {
                "."
            },
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
        )
        .filter(|_| hits_producers),
        recovered(windows),
    ];
    let mut steps: Vec<Text> = measured.into_iter().flatten().collect();
    steps.extend(missing(windows));
    steps.push(result(windows));
    steps
}

fn recovered(windows: &[(&ScenarioReport, &WindowTally)]) -> Option<Text> {
    let values: Vec<u64> = windows.iter().filter_map(|(_, window)| recovery_us(window)).collect();
    if values.is_empty() {
        return None;
    }
    if values.iter().all(|&us| us == 0) {
        return Some(Text::prose(
            "By the time the target was seen to be back, the consumers had committed records newer \
             than the fault in every partition that had one.",
        ));
    }
    let after = words::spread(values);
    let captures = windows.iter().all(|(run, _)| run.header.promises.source.is_some());
    Some(Text::data(match captures {
        true => format!(
            "The first event of a row change newer than the fault came {after} after the target was \
             back."
        ),
        false => format!(
            "The consumers had committed records newer than the fault, in every partition that had \
             one, {after} after the target was back."
        ),
    }))
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
