//! The questions that decide whether a store can hold a raw zone: does it honour create-if-absent, and
//! may this account do all that is needed later (create, read, list, replace the metadata)?
//!
//! A store that lets a second create through in silence would let two consumers overwrite each
//! other's parts. Some emulators and gateways do; they are refused at start-up.

use super::metadata;
use super::store::{Zone, backoff, next_delay};
use crate::classify::{self, Decision, Phase};
use crate::error::{Error, Result};
use crate::planted::Bug;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};

/// Asks the store, and waits for it when it is away. The probe's object is its own, outside the
/// folders of any dataset, and is deleted again.
pub async fn create_if_absent(zone: &Zone, mut on_retry: impl FnMut(&str)) -> Result<()> {
    if crate::planted::acts(Bug::ProbeSkipped) {
        return Ok(());
    }
    let path = format!("raw/.probe-{}", uuid::Uuid::new_v4());
    let mut delays = backoff();
    let outcome = loop {
        match ask(zone, &path).await {
            Ok(honoured) => break Ok(honoured),
            Err((doing, err)) => match classify::store(&err, Phase::StartUp) {
                Decision::Retry => {
                    on_retry(&format!("{doing}: {err}"));
                    tokio::time::sleep(next_delay(&mut delays)).await;
                }
                _ => {
                    let address = zone.address(&path);
                    let remedy = match &zone.local_root {
                        Some(_) => " (the file system must allow hard links, fsync and flock)",
                        None => "",
                    };
                    let doing = format!("{doing} {address}, as is needed later{remedy}");
                    break Err(Error::store(doing)(err));
                }
            },
        }
    };
    if !crate::planted::acts(Bug::ProbeLeftBehind)
        && let Err(err) = zone.bounded(zone.store.delete(&Path::from(path.as_str()))).await
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

/// What was being done, and how it failed.
type Refusal = (&'static str, object_store::Error);

/// Creates the object until it is there, then once more: that must be refused. Then everything else that
/// a consumer does later.
async fn ask(zone: &Zone, path: &str) -> Result<bool, Refusal> {
    let path = Path::from(path);
    let put = |mode: PutMode| {
        let probe = PutPayload::from_static(b"probe");
        zone.bounded(zone.store.put_opts(&path, probe, mode.into()))
    };
    match put(PutMode::Create).await {
        Ok(created) => zone.learn_from(&created),
        Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(err) => return Err(("creating", err)),
    }
    match put(PutMode::Create).await {
        Ok(_) => return Ok(false),
        Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(err) => return Err(("creating", err)),
    }
    let found = zone.bounded(zone.store.get(&path)).await.map_err(|err| ("reading", err))?;
    // What others keep beside the raw zone is no matter here: this lists where nothing is.
    let nothing = Path::from(format!("{path}-none"));
    let mut listing = zone.store.list(Some(&nothing));
    zone.bounded(listing.try_next()).await.map_err(|err| ("listing the folder of", err))?;
    if let Some(root) = &zone.local_root {
        let locked = metadata::lock_folder(root.join("raw"));
        zone.bounded(locked).await.map_err(|err| ("locking the folder of", err))?;
    }
    // The metadata is replaced; on a local directory under a lock, which knows no version.
    let version = UpdateVersion { e_tag: found.meta.e_tag, version: found.meta.version };
    let replace = match zone.local_root {
        Some(_) => PutMode::Overwrite,
        None => PutMode::Update(version),
    };
    match put(replace).await {
        // An answer that was lost, and the repetition that came too late for its version.
        Ok(_) | Err(object_store::Error::Precondition { .. }) => Ok(true),
        Err(err) => Err(("replacing", err)),
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
