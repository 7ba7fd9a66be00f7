//! What a pass rests on, and whether it is there.
//!
//! Each row of the table of checkers names the evidence that its pass needs. What of it is missing is
//! a doubt of that check, with a sentence that says what to bring. A finding needs none of this: it
//! stands on what was seen.

use std::collections::BTreeMap;

use super::case::{count, quoted, spelled};
use super::placement::is_kept;
use crate::index::{Base, Bit, GroupLane, Index, Lane, OddKind, Part, RangeSet, shifted};
use streamlake_history::event::{
    Evidence, GroupPromise, GroupStart, Header, ObjectRole, ProcessRole,
};

/// A source of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// What was invoked, and what producers said of it.
    Receipts,
    /// The promised topics, read back from end to end.
    Log,
    /// What the groups committed, to the end of the run.
    Commits,
    /// The groups' generations and members.
    Generations,
    /// What each group stored, dead-lettered or read.
    Deliveries,
    /// The raw zones, read to their ends.
    Objects,
    /// Every part of a raw zone, seen while the run went on.
    Sightings,
    /// The dead-letter topics, read to their ends.
    DeadLetters,
    /// The starts and ends of the processes under test.
    Processes,
    /// Whether the parts around them answered, from the first probe to the last.
    Probes,
    /// What passed between members and coordinators.
    Coordination,
    /// Configuration, read back.
    Configuration,
    /// The log of a source database.
    Source,
    /// Clocks that go forward.
    Clocks,
    /// The phases of the run.
    Phases,
}

impl Need {
    /// All of them.
    pub(super) const ALL: [Self; 15] = [
        Self::Receipts,
        Self::Log,
        Self::Commits,
        Self::Generations,
        Self::Deliveries,
        Self::Objects,
        Self::Sightings,
        Self::DeadLetters,
        Self::Processes,
        Self::Probes,
        Self::Coordination,
        Self::Configuration,
        Self::Source,
        Self::Clocks,
        Self::Phases,
    ];

    fn doubts(self, index: &Index) -> Vec<String> {
        match self {
            Self::Receipts => receipts(index),
            Self::Log => log(index),
            Self::Commits => commits(index),
            Self::Generations => generations(index),
            Self::Deliveries => deliveries(index),
            Self::Objects => objects(index),
            Self::Sightings => sightings(index),
            Self::DeadLetters => dead_letters(index),
            Self::Processes => processes(index),
            Self::Probes => probes(index),
            Self::Coordination => coordination(index),
            Self::Configuration => configuration(index),
            Self::Source => source(index),
            Self::Clocks => clocks(index),
            Self::Phases => phases(index),
        }
    }
}

/// What is missing of each source of evidence.
pub(super) struct Ledger(Vec<Vec<String>>);

impl Ledger {
    pub(super) fn of(index: &Index) -> Self {
        Self(Need::ALL.iter().map(|need| need.doubts(index)).collect())
    }

    pub(super) fn doubts(&self, need: Need) -> &[String] {
        let place = Need::ALL.iter().position(|known| *known == need);
        place.and_then(|place| self.0.get(place)).map_or(&[], Vec::as_slice)
    }
}

/// Others wrote the history: it says what they saw and not how the run was to go.
pub(super) fn foreign(header: &Header) -> bool {
    header.run.testbed == "foreign"
}

/// A producer is under test.
pub(super) fn produces(header: &Header) -> bool {
    header.promises.operations > 0 && header.promises.source.is_none()
}

/// Some group stores what it reads.
pub(super) fn stores(header: &Header) -> bool {
    header.promises.groups.iter().any(|group| group.raw_zone.is_some())
}

fn odd(index: &Index, kind: OddKind, what: &str) -> Option<String> {
    let odd = index.odd.get(&kind)?;
    let example = odd.examples.first().map_or("", |(text, _)| text.as_str());
    Some(format!("{what} ({}, first: {example})", count(odd.count, "time")))
}

fn receipts(index: &Index) -> Vec<String> {
    let mut doubts = Vec::new();
    if !produces(&index.header) {
        return doubts;
    }
    let (promised, invoked) = (index.header.promises.operations, index.ops.count(Bit::Invoked));
    if !index.vouches(Evidence::Receipts) {
        doubts.push("what producers were told of their records was not recorded".to_owned());
    } else if invoked == 0 {
        doubts.push("no operation was invoked".to_owned());
    } else if invoked < promised {
        doubts.push(format!("{invoked} of {promised} promised operations were invoked"));
    }
    let twice = "an operation was invoked twice: each needs a number of its own over all producers";
    doubts.extend(odd(index, OddKind::SecondInvocation, twice));
    doubts
}

