//! A world of models with the real core in its members, and what must hold in it at each step.

use super::broker::{Fate, Group, Kind, Log, MemberId, Said};
use super::schedule::{Random, Schedule, Step};
use super::store::{Content, Store};
use super::{Checked, Variant, broken};
use crate::config::BatchLimits;
use crate::consumer::core::{Admission, Closed, Core, Effect, Fetched, Gap, Limits, Unit};
use crate::consumer::shares::Share;
use crate::raw_zone::name::Folder;
use crate::raw_zone::numbering::{Heard, Next, Numbers, Placing};
use chrono::NaiveDate;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const DAYS: usize = 2;
/// The length of a line, and what a dead letter counts for.
const LINE: usize = 4;
const LETTER: usize = 10;
/// Records that a turn takes at most.
const TURN: usize = 7;

static ZERO: LazyLock<Instant> = LazyLock::new(Instant::now);

fn day(index: usize) -> NaiveDate {
    NaiveDate::default() + chrono::Days::new(index as u64)
}

/// What the client has to say.
#[derive(Debug, Clone)]
enum Event {
    Said(Said),
    Lost,
    Reset { partition: i32, due: i64 },
    Committed { taken: bool, offsets: Vec<(i32, i64)> },
    Stored { unit: Unit, next: i64 },
    Acknowledged { unit: Unit },
}

/// The client's fetching of one partition.
#[derive(Debug)]
struct Fetch {
    next: i64,
    epoch: u32,
    /// The answer to the request for the committed offset was refused: nothing is ever fetched.
    silent: bool,
    /// The client heard last that it is refused.
    refused: bool,
    queue: VecDeque<(i64, u32, u32)>,
}

/// A part on its way to the store.
#[derive(Debug)]
struct Upload {
    part: u64,
    unit: Unit,
    next: i64,
    day: usize,
    content: Content,
    placing: Option<Placing>,
}

struct Member<V: Variant> {
    process: usize,
    id: MemberId,
    generation: u32,
    core: Core<V::Policy>,
    events: VecDeque<Event>,
    fetches: Vec<Option<Fetch>>,
    paused: bool,
    /// The next offset that is asked for will be refused.
    refuse_offset: bool,
    /// Partitions are to be given up before the group says anything new.
    unassign_awaited: bool,
    lost: bool,
    uploads: Vec<Upload>,
    letters: Vec<(u32, Unit)>,
    /// The epoch of the last record taken of each partition.
    epochs: Vec<u32>,
}

/// A request on its way. `life` is that of the process: to a dead one there is no answer.
#[derive(Debug, Clone)]
struct Request {
    member: usize,
    life: u64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    List { part: u64, day: usize, again: bool },
    Put { part: u64, name: (usize, u64), content: Content },
    Compare { part: u64, name: (usize, u64), content: Content },
    Letter { record: u32, unit: Unit },
    Commit { id: MemberId, generation: u32, offsets: Vec<(i32, i64, u32)> },
}

struct Process<V: Variant> {
    life: u64,
    alive: bool,
    numbers: [Numbers<V::Naming>; DAYS],
    /// The writer that knows no condition writes without one after an answer that was lost.
    replaces: bool,
}

/// What a step does to the one who takes a turn.
#[derive(Debug, Clone, Copy, Default)]
struct Mishaps {
    /// It dies after so many effects.
    dies_after: Option<u8>,
    seek_fails: bool,
    commit_unsent: bool,
}

pub(super) struct World<V: Variant> {
    now: Duration,
    limits: Limits,
    eager: bool,
    lives: u64,
    parts: u64,
    random: Random,
    logs: Vec<Log>,
    fates: Vec<Fate>,
    group: Group,
    store: Store,
    processes: Vec<Process<V>>,
    members: Vec<Option<Member<V>>>,
    shared: bool,
    requests: Vec<Request>,
    /// Requests of which the sender has heard that they failed, and which are still on their way.
    late: Vec<Request>,
    /// What happened, if somebody wants to read it.
    pub(super) story: Option<Vec<String>>,
}

macro_rules! tell {
    ($world:expr, $($text:tt)+) => {
        if let Some(story) = &mut $world.story {
            story.push(format!($($text)+));
        }
    };
}

