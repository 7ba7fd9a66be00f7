//! Histories that others wrote: read line by line, told as our own facts, judged by the same checkers.
//!
//! Two formats are known. [`Format::Verifiable`] is what Apache Kafka's `kafka-verifiable-producer.sh`
//! and `kafka-verifiable-consumer.sh` print, one or several files after another. [`Format::Plain`] is a
//! small format of our own that anybody can emit; see [`plain`].
//!
//! What a foreign history cannot show is left out of its header's evidence, so that the checkers that
//! need it say so and do not pass.

pub mod plain;
mod told;
mod verifiable;

use std::io::BufRead;

use super::HistoryError;
use super::event::{Event, Header};

pub use told::Settings;

/// How a foreign history is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Kafka's VerifiableProducer and VerifiableConsumer.
    Verifiable,
    /// Ours.
    Plain,
}

impl Format {
    /// A format by its name on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "kafka-verifiable" => Some(Self::Verifiable),
            "plain" => Some(Self::Plain),
            _ => None,
        }
    }

    /// The names that [`Format::named`] knows.
    pub const NAMES: [&str; 2] = ["kafka-verifiable", "plain"];
}

/// Reads files, one after another, as one history: what Kafka's tools printed, say, and the topic read
/// back in the plain format. The name of each is the name of its process where the lines do not say
/// who speaks.
///
/// # Errors
/// The medium's, and lines that are not of the format, with file and line.
pub fn read<R: BufRead>(
    files: Vec<(Format, String, R)>,
    settings: &Settings,
) -> Result<(Header, Vec<Event>), HistoryError> {
    let mut told = told::Told::new(settings);
    for (format, name, file) in files {
        for (number, line) in (1u64..).zip(file.lines()) {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let taken = match format {
                Format::Verifiable => verifiable::take(&mut told, &name, &line),
                Format::Plain => plain::take(&mut told, &name, &line),
            };
            taken.map_err(|why| HistoryError::Foreign { file: name.clone(), line: number, why })?;
        }
    }
    Ok(told.finish())
}

#[cfg(test)]
mod tests;
