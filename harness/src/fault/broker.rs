//! What the faults on servers share: seeing a broker, or another server, go and come back.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::fault::probe::{Answer, PROBE_EVERY, await_probe};
use crate::fault::{Evidence, FaultError, Shown, Stage, look};
use crate::testbed::{Act, Part};
use streamlake_history::event::TargetSeen;

/// A fault whose effect cannot be seen for this long hit nothing.
const SEEN_WITHIN: Duration = Duration::from_secs(15);
/// A broker that is not back after this time is not coming back.
const BACK_WITHIN: Duration = Duration::from_secs(90);

/// What a broker's log says of its own end and start. Evidence beside what was seen from outside, never
/// instead of it: a broker that logs otherwise is not held against the fault.
const TELLING: [&str; 4] =
    ["due to signal", "shut down completed", "no clean shutdown file", "Kafka Server started"];
/// Lines of one start of a broker, with room to spare.
const LOG_LINES: usize = 10_000;
/// A broker answers some milliseconds before it logs that it has started. Looking for the line must
/// not be measured as a late recovery.
const LOGGED_WITHIN: Duration = Duration::from_millis(200);

/// A broker and when it was struck.
#[derive(Debug)]
pub(super) struct Broker {
    part: Part,
    struck_at: DateTime<Utc>,
}

impl Broker {
    pub(super) fn new(number: u32) -> Self {
        Self::of(Part::Broker(number))
    }

    /// Another server: it falls silent and comes back as a broker does.
    pub(super) fn of(part: Part) -> Self {
        Self { part, struck_at: DateTime::UNIX_EPOCH }
    }

    /// Looks at the broker, then acts on it. A broker that does not answer beforehand cannot be
    /// seen to fall silent, so the fault would prove nothing.
    pub(super) async fn strike(&mut self, stage: &Stage, act: Act) -> Result<Shown, FaultError> {
        // Before the probe, whose own connection must not be taken for a client's.
        let before = self.look(stage, "before", true).await;
        let before = before.map_err(|_| FaultError::NoTarget(self.part.to_string()))?;
        await_probe(stage, &self.part, Answer::Comes, SEEN_WITHIN).await?;
        self.struck_at = Utc::now();
        stage.testbed.act(&self.part, act).await?;
        Ok(before)
    }

    pub(super) async fn act(&self, stage: &Stage, act: Act) -> Result<Shown, FaultError> {
        stage.testbed.act(&self.part, act).await?;
        Ok(Shown::default())
    }

    /// Waits until a probe in the broker's own protocol gets no answer.
    pub(super) async fn fell_silent(&mut self, stage: &Stage) -> Result<Shown, FaultError> {
        let detail = await_probe(stage, &self.part, Answer::StaysAway, SEEN_WITHIN).await?;
        let during = self.look(stage, "during", false).await?;
        Ok(during.with("probe during the fault", detail))
    }

    /// Waits until a probe is answered again, and looks once more. Whether the broker is what it was
    /// before, or was started anew, is for the checker to compare.
    pub(super) async fn answers_again(&self, stage: &Stage) -> Result<Shown, FaultError> {
        let detail = await_probe(stage, &self.part, Answer::Comes, BACK_WITHIN).await?;
        let after = self.look(stage, "after", true).await?;
        Ok(after.with("probe after the fault", detail))
    }

    /// The same of a broker that was started again, with what its log says of that.
    pub(super) async fn starts_again(&self, stage: &Stage) -> Result<Shown, FaultError> {
        let after = self.answers_again(stage).await?;
        Ok(after.and(Shown::from(self.logged(stage).await)))
    }

    /// The broker from outside, with whether it answers at this time.
    async fn look(&self, stage: &Stage, when: &str, answers: bool) -> Result<Shown, FaultError> {
        let mut shown = look(when, &stage.testbed.observe(&self.part).await?);
        let target = shown.target.unwrap_or_default();
        shown.target = Some(TargetSeen { answers: Some(answers), ..target });
        Ok(shown)
    }

    /// What the broker's log says since the act; nothing where it has none or it cannot be read.
    async fn logged(&self, stage: &Stage) -> Evidence {
        let deadline = Instant::now() + LOGGED_WITHIN;
        loop {
            let lines = stage.testbed.log_lines(&self.part, self.struck_at, LOG_LINES).await;
            let Ok(lines) = lines else { return Evidence::new() };
            let evidence = telling(&lines);
            let started = evidence.keys().any(|name| name.contains(TELLING[3]));
            if started || lines.is_empty() || Instant::now() >= deadline {
                return evidence;
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }
}

/// The telling lines of a log, each kind once, in the order of the log.
fn telling(lines: &[String]) -> Evidence {
    let mut evidence = Evidence::new();
    for line in lines {
        let Some(words) = TELLING.iter().find(|words| line.contains(**words)) else { continue };
        let name = format!("log of the broker, \"{words}\"");
        evidence.entry(name).or_insert_with(|| line.chars().take(200).collect());
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_of_the_end_and_the_start_once_each() {
        let lines = [
            "INFO Terminating process due to signal SIGTERM (LoggingSignalHandler)",
            "INFO [BrokerServer id=1] shut down completed (kafka.server.BrokerServer)",
            "INFO [ControllerServer id=1] shut down completed (ControllerServer)",
            "INFO starting (kafka.server.BrokerServer)",
            "INFO [KafkaRaftServer nodeId=1] Kafka Server started (KafkaRaftServer)",
        ]
        .map(str::to_owned);
        let evidence = telling(&lines);
        assert_eq!(evidence.len(), 3);
        assert_eq!(evidence["log of the broker, \"shut down completed\""], lines[1]);
        assert!(telling(&[]).is_empty());
    }
}
