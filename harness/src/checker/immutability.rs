//! Immutability: no part was ever replaced, shrunk or removed.
//!
//! A replaced object shows only to somebody who saw it before: parts that were sighted while the run
//! went on are compared with what stands there at the end. Without a sighting nothing is concluded.

use std::collections::BTreeMap;

use super::case::{Case, anomalous, count, quoted};
use crate::history::event::ObjectRole;
use crate::history::index::{Index, Part};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let mut sightings: BTreeMap<(usize, &str), Vec<&Part>> = BTreeMap::new();
    for part in index.parts.iter().filter(|part| part.role == ObjectRole::Part) {
        sightings.entry((part.zone, &part.name)).or_default().push(part);
    }
    let total = sightings.len() as u64;
    let mut watched = 0;
    for ((zone, name), seen) in &sightings {
        let early = seen.iter().any(|part| part.during_run);
        let late = seen.iter().any(|part| !part.during_run);
        watched += u64::from(early && late);
        if early && !late && !index.zones[*zone].reads.is_empty() {
            let mut finding = anomalous(
                "part-vanished",
                format!("part {} was there during the run and is gone at the end", quoted(name)),
            );
            finding.at_us = seen.first().map(|part| part.created_us);
            case.find(finding);
        }
        changed(case, name, seen);
    }
    case.figure("parts", total);
    case.figure("parts_watched", watched);
    format!("{watched} of {} seen during the run and unchanged at its end", count(total, "part"))
}

/// Sightings come by time of creation.
fn changed(case: &mut Case<'_>, name: &str, seen: &[&Part]) {
    for pair in seen.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let same_content = a.content.is_none() || b.content.is_none() || a.content == b.content;
        // Two observers may stamp one generation a little apart; a store without generations has
        // nothing but the time of creation.
        let same_generation = a.generation == b.generation
            && (!a.generation.is_empty() || a.created_us == b.created_us);
        let same = same_generation && a.bytes == b.bytes && same_content;
        if same {
            continue;
        }
        let anomaly = if b.bytes < a.bytes { "part-shrunk" } else { "part-replaced" };
        let mut finding = anomalous(
            anomaly,
            format!(
                "part {} was replaced: generation {} of {} became {} of {}",
                quoted(name),
                quoted(&a.generation),
                count(a.bytes, "byte"),
                quoted(&b.generation),
                count(b.bytes, "byte"),
            ),
        );
        finding.at_us = Some(b.created_us);
        case.find(finding);
    }
}
