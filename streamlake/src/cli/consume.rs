//! `streamlake consume`.

use super::blocking;
use super::options::{Dataset, Group, Kafka};
use super::signals;
use crate::config::{BatchLimits, ConsumerSettings, OnGap, RawZoneSettings, duration};
use crate::consumer;
use crate::error::{Error, Result};
use crate::inspect::Inspector;
use crate::kafka;
use crate::observe::events::Events;
use crate::observe::health::Board;
use crate::observe::http;
use crate::planted;
use crate::raw_zone::compression::Compression;
use crate::raw_zone::leftovers;
use crate::raw_zone::metadata;
use crate::raw_zone::probe;
use crate::raw_zone::store::{self, Zone};
use crate::raw_zone::writer::PartWriter;
use crate::record::Schema;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    dataset: Dataset,
    #[command(flatten)]
    group: Group,
    /// Static membership: this process's own name in its group, the same after a restart. The group
    /// keeps its partitions for it until the session times out [property: group.instance.id]
    #[arg(long, value_name = "ID")]
    group_instance_id: Option<String>,
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
    /// Members of the group in this process, each with a polling thread of its own; one can use
    /// about one core.
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// Parts uploaded at a time.
    #[arg(long, default_value_t = 4)]
    uploads_in_flight: usize,
    /// Bytes that may wait in memory before fetching stops.
    #[arg(long, default_value_t = 64 << 20)]
    memory_bytes: usize,
    /// Compress parts before they are uploaded; their names say so.
    #[arg(long, value_enum, default_value = "none")]
    compression: Compression,
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
    /// What to do when the log no longer holds an offset that was due (retention was quicker).
    #[arg(long, value_enum, default_value = "continue")]
    on_gap: OnGap,
    /// End, with exit code 0, once everything that was in the topic at the start is stored and committed.
    #[arg(long)]
    exit_at_end: bool,
    /// Metrics and health at this address; port 0 picks one.
    #[arg(long)]
    http: Option<std::net::SocketAddr>,
    /// Append events to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

impl Args {
    pub(super) fn settings(&self) -> Result<(ConsumerSettings, RawZoneSettings)> {
        let mut kafka = self.kafka.settings()?;
        if let Some(id) = &self.group_instance_id {
            if id.is_empty() {
                let text =
                    "the member has no name: give it with --group-instance-id, or leave it out";
                return Err(Error::Config(text.to_owned()));
            }
            kafka.properties.insert("group.instance.id".into(), id.clone());
        }
        let consumer = ConsumerSettings {
            dataset: self.dataset.dataset.clone(),
            topic: self.dataset.topic(),
            group: self.group.name(&self.dataset.dataset),
            dead_letter_topic: self.dataset.dead_letter_topic(),
            schema: self.schema,
            kafka,
            batch: BatchLimits {
                records: self.batch_records,
                bytes: self.batch_bytes,
                age: self.batch_age,
            },
            members: self.members,
            uploads_in_flight: self.uploads_in_flight,
            memory_bytes: self.memory_bytes,
            compression: self.compression,
            shutdown_deadline: self.shutdown_deadline,
            revoke_deadline: self.revoke_deadline,
            stall_after: self.stall_after,
            on_gap: self.on_gap,
        };
        consumer.check()?;
        Ok((consumer, RawZoneSettings::new(&self.raw_zone, self.store_timeout)?))
    }
}

/// Refuses what several pipelines of one process cannot have each for themselves.
pub(super) fn check_together(pipelines: &[Args]) -> Result<()> {
    let files: BTreeSet<_> = pipelines.iter().filter_map(|args| args.events.as_ref()).collect();
    let addresses: BTreeSet<_> = pipelines.iter().filter_map(|args| args.http).collect();
    for (name, given) in [("events", files.len()), ("http", addresses.len())] {
        if given > 1 {
            return Err(Error::Config(format!(
                "the pipelines of a process share one {name}: give it once, in [consume]"
            )));
        }
    }
    let mut readers = BTreeSet::new();
    for args in pipelines {
        let (topic, group) = (args.dataset.topic(), args.group.name(&args.dataset.dataset));
        if !readers.insert((topic.clone(), group.clone())) {
            return Err(Error::Config(format!(
                "two pipelines read {topic} as group {group}: each would get a part of it; give one of them \
                 a group of its own, or use members for more throughput"
            )));
        }
    }
    Ok(())
}

