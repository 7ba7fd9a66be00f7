//! A schedule: how the pipeline is set up and what is done to it, drawn from a seed. It is written as a
//! scenario, which runs like any other.

use std::fmt::Write as _;

use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::strikes::{On, Strike};
use crate::cli::TestbedName;

/// From the begin of the load to the first strike, and from the last one to the end of it.
const MARGIN_MS: u64 = 2_500;
/// Two strikes at one target are so far apart at least: the first must be seen to be over.
const APART_MS: u64 = 2_500;
const STRIKES_MAX: usize = 4;
/// How likely a strike exists in a schedule at all: few at a time meet more often than many.
const EXISTS: f64 = 0.4;
/// A place for a strike is looked for so often.
const TRIES: usize = 12;

/// A strike with its instant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    /// Its place in the list of strikes.
    pub(super) strike: usize,
    target: String,
    pub(super) at_ms: u64,
    pub(super) lasts_ms: u64,
    settings: String,
}

impl Planned {
    /// Whether the windows of both have an instant in common.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.at_ms < other.at_ms + other.lasts_ms.max(1)
            && other.at_ms < self.at_ms + self.lasts_ms.max(1)
    }
}

/// What is run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    load_ms: u64,
    rate: u64,
    full_variety: bool,
    poison_every: Option<u64>,
    members: u64,
    batch_age_ms: u64,
    batch_records: Option<u64>,
    compression: Option<&'static str>,
    assignor: Option<&'static str>,
    session_ms: u64,
    pub(super) strikes: Vec<Planned>,
}

