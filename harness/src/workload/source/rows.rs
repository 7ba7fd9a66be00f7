//! The table under test and what its rows hold: a column of every kind that captures are known to
//! stumble over, with values from the far ends of each.
//!
//! Values follow from the plan's seed and the number of the change, so a plan can be carried out again.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Columns beside the key and the number of the change: name, type, and how a value is written.
const COLUMNS: [(&str, &str, fn(&mut ChaCha8Rng) -> String); 13] = [
    ("note", "text NOT NULL", note),
    ("remark", "varchar(60)", remark),
    ("amount", "numeric(14,2)", amount),
    ("paid", "boolean", paid),
    ("ordered_at", "timestamp", ordered_at),
    ("shipped_at", "timestamptz", shipped_at),
    ("due", "date", due),
    ("opens", "time", opens),
    ("weight", "double precision", weight),
    ("photo", "bytea", photo),
    ("details", "jsonb", details),
    ("tags", "text[]", tags),
    // Stored apart from its row, and not logged again by an update that leaves it alone.
    ("description", "text", description),
];
/// One update in so many changes the long column, too.
const DESCRIPTION_EVERY: u32 = 4;

/// Names of all columns.
pub(super) fn columns() -> Vec<String> {
    let named = COLUMNS.iter().map(|(name, ..)| *name);
    ["id", "revision"].into_iter().chain(named).map(str::to_owned).collect()
}

/// Makes the table. The database logs the whole row as it was before, too, not its key alone.
pub(super) fn create(table: &str) -> String {
    let columns: Vec<String> =
        COLUMNS.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
    format!(
        "CREATE TABLE {table} (id bigint PRIMARY KEY, revision bigint NOT NULL, {}); \
         ALTER TABLE {table} REPLICA IDENTITY FULL; \
         ALTER TABLE {table} ALTER COLUMN description SET STORAGE EXTERNAL",
        columns.join(", ")
    )
}

/// The values of a new row in the order of the columns.
pub(super) fn values(seed: u64, revision: u64) -> String {
    let mut rng = rng(seed, revision);
    let values: Vec<String> = COLUMNS.iter().map(|(_, _, value)| value(&mut rng)).collect();
    values.join(", ")
}

/// What an update assigns: half of the columns, the others are left as they are.
pub(super) fn assignments(seed: u64, revision: u64) -> String {
    let mut rng = rng(seed, revision);
    let mut assigned = Vec::new();
    for (name, _, value) in &COLUMNS {
        let one_in = if *name == "description" { DESCRIPTION_EVERY } else { 2 };
        if rng.random_range(0..one_in) == 0 {
            assigned.push(format!(", {name} = {}", value(&mut rng)));
        }
    }
    assigned.concat()
}

