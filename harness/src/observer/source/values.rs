//! Values of columns in the one spelling that a history has for them
//! ([`streamlake_history::event::Column`]): from PostgreSQL's text, and from Debezium's JSON with its schema.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde_json::Value;

use streamlake_history::event::Column;

const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.6f";
const TIME: &str = "%H:%M:%S%.6f";
/// What Debezium writes where the database did not log a value anew.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// A value of PostgreSQL as its text output writes it, by the name of its type. What cannot be read
/// stays as it is: it then differs from the event, and is seen.
pub(super) fn of_database(text: &str, kind: &str) -> String {
    if let Some(element) = kind.strip_suffix("[]") {
        return elements(text)
            .map(|all| array(all.iter().map(|e| e.as_ref().map(|e| of_database(e, element)))))
            .unwrap_or_else(|| text.to_owned());
    }
    let read = match kind {
        "numeric" => decimal(text),
        "real" | "double precision" => text.parse().ok().map(float),
        "timestamp without time zone" => {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
                .ok()
                .map(|at| at.format(TIMESTAMP).to_string())
        }
        "timestamp with time zone" => DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z")
            .ok()
            .map(|at| zoned(at.into())),
        "time without time zone" => NaiveTime::parse_from_str(text, "%H:%M:%S%.f")
            .ok()
            .map(|at| at.format(TIME).to_string()),
        _ => None,
    };
    read.unwrap_or_else(|| text.to_owned())
}

/// A value of a change event, by the field of the schema that it came with.
pub(super) fn of_event(value: &Value, field: Option<&Value>) -> Option<Column> {
    if value.is_null() {
        return None;
    }
    let placeholder = value.as_str().is_some_and(|text| {
        text == UNAVAILABLE
            || BASE64.decode(text).is_ok_and(|bytes| bytes == UNAVAILABLE.as_bytes())
    });
    let placeholder = placeholder || value.as_array().is_some_and(|all| *all == [UNAVAILABLE]);
    if placeholder {
        return Some(Column::UNAVAILABLE);
    }
    Some(Column::of(told(value, field)))
}

fn told(value: &Value, field: Option<&Value>) -> String {
    let of = |name: &str| field.and_then(|field| field.get(name));
    let (kind, name) = (of("type").and_then(Value::as_str), of("name").and_then(Value::as_str));
    if let Value::Array(all) = value {
        let element = of("items");
        let one = |e: &Value| (!e.is_null()).then(|| told(e, element));
        return array(all.iter().map(one));
    }
    let number = value.as_i64();
    let read = match (name.unwrap_or_default(), kind.unwrap_or_default()) {
        ("org.apache.kafka.connect.data.Decimal", _) => {
            let scale = of("parameters").and_then(|p| p.get("scale")).and_then(Value::as_str);
            scale.and_then(|scale| scale.parse().ok()).and_then(|scale| scaled(value, scale))
        }
        ("io.debezium.data.VariableScaleDecimal", _) => {
            let scale = value.get("scale").and_then(Value::as_i64);
            scale.and_then(|s| scaled(value.get("value")?, u32::try_from(s).ok()?))
        }
        ("io.debezium.time.Date" | "org.apache.kafka.connect.data.Date", _) => number
            .and_then(|days| {
                NaiveDate::from_num_days_from_ce_opt(i32::try_from(days + 719_163).ok()?)
            })
            .map(|day| day.to_string()),
        ("io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp", _) => {
            number.and_then(|ms| timestamp(ms.checked_mul(1000)?))
        }
        ("io.debezium.time.MicroTimestamp", _) => number.and_then(timestamp),
        ("io.debezium.time.NanoTimestamp", _) => {
            number.and_then(|ns| timestamp(ns.div_euclid(1000)))
        }
        ("io.debezium.time.ZonedTimestamp", _) => {
            let at = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
            at.map(|at| zoned(at.into()))
        }
        ("io.debezium.time.MicroTime", _) => number.and_then(time),
        ("io.debezium.time.Time" | "org.apache.kafka.connect.data.Time", _) => {
            number.and_then(|ms| time(ms.checked_mul(1000)?))
        }
        (_, "bytes") => value.as_str().and_then(|text| BASE64.decode(text).ok()).map(|b| hex(&b)),
        (_, "float" | "double") => value.as_f64().map(float),
        _ => None,
    };
    read.unwrap_or_else(|| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().map(float).unwrap_or_default(),
        other => other.to_string(),
    })
}

fn timestamp(us: i64) -> Option<String> {
    Some(DateTime::<Utc>::from_timestamp_micros(us)?.naive_utc().format(TIMESTAMP).to_string())
}

fn zoned(at: DateTime<Utc>) -> String {
    format!("{}Z", at.format(TIMESTAMP))
}

fn time(us: i64) -> Option<String> {
    Some(DateTime::<Utc>::from_timestamp_micros(us)?.time().format(TIME).to_string())
}

fn float(value: f64) -> String {
    format!("{value:?}")
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The shortest spelling of a decimal; none for what is not one.
fn decimal(text: &str) -> Option<String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let short = match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.'),
        None => text,
    };
    Some(if short == "-0" { "0".to_owned() } else { short.to_owned() })
}

