//! The broker's own record of commits and rebalances, as Kafka's console consumer shows it of the topic
//! `__consumer_offsets` with the formatters `OffsetsMessageFormatter` and
//! `GroupMetadataMessageFormatter`: JSON objects that follow each other without line breaks, or the text
//! of Kafka 3. Read with `--isolation-level read_committed`, or commits of aborted transactions show,
//! too.
//!
//! It tells of all groups of a cluster. Only those that other files speak of count, if any does, and
//! only commits on topics that somebody wrote or read. Instants are the broker's.

use serde_json::Value;

use super::Refusal;
use super::told::{ALL, Told, excerpt};
use crate::event::*;

/// Who reports these facts.
const WATCH: &str = "commit-watch (the broker's record)";

/// Takes one line or object in.
pub(super) fn take(told: &mut Told, text: &[u8]) -> Result<(), Refusal> {
    let text = text.trim_ascii();
    if text.first() == Some(&b'{') {
        let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(text) else {
            return not_known(told, text);
        };
        let (key, value) = (&fields.get("key"), &fields.get("value"));
        let data = |field: &Option<&Value>| field.and_then(|field| field.get("data")).cloned();
        let Some(key) = data(key) else { return not_known(told, text) };
        let Some(group) = key.get("group").and_then(Value::as_str) else {
            return not_known(told, text);
        };
        return match (key.get("topic").and_then(Value::as_str), data(value)) {
            (Some(topic), Some(value)) => {
                let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_i64);
                let (Some(partition), Some(offset), Some(at_ms)) = (
                    number(&key, "partition"),
                    number(&value, "offset"),
                    number(&value, "commitTimestamp"),
                ) else {
                    return not_known(told, text);
                };
                commit(told, (group, topic, partition), offset, at_ms)
            }
            (Some(_), None) => {
                told.note("offsets that expired or were deleted");
                Ok(())
            }
            (None, Some(value)) => generation(told, group, &value, text),
            (None, None) => Ok(()),
        };
    }
    match std::str::from_utf8(text).ok().and_then(of_kafka_3) {
        Some((group, topic, partition, offset, at_ms)) => {
            commit(told, (group, topic, partition), offset, at_ms)
        }
        None if text.ends_with(b"::NULL") || text.ends_with(b"::<DELETE>") => {
            told.note("offsets that expired or were deleted");
            Ok(())
        }
        None => not_known(told, text),
    }
}

fn not_known(told: &mut Told, text: &[u8]) -> Result<(), Refusal> {
    if !text.is_empty() && !text.starts_with(b"Processed a total of") {
        let kind = "entries of the record of commits that are not known: what they would have said is \
                    not known";
        told.doubt(kind, ALL, &excerpt(text));
    }
    Ok(())
}

/// `[group,topic,0]::OffsetAndMetadata(offset=8, …, commitTimestamp=1700000000000, …)`
fn of_kafka_3(text: &str) -> Option<(&str, &str, i64, i64, i64)> {
    let (key, value) = text.strip_prefix('[')?.split_once("]::OffsetAndMetadata(")?;
    let mut parts = key.rsplitn(3, ',');
    let (partition, topic, group) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let field = |name: &str| -> Option<i64> {
        let at = value.find(name)? + name.len();
        let digits = value[at..].split(|c: char| !c.is_ascii_digit() && c != '-').next()?;
        digits.parse().ok()
    };
    Some((group, topic, partition, field("offset=")?, field("commitTimestamp=")?))
}

fn commit(
    told: &mut Told,
    (group, topic, partition): (&str, &str, i64),
    offset: i64,
    at_ms: i64,
) -> Result<(), Refusal> {
    let number = u32::try_from(partition).map_err(|_| format!("partition {partition}"))?;
    let offset = u64::try_from(offset).map_err(|_| format!("offset {offset} is negative"))?;
    let at_us = told.at(at_ms.saturating_mul(1000));
    told.vouch(Evidence::CommitsComplete);
    if !told.telling() {
        let topics = told.census.watched.entry(group.to_owned()).or_default();
        topics.insert(topic.to_owned());
        return Ok(());
    }
    if !told.census.groups.contains_key(group) || !told.census.is_under_test(topic) {
        told.note("commits of groups, or on topics, that nobody else speaks of");
        return Ok(());
    }
    let (group, topic, partition) = (group.to_owned(), topic.to_owned(), number);
    let fact = Committed { group, topic, partition, offset, at_us, exact: true };
    // The record has an order of its own: its lines need not rise by time.
    told.tell(None, WATCH, Fact::Committed(fact));
    Ok(())
}

fn generation(told: &mut Told, group: &str, value: &Value, text: &[u8]) -> Result<(), Refusal> {
    let number = value.get("generation").and_then(Value::as_u64);
    let (Some(generation), Some(at_ms)) = (
        number.and_then(|number| u32::try_from(number).ok()),
        value.get("currentStateTimestamp").and_then(Value::as_i64),
    ) else {
        return not_known(told, text);
    };
    let at_us = told.at(at_ms.saturating_mul(1000));
    if !told.census.groups.contains_key(group) {
        return Ok(());
    }
    let name = |member: &Value| {
        let name = |field: &str| member.get(field).and_then(Value::as_str);
        name("groupInstanceId").or(name("memberId")).unwrap_or_default().to_owned()
    };
    let members = value.get("members").and_then(Value::as_array);
    let members = members.map(|members| members.iter().map(name).collect()).unwrap_or_default();
    let fact = Generation { group: group.to_owned(), generation, members, at_us };
    told.tell(None, WATCH, Fact::Generation(fact));
    Ok(())
}
