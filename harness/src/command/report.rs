//! `report`: the reports of the last run, made anew from its histories.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, WrapErr as _};

use crate::canary;
use crate::cli::{Folders, ReportArguments, TestbedName};
use crate::command::show::look;
use crate::command::suite;
use crate::plan::{Resolved, resolve};
use crate::scenario::ScenarioFile;
use crate::testbed;
use streamlake_judge::verdict::Status;
use streamlake_report::{Canary, OrdinaryTrial, PreviousReport, Proof, ScenarioEntry, SuiteReport};
use streamlake_verifier::{judge, unjudged};

pub(crate) fn main(arguments: &ReportArguments) -> miette::Result<u8> {
    let runs = arguments.folders.runs_dir.join(arguments.testbed.name());
    let mut entries = Vec::new();
    let mut folders: Vec<_> = match std::fs::read_dir(&runs) {
        Ok(listing) => listing.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        // No run yet is not an error: the report says so, scenario by scenario.
        Err(_) => Vec::new(),
    };
    folders.sort();
    for folder in folders {
        let history = folder.join("history.jsonl");
        if !history.exists() {
            eprintln!("left out: there is no history in {}", folder.display());
            continue;
        }
        // What cannot be judged is in the report all the same: a run of which nothing is known.
        let report = judge(&history)
            .unwrap_or_else(|error| unjudged(&history, arguments.testbed.name(), &error));
        entries.push(ScenarioEntry::Ran(Box::new(report)));
    }
    let command = format!("streamlake-harness run --testbed {}", arguments.testbed.name());
    // Made anew from the same histories, a report says the same; it is not its own predecessor.
    let names: BTreeSet<&str> = entries.iter().map(ScenarioEntry::name).collect();
    let expected = names.len() > 1;
    write(arguments.testbed, &arguments.folders, command, entries, None, expected)
}

/// The report that a run is about to replace, to compare with.
pub(crate) fn previous(testbed: TestbedName, folders: &Folders) -> Option<PreviousReport> {
    let path = folders.reports_dir.join(testbed.name()).join(streamlake_report::JSON_FILE);
    let bytes = std::fs::read(&path).ok()?;
    PreviousReport::from_json(&bytes)
        .inspect_err(|error| eprintln!("not compared with {}: {error}", path.display()))
        .ok()
}

/// Adds the scenarios that have not run, writes all formats, and prints the summary. Returns the exit
/// code that the verdicts ask for. A suite that is to have a canary and has none shows nothing.
pub(crate) fn write(
    testbed: TestbedName,
    folders: &Folders,
    command: String,
    mut entries: Vec<ScenarioEntry>,
    previous: Option<PreviousReport>,
    canary_expected: bool,
) -> miette::Result<u8> {
    let canary = take_canary(&mut entries);
    let canary = canary.or_else(|| canary_expected.then(|| Canary::absent(testbed.name())));
    let ran = Status::combine(entries.iter().filter_map(ScenarioEntry::status));
    let order = suite::all(&folders.scenarios_dir)?;
    for file in &order {
        if file.scenario.in_suite && !entries.iter().any(|entry| entry.name() == file.name) {
            entries.push(absent(file, testbed)?);
        }
    }
    entries.sort_by_key(|entry| order.iter().position(|file| file.name == entry.name()));
    let proof = proof(testbed, folders);
    let ordinary = ordinary(testbed, folders);
    let suite = SuiteReport { command, scenarios: entries, previous, canary, proof, ordinary };
    let folder = folders.reports_dir.join(testbed.name());
    save(&suite, &folder).wrap_err_with(|| format!("writing reports into {}", folder.display()))?;
    eprintln!("{}", streamlake_report::terminal_summary(&suite, look(&std::io::stderr())));
    eprintln!("reports: {}", folder.display());
    let blind = suite.canary.as_ref().is_some_and(|canary| !canary.caught());
    Ok(if blind { Status::Inconclusive.exit_code() } else { ran.exit_code() })
}

/// Takes the canary out of what ran: it is no scenario of the suite, and its failure is as it should be.
fn take_canary(entries: &mut Vec<ScenarioEntry>) -> Option<Canary> {
    let place = entries.iter().position(|entry| entry.name() == canary::NAME)?;
    match entries.remove(place) {
        ScenarioEntry::Ran(run) => Some(canary::judge(&run)),
        _ => None,
    }
}

/// What `prove` wrote last for this testbed.
fn proof(testbed: TestbedName, folders: &Folders) -> Option<Proof> {
    let path = proofs(folders).join(format!("{}.json", testbed.name()));
    let bytes = std::fs::read(&path).ok()?;
    Proof::from_json(&bytes)
        .inspect_err(|error| eprintln!("{} is left out: {error}", path.display()))
        .ok()
}

/// What `prove --ordinary` wrote last for this testbed.
fn ordinary(testbed: TestbedName, folders: &Folders) -> Option<OrdinaryTrial> {
    let path = proofs(folders).join(format!("ordinary-{}.json", testbed.name()));
    let bytes = std::fs::read(&path).ok()?;
    OrdinaryTrial::from_json(&bytes)
        .inspect_err(|error| eprintln!("{} is left out: {error}", path.display()))
        .ok()
}

/// The folder of proofs.
pub(crate) fn proofs(folders: &Folders) -> PathBuf {
    folders.reports_dir.join("prove")
}

/// The entry of a scenario that has not run: with the command that would run it, unless the testbed
/// cannot.
fn absent(file: &ScenarioFile, testbed: TestbedName) -> miette::Result<ScenarioEntry> {
    let (name, testbed_name) = (file.name.clone(), testbed.name());
    let entry = match resolve(file, testbed_name, &testbed::abilities(testbed), 1)? {
        Resolved::NotApplicable { about, reason } => {
            ScenarioEntry::NotApplicable { name, about, testbed: testbed_name.to_owned(), reason }
        }
        Resolved::Plan(plan) => ScenarioEntry::NotRun {
            about: plan.about,
            command: format!("cargo run --release -- run {name} --testbed {testbed_name}"),
            name,
        },
    };
    Ok(entry)
}

fn save(suite: &SuiteReport, folder: &Path) -> miette::Result<()> {
    std::fs::create_dir_all(folder).into_diagnostic()?;
    for file in streamlake_report::render(suite).into_diagnostic()? {
        std::fs::write(folder.join(&file.name), &file.bytes).into_diagnostic()?;
    }
    Ok(())
}
