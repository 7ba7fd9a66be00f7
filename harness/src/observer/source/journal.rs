//! The database's log as its plugin `test_decoding` writes it: `BEGIN`, a line a row, `COMMIT`.

use chrono::DateTime;

use crate::history::Recorder;
use crate::history::event::{Lsn, RowOperation, SourceChange};

/// A committed row change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) table: String,
    pub(super) lsn: Lsn,
    id: u64,
    operation: RowOperation,
    revision: Option<u64>,
    transaction: u64,
    committed_us: i64,
}

impl Change {
    pub(super) fn fact(self, change: u64, recorder: &Recorder) -> SourceChange {
        SourceChange {
            change,
            table: self.table,
            key: format!("{{\"id\":{}}}", self.id),
            operation: self.operation,
            revision: self.revision,
            transaction: self.transaction,
            lsn: self.lsn,
            committed_us: recorder.run_us_of_wall_us(self.committed_us),
        }
    }
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
            done.extend(open.drain(..).map(|change| Change {
                transaction,
                committed_us: at,
                ..change
            }));
        } else if let Some(rest) = text.strip_prefix("table ") {
            open.push(changed(rest, lsn.parse()?).ok_or_else(|| strange(text))?);
        }
    }
    Ok(done)
}

fn strange(text: &str) -> String {
    format!("a line of the log that cannot be understood: {text:?}")
}

/// `745 (at 2026-11-02 10:00:00.123456+00)`
fn committed(text: &str) -> Option<(u64, i64)> {
    let (transaction, at) = text.split_once(" (at ")?;
    let at = DateTime::parse_from_str(at.strip_suffix(')')?, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?;
    Some((transaction.parse().ok()?, at.timestamp_micros()))
}

/// `public.orders: INSERT: id[bigint]:1 revision[bigint]:1 note[text]:'x'`
fn changed(text: &str, lsn: Lsn) -> Option<Change> {
    let (table, rest) = text.split_once(": ")?;
    let (operation, columns) = rest.split_once(": ")?;
    let number = |name: &str| {
        let (_, rest) = columns.split_once(&format!("{name}[bigint]:"))?;
        rest.split(' ').next()?.parse().ok()
    };
    Some(Change {
        table: table.to_owned(),
        lsn,
        id: number("id")?,
        operation: match operation {
            "INSERT" => RowOperation::Insert,
            "UPDATE" => RowOperation::Update,
            "DELETE" => RowOperation::Delete,
            _ => return None,
        },
        revision: number("revision"),
        transaction: 0,
        committed_us: 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rows(lines: &[(&str, &str)]) -> Vec<Vec<Option<String>>> {
        lines.iter().map(|(a, b)| vec![Some((*a).to_owned()), Some((*b).to_owned())]).collect()
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
        assert_eq!((changes[0].id, changes[0].revision, changes[0].transaction), (1, Some(7), 745));
        assert_eq!(changes[1].operation, RowOperation::Delete);
        assert_eq!((changes[1].revision, changes[1].lsn), (None, Lsn(0x20)));
        assert_eq!(changes[0].committed_us % 1_000_000, 123_456);
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        assert!(parse(&rows(&[("0/10", "table public.orders: TRUNCATE: (no-flags)")])).is_err());
        assert!(parse(&rows(&[("0/10", "COMMIT 745")])).is_err());
    }
}
