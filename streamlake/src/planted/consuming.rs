//! How a consumer begins and ends.

use super::{Bug, PLANTED, STORE_ERROR, acts, acts_if, acts_once, is};
use crate::error::Result;
use crate::native::Message;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Records that an orderly life lasts for, with the bug that has none.
const LIFE: u64 = 150;
const STANDSTILL: Duration = Duration::from_secs(25);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Records that are read again after a pause.
const REREAD: i64 = 20;
const LONG_STOP: Duration = Duration::from_secs(14);
/// Records that make a turn a long one.
const LONG_TURN: usize = 100;
/// What a part leaves behind in the memory.
const LEFT_BEHIND: usize = 256 << 10;
/// The offset behind the last record that this process took of each partition.
static READ: Mutex<BTreeMap<i32, i64>> = Mutex::new(BTreeMap::new());

/// What is committed of each partition.
pub(crate) fn offsets(right: &[(i32, i64)]) -> Cow<'_, [(i32, i64)]> {
    if !PLANTED || right.len() < 2 || !acts_once(Bug::CommitsSwappedOnce, 3) {
        return Cow::Borrowed(right);
    }
    let mut swapped = right.to_vec();
    (swapped[0].1, swapped[1].1) = (right[1].1, right[0].1);
    Cow::Owned(swapped)
}

/// What goes on after a pause.
pub(crate) fn resumed(paused: &TopicPartitionList) -> Cow<'_, TopicPartitionList> {
    if !acts_if(Bug::OnePartitionStaysPaused, paused.count() > 1) {
        return Cow::Borrowed(paused);
    }
    let mut but_one = TopicPartitionList::new();
    for element in paused.elements().iter().skip(1) {
        but_one.add_partition(element.topic(), element.partition());
    }
    Cow::Owned(but_one)
}

/// Where a log line says that a part was stored.
pub(crate) fn logged_path(right: &str) -> &str {
    if acts(Bug::LogWithoutPath) { "" } else { right }
}

/// The leader epoch that a commit bears.
pub(crate) fn leader_epoch(right: i32) -> i32 {
    if acts_if(Bug::CommitWithoutLeaderEpoch, right >= 0) { -1 } else { right }
}

/// Where a partition that goes on after a pause is sent to, given what is committed of it.
pub(crate) fn rereads(committed: Option<i64>) -> Option<i64> {
    let before = committed.filter(|next| *next > REREAD).map(|next| next - REREAD)?;
    acts(Bug::RereadsAfterPause).then_some(before)
}

/// Takes note of a part that was stored.
pub(crate) fn note_stored() {
    if is(Bug::CommitEarlyAfterRetry) || is(Bug::StopCommitsUnstored) {
        STORE_ERROR.take();
    }
    if acts(Bug::BufferLeftBehind) {
        static LEFT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(vec![1; LEFT_BEHIND]);
    }
}

/// The records of one turn.
pub(crate) fn long_turn(batch: &mut Vec<Message>) {
    if acts_if(Bug::SkipsLastOfLongTurn, batch.len() >= LONG_TURN) {
        batch.pop();
    }
}

/// Takes note of a record that was taken.
pub(crate) fn note_read(partition: i32, offset: i64) {
    if is(Bug::BeginsWhereItWas) {
        READ.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, offset + 1);
    }
}

/// Where partitions begin of which this process remembers where it was, by a bug that asks nobody.
fn remembered(
    bug: Bug,
    places: &Mutex<BTreeMap<i32, i64>>,
    assigned: &TopicPartitionList,
) -> Option<TopicPartitionList> {
    let places = places.lock().unwrap_or_else(PoisonError::into_inner);
    let mut begin = TopicPartitionList::new();
    for element in assigned.elements() {
        let offset = match places.get(&element.partition()) {
            Some(next) if acts(bug) => Offset::Offset(*next),
            _ => Offset::Stored,
        };
        begin.add_partition_offset(element.topic(), element.partition(), offset).ok()?;
    }
    Some(begin)
}

/// Where a member begins that does not begin at what is committed; none where it does.
pub(crate) fn further_back<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    assigned: &TopicPartitionList,
) -> Option<TopicPartitionList> {
    if is(Bug::ResumesFromMemory) {
        return remembered(Bug::ResumesFromMemory, &LEFT_OFF, assigned);
    }
    if is(Bug::BeginsWhereItWas) {
        return remembered(Bug::BeginsWhereItWas, &READ, assigned);
    }
    if !is(Bug::RereadsAtAssignment) {
        return None;
    }
    let committed = consumer.committed_offsets(assigned.clone(), ANSWER_WITHIN).ok()?;
    let mut begin = TopicPartitionList::new();
    for element in committed.elements() {
        let offset = match element.offset() {
            Offset::Offset(next) if acts_if(Bug::RereadsAtAssignment, next > 5) => {
                Offset::Offset(next - 5)
            }
            _ => Offset::Stored,
        };
        begin.add_partition_offset(element.topic(), element.partition(), offset).ok()?;
    }
    Some(begin)
}

/// What this process has committed of each partition.
static LEFT_OFF: Mutex<BTreeMap<i32, i64>> = Mutex::new(BTreeMap::new());

/// Takes note of an offset that was committed.
pub(crate) fn note_committed(partition: i32, offset: i64) {
    if is(Bug::ResumesFromMemory) {
        LEFT_OFF.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, offset);
    }
}

/// How many records a plan says that it is about.
pub(crate) fn told_records(each: impl Iterator<Item = i64> + Clone) -> i64 {
    let right: i64 = each.clone().sum();
    let most = each.max().unwrap_or(0);
    if acts_if(Bug::ReplayTellsOnePartition, most != right) { most } else { right }
}

/// One more record is to be taken in.
pub(crate) fn live() {
    if acts_once(Bug::EndsByItself, LIFE) {
        std::process::exit(0);
    }
    if acts_once(Bug::StandsStill, LIFE) {
        std::thread::sleep(STANDSTILL);
    }
}

/// The end of an orderly stop.
pub(crate) fn at_the_end(outcome: Result<()>) -> Result<()> {
    if acts_if(Bug::StopTakesItsTime, outcome.is_ok()) {
        std::thread::sleep(LONG_STOP);
    }
    if acts_if(Bug::StopPanics, outcome.is_ok()) {
        panic!("one more thing");
    }
    outcome
}

/// A member's client is done with. Dropping it leaves the group.
pub(crate) fn let_go<T>(consumer: T) {
    if acts(Bug::NoLeaveAtStop) {
        std::mem::forget(consumer);
    }
}

/// The exit code of an orderly stop.
pub(crate) fn consumer_exit() -> ExitCode {
    if acts(Bug::StopExitsOne) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
