//! Settings as the rest of the crate sees them: complete, checked, without defaults left to guess.
//!
//! Precedence: flag, then environment, then configuration file, then default (see [`crate::cli`]).

use crate::error::{Error, Result};
use crate::observe::health::Reader;
use crate::raw_zone::compression::Compression;
use crate::raw_zone::name::is_dataset_name;
use crate::record::Schema;
use std::collections::BTreeMap;
use std::time::Duration;
use url::Url;

/// Where Kafka is and what librdkafka is told beyond our own settings.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port,…`
    pub bootstrap_servers: String,
    /// librdkafka properties, passed through. They may hold secrets: [`std::fmt::Debug`] shows names only.
    pub properties: BTreeMap<String, String>,
}

impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// librdkafka knows some properties by two names, and its client library hands settings over in no
/// order: of two names of one property either could win. Everything here goes by the second name.
const ALIASES: &[(&str, &str)] = &[
    ("request.required.acks", "acks"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("compression.type", "compression.codec"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("metadata.broker.list", "bootstrap.servers"),
    ("auto.commit.enable", "enable.auto.commit"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
];

/// The one name that a property goes by here; `dlq.` before it stays.
pub fn canonical_property(name: &str) -> String {
    let (prefix, name) = match name.strip_prefix("dlq.") {
        Some(name) => ("dlq.", name),
        None => ("", name),
    };
    let found = ALIASES.iter().find(|(alias, _)| *alias == name);
    format!("{prefix}{}", found.map_or(name, |(_, canonical)| canonical))
}

/// Refuses addresses that the client would pass over, or try for ever: none at all, another scheme than
/// Kafka's, quotes and separators that belong to a shell or a list of another kind.
pub fn check_bootstrap_servers(servers: &str) -> Result<()> {
    const REMEDY: &str = "Kafka's addresses are host:port,host:port,… (--bootstrap-servers, or \
                          KAFKA_BOOTSTRAP_SERVERS in the environment)";
    const SCHEMES: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
    let entries: Vec<&str> =
        servers.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.is_empty() {
        return Err(Error::Config(format!("no address of Kafka is given; {REMEDY}")));
    }
    for (number, entry) in entries.iter().enumerate() {
        let (scheme, host) = entry.split_once("://").unwrap_or(("plaintext", entry));
        let known = SCHEMES.contains(&scheme.to_ascii_lowercase().as_str());
        let odd = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '/' | '@');
        if !known || host.is_empty() || host.contains(odd) || !is_port_of(host) {
            // What stands there may be a password that took a wrong turn.
            let shown = if entry.contains('@') { "…" } else { entry };
            return Err(Error::Config(format!(
                "address {} of Kafka, {shown:?}, is none that Kafka's clients know; {REMEDY}",
                number + 1
            )));
        }
    }
    Ok(())
}

/// Whether what follows a host, if something does, is a port: librdkafka takes any number modulo 65536.
fn is_port_of(host: &str) -> bool {
    let port = match host.rsplit_once(']') {
        Some((_, rest)) => rest.strip_prefix(':'),
        // Without brackets more than one colon is an address of IPv6.
        None if host.matches(':').count() > 1 => None,
        None => host.split_once(':').map(|(_, port)| port),
    };
    port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// When a batch is closed and stored: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// At this many records.
    pub records: u64,
    /// At this many bytes of lines, before they are compressed.
    pub bytes: usize,
    /// At this age of its first record.
    pub age: Duration,
}

/// What to do when the log no longer holds an offset that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum OnGap {
    /// Stop with the range: nothing behind it is committed.
    Stop,
    /// Go on with a warning, an event and a metric that name the range.
    #[default]
    Continue,
}

/// The settings of one consumer: one dataset, one topic, one group.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// The dataset.
    pub dataset: String,
    /// The topic to read.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// The dead-letter topic.
    pub dead_letter_topic: String,
    /// What a payload must be to be stored.
    pub schema: Schema,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// When batches are closed.
    pub batch: BatchLimits,
    /// How many members of the group this process is, each with a polling thread of its own: one
    /// can use about one core. They share the numbers of the parts, the uploads and the memory.
    pub members: usize,
    /// How many parts are uploaded at a time.
    pub uploads_in_flight: usize,
    /// How many bytes may wait in memory, open, sealed and in flight, before fetching stops.
    pub memory_bytes: usize,
    /// How parts are compressed before they are uploaded.
    pub compression: Compression,
    /// From the signal to the end of the process.
    pub shutdown_deadline: Duration,
    /// How long a revoked partition may finish what is in flight before it is given up.
    pub revoke_deadline: Duration,
    /// A partition with work to do and no progress for this long is unhealthy.
    pub stall_after: Duration,
    /// What to do when the log no longer holds what was due.
    pub on_gap: OnGap,
}

