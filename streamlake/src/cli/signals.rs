//! SIGTERM and SIGINT: the first asks for a drain, the second ends the process at once.

use crate::error::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first signal.
pub(super) fn stop_token() -> Result<CancellationToken> {
    let installing = || Error::io("installing the signal handlers");
    let mut terminate = signal(SignalKind::terminate()).map_err(installing())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(installing())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
            };
            if stop.is_cancelled() {
                tracing::warn!("a second signal: ending at once");
                std::process::exit(code);
            }
            stop.cancel();
        }
    });
    Ok(token)
}
