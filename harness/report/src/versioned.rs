//! Name and version of a format, in each of its files.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ReportError;

/// A format of files that this harness writes and reads again.
pub(super) struct Versioned {
    pub(super) name: &'static str,
    /// Rises when a field changes its meaning or goes away.
    pub(super) version: u32,
    /// What makes such a file.
    pub(super) made_by: &'static str,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not of this format.
    #[error("this is not a {name} file of version {version}; {made_by} writes one")]
    Malformed {
        /// The format that was asked for.
        name: &'static str,
        /// Its version.
        version: u32,
        /// What makes such a file.
        made_by: &'static str,
        /// What was met.
        #[source]
        source: serde_json::Error,
    },
    /// It is of another format or version.
    #[error(
        "this is a {found:?} file of version {found_version}; this harness reads {name} {version}, and \
         {made_by} writes one"
    )]
    Other {
        /// What it calls itself.
        found: String,
        /// Its version.
        found_version: u32,
        /// The format that was asked for.
        name: &'static str,
        /// Its version.
        version: u32,
        /// What makes such a file.
        made_by: &'static str,
    },
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: &'a str,
    version: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// What says whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    schema: String,
    version: u32,
}

impl Versioned {
    pub(super) fn write<T: Serialize>(&self, body: &T) -> Result<Vec<u8>, ReportError> {
        let envelope = Envelope { schema: self.name, version: self.version, body };
        let mut bytes = serde_json::to_vec_pretty(&envelope)
            .map_err(|source| ReportError::new("JSON", source))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The body, once name and version are found to be right. Its type must not mind the two fields.
    pub(super) fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ReadError> {
        let Self { name, version, made_by } = *self;
        let malformed = |source| ReadError::Malformed { name, version, made_by, source };
        let head: Head = serde_json::from_slice(bytes).map_err(malformed)?;
        if head.schema != name || head.version != version {
            let (found, found_version) = (head.schema, head.version);
            return Err(ReadError::Other { found, found_version, name, version, made_by });
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }
}
