//! What records say of themselves, held against what was promised and what is known otherwise: headers
//! with a promised value, the instant of ingestion, ingestion ids.
//!
//! Facts come in any order, so what hangs on an operation is decided when all are there. Only what
//! differs is kept, offsets as ranges and a few examples in words.

use std::collections::{BTreeMap, HashMap};

use super::hash::Quick;
use super::ranges::{Range, RangeSet};
use super::slots::CHUNK;
use super::{End, Index, NO_OP};
use streamlake_history::event::{
    DeadLetter, HeaderPair, Logged, Piece, Print, PromisedValue, Stored, UNTOLD_MS,
};

/// Examples in words that are kept of one kind of difference.
const EXAMPLES_MAX: usize = 20;
/// An instant that nobody measured may lie this far outside of what is possible: the clocks of one
/// machine, or of two with a time service, are closer.
const UNMEASURED_US: i64 = 1_000_000;
/// Instants in headers are cut to milliseconds.
const RESOLUTION_US: i64 = 2_000;

/// What may be wrong with what a record says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeaderFault {
    /// A promised header is not there.
    Missing,
    /// It has another value than promised, or one that cannot be understood.
    Differs,
    /// It is there more than once.
    Twice,
    /// `ingested_at` lies outside of the invocation.
    Implausible,
    /// The record's own timestamp does.
    Timestamp,
    /// The headers and the ingestion id that were told of one record disagree.
    Id,
    /// The headers that are listed are not those of the fingerprint.
    List,
}

/// Records with the same fault.
#[derive(Debug, Clone, Default)]
pub struct Faulty {
    ranges: Vec<Range>,
    examples: Vec<(u64, String)>,
    /// Which.
    pub offsets: RangeSet,
}

impl Faulty {
    fn add(&mut self, offset: u64, example: impl FnOnce() -> String) {
        match self.ranges.last_mut() {
            Some(last) if last.1 == offset || last.1.checked_add(1) == Some(offset) => {
                last.1 = offset;
            }
            _ => self.ranges.push((offset, offset)),
        }
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push((offset, example()));
        }
    }

    /// Some of them in words.
    pub fn examples(&self) -> impl Iterator<Item = String> + '_ {
        let told = self.examples.iter().filter(|(offset, _)| self.offsets.contains(*offset));
        told.map(|(offset, text)| format!("offset {offset}: {text}"))
    }

    fn settle(&mut self, own: &RangeSet) {
        self.offsets = RangeSet::of(std::mem::take(&mut self.ranges)).minus(own);
        self.examples.sort();
    }
}

/// A record's claim of when it was ingested, or its timestamp, to be compared when its operation is known.
#[derive(Debug, Clone, Copy)]
struct Claim {
    lane: u32,
    offset: u64,
    ms: i64,
    of: Claimed,
}

/// What claims an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claimed {
    /// The header `ingested_at`.
    Header,
    /// The record's timestamp, which its producer sets or its broker.
    Timestamp,
}

impl Claimed {
    fn name(self) -> &'static str {
        match self {
            Claimed::Header => "ingested_at",
            Claimed::Timestamp => "timestamp",
        }
    }

    fn fault(self) -> HeaderFault {
        match self {
            Claimed::Header => HeaderFault::Implausible,
            Claimed::Timestamp => HeaderFault::Timestamp,
        }
    }

    /// A broker's clock is not that of the processes; a topic that was seen to keep its producers' timestamps has
    /// theirs.
    fn allowance_us(self, of_producers: impl FnOnce() -> bool) -> i64 {
        match self {
            Claimed::Timestamp if !of_producers() => UNMEASURED_US,
            Claimed::Header | Claimed::Timestamp => RESOLUTION_US,
        }
    }
}

/// When an operation was invoked and completed, in milliseconds of the run; `u32::MAX` if never.
type Times = Box<[(u32, u32); CHUNK as usize]>;

/// All that records say of themselves and that is not as it should be.
#[derive(Debug, Default)]
pub struct HeaderFacts {
    /// Faults of logged records: lane, kind and name of the header.
    pub logged: BTreeMap<(usize, HeaderFault, String), Faulty>,
    /// Lines of parts whose own ingestion id is another than that in their headers: zone and lane.
    pub lines: BTreeMap<(usize, usize), Faulty>,
    /// Operations that came with headers of their own, and the fingerprint of those; none if a piece
    /// is too long to be there.
    pub own: BTreeMap<u64, Option<Print>>,
    /// Acknowledged operations whose receipt has no ingestion id.
    pub receipts_without_id: Vec<u64>,
    /// Records whose instant of ingestion was compared with their invocation.
    pub dated: u64,
    times: HashMap<u64, Times, Quick>,
    claims: Vec<Claim>,
}

