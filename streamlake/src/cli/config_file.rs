//! The configuration file: the same settings as the flags, under the same names.
//!
//! ```toml
//! [kafka]                         # librdkafka properties, for every command
//! "security.protocol" = "SASL_SSL"
//!
//! [consume]                       # flags of `consume`, without the dashes
//! bootstrap-servers = "broker:9092"
//! raw-zone = "gs://bucket"
//!
//! [[pipeline]]                    # one consumer each, in one process; on top of [consume]
//! dataset = "orders"
//! ```
//!
//! A flag comes before the environment, the environment before the file, the file before the
//! default. It works by putting the file's settings before the command line's as flags, unless
//! flag or variable are given: so there is one place that knows what a setting means, and an unknown
//! one is refused by name.

use super::config_check::WITHOUT_SECTION;
use clap::Command;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use toml::{Table, Value};

/// The command lines that a command line and its file stand for: one, or one a pipeline.
pub(super) fn expand(args: Vec<OsString>, cli: &Command) -> Result<Vec<Vec<OsString>>, String> {
    let Some(path) = named_file(&args) else {
        return Ok(vec![args]);
    };
    let Some((at, outer)) = named(&args, 0, cli) else {
        return Ok(vec![args]);
    };
    let name = outer.get_name().to_owned();
    if WITHOUT_SECTION.contains(&&*name) {
        return Ok(vec![args]);
    }
    let shown = path.to_string_lossy().into_owned();
    let file = read(Path::new(&path))?;
    // The flags of `dlq list` are those of `list`.
    let (at, command) = named(&args, at + 1, outer).unwrap_or((at, outer));
    for key in file.keys() {
        let sections = cli.get_subcommands().map(Command::get_name);
        let mut sections: Vec<&str> =
            sections.filter(|name| !WITHOUT_SECTION.contains(name)).collect();
        sections.extend(["kafka", "pipeline"]);
        if !sections.contains(&key.as_str()) {
            let meant = match nearest(key, sections.iter().copied()) {
                Some(meant) => format!("; did you mean [{meant}]?"),
                None => format!("; there are {}", sections.join(", ")),
            };
            return Err(format!("{shown}: there is no section [{key}]{meant}"));
        }
    }
    let mut common = properties(&file, &shown, command)?;
    if let Some(section) = file.get(&name) {
        let mut section = section.clone();
        if let Value::Table(table) = &mut section {
            // A setting of `dlq resend` is none of `dlq list`, but no mistake either.
            let takes = |command: &Command, key: &str| {
                command.get_arguments().any(|arg| arg.get_long() == Some(key))
            };
            table.retain(|key, _| {
                takes(command, key) || !outer.get_subcommands().any(|other| takes(other, key))
            });
        }
        common.extend(flags(&section, &name, &shown, command, &args)?);
    }
    let empty = Vec::new();
    let pipelines = match file.get("pipeline") {
        Some(Value::Array(found)) if name == "consume" => found,
        _ => &empty,
    };
    let mut lines = Vec::new();
    let only = value_of(&args, "--dataset");
    for pipeline in pipelines {
        let dataset = pipeline.get("dataset").and_then(Value::as_str);
        if only.as_deref().is_some_and(|only| dataset.map(OsStr::new) != Some(only)) {
            continue;
        }
        let own = flags(pipeline, "pipeline", &shown, command, &args)?;
        lines.push(joined(&args, at, &[common.as_slice(), &own].concat()));
    }
    if lines.is_empty() && !pipelines.is_empty() {
        let only = only.unwrap_or_default();
        return Err(format!(
            "{shown}: no [[pipeline]] has the dataset {:?}",
            only.to_string_lossy()
        ));
    }
    if lines.is_empty() {
        lines.push(joined(&args, at, &common));
    }
    Ok(lines)
}

/// The configuration file of a command line, if it has one.
pub(super) fn named_file(args: &[OsString]) -> Option<OsString> {
    // A variable that is set to nothing names no file.
    let variable = || std::env::var_os("STREAMLAKE_CONFIG").filter(|file| !file.is_empty());
    value_of(args, "--config").or_else(variable)
}

/// The file as a table; the mistake names its line.
pub(super) fn read(path: &Path) -> Result<Table, String> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|err| format!("{shown}: {err}"))?;
    text.parse().map_err(|err| broken(&shown, &text, &err))
}

/// The first argument from `start` on that names a subcommand.
fn named<'c>(args: &[OsString], start: usize, of: &'c Command) -> Option<(usize, &'c Command)> {
    let rest = args.iter().enumerate().skip(start);
    // A file may be called like a command.
    let rest = rest.filter(|(at, _)| *at == 0 || args[at - 1] != "--config");
    rest.filter_map(|(at, arg)| Some((at, of.find_subcommand(arg.to_str()?)?))).next()
}

