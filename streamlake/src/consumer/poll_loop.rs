//! The polling thread: it alone owns the state of all partitions ([`Core`]), so nothing here is locked.
//!
//! One turn of the loop: what the client said, what work has ended, what may be committed, what is
//! old enough to be stored, then as many records as there are. It sleeps while it waits for records,
//! which wake it. Completions and what the broker says do not, so it sleeps shortly; the callback that
//! librdkafka offers for a queue that is no longer empty is known for missed wake-ups.

use super::contact::Contact;
use super::context::{ClientEvent, Context, Seen};
use super::core::{Closed, Core, Effect, Gap};
use super::identity::Identity;
use super::open_transactions::OpenTransactions;
use super::rebalance::numbers;
use super::shares::Shares;
use super::unanswered::Unanswered;
use super::wake::Wake;
use super::work::{Completion, Work};
use crate::classify::{self, Decision, Phase};
use crate::config::{ConsumerSettings, OnGap};
use crate::crash::{self, Point};
use crate::error::{Error, Result};
use crate::native::{self, Commit, Message, Record, RecordQueue};
use crate::observe::complaints::Complaints;
use crate::observe::events::Events;
use crate::observe::health::{Board, Progress, Reader};
use crate::observe::metrics;
use crate::planted::{self, Bug};
use crate::raw_zone::name::Folder;
use crate::record::Days;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use serde_json::json;
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
pub(super) struct PollLoop {
    /// Which of the process's members of the group this is, from 0.
    pub(super) member: usize,
    /// Whose member it is, for health and metrics.
    pub(super) reader: Reader,
    /// Transactions that nobody ends.
    pub(super) open_transactions: OpenTransactions,
    /// Partitions whose fetches are not answered.
    pub(super) unanswered: Unanswered,
    pub(super) settings: Arc<ConsumerSettings>,
    /// What the members of the process share.
    pub(super) shares: Arc<Shares>,
    /// All that is decided.
    pub(super) core: Core<planted::InUse>,
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
    pub(super) days: Days,
    /// What was complained about, and when.
    pub(super) complaints: Complaints,
    pub(super) contact: Contact,
    /// Which topic it is that bears the name.
    pub(super) identity: Identity,
    pub(super) board: Arc<Board>,
    pub(super) reported_at: Option<Instant>,
}

impl PollLoop {
    /// Runs until told to stop or until something is hopeless, then drains.
    pub(super) fn run(&mut self) -> (Result<()>, bool) {
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
        if self.core.is_full() {
            self.wake.wait(SLEEP_MAX);
            return Ok(());
        }
        self.take_records(consumer, self.sleep_for(now), now)
    }

    /// Everything but taking records: what the client said, completions, revocation, commits.
    pub(super) fn serve(&mut self, consumer: &BaseConsumer<Context>, now: Instant) -> Result<()> {
        self.client_events(consumer, now)?;
        self.collect()?;
        self.watch_identity(now);
        let held = self.core.assigned_partitions().count();
        self.core.set_share(self.shares.of(self.member, held));
        self.core.tick(consumer.assignment_lost(), now);
        self.perform_all(consumer, now);
        self.report(now);
        Ok(())
    }

    fn client_events(&mut self, consumer: &BaseConsumer<Context>, now: Instant) -> Result<()> {
        while let Some(event) = consumer.context().next_event() {
            self.client_event(consumer, event, now)?;
        }
        Ok(())
    }

