//! Histories of real runs, edited: each edit is what a bug in the pipeline, the broker, the store or the
//! harness would have left behind, or something that is legal. The first must be found by the check
//! that is there for it, evidence that is taken away must leave a doubt, and what is legal must pass.
//!
//! The runs are in `tests/histories`, from both testbeds; `just keep-histories` makes them again.
#![allow(clippy::unwrap_used)]

mod edits;
mod legal;

use std::path::{Path, PathBuf};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::planted;
use crate::Judged as _;
use crate::verdict::{Status, Verdict};
use streamlake_history::HistoryReader;
use streamlake_history::sample::Sample;

type Rng = ChaCha8Rng;

/// What an edit must come to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// One of these checks fails.
    Found(&'static [&'static str]),
    /// Some check fails: in a real run a corruption may show elsewhere first, as what was altered is one
    /// of many.
    FoundSomewhere,
    /// Nothing fails, and this check cannot decide.
    Doubt(&'static str),
    /// Nothing fails, and whatever passed still passes.
    Clean,
}

/// One kind of edit.
struct Edit {
    name: &'static str,
    expected: Expected,
    /// Makes it somewhere; false where the run has no place for it.
    make: fn(&mut Sample, &mut Rng) -> bool,
}

/// The saved runs, by file name.
fn runs() -> Vec<(String, Sample)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "zst"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
            let lines = std::io::BufReader::new(zstd::Decoder::with_buffer(file).unwrap());
            let (header, events) = HistoryReader::open(lines).unwrap();
            let facts = events.map(|event| {
                let event = event.unwrap();
                (event.t_us, event.process, event.fact)
            });
            let sample = Sample { header, facts: facts.collect() };
            (path.file_stem().unwrap().to_string_lossy().into_owned(), sample)
        })
        .collect()
}

fn failed(verdict: &Verdict) -> Vec<String> {
    let failed = verdict.checks.iter().filter(|check| check.status == Status::Fail);
    failed
        .map(|check| {
            let anomalies: Vec<_> = check.findings.iter().map(|f| f.anomaly.as_str()).collect();
            format!("{} ({})", check.check, anomalies.join(", "))
        })
        .collect()
}

fn status(verdict: &Verdict, check: &str) -> Status {
    verdict.checks.iter().find(|found| found.check == check).unwrap().status
}

/// What is wrong with the verdict on an edited history, if anything.
fn complaint(expected: Expected, before: &Verdict, after: &Verdict) -> Option<String> {
    let failed = failed(after);
    match expected {
        Expected::Found(checks) => {
            let found = checks.iter().any(|check| status(after, check) == Status::Fail);
            (!found).then(|| format!("missed by {checks:?}; failed: {failed:?}"))
        }
        Expected::FoundSomewhere => failed.is_empty().then(|| "missed".to_owned()),
        Expected::Doubt(check) => {
            let doubted = status(after, check) == Status::Inconclusive && failed.is_empty();
            (!doubted).then(|| format!("{check} is {:?}; failed: {failed:?}", status(after, check)))
        }
        Expected::Clean => {
            let spoiled = before.checks.iter().filter(|check| {
                check.status == Status::Pass && status(after, &check.check) != Status::Pass
            });
            let spoiled: Vec<_> = spoiled.map(|check| check.check.as_str()).collect();
            (!spoiled.is_empty())
                .then(|| format!("no longer passed: {spoiled:?}; failed: {failed:?}"))
        }
    }
}

#[test]
fn the_saved_runs_pass_as_they_are() {
    let runs = runs();
    for testbed in ["embedded", "docker"] {
        let of = runs.iter().filter(|(_, run)| run.header.run.testbed == testbed).count();
        assert!(of >= 3, "{of} saved runs of {testbed}");
    }
    for (name, run) in &runs {
        let verdict = run.judge().unwrap();
        assert_eq!(verdict.status, Status::Pass, "{name}: {:#?}", verdict.checks);
    }
}

/// At least two hundred edited histories: none is missed, and none that is legal is convicted.
#[test]
fn every_edit_is_judged_rightly() {
    let (mut tried, mut complaints) = (0, Vec::new());
    let planted = planted::table().map(|(name, make)| (name, Expected::FoundSomewhere, make));
    let own = edits::TABLE.iter().chain(legal::TABLE);
    let own = own.map(|edit| (edit.name, edit.expected, edit.make));
    let all: Vec<_> = planted.chain(own).collect();
    let mut places = vec![0; all.len()];
    for (name, run) in runs() {
        let before = run.judge().unwrap();
        for (n, (edit, expected, make)) in all.iter().enumerate() {
            let mut edited = run.clone();
            let mut rng = Rng::seed_from_u64(n as u64 * 1_000 + places[n]);
            if !make(&mut edited, &mut rng)
                || edited.facts == run.facts && *expected != Expected::Clean
            {
                continue;
            }
            places[n] += 1;
            tried += 1;
            let after = edited.judge().unwrap();
            if let Some(complaint) = complaint(*expected, &before, &after) {
                complaints.push(format!("{name}, {edit}: {complaint}"));
            }
        }
    }
    // Some of the planted ones speak of what only made-up histories have.
    let nowhere = all.iter().zip(&places).filter(|(_, n)| **n == 0).map(|(edit, _)| edit);
    let own = nowhere.filter(|edit| edit.1 != Expected::FoundSomewhere);
    let nowhere: Vec<_> = own.map(|edit| edit.0).collect();
    assert!(complaints.is_empty(), "{} of {tried}:\n{}", complaints.len(), complaints.join("\n"));
    assert!(nowhere.is_empty(), "no run has a place for: {nowhere:?}");
    assert!(tried >= 200, "{tried} edited histories");
}
