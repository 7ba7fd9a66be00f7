//! The XML API on one object: write, copy, read, delete.

use std::collections::BTreeMap;
use std::ops::Range;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED,
};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};

use super::Shared;
use super::backend::{ObjectMeta, Put, StoreError};
use super::journal::{Entry, Kind};
use super::xml::{self, Asked};

/// Headers that are kept with an object, beside `x-goog-meta-…`.
const KEPT_HEADERS: [&str; 6] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "x-goog-storage-class",
];
const META_PREFIX: &str = "x-goog-meta-";
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

pub(super) async fn answer(
    shared: &Shared,
    asked: &Asked<'_>,
    body: Bytes,
) -> Result<Response<Body>, StoreError> {
    match *asked.method {
        Method::PUT if asked.headers.contains_key("x-goog-copy-source") => {
            copy(shared, asked).await
        }
        Method::PUT => {
            let put = Put {
                bucket: asked.bucket.clone(),
                name: asked.name.clone(),
                content: body,
                attributes: attributes(asked.headers),
                if_generation: asked.if_generation()?,
            };
            written(&store(shared, Kind::Put, put).await?)
        }
        Method::GET | Method::HEAD => read(shared, asked).await,
        Method::DELETE => delete(shared, asked).await,
        _ => Ok(xml::not_here()),
    }
}

