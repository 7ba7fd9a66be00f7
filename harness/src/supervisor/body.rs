//! What a supervisor acts on: a process of this machine, or anything else in which a member runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::Launch;
use crate::sweep;
use streamlake_history::event::ProcessEnd;

/// Something that runs and can be signalled, frozen and looked at from outside.
#[async_trait]
pub(crate) trait Body: Send + Sync {
    /// Its process id on this machine.
    fn pid(&self) -> u32;

    /// Sends a signal to it and to all that it started.
    async fn signal(&self, signal: Signal) -> std::io::Result<()>;

    /// Asks for it to be frozen; it is once [`Body::is_frozen`] says so.
    async fn freeze(&self) -> std::io::Result<()> {
        self.signal(Signal::SIGSTOP).await
    }

    /// Asks for it to go on.
    async fn thaw(&self) -> std::io::Result<()> {
        self.signal(Signal::SIGCONT).await
    }

    /// Whether it stands still; none if it is gone.
    async fn is_frozen(&self) -> Option<bool>;

    /// What can be seen of it while it runs: its state, its start.
    async fn observe(&self) -> BTreeMap<String, String>;
}

/// How something ended.
pub(crate) struct End {
    /// By which code or signal, where that can be told.
    pub end: Option<ProcessEnd>,
    /// In words.
    pub status: String,
}

/// What was started.
pub(crate) struct Started {
    /// To be acted on.
    pub body: Arc<dyn Body>,
    /// Comes when it has ended, and nothing of it is left.
    pub ended: BoxFuture<'static, End>,
}

/// How a member is started that is no process of this machine.
#[async_trait]
pub(crate) trait Vessel: Send + Sync + std::fmt::Debug {
    /// Starts it; its output is appended to the log of the launch.
    ///
    /// # Errors
    /// When it cannot be started; nothing is left of it then.
    async fn start(&self, launch: &Launch) -> std::io::Result<Started>;
}

/// A process in a group of its own.
struct Process(u32);

#[async_trait]
impl Body for Process {
    fn pid(&self) -> u32 {
        self.0
    }

    async fn signal(&self, signal: Signal) -> std::io::Result<()> {
        // Its whole group: what it started itself goes with it.
        Ok(killpg(Pid::from_raw(self.0.cast_signed()), signal)?)
    }

    async fn is_frozen(&self) -> Option<bool> {
        sweep::Stat::of(self.0).ok().map(|stat| stat.state == 'T')
    }

    async fn observe(&self) -> BTreeMap<String, String> {
        sweep::Stat::of(self.0).map_or_else(|_| BTreeMap::new(), |stat| by_stat(&stat))
    }
}

/// State and start of a process, by `/proc`.
pub(crate) fn by_stat(stat: &sweep::Stat) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("state".to_owned(), stat.state_in_words()),
        ("started_ticks".to_owned(), stat.started.to_string()),
    ])
}

/// Starts a process, with pipes to its standard input and output if they are asked for.
pub(super) fn process(
    launch: &Launch,
    piped: bool,
) -> std::io::Result<(Started, Option<(ChildStdin, ChildStdout)>)> {
    let mut child = command(launch, piped)?.spawn()?;
    let pipes = child.stdin.take().zip(child.stdout.take());
    let pid = child.id().unwrap_or_default();
    let ended = async move {
        let end = match child.wait().await {
            Ok(status) => {
                let signal = || status.signal().map(ProcessEnd::Signal);
                let end = status.code().map(ProcessEnd::Code).or_else(signal);
                End { end, status: status.to_string() }
            }
            Err(error) => End { end: None, status: format!("cannot be told: {error}") },
        };
        // Whatever it started and left behind would go on as a member without a name.
        let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        end
    };
    Ok((Started { body: Arc::new(Process(pid)), ended: Box::pin(ended) }, pipes))
}

fn command(launch: &Launch, piped: bool) -> std::io::Result<Command> {
    let log = File::options().create(true).append(true).open(&launch.log)?;
    let output = if piped { Stdio::piped() } else { Stdio::from(log.try_clone()?) };
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .envs(&launch.environment)
        .env(sweep::OWNER_VARIABLE, sweep::owner_label())
        .stdin(if piped { Stdio::piped() } else { Stdio::null() })
        .stdout(output)
        .stderr(Stdio::from(log))
        .process_group(0)
        .kill_on_drop(true);
    if let Some(directory) = &launch.directory {
        command.current_dir(directory);
    }
    Ok(command)
}
