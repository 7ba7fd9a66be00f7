//! The protocol of commits as a machine without any input or output: what happens comes in as a call,
//! with the time; what is to be done comes out as [`Effect`]s.
//!
//! | what happens | call | what may come out |
//! |---|---|---|
//! | partitions are assigned | [`Core::assigned`] | `Assign` |
//! | a record came | [`Core::admit`], then [`Core::add`] or [`Core::bury`] | |
//! | time passed, a turn of the loop | [`Core::tick`] | all but `Assign` |
//! | a part is stored, a dead letter acknowledged | [`Core::stored`], [`Core::dead_lettered`] | |
//! | a commit was answered, or could not be sent | [`Core::commit_answered`], [`Core::commit_unsent`] | |
//! | the client went back as told | [`Core::sought`] | |
//! | the topic's name was given to another topic | [`Core::topic_replaced`] | |
//! | partitions are taken away, or are lost | [`Core::revoked`] | `GiveUp` |
//! | the process is to stop | [`Core::stop`], then [`Core::drained`] | `Pause` |
//!
//! The polling thread drives it with librdkafka, a store and the clock; the simulator in the tests drives
//! it with models of them. A record costs no effect and no allocation of its own.

mod commit;
mod frontier;
mod partition;
mod policy;

use super::shares::Share;
use crate::config::BatchLimits;
use crate::raw_zone::buffer::PartBuffer;
use chrono::NaiveDate;
use commit::{Committer, Sent};
pub(crate) use frontier::Frontier;
pub(super) use partition::{Fetched, Gap, Partition};
#[cfg(any(test, not(feature = "planted-bugs")))]
pub(crate) use policy::Sound;
pub(crate) use policy::{AtStop, Policy};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a full memory may just wait before the partitions are paused.
const FULL_FOR: Duration = Duration::from_secs(1);
/// Commits that may fail during a revocation before the partitions are given up uncommitted: some
/// brokers refuse every commit while a group rebalances.
const FAILED_COMMITS_MAX: u32 = 3;

/// Which unit of which assignment a piece of work belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) partition: i32,
    pub(crate) epoch: u64,
    pub(crate) first_offset: i64,
    /// How much memory it holds.
    pub(crate) bytes: usize,
}

/// A part that takes no more records.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) unit: Unit,
    pub(super) date: NaiveDate,
    pub(super) buffer: PartBuffer,
}

/// What is to be done. In the order in which they come.
#[derive(Debug)]
pub(super) enum Effect {
    /// Take these partitions on, paused or not; their records may come from now on.
    Assign { partitions: Vec<i32>, paused: bool },
    /// Give these partitions up. `settled`: all that was read of them is stored and committed.
    GiveUp { partitions: Vec<i32>, settled: bool },
    /// Take a partition on again of which nothing comes. `held` is the whole assignment with where each
    /// of the others is to go on, for a protocol that knows only whole assignments.
    Retake { partition: i32, held: Vec<(i32, Option<i64>)> },
    /// Store a part.
    Store(Closed),
    /// Commit these offsets.
    Commit(Vec<(i32, i64)>),
    /// Send the client back; then call [`Core::sought`].
    Seek { partition: i32, offset: i64 },
    /// Pause all partitions, or let them go on.
    Pause(bool),
}

/// What to do with a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is the next one, perhaps behind a gap.
    Take(Option<Gap>),
    /// It is not for this member, or will come again.
    PassOver,
    /// It lies below what was read. All from `restart_at` on is read again, this one, too.
    WentBack { restart_at: i64, gap: Option<Gap> },
}

/// Bounds of one member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) batch: BatchLimits,
    /// What it may use at a time.
    pub(super) share: Share,
    /// How long a revocation may take.
    pub(super) revoke_deadline: Duration,
}

/// Partitions on their way out.
#[derive(Debug)]
struct Revocation {
    partitions: Vec<i32>,
    deadline: Instant,
    failures_before: u32,
}

/// The way out of the process.
#[derive(Debug, Clone, Copy)]
struct Stop {
    until: Instant,
    store_the_rest: bool,
}

