//! Metadata: each `_metadata.json` lists exactly the parts of its folder, as they stand at the final
//! read, with the right topic, partition, offsets, counts, sizes and checksums, and says of itself what
//! its folder says. Nothing else stands in a raw zone.
//!
//! Checksums are those that the reader of the store computed itself, never those that were listed.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, EVIDENCE_MAX, anomalous, count, quoted, seconds};
use super::evidence::foreign;
use super::letters::RESOLUTION_US;
use super::placement::laid_out;
use crate::index::{Index, Part, PartLane};
use streamlake_history::event::{
    BatchPromise, ListedPart, MetadataHead, ObjectRole, ProcessChange, ProcessEnd,
};

/// What a document says of its format.
const FORMAT: (&str, u64) = ("streamlake.raw-zone.metadata", 1);
/// Where the store keeps what the writer said of a part.
const ATTRIBUTE: &str = "x-goog-meta-";

/// So far the store's clock may be from that of the pipeline.
const STORE_CLOCK_US: i64 = 1_000_000;

/// Parts and metadata objects of one folder.
type Folder<'a> = (Vec<&'a Part>, Vec<&'a Part>);

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let mut folders: BTreeMap<(usize, &str), Folder<'_>> = BTreeMap::new();
    let mut strays: Vec<&Part> = Vec::new();
    let mut probes: Vec<&Part> = Vec::new();
    let at_end = |part: &&Part| !part.during_run && laid_out(index, part.zone);
    for part in index.parts.iter().filter(at_end) {
        let folder = (part.zone, part.folder());
        match part.role {
            ObjectRole::Part => folders.entry(folder).or_default().0.push(part),
            ObjectRole::Metadata => folders.entry(folder).or_default().1.push(part),
            ObjectRole::Other if part.place.is_probe() => probes.push(part),
            ObjectRole::Other => strays.push(part),
        }
    }
    let (mut compared, mut checksums) = (0, 0);
    for ((_, folder), (parts, metadata)) in &folders {
        compared += parts.len() as u64;
        checksums += parts.iter().filter(|part| part.crc32.is_some()).count() as u64;
        let problem = match metadata.as_slice() {
            [] => Err("metadata-missing"),
            [one] if one.problem.is_some() => Err("metadata-unreadable"),
            [one] => Ok(differences(index, parts, one)),
            _ => Err("metadata-twice"),
        };
        report(case, folder, parts.len() as u64, problem);
    }
    stray(case, &strays);
    left_behind(index, case, &probes);
    unconditional(index, case);
    listed_early(index, case);
    for part in folders.values().flat_map(|(parts, _)| parts) {
        too_long(index, case, part);
    }
    if compared == 0 {
        case.doubt("no part was seen");
    } else if checksums < compared && index.header.version > 1 {
        case.doubt(format!(
            "the reader of the store computed the checksums of {checksums} of {compared} parts only"
        ));
    }
    case.figure("parts", compared);
    case.figure("parts_summed", checksums);
    case.figure("folders", folders.len() as u64);
    format!("{} in {} compared", count(compared, "part"), count(folders.len() as u64, "folder"))
}

fn stray(case: &mut Case<'_>, strays: &[&Part]) {
    let Some(first) = strays.first() else { return };
    let text = format!(
        "{} in the raw zone that nothing documents: {} of {}",
        count(strays.len() as u64, "object"),
        quoted(&first.name),
        count(first.bytes, "byte")
    );
    let mut finding = anomalous("stray-object", text);
    finding.at_us = Some(first.created_us);
    finding.evidence = strays.iter().take(EVIDENCE_MAX).map(|part| quoted(&part.name)).collect();
    case.find(finding);
}

/// With such an object a consumer tries the store out, and deletes it again; one that was killed may leave
/// it behind, and so may one that the store failed.
fn left_behind(index: &Index, case: &mut Case<'_>, probes: &[&Part]) {
    let promises = &index.header.promises;
    let failed = promises.faults.iter().any(|fault| fault.kind.starts_with("store"));
    let told = !index.rare.processes.is_empty();
    let Some(first) = probes.first().filter(|_| told && !failed && !foreign(&index.header)) else {
        return;
    };
    let orderly = Some(ProcessEnd::Code(0));
    let exits = index.rare.processes.iter().map(|process| &process.fact);
    let exits = exits.filter(|fact| fact.state == ProcessChange::Exited && fact.end != orderly);
    let excused = exits.count();
    if probes.len() <= excused {
        return;
    }
    let text = format!(
        "{} by which consumers try the store out, the first {}; {excused} of the processes ended in \
         disorder",
        count(probes.len() as u64, "object was left of those"),
        quoted(&first.name)
    );
    case.find(anomalous("probe-left-behind", text));
}

