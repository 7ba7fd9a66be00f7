//! The object store fails: it answers with errors, hangs, is slow, or loses its answers after it has
//! stored the object.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::time::Instant;

use crate::fault::probe::{Answer, PROBE_EVERY, await_probe};
use crate::fault::{Fault, FaultError, Kind, Order, Shown, Stage, Wrong};
use crate::testbed::gateway::{Hits, StoreFault};
use crate::testbed::{Act, Capability, Part};
use streamlake_history::event::{Demand, FaultLoad, PatientMet, TargetSeen};

pub(super) static KIND: Kind = Kind {
    name: "store-failure",
    about: "the object store fails; settings: mode = \"unavailable\" | \"too-many-requests\" | \"hang\" | \"swallow\" | \"slow\" | \"flaky\" | \"reset-before\" | \"reset-after\", delay_ms for slow, every for flaky (one write in so many)",
    default_target: "store",
    default_lasts: Duration::from_secs(10),
    load: Some(FaultLoad::Deliveries),
    shows: &[Demand::StoreFaultSet, Demand::RequestsHit],
    spares_brokers: true,
    make,
};

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
    Swallow,
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
        Mode::Swallow => StoreFault::Swallow,
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

    async fn inject(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        if stage.testbed.store_hits().is_none() {
            return Err(FaultError::NoTarget(Part::Store.to_string()));
        }
        stage.testbed.act(&Part::Store, Act::Store(self.fault.clone())).await?;
        Ok(Shown::default().with("fault", &self.fault))
    }

    /// The gateway counts the requests of the system under test that ran into the fault. Without one by
    /// the end of the window the fault hit nothing: waiting longer would make another fault of it.
    async fn seen(&mut self, stage: &Stage, until: Instant) -> Result<Shown, FaultError> {
        let begun = Instant::now();
        loop {
            let last = Instant::now() >= until;
            let hits = stage.testbed.store_hits().unwrap_or_default();
            if hits.hit > 0 {
                let mut shown = met(&hits).with("requests hit when first looked at", hits.hit);
                shown.target = Some(self.set(&self.fault));
                return Ok(shown);
            }
            if last {
                return Err(FaultError::NotSeen {
                    what: "a request of the system under test that ran into the fault".to_owned(),
                    within: begun.elapsed(),
                    last: format!(
                        "{} of its requests passed untouched; {} were the harness's own",
                        hits.requests, hits.own
                    ),
                });
            }
            tokio::time::sleep_until((Instant::now() + PROBE_EVERY).min(until)).await;
        }
    }

    async fn heal(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let hits = stage.testbed.store_hits().unwrap_or_default();
        stage.testbed.act(&Part::Store, Act::Store(StoreFault::None)).await?;
        let shown = met(&hits).with("requests hit in all", hits.hit);
        let shown = shown.with("writes hit in all", hits.writes_hit);
        let shown = shown.with("requests in flight when it began", hits.in_flight);
        let shown = shown.with("most requests in flight at once", hits.in_flight_max);
        Ok(shown.with("requests of the harness itself, not counted", hits.own))
    }

    async fn back(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let detail = await_probe(stage, &Part::Store, Answer::Comes, BACK_WITHIN).await?;
        let mut shown = Shown::default().with("probe after the fault", detail);
        let target = self.set(&StoreFault::None);
        shown.target = Some(TargetSeen { answers: Some(true), ..target });
        Ok(shown)
    }
}

impl StoreFailure {
    fn set(&self, fault: &StoreFault) -> TargetSeen {
        TargetSeen { fault: Some(fault.to_string()), ..TargetSeen::default() }
    }
}

fn met(hits: &Hits) -> Shown {
    let patient = PatientMet {
        requests: Some(hits.hit),
        writes: Some(hits.writes_hit),
        requests_in_flight: Some(hits.in_flight),
        ..PatientMet::default()
    };
    Shown { patient: Some(patient), ..Shown::default() }
}
