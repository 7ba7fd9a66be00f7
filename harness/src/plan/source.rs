//! The parts of a plan that concern a source database.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{APPEND_TIME, FaultPlan, Load, Reader, START_WITHIN, Trigger};
use crate::scenario::{ScenarioError, Source};
use crate::testbed::{TopicSpec, Topology};
use crate::workload::source::SourcePlan;

impl Reader<'_> {
    /// The one load that a scenario must have.
    pub(super) fn load(&self, seed: u64) -> Result<Load, ScenarioError> {
        let scenario = &self.file.scenario;
        match (&scenario.workload, &scenario.source) {
            (Some(workload), None) => Ok(Load::Producer(self.workload(workload, seed)?)),
            (None, Some(source)) => Ok(Load::Source(self.source(source, seed)?)),
            (Some(_), Some(source)) => Err(self.file.error_at(
                source.span(),
                "a scenario has one load, this one has `[workload]` and `[source]`",
                "take one of the two tables out; each can have a scenario of its own",
            )),
            (None, None) => Err(self.file.error_at(
                scenario.testbeds.span(),
                "the scenario has no load",
                "add `[workload]` with the records to produce, or `[source]` with the rows to change",
            )),
        }
    }

    fn source(&self, entry: &Spanned<Source>, seed: u64) -> Result<SourcePlan, ScenarioError> {
        let source = entry.get_ref();
        self.nothing_else(entry)?;
        let table = source.table.get_ref();
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        if table.is_empty() || !table.chars().all(plain) {
            return Err(self.file.error_at(
                source.table.span(),
                format!("`{table}` cannot be the name of a table here"),
                "use lower-case letters and `_`, without a schema",
            ));
        }
        let weights =
            [&source.operations.insert, &source.operations.update, &source.operations.delete];
        let [insert, update, delete] = weights;
        let bounds = 0..1_000_001;
        let transactions = self.number(&source.transactions, 1..1_000_001)?;
        let before = i64::try_from(transactions).unwrap_or(i64::MAX);
        Ok(SourcePlan {
            seed,
            table: table.clone(),
            transactions,
            before_connector: self.number(&source.before_connector, 0..before)?,
            rate_per_s: self.rate(&source.rate_per_s)?,
            rows_per_transaction: self.number(&source.rows_per_transaction, 1..1001)?,
            weights: [
                self.number(insert, bounds.clone())?,
                self.number(update, bounds.clone())?,
                self.number(delete, bounds)?,
            ],
            rollback_every: match &source.rollback_every {
                Some(every) => Some(self.number(every, 1..1_000_001)?),
                None => None,
            },
            holds: Vec::new(),
            connector_properties: source.connector_properties.clone(),
        })
    }

    /// What only makes sense with a producer.
    fn nothing_else(&self, entry: &Spanned<Source>) -> Result<(), ScenarioError> {
        let scenario = &self.file.scenario;
        if let Some(group) = scenario.groups.first() {
            return Err(self.file.error_at(
                group.name.span(),
                "change events are not what the consumers of this pipeline read",
                "leave `[[group]]` out; the topic is read by the harness itself",
            ));
        }
        if !scenario.producer.properties.is_empty() {
            return Err(self.file.error_at(
                entry.span(),
                "a scenario with `[source]` has no producer of its own",
                "leave `[producer]` out; Connect's producers take `worker_properties`",
            ));
        }
        Ok(())
    }

    /// Resolves `hold_at_faults`: after how many transactions the load waits for a window to close.
    pub(super) fn hold(&self, load: &mut Load, faults: &[FaultPlan]) -> Result<(), ScenarioError> {
        let (Some(entry), Load::Source(plan)) = (&self.file.scenario.source, load) else {
            return Ok(());
        };
        if !entry.get_ref().hold_at_faults {
            return Ok(());
        }
        for fault in faults {
            let written = &self.file.scenario.faults[fault.entry];
            match fault.trigger {
                Trigger::Invoked(count) | Trigger::Committed(count) => plan.holds.push(count),
                Trigger::After(_) => {
                    return Err(self.file.error_at(
                        written.get_ref().at.span(),
                        "the load cannot be held at an instant, it may be anywhere by then",
                        "write `67% of committed`, or leave `hold_at_faults` out",
                    ));
                }
            }
        }
        Ok(())
    }

    pub(super) fn source_topology(&self, brokers: u32, mut under_test: TopicSpec) -> Topology {
        let scenario = &self.file.scenario;
        // The broker's clock tells when an event was there, whatever the connector says.
        let [name, value] = APPEND_TIME.map(str::to_owned);
        under_test.properties.insert(name, value);
        let source = scenario.source.as_ref().map(Spanned::get_ref);
        Topology {
            brokers,
            broker_properties: scenario.cluster.broker_properties.clone(),
            topics: vec![under_test],
            buckets: Vec::new(),
            database: true,
            change_data_capture: true,
            worker_properties: source.map(|s| s.worker_properties.clone()).unwrap_or_default(),
            start_within: START_WITHIN,
        }
    }
}

