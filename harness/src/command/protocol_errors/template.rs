//! The scenario of one run: a steady load with poison in it, and its pairs one after the other.

use std::fmt::Write as _;
use std::time::Duration;

use super::pairs::{Members, Occasion, Pair};
use crate::cli::TestbedName;

const RATE_PER_S: u64 = 40;
/// From the begin of the load to the first fault, and from the last one to the end of it.
const MARGIN: Duration = Duration::from_secs(6);
/// A heartbeat of which a session needs several.
const HEARTBEAT: Duration = Duration::from_millis(400);
/// A member is restarted when it holds a good part of a batch, which takes it a moment to read.
const BATCH_AGE: Duration = Duration::from_secs(2);
/// Between a rule and the restart that brings its requests about.
const BEFORE_RESTART: Duration = Duration::from_millis(300);

/// Pairs that share a run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pairs: Vec<Pair>,
    testbed: TestbedName,
}

impl Run {
    pub(super) fn new(pairs: Vec<Pair>, testbed: TestbedName) -> Self {
        Self { pairs, testbed }
    }

    pub(super) fn name(&self) -> String {
        let first = self.pairs.first().map(Pair::name).unwrap_or_default();
        match self.pairs.len() {
            0 | 1 => format!("protocol-{first}"),
            more => format!("protocol-{first}-and-{}", more - 1),
        }
    }

    /// The numbers of the faults of each pair.
    pub(super) fn faults(&self) -> Vec<Vec<u32>> {
        let mut next = 0;
        let faults = self.pairs.iter().map(|pair| {
            let own = next;
            next += if pair.occasion == Occasion::Restart { 2 } else { 1 };
            // The restart beside it explains copies that the answer has caused.
            (own..next).collect()
        });
        faults.collect()
    }

    /// The mock takes any session; a broker takes no less than six seconds unless it is told to.
    fn session(&self) -> Duration {
        match self.testbed {
            TestbedName::Embedded => Duration::from_secs(2),
            TestbedName::Docker | TestbedName::External => Duration::from_secs(6),
        }
    }

    fn lasts(&self, pair: &Pair) -> Duration {
        let beats = u32::try_from(pair.times).unwrap_or(u32::MAX);
        match pair.occasion {
            Occasion::Restart => Duration::from_secs(8) + self.session(),
            Occasion::Load => HEARTBEAT.saturating_mul(beats).max(Duration::from_secs(5)),
        }
    }

    fn takes(&self, pair: &Pair) -> Duration {
        self.lasts(pair) + self.session() + Duration::from_secs(3)
    }

    pub(super) fn scenario(&self) -> String {
        let length = 2 * MARGIN + self.pairs.iter().map(|pair| self.takes(pair)).sum::<Duration>();
        let records = length.as_secs() * RATE_PER_S;
        let names: Vec<String> = self.pairs.iter().map(Pair::name).collect();
        let mut text = format!(
            r#"# Made by `streamlake-harness protocol-errors`.

title = "Protocol errors: {names}"
criterion = "Whatever a client is told by a broker, or not told, nothing is lost and every copy has its cause"
story = "{records} records at {RATE_PER_S}/s, every tenth of them poison, and two members; the proxy before the brokers answers some requests otherwise than they do."
expected = "Clients try again or join again; what was stored and not committed may come once more."
testbeds = ["{testbed}"]
in_suite = false

[workload]
records = {records}
rate_per_s = {RATE_PER_S}
variety = "plain"
poison_every = 10

[producer]
lets_poison_through = true

[recovery]
within = "30s"
{group}"#,
            names = names.join(", "),
            testbed = self.testbed.name(),
            group = self.group(),
        );
        let mut at = MARGIN;
        for pair in &self.pairs {
            self.write(&mut text, pair, at);
            at += self.takes(pair);
        }
        text
    }

