//! Somebody's own commands: one does it, one undoes it, and one says whether the effect is there. That is how
//! `kubectl`, `systemctl`, `tc` or a chaos tool break what the harness itself has no hands for.
//!
//! The command that looks is asked before, while and after: one that says "there" whatever happens, or that
//! cannot look at all, shows nothing.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::Instant;

use crate::fault::{Fault, FaultError, Kind, Order, Shown, Stage, Wrong};
use crate::testbed::Capability;
use streamlake_history::event::{Demand, FaultLoad, TargetSeen};

pub(super) static KIND: Kind = Kind {
    name: "command",
    about: "commands of your own do it and undo it; settings: inject, heal, seen, each a list of words; seen exits with 0 while the effect is there, and else with 1",
    default_target: "elsewhere",
    default_lasts: Duration::from_secs(10),
    load: Some(FaultLoad::Operations),
    shows: &[Demand::EffectSeen],
    // Nobody says what they touch.
    spares_brokers: false,
    make,
};

/// A command that takes longer is ended.
const COMMAND_WITHIN: Duration = Duration::from_secs(120);
/// The effect shows within this time, or it never does.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
/// It is gone within this time after it was undone, or it stays.
const BACK_WITHIN: Duration = Duration::from_secs(180);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Of what a command prints, its end is kept.
const KEPT_BYTES: usize = 400;
/// From here on an exit status is not the command's own word: a shell that found no such command.
const NOT_ITS_OWN: i32 = 126;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    inject: Vec<String>,
    heal: Vec<String>,
    seen: Vec<String>,
}

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    let settings: Settings = order.settings()?;
    let all = [("inject", &settings.inject), ("heal", &settings.heal), ("seen", &settings.seen)];
    for (name, words) in all {
        if words.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(Wrong::Settings(
                format!("`{name}` names no program"),
                format!("write `{name} = [\"program\", \"argument\"]`"),
            ));
        }
    }
    Ok(Box::new(ByCommand { settings, directory: order.directory }))
}

#[derive(Debug)]
struct ByCommand {
    settings: Settings,
    directory: PathBuf,
}

/// What a command came to.
struct Ran {
    status: ExitStatus,
    /// The end of what it printed, on one line.
    said: String,
}

impl ByCommand {
    /// Runs a command in the scenario's folder and waits for its end.
    async fn run(&self, what: &'static str, words: &[String]) -> Result<Ran, FaultError> {
        let failed =
            |outcome: String| FaultError::Command { what, command: words.join(" "), outcome };
        let Some((program, arguments)) = words.split_first() else {
            return Err(failed("names no program".to_owned()));
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.directory).stdin(Stdio::null());
        command.kill_on_drop(true);
        match tokio::time::timeout(COMMAND_WITHIN, command.output()).await {
            Ok(Ok(output)) => {
                let said = [output.stdout, output.stderr].concat();
                Ok(Ran { status: output.status, said: end_of(&said) })
            }
            Ok(Err(error)) => Err(failed(format!("could not be started: {error}"))),
            Err(_) => Err(failed(format!("did not end within {COMMAND_WITHIN:?}"))),
        }
    }

    /// Runs one that has to succeed.
    async fn carry_out(&self, what: &'static str, words: &[String]) -> Result<Ran, FaultError> {
        let ran = self.run(what, words).await?;
        match ran.status.success() {
            true => Ok(ran),
            false => Err(not_so(what, words, &ran)),
        }
    }

    /// Whether the effect is there.
    async fn look(&self) -> Result<(bool, Ran), FaultError> {
        let words = &self.settings.seen;
        let ran = self.run("`seen`", words).await?;
        match ran.status.code() {
            Some(0) => Ok((true, ran)),
            Some(code) if code < NOT_ITS_OWN => Ok((false, ran)),
            _ => Err(not_so("`seen`", words, &ran)),
        }
    }

