//! Totals: the parts that an audit counts, and the counters of metrics, against what stands in the store and in
//! the dead-letter topic.
//!
//! A counter counts what its process did since it was started. Together all that processes counted is no more
//! than what was done; and where none of them was started twice, no less than what had been done some time
//! before the first of their last readings.

use std::collections::BTreeMap;

use super::super::case::{Case, anomalous, quoted, seconds};
use super::super::evidence::{dead_letters_read, zone_read};
use super::METRICS_AGE_US;
use crate::index::{At, Base, Index, Part, shifted};
use streamlake_history::event::{
    GroupPromise, ObjectRole, ProcessChange, ReportSource, TotalsReport,
};

/// What was done, and when it was: the latest instant that it can have been.
struct Done {
    at_us: i64,
    parts: u64,
    records: u64,
    bytes: u64,
}

pub(super) fn judge(index: &Index, case: &mut Case<'_>, group: usize, promise: &GroupPromise) {
    let zone = promise.raw_zone.as_deref().filter(|zone| zone_read(index, zone));
    let own = |part: &&Part| {
        part.role == ObjectRole::Part
            && !part.during_run
            && index.zones[part.zone].groups.contains(&group)
    };
    let late = index.clocks.of(Base::Store).high;
    let stored: Option<Vec<Done>> = zone.map(|_| {
        let done = |part: &Part| Done {
            at_us: shifted(part.created_us, late),
            parts: 1,
            records: part.lanes.values().map(|lane| lane.records).sum(),
            bytes: part.bytes,
        };
        index.parts.iter().filter(own).map(done).collect()
    });
    let topic = promise.dead_letter_topic.as_deref();
    let letters: Option<Vec<i64>> =
        topic.filter(|topic| dead_letters_read(index, topic)).map(|_| {
            let late = index.clocks.of(index.letter_base()).high;
            let own =
                index.dead.iter().filter(|dead| dead.letter.group.as_ref() == Some(&promise.group));
            own.map(|dead| shifted(dead.letter.created_us, late)).collect()
        });
    let told = |source: ReportSource| {
        let all = index.rare.totals.iter();
        all.filter(move |told| told.fact.source == source && told.fact.group == promise.group)
    };
    // A zone that several groups share is counted as a whole by each of their audits.
    let mut own_zones = index.zones.iter().filter(|zone| zone.groups.contains(&group));
    let alone = own_zones.all(|zone| zone.groups.len() == 1);
    if let Some(stored) = stored.as_ref().filter(|_| alone) {
        let sum = |of: fn(&Done) -> u64| stored.iter().map(of).sum::<u64>();
        let truth = [("parts", sum(|done| done.parts)), ("part_bytes", sum(|done| done.bytes))];
        for said in told(ReportSource::Audit) {
            for (what, is) in truth {
                let number = said.fact.numbers.get(what).copied();
                if number != i64::try_from(is).ok() {
                    let says =
                        number.map_or("does not tell".to_owned(), |n| format!("says {n} as"));
                    let words = format!("the audit {says} its {what}, and there are {is}");
                    find(case, promise, "audit-miscounts", &words, None);
                }
            }
        }
    }
    if let Some((process, what, at_us)) = falls(index, told(ReportSource::Metrics)) {
        let words = format!("the counter of {what} of {} fell while it ran on", quoted(process));
        find(case, promise, "metrics-mislead", &words, Some(at_us));
    }
    let counted = Counted::of(index, promise, told(ReportSource::Metrics));
    let sums = [
        ("parts", stored.as_ref().map(|all| sum_by(all, |done| done.parts, counted.since))),
        ("records", stored.as_ref().map(|all| sum_by(all, |done| done.records, counted.since))),
        ("bytes", stored.as_ref().map(|all| sum_by(all, |done| done.bytes, counted.since))),
        ("dead_letters", letters.as_ref().map(|all| letters_by(all, counted.since))),
    ];
    for (what, bounds) in sums {
        let (Some((least, most)), Some(&is)) = (bounds, counted.sums.get(what)) else { continue };
        if is > most || is < least {
            let range = if least == most {
                format!("it was {most}")
            } else {
                format!("it was between {least} and {most}")
            };
            let words = format!("counters of metrics sum up to {is} {what}, and {range}");
            find(case, promise, "metrics-mislead", &words, counted.last_us);
        }
    }
}