impl HeaderFacts {
    fn times(&mut self, op: u64) -> &mut (u32, u32) {
        let never = || Box::new([(u32::MAX, u32::MAX); CHUNK as usize]);
        &mut self.times.entry(op / CHUNK).or_insert_with(never)[(op % CHUNK) as usize]
    }

    fn window(&self, op: u64) -> Option<(u32, u32)> {
        let times = self.times.get(&(op / CHUNK))?[(op % CHUNK) as usize];
        (times.0 != u32::MAX).then_some(times)
    }
}

fn ms(us: u64) -> u32 {
    u32::try_from(us / 1000).unwrap_or(u32::MAX - 1).min(u32::MAX - 1)
}

/// The fingerprint to compare headers by: that of the headers themselves where they are listed. A
/// list that is not what its fingerprint says is a word of its own, which nobody else shares.
pub(super) fn header_print(print: Print, list: Option<&Vec<HeaderPair>>) -> u64 {
    match list.and_then(|list| HeaderPair::print_of(list)) {
        Some(listed) if listed != print => print.0 ^ listed.0.rotate_left(23) ^ 0x6c69_7374,
        _ => print.0,
    }
}

fn shown(value: Option<&Piece>) -> String {
    value.map_or_else(|| "null".to_owned(), ToString::to_string)
}

fn ingested_ms(text: &str) -> Option<i64> {
    Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
}

/// When a record with these headers was ingested: by the first header of that name, or as it was told.
pub(super) fn ingested(list: Option<&Vec<HeaderPair>>, told_ms: Option<i64>) -> Option<i64> {
    let Some(list) = list else { return told_ms };
    ingested_ms(list.iter().find(|pair| pair.is("ingested_at"))?.text()?)
}

impl Index {
    /// Takes note of an invocation: when it was, and which headers it came with.
    pub(super) fn note_invoked(&mut self, op: u64, t_us: u64, list: Option<&Vec<HeaderPair>>) {
        if self.dates_ingestion() {
            // Of two invocations of one number, which is told elsewhere, the first one counts.
            let invoked = &mut self.headers.times(op).0;
            *invoked = (*invoked).min(ms(t_us));
        }
        if let Some(list) = list {
            self.headers.own.insert(op, HeaderPair::print_of(list));
        }
    }

    /// Takes note of a completion.
    pub(super) fn note_completed(&mut self, op: u64, t_us: u64) {
        if self.dates_ingestion() {
            self.headers.times(op).1 = ms(t_us);
        }
    }

    /// A receipt named no ingestion id.
    pub(super) fn note_receipt_without_id(&mut self, op: u64) {
        self.headers.receipts_without_id.push(op);
    }

    fn dates_ingestion(&self) -> bool {
        let promised = &self.header.promises.headers;
        self.is_full() && promised.iter().any(|header| header.is == PromisedValue::IngestedAt)
    }

    fn fault(
        &mut self,
        lane: usize,
        offset: u64,
        (kind, name): (HeaderFault, &str),
        example: impl FnOnce() -> String,
    ) {
        let key = (lane, kind, name.to_owned());
        self.headers.logged.entry(key).or_default().add(offset, example);
    }

    /// Looks at the headers of a record of the log, as far as they can be judged without its operation.
    pub(super) fn look_at_headers(&mut self, lane: usize, fact: &Logged) {
        let listed = fact.header_list.as_deref().and_then(HeaderPair::print_of);
        if let Some(listed) = listed.filter(|listed| *listed != fact.headers) {
            let text =
                || format!("the fingerprint {} is not that of the list, {listed}", fact.headers);
            self.fault(lane, fact.offset, (HeaderFault::List, "header_list"), text);
        }
        for index in 0..self.header.promises.headers.len() {
            let promised = self.header.promises.headers[index].clone();
            let name = promised.name.as_str();
            let Some(list) = &fact.header_list else {
                self.look_without_list(lane, name, &promised.is, fact);
                continue;
            };
            let mut there = list.iter().filter(|pair| pair.is(name)).peekable();
            if there.peek().is_none() {
                let text = || format!("no header `{}`", name.escape_debug());
                self.fault(lane, fact.offset, (HeaderFault::Missing, name), text);
                continue;
            }
            let mut times = 0;
            for pair in there {
                times += 1;
                self.look_at_value(lane, fact, pair, &promised.is);
            }
            if times > 1 {
                let text = || format!("`{}` is there {times} times", name.escape_debug());
                self.fault(lane, fact.offset, (HeaderFault::Twice, name), text);
            }
        }
        if let Some(ms) = fact.timestamp_ms.filter(|ms| *ms != UNTOLD_MS && self.dates_ingestion())
        {
            let lane = u32::try_from(lane).unwrap_or(u32::MAX);
            let of = Claimed::Timestamp;
            self.headers.claims.push(Claim { lane, offset: fact.offset, ms, of });
        }
        if self.header.promises.headers.is_empty() && !fact.missing_headers.is_empty() {
            let names = fact.missing_headers.join(", ");
            let text = || format!("lacks {}", names.escape_debug());
            self.fault(lane, fact.offset, (HeaderFault::Missing, &names), text);
        }
    }

