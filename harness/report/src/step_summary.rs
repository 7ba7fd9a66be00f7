//! A short summary for the page of a CI job: GitHub shows markdown that a step appends to the file
//! named in `GITHUB_STEP_SUMMARY`. No pictures and no links to files: the page has neither.

use super::document::{Block, Document, Span, Text};
use super::{ReportError, ReportFile, ScenarioEntry, SuiteReport, content, markdown, words};
use streamlake_judge::verdict::Status;

/// Name of the file.
pub(super) const FILE: &str = "step-summary.md";
/// Checks that did not hold, and anomalies of each, that are named.
const CHECKS_MAX: usize = 20;
const FINDINGS_MAX: usize = 3;

pub(super) fn write(suite: &SuiteReport) -> Result<Vec<ReportFile>, ReportError> {
    let mut document = Document::default();
    document.heading(1, "Kafka delivery guarantees", "summary");
    content::verdict(suite, &mut document);
    document.list(problems(suite));
    content::table(suite, &mut document);
    document.0.iter_mut().for_each(without_links);
    Ok(vec![ReportFile::text(FILE, markdown::render(&document))])
}

fn problems(suite: &SuiteReport) -> Vec<Text> {
    let mut lines: Vec<Text> = suite
        .scenarios
        .iter()
        .filter_map(|entry| match entry {
            ScenarioEntry::NotCarriedOut { name, reason, .. } => Some(
                Text::status(Status::Inconclusive)
                    .and(" ")
                    .code_too(name)
                    .and(format!(" could not be carried out: {reason}")),
            ),
            _ => None,
        })
        .collect();
    let mut left = 0;
    for run in suite.runs() {
        for check in &run.verdict.checks {
            if !matches!(check.status, Status::Fail | Status::Inconclusive) {
                continue;
            }
            if lines.len() >= CHECKS_MAX {
                left += 1;
                continue;
            }
            let mut line = Text::status(check.status)
                .and(" ")
                .code_too(&run.header.run.scenario)
                .and(", ")
                .code_too(&check.check)
                .and(": ")
                .and(&check.summary);
            for finding in check.findings.iter().take(FINDINGS_MAX) {
                line = line.and(format!(" · {}", content::described(finding)));
            }
            lines.push(line);
        }
    }
    if left > 0 {
        lines.push(Text::data(format!(
            "… and {} more that did not hold",
            words::counted(left, "check", "checks")
        )));
    }
    lines
}

fn without_links(block: &mut Block) {
    if let Block::Table { rows, .. } = block {
        for span in rows.iter_mut().flatten().flat_map(|text| &mut text.0) {
            if let Span::Link { text, .. } = span {
                *span = Span::Plain(std::mem::take(text));
            }
        }
    }
}
