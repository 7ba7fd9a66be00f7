//! Health: what a consumer answers to whoever asks whether it is well fits what it does. One that calls
//! itself ill while records flow is restarted for nothing; one that is never ready gets no work.
//!
//! Judged where its answers were recorded. While a fault lasts, and until the group may have recovered from
//! it, a consumer may call itself ill; that one which stands still has to is asked where it was promised.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, anomalous, quoted, seconds};
use super::recovered::{outside, windows};
use super::standstill::Standstill;
use crate::index::{Index, RangeSet};

const ILL: &str = "503";
const WELL: &str = "200";
/// A member that has committed something may take so long to call itself ready.
const READY_WITHIN_US: u64 = 10_000_000;

pub(super) fn judge(index: &Index, case: &mut Case<'_>, stands: &[Standstill]) {
    let (mut answers, mut ever, mut unready) = (Answers::new(), BTreeSet::new(), Answers::new());
    for probe in &index.rare.probes {
        let Some((process, path)) = probe.fact.of_health() else { continue };
        let told = (probe.t_us, probe.fact.detail.as_str());
        match path {
            "healthz" => answers.entry(process).or_default().push(told),
            "readyz" if told.1 == WELL => drop(ever.insert(process)),
            "readyz" => unready.entry(process).or_default().push(told),
            _ => {}
        }
    }
    unasked(index, case, &answers);
    too_well(index, case, &answers, stands);
    for (process, answers) in answers {
        ill(index, case, process, &answers);
        let answers = unready.remove(process).unwrap_or_default();
        if !ever.contains(process) && longest_unready(index, process, &answers) > READY_WITHIN_US {
            let text = format!(
                "process {} never called itself ready, although its group committed what it read",
                quoted(process)
            );
            case.find(anomalous("never-ready", text));
        }
    }
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
    let commits = own_commits(index, process);
    let mut longest = 0;
    let mut begun = None;
    for (from, to, told) in lasting(index, answers) {
        if told != ILL {
            begun = None;
            continue;
        }
        let begun = *begun.get_or_insert(from);
        let worked = commits.iter().find(|at| **at >= begun);
        longest = longest.max(worked.map_or(0, |worked| to.saturating_sub(*worked)));
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
    let recovery = index.header.promises.recovery_within_us;
    let near = || {
        windows(index).into_iter().map(|window| {
            let until = window.healed.map_or(u64::MAX, |healed| healed.saturating_add(recovery));
            (window.begin, until)
        })
    };
    for (from, to, told) in lasting(index, answers) {
        if told != ILL || outside(from, to.max(from + 1), near()) == 0 {
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
