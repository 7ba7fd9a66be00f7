//! The consumer: from a topic into the raw zone, committing only what is durable.
//!
//! What is taken, sealed, counted and committed is decided in [`core`], which has no input or output. One
//! thread polls and drives it ([`poll_loop`]); storing parts and writing dead letters happens on the async
//! runtime ([`work`]) and comes back as completions. [`intake`] makes lines and dead letters of records,
//! [`identity`] notices a topic that was made again, [`rebalance`] carries out what the core says of assignments, [`drain`] is the way out.

mod contact;
mod context;
pub(crate) mod core;
mod drain;
mod identity;
mod intake;
mod open_transactions;
mod poll_loop;
mod rebalance;
mod shares;
#[cfg(test)]
mod sim;
mod surroundings;
mod unanswered;
mod wake;
mod work;

use self::core::{Core, Limits};
use crate::config::ConsumerSettings;
use crate::crash::{self, Point};
use crate::dead_letter::DeadLetterWriter;
use crate::error::{Error, Result};
use crate::kafka::{self, Role};
use crate::native::{self, Inquiry, RecordQueue};
use crate::observe::events::Events;
use crate::observe::health::Board;
use crate::raw_zone::writer::PartWriter;
use context::Context;
use identity::Identity;
use open_transactions::OpenTransactions;
use poll_loop::{PollLoop, RECORDS_PER_TURN};
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;
use shares::{Share, Shares};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
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

/// Runs the members of one group until `stop`, then drains them within their deadline. `Err` for
/// what stops a consumer by itself, and with it the others; what was read and not stored is read again
/// by the next one.
pub async fn run(
    settings: ConsumerSettings,
    writer: Arc<PartWriter>,
    events: Arc<Events>,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<Stopped> {
    settings.check()?;
    let deadline = settings.shutdown_deadline;
    let stop = stop.child_token();
    let dead_letters = DeadLetterWriter::new(&settings.kafka, &settings.dead_letter_topic)?;
    let whole = Share { uploads: settings.uploads_in_flight, memory: settings.memory_bytes };
    let shares = Shares::new(whole, settings.batch.bytes, settings.members);
    let shared = Shared {
        settings: Arc::new(settings),
        shares: Arc::new(shares),
        writer: Arc::clone(&writer),
        dead_letters: Arc::new(dead_letters),
        events,
        board,
    };
    let asked = Arc::new(OnceLock::new());
    let asking = tokio::spawn({
        let (asked, stop) = (Arc::clone(&asked), stop.clone());
        async move {
            stop.cancelled().await;
            let _ = asked.set(Instant::now());
        }
    });
    let loops = (0..shared.settings.members).map(|member| shared.build(member, stop.clone()));
    let loops = loops.collect::<Result<Vec<_>>>()?;
    let metadata = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move { writer.keep_metadata(Duration::from_secs(2)).await }
    });
    let watch =
        surroundings::watch(Arc::clone(&shared.settings), Arc::clone(&shared.events), stop.clone());
    let watch = tokio::spawn(watch);
    let ends = loops.into_iter().map(|state| run_member(state, stop.clone()));
    let ends = futures::future::join_all(ends).await;
    metadata.abort();
    watch.abort();
    asking.abort();
    let rest = reserve_for_leaving(deadline);
    // What the drain left of the deadline; the lists of thousands of folders take their time.
    let spent = asked.get().map_or(Duration::ZERO, Instant::elapsed);
    let lists_within = rest.max(deadline.saturating_sub(spent));
    let mut stopped = Stopped { drained: true, metadata_complete: false, left_group: true };
    let mut leaving = Vec::new();
    // What the settings do not accept is why the members were stopped.
    let mut hopeless = watch.await.ok().and_then(Result::err);
    for end in ends {
        match end? {
            Some(Ended { outcome, drained, left }) => {
                hopeless = hopeless.or(outcome.err());
                stopped.drained &= drained;
                leaving.push(left);
            }
            None => (stopped.drained, stopped.left_group) = (false, false),
        }
    }
    if leaving.is_empty() {
        return hopeless.map_or(Ok(stopped), Err);
    }
    let (completed, left) = tokio::join!(
        tokio::time::timeout(lists_within, writer.complete_metadata()),
        tokio::time::timeout(rest, futures::future::join_all(leaving)),
    );
    if let Some(err) = hopeless {
        return Err(err);
    }
    crash::at(Point::DrainMetadata);
    stopped.metadata_complete = matches!(completed, Ok(Ok(())));
    if !stopped.metadata_complete {
        tracing::warn!(
            "not all parts are listed in their folder's _metadata.json; `streamlake audit --rebuild-metadata` \
             lists them, and a longer --shutdown-deadline leaves more time for it"
        );
    }
    stopped.left_group &= left.is_ok_and(|all| all.iter().all(|left| *left == Ok(true)));
    Ok(stopped)
}

/// How one member's polling thread came to its end.
struct Ended {
    outcome: Result<()>,
    drained: bool,
    /// Told whether the group was left, as soon as it is.
    left: oneshot::Receiver<bool>,
}

/// How long a member that leaves looks for the coordinator of its group.
const COORDINATOR_WITHIN: Duration = Duration::from_secs(1);