/// A counter that fell although its process was not started again.
fn falls<'a>(
    index: &Index,
    readings: impl Iterator<Item = &'a At<TotalsReport>>,
) -> Option<(&'a str, &'a str, u64)> {
    let mut last: BTreeMap<&str, &At<TotalsReport>> = BTreeMap::new();
    for reading in readings {
        let process = reading.fact.process.as_str();
        let Some(before) = last.insert(process, reading) else { continue };
        let again = index.rare.processes.iter().any(|state| {
            state.fact.name == process
                && state.fact.state == ProcessChange::Started
                && (before.t_us..=reading.t_us).contains(&state.t_us)
        });
        let fell = |(name, was): (&'a String, &i64)| {
            let now = reading.fact.numbers.get(name);
            now.is_none_or(|now| now < was).then_some(name.as_str())
        };
        if let Some(what) = before.fact.numbers.iter().filter(|_| !again).find_map(fell) {
            return Some((process, what, reading.t_us));
        }
    }
    None
}

/// All of it, and what had been done by an instant.
fn sum_by(all: &[Done], of: fn(&Done) -> u64, since: Option<i64>) -> (u64, u64) {
    let by = all.iter().filter(|done| since.is_some_and(|since| done.at_us <= since));
    (by.map(of).sum(), all.iter().map(of).sum())
}

fn letters_by(all: &[i64], since: Option<i64>) -> (u64, u64) {
    let by = all.iter().filter(|at| since.is_some_and(|since| **at <= since)).count();
    (by as u64, all.len() as u64)
}

/// What the counters of a group's processes sum up to.
struct Counted<'a> {
    sums: BTreeMap<&'a str, u64>,
    /// What had been done by then all of them count.
    since: Option<i64>,
    last_us: Option<u64>,
}

impl<'a> Counted<'a> {
    fn of(
        index: &Index,
        promise: &GroupPromise,
        readings: impl Iterator<Item = &'a At<TotalsReport>>,
    ) -> Self {
        let mut by_process: BTreeMap<&str, Vec<&At<TotalsReport>>> = BTreeMap::new();
        for reading in readings {
            by_process.entry(reading.fact.process.as_str()).or_default().push(reading);
        }
        let starts = |name: &str| {
            let own = index.rare.processes.iter().filter(|state| {
                state.fact.name == name && state.fact.state == ProcessChange::Started
            });
            own.map(|state| state.t_us).collect::<Vec<u64>>()
        };
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (process, readings) in &by_process {
            // The last reading of each of its lives.
            let mut last: BTreeMap<usize, &At<TotalsReport>> = BTreeMap::new();
            let begins = starts(process);
            for reading in readings {
                let life = begins.partition_point(|begin| *begin <= reading.t_us);
                last.insert(life, reading);
            }
            for (name, number) in last.values().flat_map(|reading| &reading.fact.numbers) {
                *sums.entry(name).or_default() += u64::try_from(*number).unwrap_or(0);
            }
        }
        let once =
            |member: &String| starts(member).len() == 1 && by_process.contains_key(&**member);
        let all_once = !promise.members.is_empty() && promise.members.iter().all(once);
        let last = by_process.values().filter_map(|readings| Some(readings.last()?.t_us));
        let first_of_last = last.min();
        let since = first_of_last
            .filter(|_| all_once)
            .map(|at| shifted(at, 0).saturating_sub(METRICS_AGE_US.cast_signed()));
        Self { sums, since, last_us: first_of_last }
    }
}

fn find(
    case: &mut Case<'_>,
    promise: &GroupPromise,
    anomaly: &str,
    words: &str,
    at_us: Option<u64>,
) {
    let when = at_us.map_or(String::new(), |at| format!(" by {}", seconds(at)));
    let text = format!("group {}: {words}{when}", quoted(&promise.group));
    let mut finding = anomalous(anomaly, text);
    finding.group = Some(promise.group.clone());
    finding.at_us = at_us;
    case.find(finding);
}
