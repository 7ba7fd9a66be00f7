//! `/metrics` for Prometheus, `/healthz` for whoever restarts processes (503: a restart may help) and
//! `/readyz` for whoever waits for them (503: not in its group, or on its way out).

use super::health::{Board, Health};
use super::metrics;
use crate::error::{Error, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Serves both at `address` until the process ends; returns the address that was bound.
pub async fn serve(address: SocketAddr, board: Arc<Board>) -> Result<SocketAddr> {
    let handle = metrics::install()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        // Without it the samples of a histogram wait in memory for a scrape that may never come.
        let mut every = tokio::time::interval(Duration::from_secs(5));
        loop {
            every.tick().await;
            upkeep.run_upkeep();
        }
    });
    let listening = TcpListener::bind(address).await;
    let listener = listening.map_err(Error::io(format!("listening at {address}")))?;
    let bound = listener.local_addr().map_err(Error::io("reading the bound address"))?;
    let app = Router::new()
        .route("/metrics", get(move || async move { handle.render() }))
        .route("/healthz", get(answer(Arc::clone(&board), |health| health.healthy)))
        .route("/readyz", get(answer(board, |health| health.ready)));
    tokio::spawn(accept(listener, app));
    tracing::info!(address = %bound, "metrics and health");
    Ok(bound)
}

/// Connections at the same time: who probes and scrapes needs a few, and each takes a descriptor that parts
/// need as well.
const CONNECTIONS_MAX: usize = 32;
/// A request has been sent by then, and its answer been taken. Nobody keeps a connection for longer.
const REQUEST_WITHIN: Duration = Duration::from_secs(2);
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// After an accept that failed, as for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves one request a connection.
async fn accept(listener: TcpListener, app: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(err) => {
                tracing::warn!(error = %err, "a connection for metrics and health is refused");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(app.clone());
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_WITHIN)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // What becomes of a probe is for whoever probes to see.
            let _ = tokio::time::timeout(ANSWERED_WITHIN, serving).await;
            drop(place);
        });
    }
}

fn answer(
    board: Arc<Board>,
    good: fn(&Health) -> bool,
) -> impl Fn() -> std::future::Ready<Response> + Clone {
    move || {
        let health = board.health(Instant::now());
        let status = if good(&health) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready((status, axum::Json(health)).into_response())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn who_sends_half_a_request_is_sent_away_and_keeps_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/healthz", get(|| async { "well" }));
        tokio::spawn(accept(listener, app));
        let mut half = Vec::new();
        for _ in 0..CONNECTIONS_MAX + 5 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
            half.push(stream);
        }
        let mut whole = TcpStream::connect(address).await.unwrap();
        whole.write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        whole.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("well"), "{answer}");
        // Its answer is over, and so is the connection; those that said half have been let go.
        let mut rest = Vec::new();
        half[0].read_to_end(&mut rest).await.unwrap();
    }
}
