//! Edits that must be found, or must leave a doubt.

use rand::seq::IndexedRandom as _;

use super::Expected::{Doubt, Found};
use super::{Edit, Rng};
use streamlake_history::event::*;
use streamlake_history::sample::Sample;

/// The places of the facts that fit.
fn places(sample: &Sample, fits: impl Fn(&Fact) -> bool) -> Vec<usize> {
    (0..sample.facts.len()).filter(|&n| fits(&sample.facts[n].2)).collect()
}

/// Changes one of the facts that fit.
fn alter(
    sample: &mut Sample,
    rng: &mut Rng,
    fits: impl Fn(&Fact) -> bool,
    change: impl FnOnce(&mut Fact),
) -> bool {
    let Some(&place) = places(sample, fits).choose(rng) else { return false };
    change(&mut sample.facts[place].2);
    true
}

/// Takes away all facts that fit.
fn without(sample: &mut Sample, fits: impl Fn(&Fact) -> bool) -> bool {
    let before = sample.facts.len();
    sample.facts.retain(|(_, _, fact)| !fits(fact));
    sample.facts.len() < before
}

fn of_producer(fact: &Fact) -> bool {
    matches!(fact, Fact::Process(p) if p.role() == Some(ProcessRole::Producer))
}

fn exit_of(fact: &Fact, role: ProcessRole) -> bool {
    matches!(fact, Fact::Process(p) if p.role() == Some(role)
        && p.state == ProcessChange::Exited && p.asked == Some(Ask::Stop))
}

fn produces(sample: &Sample) -> bool {
    sample.header.promises.source.is_none()
}

/// Stores one part again under another name, a while later: what an uploader does that takes an answer
/// for a failure. Only of a part that one reading of its group's parts has written.
fn store_again(sample: &mut Sample, rng: &mut Rng, only: Option<&str>) -> bool {
    let whole = |fact: &Fact| {
        matches!(fact, Fact::Object(o) if o.role == ObjectRole::Part && !o.during_run
            && only.is_none_or(|zone| o.raw_zone == zone))
    };
    let Some(&place) = places(sample, whole).choose(rng) else { return false };
    store_part_again(sample, place)
}

fn store_part_again(sample: &mut Sample, place: usize) -> bool {
    let (t_us, process, fact) = sample.facts[place].clone();
    let Fact::Object(mut object) = fact else { return false };
    let old = object.object;
    let lines: Vec<_> = sample
        .facts
        .iter()
        .filter(|(_, who, fact)| {
            *who == process && matches!(fact, Fact::Stored(s) if s.object == old)
        })
        .cloned()
        .collect();
    if lines.is_empty() {
        return false;
    }
    let number = |(_, who, fact): &(u64, String, Fact)| match fact {
        Fact::Object(o) if *who == process => Some(o.object),
        _ => None,
    };
    object.object = sample.facts.iter().filter_map(number).max().unwrap_or(0) + 1;
    object.name = object.name.replacen("part-", "part-9", 1);
    object.created_us += 300_000;
    let new = object.object;
    let zone = object.raw_zone.clone();
    let mut more = vec![(t_us, process.clone(), Fact::Object(object.clone()))];
    more.extend(lines.into_iter().map(|(t, who, fact)| match fact {
        Fact::Stored(mut stored) => {
            stored.object = new;
            (t, who, Fact::Stored(stored))
        }
        other => (t, who, other),
    }));
    // The watch saw it, and the final count knows of it.
    object.during_run = true;
    object.object = 1_000_000;
    object.content = None;
    more.push((object.created_us, "store-journal-of-edits".to_owned(), Fact::Object(object)));
    let at = sample.facts.iter().rposition(|(_, who, _)| *who == process).unwrap_or(place);
    sample.facts.splice(at..at, more);
    for (_, _, fact) in &mut sample.facts {
        if let Fact::StoreRead { raw_zone, parts } = fact
            && *raw_zone == zone
        {
            *parts += 1;
        }
    }
    true
}

/// The highest commit of some partition of a group.
fn last_commit(sample: &Sample, rng: &mut Rng) -> Option<usize> {
    let commits =
        places(sample, |fact| matches!(fact, Fact::Committed(c) if c.exact && c.offset > 20));
    let &some = commits.choose(rng)?;
    let Fact::Committed(wanted) = &sample.facts[some].2 else { return None };
    commits.iter().copied().max_by_key(|&n| match &sample.facts[n].2 {
        Fact::Committed(c) if c.group == wanted.group && c.partition == wanted.partition => {
            c.offset
        }
        _ => 0,
    })
}

