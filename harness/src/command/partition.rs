//! `partition`: where Kafka's Java producer, and any that partitions by murmur2, puts a key.

use std::io::Write as _;

use miette::IntoDiagnostic as _;

use crate::cli::PartitionArguments;
use streamlake_history::murmur2;

pub(crate) fn main(arguments: &PartitionArguments) -> miette::Result<u8> {
    let mut out = std::io::stdout().lock();
    for key in &arguments.keys {
        let partition = murmur2::partition(key.as_encoded_bytes(), arguments.partitions);
        writeln!(out, "{}\t{partition}", key.display()).into_diagnostic()?;
    }
    Ok(0)
}
