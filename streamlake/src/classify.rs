//! What is done about each failure, in one place.
//!
//! | failure | decision |
//! |---|---|
//! | store: no connection, reset, time-out, 408, 429, any 5xx, local I/O error | retry |
//! | store: any other 3xx or 4xx while running (a token expired, a bucket is being moved, a proxy in between has its own opinion) | retry |
//! | store: any other 3xx or 4xx at start-up, a local directory that may not be written, a file system without hard links, fsync or flock | stop |
//! | store: 413 (the same bytes will never be smaller), an operation it does not have, an impossible path | stop |
//! | store: the object exists, precondition failed | not a failure: see [`crate::raw_zone::writer`] |
//! | Kafka: everything that the client retries, transport, coordinator, time-outs | retry |
//! | Kafka: authentication, authorization, unknown topic while running | retry |
//! | Kafka: no right to the group or the topic, another protocol than the group's, a session timeout that it does not allow, before the first assignment | stop |
//! | Kafka: an unknown topic before the first assignment (it may be made later) | retry, unhealthy |
//! | Kafka: wrong credentials, a certificate that is not trusted, at start-up | stop |
//! | Kafka: fatal client error, unsupported version, fenced static member | stop |
//! | Kafka: a batch that fails its checksum, or that the client cannot read | stop |
//! | dead letter: larger than its topic takes, refused as invalid by the broker | stop |
//! | payload: not UTF-8, not JSON, field missing or of a wrong type, bad `event_time`, no value | dead letter |
//!
//! A failure of a service never makes a dead letter, and a payload never makes a retry. What is
//! stopped on has not been committed past: the next start meets it again.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::error::Error as StdError;

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again, with back-off, without limit; commit nothing meanwhile.
    Retry,
    /// Put the record into the dead-letter topic, then go on.
    DeadLetter,
    /// Stop the process with a message.
    Stop,
}

/// When the failure happened: at start-up a refusal is a wrong setting, later it is transient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the first record.
    StartUp,
    /// While records flow.
    Running,
}

/// A failure of the object store.
pub fn store(err: &object_store::Error, phase: Phase) -> Decision {
    use object_store::Error as E;
    let refusal = match phase {
        Phase::StartUp => Decision::Stop,
        Phase::Running => Decision::Retry,
    };
    match err {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } | E::NotFound { .. } => refusal,
        // An answer to a question that was never asked.
        E::NotModified { .. } => refusal,
        E::Generic { .. } if io_refusal(err) => refusal,
        E::Generic { .. } => match http_status(err) {
            Some(408 | 429 | 500..=599) | None => Decision::Retry,
            Some(413) => Decision::Stop,
            // A token service in trouble answers with 400; a proxy, a portal or a gateway on the way with
            // whatever it likes. What worked a moment ago is not hopeless for good.
            Some(_) => refusal,
        },
        E::JoinError { .. } | E::Precondition { .. } | E::AlreadyExists { .. } => Decision::Retry,
        _ => Decision::Stop,
    }
}

/// A local directory that this process may not write, or whose file system lacks what a raw zone needs
/// (links, fsync, locks): some mounts of object stores, of Windows shares and of NFS do.
fn io_refusal(err: &object_store::Error) -> bool {
    use std::io::ErrorKind as Kind;
    let mut cause: Option<&dyn StdError> = Some(err);
    while let Some(err) = cause {
        if let Some(io) = err.downcast_ref::<std::io::Error>() {
            return matches!(
                io.kind(),
                Kind::PermissionDenied
                    | Kind::ReadOnlyFilesystem
                    | Kind::NotADirectory
                    | Kind::Unsupported
                    | Kind::CrossesDevices
                    | Kind::InvalidInput
            ) || io.raw_os_error() == Some(NO_LOCKS);
        }
        cause = err.source();
    }
    false
}

/// ENOLCK, for which the standard library has no word: an NFS mount without a lock daemon.
const NO_LOCKS: i32 = 37;

