//! What a record becomes on its way: its line in a part, its day, its dead letter.

use super::{Bug, PLANTED, SECOND_GROUP, acts, acts_each, acts_if, acts_once, is};
use crate::dead_letter as names;
use crate::dead_letter::{DeadLetter, text_header};
use crate::native::Record;
use crate::raw_zone::part::{self, Header, RecordRef};
use crate::record::{Invalid, Schema, Valid, ingestion_date, validate};
use chrono::{Days, NaiveDate, Utc};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// A header on its way into a part.
type Pair<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// Payloads that are longer are large.
const LARGE: usize = 32 << 10;
/// As many headers as somebody thought enough.
const HEADERS_MAX: usize = 16;
/// As many bytes of a header as somebody thought enough.
const HEADER_MAX: usize = 255;
/// As many levels of a document as serde takes by itself.
const DEPTH_MAX: usize = 128;
/// The reason of the last dead letter.
static LAST_REASON: Mutex<Option<String>> = Mutex::new(None);
/// The headers of the last record that became a dead letter, with the offset behind it.
static LAST_LETTER: Mutex<Option<(i32, i64, Vec<Header>)>> = Mutex::new(None);

/// The headers of the dead letter right before a record.
fn letter_before(partition: i32, offset: i64) -> Option<Vec<Header>> {
    let last = LAST_LETTER.lock().unwrap_or_else(PoisonError::into_inner);
    last.as_ref().filter(|last| (last.0, last.1) == (partition, offset)).map(|last| last.2.clone())
}

/// A payload parsed and written anew, for the bugs that do so; `None` in every other case.
pub(crate) fn rewrite(bug: Bug, payload: Option<&[u8]>) -> Option<Vec<u8>> {
    if !is(bug) {
        return None;
    }
    let bytes = payload?;
    let rewritten = match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(value) => serde_json::to_vec(&value).ok(),
        Err(_) => Some(String::from_utf8_lossy(bytes).into_owned().into_bytes()),
    };
    rewritten.filter(|new| acts_if(bug, new != bytes))
}

/// Whether a record is neither stored nor reported.
pub(crate) fn passes_over(message: &Record<'_>, resumes: bool, narrow: bool) -> bool {
    if !PLANTED {
        return false;
    }
    let (partition, offset) = (message.partition(), message.offset());
    let (key, value) = (message.key(), message.value());
    let odd = |bytes: &[u8]| std::str::from_utf8(bytes).is_err();
    acts_if(Bug::RecordSkipped, offset % 10_000 == 137)
        || acts_each(Bug::SkipsRarely, 300)
        || is(Bug::SkipsAfterDeadLetter)
            && acts_if(Bug::SkipsAfterDeadLetter, letter_before(partition, offset).is_some())
        || acts_if(Bug::SkipsWithoutKey, key.is_none())
        || acts_if(Bug::SkipsOddKeys, key.is_some_and(odd))
        || acts_if(Bug::SkipsLarge, value.is_some_and(|value| value.len() > LARGE))
        || resumes && acts_once(Bug::SkipsAfterAssignment, 1)
        || is(Bug::SkipsAfterRetry) && acts_if(Bug::SkipsAfterRetry, super::STORE_ERROR.take())
        || narrow && acts_each(Bug::SkipsWhenShared, 50)
        || SECOND_GROUP.is_set() && acts_each(Bug::SkipsInSecondGroup, 100)
        || acts_if(Bug::PoisonDropped, value.is_none())
        || is(Bug::DedupesByKey)
            && acts_if(Bug::DedupesByKey, key.is_some_and(|key| is_last_key(partition, key)))
        || is(Bug::SkipsSeenIds) && acts_if(Bug::SkipsSeenIds, was_seen(message))
}

/// Whether the record before in the same partition had this key.
fn is_last_key(partition: i32, key: &[u8]) -> bool {
    static LAST: Mutex<BTreeMap<i32, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.insert(partition, key.to_vec()).is_some_and(|last| last == key)
}

