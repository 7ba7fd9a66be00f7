//! The polling thread: it alone owns the state of all partitions, so nothing here is locked.
//!
//! One turn of the loop: what the client said, what work has ended, what may be committed, what is
//! old enough to be stored, then as many records as there are. It sleeps while it waits for records,
//! which wake it. Completions and what the broker says do not, so it sleeps shortly; the callback that
//! librdkafka offers for a queue that is no longer empty is known for missed wake-ups.

use super::commit::Committer;
use super::contact::Contact;
use super::context::{ClientEvent, Context};
use super::late::Late;
use super::partition::Partition;
use super::rebalance::Revocation;
use super::wake::Wake;
use super::work::{Completion, Unit, Work};
use crate::classify::{self, Decision, Phase};
use crate::config::{ConsumerSettings, OnGap};
use crate::error::{Error, Result};
use crate::native::{self, Message, Record, RecordQueue};
use crate::observe::events::Events;
use crate::observe::health::{Board, Progress};
use crate::observe::metrics;
use crate::planted::{self, Bug};
use crate::raw_zone::buffer::SealedPart;
use crate::record::Days;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The longest sleep without polling for the group's sake.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// The longest sleep while waiting for records.
const SLEEP_MAX_WAITING: Duration = Duration::from_millis(10);
/// The longest sleep while a completion may come.
const SLEEP_MAX_WORKING: Duration = Duration::from_millis(5);
/// Records taken in one turn before the rest of the loop has its say.
pub(super) const RECORDS_PER_TURN: usize = 500;
/// How often metrics and health are told.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long a full memory may just wait before the partitions are paused.
const FULL_FOR: Duration = Duration::from_secs(1);

pub(super) struct PollLoop {
    /// Which of the process's members of the group this is, from 0.
    pub(super) member: usize,
    pub(super) settings: Arc<ConsumerSettings>,
    /// This member's share of the process's uploads and bytes.
    pub(super) uploads_max: usize,
    pub(super) memory_max: usize,
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    /// The records of the assigned partitions; everything else comes from `consumer`'s own queue.
    pub(super) records: RecordQueue<Context>,
    /// Room for one turn's records; empty between turns.
    pub(super) batch: Vec<Message>,
    pub(super) wake: Arc<Wake>,
    pub(super) work: Work,
    pub(super) events: Arc<Events>,
    pub(super) completions: Receiver<Completion>,
    pub(super) stop: CancellationToken,
    /// The assigned partitions by their number.
    pub(super) partitions: Vec<Option<Box<Partition>>>,
    pub(super) epochs: u64,
    pub(super) days: Days,
    /// Sealed and not yet in flight.
    pub(super) ready: VecDeque<(Unit, SealedPart)>,
    pub(super) uploads: usize,
    /// Bytes open, ready and in flight.
    pub(super) held_bytes: usize,
    pub(super) committer: Committer,
    pub(super) revocation: Option<Revocation>,
    pub(super) late: Late,
    pub(super) paused: bool,
    pub(super) full_since: Option<Instant>,
    pub(super) stopping: bool,
    /// Parts and dead letters whose completion has not come back.
    pub(super) outside: usize,
    /// What was complained about, and when.
    pub(super) complaints: BTreeMap<String, Instant>,
    pub(super) contact: Contact,
    pub(super) board: Arc<Board>,
    pub(super) reported_at: Option<Instant>,
}

impl PollLoop {
    /// Runs until told to stop or until something is hopeless, then drains.
    pub(super) fn run(mut self) -> (Result<()>, bool) {
        let consumer = Arc::clone(&self.consumer);
        let topic = self.settings.topic.clone();
        let subscribed = consumer.subscribe(&[&topic]);
        let outcome = match subscribed.map_err(Error::kafka(format!("subscribing to {topic}"))) {
            Ok(()) => loop {
                if self.stop.is_cancelled() {
                    break Ok(());
                }
                if let Err(err) = self.turn(&consumer) {
                    break Err(err);
                }
            },
            Err(err) => Err(err),
        };
        let drained = self.drain(&consumer, outcome.is_ok());
        (outcome, drained)
    }

