//! Health: what a consumer answers to whoever asks whether it is well fits what it does. One that calls
//! itself ill while records flow is restarted for nothing; one that is never ready gets no work.
//!
//! Judged where its answers were recorded. While a fault lasts, and until the group may have recovered from
//! it, a consumer may call itself ill, or not answer; that one which stands still has to call itself ill is
//! asked where it was promised.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, anomalous, quoted, seconds};
use super::recovered::{near_faults, outside};
use super::standstill::Standstill;
use crate::index::{Index, RangeSet, is_of_process};
use crate::verdict::Finding;
use streamlake_history::event::{MembershipChange, ProcessChange};

const ILL: &str = "503";
const WELL: &str = "200";
/// A member that has committed something may take so long to call itself ready.
const READY_WITHIN_US: u64 = 10_000_000;

pub(super) fn judge(index: &Index, case: &mut Case<'_>, stands: &[Standstill]) {
    let (mut answers, mut ever, mut readiness) = (Answers::new(), BTreeSet::new(), Answers::new());
    for probe in &index.rare.probes {
        let Some((process, path)) = probe.fact.of_health() else { continue };
        let told = (probe.t_us, probe.fact.detail.as_str());
        match path {
            "healthz" => answers.entry(process).or_default().push(told),
            "readyz" => {
                if told.1 == WELL {
                    ever.insert(process);
                }
                readiness.entry(process).or_default().push(told);
            }
            _ => {}
        }
    }
    unasked(index, case, &answers);
    too_well(index, case, &answers, stands);
    for (process, answers) in answers {
        ill(index, case, process, &answers);
        let ready = readiness.remove(process).unwrap_or_default();
        let found = dumb(index, process, [("healthz", &answers), ("readyz", &ready)])
            .or_else(|| too_soon(index, process, &ready));
        if let Some(finding) = found {
            case.find(finding);
        }
        let (most, anomaly, what) = match ever.contains(process) {
            false => (READY_WITHIN_US, "never-ready", "never called itself ready"),
            true => {
                (ANSWERS_WITHIN_US, "unready-while-working", "called itself not ready for long")
            }
        };
        if longest_unready(index, process, &ready) > most {
            let text = format!(
                "process {} {what}, although its group committed what it read",
                quoted(process)
            );
            case.find(anomalous(anomaly, text));
        }
    }
}

/// A process that runs answers within this time, or not at all.
const ANSWERS_WITHIN_US: u64 = 5_000_000;

/// It ran, nothing was broken, and it did not answer, or answered what no such question is answered with.
fn dumb(index: &Index, process: &str, answers: [(&str, &[(u64, &str)]); 2]) -> Option<Finding> {
    let away = excused(index, process);
    let is_status = |told: &str| told.len() == 3 && told.bytes().all(|byte| byte.is_ascii_digit());
    for (path, answers) in answers {
        // Silence has many words: it lasts until there is an answer.
        let mut merged: Vec<(u64, &str)> = Vec::new();
        for &(at, told) in answers {
            let silent = !is_status(told) && merged.last().is_some_and(|last| !is_status(last.1));
            if !silent {
                merged.push((at, told));
            }
        }
        for (from, to, told) in lasting(index, &merged) {
            let silent = || outside(from, to, away.iter().copied()) > ANSWERS_WITHIN_US;
            let text = match is_status(told) {
                true if [WELL, ILL].contains(&told) => continue,
                true => format!("answered {path} with {}", quoted(told)),
                false if !silent() => continue,
                false => {
                    format!("did not answer {path} for {}: {}", seconds(to - from), quoted(told))
                }
            };
            let text = format!("process {} {text}, from {} on", quoted(process), seconds(from));
            let mut finding = anomalous("health-not-told", text);
            finding.at_us = Some(from);
            return Some(finding);
        }
    }
    None
}

/// When a process did not run, or was frozen, or was to end, from as soon as that is known.
fn idle(index: &Index, process: &str) -> Vec<(u64, u64)> {
    let mut spans = Vec::new();
    let mut since = Some(0);
    for seen in index.rare.processes.iter().filter(|seen| seen.fact.name == process) {
        match seen.fact.state {
            ProcessChange::Started | ProcessChange::Continued => {
                spans.extend(since.take().map(|from| (from, seen.t_us)));
            }
            ProcessChange::Exited | ProcessChange::Stopped => {
                since.get_or_insert(seen.t_us);
            }
        }
    }
    spans.extend(since.map(|from| (from, u64::MAX)));
    // Who was asked to stop is not ready any more, and closes its port before it ends; for a replay it is
    // started again.
    for phase in
        index.rare.phases.iter().filter(|phase| ["replay", "drain"].contains(&&*phase.fact))
    {
        let mut seen = index.rare.processes.iter().filter(|seen| seen.fact.name == process);
        let again =
            seen.find(|seen| seen.fact.state == ProcessChange::Started && seen.t_us >= phase.t_us);
        spans.push((phase.t_us, again.map_or(u64::MAX, |seen| seen.t_us)));
    }
    spans
}

