//! What the history says of the records and operations that findings name.
//!
//! Checkers keep a few bytes of each record, so their findings name places and operations and no
//! more. A second pass over the history, needed only where something was found, adds what was told of
//! the first few of each finding: who invoked it and when, what the log holds, where it was stored.

mod difference;

use std::collections::{BTreeMap, BTreeSet};

use difference::{Frame, differences, key, value};

use super::case::{quoted, seconds};
use crate::verdict::{Finding, Verdict};
use streamlake_history::HistoryError;
use streamlake_history::event::{Event, Fact, Outcome};

/// Places and operations that are followed for one finding.
const FOLLOWED_MAX: usize = 5;
/// Sentences on one place or operation.
const SENTENCES_MAX: usize = 12;

type Place = (String, u32, u64);

/// Rank of the log among those who tell of a record.
const LOG: u8 = 1;
/// Rank of those who have a copy of it.
const COPY: u8 = 2;

/// Adds to the findings of a verdict what the history says of their records.
///
/// # Errors
/// The first error of the events.
pub fn explain(
    verdict: &mut Verdict,
    events: impl IntoIterator<Item = Result<Event, HistoryError>>,
) -> Result<(), HistoryError> {
    let mut stories = Stories::default();
    for finding in verdict.checks.iter().flat_map(|check| &check.findings) {
        stories.ops.extend(ops(finding).map(|op| (op, BTreeSet::new())));
        for (topic, partition, offset) in places(finding) {
            let partitions = stories.places.entry(topic).or_default();
            partitions.entry((partition, offset)).or_default();
        }
    }
    if stories.ops.is_empty() && stories.places.is_empty() {
        return Ok(());
    }
    for event in events {
        stories.observe(&event?);
    }
    stories.compare();
    for finding in verdict.checks.iter_mut().flat_map(|check| &mut check.findings) {
        let told = places(finding).filter_map(|(topic, partition, offset)| {
            stories.places.get(&topic)?.get(&(partition, offset))
        });
        let told = told.chain(ops(finding).filter_map(|op| stories.ops.get(&op)));
        let told: Vec<String> = told.flat_map(sentences).collect();
        finding.evidence.extend(told);
    }
    Ok(())
}

fn ops(finding: &Finding) -> impl Iterator<Item = u64> + use<> {
    let ops: Vec<u64> = finding.ops.iter().copied().take(FOLLOWED_MAX).collect();
    ops.into_iter()
}

/// The first offset of each of the first ranges, then more of the first range.
fn places(finding: &Finding) -> impl Iterator<Item = Place> + use<> {
    let mut places = Vec::new();
    if let (Some(topic), Some(partition)) = (&finding.topic, finding.partition) {
        let ranges = finding.offsets.iter().take(FOLLOWED_MAX);
        let offsets = ranges.flat_map(|range| (range.first..=range.last).take(2));
        let offsets: BTreeSet<u64> = offsets.take(FOLLOWED_MAX).collect();
        places.extend(offsets.into_iter().map(|offset| (topic.clone(), partition, offset)));
    }
    places.into_iter()
}

/// Sentences with the instant that orders them.
type Story = BTreeSet<(u64, String)>;

fn sentences(story: &Story) -> impl Iterator<Item = String> + '_ {
    story.iter().take(SENTENCES_MAX).map(|(_, sentence)| sentence.clone())
}

/// Tellings of one record, in the order in which they are compared: invocation, log, then those of
/// whoever has a copy.
type Tellings = BTreeMap<(u8, String), Frame>;

#[derive(Default)]
struct Stories {
    tellings: BTreeMap<Place, Tellings>,
    /// Invocation and records of an operation.
    invoked: BTreeMap<u64, Frame>,
    logged: BTreeMap<u64, Vec<(Place, Frame)>>,
    places: BTreeMap<String, BTreeMap<(u32, u64), Story>>,
    ops: BTreeMap<u64, Story>,
    objects: BTreeMap<(String, u32), (String, u64)>,
}

impl Stories {
    /// Most facts concern no finding: nothing is written before that is known.
    fn place(
        &mut self,
        (topic, partition, offset): (&str, u32, u64),
        at: u64,
        text: impl FnOnce() -> String,
    ) {
        let story = self.places.get_mut(topic).and_then(|t| t.get_mut(&(partition, offset)));
        if let Some(story) = story {
            story.insert((at, format!("offset {offset}: {}", text())));
        }
    }

    /// Somebody told of the record at a place.
    fn tell(
        &mut self,
        place: Place,
        rank: u8,
        who: impl FnOnce() -> String,
        frame: impl FnOnce() -> Frame,
    ) {
        let known = self.places.get(&place.0).is_some_and(|t| t.contains_key(&(place.1, place.2)));
        if known {
            self.tellings.entry(place).or_default().insert((rank, who()), frame());
        }
    }

    /// Adds to the stories in which way the tellings of each record differ.
    fn compare(&mut self) {
        for (op, records) in std::mem::take(&mut self.logged) {
            let Some(invoked) = self.invoked.remove(&op) else { continue };
            for ((topic, partition, offset), frame) in records {
                let told = differences(&invoked, &frame);
                if !told.is_empty() {
                    let topic = topic.escape_debug().to_string();
                    self.op(op, 0, || {
                        format!(
                            "logged in {topic}/{partition} at offset {offset} with {}",
                            told.join("; ")
                        )
                    });
                }
            }
        }
        for ((topic, partition, offset), tellings) in std::mem::take(&mut self.tellings) {
            let log = tellings.iter().find(|((rank, _), _)| *rank == LOG);
            for ((rank, who), frame) in &tellings {
                let Some((_, first)) = log.filter(|_| *rank != LOG) else { continue };
                let told = differences(first, frame);
                if !told.is_empty() {
                    // At the very begin: it is what the finding is about.
                    self.place((&topic, partition, offset), 0, || {
                        format!("{who} with {}", told.join("; "))
                    });
                }
            }
        }
    }