impl<V: Variant> World<V> {
    pub(super) fn new(settings: &[u8; 12], told: bool) -> Self {
        let pick =
            |index: usize, choices: &[usize]| choices[settings[index] as usize % choices.len()];
        let partitions = pick(0, &[1, 2, 3]);
        let members = pick(1, &[1, 2, 2, 3]);
        let shared = pick(2, &[0, 0, 1]) == 1;
        let eager = pick(3, &[0, 0, 1]) == 1;
        let millis = |millis: usize| Duration::from_millis(millis as u64);
        let batch = BatchLimits {
            records: pick(4, &[2, 3, 5, 100]) as u64,
            bytes: pick(5, &[1_000, 12, 20]),
            age: millis(pick(6, &[100, 500, 2_000])),
        };
        let limits = Limits {
            batch,
            share: Share { uploads: pick(7, &[1, 2, 3]), memory: pick(8, &[400, 60, 40]) },
            revoke_deadline: millis(pick(9, &[3_000, 200, 20_000])),
        };
        let processes = if shared { 1 } else { members };
        let mut world = World {
            now: Duration::ZERO,
            limits,
            eager,
            lives: 0,
            parts: 0,
            random: Random(u64::from_le_bytes([settings[10], settings[11], 0, 0, 0, 0, 0, 0])),
            logs: (0..partitions).map(|_| Log::default()).collect(),
            fates: Vec::new(),
            group: Group::new(partitions, eager),
            store: Store::default(),
            processes: Vec::new(),
            members: (0..members).map(|_| None).collect(),
            shared,
            requests: Vec::new(),
            late: Vec::new(),
            story: told.then(Vec::new),
        };
        for _ in 0..processes {
            world.processes.push(Process {
                life: 0,
                alive: false,
                numbers: Default::default(),
                replaces: false,
            });
        }
        tell!(
            world,
            "{partitions} partitions, {members} members, shared {shared}, eager {eager}, {limits:?}"
        );
        for process in 0..processes {
            world.start(process);
        }
        world
    }

    /// Lets a schedule happen, then mends everything and waits for all to be well.
    pub(super) fn run(&mut self, schedule: &Schedule) -> Checked {
        for (index, step) in schedule.steps.iter().enumerate() {
            tell!(self, "-- step {index} {step:?} at {:?}", self.now);
            self.step(step)?;
        }
        self.heal()
    }

    fn instant(&self) -> Instant {
        *ZERO + self.now
    }

    // ---------------------------------------------------------------- processes

    fn start(&mut self, index: usize) {
        if self.processes[index].alive {
            return;
        }
        self.lives += 1;
        self.processes[index] =
            Process { life: self.lives, alive: true, numbers: Default::default(), replaces: false };
        for slot in 0..self.members.len() {
            if self.process_of(slot) == index {
                let id = self.group.join();
                tell!(self, "   process {index} starts: m{slot} is member {id}");
                self.members[slot] = Some(Member {
                    process: index,
                    id,
                    generation: 0,
                    core: Core::new(self.limits),
                    events: VecDeque::new(),
                    fetches: (0..self.logs.len()).map(|_| None).collect(),
                    paused: false,
                    refuse_offset: false,
                    unassign_awaited: false,
                    lost: false,
                    uploads: Vec::new(),
                    letters: Vec::new(),
                    epochs: vec![0; self.logs.len()],
                });
            }
        }
        self.deliver();
    }

    fn process_of(&self, slot: usize) -> usize {
        if self.shared { 0 } else { slot }
    }

    /// A process dies. Its members stay in the group until they are thrown out, its requests on their way.
    fn crash(&mut self, process: usize) {
        tell!(self, "   process {process} dies");
        self.processes[process].alive = false;
        for slot in 0..self.members.len() {
            if self.process_of(slot) == process {
                self.members[slot] = None;
            }
        }
    }

