//! The commit frontier: at each instant at which an offset is known to be committed, every record
//! below it is durable: stored, dead-lettered, or read where a group only reads. And commits go
//! forward.
//!
//! Each record is judged against the first commit that covers it. Commit and copy bear the instants
//! of two clocks, each known to an interval (see the index): a commit that is early at every position
//! of the two within their intervals is an anomaly; one that looks early, and need not be, is a doubt.
//! Where both were seen to pass on this machine, the order of the store's answer and the request to
//! commit settles it.
//! Instants have a resolution of 1 ms. Commits that were sampled are seen late, never early: sampling
//! can miss a violation, not invent one.
//!
//! A commit goes back once for each replay, and for each reset that somebody told; every other time is
//! an anomaly. So is a position below what was committed: the coordinator had forgotten a commit. And so is a
//! commit of a member for a partition that another one has by then.

mod handed_out;
mod of_others;

use super::case::{Case, EVIDENCE_MAX, count, quoted, seconds, spelled};
use super::evidence::{Observed, foreign, observed_groups, owed_from, perhaps_aborted, read_lanes};
use crate::index::{
    Backward, Base, Commit, Cover, GroupLane, Index, Lane, Permit, RESOLUTION_US, Range, RangeSet,
    shifted,
};
use streamlake_history::event::Evidence;

