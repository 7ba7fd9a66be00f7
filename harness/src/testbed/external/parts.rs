//! The cluster and the store, as far as a run may touch them: what it made itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Description;
use super::description::bears;
use super::made::Made;
use crate::testbed::TestbedError;
use crate::testbed::cluster::Cluster;
use crate::testbed::gateway::backend::Backend;
use crate::testbed::gateway::fake_gcs::FakeGcs;
use crate::testbed::gateway::observer::ObserverStore;

/// Clients of both.
pub(super) struct Parts {
    pub(super) cluster: Cluster,
    pub(super) store: Option<Store>,
}

/// A client of the store.
pub(super) struct Store {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) bucket: String,
}

impl Parts {
    /// Connects, and sees that both answer.
    pub(super) async fn connect(
        description: &Description,
        mark: &str,
    ) -> Result<Self, TestbedError> {
        let clock_topic = format!("{mark}-clock");
        let mut cluster = Cluster::connect(&description.brokers, 1, clock_topic)?;
        cluster.learn_brokers().await?;
        let store = match &description.store {
            Some((url, bucket)) => {
                let backend = FakeGcs::new(url.clone())
                    .map_err(|error| TestbedError::request("make a client for the store", error))?;
                let backend: Arc<dyn Backend> = Arc::new(backend);
                let store = Store { backend, bucket: bucket.clone() };
                store.objects(&format!("{mark}-")).await.map_err(|reason| {
                    TestbedError::Environment {
                        what: format!("the bucket `{bucket}` at {url} cannot be listed: {reason}"),
                        remedy: "look at `[store]` of the cluster's file".to_owned(),
                    }
                })?;
                Some(store)
            }
            None => None,
        };
        Ok(Self { cluster, store })
    }

    /// Everything of a run: the topics that it noted, and groups and objects that bear its mark.
    pub(super) async fn remove(&self, made: &Made) -> Result<Vec<String>, TestbedError> {
        let mut lines = Vec::new();
        let there: BTreeSet<String> = self.cluster.topics().await?.into_iter().collect();
        let topics: Vec<String> = made.topics.intersection(&there).cloned().collect();
        self.cluster.delete_topics(&topics).await?;
        lines.extend(topics.iter().map(|topic| format!("topic {topic}")));
        let mut groups = self.cluster.groups(&made.mark).await?;
        groups.retain(|group| bears(group, &made.mark));
        self.cluster.delete_groups(&groups).await?;
        lines.extend(groups.iter().map(|group| format!("group {group}")));
        if let Some(store) = &self.store {
            let asked = |reason: String| TestbedError::request("remove objects", reason);
            let names = store.objects(&format!("{}-", made.mark)).await.map_err(asked)?;
            for name in &names {
                let deleted = store.backend.delete(&store.bucket, name, None).await;
                deleted.map_err(|error| asked(error.to_string()))?;
            }
            if !names.is_empty() {
                lines.push(format!("{} object(s) below {}-", names.len(), made.mark));
            }
        }
        Ok(lines)
    }
}

impl Store {
    /// Names that begin so.
    async fn objects(&self, prefix: &str) -> Result<Vec<String>, String> {
        let listed = ObserverStore::list(&self.backend, &self.bucket, prefix).await;
        let listed = listed.map_err(|error| error.to_string())?;
        Ok(listed.into_iter().map(|object| object.name).collect())
    }
}
