//! What each command does. A command returns its exit code, or an error that is shown with its place
//! and remedy.

pub(crate) mod check;
pub(crate) mod gateway;
pub(crate) mod list;
pub(crate) mod prove;
pub(crate) mod report;
pub(crate) mod run;
mod show;
mod suite;
