//! Epochs of reading: what makes a consumer deliver an offset again is a new position.
//!
//! An epoch begins when a member gets a position in a partition. From there on it can deliver each
//! offset once: those that were in the log before it ended, and as long as its process could write.
//! So a number of copies of an offset needs as many epochs that can have delivered it.
//!
//! Where the members' positions were not watched, weaker evidence stands for them: a completed
//! rebalance, an assignment, the start of a process. Of these it is not known where they began: at
//! the lowest offset that may have been committed then.

use std::collections::{BTreeMap, BTreeSet};

use super::skew::{Base, RESOLUTION_US, shifted};
use super::{At, Index};
use streamlake_history::event::{
    AssignmentChange, Evidence, FaultStage, Membership, MembershipChange, Position, PositionChange,
    ProcessChange, ProcessRole,
};

/// A request that was on its way when its process was killed, or frozen, is carried out within this
/// time by a store that answers.
const IN_FLIGHT_US: u64 = 2_000_000;

/// A member that is told that a partition is not its own any more, and runs, reads nothing of it after this
/// time. (One that is refused as no member was seen to read on for four seconds.)
const GIVES_UP_WITHIN_US: u64 = 10_000_000;

/// What is known of how a group came to its positions, the best evidence first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// Each position that a member was given.
    Positions,
    /// Each completed rebalance, by the broker's own record.
    Generations,
    /// Each assignment, as members told it.
    Assignments,
    /// The starts of processes: a rebalance among those that live is not seen.
    Processes,
    /// Nothing.
    Nothing,
}

/// How a member came to a position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It was the first in its partition.
    First,
    /// Its process had been started anew.
    Restart(String),
    /// Partitions were dealt out anew.
    Rebalance,
    /// It went there by itself.
    Seek,
    /// Somebody had set the group's offsets.
    Replay,
}

/// One epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// The member, where it is known.
    pub member: Option<String>,
    /// When it began, on the recorder's clock; no later than this.
    pub begin_us: u64,
    /// First offset that it can have delivered.
    pub start: u64,
    /// First offset that it cannot have delivered any more.
    pub end: u64,
    /// When it can have written, on the recorder's clock.
    pub writes: Vec<(u64, u64)>,
    /// How it came about.
    pub how: How,
    /// Whose clock its begin was read from, where that also stamped commits: a foreign member's own.
    pub base: Base,
    /// Where it started by the likeliest order of clocks that nobody compared; `start` where all were.
    pub likely: u64,
}

/// All epochs of a group on one partition, by their begin.
#[derive(Debug, Clone)]
pub struct Epochs {
    /// How they are known.
    pub watched: Watched,
    /// The epochs.
    pub list: Vec<Epoch>,
}

/// Leave to set a group's offset back once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// Not before this, on the recorder's clock.
    pub from_us: u64,
    /// Not after this.
    pub until_us: u64,
    /// To this offset; none if nobody noted it.
    pub offset: Option<u64>,
    /// Who did it.
    pub by: String,
}

/// One life of a process.
#[derive(Debug, Clone)]
struct Life {
    name: String,
    begin_us: u64,
    end_us: u64,
    frozen: Vec<(u64, u64)>,
    again: bool,
}

impl Life {
    /// The instant at which it had run for so long from another one on; none if it did not last.
    fn ran_until(&self, from_us: u64, for_us: u64) -> Option<u64> {
        let mut until = from_us.saturating_add(for_us);
        for &(stopped, continued) in &self.frozen {
            if stopped <= until && continued >= from_us {
                until = until.max(continued.saturating_add(for_us));
            }
        }
        (self.end_us >= until && until < u64::MAX).then_some(until)
    }
}

impl Index {
    /// How the positions of a group are known.
    #[must_use]
    pub fn watched(&self, group: usize) -> Watched {
        let name = &self.header.promises.groups[group].group;
        if self.vouches(Evidence::Positions) {
            return Watched::Positions;
        }
        let rebalanced = |g: &At<streamlake_history::event::Generation>| {
            &g.fact.group == name && !g.fact.members.is_empty()
        };
        if self.rare.generations.iter().any(rebalanced) {
            return Watched::Generations;
        }
        if self.rare.assignments.iter().any(|a| &a.fact.group == name) {
            return Watched::Assignments;
        }
        let member = |p: &At<streamlake_history::event::ProcessState>| p.fact.consumes_for(name);
        match self.rare.processes.iter().any(member) {
            true => Watched::Processes,
            false => Watched::Nothing,
        }
    }