/// The state of one member.
#[derive(Debug)]
pub(super) struct Core<P> {
    policy: P,
    limits: Limits,
    /// The assigned partitions by their number.
    partitions: Vec<Option<Box<Partition>>>,
    epochs: u64,
    /// Closed and not yet in flight.
    ready: VecDeque<Closed>,
    uploads: usize,
    /// Parts and dead letters whose end has not come back.
    outside: usize,
    /// Bytes open, ready and in flight.
    held_bytes: usize,
    committer: Committer,
    /// Until when nothing is committed, because what the group has committed is still being looked at.
    hold_commits: Option<Instant>,
    revocation: Option<Revocation>,
    paused: bool,
    full_since: Option<Instant>,
    stop: Option<Stop>,
    effects: VecDeque<Effect>,
}

impl<P: Policy> Core<P> {
    pub(super) fn new(limits: Limits) -> Self {
        Core {
            policy: P::default(),
            limits,
            partitions: Vec::new(),
            epochs: 0,
            ready: VecDeque::new(),
            uploads: 0,
            outside: 0,
            held_bytes: 0,
            committer: Committer::default(),
            hold_commits: None,
            revocation: None,
            paused: false,
            full_since: None,
            stop: None,
            effects: VecDeque::new(),
        }
    }

    /// The next thing to be done.
    pub(super) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    // ---------------------------------------------------------------- assignments

    /// The group gives partitions to this member.
    pub(super) fn assigned(&mut self, numbers: &[i32], now: Instant) {
        for number in numbers {
            self.begin(*number, now);
        }
        // The client remembers a pause beyond an assignment: what holds now is said either way.
        let paused = self.paused || self.stopping();
        self.effects.push_back(Effect::Assign { partitions: numbers.to_vec(), paused });
    }

    /// The group takes partitions away. What was read of them is stored and committed first, unless the
    /// membership is lost already: then another member may own them, and nothing may be committed.
    pub(super) fn revoked(&mut self, numbers: &[i32], lost: bool, now: Instant) {
        // A revocation that was still being settled has no time left.
        self.give_up(false);
        for number in numbers {
            if !self.policy.keeps_assignment(false)
                && let Some(state) = self.partition(*number)
            {
                state.revoking = true;
            }
            let has_tail = self.state(*number).is_some_and(|state| !state.open.is_empty());
            if self.policy.forgets_tail_at_revoke(has_tail) {
                self.forget_tail(*number);
            }
            self.seal(*number, None);
        }
        let at_once = lost || self.policy.gives_up_at_once();
        self.revocation = Some(Revocation {
            partitions: numbers.to_vec(),
            deadline: if at_once { now } else { now + self.limits.revoke_deadline },
            failures_before: self.committer.failures,
        });
        self.advance_revocation(lost, now);
    }

    /// Gives the partitions up once they are stored and committed, or when the time is over.
    fn advance_revocation(&mut self, lost: bool, now: Instant) {
        let Some(revocation) = &self.revocation else { return };
        let late = now >= revocation.deadline || lost;
        let refused = self.committer.failures >= revocation.failures_before + FAILED_COMMITS_MAX;
        let states = revocation
            .partitions
            .iter()
            .filter_map(|n| self.partitions.get(*n as usize)?.as_deref());
        let settled = states.clone().all(|state| {
            state.frontier.open_units() == 0 && (refused || state.to_commit().is_none())
        });
        if late || settled && !self.policy.waits_out_revocation() {
            self.give_up(settled);
        }
    }

    /// Lets go of what is being revoked.
    fn give_up(&mut self, settled: bool) {
        let Some(Revocation { partitions, .. }) = self.revocation.take() else { return };
        for number in &partitions {
            if !self.policy.keeps_assignment(false) {
                self.end(*number);
            }
        }
        self.effects.push_back(Effect::GiveUp { partitions, settled });
    }

    /// Begins a new assignment of one partition; what is left of an old one is dropped.
    fn begin(&mut self, number: i32, now: Instant) {
        let Ok(index) = usize::try_from(number) else { return };
        if self.partition(number).is_some() && self.policy.keeps_assignment(true) {
            return;
        }
        self.end(number);
        self.epochs += 1;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        self.partitions[index] = Some(Box::new(Partition::new(self.epochs, now)));
    }

