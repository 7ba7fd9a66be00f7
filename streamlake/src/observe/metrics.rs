//! Prometheus metrics. The names are an interface: dashboards and alerts live on them.

use super::health::{Progress, Reader};
use crate::error::{Error, Result};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use std::time::Duration;

/// A gauge that was not set for this long is gone.
const GAUGES_END_AFTER: Duration = Duration::from_secs(10);

/// Installs the process's recorder.
pub fn install() -> Result<PrometheusHandle> {
    let buckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
    let name = Matcher::Full("streamlake_upload_seconds".into());
    // Gauges are set once a second. Those of a partition that was given up end with it: two instances
    // must not both report the lag of one partition.
    let builder = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE, Some(GAUGES_END_AFTER))
        .set_buckets_for_metric(name, &buckets);
    let handle = builder
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|err| Error::Config(format!("the metrics cannot be installed: {err}")))?;
    describe_counter!(
        "streamlake_records_stored_total",
        "Records that became durable in the raw zone"
    );
    describe_counter!("streamlake_bytes_stored_total", "Bytes of part files that became durable");
    describe_counter!("streamlake_parts_stored_total", "Part files that became durable");
    describe_counter!(
        "streamlake_part_number_collisions_total",
        "Part numbers found taken by others"
    );
    describe_counter!("streamlake_retries_total", "Attempts that failed and were repeated");
    describe_counter!(
        "streamlake_dead_letters_total",
        "Records acknowledged by the dead-letter topic"
    );
    describe_counter!("streamlake_rebalances_total", "Assignments and revocations");
    describe_counter!("streamlake_commits_total", "Commit requests by outcome");
    describe_counter!(
        "streamlake_metadata_refused_total",
        "Attempts to write a _metadata.json that were given up for now"
    );
    describe_counter!(
        "streamlake_retaken_partitions_total",
        "Partitions taken on again because nothing came of them"
    );
    describe_counter!(
        "streamlake_skipped_offsets_total",
        "Offsets that the log no longer held when they were due"
    );
    describe_counter!(
        "streamlake_offsets_without_record_total",
        "Offsets between two records that held none: marks of transactions, aborted records, compaction"
    );
    describe_gauge!("streamlake_lag_records", "Last stable offset minus commit frontier");
    describe_gauge!("streamlake_position_offset", "Next offset to be read");
    describe_gauge!("streamlake_durable_offset", "Commit frontier: everything below is durable");
    describe_gauge!("streamlake_committed_offset", "Offset confirmed by the broker");
    describe_gauge!(
        "streamlake_end_offset",
        "Where the records that may be read end (last stable offset), as last seen"
    );
    describe_gauge!(
        "streamlake_fetch_unanswered",
        "1 while the fetches of a partition are refused or not answered, so that its end is not known"
    );
    describe_gauge!(
        "streamlake_records_behind_open_transaction",
        "Offsets that may not be read before a transaction ends that is still open"
    );
    describe_gauge!("streamlake_held_bytes", "Bytes read and not yet durable");
    describe_gauge!("streamlake_uploads_in_flight", "Part files being uploaded");
    describe_gauge!("streamlake_paused", "1 while fetching is paused for lack of room");
    describe_histogram!(
        "streamlake_upload_seconds",
        "From the first request for a part to its answer"
    );
    Ok(handle)
}

pub(crate) fn stored(topic: &str, records: u64, bytes: usize, collisions: u32, took: Duration) {
    let topic = topic.to_owned();
    counter!("streamlake_records_stored_total", "topic" => topic.clone()).increment(records);
    counter!("streamlake_bytes_stored_total", "topic" => topic.clone()).increment(bytes as u64);
    counter!("streamlake_parts_stored_total", "topic" => topic.clone()).increment(1);
    counter!("streamlake_part_number_collisions_total", "topic" => topic.clone())
        .increment(u64::from(collisions));
    histogram!("streamlake_upload_seconds", "topic" => topic).record(took);
}

pub(crate) fn retried(what: &'static str) {
    counter!("streamlake_retries_total", "what" => what).increment(1);
}

pub(crate) fn dead_lettered(topic: &str) {
    counter!("streamlake_dead_letters_total", "topic" => topic.to_owned()).increment(1);
}

pub(crate) fn rebalanced(topic: &str, kind: &'static str) {
    counter!("streamlake_rebalances_total", "topic" => topic.to_owned(), "kind" => kind)
        .increment(1);
}

pub(crate) fn metadata_refused(dataset: &str) {
    counter!("streamlake_metadata_refused_total", "dataset" => dataset.to_owned()).increment(1);
}

pub(crate) fn retaken(topic: &str) {
    counter!("streamlake_retaken_partitions_total", "topic" => topic.to_owned()).increment(1);
}

pub(crate) fn skipped(topic: &str, offsets: i64) {
    counter!("streamlake_skipped_offsets_total", "topic" => topic.to_owned())
        .increment(offsets.unsigned_abs());
}

pub(crate) fn without_record(topic: &str, offsets: i64) {
    counter!("streamlake_offsets_without_record_total", "topic" => topic.to_owned())
        .increment(offsets.unsigned_abs());
}

pub(crate) fn committed(topic: &str, ok: bool) {
    let outcome = if ok { "ok" } else { "failed" };
    counter!("streamlake_commits_total", "topic" => topic.to_owned(), "outcome" => outcome)
        .increment(1);
}

/// What one of a group's members holds.
pub(crate) fn held((reader, member): (&Reader, usize), bytes: usize, uploads: usize, paused: bool) {
    let set = |name: &'static str, value: f64| {
        let Reader { topic, group } = reader.clone();
        let labels = [("topic", topic), ("group", group), ("member", member.to_string())];
        gauge!(name, &labels).set(value);
    };
    set("streamlake_held_bytes", bytes as f64);
    set("streamlake_uploads_in_flight", uploads as f64);
    set("streamlake_paused", f64::from(u8::from(paused)));
}

pub(crate) fn partition(reader: &Reader, number: i32, progress: &Progress) {
    let set = |name: &'static str, value: Option<i64>| {
        if let Some(value) = value {
            let Reader { topic, group } = reader.clone();
            let labels = [("topic", topic), ("group", group), ("partition", number.to_string())];
            gauge!(name, &labels).set(value as f64);
        }
    };
    // What is not answered has an end that nobody knows: that nothing waits would be a guess. What is known
    // to wait goes on waiting.
    set("streamlake_lag_records", progress.lag().filter(|lag| progress.answered || *lag > 0));
    set("streamlake_fetch_unanswered", Some(i64::from(!progress.answered)));
    set("streamlake_position_offset", progress.position);
    set("streamlake_durable_offset", progress.durable);
    set("streamlake_committed_offset", progress.committed);
    set("streamlake_end_offset", progress.end_seen());
}

pub(crate) fn behind_open_transaction(reader: &Reader, number: i32, offsets: i64) {
    let Reader { topic, group } = reader.clone();
    let labels = [("topic", topic), ("group", group), ("partition", number.to_string())];
    gauge!("streamlake_records_behind_open_transaction", &labels).set(offsets as f64);
}
