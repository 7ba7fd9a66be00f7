//! Transactions that stay open: a producer that died in the middle of one, or a broker that lost its end
//! (KIP-664), keeps all readers of committed records before its first record, without any error.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A partition whose readable end lies before its end.
#[derive(Debug)]
struct Open {
    readable_end: i64,
    behind: i64,
    since: Instant,
    told: bool,
}

/// What is known of them, by partition.
#[derive(Debug, Default)]
pub(super) struct OpenTransactions {
    found: BTreeMap<i32, Open>,
}

impl OpenTransactions {
    /// The client saw these ends (partition, readable end, end). Returns what is to be told: partition,
    /// first offset that cannot be read, offsets behind it. Each once, when it has lasted for `limit`.
    pub(super) fn seen(
        &mut self,
        ends: &[(i32, i64, i64)],
        limit: Duration,
        now: Instant,
    ) -> Vec<(i32, i64, i64)> {
        let held = |partition: &i32| {
            ends.iter().any(|(number, readable, end)| number == partition && readable < end)
        };
        self.found.retain(|partition, _| held(partition));
        let mut told = Vec::new();
        for &(partition, readable_end, end) in
            ends.iter().filter(|(_, readable, end)| readable < end)
        {
            let behind = end - readable_end;
            let new = Open { readable_end, behind, since: now, told: false };
            let open = self.found.entry(partition).or_insert(new);
            if open.readable_end != readable_end {
                // One has ended, and another one is open.
                *open = Open { readable_end, behind, since: now, told: false };
            }
            open.behind = behind;
            if !open.told && now.duration_since(open.since) > limit {
                open.told = true;
                told.push((partition, readable_end, behind));
            }
        }
        told
    }

    /// How many offsets of a partition cannot be read yet.
    pub(super) fn behind(&self, partition: i32) -> i64 {
        self.found.get(&partition).map_or(0, |open| open.behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_stays_open_is_told_once() {
        let (mut open, start) = (OpenTransactions::default(), Instant::now());
        let limit = Duration::from_secs(60);
        let mut seen = |second, ends: &[(i32, i64, i64)]| {
            let told = open.seen(ends, limit, start + Duration::from_secs(second));
            (told, open.behind(0))
        };
        assert_eq!(seen(0, &[(0, 5, 9), (1, 7, 7)]), (vec![], 4));
        // The one that was open has ended; a busy partition is never without one.
        assert_eq!(seen(50, &[(0, 8, 20)]), (vec![], 12));
        assert_eq!(seen(100, &[(0, 8, 30)]), (vec![], 22));
        assert_eq!(seen(111, &[(0, 8, 40)]), (vec![(0, 8, 32)], 32));
        assert_eq!(seen(120, &[(0, 8, 50)]), (vec![], 42));
        assert_eq!(seen(130, &[(0, 60, 60)]), (vec![], 0));
    }
}