/// Where the raw zone is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawZoneSettings {
    /// `gs://bucket[/prefix]` or `file:///dir`.
    pub url: Url,
    /// The longest that one request to the store may take.
    pub request_timeout: Duration,
}

impl RawZoneSettings {
    /// Reads and checks them.
    pub fn new(address: &str, request_timeout: Duration) -> Result<RawZoneSettings> {
        let url = raw_zone_url(address)?;
        if request_timeout.is_zero() || request_timeout > AGE_MAX {
            return Err(Error::Config(format!(
                "store-timeout {request_timeout:?}: no request could ever be answered in time, or none \
                 would ever be given up; say something between 1s and a day"
            )));
        }
        Ok(RawZoneSettings { url, request_timeout })
    }
}

/// The settings of a producer.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// The dataset.
    pub dataset: String,
    /// The topic to write to.
    pub topic: String,
    /// The dead-letter topic.
    pub dead_letter_topic: String,
    /// What a payload must be to be accepted.
    pub schema: Schema,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// How many records may be on their way at a time.
    pub in_flight_max: usize,
}

/// How many records are on their way at a time unless told otherwise: enough for 200 000 a second where
/// the brokers answer within 50 ms, and few enough that a record is still in the processor's cache
/// when its receipt comes. 90 000 made the producer a quarter slower on a broker next to it.
pub const IN_FLIGHT_MAX: usize = 10_000;

/// The topic that a dataset is read from unless another is named.
pub fn default_topic(dataset: &str) -> String {
    format!("streamlake.{dataset}.raw")
}

/// The dead-letter topic of a dataset.
pub fn default_dead_letter_topic(dataset: &str) -> String {
    format!("streamlake.{dataset}.dlq")
}

/// The group that consumes a dataset unless another is named.
pub fn default_group(dataset: &str) -> String {
    format!("streamlake-consumer-{dataset}")
}

/// Checks a dataset's name: it becomes part of a topic, a group and object names.
pub fn check_dataset(name: &str) -> Result<()> {
    if is_dataset_name(name) {
        return Ok(());
    }
    Err(Error::Config(format!(
        "the dataset's name {name:?} must be 1 to 100 letters, digits, '-' or '_'"
    )))
}

/// Reads the raw zone's address.
pub fn raw_zone_url(text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|err| {
        Error::Config(format!(
            "the raw zone {text:?} is no address ({err}); say gs://bucket/prefix or file:///dir"
        ))
    })?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::Config(format!(
            "the raw zone {text:?} has a '?' or a '#', which end the path of an address; write %3F or %23"
        )));
    }
    if url.scheme() == "gs" && (url.port().is_some() || url.authority().contains('@')) {
        return Err(Error::Config(format!(
            "gs://{}: a bucket has neither a port nor a user; an emulator's address is given as \
             GOOGLE_BASE_URL, credentials as GOOGLE_SERVICE_ACCOUNT",
            url.host_str().unwrap_or_default()
        )));
    }
    // `file:data` would be read as /data.
    if url.scheme() == "file"
        && !text.trim_start().get(5..).is_some_and(|rest| rest.starts_with('/'))
    {
        return Err(Error::Config(format!(
            "the raw zone {text:?} is a relative path; say the whole one, file:///…"
        )));
    }
    match (url.scheme(), url.host_str()) {
        ("gs", Some(_)) | ("file", None | Some("")) => Ok(url),
        ("file", Some(host)) => Err(Error::Config(format!(
            "file://{host}/… names a host; a local directory has three slashes: file:///{host}/…"
        ))),
        (scheme, _) => Err(Error::Config(format!(
            "a raw zone lies at gs://bucket[/prefix] or file:///dir, not at {scheme}:"
        ))),
    }
}

/// Reads a duration: `250ms`, `10s`, `5m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} is no duration; say 250ms, 10s or 5m"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3_600))),
        _ => Err(format!("{text:?} needs a unit: ms, s, m or h")),
    }
}

/// Reads a librdkafka property, `key=value`. What is none may be a secret that lost its key: no
/// complaint is made of it.
pub fn property(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
}

