//! The command line. Exit codes: 0 done, 1 something failed (its text says what), 2 usage, 3 refused
//! in the present state.

mod consume;
mod logging;
mod options;
mod produce;
mod signals;

use crate::error::Error;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Order events from Kafka into the raw zone of an object store, committing only what is durable.
#[derive(Debug, Parser)]
#[command(name = "streamlake", version, args_override_self = true)]
struct Cli {
    #[command(flatten)]
    logging: logging::Logging,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read events from standard input and send them; a receipt a line goes to standard output.
    Produce(produce::Args),
    /// Carry a topic into the raw zone until told to stop.
    Consume(consume::Args),
}

/// Runs the program with these arguments (the first is the program's name), on a runtime of its own.
pub fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(err) => {
            // Help and version are no errors; clap knows which stream each goes to.
            let _ = err.print();
            return ExitCode::from(if err.use_stderr() { 2 } else { 0 });
        }
    };
    cli.logging.install();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(err) => {
            return report(&Error::Io {
                doing: "starting the runtime".into(),
                source: err,
            });
        }
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Produce(args) => produce::run(args).await,
            Command::Consume(args) => consume::run(args).await,
        }
    });
    // Work that is still waiting for a service that is away must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(err) => report(&err),
    }
}

fn report(err: &Error) -> ExitCode {
    tracing::error!(error = %err, "giving up");
    let _ = writeln!(std::io::stderr(), "streamlake: {err}");
    ExitCode::from(err.exit_code())
}
