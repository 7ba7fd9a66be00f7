//! SIGTERM and SIGINT: the first asks for a drain. A further SIGTERM changes nothing: supervisors send it
//! to a process and to its group, and the drain has a deadline of its own. A SIGINT while draining, a
//! second Ctrl-C, ends the process at once.

use crate::error::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was interrupted twice.
const EXIT_INTERRUPTED: i32 = 130;

/// A token that is cancelled by the first signal.
pub(super) fn stop_token() -> Result<CancellationToken> {
    let installing = || Error::io("installing the signal handlers");
    let mut terminate = signal(SignalKind::terminate()).map_err(installing())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(installing())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let mut interrupted = false;
        loop {
            let is_interrupt = tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => true,
            };
            if interrupted && is_interrupt {
                tracing::warn!("a second interrupt: ending at once");
                super::logging::flush();
                std::process::exit(EXIT_INTERRUPTED);
            }
            if stop.is_cancelled() {
                tracing::info!("stopping already; Ctrl-C twice ends the process at once");
            }
            interrupted |= is_interrupt;
            stop.cancel();
        }
    });
    Ok(token)
}
