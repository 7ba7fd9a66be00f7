//! The harness's side of the broker host: starts it, asks it, watches it from outside.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::TestbedError;
use super::control::{Line, Request, What};
use crate::sweep::{self, Stat};

/// A request that is not answered within this time has failed; they take microseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A state of the process that was asked for is reached within this time.
const STATE_WITHIN: Duration = Duration::from_secs(2);
/// Nothing tells when a process has changed its state, so it is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const LOG_LINES_MAX: usize = 1000;

/// How the host is started: this program again, with other arguments.
#[derive(Debug, Clone)]
pub struct HostCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; what they must lead to is [`super::host::main`].
    pub arguments: Vec<String>,
    /// Environment beside the harness's own.
    pub environment: Vec<(String, String)>,
}

type Log = Arc<SyncMutex<VecDeque<(DateTime<Utc>, String)>>>;

/// The running host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) pid: u32,
    pub(super) ports: Vec<u16>,
    pub(super) librdkafka: String,
    child: Mutex<Child>,
    talk: Mutex<Option<Talk>>,
    log: Log,
}

#[derive(Debug)]
struct Talk {
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    asked: u64,
}

impl Host {
    pub(super) async fn start(
        command: &HostCommand,
        within: Duration,
    ) -> Result<Self, TestbedError> {
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .envs(command.environment.iter().cloned())
            .env(sweep::OWNER_VARIABLE, sweep::owner_label())
            // Its own group: Ctrl-C in a terminal is for the harness, which then stops the host.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| TestbedError::request("starting the broker host", error))?;
        let log = Log::default();
        let (Some(to), Some(from), Some(errors), Some(pid)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take(), child.id())
        else {
            return Err(TestbedError::request("starting the broker host", "it has ended"));
        };
        let errors = tokio::spawn(keep(Arc::clone(&log), errors));
        let mut talk = Talk { to, from: BufReader::new(from).lines(), asked: 0 };
        let (ports, librdkafka) = match tokio::time::timeout(within, talk.next(&log)).await {
            Ok(Some(Line::Ready { ports, librdkafka })) => (ports, librdkafka),
            Ok(other) => {
                // It has ended, or is something else; what it had to say about it may follow.
                let _ = tokio::time::timeout(STATE_WITHIN, errors).await;
                let why = format!("its first line was {other:?}; it said {:?}", last_lines(&log));
                return Err(TestbedError::request("starting the broker host", why));
            }
            Err(_) => {
                return Err(TestbedError::Deadline {
                    part: "broker host".to_owned(),
                    state: "ready",
                    within,
                    last: format!("it said {:?}", last_lines(&log)),
                });
            }
        };
        let talk = Mutex::new(Some(talk));
        Ok(Self { pid, ports, librdkafka, child: Mutex::new(child), talk, log })
    }

    pub(super) async fn ask(&self, what: What) -> Result<(), TestbedError> {
        let asked = format!("asking the broker host to {what:?}");
        let answer = tokio::time::timeout(ANSWER_WITHIN, async {
            match self.talk.lock().await.as_mut() {
                Some(talk) => talk.ask(what, &self.log).await,
                None => Err("it was stopped".to_owned()),
            }
        });
        match answer.await {
            Ok(answer) => answer.map_err(|why| TestbedError::request(asked, why)),
            Err(_) => Err(TestbedError::request(asked, "it did not answer")),
        }
    }

    /// Sends a signal and waits until the process is seen in (or out of) the stopped state.
    pub(super) async fn freeze(&self, frozen: bool) -> Result<(), TestbedError> {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        let pid = Pid::from_raw(self.pid.try_into().unwrap_or(i32::MAX));
        kill(pid, signal)
            .map_err(|error| TestbedError::request(format!("sending {signal}"), error))?;
        let state = if frozen { "frozen" } else { "thawed" };
        self.until(state, || (self.state() == Some('T')) == frozen).await
    }

    /// Waits until a broker's port is seen to listen, or not to.
    pub(super) async fn until_listening(
        &self,
        port: u16,
        listens: bool,
    ) -> Result<(), TestbedError> {
        let state = if listens { "listening" } else { "down" };
        self.until(state, || listening(self.pid, port) == listens).await
    }

    async fn until(&self, state: &'static str, met: impl Fn() -> bool) -> Result<(), TestbedError> {
        let deadline = Instant::now() + STATE_WITHIN;
        while !met() {
            if Instant::now() > deadline {
                return Err(TestbedError::Deadline {
                    part: "broker host".to_owned(),
                    state,
                    within: STATE_WITHIN,
                    last: format!("process state {:?}", self.state()),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// The state of the process as the kernel shows it.
    pub(super) fn state(&self) -> Option<char> {
        Stat::of(self.pid).ok().map(|stat| stat.state)
    }

    pub(super) fn log_lines(&self, since: DateTime<Utc>, limit: usize) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = log.iter().rev().take_while(|(at, _)| *at >= since).take(limit);
        let mut lines: Vec<_> = newest.map(|(at, line)| format!("{at:?} {line}")).collect();
        lines.reverse();
        lines
    }

    /// Ends the host and sees that it has ended.
    pub(super) async fn stop(&self, within: Duration) -> Result<(), TestbedError> {
        // The end of its input is what it waits for; frozen, it would not see it.
        self.talk.lock().await.take();
        let _ = self.freeze(false).await;
        let mut child = self.child.lock().await;
        let ended = match tokio::time::timeout(within, child.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => child.kill().await,
        };
        ended.map_err(|error| TestbedError::request("ending the broker host", error))
    }
}

impl Talk {
    async fn ask(&mut self, what: What, log: &Log) -> Result<(), String> {
        self.asked += 1;
        let asked = self.asked;
        let request = Request { id: asked, what };
        let mut line = serde_json::to_string(&request).map_err(|error| error.to_string())?;
        line.push('\n');
        self.to.write_all(line.as_bytes()).await.map_err(|error| error.to_string())?;
        loop {
            match self.next(log).await {
                Some(Line::Done { id }) if id == asked => return Ok(()),
                Some(Line::Failed { id, why }) if id == asked => return Err(why),
                // Of a request that was given up.
                Some(_) => {}
                None => return Err(format!("it has ended; it said {:?}", last_lines(log))),
            }
        }
    }

    /// The next line of the protocol; whatever else is printed goes to the log.
    async fn next(&mut self, log: &Log) -> Option<Line> {
        while let Ok(Some(line)) = self.from.next_line().await {
            match serde_json::from_str(&line) {
                Ok(line) => return Some(line),
                Err(_) if line.trim().is_empty() => {}
                Err(_) => push(log, line),
            }
        }
        None
    }
}

async fn keep(log: Log, from: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        push(&log, line);
    }
}

fn push(log: &Log, line: String) {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    if log.len() == LOG_LINES_MAX {
        log.pop_front();
    }
    log.push_back((Utc::now(), line));
}

fn last_lines(log: &Log) -> Vec<String> {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.iter().rev().take(5).rev().map(|(_, line)| line.clone()).collect()
}

/// Does anything listen on this loopback port, as the kernel shows it to the process? A mock broker
/// that is down keeps its port bound, which is not listening.
pub(super) fn listening(pid: u32, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(|local| local.rsplit(':').next());
        let local = local.and_then(|hex| u16::from_str_radix(hex, 16).ok());
        // 0A is TCP_LISTEN.
        local == Some(port) && fields.nth(1) == Some("0A")
    })
}
