//! What runs made on a cluster of somebody's own, noted before it is made: what a run that was killed left
//! there can be found by that, and nothing else is ever removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Description;
use super::parts::Parts;
use crate::sweep::{owner_is_alive, owner_label};
use crate::testbed::Swept;

/// The folder of these notes below that of the runs.
const FOLDER: &str = "external/made";

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    /// Names of what was made begin so.
    pub(super) mark: String,
    /// Topics.
    pub(super) topics: BTreeSet<String>,
    /// The file that describes the cluster.
    pub(super) cluster: PathBuf,
    /// The harness that made it.
    owner: String,
}

impl Made {
    pub(super) fn new(mark: &str, topics: BTreeSet<String>, description: &Description) -> Self {
        let cluster = std::path::absolute(&description.path);
        Self {
            mark: mark.to_owned(),
            topics,
            cluster: cluster.unwrap_or_else(|_| description.path.clone()),
            owner: owner_label(),
        }
    }

    fn path(&self, runs: &Path) -> PathBuf {
        runs.join(FOLDER).join(format!("{}.json", self.mark))
    }

    /// Writes the note, whole or not at all.
    pub(super) fn write(&self, runs: &Path) -> io::Result<()> {
        let path = self.path(runs);
        fs::create_dir_all(runs.join(FOLDER))?;
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        fs::rename(fresh, path)
    }

    pub(super) fn forget(&self, runs: &Path) -> io::Result<()> {
        fs::remove_file(self.path(runs))
    }
}

/// Removes what runs made whose harness is gone.
pub async fn sweep(runs: &Path) -> Swept {
    let mut swept = Swept::default();
    let entries = fs::read_dir(runs.join(FOLDER)).into_iter().flatten().flatten();
    let notes = entries.map(|entry| entry.path());
    for path in notes.filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let told = fs::read(&path).map_err(|error| error.to_string());
        let told = told.and_then(|text| {
            serde_json::from_slice::<Made>(&text).map_err(|error| error.to_string())
        });
        let made = match told {
            Ok(made) if owner_is_alive(&made.owner) => continue,
            Ok(made) => made,
            Err(reason) => {
                swept.problems.push(format!("{} is no note of a run: {reason}", path.display()));
                continue;
            }
        };
        match remove(&made).await {
            Ok(lines) => {
                swept.done.extend(lines.into_iter().map(|line| format!("removed {line}")));
                if let Err(error) = made.forget(runs) {
                    swept.problems.push(format!("{}: {error}", path.display()));
                }
            }
            Err(reason) => swept.problems.push(format!(
                "what {} made is still on the cluster of {}: {reason}",
                made.mark,
                made.cluster.display()
            )),
        }
    }
    swept
}

async fn remove(made: &Made) -> Result<Vec<String>, String> {
    let description = Description::read(&made.cluster).map_err(|error| error.to_string())?;
    let parts = Parts::connect(&description, &made.mark).await.map_err(|e| e.to_string())?;
    parts.remove(made).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn made(owner: &str) -> Made {
        Made {
            mark: "h-12ab34cd".to_owned(),
            topics: BTreeSet::from(["t".to_owned()]),
            cluster: PathBuf::from("/nowhere/cluster.toml"),
            owner: owner.to_owned(),
        }
    }

    #[tokio::test]
    async fn what_a_live_harness_made_is_left_alone_and_what_cannot_be_removed_is_told() {
        let runs = tempfile::tempdir().unwrap();
        assert_eq!(sweep(runs.path()).await, Swept::default());
        made(&owner_label()).write(runs.path()).unwrap();
        assert_eq!(sweep(runs.path()).await, Swept::default());
        // The same process id, started at another time.
        let gone = owner_label().replacen(':', ":1", 1);
        made(&gone).write(runs.path()).unwrap();
        let swept = sweep(runs.path()).await;
        assert_eq!(swept.done, Vec::<String>::new());
        assert!(swept.problems[0].contains("h-12ab34cd made is still on"), "{swept:?}");
        made(&gone).forget(runs.path()).unwrap();
        assert_eq!(sweep(runs.path()).await, Swept::default());
    }
}
