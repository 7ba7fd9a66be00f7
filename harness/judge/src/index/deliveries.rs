//! Facts about deliveries: commits, reads, objects and what they hold, dead letters.

use std::collections::BTreeMap;

use super::headers::{header_print, ingested};
use super::lane::NO_OP;
use super::observe::OFFSET_MAX;
use super::records::{id_print, key_print};
use super::skew::Base;
use super::told_reads::ReadValue;
use super::{Commit, Dead, Index, NO_TIMESTAMP, OddKind, Part, Place, Seen, Source};
use streamlake_history::event::{Committed, DeadLetter, Object, Read, Stored};

impl Index {
    pub(super) fn group_number(&self, group: &str) -> Option<usize> {
        self.header.promises.groups.iter().position(|g| g.group == group)
    }

    pub(super) fn committed(&mut self, t_us: u64, process: u16, fact: &Committed) {
        let who = || {
            let (group, topic) = (fact.group.escape_debug(), fact.topic.escape_debug());
            format!("a commit of group {group} on {topic}/{}", fact.partition)
        };
        if !self.offset_ok(fact.offset, OddKind::CommitOffset, who) {
            return;
        }
        let Some(group) = self.group_number(&fact.group) else {
            return self.count_foreign("commits");
        };
        let lane = self.lane_number(&fact.topic, fact.partition);
        let base = self.commit_base(process, fact.exact);
        if base == Base::Broker {
            self.work.seen_clocks.entry(base).or_default().by(fact.at_us, t_us);
        }
        let commit = Commit { at_us: fact.at_us, offset: fact.offset, exact: fact.exact, base };
        let entry = self.groups[group].entry(lane).or_default();
        entry.committed(process, commit);
        if fact.exact {
            entry.learned(t_us, fact.offset);
        }
    }

    /// Whose clock a commit's instant was read from: a sample's is the recorder's, the broker's record
    /// has the broker's, and in a history of others each process speaks for itself.
    fn commit_base(&self, process: u16, exact: bool) -> Base {
        match self.is_foreign() {
            true => Base::Process(process),
            false if exact && self.process_is(process, "commit-watch") => Base::Broker,
            false => Base::Recorder,
        }
    }

    pub(super) fn read(&mut self, t_us: u64, process: u16, fact: &Read) {
        let who = || {
            let (group, topic) = (fact.group.escape_debug(), fact.topic.escape_debug());
            format!("a read of group {group} from {topic}/{}", fact.partition)
        };
        if !self.offset_ok(fact.offset, OddKind::ReadOffset, who) {
            return;
        }
        let Some(group) = self.group_number(&fact.group) else {
            return self.count_foreign("reads");
        };
        let lane = self.lane_number(&fact.topic, fact.partition);
        if let Some(value) = fact.value
            && self.is_full()
        {
            let (group, lane) = (group as u32, lane as u32);
            let (offset, value) = (fact.offset, value.0);
            let read = ReadValue { group, lane, offset, value, t_us, process };
            self.work.read_values.push(read);
        }
        let base = match self.is_foreign() {
            // The first line of all is at 0, and nobody reads before somebody sends.
            true if t_us == 0 => Base::Untold,
            true => Base::Process(process),
            false => Base::Recorder,
        };
        let entry = self.groups[group].entry(lane).or_default();
        entry.read(&fact.member, process, fact.offset, t_us, base);
    }

    pub(super) fn object(&mut self, t_us: u64, process: u16, fact: &Object) {
        let base = clock_of(fact);
        if fact.during_run && base != Base::Recorder {
            self.work.seen_clocks.entry(base).or_default().by(fact.created_us, t_us);
        }
        let zone = self.zones.iter().position(|zone| zone.name == fact.raw_zone);
        let by_watch = self.process_is(process, "store-watch");
        let by_journal = fact.during_run && self.process_is(process, "store-journal");
        let number = zone.map(|zone| {
            self.parts.push(Part {
                zone,
                name: fact.name.clone(),
                generation: fact.generation.clone(),
                created_us: fact.created_us,
                earliest_us: fact.earliest_us,
                base,
                bytes: fact.bytes,
                content: fact.content,
                role: fact.role,
                during_run: fact.during_run,
                by_watch: fact.during_run && by_watch,
                answered_us: by_journal.then_some(fact.created_us),
                problem: fact.problem.clone(),
                lists: fact.lists.clone(),
                lanes: BTreeMap::new(),
                head: fact.head.clone(),
                crc32: fact.crc32.clone(),
                attributes: fact.attributes.clone(),
                before_last_line: fact.before_last_line,
                unconditional: fact.unconditional,
                absent: fact.absent.clone(),
                place: Place::of(&fact.raw_zone, &fact.name),
                misplaced: None,
                disorder: Vec::new(),
            });
            u32::try_from(self.parts.len() - 1).unwrap_or(u32::MAX)
        });
        if number.is_none() {
            self.count_foreign("objects");
        }
        self.work.objects.insert((process, fact.object), number);
    }

