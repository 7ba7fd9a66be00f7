//! The history viewer: one page that holds a history, or two, and needs nothing but a browser.
//!
//! The page draws offsets over time for each partition, with faults, processes, parts and commits, and tells the
//! story of a record from its invocation to the raw zone. This module makes the facts small: rows without
//! names, texts once, and of a long history a sample that holds every record which a finding names.

mod collect;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use collect::ViewBuilder;

use crate::escape::visible;
use streamlake_judge::verdict::Verdict;

/// Name of the page's file.
pub const FILE: &str = "history.html";
/// Operations that a page holds at most, beside those that findings name.
pub const OPERATIONS_MAX: u64 = 100_000;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a page knows of one history. All times are microseconds since the run's start; rows are told by the
/// place of their fields, which [`collect`] names.
#[derive(Debug, Default, Serialize)]
pub struct View {
    scenario: String,
    title: String,
    testbed: String,
    seed: u64,
    started_at: String,
    verdict: &'static str,
    /// One operation in so many is here, and all that findings name.
    one_in: u64,
    end_us: u64,
    texts: Vec<String>,
    findings: Vec<FoundRow>,
    faults: Vec<FaultRow>,
    processes: Vec<(usize, u64, &'static str, String)>,
    phases: Vec<(u64, String)>,
    operations: Vec<collect::OperationRow>,
    log: Vec<collect::LogRow>,
    objects: Vec<collect::ObjectRow>,
    stored: Vec<collect::StoredRow>,
    commits: Vec<collect::CommitRow>,
    letters: Vec<collect::LetterRow>,
    positions: Vec<collect::PositionRow>,
    generations: Vec<(u64, usize, u32, usize)>,
    probes: Vec<(u64, usize, bool)>,
    notes: Vec<(u64, String)>,
}

#[derive(Debug, Serialize)]
struct FoundRow {
    check: String,
    status: &'static str,
    anomaly: String,
    message: String,
    at_us: Option<u64>,
    topic: Option<String>,
    partition: Option<u32>,
    offsets: Vec<(u64, u64)>,
    operations: Vec<u64>,
    evidence: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FaultRow {
    kind: String,
    target: String,
    steps: Vec<(u64, String, Vec<(String, String)>)>,
}

/// Findings that a page lists of one check.
const FINDINGS_MAX: usize = 200;

/// The findings of a verdict, and one row for each check that came to no verdict.
fn found(verdict: &Verdict) -> Vec<FoundRow> {
    let mut rows = Vec::new();
    for check in &verdict.checks {
        for finding in check.findings.iter().take(FINDINGS_MAX) {
            rows.push(FoundRow {
                check: check.check.clone(),
                status: check.status.word(),
                anomaly: finding.anomaly.clone(),
                message: visible(&finding.message),
                at_us: finding.at_us,
                topic: finding.topic.clone(),
                partition: finding.partition,
                offsets: finding.offsets.iter().map(|range| (range.first, range.last)).collect(),
                operations: finding.ops.clone(),
                evidence: finding.evidence.iter().map(|text| visible(text)).collect(),
            });
        }
        for reason in &check.reasons {
            if check.findings.is_empty() && check.status.word() == "inconclusive" {
                rows.push(FoundRow {
                    check: check.check.clone(),
                    status: check.status.word(),
                    anomaly: "not decided".to_owned(),
                    message: visible(reason),
                    at_us: None,
                    topic: None,
                    partition: None,
                    offsets: Vec::new(),
                    operations: Vec::new(),
                    evidence: Vec::new(),
                });
            }
        }
    }
    rows
}

/// The page of one history, or of two to compare.
///
/// # Errors
/// When the facts cannot be written as JSON.
pub fn page(views: &[View]) -> serde_json::Result<String> {
    // In a script element only `<` could end it.
    let data = serde_json::to_string(views)?.replace('<', "\\u003c");
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = PAGE;
    for (mark, text) in [("/*style*/", STYLE), ("/*data*/", &*data), ("/*script*/", SCRIPT)] {
        if let Some((before, after)) = rest.split_once(mark) {
            page.push_str(before);
            page.push_str(text);
            rest = after;
        }
    }
    page.push_str(rest);
    Ok(page)
}
