//! What group members and their coordinators were seen to say to each other: positions, membership and
//! commits. Where the broker keeps no record of its own that could be read, these are the record of
//! commits; else they tell on this machine's clock when each of the record's was asked for.
//!
//! It is seen by the proxies that the clients' connections go through, see
//! [`crate::testbed::proxy::wire`]. A commit that was not answered may be held or not; the members
//! that ask for the group's position later, and the coordinator's last word, tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::observer::commits::{self, Groups, PROCESS as COMMITS, Watch};
use crate::testbed::proxy::wire::{Outcome, Place, Seen, What};
use streamlake_history::event::{
    CommitAttempt, Fact, Generation, Membership, MembershipChange, Position, PositionChange,
};

/// Process name of these facts in a history.
const PROCESS: &str = "coordination-watch";
/// That of commits that were found at the end to be held: facts in an order of their own.
const COMMITS_FOUND: &str = "commit-watch-found";

/// Listens until `stop` is cancelled, and then to what is left. With `commits`, this is the exact
/// record of commits and generations, and is compared with the coordinators' last word.
pub(crate) async fn listen(
    mut passing: UnboundedReceiver<Seen>,
    watch: Watch,
    commits: bool,
    stop: CancellationToken,
) {
    let mut listener = Listener::new(watch, commits);
    loop {
        tokio::select! {
            biased;
            seen = passing.recv() => match seen {
                Some(seen) => listener.take(seen),
                None => break,
            },
            () = stop.cancelled() => break,
        }
    }
    let asking = listener.watch.clone();
    let last = match commits {
        true => tokio::task::spawn_blocking(move || commits::committed_now(&asking)).await.ok(),
        false => None,
    };
    while let Ok(seen) = passing.try_recv() {
        listener.take(seen);
    }
    match last {
        Some(Ok(last)) => listener.compare(&last),
        Some(Err(error)) => listener.commits_unsure(&format!(
            "the coordinators did not say where the groups stand: {error}"
        )),
        None => {}
    }
    listener.close();
}

struct Listener {
    watch: Watch,
    commits: bool,
    /// Last commit that was taken.
    last: Groups,
    /// Every offset that was ever taken.
    taken: BTreeSet<(String, Place, u64)>,
    /// Commits that were not answered, with the instant of the request.
    unanswered: BTreeMap<(String, Place, u64), Instant>,
    /// Offsets at which a group was said to stand.
    told: BTreeSet<(String, Place, u64)>,
    /// Request and version that were not understood, how often.
    unread: BTreeMap<(&'static str, i16), u64>,
    lost: u64,
}

impl Listener {
    fn new(watch: Watch, commits: bool) -> Self {
        Self {
            watch,
            commits,
            last: Groups::new(),
            taken: BTreeSet::new(),
            unanswered: BTreeMap::new(),
            told: BTreeSet::new(),
            unread: BTreeMap::new(),
            lost: 0,
        }
    }

