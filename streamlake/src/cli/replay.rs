//! `streamlake replay`: one JSON document on standard output, exit 0 when done (or shown), 3 when
//! refused.

use super::options::{Dataset, Group, Kafka, print_json};
use crate::error::{Error, Result};
use crate::planted::{self, Bug};
use crate::replay::{self, Request, StartAt};
use chrono::DateTime;
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("from").required(true).args(["from_offset", "from_time"]))]
pub(super) struct Args {
    #[command(flatten)]
    dataset: Dataset,
    #[command(flatten)]
    group: Group,
    #[command(flatten)]
    kafka: Kafka,
    /// Start at this offset on every partition, or PARTITION:OFFSET, which may be given often.
    #[arg(long, value_name = "OFFSET")]
    from_offset: Vec<String>,
    /// Start at the first record at or after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    from_time: Option<String>,
    /// Show what would be done and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Let the group go forward over records that it has never handled.
    #[arg(long)]
    allow_skip: bool,
    /// Rely on the broker alone to refuse while members are active.
    #[arg(long)]
    skip_member_check: bool,
}

impl Args {
    fn from(&self) -> Result<StartAt> {
        if let Some(time) = &self.from_time {
            let parsed = DateTime::parse_from_rfc3339(time);
            let parsed = parsed.map_err(|err| {
                Error::Config(format!(
                    "--from-time {time}: {err}; say an instant like 2026-01-21T10:00:00Z"
                ))
            })?;
            return Ok(StartAt::Time(parsed.timestamp_millis()));
        }
        let bad = |text: &str| {
            Error::Config(format!("--from-offset {text}: say OFFSET or PARTITION:OFFSET"))
        };
        if let [single] = self.from_offset.as_slice()
            && !single.contains(':')
        {
            let offset = single.parse().ok().filter(|offset| *offset >= 0);
            return offset.map(StartAt::Offset).ok_or_else(|| bad(single));
        }
        let mut offsets = BTreeMap::new();
        for text in &self.from_offset {
            let (partition, offset) = text.split_once(':').ok_or_else(|| bad(text))?;
            let parsed = partition.parse::<i32>().ok().zip(offset.parse::<i64>().ok());
            let (partition, offset) =
                parsed.filter(|(_, offset)| *offset >= 0).ok_or_else(|| bad(text))?;
            if offsets.insert(partition, offset).is_some() {
                return Err(Error::Config(format!(
                    "--from-offset names partition {partition} twice"
                )));
            }
        }
        Ok(StartAt::Offsets(offsets))
    }
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let request = Request {
        topic: args.dataset.topic(),
        group: args.group.name(&args.dataset.dataset),
        from: args.from()?,
        allow_skip: args.allow_skip,
        skip_member_check: args.skip_member_check,
    };
    let (settings, dry_run) = (args.kafka.settings()?, args.dry_run);
    let outcome = super::blocking(move || {
        let plan = replay::plan(&settings, &request)?;
        if !dry_run || planted::acts(Bug::DryRunSetsOffsets) {
            replay::execute(&settings, &plan)?;
        }
        Ok(plan)
    });
    match outcome.await {
        Ok(plan) => {
            print_json(
                &json!({"outcome": if dry_run { "planned" } else { "done" }, "plan": plan}),
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Err(err) => {
            let refused = matches!(err, Error::Refused(_));
            let outcome = if refused { "refused" } else { "failed" };
            print_json(&json!({"outcome": outcome, "error": err.to_string()}))?;
            Err(err)
        }
    }
}
