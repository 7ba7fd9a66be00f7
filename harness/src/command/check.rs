//! `check`: judges saved histories again, and those that others wrote.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use miette::IntoDiagnostic as _;

use crate::cli::{CheckArguments, SendOrder};
use crate::command::console::look_of_results;
use streamlake_history::foreign::{Format, Input, Role, Settings};
use streamlake_judge::verdict::Status;
use streamlake_report::{self as report, ScenarioEntry, ScenarioReport, SuiteReport};
use streamlake_verifier::{OpenFile, judge, judge_foreign, unjudged};

/// What a file begins with that is no text, and what is to be done about it.
const COMPRESSED: [(&[u8], &str); 2] = [
    (b"\x1f\x8b", "gzip: unpack it first, `gunzip FILE`"),
    (b"\x28\xb5\x2f\xfd", "zstd: unpack it first, `zstd -d FILE`"),
];

/// A history is read twice, by lines: no pipe, and nothing that is packed.
fn readable(path: &Path) -> miette::Result<()> {
    if path == Path::new("-") {
        return Err(miette::miette!(
            help = "save it to a file first: a history with findings is read a second time",
            "standard input cannot be judged"
        ));
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(4).read_to_end(&mut head));
    // What cannot be opened is told by who reads it.
    let packed = COMPRESSED.iter().find(|(magic, _)| read.is_ok() && head.starts_with(magic));
    packed.map_or(Ok(()), |(_, remedy)| {
        Err(miette::miette!("{} is packed with {remedy}", path.display()))
    })
}

pub(crate) fn main(arguments: &CheckArguments) -> miette::Result<u8> {
    for path in &arguments.histories {
        readable(path)?;
    }
    let mut scenarios = Vec::new();
    if let Some(name) = &arguments.from {
        scenarios.push(ScenarioEntry::Ran(Box::new(foreign(arguments, name)?)));
    } else {
        for path in &arguments.histories {
            match judge(path) {
                Ok(report) => scenarios.push(ScenarioEntry::Ran(Box::new(report))),
                // Of a history that was cut short nothing is known: it is told like any other.
                Err(error) if error.is_truncated() => {
                    let report = unjudged(path, "unknown", &error);
                    scenarios.push(ScenarioEntry::Ran(Box::new(report)));
                }
                Err(error) => return Err(miette::miette!("{error}")),
            }
        }
    }
    let suite = SuiteReport { command: command(arguments), scenarios, ..SuiteReport::default() };
    let mut out = std::io::stdout().lock();
    if arguments.output.json {
        out.write_all(&report::to_json(&suite).into_diagnostic()?).into_diagnostic()?;
    } else {
        let summary = report::terminal_summary(&suite, look_of_results(arguments.output));
        writeln!(out, "{}", summary.trim_end()).into_diagnostic()?;
    }
    let judged = suite.scenarios.iter().filter_map(ScenarioEntry::status);
    Ok(Status::combine(judged).exit_code())
}

/// The command as one would type it again.
fn command(arguments: &CheckArguments) -> String {
    let mut words = vec!["streamlake-harness".to_owned(), "check".to_owned()];
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    let foreign = &arguments.foreign;
    if let Some(format) = &arguments.from {
        option("--from", format);
    }
    for path in &foreign.log {
        option("--log", &path.display().to_string());
    }
    for path in &foreign.commits {
        option("--commits", &path.display().to_string());
    }
    if let Some(name) = &foreign.name {
        option("--name", name);
    }
    for (topic, number) in &foreign.partitions {
        option("--partitions", &format!("{topic}={number}"));
    }
    if let Some(partitioner) = &foreign.partitioner {
        option("--partitioner", partitioner);
    }
    if let Some(order) = &foreign.order {
        option("--order", order.name());
    }
    if foreign.key_order {
        words.push("--key-order".to_owned());
    }
    if foreign.idempotent {
        words.push("--idempotent".to_owned());
    }
    words.extend(arguments.histories.iter().map(|path| path.display().to_string()));
    words.join(" ")
}

fn foreign(arguments: &CheckArguments, format: &str) -> miette::Result<ScenarioReport> {
    let Some(known) = Format::named(format) else {
        return Err(miette::miette!(
            "no format `{format}`; there are {}",
            Format::NAMES.join(", ")
        ));
    };
    let words = &arguments.foreign;
    let under_test = arguments.histories.iter().map(|file| (Role::UnderTest, file));
    let files = under_test
        .chain(words.log.iter().map(|file| (Role::LogReader, file)))
        .chain(words.commits.iter().map(|file| (Role::Commits, file)));
    let inputs: Vec<_> = files.map(|(role, file)| input(known, role, file)).collect();
    warn_of_names(known, &arguments.histories);
    let mut names = BTreeSet::new();
    if let Some(twice) = inputs.iter().find(|input| !names.insert(&input.process)) {
        return Err(miette::miette!(
            "{}: another file is named {} too; give each a name of its own, as NAME=FILE",
            twice.path,
            twice.process
        ));
    }
    let settings = Settings {
        name: words.name.clone().unwrap_or_else(|| format.to_owned()),
        partitions: words.partitions.iter().cloned().collect(),
        partitioner: words.partitioner.clone(),
        key_order: words.key_order || words.order == Some(SendOrder::Key),
        partition_order: words.order == Some(SendOrder::Partition),
        idempotent: words.idempotent,
    };
    judge_foreign(&inputs, &settings).map_err(|error| miette::miette!("{error}"))
}

/// Kafka's consumers do not say which group they belong to: files without a name are a group each.
fn warn_of_names(format: Format, files: &[PathBuf]) {
    let unnamed = |file: &&PathBuf| file.exists() && !is_of_a_producer(file);
    let unnamed: Vec<_> = files.iter().filter(unnamed).collect();
    if format == Format::Verifiable && unnamed.len() > 1 {
        let names: Vec<String> = unnamed.iter().map(|file| file.display().to_string()).collect();
        eprintln!(
            "warning: {} have no names, so each is taken for a consumer group of its own; members of one \
             group are named GROUP/MEMBER=FILE",
            names.join(", ")
        );
    }
}

/// Its first lines are those of a producer.
fn is_of_a_producer(file: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(1 << 16).read_to_end(&mut head));
    read.is_ok() && String::from_utf8_lossy(&head).contains("producer_send_")
}

/// A file as it was named on the command line: `FILE` or `NAME=FILE`.
fn input(format: Format, role: Role, file: &Path) -> Input<OpenFile> {
    let text = file.to_string_lossy();
    let (process, path) = match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !file.exists() => (name.to_owned(), path.into()),
        _ => {
            let stem = file.file_stem().unwrap_or(file.as_os_str());
            (stem.to_string_lossy().into_owned(), file.to_owned())
        }
    };
    let name = path.display().to_string();
    Input { format, role, path: name, process, open: OpenFile(path) }
}
