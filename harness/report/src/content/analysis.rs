//! What the runs together show: which guarantees held, how sure that is, and where it ends.

use std::collections::{BTreeMap, BTreeSet};

use super::super::document::{Document, Text};
use super::super::{ScenarioEntry, ScenarioReport, SuiteReport, words};
use super::configuration::{Part, read_back};
use super::{Windows, duplicates, windows_by_scenario};
use streamlake_judge::verdict::Status;

pub(super) fn write(suite: &SuiteReport, document: &mut Document) {
    guarantees(suite, document);
    how_sure(suite, document);
    document.heading(3, "Known Limitations", "known-limitations");
    document.numbered(limits(suite));
}

fn guarantees(suite: &SuiteReport, document: &mut Document) {
    document.heading(3, "Guarantees", "guarantees");
    let mut order: Vec<(&str, &str)> = Vec::new();
    let mut outcomes: BTreeMap<&str, BTreeMap<Status, u64>> = BTreeMap::new();
    for check in suite.runs().flat_map(|run| &run.verdict.checks) {
        if !outcomes.contains_key(check.check.as_str()) {
            order.push((&check.check, &check.guarantee));
        }
        *outcomes.entry(&check.check).or_default().entry(check.status).or_default() += 1;
    }
    if order.is_empty() {
        document.paragraph("Nothing has run, so nothing can be said of any guarantee.");
        return;
    }
    document.paragraph(
        "Derived from the checks. A guarantee **held** where the evidence suffices and shows it; in \
         how many runs:",
    );
    let rows = order.into_iter().map(|(check, guarantee)| {
        let count = |status| outcomes[check].get(&status).copied().unwrap_or(0);
        let verdict = Status::combine(outcomes[check].keys().copied());
        let mut row = vec![Text::code(check).and(": ").and(guarantee), Text::status(verdict)];
        row.extend(
            [Status::Pass, Status::Fail, Status::Inconclusive, Status::NotApplicable]
                .map(|status| Text::data(words::count(count(status)))),
        );
        row
    });
    document.table(
        &["Guarantee", "Altogether", "Held", "Violated", "Undecided", "Not asked"],
        2,
        rows.collect(),
    );
}

/// Upper end of the 95 % confidence interval of a probability after `clean` windows without an
/// anomaly: the probability at which as many would stay clean in 5 % of all cases.
fn bound_95(clean: usize) -> f64 {
    1.0 - 0.05_f64.powf(1.0 / clean.max(1) as f64)
}

fn how_sure(suite: &SuiteReport, document: &mut Document) {
    let kinds = windows_by_scenario(suite);
    if kinds.is_empty() {
        return;
    }
    document.heading(3, "How Sure", "how-sure");
    document.paragraph(
        "A fault window is **clean** when the check `fault-bit` passed and so did the run. With n \
         clean windows and no anomaly in any other, an anomaly in a window of that kind is with \
         95 % confidence no more likely than 1 − 0.05^(1/n); one clean window says next to nothing.",
    );
    document.paragraph(
        "The bound assumes two things that are not so. That windows are independent: those of one run \
         share its processes, its seed and its machine. And that every anomaly is found: what the \
         checks miss, no number of windows shows. It is a bound on what these checks would have \
         found, under conditions like these.",
    );
    let rows = kinds.into_iter().map(|Windows { title, kind, windows, .. }| {
        let passed = |run: &ScenarioReport| run.verdict.status == Status::Pass;
        // A fault that hit nothing, as that check sees it, shows nothing.
        let hit = |run: &ScenarioReport| {
            let mut checks = run.verdict.checks.iter();
            !checks.any(|check| check.check == "fault-bit" && check.status != Status::Pass)
        };
        let bit = windows.iter().filter(|(run, window)| window.seen_us.is_some() && hit(run));
        let clean = bit.filter(|(run, _)| passed(run)).count();
        let failed = windows.iter().any(|(run, _)| run.verdict.status == Status::Fail);
        let bound = match (clean, failed) {
            (_, true) => "no bound: an anomaly was found".to_owned(),
            (0, _) => "no bound: no clean window".to_owned(),
            (clean, _) => format!("at most {}", words::percent_up(bound_95(clean))),
        };
        vec![
            Text::data(title),
            Text::code(kind),
            Text::data(words::count(windows.len() as u64)),
            Text::data(words::count(clean as u64)),
            Text::data(bound),
        ]
    });
    document.table(
        &["Scenario", "Fault", "Windows", "Clean", "Probability of an anomaly in a window"],
        2,
        rows.collect(),
    );
}

