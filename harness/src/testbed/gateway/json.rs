//! The little of the JSON API that the harness itself and ordinary clients use, for the in-memory store:
//! create a bucket, list, describe, read and write objects.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Response, StatusCode, request};
use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::backend::{Backend, ListQuery, ObjectMeta, StoreError};
use super::journal::{Entry, Kind};
use super::{Shared, object, upload, xml};

/// Objects in a page, as in Google's store.
const PAGE_MAX: usize = 1000;
const PREFIX: &str = "/storage/v1/b";

/// Is this path one of the JSON API, and no bucket of the XML API?
pub(super) fn is_json_api(path: &str) -> bool {
    ["/storage/v1/", "/upload/storage/v1/", "/download/storage/v1/", "/_internal/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

/// Lets the store answer, and writes down what may have changed it.
pub(super) async fn pass(
    shared: &Shared,
    head: &request::Parts,
    body: Bytes,
) -> Result<Response<Body>, StoreError> {
    let (asked, bytes) = (Utc::now(), body.len() as u64);
    let answered = shared.backend.json(head, body).await;
    if !matches!(head.method, Method::GET | Method::HEAD) {
        let status = match &answered {
            Ok(answer) => answer.status().as_u16(),
            Err(error) => object::status(Some(error)),
        };
        shared.journal.write(Entry {
            asked,
            answered: Utc::now(),
            kind: Kind::Json,
            bucket: String::new(),
            object: head.uri.path().to_owned(),
            if_generation: None,
            bytes,
            status,
            generation: None,
        });
    }
    answered
}

pub(super) async fn answer(
    store: &dyn Backend,
    head: &request::Parts,
    body: &[u8],
) -> Result<Response<Body>, StoreError> {
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let query: BTreeMap<String, String> = url::form_urlencoded::parse(query).into_owned().collect();
    if let (&Method::POST, Some(bucket)) = (&head.method, upload::bucket(head.uri.path())) {
        let stored = upload::take(store, head, (bucket, &query), body).await?;
        return Ok(document(&described(&xml::decode(bucket)?, &stored)));
    }
    let rest = head.uri.path().strip_prefix(PREFIX).unwrap_or_default().trim_matches('/');
    let parts: Vec<&str> = rest.splitn(3, '/').collect();
    match (&head.method, parts.as_slice()) {
        (&Method::POST, [""]) => {
            let asked: Value = serde_json::from_slice(body)
                .map_err(|error| StoreError::Invalid(error.to_string()))?;
            let name = asked["name"].as_str().unwrap_or_default();
            if name.is_empty() {
                return Err(StoreError::Invalid("a bucket needs a name".to_owned()));
            }
            store.create_bucket(name).await?;
            Ok(document(&json!({ "kind": "storage#bucket", "name": name })))
        }
        (&Method::GET, [bucket, "o"]) => list(store, &xml::decode(bucket)?, &query).await,
        (&Method::GET, [bucket, "o", name]) => {
            let (bucket, name) = (xml::decode(bucket)?, xml::decode(name)?);
            let generation =
                query.get("generation").map(|text| xml::generation(text)).transpose()?;
            if query.get("alt").is_some_and(|alt| alt == "media") {
                let object = store.get(&bucket, &name, generation).await?;
                return Ok(Response::new(Body::from(object.content)));
            }
            Ok(document(&described(&bucket, &store.head(&bucket, &name, generation).await?)))
        }
        _ => Ok(xml::not_here()),
    }
}

async fn list(
    store: &dyn Backend,
    bucket: &str,
    query: &BTreeMap<String, String>,
) -> Result<Response<Body>, StoreError> {
    let limit = query.get("maxResults").and_then(|text| text.parse().ok()).unwrap_or(PAGE_MAX);
    let page = ListQuery {
        prefix: query.get("prefix").cloned().unwrap_or_default(),
        delimiter: query.get("delimiter").filter(|text| !text.is_empty()).cloned(),
        start_after: None,
        token: query.get("pageToken").cloned(),
        limit: limit.min(PAGE_MAX),
    };
    let page = store.list(bucket, &page).await?;
    let items: Vec<Value> = page.objects.iter().map(|meta| described(bucket, meta)).collect();
    let mut answer =
        json!({ "kind": "storage#objects", "items": items, "prefixes": page.prefixes });
    if let Some(next) = page.next {
        answer["nextPageToken"] = next.into();
    }
    Ok(document(&answer))
}

fn described(bucket: &str, meta: &ObjectMeta) -> Value {
    let own: BTreeMap<&str, &str> = meta
        .attributes
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("x-goog-meta-")?, value.as_str())))
        .collect();
    let created = meta.created.to_rfc3339_opts(SecondsFormat::Micros, true);
    json!({
        "kind": "storage#object",
        "bucket": bucket,
        "name": meta.name,
        "generation": meta.generation.to_string(),
        "size": meta.bytes.to_string(),
        "timeCreated": created,
        "updated": created,
        "etag": meta.etag,
        "contentType": meta.attributes.get("content-type"),
        "contentEncoding": meta.attributes.get("content-encoding"),
        "metadata": own,
    })
}

fn document(value: &Value) -> Response<Body> {
    let mut answer = Response::new(Body::from(value.to_string()));
    *answer.status_mut() = StatusCode::OK;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    answer
}
