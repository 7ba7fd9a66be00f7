//! How long a record takes from its append to the log until it is durable, under a steady load.
//!
//! The time of the append is the record's own timestamp, which the producer gives it a few
//! milliseconds before the broker has it: what comes out is rather too long than too short. The time
//! of durability is the pipeline's `uploaded` event. The records are read back from the parts.

use super::pipeline::Pipeline;
use super::{Args, own_producer, submit};
use crate::error::{Error, Result};
use crate::raw_zone::name::ObjectName;
use crate::raw_zone::part;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Records go out in small bunches this often.
const BEAT: Duration = Duration::from_millis(10);

pub(super) async fn measure(args: &Args) -> Result<Value> {
    let settings = args.kafka.settings()?;
    // A topic of its own: nothing but this load is in it.
    let topic = format!("{}.latency-{}", args.topic, uuid::Uuid::new_v4().simple());
    let producer = own_producer(&settings, &topic)?;
    // The first record makes the topic; the pipeline must find it.
    let acknowledged = Arc::new(AtomicU64::new(0));
    let send = |number| submit(&producer, args, number, &acknowledged);
    send(0).await;
    producer.settle().await;
    let mut pipeline = Pipeline::start(args, &topic, &settings)?;
    let mut pipeline = super::super::blocking(move || pipeline.wait(1).map(|_| pipeline)).await?;

    let begun_ms = chrono::Utc::now().timestamp_millis();
    let bunch = args.rate * BEAT.as_millis() as u64 / 1_000;
    let mut beats = tokio::time::interval(BEAT);
    let mut number = 1;
    while number <= args.records {
        beats.tick().await;
        for _ in 0..bunch {
            send(number).await;
            number += 1;
        }
    }
    let took_ms = chrono::Utc::now().timestamp_millis() - begun_ms;
    producer.settle().await;
    let wanted = acknowledged.load(Ordering::Relaxed);
    let waited = super::super::blocking(move || Ok((pipeline.wait(wanted)?.1, pipeline)));
    let (parts, pipeline) = waited.await?;

    let zone = &pipeline.zone;
    let mut latencies = Vec::new();
    for stored in &parts {
        let bytes = zone.read(&stored.path).await.map_err(Error::store("reading a part back"))?;
        let Some(ObjectName::Part(_, name)) = ObjectName::parse(&stored.path) else {
            return Err(Error::Stuck(format!("{} is no part", stored.path)));
        };
        let lines = name.compression.plain(&bytes);
        let lines = lines.map_err(Error::io(format!("decompressing {}", stored.path)))?;
        for record in part::records(&lines) {
            let record = record.map_err(|err| Error::Stuck(format!("{}: {err}", stored.path)))?;
            let appended = record.timestamp_ms.unwrap_or(0);
            if appended >= begun_ms {
                latencies.push(stored.at.timestamp_millis() - appended);
            }
        }
    }
    pipeline.discard().await;
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).copied()
    };
    Ok(json!({
        "what": "latency", "value_bytes": args.value_bytes, "raw_zone": args.raw_zone,
        "records": latencies.len(), "asked_records_per_second": args.rate,
        "records_per_second": (number - 1) as f64 * 1_000.0 / took_ms.max(1) as f64,
        "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": latencies.last(),
    }))
}
