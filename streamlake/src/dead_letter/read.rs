//! Reading dead letters back.

use super::{
    HEADER_ERROR, HEADER_FAILED_AT, HEADER_PRODUCER_ERROR, HEADER_PRODUCER_FAILED_AT,
    HEADER_SOURCE_OFFSET, HEADER_SOURCE_PARTITION, HEADER_SOURCE_TOPIC, OWN_HEADERS,
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
        // Ours stand behind the original ones, so the last of a name is the one that counts.
        let last = |name: &str| {
            let found = record.headers.iter().rev().find(|(key, _)| key == name.as_bytes());
            found.and_then(|(_, value)| String::from_utf8(value.clone()?).ok())
        };
        let place = || {
            Some(SourcePlace {
                topic: last(HEADER_SOURCE_TOPIC)?,
                partition: last(HEADER_SOURCE_PARTITION)?.parse().ok()?,
                offset: last(HEADER_SOURCE_OFFSET)?.parse().ok()?,
            })
        };
        let source = place();
        let error = last(HEADER_ERROR).or_else(|| last(HEADER_PRODUCER_ERROR));
        let failed_at = last(HEADER_FAILED_AT).or_else(|| last(HEADER_PRODUCER_FAILED_AT));
        Filed { source, error, failed_at, record }
    }

    /// The headers that the record came with: all but the ones that were put behind them.
    pub fn original_headers(&self) -> Vec<Header> {
        let mut end = self.record.headers.len();
        let mut own: Vec<&str> = OWN_HEADERS.to_vec();
        while end > 0 {
            let name = self.record.headers[end - 1].0.as_slice();
            // Each of ours stands there once: a second one belongs to a record that was dead before.
            match own.iter().position(|known| known.as_bytes() == name) {
                Some(at) => drop(own.swap_remove(at)),
                None => break,
            }
            end -= 1;
        }
        self.record.headers[..end].to_vec()
    }
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
        let letter = DeadLetter::of_record(source, None, None, headers, &why);
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
        assert_eq!(first.error.as_deref(), Some("bad"));
        assert_eq!(first.source, Some(SourcePlace { topic: "t".into(), partition: 3, offset: 7 }));
        assert_eq!(first.original_headers(), original);
        let second = bury(first.record.headers.clone());
        assert_eq!(second.original_headers(), first.record.headers);
    }
}
