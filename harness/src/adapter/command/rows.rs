//! Delivery into a table of PostgreSQL: each row is a record, delivered when its transaction committed.

use serde_json::Value;

use super::lines::Delivered;
use crate::adapter::Unread;
use crate::testbed::DatabaseAccess;
use streamlake_history::event::{Object, ObjectRole};

/// Reads a table to its end.
pub(super) async fn read(
    table: &str,
    database: &DatabaseAccess,
    mut sink: Delivered<'_>,
) -> Result<(), Unread> {
    let failed = |error: String| Unread(format!("table {table}: {error}"));
    // By the database's own clock, and for the last transaction that wrote the row.
    let statement = format!(
        "SELECT (extract(epoch FROM pg_xact_commit_timestamp(t.xmin)) * 1000000)::bigint, \
         to_jsonb(t)::text FROM {table} t ORDER BY 1"
    );
    for (number, row) in (0u64..).zip(database.query(&statement).await.map_err(failed)?) {
        let [Some(committed_us), Some(row)] = row.as_slice() else {
            return Err(failed("it is not known when a row was committed".to_owned()));
        };
        let committed_us = committed_us.parse().map_err(|_| failed("no time".to_owned()))?;
        let json: Value =
            serde_json::from_str(row).map_err(|error| failed(format!("a row: {error}")))?;
        let object = Object {
            object: sink.next_object(),
            raw_zone: sink.raw_zone().to_owned(),
            name: format!("row {number} of {table}"),
            generation: "0".to_owned(),
            created_us: sink.recorder().run_us_of_wall_us(committed_us),
            bytes: row.len() as u64,
            role: ObjectRole::Part,
            ..Object::default()
        };
        sink.row(object, &json);
    }
    sink.close();
    Ok(())
}
