//! The planted bug `commit-after-revoke`, whole: what was stored and not committed when a partition
//! was taken away is committed all the same. Without the feature nothing is ever noted here.

use super::context::Context;
use super::poll_loop::PollLoop;
use crate::native;
use crate::planted::{self, Bug};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::Instant;

/// The epoch of such commits; no assignment has it.
const EPOCH: u64 = 0;

/// Partitions that were taken away, with the offset that is still to be committed.
#[derive(Debug, Default)]
pub(super) struct Late(Vec<(i32, i64)>);

impl Late {
    pub(super) fn note(&mut self, partition: i32, next: i64) {
        if planted::acts(Bug::CommitAfterRevoke) {
            self.0.push((partition, next));
        }
    }

    /// An answer came. One that the broker refused is tried again.
    pub(super) fn answered(&mut self, partition: i32, epoch: u64, next: i64, refused: bool) {
        if epoch == EPOCH && refused {
            self.note(partition, next);
        }
    }
}

impl PollLoop {
    /// Once this member belongs to the group again the broker takes its commits, and nothing tells it
    /// that a partition has another owner by now. Says whether a request was sent.
    pub(super) fn commit_late(&mut self, consumer: &BaseConsumer<Context>, now: Instant) -> bool {
        let member = !consumer.assignment_lost() && self.assigned_partitions().next().is_some();
        if self.late.0.is_empty() || !member {
            return false;
        }
        let mut late = std::mem::take(&mut self.late.0);
        late.sort_unstable();
        late.dedup_by_key(|(partition, _)| *partition);
        if native::commit(consumer, &self.settings.topic, &late).is_err() {
            self.late.0 = late;
            return false;
        }
        let sent = late.into_iter().map(|(partition, next)| (partition, EPOCH, next)).collect();
        self.committer.sent(now, sent);
        true
    }
}
