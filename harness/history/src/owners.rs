//! Which member owns which partition, as far as it was seen on its way between members and coordinators:
//! a member is told its partitions, and asks for its position in each that it was assigned. It owns it until
//! it is told otherwise, it leaves, another one asks, or its process ends.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{
    Membership, MembershipChange, Position, PositionChange, ProcessChange, ProcessState,
};

/// The owners of the partitions of all groups. Facts are to come in the order of their instants.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    owners: BTreeMap<(String, String, u32), String>,
    told: BTreeSet<String>,
}

impl Owners {
    /// A member got a position.
    pub fn position(&mut self, position: &Position) {
        self.told.insert(position.group.clone());
        if position.how == PositionChange::Fetched {
            let place = (position.group.clone(), position.topic.clone(), position.partition);
            self.owners.insert(place, position.member.clone());
        }
    }

    /// A member was told what it owns, or left. One that was refused keeps what it has until it joins anew:
    /// nobody else has it before.
    pub fn membership(&mut self, fact: &Membership) {
        self.told.insert(fact.group.clone());
        if matches!(fact.change, MembershipChange::Owns | MembershipChange::Left) {
            let (group, member) = (&fact.group, &fact.member);
            self.owners.retain(|(of, _, _), owner| of != group || owner != member);
            for (topic, partitions) in &fact.partitions {
                for partition in partitions {
                    let place = (group.clone(), topic.clone(), *partition);
                    self.owners.insert(place, member.clone());
                }
            }
        }
    }

    /// A process started or ended: what the one before it owned is nobody's.
    pub fn process(&mut self, process: &ProcessState) {
        if matches!(process.state, ProcessChange::Started | ProcessChange::Exited) {
            self.owners.retain(|_, owner| *owner != process.name);
        }
    }

    /// The partitions of a member; none if nobody told of positions in this group at all.
    #[must_use]
    pub fn owned_by(&self, group: &str, member: &str) -> Option<Vec<(String, u32)>> {
        let of_group = self.owners.iter().filter(|((of, _, _), _)| of == group);
        let owned = of_group.filter(|(_, owner)| *owner == member);
        let places = owned.map(|((_, topic, partition), _)| (topic.clone(), *partition));
        self.told.contains(group).then(|| places.collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fetched(owners: &mut Owners, member: &str, partition: u32) {
        owners.position(&Position {
            group: "g".to_owned(),
            member: member.to_owned(),
            topic: "t".to_owned(),
            partition,
            offset: None,
            how: PositionChange::Fetched,
            at_us: 0,
        });
    }

    fn changed(owners: &mut Owners, name: &str, state: ProcessChange) {
        owners.process(&ProcessState {
            name: name.to_owned(),
            pid: 1,
            state,
            status: None,
            role: None,
            group: None,
            asked: None,
            end: None,
        });
    }

    #[test]
    fn what_a_member_is_told_replaces_what_it_had() {
        let mut owners = Owners::default();
        let mut told = |member: &str, change, partitions: &[u32]| {
            owners.membership(&Membership {
                group: "g".to_owned(),
                member: member.to_owned(),
                id: String::new(),
                change,
                generation: None,
                partitions: [("t".to_owned(), partitions.to_vec())].into(),
                refusal: None,
                at_us: 0,
            });
            ["a", "b"].map(|member| owners.owned_by("g", member).map_or(0, |owned| owned.len()))
        };
        assert_eq!(told("a", MembershipChange::Owns, &[0, 1]), [2, 0]);
        assert_eq!(told("a", MembershipChange::Owns, &[0]), [1, 0]);
        assert_eq!(told("b", MembershipChange::Owns, &[1]), [1, 1]);
        assert_eq!(told("b", MembershipChange::Refused, &[]), [1, 1]);
        assert_eq!(told("b", MembershipChange::Left, &[]), [1, 0]);
    }

    #[test]
    fn the_last_who_asked_owns_until_its_process_ends() {
        let mut owners = Owners::default();
        assert_eq!(owners.owned_by("g", "a"), None);
        fetched(&mut owners, "a", 0);
        fetched(&mut owners, "a", 1);
        fetched(&mut owners, "b", 1);
        let place = |partition| ("t".to_owned(), partition);
        assert_eq!(owners.owned_by("g", "a").unwrap(), [place(0)]);
        assert_eq!(owners.owned_by("g", "b").unwrap(), [place(1)]);
        assert_eq!(owners.owned_by("g", "c").unwrap(), []);
        changed(&mut owners, "a", ProcessChange::Stopped);
        assert_eq!(owners.owned_by("g", "a").unwrap(), [place(0)]);
        changed(&mut owners, "a", ProcessChange::Exited);
        assert_eq!(owners.owned_by("g", "a").unwrap(), []);
    }
}