    /// The epochs of a group on a partition.
    #[must_use]
    pub fn epochs(&self, group: usize, lane: usize) -> Epochs {
        let watched = self.watched(group);
        let lives = self.lives(group);
        let mut list = match watched {
            Watched::Positions => self.by_positions(group, lane, &lives),
            Watched::Generations => self.by_generations(group, &lives),
            Watched::Assignments => self.by_assignments(group, lane),
            Watched::Processes => self.by_processes(group, lane, &lives),
            Watched::Nothing => Vec::new(),
        };
        if !matches!(watched, Watched::Positions | Watched::Nothing) {
            list.extend(self.by_seeks(group, lane));
        }
        list.sort_by(|a, b| (a.begin_us, &a.member).cmp(&(b.begin_us, &b.member)));
        if watched != Watched::Positions {
            self.start_where_committed(group, lane, &mut list);
        }
        self.name_replays(group, lane, &mut list);
        Epochs { watched, list }
    }

    /// Who may set the offsets of a group on a partition back: once for each replay, and for each reset
    /// that somebody told.
    #[must_use]
    pub fn permits(&self, group: usize, lane: usize) -> Vec<Permit> {
        let name = &self.header.promises.groups[group].group;
        let place = &self.lanes[lane];
        let mut permits = Vec::new();
        let mut replays = BTreeSet::new();
        for process in &self.rare.processes {
            let fact = &process.fact;
            let ours = fact.role() == Some(ProcessRole::Replay)
                && fact.group.as_ref().is_none_or(|group| group == name);
            if ours && fact.state == ProcessChange::Started {
                let ended = self.rare.processes.iter().find(|end| {
                    end.fact.name == fact.name
                        && end.fact.state == ProcessChange::Exited
                        && end.t_us >= process.t_us
                });
                replays.insert(fact.name.as_str());
                permits.push(Permit {
                    from_us: process.t_us,
                    until_us: ended.map_or(u64::MAX, |end| end.t_us),
                    offset: None,
                    by: fact.name.clone(),
                });
            }
        }
        for reset in &self.rare.resets {
            let fact = &reset.fact;
            let ours = &fact.group == name
                && fact.topic == place.topic
                && fact.partition.is_none_or(|partition| partition == place.partition);
            // A replay that was told twice, as a process and as a reset, is one.
            if ours && !replays.contains(fact.by.as_str()) {
                permits.push(Permit {
                    from_us: reset.t_us,
                    until_us: u64::MAX,
                    offset: fact.offset,
                    by: fact.by.clone(),
                });
            }
        }
        permits.sort_by(|a, b| (a.from_us, &a.by).cmp(&(b.from_us, &b.by)));
        permits
    }

    /// The lives of all processes that are members of a group.
    fn lives(&self, group: usize) -> Vec<Life> {
        let group = &self.header.promises.groups[group].group;
        let mut lives: Vec<Life> = Vec::new();
        for process in &self.rare.processes {
            let fact = &process.fact;
            if !fact.consumes_for(group) {
                continue;
            }
            let last = lives.iter_mut().rev().find(|life| life.name == fact.name);
            match (fact.state, last) {
                (ProcessChange::Started, last) => {
                    let again = last.is_some();
                    let (name, begin_us) = (fact.name.clone(), process.t_us);
                    let frozen = Vec::new();
                    lives.push(Life { name, begin_us, end_us: u64::MAX, frozen, again });
                }
                (ProcessChange::Exited, Some(life)) => life.end_us = life.end_us.min(process.t_us),
                (ProcessChange::Stopped, Some(life)) => life.frozen.push((process.t_us, u64::MAX)),
                (ProcessChange::Continued, Some(life)) => {
                    if let Some(frozen) = life.frozen.last_mut() {
                        frozen.1 = process.t_us;
                    }
                }
                (_, None) => {}
            }
        }
        lives
    }

