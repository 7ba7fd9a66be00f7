//! What the harness and the broker host say to each other: a line of JSON each, on the host's
//! standard input and output.

use serde::{Deserialize, Serialize};

/// A line to the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Rises with every request; the answer bears the same.
    pub(super) id: u64,
    /// What to do.
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// Make a broker tell clients to come to this address.
    Advertise { broker: u32, host: String, port: u16 },
    /// Create a topic.
    CreateTopic { name: String, partitions: u32, replication: u32 },
    /// Close a broker's connections and stop listening.
    Down { broker: u32 },
    /// Listen again.
    Up { broker: u32 },
}

/// A line from the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// The first line: the brokers listen on these ports.
    Ready { ports: Vec<u16>, librdkafka: String },
    /// A request was carried out.
    Done { id: u64 },
    /// A request was refused.
    Failed { id: u64, why: String },
}