    fn turn(&mut self, consumer: &BaseConsumer<Context>) -> Result<()> {
        let now = Instant::now();
        self.poll_client(consumer, now)?;
        self.serve(consumer, now)?;
        self.seal_aged(now);
        if self.hold_back(consumer, now) {
            self.wake.wait(SLEEP_MAX);
            return Ok(());
        }
        self.take_records(self.sleep_for(now), now)?;
        self.start_uploads();
        Ok(())
    }

    /// Everything but taking records: what the client said, completions, revocation, commits.
    pub(super) fn serve(&mut self, consumer: &BaseConsumer<Context>, now: Instant) -> Result<()> {
        while let Some(event) = consumer.context().next_event() {
            self.client_event(consumer, event, now)?;
        }
        self.collect()?;
        self.start_uploads();
        self.advance_revocation(consumer, now);
        self.commit(consumer, now);
        self.retake_silent(consumer, now);
        self.report(now);
        Ok(())
    }

    /// Tells metrics and health where things stand, once a second.
    fn report(&mut self, now: Instant) {
        if self.reported_at.is_some_and(|at| now.duration_since(at) < REPORT_EVERY) {
            return;
        }
        self.reported_at = Some(now);
        let topic = &self.settings.topic;
        let progress = |state: &Partition| Progress {
            position: state.frontier.position(),
            durable: state.frontier.durable(),
            committed: state.committed,
            end: state.end,
            next: state.next,
            begun: state.begun,
        };
        let found: Vec<_> =
            self.assigned_partitions().map(|(number, state)| (number, progress(state))).collect();
        for (number, progress) in &found {
            metrics::partition(topic, *number, progress);
        }
        metrics::held((topic, self.member), self.held_bytes, self.uploads, self.paused);
        let standing = self.contact.standing(self.stopping);
        let (who, limit) = ((topic.as_str(), self.member), self.settings.stall_after);
        self.board.report(who, limit, now, &standing, &found);
        self.lead_records_here(found.iter().map(|(number, _)| *number));
    }

    /// Leads the records of partitions to where they are read. Once for each assignment would do; again
    /// each second, because a partition whose records went elsewhere would stand still unnoticed.
    pub(super) fn lead_records_here(&self, numbers: impl IntoIterator<Item = i32>) {
        for number in numbers {
            if let Err(err) = self.records.lead_here(&self.settings.topic, number) {
                tracing::warn!(partition = number, error = %err, "its records cannot be read yet");
            }
        }
    }

    fn client_event(
        &mut self,
        consumer: &BaseConsumer<Context>,
        event: ClientEvent,
        now: Instant,
    ) -> Result<()> {
        match event {
            ClientEvent::Assigned(partitions) => self.assigned(consumer, &partitions),
            ClientEvent::Revoked { partitions, lost } => {
                self.revoked(consumer, partitions, lost, now)
            }
            ClientEvent::Committed { outcome, offsets } => self.committed(&outcome, &offsets, now),
            ClientEvent::Statistics(seen) => {
                for (partition, fetched) in &seen.partitions {
                    if let Some(state) = self.partition(*partition) {
                        state.fetched(fetched);
                    }
                }
                self.contact.seen(&seen);
            }
            ClientEvent::OffsetReset { partition, due } => {
                if let Some(state) = self.partition(partition) {
                    state.due.get_or_insert(due);
                }
            }
            ClientEvent::Refused(err) => return Err(err),
            ClientEvent::Error(err, reason) => {
                // The client has logged the reason already.
                tracing::debug!(error = %err, reason, "Kafka");
            }
        }
        Ok(())
    }

    /// Lets the client call back: rebalances, commits, errors, statistics. Without a wait, because the
    /// wait is for records.
    pub(super) fn poll_client(
        &mut self,
        consumer: &BaseConsumer<Context>,
        now: Instant,
    ) -> Result<()> {
        while let Some(polled) = consumer.poll(Duration::ZERO) {
            match polled {
                // Records come from their own queue; one that went astray is not lost either.
                Ok(message) => {
                    self.serve(consumer, now)?;
                    self.take(&Record::of(&message), now);
                }
                Err(err) => self.client_error(&err, now)?,
            }
        }
        Ok(())
    }

