//! `streamlake audit`: one JSON document on standard output, exit 0 when clean, 4 when something is
//! missing or damaged.

use super::options::{Dataset, Group, Kafka, print_json};
use crate::audit::{self, Request};
use crate::config::{RawZoneSettings, check_dataset, duration};
use crate::error::Result;
use crate::raw_zone::metadata;
use crate::raw_zone::store::{Zone, log_retry};
use std::process::ExitCode;
use std::time::Duration;

/// The exit code of an audit that found something.
const FOUND: u8 = 4;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    dataset: Dataset,
    #[command(flatten)]
    group: Group,
    #[command(flatten)]
    kafka: Kafka,
    /// Where the raw zone is: gs://bucket[/prefix] or file:///dir
    #[arg(long, env = "STREAMLAKE_RAW_ZONE")]
    raw_zone: String,
    /// The longest that one request to the store may take.
    #[arg(long, default_value = "30s", value_parser = duration)]
    store_timeout: Duration,
    /// Complete every folder's metadata from its parts first.
    #[arg(long)]
    rebuild_metadata: bool,
}

impl Args {
    /// Refuses what cannot work, as far as that can be known without a store.
    pub(super) fn check(&self) -> Result<()> {
        check_dataset(&self.dataset.dataset)?;
        RawZoneSettings::new(&self.raw_zone, self.store_timeout).map(drop)
    }
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    args.check()?;
    let zone = Zone::open_one_shot(&RawZoneSettings::new(&args.raw_zone, args.store_timeout)?)?;
    let request = Request {
        topic: args.dataset.topic(),
        dead_letter_topic: args.dataset.dead_letter_topic(),
        group: args.group.name(&args.dataset.dataset),
        dataset: args.dataset.dataset,
    };
    if args.rebuild_metadata {
        let folders = || zone.folders(&request.dataset);
        for folder in zone.persist("listing folders", log_retry, folders).await? {
            metadata::rebuild(&zone, &folder).await?;
        }
    }
    let report = audit::audit(&zone, &args.kafka.settings()?, &request).await?;
    print_json(&report)?;
    Ok(ExitCode::from(if report.clean { 0 } else { FOUND }))
}
