//! The bugs of the commit protocol and of the parts' numbers, as other policies of both machines.

use super::{Bug, STORE_ERROR, acts, acts_if, acts_once, announce, is};
use crate::config::BatchLimits;
use crate::consumer::core::{AtStop, Frontier, Policy, Unit};
use crate::raw_zone::numbering::Naming;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The epoch of commits for partitions that were taken away; no assignment has it.
const LATE: u64 = 0;

/// A partition of which nothing came for this long is idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// As many records as somebody thought worth a commit.
const WORTH_A_COMMIT: i64 = 100;
/// How long nothing is committed after a commit, by the bug that commits rarely.
const RARELY: Duration = Duration::from_secs(30);

/// Wrong where the one bug of this process is.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    /// How far each partition was read, and when that was seen first.
    read: BTreeMap<i32, (i64, Instant)>,
    /// The end of the newest part that was stored of each partition.
    newest: BTreeMap<i32, i64>,
    /// Partitions that were taken away, with the offset that is still to be committed.
    late: Vec<(i32, i64)>,
    /// How far each partition is committed.
    told: BTreeMap<i32, i64>,
    /// Partitions that this member had before.
    had: BTreeSet<i32>,
    /// When the last commit was confirmed.
    committed_at: Option<Instant>,
    /// The process is to stop.
    stopping: bool,
}

impl Planted {
    /// Whether records of a partition keep coming.
    fn is_busy(&mut self, partition: i32, position: Option<i64>) -> bool {
        let (Some(position), now) = (position, Instant::now()) else { return false };
        let seen = self.read.entry(partition).or_insert((position, now));
        if seen.0 != position {
            *seen = (position, now);
        }
        now.duration_since(seen.1) < IDLE_AFTER
    }

    fn note_late(&mut self, partition: i32, next: i64) {
        if acts(Bug::CommitAfterRevoke) {
            self.late.push((partition, next));
        }
    }
}

impl Policy for Planted {
    fn next_to_commit(
        &mut self,
        partition: i32,
        frontier: &Frontier,
        revoking: bool,
    ) -> Option<i64> {
        let (durable, read) = (frontier.durable(), frontier.position());
        let newest = self.newest.get(&partition).copied();
        let more = read > durable;
        let had = self.had.contains(&partition) && durable.is_some();
        if acts_if(Bug::CommitsFirstAssignmentOnly, had) {
            return None;
        }
        let soon = self.committed_at.is_some_and(|at| at.elapsed() < RARELY);
        if acts_if(Bug::CommitsRarely, soon && !revoking && !self.stopping) {
            return None;
        }
        if is(Bug::LetterAtEndUncommitted) {
            let letters = durable > newest && frontier.open_units() == 0;
            return if acts_if(Bug::LetterAtEndUncommitted, letters) { newest } else { durable };
        }
        if is(Bug::CommitsOnlyWhenIdle) && !revoking && self.is_busy(partition, read) {
            acts(Bug::CommitsOnlyWhenIdle);
            return None;
        }
        if is(Bug::CommitsByTheHundred) && !revoking && !self.stopping {
            let next = durable?;
            let told = *self.told.entry(partition).or_insert(next);
            if next < told + WORTH_A_COMMIT {
                acts_if(Bug::CommitsByTheHundred, next > told);
                return None;
            }
        }
        if acts_if(Bug::CommitNewestCompletion, newest > durable) || is(Bug::CommitNewestCompletion)
        {
            return newest;
        }
        let early = acts_if(Bug::CommitBeforeWrite, more)
            || acts_if(Bug::CommitReadAtRevoke, revoking && more)
            || more
                && is(Bug::CommitEarlyAfterRetry)
                && STORE_ERROR.is_set()
                && acts(Bug::CommitEarlyAfterRetry)
            || more && acts_once(Bug::CommitEarlyOnce, 40);
        let unstored = more && is(Bug::StopCommitsUnstored) && self.stopping;
        let unstored = unstored && STORE_ERROR.is_set() && acts(Bug::StopCommitsUnstored);
        if early || unstored { read } else { durable }
    }

    fn bend(&mut self) -> i64 {
        match () {
            () if acts(Bug::CommitLastOffset) => -1,
            () if acts(Bug::CommitOneTooFar) => 1,
            // Further back than a batch is long: less would only be a commit that comes late.
            () if acts_once(Bug::CommitBackOnce, 10) => -60,
            () => 0,
        }
    }

    fn bend_back(&self) -> i64 {
        i64::from(is(Bug::CommitLastOffset)) - i64::from(is(Bug::CommitOneTooFar))
    }

    fn commits_again(&mut self) -> bool {
        acts(Bug::CommitsAgain)
    }

    fn counts(&mut self, ended: u64, current: u64) -> bool {
        ended == current || acts(Bug::LateCompletionCounts)
    }

