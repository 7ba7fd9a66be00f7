//! The processes of the system under test: started, signalled and watched as an operating system
//! sees them.
//!
//! Nothing here asks a process how it is. Its state is what `/proc` says; its end is what `wait`
//! returns. Each process runs in a group of its own, so that a Ctrl-C at the terminal reaches the
//! harness alone, and carries the harness's owner mark, so that a later run can sweep up after a
//! harness that was killed.
//!
//! A process that ends without having been told to is the end of a run: [`Supervisor::fallen`] tells
//! of the first one, and the last lines of its log go into the history.

pub(crate) mod body;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use body::{Body, End, Started, Vessel};
use streamlake::crash::read_hits;
use streamlake_history::Recorder;
use streamlake_history::event::{
    Ask, Fact, LastLines, ProcessChange, ProcessEnd, ProcessRole, ProcessState,
};

/// A process that a signal has been sent to must have changed its state within this time.
const SIGNAL_WITHIN: Duration = Duration::from_secs(5);
/// Lines of its log that are kept of a process that fell, and characters of each.
const LAST_LINES: usize = 20;
const LINE_MAX: usize = 500;
/// No more of the log is looked at for them.
const TAIL_BYTES: u64 = 64 * 1024;

/// How a process is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Name within the run, `consumer-1`.
    pub name: String,
    /// What it is there for.
    pub role: ProcessRole,
    /// The group that it is a member of, or that it replays.
    pub group: Option<String>,
    /// What it runs in, if it is no process of this machine.
    pub(crate) vessel: Option<Arc<dyn Vessel>>,
    /// Program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Environment beside the harness's own.
    pub environment: BTreeMap<String, String>,
    /// Where it is started; by default where the harness was.
    pub directory: Option<PathBuf>,
    /// The signal that asks it to stop.
    pub stop_signal: Signal,
    /// It has ended within this time after that.
    pub stop_within: Duration,
    /// What becomes of it when it ends by itself; none if that ends the run.
    pub restarts: Option<Restarts>,
    /// The file that arms a crash point in it, if it has any. A SIGKILL of which its record tells was asked
    /// for.
    pub crash_file: Option<PathBuf>,
    /// Where its standard error goes, and its standard output unless that is piped; appended.
    pub log: PathBuf,
}

/// A process that ends by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// After this time.
    pub after: Duration,
    /// So often; when it ends once more it stays down.
    pub at_most: u32,
}

/// Why a process could not be acted on.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// No process of this name was ever launched.
    #[error("no process named {0}")]
    NoProcess(String),
    /// It is not running.
    #[error("{name} is not running: {status}")]
    NotRunning {
        /// Which process.
        name: String,
        /// How it ended.
        status: String,
    },
    /// It runs already.
    #[error("{0} is running already")]
    Running(String),
    /// It could not be started.
    #[error("cannot start {name} ({program}): {source}")]
    Start {
        /// Which process.
        name: String,
        /// Which program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A signal could not be delivered.
    #[error("cannot send {signal} to {name}: {source}")]
    Signal {
        /// Which process.
        name: String,
        /// Which signal.
        signal: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It did not reach the awaited state.
    #[error("{name} was not {state} within {within:?}")]
    Deadline {
        /// Which process.
        name: String,
        /// The awaited state.
        state: &'static str,
        /// The time it was given.
        within: Duration,
    },
}

/// A process that ended without having been told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallen {
    /// Which.
    pub name: String,
    /// How it ended, in the operating system's words.
    pub status: String,
    /// The last lines of its log, oldest first.
    pub lines: Vec<String>,
}

/// The processes of one run.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: Recorder,
    processes: Mutex<BTreeMap<String, Process>>,
    // Those that are being started.
    starting: Mutex<BTreeSet<String>>,
    fallen: watch::Sender<Option<Fallen>>,
    // How often each process has ended by itself.
    deaths: Mutex<BTreeMap<String, u32>>,
    // Cancelled when nothing is started again any more.
    winding_down: CancellationToken,
}

struct Process {
    launch: Launch,
    body: Arc<dyn Body>,
    // What was asked of it; shared with the task that records its end.
    asked: Arc<Mutex<Option<Ask>>>,
    ended: watch::Receiver<Option<String>>,
    // Stopped by `hold`, and not yet let go.
    held: bool,
}

