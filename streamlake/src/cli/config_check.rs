//! `streamlake config check`: what a configuration file would do, without Kafka and without a store.
//!
//! Every section is put through the parser of its command, and the librdkafka properties through
//! librdkafka. What only the command line or the environment may give is told and is no mistake.

use super::{Cli, Command, config_file, consume};
use crate::config::KafkaSettings;
use crate::error::{Error, Result};
use crate::kafka::{self, Role};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::BaseProducer;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toml::Table;

/// Flags that a command needs, with values that it accepts.
const STAND_INS: [(&str, &str); 2] = [("--dataset", "orders"), ("--raw-zone", "file:///")];

/// Commands that read no section.
pub(super) const WITHOUT_SECTION: [&str; 4] = ["config", "completions", "man", "help"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Which,
}

#[derive(Debug, clap::Subcommand)]
enum Which {
    /// Check a configuration file: every section, every name, every value. Exit code 2: it has a mistake.
    Check {
        /// The file.
        #[arg(env = "STREAMLAKE_CONFIG")]
        file: PathBuf,
    },
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let Which::Check { file } = &args.command;
    let shown = file.display().to_string();
    let (lines, good) = match config_file::read(file) {
        Ok(table) => looked_at(file, &shown, &table),
        Err(mistake) => (vec![mistake], false),
    };
    let mut out = std::io::stdout();
    for line in lines {
        writeln!(out, "{line}").map_err(Error::io("writing to standard output"))?;
    }
    Ok(ExitCode::from(if good { 0 } else { 2 }))
}

/// A line a section, and whether all is good.
fn looked_at(file: &Path, shown: &str, table: &Table) -> (Vec<String>, bool) {
    let (mut lines, mut good) = (Vec::new(), true);
    let mut tell = |section: &str, outcome: std::result::Result<String, String>| match outcome {
        Ok(word) => lines.push(format!("{shown}: [{section}]: {word}")),
        Err(mistake) => {
            good = false;
            // A mistake that was found in the file names it already.
            let named = mistake.starts_with(shown);
            let line = if named { mistake } else { format!("{shown}: [{section}]: {mistake}") };
            // Every command meets a mistake in [kafka].
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    };
    if table.contains_key("kafka") {
        tell("kafka", properties(table, shown));
    }
    let cli = Cli::command();
    for section in table.keys().filter(|section| *section != "kafka") {
        let command = if section == "pipeline" { "consume" } else { section };
        if section == "pipeline" && table.contains_key("consume") {
            continue;
        }
        let inner =
            cli.find_subcommand(command).into_iter().flat_map(clap::Command::get_subcommands);
        let inner: Vec<&str> =
            inner.map(clap::Command::get_name).filter(|name| *name != "help").collect();
        if inner.is_empty() {
            tell(section, parsed(file, &[command], &cli));
        }
        for inner in inner {
            tell(
                &format!("{section}] for [{command} {inner}"),
                parsed(file, &[command, inner], &cli),
            );
        }
    }
    if lines.is_empty() {
        lines.push(format!("{shown}: nothing is set"));
    }
    (lines, good)
}

/// The properties as librdkafka takes them.
fn properties(table: &Table, shown: &str) -> std::result::Result<String, String> {
    let properties = config_file::kafka_properties(table, shown)?;
    let count = properties.len();
    let settings = KafkaSettings { bootstrap_servers: "127.0.0.1:9092".to_owned(), properties };
    let config =
        kafka::consumer_config(&settings, "config-check").map_err(|err| err.to_string())?;
    config.create::<BaseConsumer>().map_err(|err| kafka::not_created(err).to_string())?;
    // A consumer passes over what only its producer of dead letters is told.
    for role in [Role::Producer, Role::DeadLetters] {
        let config = kafka::producer_config(&settings, role).map_err(|err| err.to_string())?;
        config.create::<BaseProducer>().map_err(|err| kafka::not_created(err).to_string())?;
    }
    Ok(format!("good, {count} properties"))
}

/// What the parser of a command says of the lines that the file makes for it.
fn parsed(
    file: &Path,
    command: &[&str],
    cli: &clap::Command,
) -> std::result::Result<String, String> {
    let mut args: Vec<OsString> = ["streamlake", "--config"].map(OsString::from).to_vec();
    args.push(file.as_os_str().to_owned());
    args.extend(command.iter().map(OsString::from));
    let lines = config_file::expand(args, cli)?;
    let pipelines = lines.len();
    let (mut missing, mut consumers) = (Vec::new(), Vec::new());
    for mut line in lines {
        // What is missing may come from elsewhere; what is there is looked at all the same.
        if let Err(err) = Cli::try_parse_from(&line)
            && err.kind() == ErrorKind::MissingRequiredArgument
            && let Some(ContextValue::Strings(names)) = err.get(ContextKind::InvalidArg)
        {
            let given = |(flag, _): &&(&str, &str)| names.iter().any(|name| name.starts_with(flag));
            let stand_ins = STAND_INS.iter().filter(given);
            line.extend(stand_ins.flat_map(|(flag, value)| [flag.into(), value.into()]));
            missing.extend(names.iter().cloned());
        }
        match Cli::try_parse_from(line) {
            Ok(Cli { command: Command::Consume(args), .. }) => {
                args.settings().map_err(|err| err.to_string())?;
                consumers.push(*args);
            }
            Ok(Cli { command: Command::Audit(args), .. }) => {
                args.check().map_err(|err| err.to_string())?;
            }
            Ok(_) => {}
            // Some that has no stand-in.
            Err(err) if err.kind() == ErrorKind::MissingRequiredArgument => {}
            Err(err) => return Err(first_line(&err)),
        }
    }
    consume::check_together(&consumers).map_err(|err| err.to_string())?;
    missing.sort();
    missing.dedup();
    let pipelines = if pipelines > 1 { format!(", {pipelines} pipelines") } else { String::new() };
    Ok(match missing.is_empty() {
        true => format!("good{pipelines}"),
        false => format!(
            "good{pipelines}; to be given on the command line or in the environment: {}",
            missing.join(", ")
        ),
    })
}

/// What is wrong, without the usage below it.
pub(super) fn first_line(err: &clap::Error) -> String {
    let text = err.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_there_is_checked_although_other_things_come_from_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        let looked = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let table = config_file::read(&file).unwrap();
            looked_at(&file, "c.toml", &table)
        };
        let (lines, good) = looked("[consume]\nbatch-records = 5\n");
        assert!(good && lines[0].contains("to be given"), "{lines:?}");
        for wrong in [
            "[consume]\nbatch-records = 0\n",
            "[consume]\nraw-zone = \"s3://x\"\n",
            "[audit]\ndataset = \"../\"\n",
            "[audit]\nraw-zone = \"zzz\"\n",
        ] {
            let (lines, good) = looked(wrong);
            assert!(!good, "{wrong}: {lines:?}");
        }
    }
}
