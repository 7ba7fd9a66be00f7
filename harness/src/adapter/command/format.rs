//! The formats of what is delivered: from the bytes of a file or an object to its records, each as the
//! JSON in which pointers find their way.
//!
//! Bytes of Avro and Parquet, which JSON has no word for, become base64: `value_base64` points to them.

use std::borrow::Cow;
use std::io::Read as _;

use apache_avro::types::Value as Avro;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;

/// What unfolds to more is an error.
const PLAIN_MAX: u64 = 1 << 30;

/// How the records of a file or an object are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON value on each line.
    JsonLines,
    /// JSON values, one after the other; the elements of a list are records of their own.
    Json,
    /// Comma-separated values; the first row names the columns.
    Csv,
    /// Avro's container files.
    Avro,
    /// Parquet.
    Parquet,
    /// A record's value on each line, and nothing else.
    Text,
}

impl Format {
    /// All of them, by the names that scenarios call them by.
    pub const NAMED: [(&str, Self); 6] = [
        ("json-lines", Self::JsonLines),
        ("json", Self::Json),
        ("csv", Self::Csv),
        ("avro", Self::Avro),
        ("parquet", Self::Parquet),
        ("text", Self::Text),
    ];

    /// Whether a file of this format can be read up to any of its lines.
    #[must_use]
    pub fn is_of_lines(self) -> bool {
        matches!(self, Self::JsonLines | Self::Text)
    }
}

/// A record as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    /// In fields.
    Json(Value),
    /// Its value alone.
    Value(Vec<u8>),
}

/// The records of a file or an object, each with the number of its line, row or element, from 1.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Those that could be read.
    pub(super) good: Vec<(u32, Entry)>,
    /// Why the first of those that could not be read could not.
    pub(super) problem: Option<String>,
}

impl Entries {
    fn take(&mut self, number: u32, what: &str, entry: Result<Entry, String>) {
        match entry {
            Ok(entry) => self.good.push((number, entry)),
            Err(why) => {
                self.problem.get_or_insert_with(|| format!("{what} {number} {why}"));
            }
        }
    }
}

/// Reads a file or an object, plain or compressed as a whole.
pub(super) fn read(format: Format, content: &[u8]) -> Entries {
    let whole = |error: String| Entries { problem: Some(error), ..Entries::default() };
    let plain = match unfolded(content) {
        Ok(plain) => plain,
        Err(error) => return whole(error),
    };
    match format {
        Format::JsonLines => lines(&plain, |line| {
            serde_json::from_slice(line).map(Entry::Json).map_err(|e| format!("is no JSON: {e}"))
        }),
        Format::Text => lines(&plain, |line| Ok(Entry::Value(line.to_vec()))),
        Format::Json => json(&plain),
        Format::Csv => csv(&plain).unwrap_or_else(|error| whole(format!("it is no CSV: {error}"))),
        Format::Avro => {
            avro(&plain).unwrap_or_else(|error| whole(format!("it is no Avro file: {error}")))
        }
        Format::Parquet => parquet(Bytes::from(plain.into_owned()))
            .unwrap_or_else(|error| whole(format!("it is no Parquet file: {error}"))),
    }
}

