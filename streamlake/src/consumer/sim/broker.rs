//! The model of Kafka: logs that lose their ends, and a group that takes partitions away.

use super::{Checked, broken};
use std::collections::VecDeque;

/// Whether a record is good, and of which day, or poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Good { day: usize },
    Poison,
}

/// What became of a record.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) partition: usize,
    pub(super) offset: i64,
    pub(super) kind: Kind,
    /// It lies in an object of the store.
    pub(super) stored: bool,
    /// Its dead letter was acknowledged to somebody.
    pub(super) acknowledged: bool,
    /// The log no longer holds it.
    pub(super) expired: bool,
    /// It expired before the group had an offset: it was due to nobody.
    pub(super) before_all: bool,
    /// Its offset was another record's before the log was cut back.
    pub(super) second: bool,
    /// It was cut off the log, as if it had never been there.
    pub(super) cut_off: bool,
    /// A member told that it was passed over.
    pub(super) reported: bool,
}

impl Fate {
    pub(super) fn durable(&self) -> bool {
        self.stored || self.acknowledged
    }
}

/// One offset. Markers of transactions hold no record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) record: Option<u32>,
    /// The leader's epoch: each truncation begins a new one.
    pub(super) epoch: u32,
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) start: i64,
    pub(super) entries: VecDeque<Entry>,
    pub(super) epoch: u32,
    /// Where each epoch but the first began.
    cuts: Vec<(u32, i64)>,
    /// The group's offset, with the epoch of the record in front of it.
    pub(super) committed: Option<(i64, u32)>,
    /// Its fetches are refused: a right was withdrawn, its leader is away.
    pub(super) refused: bool,
    /// The highest end that the log ever had.
    end_max: i64,
    /// The highest offset that the group ever had.
    pub(super) committed_max: i64,
}

impl Log {
    pub(super) fn end(&self) -> i64 {
        self.start + self.entries.len() as i64
    }

    pub(super) fn at(&self, offset: i64) -> Option<Entry> {
        self.entries.get(usize::try_from(offset - self.start).ok()?).copied()
    }

    pub(super) fn append(&mut self, record: Option<u32>) {
        self.entries.push_back(Entry { record, epoch: self.epoch });
        self.end_max = self.end_max.max(self.end());
    }

    /// Whether the next offset was in use before the log was cut back.
    pub(super) fn is_second(&self) -> bool {
        self.end() < self.end_max
    }

    /// Retention: the first entries go.
    pub(super) fn expire(&mut self, count: usize, fates: &mut [Fate]) {
        for entry in self.entries.drain(..count.min(self.entries.len())) {
            self.start += 1;
            if let Some(record) = entry.record {
                fates[record as usize].expired = true;
                fates[record as usize].before_all = self.committed.is_none();
            }
        }
    }

    /// An unclean election: the last entries go, and other records will have their offsets.
    pub(super) fn truncate(&mut self, count: usize, fates: &mut [Fate]) {
        let kept = self.entries.len().saturating_sub(count);
        for entry in self.entries.drain(kept..) {
            if let Some(record) = entry.record {
                fates[record as usize].cut_off = true;
            }
        }
        self.epoch += 1;
        self.cuts.push((self.epoch, self.end()));
    }

    /// Where the log was cut at the lowest since `epoch`.
    pub(super) fn cut_since(&self, epoch: u32) -> Option<i64> {
        self.cuts.iter().filter(|(cut, _)| *cut > epoch).map(|(_, at)| *at).min()
    }
}

/// Who a member is to the group: another one after each join.
pub(super) type MemberId = u32;

/// What the group tells a member.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Assigned { partitions: Vec<i32>, generation: u32 },
    Revoked(Vec<i32>),
}

#[derive(Debug)]
struct Rebalance {
    target: Vec<Option<MemberId>>,
    /// Those who still have to give something up.
    waiting: Vec<MemberId>,
}

/// The group's coordinator.
#[derive(Debug)]
pub(super) struct Group {
    eager: bool,
    pub(super) generation: u32,
    pub(super) members: Vec<MemberId>,
    pub(super) owners: Vec<Option<MemberId>>,
    ids: MemberId,
    rebalance: Option<Rebalance>,
    /// Somebody came or went, or the spread is to be another one: the number turns it.
    wanted: Option<usize>,
    /// What is still to be delivered.
    pub(super) outbox: VecDeque<(MemberId, Said)>,
}

