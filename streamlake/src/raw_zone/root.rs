//! The directory of a local raw zone, watched: a file system that is unmounted leaves an empty directory under
//! the same name, on the disk below. What is written there is hidden as soon as the zone is mounted again.

use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The directory as it was opened.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    opened: Mutex<Opened>,
    /// Something that was written there. Mounted again, a file system may have another number.
    witness: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Opened {
    place: Option<(u64, u64)>,
    /// Kept open, so that its number is given to no other directory, and a file system that is in use is not
    /// unmounted by mistake.
    _held: File,
}

impl Opened {
    fn of(path: &PathBuf) -> io::Result<Opened> {
        let held = File::open(path)?;
        Ok(Opened { place: place(&held.metadata()?), _held: held })
    }
}

/// Device and inode, where there are such.
#[cfg(unix)]
fn place(of: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((of.dev(), of.ino()))
}

#[cfg(not(unix))]
fn place(_: &Metadata) -> Option<(u64, u64)> {
    None
}

impl Root {
    pub(super) fn open(path: PathBuf) -> io::Result<Root> {
        let opened = Mutex::new(Opened::of(&path)?);
        Ok(Root { path, opened, witness: Mutex::default() })
    }

    /// A path below the root was written.
    pub(super) fn wrote(&self, path: &str) {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        path.clone_into(witness.get_or_insert_default());
    }

    /// Whether the name still leads to the directory that was opened; if not, why. Blocking.
    pub(super) fn check(&self) -> Result<(), String> {
        let shown = self.path.display();
        let found = std::fs::metadata(&self.path).map_err(|err| {
            format!(
                "the raw zone's directory {shown} is not there any more ({err}); is it mounted?"
            )
        })?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.place == place(&found) {
            return Ok(());
        }
        let witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = witness.is_some_and(|path| self.path.join(path).exists());
        match Opened::of(&self.path) {
            Ok(again) if known => {
                tracing::warn!("{shown} was mounted again; what was written is there");
                *opened = again;
                Ok(())
            }
            _ => Err(format!(
                "{shown} is another directory than the one that was opened, and holds nothing of what was \
                 written; is its file system still mounted? If this is the raw zone, start again"
            )),
        }
    }
}
