//! What a scenario does to the system, resolved: each fault, how often, and when.
//!
//! A repeated fault has its instants drawn from the seed, one in each equal slice of its time, so that
//! two windows of it never meet.

use std::ops::Range;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use toml::Spanned;

use super::{FaultPlan, GroupPlan, Load, Reader, Trigger};
use crate::fault::{self, Wrong};
use crate::scenario::{FaultEntry, ScenarioError};

/// What of a slice no window reaches into, as a divisor: undoing takes a moment too, and two windows
/// of one target must not meet.
const FREE: u32 = 10;
const TIMES_MAX: i64 = 1_001;

impl Reader<'_> {
    pub(super) fn faults(&self, load: &Load, seed: u64) -> Result<Vec<FaultPlan>, ScenarioError> {
        let mut faults = Vec::new();
        for (place, entry) in self.file.scenario.faults.iter().enumerate() {
            let entry = entry.get_ref();
            // What is asked for comes before when: a name that does not exist is the first mistake.
            let kind = self.kind(entry)?;
            let lasts = match &entry.lasts {
                Some(text) => self.duration(text)?,
                None => kind.default_lasts,
            };
            for trigger in self.triggers(place, entry, load, lasts, seed)? {
                let number = u32::try_from(faults.len()).unwrap_or(u32::MAX);
                let (target, fault) = self.fault(kind, entry)?;
                let (kind, fault_load) = (kind.name, kind.load);
                faults.push(FaultPlan {
                    number,
                    entry: place,
                    kind,
                    target,
                    trigger,
                    lasts,
                    load: fault_load,
                    fault,
                });
            }
        }
        Ok(faults)
    }

    /// The target of a fault, and the fault made for it.
    fn fault(
        &self,
        kind: &fault::Kind,
        entry: &FaultEntry,
    ) -> Result<(String, Box<dyn fault::Fault>), ScenarioError> {
        let target = entry.target.as_ref().map_or(kind.default_target, |t| t.get_ref()).to_owned();
        let settings = entry.settings.as_ref().map(|s| s.get_ref().clone()).unwrap_or_default();
        let order = fault::Order { target: target.clone(), settings, directory: self.folder() };
        let made = (kind.make)(order).map_err(|wrong| {
            let place = |spanned: Option<Range<usize>>| spanned.unwrap_or(entry.kind.span());
            match wrong {
                Wrong::Target(message, remedy) => {
                    let span = place(entry.target.as_ref().map(Spanned::span));
                    self.file.error_at(span, message, remedy)
                }
                Wrong::Settings(message, remedy) => {
                    let span = place(entry.settings.as_ref().map(Spanned::span));
                    self.file.error_at(span, message, remedy)
                }
            }
        })?;
        Ok((target, made))
    }

    /// A broker or a consumer that the scenario does not have cannot be struck. The other targets are
    /// known by their kinds.
    pub(super) fn targets(
        &self,
        faults: &[FaultPlan],
        brokers: u32,
        groups: &[GroupPlan],
    ) -> Result<(), ScenarioError> {
        let members = || groups.iter().flat_map(|group| group.members.iter().cloned());
        for fault in faults {
            let there: Vec<String> = match fault.target.rsplit_once('-') {
                Some(("broker", _)) => (1..=brokers).map(|n| format!("broker-{n}")).collect(),
                Some(("consumer", _)) => members().collect(),
                _ => continue,
            };
            if there.contains(&fault.target) {
                continue;
            }
            let entry = self.file.scenario.faults[fault.entry].get_ref();
            let span = entry.target.as_ref().map_or(entry.kind.span(), Spanned::span);
            let remedy = match there.is_empty() {
                true => "give the scenario a [[group]], or another target".to_owned(),
                false => format!("there is {}", there.join(", ")),
            };
            return Err(self.file.error_at(
                span,
                format!("this scenario has no {}", fault.target),
                remedy,
            ));
        }
        Ok(())
    }

    fn kind(&self, entry: &FaultEntry) -> Result<&'static fault::Kind, ScenarioError> {
        fault::kind(entry.kind.get_ref()).ok_or_else(|| {
            let known: Vec<_> = fault::KINDS.iter().map(|kind| kind.name).collect();
            self.file.error_at(
                entry.kind.span(),
                format!("there is no fault `{}`", entry.kind.get_ref()),
                format!("known faults: {}", known.join(", ")),
            )
        })
    }

    fn trigger(&self, at: &Spanned<String>, load: &Load) -> Result<Trigger, ScenarioError> {
        let text = at.get_ref().trim();
        let Some((percent, of)) = text.split_once('%') else {
            let after = self.duration(at)?;
            if after >= load.length() {
                return Err(self.file.error_at(
                    at.span(),
                    format!(
                        "the load is over after {:?}, the fault would begin after that",
                        load.length()
                    ),
                    "begin earlier, or produce more records",
                ));
            }
            return Ok(Trigger::After(after));
        };
        let percent: f64 =
            percent.trim().parse().ok().filter(|p| (0.0..100.0).contains(p)).ok_or_else(|| {
                self.file.error_at(
                    at.span(),
                    format!("`{text}` lies outside the load"),
                    "give a percentage from 0 up to, but not including, 100",
                )
            })?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let count = (load.operations() as f64 * percent / 100.0) as u64;
        match of.trim() {
            "of invoked" => Ok(Trigger::Invoked(count)),
            "of committed" => Ok(Trigger::Committed(count)),
            _ => Err(self.file.error_at(
                at.span(),
                format!("`{text}` does not say of what"),
                "write `40% of invoked`, `40% of committed`, or a time like `3s`",
            )),
        }
    }

    /// When a `[[fault]]` begins, each time.
    fn triggers(
        &self,
        place: usize,
        entry: &FaultEntry,
        load: &Load,
        lasts: Duration,
        seed: u64,
    ) -> Result<Vec<Trigger>, ScenarioError> {
        let first = self.trigger(&entry.at, load)?;
        let (times, until) = match (&entry.times, &entry.until) {
            (None, None) => return Ok(vec![first]),
            (Some(times), Some(until)) => (times, until),
            (Some(given), None) => return Err(self.lonely(given.span(), "until")),
            (None, Some(given)) => return Err(self.lonely(given.span(), "times")),
        };
        let Trigger::After(from) = first else {
            return Err(self.file.error_at(
                entry.at.span(),
                "the instants of a repeated fault are drawn from a time",
                "write a time like `10s`",
            ));
        };
        let Trigger::After(end) = self.trigger(until, load)? else {
            return Err(self.file.error_at(
                until.span(),
                "the instants of a repeated fault are drawn from a time",
                "write a time like `4m`",
            ));
        };
        let count = self.small(times, 1..TIMES_MAX)?;
        let slice = end.saturating_sub(from) / count;
        let Some(room) = (slice - slice / FREE).checked_sub(lasts).filter(|room| !room.is_zero())
        else {
            return Err(self.file.error_at(
                times.span(),
                format!("{count} windows of {lasts:?} do not fit into that time"),
                "give them more time, make them shorter, or fewer",
            ));
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(place as u64);
        let begin = |number: u32| from + slice * number + room.mul_f64(random.random::<f64>());
        Ok((0..count).map(begin).map(whole_millis).map(Trigger::After).collect())
    }

    fn lonely(&self, span: Range<usize>, missing: &str) -> ScenarioError {
        self.file.error_at(
            span,
            format!("a repeated fault needs `{missing}` as well"),
            "give both `times` and `until`, or neither",
        )
    }
}

