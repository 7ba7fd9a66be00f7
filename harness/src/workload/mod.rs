//! What is produced: which operations, when, with which key and payload. Pure; the producer's
//! process is driven by [`driver`].
//!
//! Payloads identify themselves: each is a valid order event with the number of its operation in it,
//! so that a record found anywhere can be traced to its invocation without trusting any name that
//! the pipeline gave it.

pub(crate) mod driver;
pub mod odd;
pub(crate) mod reserve;
mod shape;
pub mod source;
pub(crate) mod writer;

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use shape::{Flaw, Order, Shape};

/// How much the records of a load differ from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variety {
    /// Keys, lengths and spellings of all kinds, and poison that the producer has to reject; beside the
    /// load, odd records of another writer ([`odd`]).
    Full,
    /// One kind of record.
    Plain,
}

/// A load, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadPlan {
    /// Seed of the payloads.
    pub seed: u64,
    /// Operations of the producer under test.
    pub operations: u64,
    /// Operations per second.
    pub rate_per_s: f64,
    /// Distinct keys.
    pub keys: u64,
    /// Length that shorter payloads are padded to.
    pub payload_bytes: u64,
    /// Every n-th payload is poison.
    pub poison_every: Option<u64>,
    /// Poison of a load of one kind is no JSON at all.
    pub corrupt: bool,
    /// The producer does not validate, so it has to be told each record's key.
    pub lets_poison_through: bool,
    /// The dataset that its events are of.
    pub dataset: String,
    /// The topic under test.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// How much its records differ.
    pub variety: Variety,
    /// Odd records of another writer, on top of the operations.
    pub odd: u64,
}

/// One operation of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its number, from 0.
    pub op: u64,
    /// When it is due, after the load's begin.
    pub due: Duration,
    /// The key that its record will have.
    pub key: Vec<u8>,
    /// The producer is told the key; else it has to find it in the payload.
    pub key_beside: bool,
    /// The payload.
    pub payload: Vec<u8>,
    /// The payload is invalid on purpose.
    pub poison: bool,
}

/// A payload in so many is a large one.
const LARGE_EVERY: u64 = 250;
const LARGE: usize = 66_000;
/// One payload is close to the limit of a record.
const LARGEST: usize = 900_000;
/// A payload in so many is poison that the producer has to reject.
const REJECTED_EVERY: u64 = 30;

impl WorkloadPlan {
    /// When the last operation is due.
    #[must_use]
    pub fn length(&self) -> Duration {
        #[expect(clippy::cast_precision_loss)]
        Duration::from_secs_f64(self.operations as f64 / self.rate_per_s)
    }

    /// The producer takes envelopes: payloads that are not one line of text, and keys beside them.
    #[must_use]
    pub fn in_envelopes(&self) -> bool {
        self.lets_poison_through || self.variety == Variety::Full
    }

    /// Operations in all, those of the other writer included.
    #[must_use]
    pub fn operations_in_all(&self) -> u64 {
        self.operations + self.odd
    }

    /// How many odd records belong to the load.
    #[must_use]
    pub fn odd_records(&self) -> u64 {
        if self.variety == Variety::Full { odd::count(self) } else { 0 }
    }

