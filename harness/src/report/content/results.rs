//! The results of one run: counts, duplicates with their causes, fault windows with what was seen
//! of them, every check, and the anomalies.

use super::super::document::{Document, Text};
use super::super::{ScenarioReport, What, words};
use super::{absence, described, duplicates, judge_again, labelled, run_again};
use crate::verdict::{CheckResult, Finding, Status, Tally, WindowTally};

/// Findings of one check that are printed; the JSON report holds all.
const FINDINGS_MAX: usize = 10;
/// Facts of one finding, and stretches and notes of a run, that are printed.
const FACTS_MAX: usize = 6;

pub(super) fn write(run: &ScenarioReport, picture: &str, document: &mut Document) {
    let verdict = &run.verdict;
    document
        .paragraph(labelled("Results:", Text::status(verdict.status)).and(". ").and(in_words(run)));
    let alt = format!(
        "Timeline of {}: records acknowledged, stored and committed, latency, and the fault windows",
        run.header.run.scenario
    );
    document.picture(picture, super::super::svg::timeline(run), alt);
    document.table(&["Measured", "Value"], 1, measured(&verdict.tally, verdict.status));
    copies(&verdict.tally, document);
    for window in &verdict.tally.windows {
        fault_window(window, document);
    }
    unreachable(run, document);
    document.paragraph("**Checks:**");
    document.table(&["Check", "Verdict", "What was found"], 3, checks(&verdict.checks));
    for check in &verdict.checks {
        findings(check, document);
    }
    notes(run, document);
    document.paragraph(
        Text::prose("History: ").then(Text::link(&run.history_file, &run.history_file)).prose_too(
            ". Run again, or judge the recorded history offline, in the folder of this report:",
        ),
    );
    let mut commands = vec![run_again(run), judge_again(run)];
    commands.dedup();
    document.shell(commands);
}

fn in_words(run: &ScenarioReport) -> String {
    let checks = &run.verdict.checks;
    let with = |status| checks.iter().filter(move |check| check.status == status);
    let names = |status| -> Vec<&str> { with(status).map(|check| check.check.as_str()).collect() };
    let held = with(Status::Pass).count();
    let judged = checks.len() - with(Status::NotApplicable).count();
    match run.verdict.status {
        Status::Pass if judged == 1 => "The one check that applies here held.".to_owned(),
        Status::Pass => format!("All {judged} checks that apply here held."),
        Status::Fail => {
            format!("{held} of {judged} checks held; violated: {}.", names(Status::Fail).join(", "))
        }
        Status::Inconclusive => format!(
            "{held} of {judged} checks held; the evidence does not suffice for: {}.",
            names(Status::Inconclusive).join(", ")
        ),
        Status::NotApplicable => "No check applies to this run.".to_owned(),
    }
}

fn measured(tally: &Tally, status: Status) -> Vec<Vec<Text>> {
    let mut rows: Vec<(Text, String)> = [
        ("Invoked (sent by the workload)", tally.invoked),
        ("Acknowledged", tally.acknowledged),
        ("Rejected into the dead-letter topic", tally.rejected),
        ("Unknown: nobody can say whether it was written", tally.unknown),
        ("Failed: certainly not written", tally.failed),
        ("Logged: records in the topic", tally.logged),
    ]
    .map(|(label, number)| (Text::prose(label), words::count(number)))
    .into();
    for (group, counts) in &tally.groups {
        rows.push((
            Text::prose("Stored by ").code_too(group),
            format!(
                "{} in {}",
                words::count(counts.stored),
                words::counted(counts.parts, "part", "parts")
            ),
        ));
        rows.push((
            Text::prose("Left behind at the end by ").code_too(group),
            format!("{} (high watermark − committed)", words::count(counts.lag_end)),
        ));
    }
    rows.push((Text::prose("Dead letters"), words::count(tally.dead_letters)));
    rows.push((Text::prose("Lost"), absence(tally.lost, status)));
    rows.push((Text::prose("Gaps"), absence(tally.gaps, status)));
    rows.push((Text::prose("Duplicates"), words::count(duplicates(tally))));
    let latency = [tally.latency_p50_us, tally.latency_p99_us, tally.latency_max_us];
    rows.push((
        Text::prose("Latency to the acknowledgement: median, 99th percentile, maximum"),
        latency.map(words::maybe_duration).join(", "),
    ));
    let unavailability = words::maybe_duration(tally.longest_unavailability_us);
    rows.push((
        Text::prose("Longest unavailability: time between two acknowledgements"),
        match tally.longest_unavailability_from_us {
            Some(from) => format!("{unavailability}, from {} on", words::instant(from)),
            None => unavailability,
        },
    ));
    rows.push((Text::prose("Length of the run"), words::duration(tally.length_us)));
    rows.into_iter().map(|(label, value)| vec![label, Text::data(value)]).collect()
}

