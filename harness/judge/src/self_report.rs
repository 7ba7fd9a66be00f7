//! Self-report: the numbers that the pipeline gives about itself are those of the evidence. An operator acts
//! on them: an audit that forgets duplicates and a lag that is always 0 are believed.
//!
//! An audit is run when all is over, and its numbers are exact. Metrics are read while records flow, and may
//! be some seconds old: each is held against all that was true within that time. What hangs on answers of
//! brokers may be older while a fault lasts, and until the group may have recovered from it.

mod totals;

use std::collections::BTreeMap;

use super::case::{Case, anomalous, count, quoted, seconds};
use super::evidence::{commits_open, dead_letters_read, read_lanes, zone_read};
use super::recovered::near_faults;
use super::standstill::drained_us;
use crate::index::{At, GroupLane, Index, Lane, RangeSet};
use streamlake_history::event::{
    GroupPromise, Header, Membership, MembershipChange, ReportSource, SelfReport,
};

/// What metrics show may be so old, and a commit may have been learned so much later than it was made.
const METRICS_AGE_US: u64 = 5_000_000;
/// After a fault a member hears from its brokers again within this time, whatever its group needs to recover.
const HEARS_AGAIN_US: u64 = 20_000_000;
/// The gauges of a partition are set one after the other: a scrape may come between two of them, and hardly
/// so often in a row.
const TORN_AT_MOST: u64 = 2;
/// Findings of a kind in a partition; all say the same.
const FINDINGS_MAX: usize = 1;

pub(super) fn promised(header: &Header) -> bool {
    header.promises.groups.iter().any(|group| group.reports_itself)
}

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let (mut audited, mut read) = (0, 0);
    let near = near(index);
    for (number, promise, lanes) in index.promised_groups().filter(|group| group.1.reports_itself) {
        totals::judge(index, case, number, promise);
        let of = |source| Said::of(index, promise, source);
        let (audits, metrics) = (of(ReportSource::Audit), of(ReportSource::Metrics));
        // Metrics have to be asked for while it works, and come a second apart.
        let first = lanes.values().filter_map(|lane| lane.commits.first()).map(|c| c.at_us).min();
        let worked = first.map_or(0, |first| drained_us(index).saturating_sub(first));
        let long = worked > 2 * METRICS_AGE_US;
        for (said, what, due) in [(&audits, "an audit", true), (&metrics, "metrics", long)] {
            if said.is_empty() && due {
                let group = quoted(&promise.group);
                case.doubt(format!("no numbers of group {group} from {what} were read"));
            }
        }
        strangers(index, case, promise, [&audits, &metrics]);
        untold(case, promise, &metrics);
        let seen = Seen::of(index, promise, lanes);
        let had = Had::of(index, promise);
        for (number, lane) in read_lanes(index, promise) {
            let empty = GroupLane::default();
            let known = lanes.get(&number).unwrap_or(&empty);
            let place = Place { index, promise, number, lane, known, seen, had: &had, near: &near };
            let key = (lane.topic.as_str(), lane.partition);
            match audits.get(&key) {
                Some(said) => said.iter().for_each(|said| place.audit(case, &said.fact)),
                None if !audits.is_empty() => {
                    place.find(case, "audit-miscounts", "the audit", "says nothing of it", None);
                }
                None => {}
            }
            audited += audits.get(&key).map_or(0, |said| said.len() as u64);
            let said = metrics.get(&key).map_or(&[][..], Vec::as_slice);
            place.metrics(case, said);
            read += said.len() as u64;
        }
    }
    case.figure("partitions_audited", audited);
    case.figure("metrics_read", read);
    format!("{} of an audit, {} of metrics", count(audited, "line"), count(read, "reading"))
}

/// Fewer readings may all have come before a client had its first answers.
const READINGS_MIN: usize = 30;

