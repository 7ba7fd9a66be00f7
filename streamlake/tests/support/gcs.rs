//! A stand-in for Google Cloud Storage's XML interface, in memory, that can be told to misbehave.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

/// What the store does to a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Well,
    /// Answers this status to everything.
    Refuses(u16),
    /// Stores the object, then answers 503.
    StoresAndFails,
    /// Stores the object, then never answers.
    StoresAndHangs,
    /// Overwrites in silence.
    IgnoresConditions,
}

#[derive(Default)]
struct Objects {
    /// Path to generation and bytes.
    held: BTreeMap<String, (u64, Bytes)>,
    generation: u64,
    replaced: Vec<String>,
}

#[derive(Clone)]
pub struct Gcs {
    objects: Arc<Mutex<Objects>>,
    mood: Arc<Mutex<Mood>>,
    pub url: String,
}

impl Gcs {
    pub async fn start() -> Gcs {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let gcs = Gcs { objects: Arc::default(), mood: Arc::new(Mutex::new(Mood::Well)), url };
        let app = Router::new().fallback(answer).with_state(gcs.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        gcs
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Everything that was ever replaced.
    pub fn replaced(&self) -> Vec<String> {
        self.objects.lock().unwrap().replaced.clone()
    }

    /// All objects by their path, without the bucket.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        let objects = self.objects.lock().unwrap();
        objects.held.iter().map(|(path, (_, bytes))| (path.clone(), bytes.clone())).collect()
    }

    fn put(
        &self,
        path: &str,
        condition: Option<u64>,
        body: Bytes,
        mood: Mood,
    ) -> Result<u64, StatusCode> {
        let mut objects = self.objects.lock().unwrap();
        let current = objects.held.get(path).map_or(0, |(generation, _)| *generation);
        if mood != Mood::IgnoresConditions && condition.is_some_and(|wanted| wanted != current) {
            return Err(StatusCode::PRECONDITION_FAILED);
        }
        if current != 0 {
            objects.replaced.push(path.to_owned());
        }
        objects.generation += 1;
        let generation = objects.generation;
        objects.held.insert(path.to_owned(), (generation, body));
        Ok(generation)
    }

    fn list(&self, query: &str) -> String {
        let value = |name: &str| {
            let pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let prefix = value("prefix").unwrap_or_default();
        let delimiter = value("delimiter");
        let mut xml = "<ListBucketResult>".to_owned();
        let mut folders = std::collections::BTreeSet::new();
        for (path, bytes) in self.objects() {
            let Some(rest) = path.strip_prefix(&prefix) else {
                continue;
            };
            match delimiter.as_deref().and_then(|d| rest.find(d)) {
                Some(end) => drop(folders.insert(path[..prefix.len() + end + 1].to_owned())),
                None => write!(
                    xml,
                    "<Contents><Key>{path}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                     <ETag>\"x\"</ETag><Size>{}</Size></Contents>",
                    bytes.len()
                )
                .unwrap(),
            }
        }
        for folder in folders {
            write!(xml, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>").unwrap();
        }
        xml + "</ListBucketResult>"
    }
}

async fn answer(State(gcs): State<Gcs>, request: Request) -> Response {
    let mood = *gcs.mood.lock().unwrap();
    if let Mood::Refuses(status) = mood {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let (parts, body) = request.into_parts();
    let full = percent_decode(parts.uri.path());
    let path = full.trim_start_matches('/').split_once('/').map(|(_, path)| path.to_owned());
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return gcs.list(parts.uri.query().unwrap_or_default()).into_response();
    };
    match parts.method {
        Method::PUT => {
            let body = axum::body::to_bytes(body, 1 << 30).await.unwrap();
            let condition = parts.headers.get("x-goog-if-generation-match");
            let condition = condition.map(|value| value.to_str().unwrap().parse().unwrap());
            let outcome = gcs.put(&path, condition, body, mood);
            match (outcome, mood) {
                (Ok(_), Mood::StoresAndFails) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                (Ok(_), Mood::StoresAndHangs) => std::future::pending().await,
                (Ok(generation), _) => headers(generation, 0).into_response(),
                (Err(status), _) => status.into_response(),
            }
        }
        Method::DELETE => {
            gcs.objects.lock().unwrap().held.remove(&path);
            StatusCode::NO_CONTENT.into_response()
        }
        method => {
            let held = gcs.objects.lock().unwrap().held.get(&path).cloned();
            let Some((generation, bytes)) = held else {
                return StatusCode::NOT_FOUND.into_response();
            };
            let headers = headers(generation, bytes.len());
            let body = if method == Method::HEAD { Body::empty() } else { bytes.into() };
            (headers, body).into_response()
        }
    }
}

fn headers(generation: u64, length: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-goog-generation", generation.into());
    headers.insert("etag", "\"x\"".parse().unwrap());
    headers.insert("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".parse().unwrap());
    if length > 0 {
        headers.insert("content-length", length.into());
    }
    headers
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}
