//! Configuration read back from brokers and topics through their own protocol. What clients say of
//! theirs is for the adapter of the system under test to read.

use crate::testbed::Testbed;
use streamlake_history::Recorder;
use streamlake_history::event::Fact;

/// Process name of these facts in a history.
pub(crate) const PROCESS: &str = "configuration-reader";

/// Records what brokers and topics report of themselves.
pub(crate) async fn of_testbed(testbed: &dyn Testbed, recorder: &Recorder) {
    match testbed.configuration().await {
        Ok(parts) => {
            for (of, properties) in parts {
                let fact = Fact::Configuration { of, properties, process: None };
                recorder.record(PROCESS, fact);
            }
        }
        Err(error) => {
            let text = format!("the testbed's configuration could not be read back: {error}");
            recorder.record(PROCESS, Fact::Note { level: "warning".to_owned(), text });
        }
    }
}
