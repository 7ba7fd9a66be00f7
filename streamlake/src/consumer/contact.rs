//! How a member stands with its brokers and its group, for health.

use super::context::Seen;
use crate::observe::health::Standing;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// What is known of a member's contact.
#[derive(Debug, Default)]
pub(super) struct Contact {
    connected: bool,
    joined: bool,
    /// It had partitions at least once.
    pub(super) has_been_assigned: bool,
    assigned: usize,
    refusal: Option<String>,
}

impl Contact {
    /// The client's statistics came.
    pub(super) fn seen(&mut self, seen: &Seen) {
        self.connected = seen.connected;
        self.joined = seen.joined;
    }

    /// Partitions were assigned. Whatever was refused before is over.
    pub(super) fn assigned(&mut self, partitions: usize) {
        self.connected = true;
        self.joined = true;
        self.assigned = partitions;
        if partitions > 0 {
            self.has_been_assigned = true;
            self.refusal = None;
        }
    }

    /// Partitions were given up.
    pub(super) fn holds(&mut self, partitions: usize) {
        self.assigned = partitions;
    }

    /// The client reports an error. One that explains why a member has no partitions is remembered.
    pub(super) fn refused(&mut self, err: &KafkaError) {
        let refusal = matches!(
            err.rdkafka_error_code(),
            Some(
                Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::InconsistentGroupProtocol
                    | Code::InvalidTopic
                    | Code::ClusterAuthorizationFailed
            )
        );
        if refusal {
            self.refusal = Some(err.to_string());
        }
    }

    /// For health. A refusal counts while there are no partitions because of it.
    pub(super) fn standing(&self, stopping: bool) -> Standing {
        Standing {
            connected: self.connected,
            joined: self.joined,
            refusal: self.refusal.clone().filter(|_| self.assigned == 0),
            stopping,
            ..Standing::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_until_partitions_come() {
        let unknown = KafkaError::MessageConsumption(Code::UnknownTopicOrPartition);
        let mut contact = Contact::default();
        contact.refused(&KafkaError::MessageConsumption(Code::OperationTimedOut));
        assert_eq!(contact.standing(false).refusal, None);
        contact.refused(&unknown);
        assert!(contact.standing(false).refusal.is_some());
        contact.assigned(0);
        assert!(contact.standing(false).refusal.is_some(), "an empty assignment changes nothing");
        contact.assigned(2);
        assert_eq!(contact.standing(false).refusal, None);
        assert!(contact.standing(true).stopping && contact.has_been_assigned);
    }
}