/// What is written whatever stands there replaces what another writer put there meanwhile.
fn unconditional(index: &Index, case: &mut Case<'_>) {
    let blind = |part: &&Part| part.unconditional && laid_out(index, part.zone);
    let blind: Vec<&Part> = index.parts.iter().filter(blind).collect();
    let Some(first) = blind.first() else { return };
    let text = format!(
        "{} without a condition, whatever another writer had put there: {} first",
        count(blind.len() as u64, "object was written"),
        quoted(&first.name)
    );
    let mut finding = anomalous("written-without-a-condition", text);
    finding.at_us = Some(first.created_us);
    case.find(finding);
}

/// Whoever reads a document in the middle of a run finds each part that it lists.
fn listed_early(index: &Index, case: &mut Case<'_>) {
    let early = |part: &&Part| !part.absent.is_empty() && laid_out(index, part.zone);
    let documents: Vec<&Part> = index.parts.iter().filter(early).collect();
    let Some(first) = documents.first() else { return };
    let names: BTreeSet<&str> =
        documents.iter().flat_map(|part| &part.absent).map(String::as_str).collect();
    let text = format!(
        "{} listed before it was there: {} in {}",
        count(names.len() as u64, "part was"),
        quoted(&first.absent[0]),
        quoted(&first.name)
    );
    let mut finding = anomalous("listed-before-stored", text);
    finding.at_us = Some(first.created_us);
    finding.evidence = names.into_iter().take(EVIDENCE_MAX).map(quoted).collect();
    case.find(finding);
}

/// A part holds no more than closes it.
fn too_long(index: &Index, case: &mut Case<'_>, part: &Part) {
    let Some(batch) = batch(index, part.zone) else { return };
    let records: u64 = part.lanes.values().map(|lane| lane.records).sum();
    let mut told = Vec::new();
    if records > batch.records {
        told.push(format!("{records} records, and is closed by {}", batch.records));
    }
    if let (Some(before), Some(most)) = (part.before_last_line, batch.bytes)
        && before >= most
    {
        told.push(format!("{before} bytes before its last line, and is closed by {most}"));
    }
    if told.is_empty() {
        return;
    }
    let text = format!("{} holds {}", quoted(&part.name), told.join("; it holds "));
    let mut finding = anomalous("part-too-long", text);
    finding.at_us = Some(part.created_us);
    case.find(finding);
}

/// What closes the parts of a zone, where one group alone writes into it and said so.
fn batch(index: &Index, zone: usize) -> Option<BatchPromise> {
    let [group] = index.zones[zone].groups.as_slice() else { return None };
    index.header.promises.groups.get(*group)?.batch
}

fn report(
    case: &mut Case<'_>,
    folder: &str,
    parts: u64,
    problem: Result<Vec<String>, &'static str>,
) {
    let (anomaly, text, evidence) = match problem {
        Ok(differences) if differences.is_empty() => return,
        Ok(differences) => (
            "metadata-disagrees",
            format!(
                "the metadata of {} disagrees with its parts: {}",
                quoted(folder),
                differences[0]
            ),
            differences,
        ),
        Err(anomaly) => {
            let words = anomaly.replace('-', " ");
            let text = format!("{words} in {} with {}", quoted(folder), count(parts, "part"));
            (anomaly, text, Vec::new())
        }
    };
    let mut finding = anomalous(anomaly, text);
    finding.evidence = evidence;
    case.find(finding);
}

/// All in which a document differs from its folder, each in a sentence.
fn differences(index: &Index, parts: &[&Part], document: &Part) -> Vec<String> {
    let mut told = head(index, document);
    told.extend(outdated(index, parts, document));
    told.extend(ahead(index, document));
    let by_name: BTreeMap<&str, &Part> = parts.iter().map(|part| (&*part.name, *part)).collect();
    let mut listed: BTreeSet<(&str, &str, u32)> = BTreeSet::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let kept = kept_attributes(index);
    for entry in &document.lists {
        let name = quoted(&entry.name);
        let place = format!("{}/{}", entry.topic.escape_debug(), entry.partition);
        if !listed.insert((&entry.name, &entry.topic, entry.partition)) {
            told.push(format!("{name} is listed twice for {place}"));
        }
        names.insert(&entry.name);
        match by_name.get(&*entry.name) {
            None => told.push(format!("{name} is listed and not there")),
            Some(part) => told.extend(entry_differs(index, entry, part)),
        }
    }
    // Whoever looks for a part searches by its number.
    let numbers = || document.lists.iter().filter_map(|entry| part_number(&entry.name));
    if let Some((one, other)) = numbers().zip(numbers().skip(1)).find(|(one, other)| one > other) {
        told.push(format!("part {one} is listed before part {other}"));
    }
    for part in parts {
        if !names.contains(&*part.name) {
            let records: u64 = part.lanes.values().map(|lane| lane.records).sum();
            let (name, records) = (quoted(&part.name), count(records, "record"));
            told.push(format!("{name} with {records} is there and not listed"));
            continue;
        }
        for &lane in part.lanes.keys() {
            let held = &index.lanes[lane];
            if !listed.contains(&(&part.name, &held.topic, held.partition)) {
                told.push(format!(
                    "{} holds records of {} and is not listed for it",
                    quoted(&part.name),
                    index.lane_name(lane)
                ));
            }
        }
        told.extend(attributes(index, part, &kept));
    }
    told.sort();
    told.dedup();
    told
}