fn log(index: &Index) -> Vec<String> {
    let mut doubts = Vec::new();
    if index.header.promises.topics.is_empty() {
        doubts.push("no topic is promised".to_owned());
    }
    if !index.vouches(Evidence::Log) {
        let text = "the log was not read back: its records are needed, with both ends of each \
                    partition";
        doubts.push(text.to_owned());
        return doubts;
    }
    for (topic, &partitions) in &index.header.promises.topics {
        let read = |p: u32| index.lane(topic, p).is_some_and(Lane::complete);
        // A hostile header may promise billions of partitions: stop at the first that is unread.
        if let Some(unread) = (0..partitions).find(|&p| !read(p)) {
            let name = topic.escape_debug();
            doubts.push(format!("the log of {name}/{unread} was not read to its end"));
        }
    }
    for (number, lane) in index.promised_lanes().filter(|(_, lane)| lane.complete()) {
        doubts.extend(unread(index, number, lane));
    }
    let offset = "the reader of the log told an offset that there cannot be";
    doubts.extend(odd(index, OddKind::LoggedOffset, offset));
    let ends = "the reader of the log told ends that there cannot be";
    doubts.extend(odd(index, OddKind::LogEnds, ends));
    doubts
}

/// Between its ends a log that was read holds a record at each offset, or its reader said that there
/// is none; anything else was passed over. Outside of its ends it holds none.
fn unread(index: &Index, number: usize, lane: &Lane) -> Vec<String> {
    let mut doubts = Vec::new();
    let name = index.lane_name(number);
    let (low, high) = (lane.low(), lane.high().unwrap_or(0));
    let span = RangeSet::of([(low, u64::MAX)]).below(high);
    let unread = span.minus(&lane.holes()).minus(&lane.aborted()).minus(&lane.logged());
    let unread = unread.minus(&told_of(index, lane));
    if !unread.is_empty() {
        doubts.push(format!(
            "offsets of {name} within its log hold no record, and the reader did not say why: {}",
            spelled(&unread)
        ));
    }
    let behind = lane.logged().from(high);
    if !behind.is_empty() {
        doubts.push(format!(
            "the reader told records of {name} behind its end {high}: {}",
            spelled(&behind)
        ));
    }
    doubts
}

/// Dead letters and change events, which have facts of their own.
fn told_of(index: &Index, lane: &Lane) -> RangeSet {
    let here = |topic: &str, partition: u32| topic == lane.topic && partition == lane.partition;
    let letters = index.dead.iter().map(|dead| &dead.letter);
    let letters = letters.filter(|fact| here(&fact.topic, fact.partition)).map(|fact| fact.offset);
    let changes = index.rare.source.events.iter();
    let changes = changes.filter(|fact| here(&fact.topic, fact.partition)).map(|fact| fact.offset);
    RangeSet::of(letters.chain(changes).map(|offset| (offset, offset)))
}

fn commits(index: &Index) -> Vec<String> {
    let mut doubts = Vec::new();
    if index.header.promises.groups.is_empty() {
        return doubts;
    }
    let vouched = [Evidence::CommitsSampled, Evidence::CommitsComplete];
    if !vouched.into_iter().any(|evidence| index.vouches(evidence)) {
        let text = "nobody told what the groups committed, so what they claim to be done with is \
                    not known: bring their commits, or the broker's record of them";
        doubts.push(text.to_owned());
        return doubts;
    }
    for (_, promise, lanes) in index.promised_groups() {
        let name = promise.group.escape_debug();
        if lanes.values().all(|lane| lane.commits.is_empty()) {
            doubts.push(format!("no commit of group {name} was seen"));
        } else if let Some(until) = watched_until(index, lanes) {
            doubts.push(format!(
                "the commits of group {name} were last looked at {}, before the run was over: what \
                 it committed last is not known",
                super::case::seconds(until)
            ));
        }
    }
    if commits_cut_short(index) {
        doubts.push("the commits could not be watched to their end".to_owned());
    }
    doubts
}

