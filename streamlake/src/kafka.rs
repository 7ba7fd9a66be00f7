//! The librdkafka clients: our defaults, what may be overridden, and what is really in effect.

use crate::config::{KafkaSettings, canonical_property, check_bootstrap_servers};
use crate::error::{Error, Result};
use crate::inspect;
use crate::native;
use crate::planted;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientConfig, ClientContext};
use std::collections::BTreeMap;
use std::time::Duration;

/// How much a consumer prefetches, in KiB.
const PREFETCH_KIB: &str = "queued.max.messages.kbytes";
/// librdkafka's 64 MiB of payloads are some 200 MiB of its memory when records are small. With 8 MiB a
/// process is as fast: what was fetched is read while it is still in the processor's cache.
const PREFETCH_KIB_DEFAULT: usize = 8 << 10;

/// What a consumer is told before the user's own properties.
const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    ("auto.offset.reset", "earliest"),
    ("max.poll.interval.ms", "300000"),
    // A damaged batch must not be stored as if it were whole. librdkafka's own default is not to look.
    ("check.crcs", "true"),
    // A full prefetch queue keeps its partitions from being fetched for this long. With the default of
    // one second the queue runs empty in between: 32 MiB a second is then all that there ever is,
    // 135 000 records of 200 bytes, whatever the machine could do.
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "100"),
    // A new partition is found by asking. librdkafka's own default is five minutes.
    (REFRESH_MS, "10000"),
    // Lag and high watermarks for the metrics come from here.
    ("statistics.interval.ms", "5000"),
];

/// What a member of a group of the classic protocol is told as well. With `group.protocol=consumer`
/// (KIP-848) the broker decides these, and librdkafka makes no client that has them set.
const CLASSIC_DEFAULTS: &[(&str, &str)] = &[
    ("session.timeout.ms", "30000"),
    // Only the partitions that move stop; the others go on through a rebalance.
    ("partition.assignment.strategy", "cooperative-sticky"),
];

/// What a producer is told before the user's own properties.
const PRODUCER_DEFAULTS: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "5"),
    // What every Java client and Debezium does; librdkafka's own default is a CRC-32.
    ("partitioner", "murmur2_random"),
    // The broker's limit decides, not the client's: it counts what is compressed, and the client what is not.
    // This is the client's largest; what is read is bounded elsewhere (`receive.message.max.bytes`, and the
    // longest line of `produce`).
    ("message.max.bytes", "1000000000"),
];

/// What a producer of dead letters is told as well. A record that was compressed fits into a topic that its
/// uncompressed letter does not fit into.
const DEAD_LETTER_DEFAULTS: &[(&str, &str)] = &[
    ("compression.codec", "gzip"),
    // A topic that is not there is told of after this time, and tried again. librdkafka's own default is 30 s.
    ("topic.metadata.propagation.max.ms", "5000"),
];

/// What both are told.
const COMMON_DEFAULTS: &[(&str, &str)] = &[
    // A port proxy before a broker that is down accepts connections and drops them, which drives the
    // back-off to its default maximum of 10 s: after a restart of 4 s the client stayed away for 10
    // to 15. With 500 ms the longest gap measured was 6.6 s (n = 20), and no producer got stuck.
    ("reconnect.backoff.max.ms", "500"),
];

/// Properties that the commit frontier rests on.
const FORBIDDEN: &[(&str, &str)] = &[
    ("enable.auto.commit", "commits what is not yet stored"),
    ("enable.auto.offset.store", "stores offsets of records that are not yet stored"),
    ("group.id", "is set with --group"),
    ("bootstrap.servers", "is set with --bootstrap-servers"),
    (
        "enable.partition.eof",
        "makes librdkafka's position run one ahead when records are read many at a time: after the pause \
         of a rebalance a record is passed over",
    ),
];

/// Properties of a consumer that a producer would only complain about.
const CONSUMER_ONLY: &[&str] = &[
    "group.",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "auto.offset.reset",
    "auto.commit",
    "fetch.",
    "queued.",
    "isolation.level",
    "check.crcs",
    "offset.store",
    "coordinator.query",
    "max.partition.fetch",
    "consume.callback",
];

