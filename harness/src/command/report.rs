//! `report`: the reports of the last runs, made anew from their histories; and the writing of reports.
//!
//! The suite's report is written only when every scenario of the suite has its entry in it. Anything
//! less (named scenarios, a run that was interrupted) goes into a folder of its own and says what it is.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, WrapErr as _};

use crate::canary;
use crate::cli::{EXIT_ERROR, Folders, Output, ReportArguments, TestbedName};
use crate::command::console::look_of_results;
use crate::command::run::logs;
use crate::command::suite::{Library, Shelf, ignored, writable};
use crate::plan::{Resolved, resolve};
use crate::scenario::ScenarioFile;
use crate::testbed;
use streamlake_judge::verdict::Status;
use streamlake_report::{
    self as report, Again, Canary, OrdinaryTrial, PreviousReport, Proof, ScenarioEntry, SuiteReport,
};
use streamlake_verifier::{judge, unjudged};

pub(crate) fn main(arguments: &ReportArguments) -> miette::Result<u8> {
    let runs = arguments.folders.runs_dir.join(arguments.testbed.name());
    ignored(&arguments.folders.runs_dir)?;
    writable(&arguments.folders.reports(), "--reports-dir")?;
    let library = Library::of(&arguments.folders.scenarios, Shelf::Scenarios);
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
        let mut report = judge(&history)
            .unwrap_or_else(|error| unjudged(&history, arguments.testbed.name(), &error));
        report.again = Some(again(&report, &folder, &arguments.folders));
        entries.push(ScenarioEntry::Ran(Box::new(report)));
    }
    let options = arguments.folders.options().iter().map(|option| word(option)).collect::<Vec<_>>();
    let command = ["run", "--testbed", arguments.testbed.name()].map(str::to_owned).to_vec();
    let command = [vec![program().to_owned()], command, options].concat().join(" ");
    write(Written {
        testbed: arguments.testbed,
        folders: &arguments.folders,
        library: &library,
        command,
        entries,
        asked: Vec::new(),
        interrupted: false,
        // Made anew from the same histories, a report says the same; it is not its own predecessor.
        previous: None,
        output: arguments.output,
    })
}

/// How a run that is known by its history alone can be looked into.
fn again(run: &report::ScenarioReport, folder: &Path, folders: &Folders) -> Again {
    let info = &run.header.run;
    let seed = info.seed.to_string();
    let mut words = vec![program().to_owned(), "run".to_owned(), word(&info.scenario)];
    words.extend(["--testbed", &info.testbed, "--seed", &seed].map(str::to_owned));
    words.extend(folders.options().iter().map(|option| word(option)));
    Again {
        run: words.join(" "),
        check: format!("{} check {}", program(), word(&run.history_file)),
        logs: logs(folder),
        planted: None,
    }
}

/// How this program is called: through cargo where it was, by its own name otherwise.
pub(crate) fn program() -> &'static str {
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(_) => "cargo run --",
        None => "streamlake-harness",
    }
}

/// A word as a shell takes it.
pub(crate) fn word(text: &str) -> String {
    report::shell_word(text)
}

/// An error with all that caused it.
pub(crate) fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // A transparent error repeats what it wraps.
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The report that a run is about to replace, to compare with; the published one where there is none.
pub(crate) fn previous(testbed: TestbedName, folders: &Folders) -> Option<PreviousReport> {
    let places = [folders.reports(), folders.published_dir.clone()];
    let (path, bytes) = places.iter().find_map(|place| {
        let path = place.join(testbed.name()).join(report::JSON_FILE);
        Some((path.clone(), std::fs::read(path).ok()?))
    })?;
    PreviousReport::from_json(&bytes)
        .inspect_err(|error| eprintln!("not compared with {}: {error}", path.display()))
        .ok()
}

