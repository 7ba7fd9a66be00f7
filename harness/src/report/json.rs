//! The report for programs: everything, with all findings, in a versioned schema.
//!
//! `harness/schema/streamlake-report-v1.schema.json` describes it; a test holds the two together.

use serde::{Deserialize, Serialize};

use super::{ReportError, ReportFile, SuiteReport};
use crate::verdict::Status;

/// Name of the format, in each file.
pub const SCHEMA: &str = "streamlake-report";
/// Version of the format that this harness writes. It rises when a field changes its meaning or
/// goes away.
pub const VERSION: u32 = 1;
/// Name of the file.
pub const FILE: &str = "kafka-delivery-report.json";

#[derive(Debug, Serialize, Deserialize)]
struct Envelope<S> {
    schema: String,
    version: u32,
    status: Status,
    suite: S,
}

pub(super) fn write(suite: &SuiteReport) -> Result<Vec<ReportFile>, ReportError> {
    let envelope =
        Envelope { schema: SCHEMA.to_owned(), version: VERSION, status: suite.status(), suite };
    let mut bytes =
        serde_json::to_vec_pretty(&envelope).map_err(|source| ReportError::new("JSON", source))?;
    bytes.push(b'\n');
    Ok(vec![ReportFile { name: FILE.to_owned(), bytes }])
}

/// Why a JSON report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not a report of this schema.
    #[error(
        "this is not a {SCHEMA} file of version {VERSION}; run the scenarios again to make one"
    )]
    Malformed(#[source] serde_json::Error),
    /// It is of another version.
    #[error(
        "this is a {schema:?} file of version {version}; this harness reads {SCHEMA} {VERSION}"
    )]
    Other {
        /// What it calls itself.
        schema: String,
        /// Its version.
        version: u32,
    },
}

/// Reads a report that [`super::render`] wrote as JSON.
///
/// # Errors
/// When it is not one, or of another version.
pub fn read(bytes: &[u8]) -> Result<SuiteReport, ReadError> {
    Head::read(bytes)?;
    let envelope: Envelope<SuiteReport> =
        serde_json::from_slice(bytes).map_err(ReadError::Malformed)?;
    Ok(envelope.suite)
}

/// What says whether the rest can be read.
#[derive(Deserialize)]
pub(super) struct Head {
    schema: String,
    version: u32,
}

impl Head {
    pub(super) fn read(bytes: &[u8]) -> Result<(), ReadError> {
        let head: Self = serde_json::from_slice(bytes).map_err(ReadError::Malformed)?;
        match head.schema == SCHEMA && head.version == VERSION {
            true => Ok(()),
            false => Err(ReadError::Other { schema: head.schema, version: head.version }),
        }
    }
}
