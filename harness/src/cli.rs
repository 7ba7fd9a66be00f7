//! The command line: arguments in, exit code out.
//!
//! Results go to standard output, what is told on the way to standard error. Exit codes: 0 every
//! verdict is a pass, 1 an anomaly, 2 a usage or environment error, 3 a verdict is inconclusive, 130
//! interrupted.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::command;
use crate::command::suite::Shelf;
use crate::testbed::external::Description;
use crate::testbed::{self, Abilities, embedded};
use streamlake_history::foreign;

/// Exit code of a usage or environment error.
pub const EXIT_ERROR: u8 = 2;
/// Exit code after an interruption.
pub const EXIT_INTERRUPTED: u8 = 130;

const ABOUT_EXIT: &str = "\
Exit codes:
  0    every verdict is a pass
  1    an anomaly was found
  2    a usage or environment error, or a scenario that could not be carried out
  3    a verdict is inconclusive: what was not shown is not a pass
  130  interrupted; what was done until then is in the report";

const ABOUT_EXIT_OF_PROVE: &str = "\
Exit codes:
  0    every bug was caught, and no clean run raised anything
  1    a bug was missed, or a clean run raised an alarm
  2    a usage or environment error
  130  interrupted";

const ABOUT_EXIT_SIMPLE: &str = "\
Exit codes:
  0    done
  2    a usage or environment error";

const RUN_EXAMPLES: &str = "\
Examples:
  streamlake-harness run                                 the suite on the embedded testbed
  streamlake-harness run --testbed docker --seed 7       the suite on real Kafka, other instants
  streamlake-harness run 'broker-*' --repeat 10          some of it, ten times each
  streamlake-harness run ./my-scenario.toml --dry-run    what would be done, and when
  streamlake-harness run -q --json | jq .status          for a script";

const CHECK_EXAMPLES: &str = "\
Examples:
  streamlake-harness check runs/docker/broker-kill-1/history.jsonl
  streamlake-harness check --from kafka-verifiable --log log.jsonl producer.jsonl billing.jsonl
  streamlake-harness check --json history.jsonl | jq .status";

const OBSERVE_EXAMPLES: &str = "\
Examples:
  streamlake-harness observe billing.toml --time 10m     for ten minutes, into observed.jsonl
  streamlake-harness observe billing.toml                until Ctrl-C
  streamlake-harness check observed.jsonl                judge it again";

const INIT_EXAMPLES: &str = "\
Examples:
  streamlake-harness init billing --delivery files -- python3 billing.py
  streamlake-harness init billing --delivery objects --dead-letters --value-at /payload -- java -jar sink.jar
  streamlake-harness init billing --delivery topic --image acme/billing:1.4";

const LIST_EXAMPLES: &str = "\
Examples:
  streamlake-harness list                                all scenarios
  streamlake-harness list --tag smoke --testbed docker   those with this tag that docker can carry out
  streamlake-harness list --fault 'consumer-*'           those that do this to the pipeline
  streamlake-harness list --faults                       what can be done to a pipeline";

const PLAN_EXAMPLES: &str = "\
Examples:
  streamlake-harness plan broker-kill --seed 7
  streamlake-harness plan ./my-scenario.toml --testbed docker --json";

const PROVE_EXAMPLES: &str = "\
Examples:
  streamlake-harness prove                               every bug that the embedded testbed can show
  streamlake-harness prove commit-before-write           one bug, and a clean run beside it
  streamlake-harness prove --ordinary --repeat 3         each bug against the suite, at three seeds";

const CRASH_EXAMPLES: &str = "\
Examples:
  streamlake-harness crash-points                        every point, 20 deaths each, one member and two
  streamlake-harness crash-points after-commit --hits 5 --members 2
  streamlake-harness crash-points -q --json | jq .status";

const VIEW_EXAMPLES: &str = "\
Examples:
  streamlake-harness view runs/docker/broker-kill-1
  streamlake-harness view runs/docker/broker-kill-1 runs/docker/broker-kill-2 --out both.html";

const PROTOCOL_EXAMPLES: &str = "\
Examples:
  streamlake-harness protocol-errors                     every pair of API and answer
  streamlake-harness protocol-errors 'offset-commit-*' --testbed docker
  streamlake-harness protocol-errors -q --json | jq .status";

const EXPLORE_EXAMPLES: &str = "\
Examples:
  streamlake-harness explore                             for ten minutes, from seed 1
  streamlake-harness explore --time 1h --fresh --keep-going
  streamlake-harness explore --testbed docker --seed 7 --time 30m";

