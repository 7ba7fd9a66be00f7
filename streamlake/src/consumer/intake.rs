//! From a record to a line in a part or to a dead letter.

use super::core::Admission;
use super::poll_loop::PollLoop;
use crate::classify::{self, Decision};
use crate::crash::{self, Point};
use crate::dead_letter::{DeadLetter, Source};
use crate::error::Result;
use crate::native::{Headers, Record};
use crate::observe::metrics;
use crate::planted::{self, Bug};
use crate::raw_zone::part::RecordRef;
use crate::record::{self, Invalid};
use std::time::Instant;

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
            } else if name == record::HEADER_INGESTED_AT.as_bytes()
                && (view.ingested_at.is_none() || planted::acts(Bug::DateOfLastHeader))
            {
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
    pub(super) fn take(&mut self, message: &Record<'_>, now: Instant) -> Result<()> {
        let (number, offset) = (message.partition(), message.offset());
        planted::live();
        let due = self.core.state(number).and_then(|state| state.frontier.position());
        match self.core.admit(number, offset, now) {
            Admission::Take(None) => {
                if let Some(passed) = due.map(|due| offset - due).filter(|passed| *passed > 0) {
                    metrics::without_record(&self.settings.topic, passed);
                }
            }
            Admission::Take(Some(gap)) => self.met_gap(number, &gap)?,
            Admission::PassOver => return Ok(()),
            Admission::WentBack { restart_at, gap } => {
                tracing::warn!(
                    topic = self.settings.topic,
                    partition = number,
                    offset,
                    restart_at,
                    "the partition went back; what is not durable is read again"
                );
                return gap.map_or(Ok(()), |gap| self.met_gap(number, &gap));
            }
        }
        self.core.read_under(number, offset, message.leader_epoch());
        planted::note_read(number, offset);
        if self.passes_over(message) {
            return Ok(());
        }
        let headers = HeaderView::of(message);
        let schema = self.settings.schema;
        let verdict = record::validate(schema, message.value());
        let verdict = planted::validated(verdict, message.value());
        match planted::verdict(verdict, headers.ingested_at) {
            Ok(valid) => self.store(message, &headers, valid.json.is_some(), now),
            Err(why) if classify::payload(&why) == Decision::DeadLetter => {
                self.bury(message, &headers, &why);
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Whether a record is lost right here: planted bugs do so.
    fn passes_over(&mut self, message: &Record<'_>) -> bool {
        if !planted::PLANTED {
            return false;
        }
        let assigned = self.core.assigned_partitions().count();
        let narrow = assigned < self.core.partitions_seen().max(3);
        let state = self.core.state(message.partition());
        let first = state.is_some_and(|state| state.frontier.position().is_none());
        planted::passes_over(message, first && message.offset() > 0, narrow)
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
        let open = self.core.state(number).and_then(|state| Some(state.open.last()?.0));
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
        self.core.add((number, offset), date, estimate, now, |out| {
            planted::write_record(out, &record, headers.iter());
        });
        crash::at(Point::RecordTaken);
    }

    fn bury(&mut self, message: &Record<'_>, headers: &HeaderView<'_>, why: &Invalid) {
        let (number, offset) = (message.partition(), message.offset());
        if planted::letter_is_lost(number, offset) {
            return;
        }
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
        let letter = planted::letter(letter, message, why);
        if let Some(unit) = self.core.bury(number, offset, letter.bytes()) {
            self.work.dead_letter(unit, letter);
        }
    }
}
