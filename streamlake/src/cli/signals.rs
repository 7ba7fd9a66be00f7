//! SIGTERM, SIGHUP and SIGINT: the first asks for a drain. A further SIGTERM changes nothing: supervisors send it
//! to a process and to its group, and the drain has a deadline of its own. A SIGINT while draining, a
//! second Ctrl-C, ends the process at once.

use crate::error::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was interrupted twice.
const EXIT_INTERRUPTED: i32 = 130;

/// A token that is cancelled by the first signal.
pub(super) fn stop_token() -> Result<CancellationToken> {
    let installing = || Error::io("installing the signal handlers");
    let mut terminate = signal(SignalKind::terminate()).map_err(installing())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(installing())?;
    // A terminal that is closed asks to stop as well, unless it was told to be of no matter (nohup).
    let mut hangup = match hangup_is_ignored() {
        true => None,
        false => Some(signal(SignalKind::hangup()).map_err(installing())?),
    };
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let mut interrupted = false;
        loop {
            let is_interrupt = tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => true,
                () = received(hangup.as_mut()) => false,
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

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether who started this process asked for SIGHUP to be ignored. The kernel tells the mask of ignored
/// signals; where it does not, none is.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_hangup(&status)
}

fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_to_be_ignored_is_found() {
        for (status, ignored) in [
            ("Name:\tx\nSigIgn:\t0000000000000001\n", true),
            ("SigIgn:\t0000000000001001\n", true),
            ("SigIgn:\t0000000000001000\n", false),
            ("SigBlk:\t0000000000000001\n", false),
            ("", false),
        ] {
            assert_eq!(ignores_hangup(status), ignored, "{status}");
        }
    }
}