/// The place and the mistake. The library's own text repeats the line, which may hold a secret.
fn broken(shown: &str, text: &str, err: &toml::de::Error) -> String {
    let before = err.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("{shown}:{line}: {}", err.message())
}

fn joined(args: &[OsString], at: usize, more: &[OsString]) -> Vec<OsString> {
    [&args[..=at], more, &args[at + 1..]].concat()
}

fn value_of(args: &[OsString], flag: &str) -> Option<OsString> {
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == flag {
            return rest.next().cloned();
        }
        if let Some(value) =
            arg.to_str().and_then(|text| text.strip_prefix(flag)?.strip_prefix('='))
        {
            return Some(value.into());
        }
    }
    None
}

fn properties(file: &Table, shown: &str, command: &Command) -> Result<Vec<OsString>, String> {
    let takes = command.get_arguments().any(|arg| arg.get_long() == Some("file-property"));
    if !takes {
        return Ok(Vec::new());
    }
    let flag = |(key, value)| format!("--file-property={key}={value}").into();
    Ok(kafka_properties(file, shown)?.into_iter().map(flag).collect())
}

/// The librdkafka properties of a file.
pub(super) fn kafka_properties(
    file: &Table,
    shown: &str,
) -> Result<BTreeMap<String, String>, String> {
    let Some(kafka) = file.get("kafka") else { return Ok(BTreeMap::new()) };
    let table = kafka.as_table().ok_or_else(|| format!("{shown}: [kafka] is no table"))?;
    let mut found = BTreeMap::new();
    for (key, value) in table {
        let value = scalar(value).ok_or_else(|| match value {
            // `sasl.password = "x"` without quotes is a table in TOML.
            Value::Table(inner) => {
                let inner = inner.keys().next().map_or("…", String::as_str);
                format!("{shown}: [kafka] {key}.{inner}: put the name into quotes, \"{key}.{inner}\" = …")
            }
            _ => format!("{shown}: [kafka] {key} is no plain value"),
        })?;
        found.insert(key.clone(), value);
    }
    Ok(found)
}