    /// Ends an assignment: what is not in flight is dropped, what is in flight will count no more.
    fn end(&mut self, number: i32) {
        let slot = usize::try_from(number).ok().and_then(|index| self.partitions.get_mut(index));
        let Some(state) = slot.and_then(Option::take) else { return };
        self.policy.ended(number, state.to_commit());
        let mut dropped: usize = state.open.iter().map(|(_, part)| part.bytes()).sum();
        self.ready.retain(|Closed { unit, .. }| {
            let keep = unit.partition != number || unit.epoch != state.epoch;
            dropped += if keep { 0 } else { unit.bytes };
            keep
        });
        self.held_bytes -= dropped;
    }

    /// Takes a partition on again of which nothing came, neither a record nor its end. librdkafka asks
    /// for the committed offset of a new partition once: if the coordinator refuses the answer (it moves,
    /// it loads, a right is missing), the partition is in the assignment and nobody ever fetches it
    /// (librdkafka issue 5586).
    fn retake_silent(&mut self, now: Instant) {
        if self.paused || self.revocation.is_some() {
            return;
        }
        let silent = self
            .assigned_partitions()
            .find(|(_, state)| !state.begun && state.seek_to.is_none() && now >= state.retake_at);
        let Some((number, before)) = silent.map(|(number, state)| (number, state.retakes())) else {
            return;
        };
        let held = self
            .assigned_partitions()
            .map(|(other, state)| (other, state.frontier.position().filter(|_| other != number)));
        let held = held.collect();
        self.begin(number, now);
        if let Some(state) = self.partition(number) {
            state.retaken(before, now);
        }
        self.effects.push_back(Effect::Retake { partition: number, held });
    }

    // ---------------------------------------------------------------- records

    /// Says what is to be done with a record.
    pub(super) fn admit(&mut self, number: i32, offset: i64, now: Instant) -> Admission {
        if self.stopping() {
            return Admission::PassOver;
        }
        let Some(state) = self.partition(number) else { return Admission::PassOver };
        if state.revoking {
            return Admission::PassOver;
        }
        if let Some(restart_at) = state.seek_to {
            if offset >= restart_at {
                return Admission::PassOver;
            }
            // The first record that came was one of those that the client still held: the log went back
            // further, and what it has there now was never read.
            state.seek_to = Some(offset);
            return Admission::WentBack { restart_at: offset, gap: None };
        }
        if state.frontier.position().is_none_or(|next| offset >= next) {
            state.begun = true;
            return Admission::Take(state.gap_before(offset));
        }
        // What lies below was read before: only a log that ends early is news.
        let due = state.due().filter(|due| *due >= offset);
        let gap = due.map(|due| Gap { due, goes_on_at: offset });
        // After a reset this may be a record that the client still held, and the log may have gone back
        // further: only its beginning is sure to leave nothing out.
        let at_most = if gap.is_some() { 0 } else { i64::MAX };
        let restart_at = self.went_back(number, offset, at_most, now);
        Admission::WentBack { restart_at, gap }
    }

    /// The log went back below what was read: it was truncated, its topic was made anew, or the client
    /// fetched something twice. What is open or in flight no longer says anything about what comes;
    /// it is dropped, and everything from the first record that is not durable is read again.
    fn went_back(&mut self, number: i32, offset: i64, at_most: i64, now: Instant) -> i64 {
        let slot = usize::try_from(number).ok().and_then(|index| self.partitions.get(index));
        let restart_at = match slot.and_then(Option::as_deref) {
            Some(state) => self.policy.restart_at(&state.frontier, offset).min(at_most),
            None => offset.min(at_most),
        };
        self.begin(number, now);
        if let Some(state) = self.partition(number) {
            state.seek_to = Some(restart_at);
        }
        restart_at
    }

    /// The topic was deleted and another one made under its name: the offsets of these partitions say nothing
    /// about it. What is open or in flight belongs to the old one and counts no more; the new one is read
    /// from its beginning. Returns the partitions that this concerns.
    pub(super) fn topic_replaced(&mut self, numbers: &[i32], now: Instant) -> Vec<i32> {
        let mut concerned = Vec::new();
        for number in numbers {
            let Some(state) = self.partition(*number) else { continue };
            concerned.push(*number);
            if state.revoking {
                // Whoever has it next begins anew; nothing of it is to be committed.
                self.end(*number);
                continue;
            }
            self.begin(*number, now);
            if let Some(state) = self.partition(*number) {
                state.seek_to = Some(0);
            }
        }
        concerned
    }

