//! Records that the producer under test would never write: what other producers put into the same
//! topic. They come from a writer of the harness, beside the load, and stand for every kind of record that a
//! consumer must be able to take: without a key, without a value, with keys, header names and values that
//! are no text, with repeated and reserved headers, of another day, and poison of every kind.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::WorkloadPlan;
use super::shape::{Flaw, Order, Shape};

/// The header that names a record's operation, where its value cannot.
pub const OP_HEADER: &str = "x-harness-op";

/// How many odd records there are for each second of the load.
const PER_SECOND: f64 = 6.0;
/// Fewer would leave out kinds.
const AT_LEAST: u64 = 110;
/// By then the load's last records are in the log, where nothing is broken.
const AFTER_THE_LOAD: Duration = Duration::from_millis(300);
const LARGE: usize = 70_000;
const LARGEST: usize = 200_000;

/// A header as bytes.
pub type RawHeader = (Vec<u8>, Option<Vec<u8>>);

/// One odd record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OddRecord {
    /// Its operation, above those of the load.
    pub op: u64,
    /// When it is due, after the load's begin.
    pub due: Duration,
    /// The key, or none.
    pub key: Option<Vec<u8>>,
    /// The value, or none.
    pub value: Option<Vec<u8>>,
    /// All headers, in order.
    pub headers: Vec<RawHeader>,
    /// The partition, where it is not left to the key. Such a record has no key.
    pub partition: Option<u32>,
    /// The Kafka timestamp in milliseconds, where it is not the time of sending.
    pub timestamp_ms: Option<i64>,
    /// It is no order event, and must become a dead letter.
    pub poison: bool,
}

/// The day at whose turn some records are ingested: the UTC midnight before the run, as text of the day
/// before and of the day after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Midnight {
    before: chrono::NaiveDate,
}

impl Midnight {
    /// The last one before an instant.
    #[must_use]
    pub fn before(now: chrono::DateTime<chrono::Utc>) -> Self {
        let today = now.date_naive();
        Self { before: today.pred_opt().unwrap_or(today) }
    }

    /// An instant that is days before it, in milliseconds.
    fn days_before(&self) -> i64 {
        let day = self.before.checked_sub_days(chrono::Days::new(2)).unwrap_or(self.before);
        day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis() + 43_200_000
    }

    /// As close to its end as a day comes, with more digits than a millisecond has.
    fn last_nanosecond(&self) -> String {
        format!("{}T23:59:59.999999999Z", self.before)
    }

    /// Zones that are no whole hours off, and letters that are written small.
    fn written_otherwise(&self) -> [String; 3] {
        let (before, after) = (self.before, self.before.succ_opt().unwrap_or(self.before));
        [
            format!("{after}T05:15:00+05:30"),
            format!("{before}T19:45:00-04:30"),
            format!("{before}t23:59:58z"),
        ]
    }

    fn ends(&self) -> [String; 4] {
        let (before, after) = (self.before, self.before.succ_opt().unwrap_or(self.before));
        [
            format!("{before}T23:59:59.999Z"),
            format!("{after}T00:00:00.000Z"),
            format!("{after}T00:30:00+02:00"),
            format!("{before}T21:00:00-05:00"),
        ]
    }
}

/// How many odd records a load has.
pub(super) fn count(plan: &WorkloadPlan) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let by_time = (plan.length().as_secs_f64() * PER_SECOND) as u64;
    by_time.max(AT_LEAST)
}

/// About how many bytes so many odd records are.
pub(super) fn bytes(many: u64) -> u64 {
    let large = many.div_ceil(KINDS);
    large * (LARGE + LARGEST) as u64 + many * 500
}

/// The odd records of a load, in the order of their invocation.
pub fn records(plan: &WorkloadPlan, midnight: &Midnight) -> Vec<OddRecord> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed ^ 0x6f64_6473);
    let many = plan.odd;
    let first = rng.random_range(0..KINDS);
    (0..many)
        .map(|n| {
            #[expect(clippy::cast_precision_loss)]
            let share = (n as f64 + rng.random_range(0.0..0.9)) / many as f64;
            let mut record = OddRecord {
                op: plan.operations + n,
                due: plan.length().mul_f64(share),
                key: Some(format!("ODD-{}", n % 7).into_bytes()),
                value: None,
                headers: Vec::new(),
                partition: None,
                timestamp_ms: None,
                poison: false,
            };
            // Each kind has its turn; where it begins is the seed's.
            make(&mut record, plan, (first + n) % KINDS, n / KINDS, midnight, &mut rng);
            if let Some(partition) = last_of_partition(plan, n) {
                end(&mut record, partition, plan, &mut rng);
            }
            record
        })
        .collect()
}

