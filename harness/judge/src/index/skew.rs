//! Whose clock an instant was read from, and how far that clock may stand from the recorder's.
//!
//! A measured clock has the interval of its [`Clock`] facts. Of another one the history itself says
//! something: a fact is not learned before it happened, and nothing is stored, read or committed
//! before it was sent. What is left is assumed, and never enough to convict within it.

use std::collections::BTreeMap;

use super::{At, Index};
use streamlake_history::event::Clock;

/// Kafka and the stores stamp in milliseconds.
pub const RESOLUTION_US: u64 = 1000;
/// Nobody measured the clock of a process of a foreign history: hosts on one time service are closer.
const FOREIGN_SKEW_US: i64 = 1_000_000;
/// Parts of a testbed share one machine. Where nobody measured it is only known that they were not
/// further apart.
const NATIVE_SKEW_US: i64 = 250_000;
/// A clock of a testbed that is shown to be off by more is a doubt.
const NATIVE_SLEW_US: i64 = 50_000;

/// Whose clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// The recorder's.
    Recorder,
    /// That of the brokers.
    Broker,
    /// That of the store.
    Store,
    /// That of the processes under test.
    Processes,
    /// That of whoever stamped the dead letters, the broker or the producer: nobody said which.
    Letters,
    /// That of a process of a foreign history, by its number.
    Process(u16),
    /// Nobody said when.
    Untold,
}

/// What is known of a clock: what it stamped as `t` was between `t + low` and `t + high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// Lowest correction, microseconds.
    pub low: i64,
    /// Highest correction.
    pub high: i64,
    /// Of a measured one: the likeliest correction.
    pub likely: i64,
    /// Somebody measured it.
    pub measured: bool,
}

impl Skew {
    const NONE: Self = Self { low: 0, high: 0, likely: 0, measured: true };

    /// One clock or the other.
    fn or(self, other: Self) -> Self {
        let (low, high) = (self.low.min(other.low), self.high.max(other.high));
        let measured = self.measured && other.measured;
        Self { low, high, likely: low + (high - low) / 2, measured }
    }

    /// The likeliest correction: the middle of what all measurements allow, else the smallest possible.
    #[must_use]
    pub fn nominal(&self) -> i64 {
        match self.measured {
            true => self.likely,
            false => 0i64.clamp(self.low, self.high.max(self.low)),
        }
    }
}

/// An instant on the recorder's clock as far as it is known.
#[must_use]
pub fn shifted(at_us: u64, by: i64) -> i64 {
    i64::try_from(at_us).unwrap_or(i64::MAX).saturating_add(by)
}

/// Bounds that the facts themselves set to a correction, as they come in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    low: i64,
    high: i64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { low: i64::MIN, high: i64::MAX }
    }
}

impl Seen {
    /// Something stamped `at_us` happened no later than this. A stamp before the run's start stands as
    /// 0, and says nothing of how far before.
    pub(super) fn by(&mut self, at_us: u64, latest_us: u64) {
        if at_us == 0 {
            return;
        }
        self.high = self.high.min(difference(latest_us, at_us));
    }

    /// Something stamped `at_us` happened no earlier than this.
    pub(super) fn from(&mut self, at_us: u64, earliest_us: u64) {
        self.low = self.low.max(difference(earliest_us, at_us));
    }
}

fn difference(a: u64, b: u64) -> i64 {
    shifted(a, 0).saturating_sub(shifted(b, 0))
}

/// All clocks of a history.
#[derive(Debug, Clone, Default)]
pub struct Clocks {
    known: BTreeMap<Base, Skew>,
    /// Clocks that contradict what was measured of them, or that stand further apart than hosts do.
    pub impossible: Vec<(Base, String)>,
}

impl Clocks {
    /// What is known of a clock.
    #[must_use]
    pub fn of(&self, base: Base) -> Skew {
        match base {
            Base::Recorder => Skew::NONE,
            _ => self.known.get(&base).copied().unwrap_or(Skew {
                low: i64::MIN / 4,
                high: i64::MAX / 4,
                likely: 0,
                measured: false,
            }),
        }
    }

    /// An instant on the recorder's clock, as it likeliest was.
    #[must_use]
    pub fn nominal(&self, base: Base, at_us: u64) -> i64 {
        shifted(at_us, self.of(base).nominal())
    }
}

/// The hull of the measurements of clocks that are called so: a clock may drift between two of them. The
/// likeliest correction is one that all of them allow, if there is one: a measurement that was made while the
/// machine was busy is no more than a wide one.
fn measured(clocks: &[At<Clock>], names: &[&str]) -> Option<Skew> {
    let own = clocks.iter().map(|clock| &clock.fact).filter(|clock| {
        clock.low_us <= clock.high_us && names.iter().any(|name| clock.of.starts_with(name))
    });
    let own: Vec<&Clock> = own.collect();
    let lows = || own.iter().map(|clock| clock.low_us);
    let highs = || own.iter().map(|clock| clock.high_us);
    let (low, high) = (lows().min()?, highs().max()?);
    let common = (lows().max()?, highs().min()?);
    let (least, most) = if common.0 <= common.1 { common } else { (low, high) };
    Some(Skew { low, high, likely: least + (most - least) / 2, measured: true })
}

/// A clock of a testbed that nobody measured: bounded by what its facts show, and else assumed. One
/// that is shown to be behind is a doubt of its own; nobody is convicted by how far.
fn of_testbed(seen: Seen) -> Skew {
    let high = if seen.high < i64::MAX { seen.high } else { NATIVE_SKEW_US };
    Skew { low: seen.low.clamp(-NATIVE_SKEW_US, 0).min(high), high, likely: 0, measured: false }
}