    fn group(&self) -> String {
        let (session, beat) = (self.session().as_millis(), HEARTBEAT.as_millis());
        let members = self.pairs.first().map_or(Members::Classic, |pair| pair.members);
        let properties = match members {
            Members::Newer => "\"group.protocol\" = \"consumer\"".to_owned(),
            Members::Classic => format!(
                "\"session.timeout.ms\" = \"{session}\", \"heartbeat.interval.ms\" = \"{beat}\""
            ),
        };
        let age = BATCH_AGE.as_millis();
        let mut text = format!(
            "\n[[group]]\nname = \"told\"\nmembers = 2\nbatch_age = \"{age}ms\"\n\
             properties = {{ {properties} }}\n"
        );
        if members == Members::Newer {
            let _ = write!(
                text,
                "\n[cluster.broker_properties]\n\
                 \"group.consumer.min.session.timeout.ms\" = \"{session}\"\n\
                 \"group.consumer.session.timeout.ms\" = \"{session}\"\n\
                 \"group.consumer.min.heartbeat.interval.ms\" = \"{beat}\"\n\
                 \"group.consumer.heartbeat.interval.ms\" = \"{beat}\"\n"
            );
        }
        text
    }

    fn write(&self, text: &mut String, pair: &Pair, at: Duration) {
        let Pair { api, answer, applied, client, times, .. } = pair;
        let mut settings =
            format!("api = \"{api}\", answer = \"{answer}\", applied = {applied}, times = {times}");
        if let Some(partition) = pair.partition {
            let _ = write!(settings, ", partition = {partition}");
        }
        if pair.throttle_ms > 0 {
            let _ = write!(settings, ", throttle_ms = {}", pair.throttle_ms);
        }
        let (at_ms, lasts) = (at.as_millis(), self.lasts(pair).as_millis());
        let _ = write!(
            text,
            "\n[[fault]]\nkind = \"protocol-error\"\ntarget = \"{client}\"\nat = \"{at_ms}ms\"\n\
             lasts = \"{lasts}ms\"\nsettings = {{ {settings} }}\n"
        );
        if pair.occasion == Occasion::Restart {
            let at_ms = (at + BEFORE_RESTART).as_millis();
            let _ = write!(
                text,
                "\n[[fault]]\nkind = \"consumer-restart\"\ntarget = \"consumer-1\"\n\
                 at = \"{at_ms}ms\"\nlasts = \"500ms\"\n"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::super::pairs::PAIRS;
    use super::super::shared;
    use super::*;
    use crate::plan::{Resolved, resolve};
    use crate::scenario::ScenarioFile;
    use crate::testbed;

    fn runs(testbed: TestbedName, together: usize) -> Vec<Run> {
        let of = |places: Vec<usize>| places.into_iter().map(|place| PAIRS[place]).collect();
        let runs = shared(PAIRS, testbed, together).into_iter();
        runs.map(|places| Run::new(of(places), testbed)).collect()
    }

    #[test]
    fn every_pair_can_be_planned_alone_and_with_others() {
        for testbed in [TestbedName::Embedded, TestbedName::Docker] {
            for together in [1, 6] {
                let mut faults = 0;
                for run in runs(testbed, together) {
                    let text = run.scenario();
                    let file = ScenarioFile::parse(Path::new("run.toml"), text).unwrap();
                    let abilities = testbed::abilities(testbed);
                    let plan = resolve(&file, testbed.name(), &abilities, 3).unwrap();
                    let Resolved::Plan(plan) = plan else { panic!("{}", run.name()) };
                    let numbers: Vec<u32> = run.faults().concat();
                    assert_eq!(numbers.len(), plan.faults.len());
                    for (pair, numbers) in run.pairs.iter().zip(run.faults()) {
                        let first = &plan.faults[numbers[0] as usize];
                        assert_eq!((first.kind, &*first.target), ("protocol-error", pair.client));
                    }
                    faults += run.pairs.len();
                }
                let applicable = PAIRS.iter().filter(|pair| pair.applies_to(testbed)).count();
                assert_eq!(faults, applicable);
            }
        }
    }
}