/// The last odd records come after the load, one into each partition: poison is the last that a partition
/// holds, with nothing behind it by which it could be committed.
fn last_of_partition(plan: &WorkloadPlan, n: u64) -> Option<u32> {
    let partitions = u64::from(plan.partitions);
    let first = plan.odd.checked_sub(partitions).filter(|first| *first >= KINDS)?;
    u32::try_from(n.checked_sub(first)?).ok()
}

fn end(record: &mut OddRecord, partition: u32, plan: &WorkloadPlan, rng: &mut ChaCha8Rng) {
    let order = Order::new(record.op, &format!("ODD-{}", record.op), rng);
    *record = OddRecord {
        op: record.op,
        due: plan.length() + AFTER_THE_LOAD,
        key: None,
        value: Some(order.poison(Flaw::Cut, rng)),
        headers: headers(plan, record.op),
        partition: Some(partition),
        timestamp_ms: None,
        poison: true,
    };
}

/// Kinds of odd records: each flaw, other poison, and good ones.
const KINDS: u64 = FLAWS + POISON + GOOD;
const FLAWS: u64 = Flaw::COUNT;
const POISON: u64 = 6;
const GOOD: u64 = 33;

fn make(
    record: &mut OddRecord,
    plan: &WorkloadPlan,
    kind: u64,
    round: u64,
    midnight: &Midnight,
    rng: &mut ChaCha8Rng,
) {
    let op = record.op;
    let order = Order::new(op, &format!("ODD-{op}"), rng);
    record.headers = headers(plan, op);
    record.value = Some(order.good(Shape::of_turn(op), 150, rng));
    let mut poison = |flaw| {
        record.poison = true;
        record.value = Some(order.clone().poison(flaw, rng));
    };
    if kind < FLAWS {
        return poison(Flaw::of_turn(kind));
    }
    match kind - FLAWS {
        0 => (record.value, record.poison) = (None, true),
        1 => (record.key, record.value, record.poison) = (None, None, true),
        2 => {
            poison(Flaw::of_turn(round));
            record.headers.extend(reserved());
        }
        3 => {
            poison(Flaw::of_turn(round));
            record.headers.extend([null("nothing"), text("empty", ""), text("empty", "twice")]);
            record.headers.extend(binary());
            record.key = Some(odd_key());
        }
        4 => {
            poison(Flaw::Cut);
            record.headers.push((b"large".to_vec(), Some(vec![b'h'; 2_000])));
            if let Some(value) = &mut record.value {
                value.resize(LARGE, b' ');
            }
        }
        5 => {
            poison(Flaw::of_turn(round));
            record.key = Some(Vec::new());
        }
        _ => make_good(record, &order, kind - FLAWS - POISON, midnight, plan, rng),
    }
}

fn make_good(
    record: &mut OddRecord,
    order: &Order,
    kind: u64,
    midnight: &Midnight,
    plan: &WorkloadPlan,
    rng: &mut ChaCha8Rng,
) {
    let op = record.op;
    match kind {
        0 => record.key = None,
        1 => record.key = Some(Vec::new()),
        2 => record.key = Some(odd_key()),
        3 => record.key = Some("ключ-🔑".as_bytes().to_vec()),
        4 => record.headers.extend([
            text("repeated", "1"),
            text("repeated", "2"),
            text("repeated", "1"),
        ]),
        5 => record.headers.extend([null("nothing"), null("nothing"), text("something", "x")]),
        6 => record.headers.extend([text("empty", ""), text("", "no name"), text("", "")]),
        7 => {
            record.headers.push((b"na\xffme".to_vec(), Some(b"text".to_vec())));
            record.headers.extend(binary());
        }
        8 => record.headers.clear(),
        9 => record.headers.extend(reserved()),
        10..=13 => {
            let end = usize::try_from(kind - 10).unwrap_or(0);
            set(&mut record.headers, "ingested_at", &midnight.ends()[end]);
        }
        14 => record.headers.retain(|(name, _)| name != b"ingested_at"),
        15 => set(&mut record.headers, "ingested_at", "soon"),
        16 => {
            let partition = u32::try_from(op % u64::from(plan.partitions)).unwrap_or(0);
            (record.key, record.partition) = (None, Some(partition));
        }
        17 => record.headers.extend((0..20).map(|n| text(&format!("one-of-many-{n}"), "x"))),
        // Text that cannot stand in JSON as it is.
        18 => record.key = Some(b"\"quoted\" \\ \t\r\n\x00\x1f\x7f".to_vec()),
        19 => record.headers.push(text("\"name\"\\\n", "a \"value\" \\ \t\r\n\u{1}\u{7f}")),
        20 => record.timestamp_ms = Some(midnight.days_before()),
        21 => {
            record.timestamp_ms = Some(midnight.days_before());
            record.headers.retain(|(name, _)| name != b"ingested_at");
        }
        // The first of several counts.
        22 => record.headers.push(text("ingested_at", &midnight.ends()[0])),
        23 => set(&mut record.headers, "ingested_at", &midnight.last_nanosecond()),
        // The id is whatever stands there, and the first of several.
        24 => set(&mut record.headers, "ingestion_id", &format!("ORDER {op}")),
        25 => set(&mut record.headers, "ingestion_id", &format!("{{0DD0-{op:X}}}")),
        26 => record.headers.push(text("ingestion_id", "another")),
        27 => record.headers.retain(|(name, _)| name != b"ingestion_id"),
        29..=31 => {
            let way = usize::try_from(kind - 29).unwrap_or(0);
            set(&mut record.headers, "ingested_at", &midnight.written_otherwise()[way]);
        }
        28 => record.headers.extend([
            text("X-Trace-Id", "AbC"),
            text("x-trace-id", "aBc"),
            text(" x-trace-id ", " \t both ends\u{a0}"),
        ]),
        _ => {
            let length = if op.is_multiple_of(2) { LARGE } else { LARGEST };
            record.value = Some(order.good(Shape::Plain, length, rng));
            record.headers.push((b"large".to_vec(), Some(vec![b'h'; 2_000])));
        }
    }
}

