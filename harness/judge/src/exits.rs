//! Exits: a process ends when it is asked to, and then with exit code 0; a consumer that ends so has
//! committed what it delivered.
//!
//! What was asked stands in the fact of a process's end. Histories of version 1 did not say it: there,
//! what ended after the drain began, or in a fault window that was aimed at it, was asked to.
//!
//! In a history that others wrote, a signal may have been anybody's: a doubt, unless somebody says that it was
//! a kill. An exit code is the process's own.

mod by_nobody;
mod left;

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, anomalous, count, quoted, seconds};
use super::dead_letters::poison_places;
use super::evidence::{foreign, read_lanes};
use super::recovered::windows;
use crate::index::{At, End, GroupLane, Index};
use crate::verdict::{Finding, OffsetRange};
use streamlake_history::event::{
    Ask, ConsumerPromise, Evidence, Header, ProcessChange, ProcessEnd, ProcessRole, ProcessState,
};

/// Exit code of a Rust program that panicked.
const PANIC: i32 = 101;
const SIGKILL: i32 = 9;
/// What a shell and Java add to the number of a signal that they ended by.
const BY_SIGNAL: i32 = 128;
/// Anomalies of a process that ended by itself.
const UNASKED: [&str; 3] = ["panicked", "died", "ended-unasked"];

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
    let (mut starts, mut ends, mut deaths, mut drained) = (0, 0, 0, 0);
    for (name, facts) in &by_name {
        let of = |change| facts.iter().filter(move |p| p.fact.state == change);
        let exits: Vec<_> = of(ProcessChange::Exited).copied().collect();
        let started = of(ProcessChange::Started).count();
        (starts, ends) = (starts + started, ends + exits.len());
        if started > exits.len() && !foreign(&index.header) {
            case.doubt(format!("the end of process {} was not seen", quoted(name)));
        }
        let bad: Vec<_> = exits.iter().filter_map(|exit| wrong(index, case, exit)).collect();
        let bad = beyond_restarts(index, facts, bad, &mut deaths);
        report(index, case, (name, facts), &bad);
        drained += exits.iter().filter(|exit| left::judge(index, case, exit)).count();
    }
    by_nobody::judge(index, case);
    never_started(index, case, &by_name.keys().copied().collect());
    case.figure("processes_started", starts as u64);
    case.figure("processes_ended", ends as u64);
    case.figure("orderly_stops", drained as u64);
    let starts =
        format!("{} of processes, {}", count(starts as u64, "start"), count(ends as u64, "end"));
    match deaths {
        0 => starts,
        deaths => {
            case.figure("processes_restarted", deaths);
            let ends = count(deaths, "end");
            format!(
                "{starts}; {ends} of a process by itself, which was then started again as promised"
            )
        }
    }
}

/// What is promised of a process that is of somebody's own consumer.
fn promised_of<'a>(index: &'a Index, facts: &[&At<ProcessState>]) -> Option<&'a ConsumerPromise> {
    let group = facts.iter().find_map(|process| process.fact.group.as_ref())?;
    let mut groups = index.header.promises.groups.iter();
    groups.find(|known| known.group == *group)?.consumer.as_ref()
}

/// A process may end by itself as often as it is started again; once more, and all of them count.
fn beyond_restarts(
    index: &Index,
    facts: &[&At<ProcessState>],
    bad: Vec<Bad>,
    deaths: &mut u64,
) -> Vec<Bad> {
    let Some(promise) = promised_of(index, facts) else { return bad };
    let unasked = |bad: &&Bad| UNASKED.contains(&bad.1);
    let ends = bad.iter().filter(unasked).count();
    if ends == 0 || ends > promise.restarts_at_most as usize {
        return bad;
    }
    *deaths += ends as u64;
    bad.into_iter().filter(|bad| !unasked(&bad)).collect()
}

/// SIGILL, SIGABRT, SIGBUS, SIGFPE and SIGSEGV.
const OF_ITSELF: [i32; 5] = [4, 6, 7, 8, 11];