    /// Where only starts of processes are known: whether nothing can have cost a member its partitions
    /// between two instants. It was alone, it ran, and its brokers answered.
    #[must_use]
    pub fn undisturbed(&self, group: usize, from_us: u64, until_us: u64) -> bool {
        let lives = self.lives(group);
        let inside = |begin: u64, end: u64| begin <= until_us && end >= from_us;
        let alive = lives.iter().filter(|life| inside(life.begin_us, life.end_us));
        let frozen = |life: &Life| life.frozen.iter().any(|&(a, b)| inside(a, b));
        let alive: Vec<&Life> = alive.collect();
        let silent = |probe: &At<streamlake_history::event::Probe>| {
            probe.fact.target != "store" && !probe.fact.answered && inside(probe.t_us, probe.t_us)
        };
        let faulted = self.header.promises.faults.iter().any(|fault| {
            let of = |stage| {
                let steps = self.rare.faults.iter();
                let own = steps.filter(|s| s.fact.fault == fault.fault && s.fact.step == stage);
                own.map(|s| s.t_us).min()
            };
            let begin = of(FaultStage::Injecting).unwrap_or(u64::MAX);
            let end = of(FaultStage::Healed).unwrap_or(u64::MAX);
            !fault.kind.starts_with("store") && inside(begin, end)
        });
        alive.len() == 1
            && !alive.into_iter().any(frozen)
            && !faulted
            && !self.rare.probes.iter().any(silent)
    }

    /// For each life of a group's processes: when it ended, and when it can have written. None where not all
    /// members were seen to start.
    #[must_use]
    pub fn writers(&self, group: usize) -> Option<Vec<(u64, Vec<(u64, u64)>)>> {
        let lives = self.lives(group);
        let members = &self.header.promises.groups[group].members;
        let seen = |member: &String| lives.iter().any(|life| life.name == *member);
        let known = !members.is_empty() && members.iter().all(seen);
        known.then(|| lives.iter().map(|life| (life.end_us, self.writes(life))).collect())
    }

    /// When the process of a life can have written: while it ran, and what was on its way when it was
    /// stopped.
    fn writes(&self, life: &Life) -> Vec<(u64, u64)> {
        let mut windows = Vec::new();
        let mut from = life.begin_us;
        for &(stopped, continued) in &life.frozen {
            windows.push((from, self.carried_out(stopped)));
            // Seen to go on is later than gone on.
            from = continued.saturating_sub(IN_FLIGHT_US);
            if continued == u64::MAX {
                return windows;
            }
        }
        let end = if life.end_us == u64::MAX { u64::MAX } else { self.carried_out(life.end_us) };
        windows.push((from, end));
        windows
    }

    /// The last instant at which the store may have carried out what was asked of it before this one: a
    /// store that is under a fault, or does not answer, may do so when it is back.
    fn carried_out(&self, at_us: u64) -> u64 {
        let mut until = at_us;
        for fault in self.header.promises.faults.iter().filter(|f| f.kind.starts_with("store")) {
            let of = |stage| {
                let steps = self.rare.faults.iter();
                let own = steps.filter(|s| s.fact.fault == fault.fault && s.fact.step == stage);
                own.map(|s| s.t_us).min()
            };
            let healed = of(FaultStage::Healed).unwrap_or(u64::MAX);
            if of(FaultStage::Injecting).is_some_and(|begin| begin <= at_us) && healed >= at_us {
                until = until.max(healed);
            }
        }
        let probes = || self.rare.probes.iter().filter(|probe| probe.fact.target == "store");
        let before = probes().rfind(|probe| probe.t_us <= at_us);
        if before.is_some_and(|probe| !probe.fact.answered) {
            let back = probes().find(|probe| probe.t_us > at_us && probe.fact.answered);
            until = until.max(back.map_or(u64::MAX, |probe| probe.t_us));
        }
        until.saturating_add(IN_FLIGHT_US)
    }

