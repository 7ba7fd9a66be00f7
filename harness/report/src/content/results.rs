//! The results of one run: counts, duplicates with their causes, fault windows with what was seen
//! of them, every check, and the anomalies.

use super::super::document::{Document, Item, Text};
use super::super::{ScenarioReport, What, words};
use super::{absence, capture, duplicates, judge_again, labelled, place, run_again, window};
use streamlake_judge::verdict::{CheckResult, Finding, Status, Tally};

/// Findings of one check that are printed; the JSON report holds all.
const FINDINGS_MAX: usize = 10;
/// Facts of one finding, and stretches and notes of a run, that are printed.
const FACTS_MAX: usize = 6;

/// The verdict on a run, in a sentence.
pub(super) fn verdict(run: &ScenarioReport, document: &mut Document) {
    let status = Text::status(run.verdict.status);
    document.paragraph(labelled("Results:", status).and(". ").and(in_words(run)));
}

/// Everything of a run of which nothing has been told yet.
pub(super) fn write(run: &ScenarioReport, picture: &str, document: &mut Document) {
    verdict(run, document);
    anomalies(run, document);
    measurements(run, picture, document);
}

/// What is wrong, with all that shows it.
pub(super) fn anomalies(run: &ScenarioReport, document: &mut Document) {
    if let Some(bug) = run.again.as_ref().and_then(|again| again.planted.as_ref()) {
        let text = Text::prose("into the pipeline under test, on purpose: ").code_too(bug);
        document.paragraph(labelled("A bug was planted", text));
    }
    for check in &run.verdict.checks {
        findings(check, document);
    }
}

/// What was measured and seen, whatever it means.
pub(super) fn measurements(run: &ScenarioReport, picture: &str, document: &mut Document) {
    let verdict = &run.verdict;
    if let Some(began) = words::clock_at(&run.header.run.started_at, 0) {
        document.paragraph(labelled("Began:", Text::data(began)));
    }
    let alt = format!(
        "Timeline of {}: records acknowledged, stored and committed, latency, and the fault windows",
        run.header.run.scenario
    );
    document.picture(picture, super::super::svg::timeline(run), alt);
    if !capture::write(run, document) {
        document.table(&["Measured", "Value"], 1, measured(&verdict.tally, verdict.status));
        copies(&verdict.tally, document);
    }
    for window in &verdict.tally.windows {
        window::write(run, window, document);
    }
    unreachable(run, document);
    all_checks(&verdict.checks, document);
    notes(run, document);
    document.paragraph(Text::prose(
        "Run again, or judge the recorded history offline, from the folder in which the \
                     harness ran:",
    ));
    let mut commands = vec![run_again(run), judge_again(run)];
    commands.dedup();
    document.shell(commands);
    let logs = run.again.iter().flat_map(|again| &again.logs).map(Text::code);
    let logs = Text::join(logs, ", ");
    if !logs.is_empty() {
        document.paragraph(labelled("Logs of its processes:", logs));
    }
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
    let open = tally.unavailability_open;
    let ended = if open { format!(", {}", words::UNTIL_THE_END) } else { String::new() };
    let unavailability = words::unavailability(tally.longest_unavailability_us, open);
    rows.push((
        Text::prose("Longest unavailability: time between two acknowledgements"),
        match tally.longest_unavailability_from_us {
            Some(from) => format!("{unavailability}, from {} on{ended}", words::instant(from)),
            None => unavailability,
        },
    ));
    if tally.longest_standstill_us.is_some() {
        let standstill = words::unavailability(tally.longest_standstill_us, tally.standstill_open);
        let from = tally.longest_standstill_from_us.map(words::instant).unwrap_or_default();
        let place = tally.longest_standstill_in.as_deref().unwrap_or_default();
        rows.push((
            Text::prose("Longest standstill: a record was there, and its group committed nothing"),
            format!("{standstill}, from {from} on, in {place}"),
        ));
    }
    rows.push((Text::prose("Length of the run"), words::duration(tally.length_us)));
    rows.into_iter().map(|(label, value)| vec![label, Text::data(value)]).collect()
}