    /// Where reading goes on after the log no longer had what was due: the range in between was never
    /// read, and nobody can say any more how many records it held.
    fn goes_on_at(&mut self, number: i32, offset: i64) -> Result<()> {
        let Some(due) = self.partition(number).and_then(|state| state.due.take()) else {
            return Ok(());
        };
        let topic = self.settings.topic.clone();
        if offset <= due {
            tracing::warn!(
                topic,
                partition = number,
                due,
                offset,
                "the log ends before the offset that was due: it was cut back, or its topic was made again"
            );
            self.events.emit(
                "went_back",
                json!({
                "topic": topic, "partition": number, "due": due, "goes_on_at": offset}),
            );
            return Ok(());
        }
        tracing::warn!(
            topic,
            partition = number,
            first_offset = due,
            last_offset = offset - 1,
            "skipped: the log no longer holds these offsets (retention, or records were deleted)"
        );
        metrics::skipped(&topic, offset - due);
        self.events.emit(
            "skipped",
            json!({"topic": topic, "partition": number,
            "first_offset": due, "last_offset": offset - 1}),
        );
        match self.settings.on_gap {
            OnGap::Continue => Ok(()),
            OnGap::Stop => Err(Error::Stuck(format!(
                "{topic}/{number}: offsets {due} to {} are gone from the log before they were read, and \
                 --on-gap is stop; start with --on-gap continue to accept the gap",
                offset - 1
            ))),
        }
    }

    /// Takes the records that are there, or the first one that comes. The bound of the memory is looked
    /// at before: one turn's records may go beyond it.
    fn take_records(&mut self, patience: Duration, now: Instant) -> Result<()> {
        self.seek_back();
        let mut batch = std::mem::take(&mut self.batch);
        self.records.read(patience, &mut batch);
        let mut outcome = Ok(());
        for message in batch.drain(..) {
            match message.record() {
                // After the first failure the rest is not taken, so nothing behind it is committed.
                Ok(_) if outcome.is_err() => {}
                Ok(record) => {
                    outcome = self.goes_on_at(record.partition(), record.offset());
                    if outcome.is_ok() {
                        self.take(&record, now);
                    }
                }
                Err(err) => {
                    outcome =
                        outcome.and_then(|()| self.partition_error(&err, message.place(), now));
                }
            }
        }
        self.batch = batch;
        outcome
    }

    /// An error of one partition. A batch that is damaged, or that this client cannot read, ends everything:
    /// what lies behind it could only be read by passing over it.
    fn partition_error(
        &mut self,
        err: &KafkaError,
        (number, offset): (i32, i64),
        now: Instant,
    ) -> Result<()> {
        if classify::fetched(err) == Decision::Stop {
            let next = self.partition(number).and_then(|state| state.frontier.position());
            return Err(Error::Unreadable {
                place: format!("{}/{number}", self.settings.topic),
                offset: next.unwrap_or(offset),
                source: err.clone(),
            });
        }
        self.client_error(err, now)
    }

    /// An error of the client: the end of everything, or transient.
    fn client_error(&mut self, err: &KafkaError, now: Instant) -> Result<()> {
        let phase = match self.contact.has_been_assigned {
            true => Phase::Running,
            false => Phase::StartUp,
        };
        if classify::consumer(err) == Decision::Stop
            || classify::joining(err, phase) == Decision::Stop
        {
            let group = &self.settings.group;
            let doing = match err.rdkafka_error_code() {
                Some(RDKafkaErrorCode::InconsistentGroupProtocol) => format!(
                    "joining group {group}: its members use another partition.assignment.strategy than \
                     this one (cooperative-sticky unless set), or another group.protocol"
                ),
                _ => format!("reading {} as a member of group {group}", self.settings.topic),
            };
            return Err(Error::kafka(doing)(err.clone()));
        }
        self.contact.refused(err);
        self.complain(&err.to_string(), now);
        Ok(())
    }

