//! Facts about records: operations, receipts, the log.

use super::keys::LateKey;
use super::lane::{NO_ID, NO_OP};
use super::observe::OFFSET_MAX;
use super::ops::Joined;
use super::slots::Detail;
use super::{Bounds, End, Index, Invocation, NO_KEY, Seen, Source, Stray};
use crate::checker::murmur2;
use crate::history::event::{Blob, Completed, Event, Invoked, LogBounds, Logged, Outcome, Print};

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
            return self.contradict("an operation number that is reserved", fact.op.to_string());
        }
        let invocation = Invocation {
            t_us: event.t_us,
            topic: self.topic_number(&fact.topic),
            key: key_print(fact.key.as_ref()),
            value: fact.value.0,
            poison: fact.poison,
            owner: self.producer_number(process, fact.op),
        };
        self.invocations.add(event.t_us);
        // Told after its record, which went by without its producer.
        let passed = self.detail == Detail::Packed && self.ops.was_logged(fact.op);
        self.unjudged_order += u64::from(passed);
        match self.ops.invoked(fact.op, invocation) {
            Ok(joined) => self.join(fact.op, joined),
            Err(()) => self.contradict("an operation was invoked twice", fact.op.to_string()),
        }
    }

    pub(super) fn completed(&mut self, event: &Event, fact: &Completed) {
        if fact.op == NO_OP {
            return self.contradict("an operation number that is reserved", fact.op.to_string());
        }
        let end = match &fact.outcome {
            Outcome::Acknowledged { topic, partition, offset } => {
                if !self.offset_ok(*offset) {
                    return;
                }
                End::Acknowledged(self.lane_number(topic, *partition), *offset)
            }
            Outcome::Rejected { .. } => End::Rejected,
            Outcome::Failed { .. } => End::Failed,
            Outcome::Unknown { .. } => End::Unknown,
        };
        self.completions.add(event.t_us);
        match end {
            End::Acknowledged(..) => self.acks.add(event.t_us),
            End::Failed | End::Unknown => self.unacknowledged.add(event.t_us),
            End::Rejected => {}
        }
        let id = id_print(fact.ingestion_id.as_ref());
        match self.ops.completed(fact.op, end, id, event.t_us) {
            Ok(joined) => self.join(fact.op, joined),
            Err(()) => self.contradict("an operation completed twice", fact.op.to_string()),
        }
    }

    pub(super) fn join(&mut self, op: u64, joined: Option<Joined>) {
        let Some(joined) = joined else { return };
        if joined.t_us < joined.invocation.t_us {
            self.contradict("an operation completed before it was invoked", op.to_string());
        }
        if let End::Acknowledged(lane, offset) = joined.end {
            self.latencies.add(joined.t_us.saturating_sub(joined.invocation.t_us));
            if self.topics[joined.invocation.topic] != self.lanes[lane].topic {
                self.misplaced.push(op);
            }
            self.lanes[lane].hear(offset, Source::Receipt, joined.invocation.seen(op, joined.id));
        }
    }

    pub(super) fn logged(&mut self, process: u16, fact: &Logged) {
        if !self.offset_ok(fact.offset) {
            return;
        }
        if fact.op == Some(NO_OP) {
            return self.contradict("an operation number that is reserved", NO_OP.to_string());
        }
        let lane = self.lane_number(&fact.topic, fact.partition);
        let seen = Seen {
            key: key_print(fact.key.as_ref()),
            value: fact.value.0,
            headers: fact.headers.0,
            timestamp_ms: fact.timestamp_ms,
            op: fact.op.unwrap_or(NO_OP),
            id: id_print(fact.ingestion_id.as_ref()),
        };
        if let Some(partitions) = self.lanes[lane].promised {
            self.ops.logged(&seen);
            self.consult_oracle(lane, fact, partitions, seen.key);
            if self.detail == Detail::Packed && self.header.promises.key_order {
                self.follow_key(process, lane, fact.offset, &seen);
            }
            if !fact.missing_headers.is_empty() {
                let names = fact.missing_headers.join(", ");
                self.headers_missing.push((lane, fact.offset, names));
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
            || fact.holes.iter().any(|&(a, b)| a > b || b >= fact.high);
        if wrong {
            let name = format!("{}/{}", fact.topic.escape_debug(), fact.partition);
            return self.contradict("bounds of a log that cannot be", name);
        }
        let lane = self.lane_number(&fact.topic, fact.partition);
        self.lanes[lane].bounds.push(Bounds {
            low: fact.low,
            high: fact.high,
            complete: fact.complete,
            holes: fact.holes.clone(),
        });
    }
}
