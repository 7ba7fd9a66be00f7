//! What log collectors put around the lines of a process, and how it is taken off again.
//!
//! Known are Docker's `json-file` and whatever else wraps a line into a field of a JSON object
//! (`log`, `message`, journald's `MESSAGE`, …), the container runtime interface of Kubernetes
//! (`TIME stdout F TEXT`, with lines in parts), `docker compose` (`name | TEXT`), and any other text
//! before or between JSON objects. Colours of terminals are dropped.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::Value;

/// Fields in which collectors keep a line.
const FIELDS: [&str; 9] =
    ["log", "MESSAGE", "message", "msg", "line", "textPayload", "@message", "content", "event"];

/// Attempts to find an object in a line: more brackets than this that begin none are no line of ours.
const ATTEMPTS_MAX: usize = 64;

/// Parts of lines of one file that wait for their ends.
#[derive(Debug, Default)]
pub(super) struct Parts(Vec<u8>);

impl Parts {
    /// What is left when the file ends.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    fn join(&mut self, text: &[u8], ended: bool) -> Option<Vec<u8>> {
        self.0.extend_from_slice(text);
        ended.then(|| self.rest())
    }
}

/// The text of a line without a collector's prefix; none while more of it is to come.
pub(super) fn stripped<'a>(line: &'a [u8], parts: &mut Parts) -> Option<Cow<'a, [u8]>> {
    let mut line = match line.contains(&0x1b) {
        true => Cow::Owned(without_colours(line)),
        false => Cow::Borrowed(line),
    };
    while line.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        line = match line {
            Cow::Borrowed(line) => Cow::Borrowed(&line[..line.len() - 1]),
            Cow::Owned(mut line) => {
                line.pop();
                Cow::Owned(line)
            }
        };
    }
    if line.first() == Some(&b'{') {
        return Some(line);
    }
    if let Some((text, ended)) = of_runtime_interface(&line) {
        return parts.join(text, ended).map(Cow::Owned);
    }
    if let Some(at) = of_compose(&line) {
        return Some(Cow::Owned(line[at..].to_vec()));
    }
    Some(line)
}

/// `2026-01-21T10:00:00.000000000Z stdout F text`; `P` instead of `F` if more is to come.
fn of_runtime_interface(line: &[u8]) -> Option<(&[u8], bool)> {
    let mut words = line.splitn(4, |&byte| byte == b' ');
    let (time, stream, tag) = (words.next()?, words.next()?, words.next()?);
    let whole = match tag {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let known = is_instant(time) && matches!(stream, b"stdout" | b"stderr");
    known.then(|| (words.next().unwrap_or_default(), whole))
}

/// Where the text begins in `service-1  | text`.
fn of_compose(line: &[u8]) -> Option<usize> {
    let bar = line.windows(2).take(64).position(|pair| pair == b"| ")?;
    let name = line[..bar].trim_ascii();
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (!name.is_empty() && name.iter().all(legal)).then_some(bar + 2)
}

/// Begins like an instant of RFC 3339.
pub(super) fn is_instant(word: &[u8]) -> bool {
    let shape = b"dddd-dd-ddTdd:dd";
    word.len() >= shape.len()
        && word.iter().zip(shape).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

fn without_colours(line: &[u8]) -> Vec<u8> {
    let (mut out, mut bytes) = (Vec::with_capacity(line.len()), line.iter().copied().peekable());
    while let Some(byte) = bytes.next() {
        if byte == 0x1b && bytes.peek() == Some(&b'[') {
            // To the letter that ends the sequence.
            while bytes.next().is_some_and(|byte| !byte.is_ascii_alphabetic()) {}
        } else {
            out.push(byte);
        }
    }
    out
}

/// What a collector's object holds.
pub(super) enum Opened {
    /// It is none.
    No,
    /// A whole line.
    Line(Vec<u8>),
    /// A part of one; the rest is in the lines that follow.
    Part,
}

/// The line that a collector's JSON object holds, if it is one.
pub(super) fn opened(object: &[u8], parts: &mut Parts) -> Opened {
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(object) else {
        return Opened::No;
    };
    let Some((name, text)) =
        FIELDS.iter().find_map(|name| Some((*name, text_of(fields.get(*name)?)?)))
    else {
        return Opened::No;
    };
    // Docker cuts long lines, and only the last part of one ends in a line break.
    let docker = name == "log" && fields.contains_key("stream");
    let ended = !docker || text.last() == Some(&b'\n');
    match parts.join(&text, ended) {
        Some(line) => Opened::Line(line),
        None => Opened::Part,
    }
}

/// A text, or its bytes as journald writes those that are no UTF-8.
fn text_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(bytes) => {
            let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
            bytes.iter().map(byte).collect()
        }
        _ => None,
    }
}

/// A piece of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A JSON object.
    Object(&'a [u8]),
    /// What stands before, between or behind objects, without the space around it; not empty.
    Text(&'a [u8]),
}

/// Takes a line apart.
pub(super) fn pieces(line: &[u8]) -> Vec<Piece<'_>> {
    let (mut pieces, mut from, mut at, mut failed) = (Vec::new(), 0, 0, 0);
    while failed < ATTEMPTS_MAX
        && let Some(found) = line[at..].iter().position(|&byte| byte == b'{')
    {
        let start = at + found;
        let mut objects =
            serde_json::Deserializer::from_slice(&line[start..]).into_iter::<IgnoredAny>();
        let is_object = matches!(objects.next(), Some(Ok(_)));
        let end = start + objects.byte_offset();
        if !is_object || end <= start {
            failed += 1;
            at = start + 1;
            continue;
        }
        push_text(&mut pieces, &line[from..start]);
        pieces.push(Piece::Object(&line[start..end]));
        (from, at) = (end, end);
    }
    push_text(&mut pieces, &line[from..]);
    pieces
}

