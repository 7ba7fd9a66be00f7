//! The order event: what makes it valid, which headers travel with it, on which day it counts.
//!
//! Payloads are never changed here: validation looks at bytes and says yes or why not.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Header: the dataset that the record belongs to.
pub const HEADER_DATASET: &str = "dataset";
/// Header: the version of the payload's schema, [`SCHEMA_VERSION`].
pub const HEADER_SCHEMA_VERSION: &str = "schema_version";
/// Header: a UUID given at the ingestion boundary, the same through every retry and replay.
pub const HEADER_INGESTION_ID: &str = "ingestion_id";
/// Header: the service that produced the record, [`PRODUCER_SERVICE`].
pub const HEADER_PRODUCER_SERVICE: &str = "producer_service";
/// Header: when the record passed the ingestion boundary, RFC 3339.
pub const HEADER_INGESTED_AT: &str = "ingested_at";
/// The schema version that this producer writes.
pub const SCHEMA_VERSION: &str = "v1";
/// The name under which this producer writes.
pub const PRODUCER_SERVICE: &str = "ingestion-api";

/// What a payload must be to be stored. Anything else goes to the dead-letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Schema {
    /// An order event: `order_id`, `customer_id`, `amount`, `event_time`.
    #[default]
    Order,
    /// Any valid JSON document.
    Json,
    /// Any bytes, tombstones too.
    Any,
}

/// Why a payload is not valid. `reason` is one line; `detail` is for whoever has to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Invalid {
    /// One line, stable enough to group by.
    pub reason: String,
    /// The chain of causes.
    pub detail: String,
}

/// A payload that passed.
#[derive(Debug, PartialEq, Eq)]
pub struct Valid<'a> {
    /// The order id, where the schema has one: the record's key.
    pub key: Option<Cow<'a, str>>,
    /// The payload as text, when it is a JSON document.
    pub json: Option<&'a str>,
}

/// The longest detail of what is wrong with a payload.
const DETAIL_BYTES_MAX: usize = 400;

#[derive(Deserialize)]
struct OrderEvent<'a> {
    #[serde(borrow)]
    order_id: Cow<'a, str>,
    #[serde(borrow)]
    customer_id: Cow<'a, str>,
    #[serde(rename = "amount")]
    _amount: Number,
    #[serde(borrow)]
    event_time: Cow<'a, str>,
}

/// A JSON number of any size; which number it is does not matter here.
struct Number;

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Number, E> {
                Ok(Number)
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Number, E> {
                Ok(Number)
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Number, E> {
                Ok(Number)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Says whether `payload` may be stored under `schema`.
pub fn validate(schema: Schema, payload: Option<&[u8]>) -> Result<Valid<'_>, Invalid> {
    let nothing = Valid { key: None, json: None };
    let Some(bytes) = payload else {
        return match schema {
            Schema::Any => Ok(nothing),
            _ => Err(invalid("the record has no value", "a tombstone is no event")),
        };
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) if schema == Schema::Any => return Ok(nothing),
        Err(err) => return Err(invalid("the payload is not UTF-8", err)),
    };
    match schema {
        Schema::Order => order(text),
        Schema::Json => match is_json(text) {
            Ok(()) => Ok(Valid { key: None, json: Some(text) }),
            Err(err) => Err(invalid("the payload is not JSON", err)),
        },
        Schema::Any => Ok(Valid { key: None, json: is_json(text).ok().map(|()| text) }),
    }
}

fn is_json(text: &str) -> serde_json::Result<()> {
    serde_json::from_str::<de::IgnoredAny>(text).map(|_| ())
}

fn order(text: &str) -> Result<Valid<'_>, Invalid> {
    // serde reads a struct from an array, too.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(match is_json(text) {
            Ok(()) => invalid("the payload is not a JSON object", "an order is an object"),
            Err(err) => invalid("the payload is not JSON", err),
        });
    }
    let Ok(event) = serde_json::from_str::<OrderEvent<'_>>(text) else {
        return odd_order(text);
    };
    if event.order_id.is_empty() {
        return Err(empty("order_id"));
    }
    if event.customer_id.is_empty() {
        return Err(empty("customer_id"));
    }
    check_time(&event.event_time)?;
    Ok(Valid { key: Some(event.order_id), json: Some(text) })
}

