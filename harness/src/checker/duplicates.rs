//! Duplicates: at least once allows them, but each has a cause.
//!
//! In the log: an operation that stands there more than once was repeated by its producer; that is
//! an anomaly where an idempotent producer meets a broker that deduplicates. In a raw zone: an offset
//! stored again is a *replay* if an operator asked for one, else a *redelivery*, which needs a
//! disturbance (a fault window, a process that came or went, a change of assignment, a part that did
//! not answer) near it, and may not reach below the offset that was committed when the disturbance
//! began: what was committed before is not delivered again.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, EVIDENCE_MAX, anomalous, count, quoted, seconds, spelled};
use super::commit_frontier::CLOCK_US;
use crate::history::event::{AssignmentChange, Evidence, FaultStage, ProcessChange, ProcessRole};
use crate::history::index::{GroupLane, Index, NO_OP, RangeSet, Surplus};

/// What may make a consumer deliver again.
struct Disturbance {
    begin_us: u64,
    end_us: u64,
    label: String,
}

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let records: u64 = index.lanes.iter().map(|lane| lane.logged().len()).sum();
    if records == 0 {
        case.doubt("the log holds no record");
    }
    let logged = in_log(index, case);
    let mut stored = 0;
    let mut causes: BTreeMap<String, u64> = BTreeMap::new();
    for (group, promise, lanes) in index.promised_groups() {
        let disturbances = disturbances(index, group);
        for (number, _) in index.promised_lanes() {
            let Some(known) = lanes.get(&number) else {
                continue;
            };
            let explained = explain(index, known, &disturbances);
            stored += known.surplus.iter().map(|s| s.range.1 - s.range.0 + 1).sum::<u64>();
            for (cause, records) in &explained.causes {
                *causes.entry(cause.clone()).or_insert(0) += records;
            }
            report(index, case, &promise.group, number, &explained);
        }
    }
    if logged > 0 {
        causes.insert("producer retry".to_owned(), logged);
    }
    case.figure("logged_duplicates", logged);
    case.figure("stored_duplicates", stored);
    for (cause, records) in &causes {
        case.figure(&format!("cause {cause}"), *records);
    }
    let spelled: Vec<String> = causes.iter().map(|(c, n)| format!("{n} by {c}")).collect();
    match spelled.is_empty() {
        true => "none".to_owned(),
        false => format!("{logged} in the log, {stored} delivered again: {}", spelled.join(", ")),
    }
}

/// Surplus copies by cause over log and groups, for the tally.
pub(super) fn by_cause(index: &Index) -> BTreeMap<String, u64> {
    let mut causes: BTreeMap<String, u64> = BTreeMap::new();
    let logged = log_surplus(index);
    if logged > 0 {
        causes.insert("producer retry".to_owned(), logged);
    }
    for (group, _, lanes) in index.promised_groups() {
        let disturbances = disturbances(index, group);
        for (number, _) in index.promised_lanes() {
            let Some(known) = lanes.get(&number) else {
                continue;
            };
            for (cause, records) in explain(index, known, &disturbances).causes {
                *causes.entry(cause).or_insert(0) += records;
            }
        }
    }
    causes
}

/// Records of the log that repeat an operation, or an ingestion id where no operation is named.
pub(super) fn log_surplus(index: &Index) -> u64 {
    let named: u64 = index.ops.logged_again.values().sum();
    let nameless: u64 = index.ops.nameless.values().map(|&n| u64::from(n) - 1).sum();
    named + nameless
}

/// An operator asked for a replay before this instant: a process called `replay…` had started.
pub(super) fn replay_before(index: &Index, at_us: u64) -> bool {
    index
        .rare
        .processes
        .iter()
        .any(|p| p.fact.role() == Some(ProcessRole::Replay) && p.t_us <= at_us)
}

