//! The database's log as its plugin `test_decoding` writes it: `BEGIN`, a line a row, `COMMIT`.

use chrono::DateTime;

use super::values;
use streamlake_history::Recorder;
use streamlake_history::event::{Column, Lsn, RowImage, RowOperation, SourceChange};

/// A column that every table under test has: the number of the change that made the row.
const REVISION: &str = "revision";
const KEY: &str = "id";

/// A committed row change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) table: String,
    pub(super) lsn: Lsn,
    key: String,
    operation: RowOperation,
    before: Option<RowImage>,
    after: Option<RowImage>,
    unchanged: Vec<String>,
    transaction: u64,
    pub(super) commit_lsn: Lsn,
    committed_us: i64,
}

impl Change {
    pub(super) fn fact(self, change: u64, recorder: &Recorder) -> SourceChange {
        let revision = self.after.as_ref().and_then(|row| number(row, REVISION));
        SourceChange {
            change,
            table: self.table,
            key: self.key,
            operation: self.operation,
            revision,
            transaction: self.transaction,
            lsn: self.lsn,
            committed_us: recorder.run_us_of_wall_us(self.committed_us),
            commit_lsn: Some(self.commit_lsn),
            before: self.before,
            after: self.after,
            unchanged: self.unchanged,
        }
    }
}

fn number(row: &RowImage, column: &str) -> Option<u64> {
    match row.get(column)? {
        Some(Column::Text(text)) => text.parse().ok(),
        _ => None,
    }
}

fn key(row: &RowImage) -> Option<String> {
    Some(format!("{{\"{KEY}\":{}}}", number(row, KEY)?))
}

/// Reads rows of position and text, in the order of the commits.
pub(super) fn parse(rows: &[Vec<Option<String>>]) -> Result<Vec<Change>, String> {
    let (mut done, mut open) = (Vec::new(), Vec::new());
    for row in rows {
        let [Some(lsn), Some(text)] = row.as_slice() else {
            return Err(format!("a row of the log that is none: {row:?}"));
        };
        if let Some(commit) = text.strip_prefix("COMMIT ") {
            let (transaction, at) = committed(commit).ok_or_else(|| strange(text))?;
            let commit_lsn = lsn.parse()?;
            done.extend(open.drain(..).map(|change| Change {
                transaction,
                commit_lsn,
                committed_us: at,
                ..change
            }));
        } else if let Some(rest) = text.strip_prefix("table ") {
            open.extend(changed(rest, lsn.parse()?).ok_or_else(|| strange(text))?);
        }
    }
    Ok(done)
}

fn strange(text: &str) -> String {
    let begins: String = text.chars().take(300).collect();
    format!("a line of the log that cannot be understood: {begins:?}")
}