/// The number in `…/part-0012.json`.
fn part_number(name: &str) -> Option<u64> {
    let (_, file) = name.rsplit_once('/').unwrap_or(("", name));
    let digits = file.strip_prefix("part-")?.split('.').next()?;
    digits.parse().ok()
}

/// A field that differs: what is listed, what is so.
fn field(what: &str, listed: &dyn std::fmt::Display, is: &dyn std::fmt::Display) -> String {
    format!("{what} listed as {listed}, is {is}")
}

fn entry_differs(index: &Index, entry: &ListedPart, part: &Part) -> Option<String> {
    let name = quoted(&entry.name);
    let named = |lane: &usize| {
        let held = &index.lanes[*lane];
        held.topic == entry.topic && held.partition == entry.partition
    };
    let mut fields = Vec::new();
    match part.lanes.iter().find(|(lane, _)| named(lane)) {
        Some((_, held)) => fields.extend(span(entry, held)),
        None => {
            let place = format!("{}/{}", entry.topic.escape_debug(), entry.partition);
            let held: Vec<String> = part.lanes.keys().map(|&lane| index.lane_name(lane)).collect();
            let held = if held.is_empty() { "empty".to_owned() } else { held.join(" and ") };
            fields.push(field("partition", &place, &held));
        }
    }
    if entry.bytes != part.bytes {
        fields.push(field("bytes", &entry.bytes, &part.bytes));
    }
    if let Some(crc32) = &part.crc32 {
        match &entry.crc32 {
            Some(listed) if listed == crc32 => {}
            Some(listed) => fields.push(field("crc32", &listed.escape_debug(), crc32)),
            None => fields.push(field("crc32", &"nothing", crc32)),
        }
    }
    (!fields.is_empty()).then(|| format!("{name}: {}", fields.join("; ")))
}

fn span(entry: &ListedPart, held: &PartLane) -> Vec<String> {
    let compared = [
        ("first offset", entry.first, held.first),
        ("last offset", entry.last, held.last),
        ("records", entry.records, held.records),
    ];
    let differ = compared.iter().filter(|(_, listed, is)| listed != is);
    differ.map(|(what, listed, is)| field(what, listed, is)).collect()
}

/// What a document says of itself, against its folder.
fn head(index: &Index, document: &Part) -> Vec<String> {
    let Some(head) = &document.head else {
        // Version 1 did not write it down.
        let told = index.header.version < 2 || index.header.run.testbed == "foreign";
        return if told { Vec::new() } else { vec!["it says nothing of itself".to_owned()] };
    };
    let MetadataHead { format, version, dataset, ingestion_date, updated_at } = head;
    let mut told = Vec::new();
    let mut compare = |what: &str, listed: Option<String>, is: Option<String>| {
        if listed != is {
            let show = |text: Option<String>| text.map_or("nothing".to_owned(), |t| quoted(&t));
            told.push(field(what, &show(listed), &show(is)));
        }
    };
    compare("`format`", format.clone(), Some(FORMAT.0.to_owned()));
    compare("`version`", version.map(|n| n.to_string()), Some(FORMAT.1.to_string()));
    compare("`dataset`", dataset.clone(), document.place.dataset.clone());
    let days = document.place.day.and_then(|day| i32::try_from(day).ok());
    let day = days.and_then(chrono::NaiveDate::from_epoch_days).map(|day| day.to_string());
    compare("`ingestion_date`", ingestion_date.clone(), day);
    let instant = |text: &String| chrono::DateTime::parse_from_rfc3339(text).is_ok();
    if !updated_at.as_ref().is_some_and(instant) {
        let shown = quoted(updated_at.as_deref().unwrap_or_default());
        told.push(format!("`updated_at` is {shown}, which is no instant"));
    }
    if let Some(why) = document.place.misfit {
        told.push(format!("the document itself is out of place: {why}"));
    }
    told
}

