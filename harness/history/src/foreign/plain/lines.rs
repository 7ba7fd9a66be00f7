//! The fields of the `plain` format.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::event::*;
use crate::foreign::census::GroupTold;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) t_ms: Option<f64>,
    pub(super) process: Option<String>,
    pub(super) send: Option<Send>,
    pub(super) sent: Option<Sent>,
    pub(super) txn: Option<Txn>,
    pub(super) log: Option<Log>,
    pub(super) log_end: Option<LogEnd>,
    pub(super) read: Option<ReadLine>,
    pub(super) commit: Option<Commit>,
    pub(super) assign: Option<Assign>,
    pub(super) seek: Option<Seek>,
    pub(super) reset: Option<ResetLine>,
    pub(super) generation: Option<GenerationLine>,
    pub(super) stored: Option<StoredLine>,
    pub(super) stored_end: Option<StoredEnd>,
    pub(super) dead_letter: Option<DeadLetterLine>,
    pub(super) group: Option<GroupTold>,
    pub(super) process_state: Option<StateLine>,
    pub(super) clock: Option<ClockLine>,
}

/// A value: text, its fingerprint as `"xxh3:…"`, bytes as `{"base64":"…"}`, or `null` for none.
pub(super) enum Value {
    Null,
    Bytes(Vec<u8>),
    Print(Print),
}

impl Value {
    pub(super) fn print(&self) -> Result<Print, String> {
        Ok(match self {
            Self::Null => Print::NULL,
            Self::Bytes(bytes) => Print::of(bytes),
            Self::Print(print) => *print,
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Null | Self::Print(_) => 0,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Encoded {
            base64: String,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a value is a string, {\"base64\":\"…\"} or null; numbers and objects are written as \
                         the text that the record holds"
        )]
        enum Spelled {
            Text(String),
            Encoded(Encoded),
        }
        Ok(match Option::<Spelled>::deserialize(deserializer)? {
            None => Self::Null,
            Some(Spelled::Encoded(encoded)) => {
                Self::Bytes(BASE64.decode(encoded.base64).map_err(D::Error::custom)?)
            }
            Some(Spelled::Text(text)) => match text.strip_prefix("xxh3:") {
                None => Self::Bytes(text.into_bytes()),
                Some(digits) => {
                    let print = u64::from_str_radix(digits, 16).map(Print);
                    let why =
                        || format!("`{}` are no 16 hexadecimal digits", digits.escape_debug());
                    Self::Print(print.map_err(|_| D::Error::custom(why()))?)
                }
            },
        })
    }
}

/// `null` is a value; only a field that is absent tells none.
fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    pub(super) op: u64,
    pub(super) topic: String,
    pub(super) key: Option<Blob>,
    pub(super) value: Value,
    #[serde(default)]
    pub(super) poison: bool,
    pub(super) txn: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    pub(super) op: u64,
    pub(super) producer: Option<String>,
    pub(super) outcome: String,
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i64>,
    pub(super) offset: Option<i64>,
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Txn {
    pub(super) id: String,
    pub(super) outcome: TransactionState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) offset: i64,
    pub(super) op: Option<u64>,
    pub(super) producer: Option<String>,
    pub(super) key: Option<Blob>,
    #[serde(default, deserialize_with = "told")]
    pub(super) value: Option<Value>,
    pub(super) timestamp_ms: Option<i64>,
    #[serde(default)]
    pub(super) aborted: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogEnd {
    pub(super) topic: String,
    pub(super) partition: i64,
    #[serde(default)]
    pub(super) low: u64,
    pub(super) high: u64,
    #[serde(default)]
    pub(super) holes: Vec<(u64, u64)>,
    #[serde(default)]
    pub(super) aborted: Vec<(u64, u64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadLine {
    pub(super) group: String,
    pub(super) member: String,
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) offset: i64,
    #[serde(default, deserialize_with = "told")]
    pub(super) value: Option<Value>,
    pub(super) txn: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) offset: i64,
    #[serde(default)]
    pub(super) sampled: bool,
    pub(super) txn: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assign {
    pub(super) group: String,
    pub(super) member: String,
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) change: AssignmentChange,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seek {
    pub(super) group: String,
    pub(super) member: String,
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) offset: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetLine {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partition: Option<i64>,
    pub(super) offset: Option<u64>,
    pub(super) by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GenerationLine {
    pub(super) group: String,
    pub(super) generation: u32,
    #[serde(default)]
    pub(super) members: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredLine {
    pub(super) group: String,
    pub(super) object: Option<String>,
    pub(super) generation: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) bytes: Option<u64>,
    pub(super) created_ms: Option<f64>,
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) offset: i64,
    pub(super) key: Option<Blob>,
    #[serde(default, deserialize_with = "told")]
    pub(super) value: Option<Value>,
    pub(super) timestamp_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredEnd {
    pub(super) group: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) offset: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLetterLine {
    pub(super) group: Option<String>,
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) offset: i64,
    pub(super) created_ms: Option<f64>,
    pub(super) origin: Option<Origin>,
    pub(super) op: Option<u64>,
    pub(super) producer: Option<String>,
    pub(super) key: Option<Blob>,
    #[serde(default, deserialize_with = "told")]
    pub(super) value: Option<Value>,
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateLine {
    pub(super) name: String,
    pub(super) pid: Option<u32>,
    pub(super) role: Option<ProcessRole>,
    pub(super) group: Option<String>,
    pub(super) state: ProcessChange,
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) asked: Option<Ask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClockLine {
    pub(super) of: String,
    pub(super) low_ms: f64,
    pub(super) high_ms: f64,
    pub(super) how: Option<String>,
}
