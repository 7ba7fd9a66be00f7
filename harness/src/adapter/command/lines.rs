//! What was delivered, as facts: an object for each file, each object of the store or each record of a
//! topic, and in it the records that its lines say they are.
//!
//! A line that is no JSON is the consumer's fault and a finding. A line that is JSON and does not say
//! which record it is may as well be the scenario's: nothing is concluded from what is missing then.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde_json::Value;

use super::format::{self, Entry, Format};
use super::mapping::{Around, Headers, Line, Mapping, SaidValue};
use super::resolve::{Name, Resolver};
use super::{DeliveryPlan, mapping};
use crate::adapter::{Live, Reading};
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
    format: Format,
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
            format: delivery.format,
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

    /// A file or an object, plain or compressed as a whole.
    pub(super) fn part(&mut self, object: Object, content: &[u8]) {
        let sighted = |live: &Live<'_>| {
            let sighted = live.sighted.lock().unwrap_or_else(PoisonError::into_inner);
            sighted.contains(&object.name)
        };
        if !self.reading.live.is_none_or(sighted) {
            return;
        }
        self.portion(object, content, 0);
    }

    /// Those who deliver go on while this is read.
    pub(super) fn is_live(&self) -> bool {
        self.reading.live.is_some()
    }

    /// A portion of a file, before which so many of its records stand. Returns how many there are in it.
    pub(super) fn portion(&mut self, mut object: Object, content: &[u8], before: u64) -> u64 {
        object.bytes = content.len() as u64;
        object.content = Some(Print::of(content));
        let entries = format::read(self.format, content);
        object.problem = entries.problem;
        let (name, number) = (object.name.clone(), object.object);
        self.open(object);
        let mut count = 0;
        for (line, entry) in &entries.good {
            let around = Around { headers: &[], file: Some((&name, before + count)) };
            let read = match entry {
                Entry::Json(value) if !self.record.counts(value) => continue,
                Entry::Json(value) => self.record.read(value, around),
                Entry::Value(bytes) => whole(self.record, Some(bytes), around),
            };
            count += 1;
            let place = || format!("number {line} of {name}");
            self.take((number, *line), read, place);
        }
        count
    }

    /// A record of a topic.
    pub(super) fn message(&mut self, object: Object, value: Option<&[u8]>, headers: &Headers<'_>) {
        let (name, number) = (object.name.clone(), object.object);
        self.open(object);
        let read = whole(self.record, value, Around::message(headers));
        self.take((number, 1), read, || name.clone());
    }

    /// A row of a table.
    pub(super) fn row(&mut self, object: Object, row: &Value) {
        let (name, number) = (object.name.clone(), object.object);
        if !self.record.counts(row) {
            return;
        }
        self.open(object);
        let read = self.record.read(row, Around::message(&[]));
        self.take((number, 1), read, || name.clone());
    }

    fn open(&mut self, object: Object) {
        self.objects += 1;
        self.recorder().record(&self.process, Fact::Object(object));
    }

    /// What was read at a place, or why nobody can say which record it is.
    fn take(&mut self, at: (u32, u32), read: Result<Line, String>, place: impl Fn() -> String) {
        match read {
            Ok(read) => self.stored(at, read, place),
            Err(why) => self.unplaced.add(|| format!("{}: {why}", place())),
        }
    }

    fn stored(&mut self, (object, line): (u32, u32), read: Line, place: impl Fn() -> String) {
        let compare = self.record.compare;
        let own = read.value.as_ref().map(|value| value.print(ValuePromise::Bytes, None));
        let (topic, partition, offset) = match self.resolver.find(&read.said, own) {
            Ok(found) => found,
            Err(why) => return self.unknown.add(|| format!("{}: {why}", place())),
        };
        // Delivered before anybody looked.
        let begin = self.reading.begins.get(&partition).copied().unwrap_or(0);
        if offset < begin && topic == self.reading.known.topic() {
            return;
        }
        // Delivered since the log was read.
        if self.reading.known.is_behind(partition, offset)
            && self.reading.live.is_some_and(|live| (live.is_logged_by_now)(partition, offset))
        {
            return;
        }
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
    around: Around<'_>,
) -> Result<Line, String> {
    let json = value.and_then(|value| serde_json::from_slice(value).ok());
    let pointed = mapping.value.iter().any(Option::is_some);
    if pointed && json.is_none() {
        return Err("its value is no JSON, in which something could be pointed to".to_owned());
    }
    let mut line = mapping.read(&json.unwrap_or(Value::Null), around)?;
    if !pointed {
        line.value = Some(match value {
            Some(value) => SaidValue::of_bytes(value.to_vec()),
            None => SaidValue { null: true, ..SaidValue::default() },
        });
    }
    Ok(line)
}

/// The key of a letter or record, where it is told.
pub(super) fn key(read: &Line) -> Option<Blob> {
    read.key.clone().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOTHING: Around<'_> = Around { headers: &[], file: None };

    #[test]
    fn the_value_of_a_record_counts_whole_where_no_pointer_says_otherwise() {
        let mapping = Mapping {
            only: Vec::new(),
            origin: super::super::Origin::Value,
            key: [None, None],
            value: [None, None],
            compare: ValuePromise::Bytes,
        };
        let read = whole(&mapping, Some(b"no json"), NOTHING).unwrap();
        assert_eq!(read.value.unwrap().bytes.as_deref(), Some(&b"no json"[..]));
        assert!(whole(&mapping, None, NOTHING).unwrap().value.unwrap().null);
        let pointer = super::super::Pointer::parse("/payload").unwrap();
        let mapping = Mapping { value: [Some(pointer), None], ..mapping };
        assert!(whole(&mapping, Some(b"no json"), NOTHING).is_err());
        let read = whole(&mapping, Some(b"{\"payload\":\"x\"}"), NOTHING).unwrap();
        assert_eq!(read.value.unwrap().bytes.as_deref(), Some(&b"x"[..]));
    }
}
