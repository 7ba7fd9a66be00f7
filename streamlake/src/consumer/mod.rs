//! The consumer: from a topic into the raw zone, committing only what is durable.
//!
//! One thread polls and owns all state ([`poll_loop`]); storing parts and writing dead letters
//! happens on the async runtime ([`work`]) and comes back as completions. [`frontier`] says what may
//! be committed, [`rebalance`] takes partitions on and gives them up, [`drain`] is the way out.

mod commit;
mod context;
mod drain;
pub mod frontier;
mod intake;
mod partition;
mod poll_loop;
mod rebalance;
mod wake;
mod work;

use crate::config::ConsumerSettings;
use crate::dead_letter::DeadLetterWriter;
use crate::error::{Error, Result};
use crate::kafka::{self, Role};
use crate::observe::events::Events;
use crate::observe::health::Board;
use crate::raw_zone::writer::PartWriter;
use context::Context;
use poll_loop::PollLoop;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wake::Wake;

/// How a consumer ended.
#[derive(Debug)]
pub struct Stopped {
    /// Everything that was read is stored and committed.
    pub drained: bool,
    /// The metadata of the folders written to is complete.
    pub metadata_complete: bool,
    /// The group was left; otherwise the deadline came first and the broker will notice by itself.
    pub left_group: bool,
}

/// Runs one consumer until `stop`, then drains it within its deadline. `Err` for what stops a
/// consumer by itself; what was read and not stored is read again by the next one.
pub async fn run(
    settings: ConsumerSettings,
    writer: Arc<PartWriter>,
    events: Arc<Events>,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<Stopped> {
    settings.check()?;
    let deadline = settings.shutdown_deadline;
    let wake = Arc::new(Wake::default());
    let topic = settings.topic.clone();
    let state = build(
        settings,
        Arc::clone(&writer),
        Arc::clone(&events),
        Arc::clone(&board),
        &wake,
        stop.clone(),
    )?;
    let (ended, end) = tokio::sync::oneshot::channel();
    let (left, leaving) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("streamlake-poll".into());
    let spawned = thread.spawn(move || {
        let consumer = Arc::clone(&state.consumer);
        let outcome = state.run();
        let _ = ended.send(outcome);
        // Leaving the group takes as long as it takes: nobody waits for it beyond the deadline.
        consumer.context().close();
        drop(consumer);
        let _ = left.send(());
    });
    spawned.map_err(Error::io("starting the polling thread"))?;
    let metadata = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move { writer.keep_metadata(Duration::from_secs(2)).await }
    });
    let stop_signal = async {
        stop.cancelled().await;
        wake.notify();
        tokio::time::sleep(deadline).await;
    };
    let ended = tokio::select! {
        ended = end => ended.ok(),
        () = stop_signal => None,
    };
    metadata.abort();
    board.forget(&topic);
    let Some((outcome, drained)) = ended else {
        return Ok(Stopped { drained: false, metadata_complete: false, left_group: false });
    };
    let rest = reserve_for_leaving(deadline);
    let (completed, left_group) = tokio::join!(
        tokio::time::timeout(rest, writer.complete_metadata()),
        tokio::time::timeout(rest, leaving),
    );
    outcome?;
    let metadata_complete = matches!(completed, Ok(Ok(())));
    Ok(Stopped { drained, metadata_complete, left_group: left_group.is_ok() })
}

fn reserve_for_leaving(deadline: Duration) -> Duration {
    (deadline / 5).min(Duration::from_millis(2_500)).max(Duration::from_millis(100))
}

fn build(
    settings: ConsumerSettings,
    writer: Arc<PartWriter>,
    events: Arc<Events>,
    board: Arc<Board>,
    wake: &Arc<Wake>,
    stop: CancellationToken,
) -> Result<PollLoop> {
    let config = kafka::consumer_config(&settings.kafka, &settings.group)?;
    let dead_letters = DeadLetterWriter::new(&settings.kafka, &settings.dead_letter_topic)?;
    let context = Context::new(Arc::clone(wake));
    let consumer: BaseConsumer<Context> =
        config.create_with_context(context).map_err(kafka::not_created)?;
    events.emit("configured", json!({
        "dataset": settings.dataset, "topic": settings.topic, "group": settings.group,
        "dead_letter_topic": settings.dead_letter_topic,
        "batch": {"records": settings.batch.records, "bytes": settings.batch.bytes,
            "age_ms": settings.batch.age.as_millis() as u64},
        "uploads_in_flight": settings.uploads_in_flight, "memory_bytes": settings.memory_bytes,
        "consumer": kafka::effective(consumer.client(), Role::Consumer),
        "dead_letter_producer": dead_letters.effective(),
        "planted_bugs": crate::planted::names(),
        "version": env!("CARGO_PKG_VERSION"), "librdkafka": rdkafka::util::get_rdkafka_version().1,
    }));
    let (done, completions) = mpsc::channel();
    let work = work::Work {
        runtime: tokio::runtime::Handle::current(),
        writer,
        dead_letters: Arc::new(dead_letters),
        events: Arc::clone(&events),
        wake: Arc::clone(wake),
        done,
    };
    Ok(PollLoop {
        settings: Arc::new(settings),
        consumer: Arc::new(consumer),
        wake: Arc::clone(wake),
        work,
        events,
        completions,
        stop,
        partitions: Vec::new(),
        epochs: 0,
        ready: Default::default(),
        uploads: 0,
        held_bytes: 0,
        committer: Default::default(),
        revocation: None,
        late: Vec::new(),
        paused: false,
        full_since: None,
        stopping: false,
        outside: 0,
        complaints: Default::default(),
        board,
        reported_at: None,
    })
}