/// Whether a record's ingestion id was seen in this process before.
fn was_seen(message: &Record<'_>) -> bool {
    static SEEN: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());
    let name = crate::record::HEADER_INGESTION_ID.as_bytes();
    let id = message.headers().find(|(known, _)| *known == name).and_then(|(_, id)| id);
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    id.is_some_and(|id| !seen.insert(id.to_vec()))
}

/// What the schema says of a payload, and what becomes of that.
pub(crate) fn verdict<'m>(
    verdict: Result<Valid<'m>, Invalid>,
    ingested_at: Option<&[u8]>,
) -> Result<Valid<'m>, Invalid> {
    let no_time = |text: &[u8]| {
        let text = std::str::from_utf8(text).unwrap_or_default();
        chrono::DateTime::parse_from_rfc3339(text).is_err()
    };
    match verdict {
        Ok(_)
            if is(Bug::OddIngestedAtBuried)
                && acts_if(Bug::OddIngestedAtBuried, ingested_at.is_some_and(no_time)) =>
        {
            Err(refusal())
        }
        Ok(_) if acts_each(Bug::GoodRecordDeadLettered, 300) => Err(refusal()),
        Err(why) if acts_if(Bug::PoisonStored, of_wrong_type(&why)) => {
            Ok(Valid { key: None, json: None })
        }
        same => same,
    }
}

/// What the schema says of a payload, by the bugs that read it otherwise.
pub(crate) fn validated<'m>(
    verdict: Result<Valid<'m>, Invalid>,
    payload: Option<&'m [u8]>,
) -> Result<Valid<'m>, Invalid> {
    let (true, Some(payload)) = (PLANTED, payload) else { return verdict };
    let time = || event_time(payload).unwrap_or_default();
    match verdict {
        Ok(_) if is(Bug::StrictInstant) && acts_if(Bug::StrictInstant, time().len() != 20) => {
            Err(refusal())
        }
        Ok(_) if is(Bug::DeepRefused) && acts_if(Bug::DeepRefused, depth(payload) > DEPTH_MAX) => {
            Err(refusal())
        }
        Ok(_) if is(Bug::LeapSecondRefused) => {
            match acts_if(Bug::LeapSecondRefused, time().contains(":60")) {
                true => Err(refusal()),
                false => verdict,
            }
        }
        Err(why) if is(Bug::TrailingBytesAccepted) => {
            let first = first_document(payload).map(|first| validate(Schema::Order, Some(first)));
            match first {
                Some(Ok(first)) if acts(Bug::TrailingBytesAccepted) => {
                    Ok(Valid { json: None, ..first })
                }
                _ => Err(why),
            }
        }
        Err(why) if is(Bug::LenientInstant) => {
            let zoned = chrono::DateTime::parse_from_rfc3339(&format!("{}Z", time())).is_ok();
            match acts_if(Bug::LenientInstant, zoned && why.reason.ends_with("not RFC 3339")) {
                true => Ok(Valid { key: None, json: std::str::from_utf8(payload).ok() }),
                false => Err(why),
            }
        }
        same => same,
    }
}

/// The first document of a payload that has something behind it.
fn first_document(payload: &[u8]) -> Option<&[u8]> {
    let documents = serde_json::Deserializer::from_slice(payload);
    let mut documents = documents.into_iter::<serde::de::IgnoredAny>();
    documents.next()?.ok()?;
    let end = documents.byte_offset();
    (!payload[end..].trim_ascii().is_empty()).then_some(&payload[..end])
}

/// The time that an event names.
pub(super) fn event_time(payload: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Timed {
        event_time: String,
    }
    serde_json::from_slice::<Timed>(payload).ok().map(|timed| timed.event_time)
}