/// When the commits of a group were sampled last, if that was before everything was read.
///
/// Who samples looks once more when the run is over, and tells what it then sees of each partition.
fn watched_until(index: &Index, lanes: &BTreeMap<usize, GroupLane>) -> Option<u64> {
    let over = index.rare.phases.iter().find(|phase| phase.fact == "final-read")?.t_us;
    let last = lanes.values().filter_map(|lane| lane.commits.last());
    let sampled = last.filter(|commit| !commit.exact);
    sampled.map(|commit| commit.at_us).min().filter(|at_us| *at_us < over)
}

/// What a group committed last is not known: nothing can be said to be left over.
pub(super) fn commits_open(index: &Index, lanes: &BTreeMap<usize, GroupLane>) -> bool {
    commits_cut_short(index) || watched_until(index, lanes).is_some() || unheard(index, lanes)
}

/// Nothing was heard of a group's commits, and of no other group's: the silence may be the observer's.
/// (Its generations and positions come another way, or may be all that it heard.)
fn unheard(index: &Index, lanes: &BTreeMap<usize, GroupLane>) -> bool {
    let silent = |lanes: &BTreeMap<usize, GroupLane>| lanes.values().all(|l| l.commits.is_empty());
    let others = index.promised_groups().any(|(_, _, lanes)| !silent(lanes));
    silent(lanes) && (foreign(&index.header) || !others)
}

/// Who watches the commits said that the record is not complete.
pub(super) fn commits_cut_short(index: &Index) -> bool {
    let mut notes = index.rare.notes.iter();
    notes.any(|note| note.process.starts_with("commit-watch") && note.fact.0 == "error")
}

fn generations(index: &Index) -> Vec<String> {
    match index.vouches(Evidence::CommitsComplete) {
        true => Vec::new(),
        false => vec!["the testbed does not show a group's generations".to_owned()],
    }
}

fn deliveries(index: &Index) -> Vec<String> {
    let mut doubts = Vec::new();
    for (_, promise, lanes) in index.promised_groups() {
        let name = promise.group.escape_debug();
        if let Some(zone) = &promise.raw_zone
            && !zone_read(index, zone)
        {
            doubts.push(format!("the raw zone of group {name} was not read to its end"));
            continue;
        }
        if lanes.values().all(|lane| lane.durable.set().is_empty()) {
            doubts.push(format!("nothing that group {name} {} was seen", verb(promise)));
        }
        if promise.dead_letter_topic.as_ref().is_some_and(|t| !dead_letters_read(index, t)) {
            doubts.push(format!("the dead-letter topic of group {name} was not read to its end"));
        }
        for (number, lane) in read_lanes(index, promise) {
            let Some(known) = lanes.get(&number) else { continue };
            let unclear = perhaps_aborted(index, lane, known);
            let unclear = unclear.below(known.committed_max().unwrap_or(0));
            if !unclear.is_empty() {
                doubts.push(format!(
                    "{} of {} may be of aborted transactions, for offsets behind them hold no record and \
                     nobody told of transactions; group {name} has them not: {}",
                    count(unclear.len(), "record"),
                    index.lane_name(number),
                    spelled(&unclear)
                ));
            }
        }
    }
    doubts
}

fn verb(promise: &GroupPromise) -> &'static str {
    if promise.raw_zone.is_some() { "stored" } else { "read" }
}

pub(super) fn zone_read(index: &Index, zone: &str) -> bool {
    let read = |z: &crate::index::Zone| z.name == zone && !z.reads.is_empty();
    index.vouches(Evidence::Objects) && index.zones.iter().any(read)
}

fn objects(index: &Index) -> Vec<String> {
    let mut doubts = Vec::new();
    for (number, zone) in index.zones.iter().enumerate() {
        let name = quoted(&zone.name);
        if !zone_read(index, &zone.name) {
            doubts.push(format!("the raw zone {name} was not read to its end"));
            continue;
        }
        let reported = final_parts(index).filter(|part| part.zone == number).count() as u64;
        if zone.reads.iter().any(|&parts| u64::from(parts) != reported) {
            doubts.push(format!(
                "the reader of {name} saw {} parts and reported {reported}",
                zone.reads.iter().max().unwrap_or(&0)
            ));
        }
    }
    let nowhere = "a stored record was told of an object that nobody reported";
    doubts.extend(odd(index, OddKind::StoredNowhere, nowhere));
    doubts
}

/// The parts as they stand at the end.
fn final_parts(index: &Index) -> impl Iterator<Item = &Part> {
    index.parts.iter().filter(|part| !part.during_run && part.role == ObjectRole::Part)
}