/// Help that ends with examples and exit codes.
fn ending(examples: &str, codes: &str) -> String {
    if examples.is_empty() { codes.to_owned() } else { format!("{examples}\n\n{codes}") }
}

#[derive(Debug, Parser)]
#[command(
    name = "streamlake-harness",
    version,
    about,
    max_term_width = 100,
    after_help = "Each command tells its options, examples and exit codes with --help."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios and report what was delivered.
    #[command(after_help = ending(RUN_EXAMPLES, ABOUT_EXIT))]
    Run(RunCommand),
    /// Show what a run would do: every topic, process, target and instant, and run nothing.
    #[command(after_help = ending(PLAN_EXAMPLES, ABOUT_EXIT_SIMPLE))]
    Plan(PlanArguments),
    /// List the scenarios, or the faults that they can use.
    #[command(after_help = ending(LIST_EXAMPLES, ABOUT_EXIT_SIMPLE))]
    List(ListArguments),
    /// Judge a saved history again, offline; with `--from`, one that others wrote.
    #[command(after_help = ending(CHECK_EXAMPLES, ABOUT_EXIT))]
    Check(CheckArguments),
    /// Look at consumer groups that run anyway, break nothing, and judge what they delivered and committed.
    #[command(after_help = ending(OBSERVE_EXAMPLES, ABOUT_EXIT))]
    Observe(ObserveArguments),
    /// Write scenarios for a consumer of your own: the standard suite, with comments, to be run and changed.
    #[command(after_help = ending(INIT_EXAMPLES, ABOUT_EXIT_SIMPLE))]
    Init(InitArguments),
    /// Tell the partition that Kafka's own producer gives each key, by murmur2: one line a key.
    #[command(after_help = ending("", ABOUT_EXIT_SIMPLE))]
    Partition(PartitionArguments),
    /// Write the reports anew from the histories of all runs that are still there.
    #[command(after_help = ending("", ABOUT_EXIT))]
    Report(ReportArguments),
    /// Write a page with which one can look into a history: a timeline, and the story of each record.
    #[command(after_help = ending(VIEW_EXAMPLES, ABOUT_EXIT_SIMPLE))]
    View(ViewArguments),
    /// Plant bugs in the pipeline and show that the checkers catch them.
    #[command(
        after_help = ending(PROVE_EXAMPLES, ABOUT_EXIT_OF_PROVE),
        mut_arg("scenarios", |arg| arg.value_name("BUG").help(
            "Planted bugs by name; all that this testbed can show if none is named, and only that is saved"
        ))
    )]
    Prove(ProveArguments),
    /// Kill a consumer at each step of its commit protocol, again and again, and show what came of it.
    #[command(
        after_help = ending(CRASH_EXAMPLES, ABOUT_EXIT),
        mut_arg("scenarios", |arg| arg.value_name("POINT").help(
            "Crash points by name; all if none is named, and only that is saved"
        ))
    )]
    CrashPoints(CrashPointsArguments),
    /// Answer requests to brokers with errors that the brokers never told, API by API, and show what came of it.
    #[command(
        after_help = ending(PROTOCOL_EXAMPLES, ABOUT_EXIT),
        mut_arg("scenarios", |arg| arg.value_name("PAIR").help(
            "Pairs of API and answer by name (`fetch-*` for several); all if none is named, and only that is saved"
        ))
    )]
    ProtocolErrors(ProtocolErrorsArguments),
    /// Let a seed choose what is done to the pipeline, run after run; keep what fails, made as small as it goes.
    #[command(
        after_help = ending(EXPLORE_EXAMPLES, ABOUT_EXIT),
        mut_arg("scenarios", |arg| arg.hide(true)),
        mut_arg("repeat", |arg| arg.hide(true))
    )]
    Explore(ExploreArguments),
    /// End processes, and remove containers and networks, that a harness which was killed left behind.
    #[command(after_help = ending("", ABOUT_EXIT_SIMPLE))]
    Sweep(SweepArguments),
    /// Let production clients of Google Cloud Storage write to a fake-gcs-server: prints the
    /// environment for them and serves until Ctrl-C.
    #[command(after_help = ending("", ABOUT_EXIT_SIMPLE))]
    Gateway(GatewayArguments),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder.
    Man {
        /// The folder; it is made if it is not there.
        folder: PathBuf,
    },
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
    /// A cluster and a store of your own, described in the file that `--cluster` names.
    External,
}

impl TestbedName {
    /// The name in scenario files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Docker => "docker",
            Self::External => "external",
        }
    }
}