    pub(super) fn partition(&mut self, number: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(number).ok()?)?.as_deref_mut()
    }

    pub(super) fn assigned_partitions(&self) -> impl Iterator<Item = (i32, &Partition)> {
        let numbered = self.partitions.iter().enumerate();
        numbered.filter_map(|(number, state)| Some((number as i32, state.as_deref()?)))
    }

    /// Takes in the work that has ended.
    fn collect(&mut self) -> Result<()> {
        while let Ok(completion) = self.completions.try_recv() {
            match completion {
                Completion::Stored { unit, part, written } => {
                    self.uploads -= 1;
                    let stale = !self.finish(unit);
                    let next = part.span.last_offset + 1;
                    planted::note_stored();
                    if planted::is(Bug::CommitNewestCompletion)
                        && let Some(state) = self.partition(unit.partition)
                    {
                        state.newest = state.newest.max(Some(next));
                    }
                    if stale {
                        self.late.note(unit.partition, next);
                    }
                    let (records, collisions) = (part.span.records, written.collisions);
                    metrics::stored(&part.topic, records, part.bytes, collisions, written.took);
                    tracing::info!(
                        topic = part.topic,
                        partition = part.partition,
                        offset = part.span.first_offset,
                        last_offset = part.span.last_offset,
                        records = part.span.records,
                        write_path = written.path,
                        stale,
                        "stored"
                    );
                    self.events.emit("uploaded", json!({
                        "topic": part.topic, "partition": part.partition, "epoch": unit.epoch,
                        "first_offset": part.span.first_offset, "last_offset": part.span.last_offset,
                        "records": part.span.records, "bytes": part.bytes, "path": written.path,
                        "attempts": written.attempts, "collisions": written.collisions,
                        "took_ms": written.took.as_millis() as u64, "stale": stale,
                    }));
                }
                Completion::DeadLettered { unit, position } => {
                    let stale = !self.finish(unit);
                    metrics::dead_lettered(&self.settings.topic);
                    let topic = self.settings.dead_letter_topic.as_str();
                    self.events.emit("dead_lettered", json!({
                        "topic": self.settings.topic, "partition": unit.partition,
                        "offset": unit.first_offset, "stale": stale, "dead_letter":
                        {"topic": topic, "partition": position.partition, "offset": position.offset},
                    }));
                }
                Completion::Hopeless(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// Marks a unit durable, unless its assignment is over. Says whether it still counted.
    fn finish(&mut self, unit: Unit) -> bool {
        self.held_bytes -= unit.bytes;
        self.outside -= 1;
        match self.partition(unit.partition) {
            Some(state) if state.epoch == unit.epoch => {
                state.frontier.finish(unit.first_offset);
                true
            }
            _ => false,
        }
    }

    pub(super) fn start_uploads(&mut self) {
        while self.uploads < self.uploads_max {
            let Some((unit, part)) = self.ready.pop_front() else {
                return;
            };
            self.uploads += 1;
            self.outside += 1;
            self.work.store(unit, part);
        }
    }

    /// Commits every frontier that has moved, if no other commit is on its way.
    pub(super) fn commit(&mut self, consumer: &BaseConsumer<Context>, now: Instant) {
        if !self.committer.may_send(now) || self.commit_late(consumer, now) {
            return;
        }
        if planted::gives_up(self.committer.failures > 0) {
            return;
        }
        let mut sent = Vec::new();
        for (number, state) in self.assigned_partitions() {
            let (durable, read) = (state.frontier.durable(), state.frontier.position());
            let next = planted::next_to_commit(durable, read, state.newest, state.revoking);
            if let Some(offset) =
                next.filter(|next| state.committed.is_none_or(|done| done < *next))
            {
                sent.push((number, state.epoch, offset));
            }
        }
        if sent.is_empty() || consumer.assignment_lost() {
            return;
        }
        // The next offset to read, not the last one handled.
        let bend = planted::bend();
        for (_, _, offset) in &mut sent {
            *offset += bend;
        }
        let offsets: Vec<_> = sent.iter().map(|(number, _, offset)| (*number, *offset)).collect();
        match native::commit(consumer, &self.settings.topic, &offsets) {
            Ok(()) => self.committer.sent(now, sent),
            Err(err) => {
                self.committer.failed(now);
                self.complain(&format!("committing: {err}"), now);
            }
        }
    }

    fn committed(
        &mut self,
        outcome: &Result<(), rdkafka::error::KafkaError>,
        offsets: &[(i32, i64)],
        now: Instant,
    ) {
        for (partition, epoch, offset) in self.committer.answered(now, outcome) {
            self.late.answered(partition, epoch, offset, outcome.is_err());
            if !offsets.contains(&(partition, offset)) {
                continue;
            }
            let topic = self.settings.topic.clone();
            tracing::debug!(topic, partition, offset, "committed");
            let fields =
                json!({"topic": topic, "partition": partition, "offset": offset, "epoch": epoch});
            self.events.emit("committed", fields);
            if let Some(state) = self.partition(partition).filter(|state| state.epoch == epoch) {
                // (The bends of two planted bugs are taken out again, or they would commit for ever.)
                let bent_back = i64::from(planted::is(Bug::CommitLastOffset))
                    - i64::from(planted::is(Bug::CommitOneTooFar));
                state.committed = Some(offset + bent_back);
            }
        }
        metrics::committed(&self.settings.topic, outcome.is_ok());
        if let Err(err) = outcome {
            self.complain(&format!("committing: {err}"), now);
        }
    }

    /// Keeps the memory within its bound. A short wait for the uploads costs nothing; when it lasts,
    /// the partitions are paused, so that polling can go on and the group keeps this member. Says
    /// whether to take no records in this turn.
    fn hold_back(&mut self, consumer: &BaseConsumer<Context>, now: Instant) -> bool {
        // Once paused, some room is to be made before it goes on.
        let roomy = match self.paused {
            true => self.held_bytes <= self.memory_max / 4 * 3,
            false => self.held_bytes < self.memory_max,
        };
        if roomy {
            if self.paused {
                self.set_paused(consumer, false);
            }
            self.full_since = None;
            return false;
        }
        self.seal_largest();
        self.start_uploads();
        let since = *self.full_since.get_or_insert(now);
        if !self.paused && now.duration_since(since) >= FULL_FOR {
            self.set_paused(consumer, true);
        }
        true
    }

    pub(super) fn set_paused(&mut self, consumer: &BaseConsumer<Context>, pause: bool) {
        self.paused = pause;
        let Ok(assignment) = consumer.assignment() else {
            return;
        };
        let done = if pause { consumer.pause(&assignment) } else { consumer.resume(&assignment) };
        if let Err(err) = done {
            tracing::warn!(error = %err, pause, "pausing or resuming failed");
        }
        let name = if pause { "paused" } else { "resumed" };
        tracing::info!(held_bytes = self.held_bytes, "{name}");
        self.events
            .emit(name, json!({"held_bytes": self.held_bytes, "partitions": assignment.count()}));
    }

    /// A complaint of the client: each once in five seconds, because a broker that is away gives
    /// rise to the same few many times a second.
    pub(super) fn complain(&mut self, text: &str, now: Instant) {
        self.complaints.retain(|_, at| now.duration_since(*at) < Duration::from_secs(5));
        if !self.complaints.contains_key(text) {
            tracing::warn!(topic = self.settings.topic, error = text, "Kafka; going on");
            self.complaints.insert(text.to_owned(), now);
        }
    }

    /// Until the next thing that time alone brings about.
    fn sleep_for(&self, now: Instant) -> Duration {
        let oldest = self.assigned_partitions().filter_map(|(_, state)| state.oldest()).min();
        let may_seal = self.ready.is_empty();
        let seal_at = oldest.filter(|_| may_seal).map(|opened| opened + self.settings.batch.age);
        // A back-off that is over is waited for no more; it ends for good with the next success.
        let commit_at = self.committer.not_before().filter(|at| *at > now);
        let next = [seal_at, commit_at].into_iter().flatten().min();
        let longest = if self.outside > 0 { SLEEP_MAX_WORKING } else { SLEEP_MAX_WAITING };
        next.map_or(longest, |at| at.saturating_duration_since(now).min(longest))
    }
}
