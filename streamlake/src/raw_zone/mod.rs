//! The raw zone: immutable part files of NDJSON, a folder a day, in an object store.

pub mod buffer;
pub mod compression;
pub mod leftovers;
pub mod metadata;
pub mod name;
pub(crate) mod numbering;
pub mod part;
pub mod probe;
mod root;
pub mod store;
pub mod writer;
