//! The production client (`object_store`, configured from the environment that the gateway hands
//! out) against the gateway on the in-memory store, and on the emulator where one is given.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, Error, GetOptions, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
};

use super::backend::{ObjectMeta, StoreError};
use super::fake_gcs::FakeGcs;
use super::journal::Kind;
use super::memory::Memory;
use super::observer::{JsonApi, ObserverStore};
use super::*;

mod emulator;
mod faults;

const BUCKET: &str = "zone";

struct Bed {
    gateway: Gateway,
    client: GoogleCloudStorage,
    observer: JsonApi,
}

async fn bed() -> Bed {
    bed_on(Arc::new(Memory::default())).await
}

async fn bed_on(backend: Arc<dyn Backend>) -> Bed {
    backend.create_bucket(BUCKET).await.unwrap();
    let gateway = Gateway::start(backend).await.unwrap();
    let client = client(&gateway, 3);
    let observer = JsonApi::new(gateway.observer_url()).unwrap();
    Bed { gateway, client, observer }
}

fn client(gateway: &Gateway, max_retries: usize) -> GoogleCloudStorage {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(40),
        base: 2.0,
    };
    let retry = RetryConfig { backoff, max_retries, retry_timeout: Duration::from_secs(10) };
    let options = ClientOptions::new().with_allow_http(true).with_timeout(Duration::from_secs(2));
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(options)
        .with_bucket_name(BUCKET)
        .with_retry(retry);
    for (name, value) in gateway.access().client_environment {
        // As `from_env` does it.
        if name.starts_with("GOOGLE_") {
            let key = name.to_ascii_lowercase().parse().unwrap();
            builder = builder.with_config(key, value);
        }
    }
    builder.build().unwrap()
}

fn create() -> PutOptions {
    PutMode::Create.into()
}

fn payload(text: &'static str) -> PutPayload {
    PutPayload::from_static(text.as_bytes())
}

async fn names(bed: &Bed) -> Vec<String> {
    let listed = bed.client.list(None).try_collect::<Vec<_>>().await.unwrap();
    listed.into_iter().map(|meta| meta.location.to_string()).collect()
}

#[tokio::test]
async fn an_object_is_created_once_and_updated_only_from_its_current_version() {
    create_and_update(&bed().await).await;
}

async fn create_and_update(bed: &Bed) {
    let path = Path::from("raw/dataset=orders/part-0001.json");
    let first = bed.client.put_opts(&path, payload("one"), create()).await.unwrap();
    let again = bed.client.put_opts(&path, payload("two"), create()).await.unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again:?}");

    let old = UpdateVersion { e_tag: None, version: first.version.clone() };
    let update = |version: &UpdateVersion| PutMode::Update(version.clone()).into();
    let second = bed.client.put_opts(&path, payload("three"), update(&old)).await.unwrap();
    assert_ne!(first.version, second.version);
    let late = bed.client.put_opts(&path, payload("four"), update(&old)).await.unwrap_err();
    assert!(matches!(late, Error::Precondition { .. }), "{late:?}");

    let got = bed.client.get(&path).await.unwrap();
    assert_eq!(got.meta.version, second.version);
    assert_eq!(&got.bytes().await.unwrap()[..], b"three");
    let journal = bed.gateway.journal();
    let seen: Vec<_> = journal.entries.iter().map(|e| (e.if_generation, e.status)).collect();
    let version: u64 = first.version.unwrap().parse().unwrap();
    let expected = [(Some(0), 200), (Some(0), 412), (Some(version), 200), (Some(version), 412)];
    assert_eq!(seen, expected);
    assert_eq!(journal.entries[0].generation, Some(version));
}

#[tokio::test]
async fn of_many_creations_at_once_one_wins() {
    one_winner(&bed().await).await;
}

async fn one_winner(bed: &Bed) {
    let path = Path::from("contested");
    let attempts = (0..20).map(|n| {
        let payload = PutPayload::from(format!("writer {n}"));
        bed.client.put_opts(&path, payload, create())
    });
    let results = futures::future::join_all(attempts).await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 19));
    for error in lost {
        assert!(matches!(error, Err(Error::AlreadyExists { .. })));
    }
}

#[tokio::test]
async fn objects_are_read_whole_in_ranges_and_by_their_head() {
    read_and_delete(&bed().await).await;
}

async fn read_and_delete(bed: &Bed) {
    let path = Path::from("some dir/a&b <c>.json");
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, "application/x-ndjson".into());
    attributes.insert(Attribute::Metadata("ingestion".into()), "id-7".into());
    let options = PutOptions { attributes: attributes.clone(), ..create() };
    let put = bed.client.put_opts(&path, payload("0123456789"), options).await.unwrap();

    assert_eq!(&bed.client.get_range(&path, 2..5).await.unwrap()[..], b"234");
    let ranges = bed.client.get_ranges(&path, &[0..1, 8..10]).await.unwrap();
    assert_eq!((&ranges[0][..], &ranges[1][..]), (&b"0"[..], &b"89"[..]));
    let head = bed.client.head(&path).await.unwrap();
    assert_eq!((head.size, &head.e_tag, &head.version), (10, &put.e_tag, &put.version));
    let got = bed.client.get(&path).await.unwrap();
    assert_eq!(got.attributes, attributes);

    let matching = GetOptions { if_match: put.e_tag.clone(), ..Default::default() };
    bed.client.get_opts(&path, matching).await.unwrap();
    let unchanged = GetOptions { if_none_match: put.e_tag, ..Default::default() };
    let error = bed.client.get_opts(&path, unchanged).await.unwrap_err();
    assert!(matches!(error, Error::NotModified { .. }), "{error:?}");

    bed.client.copy(&path, &Path::from("copy")).await.unwrap();
    let again = bed.client.copy_if_not_exists(&path, &Path::from("copy")).await.unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again:?}");
    assert_eq!(names(bed).await, ["copy", path.as_ref()]);

    bed.client.delete(&path).await.unwrap();
    let gone = bed.client.get(&path).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone:?}");
    let gone = bed.client.delete(&path).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone:?}");
}