    fn by_positions(&self, group: usize, lane: usize, lives: &[Life]) -> Vec<Epoch> {
        let name = &self.header.promises.groups[group].group;
        let place = &self.lanes[lane];
        let of_group: Vec<&At<Position>> =
            self.rare.positions.iter().filter(|p| &p.fact.group == name).collect();
        let here = |p: &Position| p.topic == place.topic && p.partition == place.partition;
        let asked: Vec<&Position> =
            of_group.iter().map(|p| &p.fact).filter(|position| here(position)).collect();
        let own = self.given(group, &asked, lives);
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut by_time = own.clone();
        by_time.sort_by_key(|position| (position.at_us, &position.member));
        let mut epochs = Vec::new();
        for position in by_time {
            let life = life_of(lives, &position.member, position.at_us);
            let read_until = self.read_until(position, &own, &of_group, life);
            let earlier = own.iter().any(|p| {
                p.member == position.member
                    && p.at_us < position.at_us
                    && life.is_none_or(|life| p.at_us >= life.begin_us)
            });
            let how = match position.how {
                PositionChange::Sought => How::Seek,
                PositionChange::Fetched => match life {
                    Some(life) if life.again && !earlier => How::Restart(life.name.clone()),
                    _ if seen.is_empty() => How::First,
                    _ => How::Rebalance,
                },
            };
            seen.insert(&position.member);
            let committed = || self.committed_floor(group, lane, position.at_us, position.at_us);
            let start = match (position.how, position.offset) {
                (PositionChange::Fetched, Some(offset)) => offset,
                (PositionChange::Sought, Some(offset)) => offset.max(committed()),
                (_, None) => committed(),
            };
            epochs.push(Epoch {
                member: Some(position.member.clone()),
                begin_us: position.at_us,
                start,
                end: place.end_at(read_until),
                writes: life.map_or(vec![(0, u64::MAX)], |life| self.writes(life)),
                how,
                base: Base::Recorder,
                likely: start,
            });
        }
        epochs
    }

