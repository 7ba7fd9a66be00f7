//! Facts about records: operations, receipts, the log.

use super::headers::header_print;
use super::keys::LateKey;
use super::lane::{NO_ID, NO_OP};
use super::observe::OFFSET_MAX;
use super::ops::{Bit, Joined};
use super::slots::Detail;
use super::told_reads::Send;
use super::{
    Bounds, End, Index, Invocation, LetterTold, NO_KEY, NO_TIMESTAMP, OddKind, Seen, Source, Stray,
};
use streamlake_history::event::{
    Blob, Completed, Event, Invoked, LogBounds, Logged, Outcome, Print,
};
use streamlake_history::murmur2;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oracle {
    /// Keys promise nothing.
    #[default]
    None,
    /// Kafka's own hash says where a key belongs.
    Murmur2,
    /// Only that a key stays where it is.
    Stable,
}

impl Oracle {
    pub(super) fn of(partitioner: Option<&str>) -> Self {
        match partitioner {
            None | Some("random") => Self::None,
            Some("murmur2" | "murmur2_random" | "default") => Self::Murmur2,
            Some(_) => Self::Stable,
        }
    }
}

pub(super) fn key_print(key: Option<&Blob>) -> u64 {
    key.map_or(NO_KEY, |key| Print::of(&key.0).0)
}

pub(super) fn id_print(id: Option<&String>) -> u64 {
    // 0 means none.
    id.map_or(NO_ID, |id| Print::of(id.as_bytes()).0.max(1))
}

impl Index {
    pub(super) fn invoked(&mut self, event: &Event, process: u16, fact: &Invoked) {
        if fact.op == NO_OP {
            let example = format!("operation {} of {}", fact.op, event.process.escape_debug());
            return self.odd(OddKind::SecondInvocation, example, None);
        }
        let invocation = Invocation {
            t_us: event.t_us,
            topic: self.topic_number(&fact.topic),
            key: key_print(fact.key.as_ref()),
            value: fact.value.0,
            poison: fact.poison,
            key_beside: fact.key_beside,
            owner: self.producer_number(process, fact.op),
            beside: fact.header_list.is_some(),
        };
        if self.is_foreign() && self.is_full() {
            let (op, topic, t_us) = (fact.op, invocation.topic, event.t_us);
            let send = Send { op, topic, t_us, process };
            self.work.sends.entry(fact.value.0).or_default().push(send);
        }
        self.note_invoked(fact.op, event.t_us, fact.header_list.as_ref());
        // Told after its record, which went by without its producer.
        let passed = self.detail == Detail::Packed && self.ops.was_logged(fact.op);
        self.unjudged_order += u64::from(passed);
        match self.ops.invoked(fact.op, invocation) {
            Ok(joined) => {
                self.invocations.add(event.t_us);
                self.join(fact.op, joined);
            }
            Err(()) => {
                let example = format!("operation {}", fact.op);
                self.odd(OddKind::SecondInvocation, example, Some(fact.op));
            }
        }
    }

    pub(super) fn completed(&mut self, event: &Event, fact: &Completed) {
        if fact.op == NO_OP {
            let example = format!("operation {}", fact.op);
            return self.odd(OddKind::OutcomeOfNothing, example, None);
        }
        if self.ops.is_completed(fact.op) {
            return self.second_outcome(event, fact);
        }
        let end = match &fact.outcome {
            Outcome::Acknowledged { topic, partition, offset } => {
                let who = || format!("the receipt of operation {}", fact.op);
                if !self.offset_ok(*offset, OddKind::ReceiptOffset, who) {
                    return;
                }
                End::Acknowledged(self.lane_number(topic, *partition), *offset)
            }
            Outcome::Rejected { reason } => {
                self.reasons.insert(fact.op, reason.clone());
                if let Some(place) = &fact.dead_letter {
                    let told =
                        LetterTold { place: place.clone(), key: key_print(fact.key.as_ref()) };
                    self.letters_told.insert(fact.op, told);
                    self.ops_of_letters.entry(place.clone()).or_insert(fact.op);
                }
                End::Rejected
            }
            Outcome::Failed { .. } => End::Failed,
            Outcome::Unknown { .. } => End::Unknown,
        };
        if fact.dead_letter.is_some() && end != End::Rejected {
            self.letters_of_others.push(fact.op);
        }
        self.completions.add(event.t_us);
        self.note_completed(fact.op, event.t_us);
        match end {
            End::Acknowledged(..) => self.acks.add(event.t_us),
            End::Failed | End::Unknown => self.unacknowledged.add(event.t_us),
            End::Rejected => {}
        }
        self.keep_refusal(fact);
        let id = id_print(fact.ingestion_id.as_ref());
        if let Ok(joined) = self.ops.completed(fact.op, end, id, event.t_us) {
            self.hear_key(fact, joined.as_ref());
            self.join(fact.op, joined);
        }
    }

