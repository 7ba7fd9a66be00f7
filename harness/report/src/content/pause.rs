//! Why a pause is not a partition: the two side by side, where both were tried.

use super::super::document::{Document, Text};
use super::super::{SuiteReport, words};
use super::{Windows, recovery_us, windows_by_scenario};

const PAUSE: &str = "broker-pause";
const PARTITION: &str = "client-partition";

/// Names in the evidence of broker faults.
const FREEZER: &str = "freezer during";
const STATE: &str = "state during";
const LINK: &str = "link during";
const PROBE: &str = "probe during the fault";

pub(super) fn write(suite: &SuiteReport, document: &mut Document) {
    let mut columns = windows_by_scenario(suite);
    columns.retain(|same| same.kind == PAUSE || same.kind == PARTITION);
    let tried = |kind| columns.iter().any(|same| same.kind == kind);
    if !tried(PAUSE) || !tried(PARTITION) {
        return;
    }
    document.heading(3, "Why a Pause Is Not a Partition", "pause-and-partition");
    document.paragraph(
        "A paused broker is often called a network partition. To a probe the two look alike: no \
         answer. But in a pause the path is whole and the broker stands still: its kernel goes on \
         acknowledging bytes and accepting connections, nothing is written while it lasts, and after \
         it the broker answers what was waiting and may find that its own sessions have run out. In a \
         partition the broker goes on running without those clients: it serves whoever still \
         reaches it, evicts members that it no longer hears, and may have written records whose \
         acknowledgement never arrived. What was seen from outside:",
    );
    let rows = columns.iter().map(row).collect();
    document.table(
        &[
            "Scenario",
            "Broker's process",
            "Freezer",
            "Path to its clients",
            "Probe",
            "Without acknowledgements",
            "Recovery",
            "Copies in the log",
        ],
        5,
        rows,
    );
}

fn row(same: &Windows<'_>) -> Vec<Text> {
    let seen = |name: &str| {
        let value = same.windows.iter().find_map(|(_, window)| window.evidence.get(name));
        value.map_or_else(|| Text::data(words::NONE), Text::code)
    };
    let outages = same.windows.iter().filter_map(|(_, window)| window.unavailability_us).collect();
    let recoveries: Vec<u64> =
        same.windows.iter().filter_map(|(_, window)| recovery_us(window)).collect();
    let copies: u64 = same.windows.iter().map(|(run, _)| run.verdict.tally.logged_duplicates).sum();
    vec![
        Text::link(same.title, format!("#{}", same.id)),
        seen(STATE),
        seen(FREEZER),
        seen(LINK),
        seen(PROBE),
        Text::data(words::spread(outages)),
        Text::data(words::spread(recoveries)),
        Text::data(words::count(copies)),
    ]
}
