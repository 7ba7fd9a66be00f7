//! What an exploration came to: which faults met what, what was found, and how it is replayed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::crash::raised;
use super::document::{Document, Text};
use super::proof::or_none;
use super::versioned::{ReadError, Versioned};
use super::{ReportError, ReportFile, ScenarioEntry, markdown, words};
use streamlake_judge::verdict::Status;

const FORMAT: Versioned =
    Versioned { name: "streamlake-exploration", version: 1, made_by: "`explore`" };

/// An exploration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exploration {
    /// The testbed.
    pub testbed: String,
    /// Commit of the harness; empty if unknown.
    pub commit: String,
    /// Seed of the first schedule.
    pub seed: u64,
    /// The bug that was planted in the pipeline, if any: then something is to be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// Verdicts of the runs: verdict → runs.
    pub verdicts: BTreeMap<String, u64>,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Of these, records that are nowhere.
    pub lost: u64,
    /// Why runs were inconclusive or could not be carried out: reason → runs.
    pub doubts: BTreeMap<String, u64>,
    /// Everything that can be done, and what came of it.
    pub strikes: Vec<Strike>,
    /// What was found.
    pub found: Vec<Found>,
}

/// One kind of fault with one way of being set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strike {
    /// Its name.
    pub name: String,
    /// Runs in which it was to happen.
    pub drawn: u64,
    /// Runs in which it was seen to meet something.
    pub met: u64,
    /// The others whose windows met its own.
    pub beside: BTreeSet<String>,
}

impl Strike {
    /// One that was not tried yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), drawn: 0, met: 0, beside: BTreeSet::new() }
    }
}

/// A schedule that failed, made as small as it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Its seed.
    pub seed: u64,
    /// The check that it failed by.
    pub check: String,
    /// What that check said first.
    pub said: String,
    /// When it was found, in seconds from the begin.
    pub found_after_s: u64,
    /// Faults as it was found.
    pub strikes_before: u64,
    /// Faults that are left, by their names.
    pub strikes: Vec<String>,
    /// How often it fails.
    pub repetition: Repetition,
    /// Its file.
    pub scenario: String,
    /// The command that replays it.
    pub replay: String,
}

/// How often a schedule fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repetition {
    /// Runs.
    pub runs: u64,
    /// Of these, runs that failed by the same check.
    pub failed: u64,
}

impl Found {
    /// It in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "{} (seed {}, after {}): {}. {} of {} left: {}; fails in {} of {} runs",
            self.check,
            self.seed,
            words::counted(self.found_after_s, "second", "seconds"),
            self.said,
            words::count(self.strikes.len() as u64),
            words::counted(self.strikes_before, "fault", "faults"),
            or_none(&self.strikes),
            self.repetition.failed,
            self.repetition.runs,
        )
    }
}

#[derive(Serialize)]
struct Written<'a> {
    status: Status,
    exploration: &'a Exploration,
}

#[derive(Deserialize)]
struct Read {
    exploration: Exploration,
}

impl Exploration {
    /// One that has not begun.
    #[must_use]
    pub fn new(
        testbed: &str,
        commit: &str,
        seed: u64,
        planted: Option<&str>,
        strikes: Vec<Strike>,
    ) -> Self {
        Self {
            testbed: testbed.to_owned(),
            commit: commit.to_owned(),
            seed,
            planted: planted.map(str::to_owned),
            seconds: 0,
            verdicts: BTreeMap::new(),
            acknowledged: 0,
            lost: 0,
            doubts: BTreeMap::new(),
            strikes,
            found: Vec::new(),
        }
    }

    /// Adds what a run came to.
    pub fn add(&mut self, entry: &ScenarioEntry) {
        let status = entry.status().unwrap_or(Status::Inconclusive);
        *self.verdicts.entry(status.word().to_owned()).or_default() += 1;
        let doubt = match entry {
            ScenarioEntry::Ran(run) => {
                self.acknowledged += run.verdict.tally.acknowledged;
                self.lost += run.verdict.tally.lost;
                let doubt = raised(run).next().map(|(check, _)| check);
                doubt.filter(|_| status == Status::Inconclusive)
            }
            ScenarioEntry::NotCarriedOut { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        if let Some(doubt) = doubt {
            *self.doubts.entry(doubt).or_default() += 1;
        }
    }

    /// Runs.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.verdicts.values().sum()
    }

    /// Fails if anything was found. Without a run that passed nothing was shown.
    #[must_use]
    pub fn status(&self) -> Status {
        match () {
            () if !self.found.is_empty() => Status::Fail,
            () if self.verdicts.contains_key(Status::Pass.word()) => Status::Pass,
            () => Status::Inconclusive,
        }
    }

    /// The whole in a sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let of = |status: Status| self.verdicts.get(status.word()).copied().unwrap_or_default();
        let never: Vec<&str> = self
            .strikes
            .iter()
            .filter(|strike| strike.met == 0)
            .map(|strike| strike.name.as_str())
            .collect();
        let never = match never.is_empty() {
            true => "Every fault met something.".to_owned(),
            false => format!("Never met anything: {}.", never.join(", ")),
        };
        let planted = match &self.planted {
            Some(bug) => format!(" The bug {bug} was planted."),
            None => String::new(),
        };
        format!(
            "{} in {} from seed {}: {} passed, {} failed, {} inconclusive; {} acknowledged, {} lost. \
             {never}{planted}",
            words::counted(self.runs(), "schedule", "schedules"),
            words::counted(self.seconds, "second", "seconds"),
            self.seed,
            words::count(of(Status::Pass)),
            words::count(of(Status::Fail)),
            words::count(of(Status::Inconclusive)),
            words::counted(self.acknowledged, "record", "records"),
            words::count(self.lost),
        )
    }

