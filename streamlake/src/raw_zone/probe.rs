//! The question that decides whether a store can hold a raw zone: does it honour create-if-absent?
//!
//! A store that lets a second create through in silence would let two consumers overwrite each
//! other's parts. Some emulators and gateways do; they are refused at start-up.

use super::store::{Zone, backoff, next_delay};
use crate::classify::{self, Decision, Phase};
use crate::error::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutPayload};

/// Asks the store, and waits for it when it is away. The probe's object is its own, outside the
/// folders of any dataset, and is deleted again.
pub async fn create_if_absent(zone: &Zone, mut on_retry: impl FnMut(&str)) -> Result<()> {
    let path = format!("raw/.probe-{}", uuid::Uuid::new_v4());
    let mut delays = backoff();
    let outcome = loop {
        match zone.bounded(ask(zone, &path)).await {
            Ok(honoured) => break Ok(honoured),
            Err(err) => match classify::store(&err, Phase::StartUp) {
                Decision::Retry => {
                    on_retry(&err.to_string());
                    tokio::time::sleep(next_delay(&mut delays)).await;
                }
                _ => {
                    break Err(Error::store(format!("writing {}", zone.address(&path)))(err));
                }
            },
        }
    };
    if crate::planted::acts(crate::planted::Bug::ProbeLeft) {
        return outcome.map(|_| ());
    }
    if let Err(err) = zone.bounded(zone.store.delete(&Path::from(path.as_str()))).await
        && !matches!(err, object_store::Error::NotFound { .. })
    {
        tracing::warn!(path, error = %err, "the probe's object could not be deleted");
    }
    if outcome? {
        return Ok(());
    }
    Err(Error::StoreUnfit(
        "it let a second create of the same object through. Parts could be overwritten. Use a store \
         (or a version of the emulator) that honours x-goog-if-generation-match: 0"
            .into(),
    ))
}

/// Creates the object until it is there, then once more: that must be refused.
async fn ask(zone: &Zone, path: &str) -> object_store::Result<bool> {
    let path = Path::from(path);
    let create =
        || zone.store.put_opts(&path, PutPayload::from_static(b"probe"), PutMode::Create.into());
    match create().await {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(err) => return Err(err),
    }
    match create().await {
        Ok(_) => Ok(false),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(true),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{RawZoneSettings, raw_zone_url};
    use std::time::Duration;

    #[tokio::test]
    async fn a_directory_is_fit_and_left_clean() {
        let dir = tempfile::tempdir().unwrap();
        let url = raw_zone_url(&format!("file://{}", dir.path().display())).unwrap();
        let settings = RawZoneSettings { url, request_timeout: Duration::from_secs(5) };
        let zone = Zone::open(&settings).unwrap();
        create_if_absent(&zone, |_| {}).await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("raw")).unwrap().count(), 0);
    }
}