/// The HTTP status in a store's error. The crate keeps the type to itself, so its text is read.
fn http_status(err: &object_store::Error) -> Option<u16> {
    let mut cause: Option<&dyn StdError> = Some(err);
    while let Some(err) = cause {
        let text = err.to_string();
        if let Some((_, rest)) = text.split_once("non-2xx status code: ") {
            return rest.get(..3)?.parse().ok();
        }
        cause = err.source();
    }
    None
}

/// A failure that a poll, a commit or a subscription reports.
pub fn consumer(err: &KafkaError) -> Decision {
    if matches!(err, KafkaError::MessageConsumptionFatal(_)) {
        return Decision::Stop;
    }
    match err.rdkafka_error_code() {
        Some(Code::Fatal | Code::UnsupportedVersion | Code::FencedInstanceId) => Decision::Stop,
        Some(Code::UnsupportedSASLMechanism | Code::InvalidGroupId) => Decision::Stop,
        _ => Decision::Retry,
    }
}

/// A refusal to let this client into its group. Before it ever had a partition it is a wrong setting.
pub fn joining(err: &KafkaError, phase: Phase) -> Decision {
    match (phase, err.rdkafka_error_code()) {
        (
            Phase::StartUp,
            Some(
                Code::GroupAuthorizationFailed
                | Code::TopicAuthorizationFailed
                | Code::InconsistentGroupProtocol
                | Code::InvalidSessionTimeout
                | Code::InvalidTopic,
            ),
        ) => Decision::Stop,
        _ => Decision::Retry,
    }
}

/// An error in place of a partition's records. To go on behind a batch that cannot be read would lose
/// what it holds.
pub fn fetched(err: &KafkaError) -> Decision {
    match err.rdkafka_error_code() {
        Some(
            Code::BadMessage
            | Code::InvalidMessage
            | Code::BadCompression
            | Code::NotImplemented
            | Code::AutoOffsetReset,
        ) => Decision::Stop,
        _ => consumer(err),
    }
}

/// A failure of a connection, as the client's error callback tells it with its reason. The client
/// goes on trying by itself: a retry is nothing to be done.
pub fn connection(err: &KafkaError, reason: &str, phase: Phase) -> Decision {
    let refused = match err.rdkafka_error_code() {
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => true,
        Some(Code::UnsupportedSASLMechanism) => true,
        // A broker that goes away in the middle of a handshake is no refusal.
        Some(Code::SSL) => !reason.contains("Disconnected"),
        _ => false,
    };
    match phase {
        Phase::StartUp if refused => Decision::Stop,
        _ => Decision::Retry,
    }
}

/// A failure to write a dead letter.
pub fn dead_letter(err: &KafkaError) -> Decision {
    match err.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => Decision::Stop,
        Some(Code::InvalidRecord | Code::InvalidMessage | Code::InvalidTopic) => Decision::Stop,
        Some(Code::UnsupportedVersion) => Decision::Stop,
        // `Fatal` too: the idempotent producer is spent, and a new one takes its place.
        _ => Decision::Retry,
    }
}

