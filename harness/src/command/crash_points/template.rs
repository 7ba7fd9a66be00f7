//! The scenario of one cell: a steady load with poison in it, and the deaths one after the other.

use std::fmt::Write as _;
use std::time::Duration;

use streamlake::crash::{Label, Occasion};

use crate::cli::TestbedName;

/// Deaths of one run: more of them make runs that are long, fewer make many.
const DEATHS_A_RUN: u32 = 10;
const RATE_PER_S: u64 = 40;
/// From the begin of the load to the first death, and from the last one to the end of it.
const MARGIN: Duration = Duration::from_secs(6);

/// How so many deaths are spread over runs.
pub(super) fn runs_of(deaths: u32) -> Vec<u32> {
    let runs = deaths.div_ceil(DEATHS_A_RUN);
    (0..runs).map(|run| deaths / runs + u32::from(run < deaths % runs)).collect()
}

/// One run of a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) label: &'a Label,
    pub(super) members: u32,
    pub(super) testbed: TestbedName,
    pub(super) deaths: u32,
    /// Which of the cell's runs, from 0.
    pub(super) part: usize,
    pub(super) seed: u64,
}

impl Cell<'_> {
    pub(super) fn name(&self) -> String {
        format!("crash-{}-of-{}-{}", self.label.name, self.members, self.part + 1)
    }

    /// The group notices a dead member when its session runs out. A broker takes no less than six seconds
    /// unless it is told to; the mock takes anything, and is told so for a run that is shorter.
    fn session(&self) -> Duration {
        match self.testbed {
            TestbedName::Embedded => Duration::from_secs(2),
            TestbedName::Docker | TestbedName::External => Duration::from_secs(6),
        }
    }

    /// What one death takes: until the session of the dead is over and something is committed again, and what
    /// brings it about.
    fn takes(&self) -> Duration {
        let own = match self.label.occasion {
            Occasion::Load => Duration::from_secs(3),
            Occasion::Stop | Occasion::Start => Duration::from_secs(4),
            Occasion::Revocation => Duration::from_secs(5) + self.session(),
        };
        own + self.session()
    }

    /// What is to be struck in an orderly stop is there only while a batch is open, and the stop is asked for
    /// once ten records wait: at this rate a batch of the default age would be closed by then.
    fn batch_age(&self) -> &'static str {
        if self.label.occasion == Occasion::Stop { "batch_age = \"2s\"\n" } else { "" }
    }

    /// Which passing: not always the first one, where a process passes often.
    fn nth(&self, death: u32) -> u64 {
        let often = match (self.label.occasion, self.label.name) {
            (_, "record-taken") => 30,
            (_, "before-metadata" | "after-metadata") => 1,
            (Occasion::Load, _) => 3,
            _ => 1,
        };
        let before = self.part as u64 * u64::from(DEATHS_A_RUN) + u64::from(death);
        (self.seed.wrapping_mul(7) + before * 7) % often + 1
    }

    pub(super) fn scenario(&self) -> String {
        let Label { name, about, .. } = self.label;
        let Self { members, deaths, .. } = *self;
        let length = 2 * MARGIN + deaths * self.takes();
        let records = length.as_secs() * RATE_PER_S;
        let (session, age) = (self.session().as_millis(), self.batch_age());
        let mut text = format!(
            r#"# Made by `streamlake-harness crash-points`: {about}.

title = "Death at {name}, {members} in the group"
criterion = "Whatever step of the commit protocol a consumer dies at, nothing is lost and every copy has its cause"
story = "{records} records at {RATE_PER_S}/s, every tenth of them poison; the first member sends itself SIGKILL {deaths} times at {name}, and is started again each time."
expected = "What was stored or dead-lettered and not yet committed comes again; nothing else does."
testbeds = ["embedded", "docker"]
in_suite = false

[workload]
records = {records}
rate_per_s = {RATE_PER_S}
variety = "plain"
poison_every = 10

[producer]
lets_poison_through = true

[[group]]
name = "crashing"
members = {members}
properties = {{ "session.timeout.ms" = "{session}", "heartbeat.interval.ms" = "400" }}
{age}"#
        );
        for death in 0..deaths {
            // They take turns; the order is all that these instants decide.
            let at = MARGIN.as_millis() + 50 * u128::from(death);
            let nth = self.nth(death);
            let _ = write!(
                text,
                "\n[[fault]]\nkind = \"crash-point\"\ntarget = \"consumer-1\"\nat = \"{at}ms\"\n\
                 settings = {{ point = \"{name}\", nth = {nth} }}\n"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use streamlake::crash;

    use super::*;
    use crate::plan::{Resolved, resolve};
    use crate::scenario::ScenarioFile;
    use crate::testbed;

    #[test]
    fn deaths_are_spread_evenly() {
        assert_eq!(runs_of(1), [1]);
        assert_eq!(runs_of(20), [10, 10]);
        assert_eq!(runs_of(11), [6, 5]);
    }

    #[test]
    fn every_cell_can_be_planned_on_both_testbeds() {
        for label in crash::labels() {
            for testbed in [TestbedName::Embedded, TestbedName::Docker] {
                let cell = Cell { label, members: 2, testbed, deaths: 10, part: 1, seed: 3 };
                let file = ScenarioFile::parse(Path::new("cell.toml"), cell.scenario()).unwrap();
                let abilities = testbed::abilities(testbed);
                let plan = resolve(&file, testbed.name(), &abilities, 3).unwrap();
                assert!(matches!(plan, Resolved::Plan(plan) if plan.faults.len() == 10));
            }
        }
    }
}
