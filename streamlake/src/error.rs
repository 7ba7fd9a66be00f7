//! The errors of the library. Each kind tells a caller what can be done about it; each text says
//! where it happened and, where there is one, the remedy.

use rdkafka::error::KafkaError;

/// Anything that makes StreamLake give up. What is retried never becomes an `Error`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings that cannot work. Nothing was started.
    #[error("settings: {0}")]
    Config(String),
    /// Kafka refused in a way that trying again does not mend.
    #[error("Kafka, {doing}: {source}")]
    Kafka {
        /// What was being done.
        doing: String,
        /// What the client library says.
        #[source]
        source: KafkaError,
    },
    /// A batch in the log that cannot be read.
    #[error(
        "{place}: what stands at or behind offset {offset} cannot be read ({source}); nothing behind it \
         was committed. A batch that unfolds to more than receive.message.max.bytes (100 MB unless set with \
         -X; with zstd a third of it may be too much) ends like this, too. Look at it with kafka-dump-log on each replica; another replica may hold it whole \
         (make that one the leader), else delete up to it or reset the group past it, knowingly"
    )]
    Unreadable {
        /// Topic and partition.
        place: String,
        /// The next offset to be read.
        offset: i64,
        /// What the client library says.
        #[source]
        source: KafkaError,
    },
    /// The object store refused in a way that trying again does not mend.
    #[error("object store, {doing}: {source}")]
    Store {
        /// What was being done.
        doing: String,
        /// What the store says.
        #[source]
        source: object_store::Error,
    },
    /// The object store breaks a promise that the raw zone rests on.
    #[error("this object store cannot hold a raw zone: {0}")]
    StoreUnfit(String),
    /// A record that can neither be stored nor be put into the dead-letter topic.
    #[error("{0}")]
    Stuck(String),
    /// The operation is refused in the present state (a replay while members are active).
    #[error("refused: {0}")]
    Refused(String),
    /// A file or a socket.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mend the settings or the command line.
    Usage,
    /// Bring about another state (stop the consumers) and call again.
    Refused,
    /// Look at the service named in the text, then start again; nothing is lost.
    Environment,
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Config(_) => Kind::Usage,
            Error::Refused(_) => Kind::Refused,
            _ => Kind::Environment,
        }
    }

    /// The exit code of a command that ends with this error: 2 usage, 3 refused, 1 all others.
    pub fn exit_code(&self) -> u8 {
        match self.kind() {
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::Environment => 1,
        }
    }

    pub(crate) fn kafka(doing: impl Into<String>) -> impl FnOnce(KafkaError) -> Error {
        let doing = doing.into();
        move |source| Error::Kafka { doing, source }
    }

    pub(crate) fn store(doing: impl Into<String>) -> impl FnOnce(object_store::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Store { doing, source }
    }

    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
