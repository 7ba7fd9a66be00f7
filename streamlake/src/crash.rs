//! Crash points: labelled steps of the consumer's protocol at which a process can be made to kill itself.
//!
//! A SIGKILL from outside hits some instant; these hit the one between an answer and its being counted. They
//! exist only in a build with the feature `crash-points`. Without it [`at`] is empty and no variable brings
//! a point back. With it, the variable [`FILE_VARIABLE`] names a file that need not exist. When it does, it
//! says which point, and the how manieth passing of it: `after-store-answer:3`. The process that passes
//! there takes the file away, adds a [`Hit`] to the file of [`hits_of`] and kills itself with SIGKILL: no
//! destructor runs and nothing is flushed. As the file is gone, the successor goes on.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Names the file that arms a point.
pub const FILE_VARIABLE: &str = "STREAMLAKE_CRASH_FILE";

/// What has to happen to a consumer so that it passes a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Records come.
    Load,
    /// It joins its group.
    Start,
    /// Some of its partitions are taken away.
    Revocation,
    /// It is asked to stop.
    Stop,
}

/// A point as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// When a consumer passes it.
    pub occasion: Occasion,
    /// Where it is.
    pub about: &'static str,
}

macro_rules! points {
    ($($point:ident = $name:literal, $occasion:ident, $about:literal;)+) => {
        /// A step of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Point {
            $(#[doc = $about] $point,)+
        }

        const LABELS: &[Label] =
            &[$(Label { name: $name, occasion: Occasion::$occasion, about: $about },)+];

        impl Point {
            #[cfg_attr(not(feature = "crash-points"), allow(dead_code, reason = "nobody asks"))]
            const fn name(self) -> &'static str {
                match self { $(Point::$point => $name,)+ }
            }
        }
    };
}

points! {
    RecordTaken = "record-taken", Load, "a record was added to an open part";
    PartSealed = "part-sealed", Load, "a part takes no more records; nobody was asked to store it yet";
    BeforeStoreRequest = "before-store-request", Load, "a part has its name; its request is not sent";
    AfterStoreAnswer = "after-store-answer", Load, "the store says that a part is there; nobody else knows";
    BeforePartCounts = "before-part-counts", Load, "the polling thread learns that a part is stored";
    AfterPartCounts = "after-part-counts", Load, "the frontier has moved over a part; nothing is committed";
    BeforeLetter = "before-letter", Load, "a dead letter is made; it is not sent";
    AfterLetterAck = "after-letter-ack", Load, "a dead letter is acknowledged; nobody else knows";
    AfterLetterCounts = "after-letter-counts", Load, "the frontier has moved over a dead letter";
    BeforeCommit = "before-commit", Load, "a commit is decided; its request is not sent";
    AfterCommitSent = "after-commit-sent", Load, "a commit is in the client's hands; no answer";
    AfterCommit = "after-commit", Load, "the broker has taken a commit";
    BeforeMetadata = "before-metadata", Load, "parts are stored; their folder's list is not written";
    AfterMetadata = "after-metadata", Load, "their folder's list is written";
    BeforeAssignment = "before-assignment", Start, "partitions were given to the member; they are not taken on";
    AfterAssignment = "after-assignment", Start, "they are taken on; nothing of them is read";
    RevokeBegins = "revoke-begins", Revocation, "partitions are to be given up; nothing was done about it";
    RevokeBeforeCommit = "revoke-before-commit", Revocation, "what was read of them is stored; the commit is not sent";
    RevokeAfterAnswer = "revoke-after-answer", Revocation, "that commit was answered, taken or not";
    BeforeGivingUp = "before-giving-up", Revocation, "the member may let go of them, and has not";
    AfterGivingUp = "after-giving-up", Revocation, "the member has let go of them";
    DrainBegins = "drain-begins", Stop, "asked to stop; nothing was done about it";
    DrainSealed = "drain-sealed", Stop, "all open parts are sealed; none is sent";
    DrainStored = "drain-stored", Stop, "a part of the drain is stored and counted";
    DrainBeforeCommit = "drain-before-commit", Stop, "a commit of the drain is decided; its request is not sent";
    DrainCommitted = "drain-committed", Stop, "the broker has taken a commit of the drain";
    Drained = "drained", Stop, "all is committed; the group is not left, the lists are not complete";
    DrainMetadata = "drain-metadata", Stop, "the folders' lists are complete; the process has not ended";
}

/// Every point that this build has; none in a build without the feature.
#[must_use]
pub fn labels() -> &'static [Label] {
    if cfg!(feature = "crash-points") { LABELS } else { &[] }
}

/// A passing that a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Armed {
    /// The point.
    pub point: String,
    /// Its passings since the file came, the fatal one included.
    pub nth: u64,
}

impl std::fmt::Display for Armed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}", self.point, self.nth)
    }
}

