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
    let lives = Lives::of(index, told(ReportSource::Metrics));
    if let Some((process, what, at_us)) = lives.falls() {
        let words = format!("the counter of {what} of {} fell while it ran on", quoted(process));
        find(case, promise, "metrics-mislead", &words, Some(at_us));
    }
    let since = lives.counted_since(index, promise);
    let of_parts = |of: fn(&Done) -> u64| {
        let stored = stored.as_ref()?;
        Some(bounds(stored.iter().map(|done| (done.at_us, of(done))), since))
    };
    let of_letters = letters.as_ref().map(|all| bounds(all.iter().map(|at| (*at, 1)), since));
    let (sums, first_of_last) = (lives.sums(), lives.first_of_last());
    let known = [
        ("parts", of_parts(|done| done.parts)),
        ("records", of_parts(|done| done.records)),
        ("bytes", of_parts(|done| done.bytes)),
        ("dead_letters", of_letters),
    ];
    for (what, bounds) in known {
        let (Some((least, most)), Some(&is)) = (bounds, sums.get(what)) else { continue };
        if is > most || is < least {
            let range = if least == most {
                format!("it was {most}")
            } else {
                format!("it was between {least} and {most}")
            };
            let words = format!("counters of metrics sum up to {is} {what}, and {range}");
            find(case, promise, "metrics-mislead", &words, first_of_last);
        }
    }
}

/// What had been done by an instant, and all of it.
fn bounds(done: impl Iterator<Item = (i64, u64)>, since: Option<i64>) -> (u64, u64) {
    done.fold((0, 0), |(by, all), (at_us, many)| {
        let early = since.is_some_and(|since| at_us <= since);
        (by + if early { many } else { 0 }, all + many)
    })
}

/// The readings of a group's processes, in their order, by process and by how often it had been started then.
struct Lives<'a>(BTreeMap<(&'a str, usize), Vec<&'a At<TotalsReport>>>);

impl<'a> Lives<'a> {
    fn of(index: &Index, readings: impl Iterator<Item = &'a At<TotalsReport>>) -> Self {
        let mut lives: BTreeMap<(&str, usize), Vec<_>> = BTreeMap::new();
        for reading in readings {
            let process = reading.fact.process.as_str();
            let starts = starts(index, process).filter(|at| *at <= reading.t_us);
            lives.entry((process, starts.count())).or_default().push(reading);
        }
        Self(lives)
    }

    /// A counter that fell although its process was not started again.
    fn falls(&self) -> Option<(&'a str, &'a str, u64)> {
        self.0.iter().find_map(|((process, _), readings)| {
            readings.windows(2).find_map(|pair| {
                let (before, after) = (pair[0], pair[1]);
                let mut counters = before.fact.numbers.iter();
                let (name, _) = counters.find(|(name, was)| {
                    after.fact.numbers.get(*name).is_none_or(|now| now < *was)
                })?;
                Some((*process, name.as_str(), after.t_us))
            })
        })
    }

    fn last(&self) -> impl Iterator<Item = &'a At<TotalsReport>> + '_ {
        self.0.values().filter_map(|readings| readings.last().copied())
    }

    /// What the counters of all lives sum up to.
    fn sums(&self) -> BTreeMap<&'a str, u64> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, number) in self.last().flat_map(|reading| &reading.fact.numbers) {
            *sums.entry(name).or_default() += u64::try_from(*number).unwrap_or(0);
        }
        sums
    }

    fn first_of_last(&self) -> Option<u64> {
        self.last().map(|reading| reading.t_us).min()
    }

    /// What had been done by then is counted in the sums: none where a member was started twice, or was not read.
    fn counted_since(&self, index: &Index, promise: &GroupPromise) -> Option<i64> {
        let read = |member: &str| self.0.keys().any(|(process, _)| *process == member);
        let mut members = promise.members.iter();
        let all_once = !promise.members.is_empty()
            && members.all(|member| starts(index, member).count() == 1 && read(member));
        let first = self.first_of_last().filter(|_| all_once)?;
        Some(shifted(first, 0).saturating_sub(METRICS_AGE_US.cast_signed()))
    }
}

/// When a process was started.
fn starts<'b>(index: &'b Index, name: &'b str) -> impl Iterator<Item = u64> + 'b {
    let own =
        index.rare.processes.iter().filter(move |state| {
            state.fact.name == name && state.fact.state == ProcessChange::Started
        });
    own.map(|state| state.t_us)
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
