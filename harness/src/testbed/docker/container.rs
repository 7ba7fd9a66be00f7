//! One container of the testbed: how it is started, what can be done to it, what is seen of it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, HostConfig, PortBinding,
};
use chrono::{DateTime, Utc};
use testcontainers::core::ContainerPort;
use testcontainers::core::wait::WaitFor;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use super::engine::{Engine, Labels, status_of};
use super::images::ResolvedImage;
use super::observe;
use crate::testbed::proxy::Proxy;
use crate::testbed::{Observation, Part, TestbedError};

/// Exit code of a process that SIGKILL ended.
const KILLED: i64 = 137;
/// Lines of its log that go into the error about a part that does not come up.
const LOG_TAIL: usize = 12;

/// Where no part is yet: nothing listens on this port, so a proxy refuses.
pub(super) const NOWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The handle by which testcontainers owns a container.
pub(super) type Handle = ContainerAsync<GenericImage>;

/// A container to be.
pub(super) struct Specification {
    pub(super) part: Part,
    pub(super) image: ResolvedImage,
    /// Name of the container, and its host name within the run's network.
    pub(super) name: String,
    pub(super) environment: BTreeMap<String, String>,
    /// Arguments; empty for the image's own.
    pub(super) arguments: Vec<String>,
    /// Ports within the container, and the proxies that lead to them.
    pub(super) doors: Vec<Door>,
}

/// A port within a container and the proxy that leads to it.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) port: u16,
    pub(super) proxy: Arc<Proxy>,
}

impl Specification {
    /// Creates the container and starts it. It is not awaited here: testcontainers would remove a
    /// container that does not come up, and with it the log that says why.
    pub(super) async fn start(
        self,
        engine: &Engine,
        network: &str,
        labels: &Labels,
        within: Duration,
    ) -> Result<(Container, Handle), TestbedError> {
        let (name, tag) = self.image.name_and_tag();
        let mut image = GenericImage::new(name, tag).with_wait_for(WaitFor::Nothing);
        for door in &self.doors {
            image = image.with_exposed_port(ContainerPort::Tcp(door.port));
        }
        let ports: Vec<u16> = self.doors.iter().map(|door| door.port).collect();
        let mut request = image
            .with_container_name(&self.name)
            .with_hostname(&self.name)
            .with_network(network)
            .with_labels(labels)
            .with_startup_timeout(within)
            .with_host_config_modifier(move |host| map_to_loopback(host, &ports));
        for (name, value) in &self.environment {
            request = request.with_env_var(name, value);
        }
        if !self.arguments.is_empty() {
            request = request.with_cmd(self.arguments);
        }
        let handle = request
            .start()
            .await
            .map_err(|error| TestbedError::request(format!("start {}", self.part), error))?;
        let id = handle.id().to_owned();
        let stopped_by = Mutex::new(None);
        let container = Container { part: self.part, id, doors: self.doors, stopped_by };
        container.follow_ports(engine).await?;
        Ok((container, handle))
    }
}

/// Maps ports to free ones of the loopback interface; testcontainers would take all interfaces.
fn map_to_loopback(host: &mut HostConfig, ports: &[u16]) {
    let free = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: None };
    let bindings = ports.iter().map(|port| (format!("{port}/tcp"), Some(vec![free.clone()])));
    host.port_bindings = Some(bindings.collect());
    host.publish_all_ports = Some(false);
}

/// A container that was started, whatever became of it.
pub(super) struct Container {
    part: Part,
    id: String,
    doors: Vec<Door>,
    /// How the last stop ended it: by the stop signal of its image, or `SIGKILL` after its grace.
    stopped_by: Mutex<Option<String>>,
}