/// An order whose fields serde cannot hold: numbers beyond a float and text that is no Unicode are JSON
/// all the same. What is wrong is named without the payload's own words, so that equal mistakes have
/// equal reasons and no log line grows with what somebody sent.
fn odd_order(text: &str) -> Result<Valid<'_>, Invalid> {
    let raw: RawOrder<'_> = serde_json::from_str(text).map_err(|err| match err.classify() {
        serde_json::error::Category::Data => invalid(data_reason(&err), err),
        _ => invalid("the payload is not JSON", err),
    })?;
    let order_id = text_of("order_id", raw.order_id)?;
    let Some(order_id) = order_id else {
        return Err(invalid("order_id is not Unicode text", "it is the record's key"));
    };
    if order_id.is_empty() {
        return Err(empty("order_id"));
    }
    if text_of("customer_id", raw.customer_id)?.is_some_and(|text| text.is_empty()) {
        return Err(empty("customer_id"));
    }
    if !raw.amount.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(invalid("amount is not a number", kind_of(raw.amount)));
    }
    check_time(text_of("event_time", raw.event_time)?.as_deref().unwrap_or_default())?;
    Ok(Valid { key: Some(order_id), json: Some(text) })
}

#[derive(Deserialize)]
struct RawOrder<'a> {
    #[serde(borrow)]
    order_id: &'a RawValue,
    #[serde(borrow)]
    customer_id: &'a RawValue,
    #[serde(borrow)]
    amount: &'a RawValue,
    #[serde(borrow)]
    event_time: &'a RawValue,
}

/// The text of a field that must be a string; none for a string that is no Unicode (a lone surrogate).
fn text_of<'a>(name: &str, value: &'a RawValue) -> Result<Option<Cow<'a, str>>, Invalid> {
    if !value.get().starts_with('"') {
        return Err(invalid(format!("{name} is not a string"), kind_of(value)));
    }
    Ok(serde_json::from_str::<String>(value.get()).ok().map(Cow::Owned))
}

/// What kind of JSON stands where another was due.
fn kind_of(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'"') => "it is a string",
        Some(b'{') => "it is an object",
        Some(b'[') => "it is an array",
        Some(b't' | b'f') => "it is a boolean",
        Some(b'n') => "it is null",
        _ => "it is a number",
    }
}

fn empty(name: &str) -> Invalid {
    invalid(format!("{name} is empty"), "a mandatory field has no content")
}

fn check_time(text: &str) -> Result<(), Invalid> {
    if plain_utc_date(text.as_bytes()).is_some() {
        return Ok(());
    }
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed.map(drop).map_err(|err| invalid("event_time is not RFC 3339", err))
}

