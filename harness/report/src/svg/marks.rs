//! The marks of fault windows and where their labels go.

use super::super::words;
use streamlake_judge::verdict::WindowTally;

/// Rows of labels; what finds no room in them is told by tooltips and by the report's tables.
const ROWS_MAX: usize = 4;

/// An instant of a fault window.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) at_us: u64,
    what: &'static str,
    window: String,
    back: bool,
}

impl Mark {
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.what, words::instant(self.at_us))
    }

    pub(super) fn title(&self) -> String {
        format!("{}, {}", self.window, self.label())
    }

    pub(super) fn class(&self) -> &'static str {
        if self.back { "sl-heal" } else { "sl-mark" }
    }
}

/// All marks in order of time.
pub(super) fn of(windows: &[WindowTally]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for window in windows {
        let name = format!("{} of {}", window.kind, window.target);
        for (what, at, back) in [
            ("injected", window.injecting_us, false),
            ("seen", window.seen_us, false),
            ("healed", window.healed_us, true),
            ("recovered", window.recovered_us, true),
        ] {
            let mark = |at_us| Mark { at_us, what, window: name.clone(), back };
            marks.extend(at.map(mark));
        }
    }
    marks.sort_by_key(|mark| mark.at_us);
    marks
}

/// A label's row, place and side.
pub(super) type Place = (usize, f64, &'static str);

/// Puts each label into the first row that has room, right of its mark or, near the edge, left of
/// it. Returns the places, none where there is no room, and the number of rows used.
pub(super) fn place(
    marks: &[Mark],
    x: impl Fn(u64) -> f64,
    right: f64,
    char_width: f64,
) -> (Vec<Option<Place>>, usize) {
    let mut taken: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut places = Vec::new();
    for mark in marks {
        let width = mark.label().chars().count() as f64 * char_width + 8.0;
        let at = x(mark.at_us);
        let (from, to, anchor) = match at + width > right {
            true => (at - width, at, "end"),
            false => (at, at + width, "start"),
        };
        let free = |row: &Vec<(f64, f64)>| row.iter().all(|&(a, b)| to <= a || from >= b);
        let row = taken.iter().position(free).unwrap_or(taken.len());
        if row == ROWS_MAX {
            places.push(None);
            continue;
        }
        if row == taken.len() {
            taken.push(Vec::new());
        }
        taken[row].push((from, to));
        places.push(Some((row, at, anchor)));
    }
    (places, taken.len())
}