/// The headers of a write that are kept with the object.
pub(super) fn attributes(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter(|(name, _)| {
            KEPT_HEADERS.contains(&name.as_str()) || name.as_str().starts_with(META_PREFIX)
        })
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// Writes, and writes down that it did.
pub(super) async fn store(shared: &Shared, kind: Kind, put: Put) -> Result<ObjectMeta, StoreError> {
    let mut entry = Entry {
        asked: Utc::now(),
        answered: Utc::now(),
        kind,
        bucket: put.bucket.clone(),
        object: put.name.clone(),
        if_generation: put.if_generation,
        bytes: put.content.len() as u64,
        status: 0,
        generation: None,
    };
    let stored = shared.backend.put(put).await;
    entry.answered = Utc::now();
    entry.status = status(stored.as_ref().err());
    entry.generation = stored.as_ref().ok().map(|meta| meta.generation);
    shared.journal.write(entry);
    stored
}

/// What the journal says of an outcome: 0 is unknown.
pub(super) fn status(error: Option<&StoreError>) -> u16 {
    match error {
        None => 200,
        Some(StoreError::Unreachable(_)) => 0,
        Some(error) => xml::status_of(error).as_u16(),
    }
}

fn written(meta: &ObjectMeta) -> Result<Response<Body>, StoreError> {
    let mut answer = Response::new(Body::empty());
    identify(answer.headers_mut(), meta)?;
    Ok(answer)
}

/// The headers that name a generation of an object.
pub(super) fn identify(headers: &mut HeaderMap, meta: &ObjectMeta) -> Result<(), StoreError> {
    headers.insert(ETAG, value(&format!("\"{}\"", meta.etag))?);
    headers.insert("x-goog-generation", HeaderValue::from(meta.generation));
    headers.insert("x-goog-metageneration", HeaderValue::from(1));
    Ok(())
}

fn value(text: &str) -> Result<HeaderValue, StoreError> {
    HeaderValue::from_str(text)
        .map_err(|_| StoreError::Invalid(format!("{text:?} does not fit into a header")))
}

async fn copy(shared: &Shared, asked: &Asked<'_>) -> Result<Response<Body>, StoreError> {
    let source = asked.header("x-goog-copy-source").unwrap_or_default();
    let Some((bucket, name)) = source.trim_start_matches('/').split_once('/') else {
        return Err(StoreError::Invalid(format!("{source:?} names no object")));
    };
    let from = shared.backend.get(&xml::decode(bucket)?, &xml::decode(name)?, None).await?;
    let put = Put {
        bucket: asked.bucket.clone(),
        name: asked.name.clone(),
        content: from.content,
        attributes: from.meta.attributes,
        if_generation: asked.if_generation()?,
    };
    let meta = store(shared, Kind::Copy, put).await?;
    let mut body = String::from("<CopyObjectResult>");
    xml::element(&mut body, "ETag", &format!("\"{}\"", meta.etag));
    body.push_str("</CopyObjectResult>");
    let mut answer = xml::document(StatusCode::OK, body);
    identify(answer.headers_mut(), &meta)?;
    Ok(answer)
}

async fn delete(shared: &Shared, asked: &Asked<'_>) -> Result<Response<Body>, StoreError> {
    let if_generation = asked.if_generation()?;
    let begun = Utc::now();
    let deleted = shared.backend.delete(&asked.bucket, &asked.name, if_generation).await;
    shared.journal.write(Entry {
        asked: begun,
        answered: Utc::now(),
        kind: Kind::Delete,
        bucket: asked.bucket.clone(),
        object: asked.name.clone(),
        if_generation,
        bytes: 0,
        status: status(deleted.as_ref().err()),
        generation: None,
    });
    deleted?;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

async fn read(shared: &Shared, asked: &Asked<'_>) -> Result<Response<Body>, StoreError> {
    let generation = asked.query.get("generation").map(|text| xml::generation(text)).transpose()?;
    let (bucket, name) = (&asked.bucket, &asked.name);
    let (meta, content) = if *asked.method == Method::HEAD {
        (shared.backend.head(bucket, name, generation).await?, None)
    } else {
        let object = shared.backend.get(bucket, name, generation).await?;
        (object.meta, Some(object.content))
    };
    if let Some(status) = unmet(asked, &meta) {
        return Ok(xml::error(status, "PreconditionFailed", "a condition of the request failed"));
    }
    let range = match asked.header("range").map(|text| parse_range(text, meta.bytes)) {
        None | Some(Asking::All) => None,
        Some(Asking::Part(range)) => Some(range),
        Some(Asking::Nothing) => {
            let mut answer = xml::error(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "InvalidRange",
                "the object is shorter",
            );
            let all = value(&format!("bytes */{}", meta.bytes))?;
            answer.headers_mut().insert(CONTENT_RANGE, all);
            return Ok(answer);
        }
    };
    found(&meta, content, range)
}

fn found(
    meta: &ObjectMeta,
    content: Option<Bytes>,
    range: Option<Range<u64>>,
) -> Result<Response<Body>, StoreError> {
    let length = range.as_ref().map_or(meta.bytes, |range| range.end - range.start);
    let cut = |content: Bytes| match &range {
        // The bounds were held against the size of this very content.
        Some(range) => content.slice(range.start as usize..range.end as usize),
        None => content,
    };
    let mut answer = Response::new(content.map_or_else(Body::empty, |all| Body::from(cut(all))));
    let headers = answer.headers_mut();
    for (name, text) in &meta.attributes {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            headers.insert(name, value(text)?);
        }
    }
    identify(headers, meta)?;
    headers.insert(LAST_MODIFIED, value(&meta.created.format(HTTP_DATE).to_string())?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, meta.bytes);
        headers.insert(CONTENT_RANGE, value(&text)?);
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(answer)
}

/// The status of the first condition that does not hold.
fn unmet(asked: &Asked<'_>, meta: &ObjectMeta) -> Option<StatusCode> {
    let names_it = |list: &str| {
        list.split(',')
            .map(|tag| tag.trim().trim_matches('"'))
            .any(|tag| tag == "*" || tag == meta.etag)
    };
    let date = |name| {
        let date = DateTime::parse_from_rfc2822(asked.header(name)?).ok()?;
        Some(date.with_timezone(&Utc))
    };
    let modified = meta.created.trunc_subsecs(0);
    if asked.header("if-match").is_some_and(|list| !names_it(list))
        || date("if-unmodified-since").is_some_and(|since| modified > since)
    {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if asked.header("if-none-match").is_some_and(names_it)
        || date("if-modified-since").is_some_and(|since| modified <= since)
    {
        return Some(StatusCode::NOT_MODIFIED);
    }
    None
}

#[derive(Debug, PartialEq)]
enum Asking {
    All,
    Part(Range<u64>),
    Nothing,
}

/// `bytes=1-5`, `bytes=1-`, `bytes=-5`. What is malformed is ignored, as the HTTP standard has it.
fn parse_range(text: &str, size: u64) -> Asking {
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|r| r.split_once('-'))
    else {
        return Asking::All;
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(last)) if first.is_empty() => size.saturating_sub(last)..size,
        _ => return Asking::All,
    };
    if range.start < range.end { Asking::Part(range) } else { Asking::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_end_of_the_object() {
        assert_eq!(parse_range("bytes=2-4", 10), Asking::Part(2..5));
        assert_eq!(parse_range("bytes=2-40", 10), Asking::Part(2..10));
        assert_eq!(parse_range("bytes=2-", 10), Asking::Part(2..10));
        assert_eq!(parse_range("bytes=-3", 10), Asking::Part(7..10));
        assert_eq!(parse_range("bytes=-30", 10), Asking::Part(0..10));
        assert_eq!(parse_range("bytes=10-", 10), Asking::Nothing);
        assert_eq!(parse_range("bytes=4-2", 10), Asking::All);
        assert_eq!(parse_range("lines=1-2", 10), Asking::All);
    }
}
