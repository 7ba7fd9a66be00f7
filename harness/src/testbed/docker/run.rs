//! What one run owns on the engine, by label, and how it is removed: at the end of the run, or by a
//! later run where this one could not.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use uuid::Uuid;

use super::engine::{Engine, Labels};
use crate::sweep::{OWNER_LABEL, owner_is_alive, owner_label};
use crate::testbed::{Part, TestbedError};

/// Names the run that a container or network belongs to.
const RUN_LABEL: &str = "org.streamlake.harness.run";
/// Names the part that a container is.
const PART_LABEL: &str = "org.streamlake.harness.part";
/// What is removed is gone from the engine's lists within this time.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// The lists are looked at this often while they are awaited to be empty.
const POLL: Duration = Duration::from_millis(20);

/// A run's name on the engine.
#[derive(Debug, Clone)]
pub(super) struct Run {
    id: String,
}

impl Run {
    pub(super) fn new() -> Self {
        // Eight digits are read easily, and the engine refuses a name that is taken.
        Self { id: Uuid::new_v4().simple().to_string()[..8].to_owned() }
    }

    /// Name of the run's network.
    pub(super) fn network(&self) -> String {
        format!("streamlake-{}", self.id)
    }

    /// Name of a part's container, which is its host name within the run's network.
    pub(super) fn container(&self, part: &Part) -> String {
        format!("streamlake-{}-{part}", self.id)
    }

    /// The label, `name=value`, that everything of the run carries.
    pub(super) fn label(&self) -> String {
        format!("{RUN_LABEL}={}", self.id)
    }

    /// Labels of everything that the run makes.
    pub(super) fn labels(&self) -> Labels {
        Labels::from([
            (OWNER_LABEL.to_owned(), owner_label()),
            (RUN_LABEL.to_owned(), self.id.clone()),
        ])
    }

    /// Labels of a part's container.
    pub(super) fn labels_of(&self, part: &Part) -> Labels {
        let mut labels = self.labels();
        labels.insert(PART_LABEL.to_owned(), part.to_string());
        labels
    }

    /// Removes all that carries the run's label, and sees that it is gone.
    pub(super) async fn remove(&self, engine: &Engine) -> Result<(), TestbedError> {
        remove_labelled(engine, &self.label()).await
    }
}

/// Labels of the container of a consumer under test: it belongs to the harness that started it.
pub(super) fn labels_of_member(name: &str) -> Labels {
    Labels::from([
        (OWNER_LABEL.to_owned(), owner_label()),
        (PART_LABEL.to_owned(), name.to_owned()),
    ])
}

/// Removes whatever carries `label` until the engine lists nothing more. The engine may refuse for a
/// moment, a network while the last container is leaving it: only the last refusal counts.
async fn remove_labelled(engine: &Engine, label: &str) -> Result<(), TestbedError> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let (containers, networks) =
            tokio::try_join!(engine.containers(label), engine.networks(label))?;
        if containers.is_empty() && networks.is_empty() {
            return Ok(());
        }
        let removed = join_all(containers.iter().map(|(id, _)| engine.remove_container(id))).await;
        let mut refusal = removed.into_iter().find_map(Result::err);
        if refusal.is_none() {
            let removed = join_all(networks.iter().map(|(id, _)| engine.remove_network(id))).await;
            refusal = removed.into_iter().find_map(Result::err);
        }
        if Instant::now() >= deadline {
            return Err(refusal.unwrap_or_else(|| TestbedError::Deadline {
                part: format!("what carries {label}"),
                state: "gone",
                within: GONE_WITHIN,
                last: format!("{} containers, {} networks", containers.len(), networks.len()),
            }));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Removes everything of this process.
pub(super) async fn remove_own(engine: &Engine) -> Result<(), TestbedError> {
    remove_labelled(engine, &format!("{OWNER_LABEL}={}", owner_label())).await
}

/// Removes containers and networks whose owner has died. Returns what was removed, in words.
pub(super) async fn sweep(engine: &Engine) -> Result<Vec<String>, TestbedError> {
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    let (containers, networks) =
        tokio::try_join!(engine.containers(RUN_LABEL), engine.networks(RUN_LABEL))?;
    for (_, labels) in containers.iter().chain(&networks) {
        let alive = labels.get(OWNER_LABEL).is_some_and(|owner| owner_is_alive(owner));
        if let (false, Some(run)) = (alive, labels.get(RUN_LABEL)) {
            *runs.entry(run.clone()).or_default() += 1;
        }
    }
    let mut swept = Vec::new();
    for (id, things) in runs {
        Run { id: id.clone() }.remove(engine).await?;
        swept.push(format!("{things} containers and networks of the dead run {id}"));
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_carry_run_and_part() {
        let run = Run { id: "0badcafe".to_owned() };
        assert_eq!(run.container(&Part::Broker(2)), "streamlake-0badcafe-broker-2");
        assert_eq!(run.network(), "streamlake-0badcafe");
        assert_eq!(run.labels_of(&Part::Store)[PART_LABEL], "store");
        assert!(owner_is_alive(&run.labels()[OWNER_LABEL]));
    }

    #[test]
    fn runs_have_names_of_their_own() {
        assert_ne!(Run::new().network(), Run::new().network());
    }
}
