//! In which way two tellings of one record differ, in words: which header, both values, both keys, both
//! timestamps.

use std::collections::BTreeMap;

use super::super::case::quoted;
use streamlake_history::event::{Blob, DeadLetter, HeaderPair, Invoked, Logged, Print, Stored};

/// Headers that are named of one difference.
const HEADERS_MAX: usize = 6;

/// What somebody told of a record.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    key: Option<Blob>,
    value: Print,
    /// None where it was not to be told, as by an invocation.
    timestamp: Option<Option<i64>>,
    headers: Option<Print>,
    list: Option<Vec<HeaderPair>>,
    /// None where it was not to be told.
    id: Option<Option<String>>,
}

impl From<&Invoked> for Frame {
    fn from(fact: &Invoked) -> Self {
        let list = fact.header_list.clone();
        let headers = list.as_deref().and_then(HeaderPair::print_of);
        Self { key: fact.key.clone(), value: fact.value, headers, list, ..Self::default() }
    }
}

impl From<&Logged> for Frame {
    fn from(fact: &Logged) -> Self {
        Self {
            key: fact.key.clone(),
            value: fact.value,
            timestamp: Some(fact.timestamp_ms),
            headers: Some(fact.headers),
            list: fact.header_list.clone(),
            id: Some(fact.ingestion_id.clone()),
        }
    }
}

impl From<&Stored> for Frame {
    fn from(fact: &Stored) -> Self {
        Self {
            key: fact.key.clone(),
            value: fact.value,
            timestamp: Some(fact.timestamp_ms),
            headers: Some(fact.headers),
            list: fact.header_list.clone(),
            id: Some(fact.ingestion_id.clone()),
        }
    }
}

impl From<&DeadLetter> for Frame {
    fn from(fact: &DeadLetter) -> Self {
        Self {
            key: fact.key.clone(),
            value: fact.value,
            timestamp: fact.group.as_ref().map(|_| fact.source_timestamp_ms),
            headers: Some(fact.headers),
            list: fact.header_list.clone(),
            id: fact.group.as_ref().map(|_| fact.ingestion_id.clone()),
        }
    }
}

/// A value's fingerprint for a sentence.
pub(super) fn value(print: Print) -> String {
    match print {
        Print::NULL => "no value (null)".to_owned(),
        print => format!("value {print}"),
    }
}

/// A key for a sentence.
pub(super) fn key(key: Option<&Blob>) -> String {
    match key {
        None => "no key (null)".to_owned(),
        Some(key) if key.0.is_empty() => "an empty key".to_owned(),
        Some(key) => match std::str::from_utf8(&key.0) {
            Ok(text) => format!("key {}", quoted(text)),
            Err(_) => format!("key `{}` (bytes)", key.0.escape_ascii()),
        },
    }
}

fn timestamp(ms: Option<i64>) -> String {
    match ms {
        None => "no timestamp".to_owned(),
        Some(ms) => match chrono::DateTime::from_timestamp_millis(ms) {
            Some(at) => format!("timestamp {ms} ({})", at.to_rfc3339()),
            None => format!("timestamp {ms}"),
        },
    }
}

/// What is another in `other` than in `first`, each in one phrase.
pub(super) fn differences(first: &Frame, other: &Frame) -> Vec<String> {
    let mut told = Vec::new();
    if first.key != other.key {
        told.push(format!("{} instead of {}", key(other.key.as_ref()), key(first.key.as_ref())));
    }
    if first.value != other.value {
        told.push(format!("{} instead of {}", value(other.value), value(first.value)));
    }
    if let (Some(a), Some(b)) = (first.timestamp, other.timestamp)
        && a != b
    {
        told.push(format!("{} instead of {}", timestamp(b), timestamp(a)));
    }
    if let (Some(a), Some(b)) = (&first.id, &other.id)
        && a != b
    {
        let id = |id: &Option<String>| match id {
            Some(id) => format!("ingestion id {}", quoted(id)),
            None => "no ingestion id".to_owned(),
        };
        told.push(format!("{} instead of {}", id(b), id(a)));
    }
    match (&first.list, &other.list) {
        (Some(a), Some(b)) => told.extend(headers(a, b)),
        _ => {
            if let (Some(a), Some(b)) = (first.headers, other.headers)
                && a != b
            {
                told.push(format!("headers with fingerprint {b} instead of {a}"));
            }
        }
    }
    told
}

