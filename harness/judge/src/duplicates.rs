//! Duplicates: at least once allows them, but each has a mechanism.
//!
//! In a raw zone, or among the reads of a group that stores nothing, a number of copies of an offset
//! needs as many *epochs of reading* that can have delivered it (see the index): positions that a
//! member was given, at or below the offset, while the record was there, before the copy came to be.
//! A copy beyond that is an anomaly, whatever went on around it: a store error, a fault window or a
//! slow answer makes no consumer deliver again. Dead letters are counted in the same way.
//!
//! In the log, an operation that stands there twice was sent twice. A producer does that when an answer
//! stays out; one that was acknowledged sooner than a client would ask again was not repeated by the
//! client. Where an idempotent producer meets a broker that deduplicates, each is an anomaly.

mod letters;
mod logged;
mod matching;

use std::collections::BTreeMap;

use super::case::{Case, EVIDENCE_MAX, count, quoted, seconds, spelled};
use crate::index::{Epoch, Epochs, GroupLane, How, Index, Range, RangeSet, Run, Watched};

pub(super) use logged::log_surplus;
use matching::{Copy, matched, segments};

/// Surplus records by their cause.
type Causes = BTreeMap<String, u64>;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let records: u64 = index.lanes.iter().map(|lane| lane.logged().len()).sum();
    if records == 0 {
        case.doubt("the log holds no record");
    }
    let mut causes = Causes::new();
    let logged = logged::judge(index, case);
    let mut stored = 0;
    for (group, promise, lanes) in index.promised_groups() {
        for (number, _) in index.promised_lanes() {
            let Some(known) = lanes.get(&number) else {
                continue;
            };
            watch_is_whole(index, case, group, number, known);
            let explained = explain(index, group, number, known);
            stored += known.surplus.iter().map(|s| s.range.1 - s.range.0 + 1).sum::<u64>();
            add(&mut causes, &explained.causes);
            report(index, case, &promise.group, number, known, &explained);
        }
    }
    let letters = letters::judge(index, case);
    let again: u64 = letters.values().sum();
    add(&mut causes, &letters);
    if logged > 0 {
        causes.insert(logged::CAUSE.to_owned(), logged);
    }
    case.figure("logged_duplicates", logged);
    case.figure("stored_duplicates", stored);
    case.figure("dead_letter_duplicates", again);
    for (cause, records) in &causes {
        case.figure(&format!("cause {cause}"), *records);
    }
    sentence(logged, stored, again, &causes)
}

fn sentence(logged: u64, stored: u64, letters: u64, causes: &Causes) -> String {
    if causes.is_empty() {
        return "none".to_owned();
    }
    let spelled: Vec<String> = causes.iter().map(|(c, n)| format!("{n} by {c}")).collect();
    let letters = match letters {
        0 => String::new(),
        again => format!(", {again} dead-lettered again"),
    };
    format!("{logged} in the log, {stored} delivered again{letters}: {}", spelled.join(", "))
}

fn add(causes: &mut Causes, more: &Causes) {
    for (cause, records) in more {
        *causes.entry(cause.clone()).or_insert(0) += records;
    }
}

/// Surplus copies by cause over log and groups, for the tally.
pub(super) fn by_cause(index: &Index) -> BTreeMap<String, u64> {
    let mut causes = Causes::new();
    let logged = log_surplus(index);
    if logged > 0 {
        causes.insert(logged::CAUSE.to_owned(), logged);
    }
    for (group, _, lanes) in index.promised_groups() {
        for (number, _) in index.promised_lanes() {
            if let Some(known) = lanes.get(&number) {
                add(&mut causes, &explain(index, group, number, known).causes);
            }
        }
    }
    causes
}

/// Where each position is on record, nobody delivers without one.
fn watch_is_whole(
    index: &Index,
    case: &mut Case<'_>,
    group: usize,
    lane: usize,
    known: &GroupLane,
) {
    if index.watched(group) != Watched::Positions || known.delivered.is_empty() {
        return;
    }
    if index.epochs(group, lane).list.is_empty() {
        case.doubt(format!(
            "group {} delivered from {} without a position that was seen: the watch of the positions \
             missed something",
            quoted(&index.header.promises.groups[group].group),
            index.lane_name(lane)
        ));
    }
}

/// Why a copy is too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    /// No new position lies between it and the copy before, or others account for all of them.
    OneEpoch,
    /// All later positions were above it: it had been committed.
    Committed,
    /// There is a later position, but it cannot have delivered this.
    Unexplained,
    /// Nothing tells how the group came to its positions.
    Unwatched,
}

