//! How a consumer begins and ends.

use super::{Bug, STORE_ERROR, acts, acts_if, acts_once, is};
use crate::error::Result;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::process::ExitCode;
use std::time::Duration;

/// Records that an orderly life lasts for, with the bug that has none.
const LIFE: u64 = 150;
const STANDSTILL: Duration = Duration::from_secs(25);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Takes note of a part that was stored.
pub(crate) fn note_stored() {
    if is(Bug::CommitEarlyAfterRetry) {
        STORE_ERROR.take();
    }
}

/// Where a member begins that goes back further than to what is committed; none where it does not.
pub(crate) fn further_back<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    assigned: &TopicPartitionList,
) -> Option<TopicPartitionList> {
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
    if acts_if(Bug::StopPanics, outcome.is_ok()) {
        panic!("one more thing");
    }
    outcome
}

/// The exit code of an orderly stop.
pub(crate) fn consumer_exit() -> ExitCode {
    if acts(Bug::StopExitsOne) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
