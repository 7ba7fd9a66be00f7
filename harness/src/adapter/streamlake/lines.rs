//! What the pipeline's producer takes and prints: a line for each operation, and a line for what became
//! of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::workload::{Operation, WorkloadPlan};
use streamlake_history::event::{Blob, Completed, Outcome};

/// A receipt as the producer prints it: one JSON line an input line.
#[derive(Debug, Deserialize)]
struct Receipt {
    line: u64,
    outcome: String,
    ingestion_id: Option<String>,
    topic: Option<String>,
    partition: Option<u32>,
    offset: Option<u64>,
    reason: Option<String>,
    error: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    dead_letter: Option<Place>,
}

/// Where a dead letter stands.
#[derive(Debug, Deserialize)]
struct Place {
    topic: String,
    partition: u32,
    offset: u64,
}

/// An operation as the producer's input takes it: the payload itself, or an envelope for a payload that
/// is not one line of text, and for a key that is not the payload's.
pub(crate) fn input(plan: &WorkloadPlan, operation: &Operation) -> Vec<u8> {
    if !plan.in_envelopes() {
        return operation.payload.clone();
    }
    let mut envelope = serde_json::Map::new();
    let mut put = |name: &str, bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => envelope.insert(name.to_owned(), text.into()),
        Err(_) => envelope.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
    put("value", &operation.payload);
    if operation.key_beside {
        put("key", &operation.key);
    }
    serde_json::Value::Object(envelope).to_string().into_bytes()
}

/// What became of an operation, as the producer prints it. Operations are numbered like input lines.
///
/// # Errors
/// Why a line cannot be understood.
pub(crate) fn receipt(line: &str) -> Result<Completed, String> {
    let receipt: Receipt = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let error = receipt.error.clone().unwrap_or_default();
    let outcome = match receipt.outcome.as_str() {
        "acknowledged" => match (receipt.topic, receipt.partition, receipt.offset) {
            (Some(topic), Some(partition), Some(offset)) => {
                Outcome::Acknowledged { topic, partition, offset }
            }
            // The broker has it already, and nobody said where: whoever looks for it finds it or does not.
            (Some(_), Some(_), None) => {
                Outcome::Unknown { error: "acknowledged at an offset that was not told".to_owned() }
            }
            _ => return Err("acknowledged without topic, partition and offset".to_owned()),
        },
        "rejected" => Outcome::Rejected { reason: receipt.reason.unwrap_or_default() },
        "failed" => Outcome::Failed { error },
        "unknown" => Outcome::Unknown { error },
        other => return Err(format!("unknown outcome `{other}`")),
    };
    let op = receipt.line.checked_sub(1).ok_or("lines are numbered from 1")?;
    let key = match (receipt.key, receipt.key_base64) {
        (Some(text), _) => Some(Blob(text.into_bytes())),
        (None, Some(text)) => Some(Blob(STANDARD.decode(text).map_err(|error| error.to_string())?)),
        (None, None) => None,
    };
    let dead_letter = receipt.dead_letter.map(|place| (place.topic, place.partition, place.offset));
    Ok(Completed { key, dead_letter, ..Completed::new(op, receipt.ingestion_id, outcome) })
}