    fn op(&mut self, op: u64, at: u64, text: impl FnOnce() -> String) {
        if let Some(story) = self.ops.get_mut(&op) {
            story.insert((at, format!("operation {op}: {}", text())));
        }
    }

    fn observe(&mut self, event: &Event) {
        let at = event.t_us;
        match &event.fact {
            Fact::Invoked(fact) => {
                if self.ops.contains_key(&fact.op) {
                    self.invoked.insert(fact.op, Frame::from(fact));
                }
                self.op(fact.op, at, || {
                    let poison = if fact.poison { ", invalid on purpose" } else { "" };
                    let (key, value) = (key(fact.key.as_ref()), value(fact.value));
                    format!("invoked at {} with {key}, {value}{poison}", seconds(at))
                });
            }
            Fact::Completed(fact) => {
                self.op(fact.op, at, || format!("{} at {}", outcome(&fact.outcome), seconds(at)));
            }
            Fact::Logged(fact) => {
                self.place((&fact.topic, fact.partition, fact.offset), 0, || {
                    let op =
                        fact.op.map_or("no operation".to_owned(), |op| format!("operation {op}"));
                    let (key, value) = (key(fact.key.as_ref()), value(fact.value));
                    format!("logged as {op} with {key}, {value}")
                });
                let place = (fact.topic.clone(), fact.partition, fact.offset);
                if let Some(op) = fact.op.filter(|op| self.ops.contains_key(op)) {
                    let records = self.logged.entry(op).or_default();
                    records.push((place.clone(), Frame::from(fact)));
                }
                self.tell(place, LOG, || "logged".to_owned(), || Frame::from(fact));
            }
            _ => self.observe_delivery(event),
        }
    }

    fn observe_delivery(&mut self, event: &Event) {
        let at = event.t_us;
        match &event.fact {
            Fact::Object(fact) => {
                let number = (event.process.clone(), fact.object);
                self.objects.insert(number, (fact.name.clone(), fact.created_us));
            }
            Fact::Stored(fact) => {
                let place = (fact.topic.as_str(), fact.partition, fact.offset);
                let partitions = self.places.get(place.0);
                if !partitions.is_some_and(|known| known.contains_key(&(place.1, place.2))) {
                    return;
                }
                let number = (event.process.clone(), fact.object);
                let (name, created) = self.objects.get(&number).cloned().unwrap_or_default();
                let who = || format!("stored in {} line {}", quoted(&name), fact.line);
                let owned = (fact.topic.clone(), fact.partition, fact.offset);
                self.tell(owned, COPY, who, || Frame::from(fact));
                self.place(place, created, || {
                    format!(
                        "stored at {} in {} line {} with {}, {}",
                        seconds(created),
                        quoted(&name),
                        fact.line,
                        key(fact.key.as_ref()),
                        value(fact.value)
                    )
                });
            }
            Fact::Read(fact) => self.place((&fact.topic, fact.partition, fact.offset), at, || {
                format!("read by {} at {}", quoted(&fact.member), seconds(at))
            }),
            Fact::DeadLetter(fact) => {
                let whose = fact.group.as_deref().map(|group| format!(" by {}", quoted(group)));
                let whose = whose.unwrap_or_default();
                let text = || format!("dead-lettered{whose} at {}", seconds(fact.created_us));
                if let Some((topic, partition, offset)) = &fact.source {
                    let who = || {
                        let name = fact.topic.escape_debug();
                        format!(
                            "dead-lettered{whose} in {name}/{} at offset {}",
                            fact.partition, fact.offset
                        )
                    };
                    let place = (topic.clone(), *partition, *offset);
                    self.tell(place, COPY, who, || Frame::from(fact));
                    self.place((topic, *partition, *offset), fact.created_us, text);
                }
                if let Some(op) = fact.op {
                    self.op(op, fact.created_us, text);
                }
            }
            _ => {}
        }
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Acknowledged { topic, partition, offset } => {
            format!("acknowledged as {}/{partition} offset {offset}", topic.escape_debug())
        }
        Outcome::Rejected { reason } => format!("rejected ({})", quoted(reason)),
        Outcome::Failed { error } => format!("failed ({})", quoted(error)),
        Outcome::Unknown { error } => format!("unknown ({})", quoted(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Judged as _;
    use streamlake_history::event::Print;
    use streamlake_history::sample::Sample;

    #[test]
    fn findings_tell_the_story_of_their_records() {
        let mut sample = Sample::honest();
        for (_, _, fact) in &mut sample.facts {
            if let Fact::Stored(stored) = fact
                && stored.op == Some(41)
            {
                stored.value = Print(1);
            }
        }
        let mut verdict = sample.judge().unwrap();
        explain(&mut verdict, sample.events().into_iter().map(Ok)).unwrap();
        let findings = verdict.checks.iter().find(|check| check.check == "fidelity").unwrap();
        let evidence = findings.findings[0].evidence.join("\n");
        for part in [
            "logged as operation 41 with key `order-6`",
            "part-00",
            "value 0000000000000001",
            "operation 41: invoked at 0.410 s",
            "operation 41: acknowledged as streamlake.orders.raw/",
        ] {
            assert!(evidence.contains(part), "{part} is not in\n{evidence}");
        }
    }
}
