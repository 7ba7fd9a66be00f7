//! Changes to histories that aim at nothing in particular.

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

use super::Rng;
#[cfg(test)]
use super::{TABLE, alter};
use streamlake_history::event::*;
use streamlake_history::sample::{Sample, TOPIC};

/// One corruption of the table, at random.
#[cfg(test)]
pub(crate) fn spoil(sample: &mut Sample, rng: &mut Rng) {
    for _ in 0..10 {
        if (TABLE.choose(rng).unwrap().plant)(sample, rng) {
            return;
        }
    }
}

/// A small change to some fact, of the kind that an off-by-one or a slow clock makes.
#[cfg(test)]
pub(crate) fn nudge(sample: &mut Sample, rng: &mut Rng) {
    let step = rng.random_range(1..4);
    match rng.random_range(0..6) {
        0 => drop(alter(
            sample,
            rng,
            |f| matches!(f, Fact::Stored(_)),
            |f| {
                if let Fact::Stored(s) = f {
                    s.offset += step;
                }
            },
        )),
        1 => drop(alter(
            sample,
            rng,
            |f| matches!(f, Fact::Committed(_)),
            |f| {
                if let Fact::Committed(c) = f {
                    c.offset = c.offset.saturating_sub(step).max(1);
                }
            },
        )),
        2 => drop(alter(
            sample,
            rng,
            |f| matches!(f, Fact::Committed(_)),
            |f| {
                if let Fact::Committed(c) = f {
                    c.at_us = c.at_us.saturating_sub(step * 1_000);
                }
            },
        )),
        3 => drop(alter(
            sample,
            rng,
            |f| matches!(f, Fact::Object(o) if !o.during_run),
            |f| {
                if let Fact::Object(o) = f {
                    o.created_us += step * 1_000;
                }
            },
        )),
        4 => drop(alter(
            sample,
            rng,
            |f| matches!(f, Fact::DeadLetter(_)),
            |f| {
                if let Fact::DeadLetter(d) = f {
                    d.created_us += step * 10_000;
                }
            },
        )),
        _ => drop(alter(
            sample,
            rng,
            |f| matches!(f, Fact::Logged(_)),
            |f| {
                if let Fact::Logged(l) = f {
                    l.op = None;
                }
            },
        )),
    }
}

/// Any change to any fact, sensible or not.
pub fn vandalize(sample: &mut Sample, rng: &mut Rng) {
    if sample.facts.is_empty() {
        return;
    }
    let place = rng.random_range(0..sample.facts.len());
    let odd = [0, 1, u64::MAX, u64::MAX - 1, 1 << 62, i64::MAX as u64, rng.random()];
    let number = *odd.choose(rng).unwrap();
    let header = &mut sample.header.promises;
    match rng.random_range(0..12) {
        0 => drop(sample.facts.remove(place)),
        8 => drop(header.topics.insert(TOPIC.to_owned(), number as u32)),
        9 => header.recovery_within_us = number,
        10 => header.operations = number,
        11 => sample.facts.reverse(),
        1 => {
            let fact = sample.facts[place].clone();
            sample.facts.insert(place, fact);
        }
        2 => sample.facts[place].0 = number,
        3 => {
            let other = rng.random_range(0..sample.facts.len());
            sample.facts.swap(place, other);
        }
        _ => distort(&mut sample.facts[place].2, number),
    }
}

fn distort(fact: &mut Fact, number: u64) {
    match fact {
        Fact::Invoked(i) => {
            i.op = number;
            i.key = Some(Blob(b"|<script>\n\x1b[31m".to_vec()));
        }
        Fact::Completed(c) => c.op = number,
        Fact::Logged(l) => {
            l.offset = number;
            l.timestamp_ms = Some(number.cast_signed());
        }
        Fact::LogBounds(b) => {
            b.high = number;
            b.holes = vec![(0, number), (5, 3)];
        }
        Fact::Committed(c) => {
            c.offset = number;
            c.at_us = number;
        }
        Fact::Object(o) => {
            o.created_us = number;
            o.name = "|<script>\n\x1b[31m".to_owned();
        }
        Fact::Stored(s) => {
            s.offset = number;
            s.line = u32::MAX;
        }
        Fact::DeadLetter(d) => d.source = Some((TOPIC.to_owned(), u32::MAX, number)),
        Fact::Fault(f) => f.fault = u32::MAX,
        Fact::Process(p) => p.name = "replay-1".to_owned(),
        Fact::StoreRead { parts, .. } => *parts = number as u32,
        _ => {}
    }
}
