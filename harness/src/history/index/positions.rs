//! New positions of group members, by the partition that they read from there on.

use super::{Index, observe};
use crate::history::event::{PositionChange, ProcessRole};

/// The begin of an epoch of reading: from its position on, each offset can come to this member once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch {
    /// When, by the recorder's clock: nothing of this epoch came to be before it.
    pub at_us: u64,
    /// Member, by its client id.
    pub member: String,
    /// Next offset to read; none where the group had committed nothing: then the epoch begins where
    /// the group's promise says ([`crate::history::event::GroupPromise::starts`]).
    pub offset: Option<u64>,
    /// How the member came to it.
    pub how: PositionChange,
}

impl Index {
    /// The new positions of a group's members in a partition, by instant.
    #[must_use]
    pub fn positions(&self, group: usize, lane: usize) -> &[Epoch] {
        self.positions.get(&(group, lane)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn positions_in_order(&mut self) {
        observe::sort(&mut self.rare.positions);
        let facts = std::mem::take(&mut self.rare.positions);
        for fact in facts.iter().map(|position| &position.fact) {
            // Who sets a group back asks where it stands, and reads nothing.
            if self.rare.processes.iter().any(|process| {
                process.fact.name == fact.member && process.fact.role() == Some(ProcessRole::Replay)
            }) {
                continue;
            }
            let Some(group) = self.group_number(&fact.group) else { continue };
            let lane = self.lane_number(&fact.topic, fact.partition);
            let (at_us, member, how) = (fact.at_us, fact.member.clone(), fact.how);
            let epoch = Epoch { at_us, member, offset: fact.offset, how };
            self.positions.entry((group, lane)).or_default().push(epoch);
        }
        self.positions.values_mut().for_each(|epochs| epochs.sort());
        self.rare.positions = facts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::event::{Fact, Position};
    use crate::history::sample::{GROUP, Sample, TOPIC};

    #[test]
    fn positions_are_found_by_group_and_partition_in_the_order_of_their_instants() {
        let mut sample = Sample::empty(0, 2);
        for (group, partition, at_us) in
            [(GROUP, 1, 9), (GROUP, 0, 7), ("other", 1, 1), (GROUP, 1, 3)]
        {
            sample.tell(
                10,
                "coordination-watch",
                Fact::Position(Position {
                    group: group.to_owned(),
                    member: "consumer-1".to_owned(),
                    topic: TOPIC.to_owned(),
                    partition,
                    offset: None,
                    how: PositionChange::Fetched,
                    at_us,
                }),
            );
        }
        let index = indexed(&sample);
        let lane = index.by_name[TOPIC][&1];
        let at: Vec<u64> = index.positions(0, lane).iter().map(|epoch| epoch.at_us).collect();
        assert_eq!(at, [3, 9]);
        assert_eq!(index.positions(0, index.by_name[TOPIC][&0]).len(), 1);
        assert!(index.positions(1, lane).is_empty());
        assert_eq!(index.rare.positions.len(), 4);
    }

    fn indexed(sample: &Sample) -> Index {
        let mut index = Index::new(&sample.header);
        sample.events().iter().for_each(|event| index.observe(event));
        index.settle()
    }
}