/// One member on a thread of its own. `None` when its deadline came first.
async fn run_member(mut state: PollLoop, stop: CancellationToken) -> Result<Option<Ended>> {
    let (reader, member) = (state.reader.clone(), state.member);
    let (wake, board) = (Arc::clone(&state.wake), Arc::clone(&state.board));
    let deadline = state.settings.shutdown_deadline;
    let (ended, end) = oneshot::channel();
    let (leave, left) = oneshot::channel();
    let thread = std::thread::Builder::new().name("streamlake-poll".into());
    let (others, stopping) = (stop.clone(), stop.clone());
    let spawned = thread.spawn(move || {
        // Whatever ends this thread, a panic included, ends the others.
        let _others = others.drop_guard();
        let consumer = Arc::clone(&state.consumer);
        let outcome = state.run();
        crash::at_if(Point::Drained, || outcome.1);
        // Whatever ended this one, the process is to end as a whole.
        stopping.cancel();
        let _ = ended.send(outcome);
        // Leaving the group takes as long as it takes: nobody waits for it beyond the deadline.
        drop(state);
        let left = native::has_coordinator(consumer.client(), COORDINATOR_WITHIN);
        consumer.context().close();
        if left {
            crate::planted::let_go(consumer);
        } else {
            // Nobody could be told, and librdkafka was seen to crash in the attempt (its issue 5347).
            tracing::warn!(
                "the group's coordinator is out of reach; it will miss this member by itself"
            );
            std::mem::forget(consumer);
        }
        let _ = leave.send(left);
    });
    spawned.map_err(Error::io("starting the polling thread"))?;
    let stop_signal = async {
        stop.cancelled().await;
        wake.notify();
        tokio::time::sleep(deadline).await;
    };
    let ended = tokio::select! {
        // The sender is dropped without a word only by a panic of the thread.
        ended = end => Some(ended.map_err(|_| Error::Stuck("a polling thread panicked".into()))?),
        () = stop_signal => None,
    };
    board.forget((&reader, member));
    Ok(ended.map(|(outcome, drained)| Ended { outcome, drained, left }))
}

fn reserve_for_leaving(deadline: Duration) -> Duration {
    (deadline / 5).min(Duration::from_millis(2_500)).max(Duration::from_millis(100))
}

/// What the members of one process have in common.
struct Shared {
    settings: Arc<ConsumerSettings>,
    writer: Arc<PartWriter>,
    dead_letters: Arc<DeadLetterWriter>,
    events: Arc<Events>,
    board: Arc<Board>,
    shares: Arc<Shares>,
}

impl Shared {
    fn build(&self, member: usize, stop: CancellationToken) -> Result<PollLoop> {
        let settings = &self.settings;
        crate::planted::note_group(&settings.group);
        let config =
            kafka::member_config(&settings.kafka, &settings.group, member, settings.members)?;
        let wake = Arc::new(Wake::default());
        let context = Context::new(Arc::clone(&wake), context::silent_max(&config));
        let consumer: BaseConsumer<Context> =
            config.create_with_context(context).map_err(kafka::not_created)?;
        self.events.emit("configured", json!({
            "member": member, "members": settings.members,
            "dataset": settings.dataset, "topic": settings.topic, "group": settings.group,
            "dead_letter_topic": settings.dead_letter_topic,
            "batch": {"records": settings.batch.records, "bytes": settings.batch.bytes,
                "age_ms": settings.batch.age.as_millis() as u64},
            "compression": settings.compression.suffix(),
            "uploads_in_flight": settings.uploads_in_flight, "memory_bytes": settings.memory_bytes,
            "consumer": kafka::effective(consumer.client(), Role::Consumer),
            "dead_letter_producer": self.dead_letters.effective(),
            "planted_bugs": crate::planted::names(),
            "version": env!("CARGO_PKG_VERSION"), "librdkafka": rdkafka::util::get_rdkafka_version().1,
        }));
        let consumer = Arc::new(consumer);
        let (done, completions) = mpsc::channel();
        let work = work::Work {
            runtime: tokio::runtime::Handle::current(),
            writer: Arc::clone(&self.writer),
            compression: settings.compression,
            dead_letters: Arc::clone(&self.dead_letters),
            events: Arc::clone(&self.events),
            wake: Arc::clone(&wake),
            troubles: Arc::default(),
            done,
        };
        Ok(PollLoop {
            member,
            reader: settings.reader(),
            open_transactions: OpenTransactions::default(),
            unanswered: Default::default(),
            settings: Arc::clone(settings),
            core: Core::new(Limits {
                batch: settings.batch,
                share: self.shares.of(member, 0),
                revoke_deadline: settings.revoke_deadline,
            }),
            shares: Arc::clone(&self.shares),
            records: RecordQueue::new(Arc::clone(&consumer)),
            identity: Identity::new(Inquiry::new(Arc::clone(&consumer))),
            batch: Vec::with_capacity(RECORDS_PER_TURN),
            consumer,
            wake,
            work,
            events: Arc::clone(&self.events),
            completions,
            stop,
            days: Default::default(),
            complaints: Default::default(),
            contact: Default::default(),
            board: Arc::clone(&self.board),
            reported_at: None,
        })
    }
}
