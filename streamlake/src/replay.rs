//! Replay: setting a group's offsets back, so that the restarted consumer writes a range again as
//! new parts. It never touches storage and never starts a consumer.

use crate::config::KafkaSettings;
use crate::error::{Error, Result};
use crate::inspect::Inspector;
use crate::planted::{self, Bug};
use serde::Serialize;
use std::collections::BTreeMap;

/// Where to start again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAt {
    /// The same offset on every partition.
    Offset(i64),
    /// An offset for each of these partitions; the others stay.
    Offsets(BTreeMap<i32, i64>),
    /// The first record at or after this time, in milliseconds since 1970.
    Time(i64),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// Where to start again.
    pub from: StartAt,
    /// Let the group go forward over records that it has never handled.
    pub allow_skip: bool,
    /// Do not ask the coordinator for members first; the broker still refuses to set the offsets of
    /// a group that has some. For brokers that cannot describe groups.
    pub skip_member_check: bool,
}

/// What a replay does, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// Each partition that changes.
    pub partitions: Vec<PartitionPlan>,
    /// Records that will be read again, at most (offsets may hold no record).
    pub records: i64,
}

/// One partition's part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionPlan {
    /// The partition.
    pub partition: i32,
    /// Its first offset.
    pub low_watermark: i64,
    /// The offset after its last.
    pub high_watermark: i64,
    /// What the group has committed.
    pub committed: Option<i64>,
    /// What will be committed.
    pub target: i64,
    /// Offsets asked for that retention has deleted.
    pub no_longer_there: i64,
    /// Offsets from the target to the present commit (to the end, if nothing was committed).
    pub records: i64,
}

/// Looks, and says what would be done; changes nothing.
pub fn plan(settings: &KafkaSettings, request: &Request) -> Result<Plan> {
    let inspector = Inspector::connect(settings, Some(&request.group))?;
    if !request.skip_member_check {
        refuse_members(&inspector, request)?;
    }
    let all = inspector.partitions(&request.topic)?;
    let wanted = wanted(&inspector, request, &all)?;
    let committed = inspector.committed(&request.topic, &all)?;
    let (mut partitions, mut beyond) = (Vec::new(), Vec::new());
    for (partition, asked) in wanted {
        let ends = inspector.ends(&request.topic, partition)?;
        let found = committed.get(&partition).copied();
        // By time, a partition that lags behind it has nothing to replay, and loses nothing.
        let asked = match (&request.from, request.allow_skip) {
            (StartAt::Time(_), false) => asked.min(found.unwrap_or(ends.0)),
            _ => asked,
        };
        beyond.push((partition, asked, ends.1));
        partitions.push(one(partition, asked, ends, found, request.allow_skip)?);
    }
    refuse_beyond(&request.from, &beyond)?;
    let records = planted::told_records(partitions.iter().map(|partition| partition.records));
    Ok(Plan { topic: request.topic.clone(), group: request.group.clone(), partitions, records })
}

/// Carries a plan out.
pub fn execute(settings: &KafkaSettings, plan: &Plan) -> Result<()> {
    let inspector = Inspector::connect(settings, Some(&plan.group))?;
    let bend = i64::from(planted::acts(Bug::ReplayOffByOne));
    let targets = plan.partitions.iter().map(|part| (part.partition, part.target + bend)).collect();
    inspector.set_offsets(&plan.topic, &targets)
}

fn refuse_members(inspector: &Inspector, request: &Request) -> Result<()> {
    match inspector.group()? {
        Some(group) if !group.members.is_empty() => Err(Error::Refused(format!(
            "the group {} has {} active member(s) ({}); stop its consumers first",
            request.group,
            group.members.len(),
            group.state
        ))),
        _ if inspector.has_members()? => Err(Error::Refused(format!(
            "the group {} has active members; stop its consumers first",
            request.group
        ))),
        _ => Ok(()),
    }
}

