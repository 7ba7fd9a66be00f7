//! A timeline of each run as a picture: what was acknowledged, stored and committed, how long it
//! took, and where the fault was.
//!
//! Written by hand and not by a plotting library: colours must follow the reader's light or dark
//! theme, which takes classes and a media query in the picture, marks carry their numbers as
//! tooltips, and the bytes must not change with a library's version. Lines differ in dashes as well
//! as in colour; the colours stay apart for all common kinds of colour blindness.

mod looks;
mod marks;
mod scale;

use std::fmt::Write as _;

use self::looks::{Line, decade_label, extent, lines, shortened, status_class};
use self::marks::Mark;
use self::scale::{Scale, count_ticks, decades, time_ticks};
use super::escape::html;
use super::{ReportError, ReportFile, ScenarioReport, SuiteReport, content, words};

/// The style of every picture, as an element: a page that shows several needs it once.
pub(super) const STYLE: &str = concat!("<style>\n", include_str!("style.css"), "</style>\n");
const WIDTH: f64 = 960.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 936.0;
/// Parts whose silence gets a lane of its own.
const LANES_MAX: usize = 4;
/// Width of a character of the small text, on the wide side.
const CHAR: f64 = 6.6;

pub(super) fn write(suite: &SuiteReport) -> Result<Vec<ReportFile>, ReportError> {
    let pictures = content::pictures(suite).into_iter();
    Ok(pictures.map(|(file, run)| ReportFile::text(&file, timeline(run))).collect())
}

/// The picture of one run.
pub(super) fn timeline(run: &ScenarioReport) -> String {
    let mut picture = Picture::new(run);
    picture.head();
    picture.legend();
    picture.marks_and_panel();
    picture.lanes();
    picture.latency();
    picture.time_axis();
    picture.finish()
}

/// A picture under construction, from top to bottom.
struct Picture<'a> {
    run: &'a ScenarioReport,
    series: Vec<Line<'a>>,
    body: String,
    /// Everything that reaches over several panels, drawn beneath them.
    beneath: String,
    time: Scale,
    from_us: u64,
    to_us: u64,
    /// Upper edge of the panel of counts.
    panel_top: f64,
    /// The marks of fault windows with how far up they reach.
    marks: Vec<(Mark, f64)>,
    /// How far down the picture is drawn.
    bottom: f64,
}

impl<'a> Picture<'a> {
    fn new(run: &'a ScenarioReport) -> Self {
        let (from_us, to_us) = extent(run);
        Self {
            run,
            series: lines(&run.observed.timeline),
            body: String::new(),
            beneath: String::new(),
            time: Scale::new(from_us as f64, to_us as f64, LEFT, RIGHT),
            from_us,
            to_us,
            panel_top: 0.0,
            marks: Vec::new(),
            bottom: 0.0,
        }
    }

