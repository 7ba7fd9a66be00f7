//! What readers told of the values that they read, against the log, the receipts, one another and what
//! was sent. Only foreign histories tell values, and only small ones are compared.

use std::collections::{BTreeMap, BTreeSet};

use super::{End, Index, Lane, Source};
use streamlake_history::event::Print;

/// A read that told its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadValue {
    pub(super) group: u32,
    pub(super) lane: u32,
    pub(super) offset: u64,
    pub(super) value: u64,
    pub(super) t_us: u64,
    pub(super) process: u16,
}

/// An invocation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Send {
    pub(super) op: u64,
    pub(super) topic: usize,
    pub(super) t_us: u64,
    pub(super) process: u16,
}

/// What is wrong with a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misread {
    /// The log holds another value there.
    NotAsLogged,
    /// The log was not read back there, and the receipt that names the place is of another value.
    NotAsAcknowledged,
    /// Another read of the place, by any group, told another value.
    NotAsReadBefore,
    /// Nobody sent this value to the topic, and the log does not hold it there.
    NeverSent,
    /// All that sent it were told that it had certainly not been written.
    Failed,
    /// It was read before its only sender sent it, by the clock of that very process.
    BeforeItWasSent,
}

impl Index {
    pub(super) fn compare_reads(&mut self) {
        let reads = std::mem::take(&mut self.work.read_values);
        let sends = std::mem::take(&mut self.work.sends);
        // Of an invocation that did not tell its value anything may have come.
        let all_told = !sends.contains_key(&Print::UNTOLD.0);
        let topic_of = |lane: &Lane| self.topics.iter().position(|topic| *topic == lane.topic);
        let topics: Vec<Option<usize>> = self.lanes.iter().map(topic_of).collect();
        let mut misread = BTreeSet::new();
        let mut first: BTreeMap<(u32, u64), u64> = BTreeMap::new();
        for read in reads {
            let (group, lane) = (read.group as usize, read.lane as usize);
            let mut wrong = |what| {
                misread.insert((group, lane, what, read.offset));
            };
            if *first.entry((read.lane, read.offset)).or_insert(read.value) != read.value {
                wrong(Misread::NotAsReadBefore);
            }
            let known = &self.lanes[lane];
            let log = known.log_record(read.offset).filter(|log| log.value != Print::UNTOLD.0);
            if let Some(log) = log {
                self.compared_reads += 1;
                if log.value != read.value {
                    wrong(Misread::NotAsLogged);
                }
            } else {
                let mut receipts = known.words_at(read.offset, Source::Receipt).peekable();
                let differs =
                    |seen: &super::Seen| seen.value != read.value && seen.value != Print::UNTOLD.0;
                if receipts.peek().is_some() && receipts.all(|seen| differs(&seen)) {
                    wrong(Misread::NotAsAcknowledged);
                }
            }
            if sends.is_empty() || known.promised.is_none() {
                continue;
            }
            let topic = topics[lane];
            let own = sends.get(&read.value).into_iter().flatten();
            let own: Vec<&Send> = own.filter(|send| Some(send.topic) == topic).collect();
            let as_logged = log.is_some_and(|log| log.value == read.value);
            if own.is_empty() {
                if all_told && !as_logged {
                    wrong(Misread::NeverSent);
                }
                continue;
            }
            let end = |send: &&Send| self.ops.kept.get(&send.op).and_then(|kept| kept.end);
            let refused = |send| matches!(end(send), Some(End::Failed | End::Rejected));
            if own.iter().all(refused) {
                wrong(Misread::Failed);
            }
            if own.iter().all(|send| send.process == read.process && send.t_us > read.t_us) {
                wrong(Misread::BeforeItWasSent);
            }
        }
        self.misread = misread;
    }
}
