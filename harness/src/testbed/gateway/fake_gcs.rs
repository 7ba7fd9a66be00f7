//! fake-gcs-server behind the gateway: writes become JSON uploads with the same precondition.
//!
//! Needs a version not older than the summer of 2026: earlier ones overwrite in silence where the
//! precondition should have refused.

use std::collections::BTreeMap;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Response, request};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

use super::backend::{Backend, ListPage, ListQuery, Object, ObjectMeta, Put, StoreError};
use super::observer::{Item, JsonApi, checked, encode, parsed, unreachable};

/// The emulator.
#[derive(Debug, Clone)]
pub struct FakeGcs {
    api: JsonApi,
}

impl FakeGcs {
    /// `base_url` as `http://127.0.0.1:4443`. Nothing is connected before the first request.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(base_url: impl Into<String>) -> Result<Self, StoreError> {
        // Clients of the gateway have their own deadlines; when they leave, their request ends.
        Ok(Self { api: JsonApi::within(base_url, None)? })
    }

    /// Refuses the deletion of a generation that is not there any more. Two requests, so another
    /// client may come between: the emulator has no precondition on deletions.
    async fn check_generation(
        &self,
        bucket: &str,
        name: &str,
        asked: u64,
    ) -> Result<(), StoreError> {
        match self.api.describe(bucket, name, None).await?.generation {
            there if there == asked => Ok(()),
            _ => Err(StoreError::Precondition),
        }
    }
}

#[async_trait]
impl Backend for FakeGcs {
    fn describe(&self) -> String {
        format!("fake-gcs-server at {}", self.api.base_url())
    }

    async fn create_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        self.api.create_bucket(bucket).await
    }

    async fn put(&self, put: Put) -> Result<ObjectMeta, StoreError> {
        let generation = put.if_generation.map(|asked| asked.to_string());
        let mut query = vec![("uploadType", "media"), ("name", put.name.as_str())];
        query.extend(generation.as_deref().map(|asked| ("ifGenerationMatch", asked)));
        // As a header it would say how the upload itself is packed.
        let packed = put.attributes.get("content-encoding");
        query.extend(packed.map(|packed| ("contentEncoding", packed.as_str())));
        let path = format!("/upload/storage/v1/b/{}/o", encode(&put.bucket));
        let mut request = self.api.client.post(self.api.url(&path, &query));
        for (name, value) in put.attributes.iter().filter(|(name, _)| *name != "content-encoding") {
            request = request.header(name, value);
        }
        let answer = request.body(put.content).send().await.map_err(unreachable)?;
        let item: Item = parsed(checked(answer, StoreError::NoBucket).await?).await?;
        Ok(item.into())
    }

    async fn get(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Object, StoreError> {
        let answer = self.api.download("/download/storage", bucket, name, generation).await?;
        let headers = answer.headers().clone();
        let content = answer.bytes().await.map_err(unreachable)?;
        Ok(Object { meta: meta_of(name, &headers, content.len() as u64), content })
    }

    async fn head(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<ObjectMeta, StoreError> {
        self.api.describe(bucket, name, generation).await
    }

    async fn delete(
        &self,
        bucket: &str,
        name: &str,
        if_generation: Option<u64>,
    ) -> Result<(), StoreError> {
        if let Some(generation) = if_generation {
            self.check_generation(bucket, name, generation).await?;
        }
        let path = format!("/storage/v1/b/{}/o/{}", encode(bucket), encode(name));
        let answer = self.api.client.delete(self.api.url(&path, &[])).send().await;
        checked(answer.map_err(unreachable)?, StoreError::NoObject).await.map(drop)
    }

    async fn list(&self, bucket: &str, query: &ListQuery) -> Result<ListPage, StoreError> {
        let limit = query.limit.min(1000).to_string();
        let mut asked = vec![("prefix", query.prefix.as_str()), ("maxResults", limit.as_str())];
        if let Some(delimiter) = &query.delimiter {
            asked.push(("delimiter", delimiter));
        }
        // The emulator's offset includes the name itself; with this suffix, the first name after.
        let after = query.start_after.as_ref().map(|name| format!("{name}\0"));
        match (&query.token, &after) {
            (Some(token), _) => asked.push(("pageToken", token)),
            (None, Some(after)) => asked.push(("startOffset", after)),
            (None, None) => {}
        }
        let page = self.api.page(bucket, &asked).await?;
        Ok(ListPage {
            objects: page.items.into_iter().map(ObjectMeta::from).collect(),
            prefixes: page.prefixes,
            next: page.next_page_token.filter(|next| !next.is_empty()),
        })
    }

    /// Passed on as it came.
    async fn json(&self, head: &request::Parts, body: Bytes) -> Result<Response<Body>, StoreError> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = head.headers.clone();
        headers.remove("host");
        let request = self.api.client.request(head.method.clone(), self.api.url(path, &[]));
        let answer = request.headers(headers).body(body).send().await.map_err(unreachable)?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove("transfer-encoding");
        let mut passed = Response::new(Body::from(answer.bytes().await.map_err(unreachable)?));
        *passed.status_mut() = status;
        *passed.headers_mut() = headers;
        Ok(passed)
    }
}

fn meta_of(name: &str, headers: &HeaderMap, bytes: u64) -> ObjectMeta {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let modified = header("last-modified").and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let attributes: BTreeMap<String, String> = super::object::attributes(headers);
    ObjectMeta {
        name: name.to_owned(),
        generation: header("x-goog-generation").and_then(|text| text.parse().ok()).unwrap_or(0),
        created: modified.map_or(DateTime::UNIX_EPOCH, |date| date.with_timezone(&Utc)),
        bytes,
        checksum: None,
        etag: header("etag").unwrap_or_default().trim_matches('"').to_owned(),
        attributes,
    }
}
