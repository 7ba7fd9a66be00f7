//! The XML API: which request is which, listings, and errors.
//!
//! What is here is what `object_store` 0.14 sends, and what it needs back.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Response, StatusCode, request};
use bytes::Bytes;
use chrono::SecondsFormat;
use percent_encoding::percent_decode_str;

use super::backend::{ListPage, ListQuery, StoreError};
use super::{Shared, multipart, object};

/// Names in a page of a listing, as in Google's store.
const PAGE_MAX: usize = 1000;

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) bucket: String,
    pub(super) name: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: &'a HeaderMap,
}

impl Asked<'_> {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `x-goog-if-generation-match`.
    pub(super) fn if_generation(&self) -> Result<Option<u64>, StoreError> {
        self.header("x-goog-if-generation-match").map(generation).transpose()
    }
}

/// A generation as clients write it.
pub(super) fn generation(text: &str) -> Result<u64, StoreError> {
    text.parse().map_err(|_| StoreError::Invalid(format!("{text:?} is no generation")))
}

pub(super) async fn answer(
    shared: &Shared,
    head: &request::Parts,
    body: Bytes,
) -> Result<Response<Body>, StoreError> {
    let asked = take_apart(head)?;
    if asked.bucket.is_empty() {
        return Err(StoreError::Invalid("no bucket in the path".to_owned()));
    }
    if asked.name.is_empty() {
        return bucket(shared, &asked).await;
    }
    if asked.query.contains_key("uploads") || asked.query.contains_key("uploadId") {
        return multipart::answer(shared, &asked, body).await;
    }
    object::answer(shared, &asked, body).await
}

fn take_apart(head: &request::Parts) -> Result<Asked<'_>, StoreError> {
    let path = head.uri.path().trim_start_matches('/');
    let (bucket, name) = path.split_once('/').unwrap_or((path, ""));
    let query = head.uri.query().unwrap_or_default().as_bytes();
    Ok(Asked {
        method: &head.method,
        bucket: decode(bucket)?,
        name: decode(name)?,
        query: url::form_urlencoded::parse(query).into_owned().collect(),
        headers: &head.headers,
    })
}

/// Undoes percent-encoding.
pub(super) fn decode(text: &str) -> Result<String, StoreError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(StoreError::Invalid(format!("{text:?} is not UTF-8"))),
    }
}

async fn bucket(shared: &Shared, asked: &Asked<'_>) -> Result<Response<Body>, StoreError> {
    match *asked.method {
        Method::PUT => {
            shared.backend.create_bucket(&asked.bucket).await?;
            Ok(Response::new(Body::empty()))
        }
        Method::GET | Method::HEAD => {
            let query = list_query(&asked.query)?;
            let page = shared.backend.list(&asked.bucket, &query).await?;
            Ok(document(StatusCode::OK, listing(&asked.bucket, &query, &page)))
        }
        _ => Ok(not_here()),
    }
}

fn list_query(query: &BTreeMap<String, String>) -> Result<ListQuery, StoreError> {
    let limit = match query.get("max-keys").map(|text| text.parse::<usize>()) {
        None => PAGE_MAX,
        Some(Ok(limit)) => limit.min(PAGE_MAX),
        Some(Err(_)) => return Err(StoreError::Invalid("max-keys is no number".to_owned())),
    };
    Ok(ListQuery {
        prefix: query.get("prefix").cloned().unwrap_or_default(),
        delimiter: query.get("delimiter").filter(|text| !text.is_empty()).cloned(),
        start_after: query.get("start-after").cloned(),
        token: query.get("continuation-token").cloned(),
        limit,
    })
}

fn listing(bucket: &str, query: &ListQuery, page: &ListPage) -> String {
    let mut xml = String::from("<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>");
    element(&mut xml, "Name", bucket);
    element(&mut xml, "Prefix", &query.prefix);
    if let Some(delimiter) = &query.delimiter {
        element(&mut xml, "Delimiter", delimiter);
    }
    element(&mut xml, "KeyCount", &(page.objects.len() + page.prefixes.len()).to_string());
    element(&mut xml, "IsTruncated", if page.next.is_some() { "true" } else { "false" });
    if let Some(next) = &page.next {
        element(&mut xml, "NextContinuationToken", next);
    }
    for object in &page.objects {
        xml.push_str("<Contents>");
        element(&mut xml, "Key", &object.name);
        element(&mut xml, "Generation", &object.generation.to_string());
        let created = object.created.to_rfc3339_opts(SecondsFormat::Micros, true);
        element(&mut xml, "LastModified", &created);
        element(&mut xml, "ETag", &format!("\"{}\"", object.etag));
        element(&mut xml, "Size", &object.bytes.to_string());
        xml.push_str("</Contents>");
    }
    for prefix in &page.prefixes {
        xml.push_str("<CommonPrefixes>");
        element(&mut xml, "Prefix", prefix);
        xml.push_str("</CommonPrefixes>");
    }
    xml.push_str("</ListBucketResult>");
    xml
}

/// Appends `<name>text</name>`, escaped.
pub(super) fn element(xml: &mut String, name: &str, text: &str) {
    // Writing to a string does not fail.
    let _ = write!(xml, "<{name}>");
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            // A parser would turn these into spaces otherwise.
            '\t' | '\n' | '\r' => {
                let _ = write!(xml, "&#{};", u32::from(character));
            }
            _ => xml.push(character),
        }
    }
    let _ = write!(xml, "</{name}>");
}

/// An answer that is an XML document.
pub(super) fn document(status: StatusCode, xml: String) -> Response<Body> {
    let mut answer =
        Response::new(Body::from(format!("<?xml version='1.0' encoding='UTF-8'?>{xml}")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        axum::http::HeaderValue::from_static("application/xml; charset=UTF-8"),
    );
    answer
}

/// An answer that is an error document.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let mut xml = String::from("<Error>");
    element(&mut xml, "Code", code);
    element(&mut xml, "Message", message);
    xml.push_str("</Error>");
    document(status, xml)
}

/// The status that a client gets for an error of the store.
pub(super) fn status_of(error: &StoreError) -> StatusCode {
    match error {
        StoreError::NoObject | StoreError::NoBucket => StatusCode::NOT_FOUND,
        StoreError::Precondition => StatusCode::PRECONDITION_FAILED,
        StoreError::Invalid(_) => StatusCode::BAD_REQUEST,
        StoreError::Status(status, _) => {
            StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
        StoreError::Unreachable(_) => StatusCode::BAD_GATEWAY,
    }
}

/// The store's own error, as a document.
pub(super) fn store_error(failed: &StoreError) -> Response<Body> {
    let code = match failed {
        StoreError::NoObject => "NoSuchKey",
        StoreError::NoBucket => "NoSuchBucket",
        StoreError::Precondition => "PreconditionFailed",
        StoreError::Invalid(_) => "InvalidArgument",
        StoreError::Status(..) | StoreError::Unreachable(_) => "InternalError",
    };
    error(status_of(failed), code, &failed.to_string())
}

/// The gateway does not speak this part of the API.
pub(super) fn not_here() -> Response<Body> {
    error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", "the gateway does not do this")
}