/// Lines for the report's configuration list.
pub(super) fn lines(plan: &SourcePlan) -> BTreeMap<String, String> {
    let [insert, update, delete] = plan.weights;
    let mut lines = BTreeMap::from([
        ("Table".to_owned(), plan.qualified_table()),
        ("Transactions".to_owned(), plan.transactions.to_string()),
        ("Rows per transaction".to_owned(), plan.rows_per_transaction.to_string()),
        ("Rate".to_owned(), format!("{} transactions/s", plan.rate_per_s)),
        ("Inserts : updates : deletes".to_owned(), format!("{insert} : {update} : {delete}")),
    ]);
    if plan.before_connector > 0 {
        let text = format!("{} transactions, read as a whole table", plan.before_connector);
        lines.insert("Before the connector".to_owned(), text);
    }
    if let Some(every) = plan.rollback_every {
        let text = format!("every {every}. transaction, before it is committed");
        lines.insert("Rolled back".to_owned(), text);
    }
    if !plan.holds.is_empty() {
        let text = "no transaction begins while a fault window is open".to_owned();
        lines.insert("Load during faults".to_owned(), text);
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::super::{Resolved, resolve};
    use super::*;
    use crate::cli::TestbedName;
    use crate::scenario::ScenarioFile;
    use crate::testbed::abilities;

    const HEAD: &str = "title = \"t\"\ncriterion = \"c\"\nstory = \"s\"\nexpected = \"e\"\n\
        testbeds = [\"embedded\", \"docker\"]\n";
    const SOURCE: &str = "[source]\ntransactions = 15\nrate_per_s = 10\nhold_at_faults = true\n";
    const FAULT: &str = "[[fault]]\nkind = \"connector-restart\"\nat = \"67% of committed\"\n";

    fn resolved(testbed: TestbedName, text: &str) -> Result<Resolved, ScenarioError> {
        let file = ScenarioFile::parse(Path::new("x.toml"), format!("{HEAD}{text}")).unwrap();
        resolve(&file, testbed.name(), &abilities(testbed), 1)
    }

    fn refused(text: &str, line: usize, message: &str) {
        let error = resolved(TestbedName::Docker, text).map(drop).unwrap_err();
        assert_eq!(error.line(), line, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }

    #[test]
    fn a_held_load_waits_for_its_fault_and_needs_none_in_flight() {
        let plan = resolved(TestbedName::Docker, &format!("{SOURCE}{FAULT}")).unwrap();
        let Resolved::Plan(plan) = plan else { panic!("{plan:?}") };
        let Load::Source(load) = &plan.load else { panic!("{:?}", plan.load) };
        assert_eq!(load.holds, [10]);
        assert!(plan.topology.change_data_capture && plan.topology.buckets.is_empty());
        assert!(!plan.promises.faults[0].needs_load);
        assert_eq!((plan.promises.operations, plan.groups.len()), (0, 0));
        let promise = plan.promises.source.unwrap();
        assert_eq!((promise.transactions, promise.changes), (15, 15));
        assert_eq!(promise.tables["public.orders"], plan.topic);
    }

    #[test]
    fn a_testbed_without_a_database_cannot_carry_it_out() {
        let plan = resolved(TestbedName::Embedded, SOURCE).unwrap();
        assert!(
            matches!(plan, Resolved::NotApplicable { reason, .. } if reason.contains("PostgreSQL"))
        );
    }

    #[test]
    fn mistakes_are_shown_at_their_place() {
        let workload = "[workload]\nrecords = 10\nrate_per_s = 5\n";
        refused("", 5, "no load");
        refused(&format!("{workload}{SOURCE}"), 9, "one load");
        refused(&format!("{SOURCE}[[group]]\nname = \"g\"\n"), 11, "not what the consumers");
        refused(&format!("{SOURCE}table = \"a b\"\n"), 10, "name of a table");
        let at = FAULT.replace("67% of committed", "1s");
        refused(&format!("{SOURCE}{at}"), 12, "cannot be held at an instant");
        let target = FAULT.replace("connector-restart\"", "connect-kill\"\ntarget = \"broker-1\"");
        refused(&format!("{SOURCE}{target}"), 12, "no target for this fault");
    }
}
