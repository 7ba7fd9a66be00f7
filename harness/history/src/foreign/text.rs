//! Bytes of a file as text in UTF-8, whatever wrote them: a byte order mark is dropped, UTF-16 (as
//! a redirection in PowerShell writes it) is turned into UTF-8, and JSON objects that follow each
//! other without line breaks get a line each where that is asked for.
//!
//! Other encodings are not guessed. A file that is compressed is named as such by [`compressed`].

use std::io::{self, BufRead, Read};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16 { big_endian: bool },
}

/// Text of a file.
#[derive(Debug)]
pub(super) struct Text<R> {
    input: R,
    encoding: Encoding,
    // What was decoded and not read yet.
    ready: Vec<u8>,
    at: usize,
    // The first half of a unit of two bytes, and of a pair of two units.
    half: Option<u8>,
    high: Option<u16>,
}

impl<R: BufRead> Text<R> {
    pub(super) fn new(mut input: R) -> io::Result<Self> {
        let (encoding, skip) = match input.fill_buf()? {
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3),
            [0xff, 0xfe, ..] => (Encoding::Utf16 { big_endian: false }, 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16 { big_endian: true }, 2),
            [a, 0, b, 0, ..] if *a != 0 && *b != 0 => (Encoding::Utf16 { big_endian: false }, 0),
            [0, a, 0, b, ..] if *a != 0 && *b != 0 => (Encoding::Utf16 { big_endian: true }, 0),
            _ => (Encoding::Utf8, 0),
        };
        input.consume(skip);
        Ok(Self { input, encoding, ready: Vec::new(), at: 0, half: None, high: None })
    }

    fn refill(&mut self, big_endian: bool) -> io::Result<()> {
        self.ready.clear();
        self.at = 0;
        while self.ready.is_empty() {
            let bytes = self.input.fill_buf()?.to_vec();
            if bytes.is_empty() {
                // The file ends within a character.
                if self.half.take().is_some() | self.high.take().is_some() {
                    self.push(char::REPLACEMENT_CHARACTER);
                }
                return Ok(());
            }
            self.input.consume(bytes.len());
            for byte in bytes {
                match self.half.take() {
                    None => self.half = Some(byte),
                    Some(first) if big_endian => self.unit(u16::from_be_bytes([first, byte])),
                    Some(first) => self.unit(u16::from_le_bytes([first, byte])),
                }
            }
        }
        Ok(())
    }

    fn unit(&mut self, unit: u16) {
        let high = self.high.take();
        if high.is_none() && (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return;
        }
        for decoded in char::decode_utf16(high.into_iter().chain([unit])) {
            self.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
    }

    fn push(&mut self, c: char) {
        self.ready.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

impl<R: BufRead> BufRead for Text<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Encoding::Utf16 { big_endian } = self.encoding else { return self.input.fill_buf() };
        if self.at >= self.ready.len() {
            self.refill(big_endian)?;
        }
        Ok(&self.ready[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        match self.encoding {
            Encoding::Utf8 => self.input.consume(amount),
            Encoding::Utf16 { .. } => self.at = self.ready.len().min(self.at + amount),
        }
    }
}

impl<R: BufRead> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

fn read_buffered(input: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let ready = input.fill_buf()?;
    let length = ready.len().min(buffer.len());
    buffer[..length].copy_from_slice(&ready[..length]);
    input.consume(length);
    Ok(length)
}

/// Text with a line break behind each JSON object, where its writer set none.
#[derive(Debug)]
pub(super) struct OneObjectALine<R> {
    input: R,
    on: bool,
    depth: u64,
    in_string: bool,
    escaped: bool,
    ready: Vec<u8>,
    at: usize,
}

impl<R: BufRead> OneObjectALine<R> {
    /// `on`: otherwise the text passes as it is.
    pub(super) fn new(input: R, on: bool) -> Self {
        let (depth, in_string, escaped) = (0, false, false);
        Self { input, on, depth, in_string, escaped, ready: Vec::new(), at: 0 }
    }

    fn take(&mut self, byte: u8) {
        self.ready.push(byte);
        match byte {
            b'\n' if self.depth == 0 => self.in_string = false,
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' if self.depth > 0 => self.in_string = !self.in_string,
            b'{' if !self.in_string => self.depth += 1,
            b'}' if !self.in_string && self.depth > 0 => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.ready.push(b'\n');
                }
            }
            _ => {}
        }
    }
}

impl<R: BufRead> BufRead for OneObjectALine<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.on {
            return self.input.fill_buf();
        }
        if self.at >= self.ready.len() {
            self.ready.clear();
            self.at = 0;
            let bytes = self.input.fill_buf()?.to_vec();
            self.input.consume(bytes.len());
            bytes.into_iter().for_each(|byte| self.take(byte));
        }
        Ok(&self.ready[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        match self.on {
            true => self.at = self.ready.len().min(self.at + amount),
            false => self.input.consume(amount),
        }
    }
}

impl<R: BufRead> Read for OneObjectALine<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

/// What a file is packed with, by its first bytes.
pub(super) fn compressed(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("Zstandard"),
        [b'P', b'K', 3, 4, ..] => Some("zip"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn decoded(bytes: &[u8], capacity: usize) -> String {
        let input = BufReader::with_capacity(capacity, bytes);
        let mut text = String::new();
        Text::new(input).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn utf16(text: &str, big_endian: bool, mark: bool) -> Vec<u8> {
        let mark = mark.then_some(0xfeff_u16);
        let bytes = |unit: u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() };
        mark.into_iter().chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    proptest! {
        #[test]
        fn text_is_the_same_in_each_encoding(text in "\\PC{0,40}", big: bool, capacity in 4usize..32) {
            prop_assert_eq!(decoded(&utf16(&text, big, true), capacity), text.clone());
            let marked = [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat();
            prop_assert_eq!(decoded(&marked, capacity), text.clone());
            let plain = format!("{{\"{text}");
            prop_assert_eq!(decoded(&utf16(&plain, big, false), capacity), plain);
        }

        #[test]
        fn objects_get_a_line_each(values in proptest::collection::vec("\\PC{0,12}", 1..8), capacity in 1usize..64) {
            let objects: Vec<String> =
                values.iter().map(|v| serde_json::json!({"a": {"b": v}, "{": "}\"{"}).to_string()).collect();
            let joined = objects.concat();
            let input = BufReader::with_capacity(capacity, joined.as_bytes());
            let mut text = String::new();
            OneObjectALine::new(input, true).read_to_string(&mut text).unwrap();
            prop_assert_eq!(text.lines().collect::<Vec<_>>(), objects);
        }
    }

    #[test]
    fn half_a_character_at_the_end_is_replaced_and_ends() {
        assert_eq!(decoded(&[0xff, 0xfe, b'a', 0, 0x3d, 0xd8], 16), "a\u{fffd}");
        assert_eq!(decoded(&[0xff, 0xfe, b'a', 0, b'b'], 16), "a\u{fffd}");
    }
}
