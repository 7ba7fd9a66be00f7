//! What the testbed asks of the container engine beside starting containers: their state, signals,
//! ports and logs, images and networks.
//!
//! The client is testcontainers' own, so both always speak to the same engine.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, NetworkCreateRequest,
    SystemVersion,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, InspectContainerOptions,
    InspectNetworkOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListNetworksOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder, WaitContainerOptions,
};
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::testbed::TestbedError;

/// The engine is asked for a state this often while one is awaited.
const POLL: Duration = Duration::from_millis(20);
/// A container that was sent SIGKILL has ended within this time, or something is badly wrong.
const KILL_WITHIN: Duration = Duration::from_secs(15);
/// How long the engine may be asked to freeze a container whose processes are too busy for it. Container
/// runtimes give up on cgroups of version 1 after a few milliseconds and leave it to the caller to ask again.
const FREEZE_WITHIN: Duration = Duration::from_secs(3);
const FREEZE_AGAIN: Duration = Duration::from_millis(20);
/// Longest answer of the engine, beside what a stop takes by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// No run lasts longer.
const LIFE_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Labels by name.
pub(super) type Labels = HashMap<String, String>;

/// A connection to the container engine.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    docker: Docker,
    version: String,
}

impl Engine {
    /// Finds the engine and makes it answer. One whose ports do not come out here is refused now, and not
    /// when two minutes have been waited for a broker.
    pub(super) async fn connect() -> Result<Self, TestbedError> {
        if let Some(host) = std::env::var("DOCKER_HOST").ok().as_deref().and_then(remote_host) {
            return Err(elsewhere(format!(
                "DOCKER_HOST names an engine on another machine, {host}"
            )));
        }
        let missing = |reason: String| TestbedError::Environment {
            what: format!("no container engine answers ({reason})"),
            remedy: "start Docker, or point DOCKER_HOST at it; the embedded testbed needs none"
                .to_owned(),
        };
        let docker = testcontainers::core::client::docker_client_instance()
            .await
            .map_err(|error| missing(error.to_string()))?
            .with_timeout(ANSWER_WITHIN);
        let version = docker.version().await.map_err(|error| missing(error.to_string()))?;
        let engine = Self { docker, version: describe_version(&version) };
        if in_container() && !engine.shares_our_network().await {
            return Err(elsewhere(
                "this program runs in a container, and the engine outside of it".to_owned(),
            ));
        }
        Ok(engine)
    }

    /// Whether the engine's bridge is an interface of ours: nobody can bind to the address of another
    /// machine or container. An engine without such a bridge is believed.
    async fn shares_our_network(&self) -> bool {
        let bridge = self.docker.inspect_network("bridge", None::<InspectNetworkOptions>).await;
        let ranges = bridge.ok().and_then(|network| network.ipam?.config).unwrap_or_default();
        let gateways = ranges.iter().filter_map(|range| range.gateway.as_deref());
        let mut gateways = gateways.filter_map(|text| text.parse::<IpAddr>().ok()).peekable();
        gateways.peek().is_none() || gateways.any(|address| UdpSocket::bind((address, 0)).is_ok())
    }

