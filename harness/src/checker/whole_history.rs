//! Whether the history is whole. It never fails: what is missing makes the run inconclusive.

use super::case::{Case, count, quoted, spelled};
use super::evidence::{dead_letters_read, logs_read};
use crate::history::event::{Evidence, ObjectRole};
use crate::history::index::{Bit, Index, Lane, RangeSet};

const PHASES: [&str; 5] = ["load", "heal", "recover", "final-read", "done"];

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let (promised, invoked) = (index.header.promises.operations, index.ops.count(Bit::Invoked));
    // First: what the harness itself met explains what else is missing.
    for note in index.rare.notes.iter().filter(|note| note.fact.0 == "error") {
        case.doubt(format!("the harness met an error: {}", quoted(&note.fact.1)));
    }
    let foreign = index.header.run.testbed == "foreign";
    if index.vouches(Evidence::Receipts) {
        if invoked < promised {
            case.doubt(format!("{invoked} of {promised} promised operations were invoked"));
        }
        if invoked == 0 && index.header.promises.source.is_none() {
            case.doubt("no operation was invoked");
        }
    }
    if index.vouches(Evidence::Log) {
        logs_read(index, case);
        unread(index, case);
    } else {
        case.doubt("the testbed cannot read the log back");
    }
    stores(index, case);
    if !foreign {
        phases(index, case);
    }
    case.figure("invoked_operations", invoked);
    case.figure("notes", index.rare.notes.len() as u64);
    for (kind, number) in &index.foreign {
        case.figure(&format!("unpromised_{}", kind.replace(' ', "_")), *number);
    }
    let begun = match &index.header.promises.source {
        Some(source) => {
            let ended = count(index.rare.source.transactions.len() as u64, "transaction");
            format!("{ended} ended, {} were to be committed", source.transactions)
        }
        None => format!("{invoked} of {} invoked", count(promised, "operation")),
    };
    let logs = index.lanes.iter().filter(|lane| lane.complete()).count() as u64;
    format!("{begun}, {} read", count(logs, "log"))
}

/// Between its ends a log that was read holds a record at each offset, or its reader said that there
/// is none; anything else was passed over.
fn unread(index: &Index, case: &mut Case<'_>) {
    for (number, lane) in index.promised_lanes().filter(|(_, lane)| lane.complete()) {
        let span = RangeSet::of([(lane.low(), u64::MAX)]).below(lane.high().unwrap_or(0));
        let unread = span.minus(&lane.holes()).minus(&lane.logged()).minus(&told_of(index, lane));
        if !unread.is_empty() {
            case.doubt(format!(
                "offsets of {} within its log hold no record, and the reader did not say why: {}",
                index.lane_name(number),
                spelled(&unread)
            ));
        }
    }
}

/// Dead letters and change events, which have facts of their own.
fn told_of(index: &Index, lane: &Lane) -> RangeSet {
    let here = |topic: &str, partition: u32| topic == lane.topic && partition == lane.partition;
    let letters = index.dead.iter().map(|dead| &dead.letter);
    let letters = letters.filter(|fact| here(&fact.topic, fact.partition)).map(|fact| fact.offset);
    let changes = index.rare.source.events.iter();
    let changes = changes.filter(|fact| here(&fact.topic, fact.partition)).map(|fact| fact.offset);
    RangeSet::of(letters.chain(changes).map(|offset| (offset, offset)))
}

fn phases(index: &Index, case: &mut Case<'_>) {
    let reached = |name: &&str| index.rare.phases.iter().any(|phase| phase.fact == **name);
    let absent: Vec<&str> = PHASES.into_iter().filter(|name| !reached(name)).collect();
    if !absent.is_empty() {
        case.doubt(format!("phases were not reached: {}", absent.join(", ")));
    }
}

fn stores(index: &Index, case: &mut Case<'_>) {
    for (number, zone) in index.zones.iter().enumerate() {
        let name = quoted(&zone.name);
        if !index.vouches(Evidence::Objects) || zone.reads.is_empty() {
            case.doubt(format!("the raw zone {name} was not read to its end"));
            continue;
        }
        let is_part = |p: &&crate::history::index::Part| {
            p.zone == number && !p.during_run && p.role == ObjectRole::Part
        };
        let reported = index.parts.iter().filter(is_part).count() as u64;
        if zone.reads.iter().any(|&parts| u64::from(parts) != reported) {
            case.doubt(format!(
                "the reader of {name} saw {} parts and reported {reported}",
                zone.reads.iter().max().unwrap_or(&0)
            ));
        }
    }
    for (_, promise, _) in index.promised_groups() {
        if let Some(topic) = &promise.dead_letter_topic
            && !dead_letters_read(index, topic)
        {
            case.doubt(format!("the dead-letter topic {} was not read to its end", quoted(topic)));
        }
    }
}
