//! The object store: fake-gcs-server on its filesystem backend, which keeps what it acknowledged
//! also through SIGKILL.

use std::net::SocketAddr;
use std::time::Duration;

use crate::testbed::TestbedError;

/// Port within the container.
pub(super) const PORT: u16 = 4443;
/// A project has to be named; the emulator takes any.
const PROJECT: &str = "streamlake";
/// A bucket is created within this time.
const CREATE_WITHIN: Duration = Duration::from_secs(10);

/// Arguments of the server. It compares the host that a request names with `public`, which is
/// where the gateway reaches it.
pub(super) fn arguments(public: SocketAddr) -> Vec<String> {
    let url = format!("http://{public}");
    let public = public.to_string();
    let port = PORT.to_string();
    let arguments = [
        ("-scheme", "http"),
        ("-host", "0.0.0.0"),
        ("-port", &port),
        ("-backend", "filesystem"),
        ("-filesystem-root", "/storage"),
        ("-public-host", &public),
        ("-external-url", &url),
    ];
    arguments.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect()
}

/// Lists the buckets: the cheapest question that the store answers from its backend.
pub(super) async fn list_buckets(
    http: &reqwest::Client,
    url: &str,
    within: Duration,
) -> Result<String, String> {
    let url = format!("{url}/storage/v1/b?project={PROJECT}");
    let body: serde_json::Value = get_json(http, url, within).await?;
    let buckets = body.get("items").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    Ok(format!("a listing of {buckets} bucket(s)"))
}

/// Asks for a document.
pub(super) async fn get_json<T: serde::de::DeserializeOwned>(
    http: &reqwest::Client,
    url: String,
    within: Duration,
) -> Result<T, String> {
    let answer = http.get(url).timeout(within).send().await.map_err(|error| describe(&error))?;
    let status = answer.status();
    // Before its body: an error need not be JSON.
    if !status.is_success() {
        return Err(format!("answered {status}"));
    }
    answer.json().await.map_err(|error| describe(&error))
}

/// Creates a bucket.
pub(super) async fn create_bucket(
    http: &reqwest::Client,
    url: &str,
    bucket: &str,
) -> Result<(), TestbedError> {
    let refused = |reason: String| TestbedError::request(format!("create bucket {bucket}"), reason);
    let answer = http
        .post(format!("{url}/storage/v1/b?project={PROJECT}"))
        .timeout(CREATE_WITHIN)
        .json(&serde_json::json!({ "name": bucket }))
        .send()
        .await
        .map_err(|error| refused(describe(&error)))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status();
    Err(refused(format!("{status} {}", answer.text().await.unwrap_or_default())))
}

/// An HTTP client's error down to its cause; the first line alone says only "error sending".
fn describe(error: &reqwest::Error) -> String {
    use std::error::Error;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_server_is_told_where_clients_reach_it() {
        let arguments = arguments("127.0.0.1:40001".parse().unwrap());
        let pair = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name).unwrap();
            arguments[at + 1].clone()
        };
        assert_eq!(pair("-public-host"), "127.0.0.1:40001");
        assert_eq!(pair("-external-url"), "http://127.0.0.1:40001");
        assert_eq!(pair("-backend"), "filesystem");
    }
}
