//! A case in the making: what a checker found, and what keeps it from deciding.

use std::collections::BTreeMap;

use crate::index::{Index, RangeSet};
use crate::verdict::{CheckResult, Finding, OffsetRange, Status};

/// Sentences of evidence that one finding carries at most; its offsets are complete.
pub(super) const EVIDENCE_MAX: usize = 20;
/// Operations that one finding names at most; its offsets are complete.
pub(super) const OPS_MAX: usize = 1000;

/// What one checker has gathered so far.
pub(super) struct Case<'a> {
    index: &'a Index,
    findings: Vec<Finding>,
    doubts: Vec<String>,
    figures: BTreeMap<String, u64>,
}

impl<'a> Case<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        Self { index, findings: Vec::new(), doubts: Vec::new(), figures: BTreeMap::new() }
    }

    /// Notes something that keeps the check from passing.
    pub(super) fn doubt(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if !self.doubts.contains(&reason) {
            self.doubts.push(reason);
        }
    }

    /// Neither a finding nor a doubt yet.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.findings.is_empty() && self.doubts.is_empty()
    }

    /// Sets a figure.
    pub(super) fn figure(&mut self, name: &str, value: u64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Notes an anomaly.
    pub(super) fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Notes an anomaly at offsets of a partition, with the operations there and the fault window.
    pub(super) fn find_at(
        &mut self,
        anomaly: &str,
        group: Option<&str>,
        lane: usize,
        set: &RangeSet,
        message: String,
    ) -> &mut Finding {
        let place = &self.index.lanes[lane];
        let mut finding = anomalous(anomaly, message);
        finding.group = group.map(str::to_owned);
        finding.topic = Some(place.topic.clone());
        finding.partition = Some(place.partition);
        finding.offsets = ranges(set);
        finding.ops = self.index.ops_at(lane, set, OPS_MAX);
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// Ends the case.
    pub(super) fn close(mut self, name: &str, guarantee: &str, summary: String) -> CheckResult {
        let (status, reasons) = if !self.findings.is_empty() {
            (Status::Fail, Vec::new())
        } else if !self.doubts.is_empty() {
            (Status::Inconclusive, self.doubts)
        } else {
            (Status::Pass, Vec::new())
        };
        for finding in &mut self.findings {
            finding.fault = finding.at_us.and_then(|at| self.index.fault_at(at));
        }
        CheckResult {
            check: name.to_owned(),
            guarantee: guarantee.to_owned(),
            status,
            summary,
            reasons,
            figures: self.figures,
            findings: self.findings,
        }
    }
}

/// An anomaly with nothing but its name and message.
pub(super) fn anomalous(anomaly: &str, message: String) -> Finding {
    Finding {
        anomaly: anomaly.to_owned(),
        message,
        group: None,
        topic: None,
        partition: None,
        offsets: Vec::new(),
        ops: Vec::new(),
        at_us: None,
        fault: None,
        evidence: Vec::new(),
    }
}

/// A set as the verdict writes it.
pub(super) fn ranges(set: &RangeSet) -> Vec<OffsetRange> {
    set.ranges().iter().map(|&(first, last)| OffsetRange { first, last }).collect()
}

/// A set for a sentence: its first ranges, and how many more there are.
pub(super) fn spelled(set: &RangeSet) -> String {
    let show = |&(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}–{last}"),
    };
    let shown: Vec<String> = set.ranges().iter().take(5).map(show).collect();
    match set.ranges().len().checked_sub(5) {
        Some(more) if more > 0 => format!("{} and {more} more ranges", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// Number and noun.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// An instant or a length of time in seconds, to the millisecond.
pub(super) fn seconds(us: u64) -> String {
    format!("{}.{:03} s", us / 1_000_000, us / 1000 % 1000)
}

/// A text from outside for a sentence: nothing in it can break a line or a terminal.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", text.escape_debug())
}
