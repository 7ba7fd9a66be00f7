//! Metadata: each `_metadata.json` lists exactly the parts of its folder, as they stand at the final
//! read, with the right topic, partition, offsets, counts, sizes and checksums, and says of itself what
//! its folder says. Nothing else stands in a raw zone.
//!
//! Checksums are those that the reader of the store computed itself, never those that were listed.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, EVIDENCE_MAX, anomalous, count, quoted};
use super::placement::laid_out;
use crate::index::{Index, Part, PartLane};
use streamlake_history::event::{ListedPart, MetadataHead, ObjectRole};

/// What a document says of its format.
const FORMAT: (&str, u64) = ("streamlake.raw-zone.metadata", 1);
/// Where the store keeps what the writer said of a part.
const ATTRIBUTE: &str = "x-goog-meta-";

/// Parts and metadata objects of one folder.
type Folder<'a> = (Vec<&'a Part>, Vec<&'a Part>);

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let mut folders: BTreeMap<(usize, &str), Folder<'_>> = BTreeMap::new();
    let mut strays: Vec<&Part> = Vec::new();
    let at_end = |part: &&Part| !part.during_run && laid_out(index, part.zone);
    for part in index.parts.iter().filter(at_end) {
        let folder = (part.zone, part.folder());
        match part.role {
            ObjectRole::Part => folders.entry(folder).or_default().0.push(part),
            ObjectRole::Metadata => folders.entry(folder).or_default().1.push(part),
            ObjectRole::Other if part.place.is_probe() => {}
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
    let by_name: BTreeMap<&str, &Part> = parts.iter().map(|part| (&*part.name, *part)).collect();
    let mut listed: BTreeSet<(&str, &str, u32)> = BTreeSet::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
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
        told.extend(attributes(index, part));
    }
    told.sort();
    told.dedup();
    told
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

/// What the store keeps beside a part, where it keeps anything.
fn attributes(index: &Index, part: &Part) -> Vec<String> {
    let mut told = Vec::new();
    let name = quoted(&part.name);
    let only = part.lanes.iter().next().filter(|_| part.lanes.len() == 1);
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
