//! The quick way from a line to a fact, for the facts of which there are millions.
//!
//! It knows one spelling of each: the one that [`HistoryWriter`](super::HistoryWriter) writes, with
//! plain ASCII strings. Whatever differs, be it wrong or merely written otherwise, is left to the full
//! parser: this one never refuses a line, and what it takes it takes as the full parser would.
//!
//! A fact is read into the fact of its kind that was read before, so that nothing is allocated.

use super::event::*;

/// A fact of each kind to read into.
#[derive(Debug)]
pub(super) struct Fast {
    invoked: Event,
    completed: Event,
    logged: Event,
    committed: Event,
    read: Event,
    stored: Event,
}

impl Fast {
    pub(super) fn new() -> Self {
        let event = |fact| Event { t_us: 0, process: String::new(), seq: 0, fact };
        let (topic, group, member) = (String::new, String::new, String::new);
        let (partition, offset) = (0, 0);
        Self {
            invoked: event(Fact::Invoked(Invoked::default())),
            completed: event(Fact::Completed(Completed::new(
                0,
                None,
                Outcome::Acknowledged { topic: topic(), partition, offset },
            ))),
            logged: event(Fact::Logged(Logged::default())),
            committed: event(Fact::Committed(Committed {
                group: group(),
                topic: topic(),
                partition,
                offset,
                at_us: 0,
                exact: false,
            })),
            read: event(Fact::Read(Read {
                group: group(),
                member: member(),
                topic: topic(),
                partition,
                offset,
                value: None,
            })),
            stored: event(Fact::Stored(Stored::default())),
        }
    }

