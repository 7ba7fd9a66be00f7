//! What the gateway asks of a store, in the store's own terms.

use std::collections::BTreeMap;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Response, request};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::testbed::ClockReading;

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectMeta {
    /// Full name, with slashes.
    pub name: String,
    /// Rises with every write to the name.
    pub generation: u64,
    /// When this generation was created. The in-memory store takes it at the instant from which the
    /// object can be read; the emulator takes it a little before that.
    pub created: DateTime<Utc>,
    /// Size in bytes.
    pub bytes: u64,
    /// The store's checksum of the content with its kind, `md5:…` or `sha256:…`.
    pub checksum: Option<String>,
    /// The entity tag, without quotes.
    pub etag: String,
    /// Header name in lower case → value: `content-type`, `x-goog-meta-…` and their kin.
    pub attributes: BTreeMap<String, String>,
}

/// An object with its content.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Everything but the content. From the emulator, `created` has a resolution of one second
    /// here; a listing has it exactly.
    pub meta: ObjectMeta,
    /// The content.
    pub content: Bytes,
}

/// A write.
#[derive(Debug, Clone)]
pub struct Put {
    /// Bucket.
    pub bucket: String,
    /// Object name.
    pub name: String,
    /// Content.
    pub content: Bytes,
    /// See [`ObjectMeta::attributes`].
    pub attributes: BTreeMap<String, String>,
    /// The generation that must be there: 0 for none at all. Without it the write is unconditional.
    pub if_generation: Option<u64>,
}

/// What to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListQuery {
    /// Names begin with this.
    pub prefix: String,
    /// Names are cut after the first delimiter that follows the prefix, into `prefixes`.
    pub delimiter: Option<String>,
    /// Names are greater than this.
    pub start_after: Option<String>,
    /// From [`ListPage::next`].
    pub token: Option<String>,
    /// At most so many names and prefixes together, where the store counts so.
    pub limit: usize,
}

/// A page of a listing, in the order of names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListPage {
    /// Objects.
    pub objects: Vec<ObjectMeta>,
    /// Cut names.
    pub prefixes: Vec<String>,
    /// Asks for the next page; `None` on the last.
    pub next: Option<String>,
}

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// No such object, or not in this generation.
    #[error("no such object")]
    NoObject,
    /// No such bucket.
    #[error("no such bucket")]
    NoBucket,
    /// The generation that had to be there was not.
    #[error("the precondition failed")]
    Precondition,
    /// The request makes no sense to the store.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// The store answered with this status.
    #[error("the store answered with status {0}: {1}")]
    Status(u16, String),
    /// The store took no connection, or broke it; whether a write was done is unknown.
    #[error("the store was not reached: {0}")]
    Unreachable(String),
}

/// Has a store stamp an object, and deletes it. Its name is that of a probe, outside every raw zone.
/// Stamps of this store are cut off at multiples of `resolution_us`.
pub(crate) async fn clock(
    store: &dyn Backend,
    bucket: &str,
    resolution_us: i64,
) -> Result<ClockReading, String> {
    let name = format!(".probe-clock-{}", uuid::Uuid::new_v4());
    let put = Put {
        bucket: bucket.to_owned(),
        name: name.clone(),
        content: Bytes::new(),
        attributes: BTreeMap::new(),
        if_generation: None,
    };
    let stamped = store.put(put).await.map_err(|error| error.to_string())?.created;
    // One that stays is in nobody's way.
    let _ = store.delete(bucket, &name, None).await;
    let how = "creation of an object of the harness".to_owned();
    Ok(ClockReading { stamp_us: stamped.timestamp_micros(), resolution_us, how })
}

/// A store behind the gateway.
#[async_trait]
pub trait Backend: Send + Sync {
    /// For log lines and the report.
    fn describe(&self) -> String;

    /// Creates a bucket; one that is there already is left as it is.
    async fn create_bucket(&self, bucket: &str) -> Result<(), StoreError>;

    /// Writes an object and returns it as it is stored; the precondition and the write are one.
    async fn put(&self, put: Put) -> Result<ObjectMeta, StoreError>;

    /// Reads an object, in this generation if one is named.
    async fn get(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Object, StoreError>;

    /// The same without its content.
    async fn head(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<ObjectMeta, StoreError>;

    /// Deletes an object; with `if_generation` only if that is its generation.
    async fn delete(
        &self,
        bucket: &str,
        name: &str,
        if_generation: Option<u64>,
    ) -> Result<(), StoreError>;

    /// Lists objects.
    async fn list(&self, bucket: &str, query: &ListQuery) -> Result<ListPage, StoreError>;

    /// Answers a request to the JSON API.
    async fn json(&self, head: &request::Parts, body: Bytes) -> Result<Response<Body>, StoreError>;
}
