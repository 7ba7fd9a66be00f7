//! Metadata: each `_metadata.json` lists exactly the parts of its folder, with their ranges, counts
//! and sizes, as they stand at the final read.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, anomalous, count, quoted};
use crate::history::event::{ListedPart, ObjectRole};
use crate::history::index::{Index, Part};

/// Parts and metadata objects of one folder.
type Folder<'a> = (Vec<&'a Part>, Vec<&'a Part>);

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let mut folders: BTreeMap<(usize, &str), Folder<'_>> = BTreeMap::new();
    for part in index.parts.iter().filter(|part| !part.during_run) {
        let folder = folders.entry((part.zone, part.folder())).or_default();
        match part.role {
            ObjectRole::Part => folder.0.push(part),
            ObjectRole::Metadata => folder.1.push(part),
            ObjectRole::Other => {}
        }
    }
    let mut compared = 0;
    for ((_, folder), (parts, metadata)) in &folders {
        compared += parts.len() as u64;
        let problem = match metadata.as_slice() {
            _ if parts.is_empty() && metadata.is_empty() => continue,
            [] => Err("metadata-missing".to_owned()),
            [one] if one.problem.is_some() => Err("metadata-unreadable".to_owned()),
            [one] => Ok(differences(index, parts, &one.lists)),
            _ => Err("metadata-twice".to_owned()),
        };
        report(case, folder, parts.len() as u64, problem);
    }
    if compared == 0 {
        case.doubt("no part was seen");
    }
    case.figure("parts", compared);
    case.figure("folders", folders.len() as u64);
    format!("{} in {} compared", count(compared, "part"), count(folders.len() as u64, "folder"))
}

fn report(case: &mut Case<'_>, folder: &str, parts: u64, problem: Result<Vec<String>, String>) {
    let (anomaly, text, evidence) = match problem {
        Ok(differences) if differences.is_empty() => return,
        Ok(differences) => (
            "metadata-disagrees".to_owned(),
            format!(
                "the metadata of {} disagrees with its parts: {}",
                quoted(folder),
                differences[0]
            ),
            differences,
        ),
        Err(anomaly) => {
            let words = anomaly.replace('-', " ");
            (
                anomaly,
                format!("{words} in {} with {}", quoted(folder), count(parts, "part")),
                Vec::new(),
            )
        }
    };
    let mut finding = anomalous(&anomaly, text);
    finding.evidence = evidence;
    case.find(finding);
}

/// First offset, last offset, records, bytes of the part.
type Entry = (u64, u64, u64, u64);

fn differences(index: &Index, parts: &[&Part], lists: &[ListedPart]) -> Vec<String> {
    let mut real: BTreeMap<(&str, &str, u32), Entry> = BTreeMap::new();
    for part in parts {
        for (&lane, span) in &part.lanes {
            let lane = &index.lanes[lane];
            let entry = (span.first, span.last, span.records, part.bytes);
            real.insert((&part.name, &lane.topic, lane.partition), entry);
        }
    }
    let mut differences = Vec::new();
    let mut listed: BTreeSet<(&str, &str, u32)> = BTreeSet::new();
    for entry in lists {
        let key = (entry.name.as_str(), entry.topic.as_str(), entry.partition);
        let told = (entry.first, entry.last, entry.records, entry.bytes);
        let name = quoted(&entry.name);
        let place = format!("{name} {}/{}", entry.topic.escape_debug(), entry.partition);
        if !listed.insert(key) {
            differences.push(format!("{place} is listed twice"));
        }
        match real.get(&key) {
            None => differences.push(format!("{place} is listed and not there")),
            Some(seen) if *seen != told => differences.push(format!(
                "{place}: listed as {}–{}, {}, {}; is {}–{}, {}, {}",
                told.0,
                told.1,
                count(told.2, "record"),
                count(told.3, "byte"),
                seen.0,
                seen.1,
                count(seen.2, "record"),
                count(seen.3, "byte"),
            )),
            Some(_) => {}
        }
    }
    for (name, topic, partition) in real.keys().filter(|key| !listed.contains(*key)) {
        let place = format!("{} {}/{partition}", quoted(name), topic.escape_debug());
        differences.push(format!("{place} is there and not listed"));
    }
    differences
}
