//! The command line: arguments in, exit code out.
//!
//! Exit codes: 0 every verdict is a pass, 1 an anomaly, 2 a usage or environment error, 3 a verdict is
//! inconclusive, 130 interrupted.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::command;
use crate::testbed::embedded;
use streamlake_history::foreign;

/// Exit code of a usage or environment error.
pub const EXIT_ERROR: u8 = 2;
/// Exit code after an interruption.
pub const EXIT_INTERRUPTED: u8 = 130;

#[derive(Debug, Parser)]
#[command(name = "streamlake-harness", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios and report what was delivered.
    Run(RunArguments),
    /// Judge a saved history again, offline; with `--from`, one that others wrote.
    Check(CheckArguments),
    /// Write the reports anew from the histories of the last run.
    Report(ReportArguments),
    /// List the scenarios, or the faults that they can use.
    List(ListArguments),
    /// Plant bugs in the pipeline and show that the checkers catch them.
    #[command(mut_arg("scenarios", |arg| arg.value_name("BUG").help(
        "Planted bugs by name; all that this testbed can show if none is named, and only that is saved"
    )))]
    Prove(ProveArguments),
    /// Let production clients of Google Cloud Storage write to a fake-gcs-server: prints the
    /// environment for them and serves until Ctrl-C.
    Gateway(GatewayArguments),
    /// The pipeline itself; the system under test is started through this.
    #[command(hide = true, disable_help_flag = true)]
    Pipeline {
        /// Arguments of `streamlake`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The brokers of the embedded testbed; a testbed starts this.
    #[command(hide = true)]
    BrokerHost {
        /// Brokers to run.
        #[arg(long)]
        brokers: u32,
        /// How long a new group waits for more members.
        #[arg(long)]
        initial_rebalance_delay_ms: u64,
    },
}

/// Which testbed to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestbedName {
    /// librdkafka's mock cluster and an in-memory store: needs nothing, vouches for little.
    Embedded,
    /// Real Kafka and the other parts in containers: the evidence that counts.
    Docker,
}

impl TestbedName {
    /// The name in scenario files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Docker => "docker",
        }
    }
}

/// Arguments of `prove`.
#[derive(Debug, Clone, Args)]
pub struct ProveArguments {
    /// Try each bug against the suite that `run` runs, until a scenario fails, instead of against the
    /// scenario that was made for it. With `--repeat N` at N seeds.
    #[arg(long)]
    pub ordinary: bool,
    /// What `run` takes.
    #[command(flatten)]
    pub run: RunArguments,
}

/// Arguments of `run` and `prove`.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Scenarios by name, or paths of scenario files; all of the suite if none is named.
    pub scenarios: Vec<String>,
    /// Where to run them.
    #[arg(long, value_enum, default_value = "embedded", env = "STREAMLAKE_TESTBED")]
    pub testbed: TestbedName,
    /// Seed of the plans: payloads, keys, random targets.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Run each scenario so many times, with rising seeds.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Run so many scenarios at once, each on a testbed of its own [default: 6 embedded, 1 docker].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// Plant a bug in the pipeline by its name: a run that must not pass.
    #[cfg(feature = "planted-bugs")]
    #[arg(long, value_name = "BUG")]
    pub plant: Option<String>,
    /// Stop after the first verdict that is not a pass.
    #[arg(long)]
    pub fail_fast: bool,
    /// Where things are read and written.
    #[command(flatten)]
    pub folders: Folders,
}

impl RunArguments {
    /// How many scenarios run at once. Containers of several testbeds on a small machine starve each
    /// other, which would be measured as unavailability of Kafka; the embedded testbed is light.
    #[must_use]
    pub fn jobs(&self) -> usize {
        let default = match self.testbed {
            TestbedName::Embedded => 6,
            TestbedName::Docker => 1,
        };
        self.jobs.map_or(default, usize::from)
    }

    /// Environment that plants the bug that was asked for: nothing, in a binary without bugs.
    pub(crate) fn planted(&self) -> Option<(String, String)> {
        #[cfg(feature = "planted-bugs")]
        return self.plant.clone().map(|bug| ("STREAMLAKE_PLANTED_BUG".to_owned(), bug));
        #[cfg(not(feature = "planted-bugs"))]
        None
    }

    /// The same arguments for the suite with one bug at one seed, in a folder of its own.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn ordinary(&self, bug: Option<&str>, seed: u64) -> Self {
        let mut folders = self.folders.clone();
        folders.runs_dir = folders.runs_dir.join("ordinary").join(bug.unwrap_or("none"));
        Self { plant: bug.map(str::to_owned), folders, seed, ..self.clone() }
    }

    /// The same arguments for one scenario of the proof with one bug, in a folder of their own.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn planting(&self, scenario: &str, bug: Option<&str>, seed: u64) -> Self {
        let mut folders = self.folders.clone();
        folders.runs_dir = folders.runs_dir.join("prove").join(bug.unwrap_or("none"));
        folders.scenarios_dir = folders.scenarios_dir.join("prove");
        let scenarios = vec![scenario.to_owned()];
        Self { scenarios, plant: bug.map(str::to_owned), folders, seed, ..self.clone() }
    }
}

