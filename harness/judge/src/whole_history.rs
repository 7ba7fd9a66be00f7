//! Whether the history is whole. It never fails: what is missing makes the run inconclusive.
//!
//! Every source of evidence that the promises ask for is looked at here, also where no other check
//! needs it.

use super::case::{Case, count, quoted};
use super::evidence::{Ledger, Need, unmeasured};
use crate::index::{Bit, Index};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let promises = &index.header.promises;
    let (promised, invoked) = (promises.operations, index.ops.count(Bit::Invoked));
    // First: what the harness itself met explains what else is missing.
    for note in index.rare.notes.iter().filter(|note| note.fact.0 == "error") {
        case.doubt(format!("the harness met an error: {}", quoted(&note.fact.1)));
    }
    if let Some(step) = super::fault_bit::unplanned(index) {
        case.doubt(step);
    }
    if let Some(clocks) = unmeasured(index) {
        case.doubt(clocks);
    }
    let ledger = Ledger::of(index);
    for need in Need::ALL {
        // Generations are asked for by those who promised to keep them, deliveries by their parts.
        if matches!(need, Need::Generations | Need::Sightings | Need::Configuration) {
            continue;
        }
        ledger.doubts(need).iter().for_each(|doubt| case.doubt(doubt.clone()));
    }
    if promised == 0 && promises.source.is_none() && promises.groups.is_empty() {
        case.doubt("neither a producer, nor a group, nor a database is under test");
    }
    case.figure("invoked_operations", invoked);
    case.figure("notes", index.rare.notes.len() as u64);
    for (kind, number) in &index.foreign {
        case.figure(&format!("unpromised_{}", kind.replace(' ', "_")), *number);
    }
    let begun = match &promises.source {
        Some(source) => {
            let ended = count(index.rare.source.transactions.len() as u64, "transaction");
            format!("{ended} ended, {} were to be committed", source.transactions)
        }
        None => format!("{invoked} of {} invoked", count(promised, "operation")),
    };
    let logs = index.lanes.iter().filter(|lane| lane.complete()).count() as u64;
    format!("{begun}, {} read", count(logs, "log"))
}
