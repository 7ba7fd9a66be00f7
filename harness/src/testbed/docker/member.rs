//! A consumer under test in a container of its own: started from an image, with the host's network, so
//! that it reaches brokers and store where every process of this machine does.
//!
//! Each start is a new container, as an orchestrator would have it: what the last one left in its file
//! system is gone, and what is in the folder of the run stays.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bollard::models::{ContainerCreateBody, HostConfig};
use futures::FutureExt as _;
use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt as _;

use super::engine::{Engine, status_of};
use super::run::labels_of_member;
use crate::supervisor::Launch;
use crate::supervisor::body::{Body, End, Started, Vessel, by_stat};
use crate::sweep;
use streamlake_history::event::ProcessEnd;

/// Exit code of a process that SIGKILL ended.
const KILLED: i64 = 137;

/// What a member's container is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its reference, `acme/consumer:1.4`.
    pub reference: String,
    /// Instead of the image's own.
    pub entrypoint: Option<Vec<String>>,
    /// The user that it runs as; by default the image's own.
    pub user: Option<String>,
    /// Folders that are seen in the container under the same path: to be written, or only to be read.
    pub folders: Vec<(PathBuf, Access)>,
}

/// What a container may do with a folder of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    Write,
    /// Read.
    Read,
}

/// A container that runs.
struct Member {
    engine: Engine,
    id: String,
    pid: u32,
}

#[async_trait]
impl Vessel for Image {
    async fn start(&self, launch: &Launch) -> io::Result<Started> {
        let engine = Engine::connect().await.map_err(io::Error::other)?;
        self.have(&engine).await?;
        let id = engine.create(self.body(launch)).await.map_err(io::Error::other)?;
        match self.run(engine.clone(), id.clone(), launch).await {
            Ok(started) => Ok(started),
            Err(error) => {
                if let Err(error) = engine.remove_container(&id).await {
                    tracing::warn!(%error, "a container that did not start");
                }
                Err(error)
            }
        }
    }
}

impl Image {
    async fn have(&self, engine: &Engine) -> io::Result<()> {
        if engine.image_digest(&self.reference).await.map_err(io::Error::other)?.is_none() {
            let pulled = engine.pull(&self.reference).await;
            pulled
                .map_err(|why| io::Error::other(format!("no image {}: {why}", self.reference)))?;
        }
        Ok(())
    }

