//! What is drawn of a run and how each line looks.

use super::super::timeline::{Series, SeriesKind, Timeline};
use super::super::{ScenarioReport, escape, words};
use super::marks;
use streamlake_judge::verdict::Status;

/// Lines that are drawn; more could not be told apart.
const SERIES_MAX: usize = 8;

/// A series with its looks.
pub(super) struct Line<'a> {
    pub(super) series: &'a Series,
    pub(super) class: &'static str,
    pub(super) label: String,
}

/// What stretch of time is drawn: from the first to the last thing that happened, with a margin.
pub(super) fn extent(run: &ScenarioReport) -> (u64, u64) {
    let timeline = &run.observed.timeline;
    let mut first = u64::MAX;
    let mut last = 0;
    let mut include = |from: u64, to: u64| {
        first = first.min(from);
        last = last.max(to);
    };
    let bucket = |index: usize| (index as u64).saturating_mul(timeline.bucket_us);
    for series in &timeline.series {
        let rises = series.totals.partition_point(|&total| total == 0);
        let end = series.totals.last().copied().unwrap_or(0);
        let full = series.totals.iter().position(|&total| total == end).unwrap_or(rises);
        include(bucket(rises), bucket(full + 1));
    }
    for mark in marks::of(&run.verdict.tally.windows) {
        include(mark.at_us, mark.at_us);
    }
    if first > last {
        return (0, run.verdict.tally.length_us.max(1_000_000));
    }
    let margin = (last - first) / 30 + 1;
    (first.saturating_sub(margin), last.saturating_add(margin))
}

/// The series that are drawn, with looks and labels. A group's name is told where there are several.
pub(super) fn lines(timeline: &Timeline) -> Vec<Line<'_>> {
    let mut groups: Vec<&str> =
        timeline.series.iter().filter_map(|series| series.group.as_deref()).collect();
    groups.sort_unstable();
    groups.dedup();
    let acknowledged = timeline.series.iter().any(|series| series.kind == SeriesKind::Acknowledged);
    let shown = timeline.series.iter().filter(|series| {
        // The log's timestamps add nothing where receipts tell when records came to it.
        series.kind != SeriesKind::Logged || !acknowledged
    });
    let line = |series: &'_ Series| -> (&'static str, String) {
        let group = series.group.as_deref().unwrap_or("");
        let first = groups.first().is_none_or(|first| *first == group);
        let (class, word) = looks(series.kind, first);
        let total = words::count(series.totals.last().copied().unwrap_or(0));
        let of = match groups.len() > 1 && !group.is_empty() {
            true => format!(" by {}", shortened(group, 32)),
            false => String::new(),
        };
        (class, format!("{word}{of}: {total}"))
    };
    shown
        .take(SERIES_MAX)
        .map(|series| {
            let (class, label) = line(series);
            Line { series, class, label }
        })
        .collect()
}

fn looks(kind: SeriesKind, first_group: bool) -> (&'static str, &'static str) {
    match kind {
        SeriesKind::Acknowledged => ("sl-k0", "acknowledged"),
        SeriesKind::Stored if first_group => ("sl-k1", "stored, copies included"),
        SeriesKind::Stored => ("sl-k6", "stored, copies included"),
        SeriesKind::Committed if first_group => ("sl-k2", "committed"),
        SeriesKind::Committed => ("sl-k7", "committed"),
        SeriesKind::Read => ("sl-k3", "read, copies included"),
        SeriesKind::Logged => ("sl-k4", "logged"),
        SeriesKind::Unresolved => ("sl-k5", "failed or unknown"),
    }
}

pub(super) fn status_class(status: Status) -> &'static str {
    match status {
        Status::Pass => "sl-pass",
        Status::Fail => "sl-fail",
        Status::Inconclusive => "sl-doubt",
        Status::NotApplicable => "sl-none",
    }
}

pub(super) fn decade_label(decade: u32) -> &'static str {
    const LABELS: [&str; 10] =
        ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s", "1,000 s"];
    LABELS.get(decade as usize).copied().unwrap_or("")
}

/// At most so many characters, the last one an ellipsis where some are left out.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    let text = escape::visible(text);
    if text.chars().count() <= chars_max {
        return text;
    }
    let start: String = text.chars().take(chars_max - 1).collect();
    format!("{start}…")
}
