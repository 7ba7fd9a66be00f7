//! What a file says of a cluster and a store that are somebody's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::observer::Brokers;
use crate::scenario::{Scenario, ScenarioError, ScenarioFile};
use crate::testbed::Abilities;

/// Names of everything that a run makes begin with this, where the file says nothing else.
const PREFIX: &str = "streamlake-harness";

/// The file, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// `host:port,…` of the brokers.
    bootstrap_servers: Spanned<String>,
    /// librdkafka properties of all clients; `${NAME}` in a value is a variable of the environment.
    #[serde(default)]
    properties: BTreeMap<String, Spanned<String>>,
    /// Names of topics, groups and objects that runs make begin with this.
    prefix: Option<Spanned<String>>,
    /// The object store, if consumers deliver there.
    store: Option<StoreTable>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    /// Where it speaks the JSON API of Google Cloud Storage, `http://127.0.0.1:4443`.
    url: String,
    /// A bucket that is there.
    bucket: String,
}

/// A cluster and a store that are somebody's own.
#[derive(Debug, Clone)]
pub struct Description {
    /// The file.
    pub path: PathBuf,
    /// How clients reach the brokers.
    pub(super) brokers: Brokers,
    /// How names begin.
    pub(super) prefix: String,
    /// URL and bucket of the store.
    pub(super) store: Option<(String, String)>,
}

/// Why a file is no description.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Unread {
    /// It cannot be read.
    #[error("{path}: {source}")]
    #[diagnostic(help("name the file that describes the cluster"))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says something wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Mistake(#[from] ScenarioError),
}

impl Description {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub fn read(path: &Path) -> Result<Self, Unread> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Unread::File { path: path.to_owned(), source })?;
        Ok(Self::parse(path, text)?)
    }

    fn parse(path: &Path, text: String) -> Result<Self, ScenarioError> {
        let table: Table =
            toml::from_str(&text).map_err(|error| ScenarioFile::mistake(path, &text, &error))?;
        let file = ScenarioFile {
            name: String::new(),
            path: path.to_owned(),
            text,
            scenario: Scenario::observed(String::new(), Vec::new()),
        };
        if table.bootstrap_servers.get_ref().trim().is_empty() {
            let span = table.bootstrap_servers.span();
            return Err(file.error_at(span, "no broker is named", "write `host:port,host:port`"));
        }
        if let Some((name, value)) = table.properties.iter().find(|(name, _)| *name == "group.id") {
            let message = format!("`{name}` is the run's to say");
            return Err(file.error_at(value.span(), message, "remove it"));
        }
        let prefix = match &table.prefix {
            Some(prefix) if !can_begin_names(prefix.get_ref()) => {
                return Err(file.error_at(
                    prefix.span(),
                    format!("`{}` cannot begin the name of a topic", prefix.get_ref()),
                    "give 1 to 40 of a-z, 0-9 and `-`",
                ));
            }
            Some(prefix) => prefix.get_ref().clone(),
            None => PREFIX.to_owned(),
        };
        Ok(Self {
            path: path.to_owned(),
            brokers: Brokers {
                servers: table.bootstrap_servers.get_ref().clone(),
                properties: file.filled(&table.properties)?,
            },
            prefix,
            store: table
                .store
                .map(|store| (store.url.trim_end_matches('/').to_owned(), store.bucket)),
        })
    }

    /// What passes between clients and brokers can be looked at, and cut: it is not encrypted.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let protocol = self.brokers.properties.get("security.protocol");
        protocol.is_none_or(|protocol| !protocol.to_ascii_lowercase().ends_with("ssl"))
    }

    /// What can be done there, and vouched for.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        super::abilities_of(self.is_plain())
    }

    /// Consumers can deliver into an object store.
    #[must_use]
    pub fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// How the names of one run begin: no other run has the like.
    #[must_use]
    pub fn mark(&self) -> String {
        let id = uuid::Uuid::new_v4().simple().to_string();
        format!("{}-{}", self.prefix, &id[..8])
    }

    /// A scenario whose topics and groups bear a run's mark.
    #[must_use]
    pub fn marked(&self, file: &ScenarioFile, mark: &str) -> ScenarioFile {
        let bucket = self.store.as_ref().map(|(_, bucket)| bucket.as_str());
        ScenarioFile { scenario: file.scenario.clone().marked(mark, bucket), ..file.clone() }
    }
}

/// It is of the run with this mark.
pub(super) fn bears(name: &str, mark: &str) -> bool {
    name.strip_prefix(mark).is_some_and(|rest| rest.starts_with('-'))
}

fn can_begin_names(prefix: &str) -> bool {
    (1..=40).contains(&prefix.len())
        && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(text: &str) -> Result<Description, String> {
        let parsed = Description::parse(Path::new("cluster.toml"), text.to_owned());
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn a_cluster_is_described_and_mistakes_have_their_lines() {
        let text = "bootstrap_servers = \"a:9092,b:9092\"\nprefix = \"trial-7\"\n\
                    [properties]\n\"security.protocol\" = \"SASL_SSL\"\n\
                    [store]\nurl = \"http://store:4443/\"\nbucket = \"lake\"\n";
        let known = parsed(text).unwrap();
        assert_eq!(known.brokers.servers, "a:9092,b:9092");
        assert_eq!(known.brokers.properties["security.protocol"], "SASL_SSL");
        assert_eq!(known.store, Some(("http://store:4443".to_owned(), "lake".to_owned())));
        let (one, other) = (known.mark(), known.mark());
        assert!(one.starts_with("trial-7-") && one != other, "{one} {other}");
        let wrong = |from: &str, to: &str| parsed(&text.replace(from, to)).unwrap_err();
        let text = wrong("trial-7", "Trial 7");
        assert!(text.contains("cluster.toml:2: `Trial 7` cannot begin"), "{text}");
        assert!(wrong("a:9092,b:9092", " ").contains(":1: no broker is named"));
        assert!(wrong("bucket", "buckets").contains("unknown field `buckets`"));
        assert!(wrong("security.protocol", "group.id").contains(":4: `group.id` is the run's"));
        assert!(!known.is_plain() && parsed("bootstrap_servers = \"a:1\"").unwrap().is_plain());
        let text = wrong("SASL_SSL", "${THERE_IS_NO_SUCH_VARIABLE}");
        assert!(text.contains("no variable `THERE_IS_NO_SUCH_VARIABLE`"), "{text}");
    }

    #[test]
    fn a_mark_is_not_the_beginning_of_another() {
        assert!(bears("h-12ab34cd-billing", "h-12ab34cd"));
        assert!(!bears("h-12ab34cde-billing", "h-12ab34cd"));
        assert!(!bears("h-12ab34cd", "h-12ab34cd"));
    }
}