    /// The event of a line; none if it takes the full parser to tell.
    pub(super) fn parse(&mut self, line: &[u8]) -> Option<&Event> {
        let mut at = Cursor(line);
        at.literal(b"{\"t_us\":")?;
        let t_us = at.number()?;
        at.literal(b",\"process\":\"")?;
        let process = at;
        at.skip_text()?;
        at.literal(b",\"seq\":")?;
        let seq = at.number()?;
        at.literal(b",\"fact\":{\"")?;
        let (event, take): (_, fn(&mut Cursor<'_>, &mut Fact) -> Option<()>) =
            match *at.0.first()? {
                b'i' => (&mut self.invoked, invoked),
                b'l' => (&mut self.logged, logged),
                b's' => (&mut self.stored, stored),
                b'r' => (&mut self.read, read),
                b'c' if at.0.get(3) == Some(&b'p') => (&mut self.completed, completed),
                b'c' => (&mut self.committed, committed),
                _ => return None,
            };
        { process }.text(&mut event.process)?;
        (event.t_us, event.seq) = (t_us, seq);
        take(&mut at, &mut event.fact)?;
        at.literal(b"}}}")?;
        at.0.is_empty().then_some(event)
    }
}

fn invoked(at: &mut Cursor<'_>, fact: &mut Fact) -> Option<()> {
    let Fact::Invoked(fact) = fact else { return None };
    at.literal(b"invoked\":{\"op\":")?;
    fact.op = at.number()?;
    at.literal(b",\"topic\":\"")?;
    at.text(&mut fact.topic)?;
    at.literal(b",\"key\":")?;
    at.key(&mut fact.key)?;
    at.literal(b",\"value\":")?;
    fact.value = at.value()?;
    at.literal(b",\"bytes\":")?;
    fact.bytes = at.number()?;
    fact.poison = at.literal(b",\"poison\":true").is_some();
    at.header_list(&mut fact.header_list)
}

fn completed(at: &mut Cursor<'_>, fact: &mut Fact) -> Option<()> {
    let Fact::Completed(fact) = fact else { return None };
    let Outcome::Acknowledged { topic, partition, offset } = &mut fact.outcome else { return None };
    at.literal(b"completed\":{\"op\":")?;
    fact.op = at.number()?;
    at.literal(b",\"ingestion_id\":")?;
    at.optional_text(&mut fact.ingestion_id)?;
    at.literal(b",\"outcome\":{\"acknowledged\":{\"topic\":\"")?;
    at.text(topic)?;
    (*partition, *offset) = at.place()?;
    at.literal(b"}}")?;
    if at.literal(b",\"key\":").is_none() {
        fact.key = None;
        return Some(());
    }
    at.key(&mut fact.key)
}

fn logged(at: &mut Cursor<'_>, fact: &mut Fact) -> Option<()> {
    let Fact::Logged(fact) = fact else { return None };
    at.literal(b"logged\":{\"topic\":\"")?;
    at.text(&mut fact.topic)?;
    (fact.partition, fact.offset) = at.place()?;
    at.literal(b",\"timestamp_ms\":")?;
    fact.timestamp_ms = at.optional_instant()?;
    fact.ingested_ms = at.ingested()?;
    fact.op = at.named(&mut fact.ingestion_id, &mut fact.key)?;
    (fact.value, fact.headers) = at.prints()?;
    at.header_list(&mut fact.header_list)
}

fn committed(at: &mut Cursor<'_>, fact: &mut Fact) -> Option<()> {
    let Fact::Committed(fact) = fact else { return None };
    at.literal(b"committed\":{\"group\":\"")?;
    at.text(&mut fact.group)?;
    at.literal(b",\"topic\":\"")?;
    at.text(&mut fact.topic)?;
    (fact.partition, fact.offset) = at.place()?;
    at.literal(b",\"at_us\":")?;
    fact.at_us = at.number()?;
    at.literal(b",\"exact\":")?;
    fact.exact = at.literal(b"true").is_some();
    if fact.exact { Some(()) } else { at.literal(b"false") }
}

fn read(at: &mut Cursor<'_>, fact: &mut Fact) -> Option<()> {
    let Fact::Read(fact) = fact else { return None };
    at.literal(b"read\":{\"group\":\"")?;
    at.text(&mut fact.group)?;
    at.literal(b",\"member\":\"")?;
    at.text(&mut fact.member)?;
    at.literal(b",\"topic\":\"")?;
    at.text(&mut fact.topic)?;
    (fact.partition, fact.offset) = at.place()?;
    fact.value = match at.literal(b",\"value\":") {
        Some(()) => Some(at.value()?),
        None => None,
    };
    Some(())
}

fn stored(at: &mut Cursor<'_>, fact: &mut Fact) -> Option<()> {
    let Fact::Stored(fact) = fact else { return None };
    at.literal(b"stored\":{\"object\":")?;
    fact.object = at.small()?;
    at.literal(b",\"line\":")?;
    fact.line = at.small()?;
    at.literal(b",\"topic\":\"")?;
    at.text(&mut fact.topic)?;
    (fact.partition, fact.offset) = at.place()?;
    at.literal(b",\"timestamp_ms\":")?;
    fact.timestamp_ms = at.optional_instant()?;
    fact.ingested_ms = at.ingested()?;
    fact.op = at.named(&mut fact.ingestion_id, &mut fact.key)?;
    (fact.value, fact.headers) = at.prints()?;
    at.header_list(&mut fact.header_list)
}

/// What is left of a line. Each step takes something off its front, or gives none.
#[derive(Clone, Copy)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    #[inline]
    fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// An unsigned number as JSON writes it, without sign, point, exponent or leading zeros.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let (mut value, mut digits) = (0u64, 0);
        while let Some(digit) = self.0.get(digits).map(|byte| byte.wrapping_sub(b'0')) {
            if digit > 9 {
                break;
            }
            // Nineteen digits cannot overflow; longer numbers are rare.
            if digits == 19 {
                return None;
            }
            value = value * 10 + u64::from(digit);
            digits += 1;
        }
        if digits == 0 || (digits > 1 && self.0[0] == b'0') {
            return None;
        }
        self.0 = &self.0[digits..];
        Some(value)
    }

    #[inline]
    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    #[inline]
    fn instant(&mut self) -> Option<i64> {
        i64::try_from(self.number()?).ok()
    }

    #[inline]
    fn optional_instant(&mut self) -> Option<Option<i64>> {
        match self.literal(b"null") {
            Some(()) => Some(None),
            None => self.instant().map(Some),
        }
    }

    /// The instant of ingestion, which need not be there.
    #[inline]
    fn ingested(&mut self) -> Option<Option<i64>> {
        match self.literal(b",\"ingested_ms\":") {
            Some(()) => self.instant().map(Some),
            None => Some(None),
        }
    }

    #[inline]
    fn optional_number(&mut self) -> Option<Option<u64>> {
        match self.literal(b"null") {
            Some(()) => Some(None),
            None => self.number().map(Some),
        }
    }