    fn body(&self, launch: &Launch) -> ContainerCreateBody {
        let mut environment = launch.environment.clone();
        environment.insert(sweep::OWNER_VARIABLE.to_owned(), sweep::owner_label());
        let bind = |(folder, access): &(PathBuf, Access)| {
            let access = if *access == Access::Read { ":ro" } else { "" };
            format!("{0}:{0}{access}", folder.display())
        };
        ContainerCreateBody {
            image: Some(self.reference.clone()),
            entrypoint: self.entrypoint.clone(),
            cmd: (!launch.arguments.is_empty()).then(|| launch.arguments.clone()),
            env: Some(environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            user: self.user.clone(),
            working_dir: launch.directory.as_ref().map(|folder| folder.display().to_string()),
            labels: Some(labels_of_member(&launch.name)),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                binds: Some(self.folders.iter().map(bind).collect()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    async fn run(&self, engine: Engine, id: String, launch: &Launch) -> io::Result<Started> {
        let log = tokio::fs::File::options().create(true).append(true).open(&launch.log).await?;
        engine.start(&id).await.map_err(io::Error::other)?;
        let inspected = engine.inspect(&id).await.map_err(io::Error::other)?;
        // One that has ended already has no process any more, and its end tells how.
        let pid = inspected.state.as_ref().and_then(|state| state.pid).unwrap_or_default();
        let pid = u32::try_from(pid).unwrap_or_default();
        let logged = tokio::spawn(follow(engine.clone(), id.clone(), log));
        let body = Arc::new(Member { engine: engine.clone(), id: id.clone(), pid });
        let ended = async move {
            let end = match engine.wait(&id).await {
                Ok(KILLED) => End {
                    end: Some(ProcessEnd::Signal(Signal::SIGKILL as i32)),
                    status: "signal: 9 (SIGKILL)".to_owned(),
                },
                Ok(code) => End {
                    end: i32::try_from(code).ok().map(ProcessEnd::Code),
                    status: format!("exit status: {code}"),
                },
                Err(error) => End { end: None, status: format!("cannot be told: {error}") },
            };
            // Its log ends with it.
            if let Err(error) = logged.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                tracing::warn!(%error, "the log of a container");
            }
            if let Err(error) = engine.remove_container(&id).await {
                tracing::warn!(%error, "a container that has ended");
            }
            end
        };
        Ok(Started { body, ended: ended.boxed() })
    }
}

/// Copies what a container writes until it ends.
async fn follow(engine: Engine, id: String, mut log: tokio::fs::File) -> io::Result<()> {
    let mut frames = engine.follow(&id);
    while let Some(frame) = futures::StreamExt::next(&mut frames).await {
        log.write_all(&frame.map_err(io::Error::other)?.into_bytes()).await?;
    }
    log.flush().await
}

#[async_trait]
impl Body for Member {
    fn pid(&self) -> u32 {
        self.pid
    }

    async fn signal(&self, signal: Signal) -> io::Result<()> {
        self.engine.signal(&self.id, signal.as_str()).await.map_err(io::Error::other)
    }

    async fn freeze(&self) -> io::Result<()> {
        self.engine.freeze(&self.id).await.map_err(io::Error::other)
    }

    async fn thaw(&self) -> io::Result<()> {
        self.engine.unpause(&self.id).await.map_err(io::Error::other)
    }

    async fn is_frozen(&self) -> Option<bool> {
        let status = status_of(&self.engine.inspect(&self.id).await.ok()?)?;
        use bollard::models::ContainerStateStatusEnum as Status;
        match status {
            Status::PAUSED => Some(true),
            Status::RUNNING => Some(false),
            _ => None,
        }
    }

    async fn observe(&self) -> BTreeMap<String, String> {
        let frozen = self.is_frozen().await;
        let mut seen = sweep::Stat::of(self.pid).map_or_else(|_| BTreeMap::new(), |s| by_stat(&s));
        if frozen == Some(true) {
            // A frozen process is called sleeping in /proc.
            seen.insert("state".to_owned(), "T (stopped)".to_owned());
        }
        if !seen.contains_key("started_ticks") && frozen.is_some() {
            // The engine runs in a machine of its own.
            seen.entry("state".to_owned()).or_insert_with(|| "R (running)".to_owned());
            seen.insert("started_ticks".to_owned(), self.id.clone());
        }
        seen.insert("container".to_owned(), self.id.chars().take(12).collect());
        seen
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::supervisor::Supervisor;
    use streamlake_history::event::ProcessRole;
    use streamlake_history::{Recorder, sample};

    const SOON: Duration = Duration::from_secs(60);

    fn launch(folder: &std::path::Path, script: &str) -> Launch {
        let image = Image {
            reference: "streamlake/debian:bookworm".to_owned(),
            entrypoint: Some(vec!["sh".to_owned(), "-c".to_owned()]),
            user: None,
            folders: vec![(folder.to_owned(), Access::Write)],
        };
        Launch {
            name: "consumer-1".to_owned(),
            role: ProcessRole::Consumer,
            group: None,
            vessel: Some(Arc::new(image)),
            program: "streamlake/debian:bookworm".into(),
            arguments: vec![script.to_owned()],
            environment: BTreeMap::from([("WHO".to_owned(), "me".to_owned())]),
            directory: Some(folder.to_owned()),
            stop_signal: Signal::SIGTERM,
            stop_within: SOON,
            restarts: None,
            crash_file: None,
            log: folder.join("consumer-1.log"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs a container engine"]
    async fn a_container_is_started_frozen_killed_and_asked_to_stop_like_a_process() {
        let folder = tempfile::tempdir().unwrap();
        let supervisor =
            Supervisor::new(Recorder::start(Vec::new(), sample::header(1, 1)).unwrap());
        let script = "trap 'echo asked; exit 0' TERM; echo $WHO > told; echo up; \
                      while :; do sleep 0.1; done";
        supervisor.start(launch(folder.path(), script)).await.unwrap();
        let before = supervisor.observe("consumer-1").await.unwrap();
        supervisor.freeze("consumer-1").await.unwrap();
        let frozen = supervisor.observe("consumer-1").await.unwrap();
        assert_eq!(frozen["state"], "T (stopped)");
        supervisor.thaw("consumer-1").await.unwrap();
        supervisor.hold("consumer-1").await.unwrap();
        assert!(supervisor.kill("consumer-1").await.unwrap().contains("signal: 9"));
        supervisor.restart("consumer-1").await.unwrap();
        let after = supervisor.observe("consumer-1").await.unwrap();
        assert_ne!(after["pid"], before["pid"]);
        assert_ne!(after["container"], before["container"]);
        // Its trap is set once it has said so for the second time.
        let up = async {
            while supervisor.last_lines("consumer-1").iter().filter(|l| *l == "up").count() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, up).await.unwrap();
        supervisor.terminate("consumer-1").await.unwrap();
        assert_eq!(supervisor.ended("consumer-1", SOON).await.unwrap(), "exit status: 0");
        assert_eq!(supervisor.last_lines("consumer-1").last().unwrap(), "asked");
        let told = std::fs::read_to_string(folder.path().join("told")).unwrap();
        assert_eq!(told, "me\n");
    }
}
