//! What was delivered, as facts: an object for each file, each object of the store or each record of a
//! topic, and in it the records that its lines say they are.
//!
//! A line that is no JSON is the consumer's fault and a finding. A line that is JSON and does not say
//! which record it is may as well be the scenario's: nothing is concluded from what is missing then.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;

use serde_json::Value;

use super::mapping::{Headers, Line, Mapping, SaidValue};
use super::resolve::{Name, Resolver};
use super::{DeliveryPlan, mapping};
use crate::adapter::Reading;
use crate::plan::GroupPlan;
use streamlake_history::Recorder;
use streamlake_history::event::{
    Blob, Doubt, Fact, Object, Print, Stored, UNTOLD_MS, ValuePromise,
};

/// The checks that hang on what a group delivered.
pub(super) const DELIVERIES: [&str; 7] = [
    "no-loss",
    "no-gap",
    "commit-frontier",
    "order",
    "duplicates",
    "fidelity",
    "group-independence",
];
/// What unfolds to more is an error.
const PLAIN_MAX: u64 = 1 << 30;

/// Something that happened several times.
#[derive(Debug, Default)]
pub(super) struct Oddity {
    count: u64,
    first: String,
}

impl Oddity {
    pub(super) fn add(&mut self, example: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = example();
        }
        self.count += 1;
    }

    /// Records it as a doubt, if it happened.
    pub(super) fn tell(
        &self,
        process: &str,
        about: &[&str],
        what: &str,
        remedy: &str,
        recorder: &Recorder,
    ) {
        if self.count > 0 {
            let about = about.iter().map(|name| (*name).to_owned()).collect();
            let text = format!("{what} ({} times, first: {}): {remedy}", self.count, self.first);
            recorder.record(process, Fact::Doubt(Doubt { about, text }));
        }
    }
}

/// Takes what a group delivered and records it.
pub(super) struct Delivered<'a> {
    reading: &'a Reading<'a>,
    group: &'a str,
    raw_zone: &'a str,
    process: String,
    record: &'a Mapping,
    resolver: Resolver<'a>,
    objects: u32,
    unplaced: Oddity,
    unknown: Oddity,
    last: BTreeMap<Name, Stored>,
}

impl<'a> Delivered<'a> {
    pub(super) fn new(
        group: &'a GroupPlan,
        delivery: &'a DeliveryPlan,
        reading: &'a Reading<'a>,
    ) -> Self {
        Self {
            reading,
            group: &group.group,
            raw_zone: &group.raw_zone,
            process: format!("store-reader {}", group.raw_zone),
            record: &delivery.record,
            resolver: Resolver::new(reading.known),
            objects: 0,
            unplaced: Oddity::default(),
            unknown: Oddity::default(),
            last: BTreeMap::new(),
        }
    }

    pub(super) fn reading(&self) -> &'a Reading<'a> {
        self.reading
    }

    pub(super) fn recorder(&self) -> &'a Recorder {
        self.reading.recorder
    }

    pub(super) fn raw_zone(&self) -> &'a str {
        self.raw_zone
    }

    /// The number of the next object.
    pub(super) fn next_object(&self) -> u32 {
        self.objects
    }

    /// A file or an object of JSON lines, plain or compressed as a whole.
    pub(super) fn part(&mut self, mut object: Object, content: &[u8]) {
        object.bytes = content.len() as u64;
        object.content = Some(Print::of(content));
        let plain = unfolded(content);
        let lines: Vec<(u32, Result<Value, String>)> = match &plain {
            Ok(plain) => parsed(plain).collect(),
            Err(_) => Vec::new(),
        };
        let broken = lines.iter().find_map(|(_, line)| line.as_ref().err().cloned());
        object.problem = plain.as_ref().err().cloned().or(broken);
        let (name, number) = (object.name.clone(), object.object);
        self.open(object);
        for (line, value) in &lines {
            let Ok(value) = value else { continue };
            let place = || format!("line {line} of {name}");
            match self.record.read(value, &[]) {
                Ok(read) => self.stored((number, *line), read, place),
                Err(why) => self.unplaced.add(|| format!("{}: {why}", place())),
            }
        }
    }

    /// A record of a topic.
    pub(super) fn message(&mut self, object: Object, value: Option<&[u8]>, headers: &Headers<'_>) {
        let (name, number) = (object.name.clone(), object.object);
        self.open(object);
        match whole(self.record, value, headers) {
            Ok(read) => self.stored((number, 1), read, || name.clone()),
            Err(why) => self.unplaced.add(|| format!("{name}: {why}")),
        }
    }

    fn open(&mut self, object: Object) {
        self.objects += 1;
        self.recorder().record(&self.process, Fact::Object(object));
    }

    fn stored(&mut self, (object, line): (u32, u32), read: Line, place: impl Fn() -> String) {
        let compare = self.record.compare;
        let own = read.value.as_ref().map(|value| value.print(ValuePromise::Bytes, None));
        let (topic, partition, offset) = match self.resolver.find(&read.said, own) {
            Ok(found) => found,
            Err(why) => return self.unknown.add(|| format!("{}: {why}", place())),
        };
        let logged = self.reading.known.at(&topic, partition, offset);
        let value = read.value.as_ref().map(|value| value.print(compare, logged));
        let stored = Stored {
            object,
            line,
            topic,
            partition,
            offset,
            timestamp_ms: Some(UNTOLD_MS),
            key: read.key.flatten(),
            value: value.unwrap_or(Print::UNTOLD),
            headers: Print::UNTOLD,
            ..Stored::default()
        };
        match read.said {
            mapping::Said::Op(op) => drop(self.last.insert(Name::Op(op), stored.clone())),
            mapping::Said::Value => {
                self.last.extend(own.map(|own| (Name::Value(own.0), stored.clone())));
            }
            mapping::Said::Place(..) => {}
        }
        self.recorder().record(&self.process, Fact::Stored(stored));
    }

    /// Everything was read. What nobody can place keeps all that is missing from being an anomaly.
    pub(super) fn close(self) {
        // Whoever tells records by their names has delivered all copies of one with the last of them.
        for (name, places) in self.resolver.unnamed_copies() {
            let Some(last) = self.last.get(name) else { continue };
            for &(partition, offset) in places {
                let stored = Stored { partition, offset, ..last.clone() };
                self.recorder().record(&self.process, Fact::Stored(stored));
            }
        }
        let group = self.group.escape_debug();
        self.unplaced.tell(
            &self.process,
            &DELIVERIES,
            &format!("what group {group} delivered does not say which record it is"),
            "make `[group.delivery]` `record` point to where it stands, or have the consumer write it",
            self.recorder(),
        );
        self.unknown.tell(
            &self.process,
            &["fidelity"],
            &format!("what group {group} delivered is of no record that could be found"),
            "nobody can say where it comes from",
            self.recorder(),
        );
        if self.unplaced.count == 0 {
            let (raw_zone, parts) = (self.raw_zone.to_owned(), self.objects);
            self.recorder().record(&self.process, Fact::StoreRead { raw_zone, parts });
        }
    }
}

