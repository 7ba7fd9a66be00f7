//! Duplicate dead letters: a record that is read once is dead-lettered once.

use std::collections::BTreeMap;

use super::matching::{Copy, matched};
use super::{Causes, cause};
use crate::case::{Case, EVIDENCE_MAX, anomalous, count, quoted, seconds, spelled};
use crate::index::{Dead, Epoch, Index, RangeSet, Run, Watched};
use streamlake_history::event::{Evidence, FaultStage};

/// Instants of the letters of one record, by its place.
type Letters = BTreeMap<(usize, u64), Vec<u64>>;

/// Judges the letters of each dead-letter topic and gives the surplus by cause.
pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> Causes {
    let mut causes = Causes::new();
    let mut topics: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, promise, _) in index.promised_groups() {
        if let Some(topic) = &promise.dead_letter_topic {
            topics.entry(topic).or_default().push(number);
        }
    }
    for (topic, groups) in topics {
        // A letter that does not say whose it is may be anybody's who writes there.
        let mut by_writer: BTreeMap<Vec<usize>, Letters> = BTreeMap::new();
        for dead in index.dead.iter().filter(|dead| dead.letter.topic == topic) {
            let writes = |group: &usize| {
                let name = &index.header.promises.groups[*group].group;
                dead.letter.group.as_ref().is_none_or(|writer| writer == name)
            };
            let writers: Vec<usize> = groups.iter().copied().filter(writes).collect();
            if let Some(place) = dead.source.filter(|_| !writers.is_empty()) {
                let letters = by_writer.entry(writers).or_default();
                letters.entry(place).or_default().push(dead.letter.created_us);
            }
        }
        for (writers, letters) in by_writer {
            of_groups(index, case, &writers, letters, &mut causes);
        }
    }
    rejected(index, case, &mut causes);
    causes
}

/// Letters of producers: an operation is rejected once.
fn rejected(index: &Index, case: &mut Case<'_>, causes: &mut Causes) {
    let mut letters: BTreeMap<&str, Vec<&Dead>> = BTreeMap::new();
    let of_producers = |dead: &&Dead| dead.source.is_none() && dead.letter.group.is_none();
    for dead in index.dead.iter().filter(of_producers) {
        if let Some(id) = &dead.letter.ingestion_id {
            letters.entry(id).or_default().push(dead);
        }
    }
    let mut again = Vec::new();
    for (id, letters) in letters.iter_mut().filter(|(_, letters)| letters.len() > 1) {
        letters.sort_by_key(|dead| (dead.letter.created_us, dead.letter.offset));
        for dead in &letters[1..] {
            if resent(index, dead.letter.created_us) {
                *causes.entry("dead-letter producer retry".to_owned()).or_insert(0) += 1;
            } else {
                again.push((*id, letters[0], *dead));
            }
        }
    }
    let Some(&(_, first, _)) = again.first() else { return };
    *causes.entry("being rejected twice".to_owned()).or_insert(0) += again.len() as u64;
    let text = format!(
        "{} of rejected operations that have one already in {}",
        count(again.len() as u64, "dead letter"),
        quoted(&first.letter.topic)
    );
    let mut finding = anomalous("rejected-twice", text);
    finding.at_us = again.iter().map(|(.., dead)| dead.letter.created_us).min();
    finding.evidence = again
        .iter()
        .take(EVIDENCE_MAX)
        .map(|(id, first, dead)| {
            let (a, b) = (&first.letter, &dead.letter);
            format!(
                "ingestion id {}: partition {} offset {}, again partition {} offset {}",
                quoted(id),
                a.partition,
                a.offset,
                b.partition,
                b.offset
            )
        })
        .collect();
    case.find(finding);
}