/// Properties that are told in the `configured` event.
const REPORTED: &[&str] = &[
    "bootstrap.servers",
    "client.id",
    "security.protocol",
    "sasl.mechanisms",
    "ssl.ca.location",
    "enable.ssl.certificate.verification",
    "ssl.endpoint.identification.algorithm",
    "reconnect.backoff.max.ms",
    "retry.backoff.ms",
    "socket.timeout.ms",
];
const REPORTED_PRODUCER: &[&str] = &[
    "acks",
    "retries",
    "enable.idempotence",
    "max.in.flight.requests.per.connection",
    "linger.ms",
    "partitioner",
    "message.timeout.ms",
    "request.timeout.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "message.max.bytes",
    "batch.size",
    "compression.codec",
];
const REPORTED_CONSUMER: &[&str] = &[
    "group.id",
    "group.instance.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "isolation.level",
    "group.protocol",
    "check.crcs",
    "fetch.wait.max.ms",
    "queued.max.messages.kbytes",
];

/// Words in the names of properties whose values are shown to nobody.
const SECRET_WORDS: &[&str] =
    &["password", "secret", "private.key", "key.pem", "jaas", "oauthbearer.config", "token"];

/// The part of a client's name that says which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads a topic as a member of a group.
    Consumer,
    /// Writes events.
    Producer,
    /// Writes dead letters.
    DeadLetters,
    /// Looks at metadata, offsets and groups.
    Inspector,
}

/// The configuration of a consumer that is alone in its process.
pub fn consumer_config(settings: &KafkaSettings, group: &str) -> Result<ClientConfig> {
    member_config(settings, group, 0, 1)
}

/// The configuration of the `member`th of so many members of a group in one process: they share the
/// memory for prefetched records, and a static membership gets a number for each.
pub fn member_config(
    settings: &KafkaSettings,
    group: &str,
    member: usize,
    members: usize,
) -> Result<ClientConfig> {
    check_reset(settings)?;
    check_statistics(settings)?;
    check_refresh(settings)?;
    warn_of_what_is_given_up(settings);
    let protocol = settings.properties.get("group.protocol");
    let classic = protocol.is_none_or(|name| name.eq_ignore_ascii_case("classic"));
    let protocol = if classic { CLASSIC_DEFAULTS } else { &[] };
    let mut config = base(settings, Role::Consumer, &[CONSUMER_DEFAULTS, protocol].concat())?;
    if !settings.properties.contains_key(PREFETCH_KIB) {
        let share = PREFETCH_KIB_DEFAULT / members.max(1);
        config.set(PREFETCH_KIB, share.max(1 << 10).to_string());
    }
    if members > 1
        && let Some(id) = settings.properties.get("group.instance.id")
    {
        config.set("group.instance.id", format!("{id}-{member}"));
    }
    config.set("group.id", group).set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    planted::configure(&mut config, Role::Consumer);
    Ok(config)
}

/// A group that begins at the end, or nowhere, does not carry every record into the raw zone.
fn check_reset(settings: &KafkaSettings) -> Result<()> {
    let reset = settings.properties.get("auto.offset.reset").map(|word| word.to_ascii_lowercase());
    match reset.as_deref() {
        None | Some("earliest" | "smallest" | "beginning") => Ok(()),
        Some("latest" | "largest" | "end") => {
            tracing::warn!(
                "auto.offset.reset=latest: what stands in a partition before this group's first commit \
                 is never stored; nor is what comes into a new partition before it is found, nor \
                 anything between an expired commit and the end"
            );
            Ok(())
        }
        Some(other) => Err(Error::Config(format!(
            "auto.offset.reset={other}: a partition without a commit would never be read; leave it at \
             earliest"
        ))),
    }
}

