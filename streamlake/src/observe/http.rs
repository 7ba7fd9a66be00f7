//! `/metrics` for Prometheus, `/healthz` for whoever restarts processes (503: a restart may help) and
//! `/readyz` for whoever waits for them (503: not in its group, or on its way out).

use super::health::{Board, Health};
use super::metrics;
use crate::error::{Error, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    let listening = tokio::net::TcpListener::bind(address).await;
    let listener = listening.map_err(Error::io(format!("listening at {address}")))?;
    let bound = listener.local_addr().map_err(Error::io("reading the bound address"))?;
    let app = Router::new()
        .route("/metrics", get(move || async move { handle.render() }))
        .route("/healthz", get(answer(Arc::clone(&board), |health| health.healthy)))
        .route("/readyz", get(answer(board, |health| health.ready)));
    tokio::spawn(async move {
        if let Err(err) = axum::serve(listener, app).await {
            tracing::warn!(error = %err, "metrics and health are no longer served");
        }
    });
    tracing::info!(address = %bound, "metrics and health");
    Ok(bound)
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