    /// Which leader an admitted record was appended under; for the commit behind it.
    pub(super) fn read_under(&mut self, number: i32, offset: i64, leader_epoch: i32) {
        if let Some(state) = self.partition(number) {
            state.read_under(offset, leader_epoch);
        }
    }

    /// The leader under which the last record in front of a commit was appended; -1 if nobody knows.
    pub(super) fn leader_epoch_before(&self, number: i32, next: i64) -> i32 {
        self.state(number).map_or(-1, |state| state.leader_epoch_before(next))
    }

    /// Adds an admitted record to the part of its day. `write` appends its line, of about `estimate` bytes.
    pub(super) fn add(
        &mut self,
        (number, offset): (i32, i64),
        date: NaiveDate,
        estimate: usize,
        now: Instant,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let rejuvenated = self.policy.ages_from_last_record();
        let Some(state) = self.partition(number) else { return };
        let begins_part = state.open_part(date).is_none();
        if begins_part {
            state.open.push((date, PartBuffer::new(offset, now)));
        }
        // Nothing is to be committed before something was handled.
        state.committed.get_or_insert(offset);
        state.frontier.take(offset, begins_part);
        let Some(part) = state.open_part(date) else { return };
        let grown = part.add(offset, estimate, write);
        if rejuvenated {
            part.opened_at = now;
        }
        let (records, bytes) = (part.span().records, part.bytes());
        self.held_bytes += grown;
        if self.policy.is_full(records, bytes, self.limits.batch) {
            self.seal(number, Some(date));
        }
    }

    /// An admitted record becomes a dead letter of so many bytes: the unit that it is from now on.
    pub(super) fn bury(&mut self, number: i32, offset: i64, bytes: usize) -> Option<Unit> {
        let at_once = self.policy.counts_unacknowledged();
        let state = self.partition(number)?;
        state.committed.get_or_insert(offset);
        state.frontier.take(offset, true);
        let unit = Unit { partition: number, epoch: state.epoch, first_offset: offset, bytes };
        if at_once {
            state.frontier.finish(offset);
        }
        self.held_bytes += bytes;
        self.outside += 1;
        Some(unit)
    }

    /// The client says how far its fetching is.
    pub(super) fn fetched(&mut self, number: i32, fetched: &Fetched) {
        let trusts = self.policy.trusts_the_last_answer();
        if let Some(state) = self.partition(number) {
            let before = state.answered;
            state.fetched(fetched);
            state.answered |= trusts && before;
        }
    }

    /// The broker no longer has, or not yet has, the offset that was due.
    pub(super) fn offset_reset(&mut self, number: i32, due: i64) {
        if let Some(state) = self.partition(number) {
            state.sent_elsewhere(due);
        }
    }

    /// The client went back to where it was sent.
    pub(super) fn sought(&mut self, number: i32, offset: i64) {
        if let Some(state) = self.partition(number)
            && state.seek_to == Some(offset)
        {
            state.seek_to = None;
        }
    }

    // ---------------------------------------------------------------- sealing

    /// Seals the open parts of a partition: one day's, or all.
    fn seal(&mut self, number: i32, only: Option<NaiveDate>) {
        let slot = usize::try_from(number).ok().and_then(|index| self.partitions.get_mut(index));
        let Some(state) = slot.and_then(Option::as_deref_mut) else { return };
        let epoch = state.epoch;
        let sealed = state.open.extract_if(.., |(date, _)| only.is_none_or(|day| day == *date));
        self.ready.extend(sealed.map(|(date, buffer)| {
            let first_offset = buffer.span().first_offset;
            let unit = Unit { partition: number, epoch, first_offset, bytes: buffer.bytes() };
            Closed { unit, date, buffer }
        }));
    }

    fn seal_all(&mut self) {
        for number in self.numbers() {
            self.seal(number, None);
        }
    }

    /// Seals the largest open parts, as many as can be uploaded at once: they give most memory back. The
    /// others go on growing. To seal all whenever the memory is full made thousands of parts of a few
    /// records each where the store was the slowest of all.
    fn seal_largest(&mut self) {
        while self.ready.len() + self.uploads < self.limits.share.uploads {
            let open = self.assigned_partitions().flat_map(|(number, state)| {
                state.open.iter().map(move |(date, part)| (part.bytes(), number, *date))
            });
            let Some((_, number, date)) = open.max() else { return };
            self.seal(number, Some(date));
        }
    }

