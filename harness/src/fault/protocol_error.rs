//! Requests to brokers are answered with errors that the brokers never told, or not at all.
//!
//! The proxies before the brokers do it ([`crate::testbed::proxy::alter`]) and count what they did: each
//! answer that became another one, with its API, version, client and partition, and both errors. Without one
//! by the end of the window the fault hit nothing.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::time::Instant;

use crate::fault::probe::{Answer, await_probe};
use crate::fault::{Fault, FaultError, Kind, Order, Shown, Stage, Wrong};
use crate::scenario::nearest;
use crate::testbed::proxy::alter::{Api, Client, Reply, Rule, Rules, Tally, errors};
use crate::testbed::{Capability, Part};
use streamlake_history::event::{Demand, FaultLoad, PatientMet, TargetSeen};
use streamlake_report::{PROTOCOL_ALTERED, PROTOCOL_ERROR};

pub(super) static KIND: Kind = Kind {
    name: "protocol-error",
    about: "requests to brokers are answered with an error, or not; settings: api, answer = a Kafka error | \"no-answer\" | \"cut\", applied, partition, nth, times, throttle_ms",
    default_target: ANY,
    default_lasts: Duration::from_secs(5),
    load: Some(FaultLoad::Operations),
    shows: &[Demand::RequestsHit, Demand::AnswersAltered],
    spares_brokers: false,
    make,
};

/// Everybody's requests but the harness's own.
const ANY: &str = "clients";
/// A broker answers again within this time, or it never will.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// Reasons that are told of requests that were not touched.
const REASONS_MAX: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    api: String,
    answer: String,
    #[serde(default)]
    applied: bool,
    partition: Option<u16>,
    #[serde(default = "once")]
    nth: u64,
    #[serde(default = "once")]
    times: u64,
    #[serde(default)]
    throttle_ms: u16,
}

fn once() -> u64 {
    1
}

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    let settings: Settings = order.settings()?;
    let client = match order.target.as_str() {
        ANY => Client::Any,
        name if name.starts_with("producer-") || name.starts_with("consumer-") => {
            Client::Named(name.to_owned())
        }
        other => {
            let message = format!("`{other}` is no target for this fault");
            let remedy = format!("name `{ANY}`, or one of them like `producer-1` or `consumer-1`");
            return Err(Wrong::Target(message, remedy));
        }
    };
    Ok(Box::new(ProtocolError { rule: rule(settings, client)?, armed: None }))
}

fn rule(settings: Settings, client: Client) -> Result<Rule, Wrong> {
    let wrong = |message: String, remedy: &str| Err(Wrong::Settings(message, remedy.to_owned()));
    let Some(api) = Api::named(&settings.api) else {
        let names: Vec<String> = Api::all().map(Api::name).collect();
        let message = format!("answers of `{}` cannot be altered", settings.api);
        return wrong(message, &format!("known APIs: {}", names.join(", ")));
    };
    let throttle_ms = i32::from(settings.throttle_ms);
    let reply = match settings.answer.as_str() {
        "no-answer" => Reply::Nothing,
        "cut" => Reply::Half,
        name => match errors::code(name) {
            Some(error) => Reply::Error { error, throttle_ms },
            None => {
                let names: Vec<String> = errors::names().collect();
                let remedy = match nearest(name, names.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "give Kafka's name of an error, `no-answer` or `cut`".to_owned(),
                };
                return wrong(format!("there is no answer `{name}`"), &remedy);
            }
        },
    };
    let applied = settings.applied;
    match reply {
        Reply::Error { error: errors::NONE, throttle_ms: 0 } if applied => {
            let message = "NONE is what the broker says itself".to_owned();
            return wrong(message, "give `throttle_ms`, `applied = false`, or an error");
        }
        Reply::Error { error: errors::NONE, .. } if !applied && !api.can_be_granted() => {
            let message = format!("success of {} cannot be told without the broker", api.name());
            return wrong(message, "give an error, or `applied = true`");
        }
        Reply::Error { .. } if !applied && !api.can_be_made() => {
            let message = format!("{} cannot be answered without the broker", api.name());
            return wrong(message, "write `applied = true`");
        }
        Reply::Nothing | Reply::Half if throttle_ms > 0 => {
            let message = "who is not answered is not told to wait".to_owned();
            return wrong(message, "remove `throttle_ms`");
        }
        _ => {}
    }
    if settings.partition.is_some() {
        if !api.names_partitions() {
            let message = format!("{} does not speak of partitions", api.name());
            return wrong(message, "remove `partition`");
        }
        if !applied {
            let message = "a request reaches the broker whole or not at all".to_owned();
            return wrong(message, "write `applied = true`, or remove `partition`");
        }
    }
    if settings.nth == 0 || settings.times == 0 {
        return wrong("`nth` and `times` count from 1".to_owned(), "write 1, or leave them out");
    }
    let (partition, nth, times) = (settings.partition.map(i32::from), settings.nth, settings.times);
    Ok(Rule { api, client, partition, nth, times, reply, applied })
}

#[derive(Debug)]
struct ProtocolError {
    rule: Rule,
    armed: Option<u64>,
}

impl ProtocolError {
    fn rules(stage: &Stage) -> Result<Rules, FaultError> {
        let none = || FaultError::NoTarget("proxy that looks at requests".to_owned());
        stage.testbed.answer_rules().ok_or_else(none)
    }

    fn set(&self, fault: impl ToString) -> TargetSeen {
        TargetSeen { fault: Some(fault.to_string()), ..TargetSeen::default() }
    }
}

