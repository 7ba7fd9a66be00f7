//! The checkers: each judges one guarantee, from the history alone.
//!
//! Pure: no runtime, no client, no files, no clock. A checker sees every fact once, in the order of
//! the history, and then says what it found. Facts of one process come in their own order; between
//! processes nothing may be concluded from the order of lines, only from the instants in the facts.
//!
//! A new checker is one file here and one row in [`all`].

use crate::history::event::{Event, Header};
use crate::verdict::CheckResult;

/// One guarantee under judgement.
pub trait Checker {
    /// Sees the next fact.
    fn observe(&mut self, event: &Event);

    /// Says what it found. Called once, after the last fact.
    fn finish(self: Box<Self>) -> CheckResult;
}

/// Makes a checker for one history.
pub type Make = fn(&Header) -> Box<dyn Checker>;
