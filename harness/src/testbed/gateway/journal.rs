//! Every write that reached the store, in the order in which the store answered: the evidence that
//! nothing was replaced or deleted that should not have been.
//!
//! Bounded: the first [`ENTRIES_MAX`] entries are kept and later ones counted, because what must
//! never happen to an object happens after its creation, and a dropped beginning would hide that.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

/// Entries kept.
pub const ENTRIES_MAX: usize = 200_000;

/// What was asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A write in one request.
    Put,
    /// The last request of a multipart upload, which makes the object visible.
    CompleteUpload,
    /// A copy inside the store.
    Copy,
    /// A deletion.
    Delete,
    /// Something that changes the store through its JSON API, passed on as it came; bucket and
    /// object are not taken apart.
    Json,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When the request was passed on to the store.
    pub asked: DateTime<Utc>,
    /// When the store had answered: an object created by it can be read since then at the latest.
    pub answered: DateTime<Utc>,
    /// What was asked.
    pub kind: Kind,
    /// Bucket.
    pub bucket: String,
    /// Object name; for [`Kind::Json`] the path of the request.
    pub object: String,
    /// The generation that had to be there; 0 is none at all.
    pub if_generation: Option<u64>,
    /// Bytes sent.
    pub bytes: u64,
    /// HTTP status towards the client; 0 when the store could not be reached and the outcome is
    /// unknown. The client may not have received it, see [`super::StoreFault::ResetAfter`].
    pub status: u16,
    /// Generation that the write created.
    pub generation: Option<u64>,
}

/// A copy of the journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JournalView {
    /// What was kept, oldest first.
    pub entries: Vec<Entry>,
    /// Entries that found no room. Claims from the journal need this to be 0.
    pub dropped: u64,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    view: Mutex<JournalView>,
}

impl Journal {
    pub(super) fn write(&self, entry: Entry) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.entries.len() < ENTRIES_MAX {
            view.entries.push(entry);
        } else {
            view.dropped += 1;
        }
    }

    /// Writes so far, those without room included.
    pub(super) fn writes(&self) -> u64 {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.entries.len() as u64 + view.dropped
    }

    pub(super) fn view(&self) -> JournalView {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
