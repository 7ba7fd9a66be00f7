//! The commit frontier: at each instant at which an offset is known to be committed, every record
//! below it is durable: stored, dead-lettered, or read where a group only reads.
//!
//! Each record is judged against the first commit that covers it. An instant of creation or of a
//! dead letter has a resolution of 1 ms, so a commit may seem up to [`CLOCK_US`] early. Commits that
//! were sampled are seen late, never early: sampling can miss a violation, not invent one.

use super::case::{Case, EVIDENCE_MAX, count, quoted, seconds, spelled};
use super::evidence::{Observed, observed_groups, owed_from, read_lanes};
use crate::history::event::Evidence;
use crate::history::index::{Commit, GroupLane, Index, Lane, Range, RangeSet};

/// Resolution of the clocks of Kafka and of the store.
pub(super) const CLOCK_US: u64 = 1000;

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let (mut judged, mut exact, mut sampled) = (0, 0, 0);
    for group in observed_groups(index) {
        for (number, lane) in read_lanes(index, group.promise) {
            let Some(known) = group.lanes.get(&number) else {
                continue;
            };
            let precise = known.commits.iter().filter(|commit| commit.exact).count() as u64;
            exact += precise;
            // The first and the last sight of an offset are kept; what counts is that it changed.
            let again = known.commits.windows(2).filter(|w| w[0].offset == w[1].offset).count();
            sampled += (known.commits.len() as u64 - precise).saturating_sub(again as u64);
            judged += frontier(index, case, &group, number, lane, known);
            beyond(case, &group, number, lane, known);
            backwards(index, case, &group, number, known);
        }
    }
    if judged == 0 {
        case.doubt("no commit covered any record");
    }
    case.figure("commits_exact", exact);
    case.figure("commits_sampled", sampled);
    case.figure("records_below_commits", judged);
    let how = if exact == 0 && sampled > 0 {
        let span = index.end_us / sampled.max(1);
        format!(", all sampled: {sampled} changes seen, one per {} on average", seconds(span))
    } else {
        String::new()
    };
    format!("{} observed, {judged} records below them{how}", count(exact + sampled, "commit"))
}

struct Early {
    offsets: Range,
    commit: Commit,
    durable_us: Option<u64>,
}

fn frontier(
    index: &Index,
    case: &mut Case<'_>,
    group: &Observed<'_>,
    number: usize,
    lane: &Lane,
    known: &GroupLane,
) -> u64 {
    let Some(from) = owed_from(lane, group.promise, Some(known)) else { return 0 };
    let logged = lane.logged().from(from);
    let (mut covered, mut early, mut judged) = (0, Vec::new(), 0);
    for &commit in &known.commits {
        if commit.offset <= covered {
            continue;
        }
        let fresh = logged.intersect(&RangeSet::of([(covered, commit.offset - 1)]));
        covered = commit.offset;
        judged += fresh.len();
        for &range in fresh.ranges() {
            late_pieces(known, range, commit, &mut early);
        }
    }
    if !early.is_empty() {
        report(index, case, group, number, &early);
    }
    judged
}

/// The pieces of a range that were not durable when it was committed.
fn late_pieces(known: &GroupLane, range: Range, commit: Commit, early: &mut Vec<Early>) {
    let mut next = Some(range.0);
    for ((first, last), at_us) in known.durable.within(range) {
        if let Some(from) = next
            && from < first
        {
            early.push(Early { offsets: (from, first - 1), commit, durable_us: None });
        }
        if at_us > commit.at_us.saturating_add(CLOCK_US) {
            early.push(Early { offsets: (first, last), commit, durable_us: Some(at_us) });
        }
        next = last.checked_add(1).filter(|&n| n <= range.1);
    }
    if let Some(from) = next {
        early.push(Early { offsets: (from, range.1), commit, durable_us: None });
    }
}

fn report(index: &Index, case: &mut Case<'_>, group: &Observed<'_>, lane: usize, early: &[Early]) {
    let set = RangeSet::of(early.iter().map(|e| e.offsets));
    let first = &early[0];
    let name = &group.promise.group;
    let when = |e: &Early| match e.durable_us {
        Some(at) => format!("{} before they were durable", seconds(at - e.commit.at_us)),
        None => "and they never became durable".to_owned(),
    };
    let text = format!(
        "group {} committed past {} of {} before they were durable: {}; first at {}: offset {} \
         committed, offsets {} not durable, {}",
        quoted(name),
        count(set.len(), "record"),
        index.lane_name(lane),
        spelled(&set),
        seconds(first.commit.at_us),
        first.commit.offset,
        spelled(&RangeSet::of([first.offsets])),
        when(first)
    );
    let finding = case.find_at("commit-before-durable", Some(name), lane, &set, text);
    finding.at_us = Some(first.commit.at_us);
    finding.evidence.extend(early.iter().take(EVIDENCE_MAX).map(|e| {
        format!(
            "{} committed at {} ({}), offsets {} {}",
            e.commit.offset,
            seconds(e.commit.at_us),
            if e.commit.exact { "the broker's record" } else { "seen in a sample" },
            spelled(&RangeSet::of([e.offsets])),
            when(e)
        )
    }));
}

/// Commits of offsets that were never written.
fn beyond(
    case: &mut Case<'_>,
    group: &Observed<'_>,
    number: usize,
    lane: &Lane,
    known: &GroupLane,
) {
    let Some(high) = lane.high().filter(|_| lane.complete()) else {
        return;
    };
    let Some(commit) = known.commits.iter().find(|commit| commit.offset > high) else {
        return;
    };
    let text = format!(
        "group {} committed offset {} of {}/{}, whose log ends at {high}: the next {} would be skipped",
        quoted(&group.promise.group),
        commit.offset,
        lane.topic.escape_debug(),
        lane.partition,
        count(commit.offset - high, "record"),
    );
    let set = RangeSet::of([(high, commit.offset - 1)]);
    let name = Some(group.promise.group.as_str());
    case.find_at("commit-beyond-the-log", name, number, &set, text).at_us = Some(commit.at_us);
}

/// Commits that went back although nobody asked for a replay.
fn backwards(
    index: &Index,
    case: &mut Case<'_>,
    group: &Observed<'_>,
    number: usize,
    known: &GroupLane,
) {
    let asked = |at: u64| super::duplicates::replay_before(index, at);
    let back: Vec<_> = known.backwards.iter().filter(|(at, _, _)| !asked(*at)).collect();
    let Some(&&(at_us, from, to)) = back.first() else {
        return;
    };
    let set = RangeSet::of(back.iter().map(|&&(_, from, to)| (to, from - 1)));
    let text = format!(
        "the committed offset of group {} on {} went back {}, first from {from} to {to} by {}",
        quoted(&group.promise.group),
        index.lane_name(number),
        count(back.len() as u64, "time"),
        seconds(at_us)
    );
    let how = if index.vouches(Evidence::CommitsComplete) { "broker's record" } else { "samples" };
    let name = Some(group.promise.group.as_str());
    let finding = case.find_at("commit-went-back", name, number, &set, text);
    finding.at_us = Some(at_us);
    finding.evidence.extend(
        back.iter()
            .take(EVIDENCE_MAX)
            .map(|(at, from, to)| format!("from {from} to {to} by {} ({how})", seconds(*at))),
    );
}
