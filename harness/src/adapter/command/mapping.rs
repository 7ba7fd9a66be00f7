//! Which record of the topic under test a delivered line, or a dead letter, is: by its place or by the
//! number of its operation, and what it says of key and value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::named::NamePattern;
use streamlake_history::event::{Blob, Print, ValuePromise};

/// A JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// A message and a remedy.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let escaped = |text: &str| {
            text.split('~').skip(1).all(|rest| rest.starts_with('0') || rest.starts_with('1'))
        };
        if (text.is_empty() || text.starts_with('/')) && escaped(text) {
            return Ok(Self(text.to_owned()));
        }
        Err((
            format!("`{text}` is no JSON pointer"),
            "write one that begins with a slash, `/kafka/offset`, with `~1` for a slash and `~0` for a tilde \
             in a name"
                .to_owned(),
        ))
    }

    fn of<'v>(&self, line: &'v Value) -> Option<&'v Value> {
        line.pointer(&self.0)
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// How a record is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// By its place.
    Place {
        /// Its topic; without, it is the topic under test.
        topic: Option<Pointer>,
        /// Its partition.
        partition: Pointer,
        /// Its offset.
        offset: Pointer,
    },
    /// By its place, in headers.
    Headers {
        /// Its topic; without, it is the topic under test.
        topic: Option<String>,
        /// Its partition.
        partition: String,
        /// Its offset.
        offset: String,
    },
    /// By the number of its operation, which its payload has.
    Op(Pointer),
    /// By the name of the file or object in which it is, and how many records stand before it there.
    Name(NamePattern),
    /// By its value, which is the record's own.
    Value,
}

/// Where a line says what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// A line counts only if each of these says this; any other is no record.
    pub only: Vec<(Pointer, String)>,
    /// Which record it is.
    pub origin: Origin,
    /// The key, as text and in base64.
    pub key: [Option<Pointer>; 2],
    /// The value, as text or JSON and in base64.
    pub value: [Option<Pointer>; 2],
    /// What is promised of values.
    pub compare: ValuePromise,
}

/// Which record a line says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// The one at a place.
    Place(Option<String>, u32, u64),
    /// The one of an operation.
    Op(u64),
    /// The one with the line's value.
    Value,
}

/// A value as a line has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SaidValue {
    /// Its bytes, where they stand there.
    pub bytes: Option<Vec<u8>>,
    /// What it is as JSON, where it is any.
    pub json: Vec<Value>,
    /// There is none: the record is said to be a tombstone.
    pub null: bool,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Which record it is.
    pub said: Said,
    /// Its key; none where the line does not tell.
    pub key: Option<Option<Blob>>,
    /// Its value; none where the line does not tell.
    pub value: Option<SaidValue>,
}

/// Headers of a record of a topic.
pub(super) type Headers<'a> = [(&'a [u8], Option<&'a [u8]>)];

/// What stands around a record where it was delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    /// Its headers, if it is one of a topic.
    pub headers: &'a Headers<'a>,
    /// The name of the file or object, and how many records stand before it there.
    pub file: Option<(&'a str, u64)>,
}

impl<'a> Around<'a> {
    /// Of a record of a topic.
    pub(super) fn message(headers: &'a Headers<'a>) -> Self {
        Self { headers, file: None }
    }
}

impl Mapping {
    /// Lines tell keys.
    #[must_use]
    pub fn tells_keys(&self) -> bool {
        self.key.iter().any(Option::is_some)
    }

    /// Whether a line is a record at all, and not something else that its consumer writes down.
    pub(super) fn counts(&self, line: &Value) -> bool {
        self.only.iter().all(|(at, wanted)| match at.of(line) {
            Some(Value::String(text)) => text == wanted,
            Some(other) => format!("{other}") == *wanted,
            None => false,
        })
    }

