//! What each command does. A command returns its exit code, or an error that is shown with its place
//! and remedy.

pub(crate) mod check;
mod console;
pub(crate) mod crash_points;
pub(crate) mod explore;
pub(crate) mod gateway;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod manual;
mod matrix;
pub(crate) mod observe;
pub(crate) mod partition;
pub(crate) mod plan;
mod preflight;
pub(crate) mod protocol_errors;
pub(crate) mod prove;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod suite;
pub(crate) mod sweep;
pub(crate) mod trial;
pub(crate) mod view;