fn copies(tally: &Tally, document: &mut Document) {
    if duplicates(tally) == 0 {
        return;
    }
    document.paragraph(
        "**Duplicates:** at-least-once delivery promises that nothing is missing, not that nothing \
         comes twice. Each surplus copy has a cause:",
    );
    let mut lines =
        vec![Text::data(format!("in the log: {}", words::count(tally.logged_duplicates)))];
    lines.extend(tally.groups.iter().map(|(group, counts)| {
        Text::prose("stored by ")
            .code_too(group)
            .and(format!(": {}", words::count(counts.duplicates)))
    }));
    lines.extend(tally.duplicates_by_cause.iter().map(|(cause, number)| {
        Text::prose("cause: ").and(cause).and(format!(": {}", words::count(*number)))
    }));
    document.list(lines);
}

/// A fault window as it was seen from outside, each instant with its distance from the act.
fn fault_window(window: &WindowTally, document: &mut Document) {
    document.paragraph(
        labelled("Fault window as seen from outside:", Text::code(&window.kind))
            .and(" of ")
            .code_too(&window.target)
            .and(format!(" (fault {})", window.fault)),
    );
    let since = |at: Option<u64>| match (window.injecting_us, at) {
        (Some(from), Some(at)) if at >= from => format!("+{}", words::duration(at - from)),
        _ => words::NONE.to_owned(),
    };
    let stages = [
        ("The act began", window.injecting_us),
        ("Its effect was seen", window.seen_us),
        ("The target was seen to be back", window.healed_us),
        ("First acknowledgement after that", window.first_ack_after_us),
        ("Recovered: first commit of a newer record", window.recovered_us),
    ];
    let rows = stages.map(|(label, at)| {
        let instant = at.map_or_else(|| "not seen".to_owned(), words::instant);
        vec![Text::prose(label), Text::data(instant), Text::data(since(at))]
    });
    document.table(&["Stage", "Instant of the run", "Since the act"], 1, rows.into());
    let mut lines = vec![
        Text::data(format!(
            "Operations in flight in the window: {}",
            words::count(window.in_flight)
        )),
        Text::data(format!(
            "Longest time without an acknowledgement that touches the window: {}",
            words::maybe_duration(window.unavailability_us)
        )),
    ];
    lines.extend(
        window
            .evidence
            .iter()
            .map(|(name, value)| Text::prose("Evidence: ").and(name).and(": ").code_too(value)),
    );
    document.list(lines);
}

fn unreachable(run: &ScenarioReport, document: &mut Document) {
    let stretches = &run.observed.unreachable;
    if stretches.is_empty() {
        return;
    }
    document.paragraph("**Probes from outside:**");
    let mut lines: Vec<Text> = stretches
        .iter()
        .take(FACTS_MAX)
        .map(|stretch| {
            let until = match stretch.to_us {
                Some(to) => format!(
                    " to {} ({})",
                    words::instant(to),
                    words::duration(to.saturating_sub(stretch.from_us))
                ),
                None => " to the end".to_owned(),
            };
            let line = Text::code(&stretch.target)
                .and(format!(" did not answer from {}{until}", words::instant(stretch.from_us)));
            if stretch.detail.is_empty() { line } else { line.and(": ").code_too(&stretch.detail) }
        })
        .collect();
    lines.extend(more(stretches.len(), FACTS_MAX));
    document.list(lines);
}

fn checks(checks: &[CheckResult]) -> Vec<Vec<Text>> {
    let row = |check: &CheckResult| {
        let reasons = check.reasons.iter().map(|reason| format!(" {reason}"));
        let found = format!("{}{}", check.summary, reasons.collect::<String>());
        let name = Text::code(&check.check).and(": ").and(&check.guarantee);
        vec![name, Text::status(check.status), Text::data(found)]
    };
    checks.iter().map(row).collect()
}

fn findings(check: &CheckResult, document: &mut Document) {
    if check.findings.is_empty() {
        return;
    }
    let count = words::counted(check.findings.len() as u64, "anomaly", "anomalies");
    document.paragraph(Text::strong("Found by ").code_too(&check.check).and(format!(": {count}")));
    let mut lines: Vec<Text> = check.findings.iter().take(FINDINGS_MAX).map(finding).collect();
    lines.extend(more(check.findings.len(), FINDINGS_MAX));
    document.numbered(lines);
}

fn finding(finding: &Finding) -> Text {
    let mut text = Text::code(&finding.anomaly).and(": ").and(described(finding));
    for fact in finding.evidence.iter().take(FACTS_MAX) {
        text = text.and(" · ").and(fact);
    }
    text
}

fn notes(run: &ScenarioReport, document: &mut Document) {
    let notes: Vec<Text> = run
        .observed
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Note { level, text } => Some(
                Text::strong(level).and(format!(" at {}: ", words::instant(entry.at_us))).and(text),
            ),
            _ => None,
        })
        .collect();
    if notes.is_empty() {
        return;
    }
    document.paragraph("**Remarks of the harness:**");
    let all = notes.len();
    let mut lines: Vec<Text> = notes.into_iter().take(FACTS_MAX).collect();
    lines.extend(more(all, FACTS_MAX));
    document.list(lines);
}

/// "… and M more", where there are more than are printed.
fn more(all: usize, printed: usize) -> Option<Text> {
    let left = all.saturating_sub(printed) as u64;
    (left > 0).then(|| {
        Text::data(format!("… and {} more in ", words::count(left)))
            .then(Text::link(super::super::json::FILE, super::super::json::FILE))
    })
}