/// Letters of groups that share them: each reads a record as often as it has epochs for it.
fn of_groups(
    index: &Index,
    case: &mut Case<'_>,
    groups: &[usize],
    letters: Letters,
    causes: &mut Causes,
) {
    let mut epochs: BTreeMap<usize, Vec<Epoch>> = BTreeMap::new();
    let mut extra: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    let once = groups.len();
    let base = index.letter_base();
    for ((lane, offset), mut instants) in letters {
        if instants.len() <= once {
            continue;
        }
        instants.sort_unstable();
        let able = epochs.entry(lane).or_insert_with(|| {
            let mut all: Vec<Epoch> =
                groups.iter().flat_map(|&group| index.epochs(group, lane).list).collect();
            all.sort_by_key(|epoch| epoch.begin_us);
            all
        });
        let run = |&at_us: &u64| Run {
            at_us,
            base,
            part: None,
            reader: None,
            first: offset,
            last: offset,
        };
        let copies: Vec<Copy> = instants.iter().map(|at| Copy::at(index, run(at))).collect();
        let copies: Vec<&Copy> = copies.iter().collect();
        let found = matched(&copies, able, offset);
        let mut due = once;
        for (number, epoch) in found.iter().enumerate() {
            match epoch {
                _ if due > 0 => due -= 1,
                Some(epoch) => *causes.entry(cause(index, &able[*epoch])).or_insert(0) += 1,
                None if resent(index, instants[number]) => {
                    *causes.entry("dead-letter producer retry".to_owned()).or_insert(0) += 1;
                }
                None => extra.entry(lane).or_default().push((offset, instants[number])),
            }
        }
    }
    for (lane, extra) in extra {
        *causes.entry("being dead-lettered twice in one epoch".to_owned()).or_insert(0) +=
            extra.len() as u64;
        report(index, case, groups, lane, &extra);
    }
}

/// The letter's own request may have been sent twice: a broker, or the way to it, was under a fault,
/// and nobody recognises a second copy.
fn resent(index: &Index, at_us: u64) -> bool {
    let step = |fault, stage| super::super::fault_bit::step(index, fault, stage);
    !index.vouches(Evidence::Idempotence)
        && index.header.promises.faults.iter().any(|fault| {
            let begin = step(fault.fault, FaultStage::Injecting).unwrap_or(u64::MAX);
            let end = step(fault.fault, FaultStage::Healed).unwrap_or(u64::MAX);
            !fault.spares_brokers() && (begin..=end.saturating_add(RESENT_US)).contains(&at_us)
        })
}

/// A request that was held up is repeated within this time after the heal.
const RESENT_US: u64 = 1_000_000;

fn report(index: &Index, case: &mut Case<'_>, groups: &[usize], lane: usize, extra: &[(u64, u64)]) {
    let set = RangeSet::of(extra.iter().map(|&(offset, _)| (offset, offset)));
    let names: Vec<&str> =
        groups.iter().map(|&n| index.header.promises.groups[n].group.as_str()).collect();
    let spelled_names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let text = format!(
        "{} of {} dead-lettered again by {}, although nobody got a new position in between that could \
         have read them: {}",
        count(set.len(), "record"),
        index.lane_name(lane),
        spelled_names.join(" or "),
        spelled(&set)
    );
    let unknown = groups.iter().any(|&group| match index.watched(group) {
        Watched::Nothing => true,
        Watched::Processes => !index.undisturbed(group, 0, index.end_us),
        Watched::Positions => index.epochs(group, lane).list.is_empty(),
        _ => false,
    });
    if unknown {
        case.doubt(format!("{text}; but how the group came to its positions was not watched"));
        return;
    }
    let group = (names.len() == 1).then(|| names[0]);
    let finding = case.find_at("dead-lettered-twice-in-one-epoch", group, lane, &set, text);
    finding.at_us = extra.first().map(|&(_, at_us)| at_us);
    let lines = extra.iter().take(EVIDENCE_MAX);
    finding.evidence.extend(lines.map(|(o, at)| format!("offset {o}: again at {}", seconds(*at))));
}
