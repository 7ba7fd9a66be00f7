//! `prove`: plants bugs in the pipeline and shows that the checkers catch them.
//!
//! Each bug runs in the scenario that can show it, and the same scenario runs clean. A bug is caught
//! only when the checker that is named for it fails; a clean run must raise nothing.

use crate::cli::RunArguments;

#[cfg(not(feature = "planted-bugs"))]
pub(crate) fn main(_: &RunArguments) -> miette::Result<u8> {
    Err(miette::miette!(
        help = "build with them: `cargo run --release --features planted-bugs -- prove`",
        "this binary holds no planted bugs"
    ))
}

#[cfg(feature = "planted-bugs")]
pub(crate) use with_bugs::main;

#[cfg(feature = "planted-bugs")]
mod with_bugs {
    use std::io::Write as _;

    use comfy_table::Table;
    use comfy_table::presets::UTF8_BORDERS_ONLY;
    use miette::IntoDiagnostic as _;

    use crate::cli::{EXIT_INTERRUPTED, RunArguments};
    use crate::command::run;
    use crate::report::ScenarioEntry;
    use crate::verdict::Status;

    /// A planted bug, the scenario that can show it, and the check that is there to catch it.
    struct Trial {
        bug: &'static str,
        scenario: &'static str,
        check: &'static str,
    }

    const TRIALS: &[Trial] =
        &[Trial { bug: "commit-before-write", scenario: "slow-store", check: "commit-frontier" }];

    pub(crate) fn main(arguments: &RunArguments) -> miette::Result<u8> {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        table.set_header(["bug", "scenario", "to be caught by", "failed checks", "result"]);
        let mut proven = true;
        for trial in TRIALS {
            for bug in [Some(trial.bug), None] {
                let arguments = arguments.planting(trial.scenario, bug);
                let Some(entries) = run::entries(&arguments)? else { return Ok(EXIT_INTERRUPTED) };
                let failed = failed_checks(&entries);
                let as_expected = match bug {
                    Some(_) => failed.iter().any(|check| check == trial.check),
                    None => entries.iter().all(|entry| entry.status() == Some(Status::Pass)),
                };
                proven &= as_expected;
                let result = match (bug, as_expected) {
                    (Some(_), true) => "caught",
                    (Some(_), false) => "MISSED",
                    (None, true) => "clean",
                    (None, false) => "FALSE ALARM",
                };
                table.add_row([
                    bug.unwrap_or("none"),
                    trial.scenario,
                    bug.map_or("nothing", |_| trial.check),
                    &failed.join(", "),
                    result,
                ]);
            }
        }
        writeln!(std::io::stdout(), "{table}").into_diagnostic()?;
        Ok(if proven { 0 } else { 1 })
    }

    fn failed_checks(entries: &[ScenarioEntry]) -> Vec<String> {
        let reports = entries.iter().filter_map(|entry| match entry {
            ScenarioEntry::Ran(report) => Some(report),
            _ => None,
        });
        reports
            .flat_map(|report| &report.verdict.checks)
            .filter(|check| check.status == Status::Fail)
            .map(|check| check.check.clone())
            .collect()
    }
}