impl Supervisor {
    /// A supervisor without processes.
    #[must_use]
    pub fn new(recorder: Recorder) -> Self {
        Self {
            inner: Arc::new(Inner {
                recorder,
                processes: Mutex::default(),
                starting: Mutex::default(),
                fallen: watch::Sender::new(None),
                deaths: Mutex::default(),
                winding_down: CancellationToken::new(),
            }),
        }
    }

    /// Starts a process that needs no pipes.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub async fn start(&self, launch: Launch) -> Result<(), SupervisorError> {
        let starting = self.claim(&launch.name)?;
        let failed = |source| cannot_start(&launch, source);
        let started = match &launch.vessel {
            Some(vessel) => vessel.start(&launch).await.map_err(failed)?,
            None => body::process(&launch, false).map_err(failed)?.0,
        };
        self.take_in(launch, started);
        drop(starting);
        Ok(())
    }

    /// Starts a process and returns its standard input and output.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start_piped(
        &self,
        launch: Launch,
    ) -> Result<(ChildStdin, ChildStdout), SupervisorError> {
        let starting = self.claim(&launch.name)?;
        let failed = |source| cannot_start(&launch, source);
        let (started, pipes) = body::process(&launch, true).map_err(failed)?;
        self.take_in(launch, started);
        drop(starting);
        Ok(pipes.expect("a process started with pipes has them"))
    }

    /// Starts a process again that was launched before and has ended.
    ///
    /// # Errors
    /// When there was none, it runs, or it cannot be started.
    pub async fn restart(&self, name: &str) -> Result<(), SupervisorError> {
        let launch = self.with(name, |process| process.launch.clone())?;
        self.start(launch).await
    }

    /// Nobody else starts a process of this name meanwhile.
    fn claim(&self, name: &str) -> Result<Starting, SupervisorError> {
        let running = SupervisorError::Running(name.to_owned());
        let inner = self.inner.clone();
        if !inner.starting.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            return Err(running);
        }
        let starting = Starting { inner, name: name.to_owned() };
        match self.with(name, |process| process.ended.borrow().is_none()) {
            Ok(true) => Err(running),
            _ => Ok(starting),
        }
    }

    fn take_in(&self, launch: Launch, started: Started) {
        let Started { body, ended } = started;
        let asked = Arc::new(Mutex::new(None));
        self.inner.recorder.record("supervisor", fact(&launch, body.pid(), ProcessChange::Started));
        let watched = Watched {
            inner: self.inner.clone(),
            launch: launch.clone(),
            pid: body.pid(),
            asked: asked.clone(),
        };
        let ended = watched.until_its_end(ended);
        let name = launch.name.clone();
        self.lock().insert(name, Process { launch, body, asked, ended, held: false });
    }

    /// SIGKILL, and the process seen to have ended. Returns how it ended.
    ///
    /// # Errors
    /// When it is not running or does not end.
    pub async fn kill(&self, name: &str) -> Result<String, SupervisorError> {
        self.ask(name, Ask::Kill)?;
        self.signal(name, Signal::SIGKILL).await?;
        self.ended(name, SIGNAL_WITHIN).await
    }

    /// Asks it to stop by the signal that it was launched with, without waiting.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn terminate(&self, name: &str) -> Result<(), SupervisorError> {
        let signal = self.with(name, |process| process.launch.stop_signal)?;
        self.ask(name, Ask::Stop)?;
        self.signal(name, signal).await
    }

    /// How long a process may take for an orderly stop.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn stop_within(&self, name: &str) -> Result<Duration, SupervisorError> {
        self.with(name, |process| process.launch.stop_within)
    }

    /// The file that arms a crash point in a process, if it has any.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn crash_file(&self, name: &str) -> Result<Option<PathBuf>, SupervisorError> {
        self.with(name, |process| process.launch.crash_file.clone())
    }

    /// Other consumers of its group that are running.
    pub(crate) fn running_peers(&self, name: &str) -> Vec<String> {
        let processes = self.lock();
        let group = processes.get(name).and_then(|process| process.launch.group.clone());
        let is_peer = |(other, process): &(&String, &Process)| {
            let launch = &process.launch;
            *other != name
                && launch.role == ProcessRole::Consumer
                && launch.group == group
                && process.ended.borrow().is_none()
        };
        processes.iter().filter(is_peer).map(|(other, _)| other.clone()).collect()
    }

    /// From now on nothing that ends by itself is started again.
    pub fn wind_down(&self) {
        self.inner.winding_down.cancel();
    }

    /// A process ended by itself more often than it is started again: it stays down.
    #[must_use]
    pub fn has_given_up(&self, name: &str) -> bool {
        let at_most = |process: &Process| process.launch.restarts.map(|restarts| restarts.at_most);
        let Ok(Some(at_most)) = self.with(name, at_most) else { return false };
        let deaths = self.inner.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        deaths.get(name).is_some_and(|deaths| *deaths > at_most)
    }

    /// The last lines of the log of a process.
    #[must_use]
    pub fn last_lines(&self, name: &str) -> Vec<String> {
        self.with(name, |process| last_lines(&process.launch.log)).unwrap_or_default()
    }

    /// A process that ends with its input has been told to: its input is about to be closed.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn end_of_input(&self, name: &str) -> Result<(), SupervisorError> {
        self.ask(name, Ask::Stop)
    }

    /// Cancels a token as soon as a process ends without having been told to. To be aborted when the
    /// token is of no use any more.
    pub(crate) fn cancel_when_one_falls(&self, token: CancellationToken) -> JoinHandle<()> {
        let mut fallen = self.fallen();
        tokio::spawn(async move {
            // An error is the end of the supervisor, which ends the run by itself.
            if fallen.wait_for(Option::is_some).await.is_ok() {
                token.cancel();
            }
        })
    }

    /// A process of this name was launched, whatever became of it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// The first process that ended without having been told to, once there is one.
    #[must_use]
    pub fn fallen(&self) -> watch::Receiver<Option<Fallen>> {
        self.inner.fallen.subscribe()
    }

    /// Remembers what is asked of a process, for the fact of its end.
    fn ask(&self, name: &str, ask: Ask) -> Result<(), SupervisorError> {
        let asked = self.with(name, |process| process.asked.clone())?;
        *asked.lock().expect("no holder of this lock panics") = Some(ask);
        Ok(())
    }

    /// Waits until the process has ended, and says how.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(&self, name: &str, within: Duration) -> Result<String, SupervisorError> {
        let mut ended = self.with(name, |process| process.ended.clone())?;
        let status = tokio::time::timeout(within, ended.wait_for(Option::is_some)).await;
        match status {
            Ok(Ok(status)) => Ok(status.clone().unwrap_or_default()),
            _ => Err(SupervisorError::Deadline { name: name.to_owned(), state: "ended", within }),
        }
    }

    /// How the process ended, if it has.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn status(&self, name: &str) -> Result<Option<String>, SupervisorError> {
        self.with(name, |process| process.ended.borrow().clone())
    }

    /// Holds a process still between a look and an act on it, without a word to the history. It goes on
    /// with [`Supervisor::release`], [`Supervisor::thaw`] or [`Supervisor::release_all`].
    ///
    /// # Errors
    /// When it is not running or does not stop.
    pub(crate) async fn hold(&self, name: &str) -> Result<(), SupervisorError> {
        self.act(name, "SIGSTOP", |body| async move { body.freeze().await }).await?;
        self.set_held(name, true);
        self.until(name, "held", true).await
    }

    /// Lets a process go that was held.
    pub(crate) async fn release(&self, name: &str) {
        self.set_held(name, false);
        // One that has ended meanwhile has nothing to be let go of.
        if let Err(error) = self.act(name, "SIGCONT", |body| async move { body.thaw().await }).await
        {
            tracing::debug!(%error, "letting go");
        }
    }

    /// Lets every process go that is still held.
    pub(crate) async fn release_all(&self) {
        let held = |(name, process): (&String, &Process)| process.held.then(|| name.clone());
        let held: Vec<_> = self.lock().iter().filter_map(held).collect();
        for name in held {
            self.release(&name).await;
        }
    }

    fn set_held(&self, name: &str, held: bool) {
        if let Some(process) = self.lock().get_mut(name) {
            process.held = held;
        }
    }

    /// SIGSTOP, and `/proc` seen to say so.
    ///
    /// # Errors
    /// When it is not running or does not stop.
    pub async fn freeze(&self, name: &str) -> Result<(), SupervisorError> {
        // One that is held stands still already.
        if !self.is_held(name)? {
            self.act(name, "SIGSTOP", |body| async move { body.freeze().await }).await?;
        }
        self.until(name, "frozen", true).await?;
        self.set_held(name, false);
        self.note(name, ProcessChange::Stopped)?;
        Ok(())
    }

    /// SIGCONT, and `/proc` seen to say so.
    ///
    /// # Errors
    /// When it is not running or does not go on.
    pub async fn thaw(&self, name: &str) -> Result<(), SupervisorError> {
        self.act(name, "SIGCONT", |body| async move { body.thaw().await }).await?;
        self.until(name, "thawed", false).await?;
        self.note(name, ProcessChange::Continued)?;
        Ok(())
    }

    /// What can be seen of the process from outside: its id, its state, its start.
    ///
    /// # Errors
    /// When there is no such process.
    pub async fn observe(&self, name: &str) -> Result<BTreeMap<String, String>, SupervisorError> {
        let (body, status) =
            self.with(name, |process| (process.body.clone(), process.ended.borrow().clone()))?;
        let mut seen = BTreeMap::from([("pid".to_owned(), body.pid().to_string())]);
        match status {
            Some(status) => drop(seen.insert("state".to_owned(), format!("ended: {status}"))),
            None => seen.extend(body.observe().await),
        }
        Ok(seen)
    }

    /// Names of the processes that are running.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        let processes = self.lock();
        let alive = processes.iter().filter(|(_, process)| process.ended.borrow().is_none());
        alive.map(|(name, _)| name.clone()).collect()
    }

    /// Kills whatever still runs and sees that it has ended.
    pub async fn kill_all(&self) {
        self.wind_down();
        for name in self.running() {
            if let Err(error) = self.kill(&name).await {
                tracing::warn!(%error, process = name, "a process could not be taken down");
            }
        }
    }

    async fn signal(&self, name: &str, signal: Signal) -> Result<(), SupervisorError> {
        self.act(name, signal.as_str(), |body| async move { body.signal(signal).await }).await
    }

    async fn act<Acting: Future<Output = std::io::Result<()>>>(
        &self,
        name: &str,
        signal: &'static str,
        act: impl FnOnce(Arc<dyn Body>) -> Acting,
    ) -> Result<(), SupervisorError> {
        let (body, status) =
            self.with(name, |process| (process.body.clone(), process.ended.borrow().clone()))?;
        if let Some(status) = status {
            return Err(SupervisorError::NotRunning { name: name.to_owned(), status });
        }
        let failed = |source| SupervisorError::Signal { name: name.to_owned(), signal, source };
        act(body).await.map_err(failed)
    }

    fn is_held(&self, name: &str) -> Result<bool, SupervisorError> {
        self.with(name, |process| process.held)
    }

    async fn until(
        &self,
        name: &str,
        state: &'static str,
        frozen: bool,
    ) -> Result<(), SupervisorError> {
        let body = self.with(name, |process| process.body.clone())?;
        let seen = async {
            while body.is_frozen().await != Some(frozen) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(SIGNAL_WITHIN, seen).await.map_err(|_| SupervisorError::Deadline {
            name: name.to_owned(),
            state,
            within: SIGNAL_WITHIN,
        })
    }

    fn note(&self, name: &str, change: ProcessChange) -> Result<(), SupervisorError> {
        let seen = self.with(name, |process| fact(&process.launch, process.body.pid(), change))?;
        self.inner.recorder.record("supervisor", seen);
        Ok(())
    }

    fn with<T>(&self, name: &str, read: impl Fn(&Process) -> T) -> Result<T, SupervisorError> {
        let processes = self.lock();
        processes.get(name).map(read).ok_or_else(|| SupervisorError::NoProcess(name.to_owned()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Process>> {
        self.inner.processes.lock().expect("no holder of this lock panics")
    }
}

fn cannot_start(launch: &Launch, source: std::io::Error) -> SupervisorError {
    let program = launch.program.display().to_string();
    SupervisorError::Start { name: launch.name.clone(), program, source }
}

/// A process that is being started.
struct Starting {
    inner: Arc<Inner>,
    name: String,
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.inner.starting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// What the task that waits for a process's end needs to tell of it.
struct Watched {
    inner: Arc<Inner>,
    launch: Launch,
    pid: u32,
    asked: Arc<Mutex<Option<Ask>>>,
}

impl Watched {
    /// Waits for the process in a task of its own, so that its end is recorded when it happens and not
    /// when somebody asks.
    fn until_its_end(self, end: BoxFuture<'static, End>) -> watch::Receiver<Option<String>> {
        let (tell, ended) = watch::channel(None);
        tokio::spawn(async move {
            let End { end, status } = end.await;
            let mut exited = state(&self.launch, self.pid, ProcessChange::Exited);
            exited.end = end;
            exited.status = Some(status.clone());
            exited.asked = *self.asked.lock().expect("no holder of this lock panics");
            if self.crashed_as_armed(exited.end) {
                exited.asked = Some(Ask::Kill);
            }
            // A command ends by itself.
            let command = matches!(self.launch.role, ProcessRole::Replay | ProcessRole::Audit);
            let unasked = exited.asked.is_none() && !command;
            self.inner.recorder.record("supervisor", Fact::Process(exited));
            if unasked {
                self.tell_lines(&status);
            }
            tell.send_replace(Some(status));
            if unasked && let Some(restarts) = self.launch.restarts {
                self.start_again(restarts).await;
            }
        });
        ended
    }

    /// It was killed, and wrote down before that it does so itself, at a point that was armed.
    fn crashed_as_armed(&self, end: Option<ProcessEnd>) -> bool {
        let killed = end == Some(ProcessEnd::Signal(Signal::SIGKILL as i32));
        let file = self.launch.crash_file.as_deref().filter(|_| killed);
        file.is_some_and(|file| read_hits(file).iter().any(|hit| hit.pid == self.pid))
    }

    /// What it wrote last; if that ends the run, everybody is told.
    fn tell_lines(&self, status: &str) {
        let (process, lines) = (self.launch.name.clone(), last_lines(&self.launch.log));
        let fact = LastLines { process: process.clone(), pid: self.pid, lines: lines.clone() };
        self.inner.recorder.record("supervisor", Fact::LastLines(fact));
        if self.launch.restarts.is_some() {
            return;
        }
        let fallen = Fallen { name: process, status: status.to_owned(), lines };
        self.inner.fallen.send_if_modified(|first| {
            let none = first.is_none();
            first.get_or_insert(fallen);
            none
        });
    }

    async fn start_again(self, restarts: Restarts) {
        let name = self.launch.name.clone();
        let deaths = {
            let mut deaths = self.inner.deaths.lock().unwrap_or_else(PoisonError::into_inner);
            let deaths = deaths.entry(name.clone()).or_default();
            *deaths += 1;
            *deaths
        };
        if deaths > restarts.at_most {
            tracing::warn!(
                process = name,
                deaths,
                "it ends by itself again and again, and stays down"
            );
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(restarts.after) => {}
            () = self.inner.winding_down.cancelled() => return,
        }
        let supervisor = Supervisor { inner: self.inner };
        match supervisor.start(self.launch).await {
            // Somebody else was faster.
            Ok(()) | Err(SupervisorError::Running(_)) => {}
            Err(error) => tracing::warn!(%error, process = name, "starting it again"),
        }
    }
}

/// The last lines of a log; none where it cannot be read.
fn last_lines(log: &Path) -> Vec<String> {
    let tail = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let text = tail().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    last.iter().map(|line| line.chars().take(LINE_MAX).collect()).collect()
}

fn state(launch: &Launch, pid: u32, change: ProcessChange) -> ProcessState {
    ProcessState {
        name: launch.name.clone(),
        pid,
        state: change,
        status: None,
        role: Some(launch.role),
        group: launch.group.clone(),
        asked: None,
        end: None,
    }
}

fn fact(launch: &Launch, pid: u32, change: ProcessChange) -> Fact {
    Fact::Process(state(launch, pid, change))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sweep;
    use streamlake_history::sample;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str, log: PathBuf) -> Launch {
        Launch {
            name: "consumer-1".to_owned(),
            role: ProcessRole::Consumer,
            group: None,
            vessel: None,
            program: "sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::new(),
            directory: None,
            stop_signal: Signal::SIGTERM,
            stop_within: SOON,
            restarts: None,
            crash_file: None,
            log,
        }
    }

    fn supervisor() -> Supervisor {
        Supervisor::new(Recorder::start(Vec::new(), sample::header(1, 1)).unwrap())
    }

    fn log(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("{name}-{}.log", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[tokio::test]
    async fn a_process_that_ends_by_itself_falls_with_its_last_lines() {
        let supervisor = supervisor();
        let log = log("fallen");
        let script = "for n in $(seq 30); do echo line $n; done; echo it is over >&2; exit 7";
        supervisor.start(shell(script, log.clone())).await.unwrap();
        let mut fallen = supervisor.fallen();
        let seen = tokio::time::timeout(SOON, fallen.wait_for(Option::is_some)).await.unwrap();
        let seen = seen.unwrap().clone().unwrap();
        assert_eq!((seen.name.as_str(), seen.status.as_str()), ("consumer-1", "exit status: 7"));
        assert_eq!((seen.lines.len(), seen.lines.last().unwrap().as_str()), (20, "it is over"));
        std::fs::remove_file(log).unwrap();
    }

    #[tokio::test]
    async fn one_that_says_that_it_kills_itself_was_asked_to() {
        let supervisor = supervisor();
        let log = log("crashes");
        let file = log.with_extension("crash");
        let hits = streamlake::crash::hits_of(&file);
        let said = r#"printf '{"point":"after-commit","nth":1,"pid":%s}\n' $PID"#;
        for (pid, falls) in [("$$", false), ("1", true)] {
            let script = format!("PID={pid}; {said} > {}; kill -9 $$", hits.display());
            let launch = Launch { crash_file: Some(file.clone()), ..shell(&script, log.clone()) };
            supervisor.start(launch).await.unwrap();
            let status = supervisor.ended("consumer-1", SOON).await.unwrap();
            assert!(status.contains("signal: 9"), "{status}");
            assert_eq!(supervisor.fallen().borrow().is_some(), falls);
        }
        std::fs::remove_file(hits).unwrap();
        std::fs::remove_file(log).unwrap();
    }

    #[tokio::test]
    async fn one_that_was_told_to_end_does_not_fall() {
        let supervisor = supervisor();
        let log = log("told");
        supervisor.start(shell("exec sleep 60", log.clone())).await.unwrap();
        supervisor.kill("consumer-1").await.unwrap();
        assert_eq!(*supervisor.fallen().borrow(), None);
        supervisor.restart("consumer-1").await.unwrap();
        supervisor.terminate("consumer-1").await.unwrap();
        supervisor.ended("consumer-1", SOON).await.unwrap();
        assert_eq!(*supervisor.fallen().borrow(), None);
        std::fs::remove_file(log).unwrap();
    }

    #[tokio::test]
    async fn what_was_held_goes_on_whoever_lets_it_go() {
        let supervisor = supervisor();
        let log = log("held");
        supervisor.start(shell("exec sleep 60", log.clone())).await.unwrap();
        supervisor.hold("consumer-1").await.unwrap();
        assert_eq!(supervisor.observe("consumer-1").await.unwrap()["state"], "T (stopped)");
        supervisor.release_all().await;
        supervisor.until("consumer-1", "going on", false).await.unwrap();
        // One that is still held can be killed.
        supervisor.hold("consumer-1").await.unwrap();
        assert!(supervisor.kill("consumer-1").await.unwrap().contains("signal: 9"));
        std::fs::remove_file(log).unwrap();
    }

    #[tokio::test]
    async fn one_that_ends_by_itself_is_started_again_so_often_and_no_oftener() {
        let supervisor = supervisor();
        let log = log("again");
        let restarts = Restarts { after: Duration::from_millis(5), at_most: 2 };
        let launch = shell("echo started; exit 3", log.clone());
        supervisor.start(Launch { restarts: Some(restarts), ..launch }).await.unwrap();
        let given_up = async {
            while !supervisor.has_given_up("consumer-1") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, given_up).await.unwrap();
        assert_eq!(*supervisor.fallen().borrow(), None, "that does not end a run");
        assert_eq!(supervisor.last_lines("consumer-1"), ["started"; 3]);
        std::fs::remove_file(log).unwrap();
    }

    #[tokio::test]
    async fn a_stop_is_asked_for_by_the_signal_of_the_launch_and_children_go_along() {
        let supervisor = supervisor();
        let log = log("group");
        let script = "trap 'echo asked; exit 0' INT; sleep 600 & echo $!; wait";
        let launch = Launch { stop_signal: Signal::SIGINT, ..shell(script, log.clone()) };
        supervisor.start(launch).await.unwrap();
        let child = async {
            loop {
                let line = supervisor.last_lines("consumer-1").into_iter().next();
                match line.and_then(|line| line.parse::<u32>().ok()) {
                    Some(pid) => return pid,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let child = tokio::time::timeout(SOON, child).await.unwrap();
        supervisor.terminate("consumer-1").await.unwrap();
        assert_eq!(supervisor.ended("consumer-1", SOON).await.unwrap(), "exit status: 0");
        let gone = async {
            while sweep::Stat::of(child).is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X')) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, gone).await.unwrap();
        std::fs::remove_file(log).unwrap();
    }
}
