//! `check`: judges saved histories again.

use std::io::Write as _;

use miette::IntoDiagnostic as _;

use crate::cli::CheckArguments;
use crate::command::show::look;
use crate::judgement::judge;
use crate::report::{self, ScenarioEntry, SuiteReport};
use crate::verdict::Status;

pub(crate) fn main(arguments: &CheckArguments) -> miette::Result<u8> {
    let mut scenarios = Vec::new();
    let mut cut_short = Vec::new();
    for path in &arguments.histories {
        match judge(path) {
            Ok(report) => scenarios.push(ScenarioEntry::Ran(Box::new(report))),
            Err(error) if error.is_truncated() => cut_short.push(error),
            Err(error) => return Err(miette::miette!("{error}")),
        }
    }
    let histories: Vec<_> =
        arguments.histories.iter().map(|path| path.display().to_string()).collect();
    let command = format!("streamlake-harness check {}", histories.join(" "));
    let suite = SuiteReport { command, scenarios, ..SuiteReport::default() };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        for file in report::render(&suite).into_diagnostic()? {
            if file.name.ends_with(".json") {
                out.write_all(&file.bytes).into_diagnostic()?;
            }
        }
    } else if !suite.scenarios.is_empty() {
        let summary = report::terminal_summary(&suite, look(&std::io::stdout()));
        writeln!(out, "{summary}").into_diagnostic()?;
    }
    for error in &cut_short {
        writeln!(out, "{}: {error}", Status::Inconclusive.word()).into_diagnostic()?;
    }
    let doubts = cut_short.iter().map(|_| Status::Inconclusive);
    let judged = suite.scenarios.iter().filter_map(ScenarioEntry::status);
    Ok(Status::combine(judged.chain(doubts)).exit_code())
}
