//! A row of a table under test, as the database's log and the change events tell of it.
//!
//! Both sides write values their own way: `12.30` and the bytes of 1230 with a scale, a time of day and
//! a count of microseconds. The observers bring both into one spelling, which stands here:
//!
//! | kind of column | spelling |
//! |---|---|
//! | whole numbers, booleans | `42`, `true` |
//! | numeric | shortest decimal, without zeros at its end: `12.3` |
//! | floating point | as Rust prints the shortest number that reads back the same |
//! | date; time of day | `2026-01-02`; `03:04:05.678901` |
//! | timestamp without and with time zone | `2026-01-02T03:04:05.678901`, in UTC with a `Z` behind it |
//! | bytes | `\x00ff` |
//! | arrays | JSON array of strings and nulls |
//! | anything else | the text of the value |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Print;

/// A row: column → value, `null` where the database has NULL.
pub type RowImage = BTreeMap<String, Option<Column>>;

/// Texts up to so many bytes stand in a history as they are.
const WHOLE_BYTES_MAX: usize = 256;
/// Characters of a longer one that stand in a history.
const BEGINS_CHARS: usize = 32;

/// The value of a column that is not NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// The value in the spelling of this module.
    Text(String),
    /// A long value, by its fingerprint.
    Long(LongColumn),
    /// The value was not told because the change left it alone: it is stored apart from its row.
    Unavailable(Unavailable),
}

/// A value that is too long for a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongColumn {
    /// Its length in bytes.
    pub bytes: u64,
    /// Fingerprint of all of it.
    pub value: Print,
    /// Its first characters, for a reader.
    pub begins: String,
}

/// Written as `{"unavailable":true}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unavailable {
    /// Always true.
    pub unavailable: bool,
}

impl Column {
    /// A value that was not told.
    pub const UNAVAILABLE: Self = Self::Unavailable(Unavailable { unavailable: true });

    /// A value, by its fingerprint if it is long.
    #[must_use]
    pub fn of(text: String) -> Self {
        if text.len() <= WHOLE_BYTES_MAX {
            return Self::Text(text);
        }
        Self::Long(LongColumn {
            bytes: text.len() as u64,
            value: Print::of(text.as_bytes()),
            begins: text.chars().take(BEGINS_CHARS).collect(),
        })
    }

    /// It was told.
    #[must_use]
    pub fn is_available(&self) -> bool {
        !matches!(self, Self::Unavailable(_))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_written_as_the_module_says() {
        let row: RowImage = [
            ("a", Some(Column::of("x".to_owned()))),
            ("b", None),
            ("c", Some(Column::UNAVAILABLE)),
            ("d", Some(Column::of("y".repeat(300)))),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let text = serde_json::to_string(&row).unwrap();
        assert!(text.starts_with(
            "{\"a\":\"x\",\"b\":null,\"c\":{\"unavailable\":true},\"d\":{\"bytes\":300,"
        ));
        assert_eq!(serde_json::from_str::<RowImage>(&text).unwrap(), row);
        assert!(serde_json::from_str::<RowImage>("{\"a\":7}").is_err());
    }
}