    /// Reads a line, or the value of a record, with what stands around it.
    ///
    /// # Errors
    /// What is missing, and where it was looked for.
    pub(super) fn read(&self, line: &Value, around: Around<'_>) -> Result<Line, String> {
        let headers = around.headers;
        let said = match &self.origin {
            Origin::Place { topic, partition, offset } => {
                let topic = match topic {
                    Some(at) => Some(text(line, at)?),
                    None => None,
                };
                Said::Place(topic, number(line, partition)?, number(line, offset)?)
            }
            Origin::Headers { topic, partition, offset } => {
                let topic = match topic {
                    Some(name) => Some(header(headers, name)?),
                    None => None,
                };
                let number = |name: &String| -> Result<u64, String> {
                    let text = header(headers, name)?;
                    text.parse().map_err(|_| format!("header `{name}` is `{text}` and no number"))
                };
                let partition = u32::try_from(number(partition)?)
                    .map_err(|_| "the partition is too large".to_owned())?;
                Said::Place(topic, partition, number(offset)?)
            }
            Origin::Op(at) => Said::Op(number(line, at)?),
            Origin::Name(pattern) => {
                let (name, before) = around.file.ok_or("a record of a topic has no file's name")?;
                let (topic, partition, first) = pattern.place(name)?;
                Said::Place(topic, partition, first.saturating_add(before))
            }
            Origin::Value => Said::Value,
        };
        Ok(Line { said, key: self.key(line)?, value: self.value(line)? })
    }

    fn key(&self, line: &Value) -> Result<Option<Option<Blob>>, String> {
        if !self.tells_keys() {
            return Ok(None);
        }
        let [plain, base64] = &self.key;
        match (present(line, plain), present(line, base64)) {
            (Some(Value::String(text)), None) => Ok(Some(Some(Blob(text.clone().into_bytes())))),
            // A key that is a number in the payload is often one in the line, too.
            (Some(Value::Number(number)), None) => {
                Ok(Some(Some(Blob(number.to_string().into_bytes()))))
            }
            (None, Some(text)) => Ok(Some(Some(Blob(decode(text)?)))),
            (None, None) => Ok(Some(None)),
            (Some(other), None) => Err(format!("the key is {other} and no text")),
            _ => Err("the key stands there both as text and in base64".to_owned()),
        }
    }

    fn value(&self, line: &Value) -> Result<Option<SaidValue>, String> {
        if self.value.iter().all(Option::is_none) {
            return Ok(None);
        }
        let [plain, base64] = &self.value;
        match (present(line, plain), present(line, base64)) {
            (None, Some(text)) => Ok(Some(SaidValue::of_bytes(decode(text)?))),
            (None, None) => Ok(Some(SaidValue { null: true, ..SaidValue::default() })),
            (Some(Value::String(text)), None) => {
                let mut value = SaidValue::of_bytes(text.clone().into_bytes());
                value.json.push(Value::String(text.clone()));
                Ok(Some(value))
            }
            (Some(other), None) if self.compare == ValuePromise::Bytes => Err(format!(
                "the value is JSON of its own ({}), which has lost the bytes that it had: say \
                 `compare = \"json\"`",
                kind(other)
            )),
            (Some(other), None) => {
                Ok(Some(SaidValue { json: vec![other.clone()], ..SaidValue::default() }))
            }
            _ => Err("the value stands there both as text and in base64".to_owned()),
        }
    }
}

impl SaidValue {
    /// The value is known byte for byte.
    #[must_use]
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        let json = serde_json::from_slice(&bytes).into_iter().collect();
        Self { bytes: Some(bytes), json, null: false }
    }

    /// The fingerprint to be written down: of the logged record where it is the same by what is promised.
    #[must_use]
    pub(super) fn print(&self, compare: ValuePromise, logged: Option<&Logged>) -> Print {
        let own = match (&self.bytes, self.json.first()) {
            _ if self.null => Print::NULL,
            (Some(bytes), _) => Print::of_value(Some(bytes)),
            (None, Some(json)) => Print::of_value(Some(canonical(json).as_bytes())),
            (None, None) => Print::UNTOLD,
        };
        match (compare, logged) {
            (ValuePromise::Untold, _) => Print::UNTOLD,
            (ValuePromise::Json, Some(logged)) => {
                let same = |json: &Value| Some(json_print(json)) == logged.json;
                if self.json.iter().any(same) { logged.value } else { own }
            }
            _ => own,
        }
    }
}

/// What is compared of a logged value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// Its fingerprint.
    pub value: Print,
    /// That of what it is as JSON, if it is any.
    pub json: Option<Print>,
}

