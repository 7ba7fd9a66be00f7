//! Breaks an ingestion pipeline on purpose and proves, from evidence, what it delivered.
//!
//! Data flows one way: scenario file → plan → testbed → workload and nemesis → history → checkers →
//! verdict → reports. [`runner`] is the one place that joins the stages; everything before the history
//! acts, everything after it is pure.

pub mod adapter;
mod canary;
pub mod cli;
mod command;
pub mod fault;
mod nemesis;
mod observer;
mod patients;
pub mod plan;
mod progress;
mod runner;
pub mod scenario;
pub mod supervisor;
pub mod sweep;
pub mod testbed;
pub mod workload;

/// Commit that this binary was built from, with `-dirty` where the tree had changes; empty outside a
/// checkout.
pub const COMMIT: &str = env!("STREAMLAKE_COMMIT");
