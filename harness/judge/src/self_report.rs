//! Self-report: the numbers that the pipeline gives about itself are those of the evidence. An operator acts
//! on them: an audit that forgets duplicates and a lag that is always 0 are believed.
//!
//! An audit is run when all is over, and its numbers are exact. Metrics are read while records flow, and may
//! be some seconds old: each is held against all that was true within that time. What hangs on answers of
//! brokers may be older while a fault lasts, and until the group may have recovered from it.

use std::collections::BTreeMap;

use super::case::{Case, anomalous, count, quoted, seconds};
use super::evidence::read_lanes;
use super::recovered::{Window, windows};
use crate::index::{At, GroupLane, Index, Lane, RangeSet};
use streamlake_history::event::{GroupPromise, Header, ReportSource, SelfReport};

/// What metrics show may be so old, and a commit may have been learned so much later than it was made.
const METRICS_AGE_US: u64 = 5_000_000;
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
    for (_, promise, lanes) in index.promised_groups().filter(|group| group.1.reports_itself) {
        let of = |source| Said::of(index, promise, source);
        let (audits, metrics) = (of(ReportSource::Audit), of(ReportSource::Metrics));
        for (said, what) in [(&audits, "an audit"), (&metrics, "metrics")] {
            if said.is_empty() {
                let group = quoted(&promise.group);
                case.doubt(format!("no numbers of group {group} from {what} were read"));
            }
        }
        for (number, lane) in read_lanes(index, promise) {
            let empty = GroupLane::default();
            let place =
                Place { index, promise, number, lane, known: lanes.get(&number).unwrap_or(&empty) };
            let key = (lane.topic.as_str(), lane.partition);
            match audits.get(&key) {
                Some(said) => said.iter().for_each(|said| place.audit(case, &said.fact)),
                None if !audits.is_empty() => {
                    let text = "says nothing of it";
                    place.find(case, "audit-miscounts", "the audit", text, None);
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
}

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
        let holes = committed.saturating_sub(self.lane.low()).saturating_sub(below.len());
        let truth = [
            ("high_watermark", high),
            ("committed", committed),
            ("stored", self.known.delivered.len()),
            ("dead_letters", self.known.dead_lettered.len()),
            ("duplicates", surplus.map(|surplus| copies(surplus.range)).sum()),
            ("lost", below.minus(&self.held()).len()),
            ("without_record", holes),
        ];
        let given = |what: &'static str| said.numbers.get(what).copied();
        for (what, is) in truth {
            // A partition that nobody committed in has no commit to tell, and one that was aborted in has
            // records that are none.
            let told = match (what, given(what)) {
                ("committed", None) if is == 0 => continue,
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
        let windows = windows(self.index);
        let unheld = self.lane.logged().from(self.lane.low()).minus(&self.held());
        let known = (windows.as_slice(), unheld.ranges().first().map_or(u64::MAX, |range| range.0));
        for told in said {
            let claims = self
                .claims(told, known)
                .into_iter()
                .filter_map(|claim| Some((claim.what, claim.words()?)));
            let lag = self.lag(told);
            let in_a_row = torn.entry(told.fact.process.as_str()).or_default();
            *in_a_row = if lag.is_some() { *in_a_row + 1 } else { 0 };
            let lag = lag.filter(|_| *in_a_row > TORN_AT_MOST).map(|words| ("lag", words));
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
    fn lag(&self, told: &At<SelfReport>) -> Option<String> {
        let number = |name: &str| told.fact.numbers.get(name).copied();
        // One that is not answered does not know where the log ends.
        if number("fetch_unanswered") != Some(0) {
            return None;
        }
        let (lag, end, durable) = (number("lag")?, number("end")?, number("durable")?);
        let is = u64::try_from(end.saturating_sub(durable)).unwrap_or(0);
        Claim { what: "lag", told: Some(lag), least: is, most: is }.words()
    }

    fn claims(&self, told: &At<SelfReport>, (windows, unheld): (&[Window], u64)) -> Vec<Claim> {
        let (from, to) =
            (told.t_us.saturating_sub(METRICS_AGE_US), told.t_us.saturating_add(METRICS_AGE_US));
        let commits = &self.known.commits;
        let by = |t_us: u64| commits.partition_point(|commit| commit.at_us <= t_us);
        let before = by(from).checked_sub(1);
        let seen = commits[before.unwrap_or(0)..by(to)].iter().map(|commit| commit.offset);
        let since = before.and_then(|_| seen.clone().min()).unwrap_or(0);
        // Near a fault it may not have heard from a broker for a while, or have lost the partition.
        let least = if self.near_a_fault(windows, told.t_us) { 0 } else { since };
        let high = self.lane.high().unwrap_or(u64::MAX);
        // What was sent longer ago than any answer took is in the log.
        let wait = self.index.longest_wait.map_or(u64::MAX, |(wait, _)| wait);
        let sent = from.checked_sub(wait).and_then(|by| self.lane.last_sent_by(by));
        let written = sent.map_or(0, |offset| offset + 1);
        let bounds = [
            ("committed", least, seen.max().unwrap_or(high)),
            ("durable", least, unheld.min(high)),
            ("position", least, high),
            ("end", if least == 0 { 0 } else { least.max(written) }, high),
        ];
        let claim = |(what, least, most): (&'static str, u64, u64)| {
            let told = told.fact.numbers.get(what).copied()?;
            Some(Claim { what, told: Some(told), least, most: most.max(least) })
        };
        bounds.into_iter().filter_map(claim).collect()
    }

    fn near_a_fault(&self, windows: &[Window], t_us: u64) -> bool {
        let recovery = self.index.header.promises.recovery_within_us;
        windows.iter().any(|window| {
            let until = window.healed.map_or(u64::MAX, |healed| healed.saturating_add(recovery));
            (window.begin..=until.saturating_add(METRICS_AGE_US)).contains(&t_us)
        })
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