fn push_text<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a [u8]) {
    let text = text.trim_ascii();
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

/// A text that looks like a piece of an object: something was cut.
pub(super) fn is_fragment(text: &[u8]) -> bool {
    let holds = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    holds(b"{\"") || holds(b"\":") || holds(b"\"}")
}

/// Its end was cut off: it goes on behind its last object, as an object would begin.
pub(super) fn is_cut(line: &[u8]) -> bool {
    matches!(pieces(line).last(), Some(Piece::Text(text)) if is_fragment(text))
}

/// JSON with `null` where it says `NaN` or `Infinity`, which are none; those within strings stay.
pub(super) fn finite(text: &[u8]) -> Cow<'_, [u8]> {
    const ODD: [&[u8]; 4] = [b"-Infinity", b"Infinity", b"-NaN", b"NaN"];
    if !text.windows(3).any(|window| window == b"NaN" || window == b"Inf") {
        return Cow::Borrowed(text);
    }
    let (mut out, mut at, mut in_string) = (Vec::with_capacity(text.len()), 0, false);
    while at < text.len() {
        let rest = &text[at..];
        if !in_string && let Some(odd) = ODD.into_iter().find(|odd| rest.starts_with(odd)) {
            out.extend_from_slice(b"null");
            at += odd.len();
            continue;
        }
        let byte = rest[0];
        if in_string && byte == b'\\' && rest.len() > 1 {
            out.push(byte);
            at += 1;
        } else if byte == b'"' {
            in_string = !in_string;
        }
        out.push(text[at]);
        at += 1;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn one(line: &str) -> String {
        let text = stripped(line.as_bytes(), &mut Parts::default()).unwrap();
        String::from_utf8(text.into_owned()).unwrap()
    }

    #[test]
    fn prefixes_of_collectors_are_taken_off() {
        for line in [
            "2026-01-21T10:00:00.123456789Z stdout F {\"a\":1}",
            "kafka-1  | {\"a\":1}\r",
            "\u{1b}[36mkafka-1  | \u{1b}[0m{\"a\":1}",
            "{\"a\":1}\r\n",
        ] {
            assert_eq!(one(line), "{\"a\":1}", "{line}");
        }
        assert_eq!(one("a | b is no name of a service: c"), "b is no name of a service: c");
        assert_eq!(one("no name | x"), "no name | x");
    }

    #[test]
    fn parts_of_a_line_are_joined() {
        let mut parts = Parts::default();
        let line = |text: &str| format!("2026-01-21T10:00:00Z stdout {text}");
        assert!(stripped(line("P {\"a\"").as_bytes(), &mut parts).is_none());
        let end = line("F :1}");
        assert_eq!(&*stripped(end.as_bytes(), &mut parts).unwrap(), b"{\"a\":1}");
        let docker = |log: &str| serde_json::json!({"log": log, "stream": "stdout"}).to_string();
        assert!(matches!(opened(docker("{\"a\"").as_bytes(), &mut parts), Opened::Part));
        let Opened::Line(line) = opened(docker(":1}\n").as_bytes(), &mut parts) else { panic!() };
        assert_eq!(line, b"{\"a\":1}\n");
        assert!(parts.rest().is_empty());
    }

    #[test]
    fn journald_writes_bytes_where_they_are_no_text() {
        let line = br#"{"__CURSOR":"s","MESSAGE":[123,125]}"#;
        let Opened::Line(line) = opened(line, &mut Parts::default()) else { panic!() };
        assert_eq!(line, b"{}");
        assert!(matches!(opened(b"{\"a\":1}", &mut Parts::default()), Opened::No));
    }

    #[test]
    fn a_line_is_taken_apart_at_its_objects() {
        let (a, b) = ("{\"a\":\"{}\"}", "{\"b\":[{}]}");
        let text = format!("WARN x {a}{b} and {{ more");
        let all = [
            Piece::Text(b"WARN x"),
            Piece::Object(a.as_bytes()),
            Piece::Object(b.as_bytes()),
            Piece::Text(b"and { more"),
        ];
        assert_eq!(pieces(text.as_bytes()), all);
        let cut = format!("{a}{{\"timestamp\":10");
        assert_eq!(pieces(cut.as_bytes())[1], Piece::Text(b"{\"timestamp\":10"));
        assert!(
            is_fragment(b"{\"timestamp\":10")
                && is_fragment(b"stamp\":10,")
                && !is_fragment(b"a{b")
        );
        // Brackets without end cost no more than so many attempts.
        assert_eq!(pieces("{\"".repeat(100_000).as_bytes()).len(), 1);
    }

    #[test]
    fn numbers_that_json_does_not_have_are_none() {
        let text = br#"{"a":NaN,"b":-Infinity,"c":"NaN \" Infinity"}"#;
        let text = String::from_utf8(finite(text).into_owned()).unwrap();
        assert_eq!(text, r#"{"a":null,"b":null,"c":"NaN \" Infinity"}"#);
    }
}
