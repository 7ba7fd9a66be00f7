//! The report for programs: everything, with all findings, in a versioned schema.
//!
//! `harness/schema/streamlake-report-v1.schema.json` describes it; a test holds the two together.

use serde::{Deserialize, Serialize};

use super::versioned::{ReadError, Versioned};
use super::{ReportError, ReportFile, SuiteReport};
use streamlake_judge::verdict::Status;

/// The format.
pub(super) const FORMAT: Versioned =
    Versioned { name: "streamlake-report", version: 1, made_by: "a new run of the scenarios" };
/// Name of the file.
pub const FILE: &str = "kafka-delivery-report.json";

#[derive(Serialize)]
struct Written<'a> {
    status: Status,
    suite: &'a SuiteReport,
}

#[derive(Deserialize)]
struct Read {
    suite: SuiteReport,
}

pub(super) fn write(suite: &SuiteReport) -> Result<Vec<ReportFile>, ReportError> {
    Ok(vec![ReportFile { name: FILE.to_owned(), bytes: bytes(suite)? }])
}

/// The report as JSON, without a file.
///
/// # Errors
/// When the encoder refuses; see [`ReportError`].
pub fn bytes(suite: &SuiteReport) -> Result<Vec<u8>, ReportError> {
    FORMAT.write(&Written { status: suite.status(), suite })
}

/// Reads a report that [`super::render`] wrote as JSON.
///
/// # Errors
/// When it is not one, or of another version.
pub fn read(bytes: &[u8]) -> Result<SuiteReport, ReadError> {
    FORMAT.read(bytes).map(|Read { suite }| suite)
}