/// The lines of a file that are not blank, each with its number from 1.
fn lines(content: &[u8], read: impl Fn(&[u8]) -> Result<Entry, String>) -> Entries {
    let mut entries = Entries::default();
    for (number, line) in (1u32..).zip(content.split(|&byte| byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.trim_ascii().is_empty() {
            entries.take(number, "line", read(line));
        }
    }
    entries
}

fn json(content: &[u8]) -> Entries {
    let mut entries = Entries::default();
    let mut number = 0;
    let mut take = |value: Result<Value, serde_json::Error>| {
        number += 1;
        let value = value.map_err(|error| format!("is no JSON: {error}"));
        entries.take(number, "record", value.map(Entry::Json));
    };
    for value in serde_json::Deserializer::from_slice(content).into_iter() {
        match value {
            Ok(Value::Array(elements)) => elements.into_iter().for_each(|one| take(Ok(one))),
            value => take(value),
        }
    }
    entries
}

fn csv(content: &[u8]) -> Result<Entries, csv::Error> {
    let mut entries = Entries::default();
    let mut reader = csv::Reader::from_reader(content);
    let names = reader.headers()?.clone();
    for (number, row) in (1u32..).zip(reader.records()) {
        let fields = row.map(|row| {
            let field = |(name, value): (&str, &str)| (name.to_owned(), Value::from(value));
            Entry::Json(Value::Object(names.iter().zip(&row).map(field).collect()))
        });
        entries.take(number, "row", fields.map_err(|error| format!("cannot be read: {error}")));
    }
    Ok(entries)
}

fn avro(content: &[u8]) -> Result<Entries, apache_avro::Error> {
    let mut entries = Entries::default();
    for (number, record) in (1u32..).zip(apache_avro::Reader::new(content)?) {
        let json = record.map_err(|error| error.to_string()).and_then(json_of_avro);
        let json = json.map_err(|error| format!("cannot be read: {error}"));
        entries.take(number, "record", json.map(Entry::Json));
    }
    Ok(entries)
}

/// As the library has it, but for bytes, which it makes lists of numbers.
fn json_of_avro(value: Avro) -> Result<Value, String> {
    let fields = |fields: Vec<(String, Avro)>| {
        let fields = fields.into_iter().map(|(name, value)| Ok((name, json_of_avro(value)?)));
        fields.collect::<Result<_, String>>().map(Value::Object)
    };
    match value {
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => Ok(Value::String(BASE64.encode(bytes))),
        Avro::Union(_, value) => json_of_avro(*value),
        Avro::Array(items) => {
            items.into_iter().map(json_of_avro).collect::<Result<_, _>>().map(Value::Array)
        }
        Avro::Map(map) => fields(map.into_iter().collect()),
        Avro::Record(record) => fields(record),
        other => Value::try_from(other).map_err(|error| error.to_string()),
    }
}

fn parquet(content: Bytes) -> Result<Entries, parquet::errors::ParquetError> {
    let mut entries = Entries::default();
    let reader = SerializedFileReader::new(content)?;
    for (number, row) in (1u32..).zip(reader.get_row_iter(None)?) {
        let json = row.map(|row| Entry::Json(row.to_json_value()));
        entries.take(number, "row", json.map_err(|error| format!("cannot be read: {error}")));
    }
    Ok(entries)
}

/// The content as it was before it was compressed, by how it begins: none of the formats begins so.
fn unfolded(content: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let reader: Box<dyn std::io::Read + '_> = match content {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(content)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(
            zstd::Decoder::with_buffer(content)
                .map_err(|e| format!("it cannot be decompressed: {e}"))?,
        ),
        _ => return Ok(Cow::Borrowed(content)),
    };
    let mut plain = Vec::new();
    match reader.take(PLAIN_MAX + 1).read_to_end(&mut plain) {
        Ok(read) if read as u64 <= PLAIN_MAX => Ok(Cow::Owned(plain)),
        Ok(_) => Err(format!("it unfolds to more than {PLAIN_MAX} bytes")),
        Err(error) => Err(format!("it cannot be decompressed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;
    use std::sync::Arc;

    use ::parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    use apache_avro::{Schema, Writer};
    use serde_json::json;

    use super::*;

    fn values(entries: &Entries) -> Vec<Value> {
        let value = |(_, entry): &(u32, Entry)| match entry {
            Entry::Json(value) => value.clone(),
            Entry::Value(_) => panic!("in fields"),
        };
        entries.good.iter().map(value).collect()
    }

    #[test]
    fn lines_are_read_plain_and_compressed_and_broken_ones_have_their_number() {
        let plain = b"{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for content in [&plain[..], &gzip, &zstd] {
            let entries = read(Format::JsonLines, content);
            let numbers: Vec<_> = entries.good.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, [1, 3]);
            assert!(entries.problem.unwrap().starts_with("line 4 is no JSON"));
        }
        let cut = read(Format::JsonLines, &gzip[..gzip.len() - 9]);
        assert!(cut.problem.unwrap().contains("cannot be decompressed"));
    }

    #[test]
    fn values_alone_are_lines_as_they_are() {
        let entries = read(Format::Text, b"no json\n{\"a\":1}\n");
        let good =
            [(1, Entry::Value(b"no json".to_vec())), (2, Entry::Value(b"{\"a\":1}".to_vec()))];
        assert_eq!((entries.good, entries.problem), (good.to_vec(), None));
    }

    #[test]
    fn documents_and_the_elements_of_lists_are_records() {
        let entries = read(Format::Json, b"[{\"a\":1},\n {\"a\":2}]\n{\"a\":3} ");
        assert_eq!(values(&entries), [json!({"a": 1}), json!({"a": 2}), json!({"a": 3})]);
        let cut = read(Format::Json, b"{\"a\":1} {\"a\":");
        assert_eq!(cut.good.len(), 1);
        assert!(cut.problem.unwrap().starts_with("record 2 is no JSON"));
    }

    #[test]
    fn columns_have_the_names_of_the_first_row() {
        let entries = read(Format::Csv, b"p,o,v\n1,7,\"{\"\"a\"\": 1}\"\n2,8\n");
        assert_eq!(values(&entries), [json!({"p": "1", "o": "7", "v": "{\"a\": 1}"})]);
        assert!(entries.problem.unwrap().starts_with("row 2 cannot be read"));
        assert!(read(Format::Csv, b"").good.is_empty());
    }

    #[test]
    fn avro_is_read_with_its_bytes_in_base64() {
        let schema = r#"{"type": "record", "name": "r", "fields": [
            {"name": "offset", "type": "long"}, {"name": "value", "type": ["null", "bytes"]}]}"#;
        let schema = Schema::parse_str(schema).unwrap();
        let mut writer = Writer::new(&schema, Vec::new()).unwrap();
        let value = Avro::Union(1, Box::new(Avro::Bytes(vec![0xff])));
        let fields = vec![("offset".to_owned(), Avro::Long(7)), ("value".to_owned(), value)];
        writer.append_value(Avro::Record(fields)).unwrap();
        let content = writer.into_inner().unwrap();
        let entries = read(Format::Avro, &content);
        assert_eq!(values(&entries), [json!({"offset": 7, "value": "/w=="})]);
        assert!(read(Format::Avro, b"{}").problem.unwrap().starts_with("it is no Avro file"));
    }

    #[test]
    fn parquet_is_read_row_by_row() {
        let schema = "message r { required int32 partition; required int64 offset; \
                      required binary value (UTF8); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[0, 1], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[7, 8], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts = [ByteArray::from("a"), ByteArray::from("b")];
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        let content = writer.into_inner().unwrap();
        let entries = read(Format::Parquet, &content);
        let row = |p: u32, o: u32, v: &str| json!({"partition": p, "offset": o, "value": v});
        assert_eq!(values(&entries), [row(0, 7, "a"), row(1, 8, "b")]);
        let cut = read(Format::Parquet, &content[..content.len() - 5]);
        assert!(cut.problem.unwrap().starts_with("it is no Parquet file"));
    }
}