/// serde's sentence without the position, so that equal mistakes have equal reasons.
fn data_reason(err: &serde_json::Error) -> String {
    let text = err.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn invalid(reason: impl Into<String>, detail: impl fmt::Display) -> Invalid {
    let reason = reason.into();
    let mut detail = format!("{reason}: {detail}");
    // serde's sentences may quote the payload; a log line and a header must not grow with it.
    if detail.len() > DETAIL_BYTES_MAX {
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        detail.push('…');
    }
    Invalid { reason, detail }
}

/// The UTC day on which a record counts: that of its header `ingested_at`, else that of its Kafka
/// timestamp, else 1970-01-01. It depends on the record alone, so that a replay writes into the
/// folder that the first run wrote into.
pub fn ingestion_date(ingested_at: Option<&[u8]>, timestamp_ms: Option<i64>) -> NaiveDate {
    if let Some(date) = ingested_at.and_then(plain_utc_date) {
        return date;
    }
    let from_header = ingested_at
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .map(|time| time.with_timezone(&Utc));
    let from_kafka = || timestamp_ms.and_then(DateTime::from_timestamp_millis);
    from_header
        .or_else(from_kafka)
        .map(|time| time.date_naive())
        .filter(|date| (0..=9999).contains(&chrono::Datelike::year(date)))
        .unwrap_or_default()
}

/// The date in a time of the plainest shape, `2026-01-21T10:00:00[.123]Z`: nearly every time there is,
/// at a tenth of the cost of the whole grammar. `None` for all others, valid or not.
fn plain_utc_date(time: &[u8]) -> Option<NaiveDate> {
    let date = plain_utc_clock(time)?;
    let number = |from, to| digits(date, from, to);
    NaiveDate::from_ymd_opt(number(0, 4)? as i32, number(5, 7)?, number(8, 10)?)
}

/// The characters of the date in such a time, of which only the rest has been looked at.
fn plain_utc_clock(time: &[u8]) -> Option<&[u8; 10]> {
    let (head, tail) = time.split_at_checked(19)?;
    let separated = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')]
        .iter()
        .all(|(at, sep)| head[*at] == *sep);
    let fraction = match tail.strip_suffix(b"Z")? {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let clock =
        digits(head, 11, 13)? < 24 && digits(head, 14, 16)? < 60 && digits(head, 17, 19)? < 60;
    if separated && fraction && clock { head.first_chunk() } else { None }
}

fn digits(text: &[u8], from: usize, to: usize) -> Option<u32> {
    text[from..to].iter().try_fold(0u32, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

/// The days of a stream of records: nearly every record is of the day of the one before it.
#[derive(Debug, Default)]
pub struct Days {
    /// The characters `YYYY-MM-DD` of the last plain time, and its day.
    last: Option<([u8; 10], NaiveDate)>,
}

impl Days {
    /// The same as [`ingestion_date`].
    pub fn ingestion_date(
        &mut self,
        ingested_at: Option<&[u8]>,
        timestamp_ms: Option<i64>,
    ) -> NaiveDate {
        let plain = ingested_at.and_then(plain_utc_clock);
        match (self.last, plain) {
            (Some((text, day)), Some(plain)) if text == *plain => day,
            _ => {
                let day = ingestion_date(ingested_at, timestamp_ms);
                let dated = plain.filter(|_| ingested_at.and_then(plain_utc_date) == Some(day));
                self.last = dated.map(|text| (*text, day));
                day
            }
        }
    }
}

/// Now, as the header `ingested_at` has it.
pub fn now_rfc3339() -> String {
    Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = r#"{"order_id":"ORD-1","customer_id":"C","amount":1.5,"event_time":"2026-01-21T10:00:00Z"}"#;

    #[test]
    fn a_good_order_gives_its_key() {
        let valid = validate(Schema::Order, Some(GOOD.as_bytes())).unwrap();
        assert_eq!(valid.key.as_deref(), Some("ORD-1"));
        assert_eq!(valid.json, Some(GOOD));
    }

    #[test]
    fn each_mistake_is_named() {
        let cases = [
            (GOOD.replace("order_id", "id"), "missing field `order_id`"),
            (GOOD.replace("1.5", "\"1.5\""), "amount is not a number"),
            (format!("[{GOOD}]"), "the payload is not a JSON object"),
            (
                "[\"A\",\"C\",1,\"2026-01-21T10:00:00Z\"]".to_owned(),
                "the payload is not a JSON object",
            ),
            (GOOD.replace("\"C\"", "null"), "customer_id is not a string"),
            (GOOD.replace("ORD-1", "\\ud800"), "order_id is not Unicode text"),
            (GOOD.replace("2026-01-21T10", "2026-13-21T10"), "event_time is not RFC 3339"),
            (GOOD.replace("ORD-1", ""), "order_id is empty"),
            (GOOD.replace("\"ORD-1\"", "7"), "order_id is not a string"),
            (format!("\u{feff}{GOOD}"), "the payload is not JSON"),
            (GOOD[..20].to_owned(), "the payload is not JSON"),
            (String::new(), "the payload is not JSON"),
            (GOOD.replace("}", ",\"order_id\":\"2\"}"), "duplicate field `order_id`"),
        ];
        for (payload, reason) in cases {
            let found = validate(Schema::Order, Some(payload.as_bytes())).unwrap_err();
            assert_eq!(found.reason, reason, "{payload}");
        }
        assert_eq!(
            validate(Schema::Order, Some(b"\xff")).unwrap_err().reason,
            "the payload is not UTF-8"
        );
        assert_eq!(validate(Schema::Order, None).unwrap_err().reason, "the record has no value");
    }

    #[test]
    fn numbers_of_any_size_and_text_of_any_kind_are_json() {
        for (from, to) in [("1.5", "1e400"), ("1.5", "-0.0e-999"), ("\"C\"", "\"\\ud800\"")] {
            let payload = GOOD.replace(from, to);
            let valid = validate(Schema::Order, Some(payload.as_bytes())).unwrap();
            assert_eq!((valid.key.as_deref(), valid.json), (Some("ORD-1"), Some(payload.as_str())));
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_payload() {
        let secret = "hunter2".repeat(100_000);
        for payload in [
            GOOD.replace("1.5", &format!("\"{secret}\"")),
            GOOD.replace("\"C\"", &format!("[\"{secret}\"]")),
            GOOD.replace("2026-01-21T10:00:00Z", &secret),
            format!("{{\"{secret}\":"),
        ] {
            let found = validate(Schema::Order, Some(payload.as_bytes())).unwrap_err();
            assert!(!found.detail.contains("hunter2"), "{:.200}", found.detail);
            assert!(found.reason.len() + found.detail.len() < 1_000);
        }
    }

    #[test]
    fn unknown_fields_of_any_shape_are_welcome() {
        let deep = "[".repeat(50_000) + &"]".repeat(50_000);
        for extra in ["1e999", "\"\\ud800\"", "{\"a\":1,\"a\":2}", deep.as_str()] {
            let payload = GOOD.replace('}', &format!(",\"extra\":{extra}}}"));
            let valid = validate(Schema::Order, Some(payload.as_bytes()));
            assert!(valid.is_ok(), "{extra:.20} {valid:?}");
        }
    }

    proptest::proptest! {
        /// The short way never says anything that the long one does not.
        #[test]
        fn the_plain_shape_agrees_with_the_grammar(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,9})?Z?"
        ) {
            if let Some(date) = plain_utc_date(text.as_bytes()) {
                let long = DateTime::parse_from_rfc3339(&text);
                proptest::prop_assert_eq!(long.map(|time| time.date_naive()), Ok(date));
            }
        }
    }

    #[test]
    fn remembering_the_day_before_changes_no_day() {
        let mut days = Days::default();
        let times = ["2026-01-21T23:30:00Z", "2026-01-21T25:30:00Z", "2026-02-30T00:00:00Z", "x"];
        for first in times {
            for second in times {
                for time in [first, second, first] {
                    let (header, kafka) = (Some(time.as_bytes()), Some(0));
                    assert_eq!(days.ingestion_date(header, kafka), ingestion_date(header, kafka));
                }
            }
        }
    }

    #[test]
    fn the_day_comes_from_the_header_then_from_kafka() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let header = Some(b"2026-01-21T23:30:00-02:00".as_slice());
        assert_eq!(ingestion_date(header, Some(0)), day("2026-01-22"));
        assert_eq!(ingestion_date(Some(b"soon"), Some(86_400_000)), day("1970-01-02"));
        assert_eq!(ingestion_date(None, None), day("1970-01-01"));
        assert_eq!(ingestion_date(None, Some(i64::MAX)), day("1970-01-01"));
    }
}