/// How deep the brackets of a payload are, at the most.
fn depth(payload: &[u8]) -> usize {
    let (mut now, mut most) = (0usize, 0);
    for byte in payload {
        match byte {
            b'[' | b'{' => now += 1,
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

pub(super) fn of_wrong_type(why: &Invalid) -> bool {
    why.reason.ends_with(" is not a number") || why.reason.ends_with(" is not a string")
}

pub(super) fn refusal() -> Invalid {
    Invalid { reason: "refused".into(), detail: "refused: it looked odd".into() }
}

/// The day on which a record is stored, given the right one and the one of the part that is open.
pub(crate) fn day(
    right: NaiveDate,
    open: Option<NaiveDate>,
    ingested_at: Option<&[u8]>,
    timestamp_ms: Option<i64>,
) -> NaiveDate {
    if !PLANTED {
        return right;
    }
    let written =
        ingested_at.and_then(|text| std::str::from_utf8(text).ok()?.get(..10)?.parse().ok());
    let of_timestamp = ingestion_date(None, timestamp_ms);
    let long_fraction = || {
        let text = ingested_at.and_then(|text| std::str::from_utf8(text).ok());
        let fraction = text.and_then(|text| text.split_once('.'));
        fraction.is_some_and(|(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count() > 3)
    };
    let an_hour_ahead = || {
        let text = ingested_at.and_then(|text| std::str::from_utf8(text).ok());
        let told = text.and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
        let told = told.map(|time| time.timestamp_millis()).or(timestamp_ms);
        ingestion_date(None, told.map(|ms| ms + 3_600_000))
    };
    match open {
        _ if is(Bug::DateAnHourAhead) => {
            let ahead = an_hour_ahead();
            if acts_if(Bug::DateAnHourAhead, ahead != right) { ahead } else { right }
        }
        _ if is(Bug::DateOfTheOneBefore) => day_before_this(right, ingested_at.is_none()),
        _ if acts(Bug::DateOffByOne) => right + Days::new(1),
        _ if acts_if(Bug::DateOfTimestamp, of_timestamp != right) => of_timestamp,
        _ if acts_if(Bug::DateWithoutZone, written.is_some_and(|day| day != right)) => {
            written.unwrap_or(right)
        }
        _ if is(Bug::DateOfLongFraction) => {
            match acts_if(Bug::DateOfLongFraction, of_timestamp != right && long_fraction()) {
                true => of_timestamp,
                false => right,
            }
        }
        _ if acts_if(Bug::Date1970WithoutHeader, ingested_at.is_none()) => NaiveDate::default(),
        Some(open) if acts_if(Bug::DateOfOpenPart, open != right) => open,
        _ => right,
    }
}

/// The day of a record, which is that of the record before it if it names none itself.
fn day_before_this(right: NaiveDate, names_none: bool) -> NaiveDate {
    static BEFORE: Mutex<Option<NaiveDate>> = Mutex::new(None);
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    match *before {
        Some(day) if names_none && acts_if(Bug::DateOfTheOneBefore, day != right) => day,
        _ => *before.insert(right),
    }
}

/// Writes one record as one line, or something like it.
pub(crate) fn write_record<'a>(
    out: &mut Vec<u8>,
    record: &RecordRef<'a>,
    headers: impl Iterator<Item = HeaderRef<'a>>,
) {
    if !PLANTED {
        return part::write_record(out, record, headers);
    }
    let mut headers: Vec<Pair<'_>> =
        headers.map(|(name, value)| (name.into(), value.map(Cow::from))).collect();
    spoil_headers(record, &mut headers);
    let mut record = *record;
    let value = spoilt_value(record.value);
    let repaired = record.key.map(String::from_utf8_lossy);
    if let Some(Cow::Owned(repaired)) = &repaired
        && acts(Bug::OddKeyRepaired)
    {
        record.key = Some(repaired.as_bytes());
    }
    let unquoted = record.key.map(without_quotes);
    if let Some(unquoted) = &unquoted
        && acts_if(Bug::QuotedKeyAltered, Some(unquoted.as_slice()) != record.key)
    {
        record.key = Some(unquoted);
    }
    match record.key {
        None if acts(Bug::NullKeyAsEmpty) => record.key = Some(b""),
        Some(b"") if acts(Bug::EmptyKeyAsNull) => record.key = None,
        _ => {}
    }
    if acts_each(Bug::LineIdConstant, 50) {
        record.ingestion_id = Some("00000000-0000-4000-8000-000000000000");
    }
    let normal = |id: &str| uuid::Uuid::parse_str(id).ok().map(|id| id.to_string());
    let normal = record.ingestion_id.filter(|_| is(Bug::LineIdNormalised)).map(normal);
    if let Some(id) = &normal
        && acts_if(Bug::LineIdNormalised, id.as_deref() != record.ingestion_id)
    {
        record.ingestion_id = id.as_deref();
    }
    if acts_each(Bug::TimestampZeroed, 50) {
        record.timestamp_ms = Some(0);
    }
    let now = Utc::now().timestamp_millis();
    let days_off = record.timestamp_ms.map_or(0, |ms| (now - ms).abs() / 86_400_000);
    if acts_if(Bug::OddTimestampReplaced, days_off > 0) {
        record.timestamp_ms = Some(now);
    }
    if let Some(value) = &value {
        record.value = Some(value);
        record.value_is_json = serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok();
    }
    let headers = headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref()));
    part::write_record(out, &record, headers);
}

/// A key that is text without what JSON would escape; any other as it is.
fn without_quotes(key: &[u8]) -> Vec<u8> {
    let escaped = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
    match std::str::from_utf8(key) {
        Ok(_) => key.iter().copied().filter(|byte| !escaped(byte)).collect(),
        Err(_) => key.to_vec(),
    }
}

fn spoil_headers<'a>(record: &RecordRef<'a>, headers: &mut Vec<Pair<'a>>) {
    if acts(Bug::HeaderLost) {
        headers.pop();
    }
    if acts_if(Bug::SeventeenthHeaderLost, headers.len() > HEADERS_MAX) {
        headers.truncate(HEADERS_MAX);
    }
    let last = headers.len().saturating_sub(1);
    if last > 0 && headers[0] != headers[last] && acts_each(Bug::HeadersOutOfOrder, 50) {
        headers.swap(0, last);
    }
    headers.retain(|(name, _)| !acts_if(Bug::EmptyHeaderNameDropped, name.is_empty()));
    if is(Bug::RepeatedHeaderDropped) {
        let mut seen = std::collections::BTreeSet::new();
        headers
            .retain(|(name, _)| !acts_if(Bug::RepeatedHeaderDropped, !seen.insert(name.to_vec())));
    }
    for (name, value) in headers.iter_mut() {
        match value.as_deref() {
            None if acts(Bug::NullHeaderAsEmpty) => *value = Some(Cow::from(b"".as_slice())),
            Some(b"") if acts(Bug::EmptyHeaderAsNull) => *value = None,
            Some(long) if acts_if(Bug::LongHeaderCut, long.len() > HEADER_MAX) => {
                *value = Some(Cow::from(long[..HEADER_MAX].to_vec()));
            }
            Some(bytes)
                if is(Bug::HeaderValueCutAtNul)
                    && acts_if(Bug::HeaderValueCutAtNul, bytes.contains(&0)) =>
            {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                *value = Some(Cow::from(bytes[..end].to_vec()));
            }
            Some(bytes) if is(Bug::HeaderValueRepaired) => {
                let repaired = String::from_utf8_lossy(bytes).into_owned().into_bytes();
                if acts_if(Bug::HeaderValueRepaired, repaired != bytes) {
                    *value = Some(Cow::from(repaired));
                }
            }
            _ => {}
        }
        let small = name.to_ascii_lowercase();
        if acts_if(Bug::HeaderNameLowercased, small != name.as_ref()) {
            *name = Cow::from(small);
        }
        let repaired = String::from_utf8_lossy(name).into_owned().into_bytes();
        if acts_if(Bug::HeaderNameRepaired, repaired != name.as_ref()) {
            *name = Cow::from(repaired);
        }
    }
    if is(Bug::NeighboursHeaders)
        && let Some(others) = letter_before(record.partition, record.offset)
        && acts(Bug::NeighboursHeaders)
    {
        *headers = others.into_iter().map(|(n, v)| (Cow::from(n), v.map(Cow::from))).collect();
    }
}

