//! A TCP proxy in front of one part, whose link can be made slow, silent, one-way or refused.

use std::time::Duration;

/// What passes between the clients and a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Everything, at once.
    Pass,
    /// Nothing: open connections are reset and new ones are closed at once.
    Refuse,
    /// Nothing, in silence: connections stay open, new ones are accepted, no byte goes either way.
    BlackHole,
    /// Requests pass, answers are swallowed (and never delivered: when the link passes again, the
    /// connections that lost answers are reset).
    SwallowAnswers,
    /// Everything, each direction delayed by this time.
    Delay(Duration),
    /// Open connections are reset once; then everything passes.
    ResetOnce,
}