    fn look_without_list(&mut self, lane: usize, name: &str, is: &PromisedValue, fact: &Logged) {
        if fact.missing_headers.iter().any(|missing| missing == name) {
            let text = || format!("no header `{}`", name.escape_debug());
            return self.fault(lane, fact.offset, (HeaderFault::Missing, name), text);
        }
        match is {
            PromisedValue::Fixed(value) => {
                for HeaderPair(_, wrong) in fact.wrong_headers.iter().filter(|pair| pair.is(name)) {
                    let wrong = shown(wrong.as_ref());
                    let text = || format!("`{name}` is {wrong}, promised is `{value}`");
                    self.fault(lane, fact.offset, (HeaderFault::Differs, name), text);
                }
            }
            PromisedValue::IngestionId if fact.ingestion_id.is_some() => {}
            PromisedValue::IngestionId => {
                let text = || format!("`{name}` holds no text");
                self.fault(lane, fact.offset, (HeaderFault::Differs, name), text);
            }
            PromisedValue::IngestedAt => match fact.ingested_ms {
                Some(ms) => self.claim(lane, fact.offset, ms),
                None => {
                    let text = || format!("`{name}` is no RFC 3339 instant");
                    self.fault(lane, fact.offset, (HeaderFault::Differs, name), text);
                }
            },
        }
    }

    fn look_at_value(&mut self, lane: usize, fact: &Logged, pair: &HeaderPair, is: &PromisedValue) {
        let (text, value) = (pair.text(), shown(pair.1.as_ref()));
        let name = String::from_utf8_lossy(pair.0.whole().unwrap_or_default()).into_owned();
        let offset = fact.offset;
        match is {
            PromisedValue::Fixed(fixed) if text == Some(fixed) => {}
            PromisedValue::Fixed(fixed) => {
                let example = || format!("`{name}` is {value}, promised is `{fixed}`");
                self.fault(lane, offset, (HeaderFault::Differs, &name), example);
            }
            PromisedValue::IngestionId if text == fact.ingestion_id.as_deref() => {}
            PromisedValue::IngestionId => {
                let told = fact.ingestion_id.as_deref().unwrap_or("none").escape_debug();
                let example =
                    || format!("`{name}` is {value}, the record's id was told as `{told}`");
                self.fault(lane, offset, (HeaderFault::Id, &name), example);
            }
            PromisedValue::IngestedAt => match text.and_then(ingested_ms) {
                Some(ms) => self.claim(lane, offset, ms),
                None => {
                    let example = || format!("`{name}` is {value}, which is no RFC 3339 instant");
                    self.fault(lane, offset, (HeaderFault::Differs, &name), example);
                }
            },
        }
    }

    /// A record says when it was ingested.
    fn claim(&mut self, lane: usize, offset: u64, ms: i64) {
        if self.is_full() {
            let lane = u32::try_from(lane).unwrap_or(u32::MAX);
            return self.headers.claims.push(Claim { lane, offset, ms, of: Claimed::Header });
        }
        // Too many to remember when each was invoked: it was within the run, and before it was read.
        self.headers.dated += 1;
        self.compare_claim(lane, (offset, ms, Claimed::Header), (0, self.end_us), "the run");
    }

    fn compare_claim(
        &mut self,
        lane: usize,
        (offset, ms, of): (u64, i64, Claimed),
        window: (u64, u64),
        whose: &str,
    ) {
        let Some(started_ms) = self.started_at_ms else { return };
        let at_us = ms.saturating_sub(started_ms).saturating_mul(1000);
        let (low, high) = self.clock_of_processes();
        let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        let off = |allowance: i64| {
            at_us.saturating_add(high).saturating_add(allowance) < signed(window.0)
                || at_us.saturating_add(low).saturating_sub(allowance) > signed(window.1)
        };
        // Nearly every claim is right to the resolution, and of those nobody asks for the topic's settings.
        if off(RESOLUTION_US) && off(of.allowance_us(|| self.keeps_producers_time(lane))) {
            let text = || {
                let wall = |us: i64| {
                    let at = chrono::DateTime::from_timestamp_millis(
                        started_ms.saturating_add(us / 1000),
                    );
                    at.map_or_else(|| format!("{us} µs"), |at| at.to_rfc3339())
                };
                format!(
                    "`{}` is {}, {whose} lasted from {} to {}",
                    of.name(),
                    wall(at_us),
                    wall(signed(window.0)),
                    wall(signed(window.1))
                )
            };
            self.fault(lane, offset, (of.fault(), of.name()), text);
        }
    }

