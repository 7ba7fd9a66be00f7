#![allow(clippy::unwrap_used)]

use super::super::sample::suite;
use super::super::timeline::{Series, SeriesKind, Timeline};
use super::*;

/// Names of the tags in the order in which they open and close; panics where they do not nest.
fn well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let outside_style = |xml: &str| {
        let (before, rest) = xml.split_once("<style>").unwrap();
        let (_, after) = rest.split_once("</style>").unwrap();
        format!("{before}{after}")
    };
    let xml = outside_style(xml);
    for tag in xml.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').unwrap();
        assert!(!text.contains('>'), "{text}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split([' ', '\n']).next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn pictures_show_lines_windows_and_silence() {
    let suite = suite();
    let picture = timeline(suite.runs().next().unwrap());
    well_formed(&picture);
    for wanted in [
        "acknowledged: 1,000",
        "stored, copies included: 1,000",
        "committed: 1,000",
        "injected 4.000 s",
        "seen 4.210 s",
        "healed 8.300 s",
        "recovered 9.130 s",
        "broker-1 does not answer",
        "time since the start of the run (s)",
        "prefers-color-scheme:dark",
        "<title>broker-restart of broker-1</title>",
    ] {
        assert!(picture.contains(wanted), "not found: {wanted}");
    }
}

#[test]
fn hostile_names_stay_text() {
    let suite = suite();
    for run in suite.runs() {
        let picture = timeline(run);
        well_formed(&picture);
        assert!(!picture.contains("<script"));
        assert!(!picture.contains('\u{202e}'));
    }
}

#[test]
fn nothing_recorded_is_a_picture_too() {
    let suite = suite();
    let mut run = suite.runs().next().unwrap().clone();
    run.observed = Default::default();
    run.verdict.tally = Default::default();
    let picture = timeline(&run);
    well_formed(&picture);
    assert!(picture.contains("nothing that could be drawn"));
}

#[test]
fn two_groups_are_told_apart() {
    let series = |kind, group: &str| Series { kind, group: Some(group.into()), totals: vec![5] };
    let timeline = Timeline {
        bucket_us: 10,
        buckets: 1,
        series: vec![
            series(SeriesKind::Stored, "a"),
            series(SeriesKind::Stored, "b"),
            series(SeriesKind::Committed, "b"),
        ],
        latency: vec![None],
    };
    let lines = lines(&timeline);
    assert_eq!(lines[1].label, "stored, copies included by b: 5");
    let classes: Vec<&str> = lines.iter().map(|line| line.class).collect();
    assert_eq!(classes, ["sl-k1", "sl-k6", "sl-k7"]);
}

#[test]
fn many_windows_do_not_pile_up_labels() {
    let suite = suite();
    let window = suite.runs().next().unwrap().verdict.tally.windows[0].clone();
    let marks = marks::of(&vec![window; 30]);
    let (places, rows) = marks::place(&marks, |us| us as f64 / 20_000.0, RIGHT, CHAR);
    assert!(rows <= 4);
    assert!(places.iter().any(Option::is_none));
}
