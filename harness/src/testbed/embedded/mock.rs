//! librdkafka's mock cluster, through its C interface.
//!
//! The Rust crate's own `MockCluster` hides the pointer and offers neither advertised addresses
//! nor the rebalance delay, so the C functions are called here.
#![allow(unsafe_code, reason = "calls librdkafka's mock API, which has no safe binding")]

use std::ffi::{CStr, CString, NulError, c_int};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

/// Why the mock cluster did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum MockError {
    #[error("librdkafka could not make the client that hosts the mock cluster: {0}")]
    Client(#[from] KafkaError),
    #[error("librdkafka could not make a mock cluster of {0} brokers")]
    Cluster(i32),
    #[error("{0:?} holds a zero byte")]
    Name(#[from] NulError),
    #[error("librdkafka refused: {0}")]
    Refused(RDKafkaErrorCode),
    #[error("{0} is too large a number")]
    Number(u64),
}

/// Sends what librdkafka logs to the standard error, which the harness keeps.
struct ToStandardError;

impl ClientContext for ToStandardError {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        eprintln!("librdkafka {level:?} {facility}: {message}");
    }
}

impl ProducerContext for ToStandardError {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}

/// A running mock cluster. Its brokers are numbered from 1.
pub(super) struct Mock {
    /// Never null while this value lives, and destroyed exactly once, by `drop`.
    cluster: *mut c::rd_kafka_mock_cluster_t,
    /// Owns the handle that the cluster needs; declared after the cluster, and dropped after it.
    _client: BaseProducer<ToStandardError>,
}

impl Mock {
    /// Starts `brokers` brokers, each listening on a free loopback port.
    pub(super) fn start(brokers: u32) -> Result<Self, MockError> {
        let client: BaseProducer<ToStandardError> =
            ClientConfig::new().create_with_context(ToStandardError)?;
        let brokers = number(brokers)?;
        // SAFETY: `native_ptr` is the live handle that `client` owns; `client` is kept in the same
        // value as the cluster and dropped after it, so the handle outlives the cluster.
        let cluster =
            unsafe { c::rd_kafka_mock_cluster_new(client.client().native_ptr(), brokers) };
        if cluster.is_null() {
            return Err(MockError::Cluster(brokers));
        }
        Ok(Self { cluster, _client: client })
    }

    /// The ports on which the brokers listen, in the order of their numbers.
    pub(super) fn ports(&self) -> Vec<u16> {
        // SAFETY: `self.cluster` is live. The answer is a zero-terminated string that belongs to
        // the cluster, does not change after its creation, and is copied here.
        let listed = unsafe { CStr::from_ptr(c::rd_kafka_mock_cluster_bootstraps(self.cluster)) };
        let listed = listed.to_string_lossy();
        listed.split(',').filter_map(|one| one.rsplit(':').next()?.parse().ok()).collect()
    }

    /// How long a new group waits for more members before its first assignment.
    pub(super) fn set_initial_rebalance_delay(&self, delay: Duration) -> Result<(), MockError> {
        let delay = number(delay.as_millis().try_into().unwrap_or(u64::MAX))?;
        // SAFETY: `self.cluster` is live; the other argument is plain data.
        unsafe { c::rd_kafka_mock_group_initial_rebalance_delay_ms(self.cluster, delay) };
        Ok(())
    }

    /// Makes a broker tell clients to come to this address. It goes on listening where it did.
    pub(super) fn advertise(&self, broker: u32, host: &str, port: u16) -> Result<(), MockError> {
        let (broker, host) = (number(broker)?, CString::new(host)?);
        // SAFETY: `self.cluster` is live, and `host` is a zero-terminated string that outlives the
        // call, which copies it. An unknown broker is ignored.
        unsafe {
            c::rd_kafka_mock_broker_set_host_port(self.cluster, broker, host.as_ptr(), port.into());
        }
        Ok(())
    }

    pub(super) fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        replication: u32,
    ) -> Result<(), MockError> {
        let name = CString::new(name)?;
        let (partitions, replication) = (number(partitions)?, number(replication)?);
        // SAFETY: `self.cluster` is live, and `name` is a zero-terminated string that outlives the
        // call, which copies it.
        let answer = unsafe {
            c::rd_kafka_mock_topic_create(self.cluster, name.as_ptr(), partitions, replication)
        };
        checked(answer)
    }

    /// Closes the broker's connections and stops listening; its partitions keep their records.
    pub(super) fn down(&self, broker: u32) -> Result<(), MockError> {
        let broker = number(broker)?;
        // SAFETY: `self.cluster` is live; the other argument is plain data.
        checked(unsafe { c::rd_kafka_mock_broker_set_down(self.cluster, broker) })
    }

    /// Listens again on the same port.
    pub(super) fn up(&self, broker: u32) -> Result<(), MockError> {
        let broker = number(broker)?;
        // SAFETY: `self.cluster` is live; the other argument is plain data.
        checked(unsafe { c::rd_kafka_mock_broker_set_up(self.cluster, broker) })
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // SAFETY: `self.cluster` is live and nobody else destroys it; the client is dropped after.
        unsafe { c::rd_kafka_mock_cluster_destroy(self.cluster) };
    }
}

fn checked(answer: c::rd_kafka_resp_err_t) -> Result<(), MockError> {
    match RDKafkaErrorCode::from(answer) {
        RDKafkaErrorCode::NoError => Ok(()),
        code => Err(MockError::Refused(code)),
    }
}

fn number(value: impl Into<u64>) -> Result<c_int, MockError> {
    let value = value.into();
    c_int::try_from(value).map_err(|_| MockError::Number(value))
}