/// The headers of an ordinary record of another producer.
fn headers(plan: &WorkloadPlan, op: u64) -> Vec<RawHeader> {
    vec![
        text("dataset", &plan.dataset),
        text("schema_version", "v1"),
        text("ingestion_id", &format!("{:08x}-0dd0-4000-8000-{op:012x}", plan.seed & 0xffff_ffff)),
        text("producer_service", "another-producer"),
        // Filled in when the record is written.
        text("ingested_at", ""),
        text(OP_HEADER, &op.to_string()),
    ]
}

/// Headers with the names that dead-lettering uses.
fn reserved() -> [RawHeader; 4] {
    [
        text("source_topic", "somewhere.else"),
        text("source_partition", "77"),
        text("consumer_error", "an error of long ago"),
        text("producer_error", "one more"),
    ]
}

/// Values that are no text.
fn binary() -> [RawHeader; 2] {
    let header = |value: &[u8]| (b"binary".to_vec(), Some(value.to_vec()));
    [header(b"\x00\xff\xfe"), header(b"\x9e\x01")]
}

fn odd_key() -> Vec<u8> {
    b"\x00\xff\xfe key".to_vec()
}

fn text(name: &str, value: &str) -> RawHeader {
    (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
}

fn null(name: &str) -> RawHeader {
    (name.as_bytes().to_vec(), None)
}

fn set(headers: &mut [RawHeader], name: &str, value: &str) {
    for header in headers.iter_mut().filter(|(known, _)| known == name.as_bytes()) {
        *header = text(name, value);
    }
}

/// Fills a header in that was left empty for it.
pub(super) fn fill(headers: &mut [RawHeader], name: &str, value: &str) {
    if let Some(header) = headers.iter_mut().find(|header| **header == text(name, "")) {
        *header = text(name, value);
    }
}

/// The number of the operation that a record's headers name, if they do.
#[must_use]
pub fn op_of_headers<'a>(
    mut headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> Option<u64> {
    let (_, value) = headers.find(|(name, _)| *name == OP_HEADER.as_bytes())?;
    std::str::from_utf8(value?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::workload::op_of;
    use crate::workload::tests::plan;
    use streamlake::record::{Schema, ingestion_date, validate};

    fn midnight() -> Midnight {
        Midnight { before: chrono::NaiveDate::default() }
    }

    #[test]
    fn every_kind_has_its_turn_and_the_pipeline_agrees_what_is_poison() {
        let plan = WorkloadPlan { odd: AT_LEAST, ..plan() };
        let records = records(&plan, &midnight());
        assert_eq!(records, super::records(&plan, &midnight()));
        for record in &records {
            let verdict = validate(Schema::Order, record.value.as_deref());
            assert_eq!(verdict.is_err(), record.poison, "{record:?}");
            let named = record.value.as_deref().and_then(op_of).or_else(|| {
                let headers = record.headers.iter();
                op_of_headers(headers.map(|(name, value)| (name.as_slice(), value.as_deref())))
            });
            assert_eq!(named, Some(record.op));
        }
        assert!(records.iter().any(|record| record.value.is_none()));
        let days: BTreeSet<_> = records
            .iter()
            .filter_map(|record| {
                let header = record.headers.iter().find(|(name, _)| name == b"ingested_at")?;
                Some(ingestion_date(header.1.as_deref().filter(|at| at.len() > 20), Some(0)))
            })
            .collect();
        assert_eq!(days.len(), 2, "{days:?}");
    }
}