/// What a record of a topic says: by pointers into its value, by its headers, and with its whole value
/// where no pointer says where that is.
pub(super) fn whole(
    mapping: &Mapping,
    value: Option<&[u8]>,
    headers: &Headers<'_>,
) -> Result<Line, String> {
    let json = value.and_then(|value| serde_json::from_slice(value).ok());
    let pointed = mapping.value.iter().any(Option::is_some);
    if pointed && json.is_none() {
        return Err("its value is no JSON, in which something could be pointed to".to_owned());
    }
    let mut line = mapping.read(&json.unwrap_or(Value::Null), headers)?;
    if !pointed {
        line.value = Some(match value {
            Some(value) => SaidValue::of_bytes(value.to_vec()),
            None => SaidValue { null: true, ..SaidValue::default() },
        });
    }
    Ok(line)
}

/// The lines of a file that are not blank, each with its number from 1.
fn parsed(content: &[u8]) -> impl Iterator<Item = (u32, Result<Value, String>)> + '_ {
    let lines = (1u32..).zip(content.split(|&byte| byte == b'\n'));
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    lines.map(|(number, line)| {
        let value = serde_json::from_slice(line);
        (number, value.map_err(|error| format!("line {number} is no JSON: {error}")))
    })
}

/// The content as it was before it was compressed, by how it begins: no JSON begins so.
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

/// The key of a letter or record, where it is told.
pub(super) fn key(read: &Line) -> Option<Blob> {
    read.key.clone().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_are_read_plain_and_compressed_and_broken_ones_have_their_number() {
        let plain = b"{\"a\":1}\n\n{\"a\":2}\n{\"a\":";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for content in [&plain[..], &gzip, &zstd] {
            let unfolded = unfolded(content).unwrap();
            let lines: Vec<_> = parsed(&unfolded).collect();
            let good: Vec<_> = lines.iter().filter(|(_, line)| line.is_ok()).map(|l| l.0).collect();
            assert_eq!((lines.len(), good), (3, vec![1, 3]));
            assert!(lines[2].1.as_ref().unwrap_err().starts_with("line 4 is no JSON"));
        }
        assert!(unfolded(&gzip[..gzip.len() - 9]).is_err());
    }

    #[test]
    fn the_value_of_a_record_counts_whole_where_no_pointer_says_otherwise() {
        let mapping = Mapping {
            origin: super::super::Origin::Value,
            key: [None, None],
            value: [None, None],
            compare: ValuePromise::Bytes,
        };
        let read = whole(&mapping, Some(b"no json"), &[]).unwrap();
        assert_eq!(read.value.unwrap().bytes.as_deref(), Some(&b"no json"[..]));
        assert!(whole(&mapping, None, &[]).unwrap().value.unwrap().null);
        let pointer = super::super::Pointer::parse("/payload").unwrap();
        let mapping = Mapping { value: [Some(pointer), None], ..mapping };
        assert!(whole(&mapping, Some(b"no json"), &[]).is_err());
        let read = whole(&mapping, Some(b"{\"payload\":\"x\"}"), &[]).unwrap();
        assert_eq!(read.value.unwrap().bytes.as_deref(), Some(&b"x"[..]));
    }
}
