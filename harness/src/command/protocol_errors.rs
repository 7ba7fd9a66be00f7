//! `protocol-errors`: tells clients errors that their brokers never told, API by API and error by error, and
//! gathers what came of it in a matrix.
//!
//! A cell of the matrix is a pair of API and answer. The scenarios are made here, from one template; their
//! files are left beside the histories, so that each run can be repeated by itself. Several pairs can share
//! a run, one after the other: each has windows of its own, and a run that does not pass is held against all
//! of them.

mod pairs;
mod template;

use miette::IntoDiagnostic as _;

use self::pairs::{PAIRS, Pair};
use self::template::Run;
use crate::cli::{Output, ProtocolErrorsArguments, RunArguments, TestbedName};
use crate::command::console::look_of_results;
use crate::command::matrix::{self, End};
use crate::command::suite::{matches, writable};
use crate::scenario::{ScenarioFile, nearest};
use streamlake_judge::verdict::Status;
use streamlake_report::{
    PROTOCOL_HEAD, ProtocolCell, ProtocolMatrix, ScenarioEntry, protocol_row, render_protocol,
    terminal_table,
};

/// A run that is to be made, and the cells of its pairs.
struct Work {
    cells: Vec<usize>,
    run: Run,
    seed: u64,
    file: ScenarioFile,
}

pub(crate) fn main(arguments: &ProtocolErrorsArguments) -> miette::Result<u8> {
    let pairs = named(&arguments.run.scenarios)?;
    let reports = arguments.run.folders.reports().join("protocol-errors");
    let whole = arguments.run.scenarios.is_empty() && arguments.run.bug().is_none();
    let (arguments, works) = prepared(arguments, &pairs)?;
    writable(&reports, "--reports-dir")?;
    let runs: Vec<_> = works.iter().map(|work| (&work.file, work.seed)).collect();
    let entries = matrix::runs(&arguments, &runs)?;
    let matrix = gathered(&arguments, &pairs, works.iter().zip(&entries));
    let files = render_protocol(&matrix).into_diagnostic()?;
    let end = End { entries: &entries, files: &files, reports: &reports, whole, cells: "pairs" };
    end.conclude(matrix.status(), arguments.output, || table(&matrix, arguments.output))
}

/// The pairs that fit one of these patterns, in the order of the table.
fn named(patterns: &[String]) -> miette::Result<Vec<Pair>> {
    for pattern in patterns {
        if !PAIRS.iter().any(|pair| matches(pattern, &pair.name())) {
            let names: Vec<String> = PAIRS.iter().map(Pair::name).collect();
            let help = match nearest(pattern, names.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known pairs: {}", names.join(", ")),
            };
            return Err(miette::miette!(help = help, "there is no pair `{pattern}`"));
        }
    }
    let fits = |pair: &Pair| patterns.iter().any(|pattern| matches(pattern, &pair.name()));
    Ok(PAIRS.iter().filter(|pair| patterns.is_empty() || fits(pair)).copied().collect())
}

/// The scenarios of all pairs, written down, and the arguments that run them.
fn prepared(
    arguments: &ProtocolErrorsArguments,
    pairs: &[Pair],
) -> miette::Result<(RunArguments, Vec<Work>)> {
    let (together, mut arguments) = (arguments.together, arguments.run.clone());
    let folder = matrix::folder(&mut arguments, "protocol-errors")?;
    let testbed = arguments.testbed;
    // Containers take a while to start, and one machine bears one set of them.
    let default = if testbed == TestbedName::Docker { 6 } else { 1 };
    let together = together.map_or(default, usize::from);
    let mut works = Vec::new();
    for repeated in 0..u64::from(arguments.repeat) {
        for cells in shared(pairs, testbed, together) {
            let seed = arguments.seed.wrapping_add(repeated);
            let of_run = cells.iter().map(|cell| pairs[*cell]).collect();
            let run = Run::new(of_run, testbed);
            let file = matrix::written(&folder, &run.name(), run.scenario())?;
            works.push(Work { cells, run, seed, file });
        }
    }
    arguments.scenarios = works.iter().map(|work| work.file.path.display().to_string()).collect();
    Ok((arguments, works))
}

/// Which pairs share a run, by their places: those whose groups are set up alike, in their order.
fn shared(pairs: &[Pair], testbed: TestbedName, together: usize) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for (place, pair) in pairs.iter().enumerate().filter(|(_, pair)| pair.applies_to(testbed)) {
        let fits = |run: &&mut Vec<usize>| {
            let first = &pairs[run[0]];
            run.len() < together && first.members == pair.members && !first.alone && !pair.alone
        };
        match runs.iter_mut().find(fits) {
            Some(run) => run.push(place),
            None => runs.push(vec![place]),
        }
    }
    runs
}

fn gathered<'a>(
    arguments: &RunArguments,
    pairs: &[Pair],
    done: impl Iterator<Item = (&'a Work, &'a Option<ScenarioEntry>)>,
) -> ProtocolMatrix {
    let empty = |pair: &Pair| ProtocolCell {
        pair: pair.name(),
        api: pair.api.to_owned(),
        answer: pair.answer.to_owned(),
        applied: pair.applied,
        client: pair.client.to_owned(),
        ..ProtocolCell::default()
    };
    let mut cells: Vec<ProtocolCell> = pairs.iter().map(empty).collect();
    for (work, entry) in done {
        let Some(entry) = entry else { continue };
        for (cell, faults) in work.cells.iter().zip(work.run.faults()) {
            cells[*cell].add(entry, &faults, pairs[*cell].times);
        }
    }
    ProtocolMatrix {
        testbed: arguments.testbed.name().to_owned(),
        commit: crate::COMMIT.to_owned(),
        seed: arguments.seed,
        planted: arguments.bug().map(str::to_owned),
        cells,
    }
}

fn table(matrix: &ProtocolMatrix, output: Output) -> String {
    let shown = |cell: &&ProtocolCell| match cell.status() {
        Status::Pass => !output.quiet,
        Status::NotApplicable => output.verbose,
        _ => true,
    };
    let rows: Vec<Vec<String>> = matrix.cells.iter().filter(shown).map(protocol_row).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        let table = terminal_table(&PROTOCOL_HEAD, rows, look_of_results(output));
        text = format!("{table}\n\n");
    }
    for cell in &matrix.cells {
        for (check, said) in &cell.raised {
            text.push_str(&format!("{}: {check}: {said}\n", cell.pair));
        }
        for history in &cell.histories {
            text.push_str(&format!("{}: see {history}\n", cell.pair));
        }
    }
    text.push_str(&matrix.summary());
    text
}