    /// Seals what is old enough, unless parts wait for the store already: what is open would only wait
    /// behind them. So a store that was away for minutes finds few large parts and not one for each
    /// batch age, which at some tens of milliseconds a request are what keeps a backlog from shrinking.
    fn seal_aged(&mut self, now: Instant) {
        if !self.ready.is_empty() {
            return;
        }
        let age = self.limits.batch.age;
        let mut aged: Vec<(i32, NaiveDate)> = Vec::new();
        for (number, state) in self.assigned_partitions() {
            let old = state.open.iter().filter(|(_, part)| {
                let old = now.duration_since(part.opened_at) >= age;
                old && !self.policy.stays_young(part.span().records)
            });
            aged.extend(old.map(|(date, _)| (number, *date)));
        }
        for (number, date) in aged {
            self.seal(number, Some(date));
        }
    }

    /// Drops what is open of a partition and counts it as stored: only faulty policies ask for it.
    fn forget_tail(&mut self, number: i32) {
        let Some(state) = self.partition(number) else { return };
        let open = std::mem::take(&mut state.open);
        let mut dropped = 0;
        for (_, part) in open {
            dropped += part.bytes();
            state.frontier.finish(part.span().first_offset);
        }
        self.held_bytes -= dropped;
    }

    // ---------------------------------------------------------------- turns

    /// A turn of the loop: what time alone, or room for one more upload, brings about. `lost` says whether
    /// the client knows the membership to be lost.
    pub(super) fn tick(&mut self, lost: bool, now: Instant) {
        self.start_uploads();
        self.advance_revocation(lost, now);
        self.commit(lost, now);
        if self.stopping() {
            return;
        }
        self.retake_silent(now);
        self.seal_aged(now);
        self.keep_within_memory(now);
        self.start_uploads();
        for (number, slot) in self.partitions.iter().enumerate() {
            let state = slot.as_deref().filter(|state| !state.revoking);
            if let Some(offset) = state.and_then(|state| state.seek_to) {
                self.effects.push_back(Effect::Seek { partition: number as i32, offset });
            }
        }
    }

    fn start_uploads(&mut self) {
        while self.uploads < self.limits.share.uploads {
            let Some(closed) = self.ready.pop_front() else { return };
            self.uploads += 1;
            self.outside += 1;
            self.effects.push_back(Effect::Store(closed));
        }
    }

    /// Keeps the memory within its bound. A short wait for the uploads costs nothing; when it lasts,
    /// the partitions are paused, so that polling can go on and the group keeps this member.
    fn keep_within_memory(&mut self, now: Instant) {
        // Once paused, some room is to be made before it goes on.
        let roomy = match self.paused {
            true => self.held_bytes <= self.limits.share.memory / 4 * 3,
            false => self.held_bytes < self.limits.share.memory,
        };
        if roomy {
            if self.paused {
                self.pause(false);
            }
            self.full_since = None;
            return;
        }
        self.seal_largest();
        let since = *self.full_since.get_or_insert(now);
        if !self.paused && now.duration_since(since) >= FULL_FOR {
            self.pause(true);
        }
    }

    fn pause(&mut self, pause: bool) {
        self.paused = pause;
        self.effects.push_back(Effect::Pause(pause));
    }

    /// What it may use from now on.
    pub(super) fn set_share(&mut self, share: Share) {
        self.limits.share = share;
    }

    /// Whether no record is to be taken until the next turn.
    pub(super) fn is_full(&self) -> bool {
        self.full_since.is_some()
    }

    // ---------------------------------------------------------------- completions

    /// A part is durable; `next` is the offset behind its last record. Says whether it counted.
    pub(super) fn stored(&mut self, unit: Unit, next: i64) -> bool {
        if self.policy.gives_slot_back() {
            self.uploads -= 1;
        }
        let counted = self.finish(unit);
        self.policy.stored(unit, next, counted);
        counted
    }

    /// A dead letter is acknowledged. Says whether it counted.
    pub(super) fn dead_lettered(&mut self, unit: Unit) -> bool {
        self.finish(unit)
    }

