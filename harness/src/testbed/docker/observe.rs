//! What can be seen of a container without asking what runs in it: the engine's record of it, and
//! the kernel's record of its first process.

use std::path::{Path, PathBuf};

use bollard::models::ContainerInspectResponse;

use crate::testbed::Observation;

/// How the engine writes an instant that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// Enough of a container's id to find it again.
const ID_LENGTH: usize = 12;

/// The engine's record of a container as name → value. Absent values are left out.
pub(super) fn from_engine(inspected: &ContainerInspectResponse) -> Observation {
    let mut seen = Observation::new();
    let mut note = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            seen.insert(name.to_owned(), value);
        }
    };
    note("container", inspected.id.as_deref().map(|id| id.chars().take(ID_LENGTH).collect()));
    note("restart_count", inspected.restart_count.map(|count| count.to_string()));
    let Some(state) = &inspected.state else { return seen };
    let ever = |at: &Option<String>| at.clone().filter(|at| at != NEVER);
    note("state", state.status.map(|status| status.to_string()));
    note("started_at", ever(&state.started_at));
    note("finished_at", ever(&state.finished_at));
    note("pid", state.pid.filter(|pid| *pid > 0).map(|pid| pid.to_string()));
    note("paused", state.paused.map(|paused| paused.to_string()));
    note("oom_killed", state.oom_killed.map(|killed| killed.to_string()));
    note("health", state.health.as_ref().and_then(|h| h.status).map(|status| status.to_string()));
    // While it runs, the engine reports the exit code 0 of an exit that has not happened.
    let ended = state.running == Some(false) && ever(&state.finished_at).is_some();
    note("exit_code", state.exit_code.filter(|_| ended).map(|code| code.to_string()));
    seen
}

/// State of the freezer cgroup that a process is in: `FROZEN` or `THAWED`. None where the harness
/// cannot see the process or the cgroup, as when the engine runs in a virtual machine.
pub(super) fn freezer(pid: i64) -> Option<String> {
    let memberships = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let (file, version) = freezer_file(&memberships, Path::new("/sys/fs/cgroup"))?;
    let text = std::fs::read_to_string(file).ok()?;
    match version {
        CgroupVersion::One => Some(text.trim().to_owned()),
        CgroupVersion::Two => {
            frozen_event(&text).map(|frozen| if frozen { "FROZEN" } else { "THAWED" }.to_owned())
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum CgroupVersion {
    One,
    Two,
}

/// The file that tells whether a process is frozen, from the lines of `/proc/PID/cgroup`
/// (`number:controllers:path`). A freezer controller of version 1 comes first: where one is
/// mounted, the engine uses it, although version 2 may be mounted beside it.
fn freezer_file(memberships: &str, root: &Path) -> Option<(PathBuf, CgroupVersion)> {
    let path_of = |wanted: &dyn Fn(&str, &str) -> bool| {
        memberships.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            wanted(number, controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    if let Some(path) = path_of(&|_, controllers| controllers.split(',').any(|c| c == "freezer")) {
        return Some((root.join("freezer").join(path).join("freezer.state"), CgroupVersion::One));
    }
    let path = path_of(&|number, controllers| number == "0" && controllers.is_empty())?;
    Some((root.join(path).join("cgroup.events"), CgroupVersion::Two))
}

fn frozen_event(events: &str) -> Option<bool> {
    events.lines().find_map(|line| line.strip_prefix("frozen ").map(|value| value.trim() == "1"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bollard::models::{ContainerState, ContainerStateStatusEnum};

    use super::*;

    #[test]
    fn a_running_container_shows_no_exit_code_and_no_end() {
        let mut state = ContainerState {
            status: Some(ContainerStateStatusEnum::RUNNING),
            running: Some(true),
            started_at: Some("2026-11-02T10:00:00Z".to_owned()),
            finished_at: Some(NEVER.to_owned()),
            pid: Some(71),
            exit_code: Some(0),
            ..Default::default()
        };
        let inspected = |state: &ContainerState| ContainerInspectResponse {
            id: Some("0123456789abcdef".to_owned()),
            state: Some(state.clone()),
            ..Default::default()
        };
        let running = from_engine(&inspected(&state));
        assert_eq!(running["container"], "0123456789ab");
        assert_eq!(running["state"], "running");
        assert_eq!(running["pid"], "71");
        assert!(!running.contains_key("exit_code") && !running.contains_key("finished_at"));

        state.status = Some(ContainerStateStatusEnum::EXITED);
        state.running = Some(false);
        state.finished_at = Some("2026-11-02T10:00:09Z".to_owned());
        state.exit_code = Some(137);
        state.pid = Some(0);
        let ended = from_engine(&inspected(&state));
        assert_eq!(ended["exit_code"], "137");
        assert_eq!(ended["finished_at"], "2026-11-02T10:00:09Z");
        assert!(!ended.contains_key("pid"));
    }

    #[test]
    fn the_freezer_is_found_under_both_cgroup_versions() {
        let root = Path::new("/cg");
        let one = "6:freezer:/docker/ab\n3:cpuset:/docker/ab\n0::/\n";
        assert_eq!(
            freezer_file(one, root),
            Some(("/cg/freezer/docker/ab/freezer.state".into(), CgroupVersion::One))
        );
        let two = "0::/system.slice/docker-ab.scope\n";
        assert_eq!(
            freezer_file(two, root),
            Some(("/cg/system.slice/docker-ab.scope/cgroup.events".into(), CgroupVersion::Two))
        );
        assert_eq!(freezer_file("", root), None);
        assert_eq!(frozen_event("populated 1\nfrozen 1\n"), Some(true));
        assert_eq!(frozen_event("populated 1\n"), None);
    }
}