/// `745 (at 2026-11-02 10:00:00.123456+00)`
fn committed(text: &str) -> Option<(u64, i64)> {
    let (transaction, at) = text.split_once(" (at ")?;
    let at = DateTime::parse_from_str(at.strip_suffix(')')?, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?;
    Some((transaction.parse().ok()?, at.timestamp_micros()))
}

/// `public.orders: INSERT: id[bigint]:1 revision[bigint]:1 note[text]:'x'`. An update that gives a row
/// another key is two changes, as it is two events: the old row goes, the new one comes.
fn changed(text: &str, lsn: Lsn) -> Option<Vec<Change>> {
    let (table, rest) = text.split_once(": ")?;
    let (operation, columns) = rest.split_once(": ")?;
    let (mut before, mut after, mut unchanged) = (None, None, Vec::new());
    match operation {
        "INSERT" => after = Some(tuple(columns, &mut unchanged)?.0),
        "DELETE" => before = Some(tuple(columns, &mut unchanged)?.0),
        "UPDATE" => {
            let mut rest = columns;
            if let Some(old) = rest.strip_prefix("old-key: ") {
                let (row, left) = tuple(old, &mut unchanged)?;
                before = Some(row);
                rest = left.strip_prefix("new-tuple: ")?;
            }
            let (mut row, _) = tuple(rest, &mut unchanged)?;
            if let Some(before) = &before {
                left_alone(&mut row, before, &unchanged);
            }
            after = Some(row);
        }
        _ => return None,
    }
    let change = |operation, key, before, after, unchanged| Change {
        table: table.to_owned(),
        lsn,
        key,
        operation,
        before,
        after,
        unchanged,
        transaction: 0,
        commit_lsn: lsn,
        committed_us: 0,
    };
    let keys = (before.as_ref().map(key), after.as_ref().map(key));
    Some(match keys {
        (Some(old), None) => vec![change(RowOperation::Delete, old?, before, None, unchanged)],
        (Some(old), Some(new)) if old != new => vec![
            change(RowOperation::Delete, old?, before, None, Vec::new()),
            change(RowOperation::Insert, new?, None, after, unchanged),
        ],
        (_, Some(new)) if operation == "INSERT" => {
            vec![change(RowOperation::Insert, new?, None, after, unchanged)]
        }
        (_, Some(new)) => vec![change(RowOperation::Update, new?, before, after, unchanged)],
        (None, None) => return None,
    })
}

/// What the log does not tell anew, the row before tells, if it is told in whole.
fn left_alone(row: &mut RowImage, before: &RowImage, unchanged: &[String]) {
    for column in unchanged {
        if let Some(value) = before.get(column) {
            row.insert(column.clone(), value.clone());
        }
    }
}

/// Columns as `name[type]:value`, up to the end or to a word that is none; and what is left.
fn tuple<'a>(mut text: &'a str, unchanged: &mut Vec<String>) -> Option<(RowImage, &'a str)> {
    let mut row = RowImage::new();
    while !text.is_empty() && !text.starts_with("new-tuple: ") {
        let (name, rest) = name(text)?;
        let (kind, rest) = rest.strip_prefix('[')?.split_once("]:")?;
        let (value, rest) = value(rest, kind)?;
        if value.as_ref().is_some_and(|value| !value.is_available()) {
            unchanged.push(name.clone());
        }
        row.insert(name, value);
        text = rest.strip_prefix(' ').unwrap_or(rest);
    }
    Some((row, text))
}

/// A name that is no plain word stands in double quotes, its own double quotes doubled.
fn name(text: &str) -> Option<(String, &str)> {
    match text.strip_prefix('"') {
        Some(rest) => quoted(rest, '"'),
        None => {
            let end = text.find('[')?;
            Some((text[..end].to_owned(), &text[end..]))
        }
    }
}

fn value<'a>(text: &'a str, kind: &str) -> Option<(Option<Column>, &'a str)> {
    if let Some(rest) = text.strip_prefix('\'') {
        let (value, rest) = quoted(rest, '\'')?;
        return Some((Some(Column::of(values::of_database(&value, kind))), rest));
    }
    let end = text.find(' ').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let value = match word {
        "null" => None,
        "unchanged-toast-datum" => Some(Column::UNAVAILABLE),
        word => Some(Column::of(values::of_database(word, kind))),
    };
    Some((value, rest))
}