/// Runs one consumer a pipeline until a signal, or until one of them cannot go on: then all stop.
pub(super) async fn run(pipelines: Vec<Args>) -> Result<ExitCode> {
    check_together(&pipelines)?;
    let mut resolved = Vec::new();
    for args in &pipelines {
        let (settings, zone) = args.settings()?;
        resolved.push((settings, zone, args.exit_at_end));
    }
    let stop = signals::stop_token()?;
    let board = Arc::new(Board::default());
    let file = pipelines.iter().find_map(|args| args.events.as_deref());
    let events = Arc::new(Events::open(file)?);
    if let Some(address) = pipelines.iter().find_map(|args| args.http) {
        let bound = http::serve(address, Arc::clone(&board)).await?;
        events.emit("listening", json!({"http": bound.to_string()}));
    }
    let mut running = JoinSet::new();
    for (settings, zone, exit_at_end) in resolved {
        let (events, board, all) = (Arc::clone(&events), Arc::clone(&board), stop.clone());
        running.spawn(async move {
            // One pipeline that is at its end leaves the others running; one that failed does not.
            let own = all.child_token();
            let end = End { wanted: exit_at_end, own: own.clone() };
            let outcome = run_one(settings, zone, events, board, end).await;
            if outcome.is_err() || !own.is_cancelled() {
                all.cancel();
            }
            outcome
        });
    }
    let mut first_error = None;
    while let Some(ended) = running.join_next().await {
        let outcome =
            ended.unwrap_or_else(|err| Err(Error::Stuck(format!("a consumer broke off: {err}"))));
        if let Err(err) = outcome {
            first_error.get_or_insert(err);
        }
    }
    first_error.map_or(Ok(planted::consumer_exit()), Err)
}

/// When one pipeline is to end by itself, and what ends it.
struct End {
    wanted: bool,
    own: CancellationToken,
}

/// How often it is asked whether the end is reached.
const AT_END_EVERY: Duration = Duration::from_millis(500);
/// What was fetched is taken long before this, so a partition that has nothing open all the while has
/// only marks of transactions behind its last record.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// How long the topic may be unknown before nothing more is expected of it.
const GONE_FOR: Duration = Duration::from_secs(30);

/// Stops the consumer when everything that was in its topic at the start is stored and committed: by
/// what the group has committed, whichever process did it; and, for partitions that end with the marks
/// of transactions, which nobody commits, by what this process has read beyond its last record.
///
/// # Errors
/// When the topic's ends cannot be asked for at the start, or the topic is deleted. Any other failure is met
/// with another try.
async fn at_end(
    settings: ConsumerSettings,
    board: Arc<Board>,
    events: Arc<Events>,
    stop: CancellationToken,
) -> Result<()> {
    let guard = stop.clone().drop_guard();
    let (topic, group) = (settings.topic.clone(), settings.group.clone());
    let reader = settings.reader();
    let asking = {
        let topic = topic.clone();
        move || -> Result<(Inspector, BTreeMap<i32, i64>)> {
            let inspector = Inspector::connect(&settings.kafka, Some(&group))?;
            let mut ends = BTreeMap::new();
            for partition in inspector.partitions(&topic)? {
                let (first, end) = inspector.ends(&topic, partition)?;
                let (_, readable) = inspector.watermarks(&topic, partition)?;
                if readable < end {
                    tracing::warn!(
                        topic,
                        partition,
                        readable,
                        end,
                        "an open transaction hides what is behind it: its end is waited for"
                    );
                }
                // An empty partition has nothing that could ever be committed.
                if end > first {
                    ends.insert(partition, end);
                }
            }
            Ok((inspector, ends))
        }
    };
    let (inspector, mut ends) = blocking(asking).await?;
    let inspector = Arc::new(inspector);
    tracing::info!(topic, ?ends, "ends when this is stored and committed");
    let mut every = tokio::time::interval(AT_END_EVERY);
    let mut idle_since: BTreeMap<i32, Instant> = BTreeMap::new();
    let mut gone_since: Option<Instant> = None;
    while !ends.is_empty() {
        every.tick().await;
        let numbers: Vec<i32> = ends.keys().copied().collect();
        let question = (Arc::clone(&inspector), topic.clone());
        let asked = blocking(move || {
            let (inspector, topic) = question;
            // With a topic its commits go, too: without one nothing would ever be reached.
            let there = inspector.partitions_if_any(&topic).map(|found| !found.is_empty());
            Ok((there, inspector.committed(&topic, &numbers)))
        });
        let (there, committed) = asked.await?;
        gone_since = match there {
            Ok(false) => gone_since.or(Some(Instant::now())),
            Ok(true) => None,
            // Nobody said that it is gone, nor that it is there.
            Err(_) => gone_since,
        };
        if gone_since.is_some_and(|since| since.elapsed() >= GONE_FOR) {
            return Err(Error::Stuck(format!(
                "the topic {topic} was deleted before its end was reached"
            )));
        }
        let committed = committed.unwrap_or_else(|error| {
            tracing::warn!(%error, "asking how far the group is; trying again");
            BTreeMap::new()
        });
        let here = board.done_up_to(&reader);
        let now = Instant::now();
        idle_since.retain(|partition, _| here.get(partition) >= ends.get(partition));
        for (partition, end) in &ends {
            if here.get(partition).is_some_and(|reached| reached >= end) {
                idle_since.entry(*partition).or_insert(now);
            }
        }
        let stands = |partition: &i32| {
            idle_since.get(partition).is_some_and(|since| now.duration_since(*since) >= IDLE_FOR)
        };
        ends.retain(|partition, end| {
            let there = committed.get(partition).is_some_and(|committed| committed >= end);
            !there && !stands(partition)
        });
    }
    events.emit("at_end", json!({"topic": topic}));
    drop(guard);
    Ok(())
}