    /// Marks a unit durable, unless its assignment is over.
    fn finish(&mut self, unit: Unit) -> bool {
        self.held_bytes -= unit.bytes;
        self.outside -= 1;
        let slot = usize::try_from(unit.partition).ok();
        let slot = slot.and_then(|index| self.partitions.get_mut(index));
        match slot.and_then(Option::as_deref_mut) {
            Some(state) if self.policy.counts(unit.epoch, state.epoch) => {
                state.frontier.finish(unit.first_offset);
                true
            }
            _ => false,
        }
    }

    // ---------------------------------------------------------------- commits

    /// Commits nothing until then, or until it is said again: the first commit of a member writes over what
    /// the group had committed.
    pub(super) fn hold_commits(&mut self, until: Option<Instant>) {
        self.hold_commits = until;
    }

    /// Commits every frontier that has moved, if no other commit is on its way.
    fn commit(&mut self, lost: bool, now: Instant) {
        if self.hold_commits.is_some_and(|until| now < until) || !self.committer.may_send(now) {
            return;
        }
        if !lost && self.assigned_partitions().next().is_some() {
            let late = self.policy.late_commits();
            if !late.is_empty() {
                return self.send(late, now);
            }
        }
        if lost || self.policy.gives_up(self.committer.failures) {
            return;
        }
        let again = self.policy.commits_again();
        let mut sent = Vec::new();
        for (number, slot) in self.partitions.iter().enumerate() {
            let Some(state) = slot.as_deref() else { continue };
            let number = number as i32;
            let next = self.policy.next_to_commit(number, &state.frontier, state.revoking);
            let is_due = |next: &i64| {
                state.committed.is_none_or(|done| done < *next || again && done == *next)
            };
            if let Some(offset) = next.filter(is_due) {
                sent.push((number, state.epoch, offset));
            }
        }
        if sent.is_empty() {
            return;
        }
        let bend = self.policy.bend();
        for (_, _, offset) in &mut sent {
            *offset += bend;
        }
        self.send(sent, now);
    }

    fn send(&mut self, offsets: Sent, now: Instant) {
        let request = offsets.iter().map(|(number, _, offset)| (*number, *offset)).collect();
        self.committer.sent(now, offsets);
        self.effects.push_back(Effect::Commit(request));
    }

    /// A commit was answered. `offsets` are those that the broker took; returns what of them was sent:
    /// partition, epoch, offset.
    pub(super) fn commit_answered(
        &mut self,
        taken: bool,
        offsets: &[(i32, i64)],
        now: Instant,
    ) -> Sent {
        let mut sent = self.committer.answered(now, taken);
        for (number, epoch, offset) in &sent {
            self.policy.answered(*number, *epoch, *offset, !taken);
        }
        sent.retain(|(number, _, offset)| offsets.contains(&(*number, *offset)));
        let bend_back = self.policy.bend_back();
        for (number, epoch, offset) in &sent {
            if let Some(state) = self.partition(*number).filter(|state| state.epoch == *epoch) {
                state.committed = Some(offset + bend_back);
                state.forget_leaders(*offset);
            }
        }
        sent
    }

    /// A commit could not even be sent.
    pub(super) fn commit_unsent(&mut self, now: Instant) {
        self.commit_answered(false, &[], now);
    }

    // ---------------------------------------------------------------- the way out

    /// The process is to stop: no more records are taken, and what was read is stored and committed until
    /// then. After a failure that is hopeless only what is durable already is committed.
    pub(super) fn stop(&mut self, until: Instant, store_the_rest: bool) {
        self.stop = Some(Stop { until, store_the_rest });
        self.pause(true);
        if !store_the_rest {
            return;
        }
        let numbers = self.numbers();
        for number in &numbers {
            let is_last = Some(number) == numbers.last();
            let Some(state) = self.state(*number) else { continue };
            let has_tail = !state.open.is_empty();
            let has_rest = state.to_commit().is_some() || state.frontier.open_units() > 0;
            match self.policy.at_stop(is_last, has_tail, has_rest) {
                AtStop::StoreAll => {}
                AtStop::ForgetTail => self.forget_tail(*number),
                AtStop::CommitNothing => {
                    if let Some(state) = self.partition(*number) {
                        state.committed = Some(i64::MAX);
                    }
                }
            }
        }
        self.seal_all();
    }