/// Up to the closing quote; a quote in the text is doubled.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let end = rest.find(quote)?;
        value.push_str(&rest[..end]);
        rest = &rest[end + quote.len_utf8()..];
        match rest.strip_prefix(quote) {
            Some(more) => {
                value.push(quote);
                rest = more;
            }
            None => return Some((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rows(lines: &[(&str, &str)]) -> Vec<Vec<Option<String>>> {
        lines.iter().map(|(a, b)| vec![Some((*a).to_owned()), Some((*b).to_owned())]).collect()
    }

    fn text(row: Option<&RowImage>, column: &str) -> Option<String> {
        match row.unwrap()[column].as_ref()? {
            Column::Text(text) => Some(text.clone()),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn rows_take_transaction_and_instant_from_their_commit() {
        let log = rows(&[
            ("0/10", "BEGIN 745"),
            ("0/10", "table public.orders: INSERT: id[bigint]:1 revision[bigint]:7 note[text]:'x'"),
            ("0/20", "table public.orders: DELETE: id[bigint]:1"),
            ("0/30", "COMMIT 745 (at 2026-11-02 10:00:00.123456+00)"),
            ("0/40", "BEGIN 746"),
            ("0/40", "table public.orders: INSERT: id[bigint]:2 revision[bigint]:8 note[text]:'x'"),
        ]);
        let changes = parse(&log).unwrap();
        assert_eq!(changes.len(), 2, "what has no commit is not committed");
        assert_eq!((changes[0].key.as_str(), changes[0].transaction), ("{\"id\":1}", 745));
        assert_eq!(text(changes[0].after.as_ref(), "revision").unwrap(), "7");
        assert_eq!(changes[1].operation, RowOperation::Delete);
        assert_eq!((changes[1].after.as_ref(), changes[1].lsn), (None, Lsn(0x20)));
        assert_eq!(changes[0].commit_lsn, Lsn(0x30));
        assert_eq!(changes[0].committed_us % 1_000_000, 123_456);
    }

    #[test]
    fn rows_are_read_before_and_after_whatever_their_values_hold() {
        let line = "table public.orders: UPDATE: old-key: id[bigint]:2 note[text]:'it''s new-tuple: \n[x]:' \
            big[text]:'TTT' amount[numeric]:-0.050 new-tuple: id[bigint]:2 note[text]:'' \
            \"a \"\"b\"[character varying]:null big[text]:unchanged-toast-datum amount[numeric]:12.30 \
            tags[text[]]:'{a,\"b c\",NULL}' photo[bytea]:'\\x00ff'";
        let log = rows(&[("0/10", line), ("0/30", "COMMIT 7 (at 2026-11-02 10:00:00+00)")]);
        let change = parse(&log).unwrap().remove(0);
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        assert_eq!(text(before, "note").unwrap(), "it's new-tuple: \n[x]:");
        assert_eq!(text(before, "amount").unwrap(), "-0.05");
        assert_eq!(text(after, "note").unwrap(), "");
        assert_eq!(text(after, "a \"b"), None);
        assert_eq!(text(after, "big").unwrap(), "TTT", "the row before tells it");
        assert_eq!(change.unchanged, ["big"]);
        assert_eq!(text(after, "amount").unwrap(), "12.3");
        assert_eq!(text(after, "tags").unwrap(), "[\"a\",\"b c\",null]");
        assert_eq!(text(after, "photo").unwrap(), "\\x00ff");
    }

    #[test]
    fn another_key_is_a_row_that_goes_and_one_that_comes() {
        let line = "table public.orders: UPDATE: old-key: id[bigint]:2 new-tuple: id[bigint]:7 \
            revision[bigint]:3";
        let log = rows(&[("0/10", line), ("0/30", "COMMIT 7 (at 2026-11-02 10:00:00+00)")]);
        let changes = parse(&log).unwrap();
        let told: Vec<_> = changes.iter().map(|c| (c.operation, c.key.as_str(), c.lsn)).collect();
        assert_eq!(
            told,
            [
                (RowOperation::Delete, "{\"id\":2}", Lsn(0x10)),
                (RowOperation::Insert, "{\"id\":7}", Lsn(0x10))
            ]
        );
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        assert!(parse(&rows(&[("0/10", "table public.orders: TRUNCATE: (no-flags)")])).is_err());
        assert!(parse(&rows(&[("0/10", "COMMIT 745")])).is_err());
        assert!(parse(&rows(&[("0/10", "table public.orders: INSERT: id[bigint]:'1")])).is_err());
    }
}