    /// The key that a receipt names, against the one that was handed over or stands in the payload.
    fn hear_key(&mut self, fact: &Completed, joined: Option<&Joined>) {
        let Some(Joined { invocation, end, .. }) = joined else { return };
        let told = key_print(fact.key.as_ref());
        let promise = self.header.promises.outcomes.as_ref();
        let owed = promise.is_some_and(|promise| promise.tells_key_and_letter)
            && !invocation.beside
            && matches!(end, End::Acknowledged(..));
        if told != invocation.key && (owed || told != NO_KEY) {
            self.other_keys_told.push(fact.op);
        }
    }

    /// The first outcome stands; that there is another one is told.
    fn second_outcome(&mut self, event: &Event, fact: &Completed) {
        let word = match &fact.outcome {
            Outcome::Acknowledged { topic, partition, offset } => {
                format!("acknowledged at {}/{partition} offset {offset}", topic.escape_debug())
            }
            Outcome::Rejected { .. } => "rejected".to_owned(),
            Outcome::Failed { .. } => "failed".to_owned(),
            Outcome::Unknown { .. } => "unknown".to_owned(),
        };
        let example = format!("operation {} once more {word} at {} µs", fact.op, event.t_us);
        self.odd(OddKind::SecondOutcome, example, Some(fact.op));
    }

    /// Why operations were not acknowledged: so many different texts as a reader would read.
    fn keep_refusal(&mut self, fact: &Completed) {
        const TEXTS_MAX: usize = 32;
        let (word, why) = match &fact.outcome {
            Outcome::Acknowledged { .. } => return,
            Outcome::Rejected { reason } => ("rejected", reason),
            Outcome::Failed { error } => ("failed", error),
            Outcome::Unknown { error } => ("unknown", error),
        };
        if why.trim().is_empty() {
            self.unexplained.push(fact.op);
        }
        let text = format!("{word}: {}", why.chars().take(200).collect::<String>());
        let entry = self.refusals.entry(text).or_insert((0, fact.op));
        *entry = (entry.0 + 1, entry.1.min(fact.op));
        if self.refusals.len() > TEXTS_MAX {
            self.refusals.pop_last();
        }
    }

    pub(super) fn join(&mut self, op: u64, joined: Option<Joined>) {
        let Some(joined) = joined else { return };
        if joined.t_us < joined.invocation.t_us {
            let early = joined.invocation.t_us - joined.t_us;
            self.odd(OddKind::OutcomeTooEarly, format!("operation {op} by {early} µs"), Some(op));
        }
        if let End::Acknowledged(lane, offset) = joined.end {
            let took_us = joined.t_us.saturating_sub(joined.invocation.t_us);
            self.latencies.add(took_us);
            if !joined.invocation.beside {
                self.longest_wait = self.longest_wait.max(Some((took_us, op)));
            }
            if joined.id == NO_ID {
                self.note_receipt_without_id(op);
            }
            if self.detail == Detail::Packed && op.is_multiple_of(256) {
                self.sampled_ids.push((joined.id, op));
            }
            if self.topics[joined.invocation.topic] != self.lanes[lane].topic {
                self.misplaced.push(op);
            }
            self.lanes[lane].hear(offset, Source::Receipt, joined.invocation.seen(op, joined.id));
            self.lanes[lane].sent(offset, joined.invocation.t_us);
        }
    }

