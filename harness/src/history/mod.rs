//! The record of a run: what every part of it was seen to do.

mod bytes;
mod error;
pub mod event;
mod fast;
pub mod foreign;
pub mod index;
mod lines;
pub mod owners;
mod reader;
mod recorder;
pub mod sample;
pub mod synthetic;
#[cfg(test)]
mod tests;
mod writer;

pub use error::HistoryError;
pub use reader::{HistoryReader, LINE_BYTES_MAX};
pub use recorder::{Recorder, Sink};
pub use writer::HistoryWriter;
