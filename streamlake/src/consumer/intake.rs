//! From a record to a line in a part or to a dead letter, and from open parts to sealed ones.

use super::poll_loop::PollLoop;
use super::work::Unit;
use crate::classify::{self, Decision};
use crate::dead_letter::{DeadLetter, Source};
use crate::native::{Headers, Record};
use crate::planted::{self, Bug};
use crate::raw_zone::buffer::PartBuffer;
use crate::raw_zone::name::Folder;
use crate::raw_zone::part::RecordRef;
use crate::record::{self, Invalid};
use chrono::NaiveDate;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::Offset;
use std::time::{Duration, Instant};

/// Room in a line for everything but key, headers and value.
const LINE_OVERHEAD: usize = 256;

/// The headers of a record and the two that matter here.
struct HeaderView<'m> {
    all: Headers<'m>,
    ingestion_id: Option<&'m str>,
    ingested_at: Option<&'m [u8]>,
    count: usize,
    bytes: usize,
}

impl<'m> HeaderView<'m> {
    fn of(message: &Record<'m>) -> Self {
        let all = message.headers();
        let mut view = HeaderView {
            all: all.clone(),
            ingestion_id: None,
            ingested_at: None,
            count: 0,
            bytes: 0,
        };
        for (name, value) in all {
            if view.ingestion_id.is_none() && name == record::HEADER_INGESTION_ID.as_bytes() {
                view.ingestion_id = value.and_then(|value| std::str::from_utf8(value).ok());
            } else if view.ingested_at.is_none() && name == record::HEADER_INGESTED_AT.as_bytes() {
                view.ingested_at = value;
            }
            view.bytes += name.len() + value.map_or(4, <[u8]>::len) + 8;
            view.count += 1;
        }
        view
    }

    /// All headers, in order.
    fn iter(&self) -> impl Iterator<Item = (&'m [u8], Option<&'m [u8]>)> {
        self.all.clone()
    }
}

impl PollLoop {
    /// Takes one record in: into the part of its day, or on its way to the dead-letter topic.
    pub(super) fn take(&mut self, message: &Record<'_>, now: Instant) {
        if self.stopping {
            return;
        }
        let (number, offset) = (message.partition(), message.offset());
        planted::live();
        match self.partition(number) {
            None => return,
            Some(state) if state.revoking || state.seek_to.is_some() => return,
            Some(state) if state.frontier.position().is_some_and(|next| offset < next) => {
                let restart_at = state.restart_at(offset);
                return self.rewound(number, offset, restart_at);
            }
            Some(_) => {}
        }
        if let Some(state) = self.partition(number) {
            state.begun = true;
        }
        if self.passes_over(message) {
            return;
        }
        let headers = HeaderView::of(message);
        let schema = self.settings.schema;
        match planted::verdict(record::validate(schema, message.value())) {
            Ok(valid) => self.store(message, &headers, valid.json.is_some(), now),
            Err(why) if classify::payload(&why) == Decision::DeadLetter => {
                self.bury(message, &headers, &why);
            }
            Err(_) => {}
        }
    }

    /// Whether a record is lost right here: planted bugs do so.
    fn passes_over(&mut self, message: &Record<'_>) -> bool {
        if !planted::PLANTED {
            return false;
        }
        let later = self.epochs > self.assigned_partitions().count() as u64;
        let narrow = self.assigned_partitions().count() < self.partitions.len().max(3);
        let state = self.partition(message.partition());
        let first = state.is_some_and(|state| state.frontier.position().is_none());
        planted::passes_over(message, first && later, narrow)
    }

    fn store(
        &mut self,
        message: &Record<'_>,
        headers: &HeaderView<'_>,
        value_is_json: bool,
        now: Instant,
    ) {
        let (number, offset) = (message.partition(), message.offset());
        let timestamp_ms = message.timestamp_ms();
        let date = self.days.ingestion_date(headers.ingested_at, timestamp_ms);
        let open = self.partition(number).and_then(|state| Some(state.open.last()?.0));
        let date = planted::day(date, open, headers.ingested_at, timestamp_ms);
        if planted::acts_if(Bug::SkipsNewDay, open.is_some_and(|open| open != date)) {
            return;
        }
        let rewritten = planted::rewrite(Bug::ValueReserialized, message.value());
        let record = RecordRef {
            topic: &self.settings.topic,
            partition: number,
            offset,
            timestamp_ms,
            ingestion_id: headers.ingestion_id,
            key: message.key(),
            value: rewritten.as_deref().or(message.value()),
            value_is_json,
        };
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let estimate = LINE_OVERHEAD + headers.bytes + length(record.key) + length(record.value);
        let limits = self.settings.batch;
        let Some(state) = self.partitions[number as usize].as_deref_mut() else {
            return;
        };
        let begins_part = state.open_part(date).is_none();
        if begins_part {
            state.open.push((date, PartBuffer::new(offset, now)));
        }
        if state.committed.is_none() {
            // Nothing is to be committed before something was handled.
            state.committed = Some(offset);
        }
        state.frontier.take(offset, begins_part);
        let Some(part) = state.open_part(date) else {
            return;
        };
        let grown = part.add(offset, estimate, |out| {
            planted::write_record(out, &record, headers.iter());
        });
        let full = part.span().records >= limits.records || part.bytes() >= limits.bytes;
        self.held_bytes += grown;
        if full {
            self.seal(number, Some(date));
        }
    }

