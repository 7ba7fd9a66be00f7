//! Writes through the JSON API, for the in-memory store: `uploadType=media` and `multipart`, which is what
//! Google's client libraries send for objects of ordinary size. Resumable uploads are refused.

use std::collections::BTreeMap;

use axum::http::header::CONTENT_TYPE;
use axum::http::request;
use bytes::Bytes;
use serde_json::Value;

use super::backend::{Backend, ObjectMeta, Put, StoreError};
use super::xml;

const PREFIX: &str = "/upload/storage/v1/b/";

/// The bucket of an upload's path, or none if it is not one.
pub(super) fn bucket(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX)?.strip_suffix("/o")
}

/// Takes an upload.
pub(super) async fn take(
    store: &dyn Backend,
    head: &request::Parts,
    (bucket, query): (&str, &BTreeMap<String, String>),
    body: &[u8],
) -> Result<ObjectMeta, StoreError> {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/octet-stream");
    let (mut asked, content_type, content) = match query.get("uploadType").map(String::as_str) {
        Some("media") => (Value::Null, content_type.to_owned(), body),
        Some("multipart") => parts(content_type, body)
            .ok_or_else(|| StoreError::Invalid("a body of two parts was expected".to_owned()))?,
        other => {
            let other = other.unwrap_or("none");
            return Err(StoreError::Invalid(format!(
                "uploadType {other} is not served here: use media or multipart"
            )));
        }
    };
    let name = query.get("name").cloned();
    let name = name.or_else(|| asked["name"].as_str().map(str::to_owned)).unwrap_or_default();
    if name.is_empty() {
        return Err(StoreError::Invalid("an object needs a name".to_owned()));
    }
    let mut attributes = BTreeMap::from([("content-type".to_owned(), content_type)]);
    if let Some(own) = asked["metadata"].as_object_mut() {
        attributes.extend(own.iter().filter_map(|(name, value)| {
            Some((format!("x-goog-meta-{}", name.to_lowercase()), value.as_str()?.to_owned()))
        }));
    }
    for (field, header) in
        [("contentType", "content-type"), ("contentEncoding", "content-encoding")]
    {
        if let Some(value) = asked[field].as_str() {
            attributes.insert(header.to_owned(), value.to_owned());
        }
    }
    let if_generation = query.get("ifGenerationMatch").map(|text| xml::generation(text));
    store
        .put(Put {
            bucket: xml::decode(bucket)?,
            name,
            content: Bytes::copy_from_slice(content),
            attributes,
            if_generation: if_generation.transpose()?,
        })
        .await
}

/// The two parts of a `multipart/related` body: what the object is to be, and its content with its type.
fn parts<'b>(content_type: &str, body: &'b [u8]) -> Option<(Value, String, &'b [u8])> {
    let boundary =
        content_type.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    let boundary = format!("--{}", boundary.trim_matches('"'));
    let first = find(body, boundary.as_bytes())? + boundary.len();
    let separator = format!("\r\n{boundary}");
    let second = first + find(&body[first..], separator.as_bytes())?;
    let begin = second + separator.len();
    // Of the content only the last boundary ends it: it may hold anything.
    let end =
        begin + body[begin..].windows(separator.len()).rposition(|w| w == separator.as_bytes())?;
    let (_, asked) = headed(&body[first..second])?;
    let (head, content) = headed(&body[begin..end])?;
    let head = String::from_utf8_lossy(head).to_lowercase();
    let kind =
        head.lines().find_map(|line| line.trim().strip_prefix("content-type:").map(str::trim));
    let kind = kind.unwrap_or("application/octet-stream").to_owned();
    Some((serde_json::from_slice(asked).ok()?, kind, content))
}

/// The headers of a part, and what follows them.
fn headed(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = find(part, b"\r\n\r\n")?;
    Some((&part[..end], &part[end + 4..]))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_body_of_two_parts_is_taken_apart_whatever_its_content_holds() {
        let body = b"--xyz\r\ncontent-type: application/json\r\n\r\n{\"name\":\"a/b\"}\r\n--xyz\r\n\
                     Content-Type: text/plain\r\n\r\nline\r\n--xyz is not the end\r\n\r\n--xyz--\r\n";
        let (asked, kind, content) = parts("multipart/related; boundary=\"xyz\"", body).unwrap();
        assert_eq!((asked["name"].as_str(), kind.as_str()), (Some("a/b"), "text/plain"));
        assert_eq!(content, b"line\r\n--xyz is not the end\r\n");
        assert!(parts("multipart/related; boundary=abc", body).is_none());
        assert!(parts("text/plain", body).is_none());
    }

    #[test]
    fn an_upload_is_known_by_its_path() {
        assert_eq!(bucket("/upload/storage/v1/b/raw/o"), Some("raw"));
        assert_eq!(bucket("/storage/v1/b/raw/o"), None);
    }
}
