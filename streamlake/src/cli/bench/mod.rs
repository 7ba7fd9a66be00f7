//! `streamlake bench`: how fast the pipeline is, as a ratio to the bare client library on the same
//! machine, topic and run. One JSON document on standard output.
//!
//! Rounds alternate between the two, each in a process of its own, so that neither lives on the
//! other's memory; the medians are compared. The pipeline is timed from its assignment to its last
//! durable record, the bare consumer from its assignment to its last record.

mod latency;
mod pipeline;

use self::pipeline::Pipeline;
use super::options::{Kafka, print_json};
use crate::config::{IN_FLIGHT_MAX, KafkaSettings, ProducerSettings};
use crate::error::{Error, Result};
use crate::inspect::Inspector;
use crate::kafka::{self, Role};
use crate::producer::{Event, Outcome, Producer, Receipt};
use crate::record::Schema;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    kafka: Kafka,
    /// What to measure.
    #[arg(value_enum)]
    what: What,
    /// The topic, created by the broker when it is first written to; filled up to `records`.
    #[arg(long, default_value = "streamlake.bench.raw")]
    topic: String,
    /// Where the pipeline stores: in a folder of its own for each measurement, which it removes.
    #[arg(long, default_value = "file:///tmp/streamlake-bench")]
    raw_zone: String,
    /// How many records.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// How large a payload is.
    #[arg(long, default_value_t = 200)]
    value_bytes: usize,
    /// Records a second, for `latency`.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..))]
    rate: u64,
    /// How often each side is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Further flags for `consume`, as one word each.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    consume_flag: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The consumer against a bare consumer.
    Consume,
    /// The producer against a bare producer.
    Produce,
    /// From the append of a record to its being durable, at `rate` records a second.
    Latency,
    /// Only the bare consumer, once.
    BareConsume,
    /// Only the bare producer, once.
    BareProduce,
    /// Only our producer, once.
    OwnProduce,
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let result = match args.what {
        What::Consume => consume(&args).await?,
        What::Produce => produce(&args)?,
        What::Latency => latency::measure(&args).await?,
        What::BareConsume => super::blocking(move || bare_consume(&args)).await?,
        What::BareProduce => super::blocking(move || bare_produce(&args)).await?,
        What::OwnProduce => own_produce(&args.kafka.settings()?, &args, args.records).await?,
    };
    print_json(&result)?;
    Ok(ExitCode::SUCCESS)
}

/// Hexadecimal digits without a pattern, which no compression makes less than half of. Cut from once
/// more only after 8 MiB, further apart than a compressor looks.
static NOISE: LazyLock<String> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = String::with_capacity(NOISE_BYTES);
    while noise.len() < NOISE_BYTES {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.push_str(&format!("{state:016x}"));
    }
    noise
});
const NOISE_BYTES: usize = 8 << 20;

/// An order event of this length, as long as that is enough for one, and 4 MiB at most.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut event = format!(
        "{{\"order_id\":\"ORD-{number}\",\"customer_id\":\"C-{}\",\"amount\":{}.25,\
         \"event_time\":\"2026-01-21T10:00:00Z\",\"note\":\"",
        number % 1_000,
        number % 977
    );
    let missing = bytes.saturating_sub(event.len() + 2).min(NOISE_BYTES / 2);
    let start = (number as usize).wrapping_mul(bytes) % (NOISE_BYTES - missing);
    event.push_str(&NOISE[start..start + missing]);
    event.push_str("\"}");
    event.into_bytes()
}

async fn consume(args: &Args) -> Result<Value> {
    let settings = args.kafka.settings()?;
    let (topic, wanted) = (args.topic.clone(), settings.clone());
    let held = super::blocking(move || Ok(held(&wanted, &topic).unwrap_or(0))).await?;
    if held < args.records {
        own_produce(&settings, args, args.records - held).await?;
    }
    let (mut bare, mut own, mut peak) = (Vec::new(), Vec::new(), 0);
    for round in 0..args.rounds {
        let measured = child(args, "bare-consume")?;
        bare.push(measured["records_per_second"].as_f64().unwrap_or(0.0));
        let mut pipeline = Pipeline::start(args, &args.topic, &settings)?;
        let (begun, parts) = pipeline.wait(held.max(args.records))?;
        let stored: u64 = parts.iter().map(|part| part.records).sum();
        let ended = parts.iter().map(|part| part.at).max().unwrap_or(begun);
        own.push(stored as f64 / (ended - begun).as_seconds_f64());
        peak = peak.max(pipeline.peak_memory());
        pipeline.discard().await;
        tracing::info!(
            round,
            bare = bare[round],
            pipeline = own[round],
            peak_bytes = peak,
            "measured"
        );
    }
    let (bare, own) = (median(bare), median(own));
    Ok(json!({
        "what": "consume", "value_bytes": args.value_bytes, "records": held.max(args.records),
        "raw_zone": args.raw_zone, "bare_records_per_second": bare, "pipeline_records_per_second": own,
        "ratio": own / bare, "pipeline_peak_memory_bytes": peak,
    }))
}

fn held(settings: &KafkaSettings, topic: &str) -> Result<u64> {
    let inspector = Inspector::connect(settings, None)?;
    let mut records = 0;
    for partition in inspector.partitions(topic)? {
        let (low, high) = inspector.watermarks(topic, partition)?;
        records += (high - low) as u64;
    }
    Ok(records)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}

