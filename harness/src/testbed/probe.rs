//! Asks a part something in its own protocol and says in words what came back.
//!
//! Written by hand rather than with the Kafka client: a client retries, caches and waits in the
//! background, and a probe must say what happened to one connection and one request.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::gateway::HARNESS_MARK;

/// `ApiVersions`, version 0: key, version, correlation id, client id.
const API_VERSIONS: i16 = 18;
const CORRELATION: i32 = 0x5174;
const CLIENT_ID: &str = "streamlake-harness-probe";
/// No answer to `ApiVersions` is near this; more is not Kafka at all.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Asks a broker for its `ApiVersions` on a new connection. `Err` says why no answer came.
///
/// # Errors
/// When the broker refused, closed, reset, stayed silent for longer than `within`, or answered with
/// something else.
pub async fn kafka_api_versions(address: SocketAddr, within: Duration) -> Result<String, String> {
    in_time(within, async {
        let mut stream = TcpStream::connect(address).await.map_err(broken)?;
        api_versions(&mut stream).await
    })
    .await
}

/// Asks for them on a connection that is there.
async fn api_versions(stream: &mut TcpStream) -> Result<String, String> {
    stream.write_all(&request()).await.map_err(broken)?;
    let size = stream.read_u32().await.map_err(broken)? as usize;
    if size > ANSWER_BYTES_MAX {
        return Err(format!("answered with {size} bytes, which is not Kafka"));
    }
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer).await.map_err(broken)?;
    understand(&answer)
}

/// A connection to a broker that is kept: while it stands, the broker's process is the same. That is all that can
/// be known of a process on somebody else's machine.
#[derive(Debug)]
pub struct Standing {
    address: SocketAddr,
    kept: tokio::sync::Mutex<Option<(TcpStream, String)>>,
}

impl Standing {
    /// Nothing is connected before the first look.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        Self { address, kept: tokio::sync::Mutex::default() }
    }

    /// Since when the connection stands; a new one, if the one before has ended. None while the broker takes
    /// none. A broker that is silent for longer than `within` has not ended for that.
    pub async fn since(&self, within: Duration) -> Option<String> {
        let mut kept = self.kept.lock().await;
        if let Some((stream, since)) = kept.as_mut() {
            match tokio::time::timeout(within, api_versions(stream)).await {
                Ok(Ok(_)) => return Some(since.clone()),
                // The next question finds this answer before its own, and it is as good.
                Err(_) => return None,
                Ok(Err(_)) => *kept = None,
            }
        }
        let connecting = tokio::time::timeout(within, TcpStream::connect(self.address));
        let stream = connecting.await.ok()?.ok()?;
        let since = format!("before {}", chrono::Utc::now().to_rfc3339());
        *kept = Some((stream, since.clone()));
        Some(since)
    }
}

/// Asks a store for the first name in a bucket, as clients list it (XML API), on a new connection. The
/// request is marked as the harness's own, so that a fault that it meets does not count as met.
///
/// # Errors
/// When the store refused, closed, reset, stayed silent for longer than `within`, or answered with
/// a status that is no success.
pub async fn store_listing(
    base_url: &str,
    bucket: &str,
    within: Duration,
) -> Result<String, String> {
    in_time(within, async {
        let client = reqwest::Client::builder().no_proxy().build().map_err(innermost)?;
        let url = format!("{base_url}/{bucket}?list-type=2&max-keys=1");
        let answer = client.get(url).header(HARNESS_MARK, "probe").send();
        let answer = answer.await.map_err(innermost)?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(innermost)?.len();
        match status {
            200..=299 => Ok(format!("listing answered with status {status}, {bytes} bytes")),
            _ => Err(format!("listing answered with status {status}")),
        }
    })
    .await
}

async fn in_time(
    within: Duration,
    asking: impl Future<Output = Result<String, String>>,
) -> Result<String, String> {
    match tokio::time::timeout(within, asking).await {
        Ok(answered) => answered,
        Err(_) => Err(format!("no answer within {within:?}")),
    }
}

fn broken(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed without an answer".to_owned(),
        _ => error.to_string(),
    }
}

/// The cause at the bottom, which says more than "error sending request".
fn innermost(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(io) => broken(io::Error::from(io.kind())),
        None => cause.to_string(),
    }
}

fn request() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&API_VERSIONS.to_be_bytes());
    body.extend_from_slice(&0_i16.to_be_bytes());
    body.extend_from_slice(&CORRELATION.to_be_bytes());
    // The lengths are constants far below the limits of their types.
    body.extend_from_slice(&(CLIENT_ID.len() as i16).to_be_bytes());
    body.extend_from_slice(CLIENT_ID.as_bytes());
    let mut request = (body.len() as i32).to_be_bytes().to_vec();
    request.append(&mut body);
    request
}

/// Correlation id, error code, number of APIs; then six bytes each.
fn understand(answer: &[u8]) -> Result<String, String> {
    let strange = || format!("answered with {} bytes that are no ApiVersions", answer.len());
    let (head, rest) = answer.split_first_chunk::<10>().ok_or_else(strange)?;
    let [c0, c1, c2, c3, e0, e1, n0, n1, n2, n3] = *head;
    let (error, apis) = (i16::from_be_bytes([e0, e1]), i32::from_be_bytes([n0, n1, n2, n3]));
    if i32::from_be_bytes([c0, c1, c2, c3]) != CORRELATION {
        return Err(strange());
    }
    if error != 0 {
        return Err(format!("ApiVersions answered with error code {error}"));
    }
    if usize::try_from(apis).ok().and_then(|apis| apis.checked_mul(6)) != Some(rest.len()) {
        return Err(strange());
    }
    Ok(format!("ApiVersions answered with {apis} APIs"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::net::TcpListener;

    use super::*;

    const WITHIN: Duration = Duration::from_millis(300);

    /// Takes one connection, reads the request and answers with `answer`, or not at all.
    async fn part(answer: Option<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; request().len()];
            stream.read_exact(&mut asked).await.unwrap();
            match answer {
                Some(answer) => stream.write_all(&answer).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        address
    }

    fn answer(error: i16, apis: i32) -> Vec<u8> {
        let mut body = CORRELATION.to_be_bytes().to_vec();
        body.extend_from_slice(&error.to_be_bytes());
        body.extend_from_slice(&apis.to_be_bytes());
        body.extend(std::iter::repeat_n(0, 6 * apis as usize));
        let mut answer = (body.len() as u32).to_be_bytes().to_vec();
        answer.append(&mut body);
        answer
    }

    #[tokio::test]
    async fn says_what_came_back() {
        let asked = |part| kafka_api_versions(part, WITHIN);
        let up = asked(part(Some(answer(0, 61))).await).await;
        assert_eq!(up, Ok("ApiVersions answered with 61 APIs".to_owned()));
        let error = asked(part(Some(answer(35, 0))).await).await;
        assert_eq!(error, Err("ApiVersions answered with error code 35".to_owned()));
        let silent = asked(part(None).await).await;
        assert_eq!(silent, Err("no answer within 300ms".to_owned()));
        let closed = asked(part(Some(Vec::new())).await).await;
        assert_eq!(closed, Err("connection closed without an answer".to_owned()));
        let other = asked(part(Some(b"HTTP/1.1 400 Bad Request".to_vec())).await).await;
        assert!(other.unwrap_err().contains("not Kafka"));
    }

    #[tokio::test]
    async fn says_that_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused = Err("connection refused".to_owned());
        assert_eq!(kafka_api_versions(address, WITHIN).await, refused);
        assert_eq!(store_listing(&format!("http://{address}"), "b", WITHIN).await, refused);
    }
}