impl Container {
    /// Points the proxies at the ports that the engine mapped: new ones on every start.
    async fn follow_ports(&self, engine: &Engine) -> Result<(), TestbedError> {
        for door in &self.doors {
            match engine.host_port(&self.id, door.port).await {
                Ok(upstream) => door.proxy.set_upstream(upstream),
                // One that ended at once has no ports; why it ended is the better story.
                Err(error) => return Err(self.ended(engine).await.unwrap_or(error)),
            }
        }
        Ok(())
    }

    /// The engine may give the ports of a container that ended to another one, of another run even:
    /// nobody must be led there.
    fn forget_ports(&self) {
        for door in &self.doors {
            door.proxy.set_upstream(NOWHERE);
        }
    }

    pub(super) async fn stop(&self, engine: &Engine, grace: Duration) -> Result<(), TestbedError> {
        self.require(engine, "stop", &[Status::RUNNING, Status::PAUSED]).await?;
        engine.stop(&self.id, grace).await?;
        self.forget_ports();
        let inspected = engine.inspect(&self.id).await?;
        let signal = stop_signal(&inspected);
        let killed = inspected.state.and_then(|state| state.exit_code) == Some(KILLED);
        self.set_stopped_by(if killed { "SIGKILL after its grace" } else { &signal });
        Ok(())
    }

    pub(super) async fn kill(&self, engine: &Engine) -> Result<(), TestbedError> {
        self.require(engine, "kill", &[Status::RUNNING, Status::PAUSED]).await?;
        engine.kill(&self.id).await?;
        self.forget_ports();
        self.set_stopped_by("SIGKILL");
        Ok(())
    }

    pub(super) async fn start(&self, engine: &Engine) -> Result<(), TestbedError> {
        self.require(engine, "start", &[Status::EXITED, Status::CREATED]).await?;
        engine.start(&self.id).await?;
        self.follow_ports(engine).await
    }

    pub(super) async fn pause(&self, engine: &Engine) -> Result<(), TestbedError> {
        self.require(engine, "pause", &[Status::RUNNING]).await?;
        engine.freeze(&self.id).await
    }

    pub(super) async fn unpause(&self, engine: &Engine) -> Result<(), TestbedError> {
        self.require(engine, "unpause", &[Status::PAUSED]).await?;
        engine.unpause(&self.id).await
    }

    /// A fault that is aimed at a container in the wrong state must be an error: the engine takes
    /// some of them in silence.
    async fn require(
        &self,
        engine: &Engine,
        act: &str,
        states: &[Status],
    ) -> Result<(), TestbedError> {
        let status = status_of(&engine.inspect(&self.id).await?);
        if status.is_some_and(|status| states.contains(&status)) {
            return Ok(());
        }
        let status = status.map_or_else(|| "in no state".to_owned(), |status| status.to_string());
        let what = format!("{act} {}", self.part);
        Err(TestbedError::request(what, format!("its container is {status}")))
    }

    fn set_stopped_by(&self, how: &str) {
        *self.stopped_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(how.to_owned());
    }

    pub(super) async fn observe(&self, engine: &Engine) -> Result<Observation, TestbedError> {
        let inspected = engine.inspect(&self.id).await?;
        let mut seen = observe::from_engine(&inspected);
        let pid = inspected.state.and_then(|state| state.pid).filter(|pid| *pid > 0);
        if let Some(freezer) = pid.and_then(observe::freezer) {
            seen.insert("freezer".to_owned(), freezer);
        }
        let stopped_by = self.stopped_by.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(how) = stopped_by {
            seen.insert("stopped_by".to_owned(), how);
        }
        Ok(seen)
    }

