//! The decisions on which the guarantees rest, as a seam.
//!
//! [`Sound`] takes each of them in the right way, which is the default of each method; it has no size, and
//! the compiler leaves nothing of the seam. Whatever is to be seen going wrong is another policy: the
//! faulty ones of the simulator, and the bugs that `planted-bugs` builds in. So the core itself holds the
//! right code only.

use super::{Frontier, Unit};
use crate::config::BatchLimits;

/// What a stop does with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(test, feature = "planted-bugs")), expect(dead_code, reason = "only bugs do"))]
pub(crate) enum AtStop {
    /// What is open is stored and committed.
    StoreAll,
    /// What is open is dropped, and counted as stored.
    ForgetTail,
    /// It is stored, and never committed.
    CommitNothing,
}

/// See the module. The default of each method is what is right.
pub(crate) trait Policy: Default {
    /// The offset to commit of a partition.
    fn next_to_commit(
        &mut self,
        partition: i32,
        frontier: &Frontier,
        revoking: bool,
    ) -> Option<i64> {
        let _ = (partition, revoking);
        frontier.durable()
    }

    /// How far the offsets of one request are bent.
    fn bend(&mut self) -> i64 {
        0
    }

    /// How far a confirmed offset is bent back, so that a bent one is not sent for ever.
    fn bend_back(&self) -> i64 {
        0
    }

    /// Whether what is committed is committed once more.
    fn commits_again(&mut self) -> bool {
        false
    }

    /// Whether nothing is committed any more after so many failures.
    fn gives_up(&mut self, failures: u32) -> bool {
        let _ = failures;
        false
    }

    /// Whether a batch takes no more.
    fn is_full(&mut self, records: u64, bytes: usize, limits: BatchLimits) -> bool {
        records >= limits.records || bytes >= limits.bytes
    }

    /// Whether the age of a batch begins anew with each record.
    fn ages_from_last_record(&mut self) -> bool {
        false
    }

    /// Whether a batch of so many records does not grow old.
    fn stays_young(&self, records: u64) -> bool {
        let _ = records;
        false
    }

    /// Whether what ended under one epoch counts under another.
    fn counts(&mut self, ended: u64, current: u64) -> bool {
        ended == current
    }

    /// Whether a dead letter counts as soon as it is sent.
    fn counts_unacknowledged(&mut self) -> bool {
        false
    }

    /// A part was stored that ends in front of `next`.
    fn stored(&mut self, unit: Unit, next: i64, counted: bool) {
        let _ = (unit, next, counted);
    }

    /// Where a partition is read again of which something came that lies below what was read.
    fn restart_at(&mut self, frontier: &Frontier, offset: i64) -> i64 {
        frontier.durable().map_or(offset, |durable| durable.min(offset))
    }

    /// Whether a partition keeps the state of its old assignment, through a revocation and a new one.
    fn keeps_assignment(&mut self, begun_anew: bool) -> bool {
        let _ = begun_anew;
        false
    }

    /// Whether what is open is dropped, and counted as stored, when a partition is taken away.
    fn forgets_tail_at_revoke(&mut self, has_tail: bool) -> bool {
        let _ = has_tail;
        false
    }

    /// Whether a partition that is taken away is given up at once.
    fn gives_up_at_once(&mut self) -> bool {
        false
    }

    /// Whether a partition that is taken away is kept until its time is over, settled or not.
    fn waits_out_revocation(&mut self) -> bool {
        false
    }

    /// Whether a part that is stored makes room for another upload.
    fn gives_slot_back(&mut self) -> bool {
        true
    }

    /// An assignment ended while this offset could have been committed and was not.
    fn ended(&mut self, partition: i32, uncommitted: Option<i64>) {
        let _ = (partition, uncommitted);
    }

    /// Offsets to be committed of partitions that are no longer assigned: partition, epoch, offset.
    fn late_commits(&mut self) -> Vec<(i32, u64, i64)> {
        Vec::new()
    }

    /// A request to commit was answered.
    fn answered(&mut self, partition: i32, epoch: u64, next: i64, refused: bool) {
        let _ = (partition, epoch, next, refused);
    }

    /// Whether the end that was told last is trusted after fetches are no longer answered.
    fn trusts_the_last_answer(&mut self) -> bool {
        false
    }

    /// What an orderly stop does with a partition.
    fn at_stop(&mut self, is_last: bool, has_tail: bool, has_rest: bool) -> AtStop {
        let _ = (is_last, has_tail, has_rest);
        AtStop::StoreAll
    }
}

/// All is done right.
#[cfg(any(test, not(feature = "planted-bugs")))]
#[derive(Debug, Default)]
pub(crate) struct Sound;

#[cfg(any(test, not(feature = "planted-bugs")))]
impl Policy for Sound {}
