//! Whether the harness still sees: the scenario that must fail, and the checks that had to.

use serde::{Deserialize, Serialize};

use super::{ScenarioReport, words};
use crate::verdict::Status;

/// What came of the canary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// The testbed that it ran on.
    pub testbed: String,
    /// Checks that had to fail.
    pub must_fail: Vec<String>,
    /// Checks that failed.
    pub failed: Vec<String>,
    /// Where its history lies, relative to the report.
    pub history_file: String,
}

impl Canary {
    /// Judges the canary's run.
    #[must_use]
    pub fn of(run: &ScenarioReport, must_fail: &[&str]) -> Self {
        let failed = run.verdict.checks.iter().filter(|check| check.status == Status::Fail);
        Self {
            testbed: run.header.run.testbed.clone(),
            must_fail: must_fail.iter().map(|check| (*check).to_owned()).collect(),
            failed: failed.map(|check| check.check.clone()).collect(),
            history_file: run.history_file.clone(),
        }
    }

    /// Checks that had to fail and did not.
    #[must_use]
    pub fn missed(&self) -> Vec<&str> {
        let missed = self.must_fail.iter().filter(|check| !self.failed.contains(check));
        missed.map(String::as_str).collect()
    }

    /// Everything that was planted was found.
    #[must_use]
    pub fn caught(&self) -> bool {
        self.missed().is_empty()
    }

    /// One sentence, the outcome first.
    pub(super) fn sentence(&self) -> String {
        let all = self.must_fail.len();
        match self.missed().as_slice() {
            [] => format!("caught: all {all} checks that had to fail did"),
            missed => format!(
                "NOT caught: the harness is broken, and no verdict of this run can be believed; {} of \
                 {all} checks that had to fail did not: {}",
                missed.len(),
                words::listed(missed)
            ),
        }
    }
}