    /// By what was read back of it, a topic keeps the timestamps that its producers set.
    fn keeps_producers_time(&self, lane: usize) -> bool {
        let of = format!("topic {}", self.lanes[lane].topic);
        let mut told = self.rare.configuration.iter().filter(|told| told.fact.of == of);
        told.any(|told| {
            told.fact.properties.get("message.timestamp.type").is_some_and(|is| is == "CreateTime")
        })
    }

    /// How far the clock of the processes under test may stand from the recorder's.
    pub(crate) fn clock_of_processes(&self) -> (i64, i64) {
        let told = self.rare.clocks.iter().filter(|clock| clock.fact.of == "processes");
        let widest = told.fold(None, |span: Option<(i64, i64)>, clock| {
            let (low, high) = span.unwrap_or((i64::MAX, i64::MIN));
            Some((low.min(clock.fact.low_us), high.max(clock.fact.high_us)))
        });
        widest.unwrap_or((-UNMEASURED_US, UNMEASURED_US))
    }

    /// Compares the ingestion id that a line of a part bears beside its headers with that in them.
    pub(super) fn look_at_line(&mut self, zone: usize, part: usize, lane: usize, fact: &Stored) {
        let Some(list) = &fact.header_list else { return };
        let header = list.iter().find(|pair| pair.is("ingestion_id"));
        let said = header.and_then(HeaderPair::text);
        if said == fact.ingestion_id.as_deref() {
            return;
        }
        let told = fact.ingestion_id.as_deref().unwrap_or("none").escape_debug().to_string();
        let header = header.map_or_else(|| "absent".to_owned(), |pair| shown(pair.1.as_ref()));
        let name = self.parts[part].name.escape_debug().to_string();
        self.headers.lines.entry((zone, lane)).or_default().add(fact.offset, || {
            format!("line {} of `{name}` says `{told}`, its header is {header}", fact.line)
        });
    }

    /// What was too early to compare, and what was not the producer's to promise.
    pub(super) fn settle_headers(&mut self) {
        for claim in std::mem::take(&mut self.headers.claims) {
            let lane = claim.lane as usize;
            let op = self.lanes[lane].op_at(claim.offset).unwrap_or(NO_OP);
            if self.headers.own.contains_key(&op) {
                continue;
            }
            let (window, end_us) = (self.headers.window(op), self.end_us);
            let us = |ms: u32| match ms {
                u32::MAX => end_us,
                ms => (u64::from(ms) + 1) * 1000,
            };
            let (window, whose) = match window {
                Some((invoked, completed)) => {
                    // A request that was given up may reach the log later.
                    let given_up =
                        claim.of == Claimed::Timestamp
                            && self.ops.kept.get(&op).is_some_and(|kept| {
                                !matches!(kept.end, Some(End::Acknowledged(..)))
                            });
                    let completed = if given_up { u32::MAX } else { completed };
                    let open = completed == u32::MAX;
                    let whose =
                        if open { "its operation, which has no end," } else { "its operation" };
                    ((u64::from(invoked) * 1000, us(completed)), whose)
                }
                None => ((0, end_us), "the run"),
            };
            self.headers.dated += u64::from(claim.of == Claimed::Header);
            self.compare_claim(lane, (claim.offset, claim.ms, claim.of), window, whose);
        }
        self.headers.times = HashMap::default();
        let mut own: BTreeMap<usize, Vec<Range>> = BTreeMap::new();
        if !self.headers.own.is_empty() {
            for (number, lane) in self.lanes.iter().enumerate() {
                for (offset, seen) in lane.log_records() {
                    let op = if seen.op == NO_OP { lane.op_at(offset) } else { Some(seen.op) };
                    if op.is_some_and(|op| self.headers.own.contains_key(&op)) {
                        own.entry(number).or_default().push((offset, offset));
                    }
                }
            }
        }
        let own: BTreeMap<usize, RangeSet> =
            own.into_iter().map(|(lane, ranges)| (lane, RangeSet::of(ranges))).collect();
        let nothing = RangeSet::default();
        for ((lane, _, _), faulty) in &mut self.headers.logged {
            faulty.settle(own.get(lane).unwrap_or(&nothing));
        }
        self.headers.logged.retain(|_, faulty| !faulty.offsets.is_empty());
        self.headers.receipts_without_id.sort_unstable();
        self.headers.lines.values_mut().for_each(|faulty| faulty.settle(&nothing));
    }
}

/// A letter's ingestion id as its headers have it, if they are listed.
#[must_use]
pub fn id_in_letter(letter: &DeadLetter) -> Option<Option<&str>> {
    let list = letter.header_list.as_ref()?;
    Some(list.iter().find(|pair| pair.is("ingestion_id")).and_then(HeaderPair::text))
}