    pub(super) fn stored(&mut self, process: u16, fact: &Stored) {
        let number = match self.work.objects.get(&(process, fact.object)) {
            Some(Some(number)) => *number,
            Some(None) => return self.count_foreign("stored records"),
            None => {
                let example = format!("object {} at line {}", fact.object, fact.line);
                return self.odd(OddKind::StoredNowhere, example, None);
            }
        };
        if fact.offset > OFFSET_MAX {
            let name = self.parts[number as usize].name.escape_debug();
            let example = format!("line {} of {name} names offset {}", fact.line, fact.offset);
            return self.odd(OddKind::StoredOffset, example, None);
        }
        let lane = self.lane_number(&fact.topic, fact.partition);
        let zone = self.parts[number as usize].zone;
        self.look_at_line(zone, number as usize, lane, fact);
        let part = &mut self.parts[number as usize];
        part.take(lane, fact.line, fact.offset);
        part.place(lane, fact.offset, day_ms(fact));
        let seen = Seen {
            key: key_print(fact.key.as_ref()),
            value: fact.value.0,
            headers: header_print(fact.headers, fact.header_list.as_ref()),
            timestamp_ms: fact.timestamp_ms.unwrap_or(NO_TIMESTAMP),
            op: NO_OP,
            id: id_print(fact.ingestion_id.as_ref()),
        };
        // A commit in the interval in which a line appeared may well have come after it.
        let (base, created_us) = (part.base, part.earliest_us.unwrap_or(part.created_us));
        for &group in &self.zones[part.zone].groups {
            let entry = self.groups[group].entry(lane).or_default();
            entry.stored(fact.offset, (base, created_us), number);
            self.lanes[lane].hear(fact.offset, Source::Copy(group), seen);
        }
    }

    pub(super) fn dead_letter(&mut self, fact: &DeadLetter) {
        let source = match &fact.source {
            Some((topic, partition, offset)) => {
                let who = || {
                    let name = fact.topic.escape_debug();
                    format!("the dead letter {name}/{} offset {}", fact.partition, fact.offset)
                };
                // It stands there all the same, and names no place that there can be.
                match self.offset_ok(*offset, OddKind::DeadLetterOffset, who) {
                    true => Some((self.lane_number(topic, *partition), *offset)),
                    false => None,
                }
            }
            None => None,
        };
        if let Some((lane, offset)) = source {
            for (group, promise) in self.header.promises.groups.iter().enumerate() {
                // A letter that does not say whose it is may be anybody's who writes there.
                let theirs = fact.group.as_ref().is_none_or(|writer| writer == &promise.group);
                if theirs && promise.dead_letter_topic.as_ref() == Some(&fact.topic) {
                    let entry = self.groups[group].entry(lane).or_default();
                    entry.dead(offset, fact.created_us);
                }
            }
        }
        self.dead.push(Dead { letter: fact.clone(), source });
    }
}

/// Who stamped the creation of an object: the store; this machine's kernel, if it is a file; or whoever looked
/// at it and wrote the history.
fn clock_of(fact: &Object) -> Base {
    match fact.earliest_us {
        Some(_) => Base::Recorder,
        None if fact.raw_zone.starts_with("file:") => Base::Processes,
        None => Base::Store,
    }
}

/// The instant that decides the folder of a record: its header `ingested_at`, else its Kafka timestamp,
/// else the epoch.
fn day_ms(fact: &Stored) -> i64 {
    // A day that cannot stand in a folder's name is none.
    let nameable = |ms: &i64| {
        let at = chrono::DateTime::from_timestamp_millis(*ms);
        at.is_some_and(|at| (0..=9999).contains(&chrono::Datelike::year(&at)))
    };
    let said = ingested(fact.header_list.as_ref(), fact.ingested_ms);
    said.or(fact.timestamp_ms).filter(nameable).unwrap_or(0)
}