    pub(super) fn logged(&mut self, process: u16, fact: &Logged) {
        let who = || format!("a record of {}/{}", fact.topic.escape_debug(), fact.partition);
        if !self.offset_ok(fact.offset, OddKind::LoggedOffset, who) {
            return;
        }
        let lane = self.lane_number(&fact.topic, fact.partition);
        let seen = Seen {
            key: key_print(fact.key.as_ref()),
            value: fact.value.0,
            headers: header_print(fact.headers, fact.header_list.as_ref()),
            timestamp_ms: fact.timestamp_ms.unwrap_or(NO_TIMESTAMP),
            op: fact.op.unwrap_or(NO_OP),
            id: id_print(fact.ingestion_id.as_ref()),
        };
        if let Some(partitions) = self.lanes[lane].promised {
            // Two readings of one place are one record.
            let known = seen.op == NO_OP || self.ops.is(seen.op, Bit::Logged);
            if !known || !self.lanes[lane].is_logged_as(fact.offset, &seen) {
                self.ops.logged(&seen);
            }
            self.consult_oracle(lane, fact, partitions, seen.key);
            if self.detail == Detail::Packed && self.header.promises.key_order {
                self.follow_key(process, lane, fact.offset, &seen);
            }
            self.look_at_headers(lane, fact);
            if self.detail == Detail::Packed && seen.op.is_multiple_of(256) {
                self.sampled_ids.push((seen.id, seen.op));
            }
        }
        self.lanes[lane].hear(fact.offset, Source::Log, seen);
    }

    fn consult_oracle(&mut self, lane: usize, fact: &Logged, partitions: u32, print: u64) {
        let Some(key) = &fact.key else { return };
        match self.work.oracle {
            Oracle::None => {}
            Oracle::Murmur2 => {
                self.keyed += 1;
                let hash = murmur2::positive(murmur2::murmur2(&key.0));
                if partitions == 0 || hash % partitions != fact.partition {
                    self.strays.push(Stray { lane, offset: fact.offset, hash });
                }
            }
            Oracle::Stable => {
                self.keyed += 1;
                let home = *self.work.key_homes.entry(print).or_insert(lane);
                if home != lane && self.lanes[home].topic == fact.topic {
                    self.split_keys.entry(print).or_default().extend([home, lane]);
                }
            }
        }
    }

    pub(super) fn follow_key(&mut self, process: u16, lane: usize, offset: u64, seen: &Seen) {
        if seen.op == NO_OP || seen.key == NO_KEY {
            return;
        }
        // Operations of different producers have no order among them.
        let Some(owner) = self.ops.owner_of_logged(seen.op) else { return };
        let key = seen.key ^ u64::from(owner).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let order = self.work.key_orders.entry((process, lane)).or_default();
        if let Some((later_op, later_offset)) = order.next(key, seen.op, offset) {
            self.late_keys.push(LateKey { lane, offset, op: seen.op, later_op, later_offset });
        }
    }

    pub(super) fn log_bounds(&mut self, fact: &LogBounds) {
        let wrong = fact.low > fact.high
            || fact.high > OFFSET_MAX
            || fact.holes.iter().chain(&fact.aborted).any(|&(a, b)| a > b || b >= fact.high);
        if wrong {
            let name = format!("{}/{}", fact.topic.escape_debug(), fact.partition);
            let example = format!("{name} from {} to {}", fact.low, fact.high);
            return self.odd(OddKind::LogEnds, example, None);
        }
        let lane = self.lane_number(&fact.topic, fact.partition);
        self.lanes[lane].bounds.push(Bounds {
            low: fact.low,
            high: fact.high,
            complete: fact.complete,
            holes: fact.holes.clone(),
            aborted: fact.aborted.clone(),
        });
    }
}