    fn bury(&mut self, message: &Record<'_>, headers: &HeaderView<'_>, why: &Invalid) {
        let (number, offset) = (message.partition(), message.offset());
        let topic = self.settings.topic.as_str();
        tracing::warn!(
            topic,
            partition = number,
            offset,
            ingestion_id = headers.ingestion_id,
            error = why.detail,
            "a record for the dead-letter topic"
        );
        let timestamp_ms = message.timestamp_ms();
        let source = Source { topic, partition: number, offset, timestamp_ms };
        let owned = headers.iter().map(|(n, v)| (n.to_vec(), v.map(<[u8]>::to_vec))).collect();
        let rewritten = planted::rewrite(Bug::DeadLetterReencoded, message.value());
        let value = rewritten.as_deref().or(message.value());
        let letter =
            DeadLetter::of_record(source, message.key(), value, owned, why, &self.settings.group);
        let letter = planted::letter(letter, message);
        let bytes = letter.bytes();
        let Some(state) = self.partition(number) else {
            return;
        };
        state.committed.get_or_insert(offset);
        state.frontier.take(offset, true);
        let unit = Unit { partition: number, epoch: state.epoch, first_offset: offset, bytes };
        if planted::acts(Bug::CommitBeforeDeadLetterAck) {
            state.frontier.finish(offset);
        }
        self.held_bytes += bytes;
        self.outside += 1;
        self.work.dead_letter(unit, letter);
    }

    /// The log went back below what was read: it was truncated, its topic was made anew, or the client
    /// fetched something twice. What is open or in flight no longer says anything about what comes;
    /// it is dropped, and everything from the first record that is not durable is read again.
    fn rewound(&mut self, number: i32, offset: i64, restart_at: i64) {
        tracing::warn!(
            topic = self.settings.topic,
            partition = number,
            offset,
            restart_at,
            "the partition went back; what is not durable is read again"
        );
        self.assign_one(number);
        if let Some(state) = self.partition(number) {
            state.seek_to = Some(restart_at);
        }
    }

    /// Sends the client back where a partition must be read again. What it has fetched before then is
    /// out of date for it, and what was taken out of its queue already is passed over until here.
    pub(super) fn seek_back(&mut self) {
        let topic = &self.settings.topic;
        for (number, state) in self.partitions.iter_mut().enumerate() {
            let Some(state) = state.as_deref_mut() else { continue };
            let Some(offset) = state.seek_to else { continue };
            let there = Offset::Offset(offset);
            // Without a wait: the request is in the client's hands, and so is its repetition.
            match self.consumer.seek(topic, number as i32, there, Duration::ZERO) {
                Ok(()) => state.seek_to = None,
                Err(err) => {
                    tracing::warn!(topic, partition = number, offset, error = %err, "cannot go back yet");
                }
            }
        }
    }

    /// Seals the open parts of a partition: one day's, or all.
    pub(super) fn seal(&mut self, number: i32, only: Option<NaiveDate>) {
        let (dataset, topic) = (self.settings.dataset.clone(), self.settings.topic.clone());
        let limits = self.settings.batch;
        let Some(state) = self.partition(number) else {
            return;
        };
        let epoch = state.epoch;
        let (sealed, kept) = state
            .open
            .drain(..)
            .partition::<Vec<_>, _>(|(date, _)| only.is_none_or(|day| day == *date));
        state.open = kept;
        for (date, buffer) in sealed {
            let folder = Folder { dataset: dataset.clone(), date };
            let part = planted::part(buffer.seal(folder, &topic, number), limits);
            let first_offset = part.span.first_offset;
            let unit = Unit { partition: number, epoch, first_offset, bytes: part.bytes };
            self.ready.push_back((unit, part));
        }
    }

    /// Seals everything that is open.
    pub(super) fn seal_all(&mut self) {
        let numbers: Vec<i32> = self.assigned_partitions().map(|(number, _)| number).collect();
        for number in numbers {
            self.seal(number, None);
        }
    }

    /// Seals the largest open parts, as many as can be uploaded at once: they give most memory back. The
    /// others go on growing. To seal all whenever the memory is full made thousands of parts of a few
    /// records each where the store was the slowest of all.
    pub(super) fn seal_largest(&mut self) {
        while self.ready.len() + self.uploads < self.uploads_max {
            let open = self.assigned_partitions().flat_map(|(number, state)| {
                state.open.iter().map(move |(date, part)| (part.bytes(), number, *date))
            });
            let Some((_, number, date)) = open.max() else {
                return;
            };
            self.seal(number, Some(date));
        }
    }

    /// Seals what is old enough, unless parts wait for the store already: what is open would only wait
    /// behind them. So a store that was away for minutes finds few large parts and not one for each
    /// batch age, which at some tens of milliseconds a request are what keeps a backlog from shrinking.
    pub(super) fn seal_aged(&mut self, now: Instant) {
        if !self.ready.is_empty() {
            return;
        }
        let age = self.settings.batch.age;
        let mut aged: Vec<(i32, NaiveDate)> = Vec::new();
        for (number, state) in self.assigned_partitions() {
            let old =
                state.open.iter().filter(|(_, part)| now.duration_since(part.opened_at) >= age);
            aged.extend(old.map(|(date, _)| (number, *date)));
        }
        for (number, date) in aged {
            self.seal(number, Some(date));
        }
    }
}
