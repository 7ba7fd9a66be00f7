//! The broker host: a process of its own that runs librdkafka's mock cluster, so that brokers can
//! be frozen by a real SIGSTOP and cannot take the harness with them when they crash.
//!
//! It lives as long as its standard input is open. The harness holds the other end, so the host
//! ends with it however the harness ends. (Asking the kernel to send a signal on the parent's death
//! would not do: it follows the death of the *thread* that started the host.) SIGTERM ends it too,
//! by its default. Only a host that is stopped (SIGSTOP) at that moment stays, for the sweep.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::control::{Line, Request, What};
use super::mock::{Mock, MockError};

/// What the host is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Brokers to run, numbered from 1.
    pub brokers: u32,
    /// How long a new group waits for more members before its first assignment. librdkafka's own
    /// value is 3 s, a real broker's too.
    pub initial_rebalance_delay: Duration,
}

/// Runs the brokers until the standard input ends. Answers go to the standard output, log lines to
/// the standard error.
#[must_use]
pub fn main(options: &Options) -> ExitCode {
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker host: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let mock = Mock::start(options.brokers)?;
    mock.set_initial_rebalance_delay(options.initial_rebalance_delay)?;
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    say(&Line::Ready { ports: mock.ports(), librdkafka: librdkafka.clone() })?;
    for line in io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let id = request.id;
        say(&match carry_out(&mock, request.what) {
            Ok(()) => Line::Done { id },
            Err(error) => Line::Failed { id, why: error.to_string() },
        })?;
    }
    // The harness has closed its end. The process ends here, without taking the cluster apart:
    // there is nothing to save, and clients that are still connected could hold that up.
    std::process::exit(0)
}

fn carry_out(mock: &Mock, what: What) -> Result<(), MockError> {
    match what {
        What::Advertise { broker, host, port } => mock.advertise(broker, &host, port),
        What::CreateTopic { name, partitions, replication } => {
            mock.create_topic(&name, partitions, replication)
        }
        What::Down { broker } => mock.down(broker),
        What::Up { broker } => mock.up(broker),
    }
}

fn say(line: &Line) -> io::Result<()> {
    // In one write with a line break before it: should something else have printed to the standard
    // output (a test runner does), the line still begins at its beginning.
    let mut out = io::stdout().lock();
    out.write_all(format!("\n{}\n", serde_json::to_string(line)?).as_bytes())?;
    out.flush()
}
