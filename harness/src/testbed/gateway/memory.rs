//! A store in this process: the embedded testbed's.
//!
//! One lock over everything, so that a precondition and its write are one step and a listing is a
//! snapshot, as in Google's store. Without object versioning: a replaced generation is gone.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Response, request};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::backend::{Backend, ListPage, ListQuery, Object, ObjectMeta, Put, StoreError};
use super::json;

type Bucket = BTreeMap<String, Object>;

/// The store. It forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    buckets: BTreeMap<String, Bucket>,
    last_generation: u64,
}

impl Inner {
    fn bucket(&mut self, name: &str) -> Result<&mut Bucket, StoreError> {
        self.buckets.get_mut(name).ok_or(StoreError::NoBucket)
    }

    /// The instant of a write and the generation made from it (microseconds, as Google does), which
    /// rises even if the clock does not.
    fn tick(&mut self) -> (DateTime<Utc>, u64) {
        let now = Utc::now();
        let micros = u64::try_from(now.timestamp_micros()).unwrap_or(0);
        self.last_generation = micros.max(self.last_generation + 1);
        (now, self.last_generation)
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics halfway through a change, so what a poisoned lock guards is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Object, StoreError> {
        let mut inner = self.lock();
        let object = inner.bucket(bucket)?.get(name).ok_or(StoreError::NoObject)?;
        if generation.is_some_and(|asked| asked != object.meta.generation) {
            return Err(StoreError::NoObject);
        }
        Ok(object.clone())
    }
}

/// Does the precondition hold for the generation that is there?
fn holds(if_generation: Option<u64>, there: Option<u64>) -> bool {
    if_generation.is_none_or(|asked| asked == there.unwrap_or(0))
}

#[async_trait]
impl Backend for Memory {
    fn describe(&self) -> String {
        "in-memory object store of the harness".to_owned()
    }

    async fn create_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        self.lock().buckets.entry(bucket.to_owned()).or_default();
        Ok(())
    }

    async fn put(&self, put: Put) -> Result<ObjectMeta, StoreError> {
        let digest = hex(&Sha256::digest(&put.content));
        let mut inner = self.lock();
        let there = inner.bucket(&put.bucket)?.get(&put.name).map(|object| object.meta.generation);
        if !holds(put.if_generation, there) {
            return Err(StoreError::Precondition);
        }
        let (created, generation) = inner.tick();
        let meta = ObjectMeta {
            name: put.name.clone(),
            generation,
            created,
            bytes: put.content.len() as u64,
            checksum: Some(format!("sha256:{digest}")),
            etag: digest,
            attributes: put.attributes,
        };
        let object = Object { meta: meta.clone(), content: put.content };
        inner.bucket(&put.bucket)?.insert(put.name, object);
        Ok(meta)
    }

    async fn get(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Object, StoreError> {
        self.find(bucket, name, generation)
    }

    async fn head(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<ObjectMeta, StoreError> {
        self.find(bucket, name, generation).map(|object| object.meta)
    }

    async fn delete(
        &self,
        bucket: &str,
        name: &str,
        if_generation: Option<u64>,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let objects = inner.bucket(bucket)?;
        let there = objects.get(name).map(|object| object.meta.generation);
        if there.is_none() {
            return Err(StoreError::NoObject);
        }
        if !holds(if_generation, there) {
            return Err(StoreError::Precondition);
        }
        objects.remove(name);
        Ok(())
    }

    async fn list(&self, bucket: &str, query: &ListQuery) -> Result<ListPage, StoreError> {
        Ok(page(self.lock().bucket(bucket)?, query))
    }

    async fn json(&self, head: &request::Parts, body: Bytes) -> Result<Response<Body>, StoreError> {
        json::answer(self, head, &body).await
    }
}

/// One page of a listing. The token is the last name or prefix of the page before, after a letter
/// that says which: everything below a prefix was listed with it.
fn page(objects: &Bucket, query: &ListQuery) -> ListPage {
    let mut page = ListPage::default();
    let token = query.token.as_deref();
    let done_name = token.and_then(|token| token.strip_prefix('n'));
    let done_prefix = token.and_then(|token| token.strip_prefix('p'));
    let after = done_name.max(done_prefix).max(query.start_after.as_deref());
    let from = match after {
        Some(after) if after >= query.prefix.as_str() => Bound::Excluded(after),
        _ => Bound::Included(query.prefix.as_str()),
    };
    let limit = query.limit.max(1);
    let mut last = None;
    for (name, object) in objects.range::<str, _>((from, Bound::Unbounded)) {
        let Some(rest) = name.strip_prefix(&query.prefix) else {
            break;
        };
        let cut = query.delimiter.as_deref().and_then(|by| Some(rest.find(by)? + by.len()));
        let prefix = cut.map(|cut| &name[..query.prefix.len() + cut]);
        let seen = prefix.is_some_and(|prefix| {
            done_prefix == Some(prefix) || page.prefixes.last().is_some_and(|last| last == prefix)
        });
        if seen {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == limit {
            page.next = last;
            break;
        }
        if let Some(prefix) = prefix {
            page.prefixes.push(prefix.to_owned());
            last = Some(format!("p{prefix}"));
        } else {
            page.objects.push(object.meta.clone());
            last = Some(format!("n{name}"));
        }
    }
    page
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
