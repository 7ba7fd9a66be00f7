//! What the tests of somebody's own consumer and producer share.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A run of the harness, and its report.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) report: Value,
    pub(crate) output: String,
}

impl Ran {
    /// Runs a scenario in a folder of its own.
    pub(crate) fn of(folder: &Path, scenario: &str) -> Self {
        std::fs::write(folder.join("own.toml"), scenario).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamlake-harness"));
        command.args(["run", "own.toml"]).current_dir(folder).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr];
        let text = text.map(|said| String::from_utf8_lossy(&said).into_owned());
        let path = folder.join("runs/reports/partial/embedded/kafka-delivery-report.json");
        let report = std::fs::read_to_string(&path).ok();
        let report = report.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        Self { code: output.status.code(), report, output: text.concat() }
    }

    pub(crate) fn check(&self, name: &str) -> &Value {
        find(&self.report, name).unwrap_or_else(|| panic!("{name}: {}", self.output))
    }

    pub(crate) fn status(&self, name: &str) -> &str {
        self.check(name)["status"].as_str().unwrap()
    }

    /// The statuses of all checks that are not what they are in a run that passes.
    pub(crate) fn odd(&self) -> Vec<String> {
        let checks = all(&self.report);
        let odd = checks.iter().filter(|check| {
            !["pass", "not-applicable", "not_applicable"]
                .contains(&check["status"].as_str().unwrap())
        });
        odd.map(|check| format!("{}: {}", check["check"], check)).collect()
    }
}

fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    all(value).into_iter().find(|check| check["check"] == name)
}

/// All checks, wherever they stand.
fn all(value: &Value) -> Vec<&Value> {
    if value.get("check").is_some() && value.get("status").is_some() {
        return vec![value];
    }
    match value {
        Value::Array(values) => values.iter().flat_map(all).collect(),
        Value::Object(values) => values.values().flat_map(all).collect(),
        _ => Vec::new(),
    }
}
