//! The canary: the scenario that must fail, and the checks that must fail in it.

use std::path::Path;

use crate::scenario::{ScenarioError, ScenarioFile};

/// The scenario's name.
pub(crate) const NAME: &str = "canary";
/// The scenario is part of the program: a folder of scenarios without it must not go without it.
const TEXT: &str = include_str!("../../scenarios/canary.toml");
/// What was planted, by the checks that are there to find it.
pub(crate) const MUST_FAIL: [&str; 5] =
    ["no-loss", "immutability", "fidelity", "partition-determinism", "dead-letters"];

/// The scenario.
///
/// # Errors
/// None but a defect of the harness: a test parses it.
pub(crate) fn scenario() -> Result<ScenarioFile, ScenarioError> {
    ScenarioFile::parse(Path::new("scenarios/canary.toml"), TEXT.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::TestbedName;
    use crate::plan::{Resolved, resolve};

    #[test]
    fn the_canary_runs_on_every_testbed_and_its_checks_exist() {
        let file = scenario().unwrap();
        assert_eq!((file.name.as_str(), file.scenario.in_suite), (NAME, false));
        for testbed in [TestbedName::Embedded, TestbedName::Docker] {
            let abilities = crate::testbed::abilities(testbed);
            let resolved = resolve(&file, testbed.name(), &abilities, 1).unwrap();
            assert!(matches!(resolved, Resolved::Plan(_)));
        }
        for name in MUST_FAIL {
            assert!(crate::checker::all().iter().any(|checker| checker.name == name), "{name}");
        }
    }
}