impl Group {
    pub(super) fn new(partitions: usize, eager: bool) -> Self {
        Group {
            eager,
            generation: 0,
            members: Vec::new(),
            owners: vec![None; partitions],
            ids: 0,
            rebalance: None,
            wanted: None,
            outbox: VecDeque::new(),
        }
    }

    pub(super) fn join(&mut self) -> MemberId {
        self.ids += 1;
        self.members.push(self.ids);
        self.shuffle(0);
        self.ids
    }

    /// A member left, or was thrown out.
    pub(super) fn remove(&mut self, id: MemberId) {
        if !self.has(id) {
            return;
        }
        self.members.retain(|member| *member != id);
        for owner in &mut self.owners {
            *owner = owner.filter(|owner| *owner != id);
        }
        if let Some(rebalance) = &mut self.rebalance {
            rebalance.waiting.retain(|member| *member != id);
            for owner in &mut rebalance.target {
                *owner = owner.filter(|owner| *owner != id);
            }
        }
        self.shuffle(0);
    }

    pub(super) fn has(&self, id: MemberId) -> bool {
        self.members.contains(&id)
    }

    /// Wants the partitions to be spread anew.
    pub(super) fn shuffle(&mut self, turn: usize) {
        self.wanted = Some(turn);
        self.advance();
    }

    /// A member gave up what it was asked for.
    pub(super) fn gave_up(&mut self, id: MemberId, partitions: &[i32]) {
        for number in partitions {
            let owner = &mut self.owners[*number as usize];
            *owner = owner.filter(|owner| *owner != id);
        }
        if let Some(rebalance) = &mut self.rebalance {
            rebalance.waiting.retain(|member| *member != id);
        }
        self.advance();
    }

    pub(super) fn settled(&self) -> bool {
        self.rebalance.is_none() && self.wanted.is_none() && self.outbox.is_empty()
    }

    fn advance(&mut self) {
        loop {
            if let Some(rebalance) = &self.rebalance {
                if !rebalance.waiting.is_empty() {
                    return;
                }
                self.complete();
            }
            let Some(turn) = self.wanted.take() else { return };
            self.begin(turn);
        }
    }

    fn begin(&mut self, turn: usize) {
        let count = self.members.len();
        let spread = |number: usize| (count > 0).then(|| self.members[(number + turn) % count]);
        let target: Vec<_> = (0..self.owners.len()).map(spread).collect();
        let mut waiting = Vec::new();
        for id in &self.members {
            let owned = |number: &usize| self.owners[*number] == Some(*id);
            let stays = |number: usize| !self.eager && target[number] == Some(*id);
            let leaving: Vec<i32> = (0..self.owners.len())
                .filter(owned)
                .filter(|number| !stays(*number))
                .map(|number| number as i32)
                .collect();
            if !leaving.is_empty() {
                waiting.push(*id);
                self.outbox.push_back((*id, Said::Revoked(leaving)));
            }
        }
        self.rebalance = Some(Rebalance { target, waiting });
    }

    fn complete(&mut self) {
        let Some(Rebalance { target, .. }) = self.rebalance.take() else { return };
        self.generation += 1;
        for id in &self.members {
            let comes =
                |number: &usize| target[*number] == Some(*id) && self.owners[*number].is_none();
            let partitions = (0..target.len()).filter(comes).map(|number| number as i32).collect();
            let generation = self.generation;
            self.outbox.push_back((*id, Said::Assigned { partitions, generation }));
        }
        for (owner, target) in self.owners.iter_mut().zip(&target) {
            *owner = owner.or(*target);
        }
    }

    /// Takes a commit, as long as it comes from a member in the present generation. That is all that a
    /// broker checks; that the partition is the member's own is the member's business, and checked here.
    pub(super) fn takes(&self, id: MemberId, generation: u32, partition: i32) -> Checked<bool> {
        if !self.has(id) || generation != self.generation {
            return Ok(false);
        }
        // What was on its way when it was given up may land until somebody else begins.
        if self.owners[partition as usize].is_some_and(|owner| owner != id) {
            return broken(
                "only what is owned is committed",
                format!("member {id} commits partition {partition}, which is not its own any more"),
            );
        }
        Ok(true)
    }
}