    /// Does what the core wants done.
    pub(super) fn perform_all(&mut self, consumer: &BaseConsumer<Context>, now: Instant) {
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Assign { partitions, paused } => {
                    self.take_on(consumer, &partitions, paused);
                    self.identify(&partitions, now);
                }
                Effect::GiveUp { partitions, settled } => {
                    self.give_up(consumer, &partitions, settled);
                }
                Effect::Retake { partition, held } => self.retake(consumer, partition, &held),
                Effect::Store(Closed { unit, date, buffer }) => {
                    let folder = Folder { dataset: self.settings.dataset.clone(), date };
                    let part = buffer.seal(folder, &self.settings.topic, unit.partition);
                    crash::at(Point::PartSealed);
                    self.work.store(unit, planted::part(part, self.settings.batch));
                }
                Effect::Commit(offsets) => self.send_commit(consumer, &offsets, now),
                Effect::Seek { partition, offset } => self.seek(consumer, partition, offset),
                Effect::Pause(pause) => self.set_paused(consumer, pause),
            }
        }
    }

    /// Tells metrics and health where things stand, once a second.
    fn report(&mut self, now: Instant) {
        if self.reported_at.is_some_and(|at| now.duration_since(at) < REPORT_EVERY) {
            return;
        }
        self.reported_at = Some(now);
        // Who does not ask is not answered, and is not refused either.
        let asks = !self.core.paused() && !self.core.stopping();
        let assigned = self.core.assigned_partitions();
        let found: Vec<_> = assigned
            .map(|(number, state)| {
                let progress = state.progress();
                (number, Progress { answered: progress.answered || !asks, ..progress })
            })
            .collect();
        self.watch_answers(&found, now);
        let reader = &self.reader;
        for (number, progress) in &found {
            metrics::partition(reader, *number, progress);
            metrics::behind_open_transaction(
                reader,
                *number,
                self.open_transactions.behind(*number),
            );
        }
        let core = &self.core;
        metrics::held((reader, self.member), core.held_bytes(), core.uploads(), core.paused());
        let mut standing = self.contact.standing(self.core.stopping());
        let missing = self.identity.missing(now);
        for (number, _) in &found {
            let reason = missing.clone().or_else(|| self.unanswered.reason(*number));
            let reason = reason.or_else(|| self.work.troubles.of(*number));
            standing.reasons.extend(reason.map(|reason| (*number, reason)));
        }
        if found.is_empty() {
            standing.refusal = standing.refusal.or(missing);
        }
        let (who, limit) = ((reader, self.member), self.settings.stall_after);
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
            ClientEvent::Assigned(partitions) => self.core.assigned(&numbers(&partitions), now),
            ClientEvent::Revoked { partitions, lost } => {
                self.taken_away(&numbers(&partitions), lost, now);
            }
            ClientEvent::Committed { outcome, offsets } => self.committed(&outcome, &offsets, now),
            ClientEvent::Statistics(seen) => {
                for (partition, fetched) in &seen.partitions {
                    self.core.fetched(*partition, fetched);
                }
                self.contact.seen(&seen);
                self.look_for_open_transactions(&seen, now);
            }
            ClientEvent::OffsetReset { partition, due } => self.core.offset_reset(partition, due),
            ClientEvent::Refused(err) => return Err(err),
            ClientEvent::Error(err, reason) => {
                // The client has logged the reason already.
                tracing::debug!(error = %err, reason, "Kafka");
            }
        }
        self.perform_all(consumer, now);
        Ok(())
    }

    /// A transaction that its producer neither commits nor aborts ends the readable part of its partition
    /// for all: nothing behind it is lag, and nothing of it is read.
    fn look_for_open_transactions(&mut self, seen: &Seen, now: Instant) {
        let limit = self.settings.stall_after;
        for (partition, offset, behind) in self.open_transactions.seen(&seen.ends, limit, now) {
            let topic = &self.settings.topic;
            tracing::warn!(
                topic,
                partition,
                offset,
                behind,
                "a transaction stays open, and nothing behind its first record can be read; \
                 kafka-transactions.sh find-hanging shows whose it is, and can abort it"
            );
            let fields = json!({"topic": topic, "partition": partition, "offset": offset,
                "behind": behind});
            self.events.emit("transaction_open", fields);
        }
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
                    self.take(&Record::of(&message), now)?;
                }
                Err(err) => self.client_error(&err, now)?,
            }
        }
        Ok(())
    }

    /// Tells of a gap, and ends everything if that is what was asked for.
    pub(super) fn met_gap(&self, number: i32, gap: &Gap) -> Result<()> {
        if planted::acts(Bug::GapUntold) {
            return Ok(());
        }
        let Gap { due, goes_on_at: offset } = *gap;
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
    fn take_records(
        &mut self,
        consumer: &BaseConsumer<Context>,
        patience: Duration,
        now: Instant,
    ) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        self.records.read(patience, &mut batch);
        planted::long_turn(&mut batch);
        // What the client said while it was waited for comes first: that it was sent elsewhere, say.
        self.client_events(consumer, now)?;
        let mut outcome = Ok(());
        for message in batch.drain(..) {
            match message.record() {
                // After the first failure the rest is not taken, so nothing behind it is committed.
                Ok(_) if outcome.is_err() => {}
                Ok(record) => outcome = self.take(&record, now),
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
            let next = self.core.state(number).and_then(|state| state.frontier.position());
            return Err(Error::Unreadable {
                place: format!("{}/{number}", self.settings.topic),
                offset: next.unwrap_or(offset),
                source: err.clone(),
            });
        }
        self.unanswered.refused(number, err.to_string(), now);
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
                Some(RDKafkaErrorCode::InvalidSessionTimeout) => format!(
                    "joining group {group}: session.timeout.ms must lie between the brokers' \
                     group.min.session.timeout.ms and group.max.session.timeout.ms"
                ),
                _ => format!("reading {} as a member of group {group}", self.settings.topic),
            };
            return Err(Error::kafka(doing)(err.clone()));
        }
        self.contact.refused(err);
        self.identity.doubted();
        self.complain(&err.to_string(), now);
        Ok(())
    }

    /// Takes in the work that has ended.
    fn collect(&mut self) -> Result<()> {
        while let Ok(completion) = self.completions.try_recv() {
            match completion {
                Completion::Stored { unit, part, written } => {
                    planted::note_stored();
                    crash::at(Point::BeforePartCounts);
                    let stale = !self.core.stored(unit, part.span.last_offset + 1);
                    crash::at(Point::AfterPartCounts);
                    crash::at_if(Point::DrainStored, || self.core.stopping());
                    let (records, collisions) = (part.span.records, written.collisions);
                    metrics::stored(&part.topic, records, part.bytes, collisions, written.took);
                    tracing::info!(
                        topic = part.topic,
                        partition = part.partition,
                        offset = part.span.first_offset,
                        last_offset = part.span.last_offset,
                        records = part.span.records,
                        write_path = planted::logged_path(&written.path),
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
                    let stale = !self.core.dead_lettered(unit);
                    crash::at(Point::AfterLetterCounts);
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

    fn send_commit(
        &mut self,
        consumer: &BaseConsumer<Context>,
        offsets: &[(i32, i64)],
        now: Instant,
    ) {
        crash::at(Point::BeforeCommit);
        crash::at_if(Point::RevokeBeforeCommit, || self.core.revoking());
        crash::at_if(Point::DrainBeforeCommit, || self.core.stopping());
        let offsets = planted::offsets(offsets);
        let commits: Vec<_> = offsets
            .iter()
            .map(|(partition, offset)| Commit {
                partition: *partition,
                offset: *offset,
                leader_epoch: planted::leader_epoch(
                    self.core.leader_epoch_before(*partition, *offset),
                ),
            })
            .collect();
        let note = self.identity.note();
        let sent = native::commit(consumer, &self.settings.topic, &commits, note.as_deref());
        if let Err(err) = sent {
            self.core.commit_unsent(now);
            self.complain(&format!("committing: {err}"), now);
        }
        crash::at(Point::AfterCommitSent);
    }

    fn committed(
        &mut self,
        outcome: &Result<(), rdkafka::error::KafkaError>,
        offsets: &[(i32, i64)],
        now: Instant,
    ) {
        crash::at_if(Point::AfterCommit, || outcome.is_ok());
        crash::at_if(Point::RevokeAfterAnswer, || self.core.revoking());
        crash::at_if(Point::DrainCommitted, || outcome.is_ok() && self.core.stopping());
        for (partition, epoch, offset) in self.core.commit_answered(outcome.is_ok(), offsets, now) {
            let topic = &self.settings.topic;
            tracing::debug!(topic, partition, offset, "committed");
            planted::note_committed(partition, offset);
            let fields =
                json!({"topic": topic, "partition": partition, "offset": offset, "epoch": epoch});
            self.events.emit("committed", fields);
        }
        metrics::committed(&self.settings.topic, outcome.is_ok());
        if let Err(err) = outcome {
            self.complain(&format!("committing: {err}"), now);
        }
    }

    /// Sends the client back where a partition must be read again. What it has fetched before then is
    /// out of date for it, and what was taken out of its queue already is passed over until here.
    fn seek(&mut self, consumer: &BaseConsumer<Context>, partition: i32, offset: i64) {
        let topic = &self.settings.topic;
        // Without a wait: the request is in the client's hands, and so is its repetition.
        match consumer.seek(topic, partition, Offset::Offset(offset), Duration::ZERO) {
            Ok(()) => self.core.sought(partition, offset),
            Err(err) => {
                tracing::warn!(topic, partition, offset, error = %err, "cannot go back yet")
            }
        }
    }

    fn set_paused(&self, consumer: &BaseConsumer<Context>, pause: bool) {
        let Ok(assignment) = consumer.assignment() else {
            return;
        };
        let done = match pause {
            true => consumer.pause(&assignment),
            false => consumer.resume(&planted::resumed(&assignment)),
        };
        if let Err(err) = done {
            tracing::warn!(error = %err, pause, "pausing or resuming failed");
        }
        if planted::PLANTED && !pause {
            for (number, state) in self.core.assigned_partitions() {
                if let Some(offset) = planted::rereads(state.committed) {
                    let topic = &self.settings.topic;
                    let _ = consumer.seek(topic, number, Offset::Offset(offset), Duration::ZERO);
                }
            }
        }
        let name = if pause { "paused" } else { "resumed" };
        let held_bytes = self.core.held_bytes();
        tracing::info!(held_bytes, "{name}");
        self.events.emit(name, json!({"held_bytes": held_bytes, "partitions": assignment.count()}));
    }

    fn complain(&mut self, text: &str, now: Instant) {
        if self.complaints.is_new(text, now) {
            tracing::warn!(topic = self.settings.topic, error = text, "Kafka; going on");
        }
    }

    /// Until the next thing that time alone brings about.
    fn sleep_for(&self, now: Instant) -> Duration {
        let longest = if self.core.working() { SLEEP_MAX_WORKING } else { SLEEP_MAX_WAITING };
        self.core.due_at(now).map_or(longest, |at| at.saturating_duration_since(now).min(longest))
    }
}
