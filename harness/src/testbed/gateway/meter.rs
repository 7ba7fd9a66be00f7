//! Whom a store fault met: the requests of the system under test, apart from the harness's own.
//!
//! The harness looks at the store on the clients' own way, so that it sees what clients see. Its
//! requests bear [`HARNESS_MARK`], meet the fault like any other and are never counted as hit: a
//! fault that met nobody but its own probes hit nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Header of the harness's own requests on the clients' way.
pub const HARNESS_MARK: &str = "x-streamlake-harness";

/// What the system under test met since the fault was last changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits {
    /// Its requests that arrived.
    pub requests: u64,
    /// Those of them that the fault touched.
    pub hit: u64,
    /// Those among the touched that write.
    pub writes_hit: u64,
    /// Its requests that were under way when the fault was changed; the fault does not touch them.
    pub in_flight: u64,
    /// Most of its requests that were under way at the same time.
    pub in_flight_max: u64,
    /// Requests of the harness itself, in none of the other figures.
    pub own: u64,
}

#[derive(Debug, Default)]
struct State {
    since: Hits,
    open: u64,
}

/// Counts requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<Mutex<State>>);

/// A request of the system under test that is under way.
#[derive(Debug)]
pub(super) struct Open(Meter);

impl Meter {
    /// A request arrived. `own` is one of the harness, of which nothing else is kept.
    pub(super) fn arrived(&self, own: bool) -> Option<Open> {
        let mut state = self.lock();
        if own {
            state.since.own += 1;
            return None;
        }
        state.since.requests += 1;
        state.open += 1;
        state.since.in_flight_max = state.since.in_flight_max.max(state.open);
        drop(state);
        Some(Open(self.clone()))
    }

    /// What was met until now; counts from zero.
    pub(super) fn restart(&self) -> Hits {
        let mut state = self.lock();
        let anew = Hits { in_flight: state.open, in_flight_max: state.open, ..Hits::default() };
        std::mem::replace(&mut state.since, anew)
    }

    /// What was met until now.
    pub(super) fn hits(&self) -> Hits {
        self.lock().since
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The fault touches it.
    pub(super) fn hit(&self, writes: bool) {
        let mut state = self.0.lock();
        state.since.hit += 1;
        state.since.writes_hit += u64::from(writes);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_under_way_is_counted_across_a_change_and_the_harness_never() {
        let meter = Meter::default();
        let first = meter.arrived(false).unwrap();
        assert!(meter.arrived(true).is_none());
        assert_eq!(
            meter.restart(),
            Hits { requests: 1, in_flight_max: 1, own: 1, ..Hits::default() }
        );
        let second = meter.arrived(false).unwrap();
        second.hit(true);
        assert_eq!((meter.hits().in_flight, meter.hits().in_flight_max), (1, 2));
        drop((first, second));
        let hits = meter.restart();
        assert_eq!((hits.requests, hits.hit, hits.writes_hit, hits.own), (1, 1, 1, 0));
        assert_eq!(meter.hits(), Hits::default());
    }
}