    /// Plain text up to and with its closing quote; the opening one is gone already.
    #[inline]
    fn plain(&mut self) -> Option<&'a str> {
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        let end = self.0.iter().position(|byte| !plain(byte))?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok()
    }

    #[inline]
    fn skip_text(&mut self) -> Option<()> {
        self.plain().map(|_| ())
    }

    /// Text into a buffer that most often holds it already.
    #[inline]
    fn text(&mut self, into: &mut String) -> Option<()> {
        if let Some(rest) = self.0.strip_prefix(into.as_bytes())
            && let Some(rest) = rest.strip_prefix(b"\"")
        {
            self.0 = rest;
            return Some(());
        }
        let text = self.plain()?;
        into.clear();
        into.push_str(text);
        Some(())
    }

    /// Plain text in quotes into a buffer, or `null`.
    #[inline]
    fn optional<T: Default>(&mut self, into: &mut Option<T>, put: fn(&mut T, &str)) -> Option<()> {
        if self.literal(b"null").is_some() {
            *into = None;
            return Some(());
        }
        self.literal(b"\"")?;
        put(into.get_or_insert_default(), self.plain()?);
        Some(())
    }

    #[inline]
    fn optional_text(&mut self, into: &mut Option<String>) -> Option<()> {
        self.optional(into, |into, text| {
            into.clear();
            into.push_str(text);
        })
    }

    #[inline]
    fn key(&mut self, into: &mut Option<Blob>) -> Option<()> {
        self.optional(into, |Blob(into), text| {
            into.clear();
            into.extend_from_slice(text.as_bytes());
        })
    }

    /// Partition and offset, after the topic.
    #[inline]
    fn place(&mut self) -> Option<(u32, u64)> {
        self.literal(b",\"partition\":")?;
        let partition = self.small()?;
        self.literal(b",\"offset\":")?;
        Some((partition, self.number()?))
    }

    /// Operation, ingestion id and key of a record; gives back the operation.
    #[inline]
    fn named(&mut self, id: &mut Option<String>, key: &mut Option<Blob>) -> Option<Option<u64>> {
        self.literal(b",\"op\":")?;
        let op = self.optional_number()?;
        self.literal(b",\"ingestion_id\":")?;
        self.optional_text(id)?;
        self.literal(b",\"key\":")?;
        self.key(key)?;
        Some(op)
    }

    /// The fingerprints of value and headers.
    #[inline]
    fn prints(&mut self) -> Option<(Print, Print)> {
        self.literal(b",\"value\":")?;
        let value = self.value()?;
        self.literal(b",\"headers\":\"")?;
        Some((value, self.print()?))
    }

    /// The fingerprint of a value in quotes, or `null`.
    #[inline]
    fn value(&mut self) -> Option<Print> {
        if self.literal(b"null").is_some() {
            return Some(Print::NULL);
        }
        self.literal(b"\"")?;
        self.print()
    }

    /// The headers, which need not be there: names and values that are plain text, or null.
    fn header_list(&mut self, into: &mut Option<Vec<HeaderPair>>) -> Option<()> {
        if self.literal(b",\"header_list\":[").is_none() {
            *into = None;
            return Some(());
        }
        let list = into.get_or_insert_default();
        list.clear();
        if self.literal(b"]").is_some() {
            return Some(());
        }
        loop {
            self.literal(b"[\"")?;
            let name = self.plain()?;
            self.literal(b",")?;
            let value = match self.literal(b"null") {
                Some(()) => None,
                None => {
                    self.literal(b"\"")?;
                    Some(self.plain()?)
                }
            };
            self.literal(b"]")?;
            let piece = |text: &str| Piece::Whole(Blob(text.as_bytes().to_vec()));
            list.push(HeaderPair(piece(name), value.map(piece)));
            if self.literal(b",").is_none() {
                return self.literal(b"]");
            }
        }
    }

    /// Sixteen hexadecimal digits and the closing quote.
    #[inline]
    fn print(&mut self) -> Option<Print> {
        let (digits, rest) = self.0.split_first_chunk::<16>()?;
        let (mut value, mut wrong) = (0u64, 0);
        for &digit in digits {
            let number = HEX[usize::from(digit)];
            wrong |= number;
            value = value << 4 | u64::from(number);
        }
        self.0 = rest.strip_prefix(b"\"")?;
        (wrong < 16).then_some(Print(value))
    }
}

