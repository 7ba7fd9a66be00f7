//! Whether the harness still sees: the scenario that must fail, and what had to be found in it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::words;

/// What came of the canary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// The testbed that it ran on.
    pub testbed: String,
    /// It ran. A suite without it shows nothing.
    pub ran: bool,
    /// What was planted, and whether it was found.
    pub planted: Vec<Planted>,
    /// Where its history lies, relative to the report.
    pub history_file: String,
}

/// One thing that was planted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planted {
    /// What.
    pub what: String,
    /// The check that had to find it.
    pub check: String,
    /// Where it was planted.
    pub place: String,
    /// It was found there.
    pub found: bool,
}

impl Canary {
    /// The canary of a suite in which it did not run.
    #[must_use]
    pub fn absent(testbed: &str) -> Self {
        Self {
            testbed: testbed.to_owned(),
            ran: false,
            planted: Vec::new(),
            history_file: String::new(),
        }
    }

    /// What was planted and not found.
    #[must_use]
    pub fn missed(&self) -> Vec<&Planted> {
        self.planted.iter().filter(|planted| !planted.found).collect()
    }

    /// It ran, and everything that was planted was found.
    #[must_use]
    pub fn caught(&self) -> bool {
        self.ran && !self.planted.is_empty() && self.missed().is_empty()
    }

    /// One sentence, the outcome first.
    pub(super) fn sentence(&self) -> String {
        if !self.ran {
            return "did not run: nothing shows that the harness sees, and no verdict of this suite \
                    can be believed; run the whole suite"
                .to_owned();
        }
        let all = self.planted.len() as u64;
        let missed: Vec<String> = self
            .missed()
            .into_iter()
            .map(|planted| format!("{} at {} by {}", planted.what, planted.place, planted.check))
            .collect();
        if self.caught() {
            let checks: BTreeSet<&str> = self.planted.iter().map(|p| p.check.as_str()).collect();
            return format!(
                "caught: all {} that were planted were found, each at its place, by {}",
                words::counted(all, "anomaly", "anomalies"),
                words::counted(checks.len() as u64, "check", "checks")
            );
        }
        format!(
            "NOT caught: the harness is broken, and no verdict of this run can be believed; {} of \
             {all} planted anomalies were not found: {}",
            missed.len(),
            words::listed(&missed)
        )
    }
}