impl Schedule {
    /// Draws one. A strike is the likelier the less often it has met anything yet.
    pub(super) fn draw(seed: u64, strikes: &[Strike], met: &[u64], testbed: TestbedName) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // The mock takes any session; a broker takes no less than six seconds unless it is told to.
        let session_ms = if testbed == TestbedName::Embedded { 2_000 } else { 6_000 };
        let full_variety = random.random_bool(0.5);
        let mut schedule = Self {
            seed,
            load_ms: random.random_range(9_000..=14_000),
            rate: random.random_range(40..=200),
            full_variety,
            poison_every: (!full_variety).then(|| random.random_range(4..=30)),
            members: random.random_range(1..=3),
            batch_age_ms: *[100, 300, 800, 2_000].choose(&mut random).unwrap_or(&300),
            batch_records: random.random_bool(0.5).then(|| random.random_range(2..=60)),
            compression: random.random_bool(0.3).then_some("zstd"),
            assignor: random.random_bool(0.4).then_some("range"),
            session_ms,
            strikes: Vec::new(),
        };
        let exist: Vec<usize> = (0..strikes.len()).filter(|_| random.random_bool(EXISTS)).collect();
        #[expect(clippy::cast_precision_loss, reason = "a weight")]
        let weight = |place: &usize| 1.0 / (1.0 + met[*place] as f64);
        for _ in 0..random.random_range(1..=STRIKES_MAX) {
            let Ok(place) = exist.choose_weighted(&mut random, weight) else { break };
            schedule.add(*place, &strikes[*place], &mut random);
        }
        schedule.strikes.sort_by_key(|planned| planned.at_ms);
        schedule
    }

    /// With this strike alone: to see whether a testbed can carry it out.
    pub(super) fn only(strike: &Strike, testbed: TestbedName) -> Self {
        let mut schedule = Self::draw(0, &[], &[], testbed);
        schedule.add(0, strike, &mut ChaCha8Rng::seed_from_u64(0));
        schedule
    }

    /// Adds a strike where it does not meet another one at its target, if there is such a place.
    fn add(&mut self, place: usize, strike: &Strike, random: &mut ChaCha8Rng) {
        let target = match strike.on {
            On::Member => format!("consumer-{}", random.random_range(1..=self.members)),
            On::Producer => "producer-1".to_owned(),
            On::Broker => "broker-1".to_owned(),
            On::Store => "store".to_owned(),
        };
        let mut settings = strike.fixed.to_string();
        for (key, least, most) in strike.drawn {
            let comma = if settings.is_empty() { "" } else { ", " };
            let _ = write!(settings, "{comma}{key} = {}", random.random_range(*least..=*most));
        }
        let lasts_ms = strike
            .lasts
            .map_or(0, |(least, most)| random.random_range(least..=most))
            .min(self.load_ms);
        let latest = (self.load_ms - MARGIN_MS).max(MARGIN_MS + 1);
        for _ in 0..TRIES {
            let at_ms = random.random_range(MARGIN_MS..latest);
            let free = self.strikes.iter().filter(|other| other.target == target).all(|other| {
                at_ms >= other.at_ms + other.lasts_ms + APART_MS
                    || other.at_ms >= at_ms + lasts_ms + APART_MS
            });
            if free {
                self.strikes.push(Planned { strike: place, target, at_ms, lasts_ms, settings });
                return;
            }
        }
    }

    /// The same with less of something, the biggest steps first.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        if self.strikes.len() > 2 {
            let middle = self.strikes.len() / 2;
            all.push(Self { strikes: self.strikes[..middle].to_vec(), ..self.clone() });
            all.push(Self { strikes: self.strikes[middle..].to_vec(), ..self.clone() });
        }
        if self.strikes.len() > 1 {
            all.extend((0..self.strikes.len()).map(|gone| {
                let mut less = self.clone();
                less.strikes.remove(gone);
                less
            }));
        }
        let aimed =
            self.strikes.iter().filter_map(|planned| planned.target.strip_prefix("consumer-"));
        let needed = aimed.filter_map(|number| number.parse().ok()).max().unwrap_or(1);
        all.extend((self.members > needed).then(|| Self { members: needed, ..self.clone() }));
        if self.full_variety {
            all.push(Self { full_variety: false, poison_every: None, ..self.clone() });
        }
        all.extend(self.poison_every.map(|_| Self { poison_every: None, ..self.clone() }));
        all.extend(self.compression.map(|_| Self { compression: None, ..self.clone() }));
        all.extend(self.assignor.map(|_| Self { assignor: None, ..self.clone() }));
        all.extend(self.batch_records.map(|_| Self { batch_records: None, ..self.clone() }));
        all.extend((self.rate > 80).then(|| Self { rate: self.rate / 2, ..self.clone() }));
        all
    }

    pub(super) fn scenario(&self, strikes: &[Strike]) -> String {
        let Self { seed, rate, members, session_ms, batch_age_ms, .. } = *self;
        let records = (self.load_ms * rate / 1_000).max(1);
        let names: Vec<&str> =
            self.strikes.iter().map(|planned| strikes[planned.strike].name.as_ref()).collect();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let mut text = format!(
            r#"# Drawn by `streamlake-harness explore` from seed {seed}.

title = "Explored: {names}"
criterion = "Whatever happens, nothing is lost, every copy has its cause, and all is well again soon"
story = "{records} records at {rate}/s, {members} in the group; {names}."
expected = "Nothing is lost; afterwards everything that was read is stored and committed."
testbeds = ["embedded", "docker"]
in_suite = false

[workload]
records = {records}
rate_per_s = {rate}
variety = "{variety}"
"#,
            variety = if self.full_variety { "full" } else { "plain" },
        );
        if let Some(every) = self.poison_every {
            let _ =
                write!(text, "poison_every = {every}\n\n[producer]\nlets_poison_through = true\n");
        }
        let _ = write!(
            text,
            "\n[[group]]\nname = \"explored\"\nmembers = {members}\nbatch_age = \"{batch_age_ms}ms\"\n"
        );
        if let Some(records) = self.batch_records {
            let _ = writeln!(text, "batch_records = {records}");
        }
        if let Some(compression) = self.compression {
            let _ = writeln!(text, "compression = \"{compression}\"");
        }
        let _ = write!(
            text,
            "properties = {{ \"session.timeout.ms\" = \"{session_ms}\", \"heartbeat.interval.ms\" = \"400\""
        );
        if let Some(assignor) = self.assignor {
            let _ = write!(text, ", \"partition.assignment.strategy\" = \"{assignor}\"");
        }
        text.push_str(" }\n");
        for planned in &self.strikes {
            let Planned { target, at_ms, lasts_ms, settings, .. } = planned;
            let kind = strikes[planned.strike].kind;
            let _ = write!(
                text,
                "\n[[fault]]\nkind = \"{kind}\"\ntarget = \"{target}\"\nat = \"{at_ms}ms\"\n"
            );
            if *lasts_ms > 0 {
                let _ = writeln!(text, "lasts = \"{lasts_ms}ms\"");
            }
            if !settings.is_empty() {
                let _ = writeln!(text, "settings = {{ {settings} }}");
            }
        }
        text.push_str("\n[recovery]\nwithin = \"60s\"\n");
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::super::strikes;
    use super::*;
    use crate::plan::{Resolved, resolve};
    use crate::scenario::ScenarioFile;
    use crate::testbed;

    #[test]
    fn every_schedule_can_be_planned_and_so_can_what_it_shrinks_to() {
        let strikes = strikes::all();
        let met = vec![0; strikes.len()];
        for testbed in [TestbedName::Embedded, TestbedName::Docker] {
            let abilities = testbed::abilities(testbed);
            for seed in 0..300 {
                let drawn = Schedule::draw(seed, &strikes, &met, testbed);
                for schedule in drawn.smaller().into_iter().chain([drawn]) {
                    let text = schedule.scenario(&strikes);
                    let file = ScenarioFile::parse(Path::new("explored.toml"), text).unwrap();
                    let plan = resolve(&file, testbed.name(), &abilities, seed).unwrap();
                    let Resolved::Plan(plan) = plan else {
                        panic!("seed {seed} cannot be carried out")
                    };
                    assert_eq!(plan.faults.len(), schedule.strikes.len());
                }
            }
        }
    }

    #[test]
    fn a_seed_draws_the_same_schedule_each_time_and_others_draw_others() {
        let strikes = strikes::all();
        let met = vec![0; strikes.len()];
        let draw = |seed| Schedule::draw(seed, &strikes, &met, TestbedName::Embedded);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let struck: std::collections::BTreeSet<usize> =
            (0..400).flat_map(|seed| draw(seed).strikes).map(|planned| planned.strike).collect();
        assert_eq!(struck.len(), strikes.len(), "every strike is drawn sooner or later");
    }

    #[test]
    fn strikes_at_one_target_never_meet() {
        let strikes = strikes::all();
        let met = vec![0; strikes.len()];
        for seed in 0..300 {
            let schedule = Schedule::draw(seed, &strikes, &met, TestbedName::Embedded);
            for (place, one) in schedule.strikes.iter().enumerate() {
                for other in &schedule.strikes[place + 1..] {
                    assert!(one.target != other.target || !one.meets(other), "seed {seed}");
                }
            }
        }
    }
}