async fn run_one(
    settings: ConsumerSettings,
    zone: RawZoneSettings,
    events: Arc<Events>,
    board: Arc<Board>,
    end: End,
) -> Result<()> {
    let stop = end.own;
    let dataset = settings.dataset.clone();
    // What is refused is refused before anything is made.
    kafka::consumer_config(&settings.kafka, &settings.group)?;
    let zone = Zone::open(&zone)?;
    let reader = settings.reader();
    board.waits(&reader, settings.stall_after, Instant::now());
    let probing = probe::create_if_absent(&zone, |error| {
        tracing::warn!(dataset, error, "the object store is not there yet; trying again");
        events.emit("retrying", json!({"what": "probe", "error": error}));
    });
    tokio::select! {
        outcome = probing => outcome?,
        () = stop.cancelled() => return Ok(()),
    }
    board.begins(&reader);
    complete_latest(&zone, &dataset);
    let writer = Arc::new(PartWriter::new(zone));
    let at_end = end.wanted.then(|| {
        let watch = at_end(settings.clone(), Arc::clone(&board), Arc::clone(&events), stop.clone());
        tokio::spawn(watch)
    });
    let mut outcome = consumer::run(settings, writer, Arc::clone(&events), board, stop).await;
    if let Some(watch) = at_end {
        watch.abort();
        // What kept it from finding the end is why the consumer was stopped.
        if let Ok(Err(err)) = watch.await {
            outcome = outcome.and(Err(err));
        }
    }
    let fields = match &outcome {
        Ok(end) => json!({"dataset": dataset, "drained": end.drained,
            "metadata_complete": end.metadata_complete, "left_group": end.left_group}),
        Err(err) => json!({"dataset": dataset, "drained": false, "error": err.to_string()}),
    };
    tracing::info!(%fields, "stopped");
    events.emit("stopped", fields);
    planted::at_the_end(outcome.map(|_| ()))
}

/// Folders that are looked after at a start.
const FOLDERS_MAX: usize = 400;

/// Lists what a crash left unlisted, beside the work: today's folder first, then the days before it, then
/// those of the future, which a forged or mistaken `ingested_at` can make.
fn complete_latest(zone: &Zone, dataset: &str) {
    let (zone, dataset) = (zone.clone(), dataset.to_owned());
    tokio::spawn(async move {
        leftovers::sweep_probes(&zone).await;
        let listing = || zone.folders(&dataset);
        let folders = zone.persist("listing folders", store::log_retry, listing).await;
        let mut folders = folders.unwrap_or_default();
        let today = chrono::Utc::now().date_naive();
        folders.sort_by_key(|folder| (folder.date > today, (folder.date - today).abs()));
        if folders.len() > FOLDERS_MAX {
            tracing::info!(
                dataset,
                folders = folders.len(),
                "only the {FOLDERS_MAX} folders nearest to today are looked after; `audit \
                 --rebuild-metadata` does all"
            );
        }
        for folder in folders.iter().take(FOLDERS_MAX) {
            if let Err(err) = metadata::rebuild(&zone, folder).await {
                tracing::warn!(error = %err, path = folder.path(), "the metadata stays incomplete");
            }
        }
    });
}
