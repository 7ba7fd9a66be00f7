//! Work that may take for ever, given up after a time.

use std::fmt::Display;
use std::time::Duration;

/// Runs a client of the library, whose calls block, in a thread of its own. One that hangs is left behind.
///
/// # Errors
/// Its own error, that it panicked, or that it took too long.
pub(super) async fn blocking<T: Send + 'static, E: Display + Send + 'static>(
    what: &str,
    within: Duration,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    let working = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(within, working).await {
        Ok(Ok(done)) => done.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what} did not end within {within:?}")),
    }
}

/// Waits for work, and no longer than this.
///
/// # Errors
/// Its own error, or that it took too long.
pub(super) async fn within<T, E: Display>(
    what: &str,
    within: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(within, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("{what} did not end within {within:?}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WITHIN: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_panic_and_an_error_are_told() {
        let panicked = blocking("work", WITHIN, || -> Result<(), String> { panic!("on purpose") });
        assert!(panicked.await.unwrap_err().starts_with("work: "));
        assert_eq!(blocking("work", WITHIN, || Err::<(), _>("no")).await, Err("no".to_owned()));
        assert_eq!(blocking("work", WITHIN, || Ok::<_, String>(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn what_never_ends_is_given_up() {
        let never = std::future::pending::<Result<(), String>>();
        let given_up = within("work", Duration::from_millis(20), never).await.unwrap_err();
        assert_eq!(given_up, "work did not end within 20ms");
    }
}
