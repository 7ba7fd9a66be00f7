//! What the evidence of a fault must show, demand by demand: what must differ, what must be the same,
//! what must be more than nothing.

use std::collections::BTreeMap;

use super::{patient, step, steps};
use crate::index::{At, Index};
use streamlake_history::event::{
    AlteredAnswer, Demand, FaultStage, PatientMet, PlannedFault, ProcessChange, ProcessEnd,
    RunState, TargetSeen,
};

/// What the looks at a fault say of a demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// They show it.
    Shown,
    /// They show the opposite.
    Denied(String),
    /// They do not say, and what is missing.
    Silent(String),
}

fn denied(reason: impl Into<String>) -> Told {
    Told::Denied(reason.into())
}

fn silent(reason: impl Into<String>) -> Told {
    Told::Silent(reason.into())
}

/// The target before, while and after the fault, and what it met; from one source of evidence.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) before: TargetSeen,
    pub(super) during: TargetSeen,
    pub(super) after: TargetSeen,
    pub(super) patient: PatientMet,
    restart_logged: bool,
}

/// Looks of the harness itself at a store, ten a second, which version 1 counted with the others.
const LOOKS_EVERY_US: u64 = 100_000;
/// More of them than that, at the begin and the end of a window.
const LOOKS_BESIDE: u64 = 5;

impl Looks {
    /// As it was recorded to be compared.
    pub(super) fn typed(index: &Index, fault: &PlannedFault) -> Self {
        let mut looks = Self::default();
        for At { fact, .. } in steps(index, fault.fault) {
            if let Some(seen) = &fact.target {
                match fact.step {
                    FaultStage::Injecting | FaultStage::Injected => looks.before = (**seen).clone(),
                    FaultStage::Seen => looks.during = (**seen).clone(),
                    FaultStage::Healed => looks.after = (**seen).clone(),
                    FaultStage::Healing | FaultStage::Missed => {}
                }
            }
            if let Some(met) = &fact.patient {
                let known = &mut looks.patient;
                known.requests = known.requests.max(met.requests);
                known.writes = known.writes.max(met.writes);
                known.requests_in_flight = known.requests_in_flight.max(met.requests_in_flight);
                known.partitions_owned = known.partitions_owned.max(met.partitions_owned);
                known.records_uncommitted = known.records_uncommitted.max(met.records_uncommitted);
                if !met.answers.is_empty() {
                    known.answers.clone_from(&met.answers);
                }
            }
        }
        looks
    }

    /// As it was written down for people.
    pub(super) fn words(index: &Index, fault: &PlannedFault) -> Self {
        let mut words = BTreeMap::new();
        for At { fact, .. } in steps(index, fault.fault) {
            words.extend(fact.evidence.clone());
        }
        let at = |when: &str| {
            let named = words.iter().filter_map(|(name, value)| {
                Some((name.strip_suffix(when)?.trim_end().to_owned(), value.clone()))
            });
            TargetSeen::of(&named.collect()).unwrap_or_default()
        };
        let (before, mut during, mut after) = (at(" before"), at(" during"), at(" after"));
        let answered = |name: &str| words.get(name).map(|detail| is_answer(detail));
        during.answers = answered("probe during the fault");
        after.answers = answered("probe after the fault");
        during.fault = words.get("fault").cloned();
        let line = |name: &str, text: &str| words.get(name).is_some_and(|l| l.contains(text));
        let restart_logged = line("log of connect, stopped", "Stopping")
            && line("log of connect, started", "Creating");
        let patient = patient_in(index, fault, &words);
        Self { before, during, after, patient, restart_logged }
    }
}

/// A probe says what came back, or why nothing did.
fn is_answer(detail: &str) -> bool {
    !detail.trim().is_empty() && !UNANSWERED.iter().any(|reason| detail.contains(reason))
}

/// How a probe says that no answer came.
const UNANSWERED: [&str; 14] = [
    "no answer",
    "timed out",
    "refused",
    "reset",
    "closed",
    "status 4",
    "status 5",
    "error",
    "not Kafka",
    "there is no",
    "not ready",
    "canceled",
    "broken pipe",
    "unreachable",
];

