//! Delivery into the object store: objects of JSON lines below a prefix.

use super::include::Include;
use super::lines::Delivered;
use crate::adapter::Unread;
use crate::observer::store;
use streamlake_history::event::ObjectRole;

/// Reads a prefix to its end.
pub(super) async fn read(include: &Include, mut sink: Delivered<'_>) -> Result<(), Unread> {
    let store = sink.reading().testbed.observer_store();
    let store = store.ok_or_else(|| Unread("the testbed has no object store".to_owned()))?;
    let (bucket, prefix) = store::bucket_and_prefix(sink.raw_zone());
    let (bucket, prefix) = (bucket.to_owned(), format!("{prefix}/"));
    let failed = |error: crate::testbed::gateway::backend::StoreError| Unread(error.to_string());
    for meta in store.list(&bucket, &prefix).await.map_err(failed)? {
        if !meta.name.strip_prefix(&prefix).is_some_and(|name| include.matches(name)) {
            continue;
        }
        let content = store.read(&bucket, &meta.name, Some(meta.generation)).await;
        let content = content.map_err(failed)?;
        let number = sink.next_object();
        let object =
            store::object(number, sink.raw_zone(), &meta, ObjectRole::Part, sink.recorder());
        sink.part(object, &content);
    }
    sink.close();
    Ok(())
}
