//! The record of a run: what every part of it was seen to do.

mod bytes;
mod error;
pub mod event;
mod fast;
pub mod foreign;
mod lines;
pub mod murmur2;
pub mod owners;
mod reader;
mod recorder;
#[cfg(any(test, feature = "fixtures"))]
pub mod sample;
#[cfg(any(test, feature = "fixtures"))]
pub mod synthetic;
#[cfg(test)]
mod tests;
mod writer;

pub use error::HistoryError;
pub use reader::{HistoryReader, LINE_BYTES_MAX};
pub use recorder::{Recorder, Sink};
pub use writer::HistoryWriter;
