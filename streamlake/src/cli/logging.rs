//! Log lines go to standard error; standard output belongs to receipts and results.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Logging {
    /// How log lines look.
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "STREAMLAKE_LOG_FORMAT",
        global = true,
        help_heading = "Logging and configuration"
    )]
    log_format: Format,
    /// What is logged, as in RUST_LOG: `info`, `streamlake=debug`.
    #[arg(
        long,
        default_value = "info",
        env = "STREAMLAKE_LOG",
        global = true,
        help_heading = "Logging and configuration"
    )]
    log: String,
}

impl Logging {
    /// How log lines look.
    pub(super) fn format(&self) -> Format {
        self.log_format
    }

    /// Installs the subscriber; in a process that has one already, that one stays.
    pub(super) fn install(&self) {
        let filter = EnvFilter::try_new(&self.log).unwrap_or_else(|_| EnvFilter::new("info"));
        // A reader of standard error that goes away must not end the work: what cannot be written is
        // dropped. By default the library complains of it on standard error, and that panics.
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .log_internal_errors(false);
        let _ = match self.log_format {
            Format::Text => builder.with_ansi(false).try_init(),
            Format::Json => builder.json().flatten_event(true).try_init(),
        };
    }
}