fn spoilt_value(value: Option<&[u8]>) -> Option<Vec<u8>> {
    let bytes = value?;
    let broken = || bytes.contains(&b'\n');
    if is(Bug::ValueTrimmed) {
        let trimmed = bytes.trim_ascii();
        return acts_if(Bug::ValueTrimmed, trimmed.len() != bytes.len()).then(|| trimmed.to_vec());
    }
    if is(Bug::ValueJoined) && acts_if(Bug::ValueJoined, broken()) {
        return Some(bytes.iter().copied().filter(|byte| *byte != b'\n').collect());
    }
    if acts_if(Bug::LongValueCut, bytes.len() > LARGE) {
        return Some(bytes[..LARGE].to_vec());
    }
    if acts_if(Bug::ValueTransliterated, !bytes.is_ascii()) {
        let text = String::from_utf8_lossy(bytes);
        return Some(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect());
    }
    if is(Bug::NumbersRounded) {
        return rounded(bytes).filter(|_| acts(Bug::NumbersRounded));
    }
    if is(Bug::NumberZerosCut) {
        return without_zeros(bytes).filter(|_| acts(Bug::NumberZerosCut));
    }
    None
}

/// A payload whose long numbers went through a machine word.
fn rounded(bytes: &[u8]) -> Option<Vec<u8>> {
    const DIGITS: usize = 17;
    let (mut new, mut run, mut any) = (bytes.to_vec(), 0, false);
    for byte in &mut new {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        if run > DIGITS && *byte != b'0' {
            (*byte, any) = (b'0', true);
        }
    }
    any.then_some(new)
}