    pub(super) async fn log_lines(
        &self,
        engine: &Engine,
        since: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<String>, TestbedError> {
        let lines = engine.log_lines(&self.id, since, limit).await?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// Whether the container logged a line with `text` in it since it was created.
    pub(super) async fn has_logged(&self, engine: &Engine, text: &str) -> Result<(), String> {
        let lines = self
            .log_lines(engine, DateTime::UNIX_EPOCH, usize::MAX)
            .await
            .map_err(|error| error.to_string())?;
        let found = lines.iter().any(|line| line.contains(text));
        found.then_some(()).ok_or_else(|| format!("it has not logged {text:?}"))
    }

    /// The error about a container that should run and does not.
    pub(super) async fn ended(&self, engine: &Engine) -> Option<TestbedError> {
        let state = engine.inspect(&self.id).await.ok()?.state?;
        if state.running != Some(false) {
            return None;
        }
        let code = state.exit_code.unwrap_or_default();
        let words = self.last_words(engine).await;
        let what = format!("start {}", self.part);
        Some(TestbedError::request(what, format!("it ended with exit code {code}\n{words}")))
    }

    /// The last lines of its log.
    pub(super) async fn last_words(&self, engine: &Engine) -> String {
        match self.log_lines(engine, DateTime::UNIX_EPOCH, usize::MAX).await {
            Ok(lines) => tail_without_traces(&lines).join("\n"),
            Err(error) => error.to_string(),
        }
    }
}

/// The signal by which the engine stops a container: its image may ask for another than SIGTERM, as
/// PostgreSQL's does.
fn stop_signal(inspected: &ContainerInspectResponse) -> String {
    let configured = inspected.config.as_ref().and_then(|config| config.stop_signal.as_deref());
    match configured.filter(|signal| !signal.is_empty()) {
        None => "SIGTERM".to_owned(),
        // The engine takes names without the prefix, and numbers.
        Some(signal) if signal.starts_with("SIG") => signal.to_owned(),
        Some(signal) if signal.parse::<u32>().is_ok() => format!("signal {signal}"),
        Some(signal) => format!("SIG{signal}"),
    }
}

/// The last lines that are not frames of a Java stack trace, which would leave no room for the
/// error itself.
fn tail_without_traces(lines: &[String]) -> Vec<&str> {
    let telling = lines.iter().map(String::as_str).filter(|line| !line.starts_with("\tat "));
    let telling: Vec<&str> = telling.collect();
    telling[telling.len().saturating_sub(LOG_TAIL)..].to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bollard::models::ContainerConfig;

    use super::*;

    #[test]
    fn ports_are_mapped_to_the_loopback_interface_only() {
        let mut host = HostConfig { publish_all_ports: Some(true), ..Default::default() };
        map_to_loopback(&mut host, &[9092, 9094]);
        assert_eq!(host.publish_all_ports, Some(false));
        let bindings = host.port_bindings.unwrap();
        assert_eq!(bindings.len(), 2);
        for binding in bindings.values().flatten().flatten() {
            assert_eq!(binding.host_ip.as_deref(), Some("127.0.0.1"));
        }
    }

    #[test]
    fn the_stop_signal_is_the_containers_own() {
        let stopped_by = |signal: Option<&str>| {
            let config = ContainerConfig {
                stop_signal: signal.map(str::to_owned),
                ..ContainerConfig::default()
            };
            stop_signal(&ContainerInspectResponse { config: Some(config), ..Default::default() })
        };
        assert_eq!(stopped_by(None), "SIGTERM");
        assert_eq!(stopped_by(Some("")), "SIGTERM");
        assert_eq!(stopped_by(Some("SIGINT")), "SIGINT");
        assert_eq!(stopped_by(Some("QUIT")), "SIGQUIT");
        assert_eq!(stopped_by(Some("2")), "signal 2");
    }

    #[test]
    fn last_words_are_told_without_stack_frames() {
        let mut lines = vec!["starting".to_owned(), "Exception: many is no number".to_owned()];
        lines.extend((0..40).map(|frame| format!("\tat org.apache.kafka.Frame{frame}")));
        assert_eq!(tail_without_traces(&lines), ["starting", "Exception: many is no number"]);
        let many: Vec<String> = (0..40).map(|line| line.to_string()).collect();
        assert_eq!(tail_without_traces(&many).len(), LOG_TAIL);
    }
}