fn shown(HeaderPair(name, value): &HeaderPair) -> String {
    match value {
        Some(value) => format!("{name} = {value}"),
        None => format!("{name} = null"),
    }
}

fn headers(first: &[HeaderPair], other: &[HeaderPair]) -> Vec<String> {
    if first == other {
        return Vec::new();
    }
    let mut count: BTreeMap<&HeaderPair, i64> = BTreeMap::new();
    first.iter().for_each(|pair| *count.entry(pair).or_default() += 1);
    other.iter().for_each(|pair| *count.entry(pair).or_default() -= 1);
    if count.values().all(|surplus| *surplus == 0) {
        let all = |list: &[HeaderPair]| {
            list.iter().take(HEADERS_MAX).map(shown).collect::<Vec<_>>().join(", ")
        };
        return vec![format!(
            "the headers in another order: {} instead of {}",
            all(other),
            all(first)
        )];
    }
    let missing: Vec<_> = count.iter().filter(|(_, surplus)| **surplus > 0).collect();
    let mut added: Vec<_> = count.iter().filter(|(_, surplus)| **surplus < 0).collect();
    let mut told = Vec::new();
    for (pair, _) in missing {
        match added.iter().position(|(other, _)| other.0 == pair.0) {
            Some(at) => {
                let (other, _) = added.remove(at);
                told.push(format!("header {} instead of {}", shown(other), shown(pair)));
            }
            None => told.push(format!("header {} is not there", shown(pair))),
        }
    }
    told.extend(added.iter().map(|(pair, _)| format!("header {} was added", shown(pair))));
    let more = told.len().saturating_sub(HEADERS_MAX);
    told.truncate(HEADERS_MAX);
    if more > 0 {
        told.push(format!("{more} more headers differ"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, Option<&str>)]) -> Vec<HeaderPair> {
        let pair = |(name, value): &(&str, Option<&str>)| {
            HeaderPair::of(name.as_bytes(), value.map(str::as_bytes))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn each_difference_is_named_with_both_sides() {
        let frame = |key: Option<&[u8]>, value, at, headers| Frame {
            key: key.map(|key| Blob(key.to_vec())),
            value,
            timestamp: Some(at),
            list: Some(headers),
            ..Frame::default()
        };
        let first = frame(None, Print::NULL, Some(1_000), list(&[("a", Some("1")), ("b", None)]));
        assert!(differences(&first, &first.clone()).is_empty());
        let other = frame(Some(b""), Print::of(b""), None, list(&[("a", Some("2")), ("c", None)]));
        assert_eq!(
            differences(&first, &other),
            [
                "an empty key instead of no key (null)".to_owned(),
                format!("value {} instead of no value (null)", Print::of(b"")),
                "no timestamp instead of timestamp 1000 (1970-01-01T00:00:01+00:00)".to_owned(),
                "header `a` = `2` instead of `a` = `1`".to_owned(),
                "header `b` = null is not there".to_owned(),
                "header `c` = null was added".to_owned(),
            ]
        );
        let swapped = frame(None, Print::NULL, Some(1_000), list(&[("b", None), ("a", Some("1"))]));
        assert_eq!(
            differences(&first, &swapped),
            [
                "the headers in another order: `b` = null, `a` = `1` instead of `a` = `1`, `b` = null"
            ]
        );
        let twice = frame(
            None,
            Print::NULL,
            Some(1_000),
            list(&[("a", Some("1")), ("b", None), ("b", None)]),
        );
        assert_eq!(differences(&first, &twice), ["header `b` = null was added"]);
    }
}
