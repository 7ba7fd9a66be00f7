//! `crash-points`: kills a consumer at each labelled step of its commit protocol, many times, alone and in
//! a group, and gathers what came of it in a matrix.
//!
//! A cell of the matrix is one point with one number of members. Its scenarios are made here, from one
//! template; their files are left beside the histories, so that each run can be repeated by itself.

#[cfg(not(feature = "crash-points"))]
pub(crate) fn main(_: &crate::cli::CrashPointsArguments) -> miette::Result<u8> {
    Err(miette::miette!(
        help = "build with them: `cargo run --features crash-points -- crash-points`",
        "this binary holds no crash points"
    ))
}

#[cfg(feature = "crash-points")]
mod template;

#[cfg(feature = "crash-points")]
pub(crate) use with_points::main;

#[cfg(feature = "crash-points")]
mod with_points {
    use miette::IntoDiagnostic as _;
    use streamlake::crash::{self, Label, Occasion};

    use super::template::{self, Cell};
    use crate::cli::{CrashPointsArguments, Output, RunArguments};
    use crate::command::console::look_of_results;
    use crate::command::matrix::{self, End};
    use crate::command::suite::writable;
    use crate::scenario::{ScenarioFile, nearest};
    use streamlake_judge::verdict::Status;
    use streamlake_report::{
        CrashCell, CrashMatrix, ScenarioEntry, crash_mechanisms, render_crash, terminal_table,
    };

    /// A run that is to be made.
    struct Work {
        cell: usize,
        deaths: u32,
        seed: u64,
        file: ScenarioFile,
    }

    pub(crate) fn main(arguments: &CrashPointsArguments) -> miette::Result<u8> {
        let labels = named(&arguments.run.scenarios)?;
        let members = match arguments.members.as_slice() {
            [] => &[1, 2],
            members => members,
        };
        let cells: Vec<(&Label, u32)> = labels
            .iter()
            .flat_map(|label| members.iter().map(move |members| (*label, *members)))
            .collect();
        let reports = arguments.run.folders.reports().join("crash-points");
        let whole = arguments.run.scenarios.is_empty() && arguments.run.bug().is_none();
        let (arguments, works) = prepared(arguments, &cells)?;
        writable(&reports, "--reports-dir")?;
        let runs: Vec<_> = works.iter().map(|work| (&work.file, work.seed)).collect();
        let entries = matrix::runs(&arguments, &runs)?;
        let matrix = gathered(&arguments, &cells, works.iter().zip(&entries));
        let files = render_crash(&matrix).into_diagnostic()?;
        let end =
            End { entries: &entries, files: &files, reports: &reports, whole, cells: "points" };
        end.conclude(matrix.status(), arguments.output, || table(&matrix, arguments.output))
    }

    fn named(names: &[String]) -> miette::Result<Vec<&'static Label>> {
        let all = crash::labels();
        let find = |name: &String| {
            all.iter().find(|label| label.name == *name).ok_or_else(|| {
                let known = || all.iter().map(|label| label.name);
                let help = match nearest(name, known()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known points: {}", known().collect::<Vec<_>>().join(", ")),
                };
                miette::miette!(help = help, "there is no crash point `{name}`")
            })
        };
        if names.is_empty() { Ok(all.iter().collect()) } else { names.iter().map(find).collect() }
    }

    /// The scenarios of all cells, written down, and the arguments that run them.
    fn prepared(
        arguments: &CrashPointsArguments,
        cells: &[(&Label, u32)],
    ) -> miette::Result<(RunArguments, Vec<Work>)> {
        let (hits, mut arguments) = (arguments.hits, arguments.run.clone());
        let folder = matrix::folder(&mut arguments, "crash-points")?;
        let mut works = Vec::new();
        for (number, (label, members)) in cells.iter().enumerate() {
            if label.occasion == Occasion::Revocation && *members < 2 {
                continue;
            }
            for repeated in 0..u64::from(arguments.repeat) {
                for (part, deaths) in template::runs_of(hits).into_iter().enumerate() {
                    let seed = arguments.seed.wrapping_add(repeated);
                    let (members, testbed) = (*members, arguments.testbed);
                    let cell = Cell { label, members, testbed, deaths, part, seed };
                    let file = matrix::written(&folder, &cell.name(), cell.scenario())?;
                    works.push(Work { cell: number, deaths, seed, file });
                }
            }
        }
        arguments.scenarios =
            works.iter().map(|work| work.file.path.display().to_string()).collect();
        Ok((arguments, works))
    }

    fn gathered<'a>(
        arguments: &RunArguments,
        cells: &[(&Label, u32)],
        done: impl Iterator<Item = (&'a Work, &'a Option<ScenarioEntry>)>,
    ) -> CrashMatrix {
        let empty =
            |(label, members): &(&Label, u32)| CrashCell::new(label.name, label.about, *members);
        let mut cells: Vec<CrashCell> = cells.iter().map(empty).collect();
        for (work, entry) in done {
            if let Some(entry) = entry {
                cells[work.cell].add(entry, u64::from(work.deaths));
            }
        }
        CrashMatrix {
            testbed: arguments.testbed.name().to_owned(),
            commit: crate::COMMIT.to_owned(),
            seed: arguments.seed,
            planted: arguments.bug().map(str::to_owned),
            cells,
        }
    }

    fn table(matrix: &CrashMatrix, output: Output) -> String {
        let shown = |cell: &&CrashCell| match cell.status() {
            Status::Pass => !output.quiet,
            Status::NotApplicable => output.verbose,
            _ => true,
        };
        let rows = matrix.cells.iter().filter(shown).map(|cell| {
            vec![
                cell.point.clone(),
                cell.members.to_string(),
                cell.status().word().to_owned(),
                format!("{}/{}", cell.hits, cell.asked),
                cell.lost.to_string(),
                crash_mechanisms(&cell.duplicates),
                cell.raised.keys().cloned().collect::<Vec<_>>().join(" "),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        let mut text = String::new();
        if !rows.is_empty() {
            let head =
                ["point", "members", "verdict", "deaths", "lost", "surplus copies", "raised by"];
            text = format!("{}\n\n", terminal_table(&head, rows, look_of_results(output)));
        }
        for cell in &matrix.cells {
            for (check, said) in &cell.raised {
                text.push_str(&format!("{} ({}): {check}: {said}\n", cell.point, cell.members));
            }
            for history in &cell.histories {
                text.push_str(&format!("{} ({}): see {history}\n", cell.point, cell.members));
            }
        }
        text.push_str(&matrix.summary());
        text
    }
}