#[async_trait]
impl Fault for ProtocolError {
    fn needs(&self) -> &'static [Capability] {
        &[Capability::Answers]
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        self.armed = Some(Self::rules(stage)?.arm(self.rule.clone()));
        Ok(Shown::default().with(PROTOCOL_ERROR, &self.rule))
    }

    async fn seen(&mut self, stage: &Stage, until: Instant) -> Result<Shown, FaultError> {
        let (rules, begun) = (Self::rules(stage)?, Instant::now());
        let id = self.armed.unwrap_or_default();
        if tokio::time::timeout_at(until, rules.altered(id)).await.is_err() {
            return Err(FaultError::NotSeen {
                what: format!("a request of {}", self.rule),
                within: begun.elapsed(),
                last: untouched(&rules.tally(id)),
            });
        }
        let mut shown = met(&rules.tally(id));
        shown.target = Some(self.set(&self.rule));
        Ok(shown)
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let tally = Self::rules(stage)?.disarm(self.armed.take().unwrap_or_default());
        let mut shown = met(&tally).with(PROTOCOL_ALTERED, tally.altered);
        for (number, answer) in tally.answers.iter().enumerate() {
            let told = answer.told.map_or("nothing".to_owned(), errors::in_words);
            let was = answer.was.map_or("not asked".to_owned(), errors::in_words);
            let of = answer.partition.map_or(String::new(), |of| format!(", partition {of}"));
            let text = format!(
                "{} × {} version {} of {}{of} at {}: {told}, the broker: {was}",
                answer.count, answer.api, answer.version, answer.client, answer.link
            );
            shown = shown.with(format!("answer {}", number + 1), text);
        }
        match tally.spared.is_empty() {
            true => Ok(shown),
            false => Ok(shown.with("requests not touched", untouched(&tally))),
        }
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let detail = await_probe(stage, &Part::Broker(1), Answer::Comes, BACK_WITHIN).await?;
        let mut shown = Shown::default().with("probe after the fault", detail);
        shown.target = Some(TargetSeen { answers: Some(true), ..self.set("none") });
        Ok(shown)
    }
}

/// Why requests that it describes passed as they were.
fn untouched(tally: &Tally) -> String {
    let reasons = tally.spared.iter().take(REASONS_MAX);
    let reasons: Vec<String> = reasons.map(|(why, times)| format!("{times} × {why}")).collect();
    match reasons.is_empty() {
        true => format!("{} such requests passed", tally.met),
        false => format!("{} such requests passed; {}", tally.met, reasons.join("; ")),
    }
}

fn met(tally: &Tally) -> Shown {
    let (requests, answers) = (Some(tally.altered), tally.answers.clone());
    let patient = PatientMet { requests, answers, ..PatientMet::default() };
    Shown { patient: Some(patient), ..Shown::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(target: &str, settings: &str) -> Result<Box<dyn Fault>, Wrong> {
        let settings = toml::from_str(settings).unwrap_or_default();
        make(Order { target: target.to_owned(), settings, directory: std::path::PathBuf::new() })
    }

    fn refused(settings: &str) -> String {
        match made("clients", settings) {
            Err(Wrong::Settings(message, remedy) | Wrong::Target(message, remedy)) => {
                format!("{message}: {remedy}")
            }
            Ok(fault) => format!("{fault:?}"),
        }
    }

    #[test]
    fn what_can_be_asked_for() {
        for settings in [
            "api = \"Produce\"\nanswer = \"NOT_LEADER_OR_FOLLOWER\"",
            "api = \"OffsetCommit\"\nanswer = \"NONE\"",
            "api = \"Fetch\"\nanswer = \"CORRUPT_MESSAGE\"\napplied = true\npartition = 2\nnth = 3\ntimes = 4",
            "api = \"Heartbeat\"\nanswer = \"no-answer\"",
            "api = \"Produce\"\nanswer = \"NONE\"\napplied = true\nthrottle_ms = 200",
            "api = \"Metadata\"\nanswer = \"cut\"",
        ] {
            for target in ["clients", "producer-1", "consumer-2"] {
                assert!(made(target, settings).is_ok(), "{settings}");
            }
            assert!(matches!(made("broker-1", settings), Err(Wrong::Target(..))));
        }
    }

    #[test]
    fn mistakes_are_named_with_their_remedy() {
        for (settings, said) in [
            ("api = \"Fecth\"\nanswer = \"NONE\"", "known APIs: Produce, Fetch"),
            ("api = \"Fetch\"\nanswer = \"CORUPT_MESSAGE\"", "did you mean `CORRUPT_MESSAGE`?"),
            ("api = \"Fetch\"\nanswer = \"?\"", "`no-answer` or `cut`"),
            ("api = \"Fetch\"\nanswer = \"NONE\"\napplied = true", "what the broker says itself"),
            ("api = \"Produce\"\nanswer = \"NONE\"", "success of Produce"),
            ("api = \"Metadata\"\nanswer = \"LEADER_NOT_AVAILABLE\"", "write `applied = true`"),
            ("api = \"Fetch\"\nanswer = \"cut\"\nthrottle_ms = 5", "remove `throttle_ms`"),
            ("api = \"Heartbeat\"\nanswer = \"cut\"\npartition = 1", "remove `partition`"),
            ("api = \"Fetch\"\nanswer = \"cut\"\npartition = 1", "whole or not at all"),
            ("api = \"Fetch\"\nanswer = \"cut\"\nnth = 0", "count from 1"),
            ("api = \"Fetch\"\nanswer = \"cut\"\nof = 0", "unknown field"),
        ] {
            let message = refused(settings);
            assert!(message.contains(said), "{message}");
        }
    }
}
