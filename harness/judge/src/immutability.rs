//! Immutability: no part was ever replaced, shrunk or removed, nor anything else in a raw zone but
//! `_metadata.json`.
//!
//! A replaced object shows only to somebody who saw it before: what was sighted while the run went on,
//! by the watch or in the store's journal, is compared with what stands there at the end. A part without
//! a sighting is a doubt, and so is a watch that saw some parts and not others: it ended too early.

use std::collections::BTreeMap;

use super::case::{Case, anomalous, count, quoted};
use super::placement::is_kept;
use crate::index::{Index, Part};
use streamlake_history::event::ObjectRole;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let mut sightings: BTreeMap<(usize, &str), Vec<&Part>> = BTreeMap::new();
    let lasting = |part: &&Part| match part.role {
        ObjectRole::Part => true,
        ObjectRole::Metadata => false,
        ObjectRole::Other => !part.place.is_probe(),
    };
    let kept = |part: &&Part| is_kept(index, part.zone);
    for part in index.parts.iter().filter(lasting).filter(kept) {
        sightings.entry((part.zone, &part.name)).or_default().push(part);
    }
    let total = sightings.len() as u64;
    let (mut watched, mut unwatched) = (0, Vec::new());
    let any_watch = index.parts.iter().any(|part| part.by_watch);
    for ((zone, name), seen) in &sightings {
        let early = seen.iter().any(|part| part.during_run);
        let late = seen.iter().any(|part| !part.during_run);
        watched += u64::from(early && late);
        if early && late && any_watch && !seen.iter().any(|part| part.by_watch) {
            unwatched.push(*name);
        }
        if early && !late && !index.zones[*zone].reads.is_empty() {
            let what = word(seen[0]);
            let mut finding = anomalous(
                "part-vanished",
                format!("{what} {} was there during the run and is gone at the end", quoted(name)),
            );
            finding.at_us = seen.first().map(|part| part.created_us);
            case.find(finding);
        }
        changed(case, name, seen);
    }
    if let Some(first) = unwatched.first() {
        case.doubt(format!(
            "the watch of the store did not see {} of {total} objects, it had ended before: {}",
            unwatched.len(),
            quoted(first)
        ));
    }
    case.figure("parts", total);
    case.figure("parts_watched", watched);
    format!("{watched} of {} seen during the run and unchanged at its end", count(total, "part"))
}

fn word(part: &Part) -> &'static str {
    if part.role == ObjectRole::Part { "part" } else { "object" }
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
                "{} {} was replaced: generation {} of {} became {} of {}",
                word(a),
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
