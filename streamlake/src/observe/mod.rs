//! The windows into a running process: events for machines that watch one run, metrics and health
//! for operation.

pub(crate) mod complaints;
pub mod events;
pub mod health;
pub mod http;
pub mod metrics;
