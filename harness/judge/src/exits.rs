//! Exits: a process ends when it is asked to, and then with exit code 0.
//!
//! What was asked stands in the fact of a process's end. Histories of version 1 did not say it: there,
//! what ended after the drain began, or in a fault window that was aimed at it, was asked to.
//!
//! In a history that others wrote, a signal may have been anybody's: a doubt. An exit code is the
//! process's own.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, anomalous, count, quoted, seconds};
use super::evidence::foreign;
use super::recovered::windows;
use crate::index::{At, End, Index};
use streamlake_history::event::{
    Ask, Evidence, Header, ProcessChange, ProcessEnd, ProcessRole, ProcessState,
};

/// Exit code of a Rust program that panicked.
const PANIC: i32 = 101;
const SIGKILL: i32 = 9;

/// Processes of the pipeline are under test, and somebody watches them.
pub(super) fn promised(header: &Header) -> bool {
    let promises = &header.promises;
    let any = !promises.groups.is_empty() || promises.operations > 0;
    any && (!foreign(header) || promises.evidence.contains(&Evidence::Processes))
}

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let mut by_name: BTreeMap<&str, Vec<&At<ProcessState>>> = BTreeMap::new();
    for process in &index.rare.processes {
        by_name.entry(&process.fact.name).or_default().push(process);
    }
    let (mut starts, mut ends) = (0, 0);
    for (name, facts) in &by_name {
        let of = |change| facts.iter().filter(move |p| p.fact.state == change);
        let exits: Vec<_> = of(ProcessChange::Exited).copied().collect();
        let started = of(ProcessChange::Started).count();
        (starts, ends) = (starts + started, ends + exits.len());
        if started > exits.len() && !foreign(&index.header) {
            case.doubt(format!("the end of process {} was not seen", quoted(name)));
        }
        let bad: Vec<_> = exits.iter().filter_map(|exit| wrong(index, case, exit)).collect();
        report(case, name, &bad);
    }
    never_started(index, case, &by_name.keys().copied().collect());
    case.figure("processes_started", starts as u64);
    case.figure("processes_ended", ends as u64);
    format!("{} of processes, {}", count(starts as u64, "start"), count(ends as u64, "end"))
}