/// Gauges that no reading of the group told.
fn untold(
    case: &mut Case<'_>,
    promise: &GroupPromise,
    metrics: &BTreeMap<(&str, u32), Vec<&At<SelfReport>>>,
) {
    // Before the first answers, and while none come, a client does not know where the log ends.
    let answered = |told: &&&At<SelfReport>| told.fact.numbers.get("fetch_unanswered") != Some(&1);
    let readings = || metrics.values().flatten().filter(answered);
    let told = |name: &&str| readings().any(|told| told.fact.numbers.contains_key(*name));
    let missing: Vec<String> =
        GAUGES.iter().filter(|name| !told(name)).map(|name| quoted(name)).collect();
    if !missing.is_empty() && readings().count() >= READINGS_MIN {
        case.doubt(format!(
            "no metrics of group {} tell {}",
            quoted(&promise.group),
            missing.join(", ")
        ));
    }
}

/// Numbers of partitions that the group does not read.
fn strangers(
    index: &Index,
    case: &mut Case<'_>,
    promise: &GroupPromise,
    said: [&BTreeMap<(&str, u32), Vec<&At<SelfReport>>>; 2],
) {
    let read = |topic: &str, partition: u32| {
        read_lanes(index, promise)
            .any(|(_, lane)| (lane.topic.as_str(), lane.partition) == (topic, partition))
    };
    let places = said.into_iter().flat_map(BTreeMap::iter);
    let mut strange = places.filter(|((topic, partition), _)| !read(topic, *partition));
    if let Some(((topic, partition), said)) = strange.next() {
        let group = quoted(&promise.group);
        let who = said.first().map_or("", |said| said.fact.process.as_str());
        let place = format!("{}/{partition}", topic.escape_debug());
        let text =
            format!("group {group}: {} tells numbers of {place}, which is not there", quoted(who));
        let mut finding = anomalous("numbers-of-nothing", text);
        finding.group = Some(promise.group.clone());
        case.find(finding);
    }
}

/// What of the evidence is whole: only that is compared with.
#[derive(Debug, Clone, Copy)]
struct Seen {
    commits: bool,
    stored: bool,
    letters: bool,
}

impl Seen {
    fn of(index: &Index, promise: &GroupPromise, lanes: &BTreeMap<usize, GroupLane>) -> Self {
        let zone = promise.raw_zone.as_deref();
        let letters = promise.dead_letter_topic.as_deref();
        Self {
            commits: !commits_open(index, lanes),
            stored: zone.is_some_and(|zone| zone_read(index, zone)),
            letters: letters.is_none_or(|topic| dead_letters_read(index, topic)),
        }
    }
}

/// When each member was told which partitions are its own, as it passed between it and the coordinator.
struct Had<'a> {
    alone: bool,
    told: BTreeMap<&'a str, Vec<&'a Membership>>,
}

impl<'a> Had<'a> {
    fn of(index: &'a Index, promise: &GroupPromise) -> Self {
        let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let seen = index.rare.memberships.iter().map(|seen| &seen.fact);
        for fact in
            seen.filter(|fact| fact.group == promise.group && fact.change == MembershipChange::Owns)
        {
            told.entry(fact.member.as_str()).or_default().push(fact);
        }
        told.values_mut().for_each(|facts| facts.sort_by_key(|fact| fact.at_us));
        Self { alone: promise.members.len() < 2, told }
    }

    /// A process has had a partition for so long that its gauges are those of now. Gauges outlive the
    /// partition by some seconds. Who is alone has all.
    fn has(&self, process: &str, (topic, partition): (&str, u32), at_us: u64) -> bool {
        if self.alone {
            return true;
        }
        let Some(told) = self.told.get(process) else { return false };
        let by = |at: u64| told.partition_point(|fact| fact.at_us <= at);
        let first = by(at_us.saturating_sub(METRICS_AGE_US)).checked_sub(1);
        first.is_some_and(|first| {
            told[first..by(at_us)].iter().all(|fact| fact.holds(topic, partition))
        })
    }
}