fn in_log(index: &Index, case: &mut Case<'_>) -> u64 {
    let surplus = log_surplus(index);
    if surplus == 0 || !index.header.promises.idempotent || !index.vouches(Evidence::Idempotence) {
        return surplus;
    }
    let mut placed = false;
    for (number, lane) in index.promised_lanes() {
        let mut set = Vec::new();
        for (offset, seen) in lane.log_records() {
            let again = match seen.op {
                NO_OP => index.ops.nameless.get(&seen.id).is_some_and(|&n| n > 1),
                op => index.ops.logged_again.contains_key(&op),
            };
            if again {
                set.push((offset, offset));
            }
        }
        let set = RangeSet::of(set);
        if !set.is_empty() {
            let text = format!(
                "{} of {} with an operation that the log holds more than once, although the producer \
                 is idempotent: {}",
                count(set.len(), "record"),
                index.lane_name(number),
                spelled(&set)
            );
            case.find_at("duplicate-in-log", None, number, &set, text);
            placed = true;
        }
    }
    if !placed {
        let text = count(surplus, "record");
        let text = format!(
            "{text} of the log repeat an ingestion id, although the producer is idempotent"
        );
        case.find(anomalous("duplicate-in-log", text));
    }
    surplus
}

/// All that may have made this group deliver again, the latest last.
fn disturbances(index: &Index, group: usize) -> Vec<Disturbance> {
    let slack = index.header.promises.recovery_within_us;
    let (mut all, mut windows) = (Vec::new(), Vec::new());
    for fault in &index.header.promises.faults {
        let at = |stage| super::fault_bit::step(index, fault.fault, stage);
        let Some(begin_us) = at(FaultStage::Injecting) else {
            continue;
        };
        let end_us = at(FaultStage::Healed).map_or(u64::MAX, |t| t.saturating_add(slack));
        let healed_us = at(FaultStage::Healed).unwrap_or(u64::MAX);
        let label = format!("{} (fault {})", fault.kind, fault.fault);
        windows.push((begin_us, healed_us, label.clone()));
        all.push(Disturbance { begin_us, end_us, label });
    }
    // What happened inside a fault window is part of it: the fault is the cause, the rest is detail.
    let mut instant = |t_us: u64, label: String| {
        let inside = windows.iter().filter(|(begin, end, _)| (*begin..=*end).contains(&t_us));
        let label = match inside.max_by_key(|(begin, _, _)| *begin) {
            Some((_, _, fault)) => format!("{fault}: {label}"),
            None => label,
        };
        all.push(Disturbance { begin_us: t_us, end_us: t_us.saturating_add(slack), label });
    };
    let mut started: BTreeSet<&str> = BTreeSet::new();
    let under_way = index.acks.first_from(0).unwrap_or(u64::MAX);
    for process in &index.rare.processes {
        let fact = &process.fact;
        if fact.role() != Some(ProcessRole::Consumer) || fact.state == ProcessChange::Continued {
            continue;
        }
        // The first start of a member disturbs nobody, unless there is something to take over.
        let first = fact.state == ProcessChange::Started && started.insert(&fact.name);
        if !first || process.t_us > under_way {
            instant(process.t_us, format!("{} {}", fact.name, fact.state.word()));
        }
    }
    let mut owned: BTreeMap<(&str, u32), ()> = BTreeMap::new();
    let name = &index.header.promises.groups[group].group;
    for change in index.rare.assignments.iter().filter(|a| &a.fact.group == name) {
        let place = (change.fact.topic.as_str(), change.fact.partition);
        let first = owned.insert(place, ()).is_none();
        if !(first && change.fact.change == AssignmentChange::Assigned) {
            instant(change.t_us, "rebalance".to_owned());
        }
    }
    for probe in index.rare.probes.iter().filter(|probe| !probe.fact.answered) {
        instant(probe.t_us, format!("{} not answering", probe.fact.target));
    }
    all.sort_by(|a, b| (a.begin_us, &a.label).cmp(&(b.begin_us, &b.label)));
    all
}

