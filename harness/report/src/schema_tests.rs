//! Holds the JSON report and its schema together.
//!
//! A validator of its own for the few keywords that the schema uses; it refuses a schema with any
//! other, so it cannot pass over a rule that it does not know.
#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value};

use super::sample::suite;
use super::tests::file;
use super::*;

const SCHEMA: &str = include_str!("../../schema/streamlake-report-v1.schema.json");

struct Schema(Value);

impl Schema {
    fn check(&self, rule: &Value, value: &Value, path: &str) -> Result<(), String> {
        let rules = rule.as_object().unwrap();
        for (keyword, argument) in rules {
            match keyword.as_str() {
                "$schema"
                | "$id"
                | "$defs"
                | "title"
                | "description"
                | "required"
                | "additionalProperties" => {}
                "$ref" => {
                    let name = argument.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.check(&self.0["$defs"][name], value, path)?;
                }
                "type" => {
                    let fits = match argument.as_str().unwrap() {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "integer" => value.is_u64() || value.is_i64(),
                        "boolean" => value.is_boolean(),
                        "null" => value.is_null(),
                        other => panic!("type {other}"),
                    };
                    ensure(fits, || format!("{path}: not of type {argument}"))?;
                }
                "minimum" => ensure(value.as_u64() >= argument.as_u64(), || path.to_owned())?,
                "const" => ensure(value == argument, || format!("{path}: not {argument}"))?,
                "enum" => {
                    let fits = argument.as_array().unwrap().contains(value);
                    ensure(fits, || format!("{path}: {value} is none of {argument}"))?;
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(argument, item, &format!("{path}[{index}]"))?;
                    }
                }
                "properties" => self.properties(rules, value, path)?,
                "anyOf" | "oneOf" => {
                    let choices = argument.as_array().unwrap().iter();
                    let results = choices.map(|choice| self.check(choice, value, path));
                    let (fits, errors): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
                    let enough = fits.len() == 1 || (keyword == "anyOf" && !fits.is_empty());
                    ensure(enough, || format!("{path}: {} fit; {errors:?}", fits.len()))?;
                }
                other => panic!("the schema uses {other:?}, which this validator does not know"),
            }
        }
        if !rules.contains_key("properties")
            && let Some(rule) = rules.get("additionalProperties")
        {
            for (name, value) in value.as_object().into_iter().flatten() {
                self.check(rule, value, &format!("{path}.{name}"))?;
            }
        }
        Ok(())
    }

    fn properties(
        &self,
        rules: &Map<String, Value>,
        value: &Value,
        path: &str,
    ) -> Result<(), String> {
        let Some(value) = value.as_object() else { return Ok(()) };
        let known = rules["properties"].as_object().unwrap();
        assert_eq!(rules["additionalProperties"], false, "an object that is not closed");
        for name in rules["required"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            ensure(value.contains_key(name), || format!("{path}: {name} is missing"))?;
        }
        for (name, value) in value {
            let path = format!("{path}.{name}");
            let rule = known.get(name).ok_or_else(|| format!("{path}: not in the schema"))?;
            self.check(rule, value, &path)?;
        }
        Ok(())
    }
}

fn ensure(fits: bool, error: impl FnOnce() -> String) -> Result<(), String> {
    if fits { Ok(()) } else { Err(error()) }
}

fn check(text: &str) -> Result<(), String> {
    let schema = Schema(serde_json::from_str(SCHEMA).unwrap());
    schema.check(&schema.0, &serde_json::from_str(text).unwrap(), "report")
}

#[test]
fn a_report_keeps_to_its_schema() {
    let mut suite = suite();
    check(&file(&suite, json::FILE)).unwrap();
    suite.previous = Some(PreviousReport::of(&suite));
    check(&file(&suite, json::FILE)).unwrap();
}

#[test]
fn what_is_not_in_the_schema_is_noticed() {
    let text = file(&suite(), json::FILE);
    for (from, to) in [
        ("\"seed\": 42", "\"sead\": 42"),
        ("\"status\": \"pass\"", "\"status\": \"passed\""),
        ("\"lag_end\": 0", "\"lag_end\": \"0\""),
        ("\"version\": 1", "\"version\": 2"),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(check(&text.replacen(from, to, 1)).is_err(), "{to}");
    }
}