/// The times of faults, each until the group may have recovered and its metrics be new again; apart, and in order.
fn near(index: &Index) -> Vec<(u64, u64)> {
    let recovered = index.header.promises.recovery_within_us.min(HEARS_AGAIN_US);
    let after = recovered.saturating_add(METRICS_AGE_US);
    let mut near = near_faults(index, after);
    near.sort_unstable();
    near.dedup_by(|next, last| {
        let joins = next.0 <= last.1;
        if joins {
            last.1 = last.1.max(next.1);
        }
        joins
    });
    near
}

/// What was said of each partition.
struct Said;

impl Said {
    fn of<'a>(
        index: &'a Index,
        promise: &GroupPromise,
        source: ReportSource,
    ) -> BTreeMap<(&'a str, u32), Vec<&'a At<SelfReport>>> {
        let mut said: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for told in &index.rare.self_reports {
            if told.fact.source == source && told.fact.group == promise.group {
                let key = (told.fact.topic.as_str(), told.fact.partition);
                said.entry(key).or_default().push(told);
            }
        }
        said
    }
}

/// A group on a partition, and what is known of it.
#[derive(Clone, Copy)]
struct Place<'a> {
    index: &'a Index,
    promise: &'a GroupPromise,
    number: usize,
    lane: &'a Lane,
    known: &'a GroupLane,
    seen: Seen,
    had: &'a Had<'a>,
    near: &'a [(u64, u64)],
}

/// What readings of a partition are held against.
struct OfLane {
    /// The first offset that the group never delivered nor dead-lettered.
    unheld: u64,
    records: RangeSet,
    /// See [`Lane::sent_by`].
    sent: Vec<(u64, u64)>,
}

/// What readings tell.
const GAUGES: [&str; 6] = ["committed", "durable", "end", "fetch_unanswered", "lag", "position"];

/// A number that was given, and the least and the most that it may be.
struct Claim {
    what: &'static str,
    told: Option<i64>,
    least: u64,
    most: u64,
}

impl Claim {
    fn words(&self) -> Option<String> {
        let Self { what, told, least, most } = self;
        let Some(told) = told else { return Some(format!("does not tell its {what}")) };
        let right = |told: u64| (*least..=*most).contains(&told);
        if u64::try_from(*told).is_ok_and(right) {
            return None;
        }
        let truth = match least == most {
            true => format!("it is {least}"),
            false if *most == u64::MAX => format!("it is at least {least}"),
            false => format!("it is between {least} and {most}"),
        };
        Some(format!("says that {what} is {told}, and {truth}"))
    }
}

