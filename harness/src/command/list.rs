//! `list`: what there is to run, and what can be done to it.

use std::io::Write as _;

use miette::IntoDiagnostic as _;
use serde::Serialize;

use crate::cli::{ListArguments, Output, TestbedName};
use crate::command::console::{look_of_results, seconds};
use crate::command::suite::{Library, Shelf, fits, selected};
use crate::fault;
use crate::plan::{Resolved, resolve};
use crate::scenario::ScenarioFile;
use crate::testbed;
use streamlake_report::terminal_table;

pub(crate) fn main(arguments: &ListArguments) -> miette::Result<u8> {
    if arguments.faults {
        faults(arguments.output)?;
    } else {
        scenarios(arguments)?;
    }
    Ok(0)
}

#[derive(Serialize)]
struct ListedFault {
    kind: &'static str,
    about: &'static str,
    target: &'static str,
    /// How long it lasts where a scenario says nothing; 0 for one that is undone at once.
    lasts_ms: u128,
}

fn faults(output: Output) -> miette::Result<()> {
    let listed: Vec<ListedFault> = fault::KINDS
        .iter()
        .map(|kind| ListedFault {
            kind: kind.name,
            about: kind.about,
            target: kind.default_target,
            lasts_ms: kind.default_lasts.as_millis(),
        })
        .collect();
    let rows = listed.iter().map(|fault| {
        let lasts = match fault.lasts_ms {
            0 => "at once".to_owned(),
            _ => seconds(std::time::Duration::from_millis(fault.lasts_ms as u64)),
        };
        vec![fault.kind.to_owned(), fault.target.to_owned(), lasts, fault.about.to_owned()]
    });
    print(output, &listed, &["fault", "target", "lasts", "what it does"], rows.collect())
}

#[derive(Serialize)]
struct ListedScenario {
    name: String,
    title: String,
    requirement: Option<String>,
    criterion: String,
    testbeds: Vec<String>,
    tags: Vec<String>,
    faults: Vec<String>,
    in_suite: bool,
    path: String,
}

impl ListedScenario {
    fn of(file: &ScenarioFile) -> Self {
        let scenario = &file.scenario;
        let mut faults: Vec<String> = Vec::new();
        for fault in &scenario.faults {
            let kind = fault.get_ref().kind.get_ref();
            if !faults.contains(kind) {
                faults.push(kind.clone());
            }
        }
        Self {
            name: file.name.clone(),
            title: scenario.title.clone(),
            requirement: scenario.id.clone(),
            criterion: scenario.criterion.clone(),
            testbeds: scenario
                .testbeds
                .get_ref()
                .iter()
                .map(|name| name.get_ref().clone())
                .collect(),
            tags: file.tags().into_iter().map(str::to_owned).collect(),
            faults,
            in_suite: scenario.in_suite,
            path: file.path.display().to_string(),
        }
    }
}

fn scenarios(arguments: &ListArguments) -> miette::Result<()> {
    let library = Library::of(&arguments.folder, Shelf::Scenarios);
    let mut files = if arguments.scenarios.is_empty() {
        let mut all = library.all()?;
        all.retain(|file| fits(file, &arguments.filter));
        all
    } else {
        selected(&library, &arguments.scenarios, &arguments.filter)?.files
    };
    if let Some(testbed) = arguments.testbed {
        let mut able = Vec::new();
        for file in files {
            if can(&file, testbed)? {
                able.push(file);
            }
        }
        files = able;
    }
    let listed: Vec<ListedScenario> = files.iter().map(ListedScenario::of).collect();
    if listed.is_empty() && !arguments.output.json {
        eprintln!("no scenario has all of that; `streamlake-harness list` shows all");
    }
    let rows = listed.iter().map(|scenario| {
        vec![
            scenario.name.clone(),
            scenario.requirement.clone().unwrap_or_default(),
            scenario.testbeds.join(" "),
            scenario.tags.join(" "),
            scenario.title.clone(),
        ]
    });
    let head = ["scenario", "requirement", "testbeds", "tags", "title"];
    print(arguments.output, &listed, &head, rows.collect())
}

fn can(file: &ScenarioFile, testbed: TestbedName) -> miette::Result<bool> {
    let resolved = resolve(file, testbed.name(), &testbed::abilities(testbed), 1)?;
    Ok(matches!(resolved, Resolved::Plan(_)))
}

fn print(
    output: Output,
    listed: &impl Serialize,
    head: &[&str],
    rows: Vec<Vec<String>>,
) -> miette::Result<()> {
    let text = match output.json {
        true => serde_json::to_string_pretty(listed).into_diagnostic()?,
        false => terminal_table(head, rows, look_of_results(output)),
    };
    writeln!(std::io::stdout(), "{text}").into_diagnostic()
}
