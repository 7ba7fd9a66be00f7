//! Multipart uploads: the parts are kept here, and the object is written whole when the upload is
//! completed. Nothing of it can be seen before that, as in Google's store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::header::{ETAG, HeaderValue};
use axum::http::{Method, Response, StatusCode};
use bytes::{Bytes, BytesMut};

use super::backend::{Put, StoreError};
use super::journal::Kind;
use super::xml::{self, Asked};
use super::{BODY_BYTES_MAX, Shared, object};

/// Every part but the last must be as large as this, as in Google's store.
const PART_BYTES_MIN: usize = 5 * 1024 * 1024;
/// Uploads that were begun and neither completed nor aborted.
const OPEN_MAX: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: Mutex<BTreeMap<String, Upload>>,
    last: AtomicU64,
}

#[derive(Debug, Clone)]
struct Upload {
    bucket: String,
    name: String,
    attributes: BTreeMap<String, String>,
    parts: BTreeMap<u32, Bytes>,
}

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Upload>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, asked: &Asked<'_>) -> Result<String, StoreError> {
        let mut open = self.lock();
        if open.len() >= OPEN_MAX {
            return Err(StoreError::Invalid(format!("{OPEN_MAX} uploads are open")));
        }
        let id = format!("upload-{}", self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let upload = Upload {
            bucket: asked.bucket.clone(),
            name: asked.name.clone(),
            attributes: object::attributes(asked.headers),
            parts: BTreeMap::new(),
        };
        open.insert(id.clone(), upload);
        Ok(id)
    }

    /// Keeps a part, or replaces it, and returns its entity tag.
    fn part(&self, asked: &Asked<'_>, id: &str, content: Bytes) -> Result<String, StoreError> {
        let number = asked.query.get("partNumber").and_then(|text| text.parse::<u32>().ok());
        let Some(number) = number.filter(|number| (1..=10_000).contains(number)) else {
            return Err(StoreError::Invalid("partNumber is not in 1..=10000".to_owned()));
        };
        let mut open = self.lock();
        let upload = find(&mut open, asked, id)?;
        let others = upload.parts.iter().filter(|(n, _)| **n != number);
        if others.map(|(_, part)| part.len()).sum::<usize>() + content.len() > BODY_BYTES_MAX {
            return Err(StoreError::Invalid(format!("more than {BODY_BYTES_MAX} bytes in all")));
        }
        let tag = format!("\"{id}-{number}-{}\"", content.len());
        upload.parts.insert(number, content);
        Ok(tag)
    }
}

fn find<'a>(
    open: &'a mut BTreeMap<String, Upload>,
    asked: &Asked<'_>,
    id: &str,
) -> Result<&'a mut Upload, StoreError> {
    open.get_mut(id)
        .filter(|upload| upload.bucket == asked.bucket && upload.name == asked.name)
        .ok_or_else(|| StoreError::Status(404, format!("no upload {id:?} of this object")))
}

pub(super) async fn answer(
    shared: &Shared,
    asked: &Asked<'_>,
    body: Bytes,
) -> Result<Response<Body>, StoreError> {
    let id = asked.query.get("uploadId");
    match (asked.method, id) {
        (&Method::POST, None) => {
            // A missing bucket shows itself now, not at the end.
            let probe = super::backend::ListQuery { limit: 1, ..Default::default() };
            shared.backend.list(&asked.bucket, &probe).await?;
            let mut xml = String::from("<InitiateMultipartUploadResult>");
            xml::element(&mut xml, "Bucket", &asked.bucket);
            xml::element(&mut xml, "Key", &asked.name);
            xml::element(&mut xml, "UploadId", &shared.uploads.begin(asked)?);
            xml.push_str("</InitiateMultipartUploadResult>");
            Ok(xml::document(StatusCode::OK, xml))
        }
        (&Method::PUT, Some(id)) => {
            let tag = shared.uploads.part(asked, id, body)?;
            let mut answer = Response::new(Body::empty());
            let tag = HeaderValue::from_str(&tag)
                .map_err(|_| StoreError::Invalid("uploadId does not fit a header".to_owned()))?;
            answer.headers_mut().insert(ETAG, tag);
            Ok(answer)
        }
        (&Method::POST, Some(id)) => complete(shared, asked, id, &body).await,
        (&Method::DELETE, Some(id)) => {
            find(&mut shared.uploads.lock(), asked, id)?;
            shared.uploads.lock().remove(id);
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            Ok(answer)
        }
        _ => Ok(xml::not_here()),
    }
}

async fn complete(
    shared: &Shared,
    asked: &Asked<'_>,
    id: &str,
    body: &[u8],
) -> Result<Response<Body>, StoreError> {
    let upload = find(&mut shared.uploads.lock(), asked, id)?.clone();
    let put = Put {
        bucket: upload.bucket,
        name: upload.name,
        content: join(&upload.parts, &part_numbers(body)?)?,
        attributes: upload.attributes,
        if_generation: asked.if_generation()?,
    };
    let meta = object::store(shared, Kind::CompleteUpload, put).await?;
    // Only now: a client that got no answer asks again.
    shared.uploads.lock().remove(id);
    let mut xml = String::from("<CompleteMultipartUploadResult>");
    xml::element(&mut xml, "Bucket", &asked.bucket);
    xml::element(&mut xml, "Key", &asked.name);
    xml::element(&mut xml, "ETag", &format!("\"{}\"", meta.etag));
    xml.push_str("</CompleteMultipartUploadResult>");
    let mut answer = xml::document(StatusCode::OK, xml);
    object::identify(answer.headers_mut(), &meta)?;
    Ok(answer)
}

/// The text of every `<PartNumber>`: all that is needed of the document, so no parser is.
fn part_numbers(body: &[u8]) -> Result<Vec<u32>, StoreError> {
    let text = String::from_utf8_lossy(body);
    text.split("<PartNumber>")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap_or_default().trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| StoreError::Invalid("a PartNumber is no number".to_owned()))
}

fn join(parts: &BTreeMap<u32, Bytes>, numbers: &[u32]) -> Result<Bytes, StoreError> {
    let mut content = BytesMut::new();
    for (place, number) in numbers.iter().enumerate() {
        let Some(part) = parts.get(number) else {
            return Err(StoreError::Invalid(format!("part {number} was not uploaded")));
        };
        let last = place + 1 == numbers.len();
        if part.len() < PART_BYTES_MIN && !last {
            return Err(StoreError::Invalid(format!(
                "part {number} has {} bytes; all but the last need {PART_BYTES_MIN}",
                part.len()
            )));
        }
        content.extend_from_slice(part);
    }
    if numbers.is_empty() {
        return Err(StoreError::Invalid("an upload of no parts".to_owned()));
    }
    Ok(content.freeze())
}