fn patient_in(index: &Index, fault: &PlannedFault, words: &BTreeMap<String, String>) -> PatientMet {
    let number = |name: &str| words.get(name).and_then(|text| text.parse::<u64>().ok());
    let hit = number("requests hit in all").max(number("requests hit when first looked at"));
    let owned = words.get("partitions owned when struck").and_then(|text| match text.as_str() {
        "not seen" => None,
        "none" => Some(0),
        names => Some(names.split(", ").count() as u64),
    });
    PatientMet {
        requests: hit.map(|hit| hit.saturating_sub(own_looks(index, fault, words))),
        writes: number("writes hit in all"),
        requests_in_flight: None,
        partitions_owned: owned,
        records_uncommitted: number("records not committed when struck"),
        answers: Vec::new(),
    }
}

/// In version 1 the harness's own looks at the store were counted with what the fault hit, unless it
/// hits writes only: no more of them can have been than fit into the window.
fn own_looks(index: &Index, fault: &PlannedFault, words: &BTreeMap<String, String>) -> u64 {
    let set = words.get("fault").map_or("", String::as_str);
    if index.header.version > 1 || set.contains("write") {
        return 0;
    }
    let at = |stage| step(index, fault.fault, stage);
    let (begin, end) = (at(FaultStage::Injecting), at(FaultStage::Healed));
    let window = end.unwrap_or(index.end_us).saturating_sub(begin.unwrap_or(0));
    window / LOOKS_EVERY_US + LOOKS_BESIDE
}

/// What the looks say of a demand.
pub(super) fn told(index: &Index, fault: &PlannedFault, demand: Demand, looks: &Looks) -> Told {
    let by_looks = match demand {
        Demand::FellSilent => fell_silent(looks),
        Demand::StartedAnew => started_anew(looks),
        Demand::SameProcess => same_process(looks),
        Demand::Killed => ended(looks, true),
        Demand::Stopped => ended(looks, false),
        Demand::Frozen => frozen(looks),
        Demand::LinkCut => link_cut(looks),
        Demand::StoreFaultSet => store_fault_set(looks),
        Demand::RequestsHit => requests_hit(looks),
        Demand::ClientsConnected => match looks.before.connections {
            Some(0) => denied("no client was connected to its target when it was struck"),
            Some(_) => Told::Shown,
            None => silent("nobody saw whether clients were connected to its target"),
        },
        Demand::OwnedPartitions => patient::owned(index, fault, &looks.patient),
        Demand::HeldUncommitted => patient::held_uncommitted(index, fault, &looks.patient),
        Demand::RestartLogged if looks.restart_logged => Told::Shown,
        Demand::RestartLogged => silent("no log tells of the end and the new start"),
        Demand::AnotherSender => match (looks.before.sender, looks.after.sender) {
            (Some(before), Some(after)) if before == after => denied(format!(
                "the database sent its log to the same process before and after, {before}"
            )),
            (Some(_), Some(_)) => Told::Shown,
            _ => silent("nobody saw to whom the database sent its log before and after"),
        },
        Demand::ObjectAltered => object_altered(looks),
        Demand::AnswersAltered => answers_altered(&looks.patient),
        Demand::EffectSeen => effect_seen(looks),
    };
    match process_facts(index, fault, demand) {
        Some(reason) => denied(reason),
        None => by_looks,
    }
}

fn fell_silent(looks: &Looks) -> Told {
    let answers = (looks.before.answers, looks.during.answers, looks.after.answers);
    match answers {
        (Some(false), _, _) => denied("its target did not answer before"),
        (_, Some(true), _) => denied("its target answered while the fault lasted"),
        (_, _, Some(false)) => denied("its target did not answer afterwards"),
        (_, Some(false), Some(true)) => Told::Shown,
        _ => silent("nobody saw its target fall silent and answer again"),
    }
}