fn sightings(index: &Index) -> Vec<String> {
    let kept = |part: &&Part| is_kept(index, part.zone);
    let early = index.parts.iter().filter(|part| part.during_run);
    let early: std::collections::BTreeSet<_> = early.map(|p| (p.zone, p.name.as_str())).collect();
    let seen = |part: &&Part| early.contains(&(part.zone, part.name.as_str()));
    let total = final_parts(index).filter(kept).count();
    let unseen: Vec<&Part> = final_parts(index).filter(kept).filter(|part| !seen(part)).collect();
    match unseen.first() {
        None if total == 0 => vec!["no part was seen".to_owned()],
        None => Vec::new(),
        Some(first) => vec![format!(
            "{} of {total} parts were not seen while the run went on, so a replacement would not \
             show: {}",
            unseen.len(),
            quoted(&first.name)
        )],
    }
}

fn dead_letters(index: &Index) -> Vec<String> {
    let mut doubts = Vec::new();
    let groups = index.header.promises.groups.iter();
    let topics: std::collections::BTreeSet<_> =
        groups.filter_map(|group| group.dead_letter_topic.as_deref()).collect();
    for topic in topics {
        let name = quoted(topic);
        if !dead_letters_read(index, topic) {
            doubts.push(format!("the dead-letter topic {name} was not read to its end"));
            continue;
        }
        // Of a promised topic the log is asked for anyway.
        if index.header.promises.topics.contains_key(topic) {
            continue;
        }
        for &number in index.by_name.get(topic).into_iter().flat_map(BTreeMap::values) {
            doubts.extend(unread(index, number, &index.lanes[number]));
        }
    }
    doubts
}

fn processes(index: &Index) -> Vec<String> {
    let header = &index.header;
    let mut doubts = Vec::new();
    if foreign(header) && !index.vouches(Evidence::Processes) {
        return doubts;
    }
    let of = |role| index.rare.processes.iter().any(|p| p.fact.role() == Some(role));
    if produces(header) && !of(ProcessRole::Producer) && !foreign(header) {
        doubts.push("start and end of the producer's process were not recorded".to_owned());
    }
    for group in &header.promises.groups {
        let mut known = index.rare.processes.iter();
        if !known.any(|p| p.fact.consumes_for(&group.group)) {
            let name = quoted(&group.group);
            doubts.push(format!("no process of group {name} was recorded, neither start nor end"));
        }
    }
    doubts
}

fn probes(index: &Index) -> Vec<String> {
    if foreign(&index.header) {
        return Vec::new();
    }
    let mut last: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for probe in &index.rare.probes {
        let entry = last.entry(&probe.fact.target).or_insert((0, 0));
        *entry = (entry.0 + 1, probe.t_us);
    }
    if last.is_empty() {
        return vec!["no part was probed from outside".to_owned()];
    }
    let over = index.rare.phases.iter().find(|phase| phase.fact == "final-read");
    let over = over.map_or(0, |phase| phase.t_us);
    let cut = last.iter().filter(|(_, (probes, at_us))| *probes < 2 || *at_us < over);
    let cut =
        cut.map(|(target, _)| format!("{} was not probed to the end of the run", quoted(target)));
    let never = |target: &&str| !last.keys().any(|known| known.starts_with(*target));
    let never = to_be_probed(&index.header).into_iter().filter(never);
    cut.chain(never.map(|target| format!("{} was never probed from outside", quoted(target))))
        .collect()
}

/// Parts that every run of the harness with such promises probes: the brokers, the store that the pipeline
/// writes to, the database and its worker. Version 1 did not tell of all of them.
fn to_be_probed(header: &Header) -> Vec<&'static str> {
    if header.version < 2 || header.promises.topics.is_empty() {
        return Vec::new();
    }
    let mut groups = header.promises.groups.iter();
    let of_pipeline = groups.any(|group| group.raw_zone.is_some() && group.consumer.is_none());
    let source = header.promises.source.is_some();
    let named =
        [("broker", true), ("store", of_pipeline), ("database", source), ("connect", source)];
    named.into_iter().filter(|(_, due)| *due).map(|(name, _)| name).collect()
}

