//! How fingerprints and bytes are written in a history.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::event::{Blob, Print};

impl Print {
    /// Fingerprint of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_64(bytes))
    }

    /// Fingerprint of a record's headers: names and values in order, each with its length before
    /// it, a null value apart from an empty one.
    #[must_use]
    pub fn of_headers<'a>(headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        let mut hasher = Xxh3::new();
        for (name, value) in headers {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
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
    fn header_prints_tell_null_from_empty_and_where_a_name_ends() {
        let null = Print::of_headers([("a", None)]);
        let empty = Print::of_headers([("a", Some(&b""[..]))]);
        let shifted = Print::of_headers([("ab", Some(&b"c"[..]))]);
        let plain = Print::of_headers([("a", Some(&b"bc"[..]))]);
        assert_ne!(null, empty);
        assert_ne!(shifted, plain);
    }
}