impl Logged {
    /// Of a value.
    #[must_use]
    pub fn of(value: Option<&[u8]>) -> Self {
        let json = value.and_then(|value| serde_json::from_slice(value).ok());
        Self { value: Print::of_value(value), json: json.as_ref().map(json_print) }
    }
}

fn json_print(json: &Value) -> Print {
    Print::of(canonical(json).as_bytes())
}

/// One spelling for all that are the same JSON: fields sorted, numbers as they are in double precision.
fn canonical(json: &Value) -> String {
    match json {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            let field = |(name, value): &(&String, &Value)| {
                format!("{}:{}", Value::String((*name).clone()), canonical(value))
            };
            format!("{{{}}}", sorted.iter().map(field).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        // 1, 1.0 and 1e0 are one number; whole ones beyond double precision keep their digits.
        Value::Number(number) => match number.as_f64() {
            Some(double) if number.is_f64() || double.abs() < 9e15 => format!("{double:e}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn present<'v>(line: &'v Value, at: &Option<Pointer>) -> Option<&'v Value> {
    at.as_ref()?.of(line).filter(|value| !value.is_null())
}

fn decode(value: &Value) -> Result<Vec<u8>, String> {
    let Value::String(text) = value else {
        return Err(format!("{} where base64 was expected", kind(value)));
    };
    BASE64.decode(text).map_err(|error| format!("no base64: {error}"))
}

fn text(line: &Value, at: &Pointer) -> Result<String, String> {
    match at.of(line) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("at {at} stands {} and no text", kind(other))),
        None => Err(format!("there is nothing at {at}")),
    }
}

/// A number, also one that is written as text.
fn number<T: TryFrom<u64>>(line: &Value, at: &Pointer) -> Result<T, String> {
    let found = at.of(line).ok_or_else(|| format!("there is nothing at {at}"))?;
    let number = match found {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("at {at} stands {} and no number that can be meant", kind(found)))
}

fn header(headers: &Headers<'_>, name: &str) -> Result<String, String> {
    // The last one of a name is the one that the consumer added.
    let found = headers.iter().rev().find(|(known, _)| *known == name.as_bytes());
    let value = found.and_then(|(_, value)| *value);
    let value = value.ok_or_else(|| format!("there is no header `{name}`"))?;
    String::from_utf8(value.to_vec()).map_err(|_| format!("header `{name}` is no text"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    const NOTHING: Around<'_> = Around { headers: &[], file: None };

    fn at(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    fn by_place() -> Mapping {
        Mapping {
            origin: Origin::Place {
                topic: Some(at("/k/topic")),
                partition: at("/k/p"),
                offset: at("/k/o"),
            },
            only: Vec::new(),
            key: [Some(at("/key")), Some(at("/key64"))],
            value: [Some(at("/v")), Some(at("/v64"))],
            compare: ValuePromise::Bytes,
        }
    }

    #[test]
    fn a_line_is_read_by_its_pointers() {
        let line = json!({"k": {"topic": "t", "p": 1, "o": "7"}, "key": "a", "v": "{\"x\": 1}"});
        let read = by_place().read(&line, NOTHING).unwrap();
        assert_eq!(read.said, Said::Place(Some("t".to_owned()), 1, 7));
        assert_eq!(read.key, Some(Some(Blob(b"a".to_vec()))));
        let print = read.value.unwrap().print(ValuePromise::Bytes, None);
        assert_eq!(print, Print::of_value(Some(b"{\"x\": 1}")));
        let line = json!({"k": {"topic": "t", "p": 1, "o": 7}, "key64": "/w==", "v64": "/w=="});
        let read = by_place().read(&line, NOTHING).unwrap();
        assert_eq!(read.key, Some(Some(Blob(vec![0xff]))));
        assert_eq!(read.value.unwrap().bytes, Some(vec![0xff]));
    }

    #[test]
    fn what_is_not_there_or_cannot_be_meant_is_named() {
        let read = |line: Value| by_place().read(&line, NOTHING).unwrap_err();
        assert_eq!(read(json!({"k": {"topic": "t", "p": 1}})), "there is nothing at `/k/o`");
        let negative = read(json!({"k": {"topic": "t", "p": -1, "o": 1}}));
        assert_eq!(negative, "at `/k/p` stands a number and no number that can be meant");
        let both = json!({"k": {"topic": "t", "p": 1, "o": 1}, "key": "a", "key64": "YQ=="});
        assert_eq!(read(both), "the key stands there both as text and in base64");
        let own = json!({"k": {"topic": "t", "p": 1, "o": 1}, "v": {"x": 1}});
        assert!(read(own).ends_with("say `compare = \"json\"`"));
        assert!(Pointer::parse("offset").is_err() && Pointer::parse("/a~2").is_err());
    }

    #[test]
    fn a_record_is_known_by_the_name_of_its_file_and_by_what_stands_before_it() {
        let pattern = NamePattern::parse("{topic}+{partition}+{start_offset}.json").unwrap();
        let mapping = Mapping { origin: Origin::Name(pattern), ..by_place() };
        let around = Around { headers: &[], file: Some(("t+1+40.json", 2)) };
        let read = mapping.read(&json!({"v": "x"}), around).unwrap();
        assert_eq!(read.said, Said::Place(Some("t".to_owned()), 1, 42));
        assert!(mapping.read(&json!({"v": "x"}), NOTHING).is_err());
    }

    #[test]
    fn lines_that_are_no_records_do_not_count() {
        let only = vec![(at("/name"), "record".to_owned()), (at("/n"), "1".to_owned())];
        let mapping = Mapping { only, ..by_place() };
        assert!(mapping.counts(&json!({"name": "record", "n": 1})));
        assert!(!mapping.counts(&json!({"name": "other", "n": 1})));
        assert!(!mapping.counts(&json!({"n": 1})) && by_place().counts(&json!(7)));
    }

    #[test]
    fn the_last_header_of_a_name_counts() {
        let origin = Origin::Headers {
            topic: Some("t".to_owned()),
            partition: "p".to_owned(),
            offset: "o".to_owned(),
        };
        let mapping = Mapping { origin, ..by_place() };
        let headers: &Headers<'_> =
            &[(b"o", Some(b"3")), (b"t", Some(b"orders")), (b"p", Some(b"2")), (b"o", Some(b"4"))];
        let read = mapping.read(&Value::Null, Around::message(headers)).unwrap();
        assert_eq!(read.said, Said::Place(Some("orders".to_owned()), 2, 4));
        assert_eq!(
            mapping.read(&Value::Null, Around::message(&headers[..2])).unwrap_err(),
            "there is no header `p`"
        );
    }

    #[test]
    fn values_are_the_same_by_what_is_promised_of_them() {
        let logged = Logged::of(Some(br#"{"a": 1.50, "b": [1, {"d": null, "c": "\u00e9"}]}"#));
        let json = |text: &str| SaidValue {
            json: vec![serde_json::from_str(text).unwrap()],
            ..SaidValue::default()
        };
        let same = json(r#"{"b":[1.0,{"c":"é","d":null}],"a":15e-1}"#);
        assert_eq!(same.print(ValuePromise::Json, Some(&logged)), logged.value);
        let other = json(r#"{"b":[2,{"c":"é","d":null}],"a":1.5}"#);
        assert_ne!(other.print(ValuePromise::Json, Some(&logged)), logged.value);
        assert_eq!(other.print(ValuePromise::Untold, Some(&logged)), Print::UNTOLD);
        // The text of the payload is the payload, and so is a text that was one.
        let text = SaidValue::of_bytes(br#"{"b":[1,{"c":"\u00e9","d":null}],"a":1.5}"#.to_vec());
        assert_eq!(text.print(ValuePromise::Json, Some(&logged)), logged.value);
        assert_ne!(text.print(ValuePromise::Bytes, Some(&logged)), logged.value);
        let null = SaidValue { null: true, ..SaidValue::default() };
        assert_eq!(null.print(ValuePromise::Json, Some(&logged)), Print::NULL);
        // Beyond double precision whole numbers keep their digits.
        assert_ne!(
            json_print(&json!(9_007_199_254_740_993_u64)),
            json_print(&json!(9_007_199_254_740_992_u64))
        );
    }
}