/// What passed between the members and their coordinator was seen to the end: no group rebalanced or
/// committed after the last of it, by the broker's own record.
fn coordination(index: &Index) -> Vec<String> {
    if foreign(&index.header) || !index.vouches(Evidence::Positions) {
        return Vec::new();
    }
    let rare = &index.rare;
    index.promised_groups().filter_map(|(_, promise, lanes)| {
        let own = |group: &String| *group == promise.group;
        let steps = rare.memberships.iter().filter(|m| own(&m.fact.group)).map(|m| m.fact.at_us);
        let asked = rare.attempts.iter().filter(|a| own(&a.fact.group)).map(|a| a.fact.at_us);
        let told = rare.positions.iter().filter(|p| own(&p.fact.group)).map(|p| p.fact.at_us);
        // A testbed that tells of neither shows positions only, and those do not go on to the end.
        let last = steps.chain(asked).max()?.max(told.max().unwrap_or(0));
        let last = shifted(last.saturating_add(UNWATCHED_US), 0);
        let later = |at_us: u64| shifted(at_us, index.clocks.of(Base::Broker).low) > last;
        let dealt = rare.generations.iter().map(|seen| &seen.fact);
        let mut dealt = dealt.filter(|seen| own(&seen.group) && !seen.members.is_empty());
        let unseen = |lane: &GroupLane| {
            lane.commits.iter().any(|c| c.exact && c.base == Base::Broker && later(c.at_us))
        };
        let committed = rare.attempts.iter().any(|a| own(&a.fact.group) && a.fact.taken)
            && lanes.values().any(unseen);
        (dealt.any(|seen| later(seen.at_us)) || committed).then(|| {
            format!(
                "what passed between the members of group {} and their coordinator was not seen to the \
                 end: the broker's own record goes on",
                quoted(&promise.group)
            )
        })
    }).collect()
}

/// The last that was seen to pass, and what the broker wrote down then, lie no further apart.
const UNWATCHED_US: u64 = 1_000_000;

fn configuration(index: &Index) -> Vec<String> {
    match index.rare.configuration.is_empty() && !foreign(&index.header) {
        true => vec!["no configuration was read back".to_owned()],
        false => Vec::new(),
    }
}

fn source(index: &Index) -> Vec<String> {
    if index.header.promises.source.is_some() && !index.vouches(Evidence::Source) {
        return vec!["the testbed cannot read the log of a source database".to_owned()];
    }
    let source = &index.rare.source;
    let told = source.starts.len() as u64;
    let counted = source.reads.iter().filter_map(|read| read.starts);
    let differing = counted.filter(|starts| *starts != told).map(|starts| {
        format!(
            "the reader of the database's record of senders saw {starts} starts and told {told}"
        )
    });
    differing.take(1).collect()
}

fn clocks(index: &Index) -> Vec<String> {
    let back = "a clock went back, so what rests on its instants is not known";
    let set = index.stepped_clocks().into_iter().map(|clock| {
        let name = quoted(clock);
        format!(
            "the clock of {name} was set while the run went on: instants before and after cannot be \
             compared"
        )
    });
    odd(index, OddKind::Clock, back).into_iter().chain(set).collect()
}

/// A run of the harness measures every clock that it reads instants from, and one that was not measured is an
/// observer that is missing. Version 1 did not. What looks right by any clock is right all the same: no other
/// check asks for this.
pub(super) fn unmeasured(index: &Index) -> Option<String> {
    let groups = &index.header.promises.groups;
    if foreign(&index.header) || index.header.version < 2 || groups.is_empty() {
        return None;
    }
    let stored = groups.iter().any(|group| group.raw_zone.is_some() && group.consumer.is_none());
    let read = [(Base::Broker, true), (Base::Store, stored)];
    let unknown = read.into_iter().filter(|(base, due)| *due && !index.clocks.of(*base).measured);
    let names: Vec<String> = unknown.map(|(base, _)| index.clock_name(base)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "nobody measured the clock of {}: how far its stamps can be believed is not known",
            names.join(" and of ")
        )
    })
}

fn phases(index: &Index) -> Vec<String> {
    const PHASES: [&str; 5] = ["load", "heal", "recover", "final-read", "done"];
    if foreign(&index.header) {
        return Vec::new();
    }
    let reached = |name: &&str| index.rare.phases.iter().any(|phase| phase.fact == **name);
    let absent: Vec<&str> = PHASES.into_iter().filter(|name| !reached(name)).collect();
    match absent.is_empty() {
        true => Vec::new(),
        false => vec![format!("phases were not reached: {}", absent.join(", "))],
    }
}

