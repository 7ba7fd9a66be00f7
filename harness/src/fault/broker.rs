//! What the faults on servers share: seeing a broker, or another server, go and come back.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::fault::probe::{Answer, PROBE_EVERY, await_probe};
use crate::fault::{Evidence, FaultError, Stage, merge};
use crate::testbed::{Act, Observation, Part};

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

/// A broker and what was seen of it before the fault.
#[derive(Debug)]
pub(super) struct Broker {
    part: Part,
    before: Observation,
    during: Observation,
    struck_at: DateTime<Utc>,
}

impl Broker {
    pub(super) fn new(number: u32) -> Self {
        Self::of(Part::Broker(number))
    }

    /// Another server: it falls silent and comes back as a broker does.
    pub(super) fn of(part: Part) -> Self {
        Self {
            part,
            before: Observation::new(),
            during: Observation::new(),
            struck_at: DateTime::UNIX_EPOCH,
        }
    }

    /// Looks at the broker, then acts on it. A broker that does not answer beforehand cannot be
    /// seen to fall silent, so the fault would prove nothing.
    pub(super) async fn strike(&mut self, stage: &Stage, act: Act) -> Result<Evidence, FaultError> {
        self.before = stage
            .testbed
            .observe(&self.part)
            .await
            .map_err(|_| FaultError::NoTarget(self.part.to_string()))?;
        await_probe(stage, &self.part, Answer::Comes, SEEN_WITHIN).await?;
        self.struck_at = Utc::now();
        stage.testbed.act(&self.part, act).await?;
        Ok(named("before", &self.before))
    }

    pub(super) async fn act(&self, stage: &Stage, act: Act) -> Result<Evidence, FaultError> {
        stage.testbed.act(&self.part, act).await?;
        Ok(Evidence::new())
    }

    /// Waits until a probe in the broker's own protocol gets no answer.
    pub(super) async fn fell_silent(&mut self, stage: &Stage) -> Result<Evidence, FaultError> {
        let detail = await_probe(stage, &self.part, Answer::StaysAway, SEEN_WITHIN).await?;
        self.during = stage.testbed.observe(&self.part).await?;
        let probe = Evidence::from([("probe during the fault".to_owned(), detail)]);
        Ok(merge(named("during", &self.during), probe))
    }

    /// Waits until a probe is answered again and says what differs from before the fault.
    pub(super) async fn answers_again(&self, stage: &Stage) -> Result<Evidence, FaultError> {
        let detail = await_probe(stage, &self.part, Answer::Comes, BACK_WITHIN).await?;
        let after = stage.testbed.observe(&self.part).await?;
        let probe = Evidence::from([("probe after the fault".to_owned(), detail)]);
        Ok(merge(named("after", &after), probe))
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

    /// As [`Broker::answers_again`], and the broker must be seen to have been away: it was started at
    /// another time than before, or nothing listened at its port while it was down.
    pub(super) async fn was_started_anew(&self, stage: &Stage) -> Result<Evidence, FaultError> {
        let evidence = self.answers_again(stage).await?;
        let started = evidence.get("started_at after");
        let restarted = started.is_some() && started != self.before.get("started_at");
        let listened = |seen: &Observation| seen.get("listening").is_some_and(|it| it == "yes");
        let was_gone = listened(&self.before)
            && self.during.get("listening").is_some_and(|it| it == "no")
            && evidence.get("listening after").is_some_and(|it| it == "yes");
        if restarted || was_gone {
            return Ok(merge(evidence, self.logged(stage).await));
        }
        Err(FaultError::NotSeen {
            what: format!("a new start of {}", self.part),
            within: BACK_WITHIN,
            last: format!("before: {:?}; after: {evidence:?}", self.before),
        })
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

/// An observation as evidence, each name followed by when it was made.
fn named(when: &str, observation: &Observation) -> Evidence {
    observation.iter().map(|(name, value)| (format!("{name} {when}"), value.clone())).collect()
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
