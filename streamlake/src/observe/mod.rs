//! The windows into a running process: events for machines that watch one run, metrics and health
//! for operation.

pub mod events;