/// Lag, health and the watch over partitions that are never fetched live on the client's statistics; that
/// watch gives a partition ten seconds.
fn check_statistics(settings: &KafkaSettings) -> Result<()> {
    let Some(text) = settings.properties.get(STATISTICS_MS) else { return Ok(()) };
    match text.parse::<u64>() {
        // What is no number is refused by librdkafka, with its own words.
        Ok(ms) if !(1..=STATISTICS_MS_MAX).contains(&ms) => Err(Error::Config(format!(
            "{STATISTICS_MS}={ms}: lag and health come from the client's statistics; leave it between 1 and \
             {STATISTICS_MS_MAX}"
        ))),
        _ => Ok(()),
    }
}

/// A client that does not ask for the topic's partitions never reads a new one, and nothing shows it.
fn check_refresh(settings: &KafkaSettings) -> Result<()> {
    let Some(text) = settings.properties.get(REFRESH_MS) else { return Ok(()) };
    match text.parse::<i64>() {
        Ok(ms) if !(1..=REFRESH_MS_MAX).contains(&ms) => Err(Error::Config(format!(
            "{REFRESH_MS}={ms}: new partitions of the topic are found by asking for them; leave it between 1 \
             and {REFRESH_MS_MAX}"
        ))),
        _ => Ok(()),
    }
}

const REFRESH_MS: &str = "topic.metadata.refresh.interval.ms";
const REFRESH_MS_MAX: i64 = 300_000;
const STATISTICS_MS: &str = "statistics.interval.ms";
const STATISTICS_MS_MAX: u64 = 5_000;

/// Settings that are somebody's to choose and that a raw zone pays for.
fn warn_of_what_is_given_up(settings: &KafkaSettings) {
    let is = |name: &str, value: &str| {
        settings.properties.get(name).is_some_and(|given| given.eq_ignore_ascii_case(value))
    };
    if is("isolation.level", "read_uncommitted") {
        tracing::warn!(
            "isolation.level=read_uncommitted: records of transactions that were aborted are stored like \
             any others"
        );
    }
    if is("check.crcs", "false") {
        tracing::warn!("check.crcs=false: a batch that was damaged is stored as if it were whole");
    }
}

/// A producer's configuration; `role` tells events from dead letters.
pub fn producer_config(settings: &KafkaSettings, role: Role) -> Result<ClientConfig> {
    let letters = if role == Role::DeadLetters { DEAD_LETTER_DEFAULTS } else { &[] };
    let mut config = base(settings, role, &[PRODUCER_DEFAULTS, letters].concat())?;
    check_acks(&config, role)?;
    planted::configure(&mut config, role);
    Ok(config)
}

/// The configuration of a producer that sends each record in a batch of its own, as small as it gets: for
/// what was refused for the size of its batch, or of itself.
pub(crate) fn alone(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    config.set("batch.num.messages", "1").set("linger.ms", "0");
    config.set("compression.codec", "zstd").set("compression.level", "9");
    config
}

/// librdkafka's own limit of a batch, before it is compressed.
const BATCH_BYTES: i64 = 1_000_000;
/// What a batch has besides its records.
const BATCH_OVERHEAD: i64 = 1 << 10;
/// How long a topic's limit is waited for: nothing is sent until then, and a cluster that does not tell it works as
/// well for most.
const LIMIT_WITHIN: Duration = Duration::from_millis(500);

/// The settings with batches that fit into a topic and into its dead-letter topic: a batch of small records
/// that is larger than `max.message.bytes` is refused as a whole, although none of them is too large. Where
/// brokers do not tell the limit, all stays as it is. Blocking.
pub fn with_batches_that_fit(
    settings: &KafkaSettings,
    topic: &str,
    letters: &str,
) -> KafkaSettings {
    let mut fitting = settings.clone();
    let found = match inspect::topic_settings(settings, &[topic, letters], LIMIT_WITHIN) {
        Ok(found) => found,
        Err(err) => {
            tracing::debug!(topic, error = %err, "its max.message.bytes is not known");
            return fitting;
        }
    };
    for (property, told) in ["batch.size", "dlq.batch.size"].into_iter().zip(found) {
        if inspect::is_unknown_topic(&told) && property == "batch.size" {
            // A mistyped name makes a topic that nobody reads.
            tracing::warn!(
                topic,
                "this topic is not there; if the brokers make it by themselves, it has their default \
                 partitions and replicas"
            );
        }
        let given =
            ["batch.size", property].iter().any(|key| settings.properties.contains_key(*key));
        let size = told.ok().filter(|_| !given);
        let size = size.and_then(|told| batch_bytes(inspect::message_bytes_max(&told)?));
        fitting.properties.extend(size.map(|size| (property.to_owned(), size.to_string())));
    }
    fitting
}