/// A range of offsets of which one copy is too many.
#[derive(Debug, Clone)]
struct Extra {
    range: Range,
    flaw: Flaw,
    first: Run,
    again: Run,
}

#[derive(Debug, Default)]
struct Explained {
    causes: Causes,
    extras: Vec<Extra>,
    /// Copies that have a cause only if clocks that nobody compared stand as it needs.
    by_clocks: Vec<Range>,
    epochs: Vec<Epoch>,
}

/// Gives each surplus copy of a group on a partition its cause, or its flaw.
fn explain(index: &Index, group: usize, lane: usize, known: &GroupLane) -> Explained {
    let mut explained = Explained::default();
    if known.copies.is_empty() {
        return explained;
    }
    let Epochs { watched, list } = index.epochs(group, lane);
    let copies: Vec<Copy> = known.copies.iter().map(|run| Copy::of(index, known, run)).collect();
    // What a group that may seek back had committed parts what it may read again from what not.
    let seeks = index.header.promises.groups[group].may_seek_back;
    let commits = known.commits.iter().filter(|_| seeks).map(|commit| commit.offset);
    let cuts = commits.chain(list.iter().map(|epoch| epoch.likely));
    for (range, of_range) in segments(&copies, &list, cuts) {
        let these: Vec<&Copy> = of_range.iter().map(|&n| &copies[n]).collect();
        segment(index, group, known, watched, &list, range, &these, &mut explained);
    }
    explained.epochs = list;
    explained
}

#[allow(clippy::too_many_arguments, reason = "one segment with all that is known of it")]
fn segment(
    index: &Index,
    group: usize,
    known: &GroupLane,
    watched: Watched,
    epochs: &[Epoch],
    range: Range,
    copies: &[&Copy],
    explained: &mut Explained,
) {
    let size = range.1 - range.0 + 1;
    let found = matched(copies, epochs, range.0);
    // The copy of the earliest epoch is the delivery; each other one has its epoch as its cause.
    let delivery = found.iter().flatten().min().copied();
    let whole = delivery.is_some();
    let mut spared = whole;
    for (number, epoch) in found.iter().enumerate() {
        match epoch {
            Some(epoch) if Some(*epoch) == delivery => {}
            Some(epoch) => {
                let epoch = &epochs[*epoch];
                if epoch.likely > range.0 {
                    explained.by_clocks.push(range);
                }
                *explained.causes.entry(cause(index, epoch)).or_insert(0) += size;
            }
            // Without any epoch the first copy is the delivery all the same.
            None if !spared => spared = true,
            None => {
                let again = copies[number].run;
                if let Some(how) = sought_back(index, group, known, range, &again) {
                    // It had been committed by then, unless the clocks stand as it needs.
                    let likely = known.committed_likely(again.base, again.at_us, &index.clocks);
                    if likely.is_some_and(|committed| committed > range.0) {
                        explained.by_clocks.push(range);
                    }
                    *explained.causes.entry(how).or_insert(0) += size;
                    continue;
                }
                let flaw = flaw(index, group, watched, epochs, range, copies, number, whole);
                let word = match flaw {
                    Flaw::OneEpoch => "being stored twice in one epoch",
                    Flaw::Committed => "redelivery of committed records",
                    Flaw::Unexplained => "nothing that was seen",
                    Flaw::Unwatched => "nothing that was watched",
                };
                *explained.causes.entry(word.to_owned()).or_insert(0) += size;
                let first = copies[number.saturating_sub(1)].run;
                explained.extras.push(Extra { range, flaw, first, again });
            }
        }
    }
}

/// A group that may seek back reads again what it had not committed.
fn sought_back(
    index: &Index,
    group: usize,
    known: &GroupLane,
    range: Range,
    again: &Run,
) -> Option<String> {
    if !index.header.promises.groups[group].may_seek_back {
        return None;
    }
    let committed = known.committed_when(again.base, again.at_us, &index.clocks);
    (range.0 >= committed).then(|| "seek back".to_owned())
}

