//! What a crash leaves on a local directory: the store writes a file under its name with `#1` behind it and
//! gives it its name afterwards. Whoever reads `part-*` reads such a file, too: records twice, or a torn line.

use super::name::{Folder, METADATA_NAME, PartName};
use super::store::Zone;
use crate::raw_zone::store::local_names;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file that nobody has touched for so long is nobody's any more, however slow the disk.
const OLD: Duration = Duration::from_secs(600);
/// Names of the probe's objects begin so.
const PROBE: &str = ".probe-";

/// Whether a name is that of a file on its way to its own name.
fn is_staged(name: &str) -> bool {
    let Some((base, number)) = name.rsplit_once('#') else { return false };
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    numbered && (base == METADATA_NAME || PartName::parse(base).is_some())
}

/// A probe's object that was not deleted, or is on its way.
fn is_probe(name: &str) -> bool {
    name.starts_with(PROBE)
}

/// Files of a crash in a folder of parts, by their paths below the root; also those that are being written.
pub async fn in_folder(zone: &Zone, folder: &Folder) -> object_store::Result<Vec<String>> {
    let Some(root) = &zone.local_root else { return Ok(Vec::new()) };
    let mut names = zone.bounded(local_names(root.join(folder.path()))).await?;
    names.retain(|name| is_staged(name));
    names.sort();
    Ok(names.iter().map(|name| format!("{}/{name}", folder.path())).collect())
}

/// Removes what a crash left in a folder of parts. What may still be written stays.
pub async fn sweep(zone: &Zone, folder: &Folder) {
    sweep_names(zone, folder.path(), is_staged).await;
}

/// Removes what a crash left of the questions that a start asks its store.
pub async fn sweep_probes(zone: &Zone) {
    sweep_names(zone, "raw".to_owned(), is_probe).await;
}

async fn sweep_names(zone: &Zone, folder: String, ours: fn(&str) -> bool) {
    let Some(root) = &zone.local_root else { return };
    let directory = root.join(&folder);
    let names = match zone.bounded(local_names(directory.clone())).await {
        Ok(names) => names,
        Err(err) => {
            tracing::warn!(path = folder, error = %err, "what a crash may have left is not looked for");
            return;
        }
    };
    let old = OLD.max(zone.request_timeout().saturating_mul(4));
    let wanted: Vec<_> = names.into_iter().filter(|name| ours(name)).collect();
    if wanted.is_empty() {
        return;
    }
    let removing = move || wanted.iter().for_each(|name| remove_old(&directory, name, old));
    if let Err(err) = tokio::task::spawn_blocking(removing).await {
        tracing::warn!(error = %err, "what a crash left is not removed");
    }
}

fn remove_old(directory: &Path, name: &str, old: Duration) {
    let path: PathBuf = directory.join(name);
    // Without an age: it is gone, or of a clock that is ahead.
    if age(&path).is_none_or(|age| age < old) {
        return;
    }
    match std::fs::remove_file(&path) {
        Ok(()) => tracing::info!(path = %path.display(), "what a crash left is removed"),
        Err(err) => {
            tracing::warn!(path = %path.display(), error = %err, "what a crash left stays");
        }
    }
}

fn age(path: &Path) -> Option<Duration> {
    let modified = std::fs::symlink_metadata(path).ok()?.modified().ok()?;
    SystemTime::now().duration_since(modified).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{RawZoneSettings, raw_zone_url};

    #[test]
    fn only_what_the_store_makes_on_its_way_is_a_leftover() {
        for name in ["part-0003.json#1", "part-10000.json.zst#12", "_metadata.json#1"] {
            assert!(is_staged(name), "{name}");
        }
        for name in ["part-0003.json", "_metadata.json", "part-3.json#1", "part-0003.json#", "x#1"]
        {
            assert!(!is_staged(name), "{name}");
        }
        assert!(is_probe(".probe-1") && is_probe(".probe-1#1") && !is_probe("dataset=a"));
    }

    #[tokio::test]
    async fn what_is_old_goes_and_what_may_still_be_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let url = raw_zone_url(&format!("file://{}", dir.path().display())).unwrap();
        let settings = RawZoneSettings { url, request_timeout: Duration::from_secs(5) };
        let zone = Zone::open(&settings).unwrap();
        let folder = Folder { dataset: "d".into(), date: Default::default() };
        let path = dir.path().join(folder.path());
        std::fs::create_dir_all(&path).unwrap();
        let make = |at: PathBuf, age: u64| {
            let file = std::fs::File::create(at).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        for (name, age) in [
            ("part-0001.json", 9_000),
            ("part-0002.json#1", 9_000),
            ("part-0003.json.gz#2", 9_000),
            ("part-0004.json#1", 0),
            ("_metadata.json#1", 9_000),
            ("stranger#1", 9_000),
        ] {
            make(path.join(name), age);
        }
        for (name, age) in [(".probe-a", 9_000), (".probe-b#1", 9_000), (".probe-c", 0)] {
            make(dir.path().join("raw").join(name), age);
        }
        assert_eq!(in_folder(&zone, &folder).await.unwrap().len(), 4);
        sweep(&zone, &folder).await;
        sweep_probes(&zone).await;
        let names = |of: PathBuf| {
            let entries = std::fs::read_dir(of).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(
            names(path),
            ["part-0001.json", "part-0004.json#1", "stranger#1"].map(String::from).into()
        );
        assert_eq!(
            names(dir.path().join("raw")),
            [".probe-c", "dataset=d"].map(String::from).into()
        );
    }
}
