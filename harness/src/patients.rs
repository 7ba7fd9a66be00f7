//! What the members of the groups under test have to lose at this moment, seen from outside: which
//! partitions they own, and how many records of them are not committed.
//!
//! Faults on consumers aim by it and say in their evidence what they met. Nothing here asks the system
//! under test: owners are known by the requests for positions that passed on their way to the brokers,
//! log ends and committed offsets are asked of the brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::observer::commits::{self, Offsets, Watch};
use crate::observer::log;
use crate::plan::Plan;
use streamlake_history::Recorder;
use streamlake_history::event::{Fact, MembershipChange};
use streamlake_history::owners::Owners;

/// Brokers answer in milliseconds; one that does not is away, and nothing is known then.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// High watermark by topic and partition.
pub(crate) type Ends = BTreeMap<(String, u32), u64>;

/// How a member stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Its partitions; none if nobody could see who owns what.
    pub(crate) owned: Option<Vec<(String, u32)>>,
    /// Records of them that were not committed; none if it could not be asked.
    pub(crate) uncommitted: Option<u64>,
}

/// The ids of the members of each group that were seen to join it.
pub(crate) type Joined = BTreeMap<String, BTreeSet<String>>;

/// The members of all groups.
pub struct Patients {
    groups: BTreeMap<String, String>,
    watch: Watch,
    owners: Arc<Mutex<Owners>>,
    joined: tokio::sync::watch::Receiver<Joined>,
}

impl Patients {
    /// For the groups of a plan. From now on it learns from what is recorded.
    pub(crate) fn new(plan: &Plan, watch: Watch, recorder: &Recorder) -> Self {
        let members = plan.groups.iter().flat_map(|group| {
            group.members.iter().map(|member| (member.clone(), group.group.clone()))
        });
        let owners: Arc<Mutex<Owners>> = Arc::default();
        let learning = owners.clone();
        let (tell, joined) = tokio::sync::watch::channel(Joined::new());
        recorder.listen(move |fact| {
            if !matches!(fact, Fact::Position(_) | Fact::Membership(_) | Fact::Process(_)) {
                return;
            }
            if let Fact::Membership(fact) = fact
                && matches!(fact.change, MembershipChange::Joined | MembershipChange::Owns)
                && !fact.id.is_empty()
            {
                tell.send_modify(|joined| {
                    joined.entry(fact.group.clone()).or_default().insert(fact.id.clone());
                });
            }
            let mut owners = learning.lock().unwrap_or_else(PoisonError::into_inner);
            match fact {
                Fact::Position(position) => owners.position(position),
                Fact::Membership(fact) => owners.membership(fact),
                Fact::Process(process) => owners.process(process),
                _ => {}
            }
        });
        Self { groups: members.collect(), watch, owners, joined }
    }

    /// Who has joined which group.
    pub(crate) fn joined(&self) -> tokio::sync::watch::Receiver<Joined> {
        self.joined.clone()
    }

    /// The partitions that a member owns; none if nobody could see who owns what.
    pub(crate) fn owned(&self, member: &str) -> Option<Vec<(String, u32)>> {
        let group = self.groups.get(member)?;
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.owned_by(group, member)
    }

    /// Where the logs end that a member's group reads.
    pub(crate) async fn ends(&self, member: &str) -> Option<Ends> {
        self.groups.get(member)?;
        let watch = self.watch.clone();
        let asked = move || log::ends(&watch.brokers, &watch.topics).ok();
        in_time(asked).await
    }

    /// All that the member's group has committed, summed over the partitions; none if it could not be asked.
    pub(crate) async fn committed(&self, member: &str) -> Option<u64> {
        let group = self.groups.get(member)?.clone();
        let mut watch = self.watch.clone();
        watch.groups = vec![group.clone()];
        let asked = move || commits::committed_now(&watch).ok()?.remove(&group);
        Some(in_time(asked).await?.values().sum())
    }

    /// Records below `ends` that the member's group has not committed: of these partitions, or of all
    /// where it is not known who owns them.
    pub(crate) async fn uncommitted(
        &self,
        member: &str,
        owned: Option<&[(String, u32)]>,
        ends: &Ends,
    ) -> Option<u64> {
        let group = self.groups.get(member)?.clone();
        let mut watch = self.watch.clone();
        watch.groups = vec![group.clone()];
        let asked = move || commits::committed_now(&watch).ok()?.remove(&group);
        let committed = in_time(asked).await?;
        Some(behind(owned, ends, &committed))
    }
}

fn behind(owned: Option<&[(String, u32)]>, ends: &Ends, committed: &Offsets) -> u64 {
    let counts = |place: &&(String, u32)| owned.is_none_or(|owned| owned.contains(place));
    let places = ends.keys().filter(counts);
    let lag = |place| {
        let end: u64 = ends.get(place).copied().unwrap_or(0);
        end.saturating_sub(committed.get(place).copied().unwrap_or(0))
    };
    places.map(lag).sum()
}

/// Runs a client of the library, whose calls block, and gives it up when it takes too long.
async fn in_time<T: Send + 'static>(ask: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
    let asking = tokio::task::spawn_blocking(ask);
    tokio::time::timeout(ANSWER_WITHIN, asking).await.ok()?.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_owned_counts_where_the_owner_is_known() {
        let place = |partition| ("t".to_owned(), partition);
        let ends = Ends::from([(place(0), 10), (place(1), 5), (place(2), 7)]);
        let committed = Offsets::from([(place(0), 8), (place(1), 5)]);
        assert_eq!(behind(Some(&[place(0)]), &ends, &committed), 2);
        assert_eq!(behind(Some(&[place(1)]), &ends, &committed), 0);
        assert_eq!(behind(Some(&[]), &ends, &committed), 0);
        assert_eq!(behind(None, &ends, &committed), 9);
    }
}