    /// Name, version and API version of the engine.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, TestbedError> {
        self.docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
            .map_err(|error| TestbedError::request(format!("inspect container {id}"), error))
    }

    /// The stop signal of its image, and SIGKILL after `grace`. The engine counts in whole seconds: rounded up.
    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<(), TestbedError> {
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        self.docker
            .clone()
            .with_timeout(ANSWER_WITHIN + grace)
            .stop_container(id, Some(options))
            .await
            .map_err(|error| TestbedError::request(format!("stop container {id}"), error))?;
        self.await_exit(id).await
    }

    /// SIGKILL, and waits until the container has ended.
    pub(super) async fn kill(&self, id: &str) -> Result<(), TestbedError> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        self.docker
            .kill_container(id, Some(options))
            .await
            .map_err(|error| TestbedError::request(format!("kill container {id}"), error))?;
        self.await_exit(id).await
    }

    /// Any other signal than SIGKILL may do anything.
    pub(super) async fn signal(&self, id: &str, signal: &str) -> Result<(), TestbedError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let sent = self.docker.kill_container(id, Some(options)).await;
        sent.map_err(|error| {
            TestbedError::request(format!("send {signal} to container {id}"), error)
        })
    }

    /// Makes a container, without starting it. Returns its id.
    pub(super) async fn create(&self, body: ContainerCreateBody) -> Result<String, TestbedError> {
        let made = self.docker.create_container(None::<CreateContainerOptions>, body).await;
        let made = made.map_err(|error| TestbedError::request("create a container", error))?;
        Ok(made.id)
    }

    /// Waits until a container ends, however long that takes, and tells its exit code.
    pub(super) async fn wait(&self, id: &str) -> Result<i64, TestbedError> {
        let docker = self.docker.clone().with_timeout(LIFE_WITHIN);
        let mut ends = Box::pin(docker.wait_container(id, None::<WaitContainerOptions>));
        match ends.next().await {
            Some(Ok(end)) => Ok(end.status_code),
            // The client calls every code but 0 an error.
            Some(Err(EngineError::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => {
                Err(TestbedError::request(format!("wait for container {id}"), error))
            }
            None => Err(TestbedError::request(format!("wait for container {id}"), "no answer")),
        }
    }

    /// What a container writes to its standard output and error, until it ends.
    pub(super) fn follow(&self, id: &str) -> BoxStream<'static, Result<LogOutput, EngineError>> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(true).build();
        let docker = self.docker.clone().with_timeout(LIFE_WITHIN);
        docker.logs(id, Some(options)).boxed()
    }

    async fn await_exit(&self, id: &str) -> Result<(), TestbedError> {
        let deadline = Instant::now() + KILL_WITHIN;
        loop {
            let status = status_of(&self.inspect(id).await?);
            if matches!(
                status,
                Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)
            ) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(TestbedError::Deadline {
                    part: format!("container {id}"),
                    state: "ended",
                    within: KILL_WITHIN,
                    last: status.map_or_else(String::new, |status| status.to_string()),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), TestbedError> {
        self.docker
            .start_container(id, None::<StartContainerOptions>)
            .await
            .map_err(|error| TestbedError::request(format!("start container {id}"), error))
    }

    async fn pause(&self, id: &str) -> Result<(), TestbedError> {
        self.docker
            .pause_container(id)
            .await
            .map_err(|error| TestbedError::request(format!("pause container {id}"), error))
    }

    /// Freezes a container, however busy it is.
    pub(super) async fn freeze(&self, id: &str) -> Result<(), TestbedError> {
        let until = Instant::now() + FREEZE_WITHIN;
        loop {
            match self.pause(id).await {
                Err(error) if was_too_busy(&error) && Instant::now() < until => {
                    tokio::time::sleep(FREEZE_AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    pub(super) async fn unpause(&self, id: &str) -> Result<(), TestbedError> {
        self.docker
            .unpause_container(id)
            .await
            .map_err(|error| TestbedError::request(format!("unpause container {id}"), error))
    }

    /// Where a port of a running container is reached on this machine. It changes on every start.
    pub(super) async fn host_port(&self, id: &str, port: u16) -> Result<SocketAddr, TestbedError> {
        let inspected = self.inspect(id).await?;
        let bindings = inspected
            .network_settings
            .as_ref()
            .and_then(|settings| settings.ports.as_ref())
            .and_then(|ports| ports.get(&format!("{port}/tcp")))
            .and_then(Option::as_ref);
        bindings
            .into_iter()
            .flatten()
            .find_map(|binding| binding.host_port.as_ref()?.parse().ok())
            .map(|host_port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, host_port)))
            .ok_or_else(|| {
                TestbedError::request(
                    format!("port {port} of container {id}"),
                    format!("it is not mapped; the container is {:?}", status_of(&inspected)),
                )
            })
    }

    /// Lines of stdout and stderr with the instants at which the engine received them, oldest
    /// first, at most the last `limit`.
    pub(super) async fn log_lines(
        &self,
        id: &str,
        since: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(DateTime<Utc>, String)>, TestbedError> {
        // The engine takes whole seconds only; the rest is cut off here.
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(i32::try_from(since.timestamp()).unwrap_or(0))
            .build();
        let frames: Vec<_> = self
            .docker
            .logs(id, Some(options))
            .try_collect()
            .await
            .map_err(|error| TestbedError::request(format!("logs of container {id}"), error))?;
        let mut lines: Vec<_> = frames
            .iter()
            .flat_map(|frame| {
                let text = frame.to_string();
                text.lines().filter_map(split_timestamp).collect::<Vec<_>>()
            })
            .filter(|(at, _)| *at >= since)
            .collect();
        lines.sort_by_key(|(at, _)| *at);
        Ok(lines.split_off(lines.len().saturating_sub(limit)))
    }

    /// Digest of an image that the engine has: as a registry knows it, else the image's id.
    pub(super) async fn image_digest(
        &self,
        reference: &str,
    ) -> Result<Option<String>, TestbedError> {
        match self.docker.inspect_image(reference).await {
            Ok(image) => {
                let in_registry = image.repo_digests.into_iter().flatten().next();
                let digest = in_registry
                    .as_deref()
                    .and_then(|digest| digest.split_once('@'))
                    .map(|(_, digest)| digest.to_owned());
                Ok(digest.or_else(|| image.id.map(|id| format!("image id {id}"))))
            }
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(TestbedError::request(format!("inspect image {reference}"), error)),
        }
    }

    /// Pulls an image and tells its digest, or why it cannot be had.
    pub(super) async fn pull(&self, reference: &str) -> Result<String, String> {
        tracing::info!(image = reference, "pulling");
        let options = CreateImageOptionsBuilder::new().from_image(reference).build();
        let mut progress = Box::pin(self.docker.create_image(Some(options), None, None));
        while let Some(step) = progress.next().await {
            let step = step.map_err(|error| error.to_string())?;
            if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
                return Err(error);
            }
        }
        match self.image_digest(reference).await {
            Ok(Some(digest)) => Ok(digest),
            Ok(None) => Err("the engine does not have it after the pull".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) async fn create_network(
        &self,
        name: &str,
        labels: &Labels,
    ) -> Result<(), TestbedError> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels.clone()),
            ..Default::default()
        };
        self.docker
            .create_network(request)
            .await
            .map(|_| ())
            .map_err(|error| TestbedError::request(format!("create network {name}"), error))
    }

    /// Containers that carry `label` (`name` or `name=value`), in any state: id and labels.
    pub(super) async fn containers(
        &self,
        label: &str,
    ) -> Result<Vec<(String, Labels)>, TestbedError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(|error| TestbedError::request("list containers", error))?;
        Ok(found.into_iter().filter_map(|c| Some((c.id?, c.labels.unwrap_or_default()))).collect())
    }

    /// Networks that carry `label`: id and labels.
    pub(super) async fn networks(
        &self,
        label: &str,
    ) -> Result<Vec<(String, Labels)>, TestbedError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let found = self
            .docker
            .list_networks(Some(options))
            .await
            .map_err(|error| TestbedError::request("list networks", error))?;
        Ok(found.into_iter().filter_map(|n| Some((n.id?, n.labels.unwrap_or_default()))).collect())
    }

    /// Removes a container in whatever state, with its anonymous volumes. One that is gone, or is
    /// being removed already, is no error.
    pub(super) async fn remove_container(&self, id: &str) -> Result<(), TestbedError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            Ok(()) | Err(EngineError::DockerResponseServerError { status_code: 404 | 409, .. }) => {
                Ok(())
            }
            Err(error) => Err(TestbedError::request(format!("remove container {id}"), error)),
        }
    }

    /// Removes a network; one that is gone is no error.
    pub(super) async fn remove_network(&self, id: &str) -> Result<(), TestbedError> {
        match self.docker.remove_network(id).await {
            Ok(()) | Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(TestbedError::request(format!("remove network {id}"), error)),
        }
    }
}

