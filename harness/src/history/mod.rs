//! The record of a run: what every part of it was seen to do.

mod bytes;
pub mod event;