/// A process that calls itself ready has joined its group: it waits for records, or has them.
fn too_soon(index: &Index, process: &str, answers: &[(u64, &str)]) -> Option<Finding> {
    let joined = || {
        let seen = index.rare.memberships.iter().map(|seen| &seen.fact);
        seen.filter(|fact| is_of_process(&fact.member, process))
            .filter(|fact| matches!(fact.change, MembershipChange::Joined | MembershipChange::Owns))
            .map(|fact| fact.at_us)
    };
    joined().next()?;
    let starts = index
        .rare
        .processes
        .iter()
        .filter(|seen| seen.fact.name == process && seen.fact.state == ProcessChange::Started);
    let starts: Vec<u64> = starts.map(|seen| seen.t_us).collect();
    for &(at, _) in answers.iter().filter(|(_, told)| *told == WELL) {
        let Some(started) = starts.iter().rfind(|started| **started <= at) else { continue };
        // Question and answer have an instant each.
        if !joined()
            .any(|joined| (*started..=at.saturating_add(PASSES_WITHIN_US)).contains(&joined))
        {
            let text = format!(
                "process {} called itself ready at {}, before it had joined its group",
                quoted(process),
                seconds(at)
            );
            let mut finding = anomalous("ready-too-soon", text);
            finding.at_us = Some(at);
            return Some(finding);
        }
    }
    None
}

/// Between an answer and the record of it.
const PASSES_WITHIN_US: u64 = 500_000;

/// Fault windows, each until the group may have recovered from it.
fn near(index: &Index) -> Vec<(u64, u64)> {
    near_faults(index, index.header.promises.recovery_within_us)
}

/// The times in which a process need not answer, nor be ready.
fn excused(index: &Index, process: &str) -> Vec<(u64, u64)> {
    let mut spans = near(index);
    spans.extend(idle(index, process));
    spans
}

/// What was answered, and when, by process. Only changes are recorded, and the first and the last answer.
type Answers<'a> = BTreeMap<&'a str, Vec<(u64, &'a str)>>;

/// Members that nobody asked, where others were.
fn unasked(index: &Index, case: &mut Case<'_>, answers: &Answers<'_>) {
    let groups = index.header.promises.groups.iter().filter(|group| group.consumer.is_none());
    let members = groups.flat_map(|group| &group.members);
    for member in members.filter(|member| !answers.contains_key(member.as_str())) {
        if !answers.is_empty() {
            case.doubt(format!("nobody asked process {} whether it is well", quoted(member)));
        }
    }
}

/// A group that stood still for as long as was promised, and none of whose members called itself ill.
fn too_well(index: &Index, case: &mut Case<'_>, answers: &Answers<'_>, stands: &[Standstill]) {
    for stand in stands {
        let Some((_, promise, _)) = index.promised_groups().nth(stand.group) else { continue };
        let Some(within) = promise.ill_within_us.filter(|within| stand.length_us() >= *within)
        else {
            continue;
        };
        let mut members =
            promise.members.iter().filter_map(|member| answers.get(member.as_str())).peekable();
        // One that was ill before it and stays so says no more.
        let during = |(from, to, what): (u64, u64, &str)| {
            what == ILL && from <= stand.to_us && to >= stand.from_us
        };
        if members.peek().is_none() || members.any(|told| lasting(index, told).any(during)) {
            continue;
        }
        let text = format!(
            "group {} committed nothing of {} for {} although offset {} was there, and no member called \
             itself ill meanwhile, as it is to within {}",
            quoted(&promise.group),
            index.lane_name(stand.lane),
            seconds(stand.length_us()),
            stand.offset,
            seconds(within)
        );
        let set = RangeSet::of([(stand.offset, stand.offset)]);
        let name = Some(promise.group.as_str());
        let finding = case.find_at("well-while-standing-still", name, stand.lane, &set, text);
        finding.at_us = Some(stand.from_us);
        return;
    }
}

/// Each answer, with how long it lasted: until the next one.
fn lasting<'a>(
    index: &Index,
    answers: &[(u64, &'a str)],
) -> impl Iterator<Item = (u64, u64, &'a str)> {
    let ends = answers.iter().skip(1).map(|next| next.0).chain([index.end_us]);
    answers.iter().zip(ends).map(|(&(from, told), to)| (from, to, told))
}

/// The longest time for which a process called itself unready although it worked. A group may take any
/// time to form: it counts from a commit of the process's own.
fn longest_unready(index: &Index, process: &str, answers: &[(u64, &str)]) -> u64 {
    let (commits, excused) = (own_commits(index, process), excused(index, process));
    let mut longest = 0;
    let mut begun = None;
    for (from, to, told) in lasting(index, answers) {
        if told != ILL {
            begun = None;
            continue;
        }
        let begun = *begun.get_or_insert(from);
        let worked = commits.iter().find(|at| **at >= begun);
        let spans = excused.iter().copied();
        longest = longest.max(worked.map_or(0, |worked| outside(*worked, to, spans)));
    }
    longest
}

/// When it committed something, in order, where it is the one member of its group.
fn own_commits(index: &Index, process: &str) -> Vec<u64> {
    let alone = index
        .promised_groups()
        .filter(|(_, promise, _)| promise.members.as_slice() == [process])
        .flat_map(|(_, _, lanes)| lanes.values());
    let mut commits: Vec<u64> =
        alone.flat_map(|lane| lane.commits.iter().map(|commit| commit.at_us)).collect();
    commits.sort_unstable();
    commits
}

/// Times in which it called itself ill with no fault near.
fn ill(index: &Index, case: &mut Case<'_>, process: &str, answers: &[(u64, &str)]) {
    let near = near(index);
    for (from, to, told) in lasting(index, answers) {
        if told != ILL || outside(from, to.max(from + 1), near.iter().copied()) == 0 {
            continue;
        }
        let text = format!(
            "process {} called itself ill at {}, with no fault near",
            quoted(process),
            seconds(from)
        );
        let mut finding = anomalous("ill-without-a-fault", text);
        finding.at_us = Some(from);
        return case.find(finding);
    }
}