/// The parts are reached through ports that the engine maps to the loopback address of its machine.
fn elsewhere(what: String) -> TestbedError {
    TestbedError::Environment {
        what: format!("{what}: the ports of the parts cannot be reached from here"),
        remedy:
            "run the harness on the machine that has the engine (in a container: with the host's \
                 network); the embedded testbed needs no engine"
                .to_owned(),
    }
}

/// The host in an address of an engine, if it is not this machine.
fn remote_host(docker_host: &str) -> Option<&str> {
    let (scheme, rest) = docker_host.split_once("://")?;
    if !matches!(scheme, "tcp" | "http" | "https" | "ssh") {
        return None;
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let is_ours = host == "localhost"
        || host.is_empty()
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (!is_ours).then_some(host)
}

/// Whether this program runs in a container, by the files that Docker and Podman put there.
fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists())
}

/// Whether the engine could not freeze a container because its processes did not hold still.
fn was_too_busy(error: &TestbedError) -> bool {
    matches!(error, TestbedError::Request { source, .. } if source.to_string().contains("unable to freeze"))
}

/// The state that the engine reports.
pub(super) fn status_of(inspected: &ContainerInspectResponse) -> Option<ContainerStateStatusEnum> {
    inspected.state.as_ref()?.status
}

fn describe_version(version: &SystemVersion) -> String {
    let name = version
        .platform
        .as_ref()
        .map(|platform| platform.name.clone())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "docker".to_owned());
    format!(
        "{} ({name}, API {}, kernel {})",
        version.version.as_deref().unwrap_or("unknown"),
        version.api_version.as_deref().unwrap_or("unknown"),
        version.kernel_version.as_deref().unwrap_or("unknown"),
    )
}

