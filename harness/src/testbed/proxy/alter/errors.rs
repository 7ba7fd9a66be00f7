//! Kafka's errors by their names, as the protocol guide spells them.

use kafka_protocol::error::ResponseError;

/// Higher than every number that Kafka has given to an error so far.
const CODES_MAX: i16 = 200;
/// The number of no error.
pub const NONE: i16 = 0;

/// The number of an error. `NONE` is none.
#[must_use]
pub fn code(name: &str) -> Option<i16> {
    (-1..=CODES_MAX).find(|code| self::name(*code).as_deref() == Some(name))
}

/// The name of an error, if it has one.
#[must_use]
pub fn name(code: i16) -> Option<String> {
    match ResponseError::try_from_code(code) {
        None => Some("NONE".to_owned()),
        Some(ResponseError::Unknown(_)) => None,
        Some(error) => Some(upper_snake(&format!("{error:?}"))),
    }
}

/// All names, for who looks for one.
pub fn names() -> impl Iterator<Item = String> {
    (-1..=CODES_MAX).filter_map(name)
}

/// An error for people: its name, or its number where it has none.
#[must_use]
pub fn in_words(code: i16) -> String {
    name(code).unwrap_or_else(|| format!("error {code}"))
}

/// `NotLeaderOrFollower` → `NOT_LEADER_OR_FOLLOWER`.
fn upper_snake(camel: &str) -> String {
    let mut text = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from Kafka's protocol guide.
    #[test]
    fn names_are_those_of_the_protocol_guide() {
        for (name, number) in [
            ("UNKNOWN_SERVER_ERROR", -1),
            ("NONE", 0),
            ("OFFSET_OUT_OF_RANGE", 1),
            ("CORRUPT_MESSAGE", 2),
            ("UNKNOWN_TOPIC_OR_PARTITION", 3),
            ("LEADER_NOT_AVAILABLE", 5),
            ("NOT_LEADER_OR_FOLLOWER", 6),
            ("REQUEST_TIMED_OUT", 7),
            ("COORDINATOR_LOAD_IN_PROGRESS", 14),
            ("COORDINATOR_NOT_AVAILABLE", 15),
            ("NOT_COORDINATOR", 16),
            ("NOT_ENOUGH_REPLICAS", 19),
            ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", 20),
            ("ILLEGAL_GENERATION", 22),
            ("UNKNOWN_MEMBER_ID", 25),
            ("REBALANCE_IN_PROGRESS", 27),
            ("OUT_OF_ORDER_SEQUENCE_NUMBER", 45),
            ("INVALID_PRODUCER_EPOCH", 47),
            ("KAFKA_STORAGE_ERROR", 56),
            ("UNKNOWN_PRODUCER_ID", 59),
            ("FENCED_LEADER_EPOCH", 74),
            ("UNKNOWN_LEADER_EPOCH", 75),
            ("MEMBER_ID_REQUIRED", 79),
            ("GROUP_MAX_SIZE_REACHED", 81),
            ("FENCED_INSTANCE_ID", 82),
            ("UNKNOWN_TOPIC_ID", 100),
        ] {
            assert_eq!((code(name), self::name(number).as_deref()), (Some(number), Some(name)));
        }
        assert_eq!(code("NO_SUCH_ERROR"), None);
        assert_eq!(in_words(199), "error 199");
        assert!(names().count() > 100);
    }
}