/// What is printed, and how.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Print the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error, and of the result only what is wrong and the verdict.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Tell more: every phase of a run, and what does not apply, with the reason.
    #[arg(short, long)]
    pub verbose: bool,
    /// Colours: at a terminal unless NO_COLOR is set, always, or never.
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: Colour,
}

/// When there are colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// At a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which of the scenarios.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub struct Filter {
    /// Of these only those with this tag; may be given several times, all must be there.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Of these only those with a fault of this kind; `*` stands for anything.
    #[arg(long, value_name = "KIND")]
    pub fault: Vec<String>,
}

impl Filter {
    /// Nothing is filtered out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tag.is_empty() && self.fault.is_empty()
    }
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunCommand {
    /// What `prove` takes as well.
    #[command(flatten)]
    pub run: RunArguments,
    /// Which of them.
    #[command(flatten)]
    pub filter: Filter,
    /// Stop after the first verdict that is not a pass.
    #[arg(long, help_heading = "How they run")]
    pub fail_fast: bool,
    /// Show the plans, check that they could be carried out, and run nothing.
    #[arg(long, help_heading = "How they run")]
    pub dry_run: bool,
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

/// Arguments of `crash-points`.
#[derive(Debug, Clone, Args)]
pub struct CrashPointsArguments {
    /// Deaths at each point, with each number of members.
    #[arg(
        long,
        default_value_t = 20,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1000),
        help_heading = "How they run"
    )]
    pub hits: u32,
    /// Members of the group; may be given several times [default: 1 and 2]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=6),
        help_heading = "How they run"
    )]
    pub members: Vec<u32>,
    /// What `run` takes.
    #[command(flatten)]
    pub run: RunArguments,
}

/// Arguments of `protocol-errors`.
#[derive(Debug, Clone, Args)]
pub struct ProtocolErrorsArguments {
    /// Pairs in one run, one after the other [default: 1 embedded, 6 docker]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=20),
        help_heading = "How they run"
    )]
    pub together: Option<u16>,
    /// What `run` takes.
    #[command(flatten)]
    pub run: RunArguments,
}

/// Arguments of `explore`.
#[derive(Debug, Clone, Args)]
pub struct ExploreArguments {
    /// How long schedules are drawn; what is found then is made smaller all the same.
    #[arg(
        long,
        default_value = "10m",
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        help_heading = "How they run"
    )]
    pub time: Duration,
    /// Take the seed from the clock; it is printed.
    #[arg(long, conflicts_with = "seed", help_heading = "How they run")]
    pub fresh: bool,
    /// Go on after something was found.
    #[arg(long, help_heading = "How they run")]
    pub keep_going: bool,
    /// What `run` takes.
    #[command(flatten)]
    pub run: RunArguments,
}

/// Arguments of `run`, `prove`, `crash-points`, `protocol-errors` and `explore`.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Scenarios by name (`broker-*` for several), or paths of scenario files; all of the suite if none
    /// is named.
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Where to run them.
    #[arg(
        long,
        value_enum,
        default_value = "embedded",
        env = "STREAMLAKE_TESTBED",
        help_heading = "How they run"
    )]
    pub testbed: TestbedName,
    /// What describes the cluster and the store of `--testbed external`.
    #[arg(long, value_name = "FILE", env = "STREAMLAKE_CLUSTER", help_heading = "How they run")]
    pub cluster: Option<PathBuf>,
    /// Agree to the faults on `--testbed external`: somebody else may work there.
    #[arg(long, help_heading = "How they run")]
    pub yes_break: bool,
    /// What `cluster` says.
    #[arg(skip)]
    pub(crate) elsewhere: Option<Arc<Description>>,
    /// Seed of the plans: payloads, keys, random targets.
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "How they run")]
    pub seed: u64,
    /// Run each scenario so many times, with rising seeds.
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1000),
        help_heading = "How they run"
    )]
    pub repeat: u32,
    /// Run so many scenarios at once, each on a testbed of its own [default: 6 embedded, else 1].
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=64),
        help_heading = "How they run"
    )]
    pub jobs: Option<u16>,
    /// Plant a bug in the pipeline by its name: a run that must not pass.
    #[cfg(feature = "planted-bugs")]
    #[arg(
        long,
        value_name = "BUG",
        value_parser = clap::builder::PossibleValuesParser::new(streamlake::planted::names()),
        hide_possible_values = true,
        help_heading = "How they run"
    )]
    pub plant: Option<String>,
    /// Stop after the first verdict that is not a pass.
    #[arg(skip)]
    pub fail_fast: bool,
    /// Whose scenarios: those of the suite, or of the proof.
    #[arg(skip)]
    pub(crate) shelf: Shelf,
    /// Where things are read and written.
    #[command(flatten)]
    pub folders: Folders,
    /// What is printed, and how.
    #[command(flatten)]
    pub output: Output,
}

