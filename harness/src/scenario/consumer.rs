//! Tables of a `[[group]]` whose consumer is somebody's own: how it is started, what it delivers where,
//! and where its dead letters are.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// Table `[group.consumer]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// Program and arguments; with `image`, the arguments alone. `{placeholders}` are filled in.
    pub command: Option<Spanned<Vec<Spanned<String>>>>,
    /// The image of a container, instead of a program of this machine.
    pub image: Option<Spanned<String>>,
    /// With `image`: the program and its first arguments, instead of the image's own.
    pub entrypoint: Option<Vec<String>>,
    /// With `image`: the user that it runs as, by default the image's own.
    pub user: Option<String>,
    /// Where it is started, relative to the scenario's file; by default that file's folder. With `image`, it
    /// is seen in the container under the same path, to be read.
    pub directory: Option<Spanned<String>>,
    /// Environment beside the documented one; `{placeholders}` in values are filled in.
    #[serde(default)]
    pub environment: BTreeMap<String, Spanned<String>>,
    /// How its processes are asked to stop.
    #[serde(default)]
    pub stop: Stop,
    /// What happens when a process ends by itself; by default that ends the run.
    pub restarts: Option<Restarts>,
    /// What is waited for before the load begins: `group` (all members have joined) or `none`.
    pub ready: Option<Spanned<String>>,
    /// It is ready within this time, `60s`.
    pub ready_within: Option<Spanned<String>>,
    /// Where it begins in a partition in which it has committed nothing: `earliest` or `latest`.
    pub starts: Option<Spanned<String>>,
    /// It may go back to an offset that is not committed at any time.
    #[serde(default)]
    pub may_seek_back: bool,
    /// It commits at least this often while there is something to commit, `5s`.
    pub commits_every: Option<Spanned<String>>,
}

/// Key `stop` of `[group.consumer]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// The signal, `SIGTERM`.
    pub signal: Option<Spanned<String>>,
    /// It has ended within this time, or is killed.
    pub within: Option<Spanned<String>>,
}

/// Key `restarts` of `[group.consumer]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restarts {
    /// It is started again after this time, `1s`.
    pub after: Option<Spanned<String>>,
    /// How often; one end more is a crash loop, and it stays down.
    pub at_most: Spanned<i64>,
}

/// Table `[group.delivery]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// `files`, `objects`, `rows` or `topic`.
    pub kind: Spanned<String>,
    /// Of rows: the table.
    pub table: Option<Spanned<String>>,
    /// Of rows: SQL that is run before the first consumer is started, `CREATE TABLE …`.
    pub setup: Option<Spanned<String>>,
    /// Of a consumer that is only observed: its folder, `gs://bucket/prefix`, or its topic. In a scenario
    /// the harness makes the place.
    pub at: Option<Spanned<String>>,
    /// Names below the place of delivery that count, `**/*.jsonl`; all others are left alone.
    pub include: Option<Spanned<String>>,
    /// Of files: `final-name`, a file is whole, and stays as it is, from when it has such a name on; or
    /// `appended`, each line counts when it is there.
    pub durable: Option<Spanned<String>>,
    /// Of files and objects: `json-lines`, `json`, `csv`, `avro`, `parquet` or `text`.
    pub format: Option<Spanned<String>>,
    /// What was delivered may be replaced.
    #[serde(default)]
    pub overwrites: bool,
    /// Where a delivered line says which record it is.
    pub record: Option<Spanned<Mapping>>,
    /// What is promised of values: `bytes`, `json` or `none`.
    pub compare: Option<Spanned<String>>,
}

/// Table `[group.dead_letters]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetters {
    /// The topic; by default one of the group's own.
    pub topic: Option<Spanned<String>>,
    /// Where a letter says which record it is of. Without, its value has to be the record's own.
    pub record: Option<Spanned<Mapping>>,
    /// What is promised of values: `bytes`, `json` or `none`.
    pub compare: Option<Spanned<String>>,
}

/// Where it is said which record of the topic under test something is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// JSON pointer to the topic; by default it is the topic under test.
    pub topic: Option<Spanned<String>>,
    /// JSON pointer to the partition.
    pub partition: Option<Spanned<String>>,
    /// JSON pointer to the offset.
    pub offset: Option<Spanned<String>>,
    /// Of files and objects: what their names are like, with `{topic}`, `{partition}` and
    /// `{start_offset}` of the first record in them; the others follow it without a gap. Instead of
    /// partition and offset.
    pub name: Option<Spanned<String>>,
    /// JSON pointers, and what must stand there for a line to be a record at all.
    pub only: BTreeMap<String, Spanned<String>>,
    /// JSON pointer to the key as text.
    pub key: Option<Spanned<String>>,
    /// JSON pointer to the key in base64.
    pub key_base64: Option<Spanned<String>>,
    /// JSON pointer to the value: its text, or the JSON itself.
    pub value: Option<Spanned<String>>,
    /// JSON pointer to the value in base64.
    pub value_base64: Option<Spanned<String>>,
    /// JSON pointer to the number of the operation, which each payload has in `op`; instead of
    /// partition and offset.
    pub op: Option<Spanned<String>>,
    /// Of records of a topic: the headers that say topic, partition and offset, instead of pointers.
    pub headers: Option<HeaderNames>,
}

/// Key `headers` of a mapping.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderNames {
    /// The header that names the topic; by default it is the topic under test.
    pub topic: Option<String>,
    /// The one that names the partition.
    pub partition: String,
    /// The one that names the offset.
    pub offset: String,
}
