//! An HTTP gateway in front of the object store: speaks the XML API that production clients speak,
//! and is the place where store faults are injected.

use std::time::Duration;

/// How the object store answers clients.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreFault {
    /// As the store itself does.
    None,
    /// This HTTP status (429, 500, 503) to every request, without passing it on.
    Status(u16),
    /// No answer at all; the request is not passed on.
    Hang,
    /// Each request is passed on after this delay.
    Delay(Duration),
    /// Connections are reset before the request is passed on.
    ResetBefore,
    /// Writes are passed on and done, then the connection is reset instead of the answer.
    ResetAfter,
}
