//! Breaks an ingestion pipeline on purpose and proves, from evidence, what it delivered.
//!
//! Data flows one way: scenario file → plan → testbed → workload and nemesis → history → checkers →
//! verdict → reports.

pub mod checker;
pub mod history;
pub mod sweep;
pub mod testbed;
pub mod verdict;
