//! What a dead letter says, by the documented form of the pipeline's dead letters: the original
//! headers, then a block of its own, each name once and in this order.
//!
//! The block is known by its place at the end and not by its names, because a record may bear any of
//! them itself.

use chrono::DateTime;

use crate::observer::native::RawHeaders;

/// The block of a letter that a consumer wrote; the timestamp is left out where the record had none.
const BY_CONSUMER: [&str; 8] = [
    "consumer_error",
    "consumer_error_trace",
    "consumer_failed_at",
    "source_topic",
    "source_partition",
    "source_offset",
    "source_timestamp_ms",
    "consumer_group",
];
const OPTIONAL: &str = "source_timestamp_ms";
/// The block of a letter that a producer wrote.
const BY_PRODUCER: [&str; 3] = ["producer_error", "producer_error_trace", "producer_failed_at"];

/// A dead letter's headers, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Letter {
    /// How many of the headers are the record's own.
    pub original: usize,
    pub error: Option<String>,
    pub trace: Option<String>,
    pub failed_ms: Option<i64>,
    pub source: Option<(String, u32, u64)>,
    pub source_timestamp_ms: Option<i64>,
    pub group: Option<String>,
    /// Names that are absent, or whose value cannot be understood.
    pub missing: Vec<String>,
}

/// Takes the headers of a dead letter apart.
pub(crate) fn take_apart(headers: &RawHeaders<'_>) -> Letter {
    let consumer = block(headers, &BY_CONSUMER);
    let producer = block(headers, &BY_PRODUCER);
    // Whose block reaches further from the end wrote it.
    if producer.len() > consumer.len() {
        by_producer(headers, &producer)
    } else {
        by_consumer(headers, &consumer)
    }
}

/// The last headers, as far as their names follow each other as in a block; some may be absent.
fn block(headers: &RawHeaders<'_>, names: &[&'static str]) -> Vec<(&'static str, usize)> {
    let (mut found, mut left) = (Vec::new(), names);
    for (at, (name, _)) in headers.iter().enumerate().rev() {
        let Some(place) = left.iter().rposition(|known| known.as_bytes() == *name) else { break };
        found.push((left[place], at));
        left = &left[..place];
    }
    found
}

/// The fields of a block: their texts, and which are not there.
struct Fields<'a> {
    headers: &'a RawHeaders<'a>,
    block: &'a [(&'static str, usize)],
    missing: Vec<String>,
}

impl Fields<'_> {
    /// A field, as far as it can be understood.
    fn read<T>(&mut self, name: &'static str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let at = self.block.iter().find(|(known, _)| *known == name).map(|(_, at)| *at);
        let value = at.and_then(|at| self.headers[at].1);
        let understood = value.and_then(|value| read(std::str::from_utf8(value).ok()?));
        if understood.is_none() && (at.is_some() || name != OPTIONAL) {
            self.missing.push(match value {
                Some(value) => format!("{name} (not `{}`)", value.escape_ascii()),
                None => name.to_owned(),
            });
        }
        understood
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |text| Some(text.to_owned()))
    }

    fn instant(&mut self, name: &'static str) -> Option<i64> {
        self.read(name, |text| Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()))
    }
}

fn by_consumer(headers: &RawHeaders<'_>, block: &[(&'static str, usize)]) -> Letter {
    let mut fields = Fields { headers, block, missing: Vec::new() };
    let (error, trace) = (fields.text("consumer_error"), fields.text("consumer_error_trace"));
    let failed_ms = fields.instant("consumer_failed_at");
    let topic = fields.text("source_topic");
    let partition = fields.read("source_partition", |text| text.parse().ok());
    let offset = fields.read("source_offset", |text| text.parse().ok());
    Letter {
        original: headers.len() - block.len(),
        error,
        trace,
        failed_ms,
        source: topic.zip(partition).zip(offset).map(|((topic, p), o)| (topic, p, o)),
        source_timestamp_ms: fields.read(OPTIONAL, |text| text.parse().ok()),
        group: fields.text("consumer_group"),
        missing: fields.missing,
    }
}

