//! The object store fails: it answers with errors, hangs, is slow, or loses its answers after it has
//! stored the object.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use crate::fault::probe::{Answer, PROBE_EVERY, await_probe};
use crate::fault::{Evidence, Fault, FaultError, Kind, Order, Stage, Wrong};
use crate::testbed::gateway::StoreFault;
use crate::testbed::{Act, Capability, Part};

pub(super) static KIND: Kind = Kind {
    name: "store-failure",
    about: "the object store fails; settings: mode = \"unavailable\" | \"too-many-requests\" | \"hang\" | \"slow\" | \"flaky\" | \"reset-before\" | \"reset-after\", delay_ms for slow, every for flaky (one write in so many)",
    default_target: "store",
    default_lasts: Duration::from_secs(10),
    needs_load: true,
    make,
};

/// A fault that no request has run into for this long hit nothing.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// The store answers again within this time, or it never will.
const BACK_WITHIN: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    mode: Mode,
    #[serde(default = "two_hundred_ms")]
    delay_ms: u64,
    #[serde(default = "three")]
    every: u64,
}

fn three() -> u64 {
    3
}

fn two_hundred_ms() -> u64 {
    200
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Unavailable,
    TooManyRequests,
    Hang,
    Slow,
    Flaky,
    ResetBefore,
    ResetAfter,
}

fn make(order: Order) -> Result<Box<dyn Fault>, Wrong> {
    if order.target != "store" {
        let message = format!("`{}` is no target for this fault", order.target);
        return Err(Wrong::Target(message, "name `store`, or leave the target out".to_owned()));
    }
    let settings: Settings = order.settings()?;
    let fault = match settings.mode {
        Mode::Unavailable => StoreFault::Status(503),
        Mode::TooManyRequests => StoreFault::Status(429),
        Mode::Hang => StoreFault::Hang,
        Mode::Slow => StoreFault::Delay(Duration::from_millis(settings.delay_ms)),
        Mode::Flaky if settings.every < 2 => {
            let message = "one write in less than two leaves none".to_owned();
            return Err(Wrong::Settings(message, "give `every = 2` or more".to_owned()));
        }
        Mode::Flaky => StoreFault::Flaky(settings.every),
        Mode::ResetBefore => StoreFault::ResetBefore,
        Mode::ResetAfter => StoreFault::ResetAfter,
    };
    Ok(Box::new(StoreFailure { fault }))
}

#[derive(Debug)]
struct StoreFailure {
    fault: StoreFault,
}

#[async_trait]
impl Fault for StoreFailure {
    fn needs(&self) -> &'static [Capability] {
        &[Capability::StoreFaults]
    }

    async fn inject(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        if stage.testbed.store().is_none() {
            return Err(FaultError::NoTarget(Part::Store.to_string()));
        }
        stage.testbed.act(&Part::Store, Act::Store(self.fault.clone())).await?;
        Ok(Evidence::from([("fault".to_owned(), self.fault.to_string())]))
    }

    /// The gateway counts the requests that ran into the fault; none is a fault that hit nothing.
    async fn seen(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let deadline = tokio::time::Instant::now() + SEEN_WITHIN;
        loop {
            let seen = stage.testbed.observe(&Part::Store).await?;
            let hits = seen.get("requests_hit").and_then(|hits| hits.parse::<u64>().ok());
            if hits.is_some_and(|hits| hits > 0) {
                return Ok(Evidence::from([(
                    "requests hit when first looked at".to_owned(),
                    hits.unwrap_or_default().to_string(),
                )]));
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(FaultError::NotSeen {
                    what: "a request that ran into the fault".to_owned(),
                    within: SEEN_WITHIN,
                    last: format!("{seen:?}"),
                });
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let seen = stage.testbed.observe(&Part::Store).await?;
        stage.testbed.act(&Part::Store, Act::Store(StoreFault::None)).await?;
        let hits = seen.get("requests_hit").cloned().unwrap_or_default();
        Ok(Evidence::from([("requests hit in all".to_owned(), hits)]))
    }

    async fn back(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let detail = await_probe(stage, &Part::Store, Answer::Comes, BACK_WITHIN).await?;
        Ok(Evidence::from([("probe after the fault".to_owned(), detail)]))
    }
}
