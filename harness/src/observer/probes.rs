//! Whether each part answers on the path that clients use, asked again and again. Only changes are
//! recorded, with the first and the last answer: the unreachable spans of a report come from here.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::testbed::{Part, Testbed};
use streamlake_history::Recorder;
use streamlake_history::event::{Fact, Probe};

const ANSWER_WITHIN: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);

/// Probes until `stop` is cancelled.
pub(crate) async fn watch(
    testbed: Arc<dyn Testbed>,
    parts: Vec<Part>,
    recorder: Recorder,
    stop: CancellationToken,
) {
    let mut probes = JoinSet::new();
    for part in parts {
        probes.spawn(watch_part(testbed.clone(), part, recorder.clone(), stop.clone()));
    }
    while probes.join_next().await.is_some() {}
}

async fn watch_part(
    testbed: Arc<dyn Testbed>,
    part: Part,
    recorder: Recorder,
    stop: CancellationToken,
) {
    let process = format!("probe-{part}");
    let mut last: Option<bool> = None;
    loop {
        let stopping = stop.is_cancelled();
        let answer = testbed.probe(&part, ANSWER_WITHIN).await;
        if last != Some(answer.is_ok()) || stopping {
            last = Some(answer.is_ok());
            let answered = answer.is_ok();
            let detail = answer.unwrap_or_else(|why| why);
            let probe = Probe { target: part.to_string(), answered, detail };
            recorder.record(&process, Fact::Probe(probe));
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}