/// Splits `2026-11-02T10:00:00.123456789Z text`, as the engine writes it.
fn split_timestamp(line: &str) -> Option<(DateTime<Utc>, String)> {
    let (at, text) = line.split_once(' ').unwrap_or((line, ""));
    let at = DateTime::parse_from_rfc3339(at).ok()?.with_timezone(&Utc);
    Some((at, text.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_engine_on_another_machine_is_known_by_its_address() {
        for (address, host) in [
            ("tcp://docker:2375", "docker"),
            ("https://10.1.2.3:2376/", "10.1.2.3"),
            ("ssh://me@build.example", "build.example"),
            ("tcp://[2001:db8::1]:2376", "2001:db8::1"),
        ] {
            assert_eq!(remote_host(address), Some(host), "{address}");
        }
        for address in [
            "unix:///var/run/docker.sock",
            "/var/run/docker.sock",
            "tcp://localhost:2375",
            "tcp://127.0.0.1:2375",
            "tcp://[::1]:2375",
            "",
        ] {
            assert_eq!(remote_host(address), None, "{address}");
        }
    }

    #[test]
    fn a_busy_container_is_told_from_one_that_cannot_be_frozen() {
        let refused =
            |words: &str| was_too_busy(&TestbedError::request("pause container ab", words));
        assert!(refused(
            "Cannot pause container ab: OCI runtime pause failed: unable to freeze: unknown"
        ));
        assert!(!refused("Container ab is not running"));
    }

    #[test]
    fn log_lines_are_split_from_their_instants() {
        let (at, text) = split_timestamp("2026-11-02T10:00:00.5Z [x] INFO up\r").unwrap();
        assert_eq!(at.timestamp_subsec_millis(), 500);
        assert_eq!(text, "[x] INFO up");
        assert_eq!(split_timestamp("2026-11-02T10:00:00Z").unwrap().1, "");
        assert!(split_timestamp("no instant").is_none());
    }
}