/// A decimal from the bytes of its unscaled value, the highest first, in two's complement.
fn scaled(value: &Value, scale: u32) -> Option<String> {
    let bytes = BASE64.decode(value.as_str()?).ok()?;
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    let start = wide.len().checked_sub(bytes.len())?;
    wide[start..].copy_from_slice(&bytes);
    let unscaled = i128::from_be_bytes(wide);
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::try_from(scale).ok()?;
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    let text =
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
    decimal(&text)
}

fn array(elements: impl Iterator<Item = Option<String>>) -> String {
    Value::Array(elements.map(|e| e.map_or(Value::Null, Value::String)).collect()).to_string()
}

/// The elements of a one-dimensional array, `{a,"b c",NULL}`.
fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut all = Vec::new();
    if inner.is_empty() {
        return Some(all);
    }
    let mut characters = inner.chars().peekable();
    loop {
        let mut element = String::new();
        let quoted = characters.next_if_eq(&'"').is_some();
        loop {
            match characters.peek().copied() {
                Some('"') if quoted => {
                    characters.next();
                    break;
                }
                None | Some(',') if !quoted => break,
                Some('{') if !quoted => return None,
                Some('\\') => {
                    characters.next();
                    element.push(characters.next()?);
                }
                Some(other) => {
                    characters.next();
                    element.push(other);
                }
                None => return None,
            }
        }
        let null = !quoted && element.eq_ignore_ascii_case("null");
        all.push((!null).then_some(element));
        match characters.next() {
            None => return Some(all),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    /// The same values as PostgreSQL 15 and Debezium 3.3 write them.
    #[test]
    fn both_sides_come_to_one_spelling() {
        let decimal = json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
            "parameters": {"scale": "2", "connect.decimal.precision": "12"}});
        let named = |kind: &str, name: &str| json!({"type": kind, "name": name});
        let strings = json!({"type": "array", "items": {"type": "string"}});
        let cases = [
            ("12.30", "numeric", json!("BM4="), decimal.clone(), "12.3"),
            ("-0.05", "numeric", json!("+w=="), decimal.clone(), "-0.05"),
            ("1234567890.12", "numeric", json!("HL6ZGhQ="), decimal, "1234567890.12"),
            ("true", "boolean", json!(true), json!({"type": "boolean"}), "true"),
            ("42", "bigint", json!(42), json!({"type": "int64"}), "42"),
            (
                "2026-01-02 03:04:05.678901",
                "timestamp without time zone",
                json!(1_767_323_045_678_901_i64),
                named("int64", "io.debezium.time.MicroTimestamp"),
                "2026-01-02T03:04:05.678901",
            ),
            (
                "1969-12-31 23:59:59.999999",
                "timestamp without time zone",
                json!(-1),
                named("int64", "io.debezium.time.MicroTimestamp"),
                "1969-12-31T23:59:59.999999",
            ),
            (
                "2026-01-02 05:04:05.6+02",
                "timestamp with time zone",
                json!("2026-01-02T03:04:05.600000Z"),
                named("string", "io.debezium.time.ZonedTimestamp"),
                "2026-01-02T03:04:05.600000Z",
            ),
            (
                "2026-02-03",
                "date",
                json!(20487),
                named("int32", "io.debezium.time.Date"),
                "2026-02-03",
            ),
            (
                "1969-12-31",
                "date",
                json!(-1),
                named("int32", "io.debezium.time.Date"),
                "1969-12-31",
            ),
            ("1.5", "double precision", json!(1.5), json!({"type": "double"}), "1.5"),
            ("-1e+300", "double precision", json!(-1e300), json!({"type": "double"}), "-1e300"),
            ("3", "double precision", json!(3), json!({"type": "double"}), "3.0"),
            ("\\x00ff10", "bytea", json!("AP8Q"), json!({"type": "bytes"}), "\\x00ff10"),
            ("\\x", "bytea", json!(""), json!({"type": "bytes"}), "\\x"),
            (
                "{\"a\": 1}",
                "jsonb",
                json!("{\"a\": 1}"),
                named("string", "io.debezium.data.Json"),
                "{\"a\": 1}",
            ),
            (
                "{a,\"b c\",NULL,\"NULL\",\"q\\\"\"}",
                "text[]",
                json!(["a", "b c", null, "NULL", "q\""]),
                strings.clone(),
                "[\"a\",\"b c\",null,\"NULL\",\"q\\\"\"]",
            ),
            ("{}", "text[]", json!([]), strings, "[]"),
            ("it's", "text", json!("it's"), json!({"type": "string"}), "it's"),
        ];
        for (text, kind, value, field, spelling) in cases {
            assert_eq!(of_database(text, kind), spelling, "{text} of {kind}");
            let told = of_event(&value, Some(&field));
            assert_eq!(told, Some(Column::of(spelling.to_owned())), "{value} of {field}");
        }
        assert_eq!(of_event(&Value::Null, None), None);
        for missing in [json!(UNAVAILABLE), json!(BASE64.encode(UNAVAILABLE)), json!([UNAVAILABLE])]
        {
            assert_eq!(of_event(&missing, None), Some(Column::UNAVAILABLE));
        }
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_is() {
        assert_eq!(of_database("NaN", "numeric"), "NaN");
        assert_eq!(of_database("infinity", "timestamp without time zone"), "infinity");
        assert_eq!(of_database("{{1,2},{3,4}}", "integer[]"), "{{1,2},{3,4}}");
    }
}
