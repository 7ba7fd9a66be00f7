//! The settings that the clients of a process hold, from the pipeline's event stream. It is the one thing
//! that the harness believes of what a process says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::observer::configuration::PROCESS;
use streamlake_history::Recorder;
use streamlake_history::event::Fact;

/// One line of the pipeline's event stream, as far as it concerns configuration: the properties that
/// librdkafka itself holds, for each client of the process.
#[derive(Deserialize)]
struct Configured {
    event: String,
    #[serde(default)]
    producer: BTreeMap<String, String>,
    #[serde(default)]
    consumer: BTreeMap<String, String>,
    #[serde(default)]
    dead_letter_producer: BTreeMap<String, String>,
}

/// Records what the clients of one process reported when they were made, once for each client. A
/// process that was started again reports again; what differs then is recorded as well.
pub(crate) fn of_clients(process: &str, events: &Path, recorder: &Recorder) {
    // A foreign pipeline has no such stream: what is not read back is reported as not read back.
    let Ok(text) = std::fs::read_to_string(events) else { return };
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Configured>(line).ok());
    let mut told = BTreeSet::new();
    for line in lines.filter(|line| line.event == "configured") {
        for (of, properties) in [
            ("producer", line.producer),
            ("consumer", line.consumer),
            ("dead-letter producer", line.dead_letter_producer),
        ] {
            if !properties.is_empty() && told.insert((of, properties.clone())) {
                let (of, process) = (of.to_owned(), Some(process.to_owned()));
                recorder.record(PROCESS, Fact::Configuration { of, properties, process });
            }
        }
    }
}