/// How large a batch may be where the usual size does not fit.
fn batch_bytes(limit: i64) -> Option<i64> {
    let fits = (limit - BATCH_OVERHEAD).max(1);
    (fits < BATCH_BYTES).then_some(fits)
}

/// A receipt rests on the broker's word. Without one there is nothing to report, and a dead letter that
/// counts as written must survive its leader.
fn check_acks(config: &ClientConfig, role: Role) -> Result<()> {
    let acks = config.get("acks");
    match role {
        Role::DeadLetters if !acks.is_none_or(|acks| matches!(acks, "all" | "-1")) => {
            Err(Error::Config(
                "dlq.acks must be all: an offset is committed when its dead letter is acknowledged"
                    .into(),
            ))
        }
        _ if acks == Some("0") => Err(Error::Config(
            "acks=0: the broker would acknowledge nothing, so no receipt could be given; use all"
                .into(),
        )),
        _ => Ok(()),
    }
}

/// The configuration of a client that asks for settings of topics.
pub(crate) fn admin_config(settings: &KafkaSettings) -> Result<ClientConfig> {
    base(settings, Role::Inspector, &[])
}

/// The configuration of a client that only looks, never joins a group and never writes.
pub fn inspector_config(settings: &KafkaSettings, group: Option<&str>) -> Result<ClientConfig> {
    let mut config = base(settings, Role::Inspector, &[])?;
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.set("auto.offset.reset", "error").set("fetch.wait.max.ms", "20");
    if let Some(group) = group {
        config.set("group.id", group);
    }
    Ok(config)
}

fn base(settings: &KafkaSettings, role: Role, defaults: &[(&str, &str)]) -> Result<ClientConfig> {
    check_bootstrap_servers(&settings.bootstrap_servers)?;
    let mut config = ClientConfig::new();
    // Who asks librdkafka for its debug lines is to see them.
    config.set_log_level(match settings.properties.contains_key("debug") {
        true => RDKafkaLogLevel::Debug,
        false => RDKafkaLogLevel::Info,
    });
    for (key, value) in COMMON_DEFAULTS.iter().chain(defaults) {
        config.set(*key, *value);
    }
    config.set("client.id", format!("streamlake-{}", role_name(role)));
    for (given, value) in &settings.properties {
        let key = &canonical_property(given);
        if let Some((_, why)) = FORBIDDEN.iter().find(|(name, _)| name == key) {
            return Err(Error::Config(format!("the property {given} cannot be set: it {why}")));
        }
        let for_dead_letters = key.strip_prefix("dlq.");
        let is_consumers = CONSUMER_ONLY.iter().any(|prefix| key.starts_with(prefix));
        match role {
            // What is good enough for the events is not for a letter that an offset is committed for.
            Role::DeadLetters if key == "acks" || key == "enable.idempotence" => {}
            Role::DeadLetters => {
                if !is_consumers || for_dead_letters.is_some() {
                    config.set(for_dead_letters.unwrap_or(key), value);
                }
            }
            Role::Producer | Role::Inspector if is_consumers => {}
            _ if for_dead_letters.is_some() => {}
            _ => {
                config.set(key, value);
            }
        }
    }
    config.set("bootstrap.servers", &settings.bootstrap_servers);
    check_mechanism(&config)?;
    find_authorities(&mut config);
    // Refuse a bad property here, by its name, and not when the client is created.
    config.create_native_config().map_err(|err| match err {
        KafkaError::ClientConfig(_, _, key, _) if is_secret(&key) => {
            Error::Config(format!("librdkafka refuses the property {key}"))
        }
        KafkaError::ClientConfig(_, text, key, _) => {
            Error::Config(format!("librdkafka refuses the property {key}: {text}"))
        }
        other => Error::Config(other.to_string()),
    })?;
    Ok(config)
}

