//! The harness's own look at the store, past injected faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Response};
use serde::{Deserialize, Deserializer};

use super::backend::{Backend, ListQuery, ObjectMeta, StoreError};

/// A look takes no longer than this; a store that is frozen shows itself as an error.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const PAGE_MAX: usize = 1000;

/// Looks at a store.
#[async_trait]
pub trait ObserverStore: Send + Sync {
    /// Every object whose name begins with `prefix`, in the order of names.
    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError>;

    /// An object's content; of this generation, if one is named, and an error if that is gone.
    async fn read(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Bytes, StoreError>;
}

/// Looks through the JSON API at `base_url`: a gateway's `observer_url`, or the emulator itself.
#[derive(Debug, Clone)]
pub struct JsonApi {
    base_url: String,
    pub(super) client: Client,
}

impl JsonApi {
    /// Nothing is connected before the first look.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(base_url: impl Into<String>) -> Result<Self, StoreError> {
        Self::within(base_url, Some(ANSWER_WITHIN))
    }

    /// With no deadline, the caller has one.
    pub(super) fn within(
        base_url: impl Into<String>,
        within: Option<Duration>,
    ) -> Result<Self, StoreError> {
        let builder = Client::builder().no_proxy().tcp_nodelay(true);
        let builder = match within {
            Some(within) => builder.timeout(within),
            None => builder,
        };
        let base_url = base_url.into().trim_end_matches('/').to_owned();
        Ok(Self { base_url, client: builder.build().map_err(unreachable)? })
    }

    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    pub(super) fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut encoded = url::form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(query);
        match encoded.finish().as_str() {
            "" => format!("{}{path}", self.base_url),
            query => format!("{}{path}?{query}", self.base_url),
        }
    }

    /// Creates a bucket; one that is there already is left as it is.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        let url = self.url("/storage/v1/b", &[("project", "harness")]);
        let body = serde_json::json!({ "name": bucket });
        let answer = self.client.post(url).json(&body).send().await.map_err(unreachable)?;
        match checked(answer, StoreError::NoBucket).await {
            Err(StoreError::Status(409, _)) => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) async fn page(
        &self,
        bucket: &str,
        query: &[(&str, &str)],
    ) -> Result<Page, StoreError> {
        let url = self.url(&format!("/storage/v1/b/{}/o", encode(bucket)), query);
        let answer = self.client.get(url).send().await.map_err(unreachable)?;
        parsed(checked(answer, StoreError::NoBucket).await?).await
    }

    pub(super) async fn describe(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<ObjectMeta, StoreError> {
        let path = format!("/storage/v1/b/{}/o/{}", encode(bucket), encode(name));
        let generation = generation.map(|asked| asked.to_string());
        let query = generation.as_deref().map(|asked| ("generation", asked));
        let url = self.url(&path, query.as_slice());
        let answer = self.client.get(url).send().await.map_err(unreachable)?;
        let item: Item = parsed(checked(answer, StoreError::NoObject).await?).await?;
        Ok(item.into())
    }

    /// The content and its headers. Under `/download/storage` the emulator adds more headers.
    pub(super) async fn download(
        &self,
        root: &str,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Response, StoreError> {
        let path = format!("{root}/v1/b/{}/o/{}", encode(bucket), encode(name));
        let generation = generation.map(|asked| asked.to_string());
        let mut query = vec![("alt", "media")];
        query.extend(generation.as_deref().map(|asked| ("generation", asked)));
        // Otherwise the emulator unpacks what was stored packed.
        let request = self.client.get(self.url(&path, &query)).header("accept-encoding", "gzip");
        checked(request.send().await.map_err(unreachable)?, StoreError::NoObject).await
    }
}

#[async_trait]
impl ObserverStore for JsonApi {
    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let limit = PAGE_MAX.to_string();
        let mut objects = Vec::new();
        let mut token = String::new();
        loop {
            let mut query = vec![("prefix", prefix), ("maxResults", limit.as_str())];
            if !token.is_empty() {
                query.push(("pageToken", token.as_str()));
            }
            let page = self.page(bucket, &query).await?;
            objects.extend(page.items.into_iter().map(ObjectMeta::from));
            match page.next_page_token.filter(|next| !next.is_empty()) {
                Some(next) => token = next,
                None => return Ok(objects),
            }
        }
    }

    async fn read(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Bytes, StoreError> {
        let answer = self.download("/storage", bucket, name, generation).await?;
        answer.bytes().await.map_err(unreachable)
    }
}

/// Looks at a store in this process.
#[async_trait]
impl ObserverStore for Arc<dyn Backend> {
    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let query =
            ListQuery { prefix: prefix.to_owned(), limit: usize::MAX, ..Default::default() };
        let mut page = Backend::list(self.as_ref(), bucket, &query).await?;
        let mut objects = std::mem::take(&mut page.objects);
        while let Some(token) = page.next.take() {
            let query = ListQuery { token: Some(token), ..query.clone() };
            page = Backend::list(self.as_ref(), bucket, &query).await?;
            objects.append(&mut page.objects);
        }
        Ok(objects)
    }

    async fn read(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Bytes, StoreError> {
        Ok(self.get(bucket, name, generation).await?.content)
    }
}

pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

pub(super) fn unreachable(error: reqwest::Error) -> StoreError {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    StoreError::Unreachable(reason)
}

/// The answer, if it is a success; `missing` for a 404.
pub(super) async fn checked(answer: Response, missing: StoreError) -> Result<Response, StoreError> {
    match answer.status().as_u16() {
        200..=299 => Ok(answer),
        404 => Err(missing),
        412 => Err(StoreError::Precondition),
        status => Err(StoreError::Status(status, answer.text().await.unwrap_or_default())),
    }
}

pub(super) async fn parsed<T: serde::de::DeserializeOwned>(
    answer: Response,
) -> Result<T, StoreError> {
    let body = answer.bytes().await.map_err(unreachable)?;
    serde_json::from_slice(&body)
        .map_err(|error| StoreError::Status(200, format!("not understood: {error}")))
}

/// A page of the JSON API's listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) items: Vec<Item>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) prefixes: Vec<String>,
    pub(super) next_page_token: Option<String>,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An object as the JSON API describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    name: String,
    generation: String,
    size: String,
    time_created: DateTime<Utc>,
    #[serde(default)]
    etag: String,
    md5_hash: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    content_disposition: Option<String>,
    content_language: Option<String>,
    cache_control: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
}

impl From<Item> for ObjectMeta {
    fn from(item: Item) -> Self {
        let named = [
            ("content-type", item.content_type),
            ("content-encoding", item.content_encoding),
            ("content-disposition", item.content_disposition),
            ("content-language", item.content_language),
            ("cache-control", item.cache_control),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let own = item.metadata.unwrap_or_default().into_iter();
        let own = own.map(|(name, value)| (format!("x-goog-meta-{name}"), value));
        Self {
            name: item.name,
            // A number the store itself wrote; 0 would be seen as a generation that no object has.
            generation: item.generation.parse().unwrap_or(0),
            created: item.time_created,
            bytes: item.size.parse().unwrap_or(0),
            checksum: item.md5_hash.map(|md5| format!("md5:{md5}")),
            etag: item.etag.trim_matches('"').to_owned(),
            attributes: named.chain(own).collect(),
        }
    }
}