fn of_stranger(seen: Seen) -> Skew {
    let low = seen.low.clamp(-FOREIGN_SKEW_US, 0);
    Skew { low, high: FOREIGN_SKEW_US, likely: 0, measured: false }
}

impl Index {
    /// Takes in what the facts show of the clocks: nothing is stored, read or committed before it was
    /// sent. Needs settled partitions, and groups that are not settled yet.
    pub(super) fn see_clocks(&mut self) {
        let mut seen = std::mem::take(&mut self.work.seen_clocks);
        let mut from = |base, at_us, lane: usize, offset| {
            if let Some(earliest_us) = self.lanes[lane].not_before(offset) {
                seen.entry(base).or_default().from(at_us, earliest_us);
            }
        };
        for part in self.parts.iter().filter(|part| !part.during_run) {
            for (&lane, span) in &part.lanes {
                from(part.base, part.created_us, lane, span.last);
            }
        }
        for lanes in &self.groups {
            for (&lane, known) in lanes {
                known.stamps().for_each(|(base, at_us, offset)| from(base, at_us, lane, offset));
            }
        }
        self.work.seen_clocks = seen;
    }

    /// Joins what was measured with what the facts show.
    pub(super) fn settle_clocks(&mut self) {
        let foreign = self.is_foreign();
        let mut clocks = Clocks::default();
        let seen = std::mem::take(&mut self.work.seen_clocks);
        let mut bases: Vec<Base> = seen.keys().copied().collect();
        bases.extend([Base::Broker, Base::Store, Base::Processes]);
        bases.sort_unstable();
        bases.dedup();
        for base in bases {
            let shown = seen.get(&base).copied().unwrap_or_default();
            let own = match base {
                Base::Broker => measured(&self.rare.clocks, &["broker"]),
                Base::Store => measured(&self.rare.clocks, &["store"]),
                Base::Processes => measured(&self.rare.clocks, &["processes"]),
                Base::Process(number) => {
                    let name = &self.processes[usize::from(number)];
                    let facts = self.rare.clocks.iter().filter(|clock| &clock.fact.of == name);
                    measured(&facts.cloned().collect::<Vec<_>>(), &[name])
                }
                Base::Recorder | Base::Untold | Base::Letters => continue,
            };
            let skew = match own {
                Some(skew) => skew,
                None if foreign => of_stranger(shown),
                None => of_testbed(shown),
            };
            let name = self.clock_name(base);
            let resolution = RESOLUTION_US.cast_signed();
            let allowed = match own {
                Some(skew) => (skew.low - resolution, skew.high + resolution),
                None if foreign => (-FOREIGN_SKEW_US, FOREIGN_SKEW_US),
                None => (-NATIVE_SLEW_US, NATIVE_SLEW_US),
            };
            let how =
                if own.is_some() { "it was measured otherwise" } else { "nobody measured it" };
            if shown.low > allowed.1 {
                let off = words(shown.low.unsigned_abs());
                let text = format!(
                    "the clock of {name} is at least {off} behind, by what it stamped before it could have happened; {how}"
                );
                clocks.impossible.push((base, text));
            } else if shown.high < allowed.0 {
                let off = words(shown.high.unsigned_abs());
                let text = format!(
                    "the clock of {name} is at least {off} ahead, by what was learned before it was stamped; {how}"
                );
                clocks.impossible.push((base, text));
            }
            clocks.known.insert(base, skew);
        }
        let (broker, processes) = (clocks.of(Base::Broker), clocks.of(Base::Processes));
        clocks.known.insert(Base::Letters, broker.or(processes));
        clocks.impossible.sort_by(|a, b| a.1.cmp(&b.1));
        self.clocks = clocks;
    }

    /// Whose clock the timestamps of dead letters are of, by what was read back of their topics.
    #[must_use]
    pub fn letter_base(&self) -> Base {
        let groups = self.header.promises.groups.iter();
        let topics: Vec<&String> =
            groups.filter_map(|group| group.dead_letter_topic.as_ref()).collect();
        let stamped = |topic: &&String, kind: &str| {
            let of = format!("topic {topic}");
            let mut told = self.rare.configuration.iter().filter(|told| told.fact.of == of);
            told.any(|told| {
                told.fact.properties.get("message.timestamp.type").is_some_and(|is| is == kind)
            })
        };
        let all = |kind| !topics.is_empty() && topics.iter().all(|topic| stamped(topic, kind));
        if all("LogAppendTime") {
            Base::Broker
        } else if all("CreateTime") {
            Base::Processes
        } else {
            Base::Letters
        }
    }

    /// Name of a clock for messages.
    #[must_use]
    pub fn clock_name(&self, base: Base) -> String {
        match base {
            Base::Recorder => "the recorder".to_owned(),
            Base::Broker => "the broker".to_owned(),
            Base::Store => "the store".to_owned(),
            Base::Processes => "the processes".to_owned(),
            Base::Letters => {
                "whoever stamped the dead letters, the broker or a producer,".to_owned()
            }
            Base::Process(number) => {
                format!("process `{}`", self.processes[usize::from(number)].escape_debug())
            }
            Base::Untold => "nobody".to_owned(),
        }
    }

    /// Others wrote the history: each process has a clock of its own.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.header.run.testbed == "foreign"
    }
}

/// A length of time.
fn words(us: u64) -> String {
    format!("{}.{:03} s", us / 1_000_000, us / 1000 % 1000)
}