/// A group whose delivery can be seen: through its raw zone, or through what its members read.
pub(super) struct Observed<'a> {
    pub(super) number: usize,
    pub(super) promise: &'a GroupPromise,
    pub(super) lanes: &'a BTreeMap<usize, GroupLane>,
    /// How its delivery is called in sentences.
    pub(super) verb: &'static str,
}

/// The groups of which can be said what they have *not* delivered: raw zone and dead-letter topic were
/// read to their ends.
pub(super) fn observed_groups(index: &Index) -> Vec<Observed<'_>> {
    let whole = |promise: &GroupPromise| {
        promise.raw_zone.as_ref().is_none_or(|zone| zone_read(index, zone))
            && promise.dead_letter_topic.as_ref().is_none_or(|t| dead_letters_read(index, t))
    };
    let groups = index.promised_groups().filter(|(_, promise, _)| whole(promise));
    groups
        .map(|(number, promise, lanes)| Observed { number, promise, lanes, verb: verb(promise) })
        .collect()
}

/// A dead-letter topic was read: the bounds of its partitions were recorded, and all were reached.
pub(super) fn dead_letters_read(index: &Index, topic: &str) -> bool {
    index.vouches(Evidence::DeadLetters)
        && index.by_name.get(topic).is_some_and(|partitions| {
            let mut bounds = partitions.values().map(|&n| &index.lanes[n]);
            !partitions.is_empty() && bounds.all(Lane::complete)
        })
}

/// The partitions that a group reads: those of its topics, or of all promised topics that nobody
/// dead-letters into.
pub(super) fn read_lanes<'a>(
    index: &'a Index,
    promise: &'a GroupPromise,
) -> impl Iterator<Item = (usize, &'a Lane)> {
    let groups = &index.header.promises.groups;
    let reads = move |topic: &String| match promise.topics.is_empty() {
        true => !groups.iter().any(|group| group.dead_letter_topic.as_ref() == Some(topic)),
        false => promise.topics.contains(topic),
    };
    index.promised_lanes().filter(move |(_, lane)| reads(&lane.topic))
}

/// The first offset of a partition that a group owes; none if it was never seen to begin there.
pub(super) fn owed_from(
    lane: &Lane,
    promise: &GroupPromise,
    known: Option<&GroupLane>,
) -> Option<u64> {
    if promise.starts == GroupStart::Earliest {
        return Some(lane.low());
    }
    let known = known?;
    let read = known.delivered.ranges().first().map(|range| range.0);
    let committed = known.commits.first().map(|commit| commit.offset);
    let first = read.into_iter().chain(committed).min()?;
    Some(first.max(lane.low()))
}

/// Records of the log that the group claimed to be done with: at or above the first that it owes and
/// below the highest offset that it ever committed.
pub(super) fn claimed(
    index: &Index,
    promise: &GroupPromise,
    lane: usize,
    group: &GroupLane,
) -> RangeSet {
    let log = &index.lanes[lane];
    match owed_from(log, promise, Some(group)) {
        Some(from) => log
            .held()
            .from(from)
            .below(group.committed_max().unwrap_or(0))
            .minus(&perhaps_aborted(index, log, group)),
        None => RangeSet::default(),
    }
}

/// Records that the group has not, of which nobody said whether their transactions were aborted: others
/// told of offsets without a record behind them, as markers of transactions are, and of no transaction.
pub(super) fn perhaps_aborted(index: &Index, log: &Lane, group: &GroupLane) -> RangeSet {
    if !foreign(&index.header) || index.vouches(Evidence::Transactions) {
        return RangeSet::default();
    }
    match log.holes().last() {
        Some(last) => log.logged().below(last).minus(&group.done()),
        None => RangeSet::default(),
    }
}

/// Records of the log that the group claimed and that are nowhere.
pub(super) fn missing(
    index: &Index,
    promise: &GroupPromise,
    lane: usize,
    group: &GroupLane,
) -> RangeSet {
    claimed(index, promise, lane, group).minus(&group.done())
}

/// Offsets without a record that somebody declared on purpose: compacted away, or of the broker's own.
/// In a history of the harness a hole is what its reader jumped over, and excuses nobody.
pub(super) fn declared_holes(index: &Index, lane: &Lane) -> RangeSet {
    if foreign(&index.header) { lane.holes() } else { RangeSet::default() }
}