impl RunArguments {
    /// How many scenarios run at once. Containers of several testbeds on a small machine starve each
    /// other, which would be measured as unavailability of Kafka; the embedded testbed is light.
    #[must_use]
    pub fn jobs(&self) -> usize {
        let default = match self.testbed {
            TestbedName::Embedded => 6,
            TestbedName::Docker | TestbedName::External => 1,
        };
        self.jobs.map_or(default, usize::from)
    }

    /// What the testbed can do and vouch for.
    pub(crate) fn abilities(&self) -> Abilities {
        let of_testbed = || testbed::abilities(self.testbed);
        self.elsewhere.as_ref().map_or_else(of_testbed, |elsewhere| elsewhere.abilities())
    }

    /// The bug that is planted, by its name: none, in a binary without bugs.
    pub(crate) fn bug(&self) -> Option<&str> {
        #[cfg(feature = "planted-bugs")]
        return self.plant.as_deref();
        #[cfg(not(feature = "planted-bugs"))]
        None
    }

    /// Environment that plants the bug that was asked for: nothing, in a binary without bugs.
    pub(crate) fn planted(&self) -> Option<(String, String)> {
        self.bug().map(|bug| ("STREAMLAKE_PLANTED_BUG".to_owned(), bug.to_owned()))
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
        let (scenarios, plant) = (vec![scenario.to_owned()], bug.map(str::to_owned));
        Self { scenarios, plant, folders, seed, shelf: Shelf::Proof, ..self.clone() }
    }
}

/// Where scenarios are read.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Folders")]
pub struct ScenarioFolder {
    /// Folder of the scenario files [default: scenarios, where there is such a folder, otherwise the
    /// files that were built into this program]
    #[arg(long, value_name = "DIR")]
    pub scenarios_dir: Option<PathBuf>,
}

/// Where things are read and written.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Folders")]
pub struct Folders {
    /// Where scenarios are read.
    #[command(flatten)]
    pub scenarios: ScenarioFolder,
    /// Folder for histories and logs.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs_dir: PathBuf,
    /// Folder for reports; each testbed has one of its own in it, and so has what is not the whole
    /// suite, in `partial` [default: reports in the folder of the runs]
    #[arg(long, value_name = "DIR")]
    pub reports_dir: Option<PathBuf>,
    /// Folder of published reports: with them a first report compares itself, and from them it takes
    /// the checkers' trial.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub published_dir: PathBuf,
}

impl Folders {
    /// The folder for reports.
    #[must_use]
    pub fn reports(&self) -> PathBuf {
        self.reports_dir.clone().unwrap_or_else(|| self.runs_dir.join("reports"))
    }

    /// The options that name these folders, as one would type them; none for the usual ones.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: Option<&Path>| {
            if let Some(value) = value {
                words.extend([name.to_owned(), value.display().to_string()]);
            }
        };
        option("--scenarios-dir", self.scenarios.scenarios_dir.as_deref());
        option("--runs-dir", Some(&*self.runs_dir).filter(|dir| *dir != Path::new("runs")));
        option("--reports-dir", self.reports_dir.as_deref());
        words
    }
}

/// Where a consumer delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeliveryKind {
    /// Files in a folder.
    Files,
    /// Objects of the store.
    Objects,
    /// Rows of a table.
    Rows,
    /// Records of another topic.
    Topic,
}

impl DeliveryKind {
    /// The name in scenario files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Objects => "objects",
            Self::Rows => "rows",
            Self::Topic => "topic",
        }
    }
}

/// Arguments of `init`.
#[derive(Debug, Clone, Args)]
pub struct InitArguments {
    /// The folder to write the scenarios into; files that are there are left alone.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The consumer group.
    #[arg(long, default_value = "my-group", value_name = "GROUP")]
    pub group: String,
    /// Processes in it.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub members: u32,
    /// The image of a container, instead of a program.
    #[arg(long)]
    pub image: Option<String>,
    /// Where the program is started [default: the scenarios' folder].
    #[arg(long, value_name = "FOLDER")]
    pub directory: Option<PathBuf>,
    /// Where it delivers.
    #[arg(long, value_enum)]
    pub delivery: DeliveryKind,
    /// JSON pointer to the partition in what it delivers.
    #[arg(long, default_value = "/partition", value_name = "POINTER")]
    pub partition_at: String,
    /// JSON pointer to the offset.
    #[arg(long, default_value = "/offset", value_name = "POINTER")]
    pub offset_at: String,
    /// JSON pointer to the payload's field `op` instead, if it delivers no offsets.
    #[arg(long, value_name = "POINTER")]
    pub op_at: Option<String>,
    /// JSON pointer to the payload, to be compared.
    #[arg(long, value_name = "POINTER")]
    pub value_at: Option<String>,
    /// What it cannot handle it puts into a dead-letter topic.
    #[arg(long)]
    pub dead_letters: bool,
    /// The program and its arguments, after `--`; of a container its arguments.
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "image")]
    pub command: Vec<String>,
}

