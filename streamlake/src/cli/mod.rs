//! The command line. Exit codes: 0 done, 1 something failed (its text says what), 2 usage, 3 refused
//! in the present state, 4 an audit found something, 101 a panic.

mod audit;
mod bench;
mod config_check;
mod config_file;
mod consume;
mod dlq;
mod logging;
mod manual;
mod options;
mod produce;
mod replay;
mod signals;

use crate::error::Error;
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Examples:
  streamlake produce --dataset orders < orders.jsonl
  streamlake consume --dataset orders --raw-zone file:///tmp/raw --exit-at-end
  streamlake audit --dataset orders --raw-zone gs://bucket
  streamlake config check streamlake.toml

Exit codes:
  0    done
  1    something failed; its text says what, and nothing that was acknowledged is lost
  2    a usage or configuration error: nothing was started
  3    refused in the present state, like a replay while the group has members
  4    an audit found something missing or damaged
  101  a panic: a bug of this program";

/// Order events from Kafka into the raw zone of an object store, committing only what is durable.
#[derive(Debug, Parser)]
#[command(name = "streamlake", version, args_override_self = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    logging: logging::Logging,
    /// Settings from this TOML file; flags and environment come first.
    #[arg(
        long,
        global = true,
        env = "STREAMLAKE_CONFIG",
        value_name = "FILE",
        help_heading = "Logging and configuration"
    )]
    config: Option<OsString>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read events from standard input and send them; a receipt a line goes to standard output.
    Produce(produce::Args),
    /// Carry a topic into the raw zone until told to stop.
    Consume(Box<consume::Args>),
    /// Look into the dead-letter topic, and send dead letters again.
    #[command(subcommand_required = true)]
    Dlq(dlq::Args),
    /// Set a group's offsets back, so that the restarted consumer writes a range again.
    Replay(replay::Args),
    /// Compare raw zone, dead letters, watermarks and commits, and name every gap and duplicate.
    Audit(audit::Args),
    /// Measure the pipeline against the bare client library.
    Bench(bench::Args),
    /// Look at a configuration file.
    #[command(subcommand_required = true)]
    Config(config_check::Args),
    /// Print the completions of a shell.
    Completions(manual::Completions),
    /// Write the manual pages into a folder.
    Man(manual::Man),
}

/// Runs the program with these arguments (the first is the program's name), on a runtime of its own.
pub fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (logging, commands) = match parse(args.into_iter().collect()) {
        Ok(parsed) => parsed,
        Err(err) => {
            // Help and version are no errors; clap knows which stream each goes to.
            let _ = err.print();
            return ExitCode::from(if err.use_stderr() { 2 } else { 0 });
        }
    };
    logging.install();
    let log = logging.format();
    end_on_panic();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => {
            return report(&Error::Io { doing: "starting the runtime".into(), source: err }, log);
        }
    };
    let outcome = runtime.block_on(run(commands));
    // Work that is still waiting for a service that is away must not keep the process.
    runtime.shutdown_background();
    let code = match outcome {
        Ok(code) => code,
        Err(err) => report(&err, log),
    };
    logging::flush();
    code
}

/// Exit code of a process in which something panicked: a bug of ours.
const EXIT_PANICKED: i32 = 101;

/// A panic on any thread ends the process. A polling thread or a task that is gone without a word leaves
/// a process that lives and does nothing; whoever supervises it would never know.
fn end_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        logging::flush();
        before(panic);
        std::process::exit(EXIT_PANICKED);
    }));
}

/// The command lines that the arguments and the configuration file stand for. Several only for
/// several pipelines.
fn parse(args: Vec<OsString>) -> Result<(logging::Logging, Vec<Command>), clap::Error> {
    let mut usage = Cli::command();
    let typed = args.clone();
    let lines = config_file::expand(args, &usage)
        .map_err(|text| usage.error(clap::error::ErrorKind::InvalidValue, text))?;
    let mut commands = Vec::new();
    let mut logging = None;
    for line in lines {
        let cli = Cli::try_parse_from(line).map_err(|err| of_the_file(err, &typed, &mut usage))?;
        logging.get_or_insert(cli.logging);
        commands.push(cli.command);
    }
    match logging {
        Some(logging) => Ok((logging, commands)),
        None => Err(usage.error(clap::error::ErrorKind::MissingSubcommand, "nothing to do")),
    }
}

/// A mistake that the command line does not have comes from the configuration file: it is named.
fn of_the_file(err: clap::Error, typed: &[OsString], usage: &mut clap::Command) -> clap::Error {
    let Some(file) = config_file::named_file(typed) else { return err };
    let same = Cli::try_parse_from(typed.to_vec()).is_err_and(|own| own.kind() == err.kind());
    match err.kind() {
        kind @ (clap::error::ErrorKind::InvalidValue
        | clap::error::ErrorKind::ValueValidation
        | clap::error::ErrorKind::ArgumentConflict)
            if !same =>
        {
            let mistake = config_check::first_line(&err);
            usage.error(kind, format!("{}: {mistake}", file.to_string_lossy()))
        }
        _ => err,
    }
}

async fn run(commands: Vec<Command>) -> Result<ExitCode, Error> {
    let mut pipelines = Vec::new();
    for command in commands {
        match command {
            Command::Produce(args) => return produce::run(args).await,
            Command::Consume(args) => pipelines.push(*args),
            Command::Dlq(args) => return dlq::run(args).await,
            Command::Replay(args) => return replay::run(args).await,
            Command::Audit(args) => return audit::run(args).await,
            Command::Bench(args) => return bench::run(args).await,
            Command::Config(args) => return config_check::run(&args),
            Command::Completions(args) => return manual::completions(&args, Cli::command()),
            Command::Man(args) => return manual::pages(&args, Cli::command()),
        }
    }
    consume::run(pipelines).await
}

/// Runs work that blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(err) => Err(Error::Stuck(format!("the work broke off: {err}"))),
    }
}

/// Tells an error once: as a log line where programs read the log, for people as it is.
fn report(err: &Error, log: logging::Format) -> ExitCode {
    match log {
        logging::Format::Json => tracing::error!(error = %err, "giving up"),
        logging::Format::Text => {
            logging::tell(&format!("streamlake: {err}"));
        }
    }
    ExitCode::from(err.exit_code())
}