/// Resolution of the clocks of Kafka and of the store.
pub(super) const CLOCK_US: u64 = RESOLUTION_US;

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
            repeated(index, case, &group, number, known);
            handed_out::judge(index, case, &group, number, known);
        }
    }
    of_others::judge(index, case);
    if judged == 0 {
        case.doubt("no commit covered any record");
    }
    for (_, why) in &index.clocks.impossible {
        case.doubt(why.clone());
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

/// An offset that was asked for and not answered is committed once more; that happens some times in a row
/// while a broker is away.
const IN_A_ROW_MAX: u64 = 12;

/// The pipeline commits an offset when it has moved. A client that commits by the clock may commit the same
/// one for ever.
fn repeated(
    index: &Index,
    case: &mut Case<'_>,
    group: &Observed<'_>,
    number: usize,
    known: &GroupLane,
) {
    let own = foreign(&index.header) || group.promise.consumer.is_some();
    let Some((offset, times)) = known.repeated.filter(|most| !own && most.1 > IN_A_ROW_MAX) else {
        return;
    };
    let text = format!(
        "group {} committed offset {offset} of {} {times} times in a row",
        quoted(&group.promise.group),
        index.lane_name(number)
    );
    let name = Some(group.promise.group.as_str());
    case.find_at("committed-again-and-again", name, number, &RangeSet::default(), text);
}

struct Early {
    offsets: Range,
    commit: Commit,
    /// When, and by whose clock, they became durable; none if they never did.
    durable: Option<(Base, u64)>,
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
    let held = lane.held().from(from).minus(&perhaps_aborted(index, lane, known));
    let (mut covered, mut judged) = (0, 0);
    let (mut early, mut unclear) = (Vec::new(), Vec::new());
    for &commit in &known.commits {
        if commit.offset <= covered {
            continue;
        }
        let fresh = held.intersect(&RangeSet::of([(covered, commit.offset - 1)]));
        covered = commit.offset;
        judged += fresh.len();
        let open = not_durable(index, known, &fresh, commit);
        if !open.is_empty() {
            weigh(index, known, open, commit, &mut early, &mut unclear);
        }
    }
    if !early.is_empty() {
        report(index, case, group, number, &early);
    }
    doubts(index, case, group, number, &unclear);
    judged
}

/// What of a set was not durable when it was committed, by the likeliest position of the clocks.
fn not_durable(index: &Index, known: &GroupLane, set: &RangeSet, commit: Commit) -> RangeSet {
    let mut open = set.clone();
    let answered = std::iter::once((Base::Processes, &known.answered));
    for (base, cover) in answered.chain(known.durable_by.iter().map(|(base, by)| (*base, by))) {
        if open.is_empty() {
            break;
        }
        open = open.minus(&RangeSet::of(pieces(cover, &open).filter_map(|(range, at_us)| {
            (late_by(index, base, at_us, commit, Weigh::Likely) <= resolution()).then_some(range)
        })));
    }
    open
}

fn pieces<'a>(cover: &'a Cover, set: &'a RangeSet) -> impl Iterator<Item = (Range, u64)> + 'a {
    set.ranges().iter().flat_map(|&range| cover.within(range))
}

fn resolution() -> i64 {
    CLOCK_US.cast_signed()
}

/// Which position of two clocks is asked for.
#[derive(Clone, Copy)]
enum Weigh {
    Likely,
    /// That which makes the record durable as early, and the commit as late, as can be.
    Kindest,
}

/// How long after the commit a record became durable: negative if it was before.
fn late_by(index: &Index, base: Base, at_us: u64, commit: Commit, weigh: Weigh) -> i64 {
    if base == Base::Untold {
        return match weigh {
            Weigh::Likely => i64::MAX,
            Weigh::Kindest => i64::MIN,
        };
    }
    // One clock has one position, whichever that is.
    if base == commit.base {
        return shifted(at_us, 0).saturating_sub(shifted(commit.at_us, 0));
    }
    let (record, committed) = (index.clocks.of(base), index.clocks.of(commit.base));
    let (a, b) = match weigh {
        Weigh::Likely => (record.nominal(), committed.nominal()),
        Weigh::Kindest => (record.low, committed.high),
    };
    shifted(at_us, a).saturating_sub(shifted(commit.at_us, b))
}

/// Parts what was committed early from what may have been.
fn weigh(
    index: &Index,
    known: &GroupLane,
    open: RangeSet,
    commit: Commit,
    early: &mut Vec<Early>,
    unclear: &mut Vec<Early>,
) {
    let mut rest = open;
    for (base, cover) in &known.durable_by {
        let maybe: Vec<(Range, u64)> = pieces(cover, &rest)
            .filter(|&(_, at)| late_by(index, *base, at, commit, Weigh::Kindest) <= resolution())
            .collect();
        rest = rest.minus(&RangeSet::of(maybe.iter().map(|piece| piece.0)));
        let told = maybe.into_iter().map(|(offsets, at)| Early {
            offsets,
            commit,
            durable: Some((*base, at)),
        });
        unclear.extend(told);
    }
    // What is left is late by every clock that speaks of it.
    for (base, cover) in &known.durable_by {
        let late: Vec<(Range, u64)> = pieces(cover, &rest).collect();
        rest = rest.minus(&RangeSet::of(late.iter().map(|piece| piece.0)));
        let told = late.into_iter().map(|(offsets, at)| Early {
            offsets,
            commit,
            durable: Some((*base, at)),
        });
        early.extend(told);
    }
    let never = rest.ranges().iter();
    early.extend(never.map(|&offsets| Early { offsets, commit, durable: None }));
}

fn report(index: &Index, case: &mut Case<'_>, group: &Observed<'_>, lane: usize, early: &[Early]) {
    let set = RangeSet::of(early.iter().map(|e| e.offsets));
    let first = &early[0];
    let name = &group.promise.group;
    let when = |e: &Early| match e.durable {
        Some((base, at)) => {
            let late = late_by(index, base, at, e.commit, Weigh::Likely);
            format!(
                "{} before they were durable, at {}",
                seconds(late.max(0).unsigned_abs()),
                seconds(at)
            )
        }
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

/// Commits that look early, by clocks that may account for it.
fn doubts(
    index: &Index,
    case: &mut Case<'_>,
    group: &Observed<'_>,
    lane: usize,
    unclear: &[Early],
) {
    let untold = |e: &&Early| matches!(e.durable, Some((Base::Untold, _)));
    let name = quoted(&group.promise.group);
    let place = index.lane_name(lane);
    if let Some(first) = unclear.iter().find(untold) {
        case.doubt(format!(
            "group {name} committed offset {} of {place} at {}, and nobody said when the records \
             below it were {}",
            first.commit.offset,
            seconds(first.commit.at_us),
            group.verb
        ));
    }
    let mut others = unclear.iter().filter(|e| !untold(e));
    let Some(first) = others.next() else { return };
    let Some((base, at_us)) = first.durable else { return };
    let early = late_by(index, base, at_us, first.commit, Weigh::Likely);
    let measured = index.clocks.of(base).measured && index.clocks.of(first.commit.base).measured;
    let how = if measured { "that are not known so closely" } else { "that nobody compared" };
    case.doubt(format!(
        "group {name} was seen to commit offset {} of {place} at {}, {} before offsets {} were {} at \
         {}, by the clocks of {} and {} {how}",
        first.commit.offset,
        seconds(first.commit.at_us),
        seconds(early.max(0).unsigned_abs()),
        spelled(&RangeSet::of([first.offsets])),
        group.verb,
        seconds(at_us),
        index.clock_name(first.commit.base),
        index.clock_name(base)
    ));
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
    // A reader that told records behind its end is wrong about the end.
    let high = high.max(lane.logged().last().map_or(0, |last| last.saturating_add(1)));
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

/// Commits that went back although nobody asked for it, or for it once more.
fn backwards(
    index: &Index,
    case: &mut Case<'_>,
    group: &Observed<'_>,
    number: usize,
    known: &GroupLane,
) {
    let name = Some(group.promise.group.as_str());
    let mut permits = index.permits(group.number, number);
    let mut back: Vec<&Backward> =
        known.backwards.iter().filter(|back| !permitted(index, back, &mut permits)).collect();
    let passing = |back: &&Backward| index.is_foreign() && overtaken(known, back);
    let late = back.iter().filter(|back| passing(back)).count() as u64;
    if late > 0 {
        case.figure("commits_answered_late", late);
    }
    back.retain(|back| !passing(back));
    let (unclear, back): (Vec<&Backward>, Vec<&Backward>) =
        back.into_iter().partition(|back| back.uncertain);
    if let Some(first) = unclear.first() {
        case.doubt(format!(
            "the committed offset of group {} on {} looks as if it went back from {} to {} at {}, by \
             clocks that nobody compared",
            quoted(&group.promise.group),
            index.lane_name(number),
            first.from,
            first.to,
            seconds(first.at_us)
        ));
    }
    let Some(&&Backward { at_us, from, to, .. }) = back.first() else {
        return;
    };
    let set = RangeSet::of(back.iter().map(|back| (back.to, back.from - 1)));
    let text = format!(
        "the committed offset of group {} on {} went back {}, first from {from} to {to} by {}",
        quoted(&group.promise.group),
        index.lane_name(number),
        count(back.len() as u64, "time"),
        seconds(at_us)
    );
    let how = if index.vouches(Evidence::CommitsComplete) { "broker's record" } else { "samples" };
    let finding = case.find_at("commit-went-back", name, number, &set, text);
    finding.at_us = Some(at_us);
    let lines = back.iter().take(EVIDENCE_MAX);
    finding.evidence.extend(lines.map(|back| {
        format!("from {} to {} by {} ({how})", back.from, back.to, seconds(back.at_us))
    }));
}

/// Takes the first leave that covers a step back: each is good for one.
pub(super) fn permitted(index: &Index, back: &Backward, permits: &mut Vec<Permit>) -> bool {
    let skew = index.clocks.of(back.base);
    let resolution = resolution();
    let fits = |permit: &Permit| {
        let latest = shifted(back.at_us, skew.high).saturating_add(resolution);
        let earliest = shifted(back.at_us, skew.low).saturating_sub(resolution);
        permit.offset.is_none_or(|offset| offset == back.to)
            && shifted(permit.from_us, 0) <= latest
            && earliest <= shifted(permit.until_us, 0)
    };
    let found = permits.iter().position(fits);
    found.is_some_and(|found| {
        permits.remove(found);
        true
    })
}

/// A commit of a member that was answered after a later one of the same member, and did no harm: it
/// was made good before anybody began at it.
fn overtaken(known: &GroupLane, back: &Backward) -> bool {
    let own = |commit: &&Commit| commit.base == back.base;
    let mut after = known.commits.iter().filter(|commit| commit.at_us >= back.at_us);
    let before = known.commits.iter().filter(|commit| commit.at_us <= back.at_us);
    let healed = after.find(|commit| commit.offset >= back.from);
    let held = before.filter(own).any(|commit| commit.offset == back.from);
    let Some(healed) = healed.filter(own) else { return false };
    let began = |at: &u64| (back.at_us..=healed.at_us).contains(at);
    held && !known.readers.begins.iter().any(began)
}
