//! Reading dead letters back.

use super::{
    BY_CONSUMER, BY_PRODUCER, HEADER_ERROR, HEADER_FAILED_AT, HEADER_GROUP, HEADER_PRODUCER_ERROR,
    HEADER_PRODUCER_FAILED_AT, HEADER_SOURCE_OFFSET, HEADER_SOURCE_PARTITION, HEADER_SOURCE_TOPIC,
};
use crate::config::KafkaSettings;
use crate::error::Result;
use crate::inspect::{Inspector, owned};
use crate::raw_zone::part::{Header, StoredRecord};
use serde::Serialize;

/// A dead letter as it lies in its topic.
#[derive(Debug, Clone)]
pub struct Filed {
    /// The record in the dead-letter topic, with all its headers.
    pub record: StoredRecord,
    /// Where it came from; `None` if the producer refused it before it was in any topic.
    pub source: Option<SourcePlace>,
    /// The consumer group that refused it; `None` if the producer did, or an earlier version.
    pub group: Option<String>,
    /// Why it is here.
    pub error: Option<String>,
    /// Since when, RFC 3339.
    pub failed_at: Option<String>,
}

/// Where a dead letter came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourcePlace {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl Filed {
    /// What the record says about itself.
    pub fn of(record: StoredRecord) -> Filed {
        let own = &record.headers[own_from(&record.headers)..];
        let told = |name: &str| {
            let found = own.iter().find(|(key, _)| key == name.as_bytes());
            found.and_then(|(_, value)| String::from_utf8(value.clone()?).ok())
        };
        let place = || {
            Some(SourcePlace {
                topic: told(HEADER_SOURCE_TOPIC)?,
                partition: told(HEADER_SOURCE_PARTITION)?.parse().ok()?,
                offset: told(HEADER_SOURCE_OFFSET)?.parse().ok()?,
            })
        };
        let (source, group) = (place(), told(HEADER_GROUP));
        let error = told(HEADER_ERROR).or_else(|| told(HEADER_PRODUCER_ERROR));
        let failed_at = told(HEADER_FAILED_AT).or_else(|| told(HEADER_PRODUCER_FAILED_AT));
        Filed { source, group, error, failed_at, record }
    }

    /// The headers that the record came with: all but the ones that were put behind them.
    pub fn original_headers(&self) -> Vec<Header> {
        self.record.headers[..own_from(&self.record.headers)].to_vec()
    }
}

/// Where ours begin. They are known by their place and order at the end, not by their names: a record
/// may bear any of them itself, or may have been dead before.
fn own_from(headers: &[Header]) -> usize {
    let from = |names: &[&str]| {
        let (mut from, mut left) = (headers.len(), names);
        while let Some((name, _)) = from.checked_sub(1).map(|last| &headers[last]) {
            // One that is not there was not known to an earlier version, or had nothing to say.
            let Some(at) = left.iter().rposition(|known| known.as_bytes() == name) else { break };
            (from, left) = (from - 1, &left[..at]);
        }
        from
    };
    from(BY_CONSUMER).min(from(BY_PRODUCER))
}

/// Reads dead letters, all or the one at a place; `visit` says whether to go on. Blocking.
pub fn each(
    settings: &KafkaSettings,
    topic: &str,
    only: Option<(i32, i64)>,
    mut visit: impl FnMut(Filed) -> bool,
) -> Result<()> {
    let inspector = Inspector::connect(settings, None)?;
    let mut go_on = true;
    for partition in inspector.partitions_if_any(topic)? {
        let (from, to) = match only {
            Some((wanted, _)) if wanted != partition => continue,
            Some((_, offset)) => (offset, offset + 1),
            None => (0, i64::MAX),
        };
        inspector.read(topic, partition, from, to, |message| {
            go_on = visit(Filed::of(owned(message)));
            go_on
        })?;
        if !go_on {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{DeadLetter, Source};
    use super::*;
    use crate::record::Invalid;

    fn bury(headers: Vec<Header>) -> Filed {
        let why = Invalid { reason: "bad".into(), detail: "bad: worse".into() };
        let source = Source { topic: "t", partition: 3, offset: 7, timestamp_ms: Some(5) };
        filed(DeadLetter::of_record(source, None, None, headers, &why, "g"))
    }

    fn filed(letter: DeadLetter) -> Filed {
        Filed::of(StoredRecord {
            topic: "dlq".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            ingestion_id: None,
            key: letter.key,
            headers: letter.headers,
            value: letter.value,
        })
    }

    #[test]
    fn original_headers_come_back_exactly_also_from_a_second_death() {
        let original: Vec<Header> = vec![
            (b"a".to_vec(), Some(b"1".to_vec())),
            (b"a".to_vec(), None),
            (HEADER_ERROR.as_bytes().to_vec(), Some(b"mine".to_vec())),
        ];
        let first = bury(original.clone());
        assert_eq!((first.error.as_deref(), first.group.as_deref()), (Some("bad"), Some("g")));
        assert_eq!(first.source, Some(SourcePlace { topic: "t".into(), partition: 3, offset: 7 }));
        assert_eq!(first.original_headers(), original);
        let second = bury(first.record.headers.clone());
        assert_eq!(second.original_headers(), first.record.headers);
    }

    #[test]
    fn a_header_of_the_record_is_never_taken_for_one_of_ours() {
        for name in BY_CONSUMER.iter().chain(BY_PRODUCER) {
            let own: Vec<Header> = vec![
                (b"tenant".to_vec(), Some(b"a".to_vec())),
                (name.as_bytes().to_vec(), Some(b"mine".to_vec())),
            ];
            let letter = bury(own.clone());
            assert_eq!(letter.original_headers(), own, "{name}");
            assert_eq!(letter.source.map(|source| source.offset), Some(7), "{name}");
            let why = Invalid { reason: "bad".into(), detail: "worse".into() };
            let rejected = filed(DeadLetter::of_event(Vec::new(), None, own.clone(), &why));
            assert_eq!((rejected.original_headers(), rejected.source), (own, None), "{name}");
        }
    }

    #[test]
    fn letters_of_earlier_versions_name_no_group_and_are_read_all_the_same() {
        let mut letter = bury(vec![(b"a".to_vec(), None)]);
        letter.record.headers.pop();
        let old = Filed::of(letter.record);
        assert_eq!((old.group.as_deref(), old.error.as_deref()), (None, Some("bad")));
        assert_eq!(old.original_headers(), vec![(b"a".to_vec(), None)]);
    }
}
