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
    use std::path::{Path, PathBuf};

    use futures::StreamExt as _;
    use miette::IntoDiagnostic as _;
    use streamlake::crash::{self, Label, Occasion};

    use super::template::{self, Cell};
    use crate::cli::{CrashPointsArguments, EXIT_INTERRUPTED, Output, RunArguments};
    use crate::command::console::{Console, Schedule, look_of_results};
    use crate::command::suite::{ignored, writable};
    use crate::command::{preflight, run, trial};
    use crate::plan::Resolved;
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
        let all = arguments.run.scenarios.is_empty() && arguments.run.bug().is_none();
        let (arguments, works) = prepared(arguments, &cells)?;
        writable(&reports, "--reports-dir")?;
        let schedule = before(&arguments, &works)?;
        let console = Console::start(arguments.output, schedule);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.into_diagnostic()?;
        runtime.block_on(preflight::environment(arguments.testbed))?;
        let entries = runtime.block_on(async {
            let stop = run::prepare(&arguments, &console).await;
            let runs = works.iter().map(|work| {
                let (arguments, console, stop) = (&arguments, &console, &stop);
                async move { run::one(&work.file, work.seed, arguments, console, stop).await }
            });
            futures::stream::iter(runs).buffered(arguments.jobs()).collect::<Vec<_>>().await
        });
        console.close();
        let entries = entries.into_iter().collect::<miette::Result<Vec<_>>>()?;
        let matrix = matrix(&arguments, &cells, works.iter().zip(&entries));
        let files = render_crash(&matrix).into_diagnostic()?;
        let output = arguments.output;
        trial::print(&files, output, || table(&matrix, output))?;
        if entries.iter().any(Option::is_none) {
            eprintln!("not saved: it was interrupted");
            return Ok(EXIT_INTERRUPTED);
        }
        match all {
            true => trial::save(&files, &reports, "matrix")?,
            false => {
                eprintln!("not saved: a report shows all points of a pipeline without bugs only")
            }
        }
        Ok(matrix.status().exit_code())
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
        let runs_dir = arguments.folders.runs_dir.clone();
        ignored(&runs_dir)?;
        let bug = arguments.bug().unwrap_or_default();
        arguments.folders.runs_dir = runs_dir.join("crash-points").join(bug);
        let folder = arguments.folders.runs_dir.join("scenarios");
        writable(&folder, "--runs-dir")?;
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
                    let file = written(&folder, &cell)?;
                    works.push(Work { cell: number, deaths, seed, file });
                }
            }
        }
        arguments.scenarios =
            works.iter().map(|work| work.file.path.display().to_string()).collect();
        Ok((arguments, works))
    }

    fn written(folder: &Path, cell: &Cell<'_>) -> miette::Result<ScenarioFile> {
        let path: PathBuf = folder.join(format!("{}.toml", cell.name()));
        let text = cell.scenario();
        std::fs::write(&path, &text).into_diagnostic()?;
        Ok(ScenarioFile::parse(&path, text)?)
    }

    /// What can be known before the work, and how long the runs may take.
    fn before(arguments: &RunArguments, works: &[Work]) -> miette::Result<Schedule> {
        let files: Vec<ScenarioFile> = works.iter().map(|work| work.file.clone()).collect();
        let plans = preflight::resolved(&files, arguments.testbed, arguments.seed)?;
        // Repetitions are runs of their own here.
        preflight::folders(&RunArguments { repeat: 1, ..arguments.clone() }, &plans)?;
        let runs = files.iter().zip(&plans).filter_map(|(file, plan)| match plan {
            Resolved::Plan(plan) => {
                let label = format!("{}/{}", arguments.testbed.name(), file.name);
                Some((label, run::expected(plan, arguments)))
            }
            Resolved::NotApplicable { .. } => None,
        });
        Ok(Schedule::new(runs, arguments.jobs()))
    }

    fn matrix<'a>(
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