impl Place<'_> {
    /// Offsets that the group delivered or dead-lettered.
    fn held(&self) -> RangeSet {
        self.known.delivered.union(&self.known.dead_lettered)
    }

    /// What was said of the end is compared with the end.
    fn audit(&self, case: &mut Case<'_>, said: &SelfReport) {
        let Some(high) = self.lane.high() else { return };
        let committed = self.known.commits.last().map_or(0, |commit| commit.offset);
        let below = self.lane.logged().below(committed).from(self.lane.low());
        let copies = |(first, last): (u64, u64)| last - first + 1;
        let surplus = self.known.surplus.iter().filter(|surplus| surplus.part.is_some());
        // What was stored and then compacted away is no hole to who asks what is stored.
        let there = below.union(&self.held().below(committed).from(self.lane.low()));
        let holes = committed.saturating_sub(self.lane.low()).saturating_sub(there.len());
        let gone = self.lane.low().saturating_sub(committed);
        let had = self.held().from(committed).below(self.lane.low()).len();
        let Seen { commits, stored, letters } = self.seen;
        let truth = [
            ("high_watermark", high),
            ("committed", committed),
            ("stored", self.known.delivered.len()),
            ("dead_letters", self.known.dead_lettered.len()),
            ("duplicates", surplus.map(|surplus| copies(surplus.range)).sum()),
            ("lost", below.minus(&self.held()).len()),
            ("without_record", holes),
            ("low_watermark", self.lane.low()),
            ("waiting", high.saturating_sub(committed.max(self.lane.low()))),
            ("gone_unread", gone.saturating_sub(had)),
            ("unknown", 0),
            ("durable", high),
            ("behind_open_transaction", 0),
        ];
        let all_held = self.lane.logged().from(self.lane.low()).minus(&self.held()).is_empty();
        let given = |what: &'static str| said.numbers.get(what).copied();
        for (what, is) in truth {
            let known = match what {
                "high_watermark" | "low_watermark" => true,
                "committed" | "waiting" => commits,
                // Before the log began nobody can tell what was stored.
                "gone_unread" => commits && committed > 0,
                // Where every offset holds a record no transaction was there.
                "behind_open_transaction" => {
                    self.lane.aborted().is_empty() && self.lane.holes().is_empty()
                }
                // Of what retention took nobody can tell whether it was a record.
                "unknown" => self.lane.low() == 0,
                // Where something is missing it is a matter of where.
                "durable" => stored && letters && all_held,
                "stored" | "duplicates" => stored,
                "dead_letters" => letters,
                _ => commits && stored && letters,
            };
            if !known || !self.lane.complete() {
                continue;
            }
            // A partition that nobody committed in has no commit to tell, and one that was aborted in has
            // records that are none.
            let told = match (what, given(what)) {
                ("committed", None) if is == 0 => continue,
                // It was not always told.
                ("gone_unread" | "behind_open_transaction", None) => continue,
                ("without_record" | "lost", _) if !self.lane.aborted().is_empty() => continue,
                (_, told) => told,
            };
            if let Some(words) = (Claim { what, told, least: is, most: is }).words() {
                self.find(case, "audit-miscounts", "the audit", &words, None);
            }
        }
    }

    fn metrics(&self, case: &mut Case<'_>, said: &[&At<SelfReport>]) {
        let mut wrong: BTreeMap<&str, usize> = BTreeMap::new();
        let mut torn: BTreeMap<&str, u64> = BTreeMap::new();
        let unheld = self.lane.logged().from(self.lane.low()).minus(&self.held());
        let whole = self.seen.stored && self.seen.letters && self.lane.complete();
        let unheld = unheld.ranges().first().map(|range| range.0).filter(|_| whole);
        let lane = OfLane {
            unheld: unheld.unwrap_or(u64::MAX),
            records: self.lane.logged().minus(&self.lane.aborted()),
            sent: self.lane.sent_by(),
        };
        for told in said {
            let claims = self
                .claims(told, &lane)
                .into_iter()
                .filter_map(|claim| Some((claim.what, claim.words()?)));
            let lag = self.lag(told, &lane);
            let in_a_row = torn.entry(told.fact.process.as_str()).or_default();
            *in_a_row = if lag.is_some() { *in_a_row + 1 } else { 0 };
            let lag = lag.filter(|_| *in_a_row > TORN_AT_MOST).map(|words| ("reading", words));
            for (what, words) in claims.chain(lag) {
                let times = wrong.entry(what).or_default();
                *times += 1;
                if *times <= FINDINGS_MAX {
                    let process = &told.fact.process;
                    let words =
                        format!("of {} at {}, {words}", quoted(process), seconds(told.t_us));
                    self.find(case, "metrics-mislead", "a metric", &words, Some(told.t_us));
                }
            }
        }
    }

    /// What follows from the other numbers of the same reading: records below the end that are not durable.
    fn lag(&self, told: &At<SelfReport>, lane: &OfLane) -> Option<String> {
        let number = |name: &str| told.fact.numbers.get(name).copied();
        // One that is not answered does not know where the log ends.
        if !self.has(told) {
            return None;
        }
        let rises = |low: &str, high: &str| {
            let (low_is, high_is) = (number(low)?, number(high)?);
            (low_is > high_is).then(|| format!("says that {low} is {low_is} and {high} {high_is}"))
        };
        let rising = rises("committed", "durable").or_else(|| rises("durable", "position"));
        if rising.is_some() || number("fetch_unanswered") != Some(0) {
            return rising;
        }
        let (lag, end, durable) = (number("lag")?, number("end")?, number("durable")?);
        let offset = |number: i64| u64::try_from(number).unwrap_or(0);
        let most = offset(end.saturating_sub(durable));
        // Behind the last record may lie offsets that hold none.
        let waits = lane.records.from(offset(durable)).below(offset(end));
        let least = if waits.is_empty() { 0 } else { most };
        Claim { what: "lag", told: Some(lag), least, most }.words()
    }

    fn has(&self, told: &At<SelfReport>) -> bool {
        let place = (self.lane.topic.as_str(), self.lane.partition);
        self.had.has(&told.fact.process, place, told.t_us)
    }

    fn claims(&self, told: &At<SelfReport>, lane: &OfLane) -> Vec<Claim> {
        let (from, to) =
            (told.t_us.saturating_sub(METRICS_AGE_US), told.t_us.saturating_add(METRICS_AGE_US));
        let commits = &self.known.commits;
        let by = |t_us: u64| commits.partition_point(|commit| commit.at_us <= t_us);
        let before = by(from).checked_sub(1);
        let seen = commits[before.unwrap_or(0)..by(to)].iter().map(|commit| commit.offset);
        let since = before.and_then(|_| seen.clone().min()).unwrap_or(0);
        // Near a fault it may not have heard from a broker for a while.
        let fresh = self.has(told) && !self.near_a_fault(told.t_us);
        let least = if fresh && self.seen.commits { since } else { 0 };
        let high = self.lane.high().filter(|_| self.lane.complete()).unwrap_or(u64::MAX);
        // What was sent longer ago than any answer took is in the log. Where offsets hold no record, the end that
        // may be read can be another.
        let plain = self.lane.aborted().is_empty() && self.lane.holes().is_empty();
        let wait = self.index.longest_wait.map_or(u64::MAX, |(wait, _)| wait);
        let sent = from.checked_sub(wait).filter(|_| plain).and_then(|by| {
            // The last offsets first, each with the earliest instant from there on.
            let first = lane.sent.partition_point(|(earliest, _)| *earliest > by);
            lane.sent.get(first).map(|(_, offset)| *offset)
        });
        let written = sent.map_or(0, |offset| offset + 1);
        // What was sent after the reading nobody had read by then.
        let first = lane.sent.partition_point(|(earliest, _)| *earliest > told.t_us);
        let read = first.checked_sub(1).map_or(u64::MAX, |above| lane.sent[above].1);
        let read = if plain { high.min(read) } else { high };
        let committed = if self.seen.commits { seen.max().unwrap_or(high) } else { high };
        let bounds = [
            ("committed", least, committed),
            ("durable", least, lane.unheld.min(read)),
            ("position", least, read),
            ("end", if fresh { least.max(written) } else { 0 }, read),
        ];
        let claim = |(what, least, most): (&'static str, u64, u64)| {
            let told = told.fact.numbers.get(what).copied()?;
            Some(Claim { what, told: Some(told), least, most: most.max(least) })
        };
        bounds.into_iter().filter_map(claim).collect()
    }

    fn near_a_fault(&self, t_us: u64) -> bool {
        let by = self.near.partition_point(|(begin, _)| *begin <= t_us);
        by.checked_sub(1).is_some_and(|last| self.near[last].1 >= t_us)
    }

    fn find(&self, case: &mut Case<'_>, anomaly: &str, who: &str, words: &str, at_us: Option<u64>) {
        let place = self.index.lane_name(self.number);
        let group = quoted(&self.promise.group);
        let mut finding = anomalous(anomaly, format!("group {group}, {place}: {who} {words}"));
        finding.group = Some(self.promise.group.clone());
        finding.topic = Some(self.lane.topic.clone());
        finding.partition = Some(self.lane.partition);
        finding.at_us = at_us;
        case.find(finding);
    }
}