#[tokio::test]
async fn listings_are_paged_cut_at_delimiters_and_start_after_an_offset() {
    listings(&bed().await, 2_345).await;
}

async fn listings(bed: &Bed, objects: usize) {
    fn path(n: usize) -> Path {
        Path::from(format!("raw/day={}/part-{n:05}.json", n % 3))
    }
    let puts = futures::stream::iter(0..objects)
        .map(|n| async move { bed.client.put_opts(&path(n), payload("x"), create()).await })
        .buffer_unordered(16);
    puts.try_collect::<Vec<_>>().await.unwrap();
    let mut expected: Vec<String> = (0..objects).map(|n| path(n).to_string()).collect();
    expected.sort();
    assert_eq!(names(bed).await, expected);

    let raw = bed.client.list_with_delimiter(Some(&Path::from("raw"))).await.unwrap();
    assert_eq!(raw.common_prefixes, ["raw/day=0", "raw/day=1", "raw/day=2"].map(Path::from));
    assert!(raw.objects.is_empty());

    let offset = Path::from(expected[objects / 2].as_str());
    let after = bed.client.list_with_offset(None, &offset).try_collect::<Vec<_>>().await.unwrap();
    let after: Vec<_> = after.into_iter().map(|meta| meta.location.to_string()).collect();
    assert_eq!(after, expected[objects / 2 + 1..]);
    let seen = bed.observer.list(BUCKET, "raw/day=1/").await.unwrap();
    assert_eq!(seen.len(), expected.iter().filter(|name| name.contains("day=1")).count());
}

#[tokio::test]
async fn a_multipart_upload_appears_at_once_and_only_when_completed() {
    multipart_upload(&bed().await).await;
}

async fn multipart_upload(bed: &Bed) {
    let path = Path::from("big");
    let mut upload = bed.client.put_multipart(&path).await.unwrap();
    let part = vec![7_u8; 5 * 1024 * 1024];
    upload.put_part(part.clone().into()).await.unwrap();
    upload.put_part(PutPayload::from_static(b"tail")).await.unwrap();
    assert!(names(bed).await.is_empty());
    upload.complete().await.unwrap();
    let content = bed.client.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(content.len(), part.len() + 4);
    assert!(content.ends_with(b"tail"));
    let mut aborted = bed.client.put_multipart(&Path::from("never")).await.unwrap();
    aborted.put_part(PutPayload::from_static(b"x")).await.unwrap();
    aborted.abort().await.unwrap();
    assert_eq!(names(bed).await, ["big"]);
    let kinds: Vec<_> = bed.gateway.journal().entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::CompleteUpload]);
}

#[tokio::test]
async fn the_observer_sees_generations_and_times_past_a_fault() {
    let bed = bed().await;
    observed(&bed).await;
    let direct: Arc<dyn Backend> = Arc::clone(bed.gateway.backend());
    let own = ObserverStore::list(&direct, BUCKET, "").await.unwrap();
    let strip = |meta: ObjectMeta| (meta.name, meta.generation, meta.bytes);
    let seen = bed.observer.list(BUCKET, "").await.unwrap();
    let seen: Vec<_> = seen.into_iter().map(strip).collect();
    assert_eq!(own.into_iter().map(strip).collect::<Vec<_>>(), seen);
}

async fn observed(bed: &Bed) {
    let path = Path::from("raw/1");
    let before = chrono::Utc::now();
    let first = bed.client.put(&path, payload("one")).await.unwrap();
    bed.gateway.set_fault(StoreFault::Hang);
    let seen = bed.observer.list(BUCKET, "raw/").await.unwrap();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].created >= before && seen[0].created <= chrono::Utc::now());
    assert!(seen[0].created.timestamp_subsec_micros() > 0, "no better than milliseconds");
    assert_eq!(seen[0].bytes, 3);
    let generation: u64 = first.version.unwrap().parse().unwrap();
    assert_eq!(seen[0].generation, generation);
    let read = bed.observer.read(BUCKET, "raw/1", Some(generation)).await.unwrap();
    assert_eq!(&read[..], b"one");
    let old = bed.observer.read(BUCKET, "raw/1", Some(generation - 1)).await;
    assert_eq!(old, Err(StoreError::NoObject));
    let gone = bed.observer.list("no-such-bucket", "").await;
    assert_eq!(gone, Err(StoreError::NoBucket));
    bed.gateway.set_fault(StoreFault::None);
}
