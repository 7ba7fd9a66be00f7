//! Change data capture in figures: what was committed, what arrived, what came again and why.

use super::super::document::{Document, Text};
use super::super::{ScenarioReport, words};
use super::{absence, labelled};
use streamlake_judge::verdict::CheckResult;

/// The check that the figures come from.
const CHECK: &str = "change-data-capture";

/// The figures of a run whose records come from a source database. False for any other.
pub(super) fn write(run: &ScenarioReport, document: &mut Document) -> bool {
    let check = run.verdict.checks.iter().find(|check| check.check == CHECK);
    let (Some(check), Some(_)) = (check, &run.header.promises.source) else { return false };
    document.table(&["Measured", "Value"], 1, measured(run, check));
    repeated(run, check, document);
    true
}

fn measured(run: &ScenarioReport, check: &CheckResult) -> Vec<Vec<Text>> {
    let figure = |name: &str| check.figures.get(name).copied();
    let number = |name: &str| figure(name).map_or_else(|| words::NONE.to_owned(), words::count);
    let time = |name: &str| words::maybe_duration(figure(name));
    let by_kind = ["inserts", "updates", "deletes"]
        .map(|kind| format!("{} {kind}", number(&format!("committed_{kind}"))));
    let missing = figure("missing_changes")
        .map_or_else(|| words::NONE.to_owned(), |n| absence(n, check.status));
    let rows = [
        (
            "Row changes committed, by the database's own log",
            format!("{} ({})", number("committed_changes"), by_kind.join(", ")),
        ),
        (
            "Transactions rolled back: no event of theirs may appear",
            number("rolled_back_transactions"),
        ),
        ("Change events of them in the topic, repeated ones included", number("captured_events")),
        ("Missing: committed without an event", missing),
        ("Repeated events", number("repeated_events")),
        ("Events from reading the whole table", number("snapshot_events")),
        ("Empty records after deletes", number("tombstone_events")),
        ("Offsets flushed by the worker", number("flushed_offsets")),
        (
            "From the commit to the event in the topic: median, maximum",
            format!("{}, {}", time("capture_latency_median_us"), time("capture_latency_max_us")),
        ),
        ("From the heal to the first event of a newer change", time("recovered_after_heal_us")),
        (
            "Longest standstill while changes waited to be captured",
            time("longest_capture_standstill_us"),
        ),
        ("Starts of the capture, by the database's own record", number("capture_starts")),
        ("Length of the run", words::duration(run.verdict.tally.length_us)),
    ];
    rows.into_iter().map(|(label, value)| vec![Text::prose(label), Text::data(value)]).collect()
}

/// What came again after each fault, beside what was to be expected.
fn repeated(run: &ScenarioReport, check: &CheckResult, document: &mut Document) {
    let faults = run.header.promises.faults.iter().filter_map(|fault| {
        let of = |what: &str| check.figures.get(&format!("fault_{}_{what}", fault.fault)).copied();
        let (repeated, unflushed) = (of("repeated_events")?, of("unflushed_events")?);
        Some(vec![
            Text::code(&fault.kind).and(format!(" (fault {})", fault.fault)),
            Text::data(words::count(unflushed)),
            Text::data(words::count(repeated)),
        ])
    });
    let rows: Vec<Vec<Text>> = faults.collect();
    if rows.is_empty() {
        return;
    }
    document.paragraph(labelled(
        "Repeated events:",
        Text::prose(
            "the connector promises at least once. What stands in the topic while the worker has not \
             yet flushed an offset past it comes again when the capture has to begin anew, under the \
             same position in the database's log; so the most that may come again is known before.",
        ),
    ));
    document.table(&["After", "Not flushed when the capture began anew", "Repeated"], 1, rows);
    document.paragraph(Text::data(format!("In words: {}.", check.summary)));
}