/// What a report is written of.
pub(crate) struct Written<'a> {
    /// Where the scenarios ran.
    pub(crate) testbed: TestbedName,
    /// Where the report goes.
    pub(crate) folders: &'a Folders,
    /// The scenarios that there are.
    pub(crate) library: &'a Library,
    /// The command that makes the runs again.
    pub(crate) command: String,
    /// What came of each run.
    pub(crate) entries: Vec<ScenarioEntry>,
    /// How scenarios were selected; empty where the whole suite was to run.
    pub(crate) asked: Vec<String>,
    /// Not all could run.
    pub(crate) interrupted: bool,
    /// What to compare with.
    pub(crate) previous: Option<PreviousReport>,
    /// What is printed.
    pub(crate) output: Output,
}

/// Adds what has not run, writes all formats, and prints the summary. Returns the exit code that the
/// verdicts ask for. A suite that is to have a canary and has none shows nothing.
pub(crate) fn write(written: Written<'_>) -> miette::Result<u8> {
    let Written { testbed, folders, mut entries, asked, interrupted, .. } = written;
    let canary = take_canary(&mut entries);
    let order = match asked.is_empty() {
        true => written.library.all()?,
        // A mistake in a scenario that was not asked for must not cost the report.
        false => written.library.all().unwrap_or_default(),
    };
    let mut missing = Vec::new();
    for file in &order {
        if file.scenario.in_suite && !entries.iter().any(|entry| entry.name() == file.name) {
            missing.push(absent(file, testbed, folders)?);
        }
    }
    // What does not apply here is no gap in the suite.
    let whole = asked.is_empty() && !missing.iter().any(|entry| entry.status().is_none());
    // On somebody's own cluster nothing is tampered with: the report says among its limits what that means.
    let owed = whole && testbed != TestbedName::External;
    let canary = canary.or_else(|| owed.then(|| Canary::absent(testbed.name())));
    let asked_for_all = asked.is_empty();
    let selection = match (asked_for_all, whole) {
        (true, true) => Vec::new(),
        // Histories that are there, or those of a suite that was not finished.
        (true, false) => entries.iter().map(|entry| entry.name().to_owned()).collect(),
        (false, _) => asked,
    };
    if asked_for_all {
        entries.extend(missing);
    }
    entries.sort_by_key(|entry| order.iter().position(|file| file.name == entry.name()));
    let suite = SuiteReport {
        command: written.command,
        scenarios: entries,
        partial: !whole,
        selection,
        interrupted,
        previous: written.previous.filter(|_| whole),
        canary,
        proof: proof(testbed, folders),
        ordinary: ordinary(testbed, folders),
    };
    let folder = match whole {
        true => folders.reports().join(testbed.name()),
        false => folders.reports().join("partial").join(testbed.name()),
    };
    save(&suite, &folder).wrap_err_with(|| {
        format!(
            "writing reports into {}; when that is mended, `{} report --testbed {}` makes them of the \
             histories",
            folder.display(),
            program(),
            testbed.name()
        )
    })?;
    print(&suite, &folder, written.output)?;
    Ok(exit_code(&suite))
}

fn print(suite: &SuiteReport, folder: &Path, output: Output) -> miette::Result<()> {
    let mut out = std::io::stdout().lock();
    if output.json {
        out.write_all(&report::to_json(suite).into_diagnostic()?).into_diagnostic()?;
        return out.flush().into_diagnostic();
    }
    let summary = report::terminal_summary(suite, look_of_results(output));
    writeln!(out, "{}", summary.trim_end()).into_diagnostic()?;
    writeln!(out, "report: {}", folder.join(report::HTML_FILE).display()).into_diagnostic()
}

/// An anomaly outweighs what could not be carried out, and that outweighs doubt.
fn exit_code(suite: &SuiteReport) -> u8 {
    let broken = |entry: &ScenarioEntry| matches!(entry, ScenarioEntry::NotCarriedOut { .. });
    let blind = suite.canary.as_ref().is_some_and(|canary| !canary.caught());
    let ran = Status::combine(suite.scenarios.iter().filter_map(ScenarioEntry::status));
    match (ran, suite.scenarios.iter().any(broken)) {
        (_, false) if blind => Status::Inconclusive.exit_code(),
        (Status::Fail, _) if !blind => Status::Fail.exit_code(),
        (_, true) => EXIT_ERROR,
        (ran, false) => ran.exit_code(),
    }
}