    fn take(&mut self, seen: Seen) {
        match &seen.what {
            What::Unread { request, version } => return self.unread(&seen, request, *version),
            What::Lost { why } => return self.lost(&seen, why),
            _ if !self.watch.groups.contains(&seen.group) => return,
            _ => {}
        }
        let Seen { client, group, asked, answered, what, .. } = seen;
        // The only member of its group need not name itself.
        let client = self.watch.alone.get(&group).cloned().unwrap_or(client);
        let at = answered.unwrap_or(asked);
        match what {
            What::Positions(positions) => self.positions(&client, &group, at, positions),
            What::Commits { offsets, outcome, .. } => {
                let offsets = offsets.into_iter().filter(|(place, _)| self.is_watched(place));
                let offsets: Vec<_> = offsets.collect();
                match outcome {
                    Outcome::Taken if self.commits => self.committed(&group, asked, offsets),
                    outcome => self.attempted((client, group), asked, offsets, outcome),
                }
            }
            What::Joined { id, generation, members } => {
                if let Some(members) = members.filter(|_| self.commits) {
                    let group = group.clone();
                    let generation = u32::try_from(generation).unwrap_or_default();
                    let at_us = self.us(at);
                    let told = Generation { group, generation, members, at_us };
                    self.record(Fact::Generation(told));
                }
                self.member((client, group, id), MembershipChange::Joined, generation, at);
            }
            What::Owns { id, generation, places } => {
                let mut step = self.step((client, group, id), MembershipChange::Owns, at);
                step.generation = u32::try_from(generation).ok();
                for (topic, partition) in places {
                    step.partitions.entry(topic).or_default().push(partition);
                }
                self.record(Fact::Membership(step));
            }
            What::Left { ids } => {
                for id in ids {
                    let who = (client.clone(), group.clone(), id);
                    let step = self.step(who, MembershipChange::Left, at);
                    self.record(Fact::Membership(step));
                }
            }
            What::Refused { request, id, error } => {
                let mut step = self.step((client, group, id), MembershipChange::Refused, at);
                step.refusal = Some(format!("{request}: {}", error_name(error)));
                self.record(Fact::Membership(step));
            }
            What::Unread { .. } | What::Lost { .. } => {}
        }
    }

    fn positions(
        &mut self,
        client: &str,
        group: &str,
        at: Instant,
        positions: Vec<(Place, Option<u64>)>,
    ) {
        let at_us = self.us(at);
        for (place, offset) in positions {
            if !self.is_watched(&place) {
                continue;
            }
            if let Some(offset) = offset {
                self.told.insert((group.to_owned(), place.clone(), offset));
            }
            let (topic, partition) = place;
            let (group, member) = (group.to_owned(), client.to_owned());
            let how = PositionChange::Fetched;
            let position = Position { group, member, topic, partition, offset, how, at_us };
            self.record(Fact::Position(position));
        }
    }

    fn committed(&mut self, group: &str, asked: Instant, offsets: Vec<(Place, u64)>) {
        for (place, offset) in offsets {
            self.taken.insert((group.to_owned(), place.clone(), offset));
            self.last.entry(group.to_owned()).or_default().insert(place.clone(), offset);
            self.watch.record(COMMITS, group, place, offset, self.us(asked));
        }
    }

    fn attempted(
        &mut self,
        (member, group): (String, String),
        asked: Instant,
        offsets: Vec<(Place, u64)>,
        outcome: Outcome,
    ) {
        let taken = matches!(outcome, Outcome::Taken);
        let refused = match outcome {
            Outcome::Refused(error) => Some(error_name(error)),
            _ => None,
        };
        for (place, offset) in offsets {
            if refused.is_none() && !taken {
                self.unanswered.insert((group.clone(), place.clone(), offset), asked);
            }
            let (topic, partition) = place;
            let (group, member, refused) = (group.clone(), member.clone(), refused.clone());
            let at_us = self.us(asked);
            self.record(Fact::CommitAttempt(CommitAttempt {
                group,
                member,
                topic,
                partition,
                offset,
                refused,
                taken,
                at_us,
            }));
        }
    }

    fn member(
        &self,
        who: (String, String, String),
        change: MembershipChange,
        generation: i32,
        at: Instant,
    ) {
        let mut step = self.step(who, change, at);
        step.generation = u32::try_from(generation).ok();
        self.record(Fact::Membership(step));
    }

    fn step(
        &self,
        (member, group, id): (String, String, String),
        change: MembershipChange,
        at: Instant,
    ) -> Membership {
        let (partitions, at_us) = (BTreeMap::new(), self.us(at));
        Membership { group, member, id, change, generation: None, partitions, refusal: None, at_us }
    }

