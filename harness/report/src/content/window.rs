//! A fault window as it was seen from outside: when each stage was reached, what changed, and what
//! else speaks for it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::document::{Document, Text};
use super::super::{ScenarioReport, words};
use super::labelled;
use streamlake_judge::verdict::WindowTally;

/// A property is looked at up to three times; its name in the evidence ends with which.
const MOMENTS: [&str; 3] = ["before", "during", "after"];

/// Told even where the fault left it as it was: that is what speaks for the capture.
const TOLD_ALWAYS: [&str; 2] = ["connector", "slot confirmed_flush_lsn"];

pub(super) fn write(run: &ScenarioReport, window: &WindowTally, document: &mut Document) {
    document.paragraph(
        labelled("Fault window as seen from outside:", Text::code(&window.kind))
            .and(" of ")
            .code_too(&window.target)
            .and(format!(" (fault {})", window.fault)),
    );
    document.table(&["Stage", "Instant of the run", "Since the act"], 1, stages(run, window));
    let observed = Observed::of(window);
    let changed = observed.changed();
    document.table(&["What was looked at", "Before", "During", "After"], 4, changed);
    let flying = words::count(window.in_flight);
    let mut lines = vec![Text::data(format!("Operations in flight in the window: {flying}"))];
    if run.header.promises.source.is_none() {
        let (us, open) = (window.unavailability_us, window.unavailability_open);
        let ended = if open { format!(", {}", words::UNTIL_THE_END) } else { String::new() };
        lines.push(Text::data(format!(
            "Longest time without an acknowledgement that touches the window: {}{ended}",
            words::unavailability(us, open)
        )));
    }
    if let Some(place) =
        window.recovered_in.as_ref().filter(|_| window.recovered_us > window.healed_us)
    {
        lines.push(Text::prose("Last to recover: ").code_too(place));
    }
    lines.extend(
        observed
            .single
            .iter()
            .map(|(name, value)| Text::data(capitalised(name)).and(": ").code_too(*value)),
    );
    lines.extend(observed.unchanged());
    document.list(lines);
}

fn stages(run: &ScenarioReport, window: &WindowTally) -> Vec<Vec<Text>> {
    let since = |at: u64| match window.injecting_us {
        Some(from) if at > from => format!("+{}", words::duration(at - from)),
        Some(from) if at == from => "0".to_owned(),
        _ => words::NONE.to_owned(),
    };
    let row = |label: &'static str, at: Option<u64>, otherwise: &str| {
        let instant = at.map_or_else(|| otherwise.to_owned(), words::instant);
        let since = at.map_or_else(|| words::NONE.to_owned(), since);
        vec![Text::prose(label), Text::data(instant), Text::data(since)]
    };
    // Everything may have been answered before a probe saw that the target is back.
    let tally = &run.verdict.tally;
    let told = tally.acknowledged + tally.rejected + tally.failed;
    let first_ack = match window.healed_us.is_some() && told >= tally.invoked {
        true => "none was left to come",
        false => "not seen",
    };
    let captures = run.header.promises.source.is_some();
    let recovered = match captures {
        true => "Recovered: first event of a newer row change",
        false => "Recovered: newer records committed in every partition",
    };
    let mut recovered = row(recovered, window.recovered_us, "not seen");
    if window.recovered_us.is_some() && window.recovered_us == window.healed_us {
        recovered[1] = Text::data(words::AT_ONCE);
    }
    let mut stages = vec![
        row("The act began", window.injecting_us, "not seen"),
        row("Its effect was seen", window.seen_us, "not seen"),
        row("The target was seen to be back", window.healed_us, "not seen"),
    ];
    if !captures {
        stages.push(row("First acknowledgement after that", window.first_ack_after_us, first_ack));
    }
    stages.push(recovered);
    stages
}

/// The evidence of a window, told apart: looked at several times, or once.
struct Observed<'a> {
    several: BTreeMap<&'a str, [Option<&'a str>; 3]>,
    single: Vec<(&'a str, &'a str)>,
    /// Which of the moments were looked at, at all.
    moments: BTreeSet<usize>,
}

impl<'a> Observed<'a> {
    fn of(window: &'a WindowTally) -> Self {
        let mut several: BTreeMap<&str, [Option<&str>; 3]> = BTreeMap::new();
        let (mut single, mut moments) = (Vec::new(), BTreeSet::new());
        for (name, value) in &window.evidence {
            let split = MOMENTS.iter().enumerate().find_map(|(moment, word)| {
                Some((moment, name.strip_suffix(word)?.strip_suffix(' ')?))
            });
            match split {
                Some((moment, property)) => {
                    several.entry(property).or_default()[moment] = Some(value);
                    moments.insert(moment);
                }
                None => single.push((name.as_str(), value.as_str())),
            }
        }
        Self { several, single, moments }
    }

    fn is_told(&self, property: &str, values: &[Option<&str>; 3]) -> bool {
        TOLD_ALWAYS.contains(&property) || self.is_changed(values)
    }

    fn is_changed(&self, values: &[Option<&str>; 3]) -> bool {
        let looked: BTreeSet<_> = self.moments.iter().map(|&moment| values[moment]).collect();
        looked.len() > 1
    }

    /// A row for each property that was not the same at every moment.
    fn changed(&self) -> Vec<Vec<Text>> {
        let changed =
            self.several.iter().filter(|(property, values)| self.is_told(property, values));
        changed
            .map(|(property, values)| {
                let cell =
                    |value: &Option<&str>| value.map_or_else(|| words::NONE.into(), Text::code);
                let mut row = vec![Text::code(*property)];
                row.extend(values.iter().map(cell));
                row
            })
            .collect()
    }

    /// How many stayed as they were. That they did is evidence too: of what the fault left alone.
    fn unchanged(&self) -> Option<Text> {
        let same = self.several.iter().filter(|(name, values)| !self.is_told(name, values));
        let same = same.count() as u64;
        (same > 0).then(|| {
            let count = words::counted(same, "more property", "more properties");
            Text::data(format!("{count} stayed the same throughout; all values are in "))
                .then(Text::link(super::super::json::FILE, super::super::json::FILE))
        })
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
