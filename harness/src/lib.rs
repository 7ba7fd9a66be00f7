//! Breaks an ingestion pipeline on purpose and proves, from evidence, what it delivered.
//!
//! Data flows one way: scenario file → plan → testbed → workload and nemesis → history → checkers →
//! verdict → reports. [`runner`] is the one place that joins the stages; everything before the history
//! acts, everything after it is pure.

mod canary;
pub mod checker;
pub mod cli;
mod command;
pub mod fault;
#[cfg(test)]
mod fuzz;
pub mod history;
pub mod judgement;
mod nemesis;
mod observer;
mod patients;
pub mod plan;
mod progress;
pub mod report;
mod runner;
pub mod scenario;
pub mod supervisor;
pub mod sweep;
mod system;
pub mod testbed;
pub mod verdict;
pub mod workload;

/// Commit that this binary was built from, with `-dirty` where the tree had changes; empty outside a
/// checkout.
pub const COMMIT: &str = env!("STREAMLAKE_COMMIT");
