//! What a report says of the harness itself: the canary, and the checkers' trial.
#![allow(clippy::unwrap_used)]

use super::sample::{canary, proof, suite};
use super::tests::file;
use super::*;

#[test]
fn a_canary_that_was_caught_is_told_and_changes_nothing() {
    let (told, mut without) = (suite(), suite());
    without.canary = None;
    assert_eq!(told.status(), without.status());
    let markdown = file(&told, markdown::FILE);
    assert!(markdown.contains("**Canary:** caught: all 2 anomalies that were planted were found"));
    assert!(!file(&without, markdown::FILE).contains("Canary"));
    assert!(file(&told, junit::FILE).contains("classname=\"docker.canary\""));
    let text = terminal_summary(&told, Look::default());
    assert!(text.contains("canary: caught"), "{text}");
}

#[test]
fn a_canary_that_was_missed_leaves_nothing_to_believe() {
    let mut suite = suite();
    suite.canary = Some(canary(&["no-loss"], "history.jsonl"));
    assert_eq!(suite.status(), Status::Inconclusive);
    assert_eq!(suite.status().exit_code(), 3);
    let said = "NOT caught: the harness is broken, and no verdict of this run can be believed; 1 of 2 \
                planted anomalies were not found: a record at orders/0 offset 7 by fidelity";
    let text = terminal_summary(&suite, Look::default());
    for text in [file(&suite, markdown::FILE), file(&suite, junit::FILE), text] {
        assert!(text.contains(said), "{text}");
    }
    let errors = |suite: &SuiteReport| file(suite, junit::FILE).matches("<error").count();
    let mut without = suite.clone();
    without.canary = None;
    assert_eq!(errors(&suite), errors(&without) + 1);
}

#[test]
fn a_suite_without_its_canary_shows_nothing_and_says_so() {
    let mut suite = suite();
    suite.canary = Some(Canary::absent("docker"));
    assert_eq!(suite.status(), Status::Inconclusive);
    let text = terminal_summary(&suite, Look::default());
    for text in [file(&suite, markdown::FILE), file(&suite, junit::FILE), text] {
        assert!(text.contains("nothing shows that the harness sees"), "{text}");
    }
}

#[test]
fn the_last_trial_is_in_the_report_and_in_files_of_its_own() {
    let proof = proof("c370279");
    let files = render_proof(&proof).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["docker.json", "docker.md"]);
    assert_eq!(Proof::from_json(&files[0].bytes).unwrap(), proof);
    assert!(Proof::from_json(b"{}").is_err());
    let own = String::from_utf8(files[1].bytes.clone()).unwrap();
    for text in [own, file(&suite(), markdown::FILE)] {
        for part in [
            "1 of 1 planted bug was caught in each of 3 runs",
            "3 clean runs raised 0 false alarms. 1 bug was not tried on this testbed.",
            "| `header-lost` | `plain` | `fidelity` | c370279 | 3 | 3 |",
            "| `stale-assignment` | `plain` | `fidelity` | c370279 | 0 | not tried here |",
            "| `plain` | – | 3 | 0 |",
            "- **c370279**: c370279",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}

#[test]
fn a_bug_that_was_missed_once_or_a_false_alarm_proves_nothing() {
    let mut missed = proof("");
    assert!(missed.holds());
    missed.trials[0].caught = 2;
    assert!(!missed.holds());
    let mut alarmed = proof("");
    alarmed.clean[0].alarms = 1;
    assert!(!alarmed.holds());
}
