//! What the consumers' processes answer to whoever asks whether they are well and ready, asked again and
//! again. Only changes are recorded, with the first and the last answer. Their metrics are asked for as well,
//! half as often, and every reading is recorded: one that never changes may be what is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::self_report;
use streamlake_history::Recorder;
use streamlake_history::event::{Fact, Probe};

const EVERY: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
const PATHS: [&str; 2] = ["healthz", "readyz"];
const METRICS: &str = "metrics";
/// For so many rounds, five minutes, each second; then every ten: a soak of a day is to leave room for other facts.
const OFTEN: u64 = 600;

/// Asks the members, each with the file of its events, until `stop` is cancelled.
pub(super) async fn watch(
    group: String,
    members: Vec<(String, PathBuf)>,
    recorder: Recorder,
    stop: CancellationToken,
) {
    let mut watches = JoinSet::new();
    for (member, events) in members {
        let group = group.clone();
        watches.spawn(watch_member(group, member, events, recorder.clone(), stop.clone()));
    }
    while watches.join_next().await.is_some() {}
}

async fn watch_member(
    group: String,
    member: String,
    events: PathBuf,
    recorder: Recorder,
    stop: CancellationToken,
) {
    let process = format!("health-{member}");
    let mut last: [Option<Result<String, String>>; 2] = [None, None];
    let mut address = None;
    for round in 0_u64.. {
        let stopping = stop.is_cancelled();
        // A process that was started again listens somewhere else.
        if address.is_none() {
            address = listening(&events).await;
        }
        for (path, last) in PATHS.into_iter().zip(&mut last) {
            let answer = match &address {
                Some(address) => ask(address, path).await.map(|answer| answer.status),
                None => Err("it has not said where it listens".to_owned()),
            };
            if answer.is_err() {
                address = None;
            }
            if last.as_ref() != Some(&answer) || stopping {
                let told = answer.clone();
                let (answered, detail) = (told.is_ok(), told.unwrap_or_else(|why| why));
                let target = format!("{member} {path}");
                recorder.record(&process, Fact::Probe(Probe { target, answered, detail }));
                *last = Some(answer);
            }
        }
        if stopping {
            return;
        }
        let asks = round.is_multiple_of(if round < OFTEN { 2 } else { 20 });
        if let Some(address) = address.as_ref().filter(|_| asks) {
            let page = ask(address, METRICS).await.map(|answer| answer.body).unwrap_or_default();
            for told in self_report::of_metrics(&member, &page) {
                recorder.record(&process, Fact::SelfReport(told));
            }
            if let Some(totals) = self_report::totals_of_metrics(&member, &group, &page) {
                recorder.record(&process, Fact::Totals(totals));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// The address that a process told last.
async fn listening(events: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Listening {
        event: String,
        http: Option<String>,
    }
    let text = tokio::fs::read_to_string(events).await.ok()?;
    let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Listening>(line).ok());
    lines.filter(|line| line.event == "listening").find_map(|line| line.http)
}

#[derive(Debug, PartialEq)]
struct Answer {
    /// As it stands in the first line.
    status: String,
    body: String,
}

async fn ask(address: &str, path: &str) -> Result<Answer, String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
        let status = status.ok_or_else(|| std::io::Error::other("no answer of HTTP"))?;
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(Answer { status: status.to_owned(), body: body.to_owned() })
    };
    match tokio::time::timeout(ANSWER_WITHIN, asking).await {
        Ok(answer) => answer.map_err(|error: std::io::Error| error.to_string()),
        Err(_) => Err("it did not answer in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn the_last_address_counts_and_the_status_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let events = folder.path().join("consumer-1.events.jsonl");
        assert_eq!(listening(&events).await, None);
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let old = r#"{"event":"listening","http":"127.0.0.1:1"}"#;
        let new = format!(r#"{{"at":"x","event":"listening","http":"{address}"}}"#);
        std::fs::write(&events, format!("{old}\n{new}\n{{\"event\":\"assigned\"}}\n{{\"ev"))
            .unwrap();
        assert_eq!(listening(&events).await, Some(address.clone()));
        let serving = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}").await.unwrap();
        });
        let answer = Answer { status: "503".to_owned(), body: "{}".to_owned() };
        assert_eq!(ask(&address, "healthz").await, Ok(answer));
        serving.await.unwrap();
        assert!(ask(&address, "healthz").await.is_err());
    }
}