    /// Compares what was seen with where the coordinators say that the groups stand, and with what
    /// they told members meanwhile. A commit that was not answered and is held all the same is told now.
    fn compare(&mut self, last: &Groups) {
        for (group, offsets) in last {
            for (place, offset) in offsets {
                self.told.insert((group.clone(), place.clone(), *offset));
            }
        }
        let held = std::mem::take(&mut self.unanswered);
        let mut held: Vec<_> = held.into_iter().filter(|(of, _)| self.told.contains(of)).collect();
        held.sort_by_key(|(_, asked)| *asked);
        for ((group, place, offset), asked) in held {
            if self.taken.insert((group.clone(), place.clone(), offset)) {
                self.watch.record(COMMITS_FOUND, &group, place, offset, self.us(asked));
            }
        }
        let unseen: Vec<_> = self.told.difference(&self.taken).take(3).collect();
        if !unseen.is_empty() {
            let text = format!("offsets that nobody was seen to commit were held: {unseen:?}");
            self.commits_unsure(&text);
        }
    }

    fn unread(&mut self, seen: &Seen, request: &'static str, version: i16) {
        let count = self.unread.entry((request, version)).or_default();
        *count += 1;
        if *count > 1 {
            return;
        }
        let who = if seen.client.is_empty() { "a client" } else { &seen.client };
        let text = format!(
            "a {request} request of version {version} of {who} through {} was not understood",
            seen.link
        );
        match request {
            "OffsetFetch" => self.note("error", format!("{text}: positions may be missing")),
            "OffsetCommit" | "TxnOffsetCommit" if self.commits => self.commits_unsure(&text),
            _ => self.note("warning", text),
        }
    }

    fn lost(&mut self, seen: &Seen, why: &str) {
        self.lost += 1;
        if self.lost > 1 {
            return;
        }
        let text = format!(
            "a connection through {} cannot be followed ({why}): positions may be missing",
            seen.link
        );
        self.note("error", text.clone());
        if self.commits {
            self.commits_unsure(&text);
        }
    }

    fn close(&self) {
        let repeated = self.unread.iter().filter(|(_, count)| **count > 1);
        for ((request, version), count) in repeated {
            let text = format!("{request} requests of version {version} not understood: {count}");
            self.note("warning", text);
        }
        if self.lost > 1 {
            self.note("warning", format!("connections that could not be followed: {}", self.lost));
        }
    }

    /// The commits are not whole; said by the process whose record they are.
    fn commits_unsure(&self, text: &str) {
        let text = format!("the commits could not be watched: {text}");
        self.watch.recorder.record(COMMITS, Fact::Note { level: "error".to_owned(), text });
    }

    /// Where no group is under test, nothing hangs on what was not seen.
    fn note(&self, level: &str, text: String) {
        let level = if self.watch.groups.is_empty() { "warning" } else { level }.to_owned();
        self.record(Fact::Note { level, text });
    }

    fn record(&self, fact: Fact) {
        self.watch.recorder.record(PROCESS, fact);
    }

    fn is_watched(&self, (topic, _): &Place) -> bool {
        self.watch.topics.contains_key(topic)
    }

    fn us(&self, at: Instant) -> u64 {
        self.watch.recorder.run_us_of(at)
    }
}

/// Kafka's name of an error that group members meet.
fn error_name(error: i16) -> String {
    let name = match error {
        14 => "COORDINATOR_LOAD_IN_PROGRESS",
        15 => "COORDINATOR_NOT_AVAILABLE",
        16 => "NOT_COORDINATOR",
        22 => "ILLEGAL_GENERATION",
        25 => "UNKNOWN_MEMBER_ID",
        26 => "INVALID_SESSION_TIMEOUT",
        27 => "REBALANCE_IN_PROGRESS",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        30 => "GROUP_AUTHORIZATION_FAILED",
        81 => "GROUP_MAX_SIZE_REACHED",
        82 => "FENCED_INSTANCE_ID",
        88 => "UNSTABLE_OFFSET_COMMIT",
        110 => "FENCED_MEMBER_EPOCH",
        111 => "UNRELEASED_INSTANCE_ID",
        113 => "STALE_MEMBER_EPOCH",
        _ => return format!("Kafka's error {error}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