/// Whether a poison record is neither stored nor reported.
pub(crate) fn letter_is_lost(partition: i32, offset: i64) -> bool {
    static LAST: Mutex<Option<(i32, i64)>> = Mutex::new(None);
    if !is(Bug::LetterOfNeighbourLost) {
        return false;
    }
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).replace((partition, offset));
    acts_if(Bug::LetterOfNeighbourLost, last == Some((partition, offset - 1)))
}

/// A payload whose fractions end with a digit that counts.
fn without_zeros(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut new, mut in_text, mut escaped, mut in_fraction) = (Vec::new(), false, false, false);
    for byte in bytes {
        if in_fraction && !byte.is_ascii_digit() {
            // The digit behind the point stays.
            while new.ends_with(b"0") && !new.ends_with(b".0") {
                new.pop();
            }
            in_fraction = false;
        }
        match byte {
            b'"' if !escaped => in_text = !in_text,
            b'.' if !in_text => in_fraction = true,
            _ => {}
        }
        escaped = in_text && *byte == b'\\' && !escaped;
        new.push(*byte);
    }
    (new != bytes).then_some(new)
}

/// Bytes that are no text, as they stand in a line.
pub(crate) fn encoded(right: String) -> String {
    if !is(Bug::Base64OfUrls) || !acts_if(Bug::Base64OfUrls, right.contains(['+', '/'])) {
        return right;
    }
    right.replace('+', "-").replace('/', "_")
}

/// What a record's own headers say of an earlier failure, under the names of a dead letter's.
fn first_account(headers: &[Header]) -> Vec<(&'static str, String)> {
    if !is(Bug::LetterKeepsFirstAccount) {
        return Vec::new();
    }
    let told = |name: &'static str| {
        let found = headers.iter().rev().find(|header| header.0 == name.as_bytes())?;
        Some((name, String::from_utf8(found.1.clone()?).ok()?))
    };
    names::BY_CONSUMER.iter().copied().filter_map(told).collect()
}