/// Where things are read and written.
#[derive(Debug, Clone, Args)]
pub struct Folders {
    /// Folder of the scenario files.
    #[arg(long, value_name = "DIR", default_value = "scenarios")]
    pub scenarios_dir: PathBuf,
    /// Folder for histories and logs.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs_dir: PathBuf,
    /// Folder for reports; each testbed has one of its own in it.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub reports_dir: PathBuf,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// History files. With `--from`, what producers and consumers wrote, as FILE or NAME=FILE: a
    /// consumer's NAME is its GROUP or GROUP/MEMBER; without NAME it is the file's name without its
    /// ending.
    #[arg(required = true, value_name = "FILE")]
    pub histories: Vec<PathBuf>,
    /// Print the verdicts as JSON.
    #[arg(long)]
    pub json: bool,
    /// The files are one history that others wrote in this format.
    #[arg(long, value_name = "FORMAT", value_parser = foreign::Format::NAMES)]
    pub from: Option<String>,
    /// What the rest of the command line says of a history that others wrote.
    #[command(flatten)]
    pub foreign: ForeignArguments,
}

/// What keeps the order in which it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SendOrder {
    /// Records of one key.
    Key,
    /// All records of one producer in a partition.
    Partition,
}

impl SendOrder {
    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Partition => "partition",
        }
    }
}

/// What lines of others do not say of themselves.
#[derive(Debug, Args)]
pub struct ForeignArguments {
    /// With `--from`: the topic read back to its end; without it nothing is passed.
    #[arg(long, value_name = "[NAME=]FILE", requires = "from")]
    pub log: Vec<PathBuf>,
    /// With `--from`: the broker's record of commits, as OffsetsMessageFormatter and
    /// GroupMetadataMessageFormatter print it.
    #[arg(long, requires = "from", value_name = "[NAME=]FILE")]
    pub commits: Vec<PathBuf>,
    /// With `--from`: a name for the reports [default: the format's].
    #[arg(long, requires = "from")]
    pub name: Option<String>,
    /// With `--from`: partitions of a topic, if there are more than were used.
    #[arg(long, value_name = "TOPIC=N", requires = "from", value_parser = partitions)]
    pub partitions: Vec<(String, u32)>,
    /// With `--from`: the producer's partitioner, `murmur2` for Kafka's own; its keys are judged by it.
    #[arg(long, requires = "from")]
    pub partitioner: Option<String>,
    /// With `--from`: records of one key were to keep their order; short for `--order key`.
    #[arg(long, requires = "from")]
    pub key_order: bool,
    /// With `--from`: what was to keep the order of its sends: the records of one key, or all that one
    /// producer sends to a partition.
    #[arg(long, value_enum, requires = "from")]
    pub order: Option<SendOrder>,
    /// With `--from`: the producers were idempotent, so the log holds no record twice.
    #[arg(long, requires = "from")]
    pub idempotent: bool,
}

fn partitions(text: &str) -> Result<(String, u32), String> {
    let parts = text.rsplit_once('=').map(|(topic, number)| (topic, number.parse::<u32>()));
    match parts {
        Some((topic, Ok(number))) if !topic.is_empty() && number > 0 => {
            Ok((topic.to_owned(), number))
        }
        _ => Err("a topic and its number of partitions are written as `orders=12`".to_owned()),
    }
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Which testbed's runs.
    #[arg(long, value_enum, default_value = "embedded", env = "STREAMLAKE_TESTBED")]
    pub testbed: TestbedName,
    /// Where things are read and written.
    #[command(flatten)]
    pub folders: Folders,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// List the kinds of faults instead.
    #[arg(long)]
    pub faults: bool,
    /// Where things are read and written.
    #[command(flatten)]
    pub folders: Folders,
}

/// Arguments of `gateway`.
#[derive(Debug, Args)]
pub struct GatewayArguments {
    /// Where the emulator is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4443")]
    pub emulator: String,
    /// Port of the loopback for clients; 0 takes a free one.
    #[arg(long, default_value_t = 4444)]
    pub port: u16,
    /// Make this bucket first, if it is not there.
    #[arg(long)]
    pub bucket: Option<String>,
}

/// Parses arguments, runs the command, and maps what came of it to an exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap prints each to the right stream.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_ERROR } else { 0 });
        }
    };
    let outcome = match cli.command {
        Command::Pipeline { arguments } => {
            let program = OsString::from("streamlake");
            return streamlake::cli::main_with_args(std::iter::once(program).chain(arguments));
        }
        Command::BrokerHost { brokers, initial_rebalance_delay_ms } => {
            let initial_rebalance_delay = Duration::from_millis(initial_rebalance_delay_ms);
            return embedded::host::main(&embedded::host::Options {
                brokers,
                initial_rebalance_delay,
            });
        }
        Command::Run(arguments) => command::run::main(&arguments),
        Command::Prove(arguments) => command::prove::main(&arguments),
        Command::Check(arguments) => command::check::main(&arguments),
        Command::Report(arguments) => command::report::main(&arguments),
        Command::List(arguments) => command::list::main(&arguments),
        Command::Gateway(arguments) => command::gateway::main(&arguments),
    };
    outcome.map_or_else(
        |report| {
            eprintln!("{report:?}");
            ExitCode::from(EXIT_ERROR)
        },
        ExitCode::from,
    )
}