    /// Whether the way out is at its end, and then whether everything that was read is stored and
    /// committed.
    pub(super) fn drained(&self, now: Instant) -> Option<bool> {
        let stop = self.stop?;
        let Rest { open_units, uncommitted } = self.rest();
        let has_rest = open_units > 0 && stop.store_the_rest;
        if !has_rest && !uncommitted && self.revocation.is_none() {
            return Some(open_units == 0);
        }
        (now >= stop.until).then_some(false)
    }

    /// What is not stored or not committed.
    pub(super) fn rest(&self) -> Rest {
        let states = || self.assigned_partitions().map(|(_, state)| state);
        Rest {
            open_units: states().map(|state| state.frontier.open_units()).sum(),
            uncommitted: states().any(|state| state.to_commit().is_some()),
        }
    }

    // ---------------------------------------------------------------- looking in

    fn partition(&mut self, number: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(number).ok()?)?.as_deref_mut()
    }

    /// The partitions that this member has.
    pub(super) fn assigned_partitions(&self) -> impl Iterator<Item = (i32, &Partition)> {
        let numbered = self.partitions.iter().enumerate();
        numbered.filter_map(|(number, state)| Some((number as i32, state.as_deref()?)))
    }

    fn numbers(&self) -> Vec<i32> {
        self.assigned_partitions().map(|(number, _)| number).collect()
    }

    /// One of them.
    pub(super) fn state(&self, number: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(number).ok()?)?.as_deref()
    }

    /// Whether partitions are on their way out.
    pub(super) fn revoking(&self) -> bool {
        self.revocation.is_some()
    }

    /// Whether the process is on its way out.
    pub(super) fn stopping(&self) -> bool {
        self.stop.is_some()
    }

    pub(super) fn paused(&self) -> bool {
        self.paused
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn uploads(&self) -> usize {
        self.uploads
    }

    /// How many assignments there were.
    pub(super) fn epochs(&self) -> u64 {
        self.epochs
    }

    /// The highest number of a partition that was ever assigned, plus one.
    pub(super) fn partitions_seen(&self) -> usize {
        self.partitions.len()
    }

    /// Whether the end of some work is waited for.
    pub(super) fn working(&self) -> bool {
        self.outside > 0
    }

    /// The next moment at which time alone brings something about.
    pub(super) fn due_at(&self, now: Instant) -> Option<Instant> {
        let oldest = self.assigned_partitions().filter_map(|(_, state)| state.oldest()).min();
        let may_seal = self.ready.is_empty();
        let seal_at = oldest.filter(|_| may_seal).map(|opened| opened + self.limits.batch.age);
        // A back-off that is over is waited for no more; it ends for good with the next success.
        let commit_at = self.committer.not_before().filter(|at| *at > now);
        [seal_at, commit_at].into_iter().flatten().min()
    }
}

/// For those who check the books.
#[cfg(test)]
impl<P> Core<P> {
    /// What is closed and not in flight.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Unit> {
        self.ready.iter().map(|closed| &closed.unit)
    }
}