/// What at-least-once delivery allows, how much of it was used, and why.
fn copies(tally: &Tally, document: &mut Document) {
    let consumer_hit = tally.windows.iter().any(|window| window.kind.starts_with("consumer"));
    if duplicates(tally) == 0 {
        if consumer_hit {
            document.paragraph(
                "**Duplicates:** none was counted. At-least-once delivery would have allowed what \
                 the consumer had stored and not yet committed when the fault hit it.",
            );
        }
        return;
    }
    document.paragraph(
        "**Duplicates:** at-least-once delivery promises that nothing is missing, not that nothing \
         comes twice. What was stored and not yet committed when a consumer died, froze or lost its \
         partition is stored again by its successor; without a broker that knows the producer's \
         sequence numbers, what was sent again stands in the log again. Each surplus copy has a cause:",
    );
    let rows = tally
        .duplicates_by_cause
        .iter()
        .map(|(cause, number)| vec![Text::data(cause), Text::data(words::count(*number))]);
    document.table(&["Cause", "Surplus copies"], 1, rows.collect());
    let mut lines =
        vec![Text::data(format!("In the log: {}", words::count(tally.logged_duplicates)))];
    lines.extend(tally.groups.iter().map(|(group, counts)| {
        Text::prose("Stored by ")
            .code_too(group)
            .and(format!(": {}", words::count(counts.duplicates)))
    }));
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

/// What did not hold is read first; what held, and what does not apply, is for whoever doubts it.
fn all_checks(all: &[CheckResult], document: &mut Document) {
    let head = &["Check", "Verdict", "What was found"];
    let of = |status: Status| all.iter().filter(move |check| check.status == status);
    let doubtful = of(Status::Fail).chain(of(Status::Inconclusive));
    let rows = checks(doubtful);
    if !rows.is_empty() {
        document.paragraph("**Checks that did not hold:**");
        document.table(head, 3, rows);
    }
    let (held, others) =
        (of(Status::Pass).count() as u64, of(Status::NotApplicable).count() as u64);
    let mut summary = format!("{} held", words::counted(held, "check", "checks"));
    if others > 0 {
        let word = if others == 1 { "does" } else { "do" };
        summary.push_str(&format!(", {} {word} not apply here", words::count(others)));
    }
    let mut inner = Document::default();
    inner.table(head, 3, checks(of(Status::Pass).chain(of(Status::NotApplicable))));
    document.fold(Text::data(summary), inner);
}

fn checks<'a>(checks: impl Iterator<Item = &'a CheckResult>) -> Vec<Vec<Text>> {
    let row = |check: &CheckResult| {
        let reasons = check.reasons.iter().filter(|&reason| *reason != check.summary);
        let found: Vec<&str> =
            std::iter::once(&check.summary).chain(reasons).map(String::as_str).collect();
        let name = Text::code(&check.check).and(": ").and(&check.guarantee);
        vec![name, Text::status(check.status), Text::told(&found.join("; "))]
    };
    checks.map(row).collect()
}

fn findings(check: &CheckResult, document: &mut Document) {
    if check.findings.is_empty() {
        return;
    }
    let count = words::counted(check.findings.len() as u64, "anomaly", "anomalies");
    document.paragraph(Text::strong("Found by ").code_too(&check.check).and(format!(": {count}")));
    let mut lines: Vec<Item> = check.findings.iter().take(FINDINGS_MAX).map(finding).collect();
    lines.extend(more(check.findings.len(), FINDINGS_MAX).map(Item::from));
    document.nested(lines);
}

/// What it is, and below it where and when, and the record's story.
fn finding(finding: &Finding) -> Item {
    let text = Text::code(&finding.anomaly).and(": ").then(Text::told(&finding.message));
    let place = place(finding);
    let place = (!place.is_empty()).then(|| labelled("Where:", Text::data(place)));
    let left = finding.evidence.len().saturating_sub(FACTS_MAX);
    let more =
        (left > 0).then(|| Text::data(format!("… and {left} more facts in the JSON report")));
    let facts = finding.evidence.iter().take(FACTS_MAX).map(|fact| Text::told(fact));
    Item { text, below: place.into_iter().chain(facts).chain(more).collect() }
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