/// What is to be done about a setting that a section does not have.
fn remedy(key: &str, value: &Value, command: &Command) -> String {
    if key.contains('.') || matches!(value, Value::Table(_)) {
        return "; librdkafka properties belong into [kafka], their names in quotes".to_owned();
    }
    let names = || {
        let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
        args.filter_map(clap::Arg::get_long).filter(|name| !["help", "version"].contains(name))
    };
    match nearest(key, names()) {
        Some(meant) => format!("; did you mean {meant}?"),
        None => format!("; there are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

/// Of the names that there are, the one that was probably meant: the same letters but for a third of
/// them, three at most.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (off, nearest) = known.map(|known| (strsim::levenshtein(name, known), known)).min()?;
    let letters = name.chars().count().max(nearest.chars().count());
    (off <= (letters / 3).clamp(1, 3)).then_some(nearest)
}

/// A section's settings as flags, those left out that the command line or the environment gives.
fn flags(
    section: &Value,
    name: &str,
    shown: &str,
    command: &Command,
    args: &[OsString],
) -> Result<Vec<OsString>, String> {
    let table = section.as_table().ok_or_else(|| format!("{shown}: {name} is no table"))?;
    let mut out = Vec::new();
    for (key, value) in table {
        let known =
            command.get_arguments().find(|arg| arg.get_long() == Some(key) && !arg.is_hide_set());
        let arg = known.ok_or_else(|| {
            format!("{shown}: [{name}] has no setting {key:?}{}", remedy(key, value, command))
        })?;
        let given = value_of(args, &format!("--{key}")).is_some();
        // A pipeline's own setting is nearer than the environment, which is the same for all of them.
        let from_environment =
            name != "pipeline" && arg.get_env().and_then(std::env::var_os).is_some();
        if given || from_environment {
            continue;
        }
        match value {
            Value::Boolean(true) => out.push(format!("--{key}").into()),
            Value::Boolean(false) => {}
            value => {
                let value = scalar(value)
                    .ok_or_else(|| format!("{shown}: [{name}] {key} is no plain value"))?;
                out.push(format!("--{key}={value}").into());
            }
        }
    }
    Ok(out)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Datetime(instant) => Some(instant.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Arg;

    fn cli() -> Command {
        let consume = Command::new("consume").args([
            Arg::new("dataset").long("dataset"),
            Arg::new("batch-age").long("batch-age"),
            Arg::new("home").long("home").env("HOME"),
            Arg::new("file-property").long("file-property").hide(true),
        ]);
        let property = || Arg::new("file-property").long("file-property").hide(true);
        let dlq = Command::new("dlq").subcommands([
            Command::new("list").arg(property()),
            Command::new("resend").arg(property()).arg(Arg::new("at").long("at")),
        ]);
        Command::new("streamlake").subcommands([consume, dlq])
    }

    fn lines(file: &str, args: &[&str]) -> Result<Vec<Vec<String>>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, file).unwrap();
        let mut all: Vec<OsString> = vec!["streamlake".into(), "consume".into(), "--config".into()];
        all.push(path.into());
        all.extend(args.iter().map(OsString::from));
        let text = |line: Vec<OsString>| {
            let at = line.iter().position(|arg| arg == "--config").unwrap();
            line[2..at].iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
        };
        Ok(expand(all, &cli())?.into_iter().map(text).collect())
    }

    #[test]
    fn flags_and_environment_come_first() {
        let file = "[consume]\nbatch-age = \"1s\"\nhome = \"x\"\n[kafka]\n\"a.b\" = 1\n";
        assert_eq!(lines(file, &[]).unwrap(), [["--file-property=a.b=1", "--batch-age=1s"]]);
        assert_eq!(lines(file, &["--batch-age", "2s"]).unwrap(), [["--file-property=a.b=1"]]);
    }

    #[test]
    fn a_subcommand_of_a_subcommand_gets_its_flags_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "[dlq]\nat = \"0:1\"\n[kafka]\n\"a.b\" = 1\n").unwrap();
        let line = |which: &str| {
            let args = ["streamlake", "--config", path.to_str().unwrap(), "dlq", which];
            let lines = expand(args.map(OsString::from).to_vec(), &cli()).unwrap();
            let words = lines[0][3..].iter().map(|arg| arg.to_string_lossy().into_owned());
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("list"), "dlq list --file-property=a.b=1");
        assert_eq!(line("resend"), "dlq resend --file-property=a.b=1 --at=0:1");
    }

    #[test]
    fn each_pipeline_is_a_command_line() {
        let file = "[[pipeline]]\ndataset = \"a\"\n[[pipeline]]\ndataset = \"b\"\n";
        assert_eq!(lines(file, &[]).unwrap(), [["--dataset=a"], ["--dataset=b"]]);
        let one: [[&str; 0]; 1] = [[]];
        assert_eq!(lines(file, &["--dataset", "b"]).unwrap(), one);
        assert!(lines(file, &["--dataset", "typo"]).unwrap_err().contains("typo"));
        // The environment is the same for all; what a pipeline says for itself holds.
        let file = "[[pipeline]]\nhome = \"a\"\n[[pipeline]]\nhome = \"b\"\n";
        assert_eq!(lines(file, &[]).unwrap(), [["--home=a"], ["--home=b"]]);
    }

    #[test]
    fn a_broken_line_is_named_and_not_shown() {
        let err = lines("[kafka]\n\"sasl.password\" = \"hunter2\n", &[]).unwrap_err();
        assert!(err.contains("c.toml:2: ") && !err.contains("hunter2"), "{err}");
    }

    #[test]
    fn unknown_names_are_refused_with_what_may_have_been_meant() {
        for (file, wanted) in [
            (
                "[consume]\nbatch-aeg = \"1s\"\n",
                "no setting \"batch-aeg\"; did you mean batch-age?",
            ),
            ("[consume]\nzzzzzzzz = 1\n", "; there are dataset, batch-age, home"),
            ("[consume]\n\"sasl.password\" = \"x\"\n", "librdkafka properties belong into [kafka]"),
            ("[consume]\nsasl.password = \"x\"\n", "librdkafka properties belong into [kafka]"),
            ("[kafka]\nsasl.password = \"x\"\n", "put the name into quotes, \"sasl.password\" = …"),
            ("[consumer]\n", "no section [consumer]; did you mean [consume]?"),
            ("[raw-zone]\n", "; there are consume, dlq, kafka, pipeline"),
        ] {
            let told = lines(file, &[]).unwrap_err();
            assert!(told.contains(wanted) && told.contains("c.toml: "), "{told}");
        }
    }

    #[test]
    fn a_file_that_is_called_like_a_command_is_no_command() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("consume");
        std::fs::write(&path, "[dlq]\nat = \"0:1\"\n").unwrap();
        let args = ["streamlake", "--config", "consume", "dlq", "resend"];
        let args: Vec<OsString> = args.map(OsString::from).to_vec();
        assert_eq!(named(&args, 0, &cli()).map(|(at, _)| at), Some(3));
    }
}
