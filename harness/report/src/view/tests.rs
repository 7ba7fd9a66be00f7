#![allow(clippy::unwrap_used)]

use super::*;
use crate::sample;
use streamlake_history::event::Header;
use streamlake_judge::verdict::{Finding, OffsetRange, Status};

const TOPIC: &str = "streamlake.orders.raw";

fn finding(ops: Vec<u64>, offsets: Vec<OffsetRange>) -> Finding {
    Finding {
        anomaly: "lost-after-commit".to_owned(),
        message: "gone\u{202e}".to_owned(),
        group: None,
        topic: Some(TOPIC.to_owned()),
        partition: Some(1),
        offsets,
        ops,
        at_us: Some(1),
        fault: None,
        evidence: Vec::new(),
    }
}

fn verdict(finding: Finding) -> Verdict {
    let mut check = sample::check("no-loss", Status::Fail, "");
    check.findings.push(finding);
    Verdict { status: Status::Fail, checks: vec![check], tally: sample_tally() }
}

fn sample_tally() -> streamlake_judge::verdict::Tally {
    let suite = sample::suite();
    let ran = suite.scenarios.into_iter().find_map(|entry| match entry {
        crate::ScenarioEntry::Ran(run) => Some(run.verdict.tally),
        _ => None,
    });
    ran.unwrap()
}

fn view(header: &Header, verdict: &Verdict) -> View {
    let mut builder = ViewBuilder::new(header, verdict);
    for event in sample::facts(&verdict.tally) {
        builder.observe(&event);
    }
    builder.finish()
}

#[test]
fn a_page_holds_its_data_and_nothing_ends_its_script() {
    let hostile = "</script><script>alert(1)</script>".to_owned();
    let page = page(&[View { scenario: hostile, ..View::default() }]).unwrap();
    assert_eq!(page.matches("</script>").count(), 2, "its own two");
    for mark in ["/*style*/", "/*data*/", "/*script*/"] {
        assert!(!page.contains(mark), "{mark}");
    }
}

#[test]
fn a_record_can_be_followed_from_its_invocation_to_its_part() {
    let verdict = verdict(finding(vec![4], Vec::new()));
    let header = sample::scenario("broker-restart", "Broker restart", None, 1);
    let rows = serde_json::to_value(view(&header, &verdict)).unwrap();
    assert_eq!(rows["one_in"], 1);
    assert_eq!(rows["operations"].as_array().unwrap().len(), 1_000);
    let operation = &rows["operations"][4];
    assert_eq!((&operation[0], &operation[8]), (&4.into(), &"acknowledged".into()));
    assert_eq!((&operation[9], &operation[10]), (&1.into(), &1.into()));
    let stored = rows["stored"].as_array().unwrap();
    let stored = stored.iter().find(|row| row[3] == 1 && row[4] == 1).unwrap();
    assert_eq!(rows["texts"][stored[2].as_u64().unwrap() as usize], TOPIC);
    assert_eq!(rows["objects"][stored[0].as_u64().unwrap() as usize][1], "raw/part-0000.json");
    assert!(
        rows["commits"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row[2] == 1 && row[3].as_u64() > Some(1))
    );
    assert_eq!(rows["faults"][0]["kind"], "broker-restart");
    assert!(!rows["faults"][0]["steps"].as_array().unwrap().is_empty());
    assert_eq!(rows["findings"][0]["message"], "gone\\u{202e}", "harmless");
}

#[test]
fn of_a_long_history_there_is_a_sample_and_all_that_findings_name() {
    let named = OffsetRange { first: 7, last: 7 };
    let verdict = verdict(finding(vec![11], vec![named]));
    let mut header = sample::scenario("broker-restart", "Broker restart", None, 1);
    header.promises.operations = 5 * OPERATIONS_MAX;
    let rows = serde_json::to_value(view(&header, &verdict)).unwrap();
    assert_eq!(rows["one_in"], 5);
    let has = |op: u64| rows["operations"].as_array().unwrap().iter().any(|row| row[0] == op);
    assert!(has(0) && has(5) && has(11) && !has(12));
    // Operation 22 is 1:7; its copy is there by its place.
    let stored = rows["stored"].as_array().unwrap();
    assert!(stored.iter().any(|row| row[3] == 1 && row[4] == 7));
    assert!(!stored.iter().any(|row| row[3] == 1 && row[4] == 4));
}