/// The value of a lower-case hexadecimal digit; 255 for other bytes.
static HEX: [u8; 256] = {
    let mut table = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sample::legal;
    use proptest::prelude::*;

    /// The lines of a history, without header and trailer.
    fn lines(seed: u64) -> Vec<Vec<u8>> {
        let bytes = legal::history(seed, 60).bytes().unwrap();
        let lines: Vec<_> = bytes.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
        lines[1..lines.len() - 2].to_vec()
    }

    fn agrees(fast: &mut Fast, line: &[u8]) -> bool {
        let Some(event) = fast.parse(line) else { return false };
        let full: Event = serde_json::from_slice(line).expect("what is taken is no mistake");
        assert_eq!(*event, full);
        true
    }

    #[test]
    fn frequent_facts_go_the_quick_way_and_come_to_the_same() {
        let mut fast = Fast::new();
        for seed in 0..100 {
            for line in lines(seed) {
                let text = String::from_utf8(line.clone()).unwrap();
                let frequent = ["invoked", "acknowledged", "logged", "committed", "stored"]
                    .iter()
                    .any(|name| text.contains(&format!("{{\"{name}\":")));
                assert_eq!(agrees(&mut fast, &line), frequent, "{text}");
            }
        }
    }

    #[test]
    fn absent_values_and_listed_headers_go_the_quick_way() {
        let mut fast = Fast::new();
        let rest =
            r#""op":null,"ingestion_id":null,"key":null,"value":null,"headers":"00000000000000ff""#;
        let lists = [
            "",
            r#","header_list":[]"#,
            r#","header_list":[["a","1"],["a",null],["",""]]"#,
            // A list must not be left over from the line before.
            "",
        ];
        for list in lists {
            for (name, place) in [("logged", ""), ("stored", "\"object\":3,\"line\":1,")] {
                let line = format!(
                    "{{\"t_us\":1,\"process\":\"p\",\"seq\":0,\"fact\":{{\"{name}\":{{{place}\"topic\":\"t\",\
                     \"partition\":0,\"offset\":7,\"timestamp_ms\":null,\"ingested_ms\":5,{rest}{list}}}}}}}"
                );
                assert!(agrees(&mut fast, line.as_bytes()), "{line}");
                let absent =
                    line.replace("\"timestamp_ms\":null,\"ingested_ms\":5,", "\"timestamp_ms\":9,");
                assert!(agrees(&mut fast, absent.as_bytes()), "{absent}");
            }
        }
        for list in
            ["[[\"a\"]]", "[[\"a\",1]]", "[[\"a\",\"1\"],]", "[{\"base64\":\"/w==\"}]", "null"]
        {
            let line = format!(
                "{{\"t_us\":1,\"process\":\"p\",\"seq\":0,\"fact\":{{\"logged\":{{\"topic\":\"t\",\"partition\":0,\
                 \"offset\":7,\"timestamp_ms\":1,{rest},\"header_list\":{list}}}}}}}"
            );
            assert!(!agrees(&mut fast, line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn receipts_with_and_without_a_key_go_the_quick_way() {
        let mut fast = Fast::new();
        // A key must not be left over from the line before.
        for key in [r#","key":"k""#, "", r#","key":"""#, ""] {
            let line = format!(
                "{{\"t_us\":1,\"process\":\"p\",\"seq\":0,\"fact\":{{\"completed\":{{\"op\":1,\
                 \"ingestion_id\":null,\"outcome\":{{\"acknowledged\":{{\"topic\":\"t\",\"partition\":0,\
                 \"offset\":7}}}}{key}}}}}}}"
            );
            assert!(agrees(&mut fast, line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn rare_spellings_are_left_to_the_full_parser_or_come_to_the_same() {
        let mut fast = Fast::new();
        let line = r#"{"t_us":1,"process":"p","seq":0,"fact":{"read":{"group":"g","member":"m","topic":"t","partition":0,"offset":7,"value":"00000000000000ff"}}}"#;
        assert!(agrees(&mut fast, line.as_bytes()));
        assert!(agrees(&mut fast, line.replace(",\"value\":\"00000000000000ff\"", "").as_bytes()));
        for (from, to) in [
            ("\"offset\":7", "\"offset\":-7"),
            ("\"offset\":7", "\"offset\":07"),
            ("\"offset\":7", "\"offset\":7.0"),
            ("\"offset\":7", "\"offset\":18446744073709551616"),
            ("\"offset\":7", "\"offset\":18446744073709551615"),
            ("\"partition\":0", "\"partition\":4294967296"),
            ("\"seq\":0", "\"seq\": 0"),
            ("\"g\"", "\"\\u0067\""),
            ("\"g\"", "\"g\u{7f}\""),
            ("\"g\"", "\"ü\""),
            ("\"g\"", "\"g"),
            ("00ff", "00FF"),
            ("00ff", "0ff"),
            ("}}}", "}}"),
            ("}}}", "}}} "),
            ("\"read\"", "\"reed\""),
        ] {
            let other = line.replace(from, to);
            assert_ne!(other, line);
            assert!(!agrees(&mut fast, other.as_bytes()), "{other}");
        }
    }

    proptest! {
        /// Whatever a line is changed into: what is taken is what the full parser takes.
        #[test]
        fn changed_lines_come_to_the_same(
            seed in 0u64..20,
            at in any::<proptest::sample::Index>(),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let lines = lines(seed);
            let mut line = lines[at.index(lines.len())].clone();
            for (place, byte) in changes {
                let place = place.index(line.len());
                // Half of the changes are to what lines are made of.
                line[place] = if byte < 128 { byte } else { b"0123456789\"{},:-anull"[usize::from(byte) % 21] };
            }
            agrees(&mut Fast::new(), &line);
        }
    }
}