    /// Of the positions that members were told, those from which they can have read. Who asks once more
    /// without having been dealt its partitions anew only looks at what its group has committed, unless it
    /// may go back by itself. So does who is no member, and who was dealt other partitions.
    fn given<'a>(&self, group: usize, asked: &[&'a Position], lives: &[Life]) -> Vec<&'a Position> {
        let promise = &self.header.promises.groups[group];
        let dealt: Vec<&Membership> = self
            .rare
            .memberships
            .iter()
            .map(|seen| &seen.fact)
            .filter(|fact| fact.group == promise.group)
            .collect();
        let documented = promise.consumer.is_none() && !self.is_foreign();
        let mut by_time: Vec<&Position> = asked.to_vec();
        by_time.retain(|position| {
            let named = |name: &String| is_of_process(&position.member, name);
            let member = promise.members.is_empty() || promise.members.iter().any(named);
            let seeks = position.how == PositionChange::Sought && !promise.may_seek_back;
            !documented || (member && !seeks && !dealt_others(&dealt, position))
        });
        by_time.sort_by_key(|position| position.at_us);
        let mut given: Vec<&Position> = Vec::new();
        for position in by_time {
            let watched = dealt.iter().any(|fact| fact.member == position.member);
            let life = life_of(lives, &position.member, position.at_us);
            let before = given.iter().rfind(|before| {
                let same_life = life.is_none_or(|life| before.at_us >= life.begin_us);
                before.member == position.member && same_life
            });
            let looks = before.is_some_and(|before| {
                !dealt.iter().any(|fact| {
                    fact.member == position.member
                        && (before.at_us..=position.at_us).contains(&fact.at_us)
                })
            });
            let stray = watched && looks && position.how == PositionChange::Fetched;
            if !stray || promise.may_seek_back || self.is_foreign() {
                given.push(position);
            }
        }
        given
    }

    /// Until when the member can have read from a position: its process ends, it gets its next position
    /// in the partition, it gives the partition up, or, when another member has got it, it gets any new
    /// position: then it knows, unless what it was told last is that the partition is its own. A member
    /// that was put out of its group while it answered a rebalance, and is given the same partition when
    /// it is back, has never let go of it, asks for no position, and reads on.
    fn read_until(
        &self,
        position: &Position,
        own: &[&Position],
        of_group: &[&At<Position>],
        life: Option<&Life>,
    ) -> u64 {
        let after = |p: &&&Position| p.at_us > position.at_us;
        let mine = |p: &&&Position| p.member == position.member;
        let mut until = life.map_or(u64::MAX, |life| life.end_us);
        if let Some(next) = own.iter().filter(after).filter(mine).map(|p| p.at_us).min() {
            until = until.min(next);
        }
        if let Some(taken) = own.iter().filter(after).filter(|p| !mine(p)).map(|p| p.at_us).min() {
            let next = of_group.iter().map(|p| &p.fact);
            let next = next.filter(|p| p.member == position.member && p.at_us > taken);
            let next = next.filter(|p| !self.told_to_keep(position, taken, p.at_us));
            until = next.map(|p| p.at_us).min().map_or(until, |at| until.min(at));
        }
        if let Some(let_go) = self.let_go(position, life) {
            until = until.min(let_go);
        }
        let gone = self.rare.assignments.iter().filter(|a| {
            a.fact.change != AssignmentChange::Assigned
                && a.fact.group == position.group
                && a.fact.member == position.member
                && a.fact.topic == position.topic
                && a.fact.partition == position.partition
                && a.t_us > position.at_us
        });
        gone.map(|a| a.t_us).min().map_or(until, |at| until.min(at))
    }

    /// When a member that was told of an assignment without the partition had let go of it for certain: it
    /// joined anew, and a member does that only when it has given up what was taken from it; or it had the
    /// time to give it up. None where several members share the name, as those of one process may. One that
    /// was put out comes back under another name.
    fn let_go(&self, position: &Position, life: Option<&Life>) -> Option<u64> {
        let named =
            |fact: &&Membership| fact.group == position.group && fact.member == position.member;
        let seen = || self.rare.memberships.iter().map(|seen| &seen.fact).filter(named);
        let holds = |fact: &Membership| fact.holds(&position.topic, position.partition);
        let told = seen().filter(|fact| {
            let later = fact.at_us > position.at_us;
            later && fact.change == MembershipChange::Owns && !fact.id.is_empty() && !holds(fact)
        });
        let told = told.min_by_key(|fact| fact.at_us)?;
        let mut spans: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for fact in seen().filter(|fact| !fact.id.is_empty()) {
            let span = spans.entry(&fact.id).or_insert((fact.at_us, fact.at_us));
            *span = (span.0.min(fact.at_us), span.1.max(fact.at_us));
        }
        let mut spans: Vec<(u64, u64)> = spans.into_values().collect();
        spans.sort_unstable();
        if spans.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
            return None;
        }
        let own = || seen().filter(|fact| fact.id == told.id);
        let joined = own().filter(|fact| fact.change == MembershipChange::Joined);
        let joined = joined.map(|fact| fact.at_us).find(|&at_us| at_us > told.at_us);
        let in_time = life.and_then(|life| life.ran_until(told.at_us, GIVES_UP_WITHIN_US));
        joined.into_iter().chain(in_time).min()
    }

    /// The last assignment that a member was told of in a time, as it passed on the wire, holds the
    /// partition of this position.
    fn told_to_keep(&self, position: &Position, after_us: u64, until_us: u64) -> bool {
        let told = self.rare.memberships.iter().map(|seen| &seen.fact).filter(|fact| {
            fact.change == MembershipChange::Owns
                && fact.group == position.group
                && fact.member == position.member
                && fact.at_us > after_us
                && fact.at_us <= until_us
        });
        let last = told.max_by_key(|fact| fact.at_us);
        last.is_some_and(|fact| fact.holds(&position.topic, position.partition))
    }

    fn by_generations(&self, group: usize, lives: &[Life]) -> Vec<Epoch> {
        let name = &self.header.promises.groups[group].group;
        let mut begins: Vec<u64> = self
            .rare
            .generations
            .iter()
            .filter(|seen| &seen.fact.group == name && !seen.fact.members.is_empty())
            .map(|seen| {
                let earliest = shifted(seen.fact.at_us, self.clocks.of(Base::Broker).low);
                u64::try_from(earliest).unwrap_or(0).saturating_sub(RESOLUTION_US)
            })
            .collect();
        begins.sort_unstable();
        let mut epochs = Vec::new();
        for (number, &begin_us) in begins.iter().enumerate() {
            let next = begins.get(number + 1).copied().unwrap_or(u64::MAX);
            let alive = || lives.iter().filter(|l| l.begin_us <= next && l.end_us >= begin_us);
            let previous = number.checked_sub(1).map_or(0, |before| begins[before]);
            let mut fresh = lives.iter().filter(|l| l.again);
            let fresh = fresh.find(|l| (previous..=begin_us).contains(&l.begin_us));
            let how = match fresh {
                _ if number == 0 => How::First,
                Some(life) => How::Restart(life.name.clone()),
                None => How::Rebalance,
            };
            let mut writes: Vec<(u64, u64)> = alive().flat_map(|l| self.writes(l)).collect();
            if writes.is_empty() {
                writes.push((0, u64::MAX));
            }
            let (member, start, end) = (None, 0, u64::MAX);
            let base = Base::Recorder;
            epochs.push(Epoch { member, begin_us, start, end, writes, how, base, likely: start });
        }
        epochs
    }

    /// Where members said that they went by themselves. Never below what was committed then.
    fn by_seeks(&self, group: usize, lane: usize) -> Vec<Epoch> {
        let name = &self.header.promises.groups[group].group;
        let place = &self.lanes[lane];
        let sought = self.rare.positions.iter().filter(|p| {
            p.fact.how == PositionChange::Sought
                && &p.fact.group == name
                && (p.fact.topic.as_str(), p.fact.partition) == (&place.topic, place.partition)
        });
        let epoch = |seek: &At<Position>| Epoch {
            member: Some(seek.fact.member.clone()),
            begin_us: seek.fact.at_us,
            start: seek.fact.offset.unwrap_or(0),
            end: u64::MAX,
            writes: vec![(seek.fact.at_us, u64::MAX)],
            how: How::Seek,
            base: self.clock_of_process(&seek.process),
            likely: 0,
        };
        sought.map(epoch).collect()
    }

    fn by_assignments(&self, group: usize, lane: usize) -> Vec<Epoch> {
        let name = &self.header.promises.groups[group].group;
        let place = &self.lanes[lane];
        let assigned = self.rare.assignments.iter().filter(|a| {
            a.fact.change == AssignmentChange::Assigned
                && &a.fact.group == name
                && (a.fact.topic.as_str(), a.fact.partition) == (&place.topic, place.partition)
        });
        let epoch = |(number, change): (usize, &At<streamlake_history::event::Assignment>)| Epoch {
            member: Some(change.fact.member.clone()),
            begin_us: change.t_us,
            start: 0,
            end: u64::MAX,
            writes: vec![(change.t_us, u64::MAX)],
            how: if number == 0 { How::First } else { How::Rebalance },
            base: self.clock_of_process(&change.process),
            likely: 0,
        };
        assigned.enumerate().map(epoch).collect()
    }

    /// Those that were started before anything was delivered began as one: whether they dealt the
    /// partitions out anew among them was not seen.
    fn by_processes(&self, group: usize, lane: usize, lives: &[Life]) -> Vec<Epoch> {
        let known = self.groups[group].get(&lane);
        let pieces = known.into_iter().flat_map(|known| known.durable.within((0, u64::MAX)));
        let delivered_us = pieces.map(|(_, at_us)| at_us).min().unwrap_or(u64::MAX);
        let mut epochs: Vec<Epoch> = Vec::new();
        for life in lives {
            match epochs.first_mut() {
                Some(first) if life.begin_us <= delivered_us => {
                    first.writes.extend(self.writes(life));
                }
                first => {
                    let how = match first {
                        None => How::First,
                        Some(_) => How::Restart(life.name.clone()),
                    };
                    let (member, start, end) = (None, 0, u64::MAX);
                    let (begin_us, writes) = (life.begin_us, self.writes(life));
                    let base = Base::Recorder;
                    let likely = start;
                    epochs.push(Epoch { member, begin_us, start, end, writes, how, base, likely });
                }
            }
        }
        epochs
    }

    /// The clock that a process of a foreign history stamps with.
    fn clock_of_process(&self, process: &str) -> Base {
        let number = self.processes.iter().position(|known| known == process);
        match number.and_then(|number| u16::try_from(number).ok()) {
            Some(number) if self.header.run.testbed == "foreign" => Base::Process(number),
            _ => Base::Recorder,
        }
    }

    /// The lowest offset that may have been committed at some instant of a time.
    fn committed_floor(&self, group: usize, lane: usize, from_us: u64, until_us: u64) -> u64 {
        let Some(known) = self.groups[group].get(&lane) else { return 0 };
        known.committed_low(shifted(from_us, 0), shifted(until_us, 0), &self.clocks)
    }

    /// Where only the begin of an epoch is known, it starts at the lowest offset that may have been
    /// committed until the next one began.
    fn start_where_committed(&self, group: usize, lane: usize, epochs: &mut [Epoch]) {
        let begins: Vec<u64> = epochs.iter().map(|epoch| epoch.begin_us).collect();
        // What members themselves told of their commits does not tell of a reset.
        let known = self.groups[group].get(&lane);
        let own = |known: &super::GroupLane| known.commits.iter().all(|c| c.base != Base::Broker);
        let complete = self.vouches(Evidence::CommitsComplete)
            && !(self.is_foreign() && known.is_none_or(own));
        let mut permits = self.permits(group, lane);
        for (number, epoch) in epochs.iter_mut().enumerate() {
            let next = begins[number + 1..].iter().find(|begin| **begin > epoch.begin_us);
            let next = next.copied().unwrap_or(u64::MAX);
            // What one clock stamped it orders, however it stands to others.
            let known = self.groups[group].get(&lane);
            let committed = match (epoch.base, known) {
                (Base::Process(_), Some(known)) => {
                    known.committed_when(epoch.base, epoch.begin_us, &self.clocks)
                }
                _ => self.committed_floor(group, lane, epoch.begin_us, next),
            };
            // A seek says where it went.
            epoch.start = epoch.start.max(committed);
            let likely =
                known.and_then(|k| k.committed_likely(epoch.base, epoch.begin_us, &self.clocks));
            epoch.likely = epoch.start.max(likely.unwrap_or(0));
            // Samples may have missed that the offset was set back.
            let reset = permits.iter().position(|permit| permit.from_us <= epoch.begin_us);
            if let Some(reset) = reset.filter(|_| !complete) {
                let asked = permits.remove(reset).offset.or(self.header.promises.replay_from);
                epoch.start = epoch.start.min(asked.unwrap_or(0));
                epoch.likely = epoch.start;
            }
        }
    }

    /// The first epoch after a reset owes its position to it.
    fn name_replays(&self, group: usize, lane: usize, epochs: &mut [Epoch]) {
        for permit in self.permits(group, lane) {
            let first = epochs.iter_mut().find(|epoch| epoch.begin_us >= permit.from_us);
            if let Some(epoch) = first {
                epoch.how = How::Replay;
            }
        }
    }
}