    /// Looks until the effect is there, or not there any more.
    async fn until(&self, there: bool, within: Duration) -> Result<Ran, FaultError> {
        let deadline = Instant::now() + within;
        loop {
            let (found, ran) = self.look().await?;
            if found == there {
                return Ok(ran);
            }
            if Instant::now() >= deadline {
                let what = match there {
                    true => "the effect by the command `seen`",
                    false => "the end of the effect by the command `seen`",
                };
                let last = described(&ran);
                return Err(FaultError::NotSeen { what: what.to_owned(), within, last });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn not_so(what: &'static str, words: &[String], ran: &Ran) -> FaultError {
    FaultError::Command { what, command: words.join(" "), outcome: described(ran) }
}

fn described(ran: &Ran) -> String {
    match ran.said.as_str() {
        "" => format!("ended with {} and printed nothing", ran.status),
        said => format!("ended with {} and printed at last: {said}", ran.status),
    }
}

fn end_of(printed: &[u8]) -> String {
    let from = printed.len().saturating_sub(KEPT_BYTES);
    let text = String::from_utf8_lossy(&printed[from..]);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}

/// What is seen of the effect, with the words of the command that looked.
fn shown(when: &str, effect: bool, ran: &Ran) -> Shown {
    let shown = Shown::default()
        .with(format!("effect {when}"), if effect { "there" } else { "not there" })
        .with(format!("`seen` {when}"), described(ran));
    Shown { target: Some(TargetSeen { effect: Some(effect), ..TargetSeen::default() }), ..shown }
}

#[async_trait]
impl Fault for ByCommand {
    fn needs(&self) -> &'static [Capability] {
        &[]
    }

    async fn inject(&mut self, _: &Stage) -> Result<Shown, FaultError> {
        let (there, ran) = self.look().await?;
        let before = shown("before", there, &ran);
        let done = self.carry_out("`inject`", &self.settings.inject).await?;
        Ok(before.with("`inject`", described(&done)))
    }

    async fn seen(&mut self, _: &Stage, _: Instant) -> Result<Shown, FaultError> {
        let ran = self.until(true, SEEN_WITHIN).await?;
        Ok(shown("during", true, &ran))
    }

    async fn heal(&mut self, _: &Stage) -> Result<Shown, FaultError> {
        // A pod that was killed comes back by itself: that the effect has ended by now is told, no more.
        let last = match self.look().await {
            Ok((there, ran)) => Shown::default()
                .with("effect when it was undone", if there { "there" } else { "not there" })
                .with("`seen` when it was undone", described(&ran)),
            // It is undone whatever the look says.
            Err(error) => Shown::default().with("`seen` when it was undone", error),
        };
        let done = self.carry_out("`heal`", &self.settings.heal).await?;
        Ok(last.with("`heal`", described(&done)))
    }

    async fn back(&mut self, _: &Stage) -> Result<Shown, FaultError> {
        let ran = self.until(false, BACK_WITHIN).await?;
        Ok(shown("after", false, &ran))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fault(inject: &str, seen: &str) -> ByCommand {
        let shell = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
        let settings =
            Settings { inject: shell(inject), heal: shell("rm effect"), seen: shell(seen) };
        ByCommand { settings, directory: PathBuf::from(".") }
    }

    #[tokio::test]
    async fn it_is_seen_to_come_and_to_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut fault = fault("touch effect", "test -e effect");
        fault.directory = folder.path().to_owned();
        assert!(!fault.look().await.unwrap().0);
        fault.carry_out("`inject`", &fault.settings.inject).await.unwrap();
        fault.until(true, Duration::ZERO).await.unwrap();
        fault.carry_out("`heal`", &fault.settings.heal).await.unwrap();
        fault.until(false, Duration::ZERO).await.unwrap();
        let error = fault.carry_out("`heal`", &fault.settings.heal).await.map(drop).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`heal` (sh -c rm effect) ended with exit status: 1"), "{text}");
    }

    #[tokio::test]
    async fn a_look_that_cannot_look_is_no_word_of_the_effect() {
        for seen in ["there-is-no-such-command", "kill -9 $$"] {
            let error = fault("true", seen).look().await.map(drop).unwrap_err();
            assert!(error.to_string().starts_with("`seen` ("), "{error}");
        }
        let error = fault("true", "echo still here").until(false, Duration::ZERO).await;
        let text = error.map(drop).unwrap_err().to_string();
        assert!(text.contains("printed at last: still here"), "{text}");
    }

    #[test]
    fn words_that_are_no_command_are_refused() {
        let order = |settings: &str| Order {
            target: "db".to_owned(),
            settings: settings.parse().unwrap(),
            directory: PathBuf::new(),
        };
        for (settings, said) in [
            ("inject = []\nheal = [\"true\"]\nseen = [\"true\"]", "`inject` names no program"),
            ("inject = [\"true\"]\nheal = [\"true\"]", "missing field `seen`"),
        ] {
            let Err(Wrong::Settings(text, _)) = make(order(settings)) else { panic!("{settings}") };
            assert!(text.contains(said), "{text}");
        }
    }
}