/// The longest of the times that are waited for.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a name is one that Kafka gives a topic.
fn is_topic_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != ".."
}

fn check_topics(topic: &str, dead_letter_topic: &str) -> Result<()> {
    if [topic, dead_letter_topic].into_iter().any(|topic| !is_topic_name(topic)) {
        return Err(Error::Config(
            "a topic's name is 1 to 249 letters, digits, '.', '_' or '-' (a pattern beginning with '^' \
             is not supported)"
                .into(),
        ));
    }
    if topic == dead_letter_topic {
        return Err(Error::Config("the topic and the dead-letter topic are the same".into()));
    }
    Ok(())
}

impl ProducerSettings {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        check_dataset(&self.dataset)?;
        check_topics(&self.topic, &self.dead_letter_topic)
    }
}

/// The largest batch. Readers of compressed parts unfold four times as much at most.
const BATCH_BYTES_MAX: usize = 1 << 30;

impl ConsumerSettings {
    /// Who reads, for health and metrics.
    pub fn reader(&self) -> Reader {
        Reader { topic: self.topic.clone(), group: self.group.clone() }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        check_dataset(&self.dataset)?;
        let fail = |text: &str| Err(Error::Config(text.to_owned()));
        if self.batch.records == 0 || self.batch.bytes == 0 || self.batch.age.is_zero() {
            return fail("a batch needs at least one record, one byte and some age");
        }
        if self.members == 0 || self.uploads_in_flight < self.members {
            return fail("members must be at least 1, and uploads-in-flight at least as many");
        }
        if self.batch.bytes > BATCH_BYTES_MAX {
            return fail("batch-bytes can be 1 GiB at most: a part is uploaded in one request");
        }
        if self.memory_bytes / self.members < 2 * self.batch.bytes {
            return fail("memory-bytes must hold at least two batches of batch-bytes a member");
        }
        let times =
            [self.batch.age, self.shutdown_deadline, self.revoke_deadline, self.stall_after];
        if times.into_iter().any(|time| time > AGE_MAX) {
            return fail(
                "batch-age, shutdown-deadline, revoke-deadline and stall-after can be a day at most",
            );
        }
        if self.group.is_empty() {
            return fail("the group has no name: give it with --group, or leave it out");
        }
        if self.stall_after.is_zero() {
            return fail(
                "stall-after 0: a process at work would always be unhealthy; write 60s, for example",
            );
        }
        check_topics(&self.topic, &self.dead_letter_topic)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("5").is_err());
        assert!(duration("-5s").is_err());
        assert!(duration("99999999999999999999s").is_err());
    }

    #[test]
    fn addresses() {
        assert!(raw_zone_url("gs://bucket/prefix").is_ok());
        assert!(raw_zone_url("file:///tmp/x").is_ok());
        for bad in ["file://tmp/x", "s3://bucket", "bucket", "gs://", "gs://b/a#b", "gs://b/a?b"] {
            assert!(raw_zone_url(bad).is_err(), "{bad}");
        }
        for bad in ["file:data", "gs://b:4443/x", "gs://user:hunter2@b/x"] {
            let text = raw_zone_url(bad).unwrap_err().to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(raw_zone_url("file:/tmp/x").is_ok());
        assert!(RawZoneSettings::new("gs://b", Duration::ZERO).is_err());
    }

    #[test]
    fn addresses_of_kafka() {
        for good in
            ["h:1", " h:1 , [::1]:2,\n", "::1", "h:65535", "PLAINTEXT://h:1", "sasl_ssl://h:1,h"]
        {
            assert!(check_bootstrap_servers(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            " , ",
            "kafka://h:1",
            "http://h",
            "\"h:1\"",
            "h:1;h:2",
            "h:1 h:2",
            "u:p@h:1",
            "h:99999",
            "h:0",
            "h:x",
            "[::1]:70000",
        ] {
            let text = check_bootstrap_servers(bad).unwrap_err().to_string();
            assert!(!text.contains("u:p"), "{text}");
        }
    }

    #[test]
    fn a_property_has_one_name() {
        assert_eq!(canonical_property("request.required.acks"), "acks");
        assert_eq!(canonical_property("dlq.queue.buffering.max.ms"), "dlq.linger.ms");
        assert_eq!(canonical_property("acks"), "acks");
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = KafkaSettings {
            bootstrap_servers: "h:1".into(),
            properties: [("sasl.password".to_owned(), "hunter2".to_owned())].into(),
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
