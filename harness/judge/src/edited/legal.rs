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
    Edit { name: "a receipt is lost while its record is there, which is allowed", expected: Clean, make: |s, rng| {
        let outcomes = s.header.promises.outcomes.get_or_insert_default();
        outcomes.unacknowledged_outside_faults = 1;
        let acknowledged = |f: &Fact| matches!(f, Fact::Completed(Completed { outcome: Outcome::Acknowledged { .. }, .. }));
        let places: Vec<usize> = (0..s.facts.len()).filter(|&n| acknowledged(&s.facts[n].2)).collect();
        let Some(&place) = places.choose(rng) else { return false };
        s.facts.remove(place);
        true
    } },
    Edit { name: "the last receipts are lost while their records are there, which is allowed", expected: Clean, make: |s, _| {
        s.header.promises.outcomes.get_or_insert_default().unacknowledged_outside_faults = 3;
        let acknowledged = |f: &Fact| matches!(f, Fact::Completed(Completed { outcome: Outcome::Acknowledged { .. }, .. }));
        let places: Vec<usize> = (0..s.facts.len()).filter(|&n| acknowledged(&s.facts[n].2)).collect();
        places.iter().rev().take(3).for_each(|&place| drop(s.facts.remove(place)));
        true
    } },
    Edit { name: "the broker's clock is 90 ms behind, and it was measured", expected: Clean, make: |s, _| {
        if s.header.run.testbed != "docker" { return false }
        const BEHIND_US: u64 = 90_000;
        for (_, who, fact) in &mut s.facts {
            match fact {
                Fact::Committed(c) => c.at_us -= BEHIND_US,
                Fact::Generation(g) if who == "commit-watch" => g.at_us -= BEHIND_US,
                Fact::DeadLetter(d) => d.created_us -= BEHIND_US,
                Fact::Clock(c) if c.of == "broker" => {
                    c.low_us += BEHIND_US.cast_signed();
                    c.high_us += BEHIND_US.cast_signed();
                }
                _ => {}
            }
        }
        true
    } },
    Edit { name: "the broker's clock is 150 ms ahead, and it was measured", expected: Clean, make: |s, _| {
        if s.header.run.testbed != "docker" { return false }
        const AHEAD_US: u64 = 150_000;
        for (_, who, fact) in &mut s.facts {
            match fact {
                Fact::Committed(c) => c.at_us += AHEAD_US,
                Fact::Generation(g) if who == "commit-watch" => g.at_us += AHEAD_US,
                Fact::DeadLetter(d) => d.created_us += AHEAD_US,
                Fact::Clock(c) if c.of == "broker" => {
                    c.low_us -= AHEAD_US.cast_signed();
                    c.high_us -= AHEAD_US.cast_signed();
                }
                _ => {}
            }
        }
        true
    } },
    Edit { name: "records of aborted transactions of a stranger at the end", expected: Clean, make: |s, _| {
        for (_, _, fact) in &mut s.facts {
            if let Fact::LogBounds(b) = fact && b.partition == 0 && s.header.promises.groups.iter().all(|g| g.dead_letter_topic.as_ref() != Some(&b.topic)) {
                b.aborted = vec![(b.high, b.high + 1)];
                b.holes.push((b.high + 2, b.high + 2));
                b.high += 3;
            }
        }
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
