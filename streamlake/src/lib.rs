//! StreamLake carries order events from an application through Kafka into the raw zone of an object
//! store, and never commits an offset whose record is not durable.
//!
//! | module | purpose |
//! |---|---|
//! | [`config`] | settings, resolved and checked before anything starts |
//! | [`error`], [`classify`] | what can go wrong, and what is done about it |
//! | [`record`] | the order event, its headers, its validation |
//! | [`producer`] | the ingestion boundary: one payload in, one receipt out |
//! | [`consumer`] | poll loop, assignments, batches, the commit frontier |
//! | [`raw_zone`] | object names, part files, metadata, the object store |
//! | [`dead_letter`] | the dead-letter topic: writing, listing, sending again |
//! | [`observe`] | events, metrics, health: the only windows into a running process |
//! | [`inspect`], [`replay`], [`audit`] | looking from outside; setting offsets back; comparing |
//! | [`planted`], [`crash`] | bugs on purpose, deaths on purpose, in test builds only |
//! | [`cli`] | the command line |
//!
//! `DESIGN.md` beside this crate holds the decisions and their reasons.

pub mod audit;
pub mod classify;
pub mod cli;
pub mod config;
pub mod consumer;
pub mod crash;
pub mod dead_letter;
pub mod error;
pub mod inspect;
pub mod kafka;
mod native;
pub mod observe;
pub mod planted;
pub mod producer;
pub mod ranges;
pub mod raw_zone;
pub mod record;
pub mod replay;
