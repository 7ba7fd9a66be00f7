//! How fingerprints and bytes are written in a history.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::event::{Blob, HeaderPair, Piece, Print};

impl Print {
    /// Stands for a value that nobody told: it is compared with nothing.
    pub const UNTOLD: Self = Self(0x756e_746f_6c64_2e2e);

    /// Stands for a value that is absent, apart from an empty one; written as `null`.
    pub const NULL: Self = Self(0x6e6f_2076_616c_7565);

    /// Fingerprint of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_64(bytes))
    }

    /// Fingerprint of a value, or [`Print::NULL`].
    #[must_use]
    pub fn of_value(value: Option<&[u8]>) -> Self {
        value.map_or(Self::NULL, Self::of)
    }

    /// Fingerprint of a record's headers: names and values in order, each with its length before
    /// it, a null value apart from an empty one.
    #[must_use]
    pub fn of_headers<'a, N: AsRef<[u8]>>(
        headers: impl IntoIterator<Item = (N, Option<&'a [u8]>)>,
    ) -> Self {
        let mut hasher = Xxh3::new();
        for (name, value) in headers {
            let name = name.as_ref();
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name);
            match value {
                Some(value) => {
                    hasher.update(&(value.len() as u64).to_le_bytes());
                    hasher.update(value);
                }
                None => hasher.update(&u64::MAX.to_le_bytes()),
            }
        }
        Self(hasher.digest())
    }
}

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Print {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Print {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Print;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 hexadecimal digits, lower case")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Print, E> {
                if text.len() != 16 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                {
                    return Err(E::invalid_value(de::Unexpected::Str(text), &self));
                }
                u64::from_str_radix(text, 16).map(Print).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

/// A fingerprint of a value that may be absent: `null` then.
pub(super) mod nullable {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        print: &Print,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        (*print != Print::NULL).then_some(print).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Print, D::Error> {
        Ok(Option::<Print>::deserialize(deserializer)?.unwrap_or(Print::NULL))
    }
}

/// The same where a field that is left out says something else than `null`.
pub(super) mod nullable_if_told {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        print: &Option<Print>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        print.filter(|print| *print != Print::NULL).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Print>, D::Error> {
        nullable::deserialize(deserializer).map(Some)
    }
}

impl Piece {
    /// The longest name or value that is kept whole.
    pub const WHOLE_MAX: usize = 256;

    /// What is kept of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.len() > Self::WHOLE_MAX {
            return Self::Long { bytes: bytes.len() as u64, print: Print::of(bytes) };
        }
        Self::Whole(Blob(bytes.to_vec()))
    }

    /// The bytes, if they are all there.
    #[must_use]
    pub fn whole(&self) -> Option<&[u8]> {
        match self {
            Self::Whole(blob) => Some(&blob.0),
            Self::Long { .. } => None,
        }
    }
}

impl fmt::Display for Piece {
    /// For a sentence: nothing in it can break a line or a terminal, bytes that are not UTF-8 are
    /// escaped one by one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long { bytes, print } => write!(f, "{bytes} bytes with the fingerprint {print}"),
            Self::Whole(blob) => match std::str::from_utf8(&blob.0) {
                Ok(text) => write!(f, "`{}`", text.escape_debug()),
                Err(_) => write!(f, "`{}` (bytes)", blob.0.escape_ascii()),
            },
        }
    }
}

impl HeaderPair {
    /// A header as a record bears it.
    #[must_use]
    pub fn of(name: &[u8], value: Option<&[u8]>) -> Self {
        Self(Piece::of(name), value.map(Piece::of))
    }

    /// It has this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.0.whole() == Some(name.as_bytes())
    }

    /// Its value, if it is short and UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.1.as_ref()?.whole()?).ok()
    }

    /// The fingerprint of a list as [`Print::of_headers`] would have it; none if a piece of it is too
    /// long to be there.
    #[must_use]
    pub fn print_of(list: &[Self]) -> Option<Print> {
        let whole = |pair: &Self| {
            pair.0.whole().is_some() && pair.1.as_ref().is_none_or(|value| value.whole().is_some())
        };
        list.iter().all(whole).then(|| {
            Print::of_headers(list.iter().map(|Self(name, value)| {
                (name.whole().unwrap_or_default(), value.as_ref().and_then(Piece::whole))
            }))
        })
    }
}

impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(blob) => blob.serialize(serializer),
            Self::Long { bytes, print } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("bytes", bytes)?;
                map.serialize_entry("xxh3", print)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Piece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            bytes: u64,
            xxh3: Print,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Whole(Blob),
            Long(Long),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Whole(blob) => Self::Whole(blob),
            Either::Long(Long { bytes, xxh3 }) => Self::Long { bytes, print: xxh3 },
        })
    }
}

impl Blob {
    /// The bytes for a person: UTF-8 as it is, anything else replaced; not escaped.
    #[must_use]
    pub fn lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &BASE64.encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or {\"base64\": \"…\"}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
                Ok(Blob(text.as_bytes().to_vec()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Blob, A::Error> {
                let Some((name, text)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::custom("an empty object where bytes were expected"));
                };
                if name != "base64" {
                    return Err(de::Error::unknown_field(&name, &["base64"]));
                }
                BASE64.decode(text).map(Blob).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blobs_survive_a_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let blob = Blob(bytes);
            let text = serde_json::to_string(&blob).unwrap();
            prop_assert_eq!(serde_json::from_str::<Blob>(&text).unwrap(), blob);
        }

        #[test]
        fn prints_survive_a_round_trip(number in any::<u64>()) {
            let text = serde_json::to_string(&Print(number)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Print>(&text).unwrap(), Print(number));
        }
    }

    #[test]
    fn an_absent_value_is_written_as_null_and_is_not_an_empty_one() {
        use crate::event::{Invoked, Read};
        assert_ne!(Print::of_value(Some(b"")), Print::NULL);
        let none = Invoked { value: Print::NULL, ..Invoked::default() };
        let text = serde_json::to_string(&none).unwrap();
        assert!(text.contains("\"value\":null"), "{text}");
        assert_eq!(serde_json::from_str::<Invoked>(&text).unwrap(), none);
        let read = |value| {
            let text = format!(
                "{{\"group\":\"g\",\"member\":\"m\",\"topic\":\"t\",\"partition\":0,\"offset\":1{value}}}"
            );
            let read: Read = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
            read.value
        };
        assert_eq!(read(""), None);
        assert_eq!(read(",\"value\":null"), Some(Print::NULL));
        assert_eq!(read(",\"value\":\"00000000000000ff\""), Some(Print(255)));
    }

    #[test]
    fn headers_are_kept_whole_or_told_apart_by_length_and_fingerprint() {
        let long = vec![b'x'; Piece::WHOLE_MAX + 1];
        for (pair, text) in [
            (HeaderPair::of(b"a", Some(b"1")), "[\"a\",\"1\"]".to_owned()),
            (HeaderPair::of(b"a", None), "[\"a\",null]".to_owned()),
            (HeaderPair::of(b"\xff", Some(b"")), "[{\"base64\":\"/w==\"},\"\"]".to_owned()),
            (
                HeaderPair::of(b"a", Some(&long)),
                format!("[\"a\",{{\"bytes\":257,\"xxh3\":\"{}\"}}]", Print::of(&long)),
            ),
        ] {
            assert_eq!(serde_json::to_string(&pair).unwrap(), text);
            assert_eq!(serde_json::from_str::<HeaderPair>(&text).unwrap(), pair);
        }
        let list = [HeaderPair::of(b"a", None), HeaderPair::of(b"\xff", Some(b"1"))];
        let raw: [(&[u8], Option<&[u8]>); 2] = [(b"a", None), (b"\xff", Some(b"1"))];
        assert_eq!(HeaderPair::print_of(&list), Some(Print::of_headers(raw)));
        assert_eq!(HeaderPair::print_of(&[HeaderPair::of(b"a", Some(&long))]), None);
    }

    #[test]
    fn header_prints_tell_null_from_empty_and_where_a_name_ends() {
        let null = Print::of_headers([("a", None)]);
        let empty = Print::of_headers([("a", Some(&b""[..]))]);
        let shifted = Print::of_headers([("ab", Some(&b"c"[..]))]);
        let plain = Print::of_headers([("a", Some(&b"bc"[..]))]);
        assert_ne!(null, empty);
        assert_ne!(shifted, plain);
    }
}