    /// Throws out of the group whoever is dead.
    fn bury_dead(&mut self) {
        let alive: Vec<MemberId> = self.members.iter().flatten().map(|member| member.id).collect();
        for id in self.group.members.clone() {
            if !alive.contains(&id) {
                tell!(self, "   the group throws out the dead member {id}");
                self.group.remove(id);
            }
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        while let Some((id, said)) = self.group.outbox.pop_front() {
            if let Some(member) = self.members.iter_mut().flatten().find(|member| member.id == id) {
                member.events.push_back(Event::Said(said));
            }
        }
    }

    // ---------------------------------------------------------------- steps

    fn step(&mut self, &[what, who, how, much]: &Step) -> Checked {
        let slot = who as usize % self.members.len();
        let number = who as usize % self.logs.len();
        match what {
            0..40 => self.produce(number, how, much),
            40..130 => {
                let mishaps = Mishaps {
                    dies_after: (how >= 248).then_some(how % 4),
                    seek_fails: how % 16 == 1,
                    commit_unsent: how % 16 == 2,
                };
                let fetch = usize::from(much % 8);
                let take = usize::from(much / 8) % (TURN + 1);
                self.turn(slot, fetch, take, mishaps)?;
            }
            130..195 => self.serve(who as usize, how, much)?,
            195..210 => {
                let pause = [10, 100, 500, 1_500, 5_000, 11_000, 61_000][how as usize % 7];
                self.now += Duration::from_millis(pause);
            }
            210..217 => {
                tell!(self, "   the group spreads its partitions anew");
                self.group.shuffle(how as usize % 4);
                self.deliver();
            }
            217..222 => self.evict(slot),
            222..227 => self.notice(slot),
            227..231 => self.crash(self.process_of(slot)),
            231..236 => {
                self.bury_dead();
                self.start(self.process_of(slot));
            }
            236..238 => self.stop(slot, how)?,
            238..241 => {
                let count = usize::from(how % 8);
                self.logs[number].expire(count, &mut self.fates);
                tell!(self, "   p{number} begins at {} now", self.logs[number].start);
            }
            241..243 => {
                self.logs[number].truncate(usize::from(how % 6), &mut self.fates);
                tell!(self, "   p{number} is cut back to {}", self.logs[number].end());
            }
            243..247 => self.fetch_again(slot, how, much),
            247 => {
                self.logs[number].refused ^= true;
                tell!(self, "   p{number} is refused: {}", self.logs[number].refused);
            }
            248 => {
                if let Some(member) = &mut self.members[slot] {
                    member.refuse_offset = true;
                }
            }
            249..=255 => {
                if !self.late.is_empty() {
                    let request = self.late.swap_remove(who as usize % self.late.len());
                    tell!(self, "   lands late: {:?}", request.what);
                    self.apply(&request)?;
                }
            }
        }
        Ok(())
    }

    fn produce(&mut self, number: usize, how: u8, much: u8) {
        for index in 0..1 + much % 4 {
            let record = match how.wrapping_add(index.wrapping_mul(83)) {
                0..40 => Some(Kind::Poison),
                40..70 => None,
                70..110 => Some(Kind::Good { day: 1 }),
                _ => Some(Kind::Good { day: 0 }),
            };
            self.append(number, record);
        }
    }

    fn append(&mut self, partition: usize, record: Option<Kind>) {
        let offset = self.logs[partition].end();
        tell!(self, "   p{partition} gets {offset}: {record:?}");
        let id = record.map(|kind| {
            self.fates.push(Fate {
                partition,
                offset,
                kind,
                stored: false,
                acknowledged: false,
                expired: false,
                before_all: false,
                second: self.logs[partition].is_second(),
                cut_off: false,
                reported: false,
            });
            self.fates.len() as u32 - 1
        });
        self.logs[partition].append(id);
    }

    /// The coordinator hears nothing of a member and gives its partitions to others.
    fn evict(&mut self, slot: usize) {
        if let Some(member) = &self.members[slot] {
            tell!(self, "   the group throws out m{slot}");
            self.group.remove(member.id);
            self.deliver();
        }
    }

    /// A member hears that it was thrown out.
    fn notice(&mut self, slot: usize) {
        let Some(member) = &mut self.members[slot] else { return };
        if self.group.has(member.id) || member.lost {
            return;
        }
        tell!(self, "   m{slot} hears that it was thrown out");
        member.lost = true;
        if !member.unassign_awaited {
            member.events.push_back(Event::Lost);
        }
    }

    fn stop(&mut self, slot: usize, how: u8) -> Checked {
        let now = self.instant();
        let Some(member) = &mut self.members[slot] else { return Ok(()) };
        if member.core.stopping() {
            return Ok(());
        }
        tell!(self, "   m{slot} is told to stop");
        let deadline = [2_000, 100, 20_000][how as usize % 3];
        member.core.stop(now + Duration::from_millis(deadline), true);
        self.turn(slot, 0, 0, Mishaps::default())
    }

    /// The client fetches something a second time, and throws away what it holds.
    fn fetch_again(&mut self, slot: usize, how: u8, much: u8) {
        let number = how as usize % self.logs.len();
        let Some(member) = &mut self.members[slot] else { return };
        let Some(fetch) = &mut member.fetches[number] else { return };
        let front = fetch.queue.front().map(|(offset, _, epoch)| (*offset, *epoch));
        let (given, epoch) = front.unwrap_or((fetch.next, fetch.epoch));
        fetch.next = (given - i64::from(much % 8)).max(0);
        fetch.epoch = epoch;
        fetch.queue.clear();
        tell!(self, "   m{slot} fetches p{number} from {} again", fetch.next);
    }

    // ---------------------------------------------------------------- a member's turn

    /// One turn of the loop, as the polling thread makes it.
    fn turn(&mut self, slot: usize, fetch: usize, take: usize, mut mishaps: Mishaps) -> Checked {
        let now = self.instant();
        if self.members[slot].is_none() {
            return Ok(());
        }
        tell!(self, "   m{slot} turns");
        self.client_events(slot, now, &mut mishaps)?;
        let Some(member) = &mut self.members[slot] else { return Ok(()) };
        let lost = member.lost;
        member.core.tick(lost, now);
        self.perform_all(slot, &mut mishaps)?;
        let Some(member) = &self.members[slot] else { return Ok(()) };
        let full = member.core.is_full();
        if let Some(drained) = member.core.drained(now) {
            return self.ended(slot, drained);
        }
        for number in 0..self.logs.len() {
            self.fetch(slot, number, fetch);
        }
        if !full {
            self.client_events(slot, now, &mut mishaps)?;
            self.take(slot, take, now)?;
        }
        self.check(slot)
    }

    fn client_events(&mut self, slot: usize, now: Instant, mishaps: &mut Mishaps) -> Checked {
        while let Some(member) = &mut self.members[slot]
            && let Some(event) = member.events.pop_front()
        {
            if !matches!(event, Event::Said(_)) {
                tell!(self, "   m{slot} hears {event:?}");
            }
            match event {
                Event::Said(Said::Assigned { partitions, generation }) => {
                    member.generation = generation;
                    member.core.assigned(&partitions, now);
                    tell!(self, "   m{slot} is given {partitions:?} in generation {generation}");
                }
                Event::Said(Said::Revoked(partitions)) => {
                    member.unassign_awaited = true;
                    member.core.revoked(&partitions, member.lost, now);
                    tell!(self, "   m{slot} is to give up {partitions:?}");
                }
                Event::Lost => {
                    let held = (0..member.fetches.len()).filter(|n| member.fetches[*n].is_some());
                    let held: Vec<i32> = held.map(|number| number as i32).collect();
                    member.unassign_awaited = true;
                    member.core.revoked(&held, true, now);
                }
                Event::Reset { partition, due } => member.core.offset_reset(partition, due),
                Event::Committed { taken, offsets } => {
                    member.core.commit_answered(taken, &offsets, now);
                }
                Event::Stored { unit, next } => {
                    member.core.stored(unit, next);
                }
                Event::Acknowledged { unit } => {
                    member.core.dead_lettered(unit);
                }
            }
            self.perform_all(slot, mishaps)?;
        }
        Ok(())
    }

    /// Does what the core wants done. At any of these a process may die.
    fn perform_all(&mut self, slot: usize, mishaps: &mut Mishaps) -> Checked {
        let now = self.instant();
        while let Some(member) = &mut self.members[slot]
            && let Some(effect) = member.core.next_effect()
        {
            if let Some(left) = &mut mishaps.dies_after {
                if *left == 0 {
                    self.crash(self.process_of(slot));
                    return Ok(());
                }
                *left -= 1;
            }
            match effect {
                Effect::Assign { partitions, paused } => {
                    for number in partitions {
                        self.assign(slot, number as usize, None);
                    }
                    if let Some(member) = &mut self.members[slot] {
                        member.paused = paused;
                    }
                }
                Effect::GiveUp { partitions, settled } => self.give_up(slot, &partitions, settled),
                Effect::Retake { partition, held } => {
                    tell!(self, "   m{slot} takes p{partition} on again");
                    if self.eager {
                        for (other, next) in held {
                            self.assign(slot, other as usize, next);
                        }
                    } else {
                        self.assign(slot, partition as usize, None);
                    }
                }
                Effect::Store(closed) => self.store(slot, closed),
                Effect::Commit(offsets) => {
                    self.commit(slot, &offsets, mishaps)?;
                    if mishaps.commit_unsent
                        && let Some(member) = &mut self.members[slot]
                    {
                        member.core.commit_unsent(now);
                    }
                }
                Effect::Seek { partition, offset } => {
                    if mishaps.seek_fails {
                        continue;
                    }
                    tell!(self, "   m{slot} goes back to p{partition}/{offset}");
                    if let Some(fetch) = &mut member.fetches[partition as usize] {
                        fetch.queue.clear();
                        fetch.next = offset;
                        fetch.silent = false;
                        member.core.sought(partition, offset);
                    }
                }
                Effect::Pause(pause) => member.paused = pause,
            }
        }
        Ok(())
    }

    fn assign(&mut self, slot: usize, number: usize, next: Option<i64>) {
        let log = &self.logs[number];
        let Some(member) = &mut self.members[slot] else { return };
        let (stored, epoch) = log.committed.unwrap_or((log.start, log.epoch));
        let silent = next.is_none() && std::mem::take(&mut member.refuse_offset);
        member.fetches[number] = Some(Fetch {
            next: next.unwrap_or(stored),
            epoch: if next.is_some() { member.epochs[number] } else { epoch },
            silent,
            refused: false,
            queue: VecDeque::new(),
        });
        tell!(self, "   m{slot} has p{number} from {next:?}, else {stored}; silent {silent}");
    }

    fn give_up(&mut self, slot: usize, partitions: &[i32], settled: bool) {
        tell!(self, "   m{slot} gives up {partitions:?}, settled {settled}");
        let Some(member) = &mut self.members[slot] else { return };
        for number in partitions {
            member.fetches[*number as usize] = None;
        }
        if self.eager {
            member.fetches.fill_with(|| None);
        }
        member.unassign_awaited = false;
        if !member.lost {
            let id = member.id;
            self.group.gave_up(id, partitions);
            return self.deliver();
        }
        if member.fetches.iter().any(Option::is_some) {
            return member.events.push_back(Event::Lost);
        }
        // What the group still said to the member that it was is not for the one that it will be.
        member.events.retain(|event| !matches!(event, Event::Said(_) | Event::Lost));
        member.lost = false;
        member.id = self.group.join();
        tell!(self, "   m{slot} joins again");
        self.deliver();
    }

    /// The client fetches, and passes what holds no record.
    fn fetch(&mut self, slot: usize, number: usize, count: usize) {
        let log = &self.logs[number];
        let Some(member) = &mut self.members[slot] else { return };
        let Some(fetch) = member.fetches[number].as_mut().filter(|fetch| !fetch.silent) else {
            return;
        };
        let partition = number as i32;
        fetch.refused = log.refused;
        if log.refused {
            let next = Some(fetch.next);
            let fetched = Fetched { end: None, next, active: true, answered: false };
            return member.core.fetched(partition, &fetched);
        }
        if fetch.epoch < log.epoch {
            // The broker tells where the log was cut, and the client goes there.
            let cut = log.cut_since(fetch.epoch).filter(|cut| *cut < fetch.next);
            fetch.epoch = log.epoch;
            if let Some(cut) = cut {
                member.events.push_back(Event::Reset { partition, due: fetch.next });
                fetch.next = cut;
            }
        }
        if fetch.next < log.start || fetch.next > log.end() {
            member.events.push_back(Event::Reset { partition, due: fetch.next });
            fetch.next = log.start;
        }
        let mut left = count;
        while left > 0
            && fetch.queue.len() < 2 * TURN
            && let Some(entry) = log.at(fetch.next)
        {
            if let Some(record) = entry.record {
                fetch.queue.push_back((fetch.next, record, entry.epoch));
                left -= 1;
            }
            fetch.next += 1;
        }
        if count > 0 {
            let (end, next) = (Some(log.end()), Some(fetch.next));
            let fetched = Fetched { end, next, active: true, answered: true };
            member.core.fetched(partition, &fetched);
        }
    }

    /// Takes records, of one partition after the other.
    fn take(&mut self, slot: usize, count: usize, now: Instant) -> Checked {
        for _ in 0..count {
            let Some(member) = &mut self.members[slot] else { return Ok(()) };
            if member.paused {
                return Ok(());
            }
            let next = member
                .fetches
                .iter_mut()
                .enumerate()
                .find_map(|(number, fetch)| Some((number, fetch.as_mut()?.queue.pop_front()?)));
            let Some((number, (offset, record, epoch))) = next else { return Ok(()) };
            let partition = number as i32;
            let gap = match member.core.admit(partition, offset, now) {
                Admission::PassOver => {
                    tell!(self, "   m{slot} passes over p{number}/{offset}");
                    continue;
                }
                Admission::WentBack { restart_at, gap } => {
                    tell!(self, "   m{slot} meets p{number}/{offset}: from {restart_at} again");
                    if let Some(gap) = gap {
                        self.report(number, &gap)?;
                    }
                    continue;
                }
                Admission::Take(gap) => gap,
            };
            member.epochs[number] = epoch;
            tell!(self, "   m{slot} takes p{number}/{offset}");
            match self.fates[record as usize].kind {
                Kind::Good { day: index } => {
                    member.core.add((partition, offset), day(index), LINE, now, |line| {
                        line.extend_from_slice(&record.to_le_bytes());
                    });
                }
                Kind::Poison => {
                    if let Some(unit) = member.core.bury(partition, offset, LETTER) {
                        member.letters.push((record, unit));
                        self.send(slot, What::Letter { record, unit });
                    }
                }
            }
            if let Some(gap) = gap {
                self.report(number, &gap)?;
            }
        }
        Ok(())
    }

    /// A gap is told: all of it must be gone from the log, or have been read.
    fn report(&mut self, number: usize, gap: &Gap) -> Checked {
        tell!(self, "   a gap in p{number}: {gap:?}");
        for fate in self.fates.iter_mut().filter(|fate| fate.partition == number) {
            if !(gap.due..gap.goes_on_at).contains(&fate.offset) || fate.cut_off || fate.durable() {
                continue;
            }
            // Told by what the client still held of the log before it was cut back: it will go back there.
            if fate.second && !fate.expired {
                continue;
            }
            if !fate.expired {
                return broken(
                    "only what is gone is called gone",
                    format!("{gap:?} in partition {number}, which still holds {}", fate.offset),
                );
            }
            fate.reported = true;
        }
        Ok(())
    }

    fn store(&mut self, slot: usize, Closed { unit, date, buffer }: Closed) {
        let day = if date == day(0) { 0 } else { 1 };
        let next = buffer.span().last_offset + 1;
        let folder = Folder { dataset: String::new(), date };
        let sealed = buffer.seal(folder, "", unit.partition);
        let bytes = sealed.chunks.concat();
        let content: Content = bytes
            .chunks_exact(LINE)
            .map(|line| u32::from_le_bytes([line[0], line[1], line[2], line[3]]))
            .collect();
        self.parts += 1;
        let part = self.parts;
        tell!(self, "   m{slot} stores {unit:?} as part {part}: {content:?}");
        let Some(member) = &mut self.members[slot] else { return };
        let number = self.processes[member.process].numbers[day].take();
        let placing = number.map(Placing::new);
        member.uploads.push(Upload { part, unit, next, day, content, placing });
        self.ask(slot, part, if number.is_some() { Next::Put } else { Next::List });
    }

    /// Asks the store for what a part needs next.
    fn ask(&mut self, slot: usize, part: u64, next: Next) {
        let Some(member) = &self.members[slot] else { return };
        let Some(upload) = member.uploads.iter().find(|upload| upload.part == part) else { return };
        let content = Rc::clone(&upload.content);
        let name = (upload.day, upload.placing.as_ref().map_or(0, |placing| placing.number));
        let what = match next {
            Next::Put => What::Put { part, name, content },
            Next::Compare => What::Compare { part, name, content },
            Next::List => What::List { part, day: upload.day, again: upload.placing.is_some() },
            Next::Placed => return,
        };
        self.send(slot, what);
    }

    fn send(&mut self, slot: usize, what: What) {
        let life = self.processes[self.process_of(slot)].life;
        self.requests.push(Request { member: slot, life, what });
    }

    /// The heart of it: what is committed must be durable.
    fn commit(&mut self, slot: usize, offsets: &[(i32, i64)], mishaps: &Mishaps) -> Checked {
        tell!(self, "   m{slot} commits {offsets:?}");
        let Some(member) = &self.members[slot] else { return Ok(()) };
        let mut request = Vec::new();
        for (partition, next) in offsets {
            let number = *partition as usize;
            if member.fetches[number].is_none() {
                return broken(
                    "only what is owned is committed",
                    format!("m{slot} commits {partition}:{next}, which it has given up"),
                );
            }
            let (log, epoch) = (&self.logs[number], member.epochs[number]);
            // What was appended behind a cut that this member cannot know of yet is not its business:
            // whoever begins at this offset is told of the cut, because the epoch is committed, too.
            for offset in log.start..(*next).min(log.end()) {
                let Some(entry) = log.at(offset).filter(|entry| entry.epoch <= epoch) else {
                    continue;
                };
                let Some(record) = entry.record else { continue };
                let fate = &self.fates[record as usize];
                if !fate.durable() {
                    let rule = match fate.kind {
                        Kind::Poison => "a dead letter is acknowledged before it counts",
                        Kind::Good { .. } => "what is committed is durable",
                    };
                    return broken(
                        rule,
                        format!("m{slot} commits {partition}:{next}, and {offset} is nowhere"),
                    );
                }
            }
            request.push((*partition, *next, epoch));
        }
        if !mishaps.commit_unsent {
            let (id, generation) = (member.id, member.generation);
            self.send(slot, What::Commit { id, generation, offsets: request });
        }
        Ok(())
    }

    /// The way out is at its end.
    fn ended(&mut self, slot: usize, drained: bool) -> Checked {
        tell!(self, "   m{slot} ends, drained {drained}");
        let Some(member) = &self.members[slot] else { return Ok(()) };
        for (number, state) in member.core.assigned_partitions() {
            let position = state.frontier.position().unwrap_or(0);
            let committed = self.logs[number as usize].committed_max;
            if drained && committed < position {
                return broken(
                    "a drained member has committed all",
                    format!("m{slot} read {number} to {position}; the group is at {committed}"),
                );
            }
        }
        let (id, process) = (member.id, member.process);
        self.group.remove(id);
        self.crash(process);
        self.deliver();
        Ok(())
    }

    // ---------------------------------------------------------------- requests

    /// The store, the broker or the network deals with one request.
    fn serve(&mut self, which: usize, how: u8, much: u8) -> Checked {
        if self.requests.is_empty() {
            return Ok(());
        }
        // Mostly the oldest comes first.
        let index = if much.is_multiple_of(3) { which % self.requests.len() } else { 0 };
        let request = self.requests.remove(index);
        match how {
            // It fails and is gone.
            0..25 => {
                tell!(self, "   fails: {:?}", request.what);
                self.failed(&request)
            }
            // It works, and the answer is lost.
            25..60 => {
                tell!(self, "   works unanswered: {:?}", request.what);
                self.apply(&request)?;
                self.failed(&request)
            }
            // It is given up and works later.
            60..85 => {
                tell!(self, "   is late: {:?}", request.what);
                self.late.push(request.clone());
                self.failed(&request)
            }
            // A commit that is never answered at all.
            85..90 if matches!(request.what, What::Commit { .. }) => {
                tell!(self, "   is never answered: {:?}", request.what);
                Ok(())
            }
            _ => {
                tell!(self, "   works: {:?}", request.what);
                self.answer(&request)
            }
        }
    }

    /// What a request does to the world, whoever hears of it. Says whether it did.
    fn apply(&mut self, request: &Request) -> Checked<bool> {
        match &request.what {
            What::List { .. } | What::Compare { .. } => Ok(false),
            What::Put { part, name, content } => {
                let replace = self.processes[self.process_of(request.member)].replaces;
                let created = self.store.put(*name, content, *part, replace)?;
                if created {
                    for record in content.iter() {
                        self.fates[*record as usize].stored = true;
                    }
                }
                Ok(created)
            }
            What::Letter { .. } => Ok(true),
            What::Commit { id, generation, offsets } => {
                let mut taken = true;
                for (partition, next, epoch) in offsets {
                    taken &= self.group.takes(*id, *generation, *partition)?;
                    if taken {
                        let log = &mut self.logs[*partition as usize];
                        log.committed = Some((*next, *epoch));
                        log.committed_max = log.committed_max.max(*next);
                    }
                }
                Ok(taken)
            }
        }
    }

    /// The member whose process still lives.
    fn sender(&mut self, request: &Request) -> Option<&mut Member<V>> {
        let process = &self.processes[self.process_of(request.member)];
        if process.life != request.life || !process.alive {
            return None;
        }
        self.members[request.member].as_mut()
    }

    /// Nothing certain is heard of a request.
    fn failed(&mut self, request: &Request) -> Checked {
        let slot = request.member;
        if self.sender(request).is_none() {
            return Ok(());
        }
        match &request.what {
            What::Put { part, .. } | What::Compare { part, .. } => {
                if !V::CONDITIONAL {
                    let process = self.process_of(slot);
                    self.processes[process].replaces = true;
                }
                self.heard(slot, *part, Heard::Nothing)
            }
            What::List { .. } | What::Letter { .. } => {
                self.requests.push(request.clone());
                Ok(())
            }
            What::Commit { .. } => {
                self.committed(request, false);
                Ok(())
            }
        }
    }

    fn committed(&mut self, request: &Request, taken: bool) {
        let What::Commit { offsets, .. } = &request.what else { return };
        let offsets = offsets.iter().filter(|_| taken).map(|(p, next, _)| (*p, *next)).collect();
        if let Some(member) = self.sender(request) {
            member.events.push_back(Event::Committed { taken, offsets });
        }
    }

    fn answer(&mut self, request: &Request) -> Checked {
        let slot = request.member;
        let done = self.apply(request)?;
        if self.sender(request).is_none() {
            return Ok(());
        }
        match &request.what {
            What::List { part, day, again } => {
                let highest = self.store.highest(*day);
                let random = self.random.next();
                let process = self.process_of(slot);
                let numbers = &mut self.processes[process].numbers[*day];
                let upload = self.members[slot].as_mut().and_then(|member| {
                    member.uploads.iter_mut().find(|upload| upload.part == *part)
                });
                let Some(upload) = upload else { return Ok(()) };
                match &mut upload.placing {
                    Some(placing) if *again => {
                        placing.elsewhere(numbers, highest, |bound| random % bound);
                    }
                    placing => {
                        numbers.listed(highest);
                        *placing = numbers.take().map(Placing::new);
                    }
                }
                self.ask(slot, *part, Next::Put);
                Ok(())
            }
            What::Put { part, .. } => {
                self.heard(slot, *part, if done { Heard::Created } else { Heard::Exists })
            }
            What::Compare { part, name, content } => {
                let same = self.store.holds(*name, content);
                self.heard(slot, *part, if same { Heard::Same } else { Heard::Different })
            }
            What::Letter { record, unit } => {
                let (record, unit) = (*record, *unit);
                self.fates[record as usize].acknowledged = true;
                if let Some(member) = &mut self.members[slot] {
                    member.letters.retain(|(other, with)| (*other, *with) != (record, unit));
                    member.events.push_back(Event::Acknowledged { unit });
                }
                Ok(())
            }
            What::Commit { .. } => {
                self.committed(request, done);
                Ok(())
            }
        }
    }

    /// The store answered about a part.
    fn heard(&mut self, slot: usize, part: u64, heard: Heard) -> Checked {
        let process = self.process_of(slot);
        let Some(member) = &mut self.members[slot] else { return Ok(()) };
        let Some(index) = member.uploads.iter().position(|upload| upload.part == part) else {
            return Ok(());
        };
        let upload = &mut member.uploads[index];
        let Some(placing) = &mut upload.placing else { return Ok(()) };
        let name = (upload.day, placing.number);
        let next = placing.heard(heard, &mut self.processes[process].numbers[upload.day]);
        if next != Next::Placed {
            self.ask(slot, part, next);
            return Ok(());
        }
        let Upload { unit, next, content, .. } = member.uploads.swap_remove(index);
        if !self.store.holds(name, &content) {
            return broken(
                "what counts as stored is in the store",
                format!(
                    "m{slot} counts part {part} as stored at {name:?}, which holds other bytes"
                ),
            );
        }
        for record in content.iter() {
            self.fates[*record as usize].stored = true;
        }
        member.events.push_back(Event::Stored { unit, next });
        Ok(())
    }

    // ---------------------------------------------------------------- what must hold

    /// The books of one member.
    fn check(&self, slot: usize) -> Checked {
        let Some(member) = &self.members[slot] else { return Ok(()) };
        let core = &member.core;
        let unheard = member.events.iter().filter_map(|event| match event {
            Event::Stored { unit, .. } | Event::Acknowledged { unit } => Some(unit),
            _ => None,
        });
        let outside = member.uploads.iter().map(|upload| &upload.unit);
        let outside = outside.chain(member.letters.iter().map(|(_, unit)| unit)).chain(unheard);
        let work: Vec<&Unit> = outside.chain(core.waiting()).collect();
        let open = core.assigned_partitions().flat_map(|(_, state)| &state.open);
        let open: usize = open.map(|(_, part)| part.bytes()).sum();
        let held = open + work.iter().map(|unit| unit.bytes).sum::<usize>();
        if held != core.held_bytes() {
            return broken(
                "memory is counted",
                format!("m{slot} holds {held} bytes and counts {}", core.held_bytes()),
            );
        }
        if held > self.limits.share.memory + TURN * LETTER {
            return broken("memory is bounded", format!("m{slot} holds {held} bytes"));
        }
        for (number, state) in core.assigned_partitions() {
            let fetch = member.fetches[number as usize].as_ref();
            if fetch.is_some_and(|fetch| fetch.refused) && !state.progress().has_work() {
                return broken(
                    "what is refused is not idle",
                    format!("m{slot} takes p{number} for idle: {:?}", state.progress()),
                );
            }
            let own = |unit: &&&Unit| unit.partition == number && unit.epoch == state.epoch;
            let mut units: Vec<i64> =
                work.iter().filter(own).map(|unit| unit.first_offset).collect();
            units.extend(state.open.iter().map(|(_, part)| part.span().first_offset));
            units.sort_unstable();
            if !state.frontier.units().eq(units.iter().copied()) {
                return broken(
                    "no unit of work is forgotten",
                    format!(
                        "m{slot} waits for {:?} in partition {number}, and is at work on {units:?}",
                        state.frontier.units().collect::<Vec<_>>()
                    ),
                );
            }
        }
        Ok(())
    }

    /// All faults end. In a bounded time everything must be durable and committed, and told what is not.
    fn heal(&mut self) -> Checked {
        tell!(self, "-- all is well from here on");
        for request in std::mem::take(&mut self.late) {
            self.apply(&request)?;
        }
        for process in 0..self.processes.len() {
            self.start(process);
        }
        self.bury_dead();
        for number in 0..self.logs.len() {
            self.logs[number].refused = false;
            self.append(number, Some(Kind::Good { day: 0 }));
        }
        for round in 0..90 {
            for slot in 0..self.members.len() {
                if let Some(member) = &mut self.members[slot] {
                    member.refuse_offset = false;
                }
                self.notice(slot);
                self.turn(slot, TURN, TURN, Mishaps::default())?;
            }
            for _ in 0..self.requests.len() {
                let request = self.requests.remove(0);
                self.answer(&request)?;
            }
            if self.is_well() {
                return self.judge();
            }
            self.now += Duration::from_millis(if round < 20 { 500 } else { 5_000 });
            for process in 0..self.processes.len() {
                self.start(process);
            }
            self.bury_dead();
        }
        let committed: Vec<_> = self.logs.iter().map(|log| (log.committed, log.end())).collect();
        broken("work goes on", format!("nothing is wrong any more, and still: {committed:?}"))
    }

    fn is_well(&self) -> bool {
        // An offset that was committed before the log was cut back is not the end, even if it looks so.
        let committed = |log: &Log| log.committed == Some((log.end(), log.epoch));
        let idle = |member: &Member<V>| member.core.held_bytes() == 0 && member.events.is_empty();
        self.group.settled()
            && self.requests.is_empty()
            && self.logs.iter().all(committed)
            && self.members.iter().flatten().all(idle)
    }

    /// The end of it: nothing was lost in silence.
    fn judge(&self) -> Checked {
        for (record, fate) in self.fates.iter().enumerate() {
            // One that took the offset of a record that was cut off, and expired before anybody met it, cannot
            // be told from that one by its offset.
            let told = fate.expired && (fate.reported || fate.before_all || fate.second);
            if !fate.durable() && !fate.cut_off && !told {
                return broken("nothing is lost in silence", format!("record {record}: {fate:?}"));
            }
        }
        Ok(())
    }
}
