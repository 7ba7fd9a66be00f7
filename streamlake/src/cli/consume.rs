//! `streamlake consume`.

use super::options::Kafka;
use super::signals;
use crate::config::{
    BatchLimits, ConsumerSettings, RawZoneSettings, check_dataset, default_dead_letter_topic,
    default_group, default_topic, duration, raw_zone_url,
};
use crate::consumer;
use crate::error::Result;
use crate::observe::events::Events;
use crate::raw_zone::metadata;
use crate::raw_zone::probe;
use crate::raw_zone::store::{self, Zone};
use crate::raw_zone::writer::PartWriter;
use crate::record::Schema;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The dataset.
    #[arg(long, env = "STREAMLAKE_DATASET")]
    dataset: String,
    /// The topic to read [default: streamlake.<dataset>.raw]
    #[arg(long)]
    topic: Option<String>,
    /// The consumer group [default: streamlake-consumer-<dataset>]
    #[arg(long)]
    group: Option<String>,
    /// The dead-letter topic [default: streamlake.<dataset>.dlq]
    #[arg(long)]
    dead_letter_topic: Option<String>,
    /// Where the raw zone is: gs://bucket[/prefix] or file:///dir
    #[arg(long, env = "STREAMLAKE_RAW_ZONE")]
    raw_zone: String,
    #[command(flatten)]
    kafka: Kafka,
    /// What a payload must be to be stored.
    #[arg(long, value_enum, default_value = "order")]
    schema: Schema,
    /// Close a batch at this many records.
    #[arg(long, default_value_t = 100_000)]
    batch_records: u64,
    /// Close a batch at this many bytes.
    #[arg(long, default_value_t = 8 << 20)]
    batch_bytes: usize,
    /// Close a batch at this age.
    #[arg(long, default_value = "500ms", value_parser = duration)]
    batch_age: Duration,
    /// Parts uploaded at a time.
    #[arg(long, default_value_t = 4)]
    uploads_in_flight: usize,
    /// Bytes that may wait in memory before fetching stops.
    #[arg(long, default_value_t = 96 << 20)]
    memory_bytes: usize,
    /// From the signal to the end of the process.
    #[arg(long, default_value = "10s", value_parser = duration)]
    shutdown_deadline: Duration,
    /// How long a revoked partition may finish what is in flight.
    #[arg(long, default_value = "5s", value_parser = duration)]
    revoke_deadline: Duration,
    /// The longest that one request to the store may take.
    #[arg(long, default_value = "30s", value_parser = duration)]
    store_timeout: Duration,
    /// A partition with work to do and no progress for this long is unhealthy.
    #[arg(long, default_value = "60s", value_parser = duration)]
    stall_after: Duration,
    /// Metrics and health at this address; port 0 picks one.
    #[arg(long)]
    http: Option<std::net::SocketAddr>,
    /// Append events to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

impl Args {
    fn settings(&self) -> Result<(ConsumerSettings, RawZoneSettings)> {
        check_dataset(&self.dataset)?;
        let or = |given: &Option<String>, default: fn(&str) -> String| {
            given.clone().unwrap_or_else(|| default(&self.dataset))
        };
        let consumer = ConsumerSettings {
            dataset: self.dataset.clone(),
            topic: or(&self.topic, default_topic),
            group: or(&self.group, default_group),
            dead_letter_topic: or(&self.dead_letter_topic, default_dead_letter_topic),
            schema: self.schema,
            kafka: self.kafka.settings(),
            batch: BatchLimits {
                records: self.batch_records,
                bytes: self.batch_bytes,
                age: self.batch_age,
            },
            uploads_in_flight: self.uploads_in_flight,
            memory_bytes: self.memory_bytes,
            shutdown_deadline: self.shutdown_deadline,
            revoke_deadline: self.revoke_deadline,
            stall_after: self.stall_after,
        };
        consumer.check()?;
        let url = raw_zone_url(&self.raw_zone)?;
        Ok((
            consumer,
            RawZoneSettings {
                url,
                request_timeout: self.store_timeout,
            },
        ))
    }
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let (settings, zone) = args.settings()?;
    let stop = signals::stop_token()?;
    let events = Arc::new(Events::open(args.events.as_deref())?);
    let zone = Zone::open(&zone)?;
    let probing = probe::create_if_absent(&zone, |error| {
        tracing::warn!(error, "the object store is not there yet; trying again");
        events.emit("retrying", json!({"what": "probe", "error": error}));
    });
    tokio::select! {
        outcome = probing => outcome?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    }
    complete_latest(&zone, &settings.dataset);
    let writer = Arc::new(PartWriter::new(zone));
    let outcome = consumer::run(settings, writer, Arc::clone(&events), stop).await;
    let fields = match &outcome {
        Ok(end) => json!({"drained": end.drained, "metadata_complete": end.metadata_complete,
            "left_group": end.left_group}),
        Err(err) => json!({"drained": false, "error": err.to_string()}),
    };
    tracing::info!(%fields, "stopped");
    events.emit("stopped", fields);
    outcome.map(|_| ExitCode::SUCCESS)
}

/// Lists what a crash left unlisted in the two latest folders, beside the work.
fn complete_latest(zone: &Zone, dataset: &str) {
    let (zone, dataset) = (zone.clone(), dataset.to_owned());
    tokio::spawn(async move {
        let folders = zone
            .persist("listing folders", store::log_retry, || {
                zone.folders(&dataset)
            })
            .await;
        for folder in folders.unwrap_or_default().iter().rev().take(2) {
            if let Err(err) = metadata::rebuild(&zone, folder).await {
                tracing::warn!(error = %err, path = folder.path(), "the metadata stays incomplete");
            }
        }
    });
}