    fn x(&self, us: u64) -> f64 {
        self.time.at(us as f64)
    }

    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            html(text)
        );
    }

    fn rule(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    /// Scenario and verdict.
    fn head(&mut self) {
        let info = &self.run.header.run;
        let title = if info.about.title.is_empty() { &info.scenario } else { &info.about.title };
        let title = shortened(title, 60);
        self.text(LEFT, 30.0, "sl-title", "start", &title);
        let where_from = shortened(&format!("{}, seed {}", info.testbed, info.seed), 60);
        self.text(LEFT, 48.0, "", "start", &where_from);
        let status = self.run.verdict.status;
        let word = status.word();
        self.text(RIGHT, 30.0, "sl-title", "end", word);
        let x = RIGHT - word.len() as f64 * 9.2 - 14.0;
        let class = status_class(status);
        let _ =
            writeln!(self.body, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"24.5\" r=\"6\"/>");
        self.bottom = 58.0;
    }

    /// Each line's name with its total at the end, in as many rows as it takes.
    fn legend(&mut self) {
        let (mut x, mut y) = (LEFT, self.bottom + 16.0);
        let entries: Vec<(&str, String)> =
            self.series.iter().map(|line| (line.class, line.label.clone())).collect();
        for (class, label) in entries {
            let width = 38.0 + label.chars().count() as f64 * CHAR + 18.0;
            if x > LEFT && x + width > RIGHT {
                x = LEFT;
                y += 18.0;
            }
            self.rule(&format!("sl-line {class}"), (x, y - 4.0), (x + 30.0, y - 4.0));
            self.text(x + 38.0, y, "", "start", &label);
            x += width;
        }
        if self.series.is_empty() {
            self.text(LEFT, y, "", "start", "The history holds nothing that could be drawn.");
        }
        self.bottom = y + 8.0;
    }

    fn marks_and_panel(&mut self) {
        const HEIGHT: f64 = 230.0;
        let marks = marks::of(&self.run.verdict.tally.windows);
        let (placed, rows) = marks::place(&marks, |us| self.x(us), RIGHT, CHAR);
        let top = self.bottom + 12.0 + rows as f64 * 15.0;
        for (mark, row) in marks.iter().zip(placed) {
            let mut mark_top = top;
            if let Some((row, x, anchor)) = row {
                let y = self.bottom + 15.0 + row as f64 * 15.0;
                let x = if anchor == "end" { x - 4.0 } else { x + 4.0 };
                self.text(x, y, "", anchor, &mark.label());
                mark_top = y - 9.0;
            }
            self.marks.push((mark.clone(), mark_top));
        }
        self.panel_top = top;
        self.counts(top, top + HEIGHT);
    }

    /// The panel of cumulative counts.
    fn counts(&mut self, top: f64, bottom: f64) {
        let totals = self.series.iter().filter_map(|line| line.series.totals.last().copied());
        let max = totals.max().unwrap_or(0).max(1);
        let scale = Scale::new(0.0, max as f64 * 1.04, bottom, top);
        for tick in count_ticks(max) {
            let y = scale.at(tick as f64);
            self.rule("sl-grid", (LEFT, y), (RIGHT, y));
            self.text(LEFT - 8.0, y + 4.0, "", "end", &words::count(tick));
        }
        self.upright("records, cumulative", (top + bottom) / 2.0);
        let bucket_us = self.run.observed.timeline.bucket_us;
        let drawn: Vec<(&str, String, String)> = self
            .series
            .iter()
            .map(|line| {
                (
                    line.class,
                    line.label.clone(),
                    self.points(&line.series.totals, bucket_us, &scale),
                )
            })
            .collect();
        for (class, label, points) in drawn {
            let _ = writeln!(
                self.body,
                "<polyline class=\"sl-line {class}\" points=\"{points}\"><title>{}</title></polyline>",
                html(&label)
            );
        }
        self.bottom = bottom;
    }

    /// Points of a line that rises at the end of each stretch; stretches without a rise between two
    /// others are left out.
    fn points(&self, totals: &[u64], bucket_us: u64, scale: &Scale) -> String {
        let mut points = format!("{:.1},{:.1}", self.x(self.from_us), scale.at(0.0));
        let mut last = 0;
        for (index, &total) in totals.iter().enumerate() {
            let next = totals.get(index + 1).copied();
            if total == last && next == Some(total) {
                continue;
            }
            let at = (index as u64 + 1).saturating_mul(bucket_us);
            if at < self.from_us {
                continue;
            }
            let _ = write!(points, " {:.1},{:.1}", self.x(at), scale.at(total as f64));
            last = total;
        }
        let end = scale.at(totals.last().copied().unwrap_or(0) as f64);
        let _ = write!(points, " {:.1},{end:.1}", self.x(self.to_us));
        points
    }

    fn upright(&mut self, text: &str, middle: f64) {
        let _ = writeln!(
            self.body,
            "<text transform=\"translate(15 {middle:.1}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
            html(text)
        );
    }

    /// One lane for each part that did not answer, with the stretches of its silence.
    fn lanes(&mut self) {
        let stretches = &self.run.observed.unreachable;
        let mut targets: Vec<&str> = stretches.iter().map(|span| span.target.as_str()).collect();
        targets.sort_unstable();
        targets.dedup();
        targets.truncate(LANES_MAX);
        for target in targets {
            let y = self.bottom + 10.0;
            for span in stretches.iter().filter(|span| span.target == target) {
                let (x, end) = (self.x(span.from_us), self.x(span.to_us.unwrap_or(self.to_us)));
                let title = format!(
                    "{target} did not answer from {} to {}",
                    words::instant(span.from_us),
                    span.to_us.map_or_else(|| "the end".to_owned(), words::instant)
                );
                let _ = writeln!(
                    self.body,
                    "<rect class=\"sl-away\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
                     height=\"7\" rx=\"2\"><title>{}</title></rect>",
                    (end - x).max(2.0),
                    html(&title)
                );
            }
            let label = format!("{} does not answer", shortened(target, 24));
            let width = label.chars().count() as f64 * CHAR + 8.0;
            let of_target = || stretches.iter().filter(|span| span.target == target);
            let first = of_target().map(|span| self.x(span.from_us)).fold(RIGHT, f64::min);
            let last = of_target().map(|span| self.x(span.to_us.unwrap_or(self.to_us)));
            let last = last.fold(LEFT, f64::max);
            if first > LEFT + width {
                self.text(LEFT, y + 8.0, "", "start", &label);
            } else if last + width < RIGHT {
                self.text(RIGHT, y + 8.0, "", "end", &label);
            }
            self.bottom = y + 10.0;
        }
    }

    /// The strip of latencies: each stretch of time from its median to its maximum.
    fn latency(&mut self) {
        const HEIGHT: f64 = 96.0;
        let timeline = &self.run.observed.timeline;
        let known = || timeline.latency.iter().flatten();
        let (Some(min), Some(max)) = (
            known().map(|latency| latency.median_us).min(),
            known().map(|latency| latency.max_us).max(),
        ) else {
            return;
        };
        let (top, bottom) = (self.bottom + 18.0, self.bottom + 18.0 + HEIGHT);
        let (low, high) = decades(min, max);
        let scale = Scale::new(f64::from(low), f64::from(high), bottom, top);
        for decade in low..=high {
            let y = scale.at(f64::from(decade));
            self.rule("sl-grid", (LEFT, y), (RIGHT, y));
            self.text(LEFT - 8.0, y + 4.0, "", "end", decade_label(decade));
        }
        self.upright("latency (log)", (top + bottom) / 2.0);
        let place = |us: u64| scale.at((us.max(1) as f64).log10());
        for (index, latency) in timeline.latency.iter().enumerate() {
            let Some(latency) = latency else { continue };
            let from = index as u64 * timeline.bucket_us;
            let x = self.x(from + timeline.bucket_us / 2);
            let (median, max) = (place(latency.median_us), place(latency.max_us));
            let title = format!(
                "invoked about {}: median {}, maximum {}",
                words::instant(from),
                words::duration(latency.median_us),
                words::duration(latency.max_us)
            );
            let _ = writeln!(
                self.body,
                "<g><title>{}</title><line class=\"sl-max\" x1=\"{x:.1}\" y1=\"{median:.1}\" \
                 x2=\"{x:.1}\" y2=\"{max:.1}\"/><circle class=\"sl-median\" cx=\"{x:.1}\" \
                 cy=\"{median:.1}\" r=\"1.4\"/></g>",
                html(&title)
            );
        }
        self.bottom = bottom;
    }

    /// The axis of time, and beneath everything the fault windows and their marks.
    fn time_axis(&mut self) {
        let bottom = self.bottom;
        let top = self.panel_top;
        let (ticks, unit) = time_ticks(self.from_us, self.to_us);
        self.rule("sl-axis", (LEFT, bottom), (RIGHT, bottom));
        for (at, label) in ticks {
            let x = self.x(at);
            self.rule("sl-axis", (x, bottom), (x, bottom + 5.0));
            self.text(x, bottom + 18.0, "", "middle", &label);
        }
        let label = format!("time since the start of the run ({unit})");
        self.text(LEFT, bottom + 38.0, "", "start", &label);
        let hint = "latency by time of invocation: dot median, bar up to the maximum";
        self.text(RIGHT, bottom + 38.0, "", "end", hint);
        for window in &self.run.verdict.tally.windows {
            let Some(from) = window.injecting_us.or(window.seen_us) else { continue };
            let to = window.healed_us.unwrap_or(self.to_us);
            let (x, end) = (self.x(from), self.x(to));
            let title = format!("{} of {}", window.kind, window.target);
            let _ = writeln!(
                self.beneath,
                "<rect class=\"sl-fault\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
                 height=\"{:.1}\"><title>{}</title></rect>",
                (end - x).max(1.0),
                bottom - top,
                html(&title)
            );
        }
        for (mark, top) in std::mem::take(&mut self.marks) {
            let x = self.x(mark.at_us);
            let _ = writeln!(
                self.beneath,
                "<line class=\"{}\" x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\">\
                 <title>{}</title></line>",
                mark.class(),
                html(&mark.title())
            );
        }
        self.bottom = bottom + 52.0;
    }

    fn finish(self) -> String {
        let title = format!(
            "{}: {}, {} acknowledged",
            self.run.header.run.scenario,
            self.run.verdict.status.word(),
            words::count(self.run.verdict.tally.acknowledged)
        );
        format!(
            "<svg class=\"sl\" xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n\
             <title>{}</title>\n{STYLE}\
             <rect class=\"sl-bg\" width=\"{WIDTH}\" height=\"{height:.0}\" rx=\"6\"/>\n{}{}</svg>\n",
            html(&title),
            self.beneath,
            self.body,
            height = self.bottom,
        )
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