fn by_producer(headers: &RawHeaders<'_>, block: &[(&'static str, usize)]) -> Letter {
    let mut fields = Fields { headers, block, missing: Vec::new() };
    Letter {
        original: headers.len() - block.len(),
        error: fields.text("producer_error"),
        trace: fields.text("producer_error_trace"),
        failed_ms: fields.instant("producer_failed_at"),
        missing: fields.missing,
        ..Letter::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [(&[u8], Option<&[u8]>); 8] = [
        (b"consumer_error", Some(b"bad")),
        (b"consumer_error_trace", Some(b"bad: worse")),
        (b"consumer_failed_at", Some(b"2026-01-21T10:00:00.250Z")),
        (b"source_topic", Some(b"t")),
        (b"source_partition", Some(b"3")),
        (b"source_offset", Some(b"7")),
        (b"source_timestamp_ms", Some(b"-5")),
        (b"consumer_group", Some(b"g")),
    ];

    fn letter(original: &[(&'static [u8], Option<&'static [u8]>)], ours: &[usize]) -> Letter {
        let mut headers: RawHeaders<'_> = original.to_vec();
        headers.extend(ours.iter().map(|&n| OURS[n]));
        take_apart(&headers)
    }

    const ALL: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

    #[test]
    fn a_letter_is_read_whole() {
        let read = letter(&[(b"a", None)], &ALL);
        let expected = Letter {
            original: 1,
            error: Some("bad".into()),
            trace: Some("bad: worse".into()),
            failed_ms: Some(1_768_989_600_250),
            source: Some(("t".into(), 3, 7)),
            source_timestamp_ms: Some(-5),
            group: Some("g".into()),
            missing: Vec::new(),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_block_is_known_by_its_place_whatever_the_record_bears_itself() {
        let own: [&[(&[u8], Option<&[u8]>)]; 5] = [
            &[(b"source_topic", Some(b"mine"))],
            &[(b"source_topic", Some(b"mine")), (b"a", None)],
            &[(b"producer_error", Some(b"mine"))],
            &[(b"consumer_group", Some(b"mine"))],
            &OURS,
        ];
        for original in own {
            let read = letter(original, &ALL);
            assert_eq!((read.original, read.group.as_deref()), (original.len(), Some("g")));
            assert_eq!(read.missing, Vec::<String>::new());
            // A record without a timestamp has none to be told.
            let read = letter(original, &[0, 1, 2, 3, 4, 5, 7]);
            assert_eq!((read.original, read.source_timestamp_ms), (original.len(), None));
            assert_eq!(read.missing, Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_absent_or_cannot_be_understood_is_named() {
        assert_eq!(letter(&[], &[0, 2, 3, 4, 5, 7]).missing, ["consumer_error_trace"]);
        assert_eq!(letter(&[], &[0, 1, 2, 3, 4, 5, 6]).missing, ["consumer_group"]);
        assert_eq!(letter(&[(b"a", None)], &[]).missing.len(), 7);
        let mut headers: RawHeaders<'_> = OURS.to_vec();
        headers[4].1 = Some(b"x");
        let read = take_apart(&headers);
        assert_eq!((read.source, read.missing), (None, vec!["source_partition (not `x`)".into()]));
    }

    #[test]
    fn a_producers_letter_has_no_place() {
        let headers: RawHeaders<'_> = vec![
            (b"dataset", Some(b"orders")),
            (b"producer_error", Some(b"bad")),
            (b"producer_error_trace", Some(b"worse")),
            (b"producer_failed_at", Some(b"2026-01-21T10:00:00Z")),
        ];
        let read = take_apart(&headers);
        assert_eq!((read.original, read.source, read.group), (1, None, None));
        assert_eq!((read.error.as_deref(), read.missing), (Some("bad"), Vec::new()));
    }
}
