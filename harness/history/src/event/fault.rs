//! What a fault has to show, and what was seen of its target and of the system under test: typed, so
//! that it can be compared. The words beside it are for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ProcessEnd;

/// What the evidence of a fault must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// The target answered, did not while the fault lasted, and did again.
    FellSilent,
    /// Afterwards the target had been started at another time, or its port was closed and open again.
    StartedAnew,
    /// Before, meanwhile and afterwards it was the same process.
    SameProcess,
    /// SIGKILL ended it.
    Killed,
    /// It ended, and not by SIGKILL.
    Stopped,
    /// It was frozen while the fault lasted, and neither before nor after.
    Frozen,
    /// The link to it did not pass everything while the fault lasted, and did before and after.
    LinkCut,
    /// The store was set to fail, and set back.
    StoreFaultSet,
    /// Requests of the system under test ran into it.
    RequestsHit,
    /// Clients were connected to the target when it was struck.
    ClientsConnected,
    /// The group member owned partitions when it was struck.
    OwnedPartitions,
    /// Records of its partitions were not committed when it was struck.
    HeldUncommitted,
    /// The worker's log tells of the end and of the new start.
    RestartLogged,
    /// The database sends its log to another process than before.
    AnotherSender,
    /// The object has another generation than before.
    ObjectAltered,
    /// Requests of the system under test were answered otherwise than its part answered them, or not at all.
    AnswersAltered,
    /// By whoever knows the target, the effect was there while the fault lasted, and neither before nor after.
    EffectSeen,
}

/// What must be under way while the effect of a fault lasts: between `seen` and `healed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultLoad {
    /// Operations of producers, or transactions on the source database.
    Operations,
    /// Records of the log that a group has not committed.
    Deliveries,
}

/// Whether the target's process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It runs, or would if it had anything to do.
    Running,
    /// It is frozen.
    Frozen,
    /// It has ended.
    Ended,
}

/// The target of a fault at one instant. What could not be looked at is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetSeen {
    /// Operating system's id of its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When its process was started, as the kernel or the engine says it. Only ever compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// Whether it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RunState>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<ProcessEnd>,
    /// Somebody listens at its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listening: Option<bool>,
    /// It answered a request of its own protocol, on the way that clients take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<bool>,
    /// What the link between it and its clients lets through: `pass` is everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Connections of clients to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// How the store was set to fail: `none` is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The database's process that sends its log to the capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<u32>,
    /// Generation of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Whoever knows the target says that the fault's effect is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<bool>,
}

/// What of the system under test a fault met. What nobody counted is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatientMet {
    /// Its requests that ran into the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Those of them that write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<u64>,
    /// Its requests that were under way when the fault began; it did not touch them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_in_flight: Option<u64>,
    /// Partitions that the member owned when it was struck.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions_owned: Option<u64>,
    /// Records of them that were in the log before it was struck and were not committed after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_uncommitted: Option<u64>,
    /// Its requests that were answered otherwise than the part answered them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<AlteredAnswer>,
}

/// Requests of one kind that were answered otherwise than the part answered them, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlteredAnswer {
    /// Kafka's name of the API.
    pub api: String,
    /// Version of the request.
    pub version: i16,
    /// Client id of the request.
    pub client: String,
    /// Where it passed.
    pub link: String,
    /// The partition that the answer speaks of; absent where it speaks of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Kafka's number of what the part answered; absent where the part was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<i16>,
    /// Kafka's number of what the client was told; absent where it was told nothing, or not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<i16>,
    /// Milliseconds that the client was told to wait.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub throttle_ms: u64,
    /// How many.
    pub count: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl TargetSeen {
    /// What an observation, or the words of a step, say; none if nothing that can be compared.
    #[must_use]
    pub fn of(words: &BTreeMap<String, String>) -> Option<Self> {
        let word = |name: &str| words.get(name).map(String::as_str);
        let number = |name: &str| word(name).and_then(|text| text.parse().ok());
        let seen = Self {
            pid: number("pid"),
            started: word("started_at").or(word("started_ticks")).map(str::to_owned),
            state: run_state(words),
            ended_by: ended_by(words),
            listening: word("listening").map(|text| text == "yes"),
            answers: None,
            link: word("link").map(str::to_owned),
            connections: word("link_open").and_then(|text| text.parse().ok()),
            fault: word("fault").map(str::to_owned),
            sender: number("slot active_pid"),
            generation: word("generation").map(str::to_owned),
            effect: None,
        };
        (seen != Self::default()).then_some(seen)
    }
}

/// `T (stopped)` is how `/proc` says it, `paused` and the freezer how the engine does.
fn run_state(words: &BTreeMap<String, String>) -> Option<RunState> {
    let word = |name: &str| words.get(name).map_or("", String::as_str);
    if word("freezer") == "FROZEN" || word("paused") == "true" {
        return Some(RunState::Frozen);
    }
    match word("state") {
        "" => None,
        "paused" => Some(RunState::Frozen),
        "running" => Some(RunState::Running),
        "exited" | "dead" => Some(RunState::Ended),
        text if text.starts_with("ended") || text.starts_with('Z') || text.starts_with('X') => {
            Some(RunState::Ended)
        }
        text if text.starts_with('T') => Some(RunState::Frozen),
        text if text.starts_with(['R', 'S', 'D']) => Some(RunState::Running),
        _ => None,
    }
}

/// An engine tells a signal as 128 and its number.
fn ended_by(words: &BTreeMap<String, String>) -> Option<ProcessEnd> {
    let told = words.get("state").and_then(|text| text.strip_prefix("ended: "));
    if let Some(status) = told.or(words.get("exit").map(String::as_str)) {
        let after = |prefix: &str| {
            let rest = status.strip_prefix(prefix)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let signal = || after("signal: ").map(ProcessEnd::Signal);
        return after("exit status: ").map(ProcessEnd::Code).or_else(signal);
    }
    let code: i32 = words.get("exit_code")?.parse().ok()?;
    Some(if code > 128 { ProcessEnd::Signal(code - 128) } else { ProcessEnd::Code(code) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seen(words: &[(&str, &str)]) -> Option<TargetSeen> {
        TargetSeen::of(&words.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn what_kernel_and_engine_say_is_understood() {
        let killed = seen(&[("pid", "7"), ("state", "ended: signal: 9 (SIGKILL)")]).unwrap();
        assert_eq!((killed.pid, killed.state), (Some(7), Some(RunState::Ended)));
        assert_eq!(killed.ended_by, Some(ProcessEnd::Signal(9)));
        let stopped = seen(&[("state", "exited"), ("exit_code", "143")]).unwrap();
        assert_eq!(stopped.ended_by, Some(ProcessEnd::Signal(15)));
        let left = seen(&[("state", "ended: exit status: 0")]).unwrap();
        assert_eq!(left.ended_by, Some(ProcessEnd::Code(0)));
        for frozen in [
            seen(&[("state", "T (stopped)")]),
            seen(&[("state", "running"), ("freezer", "FROZEN")]),
            seen(&[("state", "paused")]),
        ] {
            assert_eq!(frozen.unwrap().state, Some(RunState::Frozen));
        }
        let runs = seen(&[("state", "S (sleeping)"), ("started_ticks", "42")]).unwrap();
        assert_eq!((runs.state, runs.started.as_deref()), (Some(RunState::Running), Some("42")));
        assert_eq!(seen(&[("state", ""), ("colour", "blue")]), None);
    }
}
