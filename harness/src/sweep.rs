//! Ends what an earlier harness left behind when it was killed.
//!
//! Everything that a harness starts carries its owner: processes in the environment variable
//! [`OWNER_VARIABLE`] (their own children inherit it), containers and networks in the label
//! [`OWNER_LABEL`]. An owner is a process id with the start time of that process, so that a reused
//! id is not mistaken for it, and with the boot and the pid namespace in which they mean something.
//!
//! What a harness in another container, on another machine or before a reboot left behind is not swept,
//! because whether it still runs cannot be told. Its containers bear [`OWNER_LABEL`], and can be removed by
//! hand: `docker ps -a --filter label=org.streamlake.harness.owner`. Linux only; elsewhere nothing is found
//! and nothing is ended.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Environment variable of every process that a harness starts; the value is [`owner_label`].
pub const OWNER_VARIABLE: &str = "STREAMLAKE_HARNESS_OWNER";
/// Label of every container and network that a harness starts; the value is [`owner_label`].
pub const OWNER_LABEL: &str = "org.streamlake.harness.owner";

/// SIGKILL takes effect within this time, or it is reported that it did not.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
/// A swept process may have started another one while it was being looked at.
const ROUNDS_MAX: usize = 5;

/// A process that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Process id.
    pub pid: u32,
    /// Its command line, words separated by spaces.
    pub command: String,
    /// The owner that is gone.
    pub owner: String,
    /// Why it may still be there; `None` when it was seen to end.
    pub left: Option<String>,
}

/// This harness, as an owner: `<pid>:<start time in clock ticks since boot>:<boot>/<pid namespace>`.
#[must_use]
pub fn owner_label() -> String {
    let pid = std::process::id();
    // Without /proc the start time is unknown, and nothing is ever swept there.
    let started = Stat::of(pid).map_or(0, |stat| stat.started);
    label(pid, started, &world())
}

fn label(pid: u32, started: u64, world: &str) -> String {
    format!("{pid}:{started}:{world}")
}

/// Where process ids mean the same: a boot of a machine, and a pid namespace in it.
fn world() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
    format!("{}/{namespace}", boot.trim())
}

/// Does the process that this label names still run? What is no owner label of this boot and pid
/// namespace counts as alive, and so does everything where there is no /proc: nothing is swept on a
/// guess.
#[must_use]
pub fn owner_is_alive(owner: &str) -> bool {
    let mut parts = owner.splitn(3, ':');
    let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
    let (Some(pid), Some(started)) = (number(), number()) else { return true };
    let (Ok(pid), true) = (u32::try_from(pid), parts.next() == Some(world().as_str())) else {
        return true;
    };
    if !Path::new("/proc/self/stat").exists() {
        return true;
    }
    match Stat::of(pid) {
        // A zombie has ended; only its parent has not looked yet.
        Ok(stat) => stat.started == started && !matches!(stat.state, 'Z' | 'X'),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Ends every process whose owner is gone, and says which. Processes of other users, and those
/// without the variable, are never touched; neither are this process and those it descends from.
#[must_use]
pub fn processes() -> Vec<Swept> {
    let kept = ancestors();
    let mut swept = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let before = swept.len();
        for pid in pids().filter(|pid| !kept.contains(pid)) {
            let known = swept.iter().any(|done: &Swept| done.pid == pid && done.left.is_some());
            if !known && let Some(done) = sweep(pid) {
                swept.push(done);
            }
        }
        if swept.len() == before {
            break;
        }
    }
    swept
}

/// Ends one process, if its owner is gone.
fn sweep(pid: u32) -> Option<Swept> {
    orphaned(pid)?;
    let process = pidfd_open(Pid::from_raw(pid.try_into().ok()?)?, PidfdFlags::empty()).ok()?;
    // Looked at again now that the process is held: if it still runs after this look, the look
    // was at this very process and not at a later one with the same id.
    let owner = orphaned(pid)?;
    let command = command(pid);
    if ended(&process, Duration::ZERO) {
        return None;
    }
    // A stopped process needs no SIGCONT for this, and must not run another instruction.
    let left = match pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) if ended(&process, ENDED_WITHIN) => None,
        Ok(()) => Some(format!("it has not ended within {ENDED_WITHIN:?}")),
        Err(error) => Some(error.to_string()),
    };
    Some(Swept { pid, command, owner, left })
}

/// The owner of a process, if it has one that is gone.
fn orphaned(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let owner = environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(OWNER_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        std::str::from_utf8(value).ok()
    })?;
    (!owner_is_alive(owner)).then(|| owner.to_owned())
}