    fn gives_up(&mut self, failures: u32) -> bool {
        acts_if(Bug::CommitsGivenUp, failures > 0)
    }

    fn is_full(&mut self, records: u64, bytes: usize, limits: BatchLimits) -> bool {
        let (by_records, by_bytes) = (records >= limits.records, bytes >= limits.bytes);
        if acts_if(Bug::BatchOneTooMany, records == limits.records) {
            return false;
        }
        by_records || by_bytes && !acts(Bug::BatchBytesIgnored)
    }

    fn ages_from_last_record(&mut self) -> bool {
        acts(Bug::AgeOfTheLastRecord)
    }

    fn stays_young(&self, records: u64) -> bool {
        acts_if(Bug::SingleRecordWaits, records == 1)
    }

    fn counts_unacknowledged(&mut self) -> bool {
        acts(Bug::CommitBeforeDeadLetterAck)
    }

    fn stored(&mut self, unit: Unit, next: i64, counted: bool) {
        if is(Bug::CommitNewestCompletion) || is(Bug::LetterAtEndUncommitted) {
            let newest = self.newest.entry(unit.partition).or_insert(next);
            *newest = next.max(*newest);
        }
        if !counted {
            self.note_late(unit.partition, next);
        }
    }

    fn keeps_assignment(&mut self, begun_anew: bool) -> bool {
        is(Bug::StaleAssignment) && (!begun_anew || acts(Bug::StaleAssignment))
    }

    fn forgets_tail_at_revoke(&mut self, has_tail: bool) -> bool {
        acts_if(Bug::TailForgottenAtRevoke, has_tail)
    }

    fn gives_up_at_once(&mut self) -> bool {
        is(Bug::CommitAfterRevoke)
    }

    fn waits_out_revocation(&mut self) -> bool {
        acts(Bug::RevocationUsesItsDeadline)
    }

    fn gives_slot_back(&mut self) -> bool {
        !(is(Bug::SlotLostAtError) && STORE_ERROR.take() && acts(Bug::SlotLostAtError))
    }

    fn ended(&mut self, partition: i32, uncommitted: Option<i64>) {
        self.newest.remove(&partition);
        self.told.remove(&partition);
        if is(Bug::CommitsFirstAssignmentOnly) {
            self.had.insert(partition);
        }
        if let Some(next) = uncommitted {
            self.note_late(partition, next);
        }
    }

    fn late_commits(&mut self) -> Vec<(i32, u64, i64)> {
        let mut late = std::mem::take(&mut self.late);
        late.sort_unstable();
        late.dedup_by_key(|(partition, _)| *partition);
        late.into_iter().map(|(partition, next)| (partition, LATE, next)).collect()
    }

    /// One that the broker refused is tried again.
    fn answered(&mut self, partition: i32, epoch: u64, next: i64, refused: bool) {
        if is(Bug::CommitsRarely) && !refused {
            self.committed_at = Some(Instant::now());
        }
        if epoch == LATE && refused {
            self.note_late(partition, next);
        }
        if is(Bug::CommitsByTheHundred) && !refused {
            self.told.insert(partition, next);
        }
    }

    fn at_stop(&mut self, is_last: bool, has_tail: bool, has_rest: bool) -> AtStop {
        self.stopping = true;
        if is(Bug::TailForgotten) || is_last && is(Bug::TailOfOnePartition) {
            if has_tail {
                announce();
            }
            return AtStop::ForgetTail;
        }
        if acts_if(Bug::CommitForgottenAtStop, has_rest) {
            return AtStop::CommitNothing;
        }
        AtStop::StoreAll
    }
}

/// Wrong where the one bug of this process is.
#[derive(Debug, Default)]
pub(crate) struct PlantedNaming {
    /// The folder's numbers have begun.
    begun: bool,
}

impl Naming for PlantedNaming {
    fn next(&mut self, right: u64) -> u64 {
        let begins = !std::mem::replace(&mut self.begun, true);
        if acts_if(Bug::PartZero, begins && right == 1) {
            return 0;
        }
        if is(Bug::NumberUsedAgain) && right > 1 && STORE_ERROR.take() && acts(Bug::NumberUsedAgain)
        {
            return right - 1;
        }
        right
    }

    fn first_unlisted(&mut self) -> Option<u64> {
        acts(Bug::PartOverwritten).then_some(1)
    }

    fn trusts_taken(&mut self) -> bool {
        acts(Bug::TakenNameCountsAsStored)
    }

    fn unanswered(&mut self, number: u64, next: &mut Option<u64>) -> u64 {
        match *next {
            Some(another) if acts(Bug::RetryUnderAnotherName) => {
                *next = Some(another + 1);
                another
            }
            _ => number,
        }
    }
}