/// A payload that its schema does not accept.
pub fn payload(_invalid: &crate::record::Invalid) -> Decision {
    Decision::DeadLetter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "GCS", source: text.to_owned().into() }
    }

    #[test]
    fn the_stores_table() {
        use Decision::{Retry, Stop};
        let status =
            |code: &str| generic(&format!("Server returned non-2xx status code: {code} X: "));
        let rows = [
            (status("503"), Retry, Retry),
            (status("500"), Retry, Retry),
            (status("429"), Retry, Retry),
            (status("408"), Retry, Retry),
            (status("400"), Stop, Retry),
            (status("413"), Stop, Stop),
            (status("302"), Stop, Retry),
            (status("405"), Stop, Retry),
            (status("407"), Stop, Retry),
            (status("410"), Stop, Retry),
            (status("418"), Stop, Retry),
            (
                object_store::Error::NotModified { path: "p".into(), source: "x".into() },
                Stop,
                Retry,
            ),
            (
                object_store::Error::NotImplemented {
                    operation: "o".into(),
                    implementer: "i".into(),
                },
                Stop,
                Stop,
            ),
            (generic("connection reset"), Retry, Retry),
            (generic("operation timed out"), Retry, Retry),
            (object_store::Error::NotFound { path: "p".into(), source: "x".into() }, Stop, Retry),
            (
                object_store::Error::PermissionDenied { path: "p".into(), source: "x".into() },
                Stop,
                Retry,
            ),
            (
                object_store::Error::Unauthenticated { path: "p".into(), source: "x".into() },
                Stop,
                Retry,
            ),
        ];
        for (err, at_start, running) in rows {
            assert_eq!(store(&err, Phase::StartUp), at_start, "{err}");
            assert_eq!(store(&err, Phase::Running), running, "{err}");
        }
    }

    #[test]
    fn a_file_system_that_cannot_hold_a_raw_zone_is_refused_at_the_start() {
        // EPERM, EXDEV, EINVAL, EROFS, ENOLCK, ENOSYS, EOPNOTSUPP; then EIO, ENOSPC, ESTALE, EDQUOT.
        let codes =
            [(1, true), (18, true), (22, true), (30, true), (37, true), (38, true), (95, true)];
        for (code, refused) in codes.into_iter().chain([5, 28, 116, 122].map(|code| (code, false)))
        {
            let source = Box::new(std::io::Error::from_raw_os_error(code));
            let err = object_store::Error::Generic { store: "LocalFileSystem", source };
            assert_eq!(store(&err, Phase::StartUp) == Decision::Stop, refused, "{err}");
            assert_eq!(store(&err, Phase::Running), Decision::Retry, "{err}");
        }
    }

    #[test]
    fn the_table_of_connections() {
        use Decision::{Retry, Stop};
        for (code, reason, at_start) in [
            (Code::Authentication, "SASL authentication error: invalid credentials", Stop),
            (Code::SaslAuthenticationFailed, "", Stop),
            (Code::UnsupportedSASLMechanism, "", Stop),
            (Code::SSL, "SSL handshake failed: certificate verify failed", Stop),
            (Code::SSL, "SSL handshake failed: Disconnected: connecting to a PLAINTEXT", Retry),
            (Code::BrokerTransportFailure, "Connection refused", Retry),
            (Code::AllBrokersDown, "1/1 brokers are down", Retry),
            (Code::Resolve, "Failed to resolve", Retry),
        ] {
            let err = KafkaError::Global(code);
            assert_eq!(connection(&err, reason, Phase::StartUp), at_start, "{code:?} {reason}");
            assert_eq!(connection(&err, reason, Phase::Running), Retry, "{code:?} {reason}");
        }
    }

    #[test]
    fn kafkas_table() {
        use Decision::{Retry, Stop};
        for (code, decision) in [
            (Code::BrokerTransportFailure, Retry),
            (Code::AllBrokersDown, Retry),
            (Code::OperationTimedOut, Retry),
            (Code::CoordinatorNotAvailable, Retry),
            (Code::RebalanceInProgress, Retry),
            (Code::IllegalGeneration, Retry),
            (Code::UnknownTopicOrPartition, Retry),
            (Code::TopicAuthorizationFailed, Retry),
            (Code::Fatal, Stop),
            (Code::FencedInstanceId, Stop),
            (Code::UnsupportedVersion, Stop),
        ] {
            assert_eq!(consumer(&KafkaError::MessageConsumption(code)), decision, "{code:?}");
        }
        for (code, decision) in [
            (Code::BadMessage, Stop),
            (Code::InvalidMessage, Stop),
            (Code::BadCompression, Stop),
            (Code::AutoOffsetReset, Stop),
            (Code::OffsetOutOfRange, Retry),
            (Code::UnknownTopicOrPartition, Retry),
        ] {
            assert_eq!(fetched(&KafkaError::MessageConsumption(code)), decision, "{code:?}");
        }
        for (code, decision) in [
            (Code::MessageTimedOut, Retry),
            (Code::QueueFull, Retry),
            (Code::NotEnoughReplicas, Retry),
            (Code::TopicAuthorizationFailed, Retry),
            (Code::Fatal, Retry),
            (Code::MessageSizeTooLarge, Stop),
            (Code::InvalidRecord, Stop),
        ] {
            assert_eq!(dead_letter(&KafkaError::MessageProduction(code)), decision, "{code:?}");
        }
    }
}