/// OAUTHBEARER needs tokens, and nothing here fetches any: the client would wait for one for ever, without a
/// connection and without a word. Only librdkafka's own unsigned tokens, for tests, need nobody.
fn check_mechanism(config: &ClientConfig) -> Result<()> {
    let is = |name: &str, value: &str| {
        config.get(name).is_some_and(|given| given.trim().eq_ignore_ascii_case(value))
    };
    let unsigned = is("enable.sasl.oauthbearer.unsecure.jwt", "true");
    if is("sasl.mechanisms", "OAUTHBEARER") && !unsigned {
        return Err(Error::Config(
            "sasl.mechanism=OAUTHBEARER: fetching tokens is not built in; use PLAIN, SCRAM-SHA-256 or \
             SCRAM-SHA-512"
                .into(),
        ));
    }
    Ok(())
}

/// The built-in OpenSSL knows no directory of this system: unless an authority is named, the places
/// where systems keep theirs are tried.
fn find_authorities(config: &mut ClientConfig) {
    let secured = config.get("security.protocol").is_some_and(|protocol| {
        matches!(protocol.to_ascii_lowercase().as_str(), "ssl" | "sasl_ssl")
    });
    let named = ["ssl.ca.location", "ssl.ca.pem"].iter().any(|key| config.get(key).is_some());
    if secured && !named {
        config.set("ssl.ca.location", "probe");
    }
}

/// Whether a property holds what nobody may see.
fn is_secret(key: &str) -> bool {
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// A client that librdkafka does not make of settings that it took one by one.
pub(crate) fn not_created(err: KafkaError) -> Error {
    let KafkaError::ClientCreation(text) = err else {
        return Error::Kafka { doing: "creating a client".into(), source: err };
    };
    let remedy = if text.contains("ssl.") {
        "; the file must be there, readable, and PEM"
    } else if text.contains("SASL mechanism GSSAPI") {
        "; set sasl.mechanism to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (Kerberos is not built in)"
    } else {
        ""
    };
    Error::Config(format!("librdkafka makes no client of these settings: {text}{remedy}"))
}

/// The end of a client that brokers refuse: what they said, and what can be done about it.
pub(crate) fn refused(err: &KafkaError, reason: &str) -> Error {
    let remedy = match err.rdkafka_error_code() {
        Some(Code::SSL) => {
            "ssl.ca.location must be a file with the certificate of the authority that signed the \
             broker's, and the broker's must name the host that --bootstrap-servers names; a broker \
             that wants a certificate of its clients needs ssl.certificate.location and \
             ssl.key.location"
        }
        _ => {
            "sasl.mechanism, sasl.username and sasl.password must be those of a user that the broker \
             knows"
        }
    };
    Error::Config(format!("Kafka refuses this client: {reason}. {remedy}"))
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Consumer => "consumer",
        Role::Producer => "producer",
        Role::DeadLetters => "dead-letters",
        Role::Inspector => "inspector",
    }
}

/// The properties in effect, read back from the running client itself. None of them is a secret.
pub fn effective<C: ClientContext>(client: &Client<C>, role: Role) -> BTreeMap<String, String> {
    let more = match role {
        Role::Consumer | Role::Inspector => REPORTED_CONSUMER,
        Role::Producer | Role::DeadLetters => REPORTED_PRODUCER,
    };
    let names = REPORTED.iter().chain(more);
    let told = |name: &&str| Some(((*name).to_owned(), native::property(client, name)?));
    names.filter_map(told).collect()
}

