//! The part format: NDJSON, one record a line, from which every byte of a record can be had back.
//!
//! ```json
//! {"topic":"t","partition":0,"offset":12,"timestamp_ms":1769000000000,"ingestion_id":"…","key":"ORD-1","headers":[["dataset","orders"]],"value":{"order_id":"ORD-1"}}
//! ```
//!
//! The value has exactly one of four forms:
//! - `value`: the payload itself, byte for byte, when it is JSON without line breaks and without
//!   white space at its ends;
//! - `value_text`: a JSON string, for any other UTF-8 (pretty-printed JSON, say);
//! - `value_base64`: for everything else;
//! - `value_null`: `true` for a record without a value (a tombstone).
//!
//! A key is `key` (a string or `null`) or `key_base64`. A header is `[name, value]`; a value is a
//! string, `null`, or `{"base64":"…"}`; a name that is not UTF-8 is `{"base64":"…"}` too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A header: its name and its value.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// A record as the raw zone holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The topic it was read from.
    pub topic: String,
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The Kafka timestamp in milliseconds since 1970, if the record had one.
    pub timestamp_ms: Option<i64>,
    /// The header `ingestion_id`, if it was there and UTF-8.
    pub ingestion_id: Option<String>,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The headers in their order, duplicates included.
    pub headers: Vec<Header>,
    /// The payload's bytes; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// A record about to be stored, borrowed from wherever it lies.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// The topic it was read from.
    pub topic: &'a str,
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The Kafka timestamp in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The header `ingestion_id`.
    pub ingestion_id: Option<&'a str>,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The payload's bytes.
    pub value: Option<&'a [u8]>,
    /// Whether the payload is known to be a JSON document.
    pub value_is_json: bool,
}

/// Writes one record as one line at the end of `out`.
pub fn write_record<'a>(
    out: &mut Vec<u8>,
    record: &RecordRef<'_>,
    headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) {
    out.extend_from_slice(b"{\"topic\":");
    write_string(out, record.topic);
    out.extend_from_slice(b",\"partition\":");
    write_integer(out, i64::from(record.partition));
    out.extend_from_slice(b",\"offset\":");
    write_integer(out, record.offset);
    out.extend_from_slice(b",\"timestamp_ms\":");
    match record.timestamp_ms {
        Some(ms) => write_integer(out, ms),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"ingestion_id\":");
    match record.ingestion_id {
        Some(id) => write_string(out, id),
        None => out.extend_from_slice(b"null"),
    }
    write_key(out, record.key);
    out.extend_from_slice(b",\"headers\":[");
    let mut first = true;
    for (name, value) in headers {
        out.extend_from_slice(if first { b"[" } else { b",[" });
        first = false;
        write_bytes(out, name);
        out.push(b',');
        match value {
            Some(value) => write_bytes(out, value),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b']');
    }
    out.push(b']');
    write_value(out, record);
    out.extend_from_slice(b"}\n");
}

fn write_key(out: &mut Vec<u8>, key: Option<&[u8]>) {
    match key.map(|key| (key, std::str::from_utf8(key))) {
        None => out.extend_from_slice(b",\"key\":null"),
        Some((_, Ok(text))) => {
            out.extend_from_slice(b",\"key\":");
            write_string(out, text);
        }
        Some((key, Err(_))) => {
            out.extend_from_slice(b",\"key_base64\":");
            write_base64(out, key);
        }
    }
}

fn write_value(out: &mut Vec<u8>, record: &RecordRef<'_>) {
    let Some(value) = record.value else {
        out.extend_from_slice(b",\"value_null\":true");
        return;
    };
    if record.value_is_json && can_be_embedded(value) {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(value);
    } else if let Ok(text) = std::str::from_utf8(value) {
        out.extend_from_slice(b",\"value_text\":");
        write_string(out, text);
    } else {
        out.extend_from_slice(b",\"value_base64\":");
        write_base64(out, value);
    }
}

/// Whether a JSON document can stand in a line as it is and be cut out of it again exactly.
fn can_be_embedded(json: &[u8]) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| !b.is_ascii_whitespace());
    edge(json.first())
        && edge(json.last())
        && memchr::memchr2(b'\n', b'\r', json).is_none()
        && !is_deeper_than(json, DEPTH_MAX)
}

/// One line that nests too deep makes a whole part unreadable for readers with a limit: Jackson, and with it
/// Spark and Flink, has one of 1000, BigQuery one of 500, Python its stack.
const DEPTH_MAX: usize = 256;

/// Whether a valid JSON document nests deeper than that.
fn is_deeper_than(json: &[u8], max: usize) -> bool {
    // So many brackets are rare, and nearly every payload is shorter than they are.
    if json.len() <= 2 * max || memchr::memchr2_iter(b'[', b'{', json).nth(max).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max {
            return true;
        }
    }
    false
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        write_plain(out, bytes);
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        write_string(out, text);
    } else {
        out.extend_from_slice(b"{\"base64\":");
        write_base64(out, bytes);
        out.push(b'}');
    }
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(crate::planted::encoded(STANDARD.encode(bytes)).as_bytes());
    out.push(b'"');
}