    /// Reads what [`render`] wrote as JSON.
    ///
    /// # Errors
    /// When it is not one, or of another version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        FORMAT.read(bytes).map(|Read { exploration }| exploration)
    }
}

/// Head of the table of what can be done.
pub const HEAD: [&str; 4] = ["fault", "drawn", "met something", "beside"];

/// A row of it.
#[must_use]
pub fn row(strike: &Strike) -> Vec<String> {
    vec![
        strike.name.clone(),
        words::count(strike.drawn),
        words::count(strike.met),
        words::count(strike.beside.len() as u64),
    ]
}

/// Writes an exploration as JSON and markdown.
///
/// # Errors
/// When an encoder refuses.
pub fn render(exploration: &Exploration) -> Result<Vec<ReportFile>, ReportError> {
    let json = FORMAT.write(&Written { status: exploration.status(), exploration })?;
    let mut document = Document::default();
    document.heading(1, "Exploration", "exploration");
    write(exploration, &mut document);
    Ok(markdown::beside(&exploration.testbed, json, &document))
}

fn write(exploration: &Exploration, document: &mut Document) {
    document.paragraph(Text::data(exploration.summary()));
    let origin = Text::origin(&exploration.testbed, &exploration.commit);
    document.paragraph(origin.and(
        ". A seed chose how the pipeline was set up, which faults there were, and when. Every run was judged \
         like any other.",
    ));
    if !exploration.found.is_empty() {
        document.heading(2, "What was found", "found");
        for found in &exploration.found {
            document.paragraph(Text::told(&found.sentence()));
            document.shell(vec![found.replay.clone()]);
        }
    }
    document.heading(2, "What was tried", "tried");
    let head = [
        "Fault",
        "Runs in which it was drawn",
        "In which it met something",
        "Others that it overlapped with",
    ];
    let rows = exploration.strikes.iter().map(|strike| {
        let mut cells = row(strike).into_iter();
        let name = cells.next().map(Text::code);
        name.into_iter().chain(cells.map(Text::data)).collect()
    });
    document.table(&head, 1, rows.collect());
    if !exploration.doubts.is_empty() {
        document.heading(2, "What was inconclusive", "doubts");
        let doubts = exploration.doubts.iter();
        let doubts = doubts.map(|(why, runs)| {
            Text::told(&format!("{}: {why}", words::counted(*runs, "run", "runs")))
        });
        document.list(doubts.collect());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn exploration() -> Exploration {
        let mut met = Strike::new("store-flaky");
        (met.drawn, met.met) = (3, 2);
        met.beside.insert("consumer-kill".to_owned());
        let strikes = vec![met, Strike::new("broker-pause")];
        let mut it = Exploration::new("embedded", "", 7, None, strikes);
        it.verdicts.insert("pass".to_owned(), 4);
        it
    }

    fn found() -> Found {
        Found {
            seed: 9,
            check: "no-loss".to_owned(),
            said: "offset 3 is nowhere".to_owned(),
            found_after_s: 12,
            strikes_before: 3,
            strikes: vec!["store-flaky".to_owned()],
            repetition: Repetition { runs: 5, failed: 4 },
            scenario: "runs/explore/scenarios/found.toml".to_owned(),
            replay: "streamlake-harness run found.toml --seed 9".to_owned(),
        }
    }

    #[test]
    fn what_never_met_anything_is_named() {
        let said = exploration().summary();
        assert!(said.contains("Never met anything: broker-pause."), "{said}");
    }

    #[test]
    fn a_find_is_a_failure_and_nothing_shown_is_no_pass() {
        let mut it = exploration();
        assert_eq!(it.status(), Status::Pass);
        it.found.push(found());
        assert_eq!(it.status(), Status::Fail);
        let none = Exploration::new("embedded", "", 7, None, Vec::new());
        assert_eq!(none.status(), Status::Inconclusive);
    }

    #[test]
    fn it_is_read_as_it_was_written_and_says_how_to_replay() {
        let mut it = exploration();
        it.found.push(found());
        let files = render(&it).unwrap();
        assert_eq!(Exploration::from_json(&files[0].bytes).unwrap(), it);
        let text = String::from_utf8(files[1].bytes.clone()).unwrap();
        assert!(text.contains("streamlake-harness run found.toml --seed 9"), "{text}");
        assert!(text.contains("fails in 4 of 5 runs"), "{text}");
    }
}