/// Takes the canary out of what ran: it is no scenario of the suite, and its failure is as it should be.
/// One that could not be carried out stays and says so.
fn take_canary(entries: &mut Vec<ScenarioEntry>) -> Option<Canary> {
    let of_canary = |entry: &ScenarioEntry| match entry {
        ScenarioEntry::Ran(run) if run.header.run.scenario == canary::NAME => {
            Some(canary::judge(run))
        }
        _ => None,
    };
    let (place, canary) =
        entries.iter().enumerate().find_map(|(place, entry)| Some((place, of_canary(entry)?)))?;
    entries.remove(place);
    Some(canary)
}

/// What `prove` wrote last for this testbed.
fn proof(testbed: TestbedName, folders: &Folders) -> Option<Proof> {
    let (path, bytes) = trial(folders, &format!("{}.json", testbed.name()))?;
    Proof::from_json(&bytes)
        .inspect_err(|error| eprintln!("{} is left out: {error}", path.display()))
        .ok()
}

/// What `prove --ordinary` wrote last for this testbed.
fn ordinary(testbed: TestbedName, folders: &Folders) -> Option<OrdinaryTrial> {
    let (path, bytes) = trial(folders, &format!("ordinary-{}.json", testbed.name()))?;
    OrdinaryTrial::from_json(&bytes)
        .inspect_err(|error| eprintln!("{} is left out: {error}", path.display()))
        .ok()
}

/// The newest trial of this name: one's own, else the published one.
fn trial(folders: &Folders, name: &str) -> Option<(PathBuf, Vec<u8>)> {
    let places = [proofs(folders), folders.published_dir.join("prove")];
    places.iter().find_map(|place| {
        let path = place.join(name);
        Some((path.clone(), std::fs::read(path).ok()?))
    })
}

/// The folder of proofs.
pub(crate) fn proofs(folders: &Folders) -> PathBuf {
    folders.reports().join("prove")
}

/// The entry of a scenario that has not run: with the command that would run it, unless the testbed
/// cannot.
fn absent(
    file: &ScenarioFile,
    testbed: TestbedName,
    folders: &Folders,
) -> miette::Result<ScenarioEntry> {
    let (name, testbed_name) = (file.name.clone(), testbed.name());
    let entry = match resolve(file, testbed_name, &testbed::abilities(testbed), 1)? {
        Resolved::NotApplicable { about, reason } => {
            ScenarioEntry::NotApplicable { name, about, testbed: testbed_name.to_owned(), reason }
        }
        Resolved::Plan(plan) => ScenarioEntry::NotRun {
            about: plan.about,
            command: {
                let mut words = vec![program().to_owned(), "run".to_owned(), word(&name)];
                words.extend(["--testbed".to_owned(), testbed_name.to_owned()]);
                words.extend(folders.options().iter().map(|option| word(option)));
                words.join(" ")
            },
            name,
        },
    };
    Ok(entry)
}

fn save(suite: &SuiteReport, folder: &Path) -> miette::Result<()> {
    std::fs::create_dir_all(folder).into_diagnostic()?;
    let files = report::render(suite).into_diagnostic()?;
    // Pictures of scenarios that are not in this report belong to none.
    for entry in std::fs::read_dir(folder).into_diagnostic()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let picture = name.starts_with("timeline-") && name.ends_with(".svg");
        if picture && !files.iter().any(|file| file.name == name) {
            std::fs::remove_file(entry.path()).into_diagnostic()?;
        }
    }
    for file in files {
        std::fs::write(folder.join(&file.name), &file.bytes).into_diagnostic()?;
    }
    Ok(())
}
