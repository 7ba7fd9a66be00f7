//! What the instants of broker and database mean on the recorder's clock.

use crate::index::Index;
use streamlake_history::event::Clock;

/// Stamps of events and flushes, and of what the database logs of its senders, are whole
/// milliseconds, cut off: one that says `t` was at `t` or up to a tick later, never before.
pub(super) const TICK_US: i64 = 1000;
/// Where a clock was not measured, an order that hangs on less than this is not decided.
const UNMEASURED_US: i64 = 2_000_000;

/// A span of instants on the recorder's clock: something happened once within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: i64,
    pub(super) high: i64,
}

impl Span {
    /// It ended before another one began.
    pub(super) fn is_before(self, other: Self) -> bool {
        self.high < other.low
    }
}

/// The clocks of the broker and the database, as far as they were measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    broker: Option<(i64, i64)>,
    database: Option<(i64, i64)>,
}

impl Clocks {
    pub(super) fn of(index: &Index) -> Self {
        Self { broker: measured(index, "broker"), database: measured(index, "database") }
    }

    /// Both were measured.
    pub(super) fn measured(self) -> bool {
        self.broker.is_some() && self.database.is_some()
    }

    /// When the broker appended what it stamped so.
    pub(super) fn appended(self, at_us: u64) -> Span {
        within(at_us, self.broker.unwrap_or((0, 0)))
    }

    /// When the database did what it stamped so.
    pub(super) fn database(self, at_us: u64) -> Span {
        within(at_us, self.database.unwrap_or((0, 0)))
    }

    /// How much two spans may be apart without their order being certain, beside the spans themselves.
    pub(super) fn doubtful_us(self) -> i64 {
        if self.measured() { 0 } else { UNMEASURED_US }
    }
}

fn within(at_us: u64, (low, high): (i64, i64)) -> Span {
    let at = i64::try_from(at_us).unwrap_or(i64::MAX);
    Span { low: at.saturating_add(low), high: at.saturating_add(high).saturating_add(TICK_US) }
}

/// What holds by any of the measurements of a clock.
fn measured(index: &Index, of: &str) -> Option<(i64, i64)> {
    let named = |clock: &Clock| clock.of == of || clock.of.starts_with(&format!("{of}-"));
    let all = index.rare.clocks.iter().map(|clock| &clock.fact).filter(|clock| named(clock));
    all.map(|clock| (clock.low_us, clock.high_us))
        .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
}