#[derive(Default)]
struct Explained {
    causes: BTreeMap<String, u64>,
    unexplained: Vec<Surplus>,
    committed: Vec<Surplus>,
}

fn explain(index: &Index, known: &GroupLane, disturbances: &[Disturbance]) -> Explained {
    let mut explained = Explained::default();
    for surplus in &known.surplus {
        let mut open = RangeSet::of([surplus.range]);
        if replay_before(index, surplus.again_us.saturating_add(CLOCK_US)) {
            let replayed = replayed(known, surplus, &open);
            *explained.causes.entry("replay".to_owned()).or_insert(0) += replayed.len();
            open = open.minus(&replayed);
        }
        let mut near = false;
        for disturbance in disturbances.iter().rev().filter(|d| touches(d, surplus)) {
            near = true;
            let committed = known.committed_at(disturbance.begin_us).unwrap_or(0);
            let caused = open.from(committed);
            if !caused.is_empty() {
                let cause = format!("redelivery after {}", disturbance.label);
                *explained.causes.entry(cause).or_insert(0) += caused.len();
                open = open.below(committed);
            }
        }
        for &range in open.ranges() {
            let rest = Surplus { range, ..*surplus };
            let cause = if near { "redelivery of committed records" } else { "unexplained" };
            *explained.causes.entry(cause.to_owned()).or_insert(0) += range.1 - range.0 + 1;
            if near { explained.committed.push(rest) } else { explained.unexplained.push(rest) }
        }
    }
    explained.causes.retain(|_, records| *records > 0);
    explained
}

/// What a reset of the offsets took back: everything from the lowest offset that a commit went back
/// to. Where no commit shows it, the replay accounts for all.
fn replayed(known: &GroupLane, surplus: &Surplus, open: &RangeSet) -> RangeSet {
    let resets = known
        .backwards
        .iter()
        .filter(|(at, _, _)| *at <= surplus.again_us.saturating_add(CLOCK_US));
    match resets.map(|&(_, _, to)| to).min() {
        Some(from) => open.from(from),
        None => open.clone(),
    }
}

/// A disturbance began before the second copy, and had not long ended when the first came to be.
fn touches(disturbance: &Disturbance, surplus: &Surplus) -> bool {
    disturbance.begin_us <= surplus.again_us.saturating_add(CLOCK_US)
        && disturbance.end_us >= surplus.first_us
}

fn report(index: &Index, case: &mut Case<'_>, group: &str, lane: usize, explained: &Explained) {
    let watched = !index.rare.processes.is_empty() || !index.rare.assignments.is_empty();
    let kinds = [
        (
            "redelivered-after-commit",
            "although they were committed before anything disturbed the group",
            &explained.committed,
        ),
        ("unexplained-duplicate", "although nothing disturbed the group", &explained.unexplained),
    ];
    for (anomaly, why, surplus) in kinds {
        let Some(first) = surplus.first() else {
            continue;
        };
        let set = RangeSet::of(surplus.iter().map(|s| s.range));
        let text = format!(
            "{} of {} delivered again to group {} {why}: {}",
            count(set.len(), "record"),
            index.lane_name(lane),
            quoted(group),
            spelled(&set)
        );
        if !watched {
            case.doubt(format!("{text}; but neither processes nor assignments were watched"));
            continue;
        }
        let finding = case.find_at(anomaly, Some(group), lane, &set, text);
        finding.at_us = Some(first.again_us);
        finding.evidence.extend(surplus.iter().take(EVIDENCE_MAX).map(|s| {
            let part = s.part.map(|n| quoted(&index.parts[n as usize].name));
            format!(
                "{}–{}: first at {}, again at {}{}",
                s.range.0,
                s.range.1,
                seconds(s.first_us),
                seconds(s.again_us),
                part.map(|name| format!(" in {name}")).unwrap_or_default()
            )
        }));
    }
}