    /// About how many bytes the records are in all, without what their batches add.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let large = match self.variety {
            Variety::Full => {
                let large = self.operations / LARGE_EVERY + 1;
                large * LARGE as u64 + LARGEST as u64 + odd::bytes(self.odd)
            }
            Variety::Plain => 0,
        };
        self.operations_in_all() * self.payload_bytes + large
    }

    /// The operations in the order of their invocation.
    pub fn operations(&self) -> impl Iterator<Item = Operation> + '_ {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        (0..self.operations).map(move |op| {
            let order_id = self.order_id(rng.random_range(0..self.keys));
            #[expect(clippy::cast_precision_loss)]
            let due = Duration::from_secs_f64(op as f64 / self.rate_per_s);
            let (key, payload, poison) = match self.variety {
                Variety::Plain => self.plain(op, &order_id, &mut rng),
                Variety::Full => self.varied(op, &order_id, &mut rng),
            };
            let key_beside = self.lets_poison_through || key != order_id.as_bytes();
            Operation { op, due, key, key_beside, payload, poison }
        })
    }

    /// The key: white space at its ends is part of it.
    fn order_id(&self, number: u64) -> String {
        match (self.variety, number % 16) {
            (Variety::Full, 5) => format!(" ORD-{number:05}"),
            (Variety::Full, 6) => format!("ORD-{number:05} "),
            _ => format!("ORD-{number:05}"),
        }
    }

    fn plain(&self, op: u64, order_id: &str, rng: &mut ChaCha8Rng) -> (Vec<u8>, Vec<u8>, bool) {
        let order = Order::new(op, order_id, rng);
        let poison = self.poison_every.is_some_and(|every| op % every == every - 1);
        let bytes = usize::try_from(self.payload_bytes).unwrap_or(0);
        let payload = match poison {
            true if self.corrupt => order.poison(Flaw::Cut, rng),
            true => order.poison(Flaw::WrongType, rng),
            false => order.good(Shape::Plain, bytes, rng),
        };
        (order_id.as_bytes().to_vec(), payload, poison)
    }

    fn varied(&self, op: u64, order_id: &str, rng: &mut ChaCha8Rng) -> (Vec<u8>, Vec<u8>, bool) {
        let order = Order::new(op, order_id, rng);
        let every = self.poison_every.unwrap_or(REJECTED_EVERY);
        // The turns of a kind begin where the seed says, so that kinds do not always meet alike.
        let turn = op + self.seed;
        if op % every == every - 1 {
            let flaw = Flaw::of_turn(turn / every);
            // Each second one comes with a key beside it, which its dead letter has to bear.
            let key = match (op / every).is_multiple_of(2) {
                true => format!("{order_id}-refused"),
                false => order_id.to_owned(),
            };
            return (key.into_bytes(), order.poison(flaw, rng), true);
        }
        let bytes = match op {
            _ if op == self.operations / 2 => LARGEST,
            _ if op % LARGE_EVERY == LARGE_EVERY / 2 => LARGE,
            // Most are of the length that was asked for; the others are shorter or longer.
            _ => match (usize::try_from(self.payload_bytes).unwrap_or(0), turn % 4) {
                (bytes, 3) => rng.random_range(0..=2 * bytes),
                (bytes, _) => bytes,
            },
        };
        let shape = if turn.is_multiple_of(3) { Shape::of_turn(turn / 3) } else { Shape::Plain };
        (varied_key(turn, order_id), order.good(shape, bytes, rng), false)
    }
}

/// Nearly always the order's own id.
fn varied_key(turn: u64, order_id: &str) -> Vec<u8> {
    match turn % 40 {
        7 => format!("{order_id}-žluťoučký-🐎").into_bytes(),
        17 => format!("{order_id}-{}", "long".repeat(30)).into_bytes(),
        27 => [order_id.as_bytes(), b"\x00\xff\xfe"].concat(),
        37 => Vec::new(),
        _ => order_id.as_bytes().to_vec(),
    }
}

/// The number of the operation that a payload names, if it is one of ours.
#[must_use]
pub fn op_of(payload: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Named {
        op: u64,
    }
    serde_json::from_slice::<Named>(payload).ok().map(|named| named.op)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) fn plan() -> WorkloadPlan {
        WorkloadPlan {
            seed: 7,
            operations: 100,
            rate_per_s: 50.0,
            keys: 5,
            payload_bytes: 200,
            poison_every: Some(10),
            corrupt: false,
            lets_poison_through: false,
            dataset: "orders".to_owned(),
            topic: "t".to_owned(),
            partitions: 3,
            variety: Variety::Plain,
            odd: 0,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_operations() {
        let plan = plan();
        assert!(plan.operations().eq(plan.operations()));
        let other = WorkloadPlan { seed: 8, ..plan.clone() };
        assert!(!plan.operations().eq(other.operations()));
    }

    #[test]
    fn operations_identify_themselves_and_keep_rate_and_length() {
        let plan = plan();
        let all: Vec<_> = plan.operations().collect();
        assert_eq!(all.len(), 100);
        let good = || all.iter().filter(|o| !o.poison);
        assert!(all.iter().all(|o| op_of(&o.payload) == Some(o.op)));
        assert!(good().all(|o| o.payload.len() == 200));
        assert_eq!(all[50].due, Duration::from_secs(1));
        assert_eq!(all.iter().filter(|o| o.poison).count(), 10);
        assert_eq!(plan.length(), Duration::from_secs(2));
    }

    #[test]
    fn a_varied_load_has_every_kind_of_key_and_length_and_poison() {
        let plan =
            WorkloadPlan { operations: 500, poison_every: None, variety: Variety::Full, ..plan() };
        let all: Vec<_> = plan.operations().collect();
        assert!(plan.operations().eq(all.iter().cloned()));
        let some = |kind: fn(&Operation) -> bool| all.iter().any(kind);
        assert!(some(|o| o.key.is_empty()) && some(|o| o.key.len() > 100));
        assert!(some(|o| std::str::from_utf8(&o.key).is_err()) && some(|o| !o.key_beside));
        assert!(some(|o| o.payload.len() > 800_000) && some(|o| o.payload.contains(&b'\n')));
        assert_eq!(all.iter().filter(|o| o.poison).count(), 16);
        for good in all.iter().filter(|o| !o.poison) {
            assert_eq!(op_of(&good.payload), Some(good.op));
        }
        let bytes: usize = all.iter().map(|o| o.payload.len()).sum();
        assert!(u64::try_from(bytes).unwrap() <= plan.bytes(), "{bytes} of {}", plan.bytes());
    }
}