/// Most names, keys and ids need no escaping; the others take serde's way.
fn write_string(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        write_plain(out, text.as_bytes());
    } else {
        // Writing into a vector does not fail.
        let _ = serde_json::to_writer(out, text);
    }
}

fn write_plain(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// Whether the bytes are printable ASCII that JSON takes as it is. Eight at a time, because names,
/// ids and keys are short; the last eight overlap with those before.
fn is_plain(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        let mut padded = [b' '; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        return !has_odd(u64::from_ne_bytes(padded));
    };
    let mut words = bytes.chunks_exact(8).map(|word| {
        let mut eight = [0; 8];
        eight.copy_from_slice(word);
        u64::from_ne_bytes(eight)
    });
    !has_odd(u64::from_ne_bytes(*last)) && !words.any(has_odd)
}

/// Whether one of eight bytes is a control character, a quote, a backslash, DEL or not ASCII. Per
/// byte, the sums below reach the top bit for what is wanted and never carry over, because the top
/// bits were taken out before.
fn has_odd(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const TOP: u64 = ONES * 0x80;
    let low = word & !TOP;
    // The top bit stays clear in `low + 0x60` below 0x20, and in `(low ^ b) + 0x7f` for b alone.
    let printable = low + ONES * 0x60;
    let no_quote = (low ^ (ONES * u64::from(b'"'))) + ONES * 0x7f;
    let no_backslash = (low ^ (ONES * u64::from(b'\\'))) + ONES * 0x7f;
    let no_delete = (low ^ (ONES * 0x7f)) + ONES * 0x7f;
    let good = printable & no_quote & no_backslash & no_delete & !word;
    good & TOP != TOP
}

fn write_integer(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// A part that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// One of its lines is none.
    #[error("line {line}: {reason}")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The object is not what its name says.
    #[error("it cannot be decompressed: {0}")]
    Compressed(#[from] std::io::Error),
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    #[serde(borrow)]
    ingestion_id: Option<Cow<'a, str>>,
    key: Option<String>,
    key_base64: Option<String>,
    headers: Vec<(Bytes, Option<Bytes>)>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    value_text: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    value_null: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Other { base64: String },
}

/// Reads a whole part, given its lines.
pub fn read_part(bytes: &[u8]) -> Result<Vec<StoredRecord>, PartError> {
    records(bytes).collect()
}

/// Reads the lines of a part record by record. A part whose last line is cut off ends with an error:
/// parts are written at once, so a torn one is a damaged one.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<StoredRecord, PartError>> {
    let mut rest = bytes;
    let mut number = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        number += 1;
        let Some(end) = memchr::memchr(b'\n', rest) else {
            rest = &[];
            return Some(Err(PartError::Line {
                line: number,
                reason: "the line is cut off".into(),
            }));
        };
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(read_line(line).map_err(|reason| PartError::Line { line: number, reason }))
    })
}

fn read_line(line: &[u8]) -> Result<StoredRecord, String> {
    // A raw value may hold a lone surrogate escape; the line as a whole must still be UTF-8.
    let text = std::str::from_utf8(line).map_err(|err| err.to_string())?;
    let line: Line<'_> = serde_json::from_str(text).map_err(|err| err.to_string())?;
    let decode = |text: &str| STANDARD.decode(text).map_err(|err| err.to_string());
    // `"value":null` is the payload `null`, which serde would take for an absent field.
    let embedded = line.value.map(RawValue::get).or_else(|| ends_with_null(text));
    let value = match (embedded, &line.value_text, &line.value_base64, line.value_null) {
        (Some(raw), None, None, false) => Some(raw.as_bytes().to_vec()),
        (None, Some(text), None, false) => Some(text.clone().into_bytes()),
        (None, None, Some(text), false) => Some(decode(text)?),
        (None, None, None, true) => None,
        _ => return Err("a record has exactly one form of value".into()),
    };
    let key = match (line.key, line.key_base64) {
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => Some(decode(&text)?),
        (None, None) => None,
        _ => return Err("a record has one form of key at most".into()),
    };
    let bytes = |bytes: Bytes| match bytes {
        Bytes::Text(text) => Ok(text.into_bytes()),
        Bytes::Other { base64 } => decode(&base64),
    };
    let mut headers = Vec::with_capacity(line.headers.len());
    for (name, value) in line.headers {
        headers.push((bytes(name)?, value.map(bytes).transpose()?));
    }
    Ok(StoredRecord {
        topic: line.topic.into_owned(),
        partition: line.partition,
        offset: line.offset,
        timestamp_ms: line.timestamp_ms,
        ingestion_id: line.ingestion_id.map(Cow::into_owned),
        key,
        headers,
        value,
    })
}