/// It was put together before it was written, and says so.
fn ahead(index: &Index, document: &Part) -> Option<String> {
    let updated_at = document.head.as_ref()?.updated_at.as_deref()?;
    let updated = chrono::DateTime::parse_from_rfc3339(updated_at).ok()?;
    let since_ms = updated.timestamp_millis().saturating_sub(index.started_at_ms?);
    let (low, _) = index.clock_of_processes();
    let earliest = since_ms.saturating_mul(1000).saturating_add(low);
    let earliest = earliest.saturating_sub(RESOLUTION_US).saturating_sub(STORE_CLOCK_US);
    (earliest > document.created_us.cast_signed()).then(|| {
        format!(
            "`updated_at` is {}, {} after the document was created",
            quoted(updated_at),
            seconds(earliest.unsigned_abs().saturating_sub(document.created_us))
        )
    })
}

/// It was written after the newest part that it lists, and says so.
fn outdated(index: &Index, parts: &[&Part], document: &Part) -> Option<String> {
    let updated_at = document.head.as_ref()?.updated_at.as_deref()?;
    let updated = chrono::DateTime::parse_from_rfc3339(updated_at).ok()?;
    let since_ms = updated.timestamp_millis().saturating_sub(index.started_at_ms?);
    let lists = |part: &&&Part| document.lists.iter().any(|entry| entry.name == part.name);
    let newest = parts.iter().filter(lists).max_by_key(|part| part.created_us)?;
    let (_, high) = index.clock_of_processes();
    let latest = since_ms.saturating_mul(1000).saturating_add(high).saturating_add(RESOLUTION_US);
    // The store's clock is another one.
    let latest = latest.saturating_add(STORE_CLOCK_US);
    (latest < newest.created_us.cast_signed()).then(|| {
        format!(
            "`updated_at` is {}, {} before {}, which it lists, was created",
            quoted(updated_at),
            seconds(newest.created_us.saturating_sub(latest.max(0).unsigned_abs())),
            quoted(&newest.name)
        )
    })
}

/// The media type that is documented for a part, by what its name ends with.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "gz")) => "application/gzip",
        Some((_, "zst")) => "application/zstd",
        _ => "application/x-ndjson",
    }
}

/// What the store keeps beside any part of the run.
fn kept_attributes(index: &Index) -> BTreeSet<&str> {
    let parts = index.parts.iter().filter(|part| {
        part.role == ObjectRole::Part && !part.during_run && laid_out(index, part.zone)
    });
    let all = parts.flat_map(|part| part.attributes.keys()).map(String::as_str);
    all.filter(|kept| *kept == "content-type" || kept.starts_with(ATTRIBUTE)).collect()
}

/// What the store keeps beside a part, where it keeps anything: of one part what it keeps of others.
fn attributes(index: &Index, part: &Part, kept: &BTreeSet<&str>) -> Vec<String> {
    let mut told = Vec::new();
    let name = quoted(&part.name);
    for absent in kept.iter().filter(|kept| !part.attributes.contains_key(**kept)) {
        told.push(format!("{name}: has no attribute {absent}, which other parts have"));
    }
    let only = part.lanes.iter().next().filter(|_| part.lanes.len() == 1);
    if let Some(kept) = part.attributes.get("content-type") {
        let is = media_type(&part.name);
        if kept != is {
            told.push(format!("{name}: its media type is {}, its name says {is}", quoted(kept)));
        }
    }
    // A client that is told so unpacks what its reader unpacks once more.
    if let Some(kept) = part.attributes.get("content-encoding").filter(|kept| *kept != "identity") {
        told.push(format!(
            "{name}: its content encoding is {}, and none is documented",
            quoted(kept)
        ));
    }
    let mut is: Vec<(&str, String)> = Vec::new();
    is.extend(part.crc32.as_ref().map(|crc32| ("crc32", crc32.clone())));
    if let Some((&lane, held)) = only {
        is.push(("records", held.records.to_string()));
        is.push(("partition", index.lanes[lane].partition.to_string()));
        is.push(("first-offset", held.first.to_string()));
        is.push(("last-offset", held.last.to_string()));
    }
    for (what, is) in is {
        if let Some(kept) = part.attributes.get(&format!("{ATTRIBUTE}{what}"))
            && *kept != is
        {
            told.push(format!("{name}: attribute {what} is {}, the part's is {is}", quoted(kept)));
        }
    }
    told
}