fn started_anew(looks: &Looks) -> Told {
    let (before, during, after) = (&looks.before, &looks.during, &looks.after);
    if after.state == Some(RunState::Ended) {
        return denied("its target was not running afterwards");
    }
    let listened = [before.listening, during.listening, after.listening];
    if listened == [Some(true), Some(false), Some(true)] {
        return Told::Shown;
    }
    let same_pid = before.pid.zip(after.pid).map(|(before, after)| before == after);
    let same_start = before.started.as_ref().zip(after.started.as_ref()).map(|(b, a)| b == a);
    match (same_pid, same_start) {
        (Some(true), _) => denied(format!(
            "its target ran as the same process before and after, {}",
            before.pid.unwrap_or_default()
        )),
        (_, Some(true)) => denied(format!(
            "its target was started at the same time before and after, {}",
            before.started.as_deref().unwrap_or_default()
        )),
        (None, None) => silent("nobody saw as which process its target ran before and after"),
        _ => Told::Shown,
    }
}

fn same_process(looks: &Looks) -> Told {
    let all = [&looks.before, &looks.during, &looks.after];
    let pids: Vec<_> = all.iter().filter_map(|seen| seen.pid).collect();
    let starts: Vec<_> = all.iter().filter_map(|seen| seen.started.as_deref()).collect();
    if pids.windows(2).any(|pair| pair[0] != pair[1]) {
        return denied(format!("its target was not the same process throughout: {pids:?}"));
    }
    if starts.windows(2).any(|pair| pair[0] != pair[1]) {
        return denied(format!("its target was started anew meanwhile: {starts:?}"));
    }
    let known = |seen: &TargetSeen| seen.pid.is_some() || seen.started.is_some();
    if known(&looks.before) && known(&looks.after) {
        return Told::Shown;
    }
    silent("nobody saw as which process its target ran before and after")
}

fn ended(looks: &Looks, by_kill: bool) -> Told {
    const KILL: ProcessEnd = ProcessEnd::Signal(9);
    let during = &looks.during;
    match (during.ended_by, during.state) {
        (Some(KILL), _) if by_kill => Told::Shown,
        (Some(KILL), _) => denied("SIGKILL ended its target, which was to stop by itself"),
        (Some(end), _) if by_kill => denied(format!("its target ended by {end:?}, not by SIGKILL")),
        (Some(_), _) => Told::Shown,
        (None, Some(RunState::Running | RunState::Frozen)) if during.listening != Some(false) => {
            denied("its target was there while the fault lasted")
        }
        (None, Some(RunState::Ended)) if !by_kill => Told::Shown,
        // A broker that is no process of its own ends by closing its port.
        (None, _) if during.listening == Some(false) => Told::Shown,
        _ => silent("nobody saw how its target ended"),
    }
}

fn frozen(looks: &Looks) -> Told {
    let frozen = |seen: &TargetSeen| {
        seen.state == Some(RunState::Frozen) || seen.link.as_deref() == Some("black hole")
    };
    if frozen(&looks.before) {
        return denied("its target was frozen before");
    }
    if frozen(&looks.after) {
        return denied("its target was still frozen afterwards");
    }
    match looks.during.state {
        _ if frozen(&looks.during) => Told::Shown,
        Some(state) => denied(format!("its target was not frozen while it lasted: {state:?}")),
        None => silent("nobody saw its target frozen"),
    }
}

fn link_cut(looks: &Looks) -> Told {
    let passes = |seen: &TargetSeen| seen.link.as_ref().map(|link| link.starts_with("pass"));
    match (passes(&looks.before), passes(&looks.during), passes(&looks.after)) {
        (_, Some(true), _) => denied("the link let everything pass while the fault lasted"),
        (Some(false), _, _) => denied("the link was cut before"),
        (_, _, Some(false)) => denied("the link was still cut afterwards"),
        (_, Some(false), _) => Told::Shown,
        _ => silent("nobody saw what the link let pass"),
    }
}

fn store_fault_set(looks: &Looks) -> Told {
    let set = |seen: &TargetSeen| seen.fault.as_ref().map(|fault| fault != "none");
    match (set(&looks.during), set(&looks.after)) {
        (Some(false), _) => denied("the store was not set to fail"),
        (_, Some(true)) => denied("the store was still set to fail afterwards"),
        (Some(true), _) => Told::Shown,
        (None, _) => silent("nobody saw how the store was set to fail"),
    }
}