fn ends_with_null(line: &str) -> Option<&'static str> {
    line.ends_with(",\"value\":null}").then_some("null")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{Schema, validate};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn line(record: &StoredRecord) -> Vec<u8> {
        let json = validate(Schema::Any, record.value.as_deref()).unwrap().json.is_some();
        let mut out = Vec::new();
        let borrowed = RecordRef {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            ingestion_id: record.ingestion_id.as_deref(),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            value_is_json: json,
        };
        let headers = record.headers.iter().map(|(n, v)| (n.as_slice(), v.as_deref()));
        write_record(&mut out, &borrowed, headers);
        out
    }

    fn record(value: Option<&[u8]>) -> StoredRecord {
        StoredRecord {
            topic: "t\"opic".into(),
            partition: 0,
            offset: 1,
            timestamp_ms: Some(-5),
            ingestion_id: None,
            key: None,
            headers: Vec::new(),
            value: value.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn odd_values_come_back_exactly() {
        let values: &[&[u8]] = &[
            b"",
            b"null",
            b" null",
            b"{\"a\" :  1.0e5}",
            b"{\n}",
            b"{}\r",
            b"\xff\xfe",
            b"\"\\ud800\"",
            b"1e999",
            b"{\"value\":null}",
            b"\xef\xbb\xbf{}",
            b"\"\xe2\x80\xa8\"",
            b"\x00",
            b"[1] ",
        ];
        for value in values.iter().map(|v| Some(*v)).chain([None]) {
            let stored = record(value);
            let bytes = line(&stored);
            assert_eq!(memchr::memchr_iter(b'\n', &bytes).count(), 1);
            assert_eq!(read_part(&bytes).unwrap(), vec![stored], "{value:?}");
        }
    }

    #[test]
    fn every_byte_is_plain_or_not_wherever_it_stands() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    let plain = (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
                    assert_eq!(is_plain(&bytes), plain, "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn a_torn_part_is_an_error() {
        let bytes = line(&record(Some(b"{}")));
        assert!(read_part(&bytes[..bytes.len() - 1]).is_err());
        assert_eq!(read_part(b"").unwrap(), vec![]);
    }

    fn text_or_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![vec(any::<u8>(), 0..40), any::<String>().prop_map(String::into_bytes)]
    }

    fn json() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<f64>().prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
                vec((any::<String>(), inner), 0..8)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
        .prop_flat_map(|value| {
            let compact = serde_json::to_vec(&value).unwrap();
            let pretty = serde_json::to_vec_pretty(&value).unwrap();
            prop_oneof![Just(compact), Just(pretty)]
        })
    }

    proptest! {
        #[test]
        fn any_record_comes_back_exactly(
            partition in any::<i32>(), offset in any::<i64>(), timestamp_ms in any::<Option<i64>>(),
            ingestion_id in any::<Option<String>>(), topic in any::<String>(),
            key in proptest::option::of(text_or_bytes()),
            headers in vec((text_or_bytes(), proptest::option::of(text_or_bytes())), 0..6),
            value in proptest::option::of(prop_oneof![text_or_bytes(), json()]),
        ) {
            let stored = StoredRecord {
                topic, partition, offset, timestamp_ms, ingestion_id, key, headers, value,
            };
            prop_assert_eq!(read_part(&line(&stored)).unwrap(), vec![stored]);
        }
    }

    #[test]
    fn what_nests_too_deep_stands_there_as_text_and_comes_back_exactly() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let objects = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        let brackets = "[{\\\"".repeat(400);
        for (json, field) in [
            (nested(256), "\"value\":"),
            (nested(257), "\"value_text\":"),
            (objects(256), "\"value\":"),
            (objects(257), "\"value_text\":"),
            (nested(50_000), "\"value_text\":"),
            // Many, and not one within another; in a string, also behind an escaped quote.
            (format!("[{}1]", "[],".repeat(1_000)), "\"value\":"),
            (format!("{{\"a\":\"{brackets}\"}}"), "\"value\":"),
        ] {
            assert!(serde_json::from_str::<&RawValue>(&json).is_ok());
            let record = RecordRef {
                topic: "t",
                partition: 0,
                offset: 1,
                timestamp_ms: None,
                ingestion_id: None,
                key: None,
                value: Some(json.as_bytes()),
                value_is_json: true,
            };
            let mut line = Vec::new();
            write_record(&mut line, &record, std::iter::empty());
            assert!(memchr::memmem::find(&line, field.as_bytes()).is_some(), "{field}");
            let read = read_part(&line).unwrap();
            assert_eq!(read[0].value.as_deref(), Some(json.as_bytes()));
        }
    }
}