/// Arguments of `partition`.
#[derive(Debug, Clone, Args)]
pub struct PartitionArguments {
    /// The keys, byte for byte.
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<OsString>,
    /// Partitions of the topic.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: u32,
}

/// Arguments of `observe`.
#[derive(Debug, Args)]
pub struct ObserveArguments {
    /// The file that says where brokers are, which topic is read, by whom, and where it is delivered.
    #[arg(value_name = "FILE")]
    pub description: PathBuf,
    /// Look for so long [default: until Ctrl-C].
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// Where the history is written; a file that is there is left alone.
    #[arg(long, value_name = "FILE", default_value = "observed.jsonl")]
    pub out: PathBuf,
    /// What is printed, and how.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// History files. With `--from`, what producers and consumers wrote, as FILE or NAME=FILE: a
    /// consumer's NAME is its GROUP or GROUP/MEMBER; without NAME it is the file's name without its
    /// ending.
    #[arg(required = true, value_name = "FILE")]
    pub histories: Vec<PathBuf>,
    /// What is printed, and how.
    #[command(flatten)]
    pub output: Output,
    /// The files are one history that others wrote in this format.
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = foreign::Format::NAMES,
        help_heading = "Histories that others wrote"
    )]
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
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Histories that others wrote")]
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
    #[arg(
        long,
        requires = "from",
        value_name = "NAME",
        value_parser = ["murmur2", "murmur2_random", "random"]
    )]
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
    /// What is printed, and how.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `view`.
#[derive(Debug, Args)]
pub struct ViewArguments {
    /// A run's folder or its history; two of them are put on one page to be compared.
    #[arg(value_name = "RUN", required = true, num_args = 1..=2)]
    pub runs: Vec<PathBuf>,
    /// The page's file [default: history.html beside the first history]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Scenarios by name, `broker-*` for several; all if none is named.
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// List the kinds of faults instead.
    #[arg(long, conflicts_with_all = ["scenarios", "tag", "fault", "testbed"])]
    pub faults: bool,
    /// Which of them.
    #[command(flatten)]
    pub filter: Filter,
    /// Of these only those that this testbed can carry out.
    #[arg(long, value_enum, help_heading = "Selection")]
    pub testbed: Option<TestbedName>,
    /// Where scenarios are read.
    #[command(flatten)]
    pub folder: ScenarioFolder,
    /// What is printed, and how.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// Scenarios by name (`broker-*` for several), or paths of scenario files.
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Where they would run.
    #[arg(long, value_enum, default_value = "embedded", env = "STREAMLAKE_TESTBED")]
    pub testbed: TestbedName,
    /// Seed of the plans.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Where scenarios are read.
    #[command(flatten)]
    pub folder: ScenarioFolder,
    /// What is printed, and how.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `sweep`.
#[derive(Debug, Args)]
pub struct SweepArguments {
    /// Look after processes only, and ask no container engine.
    #[arg(long)]
    pub processes_only: bool,
    /// Where runs were written: what they made on clusters of your own is noted there.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs_dir: PathBuf,
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
        Command::Run(arguments) => command::run::main(arguments),
        Command::Plan(arguments) => command::plan::main(&arguments),
        Command::Sweep(arguments) => command::sweep::main(&arguments),
        Command::Completions { shell } => command::manual::completions(shell, Cli::command()),
        Command::Man { folder } => command::manual::pages(&folder, Cli::command()),
        Command::Prove(arguments) => command::prove::main(&arguments),
        Command::CrashPoints(arguments) => command::crash_points::main(&arguments),
        Command::ProtocolErrors(arguments) => command::protocol_errors::main(&arguments),
        Command::Explore(arguments) => command::explore::main(&arguments),
        Command::Check(arguments) => command::check::main(&arguments),
        Command::Init(arguments) => command::init::main(&arguments),
        Command::Partition(arguments) => command::partition::main(&arguments),
        Command::Observe(arguments) => command::observe::main(&arguments),
        Command::Report(arguments) => command::report::main(&arguments),
        Command::View(arguments) => command::view::main(&arguments),
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