/// An end that should not be: instant, anomaly, and what was expected instead.
type Bad = (u64, &'static str, String);

fn wrong(index: &Index, case: &mut Case<'_>, exit: &At<ProcessState>) -> Option<Bad> {
    let fact = &exit.fact;
    let Some(end) = fact.end.or_else(|| fact.status.as_deref().and_then(end_in_words)) else {
        case.doubt(format!("how process {} ended was not recorded", quoted(&fact.name)));
        return None;
    };
    // Nobody sends the signals by which a process dies of itself.
    let sent = |signal: i32| fact.asked.is_some() || !OF_ITSELF.contains(&signal);
    let killed = fact.asked == Some(Ask::Kill) && end == ProcessEnd::Signal(SIGKILL);
    if foreign(&index.header)
        && !killed
        && matches!(end, ProcessEnd::Signal(signal) if sent(signal))
    {
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
        // A script that feeds it would take all of it for sent.
        (None | Some(Ask::Stop), ProcessEnd::Code(0))
            if is_producer && hid_a_failure(index, fact) =>
        {
            bad("exit-hides-failures", "it had reported operations as failed")
        }
        (Some(_), ProcessEnd::Code(0)) => None,
        (Some(Ask::Stop), end) if ended_by_the_signal(index, exit, end) => None,
        (None, ProcessEnd::Code(0))
            if matches!(fact.role(), Some(ProcessRole::Replay | ProcessRole::Audit)) =>
        {
            None
        }
        (None, ProcessEnd::Code(0)) if is_producer => match fed(index, exit.t_us) {
            true => None,
            false => bad("ended-before-its-input", "its input had not ended"),
        },
        // It says by its exit code, too, that it could not vouch for every operation.
        (None | Some(Ask::Stop), ProcessEnd::Code(1)) if is_producer && told_a_failure(index) => {
            match asked.is_some() || fed(index, exit.t_us) {
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
        // What is lost is for the other checks to find; one that they do not see was not there.
        (None, _) if fact.role() == Some(ProcessRole::Audit) => bad(
            "audit-found-something",
            "an audit of what was delivered whole ends with exit code 0",
        ),
        (_, ProcessEnd::Signal(_)) => bad("died", "nobody of the harness sent that signal"),
        (_, ProcessEnd::Code(_)) => bad("ended-unasked", "nobody had asked it to end"),
    }
}

/// A consumer of somebody's own may end by the signal that asks it to stop.
fn ended_by_the_signal(index: &Index, exit: &At<ProcessState>, end: ProcessEnd) -> bool {
    promised_of(index, &[exit]).is_some_and(|promise| match end {
        ProcessEnd::Signal(signal) => signal == promise.stop_signal,
        ProcessEnd::Code(code) => code == BY_SIGNAL + promise.stop_signal,
    })
}

/// The pipeline's producer ends with 0 although it reported some operation as certainly not written.
fn hid_a_failure(index: &Index, producer: &ProcessState) -> bool {
    let reports = index.header.promises.outcomes.is_some() && !foreign(&index.header);
    let mut kept = index.ops.kept.values();
    reports
        && kept.any(|kept| {
            let of = index.producers.get(usize::from(kept.invocation.owner));
            let of = of.and_then(|number| index.processes.get(usize::from(*number)));
            kept.end == Some(End::Failed) && of == Some(&producer.name)
        })
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

fn report(
    index: &Index,
    case: &mut Case<'_>,
    (name, facts): (&str, &[&At<ProcessState>]),
    bad: &[Bad],
) {
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
    if promised_of(index, facts).is_some() {
        stuck(index, facts, &mut finding);
    }
    case.find(finding);
}

/// Where the group of a process stands still at the end: the records that it did not get past are
/// likely what it ends by.
fn stuck(index: &Index, facts: &[&At<ProcessState>], finding: &mut Finding) {
    let Some(group) = facts.iter().find_map(|process| process.fact.group.as_ref()) else { return };
    let Some((_, promise, lanes)) = index.promised_groups().find(|(_, g, _)| g.group == *group)
    else {
        return;
    };
    finding.group = Some(group.clone());
    let last: Vec<&At<_>> = index
        .rare
        .last_lines
        .iter()
        .filter(|lines| lines.fact.process == facts[0].fact.name)
        .collect();
    if let Some(line) = last.last().and_then(|lines| lines.fact.lines.last()) {
        finding.evidence.push(format!("its last line: {}", quoted(line)));
    }
    let poison = poison_places(index);
    let mut first_stuck = None;
    for (number, lane) in read_lanes(index, promise) {
        let end = lanes.get(&number).and_then(GroupLane::committed_end).unwrap_or(lane.low());
        let open = lane.logged().from(end);
        let Some(&(first, _)) = open.ranges().first() else { continue };
        let known = poison.get(&number);
        let what = match known.is_some_and(|places| places.contains(first)) {
            true => "the record there is poison",
            false => "the record there is not poison",
        };
        first_stuck.get_or_insert((lane.topic.clone(), lane.partition, first));
        finding.evidence.push(format!(
            "group {} stands at offset {first} of {}, {} before the end: {what}",
            quoted(group),
            index.lane_name(number),
            count(open.len(), "record"),
        ));
    }
    if let Some((topic, partition, offset)) = first_stuck {
        (finding.topic, finding.partition) = (Some(topic), Some(partition));
        finding.offsets = vec![OffsetRange { first: offset, last: offset }];
    }
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
