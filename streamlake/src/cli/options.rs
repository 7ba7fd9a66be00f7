//! Options that several commands share.

use crate::config::{KafkaSettings, property};
use clap::Args;

/// Where Kafka is.
#[derive(Debug, Clone, Args)]
pub(super) struct Kafka {
    /// Kafka's addresses, host:port,… [default: 127.0.0.1:9092]
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS")]
    bootstrap_servers: Option<String>,
    /// A librdkafka property, passed through; may be given often. `dlq.` before a name sets it for
    /// the dead-letter producer alone.
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
}

impl Kafka {
    pub(super) fn settings(&self) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: self
                .bootstrap_servers
                .clone()
                .unwrap_or_else(|| "127.0.0.1:9092".to_owned()),
            properties: self.properties.iter().cloned().collect(),
        }
    }
}