/// Whether a member is that of a process: it bears its name, or is a part of it (`consumer-1-0` of
/// `consumer-1`).
#[must_use]
pub fn is_of_process(member: &str, process: &str) -> bool {
    let rest = member.strip_prefix(process);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// What a member that asks for a position was told last to have does not hold the partition, and what it was told
/// shortly before that does not either. Several members of one process share a name: then none of them was
/// told to have it.
fn dealt_others(dealt: &[&Membership], position: &Position) -> bool {
    let holds = |fact: &Membership| fact.holds(&position.topic, position.partition);
    let recent = position.at_us.saturating_sub(GIVES_UP_WITHIN_US);
    let mut last: BTreeMap<&str, &Membership> = BTreeMap::new();
    for fact in dealt.iter().filter(|fact| {
        fact.change == MembershipChange::Owns
            && fact.member == position.member
            && fact.at_us <= position.at_us
    }) {
        if holds(fact) && fact.at_us >= recent {
            return false;
        }
        let known = last.entry(&fact.id).or_insert(fact);
        if fact.at_us >= known.at_us {
            *known = fact;
        }
    }
    !last.is_empty() && !last.values().any(|fact| holds(fact))
}

/// The life in which a member spoke: that of its process.
fn life_of<'a>(lives: &'a [Life], member: &str, at_us: u64) -> Option<&'a Life> {
    let named = |life: &&Life| is_of_process(member, &life.name);
    let spoke = |life: &&Life| life.begin_us <= at_us;
    lives.iter().filter(named).filter(spoke).max_by_key(|life| (life.begin_us, life.name.len()))
}
