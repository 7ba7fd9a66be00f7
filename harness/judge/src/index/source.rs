//! The facts of change data capture, each kind in an order that does not depend on how processes
//! interleave.

use super::At;
use streamlake_history::event::{
    CaptureStart, ChangeEvent, ConnectorState, Event, Fact, OffsetFlush, SlotState, SourceChange,
    SourceRead, SourceTransaction,
};

/// What is known of a source database and of the capture of its changes.
#[derive(Debug, Default)]
pub struct SourceFacts {
    /// Transactions of the workload, by number.
    pub transactions: Vec<At<SourceTransaction>>,
    /// Changes in the database's log, in the order of their commits.
    pub changes: Vec<SourceChange>,
    /// Readings of the database's log.
    pub reads: Vec<SourceRead>,
    /// Change events by topic, partition and offset.
    pub events: Vec<ChangeEvent>,
    /// Flushed offsets by time.
    pub flushes: Vec<OffsetFlush>,
    /// Starts of senders of the log by time.
    pub starts: Vec<CaptureStart>,
    /// States of the slot by time.
    pub slots: Vec<At<SlotState>>,
    /// States of the connector by time.
    pub connectors: Vec<At<ConnectorState>>,
}

impl SourceFacts {
    pub(super) fn take(&mut self, event: &Event) {
        match &event.fact {
            Fact::SourceTransaction(fact) => self.transactions.push(at(event, fact)),
            Fact::SourceChange(fact) => self.changes.push(fact.clone()),
            Fact::SourceRead(fact) => self.reads.push(fact.clone()),
            Fact::ChangeEvent(fact) => self.events.push(fact.clone()),
            Fact::OffsetFlush(fact) => self.flushes.push(fact.clone()),
            Fact::CaptureStart(fact) => self.starts.push(fact.clone()),
            Fact::Slot(fact) => self.slots.push(at(event, fact)),
            Fact::Connector(fact) => self.connectors.push(at(event, fact)),
            _ => {}
        }
    }

    pub(super) fn settle(&mut self) {
        self.transactions.sort_by_key(|told| told.fact.number);
        self.changes.sort_by(|a, b| (a.change, a.lsn, &a.key).cmp(&(b.change, b.lsn, &b.key)));
        self.events.sort_by(|a, b| {
            (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset))
        });
        self.flushes.sort_by_key(|flush| (flush.at_us, flush.offset));
        self.starts.sort_by_key(|start| (start.at_us, start.pid, start.from));
        super::observe::sort(&mut self.slots);
        super::observe::sort(&mut self.connectors);
    }

    /// Transactions that were under way at some time in a window.
    #[must_use]
    pub fn in_flight(&self, begin_us: u64, end_us: u64) -> u64 {
        let within =
            |told: &&At<SourceTransaction>| told.fact.begun_us <= end_us && told.t_us >= begin_us;
        self.transactions.iter().filter(within).count() as u64
    }
}

fn at<T: Clone>(event: &Event, fact: &T) -> At<T> {
    At { t_us: event.t_us, process: event.process.clone(), seq: event.seq, fact: fact.clone() }
}