/// Limits that are true of these runs, and only those.
fn limits(suite: &SuiteReport) -> Vec<Text> {
    let mut limits = Vec::new();
    let mut of_testbeds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for run in suite.runs() {
        for limit in &run.header.run.limits {
            of_testbeds.entry(limit).or_default().insert(&run.header.run.testbed);
        }
    }
    for (limit, testbeds) in of_testbeds {
        let testbeds: Vec<&str> = testbeds.into_iter().collect();
        limits.push(
            Text::strong("Testbed").and(format!(" {}: ", words::listed(&testbeds))).and(limit),
        );
    }
    limits.extend(of_configuration(suite));
    limits.extend(of_outcomes(suite));
    limits.push(Text::prose(
        "**No exactly-once**: the pipeline claims at-least-once delivery, and nothing here is \
         evidence for more.",
    ));
    limits
}

fn of_configuration(suite: &SuiteReport) -> Vec<Text> {
    let mut limits = Vec::new();
    if read_back(suite, Part::Broker, "replication.factor").contains("1") {
        limits.push(Text::prose(
            "**No replication**: replication factor 1 was read back. A record lives on one broker, \
             `acks=all` waits for that one only, and the loss of its disk is outside of what was \
             tried.",
        ));
    }
    if read_back(suite, Part::Broker, "min.insync.replicas").contains("1") {
        limits.push(Text::prose(
            "**One replica may acknowledge alone**: `min.insync.replicas=1` was read back.",
        ));
    }
    if read_back(suite, Part::Producer, "enable.idempotence").contains("false") {
        limits.push(Text::prose(
            "**Retries may duplicate**: a producer with `enable.idempotence=false` was among them; \
             a retry after a lost answer writes the record again, and retries may change the order.",
        ));
    }
    for value in read_back(suite, Part::Producer, "message.timeout.ms") {
        if let Ok(ms @ 1..) = value.parse::<u64>() {
            limits.push(
                Text::prose("**Retries end**: after `message.timeout.ms` of ")
                    .and(words::duration(ms.saturating_mul(1_000)))
                    .and(
                        " a record that nobody acknowledged counts as unknown, however many \
                          retries are allowed.",
                    ),
            );
        }
    }
    limits
}

fn of_outcomes(suite: &SuiteReport) -> Vec<Text> {
    let mut limits = Vec::new();
    let sum = |of: fn(&ScenarioReport) -> u64| -> u64 { suite.runs().map(of).sum() };
    let copies = sum(|run| duplicates(&run.verdict.tally));
    if copies > 0 {
        limits.push(
            Text::prose("**Duplicates**: ")
                .and(words::counted(copies, "surplus copy was", "surplus copies were"))
                .prose_too(
                    " counted. Readers must tolerate them; `ingestion_id` tells a repeated \
                            delivery from a new order.",
                ),
        );
    }
    let unknown = sum(|run| run.verdict.tally.unknown);
    if unknown > 0 {
        limits.push(
            Text::prose("**Unknown outcomes**: of ")
                .and(words::counted(unknown, "operation", "operations"))
                .prose_too(
                    " the producer could not say whether it was written. They are neither \
                            counted as lost nor as delivered.",
                ),
        );
    }
    let named = |wanted: fn(&ScenarioEntry) -> bool| -> Vec<&str> {
        suite.scenarios.iter().filter(|entry| wanted(entry)).map(ScenarioEntry::title).collect()
    };
    for (label, titles) in [
        ("**Not run**: ", named(|entry| matches!(entry, ScenarioEntry::NotRun { .. }))),
        ("**Not applicable here**: ", named(|entry| entry.status() == Some(Status::NotApplicable))),
        ("**Inconclusive**: ", named(|entry| entry.status() == Some(Status::Inconclusive))),
    ] {
        if !titles.is_empty() {
            limits.push(Text::prose(label).and(words::listed(&titles)).and("."));
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_the_rule_of_three() {
        assert!((bound_95(1) - 0.95).abs() < 1e-9);
        assert!((bound_95(10) - 0.2589).abs() < 1e-4);
        for clean in [30, 100, 1_000] {
            let three = 3.0 / clean as f64;
            assert!(bound_95(clean) <= three && bound_95(clean) > three * 0.95);
        }
    }
}