impl std::str::FromStr for Armed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not like `after-store-answer:3`");
        let (point, nth) = text.trim().split_once(':').ok_or_else(wrong)?;
        if !LABELS.iter().any(|label| label.name == point) {
            return Err(format!("there is no crash point `{point}`"));
        }
        let nth = nth.parse().ok().filter(|nth| *nth > 0).ok_or_else(wrong)?;
        Ok(Armed { point: point.to_owned(), nth })
    }
}

/// What a process writes down before it kills itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The point.
    pub point: String,
    /// Which passing of it.
    pub nth: u64,
    /// The process.
    pub pid: u32,
}

/// Where the hits of a file are written, one a line.
#[must_use]
pub fn hits_of(file: &Path) -> PathBuf {
    file.with_added_extension("hits")
}

/// The hits that were written down for a file.
#[must_use]
pub fn read_hits(file: &Path) -> Vec<Hit> {
    let text = std::fs::read_to_string(hits_of(file)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The process is at a point.
#[inline(always)]
pub(crate) fn at(point: Point) {
    at_if(point, || true);
}

/// The process is at a point if this holds.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn at_if(_: Point, _: impl FnOnce() -> bool) {}

/// The process is at a point if this holds.
#[cfg(feature = "crash-points")]
pub(crate) fn at_if(point: Point, here: impl FnOnce() -> bool) {
    if here() {
        armed::pass(point);
    }
}

#[cfg(feature = "crash-points")]
mod armed {
    use super::{Armed, FILE_VARIABLE, Hit, Point, hits_of};
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// What is asked for, and how often it was passed since.
    #[derive(Debug, Default)]
    pub(super) struct Count(Option<(String, u64)>);

    impl Count {
        /// One passing, while the file says this. The passing that it asks for, if this is the one.
        pub(super) fn passed(&mut self, point: Point, text: Option<String>) -> Option<Armed> {
            let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
                self.0 = None;
                return None;
            };
            // A test that was to crash and does not would be taken for one that held.
            let armed: Armed = text.parse().unwrap_or_else(|err| panic!("{FILE_VARIABLE}: {err}"));
            if armed.point != point.name() {
                return None;
            }
            let known = self.0.take().filter(|(before, _)| *before == text);
            let count = known.map_or(0, |(_, count)| count) + 1;
            self.0 = Some((text, count));
            (count >= armed.nth).then_some(armed)
        }
    }

    pub(super) fn pass(point: Point) {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        static COUNT: Mutex<Count> = Mutex::new(Count(None));
        let Some(file) = FILE.get_or_init(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from))
        else {
            return;
        };
        let mut count = COUNT.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(armed) = count.passed(point, std::fs::read_to_string(file).ok()) else { return };
        // With the lock held: whoever comes to a point now comes no further.
        if taken(file, &armed) {
            die();
        }
    }

    /// Takes the file away and writes the hit down. Whoever disarmed it first has won.
    fn taken(file: &Path, armed: &Armed) -> bool {
        if std::fs::remove_file(file).is_err() {
            return false;
        }
        let Armed { point, nth } = armed.clone();
        let line = serde_json::to_string(&Hit { point, nth, pid: std::process::id() });
        let hits = std::fs::File::options().create(true).append(true).open(hits_of(file));
        let written = line.map_err(std::io::Error::other);
        let written = written.and_then(|line| hits?.write_all(format!("{line}\n").as_bytes()));
        if let Err(err) = written {
            panic!("the hit of {armed} cannot be written down: {err}");
        }
        true
    }

    fn die() -> ! {
        use rustix::process::{Signal, getpid, kill_process};
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_asks_for_is_understood() {
        let armed = |text: &str| text.parse::<Armed>();
        let third = Armed { point: "after-commit".into(), nth: 3 };
        assert_eq!(armed("after-commit:3\n"), Ok(third.clone()));
        assert_eq!(third.to_string(), "after-commit:3");
        for wrong in ["", "after-commit", "after-commit:0", "after-commit:x", "nowhere:1"] {
            assert!(armed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_there_once() {
        for label in LABELS {
            assert_eq!(LABELS.iter().filter(|other| other.name == label.name).count(), 1);
        }
    }

    #[cfg(feature = "crash-points")]
    #[test]
    fn a_passing_counts_from_when_it_is_asked_for() {
        let mut count = armed::Count::default();
        let mut pass = |point, text: &str| {
            count.passed(point, Some(text.to_owned())).map(|armed| armed.to_string())
        };
        let second = "after-commit:2";
        assert_eq!(pass(Point::AfterCommit, second), None);
        assert_eq!(pass(Point::BeforeCommit, second), None);
        assert_eq!(pass(Point::AfterCommit, second).as_deref(), Some(second));
        // Nothing is asked for, then the same again.
        assert_eq!(pass(Point::AfterCommit, ""), None);
        assert_eq!(pass(Point::AfterCommit, second), None);
        assert_eq!(pass(Point::AfterCommit, "after-commit:1").as_deref(), Some("after-commit:1"));
    }
}
