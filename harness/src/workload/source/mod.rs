//! What is changed in a source database: which transactions, when, with which rows. Pure; the
//! database's connection is driven by [`driver`].
//!
//! Each row carries the number of the change that made it, its `revision`: an event can be traced to
//! its change by content as well as by its position in the database's log.

pub(crate) mod driver;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use streamlake_history::event::RowOperation;

/// Name of the connector.
pub const CONNECTOR: &str = "postgres-connector";
/// Debezium's own default for the name of its slot.
pub const SLOT: &str = "debezium";
/// What the connector's topics begin with.
pub const PREFIX: &str = "streamlake";
/// One update in so many gives its row another key.
const NEW_KEY_EVERY: u32 = 12;
/// Where the testbed's worker keeps offsets.
pub const OFFSETS_TOPIC: &str = "streamlake-connect-offsets";

/// A load on a source database, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// Seed of operations and rows.
    pub seed: u64,
    /// Table under test, without its schema.
    pub table: String,
    /// Transactions that are committed in all.
    pub transactions: u64,
    /// So many of them, the first, before there is a connector: it meets their rows when it reads the
    /// whole table at its first start.
    pub before_connector: u64,
    /// Transactions per second.
    pub rate_per_s: f64,
    /// Row changes in each.
    pub rows_per_transaction: u64,
    /// Weights of inserts, updates and deletes.
    pub weights: [u64; 3],
    /// Every n-th transaction is rolled back before it is carried out.
    pub rollback_every: Option<u64>,
    /// Committed transactions after which the next waits until one more fault window is closed.
    pub holds: Vec<u64>,
    /// Debezium properties over its own defaults.
    pub connector_properties: BTreeMap<String, String>,
}

/// A transaction to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// When it is due, after the load's begin.
    pub due: Duration,
    /// Its row changes in their order.
    pub rows: Vec<Row>,
    /// It is carried out and rolled back once before.
    pub roll_back_first: bool,
}

/// One row change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What happens to it.
    pub operation: RowOperation,
    /// Its key.
    pub id: u64,
    /// The number of the change, from 1.
    pub revision: u64,
    /// An update gives it this key.
    pub new_id: Option<u64>,
}

impl Row {
    /// Changes that it is in the database's log, and events: a row that gets another key is one that
    /// goes and one that comes.
    #[must_use]
    pub fn changes(&self) -> u32 {
        if self.new_id.is_some() { 2 } else { 1 }
    }
}

impl SourcePlan {
    /// Schema and table.
    #[must_use]
    pub fn qualified_table(&self) -> String {
        format!("public.{}", self.table)
    }