/// For a report that can be read.
fn whole_millis(instant: Duration) -> Duration {
    Duration::from_millis(u64::try_from(instant.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::super::{Resolved, resolve};
    use super::*;
    use crate::cli::TestbedName;
    use crate::scenario::ScenarioFile;
    use crate::testbed::abilities;

    const HEAD: &str = "title = \"t\"\ncriterion = \"c\"\nstory = \"s\"\nexpected = \"e\"\n\
        testbeds = [\"docker\"]\n[workload]\nrecords = 1000\nrate_per_s = 10\n\
        [[group]]\nname = \"g\"\nmembers = 2\n";
    const FAULT: &str = "[[fault]]\nkind = \"consumer-kill\"\nat = \"10s\"\nuntil = \"90s\"\n\
        times = 8\nlasts = \"3s\"\n";

    fn instants(faults: &str, seed: u64) -> Result<Vec<(usize, Duration)>, ScenarioError> {
        let file = ScenarioFile::parse(Path::new("x.toml"), format!("{HEAD}{faults}"))?;
        let testbed = TestbedName::Docker;
        let Resolved::Plan(plan) = resolve(&file, testbed.name(), &abilities(testbed), seed)?
        else {
            panic!("it can be carried out");
        };
        let numbers: Vec<u32> = plan.promises.faults.iter().map(|fault| fault.fault).collect();
        assert_eq!(numbers, (0..plan.faults.len() as u32).collect::<Vec<_>>());
        Ok(plan
            .faults
            .iter()
            .map(|fault| match fault.trigger {
                Trigger::After(at) => (fault.entry, at),
                other => panic!("{other:?}"),
            })
            .collect())
    }

    #[test]
    fn windows_of_one_fault_lie_in_their_time_and_never_meet() {
        for seed in 0..200 {
            let found = instants(FAULT, seed).unwrap();
            assert_eq!(found.len(), 8);
            assert!(found[0].1 >= Duration::from_secs(10));
            assert!(found[7].1 + Duration::from_secs(3) < Duration::from_secs(90));
            for pair in found.windows(2) {
                assert!(pair[0].1 + Duration::from_secs(3) < pair[1].1, "{found:?}");
            }
        }
    }

    #[test]
    fn the_seed_decides_and_each_fault_draws_for_itself() {
        let two = format!("{FAULT}{}", FAULT.replace("lasts", "target = \"consumer-2\"\nlasts"));
        let found = instants(&two, 7).unwrap();
        assert_eq!(found, instants(&two, 7).unwrap());
        assert_ne!(found, instants(&two, 8).unwrap());
        let of = |entry| found.iter().filter(move |f| f.0 == entry).map(|f| f.1);
        assert!(of(0).ne(of(1)));
        assert_eq!(found[..8], instants(FAULT, 7).unwrap());
    }

    #[test]
    fn a_target_that_the_scenario_does_not_have_is_a_mistake() {
        let targeted = |kind: &str, target: &str| {
            let fault = FAULT.replace(
                "kind = \"consumer-kill\"\n",
                &format!("kind = \"{kind}\"\ntarget = \"{target}\"\n"),
            );
            instants(&fault, 1)
        };
        assert!(targeted("consumer-kill", "consumer-2").is_ok());
        assert!(targeted("broker-restart", "broker-1").is_ok());
        for (kind, target) in [("consumer-kill", "consumer-3"), ("broker-restart", "broker-9")] {
            let error = targeted(kind, target).unwrap_err();
            assert_eq!(error.line(), 14);
            assert!(error.to_string().contains(&format!("has no {target}")), "{error}");
        }
    }

    #[test]
    fn mistakes_are_shown_at_their_place() {
        for (wrong, line, message) in [
            (FAULT.replace("until = \"90s\"\n", ""), 15, "needs `until`"),
            (FAULT.replace("times = 8\n", ""), 15, "needs `times`"),
            (FAULT.replace("\"10s\"", "\"10% of invoked\""), 14, "drawn from a time"),
            (FAULT.replace("\"90s\"", "\"90% of invoked\""), 15, "drawn from a time"),
            (FAULT.replace("times = 8", "times = 30"), 16, "do not fit"),
            (FAULT.replace("times = 8", "times = 0"), 16, "out of bounds"),
            (FAULT.replace("90s", "9s"), 16, "do not fit"),
            (FAULT.replace("90s", "101s"), 15, "the load is over"),
        ] {
            let error = instants(&wrong, 1).unwrap_err();
            assert_eq!(error.line(), line, "{error}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
