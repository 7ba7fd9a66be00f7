//! Numbers that the pipeline gives about itself: its audit's, printed when all is over, and its metrics, asked
//! for while it runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use streamlake_history::Recorder;
use streamlake_history::event::{Fact, ReportSource, SelfReport, TotalsReport};

/// What of the metrics is about one partition: name in the metrics, and ours.
const GAUGES: [(&str, &str); 6] = [
    ("streamlake_committed_offset", "committed"),
    ("streamlake_durable_offset", "durable"),
    ("streamlake_end_offset", "end"),
    ("streamlake_fetch_unanswered", "fetch_unanswered"),
    ("streamlake_lag_records", "lag"),
    ("streamlake_position_offset", "position"),
];

/// What of the metrics a process counts since it was started.
const COUNTERS: [(&str, &str); 4] = [
    ("streamlake_bytes_stored_total", "bytes"),
    ("streamlake_dead_letters_total", "dead_letters"),
    ("streamlake_parts_stored_total", "parts"),
    ("streamlake_records_stored_total", "records"),
];

/// What the audit prints, as far as its numbers go.
#[derive(Deserialize)]
struct Audit {
    topic: String,
    partitions: Vec<Partition>,
    parts: Parts,
}

#[derive(Deserialize)]
struct Parts {
    count: i64,
    bytes: i64,
}

#[derive(Deserialize)]
struct Partition {
    partition: u32,
    #[serde(flatten)]
    numbers: BTreeMap<String, serde_json::Value>,
}

/// Records the numbers of an audit that has ended, from the file that it wrote to.
pub(super) fn of_audit(process: &str, group: &str, log: &Path, recorder: &Recorder) {
    let written = std::fs::read_to_string(log).unwrap_or_default();
    // Its log goes there, too.
    let mut lines = written.lines().filter(|line| line.starts_with('{'));
    // One that says nothing leaves the check without evidence.
    let Some(audit) = lines.find_map(|line| serde_json::from_str::<Audit>(line).ok()) else {
        return;
    };
    let found = [("parts", audit.parts.count), ("part_bytes", audit.parts.bytes)];
    let totals = TotalsReport {
        process: process.to_owned(),
        source: ReportSource::Audit,
        group: group.to_owned(),
        numbers: found.map(|(name, number)| (name.to_owned(), number)).into(),
    };
    recorder.record(process, Fact::Totals(totals));
    for told in audit.partitions {
        let numbers = told.numbers.into_iter();
        let numbers = numbers.filter_map(|(name, value)| Some((name, value.as_i64()?))).collect();
        let fact = SelfReport {
            process: process.to_owned(),
            source: ReportSource::Audit,
            group: group.to_owned(),
            topic: audit.topic.clone(),
            partition: told.partition,
            numbers,
        };
        recorder.record(process, Fact::SelfReport(fact));
    }
}

/// The numbers of each partition in a page of metrics.
pub(super) fn of_metrics(process: &str, page: &str) -> Vec<SelfReport> {
    let mut known: BTreeMap<(&str, &str, u32), BTreeMap<String, i64>> = BTreeMap::new();
    for line in page.lines() {
        let Some((name, labels, value)) = gauge(line) else { continue };
        let Some((_, ours)) = GAUGES.iter().find(|(gauge, _)| *gauge == name) else { continue };
        let place = (labels.get("group"), labels.get("topic"), labels.get("partition"));
        let (Some(group), Some(topic), Some(partition)) = place else { continue };
        let Ok(partition) = partition.parse() else { continue };
        known.entry((group, topic, partition)).or_default().insert((*ours).to_owned(), value);
    }
    let report = |((group, topic, partition), numbers): ((&str, &str, u32), _)| SelfReport {
        process: process.to_owned(),
        source: ReportSource::Metrics,
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
        numbers,
    };
    known.into_iter().map(report).collect()
}

/// The counters in a page of metrics; none if it was not read.
pub(super) fn totals_of_metrics(process: &str, group: &str, page: &str) -> Option<TotalsReport> {
    let mut numbers: BTreeMap<String, i64> = BTreeMap::new();
    for (name, _, value) in page.lines().filter_map(gauge) {
        if let Some((_, ours)) = COUNTERS.iter().find(|(counter, _)| *counter == name) {
            *numbers.entry((*ours).to_owned()).or_default() += value;
        }
    }
    (!numbers.is_empty()).then(|| TotalsReport {
        process: process.to_owned(),
        source: ReportSource::Metrics,
        group: group.to_owned(),
        numbers,
    })
}

/// `name{label="value",…} number`. No label of these gauges holds a quotation mark.
fn gauge(line: &str) -> Option<(&str, BTreeMap<&str, &str>, i64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    let pairs = labels.split("\",").filter_map(|pair| pair.split_once("=\""));
    let labels = pairs.map(|(name, value)| (name, value.trim_end_matches('"'))).collect();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "offsets and counts, which are whole numbers"
    )]
    let value = value.trim().parse::<f64>().ok()?.round() as i64;
    Some((name, labels, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_of_metrics_is_read_by_partition() {
        let page = "# TYPE streamlake_lag_records gauge\n\
            streamlake_lag_records{topic=\"a.b\",group=\"g, \",partition=\"2\"} 17\n\
            streamlake_end_offset{topic=\"a.b\",group=\"g, \",partition=\"2\"} 40\n\
            streamlake_end_offset{topic=\"a.b\",group=\"g, \",partition=\"0\"} 3\n\
            streamlake_held_bytes{topic=\"a.b\",group=\"g, \",member=\"0\"} 5\n\
            streamlake_lag_records{topic=\"a.b\",gro\n";
        let counters = "streamlake_parts_stored_total{topic=\"a\"} 2\n\
            streamlake_parts_stored_total{topic=\"b\"} 3\nstreamlake_parts_stored_total 9\n";
        let totals = totals_of_metrics("consumer-1", "g", counters).unwrap();
        assert_eq!(totals.numbers, BTreeMap::from([("parts".to_owned(), 5)]));
        assert_eq!(totals_of_metrics("consumer-1", "g", page), None);
        let told = of_metrics("consumer-1", page);
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].partition, told[0].numbers["end"]), (0, 3));
        assert_eq!((told[1].group.as_str(), told[1].topic.as_str()), ("g, ", "a.b"));
        assert_eq!(
            told[1].numbers,
            BTreeMap::from([("end".to_owned(), 40), ("lag".to_owned(), 17)])
        );
    }
}