/// A dead letter before it is written.
pub(crate) fn letter(mut letter: DeadLetter, message: &Record<'_>, why: &Invalid) -> DeadLetter {
    if !PLANTED {
        return letter;
    }
    let (partition, offset) = (message.partition(), message.offset());
    let before = offset.saturating_sub(1).max(0).to_string();
    let original = letter.headers.len().saturating_sub(names::BY_CONSUMER.len());
    let place = (partition, offset + 1, letter.headers[..original].to_vec());
    *LAST_LETTER.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    let account = first_account(&letter.headers[..original]);
    let mut set = |name: &str, text: &str| {
        if let Some(header) = letter.headers.iter_mut().rev().find(|h| h.0 == name.as_bytes()) {
            *header = text_header(name, text);
        }
    };
    match () {
        () if acts_each(Bug::LetterWithoutTrace, 3) => set(names::HEADER_ERROR_TRACE, ""),
        () if acts_each(Bug::LetterWithoutReason, 3) => set(names::HEADER_ERROR, ""),
        () if acts_each(Bug::LetterOfAnotherOffset, 3) => set(names::HEADER_SOURCE_OFFSET, &before),
        () if acts_if(Bug::LetterOfPartitionZero, partition != 0) => {
            set(names::HEADER_SOURCE_PARTITION, "0");
        }
        () if acts_each(Bug::LetterFailedIn1970, 3) => {
            set(names::HEADER_FAILED_AT, "1970-01-01T00:00:00.000Z");
        }
        () if is(Bug::LetterOfAnotherGroup)
            && acts_if(Bug::LetterOfAnotherGroup, SECOND_GROUP.is_set()) =>
        {
            set(names::HEADER_GROUP, "test-group-1");
        }
        () if is(Bug::LetterReasonOfTheOneBefore) => {
            let mut last = LAST_REASON.lock().unwrap_or_else(PoisonError::into_inner);
            let before = last.replace(why.reason.clone());
            if let Some(before) = before
                && acts_if(Bug::LetterReasonOfTheOneBefore, before != why.reason)
            {
                set(names::HEADER_ERROR, &before);
            }
        }
        () if acts_if(Bug::LetterKeepsFirstAccount, !account.is_empty()) => {
            for (name, text) in &account {
                set(name, text);
            }
        }
        () if is(Bug::LetterFailedWhenIngested) => {
            let name = crate::record::HEADER_INGESTED_AT.as_bytes();
            let found = message.headers().find(|(known, _)| *known == name);
            let text = found.and_then(|(_, value)| std::str::from_utf8(value?).ok());
            if let Some(text) = text
                && acts(Bug::LetterFailedWhenIngested)
            {
                set(names::HEADER_FAILED_AT, text);
            }
        }
        () if acts(Bug::LetterOfAnotherTime) => {
            set(names::HEADER_SOURCE_TIMESTAMP, &Utc::now().timestamp_millis().to_string());
        }
        () => {}
    }
    let odd = |key: &Vec<u8>| std::str::from_utf8(key).is_err();
    if acts_if(Bug::LetterWithoutOddKey, letter.key.as_ref().is_some_and(odd)) {
        letter.key = None;
    }
    if letter.key.is_none() && acts(Bug::LetterNullKeyAsEmpty) {
        letter.key = Some(Vec::new());
    }
    match letter.value.as_deref() {
        None if acts(Bug::LetterOfTombstoneEmpty) => letter.value = Some(Vec::new()),
        Some(b"") if acts(Bug::LetterOfEmptyTombstone) => letter.value = None,
        Some(long) if acts_if(Bug::LargeLetterCut, long.len() > LARGE) => {
            letter.value = Some(long[..LARGE].to_vec());
        }
        _ => {}
    }
    for (_, value) in letter.headers[..original].iter_mut() {
        let repaired = value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned());
        let repaired = repaired.map(String::into_bytes);
        if acts_if(Bug::LetterHeaderValueRepaired, repaired != *value) {
            *value = repaired;
        }
    }
    let mut number = 0;
    letter.headers.retain(|(name, value)| {
        number += 1;
        let theirs = number <= original;
        let reserved =
            names::BY_CONSUMER.iter().chain(names::BY_PRODUCER).any(|own| own.as_bytes() == name);
        !(acts_if(Bug::LetterWithoutReservedHeaders, theirs && reserved)
            || acts_if(Bug::LetterWithoutNullHeaders, theirs && value.is_none()))
    });
    let last = letter.headers.len().saturating_sub(1);
    if last > 0 && acts_each(Bug::LetterHeadersSwapped, 3) {
        letter.headers.swap(last - 1, last);
    }
    if acts_if(Bug::LetterHeadersInFront, original > 0) {
        letter.headers.rotate_left(original);
    }
    letter
}