/// An end that should not be: instant, anomaly, and what was expected instead.
type Bad = (u64, &'static str, String);

fn wrong(index: &Index, case: &mut Case<'_>, exit: &At<ProcessState>) -> Option<Bad> {
    let fact = &exit.fact;
    let Some(end) = fact.end.or_else(|| fact.status.as_deref().and_then(end_in_words)) else {
        case.doubt(format!("how process {} ended was not recorded", quoted(&fact.name)));
        return None;
    };
    if foreign(&index.header) && matches!(end, ProcessEnd::Signal(_)) {
        let (name, word) = (quoted(&fact.name), words(end));
        case.doubt(format!("process {name} ended by {word}, and nobody said who sent it"));
        return None;
    }
    let asked = asked(index, exit);
    let bad = |anomaly, expected: &str| {
        let text = format!("ended with {} at {}: {expected}", words(end), seconds(exit.t_us));
        Some((exit.t_us, anomaly, text))
    };
    let is_producer = fact.role() == Some(ProcessRole::Producer);
    match (asked, end) {
        (Some(Ask::Kill), ProcessEnd::Signal(SIGKILL)) if !after_drain(index, exit.t_us) => None,
        (Some(Ask::Kill), ProcessEnd::Signal(SIGKILL)) => {
            bad("had-to-be-killed", "it did not end in time when it was asked to")
        }
        (Some(_), ProcessEnd::Code(0)) => None,
        (None, ProcessEnd::Code(0)) if fact.role() == Some(ProcessRole::Replay) => None,
        (None, ProcessEnd::Code(0)) if is_producer => match fed(index, exit.t_us) {
            true => None,
            false => bad("ended-before-its-input", "its input had not ended"),
        },
        // It says by its exit code, too, that it could not vouch for every operation.
        (None, ProcessEnd::Code(1)) if is_producer && told_a_failure(index) => {
            match fed(index, exit.t_us) {
                true => None,
                false => bad("ended-before-its-input", "its input had not ended"),
            }
        }
        (_, ProcessEnd::Code(PANIC)) => bad("panicked", "it panicked"),
        (Some(Ask::Stop), _) => bad("stopped-in-disorder", "an orderly stop ends with exit code 0"),
        (None, _) if is_producer => bad("producer-failed", "a producer ends with exit code 0"),
        (None, _) if fact.role() == Some(ProcessRole::Replay) => {
            bad("replay-failed", "a replay ends with exit code 0")
        }
        (_, ProcessEnd::Signal(_)) => bad("died", "nobody of the harness sent that signal"),
        (_, ProcessEnd::Code(_)) => bad("ended-unasked", "nobody had asked it to end"),
    }
}

/// Some operation was reported as failed or unknown.
fn told_a_failure(index: &Index) -> bool {
    let mut ends = index.ops.kept.values().map(|kept| kept.end);
    ends.any(|end| matches!(end, Some(End::Failed | End::Unknown)))
}

/// The producer's input had ended: nothing was to be handed over any more. An operation is recorded
/// before it is handed over, so that the one that found nobody is there.
fn fed(index: &Index, at_us: u64) -> bool {
    index.invocations.last().is_none_or(|last| at_us >= last)
}

fn phase(index: &Index, names: &[&str]) -> Option<u64> {
    let mut phases = index.rare.phases.iter().filter(|p| names.contains(&p.fact.as_str()));
    phases.next().map(|phase| phase.t_us)
}

fn after_drain(index: &Index, at_us: u64) -> bool {
    phase(index, &["drain"]).is_some_and(|drain| at_us >= drain)
}

/// What had been asked of a process when it ended.
fn asked(index: &Index, exit: &At<ProcessState>) -> Option<Ask> {
    let fact = &exit.fact;
    if index.header.version > 1
        || fact.asked.is_some()
        || fact.role() != Some(ProcessRole::Consumer)
    {
        return fact.asked;
    }
    let end = fact.end.or_else(|| fact.status.as_deref().and_then(end_in_words));
    let target = |fault: u32| {
        let mut planned = index.header.promises.faults.iter();
        planned.any(|known| known.fault == fault && known.target == fact.name)
    };
    let inside = windows(index).iter().any(|window| {
        target(window.fault)
            && (window.begin..=window.healed.unwrap_or(u64::MAX)).contains(&exit.t_us)
    });
    let stopped = phase(index, &["drain", "final-read"]).is_some_and(|at| exit.t_us >= at);
    let mut replays = index.rare.processes.iter();
    let replay = replays.any(|p| p.fact.role() == Some(ProcessRole::Replay) && p.t_us >= exit.t_us);
    match end {
        Some(ProcessEnd::Signal(SIGKILL)) if inside || stopped => Some(Ask::Kill),
        _ if inside || stopped || replay => Some(Ask::Stop),
        _ => None,
    }
}

fn report(case: &mut Case<'_>, name: &str, bad: &[Bad]) {
    let Some((at_us, anomaly, text)) = bad.first() else { return };
    let (anomaly, message) = match bad.len() {
        1 => (*anomaly, format!("process {} {text}", quoted(name))),
        times => {
            ("crash-loop", format!("process {} {text}; {times} such ends in all", quoted(name)))
        }
    };
    let mut finding = anomalous(anomaly, message);
    finding.at_us = Some(*at_us);
    finding.evidence = bad.iter().take(20).map(|(_, _, text)| text.clone()).collect();
    case.find(finding);
}

/// Members that were promised and never came; without any process fact nobody looked.
fn never_started(index: &Index, case: &mut Case<'_>, known: &BTreeSet<&str>) {
    if known.is_empty() {
        return;
    }
    for group in &index.header.promises.groups {
        for member in group.members.iter().filter(|member| !known.contains(member.as_str())) {
            let (member, name) = (quoted(member), quoted(&group.group));
            let text = format!("process {member}, a member of group {name}, never started");
            let mut finding = anomalous("never-started", text);
            finding.group = Some(group.group.clone());
            case.find(finding);
        }
    }
}

/// An end as version 1 spelled it: `exit status: 101`, `signal: 9 (SIGKILL)`.
fn end_in_words(status: &str) -> Option<ProcessEnd> {
    let number = |text: &str| text.split_whitespace().next().and_then(|n| n.parse().ok());
    let code = status.strip_prefix("exit status:").or_else(|| status.strip_prefix("exit code:"));
    match code {
        Some(text) => number(text).map(ProcessEnd::Code),
        None => status.strip_prefix("signal:").and_then(number).map(ProcessEnd::Signal),
    }
}

fn words(end: ProcessEnd) -> String {
    match end {
        ProcessEnd::Code(code) => format!("exit code {code}"),
        ProcessEnd::Signal(signal) => format!("signal {signal}"),
    }
}
