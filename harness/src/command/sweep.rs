//! `sweep`: takes down what a harness that was killed left behind, without running anything.

use std::io::Write as _;

use miette::IntoDiagnostic as _;

use crate::cli::{EXIT_ERROR, SweepArguments, TestbedName};
use crate::testbed;

pub(crate) fn main(arguments: &SweepArguments) -> miette::Result<u8> {
    let name = match arguments.processes_only {
        true => TestbedName::Embedded,
        false => TestbedName::Docker,
    };
    let runtime = tokio::runtime::Runtime::new().into_diagnostic()?;
    let elsewhere = testbed::external::sweep(&arguments.runs_dir);
    let swept = runtime.block_on(async { testbed::sweep(name).await.and(elsewhere.await) });
    let mut out = std::io::stdout();
    for line in &swept.done {
        writeln!(out, "{line}").into_diagnostic()?;
    }
    if swept.done.is_empty() && swept.problems.is_empty() {
        writeln!(out, "nothing was left behind").into_diagnostic()?;
    }
    for problem in &swept.problems {
        eprintln!("{problem}");
    }
    Ok(if swept.problems.is_empty() { 0 } else { EXIT_ERROR })
}
