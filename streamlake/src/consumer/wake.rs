//! What the polling thread sleeps on: records, completions and signals all wake it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A flag that can be waited for.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    /// Wakes the thread, or keeps it from going to sleep.
    pub(crate) fn notify(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Sleeps until the next [`Wake::notify`], `longest` at most.
    pub(crate) fn wait(&self, longest: Duration) {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(set, longest, |set| !*set);
        let (mut set, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *set = false;
    }
}