/// What is not yet stored, or not yet committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) open_units: usize,
    pub(super) uncommitted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core() -> (Core<Sound>, Instant) {
        let batch = BatchLimits { records: 1_000, bytes: 1 << 20, age: Duration::from_millis(500) };
        let limits = Limits {
            batch,
            share: Share { uploads: 2, memory: 1 << 20 },
            revoke_deadline: Duration::from_secs(10),
        };
        (Core::new(limits), Instant::now())
    }

    fn read(core: &mut Core<Sound>, offset: i64, now: Instant) {
        assert_eq!(core.admit(0, offset, now), Admission::Take(None));
        core.add((0, offset), NaiveDate::default(), 1, now, |line| line.push(b'\n'));
    }

    /// The open part grows old, and is stored up to an offset; whether that counts.
    fn store(core: &mut Core<Sound>, next: i64, now: Instant) -> bool {
        core.tick(false, now + Duration::from_secs(1));
        let part = std::iter::from_fn(|| core.next_effect()).find_map(|effect| match effect {
            Effect::Store(closed) => Some(closed),
            _ => None,
        });
        core.stored(part.expect("the part is old enough").unit, next)
    }

    #[test]
    fn reading_goes_on_from_what_is_not_durable() {
        let (mut core, now) = core();
        core.assigned(&[0], now);
        // A part of 0 to 999 is sealed and not stored: all of it is dropped, not only what comes again.
        for offset in 0..1_001 {
            read(&mut core, offset, now);
        }
        assert_eq!(core.admit(0, 600, now), Admission::WentBack { restart_at: 0, gap: None });
        assert_eq!((core.held_bytes(), core.rest().open_units), (0, 0));
        assert_eq!(core.admit(0, 601, now), Admission::PassOver);
        core.sought(0, 0);
        for offset in 0..10 {
            read(&mut core, offset, now);
        }
        assert!(store(&mut core, 10, now));
        assert_eq!(core.admit(0, 5, now), Admission::WentBack { restart_at: 5, gap: None });
    }

    /// A log that was cut back while the client held records of before: they come first.
    #[test]
    fn reading_goes_back_as_far_as_the_log_did() {
        let (mut core, now) = core();
        core.assigned(&[0], now);
        for offset in 0..10 {
            read(&mut core, offset, now);
        }
        assert!(store(&mut core, 10, now));
        let back = |restart_at| Admission::WentBack { restart_at, gap: None };
        assert_eq!(core.admit(0, 8, now), back(8));
        assert_eq!(core.admit(0, 9, now), Admission::PassOver);
        assert_eq!(core.admit(0, 6, now), back(6));
        assert_eq!(core.admit(0, 7, now), Admission::PassOver);
        // Where it was to go before no longer counts.
        core.sought(0, 8);
        assert_eq!(core.admit(0, 8, now), Admission::PassOver);
        core.sought(0, 6);
        read(&mut core, 6, now);
    }

    /// A topic that was deleted and made again under the same name, longer than the old one was.
    #[test]
    fn another_topic_of_the_same_name_is_read_from_its_beginning() {
        let (mut core, now) = core();
        core.assigned(&[0, 1], now);
        for offset in 0..10 {
            read(&mut core, offset, now);
        }
        assert!(store(&mut core, 10, now));
        // Of the new one, before anybody knows.
        read(&mut core, 10, now);
        core.revoked(&[1], false, now);
        assert_eq!(core.topic_replaced(&[0, 1, 2], now), [0]);
        assert_eq!(
            (core.held_bytes(), core.rest()),
            (0, Rest { open_units: 0, uncommitted: false })
        );
        assert_eq!(core.admit(0, 11, now), Admission::PassOver);
        let mut effects = Vec::new();
        core.tick(false, now);
        while let Some(effect) = core.next_effect() {
            effects.push(effect);
        }
        assert!(
            effects.iter().any(|e| matches!(e, Effect::Seek { partition: 0, offset: 0 })),
            "{effects:?}"
        );
        core.sought(0, 0);
        read(&mut core, 0, now);
    }

    #[test]
    fn nothing_is_committed_before_it_is_known_what_was() {
        let (mut core, now) = core();
        core.assigned(&[0], now);
        let commits = |core: &mut Core<Sound>, now| {
            core.tick(false, now);
            std::iter::from_fn(|| core.next_effect())
                .filter(|effect| matches!(effect, Effect::Commit(_)))
                .count()
        };
        core.hold_commits(Some(now + Duration::from_secs(5)));
        read(&mut core, 0, now);
        assert!(store(&mut core, 1, now));
        assert_eq!(commits(&mut core, now + Duration::from_secs(4)), 0);
        // Nobody answers.
        assert_eq!(commits(&mut core, now + Duration::from_secs(5)), 1);
    }

    #[test]
    fn a_gap_shows_at_the_first_record_behind_it() {
        let (mut core, now) = core();
        core.assigned(&[0], now);
        read(&mut core, 5, now);
        // The client holds 6 and 7 when the log loses what comes next: they are no gap.
        core.offset_reset(0, 8);
        read(&mut core, 6, now);
        read(&mut core, 7, now);
        let gap = Some(Gap { due: 8, goes_on_at: 20 });
        assert_eq!(core.admit(0, 20, now), Admission::Take(gap));
        core.add((0, 20), NaiveDate::default(), 1, now, |line| line.push(b'\n'));
        core.offset_reset(0, 21);
        let gap = Some(Gap { due: 21, goes_on_at: 3 });
        assert_eq!(core.admit(0, 3, now), Admission::WentBack { restart_at: 0, gap });
    }
}
