//! What is produced: which operations, when, with which key and payload. Pure; the producer's
//! process is driven by [`driver`].
//!
//! Payloads identify themselves: each is a valid order event with the number of its operation in it,
//! so that a record found anywhere can be traced to its invocation without trusting any name that
//! the pipeline gave it.

pub(crate) mod driver;
pub mod source;

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

/// A load, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadPlan {
    /// Seed of the payloads.
    pub seed: u64,
    /// Operations in all.
    pub operations: u64,
    /// Operations per second.
    pub rate_per_s: f64,
    /// Distinct keys.
    pub keys: u64,
    /// Length that shorter payloads are padded to.
    pub payload_bytes: u64,
    /// Every n-th payload is poison.
    pub poison_every: Option<u64>,
    /// The producer does not validate, so it has to be told each record's key.
    pub lets_poison_through: bool,
    /// The topic under test.
    pub topic: String,
}

/// One operation of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its number, from 0.
    pub op: u64,
    /// When it is due, after the load's begin.
    pub due: Duration,
    /// The key that its record will have.
    pub key: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The payload is invalid on purpose.
    pub poison: bool,
}

impl WorkloadPlan {
    /// When the last operation is due.
    #[must_use]
    pub fn length(&self) -> Duration {
        #[expect(clippy::cast_precision_loss)]
        Duration::from_secs_f64(self.operations as f64 / self.rate_per_s)
    }

    /// The operations in the order of their invocation.
    pub fn operations(&self) -> impl Iterator<Item = Operation> + '_ {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        (0..self.operations).map(move |op| {
            let key = format!("ORD-{:05}", rng.random_range(0..self.keys));
            let poison = self.poison_every.is_some_and(|every| op % every == every - 1);
            let payload = self.payload(op, &key, poison, &mut rng);
            #[expect(clippy::cast_precision_loss)]
            let due = Duration::from_secs_f64(op as f64 / self.rate_per_s);
            Operation { op, due, key, payload, poison }
        })
    }

    fn payload(&self, op: u64, key: &str, poison: bool, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let cents: u32 = rng.random_range(100..100_000);
        let customer: u32 = rng.random_range(0..10_000);
        // Poison keeps the operation's number: a dead letter must be traceable as well. Its odd spaces
        // tell a dead letter that was decoded and encoded again from one that was not.
        let amount = if poison {
            " \"a lot\" ".to_owned()
        } else {
            format!("{}.{:02}", cents / 100, cents % 100)
        };
        let mut text = format!(
            "{{\"op\":{op},\"order_id\":\"{key}\",\"customer_id\":\"CUST-{customer}\",\"amount\":{amount},\
             \"event_time\":\"2026-01-21T10:{:02}:{:02}Z\",\"note\":\"",
            op / 60 % 60,
            op % 60,
        );
        let padding =
            usize::try_from(self.payload_bytes).unwrap_or(0).saturating_sub(text.len() + 2);
        text.extend((0..padding).map(|_| char::from(rng.random_range(b'a'..=b'z'))));
        text.push_str("\"}");
        text.into_bytes()
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plan() -> WorkloadPlan {
        WorkloadPlan {
            seed: 7,
            operations: 100,
            rate_per_s: 50.0,
            keys: 5,
            payload_bytes: 200,
            poison_every: Some(10),
            lets_poison_through: false,
            topic: "t".to_owned(),
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
        assert!(all.iter().all(|o| op_of(&o.payload) == Some(o.op) && o.payload.len() == 200));
        assert_eq!(all[50].due, Duration::from_secs(1));
        assert_eq!(all.iter().filter(|o| o.poison).count(), 10);
        assert_eq!(plan.length(), Duration::from_secs(2));
    }
}
