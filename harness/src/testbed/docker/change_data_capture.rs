//! Change data capture: PostgreSQL with logical decoding, and a Kafka Connect worker that has
//! Debezium's connector. Connectors are the scenario's business; the testbed brings what they need.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::kafka;
use super::postgres::{DatabaseConnection, NAME};
use super::store::get_json;
use crate::testbed::ClockReading;

/// PostgreSQL's port within its container.
pub(super) const DATABASE_PORT: u16 = 5432;
/// Port of Kafka Connect's REST interface within its container.
pub(super) const CONNECT_PORT: u16 = 8083;

/// Where a connector finds the database, and as whom: `database.hostname` and so on, as Debezium's
/// PostgreSQL connector names them.
pub(super) fn source_properties(database_host: &str) -> BTreeMap<String, String> {
    [
        ("database.hostname", database_host.to_owned()),
        ("database.port", DATABASE_PORT.to_string()),
        ("database.user", NAME.to_owned()),
        ("database.password", NAME.to_owned()),
        ("database.dbname", NAME.to_owned()),
        ("plugin.name", "pgoutput".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Environment of the database: no password, since only this machine and the run's own network
/// reach it.
pub(super) fn database_environment() -> BTreeMap<String, String> {
    [
        ("POSTGRES_USER", NAME),
        ("POSTGRES_PASSWORD", NAME),
        ("POSTGRES_DB", NAME),
        ("POSTGRES_HOST_AUTH_METHOD", "trust"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Arguments of the database server. What it logs of its senders is read later, in this form.
pub(super) fn database_arguments() -> Vec<String> {
    [
        "postgres",
        "-c",
        "wal_level=logical",
        "-c",
        // When a row that was delivered became durable.
        "track_commit_timestamp=on",
        "-c",
        "log_line_prefix=%m [%p] ",
        "-c",
        "log_timezone=UTC",
    ]
    .map(str::to_owned)
    .into()
}

/// Environment of the Connect worker, with the scenario's own properties over the testbed's.
pub(super) fn connect_environment(
    broker_hosts: &[String],
    properties: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let replication = broker_hosts.len().min(3).to_string();
    let mut environment: BTreeMap<String, String> = [
        ("BOOTSTRAP_SERVERS", kafka::internal_bootstrap_servers(broker_hosts)),
        ("GROUP_ID", "streamlake-connect".to_owned()),
        ("CONFIG_STORAGE_TOPIC", "streamlake-connect-configs".to_owned()),
        ("OFFSET_STORAGE_TOPIC", "streamlake-connect-offsets".to_owned()),
        ("STATUS_STORAGE_TOPIC", "streamlake-connect-status".to_owned()),
        // The defaults, 25 and 5, take a small machine seconds to create and to read.
        ("CONNECT_OFFSET_STORAGE_PARTITIONS", "1".to_owned()),
        ("CONNECT_STATUS_STORAGE_PARTITIONS", "1".to_owned()),
        // A worker that was killed would be waited for as long as the default, 5 minutes.
        ("CONNECT_SCHEDULED_REBALANCE_MAX_DELAY_MS", "0".to_owned()),
        ("HEAP_OPTS", "-Xmx384m".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    for topic in ["CONFIG", "OFFSET", "STATUS"] {
        let name = format!("CONNECT_{topic}_STORAGE_REPLICATION_FACTOR");
        environment.insert(name, replication.clone());
    }
    for (name, value) in properties {
        let long = format!("CONNECT_{}", name.to_uppercase().replace('.', "_"));
        let short = SHORT_NAMES.iter().find(|(property, _)| property == name);
        let name = short.map_or(long, |(_, short)| (*short).to_owned());
        environment.insert(name, value.clone());
    }
    environment
}

/// Properties that the official image takes by these variables only: it overwrites the long form,
/// `CONNECT_…`, with the short one or its default.
const SHORT_NAMES: [(&str, &str); 14] = [
    ("bootstrap.servers", "BOOTSTRAP_SERVERS"),
    ("group.id", "GROUP_ID"),
    ("config.storage.topic", "CONFIG_STORAGE_TOPIC"),
    ("offset.storage.topic", "OFFSET_STORAGE_TOPIC"),
    ("status.storage.topic", "STATUS_STORAGE_TOPIC"),
    ("key.converter", "KEY_CONVERTER"),
    ("value.converter", "VALUE_CONVERTER"),
    ("offset.flush.interval.ms", "OFFSET_FLUSH_INTERVAL_MS"),
    ("offset.flush.timeout.ms", "OFFSET_FLUSH_TIMEOUT_MS"),
    ("task.shutdown.graceful.timeout.ms", "SHUTDOWN_TIMEOUT"),
    ("rest.host.name", "REST_HOST_NAME"),
    ("rest.port", "REST_PORT"),
    ("rest.advertised.host.name", "ADVERTISED_HOST_NAME"),
    ("rest.advertised.port", "ADVERTISED_PORT"),
];

/// Asks the database something that only a server which serves can answer.
pub(super) async fn probe_database(
    address: SocketAddr,
    within: Duration,
) -> Result<String, String> {
    let mut connection = DatabaseConnection::open(address, within).await?;
    let rows = connection.run("SELECT pg_is_in_recovery()").await?;
    let recovering: String = rows.into_iter().flatten().flatten().collect();
    Ok(format!("PostgreSQL {}, in recovery: {recovering}", connection.version()))
}

/// Lists the worker's connectors.
pub(super) async fn probe_connect(
    http: &reqwest::Client,
    url: &str,
    within: Duration,
) -> Result<String, String> {
    let connectors: Vec<String> = get_json(http, format!("{url}/connectors"), within).await?;
    Ok(format!("connectors {connectors:?}"))
}

/// What the database reports of the settings that change data capture hangs on.
pub(super) async fn database_configuration(
    address: SocketAddr,
    within: Duration,
) -> Result<BTreeMap<String, String>, String> {
    const STATEMENT: &str = "SELECT name, setting FROM pg_settings WHERE name IN \
        ('fsync', 'max_replication_slots', 'max_wal_senders', 'server_version', \
        'synchronous_commit', 'wal_level')";
    let mut connection = DatabaseConnection::open(address, within).await?;
    let rows = connection.run(STATEMENT).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let mut columns = row.into_iter();
            Some((columns.next()??, columns.next()??))
        })
        .collect())
}

/// Has the database stamp an instant.
pub(super) async fn database_clock(
    address: SocketAddr,
    within: Duration,
) -> Result<ClockReading, String> {
    const STATEMENT: &str = "SELECT trunc(extract(epoch from clock_timestamp()) * 1000000)::bigint";
    let mut connection = DatabaseConnection::open(address, within).await?;
    let rows = connection.run(STATEMENT).await?;
    let stamp = rows.into_iter().flatten().flatten().next();
    let stamp_us = stamp.and_then(|text| text.parse().ok()).ok_or("no instant was answered")?;
    let how = "clock_timestamp() of the database".to_owned();
    Ok(ClockReading { stamp_us, resolution_us: 1, how })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_worker_replicates_its_topics_as_far_as_there_are_brokers() {
        let none = BTreeMap::new();
        let one = connect_environment(&["a".to_owned()], &none);
        assert_eq!(one["CONNECT_OFFSET_STORAGE_REPLICATION_FACTOR"], "1");
        assert_eq!(one["BOOTSTRAP_SERVERS"], "a:9095");
        let hosts = ["a", "b", "c"].map(str::to_owned);
        let three = connect_environment(&hosts, &none);
        assert_eq!(three["CONNECT_CONFIG_STORAGE_REPLICATION_FACTOR"], "3");
    }

    #[test]
    fn the_workers_own_properties_become_its_environment() {
        let properties = [
            ("offset.flush.interval.ms", "5000"),
            ("session.timeout.ms", "6000"),
            ("task.shutdown.graceful.timeout.ms", "2000"),
            ("value.converter.schemas.enable", "false"),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = connect_environment(&["a".to_owned()], &properties.into());
        assert_eq!(environment["OFFSET_FLUSH_INTERVAL_MS"], "5000");
        assert_eq!(environment["CONNECT_SESSION_TIMEOUT_MS"], "6000");
        assert_eq!(environment["SHUTDOWN_TIMEOUT"], "2000");
        assert!(!environment.contains_key("CONNECT_TASK_SHUTDOWN_GRACEFUL_TIMEOUT_MS"));
        assert_eq!(environment["CONNECT_VALUE_CONVERTER_SCHEMAS_ENABLE"], "false");
    }

    #[test]
    fn connectors_are_told_the_database_by_its_name_in_the_network() {
        let properties = source_properties("streamlake-0badcafe-database");
        assert_eq!(properties["database.hostname"], "streamlake-0badcafe-database");
        assert_eq!(properties["database.port"], "5432");
    }
}
