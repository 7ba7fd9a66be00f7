//! Options that several commands share.

use crate::config::{
    KafkaSettings, canonical_property, default_dead_letter_topic, default_group, default_topic,
    property,
};
use crate::error::{Error, Result};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;

/// Variables with this prefix are librdkafka properties: `STREAMLAKE_KAFKA_SASL_PASSWORD` is
/// `sasl.password`.
const PROPERTY_PREFIX: &str = "STREAMLAKE_KAFKA_";

/// Where Kafka is.
#[derive(Debug, Clone, Args)]
pub(super) struct Kafka {
    /// Kafka's addresses, host:port,… [default: 127.0.0.1:9092]
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", help_heading = "Kafka")]
    bootstrap_servers: Option<String>,
    /// A librdkafka property, passed through; may be given often. `dlq.` before a name sets it for
    /// the dead-letter producer alone. Also from the environment: STREAMLAKE_KAFKA_SASL_PASSWORD is
    /// sasl.password.
    #[arg(
        short = 'X',
        value_name = "KEY=VALUE",
        value_parser = PropertyParser,
        help_heading = "Kafka"
    )]
    properties: Vec<Property>,
    /// A property from the configuration file.
    #[arg(long, hide = true, value_parser = PropertyParser)]
    file_property: Vec<Property>,
}

/// A librdkafka property. It may be a secret: [`std::fmt::Debug`] shows its name only.
#[derive(Clone)]
struct Property(String, String);

impl std::fmt::Debug for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", self.0)
    }
}

impl Property {
    fn pair(&self) -> (String, String) {
        (canonical_property(&self.0), self.1.clone())
    }
}

/// Reads a property. Unlike a plain parser's, its complaint does not repeat what was given.
#[derive(Clone)]
struct PropertyParser;

impl TypedValueParser for PropertyParser {
    type Value = Property;

    fn parse_ref(
        &self,
        cmd: &Command,
        _arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Property, clap::Error> {
        let found = value.to_str().and_then(property);
        found.map(|(key, value)| Property(key, value)).ok_or_else(|| {
            let text = "a property is given as KEY=VALUE, like -X linger.ms=5 (what was given is not \
                        shown, it may be a secret)";
            cmd.clone().error(ErrorKind::ValueValidation, text)
        })
    }
}

impl Kafka {
    /// File, then environment, then flags: the last one wins.
    pub(super) fn settings(&self) -> Result<KafkaSettings> {
        let mut properties: BTreeMap<String, String> =
            self.file_property.iter().map(Property::pair).collect();
        for (name, value) in std::env::vars_os() {
            if let Some(name) = name.to_str()
                && let Some(property) = name.strip_prefix(PROPERTY_PREFIX)
            {
                let Some(value) = value.to_str() else {
                    return Err(Error::Config(format!(
                        "the environment's {name} is not UTF-8, and librdkafka's properties are text"
                    )));
                };
                if is_service_link(property, value) {
                    tracing::warn!(
                        variable = name,
                        "looks like Kubernetes' variable for a service called streamlake-kafka, and is \
                         passed over (`enableServiceLinks: false` keeps them away)"
                    );
                    continue;
                }
                let property = property.to_ascii_lowercase().replace('_', ".");
                properties.insert(canonical_property(&property), value.to_owned());
            }
        }
        properties.extend(self.properties.iter().map(Property::pair));
        let bootstrap_servers =
            self.bootstrap_servers.clone().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
        Ok(KafkaSettings { bootstrap_servers, properties })
    }
}

/// Kubernetes tells every container of a namespace about its services. One called `streamlake-kafka`
/// makes `STREAMLAKE_KAFKA_SERVICE_HOST`, `…_PORT=tcp://10.0.0.1:9092`, `…_PORT_9092_TCP_ADDR`, ….
/// No librdkafka property begins with these words.
fn is_service_link(property: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    property.starts_with("SERVICE_")
        || property.ends_with("_SERVICE_HOST")
        || property.contains("_SERVICE_PORT")
        || property.starts_with("PORT_")
        || property.contains("_PORT_")
        || ((property == "PORT" || property.ends_with("_PORT")) && is_url)
}

/// A dataset and the names that follow from it.
#[derive(Debug, Clone, Args)]
pub(super) struct Dataset {
    /// Name of the dataset, from which those of its topics and its group follow.
    #[arg(long, env = "STREAMLAKE_DATASET", help_heading = "Dataset")]
    pub(super) dataset: String,
    /// Topic of its records [default: streamlake.<dataset>.raw]
    #[arg(long, help_heading = "Dataset")]
    topic: Option<String>,
    /// Topic of its dead letters [default: streamlake.<dataset>.dlq]
    #[arg(long, help_heading = "Dataset")]
    dead_letter_topic: Option<String>,
}

impl Dataset {
    pub(super) fn topic(&self) -> String {
        self.topic.clone().unwrap_or_else(|| default_topic(&self.dataset))
    }

    pub(super) fn dead_letter_topic(&self) -> String {
        self.dead_letter_topic.clone().unwrap_or_else(|| default_dead_letter_topic(&self.dataset))
    }
}

/// A consumer group.
#[derive(Debug, Clone, Args)]
pub(super) struct Group {
    /// The consumer group [default: streamlake-consumer-<dataset>]
    #[arg(long, help_heading = "Dataset")]
    group: Option<String>,
}

impl Group {
    pub(super) fn name(&self, dataset: &str) -> String {
        self.group.clone().unwrap_or_else(|| default_group(dataset))
    }
}

/// Writes one JSON document and a line break to standard output.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    let writing = || Error::io("writing to standard output");
    let text = serde_json::to_string(value).map_err(std::io::Error::from).map_err(writing())?;
    writeln!(std::io::stdout(), "{text}").map_err(writing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_kubernetes_are_no_properties() {
        for (name, value) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT_PLAINTEXT", "9092"),
            ("PORT", "tcp://10.0.0.1:9092"),
            ("PORT_9092_TCP_ADDR", "10.0.0.1"),
            ("BOOTSTRAP_SERVICE_HOST", "10.0.0.1"),
            ("BROKERS_PORT", "tcp://10.0.0.1:9092"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for (name, value) in [
            ("SASL_PASSWORD", "tcp://x"),
            ("SASL_KERBEROS_SERVICE_NAME", "kafka"),
            ("CLIENT_ID", "x"),
        ] {
            assert!(!is_service_link(name, value), "{name}");
        }
    }
}