fn requests_hit(looks: &Looks) -> Told {
    match (looks.patient.requests, looks.patient.writes) {
        (Some(0), _) => denied("no request of the system under test ran into it"),
        (Some(requests), Some(writes)) if writes > requests => {
            denied(format!("{writes} writes among {requests} requests cannot be"))
        }
        (Some(_), _) => Told::Shown,
        (None, _) => silent("nobody counted the requests that ran into it"),
    }
}

fn answers_altered(met: &PatientMet) -> Told {
    let same = |answer: &&AlteredAnswer| {
        answer.told.is_some() && answer.was == answer.told && answer.throttle_ms == 0
    };
    let counted: u64 = met.answers.iter().map(|answer| answer.count).sum();
    match (met.answers.iter().find(same), met.requests) {
        (Some(answer), _) => denied(format!(
            "{} was answered with {} by its part, and that is what its client was told",
            answer.api,
            answer.told.unwrap_or_default()
        )),
        // An answer may speak of several partitions, and of one at least.
        (None, Some(requests)) if counted < requests => denied(format!(
            "{requests} requests were answered otherwise, and what became of {counted} is told"
        )),
        (None, _) if counted == 0 => silent("nobody told which answers were altered"),
        (None, _) => Told::Shown,
    }
}

fn object_altered(looks: &Looks) -> Told {
    let after = looks.after.generation.as_ref().or(looks.during.generation.as_ref());
    match (&looks.before.generation, after) {
        (Some(before), Some(after)) if before == after => {
            denied(format!("the object had the same generation before and after, {before}"))
        }
        (Some(_), Some(_)) => Told::Shown,
        _ => silent("nobody saw the object's generation before and after"),
    }
}

fn effect_seen(looks: &Looks) -> Told {
    match (looks.before.effect, looks.during.effect, looks.after.effect) {
        (Some(true), _, _) => denied("its effect was there before it began"),
        (_, Some(false), _) => denied("its effect was not there while it lasted"),
        (_, _, Some(true)) => denied("its effect was still there afterwards"),
        (Some(false), Some(true), Some(false)) => Told::Shown,
        _ => silent("nobody saw its effect come and go"),
    }
}

/// What the supervisor recorded of the target's process in the window, if it denies a demand. Of a
/// target that is none of its processes it says nothing.
fn process_facts(index: &Index, fault: &PlannedFault, demand: Demand) -> Option<String> {
    let needed: &[(ProcessChange, &str)] = match demand {
        Demand::Killed | Demand::Stopped => &[(ProcessChange::Exited, "ended")],
        Demand::StartedAnew => &[(ProcessChange::Started, "started")],
        Demand::Frozen => {
            &[(ProcessChange::Stopped, "was frozen"), (ProcessChange::Continued, "was thawed")]
        }
        _ => return None,
    };
    let own = || index.rare.processes.iter().filter(|p| p.fact.name == fault.target);
    let at = |stage| step(index, fault.fault, stage);
    let (begin, end) = (at(FaultStage::Injecting)?, at(FaultStage::Healed)?);
    own().next()?;
    let in_window = || own().filter(|p| (begin..=end).contains(&p.t_us));
    for (change, words) in needed {
        if !in_window().any(|p| p.fact.state == *change) {
            return Some(format!(
                "the history does not tell that its target {words} in its window"
            ));
        }
    }
    if demand == Demand::Killed {
        let by_kill = |end| end == ProcessEnd::Signal(9);
        let told = in_window().filter(|p| p.fact.state == ProcessChange::Exited);
        if let Some(other) = told.filter_map(|p| p.fact.end).find(|end| !by_kill(*end)) {
            return Some(format!("the history tells that its target ended by {other:?}"));
        }
    }
    if demand == Demand::StartedAnew {
        let started = || own().filter(|p| p.fact.state == ProcessChange::Started);
        let before = started().rfind(|p| p.t_us < begin).map(|p| p.fact.pid);
        let again = started().find(|p| (begin..=end).contains(&p.t_us)).map(|p| p.fact.pid);
        if let (Some(before), true) = (before, before == again) {
            return Some(format!("the history tells of the same process again, {before}"));
        }
    }
    None
}