/// Passes librdkafka's log lines on to `tracing`.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        _ => tracing::warn!(target: "librdkafka", facility, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::producer::{BaseProducer, Producer};

    fn settings(pairs: &[(&str, &str)]) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: "127.0.0.1:9092".into(),
            properties: pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }

    #[test]
    fn the_documented_settings_are_in_effect() {
        let config = consumer_config(&settings(&[]), "g").unwrap();
        let consumer: BaseConsumer = config.create().unwrap();
        let found = effective(consumer.client(), Role::Consumer);
        for (name, value) in [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "smallest"),
            ("session.timeout.ms", "30000"),
            ("max.poll.interval.ms", "300000"),
            ("reconnect.backoff.max.ms", "500"),
        ] {
            assert_eq!(found[name], value, "{name}");
        }
        let config = producer_config(&settings(&[]), Role::Producer).unwrap();
        let producer: BaseProducer = config.create().unwrap();
        let found = effective(producer.client(), Role::Producer);
        assert_eq!(found["acks"], "-1");
        assert_eq!(found["enable.idempotence"], "true");
        assert_eq!(found["partitioner"], "murmur2_random");
        // Nobody set these: idempotence brings them about when the client is made.
        assert_eq!(found["max.in.flight.requests.per.connection"], "5");
        assert_eq!(found["retries"], "2147483647");
    }

    #[test]
    fn tls_and_every_promised_mechanism_are_built_in() {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let pairs = [
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", mechanism),
                ("sasl.username", "u"),
                ("sasl.password", "hunter2"),
            ];
            let config = consumer_config(&settings(&pairs), "g").unwrap();
            let consumer: BaseConsumer = config.create().unwrap();
            let found = effective(consumer.client(), Role::Consumer);
            assert_eq!(found["security.protocol"], "sasl_ssl");
            assert_eq!(found["sasl.mechanisms"], mechanism);
            assert_eq!(found["ssl.ca.location"], "probe");
            assert!(!found.values().any(|value| value.contains("hunter2")), "{found:?}");
        }
    }

    #[test]
    fn a_mechanism_that_would_wait_for_ever_is_refused() {
        let pairs = [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "oauthbearer")];
        for role in [Role::Producer, Role::DeadLetters] {
            let err = producer_config(&settings(&pairs), role).unwrap_err();
            assert!(err.to_string().contains("OAUTHBEARER") && err.exit_code() == 2, "{err}");
        }
        assert!(consumer_config(&settings(&pairs), "g").is_err());
        assert!(inspector_config(&settings(&pairs), None).is_err());
        let unsigned = ("enable.sasl.oauthbearer.unsecure.jwt", "true");
        assert!(consumer_config(&settings(&[pairs[0], pairs[1], unsigned]), "g").is_ok());
    }

    #[test]
    fn nothing_that_is_reported_is_a_secret() {
        for name in [REPORTED, REPORTED_CONSUMER, REPORTED_PRODUCER].concat() {
            assert!(!is_secret(name), "{name}");
        }
        for name in ["sasl.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn settings_that_make_no_client_are_refused_with_a_remedy() {
        for (pairs, text) in [
            (vec![("security.protocol", "ssl"), ("ssl.ca.location", "/nowhere.pem")], "readable"),
            (vec![("security.protocol", "sasl_ssl")], "set sasl.mechanism"),
        ] {
            let config = consumer_config(&settings(&pairs), "g").unwrap();
            let err = not_created(config.create::<BaseConsumer>().map(drop).unwrap_err());
            assert!(err.to_string().contains(text), "{err}");
            assert_eq!(err.exit_code(), 2);
        }
    }

    #[test]
    fn members_of_one_process_share_the_prefetch_and_have_names_of_their_own() {
        let one = member_config(&settings(&[("group.instance.id", "a")]), "g", 1, 2).unwrap();
        assert_eq!(one.get(PREFETCH_KIB), Some("4096"));
        assert_eq!(one.get("group.instance.id"), Some("a-1"));
        let alone = member_config(&settings(&[("group.instance.id", "a")]), "g", 0, 1).unwrap();
        assert_eq!(alone.get("group.instance.id"), Some("a"));
        let told = member_config(&settings(&[(PREFETCH_KIB, "99")]), "g", 0, 2).unwrap();
        assert_eq!(told.get(PREFETCH_KIB), Some("99"));
    }

    #[test]
    fn batches_fit_into_their_topic_and_letters_are_small() {
        for (limit, batch) in
            [(1_048_588, None), (1_000_000_000, None), (20_000, Some(18_976)), (100, Some(1))]
        {
            assert_eq!(batch_bytes(limit), batch, "{limit}");
        }
        let letters = producer_config(&settings(&[]), Role::DeadLetters).unwrap();
        assert_eq!(letters.get("compression.codec"), Some("gzip"));
        let events = producer_config(&settings(&[]), Role::Producer).unwrap();
        assert_eq!(events.get("compression.codec"), None);
        let told = settings(&[("dlq.compression.type", "none")]);
        let told = producer_config(&told, Role::DeadLetters).unwrap();
        assert_eq!(told.get("compression.codec"), Some("none"));
        let alone: BaseProducer = alone(&letters).create().unwrap();
        let found = effective(alone.client(), Role::DeadLetters);
        assert_eq!(
            (&*found["compression.codec"], &*found["message.max.bytes"]),
            ("zstd", "1000000000")
        );
    }

    #[test]
    fn two_names_of_one_property_are_one_setting() {
        for _ in 0..8 {
            // Our own default goes by another name than the one that was given.
            let given =
                settings(&[("queue.buffering.max.ms", "77"), ("request.required.acks", "1")]);
            let config = producer_config(&given, Role::Producer).unwrap();
            let config = config.create_native_config().unwrap();
            assert_eq!(config.get("linger.ms").unwrap(), "77");
        }
        for (name, value) in [("auto.commit.enable", "true"), ("metadata.broker.list", "h:1")] {
            let err = consumer_config(&settings(&[(name, value)]), "g").unwrap_err();
            assert!(err.to_string().contains(name), "{err}");
        }
        let zero = producer_config(&settings(&[("request.required.acks", "0")]), Role::Producer);
        assert!(zero.is_err());
    }

    #[test]
    fn words_count_in_any_case_and_statistics_stay_on() {
        let config = consumer_config(&settings(&[("group.protocol", "Classic")]), "g").unwrap();
        assert_eq!(config.get("partition.assignment.strategy"), Some("cooperative-sticky"));
        assert!(consumer_config(&settings(&[("auto.offset.reset", "Earliest")]), "g").is_ok());
        for ms in ["0", "60000"] {
            assert!(consumer_config(&settings(&[(STATISTICS_MS, ms)]), "g").is_err(), "{ms}");
        }
        for (ms, good) in [("-1", false), ("0", false), ("300001", false), ("300000", true)] {
            let config = consumer_config(&settings(&[(REFRESH_MS, ms)]), "g");
            assert_eq!(config.is_ok(), good, "{ms}");
        }
        let config = consumer_config(&settings(&[]), "g").unwrap();
        assert_eq!(config.get(REFRESH_MS), Some("10000"));
        let nowhere = KafkaSettings { bootstrap_servers: String::new(), ..settings(&[]) };
        assert_eq!(consumer_config(&nowhere, "g").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn properties_pass_through_and_the_dangerous_ones_do_not() {
        let config = consumer_config(&settings(&[("session.timeout.ms", "6000")]), "g").unwrap();
        assert_eq!(config.get("session.timeout.ms"), Some("6000"));
        let both = settings(&[("session.timeout.ms", "6000"), ("dlq.linger.ms", "1")]);
        let config = producer_config(&both, Role::DeadLetters).unwrap();
        assert_eq!((config.get("session.timeout.ms"), config.get("linger.ms")), (None, Some("1")));
        for (key, value) in [("enable.auto.commit", "true"), ("no.such.property", "1")] {
            let err = consumer_config(&settings(&[(key, value)]), "g").unwrap_err();
            assert!(err.to_string().contains(key), "{err}");
        }
    }
}
