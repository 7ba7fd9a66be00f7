//! How far a run has come: what the nemesis waits for, and what the terminal shows. Numbers only; the
//! evidence is in the history.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::watch;

/// Counters of a run.
#[derive(Debug)]
pub(crate) struct Progress {
    counts: watch::Sender<Counts>,
    committed: Mutex<BTreeMap<(String, String, u32), u64>>,
}

/// A reading of the counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Operations invoked.
    pub invoked: u64,
    /// Operations acknowledged.
    pub acknowledged: u64,
    /// Operations completed, in whatever way.
    pub completed: u64,
    /// Sum of committed offsets of each group over the partitions of the topics under test.
    pub committed: BTreeMap<String, u64>,
    /// Faults that have begun, or never will.
    pub windows_begun: u64,
    /// Fault windows that are closed, or will never open.
    pub windows_closed: u64,
    /// What goes on, for a person.
    pub phase: String,
}

impl Default for Progress {
    fn default() -> Self {
        Self { counts: watch::Sender::new(Counts::default()), committed: Mutex::default() }
    }
}

impl Progress {
    /// So many operations have been invoked.
    pub(crate) fn invoked(&self, count: u64) {
        self.counts.send_modify(|counts| counts.invoked = count);
    }

    /// One more operation was acknowledged.
    pub(crate) fn acknowledged(&self) {
        self.counts.send_modify(|counts| counts.acknowledged += 1);
    }

    /// One more operation was completed.
    pub(crate) fn completed(&self) {
        self.counts.send_modify(|counts| counts.completed += 1);
    }

    /// A group's committed offset was seen.
    pub(crate) fn committed(&self, group: &str, topic: &str, partition: u32, offset: u64) {
        let mut committed = self.committed.lock().expect("no holder of this lock panics");
        committed.insert((group.to_owned(), topic.to_owned(), partition), offset);
        let sum = committed.iter().filter(|((g, _, _), _)| g == group).map(|(_, o)| o).sum();
        drop(committed);
        self.counts
            .send_if_modified(|counts| counts.committed.insert(group.to_owned(), sum) != Some(sum));
    }

    /// One more fault has begun, or never will.
    pub(crate) fn window_begun(&self) {
        self.counts.send_modify(|counts| counts.windows_begun += 1);
    }

    /// One more fault window is closed.
    pub(crate) fn window_closed(&self) {
        self.counts.send_modify(|counts| counts.windows_closed += 1);
    }

    /// The run entered a phase.
    pub(crate) fn phase(&self, name: &str) {
        self.counts.send_modify(|counts| name.clone_into(&mut counts.phase));
    }

    /// The counters, and a way to wait for them to change.
    #[must_use]
    pub(crate) fn watch(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }
}
