//! Delivery into a folder: files of JSON lines, each whole from the instant on at which it has a name
//! that counts.
//!
//! When that was is the time of the last change of its inode, which a rename sets; the kernel stamps it
//! by a clock that ticks every few milliseconds and is never late.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::include::Include;
use super::lines::Delivered;
use crate::adapter::{Sighted, Unread};
use streamlake_history::Recorder;
use streamlake_history::event::{Fact, Object, ObjectRole};

/// Process name of these facts in a history; the watch of the store has the same.
pub(super) const WATCH: &str = "store-watch";
pub(super) const EVERY: Duration = Duration::from_millis(50);

/// A look at a folder, again and again.
pub(super) struct Watching {
    pub(super) folder: PathBuf,
    pub(super) raw_zone: String,
    pub(super) include: Include,
    pub(super) recorder: Recorder,
    pub(super) sighted: Sighted,
}

/// A file as it stood there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Name below the folder.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    modified_ns: i128,
    changed_us: i64,
}

impl Seen {
    fn of(name: String, path: PathBuf, meta: &fs::Metadata) -> Self {
        let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        let changed_us = meta.ctime().saturating_mul(1_000_000) + meta.ctime_nsec() / 1000;
        Self { name, path, inode: meta.ino(), bytes: meta.len(), modified_ns, changed_us }
    }

    /// The same as long as the file is neither written to nor another one.
    fn generation(&self) -> String {
        format!("{}-{}", self.inode, self.modified_ns)
    }

    pub(super) fn object(&self, number: u32, raw_zone: &str, recorder: &Recorder) -> Object {
        Object {
            object: number,
            raw_zone: raw_zone.to_owned(),
            name: self.name.clone(),
            generation: self.generation(),
            created_us: recorder.run_us_of_wall_us(self.changed_us),
            bytes: self.bytes,
            role: ObjectRole::Part,
            ..Object::default()
        }
    }
}

impl Watching {
    /// Looks until `stop` is cancelled, and once more then. Blocks.
    pub(super) fn until(self, stop: &CancellationToken) {
        let mut seen = std::collections::BTreeMap::new();
        let (mut number, mut last) = (0, false);
        while !last {
            last = stop.is_cancelled();
            // A folder that is not there yet holds nothing.
            for file in files(&self.folder, &self.include).unwrap_or_default() {
                let state = (file.generation(), file.bytes);
                if seen.insert(file.name.clone(), state.clone()) != Some(state) {
                    let mut object = file.object(number, &self.raw_zone, &self.recorder);
                    object.during_run = true;
                    self.recorder.record(WATCH, Fact::Object(object));
                    self.sighted
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(file.name.clone());
                    number += 1;
                }
            }
            if !last {
                std::thread::sleep(EVERY);
            }
        }
    }
}

/// The files below a folder whose names count, by name; none where there is no folder yet.
pub(super) fn found(folder: &Path, include: &Include) -> Result<Vec<Seen>, Unread> {
    match files(folder, include) {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unread(folder, &error)),
    }
}

pub(super) fn unread(path: &Path, error: &io::Error) -> Unread {
    Unread(format!("{}: {error}", path.display()))
}

fn files(folder: &Path, include: &Include) -> io::Result<Vec<Seen>> {
    let (mut found, mut open) = (Vec::new(), vec![(String::new(), folder.to_owned())]);
    while let Some((prefix, folder)) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // One that is gone meanwhile, or renamed, is seen as that the next time.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push((format!("{name}/"), entry.path()));
            } else if include.matches(&name) {
                found.push(Seen::of(name, entry.path(), &meta));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Reads a folder to its end.
pub(super) fn read(
    folder: &Path,
    include: &Include,
    mut sink: Delivered<'_>,
) -> Result<(), Unread> {
    for file in found(folder, include)? {
        let content = fs::read(&file.path).map_err(|error| unread(&file.path, &error))?;
        let object = file.object(sink.next_object(), sink.raw_zone(), sink.recorder());
        sink.part(object, &content);
    }
    sink.close();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_counts_from_its_final_name_on_and_is_another_one_when_it_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let include = Include::parse("**/*.jsonl").unwrap();
        let look = || files(folder.path(), &include).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/1.jsonl.tmp"), "{}\n").unwrap();
        assert_eq!(look(), []);
        fs::rename(folder.path().join("a/1.jsonl.tmp"), folder.path().join("a/1.jsonl")).unwrap();
        let first = look();
        assert_eq!((first.len(), first[0].name.as_str(), first[0].bytes), (1, "a/1.jsonl", 3));
        assert_eq!(look(), first);
        fs::write(folder.path().join("other"), "{}\n{}\n").unwrap();
        fs::rename(folder.path().join("other"), folder.path().join("a/1.jsonl")).unwrap();
        let second = look();
        assert_eq!(second[0].name, first[0].name);
        assert_ne!(second[0].generation(), first[0].generation());
        assert!(files(&folder.path().join("none"), &include).is_err());
    }
}
