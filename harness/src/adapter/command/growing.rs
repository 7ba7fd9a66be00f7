//! Delivery into files that grow: each line counts from when it is there.
//!
//! A line has no time of its own. The folder is looked at every few milliseconds; what a file has more
//! than at the look before was written between the two, and is written down as an object of its own that
//! came in that interval.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::files::{self, Seen, WATCH, Watching};
use super::include::Include;
use super::lines::Delivered;
use crate::adapter::Unread;
use streamlake_history::Recorder;
use streamlake_history::event::{Fact, Object, ObjectRole, Print};

/// A commit within this time of its record's line is not told from one before it.
const EVERY: Duration = Duration::from_millis(5);

/// How the files of a group grew, by their inodes: a file that is renamed stays the same.
pub(super) type Grown = BTreeMap<u64, Growth>;

/// How one file grew.
#[derive(Debug)]
pub(super) struct Growth {
    /// Its name when it was seen first.
    name: String,
    /// How often it was cut short: what was in it before is gone.
    cuts: u32,
    steps: Vec<Step>,
}

/// What a file had more at one look than at the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    start: u64,
    end: u64,
    /// When it was not there yet, and when it was there.
    between_us: (u64, u64),
}

impl Growth {
    fn new(name: String) -> Self {
        Self { name, cuts: 0, steps: Vec::new() }
    }

    fn end(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.end)
    }

    fn object(&self, number: u32, inode: u64, step: Step, raw_zone: &str) -> Object {
        Object {
            object: number,
            raw_zone: raw_zone.to_owned(),
            name: format!("{} from byte {}", self.name, step.start),
            generation: format!("{inode}-{}", self.cuts),
            created_us: step.between_us.1,
            earliest_us: Some(step.between_us.0),
            bytes: step.end - step.start,
            role: ObjectRole::Part,
            ..Object::default()
        }
    }
}

/// Looks until `stop` is cancelled, and once more then. Blocks.
pub(super) fn watch(watching: &Watching, grown: &Mutex<Grown>, stop: &CancellationToken) {
    let (mut number, mut before_us, mut last) = (0, watching.recorder.now_us(), false);
    while !last {
        last = stop.is_cancelled();
        let now_us = watching.recorder.now_us();
        // A folder that is not there yet holds nothing.
        for file in files::found(&watching.folder, &watching.include).unwrap_or_default() {
            let mut grown = grown.lock().unwrap_or_else(PoisonError::into_inner);
            let growth = grown.entry(file.inode).or_insert_with(|| Growth::new(file.name.clone()));
            // One that cannot be read is tried again at the next look, and must be at the end.
            let Ok(Some((step, content))) = grow(growth, &file, before_us, &watching.recorder)
            else {
                continue;
            };
            let mut object = growth.object(number, file.inode, step, &watching.raw_zone);
            object.content = Some(Print::of(&content));
            object.during_run = true;
            watching.recorder.record(WATCH, Fact::Object(object));
            number += 1;
        }
        before_us = now_us;
        if !last {
            std::thread::sleep(EVERY);
        }
    }
}

/// What a file has more than before, up to its last whole line.
fn grow(
    growth: &mut Growth,
    file: &Seen,
    before_us: u64,
    recorder: &Recorder,
) -> io::Result<Option<(Step, Vec<u8>)>> {
    if file.bytes < growth.end() {
        growth.cuts += 1;
        growth.steps.clear();
    }
    let start = growth.end();
    if file.bytes == start {
        return Ok(None);
    }
    let mut content = Vec::new();
    let mut open = File::open(&file.path)?;
    open.seek(SeekFrom::Start(start))?;
    open.take(file.bytes - start).read_to_end(&mut content)?;
    let Some(whole) = content.iter().rposition(|&byte| byte == b'\n') else { return Ok(None) };
    content.truncate(whole + 1);
    let step = Step {
        start,
        end: start + content.len() as u64,
        between_us: (before_us, recorder.now_us()),
    };
    growth.steps.push(step);
    Ok(Some((step, content)))
}

/// Reads a folder to its end, as it was seen to grow.
pub(super) fn read(
    folder: &Path,
    include: &Include,
    grown: &Mutex<Grown>,
    mut sink: Delivered<'_>,
) -> Result<(), Unread> {
    let mut grown = grown.lock().unwrap_or_else(PoisonError::into_inner);
    let now_us = sink.recorder().now_us();
    for file in files::found(folder, include)? {
        let content =
            std::fs::read(&file.path).map_err(|error| files::unread(&file.path, &error))?;
        let growth = grown.entry(file.inode).or_insert_with(|| Growth::new(file.name.clone()));
        let seen = growth.end();
        // A consumer that goes on has always written more than was looked at.
        if !sink.is_live() && seen < content.len() as u64 {
            // After the last look, or without an end of its line.
            let from_us = growth.steps.last().map_or(0, |step| step.between_us.1);
            let step =
                Step { start: seen, end: content.len() as u64, between_us: (from_us, now_us) };
            growth.steps.push(step);
        }
        let mut before = 0;
        for step in &growth.steps {
            // What a file lost after it was seen is missing here, and that shows.
            let end = step.end.min(content.len() as u64);
            if step.start >= end {
                break;
            }
            let bytes = &content[usize::try_from(step.start).unwrap_or(usize::MAX)
                ..usize::try_from(end).unwrap_or(usize::MAX)];
            let object = growth.object(sink.next_object(), file.inode, *step, sink.raw_zone());
            before += sink.portion(object, bytes, before);
        }
    }
    sink.close();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::io::Write as _;

    use super::*;
    use streamlake_history::sample;

    #[test]
    fn a_file_grows_by_whole_lines_and_begins_again_when_it_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let recorder = Recorder::start(Vec::new(), sample::header(1, 1)).unwrap();
        let include = Include::parse("*.jsonl").unwrap();
        let mut growth = Growth::new("out.jsonl".to_owned());
        let look = |growth: &mut Growth| {
            let file = files::found(folder.path(), &include).unwrap().remove(0);
            grow(growth, &file, 1, &recorder).unwrap().map(|(step, content)| (step.start, content))
        };
        fs::write(&path, "one\ntw").unwrap();
        assert_eq!(look(&mut growth), Some((0, b"one\n".to_vec())));
        assert_eq!(look(&mut growth), None);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"o\n").unwrap();
        assert_eq!(look(&mut growth), Some((4, b"two\n".to_vec())));
        let object = growth.object(0, 7, growth.steps[1], "file:x");
        assert_eq!((object.name.as_str(), object.bytes), ("out.jsonl from byte 4", 4));
        assert_eq!((object.earliest_us, object.generation.as_str()), (Some(1), "7-0"));
        fs::write(&path, "new\n").unwrap();
        assert_eq!(look(&mut growth), Some((0, b"new\n".to_vec())));
        assert_eq!(growth.object(0, 7, growth.steps[0], "file:x").generation, "7-1");
    }
}