#[allow(clippy::too_many_arguments, reason = "one copy with all that is known of it")]
fn flaw(
    index: &Index,
    group: usize,
    watched: Watched,
    epochs: &[Epoch],
    range: Range,
    copies: &[&Copy],
    number: usize,
    whole: bool,
) -> Flaw {
    let (first, again) = (copies[0], copies[number]);
    match watched {
        Watched::Nothing => return Flaw::Unwatched,
        // Nobody delivers without a position: what is missing is the sight of it.
        Watched::Positions if !whole => return Flaw::Unwatched,
        Watched::Processes => {
            let between = (first.earliest_us(), again.latest_us());
            if !index.undisturbed(group, between.0, between.1) {
                return Flaw::Unwatched;
            }
        }
        _ => {}
    }
    if index.header.promises.groups[group].may_seek_back {
        return Flaw::Committed;
    }
    let could = |epoch: &&Epoch| epoch.start <= range.0 && range.0 < epoch.end;
    let begun = || epochs.iter().filter(|epoch| again.after(epoch.begin_us));
    // The epoch of the first copy is the last that had begun when it came to be.
    let of_first = begun().filter(|epoch| first.after(epoch.begin_us)).rfind(could);
    let from = of_first.map_or(0, |epoch| epoch.begin_us);
    let mut later = begun().filter(|epoch| epoch.begin_us > from).peekable();
    if later.peek().is_none() || begun().filter(could).count() >= 2 {
        return Flaw::OneEpoch;
    }
    match later.all(|epoch| epoch.start > range.0) {
        true => Flaw::Committed,
        false => Flaw::Unexplained,
    }
}

/// What the epoch of a repeated copy owes itself to. A fault that had begun may have led to it, and is
/// named for that.
fn cause(index: &Index, epoch: &Epoch) -> String {
    let what = match &epoch.how {
        How::Replay => return "replay".to_owned(),
        How::First => "a first position".to_owned(),
        How::Restart(name) => format!("restart of {}", name.escape_debug()),
        How::Rebalance => "rebalance".to_owned(),
        How::Seek => "seek back".to_owned(),
    };
    let fault = index
        .fault_at(epoch.begin_us)
        .and_then(|number| index.header.promises.faults.iter().find(|fault| fault.fault == number));
    match fault {
        Some(fault) => format!("{what} after {} (fault {})", fault.kind, fault.fault),
        None => what,
    }
}

fn report(
    index: &Index,
    case: &mut Case<'_>,
    group: &str,
    lane: usize,
    known: &GroupLane,
    explained: &Explained,
) {
    let (place, name) = (index.lane_name(lane), quoted(group));
    if !explained.by_clocks.is_empty() {
        let set = RangeSet::of(explained.by_clocks.iter().copied());
        case.doubt(format!(
            "{} of {place} delivered again to group {name} that look as if they had been committed before, \
             by clocks that nobody compared: {}",
            count(set.len(), "record"),
            spelled(&set)
        ));
    }
    for (flaw, anomaly, why) in [
        (
            Flaw::OneEpoch,
            "stored-twice-in-one-epoch",
            "although nobody got a new position in between that could have read them",
        ),
        (
            Flaw::Committed,
            "redelivered-after-commit",
            "although they had been committed before: no later position was at or below them",
        ),
        (
            Flaw::Unexplained,
            "unexplained-duplicate",
            "although no later position can have led to them",
        ),
        (Flaw::Unwatched, "", ""),
    ] {
        let of_flaw: Vec<&Extra> = explained.extras.iter().filter(|e| e.flaw == flaw).collect();
        let Some(first) = of_flaw.first() else {
            continue;
        };
        let set = RangeSet::of(of_flaw.iter().map(|extra| extra.range));
        let what =
            format!("{} of {place} delivered again to group {name}", count(set.len(), "record"));
        if flaw == Flaw::Unwatched {
            case.doubt(format!(
                "{what}: {}; but how the group came to its positions was not watched, so it may have \
                 rebalanced",
                spelled(&set)
            ));
            continue;
        }
        let text = format!("{what} {why}: {}", spelled(&set));
        let finding = case.find_at(anomaly, Some(group), lane, &set, text);
        finding.at_us = Some(first.again.at_us);
        let lines = of_flaw.iter().take(EVIDENCE_MAX).map(|extra| {
            format!(
                "{}–{}: {}, again {}",
                extra.range.0,
                extra.range.1,
                delivered(index, known, &extra.first),
                delivered(index, known, &extra.again)
            )
        });
        finding.evidence.extend(lines);
        finding.evidence.extend(explained.epochs.iter().take(EVIDENCE_MAX).map(position));
    }
}

/// When and where a copy came to be.
fn delivered(index: &Index, known: &GroupLane, run: &Run) -> String {
    let at = seconds(run.at_us);
    match (run.part, run.reader) {
        (Some(part), _) => {
            format!("at {at} in {}", quoted(&index.parts[part as usize].name))
        }
        (_, Some(reader)) => {
            format!("at {at} by {}", quoted(&known.readers.names[usize::from(reader)]))
        }
        _ => format!("at {at}"),
    }
}

fn position(epoch: &Epoch) -> String {
    let who = epoch.member.as_deref().map_or("a member".to_owned(), quoted);
    format!("{who} got a position at {}: offset {}", seconds(epoch.begin_us), epoch.start)
}