    /// Topic of the table's change events.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("{PREFIX}.{}", self.qualified_table())
    }

    /// Row changes in all.
    #[must_use]
    pub fn changes(&self) -> u64 {
        let rows = self.transactions().flat_map(|transaction| transaction.rows);
        rows.map(|row| u64::from(row.changes())).sum()
    }

    /// Columns of the table.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        rows::columns()
    }

    /// A property that the scenario gives the connector.
    #[must_use]
    pub fn connector_property(&self, name: &str) -> Option<&str> {
        self.connector_properties.get(name).map(String::as_str)
    }

    /// When the last transaction is due, holds apart.
    #[must_use]
    pub fn length(&self) -> Duration {
        #[expect(clippy::cast_precision_loss)]
        Duration::from_secs_f64(
            (self.transactions - self.before_connector) as f64 / self.rate_per_s,
        )
    }

    /// Instants of transactions that come before the connector would end here.
    #[must_use]
    pub fn due_before(&self) -> Duration {
        #[expect(clippy::cast_precision_loss)]
        Duration::from_secs_f64(self.before_connector as f64 / self.rate_per_s)
    }

    /// Properties of the connector beside those that lead it to the database.
    #[must_use]
    pub fn connector(&self) -> BTreeMap<String, String> {
        let mut properties: BTreeMap<String, String> = [
            ("connector.class", "io.debezium.connector.postgresql.PostgresConnector".to_owned()),
            ("topic.prefix", PREFIX.to_owned()),
            ("slot.name", SLOT.to_owned()),
            ("table.include.list", self.qualified_table()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        properties.extend(self.connector_properties.clone());
        properties
    }

    /// The transactions in their order.
    pub fn transactions(&self) -> impl Iterator<Item = Transaction> + '_ {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let (mut living, mut next_id, mut revision) = (BTreeSet::new(), 1, 0);
        (0..self.transactions).map(move |number| {
            let rows = (0..self.rows_per_transaction).map(|_| {
                revision += 1;
                let operation = self.draw(&mut rng, living.is_empty());
                let id = if operation == RowOperation::Insert {
                    next_id += 1;
                    next_id - 1
                } else {
                    let nth = rng.random_range(0..living.len());
                    living.iter().nth(nth).copied().unwrap_or_default()
                };
                let rekeyed =
                    operation == RowOperation::Update && rng.random_range(0..NEW_KEY_EVERY) == 0;
                let new_id = rekeyed.then(|| {
                    next_id += 1;
                    next_id - 1
                });
                if operation == RowOperation::Delete || rekeyed {
                    living.remove(&id);
                }
                if operation != RowOperation::Delete {
                    living.insert(new_id.unwrap_or(id));
                }
                Row { operation, id, revision, new_id }
            });
            let rows = rows.collect();
            let roll_back_first = self.rollback_every.is_some_and(|n| number % n == n - 1);
            #[expect(clippy::cast_precision_loss)]
            let due = Duration::from_secs_f64(number as f64 / self.rate_per_s);
            Transaction { due, rows, roll_back_first }
        })
    }

    fn draw(&self, rng: &mut ChaCha8Rng, empty: bool) -> RowOperation {
        let [insert, update, _] = self.weights;
        let drawn = rng.random_range(0..self.weights.iter().sum::<u64>().max(1));
        match drawn {
            _ if empty || drawn < insert => RowOperation::Insert,
            _ if drawn < insert + update => RowOperation::Update,
            _ => RowOperation::Delete,
        }
    }

    /// Makes the table.
    #[must_use]
    pub fn create_table(&self) -> String {
        rows::create(&self.qualified_table())
    }

    /// Carries a row change out.
    #[must_use]
    pub fn statement(&self, row: &Row) -> String {
        let (table, Row { id, revision, new_id, .. }) = (self.qualified_table(), row);
        match row.operation {
            RowOperation::Update => {
                let assigned = rows::assignments(self.seed, *revision);
                let key = new_id.map_or_else(String::new, |new| format!(", id = {new}"));
                format!("UPDATE {table} SET revision = {revision}{key}{assigned} WHERE id = {id}")
            }
            RowOperation::Delete => format!("DELETE FROM {table} WHERE id = {id}"),
            _ => {
                let values = rows::values(self.seed, *revision);
                format!("INSERT INTO {table} VALUES ({id}, {revision}, {values})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_are_changed_only_while_they_live_and_revisions_rise() {
        let plan = SourcePlan {
            seed: 3,
            table: "orders".to_owned(),
            transactions: 100,
            before_connector: 0,
            rate_per_s: 10.0,
            rows_per_transaction: 4,
            weights: [3, 3, 2],
            rollback_every: Some(10),
            holds: Vec::new(),
            connector_properties: BTreeMap::new(),
        };
        let (mut living, mut revision, mut rekeyed) = (BTreeSet::new(), 0, 0);
        for row in plan.transactions().flat_map(|transaction| transaction.rows) {
            assert_eq!(row.revision, revision + 1);
            revision = row.revision;
            match (row.operation, row.new_id) {
                (RowOperation::Insert, _) => assert!(living.insert(row.id)),
                (RowOperation::Delete, _) => assert!(living.remove(&row.id)),
                (_, Some(new)) => assert!(living.remove(&row.id) && living.insert(new)),
                _ => assert!(living.contains(&row.id)),
            }
            rekeyed += u64::from(row.changes() - 1);
        }
        assert!(rekeyed > 0);
        assert_eq!(revision + rekeyed, plan.changes());
        assert_eq!(plan.transactions().filter(|t| t.roll_back_first).count(), 10);
        assert!(plan.transactions().eq(plan.transactions()));
        assert_eq!(plan.length(), Duration::from_secs(10));
    }
}
