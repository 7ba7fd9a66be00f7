//! Edits that change nothing that was promised: none may be convicted, and none may shake a pass.

use rand::seq::IndexedRandom as _;

use super::Edit;
use super::Expected::Clean;
use streamlake_history::event::*;

#[rustfmt::skip]
pub(super) const TABLE: &[Edit] = &[
    Edit { name: "nothing", expected: Clean, make: |_, _| true },
    Edit { name: "a commit is told twice", expected: Clean, make: |s, rng| {
        let commits: Vec<usize> = (0..s.facts.len()).filter(|&n| matches!(&s.facts[n].2, Fact::Committed(_))).collect();
        let Some(&place) = commits.choose(rng) else { return false };
        let again = s.facts[place].clone();
        s.facts.insert(place + 1, again);
        true
    } },
    Edit { name: "a part is seen once more in the same generation", expected: Clean, make: |s, rng| {
        let seen: Vec<usize> = (0..s.facts.len()).filter(|&n| matches!(&s.facts[n].2, Fact::Object(o) if o.during_run && o.role == ObjectRole::Part)).collect();
        let Some(&place) = seen.choose(rng) else { return false };
        let again = s.facts[place].clone();
        s.facts.insert(place + 1, again);
        true
    } },
    Edit { name: "a part answers late in the middle of the run", expected: Clean, make: |s, _| {
        let Some(place) = s.facts.iter().position(|(_, _, f)| matches!(f, Fact::Probe(p) if p.answered)) else { return false };
        let (t, who, Fact::Probe(probe)) = s.facts[place].clone() else { return false };
        let silent = Probe { answered: false, detail: "no answer within 500ms".to_owned(), ..probe.clone() };
        s.facts.insert(place + 1, (t, who.clone(), Fact::Probe(silent)));
        s.facts.insert(place + 2, (t, who, Fact::Probe(probe)));
        true
    } },
    Edit { name: "a warning", expected: Clean, make: |s, _| {
        let end = s.facts.iter().map(|(t, _, _)| *t).max().unwrap_or(0);
        s.tell(end, "edits", Fact::Note { level: "warning".to_owned(), text: "slow".to_owned() });
        true
    } },
    Edit { name: "configuration of a part that promises nothing", expected: Clean, make: |s, _| {
        let Some(place) = s.facts.iter().position(|(_, _, f)| matches!(f, Fact::Configuration { of, .. } if of.starts_with("broker") || of.starts_with("topic"))) else { return false };
        if let Fact::Configuration { properties, .. } = &mut s.facts[place].2 {
            properties.insert("log.retention.hours".to_owned(), "7".to_owned());
        }
        true
    } },
    Edit { name: "the same facts, told by processes in turn", expected: Clean, make: |s, _| {
        // Stable: each process keeps its own order, whatever the others said in between.
        s.facts.sort_by(|a, b| a.1.cmp(&b.1));
        true
    } },
];