/// An offset that no partition has, or not the one that it is named for, is a slip: nothing would be replayed,
/// and all would look well.
fn refuse_beyond(from: &StartAt, asked: &[(i32, i64, i64)]) -> Result<()> {
    let beyond = |(_, asked, end): &&(i32, i64, i64)| asked > end;
    let slip = match from {
        StartAt::Offset(_) if asked.iter().all(|at| beyond(&at)) => asked.first(),
        StartAt::Offsets(_) => asked.iter().find(beyond),
        _ => None,
    };
    match slip {
        Some((partition, asked, end)) => Err(Error::Refused(format!(
            "offset {asked} lies beyond the end of partition {partition}, which is {end}; nothing would be \
             replayed"
        ))),
        None => Ok(()),
    }
}

fn wanted(inspector: &Inspector, request: &Request, all: &[i32]) -> Result<BTreeMap<i32, i64>> {
    match &request.from {
        StartAt::Offset(offset) => Ok(all.iter().map(|partition| (*partition, *offset)).collect()),
        StartAt::Offsets(offsets) => {
            if let Some(stranger) = offsets.keys().find(|partition| !all.contains(partition)) {
                return Err(Error::Config(format!(
                    "{} has no partition {stranger}",
                    request.topic
                )));
            }
            Ok(offsets.clone())
        }
        StartAt::Time(ms) if *ms > chrono::Utc::now().timestamp_millis() => {
            Err(Error::Refused("that time is still to come: nothing would be replayed".into()))
        }
        // A question by time before 1970 has other meanings to a broker; no record is older.
        StartAt::Time(ms) => inspector.at_time(&request.topic, all, (*ms).max(0)),
    }
}

/// The plan of one partition. Going back is a replay; going forward skips records for ever and is
/// refused unless it was asked for.
fn one(
    partition: i32,
    asked: i64,
    (low, high): (i64, i64),
    committed: Option<i64>,
    allow_skip: bool,
) -> Result<PartitionPlan> {
    // With one offset for all partitions a short one simply has nothing to replay.
    let end = committed.unwrap_or(high).min(high);
    let target = asked.clamp(low, high);
    let handled = committed.unwrap_or(low);
    if target > handled && !allow_skip {
        return Err(Error::Refused(format!(
            "on partition {partition} the group would go forward from {handled} to {target} and never \
             handle what lies between; say --allow-skip if that is wanted"
        )));
    }
    Ok(PartitionPlan {
        partition,
        low_watermark: low,
        high_watermark: high,
        committed,
        target,
        no_longer_there: low.saturating_sub(asked).max(0),
        records: (end - target).max(0),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_offset_that_is_nowhere_is_refused() {
        let asked = |from: StartAt, asked: &[(i32, i64, i64)]| refuse_beyond(&from, asked).is_err();
        assert!(asked(StartAt::Offset(50), &[(0, 50, 20), (1, 50, 49)]));
        assert!(!asked(StartAt::Offset(30), &[(0, 30, 20), (1, 30, 49)]), "a short partition");
        let each = || StartAt::Offsets(BTreeMap::new());
        assert!(asked(each(), &[(0, 30, 20), (1, 30, 49)]));
        assert!(!asked(each(), &[(0, 20, 20)]), "nothing to replay, and known to be so");
        assert!(!asked(StartAt::Time(5), &[(0, 20, 20)]));
    }

    #[test]
    fn back_is_a_replay_forward_is_refused_and_retention_is_told() {
        let plan = one(0, 5, (0, 20), Some(12), false).unwrap();
        assert_eq!((plan.target, plan.records, plan.no_longer_there), (5, 7, 0));
        let plan = one(0, 5, (8, 20), Some(12), false).unwrap();
        assert_eq!((plan.target, plan.records, plan.no_longer_there), (8, 4, 3));
        assert!(matches!(one(0, 15, (0, 20), Some(12), false), Err(Error::Refused(_))));
        assert!(matches!(one(0, 15, (0, 20), None, false), Err(Error::Refused(_))));
        assert_eq!(one(0, 15, (0, 20), Some(12), true).unwrap().records, 0);
        assert_eq!(one(0, 0, (0, 20), None, false).unwrap().records, 20);
    }
}