fn ended(process: &OwnedFd, within: Duration) -> bool {
    let timeout = Timespec::try_from(within).ok();
    let mut awaited = [PollFd::new(process, PollFlags::IN)];
    // An error leaves it open, which is reported as a process that did not end.
    matches!(poll(&mut awaited, timeout.as_ref()), Ok(1..))
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn command(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    words.trim_end().to_owned()
}

/// This process and those it descends from.
fn ancestors() -> Vec<u32> {
    let mut pids = vec![std::process::id()];
    while let Some(Ok(stat)) = pids.last().map(|pid| Stat::of(*pid)) {
        if stat.parent == 0 || pids.contains(&stat.parent) {
            break;
        }
        pids.push(stat.parent);
    }
    pids
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R` running, `S` sleeping, `T` stopped, `Z` ended but not yet seen by its parent, …
    pub state: char,
    /// Process id of the parent.
    pub parent: u32,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

impl Stat {
    /// The state with its meaning: `T (stopped)`.
    #[must_use]
    pub fn state_in_words(&self) -> String {
        let meaning = match self.state {
            'R' => "running",
            'S' => "sleeping",
            'D' => "waiting for a device",
            'T' => "stopped",
            't' => "traced",
            'Z' => "ended",
            _ => return self.state.to_string(),
        };
        format!("{} ({meaning})", self.state)
    }

    /// # Errors
    /// `NotFound` when there is no such process (any more).
    pub fn of(pid: u32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).map_err(|error| {
            // ESRCH: it ended between opening and reading.
            let gone = error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error());
            if gone { io::ErrorKind::NotFound.into() } else { error }
        })?;
        Self::parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a stat line"))
    }

    /// The name of the program stands in parentheses and may hold anything, also parentheses; what
    /// follows the last one are plain fields, the first of which is the third of proc(5).
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    fn sleep(owner: Option<&str>) -> Child {
        let mut command = Command::new("sleep");
        command.arg("60");
        if let Some(owner) = owner {
            command.env(OWNER_VARIABLE, owner);
        }
        command.spawn().unwrap()
    }

    /// A label of a process that has ended.
    fn gone() -> String {
        let mut child = Command::new("true").spawn().unwrap();
        let stat = Stat::of(child.id()).unwrap();
        child.wait().unwrap();
        label(child.id(), stat.started, &world())
    }

    #[test]
    fn only_processes_whose_owner_is_gone_are_ended() {
        let orphan = &mut sleep(Some(&gone()));
        let reused = &mut sleep(Some(&label(std::process::id(), 1, &world())));
        let stopped = &mut sleep(Some(&gone()));
        let stopped_pid = nix::unistd::Pid::from_raw(stopped.id().try_into().unwrap());
        nix::sys::signal::kill(stopped_pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        let owned = &mut sleep(Some(&owner_label()));
        let foreign = &mut sleep(None);
        let malformed = &mut sleep(Some("nobody"));
        // The same process id in a container, or after a reboot, is somebody else's.
        let elsewhere = &mut sleep(Some(&label(std::process::id(), 1, "another-boot/4026531836")));

        let swept = processes();
        let swept: Vec<u32> = swept.iter().map(|swept| swept.pid).collect();
        for child in [orphan, reused, stopped] {
            // Not held against the list: another harness on this machine may have been faster.
            assert_eq!(child.wait().unwrap().signal(), Some(9), "{swept:?}");
        }
        for child in [owned, foreign, malformed, elsewhere] {
            assert!(!swept.contains(&child.id()));
            assert_eq!(child.try_wait().unwrap(), None, "was ended");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn this_process_is_alive_and_an_ended_one_is_not() {
        assert!(owner_is_alive(&owner_label()));
        assert!(!owner_is_alive(&gone()));
        assert!(owner_is_alive("not an owner"));
        assert!(owner_is_alive(&label(1, 1, "another-boot/4026531836")));
        assert!(owner_is_alive("1:1"), "of an unknown boot and namespace");
        let mut zombie = Command::new("true").spawn().unwrap();
        let started = Stat::of(zombie.id()).unwrap().started;
        let label = label(zombie.id(), started, &world());
        while Stat::of(zombie.id()).unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        assert!(!owner_is_alive(&label));
        zombie.wait().unwrap();
    }

    #[test]
    fn a_program_may_be_called_anything() {
        let line = "7 (a) b (c) T 3 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4242 99 1";
        assert_eq!(Stat::parse(line), Some(Stat { state: 'T', parent: 3, started: 4242 }));
        assert_eq!(Stat::parse("7 (x"), None);
    }
}