/// Runs one measurement in a process of its own.
fn child(args: &Args, what: &str) -> Result<Value> {
    let mut command = own_program()?;
    command.args(["bench", what, "--topic", &args.topic]);
    command.args([
        "--records",
        &args.records.to_string(),
        "--value-bytes",
        &args.value_bytes.to_string(),
    ]);
    kafka_flags(&mut command, &args.kafka.settings()?);
    let output =
        command.stderr(Stdio::inherit()).output().map_err(Error::io("starting a measurement"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|err| Error::Stuck(format!("the measurement {what} gave no result: {err}")))
}

fn own_program() -> Result<Command> {
    std::env::current_exe().map(Command::new).map_err(Error::io("finding this program"))
}

fn kafka_flags(command: &mut Command, settings: &KafkaSettings) {
    command.args(["--bootstrap-servers", &settings.bootstrap_servers]);
    for (key, value) in &settings.properties {
        command.arg("-X").arg(format!("{key}={value}"));
    }
}

/// Polls the topic from start to end with the pipeline's own client settings, and does nothing.
fn bare_consume(args: &Args) -> Result<Value> {
    let settings = args.kafka.settings()?;
    let inspector = Inspector::connect(&settings, None)?;
    let doing = || Error::kafka("reading with a bare consumer");
    let mut start = TopicPartitionList::new();
    let mut ends = Vec::new();
    for partition in inspector.partitions(&args.topic)? {
        let (low, high) = inspector.watermarks(&args.topic, partition)?;
        start.add_partition_offset(&args.topic, partition, Offset::Offset(low)).map_err(doing())?;
        ends.push((high - low) as u64);
    }
    let wanted: u64 = ends.iter().sum();
    let mut config = kafka::consumer_config(&settings, "streamlake-bench-bare")?;
    // Nobody asks it for its lag.
    config.set("statistics.interval.ms", "0");
    let consumer: BaseConsumer = config.create().map_err(doing())?;
    consumer.assign(&start).map_err(doing())?;
    let started = Instant::now();
    let (mut records, mut bytes) = (0u64, 0usize);
    while records < wanted {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            records += 1;
            bytes += message.payload_len();
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(json!({"records": records, "payload_bytes": bytes, "seconds": seconds,
        "records_per_second": records as f64 / seconds}))
}

fn produce(args: &Args) -> Result<Value> {
    let (mut bare, mut own) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        bare.push(child(args, "bare-produce")?["records_per_second"].as_f64().unwrap_or(0.0));
        own.push(child(args, "own-produce")?["records_per_second"].as_f64().unwrap_or(0.0));
        tracing::info!(round, bare = bare[round], own = own[round], "measured");
    }
    let (bare, own) = (median(bare), median(own));
    Ok(json!({"what": "produce", "value_bytes": args.value_bytes, "records": args.records,
        "bare_records_per_second": bare, "own_records_per_second": own, "ratio": own / bare}))
}

/// Headers of the size of a real record's.
fn bench_headers() -> OwnedHeaders {
    let values = [
        ("dataset", "bench"),
        ("schema_version", "v1"),
        ("ingestion_id", "00000000-0000-4000-8000-000000000000"),
        ("producer_service", "ingestion-api"),
        ("ingested_at", "2026-01-21T10:00:00.000Z"),
    ];
    let empty = OwnedHeaders::new_with_capacity(values.len());
    values
        .into_iter()
        .fold(empty, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

/// The client library alone: same settings, payloads, keys and size of headers; nothing is checked, no
/// receipt is kept.
fn bare_produce(args: &Args) -> Result<Value> {
    let config = kafka::producer_config(&args.kafka.settings()?, Role::Producer)?;
    let producer: ThreadedProducer<DefaultProducerContext> =
        config.create().map_err(Error::kafka("creating a producer"))?;
    let started = Instant::now();
    for number in 0..args.records {
        let value = payload(number, args.value_bytes);
        let key = format!("ORD-{number}");
        let headers = bench_headers();
        let mut record = BaseRecord::to(&args.topic).key(&key).payload(&value).headers(headers);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            std::thread::yield_now();
        }
    }
    producer.flush(Duration::from_secs(120)).map_err(Error::kafka("flushing"))?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(json!({"seconds": seconds, "records_per_second": args.records as f64 / seconds}))
}

async fn own_produce(settings: &KafkaSettings, args: &Args, records: u64) -> Result<Value> {
    let producer = own_producer(settings, &args.topic)?;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    for number in 0..records {
        submit(&producer, args, number, &acknowledged).await;
    }
    producer.settle().await;
    let seconds = started.elapsed().as_secs_f64();
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    Ok(json!({"acknowledged": acknowledged, "seconds": seconds,
        "records_per_second": acknowledged as f64 / seconds}))
}

/// Our producer, as the command makes it.
fn own_producer(settings: &KafkaSettings, topic: &str) -> Result<Producer> {
    Producer::new(ProducerSettings {
        dataset: "bench".into(),
        topic: topic.to_owned(),
        dead_letter_topic: format!("{topic}.dlq"),
        schema: Schema::Order,
        kafka: settings.clone(),
        in_flight_max: IN_FLIGHT_MAX,
    })
}

/// Sends one event through our producer and counts its acknowledgement.
async fn submit(producer: &Producer, args: &Args, number: u64, acknowledged: &Arc<AtomicU64>) {
    let acknowledged = Arc::clone(acknowledged);
    let event = Event { value: payload(number, args.value_bytes), key: None };
    let count = move |receipt: Receipt| {
        if matches!(receipt.outcome, Outcome::Acknowledged { .. }) {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    };
    producer.submit(event, count).await;
}
