//! Reads part files as their format is documented, with code of its own: an oracle that shared the
//! pipeline's reader would share its mistakes.
//!
//! A part is one JSON object a line, compressed as a whole if its name ends with `.gz` or `.zst`. The
//! value stands in exactly one of `value` (the payload's own JSON text, byte for byte), `value_text` (a
//! JSON string), `value_base64`, or `value_null`.

use std::borrow::Cow;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A record as a part holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartRecord {
    /// Topic that it says it comes from.
    pub topic: String,
    /// Partition that it says it comes from.
    pub partition: u32,
    /// Offset that it says it comes from.
    pub offset: u64,
    /// Kafka timestamp in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Ingestion id.
    pub ingestion_id: Option<String>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Payload; none for a tombstone.
    pub value: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Line<'a> {
    topic: String,
    partition: u32,
    offset: u64,
    timestamp_ms: Option<i64>,
    ingestion_id: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    headers: Vec<(Bytes, Option<Bytes>)>,
    // `null` is a payload too: an absent field and a null one are told apart by the outer option.
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    value_text: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    value_null: bool,
}

fn present<'de: 'a, 'a, D>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Other { base64: String },
}

impl Bytes {
    fn decode(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Other { base64 } => decode(&base64),
        }
    }
}

/// The longest part that is read; what unfolds to more is an error.
const PLAIN_MAX: u64 = 4 << 30;

/// Whether an object's name, without its folder, is a part's.
pub(crate) fn is_part(file: &str) -> bool {
    let plain = [".gz", ".zst"].iter().find_map(|suffix| file.strip_suffix(suffix));
    file.starts_with("part-") && plain.unwrap_or(file).ends_with(".json")
}

/// The lines of a part from its object, by the end of its name.
pub(crate) fn lines<'o>(name: &str, object: &'o [u8]) -> Result<Cow<'o, [u8]>, String> {
    let broken = |error: std::io::Error| format!("it cannot be decompressed: {error}");
    let mut lines = Vec::new();
    // One member or one frame is documented: there are readers that stop behind the first.
    let (read, rest) = if name.ends_with(".gz") {
        let mut decoder = flate2::bufread::GzDecoder::new(object);
        let read = (&mut decoder).take(PLAIN_MAX + 1).read_to_end(&mut lines);
        (read.map_err(broken)?, decoder.into_inner())
    } else if name.ends_with(".zst") {
        let decoder = zstd::Decoder::with_buffer(object).map_err(broken)?;
        let mut decoder = decoder.single_frame();
        let read = (&mut decoder).take(PLAIN_MAX + 1).read_to_end(&mut lines);
        (read.map_err(broken)?, decoder.finish())
    } else {
        return Ok(Cow::Borrowed(object));
    };
    if read as u64 > PLAIN_MAX {
        return Err(format!("it unfolds to more than {PLAIN_MAX} bytes"));
    }
    match rest {
        [] => Ok(Cow::Owned(lines)),
        rest => Err(format!("{} bytes stand behind its first frame", rest.len())),
    }
}

/// Reads the lines of a part one by one; a line that cannot be understood is an error with its number.
pub(crate) fn records(content: &[u8]) -> impl Iterator<Item = Result<PartRecord, String>> + '_ {
    let cut_off = content.last().is_some_and(|&last| last != b'\n');
    let lines = content.split_inclusive(|&byte| byte == b'\n').enumerate();
    let count = lines.clone().count();
    lines.map(move |(index, line)| {
        let number = index + 1;
        if cut_off && number == count {
            return Err(format!("line {number} is cut off"));
        }
        record(&line[..line.len() - 1]).map_err(|error| format!("line {number}: {error}"))
    })
}

fn record(line: &[u8]) -> Result<PartRecord, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let value = match (line.value, line.value_text, line.value_base64, line.value_null) {
        (Some(raw), None, None, false) => Some(raw.get().as_bytes().to_vec()),
        (None, Some(text), None, false) => Some(text.into_bytes()),
        (None, None, Some(text), false) => Some(decode(&text)?),
        (None, None, None, true) => None,
        _ => return Err("the value must stand in exactly one form".to_owned()),
    };
    let key = match (line.key, line.key_base64) {
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => Some(decode(&text)?),
        (None, None) => None,
        _ => return Err("the key must stand in one form at most".to_owned()),
    };
    let header = |(name, value): (Bytes, Option<Bytes>)| {
        Ok::<_, String>((name.decode()?, value.map(Bytes::decode).transpose()?))
    };
    Ok(PartRecord {
        topic: line.topic,
        partition: line.partition,
        offset: line.offset,
        timestamp_ms: line.timestamp_ms,
        ingestion_id: line.ingestion_id,
        key,
        headers: line.headers.into_iter().map(header).collect::<Result<_, _>>()?,
        value,
    })
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(value: &str) -> Vec<u8> {
        format!(
            "{{\"topic\":\"t\",\"partition\":1,\"offset\":2,\"timestamp_ms\":3,\
             \"ingestion_id\":null,\"headers\":[[\"a\",\"b\"],[\"a\",null]],{value}}}\n"
        )
        .into_bytes()
    }

    fn value(form: &str) -> Option<Vec<u8>> {
        records(&line(form)).next().unwrap().unwrap().value
    }

    #[test]
    fn each_form_of_value_gives_its_bytes_back() {
        assert_eq!(value("\"value\":{\"a\": 1.0e1}"), Some(b"{\"a\": 1.0e1}".to_vec()));
        assert_eq!(value("\"value\":null"), Some(b"null".to_vec()));
        assert_eq!(value("\"value_text\":\" {\\n}\""), Some(b" {\n}".to_vec()));
        assert_eq!(value("\"value_base64\":\"/w==\""), Some(vec![0xff]));
        assert_eq!(value("\"value_null\":true"), None);
    }

    #[test]
    fn what_is_not_a_record_is_named_by_its_line() {
        let two = [line("\"value\":1"), line("\"value\":1,\"value_text\":\"1\"")].concat();
        let errors: Vec<_> = records(&two).filter_map(Result::err).collect();
        assert_eq!(errors, ["line 2: the value must stand in exactly one form"]);
        let whole = line("\"value\":1");
        let cut = &whole[..whole.len() - 1];
        assert_eq!(records(cut).next().unwrap().unwrap_err(), "line 1 is cut off");
        assert_eq!(records(b"").count(), 0);
    }

    #[test]
    fn compressed_parts_are_unfolded_by_their_names() {
        let plain = line("\"value\":1");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
        for (name, object) in [("", &plain), (".gz", &gzip), (".zst", &zstd)] {
            let name = format!("part-0001.json{name}");
            assert!(is_part(&name), "{name}");
            assert_eq!(lines(&name, object).unwrap(), plain, "{name}");
        }
        for (name, object) in [("part-0001.json.gz", &gzip), ("part-0001.json.zst", &zstd)] {
            assert!(lines(name, &object[..object.len() - 1]).is_err(), "{name} cut off");
            assert!(lines(name, &plain).is_err(), "{name} not compressed");
            assert!(lines(name, &[object.as_slice(), object].concat()).is_err(), "{name} twice");
        }
        for name in ["part-0001.json.tmp", "part-0001.gz", "_metadata.json", "x.json"] {
            assert!(!is_part(name), "{name}");
        }
    }
}