fn rng(seed: u64, revision: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed ^ revision.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// One of several, NULL among them where the list has it.
fn one_of(rng: &mut ChaCha8Rng, texts: &[&str]) -> String {
    texts[rng.random_range(0..texts.len())].to_owned()
}

fn note(rng: &mut ChaCha8Rng) -> String {
    let number: u32 = rng.random();
    match rng.random_range(0..5) {
        0 => "''".to_owned(),
        1 => format!("'it''s \"{number}\" \\ and\n\ta second line'"),
        2 => format!("'größer als 5 €, 日本, 💥 {number}'"),
        3 => "'null'".to_owned(),
        _ => format!("'note {number}'"),
    }
}

fn remark(rng: &mut ChaCha8Rng) -> String {
    let number: u32 = rng.random();
    match rng.random_range(0..4) {
        0 => "NULL".to_owned(),
        1 => "''".to_owned(),
        2 => format!("' spaces around {number} '"),
        _ => format!("'id[bigint]:{number} new-tuple: x[text]:''y'''"),
    }
}

fn amount(rng: &mut ChaCha8Rng) -> String {
    match rng.random_range(0..6) {
        0 => one_of(rng, &["NULL", "0", "-0.01", "999999999999.99", "-999999999999.99", "0.10"]),
        _ => format!("{}.{:02}", rng.random_range(-5000..50_000), rng.random_range(0..100)),
    }
}

fn paid(rng: &mut ChaCha8Rng) -> String {
    one_of(rng, &["true", "false", "NULL"])
}

fn ordered_at(rng: &mut ChaCha8Rng) -> String {
    const FAR: [&str; 4] = [
        "NULL",
        "'1969-12-31 23:59:59.999999'",
        "'2038-01-19 03:14:08'",
        "'2000-02-29 12:00:00.5'",
    ];
    match rng.random_range(0..4) {
        0 => one_of(rng, &FAR),
        _ => format!("'2026-03-04 05:06:07.{:06}'", rng.random_range(0..1_000_000)),
    }
}

fn shipped_at(rng: &mut ChaCha8Rng) -> String {
    const FAR: [&str; 3] =
        ["NULL", "'2026-10-25 02:30:00+02'", "'1969-12-31 23:59:59.999999-11:30'"];
    match rng.random_range(0..4) {
        0 => one_of(rng, &FAR),
        _ => format!("'2026-03-04 05:06:07.{:03}+05:45'", rng.random_range(0..1000)),
    }
}

fn due(rng: &mut ChaCha8Rng) -> String {
    one_of(
        rng,
        &["NULL", "'1969-12-31'", "'1970-01-01'", "'2024-02-29'", "'2026-11-25'", "'9999-12-31'"],
    )
}

fn opens(rng: &mut ChaCha8Rng) -> String {
    one_of(rng, &["NULL", "'00:00'", "'08:30:00.000001'", "'23:59:59.999999'"])
}

/// Numbers of few digits: any reader of JSON reads them exactly.
fn weight(rng: &mut ChaCha8Rng) -> String {
    match rng.random_range(0..3) {
        0 => one_of(rng, &["NULL", "0", "1e15", "-0.001", "0.1", "1e22"]),
        _ => format!("{:.3}", rng.random_range(0.0..1000.0_f64)),
    }
}

fn photo(rng: &mut ChaCha8Rng) -> String {
    let number: u32 = rng.random();
    match rng.random_range(0..3) {
        0 => one_of(rng, &["NULL", "'\\x'", "'\\x00'", "'\\xff00fe'"]),
        _ => format!("'\\x{number:08x}'"),
    }
}

fn details(rng: &mut ChaCha8Rng) -> String {
    let number: u32 = rng.random();
    match rng.random_range(0..3) {
        0 => one_of(rng, &["NULL", "'{}'", "'null'", "'[]'", "'\"text\"'"]),
        _ => format!("'{{\"lines\": [{{\"sku\": \"a''b\", \"n\": {number}}}], \"gift\": null}}'"),
    }
}

fn tags(rng: &mut ChaCha8Rng) -> String {
    let number: u32 = rng.random();
    match rng.random_range(0..3) {
        0 => one_of(rng, &["NULL", "'{}'", "'{NULL}'", "'{\"\"}'"]),
        _ => format!("'{{tag{number},\"two words\",\"quote \\\" and \\\\\",\"NULL\",NULL}}'"),
    }
}

fn description(rng: &mut ChaCha8Rng) -> String {
    match rng.random_range(0..4) {
        0 => one_of(rng, &["NULL", "''", "'short'"]),
        _ => {
            let number: u32 = rng.random();
            format!("repeat('{number} ', {})", rng.random_range(400..900))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_change_has_the_same_values_and_another_has_others() {
        assert_eq!(values(1, 7), values(1, 7));
        assert_ne!(values(1, 7), values(1, 8));
        assert_ne!(values(1, 7), values(2, 7));
        let updates = (0..200).map(|revision| assignments(1, revision));
        let touched = updates.filter(|update| update.contains("description")).count();
        assert!((10..100).contains(&touched), "most updates leave the long value alone: {touched}");
    }

    #[test]
    fn every_column_is_named_and_made() {
        let create = create("public.orders");
        for column in columns() {
            assert!(create.contains(&format!("{column} ")), "{column} in {create}");
        }
    }
}
