//! Configuration: what the promises rest on was read back from the running parts, not copied from
//! the scenario.
//!
//! Clients report under their own names; those of librdkafka and of Java are both known.

use super::case::{Case, anomalous, quoted};
use crate::history::index::Index;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let promises = &index.header.promises;
    let mut read: Vec<&str> = index.rare.configuration.iter().map(|r| r.fact.of.as_str()).collect();
    read.sort_unstable();
    read.dedup();
    if promises.operations > 0 {
        demand(index, case, "producer", &["enable.idempotence"], &promises.idempotent.to_string());
        if let Some(partitioner) = &promises.partitioner {
            demand(index, case, "producer", &["partitioner"], partitioner);
        }
        if promises.idempotent {
            demand(index, case, "producer", &["acks", "request.required.acks"], "all");
        }
    }
    if promises.groups.iter().any(|group| group.raw_zone.is_some()) {
        demand(index, case, "consumer", &["enable.auto.commit"], "false");
    }
    let properties: usize = index.rare.configuration.iter().map(|r| r.fact.properties.len()).sum();
    case.figure("parts_read", read.len() as u64);
    case.figure("properties_read", properties as u64);
    format!("{properties} properties read back from {}", read.join(", ").escape_debug())
}

/// Every part of a kind says what is promised; none that says anything is a doubt.
fn demand(index: &Index, case: &mut Case<'_>, kind: &str, names: &[&str], promised: &str) {
    let mut heard = false;
    for read in index.rare.configuration.iter().filter(|r| r.fact.of.starts_with(kind)) {
        for (name, value) in &read.fact.properties {
            if !names.contains(&name.as_str()) {
                continue;
            }
            heard = true;
            if !same(value, promised) {
                let text = format!(
                    "{} runs with {name} = {}, promised is {promised}",
                    quoted(&read.fact.of),
                    quoted(value)
                );
                let mut finding = anomalous("configuration-differs", text);
                finding.at_us = Some(read.t_us);
                case.find(finding);
            }
        }
    }
    if !heard {
        case.doubt(format!("{} of the {kind} was not read back", names[0]));
    }
}

fn same(value: &str, promised: &str) -> bool {
    let plain = |text: &str| match text.to_ascii_lowercase().as_str() {
        "-1" => "all".to_owned(),
        other => other.to_owned(),
    };
    plain(value) == plain(promised)
}