#[rustfmt::skip]
pub(super) const TABLE: &[Edit] = &[
    // Duplicates and commits.
    Edit { name: "a part is stored twice by one reading", expected: Found(&["duplicates"]), make: |s, rng| store_again(s, rng, None) },
    Edit { name: "a part is stored twice by the last group only", expected: Found(&["duplicates"]), make: |s, rng| {
        let groups = &s.header.promises.groups;
        if groups.len() < 2 { return false }
        let Some(zone) = groups.last().and_then(|group| group.raw_zone.clone()) else { return false };
        store_again(s, rng, Some(&zone))
    } },
    Edit { name: "a group goes back at the end", expected: Found(&["commit-frontier"]), make: |s, rng| {
        let Some(place) = last_commit(s, rng) else { return false };
        let (t, who, Fact::Committed(mut commit)) = s.facts[place].clone() else { return false };
        commit.offset -= 15;
        commit.at_us += 50_000;
        let at = s.facts.iter().rposition(|(_, process, _)| *process == who).unwrap_or(place) + 1;
        let t = s.facts[at - 1].0.max(t);
        s.facts.insert(at, (t, who, Fact::Committed(commit)));
        true
    } },
    Edit { name: "a dead letter is written after the commit past its record", expected: Found(&["commit-frontier", "dead-letters"]), make: |s, _| {
        let commits: Vec<Committed> = s.facts.iter().filter_map(|(_, _, f)| match f {
            Fact::Committed(c) if c.exact => Some(c.clone()),
            _ => None,
        }).collect();
        let letters: Vec<DeadLetter> = s.facts.iter().filter_map(|(_, _, f)| match f {
            Fact::DeadLetter(d) => Some(d.clone()),
            _ => None,
        }).collect();
        let alone = |d: &DeadLetter| letters.iter().filter(|l| (&l.source, &l.group) == (&d.source, &d.group)).count() == 1;
        let covered = |d: &DeadLetter| {
            let (topic, partition, offset) = d.source.as_ref()?;
            let own = commits.iter().filter(|c| Some(&c.group) == d.group.as_ref() && &c.topic == topic && c.partition == *partition && c.offset > *offset);
            own.map(|c| c.at_us).min()
        };
        for (_, _, fact) in &mut s.facts {
            if let Fact::DeadLetter(d) = fact && alone(d) && let Some(at_us) = covered(d) {
                d.created_us = at_us + 400_000;
                return true;
            }
        }
        false
    } },
    Edit { name: "a record is stored again where its first owner had let go of it", expected: Found(&["duplicates"]), make: |s, _| {
        if !(s.header.run.testbed == "docker" && s.header.run.scenario == "consumer-pause") { return false }
        let stored = |s: &Sample, object: &Object, who: &str| s.facts.iter().any(|(_, w, f)| w == who && matches!(f, Fact::Stored(r) if r.object == object.object && r.partition == 0));
        let late = s.facts.iter().position(|(_, who, f)| matches!(f, Fact::Object(o) if o.role == ObjectRole::Part && !o.during_run && (9_000_000..15_000_000).contains(&o.created_us) && stored(s, o, who)));
        let Some(place) = late else { return false };
        store_part_again(s, place)
    } },
    // What records hold.
    Edit { name: "a stored value is null that was not", expected: Found(&["fidelity"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Stored(r) if r.value != Print::NULL), |f| if let Fact::Stored(r) = f { r.value = Print::NULL }) },
    Edit { name: "a stored header has another value", expected: Found(&["fidelity"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Stored(r) if r.header_list.as_ref().is_some_and(|l| !l.is_empty())), |f| if let Fact::Stored(r) = f {
            r.headers.0 ^= 1;
            if let Some(list) = &mut r.header_list { list.reverse() }
        }) },
    Edit { name: "a stored timestamp is another", expected: Found(&["fidelity"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Stored(_)), |f| if let Fact::Stored(r) = f { r.timestamp_ms = r.timestamp_ms.map(|ms| ms + 1).or(Some(0)) }) },
    Edit { name: "a line's own ingestion id is another", expected: Found(&["identity", "fidelity"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Stored(r) if r.ingestion_id.is_some()), |f| if let Fact::Stored(r) = f { r.ingestion_id = Some("00000000-0000-4000-8000-000000000000".to_owned()) }) },
    Edit { name: "two records bear one ingestion id", expected: Found(&["identity"]), make: |s, rng| {
        let ids = places(s, |f| matches!(f, Fact::Completed(c) if c.ingestion_id.is_some() && matches!(c.outcome, Outcome::Acknowledged { .. })));
        let (Some(&a), Some(&b)) = (ids.choose(rng), ids.choose(rng)) else { return false };
        let (Fact::Completed(one), Fact::Completed(other)) = (s.facts[a].2.clone(), s.facts[b].2.clone()) else { return false };
        if one.op == other.op { return false }
        for (_, _, fact) in &mut s.facts {
            match fact {
                Fact::Completed(c) if c.op == other.op => c.ingestion_id = one.ingestion_id.clone(),
                Fact::Logged(l) if l.op == Some(other.op) => l.ingestion_id = one.ingestion_id.clone(),
                Fact::Stored(r) if r.op == Some(other.op) => r.ingestion_id = one.ingestion_id.clone(),
                _ => {}
            }
        }
        true
    } },
    Edit { name: "every record was ingested in 1970", expected: Found(&["fidelity"]), make: |s, _| {
        let mut any = false;
        for (_, _, fact) in &mut s.facts {
            let (ingested, list, headers) = match fact {
                Fact::Logged(l) => (&mut l.ingested_ms, &mut l.header_list, &mut l.headers),
                Fact::Stored(r) => (&mut r.ingested_ms, &mut r.header_list, &mut r.headers),
                _ => continue,
            };
            let Some(list) = list else { continue };
            for header in list.iter_mut().filter(|header| header.is("ingested_at")) {
                *header = HeaderPair::of(b"ingested_at", Some(b"1970-01-01T00:00:00.000Z"));
                any |= ingested.replace(0).is_some();
            }
            if let Some(print) = HeaderPair::print_of(list) { *headers = print }
        }
        any
    } },
    Edit { name: "a record that nobody sent is in the log", expected: Found(&["acknowledged-is-durable"]), make: |s, rng| {
        if !produces(s) { return false }
        let Some(&place) = places(s, |f| matches!(f, Fact::Logged(l) if l.op.is_some())).choose(rng) else { return false };
        let Fact::Logged(like) = s.facts[place].2.clone() else { return false };
        let topic = like.topic.clone();
        let Some(bounds) = s.facts.iter_mut().find_map(|(_, _, fact)| match fact {
            Fact::LogBounds(b) if b.topic == topic && b.partition == like.partition => Some(b),
            _ => None,
        }) else { return false };
        let offset = bounds.high;
        bounds.high += 1;
        let stranger = Logged { offset, op: None, ingestion_id: None, value: Print(like.value.0 ^ 5), headers: Print(like.headers.0 ^ 5), header_list: None, ..like };
        let (t, who, _) = s.facts[place].clone();
        s.facts.insert(place, (t, who, Fact::Logged(stranger)));
        true
    } },
    Edit { name: "a record is stored that the log never held", expected: Found(&["acknowledged-is-durable", "fidelity"]), make: |s, rng| {
        let Some(&place) = places(s, |f| matches!(f, Fact::Stored(_))).choose(rng) else { return false };
        let (t, who, Fact::Stored(like)) = s.facts[place].clone() else { return false };
        let high = s.facts.iter().find_map(|(_, _, fact)| match fact {
            Fact::LogBounds(b) if b.topic == like.topic && b.partition == like.partition => Some(b.high),
            _ => None,
        });
        let Some(high) = high else { return false };
        s.facts.insert(place + 1, (t, who, Fact::Stored(Stored { offset: high + 7, ..like })));
        true
    } },
    // Places and lists.
    Edit { name: "a part is in another dataset's folder", expected: Found(&["placement"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Object(o) if o.role == ObjectRole::Part && !o.during_run), |f| if let Fact::Object(o) = f { o.name = o.name.replacen("dataset=", "dataset=other-", 1) }) },
    Edit { name: "a part's day is no day", expected: Found(&["placement"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Object(o) if o.role == ObjectRole::Part && !o.during_run), |f| if let Fact::Object(o) = f && let Some((head, tail)) = o.name.clone().split_once("ingestion_date=") {
            o.name = format!("{head}ingestion_date=unknown{}", &tail[10..]);
        }) },
    Edit { name: "a listed checksum is another", expected: Found(&["metadata"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Object(o) if o.lists.iter().any(|l| l.crc32.is_some())), |f| if let Fact::Object(o) = f { o.lists[0].crc32 = Some("deadbeef".to_owned()) }) },
    Edit { name: "the metadata says another dataset", expected: Found(&["metadata"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Object(o) if o.head.is_some()), |f| if let Fact::Object(o) = f && let Some(head) = &mut o.head { head.dataset = Some("others".to_owned()) }) },
    Edit { name: "the metadata says another day", expected: Found(&["metadata"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Object(o) if o.head.is_some()), |f| if let Fact::Object(o) = f && let Some(head) = &mut o.head { head.ingestion_date = Some("1970-01-01".to_owned()) }) },
    Edit { name: "a listed range begins one late", expected: Found(&["metadata"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Object(o) if !o.lists.is_empty()), |f| if let Fact::Object(o) = f { o.lists[0].first += 1 }) },
    // Dead letters.
    Edit { name: "a record's dead letters are gone", expected: Found(&["dead-letters", "no-loss"]), make: |s, rng| {
        let Some(&place) = places(s, |f| matches!(f, Fact::DeadLetter(d) if d.source.is_some())).choose(rng) else { return false };
        let Fact::DeadLetter(gone) = s.facts[place].2.clone() else { return false };
        without(s, |f| matches!(f, Fact::DeadLetter(d) if (&d.source, &d.group) == (&gone.source, &gone.group)))
    } },
    Edit { name: "a dead letter gives no reason", expected: Found(&["dead-letters"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::DeadLetter(d) if d.source.is_some()), |f| if let Fact::DeadLetter(d) = f { d.error = Some(String::new()) }) },
    Edit { name: "a dead letter holds another value", expected: Found(&["dead-letters"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::DeadLetter(d) if d.source.is_some()), |f| if let Fact::DeadLetter(d) = f { d.value.0 ^= 1 }) },
    Edit { name: "a rejected operation has two dead letters", expected: Found(&["duplicates"]), make: |s, rng| {
        let of_producer = |f: &Fact| matches!(f, Fact::DeadLetter(d) if d.source.is_none() && d.group.is_none() && d.ingestion_id.is_some());
        let Some(&place) = places(s, of_producer).choose(rng) else { return false };
        let (_, who, Fact::DeadLetter(mut letter)) = s.facts[place].clone() else { return false };
        let Some(bounds) = s.facts.iter_mut().find_map(|(_, _, fact)| match fact {
            Fact::LogBounds(b) if b.topic == letter.topic && b.partition == letter.partition => Some(b),
            _ => None,
        }) else { return false };
        letter.offset = bounds.high;
        letter.created_us += 300_000;
        bounds.high += 1;
        let Some(last) = s.facts.iter().rposition(|(_, _, f)| matches!(f, Fact::DeadLetter(_))) else { return false };
        let t_us = s.facts[last].0;
        s.facts.insert(last + 1, (t_us, who, Fact::DeadLetter(letter)));
        true
    } },
    Edit { name: "a dead letter is another group's", expected: Found(&["dead-letters"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::DeadLetter(d) if d.group.is_some()), |f| if let Fact::DeadLetter(d) = f { d.group = Some("nobody".to_owned()) }) },
    // Outcomes and exits.
    Edit { name: "an operation is unknown although nothing was broken", expected: Found(&["outcomes"]), make: |s, rng| {
        if !s.header.promises.faults.is_empty() { return false }
        alter(s, rng, |f| matches!(f, Fact::Completed(Completed { outcome: Outcome::Acknowledged { .. }, .. })), |f| if let Fact::Completed(c) = f { c.outcome = Outcome::Unknown { error: "Local: Message timed out".to_owned() } })
    } },
    Edit { name: "a good operation is rejected", expected: Found(&["outcomes", "acknowledged-is-durable"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Completed(Completed { outcome: Outcome::Acknowledged { .. }, .. })), |f| if let Fact::Completed(c) = f { c.outcome = Outcome::Rejected { reason: "no".to_owned() } }) },
    Edit { name: "a consumer ends an orderly stop with 1", expected: Found(&["exits"]), make: |s, rng|
        alter(s, rng, |f| exit_of(f, ProcessRole::Consumer), |f| if let Fact::Process(p) = f { (p.end, p.status) = (Some(ProcessEnd::Code(1)), Some("exit status: 1".to_owned())) }) },
    Edit { name: "a consumer panics at the stop", expected: Found(&["exits"]), make: |s, rng|
        alter(s, rng, |f| exit_of(f, ProcessRole::Consumer), |f| if let Fact::Process(p) = f { (p.end, p.status) = (Some(ProcessEnd::Code(101)), Some("exit status: 101".to_owned())) }) },
    Edit { name: "a consumer dies of a signal that nobody sent", expected: Found(&["exits"]), make: |s, rng|
        alter(s, rng, |f| exit_of(f, ProcessRole::Consumer), |f| if let Fact::Process(p) = f { (p.asked, p.end, p.status) = (None, Some(ProcessEnd::Signal(11)), Some("signal: 11 (SIGSEGV)".to_owned())) }) },
    Edit { name: "the producer ends with 1", expected: Found(&["exits"]), make: |s, rng|
        alter(s, rng, |f| of_producer(f) && matches!(f, Fact::Process(p) if p.state == ProcessChange::Exited), |f| if let Fact::Process(p) = f { (p.end, p.status) = (Some(ProcessEnd::Code(1)), Some("exit status: 1".to_owned())) }) },
    // Settings.
    Edit { name: "a consumer commits by itself", expected: Found(&["configuration"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Configuration { properties, .. } if properties.contains_key("enable.auto.commit")), |f| if let Fact::Configuration { properties, .. } = f { properties.insert("enable.auto.commit".to_owned(), "true".to_owned()); }) },
    Edit { name: "a group begins at the end", expected: Found(&["configuration"]), make: |s, rng|
        alter(s, rng, |f| matches!(f, Fact::Configuration { properties, .. } if properties.contains_key("auto.offset.reset")), |f| if let Fact::Configuration { properties, .. } = f { properties.insert("auto.offset.reset".to_owned(), "latest".to_owned()); }) },
    Edit { name: "the leader's word was enough", expected: Found(&["configuration"]), make: |s, _| {
        let mut any = false;
        for (_, _, fact) in &mut s.facts {
            if let Fact::Configuration { of, properties, .. } = fact && of.contains("dead-letter") {
                any |= properties.insert("acks".to_owned(), "1".to_owned()).is_some();
            }
        }
        any
    } },
    // Evidence that is not there.
    Edit { name: "nobody watched the commits", expected: Doubt("no-loss"), make: |s, _| without(s, |f| matches!(f, Fact::Committed(_))) },
    Edit { name: "the log's ends were not read", expected: Doubt("acknowledged-is-durable"), make: |s, _| without(s, |f| matches!(f, Fact::LogBounds(_))) },
    Edit { name: "the raw zone was not read to its end", expected: Doubt("fidelity"), make: |s, _| without(s, |f| matches!(f, Fact::StoreRead { .. })) },
    Edit { name: "nobody watched the processes", expected: Doubt("exits"), make: |s, _| without(s, |f| matches!(f, Fact::Process(_))) },
    Edit { name: "no configuration was read back", expected: Doubt("configuration"), make: |s, _| without(s, |f| matches!(f, Fact::Configuration { .. })) },
    Edit { name: "no part was seen during the run", expected: Doubt("immutability"), make: |s, _| without(s, |f| matches!(f, Fact::Object(o) if o.during_run)) },
    Edit { name: "an observer failed", expected: Doubt("history"), make: |s, _| {
        let end = s.facts.iter().map(|(t, _, _)| *t).max().unwrap_or(0);
        s.tell(end, "edits", Fact::Note { level: "error".to_owned(), text: "an observer ended".to_owned() });
        true
    } },
    Edit { name: "the run did not end", expected: Doubt("history"), make: |s, _| without(s, |f| matches!(f, Fact::Phase { name } if name == "done")) },
    Edit { name: "a fault was not seen", expected: Doubt("fault-bit"), make: |s, _| without(s, |f| matches!(f, Fact::Fault(step) if step.step == FaultStage::Seen)) },
    Edit { name: "a fault was not seen to heal", expected: Doubt("fault-bit"), make: |s, _| without(s, |f| matches!(f, Fact::Fault(step) if step.step == FaultStage::Healed)) },
];
